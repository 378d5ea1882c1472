/*
 * test_delta.c - objects stored as what differs from an earlier one, and chains that are none
 */
#include "tests/lib/golden.h"

#include "formats/object/object.h"

#include "formats/base/banned.h"

#define VERSIONS 12
#define VERSION_BYTES 4000

/* Encoded objects in a row, found by digest: what a journal is to its readers. */
struct shelf {
    struct nj_buf encoded;
    struct {
        struct nj_digest digest;
        size_t at, len;
    } items[VERSIONS + 4];
    size_t n;
};

static void shelf_done(struct shelf *shelf)
{
    nj_buf_done(&shelf->encoded);
}
NJ_DEFINE_AUTO_VAL(struct shelf, shelf_done);

static int read_shelf(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    const struct shelf *shelf = ctx;

    for (size_t i = 0; i < shelf->n; i++)
        if (nj_digest_equal(&shelf->items[i].digest, digest))
            return nj_buf_append(out, shelf->encoded.data + shelf->items[i].at, shelf->items[i].len,
                                 err);
    return nj_fail(err, NJ_E_CORRUPT, "it is not there");
}

static void note(struct shelf *shelf, const struct nj_digest *digest, size_t at)
{
    assert_true(shelf->n < VERSIONS + 4);
    shelf->items[shelf->n].digest = *digest;
    shelf->items[shelf->n].at = at;
    shelf->items[shelf->n++].len = shelf->encoded.len - at;
}

/* version - the @n-th: text that does not repeat itself, with another line for each version */
static struct nj_object version(unsigned n, char text[VERSION_BYTES])
{
    struct nj_object object = {.kind = NJ_OBJECT_BLOB};
    uint32_t random = 7;
    size_t len = 0;

    for (unsigned i = 0; i < 60; i++) {
        random = random * 1664525 + 1013904223;
        len += (size_t)snprintf(text + len, VERSION_BYTES - len, "%u: %08x %08x\n", i, random,
                                i < n ? n * 77777 : 0);
    }
    object.bytes = (struct nj_span){(const uint8_t *)text, len};
    nj_digest_bytes(text, len, &object.digest);
    return object;
}

static void put_whole(struct shelf *shelf, const struct nj_object *object)
{
    struct nj_error err = {0};
    size_t at = shelf->encoded.len;

    assert_int_equal(nj_object_encode(object, &shelf->encoded, &err), 0);
    note(shelf, &object->digest, at);
}

static void put_delta(struct shelf *shelf, const struct nj_object *object,
                      const struct nj_object *base)
{
    struct nj_error err = {0};
    size_t at = shelf->encoded.len;

    assert_int_equal(nj_object_delta(object, &base->digest, base->bytes, &shelf->encoded, &err), 1);
    assert_true(shelf->encoded.len - at < object->bytes.len / 3 + 100);
    note(shelf, &object->digest, at);
}

/* fill - version 0 whole, the others each behind the one before */
static void fill(struct shelf *shelf, unsigned n)
{
    static char texts[VERSIONS][VERSION_BYTES];
    struct nj_object before = {0};

    nj_buf_init(&shelf->encoded, 1u << 20);
    for (unsigned i = 0; i < n; i++) {
        struct nj_object now = version(i, texts[i]);

        if (i == 0)
            put_whole(shelf, &now);
        else
            put_delta(shelf, &now, &before);
        before = now;
    }
}

static int load(struct shelf *shelf, size_t i, struct nj_buf *out, struct nj_object *ret_object,
                unsigned *ret_chain, struct nj_error *err)
{
    const struct nj_object_shelf from = {.read = read_shelf, .ctx = shelf};

    nj_buf_init(out, NJ_OBJECT_MAX_BYTES);
    return nj_object_load(&from, &shelf->items[i].digest, out, ret_object, ret_chain, err);
}

static void every_version_of_a_chain_is_read_whole(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};

    (void)state;
    fill(&shelf, NJ_OBJECT_CHAIN_MAX + 1);
    for (unsigned i = 0; i <= NJ_OBJECT_CHAIN_MAX; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        char text[VERSION_BYTES];
        struct nj_object wanted = version(i, text), found;
        struct nj_error err = {0};
        unsigned chain;

        assert_int_equal(load(&shelf, i, &out, &found, &chain, &err), 0);
        assert_int_equal(chain, i);
        assert_int_equal(found.kind, NJ_OBJECT_BLOB);
        assert_true(nj_span_equal(found.bytes, wanted.bytes));
    }
}

static void a_longer_chain_is_refused(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object found;
    struct nj_error err = {0};

    (void)state;
    fill(&shelf, NJ_OBJECT_CHAIN_MAX + 2);
    assert_int_equal(load(&shelf, NJ_OBJECT_CHAIN_MAX + 1, &out, &found, NULL, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "more than 8 changes behind one another"));
    assert_int_equal(out.len, 0);
}

static void a_delta_that_is_its_own_base_ends(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    char text[VERSION_BYTES], copy[VERSION_BYTES];
    struct nj_object object = version(3, text), same = version(3, copy), found;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&shelf.encoded, 1u << 20);
    put_delta(&shelf, &object, &same);
    assert_int_equal(load(&shelf, 0, &out, &found, NULL, &err), -NJ_E_CORRUPT);
}

static void a_base_that_is_missing_is_told(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object found;
    struct nj_error err = {0};

    (void)state;
    fill(&shelf, 3);
    shelf.items[0].digest.bytes[5] ^= 1;
    assert_int_equal(load(&shelf, 2, &out, &found, NULL, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "what it is a change of"));
}

static void another_object_in_its_place_is_refused(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object found;
    struct nj_error err = {0};

    (void)state;
    fill(&shelf, 3);
    shelf.items[2].at = shelf.items[1].at;
    shelf.items[2].len = shelf.items[1].len;
    assert_int_equal(load(&shelf, 2, &out, &found, NULL, &err), -NJ_E_CORRUPT);
}

/* Each byte of a delta in turn: what is read is the right bytes or nothing. */
static void a_damaged_delta_never_passes_for_another_object(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};

    (void)state;
    fill(&shelf, 2);
    for (size_t at = shelf.items[1].at; at < shelf.encoded.len; at++) {
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_object found;
        struct nj_error err = {0};
        char text[VERSION_BYTES];

        shelf.encoded.data[at] ^= 0x41;
        if (load(&shelf, 1, &out, &found, NULL, &err) == 0)
            assert_true(nj_span_equal(found.bytes, version(1, text).bytes));
        shelf.encoded.data[at] ^= 0x41;
    }
}

static void a_delta_that_saves_nothing_is_not_made(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object small = {.kind = NJ_OBJECT_BLOB, .bytes = nj_span_text("short")};
    uint8_t noise[2][2000];
    struct nj_object other = {.kind = NJ_OBJECT_BLOB, .bytes = {noise[0], sizeof(noise[0])}};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&out, 1u << 16);
    assert_int_equal(nj_object_delta(&small, &small.digest, small.bytes, &out, &err), 0);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < sizeof(noise[0]); k += NJ_DIGEST_BYTES) {
            struct nj_digest digest;
            size_t left = sizeof(noise[0]) - k;

            nj_digest_bytes(&(size_t){k * 2 + i}, sizeof(size_t), &digest);
            memcpy(noise[i] + k, digest.bytes, left < NJ_DIGEST_BYTES ? left : NJ_DIGEST_BYTES);
        }
    assert_int_equal(nj_object_delta(&other, &small.digest,
                                     (struct nj_span){noise[1], sizeof(noise[1])}, &out, &err),
                     0);
    assert_int_equal(out.len, 0);
}

static void who_reads_whole_objects_only_refuses_a_delta(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};
    struct nj_object found;
    struct nj_error err = {0};
    size_t len;

    (void)state;
    fill(&shelf, 2);
    assert_int_equal(nj_object_decode((struct nj_span){shelf.encoded.data + shelf.items[1].at,
                                                       shelf.items[1].len},
                                      false, &found, &len, &err),
                     -NJ_E_VERSION);
    assert_non_null(strstr(err.text, "key \"F\" needs a newer build"));
}

static void a_hint_travels_and_is_no_delta(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    char text[VERSION_BYTES], before[VERSION_BYTES];
    struct nj_object object = version(2, text), found;
    struct nj_object_stored stored;
    struct nj_error err = {0};
    size_t len;

    (void)state;
    object.has_earlier = true;
    object.earlier = version(1, before).digest;
    nj_buf_init(&buf, 1u << 16);
    assert_int_equal(nj_object_encode(&object, &buf, &err), 0);
    assert_int_equal(nj_object_decode(nj_buf_span(&buf), true, &found, &len, &err), 0);
    assert_true(found.has_earlier && nj_digest_equal(&found.earlier, &object.earlier));
    assert_int_equal(nj_object_decode_stored(nj_buf_span(&buf), &stored, &len, &err), 0);
    assert_false(stored.is_delta);
}

/* What zstd writes may change with its release, so the file is read, not compared. */
static void a_chain_of_this_version_is_read_for_ever(void **state)
{
    NJ_AUTO(shelf_done) struct shelf shelf = {0};
    char text[VERSION_BYTES];
    struct nj_object wanted = version(2, text), found;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    unsigned chain;

    (void)state;
    if (getenv("NJ_UPDATE_GOLDEN")) {
        fill(&shelf, 3);
        golden_check("object/v0/chain.object", nj_buf_span(&shelf.encoded));
        return;
    }
    golden_read("object/v0/chain.object", &shelf.encoded);
    for (size_t at = 0, len; at < shelf.encoded.len; at += len) {
        struct nj_object_stored stored;

        assert_int_equal(nj_object_decode_stored(
                             (struct nj_span){shelf.encoded.data + at, shelf.encoded.len - at},
                             &stored, &len, &err),
                         0);
        note(&shelf, &stored.digest, at);
        shelf.items[shelf.n - 1].len = len;
    }
    assert_int_equal(shelf.n, 3);
    assert_int_equal(load(&shelf, 2, &out, &found, &chain, &err), 0);
    assert_int_equal(chain, 2);
    assert_true(nj_span_equal(found.bytes, wanted.bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_of_a_chain_is_read_whole),
        cmocka_unit_test(a_longer_chain_is_refused),
        cmocka_unit_test(a_delta_that_is_its_own_base_ends),
        cmocka_unit_test(a_base_that_is_missing_is_told),
        cmocka_unit_test(another_object_in_its_place_is_refused),
        cmocka_unit_test(a_damaged_delta_never_passes_for_another_object),
        cmocka_unit_test(a_delta_that_saves_nothing_is_not_made),
        cmocka_unit_test(who_reads_whole_objects_only_refuses_a_delta),
        cmocka_unit_test(a_hint_travels_and_is_no_delta),
        cmocka_unit_test(a_chain_of_this_version_is_read_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
