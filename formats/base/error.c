/*
 * error.c - composing the story in a fixed space
 *
 * A story that grows past its space loses words at the front, where the least specific ones are,
 * and shows "..." for them. The cause is kept short enough that this mark never costs a byte of it.
 */
#include "formats/base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define CUT_MARK "..."
#define CUT_MARK_LEN (sizeof(CUT_MARK) - 1)
#define TEXT_MAX_LEN ((size_t)NJ_ERROR_TEXT_MAX_BYTES - 1)
#define CAUSE_MAX_BYTES (NJ_ERROR_TEXT_MAX_BYTES - (int)CUT_MARK_LEN)

/* put_in_front - err->text becomes "outer: inner", cut at the front if need be */
static void put_in_front(struct nj_error *err, const char *outer, const char *inner)
{
    char story[2 * NJ_ERROR_TEXT_MAX_BYTES + 2];
    bool was_cut = strncmp(inner, CUT_MARK, CUT_MARK_LEN) == 0;
    size_t outer_len = strlen(outer), len, skip;
    const char *bare = was_cut ? inner + CUT_MARK_LEN : inner;

    len = outer_len + 2 + strlen(inner);
    if (len <= TEXT_MAX_LEN) {
        (void)snprintf(story, sizeof(story), "%s: %s", outer, inner);
        memcpy(err->text, story, len + 1);
        return;
    }
    len = (size_t)snprintf(story, sizeof(story), "%s: %s", outer, bare);
    skip = len + CUT_MARK_LEN > TEXT_MAX_LEN ? len + CUT_MARK_LEN - TEXT_MAX_LEN : 0;
    while (skip > 0 && skip < outer_len + 2 && story[skip - 1] != ' ')
        skip++; /* whole words: ends at the latest behind outer's ": " */
    memcpy(err->text, CUT_MARK, CUT_MARK_LEN);
    memcpy(err->text + CUT_MARK_LEN, story + skip, len - skip + 1);
}

int nj_fail(struct nj_error *err, enum nj_error_code code, const char *fmt, ...)
{
    char text[CAUSE_MAX_BYTES]; /* @fmt's arguments may point into err->text */
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    nj_utf8_clean(text); /* the story may be journaled as text */
    err->code = code;
    err->sys_errno = 0;
    memcpy(err->text, text, strlen(text) + 1);
    return -(int)code;
}

int nj_fail_errno(struct nj_error *err, int errnum, const char *fmt, ...)
{
    char text[NJ_ERROR_TEXT_MAX_BYTES], scratch[128];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    nj_utf8_clean(text);
    err->code = errnum == ENOMEM ? NJ_E_NOMEM : NJ_E_SYSTEM;
    err->sys_errno = errnum;
    put_in_front(err, text, strerror_r(errnum, scratch, sizeof(scratch)));
    return -(int)err->code;
}

int nj_fail_nomem(struct nj_error *err)
{
    return nj_fail(err, NJ_E_NOMEM, "out of memory");
}

int nj_wrap(struct nj_error *err, const char *fmt, ...)
{
    char text[NJ_ERROR_TEXT_MAX_BYTES], inner[NJ_ERROR_TEXT_MAX_BYTES];
    va_list args;

    assert(err->code != 0); /* only a failure can be passed up */
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    nj_utf8_clean(text);
    memcpy(inner, err->text, sizeof(inner));
    inner[sizeof(inner) - 1] = '\0';
    put_in_front(err, text, inner);
    return -(int)err->code;
}

const char *nj_error_code_text(enum nj_error_code code)
{
    switch (code) {
#define X(name, value, text, meaning)                                                              \
    case NJ_E_##name:                                                                              \
        return text;
        NJ_ERROR_CODES(X)
#undef X
    }
    return "unknown";
}
