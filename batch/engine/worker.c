/*
 * worker.c - processes that wait for orders on a socket
 *
 * The one complication is who may hold what: a worker outlives boxes, connections and, for a
 * moment, a killed engine. So it closes all that it does not need, and ends with the engine, by its
 * socket and by PR_SET_PDEATHSIG.
 */
#include "batch/engine/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/cleanup.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* A process; while it works, it is in nobody's list and belongs to whoever started the work. */
struct nj_worker {
    struct nj_workers *workers;
    pid_t pid;
    int fd; /* its orders, and its answers: an error each, whose code is 0 when all is well */
    struct event *answer;
    nj_worker_done done;
    void *done_ctx;
    SLIST_ENTRY(nj_worker) link; /* waiting */
};

struct nj_workers {
    struct event_base *base;
    struct nj_workers_setup setup;
    SLIST_HEAD(, nj_worker) waiting; /* the last that worked first: its memory is warm */
    unsigned n_waiting;
};

/* What goes before the order itself, which is in the first descriptor. Both sides are one image, so
 * a function is at the same address in both. */
struct message {
    nj_worker_main work;
    size_t order_bytes;
    bool has_fd;
    bool has_pages;
};

#define MESSAGE_DESCRIPTORS_MAX 4 /* the order, what comes with it, what is lent */

/* ---- in the worker ---- */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_others(const struct nj_workers_setup *setup, int fd)
{
    int keep[NJ_WORKER_DESCRIPTORS_MAX + 1] = {fd};
    unsigned next = STDERR_FILENO + 1;

    memcpy(keep + 1, setup->keep, setup->n_keep * sizeof(*keep));
    qsort(keep, setup->n_keep + 1, sizeof(*keep), by_number);
    for (size_t i = 0; i <= setup->n_keep; i++) {
        if (keep[i] < (int)next)
            continue;
        if (keep[i] > (int)next)
            (void)close_range(next, (unsigned)keep[i] - 1, 0); /* what stays open is only held */
        next = (unsigned)keep[i] + 1;
    }
    (void)close_range(next, ~0u, 0);
}

static int work_on(void *ctx, const struct message *message, const int *fds, struct nj_error *err)
{
    struct nj_worker_order order = NJ_WORKER_ORDER_EMPTY;
    void *map = NULL;
    int r;

    order.bytes.len = message->order_bytes;
    if (order.bytes.len > 0) {
        map = mmap(NULL, order.bytes.len, PROT_READ, MAP_PRIVATE, *fds, 0);
        if (map == MAP_FAILED)
            return nj_fail_errno(err, errno, "map an order");
        order.bytes.data = map;
    }
    fds++;
    if (message->has_fd)
        order.fd = *fds++;
    if (message->has_pages)
        order.pages = *fds;
    r = message->work(ctx, &order, err);
    if (map)
        (void)munmap(map, order.bytes.len);
    return r;
}

static _Noreturn void serve(const struct nj_workers_setup *setup, int fd)
{
    for (;;) {
        struct message message;
        struct nj_error err = {0};
        int fds[MESSAGE_DESCRIPTORS_MAX];
        size_t len = 0, n_fds = MESSAGE_DESCRIPTORS_MAX;

        if (nj_fsio_recvmsg(fd, &message, sizeof(message), &len, fds, &n_fds, &err) != 0 ||
            len != sizeof(message) || n_fds < (size_t)1 + message.has_fd + message.has_pages)
            _exit(0); /* the engine ends, or has ended */
        if (work_on(setup->ctx, &message, fds, &err) == 0)
            err = (struct nj_error){0};
        for (size_t i = 0; i < n_fds; i++)
            (void)close(fds[i]); /* what was written into it is for the engine to sync */
        if (send(fd, &err, sizeof(err), MSG_NOSIGNAL) != (ssize_t)sizeof(err))
            _exit(0);
    }
}

static _Noreturn void run_child(const struct nj_workers_setup *setup, int fd, pid_t engine_pid)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != engine_pid)
        _exit(1); /* it died before we asked to die with it */
    sigemptyset(&none);
    (void)signal(SIGINT, SIG_IGN); /* Ctrl-C is for the engine, which decides what becomes of us */
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGTSTP,
                 SIG_DFL); /* these too would be told to the engine's loop, a second time */
    (void)signal(SIGCONT, SIG_DFL);
    (void)signal(SIGWINCH, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    nj_fault_init("worker");
    if (setup->begin)
        setup->begin(setup->ctx);
    close_others(setup, fd);
    serve(setup, fd);
}

/* ---- in the engine ---- */

static int reap(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static void worker_free(struct nj_worker *worker)
{
    if (worker->answer)
        event_free(worker->answer);
    if (worker->fd >= 0)
        (void)close(worker->fd);
    free(worker);
}

static void worker_end(struct nj_worker *worker)
{
    (void)kill(worker->pid, SIGKILL);
    (void)reap(worker->pid);
    worker_free(worker);
}

static void worker_put_back(struct nj_worker *worker)
{
    struct nj_workers *workers = worker->workers;

    if (workers->n_waiting >= workers->setup.kept) {
        worker_end(worker);
        return;
    }
    SLIST_INSERT_HEAD(&workers->waiting, worker, link);
    workers->n_waiting++;
}

static struct nj_worker *worker_take(struct nj_workers *workers)
{
    struct nj_worker *worker = SLIST_FIRST(&workers->waiting);

    if (!worker)
        return NULL;
    SLIST_REMOVE_HEAD(&workers->waiting, link);
    workers->n_waiting--;
    return worker;
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
    struct nj_worker *worker = arg;
    nj_worker_done done = worker->done;
    void *ctx = worker->done_ctx;
    struct nj_error err = {0};
    ssize_t got = recv(fd, &err, sizeof(err), 0);

    (void)what;
    if (got != (ssize_t)sizeof(err)) {
        int status = reap(worker->pid);

        worker_free(worker);
        (void)nj_fail(&err, NJ_E_SYSTEM, "a worker process died (status 0x%x)", (unsigned)status);
        done(ctx, &err);
        return;
    }
    worker_put_back(worker);
    err.text[sizeof(err.text) - 1] = '\0';
    done(ctx, err.code == 0 ? NULL : &err);
}

static int worker_new(struct nj_workers *workers, struct nj_worker **ret_worker,
                      struct nj_error *err)
{
    struct nj_worker *worker = calloc(1, sizeof(*worker));
    pid_t engine_pid = getpid();
    sigset_t all, before;
    int errnum, fds[2];

    if (!worker)
        return nj_fail_nomem(err);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        free(worker);
        return nj_fail_errno(err, errno, "socket to a worker");
    }
    worker->workers = workers;
    worker->fd = fds[0];
    worker->answer = event_new(workers->base, fds[0], EV_READ, on_answer, worker);
    /* A signal that reached the child with the loop's handlers still in place would be told to the
     * engine again. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->pid = worker->answer ? fork() : -1;
    if (worker->pid == 0)
        run_child(&workers->setup, fds[1], engine_pid);
    errnum = worker->answer ? errno : ENOMEM;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)close(fds[1]);
    if (worker->pid < 0) {
        worker_free(worker);
        return nj_fail_errno(err, errnum, "start a worker");
    }
    *ret_worker = worker;
    return 0;
}

int nj_workers_new(struct event_base *base, const struct nj_workers_setup *setup,
                   struct nj_workers **ret_workers, struct nj_error *err)
{
    struct nj_workers *workers = calloc(1, sizeof(*workers));

    if (!workers)
        return nj_fail_nomem(err);
    workers->base = base;
    workers->setup = *setup;
    SLIST_INIT(&workers->waiting);
    if (workers->setup.kept > NJ_WORKERS_KEPT_MAX)
        workers->setup.kept = NJ_WORKERS_KEPT_MAX;
    for (unsigned i = 0; i < setup->ahead && i < workers->setup.kept; i++) {
        struct nj_worker *worker = NULL;

        if (worker_new(workers, &worker, err) < 0) {
            nj_workers_free(workers);
            return -(int)err->code;
        }
        worker_put_back(worker);
    }
    *ret_workers = workers;
    return 0;
}

void nj_workers_free(struct nj_workers *workers)
{
    struct nj_worker *worker;

    if (!workers)
        return;
    while ((worker = worker_take(workers)))
        worker_end(worker);
    free(workers);
}

/* One that died while it waited is only found when it is sent something. */
static int worker_send(struct nj_worker *worker, const struct message *message, const int *fds,
                       size_t n_fds, struct nj_error *err)
{
    if (nj_fsio_sendmsg(worker->fd, message, sizeof(*message), fds, n_fds, err) < 0 ||
        event_add(worker->answer, NULL) < 0) {
        worker_end(worker);
        return err->code != 0 ? -(int)err->code : nj_fail_nomem(err);
    }
    return 0;
}

int nj_worker_start(struct nj_workers *workers, nj_worker_main work,
                    const struct nj_worker_order *order, nj_worker_done done, void *done_ctx,
                    struct nj_worker **ret_worker, struct nj_error *err)
{
    struct message message = {.work = work,
                              .order_bytes = order->bytes.len,
                              .has_fd = order->fd >= 0,
                              .has_pages = order->pages >= 0};
    nj_auto_close int order_fd = -1;
    struct nj_worker *worker;
    int fds[MESSAGE_DESCRIPTORS_MAX];
    size_t n_fds = 0;
    int r;

    if (nj_fsio_memfd("order", &order_fd, err) < 0 ||
        (order->bytes.len > 0 &&
         nj_fsio_write(order_fd, order->bytes.data, order->bytes.len, err) < 0))
        return nj_wrap(err, "an order for a worker");
    fds[n_fds++] = order_fd;
    if (order->fd >= 0)
        fds[n_fds++] = order->fd;
    if (order->pages >= 0)
        fds[n_fds++] = order->pages;
    if (workers->setup.lent >= 0)
        fds[n_fds++] = workers->setup.lent;
    for (;;) {
        bool waited = (worker = worker_take(workers)) != NULL;

        if (!worker && worker_new(workers, &worker, err) < 0)
            return -(int)err->code;
        r = worker_send(worker, &message, fds, n_fds, err);
        if (r == 0)
            break;
        if (!waited || (err->sys_errno != EPIPE && err->sys_errno != ECONNRESET))
            return nj_wrap(err, "send to a worker");
        *err = (struct nj_error){0};
    }
    worker->done = done;
    worker->done_ctx = done_ctx;
    *ret_worker = worker;
    return 0;
}

void nj_worker_cancel(struct nj_worker *worker)
{
    if (worker)
        worker_end(worker);
}
