/*
 * digest.c - SHA-256 through libcrypto's EVP interface
 *
 * Fetching an algorithm and making a context cost more than hashing a small frame, so the algorithm
 * is fetched once a process and each thread keeps one context for the one-shot functions.
 */
#include "formats/base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "formats/base/bytes.h"

#include "formats/base/banned.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static EVP_MD *sha256;

struct nj_hasher {
    EVP_MD_CTX *context;
};

static void context_free(void *context)
{
    EVP_MD_CTX_free(context);
}

static void set_up(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || pthread_key_create(&context_key, context_free) != 0)
        abort(); /* a libcrypto without SHA-256 is not one we can work with */
}

static void must(int ok)
{
    if (ok != 1)
        abort(); /* hashing bytes in memory fails only in a broken libcrypto */
}

static EVP_MD_CTX *thread_context(void)
{
    EVP_MD_CTX *context;

    must(pthread_once(&once, set_up) == 0);
    context = pthread_getspecific(context_key);
    if (!context) {
        context = EVP_MD_CTX_new();
        must(context != NULL);
        must(pthread_setspecific(context_key, context) == 0);
    }
    must(EVP_DigestInit_ex2(context, sha256, NULL));
    return context;
}

static void finish(EVP_MD_CTX *context, struct nj_digest *ret_digest)
{
    unsigned int len = 0;

    must(EVP_DigestFinal_ex(context, ret_digest->bytes, &len));
    must(len == NJ_DIGEST_BYTES);
}

void nj_digest_bytes(const void *data, size_t len, struct nj_digest *ret_digest)
{
    EVP_MD_CTX *context = thread_context();

    must(EVP_DigestUpdate(context, data, len));
    finish(context, ret_digest);
}

struct nj_hasher *nj_hasher_new(void)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = calloc(1, sizeof(*hasher));

    must(pthread_once(&once, set_up) == 0);
    if (!hasher)
        return NULL;
    hasher->context = EVP_MD_CTX_new();
    if (!hasher->context || EVP_DigestInit_ex2(hasher->context, sha256, NULL) != 1)
        return NULL;
    return nj_steal_ptr(&hasher);
}

void nj_hasher_free(struct nj_hasher *hasher)
{
    if (!hasher)
        return;
    EVP_MD_CTX_free(hasher->context);
    free(hasher);
}

void nj_hasher_update(struct nj_hasher *hasher, const void *data, size_t len)
{
    must(EVP_DigestUpdate(hasher->context, data, len));
}

void nj_hasher_finish(struct nj_hasher *hasher, struct nj_digest *ret_digest)
{
    finish(hasher->context, ret_digest);
}

void nj_digest_hex(const struct nj_digest *digest, char text[NJ_DIGEST_HEX_CHARS + 1])
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < NJ_DIGEST_BYTES; i++) {
        text[2 * i] = hex[digest->bytes[i] >> 4];
        text[2 * i + 1] = hex[digest->bytes[i] & 0xf];
    }
    text[NJ_DIGEST_HEX_CHARS] = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool nj_digest_parse(struct nj_span text, struct nj_digest *ret_digest)
{
    struct nj_digest digest;

    if (text.len != NJ_DIGEST_HEX_CHARS)
        return false;
    for (size_t i = 0; i < NJ_DIGEST_BYTES; i++) {
        int high = hex_value(text.data[2 * i]);
        int low = hex_value(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_digest = digest;
    return true;
}

void nj_digest_chain(struct nj_digest *chain, const char *label, struct nj_span data)
{
    EVP_MD_CTX *context = thread_context();
    uint8_t len[8];

    nj_store_u64le(len, data.len);
    must(EVP_DigestUpdate(context, chain->bytes, sizeof(chain->bytes)));
    must(EVP_DigestUpdate(context, label, strlen(label) + 1));
    must(EVP_DigestUpdate(context, len, sizeof(len)));
    must(EVP_DigestUpdate(context, data.data, data.len));
    finish(context, chain);
}
