/*
 * main.c - nightjar-replay: works on what runs left
 */
#include "replay/cmd.h"

#include "formats/base/banned.h"

int main(int argc, char **argv)
{
    static const struct nj_command *const commands[] = {
        &nj_cmd_show, &nj_cmd_verify, &nj_cmd_ls, &nj_cmd_cat, &nj_cmd_checkout, NULL,
    };

    return nj_command_main(commands, argc, argv);
}
