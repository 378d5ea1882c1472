/*
 * command.h - the command lines of both programs: one table, of which all that a person meets is
 * made
 *
 * A command is one const descriptor in a file of its own. Parsing, `--help`, the usage line of a
 * refusal, the man page and the shells' completions are all made from it, so none can drift:
 *
 *     enum { OPT_RUN_DIR = 1, OPT_QUIET };
 *
 *     static int run(struct nj_arguments *args, struct nj_error *err)
 *     {
 *         int r;
 *
 *         while ((r = nj_arguments_next(args, err)) > 0)
 *             if (r == OPT_RUN_DIR)
 *                 engine.run_path = args->value;
 *             else if (r == OPT_QUIET)
 *                 engine.quiet = true;
 *         if (r < 0)
 *             return r;
 *         engine.job_path = args->operands[0];
 *         ...
 *     }
 *
 *     const struct nj_command nj_cmd_run = {
 *         .name = "run",
 *         .summary = "run a job",
 *         .help = "Paragraphs, divided by an empty line; lines that begin with a blank stay as they
 * are.", .operands = (const struct nj_operand[]){{.name = "JOB", .takes = NJ_TAKES_JOB}, {0}},
 *         .options = (const struct nj_option[]){
 *             {OPT_RUN_DIR, "run-dir", .value = "DIR", .takes = NJ_TAKES_FOLDER, .help = "..."},
 *             {OPT_QUIET, "quiet", .help = "say only what went wrong"},
 *             {0}},
 *         .run = run,
 *     };
 *
 * The number of operands is checked against the table. `--help` and `-h` (in front of a "--") are
 * answered for every command, unknown words get the nearest known one.
 */
#ifndef NJ_COMMAND_H
#define NJ_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/buf.h"

/* Exit statuses (DESIGN section 10). */
enum nj_exit_status {
    NJ_EXIT_OK = 0,
    NJ_EXIT_SOME_FAILED = 1,
    NJ_EXIT_DIVERGED = 1, /* a replay differs; or the path that was asked for is not there */
    NJ_EXIT_USAGE = 2,
    NJ_EXIT_ENGINE = 3,
    NJ_EXIT_STOPPED = 4,
    NJ_EXIT_ENVIRONMENT = 5,
};

/* What a value or an operand is: for completion. */
enum nj_takes {
    NJ_TAKES_TEXT = 0, /* anything: nothing is offered */
    NJ_TAKES_WORD,     /* one of .words */
    NJ_TAKES_FILE,
    NJ_TAKES_FOLDER,
    NJ_TAKES_JOB,     /* a manifest: *.yaml, *.yml, *.json */
    NJ_TAKES_RUN,     /* a run directory */
    NJ_TAKES_SESSION, /* RUN:KEY */
    NJ_TAKES_RECORD,  /* a bundle, or RUN:KEY */
    NJ_TAKES_USER,
    NJ_TAKES_COMMAND, /* a command of this program */
};

#define NJ_OPTIONS_MAX 32

/* The table ends with an option whose id is 0. */
struct nj_option {
    int id;            /* from 1, what nj_arguments_next() returns */
    const char *name;  /* "run-dir"; NULL: it has only a letter */
    char letter;       /* '\0': none */
    bool repeated;     /* may be given several times */
    bool hidden;       /* works, but is not told */
    const char *value; /* "DIR": what it needs; NULL: it takes none */
    enum nj_takes takes;
    const char *words; /* NJ_TAKES_WORD: "text json" */
    const char *help;
};

/* The table ends with an operand without a name. Optional ones come last; only the very last may be
 * repeated. */
struct nj_operand {
    const char *name; /* "JOB" */
    enum nj_takes takes;
    bool optional;
    bool repeated;
    const char *words; /* NJ_TAKES_WORD */
    const char *help;  /* NULL: the name says it */
};

struct nj_arguments;

struct nj_command {
    const char *name;
    const char *summary;               /* one line, begins with a small letter */
    const char *help;                  /* paragraphs */
    const struct nj_operand *operands; /* NULL: none */
    const struct nj_option *options;   /* NULL: none */
    const char *exits;    /* paragraph about exit statuses beyond the program's; NULL: none */
    const char *examples; /* lines "COMMAND LINE\tWHAT IT DOES", each ended by '\n'; NULL: none */
    const char *see;      /* "nightjar-resume(1) nightjar-manifest(5)": further pages; NULL: none */
    bool hidden;

    /* run - returns an exit status, or negative with @err (the program tells it) */
    int (*run)(struct nj_arguments *args, struct nj_error *err);
};

struct nj_exit_meaning {
    int status;
    const char *meaning;
};

/* One more section of the program's man page. */
struct nj_chapter {
    const char *title; /* "FILES" */
    const char *text;  /* paragraphs, or lines "NAME\tMEANING" when the first holds a tab */
};

struct nj_program {
    const char *name;
    const char *summary;                      /* one line, begins with a small letter */
    const char *help;                         /* paragraphs */
    const struct nj_command *const *commands; /* ends with NULL; help and completion are added */
    const struct nj_exit_meaning *exits;      /* ends with a NULL meaning */
    const struct nj_chapter *chapters;        /* ends with a NULL title; NULL: none */
    const char *see;                          /* further pages */

    int (*begin)(struct nj_error *err); /* before anything else; NULL: nothing */
    void (*end)(void);                  /* after a command; NULL: nothing */
    int (*status_of)(const struct nj_error *err);
};

/* nj_program_main - find the command, run it, report its failure once: all of main() */
int nj_program_main(const struct nj_program *program, int argc, char **argv);

/* The arguments of one command; value and operands are borrowed from argv. */
struct nj_arguments {
    const struct nj_program *program;
    const struct nj_command *command;
    int argc;
    char **argv; /* argv[0] is the command's name; getopt may change its order */
    bool begun;
    const struct nj_option *option; /* that nj_arguments_next() returned last */
    const char *value;              /* its value; NULL: it takes none */
    char *const *operands;          /* when it returned 0 */
    size_t n_operands;
};

/*
 * nj_arguments_next - the next option
 *
 * Returns the option's id, its value in @args->value; 0 behind the last one, with operands and
 * n_operands set, whose number fits the command's table. Fails with NJ_E_INPUT: an unknown option
 * (with the nearest name), a value that is missing or too much, operands missing or too many.
 */
int nj_arguments_next(struct nj_arguments *args, struct nj_error *err) NJ_MUST_USE;

/* nj_arguments_refuse - NJ_E_INPUT with the reason and the usage line */
int nj_arguments_refuse(const struct nj_arguments *args, struct nj_error *err, const char *fmt, ...)
    NJ_PRINTF(3, 4);

/* nj_arguments_number - the option's value as a whole decimal number; NJ_E_INPUT names the option
 * and the range */
int nj_arguments_number(const struct nj_arguments *args, unsigned long min, unsigned long max,
                        unsigned long *ret_number, struct nj_error *err) NJ_MUST_USE;

/* nj_arguments_add - append the option's value to @list, which has room for @max and a NULL behind
 * them; NJ_E_INPUT when there are more */
int nj_arguments_add(const struct nj_arguments *args, const char **list, size_t max,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_command_print - write all of @text to standard output and clear it */
int nj_command_print(struct nj_buf *text, struct nj_error *err) NJ_MUST_USE;

#endif
