/*
 * test_squeeze.c - frames that come back equal, and frames that must be refused
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "formats/base/bytes.h"
#include "formats/base/squeeze.h"

#include "formats/base/banned.h"

#define TEXT "a text, a text, a text, a text, a text, a text, a text, a text, a text, a text"
#define TEXT_LEN (sizeof(TEXT) - 1)
#define ROOM ((size_t)8 << 20)

static void squeeze_text(struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, ROOM);
    assert_int_equal(nj_squeeze(out, nj_span_text(TEXT), NJ_SQUEEZE_LEVEL, &err), 0);
}

/* assert_refused - @data fails with @code and words, and the output keeps what it had */
static void assert_refused(struct nj_span data, size_t max_bytes, enum nj_error_code code,
                           const char *words)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, ROOM);
    assert_int_equal(nj_buf_text(&out, "kept", &err), 0);
    assert_int_equal(nj_unsqueeze(&out, data, max_bytes, &err), -(int)code);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_string_equal((const char *)out.data, "kept");
    assert_int_equal(out.len, 4);
}

static void what_goes_in_comes_out_behind_what_was_there(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 255, 256, 4096, 131072, 131073, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf data = {0}, frame = {0}, out = {0};
        struct nj_error err = {0};
        uint32_t seed = 12345;

        nj_buf_init(&data, ROOM);
        nj_buf_init(&frame, ROOM);
        nj_buf_init(&out, ROOM);
        for (size_t at = 0; at < sizes[i]; at++) {
            uint8_t byte = (uint8_t)(seed >> 24 & (at % 2 ? 0xff : 0x03));

            seed = seed * 1664525u + 1013904223u;
            assert_int_equal(nj_buf_append(&data, &byte, 1, &err), 0);
        }
        assert_int_equal(nj_buf_text(&out, "head", &err), 0);
        assert_int_equal(nj_squeeze(&frame, nj_buf_span(&data),
                                    i % 2 ? NJ_SQUEEZE_LEVEL : NJ_SQUEEZE_LEVEL_ARCHIVE, &err),
                         0);
        assert_int_equal(nj_unsqueeze(&out, nj_buf_span(&frame), sizes[i], &err), 0);
        assert_int_equal(out.len, 4 + sizes[i]);
        assert_memory_equal(out.data, "head", 4);
        if (sizes[i] > 0)
            assert_memory_equal(out.data + 4, data.data, sizes[i]);
        assert_int_equal(out.data[out.len], '\0');
    }
}

static void equal_data_gives_equal_frames(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf a = {0}, b = {0};

    (void)state;
    squeeze_text(&a);
    squeeze_text(&b);
    assert_true(nj_span_equal(nj_buf_span(&a), nj_buf_span(&b)));
    assert_true(a.len < TEXT_LEN);
}

static void a_frame_tells_its_size_and_carries_a_checksum(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};

    (void)state;
    squeeze_text(&frame);
    assert_true(ZSTD_getFrameContentSize(frame.data, frame.len) == TEXT_LEN);
    assert_int_equal(frame.data[4] & 0x04, 0x04); /* RFC 8878, 3.1.1.1.1: Content_Checksum_flag */
}

static void a_buffer_without_room_is_left_alone(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0}, frame = {0};
    struct nj_error err = {0};

    (void)state;
    squeeze_text(&frame);
    nj_buf_init(&out, frame.len - 1);
    assert_int_equal(nj_squeeze(&out, nj_span_text(TEXT), NJ_SQUEEZE_LEVEL, &err), -NJ_E_LIMIT);
    assert_int_equal(out.len, 0);
    nj_buf_done(&out);
    nj_buf_init(&out, TEXT_LEN - 1);
    assert_int_equal(nj_unsqueeze(&out, nj_buf_span(&frame), ROOM, &err), -NJ_E_LIMIT);
    assert_int_equal(out.len, 0);
    assert_null(out.data);
    squeeze_text(&out); /* the failure does not stick to the thread's context */
}

static void a_frame_above_the_limit_is_refused_by_its_header(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};

    (void)state;
    squeeze_text(&frame);
    assert_refused(nj_buf_span(&frame), TEXT_LEN - 1, NJ_E_LIMIT, "holds 78 bytes, at most 77");
}

static void a_frame_that_claims_the_impossible_costs_no_memory(void **state)
{
    /* magic; single segment, 8-byte content size: 1 TiB; one empty last block */
    static const uint8_t bomb[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0};

    (void)state;
    assert_refused((struct nj_span){bomb, sizeof(bomb)}, SIZE_MAX, NJ_E_CORRUPT, "cannot be");
}

static void a_cut_or_a_flipped_bit_never_yields_other_bytes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    size_t harmless = 0;

    (void)state;
    squeeze_text(&frame);
    for (size_t len = 0; len < frame.len; len++)
        assert_refused((struct nj_span){frame.data, len}, ROOM, NJ_E_CORRUPT, "zstd frame");
    for (size_t bit = 0; bit < 8 * frame.len; bit++) {
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_error err = {0};
        int r;

        nj_buf_init(&out, ROOM);
        frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        r = nj_unsqueeze(&out, nj_buf_span(&frame), ROOM, &err);
        frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* Some bits mean nothing (RFC 8878, 3.1.1.1.1.3), and a match may lie at two distances. */
        if (r == 0 && nj_span_is(nj_buf_span(&out), TEXT))
            harmless++;
        else if ((r != -NJ_E_CORRUPT && r != -NJ_E_LIMIT) || out.len != 0)
            fail_msg("bit %zu: %d", bit, r);
    }
    assert_true(harmless < frame.len);
}

static void bytes_behind_the_frame_are_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    struct nj_error err = {0};
    size_t len;

    (void)state;
    squeeze_text(&frame);
    len = frame.len;
    assert_int_equal(nj_buf_append(&frame, "x", 1, &err), 0);
    assert_refused(nj_buf_span(&frame), ROOM, NJ_E_CORRUPT, "1 bytes behind");
    frame.len = len;
    assert_int_equal(nj_squeeze(&frame, nj_span_text(TEXT), NJ_SQUEEZE_LEVEL, &err), 0);
    assert_refused(nj_buf_span(&frame), ROOM, NJ_E_CORRUPT, "behind"); /* a second frame */
}

static void a_frame_without_a_size_is_refused(void **state)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    uint8_t frame[512];
    size_t len;

    (void)state;
    assert_non_null(context);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    len = ZSTD_compress2(context, frame, sizeof(frame), TEXT, TEXT_LEN);
    assert_false(ZSTD_isError(len));
    assert_refused((struct nj_span){frame, len}, ROOM, NJ_E_CORRUPT, "does not tell");
    ZSTD_freeCCtx(context);
}

static void a_skippable_frame_is_not_a_frame_of_nothing(void **state)
{
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'};

    (void)state;
    assert_refused((struct nj_span){skippable, sizeof(skippable)}, ROOM, NJ_E_CORRUPT,
                   "not a zstd");
    assert_refused((struct nj_span){NULL, 0}, ROOM, NJ_E_CORRUPT, "not a zstd");
}

static void *squeeze_often(void *ok)
{
    for (int i = 0; i < 100; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf frame = {0}, out = {0};
        struct nj_error err = {0};

        nj_buf_init(&frame, ROOM);
        nj_buf_init(&out, ROOM);
        if (nj_squeeze(&frame, nj_span_text(TEXT), NJ_SQUEEZE_LEVEL, &err) < 0 ||
            nj_unsqueeze(&out, nj_buf_span(&frame), ROOM, &err) < 0 ||
            !nj_span_is(nj_buf_span(&out), TEXT))
            return NULL;
    }
    return ok;
}

static void threads_have_contexts_of_their_own(void **state)
{
    pthread_t threads[4];
    int ok;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, squeeze_often, &ok), 0);
    for (size_t i = 0; i < 4; i++) {
        void *result = NULL;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out_behind_what_was_there),
        cmocka_unit_test(equal_data_gives_equal_frames),
        cmocka_unit_test(a_frame_tells_its_size_and_carries_a_checksum),
        cmocka_unit_test(a_buffer_without_room_is_left_alone),
        cmocka_unit_test(a_frame_above_the_limit_is_refused_by_its_header),
        cmocka_unit_test(a_frame_that_claims_the_impossible_costs_no_memory),
        cmocka_unit_test(a_cut_or_a_flipped_bit_never_yields_other_bytes),
        cmocka_unit_test(bytes_behind_the_frame_are_refused),
        cmocka_unit_test(a_frame_without_a_size_is_refused),
        cmocka_unit_test(a_skippable_frame_is_not_a_frame_of_nothing),
        cmocka_unit_test(threads_have_contexts_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
