/*
 * live.h - the engine's own view of its sessions; private to batch/engine
 *
 * One struct nj_live is one session alive: its seat (core and world), its objects and frames in the
 * journal, its box, and what it waits for. The files: live.c (objects, frames, life), world_live.c
 * (what the core asks for), live_box.c (tool slots and boxes), live_take.c (what calls left),
 * publish.c (bundle and outputs), recover.c (the fold after a crash), engine.c (who runs when).
 */
#ifndef NJ_LIVE_H
#define NJ_LIVE_H

#include <event2/event.h>
#include <sys/queue.h>

#include "batch/engine/committer.h"
#include "batch/engine/engine.h"
#include "batch/engine/outputs.h"
#include "batch/engine/pulse.h"
#include "batch/engine/queue.h"
#include "batch/engine/worker.h"
#include "batch/gateway/vault.h"
#include "batch/model/model.h"
#include "batch/model/stay.h"
#include "batch/plan/inputs.h"
#include "batch/plan/plan.h"
#include "batch/report/fold.h"
#include "batch/run/object_index.h"
#include "batch/run/run_dir.h"
#include "batch/run/state.h"
#include "batch/sandbox/sandbox.h"
#include "batch/session/budget.h"
#include "batch/session/world.h"
#include "batch/tools/tool.h"

#define NJ_LIVE_SCRATCH_MAX_BYTES (64u << 20)
#define NJ_BOX_TRIES_MAX 3 /* a call whose box was lost is begun anew this often */
#define NJ_STOP_GRACE_S 10 /* when a run is suspended: how long calls under way may take to end */
#define NJ_PARK_AFTER_S 30 /* a box idle for longer is evicted */
#define NJ_TAKERS_MAX 4    /* threads for what calls leave; one for each processor but one */
#define NJ_RESTORE_INLINE_BYTES                                                                    \
    (64u << 10) /* journal bytes that the loop reads itself; more: a worker */

enum nj_box_phase {
    NJ_BOX_NONE,
    NJ_BOX_OPENING,
    NJ_BOX_RESTORING,
    NJ_BOX_IDLE,
    NJ_BOX_CALLING,
    NJ_BOX_SCANNING
};

struct nj_live {
    struct nj_seat seat;
    struct nj_engine *engine;
    const struct nj_plan_session *plan;
    struct nj_arena config_arena; /* holds the config of a session that was recovered */

    /* its record */
    uint32_t owner;                  /* its number in this process, no other's: for recent.h */
    struct nj_object_index index;    /* while taking, it changes through taker.h */
    struct nj_journal_place *places; /* of the sequenced frames, in order */
    size_t n_places;
    size_t cap_places;
    uint64_t sequence;
    size_t last_snapshot; /* recovering: its place in places, from 1; 0: none */
    struct nj_fold fold;  /* its figures so far */
    struct nj_commit_waiter waiter;

    /* what is under way */
    struct nj_model_call *model_call;
    struct nj_model_request request;
    struct nj_span tools; /* what the model is told of its tools: one of the engine's schemas */
    struct nj_stay stay;  /* with a later model of its chain */
    struct nj_buf began;  /* by turn: where in the chain it did; empty where sessions never stay */
    struct nj_budget budget;     /* the session's own */
    uint64_t reserved_micro_usd; /* for the call under way */
    bool has_reserved;
    TAILQ_ENTRY(nj_live) money_link; /* waiting for others' calls to settle */
    bool money_queued;
    bool cut;      /* recovering: frames are missing, which only a thinned journal may lack */
    bool at_peace; /* recovered: its record ends with a suspension */
    struct nj_arena arena; /* of the call under way */
    struct nj_tool_call call;
    bool judging;
    uint64_t call_index;
    unsigned box_tries;
    bool has_slot;
    TAILQ_ENTRY(nj_live) slot_link; /* waiting for a tool slot */
    bool slot_queued;

    struct nj_live_taking *taking; /* live_take.c: what a call left is on its way; or NULL */

    struct nj_box *box;
    enum nj_box_phase phase;
    struct nj_workspace_ref box_state; /* what the box's workspace holds when IDLE */
    unsigned box_level;                /* of reproducibility that it was built for */
    int restore_fd;
    bool restore_held; /* until a thinned segment is swapped in */
    struct event *park;
    TAILQ_ENTRY(nj_live) idle_link; /* boxes that can be evicted, oldest first */
    bool idle_queued;

    /* its end */
    struct nj_worker *worker;
    struct nj_event *closed;    /* made while closing; spans point into the session */
    struct nj_buf closed_bytes; /* after a crash: what closed was read from */
    bool scanned;               /* the workspace was walked since the last call */
    void (*after_scan)(struct nj_live *live);
    bool again;     /* this attempt was not the last: seat->due_ms says when the next begins */
    bool failed;    /* the engine gave it up */
    char *why;      /* it did; NULL: no memory was left for the words */
    bool unbundled; /* no bundle can hold its record, which stays in the journal */
    char *row;      /* its line in results.jsonl, NULL until it has one */
    bool publish_queued;
    TAILQ_ENTRY(nj_live) publish_link;
    bool finished; /* archived, or as far as it goes in this process */
    TAILQ_ENTRY(nj_live) live_link;
};

TAILQ_HEAD(nj_live_list, nj_live);

/* The tools of one agent as models are shown them: thousands of sessions wait with the same. */
struct nj_engine_schemas {
    struct nj_buf json;
    struct nj_engine_schemas *next;
};

/* Objects whose earlier content is read back in one turn of the loop, and how long they may be: two
 * reads and decompressions of some 30 us each. */
#define NJ_LIVE_FETCHES_A_TURN 16
#define NJ_LIVE_FETCH_MAX_BYTES (64u << 10)

struct nj_engine {
    struct nj_world world;
    struct event_base *base;
    const struct nj_engine_options *options;
    struct nj_run_dir dir;
    struct nj_manifest *manifest;
    struct nj_vault *vault;
    struct nj_models *models;
    struct nj_plan *plan;
    struct nj_inputs *inputs;
    struct nj_sandbox *sandbox;
    struct nj_journal_writer *writer;
    struct nj_journal *reader;
    struct nj_committer *committer;
    struct nj_engine_schemas *schemas;
    struct nj_buf scratch;    /* of one append or read; never kept over a call */
    struct nj_recent *recent; /* bases of what is stored next */
    uint32_t owners;          /* how many there have been */
    struct nj_taker *takers[NJ_TAKERS_MAX];
    size_t n_takers;
    unsigned fetches_left; /* of these, read from the journal in this turn of the loop */
    char *environment;     /* JSON: what this host is */
    char *manifest_dir;    /* where the job was read, for a person */
    char **allowed;        /* resumed: the directories of the run's --allow-path */
    struct nj_buf job;     /* its bytes */
    int files_fd;          /* inputs/files: copies of what the models read */

    struct nj_engine_seat {    /* by plan order */
        char *row;             /* its line in results.jsonl once it ended */
        struct nj_buf facts;   /* packed, once it ended or was suspended; empty before */
        enum nj_status status; /* 0 until then */
        struct nj_live *past;  /* recovered, to be gone on with; NULL once it lives again */
        uint64_t attempts;     /* that have ended */
        bool reused;           /* taken over from an earlier run: reused.h */
        bool unbundled;        /* it ended without a bundle: what it left stays in the journal */
        int64_t due_ms;        /* wall clock: the next attempt begins no earlier */
        bool reopened; /* recovering: another attempt follows, of which there may be frames */
    } * seats;
    struct nj_queue *queue; /* who may begin next */
    struct nj_live_list lives;
    size_t *group_first; /* by group: its first session; the next group's is its end */

    size_t tool_slots;
    size_t tool_slots_used;
    struct nj_live_list slot_queue;
    size_t warm_least; /* where memory is short */
    size_t warm_most;
    size_t warm_max; /* one of the two */
    size_t warm;
    struct nj_live_list idle;

    struct event *sigint;
    struct event *sigterm;
    struct event *schedule;
    struct event *grace;
    struct event *tick; /* once a second: what depends on the hour, the disk, or readers */
    struct nj_state_writer *state_writer;
    int64_t created_s;  /* the run's first process */
    int64_t started_s;  /* this one */
    int64_t deadline_s; /* wall clock, the next one after that; 0: none */
    bool resumed;
    bool stop_now;
    bool stopping;
    const char *stop_reason; /* a literal */
    bool evict_always;
    bool take_always;   /* NJ_TEST_TAKE_ALWAYS: however little a call left */
    unsigned level_max; /* NJ_TEST_LEVEL */
    struct nj_workers *pool;
    struct nj_thinning *thinning; /* thinning.h; NULL before there is anything to thin */
    unsigned workers;             /* that publish */
    unsigned workers_max;
    struct nj_live_list publish_queue;
    struct nj_budget run_budget;
    struct nj_budget *group_budgets; /* by index in the manifest */
    struct nj_budget *agent_budgets;
    struct nj_live_list money_queue;
    uint64_t unknown_micro_usd; /* of calls whose outcome a crash left unknown */
    uint64_t repeated_asks;
    uint64_t scan_misses;
    bool failed;
    struct nj_error error;
    struct nj_views *views; /* views.h */
    size_t failures;        /* sessions that failed */
    size_t forgiven;        /* of these: before a stop for too many of them */
    bool was_fail_over;     /* resumed: that is why the last process stopped */
    struct nj_pulse *pulse;
    uint64_t stall_us;  /* the longest that one piece of work has held the loop */
    uint64_t worked_us; /* CPU time of the loop's thread where the last piece ended */
    bool memory_low;    /* of the host: no box is opened ahead */
    bool disk_low;      /* below limits.disk_free_mb: no session begins */
    bool disk_told;
    int64_t first_epoch_ns; /* when the run began */
    uint64_t epochs;        /* engines that have worked on it, this one too */
};

/* live.c */
int nj_live_new(struct nj_engine *engine, const struct nj_plan_session *plan,
                struct nj_live **ret_live, struct nj_error *err) NJ_MUST_USE;
void nj_live_free(struct nj_live *live); /* its box and whatever is under way end too */
NJ_DEFINE_AUTO_PTR(struct nj_live, nj_live_free);
void nj_live_cancel_worker(struct nj_live *live);
int nj_live_open(struct nj_live *live,
                 struct nj_error *err) NJ_MUST_USE; /* prepare, deliver OPENED */
int nj_live_append(struct nj_live *live, enum nj_frame_kind kind, struct nj_span payload,
                   struct nj_error *err) NJ_MUST_USE;
int nj_live_note_place(struct nj_live *live, const struct nj_frame *frame,
                       struct nj_error *err) NJ_MUST_USE;
struct nj_object_source nj_live_source(struct nj_live *live);
/* nj_live_contents - the same without a look at digests, for a box, which looks itself */
struct nj_object_source nj_live_contents(struct nj_live *live);
struct nj_event nj_live_event(const struct nj_live *live, enum nj_event_kind kind);
int64_t nj_live_now_ns(void); /* of the wall clock */
struct nj_live *nj_live_of(struct nj_seat *seat);
bool nj_live_row_has_bundle(const char *row);
int nj_live_row(struct nj_live *live, enum nj_status status, const char *error_kind,
                const char *error_text, struct nj_error *err) NJ_MUST_USE;
/* nj_live_keep_facts - pack the figures so far into its seat, where the views find them */
int nj_live_keep_facts(struct nj_live *live, struct nj_error *err) NJ_MUST_USE;
#define NJ_BUNDLE_NAME_MAX_BYTES 320
int nj_live_bundle_name(const struct nj_plan_session *plan, char *name, size_t size);
void nj_live_own_bundle_name(const struct nj_live *live, char *name,
                             size_t size); /* of this attempt */

/* world_live.c */
void nj_world_live_init(struct nj_world *world);
void nj_world_live_done(struct nj_engine *engine);
void nj_live_ask_model(struct nj_live *live); /* its money is reserved */
void nj_live_cancel_model(struct nj_live *live);
/* nj_live_note_answer - an event was recorded, now or before a crash: where in its chain a session
 * stays follows from replies and attempts */
int nj_live_note_answer(struct nj_live *live, const struct nj_event *event,
                        struct nj_error *err) NJ_MUST_USE;

/* live_take.c */
/* nj_live_take - the objects of @result, whose descriptor is taken, into the journal. Returns 0:
 * they are, 1: nj_live_taken() will be called, or fails as that is told. */
int nj_live_take(struct nj_live *live, const struct nj_box_result *result,
                 struct nj_error *err) NJ_MUST_USE;
void nj_live_cancel_taking(struct nj_live *live);
bool nj_live_is_taking(const struct nj_live *live); /* and reads the journal for it */
void nj_live_start_taking(struct nj_live *live);    /* if it was held: thinning.h */

/* live_box.c */
void nj_live_taken(struct nj_live *live, const struct nj_call_outcome *outcome,
                   const struct nj_call_meta *meta, const struct nj_error *err);
int nj_live_call(struct nj_live *live,
                 struct nj_error *err) NJ_MUST_USE; /* live->call is prepared */
void nj_live_scan(struct nj_live *live, void (*then)(struct nj_live *live));
void nj_live_drop_box(struct nj_live *live, const char *why); /* NULL: without an event */
void nj_live_release_slot(struct nj_live *live);
void nj_live_release_slot_queue(struct nj_live *live); /* only if it has not been granted */
void nj_live_grant_slots(struct nj_engine *engine);

/* nj_live_keep_ahead - as many boxes opened ahead as there is room for beside the warm ones, and
 * sessions that may still want one. To be called when either may have changed. */
void nj_live_keep_ahead(struct nj_engine *engine);

/* nj_live_fit_warm - let go of boxes of sessions that wait, of some at a time, where more are kept
 * than may be */
void nj_live_fit_warm(struct nj_engine *engine);

/* nj_live_start_held - restores, takings and publications that waited for thinning.h */
void nj_live_start_held(struct nj_engine *engine);
void nj_live_start_publishing(struct nj_engine *engine); /* publish.c */

/* blame.c: why the run stops for a model, with the manifest's places and the cure */
void nj_live_blame(const struct nj_live *live, const struct nj_model_failure *failure);

/* watch.c */
bool nj_engine_too_many_failed(const struct nj_engine *engine);
void nj_engine_watch(struct nj_engine *engine); /* once a second, and before the first session */

/* attempts.c */
uint64_t nj_live_attempt(const struct nj_live *live); /* from 1 */
/* Whether it is tried again behind this failure, and from when on (its seat's due_ms). */
bool nj_live_wants_again(struct nj_live *live, const char *error_kind);
int nj_live_attempt_bundle_name(const struct nj_plan_session *plan, uint64_t attempt, char *name,
                                size_t size);
/* The session begins anew, at its seat's due_ms: the frame, and an empty seat. */
int nj_engine_reopen(struct nj_engine *engine, size_t session, const char *cause,
                     struct nj_error *err) NJ_MUST_USE;
/* What the journal's frames of attempts say, while recovering. */
int nj_engine_on_archived(struct nj_engine *engine, const struct nj_frame *frame,
                          struct nj_error *err) NJ_MUST_USE;
int nj_engine_on_reopened(struct nj_engine *engine, const struct nj_frame *frame,
                          struct nj_error *err) NJ_MUST_USE;
/* Behind that: who has ended, who is tried again, and bundles that got another name thereby. */
int nj_engine_settle_attempts(struct nj_engine *engine, struct nj_error *err) NJ_MUST_USE;

/* publish.c */
int nj_live_publish(struct nj_live *live, struct nj_error *err) NJ_MUST_USE;
int nj_live_reclose(struct nj_live *live,
                    struct nj_error *err) NJ_MUST_USE; /* read its CLOSED back after a crash */

/* recover.c */
int nj_engine_scan(struct nj_engine *engine,
                   struct nj_error *err) NJ_MUST_USE; /* before the writer is open */
int nj_engine_restore(struct nj_engine *engine, struct nj_error *err) NJ_MUST_USE; /* after */

/* money.c: reservations before calls, settlements after */
int nj_money_init(struct nj_engine *engine, struct nj_error *err) NJ_MUST_USE;
void nj_money_done(struct nj_engine *engine);
void nj_money_spent_before(struct nj_engine *engine, const struct nj_plan_session *plan,
                           uint64_t micro_usd);       /* what earlier processes of the run spent */
bool nj_money_allows(const struct nj_engine *engine); /* may sessions begin? */
/* nj_money_ask - reserve for the call that @live is about to make, and make it
 * (nj_live_ask_model()), now or when others have settled; or park the session */
void nj_money_ask(struct nj_live *live);
void nj_money_settle(struct nj_live *live, uint64_t spent_micro_usd);
bool nj_money_renew(struct nj_live *live, uint64_t spent_micro_usd); /* between two tries */
void nj_money_grant(struct nj_engine *engine);                       /* from the loop */
void nj_money_forget(struct nj_live *live);                          /* it does not wait any more */

/* engine.c */
void nj_engine_fail(struct nj_engine *engine,
                    const struct nj_error *err); /* the run cannot go on: exit 3 */
void nj_engine_ended(struct nj_live *live);      /* it has its row: make room for the next */
void nj_engine_again(struct nj_live *live);      /* its attempt has: it waits for another */
void nj_engine_reschedule(struct nj_engine *engine);
void nj_engine_note_piece(void *engine); /* another piece of the loop's work begins */
void nj_engine_suspend(struct nj_engine *engine,
                       const char *reason); /* the run: calls under way may end */
void nj_engine_park(struct nj_live *live, const char *reason); /* one session; the run goes on */

#endif
