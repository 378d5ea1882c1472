/*
 * scan.c - two passes over a journal for one session
 *
 * The one complication: an object's frame may come before the OPENED event that tells which session
 * has the key, so the first pass finds the session's number and the second collects.
 */
#include "batch/run/scan.h"

#include <inttypes.h>
#include <jansson.h>

#include "formats/journal/facts.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define BUNDLES_FOLDER "bundles/"
#define REUSED_KEY ",\"reused\":{"
#define KEYS_NEAR_MAX 2000 /* keys compared for the nearest one: a run may have a million */

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

static int no_such_key(const char *key, const struct keys *keys, struct nj_error *err)
{
    const char *near = nj_yaml_nearest(key, (const char *const *)keys->items, keys->count);

    if (keys->seen == 0)
        return nj_fail(err, NJ_E_INPUT, "no session %s: none has begun in this run yet", key);
    if (near)
        return nj_fail(err, NJ_E_INPUT, "no session %s has begun in this run; did you mean %s?",
                       key, near);
    return nj_fail(err, NJ_E_INPUT,
                   "no session %s has begun in this run (%" PRIu64 " others have, the first is %s)",
                   key, keys->seen, keys->items[0]);
}

/* A session that was taken over from an earlier run has no event, and one that has ended may have
 * none any more: the row tells the key. Returns 1 when it is the one. */
static int is_its_row(const struct nj_frame *frame, bool thinned, const char *key,
                      struct keys *keys, struct nj_error *err)
{
    struct nj_archived archived;
    json_t *row;
    const char *its;
    int r = 0;

    if (nj_archived_decode(frame->payload, &archived, err) < 0)
        return -(int)err->code;
    if (!thinned && !memmem(archived.row.data, archived.row.len, REUSED_KEY, strlen(REUSED_KEY)))
        return 0;
    row = json_loadb((const char *)archived.row.data, archived.row.len, 0, NULL);
    its = json_string_value(json_object_get(row, "key"));
    if (its && strcmp(its, key) == 0)
        r = 1;
    else if (its && json_object_get(row, "reused"))
        r = keys_add(keys, nj_span_text(its), err);
    json_decref(row);
    return r;
}

static int find_number(struct nj_journal *journal, const char *key, struct nj_scan *scan,
                       struct nj_error *err)
{
    NJ_AUTO(keys_done) struct keys keys = {0};
    struct nj_frame frame;
    int r;

    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        struct nj_event event;

        if (frame.kind == NJ_FRAME_ARCHIVED) {
            r = is_its_row(&frame, nj_journal_is_thinned(journal), key, &keys, err);
            scan->session = frame.session;
            if (r != 0)
                return r < 0 ? r : 0;
        }
        if (frame.kind != NJ_FRAME_EVENT || frame.sequence != 1)
            continue;
        if (nj_event_decode(frame.payload, &event, err) < 0)
            return -(int)err->code;
        if (event.kind != NJ_EVENT_OPENED)
            continue;
        if (nj_span_is(event.opened.key, key)) {
            scan->session = frame.session;
            scan->identity = event.opened.identity;
            scan->config = event.opened.config;
            return 0;
        }
        if (keys_add(&keys, event.opened.key, err) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    return no_such_key(key, &keys, err);
}

static int add_place(struct nj_scan *scan, const struct nj_frame *frame, struct nj_error *err)
{
    if (scan->thinned && frame->sequence != scan->n_places + 1)
        scan->cut = true; /* it is for its end to say whether that may be */
    if (scan->cut)
        return 0;
    if (frame->sequence != scan->n_places + 1)
        return nj_fail(err, NJ_E_CORRUPT, "frame %" PRIu64 " stands where %zu belongs",
                       frame->sequence, scan->n_places + 1);
    if (scan->n_places == scan->cap_places) {
        size_t cap = scan->cap_places ? scan->cap_places * 2 : 64;
        struct nj_journal_place *grown = reallocarray(scan->places, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        scan->places = grown;
        scan->cap_places = cap;
    }
    scan->places[scan->n_places++] = frame->place;
    return nj_record_digests_add(&scan->digests, frame, err);
}

/* The row names the bundle; only a plain name in the bundles folder counts. */
static int read_row(struct nj_scan *scan, struct nj_span row, struct nj_error *err)
{
    json_t *json = json_loadb((const char *)row.data, row.len, JSON_REJECT_DUPLICATES, NULL);
    const char *path = json_string_value(json_object_get(json, "bundle"));
    const char *key = json_string_value(json_object_get(json, "key"));
    int r = 0;

    free(scan->key);
    scan->key = key ? strdup(key) : NULL;
    if (path && strncmp(path, BUNDLES_FOLDER, strlen(BUNDLES_FOLDER)) == 0 &&
        !strchr(path + strlen(BUNDLES_FOLDER), '/')) {
        free(scan->bundle);
        scan->bundle = strdup(path + strlen(BUNDLES_FOLDER));
        r = scan->bundle ? 0 : nj_fail_nomem(err);
    }
    json_decref(json);
    return r;
}

static int on_archived(struct nj_scan *scan, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_archived archived;

    scan->archived = true;
    if (scan->thinned && (scan->cut || scan->status == 0)) { /* its frames leave the journal */
        scan->n_places = 0;
        nj_object_index_done(&scan->index);
    }
    scan->cut = false;
    if (nj_archived_decode(frame->payload, &archived, err) < 0)
        return -(int)err->code;
    return read_row(scan, archived.row, err);
}

static int on_run(struct nj_scan *scan, const struct nj_frame *frame, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at map;
    struct nj_span job;

    if (nj_pack_open(&doc, "run", frame->payload, err) < 0 || nj_pack_root(&doc, &map, err) < 0 ||
        nj_pack_get_text(&map, "job", &job, err) < 0)
        return -(int)err->code;
    free(scan->job);
    scan->job = nj_span_dup(job);
    return scan->job ? 0 : nj_fail_nomem(err);
}

/* Another attempt follows. What was read stays until that one has its first frame, so that there is
 * something to show while it waits; its bundle may have another name by then. */
static void on_reopened(struct nj_scan *scan)
{
    scan->archived = false;
    scan->reopened = true;
    free(scan->bundle);
    scan->bundle = NULL;
}

static void begin_anew(struct nj_scan *scan)
{
    scan->reopened = false;
    scan->n_places = 0;
    scan->cut = false;
    scan->status = 0;
    scan->digests = (struct nj_record_digests){0};
    nj_object_index_done(&scan->index);
}

int nj_scan_frame(struct nj_scan *scan, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_object_stored object;
    struct nj_event event;
    size_t len;

    if (scan->reopened && frame->kind != NJ_FRAME_REOPENED && frame->kind != NJ_FRAME_RUN)
        begin_anew(scan);
    switch (frame->kind) {
    case NJ_FRAME_OBJECT:
        if (nj_object_decode_stored(frame->payload, &object, &len, err) < 0)
            return -(int)err->code;
        if (nj_object_index_find(&scan->index, &object.digest))
            return 0; /* put again after a crash */
        return nj_object_index_add(&scan->index, &object.digest, &frame->place, err);
    case NJ_FRAME_EVENT:
        if (nj_event_decode(frame->payload, &event, err) < 0)
            return -(int)err->code;
        if (event.kind == NJ_EVENT_CLOSED)
            scan->status = event.closed.status;
        if (event.kind == NJ_EVENT_OPENED && frame->sequence == 1) {
            scan->identity = event.opened.identity;
            scan->config = event.opened.config;
        }
        return add_place(scan, frame, err);
    case NJ_FRAME_SNAPSHOT:
    case NJ_FRAME_OUTPUT:
        return add_place(scan, frame, err);
    case NJ_FRAME_ARCHIVED:
        return on_archived(scan, frame, err);
    case NJ_FRAME_REOPENED:
        on_reopened(scan);
        break;
    case NJ_FRAME_RUN:
        return on_run(scan, frame, err);
    case NJ_FRAME_COMMIT:
        break;
    }
    return 0;
}

int nj_scan_session(struct nj_journal *journal, const char *key, struct nj_scan *ret_scan,
                    struct nj_error *err)
{
    NJ_AUTO(nj_scan_done) struct nj_scan scan = {0};
    struct nj_frame frame;
    int r;

    r = find_number(journal, key, &scan, err);
    if (r < 0)
        return r;
    nj_journal_rewind(journal);
    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        r = 0;
        scan.thinned = nj_journal_is_thinned(journal);
        if (frame.kind == NJ_FRAME_RUN || frame.session == scan.session)
            r = nj_scan_frame(&scan, &frame, err);
        if (r < 0)
            return nj_wrap(err, "session %s", key);
    }
    if (r < 0)
        return r;
    if (scan.cut)
        return nj_fail(err, NJ_E_CORRUPT,
                       "session %s: what follows frame %zu is missing, and it has not ended", key,
                       scan.n_places);
    *ret_scan = scan;
    scan = (struct nj_scan){0};
    return 0;
}

void nj_scan_done(struct nj_scan *scan)
{
    free(scan->places);
    free(scan->job);
    free(scan->key);
    free(scan->bundle);
    nj_object_index_done(&scan->index);
    *scan = (struct nj_scan){0};
}

static int read_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct nj_scan_reader *reader = ctx;
    const struct nj_journal_place *place = nj_object_index_find(&reader->scan->index, digest);
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    if (place)
        return nj_journal_read(reader->journal, place, out, err);
    nj_digest_hex(digest, hex);
    return nj_fail(err, NJ_E_CORRUPT, "the journal has no object %s of this session", hex);
}

struct nj_object_shelf nj_scan_shelf(struct nj_scan_reader *reader)
{
    return (struct nj_object_shelf){.read = read_object, .ctx = reader};
}

static int get_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    const struct nj_object_shelf shelf = nj_scan_shelf(ctx);

    return nj_object_shelf_get(&shelf, digest, out, err);
}

struct nj_object_source nj_scan_source(struct nj_scan_reader *reader)
{
    return (struct nj_object_source){.get = get_object, .ctx = reader, .is_checked = true};
}
