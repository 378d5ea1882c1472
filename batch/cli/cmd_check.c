/*
 * cmd_check.c - nightjar check JOB
 *
 * Reads all that a run would read and starts nothing. Only --online leaves this machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "batch/cli/cmd.h"
#include "batch/cli/explain.h"
#include "batch/cli/faults.h"
#include "batch/cli/job_options.h"
#include "batch/cli/rows.h"
#include "batch/engine/secrets.h"
#include "batch/model/probe.h"
#include "batch/plan/job.h"
#include "formats/manifest/schema.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES ((size_t)64 << 20)

#define ONLINE_MS 30000 /* for all services together */

enum { OPT_PLAN = 1, OPT_ONLINE, OPT_SCHEMA };

struct checking {
    const char *job_path;
    struct nj_job_options job;
    bool boxes;
    bool online;
    bool schema;
    struct nj_manifest_faults faults;
};

struct trying {
    struct checking *checking;
    const struct nj_manifest *manifest;
};

static int write_out(struct nj_span text, struct nj_error *err)
{
    if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0)
        return nj_fail_errno(err, errno, "write to standard output");
    return 0;
}

static int explain(const struct checking *checking, const struct nj_plan *plan,
                   const struct nj_explain_inputs *inputs, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    size_t columns = nj_rows_columns();
    struct nj_explain_host host;
    nj_auto_close int here = -1;
    int r;

    here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return nj_fail_errno(err, errno, "open the working directory");
    nj_buf_init(&text, TEXT_MAX_BYTES);
    r = nj_explain_host(here, &host, err);
    if (r == 0)
        r = nj_explain_job(plan, inputs, &host, columns, &text, err);
    if (r == 0 && checking->boxes)
        r = nj_explain_boxes(plan, columns, &text, err);
    return r < 0 ? r : write_out(nj_buf_span(&text), err);
}

/* ---- online ---- */

/* Its name as a person knows it, and what it was asked with. */
static void say_service(const struct trying *trying, const struct nj_probe_result *probe,
                        char *text, size_t size)
{
    const struct nj_manifest_model *model = probe->model;
    const char *credential = model->credential == NJ_MANIFEST_NONE
                                 ? NULL
                                 : trying->manifest->credentials[model->credential].name;

    (void)snprintf(text, size, "%s:%s%s%s%s%s", nj_manifest_provider_text(model->provider),
                   model->model, model->base_url ? " at " : "",
                   model->base_url ? model->base_url : "", credential ? ", credentials." : "",
                   credential ? credential : "");
}

static void on_probed(void *ctx, const struct nj_probe_result *probe)
{
    struct trying *trying = ctx;
    char service[1024], path[256];

    say_service(trying, probe, service, sizeof(service));
    (void)snprintf(path, sizeof(path), "models.%s[%zu]", trying->manifest->roles[probe->role].name,
                   probe->place);
    if (!probe->answered) {
        nj_manifest_faults_add(&trying->checking->faults, probe->model->mark, path, "%s: %s",
                               service, probe->text);
        return;
    }
    (void)printf("online  %s: %s answers, %" PRIu64 " ms, %s\n", path, service, probe->duration_ms,
                 probe->counted ? "free of charge" : "a few tokens");
}

/* Everything else is known to be right by then. The vault comes first: it is forked before there
 * are threads. */
static int try_online(struct checking *checking, const struct nj_job *job, struct nj_error *err)
{
    struct trying trying = {.checking = checking, .manifest = job->manifest};
    NJ_AUTO(nj_models_free) struct nj_models *models = NULL;
    NJ_AUTO(nj_vault_free) struct nj_vault *vault = NULL;

    if (nj_models_new(job->manifest, job->dir_fd, &models, err) < 0 ||
        nj_secrets_start(job->manifest, job->dir, checking->job.allow, -1, models, &vault, err) <
            0 ||
        nj_models_probe(models, ONLINE_MS, on_probed, &trying, err) < 0)
        return -(int)err->code;
    if (fflush(stdout) != 0)
        return nj_fail_errno(err, errno, "write to standard output");
    return nj_manifest_faults_fail(&checking->faults, checking->job_path, err);
}

static int check_manifest(struct checking *checking, int dir_fd, const struct nj_manifest *manifest,
                          struct nj_error *err)
{
    NJ_AUTO(nj_explain_inputs_done) struct nj_explain_inputs inputs = {0};
    struct nj_object_sink sink = nj_explain_inputs_sink(&inputs);
    NJ_AUTO(nj_models_free) struct nj_models *models = NULL;
    NJ_AUTO(nj_plan_free) struct nj_plan *plan = NULL;
    int r;

    r = nj_models_new(manifest, dir_fd, &models, err);
    if (r == 0)
        r = nj_plan_new(manifest, dir_fd, models, &sink, checking->job.allow, &plan,
                        &checking->faults, err);
    if (r == 0)
        r = nj_explain_check_boxes(plan, &checking->faults, err);
    return r < 0 ? r : explain(checking, plan, &inputs, err);
}

static int check(struct checking *checking, struct nj_error *err)
{
    NJ_AUTO(nj_job_done) struct nj_job job = NJ_JOB_EMPTY;
    int r;

    r = nj_job_read(checking->job_path, checking->job.sets, checking->job.only, &job,
                    &checking->faults, err);

    if (r == 0)
        r = check_manifest(checking, job.dir_fd, job.manifest, err);
    return r == 0 && checking->online ? try_online(checking, &job, err) : r;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    struct checking checking = {0};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_PLAN)
            checking.boxes = true;
        else if (r == OPT_ONLINE)
            checking.online = true;
        else if (r == OPT_SCHEMA)
            checking.schema = true;
        else if (nj_job_option(args, r, &checking.job, err) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    if (checking.schema && args->n_operands > 0)
        return nj_arguments_refuse(args, err, "--schema needs no JOB: it is the same for all");
    if (checking.schema)
        return write_out(nj_manifest_schema(), err);
    if (args->n_operands == 0)
        return nj_arguments_refuse(args, err, "JOB is missing");
    checking.job_path = args->operands[0];
    r = check(&checking, err);
    if (r < 0 && checking.faults.count > 0) {
        nj_cli_print_faults(&checking.faults, checking.job_path);
        r = NJ_EXIT_USAGE;
    }
    nj_manifest_faults_done(&checking.faults);
    return r;
}

const struct nj_command nj_cmd_check = {
    .name = "check",
    .summary = "explain a job, or tell its faults; nothing is started",
    .help = "Reads the manifest JOB and all that it names, and tells what would run: groups and "
            "their items, agents and their boxes, inputs, and the limits added up against this "
            "host. Faults are told one a line, as file:line:column: path: text, and the exit "
            "status is 2.",
    .operands =
        (const struct nj_operand[]){{.name = "JOB", .takes = NJ_TAKES_JOB, .optional = true}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_PLAN, "plan", .help = "print each agent's sandbox plan as well"},
            {OPT_ONLINE, "online",
             .help =
                 "then ask every model once, with its key, at its host, by the cheapest call there "
                 "is; what does not answer is a fault"},
            NJ_JOB_OPTIONS,
            {OPT_SCHEMA, "schema",
             .help = "print the JSON Schema of manifests, for editors that complete and check"},
            {0},
        },
    .see = "nightjar-run(1)",
    .run = run,
};
