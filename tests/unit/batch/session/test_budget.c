/*
 * test_budget.c - what was spent and what may come never pass a limit
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "batch/session/budget.h"

#include "formats/base/banned.h"

#define SESSIONS 64

static void a_call_reserves_on_all_levels_or_on_none(void **state)
{
    struct nj_budget session = {.limit = NJ_BUDGET_NONE}, run = {.limit = 100};
    const struct nj_budget_path path = {{&session, NULL, NULL, &run}};
    enum nj_budget_level level = NJ_BUDGET_SESSION;

    (void)state;
    assert_int_equal(nj_budget_reserve(&path, 60, &level), NJ_BUDGET_GRANTED);
    assert_int_equal(nj_budget_reserve(&path, 60, &level), NJ_BUDGET_WAIT);
    assert_int_equal(session.reserved, 60);
    nj_budget_settle(&path, 60, 30);
    assert_int_equal(session.reserved, 0);
    assert_int_equal(nj_budget_reserve(&path, 60, &level), NJ_BUDGET_GRANTED);
    nj_budget_settle(&path, 60, 60);
    assert_int_equal(nj_budget_reserve(&path, 11, &level), NJ_BUDGET_OVER);
    assert_int_equal(level, NJ_BUDGET_RUN);
    assert_true(run.exhausted);
    assert_int_equal(nj_budget_reserve(&path, 10, &level), NJ_BUDGET_GRANTED);
}

static void a_budget_that_is_used_up_refuses_what_costs_nothing(void **state)
{
    struct nj_budget run = {.limit = 100, .spent = 100};
    const struct nj_budget_path path = {{NULL, NULL, NULL, &run}};
    enum nj_budget_level level;

    (void)state;
    assert_int_equal(nj_budget_reserve(&path, 0, &level), NJ_BUDGET_OVER);
}

static void hostile_figures_do_not_wrap(void **state)
{
    struct nj_budget run = {.limit = INT64_MAX, .spent = INT64_MAX - 5};
    const struct nj_budget_path path = {{NULL, NULL, NULL, &run}};
    enum nj_budget_level level;

    (void)state;
    assert_int_equal(nj_budget_reserve(&path, UINT64_MAX, &level), NJ_BUDGET_OVER);
    assert_int_equal(nj_budget_reserve(&path, 5, &level), NJ_BUDGET_GRANTED);
    nj_budget_settle(&path, 5, UINT64_MAX);
    assert_int_equal(run.spent, UINT64_MAX);
    assert_int_equal(run.reserved, 0);
}

/* 64 sessions of two groups, random usages below their bounds, random order of endings. */
static void sixty_four_sessions_never_overshoot(void **state)
{
    const char *given = getenv("NJ_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);

    (void)state;
    print_message("NJ_TEST_SEED=%u\n", seed);
    for (unsigned round = 0; round < 200; round++) {
        struct nj_budget run = {.limit = 1000 + (int64_t)(rand_r(&seed) % 100000)};
        struct nj_budget groups[2] = {{.limit = run.limit / 2}, {.limit = run.limit * 2 / 3}};
        struct nj_budget sessions[SESSIONS];
        uint64_t reserved[SESSIONS] = {0};
        uint64_t worth = 0; /* of all that ended, counted apart */
        bool over[SESSIONS] = {false};
        unsigned n_over = 0, idle = 0;

        for (unsigned i = 0; i < SESSIONS; i++)
            sessions[i] = (struct nj_budget){.limit = i % 3 ? run.limit / 20 : NJ_BUDGET_NONE};
        while (n_over < SESSIONS) {
            unsigned i = (unsigned)rand_r(&seed) % SESSIONS;
            const struct nj_budget_path path = {{&sessions[i], &groups[i % 2], NULL, &run}};
            enum nj_budget_level level;

            if (reserved[i]) {
                uint64_t cost = (uint64_t)rand_r(&seed) % (reserved[i] + 1);

                nj_budget_settle(&path, reserved[i], cost);
                worth += cost;
                reserved[i] = 0;
            } else if (!over[i]) {
                uint64_t bound = 1 + (uint64_t)rand_r(&seed) % ((uint64_t)run.limit / 50 + 1);
                enum nj_budget_answer answer = nj_budget_reserve(&path, bound, &level);

                if (answer == NJ_BUDGET_GRANTED)
                    reserved[i] = bound;
                over[i] = answer == NJ_BUDGET_OVER;
                n_over += over[i];
                idle = answer == NJ_BUDGET_WAIT ? idle + 1 : 0;
                assert_true(idle < 100000); /* somebody can always go on */
            }
            assert_true(run.spent + run.reserved <= (uint64_t)run.limit);
            assert_true(groups[0].spent + groups[0].reserved <= (uint64_t)groups[0].limit);
            assert_true(groups[1].spent + groups[1].reserved <= (uint64_t)groups[1].limit);
            assert_true(sessions[i].limit < 0 ||
                        sessions[i].spent + sessions[i].reserved <= (uint64_t)sessions[i].limit);
            assert_int_equal(run.spent, worth);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_reserves_on_all_levels_or_on_none),
        cmocka_unit_test(a_budget_that_is_used_up_refuses_what_costs_nothing),
        cmocka_unit_test(hostile_figures_do_not_wrap),
        cmocka_unit_test(sixty_four_sessions_never_overshoot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
