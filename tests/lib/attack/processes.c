/*
 * processes.c - births, deaths and ways to exec that trip those who watch processes
 *
 * usage: processes          items 20 to 23, 27, 29 and 30 of the list of attacks
 *        processes births   as many threads and processes as there can be (24, 29)
 *        processes daemon NAME   leave one behind that nothing but the end of the call ends (20)
 *
 * It is the payload itself, not a shell's child: a signal to everybody ends the shell.
 */
#include "attack.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

static char *program;

/* ---- 20: signals, and children that stay ---- */

static void wait_for_nothing(void)
{
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_IGN);
    for (;;)
        pause();
}

static void leave_a_daemon(void)
{
    pid_t pid = fork();

    if (pid != 0) {
        (void)waitpid(pid, NULL, 0);
        return;
    }
    (void)setsid();
    if (fork() != 0)
        _exit(0);
    (void)prctl(PR_SET_NAME, "nj-left-behind");
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_IGN);
    for (uint64_t beat = 0;; beat++) { /* it holds the pipes, too */
        const struct timespec pause = {0, 1000000};
        int fd = open("/workspace/beat", O_CREAT | O_WRONLY | O_TRUNC, 0600);

        if (fd >= 0) {
            (void)!write(fd, &beat, sizeof(beat));
            close(fd);
        }
        (void)nanosleep(&pause, NULL);
    }
}

static void signal_everybody(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        wait_for_nothing();
    tried(20, "kill everybody", kill(-1, SIGKILL));
    say(20, "a child that ignores signals",
        waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? "gone" : "there");
    for (int i = 0; i < 10000; i++) {
        (void)kill(1, SIGSTOP);
        (void)kill(1, SIGCONT);
    }
    say(20, "a storm of SIGSTOP to pid 1", "over");
}

/* ---- 21: filters of one's own ---- */

static int install(unsigned flags, unsigned action)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
}

static int allow_what_is_refused(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {1, code};

    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
        return errno;
    return syscall(SYS_unshare, CLONE_NEWUSER) < 0 ? errno : 0;
}

static int refuse_itself(void)
{
    char byte;

    if (install(0, SECCOMP_RET_ERRNO | ENOTUNIQ) < 0)
        return errno;
    return getrandom(&byte, 1, 0) < 0 ? errno : 0;
}

static void filter_oneself(void)
{
    in_child(21, "a filter that allows all, then unshare", allow_what_is_refused);
    in_child(21, "a filter that refuses one's own call", refuse_itself);
}

/* ---- 22: what confuses a watcher of calls ---- */

static void *draw(void *unused)
{
    char bytes[64];

    for (;;)
        (void)!getrandom(bytes, sizeof(bytes), 0);
    return unused;
}

static int draw_in_threads(void)
{
    pthread_t thread;

    for (int i = 0; i < 32; i++) {
        int r = pthread_create(&thread, NULL, draw, NULL);

        if (r != 0)
            return r;
    }
    usleep(50000);
    _exit(0); /* with all of them inside a call */
}

static int killed_inside_a_call(void)
{
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();

        if (pid == 0)
            draw(NULL);
        usleep(500);
        (void)kill(pid, SIGKILL);
        if (waitpid(pid, NULL, 0) != pid)
            return errno;
    }
    return 0;
}

static int exec_storm(void)
{
    char *const argv[] = {program, "nothing", NULL};

    for (int i = 0; i < 100; i++) {
        int status;
        pid_t pid = vfork();

        if (pid == 0) {
            execv(program, argv);
            _exit(1);
        }
        if (waitpid(pid, &status, 0) != pid || status != 0)
            return ECHILD;
    }
    return 0;
}

static int vfork_and_no_exec(void)
{
    char *const argv[] = {"/nowhere", NULL};
    int status;
    pid_t pid = vfork();

    if (pid == 0) {
        execv("/nowhere", argv);
        _exit(errno);
    }
    return waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : ECHILD;
}

static void *exec_here(void *unused)
{
    char *const argv[] = {program, "nothing", NULL};

    (void)unused;
    execv(program, argv);
    _exit(errno);
}

static int exec_from_a_thread(void)
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, exec_here, NULL);

    if (r != 0)
        return r;
    for (;;)
        pause(); /* the leader; the exec ends it and takes its pid */
}

static int exec_a_memfd(void)
{
    char *const argv[] = {program, "status", NULL};
    char *const env[] = {NULL};
    char buffer[65536];
    int from = open(program, O_RDONLY | O_CLOEXEC), to = memfd_create("evil", MFD_CLOEXEC);
    ssize_t n;

    if (to < 0 && errno == ENOSYS)
        return 0; /* as where no cgroup bounds memory: there are none to execute */
    if (to < 0 || from < 0)
        return errno;
    while ((n = read(from, buffer, sizeof(buffer))) > 0)
        (void)!write(to, buffer, (size_t)n);
    syscall(SYS_execveat, to, "", argv, env, AT_EMPTY_PATH);
    return errno;
}

static int write_and_execute(void)
{
    /* Compilers at run time need such pages; what matters is that they gain nothing by them. */
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? errno : 0;
}

static void confuse(void)
{
    char byte;

    tried(22, "open at a bad address", syscall(SYS_openat, AT_FDCWD, (char *)1, O_RDONLY));
    tried(22, "random bytes to a bad address", syscall(SYS_getrandom, (char *)1, 8, 0));
    tried(22, "a read of 2^63 bytes", syscall(SYS_read, 0, &byte, 1ul << 63));
    tried(22, "exec with arguments at a bad address",
          syscall(SYS_execve, program, (char *)1, NULL));
    for (int i = 0; i < 300000; i++)
        (void)syscall(SYS_getppid);
    say(22, "300,000 calls", "answered");
    in_child(22, "32 threads in calls at the end", draw_in_threads);
    in_child(22, "50 killed inside a call", killed_inside_a_call);
    in_child(22, "100 execs in a row", exec_storm);
    in_child(22, "vfork and an exec that fails", vfork_and_no_exec);
    in_child(22, "exec from a thread that does not lead", exec_from_a_thread);
    in_child(15, "exec of a memfd that finds itself confined", exec_a_memfd);
    in_child(15, "a page to write and execute", write_and_execute);
}

/* ---- 23: descriptors before an exec ---- */

static int exec_with_all_descriptors(void)
{
    char *const argv[] = {program, "nothing", NULL};

    for (int fd = 0; fd < 4000; fd++) { /* the loader needs some, too */
        if (fd != 1)
            (void)dup2(1, fd);
    }
    execv(program, argv);
    return errno;
}

static int exec_with_no_descriptors(void)
{
    char *const argv[] = {program, "nothing", NULL};

    (void)syscall(SYS_close_range, 0, ~0u, 0);
    execv(program, argv);
    return errno;
}

/* ---- 29, 30: many of everything ---- */

static int all_descriptors(void)
{
    while (dup(1) >= 0)
        ;
    return errno;
}

static int all_timers(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    timer_t timer;

    for (int i = 0; i < 1000000; i++) {
        if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
            return errno;
    }
    return 0;
}

static int all_queued_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 1000000; i++) {
        if (sigqueue(getpid(), SIGRTMIN, (union sigval){i}) < 0)
            return errno;
    }
    return 0;
}

static int all_watches(void)
{
    while (inotify_init1(IN_CLOEXEC) >= 0)
        ;
    return errno;
}

static void *sleep_on(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static int all_threads(void)
{
    pthread_attr_t small;
    pthread_t thread;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 0; i < 100000; i++) {
        int r = pthread_create(&thread, &small, sleep_on, NULL);

        if (r != 0)
            return r;
    }
    return 0;
}

static int all_processes(void)
{
    int errnum = 0;

    (void)setpgid(0, 0);
    while (errnum == 0) {
        pid_t pid = fork();

        if (pid == 0)
            wait_for_nothing();
        if (pid < 0)
            errnum = errno;
    }
    (void)signal(SIGHUP, SIG_IGN);
    (void)kill(0, SIGHUP); /* which they ignore: only the end of the call ends them */
    return errnum;
}

static int zombies(void)
{
    for (int i = 0; i < 40; i++) {
        if (fork() == 0)
            _exit(0);
    }
    return 0; /* nobody waits for them */
}

static void take_many(void)
{
    in_child(23, "exec with 4000 descriptors", exec_with_all_descriptors);
    in_child(23, "exec with none", exec_with_no_descriptors);
    in_child(29, "all descriptors", all_descriptors);
    in_child(29, "all timers", all_timers);
    in_child(29, "all queued signals", all_queued_signals);
    in_child(29, "all inotify instances", all_watches);
    in_child(30, "a herd of zombies", zombies);
}

/* ---- 27: priorities ---- */

static void rise(void)
{
    struct sched_param first = {1};

    tried(27, "SCHED_FIFO", sched_setscheduler(0, SCHED_FIFO, &first));
    tried(27, "SCHED_RR", sched_setscheduler(0, SCHED_RR, &first));
    tried(27, "nice -20", setpriority(PRIO_PROCESS, 0, -20));
    tried(27, "raise RLIMIT_RTPRIO", setrlimit(RLIMIT_RTPRIO, &(struct rlimit){99, 99}));
    tried(27, "real-time input and output", syscall(SYS_ioprio_set, 1, 0, 1 << 13));
    tried(27, "out of the OOM killer's sight",
          openat(AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
}

int main(int argc, char **argv)
{
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2) {
        fprintf(stderr, "processes: only inside a box, whose limits end what it begins\n");
        return 2;
    }
    program = "/proc/self/exe";
    if (argc > 1 && strcmp(argv[1], "daemon") == 0) {
        leave_a_daemon();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "status") == 0)
        return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2
                   ? 0
                   : EPERM;
    if (argc > 1 && strcmp(argv[1], "births") == 0) {
        in_child(29, "all threads", all_threads);
        in_child(24, "all processes", all_processes); /* last: nothing more can be born after it */
        return 0;
    }
    if (argc > 1)
        return 0;
    signal_everybody();
    filter_oneself();
    confuse();
    take_many();
    rise();
    return 0;
}
