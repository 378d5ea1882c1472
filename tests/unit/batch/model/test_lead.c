/*
 * test_lead.c - who of a group goes ahead, and for how long the others wait
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/model/lead.h"

#include "formats/base/banned.h"

#define KEEP_MS 300000u
#define CALLS 3

struct stage {
    struct nj_lead lead;
    struct nj_lead_place places[CALLS];
    uint64_t wait_ms;
};

static void stage_init(struct stage *stage)
{
    *stage = (struct stage){.wait_ms = 0};
    nj_lead_init(&stage->lead, KEEP_MS);
    for (size_t i = 0; i < CALLS; i++)
        nj_lead_enter(&stage->lead, &stage->places[i]);
}

static struct nj_lead_place *next(struct stage *stage, uint64_t now_ms)
{
    return nj_lead_next(&stage->lead, now_ms, &stage->wait_ms);
}

static void one_leads_and_the_others_wait_for_its_first_byte(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    assert_ptr_equal(next(&stage, 0), &stage.places[0]);
    assert_null(next(&stage, 0));
    assert_int_equal(stage.wait_ms, NJ_LEAD_MAX_MS);
    nj_lead_first_byte(&stage.lead, 700);
    assert_ptr_equal(next(&stage, 700), &stage.places[1]);
    assert_ptr_equal(next(&stage, 700), &stage.places[2]);
    assert_null(next(&stage, 700));
    assert_int_equal(stage.wait_ms, UINT64_MAX);
}

static void who_leads_and_fails_hands_over(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    assert_ptr_equal(next(&stage, 0), &stage.places[0]);
    nj_lead_leave(&stage.places[0]);
    assert_ptr_equal(next(&stage, 5000), &stage.places[1]);
    nj_lead_enter(&stage.lead, &stage.places[0]); /* it tries again, behind the others */
    assert_null(next(&stage, 5000));
    assert_int_equal(stage.wait_ms,
                     NJ_LEAD_MAX_MS - 5000); /* the time is of all leaders together */
    nj_lead_first_byte(&stage.lead, 5100);
    assert_ptr_equal(next(&stage, 5100), &stage.places[2]);
    assert_ptr_equal(next(&stage, 5100), &stage.places[0]);
}

static void after_its_time_all_go(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    assert_ptr_equal(next(&stage, 0), &stage.places[0]);
    assert_null(next(&stage, NJ_LEAD_MAX_MS - 1));
    assert_int_equal(stage.wait_ms, 1);
    assert_ptr_equal(next(&stage, NJ_LEAD_MAX_MS), &stage.places[1]);
    assert_ptr_equal(next(&stage, NJ_LEAD_MAX_MS), &stage.places[2]);
}

static void a_cancelled_call_is_waited_for_by_nobody(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    nj_lead_leave(&stage.places[0]); /* while it waits */
    assert_ptr_equal(next(&stage, 0), &stage.places[1]);
    nj_lead_leave(&stage.places[1]); /* while it leads */
    nj_lead_leave(&stage.places[1]); /* twice: nothing */
    assert_ptr_equal(next(&stage, 1), &stage.places[2]);
    nj_lead_leave(&stage.places[2]);
    /* Nobody is left who waits, so the time of leading is given anew. */
    nj_lead_enter(&stage.lead, &stage.places[0]);
    nj_lead_enter(&stage.lead, &stage.places[1]);
    assert_ptr_equal(next(&stage, NJ_LEAD_MAX_MS * 2), &stage.places[0]);
    assert_null(next(&stage, NJ_LEAD_MAX_MS * 2));
    assert_int_equal(stage.wait_ms, NJ_LEAD_MAX_MS);
}

static void what_nobody_read_for_long_is_written_by_one_again(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    assert_ptr_equal(next(&stage, 0), &stage.places[0]);
    nj_lead_first_byte(&stage.lead, 100);
    assert_ptr_equal(next(&stage, 100 + KEEP_MS - 1), &stage.places[1]);
    assert_ptr_equal(next(&stage, 100 + KEEP_MS), &stage.places[2]);
    nj_lead_enter(&stage.lead, &stage.places[0]);
    assert_null(next(&stage, 100 + KEEP_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_leads_and_the_others_wait_for_its_first_byte),
        cmocka_unit_test(who_leads_and_fails_hands_over),
        cmocka_unit_test(after_its_time_all_go),
        cmocka_unit_test(a_cancelled_call_is_waited_for_by_nobody),
        cmocka_unit_test(what_nobody_read_for_long_is_written_by_one_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
