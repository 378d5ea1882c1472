/*
 * main.c - nightjar: runs jobs
 */
#include <stddef.h>

#include "batch/cli/cmd.h"

#include "formats/base/banned.h"

static int status_of(const struct nj_error *err)
{
    switch (err->code) {
    case NJ_E_INPUT:
    case NJ_E_CORRUPT:
    case NJ_E_VERSION:
        return NJ_EXIT_USAGE;
    case NJ_E_DIVERGED:
        return NJ_EXIT_SOME_FAILED;
    case NJ_E_CANCELLED:
        return NJ_EXIT_STOPPED;
    case NJ_E_SYSTEM:
    case NJ_E_NOMEM:
    case NJ_E_LIMIT:
    case NJ_E_UPSTREAM:
        break;
    }
    return NJ_EXIT_ENGINE;
}

int main(int argc, char **argv)
{
    static const struct nj_command *const commands[] = {
        &nj_cmd_run,    &nj_cmd_resume, &nj_cmd_stop, &nj_cmd_gc,
        &nj_cmd_status, &nj_cmd_report, &nj_cmd_plan, &nj_cmd_check,
        &nj_cmd_bundle, &nj_cmd_doctor, NULL,
    };
    static const struct nj_exit_meaning exits[] = {
        {NJ_EXIT_OK, "all sessions succeeded"},
        {NJ_EXIT_SOME_FAILED, "some did not"},
        {NJ_EXIT_USAGE, "wrong usage or manifest: nothing was started"},
        {NJ_EXIT_ENGINE, "the engine itself failed (a full disk, a missing kernel feature)"},
        {NJ_EXIT_STOPPED, "stopped by a budget, a deadline or a signal: nightjar resume goes on"},
        {0},
    };
    static const struct nj_program program = {
        .name = "nightjar",
        .summary = "run AI agents in bulk, each in its own sandbox",
        .help = "Runs AI agents in bulk, unattended, each in its own sandbox, and keeps a record "
                "from which any session can be shown, checked bit for bit, or carried on.",
        .commands = commands,
        .exits = exits,
        .see = "nightjar-replay(1) nightjar-manifest(5)",
        .status_of = status_of,
    };

    return nj_program_main(&program, argc, argv);
}
