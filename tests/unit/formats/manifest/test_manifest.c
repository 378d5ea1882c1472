/*
 * test_manifest.c - manifests good and damaged, their defaults, references, identities and dumps
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>

#include "formats/base/fsio.h"
#include "formats/base/pack.h"
#include "formats/manifest/manifest.h"

#include "formats/base/banned.h"

#define OUT_MAX_BYTES (16u << 20)

static const char small[] = "nightjar: 1\n"
                            "models: {offline: [{provider: script, script: replies.yaml}]}\n"
                            "agents: {worker: {model: offline}}\n"
                            "sessions: [{name: one, agent: worker, input: Go}]\n";

extern const char nj_source_dir[]; /* the root of the tree that was built */

/* in_tree - the path of @name; good until the next call */
static const char *in_tree(const char *name)
{
    static char path[4096];

    (void)snprintf(path, sizeof(path), "%s/%s", nj_source_dir, name);
    return path;
}

static struct nj_manifest *parsed(const char *text)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    struct nj_manifest *manifest = NULL;
    struct nj_error err = {0};

    if (nj_manifest_parse(nj_span_text(text), "job.yaml", &manifest, &faults, &err) < 0)
        fail_msg("%s", err.text);
    return manifest;
}

/* ---- goldens ---- */

static void read_whole(const char *path, struct nj_buf *buf)
{
    struct nj_error err = {0};

    nj_buf_init(buf, OUT_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, path, buf, &err) < 0)
        fail_msg("%s", err.text);
}

static void matches_golden(const char *path, const struct nj_buf *got)
{
    NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};

    if (getenv("NJ_UPDATE_GOLDEN")) {
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        assert_int_equal(fwrite(got->data, 1, got->len, file), got->len);
        assert_int_equal(fclose(file), 0);
    }
    read_whole(path, &expected);
    if (!nj_span_equal(nj_buf_span(got), nj_buf_span(&expected)))
        fail_msg("%s differs:\n%s", path, (const char *)got->data);
}

/* Calls @check with the path of every .yaml file of a golden folder; returns their number. */
static size_t for_each_yaml(const char *folder, void (*check)(const char *path, const char *name))
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);
        char path[600];

        if (len < 6 || strcmp(entry->d_name + len - 5, ".yaml") != 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        check(path, entry->d_name);
        n++;
    }
    assert_int_equal(closedir(dir), 0);
    return n;
}

static void with_ending(const char *path, const char *ending, char out[600])
{
    (void)snprintf(out, 600, "%.*s%s", (int)(strlen(path) - 5), path, ending);
}

static void check_good(const char *path, const char *name)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_manifest_free) struct nj_manifest *again = NULL;
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf dump = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    struct nj_error err = {0};
    char golden[600];

    read_whole(path, &bytes);
    nj_buf_init(&dump, OUT_MAX_BYTES);
    nj_buf_init(&second, OUT_MAX_BYTES);
    if (nj_manifest_parse(nj_buf_span(&bytes), name, &manifest, &faults, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(nj_manifest_dump(manifest, &dump, &err), 0);
    with_ending(path, ".dump", golden);
    matches_golden(golden, &dump);
    if (nj_manifest_parse(nj_buf_span(&dump), "dump", &again, &faults, &err) < 0)
        fail_msg("dump of %s: %s", name, err.text);
    assert_int_equal(nj_manifest_dump(again, &second, &err), 0);
    assert_string_equal((const char *)second.data, (const char *)dump.data);
}

static void check_damaged(const char *path, const char *name)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf lines = {0};
    struct nj_manifest *manifest = NULL;
    struct nj_error err = {0};
    char golden[600];

    read_whole(path, &bytes);
    nj_buf_init(&lines, OUT_MAX_BYTES);
    if (nj_manifest_parse(nj_buf_span(&bytes), name, &manifest, &faults, &err) != -NJ_E_INPUT)
        fail_msg("%s was taken for good", name);
    assert_null(manifest);
    assert_int_equal(nj_manifest_faults_print(&faults, name, &lines, &err), 0);
    with_ending(path, ".txt", golden);
    matches_golden(golden, &lines);
}

static void good_files_dump_as_before_and_read_back_equal(void **state)
{
    (void)state;
    assert_true(for_each_yaml(in_tree("tests/golden/manifest/v0"), check_good) >= 3);
}

static void damaged_files_are_refused_with_the_same_words(void **state)
{
    (void)state;
    assert_true(for_each_yaml(in_tree("tests/golden/manifest/damaged"), check_damaged) >= 30);
}

static void the_documents_example_is_a_manifest_that_runs(void **state)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};
    const char *start;
    const char *end;

    (void)state;
    read_whole(in_tree("formats/manifest/FORMAT.md"), &text);
    start = strstr((const char *)text.data, "```yaml\n");
    assert_non_null(start);
    start += strlen("```yaml\n");
    end = strstr(start, "```");
    assert_non_null(end);
    if (nj_manifest_parse((struct nj_span){(const uint8_t *)start, (size_t)(end - start)},
                          "FORMAT.md", &manifest, &faults, &err) < 0 ||
        nj_manifest_supported(manifest, &faults, &err) < 0)
        fail_msg("%s", err.text);
}

/* ---- what the fields hold ---- */

static void everything_has_a_default(void **state)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = parsed(small);
    const struct nj_manifest_agent *agent = &manifest->agents[0];
    const struct nj_manifest_group *group = &manifest->groups[0];

    (void)state;
    assert_string_equal(manifest->job, "job");
    assert_string_equal(manifest->name, "job.yaml");
    assert_string_equal(agent->name, "worker");
    assert_int_equal(agent->role, 0);
    assert_string_equal(agent->instructions, "");
    assert_int_equal(agent->reproducible, NJ_D2);
    assert_int_equal(agent->limits.turns, 100);
    assert_int_equal(agent->sandbox.max_size_mb, 512);
    assert_int_equal(agent->sandbox.writable_paths.count, 2);
    assert_string_equal(agent->sandbox.writable_paths.items[0].text, "/workspace");
    assert_int_equal(agent->sandbox.rootfs.mark.line, 0);
    assert_string_equal(group->key, "one");
    assert_int_equal(group->for_each, NJ_FOR_EACH_NONE);
    assert_int_equal(group->agent, 0);
    assert_int_equal(manifest->limits.sessions, 64);
    assert_int_equal(manifest->limits.budget_micro_usd, -1);
    assert_int_equal(manifest->limits.fail_over_ppm, 1000000);
    assert_int_equal(manifest->retry.attempts, 1);
    assert_int_equal(manifest->archive_inputs, NJ_INPUTS_EMBED);
}

static void references_may_stand_before_what_they_name(void **state)
{
    NJ_AUTO(nj_manifest_free)
    struct nj_manifest *manifest =
        parsed("nightjar: 1\n"
               "sessions:\n"
               "  - {name: last, agent: b, input: \"{results}\", after: [first]}\n"
               "  - {name: first, agent: a, input: Go, for_each: {glob: \"*\"}}\n"
               "agents:\n"
               "  a: {model: m, tools: [{type: agent, agent: b, name: helper}]}\n"
               "  b: {model: n}\n"
               "models:\n"
               "  n: [{provider: script, script: n.yaml}]\n"
               "  m: [{provider: anthropic, model: x, credential: c}]\n"
               "credentials: {other: {file: f}, c: {env: KEY}}\n");

    (void)state;
    assert_int_equal(manifest->groups[0].agent, 1);
    assert_int_equal(manifest->groups[0].after[0], 1);
    assert_string_equal(manifest->groups[1].key, "{item.stem}");
    assert_int_equal(manifest->agents[0].role, 1);
    assert_int_equal(manifest->agents[0].tools[0].agent, 1);
    assert_string_equal(manifest->agents[0].tools[0].name, "helper");
    assert_int_equal(manifest->roles[1].chain[0].credential, 1);
    assert_int_equal(nj_manifest_find_agent(manifest, "b"), 1);
    assert_true(nj_manifest_find_agent(manifest, "z") == NJ_MANIFEST_NONE);
    assert_int_equal(nj_manifest_find_group(manifest, "first"), 1);
    assert_true(nj_manifest_find_group(manifest, "z") == NJ_MANIFEST_NONE);
}

static void marks_point_at_the_values(void **state)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = parsed(small);

    (void)state;
    assert_int_equal(manifest->roles[0].chain[0].script_mark.line, 2);
    assert_int_equal(manifest->roles[0].chain[0].script_mark.column, 47);
    assert_int_equal(manifest->groups[0].agent_mark.line, 4);
    assert_int_equal(manifest->groups[0].agent_mark.column, 31);
    assert_int_equal(manifest->groups[0].input_mark.column, 46);
}

static void a_file_beyond_sixteen_mebibytes_is_refused(void **state)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    nj_auto_free char *big = malloc(NJ_MANIFEST_MAX_BYTES + 1);
    struct nj_manifest *manifest = NULL;
    struct nj_error err = {0};

    (void)state;
    assert_non_null(big);
    memset(big, '#', NJ_MANIFEST_MAX_BYTES + 1);
    assert_int_equal(nj_manifest_parse((struct nj_span){(uint8_t *)big, NJ_MANIFEST_MAX_BYTES + 1},
                                       "job.yaml", &manifest, &faults, &err),
                     -NJ_E_INPUT);
    assert_string_equal(err.text,
                        "job.yaml: the file has 16777217 bytes, at most 16777216 are read");
}

struct parts {
    const char *region;
    const char *included;
};

static int read_part(void *ctx, const char *path, struct nj_buf *out, struct nj_error *err)
{
    const struct parts *parts = ctx;

    if (strcmp(path, "part.yaml") != 0)
        return nj_fail(err, NJ_E_INPUT, "%s: no such file", path);
    return nj_buf_text(out, parts->included, err);
}

static const char *variable(void *ctx, const char *name)
{
    const struct parts *parts = ctx;

    return strcmp(name, "REGION") == 0 ? parts->region : NULL;
}

static void a_job_of_several_parts_dumps_as_one_that_needs_none(void **state)
{
    static const char *const sets[] = {"sessions.one.input=Set", "limits.sessions=9",
                                       "agents.worker.limits.turns=3", NULL};
    static const char *const only[] = {"o*", NULL};
    struct parts parts = {.region = "eu",
                          .included =
                              "limits: {sessions: 2, tool_calls: 5}\n"
                              "agents: {worker: {model: none}, other: {model: offline}}\n"
                              "sessions: [{name: first, agent: other, input: \"{env.REGION}\"}]\n"};
    struct nj_manifest_options options = {
        .read = read_part, .env = variable, .ctx = &parts, .sets = sets, .only = only};
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_manifest_free) struct nj_manifest *again = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf dump = {0};
    struct nj_error err = {0};
    char text[600];

    (void)state;
    (void)snprintf(text, sizeof(text),
                   "%sinclude: part.yaml\nenv: [REGION]\nlimits: {sessions: 4}\n", small);
    nj_buf_init(&dump, OUT_MAX_BYTES);
    if (nj_manifest_parse_job(nj_span_text(text), "job.yaml", &options, &manifest, &faults, &err) <
        0)
        fail_msg("%s", err.text);
    assert_true(manifest->assembled);
    assert_int_equal(manifest->n_groups, 2);
    assert_string_equal(manifest->groups[0].name, "first");
    assert_string_equal(manifest->groups[0].input, "eu");
    assert_int_equal(manifest->n_agents, 2);
    assert_int_equal(manifest->limits.sessions, 9);
    assert_int_equal(manifest->limits.tool_calls, 5);
    assert_int_equal(manifest->agents[0].limits.turns, 3);
    assert_int_equal(manifest->only.count, 1);
    assert_int_equal(nj_manifest_dump(manifest, &dump, &err), 0);
    if (nj_manifest_parse(nj_buf_span(&dump), "dump", &again, &faults, &err) < 0)
        fail_msg("%s", err.text);
    assert_false(again->assembled);
    assert_int_equal(again->limits.sessions, 9);
    assert_string_equal(again->only.items[0].text, "o*");
}

static void more_entries_than_allowed_are_refused_and_nothing_points_at_them(void **state)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_manifest *manifest = NULL;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&text, OUT_MAX_BYTES);
    assert_int_equal(
        nj_buf_text(&text, "nightjar: 1\nmodels: {m: [{provider: script, script: r}]}\nagents:\n",
                    &err),
        0);
    for (int i = 0; i <= NJ_MANIFEST_AGENTS_MAX; i++)
        assert_int_equal(nj_buf_printf(&text, &err, "  a%d: {model: m}\n", i), 0);
    assert_int_equal(
        nj_buf_text(&text, "sessions: [{name: one, agent: a256, input: Go, outputs: [/tmp/x]}]\n",
                    &err),
        0);
    assert_int_equal(nj_manifest_parse(nj_buf_span(&text), "job.yaml", &manifest, &faults, &err),
                     -NJ_E_INPUT);
    assert_string_equal(err.text,
                        "job.yaml:4:3: agents: at most 256 entries are allowed, found 257");
    assert_int_equal(faults.count, 1);
}

/* ---- identity ---- */

static void pack_of(const char *text, bool of_group, struct nj_buf *out)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = parsed(text);
    struct nj_error err = {0};

    nj_buf_init(out, OUT_MAX_BYTES);
    if (of_group)
        assert_int_equal(nj_manifest_pack_group(manifest, 0, out, &err), 0);
    else
        assert_int_equal(nj_manifest_pack_agent(manifest, 0, out, &err), 0);
    assert_int_equal(nj_pack_walk(nj_buf_span(out), &err), 0);
}

static bool same_pack(const char *a, const char *b, bool of_group)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};

    pack_of(a, of_group, &first);
    pack_of(b, of_group, &second);
    return nj_span_equal(nj_buf_span(&first), nj_buf_span(&second));
}

#define HEAD "nightjar: 1\n"
#define MODELS "models: {m: [{provider: script, script: r}]}\n"
#define SESSION "sessions: [{name: one, agent: a, input: Go}]\n"
#define AGENT(more) HEAD MODELS "agents: {a: {model: m" more "}}\n" SESSION
#define GROUP(more)                                                                                \
    HEAD MODELS "agents: {a: {model: m}}\nsessions: [{name: one, agent: a" more "}]\n"

static void an_agents_identity_is_what_it_does(void **state)
{
    static const char *const same[] = {
        HEAD "# a comment\n" SESSION "agents: {a: {reproducible: D2, model: m}}\n" MODELS,
        HEAD "models: {other: [{provider: script, script: r, price: {input: 1, output: 2}}]}\n"
             "agents: {a: {model: other}}\n" SESSION "limits: {sessions: 3, budget_usd: 5}\n",
        HEAD MODELS "agents: {a: {model: m}, unrelated: {model: m, instructions: x}}\n" SESSION,
    };
    static const char *const different[] = {
        AGENT(", instructions: x"),
        AGENT(", limits: {turns: 5}"),
        AGENT(", reproducible: D3"),
        AGENT(", tools: [{type: code_execution}]"),
        AGENT(", sandbox: {max_memory_mb: 5}"),
        AGENT(", sandbox: {filesystem: {writable_paths: [/tmp, /workspace]}}"),
        AGENT(", sandbox: {mounts: [{source: a, target: /a}]}"),
        AGENT(", sandbox: {rootfs: {dir: x}}"),
        AGENT(", sandbox: {allowed_domains: [a.example]}"),
        AGENT(", memory: {store: s}"),
        HEAD "models: {m: [{provider: script, script: other}]}\nagents: {a: {model: m}}\n" SESSION,
        HEAD "models: {m: [{provider: script, script: r}, {provider: script, script: r}]}\n"
             "agents: {a: {model: m}}\n" SESSION,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        if (!same_pack(AGENT(""), same[i], false))
            fail_msg("another identity for\n%s", same[i]);
    }
    for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
        if (same_pack(AGENT(""), different[i], false))
            fail_msg("the same identity for\n%s", different[i]);
    }
}

static void a_called_agent_is_part_of_the_callers_identity(void **state)
{
    static const char one[] = HEAD MODELS
        "agents: {a: {model: m, tools: [{type: agent, agent: b}, {type: agent, agent: c}]}, "
        "b: {model: m, tools: [{type: agent, agent: d}]}, c: {model: m, tools: [{type: agent, "
        "agent: d}]}, "
        "d: {model: m, instructions: deep}}\n" SESSION;
    static const char other[] = HEAD MODELS
        "agents: {a: {model: m, tools: [{type: agent, agent: b}, {type: agent, agent: c}]}, "
        "d: {model: m, instructions: changed}, c: {model: m, tools: [{type: agent, agent: d}]}, "
        "b: {model: m, tools: [{type: agent, agent: d}]}}\n" SESSION;
    static const char moved[] = HEAD MODELS
        "agents: {a: {model: m, tools: [{type: agent, agent: b}, {type: agent, agent: c}]}, "
        "d: {model: m, instructions: deep}, c: {model: m, tools: [{type: agent, agent: d}]}, "
        "b: {model: m, tools: [{type: agent, agent: d}]}}\n" SESSION;

    (void)state;
    assert_false(same_pack(one, other, false));
    assert_true(same_pack(one, moved, false));
}

static void agents_that_call_each_other_in_many_ways_pack_once_each(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf pack = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&text, OUT_MAX_BYTES);
    assert_int_equal(nj_buf_text(&text, HEAD MODELS "agents:\n", &err), 0);
    for (int i = 0; i < 60; i++) /* two ways from each to the next: 2^60 ways in all */
        assert_int_equal(
            nj_buf_printf(&text, &err,
                          "  a%d: {model: m, tools: [{type: agent, agent: a%d, name: x}, "
                          "{type: agent, agent: a%d, name: y}]}\n",
                          i, i + 1, i + 1),
            0);
    assert_int_equal(
        nj_buf_text(&text, "  a60: {model: m}\nsessions: [{name: one, agent: a0, input: Go}]\n",
                    &err),
        0);
    pack_of((const char *)text.data, false, &pack);
    assert_true(pack.len < 100000);
}

static void a_groups_identity_leaves_its_items_out(void **state)
{
    static const char *const different[] = {
        GROUP(", input: Stop"),
        GROUP(", input: Go, outputs: [/workspace/x]"),
        GROUP(", input: Go, accept: {command: [a]}"),
        GROUP(", input: Go, files: [{source: a, target: /workspace/a}]"),
    };

    (void)state;
    assert_true(same_pack(GROUP(", input: Go"),
                          GROUP(", for_each: {glob: '*.txt'}, input: Go, key: 'x-{item.name}'"),
                          true));
    assert_true(same_pack(GROUP(", input: Go, accept: {command: [a]}"),
                          GROUP(", input: Go, accept: {attempts: 3, command: [a]}"), true));
    assert_false(same_pack(GROUP(", input: Go, accept: {command: [a]}"),
                           GROUP(", input: Go, accept: {command: [a], attempts: 4}"), true));
    for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++)
        assert_false(same_pack(GROUP(", input: Go"), different[i], true));
}

/* ---- support, paths, words ---- */

static void what_this_build_does_not_run_is_named_with_its_place(void **state)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf lines = {0};
    struct nj_error err = {0};

    (void)state;
    read_whole(in_tree("tests/golden/manifest/v0/whole.yaml"), &bytes);
    assert_int_equal(nj_manifest_parse(nj_buf_span(&bytes), "whole.yaml", &manifest, &faults, &err),
                     0);
    assert_int_equal(nj_manifest_supported(manifest, &faults, &err), -NJ_E_INPUT);
    nj_buf_init(&lines, OUT_MAX_BYTES);
    assert_int_equal(nj_manifest_faults_print(&faults, "whole.yaml", &lines, &err), 0);
    matches_golden(in_tree("tests/golden/manifest/v0/whole.unsupported"), &lines);
}

static bool is_supported(const char *text)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = parsed(text);
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    struct nj_error err = {0};

    return nj_manifest_supported(manifest, &faults, &err) == 0;
}

static void models_beside_the_ones_in_use_do_no_harm(void **state)
{
    (void)state;
    assert_true(is_supported(small));
    assert_true(is_supported(AGENT(", reproducible: D3, sandbox: {allowed_domains: []}")));
    assert_true(is_supported(HEAD "models: {m: [{provider: script, script: r}], big: [{provider: "
                                  "anthropic, model: x, credential: c}]}\n"
                                  "credentials: {c: {env: KEY}}\n"
                                  "agents: {a: {model: m}, b: {model: big}}\n" SESSION));
    assert_false(is_supported(
        HEAD
        "models: {m: [{provider: script, script: r}], big: [{provider: anthropic, model: x}]}\n"
        "agents: {a: {model: m, tools: [{type: agent, agent: b}]}, b: {model: big}}\n" SESSION));
}

static void relative_paths_stay_inside_or_are_refused(void **state)
{
    static const char *const good[] = {"a", "a/b",      "./a",   "a/../b",
                                       ".", "a/./b/..", "..a/b", "a//b/"};
    static const char *const bad[] = {"",        "/a",        "..",   "../a",
                                      "a/../..", "a/../../b", "./..", "a\nb"};
    struct nj_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(nj_manifest_path_ok(good[i], &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (nj_manifest_path_ok(bad[i], &err) != -NJ_E_INPUT)
            fail_msg("taken: %s", bad[i]);
    }
}

static void expanded_targets_are_judged_again(void **state)
{
    static const char *const bad[] = {"",
                                      "/",
                                      "/workspace",
                                      "/workspace/",
                                      "/workspace/..",
                                      "/workspace/a/../b",
                                      "/workspacex/a",
                                      "workspace/a",
                                      "/etc/passwd",
                                      "/workspace/a\nb",
                                      "/workspace//a"};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = parsed(small);
    struct nj_error err = {0};
    char part[300];

    (void)state;
    assert_int_equal(nj_manifest_target_ok(&manifest->agents[0], "/workspace/a/b.c", &err), 0);
    assert_int_equal(nj_manifest_target_ok(&manifest->agents[0], "/tmp/..a", &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (nj_manifest_target_ok(&manifest->agents[0], bad[i], &err) != -NJ_E_INPUT)
            fail_msg("taken: %s", bad[i]);
    }
    (void)snprintf(part, sizeof(part), "/tmp/%0256d", 0);
    assert_int_equal(nj_manifest_target_ok(&manifest->agents[0], part, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "longer than 255 bytes"));
}

static void values_have_words(void **state)
{
    (void)state;
    assert_string_equal(nj_manifest_provider_text(NJ_PROVIDER_OPENAI), "openai");
    assert_string_equal(nj_manifest_tool_type_text(NJ_TOOL_CODE_EXECUTION), "code_execution");
    assert_string_equal(nj_manifest_language_text(NJ_LANGUAGE_NODE), "node");
    nj_manifest_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_dump_as_before_and_read_back_equal),
        cmocka_unit_test(damaged_files_are_refused_with_the_same_words),
        cmocka_unit_test(the_documents_example_is_a_manifest_that_runs),
        cmocka_unit_test(everything_has_a_default),
        cmocka_unit_test(references_may_stand_before_what_they_name),
        cmocka_unit_test(marks_point_at_the_values),
        cmocka_unit_test(a_file_beyond_sixteen_mebibytes_is_refused),
        cmocka_unit_test(a_job_of_several_parts_dumps_as_one_that_needs_none),
        cmocka_unit_test(more_entries_than_allowed_are_refused_and_nothing_points_at_them),
        cmocka_unit_test(an_agents_identity_is_what_it_does),
        cmocka_unit_test(a_called_agent_is_part_of_the_callers_identity),
        cmocka_unit_test(agents_that_call_each_other_in_many_ways_pack_once_each),
        cmocka_unit_test(a_groups_identity_leaves_its_items_out),
        cmocka_unit_test(what_this_build_does_not_run_is_named_with_its_place),
        cmocka_unit_test(models_beside_the_ones_in_use_do_no_harm),
        cmocka_unit_test(relative_paths_stay_inside_or_are_refused),
        cmocka_unit_test(expanded_targets_are_judged_again),
        cmocka_unit_test(values_have_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
