/*
 * dialect.h - how one kind of service is spoken to; pure
 *
 * provider_http.c makes a try of it: write() gives the body, the answer's events (or its whole
 * body) go to a reader, and a reply or a fault comes out. A dialect opens no socket and knows no
 * clock, so a recorded stream read again gives the same reply.
 *
 *   streamed:  reader_new -> event ... (MORE until DONE) -> [end] -> reader_free
 *   whole:     whole(body)
 *   counting:  counted(body)
 *   not 200:   error(status, body)
 *
 * Reading fails with NJ_E_UPSTREAM, what was wrong and where in the text: the try is lost, the run
 * is not. A reply whose fault is set is none either (refused, context full, an error within the
 * stream); its usage counts all the same.
 */
#ifndef NJ_MODEL_DIALECT_H
#define NJ_MODEL_DIALECT_H

#include "batch/http/sse.h"
#include "batch/model/provider.h"
#include "batch/model/request.h"

#define NJ_REPLY_NAME_MAX_BYTES 128
#define NJ_REPLY_BLOCKS_MAX 1024
#define NJ_REPLY_CONTENT_MAX_BYTES (NJ_MESSAGE_MAX_BYTES - 64u) /* an item has words around it */
#define NJ_REPLY_TOKENS_MAX 1000000000000u /* in one figure of a usage; more is rubbish */
#define NJ_EVENT_DATA_MAX_BYTES (4u << 20) /* of one event of a stream */

/* Block types of our own, which no service is sent: a chat-completions message as its server wrote
 * it, and a call whose input the token limit cut off. */
#define NJ_BLOCK_OPENAI "openai_message"
#define NJ_BLOCK_CUT_CALL "tool_use_cut"

/* Why what came is no reply. */
struct nj_reply_fault {
    bool is;
    enum nj_manifest_cause cause;
    enum nj_try_verdict verdict;
    char text[NJ_ERROR_TEXT_MAX_BYTES];
};

/* How a compatible server differed from the book: bits of nj_reply.variants. */
#define NJ_REPLY_VARIANTS(X)                                                                       \
    X(NO_USAGE, 0x01, "no usage")                                                                  \
    X(NO_DONE, 0x02, "no [DONE]")                                                                  \
    X(WHOLE_CALL, 0x04, "tool calls in one chunk")                                                 \
    X(NO_CALL_ID, 0x08, "tool calls without id")                                                   \
    X(BAD_ARGUMENTS, 0x10, "arguments that are no JSON object")

enum nj_reply_variant {
#define X(name, bit, text) NJ_VARIANT_##name = bit,
    NJ_REPLY_VARIANTS(X)
#undef X
};

struct nj_reply {
    struct nj_buf content; /* JSON array of content blocks, frozen */
    char model[NJ_REPLY_NAME_MAX_BYTES + 1];
    enum nj_stop stop; /* 0: not told yet */
    struct nj_usage usage;
    unsigned variants;
    struct nj_reply_fault fault;
};

void nj_reply_init(struct nj_reply *reply);
void nj_reply_done(struct nj_reply *reply);
NJ_DEFINE_AUTO_VAL(struct nj_reply, nj_reply_done);

/* nj_reply_fault - set why; the first one stays */
void nj_reply_fault(struct nj_reply *reply, enum nj_manifest_cause cause,
                    enum nj_try_verdict verdict, const char *fmt, ...) NJ_PRINTF(4, 5);

/* nj_reply_check - @content is what the session core can read: an array of objects with types,
 * calls with an object each, text without half characters. Fails with NJ_E_UPSTREAM. */
int nj_reply_check(struct nj_span content, struct nj_error *err) NJ_MUST_USE;

/* nj_reply_model - take the name a service gives for what answered; too long or strange: cut, '?'
 */
void nj_reply_model(struct nj_reply *reply, struct nj_span name_json);

/* nj_reply_cut_call - append the block of a cut-off call; @id and @name are JSON or empty */
int nj_reply_cut_call(struct nj_span id, struct nj_span name, struct nj_span partial,
                      struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

struct nj_reader;
enum nj_read { NJ_READ_MORE, NJ_READ_DONE };

struct nj_dialect {
    const char *base_url;   /* unless the manifest gives one */
    const char *path;       /* of a reply, behind the base */
    const char *count_path; /* of a prompt's tokens; NULL: the service counts none */
    const char *key_header, *key_format;
    const char *const *headers; /* what goes with every request */
    size_t n_headers;
    const char *request_id; /* the answer's header that names the request */

    int (*write)(const struct nj_request *request, struct nj_request_body *body,
                 struct nj_error *err);

    int (*reader_new)(struct nj_reader **ret_reader, struct nj_error *err);
    void (*reader_free)(struct nj_reader *reader);
    int (*event)(struct nj_reader *reader, const struct nj_sse_event *event, struct nj_reply *reply,
                 struct nj_error *err);
    /* end - the stream ended before DONE: is it a reply all the same? */
    int (*end)(struct nj_reader *reader, struct nj_reply *reply, struct nj_error *err);

    int (*whole)(struct nj_span body, struct nj_reply *reply, struct nj_error *err);

    /* counted - a whole answer to a request that was counting */
    int (*counted)(struct nj_span body, uint64_t *ret_tokens, struct nj_error *err);

    /* error - what an answer with another status means; always sets reply->fault */
    void (*error)(int status, struct nj_span body, struct nj_reply *reply);
};

extern const struct nj_dialect nj_dialect_anthropic;
extern const struct nj_dialect nj_dialect_openai;

/* nj_dialect_status_fault - what a status alone says; *@message is the service's own words or "" */
void nj_dialect_status_fault(int status, const char *message, struct nj_reply *reply);

#endif
