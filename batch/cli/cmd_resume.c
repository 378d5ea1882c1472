/*
 * cmd_resume.c - nightjar resume RUN
 */
#include <getopt.h>
#include <stdlib.h>

#include "batch/cli/cmd.h"
#include "batch/cli/faults.h"
#include "batch/engine/engine.h"

#include "formats/base/banned.h"

enum { OPT_USER = 256, OPT_QUIET };

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {
        {"user", required_argument, NULL, OPT_USER},
        {"quiet", no_argument, NULL, OPT_QUIET},
        {NULL, 0, NULL, 0},
    };
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    struct nj_engine_options engine = {0};
    int option;
    int r;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPT_USER:
            engine.user = optarg;
            break;
        case OPT_QUIET:
            engine.quiet = true;
            break;
        default:
            return nj_command_usage(command, err, "%s: unknown option, or its value is missing",
                                    argv[optind - 1]);
        }
    }
    if (optind + 1 != argc)
        return nj_command_usage(command, err, "one RUN is expected");
    engine.run_path = argv[optind];
    r = nj_engine_run(&engine, &faults, err);
    if (r < 0 && faults.count > 0) {
        nj_cli_print_faults(&faults, "job.yaml");
        return NJ_EXIT_USAGE;
    }
    return r;
}

const struct nj_command nj_cmd_resume = {
    .name = "resume",
    .arguments = "RUN [--user NAME] [--quiet]",
    .summary = "go on with a run that was suspended, killed or out of disk",
    .help = "Every session goes on where its last durable step left it: no model reply that was "
            "journaled is\n"
            "asked for again, and at most the one tool call that was in flight in each session is "
            "repeated.",
    .run = run,
};
