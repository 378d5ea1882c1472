/*
 * cmd.h - the commands of nightjar-replay: one file a command, one const descriptor
 */
#ifndef NJ_REPLAY_CMD_H
#define NJ_REPLAY_CMD_H

#include "batch/command/command.h"

/* nj_replay_status_of - the exit status that tells of a failure */
int nj_replay_status_of(const struct nj_error *err);

extern const struct nj_command nj_cmd_show;
extern const struct nj_command nj_cmd_verify;
extern const struct nj_command nj_cmd_ls;
extern const struct nj_command nj_cmd_cat;
extern const struct nj_command nj_cmd_checkout;
extern const struct nj_command nj_cmd_fsck;

#endif
