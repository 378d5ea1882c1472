/*
 * watch.c - what the engine looks at once a second: the disk, memory, the journal, failures, those
 * who may begin again
 *
 * Each of these stops or holds the run before something worse does. The one complication is the
 * disk: what runs goes on and may fill it further, so the mark has to leave room for that; and when
 * nothing runs any more, the run waits for whoever makes room.
 */
#include "batch/engine/live.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <time.h>

#include "batch/engine/start.h"
#include "batch/engine/thinning.h"
#include "formats/base/fsio.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

#define MEMORY_LOW_BYTES (UINT64_C(512) << 20)
/* A quarter of memory is left to others, and to what boxes grow by within a second. */
#define WARM_MEMORY_PART 4

/* Whether more sessions failed than the job allows. Those before a stop for this very reason do not
 * count again: whoever goes on knows of them. */
bool nj_engine_too_many_failed(const struct nj_engine *engine)
{
    const struct nj_manifest_limits *limits = &engine->manifest->limits;
    uint64_t failures = engine->failures - engine->forgiven;

    if (limits->fail_over_count != NJ_MANIFEST_NO_COUNT)
        return failures > limits->fail_over_count;
    return failures * 1000000 > (uint64_t)limits->fail_over_ppm * engine->plan->n_sessions;
}

static void watch_disk(struct nj_engine *engine)
{
    uint64_t mark_mb = engine->manifest->limits.disk_free_mb;
    struct statvfs disk;
    uint64_t free_mb;
    bool low;

    if (mark_mb == 0 || fstatvfs(engine->dir.fd, &disk) < 0)
        return;
    free_mb = (uint64_t)disk.f_bavail * disk.f_frsize >> 20;
    low = free_mb < mark_mb;
    if (low == engine->disk_low)
        return;
    engine->disk_low = low;
    if (low && !engine->disk_told)
        nj_log(NJ_LOG_WARN,
               "%s: only %llu MB are free, below limits.disk_free_mb (%llu): no session begins "
               "until there is room; those that run go on",
               engine->dir.path, (unsigned long long)free_mb, (unsigned long long)mark_mb);
    else if (!low && !engine->options->quiet)
        nj_log(NJ_LOG_INFO, "%s: %llu MB are free again: sessions begin", engine->dir.path,
               (unsigned long long)free_mb);
    engine->disk_told = true;
}

/* Boxes opened ahead are a help, and the first to go; then those of sessions that wait go, down to
 * what calls that follow one another need. */
static void watch_memory(struct nj_engine *engine)
{
    struct nj_sandbox_memory memory;
    struct nj_error ignored;

    if (!engine->sandbox || nj_sandbox_memory(engine->sandbox, &memory, &ignored) < 0)
        return;
    engine->memory_low = memory.available_bytes < MEMORY_LOW_BYTES;
    engine->warm_max = memory.available_bytes < memory.total_bytes / WARM_MEMORY_PART
                           ? engine->warm_least
                           : engine->warm_most;
    nj_live_fit_warm(engine);
    nj_live_keep_ahead(engine);
}

/* By the wall clock, which may be set while the run is on: it is the hour that was asked for. */
static void watch_deadline(struct nj_engine *engine)
{
    if (engine->deadline_s == 0 || engine->stopping || time(NULL) < engine->deadline_s)
        return;
    nj_log(NJ_LOG_WARN,
           "it is %s (limits.deadline): suspending; calls under way may end (%d s at "
           "most)",
           engine->manifest->limits.deadline, NJ_STOP_GRACE_S);
    nj_engine_suspend(engine, "deadline");
}

void nj_engine_watch(struct nj_engine *engine)
{
    watch_deadline(engine);
    watch_disk(engine);
    watch_memory(engine);
    nj_thinning_look(engine);
    nj_engine_post_state(engine);
    if (!engine->stopping)
        nj_engine_reschedule(engine);
}
