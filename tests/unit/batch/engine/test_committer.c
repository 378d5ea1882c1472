/*
 * test_committer.c - who is told when, what shares a sync, and that a failed one ends everything
 *
 * Every case has a real journal, a real loop and the real thread.
 */
#include <event2/event.h>

#include "batch/engine/committer.h"
#include "tests/lib/journal_kit.h"

#include "formats/base/banned.h"

#define WAITERS 64u

struct stage {
    struct fixture *fixture;
    struct event_base *base;
    struct nj_journal_writer *writer;
    struct nj_committer *committer;
    unsigned appended;
    struct nj_commit_waiter waiters[WAITERS];
    unsigned told[WAITERS]; /* in the order they were told */
    unsigned n_told;
    unsigned durable_when_told[WAITERS];
    unsigned failures;
    struct nj_error failure;
    unsigned rounds_left; /* of a waiter that asks again from its callback */
};

static struct stage stage; /* waiters are found by their address in it */

static unsigned read_durable(void)
{
    unsigned frames = 0;
    struct nj_error err = {0};

    (void)read_all(stage.fixture->dir_fd, &frames, &err);
    return frames;
}

static void on_failure(void *ctx, const struct nj_error *err)
{
    assert_ptr_equal(ctx, &stage);
    stage.failures++;
    stage.failure = *err;
}

static int stage_up_with(void **state, uint64_t segment_bytes)
{
    struct nj_journal_start start = start_small();
    struct nj_error err = {0};

    if (set_up(state) < 0)
        return -1;
    start.segment_bytes = segment_bytes ? segment_bytes : start.segment_bytes;
    stage = (struct stage){.fixture = *state, .base = event_base_new()};
    must(nj_journal_writer_open(stage.fixture->dir_fd, &start, &stage.writer, &err), &err);
    must(nj_committer_new(stage.base, stage.writer, on_failure, &stage, &stage.committer, &err),
         &err);
    return 0;
}

static int stage_up(void **state)
{
    return stage_up_with(state, 0);
}

static int stage_up_large(void **state) /* no batch is cut short by a segment's end */
{
    return stage_up_with(state, NJ_JOURNAL_SEGMENT_BYTES);
}

static int stage_down(void **state)
{
    nj_committer_free(stage.committer);
    nj_journal_writer_close(stage.writer);
    event_base_free(stage.base);
    return tear_down(state);
}

static void add_frame(void)
{
    struct nj_error err = {0};

    must(append(stage.writer, stage.appended++, NULL, &err), &err);
}

static void on_durable(struct nj_commit_waiter *waiter)
{
    unsigned n = (unsigned)(waiter - stage.waiters);

    assert_false(waiter->queued);
    stage.durable_when_told[stage.n_told] = read_durable();
    stage.told[stage.n_told++] = n;
}

static void wait_as(unsigned n)
{
    stage.waiters[n].durable = on_durable;
    nj_committer_wait(stage.committer, &stage.waiters[n]);
}

/* turn - the loop until @n were told, or nothing happens any more for a second */
static void turn(unsigned n)
{
    struct timeval second = {.tv_sec = 1};

    for (unsigned rounds = 0; stage.n_told < n && stage.failures == 0 && rounds < 1000; rounds++) {
        assert_int_equal(event_base_loopexit(stage.base, &second), 0);
        assert_true(event_base_loop(stage.base, EVLOOP_ONCE) >= 0);
    }
}

static void turn_without_waiting(void)
{
    for (int i = 0; i < 5; i++)
        assert_true(event_base_loop(stage.base, EVLOOP_NONBLOCK) >= 0);
}

static void a_waiter_is_told_once_and_only_when_it_is_durable(void **state)
{
    (void)state;
    add_frame();
    wait_as(0);
    assert_int_equal(stage.n_told, 0); /* never from inside the request */
    turn(1);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.durable_when_told[0], 1);
    turn_without_waiting();
    assert_int_equal(stage.n_told, 1);
}

static void all_who_wait_in_one_round_share_one_commit_in_the_order_of_asking(void **state)
{
    (void)state;
    for (unsigned n = 0; n < WAITERS; n++) {
        add_frame();
        wait_as(n);
    }
    turn(WAITERS);
    assert_int_equal(stage.n_told, WAITERS);
    for (unsigned n = 0; n < WAITERS; n++) {
        assert_int_equal(stage.told[n], n);
        assert_true(stage.durable_when_told[n] > n);
    }
    /* 64 frames fill several of the small segments, and a batch lies in one segment. */
    assert_true(nj_committer_commits(stage.committer) <= 12);
}

static void who_asks_while_a_batch_is_written_is_in_the_next(void **state)
{
    (void)state;
    add_frame();
    wait_as(0);
    turn_without_waiting(); /* the first batch is with the thread, or back already */
    add_frame();
    wait_as(1);
    add_frame();
    wait_as(2);
    turn(3);
    assert_int_equal(stage.n_told, 3);
    assert_int_equal(stage.durable_when_told[2], 3);
    assert_int_equal(nj_committer_commits(stage.committer), 2);
}

static void who_asks_for_what_is_durable_already_is_told_too(void **state)
{
    (void)state;
    wait_as(0); /* nothing was ever appended */
    turn(1);
    assert_int_equal(stage.n_told, 1);
    add_frame();
    wait_as(1);
    turn(2);
    wait_as(2);
    turn(3);
    assert_int_equal(stage.n_told, 3);
    assert_int_equal(nj_committer_commits(stage.committer), 1);
}

static void on_durable_ask_again(struct nj_commit_waiter *waiter)
{
    stage.n_told++;
    if (stage.rounds_left-- == 0)
        return;
    add_frame();
    nj_committer_wait(stage.committer, waiter);
}

static void a_waiter_may_ask_again_from_its_callback(void **state)
{
    (void)state;
    stage.rounds_left = 20;
    stage.waiters[0].durable = on_durable_ask_again;
    add_frame();
    nj_committer_wait(stage.committer, &stage.waiters[0]);
    turn(21);
    assert_int_equal(stage.n_told, 21);
    assert_int_equal(read_durable(), 21);
}

static void on_durable_ask_once_more(struct nj_commit_waiter *waiter)
{
    add_frame();
    wait_as((unsigned)(waiter - stage.waiters));
}

static void of_those_who_were_told_of_one_sync_half_share_the_next(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 16; n++) {
        add_frame();
        wait_as(n);
        stage.waiters[n].durable = on_durable_ask_once_more;
    }
    turn(16);
    assert_int_equal(stage.n_told, 16);
    assert_int_equal(nj_committer_commits(stage.committer), 3);
    assert_true(stage.durable_when_told[0] >= 16 + 8);
    assert_int_equal(read_durable(), 32);
}

static void on_durable_be_content(struct nj_commit_waiter *waiter)
{
    (void)waiter;
}

static void who_asked_is_told_though_those_behind_ask_nothing(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 16; n++) {
        add_frame();
        wait_as(n);
        stage.waiters[n].durable = n == 0 ? on_durable_ask_once_more : on_durable_be_content;
    }
    turn(1);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.durable_when_told[0], 17);
}

static void on_durable_forget_the_next(struct nj_commit_waiter *waiter)
{
    stage.n_told++;
    nj_committer_forget(stage.committer, waiter + 1);
    nj_committer_forget(stage.committer, waiter); /* not queued: nothing happens */
}

static void who_is_forgotten_is_not_told_wherever_it_stood(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 6; n++) {
        add_frame();
        wait_as(n);
    }
    nj_committer_forget(stage.committer, &stage.waiters[0]); /* the first */
    nj_committer_forget(stage.committer, &stage.waiters[5]); /* the last: the queue's end moves */
    nj_committer_forget(stage.committer, &stage.waiters[5]);
    stage.waiters[2].durable =
        on_durable_forget_the_next; /* the next in line, while the line is walked */
    add_frame();
    wait_as(6);
    turn(4);
    turn_without_waiting();
    assert_int_equal(stage.n_told, 4); /* 1, 2, 4 and 6 */
    assert_int_equal(stage.told[0], 1);
    assert_int_equal(stage.told[2], 4);
    assert_int_equal(stage.told[3], 6);
}

static void finish_makes_everything_durable_at_once(void **state)
{
    struct nj_error err = {0};

    (void)state;
    add_frame();
    wait_as(0);
    turn_without_waiting(); /* one batch may be flying */
    add_frame();
    add_frame();
    must(nj_committer_finish(stage.committer, &err), &err);
    assert_int_equal(read_durable(), 3);
    must(nj_committer_finish(stage.committer, &err), &err); /* nothing pends */
}

static void free_drops_what_nobody_waited_for_and_calls_nobody(void **state)
{
    (void)state;
    add_frame();
    wait_as(0);
    nj_committer_free(stage.committer);
    stage.committer = NULL;
    assert_int_equal(stage.n_told, 0);
}

/* arm - what the thread passes from now on fails; frames that were appended are still pending */
static void arm(const char *fault)
{
    assert_int_equal(setenv("NJ_FAULT", fault, 1), 0);
    nj_fault_init("engine");
}

static void a_failed_sync_is_told_once_and_nothing_is_durable_after_it(void **state)
{
    struct nj_error err = {0};

    (void)state;
    arm("fdatasync:eio,fdatasync#2:enospc");
    add_frame();
    wait_as(0);
    turn(1);
    assert_int_equal(stage.failures, 1);
    assert_int_equal(stage.failure.sys_errno, EIO);
    assert_int_equal(stage.n_told, 0);
    wait_as(1); /* whoever did not hear of it yet */
    turn_without_waiting();
    assert_int_equal(stage.failures, 1);
    assert_int_equal(stage.n_told, 0);
    assert_true(nj_committer_finish(stage.committer, &err) < 0);
    assert_int_equal(nj_fault("fdatasync"),
                     NJ_FAULT_ENOSPC); /* the second pass is this one: nothing was retried */
}

static void a_failed_write_is_an_end_too(void **state)
{
    (void)state;
    arm("write:enospc");
    add_frame();
    wait_as(0);
    turn(1);
    assert_int_equal(stage.failures, 1);
    assert_int_equal(stage.failure.sys_errno, ENOSPC);
    assert_int_equal(stage.n_told, 0);
}

static void finish_reports_a_failure_to_its_caller_alone(void **state)
{
    struct nj_error err = {0};

    (void)state;
    add_frame();
    arm("fdatasync:eio");
    assert_true(nj_committer_finish(stage.committer, &err) < 0);
    assert_int_equal(err.sys_errno, EIO);
    assert_int_equal(stage.failures, 0);
    assert_true(nj_committer_finish(stage.committer, &err) < 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_up, stage_down)
#define LARGE_CASE(name) cmocka_unit_test_setup_teardown(name, stage_up_large, stage_down)
    const struct CMUnitTest tests[] = {
        CASE(a_waiter_is_told_once_and_only_when_it_is_durable),
        CASE(all_who_wait_in_one_round_share_one_commit_in_the_order_of_asking),
        CASE(who_asks_while_a_batch_is_written_is_in_the_next),
        CASE(who_asks_for_what_is_durable_already_is_told_too),
        CASE(a_waiter_may_ask_again_from_its_callback),
        LARGE_CASE(of_those_who_were_told_of_one_sync_half_share_the_next),
        LARGE_CASE(who_asked_is_told_though_those_behind_ask_nothing),
        CASE(who_is_forgotten_is_not_told_wherever_it_stood),
        CASE(finish_makes_everything_durable_at_once),
        CASE(free_drops_what_nobody_waited_for_and_calls_nobody),
        CASE(a_failed_sync_is_told_once_and_nothing_is_durable_after_it),
        CASE(a_failed_write_is_an_end_too),
        CASE(finish_reports_a_failure_to_its_caller_alone),
    };
#undef CASE
#undef LARGE_CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
