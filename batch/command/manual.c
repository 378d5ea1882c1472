/*
 * manual.c - man pages from the commands' tables, and the hidden command that writes them into a
 * folder
 *
 * The one complication: roff takes a leading '.' or quote, every backslash and every bare hyphen as
 * its own; nothing goes out but through escape().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "batch/command/inside.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* Text between backquotes is set in bold, as names of commands are. */
static int escape(struct nj_buf *out, const char *text, size_t len, struct nj_error *err)
{
    bool bold = false;
    int r = 0;

    if (len > 0 && (*text == '.' || *text == '\''))
        r = nj_buf_text(out, "\\&", err);
    for (size_t i = 0; r == 0 && i < len; i++) {
        switch (text[i]) {
        case '\\':
            r = nj_buf_text(out, "\\e", err);
            break;
        case '-':
            r = nj_buf_text(out, "\\-", err);
            break;
        case '`':
            bold = !bold;
            r = nj_buf_text(out, bold ? "\\fB" : "\\fR", err);
            break;
        default:
            r = nj_buf_append(out, text + i, 1, err);
        }
    }
    return r;
}

static int line(struct nj_buf *out, const char *macro, const char *text, struct nj_error *err)
{
    if (nj_buf_text(out, macro, err) < 0 || escape(out, text, strlen(text), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

/* What begins with a blank is set as it stands. Behind a heading no paragraph needs to be begun. */
static int paragraphs(struct nj_buf *out, const char *text, struct nj_error *err)
{
    const char *begin = "";

    while (text && *text) {
        const char *end = strstr(text, "\n\n");
        const char *next = end ? end + 2 : NULL;
        bool verbatim = *text == ' ';

        if (!end)
            end = text + strlen(text);
        if (nj_buf_text(out, begin, err) < 0 || nj_buf_text(out, verbatim ? ".nf\n" : "", err) < 0)
            return -(int)err->code;
        begin = ".PP\n";
        while (text < end) {
            size_t len = strcspn(text, "\n");

            if (escape(out, text, len, err) < 0 || nj_buf_text(out, "\n", err) < 0)
                return -(int)err->code;
            text += len + 1;
        }
        if (verbatim && nj_buf_text(out, ".fi\n", err) < 0)
            return -(int)err->code;
        text = next;
    }
    return 0;
}

static int section(struct nj_buf *out, const char *title, struct nj_error *err)
{
    return nj_buf_printf(out, err, ".SH %s\n", title);
}

static int tagged(struct nj_buf *out, const char *tag, const char *text, struct nj_error *err)
{
    if (nj_buf_text(out, ".TP\n\\fB", err) < 0 || escape(out, tag, strlen(tag), err) < 0 ||
        nj_buf_text(out, "\\fR\n", err) < 0)
        return -(int)err->code;
    return line(out, "", text, err);
}

static int tagged_lines(struct nj_buf *out, const char *lines, struct nj_error *err)
{
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        size_t tag = strcspn(lines, "\t\n");

        if (nj_buf_text(out, ".TP\n\\fB", err) < 0 || escape(out, lines, tag, err) < 0 ||
            nj_buf_text(out, "\\fR\n", err) < 0 ||
            (tag < len && escape(out, lines + tag + 1, len - tag - 1, err) < 0) ||
            nj_buf_text(out, tag < len ? "\n" : "", err) < 0)
            return -(int)err->code;
        lines += len + (lines[len] == '\n');
    }
    return 0;
}

/* No date: the same source gives the same page. No word is broken: most are there to be typed. */
static int header(struct nj_buf *out, const char *program, const char *command, const char *summary,
                  struct nj_error *err)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s%s%s", program, command ? "-" : "",
                   command ? command : "");
    if (nj_buf_text(out, ".TH ", err) < 0)
        return -(int)err->code;
    for (const char *at = name; *at; at++)
        if (nj_buf_printf(out, err, "%c", *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at) < 0)
            return -(int)err->code;
    if (nj_buf_printf(out, err, " 1 \"\" \"nightjar %s\" \"Nightjar\"\n.nh\n.ad l\n.SH NAME\n",
                      NJ_VERSION) < 0 ||
        escape(out, name, strlen(name), err) < 0 || nj_buf_text(out, " \\- ", err) < 0)
        return -(int)err->code;
    return line(out, "", summary, err);
}

static int synopsis(struct nj_buf *out, const struct nj_program *program,
                    const struct nj_command *command, struct nj_error *err)
{
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];

    if (section(out, "SYNOPSIS", err) < 0 || line(out, ".B ", program->name, err) < 0 ||
        line(out, ".B ", command->name, err) < 0)
        return -(int)err->code;
    for (const struct nj_operand *at = command->operands; at && at->name; at++)
        if (nj_buf_printf(out, err, "%s\\fI%s\\fR%s%s\n", at->optional ? "[" : "", at->name,
                          at->optional ? "]" : "", at->repeated ? "..." : "") < 0)
            return -(int)err->code;
    for (const struct nj_option *at = command->options; at && at->id != 0; at++) {
        if (at->hidden)
            continue;
        (void)nj_option_spell(at, spelt);
        if (nj_buf_text(out, "[", err) < 0 || escape(out, spelt, strlen(spelt), err) < 0 ||
            nj_buf_printf(out, err, "]%s\n", at->repeated ? "..." : "") < 0)
            return -(int)err->code;
    }
    return 0;
}

/* "a(1)" and "b(1) c(5)" as "a(1), b(1), c(5)"; either may be NULL. */
static int see_also(struct nj_buf *out, const char *first, const char *more, struct nj_error *err)
{
    char pages[256];

    (void)snprintf(pages, sizeof(pages), "%s%s%s", first ? first : "", first && more ? " " : "",
                   more ? more : "");
    if (section(out, "SEE ALSO", err) < 0)
        return -(int)err->code;
    for (char *at = pages; *at;) {
        size_t len = strcspn(at, " ");
        bool last = !at[len];

        at[len] = '\0';
        if (escape(out, at, len, err) < 0 || nj_buf_text(out, last ? "\n" : ",\n", err) < 0)
            return -(int)err->code;
        at += len + !last;
    }
    return 0;
}

static int command_page(const struct nj_program *program, const struct nj_command *command,
                        struct nj_buf *out, struct nj_error *err)
{
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    char first[64];

    if (header(out, program->name, command->name, command->summary, err) < 0 ||
        synopsis(out, program, command, err) < 0 || section(out, "DESCRIPTION", err) < 0 ||
        paragraphs(out, command->help, err) < 0 || section(out, "OPTIONS", err) < 0)
        return -(int)err->code;
    for (const struct nj_operand *at = command->operands; at && at->name; at++)
        if (at->help && tagged(out, at->name, at->help, err) < 0)
            return -(int)err->code;
    for (const struct nj_option *at = command->options; at && at->id != 0; at++)
        if (!at->hidden && tagged(out, nj_option_spell(at, spelt), at->help, err) < 0)
            return -(int)err->code;
    if (tagged(out, "-h, --help", "tell about the command", err) < 0 ||
        section(out, "EXIT STATUS", err) < 0)
        return -(int)err->code;
    (void)snprintf(first, sizeof(first), "As %s(1) lists them.", program->name);
    if (line(out, "", command->exits ? command->exits : first, err) < 0)
        return -(int)err->code;
    if (command->examples &&
        (section(out, "EXAMPLES", err) < 0 || tagged_lines(out, command->examples, err) < 0))
        return -(int)err->code;
    (void)snprintf(first, sizeof(first), "%s(1)", program->name);
    return see_also(out, first, command->see, err);
}

static int program_page(const struct nj_program *program, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_command *command;
    const struct nj_exit_meaning *exits = program->exits;
    char text[160];

    if (header(out, program->name, NULL, program->summary, err) < 0 ||
        section(out, "SYNOPSIS", err) < 0 || line(out, ".B ", program->name, err) < 0 ||
        nj_buf_text(out, "\\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n", err) < 0 ||
        section(out, "DESCRIPTION", err) < 0 || paragraphs(out, program->help, err) < 0 ||
        section(out, "COMMANDS", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; (command = nj_program_command(program, i)); i++) {
        (void)snprintf(text, sizeof(text), "%s-%s(1)", program->name, command->name);
        if (!command->hidden && tagged(out, text, command->summary, err) < 0)
            return -(int)err->code;
    }
    if (section(out, "EXIT STATUS", err) < 0)
        return -(int)err->code;
    for (; exits->meaning; exits++) {
        (void)snprintf(text, sizeof(text), "%d", exits->status);
        if (tagged(out, text, exits->meaning, err) < 0)
            return -(int)err->code;
    }
    for (const struct nj_chapter *at = program->chapters; at && at->title; at++)
        if (section(out, at->title, err) < 0 ||
            (strchr(at->text, '\t') ? tagged_lines(out, at->text, err)
                                    : paragraphs(out, at->text, err)) < 0)
            return -(int)err->code;
    return see_also(out, NULL, program->see, err);
}

int nj_manual_page(const struct nj_program *program, const struct nj_command *command,
                   struct nj_buf *out, struct nj_error *err)
{
    return command ? command_page(program, command, out, err) : program_page(program, out, err);
}

/* ---- into a folder ---- */

static int write_page(const struct nj_program *program, const struct nj_command *command,
                      int dir_fd, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf page = {0};
    char name[128];

    nj_buf_init(&page, NJ_HELP_MAX_BYTES);
    (void)snprintf(name, sizeof(name), "%s%s%s.1", program->name, command ? "-" : "",
                   command ? command->name : "");
    if (nj_manual_page(program, command, &page, err) < 0)
        return nj_wrap(err, "%s", name);
    return nj_fsio_publish(dir_fd, name, nj_buf_span(&page), 0644, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    const struct nj_program *program = args->program;
    const struct nj_command *command;
    nj_auto_close int dir_fd = -1;

    if (nj_arguments_next(args, err) < 0)
        return -(int)err->code;
    dir_fd = open(args->operands[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", args->operands[0]);
    if (write_page(program, NULL, dir_fd, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; (command = nj_program_command(program, i)); i++)
        if (!command->hidden && write_page(program, command, dir_fd, err) < 0)
            return -(int)err->code;
    return 0;
}

const struct nj_command nj_command_pages = {
    .name = "__pages",
    .summary = "write the man pages into a folder",
    .help = "The build calls it.",
    .operands = (const struct nj_operand[]){{.name = "DIR", .takes = NJ_TAKES_FOLDER}, {0}},
    .hidden = true,
    .run = run,
};
