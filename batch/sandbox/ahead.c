/*
 * ahead.c - which boxes are opened ahead, and when
 *
 * The complication is that a box opened ahead may fail or be lost while it is nobody's: it is
 * closed then, and whoever asks next opens one and is told what is wrong with that.
 */
#include "batch/sandbox/ahead.h"

#include <event2/event.h>
#include <sys/socket.h>

#include "formats/base/banned.h"

/* After an open the processors belong to whoever asked for it, and to the call that it asked for: a
 * short one is over by then. */
#define ORDER_AFTER_US 20000

int nj_ahead_key(const struct nj_box_plan *plan, struct nj_buf *key, struct nj_error *err)
{
    const struct nj_msg msg = {.kind = NJ_MSG_OPEN, .open = {.box = 1, .plan = *plan}};

    return nj_msg_encode(&msg, key, err);
}

static bool is_ready(const struct nj_box *box)
{
    return box->op == NJ_BOX_OP_NONE;
}

/* is_alive - its supervisor has nothing to say to nobody, so what could be read is its end */
static bool is_alive(const struct nj_box *box)
{
    char byte;

    return !is_ready(box) || recv(box->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

struct nj_box *nj_ahead_take(struct nj_sandbox *sandbox, struct nj_span key)
{
    struct nj_box *found = NULL;

    /* The last of them is the oldest, which is the one most likely to be ready. */
    for (struct nj_box *box = sandbox->boxes; box; box = box->next) {
        if (box->ahead && nj_span_equal(nj_buf_span(&box->key), key) && is_alive(box) &&
            (!found || is_ready(box) || !is_ready(found)))
            found = box;
    }
    if (!found)
        return NULL;
    found->ahead = false;
    nj_buf_done(&found->key);
    sandbox->n_ahead--;
    return found;
}

/* close_oldest - new boxes come first in the list */
static void close_oldest(struct nj_sandbox *sandbox)
{
    struct nj_box *oldest = NULL;

    for (struct nj_box *box = sandbox->boxes; box; box = box->next) {
        if (box->ahead)
            oldest = box;
    }
    nj_box_close(oldest);
}

static void open_one(struct nj_sandbox *sandbox, struct nj_buf *key)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_box *box;
    struct nj_error ignored;
    struct nj_msg msg;

    if (nj_msg_decode(nj_buf_span(key), &arena, &msg, &ignored) < 0 ||
        nj_box_begin(sandbox, &msg.open.plan, &box, &ignored) < 0)
        return;
    box->ahead = true;
    box->key = *key;
    *key = (struct nj_buf){0};
    sandbox->n_ahead++;
}

static void on_order(evutil_socket_t fd, short what, void *ctx)
{
    struct nj_sandbox *sandbox = ctx;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < sandbox->n_orders; i++) {
        if (!sandbox->helper_lost && i < sandbox->ahead_max)
            open_one(sandbox, &sandbox->orders[i]);
        nj_buf_done(&sandbox->orders[i]);
    }
    sandbox->n_orders = 0;
    while (sandbox->n_ahead > sandbox->ahead_max)
        close_oldest(sandbox);
}

void nj_ahead_order(struct nj_sandbox *sandbox, struct nj_span key)
{
    const struct timeval after = {.tv_usec = ORDER_AFTER_US};
    struct nj_error ignored;
    struct nj_buf *order;

    if (sandbox->n_orders >= sandbox->ahead_max)
        return;
    if (!sandbox->order_due)
        sandbox->order_due = event_new(sandbox->base, -1, 0, on_order, sandbox);
    order = &sandbox->orders[sandbox->n_orders];
    nj_buf_init(order, NJ_MSG_MAX_BYTES);
    if (!sandbox->order_due || nj_buf_append(order, key.data, key.len, &ignored) < 0)
        return;
    if (sandbox->n_orders++ == 0)
        (void)event_add(sandbox->order_due, &after); /* else nothing is opened ahead */
}

void nj_sandbox_ahead(struct nj_sandbox *sandbox, size_t boxes_max)
{
    sandbox->ahead_max = boxes_max < NJ_SANDBOX_AHEAD_MAX ? boxes_max : NJ_SANDBOX_AHEAD_MAX;
    while (sandbox->n_ahead > sandbox->ahead_max)
        close_oldest(sandbox);
}

void nj_ahead_done(struct nj_sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->n_orders; i++)
        nj_buf_done(&sandbox->orders[i]);
    sandbox->n_orders = 0;
    if (sandbox->order_due)
        event_free(sandbox->order_due);
    sandbox->order_due = NULL;
}
