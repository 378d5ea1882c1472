/*
 * digest.h - SHA-256 of bytes and files
 */
#ifndef NJ_BASE_DIGEST_H
#define NJ_BASE_DIGEST_H

#include "formats/base/buf.h"

#define NJ_DIGEST_BYTES 32
#define NJ_DIGEST_HEX_CHARS 64

struct nj_digest {
    uint8_t bytes[NJ_DIGEST_BYTES];
};

/* nj_digest_bytes - SHA-256 of @len bytes; cannot fail (aborts when the library has no SHA-256) */
void nj_digest_bytes(const void *data, size_t len, struct nj_digest *ret_digest);

/* A running digest. _new fails only without memory (NULL). _finish may be called once. */
struct nj_hasher;
struct nj_hasher *nj_hasher_new(void);
void nj_hasher_free(struct nj_hasher *hasher);
NJ_DEFINE_AUTO_PTR(struct nj_hasher, nj_hasher_free);
void nj_hasher_update(struct nj_hasher *hasher, const void *data, size_t len);
void nj_hasher_finish(struct nj_hasher *hasher, struct nj_digest *ret_digest);

/* nj_digest_hex - 64 lower-case hex characters and a NUL into @text */
void nj_digest_hex(const struct nj_digest *digest, char text[NJ_DIGEST_HEX_CHARS + 1]);

/* nj_digest_parse - reads exactly 64 lower-case hex characters; false otherwise */
bool nj_digest_parse(struct nj_span text, struct nj_digest *ret_digest);

static inline bool nj_digest_equal(const struct nj_digest *a, const struct nj_digest *b)
{
    return memcmp(a->bytes, b->bytes, NJ_DIGEST_BYTES) == 0;
}

/* A chain: chain := SHA-256(chain || label || 0 || u64le(len) || data). Zeroed to begin. */
void nj_digest_chain(struct nj_digest *chain, const char *label, struct nj_span data);

#endif
