/*
 * usage.h - tokens that model calls used; journal and snapshot both hold it and do not know each
 * other
 */
#ifndef NJ_BASE_USAGE_H
#define NJ_BASE_USAGE_H

#include <stdint.h>

struct nj_usage {
    uint64_t input_tokens;
    uint64_t output_tokens;
    uint64_t cache_read_tokens;
    uint64_t cache_write_5m_tokens;
    uint64_t cache_write_1h_tokens;
};

static inline void nj_usage_add(struct nj_usage *sum, const struct nj_usage *more)
{
    sum->input_tokens += more->input_tokens;
    sum->output_tokens += more->output_tokens;
    sum->cache_read_tokens += more->cache_read_tokens;
    sum->cache_write_5m_tokens += more->cache_write_5m_tokens;
    sum->cache_write_1h_tokens += more->cache_write_1h_tokens;
}

#endif
