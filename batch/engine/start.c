/*
 * start.c - from a command line to a ready engine
 *
 * The one complication is order. Reading what the manifest names needs the rights of whoever
 * started the run; the sandbox's helper must be forked before there are threads; and everything
 * from the journal on is done by the unprivileged user, who then owns the folder.
 */
#include "batch/engine/start.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <jansson.h>
#include <libgen.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "batch/engine/drop.h"
#include "batch/engine/reused.h"
#include "batch/engine/secrets.h"
#include "batch/engine/taker.h"
#include "batch/plan/allowed.h"
#include "batch/plan/deadline.h"
#include "batch/plan/job.h"
#include "batch/plan/reuse.h"
#include "batch/plan/slug.h"
#include "batch/run/gc.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

#define PUBLISHERS_AHEAD                                                                           \
    4u /* forked at the start, when it is cheap; more only where they are needed */
#define THINNERS 1u

/* ---- what was read is kept ---- */

static int read_job(struct nj_engine *engine, int dir_fd, const char *name, const char *shown,
                    struct nj_manifest_faults *faults, struct nj_error *err)
{
    nj_buf_init(&engine->job, NJ_MANIFEST_MAX_BYTES);
    if (nj_fsio_read_file(dir_fd, name, &engine->job, err) < 0) {
        if (err->sys_errno == ENOENT || err->sys_errno == EACCES)
            err->code = NJ_E_INPUT; /* a name that a person mistyped */
        return nj_wrap(err, "job %s", shown);
    }
    if (nj_manifest_parse(nj_buf_span(&engine->job), shown, &engine->manifest, faults, err) < 0 ||
        nj_manifest_supported(engine->manifest, faults, err) < 0)
        return -(int)err->code;
    return 0;
}

/* Copies a role's script to inputs/files/<path>, so that a resume reads what the run began with. */
static int keep_script(struct nj_engine *engine, int dir_fd, int files_fd, const char *path,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_free char *copy = strdup(path);
    nj_auto_close int fd = dup(files_fd);
    char *part = copy;

    if (!copy || fd < 0)
        return nj_fail_nomem(err);
    (void)engine;
    nj_buf_init(&bytes, NJ_MANIFEST_MAX_BYTES * 4);
    if (nj_fsio_read_file(dir_fd, path, &bytes, err) < 0)
        return -(int)err->code;
    for (char *slash = strchr(part, '/'); slash; slash = strchr(part, '/')) {
        int next;

        *slash = '\0';
        if (*part && strcmp(part, ".") != 0) {
            if (nj_fsio_open_dir(fd, part, &next, err) < 0)
                return -(int)err->code;
            (void)close(fd);
            fd = next;
        }
        part = slash + 1;
    }
    return nj_fsio_publish(fd, part, nj_buf_span(&bytes), 0600, err);
}

static int keep_scripts(struct nj_engine *engine, int dir_fd, int *ret_files_fd,
                        struct nj_error *err)
{
    const struct nj_manifest *manifest = engine->manifest;

    if (nj_fsio_open_dir(engine->dir.inputs_fd, "files", ret_files_fd, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < manifest->n_roles; i++)
        for (size_t k = 0; k < manifest->roles[i].n_chain; k++)
            if (manifest->roles[i].chain[k].script &&
                keep_script(engine, dir_fd, *ret_files_fd, manifest->roles[i].chain[k].script,
                            err) < 0)
                return nj_wrap(err, "keep a copy of %s", manifest->roles[i].chain[k].script);
    return 0;
}

static int make_run(struct nj_engine *engine, int dir_fd, struct nj_manifest_faults *faults,
                    struct nj_error *err)
{
    struct nj_object_sink sink;

    if (nj_inputs_open(engine->dir.inputs_fd, &engine->inputs, err) < 0)
        return -(int)err->code;
    sink = nj_inputs_sink(engine->inputs);
    if (nj_models_new(engine->manifest, dir_fd, &engine->models, err) < 0 ||
        nj_plan_new(engine->manifest, dir_fd, engine->models, &sink, engine->options->allow_paths,
                    &engine->plan, faults, err) < 0 ||
        nj_plan_save(engine->plan, engine->dir.inputs_fd, err) < 0 ||
        nj_identities_save(engine->plan, engine->dir.inputs_fd, err) < 0 ||
        nj_allowed_save(engine->options->allow_paths, engine->dir.inputs_fd, err) < 0 ||
        nj_reused_choose(engine->plan, engine->options->reuse_path, engine->dir.inputs_fd, err) <
            0 ||
        keep_scripts(engine, dir_fd, &engine->files_fd, err) < 0 ||
        nj_inputs_sync(engine->inputs, err) < 0 ||
        nj_fsio_publish(engine->dir.fd, "job.yaml", nj_buf_span(&engine->job), 0600, err) < 0)
        return -(int)err->code;
    return 0;
}

/* The run's own job.yaml: a resume reads nothing else. */
static int job_text(struct nj_engine *engine, struct nj_job *job, struct nj_error *err)
{
    int r;

    job->manifest = engine->manifest;
    r = nj_job_text(job, &engine->job, err);
    job->manifest = NULL;
    if (r < 0 && err->code == NJ_E_LIMIT)
        return nj_fail(err, NJ_E_INPUT,
                       "job %s: with all that it includes it has more than %u bytes",
                       engine->options->job_path, NJ_MANIFEST_MAX_BYTES);
    return r;
}

/* ---- older runs ---- */

struct tidied {
    size_t runs;
    uint64_t bytes;
};

static void on_removed(void *ctx, const struct nj_gc_removed *removed)
{
    struct tidied *tidied = ctx;

    tidied->runs++;
    tidied->bytes += removed->bytes;
}

/* A run that begins removes those of its job beside it that were kept for as long as they were to
 * be. None that an engine works on, and not the one that it reuses: that is locked meanwhile. What
 * cannot be removed is told and is no reason not to run. */
static void tidy_siblings(const struct nj_engine *engine)
{
    const struct nj_gc_options options = {.keep_seconds = -1, .job = engine->manifest->job};
    nj_auto_free char *copy = strdup(engine->dir.path);
    nj_auto_close int reused_fd = -1;
    struct tidied tidied = {0};
    struct nj_error err = {0};

    if (engine->manifest->retain_seconds == 0 || !copy)
        return;
    if (engine->options->reuse_path)
        reused_fd = open(engine->options->reuse_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (reused_fd >= 0)
        (void)flock(reused_fd, LOCK_SH | LOCK_NB); /* an engine at work on it holds it anyway */
    if (nj_gc(dirname(copy), &options, on_removed, &tidied, &err) < 0)
        nj_log(NJ_LOG_WARN, "archive.retain: %s", err.text);
    if (tidied.runs > 0 && !engine->options->quiet)
        nj_log(NJ_LOG_INFO, "archive.retain: %zu earlier run%s removed, %.1f MB", tidied.runs,
               tidied.runs == 1 ? "" : "s", (double)tidied.bytes / 1e6);
}

static int new_run(struct nj_engine *engine, struct nj_manifest_faults *faults,
                   struct nj_error *err)
{
    NJ_AUTO(nj_job_done) struct nj_job job = NJ_JOB_EMPTY;

    if (nj_job_read(engine->options->job_path, engine->options->sets, engine->options->only, &job,
                    faults, err) < 0)
        return -(int)err->code;
    engine->manifest = nj_steal_ptr(&job.manifest);
    engine->manifest_dir = nj_steal_ptr(&job.dir);
    nj_buf_init(&engine->job, NJ_MANIFEST_MAX_BYTES);
    if (job_text(engine, &job, err) < 0 ||
        nj_run_dir_create(engine->options->run_path, engine->manifest->job, &engine->dir, err) < 0)
        return -(int)err->code;
    if (make_run(engine, job.dir_fd, faults, err) < 0) {
        nj_run_dir_unmake(&engine->dir); /* nothing has started: nothing is left behind */
        return -(int)err->code;
    }
    tidy_siblings(engine);
    return 0;
}

/* What earlier processes of the run told. Nothing depends on it, so a damaged one is passed over.
 */
static int read_state(struct nj_engine *engine, struct nj_error *err)
{
    NJ_AUTO(nj_run_state_done) struct nj_run_state state = {0};
    struct nj_error ignored = {0};

    (void)!nj_run_state_read(engine->dir.fd, &state, &ignored);
    engine->manifest_dir = strdup(state.manifest_dir ? state.manifest_dir : "");
    engine->created_s = state.created_s;
    engine->was_fail_over = strcmp(state.stop_reason, "fail_over") == 0;
    return engine->manifest_dir ? 0 : nj_fail_nomem(err);
}

static int old_run(struct nj_engine *engine, struct nj_manifest_faults *faults,
                   struct nj_error *err)
{
    if (nj_run_dir_open(engine->options->run_path, true, &engine->dir, err) < 0)
        return -(int)err->code;
    engine->resumed = true;
    if (faccessat(engine->dir.fd, "job.yaml", F_OK, 0) < 0)
        return nj_fail(err, NJ_E_INPUT,
                       "run %s: it was ended before its plan was complete, and nothing has run; "
                       "start it again",
                       engine->dir.path);
    if (nj_fsio_sweep(engine->dir.fd, err) < 0 || nj_fsio_sweep(engine->dir.bundles_fd, err) < 0 ||
        nj_fsio_sweep(engine->dir.outputs_fd, err) < 0 ||
        nj_fsio_sweep(engine->dir.inputs_fd, err) < 0 || read_state(engine, err) < 0 ||
        read_job(engine, engine->dir.fd, "job.yaml", "job.yaml", faults, err) < 0 ||
        nj_fsio_open_dir(engine->dir.inputs_fd, "files", &engine->files_fd, err) < 0 ||
        nj_models_new(engine->manifest, engine->files_fd, &engine->models, err) < 0 ||
        nj_inputs_open(engine->dir.inputs_fd, &engine->inputs, err) < 0 ||
        nj_allowed_load(engine->dir.inputs_fd, &engine->allowed, err) < 0 ||
        nj_plan_load(engine->manifest, engine->dir.inputs_fd, engine->models, &engine->plan, err) <
            0)
        return nj_wrap(err, "run %s", engine->dir.path);
    return 0;
}

/* ---- the ready engine ---- */

/* What a killed run leaves (cgroups) is named after it and swept at its next start: two runs in
 * folders that are called alike must not sweep each other's. */
static int leftovers_name(const struct nj_engine *engine, char *name, size_t size,
                          struct nj_error *err)
{
    char slug[NJ_SLUG_MAX_BYTES + 1];
    struct stat st;

    if (fstat(engine->dir.fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at run %s", engine->dir.path);
    nj_slug(engine->dir.name, false, slug);
    (void)snprintf(name, size, "%.40s-%llx-%llx", slug, (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return 0;
}

static int start_sandbox(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_object_source source = nj_inputs_source(engine->inputs);
    char name[100];

    if (leftovers_name(engine, name, sizeof(name), err) < 0 ||
        nj_sandbox_start(name, &engine->sandbox, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < engine->plan->n_sessions; i++) {
        const struct nj_session_config *config = engine->plan->sessions[i].config;

        for (size_t k = 0; k < config->n_mounts; k++)
            if (nj_sandbox_add_input(engine->sandbox, &config->mounts[k].input, &source, err) < 0)
                return nj_wrap(err, "mount %s", config->mounts[k].target);
        if (config->rootfs && nj_sandbox_add_rootfs(engine->sandbox, &config->rootfs->input,
                                                    config->rootfs->is_tar, &source, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int start_vault(struct nj_engine *engine, struct nj_error *err)
{
    const char *const *allow =
        engine->resumed ? (const char *const *)engine->allowed : engine->options->allow_paths;

    if (nj_secrets_start(engine->manifest, engine->manifest_dir, allow,
                         engine->resumed ? engine->dir.fd : -1, engine->models, &engine->vault,
                         err) < 0)
        return nj_wrap(err, "job %s",
                       engine->options->job_path ? engine->options->job_path : "job.yaml");
    return 0;
}

static int open_journal(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_journal_recovery recovery = {.next = {.epoch = 1, .first_segment = 1}};
    const char *small = getenv("NJ_TEST_SEGMENT_KB");

    if (engine->resumed && nj_journal_recover(engine->dir.journal_fd, &recovery, err) < 0)
        return -(int)err->code;
    if (recovery.torn_bytes > 0)
        nj_log(NJ_LOG_INFO, "journal: %" PRIu64 " bytes of an unfinished commit were cut off",
               recovery.torn_bytes);
    if (recovery.next.epoch == 1 && getrandom(recovery.next.run_id, sizeof(recovery.next.run_id),
                                              0) != (ssize_t)sizeof(recovery.next.run_id))
        return nj_fail(err, NJ_E_SYSTEM, "no randomness for the run's id");
    if (small) /* for tests: many segments of a small run */
        recovery.next.segment_bytes = strtoull(small, NULL, 10) << 10;
    if (nj_journal_open(engine->dir.journal_fd, &engine->reader, err) < 0)
        return -(int)err->code;
    if ((engine->resumed && nj_engine_scan(engine, err) < 0) ||
        nj_journal_writer_open(engine->dir.journal_fd, &recovery.next, &engine->writer, err) < 0 ||
        (engine->resumed && nj_engine_restore(engine, err) < 0))
        return -(int)err->code;
    return 0;
}

/* The RUN frame: which build wrote this epoch. */
static int append_run_frame(struct nj_engine *engine, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_frame frame = {.kind = NJ_FRAME_RUN, .session = NJ_JOURNAL_SESSION_RUN};
    struct nj_packer packer;
    struct timespec now;
    int64_t now_ns;

    clock_gettime(CLOCK_REALTIME, &now);
    now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (engine->epochs++ == 0)
        engine->first_epoch_ns = now_ns;
    nj_buf_init(&payload, NJ_MANIFEST_MAX_BYTES);
    nj_packer_init(&packer, &payload);
    nj_pack_map(&packer, engine->options->budget_micro_usd >= 0 ? 4 : 3);
    if (engine->options->budget_micro_usd >= 0)
        nj_pack_put_int(&packer, "budget_micro_usd", engine->options->budget_micro_usd);
    nj_pack_put_text(&packer, "build", NJ_VERSION);
    nj_pack_put_text(&packer, "job", engine->manifest->job);
    nj_pack_put_int(&packer, "time_ns", now_ns);
    if (nj_packer_end(&packer, err) < 0)
        return -(int)err->code;
    frame.payload = nj_buf_span(&payload);
    return nj_journal_append(engine->writer, &frame, NULL, err);
}

static int make_seats(struct nj_engine *engine, struct nj_error *err)
{
    const struct nj_plan *plan = engine->plan;
    size_t n_groups = engine->manifest->n_groups;
    nj_auto_free size_t *groups = calloc(plan->n_sessions + 1, sizeof(*groups));

    engine->seats = calloc(plan->n_sessions + 1, sizeof(*engine->seats));
    engine->group_first = calloc(n_groups + 1, sizeof(*engine->group_first));
    if (!groups || !engine->seats || !engine->group_first)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < plan->n_sessions; i++) {
        groups[i] = plan->sessions[i].group;
        engine->group_first[groups[i] + 1] = i + 1; /* its end so far */
    }
    for (size_t g = 1; g <= n_groups; g++) /* a group without sessions begins where it ends */
        if (engine->group_first[g] < engine->group_first[g - 1])
            engine->group_first[g] = engine->group_first[g - 1];
    if (nj_money_init(engine, err) < 0)
        return -(int)err->code;
    return nj_queue_new(engine->manifest, groups, plan->n_sessions, &engine->queue, err);
}

static void set_warm(struct nj_engine *engine, const struct nj_manifest_limits *limits)
{
    struct nj_manifest_warm warm =
        nj_manifest_warm(limits, engine->tool_slots, nj_sandbox_boxes_bearable());

    engine->warm_least = (size_t)warm.least;
    engine->warm_most = (size_t)warm.most;
    engine->warm_max = engine->warm_most;
}

static void set_limits(struct nj_engine *engine)
{
    const struct nj_manifest_limits *limits = &engine->manifest->limits;
    const char *evict = getenv("NJ_TEST_EVICT_ALWAYS");
    const char *take = getenv("NJ_TEST_TAKE_ALWAYS");
    const char *level = getenv("NJ_TEST_LEVEL");
    int cpus = get_nprocs();

    engine->tool_slots = limits->tool_calls ? (size_t)limits->tool_calls : (size_t)cpus;
    set_warm(engine, limits);
    engine->workers_max = (unsigned)cpus;
    engine->evict_always = evict && strcmp(evict, "1") == 0;
    engine->take_always = take && strcmp(take, "1") == 0;
    engine->level_max = NJ_LEVEL_MAX;
    if (level && level[0] >= '0' && level[0] < '0' + NJ_LEVEL_MAX && level[1] == '\0')
        engine->level_max = (unsigned)(level[0] - '0');
}

static void on_journal_failure(void *ctx, const struct nj_error *err)
{
    nj_engine_fail(ctx, err);
}

/* In a new worker, whose descriptors are closed behind this: what the engine's reader had open goes
 * with them. */
static void begin_worker(void *ctx)
{
    struct nj_engine *engine = ctx;
    struct nj_error ignored = {0};

    nj_journal_free(engine->reader);
    engine->reader = NULL;
    if (nj_journal_open(engine->dir.journal_fd, &engine->reader, &ignored) < 0)
        _exit(1); /* out of memory: whoever wants work of it finds it dead */
}

/* One more than publish is there from the start: while all of them did, thinning forked the engine
 * each second, and what the loop wrote afterwards was copied page by page. */
static int start_workers(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_workers_setup setup = {
        .ctx = engine,
        .begin = begin_worker,
        .keep = {engine->dir.journal_fd, engine->dir.inputs_fd, engine->dir.bundles_fd,
                 engine->dir.outputs_fd},
        .n_keep = 4,
        .lent = engine->dir.fd,
        .kept = engine->workers_max + THINNERS + (unsigned)engine->tool_slots,
    };

    setup.ahead = THINNERS +
                  (engine->workers_max < PUBLISHERS_AHEAD ? engine->workers_max : PUBLISHERS_AHEAD);
    return nj_workers_new(engine->base, &setup, &engine->pool, err);
}

static int start_takers(struct nj_engine *engine, struct nj_error *err)
{
    size_t n = (size_t)engine->workers_max;

    n = n > NJ_TAKERS_MAX ? NJ_TAKERS_MAX : n > 1 ? n - 1 : 1;
    for (; engine->n_takers < n; engine->n_takers++)
        if (nj_taker_new(engine->base, engine->dir.journal_fd, &engine->takers[engine->n_takers],
                         err) < 0)
            return -(int)err->code;
    return 0;
}

static int make_loop(struct nj_engine *engine, struct nj_error *err)
{
    /* Behind a millisecond of work the loop looks again at what has come in between. */
    const struct timeval look_again = {.tv_usec = 1000};
    struct event_config *config = event_config_new();

    (void)signal(SIGPIPE, SIG_IGN);
    if (!config)
        return nj_fail_nomem(err);
    nj_pulse_hurry();
    if (event_config_set_max_dispatch_interval(config, &look_again, -1, 0) == 0)
        engine->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!engine->base || event_base_priority_init(engine->base, 2) < 0)
        return nj_fail_nomem(err);
    nj_models_on_piece(engine->models, nj_engine_note_piece, engine);
    if (start_workers(engine, err) < 0 || nj_models_attach(engine->models, engine->base, err) < 0 ||
        nj_sandbox_attach(engine->sandbox, engine->base, err) < 0 ||
        nj_committer_new(engine->base, engine->writer, on_journal_failure, engine,
                         &engine->committer, err) < 0 ||
        start_takers(engine, err) < 0 || nj_pulse_new(engine->base, &engine->pulse, err) < 0)
        return -(int)err->code;
    return 0;
}

static int keep_environment(struct nj_engine *engine, struct nj_error *err)
{
    struct nj_buf text = {0};

    nj_buf_init(&text, 1u << 20);
    if (nj_plan_environment(&text, err) < 0) {
        nj_buf_done(&text);
        return -(int)err->code;
    }
    engine->environment = nj_buf_steal(&text);
    return 0;
}

/* Whoever goes on behind it has until the next one: a deadline is an hour of each night. */
static int set_deadline(struct nj_engine *engine, struct nj_error *err)
{
    const char *text = engine->manifest->limits.deadline;
    const char *test_s = getenv("NJ_TEST_DEADLINE_S");

    if (!text)
        return 0;
    if (test_s) {
        engine->deadline_s = engine->started_s + strtol(test_s, NULL, 10);
        return 0;
    }
    return nj_deadline_next(text, engine->started_s, &engine->deadline_s, err);
}

int nj_engine_start(struct nj_engine *engine, struct nj_manifest_faults *faults,
                    struct nj_error *err)
{
    NJ_AUTO(nj_reused_free) struct nj_reused *reused = NULL;
    int r;

    engine->started_s = time(NULL);
    r = engine->options->job_path ? new_run(engine, faults, err) : old_run(engine, faults, err);
    if (r < 0)
        return r;
    if (set_deadline(engine, err) < 0)
        return nj_wrap(err, "run %s: limits.deadline", engine->dir.path);
    if (engine->created_s == 0)
        engine->created_s = engine->started_s;
    if (engine->options->budget_micro_usd >= 0)
        engine->manifest->limits.budget_micro_usd = engine->options->budget_micro_usd;
    set_limits(engine);
    if (start_vault(engine, err) < 0 || keep_environment(engine, err) < 0 ||
        start_sandbox(engine, err) < 0) {
        if (!engine->resumed)
            nj_run_dir_unmake(&engine->dir); /* this host cannot run it: nothing has started */
        return nj_wrap(err, "run %s", engine->dir.path);
    }
    if (nj_reused_open(engine, &reused, err) < 0 ||
        nj_drop_privileges(engine->options->user, &engine->dir, err) < 0 ||
        make_seats(engine, err) < 0 || open_journal(engine, err) < 0 ||
        append_run_frame(engine, err) < 0 || (reused && nj_reused_take_over(reused, err) < 0) ||
        make_loop(engine, err) < 0 || nj_engine_publish_state(engine, "running", err) < 0)
        return nj_wrap(err, "run %s", engine->dir.path);
    if (engine->resumed && engine->repeated_asks > 0 && !engine->options->quiet)
        nj_log(NJ_LOG_INFO, "%" PRIu64 " model calls may have been in flight and are asked again",
               engine->repeated_asks);
    return 0;
}
