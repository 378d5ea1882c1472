/*
 * command.c - from argv to a command, and from its failure to an exit status
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "batch/cli/cmd.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

int nj_command_usage(const struct nj_command *command, struct nj_error *err, const char *fmt, ...)
{
    char reason[256];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);
    return nj_fail(err, NJ_E_INPUT, "%s; usage: %s %s", reason, command->name, command->arguments);
}

static void print_help(const char *program, const struct nj_command *const *commands, FILE *out)
{
    fprintf(out, "usage: %s COMMAND [ARGUMENT]...\n\n", program);
    for (; *commands; commands++)
        fprintf(out, "  %-9s %s\n", (*commands)->name, (*commands)->summary);
    fprintf(out,
            "\n%s COMMAND --help tells more. Exit status: 0 all well, 1 some sessions failed or a "
            "replay\n"
            "differs, 2 wrong usage or input, 3 the engine failed, 4 stopped and resumable, 5 the\n"
            "environment differs, so a replay cannot judge.\n",
            program);
}

static int status_of(enum nj_error_code code)
{
    switch (code) {
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
        return NJ_EXIT_ENGINE;
    }
    return NJ_EXIT_ENGINE;
}

static const struct nj_command *find(const struct nj_command *const *commands, const char *name)
{
    for (; *commands; commands++)
        if (strcmp((*commands)->name, name) == 0)
            return *commands;
    return NULL;
}

int nj_command_main(const char *program, const struct nj_command *const *commands, int argc,
                    char **argv)
{
    const struct nj_command *command;
    struct nj_error err = {0};
    int r;

    nj_log_init(program, NJ_LOG_INFO);
    if (argc < 2) {
        print_help(program, commands, stderr);
        return NJ_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(program, commands, stdout);
        return NJ_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", program, NJ_VERSION);
        return NJ_EXIT_OK;
    }
    command = find(commands, argv[1]);
    if (!command) {
        nj_log(NJ_LOG_ERROR, "%s: no such command; %s --help lists them", argv[1], program);
        return NJ_EXIT_USAGE;
    }
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0) {
            printf("usage: %s %s %s\n\n%s\n", program, command->name, command->arguments,
                   command->help);
            return NJ_EXIT_OK;
        }
    r = command->run(command, argc - 1, argv + 1, &err);
    if (r < 0) {
        nj_log(NJ_LOG_ERROR, "%s", err.text);
        return status_of(err.code);
    }
    return r;
}
