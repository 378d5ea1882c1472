/*
 * main.c - nightjar: runs jobs
 */
#include <stddef.h>

#include "batch/cli/cmd.h"

#include "formats/base/banned.h"

int main(int argc, char **argv)
{
    static const struct nj_command *const commands[] = {
        &nj_cmd_run, &nj_cmd_resume, &nj_cmd_stop, &nj_cmd_check, &nj_cmd_bundle, NULL,
    };

    return nj_command_main("nightjar", commands, argc, argv);
}
