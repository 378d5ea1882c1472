/*
 * test_record.c - the same session read from a bundle and from a journal, and its steps
 */
#include <fcntl.h>

#include "tests/lib/record_kit.h"

#include "replay/timeline.h"

#include "formats/base/banned.h"

struct fixture {
    struct record_kit kit;
    char folder[32];
    char path[64];
    struct nj_run_dir dir;
    int fd;
    struct nj_record *record;
    struct nj_timeline *timeline;
};

static const struct nj_run_dir empty_dir = NJ_RUN_DIR_EMPTY;

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.dir = empty_dir, .fd = -1, .folder = "/tmp/nj-record-XXXXXX"};
    *state = &fixture;
    if (!mkdtemp(fixture.folder))
        return -1;
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/run", fixture.folder);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    nj_timeline_free(fixture->timeline);
    nj_record_free(fixture->record);
    nj_run_dir_done(&fixture->dir);
    if (fixture->fd >= 0)
        (void)close(fixture->fd);
    record_kit_done(&fixture->kit);
    return nj_fsio_remove_tree(AT_FDCWD, fixture->folder, &err);
}

static void open_bundle(struct fixture *fixture)
{
    struct nj_error err = {0};

    fixture->fd = record_kit_bundle(&fixture->kit);
    record_kit_must(nj_record_open_bundle(fixture->fd, "it", 0, &fixture->record, &err), &err);
    record_kit_must(nj_timeline_new(fixture->record, false, &fixture->timeline, &err), &err);
}

static void open_run(struct fixture *fixture, size_t n_frames)
{
    struct nj_error err = {0};

    record_kit_run(&fixture->kit, fixture->path, n_frames);
    record_kit_must(nj_run_dir_open(fixture->path, false, &fixture->dir, &err), &err);
    record_kit_must(nj_record_open_run(&fixture->dir, RECORD_KIT_KEY, 0, &fixture->record, &err),
                    &err);
    record_kit_must(nj_timeline_new(fixture->record, false, &fixture->timeline, &err), &err);
}

static const struct nj_row *step(struct fixture *fixture, int64_t wanted)
{
    const struct nj_row *row = NULL;
    struct nj_error err = {0};

    record_kit_must(nj_timeline_step(fixture->timeline, wanted, &row, &err), &err);
    return row;
}

/* ---- reading ---- */

static void a_bundle_and_a_journal_give_the_same_frames(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct fixture *fixture = *state;
    struct nj_record_digests digests;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    assert_true(nj_record_is_bundle(fixture->record));
    digests = nj_record_info(fixture->record)->digests;
    assert_int_equal(nj_record_info(fixture->record)->frames, fixture->kit.n_frames);
    nj_timeline_free(fixture->timeline);
    nj_record_free(fixture->record);
    fixture->timeline = NULL;
    fixture->record = NULL;

    open_run(fixture, fixture->kit.n_frames);
    assert_false(nj_record_is_bundle(fixture->record));
    assert_int_equal(nj_record_info(fixture->record)->frames, fixture->kit.n_frames);
    assert_int_equal(nj_record_info(fixture->record)->status, NJ_STATUS_SUCCEEDED);
    assert_memory_equal(&nj_record_info(fixture->record)->digests, &digests, sizeof(digests));
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    for (size_t i = 0; i < fixture->kit.n_frames; i++) {
        struct nj_frame frame;

        nj_buf_clear(&payload);
        record_kit_must(nj_record_frame(fixture->record, i + 1, &payload, &frame, &err), &err);
        assert_int_equal(frame.kind, fixture->kit.frames[i].kind);
        assert_int_equal(frame.payload.len, fixture->kit.frames[i].len);
        assert_memory_equal(frame.payload.data, fixture->kit.frames[i].payload, frame.payload.len);
    }
    assert_int_equal(nj_record_frame(fixture->record, 0, &payload, &(struct nj_frame){0}, &err),
                     -NJ_E_INPUT);
    assert_int_equal(nj_record_frame(fixture->record, fixture->kit.n_frames + 1, &payload,
                                     &(struct nj_frame){0}, &err),
                     -NJ_E_INPUT);
}

static void a_session_that_has_not_ended_is_read_to_its_last_commit(void **state)
{
    struct fixture *fixture = *state;

    record_kit_small(&fixture->kit);
    open_run(fixture, 5);
    assert_int_equal(nj_record_info(fixture->record)->frames, 5);
    assert_int_equal(nj_record_info(fixture->record)->status, 0);
    assert_int_equal(fixture->timeline->n_steps, 2);
}

static void an_unknown_key_names_the_nearest_one(void **state)
{
    struct fixture *fixture = *state;
    struct nj_record *record = NULL;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    record_kit_run(&fixture->kit, fixture->path, 3);
    record_kit_must(nj_run_dir_open(fixture->path, false, &fixture->dir, &err), &err);
    assert_int_equal(nj_record_open_run(&fixture->dir, "another-sesion", 0, &record, &err),
                     -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "another-session?"));
    assert_null(record);
}

static void a_bundle_that_tells_of_another_session_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    fixture->kit.config.group = "another"; /* after it was recorded */
    fixture->fd = record_kit_bundle(&fixture->kit);
    assert_int_equal(nj_record_open_bundle(fixture->fd, "it", 0, &fixture->record, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "another session"));
    assert_null(fixture->record);
}

/* ---- steps ---- */

static void steps_are_replies_calls_and_checks(void **state)
{
    static const enum nj_event_kind kinds[] = {NJ_EVENT_OPENED,    NJ_EVENT_REPLY,
                                               NJ_EVENT_TOOL_DONE, NJ_EVENT_REPLY,
                                               NJ_EVENT_TOOL_DONE, NJ_EVENT_REPLY};
    struct fixture *fixture = *state;

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    assert_int_equal(fixture->timeline->n_steps, 5);
    assert_int_equal(fixture->timeline->n_rows, 7);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(step(fixture, (int64_t)i)->kind, kinds[i]);
        assert_int_equal(step(fixture, (int64_t)i)->step, i);
    }
    assert_int_equal(step(fixture, -1)->step, 5);
    assert_int_equal(step(fixture, -6)->step, 0);
    assert_int_equal(fixture->timeline->rows[6].kind, NJ_EVENT_CLOSED);
    assert_false(fixture->timeline->rows[6].is_step);
}

static void a_step_that_is_not_there_says_how_many_there_are(void **state)
{
    struct fixture *fixture = *state;
    const struct nj_row *row = NULL;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    assert_int_equal(nj_timeline_step(fixture->timeline, 6, &row, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "0 (its start) to 5"));
    assert_int_equal(nj_timeline_step(fixture->timeline, -7, &row, &err), -NJ_E_INPUT);
    assert_null(row);
}

static void the_workspace_at_a_step_is_what_it_was_then(void **state)
{
    struct fixture *fixture = *state;
    struct nj_workspace_ref ref;
    struct nj_object_source source;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    source = nj_record_objects(fixture->record);
    for (int64_t n = 0; n <= 5; n++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_tree_entry entry;
        bool there = n == 2 || n == 3;

        record_kit_must(nj_timeline_workspace(fixture->timeline, step(fixture, n), &ref, &err),
                        &err);
        assert_int_equal(nj_tree_lookup(&source, &ref.tree, "workspace/a", &arena, &entry, &err),
                         there ? 0 : 1);
    }
}

static void seeking_gives_the_state_that_folding_gives(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    for (uint64_t sequence = 0; sequence <= fixture->kit.n_frames; sequence++) {
        NJ_AUTO(nj_session_free) struct nj_session *session = NULL;

        record_kit_must(nj_timeline_seek(fixture->timeline, sequence, &session, &err), &err);
        assert_int_equal(session->sequence, sequence);
        /* OPENED and every step add one message; each is followed by its snapshot. */
        assert_int_equal(session->n_messages, sequence > 11 ? 6 : (sequence + 1) / 2);
        if (sequence == fixture->kit.n_frames) {
            assert_int_equal(session->state, NJ_SESSION_DONE);
            assert_int_equal(session->steps, fixture->kit.session->steps);
            assert_memory_equal(&session->list_root, &fixture->kit.session->list_root,
                                NJ_DIGEST_BYTES);
        }
    }
}

static void changes_are_counted_against_the_step_before(void **state)
{
    static const uint64_t expected[6][3] = {{2, 0, 0}, {0, 0, 0}, {1, 0, 0},
                                            {0, 0, 0}, {0, 0, 1}, {0, 0, 0}};
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    for (int64_t n = 0; n <= 5; n++) {
        struct nj_changes changes = {9, 9, 9};

        record_kit_must(nj_timeline_changes(fixture->timeline, step(fixture, n), &changes, &err),
                        &err);
        assert_int_equal(changes.added, expected[n][0]);
        assert_int_equal(changes.modified, expected[n][1]);
        assert_int_equal(changes.deleted, expected[n][2]);
    }
}

static void the_calls_of_a_turn_are_found(void **state)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    open_bundle(fixture);
    record_kit_must(nj_timeline_calls(fixture->timeline, 2, &calls, &err), &err);
    assert_int_equal(calls.count, 1);
    assert_string_equal(json_string_value(json_object_get(calls.items[0].input, "code")),
                        "cat a; rm a; exit 3");
    assert_int_equal(nj_timeline_calls(fixture->timeline, 4, &calls, &err), -NJ_E_CORRUPT);
}

static void a_second_opening_is_damage_and_salvage_stops_before_it(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit_frame *frame;
    struct nj_error err = {0};

    record_kit_small(&fixture->kit);
    frame = &fixture->kit.frames[4]; /* the first call's event */
    free(frame->payload);
    frame->payload = malloc(fixture->kit.frames[0].len);
    memcpy(frame->payload, fixture->kit.frames[0].payload, fixture->kit.frames[0].len);
    frame->len = fixture->kit.frames[0].len;
    fixture->fd = record_kit_bundle(&fixture->kit);
    record_kit_must(nj_record_open_bundle(fixture->fd, "it", 0, &fixture->record, &err), &err);
    assert_int_equal(nj_timeline_new(fixture->record, false, &fixture->timeline, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "frame 5"));
    record_kit_must(nj_timeline_new(fixture->record, true, &fixture->timeline, &err), &err);
    assert_int_equal(fixture->timeline->n_steps, 1);
    assert_non_null(strstr(fixture->timeline->damage, "frame 5"));
}

/* The journal of a run may be anybody's, too: what begins a session need not be its opening. */
static void a_session_that_nothing_opened_is_refused(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_scan_done) struct nj_scan scan = {.session = 2};
    struct record_kit_frame opening, *frames = fixture->kit.frames;
    struct nj_error err = {0};
    struct nj_frame frame;
    int r;

    record_kit_small(&fixture->kit);
    opening = frames[0];
    frames[0] = frames[4]; /* the first call's event */
    frames[4] = opening;
    record_kit_run(&fixture->kit, fixture->path, 1);
    record_kit_must(nj_run_dir_open(fixture->path, false, &fixture->dir, &err), &err);
    record_kit_must(nj_journal_open(fixture->dir.journal_fd, &journal, &err), &err);
    while ((r = nj_journal_next(journal, &frame, &err)) == NJ_JOURNAL_FRAME)
        if (frame.session == scan.session)
            record_kit_must(nj_scan_frame(&scan, &frame, &err), &err);
    record_kit_must(r, &err);
    assert_int_equal(nj_record_open_scan(&fixture->dir, journal, &scan, &fixture->record, &err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "frame 1 does not open the session"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_bundle_and_a_journal_give_the_same_frames),
        TEST(a_session_that_has_not_ended_is_read_to_its_last_commit),
        TEST(an_unknown_key_names_the_nearest_one),
        TEST(a_bundle_that_tells_of_another_session_is_refused),
        TEST(steps_are_replies_calls_and_checks),
        TEST(a_step_that_is_not_there_says_how_many_there_are),
        TEST(the_workspace_at_a_step_is_what_it_was_then),
        TEST(seeking_gives_the_state_that_folding_gives),
        TEST(changes_are_counted_against_the_step_before),
        TEST(the_calls_of_a_turn_are_found),
        TEST(a_second_opening_is_damage_and_salvage_stops_before_it),
        TEST(a_session_that_nothing_opened_is_refused),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
