/*
 * box_parts.c - what of a box's cost its filter and its limits are
 *
 * usage: box_parts ROUNDS COMMAND-LINE
 *
 * From fork to exit, interleaved, in milliseconds: COMMAND-LINE as it is, with the payload's filter
 * loaded before its exec, and in cgroups that are made for it, hold it to a plan's limits and are
 * removed after it. What lies above the first is what each costs. Command lines are cut at blanks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/sandbox/cgroup.h"
#include "batch/sandbox/filter.h"

#include "formats/base/banned.h"

#define ARGS_MAX 256
#define WAYS 3

struct bench {
    char *argv[ARGS_MAX + 1];
    struct nj_filter filter;
    struct nj_cgroups cgroups;
    struct nj_box_plan plan;
    uint64_t next_box;
};

static void die(const char *what, const struct nj_error *err)
{
    fprintf(stderr, "box_parts: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void run(const struct bench *b, const struct nj_filter *filter, struct nj_cgroup *cgroup)
{
    struct nj_error err;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (cgroup && (nj_cgroup_move(cgroup, getpid(), &err) < 0 || nj_cgroup_join(cgroup) < 0))
            _exit(126);
        if (filter && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || nj_filter_install(filter) < 0))
            _exit(126);
        (void)execvp(b->argv[0], b->argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        die("fork", NULL);
    if (status != 0) {
        fprintf(stderr, "box_parts: the command failed\n");
        exit(1);
    }
}

static void run_plain(struct bench *b)
{
    run(b, NULL, NULL);
}

static void run_filtered(struct bench *b)
{
    run(b, &b->filter, NULL);
}

static void run_limited(struct bench *b)
{
    NJ_AUTO(nj_cgroup_close) struct nj_cgroup cgroup = NJ_CGROUP_NOTHING;
    uint64_t box = ++b->next_box;
    struct nj_error err;

    if (nj_cgroup_make(&b->cgroups, box, &b->plan, &cgroup, &err) < 0)
        die("cgroup", &err);
    run(b, NULL, &cgroup);
    if (!nj_cgroup_remove(&b->cgroups, box))
        die("a cgroup is not empty", NULL);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct bench *);
    } ways[WAYS] = {{"the program", run_plain},
                    {"with the filter", run_filtered},
                    {"in cgroups of its own", run_limited}};
    size_t rounds = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, n = 0;
    struct bench b = {.next_box = 0};
    double *took[WAYS];
    struct nj_error err;
    char *part, name[64];

    if (rounds < 3) {
        fprintf(stderr, "usage: box_parts ROUNDS COMMAND-LINE, at least 3 rounds\n");
        return 2;
    }
    while ((part = strsep(&argv[2], " ")) && n < ARGS_MAX) {
        if (*part)
            b.argv[n++] = part;
    }
    nj_box_plan_default(&b.plan);
    (void)snprintf(name, sizeof(name), "bench-parts-%d", getpid());
    nj_cgroups_find(&b.cgroups);
    if (nj_cgroups_begin(&b.cgroups, name, &err) < 0 ||
        nj_filter_build(NJ_FILTER_PAYLOAD, &b.filter, &err) < 0)
        die("start", &err);
    for (size_t i = 0; i < WAYS; i++) {
        took[i] = calloc(rounds, sizeof(double));
        if (!took[i])
            die("memory", NULL);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < WAYS; i++) {
            double begun = now_ms();

            ways[i].run(&b);
            took[i][round] = now_ms() - begun;
        }
    }
    nj_cgroups_end(&b.cgroups);
    nj_filter_done(&b.filter);
    printf("  %-24s %9s %9s %9s\n", "ms", "median", "p10", "p90");
    for (size_t i = 0; i < WAYS; i++) {
        qsort(took[i], rounds, sizeof(double), by_size);
        printf("  %-24s %9.2f %9.2f %9.2f\n", ways[i].name, took[i][rounds / 2],
               took[i][rounds / 10], took[i][rounds - 1 - rounds / 10]);
    }
    return 0;
}
