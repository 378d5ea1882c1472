/*
 * filling.c - two walks: over what the box has, and over what it is to have
 */
#include "batch/engine/filling.h"

#include "batch/run/object_index.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

struct sending {
    const struct nj_filling *filling;
    struct nj_object_index held; /* contents; the places mean nothing */
    struct nj_buf bytes;
    struct nj_buf encoded;
    int fd;
};

static void sending_done(struct sending *sending)
{
    nj_object_index_done(&sending->held);
    nj_buf_done(&sending->bytes);
    nj_buf_done(&sending->encoded);
}
NJ_DEFINE_AUTO_VAL(struct sending, sending_done);

static bool is_content(enum nj_object_kind kind)
{
    return kind == NJ_OBJECT_BLOB || kind == NJ_OBJECT_PARTS;
}

static int note(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                struct nj_error *err)
{
    static const struct nj_journal_place somewhere = {.bytes = 1};
    struct sending *sending = ctx;

    if (!is_content(kind) || nj_object_index_find(&sending->held, digest))
        return 0;
    return nj_object_index_add(&sending->held, digest, &somewhere, err);
}

static int note_held(struct sending *sending, struct nj_error *err)
{
    NJ_AUTO(nj_reach_free) struct nj_reach *reach = NULL;

    if (nj_reach_new(&sending->filling->source, note, sending, &reach, err) < 0)
        return -(int)err->code;
    return nj_reach_tree(reach, sending->filling->held, err);
}

static int send_object(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                       struct nj_error *err)
{
    struct sending *sending = ctx;
    struct nj_object object = {.kind = kind, .digest = *digest};

    if (is_content(kind) && nj_object_index_find(&sending->held, digest))
        return 0;
    nj_buf_clear(&sending->bytes);
    nj_buf_clear(&sending->encoded);
    if (nj_object_get(&sending->filling->contents, kind, digest, &sending->bytes, err) < 0)
        return -(int)err->code;
    object.bytes = nj_buf_span(&sending->bytes);
    if (nj_object_encode(&object, &sending->encoded, err) < 0)
        return -(int)err->code;
    return nj_fsio_write(sending->fd, sending->encoded.data, sending->encoded.len, err);
}

int nj_fill(const struct nj_filling *filling, const struct nj_workspace_ref *wanted, int fd,
            struct nj_error *err)
{
    NJ_AUTO(sending_done) struct sending sending = {.filling = filling, .fd = fd};
    struct nj_error ignored = {0};
    int r;

    nj_buf_init(&sending.bytes, NJ_OBJECT_MAX_BYTES);
    nj_buf_init(&sending.encoded, NJ_OBJECT_MAX_BYTES + 4096);
    if (filling->held && note_held(&sending, &ignored) < 0)
        nj_object_index_done(&sending.held); /* of a call that went another way than the record */
    r = nj_tree_reach(&filling->source, wanted, send_object, &sending, err);
    return r < 0 ? r : 0;
}
