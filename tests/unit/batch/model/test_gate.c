/*
 * test_gate.c - breaker, limiter and queue over simulated time
 *
 * The last tests let thousands of sessions ask one simulated server, with its own token bucket, an
 * outage and chance. The seed is printed and can be given as NJ_TEST_SEED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "batch/model/gate.h"

#include "formats/base/banned.h"

#define BASE_MS 500

static uint64_t dice_state;

static uint64_t dice(uint64_t sides)
{
    dice_state += 0x9e3779b97f4a7c15ull;
    uint64_t z = dice_state;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) % sides;
}

static void seed(void)
{
    const char *given = getenv("NJ_TEST_SEED");

    dice_state = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("NJ_TEST_SEED=%" PRIu64 "\n", dice_state);
}

/* ---- breaker ---- */

static void most_answers_down_open_the_breaker_and_one_probe_closes_it(void **state)
{
    struct nj_breaker breaker;
    uint64_t now = 1000;

    (void)state;
    nj_breaker_init(&breaker, BASE_MS);
    for (int i = 0; i < NJ_BREAKER_ENOUGH - 1; i++)
        nj_breaker_answer(&breaker, now, true, false);
    assert_int_equal(nj_breaker_wait_ms(&breaker, now), 0);
    nj_breaker_answer(&breaker, now, true, false);
    assert_int_equal(nj_breaker_wait_ms(&breaker, now), BASE_MS * NJ_BREAKER_WAIT_FACTOR);
    now += BASE_MS * NJ_BREAKER_WAIT_FACTOR;
    assert_int_equal(nj_breaker_wait_ms(&breaker, now), 0);
    assert_true(nj_breaker_pass(&breaker, now));
    assert_true(nj_breaker_wait_ms(&breaker, now) > 0); /* one probe, no second */
    nj_breaker_answer(&breaker, now, false, false);     /* a late answer of before: no proof */
    assert_true(nj_breaker_wait_ms(&breaker, now) > 0);
    nj_breaker_answer(&breaker, now, false, true);
    assert_int_equal(nj_breaker_wait_ms(&breaker, now), 0);
    assert_int_equal(breaker.n_opened, 1);
}

static void a_failed_probe_doubles_the_wait_up_to_a_cap(void **state)
{
    struct nj_breaker breaker;
    uint64_t now = 0, wait = BASE_MS * NJ_BREAKER_WAIT_FACTOR;

    (void)state;
    nj_breaker_init(&breaker, BASE_MS);
    for (int i = 0; i < NJ_BREAKER_ENOUGH; i++)
        nj_breaker_answer(&breaker, now, true, false);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(nj_breaker_wait_ms(&breaker, now), wait);
        now += wait;
        assert_true(nj_breaker_pass(&breaker, now));
        nj_breaker_answer(&breaker, now, true, true);
        if (i < NJ_BREAKER_DOUBLINGS_MAX)
            wait *= 2;
    }
}

static void a_cancelled_probe_lets_another_go(void **state)
{
    struct nj_breaker breaker;

    (void)state;
    nj_breaker_init(&breaker, BASE_MS);
    for (int i = 0; i < NJ_BREAKER_ENOUGH; i++)
        nj_breaker_answer(&breaker, 0, true, false);
    assert_true(nj_breaker_pass(&breaker, 5000));
    nj_breaker_abandon(&breaker, 5001);
    assert_int_equal(nj_breaker_wait_ms(&breaker, 5001), 0);
    assert_true(nj_breaker_pass(&breaker, 5001));
}

static void a_third_of_failures_opens_nothing(void **state)
{
    struct nj_breaker breaker;

    (void)state;
    nj_breaker_init(&breaker, BASE_MS);
    for (int i = 0; i < 3000; i++)
        nj_breaker_answer(&breaker, 0, i % 3 == 0, false);
    assert_int_equal(breaker.n_opened, 0);
}

/* ---- limiter ---- */

static void the_window_doubles_with_each_round_and_halves_once_a_second(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    const struct nj_limiter_need need = {10, 10};
    const struct nj_limiter_answer good = {.succeeded = true, .used = {10, 10}};
    const struct nj_limiter_answer refused = {.limited = true};
    struct nj_limiter limiter;

    (void)state;
    nj_limiter_init(&limiter, &limits, 0);
    for (unsigned i = 0; i < NJ_LIMITER_WINDOW_FIRST; i++) {
        assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), 0);
        nj_limiter_take(&limiter, 0, &need);
    }
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), UINT64_MAX);
    for (unsigned i = 0; i < NJ_LIMITER_WINDOW_FIRST; i++)
        nj_limiter_answer(&limiter, 10, &need, &good);
    assert_int_equal(limiter.window, 2 * NJ_LIMITER_WINDOW_FIRST);
    for (unsigned i = 0; i < 4; i++) {
        nj_limiter_take(&limiter, 20, &need);
        nj_limiter_answer(&limiter, 20, &need, &refused);
    }
    assert_int_equal(limiter.window, NJ_LIMITER_WINDOW_FIRST); /* one burst, one signal */
    nj_limiter_take(&limiter, 2000, &need);
    nj_limiter_answer(&limiter, 2000, &need, &refused);
    assert_int_equal(limiter.window, NJ_LIMITER_WINDOW_FIRST / 2);
}

static void rates_of_the_manifest_hold_from_the_first_call(void **state)
{
    const struct nj_limiter_limits limits = {.per_minute = {60, 6000, 0}};
    const struct nj_limiter_need need = {1000, 1000000};
    struct nj_limiter limiter;
    uint64_t now = 5000;

    (void)state;
    nj_limiter_init(&limiter, &limits, now);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(nj_limiter_wait_ms(&limiter, now, &need), 0);
        nj_limiter_take(&limiter, now, &need);
    }
    assert_int_equal(nj_limiter_wait_ms(&limiter, now, &need), 10000);
    assert_int_equal(nj_limiter_wait_ms(&limiter, now + 9999, &need), 1);
    assert_int_equal(nj_limiter_wait_ms(&limiter, now + 10000, &need), 0);
}

static void what_was_not_used_comes_back_and_more_than_expected_is_debt(void **state)
{
    const struct nj_limiter_limits limits = {.per_minute = {0, 6000, 0}};
    const struct nj_limiter_need need = {3000, 0};
    struct nj_limiter_answer answer = {.succeeded = true, .used = {1000, 0}};
    struct nj_limiter limiter;

    (void)state;
    nj_limiter_init(&limiter, &limits, 0);
    nj_limiter_take(&limiter, 0, &need);
    nj_limiter_take(&limiter, 0, &need);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), 30000);
    nj_limiter_answer(&limiter, 0, &need, &answer);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), 10000);
    answer.used.input_tokens = 6000;
    nj_limiter_answer(&limiter, 0, &need, &answer);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), 40000);
}

static void a_call_larger_than_the_bucket_goes_when_it_is_full(void **state)
{
    const struct nj_limiter_limits limits = {.per_minute = {0, 6000, 0}};
    const struct nj_limiter_need small = {1000, 0}, huge = {50000, 0};
    struct nj_limiter limiter;

    (void)state;
    nj_limiter_init(&limiter, &limits, 0);
    nj_limiter_take(&limiter, 0, &small);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &huge), 10000);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 10000, &huge), 0);
}

static void headers_lower_what_is_left_and_name_the_rate(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    const struct nj_limiter_need need = {100, 0};
    struct nj_rate_headers headers = {.any = true};
    struct nj_limiter_answer answer = {.succeeded = true, .used = {100, 0}, .headers = &headers};
    struct nj_limiter limiter;

    (void)state;
    headers.figures[NJ_RATE_INPUT] = (struct nj_rate_figure){
        .has_limit = true, .has_remaining = true, .limit = 6000, .remaining = 0};
    nj_limiter_init(&limiter, &limits, 0);
    nj_limiter_take(&limiter, 0, &need);
    nj_limiter_answer(&limiter, 0, &need, &answer);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), 1000);
    headers.figures[NJ_RATE_INPUT].remaining = 6000; /* stale: does not raise anything */
    nj_limiter_take(&limiter, 0, &need);
    nj_limiter_answer(&limiter, 0, &need, &answer);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 0, &need), 2000);
}

static void a_retry_after_holds_everybody_up(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    const struct nj_limiter_need need = {1, 1};
    const struct nj_rate_headers headers = {.has_wait = true, .wait_ms = 7000};
    const struct nj_limiter_answer answer = {.limited = true, .headers = &headers};
    struct nj_limiter limiter;

    (void)state;
    nj_limiter_init(&limiter, &limits, 0);
    nj_limiter_take(&limiter, 100, &need);
    nj_limiter_answer(&limiter, 100, &need, &answer);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 100, &need), 7000);
    assert_int_equal(nj_limiter_wait_ms(&limiter, 7100, &need), 0);
}

static void a_limit_per_day_fills_as_slowly_as_its_reset_says(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    const struct nj_limiter_need need = {1, 1};
    struct nj_rate_headers headers = {.any = true};
    const struct nj_limiter_answer answer = {.succeeded = true, .headers = &headers};
    struct nj_limiter limiter;

    (void)state;
    headers.figures[NJ_RATE_REQUESTS] = (struct nj_rate_figure){.has_limit = true,
                                                                .has_remaining = true,
                                                                .has_reset = true,
                                                                .limit = 1440,
                                                                .remaining = 0,
                                                                .reset_ms = 86400000};
    nj_limiter_init(&limiter, &limits, 0);
    nj_limiter_take(&limiter, 0, &need);
    nj_limiter_answer(&limiter, 0, &need, &answer);
    assert_in_range(nj_limiter_wait_ms(&limiter, 0, &need), 29000, 61000); /* one or two a minute */
}

/* ---- gate ---- */

static void the_oldest_ticket_goes_first_also_after_a_retry(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 1};
    struct nj_gate_place places[4] = {{.ticket = 1}, {.ticket = 2}, {.ticket = 3}, {.ticket = 4}};
    struct nj_gate gate;
    uint64_t wait;

    (void)state;
    nj_gate_init(&gate, &limits, BASE_MS, 0);
    for (size_t i = 0; i < 4; i++)
        nj_gate_enter(&gate, &places[i]);
    assert_ptr_equal(nj_gate_next(&gate, 0, &wait), &places[0]);
    assert_null(nj_gate_next(&gate, 0, &wait));
    assert_int_equal(wait, UINT64_MAX);
    nj_gate_answer(&gate, 0, &places[0], NJ_GATE_DOWN, NULL, NULL);
    nj_gate_enter(&gate, &places[0]); /* its retry */
    assert_ptr_equal(nj_gate_next(&gate, 0, &wait), &places[0]);
    nj_gate_answer(&gate, 0, &places[0], NJ_GATE_SUCCEEDED, NULL, NULL);
    nj_gate_answer(&gate, 0, &places[1], NJ_GATE_CANCELLED, NULL, NULL); /* while it waits */
    assert_ptr_equal(nj_gate_next(&gate, 0, &wait), &places[2]);
}

/* How many calls go now; @gone has room for all, and one more. */
static size_t admitted(struct nj_gate *gate, uint64_t now, struct nj_gate_place **gone)
{
    size_t n = 0;
    uint64_t wait;

    while ((gone[n] = nj_gate_next(gate, now, &wait)))
        n++;
    return n;
}

static void after_an_outage_calls_come_back_slowly(void **state)
{
    static const size_t rounds[] = {1, 2, 4, 8, 9, 10}; /* the probe; doubled; one more a round */
    const struct nj_limiter_limits limits = {.concurrent = 0};
    struct nj_gate_place places[64] = {0}, *gone[65];
    struct nj_gate gate;
    uint64_t now = 0;
    size_t n;

    (void)state;
    nj_gate_init(&gate, &limits, BASE_MS, now);
    for (size_t i = 0; i < 64; i++) {
        places[i].ticket = i + 1;
        nj_gate_enter(&gate, &places[i]);
    }
    for (size_t down = 0; !nj_gate_is_down(&gate, now);) {
        n = admitted(&gate, now, gone);
        assert_in_range(n, 1, NJ_LIMITER_WINDOW_FIRST);
        for (size_t i = 0; i < n; i++, down++)
            nj_gate_answer(&gate, now, gone[i], NJ_GATE_DOWN, NULL, NULL);
        assert_in_range(down, 0, 2 * NJ_LIMITER_WINDOW_FIRST);
    }
    for (size_t r = 0; r < sizeof(rounds) / sizeof(rounds[0]); r++) {
        now += BASE_MS * NJ_BREAKER_WAIT_FACTOR;
        n = admitted(&gate, now, gone);
        assert_int_equal(n, rounds[r]);
        for (size_t i = 0; i < n; i++)
            nj_gate_answer(&gate, now, gone[i], NJ_GATE_SUCCEEDED, NULL, NULL);
    }
}

static void endless_refusals_without_an_end_are_a_spend_limit(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    const struct nj_rate_headers with_wait = {.has_wait = true, .wait_ms = 1};
    struct nj_gate_place place = {.ticket = 1};
    struct nj_gate gate;
    uint64_t wait, now = 0;

    (void)state;
    nj_gate_init(&gate, &limits, BASE_MS, 0);
    for (int i = 0; i < 10; i++, now += 10000) {
        nj_gate_enter(&gate, &place);
        assert_non_null(nj_gate_next(&gate, now, &wait));
        assert_int_equal(nj_gate_is_exhausted(&gate, now), i >= NJ_GATE_REFUSED_MIN);
        nj_gate_answer(&gate, now, &place, NJ_GATE_LIMITED, NULL, NULL);
    }
    nj_gate_enter(&gate, &place);
    assert_non_null(nj_gate_next(&gate, now, &wait));
    nj_gate_answer(&gate, now, &place, NJ_GATE_LIMITED, NULL, &with_wait);
    assert_false(nj_gate_is_exhausted(&gate, now)); /* it names an end: a rate, not a cap */
}

/* ---- a night in a second ---- */

struct sim_session {
    struct nj_gate_place place;
    unsigned calls_left;
    unsigned tries; /* of the call under way */
    uint64_t due_ms;
    enum { SLEEPING, QUEUED, ASKED, OVER } at;
    enum nj_gate_end end; /* what the server will say */
    uint64_t entered_ms;
};

struct sim_server {
    int64_t level; /* of requests, in 1/60000 */
    uint64_t per_minute;
    uint64_t at_ms;
    uint64_t down_from_ms, down_to_ms;
    unsigned fail_percent;
    uint64_t n_asked, n_limited, n_asked_while_down;
};

static enum nj_gate_end sim_ask(struct sim_server *server, uint64_t now)
{
    int64_t capacity = (int64_t)(server->per_minute * 60000);

    server->n_asked++;
    server->level += (int64_t)((now - server->at_ms) * server->per_minute);
    server->at_ms = now;
    if (server->level > capacity)
        server->level = capacity;
    if (now >= server->down_from_ms && now < server->down_to_ms) {
        server->n_asked_while_down++;
        return NJ_GATE_DOWN;
    }
    if (dice(100) < server->fail_percent)
        return NJ_GATE_DOWN;
    if (server->level < 60000) {
        server->n_limited++;
        return NJ_GATE_LIMITED;
    }
    server->level -= 60000;
    return NJ_GATE_SUCCEEDED;
}

struct sim {
    struct sim_session *sessions;
    size_t n;
    struct sim_server server;
    struct nj_gate gate;
    uint64_t now, tickets, wait_max_ms;
    size_t over;
};

static void sim_admit(struct sim *sim)
{
    struct nj_gate_place *place;
    uint64_t wait;

    while ((place = nj_gate_next(&sim->gate, sim->now, &wait))) {
        struct sim_session *session =
            (struct sim_session *)((char *)place - offsetof(struct sim_session, place));
        uint64_t waited = sim->now - session->entered_ms;

        if (waited > sim->wait_max_ms)
            sim->wait_max_ms = waited;
        session->at = ASKED;
        session->end = sim_ask(&sim->server, sim->now);
        session->due_ms = sim->now + 200 + dice(800);
    }
}

static void sim_due(struct sim *sim, struct sim_session *session)
{
    struct nj_rate_headers headers = {.has_wait = true, .wait_ms = 1000};

    if (session->at == SLEEPING) {
        if (session->tries == 0)
            session->place.ticket = ++sim->tickets;
        session->entered_ms = sim->now;
        session->at = QUEUED;
        nj_gate_enter(&sim->gate, &session->place);
        return;
    }
    nj_gate_answer(&sim->gate, sim->now, &session->place, session->end, NULL,
                   session->end == NJ_GATE_LIMITED ? &headers : NULL);
    session->at = SLEEPING;
    if (session->end != NJ_GATE_SUCCEEDED) {
        session->tries++;
        session->due_ms = sim->now + BASE_MS + dice(2000);
        return;
    }
    session->tries = 0;
    session->due_ms = sim->now + dice(3000); /* its tools */
    if (--session->calls_left == 0) {
        session->at = OVER;
        sim->over++;
    }
}

static void sim_run(struct sim *sim, uint64_t end_ms)
{
    while (sim->over < sim->n) {
        sim->now += 10;
        for (size_t i = 0; i < sim->n; i++) {
            struct sim_session *session = &sim->sessions[i];

            if ((session->at == SLEEPING || session->at == ASKED) && session->due_ms <= sim->now)
                sim_due(sim, session);
        }
        sim_admit(sim);
        if (sim->now > end_ms)
            fail_msg("%zu of %zu sessions after %" PRIu64 " s", sim->over, sim->n, sim->now / 1000);
    }
}

static void sim_init(struct sim *sim, size_t n, unsigned calls,
                     const struct nj_limiter_limits *limits)
{
    *sim = (struct sim){.n = n};
    sim->sessions = calloc(n, sizeof(*sim->sessions));
    assert_non_null(sim->sessions);
    for (size_t i = 0; i < n; i++)
        sim->sessions[i].calls_left = calls;
    nj_gate_init(&sim->gate, limits, BASE_MS, 0);
}

static void thousands_of_sessions_share_a_rate_and_hardly_meet_its_limit(void **state)
{
    const struct nj_limiter_limits limits = {.per_minute = {3000, 0, 0}};
    struct sim sim;

    (void)state;
    seed();
    sim_init(&sim, 3000, 3, &limits);
    sim.server = (struct sim_server){.per_minute = 3000, .level = 3000ll * 60000};
    sim_run(&sim, 600000);
    /* 9,000 calls at 3,000 a minute with a full bucket to begin with: two minutes and the ramp. */
    assert_in_range(sim.now, 110000, 170000);
    assert_in_range(sim.server.n_limited, 0, 90); /* a hundredth */
    assert_in_range(sim.wait_max_ms, 0, 80000);   /* nobody waits longer than a round of all */
    free(sim.sessions);
}

static void an_outage_costs_probes_and_not_storms(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    struct sim sim;

    (void)state;
    seed();
    sim_init(&sim, 1000, 5, &limits);
    sim.server = (struct sim_server){.per_minute = 1000000,
                                     .level = 1000000ll * 60000,
                                     .down_from_ms = 3000,
                                     .down_to_ms = 303000,
                                     .fail_percent = 5};
    sim_run(&sim, 1200000);
    /* What was sent while the first answers were on their way, and then a probe at 2, 4, 8...
     * seconds. Without a breaker it would be more than 100,000. */
    assert_in_range(sim.server.n_asked_while_down, 1, 800);
    /* The longest wait is 128 s, and one probe in twenty fails by chance after the outage, too:
     * four in a row are 1 in 160,000 runs. */
    assert_in_range(sim.now, 303000, 500000 + 4 * 128000);
    free(sim.sessions);
}

static void a_third_of_random_failures_does_not_stop_the_night(void **state)
{
    const struct nj_limiter_limits limits = {.concurrent = 0};
    struct sim sim;

    (void)state;
    seed();
    sim_init(&sim, 500, 6, &limits);
    sim.server =
        (struct sim_server){.per_minute = 1000000, .level = 1000000ll * 60000, .fail_percent = 30};
    sim_run(&sim, 300000);
    free(sim.sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_answers_down_open_the_breaker_and_one_probe_closes_it),
        cmocka_unit_test(a_failed_probe_doubles_the_wait_up_to_a_cap),
        cmocka_unit_test(a_cancelled_probe_lets_another_go),
        cmocka_unit_test(a_third_of_failures_opens_nothing),
        cmocka_unit_test(the_window_doubles_with_each_round_and_halves_once_a_second),
        cmocka_unit_test(rates_of_the_manifest_hold_from_the_first_call),
        cmocka_unit_test(what_was_not_used_comes_back_and_more_than_expected_is_debt),
        cmocka_unit_test(a_call_larger_than_the_bucket_goes_when_it_is_full),
        cmocka_unit_test(headers_lower_what_is_left_and_name_the_rate),
        cmocka_unit_test(a_retry_after_holds_everybody_up),
        cmocka_unit_test(a_limit_per_day_fills_as_slowly_as_its_reset_says),
        cmocka_unit_test(the_oldest_ticket_goes_first_also_after_a_retry),
        cmocka_unit_test(after_an_outage_calls_come_back_slowly),
        cmocka_unit_test(endless_refusals_without_an_end_are_a_spend_limit),
        cmocka_unit_test(thousands_of_sessions_share_a_rate_and_hardly_meet_its_limit),
        cmocka_unit_test(an_outage_costs_probes_and_not_storms),
        cmocka_unit_test(a_third_of_random_failures_does_not_stop_the_night),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
