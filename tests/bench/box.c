/*
 * box.c - what a box costs, beside other ways to start a program confined
 *
 * usage: box ROUNDS COMMAND-LINE [PEER-COMMAND-LINE...]
 *
 * Measured interleaved, one of each a round, in milliseconds: COMMAND-LINE in a box that is open
 * already (warm), in one that is opened for it (first; its end is not waited for, as the engine
 * does not either), in one that was opened ahead while nothing else was to do (ahead), in warm ones
 * with the reproducible layer at each level, and each peer from spawn to exit. Then how many a
 * second, two at a time, and the processor time of each with all that it starts and ends, which
 * says the same on a busy machine as on an idle one: medians of bursts, of which each takes its
 * turn. Command lines are cut at blanks. The cost of a
 * warm call holds the capture of an unchanged workspace; that of a first box the capture of an
 * empty one. A round is long enough for a warm box to prepare its next call, as it does while a
 * model thinks; two at a time there is no such pause, so there it is part of the cost.
 */
#include <errno.h>
#include <event2/event.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/sandbox/sandbox.h"

#include "formats/base/banned.h"

#define ARGS_MAX 256
#define PEERS_MAX 8
#define WORKERS 2
#define BURSTS 5 /* of each, two at a time */
#define OURS 3   /* ways to have a box */
#define PAUSE_MS                                                                                   \
    100 /* of a model that thinks: until a box is opened ahead, and its call prepared */

extern char **environ;

struct bench {
    struct event_base *base;
    struct nj_sandbox *sandbox;
    const char *const *argv;
    struct nj_box *box; /* of the box opened last */
    int waiting;        /* operations under way */
    size_t left;        /* calls of workers still to be begun */
};

static void die(const char *what, const struct nj_error *err)
{
    fprintf(stderr, "box: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* split - @line at blanks; the copy lives as long as the program */
static char **split(const char *line)
{
    char *copy = strdup(line), *at = copy, *part;
    char **argv = calloc(ARGS_MAX + 1, sizeof(*argv));
    size_t n = 0;

    if (!copy || !argv)
        die("memory", NULL);
    while ((part = strsep(&at, " ")) && n < ARGS_MAX) {
        if (*part)
            argv[n++] = part;
    }
    return argv;
}

/* ---- boxes ---- */

/* How calls come to their boxes. */
static const struct way {
    const char *name;
    size_t ahead; /* boxes that are opened ahead */
    bool one_each;
} ways[OURS] = {{"nightjar, warm box", 0, false},
                {"nightjar, first box", 0, true},
                {"nightjar, opened ahead", WORKERS, true}};

static void wait_for_all(struct bench *b)
{
    while (b->waiting > 0) {
        if (event_base_loop(b->base, EVLOOP_ONCE) != 0)
            die("nothing to wait for", NULL);
    }
}

static void opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct bench *b = ctx;

    if (err)
        die("open", err);
    b->box = box;
    b->waiting--;
}

static void called(void *ctx, const struct nj_box_result *result, const struct nj_error *err)
{
    struct bench *b = ctx;

    if (err)
        die("call", err);
    if (result->outcome.exit != NJ_EXIT_EXITED || result->outcome.status != 0) {
        fprintf(stderr,
                "box: the command failed\n"); /* and that is quick, and must not pass for speed */
        exit(1);
    }
    if (result->objects_fd >= 0)
        (void)close(result->objects_fd);
    b->waiting--;
}

static void begin_open(struct bench *b, unsigned level, nj_box_opened then, void *ctx)
{
    struct nj_box_plan plan;
    struct nj_error err;

    nj_box_plan_default(&plan);
    plan.level = level;
    if (nj_box_open(b->sandbox, &plan, then, ctx, &err) < 0)
        die("open", &err);
    b->waiting++;
}

static void begin_call(struct bench *b, struct nj_box *box, nj_box_called then, void *ctx)
{
    const struct nj_box_call call = {.argv = b->argv,
                                     .timeout_ms = 60000,
                                     .runtime_left_ms = 600000,
                                     .runtime_limit_ms = 600000,
                                     .head_max_bytes = NJ_BOX_HEAD_BYTES,
                                     .tail_max_bytes = NJ_BOX_TAIL_BYTES};
    struct nj_error err;

    if (nj_box_call(box, &call, NULL, then, ctx, &err) < 0)
        die("call", &err);
    b->waiting++;
}

static double time_call(struct bench *b, struct nj_box *box)
{
    double begun = now_ms();

    begin_call(b, box, called, b);
    wait_for_all(b);
    return now_ms() - begun;
}

static void stop_loop(evutil_socket_t fd, short what, void *ctx)
{
    struct bench *b = ctx;

    (void)fd;
    (void)what;
    (void)event_base_loopbreak(b->base);
}

/* pause_bench - nothing is asked, and the loop goes on */
static void pause_bench(struct bench *b)
{
    const struct timeval pause = {.tv_usec = PAUSE_MS * 1000};

    if (event_base_once(b->base, -1, EV_TIMEOUT, stop_loop, b, &pause) < 0)
        die("pause", NULL);
    (void)event_base_dispatch(b->base);
}

static double time_first(struct bench *b)
{
    double begun = now_ms(), took;

    begin_open(b, 0, opened, b);
    wait_for_all(b);
    begin_call(b, b->box, called, b);
    wait_for_all(b);
    took = now_ms() - begun;
    nj_box_close(b->box);
    return took;
}

/* One of those that work side by side: one call after the other, in one box or in one each. */
struct worker {
    struct bench *bench;
    struct nj_box *box;
    bool one_each;
};

static void next_call(struct worker *w);

static void worker_called(void *ctx, const struct nj_box_result *result, const struct nj_error *err)
{
    struct worker *w = ctx;

    called(w->bench, result, err);
    if (w->one_each)
        nj_box_close(w->box);
    next_call(w);
}

static void worker_opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct worker *w = ctx;

    opened(w->bench, box, err);
    w->box = box;
    begin_call(w->bench, box, worker_called, w);
}

static void next_call(struct worker *w)
{
    if (w->bench->left == 0)
        return;
    w->bench->left--;
    if (w->one_each)
        begin_open(w->bench, 0, worker_opened, w);
    else
        begin_call(w->bench, w->box, worker_called, w);
}

/* run_workers - returns how many calls a second they make of @n; boxes that are warm are open
 * before */
static double run_workers(struct bench *b, bool one_each, size_t n)
{
    struct worker workers[WORKERS];
    double begun, took;

    for (size_t i = 0; i < WORKERS; i++) {
        if (!one_each) {
            begin_open(b, 0, opened, b);
            wait_for_all(b);
        }
        workers[i] = (struct worker){b, b->box, one_each};
    }
    b->left = n;
    begun = now_ms();
    for (size_t i = 0; i < WORKERS; i++)
        next_call(&workers[i]);
    wait_for_all(b);
    took = now_ms() - begun;
    for (size_t i = 0; i < WORKERS && !one_each; i++)
        nj_box_close(workers[i].box);
    return (double)n * 1e3 / took;
}

static void start(struct bench *b, size_t ahead)
{
    struct nj_error err;

    b->base = event_base_new();
    if (!b->base)
        die("event loop", NULL);
    if (nj_sandbox_start("bench", &b->sandbox, &err) < 0 ||
        nj_sandbox_attach(b->sandbox, b->base, &err) < 0)
        die("start", &err);
    nj_sandbox_ahead(b->sandbox, ahead);
}

static void stop(struct bench *b)
{
    nj_sandbox_free(b->sandbox); /* waits for the helper, and so for all that it waited for */
    event_base_free(b->base);
}

/* ---- peers ---- */

static pid_t spawn(char **argv)
{
    pid_t pid;
    int r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

    if (r != 0) {
        errno = r;
        die(argv[0], NULL);
    }
    return pid;
}

/* await_any - there is no other child */
static void await_any(const char *name)
{
    int status;

    if (wait(&status) < 0 || status != 0) {
        fprintf(stderr, "box: %s failed (status %#x)\n", name, (unsigned)status);
        exit(1);
    }
}

static double time_peer(char **argv)
{
    double begun = now_ms();
    int status;
    pid_t pid = spawn(argv);

    if (waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "box: %s failed (status %#x)\n", argv[0], (unsigned)status);
        exit(1);
    }
    return now_ms() - begun;
}

/* run_peers - as run_workers() */
static double run_peers(char **argv, size_t n)
{
    double begun = now_ms();

    for (size_t i = 0; i < n; i++) {
        if (i >= WORKERS)
            await_any(argv[0]);
        (void)spawn(argv);
    }
    for (size_t i = 0; i < WORKERS; i++)
        await_any(argv[0]);
    return (double)n * 1e3 / (now_ms() - begun);
}

/* ---- figures ---- */

static double *times_of(size_t rounds)
{
    double *times = calloc(rounds, sizeof(*times));

    if (!times)
        die("memory", NULL);
    return times;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* print - @ours: medians that a peer's is divided by, NULL for ours */
static double print(const char *name, double *took, size_t n, const double *ours)
{
    double median;

    qsort(took, n, sizeof(*took), by_size);
    median = took[n / 2];
    printf("  %-24s %9.2f %9.2f %9.2f", name, median, took[n / 10], took[n - 1 - n / 10]);
    for (size_t i = 0; ours && i < OURS; i++)
        printf(" %11.2f", median / ours[i]);
    printf("\n");
    return median;
}

/* What two at a time cost: how many a second, and the processor's milliseconds of one. */
struct cost {
    double rate[BURSTS];
    double cpu_ms[BURSTS];
};

static double children_ms(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static void burst_of_boxes(const char *const *argv, const struct way *way, size_t n,
                           struct cost *cost, size_t at)
{
    double cpu = children_ms();
    struct bench b = {.argv = argv};

    start(&b, way->ahead);
    cost->rate[at] = run_workers(&b, way->one_each, n);
    stop(&b);
    cost->cpu_ms[at] = (children_ms() - cpu) / (double)n;
}

static void burst_of_peer(char **argv, size_t n, struct cost *cost, size_t at)
{
    double cpu = children_ms();

    cost->rate[at] = run_peers(argv, n);
    cost->cpu_ms[at] = (children_ms() - cpu) / (double)n;
}

static double median_of(double *figures)
{
    qsort(figures, BURSTS, sizeof(*figures), by_size);
    return figures[BURSTS / 2];
}

static void print_costs(const char *const *argv, char **const *peers, size_t n_peers, size_t n)
{
    struct cost ours[OURS], theirs[PEERS_MAX];
    double rate[OURS], cpu_ms[OURS];

    for (size_t i = 0; i < BURSTS; i++) {
        for (size_t j = 0; j < OURS; j++)
            burst_of_boxes(argv, &ways[j], n, &ours[j], i);
        for (size_t j = 0; j < n_peers; j++)
            burst_of_peer(peers[j], n, &theirs[j], i);
    }
    printf("  %-24s %9s %9s %11s %11s %11s %11s\n", "two at a time", "a second", "CPU ms",
           "warm/peer", "first/peer", "CPU peer/w", "CPU peer/f");
    for (size_t j = 0; j < OURS; j++) {
        rate[j] = median_of(ours[j].rate);
        cpu_ms[j] = median_of(ours[j].cpu_ms);
        printf("  %-24s %9.1f %9.2f\n", ways[j].name, rate[j], cpu_ms[j]);
    }
    for (size_t j = 0; j < n_peers; j++) {
        double peer_rate = median_of(theirs[j].rate), peer_cpu_ms = median_of(theirs[j].cpu_ms);

        printf("  %-24s %9.1f %9.2f %11.2f %11.2f %11.2f %11.2f\n", peers[j][0], peer_rate,
               peer_cpu_ms, rate[0] / peer_rate, rate[1] / peer_rate, peer_cpu_ms / cpu_ms[0],
               peer_cpu_ms / cpu_ms[1]);
    }
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    size_t n_peers = argc > 3 ? (size_t)argc - 3 : 0;
    double *took[OURS + PEERS_MAX], ours[OURS];
    char **peers[PEERS_MAX];
    double *layered[NJ_LEVEL_MAX];
    struct bench b = {0}, ahead;
    struct nj_box *boxes[NJ_LEVEL_MAX + 1];
    char name[32];

    if (rounds < 3 || n_peers > PEERS_MAX) {
        fprintf(stderr,
                "usage: box ROUNDS COMMAND-LINE [PEER-COMMAND-LINE...], at least 3 rounds\n");
        return 2;
    }
    b.argv = (const char *const *)split(argv[2]);
    for (size_t i = 0; i < n_peers; i++)
        peers[i] = split(argv[3 + i]);
    for (size_t i = 0; i < OURS + n_peers; i++)
        took[i] = times_of(rounds);
    for (unsigned level = 1; level <= NJ_LEVEL_MAX; level++)
        layered[level - 1] = times_of(rounds);
    ahead = b;
    start(&b, 0);
    start(&ahead, 1);
    for (unsigned level = 0; level <= NJ_LEVEL_MAX; level++) {
        begin_open(&b, level, opened, &b);
        wait_for_all(&b);
        boxes[level] = b.box;
    }
    (void)time_first(&ahead);
    for (size_t i = 0; i < rounds; i++) {
        took[0][i] = time_call(&b, boxes[0]);
        took[1][i] = time_first(&b);
        for (unsigned level = 1; level <= NJ_LEVEL_MAX; level++)
            layered[level - 1][i] = time_call(&b, boxes[level]);
        for (size_t j = 0; j < n_peers; j++)
            took[OURS + j][i] = time_peer(peers[j]);
        pause_bench(&ahead);
        took[2][i] = time_first(&ahead);
        pause_bench(&ahead); /* the next one is opened meanwhile, beside nothing that is measured */
    }
    for (unsigned level = 0; level <= NJ_LEVEL_MAX; level++)
        nj_box_close(boxes[level]);
    stop(&ahead);
    stop(&b);
    printf("  %-24s %9s %9s %9s %11s %11s %11s\n", "ms", "median", "p10", "p90", "peer/warm",
           "peer/first", "peer/ahead");
    for (size_t i = 0; i < OURS; i++)
        ours[i] = print(ways[i].name, took[i], rounds, NULL);
    for (size_t i = 0; i < n_peers; i++)
        (void)print(peers[i][0], took[OURS + i], rounds, ours);
    for (unsigned level = 1; level <= NJ_LEVEL_MAX; level++) {
        (void)snprintf(name, sizeof(name), "nightjar, warm box, D%u", level);
        (void)print(name, layered[level - 1], rounds, NULL);
    }
    print_costs(b.argv, peers, n_peers, 2 * rounds);
    return 0;
}
