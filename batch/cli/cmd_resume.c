/*
 * cmd_resume.c - nightjar resume RUN
 */
#include <stdlib.h>

#include "batch/cli/cmd.h"
#include "batch/cli/faults.h"
#include "batch/engine/engine.h"

#include "formats/base/banned.h"

enum { OPT_USER = 1, OPT_QUIET, OPT_VERBOSE, OPT_RETRY_FAILED, OPT_BUDGET };

#define USD_MAX 1000000000.0

/* What it costs as whole micro-USD; -1 when that is no amount. */
static int64_t micro_usd(const char *text)
{
    char *end = NULL;
    double usd = strtod(text, &end);

    return *text && !*end && usd > 0 && usd <= USD_MAX ? (int64_t)(usd * 1e6 + 0.5) : -1;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    struct nj_engine_options engine = {.budget_micro_usd = -1};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_USER)
            engine.user = args->value;
        else if (r == OPT_QUIET)
            engine.quiet = true;
        else if (r == OPT_VERBOSE)
            engine.verbose = true;
        else if (r == OPT_RETRY_FAILED)
            engine.retry_failed = true;
        else if (r == OPT_BUDGET && (engine.budget_micro_usd = micro_usd(args->value)) < 0)
            return nj_arguments_refuse(args, err, "--budget %s: an amount in USD is expected",
                                       args->value);
    }
    if (r < 0)
        return r;
    engine.run_path = args->operands[0];
    r = nj_engine_run(&engine, &faults, err);
    if (r < 0 && faults.count > 0) {
        nj_cli_print_faults(&faults, "job.yaml");
        return NJ_EXIT_USAGE;
    }
    return r;
}

const struct nj_command nj_cmd_resume = {
    .name = "resume",
    .summary = "go on with a run that was suspended, killed or out of disk",
    .help = "Every session goes on where its last durable step left it: no model reply that was "
            "journaled is asked for again, and at most the one tool call that was in flight in "
            "each session is repeated. A limits.deadline is the next one from now on.",
    .operands = (const struct nj_operand[]){{.name = "RUN", .takes = NJ_TAKES_RUN}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_RETRY_FAILED, "retry-failed",
             .help = "sessions that have failed get one more attempt, whatever the job's retry "
                     "says; earlier bundles stay, as *.attempt-N.njb"},
            {OPT_BUDGET, "budget", .value = "USD",
             .help = "the run's budget for this time, what is spent already included"},
            {OPT_USER, "user", .value = "NAME", .takes = NJ_TAKES_USER,
             .help = "as root: who the engine becomes"},
            {OPT_QUIET, "quiet", .help = "say only what went wrong"},
            {OPT_VERBOSE, "verbose",
             .help = "say when sessions begin, and more about how they ended"},
            {0},
        },
    .see = "nightjar-run(1)",
    .run = run,
};
