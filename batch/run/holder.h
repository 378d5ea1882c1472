/*
 * holder.h - who is at work on a run: for the engine that is refused, for `stop`, for readers
 *
 * The lock itself is a flock on the run's folder and ends with the engine and its workers, however
 * they end. The file `lock` beside it only tells whose it is; it stays behind a killed engine, so
 * it counts only together with the lock, and a process is taken for the engine only when it began
 * at the very tick that the file tells: numbers of processes are used again.
 */
#ifndef NJ_HOLDER_H
#define NJ_HOLDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/error.h"

struct nj_holder {
    pid_t pid;              /* 0: nobody has told */
    uint64_t started_ticks; /* of the process, since boot: /proc/PID/stat, field 22 */
    int64_t since_s;        /* wall clock */
    char boot_id[40];
    char pid_namespace[40]; /* "pid:[4026531836]" */
    char host[72];
};

/* What can be known of a holder from here. */
enum nj_holder_state {
    NJ_HOLDER_GONE,     /* it is no process any more, or that number is somebody else's now */
    NJ_HOLDER_LIVES,    /* it is a process of this host that can be asked to stop */
    NJ_HOLDER_ELSEWHERE /* another host, or a container with other numbers: only the lock tells */
};

/* nj_holder_write - tell that this process holds the run; it must hold the lock */
int nj_holder_write(int dir_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_holder_read - what the file tells; pid is 0 where there is none or it cannot be read */
void nj_holder_read(int dir_fd, struct nj_holder *ret_holder);

enum nj_holder_state nj_holder_state(const struct nj_holder *holder);

/* nj_holder_is_locked - does anybody hold the run's lock? Takes it shared for a moment. */
bool nj_holder_is_locked(int dir_fd);

/* nj_holder_text - "pid 41 on ares since 2026-11-22 22:00:03 UTC" */
void nj_holder_text(const struct nj_holder *holder, char *text, size_t size);

/* nj_holder_open - a pidfd of the holder that is surely it, or -1 (errno tells) */
int nj_holder_open(const struct nj_holder *holder);

#endif
