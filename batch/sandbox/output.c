/*
 * output.c - what a call writes to one of its streams
 */
#include "batch/sandbox/output.h"

#include <errno.h>

#include "formats/base/banned.h"

#define READ_BYTES (64u << 10)

int nj_output_init(struct nj_output *stream, const struct nj_box_call *request,
                   struct nj_error *err)
{
    stream->fd = -1;
    stream->head_max = request->head_max_bytes;
    stream->ring_max = request->tail_max_bytes;
    stream->hasher = nj_hasher_new();
    stream->head = malloc(stream->head_max + 1);
    stream->ring = malloc(stream->ring_max + 1);
    return stream->hasher && stream->head && stream->ring ? 0 : nj_fail_nomem(err);
}

void nj_output_done(struct nj_output *stream)
{
    nj_close_auto(&stream->fd);
    nj_hasher_free(stream->hasher);
    free(stream->head);
    free(stream->ring);
    *stream = (struct nj_output){.fd = -1};
}

static void ring_add(struct nj_output *stream, const uint8_t *data, size_t len)
{
    size_t at, first;

    stream->ring_total += len;
    if (stream->ring_max == 0)
        return;
    if (len > stream->ring_max) {
        data += len - stream->ring_max;
        len = stream->ring_max;
    }
    at = (size_t)((stream->ring_total - len) % stream->ring_max);
    first = len < stream->ring_max - at ? len : stream->ring_max - at;
    memcpy(stream->ring + at, data, first);
    memcpy(stream->ring, data + first, len - first);
}

static void stream_add(struct nj_output *stream, const uint8_t *data, size_t len)
{
    size_t to_head = stream->head_max - stream->head_len;

    stream->bytes += len;
    nj_hasher_update(stream->hasher, data, len);
    if (to_head > len)
        to_head = len;
    memcpy(stream->head + stream->head_len, data, to_head);
    stream->head_len += to_head;
    if (len > to_head)
        ring_add(stream, data + to_head, len - to_head);
}

bool nj_output_read(struct nj_output *stream)
{
    static uint8_t buffer[READ_BYTES];
    ssize_t n = read(stream->fd, buffer, sizeof(buffer));

    if (n > 0) {
        stream_add(stream, buffer, (size_t)n);
        return true;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

void nj_output_empty(struct nj_output *stream)
{
    uint64_t before;

    if (stream->fd < 0)
        return;
    do {
        before = stream->bytes;
        if (!nj_output_read(stream))
            break;
    } while (stream->bytes > before);
}

void nj_output_drain(struct nj_output *stream)
{
    nj_output_empty(stream);
    nj_close_auto(&stream->fd);
    stream->fd = -1;
}

int nj_output_finish(struct nj_output *stream, struct nj_stream *ret_stream, struct nj_error *err)
{
    size_t kept =
        stream->ring_total < stream->ring_max ? (size_t)stream->ring_total : stream->ring_max;
    size_t at = kept == 0 ? 0 : (size_t)(stream->ring_total % stream->ring_max);

    if (stream->ring_total > stream->ring_max && at > 0) {
        uint8_t *ordered = malloc(kept);

        if (!ordered)
            return nj_fail_nomem(err);
        memcpy(ordered, stream->ring + at, kept - at);
        memcpy(ordered + kept - at, stream->ring, at);
        free(stream->ring);
        stream->ring = ordered;
    }
    ret_stream->bytes = stream->bytes;
    nj_hasher_finish(stream->hasher, &ret_stream->digest);
    ret_stream->head = (struct nj_span){stream->head, stream->head_len};
    ret_stream->tail = (struct nj_span){stream->ring, kept};
    return 0;
}
