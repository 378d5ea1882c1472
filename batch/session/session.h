/*
 * session.h - the session core: (state, event) -> state, and the action a state waits for
 *
 * Pure: no I/O, no clock, no randomness. nj_session_step() folds one event in; nj_session_action()
 * says what the state waits for. The engine performs the action in its world (world.h), journals
 * the result, and steps again. Going on after a crash is folding the journal; replay is the same
 * fold against a recorded world. New objects (messages, list nodes) come out through a sink and go
 * nowhere by themselves.
 *
 *   OPENED -> SNAPSHOTTING -> PROMPTING -REPLY-> SNAPSHOTTING -> ACTING -TOOL_DONE-> SNAPSHOTTING
 * -> ... no calls left: PROMPTING again; a reply without calls: JUDGING (where the job accepts) or
 * CLOSING; a paused one: PROMPTING again; JUDGED and refused: the reason goes to the agent and
 * PROMPTING again; CLOSED: DONE.
 *
 * Every content event leads to SNAPSHOTTING, so a snapshot follows every step. Lifecycle events
 * change nothing but counters.
 */
#ifndef NJ_SESSION_H
#define NJ_SESSION_H

#include "batch/session/config.h"
#include "batch/session/message.h"
#include "formats/snapshot/snapshot.h"

#define NJ_SESSION_STATES(X)                                                                       \
    X(NEW, 0, "new", "to be opened")                                                               \
    X(PROMPTING, 1, "prompting", "the model's reply")                                              \
    X(ACTING, 2, "acting", "the tools the reply asked for")                                        \
    X(JUDGING, 3, "judging", "the accept command")                                                 \
    X(CLOSING, 4, "closing", "outputs to be collected and the end to be recorded")                 \
    X(SNAPSHOTTING, 5, "snapshotting", "the snapshot to be durable")                               \
    X(DONE, 6, "done", "nothing: terminal")

enum nj_session_state {
#define X(name, value, text, waits_for) NJ_SESSION_##name = value,
    NJ_SESSION_STATES(X)
#undef X
};

const char *nj_session_state_text(enum nj_session_state state);

#define NJ_ACTIONS(X)                                                                              \
    X(NONE, "none") /* DONE, or not yet opened */                                                  \
    X(ASK_MODEL, "ask-model")                                                                      \
    X(RUN_TOOL, "run-tool")                                                                        \
    X(JUDGE, "judge")                                                                              \
    X(SNAPSHOT, "snapshot")                                                                        \
    X(CLOSE, "close")

enum nj_action_kind {
#define X(name, text) NJ_ACTION_##name,
    NJ_ACTIONS(X)
#undef X
};

/* What the state waits for. Pointers are borrowed from the session until its next step. */
struct nj_action {
    enum nj_action_kind kind;
    uint64_t turn;              /* ASK_MODEL, RUN_TOOL */
    struct nj_digest request;   /* ASK_MODEL: digest of all that the model is asked with */
    uint64_t call;              /* RUN_TOOL: index in the turn */
    const struct nj_call *tool; /* RUN_TOOL */
    uint64_t round;             /* JUDGE: from 1 */
    enum nj_status status;      /* CLOSE */
    const char *error_kind;     /* CLOSE: "" when succeeded */
    const char *error_text;
    struct nj_span result; /* CLOSE: the last reply's text */
};

struct nj_session_message {
    struct nj_digest digest;
    char *bytes; /* an item, see message.h */
    size_t len;
};

/* All items of one conversation together: far above any model's context, and the most that a
 * hostile record, which can name one large item a million times, can make a reader hold. */
#define NJ_CONVERSATION_MAX_BYTES (256u << 20)

#define NJ_ERROR_KIND_MAX_BYTES 32

/* Replies in a row that end with pause_turn: the service stops its own loop after ten rounds, so
 * this is a hundred of them. */
#define NJ_PAUSES_MAX 10

/* Readable by everybody, written by the core only. */
struct nj_session {
    const struct nj_session_config *config; /* borrowed for the session's life */
    struct nj_digest config_digest;
    enum nj_session_state state;
    enum nj_session_state after_snapshot; /* SNAPSHOTTING: where to go then */
    uint64_t sequence;     /* of the last frame folded; kept by the caller of nj_session_step() */
    uint64_t turn;         /* replies so far */
    uint64_t steps;        /* replies and calls so far */
    uint64_t calls_done;   /* of the current turn */
    uint64_t judge_rounds; /* so far */
    uint64_t attempts_failed; /* model attempts since the last reply */
    struct nj_calls calls;    /* of the last reply */
    struct nj_session_message *messages;
    size_t n_messages;
    size_t cap_messages;
    size_t messages_bytes; /* of all items; at most NJ_CONVERSATION_MAX_BYTES */
    struct nj_list *list;  /* as large as it is long (nj_list_bytes()); NULL when empty */
    struct nj_digest list_root;
    struct nj_workspace_ref workspace;
    uint64_t prompt_tokens; /* of the last prompt and its reply, as counted; 0: not known */
    size_t prompt_items;    /* items that they were */
    size_t compacted;       /* tool results of items before it are left out of requests */
    struct nj_usage usage;
    uint64_t cost_micro_usd; /* of replies, and of what failed, was given up or lost */
    uint64_t tool_time_ms;
    int64_t time_ns;  /* of the last event */
    int64_t clock_ns; /* where the virtual clock of the next call starts: at the reply that asks for
                         it, but never before the end of the call before; 0: neither it nor the
                         seed is known, for good */
    uint8_t seed[NJ_SEED_BYTES]; /* as opened */
    struct nj_buf result;        /* text of the last reply, empty when it has calls */
    enum nj_status status;       /* CLOSING, DONE */
    char error_kind[NJ_ERROR_KIND_MAX_BYTES];
    char *error_text; /* NULL: none; nj_session_error_text() */
};

int nj_session_new(const struct nj_session_config *config, struct nj_session **ret_session,
                   struct nj_error *err) NJ_MUST_USE;
void nj_session_free(struct nj_session *session);
NJ_DEFINE_AUTO_PTR(struct nj_session, nj_session_free);

/*
 * nj_session_step - fold one event into the state
 *
 * @event  REPLY must carry its message_bytes; OPENED its first message in @first (empty for all
 * others)
 * @sink   new objects; put before the state changes
 *
 * Fails with NJ_E_CORRUPT when the event does not fit the state (the state is then unchanged),
 * NJ_E_UPSTREAM when a reply's content cannot be read, or NJ_E_NOMEM (the state is then lost: free
 * it).
 */
int nj_session_step(struct nj_session *session, const struct nj_event *event, struct nj_span first,
                    const struct nj_object_sink *sink, struct nj_error *err) NJ_MUST_USE;

/* nj_session_error_text - why it failed; "" where it has not */
const char *nj_session_error_text(const struct nj_session *session);

/* nj_session_action - what the state waits for */
void nj_session_action(const struct nj_session *session, struct nj_action *ret_action);

/* nj_session_last_message - the newest conversation item, empty when there is none */
struct nj_span nj_session_last_message(const struct nj_session *session);

/* ---- checkpoint.c: the state as a snapshot, and back ---- */

/* nj_session_checkpoint - fill @ret_snapshot (borrowing from the session) as of now, due in
 * SNAPSHOTTING */
void nj_session_checkpoint(const struct nj_session *session, struct nj_snapshot *ret_snapshot);

/* nj_session_restore - a session as it stood when @snapshot was durable: its action is what comes
 * next */
int nj_session_restore(const struct nj_session_config *config, const struct nj_snapshot *snapshot,
                       const struct nj_object_source *source, struct nj_session **ret_session,
                       struct nj_error *err) NJ_MUST_USE;

#endif
