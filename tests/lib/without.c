/*
 * without.c - run a program under a filter that refuses some system calls, as a container's does
 *
 * usage: without CALL=ERRNO... -- COMMAND...      CALL clone:user stands for clone and unshare with
 * CLONE_NEWUSER
 */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/banned.h"

static int errno_of(const char *name)
{
    static const struct {
        const char *name;
        int value;
    } known[] = {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EACCES", EACCES}, {"EINVAL", EINVAL}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, name) == 0)
            return known[i].value;
    }
    return -1;
}

static int refuse(scmp_filter_ctx ctx, char *rule)
{
    char *equals = strchr(rule, '=');
    int number, errnum = equals ? errno_of(equals + 1) : -1;

    if (errnum < 0)
        return -EINVAL;
    *equals = '\0';
    if (strcmp(rule, "clone:user") == 0) {
        int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO((unsigned)errnum), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));

        return r < 0 ? r
                     : seccomp_rule_add(ctx, SCMP_ACT_ERRNO((unsigned)errnum), SCMP_SYS(unshare), 1,
                                        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    }
    number = seccomp_syscall_resolve_name(rule);
    return number == __NR_SCMP_ERROR
               ? -EINVAL
               : seccomp_rule_add(ctx, SCMP_ACT_ERRNO((unsigned)errnum), number, 0);
}

int main(int argc, char **argv)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int at = 1;

    if (!ctx)
        return 125;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        int r = refuse(ctx, argv[at]);

        if (r < 0) {
            fprintf(stderr, "without: %s: %s\n", argv[at], strerror(-r));
            return 125;
        }
    }
    if (at + 1 >= argc || seccomp_load(ctx) < 0) {
        fprintf(stderr, "without: no command, or the filter cannot be loaded\n");
        return 125;
    }
    seccomp_release(ctx);
    (void)execvp(argv[at + 1], argv + at + 1);
    perror(argv[at + 1]);
    return 126;
}
