/*
 * test_code.c - what a model's input becomes: a box call, or words it can act on
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/tools/tool.h"
#include "formats/manifest/manifest.h"

#include "formats/base/banned.h"

static const struct nj_config_tool code_tools[] = {
    {.type = "code_execution",
     .name = "code_execution",
     .languages = NJ_LANGUAGE_BASH | NJ_LANGUAGE_PYTHON,
     .timeout_ms = 60000},
    {.type = "code_execution", .name = "run_js", .languages = NJ_LANGUAGE_NODE, .timeout_ms = 5000},
    {.type = "telepathy", .name = "telepathy", .timeout_ms = 5000},
};
static const char *const writable[] = {"/workspace", "/tmp"};
static const char *const read_only[] = {"/config"};
static const char *const accept_argv[] = {"python3", "/config/check.py"};
static const struct nj_config_mount config_mounts[] = {
    {.target = "/config", .input = {.tree = {{1}}, .stamps = {{2}}}}};

static struct nj_session_config config(void)
{
    return (struct nj_session_config){
        .tools = code_tools,
        .n_tools = 3,
        .writable_paths = writable,
        .n_writable_paths = 2,
        .read_only_paths = read_only,
        .n_read_only_paths = 1,
        .mounts = config_mounts,
        .n_mounts = 1,
        .max_size_bytes = 3u << 20,
        .max_memory_bytes = 5u << 20,
        .max_processes = 7,
        .max_cpu_micro = 250000,
        .max_runtime_ms = 100000,
        .accept_command = accept_argv,
        .n_accept_command = 2,
        .accept_timeout_ms = 9000,
    };
}

struct prepared {
    struct nj_arena arena;
    json_t *input;
    struct nj_tool_call call;
};

static void prepare_text(struct prepared *prepared, const char *tool, const char *input)
{
    struct nj_session_config cfg = config();
    struct nj_error err = {0};

    *prepared = (struct prepared){.input = json_loads(input, JSON_ALLOW_NUL, NULL)};
    assert_non_null(prepared->input);
    assert_int_equal(nj_tool_prepare(&cfg, tool, prepared->input, 40000, &prepared->arena,
                                     &prepared->call, &err),
                     0);
}

static void prepared_done(struct prepared *prepared)
{
    nj_arena_done(&prepared->arena);
    json_decref(prepared->input);
}

static void each_language_gets_its_interpreter_and_script(void **state)
{
    static const struct {
        const char *tool, *language, *program, *script;
    } rows[] = {{"code_execution", "bash", "bash", "call.sh"},
                {"code_execution", "python", "python3", "call.py"},
                {"run_js", "node", "node", "call.js"}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct prepared prepared;
        char input[128], path[32];

        (void)snprintf(input, sizeof(input), "{\"language\":\"%s\",\"code\":\"a\\u0000b\"}",
                       rows[i].language);
        (void)snprintf(path, sizeof(path), "/run/%s", rows[i].script);
        prepare_text(&prepared, rows[i].tool, input);
        assert_null(prepared.call.refusal);
        assert_string_equal(prepared.call.box.argv[0], rows[i].program);
        assert_string_equal(prepared.call.box.argv[1], path);
        assert_null(prepared.call.box.argv[2]);
        assert_string_equal(prepared.call.box.script_name, rows[i].script);
        assert_int_equal(prepared.call.box.script.len, 3); /* a NUL is a byte like others */
        assert_memory_equal(prepared.call.box.script.data, "a\0b", 3);
        prepared_done(&prepared);
    }
}

static void limits_come_from_the_config(void **state)
{
    struct prepared prepared;

    (void)state;
    prepare_text(&prepared, "code_execution", "{\"language\":\"bash\",\"code\":\"true\"}");
    assert_int_equal(prepared.call.box.timeout_ms, 60000);
    assert_int_equal(prepared.call.box.runtime_left_ms, 60000);
    assert_int_equal(prepared.call.box.runtime_limit_ms, 100000);
    assert_int_equal(prepared.call.box.head_max_bytes, NJ_BOX_HEAD_BYTES);
    assert_int_equal(prepared.call.box.tail_max_bytes, NJ_BOX_TAIL_BYTES);
    assert_null(prepared.call.box.cwd);
    prepared_done(&prepared);
}

static void a_timeout_is_taken_up_to_the_tools_own(void **state)
{
    static const struct {
        const char *wish;
        uint64_t ms;
    } rows[] = {{"2", 2000},
                {"0.25", 250},
                {"1e-9", 1},
                {"60", 60000},
                {"61", 60000},
                {"1e300", 60000},
                {"9223372036854775807", 60000}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct prepared prepared;
        char input[160];

        (void)snprintf(input, sizeof(input),
                       "{\"language\":\"bash\",\"code\":\"true\",\"timeout_seconds\":%s}",
                       rows[i].wish);
        prepare_text(&prepared, "code_execution", input);
        assert_null(prepared.call.refusal);
        assert_int_equal(prepared.call.box.timeout_ms, rows[i].ms);
        prepared_done(&prepared);
    }
}

static void wrong_input_is_refused_by_field_and_expectation(void **state)
{
    static const struct {
        const char *tool, *input, *refusal;
    } rows[] = {
        {"code_execution", "{}", "language: expected \"bash\" or \"python\", found nothing"},
        {"code_execution", "{\"language\":3,\"code\":\"x\"}",
         "language: expected \"bash\" or \"python\", found a number"},
        {"code_execution", "{\"language\":\"ruby\",\"code\":\"x\"}",
         "language: expected \"bash\" or \"python\", found \"ruby\""},
        {"code_execution", "{\"language\":\"node\",\"code\":\"x\"}",
         "language: expected \"bash\" or \"python\", found \"node\""},
        {"run_js", "{\"language\":\"bash\",\"code\":\"x\"}",
         "language: expected \"node\", found \"bash\""},
        {"code_execution", "{\"language\":\"bash\"}",
         "code: expected the script's text, found nothing"},
        {"code_execution", "{\"language\":\"bash\",\"code\":[\"ls\"]}",
         "code: expected the script's text, found a list"},
        {"code_execution", "{\"language\":\"bash\",\"code\":\"\"}",
         "code: expected the script's text, found an empty string"},
        {"code_execution", "{\"language\":\"bash\",\"code\":\"x\",\"timeout_seconds\":\"60\"}",
         "timeout_seconds: expected a number of seconds above 0, found a string"},
        {"code_execution", "{\"language\":\"bash\",\"code\":\"x\",\"timeout_seconds\":0}",
         "timeout_seconds: expected a number of seconds above 0, found 0"},
        {"code_execution", "{\"language\":\"bash\",\"code\":\"x\",\"timeout_seconds\":-1.5}",
         "timeout_seconds: expected a number of seconds above 0, found -1.5"},
        {"code_execution", "{\"language\":\"bash\",\"code\":\"x\",\"timeout_seconds\":null}",
         "timeout_seconds: expected a number of seconds above 0, found null"},
        {"code_execution", "{\"language\":\"bash\",\"code\":\"x\",\"timeout\":5}",
         "\"timeout\": no such field; expected language, code and, where wanted, timeout_seconds"},
        {"bash", "{\"command\":\"ls\"}",
         "\"bash\": no such tool; there is code_execution, run_js, telepathy"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct prepared prepared;

        prepare_text(&prepared, rows[i].tool, rows[i].input);
        assert_non_null(prepared.call.refusal);
        assert_string_equal(prepared.call.refusal, rows[i].refusal);
        assert_null(prepared.call.box.argv);
        prepared_done(&prepared);
    }
}

static void an_absurd_tool_name_is_cut_in_the_refusal(void **state)
{
    struct prepared prepared;
    char name[5000];

    (void)state;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    prepare_text(&prepared, name, "{}");
    assert_non_null(prepared.call.refusal);
    assert_true(strlen(prepared.call.refusal) < 200);
    prepared_done(&prepared);
}

static void a_tool_type_of_a_newer_build_is_an_error_not_a_refusal(void **state)
{
    struct nj_session_config cfg = config();
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tool_call call = {0};
    struct nj_error err = {0};
    json_t *input = json_object();

    (void)state;
    assert_int_equal(nj_tool_prepare(&cfg, "telepathy", input, 0, &arena, &call, &err),
                     -NJ_E_VERSION);
    assert_non_null(strstr(err.text, "telepathy"));
    json_decref(input);
}

static void a_session_without_run_time_runs_nothing_more(void **state)
{
    struct nj_session_config cfg = config();
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tool_call call = {0};
    struct nj_error err = {0};
    json_t *input = json_loads("{\"language\":\"bash\",\"code\":\"true\"}", 0, NULL);

    (void)state;
    assert_int_equal(nj_tool_prepare(&cfg, "code_execution", input, 100000, &arena, &call, &err),
                     0);
    assert_string_equal(call.refusal, "max_runtime_seconds of 100 are used up: nothing more can be "
                                      "run in this session");
    assert_int_equal(nj_tool_prepare_command(&cfg, 100001, &arena, &call, &err), 0);
    assert_non_null(call.refusal);
    assert_int_equal(nj_tool_prepare(&cfg, "code_execution", input, 99999, &arena, &call, &err), 0);
    assert_null(call.refusal);
    assert_int_equal(call.box.runtime_left_ms, 1);
    json_decref(input);
}

static void the_accept_command_is_a_box_call(void **state)
{
    struct nj_session_config cfg = config();
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tool_call call = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_tool_prepare_command(&cfg, 0, &arena, &call, &err), 0);
    assert_null(call.refusal);
    assert_string_equal(call.box.argv[0], "python3");
    assert_string_equal(call.box.argv[1], "/config/check.py");
    assert_null(call.box.argv[2]);
    assert_int_equal(call.box.timeout_ms, 9000);
    assert_int_equal(call.box.runtime_left_ms, 100000);
    assert_int_equal(call.box.script.len, 0);
}

static void the_box_is_what_the_config_says(void **state)
{
    struct nj_session_config cfg = config();
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_box_plan plan = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_tool_box_plan(&cfg, &arena, &plan, &err), 0);
    assert_ptr_equal(plan.writable_paths, writable);
    assert_int_equal(plan.n_writable_paths, 2);
    assert_ptr_equal(plan.read_only_paths, read_only);
    assert_int_equal(plan.n_read_only_paths, 1);
    assert_int_equal(plan.n_mounts, 1);
    assert_string_equal(plan.mounts[0].target, "/config");
    assert_memory_equal(&plan.mounts[0].input, &config_mounts[0].input,
                        sizeof(struct nj_workspace_ref));
    assert_int_equal(plan.max_size_bytes, 3u << 20);
    assert_int_equal(plan.max_memory_bytes, 5u << 20);
    assert_int_equal(plan.max_processes, 7);
    assert_int_equal(plan.max_cpu_micro, 250000);
    assert_true(plan.max_files > 0);
    assert_non_null(plan.hostname);
}

static void the_schema_is_json_and_offers_what_is_allowed(void **state)
{
    const struct nj_tool *tool = nj_tool_find("code_execution");
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};
    json_t *schema, *names;

    (void)state;
    assert_non_null(tool);
    assert_null(nj_tool_find("telepathy"));
    nj_buf_init(&text, 65536);
    assert_int_equal(tool->schema(&code_tools[0], &text, &err), 0);
    schema = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(schema);
    assert_string_equal(json_string_value(json_object_get(schema, "name")), "code_execution");
    names = json_object_get(
        json_object_get(json_object_get(json_object_get(schema, "input_schema"), "properties"),
                        "language"),
        "enum");
    assert_int_equal(json_array_size(names), 2);
    assert_string_equal(json_string_value(json_array_get(names, 1)), "python");
    json_decref(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_language_gets_its_interpreter_and_script),
        cmocka_unit_test(limits_come_from_the_config),
        cmocka_unit_test(a_timeout_is_taken_up_to_the_tools_own),
        cmocka_unit_test(wrong_input_is_refused_by_field_and_expectation),
        cmocka_unit_test(an_absurd_tool_name_is_cut_in_the_refusal),
        cmocka_unit_test(a_tool_type_of_a_newer_build_is_an_error_not_a_refusal),
        cmocka_unit_test(a_session_without_run_time_runs_nothing_more),
        cmocka_unit_test(the_accept_command_is_a_box_call),
        cmocka_unit_test(the_box_is_what_the_config_says),
        cmocka_unit_test(the_schema_is_json_and_offers_what_is_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
