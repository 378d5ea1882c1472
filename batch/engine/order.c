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

int nj_order_new(const struct nj_live *live, bool with_places, struct nj_buf *out,
                 struct nj_order **ret_order, struct nj_error *err)
{
    struct nj_order order = {.session = live->plan->number - 1,
                             .n_places = with_places ? live->n_places : 0,
                             .index = live->index};
    size_t places_bytes = order.n_places * sizeof(*live->places);
    size_t slots_bytes = live->index.cap * sizeof(*live->index.slots);

    nj_buf_init(out, ORDER_MAX_BYTES);
    if (nj_buf_reserve(out, sizeof(order) + places_bytes + slots_bytes, err) < 0 ||
        nj_buf_append(out, &order, sizeof(order), err) < 0 ||
        nj_buf_append(out, live->places, places_bytes, err) < 0 ||
        nj_buf_append(out, live->index.slots, slots_bytes, err) < 0)
        return nj_wrap(err, "an order for session %s", live->plan->key);
    *ret_order = (struct nj_order *)out->data;
    return 0;
}

const struct nj_order *nj_order_read(struct nj_engine *engine, struct nj_span bytes,
                                     struct nj_live *ret_live)
{
    const struct nj_order *order = (const struct nj_order *)bytes.data;
    uint8_t *behind = (uint8_t *)bytes.data + sizeof(*order); /* only read: the map is read-only */

    nj_journal_forget(engine->reader, 0); /* of what was thinned since its last order */
    *ret_live = (struct nj_live){
        .engine = engine,
        .plan = &engine->plan->sessions[order->session],
        .places = (struct nj_journal_place *)behind,
        .n_places = order->n_places,
        .index = order->index,
    };
    ret_live->index.slots =
        (struct nj_object_index_slot *)(behind + order->n_places * sizeof(*ret_live->places));
    return order;
}
