/*
 * test_explain.c - a planned job in words
 */
#include "tests/lib/scratch.h"

#include "batch/cli/explain.h"
#include "batch/cli/rows.h"

static struct scratch scratch;

struct job {
    struct nj_manifest *manifest;
    struct nj_models *models;
    struct nj_plan *plan;
    struct nj_explain_inputs inputs;
    struct nj_manifest_faults faults;
    struct nj_buf text;
    struct nj_error err;
};

static struct job job;

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    scratch_file(&scratch, "replies.yaml", "replies:\n  - say: done\n", 0644);
    memset(&job, 0, sizeof(job));
    nj_buf_init(&job.text, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nj_plan_free(job.plan);
    nj_models_free(job.models);
    nj_manifest_free(job.manifest);
    nj_explain_inputs_done(&job.inputs);
    nj_manifest_faults_done(&job.faults);
    nj_buf_done(&job.text);
    scratch_remove(&scratch);
    return 0;
}

static void plan(const char *text)
{
    struct nj_object_sink sink = nj_explain_inputs_sink(&job.inputs);

    if (nj_manifest_parse(nj_span_text(text), "job.yaml", &job.manifest, &job.faults, &job.err) <
            0 ||
        nj_models_new(job.manifest, scratch.fd, &job.models, &job.err) < 0 ||
        nj_plan_new(job.manifest, scratch.fd, job.models, &sink, NULL, &job.plan, &job.faults,
                    &job.err) < 0)
        fail_msg("%s", job.err.text);
}

static const char *explained(const struct nj_explain_host *host)
{
    nj_buf_clear(&job.text);
    if (nj_explain_job(job.plan, &job.inputs, host, NJ_ROWS_COLUMNS, &job.text, &job.err) < 0)
        fail_msg("%s", job.err.text);
    return (char *)job.text.data;
}

static const struct nj_explain_host large = {UINT64_C(1) << 50, UINT64_C(1) << 50, 4, UINT64_MAX};

#define HEAD                                                                                       \
    "nightjar: 1\n"                                                                                \
    "job: night\n"                                                                                 \
    "models: {worker: [{provider: script, script: replies.yaml}]}\n"                               \
    "agents:\n"                                                                                    \
    "  w: {model: worker, tools: [{type: code_execution}], sandbox: {max_memory_mb: 100, "         \
    "filesystem: {max_size_mb: 10}, mounts: [{source: config, target: /config}]}}\n"               \
    "  unused: {model: worker}\n"                                                                  \
    "sessions:\n"

static void a_job_is_told_in_full(void **state)
{
    (void)state;
    scratch_file(&scratch, "config/check.py", "pass\n", 0644);
    scratch_file(&scratch, "in/a", "same", 0644);
    scratch_file(&scratch, "in/b", "same", 0644);
    plan(HEAD
         "  - name: g\n"
         "    agent: w\n"
         "    for_each: {glob: \"in/*\"}\n"
         "    files: [{source: \"{item.path}\", target: /workspace/in}]\n"
         "    input: x\n"
         "    outputs: [/workspace/out/**]\n"
         "    accept: {command: [python3, /config/check.py], attempts: 2, timeout_seconds: 9}\n"
         "  - {name: s, agent: w, after: [g], input: \"{results}\"}\n"
         "limits: {budget_usd: 20, session_budget_usd: 0.05}\n");
    assert_string_equal(
        explained(&large),
        "job night: 3 sessions in 2 groups\n"
        "group g: 2 sessions of agent w\n"
        "  items       one for each in/*\n"
        "  keys        a (in/a) to b (in/b)\n"
        "  each        100 turns, 0.05 USD, 3600 s of tool time\n"
        "  accepted    python3 /config/check.py exits with 0 within 9 s; 2 attempts\n"
        "  outputs     /workspace/out/**\n"
        "  failed      no second attempt\n"
        "group s: 1 session of agent w\n"
        "  key         s\n"
        "  after       g\n"
        "  each        100 turns, 0.05 USD, 3600 s of tool time\n"
        "  failed      no second attempt\n"
        "agent w\n"
        "  model       worker\n"
        "  tools       code_execution (bash python node; 300 s a call)\n"
        "  box         10 MiB for /workspace, /tmp; read-only /config; 100 MiB of\n"
        "              memory, 256 processes, no network\n"
        "  replay      level D2: the record's time, randomness and file times\n"
        "model worker\n"
        "  first       script replies.yaml; replies of 8192 tokens\n"
        "inputs: 5 objects, 132 bytes\n"
        "run\n"
        "  at once     64 sessions alive, 3 tool calls, 3 boxes kept\n"
        "  until       20.00 USD are spent: sessions are suspended\n"
        "  disk        no session begins with less than 1024 MB free\n"
        "  bundles     hold the inputs\n"
        "this host\n"
        "  memory      at most 330 MiB for boxes and workspaces; 1 PiB available\n"
        "  disk        at most 30 MiB for inputs and each workspace once; 1 PiB free\n"
        "              here\n");
}

static void a_host_that_is_too_small_is_said_with_the_cure(void **state)
{
    const struct nj_explain_host small = {100 << 20, 5 << 20, 1, UINT64_MAX};
    const char *text;

    (void)state;
    scratch_dir(&scratch, "config");
    plan(HEAD "  - {name: g, agent: w, input: x}\n");
    text = explained(&small);
    assert_non_null(
        strstr(text, "at most 110 MiB for boxes and workspaces; 100 MiB available: NOT\n"
                     "              ENOUGH if every box uses all it may; lower limits.tool_calls"));
    assert_non_null(strstr(text, "at most 10 MiB for inputs and each workspace once; 5 MiB free\n"
                                 "              here: NOT ENOUGH if every box uses all it may;"));
    assert_non_null(strstr(text, "no session begins with less than 1024 MB free: NOT ENOUGH here;\n"
                                 "              free some, keep the run elsewhere (--run-dir)"));
}

static void boxes_that_are_only_kept_for_speed_are_no_need(void **state)
{
    const struct nj_explain_host host = {400 << 20, UINT64_C(1) << 40, 1, UINT64_MAX};

    (void)state;
    scratch_dir(&scratch, "config");
    for (char name[] = "in/a"; name[3] <= 'z'; name[3]++)
        scratch_file(&scratch, name, "x", 0644);
    plan(HEAD
         "  - {name: g, agent: w, for_each: {glob: \"in/*\"}, key: \"{item.stem}\", input: x}\n"
         "limits: {sessions: 20}\n");
    assert_non_null(strstr(explained(&host), "20 sessions alive, 1 tool call, 20 boxes kept"));
    assert_non_null(strstr(explained(&large), "20 sessions alive, 4 tool calls, 20 boxes kept"));
    assert_non_null(strstr(explained(&host), "at most 300 MiB for boxes and workspaces; 400 MiB"));
    assert_null(strstr(explained(&host), "it is short"));
}

static void where_memory_is_short_boxes_go_first(void **state)
{
    const struct nj_explain_host small = {200 << 20, UINT64_C(1) << 40, 1, UINT64_MAX};

    (void)state;
    scratch_dir(&scratch, "config");
    for (char name[] = "in/a"; name[3] <= 'z'; name[3]++)
        scratch_file(&scratch, name, "x", 0644);
    plan(HEAD
         "  - {name: g, agent: w, for_each: {glob: \"in/*\"}, key: \"{item.stem}\", input: x}\n"
         "limits: {sessions: 20}\n");
    assert_non_null(strstr(explained(&small), "200 MiB available;"));
    assert_non_null(strstr(explained(&small), "is short, boxes of"));
    assert_null(strstr(explained(&small), "NOT ENOUGH"));
}

static void warm_boxes_are_the_manifests_or_bounded(void **state)
{
    struct nj_manifest_limits limits = {.sessions = 64};

    (void)state;
    assert_int_equal(nj_manifest_warm(&limits, 2, UINT64_MAX).most, 64);
    assert_int_equal(nj_manifest_warm(&limits, 2, UINT64_MAX).least, 8);
    limits.sessions = 1000;
    assert_int_equal(nj_manifest_warm(&limits, 2, UINT64_MAX).most, 64);
    assert_int_equal(nj_manifest_warm(&limits, 100, UINT64_MAX).most, 400);
    assert_int_equal(nj_manifest_warm(&limits, 2, 60).most, 60);
    assert_int_equal(nj_manifest_warm(&limits, 2, 0).most, 8);
    limits.sessions = 3;
    assert_int_equal(nj_manifest_warm(&limits, 2, UINT64_MAX).most, 8);
    limits.warm_boxes = 5;
    assert_int_equal(nj_manifest_warm(&limits, 2, 3).most, 5);
    assert_int_equal(nj_manifest_warm(&limits, 2, UINT64_MAX).least, 5);
}

static void names_cannot_drive_a_terminal(void **state)
{
    (void)state;
    scratch_dir(&scratch, "config");
    scratch_file(&scratch,
                 "in/\xe2\x80\xae"
                 "fdp.exe",
                 "", 0644); /* right-to-left override */
    plan(HEAD
         "  - {name: g, agent: w, for_each: {glob: \"in/*\"}, key: \"{item.size}\", input: x}\n");
    assert_non_null(strstr(explained(&large), "in/\\xe2\\x80\\xaefdp.exe"));
}

static void links_that_were_left_out_are_told(void **state)
{
    (void)state;
    scratch_dir(&scratch, "config");
    scratch_file(&scratch, "in/a", "", 0644);
    scratch_link(&scratch, "/etc/hostname", "in/b");
    plan(HEAD "  - {name: g, agent: w, for_each: {glob: \"in/*\"}, input: x}\n");
    assert_non_null(
        strstr(explained(&large),
               "  links       1 link leaves the allowed directories and was left out; the first\n"
               "              is in/b\n"));
}

static void an_input_is_counted_once(void **state)
{
    struct nj_object_sink sink = nj_explain_inputs_sink(&job.inputs);
    struct nj_digest digest;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text("abc"), &digest, &job.err), 0);
    assert_int_equal(nj_object_put(&sink, NJ_OBJECT_BLOB, nj_span_text("abcd"), &digest, &job.err),
                     0);
    assert_int_equal(job.inputs.objects, 2);
    assert_int_equal(job.inputs.bytes, 7);
}

static void the_boxes_of_agents_in_use_are_printed(void **state)
{
    (void)state;
    scratch_dir(&scratch, "config");
    plan(HEAD "  - {name: g, agent: w, input: x}\n");
    assert_int_equal(nj_explain_check_boxes(job.plan, &job.faults, &job.err), 0);
    if (nj_explain_boxes(job.plan, NJ_ROWS_COLUMNS, &job.text, &job.err) < 0)
        fail_msg("%s", job.err.text);
    assert_non_null(strstr((char *)job.text.data, "box of agent w\n"));
    assert_non_null(strstr((char *)job.text.data, "/workspace"));
    assert_null(strstr((char *)job.text.data, "unused"));
}

static void this_host_can_be_asked(void **state)
{
    struct nj_explain_host host = {0};

    (void)state;
    assert_int_equal(nj_explain_host(scratch.fd, &host, &job.err), 0);
    assert_true(host.memory_bytes > 1 << 20);
    assert_true(host.disk_bytes > 0);
    assert_true(host.cpus > 0);
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(a_job_is_told_in_full),
        with_folder(a_host_that_is_too_small_is_said_with_the_cure),
        with_folder(boxes_that_are_only_kept_for_speed_are_no_need),
        with_folder(where_memory_is_short_boxes_go_first),
        with_folder(warm_boxes_are_the_manifests_or_bounded),
        with_folder(names_cannot_drive_a_terminal),
        with_folder(links_that_were_left_out_are_told),
        with_folder(an_input_is_counted_once),
        with_folder(the_boxes_of_agents_in_use_are_printed),
        with_folder(this_host_can_be_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
