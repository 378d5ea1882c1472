/*
 * test_object.c - bytes under their digest and their one encoding
 */
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

static struct nj_object sample(const char *text)
{
    struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = nj_span_text(text)};

    nj_digest_bytes(text, strlen(text), &object.digest);
    return object;
}

static void encode(const struct nj_object *object, struct nj_buf *out)
{
    struct nj_error err = {0};

    assert_int_equal(nj_object_encode(object, out, &err), 0);
}

static void an_object_reads_back_as_it_was_written(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object object = sample("one line\n");
    struct nj_object found;
    struct nj_error err = {0};
    size_t len;

    (void)state;
    nj_buf_init(&buf, 1024);
    encode(&object, &buf);
    assert_int_equal(nj_object_decode(nj_buf_span(&buf), true, &found, &len, &err), 0);
    assert_int_equal(len, buf.len);
    assert_int_equal(found.kind, NJ_OBJECT_BLOB);
    assert_true(nj_digest_equal(&found.digest, &object.digest));
    assert_true(nj_span_equal(found.bytes, object.bytes));
    assert_true(found.bytes.data > buf.data && found.bytes.data < buf.data + buf.len);
}

static void the_document_shows_the_real_bytes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf hex = {0};
    struct nj_object object = sample("one line\n");

    (void)state;
    nj_buf_init(&buf, 1024);
    encode(&object, &buf);
    golden_check("object/v0/blob.object", nj_buf_span(&buf));
    hex_lines(nj_buf_span(&buf), &hex);
    document_shows("formats/object/FORMAT.md", (const char *)hex.data);
}

static void a_stream_is_read_by_advancing(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    static const char *const texts[] = {"first", "", "third"};
    struct nj_error err = {0};
    size_t at = 0;

    (void)state;
    nj_buf_init(&buf, 1024);
    for (size_t i = 0; i < 3; i++) {
        struct nj_object object = sample(texts[i]);

        encode(&object, &buf);
    }
    for (size_t i = 0; i < 3; i++) {
        struct nj_span rest = {buf.data + at, buf.len - at};
        struct nj_object found;
        size_t len;

        assert_int_equal(nj_object_decode(rest, true, &found, &len, &err), 0);
        assert_true(nj_span_is(found.bytes, texts[i]));
        at += len;
    }
    assert_int_equal(at, buf.len);
}

static void every_cut_of_an_object_is_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object object = sample("one line\n");

    (void)state;
    nj_buf_init(&buf, 1024);
    encode(&object, &buf);
    for (size_t len = 0; len < buf.len; len++) {
        struct nj_object found = {0};
        struct nj_error err = {0};
        size_t used = 77;

        assert_int_equal(
            nj_object_decode((struct nj_span){buf.data, len}, false, &found, &used, &err),
            -NJ_E_CORRUPT);
        assert_int_equal(used, 77); /* outputs are untouched on failure */
        assert_null(found.bytes.data);
    }
}

static void a_flipped_bit_is_seen_when_asked_to_verify(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object object = sample("one line\n");
    struct nj_object found;
    struct nj_error err = {0};
    size_t len;

    (void)state;
    nj_buf_init(&buf, 1024);
    encode(&object, &buf);
    buf.data[6] ^= 1; /* in the content: 1 map, 2 key, 2 bin head */
    assert_int_equal(nj_object_decode(nj_buf_span(&buf), false, &found, &len, &err), 0);
    assert_int_equal(nj_object_decode(nj_buf_span(&buf), true, &found, &len, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "have another digest"));
}

static void putting_digests_and_remembers(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_object_source source = memory_objects_source(&store);
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_digest digest;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 1024);
    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_MESSAGE, nj_span_text("abc"), &digest, &err),
                     0);
    nj_digest_hex(&digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(nj_object_get(&source, NJ_OBJECT_MESSAGE, &digest, &buf, &err), 0);
    assert_true(nj_span_is(nj_buf_span(&buf), "abc"));
    assert_int_equal(nj_object_get(&source, NJ_OBJECT_MESSAGE, &digest, &buf, &err), 0);
    assert_true(nj_span_is(nj_buf_span(&buf), "abcabc")); /* get appends */
}

static void a_put_that_fails_leaves_the_digest_alone(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {.fail_at = 1};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_digest digest = {{9}};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text("abc"), &digest, &err),
                     -NJ_E_SYSTEM);
    assert_int_equal(digest.bytes[0], 9);
}

static void an_object_above_the_cap_is_not_put(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    nj_auto_free uint8_t *bytes = calloc(1, NJ_OBJECT_MAX_BYTES + 1);
    struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = {bytes, NJ_OBJECT_MAX_BYTES + 1}};
    struct nj_digest digest;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 64u << 20);
    assert_non_null(bytes);
    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_BLOB, object.bytes, &digest, &err),
                     -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "blob of 16777217 bytes"));
    assert_int_equal(nj_object_encode(&object, &buf, &err), -NJ_E_LIMIT);
    assert_int_equal(store.puts, 0);
}

/* A source that hands out what it was given, whatever the digest. */
static int careless_get(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                        struct nj_error *err)
{
    const struct nj_span *bytes = ctx;

    (void)digest;
    return nj_buf_append(out, bytes->data, bytes->len, err);
}

static void a_source_with_other_bytes_is_not_believed(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_span bytes = nj_span_text("something else");
    struct nj_object_source source = {.get = careless_get, .ctx = &bytes};
    struct nj_object object = sample("what was asked for");
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 1024);
    assert_int_equal(nj_buf_text(&buf, "before", &err), 0);
    assert_int_equal(nj_object_get(&source, NJ_OBJECT_TREE, &object.digest, &buf, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "tree "));
    assert_non_null(strstr(err.text, "14 bytes have another digest"));
    assert_true(nj_span_is(nj_buf_span(&buf), "before"));
    assert_int_equal(buf.data[buf.len], 0);
}

static void a_source_with_too_many_bytes_is_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    nj_auto_free uint8_t *zeros = calloc(1, NJ_OBJECT_MAX_BYTES + 1);
    struct nj_span bytes = {zeros, NJ_OBJECT_MAX_BYTES + 1};
    struct nj_object_source source = {.get = careless_get, .ctx = &bytes};
    struct nj_digest digest;
    struct nj_error err = {0};

    (void)state;
    assert_non_null(zeros);
    nj_digest_bytes(bytes.data, bytes.len, &digest);
    nj_buf_init(&buf, 64u << 20);
    assert_int_equal(nj_object_get(&source, NJ_OBJECT_BLOB, &digest, &buf, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "an object holds at most 16777216"));
    assert_int_equal(buf.len, 0);
}

static int careless_view(void *ctx, const struct nj_digest *digest, struct nj_span *ret_bytes,
                         struct nj_error *err)
{
    (void)digest;
    (void)err;
    *ret_bytes = *(const struct nj_span *)ctx;
    return 0;
}

static void what_lies_in_a_source_is_seen_there_and_checked(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf scratch = {0};
    struct nj_object object = sample("what was asked for");
    struct nj_span bytes = object.bytes, found = {NULL, 0};
    struct nj_object_source source = {.get = careless_get, .ctx = &bytes, .view = careless_view};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&scratch, 1024);
    assert_int_equal(
        nj_object_view(&source, NJ_OBJECT_BLOB, &object.digest, &scratch, &found, &err), 0);
    assert_ptr_equal(found.data, object.bytes.data);
    bytes = nj_span_text("something else");
    assert_int_equal(
        nj_object_view(&source, NJ_OBJECT_BLOB, &object.digest, &scratch, &found, &err),
        -NJ_E_CORRUPT);
    assert_ptr_equal(found.data, object.bytes.data);
    source.view = NULL; /* copied, then */
    assert_int_equal(
        nj_object_view(&source, NJ_OBJECT_BLOB, &object.digest, &scratch, &found, &err),
        -NJ_E_CORRUPT);
    assert_int_equal(scratch.len, 0);
    bytes = object.bytes;
    assert_int_equal(
        nj_object_view(&source, NJ_OBJECT_BLOB, &object.digest, &scratch, &found, &err), 0);
    assert_ptr_equal(found.data, scratch.data);
}

static void a_missing_object_is_named(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_object object = sample("abc");
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 1024);
    assert_int_equal(nj_object_get(&source, NJ_OBJECT_LIST, &object.digest, &buf, &err),
                     -NJ_E_CORRUPT);
    assert_string_equal(err.text, "list ba7816bf8f01cfea: no such object");
}

#define BLOB_OF_X                                                                                  \
    "\xa1"                                                                                         \
    "b\xc4\x01x\xa1"                                                                               \
    "d\xc4\x20"                                                                                    \
    "0123456789abcdef0123456789abcdef"
#define DAMAGED(name, bytes, code, words)                                                          \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, code, words                                                \
    }

static void damaged_objects_are_refused_by_name(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        enum nj_error_code code;
        const char *words;
    } cases[] = {
        DAMAGED("object-another-digest", "\x83" BLOB_OF_X "\xa1k\x01", NJ_E_CORRUPT,
                "blob 3031323334353637: its 1 bytes have another digest"),
        DAMAGED("object-bytes-are-text",
                "\x83\xa1"
                "b\xa1x\xa1"
                "d\xc4\x00\xa1k\x01",
                NJ_E_CORRUPT, "object.b"),
        DAMAGED("object-digest-short",
                "\x83\xa1"
                "b\xc4\x00\xa1"
                "d\xc4\x01x\xa1k\x01",
                NJ_E_CORRUPT, "object.d"),
        DAMAGED("object-is-an-array", "\x93\x01\x02\x03", NJ_E_CORRUPT, "object: not a map"),
        DAMAGED("object-kind-0", "\x83" BLOB_OF_X "\xa1k\x00", NJ_E_CORRUPT, "kind 0 is none"),
        DAMAGED("object-kind-9", "\x83" BLOB_OF_X "\xa1k\x09", NJ_E_VERSION,
                "kind 9, this build knows up to 7"),
        DAMAGED("object-kind-is-nil", "\x83" BLOB_OF_X "\xa1k\xc0", NJ_E_CORRUPT, "object.k"),
        DAMAGED("object-newer-key",
                "\x84\xa1"
                "F\xc0" BLOB_OF_X "\xa1k\x01",
                NJ_E_VERSION, "object: key \"F\" needs a newer build"),
        DAMAGED("object-without-kind", "\x82" BLOB_OF_X, NJ_E_CORRUPT, "object.k: missing"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nj_span bytes = {(const uint8_t *)cases[i].bytes, cases[i].len};
        struct nj_object found;
        struct nj_error err = {0};
        char file[128];
        size_t len;
        int r;

        (void)snprintf(file, sizeof(file), "object/damaged/%s", cases[i].name);
        golden_check(file, bytes);
        r = nj_object_decode(bytes, true, &found, &len, &err);
        if (r != -(int)cases[i].code || !strstr(err.text, cases[i].words))
            fail_msg("%s: %d %s", cases[i].name, r, err.text);
    }
}

static void a_key_from_later_is_ignored(void **state)
{
    static const char bytes[] = "\x84" BLOB_OF_X "\xa1k\x01\xa1z\xc0";
    struct nj_object found;
    struct nj_error err = {0};
    size_t len;

    (void)state;
    assert_int_equal(nj_object_decode((struct nj_span){(const uint8_t *)bytes, sizeof(bytes) - 1},
                                      false, &found, &len, &err),
                     0);
    assert_true(nj_span_is(found.bytes, "x"));
    assert_int_equal(len, sizeof(bytes) - 1);
}

static void kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(nj_object_kind_text(NJ_OBJECT_BLOB), "blob");
    assert_string_equal(nj_object_kind_text(NJ_OBJECT_CONFIG), "config");
    assert_string_equal(nj_object_kind_text((enum nj_object_kind)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_reads_back_as_it_was_written),
        cmocka_unit_test(the_document_shows_the_real_bytes),
        cmocka_unit_test(a_stream_is_read_by_advancing),
        cmocka_unit_test(every_cut_of_an_object_is_refused),
        cmocka_unit_test(a_flipped_bit_is_seen_when_asked_to_verify),
        cmocka_unit_test(putting_digests_and_remembers),
        cmocka_unit_test(a_put_that_fails_leaves_the_digest_alone),
        cmocka_unit_test(an_object_above_the_cap_is_not_put),
        cmocka_unit_test(a_source_with_other_bytes_is_not_believed),
        cmocka_unit_test(a_source_with_too_many_bytes_is_refused),
        cmocka_unit_test(what_lies_in_a_source_is_seen_there_and_checked),
        cmocka_unit_test(a_missing_object_is_named),
        cmocka_unit_test(damaged_objects_are_refused_by_name),
        cmocka_unit_test(a_key_from_later_is_ignored),
        cmocka_unit_test(kinds_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
