/*
 * archive.c - from journal places to a bundle
 */
#include "batch/engine/archive.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "batch/engine/recent.h"
#include "batch/plan/plan.h"
#include "formats/base/cleanup.h"
#include "formats/base/fsio.h"
#include "formats/journal/event.h"

#include "formats/base/banned.h"

#define ENVIRONMENT_MAX_BYTES ((size_t)1 << 20)

struct input_ctx {
    struct nj_bundle_writer *writer;
    const struct nj_object_source *source;
    struct nj_buf bytes;
};

static int read_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct nj_archive *archive = ctx;
    const struct nj_journal_place *place = nj_object_index_find(archive->index, digest);

    return place ? nj_journal_read(archive->journal, place, out, err)
                 : nj_fail(err, NJ_E_CORRUPT, "it is missing");
}

/* Objects are added in the order they were written, and most are changes of one a few before: that
 * was put together already. */
struct adding {
    const struct nj_archive *archive;
    struct nj_recent *recent;
};

static int read_object_again(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                             struct nj_error *err)
{
    const struct adding *adding = ctx;
    int r = nj_recent_get(adding->recent, 0, digest, out, err);

    if (r != 0)
        return r < 0 ? r : 0;
    return read_object((void *)(uintptr_t)adding->archive, digest, out, err);
}

/* Whether others may be changes of it: of a file that never changed nothing is. */
static bool may_be_base(const struct nj_object *object, unsigned chain)
{
    return chain > 0 || object->kind == NJ_OBJECT_LIST || object->kind == NJ_OBJECT_TREE ||
           object->kind == NJ_OBJECT_STAMPS;
}

static int add_object(const struct adding *adding, const struct nj_digest *digest,
                      struct nj_buf *bytes, struct nj_bundle_writer *writer, struct nj_error *err)
{
    const struct nj_object_shelf shelf = {.read = read_object_again,
                                          .ctx = (void *)(uintptr_t)adding};
    struct nj_object object;
    unsigned chain;

    nj_buf_clear(bytes);
    if (nj_object_load(&shelf, digest, bytes, &object, &chain, err) < 0)
        return -(int)err->code;
    if (may_be_base(&object, chain))
        nj_recent_note(adding->recent, 0, &object, chain, NULL);
    return nj_bundle_writer_object(writer, &object, err);
}

static int add_input(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                     struct nj_error *err)
{
    struct input_ctx *input = ctx;
    struct nj_object object = {.kind = kind, .digest = *digest};

    nj_buf_clear(&input->bytes);
    if (input->source->get(input->source->ctx, digest, &input->bytes, err) < 0)
        return -(int)err->code;
    object.bytes = nj_buf_span(&input->bytes);
    return nj_bundle_writer_input(input->writer, &object, err);
}

static int add_inputs(const struct nj_archive *archive, struct nj_bundle_writer *writer,
                      struct nj_error *err)
{
    struct input_ctx input = {.writer = writer, .source = &archive->inputs};
    int r = 0;

    nj_buf_init(&input.bytes, NJ_OBJECT_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < archive->n_mounts; i++)
        r = nj_tree_reach(&archive->inputs, &archive->mounts[i], add_input, &input, err);
    nj_buf_done(&input.bytes);
    if (r < 0 && err->code == NJ_E_LIMIT) /* the job's fault: no session of it would fare better */
        return nj_fail(err, NJ_E_INPUT,
                       "inputs: %s; with \"archive: {inputs: reference}\" they are left out",
                       err->text);
    return r < 0 ? nj_wrap(err, "inputs") : 0;
}

/* ---- what ran ---- */

#define LISTS_MAX 4096 /* different ones of a session that are looked at */

struct lists {
    struct nj_arena arena; /* owns the paths */
    struct nj_digest *known;
    size_t n_known;
    struct nj_ran all; /* files has room for two lists */
    bool unknown;      /* of some calls nobody knows what ran */
};

static int add_list(const struct nj_archive *archive, const struct nj_digest *digest,
                    struct lists *lists, struct nj_error *err)
{
    const struct nj_object_shelf shelf = {.read = read_object, .ctx = (void *)(uintptr_t)archive};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object object;
    struct nj_ran ran;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (nj_object_load(&shelf, digest, &bytes, &object, NULL, err) < 0)
        return nj_wrap(err, "the list of what ran");
    if (nj_ran_decode(object.bytes, &arena, &ran, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < ran.n_files; i++) {
        struct nj_ran_file *file = &lists->all.files[lists->all.n_files++];
        const char *path = nj_arena_span(&lists->arena, ran.files[i].path);

        if (!path)
            return nj_fail_nomem(err);
        *file = ran.files[i];
        file->path.data = (const uint8_t *)path;
    }
    nj_ran_sort(&lists->all);
    lists->unknown |= ran.more || lists->all.n_files > NJ_RAN_FILES_MAX;
    if (lists->all.n_files > NJ_RAN_FILES_MAX)
        lists->all.n_files = NJ_RAN_FILES_MAX;
    return 0;
}

static int note_list(const struct nj_archive *archive, const struct nj_event *event,
                     struct lists *lists, struct nj_error *err)
{
    const struct nj_call_outcome *outcome = NULL;
    const struct nj_call_meta *meta = NULL;

    if (event->kind == NJ_EVENT_TOOL_DONE) {
        outcome = &event->tool_done.outcome;
        meta = &event->tool_done.meta;
    } else if (event->kind == NJ_EVENT_JUDGED) {
        outcome = &event->judged.outcome;
        meta = &event->judged.meta;
    }
    if (!meta || outcome->exit == NJ_EXIT_REFUSED)
        return 0;
    if (!meta->has_ran || lists->n_known == LISTS_MAX) {
        lists->unknown = true;
        return 0;
    }
    for (size_t i = lists->n_known; i > 0; i--)
        if (nj_digest_equal(&lists->known[i - 1], &meta->ran))
            return 0;
    lists->known[lists->n_known++] = meta->ran;
    return add_list(archive, &meta->ran, lists, err);
}

static int lists_init(struct lists *lists, struct nj_error *err)
{
    lists->known = calloc(LISTS_MAX, sizeof(*lists->known));
    lists->all.files = calloc((size_t)2 * NJ_RAN_FILES_MAX, sizeof(*lists->all.files));
    return lists->known && lists->all.files ? 0 : nj_fail_nomem(err);
}

static void lists_done(struct lists *lists)
{
    free(lists->known);
    free(lists->all.files);
    nj_arena_done(&lists->arena);
}
NJ_DEFINE_AUTO_VAL(struct lists, lists_done);

/* did_run - whether @path is on a list, or may have run without being on one */
static bool did_run(const struct lists *lists, const char *path)
{
    for (size_t i = 0; !lists->unknown && i < lists->all.n_files; i++)
        if (nj_span_is(lists->all.files[i].path, path))
            return true;
    return lists->unknown;
}

static int add_interpreters(const struct lists *lists, struct nj_digested *digested,
                            struct nj_buf *out, struct nj_error *err)
{
    bool first = true;

    for (size_t i = 0; i < NJ_PLAN_INTERPRETERS; i++) {
        const struct nj_digested_file *file;
        char path[PATH_MAX], hex[NJ_DIGEST_HEX_CHARS + 1];

        if (nj_plan_interpreter(nj_plan_interpreters[i], path) != 0 || !did_run(lists, path))
            continue;
        if (nj_digested_add_program(digested, path, err) < 0)
            return -(int)err->code;
        file = nj_digested_find(digested, nj_span_text(path));
        if (!file || !file->is_there)
            continue;
        nj_digest_hex(&file->digest, hex);
        if (nj_buf_printf(out, err, "%s\"%s\":{\"path\":", first ? ",\"interpreters\":{" : ",",
                          nj_plan_interpreters[i]) < 0 ||
            nj_buf_json_text(out, nj_span_text(path), err) < 0 ||
            nj_buf_printf(out, err, ",\"sha256\":\"%s\"}", hex) < 0)
            return -(int)err->code;
        first = false;
    }
    return first ? 0 : nj_buf_text(out, "}", err);
}

static int write_environment(const struct nj_archive *archive, const struct lists *lists,
                             struct nj_buf *out, struct nj_error *err)
{
    size_t len = strlen(archive->host);

    assert(len >= 2 && archive->host[len - 1] == '}');
    if (nj_digested_add(archive->digested, &lists->all, err) < 0 ||
        nj_buf_append(out, archive->host, len - 1, err) < 0 ||
        nj_digested_write(archive->digested, &lists->all, out, err) < 0 ||
        add_interpreters(lists, archive->digested, out, err) < 0)
        return nj_wrap(err, "what ran");
    return nj_buf_text(out, "}", err);
}

/* ---- the whole ---- */

static int add_event(const struct nj_archive *archive, const struct nj_frame *frame,
                     struct nj_bundle_writer *writer, struct lists *lists, struct nj_error *err)
{
    struct nj_event event;

    if (nj_event_decode(frame->payload, &event, err) < 0 ||
        note_list(archive, &event, lists, err) < 0)
        return -(int)err->code;
    return nj_bundle_writer_event(writer, frame, &event, err);
}

static int add_frame(const struct nj_archive *archive, const struct nj_journal_place *place,
                     struct nj_buf *payload, struct nj_bundle_writer *writer, struct lists *lists,
                     struct nj_error *err)
{
    struct nj_frame frame;

    nj_buf_clear(payload);
    if (nj_journal_read_frame(archive->journal, place, payload, &frame, err) < 0)
        return -(int)err->code;
    if (frame.kind == NJ_FRAME_EVENT)
        return add_event(archive, &frame, writer, lists, err);
    return nj_bundle_writer_frame(writer, &frame, err);
}

/* The record, frames and objects as they lie in the journal: a step's are neighbours. */
struct record {
    struct nj_object_index_slot *objects; /* in the order they were written */
    size_t n_objects;
    struct nj_journal_place *places; /* of all, in the order they are read */
    size_t count;
};

static void record_done(struct record *record)
{
    free(record->objects);
    free(record->places);
}
NJ_DEFINE_AUTO_VAL(struct record, record_done);

/* comes_first - does the frame lie before the object? */
static bool comes_first(const struct nj_journal_place *frame, const struct nj_journal_place *object)
{
    return frame->segment != object->segment ? frame->segment < object->segment
                                             : frame->offset < object->offset;
}

static int record_init(struct record *record, const struct nj_archive *archive,
                       struct nj_error *err)
{
    size_t frame = 0, object = 0;

    record->objects = nj_object_index_sorted(archive->index);
    record->n_objects = archive->index->count;
    record->count = archive->n_places + record->n_objects;
    record->places = calloc(record->count + 1, sizeof(*record->places));
    if (!record->objects || !record->places)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < record->count; i++) {
        bool is_frame = frame < archive->n_places &&
                        (object == record->n_objects ||
                         comes_first(&archive->places[frame], &record->objects[object].place));

        record->places[i] = is_frame ? archive->places[frame++] : record->objects[object++].place;
    }
    return 0;
}

static int add_record(const struct nj_archive *archive, struct nj_bundle_writer *writer,
                      struct lists *lists, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0}; /* of a frame */
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};   /* of an object */
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(record_done) struct record record = {0};
    struct adding adding = {.archive = archive};
    size_t object = 0;

    if (record_init(&record, archive, err) < 0 ||
        nj_recent_new(NJ_RECENT_MAX_BYTES, &recent, err) < 0)
        return -(int)err->code;
    adding.recent = recent;
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    for (size_t i = 0; i < record.count; i++) {
        const struct nj_object_index_slot *slot = &record.objects[object];

        nj_journal_gather(archive->journal, &record.places[i], record.count - i);
        if (object < record.n_objects && slot->place.offset == record.places[i].offset &&
            slot->place.segment == record.places[i].segment) {
            object++;
            if (add_object(&adding, &slot->digest, &bytes, writer, err) < 0)
                return nj_wrap(err, "object %zu", object);
        } else if (add_frame(archive, &record.places[i], &payload, writer, lists, err) < 0) {
            return nj_wrap(err, "frame %zu", i - object + 1);
        }
    }
    return 0;
}

static int archive_write(const struct nj_archive *archive, const struct nj_bundle_info *info,
                         int spool_dir_fd, int fd, struct nj_error *err)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf environment = {0};
    NJ_AUTO(lists_done) struct lists lists = {.n_known = 0};
    struct nj_bundle_info whole = *info;

    nj_buf_init(&environment, ENVIRONMENT_MAX_BYTES);
    if (lists_init(&lists, err) < 0 || nj_bundle_writer_new(spool_dir_fd, &writer, err) < 0 ||
        add_record(archive, writer, &lists, err) < 0)
        return -(int)err->code;
    if (info->inputs_embedded && add_inputs(archive, writer, err) < 0)
        return -(int)err->code;
    if (write_environment(archive, &lists, &environment, err) < 0)
        return -(int)err->code;
    whole.environment = (const char *)environment.data;
    return nj_bundle_writer_finish(writer, &whole, archive->manifest, fd, err);
}

int nj_archive_publish(const struct nj_archive *archive, const struct nj_bundle_info *info,
                       int dir_fd, const char *name, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    char temp[64];
    int r;

    (void)snprintf(temp, sizeof(temp), ".tmp-%d-bundle", (int)getpid());
    fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create bundle %s", name);
    r = fchmod(fd, 0600) == 0 ? 0 : nj_fail_errno(err, errno, "chmod"); /* whatever the umask */
    if (r == 0)
        r = archive_write(archive, info, dir_fd, fd, err);
    if (r == 0)
        r = nj_fsio_rename(dir_fd, temp, dir_fd, name, err);
    if (r == 0)
        r = nj_fsio_sync_dir(dir_fd, err);
    if (r < 0) {
        (void)unlinkat(dir_fd, temp, 0); /* a leftover is swept at the next start */
        return nj_wrap(err, "bundle %s", name);
    }
    return 0;
}
