/*
 * test_world_recorded.c - records lived again in real boxes: true ones are equal, each lie is named
 * where it stands
 *
 * The records are made by hand (tests/lib/record_kit.h), so all digests of a lying one are mended:
 * only running the code again can tell. Without a sandbox on this host the cases are skipped, and
 * the reason is printed.
 */
#include <event2/event.h>
#include <fcntl.h>

#include "tests/lib/record_kit.h"

#include "replay/world_recorded.h"

#include "formats/base/banned.h"

static struct {
    struct event_base *base;
    struct nj_sandbox *sandbox;
    struct nj_environment here;
    struct nj_recorded_hall hall;
    char why_not[NJ_ERROR_TEXT_MAX_BYTES];
} hall;

struct fixture {
    struct record_kit kit;
    int fd;
    struct nj_record *record;
    struct nj_recorded *recorded;
    const struct nj_recorded_result *result;
    bool done;
};

static int group_set_up(void **state)
{
    struct nj_error err = {0};

    (void)state;
    if (nj_sandbox_start("test-replay", &hall.sandbox, &err) < 0) {
        (void)snprintf(hall.why_not, sizeof(hall.why_not), "%s", err.text);
        return 0;
    }
    hall.base = event_base_new();
    record_kit_must(nj_environment_parse(
                        "{\"interpreters\":{\"bash\":{\"path\":\"/bin/bash\",\"sha256\":\"bb\"}}}",
                        &hall.here, &err),
                    &err);
    record_kit_must(nj_sandbox_attach(hall.sandbox, hall.base, &err), &err);
    hall.hall =
        (struct nj_recorded_hall){.base = hall.base, .sandbox = hall.sandbox, .here = &hall.here};
    return 0;
}

static int group_tear_down(void **state)
{
    (void)state;
    nj_sandbox_free(hall.sandbox);
    nj_environment_done(&hall.here);
    if (hall.base)
        event_base_free(hall.base);
    return 0;
}

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.fd = -1};
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    nj_recorded_free(fixture->recorded);
    nj_record_free(fixture->record);
    if (fixture->fd >= 0)
        (void)close(fixture->fd);
    record_kit_done(&fixture->kit);
    return 0;
}

static void needs_sandbox(void)
{
    if (hall.sandbox)
        return;
    print_message("skipped: %s\n", hall.why_not);
    skip();
}

static void on_done(void *ctx)
{
    struct fixture *fixture = ctx;

    fixture->done = true;
    (void)event_base_loopbreak(hall.base);
}

static void open_record(struct fixture *fixture)
{
    struct nj_error err = {0};

    fixture->fd = record_kit_bundle(&fixture->kit);
    record_kit_must(nj_record_open_bundle(fixture->fd, "it", 0, &fixture->record, &err), &err);
}

static void live_again(struct fixture *fixture)
{
    struct nj_error err = {0};

    open_record(fixture);
    record_kit_must(
        nj_recorded_start(&hall.hall, fixture->record, on_done, fixture, &fixture->recorded, &err),
        &err);
    while (!fixture->done)
        assert_true(event_base_dispatch(hall.base) >= 0);
    fixture->result = nj_recorded_result(fixture->recorded);
    if (fixture->result->failed)
        fail_msg("%s", fixture->result->error.text);
}

static void is_equal(const struct fixture *fixture)
{
    const struct nj_divergences *list = &fixture->result->divergences;

    if (list->count > 0)
        fail_msg("%s: %s", list->items[0].where, list->items[0].what);
}

/* Exactly one difference: there, of that kind, saying that. */
static void differs_once(const struct fixture *fixture, enum nj_divergence_kind kind,
                         const char *where, const char *sentence)
{
    const struct nj_divergences *list = &fixture->result->divergences;

    for (size_t i = 1; i < list->n_items; i++)
        print_message("%s: %s\n", list->items[i].where, list->items[i].what);
    assert_int_equal(list->count, 1);
    assert_string_equal(list->items[0].where, where);
    assert_string_equal(list->items[0].what, sentence);
    assert_int_equal(list->items[0].kind, kind);
}

/* One call, its code and what the record says came of it, and the last word. */
static void one_call(struct record_kit *kit, const char *code, int status, const char *out,
                     const char *errors, const struct record_kit_file *after)
{
    struct nj_call_outcome outcome;

    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "I run it.", code);
    kit->workspace = record_kit_tree(kit, after);
    outcome = record_kit_outcome(kit, status, out, errors);
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
}

/* ---- true records ---- */

static void a_true_record_is_equal_in_every_step(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_small(&fixture->kit);
    live_again(fixture);
    is_equal(fixture);
    assert_int_equal(fixture->result->steps, 5);
    assert_int_equal(fixture->result->replies, 3);
    assert_int_equal(fixture->result->calls, 2);
    assert_int_equal(fixture->result->snapshots, 6);
    assert_true(fixture->result->closed);
}

static void a_record_that_stops_early_is_verified_to_its_end(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_small(&fixture->kit);
    /* Nothing behind the first call's event: not even its snapshot became durable. */
    for (size_t i = 5; i < fixture->kit.n_frames; i++)
        free(fixture->kit.frames[i].payload);
    fixture->kit.n_frames = 5;
    fixture->kit.status = 0;
    live_again(fixture);
    is_equal(fixture);
    assert_int_equal(fixture->result->calls, 1);
    assert_false(fixture->result->closed);
}

static void a_call_sees_the_times_that_it_saw(void **state)
{
    static const struct record_kit_file files[] = {{"workspace/a", 0644, "x"}, {0}};
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, files, "Begin.");
    for (unsigned i = 0; i < 2; i++) {
        /* The second call sees what the record says the first one left, not what it left now. */
        record_kit_reply(kit, "I look.", "date -u -r a +%s.%N; touch a; stat -c %a a");
        kit->workspace = record_kit_tree(kit, files);
        outcome = record_kit_outcome(kit, 0, "1234567890.123456789\n644\n", "");
        record_kit_call(kit, &outcome);
    }
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
    live_again(fixture);
    is_equal(fixture);
    assert_int_equal(fixture->result->calls, 2);
}

static void the_accept_command_is_run_again(void **state)
{
    static const char *const accept[] = {"sh", "-c", "echo looking; test -e a", NULL};
    static const char *const outputs[] = {"/workspace/**", NULL};
    static const struct record_kit_file after[] = {{"workspace/a", 0644, ""}, {0}};
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;

    needs_sandbox();
    record_kit_init(kit);
    kit->config.accept_command = accept;
    kit->config.n_accept_command = 3;
    kit->config.accept_attempts = 2;
    kit->config.outputs = outputs;
    kit->config.n_outputs = 1;
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "I think I am done.", NULL);
    outcome = record_kit_outcome(kit, 1, "looking\n", "");
    record_kit_judged(kit, &outcome);
    record_kit_reply(kit, "Ah.", "touch a");
    kit->workspace = record_kit_tree(kit, after);
    outcome = record_kit_outcome(kit, 0, "", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Now I am.", NULL);
    outcome = record_kit_outcome(kit, 0, "looking\n", "");
    record_kit_judged(kit, &outcome);
    record_kit_close(kit);
    assert_int_equal(kit->status, NJ_STATUS_SUCCEEDED);
    live_again(fixture);
    is_equal(fixture);
    assert_int_equal(fixture->result->checks, 2);
    assert_int_equal(fixture->result->calls, 1);
}

static void a_call_that_was_refused_is_refused_again(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome = {.exit = NJ_EXIT_REFUSED};

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_content(
        kit, "[{\"type\":\"tool_use\",\"id\":\"id\",\"name\":\"surf\",\"input\":{\"to\":\"x\"}}]",
        NULL);
    outcome.text = nj_span_text("\"surf\": no such tool; there is code_execution");
    nj_digest_bytes("", 0, &outcome.out.digest);
    nj_digest_bytes("", 0, &outcome.errors.digest);
    outcome.tree = kit->workspace.tree;
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
    live_again(fixture);
    is_equal(fixture);
    assert_int_equal(fixture->result->refusals, 1);
    assert_int_equal(fixture->result->calls, 0);
}

static void a_call_whose_box_was_lost_is_not_judged(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome = {.exit = NJ_EXIT_REFUSED};
    struct nj_event lost = {.kind = NJ_EVENT_BOX};

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "I run it.", "echo hello");
    lost.box.change = NJ_BOX_LOST;
    lost.box.text = nj_span_text("the supervisor died");
    for (unsigned i = 0; i < 3; i++)
        record_kit_event(kit, &lost, (struct nj_span){0});
    outcome.text = nj_span_text("the sandbox was lost 3 times");
    nj_digest_bytes("", 0, &outcome.out.digest);
    nj_digest_bytes("", 0, &outcome.errors.digest);
    outcome.tree = kit->workspace.tree;
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
    live_again(fixture);
    is_equal(fixture);
    assert_int_equal(fixture->result->unjudged, 1);
}

/* Boxes, attempts, suspensions and pieces of output stand between the steps and change nothing. */
static void circumstances_are_passed_over(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_event box = {.kind = NJ_EVENT_BOX};
    struct nj_event attempt = {.kind = NJ_EVENT_ATTEMPT};
    struct nj_event suspended = {.kind = NJ_EVENT_SUSPENDED};
    struct nj_event resumed = {.kind = NJ_EVENT_RESUMED};
    struct nj_buf piece = {0};
    struct nj_call_outcome outcome;
    struct nj_error err = {0};

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    attempt.attempt_failed.turn = 1;
    attempt.attempt_failed.cause = nj_span_text("overloaded");
    record_kit_event(kit, &attempt, (struct nj_span){0});
    suspended.suspended.reason = nj_span_text("signal");
    record_kit_event(kit, &suspended, (struct nj_span){0});
    record_kit_event(kit, &resumed, (struct nj_span){0});
    record_kit_reply(kit, "I run it.", "echo hello");
    box.box.change = NJ_BOX_BUILT;
    record_kit_event(kit, &box, (struct nj_span){0});
    nj_buf_init(&piece, 100);
    record_kit_must(nj_buf_text(&piece, "hel", &err), &err);
    record_kit_frame_add(kit, NJ_FRAME_OUTPUT, &piece);
    outcome = record_kit_outcome(kit, 0, "hello\n", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
    live_again(fixture);
    is_equal(fixture);
    assert_true(fixture->result->closed);
}

/* ---- lies ---- */

static void a_byte_of_recorded_output_is_named(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_init(&fixture->kit);
    one_call(&fixture->kit, "echo said-one", 0, "said-0ne\n", "", NULL);
    live_again(fixture);
    differs_once(
        fixture, NJ_DIVERGENCE_STDOUT, "step 2 (call 1 of turn 1)",
        "standard output differs at byte 6: recorded \"said-0ne\\n\", now \"said-one\\n\"");
}

static void a_byte_of_recorded_standard_error_is_named(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_init(&fixture->kit);
    one_call(&fixture->kit, "echo warned >&2", 0, "", "warmed\n", NULL);
    live_again(fixture);
    differs_once(fixture, NJ_DIVERGENCE_STDERR, "step 2 (call 1 of turn 1)",
                 "standard error differs at byte 4: recorded \"warmed\\n\", now \"warned\\n\"");
}

static void a_byte_of_a_tools_input_is_named_by_what_it_does(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_init(&fixture->kit);
    one_call(&fixture->kit, "echo said-0ne", 0, "said-one\n", "", NULL);
    live_again(fixture);
    differs_once(
        fixture, NJ_DIVERGENCE_STDOUT, "step 2 (call 1 of turn 1)",
        "standard output differs at byte 6: recorded \"said-one\\n\", now \"said-0ne\\n\"");
}

static void a_recorded_exit_status_is_named(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_init(&fixture->kit);
    one_call(&fixture->kit, "exit 3", 4, "", "", NULL);
    live_again(fixture);
    differs_once(fixture, NJ_DIVERGENCE_EXIT, "step 2 (call 1 of turn 1)",
                 "the exit differs: recorded exit status 4, now exit status 3");
}

/* The step that wrote the file is named; the one that reads it is judged by the record's own
 * workspace. */
static void a_byte_of_a_workspace_file_is_named_and_later_steps_stand_alone(void **state)
{
    static const struct record_kit_file bent[] = {{"workspace/a", 0644, "firsT\n"}, {0}};
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "I write.", "echo first >a");
    kit->workspace = record_kit_tree(kit, bent);
    outcome = record_kit_outcome(kit, 0, "", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "I read.", "cat a");
    outcome = record_kit_outcome(kit, 0, "firsT\n", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
    live_again(fixture);
    differs_once(fixture, NJ_DIVERGENCE_WORKSPACE, "step 2 (call 1 of turn 1)",
                 "the workspace differs at /workspace/a: its content differs at byte 5: recorded "
                 "\"firsT\\n\", now \"first\\n\"");
}

static void several_differences_of_a_step_are_one_step_and_the_next_is_another(void **state)
{
    static const struct record_kit_file none[] = {{0}};
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "One.", "echo x; touch b");
    kit->workspace = record_kit_tree(kit, none);
    outcome = record_kit_outcome(kit, 0, "y\n", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Two.", "echo x; ls");
    outcome = record_kit_outcome(kit, 0, "z\n", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "Done.", NULL);
    record_kit_close(kit);
    live_again(fixture);
    assert_int_equal(fixture->result->divergences.count, 3);
    assert_int_equal(fixture->result->divergences.steps, 2);
    assert_string_equal(
        fixture->result->divergences.items[1].what,
        "the workspace differs at /workspace/b: a file that the record does not have");
    assert_string_equal(fixture->result->divergences.items[2].where, "step 4 (call 1 of turn 2)");
    assert_string_equal(fixture->result->divergences.items[2].what,
                        "standard output differs at byte 1: recorded \"z\\n\", now \"x\\n\"");
}

static void a_recorded_request_is_compared(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_digest false_request;

    needs_sandbox();
    record_kit_init(kit);
    nj_digest_bytes("else", 4, &false_request);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_content(kit, "[{\"type\":\"text\",\"text\":\"Done.\"}]", &false_request);
    record_kit_close(kit);
    live_again(fixture);
    assert_int_equal(fixture->result->divergences.count, 1);
    assert_int_equal(fixture->result->divergences.items[0].kind, NJ_DIVERGENCE_REQUEST);
    assert_string_equal(fixture->result->divergences.items[0].where,
                        "step 1 (the reply of turn 1)");
}

static void a_recorded_snapshot_is_compared(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct fixture *fixture = *state;
    struct record_kit_frame *frame;
    struct nj_snapshot snapshot;
    struct nj_buf packed = {0};
    struct nj_error err = {0};

    needs_sandbox();
    record_kit_small(&fixture->kit);
    frame = &fixture->kit.frames[5];
    assert_int_equal(frame->kind, NJ_FRAME_SNAPSHOT);
    record_kit_must(
        nj_snapshot_unpack((struct nj_span){(const uint8_t *)frame->payload, frame->len}, &arena,
                           &snapshot, &err),
        &err);
    snapshot.cost_micro_usd++;
    nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
    record_kit_must(nj_snapshot_pack(&snapshot, &packed, &err), &err);
    free(frame->payload);
    frame->len = packed.len;
    frame->payload = nj_buf_steal(&packed);
    live_again(fixture);
    differs_once(fixture, NJ_DIVERGENCE_SNAPSHOT, "step 2 (call 1 of turn 1)",
                 "the snapshot does not fit the events before it: cost");
}

static void a_recorded_result_is_compared(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_event closed = {.kind = NJ_EVENT_CLOSED};

    needs_sandbox();
    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "Done.", NULL);
    closed.closed.status = NJ_STATUS_SUCCEEDED;
    closed.closed.result = nj_span_text("Dune.");
    closed.closed.has_outputs = true;
    closed.closed.outputs = kit->workspace.tree;
    kit->status = NJ_STATUS_SUCCEEDED;
    record_kit_event(kit, &closed, (struct nj_span){0});
    live_again(fixture);
    assert_int_equal(fixture->result->divergences.count, 2);
    assert_int_equal(fixture->result->divergences.steps, 1);
    assert_string_equal(fixture->result->divergences.items[0].where, "the end of the session");
    assert_string_equal(fixture->result->divergences.items[0].what,
                        "the result differs at byte 2: recorded \"Dune.\", now \"Done.\"");
    assert_string_equal(fixture->result->divergences.items[1].what,
                        "outputs: recorded some, now none");
}

static void an_event_that_is_not_due_ends_the_replay_by_name(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit_frame *frames = fixture->kit.frames;

    needs_sandbox();
    record_kit_small(&fixture->kit);
    free(frames[2].payload); /* the first reply's event and its snapshot are gone */
    free(frames[3].payload);
    memmove(&frames[2], &frames[4], (fixture->kit.n_frames - 4) * sizeof(*frames));
    fixture->kit.n_frames -= 2;
    live_again(fixture);
    differs_once(fixture, NJ_DIVERGENCE_RECORD, "the start of the session",
                 "the model's reply was due, but the record goes on with tool-done (frame 3)");
}

/* ---- what a record may ask for ---- */

static void add_mount(struct record_kit *kit, struct nj_config_mount *mount)
{
    NJ_AUTO(nj_tree_builder_free) struct nj_tree_builder *builder = NULL;
    struct nj_object_sink sink = memory_objects_sink(&kit->inputs);
    struct nj_error err = {0};

    record_kit_must(nj_tree_builder_new(&builder, &err), &err);
    record_kit_must(
        nj_tree_builder_file(builder, "x", 0444, 0, nj_span_text("from-mount\n"), &sink, &err),
        &err);
    record_kit_must(nj_tree_builder_finish(builder, &sink, &mount->input, &err), &err);
    mount->target = "/mounted";
    kit->config.mounts = mount;
    kit->config.n_mounts = 1;
}

static void mounts_come_from_the_bundles_own_inputs(void **state)
{
    struct fixture *fixture = *state;
    struct nj_config_mount mount = {0};

    needs_sandbox();
    record_kit_init(&fixture->kit);
    add_mount(&fixture->kit, &mount);
    one_call(&fixture->kit, "cat /mounted/x", 0, "from-mount\n", "", NULL);
    live_again(fixture);
    is_equal(fixture);
}

static void inputs_by_reference_are_refused_with_the_cure(void **state)
{
    struct fixture *fixture = *state;
    struct nj_config_mount mount = {0};
    struct nj_error err = {0};

    needs_sandbox();
    record_kit_init(&fixture->kit);
    add_mount(&fixture->kit, &mount);
    fixture->kit.inputs_by_reference = true;
    one_call(&fixture->kit, "cat /mounted/x", 0, "from-mount\n", "", NULL);
    open_record(fixture);
    assert_int_equal(
        nj_recorded_start(&hall.hall, fixture->record, on_done, fixture, &fixture->recorded, &err),
        -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "/mounted"));
    assert_non_null(strstr(err.text, "RUN:KEY"));
    assert_null(fixture->recorded);
}

static void a_box_over_the_system_is_refused_before_anything_runs(void **state)
{
    static const char *const over[] = {"/usr", NULL};
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    needs_sandbox();
    record_kit_init(&fixture->kit);
    fixture->kit.config.writable_paths = over;
    fixture->kit.config.n_writable_paths = 1;
    one_call(&fixture->kit, "true", 0, "", "", NULL);
    open_record(fixture);
    assert_int_equal(
        nj_recorded_start(&hall.hall, fixture->record, on_done, fixture, &fixture->recorded, &err),
        -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "/usr"));
}

static void another_interpreter_is_told_once(void **state)
{
    struct fixture *fixture = *state;

    needs_sandbox();
    record_kit_small(&fixture->kit);
    fixture->kit.environment =
        "{\"interpreters\":{\"bash\":{\"path\":\"/bin/bash\",\"sha256\":\"aa\"}}}";
    live_again(fixture);
    is_equal(fixture);
    assert_string_equal((const char *)fixture->result->environment.data,
                        "bash: recorded /bin/bash (sha256 aa), here /bin/bash (sha256 bb)\n");
}

static void several_sessions_live_again_at_once(void **state)
{
    struct fixture others[4];

    (void)state;
    needs_sandbox();
    for (size_t i = 0; i < 4; i++) {
        struct nj_error err = {0};

        others[i] = (struct fixture){.fd = -1};
        record_kit_init(&others[i].kit);
        one_call(&others[i].kit, "sleep 0.2; echo me", 0, i == 2 ? "you\n" : "me\n", "", NULL);
        open_record(&others[i]);
        record_kit_must(nj_recorded_start(&hall.hall, others[i].record, on_done, &others[i],
                                          &others[i].recorded, &err),
                        &err);
    }
    while (!others[0].done || !others[1].done || !others[2].done || !others[3].done)
        assert_true(event_base_dispatch(hall.base) >= 0);
    for (size_t i = 0; i < 4; i++) {
        void *fixture = &others[i];

        assert_int_equal(nj_recorded_result(others[i].recorded)->divergences.count, i == 2);
        (void)tear_down(&fixture);
    }
}

static void a_session_given_up_in_the_middle_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    needs_sandbox();
    record_kit_init(&fixture->kit);
    one_call(&fixture->kit, "sleep 30", 0, "", "", NULL);
    open_record(fixture);
    record_kit_must(
        nj_recorded_start(&hall.hall, fixture->record, on_done, fixture, &fixture->recorded, &err),
        &err);
    assert_int_equal(event_base_loop(hall.base, EVLOOP_ONCE), 0); /* the box is on its way */
    nj_recorded_free(fixture->recorded);
    fixture->recorded = NULL;
    assert_int_equal(event_base_loop(hall.base, EVLOOP_NONBLOCK), 0);
    assert_false(fixture->done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_true_record_is_equal_in_every_step),
        TEST(a_record_that_stops_early_is_verified_to_its_end),
        TEST(a_call_sees_the_times_that_it_saw),
        TEST(the_accept_command_is_run_again),
        TEST(a_call_that_was_refused_is_refused_again),
        TEST(a_call_whose_box_was_lost_is_not_judged),
        TEST(circumstances_are_passed_over),
        TEST(a_byte_of_recorded_output_is_named),
        TEST(a_byte_of_recorded_standard_error_is_named),
        TEST(a_byte_of_a_tools_input_is_named_by_what_it_does),
        TEST(a_recorded_exit_status_is_named),
        TEST(a_byte_of_a_workspace_file_is_named_and_later_steps_stand_alone),
        TEST(several_differences_of_a_step_are_one_step_and_the_next_is_another),
        TEST(a_recorded_request_is_compared),
        TEST(a_recorded_snapshot_is_compared),
        TEST(a_recorded_result_is_compared),
        TEST(an_event_that_is_not_due_ends_the_replay_by_name),
        TEST(mounts_come_from_the_bundles_own_inputs),
        TEST(inputs_by_reference_are_refused_with_the_cure),
        TEST(a_box_over_the_system_is_refused_before_anything_runs),
        TEST(another_interpreter_is_told_once),
        TEST(several_sessions_live_again_at_once),
        TEST(a_session_given_up_in_the_middle_leaves_nothing),
#undef TEST
    };

    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
