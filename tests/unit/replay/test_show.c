/*
 * test_show.c - a session told row by row and step by step, harmless on a terminal, whole as JSON
 */
#include "tests/lib/record_kit.h"

#include "formats/base/utf8.h"
#include "replay/render.h"
#include "replay/show.h"

#include "formats/base/banned.h"

struct fixture {
    struct record_kit kit;
    int fd;
    struct nj_record *record;
    struct nj_timeline *timeline;
    struct nj_show show;
    struct nj_buf out;
};

static struct nj_error err;

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.fd = -1};
    nj_buf_init(&fixture.out, NJ_RENDER_MAX_BYTES);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    nj_show_done(&fixture->show);
    nj_buf_done(&fixture->out);
    nj_timeline_free(fixture->timeline);
    nj_record_free(fixture->record);
    if (fixture->fd >= 0)
        (void)close(fixture->fd);
    record_kit_done(&fixture->kit);
    return 0;
}

static void open_show(struct fixture *fixture)
{
    fixture->fd = record_kit_bundle(&fixture->kit);
    record_kit_must(nj_record_open_bundle(fixture->fd, "it", 0, &fixture->record, &err), &err);
    record_kit_must(nj_timeline_new(fixture->record, false, &fixture->timeline, &err), &err);
    fixture->show.timeline = fixture->timeline;
}

static void show_all(struct fixture *fixture)
{
    nj_buf_clear(&fixture->out);
    record_kit_must(nj_show_session(&fixture->show, &fixture->out, &err), &err);
    for (size_t i = 0; i < fixture->timeline->n_rows; i++)
        record_kit_must(
            nj_show_row(&fixture->show, &fixture->timeline->rows[i], &fixture->out, &err), &err);
}

static void show_step(struct fixture *fixture, int64_t step)
{
    const struct nj_row *row = NULL;

    nj_buf_clear(&fixture->out);
    record_kit_must(nj_timeline_step(fixture->timeline, step, &row, &err), &err);
    record_kit_must(nj_show_step(&fixture->show, row, &fixture->out, &err), &err);
}

static void has(const struct fixture *fixture, const char *text)
{
    if (!strstr((const char *)fixture->out.data, text))
        fail_msg("lacks: %s\nin: %s", text, (const char *)fixture->out.data);
}

static void is_harmless(const struct fixture *fixture)
{
    for (size_t at = 0; at < fixture->out.len;) {
        struct nj_span rest = {fixture->out.data + at, fixture->out.len - at};
        uint32_t code_point = 0;
        size_t len = nj_utf8_next(rest, &code_point);

        assert_true(len > 0);
        if (code_point != '\n' && code_point != '\t')
            assert_false(nj_utf8_is_unsafe(code_point));
        at += len;
    }
}

/* ---- text ---- */

static void the_timeline_tells_what_was_said_run_printed_and_changed(void **state)
{
    struct fixture *fixture = *state;

    record_kit_small(&fixture->kit);
    open_show(fixture);
    show_all(fixture);
    has(fixture, "session   one\n");
    has(fixture, "status    succeeded\n");
    has(fixture, "steps     5: 3 replies, 2 calls, 0 checks\ncost      $0.004500\n");
    has(fixture,
        "    1     +1ms      0ms  $0.001500  reply of turn 1 (script:by-hand, tool_use): I write a "
        "file. [1 call]\n");
    has(fixture,
        "call 1 of turn 1, code_execution: echo first >a\\necho said-one\\necho warned >&2\n");
    has(fixture, "exit status 0; files: 1 added, 0 modified, 0 deleted\n");
    has(fixture, "out: said-one\n");
    has(fixture, "err: warned\n");
    has(fixture, "exit status 3; files: 0 added, 0 modified, 1 deleted\n");
    has(fixture, "closed: succeeded: All done.\n");
}

static void a_terminal_gets_lines_that_it_has_room_for(void **state)
{
    struct fixture *fixture = *state;

    record_kit_small(&fixture->kit);
    open_show(fixture);
    fixture->show.columns = 70;
    show_all(fixture);
    has(fixture, "  reply of turn 1 (script:by-hand,\n"
                 "                                      tool_use): I write a file. [1\n"
                 "                                      call]\n");
    has(fixture, "                                        exit status 0; files: 1 added,\n"
                 "                                          0 modified, 0 deleted\n");
    fixture->show.columns = 40; /* as if it were none */
    nj_buf_clear(&fixture->out);
    show_all(fixture);
    has(fixture, "reply of turn 1 (script:by-hand, tool_use): I write a file. [1 call]\n");
}

static void a_call_is_shown_with_its_code_as_lines(void **state)
{
    struct fixture *fixture = *state;

    record_kit_small(&fixture->kit);
    open_show(fixture);
    show_step(fixture, 2);
    has(fixture, "step 2 of 5, session one: call 1 of turn 1\n");
    has(fixture, "code:\n    echo first >a\n    echo said-one\n    echo warned >&2\n");
    has(fixture, "--- exit status 0\n");
    has(fixture, "--- standard output (9 bytes)\n    said-one\n");
    has(fixture, "--- standard error (7 bytes)\n    warned\n");
    has(fixture, "  + /workspace/a (6 bytes, mode 0644)\n");
    show_step(fixture, 4);
    has(fixture, "  - /workspace/a (6 bytes, mode 0644)\n");
}

static void a_reply_is_shown_with_what_it_answers(void **state)
{
    struct fixture *fixture = *state;

    record_kit_small(&fixture->kit);
    open_show(fixture);
    show_step(fixture, 3);
    has(fixture, "role worker, 3 messages; the last:\n    said-one\n    [stderr]\n    warned\n");
    has(fixture, "--- reply of script:by-hand (tool_use)\n");
    has(fixture, "    I read it.\n");
    has(fixture, "code: cat a; rm a; exit 3\n");
    show_step(fixture, 0);
    has(fixture, "--- first message\n    Begin.\n");
}

static void bytes_left_out_of_a_stream_are_counted(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;

    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "Much.", "yes");
    outcome = record_kit_outcome(kit, 0, "head", "");
    outcome.out.bytes = 1000;
    outcome.out.tail = nj_span_text("tail\n");
    outcome.exit = NJ_EXIT_SIGNALLED;
    outcome.status = 9;
    outcome.limit = NJ_LIMIT_TIMEOUT;
    outcome.limit_value = 60000;
    record_kit_call(kit, &outcome);
    open_show(fixture);
    show_step(fixture, 2);
    has(fixture, "--- killed by signal 9 (KILL), at its limit timeout_seconds of 60000 ms\n");
    has(fixture,
        "--- standard output (1000 bytes)\n    head\n    [... 991 bytes left out ...]\n    tail\n");
    show_all(fixture);
    has(fixture, "status    suspended\n");
}

static void nothing_of_a_session_drives_a_terminal(void **state)
{
    static const struct record_kit_file after[] = {{"workspace/\033[31mred", 0644, ""}, {0}};
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;

    record_kit_init(kit);
    record_kit_open(kit, NULL, "\033]0;title\007");
    record_kit_reply(kit, "\xe2\x80\xaethgir ot tfel", "printf '\033[2J'\n\r");
    kit->workspace = record_kit_tree(kit, after);
    outcome = record_kit_outcome(kit, 0, "\033[2J\xff\xc2\x9b", "\007\x7f");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "\033[1mbold", NULL);
    record_kit_close(kit);
    open_show(fixture);
    for (unsigned json = 0; json < 2; json++) {
        fixture->show.json = json;
        show_all(fixture);
        is_harmless(fixture);
        for (int64_t step = 0; step <= 3; step++) {
            show_step(fixture, step);
            is_harmless(fixture);
        }
    }
}

/* ---- JSON ---- */

static json_t *parse_line(const struct fixture *fixture, size_t wanted)
{
    const char *line = (const char *)fixture->out.data;
    json_t *json;

    for (size_t i = 0; i < wanted; i++)
        line = strchr(line, '\n') + 1;
    json = json_loadb(line, (size_t)(strchr(line, '\n') - line), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static void json_has_a_line_for_the_session_and_one_a_row(void **state)
{
    struct fixture *fixture = *state;
    json_t *json;

    record_kit_small(&fixture->kit);
    open_show(fixture);
    fixture->show.json = true;
    show_all(fixture);
    json = parse_line(fixture, 0);
    assert_string_equal(json_string_value(json_object_get(json, "type")), "session");
    assert_int_equal(json_integer_value(json_object_get(json, "steps")), 5);
    json_decref(json);
    json = parse_line(fixture, 3);
    assert_string_equal(json_string_value(json_object_get(json, "kind")), "tool-done");
    assert_int_equal(json_integer_value(json_object_get(json, "step")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "files_added")), 1);
    json_decref(json);
    json = parse_line(fixture, 7);
    assert_string_equal(json_string_value(json_object_get(json, "kind")), "closed");
    assert_true(json_is_null(json_object_get(json, "step")));
    json_decref(json);
}

static void json_of_a_step_holds_every_byte(void **state)
{
    struct fixture *fixture = *state;
    struct record_kit *kit = &fixture->kit;
    struct nj_call_outcome outcome;
    json_t *json;
    json_t *out;

    record_kit_init(kit);
    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "Bytes.", "printf '\\377'");
    outcome = record_kit_outcome(kit, 0, "\xff", "");
    record_kit_call(kit, &outcome);
    open_show(fixture);
    fixture->show.json = true;
    show_step(fixture, 2);
    json = parse_line(fixture, 0);
    out = json_object_get(json, "stdout");
    assert_string_equal(json_string_value(json_object_get(out, "head_base64")), "/w==");
    assert_string_equal(json_string_value(json_object_get(out, "head")), "\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "input"), "code")),
                        "printf '\\377'");
    assert_null(json_object_get(json_object_get(json, "stderr"), "head_base64"));
    json_decref(json);
}

/* ---- what is lost ---- */

static void salvage_tells_what_is_lost_and_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct memory_objects *store = &fixture->kit.store;
    struct nj_error failure = {0};
    size_t at = 0;

    record_kit_small(&fixture->kit);
    /* The first reply's message is not in the bundle. */
    while (!memmem(store->items[at].data, store->items[at].len, "I write a file.", 15))
        at++;
    store->items[at].data[0] = 'X';
    nj_digest_bytes(store->items[at].data, store->items[at].len, &store->items[at].digest);
    open_show(fixture);
    assert_int_equal(
        nj_show_row(&fixture->show, &fixture->timeline->rows[1], &fixture->out, &failure),
        -NJ_E_CORRUPT);
    fixture->show.salvage = true;
    show_all(fixture);
    has(fixture, "reply (lost: ");
    has(fixture, "closed: succeeded: All done.\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(the_timeline_tells_what_was_said_run_printed_and_changed),
        TEST(a_terminal_gets_lines_that_it_has_room_for),
        TEST(a_call_is_shown_with_its_code_as_lines),
        TEST(a_reply_is_shown_with_what_it_answers),
        TEST(bytes_left_out_of_a_stream_are_counted),
        TEST(nothing_of_a_session_drives_a_terminal),
        TEST(json_has_a_line_for_the_session_and_one_a_row),
        TEST(json_of_a_step_holds_every_byte),
        TEST(salvage_tells_what_is_lost_and_goes_on),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
