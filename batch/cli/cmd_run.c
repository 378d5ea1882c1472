/*
 * cmd_run.c - nightjar run JOB
 */
#include <stdlib.h>

#include "batch/cli/cmd.h"
#include "batch/cli/faults.h"
#include "batch/cli/job_options.h"
#include "batch/engine/engine.h"

#include "formats/base/banned.h"

enum { OPT_RUN_DIR = 1, OPT_REUSE, OPT_USER, OPT_QUIET, OPT_VERBOSE };

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    struct nj_job_options job = {0};
    struct nj_engine_options engine = {
        .allow_paths = job.allow, .sets = job.sets, .only = job.only, .budget_micro_usd = -1};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_RUN_DIR)
            engine.run_path = args->value;
        else if (r == OPT_REUSE)
            engine.reuse_path = args->value;
        else if (r == OPT_USER)
            engine.user = args->value;
        else if (r == OPT_QUIET)
            engine.quiet = true;
        else if (r == OPT_VERBOSE)
            engine.verbose = true;
        else if (nj_job_option(args, r, &job, err) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    engine.job_path = args->operands[0];
    r = nj_engine_run(&engine, &faults, err);
    if (r < 0 && faults.count > 0) {
        nj_cli_print_faults(&faults, engine.job_path);
        return NJ_EXIT_USAGE;
    }
    return r;
}

const struct nj_command nj_cmd_run = {
    .name = "run",
    .summary = "run a job",
    .help = "Runs every session of the manifest JOB, each in its own sandbox, and leaves a run "
            "directory with results.jsonl, a bundle a session, and the collected outputs.\n\n"
            "Ctrl-C suspends: calls under way may end, and `nightjar resume` goes on; a second one "
            "stops at once.",
    .operands = (const struct nj_operand[]){{.name = "JOB", .takes = NJ_TAKES_JOB}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_RUN_DIR, "run-dir", .value = "DIR", .takes = NJ_TAKES_FOLDER,
             .help = "the run directory; default runs/<UTC time>-<job>"},
            NJ_JOB_OPTIONS,
            {OPT_REUSE, "reuse", .value = "RUN", .takes = NJ_TAKES_RUN,
             .help =
                 "sessions that succeeded in RUN, and into which exactly the same goes, are not "
                 "run: row, bundle and outputs are taken over (`nightjar plan --reuse` tells "
                 "which)"},
            {OPT_USER, "user", .value = "NAME", .takes = NJ_TAKES_USER,
             .help = "as root: who the engine becomes"},
            {OPT_QUIET, "quiet", .help = "say only what went wrong"},
            {OPT_VERBOSE, "verbose",
             .help = "say when sessions begin, and more about how they ended"},
            {0},
        },
    .examples = "nightjar run job.yaml --run-dir last-night\n"
                "nightjar run job.yaml --run-dir tonight --reuse last-night\n",
    .see = "nightjar-resume(1) nightjar-check(1)",
    .run = run,
};
