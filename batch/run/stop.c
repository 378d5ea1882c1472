/*
 * stop.c - find the engine of a run, ask it, wait
 *
 * The one complication is what a killed engine leaves: its workers hold the lock for a moment, and
 * the file that tells whose the lock is names a process that is gone, or a number that is another
 * process's now. So nothing is signalled but what is surely the engine, and a lock without one is
 * waited for.
 */
#include "batch/run/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "batch/run/holder.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define RETRY_MS 20
#define LEFTOVERS_MS 5000 /* how long what an ended engine had forked may hold the lock */

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&pause, NULL); /* waking early only asks again */
}

static int send_signal(int pidfd, int number)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

/* The engine notices the second signal as such because the two differ: of one kind they would be
 * delivered once. */
static int ask(int pidfd, const struct nj_stop_options *options)
{
    if (send_signal(pidfd, SIGTERM) < 0 || (options->now && send_signal(pidfd, SIGINT) < 0))
        return errno == ESRCH ? 0 : -1;
    return 0;
}

static int wait_for_end(int pidfd, int64_t until_ms)
{
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};

    for (;;) {
        int64_t left = until_ms - now_ms();
        int r = poll(&fd, 1, left > 0 ? (int)left : 0);

        if (r > 0)
            return 0;
        if (r == 0 && left <= 0)
            return 1;
    }
}

static int ask_and_wait(const char *path, const struct nj_holder *holder,
                        const struct nj_stop_options *options, struct nj_error *err)
{
    nj_auto_close int pidfd = nj_holder_open(holder);
    char who[200];

    nj_holder_text(holder, who, sizeof(who));
    if (pidfd < 0 && errno == ESRCH)
        return 0; /* it has ended in this moment */
    if (pidfd < 0)
        return nj_fail_errno(err, errno, "run %s: reach its engine (%s)", path, who);
    if (ask(pidfd, options) < 0) {
        if (errno == EPERM)
            return nj_fail(err, NJ_E_INPUT,
                           "run %s: its engine (%s) belongs to another user: stop it as that user "
                           "or as root",
                           path, who);
        return nj_fail_errno(err, errno, "run %s: signal its engine (%s)", path, who);
    }
    if (wait_for_end(pidfd, now_ms() + (int64_t)options->wait_seconds * 1000) != 0)
        return nj_fail(err, NJ_E_LIMIT,
                       "run %s: its engine (%s) was asked to stop and is still at work after %llu "
                       "s; --now ends calls under way at once",
                       path, who, (unsigned long long)options->wait_seconds);
    return 0;
}

/* Until nobody holds the lock, asking whoever does. Returns whether an engine was asked. */
static int release(const char *path, int dir_fd, const struct nj_stop_options *options,
                   struct nj_error *err)
{
    int64_t until_ms = now_ms() + LEFTOVERS_MS;
    bool asked = false;

    while (nj_holder_is_locked(dir_fd)) {
        struct nj_holder holder;
        enum nj_holder_state state;
        char who[200];

        nj_holder_read(dir_fd, &holder);
        state = nj_holder_state(&holder);
        if (state == NJ_HOLDER_LIVES) {
            if (ask_and_wait(path, &holder, options, err) < 0)
                return -(int)err->code;
            asked = true;
            until_ms = now_ms() + LEFTOVERS_MS;
        } else if (state == NJ_HOLDER_ELSEWHERE || now_ms() >= until_ms) {
            nj_holder_text(&holder, who, sizeof(who));
            return nj_fail(err, NJ_E_INPUT,
                           "run %s: it is being worked on, but its engine (%s) cannot be reached "
                           "from here: stop it where it runs",
                           path, who);
        }
        pause_ms(RETRY_MS);
    }
    return asked;
}

int nj_run_stop(const char *path, const struct nj_stop_options *options,
                struct nj_run_state *ret_state, struct nj_error *err)
{
    nj_auto_close int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_run_state state = {0};
    int asked;

    if (dir_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return nj_fail(err, NJ_E_INPUT, "%s: there is no run", path);
    if (dir_fd < 0)
        return nj_fail_errno(err, errno, "open run %s", path);
    if (faccessat(dir_fd, "journal", F_OK, 0) < 0)
        return nj_fail(err, NJ_E_INPUT, "run %s: it has no journal, so it is no run", path);
    asked = release(path, dir_fd, options, err);
    if (asked < 0)
        return asked;
    if (nj_run_state_read(dir_fd, &state, err) < 0)
        return err->code == NJ_E_INPUT && err->sys_errno == ENOENT ? NJ_STOP_NEVER_RAN
                                                                   : nj_wrap(err, "run %s", path);
    *ret_state = state;
    if (asked)
        return NJ_STOP_STOPPED;
    return strcmp(state.state, "running") == 0 ? NJ_STOP_DIED : NJ_STOP_NOT_RUNNING;
}
