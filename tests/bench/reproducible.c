/*
 * reproducible.c - how many of N runs of the same code leave the same bytes, per level
 *
 * usage: reproducible [--runs N] [--levels D0,D1,D2,D3] [--load quiet|loaded|both|elsewhere|all]
 *                     [--evict] [--keep DIR] [--tsv FILE] WORKLOAD...
 *
 * Each workload (reproducible_run.h) runs N times at each level, each time in a box of its own with
 * the same seed and the same clock, quiet and while every processor is busy; the runs of the levels
 * are interleaved. "elsewhere" is what a verification is: after the first, each run is another
 * process's, an ordinary user's where we are root, on one processor of its own in turn, with cold
 * caches where we may empty them, and each call in a box restored from the last. Equal is the
 * largest group of runs that left the same: first exit status, stdout and stderr, then the files
 * (names, contents, modes), then their times and order.
 *
 * It fails (1) when a call does not exit with 0, when runs differ at a level at which the workload
 * claims that they do not (in times and order of files, too, from the level that it names for
 * them), or when another seed and hour leave the same where they must not. What a level costs is
 * the median of its times in quiet beside that of D0; both are in the same run, so only the ratio
 * means something.
 */
#include <getopt.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/bench/reproducible_run.h"

#include "formats/base/banned.h"

#define WORKLOADS_MAX 128
#define RUNS_MAX 100
#define BUSY_MAX 64

enum { QUIET, LOADED, ELSEWHERE, LOADS };
static const char *const load_names[LOADS] = {"quiet", "loaded", "elsewhere"};

/* Workloads at one level under one load, of the whole bench. */
struct tally {
    size_t workloads;
    size_t says, leaves, stamps;     /* equal in all runs */
    size_t claims, kept;             /* equal output, status and files are claimed, and so */
    size_t times_claims, times_kept; /* likewise equal times and order of files */
    size_t lowered;                  /* some run did not reach the level */
    char *odd;                       /* which were unequal in output, status or files */
};

/* One workload at one level under one load. */
struct cell {
    struct mark marks[RUNS_MAX];
    size_t n;
    struct mark *odd; /* the first that differs from marks[0], or NULL */
};

struct bench {
    struct runner runner;
    struct workload workloads[WORKLOADS_MAX];
    size_t n_workloads;
    size_t runs;
    bool levels[LEVELS];
    bool loads[LOADS];
    bool evict;
    const char *keep;
    FILE *tsv;
    struct cell *cells; /* of the workload under way: [load][level] */
    pid_t busy[BUSY_MAX];
    size_t n_busy;
    double costs[LEVELS][WORKLOADS_MAX]; /* ratios to D0 */
    size_t n_costs[LEVELS];
    struct tally tallies[LOADS * LEVELS];
    const char *dearest[LEVELS];
    double dearest_ratio[LEVELS];
    FILE *told; /* failures: printed below the table's row that they belong to */
    char *told_text;
    size_t told_bytes;
    size_t failures;
    size_t skipped;
};

/* ---- load ---- */

/* be_busy - compute, walk through memory, and sleep a moment now and then, so that this processor
 * is always wanted and the times at which others get it are never the same */
static void be_busy(unsigned seed)
{
    static uint8_t memory[4u << 20];
    struct timespec pause = {0};

    for (;;) {
        for (unsigned i = 0; i < 20; i++) {
            seed = seed * 1103515245u + 12345u;
            for (size_t j = seed % 64; j < sizeof(memory); j += 64)
                memory[j]++;
        }
        if (seed % 8 == 0) {
            pause.tv_nsec = (long)(seed >> 8) % 1000000;
            (void)nanosleep(&pause, NULL);
        }
    }
}

static void start_load(struct bench *b)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    for (b->n_busy = 0; b->n_busy < BUSY_MAX && (long)b->n_busy < n; b->n_busy++) {
        pid_t pid = fork();

        if (pid == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)setpriority(PRIO_PROCESS, 0, 5);
            be_busy((unsigned)getpid());
        }
        b->busy[b->n_busy] = pid;
    }
}

static void stop_load(struct bench *b)
{
    for (size_t i = 0; i < b->n_busy; i++) {
        if (b->busy[i] > 0 && kill(b->busy[i], SIGKILL) == 0)
            (void)waitpid(b->busy[i], NULL, 0);
    }
    b->n_busy = 0;
}

/* ---- elsewhere ---- */

/* empty_caches - of all files; only root may, else they stay warm */
static void empty_caches(void)
{
    FILE *file = fopen("/proc/sys/vm/drop_caches", "we");

    sync();
    if (!file)
        return;
    (void)fputs("3\n", file);
    (void)fclose(file);
}

/* be_another - an ordinary user where we are root, on processor @number of those that we may use */
static void be_another(size_t number)
{
    cpu_set_t ours, one;
    size_t skip;

    if (sched_getaffinity(0, sizeof(ours), &ours) == 0) {
        skip = number % (size_t)CPU_COUNT(&ours);
        CPU_ZERO(&one);
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &ours) && skip-- == 0) {
                CPU_SET(cpu, &one);
                break;
            }
        }
        (void)sched_setaffinity(0, sizeof(one), &one);
    }
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                           setresuid(65534, 65534, 65534) < 0))
        _exit(3);
}

/* run_elsewhere - as run_workload(), in a process that shares nothing with this one */
static void run_elsewhere(const struct workload *w, struct request *request, size_t number,
                          struct mark *mark)
{
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    request->evict = true;
    request->keep = NULL; /* the folder is another user's */
    empty_caches();
    if (pipe(ends) < 0 || (pid = fork()) < 0) {
        fprintf(stderr, "reproducible: %m\n");
        exit(3);
    }
    if (pid == 0) {
        struct runner runner;

        be_another(number);
        runner_start(&runner);
        run_workload(&runner, w, request, mark);
        runner_stop(&runner);
        _exit(write(ends[1], mark, sizeof(*mark)) == sizeof(*mark) ? 0 : 3);
    }
    (void)close(ends[1]);
    n = read(ends[0], mark, sizeof(*mark)); /* less than a pipe takes at once */
    (void)close(ends[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0 || n != sizeof(*mark)) {
        fprintf(stderr, "reproducible: %s: the run elsewhere ended early\n", w->name);
        exit(3);
    }
}

/* ---- comparison ---- */

/* equal - size of the largest group of runs whose digest at @offset of the mark is the same */
static size_t equal(const struct cell *cell, size_t offset)
{
    size_t most = 0;

    for (size_t i = 0; i < cell->n; i++) {
        size_t same = 0;

        for (size_t j = 0; j < cell->n; j++)
            same += memcmp((const char *)&cell->marks[i] + offset,
                           (const char *)&cell->marks[j] + offset, NJ_DIGEST_BYTES) == 0;
        most = same > most ? same : most;
    }
    return most;
}

static bool alike(const struct mark *a, const struct mark *b)
{
    return nj_digest_equal(&a->says, &b->says) && nj_digest_equal(&a->leaves, &b->leaves);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_size);
    return n > 0 ? values[n / 2] : 0;
}

static double median_ms(const struct cell *cell)
{
    double times[RUNS_MAX];

    for (size_t i = 0; i < cell->n; i++)
        times[i] = cell->marks[i].ms;
    return median(times, cell->n);
}

static void fail(struct bench *b, const struct workload *w, unsigned level, const char *load,
                 const char *why)
{
    fprintf(b->told, "  not ok %s at D%u, %s: %s\n", w->name, level, load, why);
    b->failures++;
}

/* ---- runs ---- */

static void run_once(struct bench *b, const struct workload *w, unsigned level, unsigned load)
{
    struct cell *cell = &b->cells[load * LEVELS + level];
    struct request request = {.level = level, .seed = w->name, .evict = b->evict};
    struct mark *mark = &cell->marks[cell->n];
    char keep[512];

    if (b->keep) {
        snprintf(keep, sizeof(keep), "%s/%s.D%u.%s.%s", b->keep, w->name, level, load_names[load],
                 cell->n == 0 ? "first" : "last");
        /* Once a run differed its files stay, beside the first's. */
        request.keep = cell->odd ? NULL : keep;
    }
    if (load == ELSEWHERE && cell->n > 0)
        run_elsewhere(w, &request, cell->n, mark);
    else
        run_workload(&b->runner, w, &request, mark);
    cell->n++;
    if (!cell->odd &&
        (!alike(mark, &cell->marks[0]) ||
         (level >= w->times_from && !nj_digest_equal(&mark->stamps, &cell->marks[0].stamps))))
        cell->odd = mark;
}

/* count - the cell among all others; @equal: of says, leaves and stamps, of @n runs */
static void count(struct tally *tally, const struct workload *w, unsigned level, size_t n,
                  const size_t equal[3], unsigned reached)
{
    bool same = equal[0] == n && equal[1] == n, claims = level >= w->equal_from;

    tally->workloads++;
    tally->says += equal[0] == n;
    tally->leaves += equal[1] == n;
    tally->stamps += equal[2] == n;
    tally->lowered += reached < level;
    tally->claims += claims;
    tally->kept += claims && same;
    tally->times_claims += level >= w->times_from;
    tally->times_kept += level >= w->times_from && equal[2] == n;
    if (!same) {
        char *longer = NULL;

        if (asprintf(&longer, "%s%s%s %zu/%zu", tally->odd ? tally->odd : "",
                     tally->odd ? ", " : "", w->name, equal[0], equal[1]) >= 0) {
            free(tally->odd);
            tally->odd = longer;
        }
    }
}

/* judge - a line of the table's for the cell, and whether what the workload claims is so */
static void judge(struct bench *b, const struct workload *w, unsigned level, unsigned load)
{
    const struct cell *cell = &b->cells[load * LEVELS + level];
    size_t says = equal(cell, offsetof(struct mark, says));
    size_t leaves = equal(cell, offsetof(struct mark, leaves));
    size_t stamps = equal(cell, offsetof(struct mark, stamps));
    unsigned reached = level;
    const char *lowered = "";
    char names[NJ_FIGURES_TEXT_BYTES];
    char why[256];

    for (size_t i = 0; i < cell->n; i++) {
        const struct mark *mark = &cell->marks[i];

        if (!mark->well) {
            fail(b, w, level, load_names[load], mark->trouble);
            break;
        }
    }
    for (size_t i = 0; i < cell->n; i++) {
        if (cell->marks[i].level < reached) {
            reached = cell->marks[i].level;
            lowered = cell->marks[i].lowered;
        }
    }
    if ((level >= w->equal_from && (says < cell->n || leaves < cell->n)) ||
        (level >= w->times_from && stamps < cell->n)) {
        snprintf(why, sizeof(why),
                 "%zu runs: stdout and status equal in %zu, files in %zu, their times in %zu%s%s",
                 cell->n, says, leaves, stamps, *lowered ? "; " : "", lowered);
        fail(b, w, level, load_names[load], why);
    }
    count(&b->tallies[load * LEVELS + level], w, level, cell->n,
          (const size_t[]){says, leaves, stamps}, reached);
    if (b->tsv)
        fprintf(b->tsv, "%s\t%d\tD%u\t%s\t%zu\t%zu\t%zu\t%zu\tD%u\t%s\t%.2f\n", w->name,
                w->held_out, level, load_names[load], cell->n, says, leaves, stamps, reached,
                lowered, median_ms(cell));
    printf("  %3zu/%-3zu/%-3zu", says, leaves, stamps);
    if (reached < level)
        printf(" (D%u: %s)", reached, lowered);
    nj_figures_text(cell->marks[0].figures, names);
    if (names[0])
        printf(" (/proc: %s)", names);
}

/* vary - another seed and hour must show, or what is equal is only constant */
static void vary(struct bench *b, const struct workload *w, unsigned level)
{
    const struct request request = {
        .level = level, .seed = "another seed", .later_ns = INT64_C(98765432123456789)};
    const struct cell *cell = &b->cells[QUIET * LEVELS + level];
    struct mark mark;

    for (unsigned load = LOADED; cell->n == 0; load++)
        cell = &b->cells[load * LEVELS + level];
    run_workload(&b->runner, w, &request, &mark);
    if (alike(&mark, &cell->marks[0]))
        fail(b, w, level, "another seed",
             "leaves the same as the first, so something else decides");
}

static void count_cost(struct bench *b, const struct workload *w, unsigned level)
{
    const struct cell *base = &b->cells[QUIET * LEVELS];
    const struct cell *cell = &b->cells[QUIET * LEVELS + level];
    double ratio;

    if (level == 0 || base->n == 0 || cell->n == 0)
        return;
    ratio = median_ms(cell) / median_ms(base);
    printf(" %5.2f", ratio);
    if (ratio > b->dearest_ratio[level]) {
        b->dearest_ratio[level] = ratio;
        b->dearest[level] = w->name;
    }
    b->costs[level][b->n_costs[level]++] = ratio;
}

static void tell_failures(struct bench *b)
{
    (void)fflush(b->told);
    (void)fwrite(b->told_text, 1, b->told_bytes, stdout);
    (void)fflush(stdout);
    rewind(b->told);
}

static const char *level_text(unsigned level)
{
    static const char *const texts[LEVELS] = {"D0", "D1", "D2", "D3"};

    return level < LEVELS ? texts[level] : "--";
}

static void run_one(struct bench *b, const struct workload *w)
{
    const char *missing = workload_missing(w);

    if (missing) {
        printf("%-24s skipped: no %s\n", w->name, missing);
        b->skipped++;
        return;
    }
    for (size_t i = 0; i < LOADS * LEVELS; i++) {
        b->cells[i].n = 0;
        b->cells[i].odd = NULL;
    }
    for (unsigned load = 0; load < LOADS; load++) {
        if (!b->loads[load])
            continue;
        if (load == LOADED)
            start_load(b);
        for (size_t run = 0; run < b->runs; run++) {
            for (unsigned level = 0; level < LEVELS; level++) {
                if (b->levels[level])
                    run_once(b, w, level, load);
            }
        }
        stop_load(b);
    }
    printf("%-24s%c %s %s", w->name, w->held_out ? '*' : ' ', level_text(w->equal_from),
           level_text(w->times_from));
    for (unsigned level = 0; level < LEVELS; level++) {
        if (b->levels[level]) {
            printf("  |");
            count_cost(b, w, level);
            for (unsigned load = 0; load < LOADS; load++) {
                if (b->loads[load])
                    judge(b, w, level, load);
            }
        }
    }
    printf("\n");
    for (unsigned level = 1; level < LEVELS; level++) {
        if (b->levels[level] && w->varies && level >= w->equal_from)
            vary(b, w, level);
    }
    tell_failures(b);
}

/* ---- the whole ---- */

static void print_head(const struct bench *b)
{
    printf("%-24s%6s", "equal of", "");
    for (unsigned level = 0; level < LEVELS; level++) {
        if (!b->levels[level])
            continue;
        printf("  | D%u", level);
        for (unsigned load = 0; load < LOADS; load++) {
            if (b->loads[load])
                printf(" %s %zu", load_names[load], b->runs);
        }
    }
    printf("\n(stdout+status / files / their times and order; * held out; then the level from "
           "which on equality is claimed, and that of times and order; ratio of time to D0)\n");
}

static void print_costs(struct bench *b)
{
    for (unsigned level = 1; level < LEVELS; level++) {
        if (b->n_costs[level] > 0)
            printf("D%u costs %.2f times D0 (median of %zu workloads; most: %.2f, %s)\n", level,
                   median(b->costs[level], b->n_costs[level]), b->n_costs[level],
                   b->dearest_ratio[level], b->dearest[level]);
    }
}

/* print_tallies - a line or two a level and load: what a note can take over as it is */
static void print_tallies(struct bench *b)
{
    for (unsigned level = 0; level < LEVELS; level++) {
        for (unsigned load = 0; load < LOADS; load++) {
            struct tally *t = &b->tallies[load * LEVELS + level];

            if (t->workloads == 0)
                continue;
            printf("D%u %s, %zu runs: of %zu workloads %zu equal in output and status, %zu in "
                   "files, %zu in times and order; of %zu that claim it %zu kept (times: of %zu "
                   "%zu); %zu lowered\n",
                   level, load_names[load], b->runs, t->workloads, t->says, t->leaves, t->stamps,
                   t->claims, t->kept, t->times_claims, t->times_kept, t->lowered);
            if (t->odd)
                printf("  unequal in output, status or files: %s\n", t->odd);
            free(t->odd);
        }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: reproducible [--runs N] [--levels D0,D1,D2,D3]\n"
                    "                    [--load quiet|loaded|both|elsewhere|all] [--evict]\n"
                    "                    [--keep DIR] [--tsv FILE] WORKLOAD...\n");
    return 2;
}

static bool read_levels(struct bench *b, const char *text)
{
    memset(b->levels, 0, sizeof(b->levels));
    for (;; text += 3) {
        if (text[0] != 'D' || text[1] < '0' || text[1] >= '0' + LEVELS)
            return false;
        b->levels[text[1] - '0'] = true;
        if (text[2] != ',')
            return text[2] == '\0';
    }
}

static bool read_loads(struct bench *b, const char *text)
{
    bool any = false;

    for (unsigned load = 0; load < LOADS; load++) {
        b->loads[load] = strcmp(text, load_names[load]) == 0 || strcmp(text, "all") == 0 ||
                         (strcmp(text, "both") == 0 && load != ELSEWHERE);
        any |= b->loads[load];
    }
    return any;
}

static bool read_option(struct bench *b, int option)
{
    switch (option) {
    case 'r':
        b->runs = strtoul(optarg, NULL, 10);
        return b->runs >= 2 && b->runs <= RUNS_MAX;
    case 'l':
        return read_levels(b, optarg);
    case 'b':
        return read_loads(b, optarg);
    case 'e':
        b->evict = true;
        return true;
    case 'k':
        b->keep = optarg;
        return mkdir(optarg, 0700) == 0 || errno == EEXIST;
    case 't':
        b->tsv = fopen(optarg, "we");
        return b->tsv != NULL;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"runs", required_argument, NULL, 'r'},
                                            {"levels", required_argument, NULL, 'l'},
                                            {"load", required_argument, NULL, 'b'},
                                            {"evict", no_argument, NULL, 'e'},
                                            {"keep", required_argument, NULL, 'k'},
                                            {"tsv", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    static struct bench b = {.runs = 20, .levels = {true, true, true, true}, .loads = {true, true}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!read_option(&b, option))
            return usage();
    }
    if (optind == argc || argc - optind > WORKLOADS_MAX)
        return usage();
    for (int i = optind; i < argc; i++) {
        if (!workload_read(argv[i], &b.workloads[b.n_workloads]))
            return 2;
        b.n_workloads++;
    }
    b.cells = calloc(LOADS * LEVELS, sizeof(*b.cells));
    b.told = open_memstream(&b.told_text, &b.told_bytes);
    if (!b.cells || !b.told) {
        fprintf(stderr, "reproducible: no memory\n");
        return 3;
    }
    runner_start(&b.runner);
    print_head(&b);
    for (size_t i = 0; i < b.n_workloads; i++)
        run_one(&b, &b.workloads[i]);
    runner_stop(&b.runner);
    print_tallies(&b);
    print_costs(&b);
    printf("%zu workloads, %zu skipped, %zu failures\n", b.n_workloads, b.skipped, b.failures);
    for (size_t i = 0; i < b.n_workloads; i++)
        workload_done(&b.workloads[i]);
    (void)fclose(b.told);
    free(b.told_text);
    free(b.cells);
    if (b.tsv)
        (void)fclose(b.tsv);
    return b.failures > 0 ? 1 : 0;
}
