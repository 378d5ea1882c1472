/*
 * command.c - from argv to a command, and from its failure to an exit status
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "batch/command/inside.h"
#include "formats/base/fsio.h"
#include "formats/base/log.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define COMMANDS_MAX 64

int nj_command_print(struct nj_buf *text, struct nj_error *err)
{
    int r = nj_fsio_write(STDOUT_FILENO, text->data, text->len, err);

    nj_buf_clear(text);
    return r < 0 ? nj_wrap(err, "standard output") : 0;
}

const struct nj_command *nj_program_command(const struct nj_program *program, size_t at)
{
    static const struct nj_command *const built_in[] = {&nj_command_help, &nj_command_complete,
                                                        &nj_command_pages};
    size_t n = 0;

    while (program->commands[n])
        n++;
    if (at < n)
        return program->commands[at];
    return at - n < sizeof(built_in) / sizeof(built_in[0]) ? built_in[at - n] : NULL;
}

const struct nj_command *nj_program_find(const struct nj_program *program, const char *name)
{
    const struct nj_command *command;

    for (size_t i = 0; (command = nj_program_command(program, i)); i++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

int nj_program_refuse(const struct nj_program *program, const char *name, struct nj_error *err)
{
    const char *names[COMMANDS_MAX];
    const struct nj_command *command;
    const char *nearest;
    size_t n = 0;

    for (size_t i = 0; (command = nj_program_command(program, i)) && n < COMMANDS_MAX; i++)
        if (!command->hidden)
            names[n++] = command->name;
    nearest = nj_yaml_nearest(name, names, n);
    if (nearest)
        return nj_fail(err, NJ_E_INPUT, "%.100s: no such command; did you mean %s?", name, nearest);
    return nj_fail(err, NJ_E_INPUT, "%.100s: no such command; %s --help lists them", name,
                   program->name);
}

static int report(const struct nj_program *program, const struct nj_error *err)
{
    nj_log(NJ_LOG_ERROR, "%s", err->text);
    return program->status_of(err);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* --help counts as an option only in front of "--". */
static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

static int tell_help(const struct nj_program *program, const struct nj_command *command,
                     struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r;

    nj_buf_init(&text, NJ_HELP_MAX_BYTES);
    r = command ? nj_help_command(program, command, &text, err)
                : nj_help_program(program, &text, err);
    return r < 0 ? r : nj_command_print(&text, err);
}

static int dispatch(const struct nj_program *program, int argc, char **argv, struct nj_error *err)
{
    struct nj_arguments args = {.program = program, .argc = argc - 1, .argv = argv + 1};

    if (is_help(argv[1]))
        return tell_help(program, NULL, err);
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", program->name, NJ_VERSION);
        return NJ_EXIT_OK;
    }
    args.command = nj_program_find(program, argv[1]);
    if (!args.command)
        return nj_program_refuse(program, argv[1], err);
    /* A hidden command is called by programs; its words may be those of another command line. */
    if (!args.command->hidden && wants_help(args.argc, args.argv))
        return tell_help(program, args.command, err);
    return args.command->run(&args, err);
}

int nj_program_main(const struct nj_program *program, int argc, char **argv)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};
    int r;

    nj_log_init(program->name, NJ_LOG_INFO);
    if (program->begin && program->begin(&err) < 0)
        return report(program, &err);
    if (argc < 2) {
        nj_buf_init(&text, NJ_HELP_MAX_BYTES);
        if (nj_help_program(program, &text, &err) < 0)
            return report(program, &err);
        (void)fwrite(text.data, 1, text.len, stderr); /* the status tells it, too */
        return NJ_EXIT_USAGE;
    }
    r = dispatch(program, argc, argv, &err);
    if (program->end)
        program->end();
    return r < 0 ? report(program, &err) : r;
}
