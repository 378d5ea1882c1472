/*
 * credential.h - the header that proves who asks: what who sends requests wants of who holds
 * secrets
 *
 * The answer takes a round trip to another process, which a busy machine may let wait for
 * milliseconds, so it comes from the loop. The holder is batch/gateway's vault, or a test.
 *
 *   attach(loop) -> { ask -> answered | forget } ... -> attach(no loop)
 */
#ifndef NJ_HTTP_CREDENTIAL_H
#define NJ_HTTP_CREDENTIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/error.h"

struct event_base;
struct nj_credential_wait; /* one question under way; the holder's own */

/* Borrowed for the call of ask() only. */
struct nj_credential_ask {
    size_t credential; /* its place in the manifest */
    const char *host;  /* lower case, with a port where it is not the scheme's own */
    const char *method;
    /* Used where the manifest gives none; {secret} stands for it in the format. */
    const char *default_header, *default_format;
};

/* nj_credential_answered - called once, from the loop, never from inside ask(): with the whole line
 * ("x-api-key: ..."), which the holder wipes after the call; or with NULL and why there is none.
 * Then the question is gone. NJ_E_INPUT: the credential is not for that host or method, with its
 * cure; NJ_E_SYSTEM: the holder is gone. */
typedef void nj_credential_answered(void *ctx, const char *line, const struct nj_error *why);

/* nj_credential_masked - called once, from the loop; then the question is gone */
typedef void nj_credential_masked(void *ctx);

struct nj_credentials {
    /* attach - the loop that answers come from; NULL: no more, all questions were forgotten */
    int (*attach)(void *ctx, struct event_base *base, struct nj_error *err);
    int (*ask)(void *ctx, const struct nj_credential_ask *ask, nj_credential_answered *answered,
               void *answered_ctx, struct nj_credential_wait **ret_wait, struct nj_error *err);
    void (*forget)(struct nj_credential_wait *wait); /* no answer comes; accepts NULL */
    /* mask - blot secrets out of what a server sent, in place, before it is shown or recorded.
     * True: it is done; false: masked comes, and @text is the asker's until then (or until he
     * forgets it). Where the holder is gone all of it is blotted out. May be NULL. */
    bool (*mask)(void *ctx, char *text, size_t len, nj_credential_masked *masked, void *masked_ctx,
                 struct nj_credential_wait **ret_wait);
    void *ctx;
};

#endif
