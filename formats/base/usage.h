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

#endif
