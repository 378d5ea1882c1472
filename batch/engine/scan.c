/*
 * scan.c - one pass over a journal for one session
 *
 * The one complication: an object's frame may come before the OPENED event that tells which session has the
 * key, so the first pass finds the session's number and the second collects.
 */
#include "batch/engine/scan.h"

#include "formats/base/banned.h"

#define SHOWN_KEYS 5

static int find_number(struct nj_journal *journal, const char *key, struct nj_scan *scan,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf known = {0};
    struct nj_frame frame;
    size_t n_known = 0;
    int r;

    nj_buf_init(&known, 4096);
    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        struct nj_event event;

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
        if (n_known++ < SHOWN_KEYS &&
            nj_buf_printf(&known, err, "%s%.*s", n_known > 1 ? ", " : "", (int)event.opened.key.len,
                          (const char *)event.opened.key.data) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    return nj_fail(err, NJ_E_INPUT, "no session %s has begun in this run; there %s %s%s", key,
                   n_known == 1 ? "is" : "are", n_known ? (const char *)known.data : "none",
                   n_known > SHOWN_KEYS ? "..." : "");
}

static int add_place(struct nj_scan *scan, const struct nj_journal_place *place, struct nj_error *err)
{
    if (scan->n_places == scan->cap_places) {
        size_t cap = scan->cap_places ? scan->cap_places * 2 : 64;
        struct nj_journal_place *grown = reallocarray(scan->places, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        scan->places = grown;
        scan->cap_places = cap;
    }
    scan->places[scan->n_places++] = *place;
    return 0;
}

static int add_frame(struct nj_scan *scan, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_object object;
    struct nj_event event;
    size_t len;

    switch (frame->kind) {
    case NJ_FRAME_OBJECT:
        if (nj_object_decode(frame->payload, false, &object, &len, err) < 0)
            return -(int)err->code;
        if (nj_object_index_find(&scan->index, &object.digest))
            return 0;
        return nj_object_index_add(&scan->index, &object.digest, &frame->place, err);
    case NJ_FRAME_EVENT:
        if (nj_event_decode(frame->payload, &event, err) < 0)
            return -(int)err->code;
        if (event.kind == NJ_EVENT_CLOSED)
            scan->status = event.closed.status;
        return add_place(scan, &frame->place, err);
    case NJ_FRAME_SNAPSHOT:
    case NJ_FRAME_OUTPUT:
        return add_place(scan, &frame->place, err);
    case NJ_FRAME_ARCHIVED:
        scan->archived = true;
        return 0;
    case NJ_FRAME_RUN:
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
        r = frame.session == scan.session ? add_frame(&scan, &frame, err) : 0;
        if (r < 0)
            return nj_wrap(err, "session %s", key);
    }
    if (r < 0)
        return r;
    *ret_scan = scan;
    scan = (struct nj_scan){0};
    return 0;
}

void nj_scan_done(struct nj_scan *scan)
{
    free(scan->places);
    nj_object_index_done(&scan->index);
    *scan = (struct nj_scan){0};
}

static int get_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    const struct nj_scan_reader *reader = ctx;
    const struct nj_journal_place *place = nj_object_index_find(&reader->scan->index, digest);
    struct nj_object object;
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    size_t len;

    nj_digest_hex(digest, hex);
    if (!place)
        return nj_fail(err, NJ_E_CORRUPT, "the journal has no object %s of this session", hex);
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (nj_journal_read(reader->journal, place, &payload, err) < 0 ||
        nj_object_decode(nj_buf_span(&payload), true, &object, &len, err) < 0)
        return nj_wrap(err, "object %s", hex);
    return nj_buf_append(out, object.bytes.data, object.bytes.len, err);
}

struct nj_object_source nj_scan_source(struct nj_scan_reader *reader)
{
    return (struct nj_object_source){.get = get_object, .ctx = reader};
}
