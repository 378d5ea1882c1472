/*
 * complete.c - what may stand next on a command line: the hidden command that the shells'
 * completions ask
 *
 * `PROGRAM __complete WORD...`: the words behind the program's name; the last one, maybe empty, is
 * being typed. The first line of the answer is what the shell shall add on its own: "files
 * PATTERN...", "folders", "users" or "none"; then a candidate a line: the whole word, a tab, what
 * it is. A word that cannot be completed gets no candidates; nothing is an error here.
 */
#include <stdio.h>

#include "batch/command/inside.h"

#include "formats/base/banned.h"

struct completing {
    const struct nj_program *program;
    const char *word;  /* being typed, behind "--name=" */
    size_t head_len;   /* of "--name=" */
    const char *whole; /* with it */
    const char *shell; /* the first line of the answer */
    struct nj_buf lines;
    struct nj_error *err;
};

static int offer(struct completing *c, const char *word, size_t len, const char *what)
{
    if (strncmp(word, c->word, strlen(c->word)) != 0 || len < strlen(c->word))
        return 0;
    if (nj_buf_append(&c->lines, c->whole, c->head_len, c->err) < 0 ||
        nj_buf_append(&c->lines, word, len, c->err) < 0 ||
        nj_buf_printf(&c->lines, c->err, "%s%s\n", what ? "\t" : "", what ? what : "") < 0)
        return -(int)c->err->code;
    return 0;
}

static int offer_commands(struct completing *c)
{
    const struct nj_command *command;

    for (size_t i = 0; (command = nj_program_command(c->program, i)); i++)
        if (!command->hidden &&
            offer(c, command->name, strlen(command->name), command->summary) < 0)
            return -(int)c->err->code;
    return 0;
}

static int offer_words(struct completing *c, const char *words)
{
    while (words && *words) {
        size_t len = strcspn(words, " ");

        if (offer(c, words, len, NULL) < 0)
            return -(int)c->err->code;
        words += len + (words[len] == ' ');
    }
    return 0;
}

static int offer_options(struct completing *c, const struct nj_option *options)
{
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];

    for (; options && options->id != 0; options++) {
        if (options->hidden)
            continue;
        (void)snprintf(spelt, sizeof(spelt), "%s%s%.*s", options->name ? "--" : "-",
                       options->name ? options->name : "", options->name ? 0 : 1, &options->letter);
        if (offer(c, spelt, strlen(spelt), options->help) < 0)
            return -(int)c->err->code;
    }
    return offer(c, "--help", strlen("--help"), "tell about the command");
}

static int offer_value(struct completing *c, enum nj_takes takes, const char *words)
{
    switch (takes) {
    case NJ_TAKES_TEXT:
        return 0;
    case NJ_TAKES_WORD:
        return offer_words(c, words);
    case NJ_TAKES_FILE:
        c->shell = "files *";
        return 0;
    case NJ_TAKES_FOLDER:
        c->shell = "folders";
        return 0;
    case NJ_TAKES_JOB:
        c->shell = "files *.yaml *.yml *.json";
        return 0;
    case NJ_TAKES_USER:
        c->shell = "users";
        return 0;
    case NJ_TAKES_COMMAND:
        return offer_commands(c);
    case NJ_TAKES_RUN:
        return nj_complete_runs(c->word, "", true, &c->lines, c->err);
    case NJ_TAKES_RECORD:
        c->shell = "files *.njb";
        /* fallthrough */
    case NJ_TAKES_SESSION:
        if (strchr(c->word, ':'))
            return nj_complete_keys(c->word, &c->lines, c->err);
        return nj_complete_runs(c->word, ":", takes == NJ_TAKES_SESSION, &c->lines, c->err);
    }
    return 0;
}

/* The option that @word is; @ret_value is what stands behind '=', or NULL. */
static const struct nj_option *find_option(const struct nj_option *options, const char *word,
                                           const char **ret_value)
{
    const char *equals = strchr(word, '=');

    *ret_value = equals ? equals + 1 : NULL;
    for (; options && options->id != 0; options++) {
        size_t len = equals ? (size_t)(equals - word) : strlen(word);

        if (options->name && word[0] == '-' && word[1] == '-' && strlen(options->name) + 2 == len &&
            memcmp(options->name, word + 2, len - 2) == 0)
            return options;
        if (options->letter && word[0] == '-' && word[1] == options->letter && !word[2])
            return options;
    }
    return NULL;
}

/* Walks over the words that stand, to what the last one is. */
static int offer_for(struct completing *c, const struct nj_command *command, char *const *words,
                     size_t n_words)
{
    const struct nj_operand *operand = command->operands;
    const struct nj_option *option = NULL;
    const char *value = NULL;
    bool only_operands = false;

    for (size_t i = 0; i + 1 < n_words; i++) {
        if (option) { /* this word is its value */
            option = NULL;
        } else if (!only_operands && words[i][0] == '-' && words[i][1]) {
            only_operands = strcmp(words[i], "--") == 0;
            option = find_option(command->options, words[i], &value);
            if (option && (!option->value || value))
                option = NULL;
        } else if (operand && operand->name && !operand->repeated) {
            operand++;
        }
    }
    if (option)
        return offer_value(c, option->takes, option->words);
    if (!only_operands && c->word[0] == '-') {
        option = find_option(command->options, c->word, &value);
        if (!option || !value)
            return offer_options(c, command->options);
        c->head_len = (size_t)(value - c->whole);
        c->word = value;
        return option->value ? offer_value(c, option->takes, option->words) : 0;
    }
    return operand && operand->name ? offer_value(c, operand->takes, operand->words) : 0;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    /* Not nj_arguments_next(): the words are somebody else's options. */
    size_t n_words = (size_t)args->argc - 1;
    char *const *words = args->argv + 1;
    const char *last = n_words > 0 ? words[n_words - 1] : "";
    struct completing c = {
        .program = args->program, .word = last, .whole = last, .shell = "none", .err = err};
    const struct nj_command *command;
    NJ_AUTO(nj_buf_done) struct nj_buf answer = {0};
    int r = 0;

    nj_buf_init(&answer, 2 * NJ_HELP_MAX_BYTES);
    nj_buf_init(&c.lines, NJ_HELP_MAX_BYTES);
    if (n_words <= 1) {
        r = offer_commands(&c);
        if (r == 0 && last[0] == '-')
            r = offer_words(&c, "--help --version");
    } else {
        command = nj_program_find(args->program, words[0]);
        if (command)
            r = offer_for(&c, command, words + 1, n_words - 1);
    }
    if (r == 0)
        r = nj_buf_printf(&answer, err, "%s\n", c.shell);
    if (r == 0)
        r = nj_buf_append(&answer, c.lines.data, c.lines.len, err);
    nj_buf_done(&c.lines);
    return r < 0 ? r : nj_command_print(&answer, err);
}

const struct nj_command nj_command_complete = {
    .name = "__complete",
    .summary = "tell what may stand next on a command line",
    .help = "The shells' completions call it.",
    .operands =
        (const struct nj_operand[]){{.name = "WORD", .optional = true, .repeated = true}, {0}},
    .hidden = true,
    .run = run,
};
