/*
 * lead.c - who goes ahead
 */
#include "batch/model/lead.h"

#include <stddef.h>

#include "formats/base/banned.h"

void nj_lead_init(struct nj_lead *lead, uint64_t keep_ms)
{
    *lead = (struct nj_lead){.keep_ms = keep_ms};
    TAILQ_INIT(&lead->queue);
}

void nj_lead_enter(struct nj_lead *lead, struct nj_lead_place *place)
{
    place->lead = lead;
    place->waiting = true;
    TAILQ_INSERT_TAIL(&lead->queue, place, link);
}

static void leave_queue(struct nj_lead *lead, struct nj_lead_place *place)
{
    TAILQ_REMOVE(&lead->queue, place, link);
    place->waiting = false;
}

static void warm(struct nj_lead *lead, uint64_t now_ms)
{
    lead->warm_ms = now_ms + lead->keep_ms;
    lead->since_ms = 0;
    lead->leader = NULL;
}

struct nj_lead_place *nj_lead_next(struct nj_lead *lead, uint64_t now_ms, uint64_t *ret_wait_ms)
{
    struct nj_lead_place *place = TAILQ_FIRST(&lead->queue);
    uint64_t over_ms;

    *ret_wait_ms = UINT64_MAX;
    if (!place)
        return NULL;
    if (now_ms < lead->warm_ms) {
        leave_queue(lead, place);
        return place;
    }
    if (lead->since_ms == 0)
        lead->since_ms = now_ms + 1;
    over_ms = lead->since_ms - 1 + NJ_LEAD_MAX_MS;
    if (now_ms >= over_ms)
        warm(lead, now_ms); /* nobody brought it about in time: waiting longer costs more */
    else if (!lead->leader)
        lead->leader = place;
    else {
        *ret_wait_ms = over_ms - now_ms;
        return NULL;
    }
    leave_queue(lead, place);
    return place;
}

void nj_lead_first_byte(struct nj_lead *lead, uint64_t now_ms)
{
    warm(lead, now_ms);
}

void nj_lead_leave(struct nj_lead_place *place)
{
    struct nj_lead *lead = place->lead;

    if (!lead)
        return;
    if (place->waiting)
        leave_queue(lead, place);
    if (lead->leader == place)
        lead->leader = NULL;
    if (!lead->leader && TAILQ_EMPTY(&lead->queue))
        lead->since_ms = 0; /* nobody waits for anybody: the next to come has all the time */
    place->lead = NULL;
}
