/*
 * order_timers.c - timers whose time is the virtual clock's
 *
 * setitimer(), alarm(), timer_settime() and timerfd_settime() of a wall clock never reach the
 * kernel: signals are sent, and expirations put into a timerfd, from here when the clock passed the
 * time, which it does by queries, and by jumps when nobody can run. Timers of processor time are
 * not kept: the order is given up.
 *
 * The complication is timer_create(), which says what signal goes to whom and whose answer nobody
 * sees: so it is left to the kernel, and looked up in /proc when the timer is set. A signal of such
 * a timer carries its value, as the kernel's own would. A timerfd is an open file, which dup() and
 * fork() share, so it is known by a copy of it and by no number; reading it, and waiting until it
 * can be read, stay the kernel's. Our copy keeps one alive that the program has closed, and an
 * epoll still lists it: so before one expires it is looked for, and the copy of one that nobody has
 * is closed. It may be on its way in a message of a socket, where nobody is seen to have it: there
 * it expires all the same, and for one that is to do so again and again the order is given up.
 * (What sendmmsg() sends is not seen: such a one goes on by the kernel's time.)
 *
 * After the order was given up timerfds are the kernel's, and what else is pending fires in real
 * time from here, until it is set anew.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/proc.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#ifndef TFD_IOC_SET_TICKS /* of linux/timerfd.h, which does not go with fcntl.h */
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_US INT64_C(1000)
#define FAR_NS (NJ_CLOCK_MAX_NS / 4)                 /* no timer is later than that */
#define TIME_MAX_NS (INT64_C(9000000000) * NS_PER_S) /* the year 2255 */
#define TURNS_NS (50 * NS_PER_US) /* shorter intervals pass together, or the clock would crawl */
#define SEARCH_MAX 8192           /* descriptors; one that is not among them may be open */
#define CONTROL_BYTES 4096        /* of a message, looked through for descriptors */

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
    nj_close_auto(&timer->fd);
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

void nj_order_timers_end(struct nj_order *o)
{
    while (o->n_timers > 0)
        drop(o, &o->timers[o->n_timers - 1]);
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
    return seconds >= TIME_MAX_NS / NS_PER_S ? TIME_MAX_NS : seconds * NS_PER_S + part * unit_ns;
}

/* length_from - likewise, where it is no time of day */
static int64_t length_from(int64_t seconds, int64_t part, int64_t unit_ns)
{
    int64_t length_ns = from_parts(seconds, part, unit_ns);

    return length_ns < FAR_NS ? length_ns : FAR_NS;
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

static bool is_time(const int64_t times[4], int64_t unit_ns)
{
    return times[0] >= 0 && times[2] >= 0 && times[1] >= 0 && times[1] < NS_PER_S / unit_ns &&
           times[3] >= 0 && times[3] < NS_PER_S / unit_ns;
}

/* length_until - a time on @clock; what passed already is due at once, and 0 is no time */
static int64_t length_until(struct nj_virtual *v, const int64_t time[2], int clock)
{
    int64_t at_ns = from_parts(time[0], time[1], 1), now_ns = nj_clock_read(v);

    if (at_ns == 0)
        return 0;
    if (clock != CLOCK_REALTIME && clock != CLOCK_TAI && clock != CLOCK_REALTIME_ALARM)
        now_ns -= nj_clock_boot(v);
    if (at_ns <= now_ns)
        return 1;
    return at_ns - now_ns < FAR_NS ? at_ns - now_ns : FAR_NS;
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
    timer->fd = (int)syscall(SYS_pidfd_open, wanted->tid > 0 ? wanted->tid : wanted->tgid,
                             wanted->tid > 0 ? PIDFD_THREAD : 0);
    o->n_timers += timer->fd >= 0;
    return timer->fd >= 0;
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
    if (!nj_virtual_read(task->tid, args[1], times, sizeof(times)) || !is_time(times, NS_PER_US))
        return NJ_ORDER_GOES; /* an error, or NULL, which the kernel takes for 0: it has none */
    to_parts(find(v->order, wanted.tgid, wanted.id), nj_clock_read(v), NS_PER_US, left);
    wanted.interval_ns = length_from(times[0], times[1], NS_PER_US);
    if (!set(v, &wanted, length_from(times[2], times[3], NS_PER_US)))
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
    int64_t times[4], left[4], value_ns;
    int clock;

    if (!nj_virtual_read(task->tid, args[2], times, sizeof(times)) || !is_time(times, 1) ||
        !look_up(v, task, (uint32_t)args[0], &wanted, &clock))
        return NJ_ORDER_GOES;
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
        return NJ_ORDER_REFUSED;
    to_parts(find(v->order, wanted.tgid, wanted.id), nj_clock_read(v), 1, left);
    wanted.interval_ns = length_from(times[0], times[1], 1);
    value_ns = (int)args[1] & TIMER_ABSTIME ? length_until(v, times + 2, clock)
                                            : length_from(times[2], times[3], 1);
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

/* ---- timers that are files ---- */

/* read_timerfd - what /proc tells of descriptor @fd of @tid; false: it is no timerfd */
static bool read_timerfd(struct nj_virtual *v, pid_t tid, int fd, int *ret_clock,
                         uint64_t *ret_ticks)
{
    char name[32], text[512];
    const char *at;

    (void)snprintf(name, sizeof(name), "fdinfo/%d", fd); /* fits */
    at = fd >= 0 && nj_proc_read(v, tid, name, text, sizeof(text)) ? strstr(text, "\nclockid:")
                                                                   : NULL;
    return at && sscanf(at, "\nclockid: %d\nticks: %lu", ret_clock, ret_ticks) == 2;
}

static bool is_same_file(int a, int b)
{
    pid_t me = getpid();

    return syscall(SYS_kcmp, me, me, KCMP_FILE, a, b) == 0;
}

static struct nj_order_timer *find_timerfd(struct nj_order *o, int copy)
{
    for (size_t i = 0; i < o->n_timers; i++) {
        if (o->timers[i].tgid == 0 && is_same_file(o->timers[i].fd, copy))
            return &o->timers[i];
    }
    return NULL;
}

/* can_expire - this kernel lets us say how often it did, and which descriptors are one */
static bool can_expire(int copy)
{
    const uint64_t none = 0;

    return ioctl(copy, TFD_IOC_SET_TICKS, &none) < 0 && errno == EINVAL && is_same_file(copy, copy);
}

static enum nj_order_verdict set_timerfd(struct nj_virtual *v, const struct nj_order_task *task,
                                         struct seccomp_notif_resp *response)
{
    static const int64_t never[4];
    const __u64 *args = task->notif.data.args;
    struct nj_order *o = v->order;
    struct nj_order_timer wanted = {.id = (uint32_t)args[0], .tid = task->tid}, *timer;
    nj_auto_close int copy = -1;
    int64_t times[4], left[4], value_ns;
    uint64_t ticks;
    int clock;

    if ((int)args[1] & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) ||
        !nj_virtual_read(task->tid, args[2], times, sizeof(times)) || !is_time(times, 1) ||
        !read_timerfd(v, task->tid, (int)args[0], &clock, &ticks))
        return NJ_ORDER_GOES; /* an error */
    copy = nj_order_copy(task, (int)args[0]);
    if (copy < 0 || !can_expire(copy) || o->n_timers == NJ_ORDER_TIMERS_MAX)
        return NJ_ORDER_REFUSED;
    timer = find_timerfd(o, copy);
    to_parts(timer, nj_clock_read(v), 1, left);
    if (timer)
        drop(o, timer);
    /* What it was to be read of is gone, too. */
    (void)syscall(SYS_timerfd_settime, copy, 0, never, NULL);
    value_ns = (int)args[1] & TFD_TIMER_ABSTIME ? length_until(v, times + 2, clock)
                                                : length_from(times[2], times[3], 1);
    if (value_ns > 0) {
        wanted.interval_ns = length_from(times[0], times[1], 1);
        wanted.due_ns = nj_clock_read(v) + value_ns;
        wanted.fd = nj_steal_fd(&copy);
        o->timers[o->n_timers++] = wanted;
    }
    if (args[3] != 0 && !nj_virtual_write(task->tid, args[3], left, sizeof(left)))
        response->error = -EFAULT;
    return NJ_ORDER_ANSWERED;
}

static enum nj_order_verdict get_timerfd(struct nj_virtual *v, const struct nj_order_task *task,
                                         struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    const struct nj_order_timer *timer;
    nj_auto_close int copy = -1;
    int64_t left[4];
    uint64_t ticks;
    int clock;

    if (!read_timerfd(v, task->tid, (int)args[0], &clock, &ticks))
        return NJ_ORDER_GOES;
    copy = nj_order_copy(task, (int)args[0]);
    timer = copy < 0 ? NULL : find_timerfd(v->order, copy);
    if (!timer)
        return NJ_ORDER_GOES; /* the kernel's is not set */
    to_parts(timer, nj_clock_read(v), 1, left);
    if (!nj_virtual_write(task->tid, args[1], left, sizeof(left)))
        response->error = -EFAULT;
    return NJ_ORDER_ANSWERED;
}

/* expire - @turns times more than it was read of */
static void expire(struct nj_virtual *v, const struct nj_order_timer *timer, uint64_t turns)
{
    uint64_t ticks = 0;
    int clock;

    (void)read_timerfd(v, getpid(), timer->fd, &clock, &ticks);
    ticks += turns;
    (void)ioctl(timer->fd, TFD_IOC_SET_TICKS, &ticks);
}

/* arm - the kernel runs it in real time from here on; what it was not read of stays */
static void arm(struct nj_virtual *v, const struct nj_order_timer *timer, int64_t value_ns)
{
    const int64_t times[4] = {timer->interval_ns / NS_PER_S, timer->interval_ns % NS_PER_S,
                              value_ns / NS_PER_S, value_ns % NS_PER_S};
    uint64_t unread = 0;
    int clock;

    (void)read_timerfd(v, getpid(), timer->fd, &clock, &unread);
    (void)syscall(SYS_timerfd_settime, timer->fd, 0, times, NULL);
    if (unread > 0)
        expire(v, timer, unread);
}

static void hand_over(struct nj_virtual *v, const struct nj_order_timer *timer)
{
    int64_t value_ns = timer->due_ns - nj_clock_read(v);

    value_ns = value_ns > 0 ? value_ns : 1;
    arm(v, timer, value_ns);
    nj_timers_add(v, timer->tid, NJ_TIMER_OF_FD(timer->id), value_ns, timer->interval_ns);
}

static bool has(pid_t tid, uint32_t fd, const struct nj_order_timer *timer)
{
    return syscall(SYS_kcmp, tid, getpid(), KCMP_FILE, fd, timer->fd) == 0;
}

/* find_open - somebody has it open: as a rule who set it, by the number that it was set by */
static bool find_open(struct nj_virtual *v, struct nj_order_timer *timer)
{
    struct nj_order *o = v->order;
    unsigned left = SEARCH_MAX;

    if (timer->tid == 0 || has(timer->tid, timer->id, timer))
        return true;
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        const struct nj_order_task *task;

        LIST_FOREACH(task, &o->tasks[i], bucket)
        {
            char status[NJ_PROC_STATUS_BYTES];
            long n;

            if (task->tid != task->process->tgid && nj_order_find(o, task->process->tgid))
                continue; /* what its process's first thread has */
            n = nj_proc_read(v, task->tid, "status", status, sizeof(status))
                    ? nj_proc_number(status, "\nFDSize:")
                    : 0;
            for (long fd = 0; fd < n; fd++) {
                if (left-- == 0) {
                    timer->tid = 0;
                    return true;
                }
                if (!has(task->tid, (uint32_t)fd, timer))
                    continue;
                timer->tid = task->tid;
                timer->id = (uint32_t)fd;
                return true;
            }
        }
    }
    return false;
}

/* ---- all of them ---- */

enum nj_order_verdict nj_order_timer(struct nj_virtual *v, struct nj_order_task *task,
                                     struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    struct nj_order_timer *timer;

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
    case SYS_timerfd_settime:
        return set_timerfd(v, task, response);
    case SYS_timerfd_gettime:
        return get_timerfd(v, task, response);
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
        (void)syscall(SYS_pidfd_send_signal, timer->fd, timer->signal, NULL, 0);
        return;
    }
    info.si_code = SI_TIMER;
    info.si_timerid = (int)timer->id;
    info.si_value.sival_ptr = (void *)(uintptr_t)timer->value;
    (void)syscall(SYS_pidfd_send_signal, timer->fd, timer->signal, &info, 0);
}

/* look_for_signal - whoever @timer sent one to may be parked */
static void look_for_signal(struct nj_virtual *v, const struct nj_order_timer *timer)
{
    struct nj_order *o = v->order;
    struct nj_order_process *process = nj_order_process(o, timer->tgid);

    if (!process || !o->keeps)
        return;
    nj_order_signal_to(v, process);
    o->kill_target = o->killed ? 0 : (pid_t)process->inside;
    o->killed = true;
}

/* note_sent - descriptor @fd of @task is sent */
static void note_sent(struct nj_virtual *v, const struct nj_order_task *task, int fd)
{
    struct nj_order_timer *timer;
    nj_auto_close int copy = -1;
    uint64_t ticks;
    int clock;

    if (!read_timerfd(v, task->tid, fd, &clock, &ticks))
        return;
    copy = nj_order_copy(task, fd);
    timer = copy < 0 ? NULL : find_timerfd(v->order, copy);
    if (timer)
        timer->sent = true;
    else
        v->order->sent_other = true;
}

void nj_order_timers_sent(struct nj_virtual *v, const struct nj_order_task *task)
{
    const struct seccomp_data *call = &task->notif.data;
    uint8_t control[CONTROL_BYTES];
    struct msghdr message;
    struct cmsghdr head;
    size_t len;
    int fd;

    if (call->nr != SYS_sendmsg ||
        !nj_virtual_read(task->tid, call->args[1], &message, sizeof(message)) ||
        message.msg_controllen == 0)
        return;
    len = message.msg_controllen < sizeof(control) ? message.msg_controllen : sizeof(control);
    v->order->sent_other |= message.msg_controllen > len;
    if (!nj_virtual_read(task->tid, (uint64_t)(uintptr_t)message.msg_control, control, len))
        return;
    for (size_t at = 0; len - at >= sizeof(head); at += CMSG_ALIGN(head.cmsg_len)) {
        memcpy(&head, control + at, sizeof(head));
        if (head.cmsg_len < sizeof(head) || head.cmsg_len > len - at)
            return; /* the kernel will refuse it */
        for (size_t i = sizeof(head);
             head.cmsg_level == SOL_SOCKET && head.cmsg_type == SCM_RIGHTS &&
             head.cmsg_len - i >= sizeof(fd);
             i += sizeof(fd)) {
            memcpy(&fd, control + at + i, sizeof(fd));
            note_sent(v, task, fd);
        }
        if (CMSG_ALIGN(head.cmsg_len) > len - at)
            return;
    }
}

bool nj_order_timers_fire(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    bool any = false;

    for (;;) {
        int64_t now_ns = o->keeps ? nj_clock_read(v) : nj_virtual_now_ns(CLOCK_MONOTONIC),
                turns = 1;
        struct nj_order_timer *first = NULL;
        bool closed = false;

        for (size_t i = 0; i < o->n_timers; i++) {
            if (!first || o->timers[i].due_ns < first->due_ns)
                first = &o->timers[i];
        }
        if (!first || first->due_ns > now_ns)
            return any;
        if (!o->keeps)
            nj_clock_raise(v, first->clock_ns);
        if (first->interval_ns > 0)
            turns = (now_ns - first->due_ns) / first->interval_ns + 1;
        if (first->tgid == 0) {
            closed = !find_open(v, first);
            if (closed && first->interval_ns > 0 && o->keeps && (first->sent || o->sent_other)) {
                nj_order_release(v); /* which gives it to the kernel */
                continue;
            }
            if (closed && first->interval_ns > 0)
                arm(v, first, first->interval_ns);
            expire(v, first, (uint64_t)turns);
        } else {
            send_signal(first);
            look_for_signal(v, first);
        }
        any = true;
        if (first->interval_ns > 0 && !closed) {
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
    int64_t due_ns = NJ_ORDER_NEVER, soon_ns = nj_clock_read(v) + TURNS_NS;

    for (size_t i = 0; i < o->n_timers; i++) {
        const struct nj_order_timer *timer = &o->timers[i];
        int64_t at_ns = timer->due_ns;

        if (o->keeps && timer->interval_ns > 0 && timer->interval_ns < TURNS_NS && at_ns < soon_ns)
            at_ns = soon_ns;
        if (at_ns < due_ns)
            due_ns = at_ns;
    }
    return due_ns;
}

/* ---- behind the order's end ---- */

void nj_order_timers_release(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    int64_t by_ns = nj_virtual_now_ns(CLOCK_MONOTONIC) - nj_clock_read(v);

    for (size_t i = o->n_timers; i-- > 0;) {
        if (o->timers[i].tgid == 0) {
            hand_over(v, &o->timers[i]);
            drop(o, &o->timers[i]);
            continue;
        }
        o->timers[i].clock_ns = o->timers[i].due_ns;
        o->timers[i].due_ns += by_ns;
    }
}

void nj_order_timers_supersede(struct nj_virtual *v, const struct seccomp_notif *notif)
{
    struct nj_order *o = v->order;
    char status[NJ_PROC_STATUS_BYTES];
    struct nj_order_timer *timer;
    uint32_t id;

    switch (o->n_timers > 0 ? notif->data.nr : -1) {
    case SYS_setitimer:
        if ((int)notif->data.args[0] != ITIMER_REAL)
            return;
        /* fallthrough */
    case SYS_alarm:
        id = NJ_ORDER_ITIMER;
        break;
    case SYS_timer_settime:
    case SYS_timer_delete:
        id = (uint32_t)notif->data.args[0];
        break;
    default:
        return;
    }
    if (!nj_proc_read(v, (pid_t)notif->pid, "status", status, sizeof(status)))
        return;
    timer = find(o, (pid_t)nj_proc_number(status, "\nTgid:"), id);
    if (timer)
        drop(o, timer);
}
