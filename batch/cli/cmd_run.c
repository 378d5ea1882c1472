/*
 * cmd_run.c - nightjar run JOB
 */
#include <getopt.h>
#include <stdlib.h>

#include "batch/cli/cmd.h"
#include "batch/cli/faults.h"
#include "batch/engine/engine.h"

#include "formats/base/banned.h"

#define ALLOW_MAX 64

enum { OPT_RUN_DIR = 256, OPT_USER, OPT_ALLOW_PATH, OPT_QUIET };

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {
        {"run-dir", required_argument, NULL, OPT_RUN_DIR},
        {"user", required_argument, NULL, OPT_USER},
        {"allow-path", required_argument, NULL, OPT_ALLOW_PATH},
        {"quiet", no_argument, NULL, OPT_QUIET},
        {NULL, 0, NULL, 0},
    };
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    const char *allow[ALLOW_MAX + 1] = {NULL};
    struct nj_engine_options engine = {.allow_paths = allow};
    size_t n_allow = 0;
    int option;
    int r;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPT_RUN_DIR:
            engine.run_path = optarg;
            break;
        case OPT_USER:
            engine.user = optarg;
            break;
        case OPT_ALLOW_PATH:
            if (n_allow == ALLOW_MAX)
                return nj_command_usage(command, err, "more than %d --allow-path", ALLOW_MAX);
            allow[n_allow++] = optarg;
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
        return nj_command_usage(command, err, "one JOB is expected");
    engine.job_path = argv[optind];
    r = nj_engine_run(&engine, &faults, err);
    if (r < 0 && faults.count > 0) {
        nj_cli_print_faults(&faults, engine.job_path);
        return NJ_EXIT_USAGE;
    }
    return r;
}

const struct nj_command nj_cmd_run = {
    .name = "run",
    .arguments = "JOB [--run-dir DIR] [--allow-path DIR]... [--user NAME] [--quiet]",
    .summary = "run a job",
    .help = "Runs every session of the manifest JOB, each in its own sandbox, and leaves a run "
            "directory with\n"
            "results.jsonl, a bundle a session, and the collected outputs.\n\n"
            "  --run-dir DIR     the run directory; default runs/<UTC time>-<job>\n"
            "  --allow-path DIR  paths of the manifest may lie beneath DIR, too\n"
            "  --user NAME       as root: who the engine becomes\n"
            "  --quiet           say only what went wrong\n\n"
            "Ctrl-C suspends: calls under way may end, and `nightjar resume` goes on; a second one "
            "stops at once.",
    .run = run,
};
