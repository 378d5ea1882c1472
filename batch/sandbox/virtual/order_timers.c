/*
 * order_timers.c - timers whose time is the virtual clock's
 *
 * setitimer(), alarm() and timer_settime() of a wall clock never reach the kernel: their signals
 * are sent from here when the clock passed the time, which it does by queries, and by jumps when
 * nobody can run. Timers of processor time, and timerfds that are set, are not kept: the order is
 * given up.
 *
 * The complication is timer_create(), which says what signal goes to whom and whose answer nobody
 * sees: so it is left to the kernel, and looked up in /proc when the timer is set. A signal of such
 * a timer carries its value, as the kernel's own would. After the order was given up what is
 * pending fires in real time; timers that are set from then on are the kernel's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "batch/sandbox/virtual/order.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_US INT64_C(1000)
#define FAR_NS (NJ_CLOCK_MAX_NS / 4) /* no timer is later than that */

static struct nj_order_timer *find(struct nj_order *o, pid_t tgid, uint32_t id)
{
    for (size_t i = 0; i < o->n_timers; i++) {
        if (o->timers[i].tgid == tgid && o->timers[i].id == id)
            return &o->timers[i];
    }
    return NULL;
}

static void drop(struct nj_order *o, struct nj_order_timer *timer)
{
    nj_close_auto(&timer->pidfd);
    *timer = o->timers[--o->n_timers];
}

void nj_order_timers_drop(struct nj_virtual *v, pid_t tgid)
{
    struct nj_order *o = v->order;

    for (size_t i = o->n_timers; i-- > 0;) {
        if (o->timers[i].tgid == tgid)
            drop(o, &o->timers[i]);
    }
}

void nj_order_timers_execed(struct nj_virtual *v, pid_t tgid)
{
    struct nj_order *o = v->order;

    for (size_t i = o->n_timers; i-- > 0;) {
        if (o->timers[i].tgid == tgid && o->timers[i].id != NJ_ORDER_ITIMER)
            drop(o, &o->timers[i]);
    }
}

static int64_t from_parts(int64_t seconds, int64_t part, int64_t unit_ns)
{
    if (seconds > FAR_NS / NS_PER_S)
        return FAR_NS;
    return seconds * NS_PER_S + part * unit_ns;
}

/* to_parts - interval and value, as getitimer() and timer_gettime() tell them */
static void to_parts(const struct nj_order_timer *timer, int64_t now_ns, int64_t unit_ns,
                     int64_t ret[4])
{
    int64_t left = timer && timer->due_ns > now_ns ? timer->due_ns - now_ns : timer ? 1 : 0;
    int64_t interval = timer ? timer->interval_ns : 0;

    ret[0] = interval / NS_PER_S;
    ret[1] = interval % NS_PER_S / unit_ns;
    ret[2] = left / NS_PER_S;
    ret[3] = left % NS_PER_S / unit_ns;
    if (timer && ret[2] == 0 && ret[3] == 0)
        ret[3] = 1; /* it is armed */
}

/* set - false: there is no room */
static bool set(struct nj_virtual *v, const struct nj_order_timer *wanted, int64_t value_ns)
{
    struct nj_order *o = v->order;
    struct nj_order_timer *timer = find(o, wanted->tgid, wanted->id);

    if (value_ns <= 0) {
        if (timer)
            drop(o, timer);
        return true;
    }
    if (timer)
        drop(o, timer);
    if (o->n_timers == NJ_ORDER_TIMERS_MAX)
        return false;
    timer = &o->timers[o->n_timers];
    *timer = *wanted;
    timer->due_ns = nj_clock_read(v) + value_ns;
    /* Not its number: that may be somebody else's by then. */
    timer->pidfd = (int)syscall(SYS_pidfd_open, wanted->tid > 0 ? wanted->tid : wanted->tgid,
                                wanted->tid > 0 ? PIDFD_THREAD : 0);
    o->n_timers += timer->pidfd >= 0;
    return timer->pidfd >= 0;
}

/* ---- the calls ---- */

static enum nj_order_verdict set_alarm(struct nj_virtual *v, const struct nj_order_task *task,
                                       struct seccomp_notif_resp *response)
{
    const struct nj_order_timer wanted = {
        .tgid = task->process->tgid, .id = NJ_ORDER_ITIMER, .signal = SIGALRM};
    int64_t left[4];

    to_parts(find(v->order, wanted.tgid, wanted.id), nj_clock_read(v), NS_PER_US, left);
    response->val = left[2] + (left[3] >= 500000 || (left[2] == 0 && left[3] > 0));
    return set(v, &wanted, (int64_t)(uint32_t)task->notif.data.args[0] * NS_PER_S)
               ? NJ_ORDER_ANSWERED
               : NJ_ORDER_REFUSED;
}

static enum nj_order_verdict set_itimer(struct nj_virtual *v, const struct nj_order_task *task,
                                        struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    struct nj_order_timer wanted = {
        .tgid = task->process->tgid, .id = NJ_ORDER_ITIMER, .signal = SIGALRM};
    int64_t times[4], left[4];

    (void)response;
    if ((int)args[0] != ITIMER_REAL)
        return NJ_ORDER_REFUSED;
    if (!nj_virtual_read(task->tid, args[1], times, sizeof(times)) || times[0] < 0 ||
        times[2] < 0 || times[1] < 0 || times[1] >= 1000000 || times[3] < 0 || times[3] >= 1000000)
        return NJ_ORDER_GOES; /* an error, or NULL, which the kernel takes for 0: it has none */
    to_parts(find(v->order, wanted.tgid, wanted.id), nj_clock_read(v), NS_PER_US, left);
    wanted.interval_ns = from_parts(times[0], times[1], NS_PER_US);
    if (!set(v, &wanted, from_parts(times[2], times[3], NS_PER_US)))
        return NJ_ORDER_REFUSED;
    if (args[2] != 0 && !nj_virtual_write(task->tid, args[2], left, sizeof(left)))
        response->error = -EFAULT;
    return NJ_ORDER_ANSWERED;
}

static enum nj_order_verdict get_itimer(struct nj_virtual *v, const struct nj_order_task *task,
                                        struct seccomp_notif_resp *response)
{
    int64_t left[4];

    if ((int)task->notif.data.args[0] != ITIMER_REAL)
        return NJ_ORDER_GOES;
    to_parts(find(v->order, task->process->tgid, NJ_ORDER_ITIMER), nj_clock_read(v), NS_PER_US,
             left);
    if (!nj_virtual_write(task->tid, task->notif.data.args[1], left, sizeof(left)))
        response->error = -EFAULT;
    return NJ_ORDER_ANSWERED;
}

/* look_up - what timer_create() was told of timer @id */
static bool look_up(struct nj_virtual *v, const struct nj_order_task *task, uint32_t id,
                    struct nj_order_timer *ret, int *ret_clock)
{
    nj_auto_close int fd = -1;
    char name[32], text[16384];
    size_t have = 0;
    ssize_t n;

    (void)snprintf(name, sizeof(name), "%d/timers", task->process->tgid); /* fits */
    fd = openat(v->proc_fd, name, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && have < sizeof(text) - 1 &&
           (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0)
        have += (size_t)n;
    text[have] = '\0';
    for (const char *at = text; (at = strstr(at, "ID: ")); at++) {
        char how[32];
        unsigned number;
        unsigned long value;
        int signal, whose;

        if (sscanf(at, "ID: %u\nsignal: %d/%lx\nnotify: %31[a-z]/%*[a-z].%d\nClockID: %d", &number,
                   &signal, &value, how, &whose, ret_clock) != 6 ||
            number != id)
            continue;
        *ret = (struct nj_order_timer){.tgid = task->process->tgid,
                                       .id = id,
                                       .signal = strcmp(how, "none") == 0 ? 0 : signal,
                                       .value = value};
        if (strstr(at, "/tid.") && strstr(at, "/tid.") < strstr(at, "ClockID"))
            ret->tid = (pid_t)whose;
        return true;
    }
    return false;
}

static enum nj_order_verdict set_timer(struct nj_virtual *v, const struct nj_order_task *task,
                                       struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    struct nj_order_timer wanted;
    int64_t times[4], left[4], value_ns, now_ns = nj_clock_read(v);
    int clock;

    if (!nj_virtual_read(task->tid, args[2], times, sizeof(times)) || times[0] < 0 ||
        times[2] < 0 || times[1] < 0 || times[1] >= NS_PER_S || times[3] < 0 ||
        times[3] >= NS_PER_S || !look_up(v, task, (uint32_t)args[0], &wanted, &clock))
        return NJ_ORDER_GOES;
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
        return NJ_ORDER_REFUSED;
    to_parts(find(v->order, wanted.tgid, wanted.id), now_ns, 1, left);
    wanted.interval_ns = from_parts(times[0], times[1], 1);
    value_ns = from_parts(times[2], times[3], 1);
    if (value_ns > 0 && (int)args[1] & TIMER_ABSTIME) {
        value_ns -=
            clock == CLOCK_REALTIME || clock == CLOCK_TAI ? now_ns : now_ns - nj_clock_boot(v);
        if (value_ns <= 0)
            value_ns = 1;
    }
    if (!set(v, &wanted, value_ns))
        return NJ_ORDER_REFUSED;
    if (args[3] != 0 && !nj_virtual_write(task->tid, args[3], left, sizeof(left)))
        response->error = -EFAULT;
    return NJ_ORDER_ANSWERED;
}

static enum nj_order_verdict get_timer(struct nj_virtual *v, const struct nj_order_task *task,
                                       struct seccomp_notif_resp *response)
{
    const struct nj_order_timer *timer =
        find(v->order, task->process->tgid, (uint32_t)task->notif.data.args[0]);
    int64_t left[4];

    if (!timer)
        return NJ_ORDER_GOES; /* the kernel's says 0, or that there is none */
    to_parts(timer, nj_clock_read(v), 1, left);
    if (!nj_virtual_write(task->tid, task->notif.data.args[1], left, sizeof(left)))
        response->error = -EFAULT;
    return NJ_ORDER_ANSWERED;
}

enum nj_order_verdict nj_order_timer(struct nj_virtual *v, struct nj_order_task *task,
                                     struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    struct nj_order_timer *timer;
    int64_t times[4];

    switch (task->notif.data.nr) {
    case SYS_alarm:
        return set_alarm(v, task, response);
    case SYS_setitimer:
        return set_itimer(v, task, response);
    case SYS_getitimer:
        return get_itimer(v, task, response);
    case SYS_timer_settime:
        return set_timer(v, task, response);
    case SYS_timer_gettime:
        return get_timer(v, task, response);
    case SYS_timer_delete:
        timer = find(v->order, task->process->tgid, (uint32_t)args[0]);
        if (timer)
            drop(v->order, timer);
        return NJ_ORDER_GOES;
    case SYS_timerfd_settime: /* to disarm one is harmless */
        return nj_virtual_read(task->tid, args[2], times, sizeof(times)) && times[2] == 0 &&
                       times[3] == 0
                   ? NJ_ORDER_GOES
                   : NJ_ORDER_REFUSED;
    }
    return NJ_ORDER_GOES;
}

/* ---- time passes ---- */

static void send_signal(const struct nj_order_timer *timer)
{
    siginfo_t info = {.si_signo = timer->signal};

    if (timer->signal == 0)
        return;
    if (timer->id == NJ_ORDER_ITIMER) {
        (void)syscall(SYS_pidfd_send_signal, timer->pidfd, timer->signal, NULL, 0);
        return;
    }
    info.si_code = SI_TIMER;
    info.si_timerid = (int)timer->id;
    info.si_value.sival_ptr = (void *)(uintptr_t)timer->value;
    (void)syscall(SYS_pidfd_send_signal, timer->pidfd, timer->signal, &info, 0);
}

bool nj_order_timers_fire(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    bool any = false;

    for (;;) {
        int64_t now_ns = o->keeps ? nj_clock_read(v) : nj_virtual_now_ns(CLOCK_MONOTONIC);
        struct nj_order_timer *first = NULL;
        struct nj_order_process *process;

        for (size_t i = 0; i < o->n_timers; i++) {
            if (!first || o->timers[i].due_ns < first->due_ns)
                first = &o->timers[i];
        }
        if (!first || first->due_ns > now_ns)
            return any;
        if (!o->keeps)
            nj_clock_raise(v, first->clock_ns);
        send_signal(first);
        any = true;
        process = nj_order_process(o, first->tgid);
        if (process && o->keeps) {
            nj_order_signal_to(v, process);
            o->kill_target = o->killed ? 0 : (pid_t)process->inside;
            o->killed = true;
        }
        if (first->interval_ns > 0) {
            int64_t turns = (now_ns - first->due_ns) / first->interval_ns + 1;

            first->due_ns += turns * first->interval_ns;
            first->clock_ns += turns * first->interval_ns;
        } else {
            drop(o, first);
        }
    }
}

int64_t nj_order_timers_due(const struct nj_virtual *v)
{
    const struct nj_order *o = v->order;
    int64_t due_ns = NJ_ORDER_NEVER;

    for (size_t i = 0; i < o->n_timers; i++) {
        if (o->timers[i].due_ns < due_ns)
            due_ns = o->timers[i].due_ns;
    }
    return due_ns;
}

void nj_order_timers_release(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    int64_t by_ns = nj_virtual_now_ns(CLOCK_MONOTONIC) - nj_clock_read(v);

    for (size_t i = 0; i < o->n_timers; i++) {
        o->timers[i].clock_ns = o->timers[i].due_ns;
        o->timers[i].due_ns += by_ns;
    }
}
