/*
 * test_divergence.c - every difference is found, named where it begins, and said on one line
 */
#include "tests/lib/record_kit.h"

#include "replay/divergence.h"

#include "formats/base/banned.h"

static struct nj_buf what;
static struct nj_error err;

static int set_up(void **state)
{
    (void)state;
    nj_buf_done(&what);
    nj_buf_init(&what, 1u << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nj_buf_done(&what);
    return 0;
}

static void says(int outcome, const char *sentence)
{
    assert_int_equal(outcome, 1);
    assert_string_equal((const char *)what.data, sentence);
    nj_buf_clear(&what);
}

static struct nj_span text(const char *bytes)
{
    return nj_span_text(bytes);
}

/* A stream of which head and tail are kept. */
static struct nj_stream cut(const char *bytes, size_t head, size_t tail)
{
    struct nj_stream stream = record_kit_stream(bytes);

    stream.head.len = head;
    stream.tail = (struct nj_span){(const uint8_t *)bytes + strlen(bytes) - tail, tail};
    return stream;
}

/* ---- bytes and streams ---- */

static void equal_bytes_say_nothing(void **state)
{
    (void)state;
    assert_int_equal(nj_compare_bytes("it", text("same"), text("same"), &what, &err), 0);
    assert_int_equal(nj_compare_bytes("it", text(""), text(""), &what, &err), 0);
    assert_int_equal(what.len, 0);
}

static void the_first_byte_that_differs_is_named_with_both_sides(void **state)
{
    (void)state;
    says(nj_compare_bytes("standard output", text("said-one\n"), text("said-0ne\n"), &what, &err),
         "standard output differs at byte 6: recorded \"said-one\\n\", now \"said-0ne\\n\"");
}

static void a_long_text_is_shown_around_the_place(void **state)
{
    (void)state;
    says(nj_compare_bytes(
             "it", text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.."),
             text("0123456789abcdefghijXlmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.."), &what, &err),
         "it differs at byte 21: recorded "
         "...\"89abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST\"..., "
         "now ...\"89abcdefghijXlmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST\"...");
}

static void one_side_may_end_before_the_other(void **state)
{
    (void)state;
    says(nj_compare_bytes("it", text("one"), text("one two"), &what, &err),
         "it differs at byte 4: the recorded one ends there, the one now goes on with \"one two\"");
    says(nj_compare_bytes("it", text("one"), text(""), &what, &err),
         "it differs at byte 1: the one now ends there, the recorded one goes on with \"one\"");
}

static void what_is_shown_cannot_drive_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(nj_compare_bytes("it", text("\033[2J"), text("\033[3J"), &what, &err), 1);
    assert_null(memchr(what.data, '\033', what.len));
}

static void a_character_is_not_cut_in_the_middle(void **state)
{
    char a[80], b[80];

    (void)state;
    for (size_t i = 0; i < 78; i += 2)
        memcpy(a + i, "\xc3\xa9", 2);
    a[78] = a[79] = '\0';
    memcpy(b, a, sizeof(b));
    b[30] = 'x'; /* the byte before what is shown is half of one */
    b[31] = 'y';
    assert_int_equal(nj_compare_bytes("it", text(a), text(b), &what, &err), 1);
    assert_null(strstr((const char *)what.data, "\\xa9"));
    assert_null(strstr((const char *)what.data, "\\xc3"));
}

static void streams_differ_in_head_tail_length_or_only_by_digest(void **state)
{
    struct nj_stream a = cut("HEADxxxxxxxxTAIL", 4, 4);
    struct nj_stream b = a;

    (void)state;
    assert_int_equal(nj_compare_stream("out", &a, &b, &what, &err), 0);
    b = cut("HEAdxxxxxxxxTAIL", 4, 4);
    says(nj_compare_stream("out", &a, &b, &what, &err),
         "out differs at byte 4: recorded \"HEAD\", now \"HEAd\"");
    b = cut("HEADxxxxxxxxTaIL", 4, 4);
    says(nj_compare_stream("out", &a, &b, &what, &err),
         "out differs at byte 14: recorded \"TAIL\", now \"TaIL\"");
    b = cut("HEADxxxxyxxxTAIL", 4, 4);
    says(nj_compare_stream("out", &a, &b, &what, &err),
         "out differs somewhere between byte 5 and byte 12, which the record keeps by digest only");
    b = cut("HEADxxxxTAIL", 4, 4);
    says(nj_compare_stream("out", &a, &b, &what, &err),
         "out differs in length: recorded 16 bytes, now 12");
}

static void a_whole_stream_beside_a_longer_one_ends_where_it_ends(void **state)
{
    struct nj_stream a = record_kit_stream("HEAD");
    struct nj_stream b = cut("HEADxxxxTAIL", 6, 4);

    (void)state;
    assert_int_equal(nj_compare_stream("out", &a, &b, &what, &err), 1);
    assert_non_null(
        strstr((const char *)what.data, "differs at byte 5: the recorded one ends there"));
}

/* A head that was changed while length and digest were not: the digest alone would call it equal.
 */
static void a_head_that_belies_its_digest_is_found(void **state)
{
    struct nj_stream a = record_kit_stream("said-one");
    struct nj_stream b = a;

    (void)state;
    a.head = text("said-0ne");
    assert_int_equal(nj_compare_stream("out", &a, &b, &what, &err), 1);
    nj_buf_clear(&what);
    a = b;
    a.digest.bytes[0] ^= 1;
    assert_int_equal(nj_compare_stream("out", &a, &b, &what, &err), 1);
}

/* ---- exits ---- */

static void exits_differ_by_kind_status_limit_and_reason(void **state)
{
    struct nj_call_outcome a = {.exit = NJ_EXIT_EXITED, .status = 3};
    struct nj_call_outcome b = a;

    (void)state;
    assert_int_equal(nj_compare_exit(&a, &b, &what, &err), 0);
    b.status = 0;
    says(nj_compare_exit(&a, &b, &what, &err),
         "the exit differs: recorded exit status 3, now exit status 0");
    b = (struct nj_call_outcome){
        .exit = NJ_EXIT_SIGNALLED, .status = 9, .limit = NJ_LIMIT_TIMEOUT, .limit_value = 60000};
    says(nj_compare_exit(&a, &b, &what, &err),
         "the exit differs: recorded exit status 3, now killed by signal 9 (KILL), at its limit "
         "timeout_seconds of 60000 ms");
    a = (struct nj_call_outcome){.exit = NJ_EXIT_REFUSED, .text = text("no such\ntool")};
    says(nj_compare_exit(&a, &(struct nj_call_outcome){.exit = NJ_EXIT_REFUSED, .text = text("x")},
                         &what, &err),
         "the exit differs: recorded refused: no such\\ntool, now refused: x");
}

/* ---- workspaces ---- */

struct pair {
    struct record_kit kit;
    struct nj_object_source source;
};

static void compare(struct pair *pair, const struct record_kit_file *a,
                    const struct record_kit_file *b, const char *sentence)
{
    struct nj_digest x = record_kit_tree(&pair->kit, a).tree;
    struct nj_digest y = record_kit_tree(&pair->kit, b).tree;
    int r = nj_compare_trees(&pair->source, &x, &pair->source, &y, &what, &err);

    if (r < 0)
        fail_msg("%s", err.text);
    if (sentence)
        says(r, sentence);
    else
        assert_int_equal(r, 0);
}

static void workspaces_differ_at_a_path_and_by_something(void **state)
{
    static const struct record_kit_file none[] = {{0}};
    static const struct record_kit_file file[] = {{"workspace/a", 0644, "first\n"}, {0}};
    static const struct record_kit_file other[] = {{"workspace/a", 0644, "firsT\n"}, {0}};
    static const struct record_kit_file mode[] = {{"workspace/a", 0755, "first\n"}, {0}};
    static const struct record_kit_file folder[] = {{"workspace/a/", 0755, NULL}, {0}};
    static const struct record_kit_file two[] = {
        {"workspace/a", 0644, "firsT\n"}, {"workspace/b\033", 0644, ""}, {0}};
    static const struct record_kit_file odd[] = {
        {"workspace/a", 0644, "first\n"}, {"workspace/b\033", 0644, ""}, {0}};
    struct pair pair = {0};

    (void)state;
    pair.source = memory_objects_source(&pair.kit.store);
    compare(&pair, file, file, NULL);
    compare(&pair, file, other,
            "the workspace differs at /workspace/a: its content differs at byte 5: recorded "
            "\"first\\n\", "
            "now \"firsT\\n\"");
    compare(&pair, file, mode,
            "the workspace differs at /workspace/a: its mode differs: recorded 0644, now 0755");
    compare(
        &pair, file, folder,
        "the workspace differs at /workspace/a: its type differs: recorded a file, now a folder");
    compare(&pair, file, none,
            "the workspace differs at /workspace/a: missing; the record has a file");
    compare(&pair, none, folder,
            "the workspace differs at /workspace/a: a folder that the record does not have");
    compare(&pair, file, two,
            "the workspace differs at /workspace/a: its content differs at byte 5: recorded "
            "\"first\\n\", "
            "now \"firsT\\n\" (and 1 more paths)");
    compare(&pair, file, odd,
            "the workspace differs at /\"workspace/b\\x1b\": a file that the record does not have");
    record_kit_done(&pair.kit);
}

/* ---- snapshots ---- */

static void snapshots_differ_by_the_names_of_their_fields(void **state)
{
    struct nj_snapshot a = {.turn = 1, .steps = 2};
    struct nj_snapshot b = a;

    (void)state;
    assert_int_equal(nj_compare_snapshots(&a, &b, &what, &err), 0);
    assert_int_equal(what.len, 0);
    b.steps = 3;
    b.workspace.tree.bytes[3] = 1;
    says(nj_compare_snapshots(&a, &b, &what, &err),
         "the snapshot does not fit the events before it: steps, tree");
}

/* ---- the list ---- */

static void differences_of_one_place_are_one_step(void **state)
{
    NJ_AUTO(nj_divergences_done) struct nj_divergences list = {0};

    (void)state;
    record_kit_must(nj_divergence_add(&list, 7, 2, NJ_DIVERGENCE_STDOUT, "step 2", "x", &err),
                    &err);
    record_kit_must(nj_divergence_add(&list, 7, 2, NJ_DIVERGENCE_STDERR, "step 2", "y", &err),
                    &err);
    record_kit_must(nj_divergence_add(&list, 9, 3, NJ_DIVERGENCE_EXIT, "step 3", "z", &err), &err);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.steps, 2);
    assert_string_equal(list.items[1].what, "y");
}

static void beyond_a_number_differences_are_only_counted(void **state)
{
    NJ_AUTO(nj_divergences_done) struct nj_divergences list = {0};

    (void)state;
    for (uint64_t i = 1; i <= NJ_DIVERGENCES_KEPT_MAX + 5; i++)
        record_kit_must(nj_divergence_add(&list, i, i, NJ_DIVERGENCE_EXIT, "w", "x", &err), &err);
    assert_int_equal(list.n_items, NJ_DIVERGENCES_KEPT_MAX);
    assert_int_equal(list.count, NJ_DIVERGENCES_KEPT_MAX + 5);
    assert_int_equal(list.steps, NJ_DIVERGENCES_KEPT_MAX + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(equal_bytes_say_nothing),
        TEST(the_first_byte_that_differs_is_named_with_both_sides),
        TEST(a_long_text_is_shown_around_the_place),
        TEST(one_side_may_end_before_the_other),
        TEST(what_is_shown_cannot_drive_a_terminal),
        TEST(a_character_is_not_cut_in_the_middle),
        TEST(streams_differ_in_head_tail_length_or_only_by_digest),
        TEST(a_whole_stream_beside_a_longer_one_ends_where_it_ends),
        TEST(a_head_that_belies_its_digest_is_found),
        TEST(exits_differ_by_kind_status_limit_and_reason),
        TEST(workspaces_differ_at_a_path_and_by_something),
        TEST(snapshots_differ_by_the_names_of_their_fields),
        TEST(differences_of_one_place_are_one_step),
        TEST(beyond_a_number_differences_are_only_counted),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
