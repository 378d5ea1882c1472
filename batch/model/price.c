/*
 * price.c - tokens times prices, without a float
 */
#include "batch/model/price.h"

#include "formats/base/banned.h"

#define PER_MILLION 1000000
#define MS_PER_HOUR 3600000

__extension__ typedef unsigned __int128 wide;

static uint64_t narrow(wide value)
{
    return value > INT64_MAX ? INT64_MAX : (uint64_t)value;
}

/* Each product stays below 2^103, so the sum fits. */
static wide sum_of(const struct nj_manifest_price *price, const struct nj_usage *usage)
{
    return (wide)usage->input_tokens * (uint64_t)price->input +
           (wide)usage->output_tokens * (uint64_t)price->output +
           (wide)usage->cache_read_tokens * (uint64_t)price->cache_read +
           (wide)usage->cache_write_5m_tokens * (uint64_t)price->cache_write_5m +
           (wide)usage->cache_write_1h_tokens * (uint64_t)price->cache_write_1h;
}

uint64_t nj_price_cost(const struct nj_manifest_price *price, const struct nj_usage *usage)
{
    return narrow((sum_of(price, usage) + PER_MILLION / 2) / PER_MILLION);
}

static int64_t write_price(const struct nj_manifest_price *price, enum nj_manifest_cache cache)
{
    switch (cache) {
    case NJ_CACHE_5M:
        return price->cache_write_5m;
    case NJ_CACHE_1H:
        return price->cache_write_1h;
    case NJ_CACHE_OFF:
        break;
    }
    return price->input;
}

uint64_t nj_price_bound(const struct nj_manifest_price *price, enum nj_manifest_cache cache,
                        uint64_t input_tokens, uint64_t output_tokens)
{
    int64_t dearest = write_price(price, cache);
    wide sum;

    if (price->input > dearest)
        dearest = price->input;
    if (price->cache_read > dearest)
        dearest = price->cache_read;
    sum = (wide)input_tokens * (uint64_t)dearest + (wide)output_tokens * (uint64_t)price->output;
    return narrow((sum + PER_MILLION - 1) / PER_MILLION);
}

void nj_price_ways(const struct nj_manifest_price *price, enum nj_manifest_cache cache,
                   const struct nj_usage *usage, uint64_t n_calls, struct nj_price_ways *ret_ways)
{
    wide prompts = (wide)usage->input_tokens + usage->cache_read_tokens +
                   usage->cache_write_5m_tokens + usage->cache_write_1h_tokens;
    struct nj_usage whole = {.input_tokens = narrow(prompts),
                             .output_tokens = usage->output_tokens};
    struct nj_usage split = {.output_tokens = usage->output_tokens};
    uint64_t written = narrow(prompts * 2 / ((wide)n_calls + 1));

    if (written > whole.input_tokens)
        written = whole.input_tokens;
    split.cache_read_tokens = whole.input_tokens - written;
    switch (cache) {
    case NJ_CACHE_OFF:
        split.input_tokens = whole.input_tokens;
        split.cache_read_tokens = 0;
        break;
    case NJ_CACHE_5M:
        split.cache_write_5m_tokens = written;
        break;
    case NJ_CACHE_1H:
        split.cache_write_1h_tokens = written;
        break;
    }
    *ret_ways = (struct nj_price_ways){.as_it_was = nj_price_cost(price, usage),
                                       .live = nj_price_cost(price, &whole),
                                       .cached = nj_price_cost(price, &split)};
    ret_ways->waves = ret_ways->cached / 2 + ret_ways->cached % 2;
}

uint64_t nj_price_runtime(int64_t micro_usd_per_hour, uint64_t ms)
{
    return narrow(((wide)(uint64_t)micro_usd_per_hour * ms + MS_PER_HOUR / 2) / MS_PER_HOUR);
}
