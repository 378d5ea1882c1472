/*
 * test_digest.c - SHA-256 against the published examples, hex, chains, threads
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/bytes.h"
#include "formats/base/digest.h"

#include "formats/base/banned.h"

/* FIPS 180-4 examples. */
#define SHA_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA_MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void assert_hex(const struct nj_digest *digest, const char *hex)
{
    char text[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, text);
    assert_string_equal(text, hex);
}

static void published_examples_come_out(void **state)
{
    struct nj_digest digest;

    (void)state;
    nj_digest_bytes(NULL, 0, &digest);
    assert_hex(&digest, SHA_EMPTY);
    nj_digest_bytes("abc", 3, &digest);
    assert_hex(&digest, SHA_ABC);
}

static void a_running_digest_does_not_depend_on_the_pieces(void **state)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    struct nj_digest digest;
    char piece[1000];

    (void)state;
    assert_non_null(hasher);
    memset(piece, 'a', sizeof(piece));
    nj_hasher_update(hasher, piece, 1);
    for (int i = 0; i < 999; i++)
        nj_hasher_update(hasher, piece, sizeof(piece));
    nj_hasher_update(hasher, NULL, 0);
    nj_hasher_update(hasher, piece, 999);
    nj_hasher_finish(hasher, &digest);
    assert_hex(&digest, SHA_MILLION_A);
    nj_hasher_free(NULL);
}

static void one_shots_do_not_disturb_a_running_digest(void **state)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    struct nj_digest digest, other;

    (void)state;
    assert_non_null(hasher);
    nj_hasher_update(hasher, "a", 1);
    nj_digest_bytes("zzz", 3, &other);
    nj_hasher_update(hasher, "bc", 2);
    nj_hasher_finish(hasher, &digest);
    assert_hex(&digest, SHA_ABC);
}

static void only_64_lower_case_hex_characters_are_read(void **state)
{
    struct nj_digest digest = {{0}}, untouched = {{0}};
    char text[] = SHA_ABC "0";

    (void)state;
    assert_true(nj_digest_parse(nj_span_text(SHA_ABC), &digest));
    assert_hex(&digest, SHA_ABC);
    assert_false(nj_digest_equal(&digest, &untouched));
    digest = untouched;
    assert_false(nj_digest_parse(nj_span_text(text), &digest)); /* 65 */
    text[63] = '\0';
    assert_false(nj_digest_parse(nj_span_text(text), &digest)); /* 63 */
    assert_false(nj_digest_parse(nj_span_text(""), &digest));
    for (const char *bad = "AFg/:`G@ "; *bad; bad++) {
        char copy[] = SHA_ABC;

        copy[40] = *bad;
        assert_false(nj_digest_parse(nj_span_text(copy), &digest));
    }
    assert_true(nj_digest_equal(&digest, &untouched));
}

static void a_chain_is_the_digest_of_what_its_header_says(void **state)
{
    struct nj_digest chain = {{0}}, expected;
    uint8_t bytes[NJ_DIGEST_BYTES + 5 + 8 + 3] = {0};

    (void)state;
    memcpy(bytes + NJ_DIGEST_BYTES, "step", 5);
    nj_store_u64le(bytes + NJ_DIGEST_BYTES + 5, 3);
    memcpy(bytes + NJ_DIGEST_BYTES + 13, "abc", 3);
    nj_digest_bytes(bytes, sizeof(bytes), &expected);
    nj_digest_chain(&chain, "step", nj_span_text("abc"));
    assert_true(nj_digest_equal(&chain, &expected));
}

static void a_chain_tells_where_label_and_data_part(void **state)
{
    struct nj_digest a = {{0}}, b = {{0}}, c = {{0}};

    (void)state;
    nj_digest_chain(&a, "ab", nj_span_text("c"));
    nj_digest_chain(&b, "a", nj_span_text("bc"));
    nj_digest_chain(&c, "ab", nj_span_text("c"));
    assert_false(nj_digest_equal(&a, &b));
    assert_true(nj_digest_equal(&a, &c));
    nj_digest_chain(&c, "ab", nj_span_text("c"));
    assert_false(nj_digest_equal(&a, &c)); /* the past counts */
}

static void *hash_often(void *ok)
{
    struct nj_digest expected, digest;

    if (!nj_digest_parse(nj_span_text(SHA_ABC), &expected))
        return NULL;
    for (int i = 0; i < 2000; i++) {
        nj_digest_bytes("abc", 3, &digest);
        if (!nj_digest_equal(&digest, &expected))
            return NULL;
    }
    return ok;
}

static void threads_do_not_share_a_context(void **state)
{
    pthread_t threads[4];
    int ok;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_often, &ok), 0);
    for (size_t i = 0; i < 4; i++) {
        void *result = NULL;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples_come_out),
        cmocka_unit_test(a_running_digest_does_not_depend_on_the_pieces),
        cmocka_unit_test(one_shots_do_not_disturb_a_running_digest),
        cmocka_unit_test(only_64_lower_case_hex_characters_are_read),
        cmocka_unit_test(a_chain_is_the_digest_of_what_its_header_says),
        cmocka_unit_test(a_chain_tells_where_label_and_data_part),
        cmocka_unit_test(threads_do_not_share_a_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
