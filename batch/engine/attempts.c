/*
 * attempts.c - a session that failed and is tried again, written and recovered
 *
 * An attempt ends with ARCHIVED; where another follows, REOPENED stands right behind it, and the
 * session begins from the start under the same number. The one complication is a crash between the
 * two frames, which may lie in two batches: whoever goes on decides anew, by the same rule, and the
 * failure's kind is among the figures in ARCHIVED. Source: formats/journal/FORMAT.md, "Attempts".
 */
#include "batch/engine/live.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#include "batch/engine/again.h"

#include "formats/base/banned.h"

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct nj_engine_seat *seat_of(const struct nj_live *live)
{
    return &live->engine->seats[live->plan->number - 1];
}

uint64_t nj_live_attempt(const struct nj_live *live)
{
    return seat_of(live)->attempts + 1;
}

/* Whether a session whose attempt number @attempt failed is tried again, and when. */
static bool decide(struct nj_engine *engine, size_t session, uint64_t attempt,
                   const char *error_kind)
{
    const struct nj_plan_session *plan = &engine->plan->sessions[session];
    const struct nj_manifest_retry *retry = &engine->manifest->groups[plan->group].retry;

    if (!nj_again_wanted(retry, attempt, error_kind))
        return false;
    engine->seats[session].due_ms = wall_ms() + nj_again_delay_ms(retry, attempt, &plan->identity);
    return true;
}

bool nj_live_wants_again(struct nj_live *live, const char *error_kind)
{
    return decide(live->engine, live->plan->number - 1, nj_live_attempt(live), error_kind);
}

int nj_live_attempt_bundle_name(const struct nj_plan_session *plan, uint64_t attempt, char *name,
                                size_t size)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(&plan->identity, hex);
    return snprintf(name, size, "%s-%.8s.attempt-%" PRIu64 ".njb", plan->slug, hex, attempt);
}

/* ---- figures ---- */

/* The session has not ended after all: what the views are told of it until it begins again. */
static int reopen_facts(struct nj_engine_seat *seat, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    struct nj_facts facts;

    if (seat->facts.len == 0)
        return 0;
    if (nj_facts_decode(nj_buf_span(&seat->facts), &arena, &facts, err) < 0)
        return -(int)err->code;
    facts.status = 0;
    facts.bundle = "";
    nj_buf_init(&packed, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (nj_facts_encode(&facts, &packed, err) < 0)
        return -(int)err->code;
    nj_buf_done(&seat->facts);
    seat->facts = packed;
    packed = (struct nj_buf){0};
    return 0;
}

/* The error's kind; "" where the figures are missing. */
static int read_error_kind(const struct nj_engine_seat *seat, char *kind, size_t size,
                           struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts facts;

    kind[0] = '\0';
    if (seat->facts.len == 0)
        return 0;
    if (nj_facts_decode(nj_buf_span(&seat->facts), &arena, &facts, err) < 0)
        return -(int)err->code;
    (void)snprintf(kind, size, "%s", facts.error_kind);
    return 0;
}

/* ---- written ---- */

int nj_engine_reopen(struct nj_engine *engine, size_t session, const char *cause,
                     struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_engine_seat *seat = &engine->seats[session];
    struct nj_frame frame = {.kind = NJ_FRAME_REOPENED,
                             .session = engine->plan->sessions[session].number};
    struct nj_packer packer;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    nj_packer_init(&packer, &payload);
    nj_pack_map(&packer, 3);
    nj_pack_put_uint(&packer, "attempt", seat->attempts + 1);
    nj_pack_put_text(&packer, "cause", cause);
    nj_pack_put_uint(&packer, "not_before_ms", (uint64_t)seat->due_ms);
    frame.payload = nj_buf_span(&payload);
    if (nj_packer_end(&packer, err) < 0 || nj_journal_append(engine->writer, &frame, NULL, err) < 0)
        return -(int)err->code;
    free(seat->row);
    seat->row = NULL;
    seat->status = 0;
    return reopen_facts(seat, err);
}

/* ---- recovered ---- */

int nj_engine_on_archived(struct nj_engine *engine, const struct nj_frame *frame,
                          struct nj_error *err)
{
    struct nj_engine_seat *seat = &engine->seats[frame->session - 1];
    struct nj_archived archived;

    if (nj_archived_decode(frame->payload, &archived, err) < 0)
        return -(int)err->code;
    nj_money_spent_before(engine, &engine->plan->sessions[frame->session - 1],
                          archived.cost_micro_usd);
    free(seat->row);
    seat->row = nj_span_dup(archived.row);
    if (!seat->row)
        return nj_fail_nomem(err);
    nj_buf_done(&seat->facts);
    nj_buf_init(&seat->facts, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (nj_buf_append(&seat->facts, archived.facts.data, archived.facts.len, err) < 0)
        return -(int)err->code;
    seat->status = archived.status;
    seat->unbundled = !nj_live_row_has_bundle(seat->row);
    seat->attempts++;
    seat->reopened = false;
    nj_live_free(seat->past); /* its frames and objects are of no account any more */
    seat->past = NULL;
    return 0;
}

int nj_engine_on_reopened(struct nj_engine *engine, const struct nj_frame *frame,
                          struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_engine_seat *seat = &engine->seats[frame->session - 1];
    struct nj_pack_at map;
    uint64_t due = 0;

    if (nj_pack_open(&doc, "reopened", frame->payload, err) < 0 ||
        nj_pack_root(&doc, &map, err) < 0 ||
        nj_pack_get_uint(&map, "not_before_ms", INT64_MAX, &due, err) < 0)
        return -(int)err->code;
    if (seat->status == 0)
        return nj_fail(err, NJ_E_CORRUPT,
                       "journal: session %u is tried again before its attempt has ended",
                       frame->session);
    free(seat->row);
    seat->row = NULL;
    seat->status = 0;
    seat->due_ms = (int64_t)due;
    seat->reopened = true;
    return reopen_facts(seat, err);
}

/* The bundle that was the last attempt's has the plain name, which is the next one's now. Done
 * before that one begins, and again by whoever comes after a crash: a bundle under the plain name
 * can only be the earlier attempt's as long as the next one has no frame. */
static int rename_bundle(struct nj_engine *engine, size_t session, struct nj_error *err)
{
    const struct nj_plan_session *plan = &engine->plan->sessions[session];
    char from[NJ_BUNDLE_NAME_MAX_BYTES];
    char to[NJ_BUNDLE_NAME_MAX_BYTES];

    (void)nj_live_bundle_name(plan, from, sizeof(from));
    (void)nj_live_attempt_bundle_name(plan, engine->seats[session].attempts, to, sizeof(to));
    if (faccessat(engine->dir.bundles_fd, from, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : nj_fail_errno(err, errno, "look at bundle %s", from);
    return nj_fsio_rename(engine->dir.bundles_fd, from, engine->dir.bundles_fd, to, err);
}

/* A failed session that is to be tried again though the journal does not say so yet: because that
 * frame was lost, or because a person asks for it now. */
static int reopen_failed(struct nj_engine *engine, size_t session, struct nj_error *err)
{
    struct nj_engine_seat *seat = &engine->seats[session];
    char kind[NJ_ERROR_KIND_MAX_BYTES];
    const char *cause = kind;

    if (read_error_kind(seat, kind, sizeof(kind), err) < 0)
        return -(int)err->code;
    if (!decide(engine, session, seat->attempts, kind)) {
        if (!engine->options->retry_failed)
            return 0;
        seat->due_ms = 0;
        cause = "asked";
    }
    seat->reopened = true;
    return nj_engine_reopen(engine, session, cause, err);
}

int nj_engine_settle_attempts(struct nj_engine *engine, struct nj_error *err)
{
    bool any = false;

    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        struct nj_engine_seat *seat = &engine->seats[i];

        if (seat->status == NJ_STATUS_FAILED && reopen_failed(engine, i, err) < 0)
            return -(int)err->code;
        any |= seat->reopened;
        if (seat->status != 0)
            nj_queue_end(engine->queue, i);
    }
    if (!any)
        return 0;
    if (nj_journal_commit(engine->writer, err) < 0) /* recorded before a bundle is renamed */
        return -(int)err->code;
    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        struct nj_engine_seat *seat = &engine->seats[i];

        if (!seat->reopened || (seat->past && seat->past->sequence > 0))
            continue; /* the attempt that follows has begun */
        nj_queue_end(engine->queue, i);
        if (nj_queue_again(engine->queue, i, seat->due_ms, err) < 0 ||
            rename_bundle(engine, i, err) < 0)
            return -(int)err->code;
    }
    return 0;
}
