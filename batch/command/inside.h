/*
 * inside.h - what command.c, help.c and their kin share; nobody else includes it
 */
#ifndef NJ_COMMAND_INSIDE_H
#define NJ_COMMAND_INSIDE_H

#include "batch/command/command.h"

#define NJ_HELP_MAX_BYTES ((size_t)1 << 20)

/* nj_program_find - the command of that name, built-in ones too, or NULL */
const struct nj_command *nj_program_find(const struct nj_program *program, const char *name);

/* nj_program_refuse - NJ_E_INPUT: no such command, and the nearest one */
int nj_program_refuse(const struct nj_program *program, const char *name, struct nj_error *err);

/* nj_program_command - the @at-th command, built-in ones last; NULL behind the last */
const struct nj_command *nj_program_command(const struct nj_program *program, size_t at);

/* nj_option_spell - "--run-dir DIR" or "-l"; borrowed from @room */
#define NJ_OPTION_SPELL_MAX_BYTES 64
const char *nj_option_spell(const struct nj_option *option, char room[NJ_OPTION_SPELL_MAX_BYTES]);

/* The texts of --help, with a trailing newline. */
int nj_help_program(const struct nj_program *program, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;
int nj_help_command(const struct nj_program *program, const struct nj_command *command,
                    struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_manual_page - the man page of @command, or of the program where it is NULL */
int nj_manual_page(const struct nj_program *program, const struct nj_command *command,
                   struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_complete_runs, nj_complete_keys - candidates, a line each: run directories, @after behind
 * each, with @folders those on the way to them; RUN:KEY. What cannot be read gives none. */
int nj_complete_runs(const char *word, const char *after, bool folders, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;
int nj_complete_keys(const char *word, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

extern const struct nj_command nj_command_help;
extern const struct nj_command nj_command_complete;
extern const struct nj_command nj_command_pages;

#endif
