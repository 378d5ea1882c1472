/*
 * request.h - what a model is asked, as spans; pure
 *
 * The same state gives the same bytes: a conversation is sent as the slices it is stored in, with
 * literals between them, and never joined here. nj_request_write() calls the dialect; what it made
 * is borrowed from the session, the policy and the body's own arena, so it lasts while they do.
 */
#ifndef NJ_MODEL_REQUEST_H
#define NJ_MODEL_REQUEST_H

#include "batch/session/session.h"
#include "formats/manifest/manifest.h"

#define NJ_REQUEST_BODY_MAX_BYTES (32u << 20) /* what the services take (WIRE.md 3) */
#define NJ_REQUEST_MAX_TOKENS 8192            /* of a reply, where nobody says */
#define NJ_REQUEST_CACHE_ITEMS_MAX 2          /* beside tools and system: four breakpoints in all */

/* What is decided call by call: money, context, caching. Zeroed is a good default. */
struct nj_request_policy {
    uint64_t max_tokens;   /* 0: the model's */
    const char *cache_ttl; /* "5m", "1h"; NULL: no breakpoints */
    bool cache_tools, cache_system;
    /* Conversation items behind which the prefix is cached: a user's items, ascending. */
    size_t cache_items[NJ_REQUEST_CACHE_ITEMS_MAX];
    size_t n_cache_items;
    struct nj_span output_schema; /* JSON schema of the answer's text, or empty */
    /* item - the item to send in place of item @at (a note where an old result was), or an empty
     * span for the stored one. NULL: all are sent as they are. */
    struct nj_span (*item)(void *ctx, size_t at);
    void *ctx;
};

struct nj_request {
    const struct nj_session *session;
    size_t n_messages; /* the first so many items */
    const struct nj_manifest_model *model;
    bool counting;        /* only the prompt's tokens are asked for */
    struct nj_span tools; /* JSON array of {name, description, input_schema}, or empty */
    const struct nj_request_policy *policy;
};

struct nj_request_body {
    struct nj_span *spans;
    size_t n_spans, cap_spans;
    uint64_t bytes;
    struct nj_arena arena;
};

void nj_request_body_done(struct nj_request_body *body);
NJ_DEFINE_AUTO_VAL(struct nj_request_body, nj_request_body_done);

/* nj_request_max_tokens - of the reply: the policy's figure, else the model's */
uint64_t nj_request_max_tokens(const struct nj_request *request);

/* nj_request_refuses - does the manifest say that the model does not take field @key? */
bool nj_request_refuses(const struct nj_request *request, struct nj_span key);

/* nj_request_parameters - write ",key":value for the model's parameters but those it refuses and
 * @except, which the dialect writes itself */
int nj_request_parameters(const struct nj_request *request, const char *except,
                          struct nj_request_body *body, struct nj_error *err) NJ_MUST_USE;

/* What dialects write with. _literal and _span borrow, _json and _printf copy into the arena. */
int nj_request_literal(struct nj_request_body *body, const char *text,
                       struct nj_error *err) NJ_MUST_USE;
int nj_request_span(struct nj_request_body *body, struct nj_span span,
                    struct nj_error *err) NJ_MUST_USE;
int nj_request_json(struct nj_request_body *body, struct nj_span text,
                    struct nj_error *err) NJ_MUST_USE;
int nj_request_printf(struct nj_request_body *body, struct nj_error *err, const char *fmt,
                      ...) NJ_MUST_USE NJ_PRINTF(3, 4);

/* nj_request_item - the content array of item @at as it is to be sent, and its role */
int nj_request_item(const struct nj_request *request, size_t at, enum nj_role *ret_role,
                    struct nj_span *ret_content, struct nj_error *err) NJ_MUST_USE;

/* nj_request_cached - is there a breakpoint behind item @at? */
bool nj_request_cached(const struct nj_request *request, size_t at);

#endif
