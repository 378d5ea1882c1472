/*
 * record.c - a bundle, or a session among the frames of a run's journal
 *
 * The one complication is the session that is both: once it is archived its bundle is what counts,
 * but the run still has the inputs that the bundle may only refer to.
 */
#include "replay/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "batch/plan/inputs.h"
#include "batch/run/scan.h"

#include "formats/base/banned.h"

struct nj_record {
    struct nj_bundle_info info;
    struct nj_bundle *bundle; /* NULL: read from a journal */
    int bundle_fd;            /* of a bundle that was found in a run; else -1 */

    struct nj_journal *journal; /* own_journal, or borrowed */
    struct nj_journal *own_journal;
    struct nj_scan scan;
    struct nj_scan_reader reader;
    struct nj_inputs *inputs;
    struct nj_buf manifest;
    struct nj_arena arena; /* of info's texts */
};

static const struct nj_bundle_info empty_info = {.job = "",
                                                 .run = "",
                                                 .key = "",
                                                 .group = "",
                                                 .agent = "",
                                                 .reproducible = "",
                                                 .environment = "{}"};

static int record_new(struct nj_record **ret_record, struct nj_error *err)
{
    struct nj_record *record = calloc(1, sizeof(*record));

    if (!record)
        return nj_fail_nomem(err);
    record->bundle_fd = -1;
    record->info = empty_info;
    nj_buf_init(&record->manifest, NJ_BUNDLE_MANIFEST_MAX_BYTES);
    *ret_record = record;
    return 0;
}

void nj_record_free(struct nj_record *record)
{
    if (!record)
        return;
    nj_bundle_free(record->bundle);
    if (record->bundle_fd >= 0)
        (void)close(record->bundle_fd);
    nj_journal_free(record->own_journal);
    nj_scan_done(&record->scan);
    nj_inputs_free(record->inputs);
    nj_buf_done(&record->manifest);
    nj_arena_done(&record->arena);
    free(record);
}

/* ---- from a bundle ---- */

/* nightjar.json is what a person reads first; it must not tell of another session than the frames
 * do. */
static int check_info(struct nj_record *record, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    const struct nj_bundle_info *info = &record->info;
    struct nj_frame frame;
    struct nj_event event;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (info->frames == 0)
        return 0; /* salvaged: nothing is left to compare with */
    if (nj_record_frame(record, 1, &payload, &frame, err) < 0)
        return -(int)err->code;
    if (frame.kind != NJ_FRAME_EVENT)
        return nj_fail(err, NJ_E_CORRUPT, "frame 1 is no event");
    if (nj_event_decode(frame.payload, &event, err) < 0)
        return nj_wrap(err, "frame 1");
    if (event.kind != NJ_EVENT_OPENED)
        return nj_fail(err, NJ_E_CORRUPT, "frame 1 does not open the session");
    if (!nj_span_is(event.opened.key, info->key) || !nj_span_is(event.opened.group, info->group) ||
        !nj_span_is(event.opened.agent, info->agent) ||
        !nj_digest_equal(&event.opened.identity, &info->identity))
        return nj_fail(
            err, NJ_E_CORRUPT,
            "nightjar.json tells of another session than the journal (key, group, agent or "
            "identity)");
    return 0;
}

int nj_record_open_bundle(int fd, const char *name, unsigned flags, struct nj_record **ret_record,
                          struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;
    int r;

    r = record_new(&record, err);
    if (r == 0)
        r = nj_bundle_open(fd, name, flags, &record->bundle, err);
    if (r < 0)
        return r;
    record->info = *nj_bundle_info(record->bundle);
    r = check_info(record, err);
    if (r < 0)
        return nj_wrap(err, "bundle %s", name);
    *ret_record = nj_steal_ptr(&record);
    return 0;
}

/* ---- from a run ---- */

/* Returns 0, or 1 when the bundle that the journal names is not there any more. */
static int open_archived(struct nj_record *record, const struct nj_run_dir *dir, unsigned flags,
                         struct nj_error *err)
{
    if (!record->scan.bundle)
        return 1;
    record->bundle_fd = openat(dir->bundles_fd, record->scan.bundle,
                               O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (record->bundle_fd < 0 && errno == ENOENT)
        return 1;
    if (record->bundle_fd < 0)
        return nj_fail_errno(err, errno, "open bundle %s", record->scan.bundle);
    if (nj_bundle_open(record->bundle_fd, record->scan.bundle, flags, &record->bundle, err) < 0)
        return -(int)err->code;
    record->info = *nj_bundle_info(record->bundle);
    return check_info(record, err);
}

static int keep_text(struct nj_record *record, struct nj_span text, const char **ret_text,
                     struct nj_error *err)
{
    *ret_text = nj_arena_span(&record->arena, text);
    return *ret_text ? 0 : nj_fail_nomem(err);
}

/* The manifest is shown, not used: a run without it can be read all the same. */
static void read_manifest(struct nj_record *record, const struct nj_run_dir *dir)
{
    struct nj_error ignored = {0};

    if (nj_fsio_read_file(dir->fd, "job.yaml", &record->manifest, &ignored) < 0)
        nj_buf_clear(&record->manifest);
}

/* What a bundle's nightjar.json would say, from the first frame and the scan. */
static int fill_info(struct nj_record *record, const struct nj_run_dir *dir, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_bundle_info *info = &record->info;
    struct nj_frame frame;
    struct nj_event event;

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (nj_record_frame(record, 1, &payload, &frame, err) < 0 ||
        nj_event_decode(frame.payload, &event, err) < 0)
        return nj_wrap(err, "frame 1");
    if (frame.kind != NJ_FRAME_EVENT || event.kind != NJ_EVENT_OPENED)
        return nj_fail(err, NJ_E_CORRUPT, "frame 1 does not open the session");
    if (keep_text(record, event.opened.key, &info->key, err) < 0 ||
        keep_text(record, event.opened.group, &info->group, err) < 0 ||
        keep_text(record, event.opened.agent, &info->agent, err) < 0)
        return -(int)err->code;
    info->job = record->scan.job ? record->scan.job : "";
    info->run = dir->name;
    info->identity = record->scan.identity;
    info->status = record->scan.status;
    info->frames = record->scan.n_places;
    info->digests = record->scan.digests;
    read_manifest(record, dir);
    return 0;
}

int nj_record_open_run(const struct nj_run_dir *dir, const char *key, unsigned flags,
                       struct nj_record **ret_record, struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;
    int r = 1;

    if (record_new(&record, err) < 0)
        return -(int)err->code;
    if (nj_journal_open(dir->journal_fd, &record->own_journal, err) < 0)
        return nj_wrap(err, "run %s", dir->path);
    nj_journal_hold(record->own_journal); /* the engine may be at work */
    if (nj_scan_session(record->own_journal, key, &record->scan, err) < 0)
        return nj_wrap(err, "run %s", dir->path);
    record->journal = record->own_journal;
    record->reader = (struct nj_scan_reader){.journal = record->journal, .scan = &record->scan};
    if (record->scan.archived)
        r = open_archived(record, dir, flags, err);
    if (r == 1 && record->scan.archived && record->scan.n_places == 0 && record->scan.bundle)
        r = nj_fail(err, NJ_E_INPUT,
                    "session %s has ended, its frames have left the journal, and bundles/%s is not "
                    "there any more",
                    key, record->scan.bundle);
    if (r == 1)
        r = fill_info(record, dir, err);
    /* A bundle without its inputs can still be verified here: the run has them. */
    if (r < 0 || nj_inputs_open(dir->inputs_fd, &record->inputs, err) < 0)
        return nj_wrap(err, "run %s", dir->path);
    *ret_record = nj_steal_ptr(&record);
    return 0;
}

int nj_record_open_scan(const struct nj_run_dir *dir, struct nj_journal *journal,
                        struct nj_scan *scan, struct nj_record **ret_record, struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;

    if (record_new(&record, err) < 0)
        return -(int)err->code;
    record->journal = journal;
    record->scan = *scan;
    *scan = (struct nj_scan){0};
    record->reader = (struct nj_scan_reader){.journal = journal, .scan = &record->scan};
    if (fill_info(record, dir, err) < 0 || nj_inputs_open(dir->inputs_fd, &record->inputs, err) < 0)
        return -(int)err->code;
    *ret_record = nj_steal_ptr(&record);
    return 0;
}

/* ---- both ---- */

const struct nj_bundle_info *nj_record_info(const struct nj_record *record)
{
    return &record->info;
}

struct nj_span nj_record_manifest(const struct nj_record *record)
{
    return record->bundle ? nj_bundle_manifest(record->bundle) : nj_buf_span(&record->manifest);
}

const char *nj_record_damage(const struct nj_record *record)
{
    return record->bundle ? nj_bundle_damage(record->bundle) : NULL;
}

bool nj_record_is_bundle(const struct nj_record *record)
{
    return record->bundle != NULL;
}

int nj_record_frame(struct nj_record *record, uint64_t sequence, struct nj_buf *out,
                    struct nj_frame *ret_frame, struct nj_error *err)
{
    if (record->bundle)
        return nj_bundle_frame(record->bundle, sequence, out, ret_frame, err);
    if (sequence == 0 || sequence > record->scan.n_places)
        return nj_fail(err, NJ_E_INPUT, "frame %" PRIu64 ": the record has 1 to %zu", sequence,
                       record->scan.n_places);
    return nj_journal_read_frame(record->journal, &record->scan.places[sequence - 1], out,
                                 ret_frame, err);
}

int nj_record_messages(struct nj_record *record, struct nj_event *event, struct nj_buf *out,
                       struct nj_span *ret_first, struct nj_error *err)
{
    struct nj_object_source objects = nj_record_objects(record);
    const struct nj_digest *wanted = NULL;
    struct nj_span bytes = {0};
    size_t start = out->len;

    if (event->kind == NJ_EVENT_OPENED)
        wanted = &event->opened.first;
    else if (event->kind == NJ_EVENT_REPLY)
        wanted = &event->reply.message;
    if (wanted) {
        if (nj_object_get(&objects, NJ_OBJECT_MESSAGE, wanted, out, err) < 0)
            return -(int)err->code;
        bytes = (struct nj_span){out->data + start, out->len - start};
    }
    if (event->kind == NJ_EVENT_REPLY)
        event->reply.message_bytes = bytes;
    *ret_first = event->kind == NJ_EVENT_OPENED ? bytes : (struct nj_span){0};
    return 0;
}

struct nj_object_source nj_record_objects(struct nj_record *record)
{
    if (record->bundle)
        return nj_bundle_objects(record->bundle);
    return nj_scan_source(&record->reader);
}

struct nj_object_source nj_record_inputs(struct nj_record *record)
{
    if (record->bundle && (record->info.inputs_embedded || !record->inputs))
        return nj_bundle_inputs(record->bundle);
    return nj_inputs_source(record->inputs);
}

int nj_record_each_object(struct nj_record *record, nj_record_visit visit, void *ctx,
                          struct nj_error *err)
{
    nj_auto_free struct nj_object_index_slot *sorted = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_scan_reader reader = {.journal = record->journal, .scan = &record->scan};
    const struct nj_object_shelf shelf = nj_scan_shelf(&reader);
    int r = 0;

    if (record->bundle)
        return nj_bundle_each_object(record->bundle, visit, ctx, err);
    sorted = nj_object_index_sorted(&record->scan.index);
    if (!sorted)
        return nj_fail_nomem(err);
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < record->scan.index.count; i++) {
        struct nj_object object;

        nj_buf_clear(&bytes);
        r = nj_object_load(&shelf, &sorted[i].digest, &bytes, &object, NULL, err);
        if (r == 0)
            r = visit(ctx, &object, err);
        else if (r == -NJ_E_CORRUPT) /* what it belongs to was found to be damaged, or nothing is */
            r = 0;
    }
    return r;
}

const char *nj_record_damage_at(const struct nj_record *record, size_t i)
{
    return record->bundle ? nj_bundle_damage_at(record->bundle, i) : NULL;
}
