/*
 * object_index.c - open addressing over digests, which are their own hash
 */
#include "batch/run/object_index.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "formats/base/bytes.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define FIRST_SLOTS 16

void nj_object_index_done(struct nj_object_index *index)
{
    if (index->mapped) {
        (void)munmap(index->slots, index->cap * sizeof(*index->slots));
        if (index->fd >= 0)
            (void)close(index->fd); /* only memory */
    } else {
        free(index->slots);
    }
    *index = (struct nj_object_index){0};
}

/* The slot that holds @digest, or the free one where it would go. */
static struct nj_object_index_slot *slot_of(const struct nj_object_index *index,
                                            const struct nj_digest *digest)
{
    size_t i = (size_t)nj_load_u64le(digest->bytes) & (index->cap - 1);

    while (index->slots[i].place.bytes != 0 && !nj_digest_equal(&index->slots[i].digest, digest))
        i = (i + 1) & (index->cap - 1);
    return &index->slots[i];
}

const struct nj_journal_place *nj_object_index_find(const struct nj_object_index *index,
                                                    const struct nj_digest *digest)
{
    const struct nj_object_index_slot *slot;

    if (index->count == 0)
        return NULL;
    slot = slot_of(index, digest);
    return slot->place.bytes != 0 ? &slot->place : NULL;
}

bool nj_object_index_has_room(const struct nj_object_index *index, size_t more)
{
    return (index->count + more) * 4 <= index->cap * 3;
}

/* The upper half of the descriptors is for boxes and connections, which cannot do without. */
static bool is_to_spare(int fd)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)fd < limit.rlim_cur / 2;
}

/* slots_share - zeroed slots in pages that have a descriptor. False where there is none to spare:
 * then they are copied, which only takes longer. */
static bool slots_share(struct nj_object_index *index)
{
    size_t bytes = index->cap * sizeof(*index->slots);
    struct nj_error ignored = {0};
    nj_auto_close int fd = -1;
    void *map;

    if (nj_fsio_memfd("objects", &fd, &ignored) < 0 || !is_to_spare(fd) ||
        ftruncate(fd, (off_t)bytes) < 0)
        return false;
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return false;
    /* Whoever is forked could write into it, and would keep its pages behind the session's end. */
    (void)madvise(map, bytes, MADV_DONTFORK);
    index->slots = map;
    index->mapped = true;
    index->fd = nj_steal_fd(&fd);
    return true;
}

static int slots_new(struct nj_object_index *index, struct nj_error *err)
{
    if (index->share && index->cap >= NJ_OBJECT_INDEX_SHARED_SLOTS && slots_share(index))
        return 0;
    index->slots = calloc(index->cap, sizeof(*index->slots));
    return index->slots ? 0 : nj_fail_nomem(err);
}

int nj_object_index_map(int fd, size_t cap, size_t count, struct nj_object_index *ret_index,
                        struct nj_error *err)
{
    void *map = mmap(NULL, cap * sizeof(*ret_index->slots), PROT_READ, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        return nj_fail_errno(err, errno, "map a table of objects");
    *ret_index = (struct nj_object_index){
        .slots = map, .cap = cap, .count = count, .mapped = true, .fd = -1};
    return 0;
}

int nj_object_index_grown(const struct nj_object_index *index, size_t more,
                          struct nj_object_index *ret_grown, struct nj_error *err)
{
    struct nj_object_index grown = {.count = index->count,
                                    .cap = index->cap ? index->cap : FIRST_SLOTS,
                                    .bytes = index->bytes,
                                    .share = index->share};

    while (!nj_object_index_has_room(&grown, more))
        grown.cap *= 2;
    if (slots_new(&grown, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < index->cap; i++)
        if (index->slots[i].place.bytes != 0)
            *slot_of(&grown, &index->slots[i].digest) = index->slots[i];
    *ret_grown = grown;
    return 0;
}

int nj_object_index_add(struct nj_object_index *index, const struct nj_digest *digest,
                        const struct nj_journal_place *place, struct nj_error *err)
{
    struct nj_object_index grown;
    int r;

    if (!nj_object_index_has_room(index, 1)) {
        r = nj_object_index_grown(index, 1, &grown, err);
        if (r < 0)
            return r;
        nj_object_index_done(index);
        *index = grown;
    }
    *slot_of(index, digest) = (struct nj_object_index_slot){.digest = *digest, .place = *place};
    index->count++;
    index->bytes += place->bytes;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct nj_journal_place *x = &((const struct nj_object_index_slot *)a)->place;
    const struct nj_journal_place *y = &((const struct nj_object_index_slot *)b)->place;

    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

struct nj_object_index_slot *nj_object_index_sorted(const struct nj_object_index *index)
{
    struct nj_object_index_slot *sorted = calloc(index->count + 1, sizeof(*sorted));
    size_t n = 0;

    if (!sorted)
        return NULL;
    for (size_t i = 0; i < index->cap; i++)
        if (index->slots[i].place.bytes != 0)
            sorted[n++] = index->slots[i];
    qsort(sorted, n, sizeof(*sorted), by_place);
    return sorted;
}
