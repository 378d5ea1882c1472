/*
 * retry.c - the walk along a chain
 */
#include "batch/model/retry.h"

#include <inttypes.h>

#include "formats/base/bytes.h"
#include "formats/base/digest.h"

#include "formats/base/banned.h"

const char *nj_retry_cause_text(enum nj_manifest_cause cause)
{
    switch (cause) {
#define X(name, bit, text)                                                                         \
    case NJ_CAUSE_##name:                                                                          \
        return text;
        NJ_MANIFEST_CAUSES(X)
#undef X
    }
    return "error";
}

struct nj_retry nj_retry_begin(size_t place)
{
    return (struct nj_retry){.model = place, .stays = place};
}

static bool is_retried(enum nj_manifest_cause cause)
{
    switch (cause) {
    case NJ_CAUSE_OVERLOADED:
    case NJ_CAUSE_RATE_LIMITED:
    case NJ_CAUSE_ERROR:
        return true;
    case NJ_CAUSE_REFUSAL:
    case NJ_CAUSE_CONTEXT_FULL:
        break;
    }
    return false;
}

enum nj_retry_next nj_retry_failed(struct nj_retry *retry, const struct nj_manifest_role *role,
                                   enum nj_manifest_cause cause, bool final)
{
    retry->tries++;
    if (is_retried(cause) && !final && retry->tries < NJ_RETRY_TRIES_MAX)
        return NJ_RETRY_AGAIN;
    for (size_t i = retry->model + 1; i < role->n_chain; i++)
        if (role->chain[i].when & (unsigned)cause) {
            *retry = (struct nj_retry){.model = i, .stays = retry->stays};
            return NJ_RETRY_NEXT;
        }
    if (retry->stays > 0) { /* whoever stays must not fail where those who begin anew do not */
        *retry = nj_retry_begin(0);
        return NJ_RETRY_NEXT;
    }
    return NJ_RETRY_OVER;
}

uint64_t nj_retry_delay_ms(const struct nj_retry *retry, uint64_t base_ms, const char *key,
                           uint64_t turn, uint64_t attempt)
{
    unsigned doublings = retry->tries > 0 ? retry->tries - 1 : 0;
    struct nj_digest digest;
    char seed[512];
    uint64_t delay_ms, off_max_ms;

    (void)snprintf(seed, sizeof(seed), "%" PRIu64 " %" PRIu64 " %s", turn, attempt, key);
    nj_digest_bytes(seed, strlen(seed), &digest);
    delay_ms = base_ms << (doublings < NJ_RETRY_DOUBLINGS_MAX ? doublings : NJ_RETRY_DOUBLINGS_MAX);
    off_max_ms = delay_ms * NJ_RETRY_JITTER_PERCENT / 100;
    return delay_ms - (nj_load_u64le(digest.bytes) % (off_max_ms + 1));
}
