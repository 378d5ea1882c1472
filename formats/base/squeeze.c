/*
 * squeeze.c - single zstd frames
 *
 * A context is worth hundreds of kilobytes and more time than a small frame, so each thread keeps
 * one of each kind. Frames from outside are measured by their headers before memory is spent.
 */
#include "formats/base/squeeze.h"

#include <assert.h>
#include <pthread.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "formats/base/bytes.h"

#include "formats/base/banned.h"

#define BLOCK_MAX_BYTES (128u << 10) /* RFC 8878, 3.1.1.2.4: what one block can decode to */
#define BLOCK_HEADER_BYTES 3u

struct contexts {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t contexts_key;

static void contexts_free(void *object)
{
    struct contexts *contexts = object;

    ZSTD_freeCCtx(contexts->compress);
    ZSTD_freeDCtx(contexts->decompress);
    free(contexts);
}

static void set_up(void)
{
    if (pthread_key_create(&contexts_key, contexts_free) != 0)
        abort(); /* only when some library took all 1024 keys */
}

/* thread_contexts - this thread's pair, NULL when memory is gone; members are made at first use */
static struct contexts *thread_contexts(void)
{
    struct contexts *contexts;

    (void)pthread_once(&once, set_up);
    contexts = pthread_getspecific(contexts_key);
    if (contexts)
        return contexts;
    contexts = calloc(1, sizeof(*contexts));
    if (contexts && pthread_setspecific(contexts_key, contexts) != 0) {
        free(contexts);
        return NULL;
    }
    return contexts;
}

static int context_set(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value,
                       struct nj_error *err)
{
    size_t r = ZSTD_CCtx_setParameter(context, parameter, value);

    if (ZSTD_isError(r))
        return nj_fail(err, NJ_E_INPUT, "zstd parameter: %s", ZSTD_getErrorName(r));
    return 0;
}

/* window_log - as wide as reaches from the end of the data to the beginning of the base; 0: as the
 * level has it */
static int window_log(size_t bytes)
{
    int log = 10; /* ZSTD_WINDOWLOG_MIN */

    while (((size_t)1 << log) < bytes)
        log++;
    return log;
}

static int squeeze(struct nj_buf *out, struct nj_span data, const struct nj_span *base, int level,
                   struct nj_error *err)
{
    struct contexts *contexts = thread_contexts();
    size_t bound, len;
    int r;

    if (contexts && !contexts->compress)
        contexts->compress = ZSTD_createCCtx();
    if (!contexts || !contexts->compress)
        return nj_fail_nomem(err);
    /* A frame that failed half-way leaves the context in the middle of it. */
    (void)ZSTD_CCtx_reset(contexts->compress, ZSTD_reset_session_only);
    r = context_set(contexts->compress, ZSTD_c_compressionLevel, level, err);
    if (r < 0)
        return r;
    r = context_set(contexts->compress, ZSTD_c_contentSizeFlag, 1, err);
    if (r < 0)
        return r;
    r = context_set(contexts->compress, ZSTD_c_checksumFlag, !base, err);
    if (r >= 0)
        r = context_set(contexts->compress, ZSTD_c_windowLog,
                        base ? window_log(data.len + base->len) : 0, err);
    if (r < 0)
        return r;

    bound = ZSTD_compressBound(data.len);
    if (ZSTD_isError(bound))
        return nj_fail(err, NJ_E_LIMIT, "%zu bytes are too many for one zstd frame", data.len);
    if (bound > out->max - out->len)
        bound = out->max - out->len; /* the bound is generous: the frame itself may still fit */
    r = nj_buf_reserve(out, bound, err);
    if (r < 0)
        return r;
    /* Behind all that fails: the context would keep it for the next frame. */
    if (base && ZSTD_isError(ZSTD_CCtx_refPrefix(contexts->compress, base->data, base->len)))
        return nj_fail_nomem(err);
    len = ZSTD_compress2(contexts->compress, out->data + out->len, bound, data.data, data.len);
    if (ZSTD_isError(len)) {
        if (ZSTD_getErrorCode(len) == ZSTD_error_dstSize_tooSmall)
            return nj_fail(err, NJ_E_LIMIT, "the zstd frame of %zu bytes exceeds %zu bytes",
                           data.len, bound);
        return nj_fail(err, NJ_E_NOMEM, "zstd: %s", ZSTD_getErrorName(len));
    }
    out->len += len;
    out->data[out->len] = '\0';
    return 0;
}

int nj_squeeze(struct nj_buf *out, struct nj_span data, int level, struct nj_error *err)
{
    return squeeze(out, data, NULL, level, err);
}

int nj_squeeze_onto(struct nj_buf *out, struct nj_span data, struct nj_span base, int level,
                    struct nj_error *err)
{
    assert(base.len <= NJ_SQUEEZE_BASE_MAX_BYTES);
    if (data.len > NJ_SQUEEZE_BASE_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "%zu bytes onto a base: at most %u", data.len,
                       NJ_SQUEEZE_BASE_MAX_BYTES);
    return squeeze(out, data, &base, level, err);
}

/* check_frame - what the frame's header and block chain say, before any memory is spent */
static int check_frame(struct nj_span data, size_t max_bytes, size_t *ret_size,
                       struct nj_error *err)
{
    unsigned long long size;
    size_t frame;

    /* A skippable frame would pass for one of zero bytes, so the magic is checked here. */
    if (data.len < 4 || nj_load_u32le(data.data) != ZSTD_MAGICNUMBER)
        return nj_fail(err, NJ_E_CORRUPT, "not a zstd frame");
    size = ZSTD_getFrameContentSize(data.data, data.len);
    if (size == ZSTD_CONTENTSIZE_ERROR)
        return nj_fail(err, NJ_E_CORRUPT, "the zstd frame's header is damaged or cut off");
    if (size == ZSTD_CONTENTSIZE_UNKNOWN)
        return nj_fail(err, NJ_E_CORRUPT, "the zstd frame does not tell its content size");
    if (size > max_bytes)
        return nj_fail(err, NJ_E_LIMIT, "the zstd frame holds %llu bytes, at most %zu are allowed",
                       size, max_bytes);
    if (size / BLOCK_MAX_BYTES > data.len / BLOCK_HEADER_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "%zu bytes cannot be a zstd frame of %llu bytes",
                       data.len, size);
    frame = ZSTD_findFrameCompressedSize(data.data, data.len);
    if (ZSTD_isError(frame))
        return nj_fail(err, NJ_E_CORRUPT, "zstd frame: %s", ZSTD_getErrorName(frame));
    if (frame != data.len)
        return nj_fail(err, NJ_E_CORRUPT, "%zu bytes behind the zstd frame", data.len - frame);
    *ret_size = (size_t)size;
    return 0;
}

static int unsqueeze(struct nj_buf *out, struct nj_span data, const struct nj_span *base,
                     size_t max_bytes, struct nj_error *err)
{
    struct contexts *contexts;
    size_t size = 0, len;
    int r;

    r = check_frame(data, max_bytes, &size, err);
    if (r < 0)
        return r;
    contexts = thread_contexts();
    if (contexts && !contexts->decompress)
        contexts->decompress = ZSTD_createDCtx();
    if (!contexts || !contexts->decompress)
        return nj_fail_nomem(err);
    r = nj_buf_reserve(out, size, err);
    if (r < 0)
        return r;
    (void)ZSTD_DCtx_reset(contexts->decompress, ZSTD_reset_session_only);
    if (base && ZSTD_isError(ZSTD_DCtx_refPrefix(contexts->decompress, base->data, base->len)))
        return nj_fail_nomem(err);
    len = ZSTD_decompressDCtx(contexts->decompress, out->data ? out->data + out->len : NULL, size,
                              data.data, data.len);
    if (ZSTD_isError(len) || len != size) {
        if (out->data)
            out->data[out->len] = '\0'; /* what zstd wrote is not part of the buffer */
        return nj_fail(err, NJ_E_CORRUPT, "zstd frame: %s",
                       ZSTD_isError(len) ? ZSTD_getErrorName(len) : "content size does not fit");
    }
    out->len += len;
    if (out->data)
        out->data[out->len] = '\0';
    return 0;
}

int nj_unsqueeze(struct nj_buf *out, struct nj_span data, size_t max_bytes, struct nj_error *err)
{
    return unsqueeze(out, data, NULL, max_bytes, err);
}

int nj_unsqueeze_onto(struct nj_buf *out, struct nj_span data, struct nj_span base,
                      size_t max_bytes, struct nj_error *err)
{
    return unsqueeze(out, data, &base, max_bytes, err);
}
