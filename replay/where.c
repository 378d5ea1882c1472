/*
 * where.c - reading B, B@N and RUN:KEY
 *
 * The one complication: ':' and '@' are legal in file names and keys, so a reading counts only when
 * the file system agrees with it.
 */
#include "replay/where.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/base/banned.h"

#define STEP_DIGITS_MAX 18

void nj_where_done(struct nj_where *where)
{
    free(where->text);
    free(where->path);
    free(where->key);
    *where = (struct nj_where){0};
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* The first "DIR:" whose left side is a directory; a key may hold further ':' itself. */
static const char *run_colon(const char *text)
{
    for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
        nj_auto_free char *left = strndup(text, (size_t)(colon - text));

        if (left && left[0] && is_dir(left))
            return colon;
    }
    return NULL;
}

/* Reads "12", "-1", "last" or "start". */
static bool read_step(const char *text, int64_t *ret_step)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    size_t n = strspn(digits, "0123456789");

    if (strcmp(text, "last") == 0) {
        *ret_step = -1;
        return true;
    }
    if (strcmp(text, "start") == 0) {
        *ret_step = 0;
        return true;
    }
    if (n == 0 || n > STEP_DIGITS_MAX || digits[n] != '\0')
        return false;
    *ret_step = strtoll(text, NULL, 10);
    return text[0] != '-' || *ret_step != 0;
}

static int fill(const char *text, struct nj_where *where, struct nj_error *err)
{
    const char *colon;

    where->text = strdup(text);
    if (!where->text)
        return nj_fail_nomem(err);
    if (exists(text) && !is_dir(text)) {
        where->path = strdup(text);
        return where->path ? 0 : nj_fail_nomem(err);
    }
    if (is_dir(text))
        return nj_fail(err, NJ_E_INPUT,
                       "%s is a folder: name one of its bundles, or a session of the run as %s:KEY",
                       text, text);
    colon = run_colon(text);
    if (!colon)
        return nj_fail_errno(err, ENOENT, "%s: neither a bundle nor RUN:KEY", text);
    if (colon[1] == '\0')
        return nj_fail(err, NJ_E_INPUT, "%s: a session's key is missing behind the ':'", text);
    where->path = strndup(text, (size_t)(colon - text));
    where->key = strdup(colon + 1);
    return where->path && where->key ? 0 : nj_fail_nomem(err);
}

int nj_where_parse(const char *text, struct nj_where *ret_where, struct nj_error *err)
{
    NJ_AUTO(nj_where_done) struct nj_where where = {0};
    const char *at = strrchr(text, '@');
    nj_auto_free char *left = NULL;
    const char *place = text;
    int r;

    if (at && at > text && !exists(text)) {
        left = strndup(text, (size_t)(at - text));
        if (!left)
            return nj_fail_nomem(err);
        if (read_step(at + 1, &where.step)) {
            where.has_step = true;
            place = left;
        } else if (exists(left)) { /* not a key with an '@' in it, then */
            return nj_fail(err, NJ_E_INPUT,
                           "%s: behind the '@' a step is expected: a number, -1 for the last, "
                           "\"start\" or \"last\"",
                           text);
        }
    }
    r = fill(place, &where, err);
    if (r < 0) {
        if (err->code == NJ_E_SYSTEM && err->sys_errno == ENOENT)
            err->code = NJ_E_INPUT; /* a person mistyped it */
        return -(int)err->code;
    }
    *ret_where = where;
    where = (struct nj_where){0};
    return 0;
}
