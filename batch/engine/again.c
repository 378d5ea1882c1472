/*
 * again.c - causes and waits
 */
#include "batch/engine/again.h"

#include <string.h>

#include "formats/base/banned.h"

static unsigned cause_of(const char *error_kind)
{
#define X(name, bit, text)                                                                         \
    if (strcmp(error_kind, text) == 0)                                                             \
        return NJ_RETRY_##name;
    NJ_MANIFEST_RETRY_ON(X)
#undef X
    return 0;
}

bool nj_again_wanted(const struct nj_manifest_retry *retry, uint64_t attempts,
                     const char *error_kind)
{
    return attempts < retry->attempts && (retry->on & cause_of(error_kind));
}

int64_t nj_again_delay_ms(const struct nj_manifest_retry *retry, uint64_t attempts,
                          const struct nj_digest *identity)
{
    uint64_t seconds = retry->backoff_seconds;
    struct nj_digest lot = *identity;
    uint8_t number[1] = {(uint8_t)attempts};
    uint64_t whole_ms;

    for (uint64_t i = 1; i < attempts && seconds < retry->backoff_max_seconds; i++)
        seconds *= 2;
    if (seconds > retry->backoff_max_seconds)
        seconds = retry->backoff_max_seconds;
    nj_digest_chain(&lot, "attempt", (struct nj_span){number, sizeof(number)});
    whole_ms = seconds * 1000;
    return (int64_t)(whole_ms / 2 + whole_ms / 2 * lot.bytes[0] / 255);
}
