/*
 * dialect_anthropic.h - the reading half of the Messages dialect (anthropic_reply.c)
 */
#ifndef NJ_MODEL_DIALECT_ANTHROPIC_H
#define NJ_MODEL_DIALECT_ANTHROPIC_H

#include "batch/model/dialect.h"

int nj_anthropic_reader_new(struct nj_reader **ret_reader, struct nj_error *err) NJ_MUST_USE;
void nj_anthropic_reader_free(struct nj_reader *reader);
int nj_anthropic_event(struct nj_reader *reader, const struct nj_sse_event *event,
                       struct nj_reply *reply, struct nj_error *err) NJ_MUST_USE;
int nj_anthropic_end(struct nj_reader *reader, struct nj_reply *reply,
                     struct nj_error *err) NJ_MUST_USE;
int nj_anthropic_whole(struct nj_span body, struct nj_reply *reply,
                       struct nj_error *err) NJ_MUST_USE;

int nj_anthropic_counted(struct nj_span body, uint64_t *ret_tokens,
                         struct nj_error *err) NJ_MUST_USE;

/* nj_anthropic_error - the inner "error" object of an error body or event */
void nj_anthropic_error(struct nj_span error, int status, struct nj_reply *reply);

#endif
