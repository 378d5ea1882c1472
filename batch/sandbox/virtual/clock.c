/*
 * clock.c - the virtual clock, and the calls that ask for it without the vDSO
 *
 * One number in a page shared with all programs of the call: the virtual wall time. Each query adds
 * a step, a wait raises it to where it ended. The complication is trust: the box can write the
 * page, so what is taken over at the end of a call must be possible: no earlier than the start, and
 * no later than queries as fast as the machine allows and the waits would have brought it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define NS_PER_S 1000000000
#define TICKS_PER_S 100 /* sysconf(_SC_CLK_TCK) of every Linux */

int64_t nj_virtual_now_ns(int clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* bounded - what the box wrote, as a number that lengths can be added to */
static int64_t bounded(int64_t clock_ns)
{
    return clock_ns < 0 ? 0 : clock_ns > NJ_CLOCK_MAX_NS ? NJ_CLOCK_MAX_NS : clock_ns;
}

int64_t nj_clock_read(const struct nj_virtual *v)
{
    return bounded(__atomic_load_n(&v->page->now_ns, __ATOMIC_RELAXED));
}

int64_t nj_clock_tick(struct nj_virtual *v)
{
    return bounded((int64_t)__atomic_add_fetch((uint64_t *)&v->page->now_ns, NJ_CLOCK_STEP_NS,
                                               __ATOMIC_RELAXED));
}

int64_t nj_clock_boot(const struct nj_virtual *v)
{
    return v->start_ns > NJ_CLOCK_BOOT_NS ? NJ_CLOCK_BOOT_NS : 0;
}

void nj_clock_raise(struct nj_virtual *v, int64_t clock_ns)
{
    int64_t now = __atomic_load_n(&v->page->now_ns, __ATOMIC_RELAXED);

    while (now < clock_ns && !__atomic_compare_exchange_n(&v->page->now_ns, &now, clock_ns, false,
                                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    if (now < clock_ns)
        (void)__atomic_add_fetch((uint64_t *)&v->page->waited_ns,
                                 (uint64_t)clock_ns - (uint64_t)now, __ATOMIC_RELAXED);
}

static int64_t file_now(void *ctx)
{
    return nj_clock_read(ctx);
}

static void file_advance(void *ctx, int64_t ns)
{
    struct nj_virtual *v = ctx;

    (void)__atomic_add_fetch((uint64_t *)&v->page->now_ns, (uint64_t)ns, __ATOMIC_RELAXED);
}

struct nj_times_clock nj_virtual_file_clock(struct nj_virtual *v)
{
    return (struct nj_times_clock){file_now, file_advance, v};
}

static int64_t cpu_ns(struct nj_virtual *v)
{
    int64_t now = nj_clock_tick(v);
    int64_t waited = __atomic_load_n(&v->page->waited_ns, __ATOMIC_RELAXED);
    int64_t ns;

    if (__builtin_sub_overflow(now, v->start_ns, &ns) || __builtin_sub_overflow(ns, waited, &ns) ||
        ns < 0)
        return 0; /* the box wrote nonsense, and gets some */
    return ns;
}

static int64_t monotonic_ns(struct nj_virtual *v)
{
    int64_t ns = nj_clock_tick(v) - nj_clock_boot(v);

    return ns < 0 ? 0 : ns;
}

static enum nj_answer give(struct seccomp_notif_resp *response, const struct seccomp_notif *notif,
                           uint64_t address, const void *data, size_t len)
{
    if (!nj_virtual_write((pid_t)notif->pid, address, data, len))
        response->error = -EFAULT;
    return NJ_ANSWER_VALUE;
}

enum nj_answer nj_clock_gettime(struct nj_virtual *v, const struct seccomp_notif *notif,
                                struct seccomp_notif_resp *response)
{
    int32_t clock = (int32_t)notif->data.args[0];
    struct timespec time;
    int64_t ns;

    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
        ns = nj_clock_tick(v);
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        ns = monotonic_ns(v);
        break;
    case NJ_CLOCK_INTERRUPTED: {
        struct nj_wait_slot slot;

        if (nj_virtual_read((pid_t)notif->pid, notif->data.args[1], &slot, sizeof(slot)))
            nj_timers_interrupted(v, &slot);
        return NJ_ANSWER_VALUE;
    }
    case NJ_CLOCK_NO_IMAGE:
        nj_virtual_lower(v, 0, NJ_LOWERED_EXEC);
        return NJ_ANSWER_VALUE;
    default:
        if (clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID)
            return NJ_ANSWER_CONTINUE; /* no such clock */
        ns = cpu_ns(v);                /* also of other processes: there is one clock for all */
        break;
    }
    time = (struct timespec){ns / NS_PER_S, ns % NS_PER_S};
    return give(response, notif, notif->data.args[1], &time, sizeof(time));
}

enum nj_answer nj_clock_getres(struct nj_virtual *v, const struct seccomp_notif *notif,
                               struct seccomp_notif_resp *response)
{
    static const struct timespec resolution = {0, 1};
    int32_t clock = (int32_t)notif->data.args[0];

    (void)v;
    if (clock > CLOCK_TAI || clock == 10 || notif->data.args[1] == 0)
        return NJ_ANSWER_CONTINUE;
    return give(response, notif, notif->data.args[1], &resolution, sizeof(resolution));
}

enum nj_answer nj_clock_gettimeofday(struct nj_virtual *v, const struct seccomp_notif *notif,
                                     struct seccomp_notif_resp *response)
{
    static const struct timezone utc = {0, 0};
    int64_t ns = nj_clock_tick(v);
    const struct timeval time = {ns / NS_PER_S, ns % NS_PER_S / 1000};

    if (notif->data.args[1] != 0)
        (void)give(response, notif, notif->data.args[1], &utc, sizeof(utc));
    if (notif->data.args[0] != 0)
        (void)give(response, notif, notif->data.args[0], &time, sizeof(time));
    return NJ_ANSWER_VALUE;
}

enum nj_answer nj_clock_time(struct nj_virtual *v, const struct seccomp_notif *notif,
                             struct seccomp_notif_resp *response)
{
    const int64_t seconds = nj_clock_tick(v) / NS_PER_S;

    response->val = seconds;
    if (notif->data.args[0] != 0)
        return give(response, notif, notif->data.args[0], &seconds, sizeof(seconds));
    return NJ_ANSWER_VALUE;
}

enum nj_answer nj_clock_times(struct nj_virtual *v, const struct seccomp_notif *notif,
                              struct seccomp_notif_resp *response)
{
    const struct tms used = {.tms_utime = cpu_ns(v) / (NS_PER_S / TICKS_PER_S)};

    response->val = monotonic_ns(v) / (NS_PER_S / TICKS_PER_S);
    if (notif->data.args[0] != 0)
        return give(response, notif, notif->data.args[0], &used, sizeof(used));
    return NJ_ANSWER_VALUE;
}

/* Time used is the call's, whoever asks; what else is counted there differs from run to run, so it
 * is 0, as in kernels that did not count it. */
enum nj_answer nj_clock_getrusage(struct nj_virtual *v, const struct seccomp_notif *notif,
                                  struct seccomp_notif_resp *response)
{
    int32_t who = (int32_t)notif->data.args[0];
    struct rusage usage = {.ru_maxrss = 0};
    int64_t ns;

    if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
        return NJ_ANSWER_CONTINUE;
    ns = who == RUSAGE_CHILDREN ? 0 : cpu_ns(v);
    usage.ru_utime = (struct timeval){ns / NS_PER_S, ns % NS_PER_S / 1000};
    return give(response, notif, notif->data.args[1], &usage, sizeof(usage));
}

enum nj_answer nj_clock_sysinfo(struct nj_virtual *v, const struct seccomp_notif *notif,
                                struct seccomp_notif_resp *response)
{
    const struct sysinfo info = {.uptime = monotonic_ns(v) / NS_PER_S,
                                 .totalram = v->memory_bytes,
                                 .freeram = v->memory_bytes / 2,
                                 .procs = 1,
                                 .mem_unit = 1};

    return give(response, notif, notif->data.args[0], &info, sizeof(info));
}

enum nj_answer nj_clock_getcpu(struct nj_virtual *v, const struct seccomp_notif *notif,
                               struct seccomp_notif_resp *response)
{
    static const uint32_t first = 0;

    (void)v;
    for (int i = 0; i < 2; i++) {
        if (notif->data.args[i] != 0)
            (void)give(response, notif, notif->data.args[i], &first, sizeof(first));
    }
    return NJ_ANSWER_VALUE;
}

/* One processor, the first: the one a box really runs on is chance. */
enum nj_answer nj_clock_getaffinity(struct nj_virtual *v, const struct seccomp_notif *notif,
                                    struct seccomp_notif_resp *response)
{
    static const uint64_t first = 1;

    (void)v;
    if ((uint32_t)notif->data.args[1] < sizeof(first) || notif->data.args[1] % sizeof(first) != 0)
        return NJ_ANSWER_CONTINUE; /* EINVAL */
    response->val = sizeof(first);
    return give(response, notif, notif->data.args[2], &first, sizeof(first));
}

enum nj_answer nj_clock_setaffinity(struct nj_virtual *v, const struct seccomp_notif *notif,
                                    struct seccomp_notif_resp *response)
{
    uint8_t first = 0;

    (void)v;
    if ((uint32_t)notif->data.args[1] > 0 &&
        !nj_virtual_read((pid_t)notif->pid, notif->data.args[2], &first, sizeof(first)))
        response->error = -EFAULT;
    else if (!(first & 1))
        response->error = -EINVAL;
    return NJ_ANSWER_VALUE;
}
