/*
 * order_futex.c - waits on memory
 *
 * Waiters stay parked in their notification and are woken in the order in which they were parked;
 * the kernel never sees the wait. Only one task runs, so "compare and sleep" needs no lock: between
 * our look at the value and the parking nobody can change it.
 *
 * The complication is who else writes and wakes. At a thread's death the kernel clears its number
 * in memory, and marks the locks that it held: then waiters whose value changed are woken. And what
 * a futex is depends on the mapping: private ones are an address of one process; shared ones a
 * place in a file, which two processes may have at two addresses, so the mapping is looked up.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "batch/sandbox/virtual/order.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define MAPS_BYTES 65536

/* find_mapping - the line of /proc/PID/maps that holds @address. False: none, or too far down. */
static bool find_mapping(struct nj_virtual *v, pid_t tid, uint64_t address, uint64_t key[3])
{
    static char text[MAPS_BYTES + 1]; /* a supervisor has one thread */
    nj_auto_close int fd = -1;
    char name[32];
    size_t have = 0;

    (void)snprintf(name, sizeof(name), "%d/maps", tid); /* fits */
    fd = openat(v->proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (;;) {
        ssize_t n = read(fd, text + have, MAPS_BYTES - have);
        char *line = text, *end;

        if (n <= 0)
            return false;
        have += (size_t)n;
        text[have] = '\0';
        for (; (end = strchr(line, '\n')); line = end + 1) {
            unsigned long start, stop, offset, inode;
            unsigned major, minor;
            char rights[5];

            if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &start, &stop, rights, &offset, &major,
                       &minor, &inode) != 7 ||
                address < start || address >= stop)
                continue;
            if (rights[3] != 's')
                return false;
            key[0] = (uint64_t)major << 32 | minor | UINT64_C(1) << 63; /* no process's number */
            key[1] = inode;
            key[2] = offset + (address - start);
            return true;
        }
        have -= (size_t)(line - text);
        memmove(text, line, have);
    }
}

static void make_key(struct nj_virtual *v, const struct nj_order_task *task, uint64_t address,
                     bool is_private, uint64_t key[3])
{
    if (!is_private && find_mapping(v, task->tid, address, key))
        return;
    key[0] = (unsigned)task->process->tgid;
    key[1] = 0;
    key[2] = address;
}

/* next_waiter - of @key, the one parked first */
static struct nj_order_task *next_waiter(struct nj_order *o, const uint64_t key[3], uint32_t bits)
{
    struct nj_order_task *task;

    TAILQ_FOREACH(task, &o->queue, queue)
    {
        if (task->state == NJ_ORDER_PARKED && task->notif.data.nr == SYS_futex &&
            !task->futex.woken && task->futex.bits & bits &&
            memcmp(task->futex.key, key, sizeof(task->futex.key)) == 0)
            return task;
    }
    return NULL;
}

/* wake - up to @n; then, if @to is a futex, up to @n_moved wait there from now on */
static int64_t wake(struct nj_order *o, const uint64_t key[3], uint32_t bits, uint32_t n,
                    const uint64_t *to, uint32_t n_moved)
{
    struct nj_order_task *task;
    int64_t woken = 0;

    if (n > INT_MAX)
        n = INT_MAX;
    for (; n > 0 && (task = next_waiter(o, key, bits)); n--) {
        task->futex.woken = true;
        woken++;
    }
    if (to && memcmp(key, to, 3 * sizeof(*key)) == 0)
        return woken;
    for (; to && n_moved > 0 && (task = next_waiter(o, key, bits)); n_moved--) {
        memcpy(task->futex.key, to, sizeof(task->futex.key));
        woken++;
    }
    return woken;
}

/* operate - FUTEX_WAKE_OP's change of the second word; false: no such, or not there */
static bool operate(pid_t tid, uint64_t address, uint32_t code, bool *ret_wake)
{
    unsigned operation = code >> 28 & 7, comparison = code >> 24 & 15;
    int32_t operand = (int32_t)(code << 8) >> 20, against = (int32_t)(code << 20) >> 20;
    int32_t before, after;

    if (code >> 31)
        operand = 1 << (operand & 31);
    if (!nj_virtual_read(tid, address, &before, sizeof(before)))
        return false;
    switch (operation) {
    case FUTEX_OP_SET:
        after = operand;
        break;
    case FUTEX_OP_ADD:
        after = (int32_t)((uint32_t)before + (uint32_t)operand);
        break;
    case FUTEX_OP_OR:
        after = before | operand;
        break;
    case FUTEX_OP_ANDN:
        after = before & ~operand;
        break;
    case FUTEX_OP_XOR:
        after = before ^ operand;
        break;
    default:
        return false;
    }
    switch (comparison) {
    case FUTEX_OP_CMP_EQ:
        *ret_wake = before == against;
        break;
    case FUTEX_OP_CMP_NE:
        *ret_wake = before != against;
        break;
    case FUTEX_OP_CMP_LT:
        *ret_wake = before < against;
        break;
    case FUTEX_OP_CMP_LE:
        *ret_wake = before <= against;
        break;
    case FUTEX_OP_CMP_GT:
        *ret_wake = before > against;
        break;
    case FUTEX_OP_CMP_GE:
        *ret_wake = before >= against;
        break;
    default:
        return false;
    }
    return nj_virtual_write(tid, address, &after, sizeof(after));
}

static enum nj_order_verdict wait_on(struct nj_virtual *v, struct nj_order_task *task,
                                     uint32_t bits, struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    uint32_t value;

    if (bits == 0 || args[0] % sizeof(value) != 0 ||
        !nj_virtual_read(task->tid, args[0], &value, sizeof(value)))
        return NJ_ORDER_GOES; /* an error */
    if (value != (uint32_t)args[2]) {
        response->error = -EAGAIN;
        return NJ_ORDER_ANSWERED;
    }
    make_key(v, task, args[0], (int)args[1] & FUTEX_PRIVATE_FLAG, task->futex.key);
    task->futex.bits = bits;
    task->futex.woken = false;
    return NJ_ORDER_WAITS;
}

static enum nj_order_verdict requeue(struct nj_virtual *v, struct nj_order_task *task,
                                     bool compares, struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    bool is_private = (int)args[1] & FUTEX_PRIVATE_FLAG;
    uint64_t key[3], to[3];
    uint32_t value;

    if (!nj_virtual_read(task->tid, args[0], &value, sizeof(value)))
        return NJ_ORDER_GOES;
    if (compares && value != (uint32_t)args[5]) {
        response->error = -EAGAIN;
        return NJ_ORDER_ANSWERED;
    }
    make_key(v, task, args[0], is_private, key);
    make_key(v, task, args[4], is_private, to);
    response->val = wake(v->order, key, UINT32_MAX, (uint32_t)args[2], to, (uint32_t)args[3]);
    return NJ_ORDER_ANSWERED;
}

static enum nj_order_verdict wake_and_operate(struct nj_virtual *v, struct nj_order_task *task,
                                              struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    bool is_private = (int)args[1] & FUTEX_PRIVATE_FLAG, wakes = false;
    uint64_t key[3], second[3];

    if (!operate(task->tid, args[4], (uint32_t)args[5], &wakes))
        return NJ_ORDER_GOES; /* the kernel says why */
    make_key(v, task, args[0], is_private, key);
    make_key(v, task, args[4], is_private, second);
    response->val = wake(v->order, key, UINT32_MAX, (uint32_t)args[2], NULL, 0);
    if (wakes)
        response->val += wake(v->order, second, UINT32_MAX, (uint32_t)args[3], NULL, 0);
    return NJ_ORDER_ANSWERED;
}

enum nj_order_verdict nj_order_futex(struct nj_virtual *v, struct nj_order_task *task,
                                     struct seccomp_notif_resp *response)
{
    const __u64 *args = task->notif.data.args;
    int flags = (int)args[1];
    uint64_t key[3];

    switch (flags & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return wait_on(v, task, UINT32_MAX, response);
    case FUTEX_WAIT_BITSET:
        return wait_on(v, task, (uint32_t)args[5], response);
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
        make_key(v, task, args[0], flags & FUTEX_PRIVATE_FLAG, key);
        response->val = wake(
            v->order, key, (flags & FUTEX_CMD_MASK) == FUTEX_WAKE ? UINT32_MAX : (uint32_t)args[5],
            (uint32_t)args[2], NULL, 0);
        return NJ_ORDER_ANSWERED;
    case FUTEX_REQUEUE:
        return requeue(v, task, false, response);
    case FUTEX_CMP_REQUEUE:
        return requeue(v, task, true, response);
    case FUTEX_WAKE_OP:
        return wake_and_operate(v, task, response);
    default: /* of priorities: the kernel's alone */
        return NJ_ORDER_REFUSED;
    }
}

void nj_order_futex_recheck(struct nj_virtual *v, const struct nj_order_process *process)
{
    struct nj_order_task *task;

    TAILQ_FOREACH(task, &v->order->queue, queue)
    {
        const __u64 *args = task->notif.data.args;
        uint32_t value;

        if (task->state != NJ_ORDER_PARKED || task->notif.data.nr != SYS_futex ||
            task->futex.woken || (process && task->process != process))
            continue;
        /* One that was moved elsewhere waits for another word than its call names. */
        if (task->futex.key[0] == (unsigned)task->process->tgid && task->futex.key[2] != args[0])
            continue;
        if (nj_virtual_read(task->tid, args[0], &value, sizeof(value)) &&
            value != (uint32_t)args[2])
            task->futex.woken = true;
    }
}
