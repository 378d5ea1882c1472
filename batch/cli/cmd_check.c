/*
 * cmd_check.c - nightjar check JOB
 *
 * Reads all that a run would read and starts nothing.
 */
#include <errno.h>
#include <fcntl.h>

#include "batch/cli/cmd.h"
#include "batch/cli/explain.h"
#include "batch/cli/faults.h"
#include "batch/cli/job_options.h"
#include "batch/engine/job.h"
#include "formats/manifest/schema.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES ((size_t)64 << 20)

enum { OPT_PLAN = 1, OPT_SCHEMA };

struct checking {
    const char *job_path;
    struct nj_job_options job;
    bool boxes;
    bool schema;
    struct nj_manifest_faults faults;
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
    struct nj_explain_host host;
    nj_auto_close int here = -1;
    int r;

    here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return nj_fail_errno(err, errno, "open the working directory");
    nj_buf_init(&text, TEXT_MAX_BYTES);
    r = nj_explain_host(here, &host, err);
    if (r == 0)
        r = nj_explain_job(plan, inputs, &host, &text, err);
    if (r == 0 && checking->boxes)
        r = nj_explain_boxes(plan, &text, err);
    return r < 0 ? r : write_out(nj_buf_span(&text), err);
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
    int r = nj_job_read(checking->job_path, checking->job.sets, checking->job.only, &job,
                        &checking->faults, err);

    return r < 0 ? r : check_manifest(checking, job.dir_fd, job.manifest, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    struct checking checking = {0};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_PLAN)
            checking.boxes = true;
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
    .operands = (const struct nj_operand[]){{.name = "JOB", .takes = NJ_TAKES_JOB, .optional = true}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_PLAN, "plan", .help = "print each agent's sandbox plan as well"},
            NJ_JOB_OPTIONS,
            {OPT_SCHEMA, "schema",
             .help = "print the JSON Schema of manifests, for editors that complete and check"},
            {0},
        },
    .see = "nightjar-run(1)",
    .run = run,
};
