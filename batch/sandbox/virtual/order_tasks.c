/*
 * order_tasks.c - who there is: births, deaths, and who is whose child
 *
 * A birth happens under our eyes: the parent is seized while it is parked in the call, so the
 * kernel stops the child before its first instruction, and there it stays until it gets the token.
 * A death is waited for before the token moves on: only when the pidfd tells of it and the kernel's
 * list of tasks was locked once after that have the descriptors been closed and the parent's signal
 * been sent, and what others do next depends on both.
 *
 * The complication is that none of this comes in a fixed order in real time: a child's stop may be
 * told before its parent's, the end of a vfork after the child's exec. So what is still to come is
 * counted (n_unsettled), and nobody is chosen before it came; places in the queue are given at the
 * moments that the order itself fixes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/proc.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

/* ---- the table ---- */

static size_t bucket_of(pid_t pid)
{
    return (unsigned)pid % NJ_ORDER_BUCKETS;
}

struct nj_order_task *nj_order_find(struct nj_order *o, pid_t tid)
{
    struct nj_order_task *task;

    LIST_FOREACH(task, &o->tasks[bucket_of(tid)], bucket)
    {
        if (task->tid == tid)
            return task;
    }
    return NULL;
}

struct nj_order_process *nj_order_process(struct nj_order *o, pid_t tgid)
{
    struct nj_order_process *process;

    LIST_FOREACH(process, &o->processes[bucket_of(tgid)], bucket)
    {
        if (process->tgid == tgid)
            return process;
    }
    return NULL;
}

void nj_order_set_unsettled(struct nj_order *o, bool *flag, bool value)
{
    if (*flag != value)
        o->n_unsettled += value ? 1 : (size_t)-1;
    *flag = value;
}

void nj_order_enqueue(struct nj_order *o, struct nj_order_task *task)
{
    nj_order_dequeue(o, task);
    TAILQ_INSERT_TAIL(&o->queue, task, queue);
    task->queued = true;
}

void nj_order_dequeue(struct nj_order *o, struct nj_order_task *task)
{
    if (task->queued)
        TAILQ_REMOVE(&o->queue, task, queue);
    task->queued = false;
}

/* close_copy - of a socket of the network. Whoever closes the last descriptor waits as long as
 * SO_LINGER says for a peer that may never read, and that is us where a program was killed. */
static void close_copy(int *fd)
{
    struct linger linger = {.l_onoff = 0};
    socklen_t len = sizeof(linger);

    if (getsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 && linger.l_onoff &&
        linger.l_linger > 0) {
        linger = (struct linger){.l_onoff = 0};
        (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    nj_close_auto(fd);
}

void nj_order_forget_looks(struct nj_order_task *task)
{
    for (size_t i = 0; i < task->n_looks; i++) {
        if (task->on_network && task->looks[i].fd >= 0)
            close_copy(&task->looks[i].fd);
        else
            nj_close_auto(&task->looks[i].fd);
    }
    free(task->looks);
    task->looks = NULL;
    task->n_looks = 0;
    task->on_network = false;
}

void nj_order_drop(struct nj_virtual *v, struct nj_order_task *task)
{
    struct nj_order *o = v->order;

    if (o->holder == task)
        o->holder = NULL;
    o->n_lost -= task->state == NJ_ORDER_LOST;
    nj_order_dequeue(o, task);
    nj_order_set_unsettled(o, &task->unsettled, false);
    nj_order_forget_looks(task);
    nj_close_auto(&task->pidfd);
    LIST_REMOVE(task, bucket);
    task->process->n_tasks--;
    o->n_tasks--;
    free(task);
}

static void drop_process(struct nj_order *o, struct nj_order_process *process)
{
    nj_order_set_unsettled(o, &process->unsettled, false);
    nj_close_auto(&process->pidfd);
    LIST_REMOVE(process, bucket);
    free(process);
}

/* read_status - what /proc tells of a task */
static bool read_status(struct nj_virtual *v, pid_t tid, pid_t *ret_tgid, pid_t *ret_parent,
                        uint32_t *ret_inside)
{
    char text[NJ_PROC_STATUS_BYTES];

    if (!nj_proc_read(v, tid, "status", text, sizeof(text)))
        return false;
    *ret_tgid = (pid_t)nj_proc_number(text, "\nTgid:");
    *ret_parent = (pid_t)nj_proc_number(text, "\nPPid:");
    *ret_inside = nj_proc_innermost(text, "\nNStgid:");
    return *ret_tgid > 0 && *ret_parent >= 0 && *ret_inside > 0;
}

static struct nj_order_process *add_process(struct nj_order *o, pid_t tgid, pid_t parent,
                                            uint32_t inside)
{
    struct nj_order_process *process = nj_order_process(o, tgid);

    if (process && !process->dead)
        return process;
    if (process) /* its number is another's now, so it was waited for */
        drop_process(o, process);
    process = calloc(1, sizeof(*process));
    if (!process)
        return NULL;
    process->tgid = tgid;
    process->parent = parent;
    process->inside = inside;
    process->pidfd = (int)syscall(SYS_pidfd_open, tgid, 0);
    if (process->pidfd < 0) {
        free(process);
        return NULL;
    }
    LIST_INSERT_HEAD(&o->processes[bucket_of(tgid)], process, bucket);
    return process;
}

struct nj_order_task *nj_order_add(struct nj_virtual *v, pid_t tid)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task;
    pid_t tgid, parent;
    uint32_t inside;

    if (o->n_tasks >= NJ_ORDER_TASKS_MAX || !read_status(v, tid, &tgid, &parent, &inside))
        return NULL;
    task = calloc(1, sizeof(*task));
    if (!task)
        return NULL;
    task->tid = tid;
    task->output = -1;
    task->pidfd = tid == tgid ? -1 : (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
    task->process = tid != tgid && task->pidfd < 0
                        ? NULL
                        : add_process(o, tgid, nj_order_process(o, parent) ? parent : 0, inside);
    if (!task->process) {
        nj_close_auto(&task->pidfd);
        free(task);
        return NULL;
    }
    LIST_INSERT_HEAD(&o->tasks[bucket_of(tid)], task, bucket);
    task->process->n_tasks++;
    o->n_tasks++;
    return task;
}

/* ---- births ---- */

enum nj_order_verdict nj_order_birth(struct nj_virtual *v, struct nj_order_task *task)
{
    struct nj_task *stopped = nj_virtual_stop(v, task->tid, NJ_TASK_FORK);

    if (!stopped)
        return NJ_ORDER_REFUSED;
    if (!nj_virtual_is_alive(v, &task->notif)) {
        stopped->state = NJ_TASK_LEAVE; /* who was seized may be somebody else */
        (void)ptrace(PTRACE_INTERRUPT, task->tid, NULL, NULL);
    }
    return NJ_ORDER_GOES;
}

/* has_child - @parent is in its stop after the birth; it goes on, unless it waits for the child */
static void has_child(struct nj_virtual *v, struct nj_task *stopped, int event)
{
    struct nj_order *o = v->order;
    struct nj_order_task *parent = nj_order_find(o, stopped->tid), *child = NULL;
    unsigned long message = 0;
    pid_t tid;

    (void)ptrace(PTRACE_GETEVENTMSG, stopped->tid, NULL, &message); /* else it is being killed */
    tid = (pid_t)message;
    if (o->keeps && parent && tid > 0)
        child = nj_order_add(v, tid);
    if (child) {
        child->state = NJ_ORDER_BORN;
        child->stopped = tid == o->early;
        nj_order_set_unsettled(o, &child->unsettled, !child->stopped);
        nj_order_enqueue(o, child);
    }
    if (child && event == PTRACE_EVENT_VFORK) {
        child->vfork_parent = parent->tid;
        parent->state = NJ_ORDER_VFORKS;
        if (o->holder == parent)
            o->holder = NULL;
        /* The parent cannot run before it, so it is next. */
        TAILQ_REMOVE(&o->queue, child, queue);
        TAILQ_INSERT_HEAD(&o->queue, child, queue);
        (void)ptrace(PTRACE_CONT, stopped->tid, NULL, NULL);
    } else {
        nj_virtual_let_go(v, stopped);
    }
    if (!child && tid > 0 && tid == o->early) /* nobody keeps it */
        (void)ptrace(PTRACE_DETACH, tid, NULL, NULL);
    o->early = 0;
    if (!child && o->keeps)
        nj_order_release(v);
}

/* vfork_ends - @child gave its parent's memory back: from here on that may run again */
static void vfork_ends(struct nj_order *o, struct nj_order_task *child)
{
    struct nj_order_task *parent =
        child->vfork_parent != 0 ? nj_order_find(o, child->vfork_parent) : NULL;

    child->vfork_parent = 0;
    if (!parent || parent->state != NJ_ORDER_VFORKS)
        return;
    parent->state = NJ_ORDER_VFORKED;
    nj_order_set_unsettled(o, &parent->unsettled, !parent->stopped);
    nj_order_enqueue(o, parent);
}

static bool forks(struct nj_virtual *v)
{
    for (size_t i = 0; i < v->n_tasks; i++) {
        if (v->tasks[i].state == NJ_TASK_FORK)
            return true;
    }
    return false;
}

bool nj_order_stopped(struct nj_virtual *v, pid_t tid, int status)
{
    struct nj_order *o = v->order;
    struct nj_task *stopped = nj_virtual_find_stopped(v, tid);
    struct nj_order_task *task = o ? nj_order_find(o, tid) : NULL;
    int event = status >> 16;

    if (!o)
        return false;
    if (stopped && stopped->state == NJ_TASK_FORK) {
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
            event == PTRACE_EVENT_CLONE) {
            has_child(v, stopped, event);
        } else if (event == PTRACE_EVENT_VFORK_DONE && task &&
                   (task->state == NJ_ORDER_VFORKS || task->state == NJ_ORDER_VFORKED)) {
            task->stopped = true;
            nj_order_set_unsettled(o, &task->unsettled, false);
        } else { /* no child came; a signal did */
            stopped->signal = event ? 0 : WSTOPSIG(status);
            nj_virtual_let_go(v, stopped);
        }
        return true;
    }
    if (stopped)
        return false;
    if (task && task->state == NJ_ORDER_BORN && !task->stopped) {
        task->stopped = true;
        nj_order_set_unsettled(o, &task->unsettled, false);
        return true;
    }
    if (o->keeps && !task && o->early == 0 && forks(v)) {
        o->early = tid;
        return true;
    }
    return false; /* perhaps a newborn that nobody keeps any more */
}

void nj_order_resume(struct nj_virtual *v, struct nj_order_task *task)
{
    struct nj_task *stopped;

    if (task->state == NJ_ORDER_BORN) {
        (void)ptrace(PTRACE_DETACH, task->tid, NULL, NULL);
    } else {
        stopped = nj_virtual_find_stopped(v, task->tid);
        if (stopped)
            nj_virtual_let_go(v, stopped);
    }
    task->stopped = false;
}

void nj_order_execed(struct nj_virtual *v, pid_t before, pid_t tid)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task = o && o->keeps ? nj_order_find(o, before) : NULL;

    if (!task)
        return;
    vfork_ends(o, task);
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) { /* its other threads are gone */
        struct nj_order_task *other = LIST_FIRST(&o->tasks[i]), *next;

        for (; other; other = next) {
            next = LIST_NEXT(other, bucket);
            if (other != task && other->process == task->process)
                nj_order_drop(v, other);
        }
    }
    nj_order_timers_execed(v, task->process->tgid);
    if (before == tid)
        return;
    LIST_REMOVE(task, bucket);
    task->tid = tid;
    nj_close_auto(&task->pidfd);
    task->pidfd = -1;
    LIST_INSERT_HEAD(&o->tasks[bucket_of(tid)], task, bucket);
}

/* ---- deaths ---- */

void nj_order_gone(struct nj_virtual *v, pid_t tid)
{
    struct nj_order *o = v->order;
    struct nj_order_task *task = o ? nj_order_find(o, tid) : NULL;

    if (!o)
        return;
    if (tid == o->early) {
        o->early = 0;
    } else if (task && task->state == NJ_ORDER_BORN) {
        nj_order_ends(v, task, tid == task->process->tgid);
        task->state = NJ_ORDER_ENDS;
    }
}

void nj_order_ends(struct nj_virtual *v, struct nj_order_task *task, bool whole_process)
{
    struct nj_order *o = v->order;

    if (task->state == NJ_ORDER_PARKED)
        nj_order_dequeue(o, task);
    if (whole_process) {
        nj_order_set_unsettled(o, &task->process->unsettled, true);
        return;
    }
    if (task->pidfd < 0) /* the leader, which ends before the others */
        task->pidfd = (int)syscall(SYS_pidfd_open, task->tid, PIDFD_THREAD);
    nj_order_dequeue(o, task);
    o->n_lost -= task->state == NJ_ORDER_LOST;
    task->state = NJ_ORDER_ENDS;
    nj_order_set_unsettled(o, &task->unsettled, true);
}

static bool is_over(int pidfd)
{
    struct pollfd polled = {pidfd, POLLIN, 0};

    return pidfd < 0 || poll(&polled, 1, 0) > 0;
}

/* after_death - the kernel tells a pidfd before it sends the parent's signal, but both under a lock
 * that this takes */
static void after_death(void)
{
    siginfo_t info;

    (void)waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL);
}

static void leave_children(struct nj_virtual *v, const struct nj_order_process *process)
{
    struct nj_order *o = v->order;

    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_process *child = LIST_FIRST(&o->processes[i]), *next;

        for (; child; child = next) {
            pid_t tgid, parent = 0;
            uint32_t inside;

            next = LIST_NEXT(child, bucket);
            if (child->parent != process->tgid || child == process)
                continue;
            (void)read_status(v, child->tgid, &tgid, &parent, &inside); /* else it is gone */
            child->parent = nj_order_process(o, parent) ? parent : 0;
            if (child->dead && child->parent == 0)
                drop_process(o, child);
        }
    }
}

static void bury_process(struct nj_virtual *v, struct nj_order_process *process)
{
    struct nj_order *o = v->order;
    struct nj_order_process *parent;

    after_death();
    nj_order_set_unsettled(o, &process->unsettled, false);
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task = LIST_FIRST(&o->tasks[i]), *next;

        for (; task; task = next) {
            next = LIST_NEXT(task, bucket);
            if (task->process != process)
                continue;
            vfork_ends(o, task);
            nj_order_drop(v, task);
        }
    }
    nj_order_timers_drop(v, process->tgid);
    process->dead = true;
    o->deaths++;
    leave_children(v, process);
    nj_order_futex_recheck(v, NULL);
    parent = process->parent != 0 ? nj_order_process(o, process->parent) : NULL;
    if (parent)
        nj_order_signal_to(v, parent);
    if (!parent || parent->dead)
        drop_process(o, process);
}

bool nj_order_bury(struct nj_virtual *v, bool look_at_all)
{
    struct nj_order *o = v->order;
    bool any = false;

    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task = LIST_FIRST(&o->tasks[i]), *next;

        for (; task; task = next) {
            struct nj_order_process *process = task->process;

            next = LIST_NEXT(task, bucket);
            if (task->state != NJ_ORDER_ENDS || process->unsettled || !is_over(task->pidfd))
                continue;
            after_death();
            nj_order_drop(v, task);
            nj_order_futex_recheck(v, process);
            any = true;
        }
    }
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_process *process = LIST_FIRST(&o->processes[i]);

        while (process) {
            if (!process->dead && (process->unsettled || look_at_all) && is_over(process->pidfd)) {
                bury_process(v, process);
                any = true;
                process = LIST_FIRST(&o->processes[i]); /* others may be gone, too */
            } else {
                process = LIST_NEXT(process, bucket);
            }
        }
    }
    return any;
}
