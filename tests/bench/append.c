/*
 * append.c - the floor under every durable record: append and fdatasync, nothing else
 *
 * usage: append FILE SESSIONS STEPS BYTES
 *
 * SESSIONS sessions take STEPS steps each, in lockstep: a round appends one record of BYTES for
 * each of them and syncs once, as a shared log with group commit would at its best. The file is
 * preallocated, as ours is. Prints steps per second.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    fprintf(stderr, "append: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    size_t sessions, steps, bytes, batch;
    double begun;
    char *data;
    int fd;

    if (argc != 5) {
        fprintf(stderr, "usage: append FILE SESSIONS STEPS BYTES\n");
        return 2;
    }
    sessions = strtoul(argv[2], NULL, 10);
    steps = strtoul(argv[3], NULL, 10);
    bytes = strtoul(argv[4], NULL, 10);
    batch = sessions * bytes;
    data = malloc(batch);
    if (!data || batch == 0)
        return fail("memory");
    for (size_t i = 0; i < batch; i++)
        data[i] = (char)(' ' + rand() % 90);
    fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(argv[1]);
    if (posix_fallocate(fd, 0, (off_t)(batch * steps)) != 0)
        return fail("posix_fallocate");
    if (fsync(fd) < 0)
        return fail("fsync");
    begun = now();
    for (size_t i = 0; i < steps; i++) {
        size_t done = 0;

        while (done < batch) {
            ssize_t n = write(fd, data + done, batch - done);

            if (n < 0)
                return fail("write");
            done += (size_t)n;
        }
        if (fdatasync(fd) < 0)
            return fail("fdatasync");
    }
    printf("%.1f\n", (double)(steps * sessions) / (now() - begun));
    free(data);
    return close(fd) < 0 ? fail("close") : 0;
}
