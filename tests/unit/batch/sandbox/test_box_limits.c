/*
 * test_box_limits.c - the limits of a box, met for real: each is told by name and figure, and the
 * box goes on
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#include "formats/base/banned.h"

static struct harness h;

/* is_hard - whether this host keeps the limits by cgroups */
static bool is_hard(void)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_box_plan plan;
    struct nj_error err;

    nj_buf_init(&out, 1 << 20);
    nj_box_plan_default(&plan);
    must(nj_box_plan_print(&plan, &out, &err), &err);
    return strstr((char *)out.data, "memory 2048 MiB: cgroup v") &&
           strstr((char *)out.data, "processes 256: cgroup v");
}

static struct nj_box_plan small_plan(void)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.max_size_bytes = 8 << 20;
    plan.max_memory_bytes = 128 << 20;
    plan.max_processes = 32;
    plan.max_files = 100;
    return plan;
}

static void a_timeout_ends_the_call_and_is_told_with_its_figure(void **state)
{
    static const char *const argv[] = {"bash", "-c",
                                       "echo started; trap '' TERM; while :; do :; done", NULL};
    struct nj_box_call call = shell_call(argv);

    (void)state;
    open_box(&h, NULL);
    call.timeout_ms = 300;
    call_with(&h, &call);
    assert_false(h.failed);
    assert_int_equal(h.outcome.exit, NJ_EXIT_SIGNALLED);
    assert_int_equal(h.outcome.status, SIGKILL);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_TIMEOUT);
    assert_int_equal(h.outcome.limit_value, 300);
    assert_true(h.meta.limit_used >= 300 && h.meta.limit_used < 5000);
    assert_string_equal(h.out, "started\n");
    call.timeout_ms = 60000;
    call.runtime_limit_ms = 1000;
    call.runtime_left_ms = 200;
    call_with(&h, &call);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_RUNTIME);
    assert_int_equal(h.outcome.limit_value, 1000);
    assert_true(h.meta.limit_used >= 1000);
    sh_ok(&h, "echo on");
}

static void a_memory_bomb_meets_the_limit(void **state)
{
    struct nj_box_plan plan = small_plan();

    (void)state;
    open_box(&h, &plan);
    sh(&h, "python3 -c 'b = []\nwhile True: b.append(bytearray(10 << 20))' 2>&1 | tail -1; exit "
           "${PIPESTATUS[0]}");
    assert_true(h.outcome.exit == NJ_EXIT_SIGNALLED || h.outcome.status != 0);
    if (is_hard()) {
        assert_int_equal(h.outcome.limit, NJ_LIMIT_MEMORY);
        assert_int_equal(h.outcome.limit_value, plan.max_memory_bytes);
    } else {
        /* Softly: an allocation fails, or the watchdog was first. */
        assert_true(h.outcome.limit == NJ_LIMIT_MEMORY || strstr(h.out, "MemoryError"));
    }
    sh_ok(&h, "echo on");
    assert_string_equal(h.out, "on\n");
}

/* The kernel's own limit is memory and workspace together; these stay below it. */
static void memory_is_limited_also_while_the_workspace_is_empty(void **state)
{
    static const char *const ways[] = {
        "b = bytearray(b'x') * (300 << 20)",
        "import os; f = os.memfd_create('m'); [os.write(f, b'x' * (1 << 20)) "
        "for i in range(300)]",
        "import mmap; m = mmap.mmap(-1, 300 << 20); [m.write(b'x' * (1 << 20)) for i in "
        "range(300)]",
    };
    struct nj_box_plan plan = small_plan();

    (void)state;
    if (!is_hard()) {
        print_message("skipped: no writable cgroups\n");
        return;
    }
    plan.max_size_bytes = UINT64_C(512) << 20;
    open_box(&h, &plan);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char command[512];

        snprintf(command, sizeof(command),
                 "exec python3 -c \"import time; %s; time.sleep(20); print('never')\"", ways[i]);
        sh(&h, command);
        if (h.outcome.limit != NJ_LIMIT_MEMORY)
            fail_msg("%s: limit %d, exit %d %d\n%s", ways[i], (int)h.outcome.limit,
                     (int)h.outcome.exit, h.outcome.status, h.errors);
        assert_int_equal(h.outcome.limit_value, plan.max_memory_bytes);
        /* Told with what was held, and stopped before it was much more. */
        assert_true(h.meta.limit_used > plan.max_memory_bytes);
        print_message("stopped at %llu MiB of 128\n", (unsigned long long)h.meta.limit_used >> 20);
        assert_true(h.meta.limit_used < plan.max_memory_bytes + (UINT64_C(160) << 20));
    }
}

static void a_full_workspace_takes_nothing_from_the_memory(void **state)
{
    struct nj_box_plan plan = small_plan();

    (void)state;
    plan.max_size_bytes = UINT64_C(256) << 20;
    open_box(&h, &plan);
    sh_ok(&h,
          "head -c 240M /dev/zero > a; python3 -c 'import time; b = bytearray(b\"x\") * (80 << "
          "20); time.sleep(0.5)'; mv a b; cat b b > /dev/null; rm b; head -c 200M /dev/zero > c");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_NONE);
}

static void many_processes_together_meet_the_memory_limit(void **state)
{
    struct nj_box_plan plan = small_plan();

    (void)state;
    open_box(&h, &plan);
    sh(&h, "for i in 1 2 3 4 5 6; do python3 -c 'import time; b = bytearray(60 << 20); "
           "time.sleep(20)' & done; wait");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_MEMORY);
    sh_ok(&h, "true");
}

static void a_fork_bomb_meets_the_limit(void **state)
{
    static const char *const argv[] = {"bash", "-c", "f() { f | f & }; f; sleep 2", NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_box_plan plan = small_plan();

    (void)state;
    open_box(&h, &plan);
    call.timeout_ms = 20000;
    call_with(&h, &call);
    assert_false(h.failed);
    if (is_hard())
        assert_int_equal(h.outcome.limit, NJ_LIMIT_PROCESSES);
    assert_true(h.meta.duration_ms < 20000);
    sh_ok(&h, "echo on");
    assert_string_equal(h.out, "on\n");
}

static void a_full_workspace_is_enospc_at_its_size(void **state)
{
    struct nj_box_plan plan = small_plan();

    (void)state;
    open_box(&h, &plan);
    sh(&h, "head -c 20000000 /dev/zero > /workspace/a; stat -c %s /workspace/a; echo x > /tmp/b || "
           "echo full");
    assert_non_null(strstr(h.errors, "No space left on device"));
    assert_non_null(strstr(h.out, "full\n"));
    assert_true(strtoull(h.out, NULL, 10) > (8 << 20) - 65536 &&
                strtoull(h.out, NULL, 10) <= 8 << 20);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    assert_int_equal(h.outcome.limit_value, 8 << 20);
    sh_ok(&h, "rm /workspace/a; echo x > /tmp/b");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_NONE);
    sh(&h, "for i in $(seq 200); do : > /tmp/f$i || exit 3; done");
    assert_int_equal(h.outcome.status, 3);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
}

static void a_file_cannot_claim_more_than_the_workspace(void **state)
{
    struct nj_box_plan plan = small_plan();

    (void)state;
    open_box(&h, &plan);
    sh(&h, "python3 -c \"open('/workspace/s', 'w').truncate(1 << 40)\"");
    assert_non_null(strstr(h.errors, "File too large"));
    sh_ok(&h, "truncate -s 8M /workspace/s; du -k /workspace/s");
    assert_memory_equal(h.out, "0\t", 2);
    sh(&h, "for i in 1 2 3 4 5 6; do truncate -s 8M /workspace/t$i; done"); /* 56 MiB of claims */
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    sh_ok(&h, "ls /workspace");
    assert_string_equal(h.out, "s\nt1\nt2\nt3\n"); /* the live state is the captured one */
}

static void a_cancelled_call_ends_at_once(void **state)
{
    static const char *const argv[] = {"sleep", "100", NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_error err;

    (void)state;
    open_box(&h, NULL);
    h.done = false;
    must(nj_box_call(h.box, &call, NULL, on_called, &h, &err), &err);
    nj_box_cancel(h.box);
    run_until_done(&h);
    assert_false(h.failed);
    assert_int_equal(h.outcome.exit, NJ_EXIT_SIGNALLED);
    assert_int_equal(h.outcome.status, SIGKILL);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_NONE);
    assert_true(h.meta.duration_ms < 5000);
    sh_ok(&h, "true");
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(a_timeout_ends_the_call_and_is_told_with_its_figure),
        BOX_TEST(a_memory_bomb_meets_the_limit),
        BOX_TEST(memory_is_limited_also_while_the_workspace_is_empty),
        BOX_TEST(a_full_workspace_takes_nothing_from_the_memory),
        BOX_TEST(many_processes_together_meet_the_memory_limit),
        BOX_TEST(a_fork_bomb_meets_the_limit),
        BOX_TEST(a_full_workspace_is_enospc_at_its_size),
        BOX_TEST(a_file_cannot_claim_more_than_the_workspace),
        BOX_TEST(a_cancelled_call_ends_at_once),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "limits of boxes");
}
