/*
 * dialect_openai.h - the reading half of the chat-completions dialect (openai_reply.c)
 */
#ifndef NJ_MODEL_DIALECT_OPENAI_H
#define NJ_MODEL_DIALECT_OPENAI_H

#include "batch/model/dialect.h"

int nj_openai_reader_new(struct nj_reader **ret_reader, struct nj_error *err) NJ_MUST_USE;
void nj_openai_reader_free(struct nj_reader *reader);
int nj_openai_event(struct nj_reader *reader, const struct nj_sse_event *event,
                    struct nj_reply *reply, struct nj_error *err) NJ_MUST_USE;
int nj_openai_end(struct nj_reader *reader, struct nj_reply *reply,
                  struct nj_error *err) NJ_MUST_USE;
int nj_openai_whole(struct nj_span body, struct nj_reply *reply, struct nj_error *err) NJ_MUST_USE;

/* nj_openai_error - the "error" of a body or chunk */
void nj_openai_error(struct nj_span error, int status, struct nj_reply *reply);

#endif
