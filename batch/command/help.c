/*
 * help.c - what --help prints, and the command `help`
 *
 * Text is filled to 80 columns here, so a table holds plain paragraphs: the man page fills the same
 * ones to whatever width its reader has.
 */
#include <stdio.h>

#include "batch/command/inside.h"

#include "formats/base/banned.h"

#define WIDTH 80
#define LABEL_MAX 24 /* a longer label has a line of its own */

/* Append @text word by word; the cursor stands at column @column, further lines begin at @indent.
 */
static int fill(struct nj_buf *out, const char *text, size_t len, size_t column, size_t indent,
                struct nj_error *err)
{
    const char *end = text + len;
    bool first = true;

    while (text < end) {
        size_t word = 0;

        while (text < end && (*text == ' ' || *text == '\n'))
            text++;
        while (text + word < end && text[word] != ' ' && text[word] != '\n')
            word++;
        if (word == 0)
            break;
        if (!first && column + 1 + word > WIDTH) {
            if (nj_buf_printf(out, err, "\n%*s", (int)indent, "") < 0)
                return -(int)err->code;
            column = indent;
        } else if (!first) {
            if (nj_buf_text(out, " ", err) < 0)
                return -(int)err->code;
            column++;
        }
        if (nj_buf_append(out, text, word, err) < 0)
            return -(int)err->code;
        column += word;
        text += word;
        first = false;
    }
    return nj_buf_text(out, "\n", err);
}

/* Paragraphs, each filled; one that begins with a blank is printed as it stands. */
static int paragraphs(struct nj_buf *out, const char *text, struct nj_error *err)
{
    while (text && *text) {
        const char *end = strstr(text, "\n\n");
        size_t len = end ? (size_t)(end - text) : strlen(text);
        int r;

        if (*text == ' ') {
            r = nj_buf_append(out, text, len, err);
            if (r == 0)
                r = nj_buf_text(out, "\n", err);
        } else {
            r = fill(out, text, len, 0, 0, err);
        }
        if (r == 0)
            r = nj_buf_text(out, "\n", err);
        if (r < 0)
            return r;
        text = end ? end + 2 : NULL;
    }
    return 0;
}

static int label(struct nj_buf *out, const char *name, size_t width, const char *text,
                 struct nj_error *err)
{
    size_t len = strlen(name);

    if (nj_buf_printf(out, err, "  %-*s", (int)width, name) < 0)
        return -(int)err->code;
    if (len > width && nj_buf_printf(out, err, "\n  %*s", (int)width, "") < 0)
        return -(int)err->code;
    if (nj_buf_text(out, "  ", err) < 0)
        return -(int)err->code;
    return fill(out, text, strlen(text), width + 4, width + 4, err);
}

/* "usage: nightjar run JOB [--run-dir DIR]... [--quiet]": what is in brackets stays on one line. */
static int synopsis(struct nj_buf *out, const struct nj_program *program,
                    const struct nj_command *command, struct nj_error *err)
{
    char head[96];
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    char word[NJ_OPTION_SPELL_MAX_BYTES + 8];
    const struct nj_operand *operand = command->operands;
    const struct nj_option *option = command->options;
    size_t indent;
    size_t column;

    (void)snprintf(head, sizeof(head), "usage: %s %s", program->name, command->name);
    indent = column = strlen(head);
    if (nj_buf_text(out, head, err) < 0)
        return -(int)err->code;
    for (;;) {
        if (operand && operand->name) {
            (void)snprintf(word, sizeof(word), "%s%s%s%s", operand->optional ? "[" : "",
                           operand->name, operand->optional ? "]" : "",
                           operand->repeated ? "..." : "");
            operand++;
        } else if (option && option->id != 0) {
            bool hidden = option->hidden;

            (void)snprintf(word, sizeof(word), "[%s]%s", nj_option_spell(option, spelt),
                           option->repeated ? "..." : "");
            option++;
            if (hidden)
                continue;
        } else {
            return nj_buf_text(out, "\n\n", err);
        }
        if (column + 1 + strlen(word) > WIDTH) {
            if (nj_buf_printf(out, err, "\n%*s", (int)indent, "") < 0)
                return -(int)err->code;
            column = indent;
        }
        column += 1 + strlen(word);
        if (nj_buf_printf(out, err, " %s", word) < 0)
            return -(int)err->code;
    }
}

static size_t widest(const struct nj_command *command)
{
    const struct nj_operand *operand = command->operands;
    const struct nj_option *option = command->options;
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    size_t width = strlen("-h, --help");

    for (; operand && operand->name; operand++)
        if (operand->help && strlen(operand->name) > width)
            width = strlen(operand->name);
    for (; option && option->id != 0; option++)
        if (!option->hidden && strlen(nj_option_spell(option, spelt)) > width)
            width = strlen(spelt);
    return width > LABEL_MAX ? LABEL_MAX : width;
}

static int labels(struct nj_buf *out, const struct nj_command *command, struct nj_error *err)
{
    const struct nj_operand *operand = command->operands;
    const struct nj_option *option = command->options;
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    size_t width = widest(command);

    for (; operand && operand->name; operand++)
        if (operand->help && label(out, operand->name, width, operand->help, err) < 0)
            return -(int)err->code;
    for (; option && option->id != 0; option++)
        if (!option->hidden &&
            label(out, nj_option_spell(option, spelt), width, option->help, err) < 0)
            return -(int)err->code;
    return label(out, "-h, --help", width, "this text", err);
}

static int examples(struct nj_buf *out, const char *lines, struct nj_error *err)
{
    if (nj_buf_text(out, "\nExamples:\n", err) < 0)
        return -(int)err->code;
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        const char *tab = memchr(lines, '\t', len);
        size_t command = tab ? (size_t)(tab - lines) : len;

        if (nj_buf_printf(out, err, "  %.*s\n", (int)command, lines) < 0)
            return -(int)err->code;
        if (tab && (nj_buf_text(out, "      ", err) < 0 ||
                    fill(out, tab + 1, len - command - 1, 6, 6, err) < 0))
            return -(int)err->code;
        lines += len + (lines[len] == '\n');
    }
    return 0;
}

int nj_help_command(const struct nj_program *program, const struct nj_command *command,
                    struct nj_buf *out, struct nj_error *err)
{
    if (synopsis(out, program, command, err) < 0 || paragraphs(out, command->help, err) < 0 ||
        labels(out, command, err) < 0)
        return -(int)err->code;
    if (command->exits && (nj_buf_text(out, "\n", err) < 0 ||
                           fill(out, command->exits, strlen(command->exits), 0, 0, err) < 0))
        return -(int)err->code;
    return command->examples ? examples(out, command->examples, err) : 0;
}

int nj_help_program(const struct nj_program *program, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_command *command;
    size_t width = 0;

    if (nj_buf_printf(out, err, "usage: %s COMMAND [ARGUMENT]...\n\n", program->name) < 0 ||
        paragraphs(out, program->help, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; (command = nj_program_command(program, i)); i++)
        if (!command->hidden && strlen(command->name) > width)
            width = strlen(command->name);
    for (size_t i = 0; (command = nj_program_command(program, i)); i++)
        if (!command->hidden && label(out, command->name, width, command->summary, err) < 0)
            return -(int)err->code;
    if (nj_buf_printf(out, err, "\n%s COMMAND --help tells more.\n\nExit status:\n",
                      program->name) < 0)
        return -(int)err->code;
    for (const struct nj_exit_meaning *exits = program->exits; exits->meaning; exits++) {
        char status[8];

        (void)snprintf(status, sizeof(status), "%d", exits->status);
        if (label(out, status, 1, exits->meaning, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const struct nj_command *command;
    int r = nj_arguments_next(args, err);

    if (r < 0)
        return r;
    nj_buf_init(&text, NJ_HELP_MAX_BYTES);
    if (args->n_operands == 0) {
        r = nj_help_program(args->program, &text, err);
    } else {
        command = nj_program_find(args->program, args->operands[0]);
        if (!command)
            return nj_program_refuse(args->program, args->operands[0], err);
        r = nj_help_command(args->program, command, &text, err);
    }
    return r < 0 ? r : nj_command_print(&text, err);
}

const struct nj_command nj_command_help = {
    .name = "help",
    .summary = "tell about a command",
    .help = "Prints what COMMAND --help prints; without COMMAND, the list of commands.",
    .operands =
        (const struct nj_operand[]){
            {.name = "COMMAND", .takes = NJ_TAKES_COMMAND, .optional = true}, {0}},
    .run = run,
};
