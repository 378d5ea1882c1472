# Timers that are files: read, polled and waited for by epoll, with intervals, times of day, dup and fork, beside a pipe and threads.
# equal: D3
# varies
# needs: gcc
set -eu
cat > t.c <<'C'
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void set(int fd, int flags, double value, double interval)
{
    struct itimerspec v = {.it_value = {(time_t)value, (long)((value - (time_t)value) * 1e9)},
                           .it_interval = {(time_t)interval, (long)((interval - (time_t)interval) * 1e9)}};
    if (timerfd_settime(fd, flags, &v, NULL)) { perror("settime"); exit(1); }
}
static uint64_t turns(int fd) { uint64_t n = 0; return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0; }

static void *late(void *fd) { struct timespec t = {0, 230000000}; nanosleep(&t, NULL); dprintf(*(int *)fd, "x"); return NULL; }

int main(void)
{
    int once = timerfd_create(CLOCK_MONOTONIC, 0), often = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int day = timerfd_create(CLOCK_REALTIME, 0), pipes[2], e = epoll_create1(0), copy = dup(once), status;
    struct epoll_event add[4] = {{EPOLLIN, {.fd = once}}, {EPOLLIN, {.fd = often}}, {EPOLLIN, {.fd = day}}, {EPOLLIN}}, got[4];
    pthread_t thread;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(pipes)) return 1;
    add[3].data.fd = pipes[0];
    for (int i = 0; i < 4; i++) epoll_ctl(e, EPOLL_CTL_ADD, add[i].data.fd, &add[i]);
    set(once, 0, 0.17, 0); set(often, 0, 0.05, 0.07); set(day, TFD_TIMER_ABSTIME, now() + 0.31, 0);
    pthread_create(&thread, NULL, late, &pipes[1]);
    for (int seen = 0; seen < 9;) {
        int n = epoll_wait(e, got, 4, -1);
        for (int i = 0; i < n; i++, seen++) {
            char c = '-';
            uint64_t k = got[i].data.fd == pipes[0] ? (uint64_t)read(pipes[0], &c, 1) : turns(got[i].data.fd);
            printf("%d: %lu%c at %.6f\n", got[i].data.fd, (unsigned long)k, c, now());
        }
    }
    pthread_join(thread, NULL);
    set(often, 0, 0.01, 0.01);
    usleep(205000);
    printf("missed %lu\n", (unsigned long)turns(often));
    printf("then %ld\n", (long)turns(often));
    set(once, 0, 0.2, 0);
    if (fork() == 0) {
        printf("child %lu at %.6f\n", (unsigned long)turns(copy), now());
        exit(fflush(stdout));
    }
    poll(&(struct pollfd){pipes[0], POLLIN, 0}, 1, 300);
    wait(&status);
    printf("over %d at %.6f\n", status, now());
    return 0;
}
C
gcc -O1 -pthread -o t t.c
./t | tee out
rm t
