/*
 * registry.c - which tools this build has, and what a session's config makes of them
 *
 * Live and replay both come through here, so that the same config, the same call and the same run
 * time used so far always give the same box call.
 */
#include "batch/tools/tool.h"

#include <assert.h>
#include <inttypes.h>

#include "batch/session/message.h"

#include "formats/base/banned.h"

#define NAME_SHOWN_MAX_BYTES 64
#define REFUSAL_MAX_BYTES (64u << 10) /* room to list every tool of a config */

static const struct nj_tool *const tools[] = {
    &nj_tool_code_execution,
};

const struct nj_tool *nj_tool_find(const char *type)
{
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
        if (strcmp(tools[i]->type, type) == 0)
            return tools[i];
    return NULL;
}

static int refuse_name(const struct nj_session_config *config, const char *name,
                       struct nj_arena *arena, struct nj_tool_call *ret_call, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_span shown = nj_span_text(name);
    char *refusal;
    int r;

    if (shown.len > NAME_SHOWN_MAX_BYTES)
        shown.len = NAME_SHOWN_MAX_BYTES;
    nj_buf_init(&text, REFUSAL_MAX_BYTES);
    r = nj_buf_json_text(&text, shown, err);
    if (r == 0)
        r = nj_buf_printf(&text, err, ": no such tool; there is%s", config->n_tools ? "" : " none");
    for (size_t i = 0; r == 0 && i < config->n_tools; i++)
        r = nj_buf_printf(&text, err, "%s %s", i ? "," : "", config->tools[i].name);
    if (r < 0)
        return r;
    refusal = nj_arena_span(arena, nj_buf_span(&text));
    if (!refusal)
        return nj_fail_nomem(err);
    *ret_call = (struct nj_tool_call){.refusal = refusal};
    return 0;
}

/* The model's arguments were no JSON: it is told so, and what it wrote is in the conversation. */
static int refuse_input(const json_t *input, const char *name, struct nj_arena *arena,
                        struct nj_tool_call *ret_call, struct nj_error *err)
{
    const char *why = json_string_value(json_object_get(input, NJ_CALL_BAD_INPUT_WHY_KEY));
    char *refusal = nj_arena_printf(
        arena, "the arguments of this call of %.64s are no JSON object (%.200s): call it again",
        name, why ? why : "not said why");

    if (!refusal)
        return nj_fail_nomem(err);
    *ret_call = (struct nj_tool_call){.refusal = refusal};
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct nj_config_tool *const *left = a, *const *right = b;

    return strcmp((*left)->name, (*right)->name);
}

int nj_tool_schemas(const struct nj_session_config *config, struct nj_buf *out,
                    struct nj_error *err)
{
    nj_auto_free const struct nj_config_tool **sorted =
        calloc(config->n_tools + 1, sizeof(*sorted));

    if (!sorted)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < config->n_tools; i++)
        sorted[i] = &config->tools[i];
    qsort(sorted, config->n_tools, sizeof(*sorted), by_name);
    if (nj_buf_text(out, "[", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < config->n_tools; i++) {
        const struct nj_tool *tool = nj_tool_find(sorted[i]->type);

        if (!tool)
            return nj_fail(err, NJ_E_VERSION, "tool %s: this build has none of type %s",
                           sorted[i]->name, sorted[i]->type);
        if ((i > 0 && nj_buf_text(out, ",", err) < 0) || tool->schema(sorted[i], out, err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, "]", err);
}

/* What every box call gets, whoever asked for it. A session without run time left runs nothing
 * more: the call would only be killed at its start. */
static int limit(const struct nj_session_config *config, uint64_t runtime_used_ms,
                 struct nj_arena *arena, struct nj_tool_call *call, struct nj_error *err)
{
    if (runtime_used_ms >= config->max_runtime_ms) {
        char *refusal = nj_arena_printf(
            arena,
            "max_runtime_seconds of %.6g are used up: nothing more can be run in this session",
            (double)config->max_runtime_ms / 1000.0);

        if (!refusal)
            return nj_fail_nomem(err);
        *call = (struct nj_tool_call){.refusal = refusal};
        return 0;
    }
    call->box.runtime_left_ms = config->max_runtime_ms - runtime_used_ms;
    call->box.runtime_limit_ms = config->max_runtime_ms;
    call->box.head_max_bytes = NJ_BOX_HEAD_BYTES;
    call->box.tail_max_bytes = NJ_BOX_TAIL_BYTES;
    return 0;
}

int nj_tool_prepare(const struct nj_session_config *config, const char *name, const json_t *input,
                    uint64_t runtime_used_ms, struct nj_arena *arena, struct nj_tool_call *ret_call,
                    struct nj_error *err)
{
    const struct nj_config_tool *tool = nj_config_tool(config, name);
    const struct nj_tool *kind;
    struct nj_tool_call call = {0};
    int r;

    if (!tool)
        return refuse_name(config, name, arena, ret_call, err);
    kind = nj_tool_find(tool->type);
    if (!kind)
        return nj_fail(err, NJ_E_VERSION, "tool %s: this build has no tool of type %s", tool->name,
                       tool->type);
    if (json_object_get(input, NJ_CALL_BAD_INPUT_KEY))
        return refuse_input(input, tool->name, arena, ret_call, err);
    r = kind->prepare(tool, input, arena, &call, err);
    if (r == 0 && !call.refusal)
        r = limit(config, runtime_used_ms, arena, &call, err);
    if (r < 0)
        return nj_wrap(err, "tool %s", tool->name);
    *ret_call = call;
    return 0;
}

int nj_tool_prepare_command(const struct nj_session_config *config, uint64_t runtime_used_ms,
                            struct nj_arena *arena, struct nj_tool_call *ret_call,
                            struct nj_error *err)
{
    struct nj_tool_call call = {0};
    const char **argv;
    int r;

    assert(config->n_accept_command > 0);
    argv = nj_arena_array(arena, config->n_accept_command + 1, sizeof(*argv));
    if (!argv)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < config->n_accept_command; i++)
        argv[i] = config->accept_command[i];
    call.box.argv = argv;
    call.box.timeout_ms = config->accept_timeout_ms;
    r = limit(config, runtime_used_ms, arena, &call, err);
    if (r < 0)
        return r;
    *ret_call = call;
    return 0;
}

void nj_tool_follow(const struct nj_session *session, struct nj_tool_call *call)
{
    static_assert(sizeof(call->box.seed) == sizeof(session->seed), "one seed");

    memcpy(call->box.seed, session->seed, sizeof(call->box.seed));
    call->box.step = session->steps + 1;
    call->box.clock_ns = session->clock_ns;
}

void nj_tool_note_level(struct nj_call_meta *meta, unsigned applied)
{
    meta->applied = applied;
    if (meta->level > applied)
        meta->level = applied;
    meta->has_ran &= applied > 0;
    meta->figures = applied > 0 ? meta->figures : 0;
    meta->has_order &= applied >= NJ_LEVEL_MAX && meta->level >= NJ_LEVEL_MAX;
    if (meta->clock_ns < 0 || meta->clock_ns > NJ_CLOCK_MAX_NS)
        meta->clock_ns = NJ_CLOCK_MAX_NS;
}

int nj_tool_box_plan(const struct nj_session_config *config, struct nj_arena *arena,
                     struct nj_box_plan *ret_plan, struct nj_error *err)
{
    struct nj_box_mount *mounts = NULL;
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    if (config->n_mounts > 0) {
        mounts = nj_arena_array(arena, config->n_mounts, sizeof(*mounts));
        if (!mounts)
            return nj_fail_nomem(err);
    }
    for (size_t i = 0; i < config->n_mounts; i++)
        mounts[i] = (struct nj_box_mount){.target = config->mounts[i].target,
                                          .input = config->mounts[i].input};
    plan.writable_paths = config->writable_paths;
    plan.n_writable_paths = config->n_writable_paths;
    plan.read_only_paths = config->read_only_paths;
    plan.n_read_only_paths = config->n_read_only_paths;
    plan.mounts = mounts;
    plan.n_mounts = config->n_mounts;
    plan.rootfs = config->rootfs ? &config->rootfs->input : NULL;
    plan.max_size_bytes = config->max_size_bytes;
    plan.max_memory_bytes = config->max_memory_bytes;
    plan.max_processes = config->max_processes;
    plan.level = (unsigned)config->layer;
    plan.max_cpu_micro = config->max_cpu_micro;
    *ret_plan = plan;
    return 0;
}
