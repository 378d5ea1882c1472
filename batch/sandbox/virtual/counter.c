/*
 * counter.c - programs that read the processor's own counter
 *
 * rdtsc needs no kernel, so no clock stands before it, and to trap it would end every program that
 * the C library's loader starts. So it is said: a program out of the workspace that holds the
 * instruction in the form in which compilers write it lowers the level to D1. What the system
 * brought is left out (nearly all of it holds one, for tuning), as are libraries and code made at
 * run time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define SEEK_MAX_BYTES (4u << 20) /* a millisecond's work; beyond, a program is not looked at */
#define PIECE_BYTES 65536
#define REACH_BYTES 16 /* from rdtscp to the shift behind it */

/* is_behind_counter - whether the shift that joins the counter's halves stands behind rdtsc(p) */
static bool is_behind_counter(const uint8_t *shift, size_t before)
{
    if (before >= 2 && memcmp(shift - 2, "\x0f\x31", 2) == 0)
        return true;
    if (before >= 5 && memcmp(shift - 5, "\x0f\x31", 2) == 0) /* a register is moved between */
        return true;
    for (size_t n = 3; n <= REACH_BYTES && n <= before; n++) {
        if (memcmp(shift - n, "\x0f\x01\xf9", 3) == 0)
            return true;
    }
    return false;
}

static bool holds_counter(const uint8_t *code, size_t len)
{
    static const uint8_t shift[] = {0x48, 0xc1, 0xe2, 0x20}; /* shl $32, %rdx */
    const uint8_t *at = code;

    while ((at = memmem(at, len - (size_t)(at - code), shift, sizeof(shift)))) {
        if (is_behind_counter(at, (size_t)(at - code)))
            return true;
        at++;
    }
    return false;
}

void nj_virtual_seek_counter(struct nj_virtual *v, pid_t tid)
{
    static uint8_t piece[REACH_BYTES + PIECE_BYTES]; /* a supervisor has one thread */
    nj_auto_close int fd = -1;
    char name[32];
    struct stat st;
    size_t kept = 0;
    ssize_t n;

    if (!v->files.times || v->reached < NJ_LEVEL_FILE_TIMES)
        return;
    (void)snprintf(name, sizeof(name), "%d/exe", tid); /* fits */
    fd = openat(v->proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != v->files.device)
        return;
    for (size_t done = 0; done < SEEK_MAX_BYTES; done += (size_t)n) {
        n = pread(fd, piece + kept, PIECE_BYTES, (off_t)done);
        if (n <= 0)
            return;
        if (holds_counter(piece, kept + (size_t)n)) {
            nj_virtual_lower(v, NJ_LEVEL_FILE_TIMES - 1, NJ_LOWERED_TSC);
            return;
        }
        n += (ssize_t)kept;
        kept = n < REACH_BYTES ? (size_t)n : REACH_BYTES;
        memmove(piece, piece + n - kept, kept);
        n -= (ssize_t)kept;
    }
}
