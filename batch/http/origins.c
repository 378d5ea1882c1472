/*
 * origins.c - a few servers, remembered by their origin
 */
#include "batch/http/origins.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/base/banned.h"

static size_t origin_len(const char *url)
{
    const char *name = strstr(url, "://");
    size_t at = name ? (size_t)(name - url) + 3 : 0;

    return at + strcspn(url + at, "/?#");
}

bool nj_origins_have(const struct nj_origins *origins, const char *url)
{
    size_t len = origin_len(url);

    for (size_t i = 0; i < NJ_ORIGINS_MAX; i++) {
        const char *text = origins->texts[i];

        if (text && strlen(text) == len && strncasecmp(text, url, len) == 0)
            return true;
    }
    return false;
}

void nj_origins_add(struct nj_origins *origins, const char *url)
{
    char **place = &origins->texts[origins->n_added % NJ_ORIGINS_MAX];
    char *text;

    if (nj_origins_have(origins, url))
        return;
    text = strndup(url, origin_len(url));
    if (!text)
        return;
    free(*place);
    *place = text;
    origins->n_added++;
}

void nj_origins_done(struct nj_origins *origins)
{
    for (size_t i = 0; i < NJ_ORIGINS_MAX; i++)
        free(origins->texts[i]);
}
