/*
 * bytes.h - little-endian loads and stores, and sums that cannot wrap
 */
#ifndef NJ_BASE_BYTES_H
#define NJ_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t nj_load_u16le(const void *from)
{
    uint16_t v;

    memcpy(&v, from, sizeof(v));
    return le16toh(v);
}

static inline uint32_t nj_load_u32le(const void *from)
{
    uint32_t v;

    memcpy(&v, from, sizeof(v));
    return le32toh(v);
}

static inline uint64_t nj_load_u64le(const void *from)
{
    uint64_t v;

    memcpy(&v, from, sizeof(v));
    return le64toh(v);
}

static inline void nj_store_u16le(void *to, uint16_t v)
{
    v = htole16(v);
    memcpy(to, &v, sizeof(v));
}

static inline void nj_store_u32le(void *to, uint32_t v)
{
    v = htole32(v);
    memcpy(to, &v, sizeof(v));
}

static inline void nj_store_u64le(void *to, uint64_t v)
{
    v = htole64(v);
    memcpy(to, &v, sizeof(v));
}

/* Return true when the result does not fit; *ret is then unspecified. */
static inline bool nj_add_overflows(size_t a, size_t b, size_t *ret)
{
    return __builtin_add_overflow(a, b, ret);
}

static inline bool nj_mul_overflows(size_t a, size_t b, size_t *ret)
{
    return __builtin_mul_overflow(a, b, ret);
}

#endif
