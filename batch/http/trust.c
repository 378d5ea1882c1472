/*
 * trust.c - one store of certificates for all connections, and OpenSSL's own beginnings
 */
#include "batch/http/trust.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

#include "formats/base/banned.h"

struct nj_trust {
    X509_STORE *store;
};

/* OpenSSL finds its algorithms and seeds its generators when they are first used, which takes
 * milliseconds: a client's first message, for nobody, uses what a connection begins with. */
static void warm_up(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context ? SSL_new(context) : NULL;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    if (ssl && in && out) {
        SSL_set_bio(ssl, in, out); /* which are its own now */
        in = out = NULL;
        SSL_set_connect_state(ssl);
        (void)SSL_do_handshake(ssl); /* no answer comes */
    }
    BIO_free(in);
    BIO_free(out);
    SSL_free(ssl);
    SSL_CTX_free(context);
    ERR_clear_error();
}

struct nj_trust *nj_trust_load(const char *ca_file)
{
    const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);
    struct nj_trust *trust = calloc(1, sizeof(*trust));

    warm_up();
    if (!ca_file)
        ca_file = version->cainfo;
    if (!trust || !ca_file)
        goto fail;
    trust->store = X509_STORE_new();
    if (!trust->store || X509_STORE_load_file(trust->store, ca_file) != 1)
        goto fail;
    /* As libcurl does: what is in the file is trusted, were it no root. */
    X509_STORE_set_flags(trust->store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    return trust;
fail:
    nj_trust_free(trust);
    return NULL;
}

void nj_trust_free(struct nj_trust *trust)
{
    if (!trust)
        return;
    X509_STORE_free(trust->store);
    free(trust);
}

bool nj_trust_use(CURL *easy)
{
    return curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
}

void nj_trust_give(const struct nj_trust *trust, void *context)
{
    SSL_CTX_set1_cert_store(context, trust->store);
}
