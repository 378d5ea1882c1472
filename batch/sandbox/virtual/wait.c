/*
 * wait.c - timed waits and timers on the virtual clock
 *
 * A wait takes its real time, and afterwards the clock stands where the program expects it: at its
 * deadline if it timed out, where it was if something happened first (what goes on meanwhile moves
 * the clock itself). Only the result of the call tells the two apart, so the program makes the call
 * in the image (image.c), where its arguments can also be changed without its seeing that: a
 * deadline on the virtual clock becomes a length, or one on the host's clock.
 *
 * Timers run in the kernel, in real time. The complication is that they may fire while nobody asks
 * for the time; so just before one is due the clock is raised to what it will say.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <time.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/virtual.h"

#include "formats/base/banned.h"

#define NS_PER_S 1000000000
#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define LENGTH_MAX_NS (INT64_C(1000000000) * NS_PER_S) /* some 30 years: for ever */
#define TIME_MAX_NS (INT64_C(9000000000) * NS_PER_S)   /* the year 2255 */
#define NO_CALL UINT64_MAX                             /* nothing for the kernel to start again */
#define FIRE_BEFORE_NS (2 * NS_PER_MS)                 /* poll() counts in milliseconds */

/* How a call tells its time. */
enum kind {
    MILLISECONDS, /* an int argument */
    LENGTH,       /* a timespec */
    LENGTH_LEFT,  /* a timespec in which the kernel leaves what remains */
    TIMEVAL_LEFT, /* the same as a timeval */
    DEADLINE,     /* a timespec on a clock */
};

struct shape {
    enum kind kind;
    int argument;
    int64_t timed_out;
    int clock; /* of DEADLINE */
};

static bool shape_of(const struct seccomp_data *call, struct shape *ret)
{
    const unsigned op = (unsigned)call->args[1];
    const unsigned op_kind = op & ~(unsigned)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);

    switch (call->nr) {
    case SYS_nanosleep:
        *ret = (struct shape){LENGTH, 0, 0, 0};
        return true;
    case SYS_clock_nanosleep:
        *ret = (struct shape){(int)call->args[1] & TIMER_ABSTIME ? DEADLINE : LENGTH, 2, 0,
                              (int)call->args[0]};
        return ret->clock != CLOCK_PROCESS_CPUTIME_ID && ret->clock >= 0;
    case SYS_poll:
        *ret = (struct shape){MILLISECONDS, 2, 0, 0};
        return true;
    case SYS_ppoll:
        *ret = (struct shape){LENGTH_LEFT, 2, 0, 0};
        return true;
    case SYS_select:
        *ret = (struct shape){TIMEVAL_LEFT, 4, 0, 0};
        return true;
    case SYS_pselect6:
        *ret = (struct shape){LENGTH_LEFT, 4, 0, 0};
        return true;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        *ret = (struct shape){MILLISECONDS, 3, 0, 0};
        return true;
    case SYS_epoll_pwait2:
        *ret = (struct shape){LENGTH, 3, 0, 0};
        return true;
    case SYS_futex: {
        int clock = op & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;

        if (op_kind == FUTEX_LOCK_PI)
            clock = CLOCK_REALTIME;
        *ret = (struct shape){op_kind == FUTEX_WAIT ? LENGTH : DEADLINE, 3, -ETIMEDOUT, clock};
        return true;
    }
    case SYS_futex_waitv:
        *ret = (struct shape){DEADLINE, 3, -ETIMEDOUT, (int)call->args[4]};
        return true;
    case SYS_rt_sigtimedwait:
        *ret = (struct shape){LENGTH, 2, -EAGAIN, 0};
        return true;
    case SYS_semtimedop:
        *ret = (struct shape){LENGTH, 3, -EAGAIN, 0};
        return true;
    case SYS_mq_timedsend:
    case SYS_mq_timedreceive:
        *ret = (struct shape){DEADLINE, 4, -ETIMEDOUT, CLOCK_REALTIME};
        return true;
    }
    return false;
}

/* nanoseconds - false where the kernel would refuse the time, or need not wait */
static bool nanoseconds(const int64_t time[2], int64_t unit_ns, int64_t *ret)
{
    if (time[0] < 0 || time[1] < 0 || time[1] >= NS_PER_S / unit_ns)
        return false;
    *ret = time[0] >= TIME_MAX_NS / NS_PER_S ? TIME_MAX_NS : time[0] * NS_PER_S + time[1] * unit_ns;
    return *ret > 0;
}

static void to_time(int64_t ns, uint64_t time[2])
{
    time[0] = (uint64_t)(ns / NS_PER_S);
    time[1] = (uint64_t)(ns % NS_PER_S);
}

/* is_real - a clock that shows the date, or one that counts from boot */
static bool is_real(int clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI ||
           clock == CLOCK_REALTIME_ALARM;
}

/* length_until - from now to @deadline on the virtual @clock, at least 0 */
static int64_t length_until(struct nj_virtual *v, int64_t deadline_ns, int clock, int64_t now_ns)
{
    int64_t here = now_ns, length;

    if (!is_real(clock))
        here -= nj_clock_boot(v);
    if (__builtin_sub_overflow(deadline_ns, here, &length) || length < 0)
        return 0;
    return length > LENGTH_MAX_NS ? LENGTH_MAX_NS : length;
}

/* plan_deadline - a deadline becomes a length where the call can take one, else one of the host */
static bool plan_deadline(struct nj_virtual *v, const struct seccomp_data *call,
                          const struct shape *shape, const int64_t time[2], int64_t now_ns,
                          struct nj_task *task)
{
    int64_t deadline_ns, host_ns;

    if (!nanoseconds(time, 1, &deadline_ns))
        return false; /* over already, or wrong: the kernel says which */
    task->slot.length_ns = length_until(v, deadline_ns, shape->clock, now_ns);
    if (call->nr == SYS_clock_nanosleep) {
        task->arguments[1] = 0;
        task->arguments[3] = 0; /* nothing remains of a deadline */
        to_time(task->slot.length_ns, task->slot.time);
        return true;
    }
    host_ns = nj_virtual_now_ns(shape->clock) + task->slot.length_ns;
    to_time(host_ns, task->slot.time);
    return true;
}

/* plan - what the call becomes; false: the kernel may have it as it is */
static bool plan(struct nj_virtual *v, const struct seccomp_notif *notif, const struct shape *shape,
                 struct nj_task *task)
{
    const struct seccomp_data *call = &notif->data;
    uint64_t address = call->args[shape->argument];
    int64_t time[2] = {0, 0}, now_ns;

    memcpy(task->arguments, call->args, sizeof(task->arguments));
    task->number = call->nr;
    task->slot = (struct nj_wait_slot){.timed_out = shape->timed_out,
                                       .began_ns = nj_virtual_now_ns(CLOCK_MONOTONIC)};
    task->time_argument = shape->argument;
    if (shape->kind != MILLISECONDS &&
        !nj_virtual_read((pid_t)notif->pid, address, time, sizeof(time)))
        return false;
    now_ns = nj_clock_read(v); /* not moved: how often a thread waits for a lock is chance */
    switch (shape->kind) {
    case MILLISECONDS:
        task->slot.length_ns = (int64_t)(int32_t)address * NS_PER_MS;
        task->time_argument = -1;
        break;
    case LENGTH_LEFT:
    case TIMEVAL_LEFT:
        if (nj_virtual_write((pid_t)notif->pid, address, time, sizeof(time)))
            task->slot.rest = address; /* it can be written, as the kernel would */
        /* fallthrough */
    case LENGTH:
        if (!nanoseconds(time, shape->kind == TIMEVAL_LEFT ? NS_PER_US : 1, &task->slot.length_ns))
            return false;
        if (task->slot.length_ns > LENGTH_MAX_NS)
            task->slot.length_ns = LENGTH_MAX_NS;
        memcpy(task->slot.time, time, sizeof(time));
        break;
    case DEADLINE:
        if (!plan_deadline(v, call, shape, time, now_ns, task))
            return false;
        break;
    }
    if (__builtin_add_overflow(now_ns, task->slot.length_ns, &task->slot.deadline_ns))
        task->slot.deadline_ns = now_ns;
    return true;
}

/* is_timed - at level 3 all such calls are told, not only those with a time */
static bool is_timed(const struct seccomp_data *call, const struct shape *shape)
{
    return shape->kind == MILLISECONDS ? (int32_t)call->args[shape->argument] > 0
                                       : call->args[shape->argument] != 0;
}

/* detour - let the task make the planned call in the image */
static enum nj_answer detour(struct nj_virtual *v, const struct seccomp_notif *notif,
                             const struct nj_task *planned, struct seccomp_notif_resp *response)
{
    struct nj_task *task;
    uint64_t probe;

    if (!nj_virtual_read((pid_t)notif->pid, NJ_LAYOUT_SLOTS, &probe, sizeof(probe)))
        return NJ_ANSWER_CONTINUE; /* a program with the kernel's clock, and said so at its exec */
    task = nj_virtual_stop(v, (pid_t)notif->pid, NJ_TASK_WAIT);
    if (!task) {
        nj_virtual_lower(v, 0, NJ_LOWERED_LOST);
        return NJ_ANSWER_CONTINUE;
    }
    if (!nj_virtual_is_alive(v, notif)) {
        task->state = NJ_TASK_LEAVE;
        return NJ_ANSWER_CONTINUE;
    }
    task->number = planned->number;
    memcpy(task->arguments, planned->arguments, sizeof(task->arguments));
    task->time_argument = planned->time_argument;
    task->slot = planned->slot;
    response->error = -EINTR; /* seen only if there is no slot */
    return NJ_ANSWER_VALUE;
}

enum nj_answer nj_virtual_wait(struct nj_virtual *v, const struct seccomp_notif *notif,
                               struct seccomp_notif_resp *response)
{
    struct nj_task planned = {.tid = 0};
    struct shape shape;

    if (!shape_of(&notif->data, &shape) || !is_timed(&notif->data, &shape) ||
        !plan(v, notif, &shape, &planned))
        return NJ_ANSWER_CONTINUE;
    return detour(v, notif, &planned, response);
}

/* What a child used is not virtual and differs from run to run: the program is told nothing was,
 * as getrusage() tells of children, and waits without asking. */
enum nj_answer nj_virtual_wait_child(struct nj_virtual *v, const struct seccomp_notif *notif,
                                     struct seccomp_notif_resp *response)
{
    static const struct rusage nothing;
    const unsigned argument = notif->data.nr == SYS_wait4 ? 3 : 4;
    struct nj_task planned = {.number = notif->data.nr, .time_argument = -1};

    if (notif->data.args[argument] == 0 || /* at level 3 those are told, too */
        !nj_virtual_write((pid_t)notif->pid, notif->data.args[argument], &nothing, sizeof(nothing)))
        return NJ_ANSWER_CONTINUE;
    memcpy(planned.arguments, notif->data.args, sizeof(planned.arguments));
    planned.arguments[argument] = 0;
    planned.slot.timed_out = INT64_MIN; /* no result means that here */
    return detour(v, notif, &planned, response);
}

/* ---- for level 3, where nobody really waits ---- */

enum nj_wait_end nj_wait_deadline(struct nj_virtual *v, const struct seccomp_notif *notif,
                                  int64_t *ret_deadline_ns)
{
    const struct seccomp_data *call = &notif->data;
    int64_t time[2], now_ns = nj_clock_read(v), unit_ns, length_ns = 0;
    struct shape shape;

    if (!shape_of(call, &shape)) /* a sleep by a clock that only computing moves */
        return call->nr == SYS_clock_nanosleep ? NJ_WAIT_UNKNOWN : NJ_WAIT_NEVER;
    if (shape.kind == MILLISECONDS) {
        int ms = (int32_t)call->args[shape.argument];

        *ret_deadline_ns = now_ns + (int64_t)ms * NS_PER_MS;
        return ms < 0 ? NJ_WAIT_NEVER : ms == 0 ? NJ_WAIT_AT_ONCE : NJ_WAIT_AT;
    }
    if (call->args[shape.argument] == 0)
        return NJ_WAIT_NEVER;
    unit_ns = shape.kind == TIMEVAL_LEFT ? NS_PER_US : 1;
    if (!nj_virtual_read((pid_t)notif->pid, call->args[shape.argument], time, sizeof(time)) ||
        time[0] < 0 || time[1] < 0 || time[1] >= NS_PER_S / unit_ns)
        return NJ_WAIT_UNKNOWN;
    (void)nanoseconds(time, unit_ns, &length_ns);
    if (shape.kind == DEADLINE)
        length_ns = length_until(v, length_ns, shape.clock, now_ns);
    else if (length_ns == 0)
        return NJ_WAIT_AT_ONCE;
    if (length_ns >= LENGTH_MAX_NS || length_ns >= NJ_CLOCK_MAX_NS - now_ns)
        return NJ_WAIT_NEVER;
    *ret_deadline_ns = now_ns + length_ns;
    return NJ_WAIT_AT;
}

void nj_wait_tell_rest(const struct seccomp_notif *notif, int64_t rest_ns)
{
    const struct seccomp_data *call = &notif->data;
    uint64_t address = 0, rest[2];
    bool is_timeval = false;

    switch (call->nr) {
    case SYS_select:
        is_timeval = true;
        /* fallthrough */
    case SYS_pselect6:
        address = call->args[4];
        break;
    case SYS_ppoll:
        address = call->args[2];
        break;
    case SYS_nanosleep:
        address = call->args[1];
        break;
    case SYS_clock_nanosleep:
        address = (int)call->args[1] & TIMER_ABSTIME ? 0 : call->args[3];
        break;
    default:
        break;
    }
    if (address == 0)
        return;
    to_time(rest_ns < 0 ? 0 : rest_ns, rest);
    if (is_timeval)
        rest[1] /= NS_PER_US;
    /* Where it cannot be written the kernel keeps silent, too. */
    (void)nj_virtual_write((pid_t)notif->pid, address, rest, sizeof(rest));
}

void nj_virtual_wait_begin(struct nj_virtual *v, struct nj_task *task)
{
    struct user_regs_struct regs;
    struct nj_wait_slot slot;
    uint64_t at;

    if (ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) < 0)
        return;
    at = nj_virtual_slot(task->tid, &regs, &slot);
    if (at != 0) {
        slot.timed_out = task->slot.timed_out;
        slot.deadline_ns = task->slot.deadline_ns;
        slot.rest = task->slot.rest;
        slot.began_ns = task->slot.began_ns;
        slot.length_ns = task->slot.length_ns;
        memcpy(slot.time, task->slot.time, sizeof(slot.time));
    }
    if (at == 0 || !nj_virtual_write(task->tid, at, &slot, sizeof(slot))) {
        nj_virtual_lower(v, 0, NJ_LOWERED_LOST);
        return;
    }
    if (task->time_argument >= 0)
        task->arguments[task->time_argument] = at + NJ_SLOT_TIME;
    regs.rdi = task->arguments[0];
    regs.rsi = task->arguments[1];
    regs.rdx = task->arguments[2];
    regs.r10 = task->arguments[3];
    regs.r8 = task->arguments[4];
    regs.r9 = task->arguments[5];
    regs.rax = (unsigned)task->number;
    regs.orig_rax = NO_CALL;
    regs.r15 = at;
    regs.rip = NJ_LAYOUT_WAIT;
    (void)ptrace(PTRACE_SETREGS, task->tid, NULL, &regs);
}

/* ---- timers ---- */

static void drop_timer(struct nj_virtual *v, pid_t tid, uint64_t key)
{
    for (size_t i = 0; i < v->n_timers; i++) {
        if (v->timers[i].tid == tid && v->timers[i].key == key) {
            v->timers[i] = v->timers[--v->n_timers];
            return;
        }
    }
}

void nj_timers_add(struct nj_virtual *v, pid_t tid, uint64_t key, int64_t value_ns,
                   int64_t interval_ns)
{
    drop_timer(v, tid, key);
    if (value_ns <= 0 || value_ns > LENGTH_MAX_NS)
        return; /* disarmed, or for after us all */
    if (v->n_timers == NJ_VIRTUAL_TIMERS_MAX) {
        nj_virtual_lower(v, 0, NJ_LOWERED_LOST);
        return;
    }
    v->timers[v->n_timers++] = (struct nj_timer){
        .tid = tid,
        .key = key,
        .due_ns = nj_virtual_now_ns(CLOCK_MONOTONIC) + value_ns,
        .clock_ns = nj_clock_tick(v) + value_ns,
        .interval_ns = interval_ns,
    };
}

enum nj_answer nj_virtual_timer(struct nj_virtual *v, const struct seccomp_notif *notif,
                                struct seccomp_notif_resp *response)
{
    const struct seccomp_data *call = &notif->data;
    bool of_itimer = call->nr == SYS_setitimer, absolute = !of_itimer && call->args[1] & 1;
    int64_t times[4], value_ns = 0, interval_ns = 0, unit_ns = of_itimer ? NS_PER_US : 1;
    pid_t tid = (pid_t)notif->pid;
    struct nj_task planned = {.tid = 0};
    uint64_t key;

    if (call->nr == SYS_alarm) {
        nj_timers_add(v, tid, NJ_TIMER_OF_PROCESS, (int64_t)(uint32_t)call->args[0] * NS_PER_S, 0);
        return NJ_ANSWER_CONTINUE;
    }
    if (of_itimer && (int)call->args[0] != ITIMER_REAL)
        return NJ_ANSWER_CONTINUE; /* of processor time: the kernel's own */
    if (!nj_virtual_read(tid, call->args[of_itimer ? 1 : 2], times, sizeof(times)))
        return NJ_ANSWER_CONTINUE;
    (void)nanoseconds(times, unit_ns, &interval_ns);
    (void)nanoseconds(times + 2, unit_ns, &value_ns);
    if (interval_ns > LENGTH_MAX_NS)
        interval_ns = LENGTH_MAX_NS;
    key = of_itimer                       ? NJ_TIMER_OF_PROCESS
          : call->nr == SYS_timer_settime ? NJ_TIMER_OF_ID(call->args[0])
                                          : NJ_TIMER_OF_FD(call->args[0]);
    if (absolute && value_ns > 0) {
        int64_t now_ns = nj_clock_tick(v), clock_ns = value_ns;
        int clock = clock_ns > now_ns / 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC; /* far apart */

        value_ns = length_until(v, clock_ns, clock, now_ns);
        if (value_ns == 0)
            value_ns = 1; /* 0 would disarm it */
        memcpy(planned.arguments, call->args, sizeof(planned.arguments));
        planned.number = call->nr;
        planned.arguments[1] = 0;
        planned.time_argument = 2;
        planned.slot.timed_out = INT64_MIN; /* no result means that here */
        memcpy(planned.slot.time, times, 2 * sizeof(times[0]));
        to_time(value_ns, planned.slot.time + 2);
        nj_timers_add(v, tid, key, value_ns, interval_ns);
        return detour(v, notif, &planned, response);
    }
    nj_timers_add(v, tid, key, value_ns, interval_ns);
    return NJ_ANSWER_CONTINUE;
}

void nj_timers_fire(struct nj_virtual *v)
{
    int64_t now = v->n_timers > 0 ? nj_virtual_now_ns(CLOCK_MONOTONIC) : 0;

    for (size_t i = 0; i < v->n_timers;) {
        struct nj_timer *timer = &v->timers[i];

        if (timer->due_ns - FIRE_BEFORE_NS > now) {
            i++;
            continue;
        }
        if (kill(timer->tid, 0) < 0) {
            *timer = v->timers[--v->n_timers]; /* its task ended, and it with it */
            continue;
        }
        nj_clock_raise(v, timer->clock_ns);
        if (timer->interval_ns > 0) {
            int64_t turns = (now + FIRE_BEFORE_NS - timer->due_ns) / timer->interval_ns + 1;

            timer->due_ns += turns * timer->interval_ns;
            timer->clock_ns += turns * timer->interval_ns;
            i++;
        } else {
            *timer = v->timers[--v->n_timers];
        }
    }
}

/* A signal came first. If that was a timer's, the clock stands at its time by now; else time went
 * by as it really did: nothing in the box can tell it another way, and a program that waits on for
 * what remains must come to an end. */
void nj_timers_interrupted(struct nj_virtual *v, const struct nj_wait_slot *slot)
{
    int64_t now = nj_virtual_now_ns(CLOCK_MONOTONIC), elapsed, began;
    size_t timers = v->n_timers;

    if (nj_order_keeps(v))
        return; /* no time went by */
    nj_timers_fire(v);
    if (v->n_timers < timers || slot->timed_out == INT64_MIN)
        return;
    elapsed = slot->began_ns < v->started_ns || slot->began_ns > now ? 0 : now - slot->began_ns;
    if (elapsed > slot->length_ns)
        elapsed = slot->length_ns;
    if (!__builtin_sub_overflow(slot->deadline_ns, slot->length_ns, &began) &&
        began <= nj_clock_read(v) && elapsed > 0)
        nj_clock_raise(v, began + elapsed);
}

int nj_timers_wait_ms(const struct nj_virtual *v, int wait_ms)
{
    int64_t now = v->n_timers > 0 ? nj_virtual_now_ns(CLOCK_MONOTONIC) : 0;

    for (size_t i = 0; i < v->n_timers; i++) {
        int64_t left = (v->timers[i].due_ns - FIRE_BEFORE_NS - now + NS_PER_MS - 1) / NS_PER_MS;

        if (left < wait_ms)
            wait_ms = left < 0 ? 0 : (int)left;
    }
    return wait_ms;
}
