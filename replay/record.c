/*
 * record.c - a bundle, or a session among the frames of a run's journal
 *
 * The one complication: in a journal a session's first objects come before the OPENED event that tells which
 * session they belong to. So the key is looked for first, and the journal then read a second time for
 * that session's number.
 */
#include "replay/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>

#include "batch/engine/inputs.h"
#include "batch/engine/object_index.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define BUNDLES_FOLDER "bundles/"
#define KEYS_NEAR_MAX 2000 /* keys compared for the nearest one: a run may have a million */

struct nj_record {
    struct nj_bundle_info info;
    struct nj_bundle *bundle; /* NULL: read from a journal */
    int bundle_fd;            /* of a bundle that was found in a run; else -1 */

    struct nj_journal *journal;
    struct nj_journal_place *places;
    size_t n_places;
    size_t cap_places;
    struct nj_object_index index;
    struct nj_buf object; /* the object frame being read */
    struct nj_inputs *inputs;
    struct nj_buf manifest;
    struct nj_arena arena; /* of info's texts */
};

static const struct nj_bundle_info empty_info = {
    .job = "", .run = "", .key = "", .group = "", .agent = "", .reproducible = "", .environment = "{}"};

static int record_new(struct nj_record **ret_record, struct nj_error *err)
{
    struct nj_record *record = calloc(1, sizeof(*record));

    if (!record)
        return nj_fail_nomem(err);
    record->bundle_fd = -1;
    record->info = empty_info;
    nj_buf_init(&record->object, NJ_FRAME_PAYLOAD_MAX_BYTES);
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
    nj_journal_free(record->journal);
    free(record->places);
    nj_object_index_done(&record->index);
    nj_buf_done(&record->object);
    nj_inputs_free(record->inputs);
    nj_buf_done(&record->manifest);
    nj_arena_done(&record->arena);
    free(record);
}

/* ---- from a bundle ---- */

/* nightjar.json is what a person reads first; it must not tell of another session than the frames do. */
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
        return nj_fail(err, NJ_E_CORRUPT,
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

/* ---- from a journal ---- */

/* The keys that a wrong one is compared with. */
struct keys {
    char *items[KEYS_NEAR_MAX];
    size_t count;
    uint64_t seen;
};

static void keys_done(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free(keys->items[i]);
}
NJ_DEFINE_AUTO_VAL(struct keys, keys_done);

static int keys_add(struct keys *keys, struct nj_span key, struct nj_error *err)
{
    keys->seen++;
    if (keys->count == KEYS_NEAR_MAX)
        return 0;
    keys->items[keys->count] = nj_span_dup(key);
    if (!keys->items[keys->count])
        return nj_fail_nomem(err);
    keys->count++;
    return 0;
}

static int no_such_key(const struct nj_run_dir *dir, const char *key, const struct keys *keys,
                       struct nj_error *err)
{
    const char *near = nj_yaml_nearest(key, (const char *const *)keys->items, keys->count);

    if (keys->seen == 0)
        return nj_fail(err, NJ_E_INPUT, "run %s: no session has begun yet", dir->path);
    if (near)
        return nj_fail(err, NJ_E_INPUT, "run %s: no session with key \"%s\" has begun; the nearest is \"%s\"",
                       dir->path, key, near);
    return nj_fail(err, NJ_E_INPUT,
                   "run %s: no session with key \"%s\" has begun (%" PRIu64 " others have, the first is \"%s\")",
                   dir->path, key, keys->seen, keys->items[0]);
}

static int is_opened(const struct nj_frame *frame, struct nj_event *event, struct nj_error *err)
{
    if (frame->kind != NJ_FRAME_EVENT || frame->sequence != 1)
        return 0;
    if (nj_event_decode(frame->payload, event, err) < 0)
        return nj_wrap(err, "session %" PRIu32 ", frame 1", frame->session);
    return event->kind == NJ_EVENT_OPENED;
}

static int find_session(const struct nj_run_dir *dir, const char *key, uint32_t *ret_session,
                        struct nj_error *err)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(keys_done) struct keys keys = {0};
    struct nj_frame frame;
    int r;

    if (nj_journal_open(dir->journal_fd, &journal, err) < 0)
        return -(int)err->code;
    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        struct nj_event event;

        r = is_opened(&frame, &event, err);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        if (nj_span_is(event.opened.key, key)) {
            *ret_session = frame.session;
            return 0;
        }
        r = keys_add(&keys, event.opened.key, err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    return no_such_key(dir, key, &keys, err);
}

static int note_place(struct nj_record *record, const struct nj_frame *frame, struct nj_error *err)
{
    if (frame->sequence != record->n_places + 1)
        return nj_fail(err, NJ_E_CORRUPT, "frame %" PRIu64 " stands where %zu belongs",
                       frame->sequence, record->n_places + 1);
    if (record->n_places == record->cap_places) {
        size_t cap = record->cap_places ? record->cap_places * 2 : 64;
        struct nj_journal_place *grown = reallocarray(record->places, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        record->places = grown;
        record->cap_places = cap;
    }
    record->places[record->n_places++] = frame->place;
    return nj_record_digests_add(&record->info.digests, frame, err);
}

static int note_object(struct nj_record *record, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_object object;
    size_t len;

    if (nj_object_decode(frame->payload, false, &object, &len, err) < 0)
        return -(int)err->code;
    if (nj_object_index_find(&record->index, &object.digest))
        return 0; /* put again after a crash */
    return nj_object_index_add(&record->index, &object.digest, &frame->place, err);
}

static int keep_text(struct nj_record *record, struct nj_span text, const char **ret_text,
                     struct nj_error *err)
{
    *ret_text = nj_arena_span(&record->arena, text);
    return *ret_text ? 0 : nj_fail_nomem(err);
}

static int note_event(struct nj_record *record, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_event event;

    if (nj_event_decode(frame->payload, &event, err) < 0)
        return -(int)err->code;
    if (event.kind == NJ_EVENT_OPENED && frame->sequence == 1) {
        record->info.identity = event.opened.identity;
        if (keep_text(record, event.opened.key, &record->info.key, err) < 0 ||
            keep_text(record, event.opened.group, &record->info.group, err) < 0 ||
            keep_text(record, event.opened.agent, &record->info.agent, err) < 0)
            return -(int)err->code;
    } else if (event.kind == NJ_EVENT_CLOSED) {
        record->info.status = event.closed.status;
    }
    return 0;
}

static int note_run(struct nj_record *record, const struct nj_frame *frame, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at map;
    struct nj_span job;

    if (nj_pack_open(&doc, "run", frame->payload, err) < 0 || nj_pack_root(&doc, &map, err) < 0 ||
        nj_pack_get_text(&map, "job", &job, err) < 0)
        return -(int)err->code;
    return keep_text(record, job, &record->info.job, err);
}

/* The row names the bundle; only a plain name in the bundles folder counts. 1: there is none any more. */
static int open_archived(struct nj_record *record, const struct nj_run_dir *dir,
                         const struct nj_frame *frame, unsigned flags, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at map;
    struct nj_span row;
    const char *path;
    json_t *json;
    int r = 1;

    if (nj_pack_open(&doc, "archived", frame->payload, err) < 0 ||
        nj_pack_root(&doc, &map, err) < 0 || nj_pack_get_text(&map, "row", &row, err) < 0)
        return -(int)err->code;
    json = json_loadb((const char *)row.data, row.len, JSON_REJECT_DUPLICATES, NULL);
    path = json_string_value(json_object_get(json, "bundle"));
    if (path && strncmp(path, BUNDLES_FOLDER, strlen(BUNDLES_FOLDER)) == 0 &&
        !strchr(path + strlen(BUNDLES_FOLDER), '/')) {
        record->bundle_fd = openat(dir->bundles_fd, path + strlen(BUNDLES_FOLDER),
                                   O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (record->bundle_fd >= 0)
            r = nj_bundle_open(record->bundle_fd, path, flags, &record->bundle, err);
        else if (errno != ENOENT)
            r = nj_fail_errno(err, errno, "open %s", path);
    }
    json_decref(json);
    return r;
}

/* Returns 1 when the session was archived and is read from its bundle from now on. */
static int note_frame(struct nj_record *record, const struct nj_run_dir *dir,
                      const struct nj_frame *frame, unsigned flags, struct nj_error *err)
{
    int r;

    switch (frame->kind) {
    case NJ_FRAME_OBJECT:
        return note_object(record, frame, err);
    case NJ_FRAME_ARCHIVED:
        r = open_archived(record, dir, frame, flags, err);
        return r < 0 ? r : r == 0;
    case NJ_FRAME_EVENT:
        r = note_event(record, frame, err);
        return r < 0 ? r : note_place(record, frame, err);
    case NJ_FRAME_SNAPSHOT:
    case NJ_FRAME_OUTPUT:
        return note_place(record, frame, err);
    case NJ_FRAME_RUN:
    case NJ_FRAME_COMMIT:
        break;
    }
    return 0;
}

static int scan(struct nj_record *record, const struct nj_run_dir *dir, uint32_t session,
                unsigned flags, struct nj_error *err)
{
    struct nj_frame frame;
    int r;

    while ((r = nj_journal_next(record->journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        if (frame.session == session)
            r = note_frame(record, dir, &frame, flags, err);
        else if (frame.kind == NJ_FRAME_RUN)
            r = note_run(record, &frame, err);
        if (r < 0)
            return nj_wrap(err, "session %" PRIu32, session);
        if (r == 1)
            return 1;
    }
    return r < 0 ? r : 0; /* a torn tail is what a live engine is writing, or a crash left */
}

static int read_manifest(struct nj_record *record, const struct nj_run_dir *dir, struct nj_error *err)
{
    struct nj_error ignored = {0};

    /* The manifest is shown, not used: a run without it can be read all the same. */
    if (faccessat(dir->fd, "job.yaml", F_OK, 0) < 0)
        return 0;
    if (nj_fsio_read_file(dir->fd, "job.yaml", &record->manifest, &ignored) < 0)
        nj_buf_clear(&record->manifest);
    (void)err;
    return 0;
}

int nj_record_open_run(const struct nj_run_dir *dir, const char *key, unsigned flags,
                       struct nj_record **ret_record, struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;
    uint32_t session = 0;
    int r;

    if (record_new(&record, err) < 0 || find_session(dir, key, &session, err) < 0 ||
        nj_journal_open(dir->journal_fd, &record->journal, err) < 0)
        return -(int)err->code;
    r = scan(record, dir, session, flags, err);
    if (r < 0)
        return nj_wrap(err, "run %s", dir->path);
    if (r == 1) {
        record->info = *nj_bundle_info(record->bundle);
        if (check_info(record, err) < 0)
            return nj_wrap(err, "run %s", dir->path);
    } else {
        record->info.run = dir->name;
        record->info.frames = record->n_places;
    }
    /* A bundle without its inputs can still be verified here: the run has them. */
    if (nj_inputs_open(dir->inputs_fd, &record->inputs, err) < 0 ||
        read_manifest(record, dir, err) < 0)
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
    if (sequence == 0 || sequence > record->n_places)
        return nj_fail(err, NJ_E_INPUT, "frame %" PRIu64 ": the record has 1 to %zu", sequence,
                       record->n_places);
    return nj_journal_read_frame(record->journal, &record->places[sequence - 1], out, ret_frame, err);
}

static int get_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    struct nj_record *record = ctx;
    const struct nj_journal_place *place = nj_object_index_find(&record->index, digest);
    struct nj_object object;
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    size_t len;

    nj_digest_hex(digest, hex);
    if (!place)
        return nj_fail(err, NJ_E_CORRUPT, "session %s has no object %s", record->info.key, hex);
    nj_buf_clear(&record->object);
    if (nj_journal_read(record->journal, place, &record->object, err) < 0 ||
        nj_object_decode(nj_buf_span(&record->object), true, &object, &len, err) < 0)
        return nj_wrap(err, "object %s", hex);
    return nj_buf_append(out, object.bytes.data, object.bytes.len, err);
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
    return (struct nj_object_source){.get = get_object, .ctx = record};
}

struct nj_object_source nj_record_inputs(struct nj_record *record)
{
    if (record->bundle && (record->info.inputs_embedded || !record->inputs))
        return nj_bundle_inputs(record->bundle);
    return nj_inputs_source(record->inputs);
}
