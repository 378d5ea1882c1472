/*
 * spawn.c - how long a command takes from its start to its exit
 *
 * usage: spawn ROUNDS COMMAND [ARGUMENT...]
 *
 * Prints the median in milliseconds. Fails when the command does: a refusal is quick, and must not
 * pass for speed.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    size_t rounds;
    double *took;

    if (argc < 3) {
        fprintf(stderr, "usage: spawn ROUNDS COMMAND [ARGUMENT...]\n");
        return 2;
    }
    rounds = strtoul(argv[1], NULL, 10);
    took = calloc(rounds ? rounds : 1, sizeof(*took));
    if (!took || rounds == 0)
        return 2;
    for (size_t i = 0; i < rounds; i++) {
        double begun = now_ms();
        int status;
        pid_t pid;
        int r = posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ);

        if (r != 0) {
            fprintf(stderr, "spawn: %s: %s\n", argv[2], strerror(r));
            return 1;
        }
        if (waitpid(pid, &status, 0) < 0 || status != 0) {
            fprintf(stderr, "spawn: %s failed (status %#x)\n", argv[2], (unsigned)status);
            return 1;
        }
        took[i] = now_ms() - begun;
    }
    qsort(took, rounds, sizeof(*took), by_size);
    printf("%.3f\n", took[rounds / 2]);
    free(took);
    return 0;
}
