/*
 * event.h - what happens to a session: the only input of the session core
 *
 * An event's payload is a canonical map {"body": {...}, "kind": n, "meta": {...}}. The body is what
 * happened; meta is when, how long and at which attempt. The content digest chains the bodies of
 * the content events only, so an undisturbed run and a killed-and-resumed one agree; the record
 * digest chains every frame as written. Lifecycle events (attempts, box, suspend, resume) have no
 * place in the content digest. Source: formats/journal/FORMAT.md, "Events".
 */
#ifndef NJ_EVENT_H
#define NJ_EVENT_H

#include "formats/base/usage.h"
#include "formats/object/object.h"

/* Each kind once: enumerator, stored number, name, counts for the content digest. */
#define NJ_EVENT_KINDS(X)                                                                          \
    X(OPENED, 1, "opened", true)       /* who the session is, its first message and workspace */   \
    X(REPLY, 2, "reply", true)         /* the model's complete reply */                            \
    X(NO_REPLY, 3, "no-reply", true)   /* the model failed for good */                             \
    X(TOOL_DONE, 4, "tool-done", true) /* one tool call ended, whatever way */                     \
    X(JUDGED, 5, "judged", true)       /* the accept command looked at the workspace */            \
    X(CLOSED, 6, "closed", true)       /* the end: status and result */                            \
    X(ATTEMPT, 16, "attempt", false)   /* a model attempt failed and is tried again */             \
    X(BOX, 17, "box", false)           /* a box was built, restored, evicted or lost */            \
    X(SUSPENDED, 18, "suspended", false)                                                           \
    X(RESUMED, 19, "resumed", false)                                                               \
    X(SNAPSHOTTED, 32, "snapshotted", false) /* never stored: the SNAPSHOT frame is its record */

enum nj_event_kind {
#define X(name, value, text, content) NJ_EVENT_##name = value,
    NJ_EVENT_KINDS(X)
#undef X
};

const char *nj_event_kind_text(enum nj_event_kind kind);
bool nj_event_is_content(enum nj_event_kind kind);

/* Why a call ended. EXITED and SIGNALLED may come with a limit that was met on the way. */
enum nj_exit_kind {
    NJ_EXIT_EXITED = 1,    /* status: exit status */
    NJ_EXIT_SIGNALLED = 2, /* status: signal number */
    NJ_EXIT_REFUSED = 3,   /* not run: bad input, unknown tool...; text tells the agent */
};

/* Each limit once: enumerator, number, manifest key, unit of its figure. */
#define NJ_LIMITS(X)                                                                               \
    X(NONE, 0, "", "")                                                                             \
    X(TIMEOUT, 1, "timeout_seconds", "ms")                                                         \
    X(RUNTIME, 2, "max_runtime_seconds", "ms")                                                     \
    X(MEMORY, 3, "max_memory_mb", "bytes")                                                         \
    X(DISK, 4, "max_size_mb", "bytes")                                                             \
    X(PROCESSES, 5, "max_processes", "processes")

enum nj_limit {
#define X(name, value, key, unit) NJ_LIMIT_##name = value,
    NJ_LIMITS(X)
#undef X
};

const char *nj_limit_key(enum nj_limit limit);

/* One output stream of a call: the head, the tail past the cap, and the whole by digest. */
struct nj_stream {
    uint64_t bytes;          /* all that was written */
    struct nj_digest digest; /* SHA-256 of all of it */
    struct nj_span head;
    struct nj_span tail; /* empty unless bytes > head.len; never overlaps the head */
};

struct nj_call_outcome {
    enum nj_exit_kind exit;
    int status;
    enum nj_limit limit;
    uint64_t limit_value; /* the configured figure, in the limit's unit */
    struct nj_span text;  /* REFUSED: why, for the agent; else empty */
    struct nj_stream out;
    struct nj_stream errors;
    struct nj_digest tree; /* the workspace afterwards */
};

/* Why a call ran at a lower level of reproducibility than its plan asks for, each reason once:
 * enumerator, stored number, word. */
#define NJ_LOWERINGS(X)                                                                            \
    X(NONE, 0, "")                                                                                 \
    X(LISTENER, 1, "no seccomp listener") /* the host lacks it, or lacks what it needs */          \
    X(TRACE, 2, "no ptrace")              /* programs cannot be given another clock */             \
    X(EXEC, 3, "program not followed")    /* one ran with the kernel's clock */                    \
    X(LOST, 4, "lost notification")       /* one call went on without its answer */                \
    X(TAMPERED, 5, "clock tampered with") /* the box set the clock page back or far ahead */       \
    X(TSC, 6, "rdtsc")                    /* a program read the processor's own counter */         \
    X(TIMES, 7, "file times")             /* the queue of changes ran over */                      \
    X(ORDER, 8, "order not kept")         /* D3 was given up: a spinner, a stop, a debugger... */  \
    X(ASKED, 9, "lowered for a test")     /* NJ_TEST_LEVEL */                                      \
    X(DEVICES, 10, "random devices of the host") /* no FUSE for boxes here */                      \
    X(RDRAND, 11, "rdrand") /* a program drew from the processor's own randomness */

enum nj_lowered {
#define X(name, value, text) NJ_LOWERED_##name = value,
    NJ_LOWERINGS(X)
#undef X
};

const char *nj_lowered_text(enum nj_lowered lowered); /* "?" for an unknown number */

#define NJ_LOWERED_MAX 255 /* a number above the list's is a later build's, and kept */

/* Files that /proc has of each process and in which the kernel tells figures of its own (times,
 * counters, pages, numbers of mounts), which differ from run to run: enumerator, bit, name. */
#define NJ_FIGURES(X)                                                                              \
    X(STAT, 0, "stat")                                                                             \
    X(STATM, 1, "statm")                                                                           \
    X(STATUS, 2, "status")                                                                         \
    X(SCHED, 3, "sched")                                                                           \
    X(SCHEDSTAT, 4, "schedstat")                                                                   \
    X(IO, 5, "io")                                                                                 \
    X(SMAPS, 6, "smaps")                                                                           \
    X(SMAPS_ROLLUP, 7, "smaps_rollup")                                                             \
    X(NUMA_MAPS, 8, "numa_maps")                                                                   \
    X(MOUNTINFO, 9, "mountinfo")                                                                   \
    X(MOUNTS, 10, "mounts")                                                                        \
    X(UID_MAP, 11, "uid_map")                                                                      \
    X(GID_MAP, 12, "gid_map")                                                                      \
    X(AUTOGROUP, 13, "autogroup")                                                                  \
    X(FDINFO, 14, "fdinfo")                                                                        \
    X(MAPS, 16, "maps")

enum {
#define X(name, bit, text) NJ_FIGURE_##name = 1 << (bit),
    NJ_FIGURES(X)
#undef X
    /* Nobody could listen to a program, or heard not all of it: others may have been opened. */
    NJ_FIGURE_UNHEARD = 1 << 15,
};

#define NJ_FIGURES_MAX UINT32_MAX /* a bit above the list's is a later build's, and kept */
#define NJ_FIGURES_TEXT_BYTES 160 /* of all names */

/* nj_figures_text - the names of those in @figures: "stat, status"; empty when it names none */
void nj_figures_text(uint32_t figures, char text[NJ_FIGURES_TEXT_BYTES]);

#define NJ_LEVEL_MAX 3        /* of reproducibility: D0 to D3 */
#define NJ_LEVEL_FILE_TIMES 2 /* from here on: file times */
#define NJ_SEED_BYTES 32
#define NJ_CLOCK_MAX_NS (INT64_MAX / 2) /* in 2116: no session is later, and clocks can go on */

struct nj_call_meta {
    struct nj_digest stamps; /* the workspace's times afterwards */
    uint64_t duration_ms;
    uint64_t cpu_ms;
    uint64_t memory_peak_bytes; /* 0: not known on this host */
    uint64_t limit_used;        /* what was used when the limit struck, in its unit */
    unsigned applied;        /* the plan's level; at 0 the rest has no meaning and is not stored */
    int64_t clock_ns;        /* where the virtual wall clock ended; 0: there was none (D0) */
    unsigned level;          /* reached in this call, 0 to NJ_LEVEL_MAX */
    enum nj_lowered lowered; /* what keeps it below the plan's level */
    uint32_t figures;        /* which of NJ_FIGURES programs opened */
    bool has_order;
    struct nj_digest order; /* at D3, of two outputs: how they took turns (FORMAT.md) */
    bool has_ran;
    struct nj_digest ran; /* BLOB object: the host's files that ran (formats/object/ran.h) */
};

/* Each stop reason once (WIRE.md 1, in our words). */
#define NJ_STOPS(X)                                                                                \
    X(END, 1, "end_turn")                                                                          \
    X(TOOLS, 2, "tool_use")                                                                        \
    X(TRUNCATED, 3, "max_tokens")                                                                  \
    X(REFUSED, 4, "refusal")                                                                       \
    X(CONTEXT_FULL, 5, "model_context_window_exceeded")                                            \
    X(PAUSED, 6, "pause_turn")

enum nj_stop {
#define X(name, value, text) NJ_STOP_##name = value,
    NJ_STOPS(X)
#undef X
};

const char *nj_stop_text(enum nj_stop stop);

/* How a session ended; also the "status" of its row in results.jsonl. */
enum nj_status {
    NJ_STATUS_SUCCEEDED = 1,
    NJ_STATUS_FAILED = 2,
    NJ_STATUS_SUSPENDED = 3,
    NJ_STATUS_SKIPPED = 4
};
const char *nj_status_text(enum nj_status status);

/* Why a box event: text in the record. */
enum nj_box_change { NJ_BOX_BUILT = 1, NJ_BOX_RESTORED = 2, NJ_BOX_EVICTED = 3, NJ_BOX_LOST = 4 };

/* What a model service's answer left beside the reply or the failure: meta of REPLY, NO_REPLY and
 * ATTEMPT, each part only where there is one. */
struct nj_event_answer {
    struct nj_span request_id; /* the service's own name for the exchange; empty: none */
    bool has_raw;
    struct nj_digest raw; /* BLOB object: what was received of a failed try, from its beginning */
    uint64_t variants;    /* how a compatible server differed, as batch/model/dialect.h counts it */
    uint64_t place;       /* in its chain, of the model that was asked; 0: the first */
    uint64_t began;       /* where in the chain the turn began: above 0 the session stayed there */
    uint64_t reserved_micro_usd; /* the bound that budgets held for the try; 0: not known */
};

struct nj_event {
    enum nj_event_kind kind;
    int64_t time_ns;  /* wall clock, CLOCK_REALTIME; meta */
    uint64_t attempt; /* from 1; meta */
    struct nj_event_answer answer;
    union {
        struct {
            struct nj_span key;
            struct nj_span group;
            struct nj_span agent;
            struct nj_digest identity; /* the session's digest (DESIGN section 2) */
            struct nj_digest
                config;          /* the CONFIG object: canonical map of all that the core needs */
            struct nj_span item; /* JSON object of the item's fields; "{}" when none */
            struct nj_digest first; /* MESSAGE object: the first user message */
            struct nj_digest tree;
            struct nj_digest stamps; /* meta */
            uint8_t
                seed[NJ_SEED_BYTES]; /* meta: drawn once; time and randomness in boxes follow it */
        } opened;
        struct {
            uint64_t turn; /* from 1 */
            struct nj_span model;
            enum nj_stop stop;
            struct nj_digest message; /* MESSAGE object: {"role":"assistant","content":RAW} */
            struct nj_digest
                request; /* digest of what was asked: the core computes it, replay compares */
            struct nj_usage usage;
            uint64_t cost_micro_usd;
            uint64_t duration_ms; /* meta */
            /* Not stored: the message's bytes, attached by whoever decodes or makes the event. */
            struct nj_span message_bytes;
        } reply;
        struct {
            uint64_t turn;
            struct nj_span
                cause; /* overloaded, rate_limited, refusal, context_full, truncated, error */
            struct nj_span text;
            struct nj_digest request;
            uint64_t cost_micro_usd; /* meta */
        } no_reply;
        struct {
            uint64_t turn;
            uint64_t call; /* index within the turn, from 0 */
            struct nj_span id;
            struct nj_call_outcome outcome;
            struct nj_call_meta meta;
        } tool_done;
        struct {
            uint64_t round; /* from 1: the how-manieth time it judged */
            bool accepted;
            struct nj_call_outcome outcome;
            struct nj_call_meta meta;
        } judged;
        struct {
            enum nj_status status;
            struct nj_span error_kind; /* empty unless failed */
            struct nj_span error_text;
            struct nj_span result; /* the last reply's text */
            bool has_outputs;
            struct nj_digest outputs; /* TREE of the collected files */
        } closed;
        struct {
            uint64_t turn;
            struct nj_span model;
            struct nj_span cause;
            struct nj_span text;
            uint64_t cost_micro_usd; /* meta: of what was lost, or its bound where nobody knows */
        } attempt_failed;
        struct {
            enum nj_box_change change;
            struct nj_span text;
        } box;
        struct {
            struct nj_span reason;   /* signal, budget, deadline, disk */
            uint64_t cost_micro_usd; /* meta: bound of a call that was given up under way */
        } suspended;
        struct {
            uint64_t cost_micro_usd; /* meta: bound of a call whose outcome a crash left unknown */
        } resumed;
    };
};

/* nj_event_encode - append the canonical payload of @event (any kind but SNAPSHOTTED) */
int nj_event_encode(const struct nj_event *event, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_event_decode - spans are borrowed from @payload; message_bytes stays empty */
int nj_event_decode(struct nj_span payload, struct nj_event *ret_event,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_event_cost - micro-USD that @event says were spent: of a reply, of a failed attempt, of a call
 * that was given up or lost; 0 for all others */
uint64_t nj_event_cost(const struct nj_event *event);

/* nj_event_body - the raw body of a payload that nj_event_decode() accepted: what the content
 * digest chains */
struct nj_span nj_event_body(struct nj_span payload);

#endif
