/*
 * test_chunk.c - file contents in one object or in many
 */
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

struct contents {
    struct nj_span bytes;
    uint8_t *memory;
};

static void contents_done(struct contents *contents)
{
    free(contents->memory);
}
NJ_DEFINE_AUTO_VAL(struct contents, contents_done);

/* Bytes that differ from part to part, so that an exchanged part is seen. */
static struct contents make_contents(size_t len)
{
    uint8_t *memory = malloc(len ? len : 1);

    assert_non_null(memory);
    for (size_t i = 0; i < len; i++)
        memory[i] = (uint8_t)(i * 31 + (i >> 20) * 7);
    return (struct contents){{memory, len}, memory};
}

struct collected {
    struct nj_buf buf;
    size_t pieces;
    size_t fail_at; /* 1: the first */
};

static int collect(void *ctx, struct nj_span piece, struct nj_error *err)
{
    struct collected *collected = ctx;

    if (++collected->pieces == collected->fail_at)
        return nj_fail(err, NJ_E_SYSTEM, "no space here");
    return nj_buf_append(&collected->buf, piece.data, piece.len, err);
}

static void contents_of_every_length_read_back(void **state)
{
    static const struct {
        size_t len;
        size_t objects;
        size_t pieces;
    } cases[] = {
        {0, 1, 1},
        {1, 1, 1},
        {NJ_OBJECT_PART_BYTES, 1, 1},
        {NJ_OBJECT_PART_BYTES + 1, 3, 17}, /* a period that has no cut: 64 KiB each, all alike */
        {3 * NJ_OBJECT_PART_BYTES, 4, 48},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
        NJ_AUTO(contents_done) struct contents contents = make_contents(cases[i].len);
        struct nj_object_sink sink = memory_objects_sink(&store);
        struct nj_object_source source = memory_objects_source(&store);
        struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR, .mode = 0640};
        struct collected collected = {0};
        struct nj_digest whole;
        struct nj_error err = {0};

        nj_buf_init(&collected.buf, 8u << 20);
        assert_int_equal(nj_parts_put(&sink, contents.bytes, &entry, &err), 0);
        assert_int_equal(entry.size, cases[i].len);
        assert_int_equal(entry.has_parts, cases[i].len > NJ_OBJECT_PART_BYTES);
        assert_int_equal(entry.mode, 0640);
        nj_digest_bytes(contents.bytes.data, contents.bytes.len, &whole);
        assert_true(nj_digest_equal(&entry.digest, &whole));
        assert_int_equal(store.n_items, cases[i].objects);
        if (nj_parts_each(&source, &entry, collect, &collected, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(collected.pieces, cases[i].pieces);
        assert_true(nj_span_equal(nj_buf_span(&collected.buf), contents.bytes));
        nj_buf_done(&collected.buf);
    }
}

static void a_failed_put_leaves_the_entry_alone(void **state)
{
    NJ_AUTO(contents_done) struct contents contents = make_contents(2 * NJ_OBJECT_PART_BYTES);

    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        NJ_AUTO(memory_objects_done) struct memory_objects store = {.fail_at = n};
        struct nj_object_sink sink = memory_objects_sink(&store);
        struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR, .size = 7};
        struct nj_error err = {0};

        assert_int_equal(nj_parts_put(&sink, contents.bytes, &entry, &err), -NJ_E_SYSTEM);
        assert_int_equal(entry.size, 7);
        assert_false(entry.has_parts);
    }
}

static void a_writer_that_fails_stops_the_reading(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(contents_done) struct contents contents = make_contents(3 * NJ_OBJECT_PART_BYTES);
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR};
    struct collected collected = {.fail_at = 2};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&collected.buf, 8u << 20);
    assert_int_equal(nj_parts_put(&sink, contents.bytes, &entry, &err), 0);
    assert_int_equal(nj_parts_each(&source, &entry, collect, &collected, &err), -NJ_E_SYSTEM);
    assert_int_equal(collected.pieces, 2);
    assert_string_equal(err.text, "no space here");
    nj_buf_done(&collected.buf);
}

/* Puts a PARTS object of the given parts and reads @entry through it. */
static int read_through(struct memory_objects *store, const struct nj_digest *parts, size_t n_parts,
                        struct nj_tree_entry *entry, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_object_sink sink = memory_objects_sink(store);
    struct nj_object_source source = memory_objects_source(store);
    struct collected collected = {0};
    int r;

    nj_buf_init(&buf, 1u << 20);
    assert_int_equal(nj_parts_encode(parts, n_parts, &buf, err), 0);
    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_PARTS, nj_buf_span(&buf), &entry->parts, err),
                     0);
    nj_buf_init(&collected.buf, 64u << 20);
    r = nj_parts_each(&source, entry, collect, &collected, err);
    nj_buf_done(&collected.buf);
    return r;
}

static void parts_that_do_not_make_up_the_file_are_refused(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(contents_done) struct contents contents = make_contents(2 * NJ_OBJECT_PART_BYTES + 5);
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR};
    struct nj_digest parts[3], other[4];
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_parts_put(&sink, contents.bytes, &entry, &err), 0);
    for (size_t i = 0; i < 3; i++) {
        struct nj_span part = {contents.bytes.data + i * NJ_OBJECT_PART_BYTES,
                               i < 2 ? NJ_OBJECT_PART_BYTES : 5};

        assert_int_equal(nj_object_put(&sink, NJ_OBJECT_BLOB, part, &parts[i], &err), 0);
    }
    assert_int_equal(read_through(&store, parts, 3, &entry, &err), 0);

    memcpy(other, (struct nj_digest[]){parts[1], parts[0], parts[2]}, 3 * sizeof(*other));
    assert_int_equal(read_through(&store, other, 3, &entry, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "make up another digest"));

    assert_int_equal(read_through(&store, parts, 2, &entry, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "hold 2097152 of its 2097157 bytes"));

    memcpy(other, (struct nj_digest[]){parts[0], parts[1], parts[2], parts[2]}, sizeof(other));
    assert_int_equal(read_through(&store, other, 4, &entry, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "part 4 of 4 ends behind the file's 2097157 bytes"));

    other[1] = (struct nj_digest){{0xaa}};
    assert_int_equal(read_through(&store, other, 4, &entry, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "part 2 of 4: blob "));
}

static void a_reader_takes_parts_wherever_they_were_cut(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(contents_done) struct contents contents = make_contents(NJ_OBJECT_PART_BYTES + 100);
    static const size_t cuts[] = {0, 7, 7, 300000, NJ_OBJECT_PART_BYTES + 100};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_tree_entry entry = {
        .type = NJ_FILE_REGULAR, .has_parts = true, .size = contents.bytes.len};
    struct nj_digest parts[4];
    struct nj_error err = {0};

    (void)state;
    nj_digest_bytes(contents.bytes.data, contents.bytes.len, &entry.digest);
    for (size_t i = 0; i < 4; i++) {
        struct nj_span part = {contents.bytes.data + cuts[i], cuts[i + 1] - cuts[i]};

        assert_int_equal(nj_object_put(&sink, NJ_OBJECT_BLOB, part, &parts[i], &err), 0);
    }
    if (read_through(&store, parts, 4, &entry, &err) < 0)
        fail_msg("%s", err.text);
}

static void a_file_of_another_size_is_refused(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_object_source source = memory_objects_source(&store);
    struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR};
    struct collected collected = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&collected.buf, 100);
    assert_int_equal(nj_parts_put(&sink, nj_span_text("four"), &entry, &err), 0);
    entry.size = 5;
    assert_int_equal(nj_parts_each(&source, &entry, collect, &collected, &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "the file has 4 bytes, its directory says 5");
    assert_int_equal(collected.pieces, 0);
}

static void too_many_parts_are_a_limit(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    const struct nj_digest *found;
    struct nj_packer packer;
    struct nj_digest part = {{0}};
    struct nj_error err = {0};
    size_t count;

    (void)state;
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_parts_encode(&part, NJ_PARTS_MAX + 1, &buf, &err), -NJ_E_LIMIT);
    nj_packer_init(&packer, &buf);
    nj_pack_map(&packer, 1);
    nj_pack_text(&packer, "p");
    nj_pack_array(&packer, NJ_PARTS_MAX + 1);
    for (int i = 0; i < NJ_PARTS_MAX + 1; i++)
        nj_pack_nil(&packer);
    assert_int_equal(nj_packer_end(&packer, &err), 0);
    assert_int_equal(nj_parts_decode(nj_buf_span(&buf), &arena, &found, &count, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "parts.p: 65537 parts, must be 1 to 65536"));
}

static void parts_are_written_as_the_golden_file_says(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_digest parts[2] = {{{1}}, {{2}}};
    const struct nj_digest *found;
    struct nj_error err = {0};
    size_t count;

    (void)state;
    nj_buf_init(&buf, 1024);
    assert_int_equal(nj_parts_encode(parts, 2, &buf, &err), 0);
    golden_check("object/v0/two.parts", nj_buf_span(&buf));
    assert_int_equal(nj_parts_decode(nj_buf_span(&buf), &arena, &found, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(found, parts, sizeof(parts));
}

#define DAMAGED(name, bytes, code, words)                                                          \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, code, words                                                \
    }

static void damaged_parts_are_refused_by_name(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        enum nj_error_code code;
        const char *words;
    } cases[] = {
        DAMAGED("parts-none", "\x81\xa1p\x90", NJ_E_CORRUPT, "parts.p: 0 parts"),
        DAMAGED("parts-missing", "\x80", NJ_E_CORRUPT, "parts.p: missing"),
        DAMAGED("parts-short-digest", "\x81\xa1p\x91\xc4\x01x", NJ_E_CORRUPT, "parts.p[0]"),
        DAMAGED("parts-newer-key",
                "\x82\xa1"
                "D\xc0\xa1p\x90",
                NJ_E_VERSION, "key \"D\" needs a newer build"),
        DAMAGED("parts-cut", "\x81\xa1p", NJ_E_CORRUPT, "parts: msgpack"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_span bytes = {(const uint8_t *)cases[i].bytes, cases[i].len};
        const struct nj_digest *found = NULL;
        struct nj_error err = {0};
        char file[128];
        size_t count;
        int r;

        (void)snprintf(file, sizeof(file), "object/damaged/%s", cases[i].name);
        golden_check(file, bytes);
        r = nj_parts_decode(bytes, &arena, &found, &count, &err);
        if (r != -(int)cases[i].code || !strstr(err.text, cases[i].words))
            fail_msg("%s: %d %s", cases[i].name, r, err.text);
        assert_null(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_of_every_length_read_back),
        cmocka_unit_test(a_failed_put_leaves_the_entry_alone),
        cmocka_unit_test(a_writer_that_fails_stops_the_reading),
        cmocka_unit_test(parts_that_do_not_make_up_the_file_are_refused),
        cmocka_unit_test(a_reader_takes_parts_wherever_they_were_cut),
        cmocka_unit_test(a_file_of_another_size_is_refused),
        cmocka_unit_test(too_many_parts_are_a_limit),
        cmocka_unit_test(parts_are_written_as_the_golden_file_says),
        cmocka_unit_test(damaged_parts_are_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
