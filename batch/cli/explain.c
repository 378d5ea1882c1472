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
#include <time.h>

#include "batch/cli/rows.h"
#include "batch/plan/deadline.h"
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

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void put_list(struct nj_rows *rows, const struct nj_manifest_texts *texts,
                     const char *between)
{
    for (size_t i = 0; i < texts->count; i++) {
        nj_rows_put(rows, "%s", i > 0 ? between : "");
        nj_rows_shown(rows, texts->items[i].text);
    }
}

/* put_part - "a, b, c": what stands before the next part of a row */
static void put_part(struct nj_rows *rows)
{
    nj_rows_put(rows, "%s", rows->value.len > 0 ? ", " : "");
}

/* ---- groups ---- */

/* The sessions of one group: plans keep them together. */
struct part {
    const struct nj_plan_session *sessions;
    size_t n;
};

static struct part part_of(const struct nj_plan *plan, size_t group)
{
    size_t first = 0;
    size_t end;

    while (first < plan->n_sessions && plan->sessions[first].group != group)
        first++;
    for (end = first; end < plan->n_sessions && plan->sessions[end].group == group;)
        end++;
    return (struct part){plan->sessions + first, end - first};
}

static void explain_items(struct nj_rows *rows, const struct nj_manifest_group *group)
{
    for (size_t i = 0; i < group->n_axes; i++) {
        const struct nj_manifest_axis *axis = &group->axes[i];

        nj_rows_put(rows, "%s", i > 0 ? " and " : "one for each ");
        nj_rows_shown(rows, axis->text ? axis->text : axis->name ? axis->name : "value");
    }
    if (group->n_where > 0)
        nj_rows_put(rows, " that passes where");
    if (group->first > 0)
        nj_rows_put(rows, ", the first %" PRIu64 " only", group->first);
    nj_rows_row(rows, "items");
}

static void explain_key(struct nj_rows *rows, const struct nj_manifest_group *group,
                        const struct nj_plan_session *session)
{
    char label[NJ_ITEM_LABEL_MAX_BYTES];

    nj_rows_shown(rows, session->key);
    nj_item_label(group, session->item_json, session->item_line, label);
    if (group->for_each == NJ_FOR_EACH_NONE)
        return;
    nj_rows_put(rows, " (");
    nj_rows_shown(rows, label);
    nj_rows_put(rows, ")");
}

/* What counts for its sessions, whoever said it: an item, the group, the agent or the run. */
static void explain_session_limits(struct nj_rows *rows, const struct part *part)
{
    const struct nj_session_config *first = part->sessions[0].config;
    uint64_t turns[2] = {first->turns_max, first->turns_max};
    int64_t budget[2] = {first->budget_micro_usd, first->budget_micro_usd};

    for (size_t i = 1; i < part->n; i++) {
        const struct nj_session_config *config = part->sessions[i].config;

        turns[0] = config->turns_max < turns[0] ? config->turns_max : turns[0];
        turns[1] = config->turns_max > turns[1] ? config->turns_max : turns[1];
        budget[0] = config->budget_micro_usd < budget[0] ? config->budget_micro_usd : budget[0];
        budget[1] = config->budget_micro_usd > budget[1] ? config->budget_micro_usd : budget[1];
    }
    if (turns[0] < turns[1])
        nj_rows_put(rows, "%" PRIu64 " to ", turns[0]);
    nj_rows_put(rows, "%" PRIu64 " turn%s", turns[1], plural(turns[1]));
    put_part(rows);
    if (budget[1] < 0) {
        nj_rows_put(rows, "no budget");
    } else {
        if (budget[0] < 0)
            nj_rows_put(rows, "no budget or ");
        else if (budget[0] < budget[1]) {
            nj_rows_usd(rows, budget[0]);
            nj_rows_put(rows, " to ");
        }
        nj_rows_usd(rows, budget[1]);
    }
    nj_rows_put(rows, ", %" PRIu64 " s of tool time", first->max_runtime_ms / 1000);
    nj_rows_row(rows, "each");
}

/* Of an agent or a group, beside those of the run. */
static void explain_limit(struct nj_rows *rows, const struct nj_manifest_limit *limit)
{
    if (limit->sessions > 0)
        nj_rows_put(rows, "%" PRIu64 " session%s alive at once", limit->sessions,
                    plural(limit->sessions));
    if (limit->budget_micro_usd >= 0) {
        put_part(rows);
        nj_rows_usd(rows, limit->budget_micro_usd);
    }
    nj_rows_row(rows, "together");
}

static void explain_override(struct nj_rows *rows, const struct nj_manifest_override *override)
{
    const char *const texts[] = {override->model, override->instructions, override->input,
                                 override->turns, override->session_budget_usd};
    static const char *const names[] = {"model", "instructions", "input", "turns",
                                        "session_budget_usd"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!texts[i])
            continue;
        put_part(rows);
        nj_rows_put(rows, "%s ", names[i]);
        nj_rows_shown(rows, texts[i]);
    }
    nj_rows_row(rows, "override");
}

static void explain_retry(struct nj_rows *rows, const struct nj_manifest_retry *retry)
{
    static const struct {
        unsigned bit;
        const char *text;
    } causes[] = {
#define X(name, bit, text) {bit, text},
        NJ_MANIFEST_RETRY_ON(X)
#undef X
    };

    if (retry->attempts == 1) {
        nj_rows_put(rows, "no second attempt");
        nj_rows_row(rows, "failed");
        return;
    }
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (!(retry->on & causes[i].bit))
            continue;
        put_part(rows);
        nj_rows_put(rows, "%s", causes[i].text);
    }
    nj_rows_put(rows, ": %" PRIu64 " attempts, ", retry->attempts);
    nj_rows_time(rows, retry->backoff_seconds);
    nj_rows_put(rows, " apart, doubling up to ");
    nj_rows_time(rows, retry->backoff_max_seconds);
    nj_rows_row(rows, "failed by");
}

static void explain_group(struct nj_rows *rows, const struct nj_plan *plan, size_t at)
{
    const struct nj_manifest *manifest = plan->manifest;
    const struct nj_manifest_group *group = &manifest->groups[at];
    struct part part = part_of(plan, at);

    nj_rows_put(rows, "group ");
    nj_rows_shown(rows, group->name);
    nj_rows_put(rows, ": %zu session%s of agent ", part.n, plural(part.n));
    nj_rows_shown(rows, manifest->agents[group->agent].name);
    nj_rows_line(rows);
    explain_items(rows, group);
    if (part.n > 0) {
        explain_key(rows, group, &part.sessions[0]);
        if (part.n > 1) {
            nj_rows_put(rows, " to ");
            explain_key(rows, group, &part.sessions[part.n - 1]);
        }
        nj_rows_row(rows, part.n > 1 ? "keys" : "key");
    }
    for (size_t i = 0; i < group->n_after; i++) {
        put_part(rows);
        nj_rows_shown(rows, manifest->groups[group->after[i]].name);
    }
    nj_rows_row(rows, "after");
    explain_override(rows, &group->override);
    if (part.n > 0)
        explain_session_limits(rows, &part);
    explain_limit(rows, &group->limits);
    if (group->accept_command.count > 0) {
        put_list(rows, &group->accept_command, " ");
        nj_rows_put(rows, " exits with 0 within ");
        nj_rows_time(rows, group->accept_timeout_seconds);
        nj_rows_put(rows, "; %" PRIu64 " attempt%s", group->accept_attempts,
                    plural(group->accept_attempts));
    }
    nj_rows_row(rows, "accepted");
    put_list(rows, &group->outputs, ", ");
    nj_rows_row(rows, "outputs");
    explain_retry(rows, &group->retry);
}

/* ---- models and credentials ---- */

static void explain_price(struct nj_rows *rows, const struct nj_manifest_model *model)
{
    if (model->provider == NJ_PROVIDER_SCRIPT && !model->priced)
        return;
    if (!model->priced) {
        nj_rows_put(rows, "; no price: budgets cannot see what it costs");
        return;
    }
    nj_rows_put(rows, "; ");
    nj_rows_usd(rows, model->price.input);
    nj_rows_put(rows, " in and ");
    nj_rows_usd(rows, model->price.output);
    nj_rows_put(rows, " out per million tokens");
}

static void explain_when(struct nj_rows *rows, unsigned when)
{
    static const struct {
        unsigned bit;
        const char *text;
    } causes[] = {
#define X(name, bit, text) {bit, text},
        NJ_MANIFEST_CAUSES(X)
#undef X
    };
    bool first = true;

    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (!(when & causes[i].bit))
            continue;
        nj_rows_put(rows, "%s%s", first ? " after " : ", ", causes[i].text);
        first = false;
    }
}

static void explain_model(struct nj_rows *rows, const struct nj_manifest *manifest,
                          const struct nj_manifest_model *model, bool first)
{
    const struct nj_manifest_rate *rate = &model->rate;

    nj_rows_put(rows, "%s ", nj_manifest_provider_text(model->provider));
    nj_rows_shown(rows, model->script ? model->script : model->model ? model->model : "");
    if (model->base_url) {
        nj_rows_put(rows, " at ");
        nj_rows_shown(rows, model->base_url);
    }
    if (!first)
        explain_when(rows, model->when);
    if (model->credential != NJ_MANIFEST_NONE) {
        nj_rows_put(rows, "; credential ");
        nj_rows_shown(rows, manifest->credentials[model->credential].name);
    }
    explain_price(rows, model);
    nj_rows_put(rows, "; replies of %" PRIu64 " tokens", model->max_tokens);
    if (model->context_tokens > 0)
        nj_rows_put(rows, " in %" PRIu64, model->context_tokens);
    if (rate->requests > 0)
        nj_rows_put(rows, "; %" PRIu64 " requests a minute", rate->requests);
    if (rate->input_tokens > 0)
        nj_rows_put(rows, "; %" PRIu64 " tokens in a minute", rate->input_tokens);
    if (rate->output_tokens > 0)
        nj_rows_put(rows, "; %" PRIu64 " tokens out a minute", rate->output_tokens);
    if (rate->concurrent > 0)
        nj_rows_put(rows, "; %" PRIu64 " at once", rate->concurrent);
    nj_rows_row(rows, first ? "first" : "then");
}

static void explain_role(struct nj_rows *rows, const struct nj_manifest *manifest,
                         const struct nj_manifest_role *role)
{
    nj_rows_put(rows, "model ");
    nj_rows_shown(rows, role->name);
    nj_rows_line(rows);
    for (size_t i = 0; i < role->n_chain; i++)
        explain_model(rows, manifest, &role->chain[i], i == 0);
    if (role->n_chain < 2)
        return;
    if (role->return_seconds > 0)
        nj_rows_time(rows, role->return_seconds);
    nj_rows_put(rows, "%s",
                role->return_seconds > 0 ? " after a later one answered"
                                         : "to the first at the next turn");
    nj_rows_row(rows, "back");
}

/* Whether a variable is set is all that may be told of it. */
static void explain_credential(struct nj_rows *rows,
                               const struct nj_manifest_credential *credential)
{
    nj_rows_put(rows, "credential ");
    nj_rows_shown(rows, credential->name);
    nj_rows_line(rows);
    if (credential->env) {
        nj_rows_put(rows, "the variable %s, which is %s here", credential->env,
                    getenv(credential->env) ? "set" : "NOT SET");
    } else if (credential->file) {
        nj_rows_put(rows, "the file ");
        nj_rows_shown(rows, credential->file);
    } else if (credential->systemd) {
        nj_rows_put(rows, "the unit's credential %s", credential->systemd);
    } else {
        nj_rows_put(rows, "what this prints: ");
        put_list(rows, &credential->command, " ");
    }
    nj_rows_row(rows, "from");
    put_list(rows, &credential->hosts, ", ");
    nj_rows_row(rows, "sent to");
}

struct used {
    bool agents[NJ_MANIFEST_AGENTS_MAX];
    bool roles[NJ_MANIFEST_AGENTS_MAX];
    bool credentials[NJ_MANIFEST_AGENTS_MAX];
};

static void use(const struct nj_plan *plan, struct used *used)
{
    for (size_t i = 0; i < plan->n_sessions; i++) {
        used->agents[plan->manifest->groups[plan->sessions[i].group].agent] = true;
        if (plan->sessions[i].role != NJ_MANIFEST_NONE)
            used->roles[plan->sessions[i].role] = true;
    }
    for (size_t i = 0; i < plan->manifest->n_roles; i++) {
        const struct nj_manifest_role *role = &plan->manifest->roles[i];

        for (size_t k = 0; used->roles[i] && k < role->n_chain; k++) {
            if (role->chain[k].credential != NJ_MANIFEST_NONE)
                used->credentials[role->chain[k].credential] = true;
        }
    }
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

static void explain_tools(struct nj_rows *rows, const struct nj_session_config *config)
{
    for (size_t i = 0; i < config->n_tools; i++) {
        const struct nj_config_tool *tool = &config->tools[i];
        bool first = true;

        put_part(rows);
        nj_rows_shown(rows, tool->name);
        nj_rows_put(rows, " (");
        for (unsigned bit = 1; bit <= NJ_LANGUAGE_ALL; bit <<= 1) {
            if (!(tool->languages & bit))
                continue;
            nj_rows_put(rows, "%s%s", first ? "" : " ",
                        nj_manifest_language_text((enum nj_manifest_language)bit));
            first = false;
        }
        nj_rows_put(rows, "%s%" PRIu64 " s a call)", first ? "" : "; ", tool->timeout_ms / 1000);
    }
    if (config->n_tools == 0)
        nj_rows_put(rows, "none");
    nj_rows_row(rows, "tools");
}

static void explain_box(struct nj_rows *rows, const struct nj_session_config *config)
{
    nj_rows_size(rows, config->max_size_bytes);
    for (size_t i = 0; i < config->n_writable_paths; i++) {
        nj_rows_put(rows, "%s", i ? ", " : " for ");
        nj_rows_shown(rows, config->writable_paths[i]);
    }
    for (size_t i = 0; i < config->n_mounts; i++) {
        nj_rows_put(rows, "%s", i ? ", " : "; read-only ");
        nj_rows_shown(rows, config->mounts[i].target);
    }
    if (config->rootfs) {
        char hex[NJ_DIGEST_HEX_CHARS + 1];

        nj_digest_hex(&config->rootfs->digest, hex);
        nj_rows_put(rows, "; system sha256:%.12s", hex);
    }
    nj_rows_put(rows, "; ");
    nj_rows_size(rows, config->max_memory_bytes);
    nj_rows_put(rows, " of memory, %" PRIu64 " processes, ", config->max_processes);
    if (config->max_cpu_micro)
        nj_rows_put(rows, "%.6g CPUs, ", (double)config->max_cpu_micro / 1e6);
    nj_rows_put(rows, "no network");
    nj_rows_row(rows, "box");
}

/* What a replay finds as it was in the run, by the level of `reproducible:`. */
static const char *const level_meanings[NJ_LEVEL_MAX + 1] = {
    "neither time nor randomness are the record's",
    "the record's time and randomness",
    "the record's time, randomness and file times",
    "the record's time, randomness, file times and order of threads",
};

static void explain_agent(struct nj_rows *rows, const struct nj_manifest_agent *agent,
                          const struct nj_plan_session *session)
{
    const struct nj_session_config *config = session->config;

    nj_rows_put(rows, "agent ");
    nj_rows_shown(rows, config->agent);
    nj_rows_line(rows);
    nj_rows_shown(rows, config->role);
    nj_rows_row(rows, "model");
    explain_tools(rows, config);
    explain_box(rows, config);
    explain_limit(rows, &agent->limits);
    if (config->compact_at_tokens > 0) {
        nj_rows_put(rows, "cut to below %" PRIu64 " tokens by leaving out old tool results",
                    config->compact_at_tokens);
        nj_rows_row(rows, "prompts");
    }
    if (config->output_schema)
        nj_rows_put(rows, "the last reply fits a schema");
    nj_rows_row(rows, "output");
    nj_rows_put(rows, "level %s: %s", config->reproducible, level_meanings[config->layer]);
    nj_rows_row(rows, "replay");
}

/* ---- sums ---- */

struct demand {
    uint64_t calls; /* at once */
    uint64_t boxes; /* at once, warm or busy */
    uint64_t memory_bytes;
    uint64_t workspaces_bytes; /* what all workspaces together can put into the journal once over */
};

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

static void explain_sum(struct nj_rows *rows, const char *label, const char *what, uint64_t most,
                        const char *has, uint64_t available, const char *advice)
{
    nj_rows_put(rows, "at most ");
    nj_rows_size(rows, most);
    nj_rows_put(rows, " %s; ", what);
    nj_rows_size(rows, available);
    nj_rows_put(rows, " %s", has);
    if (most > available)
        nj_rows_put(rows, ": NOT ENOUGH if every box uses all it may; %s", advice);
    nj_rows_row(rows, label);
}

/* What ends the run before its sessions are done. */
static void explain_stops(struct nj_rows *rows, const struct nj_manifest_limits *limits)
{
    struct nj_error unknown = {0};
    int64_t now_s = time(NULL);
    int64_t at_s = 0;

    if (limits->budget_micro_usd >= 0) {
        nj_rows_usd(rows, limits->budget_micro_usd);
        nj_rows_put(rows, " are spent: sessions are suspended");
        nj_rows_row(rows, "until");
    }
    if (limits->deadline) {
        nj_rows_shown(rows, limits->deadline);
        if (nj_deadline_next(limits->deadline, now_s, &at_s, &unknown) == 0 && at_s > now_s) {
            nj_rows_put(rows, ", in ");
            nj_rows_time(rows, (uint64_t)(at_s - now_s) / 60 * 60);
        }
        nj_rows_put(rows, ": sessions are suspended");
        nj_rows_row(rows, "until");
    }
    if (limits->fail_over_count != NJ_MANIFEST_NO_COUNT)
        nj_rows_put(rows, "more than %" PRIu64 " sessions failed", limits->fail_over_count);
    else if (limits->fail_over_ppm < 1000000)
        nj_rows_put(rows, "more than %u.%u %% of the sessions failed",
                    limits->fail_over_ppm / 10000, limits->fail_over_ppm / 1000 % 10);
    nj_rows_row(rows, "until");
    if (limits->disk_free_mb > 0)
        nj_rows_put(rows, "no session begins with less than %" PRIu64 " MB free",
                    limits->disk_free_mb);
    nj_rows_row(rows, "disk");
}

static void explain_run(struct nj_rows *rows, const struct nj_plan *plan,
                        const struct nj_explain_inputs *inputs, const struct nj_explain_host *host)
{
    const struct nj_manifest *manifest = plan->manifest;
    struct demand demand;

    add_up(plan, host, &demand);
    nj_rows_put(rows, "run");
    nj_rows_line(rows);
    nj_rows_put(rows,
                "%" PRIu64 " session%s alive, %" PRIu64 " tool call%s, %" PRIu64 " box%s kept",
                manifest->limits.sessions, plural(manifest->limits.sessions), demand.calls,
                plural(demand.calls), demand.boxes, demand.boxes == 1 ? "" : "es");
    nj_rows_row(rows, "at once");
    explain_stops(rows, &manifest->limits);
    if (manifest->retain_seconds > 0)
        nj_rows_time(rows, manifest->retain_seconds);
    nj_rows_row(rows, "kept for");
    nj_rows_put(rows, "%s",
                manifest->archive_inputs == NJ_INPUTS_EMBED ? "hold the inputs"
                                                            : "name the inputs by digest only");
    nj_rows_row(rows, "bundles");
    nj_rows_put(rows, "this host");
    nj_rows_line(rows);
    explain_sum(rows, "memory", "for boxes and workspaces", demand.memory_bytes, "available",
                host->memory_bytes, "lower limits.tool_calls, limits.warm_boxes or agents' sizes");
    explain_sum(rows, "disk", "for inputs and each workspace once",
                plus(inputs->bytes, demand.workspaces_bytes), "free here", host->disk_bytes,
                "keep the run elsewhere (--run-dir) or lower max_size_mb");
}

static void explain_inputs(struct nj_rows *rows, const struct nj_plan *plan,
                           const struct nj_explain_inputs *inputs)
{
    const char *first = NULL;
    size_t left = nj_sources_links_left(plan->sources, &first);

    nj_rows_put(rows, "inputs: %" PRIu64 " object%s, ", inputs->objects, plural(inputs->objects));
    nj_rows_size(rows, inputs->bytes);
    nj_rows_line(rows);
    if (left == 0)
        return;
    nj_rows_put(rows, "%zu %s the allowed directories and %s left out; the first is ", left,
                left == 1 ? "link leaves" : "links leave", left == 1 ? "was" : "were");
    nj_rows_shown(rows, first ? first : "?");
    nj_rows_row(rows, "links");
}

int nj_explain_job(const struct nj_plan *plan, const struct nj_explain_inputs *inputs,
                   const struct nj_explain_host *host, size_t columns, struct nj_buf *out,
                   struct nj_error *err)
{
    const struct nj_manifest *manifest = plan->manifest;
    struct nj_rows rows = {.out = out, .columns = columns, .err = err};
    struct used used = {0};

    use(plan, &used);
    nj_rows_put(&rows, "job ");
    nj_rows_shown(&rows, manifest->job);
    nj_rows_put(&rows, ": %zu session%s in %zu group%s", plan->n_sessions, plural(plan->n_sessions),
                manifest->n_groups, plural(manifest->n_groups));
    nj_rows_line(&rows);
    put_list(&rows, &manifest->only, ", ");
    nj_rows_row(&rows, "only");
    for (size_t i = 0; i < manifest->n_groups; i++)
        explain_group(&rows, plan, i);
    for (size_t i = 0; i < manifest->n_agents; i++) {
        if (used.agents[i])
            explain_agent(&rows, &manifest->agents[i], session_of(plan, i));
    }
    for (size_t i = 0; i < manifest->n_roles; i++) {
        if (used.roles[i])
            explain_role(&rows, manifest, &manifest->roles[i]);
    }
    for (size_t i = 0; i < manifest->n_credentials; i++) {
        if (used.credentials[i])
            explain_credential(&rows, &manifest->credentials[i]);
    }
    explain_inputs(&rows, plan, inputs);
    explain_run(&rows, plan, inputs, host);
    return nj_rows_done(&rows);
}
