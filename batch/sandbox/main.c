/*
 * main.c - the program nj-sandbox: the helper, and what it forks for each box
 *
 * A program of its own, as each box is a copy of it: what the engine is linked with and holds in
 * its memory would be copied for every box and never used, by the processes with the most rights.
 * The engine starts it (helper_start.c), with the socket to it as descriptor NJ_HELPER_FD.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "batch/sandbox/helper.h"

#include "formats/base/banned.h"

static bool is_socket(int fd)
{
    socklen_t len = sizeof(int);
    int type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

int main(int argc, char **argv)
{
    if (argc != 3 || !is_socket(NJ_HELPER_FD)) {
        fprintf(stderr, "nj-sandbox: nightjar starts this program, which builds its boxes; by "
                        "itself it does nothing\n");
        return 2;
    }
    nj_helper_run(NJ_HELPER_FD, argv[1], argv[2]);
}
