/*
 * order_ready.c - would this call block?
 *
 * Descriptors are asked with a poll() that does not wait, on copies taken when the call was parked,
 * as the kernel itself would hold the files. What poll(), select() and sleeps return is answered
 * here, since the kernel's own answer would tell how much real time was left; other calls are let
 * go on once they cannot block.
 *
 * The complication is which copies may exist at all. The random devices of a box are files that the
 * supervisor answers for (files.h): to poll or to close a copy of one would be to wait for
 * ourselves. So the type is asked first, by a path in /proc and without a question to the file, and
 * only pipes, sockets and nameless files (eventfd, epoll...) are copied; the rest never blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "batch/sandbox/virtual/order.h"

#include "formats/base/banned.h"

#define LOOKS_MAX 4096 /* as many files as a payload may have open */
#define CACHED (AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT)
#define ALWAYS (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)
#define PIECE_BYTES 4096 /* fits when a pipe or a socket says that there is room */

#define WRITE_MAX_BYTES 0x7ffff000 /* of any Linux */

#define IN_SET (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define OUT_SET (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EXCEPT_SET POLLPRI

/* ---- descriptors ---- */

bool nj_order_type_of(struct nj_virtual *v, const struct nj_order_task *task, int fd,
                      struct statx *ret_statx)
{
    char name[48];

    (void)snprintf(name, sizeof(name), "%d/fd/%d", task->tid, fd); /* fits */
    return fd >= 0 && statx(v->proc_fd, name, CACHED, STATX_TYPE | STATX_INO, ret_statx) == 0;
}

int nj_order_output(const struct nj_order *o, const struct statx *x)
{
    for (int i = 0; i < 2; i++) {
        if (x->stx_ino == o->output_stat[i].st_ino &&
            makedev(x->stx_dev_major, x->stx_dev_minor) == o->output_stat[i].st_dev)
            return i;
    }
    return -1;
}

int nj_order_copy(const struct nj_order_task *task, int fd)
{
    int pidfd = task->pidfd >= 0 ? task->pidfd : task->process->pidfd;

    return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

static bool can_block(mode_t mode)
{
    return S_ISFIFO(mode) || S_ISSOCK(mode) || (mode & S_IFMT) == 0;
}

static bool is_network(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX;
}

/* look_at - false: no memory, or no descriptors left */
static bool look_at(struct nj_virtual *v, struct nj_order_task *task, int fd, short events)
{
    struct pollfd *look = &task->looks[task->n_looks];
    struct statx x;

    *look = (struct pollfd){NJ_ORDER_LOOK_READY, events, 0};
    if (fd >= 0 && !nj_order_type_of(v, task, fd, &x)) {
        look->fd = NJ_ORDER_LOOK_BAD;
    } else if (fd >= 0 && can_block(x.stx_mode)) {
        look->fd = nj_order_copy(task, fd);
        if (look->fd < 0)
            return false;
        task->on_network |= S_ISSOCK(x.stx_mode) && is_network(look->fd);
    } else if (fd < 0) {
        look->events = 0;
    }
    task->n_looks++;
    return true;
}

static bool make_looks(struct nj_order_task *task, size_t n)
{
    task->looks = calloc(n + 1, sizeof(*task->looks));
    return task->looks != NULL;
}

/* poll_looks - how many are ready; revents as poll() of the program's own would set them */
static size_t poll_looks(struct nj_order_task *task)
{
    size_t n = 0;

    (void)poll(task->looks, task->n_looks, 0);
    for (size_t i = 0; i < task->n_looks; i++) {
        struct pollfd *look = &task->looks[i];

        if (look->fd == NJ_ORDER_LOOK_READY)
            look->revents = look->events & ALWAYS;
        else if (look->fd == NJ_ORDER_LOOK_BAD)
            look->revents = POLLNVAL;
        n += look->revents != 0;
    }
    return n;
}

/* ---- one descriptor: reading and writing ---- */

/* one_look - a read or write of @fd; GOES where it cannot block */
static enum nj_order_verdict one_look(struct nj_virtual *v, struct nj_order_task *task, int fd,
                                      short events)
{
    struct statx x;

    if (!nj_order_type_of(v, task, fd, &x) || !can_block(x.stx_mode))
        return NJ_ORDER_GOES;
    task->type = x.stx_mode & S_IFMT;
    task->output = S_ISFIFO(x.stx_mode) ? nj_order_output(v->order, &x) : -1;
    if (!task->looks && !make_looks(task, 2))
        return NJ_ORDER_REFUSED;
    task->looks[task->n_looks] = (struct pollfd){nj_order_copy(task, fd), events, 0};
    if (task->looks[task->n_looks].fd < 0)
        return NJ_ORDER_REFUSED;
    task->on_network |= task->type == S_IFSOCK && is_network(task->looks[task->n_looks].fd);
    if (fcntl(task->looks[task->n_looks++].fd, F_GETFL) & O_NONBLOCK)
        return NJ_ORDER_GOES;
    return NJ_ORDER_WAITS;
}

/* transfer_flags - of a send or receive; -1: it has none */
static int transfer_flags(const struct seccomp_data *call)
{
    switch (call->nr) {
    case SYS_recvfrom:
    case SYS_sendto:
    case SYS_recvmmsg:
        return (int)call->args[3];
    case SYS_recvmsg:
    case SYS_sendmsg:
        return (int)call->args[2];
    }
    return 0;
}

static enum nj_order_verdict prepare_two(struct nj_virtual *v, struct nj_order_task *task)
{
    const __u64 *args = task->notif.data.args;
    int number = task->notif.data.nr, in = (int)args[0], out = (int)args[1];
    unsigned flags = 0;
    enum nj_order_verdict a, b;

    if (number == SYS_splice) {
        out = (int)args[2];
        flags = (unsigned)args[5];
    } else if (number == SYS_tee) {
        flags = (unsigned)args[3];
    } else if (number == SYS_sendfile) {
        out = (int)args[0];
        in = (int)args[1];
    }
    if (flags & SPLICE_F_NONBLOCK)
        return NJ_ORDER_GOES;
    a = one_look(v, task, in, POLLIN);
    b = one_look(v, task, out, POLLOUT);
    if (a == NJ_ORDER_REFUSED || b == NJ_ORDER_REFUSED)
        return NJ_ORDER_REFUSED;
    return a == NJ_ORDER_WAITS || b == NJ_ORDER_WAITS ? NJ_ORDER_WAITS : NJ_ORDER_GOES;
}

/* ---- many descriptors ---- */

static struct pollfd asked[LOOKS_MAX]; /* a supervisor has one thread */

static bool read_asked(const struct nj_order_task *task, size_t n)
{
    return n == 0 ||
           nj_virtual_read(task->tid, task->notif.data.args[0], asked, n * sizeof(asked[0]));
}

static enum nj_order_verdict prepare_poll(struct nj_virtual *v, struct nj_order_task *task)
{
    uint64_t n = task->notif.data.args[1];

    if (n > LOOKS_MAX || !read_asked(task, n))
        return NJ_ORDER_GOES; /* an error */
    if (!make_looks(task, n))
        return NJ_ORDER_REFUSED;
    for (uint64_t i = 0; i < n; i++) {
        if (!look_at(v, task, asked[i].fd, asked[i].events))
            return NJ_ORDER_REFUSED;
    }
    return NJ_ORDER_WAITS;
}

static int64_t rest_of(struct nj_virtual *v, const struct nj_order_task *task)
{
    return task->deadline_ns - nj_clock_read(v);
}

static enum nj_order_verdict answer_poll(struct nj_order_task *task,
                                         struct seccomp_notif_resp *response)
{
    size_t n = 0;

    if (!read_asked(task, task->n_looks))
        return NJ_ORDER_GOES;
    for (size_t i = 0; i < task->n_looks; i++) {
        asked[i].revents = task->looks[i].revents;
        n += asked[i].revents != 0;
    }
    if (task->n_looks > 0 && !nj_virtual_write(task->tid, task->notif.data.args[0], asked,
                                               task->n_looks * sizeof(asked[0])))
        return NJ_ORDER_GOES;
    response->val = (int64_t)n;
    return NJ_ORDER_ANSWERED;
}

/* The three sets of a select(). */
struct sets {
    uint64_t words[3][LOOKS_MAX / 64];
    size_t n; /* descriptors */
};

static size_t bytes_of(const struct sets *sets)
{
    return (sets->n + 63) / 64 * 8;
}

static bool read_sets(const struct nj_order_task *task, struct sets *ret)
{
    const __u64 *args = task->notif.data.args;

    memset(ret, 0, sizeof(*ret));
    if ((int)args[0] < 0 || args[0] > LOOKS_MAX)
        return false;
    ret->n = (size_t)args[0];
    for (int i = 0; i < 3; i++) {
        if (args[1 + i] != 0 && bytes_of(ret) > 0 &&
            !nj_virtual_read(task->tid, args[1 + i], ret->words[i], bytes_of(ret)))
            return false;
    }
    return true;
}

static bool write_sets(const struct nj_order_task *task, const struct sets *sets)
{
    const __u64 *args = task->notif.data.args;

    for (int i = 0; i < 3; i++) {
        if (args[1 + i] != 0 && bytes_of(sets) > 0 &&
            !nj_virtual_write(task->tid, args[1 + i], sets->words[i], bytes_of(sets)))
            return false;
    }
    return true;
}

static bool has(const struct sets *sets, int set, size_t fd)
{
    return sets->words[set][fd / 64] >> fd % 64 & 1;
}

static enum nj_order_verdict prepare_select(struct nj_virtual *v, struct nj_order_task *task)
{
    struct sets sets;

    if (!read_sets(task, &sets))
        return NJ_ORDER_GOES;
    if (!make_looks(task, sets.n))
        return NJ_ORDER_REFUSED;
    for (size_t fd = 0; fd < sets.n; fd++) {
        short events =
            (short)((has(&sets, 0, fd) ? POLLIN : 0) | (has(&sets, 1, fd) ? POLLOUT : 0) |
                    (has(&sets, 2, fd) ? POLLPRI : 0));

        if (events == 0)
            continue;
        if (!look_at(v, task, (int)fd, events))
            return NJ_ORDER_REFUSED;
        if (task->looks[task->n_looks - 1].fd == NJ_ORDER_LOOK_BAD)
            return NJ_ORDER_GOES; /* EBADF */
    }
    return NJ_ORDER_WAITS;
}

static enum nj_order_verdict answer_select(struct nj_order_task *task,
                                           struct seccomp_notif_resp *response)
{
    static const short means[3] = {IN_SET, OUT_SET, EXCEPT_SET};
    struct sets sets, ready = {.n = 0};
    size_t look = 0, n = 0;

    if (!read_sets(task, &sets))
        return NJ_ORDER_GOES;
    ready.n = sets.n;
    for (size_t fd = 0; fd < sets.n && look < task->n_looks; fd++) {
        if (!has(&sets, 0, fd) && !has(&sets, 1, fd) && !has(&sets, 2, fd))
            continue;
        for (int i = 0; i < 3; i++) {
            if (!has(&sets, i, fd) || !(task->looks[look].revents & means[i]))
                continue;
            ready.words[i][fd / 64] |= UINT64_C(1) << fd % 64;
            n++;
        }
        look++;
    }
    if (n == 0)
        return NJ_ORDER_WAITS; /* ready for something that was not asked */
    if (!write_sets(task, &ready))
        return NJ_ORDER_GOES;
    response->val = (int64_t)n;
    return NJ_ORDER_ANSWERED;
}

/* ---- children ---- */

static enum nj_order_verdict prepare_children(struct nj_virtual *v, struct nj_order_task *task)
{
    const __u64 *args = task->notif.data.args;
    bool is_id = task->notif.data.nr == SYS_waitid;

    if ((int)args[is_id ? 3 : 2] & WNOHANG)
        return NJ_ORDER_GOES;
    task->deaths = UINT64_MAX; /* not looked yet */
    if (is_id && (int)args[0] == P_PIDFD)
        return one_look(v, task, (int)args[1], POLLIN);
    return NJ_ORDER_WAITS;
}

/* is_waited_for - dead, and its parent took notice */
static bool is_waited_for(const struct nj_order_process *process)
{
    return syscall(SYS_pidfd_send_signal, process->pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
}

static enum nj_order_verdict test_children(struct nj_virtual *v, struct nj_order_task *task)
{
    struct nj_order *o = v->order;
    const __u64 *args = task->notif.data.args;
    bool is_id = task->notif.data.nr == SYS_waitid, any = false;
    int wanted = !is_id ? (int)args[0] : (int)args[0] == P_PID ? (int)args[1] : -1;

    if (task->deaths == o->deaths)
        return NJ_ORDER_WAITS;
    task->deaths = o->deaths;
    for (size_t i = 0; i < NJ_ORDER_BUCKETS; i++) {
        struct nj_order_process *child = LIST_FIRST(&o->processes[i]), *next;

        for (; child; child = next) {
            next = LIST_NEXT(child, bucket);
            if (child->parent != task->process->tgid ||
                (wanted > 0 && child->inside != (unsigned)wanted))
                continue;
            if (!child->dead) {
                any = true;
            } else if (!is_waited_for(child)) {
                return NJ_ORDER_GOES;
            } else {
                (void)close(child->pidfd);
                LIST_REMOVE(child, bucket);
                free(child);
            }
        }
    }
    return any ? NJ_ORDER_WAITS : NJ_ORDER_GOES; /* ECHILD */
}

/* ---- locks ---- */

/* A lock of the open file is taken through the copy, which is the same open file. */
static enum nj_order_verdict test_flock(struct nj_order_task *task,
                                        struct seccomp_notif_resp *response)
{
    int operation = (int)task->notif.data.args[1];

    if (flock(task->looks[0].fd, operation | LOCK_NB) == 0)
        return NJ_ORDER_ANSWERED;
    if (errno == EWOULDBLOCK)
        return NJ_ORDER_WAITS;
    response->error = -errno;
    return NJ_ORDER_ANSWERED;
}

/* A lock of the process can only be asked about; its own do not stand in its way. */
static enum nj_order_verdict test_lock(struct nj_order_task *task)
{
    struct flock lock;
    bool is_own = task->notif.data.args[1] == F_OFD_SETLKW;

    if (!nj_virtual_read(task->tid, task->notif.data.args[2], &lock, sizeof(lock)))
        return NJ_ORDER_GOES;
    if (fcntl(task->looks[0].fd, is_own ? F_OFD_GETLK : F_GETLK, &lock) < 0)
        return NJ_ORDER_GOES;
    return lock.l_type == F_UNLCK || (!is_own && lock.l_pid == task->process->tgid)
               ? NJ_ORDER_GOES
               : NJ_ORDER_WAITS;
}

static enum nj_order_verdict prepare_lock(struct nj_virtual *v, struct nj_order_task *task)
{
    const __u64 *args = task->notif.data.args;
    struct statx x;

    if (task->notif.data.nr == SYS_flock && (int)args[1] & (LOCK_NB | LOCK_UN))
        return NJ_ORDER_GOES;
    if (!nj_order_type_of(v, task, (int)args[0], &x) ||
        makedev(x.stx_dev_major, x.stx_dev_minor) != v->files.device)
        return NJ_ORDER_GOES; /* nobody else can lock what is not the workspace's, or few */
    if (!make_looks(task, 1))
        return NJ_ORDER_REFUSED;
    task->looks[0].fd = nj_order_copy(task, (int)args[0]);
    if (task->looks[0].fd < 0)
        return NJ_ORDER_REFUSED;
    task->n_looks = 1;
    return NJ_ORDER_WAITS;
}

/* ---- all of them ---- */

static bool sum_vector(const struct nj_order_task *task, uint64_t at, uint64_t n, uint64_t *ret)
{
    struct iovec vector[UIO_MAXIOV];

    *ret = 0;
    if (n > UIO_MAXIOV || (n > 0 && !nj_virtual_read(task->tid, at, vector, n * sizeof(vector[0]))))
        return false;
    for (uint64_t i = 0; i < n; i++) {
        if (vector[i].iov_len > INT32_MAX || *ret > INT32_MAX)
            return false;
        *ret += vector[i].iov_len;
    }
    return true;
}

static enum nj_order_verdict prepare_write(struct nj_virtual *v, struct nj_order_task *task)
{
    const struct seccomp_data *call = &task->notif.data;
    struct msghdr message;
    bool known = true;

    if (transfer_flags(call) & MSG_DONTWAIT)
        return NJ_ORDER_GOES;
    if (call->nr == SYS_writev)
        known = sum_vector(task, call->args[1], call->args[2], &task->total);
    else if (call->nr == SYS_sendmsg)
        known = nj_virtual_read(task->tid, call->args[1], &message, sizeof(message)) &&
                sum_vector(task, (uint64_t)(uintptr_t)message.msg_iov, message.msg_iovlen,
                           &task->total);
    else
        task->total = call->args[2] < WRITE_MAX_BYTES ? call->args[2] : WRITE_MAX_BYTES;
    return known ? one_look(v, task, (int)call->args[0], POLLOUT) : NJ_ORDER_GOES;
}

enum nj_order_verdict nj_order_prepare(struct nj_virtual *v, struct nj_order_task *task)
{
    const struct seccomp_data *call = &task->notif.data;

    task->deadline_ns = NJ_ORDER_NEVER;
    switch (nj_wait_deadline(v, &task->notif, &task->deadline_ns)) {
    case NJ_WAIT_UNKNOWN:
        return NJ_ORDER_GOES;
    case NJ_WAIT_NEVER:
        task->deadline_ns = NJ_ORDER_NEVER;
        break;
    case NJ_WAIT_AT_ONCE:
        task->deadline_ns = 0;
        break;
    case NJ_WAIT_AT:
        break;
    }
    switch (call->nr) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
        if (transfer_flags(call) & MSG_DONTWAIT)
            return NJ_ORDER_GOES;
        return one_look(v, task, (int)call->args[0], POLLIN);
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
        if (!make_looks(task, 1) || !look_at(v, task, (int)call->args[0], POLLIN))
            return NJ_ORDER_REFUSED;
        return task->looks[0].fd < 0 ? NJ_ORDER_GOES : NJ_ORDER_WAITS;
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
        return prepare_write(v, task);
    case SYS_splice:
    case SYS_tee:
    case SYS_sendfile:
        return prepare_two(v, task);
    case SYS_poll:
    case SYS_ppoll:
        return prepare_poll(v, task);
    case SYS_select:
    case SYS_pselect6:
        return prepare_select(v, task);
    case SYS_wait4:
    case SYS_waitid:
        return prepare_children(v, task);
    case SYS_flock:
    case SYS_fcntl:
        return prepare_lock(v, task);
    default: /* sleeps and waits for signals: nothing to look at */
        return NJ_ORDER_WAITS;
    }
}

static enum nj_order_verdict test_write(struct nj_virtual *v, struct nj_order_task *task,
                                        struct seccomp_notif_resp *response)
{
    if (task->output >= 0)
        v->order->outputs.drain(v->order->outputs.ctx);
    if (task->done == 0 && poll_looks(task) == 0)
        return NJ_ORDER_WAITS;
    if (task->total <= PIECE_BYTES || (task->looks[0].revents & POLLERR))
        return NJ_ORDER_GOES;
    return nj_order_transfer(v, task, response);
}

enum nj_order_verdict nj_order_test(struct nj_virtual *v, struct nj_order_task *task,
                                    struct seccomp_notif_resp *response)
{
    const struct seccomp_data *call = &task->notif.data;
    enum nj_order_verdict verdict;

    if (task->yields)
        return NJ_ORDER_ANSWERED;
    switch (call->nr) {
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
        if (poll_looks(task) == 0)
            return NJ_ORDER_WAITS;
        verdict = call->nr == SYS_poll || call->nr == SYS_ppoll ? answer_poll(task, response)
                                                                : answer_select(task, response);
        if (verdict == NJ_ORDER_ANSWERED && task->deadline_ns != NJ_ORDER_NEVER)
            nj_wait_tell_rest(&task->notif, rest_of(v, task));
        return verdict;
    case SYS_futex:
        return task->futex.woken ? NJ_ORDER_ANSWERED : NJ_ORDER_WAITS;
    case SYS_wait4:
    case SYS_waitid:
        if (task->n_looks > 0)
            return poll_looks(task) > 0 ? NJ_ORDER_GOES : NJ_ORDER_WAITS;
        return test_children(v, task);
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
        return test_write(v, task, response);
    case SYS_splice:
    case SYS_tee:
    case SYS_sendfile:
        return poll_looks(task) == task->n_looks ? NJ_ORDER_GOES : NJ_ORDER_WAITS;
    case SYS_flock:
        return test_flock(task, response);
    case SYS_fcntl:
        return test_lock(task);
    default:
        return task->n_looks > 0 && poll_looks(task) > 0 ? NJ_ORDER_GOES : NJ_ORDER_WAITS;
    }
}

void nj_order_expire(struct nj_virtual *v, struct nj_order_task *task,
                     struct seccomp_notif_resp *response)
{
    const struct seccomp_data *call = &task->notif.data;
    struct sets sets = {.n = 0};

    (void)v;
    switch (call->nr) {
    case SYS_futex:
        response->error = -ETIMEDOUT;
        return;
    case SYS_rt_sigtimedwait:
        response->error = -EAGAIN;
        return;
    case SYS_poll:
    case SYS_ppoll:
        for (size_t i = 0; i < task->n_looks; i++)
            task->looks[i].revents = 0;
        (void)answer_poll(task, response);
        break;
    case SYS_select:
    case SYS_pselect6:
        sets.n = (size_t)call->args[0];
        if (!write_sets(task, &sets))
            response->error = -EFAULT;
        break;
    default:
        return;
    }
    nj_wait_tell_rest(&task->notif, 0);
}
