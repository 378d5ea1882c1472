/*
 * cmd_stop.c - nightjar stop RUN
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "batch/cli/cmd.h"
#include "batch/engine/stop.h"

#include "formats/base/banned.h"

#define WAIT_SECONDS 120
#define WAIT_SECONDS_MAX 86400

enum { OPT_NOW = 256, OPT_WAIT };

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

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {
        {"now", no_argument, NULL, OPT_NOW},
        {"wait", required_argument, NULL, OPT_WAIT},
        {NULL, 0, NULL, 0},
    };
    NJ_AUTO(nj_run_state_done) struct nj_run_state state = {0};
    struct nj_stop_options stop = {.wait_seconds = WAIT_SECONDS};
    char *end = NULL;
    int option;
    int r;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPT_NOW:
            stop.now = true;
            break;
        case OPT_WAIT:
            stop.wait_seconds = strtoul(optarg, &end, 10);
            if (!*optarg || *end || stop.wait_seconds > WAIT_SECONDS_MAX)
                return nj_command_usage(command, err, "--wait %s: seconds are expected", optarg);
            break;
        default:
            return nj_command_usage(command, err, "%s: unknown option, or its value is missing",
                                    argv[optind - 1]);
        }
    }
    if (optind + 1 != argc)
        return nj_command_usage(command, err, "one RUN is expected");
    r = nj_run_stop(argv[optind], &stop, &state, err);
    if (r < 0)
        return r;
    tell(argv[optind], r, &state);
    return NJ_EXIT_OK;
}

const struct nj_command nj_cmd_stop = {
    .name = "stop",
    .arguments = "RUN [--now] [--wait SECONDS]",
    .summary = "suspend a run that is going on",
    .help = "Asks the run's engine to suspend: no call is begun any more, calls under way may end "
            "(10 s at\n"
            "most), every session is suspended where it stands. Waits until the engine has ended, "
            "and tells how\n"
            "the run stands; `nightjar resume` goes on. It is no failure when no engine is at "
            "work.\n\n"
            "  --now           calls under way are ended at once; they are repeated by resume\n"
            "  --wait SECONDS  how long the engine may take; default 120",
    .run = run,
};
