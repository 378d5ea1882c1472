/*
 * order_signals.c - signals, to tasks that are parked
 *
 * A parked task sleeps where only a fatal signal wakes it, so the supervisor looks what is pending:
 * after a signal was sent, a timer fired, or a child died, and when a call brings a mask of its
 * own. What is pending is the kernel's to say (/proc/PID/status): signals that are ignored never
 * become pending, so whatever is, and is not blocked, ends the call.
 *
 * The complication is whose a signal to the whole process is. The kernel wakes one thread: the
 * first, unless that blocks it. To take it as pending for all would send threads round for nothing,
 * or for ever.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/proc.h"

#include "formats/base/banned.h"

#define BIT(signal) (UINT64_C(1) << ((signal)-1))
#define STOPPING (BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU))

/* What /proc tells of a task's signals. */
struct pending {
    char state;
    uint64_t own, shared, blocked;
};

static bool read_pending(struct nj_virtual *v, pid_t tid, struct pending *ret)
{
    char text[NJ_PROC_STATUS_BYTES];
    const char *state;

    if (!nj_proc_read(v, tid, "status", text, sizeof(text)))
        return false;
    state = strstr(text, "\nState:\t");
    ret->state = 'X';
    if (state)
        ret->state = state[8];
    ret->own = nj_proc_mask(text, "\nSigPnd:");
    ret->shared = nj_proc_mask(text, "\nShdPnd:");
    ret->blocked = nj_proc_mask(text, "\nSigBlk:");
    return true;
}

char nj_order_state_of(struct nj_virtual *v, pid_t tid)
{
    struct pending pending;

    return read_pending(v, tid, &pending) ? pending.state : 'X';
}

/* own_mask - the one that the parked call brings along, if it does */
static bool own_mask(const struct nj_order_task *task, uint64_t *ret)
{
    const struct seccomp_data *call = &task->notif.data;
    uint64_t at = 0;

    switch (call->nr) {
    case SYS_rt_sigsuspend:
        at = call->args[0];
        break;
    case SYS_ppoll:
        at = call->args[3];
        break;
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
        at = call->args[4];
        break;
    case SYS_pselect6: /* a pointer to pointer and size */
        if (call->args[5] == 0 || !nj_virtual_read(task->tid, call->args[5], &at, sizeof(at)))
            return false;
        break;
    default:
        break;
    }
    return at != 0 && nj_virtual_read(task->tid, at, ret, sizeof(*ret));
}

static bool look(struct nj_virtual *v, const struct nj_order_task *task)
{
    struct pending pending, first;
    uint64_t mask, wanted;

    if (!read_pending(v, task->tid, &pending))
        return false;
    if (task->notif.data.nr == SYS_rt_sigtimedwait &&
        nj_virtual_read(task->tid, task->notif.data.args[0], &wanted, sizeof(wanted)) &&
        (pending.own | pending.shared) & wanted)
        return true;
    mask = pending.blocked;
    (void)own_mask(task, &mask);
    if (task->tid != task->process->tgid && pending.shared & ~mask &&
        read_pending(v, task->process->tgid, &first) && first.state != 'Z')
        pending.shared &= first.blocked;
    return (pending.own | pending.shared) & ~mask;
}

bool nj_order_is_interrupted(struct nj_virtual *v, struct nj_order_task *task)
{
    uint64_t mask;

    if (task->look_for_signal ||
        (task->fresh && (task->notif.data.nr == SYS_rt_sigtimedwait || own_mask(task, &mask))))
        task->interrupted = look(v, task);
    task->look_for_signal = task->fresh = false;
    return task->interrupted;
}

/* A call that no handler's flags make begin again, and that changes no mask, ends here. The others
 * are the kernel's to end; those with a time in the image, where they would wait no longer than
 * they may if the signal went elsewhere. */
enum nj_order_verdict nj_order_interrupt(struct nj_virtual *v, struct nj_order_task *task,
                                         struct seccomp_notif_resp *response)
{
    uint64_t mask;

    task->interrupted = false;
    if (task->done > 0) {
        response->val = (int64_t)task->done;
        return NJ_ORDER_ANSWERED;
    }
    switch (task->notif.data.nr) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
        if (own_mask(task, &mask))
            break;
        if (task->deadline_ns != NJ_ORDER_NEVER)
            nj_wait_tell_rest(&task->notif, task->deadline_ns - nj_clock_read(v));
        response->error = -EINTR;
        return NJ_ORDER_ANSWERED;
    default:
        break;
    }
    return NJ_ORDER_GOES;
}

/* ---- sending ---- */

static int signal_of(const struct seccomp_data *call)
{
    switch (call->nr) {
    case SYS_tgkill:
    case SYS_rt_tgsigqueueinfo:
        return (int)call->args[2];
    default:
        return (int)call->args[1];
    }
}

enum nj_order_verdict nj_order_sends(struct nj_virtual *v, struct nj_order_task *task)
{
    const struct seccomp_data *call = &task->notif.data;
    int signal = signal_of(call);
    pid_t target = call->nr == SYS_pidfd_send_signal ? 0 : (pid_t)call->args[0];

    if (signal > 0 && signal <= 64 && BIT(signal) & STOPPING)
        return NJ_ORDER_REFUSED; /* a stopped task neither runs nor waits */
    v->order->kill_target = v->order->killed || target < 0 ? 0 : target;
    v->order->killed = signal != 0 || v->order->killed;
    return NJ_ORDER_GOES;
}

static bool is_meant(const struct nj_order *o, const struct nj_order_task *task)
{
    return o->kill_target == 0 || task->process->inside == (unsigned)o->kill_target ||
           task->tid != task->process->tgid; /* a thread's number inside is not known */
}

void nj_order_after_signals(struct nj_virtual *v)
{
    struct nj_order *o = v->order;

    if (!o->killed)
        return;
    o->killed = false;
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task;

        LIST_FOREACH(task, &o->tasks[i], bucket)
        {
            struct pending pending;

            if (task == o->holder || task->process->unsettled || !is_meant(o, task))
                continue;
            /* On its way out it takes the signal before it is seen dead, and leaves its call before
             * that: so the call is asked for behind the signal. */
            if (!read_pending(v, task->tid, &pending) || pending.own & BIT(SIGKILL) ||
                pending.state == 'Z' || pending.state == 'X' ||
                (task->state == NJ_ORDER_PARKED && !nj_virtual_is_alive(v, &task->notif)))
                nj_order_ends(v, task, true);
            else
                task->look_for_signal = true;
        }
    }
}

void nj_order_signal_to(struct nj_virtual *v, const struct nj_order_process *process)
{
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task;

        LIST_FOREACH(task, &v->order->tasks[i], bucket)
        {
            if (task->process == process)
                task->look_for_signal = true;
        }
    }
}
