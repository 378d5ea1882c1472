/*
 * notify.c - which calls the supervisor is told of, and answering them
 *
 * One table: call, level from which it is told, a test of its arguments, who answers. From it comes
 * the payload's second filter, a few instructions a row; the allow-list of filter.c stands in front
 * of it and refuses what it refuses, since of several filters' verdicts the kernel takes the
 * strictest. The filter is ours rather than libseccomp's because it asks what that cannot say: "a
 * positive int", and "not from the image's own wait".
 *
 * The rules of answering: memory is copied once and judged on the copy; an answer goes out only
 * while the kernel still knows the notification; and nothing that guards the box depends on any of
 * it, because a program can change its memory after we looked.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/proc.h"
#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1u << 5) /* Linux 5.19 */
#endif

/* What of a call's arguments makes it one to tell of. */
enum test {
    ALWAYS,
    POINTER,  /* argument @arg is not NULL */
    POSITIVE, /* as an int it is above 0 */
    FUTEX,    /* a waiting operation, with a time */
    WRITING,  /* flags of open() that may change a file */
    EXECUTED, /* of mmap(): a file, to be executed, and not the image */
    MISSING,  /* nobody is told: the call does not exist */
};

struct row {
    int number;
    unsigned level;
    enum test test;
    unsigned arg;
    nj_call_handler *handler;
};

static const struct row rows[] = {
    {SYS_clock_gettime, 1, ALWAYS, 0, nj_clock_gettime},
    {SYS_clock_getres, 1, ALWAYS, 0, nj_clock_getres},
    {SYS_gettimeofday, 1, ALWAYS, 0, nj_clock_gettimeofday},
    {SYS_time, 1, ALWAYS, 0, nj_clock_time},
    {SYS_times, 1, ALWAYS, 0, nj_clock_times},
    {SYS_getrusage, 1, ALWAYS, 0, nj_clock_getrusage},
    {SYS_sysinfo, 1, ALWAYS, 0, nj_clock_sysinfo},
    {SYS_getcpu, 1, ALWAYS, 0, nj_clock_getcpu},
    {SYS_sched_getaffinity, 1, ALWAYS, 0, nj_clock_getaffinity},
    {SYS_sched_setaffinity, 1, ALWAYS, 0, nj_clock_setaffinity},
    {SYS_rseq, 1, MISSING, 0, NULL}, /* it shows the processor without a call */
    {SYS_getrandom, 1, ALWAYS, 0, nj_random_getrandom},
    {SYS_execve, 1, ALWAYS, 0, nj_virtual_exec},
    {SYS_execveat, 1, ALWAYS, 0, nj_virtual_exec},
    {SYS_nanosleep, 1, ALWAYS, 0, nj_virtual_wait},
    {SYS_clock_nanosleep, 1, ALWAYS, 0, nj_virtual_wait},
    {SYS_poll, 1, POSITIVE, 2, nj_virtual_wait},
    {SYS_ppoll, 1, POINTER, 2, nj_virtual_wait},
    {SYS_select, 1, POINTER, 4, nj_virtual_wait},
    {SYS_pselect6, 1, POINTER, 4, nj_virtual_wait},
    {SYS_epoll_wait, 1, POSITIVE, 3, nj_virtual_wait},
    {SYS_epoll_pwait, 1, POSITIVE, 3, nj_virtual_wait},
    {SYS_epoll_pwait2, 1, POINTER, 3, nj_virtual_wait},
    {SYS_futex, 1, FUTEX, 3, nj_virtual_wait},
    {SYS_futex_waitv, 1, POINTER, 3, nj_virtual_wait},
    {SYS_rt_sigtimedwait, 1, POINTER, 2, nj_virtual_wait},
    {SYS_semtimedop, 1, POINTER, 3, nj_virtual_wait},
    {SYS_mq_timedsend, 1, POINTER, 4, nj_virtual_wait},
    {SYS_mq_timedreceive, 1, POINTER, 4, nj_virtual_wait},
    {SYS_alarm, 1, ALWAYS, 0, nj_virtual_timer},
    {SYS_setitimer, 1, ALWAYS, 0, nj_virtual_timer},
    {SYS_timer_settime, 1, ALWAYS, 0, nj_virtual_timer},
    {SYS_timerfd_settime, 1, ALWAYS, 0, nj_virtual_timer},
    {SYS_stat, 2, ALWAYS, 0, nj_stat_stat},
    {SYS_lstat, 2, ALWAYS, 0, nj_stat_stat},
    {SYS_fstat, 2, ALWAYS, 0, nj_stat_stat},
    {SYS_newfstatat, 2, ALWAYS, 0, nj_stat_stat},
    {SYS_statx, 2, ALWAYS, 0, nj_stat_stat},
    {SYS_utime, 2, ALWAYS, 0, nj_stat_set_times},
    {SYS_utimes, 2, ALWAYS, 0, nj_stat_set_times},
    {SYS_futimesat, 2, ALWAYS, 0, nj_stat_set_times},
    {SYS_utimensat, 2, ALWAYS, 0, nj_stat_set_times},
    {SYS_open, 2, WRITING, 1, nj_stat_open},
    {SYS_openat, 2, WRITING, 2, nj_stat_open},
    {SYS_openat2, 2, ALWAYS, 0, nj_stat_open},
    {SYS_creat, 2, ALWAYS, 0, nj_stat_open},
    {SYS_wait4, 1, POINTER, 3, nj_virtual_wait_child},
    {SYS_waitid, 1, POINTER, 4, nj_virtual_wait_child},
    {SYS_mmap, 1, EXECUTED, 0, nj_programs_mapped},
};

/* What level 3 is told of besides, whatever the arguments; order.h says what for. Below it these
 * are either the rows above, with their tests, or the kernel's alone. */
static const struct {
    int number;
    bool waits; /* and may be begun by the image itself, of which was told already */
} ordered[] = {
    {SYS_read, false},
    {SYS_readv, false},
    {SYS_recvfrom, false},
    {SYS_recvmsg, false},
    {SYS_recvmmsg, false},
    {SYS_accept, false},
    {SYS_accept4, false},
    {SYS_write, false},
    {SYS_writev, false},
    {SYS_sendto, false},
    {SYS_sendmsg, false}, /* not sendmmsg, by which the listener itself is sent */
    {SYS_splice, false},
    {SYS_tee, false},
    {SYS_sendfile, false},
    {SYS_poll, true},
    {SYS_ppoll, true},
    {SYS_select, true},
    {SYS_pselect6, true},
    {SYS_epoll_wait, true},
    {SYS_epoll_pwait, true},
    {SYS_epoll_pwait2, true},
    {SYS_nanosleep, true},
    {SYS_clock_nanosleep, true},
    {SYS_futex, true},
    {SYS_rt_sigtimedwait, true},
    {SYS_rt_sigsuspend, false},
    {SYS_pause, false},
    {SYS_wait4, false},
    {SYS_waitid, false},
    {SYS_flock, false},
    {SYS_sched_yield, false},
    {SYS_clone, false},
    {SYS_fork, false},
    {SYS_vfork, false},
    {SYS_exit, false},
    {SYS_exit_group, false},
    {SYS_kill, false},
    {SYS_tkill, false},
    {SYS_tgkill, false},
    {SYS_rt_sigqueueinfo, false},
    {SYS_rt_tgsigqueueinfo, false},
    {SYS_pidfd_send_signal, false},
    {SYS_ptrace, false},
    {SYS_signalfd, false},
    {SYS_signalfd4, false},
    {SYS_alarm, false},
    {SYS_setitimer, false},
    {SYS_getitimer, false},
    {SYS_timer_settime, false},
    {SYS_timer_gettime, false},
    {SYS_timer_delete, false},
    {SYS_timerfd_settime, false},
    {SYS_timerfd_gettime, false},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool nj_order_is_told(int number)
{
    for (size_t i = 0; i < COUNT(ordered); i++) {
        if (ordered[i].number == number)
            return true;
    }
    return number == SYS_fcntl;
}

/* ---- the filter ---- */

#define LOAD(field)                                                                                \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define LOAD_LOW(index)                                                                            \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[index]))
#define LOAD_HIGH(index)                                                                           \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[index]) + 4)
#define EQUALS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), yes, no)
#define HAS_BIT(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned)(value), yes, no)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define ALLOW RETURN(SECCOMP_RET_ALLOW)
#define NOT_CALLED_FROM(called)                                                                    \
    LOAD(instruction_pointer), EQUALS((called)&0xffffffff, 0, 3),                                  \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                                                         \
                 (unsigned)offsetof(struct seccomp_data, instruction_pointer) + 4),                \
        EQUALS((called) >> 32, 0, 1), ALLOW
#define NOTIFY RETURN(SECCOMP_RET_USER_NOTIF)

struct program {
    struct sock_filter code[768];
    unsigned short n;
};

static void emit(struct program *p, const struct sock_filter *code, size_t n)
{
    for (size_t i = 0; i < n && p->n < COUNT(p->code); i++)
        p->code[p->n++] = code[i];
}

#define EMIT(p, ...)                                                                               \
    do {                                                                                           \
        const struct sock_filter code_[] = {__VA_ARGS__};                                          \
        emit(p, code_, COUNT(code_));                                                              \
    } while (0)

/* emit_row - with the call's number loaded; a row whose number fits decides, another's is left
 * untouched. Waits that the image itself begins were told of already, and its own looks at files
 * need not be told. */
static void emit_row(struct program *p, const struct row *row)
{
    const uint64_t called = row->handler == nj_virtual_wait ? NJ_LAYOUT_WAIT_CALLED
                            : row->handler == nj_stat_stat  ? NJ_LAYOUT_LOOK_CALLED
                                                            : 0;
    const unsigned char image = called ? 5 : 0;

    switch (row->test) {
    case ALWAYS:
        EMIT(p, EQUALS(row->number, 0, (unsigned char)(image + 1)));
        break;
    case POINTER:
        EMIT(p, EQUALS(row->number, 0, (unsigned char)(image + 6)), LOAD_LOW(row->arg),
             EQUALS(0, 0, 3), LOAD_HIGH(row->arg), EQUALS(0, 0, 1), ALLOW);
        break;
    case POSITIVE:
        EMIT(p, EQUALS(row->number, 0, (unsigned char)(image + 5)), LOAD_LOW(row->arg),
             EQUALS(0, 1, 0), HAS_BIT(0x80000000u, 0, 1), ALLOW);
        break;
    case WRITING:
        EMIT(p, EQUALS(row->number, 0, 4), LOAD_LOW(row->arg),
             HAS_BIT(O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 1, 0), ALLOW);
        break;
    case EXECUTED:
        EMIT(p, EQUALS(row->number, 0, 10), LOAD_LOW(2), HAS_BIT(PROT_EXEC, 1, 0), ALLOW,
             LOAD_LOW(3), HAS_BIT(MAP_ANONYMOUS, 0, 1), ALLOW, LOAD_LOW(row->arg),
             EQUALS(NJ_LAYOUT_BASE & 0xffffffff, 0, 1), ALLOW);
        break;
    case MISSING:
        EMIT(p, EQUALS(row->number, 0, 1), RETURN(SECCOMP_RET_ERRNO | ENOSYS));
        return;
    case FUTEX: /* WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2 */
        EMIT(p, EQUALS(row->number, 0, (unsigned char)(image + 14)), LOAD_LOW(1),
             BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 127), EQUALS(0, 5, 0), EQUALS(6, 4, 0),
             EQUALS(9, 3, 0), EQUALS(11, 2, 0), EQUALS(13, 1, 0), ALLOW, LOAD_LOW(row->arg),
             EQUALS(0, 0, 3), LOAD_HIGH(row->arg), EQUALS(0, 0, 1), ALLOW);
        break;
    }
    if (image)
        EMIT(p, NOT_CALLED_FROM(called));
    EMIT(p, NOTIFY);
}

/* emit_ordered - likewise, of level 3. */
static void emit_ordered(struct program *p)
{
    for (size_t i = 0; i < COUNT(ordered); i++) {
        EMIT(p, EQUALS(ordered[i].number, 0, ordered[i].waits ? 6 : 1));
        if (ordered[i].waits)
            EMIT(p, NOT_CALLED_FROM(NJ_LAYOUT_WAIT_CALLED));
        EMIT(p, NOTIFY);
    }
    EMIT(p, EQUALS(SYS_fcntl, 0, 5), LOAD_LOW(1), EQUALS(F_SETLKW, 1, 0),
         EQUALS(F_OFD_SETLKW, 0, 1), NOTIFY, ALLOW);
}

#define SHOWS SYS_getcpu /* a call that is told, and asks nothing */

void nj_virtual_show(void)
{
    (void)syscall(SHOWS, NULL, NULL, NULL);
}

int nj_virtual_install(unsigned level)
{
    struct program p = {.n = 0};
    struct sock_fprog program;
    long fd;

    EMIT(&p, LOAD(arch), EQUALS(AUDIT_ARCH_X86_64, 1, 0), ALLOW, LOAD(nr));
    if (level == NJ_LEVEL_MAX)
        emit_ordered(&p);
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].level <= level)
            emit_row(&p, &rows[i]);
    }
    EMIT(&p, ALLOW);
    if (p.n == COUNT(p.code))
        return -E2BIG;
    program = (struct sock_fprog){.len = p.n, .filter = p.code};
    fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                 SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                 &program);
    return fd < 0 ? -errno : (int)fd;
}

/* ---- answering ---- */

bool nj_virtual_read(pid_t tid, uint64_t address, void *data, size_t len)
{
    struct iovec here = {data, len}, there = {(void *)(uintptr_t)address, len};

    return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

bool nj_virtual_write(pid_t tid, uint64_t address, const void *data, size_t len)
{
    struct iovec here = {(void *)(uintptr_t)data, len}, there = {(void *)(uintptr_t)address, len};

    return process_vm_writev(tid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

uint32_t nj_virtual_pid(struct nj_virtual *v, pid_t tid)
{
    char status[NJ_PROC_STATUS_BYTES];

    return nj_proc_read(v, tid, "status", status, sizeof(status))
               ? nj_proc_innermost(status, "\nNSpid:")
               : 0;
}

bool nj_virtual_is_alive(struct nj_virtual *v, const struct seccomp_notif *notif)
{
    return ioctl(v->listener_fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &notif->id) == 0;
}

void nj_virtual_answer(struct nj_virtual *v, const struct seccomp_notif_resp *response)
{
    if (ioctl(v->listener_fd, SECCOMP_IOCTL_NOTIF_SEND, response) < 0 && errno != ENOENT)
        nj_virtual_lower(v, 0, NJ_LOWERED_LOST); /* ENOENT: the task was killed meanwhile */
}

static nj_call_handler *handler_of(int number)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].number == number)
            return rows[i].handler;
    }
    return NULL;
}

void nj_virtual_serve_call(struct nj_virtual *v, const struct seccomp_notif *notif)
{
    struct seccomp_notif_resp response = {.id = notif->id};
    enum nj_answer answer = NJ_ANSWER_CONTINUE;
    nj_call_handler *handler = handler_of(notif->data.nr);

    if (handler && nj_virtual_is_alive(v, notif))
        answer = handler(v, notif, &response);
    if (answer == NJ_ANSWER_LATER)
        return;
    if (answer == NJ_ANSWER_CONTINUE)
        response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (response.error != 0)
        response.val = 0;
    nj_virtual_answer(v, &response);
}

static bool begins_program(const struct seccomp_notif *notif)
{
    return notif->data.nr == SYS_execve || notif->data.nr == SYS_execveat;
}

/* serve_one - returns whether there was one */
static bool serve_one(struct nj_virtual *v)
{
    struct seccomp_notif notif = {.id = 0};

    if (ioctl(v->listener_fd, SECCOMP_IOCTL_NOTIF_RECV, &notif) < 0)
        return errno == ENOENT || errno == EINTR; /* killed before we read of it */
    if (!v->launched && !begins_program(&notif)) {
        if (notif.data.nr == SHOWS)
            nj_virtual_payload(v, &notif);
        nj_virtual_answer(v, &(struct seccomp_notif_resp){
                                 .id = notif.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
        return true;
    }
    v->launched = true;
    v->notified++;
    if (!v->order || !nj_virtual_is_alive(v, &notif) || !nj_order_enter(v, &notif))
        nj_virtual_serve_call(v, &notif);
    return true;
}

/* Then the rest of the loop, which keeps the limits, has its turn: some calls take long. */
#define BATCH 64
#define BATCH_NS 2000000

void nj_virtual_serve(struct nj_virtual *v, short listener_events)
{
    int64_t until_ns = listener_events ? nj_virtual_now_ns(CLOCK_MONOTONIC) + BATCH_NS : 0;

    nj_virtual_stopped(v);
    nj_timers_fire(v);
    nj_order_serve(v);
    for (int i = 0; i < BATCH && listener_events & POLLIN; i++) {
        struct pollfd polled = {v->listener_fd, POLLIN, 0};

        if (!serve_one(v))
            break;
        nj_virtual_stopped(v);
        nj_order_serve(v);
        if (nj_virtual_now_ns(CLOCK_MONOTONIC) > until_ns)
            return;
        listener_events = poll(&polled, 1, 0) > 0 ? polled.revents : 0;
    }
    if (listener_events & (POLLHUP | POLLERR) && !(listener_events & POLLIN)) {
        (void)close(v->listener_fd); /* nobody with the filter is left */
        v->listener_fd = -1;
    }
}
