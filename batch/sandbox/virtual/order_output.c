/*
 * order_output.c - whether standard output and error were written in the same order
 *
 * Each is a pipe of its own, so once both hold something nobody can tell which of it came first.
 * But at level 3 every write is told before it is made, and nobody else runs: so before each both
 * are read empty, and what is found there is of the writes before. What is kept of a call is a
 * digest of its turns: which stream, how many bytes, and so on. Into how many writes a turn was cut
 * does not count. That both are empty helps besides those that do not wait for room: they always
 * find all of it.
 *
 * What is written by calls that are not told (vmsplice(), pwritev2()) is counted to the turn that
 * is under way when it is found, which is at the same point in each run.
 */
#include "batch/sandbox/virtual/order.h"
#include "formats/base/bytes.h"

#include "formats/base/banned.h"

static void end_turn(struct nj_order_turns *turns)
{
    uint8_t bytes[8];

    if (turns->bytes == 0)
        return;
    nj_store_u64le(bytes, turns->bytes);
    nj_digest_chain(&turns->digest, turns->of == 0 ? "out" : "errors",
                    (struct nj_span){bytes, sizeof(bytes)});
    turns->n++;
    turns->bytes = 0;
}

/* take - what came of stream @output since it was looked at */
static void take(struct nj_order *o, int output)
{
    struct nj_order_turns *turns = &o->turns;
    uint64_t total = o->outputs.read_all(o->outputs.ctx, output);
    uint64_t n = total - turns->seen[output];

    turns->seen[output] = total;
    if (n == 0)
        return;
    if (output != turns->of)
        end_turn(turns);
    turns->of = output;
    turns->bytes += n;
}

static void take_both(struct nj_order *o)
{
    int first = o->turns.writing;

    take(o, first);
    take(o, 1 - first);
}

void nj_order_writes(struct nj_virtual *v, int output)
{
    if (output < 0)
        return;
    take_both(v->order);
    v->order->turns.writing = output;
}

void nj_order_tell_turns(struct nj_virtual *v, struct nj_call_meta *meta)
{
    struct nj_order *o = v->order;

    if (!nj_order_keeps(v) || v->reached < NJ_LEVEL_MAX)
        return;
    take_both(o);
    end_turn(&o->turns);
    meta->has_order = o->turns.n > 1;
    if (meta->has_order)
        meta->order = o->turns.digest;
}
