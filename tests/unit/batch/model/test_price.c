/*
 * test_price.c - costs, bounds, and the ways to pay for one usage
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/model/price.h"

#include "formats/base/banned.h"

/* 3 and 15 USD per million, cache 0.30, 3.75, 6. */
static const struct nj_manifest_price price = {3000000, 15000000, 300000, 3750000, 6000000};

static void a_cost_is_rounded_half_up(void **state)
{
    const struct nj_manifest_price odd = {.input = 500000, .output = 1};

    (void)state;
    assert_int_equal(nj_price_cost(&odd, &(struct nj_usage){.input_tokens = 1}), 1);
    assert_int_equal(nj_price_cost(&odd, &(struct nj_usage){.input_tokens = 2}), 1);
    assert_int_equal(nj_price_cost(&odd, &(struct nj_usage){.output_tokens = 499999}), 0);
    assert_int_equal(nj_price_cost(&odd, &(struct nj_usage){.output_tokens = 500000}), 1);
}

static void each_kind_of_token_has_its_price(void **state)
{
    const struct nj_usage usage = {.input_tokens = 1000,
                                   .output_tokens = 100,
                                   .cache_read_tokens = 10000,
                                   .cache_write_5m_tokens = 2000,
                                   .cache_write_1h_tokens = 500};

    (void)state;
    assert_int_equal(nj_price_cost(&price, &usage), 3000 + 1500 + 3000 + 7500 + 3000);
}

static void a_bound_is_never_below_a_cost_within_it(void **state)
{
    static const enum nj_manifest_cache caches[] = {NJ_CACHE_OFF, NJ_CACHE_5M, NJ_CACHE_1H};

    (void)state;
    for (uint64_t in = 0; in < 40; in++)
        for (size_t c = 0; c < 3; c++) {
            uint64_t bound = nj_price_bound(&price, caches[c], in, 7);
            struct nj_usage usage = {.input_tokens = in / 2, .output_tokens = 7};

            usage.cache_write_5m_tokens = caches[c] == NJ_CACHE_5M ? in - in / 2 : 0;
            usage.cache_write_1h_tokens = caches[c] == NJ_CACHE_1H ? in - in / 2 : 0;
            usage.cache_read_tokens = caches[c] == NJ_CACHE_OFF ? in - in / 2 : 0;
            assert_true(nj_price_cost(&price, &usage) <= bound);
        }
    assert_int_equal(nj_price_bound(&price, NJ_CACHE_OFF, 1000, 100), 4500);
    assert_int_equal(nj_price_bound(&price, NJ_CACHE_1H, UINT64_MAX, UINT64_MAX), INT64_MAX);
}

static void a_conversation_is_priced_in_each_way(void **state)
{
    /* Nine calls whose prompts grew evenly to 20,000: 100,000 in all, none of it cached then. */
    const struct nj_usage usage = {.input_tokens = 100000, .output_tokens = 9000};
    struct nj_price_ways ways;

    (void)state;
    nj_price_ways(&price, NJ_CACHE_5M, &usage, 9, &ways);
    assert_int_equal(ways.as_it_was, 300000 + 135000);
    assert_int_equal(ways.live, ways.as_it_was);
    assert_int_equal(ways.cached, 75000 + 24000 + 135000); /* 20,000 written, 80,000 read */
    assert_int_equal(ways.waves, ways.cached / 2);
    nj_price_ways(&price, NJ_CACHE_OFF, &usage, 9, &ways);
    assert_int_equal(ways.cached, ways.live);
    nj_price_ways(&price, NJ_CACHE_5M, &usage, 0, &ways); /* no calls: nothing to divide by */
    assert_true(ways.cached >= 135000);
}

static void runtime_has_its_price_beside(void **state)
{
    (void)state;
    assert_int_equal(nj_price_runtime(80000, 3600000), 80000);
    assert_int_equal(nj_price_runtime(80000, 45000), 1000);
    assert_int_equal(nj_price_runtime(80000, 22), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cost_is_rounded_half_up),
        cmocka_unit_test(each_kind_of_token_has_its_price),
        cmocka_unit_test(a_bound_is_never_below_a_cost_within_it),
        cmocka_unit_test(a_conversation_is_priced_in_each_way),
        cmocka_unit_test(runtime_has_its_price_beside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
