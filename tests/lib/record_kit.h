/*
 * record_kit.h - a session's record made by hand: the core is driven, the frames are kept
 *
 * What a call printed and left is whatever the test says, true or not, and every digest follows
 * from it: a record that lies is as consistent as one that does not, so only running the code again
 * can tell. Header only, because the programs that use it are each linked alone.
 *
 *     record_kit_open(&kit, ...); record_kit_reply(...); record_kit_call(...);
 * record_kit_close(&kit); fd = record_kit_bundle(&kit);   or   record_kit_run(&kit, folder)
 */
#ifndef NJ_TESTS_RECORD_KIT_H
#define NJ_TESTS_RECORD_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch/engine/outputs.h"
#include "batch/run/run_dir.h"
#include "batch/session/session.h"
#include "formats/base/fsio.h"
#include "formats/bundle/bundle.h"
#include "formats/manifest/manifest.h"
#include "tests/lib/memory_objects.h"

#define RECORD_KIT_FRAMES_MAX 256
#define RECORD_KIT_KEY "one"

struct record_kit_frame {
    enum nj_frame_kind kind;
    char *payload;
    size_t len;
};

struct record_kit {
    struct nj_session_config config;
    struct nj_config_tool tool;
    struct memory_objects store;
    struct memory_objects inputs;
    struct nj_session *session;
    struct record_kit_frame frames[RECORD_KIT_FRAMES_MAX];
    size_t n_frames;
    struct nj_workspace_ref workspace;
    int64_t time_ns;
    enum nj_status status;
    bool inputs_by_reference;
    bool without_clock; /* in snapshots, as the first builds wrote them */
    const char *environment;
    const char *manifest;
};

static const char *const record_kit_writable[] = {"/workspace", "/tmp"};

static inline void record_kit_must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static inline void record_kit_init(struct record_kit *kit)
{
    *kit = (struct record_kit){.time_ns = 1790000000000000000, .environment = "{}"};
    kit->manifest = "nightjar: 1\njob: by-hand\n";
    kit->tool = (struct nj_config_tool){
        .type = "code_execution",
        .name = "code_execution",
        .languages = NJ_LANGUAGE_BASH | NJ_LANGUAGE_PYTHON,
        .timeout_ms = 60000,
    };
    kit->config = (struct nj_session_config){
        .key = RECORD_KIT_KEY,
        .group = "group",
        .agent = "agent",
        .role = "worker",
        .instructions = "Be brief.",
        .reproducible = "D1",
        .turns_max = 20,
        .tools = &kit->tool,
        .n_tools = 1,
        .writable_paths = record_kit_writable,
        .n_writable_paths = 2,
        .max_size_bytes = 64u << 20,
        .max_memory_bytes = 512u << 20,
        .max_processes = 64,
        .max_runtime_ms = 600000,
        .accept_timeout_ms = 60000,
        .budget_micro_usd = -1,
    };
}

static inline void record_kit_done(struct record_kit *kit)
{
    for (size_t i = 0; i < kit->n_frames; i++)
        free(kit->frames[i].payload);
    nj_session_free(kit->session);
    memory_objects_done(&kit->store);
    memory_objects_done(&kit->inputs);
    *kit = (struct record_kit){0};
}
NJ_DEFINE_AUTO_VAL(struct record_kit, record_kit_done);

/* ---- workspaces ---- */

struct record_kit_file {
    const char *path; /* "workspace/a"; ends in '/': a folder */
    unsigned mode;
    const char *content;
};

/* record_kit_tree - the two usual folders and @files, ended by a NULL path */
static inline struct nj_workspace_ref record_kit_tree(struct record_kit *kit,
                                                      const struct record_kit_file *files)
{
    NJ_AUTO(nj_tree_builder_free) struct nj_tree_builder *builder = NULL;
    struct nj_object_sink sink = memory_objects_sink(&kit->store);
    struct nj_workspace_ref ref = {0};
    struct nj_error err = {0};

    record_kit_must(nj_tree_builder_new(&builder, &err), &err);
    record_kit_must(nj_tree_builder_dir(builder, "workspace", 0755, 1000000007, &err), &err);
    record_kit_must(nj_tree_builder_dir(builder, "tmp", 01777, 0, &err), &err);
    for (; files && files->path; files++) {
        size_t len = strlen(files->path);

        if (files->path[len - 1] == '/') {
            nj_auto_free char *path = strndup(files->path, len - 1);

            record_kit_must(nj_tree_builder_dir(builder, path, files->mode, 5, &err), &err);
            continue;
        }
        record_kit_must(nj_tree_builder_file(builder, files->path, files->mode, 1234567890123456789,
                                             nj_span_text(files->content), &sink, &err),
                        &err);
    }
    record_kit_must(nj_tree_builder_finish(builder, &sink, &ref, &err), &err);
    return ref;
}

/* ---- frames ---- */

static inline void record_kit_frame_add(struct record_kit *kit, enum nj_frame_kind kind,
                                        struct nj_buf *payload)
{
    struct record_kit_frame *frame = &kit->frames[kit->n_frames];

    assert_true(kit->n_frames < RECORD_KIT_FRAMES_MAX);
    frame->kind = kind;
    frame->len = payload->len;
    frame->payload = nj_buf_steal(payload);
    kit->n_frames++;
}

/* record_kit_event - record @event as the engine would: EVENT, fold, and where one is due a
 * SNAPSHOT */
static inline void record_kit_event(struct record_kit *kit, struct nj_event *event,
                                    struct nj_span first)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_object_sink sink = memory_objects_sink(&kit->store);
    struct nj_event durable = {.kind = NJ_EVENT_SNAPSHOTTED};
    struct nj_snapshot snapshot;
    struct nj_error err = {0};

    kit->time_ns += 1000000;
    event->time_ns = kit->time_ns;
    event->attempt = 1;
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    record_kit_must(nj_event_encode(event, &payload, &err), &err);
    record_kit_frame_add(kit, NJ_FRAME_EVENT, &payload);
    kit->session->sequence = kit->n_frames;
    record_kit_must(nj_session_step(kit->session, event, first, &sink, &err), &err);
    if (kit->session->state != NJ_SESSION_SNAPSHOTTING || !nj_event_is_content(event->kind))
        return;
    nj_session_checkpoint(kit->session, &snapshot);
    if (kit->without_clock)
        snapshot.clock_ns = 0;
    record_kit_must(nj_snapshot_pack(&snapshot, &payload, &err), &err);
    record_kit_frame_add(kit, NJ_FRAME_SNAPSHOT, &payload);
    record_kit_must(nj_session_step(kit->session, &durable, (struct nj_span){0}, &sink, &err),
                    &err);
}

static inline void record_kit_open(struct record_kit *kit, const struct record_kit_file *files,
                                   const char *message)
{
    NJ_AUTO(nj_buf_done) struct nj_buf config = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    struct nj_object_sink sink = memory_objects_sink(&kit->store);
    struct nj_event event = {.kind = NJ_EVENT_OPENED};
    struct nj_error err = {0};

    nj_buf_init(&config, NJ_CONFIG_MAX_BYTES);
    nj_buf_init(&first, NJ_MESSAGE_MAX_BYTES);
    record_kit_must(nj_session_new(&kit->config, &kit->session, &err), &err);
    record_kit_must(nj_config_encode(&kit->config, &config, &err), &err);
    record_kit_must(
        nj_object_put(&sink, NJ_OBJECT_CONFIG, nj_buf_span(&config), &event.opened.config, &err),
        &err);
    record_kit_must(nj_message_user_text(nj_span_text(message), &first, &err), &err);
    record_kit_must(
        nj_object_put(&sink, NJ_OBJECT_MESSAGE, nj_buf_span(&first), &event.opened.first, &err),
        &err);
    kit->workspace = record_kit_tree(kit, files);
    event.opened.key = nj_span_text(kit->config.key);
    event.opened.group = nj_span_text(kit->config.group);
    event.opened.agent = nj_span_text(kit->config.agent);
    event.opened.item = nj_span_text("{}");
    nj_digest_bytes("identity", 8, &event.opened.identity);
    event.opened.tree = kit->workspace.tree;
    event.opened.stamps = kit->workspace.stamps;
    record_kit_event(kit, &event, nj_buf_span(&first));
}

/* record_kit_content - a reply with this content array; the request's digest is the right one, or
 * @request */
static inline void record_kit_content(struct record_kit *kit, const char *content,
                                      const struct nj_digest *request)
{
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_object_sink sink = memory_objects_sink(&kit->store);
    struct nj_event event = {.kind = NJ_EVENT_REPLY};
    struct nj_action action;
    struct nj_error err = {0};

    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    record_kit_must(nj_message_assistant(nj_span_text(content), &item, &err), &err);
    nj_session_action(kit->session, &action);
    assert_int_equal(action.kind, NJ_ACTION_ASK_MODEL);
    event.reply.turn = action.turn;
    event.reply.model = nj_span_text("script:by-hand");
    event.reply.stop = NJ_STOP_TOOLS;
    event.reply.request = request ? *request : action.request;
    event.reply.cost_micro_usd = 1500;
    event.reply.message_bytes = nj_buf_span(&item);
    record_kit_must(
        nj_object_put(&sink, NJ_OBJECT_MESSAGE, nj_buf_span(&item), &event.reply.message, &err),
        &err);
    record_kit_event(kit, &event, (struct nj_span){0});
}

/* record_kit_reply - one call of code_execution; @code NULL: only the text, which ends the turn */
static inline void record_kit_reply(struct record_kit *kit, const char *text, const char *code)
{
    NJ_AUTO(nj_buf_done) struct nj_buf content = {0};
    struct nj_error err = {0};

    nj_buf_init(&content, NJ_MESSAGE_MAX_BYTES);
    record_kit_must(nj_buf_text(&content, "[{\"type\":\"text\",\"text\":", &err), &err);
    record_kit_must(nj_buf_json_text(&content, nj_span_text(text), &err), &err);
    record_kit_must(nj_buf_text(&content, "}", &err), &err);
    if (code) {
        record_kit_must(
            nj_buf_text(
                &content,
                ",{\"type\":\"tool_use\",\"id\":\"id\",\"name\":\"code_execution\",\"input\":{"
                "\"language\":\"bash\",\"code\":",
                &err),
            &err);
        record_kit_must(nj_buf_json_text(&content, nj_span_text(code), &err), &err);
        record_kit_must(nj_buf_text(&content, "}}", &err), &err);
    }
    record_kit_must(nj_buf_text(&content, "]", &err), &err);
    record_kit_content(kit, (const char *)content.data, NULL);
}

static inline struct nj_stream record_kit_stream(const char *text)
{
    struct nj_stream stream = {.bytes = strlen(text), .head = nj_span_text(text)};

    nj_digest_bytes(text, strlen(text), &stream.digest);
    return stream;
}

static inline struct nj_call_outcome record_kit_outcome(const struct record_kit *kit, int status,
                                                        const char *out, const char *errors)
{
    return (struct nj_call_outcome){
        .exit = NJ_EXIT_EXITED,
        .status = status,
        .out = record_kit_stream(out),
        .errors = record_kit_stream(errors),
        .tree = kit->workspace.tree,
    };
}

/* record_kit_call - the next call ended so and left kit->workspace (set it before) */
static inline void record_kit_call(struct record_kit *kit, const struct nj_call_outcome *outcome)
{
    struct nj_event event = {.kind = NJ_EVENT_TOOL_DONE};

    event.tool_done.turn = kit->session->turn;
    event.tool_done.call = kit->session->calls_done;
    event.tool_done.id = nj_span_text("id");
    event.tool_done.outcome = *outcome;
    event.tool_done.meta =
        (struct nj_call_meta){.stamps = kit->workspace.stamps, .duration_ms = 30};
    record_kit_event(kit, &event, (struct nj_span){0});
}

static inline void record_kit_judged(struct record_kit *kit, const struct nj_call_outcome *outcome)
{
    struct nj_event event = {.kind = NJ_EVENT_JUDGED};

    event.judged.round = kit->session->judge_rounds + 1;
    event.judged.accepted = outcome->exit == NJ_EXIT_EXITED && outcome->status == 0;
    event.judged.outcome = *outcome;
    event.judged.meta = (struct nj_call_meta){.stamps = kit->workspace.stamps, .duration_ms = 20};
    record_kit_event(kit, &event, (struct nj_span){0});
}

static inline void record_kit_close(struct record_kit *kit)
{
    struct nj_object_source source = memory_objects_source(&kit->store);
    struct nj_object_sink sink = memory_objects_sink(&kit->store);
    struct nj_event event = {.kind = NJ_EVENT_CLOSED};
    struct nj_action action;
    struct nj_error err = {0};

    nj_session_action(kit->session, &action);
    assert_int_equal(action.kind, NJ_ACTION_CLOSE);
    event.closed.status = action.status;
    event.closed.error_kind = nj_span_text(action.error_kind);
    event.closed.error_text = nj_span_text(action.error_text);
    event.closed.result = action.result;
    if (action.status == NJ_STATUS_SUCCEEDED && kit->config.n_outputs > 0) {
        event.closed.has_outputs = true;
        record_kit_must(nj_outputs_collect(&source, &kit->workspace.tree, kit->config.outputs,
                                           kit->config.n_outputs, &sink, &event.closed.outputs,
                                           &err),
                        &err);
    }
    kit->status = action.status;
    record_kit_event(kit, &event, (struct nj_span){0});
}

/* ---- where it lies ---- */

static inline struct nj_frame record_kit_frame_at(const struct record_kit *kit, size_t i)
{
    return (struct nj_frame){
        .kind = kit->frames[i].kind,
        .session = 1,
        .sequence = i + 1,
        .payload = {(const uint8_t *)kit->frames[i].payload, kit->frames[i].len},
    };
}

/* record_kit_bundle - a memfd with the bundle */
static inline int record_kit_bundle(struct record_kit *kit)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    struct nj_bundle_info info = {
        .job = "by-hand",
        .run = "run",
        .key = kit->config.key,
        .group = kit->config.group,
        .agent = kit->config.agent,
        .status = kit->status ? kit->status : NJ_STATUS_SUSPENDED,
        .inputs_embedded = !kit->inputs_by_reference,
        .reproducible = kit->config.reproducible,
        .environment = kit->environment,
    };
    struct nj_error err = {0};
    int fd = -1;

    nj_digest_bytes("identity", 8, &info.identity);
    record_kit_must(nj_bundle_writer_new(-1, &writer, &err), &err);
    for (size_t i = 0; i < kit->n_frames; i++) {
        struct nj_frame frame = record_kit_frame_at(kit, i);

        record_kit_must(nj_bundle_writer_frame(writer, &frame, &err), &err);
    }
    for (size_t i = 0; i < kit->store.n_items; i++) {
        const struct memory_object *item = &kit->store.items[i];
        struct nj_object object = {
            .kind = item->kind, .digest = item->digest, .bytes = {item->data, item->len}};

        record_kit_must(nj_bundle_writer_object(writer, &object, &err), &err);
    }
    for (size_t i = 0; i < kit->inputs.n_items && !kit->inputs_by_reference; i++) {
        const struct memory_object *item = &kit->inputs.items[i];
        struct nj_object object = {
            .kind = item->kind, .digest = item->digest, .bytes = {item->data, item->len}};

        record_kit_must(nj_bundle_writer_input(writer, &object, &err), &err);
    }
    record_kit_must(nj_fsio_memfd("bundle", &fd, &err), &err);
    record_kit_must(nj_bundle_writer_finish(writer, &info, nj_span_text(kit->manifest), fd, &err),
                    &err);
    return fd;
}

/* record_kit_run - a run directory at @path, with the session's first @n_frames frames in its
 * journal, as session 2 behind another one that only began */
static inline void record_kit_run(struct record_kit *kit, const char *path, size_t n_frames)
{
    NJ_AUTO(nj_journal_writer_close) struct nj_journal_writer *writer = NULL;
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_journal_start start = {.run_id = "by-hand", .epoch = 1, .first_segment = 1};
    struct nj_event other = {.kind = NJ_EVENT_OPENED, .time_ns = 1, .attempt = 1};
    struct nj_frame frame = {.kind = NJ_FRAME_EVENT, .session = 1, .sequence = 1};
    struct nj_error err = {0};

    nj_buf_init(&buf, NJ_FRAME_PAYLOAD_MAX_BYTES);
    record_kit_must(nj_run_dir_create(path, "by-hand", &dir, &err), &err);
    record_kit_must(nj_journal_writer_open(dir.journal_fd, &start, &writer, &err), &err);
    other.opened.key = nj_span_text("another-session");
    other.opened.item = nj_span_text("{}");
    record_kit_must(nj_event_encode(&other, &buf, &err), &err);
    frame.payload = nj_buf_span(&buf);
    record_kit_must(nj_journal_append(writer, &frame, NULL, &err), &err);
    for (size_t i = 0; i < kit->store.n_items; i++) {
        const struct memory_object *item = &kit->store.items[i];
        struct nj_object object = {
            .kind = item->kind, .digest = item->digest, .bytes = {item->data, item->len}};

        nj_buf_clear(&buf);
        record_kit_must(nj_object_encode(&object, &buf, &err), &err);
        frame =
            (struct nj_frame){.kind = NJ_FRAME_OBJECT, .session = 2, .payload = nj_buf_span(&buf)};
        record_kit_must(nj_journal_append(writer, &frame, NULL, &err), &err);
    }
    for (size_t i = 0; i < n_frames; i++) {
        frame = record_kit_frame_at(kit, i);
        frame.session = 2;
        record_kit_must(nj_journal_append(writer, &frame, NULL, &err), &err);
    }
    record_kit_must(nj_journal_commit(writer, &err), &err);
}

/* record_kit_small, record_kit_play_small (of a kit that was set up) - four steps: a reply, a call
 * that writes a file, another reply, the last word
 */
static const struct record_kit_file record_kit_after[] = {{"workspace/a", 0644, "first\n"}, {0}};
static inline void record_kit_play_small(struct record_kit *kit)
{
    struct nj_call_outcome outcome;

    record_kit_open(kit, NULL, "Begin.");
    record_kit_reply(kit, "I write a file.", "echo first >a\necho said-one\necho warned >&2");
    kit->workspace = record_kit_tree(kit, record_kit_after);
    outcome = record_kit_outcome(kit, 0, "said-one\n", "warned\n");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "I read it.", "cat a; rm a; exit 3");
    kit->workspace = record_kit_tree(kit, NULL);
    outcome = record_kit_outcome(kit, 3, "first\n", "");
    record_kit_call(kit, &outcome);
    record_kit_reply(kit, "All done.", NULL);
    record_kit_close(kit);
}

static inline void record_kit_small(struct record_kit *kit)
{
    record_kit_init(kit);
    record_kit_play_small(kit);
}

#endif
