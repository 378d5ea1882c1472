/*
 * figures.c - which of the kernel's own figures the programs of a call looked at
 *
 * What /proc tells of a process holds times, counters and numbers that differ from run to run, and
 * no file of ours can cover it: processes come and go, and the kernel makes the text as it is read.
 * Telling of each open() would cost every program what the layer must not. So each program's
 * directory is watched from its first stop on (inotify, which procfs does not refuse as it refuses
 * fanotify): whoever opens a file there, by whatever path, is heard, and nobody waits.
 *
 * Not heard: files of processes that run no program of their own (a fork without exec), of single
 * threads (task/, thread-self), what lies deeper (fdinfo/0; that fdinfo/ itself was listed is
 * heard), and a directory that the kernel forgot and made again, short of memory. Where nobody
 * could listen (the user has no inotify left), or the queue was full, that is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define EVENTS_BYTES 4096
#define READS_MAX 256 /* a whole queue; who opens on and on keeps us no longer */

static uint32_t bit_of(const char *name)
{
#define X(enumerator, bit, text)                                                                   \
    if (strcmp(name, text) == 0)                                                                   \
        return UINT32_C(1) << (bit);
    NJ_FIGURES(X)
#undef X
    return 0;
}

void nj_figures_init(struct nj_virtual *v)
{
    v->figures.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC); /* -1: as many as the user may have */
}

/* drain - what is opened while the queue is full is not heard; the kernel's holds 16,384 */
static void drain(struct nj_figures *figures)
{
    uint8_t events[EVENTS_BYTES] __attribute__((aligned(8)));
    struct inotify_event event;

    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(figures->fd, events, sizeof(events));

        if (n < 0 && errno == EAGAIN)
            return;
        for (size_t at = 0; n > 0 && at < (size_t)n; at += sizeof(event) + event.len) {
            memcpy(&event, events + at, sizeof(event));
            if (event.mask & IN_Q_OVERFLOW)
                figures->opened |= NJ_FIGURE_UNHEARD;
            if (event.len > 0) /* the kernel ends a name with NULs */
                figures->opened |= bit_of((const char *)events + at + sizeof(event));
        }
    }
    figures->opened |= NJ_FIGURE_UNHEARD; /* there may be more */
}

/* listen_to - false: to this program nobody can */
static bool listen_to(struct nj_virtual *v, pid_t tid, uint32_t pid)
{
    struct nj_figures *figures = &v->figures;
    int *watch = &figures->watches[figures->n % NJ_FIGURES_WATCHED_MAX];
    nj_auto_close int fd = -1;
    char name[64];

    if (figures->fd < 0)
        return false;
    (void)snprintf(name, sizeof(name), "%d/root/proc/%u", tid, pid); /* fits */
    fd = openat(v->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fchdir(fd) < 0)
        return false;
    if (figures->n >= NJ_FIGURES_WATCHED_MAX) { /* the oldest makes room */
        drain(figures);
        (void)inotify_rm_watch(figures->fd, *watch);
    }
    *watch = inotify_add_watch(figures->fd, ".", IN_OPEN | IN_ONLYDIR);
    if (*watch >= 0)
        figures->n++;
    return *watch >= 0;
}

void nj_figures_began(struct nj_virtual *v, pid_t tid, uint32_t pid)
{
    if (!listen_to(v, tid, pid) && !nj_virtual_is_dying(tid))
        v->figures.opened |= NJ_FIGURE_UNHEARD;
}

uint32_t nj_figures_end(struct nj_virtual *v)
{
    uint32_t opened;

    if (v->figures.fd >= 0)
        drain(&v->figures);
    opened = v->figures.opened;
    /* The watches went with the call's own procfs. */
    v->figures.opened = 0;
    v->figures.n = 0;
    return opened;
}
