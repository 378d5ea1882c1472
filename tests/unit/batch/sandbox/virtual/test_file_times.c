/*
 * test_file_times.c - the files of a reproducible box: the same after a restore as without one, and
 * the same in a second box that does the same
 */
#include "tests/unit/batch/sandbox/harness.h"

#include "formats/base/banned.h"

#define START INT64_C(1790000000000000000)
#define LIST "find /workspace /tmp -printf '%p %i %T@ %s\\n'; ls -U1 /workspace"

static int64_t clock_ns;

static void open_reproducible(struct harness *h)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.level = NJ_LEVEL_FILE_TIMES;
    open_box(h, &plan);
}

/* run - a call that begins where the last one's clock ended, or a second later */
static void run(struct harness *h, const char *command)
{
    const char *const argv[4] = {"bash", "-c", command, NULL};
    struct nj_box_call call = shell_call(argv);

    call.clock_ns = clock_ns;
    clock_ns += 1000000000;
    call_with(h, &call);
    if (h->failed)
        fail_msg("%s: %s", command, h->err.text);
    if (h->outcome.exit != NJ_EXIT_EXITED || h->outcome.status != 0)
        fail_msg("%s: status %d\n%s\n%s\n%s", command, h->outcome.status, h->text, h->out,
                 h->errors);
}

static const char *const steps[] = {
    "cd /workspace; mkdir d; echo a > d/z; echo b > d/y; echo c > x; rm d/z; echo d > d/w; ln -s x "
    "l",
    "cd /workspace; for i in 1 2 3 4 5 6; do echo $i > t$i; done; rm t2 t5; mkdir e; mv x e/x; "
    "ln e/x d/again; mkfifo f; mv d e/d; touch -d @1000000000 t1",
    "cd /workspace; echo more >> t3; echo n > new; mv t1 first; chmod 600 t4",
};

static void play(struct harness *h, bool evicted, struct nj_workspace_ref *refs)
{
    clock_ns = START;
    open_reproducible(h);
    for (size_t i = 0; i < 3; i++) {
        if (evicted && i > 0) {
            nj_box_close(h->box);
            open_reproducible(h);
            restore(h, &refs[i - 1]);
        }
        run(h, steps[i]);
        refs[i] = h->ref;
    }
}

static bool same_refs(const struct nj_workspace_ref *a, const struct nj_workspace_ref *b)
{
    return nj_digest_equal(&a->tree, &b->tree) && nj_digest_equal(&a->stamps, &b->stamps);
}

static void the_same_steps_leave_the_same_times_numbers_and_order(void **state)
{
    struct nj_workspace_ref first[3], again[3], evicted[3];
    static char listing[OUTPUT_MAX_BYTES];
    struct harness h;

    (void)state;
    start(&h, "file-times");
    play(&h, false, first);
    run(&h, LIST);
    memcpy(listing, h.out, sizeof(listing));
    nj_box_close(h.box);
    play(&h, false, again);
    nj_box_close(h.box);
    play(&h, true, evicted);
    run(&h, LIST);
    for (size_t i = 0; i < 3; i++) {
        assert_true(same_refs(&first[i], &again[i]));
        assert_true(same_refs(&first[i], &evicted[i]));
    }
    assert_string_equal(listing, h.out);
    stop(&h);
}

static void an_explicit_time_is_kept(void **state)
{
    struct harness h;

    (void)state;
    start(&h, "explicit");
    clock_ns = START;
    open_reproducible(&h);
    run(&h, "cd /workspace; echo > a; touch -d @1000000000.5 a");
    run(&h, "stat -c %.9Y /workspace/a");
    assert_string_equal(h.out, "1000000000.500000000\n");
    stop(&h);
}

static void files_are_dated_by_the_call_in_the_order_of_their_changes(void **state)
{
    struct harness h;

    (void)state;
    start(&h, "dated");
    clock_ns = START;
    open_reproducible(&h);
    run(&h, "cd /workspace; echo > b; echo > c; echo > a");
    run(&h, "cd /workspace; [ c -nt b ] && [ a -nt c ] && stat -c %Y a b; echo > b");
    assert_string_equal(h.out, "1790000000\n1790000000\n");
    run(&h, "cd /workspace; [ b -nt a ] && stat -c %Y b; find . -newer a -type f");
    assert_string_equal(h.out, "1790000001\n./b\n");
    stop(&h);
}

static void a_restore_into_a_box_that_counted_on_says_that_numbers_are_lost(void **state)
{
    struct nj_workspace_ref refs[3];
    struct harness h;

    (void)state;
    start(&h, "counted");
    play(&h, false, refs);
    assert_int_equal(h.meta.lowered, NJ_LOWERED_NONE);
    restore(&h, &refs[0]);
    run(&h, "cat /workspace/d/y");
    assert_string_equal(h.out, "b\n");
    assert_int_equal(h.meta.lowered, NJ_LOWERED_TIMES);
    stop(&h);
}

static void a_scan_finds_what_was_captured(void **state)
{
    struct nj_workspace_ref refs[3];
    struct harness h;

    (void)state;
    start(&h, "scanned");
    play(&h, true, refs);
    scan(&h);
    assert_int_equal(h.scan_misses, 0);
    assert_true(h.scan_files > 5);
    stop(&h);
}

static void a_call_that_changes_nothing_reads_nothing(void **state)
{
    struct nj_workspace_ref refs[3];
    struct harness h;

    (void)state;
    start(&h, "idle");
    play(&h, false, refs);
    run(&h, "true");
    assert_int_equal(h.files_hashed, 0);
    assert_true(nj_digest_equal(&h.ref.tree, &refs[2].tree));
    stop(&h);
}

static int run_all(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_dated_by_the_call_in_the_order_of_their_changes),
        cmocka_unit_test(the_same_steps_leave_the_same_times_numbers_and_order),
        cmocka_unit_test(an_explicit_time_is_kept),
        cmocka_unit_test(a_restore_into_a_box_that_counted_on_says_that_numbers_are_lost),
        cmocka_unit_test(a_scan_finds_what_was_captured),
        cmocka_unit_test(a_call_that_changes_nothing_reads_nothing),
    };

    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run_both_ways(run_all, "file times");
}
