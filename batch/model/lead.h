/*
 * lead.h - the first call of a group goes ahead, so that the others read what it wrote to the cache
 *
 * The sessions of a group share tools and instructions. A provider's cache can be read once the
 * reply that filled it has begun to come (WIRE.md 4), so sessions that begin together would each
 * pay for writing the same prefix. One call leads, the others of its group and model wait for its
 * first byte. Whoever leads and fails hands over to the next; together they have
 * NJ_LEAD_MAX_MS, then all go. Pure: the caller has the clock. It is an economy and no state of the
 * record: after a crash the first call of a group leads once more.
 */
#ifndef NJ_MODEL_LEAD_H
#define NJ_MODEL_LEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define NJ_LEAD_MAX_MS 20000u
#define NJ_LEAD_PREFIX_MIN_BYTES 1024u /* no provider caches so few tokens (WIRE.md 4) */

struct nj_lead;

/* Embedded by a call. */
struct nj_lead_place {
    TAILQ_ENTRY(nj_lead_place) link;
    struct nj_lead *lead; /* NULL: it neither waits nor leads */
    bool waiting;
};

TAILQ_HEAD(nj_lead_queue, nj_lead_place);

/* One group at one model. */
struct nj_lead {
    struct nj_lead_queue queue;
    const struct nj_lead_place *leader;
    uint64_t keep_ms;  /* how long the provider keeps what nobody reads */
    uint64_t since_ms; /* plus 1: when somebody began to lead; 0: nobody does */
    uint64_t warm_ms;  /* the prefix can be read until then */
};

void nj_lead_init(struct nj_lead *lead, uint64_t keep_ms);

void nj_lead_enter(struct nj_lead *lead, struct nj_lead_place *place);

/* nj_lead_next - who may go on: it has left the queue; or NULL, and *ret_wait_ms says when to look
 * again at the latest (UINT64_MAX: when somebody entered) */
struct nj_lead_place *nj_lead_next(struct nj_lead *lead, uint64_t now_ms, uint64_t *ret_wait_ms);

/* nj_lead_first_byte - a reply to a call of the group begins to come */
void nj_lead_first_byte(struct nj_lead *lead, uint64_t now_ms);

/* nj_lead_leave - the call ended, failed, or is not wanted any more; accepts a place that is
 * nowhere */
void nj_lead_leave(struct nj_lead_place *place);

#endif
