/*
 * test_hard_trees.c - trees that are hard to hold: what can be is captured and comes back, what
 * cannot is removed and told
 */
#include "harness.h"

#include <stdlib.h>

#include "formats/base/banned.h"

static struct harness h;
static uint64_t max_files = 70000;

static void fresh_box(void)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.max_files = max_files;
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, &plan);
}

/* comes_back - in a box of its own: named the same by the restore and by a call that only looks */
static void comes_back(void)
{
    struct nj_workspace_ref ref = h.ref;

    scan(&h);
    assert_int_equal(h.scan_misses, 0);
    fresh_box();
    restore(&h, &ref);
    sh_ok(&h, "true");
    assert_true(nj_digest_equal(&h.ref.tree, &ref.tree));
    assert_true(nj_digest_equal(&h.ref.stamps, &ref.stamps));
    assert_int_equal(h.objects_bytes, 0);
}

static void python(const char *script)
{
    const char *const argv[] = {"python3", "/run/tree.py", NULL};
    struct nj_box_call call = shell_call(argv);

    call.script_name = "tree.py";
    call.script = nj_span_text(script);
    call_with(&h, &call);
    if (h.failed || h.outcome.exit != NJ_EXIT_EXITED || h.outcome.status != 0)
        fail_msg("%s: %s%s", script, h.failed ? h.err.text : "", h.errors);
}

static void one_name_for_every_type_in_turn(void **state)
{
    static const char *const become[] = {
        "printf one > x",          "rm x; mkdir x; printf in > x/y", "rm -r x; ln -s y x",
        "rm x; mkfifo x",          "rm x; printf two > x",           "rm x; printf owt > x",
        "mkdir d; mv x d; mv d x", "mv x/x y; rmdir x; ln y x",      "rm y; mkdir y; mv x y/x"};

    (void)state;
    fresh_box();
    for (size_t i = 0; i < sizeof(become) / sizeof(become[0]); i++) {
        struct nj_digest before = h.ref.tree;

        sh_ok(&h, become[i]);
        assert_false(nj_digest_equal(&before, &h.ref.tree));
        scan(&h);
        assert_int_equal(h.scan_misses, 0);
    }
    comes_back();
    sh_ok(&h, "cat y/x");
    assert_string_equal(h.out, "owt");
}

static void renamed_directories_keep_what_is_below_unread(void **state)
{
    (void)state;
    fresh_box();
    sh_ok(&h, "mkdir -p a/b/c z; for i in {1..50}; do head -c 100000 /dev/zero > a/b/c/$i; done");
    sh_ok(&h, "mv a/b z/b; mkdir a/b; mv z/b/c a/b/d");
    assert_true(h.files_hashed == 0);
    sh_ok(&h, "mv a z/a; printf x >> z/a/b/d/7");
    assert_int_equal(h.files_hashed, 1);
    comes_back();
}

static void sparse_files_are_read_but_take_no_room(void **state)
{
    (void)state;
    fresh_box();
    sh_ok(&h, "truncate -s 200M hole; printf end | dd of=hole bs=1 seek=209715197 conv=notrunc "
              "2>/dev/null; truncate -s 3000000 tail");
    assert_true(h.objects_bytes < (8u << 20));
    comes_back();
    sh_ok(&h, "tail -c 3 hole; du -k hole | cut -f1");
    assert_true(strncmp(h.out, "end", 3) == 0);
    assert_true(strtol(h.out + 3, NULL, 10) < 2048);
    /* What claims more than the workspace has cannot be kept; a terabyte cannot even be claimed. */
    sh(&h, "truncate -s 1T huge 2>/dev/null || truncate -s 900M huge");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    sh_ok(&h, "ls");
    assert_null(strstr(h.out, "huge"));
    comes_back();
}

/* A bundle's tree is restored by what its session may keep, before its terabytes are hashed. */
static void a_tree_that_claims_more_than_was_kept_is_refused(void **state)
{
    struct nj_workspace_ref fits, in_sum, in_one;
    struct nj_box_plan plan;

    (void)state;
    fresh_box();
    sh_ok(&h, "truncate -s 40M 1 2 3 4");
    fits = h.ref;
    sh_ok(&h, "truncate -s 1 5");
    in_sum = h.ref;
    sh_ok(&h, "rm 5; truncate -s 41M 4");
    in_one = h.ref;
    nj_box_plan_default(&plan);
    plan.max_size_bytes = 40 << 20;
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, &plan);
    assert_false(try_restore(&h, &in_sum));
    assert_int_equal(h.err.code, NJ_E_LIMIT);
    assert_non_null(strstr(h.err.text, "/5: with this file all claim more than 4 times"));
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, &plan);
    assert_false(try_restore(&h, &in_one));
    assert_non_null(strstr(h.err.text, "/4: a file of 42991616 bytes where"));
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, &plan);
    sh_ok(&h, "echo held > 1"); /* what it holds could be changed */
    assert_false(try_restore(&h, &in_sum));
    assert_int_equal(h.err.code, NJ_E_LIMIT);
    assert_non_null(strstr(h.err.text, "/5: with this file all claim more than 4 times"));
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, &plan);
    sh_ok(&h, "echo held > 1");
    restore(&h, &fits);
}

static void empty_files_without_number(void **state)
{
    char script[256];

    (void)state;
    max_files = getenv("NJ_FULL") ? 1100000 : 70000;
    fresh_box();
    snprintf(script, sizeof(script),
             "import os\nfor d in range(100):\n    os.mkdir('%%d' %% d)\n"
             "    for f in range(%d): os.close(os.open('%%d/%%d' %% (d, f), os.O_CREAT, 0o644))\n",
             getenv("NJ_FULL") ? 10000 : 500);
    python(script);
    sh_ok(&h, "printf x > 7/7; rm 8/8");
    assert_int_equal(h.files_hashed, 1);
    comes_back();
    max_files = 70000;
}

static void ten_thousand_directories_deep(void **state)
{
    (void)state;
    fresh_box();
    python("import os\nfor i in range(10000): os.mkdir('d'); os.chdir('d')\n");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    comes_back();
    /* Moved deeper: what fitted where it was does no longer. */
    sh_ok(&h, "mkdir -p 1/2/3; mv d 1/2/3/d");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    comes_back();
    sh_ok(&h, "rm -r 1");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_NONE);
}

static void names_of_255_bytes_with_line_ends_and_no_utf8(void **state)
{
    (void)state;
    fresh_box();
    python(
        "import os, socket\n"
        "n = lambda c: (c + b'\\n\\xff\\x80\\x01 ').ljust(255, b'\\xfe')\n"
        "os.mkdir(n(b'd')); os.chdir(n(b'd'))\n"
        "open(n(b'f'), 'wb').write(b'f'); os.link(n(b'f'), n(b'a')); os.symlink(n(b'x'), n(b'l'))\n"
        "os.mkfifo(n(b'p')); os.mkdir(n(b'e')); os.setxattr(n(b'e'), b'user.' + b'\\xff' * 250, "
        "b'\\0\\n\\xff'); os.setxattr(n(b'f'), 'user.e', b'')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('s')\n");
    comes_back();
    python("import os\n"
           "os.chdir(os.listdir(b'.')[0]); f = [x for x in os.listdir(b'.') if x[:1] == b'f'][0]\n"
           "open(f, 'ab').write(b'more'); os.removexattr(f, 'user.e')\n");
    comes_back();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(one_name_for_every_type_in_turn),
        BOX_TEST(renamed_directories_keep_what_is_below_unread),
        BOX_TEST(sparse_files_are_read_but_take_no_room),
        BOX_TEST(a_tree_that_claims_more_than_was_kept_is_refused),
        BOX_TEST(empty_files_without_number),
        BOX_TEST(ten_thousand_directories_deep),
        BOX_TEST(names_of_255_bytes_with_line_ends_and_no_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
