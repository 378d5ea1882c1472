/*
 * test_step.c - every state meets every event: what fits moves on as the table says, what does not
 * leaves no trace
 */
#include "tests/lib/play.h"

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* ---- states, each reached by a line of events ---- */

/* Where a play can stand: a state, and for SNAPSHOTTING what follows it. */
#define PLACES(X)                                                                                  \
    X(NEW)                                                                                         \
    X(PROMPTING)                                                                                   \
    X(ACTING)  /* two calls asked for, none done */                                                \
    X(JUDGING) /* three attempts, none judged */                                                   \
    X(CLOSING)                                                                                     \
    X(SAVING) /* SNAPSHOTTING, then PROMPTING */                                                   \
    X(DONE)

enum place {
#define X(name) AT_##name,
    PLACES(X)
#undef X
};

static const char *const place_names[] = {
#define X(name) #name,
    PLACES(X)
#undef X
};

#define N_PLACES (sizeof(place_names) / sizeof(place_names[0]))

static const enum nj_session_state place_states[N_PLACES] = {
    NJ_SESSION_NEW,     NJ_SESSION_PROMPTING,    NJ_SESSION_ACTING, NJ_SESSION_JUDGING,
    NJ_SESSION_CLOSING, NJ_SESSION_SNAPSHOTTING, NJ_SESSION_DONE};

static void play_to(struct play *play, enum place place)
{
    play_init(play, 3);
    if (place == AT_NEW)
        return;
    play_must(play, play_opened(play));
    if (place == AT_SAVING)
        return;
    play_must(play, play_plain(NJ_EVENT_SNAPSHOTTED));
    if (place == AT_PROMPTING)
        return;
    if (place == AT_ACTING) {
        play_saved(play, play_reply(play, 1, "look", 2, 11));
        return;
    }
    play_saved(play, play_reply(play, 1, "done", 0, 12));
    if (place == AT_JUDGING)
        return;
    play_saved(play, play_judged(1, true, 13));
    if (place == AT_CLOSING)
        return;
    play_must(play, play_plain(NJ_EVENT_CLOSED));
}

/* ---- events, right and wrong ---- */

enum what {
    OPENED,
    OPENED_OTHER_CONFIG,
    OPENED_BY_ASSISTANT,
    REPLY,
    REPLY_LATER_TURN,
    REPLY_OF_A_USER,
    NO_REPLY,
    NO_REPLY_LATER_TURN,
    TOOL_DONE,
    TOOL_DONE_OTHER_CALL,
    TOOL_DONE_OTHER_TURN,
    JUDGED,
    JUDGED_OTHER_ROUND,
    CLOSED,
    ATTEMPT,
    BOX,
    SUSPENDED,
    RESUMED,
    SNAPSHOTTED,
    N_WHATS,
};

static struct nj_event make(struct play *play, enum what what)
{
    struct nj_event event = {0};

    switch (what) {
    case OPENED:
        return play_opened(play);
    case OPENED_OTHER_CONFIG:
        event = play_opened(play);
        event.opened.config = play_digest(99);
        return event;
    case OPENED_BY_ASSISTANT:
        play->first = play_reply(play, 1, "x", 0, 1).reply.message_bytes;
        return play_opened(play);
    case REPLY:
        return play_reply(play, play->session->turn + 1, "hm", 1, 21);
    case REPLY_LATER_TURN:
        return play_reply(play, play->session->turn + 2, "hm", 1, 22);
    case REPLY_OF_A_USER:
        event = play_reply(play, play->session->turn + 1, "hm", 0, 23);
        event.reply.message_bytes = play->first;
        return event;
    case NO_REPLY:
        return play_no_reply(play->session->turn + 1);
    case NO_REPLY_LATER_TURN:
        return play_no_reply(play->session->turn + 2);
    case TOOL_DONE:
        return play_tool_done(play->session->turn, play->session->calls_done, "out", 0, 24);
    case TOOL_DONE_OTHER_CALL:
        return play_tool_done(play->session->turn, play->session->calls_done + 1, "out", 0, 25);
    case TOOL_DONE_OTHER_TURN:
        return play_tool_done(play->session->turn + 1, play->session->calls_done, "out", 0, 26);
    case JUDGED:
        return play_judged(play->session->judge_rounds + 1, false, 27);
    case JUDGED_OTHER_ROUND:
        return play_judged(play->session->judge_rounds + 2, false, 28);
    case CLOSED:
        return play_plain(NJ_EVENT_CLOSED);
    case ATTEMPT:
        return play_attempt(play->session->turn + 1);
    case BOX:
        return play_plain(NJ_EVENT_BOX);
    case SUSPENDED:
        return play_plain(NJ_EVENT_SUSPENDED);
    case RESUMED:
        return play_plain(NJ_EVENT_RESUMED);
    case SNAPSHOTTED:
        return play_plain(NJ_EVENT_SNAPSHOTTED);
    case N_WHATS:
        break;
    }
    fail_msg("no such event");
    return event;
}

/* ---- the table: what each event does in each place ---- */

/* '-' does not fit; '.' fits and the state stays; P A C: SNAPSHOTTING, then PROMPTING, ACTING,
 * CLOSING; p: PROMPTING; D: DONE. Columns: NEW PROMPTING ACTING JUDGING CLOSING SAVING DONE. */
static const char *const table[N_WHATS] = {
    [OPENED] = "P------",
    [OPENED_OTHER_CONFIG] = "-------",
    [OPENED_BY_ASSISTANT] = "-------",
    [REPLY] = "-A-----",
    [REPLY_LATER_TURN] = "-------",
    [REPLY_OF_A_USER] = "-------",
    [NO_REPLY] = "-C-----",
    [NO_REPLY_LATER_TURN] = "-------",
    [TOOL_DONE] = "--A----",
    [TOOL_DONE_OTHER_CALL] = "-------",
    [TOOL_DONE_OTHER_TURN] = "-------",
    [JUDGED] = "---P---",
    [JUDGED_OTHER_ROUND] = "-------",
    [CLOSED] = "----D--",
    [ATTEMPT] = "-.-----",
    [BOX] = ".......",
    [SUSPENDED] = ".......",
    [RESUMED] = ".......",
    [SNAPSHOTTED] = "-----p-",
};

static void check_cell(enum what what, enum place place)
{
    NJ_AUTO(play_done) struct play play = {0};
    NJ_AUTO(play_done) struct play untouched = {0};
    const struct nj_session *session;
    char cell = table[what][place];
    struct nj_event event;
    struct nj_error err;
    const char *field;
    int r;

    play_to(&play, place);
    play_to(&untouched, place);
    session = play.session;
    assert_int_equal(session->state, place_states[place]);
    event = make(&play, what);
    r = play_step(&play, &event, &err);
    if (cell == '-') {
        if (r != -NJ_E_CORRUPT)
            fail_msg("event %d in %s: returned %d", what, place_names[place], r);
        field = play_differ(session, untouched.session);
        if (field)
            fail_msg("event %d in %s does not fit but changed %s", what, place_names[place], field);
        return;
    }
    if (r != 0)
        fail_msg("event %d in %s: %s", what, place_names[place], err.text);
    if (cell == '.')
        assert_int_equal(session->state, place_states[place]);
    else if (cell == 'p')
        assert_int_equal(session->state, NJ_SESSION_PROMPTING);
    else if (cell == 'D')
        assert_int_equal(session->state, NJ_SESSION_DONE);
    else
        assert_int_equal(session->state, NJ_SESSION_SNAPSHOTTING);
    if (cell == 'P')
        assert_int_equal(session->after_snapshot, NJ_SESSION_PROMPTING);
    if (cell == 'A')
        assert_int_equal(session->after_snapshot, NJ_SESSION_ACTING);
    if (cell == 'C')
        assert_int_equal(session->after_snapshot, NJ_SESSION_CLOSING);
}

static void every_event_meets_every_state(void **state)
{
    (void)state;
    for (int what = 0; what < N_WHATS; what++)
        for (size_t place = 0; place < N_PLACES; place++)
            check_cell((enum what)what, (enum place)place);
}

static void a_misfit_names_event_state_and_turn(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_event event;
    struct nj_error err;

    (void)state;
    play_to(&play, AT_ACTING);
    event = play_reply(&play, 2, "x", 0, 1);
    assert_int_equal(play_step(&play, &event, &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "event reply does not fit state acting at turn 1");
}

/* ---- what each event leaves behind ---- */

static void opening_takes_message_and_workspace(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_digest tree = play_digest(1), stamps = play_digest(2);
    struct nj_action action;

    (void)state;
    play_init(&play, 0);
    nj_session_action(play.session, &action);
    assert_int_equal(action.kind, NJ_ACTION_NONE);
    assert_int_equal(nj_session_last_message(play.session).len, 0);
    play_must(&play, play_opened(&play));
    assert_true(nj_span_equal(nj_session_last_message(play.session), play.first));
    assert_true(nj_digest_equal(&play.session->workspace.tree, &tree));
    assert_true(nj_digest_equal(&play.session->workspace.stamps, &stamps));
    assert_int_equal(play.session->time_ns, 1000);
    nj_session_action(play.session, &action);
    assert_int_equal(action.kind, NJ_ACTION_SNAPSHOT);
    play_must(&play, play_plain(NJ_EVENT_SNAPSHOTTED));
    nj_session_action(play.session, &action);
    assert_int_equal(action.kind, NJ_ACTION_ASK_MODEL);
    assert_int_equal(action.turn, 1);
}

static void calls_run_in_order_and_their_results_are_told(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_action action;
    struct nj_span told;

    (void)state;
    play_to(&play, AT_ACTING);
    nj_session_action(play.session, &action);
    assert_int_equal(action.kind, NJ_ACTION_RUN_TOOL);
    assert_int_equal(action.turn, 1);
    assert_int_equal(action.call, 0);
    assert_string_equal(action.tool->name, "t0");
    play_saved(&play, play_tool_done(1, 0, "out", 3, 30));
    told = nj_session_last_message(play.session);
    assert_string_equal((const char *)told.data,
                        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                        "\"c1_0\",\"content\":\"out\\n[exit status 3]\",\"is_error\":true}]}");
    nj_session_action(play.session, &action);
    assert_int_equal(action.call, 1);
    assert_string_equal(action.tool->id, "c1_1");
    play_saved(&play, play_tool_done(1, 1, "ok", 0, 40));
    nj_session_action(play.session, &action);
    assert_int_equal(action.kind, NJ_ACTION_ASK_MODEL);
    assert_int_equal(action.turn, 2);
    assert_int_equal(play.session->steps, 3);
    assert_int_equal(play.session->tool_time_ms, 70);
    assert_int_equal(play.session->n_messages, 4);
    assert_memory_equal(&play.session->workspace.tree, &(struct nj_digest[]){play_digest(80)},
                        NJ_DIGEST_BYTES);
    assert_memory_equal(&play.session->workspace.stamps, &(struct nj_digest[]){play_digest(81)},
                        NJ_DIGEST_BYTES);
}

static void usage_cost_and_attempts_add_up(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_to(&play, AT_PROMPTING);
    play_must(&play, play_attempt(1));
    play_must(&play, play_attempt(1));
    assert_int_equal(play.session->attempts_failed, 2);
    play_saved(&play, play_reply(&play, 1, "a", 1, 100));
    assert_int_equal(play.session->attempts_failed, 0);
    play_saved(&play, play_tool_done(1, 0, "", 0, 5));
    play_saved(&play, play_reply(&play, 2, "b", 1, 200));
    assert_int_equal(play.session->usage.input_tokens, 300);
    assert_int_equal(play.session->usage.output_tokens, 4);
    assert_int_equal(play.session->usage.cache_read_tokens, 6);
    assert_int_equal(play.session->usage.cache_write_5m_tokens, 8);
    assert_int_equal(play.session->usage.cache_write_1h_tokens, 10);
    assert_int_equal(play.session->cost_micro_usd, 314);
    assert_int_equal(play.session->turn, 2);
}

static void check_close(struct play *play, enum nj_status status, const char *kind,
                        const char *text, const char *result)
{
    struct nj_action action;

    nj_session_action(play->session, &action);
    assert_int_equal(action.kind, NJ_ACTION_CLOSE);
    assert_int_equal(action.status, status);
    assert_string_equal(action.error_kind, kind);
    assert_string_equal(action.error_text, text);
    assert_true(nj_span_is(action.result, result));
}

static void a_last_word_closes_where_nobody_judges(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_init(&play, 0);
    play_saved(&play, play_opened(&play));
    play_saved(&play, play_reply(&play, 1, "the total is 7", 0, 1));
    check_close(&play, NJ_STATUS_SUCCEEDED, "", "", "the total is 7");
}

static void an_acceptance_closes_with_the_last_word(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_to(&play, AT_CLOSING);
    check_close(&play, NJ_STATUS_SUCCEEDED, "", "", "done");
}

static void a_refused_result_goes_back_to_the_agent_until_the_last_attempt(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_action action;

    (void)state;
    play_to(&play, AT_JUDGING);
    nj_session_action(play.session, &action);
    assert_int_equal(action.kind, NJ_ACTION_JUDGE);
    assert_int_equal(action.round, 1);
    play_saved(&play, play_judged(1, false, 50));
    assert_string_equal(
        (const char *)nj_session_last_message(play.session).data,
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"The result was "
        "not accepted (attempt 1 of 3). The check said:\\ntotals are wrong\\n[exit "
        "status 1]\"}]}");
    play_saved(&play, play_reply(&play, 2, "again", 0, 51));
    play_saved(&play, play_judged(2, false, 52));
    play_saved(&play, play_reply(&play, 3, "and again", 0, 53));
    nj_session_action(play.session, &action);
    assert_int_equal(action.round, 3);
    play_saved(&play, play_judged(3, false, 54));
    check_close(&play, NJ_STATUS_FAILED, "accept", "the accept command refused the result 3 times",
                "and again");
    assert_int_equal(play.session->tool_time_ms, 156);
}

static void a_model_that_fails_for_good_fails_the_session(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_to(&play, AT_PROMPTING);
    play_saved(&play, play_no_reply(1));
    check_close(&play, NJ_STATUS_FAILED, "model", "overloaded: all of them", "");
}

static void a_reply_that_was_stopped_short_runs_nothing(void **state)
{
    static const struct {
        enum nj_stop stop;
        const char *text;
    } rows[] = {
        {NJ_STOP_TRUNCATED, "the reply of turn 1 was cut off at its token limit"},
        {NJ_STOP_REFUSED, "the model refused at turn 1"},
        {NJ_STOP_CONTEXT_FULL, "the model's context was full at turn 1"},
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        NJ_AUTO(play_done) struct play play = {0};
        struct nj_event event;

        play_to(&play, AT_PROMPTING);
        event = play_reply(&play, 1, "half", 1, 9);
        event.reply.stop = rows[i].stop;
        play_saved(&play, event);
        check_close(&play, NJ_STATUS_FAILED, "model", rows[i].text, "");
        assert_int_equal(play.session->turn, 1); /* it was paid for */
    }
}

static void too_many_turns_fail_the_session_before_its_calls_run(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_to(&play, AT_PROMPTING);
    for (uint64_t turn = 1; turn < PLAY_TURNS_MAX; turn++) {
        play_saved(&play, play_reply(&play, turn, "more", 1, turn));
        play_saved(&play, play_tool_done(turn, 0, "", 0, turn));
    }
    play_saved(&play, play_reply(&play, PLAY_TURNS_MAX, "more", 1, 99));
    check_close(&play, NJ_STATUS_FAILED, "limit", "12 turns and still not done (limits.turns)", "");
}

static void the_last_allowed_turn_may_be_the_last_word(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_init(&play, 0);
    play.config.turns_max = 1; /* the digest was taken before: only the limit is looked at */
    play_saved(&play, play_opened(&play));
    play_saved(&play, play_reply(&play, 1, "done", 0, 1));
    check_close(&play, NJ_STATUS_SUCCEEDED, "", "", "done");
}

static void an_error_text_is_cut_between_characters(void **state)
{
    char text[2 * NJ_ERROR_TEXT_MAX_BYTES];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        NJ_AUTO(play_done) struct play play = {0};
        struct nj_event event;
        struct nj_action action;

        memset(text, 'x', shift);
        for (size_t at = shift; at + 3 < sizeof(text); at += 3)
            memcpy(text + at, "\xe2\x82\xac", 4);
        play_to(&play, AT_PROMPTING);
        event = play_no_reply(1);
        event.no_reply.text = nj_span_text(text);
        play_saved(&play, event);
        nj_session_action(play.session, &action);
        assert_true(nj_fsio_utf8_valid(nj_span_text(action.error_text)));
        assert_true(strlen(action.error_text) > NJ_ERROR_TEXT_MAX_BYTES - 5);
    }
}

static void an_unreadable_reply_is_the_provider_s_fault_and_leaves_no_trace(void **state)
{
    static const char *const contents[] = {
        "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"t\"}]",
        "[{\"type\":\"tool_use\",\"id\":\"a\",\"input\":{}}]",
        "[{\"type\":\"tool_use\",\"id\":\"a\\u0000b\",\"name\":\"t\",\"input\":{}}]",
        "[{\"type\":\"text\",",
        "{\"type\":\"text\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        NJ_AUTO(play_done) struct play play = {0};
        NJ_AUTO(play_done) struct play untouched = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
        struct nj_event event;
        struct nj_error err = {0};

        play_to(&play, AT_PROMPTING);
        play_to(&untouched, AT_PROMPTING);
        nj_buf_init(&item, 4096);
        assert_int_equal(nj_message_assistant(nj_span_text(contents[i]), &item, &err), 0);
        event = play_reply(&play, 1, "x", 0, 1);
        event.reply.message_bytes = nj_buf_span(&item);
        assert_int_equal(play_step(&play, &event, &err), -NJ_E_UPSTREAM);
        assert_null(play_differ(play.session, untouched.session));
    }
}

static void a_failed_put_leaves_the_state_as_it_was(void **state)
{
    static const struct {
        enum place place;
        enum what what;
    } rows[] = {
        {AT_NEW, OPENED}, {AT_PROMPTING, REPLY}, {AT_ACTING, TOOL_DONE}, {AT_JUDGING, JUDGED}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t fail_at = 1;; fail_at++) {
            NJ_AUTO(play_done) struct play play = {0};
            NJ_AUTO(play_done) struct play untouched = {0};
            struct nj_event event;
            struct nj_error err;

            play_to(&play, rows[i].place);
            play_to(&untouched, rows[i].place);
            event = make(&play, rows[i].what);
            play.store.fail_at = fail_at;
            if (play_step(&play, &event, &err) == 0) {
                assert_true(fail_at > 1); /* at least one put was made to fail */
                break;
            }
            assert_int_equal(err.code, NJ_E_SYSTEM);
            assert_null(play_differ(play.session, untouched.session));
            assert_int_equal(play_step(&play, &event, &err), 0); /* and it can be tried again */
        }
    }
}

static void a_snapshot_s_own_time_is_not_the_session_s(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_event late = {.kind = NJ_EVENT_SNAPSHOTTED, .time_ns = INT64_MAX};
    struct nj_event box = {.kind = NJ_EVENT_BOX, .time_ns = 5000};

    (void)state;
    play_to(&play, AT_SAVING);
    play_must(&play, late);
    assert_int_equal(play.session->time_ns, 1000);
    play_must(&play, box);
    assert_int_equal(play.session->time_ns, 5000);
    box.time_ns = 4000; /* a clock set back */
    play_must(&play, box);
    assert_int_equal(play.session->time_ns, 5000);
}

static void a_request_s_digest_follows_config_and_conversation(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    NJ_AUTO(play_done) struct play same = {0};
    NJ_AUTO(play_done) struct play other = {0};
    struct nj_action a, b, c, d;

    (void)state;
    play_to(&play, AT_PROMPTING);
    play_to(&same, AT_PROMPTING);
    play_init(&other, 2); /* another config, the same conversation */
    play_saved(&other, play_opened(&other));
    nj_session_action(play.session, &a);
    nj_session_action(same.session, &b);
    nj_session_action(other.session, &c);
    assert_true(nj_digest_equal(&a.request, &b.request));
    assert_false(nj_digest_equal(&a.request, &c.request));
    play_saved(&play, play_reply(&play, 1, "x", 1, 1));
    play_saved(&play, play_tool_done(1, 0, "y", 0, 2));
    nj_session_action(play.session, &d);
    assert_false(nj_digest_equal(&a.request, &d.request));
}

/* A reply that its service has paused, or one that has calls in it all the same. */
static void pause_at(struct play *play, uint64_t turn, unsigned n_calls)
{
    struct nj_event reply = play_reply(play, turn, "searching", n_calls, 40 + turn);

    reply.reply.stop = NJ_STOP_PAUSED;
    play_saved(play, reply);
}

static void a_paused_reply_goes_back_as_it_is_and_is_asked_to_go_on(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_span last;
    size_t n_items;

    (void)state;
    play_to(&play, AT_PROMPTING);
    n_items = play.session->n_messages;
    pause_at(&play, 1, 0);
    assert_int_equal(play.session->state, NJ_SESSION_PROMPTING);
    assert_int_equal(play.session->n_messages, n_items + 1); /* its reply, and no word of ours */
    last = nj_session_last_message(play.session);
    assert_non_null(strstr((const char *)last.data, "searching"));
    play_saved(&play, play_reply(&play, 2, "found", 0, 50));
    assert_int_equal(play.session->state, NJ_SESSION_JUDGING);
    assert_int_equal(play.session->turn, 2);
}

static void a_paused_reply_with_calls_has_them_run(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_to(&play, AT_PROMPTING);
    pause_at(&play, 1, 2);
    assert_int_equal(play.session->state, NJ_SESSION_ACTING);
    assert_int_equal(play.session->calls.count, 2);
}

static void pauses_in_a_row_have_an_end_and_a_result_between_them_begins_anew(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    uint64_t turn = 0;

    (void)state;
    play_to(&play, AT_PROMPTING);
    play.config.turns_max = 100;
    for (unsigned i = 0; i < NJ_PAUSES_MAX; i++)
        pause_at(&play, ++turn, 0);
    assert_int_equal(play.session->state, NJ_SESSION_PROMPTING);
    play_saved(&play, play_reply(&play, ++turn, "look", 1, 60));
    play_saved(&play, play_tool_done(turn, 0, "out", 0, 61));
    for (unsigned i = 0; i < NJ_PAUSES_MAX; i++)
        pause_at(&play, ++turn, 0);
    assert_int_equal(play.session->state, NJ_SESSION_PROMPTING);
    pause_at(&play, ++turn, 0);
    assert_int_equal(play.session->state, NJ_SESSION_CLOSING);
    assert_int_equal(play.session->status, NJ_STATUS_FAILED);
    assert_non_null(strstr(nj_session_error_text(play.session), "paused 10 times in a row"));
}

static void a_pause_at_the_last_turn_is_the_limit_s_end(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};

    (void)state;
    play_to(&play, AT_PROMPTING);
    play.config.turns_max = 2;
    pause_at(&play, 1, 0);
    pause_at(&play, 2, 0);
    assert_int_equal(play.session->state, NJ_SESSION_CLOSING);
    assert_string_equal(play.session->error_kind, "limit");
}

static void every_state_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(nj_session_state_text(NJ_SESSION_NEW), "new");
    assert_string_equal(nj_session_state_text(NJ_SESSION_SNAPSHOTTING), "snapshotting");
    assert_string_equal(nj_session_state_text((enum nj_session_state)99), "?");
}

/* Of all times in a record only those count that a call repeated after a crash finds again:
 * replies, and the clocks that earlier calls ended with. Boxes and tries come and go. */
static void the_clock_of_calls_follows_replies_and_calls_and_never_goes_back(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_event event;

    (void)state;
    play_init(&play, 0);
    play_saved(&play, play_opened(&play));
    assert_true(play.session->clock_ns == 1000);
    assert_memory_equal(play.session->seed, "a seed that was drawn long ago..", NJ_SEED_BYTES);
    event = play_attempt(1);
    event.time_ns = 9000;
    play_must(&play, event);
    assert_true(play.session->clock_ns == 1000);
    play_saved(&play, play_reply(&play, 1, "look", 3, 500));
    assert_true(play.session->clock_ns == 5000);
    event = play_plain(NJ_EVENT_BOX);
    event.time_ns = 6000;
    play_must(&play, event);
    event = play_tool_done(1, 0, "", 0, 1);
    event.tool_done.meta.clock_ns = 5500;
    play_saved(&play, event);
    assert_true(play.session->clock_ns == 5500);
    event.tool_done.call = 1;
    event.tool_done.meta.clock_ns = 5400;
    play_saved(&play, event);
    assert_true(play.session->clock_ns == 5500);
    event.tool_done.call = 2;
    event.tool_done.meta.applied = 0; /* it had no clock of its own */
    event.tool_done.meta.clock_ns = 8000;
    play_saved(&play, event);
    assert_true(play.session->clock_ns == 5500);
    play_saved(&play, play_reply(&play, 2, "look", 0, 520)); /* before the last call's end */
    assert_true(play.session->clock_ns == 5500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_meets_every_state),
        cmocka_unit_test(a_misfit_names_event_state_and_turn),
        cmocka_unit_test(opening_takes_message_and_workspace),
        cmocka_unit_test(calls_run_in_order_and_their_results_are_told),
        cmocka_unit_test(usage_cost_and_attempts_add_up),
        cmocka_unit_test(a_last_word_closes_where_nobody_judges),
        cmocka_unit_test(an_acceptance_closes_with_the_last_word),
        cmocka_unit_test(a_refused_result_goes_back_to_the_agent_until_the_last_attempt),
        cmocka_unit_test(a_model_that_fails_for_good_fails_the_session),
        cmocka_unit_test(a_reply_that_was_stopped_short_runs_nothing),
        cmocka_unit_test(too_many_turns_fail_the_session_before_its_calls_run),
        cmocka_unit_test(the_last_allowed_turn_may_be_the_last_word),
        cmocka_unit_test(an_error_text_is_cut_between_characters),
        cmocka_unit_test(an_unreadable_reply_is_the_provider_s_fault_and_leaves_no_trace),
        cmocka_unit_test(a_failed_put_leaves_the_state_as_it_was),
        cmocka_unit_test(a_snapshot_s_own_time_is_not_the_session_s),
        cmocka_unit_test(a_request_s_digest_follows_config_and_conversation),
        cmocka_unit_test(a_paused_reply_goes_back_as_it_is_and_is_asked_to_go_on),
        cmocka_unit_test(a_paused_reply_with_calls_has_them_run),
        cmocka_unit_test(pauses_in_a_row_have_an_end_and_a_result_between_them_begins_anew),
        cmocka_unit_test(a_pause_at_the_last_turn_is_the_limit_s_end),
        cmocka_unit_test(every_state_has_its_name),
        cmocka_unit_test(the_clock_of_calls_follows_replies_and_calls_and_never_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
