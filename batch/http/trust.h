/*
 * trust.h - the certificates that TLS trusts, read once and before the loop turns
 *
 * libcurl reads its file when the first connection begins: 140 certificates, some 20 ms in which
 * no session goes on. Read here, all connections share them; and OpenSSL's own beginnings, some
 * more, are seen to with them.
 */
#ifndef NJ_HTTP_TRUST_H
#define NJ_HTTP_TRUST_H

#include <curl/curl.h>
#include <stdbool.h>

struct nj_trust;

/* nj_trust_load - of @ca_file (PEM), or where that is NULL of what libcurl would read. NULL when it
 * cannot be had: then libcurl reads it, and says what is wrong. */
struct nj_trust *nj_trust_load(const char *ca_file);
void nj_trust_free(struct nj_trust *trust);

/* nj_trust_use - make @easy read none by itself; nj_trust_give - and verify by @trust, as OpenSSL's
 * @context is made (CURLOPT_SSL_CTX_FUNCTION) */
bool nj_trust_use(CURL *easy);
void nj_trust_give(const struct nj_trust *trust, void *context);

#endif
