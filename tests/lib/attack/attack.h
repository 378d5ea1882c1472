/*
 * attack.h - how a program in a box tries something and says what came of it
 *
 * Each attempt is one line on standard output, "ITEM what: outcome". The outcome is what the kernel
 * answered: the name of an errno, "done" when the call worked, "killed by N" when the attempt ended
 * the process that made it, or a word of the program's own. The suites compare the lines with a
 * table, so an attempt that starts to succeed is a red line with its number. Programs are built
 * with plain `cc` and run inside a box only.
 */
#ifndef NJ_TESTS_ATTACK_H
#define NJ_TESTS_ATTACK_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void say(int item, const char *what, const char *outcome)
{
    printf("%d %s: %s\n", item, what, outcome);
    fflush(stdout); /* the next attempt may end us, or run in a child */
}

static inline const char *error_name(int errnum)
{
    const char *name = strerrorname_np(errnum);

    return name ? name : "?";
}

/* tried - say what a call that returns -1 and sets errno answered. A macro: errno must be read
 * before anything else is called. */
#define tried(item, what, call)                                                                    \
    do {                                                                                           \
        long tried_result = (long)(call);                                                          \
        int tried_errno = errno;                                                                   \
                                                                                                   \
        say(item, what, tried_result < 0 ? error_name(tried_errno) : "done");                      \
    } while (0)

/* tried_open - open @path so; a descriptor that we got is closed again */
static inline void tried_open(int item, const char *path, int flags)
{
    char what[256];
    int fd;

    snprintf(what, sizeof(what), "open %s", path);
    fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    say(item, what, fd < 0 ? error_name(errno) : "done");
    if (fd >= 0)
        close(fd);
}

/* in_child - run @attempt in a child; its exit status is an errno, 0 for done */
static inline void in_child(int item, const char *what, int (*attempt)(void))
{
    int status;
    pid_t pid;

    pid = fork();
    if (pid == 0)
        _exit(attempt());
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        say(item, what, "no child");
        return;
    }
    if (WIFSIGNALED(status)) {
        char outcome[64];

        snprintf(outcome, sizeof(outcome), "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
        say(item, what, outcome);
    } else {
        say(item, what, WEXITSTATUS(status) ? error_name(WEXITSTATUS(status)) : "done");
    }
}

#endif
