/*
 * recent.c - least recently used objects, and the choice of a base among them
 */
#include "batch/engine/recent.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "formats/base/bytes.h"
#include "formats/journal/journal.h"

#include "formats/base/banned.h"

#define BUCKETS 16384 /* 8 MiB are some 14,000 objects */
/* A change that is longer is worth one more link of the chain. */
#define SHORT_BYTES 256

struct kept {
    TAILQ_ENTRY(kept) by_age; /* the latest first */
    struct kept *next;        /* in its bucket */
    uint32_t owner;
    unsigned chain;
    bool has_base;
    enum nj_object_kind kind;
    struct nj_digest base;
    struct nj_digest digest;
    size_t len;
    uint8_t bytes[];
};
TAILQ_HEAD(kept_list, kept);

struct nj_recent {
    struct kept *buckets[BUCKETS];
    struct kept_list by_age;
    size_t max_bytes;
    size_t bytes; /* with what each costs beside its own */
};

int nj_recent_new(size_t max_bytes, struct nj_recent **ret_recent, struct nj_error *err)
{
    struct nj_recent *recent = calloc(1, sizeof(*recent));

    if (!recent)
        return nj_fail_nomem(err);
    TAILQ_INIT(&recent->by_age);
    recent->max_bytes = max_bytes;
    *ret_recent = recent;
    return 0;
}

/* place_of - the pointer that points at it, or at the end of its bucket */
static struct kept **place_of(struct nj_recent *recent, uint32_t owner,
                              const struct nj_digest *digest)
{
    struct kept **at = &recent->buckets[(nj_load_u32le(digest->bytes) ^ owner) & (BUCKETS - 1)];

    while (*at && ((*at)->owner != owner || !nj_digest_equal(&(*at)->digest, digest)))
        at = &(*at)->next;
    return at;
}

static void drop(struct nj_recent *recent, struct kept **at)
{
    struct kept *kept = *at;

    *at = kept->next;
    TAILQ_REMOVE(&recent->by_age, kept, by_age);
    recent->bytes -= sizeof(*kept) + kept->len;
    free(kept);
}

void nj_recent_clear(struct nj_recent *recent)
{
    struct kept *kept;

    while ((kept = TAILQ_FIRST(&recent->by_age)))
        drop(recent, place_of(recent, kept->owner, &kept->digest));
}

void nj_recent_free(struct nj_recent *recent)
{
    if (!recent)
        return;
    nj_recent_clear(recent);
    free(recent);
}

static struct kept *find(struct nj_recent *recent, uint32_t owner, const struct nj_digest *digest)
{
    struct kept *kept = *place_of(recent, owner, digest);

    if (kept) {
        TAILQ_REMOVE(&recent->by_age, kept, by_age);
        TAILQ_INSERT_HEAD(&recent->by_age, kept, by_age);
    }
    return kept;
}

bool nj_recent_has(struct nj_recent *recent, uint32_t owner, const struct nj_digest *digest)
{
    return *place_of(recent, owner, digest) != NULL;
}

int nj_recent_get(struct nj_recent *recent, uint32_t owner, const struct nj_digest *digest,
                  struct nj_buf *out, struct nj_error *err)
{
    const struct kept *kept = find(recent, owner, digest);
    struct nj_object object;

    if (!kept)
        return 0;
    object = (struct nj_object){
        .kind = kept->kind, .digest = kept->digest, .bytes = {kept->bytes, kept->len}};
    return nj_object_encode(&object, out, err) < 0 ? -(int)err->code : 1;
}

void nj_recent_note(struct nj_recent *recent, uint32_t owner, const struct nj_object *object,
                    unsigned chain, const struct nj_digest *base)
{
    struct kept **at = place_of(recent, owner, &object->digest), *kept, *oldest;

    if (*at)
        drop(recent, at);
    if (object->bytes.len == 0 || object->bytes.len > NJ_OBJECT_DELTA_MAX_BYTES)
        return;
    kept = malloc(sizeof(*kept) + object->bytes.len);
    if (!kept)
        return;
    *kept = (struct kept){.owner = owner,
                          .chain = chain,
                          .has_base = base,
                          .kind = object->kind,
                          .digest = object->digest,
                          .len = object->bytes.len};
    if (base)
        kept->base = *base;
    memcpy(kept->bytes, object->bytes.data, object->bytes.len);
    TAILQ_INSERT_HEAD(&recent->by_age, kept, by_age);
    *place_of(recent, owner, &object->digest) = kept;
    recent->bytes += sizeof(*kept) + kept->len;
    while (recent->bytes > recent->max_bytes && (oldest = TAILQ_LAST(&recent->by_age, kept_list)))
        drop(recent, place_of(recent, oldest->owner, &oldest->digest));
}

/* try_base - append the delta against @base. Returns 1, or 0 where it does not pay or the chain
 * would be too long. */
static int try_base(const struct kept *base, const struct nj_object *object, struct nj_buf *out,
                    struct nj_error *err)
{
    if (!base || base->chain >= NJ_OBJECT_CHAIN_MAX)
        return 0;
    return nj_object_delta(object, &base->digest, (struct nj_span){base->bytes, base->len}, out,
                           err);
}

/* encode_change - as a delta. Returns 1, with *ret_base, or 0 and nothing appended. */
static int encode_change(const struct nj_object *object, const struct kept *before,
                         const struct kept *its_base, struct nj_buf *out,
                         const struct kept **ret_base, struct nj_error *err)
{
    bool grows = object->kind == NJ_OBJECT_LIST;
    const struct kept *first = grows ? before : its_base, *second = grows ? its_base : before;
    size_t start = out->len, first_len;
    int r, again;

    *ret_base = first;
    r = try_base(first, object, out, err);
    first_len = out->len - start;
    if (r < 0 || (r == 1 && (grows || first_len <= SHORT_BYTES)))
        return r;
    again = try_base(second, object, out, err);
    if (again < 0)
        return again;
    /* Of two the first is as good, unless it is twice as long. */
    if (again == 1 && (r == 0 || 2 * (out->len - start - first_len) < first_len)) {
        memmove(out->data + start, out->data + start + first_len, out->len - start - first_len);
        out->len -= first_len;
        *ret_base = second;
        return 1;
    }
    out->len = start + first_len;
    /* At the end of the chain changes only grow: better to begin another. */
    if (r == 1 && before->chain >= NJ_OBJECT_CHAIN_MAX && first_len > SHORT_BYTES &&
        first_len > object->bytes.len / 8) {
        out->len = start;
        return 0;
    }
    return r;
}

/* fetch - read @digest, and note it as the change of @base; NULL: of nothing that is known */
static void fetch(struct nj_recent *recent, uint32_t owner, const struct nj_object_shelf *shelf,
                  const struct nj_digest *digest, const struct nj_digest *base, size_t max_bytes)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error ignored = {0};
    struct nj_object found;
    unsigned chain;

    nj_buf_init(&bytes, max_bytes);
    if (nj_object_load(shelf, digest, &bytes, &found, &chain, &ignored) < 0)
        return;
    nj_recent_note(recent, owner, &found, chain, base);
}

/* base_of - what @digest is stored as a change of. False when it is stored whole, or cannot be
 * read. */
static bool base_of(const struct nj_object_shelf *shelf, const struct nj_digest *digest,
                    struct nj_digest *ret_base)
{
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};
    struct nj_object_stored stored;
    struct nj_error ignored = {0};
    size_t len;

    nj_buf_init(&encoded, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (shelf->read(shelf->ctx, digest, &encoded, &ignored) < 0 ||
        nj_object_decode_stored(nj_buf_span(&encoded), &stored, &len, &ignored) < 0 ||
        !stored.is_delta)
        return false;
    *ret_base = stored.base;
    return true;
}

bool nj_recent_fetch(struct nj_recent *recent, uint32_t owner, const struct nj_object_shelf *shelf,
                     const struct nj_object *object, size_t max_bytes)
{
    struct nj_digest base;
    bool has_base;

    if (!object->has_earlier || object->bytes.len > max_bytes ||
        nj_recent_has(recent, owner, &object->earlier))
        return false;
    has_base = base_of(shelf, &object->earlier, &base);
    if (has_base && !nj_recent_has(recent, owner, &base))
        fetch(recent, owner, shelf, &base, NULL, max_bytes); /* the other is a base as well */
    fetch(recent, owner, shelf, &object->earlier, has_base ? &base : NULL, max_bytes);
    return true;
}

int nj_recent_encode(struct nj_recent *recent, uint32_t owner, const struct nj_object *object,
                     struct nj_buf *out, struct nj_error *err)
{
    const struct kept *before = NULL, *its_base = NULL, *base = NULL;
    struct nj_object whole = *object;
    struct nj_digest base_digest;
    unsigned chain = 0;
    int r = 0;

    if (object->has_earlier)
        before = find(recent, owner, &object->earlier);
    if (before && before->has_base)
        its_base = find(recent, owner, &before->base);
    if (before)
        r = encode_change(object, before, its_base, out, &base, err);
    whole.has_earlier = false; /* a hint is for whoever stores it */
    if (r == 0)
        r = nj_object_encode(&whole, out, err);
    else if (r == 1) {
        chain = base->chain + 1;
        base_digest = base->digest; /* noting may drop it */
    }
    if (r < 0)
        return r;
    /* A message is written once; a new file may never change, and a call may leave thousands. */
    if (object->has_earlier || (object->kind != NJ_OBJECT_MESSAGE &&
                                object->kind != NJ_OBJECT_CONFIG && object->kind != NJ_OBJECT_BLOB))
        nj_recent_note(recent, owner, object, chain, chain > 0 ? &base_digest : NULL);
    return 0;
}
