/*
 * order.c - a session's places and objects, copied for a worker
 */
#include "batch/engine/order.h"

#include <assert.h>

#include "formats/base/banned.h"

#define ORDER_MAX_BYTES ((size_t)8 << 30) /* far above what the index of one session can be */

static_assert(sizeof(struct nj_order) % _Alignof(struct nj_journal_place) == 0 &&
                  sizeof(struct nj_journal_place) % _Alignof(struct nj_object_index_slot) == 0,
              "what follows an order is aligned");

static int append_objects(const struct nj_object_index *index, struct nj_buf *out,
                          struct nj_error *err)
{
    for (size_t i = 0; i < index->cap; i++)
        if (index->slots[i].place.bytes != 0 &&
            nj_buf_append(out, &index->slots[i], sizeof(index->slots[i]), err) < 0)
            return -(int)err->code;
    return 0;
}

int nj_order_new(const struct nj_live *live, bool with_places, struct nj_buf *out,
                 struct nj_order **ret_order, struct nj_error *err)
{
    struct nj_order order = {.session = live->plan->number - 1,
                             .n_places = with_places ? live->n_places : 0,
                             .n_objects = live->index.count};
    size_t places_bytes = order.n_places * sizeof(*live->places);
    size_t slots_bytes = order.n_objects * sizeof(*live->index.slots);

    nj_buf_init(out, ORDER_MAX_BYTES);
    if (nj_buf_reserve(out, sizeof(order) + places_bytes + slots_bytes, err) < 0 ||
        nj_buf_append(out, &order, sizeof(order), err) < 0 ||
        nj_buf_append(out, live->places, places_bytes, err) < 0 ||
        append_objects(&live->index, out, err) < 0)
        return nj_wrap(err, "an order for session %s", live->plan->key);
    *ret_order = (struct nj_order *)out->data;
    return 0;
}

int nj_order_read(struct nj_engine *engine, struct nj_span bytes, const struct nj_order **ret_order,
                  struct nj_live *ret_live, struct nj_error *err)
{
    const struct nj_order *order = (const struct nj_order *)bytes.data;
    uint8_t *behind = (uint8_t *)bytes.data + sizeof(*order); /* only read: the map is read-only */
    const struct nj_object_index_slot *objects;

    nj_journal_forget(engine->reader, 0); /* of what was thinned since its last order */
    *ret_live = (struct nj_live){
        .engine = engine,
        .plan = &engine->plan->sessions[order->session],
        .places = (struct nj_journal_place *)behind,
        .n_places = order->n_places,
    };
    objects =
        (const struct nj_object_index_slot *)(behind + order->n_places * sizeof(*ret_live->places));
    for (size_t i = 0; i < order->n_objects; i++)
        if (nj_object_index_add(&ret_live->index, &objects[i].digest, &objects[i].place, err) < 0) {
            nj_object_index_done(&ret_live->index);
            return -(int)err->code;
        }
    *ret_order = order;
    return 0;
}

void nj_order_done(struct nj_live *live)
{
    nj_object_index_done(&live->index);
}
