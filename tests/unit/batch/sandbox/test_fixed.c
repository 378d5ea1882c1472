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

static void below_d1_the_host_s_own_values_are_seen(void **state)
{
    (void)state;
    open_level(0);
    sh_ok(&h, "grep btime /proc/stat; grep -c . /proc/interrupts");
    assert_null(strstr(h.out, "btime 1700000000"));
}

static int setup(void **state)
{
    (void)state;
    start(&h, "fixed");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop(&h);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(a_box_has_one_processor_and_the_memory_of_its_plan),
        TEST(the_fixed_values_cannot_be_changed_and_last_over_calls),
        TEST(below_d1_the_host_s_own_values_are_seen),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "fixed values of boxes");
}
