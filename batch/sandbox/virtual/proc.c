/*
 * proc.c - what /proc tells of a box's task
 *
 * A file of /proc is made when it is read: one read() gives one moment, so none is read in pieces.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "batch/sandbox/virtual/proc.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

bool nj_proc_read(const struct nj_virtual *v, pid_t tid, const char *file, char *text, size_t size)
{
    nj_auto_close int fd = -1;
    char name[48];
    ssize_t n;

    (void)snprintf(name, sizeof(name), "%d/%s", tid, file); /* fits */
    fd = openat(v->proc_fd, name, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* behind - where the value of @name begins; NULL */
static const char *behind(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    return at ? at + strlen(name) : NULL;
}

long nj_proc_number(const char *status, const char *name)
{
    const char *at = behind(status, name);

    return at ? strtol(at, NULL, 10) : -1;
}

uint64_t nj_proc_mask(const char *status, const char *name)
{
    const char *at = behind(status, name);

    return at ? strtoull(at, NULL, 16) : 0;
}

uint32_t nj_proc_innermost(const char *status, const char *name)
{
    const char *at = behind(status, name);
    uint32_t number = 0;

    for (; at && *at != '\n' && *at != '\0'; at++)
        number = *at == '\t' ? 0 : 10 * number + (uint32_t)(*at - '0');
    return number;
}
