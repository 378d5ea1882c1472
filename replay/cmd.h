/*
 * cmd.h - the commands of nightjar-replay: one file a command, one const descriptor
 */
#ifndef NJ_REPLAY_CMD_H
#define NJ_REPLAY_CMD_H

#include "formats/base/buf.h"

/* Exit statuses (DESIGN section 10). */
enum nj_replay_status {
    NJ_REPLAY_OK = 0,
    NJ_REPLAY_DIVERGED = 1,    /* a replay differs; or the path that was asked for is not there */
    NJ_REPLAY_USAGE = 2,       /* wrong words, or a record that is refused */
    NJ_REPLAY_ENGINE = 3,      /* this program or this host failed */
    NJ_REPLAY_STOPPED = 4,     /* by a signal */
    NJ_REPLAY_ENVIRONMENT = 5, /* the environment differs, so a difference cannot be judged */
};

struct nj_command {
    const char *name;
    const char *arguments; /* "B[@N] [--json]" */
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
int nj_command_main(const struct nj_command *const *commands, int argc, char **argv);

/* nj_replay_status_of - the exit status that tells of a failure */
enum nj_replay_status nj_replay_status_of(const struct nj_error *err);

/* nj_command_print - write all of @text to standard output and clear it */
int nj_command_print(struct nj_buf *text, struct nj_error *err) NJ_MUST_USE;

extern const struct nj_command nj_cmd_show;
extern const struct nj_command nj_cmd_verify;
extern const struct nj_command nj_cmd_ls;
extern const struct nj_command nj_cmd_cat;
extern const struct nj_command nj_cmd_checkout;

#endif
