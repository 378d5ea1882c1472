/*
 * command.c - from argv to a command, and from its failure to an exit status
 */
#include <stdio.h>
#include <unistd.h>

#include "formats/base/fault.h"
#include "formats/base/fsio.h"
#include "formats/base/log.h"
#include "replay/cmd.h"
#include "replay/isolate.h"

#include "formats/base/banned.h"

#define PROGRAM "nightjar-replay"

int nj_command_usage(const struct nj_command *command, struct nj_error *err, const char *fmt, ...)
{
    char reason[256];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);
    return nj_fail(err, NJ_E_INPUT, "%s; usage: %s %s %s", reason, PROGRAM, command->name,
                   command->arguments);
}

int nj_command_print(struct nj_buf *text, struct nj_error *err)
{
    int r = nj_fsio_write(STDOUT_FILENO, text->data, text->len, err);

    nj_buf_clear(text);
    return r < 0 ? nj_wrap(err, "standard output") : 0;
}

static void print_help(const struct nj_command *const *commands, FILE *out)
{
    fprintf(out, "usage: %s COMMAND [ARGUMENT]...\n\n", PROGRAM);
    for (; *commands; commands++)
        fprintf(out, "  %-9s %s\n", (*commands)->name, (*commands)->summary);
    fprintf(out,
            "\nB is a bundle's path, or RUN:KEY: a run directory and a session's key. N is a step "
            "as `show`\n"
            "numbers them; 0 is the start, -1 the last.\n"
            "%s COMMAND --help tells more. Exit status: 0 all well, 1 a replay differs (or there\n"
            "is no such path), 2 wrong usage or a damaged record, 3 this program or host failed, 4 "
            "stopped\n"
            "by a signal, 5 the environment differs, so a replay cannot judge.\n",
            PROGRAM);
}

enum nj_replay_status nj_replay_status_of(const struct nj_error *err)
{
    switch (err->code) {
    case NJ_E_INPUT:
    case NJ_E_CORRUPT:
    case NJ_E_VERSION:
    case NJ_E_LIMIT: /* what a record claims, always */
        return NJ_REPLAY_USAGE;
    case NJ_E_DIVERGED:
        return NJ_REPLAY_DIVERGED;
    case NJ_E_CANCELLED:
        return NJ_REPLAY_STOPPED;
    case NJ_E_SYSTEM:
    case NJ_E_NOMEM:
    case NJ_E_UPSTREAM:
        break;
    }
    return NJ_REPLAY_ENGINE;
}

static const struct nj_command *find(const struct nj_command *const *commands, const char *name)
{
    for (; *commands; commands++)
        if (strcmp((*commands)->name, name) == 0)
            return *commands;
    return NULL;
}

static int report(const struct nj_error *err)
{
    nj_log(NJ_LOG_ERROR, "%s", err->text);
    return nj_replay_status_of(err);
}

/* --help counts as an option only in front of "--". */
static bool wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

int nj_command_main(const struct nj_command *const *commands, int argc, char **argv)
{
    const struct nj_command *command;
    struct nj_error err = {0};
    int r;

    nj_log_init(PROGRAM, NJ_LOG_INFO);
    nj_fault_init("engine");
    if (nj_isolate_descriptors(&err) < 0)
        return report(&err);
    if (argc < 2) {
        print_help(commands, stderr);
        return NJ_REPLAY_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(commands, stdout);
        return NJ_REPLAY_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", PROGRAM, NJ_VERSION);
        return NJ_REPLAY_OK;
    }
    command = find(commands, argv[1]);
    if (!command) {
        nj_log(NJ_LOG_ERROR, "%s: no such command; %s --help lists them", argv[1], PROGRAM);
        return NJ_REPLAY_USAGE;
    }
    if (wants_help(argc, argv)) {
        printf("usage: %s %s %s\n\n%s", PROGRAM, command->name, command->arguments, command->help);
        return NJ_REPLAY_OK;
    }
    r = command->run(command, argc - 1, argv + 1, &err);
    nj_fault_done();
    return r < 0 ? report(&err) : r;
}
