/*
 * test_fold.c - events in, figures out
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/report/fold.h"
#include "tests/lib/sample_events.h"

#include "formats/base/banned.h"

#define SECOND INT64_C(1000000000)
#define START (INT64_C(1795310400) * SECOND)

static void fold(struct nj_fold *f, struct nj_event event, int64_t second)
{
    struct nj_error err = {0};

    event.time_ns = START + second * SECOND;
    if (nj_fold_event(f, &event, &err) < 0)
        fail_msg("%s", err.text);
}

static struct nj_event box(enum nj_box_change change)
{
    return (struct nj_event){.kind = NJ_EVENT_BOX, .box = {.change = change}};
}

static void a_session_is_counted_from_its_opening_to_its_end(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};

    (void)state;
    fold(&f, sample_event(NJ_EVENT_OPENED), 0);
    assert_int_equal(f.facts.status, 0);
    fold(&f, sample_event(NJ_EVENT_ATTEMPT), 1);
    fold(&f, sample_event(NJ_EVENT_ATTEMPT), 2);
    fold(&f, sample_event(NJ_EVENT_REPLY), 3);
    fold(&f, sample_event(NJ_EVENT_TOOL_DONE), 4);
    fold(&f, sample_event(NJ_EVENT_REPLY), 5);
    fold(&f, sample_event(NJ_EVENT_JUDGED), 6);
    fold(&f, sample_event(NJ_EVENT_CLOSED), 7);
    assert_string_equal(f.facts.key, "invoice-0041");
    assert_string_equal(f.facts.agent, "data-processor");
    assert_int_equal(f.facts.status, NJ_STATUS_FAILED);
    assert_string_equal(f.facts.error_kind, "limit");
    assert_int_equal(f.facts.turns, 2);
    assert_int_equal(f.facts.steps, 3);
    assert_int_equal(f.facts.calls, 1);
    assert_int_equal(f.facts.judged, 1);
    assert_int_equal(f.facts.limits[NJ_LIMIT_MEMORY - 1], 1);
    assert_int_equal(f.facts.model_ms, 2 * 812);
    assert_int_equal(f.facts.tool_ms, 1500);
    assert_int_equal(f.facts.judge_ms, 1500);
    assert_int_equal(f.facts.cpu_ms, 2 * 1400);
    assert_int_equal(f.facts.output_bytes, 2 * 100007);
    assert_int_equal(f.facts.cost_micro_usd, 2 * 3300);
    assert_int_equal(f.facts.usage.output_tokens, 80);
    assert_int_equal(f.facts.n_models, 1);
    assert_int_equal(f.facts.models[0].calls, 2);
    assert_int_equal(f.facts.n_retries, 1);
    assert_string_equal(f.facts.retries[0].name, "overloaded");
    assert_int_equal(f.facts.retries[0].count, 2);
    assert_int_equal(f.facts.n_attempts, 1);
    assert_int_equal(f.facts.attempts[0].start_ns, START);
    assert_int_equal(f.facts.attempts[0].end_ns, START + 7 * SECOND);
    assert_int_equal(f.facts.attempts[0].steps, 3);
}

static void a_box_is_held_from_built_to_evicted(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};

    (void)state;
    fold(&f, sample_event(NJ_EVENT_OPENED), 0);
    fold(&f, box(NJ_BOX_BUILT), 10);
    fold(&f, box(NJ_BOX_RESTORED), 11);
    fold(&f, box(NJ_BOX_EVICTED), 14);
    fold(&f, box(NJ_BOX_BUILT), 100);
    fold(&f, sample_event(NJ_EVENT_CLOSED), 101);
    assert_int_equal(f.facts.box_held_ms, 5000);
    assert_int_equal(f.facts.boxes_built, 2);
    assert_int_equal(f.facts.boxes_evicted, 1);
}

static void suspended_time_is_down_time(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};

    (void)state;
    fold(&f, sample_event(NJ_EVENT_OPENED), 0);
    fold(&f, box(NJ_BOX_BUILT), 1);
    fold(&f, sample_event(NJ_EVENT_SUSPENDED), 3);
    fold(&f, sample_event(NJ_EVENT_RESUMED), 63);
    fold(&f, sample_event(NJ_EVENT_CLOSED), 64);
    assert_int_equal(f.facts.down_ms, 60000);
    assert_int_equal(f.facts.box_held_ms, 2000);
    assert_int_equal(f.facts.n_attempts, 1);
}

static void a_killed_engine_is_down_from_its_last_event(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};

    (void)state;
    fold(&f, sample_event(NJ_EVENT_OPENED), 0);
    fold(&f, box(NJ_BOX_BUILT), 1);
    fold(&f, sample_event(NJ_EVENT_REPLY), 5);
    fold(&f, sample_event(NJ_EVENT_RESUMED), 25);
    fold(&f, sample_event(NJ_EVENT_CLOSED), 30);
    assert_int_equal(f.facts.down_ms, 20000);
    assert_int_equal(f.facts.box_held_ms, 4000);
}

static void each_opening_after_an_end_is_an_attempt_of_its_own(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};

    (void)state;
    fold(&f, sample_event(NJ_EVENT_OPENED), 0);
    fold(&f, sample_event(NJ_EVENT_REPLY), 1);
    fold(&f, sample_event(NJ_EVENT_CLOSED), 2);
    for (int64_t i = 0; i < 8; i++) {
        fold(&f, sample_event(NJ_EVENT_OPENED), 10 * (i + 1));
        assert_int_equal(f.facts.status, 0);
        fold(&f, sample_event(NJ_EVENT_REPLY), 10 * (i + 1) + 1);
        fold(&f, sample_event(NJ_EVENT_REPLY), 10 * (i + 1) + 2);
        fold(&f, sample_event(NJ_EVENT_CLOSED), 10 * (i + 1) + 3);
    }
    assert_int_equal(f.facts.n_attempts, 9);
    assert_int_equal(f.facts.attempts[0].steps, 1);
    assert_int_equal(f.facts.attempts[8].steps, 2);
    assert_int_equal(f.facts.attempts[8].cost_micro_usd, 6600);
    assert_int_equal(f.facts.cost_micro_usd, 17 * 3300);
    assert_int_equal(f.facts.opened_ns, START);
}

static void a_session_that_never_began_can_fail(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_facts_init(&f.facts, &f.arena, "k", "g", "a", &err), 0);
    assert_int_equal(nj_fold_end(&f, START, NJ_STATUS_FAILED, "engine", "bad \xff bytes", &err), 0);
    assert_int_equal(f.facts.n_attempts, 1);
    assert_int_equal(f.facts.opened_ns, 0);
    assert_string_equal(f.facts.error_text, "bad ? bytes");
}

static void more_models_than_are_named_are_counted_together(void **state)
{
    NJ_AUTO(nj_fold_done) struct nj_fold f = {0};
    uint64_t calls = 0;

    (void)state;
    fold(&f, sample_event(NJ_EVENT_OPENED), 0);
    for (int i = 0; i < 100; i++) {
        struct nj_event event = sample_event(NJ_EVENT_REPLY);
        char name[24];

        (void)snprintf(name, sizeof(name), "model-%d", i);
        event.reply.model = nj_span_text(name);
        fold(&f, event, i);
    }
    assert_int_equal(f.facts.n_models, NJ_FACTS_NAMES_MAX);
    assert_string_equal(f.facts.models[NJ_FACTS_NAMES_MAX - 1].name, "others");
    for (size_t i = 0; i < f.facts.n_models; i++)
        calls += f.facts.models[i].calls;
    assert_int_equal(calls, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_counted_from_its_opening_to_its_end),
        cmocka_unit_test(a_box_is_held_from_built_to_evicted),
        cmocka_unit_test(suspended_time_is_down_time),
        cmocka_unit_test(a_killed_engine_is_down_from_its_last_event),
        cmocka_unit_test(each_opening_after_an_end_is_an_attempt_of_its_own),
        cmocka_unit_test(a_session_that_never_began_can_fail),
        cmocka_unit_test(more_models_than_are_named_are_counted_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
