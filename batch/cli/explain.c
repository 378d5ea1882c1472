/*
 * explain.c - a planned job in words
 *
 * The sums are upper bounds, and say so: boxes rarely use all they may. A bound that does not fit
 * is a note and no fault, because the limits hold whatever was promised to whom.
 */
#include "batch/cli/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/statvfs.h>

#include "batch/engine/shown.h"
#include "batch/tools/tool.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define MIB (UINT64_C(1) << 20)
#define WARM_PER_CALL 4 /* manifest.h: limits.warm_boxes */

/* ---- the host ---- */

static int read_available(uint64_t *ret_bytes, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const char *line;
    int r;

    nj_buf_init(&text, 65536);
    r = nj_fsio_read_file(AT_FDCWD, "/proc/meminfo", &text, err);
    if (r < 0)
        return r;
    line = text.data ? strstr((char *)text.data, "MemAvailable:") : NULL;
    if (!line)
        return nj_fail(err, NJ_E_SYSTEM, "/proc/meminfo does not tell the available memory");
    *ret_bytes = strtoull(line + strlen("MemAvailable:"), NULL, 10) << 10;
    return 0;
}

int nj_explain_host(int dir_fd, struct nj_explain_host *ret_host, struct nj_error *err)
{
    struct nj_explain_host host = {0};
    struct statvfs disk;
    cpu_set_t cpus;
    int r;

    r = read_available(&host.memory_bytes, err);
    if (r < 0)
        return r;
    if (fstatvfs(dir_fd, &disk) < 0)
        return nj_fail_errno(err, errno, "ask for free space");
    host.disk_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    CPU_ZERO(&cpus);
    host.cpus = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint64_t)CPU_COUNT(&cpus) : 1;
    *ret_host = host;
    return 0;
}

/* ---- counting inputs ---- */

static int count(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    struct nj_explain_inputs *inputs = ctx;
    size_t before;
    int r;

    r = nj_table_add(&inputs->known, (struct nj_span){object->digest.bytes, NJ_DIGEST_BYTES}, 0,
                     &before, err);
    if (r < 0)
        return r;
    if (r == 0) {
        inputs->objects++;
        inputs->bytes += object->bytes.len;
    }
    return 0;
}

void nj_explain_inputs_done(struct nj_explain_inputs *inputs)
{
    if (inputs)
        nj_table_done(&inputs->known);
}

struct nj_object_sink nj_explain_inputs_sink(struct nj_explain_inputs *inputs)
{
    return (struct nj_object_sink){.put = count, .ctx = inputs};
}

/* ---- words ---- */

static int show_list(struct nj_buf *out, const struct nj_manifest_texts *texts, const char *between,
                     struct nj_error *err)
{
    for (size_t i = 0; i < texts->count; i++) {
        if ((i > 0 && nj_buf_text(out, between, err) < 0) ||
            nj_shown_append(out, texts->items[i].text, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* show_size - "512 MiB", one decimal below 10 of a unit */
static int show_size(struct nj_buf *out, uint64_t bytes, struct nj_error *err)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t tenths;
    size_t unit = 0;
    uint64_t whole = bytes;

    while (whole >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        whole >>= 10;
        unit++;
    }
    if (unit == 0)
        return nj_buf_printf(out, err, "%" PRIu64 " %s", bytes, units[0]);
    tenths = (bytes >> (10 * (unit - 1))) % 1024 * 10 / 1024;
    if (whole < 10 && tenths > 0)
        return nj_buf_printf(out, err, "%" PRIu64 ".%" PRIu64 " %s", whole, tenths, units[unit]);
    return nj_buf_printf(out, err, "%" PRIu64 " %s", whole, units[unit]);
}

static int show_usd(struct nj_buf *out, int64_t micro_usd, struct nj_error *err)
{
    return nj_buf_printf(out, err, "%" PRId64 ".%02" PRId64 " USD", micro_usd / 1000000,
                         micro_usd % 1000000 / 10000);
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* ---- groups ---- */

static int explain_session(const struct nj_manifest_group *group,
                           const struct nj_plan_session *session, const char *head,
                           struct nj_buf *out, struct nj_error *err)
{
    char label[NJ_ITEM_LABEL_MAX_BYTES];

    if (nj_buf_printf(out, err, "    %s: key ", head) < 0 ||
        nj_shown_append(out, session->key, err) < 0)
        return -(int)err->code;
    nj_item_label(group, session->item_json, session->item_line, label);
    if (group->for_each != NJ_FOR_EACH_NONE &&
        (nj_buf_text(out, " from ", err) < 0 || nj_shown_append(out, label, err) < 0))
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int explain_after(const struct nj_manifest *manifest, const struct nj_manifest_group *group,
                         struct nj_buf *out, struct nj_error *err)
{
    for (size_t i = 0; i < group->n_after; i++) {
        if (nj_buf_text(out, i ? ", " : ", after ", err) < 0 ||
            nj_shown_append(out, manifest->groups[group->after[i]].name, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int explain_items(const struct nj_manifest_group *group, struct nj_buf *out,
                         struct nj_error *err)
{
    for (size_t i = 0; i < group->n_axes; i++) {
        const struct nj_manifest_axis *axis = &group->axes[i];

        if (nj_buf_text(out, i ? " and " : ", one for each ", err) < 0 ||
            nj_shown_append(out,
                            axis->text   ? axis->text
                            : axis->name ? axis->name
                                         : "value",
                            err) < 0)
            return -(int)err->code;
    }
    if (group->n_where > 0 && nj_buf_text(out, " that passes where", err) < 0)
        return -(int)err->code;
    return group->first > 0 ? nj_buf_printf(out, err, ", the first %" PRIu64 " only", group->first)
                            : 0;
}

static int explain_group(const struct nj_plan *plan, size_t at, struct nj_buf *out,
                         struct nj_error *err)
{
    const struct nj_manifest_group *group = &plan->manifest->groups[at];
    const struct nj_plan_session *first = NULL;
    const struct nj_plan_session *last = NULL;
    size_t n = 0;

    for (size_t i = 0; i < plan->n_sessions; i++) {
        if (plan->sessions[i].group != at)
            continue;
        last = &plan->sessions[i];
        first = first ? first : last;
        n++;
    }
    if (nj_buf_text(out, "  ", err) < 0 || nj_shown_append(out, group->name, err) < 0 ||
        nj_buf_printf(out, err, ": %zu session%s of agent ", n, n == 1 ? "" : "s") < 0 ||
        nj_shown_append(out, plan->manifest->agents[group->agent].name, err) < 0 ||
        explain_after(plan->manifest, group, out, err) < 0)
        return -(int)err->code;
    if (explain_items(group, out, err) < 0)
        return -(int)err->code;
    if (nj_buf_text(out, "\n", err) < 0 ||
        (first && explain_session(group, first, n > 1 ? "first" : "it", out, err) < 0) ||
        (n > 1 && explain_session(group, last, "last", out, err) < 0))
        return -(int)err->code;
    if (group->accept_command.count > 0 &&
        (nj_buf_text(out, "    accepted when: ", err) < 0 ||
         show_list(out, &group->accept_command, " ", err) < 0 ||
         nj_buf_printf(out, err, " exits with 0, within %" PRIu64 " s; %" PRIu64 " attempts\n",
                       group->accept_timeout_seconds, group->accept_attempts) < 0))
        return -(int)err->code;
    if (group->outputs.count > 0 &&
        (nj_buf_text(out, "    outputs: ", err) < 0 ||
         show_list(out, &group->outputs, ", ", err) < 0 || nj_buf_text(out, "\n", err) < 0))
        return -(int)err->code;
    return 0;
}

/* ---- agents ---- */

/* session_of - a session of the agent, NULL when no group uses it */
static const struct nj_plan_session *session_of(const struct nj_plan *plan, size_t agent)
{
    for (size_t i = 0; i < plan->n_sessions; i++) {
        if (plan->manifest->groups[plan->sessions[i].group].agent == agent)
            return &plan->sessions[i];
    }
    return NULL;
}

static int explain_model(const struct nj_manifest_role *role, struct nj_buf *out,
                         struct nj_error *err)
{
    if (nj_buf_text(out, "    model ", err) < 0 || nj_shown_append(out, role->name, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < role->n_chain; i++) {
        const struct nj_manifest_model *model = &role->chain[i];

        if (nj_buf_printf(out, err, "%s%s ", i ? ", then " : ": ",
                          nj_manifest_provider_text(model->provider)) < 0 ||
            nj_shown_append(out,
                            model->script  ? model->script
                            : model->model ? model->model
                                           : "",
                            err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, "\n", err);
}

static int explain_tools(const struct nj_session_config *config, struct nj_buf *out,
                         struct nj_error *err)
{
    if (nj_buf_text(out, config->n_tools ? "    tools: " : "    no tools", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < config->n_tools; i++) {
        if ((i > 0 && nj_buf_text(out, ", ", err) < 0) ||
            nj_shown_append(out, config->tools[i].name, err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, "\n", err);
}

static int explain_paths(const struct nj_session_config *config, struct nj_buf *out,
                         struct nj_error *err)
{
    for (size_t i = 0; i < config->n_writable_paths; i++) {
        if (nj_buf_text(out, i ? ", " : " for ", err) < 0 ||
            nj_shown_append(out, config->writable_paths[i], err) < 0)
            return -(int)err->code;
    }
    for (size_t i = 0; i < config->n_mounts; i++) {
        if (nj_buf_text(out, i ? ", " : "; read-only ", err) < 0 ||
            nj_shown_append(out, config->mounts[i].target, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int explain_agent(const struct nj_plan *plan, const struct nj_plan_session *session,
                         struct nj_buf *out, struct nj_error *err)
{
    const struct nj_session_config *config = session->config;

    if (nj_buf_text(out, "  ", err) < 0 || nj_shown_append(out, config->agent, err) < 0 ||
        nj_buf_printf(out, err, ": at most %" PRIu64 " turns, reproducible %s\n", config->turns_max,
                      config->reproducible) < 0 ||
        (session->role != NJ_MANIFEST_NONE &&
         explain_model(&plan->manifest->roles[session->role], out, err) < 0) ||
        explain_tools(config, out, err) < 0 || nj_buf_text(out, "    box: ", err) < 0 ||
        show_size(out, config->max_size_bytes, err) < 0 || explain_paths(config, out, err) < 0 ||
        nj_buf_text(out, "\n    ", err) < 0 || show_size(out, config->max_memory_bytes, err) < 0 ||
        nj_buf_printf(out, err,
                      " of memory, %" PRIu64 " processes, %" PRIu64 " s of tool time, no network\n",
                      config->max_processes, config->max_runtime_ms / 1000) < 0)
        return -(int)err->code;
    return 0;
}

/* ---- sums ---- */

struct demand {
    uint64_t calls; /* at once */
    uint64_t boxes; /* at once, warm or busy */
    uint64_t memory_bytes;
    uint64_t workspaces_bytes; /* what all workspaces together can put into the journal once over */
};

static void add_up(const struct nj_plan *plan, const struct nj_explain_host *host,
                   struct demand *ret)
{
    const struct nj_manifest_limits *limits = &plan->manifest->limits;
    struct demand demand = {.calls = limits->tool_calls ? limits->tool_calls : host->cpus};
    uint64_t alive = limits->sessions < plan->n_sessions ? limits->sessions : plan->n_sessions;
    uint64_t memory_most = 0;
    uint64_t size_most = 0;

    demand.boxes = limits->warm_boxes ? limits->warm_boxes : times(demand.calls, WARM_PER_CALL);
    if (demand.boxes < demand.calls)
        demand.boxes = demand.calls;
    if (demand.boxes > alive)
        demand.boxes = alive;
    if (demand.calls > demand.boxes)
        demand.calls = demand.boxes;
    for (size_t i = 0; i < plan->n_sessions; i++) {
        const struct nj_session_config *config = plan->sessions[i].config;

        memory_most =
            config->max_memory_bytes > memory_most ? config->max_memory_bytes : memory_most;
        size_most = config->max_size_bytes > size_most ? config->max_size_bytes : size_most;
        demand.workspaces_bytes = plus(demand.workspaces_bytes, config->max_size_bytes);
    }
    demand.memory_bytes = plus(times(demand.calls, memory_most), times(demand.boxes, size_most));
    *ret = demand;
}

static int explain_sum(struct nj_buf *out, const char *what, uint64_t most, const char *has,
                       uint64_t available, const char *advice, struct nj_error *err)
{
    if (nj_buf_printf(out, err, "  %s at most ", what) < 0 || show_size(out, most, err) < 0 ||
        nj_buf_printf(out, err, "; %s ", has) < 0 || show_size(out, available, err) < 0)
        return -(int)err->code;
    if (most <= available)
        return nj_buf_text(out, "\n", err);
    return nj_buf_printf(out, err, ": NOT ENOUGH if every box uses all it may; %s\n", advice);
}

/* explain_stops - what ends the run before its sessions are done, and what is tried again */
static int explain_stops(const struct nj_manifest *manifest, struct nj_buf *out,
                         struct nj_error *err)
{
    const struct nj_manifest_limits *limits = &manifest->limits;
    int r = 0;

    if (limits->deadline &&
        (nj_buf_text(out, "  until ", err) < 0 || nj_shown_append(out, limits->deadline, err) < 0 ||
         nj_buf_text(out, "\n", err) < 0))
        return -(int)err->code;
    if (limits->fail_over_count != NJ_MANIFEST_NO_COUNT)
        r = nj_buf_printf(out, err, "  stops when more than %" PRIu64 " sessions failed\n",
                          limits->fail_over_count);
    else if (limits->fail_over_ppm < 1000000)
        r = nj_buf_printf(out, err, "  stops when more than %u.%u %% of the sessions failed\n",
                          limits->fail_over_ppm / 10000, limits->fail_over_ppm / 1000 % 10);
    if (r == 0 && limits->disk_free_mb > 0)
        r = nj_buf_printf(out, err, "  no session begins with less than %" PRIu64 " MB free\n",
                          limits->disk_free_mb);
    if (r == 0 && manifest->retry.attempts > 1)
        r = nj_buf_printf(out, err,
                          "  a failed session is begun %" PRIu64 " times at most, after %" PRIu64
                          " s and up to %" PRIu64 " s\n",
                          manifest->retry.attempts, manifest->retry.backoff_seconds,
                          manifest->retry.backoff_max_seconds);
    if (r == 0 && manifest->retain_seconds > 0)
        r = nj_buf_printf(out, err, "  kept for %" PRIu64 " h\n", manifest->retain_seconds / 3600);
    return r;
}

static int explain_limits(const struct nj_plan *plan, const struct nj_explain_inputs *inputs,
                          const struct nj_explain_host *host, struct nj_buf *out,
                          struct nj_error *err)
{
    const struct nj_manifest_limits *limits = &plan->manifest->limits;
    struct demand demand;

    add_up(plan, host, &demand);
    if (nj_buf_printf(out, err,
                      "limits\n  %" PRIu64 " sessions alive at once, %" PRIu64
                      " tool calls at once, %" PRIu64 " boxes kept\n",
                      limits->sessions, demand.calls, demand.boxes) < 0)
        return -(int)err->code;
    if (limits->budget_micro_usd >= 0 &&
        (nj_buf_text(out, "  budget ", err) < 0 ||
         show_usd(out, limits->budget_micro_usd, err) < 0 || nj_buf_text(out, "\n", err) < 0))
        return -(int)err->code;
    if (limits->session_budget_micro_usd >= 0 &&
        (nj_buf_text(out, "  budget of a session ", err) < 0 ||
         show_usd(out, limits->session_budget_micro_usd, err) < 0 ||
         nj_buf_text(out, "\n", err) < 0))
        return -(int)err->code;
    if (explain_stops(plan->manifest, out, err) < 0 || nj_buf_text(out, "this host\n", err) < 0 ||
        explain_sum(out, "memory of boxes and their workspaces", demand.memory_bytes, "available",
                    host->memory_bytes,
                    "lower limits.tool_calls, limits.warm_boxes or the agents' sizes", err) < 0)
        return -(int)err->code;
    return explain_sum(out, "disk for inputs and each workspace once",
                       plus(inputs->bytes, demand.workspaces_bytes), "free here", host->disk_bytes,
                       "keep the run elsewhere (--run-dir) or lower max_size_mb", err);
}

static int explain_inputs(const struct nj_plan *plan, const struct nj_explain_inputs *inputs,
                          struct nj_buf *out, struct nj_error *err)
{
    const char *first;
    size_t left = nj_sources_links_left(plan->sources, &first);

    if (nj_buf_printf(out, err, "inputs\n  %" PRIu64 " objects, ", inputs->objects) < 0 ||
        show_size(out, inputs->bytes, err) < 0 || nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    if (left == 0)
        return 0;
    if (nj_buf_printf(out, err, "  %zu %s the allowed directories and %s left out; the first is ",
                      left, left == 1 ? "link leaves" : "links leave",
                      left == 1 ? "was" : "were") < 0 ||
        nj_shown_append(out, first ? first : "?", err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

int nj_explain_job(const struct nj_plan *plan, const struct nj_explain_inputs *inputs,
                   const struct nj_explain_host *host, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_manifest *manifest = plan->manifest;

    if (nj_buf_text(out, "job ", err) < 0 || nj_shown_append(out, manifest->job, err) < 0 ||
        nj_buf_printf(out, err, ": %zu session%s in %zu group%s\n", plan->n_sessions,
                      plan->n_sessions == 1 ? "" : "s", manifest->n_groups,
                      manifest->n_groups == 1 ? "" : "s") < 0)
        return -(int)err->code;
    for (size_t i = 0; i < manifest->n_groups; i++) {
        if (explain_group(plan, i, out, err) < 0)
            return -(int)err->code;
    }
    if (nj_buf_text(out, "agents\n", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < manifest->n_agents; i++) {
        const struct nj_plan_session *session = session_of(plan, i);

        if (session && explain_agent(plan, session, out, err) < 0)
            return -(int)err->code;
    }
    if (explain_inputs(plan, inputs, out, err) < 0)
        return -(int)err->code;
    return explain_limits(plan, inputs, host, out, err);
}

/* ---- boxes ---- */

int nj_explain_check_boxes(const struct nj_plan *plan, struct nj_manifest_faults *faults,
                           struct nj_error *err)
{
    for (size_t i = 0; i < plan->manifest->n_agents; i++) {
        const struct nj_manifest_agent *agent = &plan->manifest->agents[i];
        const struct nj_plan_session *session = session_of(plan, i);
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_box_plan box;
        int r;

        if (!session)
            continue;
        r = nj_tool_box_plan(session->config, &arena, &box, err);
        if (r == 0)
            r = nj_box_plan_check(&box, err);
        if (r < 0 && err->code != NJ_E_INPUT)
            return r;
        if (r < 0) {
            const char *path = nj_arena_printf(&arena, "agents.%s.sandbox", agent->name);

            nj_manifest_faults_add(faults, agent->sandbox.mark, path, "%s", err->text);
        }
    }
    return nj_manifest_faults_fail(faults, plan->manifest->name, err);
}

int nj_explain_boxes(const struct nj_plan *plan, struct nj_buf *out, struct nj_error *err)
{
    for (size_t i = 0; i < plan->manifest->n_agents; i++) {
        const struct nj_plan_session *session = session_of(plan, i);
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_box_plan box;

        if (!session)
            continue;
        if (nj_tool_box_plan(session->config, &arena, &box, err) < 0 ||
            nj_buf_text(out, "\nbox of agent ", err) < 0 ||
            nj_shown_append(out, session->config->agent, err) < 0 ||
            nj_buf_text(out, "\n", err) < 0 || nj_box_plan_print(&box, out, err) < 0)
            return nj_wrap(err, "box of agent %s", session->config->agent);
    }
    return 0;
}
