/*
 * reader.c - an open bundle: its life, its frames, its objects
 *
 * All bytes that come from here were checked by verify.c when the bundle was opened, and lie since
 * in spools of this process, so a file that changes meanwhile changes nothing.
 */
#include <inttypes.h>

#include "formats/bundle/inside.h"

#include "formats/base/banned.h"

static void bundle_init(struct nj_bundle *bundle)
{
    nj_buf_init(&bundle->manifest, NJ_BUNDLE_MANIFEST_MAX_BYTES);
    for (int member = NJ_BUNDLE_JOURNAL; member <= NJ_BUNDLE_INPUTS; member++)
        nj_spool_init(&bundle->spools[member], -1, NJ_BUNDLE_SPOOL_MEMORY_BYTES);
}

static void bundle_done(struct nj_bundle *bundle)
{
    nj_arena_done(&bundle->arena);
    nj_buf_done(&bundle->manifest);
    for (int member = NJ_BUNDLE_JOURNAL; member <= NJ_BUNDLE_INPUTS; member++)
        nj_spool_done(&bundle->spools[member]);
    free(bundle->journal.items);
    free(bundle->snapshots.items);
    nj_index_done(&bundle->objects);
    nj_index_done(&bundle->inputs);
}

void nj_bundle_empty(struct nj_bundle *bundle)
{
    bundle_done(bundle);
    *bundle = (struct nj_bundle){0};
    bundle_init(bundle);
}

int nj_bundle_open(int fd, const char *name, unsigned flags, struct nj_bundle **ret_bundle,
                   struct nj_error *err)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = calloc(1, sizeof(*bundle));
    int r;

    if (!bundle)
        return nj_fail_nomem(err);
    bundle_init(bundle);
    r = nj_bundle_load(bundle, fd, (flags & NJ_BUNDLE_SALVAGE) != 0, err);
    if (r < 0)
        return nj_wrap(err, "bundle %s", name);
    if (bundle->damaged)
        (void)nj_wrap(&bundle->damage, "bundle %s", name);
    *ret_bundle = nj_steal_ptr(&bundle);
    return 0;
}

void nj_bundle_free(struct nj_bundle *bundle)
{
    if (!bundle)
        return;
    bundle_done(bundle);
    free(bundle);
}

const struct nj_bundle_info *nj_bundle_info(const struct nj_bundle *bundle)
{
    return &bundle->info;
}

struct nj_span nj_bundle_manifest(const struct nj_bundle *bundle)
{
    return nj_buf_span(&bundle->manifest);
}

const char *nj_bundle_damage(const struct nj_bundle *bundle)
{
    return bundle->damaged ? bundle->damage.text : NULL;
}

const char *nj_bundle_damage_at(const struct nj_bundle *bundle, size_t i)
{
    if (bundle->n_damages > 0)
        return i < bundle->n_damages ? bundle->damages[i] : NULL;
    return i == 0 ? nj_bundle_damage(bundle) : NULL;
}

static const struct nj_bundle_place *find_in(const struct nj_bundle_places *places,
                                             uint64_t sequence)
{
    size_t low = 0, high = places->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (places->items[middle].sequence == sequence)
            return &places->items[middle];
        if (places->items[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct nj_bundle_place *nj_bundle_find(const struct nj_bundle *bundle, uint64_t sequence)
{
    const struct nj_bundle_place *place = find_in(&bundle->journal, sequence);

    return place ? place : find_in(&bundle->snapshots, sequence);
}

int nj_bundle_payload(const struct nj_bundle *bundle, const struct nj_bundle_place *place,
                      struct nj_buf *out, struct nj_error *err)
{
    enum nj_bundle_member member =
        place->kind == NJ_FRAME_SNAPSHOT ? NJ_BUNDLE_SNAPSHOTS : NJ_BUNDLE_JOURNAL;

    return nj_spool_read(&bundle->spools[member], place->offset, place->len, out, err);
}

int nj_bundle_frame(struct nj_bundle *bundle, uint64_t sequence, struct nj_buf *out,
                    struct nj_frame *ret_frame, struct nj_error *err)
{
    const struct nj_bundle_place *place = nj_bundle_find(bundle, sequence);
    size_t start = out->len;
    int r;

    if (!place && bundle->damaged && sequence > 0 && sequence <= bundle->info.frames)
        return nj_fail(err, NJ_E_CORRUPT, "frame %" PRIu64 " is lost: %s", sequence,
                       bundle->damage.text);
    if (!place)
        return nj_fail(err, NJ_E_INPUT, "frame %" PRIu64 ": the bundle has frames 1 to %" PRIu64,
                       sequence, bundle->info.frames);
    r = nj_bundle_payload(bundle, place, out, err);
    if (r < 0)
        return nj_wrap(err, "frame %" PRIu64, sequence);
    *ret_frame =
        (struct nj_frame){.kind = place->kind,
                          .sequence = sequence,
                          .payload = {place->len > 0 ? out->data + start : NULL, place->len}};
    return 0;
}

static int object_get(const struct nj_bundle *bundle, enum nj_bundle_member member,
                      const struct nj_index *index, const struct nj_digest *digest,
                      struct nj_buf *out, struct nj_error *err)
{
    const struct nj_index_place *place = nj_index_find(index, digest);
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    if (place)
        return nj_spool_read(&bundle->spools[member], place->offset, place->len, out, err);
    nj_digest_hex(digest, hex);
    return nj_fail(err, NJ_E_CORRUPT, "%s has no object %.16s", nj_bundle_member_name(member), hex);
}

static int objects_get(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct nj_bundle *bundle = ctx;

    return object_get(bundle, NJ_BUNDLE_OBJECTS, &bundle->objects, digest, out, err);
}

static int inputs_get(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    const struct nj_bundle *bundle = ctx;

    return object_get(bundle, NJ_BUNDLE_INPUTS, &bundle->inputs, digest, out, err);
}

struct nj_object_source nj_bundle_objects(struct nj_bundle *bundle)
{
    return (struct nj_object_source){.get = objects_get, .ctx = bundle, .is_checked = true};
}

struct nj_object_source nj_bundle_inputs(struct nj_bundle *bundle)
{
    return (struct nj_object_source){.get = inputs_get, .ctx = bundle, .is_checked = true};
}

int nj_bundle_each_object(struct nj_bundle *bundle,
                          int (*visit)(void *ctx, const struct nj_object *object,
                                       struct nj_error *err),
                          void *ctx, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_free struct nj_index_place *sorted = nj_index_sorted(&bundle->objects);
    int r = 0;

    if (!sorted)
        return nj_fail_nomem(err);
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < bundle->objects.count; i++) {
        struct nj_object object = {.kind = (enum nj_object_kind)sorted[i].kind,
                                   .digest = sorted[i].digest};

        nj_buf_clear(&bytes);
        r = nj_spool_read(&bundle->spools[NJ_BUNDLE_OBJECTS], sorted[i].offset, sorted[i].len,
                          &bytes, err);
        object.bytes = nj_buf_span(&bytes);
        if (r == 0)
            r = visit(ctx, &object, err);
    }
    return r;
}
