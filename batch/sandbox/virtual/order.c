/*
 * order.c - the token: who runs, who is next, and when it is given up
 *
 * A notification of the holder is answered, or parks it; then the queue is walked from its head,
 * and the first task whose call can be answered gets the token. A task is put at the queue's end
 * when it parks, so who waited longest goes first. After BUDGET calls without blocking a task is
 * treated as one that yields, so that a loop of polls lets others do what it polls for.
 *
 * The complication is that the kernel does not take part: whoever has the token can compute for
 * ever, or sleep in a call that nobody tells of, and others may be what it waits for. The watchdog
 * looks at the holder's processor time and state; what it cannot explain ends the order for this
 * call. Computing alone is no reason: only if another task could go on by now.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "batch/sandbox/virtual/order.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define NS_PER_MS INT64_C(1000000)
#define BUDGET 3000      /* calls; enough for what a program does between two waits */
#define LOOK_EVERY_MS 10 /* at a holder that makes no calls */
#define SPIN_NS (INT64_C(1200) * NS_PER_MS)       /* of processor time, while another could run */
#define UNSETTLED_NS (INT64_C(10000) * NS_PER_MS) /* a stop or a death takes no longer */
#define NETWORK_LAG_NS (10 * NS_PER_MS)           /* what was sent has arrived by then */
#define NETWORK_LOOK_MS 2
#define JUMPS_A_TURN 256 /* then the loop, which keeps the limits, has its turn */

bool nj_order_keeps(const struct nj_virtual *v)
{
    return v->order && v->order->keeps;
}

int nj_order_begin(struct nj_virtual *v, const struct nj_order_outputs *outputs,
                   struct nj_error *err)
{
    struct nj_order *o;

    nj_order_end(v);
    if (v->level < NJ_LEVEL_MAX)
        return 0;
    o = calloc(1, sizeof(*o));
    if (!o)
        return nj_fail_nomem(err);
    o->keeps = true;
    o->busy_from_ns = -1;
    TAILQ_INIT(&o->queue);
    o->outputs = *outputs;
    v->order = o;
    for (int i = 0; i < 2; i++) {
        if (fstat(outputs->fds[i], &o->output_stat[i]) < 0)
            return nj_fail_errno(err, errno, "call: its pipes");
    }
    return 0;
}

static void drop_all_tasks(struct nj_virtual *v)
{
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        while (!LIST_EMPTY(&v->order->tasks[i]))
            nj_order_drop(v, LIST_FIRST(&v->order->tasks[i]));
    }
}

void nj_order_end(struct nj_virtual *v)
{
    struct nj_order *o = v->order;

    if (!o)
        return;
    drop_all_tasks(v);
    nj_order_timers_end(o);
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        while (!LIST_EMPTY(&o->processes[i])) {
            struct nj_order_process *process = LIST_FIRST(&o->processes[i]);

            nj_close_auto(&process->pidfd);
            LIST_REMOVE(process, bucket);
            free(process);
        }
    }
    free(o);
    v->order = NULL;
}

/* ---- answers ---- */

/* asks_use - waits for a child and asks what it used, which the kernel must not tell */
static bool asks_use(const struct seccomp_data *call)
{
    return (call->nr == SYS_wait4 && call->args[3] != 0) ||
           (call->nr == SYS_waitid && call->args[4] != 0);
}

/* respond - false: the task is dying */
static bool respond(struct nj_virtual *v, struct nj_order_task *task, enum nj_order_verdict verdict,
                    struct seccomp_notif_resp *response)
{
    response->id = task->notif.id;
    if (verdict == NJ_ORDER_GOES && asks_use(&task->notif.data) && !task->interrupted) {
        nj_order_forget_looks(task);
        nj_virtual_serve_call(v, &task->notif); /* begun again without that, and told of again */
        return true;                            /* else its pidfd tells */
    }
    if (verdict == NJ_ORDER_GOES) {
        nj_order_writes(v, task->output);
        *response = (struct seccomp_notif_resp){.id = task->notif.id,
                                                .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    } else if (response->error != 0) {
        response->val = 0;
    }
    nj_order_forget_looks(task);
    return ioctl(v->listener_fd, SECCOMP_IOCTL_NOTIF_SEND, response) == 0;
}

/* try - may the parked @task go on? */
static enum nj_order_verdict try(struct nj_virtual *v, struct nj_order_task *task,
                                 struct seccomp_notif_resp *response)
{
    enum nj_order_verdict verdict;

    if (nj_order_is_interrupted(v, task)) {
        verdict = nj_order_interrupt(v, task, response);
        if (verdict == NJ_ORDER_GOES &&
            nj_virtual_wait(v, &task->notif, response) == NJ_ANSWER_VALUE)
            return NJ_ORDER_ANSWERED; /* and goes on in the image */
        /* Where no child is to be told of the kernel ends the wait, and tells no use of any. */
        task->interrupted =
            asks_use(&task->notif.data) && nj_order_test(v, task, response) == NJ_ORDER_WAITS;
        return verdict;
    }
    verdict = nj_order_test(v, task, response);
    if (verdict == NJ_ORDER_WAITS && task->deadline_ns <= nj_clock_read(v)) {
        nj_order_expire(v, task, response);
        verdict = NJ_ORDER_ANSWERED;
    }
    return verdict;
}

/* ---- who is next ---- */

static void give_token(struct nj_order *o, struct nj_order_task *task)
{
    nj_order_dequeue(o, task);
    task->calls = 0;
    task->state = NJ_ORDER_RUNS;
    o->holder = task;
    o->served++;
    o->idle_until_ns = 0;
}

/* walk - the first in the queue that can go on does; false: nobody can */
static bool walk(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task, *next;

    for (task = TAILQ_FIRST(&o->queue); task; task = next) {
        struct seccomp_notif_resp response = {.id = 0};
        enum nj_order_verdict verdict;

        next = TAILQ_NEXT(task, queue);
        if (task->state == NJ_ORDER_BORN || task->state == NJ_ORDER_VFORKED) {
            nj_order_resume(v, task);
            give_token(o, task);
            return true;
        }
        if (task->state == NJ_ORDER_ARRIVED) {
            give_token(o, task);
            o->deferred = true;
            return true;
        }
        verdict = try(v, task, &response);
        if (verdict == NJ_ORDER_REFUSED) {
            nj_order_release(v);
            return true;
        }
        if (verdict == NJ_ORDER_WAITS)
            continue;
        if (!respond(v, task, verdict, &response)) {
            nj_order_ends(v, task, true);
            return true;
        }
        give_token(o, task);
        return true;
    }
    return false;
}

/* lags - somebody listens to the network, and what was sent may still be on its way; before the
 * order is given up (@at_ns: never) that is waited for longer than before a jump */
static bool lags(struct nj_order *o, int64_t at_ns)
{
    int64_t now_ns = nj_virtual_now_ns(CLOCK_MONOTONIC);
    struct nj_order_task *task;

    if (o->idle_until_ns != 0)
        return now_ns < o->idle_until_ns;
    TAILQ_FOREACH(task, &o->queue, queue)
    {
        if (task->on_network) {
            o->idle_until_ns = now_ns + (at_ns == NJ_ORDER_NEVER ? UNSETTLED_NS : NETWORK_LAG_NS);
            return true;
        }
    }
    return false;
}

static int64_t earliest(const struct nj_virtual *v)
{
    int64_t at_ns = nj_order_timers_due(v);
    const struct nj_order_task *task;

    TAILQ_FOREACH(task, &v->order->queue, queue)
    {
        if (task->state == NJ_ORDER_PARKED && task->deadline_ns < at_ns)
            at_ns = task->deadline_ns;
    }
    return at_ns;
}

static void choose(struct nj_virtual *v)
{
    struct nj_order *o = v->order;

    o->again = false;
    for (int jumps = 0; o->keeps && !o->holder && o->n_tasks > 0;) {
        int64_t at_ns, now_ns;

        if (o->n_unsettled > 0 && !nj_order_bury(v, false))
            return;
        nj_order_settle_lost(v);
        (void)nj_order_timers_fire(v);
        if (!o->keeps)
            return;
        nj_order_after_signals(v);
        if (o->n_unsettled > 0 || walk(v))
            continue;
        if (o->again || jumps++ == JUMPS_A_TURN) {
            o->again = true;
            return;
        }
        if (nj_order_bury(v, true))
            continue; /* the kernel killed somebody */
        at_ns = earliest(v);
        if (lags(o, at_ns))
            return;
        o->idle_until_ns = 0;
        if (at_ns == NJ_ORDER_NEVER) {
            nj_order_release(v); /* nobody will ever run again, or we do not know why they do */
            return;
        }
        now_ns = nj_clock_read(v);
        if (at_ns > now_ns) {
            o->jumped_ns += at_ns - now_ns;
            nj_clock_raise(v, at_ns);
        }
    }
}

/* ---- notifications ---- */

static enum nj_order_verdict park(struct nj_virtual *v, struct nj_order_task *task)
{
    task->fresh = true;
    task->interrupted = false;
    task->yields = false;
    task->done = task->total = 0;
    task->futex.woken = false;
    return nj_order_prepare(v, task);
}

/* decide - what becomes of the holder's call. @ret_served: nothing of ours, D2 knows it. */
static enum nj_order_verdict decide(struct nj_virtual *v, struct nj_order_task *task,
                                    struct seccomp_notif_resp *response, bool *ret_served)
{
    enum nj_order_verdict verdict;

    switch (task->notif.data.nr) {
    case SYS_clone:
    case SYS_fork:
    case SYS_vfork:
        return nj_order_birth(v, task);
    case SYS_exit:
    case SYS_exit_group:
        return NJ_ORDER_GOES;
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
    case SYS_rt_sigqueueinfo:
    case SYS_rt_tgsigqueueinfo:
    case SYS_pidfd_send_signal:
        return nj_order_sends(v, task);
    case SYS_ptrace:   /* who is stopped by whom is theirs to say */
    case SYS_signalfd: /* whether it is ready depends on who asks */
    case SYS_signalfd4:
        return NJ_ORDER_REFUSED;
    case SYS_alarm:
    case SYS_setitimer:
    case SYS_getitimer:
    case SYS_timer_settime:
    case SYS_timer_gettime:
    case SYS_timer_delete:
    case SYS_timerfd_settime:
    case SYS_timerfd_gettime:
        return nj_order_timer(v, task, response);
    case SYS_sched_yield:
        (void)park(v, task);
        task->yields = true;
        return NJ_ORDER_WAITS;
    case SYS_futex:
        verdict = park(v, task);
        return verdict == NJ_ORDER_GOES ? verdict : nj_order_futex(v, task, response);
    default:
        if (!nj_order_is_told(task->notif.data.nr)) {
            *ret_served = false;
            return NJ_ORDER_GOES;
        }
        return park(v, task);
    }
}

/* forget_fork - the last one failed, which only this call tells */
static void forget_fork(struct nj_virtual *v, const struct nj_order_task *task)
{
    struct nj_task *stopped = v->n_tasks > 0 ? nj_virtual_find_stopped(v, task->tid) : NULL;

    switch (task->notif.data.nr) {
    case SYS_clone:
    case SYS_fork:
    case SYS_vfork:
    case SYS_execve:
    case SYS_execveat:
        return; /* seizes it anyway */
    default:
        break;
    }
    if (!stopped || stopped->state != NJ_TASK_FORK)
        return;
    stopped->state = NJ_TASK_LEAVE;
    (void)ptrace(PTRACE_INTERRUPT, task->tid, NULL, NULL);
}

/* enter - the holder's call; false: it is served as at D2 */
static bool enter(struct nj_virtual *v, struct nj_order_task *task)
{
    struct nj_order *o = v->order;
    struct seccomp_notif_resp response = {.id = 0};
    int number = task->notif.data.nr;
    enum nj_order_verdict verdict;
    bool ours = true;

    task->output = -1;
    forget_fork(v, task);
    verdict = decide(v, task, &response, &ours);
    if (verdict == NJ_ORDER_WAITS && !task->yields && task->calls <= BUDGET)
        verdict = try(v, task, &response);
    if (verdict == NJ_ORDER_REFUSED) {
        nj_order_forget_looks(task);
        nj_order_release(v);
        return false;
    }
    if (!ours)
        return false;
    if (verdict == NJ_ORDER_WAITS) {
        task->state = NJ_ORDER_PARKED;
        task->calls = 0;
        o->holder = NULL;
        nj_order_enqueue(o, task);
        return true;
    }
    if (!respond(v, task, verdict, &response))
        nj_order_ends(v, task, true);
    else if (number == SYS_exit || number == SYS_exit_group)
        nj_order_ends(v, task, number == SYS_exit_group || task->process->n_tasks == 1);
    return true;
}

/* arrives - a task that was lost; not before others that are waited for */
static void arrives(struct nj_order *o, struct nj_order_task *task)
{
    o->n_lost--;
    nj_order_set_unsettled(o, &task->unsettled, false);
    task->state = NJ_ORDER_ARRIVED;
    nj_order_enqueue(o, task);
}

bool nj_order_enter(struct nj_virtual *v, const struct seccomp_notif *notif)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task;

    if (!o)
        return false;
    if (!o->keeps) {
        nj_order_timers_supersede(v, notif);
        return false;
    }
    task = nj_order_find(o, (pid_t)notif->pid);
    if (!task && o->n_tasks == 0)
        o->holder = task = nj_order_add(v, (pid_t)notif->pid);
    if (!task || (task == o->holder ? o->deferred : task->state != NJ_ORDER_LOST)) {
        nj_order_release(v); /* somebody runs without the token */
        return false;
    }
    task->notif = *notif;
    o->served++;
    nj_order_timers_sent(v, task);
    if (task != o->holder) {
        arrives(o, task);
        return true;
    }
    /* Looks at files may be told or not, by what the box saw before: they must not count. */
    if (nj_order_is_told(notif->data.nr)) {
        task->calls++;
        (void)nj_clock_tick(v);
    }
    (void)nj_order_timers_fire(v);
    if (!o->keeps)
        return false;
    nj_order_after_signals(v);
    nj_order_settle_lost(v);
    if (o->n_unsettled == 0) /* else whom it killed may be dead for this call, or not yet */
        return enter(v, task);
    o->deferred = true;
    return true;
}

/* enter_deferred - what was put off is looked at now */
static void enter_deferred(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task = o->holder;
    struct seccomp_notif notif;

    if (!o->deferred || o->n_unsettled > 0)
        return;
    o->deferred = false;
    if (!task)
        return;
    notif = task->notif; /* the task is gone when this gives the order up */
    if (!enter(v, task))
        nj_virtual_serve_call(v, &notif);
}

/* ---- the watchdog ---- */

/* could_run - another task, if it had the token; asked without doing anything for it */
static bool could_run(const struct nj_virtual *v, const struct nj_order_task *task)
{
    if (task->state != NJ_ORDER_PARKED)
        return true; /* born, or back from its vfork */
    if (task->yields || task->futex.woken || task->interrupted || task->look_for_signal)
        return true;
    if (task->deadline_ns <= nj_clock_read(v))
        return true;
    if (task->notif.data.nr == SYS_wait4 || task->notif.data.nr == SYS_waitid)
        return task->deaths != v->order->deaths;
    return task->n_looks > 0 && poll(task->looks, task->n_looks, 0) > 0;
}

/* may_wait_for - what the holder, which made no call for @spun_ns, may be waiting for */
static bool may_wait_for(const struct nj_virtual *v, int64_t spun_ns)
{
    const struct nj_order_task *task;
    int64_t at_ns = earliest(v);

    /* As long as it computes no time passes. It would have by now. */
    if (at_ns != NJ_ORDER_NEVER && at_ns - nj_clock_read(v) <= spun_ns)
        return true;
    TAILQ_FOREACH(task, &v->order->queue, queue)
    {
        if (could_run(v, task))
            return true;
    }
    return false;
}

/* look_at_holder - false: the order cannot go on with it */
static bool look_at_holder(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task = o->holder;
    bool first = o->served != o->looked_at || o->busy_from_ns < 0;
    struct pollfd told = {v->listener_fd, POLLIN, 0};
    uint64_t slices;
    int64_t busy_ns;
    bool asleep;
    char state;

    o->looked_at = o->served;
    if (nj_virtual_find_stopped(v, task->tid) || task->unsettled || task->process->unsettled) {
        o->busy_from_ns = -1;
        return true; /* on its way into a new program, or out */
    }
    if (!nj_order_read_schedule(v, task->tid, &busy_ns, &slices))
        return true; /* its pidfd will tell */
    if (first) {
        o->busy_from_ns = busy_ns;
        o->slices = slices;
        o->asleep = false;
        return true;
    }
    if (busy_ns - o->busy_from_ns >= SPIN_NS && may_wait_for(v, busy_ns - o->busy_from_ns))
        return false;
    state = nj_order_state_of(v, task->tid);
    /* Once may be in a call that we answer as soon as this turn of the loop: a random device's. */
    asleep = state == 'S' && slices == o->slices;
    if (asleep && o->asleep)
        return poll(&told, 1, 0) > 0 || nj_order_lose(v, task, slices);
    o->asleep = asleep;
    o->slices = slices;
    return state != 'T';
}

static void watch(struct nj_virtual *v)
{
    struct nj_order *o = v->order;
    int64_t now_ns = nj_virtual_now_ns(CLOCK_MONOTONIC);
    struct pollfd told = {v->listener_fd, POLLIN, 0};

    if (now_ns < o->next_look_ns)
        return;
    o->next_look_ns = now_ns + LOOK_EVERY_MS * NS_PER_MS;
    if (poll(&told, 1, 0) > 0)
        return; /* who sleeps may do so in the call that we have not looked at yet */
    nj_order_watch_lost(v);
    if (o->n_unsettled == 0)
        o->unsettled_from_ns = 0;
    else if (o->unsettled_from_ns == 0)
        o->unsettled_from_ns = now_ns;
    else if (now_ns - o->unsettled_from_ns > UNSETTLED_NS)
        nj_order_release(v);
    if (o->keeps && o->holder && !o->deferred && (o->n_tasks > 1 || o->n_timers > 0) &&
        !look_at_holder(v))
        nj_order_release(v);
}

/* ---- the loop ---- */

void nj_order_serve(struct nj_virtual *v)
{
    struct nj_order *o = v->order;

    if (!o)
        return;
    if (!o->keeps) {
        if (o->n_timers > 0)
            (void)nj_order_timers_fire(v);
        return;
    }
    if (o->told) {
        struct pollfd polled = {o->holder ? o->holder->process->pidfd : -1, POLLIN, 0};

        o->told = false;
        if (o->holder && poll(&polled, 1, 0) > 0)
            nj_order_ends(v, o->holder, true); /* it was killed */
        (void)nj_order_bury(v, false);
    }
    watch(v);
    do {
        enter_deferred(v);
        choose(v);
    } while (o->deferred && o->n_unsettled == 0);
}

size_t nj_order_poll_fds(struct nj_virtual *v, struct pollfd *polled)
{
    struct nj_order *o = v->order;
    size_t n = 0;

    if (!nj_order_keeps(v))
        return 0;
    if (o->holder)
        polled[n++] = (struct pollfd){o->holder->process->pidfd, POLLIN, 0};
    for (size_t i = 0; o->n_unsettled > 0 && i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_process *process;
        struct nj_order_task *task;

        LIST_FOREACH(process, &o->processes[i], bucket)
        {
            if (process->unsettled && n < NJ_ORDER_POLLED_MAX)
                polled[n++] = (struct pollfd){process->pidfd, POLLIN, 0};
        }
        LIST_FOREACH(task, &o->tasks[i], bucket)
        {
            if (task->state == NJ_ORDER_ENDS && task->pidfd >= 0 && n < NJ_ORDER_POLLED_MAX)
                polled[n++] = (struct pollfd){task->pidfd, POLLIN, 0};
        }
    }
    return n;
}

int nj_order_wait_ms(const struct nj_virtual *v, int wait_ms)
{
    const struct nj_order *o = v->order;
    int ms = INT_MAX;

    if (!o)
        return wait_ms;
    if (!o->keeps) {
        int64_t due_ns = nj_order_timers_due(v), now_ns;

        if (due_ns == NJ_ORDER_NEVER)
            return wait_ms;
        now_ns = nj_virtual_now_ns(CLOCK_MONOTONIC);
        due_ns = due_ns > now_ns ? (due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
        ms = due_ns > INT_MAX ? INT_MAX : (int)due_ns;
    } else if (o->again) {
        ms = 0;
    } else if (o->idle_until_ns != 0) {
        ms = NETWORK_LOOK_MS;
    } else if (o->n_unsettled > 0 || o->n_tasks > 1 || o->n_timers > 0) {
        ms = LOOK_EVERY_MS;
    }
    return ms < wait_ms ? ms : wait_ms;
}

/* ---- giving up ---- */

/* let_go - a task of the queue or in a stop; what it asked for is served as at D2 */
static void let_go(struct nj_virtual *v, struct nj_order_task *task)
{
    struct seccomp_notif_resp response = {.id = 0};

    switch (task->state) {
    case NJ_ORDER_BORN:
    case NJ_ORDER_VFORKED:
        if (task->stopped)
            nj_order_resume(v, task);
        return; /* else at its stop */
    case NJ_ORDER_VFORKS:
        if (task->stopped)
            nj_order_resume(v, task);
        return;
    case NJ_ORDER_RUNS:
    case NJ_ORDER_LOST:
    case NJ_ORDER_ENDS:
        return;
    case NJ_ORDER_ARRIVED:
        nj_virtual_serve_call(v, &task->notif);
        return;
    case NJ_ORDER_PARKED:
        break;
    }
    if (task->done > 0)
        response.val = (int64_t)task->done;
    else if (!task->yields && !task->futex.woken &&
             nj_virtual_wait(v, &task->notif, &response) == NJ_ANSWER_CONTINUE) {
        (void)respond(v, task, NJ_ORDER_GOES, &response);
        return;
    }
    (void)respond(v, task, NJ_ORDER_ANSWERED, &response);
}

void nj_order_release(struct nj_virtual *v)
{
    struct nj_order *o = v->order;

    if (!o->keeps)
        return;
    o->keeps = false;
    if (o->deferred && o->holder)
        nj_virtual_serve_call(v, &o->holder->notif);
    o->holder = NULL;
    nj_virtual_lower(v, NJ_LEVEL_MAX - 1, NJ_LOWERED_ORDER);
    nj_order_timers_release(v);
    if (o->early != 0) {
        (void)ptrace(PTRACE_DETACH, o->early, NULL, NULL);
        o->early = 0;
    }
    for (struct nj_order_task *task; (task = TAILQ_FIRST(&o->queue));) {
        nj_order_dequeue(o, task);
        let_go(v, task);
    }
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task;

        LIST_FOREACH(task, &o->tasks[i], bucket)
        {
            if (task->state == NJ_ORDER_VFORKS)
                let_go(v, task);
        }
    }
    drop_all_tasks(v);
}
