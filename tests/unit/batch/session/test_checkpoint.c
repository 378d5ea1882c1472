/*
 * test_checkpoint.c - restoring at any snapshot and folding the rest equals folding all
 *
 * Random lines of events that fit, drawn from a printed seed (NJ_TEST_SEED draws the same again).
 * At every snapshot the state is packed, unpacked and restored; the restored session then folds the
 * rest beside the undisturbed one, and both must agree in every field and in what they wait for,
 * after every event.
 */
#include "tests/lib/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "formats/base/banned.h"

#define SEQUENCES 60
#define EVENTS_MAX 120
#define CONFIGS 3

struct line {
    struct nj_event events[EVENTS_MAX];
    size_t n_events;
};

static uint64_t draw(uint64_t *seed)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *seed;

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* An event that fits where the play stands. */
static struct nj_event next_event(struct play *play, uint64_t *seed)
{
    const struct nj_session *session = play->session;
    uint64_t number = draw(seed) % 100000;
    struct nj_event event = {0};

    if (number % 9 == 0) {
        static const enum nj_event_kind anywhere[] = {NJ_EVENT_BOX, NJ_EVENT_SUSPENDED,
                                                      NJ_EVENT_RESUMED};

        event = play_plain(anywhere[draw(seed) % 3]);
        event.time_ns = (int64_t)number;
        return event;
    }
    switch (session->state) {
    case NJ_SESSION_NEW:
        return play_opened(play);
    case NJ_SESSION_SNAPSHOTTING:
        event = play_plain(NJ_EVENT_SNAPSHOTTED);
        event.time_ns = (int64_t)number * 20; /* no record has it, so no state may */
        return event;
    case NJ_SESSION_PROMPTING:
        if (number % 5 == 0)
            return play_attempt(session->turn + 1);
        if (number % 41 == 0)
            return play_no_reply(session->turn + 1);
        event =
            play_reply(play, session->turn + 1, number % 3 ? "words {\\\"a\\\": 1} \\u20ac" : "",
                       (unsigned)(draw(seed) % 4), number);
        if (number % 43 == 0)
            event.reply.stop = NJ_STOP_TRUNCATED;
        return event;
    case NJ_SESSION_ACTING:
        return play_tool_done(session->turn, session->calls_done, number % 2 ? "out" : "",
                              (int)(number % 3), number);
    case NJ_SESSION_JUDGING:
        return play_judged(session->judge_rounds + 1, number % 3 == 0, number);
    case NJ_SESSION_CLOSING:
        return play_plain(NJ_EVENT_CLOSED);
    case NJ_SESSION_DONE:
        break;
    }
    event = play_plain(NJ_EVENT_BOX);
    return event;
}

/* Draws a line to DONE and a little beyond, playing it on the way. */
static void draw_line(struct play *play, struct line *line, uint64_t *seed)
{
    unsigned beyond = 0;

    line->n_events = 0;
    while (line->n_events < EVENTS_MAX && beyond < 3) {
        line->events[line->n_events] = next_event(play, seed);
        play_must(play, line->events[line->n_events++]);
        beyond += play->session->state == NJ_SESSION_DONE;
    }
}

static struct nj_session *through_bytes(struct play *play, const struct nj_session *session)
{
    struct nj_object_source source = memory_objects_source(&play->store);
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_session *restored = NULL;
    struct nj_snapshot snapshot;
    struct nj_error err = {0};

    nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
    nj_session_checkpoint(session, &snapshot);
    if (nj_snapshot_pack(&snapshot, &packed, &err) < 0 ||
        nj_snapshot_unpack(nj_buf_span(&packed), &arena, &snapshot, &err) < 0 ||
        nj_session_restore(&play->config, &snapshot, &source, &restored, &err) < 0)
        fail_msg("%s", err.text);
    return restored;
}

static void must_agree(const struct nj_session *folded, const struct nj_session *restored,
                       size_t saved_at, size_t at)
{
    const char *field = play_differ(folded, restored);

    if (!field)
        field = play_actions_differ(folded, restored);
    if (field)
        fail_msg("restored at event %zu, after event %zu: %s differs", saved_at, at, field);
}

/* Restores at the snapshot behind event @saved_at and folds the rest beside an undisturbed session.
 */
static void check_from(struct play *origin, const struct line *line, size_t saved_at)
{
    struct nj_object_sink sink = memory_objects_sink(&origin->store);
    NJ_AUTO(nj_session_free) struct nj_session *folded = NULL;
    NJ_AUTO(nj_session_free) struct nj_session *restored = NULL;
    struct nj_error err = {0};

    assert_int_equal(nj_session_new(&origin->config, &folded, &err), 0);
    for (size_t i = 0; i < line->n_events; i++) {
        const struct nj_event *event = &line->events[i];
        struct nj_span first = event->kind == NJ_EVENT_OPENED ? origin->first : (struct nj_span){0};

        if (i == saved_at) {
            folded->sequence = i;
            restored = through_bytes(origin, folded);
            assert_int_equal(restored->sequence, i);
        }
        assert_int_equal(nj_session_step(folded, event, first, &sink, &err), 0);
        if (i > saved_at)
            assert_int_equal(nj_session_step(restored, event, first, &sink, &err), 0);
        if (i >= saved_at)
            must_agree(folded, restored, saved_at, i);
    }
}

static uint64_t test_seed(void)
{
    const char *given = getenv("NJ_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);

    print_message("seed %" PRIu64 " (NJ_TEST_SEED)\n", seed);
    return seed;
}

static void every_prefix_restored_and_gone_on_equals_the_whole_fold(void **state)
{
    uint64_t seed = test_seed();
    size_t restores = 0, ends = 0;

    (void)state;
    for (int i = 0; i < SEQUENCES; i++) {
        NJ_AUTO(play_done) struct play play = {0};
        struct line line;

        play_init(&play,
                  (uint64_t)(i % CONFIGS)); /* nothing to accept, one attempt, two attempts */
        draw_line(&play, &line, &seed);
        ends += play.session->state == NJ_SESSION_DONE;
        for (size_t at = 0; at < line.n_events; at++)
            if (line.events[at].kind == NJ_EVENT_SNAPSHOTTED) {
                check_from(&play, &line, at);
                restores++;
            }
    }
    assert_true(restores > SEQUENCES);
    assert_true(ends > SEQUENCES / 2);
}

/* The same events give the same state: nothing but them goes in. */
static void folding_twice_gives_the_same_state_after_every_prefix(void **state)
{
    uint64_t seed = test_seed();

    (void)state;
    for (int i = 0; i < SEQUENCES; i++) {
        NJ_AUTO(play_done) struct play a = {0};
        NJ_AUTO(play_done) struct play b = {0};
        struct line line;

        play_init(&a, (uint64_t)(i % CONFIGS));
        draw_line(&a, &line, &seed);
        nj_session_free(a.session);
        a.session = NULL;
        play_init(&b, (uint64_t)(i % CONFIGS));
        assert_int_equal(nj_session_new(&a.config, &a.session, &(struct nj_error){0}), 0);
        for (size_t at = 0; at < line.n_events; at++) {
            play_must(&a, line.events[at]);
            play_must(&b, line.events[at]);
            assert_null(play_differ(a.session, b.session));
            assert_null(play_actions_differ(a.session, b.session));
        }
    }
}

/* ---- what a snapshot must not be ---- */

/* A snapshot of a session that waits for its second call. */
static void acting_snapshot(struct play *play, struct nj_snapshot *snapshot)
{
    play_init(play, 2);
    play_saved(play, play_opened(play));
    play_saved(play, play_reply(play, 1, "x", 2, 1));
    play_must(play, play_tool_done(1, 0, "y", 0, 2));
    nj_session_checkpoint(play->session, snapshot);
}

static int restore(struct play *play, const struct nj_snapshot *snapshot, struct nj_error *err)
{
    struct nj_object_source source = memory_objects_source(&play->store);
    struct nj_session *session = NULL;
    int r;

    *err = (struct nj_error){0};
    r = nj_session_restore(&play->config, snapshot, &source, &session, err);
    assert_true(r < 0 ? !session : !!session);
    nj_session_free(session);
    return r;
}

/* The first builds wrote neither clock nor seed. A clock that began anew behind such a snapshot
 * would stand in the next ones beside a seed that nobody drew. */
static void a_session_without_clock_and_seed_never_gets_them(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_object_source source;
    struct nj_session *restored = NULL;
    struct nj_snapshot snapshot;

    (void)state;
    acting_snapshot(&play, &snapshot);
    assert_true(snapshot.clock_ns > 0);
    snapshot.clock_ns = 0;
    memset(snapshot.seed, 0, sizeof(snapshot.seed));
    source = memory_objects_source(&play.store);
    assert_int_equal(
        nj_session_restore(&play.config, &snapshot, &source, &restored, &(struct nj_error){0}), 0);
    nj_session_free(play.session);
    play.session = restored;
    play_saved(&play, play_tool_done(1, 1, "y", 0, 3));
    play_saved(&play, play_reply(&play, 2, "x", 1, 4));
    nj_session_checkpoint(play.session, &snapshot);
    assert_true(snapshot.clock_ns == 0);
}

static void a_snapshot_that_contradicts_itself_is_refused(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct nj_snapshot good, bad;
    struct nj_error err;

    (void)state;
    acting_snapshot(&play, &good);
    assert_int_equal(restore(&play, &good, &err), 0);

#define REFUSED(change, why)                                                                       \
    do {                                                                                           \
        bad = good;                                                                                \
        change;                                                                                    \
        assert_int_equal(restore(&play, &bad, &err), -NJ_E_CORRUPT);                               \
        if (!strstr(err.text, why))                                                                \
            fail_msg("\"%s\" does not say \"%s\"", err.text, why);                                 \
    } while (0)
    REFUSED(bad.config = play_digest(3), "another config");
    REFUSED(bad.state = NJ_SESSION_NEW, "state 0 does not fit");
    REFUSED(bad.state = NJ_SESSION_SNAPSHOTTING, "state 5 does not fit");
    REFUSED(bad.state = NJ_SESSION_DONE, "state 6 does not fit");
    REFUSED(bad.state = UINT64_MAX, "does not fit");
    REFUSED(bad.state = UINT64_C(0x100000001), "does not fit"); /* PROMPTING in its low half */
    REFUSED(bad.state = NJ_SESSION_CLOSING, "does not fit");
    REFUSED(bad.calls_done = 2, "does not fit");
    REFUSED(bad.items = 0, "does not fit");
    REFUSED(bad.items = UINT64_MAX, "items in 1 turns");
    REFUSED(bad.items = NJ_LIST_ITEMS_MAX + 1, "items in 1 turns");
    REFUSED((bad.items = UINT64_MAX, bad.turn = UINT64_MAX), "items in");
    REFUSED(bad.items = 4, "");
    REFUSED(bad.items = 2, "");
    REFUSED(bad.conversation = play_digest(5), "");
#undef REFUSED
}

static void a_message_that_is_not_what_its_digest_says_is_refused(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    struct memory_object *object;
    struct nj_snapshot snapshot;
    struct nj_error err;

    (void)state;
    acting_snapshot(&play, &snapshot);
    object = memory_objects_find(&play.store, &play.session->messages[1].digest);
    assert_non_null(object);
    object->data[object->len / 2] ^= 1;
    assert_int_equal(restore(&play, &snapshot, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "message 2"));
}

static void a_snapshot_s_size_does_not_follow_the_conversation(void **state)
{
    NJ_AUTO(play_done) struct play play = {0};
    size_t sizes[2];

    (void)state;
    play_init(&play, 0);
    play.config.turns_max = 1000;
    play_saved(&play, play_opened(&play));
    for (uint64_t turn = 1; turn <= 400; turn++) {
        NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
        struct nj_snapshot snapshot;
        struct nj_error err = {0};

        play_saved(&play, play_reply(&play, turn, "more of it", 1, 1000 + turn));
        play_must(&play, play_tool_done(turn, 0, "out", 0, 2000 + turn));
        nj_session_checkpoint(play.session, &snapshot);
        nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
        assert_int_equal(nj_snapshot_pack(&snapshot, &packed, &err), 0);
        sizes[turn > 50] = packed.len;
        play_must(&play, play_plain(NJ_EVENT_SNAPSHOTTED));
    }
    assert_true(sizes[1] <= sizes[0] + 32); /* wider integers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix_restored_and_gone_on_equals_the_whole_fold),
        cmocka_unit_test(folding_twice_gives_the_same_state_after_every_prefix),
        cmocka_unit_test(a_session_without_clock_and_seed_never_gets_them),
        cmocka_unit_test(a_snapshot_that_contradicts_itself_is_refused),
        cmocka_unit_test(a_message_that_is_not_what_its_digest_says_is_refused),
        cmocka_unit_test(a_snapshot_s_size_does_not_follow_the_conversation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
