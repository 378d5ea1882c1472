/*
 * pulse.c - a timer that looks at the clock
 */
#include "batch/engine/pulse.h"

#include <event2/event.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define PERIOD_MS 100
#define SLICE_NS 100000 /* the kernel's least */

struct nj_pulse {
    struct event *timer;
    int64_t due_us;
    uint64_t beats;
    uint64_t late[NJ_PULSE_MAX_MS + 1]; /* by whole milliseconds, begun ones counted */
};

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int arm(struct nj_pulse *pulse)
{
    const struct timeval period = {.tv_usec = PERIOD_MS * 1000};

    pulse->due_us = now_us() + (int64_t)PERIOD_MS * 1000;
    return event_add(pulse->timer, &period);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct nj_pulse *pulse = arg;
    int64_t late_us = now_us() - pulse->due_us;
    uint64_t late_ms = late_us > 0 ? ((uint64_t)late_us + 999) / 1000 : 0;

    (void)fd;
    (void)what;
    pulse->beats++;
    pulse->late[late_ms < NJ_PULSE_MAX_MS ? late_ms : NJ_PULSE_MAX_MS]++;
    (void)arm(pulse); /* without it the figure stays what it is */
}

/* struct sched_attr of sched_setattr(2); only the newest C libraries have it. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};
#define RESET_ON_FORK 1u

void nj_pulse_hurry(void)
{
    struct scheduling wish = {.size = sizeof(wish),
                              .policy = SCHED_OTHER,
                              .flags = RESET_ON_FORK,
                              .nice = getpriority(PRIO_PROCESS, 0),
                              .runtime = SLICE_NS};

    (void)syscall(SYS_sched_setattr, 0, &wish, 0u); /* a wish */
}

int nj_pulse_new(struct event_base *base, struct nj_pulse **ret_pulse, struct nj_error *err)
{
    struct nj_pulse *pulse = calloc(1, sizeof(*pulse));

    if (!pulse)
        return nj_fail_nomem(err);
    pulse->timer = evtimer_new(base, on_time, pulse);
    if (!pulse->timer || arm(pulse) < 0) {
        nj_pulse_free(pulse);
        return nj_fail_nomem(err);
    }
    *ret_pulse = pulse;
    return 0;
}

void nj_pulse_free(struct nj_pulse *pulse)
{
    if (!pulse)
        return;
    if (pulse->timer)
        event_free(pulse->timer);
    free(pulse);
}

unsigned nj_pulse_late_ms(const struct nj_pulse *pulse)
{
    uint64_t above = 0;
    unsigned ms = NJ_PULSE_MAX_MS;

    if (!pulse)
        return 0;
    /* From the latest on, as long as no more than one of 100 is passed over. */
    while (ms > 0 && (above + pulse->late[ms]) * 100 <= pulse->beats)
        above += pulse->late[ms--];
    return ms;
}
