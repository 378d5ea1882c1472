/*
 * explain.c - a planned job in words
 *
 * The sums are upper bounds, and say so: boxes rarely use all they may. A bound that does not fit
 * is a note and no fault, because the limits hold whatever was promised to whom.
 */
#include "batch/cli/explain_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <time.h>

#include "batch/plan/deadline.h"
#include "batch/sandbox/sandbox.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define MIB (UINT64_C(1) << 20)

/* ---- the host ---- */

int nj_explain_host(int dir_fd, struct nj_explain_host *ret_host, struct nj_error *err)
{
    struct nj_explain_host host = {0};
    struct nj_sandbox_memory memory;
    struct statvfs disk;
    cpu_set_t cpus;
    int r;

    r = nj_sandbox_memory(NULL, &memory, err);
    if (r < 0)
        return r;
    host.memory_bytes = memory.available_bytes;
    if (fstatvfs(dir_fd, &disk) < 0)
        return nj_fail_errno(err, errno, "ask for free space");
    host.disk_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    CPU_ZERO(&cpus);
    host.cpus = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint64_t)CPU_COUNT(&cpus) : 1;
    host.boxes_bearable = nj_sandbox_boxes_bearable();
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
/* ---- what is used ---- */

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

/* session_of - a session of the agent, NULL when no group uses it */
static const struct nj_plan_session *session_of(const struct nj_plan *plan, size_t agent)
{
    for (size_t i = 0; i < plan->n_sessions; i++) {
        if (plan->manifest->groups[plan->sessions[i].group].agent == agent)
            return &plan->sessions[i];
    }
    return NULL;
}

/* ---- sums ---- */

struct demand {
    uint64_t calls;       /* at once */
    uint64_t boxes;       /* at once, warm or busy */
    uint64_t boxes_least; /* of these: kept where memory is short, too */
    uint64_t memory_bytes;
    uint64_t memory_least;     /* with no more boxes than those */
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

/* within - of both bounds the upper one holds */
static uint64_t within(uint64_t value, uint64_t least, uint64_t most)
{
    if (value < least)
        value = least;
    return value < most ? value : most;
}

static void add_up(const struct nj_plan *plan, const struct nj_explain_host *host,
                   struct demand *ret)
{
    const struct nj_manifest_limits *limits = &plan->manifest->limits;
    struct demand demand = {.calls = limits->tool_calls ? limits->tool_calls : host->cpus};
    uint64_t alive = limits->sessions < plan->n_sessions ? limits->sessions : plan->n_sessions;
    struct nj_manifest_warm warm;
    uint64_t memory_most = 0;
    uint64_t size_most = 0;

    warm = nj_manifest_warm(limits, demand.calls, host->boxes_bearable);
    demand.boxes = within(warm.most, demand.calls, alive);
    demand.boxes_least = within(warm.least, demand.calls, alive);
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
    demand.memory_least =
        plus(times(demand.calls, memory_most), times(demand.boxes_least, size_most));
    *ret = demand;
}

/* explain_sum - @least: what it takes at least to go on, the rest is given back where it must be */
static void explain_sum(struct nj_rows *rows, const char *label, const char *what, uint64_t most,
                        uint64_t least, const char *has, uint64_t available, const char *advice)
{
    nj_rows_put(rows, "at most ");
    nj_rows_size(rows, most);
    nj_rows_put(rows, " %s; ", what);
    nj_rows_size(rows, available);
    nj_rows_put(rows, " %s", has);
    if (least <= available && most > available)
        nj_rows_put(rows, "; where it is short, boxes of sessions that wait are let go");
    if (least > available)
        nj_rows_put(rows, ": NOT ENOUGH if every box uses all it may; %s", advice);
    nj_rows_row(rows, label);
}

/* What ends the run before its sessions are done. */
static void explain_stops(struct nj_rows *rows, const struct nj_manifest_limits *limits,
                          const struct nj_explain_host *host)
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
    if (host->disk_bytes >> 20 < limits->disk_free_mb)
        nj_rows_put(rows, ": NOT ENOUGH here; free some, keep the run elsewhere (--run-dir) or "
                          "lower limits.disk_free_mb");
    nj_rows_row(rows, "disk");
}

static void explain_run(struct nj_rows *rows, const struct nj_plan *plan,
                        const struct nj_explain_inputs *inputs, const struct nj_explain_host *host)
{
    const struct nj_manifest *manifest = plan->manifest;
    struct demand demand;
    uint64_t disk_bytes;

    add_up(plan, host, &demand);
    disk_bytes = plus(inputs->bytes, demand.workspaces_bytes);
    nj_rows_put(rows, "run");
    nj_rows_line(rows);
    nj_rows_put(rows,
                "%" PRIu64 " session%s alive, %" PRIu64 " tool call%s, %" PRIu64 " box%s kept",
                manifest->limits.sessions, nj_plural(manifest->limits.sessions), demand.calls,
                nj_plural(demand.calls), demand.boxes, demand.boxes == 1 ? "" : "es");
    nj_rows_row(rows, "at once");
    explain_stops(rows, &manifest->limits, host);
    if (manifest->retain_seconds > 0)
        nj_rows_time(rows, manifest->retain_seconds);
    nj_rows_row(rows, "kept for");
    nj_rows_put(rows, "%s",
                manifest->archive_inputs == NJ_INPUTS_EMBED ? "hold the inputs"
                                                            : "name the inputs by digest only");
    nj_rows_row(rows, "bundles");
    nj_rows_put(rows, "this host");
    nj_rows_line(rows);
    explain_sum(rows, "memory", "for boxes and workspaces", demand.memory_bytes,
                demand.memory_least, "available", host->memory_bytes,
                "lower limits.tool_calls, limits.warm_boxes or agents' sizes");
    explain_sum(rows, "disk", "for inputs and each workspace once", disk_bytes, disk_bytes,
                "free here", host->disk_bytes,
                "keep the run elsewhere (--run-dir) or lower max_size_mb");
}

static void explain_inputs(struct nj_rows *rows, const struct nj_plan *plan,
                           const struct nj_explain_inputs *inputs)
{
    const char *first = NULL;
    size_t left = nj_sources_links_left(plan->sources, &first);

    nj_rows_put(rows, "inputs: %" PRIu64 " object%s, ", inputs->objects,
                nj_plural(inputs->objects));
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
    nj_rows_put(&rows, ": %zu session%s in %zu group%s", plan->n_sessions,
                nj_plural(plan->n_sessions), manifest->n_groups, nj_plural(manifest->n_groups));
    nj_rows_line(&rows);
    nj_explain_list(&rows, &manifest->only, ", ");
    nj_rows_row(&rows, "only");
    for (size_t i = 0; i < manifest->n_groups; i++)
        nj_explain_group(&rows, plan, i);
    for (size_t i = 0; i < manifest->n_agents; i++) {
        if (used.agents[i])
            nj_explain_agent(&rows, &manifest->agents[i], session_of(plan, i));
    }
    for (size_t i = 0; i < manifest->n_roles; i++) {
        if (used.roles[i])
            nj_explain_role(&rows, manifest, &manifest->roles[i]);
    }
    for (size_t i = 0; i < manifest->n_credentials; i++) {
        if (used.credentials[i])
            nj_explain_credential(&rows, &manifest->credentials[i]);
    }
    explain_inputs(&rows, plan, inputs);
    explain_run(&rows, plan, inputs, host);
    return nj_rows_done(&rows);
}
