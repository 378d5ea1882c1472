/*
 * text.c - figures and foreign text as people and formats read them
 */
#include "batch/report/text.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <time.h>
#include <wchar.h>

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

/* ---- figures ---- */

int nj_text_count(struct nj_buf *out, uint64_t value, struct nj_error *err)
{
    char digits[24], grouped[32];
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, value);
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            grouped[used++] = ',';
        grouped[used++] = digits[i];
    }
    return nj_buf_append(out, grouped, used, err);
}

int nj_text_short_count(struct nj_buf *out, uint64_t value, struct nj_error *err)
{
    if (value < 10000)
        return nj_text_count(out, value, err);
    if (value < 1000000)
        return nj_buf_printf(out, err, "%" PRIu64 ".%" PRIu64 " k", value / 1000, value / 100 % 10);
    if (value < 1000000000)
        return nj_buf_printf(out, err, "%" PRIu64 ".%" PRIu64 " M", value / 1000000,
                             value / 100000 % 10);
    return nj_buf_printf(out, err, "%" PRIu64 ".%" PRIu64 " G", value / 1000000000,
                         value / 100000000 % 10);
}

int nj_text_money(struct nj_buf *out, uint64_t micro_usd, struct nj_error *err)
{
    uint64_t cents = (micro_usd + 5000) / 10000;

    if (micro_usd > 0 && micro_usd < 100000)
        return nj_buf_printf(out, err, "0.%04" PRIu64 " USD", (micro_usd + 50) / 100);
    if (nj_text_count(out, cents / 100, err) < 0)
        return -(int)err->code;
    return nj_buf_printf(out, err, ".%02" PRIu64 " USD", cents % 100);
}

int nj_text_duration(struct nj_buf *out, uint64_t ms, struct nj_error *err)
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        return nj_buf_printf(out, err, "%" PRIu64 " ms", ms);
    if (s < 60 && ms % 1000 == 0)
        return nj_buf_printf(out, err, "%" PRIu64 " s", s);
    if (s < 60)
        return nj_buf_printf(out, err, "%" PRIu64 ".%" PRIu64 " s", s, ms / 100 % 10);
    if (s < 3600)
        return nj_buf_printf(out, err, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
    if (s < 86400)
        return nj_buf_printf(out, err, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
    return nj_buf_printf(out, err, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

static int put_time(struct nj_buf *out, int64_t time_ns, const char *format, struct nj_error *err)
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    char text[40];
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), format, &tm) == 0)
        return nj_buf_text(out, "?", err); /* no calendar has that year */
    return nj_buf_text(out, text, err);
}

int nj_text_time(struct nj_buf *out, int64_t time_ns, struct nj_error *err)
{
    return put_time(out, time_ns, "%Y-%m-%d %H:%M:%S UTC", err);
}

int nj_text_stamp(struct nj_buf *out, int64_t time_ns, struct nj_error *err)
{
    if (put_time(out, time_ns, "%Y-%m-%dT%H:%M:%S", err) < 0)
        return -(int)err->code;
    return nj_buf_printf(out, err, ".%03dZ", (int)(time_ns / 1000000 % 1000));
}

int nj_text_seconds(struct nj_buf *out, uint64_t ms, struct nj_error *err)
{
    return nj_buf_printf(out, err, "%" PRIu64 ".%03" PRIu64, ms / 1000, ms % 1000);
}

int nj_text_usd(struct nj_buf *out, uint64_t micro_usd, struct nj_error *err)
{
    return nj_buf_printf(out, err, "%" PRIu64 ".%06" PRIu64, micro_usd / 1000000,
                         micro_usd % 1000000);
}

/* ---- foreign text ---- */

bool nj_text_locale(void)
{
    return setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* The first character of @rest: its bytes, and whether they are strict UTF-8. */
static size_t next(struct nj_span rest, uint32_t *ret_code_point, bool *ret_valid)
{
    size_t len = nj_utf8_next(rest, ret_code_point);

    *ret_valid = len > 0;
    return len > 0 ? len : 1;
}

/* How one character is shown: as it is, or each byte as \xNN. Returns the columns. */
static int shown_one(struct nj_span rest, bool utf8, char piece[24], size_t *ret_bytes)
{
    uint32_t c = 0;
    bool valid;
    size_t len = next(rest, &c, &valid);
    int columns = -1;
    size_t used = 0;

    *ret_bytes = len;
    if (valid && c < 0x80 && !nj_utf8_is_unsafe(c))
        columns = 1;
    else if (valid && utf8 && !nj_utf8_is_unsafe(c))
        columns = wcwidth((wchar_t)c);
    if (columns >= 0) {
        memcpy(piece, rest.data, len);
        piece[len] = '\0';
        return columns;
    }
    for (size_t i = 0; i < len; i++)
        used += (size_t)snprintf(piece + used, 24 - used, "\\x%02x", rest.data[i]);
    return (int)used;
}

int nj_text_shown(struct nj_buf *out, const char *text, size_t max_columns, bool utf8,
                  struct nj_error *err)
{
    struct nj_span rest = nj_span_text(text);
    const char *dots = utf8 ? "\xe2\x80\xa6" : "...";
    size_t dots_columns = utf8 ? 1 : 3;
    size_t columns = 0, keep_columns = 0;
    size_t keep_len = out->len;

    while (rest.len > 0) {
        char piece[24];
        size_t bytes;
        size_t width = (size_t)shown_one(rest, utf8, piece, &bytes);

        if (columns + width > max_columns) {
            if (max_columns < dots_columns)
                return (int)columns;
            out->len = keep_len; /* back to where the ellipsis has room */
            if (nj_buf_text(out, dots, err) < 0)
                return -(int)err->code;
            return (int)(keep_columns + dots_columns);
        }
        if (nj_buf_text(out, piece, err) < 0)
            return -(int)err->code;
        columns += width;
        if (columns + dots_columns <= max_columns) {
            keep_columns = columns;
            keep_len = out->len;
        }
        rest = (struct nj_span){rest.data + bytes, rest.len - bytes};
    }
    return (int)columns;
}

/* The columns of the first character of @rest, and its bytes. */
static size_t columns_at(struct nj_span rest, size_t *ret_bytes)
{
    uint32_t c = 0;
    bool valid;
    int columns;

    if (rest.data[0] == '\x1b') {
        const uint8_t *end = memchr(rest.data, 'm', rest.len);

        *ret_bytes = end ? (size_t)(end - rest.data) + 1 : rest.len;
        return 0;
    }
    *ret_bytes = next(rest, &c, &valid);
    columns = valid ? wcwidth((wchar_t)c) : 1;
    return columns >= 0 ? (size_t)columns : 1;
}

int nj_text_wrap(struct nj_buf *out, struct nj_span line, size_t max_columns, size_t indent,
                 struct nj_error *err)
{
    size_t from = 0, blank = 0, column = 0, bytes = 0;

    for (size_t at = 0; at < line.len; at += bytes) {
        column += columns_at((struct nj_span){line.data + at, line.len - at}, &bytes);
        if (line.data[at] == ' ' && column > indent)
            blank = at;
        if (column <= max_columns || blank <= from)
            continue;
        if (nj_buf_append(out, line.data + from, blank - from, err) < 0 ||
            nj_buf_printf(out, err, "\n%*s", (int)indent, "") < 0)
            return -(int)err->code;
        from = blank + 1;
        at = from; /* the rest is measured anew */
        column = indent;
        bytes = 0;
    }
    return nj_buf_append(out, line.data + from, line.len - from, err);
}

int nj_text_shell(struct nj_buf *out, const char *text, struct nj_error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=+,@%";
    bool printable = true;

    if (text[0] && strspn(text, plain) == strlen(text))
        return nj_buf_text(out, text, err);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        printable &= *c >= 0x20 && *c != 0x7f;
    if (nj_buf_text(out, printable ? "'" : "$'", err) < 0)
        return -(int)err->code;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        int r;

        if (*c == '\'')
            r = nj_buf_text(out, printable ? "'\\''" : "\\'", err);
        else if (!printable && (*c < 0x20 || *c == 0x7f))
            r = nj_buf_printf(out, err, "\\x%02x", *c);
        else if (!printable && *c == '\\')
            r = nj_buf_text(out, "\\\\", err);
        else
            r = nj_buf_append(out, c, 1, err);
        if (r < 0)
            return r;
    }
    return nj_buf_text(out, "'", err);
}

int nj_text_tsv(struct nj_buf *out, const char *text, struct nj_error *err)
{
    struct nj_span rest = nj_span_text(text);

    if (rest.len == 0 || strcmp(text, "-") == 0)
        return nj_buf_text(out, rest.len == 0 ? "-" : "\\x2d", err);
    while (rest.len > 0) {
        uint32_t c = 0;
        bool valid;
        size_t len = next(rest, &c, &valid);
        int r = 0;

        if (c == '\t' || c == '\n' || c == '\r' || c == '\\')
            r = nj_buf_printf(out, err, "\\%c",
                              c == '\t'   ? 't'
                              : c == '\n' ? 'n'
                              : c == '\r' ? 'r'
                                          : '\\');
        else if (valid && !nj_utf8_is_unsafe(c))
            r = nj_buf_append(out, rest.data, len, err);
        else
            for (size_t i = 0; r == 0 && i < len; i++)
                r = nj_buf_printf(out, err, "\\x%02x", rest.data[i]);
        if (r < 0)
            return r;
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
    return 0;
}

static const char *entity(uint32_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

int nj_text_xml(struct nj_buf *out, const char *text, struct nj_error *err)
{
    struct nj_span rest = nj_span_text(text);

    while (rest.len > 0) {
        uint32_t c = 0;
        bool valid;
        size_t len = next(rest, &c, &valid);
        const char *name = valid ? entity(c) : NULL;
        int r = 0;

        if (name)
            r = nj_buf_text(out, name, err);
        else if (valid && !nj_utf8_is_unsafe(c) && c != 0xfffe && c != 0xffff)
            r = nj_buf_append(out, rest.data, len, err);
        else /* line breaks too: they would not survive in an attribute */
            for (size_t i = 0; r == 0 && i < len; i++)
                r = nj_buf_printf(out, err, "\\x%02x", rest.data[i]);
        if (r < 0)
            return r;
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
    return 0;
}
