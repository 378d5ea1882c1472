/*
 * main.c - nightjar-replay: works on what runs left
 */
#include "formats/base/fault.h"
#include "replay/cmd.h"
#include "replay/isolate.h"

#include "formats/base/banned.h"

int nj_replay_status_of(const struct nj_error *err)
{
    switch (err->code) {
    case NJ_E_INPUT:
    case NJ_E_CORRUPT:
    case NJ_E_VERSION:
    case NJ_E_LIMIT: /* what a record claims, always */
        return NJ_EXIT_USAGE;
    case NJ_E_DIVERGED:
        return NJ_EXIT_DIVERGED;
    case NJ_E_CANCELLED:
        return NJ_EXIT_STOPPED;
    case NJ_E_SYSTEM:
    case NJ_E_NOMEM:
    case NJ_E_UPSTREAM:
        break;
    }
    return NJ_EXIT_ENGINE;
}

static int begin(struct nj_error *err)
{
    nj_fault_init("engine");
    return nj_isolate_descriptors(err);
}

int main(int argc, char **argv)
{
    static const struct nj_command *const commands[] = {
        &nj_cmd_show, &nj_cmd_verify, &nj_cmd_ls, &nj_cmd_cat, &nj_cmd_checkout, &nj_cmd_fsck, NULL,
    };
    static const struct nj_exit_meaning exits[] = {
        {NJ_EXIT_OK, "all well"},
        {NJ_EXIT_DIVERGED, "a replay differs, or there is no such path"},
        {NJ_EXIT_USAGE, "wrong usage, or a damaged record"},
        {NJ_EXIT_ENGINE, "this program or this host failed"},
        {NJ_EXIT_STOPPED, "stopped by a signal"},
        {NJ_EXIT_ENVIRONMENT, "the environment differs, so a replay cannot judge"},
        {0},
    };
    static const struct nj_program program = {
        .name = "nightjar-replay",
        .summary = "show, check and carry on recorded sessions",
        .help = "Works on what runs of nightjar(1) left. B is a bundle's path, or RUN:KEY: a run "
                "directory and a session's key, also while the run is on. N is a step as `show` "
                "numbers them; 0 is the start, -1 the last.",
        .commands = commands,
        .exits = exits,
        .see = "nightjar(1)",
        .begin = begin,
        .end = nj_fault_done,
        .status_of = nj_replay_status_of,
    };

    return nj_program_main(&program, argc, argv);
}
