/*
 * test_context.c - sizes of prompts, and what is left out of them
 */
#include "batch/session/context.h"
#include "tests/lib/play.h"

#include "formats/base/banned.h"

#define LONG_BYTES 6000

/* A conversation of @turns replies, each with one call and a long result. */
static void fill(struct nj_session *session, size_t turns)
{
    session->messages = calloc(2 * turns + 1, sizeof(*session->messages));
    assert_non_null(session->messages);
    session->cap_messages = 2 * turns + 1;
    for (size_t i = 0; i < 2 * turns + 1; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
        char text[LONG_BYTES];
        struct nj_error err = {0};
        char id[32];

        memset(text, 'x', sizeof(text));
        (void)snprintf(id, sizeof(id), "toolu_\"%zu\\", i);
        nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
        if (i == 0)
            assert_int_equal(nj_message_user_text(nj_span_text("begin"), &item, &err), 0);
        else if (i % 2)
            assert_int_equal(nj_message_assistant(nj_span_text("[]"), &item, &err), 0);
        else
            assert_int_equal(
                nj_message_tool_result(id, (struct nj_span){(const uint8_t *)text, sizeof(text)},
                                       false, &item, &err),
                0);
        session->messages[i].len = item.len;
        session->messages[i].bytes = nj_buf_steal(&item);
        session->n_messages = i + 1;
    }
}

static void a_bound_takes_each_byte_that_nobody_measured_for_a_token(void **state)
{
    struct play play;
    uint64_t before;

    (void)state;
    play_init(&play, 0);
    fill(play.session, 3);
    before = nj_context_bound(play.session, true);
    assert_in_range(before, 3 * LONG_BYTES, 3 * LONG_BYTES + 4000);
    assert_in_range(nj_context_estimate(play.session, NULL), LONG_BYTES, before / 2);
    play.session->prompt_tokens = 1000; /* as the provider counted the first five items */
    play.session->prompt_items = 5;
    assert_in_range(nj_context_bound(play.session, true), 1000 + LONG_BYTES,
                    1000 + LONG_BYTES + 400);
    assert_int_equal(nj_context_bound(play.session, false),
                     nj_context_bound(play.session, true) + 500);
    assert_in_range(nj_context_estimate(play.session, NULL), 1000 + LONG_BYTES / 3,
                    1100 + LONG_BYTES / 3);
    play_done(&play);
}

static void an_estimate_learns_what_the_model_makes_of_a_byte(void **state)
{
    struct nj_token_rate rate = {0};
    struct play play;
    uint64_t plain, measured;

    (void)state;
    play_init(&play, 0);
    fill(play.session, 3);
    plain = nj_context_estimate(play.session, NULL);
    assert_int_equal(nj_context_estimate(play.session, &rate), plain); /* nothing is known */
    nj_token_rate_learn(&rate, 1000000, 1000001); /* no model makes two of one */
    nj_token_rate_learn(&rate, 1000000, 62000);
    nj_token_rate_learn(&rate, NJ_CONTEXT_LEARN_MIN_BYTES - 1, 1000);
    assert_int_equal(rate.bytes, 0);
    nj_token_rate_learn(&rate, 40000, 8000);
    assert_int_equal(nj_token_rate_of(&rate, 1000), 200);
    assert_in_range(nj_context_estimate(play.session, &rate), plain / 2, plain * 4 / 5);
    nj_token_rate_learn(&rate, NJ_CONTEXT_LEARN_MAX_BYTES, NJ_CONTEXT_LEARN_MAX_BYTES / 2);
    assert_true(rate.bytes <= NJ_CONTEXT_LEARN_MAX_BYTES); /* the newest counts most */
    assert_in_range(nj_token_rate_of(&rate, 1000), 480, 500);
    /* What was measured itself counts more than what others were. */
    play.session->prompt_items = 5;
    measured = nj_context_bytes(play.session) - play.session->messages[5].len -
               play.session->messages[6].len;
    play.session->prompt_tokens = 300 + measured / 6;
    assert_in_range(nj_context_estimate(play.session, &rate),
                    play.session->prompt_tokens + LONG_BYTES / 7,
                    play.session->prompt_tokens + LONG_BYTES / 5);
    play_done(&play);
}

static void old_results_give_way_to_notes_that_name_their_step(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf scratch = {0};
    struct play play;
    struct nj_span item;
    struct nj_error err = {0};
    json_t *root, *json;

    (void)state;
    play_init(&play, 0);
    play.config.compact_at_tokens = 5000;
    fill(play.session, 5);
    nj_buf_init(&scratch, NJ_MESSAGE_MAX_BYTES);
    nj_context_compact(play.session);
    assert_int_equal(play.session->compacted, 7); /* the last two turns begin there */
    assert_int_equal(nj_context_item(play.session, 2, &scratch, &item, &err), 0);
    root = json_loadb((const char *)item.data, item.len, 0, NULL);
    assert_non_null(root);
    json = json_array_get(json_object_get(root, "content"), 0);
    assert_string_equal(json_string_value(json_object_get(json, "tool_use_id")), "toolu_\"2\\");
    assert_non_null(strstr(json_string_value(json_object_get(json, "content")), "step 2 of"));
    json_decref(root);
    assert_int_equal(nj_context_item(play.session, 1, &scratch, &item, &err), 0);
    assert_ptr_equal(item.data, play.session->messages[1].bytes);
    assert_int_equal(nj_context_item(play.session, 8, &scratch, &item, &err), 0);
    assert_ptr_equal(item.data, play.session->messages[8].bytes);
    play_done(&play);
}

static void the_cut_stays_until_the_limit_is_met_again(void **state)
{
    struct play play;

    (void)state;
    play_init(&play, 0);
    play.config.compact_at_tokens = 8000;
    fill(play.session, 5);
    nj_context_compact(play.session);
    assert_int_equal(play.session->compacted, 7);
    assert_in_range(nj_context_estimate(play.session, NULL), 1, 7999);
    nj_context_compact(play.session);
    assert_int_equal(play.session->compacted, 7);
    play_done(&play);
}

static void without_a_limit_nothing_is_left_out(void **state)
{
    struct play play;

    (void)state;
    play_init(&play, 0);
    fill(play.session, 5);
    nj_context_compact(play.session);
    assert_int_equal(play.session->compacted, 0);
    play_done(&play);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bound_takes_each_byte_that_nobody_measured_for_a_token),
        cmocka_unit_test(an_estimate_learns_what_the_model_makes_of_a_byte),
        cmocka_unit_test(old_results_give_way_to_notes_that_name_their_step),
        cmocka_unit_test(the_cut_stays_until_the_limit_is_met_again),
        cmocka_unit_test(without_a_limit_nothing_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
