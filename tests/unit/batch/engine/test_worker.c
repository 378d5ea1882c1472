/*
 * test_worker.c - work in a process of its own: what comes back, what dies, what is left
 */
#include "tests/lib/scratch.h"

#include <dirent.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch/engine/worker.h"
#include "formats/base/fault.h"

#include "formats/base/banned.h"

#define MANY 20
#define KEPT 2

struct stage {
    struct event_base *base;
    struct nj_workers *workers;
    int done;
    bool failed;
    struct nj_error err;
    struct nj_worker *worker;
};

static struct stage stage;

static int lent = -1; /* what a worker holds while it works */

static struct nj_workers *pool(struct event_base *base)
{
    struct nj_workers_setup setup = {.ctx = &stage, .ahead = 1, .kept = KEPT, .lent = lent};
    struct nj_workers *workers = NULL;
    struct nj_error err = {0};

    if (nj_workers_new(base, &setup, &workers, &err) < 0)
        fail_msg("%s", err.text);
    return workers;
}

static int setup(void **state)
{
    (void)state;
    stage = (struct stage){.base = event_base_new()};
    assert_non_null(stage.base);
    stage.workers = pool(stage.base);
    return 0;
}

static int teardown(void **state)
{
    int status;

    (void)state;
    nj_workers_free(stage.workers);
    event_base_free(stage.base);
    assert_int_equal(waitpid(-1, &status, WNOHANG), -1); /* no child is left, not even a dead one */
    return 0;
}

static void on_done(void *ctx, const struct nj_error *err)
{
    assert_ptr_equal(ctx, &stage);
    stage.done++;
    stage.failed = err != NULL;
    if (err)
        stage.err = *err;
}

static void start_with(nj_worker_main work, struct nj_span order, int fd, int pages)
{
    struct nj_error err = {0};
    const struct nj_worker_order sent = {.bytes = order, .fd = fd, .pages = pages};

    if (nj_worker_start(stage.workers, work, &sent, on_done, &stage, &stage.worker, &err) < 0)
        fail_msg("%s", err.text);
}

static void start(nj_worker_main work)
{
    start_with(work, (struct nj_span){0}, -1, -1);
}

static void turn(int done)
{
    struct timeval limit = {.tv_sec = 20};

    assert_int_equal(event_base_loopexit(stage.base, &limit), 0);
    for (int rounds = 0; stage.done < done && rounds < 1000; rounds++)
        assert_true(event_base_loop(stage.base, EVLOOP_ONCE) >= 0);
    assert_int_equal(stage.done, done);
}

static int works(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    struct stage *seen = ctx;

    (void)order;
    (void)err;
    seen->done = 1000; /* ours alone: the engine's memory does not change */
    return 0;
}

static int fails(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    (void)ctx;
    (void)order;
    return nj_fail_errno(err, ENOSPC, "write the bundle");
}

static int dies(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    (void)ctx;
    (void)order;
    (void)err;
    (void)raise(SIGKILL);
    return 0;
}

static int waits_for_ever(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    (void)ctx;
    (void)order;
    (void)err;
    while (pause() < 0) /* as it always is, after a signal that does not kill */
        continue;
    return 0;
}

static void success_is_told_once_and_changes_nothing_here(void **state)
{
    (void)state;
    start(works);
    assert_int_equal(stage.done, 0);
    turn(1);
    assert_false(stage.failed);
}

static void a_failure_comes_back_whole(void **state)
{
    (void)state;
    start(fails);
    turn(1);
    assert_true(stage.failed);
    assert_int_equal(stage.err.code, NJ_E_SYSTEM);
    assert_int_equal(stage.err.sys_errno, ENOSPC);
    assert_string_equal(stage.err.text, "write the bundle: No space left on device");
}

static void a_death_is_a_failure_that_says_so(void **state)
{
    (void)state;
    start(dies);
    turn(1);
    assert_true(stage.failed);
    assert_int_equal(stage.err.code, NJ_E_SYSTEM);
    assert_non_null(strstr(stage.err.text, "died"));
}

static void who_is_cancelled_is_never_told_of(void **state)
{
    (void)state;
    start(waits_for_ever);
    nj_worker_cancel(stage.worker);
    start(works); /* one that has an answer ready when it is cancelled */
    (void)usleep(50000);
    nj_worker_cancel(stage.worker);
    nj_worker_cancel(NULL);
    assert_int_equal(event_base_loop(stage.base, EVLOOP_NONBLOCK),
                     1); /* no event is left to wait for */
    assert_int_equal(stage.done, 0);
}

static int descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

static void many_at_once_leave_no_descriptor_behind(void **state)
{
    int before;

    (void)state;
    for (int i = 0; i < KEPT; i++) /* so many wait afterwards */
        start(works);
    turn(KEPT);
    before = descriptors();
    for (int i = 0; i < MANY; i++)
        start(i % 3 == 0 ? works : i % 3 == 1 ? fails : dies);
    turn(KEPT + MANY);
    assert_int_equal(descriptors(), before);
}

/* ---- orders ---- */

static int copies(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    (void)ctx;
    return nj_fsio_pwrite(order->fd, order->bytes.data, order->bytes.len, 0, err);
}

static void an_order_and_a_descriptor_come_whole(void **state)
{
    static uint8_t bytes[300000], back[sizeof(bytes)];
    struct nj_error err = {0};
    nj_auto_close int fd = -1;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(nj_fsio_memfd("copy", &fd, &err), 0);
    start_with(copies, (struct nj_span){bytes, sizeof(bytes)}, fd, -1);
    turn(1);
    assert_false(stage.failed);
    assert_int_equal(nj_fsio_pread(fd, back, sizeof(back), 0, &err), 0);
    assert_memory_equal(back, bytes, sizeof(bytes));
}

static int copies_pages(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    char text[6];

    (void)ctx;
    if (nj_fsio_pread(order->pages, text, sizeof(text), 0, err) < 0)
        return -(int)err->code;
    return nj_fsio_pwrite(order->fd, text, sizeof(text), 0, err);
}

static void what_is_to_be_looked_at_and_what_is_to_be_written_are_told_apart(void **state)
{
    nj_auto_close int fd = -1, pages = -1;
    struct nj_error err = {0};
    char back[6];

    (void)state;
    assert_int_equal(nj_fsio_memfd("copy", &fd, &err), 0);
    assert_int_equal(nj_fsio_memfd("pages", &pages, &err), 0);
    assert_int_equal(nj_fsio_pwrite(pages, "shared", 6, 0, &err), 0);
    start_with(copies_pages, (struct nj_span){(const uint8_t *)"x", 1}, fd, pages);
    turn(1);
    assert_false(stage.failed);
    assert_int_equal(nj_fsio_pread(fd, back, sizeof(back), 0, &err), 0);
    assert_memory_equal(back, "shared", 6);
}

static int tells_pid_and_descriptors(void *ctx, const struct nj_worker_order *order,
                                     struct nj_error *err)
{
    char text[64];
    int n = descriptors();

    (void)ctx;
    (void)order;
    (void)snprintf(text, sizeof(text), "%d %d\n", (int)getpid(), n);
    return nj_fsio_write(order->fd, text, strlen(text), err);
}

static void told(int fd, int *ret_pid, int *ret_descriptors)
{
    char text[64] = "";

    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    start_with(tells_pid_and_descriptors, (struct nj_span){0}, fd, -1);
    turn(stage.done + 1);
    assert_false(stage.failed);
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_int_equal(sscanf(text, "%d %d", ret_pid, ret_descriptors), 2);
}

static void one_process_does_one_work_after_the_other(void **state)
{
    struct nj_error err = {0};
    nj_auto_close int fd = -1;
    int first, second, n;

    (void)state;
    assert_int_equal(nj_fsio_memfd("told", &fd, &err), 0);
    told(fd, &first, &n);
    start(fails);
    turn(2);
    told(fd, &second, &n);
    assert_int_equal(first, second);
}

static void one_that_dies_while_it_waits_is_replaced(void **state)
{
    struct nj_error err = {0};
    nj_auto_close int fd = -1;
    siginfo_t info;
    int first, second, n;

    (void)state;
    assert_int_equal(nj_fsio_memfd("told", &fd, &err), 0);
    told(fd, &first, &n);
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)first, &info, WEXITED | WNOWAIT), 0);
    told(fd, &second, &n);
    assert_int_not_equal(first, second);
}

static void it_holds_no_descriptor_of_the_engine(void **state)
{
    struct nj_error err = {0};
    nj_auto_close int fd = -1;
    nj_auto_close int lock_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int pid, n;

    (void)state;
    assert_true(lock_fd > STDERR_FILENO);
    for (int i = 0; i < KEPT + 1; i++) /* the ones that exist, and one that is forked now */
        start(works);
    turn(KEPT + 1);
    assert_int_equal(nj_fsio_memfd("told", &fd, &err), 0);
    told(fd, &pid, &n);
    /* the standard ones, its socket, order and copy of @fd, and what reads the folder: . and .. too
     */
    assert_int_equal(n, 3 + 3 + 1 + 2);
}

static bool is_locked(const char *path)
{
    nj_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static void a_lock_lasts_while_somebody_works(void **state)
{
    char path[] = "/tmp/nj-test-worker-XXXXXX";
    struct nj_worker *first;

    (void)state;
    nj_workers_free(stage.workers);
    lent = mkostemp(path, O_CLOEXEC);
    assert_true(lent >= 0);
    assert_int_equal(flock(lent, LOCK_EX), 0);
    stage.workers = pool(stage.base);
    start(waits_for_ever);
    first = stage.worker;
    start(works); /* it waits again when it is done */
    turn(1);
    (void)close(lent);
    lent = -1;
    assert_true(is_locked(path));
    nj_worker_cancel(first);
    assert_false(is_locked(path));
    assert_int_equal(unlink(path), 0);
}

/* ---- signals ---- */

static int ignores_an_interrupt(void *ctx, const struct nj_worker_order *order,
                                struct nj_error *err)
{
    (void)ctx;
    (void)order;
    if (raise(SIGINT) != 0)
        return nj_fail(err, NJ_E_SYSTEM, "raise");
    return 0;
}

static int ends_by_a_term(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    (void)ctx;
    (void)order;
    (void)raise(SIGTERM);
    return nj_fail(err, NJ_E_SYSTEM, "still alive");
}

static int signals_told;

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    (void)arg;
    signals_told++;
}

static void a_signal_of_the_terminal_is_the_engines_alone(void **state)
{
    struct event *sigint = evsignal_new(stage.base, SIGINT, on_signal, NULL);
    struct event *sigterm = evsignal_new(stage.base, SIGTERM, on_signal, NULL);

    (void)state;
    signals_told = 0;
    assert_int_equal(event_add(sigint, NULL), 0);
    assert_int_equal(event_add(sigterm, NULL), 0);
    start(ignores_an_interrupt);
    turn(1);
    assert_false(stage.failed);
    start(ends_by_a_term);
    turn(2);
    assert_true(stage.failed);
    assert_non_null(strstr(stage.err.text, "died"));
    assert_int_equal(signals_told, 0);
    event_free(sigint);
    event_free(sigterm);
}

/* ---- the engine's death ---- */

static pid_t *shared_pid; /* of the worker of an engine that will be killed */

static int tells_its_pid(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    *shared_pid = getpid();
    return waits_for_ever(ctx, order, err);
}

static void it_does_not_outlive_the_engine(void **state)
{
    int status;
    pid_t engine;

    (void)state;
    shared_pid =
        mmap(NULL, sizeof(*shared_pid), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared_pid != MAP_FAILED);
    engine = fork();
    assert_true(engine >= 0);
    if (engine == 0) {
        struct event_base *base = event_base_new();

        if (!base)
            _exit(1);
        stage.workers = pool(base); /* the other ones are our parent's */
        start(tells_its_pid);
        for (;;)
            (void)pause();
    }
    for (int i = 0; i < 1000 && *(volatile pid_t *)shared_pid == 0; i++)
        (void)usleep(10000);
    assert_true(*shared_pid > 0);
    assert_int_equal(kill(engine, SIGKILL), 0);
    assert_int_equal(waitpid(engine, &status, 0), engine);
    for (int i = 0; i < 1000 && kill(*shared_pid, 0) == 0; i++) {
        char path[64], text[256] = "";
        FILE *stat_file;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", *shared_pid);
        stat_file = fopen(path, "re"); /* who took it over may not have waited for it yet */
        if (stat_file && fgets(text, sizeof(text), stat_file) && strstr(text, ") Z"))
            i = 1000;
        if (stat_file)
            (void)fclose(stat_file);
        (void)usleep(10000);
        if (i == 999)
            fail_msg("worker %d lives on", *shared_pid);
    }
    (void)munmap(shared_pid, sizeof(*shared_pid));
}

/* ---- faults ---- */

static int writes_once(void *ctx, const struct nj_worker_order *order, struct nj_error *err)
{
    nj_auto_close int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)ctx;
    (void)order;
    return nj_fsio_write(null_fd, "x", 1, err);
}

static void its_faults_are_those_of_the_role_worker(void **state)
{
    (void)state;
    assert_int_equal(setenv("NJ_FAULT", "worker/write#2:enospc,write:eio", 1), 0);
    nj_fault_init("engine");
    nj_workers_free(stage.workers);
    stage.workers = pool(stage.base);
    start(writes_once);
    turn(1);
    assert_false(stage.failed);
    start(writes_once);
    turn(2);
    assert_true(stage.failed);
    assert_int_equal(stage.err.sys_errno, ENOSPC);
    start(writes_once);
    turn(3);
    assert_false(stage.failed);
    assert_int_equal(unsetenv("NJ_FAULT"), 0);
    nj_fault_init("engine");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(success_is_told_once_and_changes_nothing_here),
        CASE(a_failure_comes_back_whole),
        CASE(a_death_is_a_failure_that_says_so),
        CASE(who_is_cancelled_is_never_told_of),
        CASE(many_at_once_leave_no_descriptor_behind),
        CASE(an_order_and_a_descriptor_come_whole),
        CASE(what_is_to_be_looked_at_and_what_is_to_be_written_are_told_apart),
        CASE(one_process_does_one_work_after_the_other),
        CASE(one_that_dies_while_it_waits_is_replaced),
        CASE(it_holds_no_descriptor_of_the_engine),
        CASE(a_lock_lasts_while_somebody_works),
        CASE(a_signal_of_the_terminal_is_the_engines_alone),
        CASE(it_does_not_outlive_the_engine),
        CASE(its_faults_are_those_of_the_role_worker),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
