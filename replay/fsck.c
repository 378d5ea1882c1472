/*
 * fsck.c - one record, frame by frame: decoded, folded, and everything it names looked up
 *
 * Folding makes each list node and message anew; the sink holds them against the record's objects,
 * so the conversation is checked in the time that it took to grow. Workspaces are followed with one
 * memory for all of them, so a step costs what it changed. After a fault folding ends (the state is
 * not known any more), but frames and references are looked at to the end.
 */
#include "replay/fsck.h"

#include <inttypes.h>
#include <stdarg.h>

#include "formats/object/ran.h"
#include "replay/timeline.h"

#include "formats/base/banned.h"

struct check {
    struct nj_record *record;
    const struct nj_fsck_ear *ear;
    struct nj_object_source objects;
    struct nj_object_source inputs;
    struct nj_reach *reach;
    struct nj_reach *reach_inputs;
    struct nj_buf payload;
    struct nj_buf messages;
    struct nj_buf object;
    struct nj_arena arena; /* of the config */
    struct nj_session_config *config;
    struct nj_session *session; /* NULL: nothing can be folded any more */
    bool broken;                /* what follows is no part of the whole prefix */
    uint64_t sequence;          /* of the frame being checked */
    struct nj_fsck_result result;
};

static void check_done(struct check *check)
{
    nj_reach_free(check->reach);
    nj_reach_free(check->reach_inputs);
    nj_buf_done(&check->payload);
    nj_buf_done(&check->messages);
    nj_buf_done(&check->object);
    nj_session_free(check->session);
    nj_arena_done(&check->arena);
}
NJ_DEFINE_AUTO_VAL(struct check, check_done);

static bool host_failed(int r)
{
    return r == -NJ_E_NOMEM || r == -NJ_E_SYSTEM;
}

static int tell(struct check *check, const char *where, const struct nj_error *why,
                struct nj_error *err)
{
    struct nj_fault told = {.where = where, .what = why->text};

    if (host_failed(-(int)why->code)) { /* no fault of the record */
        *err = *why;
        return -(int)err->code;
    }
    if (check->result.faults++ >= NJ_FSCK_FAULTS_MAX)
        return 0;
    return check->ear->fault(check->ear->ctx, &told, err);
}

/* fault - @why is what is wrong with the frame being checked. Returns 0 when checking can go on. */
static int fault(struct check *check, const char *kind, const struct nj_error *why,
                 struct nj_error *err)
{
    char where[80];

    nj_session_free(check->session);
    check->session = NULL;
    check->broken = true;
    (void)snprintf(where, sizeof(where), "frame %" PRIu64 " (%s)", check->sequence, kind);
    return tell(check, where, why, err);
}

/* ---- what a frame names ---- */

static int wants(struct check *check, const struct nj_object_source *source,
                 enum nj_object_kind kind, const struct nj_digest *digest, struct nj_error *err)
{
    nj_buf_clear(&check->object);
    return nj_object_get(source, kind, digest, &check->object, err);
}

static int visit_object(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                        struct nj_error *err)
{
    struct check *check = ctx;

    return wants(check, &check->objects, kind, digest, err);
}

static int visit_input(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                       struct nj_error *err)
{
    struct check *check = ctx;

    return wants(check, &check->inputs, kind, digest, err);
}

static int wants_workspace(struct check *check, const struct nj_digest *tree,
                           const struct nj_digest *stamps, struct nj_error *err)
{
    struct nj_workspace_ref ref = {*tree, *stamps};

    return nj_reach_workspace(check->reach, &ref, err) < 0 ? nj_wrap(err, "workspace") : 0;
}

/* An output that is told in full is named by its bytes. */
static int output_fits(const struct nj_stream *stream, const char *name, struct nj_error *err)
{
    struct nj_digest digest;

    if (stream->bytes < stream->head.len + stream->tail.len)
        return nj_fail(err, NJ_E_CORRUPT, "%s: more bytes are kept than were written", name);
    if (stream->bytes > stream->head.len)
        return 0;
    nj_digest_bytes(stream->head.data, stream->head.len, &digest);
    if (!nj_digest_equal(&digest, &stream->digest))
        return nj_fail(err, NJ_E_CORRUPT, "%s: its bytes are not those of its digest", name);
    return 0;
}

static int ran_fits(struct check *check, const struct nj_digest *digest, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_ran ran;

    if (wants(check, &check->objects, NJ_OBJECT_BLOB, digest, err) < 0)
        return -(int)err->code;
    return nj_ran_decode(nj_buf_span(&check->object), &arena, &ran, err);
}

static int outcome_fits(struct check *check, const struct nj_call_outcome *outcome,
                        const struct nj_call_meta *meta, struct nj_error *err)
{
    if (output_fits(&outcome->out, "standard output", err) < 0 ||
        output_fits(&outcome->errors, "standard error", err) < 0)
        return -(int)err->code;
    if (meta->has_ran && ran_fits(check, &meta->ran, err) < 0)
        return nj_wrap(err, "what ran");
    return wants_workspace(check, &outcome->tree, &meta->stamps, err);
}

static int opened_fits(struct check *check, const struct nj_event *event, struct nj_error *err)
{
    if (check->sequence != 1)
        return nj_fail(err, NJ_E_CORRUPT, "the session is open already");
    if (wants(check, &check->objects, NJ_OBJECT_CONFIG, &event->opened.config, err) < 0 ||
        nj_config_decode(nj_buf_span(&check->object), &check->arena, &check->config, err) < 0)
        return nj_wrap(err, "the session's config");
    if (wants(check, &check->objects, NJ_OBJECT_MESSAGE, &event->opened.first, err) < 0)
        return nj_wrap(err, "the first message");
    if (wants_workspace(check, &event->opened.tree, &event->opened.stamps, err) < 0)
        return -(int)err->code;
    return 0;
}

/* mounts_fit - a mount that is damaged is a fault, but takes nothing from what the session did */
static int mounts_fit(struct check *check, struct nj_error *err)
{
    bool there = nj_record_info(check->record)->inputs_embedded ||
                 !nj_record_is_bundle(check->record); /* else told by digest only */

    check->result.inputs_whole = there;
    if (there && check->config->rootfs) {
        struct nj_error why = {0};
        int r;

        if (nj_reach_workspace(check->reach_inputs, &check->config->rootfs->input, &why) < 0) {
            check->result.inputs_whole = false;
            r = tell(check, "rootfs", &why, err);
            if (r < 0)
                return r;
        }
    }
    for (size_t i = 0; there && i < check->config->n_mounts; i++) {
        struct nj_error why = {0};
        char where[80];
        int r;

        if (nj_reach_workspace(check->reach_inputs, &check->config->mounts[i].input, &why) == 0)
            continue;
        check->result.inputs_whole = false;
        (void)snprintf(where, sizeof(where), "mount %.60s", check->config->mounts[i].target);
        r = tell(check, where, &why, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int raw_fits(struct check *check, const struct nj_event *event, struct nj_error *err)
{
    if (event->answer.has_raw &&
        wants(check, &check->objects, NJ_OBJECT_BLOB, &event->answer.raw, err) < 0)
        return nj_wrap(err, "what was received of a failed try");
    return 0;
}

/* names_fit - every object that @event names is there */
static int names_fit(struct check *check, const struct nj_event *event, struct nj_error *err)
{
    if (check->sequence == 1 && event->kind != NJ_EVENT_OPENED)
        return nj_fail(err, NJ_E_CORRUPT, "the session is not opened");
    if (raw_fits(check, event, err) < 0)
        return -(int)err->code;
    switch (event->kind) {
    case NJ_EVENT_OPENED:
        return opened_fits(check, event, err);
    case NJ_EVENT_REPLY:
        if (wants(check, &check->objects, NJ_OBJECT_MESSAGE, &event->reply.message, err) < 0)
            return nj_wrap(err, "the reply");
        return 0;
    case NJ_EVENT_TOOL_DONE:
        return outcome_fits(check, &event->tool_done.outcome, &event->tool_done.meta, err);
    case NJ_EVENT_JUDGED:
        return outcome_fits(check, &event->judged.outcome, &event->judged.meta, err);
    case NJ_EVENT_CLOSED:
        /* Stamps of outputs are the workspace's: their tree is all there is to follow. */
        if (event->closed.has_outputs &&
            nj_reach_tree(check->reach, &event->closed.outputs, err) < 0)
            return nj_wrap(err, "outputs");
        return 0;
    case NJ_EVENT_NO_REPLY:
    case NJ_EVENT_ATTEMPT:
    case NJ_EVENT_BOX:
    case NJ_EVENT_SUSPENDED:
    case NJ_EVENT_RESUMED:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return 0;
}

/* ---- folding ---- */

/* What the fold makes, the record must hold. */
static int made_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    struct check *check = ctx;

    if (wants(check, &check->objects, object->kind, &object->digest, err) < 0)
        return nj_wrap(err, "conversation");
    return 0;
}

static int fold_event(struct check *check, struct nj_event *event, struct nj_error *err)
{
    struct nj_object_sink sink = {.put = made_object, .ctx = check};
    struct nj_span first;
    int r;

    if (event->kind == NJ_EVENT_OPENED) {
        r = nj_session_new(check->config, &check->session, err);
        if (r < 0)
            return r;
    }
    nj_buf_clear(&check->messages);
    r = nj_record_messages(check->record, event, &check->messages, &first, err);
    if (r == 0)
        r = nj_session_step(check->session, event, first, &sink, err);
    if (r < 0)
        return r;
    check->session->sequence = check->sequence;
    return 0;
}

static int check_event(struct check *check, struct nj_span payload, struct nj_error *err)
{
    struct nj_error why = {0};
    struct nj_event event;
    int r;

    if (nj_event_decode(payload, &event, &why) < 0)
        return fault(check, "event", &why, err);
    r = names_fit(check, &event, &why);
    if (r == 0 && (check->session || check->sequence == 1))
        r = fold_event(check, &event, &why);
    if (r < 0)
        return fault(check, nj_event_kind_text(event.kind), &why, err);
    if (!check->broken && event.kind == NJ_EVENT_CLOSED)
        check->result.status = event.closed.status;
    if (event.kind != NJ_EVENT_OPENED)
        return 0;
    (void)snprintf(check->result.reproducible, sizeof(check->result.reproducible), "%s",
                   check->config->reproducible);
    return mounts_fit(check, err);
}

/* snapshot_fits - is it what the events before it give? Keys of later builds are theirs to judge.
 */
static int snapshot_fits(struct check *check, struct nj_span packed, struct nj_error *err)
{
    struct nj_event durable = {.kind = NJ_EVENT_SNAPSHOTTED};
    struct nj_object_sink sink = {.put = made_object, .ctx = check};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
    struct nj_snapshot then, now;
    int r;

    r = nj_snapshot_unpack(packed, &arena, &then, err);
    if (r < 0 || !check->session)
        return r;
    if (check->session->state != NJ_SESSION_SNAPSHOTTING)
        return nj_fail(err, NJ_E_CORRUPT, "a snapshot while the session waits for %s",
                       nj_session_state_text(check->session->state));
    nj_session_checkpoint(check->session, &now);
    now.unknown = then.unknown;
    now.n_unknown = then.n_unknown;
    /* The first builds wrote neither clock nor seed; where no call had a clock nothing needs them.
     */
    if (then.clock_ns == 0 && check->config->layer == 0)
        now.clock_ns = 0;
    nj_buf_init(&expected, NJ_SNAPSHOT_MAX_BYTES);
    r = nj_snapshot_pack(&now, &expected, err);
    if (r < 0)
        return r;
    if (!nj_span_equal(nj_buf_span(&expected), packed))
        return nj_fail(err, NJ_E_CORRUPT, "it is not what the frames before it give");
    return nj_session_step(check->session, &durable, (struct nj_span){0}, &sink, err);
}

/* ---- the record ---- */

static int check_frame(struct check *check, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_error why = {0};

    switch (frame->kind) {
    case NJ_FRAME_EVENT:
        return check_event(check, frame->payload, err);
    case NJ_FRAME_SNAPSHOT:
        if (snapshot_fits(check, frame->payload, &why) < 0)
            return fault(check, "snapshot", &why, err);
        break;
    case NJ_FRAME_OUTPUT:
    case NJ_FRAME_OBJECT:
    case NJ_FRAME_RUN:
    case NJ_FRAME_ARCHIVED:
    case NJ_FRAME_COMMIT:
    case NJ_FRAME_REOPENED:
        break;
    }
    return 0;
}

int nj_fsck_record(struct nj_record *record, const struct nj_fsck_ear *ear,
                   struct nj_fsck_result *ret_result, struct nj_error *err)
{
    NJ_AUTO(check_done)
    struct check check = {.record = record,
                          .ear = ear,
                          .objects = nj_record_objects(record),
                          .inputs = nj_record_inputs(record)};
    uint64_t lost_first = 0;
    int r;

    nj_buf_init(&check.payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    nj_buf_init(&check.messages, NJ_OBJECT_MAX_BYTES);
    nj_buf_init(&check.object, NJ_OBJECT_MAX_BYTES);
    check.result.frames = nj_record_info(record)->frames;
    r = nj_reach_new(&check.objects, visit_object, &check, &check.reach, err);
    if (r == 0)
        r = nj_reach_new(&check.inputs, visit_input, &check, &check.reach_inputs, err);
    for (uint64_t sequence = 1; r == 0 && sequence <= check.result.frames; sequence++) {
        struct nj_error why = {0};
        struct nj_frame frame;

        check.sequence = sequence;
        nj_buf_clear(&check.payload);
        if (nj_record_frame(record, sequence, &check.payload, &frame, &why) < 0) {
            /* Frames are lost by the thousand: the first of a row speaks for all. */
            if (nj_record_damage(record) && !host_failed(-(int)why.code))
                (void)nj_fail(&why, NJ_E_CORRUPT, "it is not there");
            if (lost_first == 0 || host_failed(-(int)why.code))
                r = fault(&check, "lost", &why, err);
            lost_first = lost_first ? lost_first : sequence;
            continue;
        }
        lost_first = 0;
        r = check_frame(&check, &frame, err);
        if (!check.broken) {
            check.result.frames_whole = sequence;
            check.result.steps_whole = check.session->steps;
        }
    }
    if (r < 0)
        return r;
    *ret_result = check.result;
    return 0;
}

/* ---- saving ---- */

static int save_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    return nj_bundle_writer_object(ctx, object, err);
}

struct save_inputs {
    struct nj_bundle_writer *writer;
    struct nj_object_source source;
    struct nj_buf bytes;
};

static int save_input(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                      struct nj_error *err)
{
    struct save_inputs *save = ctx;
    struct nj_object object = {.kind = kind, .digest = *digest};
    int r;

    nj_buf_clear(&save->bytes);
    r = nj_object_get(&save->source, kind, digest, &save->bytes, err);
    object.bytes = nj_buf_span(&save->bytes);
    return r < 0 ? r : nj_bundle_writer_input(save->writer, &object, err);
}

static int save_mounts(struct nj_record *record, struct nj_bundle_writer *writer,
                       struct nj_error *err)
{
    struct save_inputs save = {.writer = writer, .source = nj_record_inputs(record)};
    NJ_AUTO(nj_timeline_free) struct nj_timeline *timeline = NULL;
    int r;

    r = nj_timeline_new(record, true, &timeline, err);
    nj_buf_init(&save.bytes, NJ_OBJECT_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < timeline->config->n_mounts; i++)
        r = nj_tree_reach(&save.source, &timeline->config->mounts[i].input, save_input, &save, err);
    if (r == 0 && timeline->config->rootfs)
        r = nj_tree_reach(&save.source, &timeline->config->rootfs->input, save_input, &save, err);
    nj_buf_done(&save.bytes);
    return r;
}

int nj_fsck_save(struct nj_record *record, const struct nj_fsck_result *result, int fd,
                 struct nj_error *err)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_bundle_info info = *nj_record_info(record);
    int r;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    r = nj_bundle_writer_new(-1, &writer, err);
    for (uint64_t sequence = 1; r == 0 && sequence <= result->frames_whole; sequence++) {
        struct nj_frame frame;

        nj_buf_clear(&payload);
        r = nj_record_frame(record, sequence, &payload, &frame, err);
        if (r == 0)
            r = nj_bundle_writer_frame(writer, &frame, err);
    }
    if (r == 0)
        r = nj_record_each_object(record, save_object, writer, err);
    if (r == 0 && result->inputs_whole)
        r = save_mounts(record, writer, err);
    if (r < 0)
        return r;
    info.inputs_embedded = result->inputs_whole;
    info.status = result->status ? result->status : NJ_STATUS_SUSPENDED;
    if (result->reproducible[0])
        info.reproducible = result->reproducible;
    return nj_bundle_writer_finish(writer, &info, nj_record_manifest(record), fd, err);
}
