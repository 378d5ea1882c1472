/*
 * play.h - a session core played by hand: events made in a line, states compared field by field
 *
 * Header only, like memory_objects.h. A play owns the memory of the events it makes until
 * play_done().
 */
#ifndef NJ_TESTS_PLAY_H
#define NJ_TESTS_PLAY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/session/session.h"
#include "tests/lib/memory_objects.h"

#define PLAY_TURNS_MAX 12

struct play {
    struct nj_session_config config;
    struct memory_objects store;
    struct nj_arena arena;
    struct nj_session *session;
    struct nj_span first; /* the first message's item */
};

static const char *const play_accept[] = {"true", NULL};

/* play_init - a session not yet opened; @accept_attempts 0: nothing to accept */
static inline void play_init(struct play *play, uint64_t accept_attempts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_error err = {0};

    *play = (struct play){
        .config =
            {
                .key = "k",
                .group = "g",
                .agent = "a",
                .role = "r",
                .instructions = "i",
                .reproducible = "D0",
                .turns_max = PLAY_TURNS_MAX,
                .accept_command = play_accept,
                .n_accept_command = accept_attempts ? 1 : 0,
                .accept_attempts = accept_attempts,
                .budget_micro_usd = -1,
            },
    };
    if (nj_session_new(&play->config, &play->session, &err) < 0)
        fail_msg("%s", err.text);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    assert_int_equal(nj_message_user_text(nj_span_text("begin"), &item, &err), 0);
    play->first = (struct nj_span){(const uint8_t *)nj_arena_span(&play->arena, nj_buf_span(&item)),
                                   item.len};
}

static inline void play_done(struct play *play)
{
    nj_session_free(play->session);
    memory_objects_done(&play->store);
    nj_arena_done(&play->arena);
}
NJ_DEFINE_AUTO_VAL(struct play, play_done);

static inline struct nj_digest play_digest(uint64_t number)
{
    struct nj_digest digest;

    nj_digest_bytes(&number, sizeof(number), &digest);
    return digest;
}

/* The message is an object by the time its event is recorded. */
static inline struct nj_digest play_put(struct play *play, struct nj_span item)
{
    struct nj_object_sink sink = memory_objects_sink(&play->store);
    struct nj_digest digest;
    struct nj_error err = {0};

    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_MESSAGE, item, &digest, &err), 0);
    return digest;
}

static inline struct nj_event play_opened(struct play *play)
{
    struct nj_event event = {.kind = NJ_EVENT_OPENED, .time_ns = 1000};

    event.opened.config = play->session->config_digest;
    event.opened.first = play_put(play, play->first);
    event.opened.tree = play_digest(1);
    event.opened.stamps = play_digest(2);
    memcpy(event.opened.seed, "a seed that was drawn long ago..", sizeof(event.opened.seed));
    return event;
}

/* A reply with @n_calls calls; @text may be empty; the number makes it one of a kind. */
static inline struct nj_event play_reply(struct play *play, uint64_t turn, const char *text,
                                         unsigned n_calls, uint64_t number)
{
    NJ_AUTO(nj_buf_done) struct nj_buf content = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_event event = {.kind = NJ_EVENT_REPLY, .time_ns = (int64_t)number * 10};
    struct nj_error err = {0};
    int r;

    nj_buf_init(&content, NJ_MESSAGE_MAX_BYTES);
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    r = nj_buf_printf(&content, &err, "[ {\"type\":\"text\", \"text\":\"%s\"}", text);
    for (unsigned i = 0; r == 0 && i < n_calls; i++)
        r = nj_buf_printf(&content, &err,
                          ",{\"type\":\"tool_use\",\"id\":\"c%llu_%u\",\"name\":\"t%u\",\"input\":{"
                          "\"n\":%llu}}",
                          (unsigned long long)turn, i, i, (unsigned long long)number);
    if (r == 0)
        r = nj_buf_text(&content, "]", &err);
    if (r == 0)
        r = nj_message_assistant(nj_buf_span(&content), &item, &err);
    assert_int_equal(r, 0);
    event.reply.turn = turn;
    event.reply.stop = n_calls ? NJ_STOP_TOOLS : NJ_STOP_END;
    event.reply.message_bytes = (struct nj_span){
        (const uint8_t *)nj_arena_span(&play->arena, nj_buf_span(&item)), item.len};
    event.reply.message = play_put(play, event.reply.message_bytes);
    event.reply.usage = (struct nj_usage){number, 2, 3, 4, 5};
    event.reply.cost_micro_usd = number + 7;
    return event;
}

static inline struct nj_event play_no_reply(uint64_t turn)
{
    struct nj_event event = {.kind = NJ_EVENT_NO_REPLY, .time_ns = 5};

    event.no_reply.turn = turn;
    event.no_reply.cause = nj_span_text("overloaded");
    event.no_reply.text = nj_span_text("all of them");
    return event;
}

static inline struct nj_call_outcome play_outcome(const char *out, int status, uint64_t number)
{
    return (struct nj_call_outcome){
        .exit = NJ_EXIT_EXITED,
        .status = status,
        .out = {.bytes = strlen(out), .head = nj_span_text(out)},
        .tree = play_digest(number * 2),
    };
}

static inline struct nj_event play_tool_done(uint64_t turn, uint64_t call, const char *out,
                                             int status, uint64_t number)
{
    struct nj_event event = {.kind = NJ_EVENT_TOOL_DONE, .time_ns = (int64_t)number * 10};

    event.tool_done.turn = turn;
    event.tool_done.call = call;
    event.tool_done.outcome = play_outcome(out, status, number);
    event.tool_done.meta.stamps = play_digest(number * 2 + 1);
    event.tool_done.meta.duration_ms = number;
    event.tool_done.meta.applied = number % 3 ? 2 : 0;
    event.tool_done.meta.clock_ns = (int64_t)number * 12;
    return event;
}

static inline struct nj_event play_judged(uint64_t round, bool accepted, uint64_t number)
{
    struct nj_event event = {.kind = NJ_EVENT_JUDGED, .time_ns = (int64_t)number * 10};

    event.judged.round = round;
    event.judged.accepted = accepted;
    event.judged.outcome =
        play_outcome(accepted ? "" : "totals are wrong", accepted ? 0 : 1, number);
    event.judged.meta.stamps = play_digest(number * 2 + 1);
    event.judged.meta.duration_ms = number;
    return event;
}

static inline struct nj_event play_attempt(uint64_t turn)
{
    struct nj_event event = {.kind = NJ_EVENT_ATTEMPT, .time_ns = 3};

    event.attempt_failed.turn = turn;
    event.attempt_failed.cause = nj_span_text("overloaded");
    return event;
}

static inline struct nj_event play_plain(enum nj_event_kind kind)
{
    return (struct nj_event){.kind = kind, .time_ns = 1};
}

/* play_step - fold one event in; returns what nj_session_step() returned */
static inline int play_step(struct play *play, const struct nj_event *event, struct nj_error *err)
{
    struct nj_object_sink sink = memory_objects_sink(&play->store);
    struct nj_span first = event->kind == NJ_EVENT_OPENED ? play->first : (struct nj_span){0};

    *err = (struct nj_error){0};
    return nj_session_step(play->session, event, first, &sink, err);
}

static inline void play_must(struct play *play, struct nj_event event)
{
    struct nj_error err;

    if (play_step(play, &event, &err) < 0)
        fail_msg("%s", err.text);
}

/* play_saved - an event and the snapshot behind it */
static inline void play_saved(struct play *play, struct nj_event event)
{
    play_must(play, event);
    assert_int_equal(play->session->state, NJ_SESSION_SNAPSHOTTING);
    play_must(play, play_plain(NJ_EVENT_SNAPSHOTTED));
}

static inline bool play_span_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static inline const char *play_calls_differ(const struct nj_calls *a, const struct nj_calls *b)
{
    if (a->count != b->count)
        return "calls.count";
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i].id, b->items[i].id) != 0 ||
            strcmp(a->items[i].name, b->items[i].name) != 0 ||
            !json_equal(a->items[i].input, b->items[i].input))
            return "calls";
    return NULL;
}

static inline const char *play_lists_differ(const struct nj_list *a, const struct nj_list *b)
{
    if (a->count != b->count || a->levels != b->levels)
        return "list.count";
    for (unsigned i = 0; i < a->levels; i++)
        if (a->spine[i].n_items != b->spine[i].n_items ||
            memcmp(a->spine[i].items, b->spine[i].items,
                   a->spine[i].n_items * sizeof(struct nj_digest)) != 0)
            return "list.spine";
    return NULL;
}

/* play_differ - the name of the first field in which two sessions differ, or NULL. @sequence is the
 * caller's. */
static inline const char *play_differ(const struct nj_session *a, const struct nj_session *b)
{
    static const struct nj_list no_list;
    const char *name;

#define SAME(field)                                                                                \
    if (a->field != b->field)                                                                      \
    return #field
#define SAME_BYTES(field)                                                                          \
    if (memcmp(&a->field, &b->field, sizeof(a->field)) != 0)                                       \
    return #field
    SAME(state);
    SAME(clock_ns);
    SAME_BYTES(seed);
    if (a->state == NJ_SESSION_SNAPSHOTTING)
        SAME(after_snapshot);
    SAME_BYTES(config_digest);
    SAME(turn);
    SAME(steps);
    SAME(calls_done);
    SAME(judge_rounds);
    SAME(attempts_failed);
    SAME(n_messages);
    SAME(messages_bytes);
    for (size_t i = 0; i < a->n_messages; i++) {
        SAME_BYTES(messages[i].digest);
        if (!play_span_equal(a->messages[i].bytes, a->messages[i].len, b->messages[i].bytes,
                             b->messages[i].len))
            return "messages[].bytes";
    }
    name = play_calls_differ(&a->calls, &b->calls);
    if (name)
        return name;
    name = play_lists_differ(a->list ? a->list : &no_list, b->list ? b->list : &no_list);
    if (name)
        return name;
    SAME_BYTES(list_root);
    SAME_BYTES(workspace);
    SAME_BYTES(usage);
    SAME(cost_micro_usd);
    SAME(tool_time_ms);
    SAME(time_ns);
    if (!nj_span_equal(nj_buf_span(&a->result), nj_buf_span(&b->result)))
        return "result";
    SAME(status);
    if (strcmp(a->error_kind, b->error_kind) != 0)
        return "error_kind";
    if (strcmp(nj_session_error_text(a), nj_session_error_text(b)) != 0)
        return "error_text";
#undef SAME
#undef SAME_BYTES
    return NULL;
}

/* play_actions_differ - the same for what two sessions wait for */
static inline const char *play_actions_differ(const struct nj_session *a,
                                              const struct nj_session *b)
{
    struct nj_action x, y;

    nj_session_action(a, &x);
    nj_session_action(b, &y);
    if (x.kind != y.kind)
        return "kind";
    if (x.turn != y.turn || x.call != y.call || x.round != y.round || x.status != y.status)
        return "turn, call, round or status";
    if (!nj_digest_equal(&x.request, &y.request))
        return "request";
    if (!x.tool != !y.tool || (x.tool && (strcmp(x.tool->id, y.tool->id) != 0 ||
                                          !json_equal(x.tool->input, y.tool->input))))
        return "tool";
    if (x.kind == NJ_ACTION_CLOSE &&
        (strcmp(x.error_kind, y.error_kind) != 0 || strcmp(x.error_text, y.error_text) != 0))
        return "error";
    return nj_span_equal(x.result, y.result) ? NULL : "result";
}

#endif
