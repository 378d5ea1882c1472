/*
 * order.c - a session's places and objects, for a worker: copied where they are few
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
                             .n_objects = live->index.count,
                             .n_slots = live->index.mapped ? live->index.cap : 0};
    size_t places_bytes = order.n_places * sizeof(*live->places);
    size_t slots_bytes = order.n_slots > 0 ? 0 : order.n_objects * sizeof(*live->index.slots);

    nj_buf_init(out, ORDER_MAX_BYTES);
    if (nj_buf_reserve(out, sizeof(order) + places_bytes + slots_bytes, err) < 0 ||
        nj_buf_append(out, &order, sizeof(order), err) < 0 ||
        nj_buf_append(out, live->places, places_bytes, err) < 0 ||
        (order.n_slots == 0 && append_objects(&live->index, out, err) < 0))
        return nj_wrap(err, "an order for session %s", live->plan->key);
    *ret_order = (struct nj_order *)out->data;
    return 0;
}

int nj_order_start(struct nj_live *live, nj_worker_main work, struct nj_span order, int fd,
                   nj_worker_done done, struct nj_error *err)
{
    const struct nj_worker_order sent = {
        .bytes = order, .fd = fd, .pages = live->index.mapped ? live->index.fd : -1};

    return nj_worker_start(live->engine->pool, work, &sent, done, live, &live->worker, err);
}

static int read_objects(const struct nj_order *order, const struct nj_worker_order *sent,
                        const struct nj_object_index_slot *objects, struct nj_object_index *index,
                        struct nj_error *err)
{
    if (order->n_slots > 0)
        return nj_object_index_map(sent->pages, order->n_slots, order->n_objects, index, err);
    for (size_t i = 0; i < order->n_objects; i++)
        if (nj_object_index_add(index, &objects[i].digest, &objects[i].place, err) < 0) {
            nj_object_index_done(index);
            return -(int)err->code;
        }
    return 0;
}

int nj_order_read(struct nj_engine *engine, const struct nj_worker_order *sent,
                  const struct nj_order **ret_order, struct nj_live *ret_live, struct nj_error *err)
{
    const struct nj_order *order = (const struct nj_order *)sent->bytes.data;
    struct nj_journal_place *places =
        (struct nj_journal_place *)(uintptr_t)(order + 1); /* only read: the map is read-only */

    *ret_live = (struct nj_live){
        .engine = engine,
        .plan = &engine->plan->sessions[order->session],
        .places = places,
        .n_places = order->n_places,
    };
    *ret_order = order;
    return read_objects(order, sent,
                        (const struct nj_object_index_slot *)(places + order->n_places),
                        &ret_live->index, err);
}

void nj_order_done(struct nj_live *live)
{
    if (live->engine) /* what it kept open may be thinned before its next order */
        nj_journal_forget(live->engine->reader, 0);
    nj_object_index_done(&live->index);
}
