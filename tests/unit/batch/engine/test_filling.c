/*
 * test_filling.c - what a box is sent: everything, or of contents what it has not
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <setjmp.h>

#include <cmocka.h>

#include "batch/engine/filling.h"
#include "formats/base/fsio.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

struct fixture {
    struct memory_objects store;
    struct nj_arena arena;
    struct nj_workspace_ref first;  /* a and b */
    struct nj_workspace_ref second; /* a as it was, and another b */
};

static struct nj_workspace_ref put_dir(struct fixture *fixture, const char *a, const char *b)
{
    const struct nj_object_sink sink = memory_objects_sink(&fixture->store);
    struct nj_tree_entry entries[2] = {{.name = nj_span_text("a")}, {.name = nj_span_text("b")}};
    struct nj_stamp stamps[2] = {{.name = entries[0].name}, {.name = entries[1].name}};
    const char *const contents[2] = {a, b};
    struct nj_dir_stored tree, times;
    struct nj_error err = {0};

    for (size_t i = 0; i < 2; i++) {
        entries[i].type = NJ_FILE_REGULAR;
        entries[i].size = strlen(contents[i]);
        assert_int_equal(nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text(contents[i]),
                                       &entries[i].digest, &err),
                         0);
    }
    assert_int_equal(
        nj_tree_put(&sink, &(struct nj_tree){entries, 2}, NULL, &fixture->arena, &tree, &err), 0);
    assert_int_equal(nj_stamps_put(&sink, &(struct nj_stamps){.entries = stamps, .n_entries = 2},
                                   NULL, &fixture->arena, &times, &err),
                     0);
    return (struct nj_workspace_ref){tree.digest, times.digest};
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return -1;
    fixture->first = put_dir(fixture, "one", "two");
    fixture->second = put_dir(fixture, "one", "three");
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    memory_objects_done(&fixture->store);
    nj_arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* sent - how many of each kind a box that holds @held is sent for the second state */
static void sent(struct fixture *fixture, const struct nj_digest *held,
                 size_t kinds[NJ_OBJECT_CONFIG + 1])
{
    const struct nj_filling filling = {.source = memory_objects_source(&fixture->store),
                                       .contents = memory_objects_source(&fixture->store),
                                       .held = held};
    static uint8_t bytes[4096];
    nj_auto_close int fd = -1;
    struct nj_error err = {0};
    struct nj_span rest;
    struct stat st;

    assert_int_equal(nj_fsio_memfd("sent", &fd, &err), 0);
    assert_int_equal(nj_fill(&filling, &fixture->second, fd, &err), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_in_range(st.st_size, 1, sizeof(bytes));
    assert_int_equal(nj_fsio_pread(fd, bytes, (size_t)st.st_size, 0, &err), 0);
    rest = (struct nj_span){bytes, (size_t)st.st_size};
    memset(kinds, 0, (NJ_OBJECT_CONFIG + 1) * sizeof(*kinds));
    while (rest.len > 0) {
        struct nj_object object;
        size_t len;

        assert_int_equal(nj_object_decode(rest, true, &object, &len, &err), 0);
        kinds[object.kind]++;
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
}

static void a_new_box_is_sent_everything(void **state)
{
    size_t kinds[NJ_OBJECT_CONFIG + 1];

    sent(*state, NULL, kinds);
    assert_int_equal(kinds[NJ_OBJECT_TREE], 1);
    assert_int_equal(kinds[NJ_OBJECT_STAMPS], 1);
    assert_int_equal(kinds[NJ_OBJECT_BLOB], 2);
}

static void contents_that_a_box_has_are_not_sent(void **state)
{
    struct fixture *fixture = *state;
    size_t kinds[NJ_OBJECT_CONFIG + 1];

    sent(fixture, &fixture->first.tree, kinds);
    assert_int_equal(kinds[NJ_OBJECT_TREE], 1);
    assert_int_equal(kinds[NJ_OBJECT_STAMPS], 1);
    assert_int_equal(kinds[NJ_OBJECT_BLOB], 1);
    sent(fixture, &fixture->second.tree, kinds); /* only times differ, or the order */
    assert_int_equal(kinds[NJ_OBJECT_TREE], 1);
    assert_int_equal(kinds[NJ_OBJECT_BLOB], 0);
}

static void of_a_state_that_nobody_knows_nothing_is_left_out(void **state)
{
    struct nj_digest unknown = {{7}};
    size_t kinds[NJ_OBJECT_CONFIG + 1];

    sent(*state, &unknown, kinds);
    assert_int_equal(kinds[NJ_OBJECT_BLOB], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_box_is_sent_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contents_that_a_box_has_are_not_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_state_that_nobody_knows_nothing_is_left_out, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("filling", tests, NULL, NULL);
}
