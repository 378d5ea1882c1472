/*
 * test_times.c - which time each change gets, without any file
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/sandbox/virtual/times.h"

#include "formats/base/banned.h"

#define START INT64_C(1790000000000000000)
#define FIRST_NEW 100

struct fixture {
    struct nj_times *times;
    int64_t clock;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct nj_times_clock clock = nj_times_simple_clock(&fixture.clock);
    struct nj_error err;

    fixture.clock = START;
    assert_int_equal(nj_times_new(&fixture.times, &err), 0);
    nj_times_begin(fixture.times, &clock, FIRST_NEW);
    nj_times_hear_wishes(fixture.times);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    nj_times_free(((struct fixture *)*state)->times);
    return 0;
}

/* The kernel's own times in these tests: of the mtime, and of what stands in the atime's place. */
#define KERNEL_M 7
#define KERNEL_A 5

static int64_t mtime_of(struct fixture *f, uint64_t ino)
{
    int64_t mtime_ns, ctime_ns;

    nj_times_find(f->times, ino, KERNEL_M, KERNEL_A, &mtime_ns, &ctime_ns);
    return mtime_ns;
}

static int64_t ctime_of(struct fixture *f, uint64_t ino)
{
    int64_t mtime_ns, ctime_ns;

    nj_times_find(f->times, ino, KERNEL_M, KERNEL_A, &mtime_ns, &ctime_ns);
    return ctime_ns;
}

static void what_did_not_change_has_what_its_inode_carries(void **state)
{
    assert_int_equal(mtime_of(*state, 3), KERNEL_M);
    assert_int_equal(ctime_of(*state, 3), KERNEL_A);
}

static void changes_are_dated_in_the_order_they_were_told(void **state)
{
    struct fixture *f = *state;

    nj_times_note(f->times, 8, NJ_TIMES_CONTENT);
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT);
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, 8) > START);
    assert_true(mtime_of(f, 3) > mtime_of(f, 8));
    assert_true(f->clock >= mtime_of(f, 3)); /* whoever asks now is later: asking moves it */
}

static void how_often_the_queue_is_read_makes_no_difference(void **state)
{
    struct fixture *f = *state;

    /* 8, 3, 8 again: the kernel merges the last into the first where both are queued */
    nj_times_note(f->times, 8, NJ_TIMES_CONTENT);
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT);
    nj_times_note(f->times, 8, NJ_TIMES_CONTENT);
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, 3) > mtime_of(f, 8));
    assert_int_equal(f->clock, START + 2);
}

static void a_name_and_its_file_told_as_one_or_as_two_makes_no_difference(void **state)
{
    struct fixture *f = *state;
    int64_t seen[3];

    /* written, and then renamed in directory 2, beside another that is made there */
    for (int merged = 0; merged < 2; merged++) {
        nj_times_note(f->times, 8, NJ_TIMES_CONTENT);
        if (merged)
            nj_times_note(f->times, 2, NJ_TIMES_ENTRIES);
        nj_times_note(f->times, FIRST_NEW, NJ_TIMES_MADE);
        nj_times_note(f->times, 2, NJ_TIMES_ENTRIES);
        nj_times_note(f->times, 8, NJ_TIMES_STATUS);
        nj_times_settle(f->times, 1);
        for (size_t i = 0; i < 3; i++) {
            int64_t now = mtime_of(f, i == 0 ? 8 : i == 1 ? FIRST_NEW : 2);

            if (merged)
                assert_int_equal(now - seen[i], 3);
            seen[i] = now;
        }
    }
    assert_true(seen[0] < seen[1] && seen[1] < seen[2]);
}

static void a_change_lies_before_what_the_clock_says_next(void **state)
{
    struct fixture *f = *state;

    f->clock += 10000;            /* a program asked for the time */
    nj_times_settle(f->times, 1); /* and opened a file */
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT);
    f->clock += 10000; /* and asked again */
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, 3) > START + 10000);
    assert_true(mtime_of(f, 3) < START + 20000);
}

static void who_asks_the_clock_meanwhile_does_not_change_where_it_ends(void **state)
{
    struct fixture *f = *state;

    nj_times_note(f->times, 3, NJ_TIMES_CONTENT);
    f->clock += 10000; /* before the sync point, or behind it */
    nj_times_settle(f->times, 1);
    assert_int_equal(f->clock, START + 10001);
    assert_int_equal(mtime_of(f, 3), START + 1);
}

static void attributes_move_only_the_ctime(void **state)
{
    struct fixture *f = *state;

    nj_times_note(f->times, 3, NJ_TIMES_STATUS);
    nj_times_settle(f->times, 1);
    assert_int_equal(mtime_of(f, 3), KERNEL_M);
    assert_true(ctime_of(f, 3) > START);
}

static void a_new_name_dates_a_new_file_and_no_old_one(void **state)
{
    struct fixture *f = *state;

    nj_times_note(f->times, FIRST_NEW, NJ_TIMES_MADE);
    nj_times_note(f->times, 3, NJ_TIMES_MADE); /* a link */
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, FIRST_NEW) > START);
    assert_int_equal(mtime_of(f, 3), KERNEL_M);
    assert_true(ctime_of(f, 3) > START);
}

static void a_new_file_that_nothing_told_of_is_dated_at_the_first_look(void **state)
{
    struct fixture *f = *state;
    int64_t first = mtime_of(f, FIRST_NEW + 1);

    assert_int_equal(first, START);
    f->clock += 1000;
    nj_times_settle(f->times, 1);
    assert_int_equal(mtime_of(f, FIRST_NEW + 1), first);
}

static void a_time_is_due_from_a_change_to_the_next_sync_point(void **state)
{
    struct fixture *f = *state;

    assert_false(nj_times_knows(f->times, 3));
    assert_false(nj_times_is_due(f->times, 3));
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT);
    assert_true(nj_times_knows(f->times, 3));
    assert_true(nj_times_is_due(f->times, 3));
    nj_times_settle(f->times, 1);
    assert_true(nj_times_knows(f->times, 3));
    assert_false(nj_times_is_due(f->times, 3));
    /* A new inode that nothing told of: asking whether it is known makes it no more so. */
    assert_false(nj_times_knows(f->times, FIRST_NEW));
    assert_true(nj_times_is_due(f->times, FIRST_NEW));
    assert_false(nj_times_knows(f->times, FIRST_NEW));
}

static void wish(struct fixture *f, int64_t ns)
{
    nj_times_wish(f->times,
                  &(struct nj_times_wish){.ino = 3, .tid = 1, .sets_mtime = true, .mtime_ns = ns});
}

static void a_wished_time_holds_once_the_kernel_did_it(void **state)
{
    struct fixture *f = *state;

    wish(f, KERNEL_M);
    nj_times_note(f->times, 3, NJ_TIMES_STATUS);
    nj_times_settle(f->times, 1);
    assert_int_equal(mtime_of(f, 3), KERNEL_M);
    assert_true(ctime_of(f, 3) > START);
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT); /* written after */
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, 3) > START);
}

static void written_and_set_within_one_interval_the_inode_tells_which_was_last(void **state)
{
    struct fixture *f = *state;

    wish(f, KERNEL_M + 1); /* was set and then written: the inode has another time by now */
    nj_times_note(f->times, 3, NJ_TIMES_STATUS | NJ_TIMES_CONTENT);
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, 3) > START);
}

static void a_refused_wish_is_forgotten_with_the_next_call(void **state)
{
    struct fixture *f = *state;

    wish(f, KERNEL_M);
    nj_times_settle(f->times, 1); /* the same task is here again, and nothing was told */
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT | NJ_TIMES_STATUS);
    nj_times_settle(f->times, 1);
    assert_true(mtime_of(f, 3) > START);
}

static void now_is_the_time_of_the_change(void **state)
{
    struct fixture *f = *state;

    nj_times_wish(f->times,
                  &(struct nj_times_wish){.ino = 3, .tid = 1, .sets_mtime = true, .is_now = true});
    nj_times_note(f->times, 3, NJ_TIMES_STATUS);
    nj_times_settle(f->times, 2); /* by another task: the wish stays */
    assert_true(mtime_of(f, 3) > START);
    assert_int_equal(mtime_of(f, 3), ctime_of(f, 3));
}

static void each_change_is_written_once(void **state)
{
    struct fixture *f = *state;

    assert_false(nj_times_changed(f->times, 3));
    nj_times_note(f->times, 3, NJ_TIMES_CONTENT);
    nj_times_settle(f->times, 0);
    assert_true(nj_times_changed(f->times, 3));
    assert_false(nj_times_changed(f->times, 3));
}

static void the_table_is_bounded_and_says_so(void **state)
{
    struct fixture *f = *state;

    for (uint64_t ino = 1; ino <= NJ_TIMES_MAX + 10; ino++)
        nj_times_note(f->times, ino, NJ_TIMES_CONTENT);
    assert_true(nj_times_lost(f->times));
    nj_times_settle(f->times, 0);
    assert_true(mtime_of(f, 1) > START);
    nj_times_end(f->times);
    assert_false(nj_times_lost(f->times));
    assert_int_equal(mtime_of(f, 1), KERNEL_M);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_did_not_change_has_what_its_inode_carries),
        TEST(changes_are_dated_in_the_order_they_were_told),
        TEST(how_often_the_queue_is_read_makes_no_difference),
        TEST(a_name_and_its_file_told_as_one_or_as_two_makes_no_difference),
        TEST(a_change_lies_before_what_the_clock_says_next),
        TEST(who_asks_the_clock_meanwhile_does_not_change_where_it_ends),
        TEST(attributes_move_only_the_ctime),
        TEST(a_new_name_dates_a_new_file_and_no_old_one),
        TEST(a_new_file_that_nothing_told_of_is_dated_at_the_first_look),
        TEST(a_time_is_due_from_a_change_to_the_next_sync_point),
        TEST(a_wished_time_holds_once_the_kernel_did_it),
        TEST(written_and_set_within_one_interval_the_inode_tells_which_was_last),
        TEST(a_refused_wish_is_forgotten_with_the_next_call),
        TEST(now_is_the_time_of_the_change),
        TEST(each_change_is_written_once),
        TEST(the_table_is_bounded_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
