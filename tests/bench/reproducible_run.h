/*
 * reproducible_run.h - a workload, and what one run of it left
 *
 * A workload is a bash script; a line "### next call" begins the next call of the same session, in
 * the same box. Lines at its head say what is claimed of it:
 *
 *     # equal: D2               from this level on all runs leave the same ("never": at none)
 *     # times: D3               ... and the same times and order of files; else from there or D2 on
 *     # varies                  another seed and hour must leave something else
 *     # needs: gcc make         programs without which it is skipped
 *
 * Every call must exit with 0: a build that fails is equal to itself, and proves nothing.
 */
#ifndef NJ_BENCH_REPRODUCIBLE_RUN_H
#define NJ_BENCH_REPRODUCIBLE_RUN_H

#include <event2/event.h>

#include "batch/sandbox/objects.h"
#include "batch/sandbox/sandbox.h"

#define CALLS_MAX 8
#define LEVEL_NEVER 99u
#define LEVELS 4
#define SCRIPT_MAX_BYTES (64u << 10)
#define OUTPUT_MAX_BYTES (64u << 10) /* of a stream's head, kept for the first difference */

struct workload {
    char name[64];
    char needs[128];
    char *text; /* the whole script; calls point into it */
    struct nj_span calls[CALLS_MAX];
    size_t n_calls;
    unsigned equal_from;
    unsigned times_from;
    bool varies;
    bool held_out;
};

/* workload_read - false and a line on stderr when the file is none. Pair with workload_done. */
bool workload_read(const char *path, struct workload *ret_workload);
void workload_done(struct workload *workload);

/* workload_missing - the first of its programs that this host lacks, or NULL; in a static buffer */
const char *workload_missing(const struct workload *workload);

/* What a run left. says: exit status, stdout and stderr of every call, at D3 how the two took
 * turns; leaves: names, contents and modes of all files after each; stamps: their times and listing
 * order.
 */
struct mark {
    struct nj_digest says;
    struct nj_digest leaves;
    struct nj_digest stamps;
    bool well;         /* every call exited with 0 */
    char trouble[160]; /* otherwise, which did not */
    unsigned level;    /* the lowest that a call reached */
    char lowered[48];  /* and what lowered it */
    uint32_t figures;  /* of the kernel's own that programs looked at */
    double ms;         /* of all calls together */
};

struct runner {
    struct event_base *base;
    struct nj_sandbox *sandbox;
    struct nj_box *box;
    int waiting;
    const struct nj_box_result *result; /* during run_workload: of the call that has just ended */
};

void runner_start(struct runner *runner);
void runner_stop(struct runner *runner);

/* What is asked of a run. keep, where not NULL, is the beginning of file names: stdout, stderr and
 * lists of the files and of their times go to KEEP.out, KEEP.err, KEEP.tree and KEEP.stamps. */
struct request {
    unsigned level;
    const char *seed; /* any text */
    int64_t later_ns; /* than the hour at which all other runs begin */
    bool evict;       /* each call in a new box, restored from the one before */
    const char *keep;
};

/* run_workload - in a box of its own; ends the program when the sandbox itself fails */
void run_workload(struct runner *runner, const struct workload *workload,
                  const struct request *request, struct mark *ret_mark);

#endif
