/*
 * cmd_gc.c - nightjar gc
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "batch/cli/cmd.h"
#include "batch/run/gc.h"

#include "formats/base/banned.h"

enum { OPT_KEEP = 1, OPT_DRY_RUN, OPT_UNFINISHED };

struct sum {
    uint64_t runs;
    uint64_t bytes;
};

static void tell(void *ctx, const struct nj_gc_removed *removed)
{
    struct sum *sum = ctx;
    time_t ended = (time_t)removed->ended_s;
    char stamp[32] = "?";
    struct tm tm;

    if (gmtime_r(&ended, &tm))
        (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%s\t%s\t%s\t%" PRIu64 "\n", removed->name, removed->state, stamp, removed->bytes);
    sum->runs++;
    sum->bytes += removed->bytes;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    struct nj_gc_options options = {.keep_seconds = -1};
    struct sum sum = {0};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_DRY_RUN)
            options.dry_run = true;
        else if (r == OPT_UNFINISHED)
            options.unfinished = true;
        else if (r == OPT_KEEP && (options.keep_seconds = nj_gc_duration(args->value)) < 0)
            return nj_arguments_refuse(args, err, "--keep %s: a time like 30d or 12h is expected",
                                       args->value);
    }
    if (r < 0)
        return r;
    r = nj_gc(args->operands[0] ? args->operands[0] : "runs", &options, tell, &sum, err);
    fprintf(stderr, "%" PRIu64 " runs %s, %.1f MB\n", sum.runs,
            options.dry_run ? "would be removed" : "removed", (double)sum.bytes / 1e6);
    return r < 0 ? r : NJ_EXIT_OK;
}

const struct nj_command nj_cmd_gc = {
    .name = "gc",
    .summary = "remove runs that ended long ago",
    .help = "Removes each run in the folder RUNS-DIR (default: runs) whose end lies further back "
            "than --keep says or, without it, than its own job says (archive.retain; without that "
            "a run is kept for ever). Runs that an engine works on stay. So do those that were "
            "suspended or whose engine died, because they can be gone on with; --unfinished "
            "removes them too. For each removed run one line is printed: name, state, end, bytes, "
            "divided by tabs.",
    .operands =
        (const struct nj_operand[]){
            {.name = "RUNS-DIR", .takes = NJ_TAKES_FOLDER, .optional = true}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_KEEP, "keep", .value = "TIME", .help = "how long runs are kept: 30d, 12h, 2w"},
            {OPT_UNFINISHED, "unfinished", .help = "suspended and died runs, too"},
            {OPT_DRY_RUN, "dry-run", .help = "only tell what would be removed"},
            {0},
        },
    .see = "nightjar-run(1)",
    .run = run,
};
