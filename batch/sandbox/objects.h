/*
 * objects.h - a sealed memfd of encoded objects, read as a source
 *
 * The stream is hostile until checked: lengths by the decoder, each object's digest when it is
 * used.
 */
#ifndef NJ_SANDBOX_OBJECTS_H
#define NJ_SANDBOX_OBJECTS_H

#include "formats/object/object.h"

struct nj_objects_item {
    struct nj_digest digest;
    struct nj_span bytes; /* in the mapping */
};

struct nj_objects {
    int fd;
    void *map;
    size_t map_bytes;
    struct nj_objects_item *items; /* ascending by digest */
    size_t n_items;
    size_t room;
};

/* nj_objects_open - takes @fd, also on failure. @objects must be zeroed; pair with _close. */
int nj_objects_open(struct nj_objects *objects, int fd, struct nj_error *err) NJ_MUST_USE;
void nj_objects_close(struct nj_objects *objects); /* a zeroed object is fine */
NJ_DEFINE_AUTO_VAL(struct nj_objects, nj_objects_close);

/* nj_objects_get - for struct nj_object_source; ctx is the struct nj_objects */
int nj_objects_get(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_objects_view - likewise; the bytes lie in the mapping */
int nj_objects_view(void *ctx, const struct nj_digest *digest, struct nj_span *ret_bytes,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_objects_has - without copying */
bool nj_objects_has(const struct nj_objects *objects, const struct nj_digest *digest);

#endif
