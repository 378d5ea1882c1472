/*
 * worker.c - fork, work, report through a pipe
 */
#include "batch/engine/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/cleanup.h"
#include "formats/base/fault.h"

#include "formats/base/banned.h"

struct nj_worker {
    pid_t pid;
    int report_fd; /* the child's error, whole, or nothing */
    struct event *report;
    nj_worker_done done;
    void *ctx;
};

static void worker_free(struct nj_worker *worker)
{
    if (worker->report)
        event_free(worker->report);
    if (worker->report_fd >= 0)
        (void)close(worker->report_fd);
    free(worker);
}

static int reap(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    struct nj_worker *worker = arg;
    nj_worker_done done = worker->done;
    void *ctx = worker->ctx;
    struct nj_error err = {0};
    ssize_t got;
    int status;

    (void)what;
    got = read(fd, &err, sizeof(err)); /* sent in one write, below PIPE_BUF */
    status = reap(worker->pid);
    worker_free(worker);
    if (got == (ssize_t)sizeof(err)) {
        err.text[sizeof(err.text) - 1] = '\0';
        done(ctx, &err);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)nj_fail(&err, NJ_E_SYSTEM, "a worker process died (status 0x%x)", (unsigned)status);
        done(ctx, &err);
    } else {
        done(ctx, NULL);
    }
}

static _Noreturn void run_child(nj_worker_main work, void *ctx, int report_fd, pid_t engine_pid)
{
    struct nj_error err = {0};
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
    if (work(ctx, &err) < 0) {
        (void)!write(report_fd, &err, sizeof(err)); /* the exit status tells too */
        nj_fault_done();
        _exit(1);
    }
    nj_fault_done();
    _exit(0);
}

int nj_worker_start(struct event_base *base, nj_worker_main work, nj_worker_done done, void *ctx,
                    struct nj_worker **ret_worker, struct nj_error *err)
{
    struct nj_worker *worker = calloc(1, sizeof(*worker));
    pid_t engine_pid = getpid();
    sigset_t all, before;
    int errnum, fds[2];

    if (!worker)
        return nj_fail_nomem(err);
    worker->report_fd = -1;
    worker->done = done;
    worker->ctx = ctx;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        worker_free(worker);
        return nj_fail_errno(err, errno, "pipe to a worker");
    }
    worker->report_fd = fds[0];
    worker->report = event_new(base, fds[0], EV_READ, on_report, worker);
    /* A signal that reached the child with the loop's handlers still in place would be told to the
     * engine again. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->pid = worker->report ? fork() : -1;
    if (worker->pid == 0)
        run_child(work, ctx, fds[1], engine_pid);
    errnum = worker->report ? errno : ENOMEM;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)close(fds[1]);
    if (worker->pid > 0 && event_add(worker->report, NULL) == 0) {
        *ret_worker = worker;
        return 0;
    }
    if (worker->pid > 0) {
        (void)kill(worker->pid, SIGKILL);
        (void)reap(worker->pid);
        errnum = ENOMEM;
    }
    worker_free(worker);
    return nj_fail_errno(err, errnum, "start a worker");
}

void nj_worker_cancel(struct nj_worker *worker)
{
    if (!worker)
        return;
    (void)kill(worker->pid, SIGKILL);
    (void)reap(worker->pid);
    worker_free(worker);
}
