/*
 * utf8.c - strict UTF-8
 *
 * Only the second byte has a range that depends on the first (Unicode 15, table 3-7); narrowing it
 * rules out overlong forms, surrogates and values above U+10FFFF before anything is assembled.
 */
#include "formats/base/utf8.h"

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

static size_t ascii_prefix(struct nj_span text)
{
    size_t at = 0;
    uint64_t word;

    for (; text.len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text.data + at, sizeof(word));
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    while (at < text.len && text.data[at] < 0x80)
        at++;
    return at;
}

size_t nj_utf8_next(struct nj_span text, uint32_t *ret_code_point)
{
    uint8_t low = 0x80, high = 0xbf; /* what the second byte may be */
    uint32_t code_point;
    size_t len;
    uint8_t first;

    if (text.len == 0)
        return 0;
    first = text.data[0];
    if (first < 0x80) {
        *ret_code_point = first;
        return 1;
    }
    if (first < 0xc2 || first > 0xf4)
        return 0;
    if (first < 0xe0) {
        len = 2;
        code_point = first & 0x1fu;
    } else if (first < 0xf0) {
        len = 3;
        code_point = first & 0x0fu;
        if (first == 0xe0)
            low = 0xa0;
        else if (first == 0xed)
            high = 0x9f;
    } else {
        len = 4;
        code_point = first & 0x07u;
        if (first == 0xf0)
            low = 0x90;
        else if (first == 0xf4)
            high = 0x8f;
    }
    if (text.len < len || text.data[1] < low || text.data[1] > high)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        code_point = code_point << 6 | (text.data[i] & 0x3fu);
    }
    *ret_code_point = code_point;
    return len;
}

void nj_utf8_clean(char *text)
{
    struct nj_span rest = {(const uint8_t *)text, strlen(text)};

    while (rest.len > 0) {
        uint32_t code_point;
        size_t len = nj_utf8_next(rest, &code_point);

        if (len == 0) {
            text[rest.data - (const uint8_t *)text] = '?';
            len = 1;
        }
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
}

void nj_utf8_trim(char *text)
{
    size_t len = strlen(text);
    size_t at = 0;

    while (at < len) {
        struct nj_span rest = {(const uint8_t *)text + at, len - at};
        uint32_t code_point;
        size_t step = ascii_prefix(rest);

        if (step == 0)
            step = nj_utf8_next(rest, &code_point);
        if (step == 0)
            text[at] = '\0';
        at = step ? at + step : len;
    }
}

bool nj_utf8_is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

bool nj_fsio_utf8_valid(struct nj_span text)
{
    size_t at = 0;

    while (at < text.len) {
        struct nj_span rest = {text.data + at, text.len - at};
        uint32_t code_point;
        size_t len = ascii_prefix(rest);

        if (len == 0)
            len = nj_utf8_next(rest, &code_point);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}
