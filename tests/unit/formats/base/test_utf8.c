/*
 * test_utf8.c - every boundary of strict UTF-8
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/fsio.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

/* encode - UTF-8 by arithmetic alone, surrogates and large values too; its length */
static size_t encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static void every_character_is_read_back_and_nothing_else(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x140000; c++) {
        bool is_character = c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
        uint32_t decoded = 0;
        uint8_t bytes[4];
        size_t len = encode(c, bytes);
        size_t got = nj_utf8_next((struct nj_span){bytes, len}, &decoded);

        if (got != (is_character ? len : 0) || (is_character && decoded != c))
            fail_msg("U+%04X: %zu bytes, decoded U+%04X", (unsigned)c, got, (unsigned)decoded);
        if (len > 1)
            assert_int_equal(nj_utf8_next((struct nj_span){bytes, len - 1}, &decoded), 0);
    }
}

static void overlong_cut_and_stray_bytes_are_refused(void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80",
        "\xfe",
        "\xff",
        "\xc3",
        "\xe2\x82",
        "\xf0\x9f\x8c",
        "\xc3(",
        "\xe2(\xa1",
        "\xe2\x82(",
        "\xf0\x9f\x8c(",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[32];
        int len = snprintf(text, sizeof(text), "0123456789%s", bad[i]);

        assert_false(nj_fsio_utf8_valid((struct nj_span){(uint8_t *)text, (size_t)len}));
        len = snprintf(text, sizeof(text), "%sabcdefghij", bad[i]);
        assert_false(nj_fsio_utf8_valid((struct nj_span){(uint8_t *)text, (size_t)len}));
    }
    assert_true(nj_fsio_utf8_valid((struct nj_span){NULL, 0}));
    assert_true(
        nj_fsio_utf8_valid(nj_span_text("plain and gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\x99 end")));
    assert_true(nj_fsio_utf8_valid((struct nj_span){(const uint8_t *)"\0", 1}));
}

static void what_drives_or_deceives_a_terminal_is_unsafe(void **state)
{
    static const uint32_t unsafe[] = {0,    7,      0x1b,   0x1f,   0x7f,   0x80,
                                      0x9f, 0x200e, 0x2028, 0x202e, 0x2066, 0x2069};
    static const uint32_t safe[] = {' ', '~', 0xa0, 0xfc, 0x2027, 0x2030, 0x20ac, 0x1f319};

    (void)state;
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        assert_true(nj_utf8_is_unsafe(unsafe[i]));
    for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
        assert_false(nj_utf8_is_unsafe(safe[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_read_back_and_nothing_else),
        cmocka_unit_test(overlong_cut_and_stray_bytes_are_refused),
        cmocka_unit_test(what_drives_or_deceives_a_terminal_is_unsafe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
