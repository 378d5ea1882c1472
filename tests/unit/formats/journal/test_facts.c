/*
 * test_facts.c - a session's figures: there and back, and what must be refused
 */
#include "tests/lib/golden.h"
#include "tests/lib/sample_facts.h"

#include "formats/base/pack.h"

#include "formats/base/banned.h"

static void must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void encode(const struct nj_facts *facts, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, 1u << 20);
    must(nj_facts_encode(facts, out, &err), &err);
}

static void the_sample_is_what_its_golden_says(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_facts facts = sample_facts();

    (void)state;
    encode(&facts, &bytes);
    golden_check("facts/v0/sample.msgpack", nj_buf_span(&bytes));
}

static void decoding_and_encoding_again_gives_the_same_bytes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, again = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts decoded = {0};
    struct nj_facts facts = sample_facts();
    struct nj_error err = {0};

    (void)state;
    encode(&facts, &bytes);
    must(nj_facts_decode(nj_buf_span(&bytes), &arena, &decoded, &err), &err);
    encode(&decoded, &again);
    assert_true(nj_span_equal(nj_buf_span(&bytes), nj_buf_span(&again)));
    assert_string_equal(decoded.key, "invoice-0041");
    assert_string_equal(decoded.attempts[1].kind, "limit");
    assert_string_equal(decoded.retries[1].name, "rate_limited");
    assert_int_equal(decoded.models[0].usage.cache_write_5m_tokens, 80);
    assert_int_equal(decoded.limits[NJ_LIMIT_PROCESSES - 1], 2);
}

static void tokens_are_the_sum_over_the_models(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts decoded = {0};
    struct nj_facts facts = sample_facts();
    struct nj_error err = {0};

    (void)state;
    encode(&facts, &bytes);
    must(nj_facts_decode(nj_buf_span(&bytes), &arena, &decoded, &err), &err);
    assert_memory_equal(&decoded.usage, &facts.usage, sizeof(facts.usage));
}

static void figures_that_no_run_can_have_are_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts facts = sample_facts(), decoded = {0};
    struct nj_error err = {0};

    (void)state;
    facts.tool_ms = UINT64_MAX;
    encode(&facts, &bytes);
    assert_int_equal(nj_facts_decode(nj_buf_span(&bytes), &arena, &decoded, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "tool_ms"));
    assert_null(decoded.key);
}

static void every_cut_of_it_is_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts facts = sample_facts(), decoded;
    struct nj_error err = {0};

    (void)state;
    encode(&facts, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        struct nj_span cut = {bytes.data, len};

        assert_int_equal(nj_facts_decode(cut, &arena, &decoded, &err), -NJ_E_CORRUPT);
    }
}

static void a_frame_carries_row_and_facts(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, payload = {0};
    struct nj_facts facts = sample_facts();
    struct nj_archived archived = {.row = nj_span_text("{\"key\":\"one\"}"),
                                   .status = NJ_STATUS_FAILED,
                                   .cost_micro_usd = 3300};
    struct nj_archived decoded;
    struct nj_error err = {0};

    (void)state;
    encode(&facts, &bytes);
    archived.facts = nj_buf_span(&bytes);
    nj_buf_init(&payload, 1u << 20);
    must(nj_archived_encode(&archived, &payload, &err), &err);
    must(nj_archived_decode(nj_buf_span(&payload), &decoded, &err), &err);
    assert_true(nj_span_is(decoded.row, "{\"key\":\"one\"}"));
    assert_true(nj_span_equal(decoded.facts, archived.facts));
    assert_int_equal(decoded.status, NJ_STATUS_FAILED);
    assert_int_equal(decoded.cost_micro_usd, 3300);
}

static void a_frame_of_the_first_builds_has_no_facts(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_archived archived = {.row = nj_span_text("{}"), .status = NJ_STATUS_SUCCEEDED};
    struct nj_archived decoded;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&payload, 1u << 20);
    must(nj_archived_encode(&archived, &payload, &err), &err);
    must(nj_archived_decode(nj_buf_span(&payload), &decoded, &err), &err);
    assert_int_equal(decoded.facts.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_is_what_its_golden_says),
        cmocka_unit_test(decoding_and_encoding_again_gives_the_same_bytes),
        cmocka_unit_test(tokens_are_the_sum_over_the_models),
        cmocka_unit_test(figures_that_no_run_can_have_are_refused),
        cmocka_unit_test(every_cut_of_it_is_refused),
        cmocka_unit_test(a_frame_carries_row_and_facts),
        cmocka_unit_test(a_frame_of_the_first_builds_has_no_facts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
