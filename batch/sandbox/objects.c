/*
 * objects.c - an index over a memfd of encoded objects
 */
#include "batch/sandbox/objects.h"

#include <errno.h>
#include <sys/mman.h>

#include "batch/sandbox/protocol.h"

#include "formats/base/banned.h"

#define ITEMS_MAX (4u << 20)

static int compare_items(const void *a, const void *b)
{
    const struct nj_objects_item *first = a, *second = b;

    return memcmp(first->digest.bytes, second->digest.bytes, NJ_DIGEST_BYTES);
}

static int add(struct nj_objects *objects, const struct nj_object *object, struct nj_error *err)
{
    if (objects->n_items == objects->room) {
        size_t room = objects->room ? 2 * objects->room : 64;
        struct nj_objects_item *items;

        if (room > ITEMS_MAX)
            return nj_fail(err, NJ_E_LIMIT, "objects: more than %u", ITEMS_MAX);
        items = reallocarray(objects->items, room, sizeof(*items));
        if (!items)
            return nj_fail_nomem(err);
        objects->items = items;
        objects->room = room;
    }
    objects->items[objects->n_items++] = (struct nj_objects_item){object->digest, object->bytes};
    return 0;
}

int nj_objects_open(struct nj_objects *objects, int fd, struct nj_error *err)
{
    uint64_t bytes;
    size_t at = 0;
    int r;

    objects->fd = fd;
    r = nj_msg_memfd_bytes(fd, &bytes, err);
    if (r < 0)
        return nj_wrap(err, "objects");
    if (bytes == 0)
        return 0;
    objects->map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (objects->map == MAP_FAILED) {
        objects->map = NULL;
        return nj_fail_errno(err, errno, "objects: map %llu bytes", (unsigned long long)bytes);
    }
    objects->map_bytes = (size_t)bytes;
    while (at < objects->map_bytes) {
        struct nj_span rest = {(const uint8_t *)objects->map + at, objects->map_bytes - at};
        struct nj_object object;
        size_t len;

        r = nj_object_decode(rest, false, &object, &len, err);
        if (r < 0)
            return nj_wrap(err, "objects: at byte %zu", at);
        r = add(objects, &object, err);
        if (r < 0)
            return r;
        at += len;
    }
    qsort(objects->items, objects->n_items, sizeof(*objects->items), compare_items);
    return 0;
}

void nj_objects_close(struct nj_objects *objects)
{
    if (objects->map)
        (void)munmap(objects->map, objects->map_bytes);
    free(objects->items);
    if (objects->fd > 0)
        (void)close(objects->fd);
    *objects = (struct nj_objects){0};
}

static const struct nj_objects_item *find(const struct nj_objects *objects,
                                          const struct nj_digest *digest)
{
    struct nj_objects_item key = {.digest = *digest};

    if (objects->n_items == 0)
        return NULL;
    return bsearch(&key, objects->items, objects->n_items, sizeof(key), compare_items);
}

bool nj_objects_has(const struct nj_objects *objects, const struct nj_digest *digest)
{
    return find(objects, digest) != NULL;
}

int nj_objects_view(void *ctx, const struct nj_digest *digest, struct nj_span *ret_bytes,
                    struct nj_error *err)
{
    const struct nj_objects_item *item = find(ctx, digest);
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    if (!item) {
        nj_digest_hex(digest, hex);
        return nj_fail(err, NJ_E_CORRUPT, "object %s is missing", hex);
    }
    *ret_bytes = item->bytes;
    return 0;
}

int nj_objects_get(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                   struct nj_error *err)
{
    struct nj_span bytes = {NULL, 0};
    int r = nj_objects_view(ctx, digest, &bytes, err);

    return r < 0 ? r : nj_buf_append(out, bytes.data, bytes.len, err);
}
