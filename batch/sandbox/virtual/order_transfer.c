/*
 * order_transfer.c - writes that may not fit at once
 *
 * A pipe or a stream that has room takes 4 KiB without blocking, but a larger write would sleep in
 * the kernel until somebody read, and hold the token all the time. So such a write is made here,
 * piece by piece as room comes, on the copy of the descriptor: its task sleeps in the notification
 * instead, where it can be passed over. Everything else about the call stays the kernel's: errors,
 * SIGPIPE, messages with addresses or descriptors.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "batch/sandbox/virtual/order.h"

#include "formats/base/banned.h"

#define BUFFER_BYTES 65536
#define TURN_BYTES (8u << 20) /* then others have their turn; the task stays where it is */

/* read_part - the program's bytes from @at on; 0: they cannot be read */
static size_t read_part(const struct nj_order_task *task, uint64_t at, uint8_t *buffer)
{
    const struct seccomp_data *call = &task->notif.data;
    uint64_t vector_at = call->args[1], n = call->args[2];
    struct iovec vector[UIO_MAXIOV];
    size_t have = 0;

    if (call->nr == SYS_write || call->nr == SYS_sendto) {
        have = task->total - at < BUFFER_BYTES ? (size_t)(task->total - at) : BUFFER_BYTES;
        return nj_virtual_read(task->tid, call->args[1] + at, buffer, have) ? have : 0;
    }
    if (call->nr == SYS_sendmsg) {
        struct msghdr message;

        if (!nj_virtual_read(task->tid, call->args[1], &message, sizeof(message)))
            return 0;
        vector_at = (uint64_t)(uintptr_t)message.msg_iov;
        n = message.msg_iovlen;
    }
    if (n > UIO_MAXIOV || !nj_virtual_read(task->tid, vector_at, vector, n * sizeof(vector[0])))
        return 0;
    for (uint64_t i = 0; i < n && have < BUFFER_BYTES; i++) {
        size_t len = vector[i].iov_len;

        if (at >= len) {
            at -= len;
            continue;
        }
        len -= (size_t)at;
        if (len > BUFFER_BYTES - have)
            len = BUFFER_BYTES - have;
        if (!nj_virtual_read(task->tid, (uint64_t)(uintptr_t)vector[i].iov_base + at, buffer + have,
                             len))
            break;
        have += len;
        at = 0;
    }
    return have;
}

/* is_stream - bytes without borders, addresses and things sent along */
static bool is_stream(const struct nj_order_task *task)
{
    const struct seccomp_data *call = &task->notif.data;
    int type = 0;
    socklen_t len = sizeof(type);

    if (S_ISFIFO(task->type))
        return true;
    if (task->type != S_IFSOCK ||
        getsockopt(task->looks[0].fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
        return false;
    if (call->nr == SYS_sendmsg) {
        struct msghdr message;

        return nj_virtual_read(task->tid, call->args[1], &message, sizeof(message)) &&
               message.msg_controllen == 0 && message.msg_namelen == 0;
    }
    return call->nr != SYS_sendto || call->args[4] == 0;
}

static ssize_t put(const struct nj_order_task *task, uint8_t *buffer, size_t len)
{
    struct iovec part = {buffer, len};
    const struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (task->type == S_IFSOCK)
        return sendmsg(task->looks[0].fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return pwritev2(task->looks[0].fd, &part, 1, -1, RWF_NOWAIT);
}

enum nj_order_verdict nj_order_transfer(struct nj_virtual *v, struct nj_order_task *task,
                                        struct seccomp_notif_resp *response)
{
    static uint8_t buffer[BUFFER_BYTES]; /* a supervisor has one thread */
    uint64_t until = task->done + TURN_BYTES;

    if (task->done == 0 && !is_stream(task))
        return NJ_ORDER_GOES;
    nj_order_writes(v, task->output);
    while (task->done < task->total) {
        size_t len = read_part(task, task->done, buffer);
        ssize_t n;

        if (len == 0)
            break;
        n = put(task, buffer, len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (task->output < 0)
                return NJ_ORDER_WAITS;
        } else if (n < 0) {
            break;
        } else {
            task->done += (uint64_t)n;
        }
        if (task->output >= 0)
            v->order->outputs.drain(v->order->outputs.ctx);
        if (task->done >= until && task->done < task->total) {
            v->order->again = true;
            return NJ_ORDER_WAITS;
        }
    }
    if (task->done == 0)
        return NJ_ORDER_GOES; /* the kernel will say what is wrong */
    response->val = (int64_t)task->done;
    return NJ_ORDER_ANSWERED;
}
