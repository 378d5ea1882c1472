/*
 * output.h - one output stream of a call: bounded in memory however much comes
 *
 * A head, a ring for the tail, a count and a running digest. nj_output_init(), then the caller puts
 * the pipe's reading end into fd; nj_output_read() whenever it is readable; when no process of the
 * call exists any more nj_output_drain() and nj_output_finish().
 */
#ifndef NJ_SANDBOX_OUTPUT_H
#define NJ_SANDBOX_OUTPUT_H

#include "batch/sandbox/sandbox.h"

struct nj_output {
    int fd; /* -1: at its end */
    uint64_t bytes;
    struct nj_hasher *hasher;
    uint8_t *head;
    size_t head_len;
    size_t head_max;
    size_t sent; /* of the head, as OUTPUT */
    uint8_t *ring;
    size_t ring_max;
    uint64_t ring_total; /* bytes that went into the ring */
};

int nj_output_init(struct nj_output *stream, const struct nj_box_call *request,
                   struct nj_error *err) NJ_MUST_USE;
void nj_output_done(struct nj_output *stream);

/* nj_output_read - at most one buffer; false at end of file */
bool nj_output_read(struct nj_output *stream) NJ_MUST_USE;

/* nj_output_empty - read all that is in the pipe now */
void nj_output_empty(struct nj_output *stream);

/* nj_output_drain - all that is left in the pipe, which is then closed */
void nj_output_drain(struct nj_output *stream);

/* nj_output_finish - put the ring in order and fill @ret_stream with spans borrowed from @stream */
int nj_output_finish(struct nj_output *stream, struct nj_stream *ret_stream,
                     struct nj_error *err) NJ_MUST_USE;

#endif
