/*
 * test_fixed.c - the small machine that boxes of D1 and up show: the same whatever the host does,
 * and nothing an agent can change
 */
#include "harness.h"

#include "formats/base/banned.h"

static struct harness h;

static void open_level(unsigned level)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.max_memory_bytes = 300 << 20;
    plan.level = level;
    open_box(&h, &plan);
}

static void a_box_has_one_processor_and_the_memory_of_its_plan(void **state)
{
    (void)state;
    open_level(1);
    sh_ok(&h, "nproc; getconf _NPROCESSORS_ONLN; grep -c ^processor /proc/cpuinfo;"
              "grep -c ^cpu[0-9] /proc/stat; sed -n 's/ *kB$//;s/^MemTotal: *//p' /proc/meminfo;"
              "grep btime /proc/stat; cut -d' ' -f1-3 /proc/loadavg; wc -c < /proc/interrupts");
    assert_string_equal(h.out, "1\n1\n1\n1\n307200\nbtime 1700000000\n0.00 0.00 0.00\n0\n");
}

static void the_fixed_values_cannot_be_changed_and_last_over_calls(void **state)
{
    (void)state;
    open_level(1);
    sh_ok(&h,
          "for f in stat cpuinfo meminfo loadavg vmstat sys/kernel/random/boot_id; do"
          "  chmod u+w /proc/$f; (echo x > /proc/$f); : > /proc/$f; umount /proc/$f; rm /proc/$f;"
          "done 2>/dev/null; ls -A /run | grep -v '^call'; cat /proc/loadavg");
    assert_string_equal(h.out, "0.00 0.00 0.00 1/2 3\n");
    sh_ok(&h, "cat /proc/loadavg");
    assert_string_equal(h.out, "0.00 0.00 0.00 1/2 3\n");
}

static void call_seeded(uint64_t step, const char *command)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    struct nj_box_call call = shell_call(argv);

    memset(call.seed, 7, sizeof(call.seed));
    call.step = step;
    call.clock_ns = 1790000000250000000;
    call_with(&h, &call);
    assert_false(h.failed);
}

/* The whole of what a program can see of them: whole reads of any length, streams of their own for
 * each opening, and the same again in the same call of another box. */
static void random_devices_follow_the_seed_and_read_like_devices(void **state)
{
    static const char command[] =
        "head -c 16 /dev/urandom | od -An -tx1; head -c 16 /dev/urandom | od -An -tx1;"
        "dd if=/dev/urandom of=/workspace/x bs=1M count=3 2>/dev/null; wc -c < /workspace/x;"
        "sha256sum /workspace/x; tr -dc a-z < /dev/random | head -c 20; echo;"
        "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/uuid; cut -d' ' -f1 /proc/uptime;"
        "df >/workspace/df && echo df; echo more > /dev/urandom && echo written; echo more > "
        "/proc/sys/kernel/random/uuid";
    static char first[sizeof(h.out)];

    (void)state;
    open_level(1);
    call_seeded(3, command);
    if (!strstr(h.out, "90000000.25\n"))
        skip(); /* no FUSE for us on this host */
    memcpy(first, h.out, sizeof(first));
    assert_non_null(strstr(h.out, "\n3145728\n"));
    assert_non_null(strstr(h.out, "df\nwritten\n"));
    assert_non_null(strstr(h.errors, "ermission denied"));
    assert_memory_not_equal(h.out, h.out + 49, 48); /* the second opening is another stream */
    call_seeded(4, command);
    assert_string_not_equal(h.out, first);
    nj_box_close(h.box);
    open_level(1);
    call_seeded(3, command);
    assert_string_equal(h.out, first);
}

static void a_reader_in_the_middle_can_be_killed(void **state)
{
    (void)state;
    open_level(1);
    for (uint64_t step = 1; step < 4; step++) {
        call_seeded(step, "for i in 1 2 3 4 5 6 7 8; do cat /dev/urandom > /dev/null & done;"
                          "sleep 0.2; exit 5");
        assert_int_equal(h.outcome.status, 5);
    }
    call_seeded(9, "head -c 100000 /dev/urandom | wc -c");
    assert_string_equal(h.out, "100000\n");
}

/* Not from procfs as it was mounted, where they would differ each time. */
static void counters_of_the_host_are_not_shown(void **state)
{
    (void)state;
    open_level(1);
    sh_ok(&h, "cd /proc; cat buddyinfo zoneinfo cgroups sys/fs/file-nr sys/fs/inode-state | wc -c;"
              "for d in pressure irq fs; do ls -A $d 2>/dev/null; done | wc -l;"
              "(: >pressure/x) 2>/dev/null || echo shut");
    assert_string_equal(h.out, "0\n0\nshut\n");
}

static void figures_of_the_kernel_that_a_program_looks_at_are_named(void **state)
{
    (void)state;
    open_level(1);
    sh_ok(&h, "true; cat /proc/self/auxv /proc/uptime >/dev/null");
    if (h.meta.level == 0)
        skip(); /* no program can be followed here */
    if (h.meta.figures & NJ_FIGURE_UNHEARD) {
        print_message("skipped: this user has no inotify left\n");
        skip();
    }
    assert_int_equal(h.meta.figures, 0);
    /* No program that looks for SELinux when it starts: on such a host it reads mounts. */
    sh_ok(
        &h,
        "cat /proc/self/stat /proc/self/maps >/dev/null; cd /proc/self; echo fdinfo/* >/dev/null");
    assert_int_equal(h.meta.figures, NJ_FIGURE_STAT | NJ_FIGURE_FDINFO | NJ_FIGURE_MAPS);
    /* Of many programs the newest are watched, and what was heard before is kept. */
    sh_ok(&h, "read -r line </proc/mounts; for i in $(seq 100); do /bin/true; done;"
              "cat /proc/self/schedstat >/dev/null");
    assert_int_equal(h.meta.figures, NJ_FIGURE_MOUNTS | NJ_FIGURE_SCHEDSTAT);
    sh_ok(&h, "true");
    assert_int_equal(h.meta.figures, 0);
}

static void below_d1_the_host_s_own_values_are_seen(void **state)
{
    (void)state;
    open_level(0);
    sh_ok(&h, "grep btime /proc/stat; grep -c . /proc/interrupts");
    assert_null(strstr(h.out, "btime 1700000000"));
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(a_box_has_one_processor_and_the_memory_of_its_plan),
        BOX_TEST(the_fixed_values_cannot_be_changed_and_last_over_calls),
        BOX_TEST(random_devices_follow_the_seed_and_read_like_devices),
        BOX_TEST(a_reader_in_the_middle_can_be_killed),
        BOX_TEST(counters_of_the_host_are_not_shown),
        BOX_TEST(figures_of_the_kernel_that_a_program_looks_at_are_named),
        BOX_TEST(below_d1_the_host_s_own_values_are_seen),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "fixed values of boxes");
}
