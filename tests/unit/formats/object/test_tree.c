/*
 * test_tree.c - directories and their stamps: one encoding each, and every rule broken once
 */
#include "tests/lib/golden.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static const struct nj_xattr xattrs[] = {
    {TEXT("user.a"), TEXT("")},
    {TEXT("user.origin"), TEXT("step 4\0binary")},
};

/* One entry of each kind, names in byte order ("B" before "a", a prefix before what it begins). */
static const struct nj_tree_entry entries[] = {
    {.name = TEXT("B"), .type = NJ_FILE_FIFO, .mode = 0600},
    {.name = TEXT("a"),
     .type = NJ_FILE_REGULAR,
     .mode = 0644,
     .size = 9,
     .digest = {{1, 2, 3}},
     .xattrs = xattrs,
     .n_xattrs = 2},
    {.name = TEXT("a.sock"), .type = NJ_FILE_SOCKET, .mode = 01755},
    {.name = TEXT("again"), .type = NJ_FILE_HARDLINK, .target = TEXT("workspace/a")},
    {.name = TEXT("dir"),
     .type = NJ_FILE_DIRECTORY,
     .mode = 02770,
     .digest = {{4}},
     .xattrs = xattrs,
     .n_xattrs = 1},
    {.name = TEXT("large"),
     .type = NJ_FILE_REGULAR,
     .mode = 04755,
     .size = NJ_OBJECT_PART_BYTES + 1,
     .digest = {{5}},
     .has_parts = true,
     .parts = {{6}}},
    {.name = TEXT("link"), .type = NJ_FILE_SYMLINK, .target = TEXT("../../etc/passwd")},
    {.name = TEXT("\xff\n"), .type = NJ_FILE_REGULAR, .digest = {{7}}},
};
static const struct nj_tree tree = {entries, sizeof(entries) / sizeof(entries[0])};

static const struct nj_stamp stamp_entries[] = {
    {.name = TEXT("link"), .mtime_ns = 1790000000123456789},
    {.name = TEXT("a"), .mtime_ns = -1},
    {.name = TEXT("dir"), .mtime_ns = 0, .has_stamps = true, .stamps = {{8}}},
    {.name = TEXT("again"), .mtime_ns = INT64_MIN},
};
static const struct nj_stamps stamps = {
    .mtime_ns = 1790000000000000000, .entries = stamp_entries, .n_entries = 4};

static const struct nj_stamp known_entries[] = {
    {.name = TEXT("a"), .mtime_ns = 5, .ctime_ns = 1790000000123456789, .ino = 3},
    {.name = TEXT("dir"),
     .mtime_ns = 0,
     .has_stamps = true,
     .stamps = {{8}},
     .ctime_ns = -1,
     .ino = 2},
};
static const struct nj_stamps known_stamps = {.mtime_ns = 7,
                                              .entries = known_entries,
                                              .n_entries = 2,
                                              .has_ctime = true,
                                              .ctime_ns = 1790000000123456790,
                                              .next_ino = 70000};

static void encode_tree(const struct nj_tree *from, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, NJ_OBJECT_MAX_BYTES);
    if (nj_tree_encode(from, out, &err) < 0)
        fail_msg("%s", err.text);
}

static void assert_entries_equal(const struct nj_tree_entry *a, const struct nj_tree_entry *b)
{
    assert_true(nj_span_equal(a->name, b->name));
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->size, b->size);
    assert_true(nj_digest_equal(&a->digest, &b->digest));
    assert_int_equal(a->has_parts, b->has_parts);
    assert_true(nj_digest_equal(&a->parts, &b->parts));
    assert_true(nj_span_equal(a->target, b->target));
    assert_int_equal(a->n_xattrs, b->n_xattrs);
    for (size_t i = 0; i < a->n_xattrs; i++) {
        assert_true(nj_span_equal(a->xattrs[i].name, b->xattrs[i].name));
        assert_true(nj_span_equal(a->xattrs[i].value, b->xattrs[i].value));
    }
}

static void a_directory_reads_back_as_it_was_written(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_error err = {0};
    struct nj_tree found;

    (void)state;
    encode_tree(&tree, &buf);
    golden_check("object/v0/every-type.tree", nj_buf_span(&buf));
    if (nj_tree_decode(nj_buf_span(&buf), &arena, &found, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(found.n_entries, tree.n_entries);
    for (size_t i = 0; i < tree.n_entries; i++)
        assert_entries_equal(&found.entries[i], &tree.entries[i]);
}

static void the_document_shows_the_real_bytes(void **state)
{
    static const struct nj_tree_entry one[] = {
        {.name = TEXT("latest"), .type = NJ_FILE_SYMLINK, .target = TEXT("a")},
    };
    static const struct nj_stamp one_stamp[] = {{.name = TEXT("latest"), .mtime_ns = -1}};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf stamped = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf hex = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf hex_stamped = {0};
    struct nj_error err = {0};

    (void)state;
    encode_tree(&(struct nj_tree){one, 1}, &buf);
    hex_lines(nj_buf_span(&buf), &hex);
    document_shows("formats/object/FORMAT.md", (const char *)hex.data);
    nj_buf_init(&stamped, 1024);
    assert_int_equal(
        nj_stamps_encode(&(struct nj_stamps){.entries = one_stamp, .n_entries = 1}, &stamped, &err),
        0);
    hex_lines(nj_buf_span(&stamped), &hex_stamped);
    document_shows("formats/object/FORMAT.md", (const char *)hex_stamped.data);
}

static void fields_that_a_type_lacks_are_not_written(void **state)
{
    struct nj_tree_entry bare = {.name = TEXT("s"), .type = NJ_FILE_SYMLINK, .target = TEXT("t")};
    struct nj_tree_entry full = bare;
    NJ_AUTO(nj_buf_done) struct nj_buf a = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf b = {0};

    (void)state;
    full.mode = 0777; /* what lstat says of every symlink */
    full.size = 1;
    full.xattrs = xattrs;
    full.n_xattrs = 2;
    encode_tree(&(struct nj_tree){&bare, 1}, &a);
    encode_tree(&(struct nj_tree){&full, 1}, &b);
    assert_true(nj_span_equal(nj_buf_span(&a), nj_buf_span(&b)));
}

static void entries_are_found_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < tree.n_entries; i++)
        assert_ptr_equal(nj_tree_find(&tree, entries[i].name), &entries[i]);
    assert_null(nj_tree_find(&tree, nj_span_text("")));
    assert_null(nj_tree_find(&tree, nj_span_text("A")));
    assert_null(nj_tree_find(&tree, nj_span_text("a.soc")));
    assert_null(nj_tree_find(&tree, nj_span_text("zz")));
    assert_null(nj_tree_find(&(struct nj_tree){0}, nj_span_text("a")));
}

static void names_and_paths_have_rules(void **state)
{
    char name[300];
    char path[5000];

    (void)state;
    memset(name, 'n', sizeof(name));
    assert_true(nj_tree_name_valid((struct nj_span){(uint8_t *)name, 255}));
    assert_false(nj_tree_name_valid((struct nj_span){(uint8_t *)name, 256}));
    assert_true(nj_tree_name_valid(nj_span_text("...")));
    assert_true(nj_tree_name_valid(nj_span_text(" \x01\xfe")));
    assert_false(nj_tree_name_valid(nj_span_text("")));
    assert_false(nj_tree_name_valid(nj_span_text(".")));
    assert_false(nj_tree_name_valid(nj_span_text("..")));
    assert_false(nj_tree_name_valid(nj_span_text("a/b")));
    assert_false(nj_tree_name_valid((struct nj_span)TEXT("a\0b")));

    assert_true(nj_tree_path_valid(nj_span_text("a")));
    assert_true(nj_tree_path_valid(nj_span_text("a/b/...c")));
    assert_false(nj_tree_path_valid(nj_span_text("")));
    assert_false(nj_tree_path_valid(nj_span_text("/a")));
    assert_false(nj_tree_path_valid(nj_span_text("a/")));
    assert_false(nj_tree_path_valid(nj_span_text("a//b")));
    assert_false(nj_tree_path_valid(nj_span_text("a/../b")));
    assert_false(nj_tree_path_valid(nj_span_text("./a")));
    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = i % 2 ? '/' : 'p';
    assert_true(nj_tree_path_valid((struct nj_span){(uint8_t *)path, 4095}));
    assert_false(nj_tree_path_valid((struct nj_span){(uint8_t *)path, 4097}));
}

static void a_directory_with_too_many_entries_is_a_limit(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    const struct nj_tree large = {entries, NJ_TREE_ENTRIES_MAX + 1};
    const struct nj_stamps large_stamps = {.entries = stamp_entries,
                                           .n_entries = NJ_TREE_ENTRIES_MAX + 1};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_tree_encode(&large, &buf, &err), -NJ_E_LIMIT);
    assert_int_equal(nj_stamps_encode(&large_stamps, &buf, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "200001 entries"));
}

static void claimed_counts_are_checked_before_memory_is_asked_for(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_packer packer;
    struct nj_stamps found_stamps;
    struct nj_tree found;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    nj_packer_init(&packer, &buf);
    nj_pack_map(&packer, 2);
    nj_pack_text(&packer, "e");
    nj_pack_array(&packer, NJ_TREE_ENTRIES_MAX + 1);
    for (size_t i = 0; i < NJ_TREE_ENTRIES_MAX + 1; i++)
        nj_pack_nil(&packer);
    nj_pack_put_uint(&packer, "m", 0);
    assert_int_equal(nj_packer_end(&packer, &err), 0);
    assert_int_equal(nj_tree_decode(nj_buf_span(&buf), &arena, &found, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "tree.e: 200001 entries"));
    assert_int_equal(nj_stamps_decode(nj_buf_span(&buf), &arena, &found_stamps, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "stamps.e: 200001 entries"));
    assert_null(arena.blocks);
}

static void an_object_above_the_cap_is_not_decoded(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    nj_auto_free uint8_t *bytes = calloc(1, NJ_OBJECT_MAX_BYTES + 1);
    struct nj_error err = {0};
    struct nj_tree found;

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(
        nj_tree_decode((struct nj_span){bytes, NJ_OBJECT_MAX_BYTES + 1}, &arena, &found, &err),
        -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "16777217 bytes"));
}

/* stamps_are_golden - and read back; @found borrows from @buf */
static void stamps_are_golden(const struct nj_stamps *from, const char *golden, struct nj_buf *buf,
                              struct nj_arena *arena, struct nj_stamps *found)
{
    struct nj_error err = {0};

    nj_buf_init(buf, 1024);
    assert_int_equal(nj_stamps_encode(from, buf, &err), 0);
    golden_check(golden, nj_buf_span(buf));
    if (nj_stamps_decode(nj_buf_span(buf), arena, found, &err) < 0)
        fail_msg("%s", err.text);
}

static void stamps_read_back_in_their_order(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_stamps found;

    (void)state;
    stamps_are_golden(&stamps, "object/v0/four.stamps", &buf, &arena, &found);
    assert_int_equal(found.mtime_ns, stamps.mtime_ns);
    assert_int_equal(found.n_entries, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(nj_span_equal(found.entries[i].name, stamp_entries[i].name));
        assert_true(found.entries[i].mtime_ns == stamp_entries[i].mtime_ns);
        assert_int_equal(found.entries[i].has_stamps, stamp_entries[i].has_stamps);
        assert_true(nj_digest_equal(&found.entries[i].stamps, &stamp_entries[i].stamps));
    }
}

static void stamps_of_a_reproducible_session_tell_ctimes_and_inodes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_stamps found;

    (void)state;
    stamps_are_golden(&known_stamps, "object/v0/inodes.stamps", &buf, &arena, &found);
    assert_true(found.has_ctime);
    assert_true(found.ctime_ns == known_stamps.ctime_ns);
    assert_true(found.next_ino == known_stamps.next_ino);
    assert_int_equal(found.n_entries, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(found.entries[i].ctime_ns == known_entries[i].ctime_ns);
        assert_true(found.entries[i].ino == known_entries[i].ino);
        assert_int_equal(found.entries[i].has_stamps, known_entries[i].has_stamps);
    }
}

static void the_empty_directory_is_two_objects(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects store = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_object_sink sink = memory_objects_sink(&store);
    struct nj_workspace_ref ref;
    const struct memory_object *object;
    struct nj_stamps empty_stamps;
    struct nj_tree empty;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_tree_empty(&sink, &ref, &err), 0);
    assert_int_equal(store.n_items, 2);
    object = memory_objects_find(&store, &ref.tree);
    assert_int_equal(object->kind, NJ_OBJECT_TREE);
    golden_check("object/v0/empty.tree", (struct nj_span){object->data, object->len});
    assert_int_equal(
        nj_tree_decode((struct nj_span){object->data, object->len}, &arena, &empty, &err), 0);
    assert_int_equal(empty.n_entries, 0);
    object = memory_objects_find(&store, &ref.stamps);
    assert_int_equal(object->kind, NJ_OBJECT_STAMPS);
    golden_check("object/v0/empty.stamps", (struct nj_span){object->data, object->len});
    assert_int_equal(
        nj_stamps_decode((struct nj_span){object->data, object->len}, &arena, &empty_stamps, &err),
        0);
    assert_int_equal(empty_stamps.n_entries, 0);
    assert_int_equal(empty_stamps.mtime_ns, 0);
}

/* ---- every rule broken once; byte strings, so that the encoder's own rules cannot help ---- */

#define D                                                                                          \
    "\xc4\x20"                                                                                     \
    "0123456789abcdef0123456789abcdef"
#define SYMLINK(name_and_target) "\x83\xa1l" name_and_target "\xa1t\x03"
#define XATTRED(value)                                                                             \
    "\x86\xa1"                                                                                     \
    "d" D "\xa1m\x00\xa1n\xc4\x01"                                                                 \
    "a\xa1s\x05\xa1t\x01\xa1x" value
#define DAMAGED(name, bytes, code, words)                                                          \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, code, words                                                \
    }

struct damage {
    const char *name;
    const char *bytes;
    size_t len;
    enum nj_error_code code;
    const char *words;
};

static const struct damage damaged_trees[] = {
    DAMAGED("tree-cut",
            "\x81\xa1"
            "e\x91\x85\xa1"
            "d\xc4\x20"
            "0123",
            NJ_E_CORRUPT, "tree: msgpack"),
    DAMAGED("tree-bytes-behind",
            "\x81\xa1"
            "e\x90\xc0",
            NJ_E_CORRUPT, "behind the value"),
    DAMAGED("tree-is-an-integer", "\x07", NJ_E_CORRUPT, "tree: not a map"),
    DAMAGED("tree-without-entries", "\x80", NJ_E_CORRUPT, "tree.e: missing"),
    DAMAGED("tree-leaf-of-leaves",
            "\x81\xa1"
            "C\x90",
            NJ_E_VERSION, "tree: key \"C\" needs a newer build"),
    DAMAGED("tree-entry-is-nil",
            "\x81\xa1"
            "e\x91\xc0",
            NJ_E_CORRUPT, "tree.e[0]: not a map"),
    DAMAGED("tree-entry-newer-key",
            "\x81\xa1"
            "e\x91\x83\xa2Kz\xc0\xa1m\x00\xa1t\x05",
            NJ_E_VERSION, "tree.e[0]: key \"Kz\" needs a newer build"),
    DAMAGED("tree-entry-without-type",
            "\x81\xa1"
            "e\x91\x81\xa1n\xc4\x01"
            "a",
            NJ_E_CORRUPT, "tree.e[0].t: missing"),
    DAMAGED("tree-type-0",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x00",
            NJ_E_CORRUPT, "type 0 is none"),
    DAMAGED("tree-type-7-device",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x07",
            NJ_E_CORRUPT, "type 7 is none"),
    DAMAGED("tree-key-missing",
            "\x81\xa1"
            "e\x91\x82\xa1n\xc4\x01"
            "a\xa1t\x05",
            NJ_E_CORRUPT, "key \"m\" is missing"),
    DAMAGED("tree-key-of-another-type",
            "\x81\xa1"
            "e\x91\x84\xa1m\x00\xa1n\xc4\x01"
            "a\xa1s\x00\xa1t\x05",
            NJ_E_CORRUPT, "type 5 has no key \"s\""),
    DAMAGED("tree-mode-above-7777",
            "\x81\xa1"
            "e\x91\x83\xa1m\xcd\x10\x00\xa1n\xc4\x01"
            "a\xa1t\x05",
            NJ_E_CORRUPT, "tree.e[0].m"),
    DAMAGED("tree-name-is-text",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xa1"
            "a\xa1t\x05",
            NJ_E_CORRUPT, "tree.e[0].n"),
    DAMAGED("tree-name-empty",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xc4\x00\xa1t\x05",
            NJ_E_CORRUPT, "a name is 1 to 255 bytes"),
    DAMAGED("tree-name-dot-dot",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xc4\x02..\xa1t\x05",
            NJ_E_CORRUPT, "a name is 1 to 255 bytes"),
    DAMAGED("tree-name-slash",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xc4\x03"
            "a/b\xa1t\x05",
            NJ_E_CORRUPT, "a name is 1 to 255 bytes"),
    DAMAGED("tree-name-nul",
            "\x81\xa1"
            "e\x91\x83\xa1m\x00\xa1n\xc4\x03"
            "a\x00"
            "b\xa1t\x05",
            NJ_E_CORRUPT, "a name is 1 to 255 bytes"),
    DAMAGED("tree-names-unsorted",
            "\x81\xa1"
            "e\x92\x83\xa1m\x00\xa1n\xc4\x01"
            "b\xa1t\x05\x83\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x05",
            NJ_E_CORRUPT, "tree.e[1]: names are not in ascending order"),
    DAMAGED("tree-name-twice",
            "\x81\xa1"
            "e\x92\x83\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x05\x83\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x05",
            NJ_E_CORRUPT, "tree.e[1]: names are not in ascending order"),
    DAMAGED("tree-digest-short",
            "\x81\xa1"
            "e\x91\x84\xa1"
            "d\xc4\x01x\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x02",
            NJ_E_CORRUPT, "tree.e[0].d"),
    DAMAGED("tree-long-file-without-parts",
            "\x81\xa1"
            "e\x91\x85\xa1"
            "d" D "\xa1m\x00\xa1n\xc4\x01"
            "a\xa1s\xce\x00\x10\x00\x01\xa1t\x01",
            NJ_E_CORRUPT, "a file has parts exactly when"),
    DAMAGED("tree-short-file-with-parts",
            "\x81\xa1"
            "e\x91\x86\xa1"
            "d" D "\xa1m\x00\xa1n\xc4\x01"
            "a\xa1p" D "\xa1s\x05\xa1t\x01",
            NJ_E_CORRUPT, "a file has parts exactly when"),
    DAMAGED("tree-parts-not-a-digest",
            "\x81\xa1"
            "e\x91\x86\xa1"
            "d" D "\xa1m\x00\xa1n\xc4\x01"
            "a\xa1p\xc0\xa1s\x05\xa1t\x01",
            NJ_E_CORRUPT, "tree.e[0].p"),
    DAMAGED("tree-size-negative",
            "\x81\xa1"
            "e\x91\x85\xa1"
            "d" D "\xa1m\x00\xa1n\xc4\x01"
            "a\xa1s\xff\xa1t\x01",
            NJ_E_CORRUPT, "tree.e[0].s"),
    DAMAGED("tree-symlink-empty",
            "\x81\xa1"
            "e\x91" SYMLINK("\xc4\x00\xa1n\xc4\x01"
                            "a"),
            NJ_E_CORRUPT, "a symlink's target"),
    DAMAGED("tree-symlink-nul",
            "\x81\xa1"
            "e\x91" SYMLINK("\xc4\x02"
                            "a\x00\xa1n\xc4\x01"
                            "a"),
            NJ_E_CORRUPT, "a symlink's target"),
    DAMAGED("tree-symlink-not-bytes",
            "\x81\xa1"
            "e\x91" SYMLINK("\x05\xa1n\xc4\x01"
                            "a"),
            NJ_E_CORRUPT, "tree.e[0].l"),
    DAMAGED("tree-hardlink-absolute",
            "\x81\xa1"
            "e\x91\x83\xa1l\xc4\x04/etc\xa1n\xc4\x01"
            "a\xa1t\x04",
            NJ_E_CORRUPT, "a hard link's target"),
    DAMAGED("tree-hardlink-dot-dot",
            "\x81\xa1"
            "e\x91\x83\xa1l\xc4\x04"
            "a/..\xa1n\xc4\x01"
            "a\xa1t\x04",
            NJ_E_CORRUPT, "a hard link's target"),
    DAMAGED("tree-xattrs-none",
            "\x81\xa1"
            "e\x91" XATTRED("\x90"),
            NJ_E_CORRUPT, "0 extended attributes"),
    DAMAGED("tree-xattrs-not-an-array",
            "\x81\xa1"
            "e\x91" XATTRED("\x05"),
            NJ_E_CORRUPT, "tree.e[0].x: not an array"),
    DAMAGED("tree-xattr-not-an-array",
            "\x81\xa1"
            "e\x91" XATTRED("\x91\x05"),
            NJ_E_CORRUPT, "tree.e[0].x[0]: not an array"),
    DAMAGED("tree-xattr-without-value",
            "\x81\xa1"
            "e\x91" XATTRED("\x91\x91\xc4\x06user.a"),
            NJ_E_CORRUPT, "1 items, must be name and value"),
    DAMAGED("tree-xattr-name-is-nil",
            "\x81\xa1"
            "e\x91" XATTRED("\x91\x92\xc0\xc4\x00"),
            NJ_E_CORRUPT, "tree.e[0].x[0][0]"),
    DAMAGED("tree-xattr-value-is-nil",
            "\x81\xa1"
            "e\x91" XATTRED("\x91\x92\xc4\x06user.a\xc0"),
            NJ_E_CORRUPT, "tree.e[0].x[0][1]"),
    DAMAGED("tree-xattr-security",
            "\x81\xa1"
            "e\x91" XATTRED("\x91\x92\xc4\x13security.capability\xc4\x00"),
            NJ_E_CORRUPT, "an extended attribute's name is \"user.\""),
    DAMAGED("tree-xattr-bare-user",
            "\x81\xa1"
            "e\x91" XATTRED("\x91\x92\xc4\x05user.\xc4\x00"),
            NJ_E_CORRUPT, "an extended attribute's name is \"user.\""),
    DAMAGED("tree-xattrs-unsorted",
            "\x81\xa1"
            "e\x91" XATTRED("\x92\x92\xc4\x06user.b\xc4\x00\x92\xc4\x06user.a\xc4\x00"),
            NJ_E_CORRUPT, "extended attributes are not in ascending order"),
    DAMAGED("tree-xattr-of-a-fifo",
            "\x81\xa1"
            "e\x91\x84\xa1m\x00\xa1n\xc4\x01"
            "a\xa1t\x05\xa1x\x91\x92\xc4\x06user.a\xc4\x00",
            NJ_E_CORRUPT, "type 5 has no key \"x\""),
    DAMAGED("tree-keys-unsorted",
            "\x81\xa1"
            "e\x91\x83\xa1n\xc4\x01"
            "a\xa1m\x00\xa1t\x05",
            NJ_E_CORRUPT, "tree: msgpack"),
    DAMAGED("tree-integer-too-long",
            "\x81\xa1"
            "e\x91\x83\xa1m\xcd\x00\x01\xa1n\xc4\x01"
            "a\xa1t\x05",
            NJ_E_CORRUPT, "tree: msgpack"),
};

static const struct damage damaged_stamps[] = {
    DAMAGED("stamps-without-entries", "\x81\xa1m\x00", NJ_E_CORRUPT, "stamps.e: missing"),
    DAMAGED("stamps-without-mtime",
            "\x81\xa1"
            "e\x90",
            NJ_E_CORRUPT, "stamps.m: missing"),
    DAMAGED("stamps-is-nil", "\xc0", NJ_E_CORRUPT, "stamps: not a map"),
    DAMAGED("stamps-newer-key",
            "\x83\xa1X\x00\xa1"
            "e\x90\xa1m\x00",
            NJ_E_VERSION, "key \"X\" needs a newer build"),
    DAMAGED("stamps-mtime-above-63-bits",
            "\x82\xa1"
            "e\x90\xa1m\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            NJ_E_CORRUPT, "stamps.m"),
    DAMAGED("stamps-entry-is-a-map",
            "\x82\xa1"
            "e\x91\x80\xa1m\x00",
            NJ_E_CORRUPT, "stamps.e[0]: not an array"),
    DAMAGED("stamps-entry-of-two",
            "\x82\xa1"
            "e\x91\x92\xc4\x01"
            "a\x00\xa1m\x00",
            NJ_E_CORRUPT, "2 items, must be name, mtime"),
    DAMAGED("stamps-entry-of-four",
            "\x82\xa1"
            "e\x91\x94\xc4\x01"
            "a\x00\xc0\x00\xa1m\x00",
            NJ_E_CORRUPT, "stamps.e[0]: 4 items"),
    DAMAGED("stamps-inode-0",
            "\x82\xa1"
            "e\x91\x95\xc4\x01"
            "a\x00\xc0\x00\x00\xa1m\x00",
            NJ_E_CORRUPT, "the inode number 0"),
    DAMAGED("stamps-next-inode-0",
            "\x83\xa1"
            "e\x90\xa1m\x00\xa1n\x00",
            NJ_E_CORRUPT, "the inode number 0"),
    DAMAGED("stamps-name-is-text",
            "\x82\xa1"
            "e\x91\x93\xa1"
            "a\x00\xc0\xa1m\x00",
            NJ_E_CORRUPT, "stamps.e[0][0]"),
    DAMAGED("stamps-name-slash",
            "\x82\xa1"
            "e\x91\x93\xc4\x03"
            "a/b\x00\xc0\xa1m\x00",
            NJ_E_CORRUPT, "stamps.e[0][0]: a name is"),
    DAMAGED("stamps-entry-mtime-is-nil",
            "\x82\xa1"
            "e\x91\x93\xc4\x01"
            "a\xc0\xc0\xa1m\x00",
            NJ_E_CORRUPT, "stamps.e[0][1]"),
    DAMAGED("stamps-digest-is-false",
            "\x82\xa1"
            "e\x91\x93\xc4\x01"
            "a\x00\xc2\xa1m\x00",
            NJ_E_CORRUPT, "stamps.e[0][2]"),
    DAMAGED("stamps-name-twice",
            "\x82\xa1"
            "e\x93\x93\xc4\x01"
            "a\x00\xc0\x93\xc4\x02zz\x00\xc0\x93\xc4\x01"
            "a\x05\xc0\xa1m\x00",
            NJ_E_CORRUPT, "a name stands here twice"),
};

static void check_damage(const struct damage *damage, bool is_tree)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_span bytes = {(const uint8_t *)damage->bytes, damage->len};
    struct nj_stamps found_stamps = {.n_entries = 77};
    struct nj_tree found = {.n_entries = 77};
    struct nj_error err = {0};
    char file[128];
    int r;

    (void)snprintf(file, sizeof(file), "object/damaged/%s", damage->name);
    golden_check(file, bytes);
    r = is_tree ? nj_tree_decode(bytes, &arena, &found, &err)
                : nj_stamps_decode(bytes, &arena, &found_stamps, &err);
    if (r != -(int)damage->code || !strstr(err.text, damage->words))
        fail_msg("%s: %d %s", damage->name, r, err.text);
    assert_int_equal(found.n_entries, 77); /* outputs are untouched on failure */
    assert_int_equal(found_stamps.n_entries, 77);
}

static void damaged_directories_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(damaged_trees) / sizeof(damaged_trees[0]); i++)
        check_damage(&damaged_trees[i], true);
}

static void damaged_stamps_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(damaged_stamps) / sizeof(damaged_stamps[0]); i++)
        check_damage(&damaged_stamps[i], false);
}

static void a_long_xattr_value_is_refused(void **state)
{
    static uint8_t value[NJ_TREE_XATTR_VALUE_MAX_BYTES + 1];
    struct nj_xattr xattr = {TEXT("user.v"), {value, sizeof(value) - 1}};
    struct nj_tree_entry entry = {
        .name = TEXT("a"), .type = NJ_FILE_REGULAR, .xattrs = &xattr, .n_xattrs = 1};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf longer = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_error err = {0};
    struct nj_tree found;

    (void)state;
    encode_tree(&(struct nj_tree){&entry, 1}, &buf);
    assert_int_equal(nj_tree_decode(nj_buf_span(&buf), &arena, &found, &err), 0);
    /* One byte more: 65536 needs a bin 32 head already, so only its last byte and the payload grow.
     */
    nj_buf_init(&longer, NJ_OBJECT_MAX_BYTES);
    assert_int_equal(nj_buf_append(&longer, buf.data, buf.len, &err), 0);
    assert_int_equal(nj_buf_append(&longer, "x", 1, &err), 0);
    longer.data[longer.len - sizeof(value) - 1] = 1;
    assert_int_equal(nj_tree_decode(nj_buf_span(&longer), &arena, &found, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "value is longer than 65536 bytes"));
}

static void too_many_xattrs_are_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_packer packer;
    struct nj_tree found;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES);
    nj_packer_init(&packer, &buf);
    nj_pack_raw(&packer, (struct nj_span)TEXT("\x81\xa1"
                                              "e\x91" XATTRED("")));
    nj_pack_array(&packer, NJ_TREE_XATTRS_MAX + 1);
    for (int i = 0; i < NJ_TREE_XATTRS_MAX + 1; i++)
        nj_pack_nil(&packer);
    assert_int_equal(nj_packer_end(&packer, &err), 0);
    assert_int_equal(nj_tree_decode(nj_buf_span(&buf), &arena, &found, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "65 extended attributes, must be 1 to 64"));
}

static void lower_case_keys_from_later_are_ignored(void **state)
{
    static const char bytes[] = "\x82\xa1"
                                "e\x91\x86\xa1"
                                "d" D "\xa1m\x00\xa1n\xc4\x01"
                                "a\xa1q\xc0"
                                "\xa1s\x05\xa1t\x01\xa1z\x91\xc2";
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tree found;
    struct nj_error err = {0};

    (void)state;
    if (nj_tree_decode((struct nj_span){(const uint8_t *)bytes, sizeof(bytes) - 1}, &arena, &found,
                       &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(found.entries[0].size, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_reads_back_as_it_was_written),
        cmocka_unit_test(the_document_shows_the_real_bytes),
        cmocka_unit_test(fields_that_a_type_lacks_are_not_written),
        cmocka_unit_test(entries_are_found_by_name),
        cmocka_unit_test(names_and_paths_have_rules),
        cmocka_unit_test(a_directory_with_too_many_entries_is_a_limit),
        cmocka_unit_test(claimed_counts_are_checked_before_memory_is_asked_for),
        cmocka_unit_test(an_object_above_the_cap_is_not_decoded),
        cmocka_unit_test(stamps_read_back_in_their_order),
        cmocka_unit_test(stamps_of_a_reproducible_session_tell_ctimes_and_inodes),
        cmocka_unit_test(the_empty_directory_is_two_objects),
        cmocka_unit_test(damaged_directories_are_refused_by_name),
        cmocka_unit_test(damaged_stamps_are_refused_by_name),
        cmocka_unit_test(a_long_xattr_value_is_refused),
        cmocka_unit_test(too_many_xattrs_are_refused),
        cmocka_unit_test(lower_case_keys_from_later_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
