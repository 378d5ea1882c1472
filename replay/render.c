/*
 * render.c - escaping, figures and JSON
 */
#include "replay/render.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <time.h>

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

struct style {
    bool lines;  /* line breaks and tabs stay as they are */
    bool quotes; /* \" and \\ */
    const char *indent;
};

static int escape_unsafe(struct nj_buf *out, const uint8_t *data, size_t len, uint32_t code_point,
                         struct nj_error *err)
{
    if (len == 0) /* not UTF-8: the byte itself */
        return nj_buf_printf(out, err, "\\x%02x", data[0]);
    switch (code_point) {
    case '\n':
        return nj_buf_text(out, "\\n", err);
    case '\t':
        return nj_buf_text(out, "\\t", err);
    case '\r':
        return nj_buf_text(out, "\\r", err);
    default:
        break;
    }
    if (code_point < 0x80)
        return nj_buf_printf(out, err, "\\x%02x", (unsigned)code_point);
    return nj_buf_printf(out, err, "\\u{%04x}", (unsigned)code_point);
}

static int render(struct nj_buf *out, struct nj_span text, const struct style *style,
                  struct nj_error *err)
{
    size_t plain = 0; /* where the run of plain bytes began */
    size_t at = 0;

    while (at < text.len) {
        struct nj_span rest = {text.data + at, text.len - at};
        uint32_t code_point = 0;
        size_t len = nj_utf8_next(rest, &code_point);
        bool quote = style->quotes && len == 1 && (code_point == '"' || code_point == '\\');
        bool kept = style->lines && len == 1 && (code_point == '\n' || code_point == '\t');

        if (len > 0 && !quote && (kept || !nj_utf8_is_unsafe(code_point))) {
            at += len;
            if (code_point == '\n' && at < text.len) {
                if (nj_buf_append(out, text.data + plain, at - plain, err) < 0 ||
                    nj_buf_text(out, style->indent, err) < 0)
                    return -(int)err->code;
                plain = at;
            }
            continue;
        }
        if (at > plain && nj_buf_append(out, text.data + plain, at - plain, err) < 0)
            return -(int)err->code;
        if (quote ? nj_buf_printf(out, err, "\\%c", (int)code_point) < 0
                  : escape_unsafe(out, rest.data, len, code_point, err) < 0)
            return -(int)err->code;
        at += len ? len : 1;
        plain = at;
    }
    return at > plain ? nj_buf_append(out, text.data + plain, at - plain, err) : 0;
}

int nj_render_line(struct nj_buf *out, struct nj_span text, struct nj_error *err)
{
    return render(out, text, &(struct style){.indent = ""}, err);
}

int nj_render_quoted(struct nj_buf *out, struct nj_span text, struct nj_error *err)
{
    if (nj_buf_text(out, "\"", err) < 0 ||
        render(out, text, &(struct style){.quotes = true, .indent = ""}, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\"", err);
}

int nj_render_text(struct nj_buf *out, struct nj_span text, const char *indent,
                   struct nj_error *err)
{
    if (text.len == 0)
        return 0;
    if (nj_buf_text(out, indent, err) < 0 ||
        render(out, text, &(struct style){.lines = true, .indent = indent}, err) < 0)
        return -(int)err->code;
    return text.data[text.len - 1] == '\n' ? 0 : nj_buf_text(out, "\n", err);
}

int nj_render_name(struct nj_buf *out, struct nj_span name, struct nj_error *err)
{
    for (size_t at = 0; at < name.len;) {
        struct nj_span rest = {name.data + at, name.len - at};
        uint32_t code_point = 0;
        size_t len = nj_utf8_next(rest, &code_point);

        if (len == 0 || nj_utf8_is_unsafe(code_point) || code_point == '"' || code_point == '\\')
            return nj_render_quoted(out, name, err);
        at += len;
    }
    return nj_buf_append(out, name.data, name.len, err);
}

int nj_render_money(struct nj_buf *out, uint64_t micro_usd, struct nj_error *err)
{
    return nj_buf_printf(out, err, "$%" PRIu64 ".%06" PRIu64, micro_usd / 1000000,
                         micro_usd % 1000000);
}

int nj_render_duration(struct nj_buf *out, uint64_t ms, struct nj_error *err)
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        return nj_buf_printf(out, err, "%" PRIu64 "ms", ms);
    if (s < 60)
        return nj_buf_printf(out, err, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
    if (s < 3600)
        return nj_buf_printf(out, err, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    return nj_buf_printf(out, err, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s % 3600 / 60);
}

int nj_render_time(struct nj_buf *out, int64_t time_ns, struct nj_error *err)
{
    int64_t ns = time_ns % 1000000000;
    time_t s = (time_t)(time_ns / 1000000000 - (ns < 0));
    struct tm tm;
    char text[64];

    /* A hostile record may name any time: one that has no date is shown as the number it is. */
    if (!gmtime_r(&s, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099 ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        return nj_buf_printf(out, err, "%" PRId64 "ns", time_ns);
    return nj_buf_printf(out, err, "%s.%03dZ", text,
                         (int)((ns < 0 ? ns + 1000000000 : ns) / 1000000));
}

int nj_render_digest(struct nj_buf *out, const struct nj_digest *digest, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    return nj_buf_text(out, hex, err);
}

/* ---- JSON ---- */

json_t *nj_json_text(struct nj_span text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf clean = {0};
    struct nj_error err = {0};
    size_t plain = 0;
    size_t at = 0;
    int r = 0;

    nj_buf_init(&clean, 3 * text.len + 1);
    while (r == 0 && at < text.len) {
        struct nj_span rest = {text.data + at, text.len - at};
        uint32_t code_point;
        size_t len = nj_utf8_next(rest, &code_point);

        if (len > 0) {
            at += len;
            continue;
        }
        r = nj_buf_append(&clean, text.data + plain, at - plain, &err);
        if (r == 0)
            r = nj_buf_text(&clean, "\xef\xbf\xbd", &err);
        plain = ++at;
    }
    if (r == 0 && at > plain)
        r = nj_buf_append(&clean, text.data + plain, at - plain, &err);
    if (r < 0)
        return NULL;
    return json_stringn(clean.len ? (const char *)clean.data : "", clean.len);
}

json_t *nj_json_digest(const struct nj_digest *digest)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    return json_string(hex);
}

json_t *nj_json_base64(struct nj_span bytes)
{
    nj_auto_free uint8_t *text = NULL;

    if (bytes.len > INT32_MAX / 2)
        return NULL;
    text = malloc((bytes.len + 2) / 3 * 4 + 1);
    if (!text)
        return NULL;
    (void)EVP_EncodeBlock(text, bytes.data ? bytes.data : (const uint8_t *)"", (int)bytes.len);
    return json_string((const char *)text);
}

bool nj_json_set(json_t *object, const char *key, json_t *value)
{
    return value && json_object_set_new(object, key, value) == 0;
}

int nj_json_line(struct nj_buf *out, json_t *value, struct nj_error *err)
{
    nj_auto_free char *text = NULL;

    if (value)
        text =
            json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    json_decref(value);
    if (!text)
        return nj_fail_nomem(err);
    /* DEL is ASCII to jansson; it can only stand inside a string. */
    for (const char *at = text; at;) {
        const char *del = strchr(at, 0x7f);
        size_t len = del ? (size_t)(del - at) : strlen(at);

        if (nj_buf_append(out, at, len, err) < 0 || (del && nj_buf_text(out, "\\u007f", err) < 0))
            return -(int)err->code;
        at = del ? del + 1 : NULL;
    }
    return nj_buf_text(out, "\n", err);
}
