/*
 * test_recent.c - what a session stores as changes can be read, and chains stay short
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

#include "batch/engine/recent.h"
#include "batch/run/object_index.h"

#include "formats/base/banned.h"

#define OBJECTS_MAX 400

/* What one session stored, read back by digest. */
struct stored {
    struct nj_object_index index; /* offset: into bytes */
    struct nj_buf bytes;
};

static void stored_done(struct stored *stored)
{
    nj_object_index_done(&stored->index);
    nj_buf_done(&stored->bytes);
}
NJ_DEFINE_AUTO_VAL(struct stored, stored_done);

static int read_stored(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct stored *stored = ctx;
    const struct nj_journal_place *place = nj_object_index_find(&stored->index, digest);

    if (!place)
        return nj_fail(err, NJ_E_CORRUPT, "it is not there");
    return nj_buf_append(out, stored->bytes.data + place->offset, place->bytes, err);
}

/* put - returns how many bytes it took */
static size_t put(struct nj_recent *recent, uint32_t owner, struct stored *stored,
                  const struct nj_object *object)
{
    struct nj_error err = {0};
    struct nj_journal_place place = {.segment = 1, .offset = stored->bytes.len};

    if (nj_object_index_find(&stored->index, &object->digest))
        return 0;
    stored->bytes.max = 64u << 20;
    assert_int_equal(nj_recent_encode(recent, owner, object, &stored->bytes, &err), 0);
    place.bytes = (uint32_t)(stored->bytes.len - place.offset);
    assert_int_equal(nj_object_index_add(&stored->index, &object->digest, &place, &err), 0);
    return place.bytes;
}

/* load - returns the length of the chain */
static unsigned load(struct stored *stored, const struct nj_object *wanted)
{
    const struct nj_object_shelf shelf = {.read = read_stored, .ctx = stored};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object found;
    struct nj_error err = {0};
    unsigned chain;

    nj_buf_init(&out, NJ_OBJECT_MAX_BYTES);
    if (nj_object_load(&shelf, &wanted->digest, &out, &found, &chain, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(nj_span_equal(found.bytes, wanted->bytes));
    assert_int_equal(found.kind, wanted->kind);
    return chain;
}

/* A directory of 100 files, of which another one changes each time. */
#define DIRECTORY_BYTES 4000
struct directory {
    uint8_t bytes[DIRECTORY_BYTES];
    struct nj_object object;
};

static void change(struct directory *directory, unsigned n)
{
    struct nj_object *object = &directory->object;
    struct nj_digest digest;

    if (n == 0)
        for (unsigned i = 0; i * NJ_DIGEST_BYTES < DIRECTORY_BYTES; i++) {
            nj_digest_bytes(&i, sizeof(i), &digest);
            memcpy(directory->bytes + (size_t)i * NJ_DIGEST_BYTES, digest.bytes, NJ_DIGEST_BYTES);
        }
    nj_digest_bytes(&(unsigned){n + 1000}, sizeof(n), &digest);
    memcpy(directory->bytes + (size_t)(n * 37 % 100) * NJ_DIGEST_BYTES, digest.bytes,
           NJ_DIGEST_BYTES);
    object->has_earlier = n > 0;
    object->earlier = object->digest;
    object->kind = NJ_OBJECT_TREE;
    object->bytes = (struct nj_span){directory->bytes, DIRECTORY_BYTES};
    nj_digest_bytes(directory->bytes, DIRECTORY_BYTES, &object->digest);
}

static void a_directory_that_changes_is_stored_as_changes_in_short_chains(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored stored = {0};
    struct directory directory;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_recent_new(1u << 20, &recent, &err), 0);
    for (unsigned n = 0; n < OBJECTS_MAX; n++) {
        change(&directory, n);
        put(recent, 1, &stored, &directory.object);
        assert_true(load(&stored, &directory.object) <= NJ_OBJECT_CHAIN_MAX);
    }
    /* 4,000 bytes each, of which 32 changed: a tenth is generous. */
    if (stored.bytes.len > (size_t)OBJECTS_MAX * DIRECTORY_BYTES / 10)
        fail_msg("%zu bytes", stored.bytes.len);
}

static int put_list(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    void **both = ctx;

    (void)err;
    (void)put(both[0], 1, both[1], object);
    (void)load(both[1], object);
    return 0;
}

static void a_list_that_grows_is_stored_as_changes(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored stored = {0};
    void *both[2];
    struct nj_object_sink sink = {put_list, both};
    struct nj_list list = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_recent_new(1u << 20, &recent, &err), 0);
    both[0] = recent;
    both[1] = &stored;
    for (unsigned n = 0; n < OBJECTS_MAX; n++) {
        struct nj_digest item, root;

        nj_digest_bytes(&n, sizeof(n), &item);
        assert_int_equal(nj_list_append(&list, &item, &sink, &root, &err), 0);
    }
    /* Whole, an item's nodes take 1,000 bytes in the middle. */
    assert_true(stored.bytes.len < (size_t)OBJECTS_MAX * 450);
}

static void what_was_dropped_is_followed_by_a_whole_object(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored stored = {0};
    struct directory directory;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_recent_new(DIRECTORY_BYTES / 2, &recent, &err), 0);
    for (unsigned n = 0; n < 4; n++) {
        change(&directory, n);
        assert_true(put(recent, 1, &stored, &directory.object) > DIRECTORY_BYTES);
        assert_int_equal(load(&stored, &directory.object), 0);
    }
}

static void a_base_is_never_another_sessions(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored one = {0};
    NJ_AUTO(stored_done) struct stored two = {0};
    struct directory directory;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_recent_new(1u << 20, &recent, &err), 0);
    change(&directory, 0);
    put(recent, 1, &one, &directory.object);
    change(&directory, 1);
    assert_true(put(recent, 2, &two, &directory.object) > DIRECTORY_BYTES);
    assert_int_equal(load(&two, &directory.object), 0);
}

static void another_attempt_begins_with_whole_objects(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored first = {0};
    NJ_AUTO(stored_done) struct stored second = {0};
    struct directory directory;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_recent_new(1u << 20, &recent, &err), 0);
    for (unsigned n = 0; n < 3; n++) {
        change(&directory, n);
        put(recent, 1, &first, &directory.object);
    }
    assert_true(load(&first, &directory.object) > 0);
    /* The very object that the first attempt had as a change. */
    put(recent, 2, &second, &directory.object);
    assert_int_equal(load(&second, &directory.object), 0);
    change(&directory, 3);
    put(recent, 2, &second, &directory.object);
    assert_int_equal(load(&second, &directory.object), 1);
}

static void what_was_dropped_is_read_again_with_its_base(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored stored = {0};
    const struct nj_object_shelf shelf = {.read = read_stored, .ctx = &stored};
    struct directory directory;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_recent_new(1u << 20, &recent, &err), 0);
    for (unsigned n = 0; n < OBJECTS_MAX; n++) {
        change(&directory, n);
        nj_recent_clear(recent);
        assert_int_equal(
            nj_recent_fetch(recent, 1, &shelf, &directory.object, NJ_OBJECT_DELTA_MAX_BYTES),
            n > 0);
        put(recent, 1, &stored, &directory.object);
        assert_true(load(&stored, &directory.object) <= NJ_OBJECT_CHAIN_MAX);
    }
    if (stored.bytes.len > (size_t)OBJECTS_MAX * DIRECTORY_BYTES / 10)
        fail_msg("%zu bytes", stored.bytes.len);
    assert_false(nj_recent_fetch(recent, 1, &shelf, &directory.object, DIRECTORY_BYTES - 1));
}

static void what_is_here_is_given_whole_to_its_owner_only(void **state)
{
    NJ_AUTO(nj_recent_free) struct nj_recent *recent = NULL;
    NJ_AUTO(stored_done) struct stored stored = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct directory directory;
    struct nj_object found;
    struct nj_error err = {0};
    size_t len;

    (void)state;
    nj_buf_init(&out, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_recent_new(1u << 20, &recent, &err), 0);
    for (unsigned n = 0; n < 3; n++) {
        change(&directory, n);
        put(recent, 1, &stored, &directory.object); /* the last two: as changes */
    }
    assert_int_equal(nj_recent_get(recent, 2, &directory.object.digest, &out, &err), 0);
    assert_int_equal(nj_recent_get(recent, 1, &directory.object.digest, &out, &err), 1);
    assert_int_equal(nj_object_decode(nj_buf_span(&out), true, &found, &len, &err), 0);
    assert_int_equal(found.kind, NJ_OBJECT_TREE);
    assert_true(nj_span_equal(found.bytes, directory.object.bytes));
    nj_recent_clear(recent);
    nj_buf_clear(&out);
    assert_int_equal(nj_recent_get(recent, 1, &directory.object.digest, &out, &err), 0);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_that_changes_is_stored_as_changes_in_short_chains),
        cmocka_unit_test(a_list_that_grows_is_stored_as_changes),
        cmocka_unit_test(what_was_dropped_is_followed_by_a_whole_object),
        cmocka_unit_test(a_base_is_never_another_sessions),
        cmocka_unit_test(another_attempt_begins_with_whole_objects),
        cmocka_unit_test(what_was_dropped_is_read_again_with_its_base),
        cmocka_unit_test(what_is_here_is_given_whole_to_its_owner_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
