/*
 * origins.h - a few servers, remembered by their origin: scheme, name and port of a URL
 *
 * Only the newest are kept: what is forgotten is learnt again.
 */
#ifndef NJ_HTTP_ORIGINS_H
#define NJ_HTTP_ORIGINS_H

#include <stdbool.h>
#include <stddef.h>

#define NJ_ORIGINS_MAX 16

struct nj_origins {
    char *texts[NJ_ORIGINS_MAX];
    size_t n_added;
};

/* nj_origins_add - the origin of @url, once. Without memory for it nothing is remembered. */
void nj_origins_add(struct nj_origins *origins, const char *url);

bool nj_origins_have(const struct nj_origins *origins, const char *url);

void nj_origins_done(struct nj_origins *origins);

#endif
