/*
 * cmd_stop.c - nightjar stop RUN
 */
#include <stdlib.h>
#include <string.h>

#include "batch/cli/cmd.h"
#include "batch/run/stop.h"

#include "formats/base/banned.h"

#define WAIT_SECONDS 120
#define WAIT_SECONDS_MAX 86400

enum { OPT_NOW = 1, OPT_WAIT };

static void tell_counts(const char *path, const struct nj_run_state *state)
{
    const struct nj_run_counts *counts = &state->sessions;

    printf("%s: %s, %llu of %llu sessions have ended (%llu succeeded, %llu failed)", path,
           state->state, (unsigned long long)(counts->succeeded + counts->failed),
           (unsigned long long)counts->total, (unsigned long long)counts->succeeded,
           (unsigned long long)counts->failed);
    if (strcmp(state->state, "finished") == 0)
        printf("\n");
    else
        printf("; go on with: nightjar resume %s\n", path);
}

static void tell(const char *path, int outcome, const struct nj_run_state *state)
{
    switch ((enum nj_stop_outcome)outcome) {
    case NJ_STOP_STOPPED:
        if (strcmp(state->state, "running") != 0) {
            tell_counts(path, state);
            break;
        }
        /* Stopped before it had said how it stands: killed beside us, or while it was starting. */
        /* fallthrough */
    case NJ_STOP_DIED:
        printf("%s: no engine is at work, the last one ended without a word; what is durable is "
               "kept, go on with: nightjar resume %s\n",
               path, path);
        break;
    case NJ_STOP_NOT_RUNNING:
        printf("no engine was at work; ");
        tell_counts(path, state);
        break;
    case NJ_STOP_NEVER_RAN:
        printf("%s: no engine is at work, and no session has begun\n", path);
        break;
    }
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_run_state_done) struct nj_run_state state = {0};
    struct nj_stop_options stop = {.wait_seconds = WAIT_SECONDS};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_NOW)
            stop.now = true;
        else if (r == OPT_WAIT &&
                 nj_arguments_number(args, 0, WAIT_SECONDS_MAX, &stop.wait_seconds, err) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    r = nj_run_stop(args->operands[0], &stop, &state, err);
    if (r < 0)
        return r;
    tell(args->operands[0], r, &state);
    return NJ_EXIT_OK;
}

const struct nj_command nj_cmd_stop = {
    .name = "stop",
    .summary = "suspend a run that is going on",
    .help = "Asks the run's engine to suspend: no call is begun any more, calls under way may end "
            "(10 s at most), every session is suspended where it stands. Waits until the engine "
            "has ended, and tells how the run stands; `nightjar resume` goes on. It is no failure "
            "when no engine is at work.",
    .operands = (const struct nj_operand[]){{.name = "RUN", .takes = NJ_TAKES_RUN}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_NOW, "now", .help = "calls under way are ended at once; resume repeats them"},
            {OPT_WAIT, "wait", .value = "SECONDS",
             .help = "how long the engine may take; default 120"},
            {0},
        },
    .see = "nightjar-resume(1)",
    .run = run,
};
