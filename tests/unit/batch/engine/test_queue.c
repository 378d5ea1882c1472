/*
 * test_queue.c - who begins next, under every limit, order and delay
 */
#include "tests/lib/scratch.h"

#include "batch/engine/again.h"
#include "batch/engine/queue.h"

#include "formats/base/banned.h"

#define NONE SIZE_MAX

/* Two agents, three groups: a (4 sessions), b (3), c after both (1). */
static const size_t groups[] = {0, 0, 0, 0, 1, 1, 1, 2};
static const size_t after[] = {0, 1};

struct fixture {
    struct nj_manifest manifest;
    struct nj_manifest_group groups[3];
    struct nj_manifest_agent agents[2];
    struct nj_queue *queue;
};

static void make(struct fixture *fixture)
{
    struct nj_error err = {0};

    fixture->manifest.groups = fixture->groups;
    fixture->manifest.n_groups = 3;
    fixture->manifest.agents = fixture->agents;
    fixture->manifest.n_agents = 2;
    fixture->groups[1].agent = 1;
    fixture->groups[2].after = after;
    fixture->groups[2].n_after = 2;
    if (fixture->manifest.limits.sessions == 0)
        fixture->manifest.limits.sessions = 64;
    assert_int_equal(nj_queue_new(&fixture->manifest, groups, 8, &fixture->queue, &err), 0);
}

static size_t take(struct fixture *fixture, int64_t now_ms)
{
    size_t session = NONE;

    return nj_queue_take(fixture->queue, now_ms, &session) ? session : NONE;
}

static void takes(struct fixture *fixture, int64_t now_ms, const size_t *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take(fixture, now_ms), wanted[i]);
    assert_int_equal(take(fixture, now_ms), NONE);
}
#define TAKES(fixture, now_ms, ...)                                                                \
    takes(fixture, now_ms, (const size_t[]){__VA_ARGS__},                                          \
          sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

static void sessions_begin_in_plan_order_and_a_group_waits_for_those_before_it(void **state)
{
    struct fixture fixture = {0};

    (void)state;
    make(&fixture);
    TAKES(&fixture, 0, 0, 1, 2, 3, 4, 5, 6);
    for (size_t i = 0; i < 6; i++)
        nj_queue_end(fixture.queue, i);
    assert_int_equal(take(&fixture, 0), NONE);
    nj_queue_end(fixture.queue, 6);
    TAKES(&fixture, 0, 7);
    nj_queue_free(fixture.queue);
}

static void the_limits_of_run_group_and_agent_hold_together(void **state)
{
    struct fixture fixture = {.manifest.limits.sessions = 4};

    (void)state;
    fixture.groups[0].limits.sessions = 3;
    fixture.agents[1].limits.sessions = 2;
    make(&fixture);
    TAKES(&fixture, 0, 0, 1, 2, 4); /* three of a group, then the run's four */
    nj_queue_end(fixture.queue, 0);
    TAKES(&fixture, 0, 3);
    nj_queue_end(fixture.queue, 1);
    nj_queue_end(fixture.queue, 2);
    TAKES(&fixture, 0, 5); /* the agent's two */
    nj_queue_end(fixture.queue, 5);
    TAKES(&fixture, 0, 6);
    assert_int_equal(nj_queue_count(fixture.queue, NJ_QUEUE_ALIVE), 3);
    nj_queue_free(fixture.queue);
}

static void one_that_is_tried_again_waits_for_its_time_and_goes_before_the_others(void **state)
{
    struct fixture fixture = {.manifest.limits.sessions = 1};
    struct nj_error err = {0};

    (void)state;
    make(&fixture);
    TAKES(&fixture, 0, 0);
    nj_queue_end(fixture.queue, 0);
    assert_int_equal(nj_queue_again(fixture.queue, 0, 100, &err), 0);
    assert_int_equal(nj_queue_next_due_ms(fixture.queue, 99), 100);
    TAKES(&fixture, 99, 1);
    nj_queue_end(fixture.queue, 1);
    assert_int_equal(nj_queue_next_due_ms(fixture.queue, 100), INT64_MAX);
    TAKES(&fixture, 100, 0);
    nj_queue_end(fixture.queue, 0);
    TAKES(&fixture, 100, 2);
    nj_queue_free(fixture.queue);
}

static void a_group_waits_for_attempts_to_come_and_for_parked_ones(void **state)
{
    struct fixture fixture = {0};
    struct nj_error err = {0};

    (void)state;
    make(&fixture);
    TAKES(&fixture, 0, 0, 1, 2, 3, 4, 5, 6);
    for (size_t i = 0; i < 7; i++)
        if (i != 3)
            nj_queue_end(fixture.queue, i);
    nj_queue_park(fixture.queue, 3);
    assert_int_equal(nj_queue_again(fixture.queue, 5, 50, &err), 0);
    assert_int_equal(take(&fixture, 49), NONE);
    TAKES(&fixture, 50, 5);
    nj_queue_end(fixture.queue, 5);
    assert_int_equal(take(&fixture, 50), NONE); /* 3 is parked */
    assert_int_equal(nj_queue_place(fixture.queue, 3), NJ_QUEUE_PARKED);
    nj_queue_free(fixture.queue);
}

static void delayed_ones_come_in_the_order_of_their_times(void **state)
{
    static const int64_t due[] = {30, 10, 20, 10};
    struct fixture fixture = {0};
    struct nj_error err = {0};

    (void)state;
    fixture.groups[1].limits.sessions = 0;
    make(&fixture);
    TAKES(&fixture, 0, 0, 1, 2, 3, 4, 5, 6);
    for (size_t i = 0; i < 4; i++) {
        nj_queue_end(fixture.queue, i);
        assert_int_equal(nj_queue_again(fixture.queue, i, due[i], &err), 0);
    }
    TAKES(&fixture, 1000, 1, 3, 2, 0);
    nj_queue_free(fixture.queue);
}

static void what_had_ended_before_a_crash_is_stepped_over(void **state)
{
    struct fixture fixture = {0};
    struct nj_error err = {0};

    (void)state;
    make(&fixture);
    nj_queue_end(fixture.queue, 1);
    nj_queue_end(fixture.queue, 2);
    assert_int_equal(nj_queue_again(fixture.queue, 2, 10, &err), 0);
    TAKES(&fixture, 0, 0, 3, 4, 5, 6);
    TAKES(&fixture, 10, 2);
    nj_queue_free(fixture.queue);
}

/* ---- whether and when again ---- */

static void only_wanted_causes_are_tried_again_and_only_so_often(void **state)
{
    struct nj_manifest_retry retry = {.attempts = 3, .on = NJ_RETRY_ENGINE | NJ_RETRY_ACCEPT};

    (void)state;
    assert_true(nj_again_wanted(&retry, 1, "engine"));
    assert_true(nj_again_wanted(&retry, 2, "accept"));
    assert_false(nj_again_wanted(&retry, 3, "engine"));
    assert_false(nj_again_wanted(&retry, 1, "model"));
    assert_false(nj_again_wanted(&retry, 1, "limit"));
    assert_false(nj_again_wanted(&retry, 1, ""));
    assert_false(nj_again_wanted(&retry, 1, "something new"));
}

static void waits_double_up_to_the_most_and_are_spread(void **state)
{
    struct nj_manifest_retry retry = {
        .attempts = 9, .backoff_seconds = 10, .backoff_max_seconds = 60};
    static const int64_t whole_ms[] = {10000, 20000, 40000, 60000, 60000};
    size_t different = 0;

    (void)state;
    for (uint64_t attempt = 1; attempt <= 5; attempt++) {
        int64_t before = -1;

        for (uint8_t i = 0; i < 64; i++) {
            struct nj_digest identity = {.bytes = {i}};
            int64_t delay = nj_again_delay_ms(&retry, attempt, &identity);

            assert_true(delay >= whole_ms[attempt - 1] / 2 && delay <= whole_ms[attempt - 1]);
            assert_int_equal(delay, nj_again_delay_ms(&retry, attempt, &identity));
            different += delay != before;
            before = delay;
        }
    }
    assert_true(different > 300); /* of 320 */
    retry.backoff_seconds = 0;
    assert_int_equal(nj_again_delay_ms(&retry, 3, &(struct nj_digest){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_begin_in_plan_order_and_a_group_waits_for_those_before_it),
        cmocka_unit_test(the_limits_of_run_group_and_agent_hold_together),
        cmocka_unit_test(one_that_is_tried_again_waits_for_its_time_and_goes_before_the_others),
        cmocka_unit_test(a_group_waits_for_attempts_to_come_and_for_parked_ones),
        cmocka_unit_test(delayed_ones_come_in_the_order_of_their_times),
        cmocka_unit_test(what_had_ended_before_a_crash_is_stepped_over),
        cmocka_unit_test(only_wanted_causes_are_tried_again_and_only_so_often),
        cmocka_unit_test(waits_double_up_to_the_most_and_are_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
