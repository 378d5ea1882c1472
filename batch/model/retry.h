/*
 * retry.h - what follows a failed try: the same model again, the next of the chain, or the end
 *
 * Pure. A chain is walked anew for every turn, from its first model or from where the session stays
 * (stay.h); the walk depends on nothing but that and the failures' causes, so it can be walked
 * again after a crash from their number and the script's choices.
 */
#ifndef NJ_MODEL_RETRY_H
#define NJ_MODEL_RETRY_H

#include "formats/manifest/manifest.h"

#define NJ_RETRY_TRIES_MAX 5      /* of one model in one turn */
#define NJ_RETRY_PATIENT_MAX 30   /* tries for lack of capacity, where no other model is left... */
#define NJ_RETRY_PATIENT_FACTOR 8 /* ...and how much longer the waits are then: a minute */
#define NJ_RETRY_BASE_MS 500      /* before the second try; doubled for each further one... */
#define NJ_RETRY_DOUBLINGS_MAX 4  /* ...up to 16 times the base: 8 s */
#define NJ_RETRY_JITTER_PERCENT 25

enum nj_retry_next {
    NJ_RETRY_AGAIN, /* the same model, after nj_retry_delay_ms() */
    NJ_RETRY_NEXT,  /* another model of the chain, at once */
    NJ_RETRY_OVER
};

/* Where a turn stands in its role's chain. */
struct nj_retry {
    size_t model;   /* index in the chain */
    size_t stays;   /* where it began; 0 once the stay has ended */
    unsigned tries; /* failed tries of this model */
};

/* nj_retry_begin - a turn begins at @place of its chain */
struct nj_retry nj_retry_begin(size_t place);

/* nj_retry_cause_text - the manifest's word for one NJ_CAUSE_ bit */
const char *nj_retry_cause_text(enum nj_manifest_cause cause);

/*
 * nj_retry_failed - a try failed: move on
 *
 * Overload, rate limits and errors are tried again NJ_RETRY_TRIES_MAX times in all, unless @final;
 * refusals and full contexts would come again and are not. Then the first later model whose `when`
 * has the cause takes over; where there is none, but the turn began down the chain, its first
 * model.
 */
enum nj_retry_next nj_retry_failed(struct nj_retry *retry, const struct nj_manifest_role *role,
                                   enum nj_manifest_cause cause, bool final);

/* nj_retry_delay_ms - before the next try of the same model: min(@base_ms * 2^n, 16 * @base_ms),
 * less up to a quarter that follows from @key, @turn and @attempt, so that sessions spread and a
 * rerun waits alike */
uint64_t nj_retry_delay_ms(const struct nj_retry *retry, uint64_t base_ms, const char *key,
                           uint64_t turn, uint64_t attempt);

#endif
