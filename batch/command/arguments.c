/*
 * arguments.c - getopt, driven by a command's table
 *
 * The one complication: getopt keeps its place in globals, so one command line is read at a time,
 * and begun says when to reset it.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "batch/command/inside.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

/* Long options are known to getopt by their place in the table, above every letter. */
#define LONG_FIRST 256

/* ":" first makes getopt tell a missing value from an unknown option. */
struct getopt_tables {
    char letters[2 * NJ_OPTIONS_MAX + 2];
    struct option names[NJ_OPTIONS_MAX + 1];
};

static void fill_tables(const struct nj_option *options, struct getopt_tables *tables)
{
    size_t n_letters = 0;
    size_t n_names = 0;

    *tables = (struct getopt_tables){0};
    tables->letters[n_letters++] = ':';
    for (int i = 0; options && options[i].id != 0 && i < NJ_OPTIONS_MAX; i++) {
        if (options[i].letter) {
            tables->letters[n_letters++] = options[i].letter;
            if (options[i].value)
                tables->letters[n_letters++] = ':';
        }
        if (options[i].name)
            tables->names[n_names++] = (struct option){
                .name = options[i].name,
                .has_arg = options[i].value ? required_argument : no_argument,
                .val = LONG_FIRST + i,
            };
    }
}

/* The option that getopt means by @value, or NULL. */
static const struct nj_option *meant(const struct nj_option *options, int value)
{
    if (value >= LONG_FIRST)
        return &options[value - LONG_FIRST];
    for (; options && options->id != 0; options++)
        if (options->letter && options->letter == value)
            return options;
    return NULL;
}

const char *nj_option_spell(const struct nj_option *option, char room[NJ_OPTION_SPELL_MAX_BYTES])
{
    char letter[] = {'-', option->letter, '\0'};

    (void)snprintf(room, NJ_OPTION_SPELL_MAX_BYTES, "%s%s%s%s%s%s", option->letter ? letter : "",
                   option->letter && option->name ? ", " : "", option->name ? "--" : "",
                   option->name ? option->name : "", option->value ? " " : "",
                   option->value ? option->value : "");
    return room;
}

int nj_arguments_refuse(const struct nj_arguments *args, struct nj_error *err, const char *fmt, ...)
{
    const struct nj_operand *operand = args->command->operands;
    char usage[128] = "";
    char reason[256];
    size_t len = 0;
    va_list list;

    va_start(list, fmt);
    (void)vsnprintf(reason, sizeof(reason), fmt, list);
    va_end(list);
    for (; operand && operand->name && len < sizeof(usage); operand++) {
        int n =
            snprintf(usage + len, sizeof(usage) - len, " %s%s%s%s", operand->optional ? "[" : "",
                     operand->name, operand->optional ? "]" : "", operand->repeated ? "..." : "");

        len += n > 0 ? (size_t)n : 0;
    }
    return nj_fail(err, NJ_E_INPUT, "%s; usage: %s %s%s%s; --help tells more", reason,
                   args->program->name, args->command->name, usage,
                   args->command->options ? " [OPTION]..." : "");
}

static int refuse_unknown(const struct nj_arguments *args, const char *word, struct nj_error *err)
{
    const struct nj_option *option = args->command->options;
    const char *names[NJ_OPTIONS_MAX];
    char name[64];
    const char *nearest;
    size_t n = 0;

    if (optopt) /* one of a bundle of letters */
        return nj_arguments_refuse(args, err, "-%c: no such option", optopt);
    (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (; option && option->id != 0 && n < NJ_OPTIONS_MAX; option++) {
        if (!option->name || option->hidden)
            continue;
        if (name[0] && strncmp(option->name, name, strlen(name)) == 0)
            return nj_arguments_refuse(args, err, "--%s: several options begin so", name);
        names[n++] = option->name;
    }
    nearest = nj_yaml_nearest(name, names, n);
    if (nearest)
        return nj_arguments_refuse(args, err, "--%s: no such option; did you mean --%s?", name,
                                   nearest);
    return nj_arguments_refuse(args, err, "--%s: no such option", name);
}

static int take_operands(struct nj_arguments *args, struct nj_error *err)
{
    const struct nj_operand *operand = args->command->operands;
    size_t left = (size_t)(args->argc - optind);

    args->operands = args->argv + optind;
    args->n_operands = left;
    args->value = NULL;
    for (; operand && operand->name; operand++) {
        if (left == 0 && !operand->optional)
            return nj_arguments_refuse(args, err, "%s is missing", operand->name);
        if (operand->repeated)
            left = 0;
        else if (left > 0)
            left--;
    }
    if (left > 0)
        return nj_arguments_refuse(args, err, "%.100s: one operand too many",
                                   args->operands[args->n_operands - left]);
    return 0;
}

int nj_arguments_next(struct nj_arguments *args, struct nj_error *err)
{
    const struct nj_option *option;
    struct getopt_tables tables;
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    int value;

    if (!args->begun) {
        opterr = 0;
        optind = 0; /* glibc: forget the last command line */
        args->begun = true;
    }
    fill_tables(args->command->options, &tables);
    value = getopt_long(args->argc, args->argv, tables.letters, tables.names, NULL);
    if (value == -1)
        return take_operands(args, err);
    option = meant(args->command->options, value == ':' || value == '?' ? optopt : value);
    if (!option)
        return refuse_unknown(args, args->argv[optind - 1], err);
    if (value == ':')
        return nj_arguments_refuse(args, err, "%s: its value is missing",
                                   nj_option_spell(option, spelt));
    if (value == '?')
        return nj_arguments_refuse(args, err, "%s takes no value", nj_option_spell(option, spelt));
    args->option = option;
    args->value = optarg;
    return option->id;
}

int nj_arguments_number(const struct nj_arguments *args, unsigned long min, unsigned long max,
                        unsigned long *ret_number, struct nj_error *err)
{
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    unsigned long number = 0;
    const char *at = args->value;
    bool fits = *at != '\0';

    for (; fits && *at; at++)
        fits = *at >= '0' && *at <= '9' && !__builtin_mul_overflow(number, 10ul, &number) &&
               !__builtin_add_overflow(number, (unsigned long)(*at - '0'), &number);
    if (!fits || number < min || number > max)
        return nj_arguments_refuse(args, err, "%s: %.60s is no whole number from %lu to %lu",
                                   nj_option_spell(args->option, spelt), args->value, min, max);
    *ret_number = number;
    return 0;
}

int nj_arguments_add(const struct nj_arguments *args, const char **list, size_t max,
                     struct nj_error *err)
{
    char spelt[NJ_OPTION_SPELL_MAX_BYTES];
    size_t n = 0;

    while (list[n])
        n++;
    if (n >= max)
        return nj_arguments_refuse(args, err, "%s: given more than %zu times",
                                   nj_option_spell(args->option, spelt), max);
    list[n] = args->value;
    list[n + 1] = NULL;
    return 0;
}
