/*
 * test_drive.c - the loop between core and world, with a world that answers at once, later, or not
 * at all
 */
#include "batch/session/world.h"
#include "tests/lib/play.h"

#include "formats/base/banned.h"

#define ASKED_MAX 64

/* A world whose answers come at once (sync) or when the test calls answer(). */
struct fake {
    struct nj_world world; /* first: the seat's pointer is the fake's */
    struct play play;
    struct nj_seat seat;
    bool sync;
    uint64_t turns;                       /* replies with a call until the last word */
    enum nj_action_kind open;             /* what is under way, NONE: nothing */
    enum nj_action_kind asked[ASKED_MAX]; /* in order, as far as they fit */
    size_t n_asked;
    size_t n_recorded;
    enum nj_event_kind recorded;   /* the newest */
    size_t depth, depth_max;       /* of actions begun inside actions */
    enum nj_action_kind fail_kind; /* begin of this fails */
    size_t fail_record_at;         /* 1: the next record fails */
    unsigned n_ended;
    bool ended_well;
    char ended_text[NJ_ERROR_TEXT_MAX_BYTES];
};

static void answer(struct fake *fake)
{
    const struct nj_session *session = fake->seat.session;
    enum nj_action_kind kind = fake->open;
    struct nj_event event = {0};

    fake->open = NJ_ACTION_NONE;
    switch (kind) {
    case NJ_ACTION_ASK_MODEL:
        event = play_reply(&fake->play, session->turn + 1, "x", session->turn < fake->turns, 1);
        break;
    case NJ_ACTION_RUN_TOOL:
        event = play_tool_done(session->turn, session->calls_done, "", 0, 2);
        break;
    case NJ_ACTION_JUDGE:
        event = play_judged(session->judge_rounds + 1, true, 3);
        break;
    case NJ_ACTION_SNAPSHOT:
        event = play_plain(NJ_EVENT_SNAPSHOTTED);
        break;
    case NJ_ACTION_CLOSE:
        event = play_plain(NJ_EVENT_CLOSED);
        break;
    case NJ_ACTION_NONE:
        fail_msg("nothing is under way");
    }
    nj_seat_deliver(&fake->seat, &event, (struct nj_span){0});
}

static int begin(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,
                 enum nj_action_kind expected, struct nj_error *err)
{
    struct fake *fake = (struct fake *)world;

    assert_ptr_equal(seat, &fake->seat);
    assert_int_equal(action->kind, expected);
    assert_int_equal(fake->open, NJ_ACTION_NONE); /* one thing at a time */
    if (fake->n_asked < ASKED_MAX)
        fake->asked[fake->n_asked] = action->kind;
    fake->n_asked++;
    if (fake->fail_kind == action->kind)
        return nj_fail(err, NJ_E_UPSTREAM, "this world refuses");
    fake->open = action->kind;
    fake->depth++;
    if (fake->depth > fake->depth_max)
        fake->depth_max = fake->depth;
    if (fake->sync)
        answer(fake);
    fake->depth--;
    return 0;
}

#define BEGIN(name, kind)                                                                          \
    static int name(struct nj_world *world, struct nj_seat *seat, const struct nj_action *action,  \
                    struct nj_error *err)                                                          \
    {                                                                                              \
        return begin(world, seat, action, kind, err);                                              \
    }

BEGIN(fake_ask, NJ_ACTION_ASK_MODEL)
BEGIN(fake_call, NJ_ACTION_RUN_TOOL)
BEGIN(fake_judge, NJ_ACTION_JUDGE)
BEGIN(fake_save, NJ_ACTION_SNAPSHOT)
BEGIN(fake_close, NJ_ACTION_CLOSE)

static int fake_record(struct nj_world *world, struct nj_seat *seat, const struct nj_event *event,
                       struct nj_error *err)
{
    struct fake *fake = (struct fake *)world;

    if (fake->fail_record_at > 0 && --fake->fail_record_at == 0)
        return nj_fail(err, NJ_E_SYSTEM, "the journal is full");
    fake->n_recorded++;
    fake->recorded = event->kind;
    seat->session->sequence++;
    return 0;
}

static void fake_ended(struct nj_world *world, struct nj_seat *seat, const struct nj_error *err)
{
    struct fake *fake = (struct fake *)world;

    assert_ptr_equal(seat, &fake->seat);
    fake->n_ended++;
    fake->ended_well = !err;
    if (err)
        (void)snprintf(fake->ended_text, sizeof(fake->ended_text), "%s", err->text);
}

static void fake_init(struct fake *fake, bool sync, uint64_t turns)
{
    *fake = (struct fake){
        .world = {fake_ask, fake_call, fake_judge, fake_save, fake_close, fake_record, fake_ended},
        .sync = sync,
        .turns = turns,
    };
    play_init(&fake->play, 1);
    fake->play.config.turns_max = UINT64_MAX;
    fake->seat.session = fake->play.session;
    fake->seat.world = &fake->world;
    fake->seat.sink = memory_objects_sink(&fake->play.store);
}

static void fake_done(struct fake *fake)
{
    play_done(&fake->play);
}

static void open_seat(struct fake *fake)
{
    struct nj_event opened = play_opened(&fake->play);

    nj_seat_deliver(&fake->seat, &opened, fake->play.first);
}

static void check_asked(const struct fake *fake, const enum nj_action_kind *kinds, size_t n)
{
    assert_int_equal(fake->n_asked, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fake->asked[i], kinds[i]);
}

#define ASKED(fake, ...)                                                                           \
    do {                                                                                           \
        const enum nj_action_kind kinds[] = {__VA_ARGS__};                                         \
        check_asked(fake, kinds, sizeof(kinds) / sizeof(kinds[0]));                                \
    } while (0)

static void a_world_that_answers_at_once_needs_no_stack(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake, true, 5000);
    open_seat(&fake);
    assert_int_equal(fake.n_ended, 1);
    assert_true(fake.ended_well);
    assert_int_equal(fake.seat.session->state, NJ_SESSION_DONE);
    assert_int_equal(fake.seat.session->steps, 10001);
    assert_int_equal(fake.depth_max, 1);
    /* OPENED; 5001 replies, 5000 calls and a judgement with a snapshot each; CLOSED */
    assert_int_equal(fake.n_recorded, 2 + 2 * (5001 + 5000 + 1) + 1);
    fake_done(&fake);
}

static void actions_come_one_by_one_in_the_order_of_the_states(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake, false, 1);
    open_seat(&fake);
    while (fake.n_ended == 0)
        answer(&fake);
    ASKED(&fake, NJ_ACTION_SNAPSHOT, NJ_ACTION_ASK_MODEL, NJ_ACTION_SNAPSHOT, NJ_ACTION_RUN_TOOL,
          NJ_ACTION_SNAPSHOT, NJ_ACTION_ASK_MODEL, NJ_ACTION_SNAPSHOT, NJ_ACTION_JUDGE,
          NJ_ACTION_SNAPSHOT, NJ_ACTION_CLOSE);
    assert_true(fake.ended_well);
    assert_int_equal(fake.recorded, NJ_EVENT_CLOSED);
    fake_done(&fake);
}

static void a_pause_lets_the_snapshot_through_and_nothing_else(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake, false, 1);
    open_seat(&fake);
    answer(&fake); /* the first snapshot; the model is asked */
    nj_seat_pause(&fake.seat);
    answer(&fake); /* its reply is taken and saved */
    assert_int_equal(fake.open, NJ_ACTION_SNAPSHOT);
    answer(&fake);
    assert_int_equal(fake.open, NJ_ACTION_NONE); /* no tool is run */
    assert_int_equal(fake.seat.session->state, NJ_SESSION_ACTING);
    assert_int_equal(fake.n_ended, 0);
    nj_seat_start(&fake.seat);
    assert_int_equal(fake.open, NJ_ACTION_RUN_TOOL);
    while (fake.n_ended == 0)
        answer(&fake);
    assert_true(fake.ended_well);
    fake_done(&fake);
}

static void a_start_after_a_pause_does_not_begin_the_same_action_twice(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake, false, 1);
    open_seat(&fake);
    answer(&fake);
    assert_int_equal(fake.open, NJ_ACTION_ASK_MODEL);
    nj_seat_pause(&fake.seat);
    nj_seat_start(&fake.seat);
    assert_int_equal(fake.n_asked, 2);
    answer(&fake); /* one reply for one question, and on it goes */
    assert_int_equal(fake.open, NJ_ACTION_SNAPSHOT);
    fake_done(&fake);
}

static void a_restored_session_is_started_at_its_action(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake, false, 1);
    play_saved(&fake.play, play_opened(&fake.play));
    play_saved(&fake.play, play_reply(&fake.play, 1, "x", 2, 1));
    nj_seat_start(&fake.seat);
    ASKED(&fake, NJ_ACTION_RUN_TOOL);
    fake_done(&fake);
}

static void lifecycle_events_are_recorded_and_disturb_nothing(void **state)
{
    static const enum nj_event_kind kinds[] = {NJ_EVENT_BOX, NJ_EVENT_SUSPENDED, NJ_EVENT_RESUMED,
                                               NJ_EVENT_ATTEMPT};
    struct fake fake;

    (void)state;
    fake_init(&fake, false, 1);
    open_seat(&fake);
    answer(&fake);
    for (size_t i = 0; i < 4; i++) {
        struct nj_event event = play_plain(kinds[i]);
        size_t recorded = fake.n_recorded;

        nj_seat_deliver(&fake.seat, &event, (struct nj_span){0});
        assert_int_equal(fake.n_recorded, recorded + 1);
        assert_int_equal(fake.recorded, kinds[i]);
    }
    assert_int_equal(fake.n_asked, 2);
    assert_int_equal(fake.open, NJ_ACTION_ASK_MODEL);
    assert_int_equal(fake.seat.session->attempts_failed, 1);
    fake_done(&fake);
}

static void a_world_that_cannot_begin_ends_the_seat_with_its_reason(void **state)
{
    static const enum nj_action_kind kinds[] = {NJ_ACTION_ASK_MODEL, NJ_ACTION_RUN_TOOL,
                                                NJ_ACTION_JUDGE, NJ_ACTION_SNAPSHOT,
                                                NJ_ACTION_CLOSE};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct fake fake;
        struct nj_event late = play_plain(NJ_EVENT_BOX);
        size_t recorded;

        fake_init(&fake, true, 1);
        fake.fail_kind = kinds[i];
        open_seat(&fake);
        assert_int_equal(fake.n_ended, 1);
        assert_false(fake.ended_well);
        assert_string_equal(fake.ended_text, "this world refuses");
        recorded = fake.n_recorded;
        nj_seat_deliver(&fake.seat, &late, (struct nj_span){0}); /* what comes after is not heard */
        nj_seat_start(&fake.seat);
        assert_int_equal(fake.n_recorded, recorded);
        assert_int_equal(fake.n_ended, 1);
        fake_done(&fake);
    }
}

static void what_could_not_be_recorded_never_reaches_the_core(void **state)
{
    (void)state;
    for (size_t at = 1; at <= 11; at++) {
        struct fake fake;
        uint64_t steps;

        fake_init(&fake, false, 1);
        fake.fail_record_at = at;
        open_seat(&fake);
        while (fake.n_ended == 0 && fake.fail_record_at > 1)
            answer(&fake);
        steps = fake.seat.session->steps;
        if (fake.n_ended == 0) {
            enum nj_session_state was = fake.seat.session->state;

            answer(&fake);
            assert_int_equal(fake.seat.session->state, was);
            assert_int_equal(fake.seat.session->steps, steps);
        } else {
            assert_int_equal(fake.seat.session->state, NJ_SESSION_NEW);
        }
        assert_int_equal(fake.n_ended, 1);
        assert_string_equal(fake.ended_text, "the journal is full");
        fake_done(&fake);
    }
}

static void an_event_that_does_not_fit_ends_the_seat(void **state)
{
    struct fake fake;
    struct nj_event wrong;

    (void)state;
    fake_init(&fake, false, 1);
    open_seat(&fake);
    wrong = play_reply(&fake.play, 1, "x", 0, 1);
    nj_seat_deliver(&fake.seat, &wrong, (struct nj_span){0});
    assert_int_equal(fake.n_ended, 1);
    assert_non_null(strstr(fake.ended_text, "does not fit state snapshotting"));
    fake_done(&fake);
}

static void a_seat_fails_once(void **state)
{
    struct nj_error err = {0};
    struct fake fake;

    (void)state;
    fake_init(&fake, false, 1);
    open_seat(&fake);
    (void)nj_fail(&err, NJ_E_CANCELLED, "enough");
    nj_seat_fail(&fake.seat, &err);
    nj_seat_fail(&fake.seat, &err);
    answer(&fake); /* its answer comes too late */
    assert_int_equal(fake.n_ended, 1);
    assert_string_equal(fake.ended_text, "enough");
    assert_int_equal(fake.seat.session->state, NJ_SESSION_SNAPSHOTTING);
    fake_done(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_world_that_answers_at_once_needs_no_stack),
        cmocka_unit_test(actions_come_one_by_one_in_the_order_of_the_states),
        cmocka_unit_test(a_pause_lets_the_snapshot_through_and_nothing_else),
        cmocka_unit_test(a_start_after_a_pause_does_not_begin_the_same_action_twice),
        cmocka_unit_test(a_restored_session_is_started_at_its_action),
        cmocka_unit_test(lifecycle_events_are_recorded_and_disturb_nothing),
        cmocka_unit_test(a_world_that_cannot_begin_ends_the_seat_with_its_reason),
        cmocka_unit_test(what_could_not_be_recorded_never_reaches_the_core),
        cmocka_unit_test(an_event_that_does_not_fit_ends_the_seat),
        cmocka_unit_test(a_seat_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
