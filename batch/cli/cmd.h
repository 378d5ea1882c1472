/*
 * cmd.h - the commands of nightjar: one file a command, one const descriptor
 */
#ifndef NJ_CMD_H
#define NJ_CMD_H

#include "batch/command/command.h"

extern const struct nj_command nj_cmd_run;
extern const struct nj_command nj_cmd_resume;
extern const struct nj_command nj_cmd_stop;
extern const struct nj_command nj_cmd_gc;
extern const struct nj_command nj_cmd_status;
extern const struct nj_command nj_cmd_report;
extern const struct nj_command nj_cmd_plan;
extern const struct nj_command nj_cmd_check;
extern const struct nj_command nj_cmd_bundle;
extern const struct nj_command nj_cmd_doctor;

#endif
