/*
 * test_script.c - a replies file: what is read, what is refused and where, which reply fits, what
 * it says
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "batch/model/script.h"

#include "formats/base/banned.h"

static struct nj_script *parse(const char *text)
{
    struct nj_script *script = NULL;
    struct nj_error err = {0};

    if (nj_script_parse(nj_span_text(text), "replies.yaml", &script, &err) < 0)
        fail_msg("%s", err.text);
    return script;
}

/* A scene whose last message is @last, an item; the item's fields are @item, a JSON object. */
struct stage {
    json_t *item;
    struct nj_script_scene scene;
};

static void stage_set(struct stage *stage, const char *agent, const char *item, uint64_t turn,
                      const char *last)
{
    struct nj_error err = {0};

    stage->item = json_loads(item, 0, NULL);
    assert_non_null(stage->item);
    if (nj_script_scene_init(&stage->scene, agent, stage->item, turn, nj_span_text(last), &err) < 0)
        fail_msg("%s", err.text);
}

static void stage_done(struct stage *stage)
{
    nj_script_scene_done(&stage->scene);
    json_decref(stage->item);
}

#define USER(text) "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" text "\"}]}"
#define RESULT(text)                                                                               \
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\","             \
    "\"content\":\"" text "\"}]}"
#define RESULT_ERROR(text)                                                                         \
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\","             \
    "\"content\":\"" text "\",\"is_error\":true}]}"

/* Index of the reply that fits, or -1. */
static int chosen(const struct nj_script *script, const struct nj_script_scene *scene,
                  const uint32_t *uses)
{
    struct nj_error err = {0};
    size_t index = SIZE_MAX;
    int r = nj_script_choose(script, scene, uses, &index, &err);

    assert_true(r >= 0);
    return r == 1 ? -1 : (int)index;
}

static int chosen_for(const char *replies, const char *agent, const char *item, uint64_t turn,
                      const char *last)
{
    NJ_AUTO(nj_script_free) struct nj_script *script = parse(replies);
    struct stage stage;
    int index;

    stage_set(&stage, agent, item, turn, last);
    index = chosen(script, &stage.scene, NULL);
    stage_done(&stage);
    return index;
}

static void the_design_s_example_is_read(void **state)
{
    NJ_AUTO(nj_script_free)
    struct nj_script *script =
        parse("replies:\n"
              "  - when: {turn: 1}\n"
              "    say: \"I look at the file first.\"\n"
              "    call: [{tool: code_execution, input: {language: python, code: "
              "\"print(open('/workspace/in').read())\", timeout_seconds: 60}}]\n"
              "    usage: {input_tokens: 900, output_tokens: 40}\n"
              "    delay_ms: 0\n"
              "  - when: {matches: \"Traceback\"}\n"
              "    fail: overloaded\n"
              "    times: 2\n"
              "  - say: \"Done.\"\n");

    (void)state;
    assert_int_equal(script->n_replies, 3);
    assert_true(script->counts);
    assert_string_equal(script->replies[0].say, "I look at the file first.");
    assert_int_equal(script->replies[0].turns[0], 1);
    assert_int_equal(script->replies[0].n_calls, 1);
    assert_string_equal(script->replies[0].calls[0].input,
                        "{\"code\":\"print(open('/workspace/in').read())\",\"language\":\"python\","
                        "\"timeout_seconds\":60}");
    assert_int_equal(script->replies[0].usage.input_tokens, 900);
    assert_int_equal(script->replies[0].usage.output_tokens, 40);
    assert_int_equal(script->replies[1].fail, NJ_SCRIPT_FAIL_OVERLOADED);
    assert_int_equal(script->replies[1].times, 2);
    assert_true(script->replies[1].has_pattern);
    assert_string_equal(script->replies[2].say, "Done.");
}

static void faults_name_line_column_path_and_cure(void **state)
{
    static const struct {
        const char *text, *fault;
    } rows[] = {
        {"replys:\n  - say: x\n", "replies.yaml:1:1: replys: unknown key; did you mean replies?"},
        {"replies: []\n", "replies.yaml:1:10: replies: at least 1 item is needed, found 0"},
        {"- say: x\n", "replies.yaml:1:1: expected a map, found a list"},
        {"replies:\n  - sya: x\n",
         "replies.yaml:2:5: replies[0].sya: unknown key; did you mean say?"},
        {"replies:\n  - {}\n", "replies.yaml:2:5: replies[0]: expected say, call or fail"},
        {"replies:\n  - say: 3\n", "replies.yaml:2:10: replies[0].say: expected"},
        {"replies:\n  - say: x\n    when: {trun: 1}\n",
         "replies.yaml:3:12: replies[0].when.trun: unknown key; did you mean turn?"},
        {"replies:\n  - say: x\n    when: {turn: 0}\n",
         "replies.yaml:3:18: replies[0].when.turn: "},
        {"replies:\n  - say: x\n    when: {turn: [1, two]}\n",
         "replies.yaml:3:22: replies[0].when.turn[1]: "},
        {"replies:\n  - say: x\n    when: {turn: []}\n", "replies[0].when.turn: at least 1 item"},
        {"replies:\n  - say: x\n    when: {tool: okay}\n",
         "replies.yaml:3:18: replies[0].when.tool: unknown outcome \"okay\""},
        {"replies:\n  - say: x\n    when: {matches: \"a(\"}\n",
         "replies.yaml:3:21: replies[0].when.matches: expected a POSIX extended regular "
         "expression"},
        {"replies:\n  - say: x\n    when: {matches: \"(a)\\\\1\"}\n", "found a back reference"},
        {"replies:\n  - say: x\n    when: {matches: \"((a{99}){99})\"}\n", "more than 1024"},
        {"replies:\n  - say: x\n    when: {matches: \"a{1,99999999999999999999}\"}\n",
         "more than 1024"},
        {"replies:\n  - say: x\n    when: {item.: 1}\n", "expected the name of a field"},
        {"replies:\n  - say: x\n    when: {item.a: [1]}\n",
         "replies[0].when.\"item.a\": expected a text, a number, true or false, found a list"},
        {"replies:\n  - say: x\n    when: {item: 1}\n", "replies[0].when.item: expected a map"},
        {"replies:\n  - fail: overload\n", "replies.yaml:2:11: replies[0].fail: unknown failure "
                                           "\"overload\"; did you mean overloaded?"},
        {"replies:\n  - fail: cut\n    say: x\n",
         "replies.yaml:3:5: replies[0].say: a call that fails with cut carries nothing"},
        {"replies:\n  - fail: refusal\n    usage: {input_tokens: 1}\n", "carries nothing"},
        {"replies:\n  - say: x\n    times: 0\n", "replies.yaml:3:12: replies[0].times: "},
        {"replies:\n  - say: x\n    delay_ms: -1\n", "replies[0].delay_ms: "},
        {"replies:\n  - say: x\n    usage: {tokens: 1}\n", "replies[0].usage.tokens: unknown key"},
        {"replies:\n  - call: [{input: {}}]\n", "replies[0].call[0]"},
        {"replies:\n  - call: [{tool: t, input: [1]}]\n",
         "replies[0].call[0].input: expected a map: the tool's input, found a list"},
        {"replies:\n  - call: [{tool: t, input: {a: .nan}}]\n", "JSON cannot hold"},
        {"replies:\n  - call: {tool: t}\n", "replies[0].call: expected a list"},
        {"replies:\n  - say: x\n    say: y\n", "replies.yaml:3:5: "},
        {"replies:\n  - say: \"x\n", "replies.yaml:"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nj_script *script = NULL;
        struct nj_error err = {0};

        assert_int_equal(nj_script_parse(nj_span_text(rows[i].text), "replies.yaml", &script, &err),
                         -NJ_E_INPUT);
        assert_null(script);
        if (!strstr(err.text, rows[i].fault))
            fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i].fault);
    }
}

static void the_first_reply_that_fits_is_used(void **state)
{
    static const char replies[] = "replies:\n"
                                  "  - {when: {turn: [2, 3], agent: checker}, say: a}\n"
                                  "  - {when: {turn: 2}, say: b}\n"
                                  "  - {when: {matches: \"^Trace(back)?\"}, say: c}\n"
                                  "  - {when: {tool: ok}, say: d}\n"
                                  "  - {when: {tool: error}, say: e}\n"
                                  "  - {when: {item.kind: pdf, item: {pages: 3}}, say: f}\n"
                                  "  - {when: {turn: 9}, say: g}\n"
                                  "  - {when: {}, say: h}\n";

    (void)state;
    assert_int_equal(chosen_for(replies, "checker", "{}", 2, USER("x")), 0);
    assert_int_equal(chosen_for(replies, "checker", "{}", 3, USER("x")), 0);
    assert_int_equal(chosen_for(replies, "worker", "{}", 2, USER("x")), 1);
    assert_int_equal(chosen_for(replies, "worker", "{}", 3, RESULT("Traceback (most")), 2);
    assert_int_equal(chosen_for(replies, "worker", "{}", 3, USER("a Traceback")), 7);
    assert_int_equal(chosen_for(replies, "worker", "{}", 3, RESULT("fine")), 3);
    assert_int_equal(chosen_for(replies, "worker", "{}", 3, RESULT_ERROR("bad")), 4);
    assert_int_equal(chosen_for(replies, "w", "{\"kind\":\"pdf\",\"pages\":3}", 1, USER("x")), 5);
    assert_int_equal(chosen_for(replies, "w", "{\"kind\":\"pdf\",\"pages\":\"3\"}", 1, USER("x")),
                     5);
    assert_int_equal(chosen_for(replies, "w", "{\"kind\":\"pdf\",\"pages\":4}", 1, USER("x")), 7);
    assert_int_equal(chosen_for(replies, "w", "{\"kind\":\"pdf\"}", 1, USER("x")), 7);
    assert_int_equal(chosen_for("replies: [{when: {turn: 5}, say: x}]", "w", "{}", 1, USER("x")),
                     -1);
}

static void item_values_fit_as_text_or_as_json(void **state)
{
    static const struct {
        const char *when, *item;
        bool fits;
    } rows[] = {
        {"{item.a: true}", "{\"a\":true}", true},
        {"{item.a: true}", "{\"a\":\"true\"}", true},
        {"{item.a: true}", "{\"a\":false}", false},
        {"{item.a: 1.50}", "{\"a\":1.5}", true},
        {"{item.a: 1.50}", "{\"a\":\"1.50\"}", true},
        {"{item.a: 0x10}", "{\"a\":16}", true},
        {"{item.a: \"\"}", "{\"a\":\"\"}", true},
        {"{item.a.b: x}", "{\"a\":{\"b\":\"x\"}}", true},
        {"{item.a.b: x}", "{\"a.b\":\"x\"}", true},
        {"{item.a.b.c: x}", "{\"a.b\":{\"c\":\"x\"}}", true},
        {"{item.a.b: x}", "{\"a\":\"x\"}", false},
        {"{item: {a: x, b: y}}", "{\"a\":\"x\",\"b\":\"y\"}", true},
        {"{item: {a: x, b: y}}", "{\"a\":\"x\",\"b\":\"z\"}", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char replies[256];

        (void)snprintf(replies, sizeof(replies), "replies: [{when: %s, say: x}]", rows[i].when);
        assert_int_equal(chosen_for(replies, "w", rows[i].item, 1, USER("x")),
                         rows[i].fits ? 0 : -1);
    }
}

static void a_reply_used_up_is_passed_over(void **state)
{
    NJ_AUTO(nj_script_free)
    struct nj_script *script =
        parse("replies: [{say: a, times: 2}, {fail: cut, times: 1}, {say: c}]");
    static const struct {
        uint32_t uses[3];
        int index;
    } rows[] = {{{0, 0, 0}, 0}, {{1, 0, 0}, 0}, {{2, 0, 0}, 1}, {{2, 1, 0}, 2}, {{2, 1, 99}, 2}};
    struct stage stage;

    (void)state;
    stage_set(&stage, "w", "{}", 1, USER("x"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(chosen(script, &stage.scene, rows[i].uses), rows[i].index);
    stage_done(&stage);
}

static void a_pattern_sees_past_a_nul(void **state)
{
    (void)state;
    assert_int_equal(chosen_for("replies: [{when: {matches: needle$}, say: x}]", "w", "{}", 1,
                                RESULT("hay\\u0000needle")),
                     0);
}

static void render(const char *reply, const char *item, uint64_t turn, const char *last,
                   const char *content)
{
    char text[2048];
    NJ_AUTO(nj_script_free) struct nj_script *script = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    struct stage stage;
    json_t *parsed;

    (void)snprintf(text, sizeof(text), "replies:\n  - %s\n", reply);
    script = parse(text);
    stage_set(&stage, "w", item, turn, last);
    nj_buf_init(&out, 65536);
    assert_int_equal(nj_script_render(&script->replies[0], &stage.scene, &out, &err), 0);
    assert_string_equal((const char *)out.data, content);
    parsed = json_loadb((const char *)out.data, out.len, JSON_ALLOW_NUL, NULL);
    assert_true(json_is_array(parsed));
    json_decref(parsed);
    stage_done(&stage);
}

static void say_replaces_what_has_a_value_and_keeps_every_other_brace(void **state)
{
    (void)state;
    render("say: 'of {item.name}: {last}'", "{\"name\":\"a \\\"b\\\"\"}", 1, USER("L {item.name}"),
           "[{\"type\":\"text\",\"text\":\"of a \\\"b\\\": L {item.name}\"}]");
    render("say: '{\"total\": {\"net\": {item.n}}} {item.none} {x} {} {item.} { last} {{last}'",
           "{\"n\":7}", 1, USER("L"),
           "[{\"type\":\"text\",\"text\":\"{\\\"total\\\": {\\\"net\\\": 7}} {item.none} {x} {} "
           "{item.} { last} {L\"}]");
    render("say: '{item.a}{item.b}{item.c'", "{\"a\":1.5,\"b\":[1,{\"x\":null}],\"c\":1}", 1,
           USER("L"), "[{\"type\":\"text\",\"text\":\"1.5[1,{\\\"x\\\":null}]{item.c\"}]");
    render("say: ''\n    call: [{tool: t}]", "{}", 3, USER("L"),
           "[{\"type\":\"tool_use\",\"id\":\"toolu_3_0\",\"name\":\"t\",\"input\":{}}]");
    render("say: '{last}'", "{}", 1, USER(""), "[]");
}

static void inputs_replace_item_fields_in_values_only(void **state)
{
    (void)state;
    render("call: [{tool: t, input: {code: \"print(f'{x} {last} {item.no}')  # {item.p}\", "
           "\"{item.p}\": [\"{item.p}\", 1.10, {deep: \"a{item.p}\\\"b\"}]}}, {tool: u, id: mine}]",
           "{\"p\":\"q\\\"\\n\"}", 12, USER("L"),
           "[{\"type\":\"tool_use\",\"id\":\"toolu_12_0\",\"name\":\"t\",\"input\":{"
           "\"code\":\"print(f'{x} {last} {item.no}')  # q\\\"\\n\","
           "\"{item.p}\":[\"q\\\"\\n\",1.10,{\"deep\":\"aq\\\"\\n\\\"b\"}]}},"
           "{\"type\":\"tool_use\",\"id\":\"mine\",\"name\":\"u\",\"input\":{}}]");
}

static void a_script_is_opened_beneath_its_directory_only(void **state)
{
    static const struct {
        const char *path, *why;
    } rows[] = {{"../out.yaml", "leads out of"},
                {"/etc/hostname", "leads out of"},
                {"link.yaml", "leads out of"},
                {"none.yaml", "there is no such file"},
                {"folder", "not a regular file"}};
    char dir[] = "/tmp/nj-script-XXXXXX";
    NJ_AUTO(nj_script_free) struct nj_script *script = NULL;
    struct nj_digest digest;
    struct nj_error err = {0};
    nj_auto_close int dir_fd = -1, fd = -1;

    (void)state;
    assert_non_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir_fd >= 0);
    assert_int_equal(mkdirat(dir_fd, "folder", 0700), 0);
    assert_int_equal(symlinkat("/etc/hostname", dir_fd, "link.yaml"), 0);
    fd = openat(dir_fd, "folder/r.yaml", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "replies: [{say: x}]", 19), 19);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(nj_script_load(dir_fd, rows[i].path, &script, &err), -NJ_E_INPUT);
        assert_non_null(strstr(err.text, rows[i].why));
    }
    assert_int_equal(nj_script_load(dir_fd, "folder/r.yaml", &script, &err), 0);
    nj_digest_bytes("replies: [{say: x}]", 19, &digest);
    assert_true(nj_digest_equal(&script->digest, &digest));
    assert_int_equal(unlinkat(dir_fd, "folder/r.yaml", 0), 0);
    assert_int_equal(unlinkat(dir_fd, "folder", AT_REMOVEDIR), 0);
    assert_int_equal(unlinkat(dir_fd, "link.yaml", 0), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_design_s_example_is_read),
        cmocka_unit_test(faults_name_line_column_path_and_cure),
        cmocka_unit_test(the_first_reply_that_fits_is_used),
        cmocka_unit_test(item_values_fit_as_text_or_as_json),
        cmocka_unit_test(a_reply_used_up_is_passed_over),
        cmocka_unit_test(a_pattern_sees_past_a_nul),
        cmocka_unit_test(say_replaces_what_has_a_value_and_keeps_every_other_brace),
        cmocka_unit_test(inputs_replace_item_fields_in_values_only),
        cmocka_unit_test(a_script_is_opened_beneath_its_directory_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
