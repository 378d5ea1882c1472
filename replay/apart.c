/*
 * apart.c - fork, read there, tell through a pipe
 */
#include "replay/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/base/cleanup.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define STATUS_MAX 5 /* of the exit statuses, command.h */

/* One message, whole or not at all; below PIPE_BUF. */
struct message {
    int result;
    struct nj_told told;
    struct nj_error error;
};

static _Noreturn void run_child(nj_apart_work work, void *ctx, int fd, pid_t parent)
{
    struct message message = {0};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it died before we asked to die with it */
    message.result = work(ctx, &message.told, &message.error);
    (void)!write(fd, &message, sizeof(message)); /* a parent that hears nothing says so */
    _exit(0);
}

static int reap(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

/* The child may be in the hands of a record: what it says is taken as far as it makes sense. */
static int believe(struct message *message, size_t got, int status, struct nj_told *ret_told,
                   struct nj_error *err)
{
    if (WIFSIGNALED(status))
        return nj_fail(err, NJ_E_SYSTEM, "the reading process was ended by signal %d%s",
                       WTERMSIG(status),
                       WTERMSIG(status) == SIGSYS ? ": it asked for what no reader needs" : "");
    if (got != sizeof(*message) || message->result > STATUS_MAX)
        return nj_fail(err, NJ_E_SYSTEM, "the reading process ended without a word (status 0x%x)",
                       (unsigned)status);
    message->told.text[sizeof(message->told.text) - 1] = '\0';
    message->error.text[sizeof(message->error.text) - 1] = '\0';
    *ret_told = message->told;
    if (message->result >= 0)
        return message->result;
    *err = message->error;
    return message->result == -(int)err->code
               ? message->result
               : nj_fail(err, NJ_E_SYSTEM, "the reading process tells nonsense");
}

int nj_apart(nj_apart_work work, void *ctx, struct nj_told *ret_told, struct nj_error *err)
{
    nj_auto_close int read_fd = -1;
    struct message message;
    pid_t parent = getpid();
    ssize_t got;
    int fds[2];
    pid_t pid;

    *ret_told = (struct nj_told){0};
    if (pipe2(fds, O_CLOEXEC) < 0)
        return nj_fail_errno(err, errno, "pipe to a reading process");
    read_fd = fds[0];
    pid = fork();
    if (pid == 0)
        run_child(work, ctx, fds[1], parent);
    (void)close(fds[1]);
    if (pid < 0)
        return nj_fail_errno(err, errno, "start a reading process");
    do
        got = read(read_fd, &message, sizeof(message));
    while (got < 0 && errno == EINTR);
    return believe(&message, got < 0 ? 0 : (size_t)got, reap(pid), ret_told, err);
}
