/*
 * slug.c - a session's key as a file name
 *
 * The complication: several keys have one slug ("Acme GmbH", "acme-gmbh"), so whoever makes names
 * keeps a table and asks again with @clash.
 */
#include "batch/plan/slug.h"

#include "formats/base/digest.h"

#include "formats/base/banned.h"

#define TAIL_HEX_CHARS 16 /* with 8, one of 100,000 long keys that begin alike met another */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

void nj_slug(const char *key, bool clash, char slug[NJ_SLUG_MAX_BYTES + 1])
{
    size_t max = clash ? NJ_SLUG_MAX_BYTES - 1 - TAIL_HEX_CHARS : NJ_SLUG_MAX_BYTES;
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_digest digest;
    size_t len = 0;

    for (const char *at = key; *at && len < max; at++) {
        char c = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;

        if (is_plain(c))
            slug[len++] = c;
        else if (len > 0 && (c == '.' || c == '_'))
            slug[len++] = c;
        else if (len > 0 && slug[len - 1] != '-')
            slug[len++] = '-';
    }
    while (len > 0 && !is_plain(slug[len - 1])) /* "a-" and "a..." look cut off */
        len--;
    if (len == 0)
        len = (size_t)snprintf(slug, NJ_SLUG_MAX_BYTES + 1, "session");
    slug[len] = '\0';
    if (!clash)
        return;
    nj_digest_bytes(key, strlen(key), &digest);
    nj_digest_hex(&digest, hex);
    (void)snprintf(slug + len, NJ_SLUG_MAX_BYTES + 1 - len, "-%.*s", TAIL_HEX_CHARS, hex);
}
