/*
 * cmd.h - the commands of nightjar: one file a command, one const descriptor
 */
#ifndef NJ_CMD_H
#define NJ_CMD_H

#include "formats/base/error.h"

/* Exit statuses (DESIGN section 10). */
enum nj_exit_status {
    NJ_EXIT_OK = 0,
    NJ_EXIT_SOME_FAILED = 1,
    NJ_EXIT_USAGE = 2,
    NJ_EXIT_ENGINE = 3,
    NJ_EXIT_STOPPED = 4,
    NJ_EXIT_ENVIRONMENT = 5,
};

struct nj_command {
    const char *name;
    const char *arguments; /* "JOB [--plan]" */
    const char *summary;   /* one line */
    const char *help;      /* what --help says behind the usage line */

    /* run - argv[0] is the command's name. Returns an exit status, or negative with @err (main
     * tells it). */
    int (*run)(const struct nj_command *command, int argc, char **argv, struct nj_error *err);
};

/* nj_command_usage - NJ_E_INPUT with the reason and the usage line */
int nj_command_usage(const struct nj_command *command, struct nj_error *err, const char *fmt, ...)
    NJ_PRINTF(3, 4);

/* nj_command_main - find the command, run it, report its failure once: all of main() */
int nj_command_main(const char *program, const struct nj_command *const *commands, int argc,
                    char **argv);

extern const struct nj_command nj_cmd_run;
extern const struct nj_command nj_cmd_resume;
extern const struct nj_command nj_cmd_stop;
extern const struct nj_command nj_cmd_check;
extern const struct nj_command nj_cmd_bundle;

#endif
