/*
 * order_lost.c - tasks that sleep in a call that nobody tells of
 *
 * Opening a FIFO, semaphores and message queues, a full backlog: rare, so not worth a notification
 * each. The watchdog finds the holder asleep; from the call's number in /proc it knows whether it
 * may be passed over. Then the token moves on.
 *
 * The complication is that the kernel wakes such a task while another holds the token. But nobody
 * else runs, so it was the holder who woke it, by a call it made since its last notification; and a
 * wake-up has happened when that call returned. So at each call of the holder the lost are looked
 * at, and one that is awake is waited for until it makes a call that is told, or sleeps again. What
 * it does until then runs beside nobody. Sleeps with a time of their own are not of this kind.
 */
#include <stdio.h>
#include <sys/syscall.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/proc.h"

#include "formats/base/banned.h"

bool nj_order_read_schedule(struct nj_virtual *v, pid_t tid, int64_t *ret_busy_ns,
                            uint64_t *ret_slices)
{
    unsigned long busy, waited, slices;
    char text[128];

    if (!nj_proc_read(v, tid, "schedstat", text, sizeof(text)) ||
        sscanf(text, "%lu %lu %lu", &busy, &waited, &slices) != 3)
        return false;
    *ret_busy_ns = (int64_t)busy;
    *ret_slices = slices;
    return true;
}

/* number_of - the call that @tid is in; -1: none, or not known here */
static int number_of(struct nj_virtual *v, pid_t tid)
{
    char text[256];
    int number;

    return nj_proc_read(v, tid, "syscall", text, sizeof(text)) && sscanf(text, "%d ", &number) == 1
               ? number
               : -1;
}

bool nj_order_lose(struct nj_virtual *v, struct nj_order_task *task, uint64_t slices)
{
    struct nj_order *o = v->order;

    switch (number_of(v, task->tid)) {
    case SYS_open:
    case SYS_openat:
    case SYS_creat:
    case SYS_semop:
    case SYS_msgsnd:
    case SYS_msgrcv:
    case SYS_connect:
    case SYS_sendmmsg:
    case SYS_vmsplice:
    case SYS_splice:
    case SYS_tee:
    case SYS_sendfile:
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_flock:
    case SYS_fcntl:
        break;
    default:
        return false;
    }
    if (o->holder == task)
        o->holder = NULL;
    if (task->state != NJ_ORDER_LOST)
        o->n_lost++;
    task->state = NJ_ORDER_LOST;
    task->slices = slices;
    nj_order_set_unsettled(o, &task->unsettled, false);
    return true;
}

void nj_order_settle_lost(struct nj_virtual *v)
{
    struct nj_order *o = v->order;

    for (size_t i = 0; o->n_lost > 0 && i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task;

        LIST_FOREACH(task, &o->tasks[i], bucket)
        {
            uint64_t slices = task->slices;
            int64_t busy_ns;
            char state;

            if (task->state != NJ_ORDER_LOST || task->process->unsettled)
                continue;
            state = nj_order_state_of(v, task->tid);
            if (state == 'X' || state == 'Z' ||
                !nj_order_read_schedule(v, task->tid, &busy_ns, &slices)) {
                nj_order_ends(v, task, true);
                continue;
            }
            if (state != 'S' || slices != task->slices)
                nj_order_set_unsettled(o, &task->unsettled, true);
        }
    }
}

void nj_order_watch_lost(struct nj_virtual *v)
{
    struct pollfd told = {v->listener_fd, POLLIN, 0}; /* or it sleeps in a call that is told */
    struct nj_order *o = v->order;

    for (size_t i = 0; o->n_lost > 0 && o->n_unsettled > 0 && i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_task *task;

        LIST_FOREACH(task, &o->tasks[i], bucket)
        {
            uint64_t slices;
            int64_t busy_ns;

            if (task->state != NJ_ORDER_LOST || !task->unsettled ||
                !nj_order_read_schedule(v, task->tid, &busy_ns, &slices))
                continue;
            if (slices == task->slices && nj_order_state_of(v, task->tid) == 'S' &&
                poll(&told, 1, 0) == 0)
                (void)nj_order_lose(v, task, slices); /* else it is waited for a while longer */
            task->slices = slices;
        }
    }
}
