/*
 * cmd_plan.c - nightjar plan JOB
 *
 * A dry run: everything is read that a run would read, nothing is written or started.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "batch/cli/cmd.h"
#include "batch/cli/explain.h"
#include "batch/cli/faults.h"
#include "batch/cli/forecast.h"
#include "batch/cli/job_options.h"
#include "batch/cli/rows.h"
#include "batch/engine/confine.h"
#include "batch/plan/job.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES ((size_t)1 << 30)

enum { OPT_REUSE = 1, OPT_JSON };

struct planning {
    const char *job_path;
    const char *reuse_path;
    struct nj_job_options job;
    bool json;
    struct nj_manifest_faults faults;
};

static int write_out(const struct nj_buf *text, struct nj_error *err)
{
    if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0)
        return nj_fail_errno(err, errno, "write to standard output");
    return 0;
}

/* open_reuse - the earlier run may be anybody's, and all else that a plan takes is read: from here
 * this process reads that run's folder, and nothing else. A folder that is not there holds nothing,
 * and is told by the reading. */
static int open_reuse(const char *run_path, struct nj_reuse **ret_reuse, struct nj_error *err)
{
    nj_auto_close int fd = open(run_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && nj_confine_reader(&fd, 1, -1, false, err) < 0)
        return -(int)err->code;
    return nj_reuse_open(run_path, ret_reuse, err);
}

static int forecast(const struct planning *planning, const struct nj_plan *plan,
                    struct nj_error *err)
{
    NJ_AUTO(nj_reuse_free) struct nj_reuse *reuse = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r = 0;

    if (planning->reuse_path)
        r = open_reuse(planning->reuse_path, &reuse, err);
    nj_buf_init(&text, TEXT_MAX_BYTES);
    if (r == 0)
        r = planning->json ? nj_forecast_json(plan, reuse, &text, err)
                           : nj_forecast_text(plan, reuse, nj_rows_columns(), &text, err);
    return r < 0 ? r : write_out(&text, err);
}

static int plan_job(struct planning *planning, struct nj_error *err)
{
    NJ_AUTO(nj_explain_inputs_done) struct nj_explain_inputs inputs = {0};
    struct nj_object_sink sink = nj_explain_inputs_sink(&inputs);
    NJ_AUTO(nj_job_done) struct nj_job job = NJ_JOB_EMPTY;
    NJ_AUTO(nj_models_free) struct nj_models *models = NULL;
    NJ_AUTO(nj_plan_free) struct nj_plan *plan = NULL;
    int r;

    r = nj_job_read(planning->job_path, planning->job.sets, planning->job.only, &job,
                    &planning->faults, err);
    if (r == 0)
        r = nj_models_new(job.manifest, job.dir_fd, &models, err);
    if (r == 0)
        r = nj_plan_new(job.manifest, job.dir_fd, models, &sink, planning->job.allow, &plan,
                        &planning->faults, err);
    return r < 0 ? r : forecast(planning, plan, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    struct planning planning = {0};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_REUSE)
            planning.reuse_path = args->value;
        else if (r == OPT_JSON)
            planning.json = true;
        else if (nj_job_option(args, r, &planning.job, err) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    planning.job_path = args->operands[0];
    r = plan_job(&planning, err);
    if (r < 0 && planning.faults.count > 0) {
        nj_cli_print_faults(&planning.faults, planning.job_path);
        r = NJ_EXIT_USAGE;
    }
    nj_manifest_faults_done(&planning.faults);
    return r;
}

const struct nj_command nj_cmd_plan = {
    .name = "plan",
    .summary = "tell what a job would run, reuse and cost; nothing is started or written",
    .help =
        "Reads the manifest JOB and all that it names, and tells which sessions would run. With "
        "--reuse, sessions that succeeded in that run and into which exactly the same went "
        "would be taken over; of each other one it says what is different: a file, the "
        "instructions, the model, a limit, a tool's schema.\n\n"
        "Costs are told where models have prices: estimated from what the sessions of each "
        "group used in the run of --reuse (live, with a cache, and in batches where all models "
        "have them), and bounded by turns, max_tokens and context_tokens, or by the budgets of the "
        "manifest where those are lower.",
    .operands = (const struct nj_operand[]){{.name = "JOB", .takes = NJ_TAKES_JOB}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_REUSE, "reuse", .value = "RUN", .takes = NJ_TAKES_RUN,
             .help = "compare with this earlier run"},
            {OPT_JSON, "json", .help = "one JSON object, with every session"},
            NJ_JOB_OPTIONS,
            {0},
        },
    .examples = "nightjar plan job.yaml --reuse last-night\n",
    .see = "nightjar-check(1) nightjar-run(1)",
    .run = run,
};
