/*
 * test_plan.c - from a manifest to sessions: keys, identities, first messages, first workspaces
 */
#include "tests/lib/scratch.h"

#include <jansson.h>

#include "batch/plan/inputs.h"
#include "batch/plan/plan.h"
#include "tests/lib/memory_objects.h"

static struct scratch scratch; /* the manifest's directory */
static struct scratch store;   /* the run's inputs */

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    scratch_make(&store);
    scratch_file(&scratch, "replies.yaml", "replies:\n  - say: done\n", 0644);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    scratch_remove(&store);
    return 0;
}

/* What a run has of a job. */
struct job {
    struct nj_manifest *manifest;
    struct nj_models *models;
    struct nj_inputs *inputs;
    struct nj_plan *plan;
    struct nj_manifest_faults faults;
    struct nj_error err;
};

static void job_done(struct job *job)
{
    nj_plan_free(job->plan);
    nj_models_free(job->models);
    nj_manifest_free(job->manifest);
    nj_inputs_free(job->inputs);
    nj_manifest_faults_done(&job->faults);
    memset(job, 0, sizeof(*job));
}
NJ_DEFINE_AUTO_VAL(struct job, job_done);

static void job_read(struct job *job, const char *text)
{
    job_done(job);
    if (nj_manifest_parse(nj_span_text(text), "job.yaml", &job->manifest, &job->faults, &job->err) <
            0 ||
        nj_models_new(job->manifest, scratch.fd, &job->models, &job->err) < 0 ||
        nj_inputs_open(store.fd, &job->inputs, &job->err) < 0)
        fail_msg("%s", job->err.text);
}

static int job_plan(struct job *job, const char *text, const char *const *allow)
{
    struct nj_object_sink sink;

    job_read(job, text);
    sink = nj_inputs_sink(job->inputs);
    return nj_plan_new(job->manifest, scratch.fd, job->models, &sink, allow, &job->plan,
                       &job->faults, &job->err);
}

static void job_plan_ok(struct job *job, const char *text)
{
    if (job_plan(job, text, NULL) < 0)
        fail_msg("%s", job->err.text);
}

/* The faults as a person reads them. */
static const char *faults_text(struct job *job)
{
    static char text[8192];
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    nj_buf_init(&buf, sizeof(text));
    assert_int_equal(nj_manifest_faults_print(&job->faults, "job.yaml", &buf, &err), 0);
    (void)snprintf(text, sizeof(text), "%s", buf.data ? (char *)buf.data : "");
    return text;
}

#define HEAD                                                                                       \
    "nightjar: 1\n"                                                                                \
    "models: {worker: [{provider: script, script: replies.yaml}]}\n"                               \
    "agents:\n"                                                                                    \
    "  w: {model: worker, instructions: Work., tools: [{type: code_execution}]}\n"                 \
    "  m: {model: worker, sandbox: {mounts: [{source: config, target: /config}]}}\n"               \
    "sessions:\n"

#define GLOB_GROUP                                                                                 \
    "  - name: g\n"                                                                                \
    "    agent: w\n"                                                                               \
    "    for_each: {glob: \"in/*.txt\"}\n"                                                         \
    "    files: [{source: \"{item.path}\", target: /workspace/in.txt}]\n"                          \
    "    input: \"Read {item.name} from {item.dir}, {item.size} bytes.\"\n"                        \
    "    outputs: [/workspace/out/**]\n"

static void a_glob_makes_a_session_for_each_match(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    const struct nj_plan_session *session;

    (void)state;
    scratch_file(&scratch, "in/b.txt", "bb", 0644);
    scratch_file(&scratch, "in/a.txt", "a", 0644);
    job_plan_ok(&job, HEAD GLOB_GROUP "  - {name: last, agent: w, input: Go.}\n");
    assert_int_equal(job.plan->n_sessions, 3);
    session = &job.plan->sessions[1];
    assert_int_equal(session->number, 2);
    assert_string_equal(session->key, "b");
    assert_string_equal(session->slug, "b");
    assert_int_equal(session->group, 0);
    assert_string_equal(
        session->item_json,
        "{\"dir\":\"in\",\"name\":\"b.txt\",\"path\":\"in/b.txt\",\"size\":2,\"stem\":\"b\"}");
    assert_string_equal(session->config->key, "b");
    assert_string_equal(session->config->group, "g");
    assert_string_equal(session->config->agent, "w");
    assert_string_equal(session->config->role, "worker");
    assert_string_equal(session->config->instructions, "Work.");
    assert_string_equal(session->config->reproducible, "D2");
    assert_int_equal(session->config->n_tools, 1);
    assert_string_equal(session->config->tools[0].type, "code_execution");
    assert_int_equal(session->config->tools[0].timeout_ms, 300000);
    assert_int_equal(session->config->n_writable_paths, 2);
    assert_int_equal(session->config->max_size_bytes, 512u << 20);
    assert_int_equal(session->config->max_memory_bytes, 1024u << 20);
    assert_int_equal(session->config->max_runtime_ms, 3600000);
    assert_int_equal(session->config->n_outputs, 1);
    assert_string_equal(job.plan->sessions[2].key, "last");
    assert_string_equal(job.plan->sessions[2].item_json, "{}");
    assert_ptr_equal(nj_plan_find(job.plan, "a"), &job.plan->sessions[0]);
    assert_null(nj_plan_find(job.plan, "c"));
}

static void the_config_digest_is_that_of_its_bytes(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_digest digest;

    (void)state;
    scratch_file(&scratch, "config/rules", "r", 0644);
    job_plan_ok(
        &job,
        HEAD "  - {name: g, agent: m, input: Go., accept: {command: [python3, /config/c.py]}}\n");
    nj_buf_init(&bytes, NJ_CONFIG_MAX_BYTES);
    assert_int_equal(nj_config_encode(job.plan->sessions[0].config, &bytes, &job.err), 0);
    nj_digest_bytes(bytes.data, bytes.len, &digest);
    assert_true(nj_digest_equal(&digest, &job.plan->sessions[0].config_digest));
    assert_int_equal(job.plan->sessions[0].config->n_mounts, 1);
    assert_int_equal(job.plan->sessions[0].config->n_accept_command, 2);
    assert_int_equal(job.plan->sessions[0].config->accept_timeout_ms, 60000);
}

/* ---- faults ---- */

static void faults_are_told_all_at_once_with_their_places(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    const char *text =
        HEAD "  - {name: a, agent: w, for_each: {glob: \"none/*\"}, input: x}\n"
             "  - {name: b, agent: w, input: x, files: [{source: missing, target: /workspace/x}]}\n"
             "  - {name: c, agent: m, input: x}\n"
             "  - {name: d, agent: w, for_each: {glob: \"/etc/host*\"}, input: x}\n"
             "  - name: e\n"
             "    agent: w\n"
             "    for_each: {glob: top}\n"
             "    input: x\n"
             "    files: [{content: c, target: \"/workspace/{item.dir}/x\"}]\n"
             "  - {name: f, agent: w, input: x, files: [{source: in, target: /workspace/x}]}\n";

    (void)state;
    scratch_file(&scratch, "in/a", "", 0644);
    scratch_file(&scratch, "top", "", 0644);
    assert_int_equal(job_plan(&job, text, NULL), -NJ_E_INPUT);
    assert_null(job.plan);
    assert_string_equal(
        faults_text(&job),
        "job.yaml:5:50: agents.m.sandbox.mounts[0].source: folder config: No such file or "
        "directory\n"
        "job.yaml:7:42: sessions[0].for_each.glob: no file matches none/*\n"
        "job.yaml:8:52: sessions[1].files[0].source: file missing: No such file or directory\n"
        "job.yaml:10:42: sessions[3].for_each.glob: /etc/host* is absolute, and paths are relative "
        "to the "
        "manifest: allow its directory with --allow-path DIR\n"
        "job.yaml:15:34: sessions[4].files[0].target: target \"/workspace//x\": an empty part: "
        "neither // nor a / at "
        "the end\n"
        "job.yaml:16:52: sessions[5].files[0].source: file in: is a folder\n");
    assert_non_null(strstr(job.err.text, "none/*") ? job.err.text : strstr(job.err.text, "config"));
}

static void files_cannot_stand_in_each_others_way(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};

    (void)state;
    scratch_file(&scratch, "in/d", "", 0644);
    assert_int_equal(
        job_plan(&job,
                 HEAD "  - {name: e, agent: w, for_each: {glob: \"in/*\"}, input: x, files: "
                      "[{content: a, target: \"/workspace/{item.stem}\"}, "
                      "{content: b, target: /workspace/d/e}]}\n",
                 NULL),
        -NJ_E_INPUT);
    assert_non_null(
        strstr(faults_text(&job), "the target /workspace/d/e is under the file /workspace/d"));
    assert_int_equal(
        job_plan(&job,
                 HEAD "  - {name: e, agent: w, for_each: {glob: \"in/*\"}, input: x, files: "
                      "[{content: a, target: \"/workspace/{item.stem}\"}, "
                      "{content: b, target: /workspace/d}]}\n",
                 NULL),
        -NJ_E_INPUT);
    assert_non_null(strstr(faults_text(&job), "two files have the target /workspace/d"));
}

static void a_key_given_twice_names_both_items(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};

    (void)state;
    scratch_file(&scratch, "in/x/copyright", "", 0644);
    scratch_file(&scratch, "in/y/copyright", "", 0644);
    assert_int_equal(
        job_plan(&job,
                 HEAD "  - {name: g, agent: w, for_each: {glob: \"in/*/copyright\"}, input: x}\n",
                 NULL),
        -NJ_E_INPUT);
    assert_string_equal(faults_text(&job),
                        "job.yaml:7:5: sessions[0].key: the key copyright is given twice: to "
                        "in/x/copyright and to in/y/copyright\n");
    job_plan_ok(&job, HEAD "  - {name: g, agent: w, for_each: {glob: \"in/*/copyright\"}, key: "
                           "\"{item.dir}\", input: x}\n");
    assert_string_equal(job.plan->sessions[1].key, "y");
    assert_int_equal(job_plan(&job,
                              HEAD "  - {name: x, agent: w, input: x}\n"
                                   "  - {name: g, agent: w, for_each: {glob: \"in/*/copyright\"}, "
                                   "key: \"{item.dir}\", input: x}\n",
                              NULL),
                     -NJ_E_INPUT);
    assert_non_null(
        strstr(faults_text(&job), "the key x is given twice: to x and to in/x/copyright"));
}

static void keys_that_no_one_can_use_are_faults(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    char name[256];

    (void)state;
    scratch_file(&scratch, "top", "", 0644);
    assert_int_equal(
        job_plan(
            &job,
            HEAD
            "  - {name: g, agent: w, for_each: {glob: \"top\"}, key: \"{item.dir}\", input: x}\n",
            NULL),
        -NJ_E_INPUT);
    assert_non_null(strstr(faults_text(&job), "sessions[0].key: top: the key is empty"));
    memset(name, 'n', sizeof(name));
    memcpy(name, "in/", 3);
    name[200] = '\0';
    scratch_file(&scratch, name, "", 0644);
    assert_int_equal(job_plan(&job,
                              HEAD "  - {name: g, agent: w, for_each: {glob: \"in/n*\"}, key: "
                                   "\"{item.name}{item.name}\", input: x}\n",
                              NULL),
                     -NJ_E_INPUT);
    assert_non_null(strstr(faults_text(&job), "is longer than 255 bytes"));
}

static void keys_that_look_alike_get_different_slugs(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};

    (void)state;
    scratch_file(&scratch, "in/Acme GmbH.txt", "", 0644);
    scratch_file(&scratch, "in/acme gmbh.txt", "", 0644);
    job_plan_ok(&job, HEAD GLOB_GROUP);
    assert_string_equal(job.plan->sessions[0].slug, "acme-gmbh");
    assert_int_equal(strncmp(job.plan->sessions[1].slug, "acme-gmbh-", 10), 0);
}

static void an_absolute_glob_works_where_it_is_allowed(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    const char *allow[] = {NULL, NULL};
    struct scratch docs;
    char text[2 * PATH_MAX];

    (void)state;
    scratch_make(&docs);
    scratch_file(&docs, "bash/copyright", "GPL", 0644);
    scratch_link(&docs, "bash", "sh");
    (void)snprintf(
        text, sizeof(text),
        HEAD "  - {name: g, agent: w, for_each: {glob: \"%s/*/copyright\"}, key: \"{item.dir}\", "
             "files: [{source: \"{item.path}\", target: /workspace/copyright}], input: x}\n",
        docs.path);
    assert_int_equal(job_plan(&job, text, NULL), -NJ_E_INPUT);
    allow[0] = docs.path;
    if (job_plan(&job, text, allow) < 0)
        fail_msg("%s", job.err.text);
    assert_int_equal(job.plan->n_sessions, 2);
    assert_string_equal(job.plan->sessions[1].key, "sh");
    assert_int_equal(job.plan->sessions[1].files[0].source->entry.size, 3);
    scratch_remove(&docs);
}

/* ---- identity ---- */

static struct nj_digest identity(const char *text, size_t at)
{
    NJ_AUTO(job_done) struct job job = {0};

    job_plan_ok(&job, text);
    assert_true(at < job.plan->n_sessions);
    return job.plan->sessions[at].identity;
}

static void identity_follows_what_went_into_a_session(void **state)
{
    struct nj_digest before, now;
    const char *job = HEAD GLOB_GROUP;

    (void)state;
    scratch_file(&scratch, "in/b.txt", "bb", 0644);
    before = identity(job, 0);
    now = identity(job, 0);
    assert_true(nj_digest_equal(&before, &now));

    /* Not: other items, limits, order of groups, times and owners of files, comments. */
    scratch_file(&scratch, "in/a.txt", "a", 0644);
    assert_int_equal(utimensat(scratch.fd, "in/b.txt", (struct timespec[2]){{1, 0}, {1, 0}}, 0), 0);
    now = identity(HEAD "  - {name: first, agent: w, input: x}\n" GLOB_GROUP
                        "limits: {sessions: 3} # slow\n",
                   2);
    assert_true(nj_digest_equal(&before, &now));

    /* But: content, mode, the item, group, agent, model script. */
    scratch_file(&scratch, "in/b.txt", "bB", 0644);
    now = identity(job, 1);
    assert_false(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "in/b.txt", "bb", 0644);
    now = identity(job, 1);
    assert_true(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "in/b.txt", "bb", 0755);
    now = identity(job, 1);
    assert_false(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "in/b.txt", "bb", 0644);
    now = identity(HEAD GLOB_GROUP "    accept: {command: [\"true\"]}\n", 1);
    assert_false(nj_digest_equal(&before, &now));
    now = identity(job, 0); /* the same group, another item */
    assert_false(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "replies.yaml", "replies:\n  - say: other\n", 0644);
    now = identity(job, 1);
    assert_false(nj_digest_equal(&before, &now));
}

static void identity_follows_mounts(void **state)
{
    const char *job = HEAD "  - {name: g, agent: m, input: x}\n";
    struct nj_digest before, now;

    (void)state;
    scratch_file(&scratch, "config/a", "1", 0644);
    before = identity(job, 0);
    scratch_file(&scratch, "config/a", "2", 0644);
    now = identity(job, 0);
    assert_false(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "config/a", "1", 0600); /* a umask is no difference */
    now = identity(job, 0);
    assert_true(nj_digest_equal(&before, &now));
}

static void identity_follows_the_sessions_it_comes_after(void **state)
{
    /* The one that comes after stands first in the file. */
    const char *job =
        HEAD "  - {name: summary, agent: w, after: [g], input: \"Sum {results}\"}\n" GLOB_GROUP;
    struct nj_digest before, now;

    (void)state;
    scratch_file(&scratch, "in/a.txt", "a", 0644);
    before = identity(job, 0);
    scratch_file(&scratch, "in/a.txt", "A", 0644);
    now = identity(job, 0);
    assert_false(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "in/a.txt", "a", 0644);
    now = identity(job, 0);
    assert_true(nj_digest_equal(&before, &now));
    scratch_file(&scratch, "in/c.txt", "a", 0644);
    now = identity(job, 0);
    assert_false(nj_digest_equal(&before, &now));
}

/* ---- preparing ---- */

struct prepared {
    struct memory_objects objects;
    struct nj_buf first;
    struct nj_digest first_digest;
    struct nj_workspace_ref workspace;
};

static void prepared_done(struct prepared *prepared)
{
    memory_objects_done(&prepared->objects);
    nj_buf_done(&prepared->first);
}
NJ_DEFINE_AUTO_VAL(struct prepared, prepared_done);

static int prepare(struct job *job, size_t at, const char *results, struct prepared *prepared)
{
    struct nj_object_sink sink = memory_objects_sink(&prepared->objects);
    struct nj_object_source files = nj_inputs_source(job->inputs);

    if (prepared->first.max == 0)
        nj_buf_init(&prepared->first, NJ_MESSAGE_MAX_BYTES);
    return nj_plan_prepare(job->plan, &job->plan->sessions[at], results, &files, &sink,
                           &prepared->first, &prepared->first_digest, &prepared->workspace,
                           &job->err);
}

static int describe(void *ctx, const char *path, const struct nj_tree_entry *entry,
                    struct nj_error *err)
{
    return nj_buf_printf(ctx, err, "%s %04o %llu\n", path, entry->mode,
                         (unsigned long long)entry->size);
}

static void assert_workspace(struct prepared *prepared, const char *expected)
{
    struct nj_object_source source = memory_objects_source(&prepared->objects);
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};

    nj_buf_init(&text, 65536);
    if (nj_tree_walk(&source, &prepared->workspace.tree, describe, &text, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal((char *)text.data, expected);
}

static int64_t mtime_of(struct prepared *prepared, const char *folder, const char *name)
{
    struct nj_object_source source = memory_objects_source(&prepared->objects);
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_stamps stamps;
    struct nj_error err = {0};

    nj_buf_init(&bytes, 65536);
    assert_int_equal(source.get(source.ctx, &prepared->workspace.stamps, &bytes, &err), 0);
    assert_int_equal(nj_stamps_decode(nj_buf_span(&bytes), &arena, &stamps, &err), 0);
    for (size_t i = 0; i < stamps.n_entries; i++) {
        if (nj_span_is(stamps.entries[i].name, folder)) {
            struct nj_digest inner = stamps.entries[i].stamps;

            if (!*name)
                return stamps.entries[i].mtime_ns;
            nj_buf_clear(&bytes);
            assert_int_equal(source.get(source.ctx, &inner, &bytes, &err), 0);
            assert_int_equal(nj_stamps_decode(nj_buf_span(&bytes), &arena, &stamps, &err), 0);
            for (size_t k = 0; k < stamps.n_entries; k++) {
                if (nj_span_is(stamps.entries[k].name, name))
                    return stamps.entries[k].mtime_ns;
            }
        }
    }
    fail_msg("no %s/%s", folder, name);
    return 0;
}

static void a_session_begins_with_its_message_and_files(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    NJ_AUTO(prepared_done) struct prepared got = {0};
    struct memory_object *message;

    (void)state;
    scratch_file(&scratch, "in/a.txt", "content", 0644);
    scratch_file(&scratch, "tool.sh", "#!/bin/sh\n", 0755);
    scratch_file(&scratch, "empty", "", 0644);
    assert_int_equal(
        utimensat(scratch.fd, "in/a.txt", (struct timespec[2]){{0, 0}, {1234567890, 7}}, 0), 0);
    job_plan_ok(&job, HEAD
                "  - name: g\n"
                "    agent: w\n"
                "    for_each: {glob: \"in/*.txt\"}\n"
                "    files:\n"
                "      - {source: \"{item.path}\", target: \"/workspace/deep/er/{item.stem}\"}\n"
                "      - {source: tool.sh, target: /workspace/tool}\n"
                "      - {source: empty, target: /tmp/empty}\n"
                "      - {content: \"braces {{}} of {item.name}\\n\", target: /workspace/note}\n"
                "    input: \"Read {item.name} in {item.dir}: {item.size} bytes.\"\n");
    /* Whatever becomes of the host's files now: the run has its own. */
    scratch_file(&scratch, "in/a.txt", "changed meanwhile", 0644);
    assert_int_equal(unlinkat(scratch.fd, "tool.sh", 0), 0);
    if (prepare(&job, 0, NULL, &got) < 0)
        fail_msg("%s", job.err.text);
    assert_string_equal((char *)got.first.data,
                        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                        "\"Read a.txt in in: 7 bytes.\"}]}");
    message = memory_objects_find(&got.objects, &got.first_digest);
    assert_non_null(message);
    assert_int_equal(message->kind, NJ_OBJECT_MESSAGE);
    assert_workspace(&got, "tmp 1777 0\n"
                           "tmp/empty 0644 0\n"
                           "workspace 0755 0\n"
                           "workspace/deep 0755 0\n"
                           "workspace/deep/er 0755 0\n"
                           "workspace/deep/er/a 0644 7\n"
                           "workspace/note 0644 19\n"
                           "workspace/tool 0755 10\n");
    assert_true(mtime_of(&got, "workspace", "note") == NJ_PLAN_MTIME_NS);
    assert_true(mtime_of(&got, "workspace", "") == NJ_PLAN_MTIME_NS);
    assert_true(mtime_of(&got, "workspace", "tool") > INT64_C(1700000000000000000));
}

static void writable_paths_are_there_before_anything_is_written(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    NJ_AUTO(prepared_done) struct prepared got = {0};

    (void)state;
    job_plan_ok(&job, "nightjar: 1\n"
                      "models: {worker: [{provider: script, script: replies.yaml}]}\n"
                      "agents: {w: {model: worker, sandbox: {filesystem: {writable_paths: "
                      "[/zone/a/b, /zone/c, /tmp]}}}}\n"
                      "sessions: [{name: g, agent: w, input: x}]\n");
    assert_int_equal(prepare(&job, 0, NULL, &got), 0);
    assert_workspace(&got,
                     "tmp 1777 0\nzone 0755 0\nzone/a 0755 0\nzone/a/b 0755 0\nzone/c 0755 0\n");
}

static void results_are_inserted_as_they_are(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    NJ_AUTO(prepared_done) struct prepared got = {0};
    struct nj_object_source source;
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tree_entry entry;

    (void)state;
    job_plan_ok(&job, HEAD "  - {name: a, agent: w, input: x}\n"
                           "  - {name: s, agent: w, after: [a], input: \"Sum {results}\", "
                           "files: [{content: \"{results}\", target: /workspace/results.json}]}\n");
    assert_int_equal(prepare(&job, 1, "[{\"key\":\"{item.path}\"}]", &got), 0);
    assert_string_equal((char *)got.first.data,
                        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                        "\"Sum [{\\\"key\\\":\\\"{item.path}\\\"}]\"}]}");
    source = memory_objects_source(&got.objects);
    assert_int_equal(nj_tree_lookup(&source, &got.workspace.tree, "workspace/results.json", &arena,
                                    &entry, &job.err),
                     0);
    assert_int_equal(entry.size, strlen("[{\"key\":\"{item.path}\"}]"));
    /* Without results the template has a hole, which is said and not filled with nothing. */
    assert_int_equal(prepare(&job, 1, NULL, &got), -NJ_E_INPUT);
    assert_non_null(strstr(job.err.text, "{results} has no value here"));
}

static void a_lost_input_is_named(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    NJ_AUTO(prepared_done) struct prepared got = {0};
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    (void)state;
    scratch_file(&scratch, "in/a.txt", "content", 0644);
    job_plan_ok(&job, HEAD GLOB_GROUP);
    nj_digest_hex(&job.plan->sessions[0].files[0].source->entry.digest, hex);
    assert_int_equal(unlinkat(store.fd, hex, 0), 0);
    assert_int_equal(prepare(&job, 0, NULL, &got), -NJ_E_CORRUPT);
    assert_non_null(strstr(job.err.text, "session a: first workspace: file /workspace/in.txt"));
    assert_int_equal(got.first.len, 0);
}

static void every_failing_put_is_a_failure(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};
    size_t puts = 0;

    (void)state;
    scratch_file(&scratch, "in/a.txt", "content", 0644);
    job_plan_ok(&job, HEAD GLOB_GROUP);
    for (size_t n = 1;; n++) {
        NJ_AUTO(prepared_done) struct prepared got = {.objects = {.fail_at = n}};
        int r = prepare(&job, 0, NULL, &got);

        if (r == 0) {
            puts = got.objects.puts;
            assert_int_equal(n, puts + 1);
            break;
        }
        assert_int_equal(r, -NJ_E_SYSTEM);
        assert_int_equal(got.first.len, 0);
    }
    assert_true(puts >= 4);
}

/* ---- saving and loading ---- */

static void a_saved_plan_is_the_same_when_the_host_has_changed(void **state)
{
    const char *text =
        HEAD GLOB_GROUP "  - {name: m1, agent: m, input: x}\n"
                        "  - {name: s, agent: w, after: [g], input: \"{results}\"}\n";
    NJ_AUTO(job_done) struct job job = {0};
    NJ_AUTO(job_done) struct job again = {0};
    NJ_AUTO(prepared_done) struct prepared first = {0};
    NJ_AUTO(prepared_done) struct prepared second = {0};

    (void)state;
    scratch_file(&scratch, "in/a.txt", "a", 0644);
    scratch_file(&scratch, "in/b.txt", "bb", 0755);
    scratch_file(&scratch, "config/rules", "r", 0644);
    job_plan_ok(&job, text);
    assert_int_equal(nj_inputs_sync(job.inputs, &job.err), 0);
    assert_int_equal(nj_plan_save(job.plan, store.fd, &job.err), 0);
    assert_int_equal(prepare(&job, 0, NULL, &first), 0);

    assert_int_equal(unlinkat(scratch.fd, "in/a.txt", 0), 0);
    scratch_file(&scratch, "in/b.txt", "changed", 0644);
    scratch_file(&scratch, "in/c.txt", "new", 0644);
    assert_int_equal(unlinkat(scratch.fd, "config/rules", 0), 0);
    job_read(&again, text);
    if (nj_plan_load(again.manifest, store.fd, again.models, &again.plan, &again.err) < 0)
        fail_msg("%s", again.err.text);
    assert_int_equal(again.plan->n_sessions, job.plan->n_sessions);
    for (size_t i = 0; i < job.plan->n_sessions; i++) {
        const struct nj_plan_session *a = &job.plan->sessions[i];
        const struct nj_plan_session *b = &again.plan->sessions[i];

        assert_string_equal(a->key, b->key);
        assert_string_equal(a->slug, b->slug);
        assert_string_equal(a->item_json, b->item_json);
        assert_memory_equal(&a->identity, &b->identity, sizeof(a->identity));
        assert_memory_equal(&a->config_digest, &b->config_digest, sizeof(a->config_digest));
    }
    assert_int_equal(prepare(&again, 0, NULL, &second), 0);
    assert_memory_equal(&first.workspace, &second.workspace, sizeof(first.workspace));
    assert_memory_equal(&first.first_digest, &second.first_digest, sizeof(first.first_digest));
}

static void a_plan_that_was_not_saved_or_is_damaged_is_refused(void **state)
{
    NJ_AUTO(job_done) struct job job = {0};

    (void)state;
    scratch_file(&scratch, "in/a.txt", "a", 0644);
    job_read(&job, HEAD GLOB_GROUP);
    assert_int_equal(nj_plan_load(job.manifest, store.fd, job.models, &job.plan, &job.err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(job.err.text, "no sources.jsonl"));
    scratch_file(&store, "sources.jsonl", "{\"end\":0}\n", 0600);
    assert_int_equal(nj_plan_load(job.manifest, store.fd, job.models, &job.plan, &job.err),
                     -NJ_E_CORRUPT);
    assert_non_null(strstr(job.err.text, "do not hold replies.yaml"));
    scratch_file(&store, "sources.jsonl", "{\"end\":", 0600);
    assert_int_equal(nj_plan_load(job.manifest, store.fd, job.models, &job.plan, &job.err),
                     -NJ_E_CORRUPT);
    assert_null(job.plan);
}

static void the_environment_names_the_host(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};
    json_t *json;

    (void)state;
    nj_buf_init(&text, 65536);
    assert_int_equal(nj_plan_environment(&text, &err), 0);
    json = json_loadb((char *)text.data, text.len, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "build")), NJ_VERSION);
    assert_non_null(json_string_value(json_object_get(json, "kernel")));
    assert_non_null(json_string_value(json_object_get(json, "architecture")));
    json_decref(json);
}

static void an_interpreter_is_found_by_the_name_of_its_program(void **state)
{
    char path[PATH_MAX], real[PATH_MAX];

    (void)state;
    assert_int_equal(nj_plan_interpreter("no-such-interpreter", path), 1);
    assert_int_equal(nj_plan_interpreter("bash", path), 0);
    assert_non_null(realpath(path, real));
    assert_string_equal(path, real);
    assert_int_equal(access(path, X_OK), 0);
}

#define with_folders(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folders(a_glob_makes_a_session_for_each_match),
        with_folders(the_config_digest_is_that_of_its_bytes),
        with_folders(faults_are_told_all_at_once_with_their_places),
        with_folders(files_cannot_stand_in_each_others_way),
        with_folders(a_key_given_twice_names_both_items),
        with_folders(keys_that_no_one_can_use_are_faults),
        with_folders(keys_that_look_alike_get_different_slugs),
        with_folders(an_absolute_glob_works_where_it_is_allowed),
        with_folders(identity_follows_what_went_into_a_session),
        with_folders(identity_follows_mounts),
        with_folders(identity_follows_the_sessions_it_comes_after),
        with_folders(a_session_begins_with_its_message_and_files),
        with_folders(writable_paths_are_there_before_anything_is_written),
        with_folders(results_are_inserted_as_they_are),
        with_folders(a_lost_input_is_named),
        with_folders(every_failing_put_is_a_failure),
        with_folders(a_saved_plan_is_the_same_when_the_host_has_changed),
        with_folders(a_plan_that_was_not_saved_or_is_damaged_is_refused),
        with_folders(the_environment_names_the_host),
        with_folders(an_interpreter_is_found_by_the_name_of_its_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
