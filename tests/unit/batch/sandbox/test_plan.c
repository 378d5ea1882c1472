/*
 * test_plan.c - plans as data: checked, spelled out, printed
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/sandbox/plan.h"

#include "formats/base/banned.h"

static struct nj_box_plan standard(void)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    return plan;
}

static void refuse(const struct nj_box_plan *plan, const char *part)
{
    struct nj_error err = {0};

    assert_int_equal(nj_box_plan_check(plan, &err), -NJ_E_INPUT);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void the_default_plan_is_what_the_manual_says(void **state)
{
    struct nj_box_plan plan = standard();
    struct nj_error err;

    (void)state;
    assert_int_equal(nj_box_plan_check(&plan, &err), 0);
    assert_int_equal(plan.max_size_bytes, 512 << 20);
    assert_true(plan.max_memory_bytes == UINT64_C(2048) << 20);
    assert_int_equal(plan.max_processes, 256);
    assert_int_equal(plan.n_writable_paths, 2);
    assert_string_equal(plan.writable_paths[0], "/workspace");
    assert_string_equal(plan.writable_paths[1], "/tmp");
}

static void paths_of_the_system_are_not_for_agents(void **state)
{
    static const char *const bad[] = {"/usr", "/usr/local", "/etc",    "/proc/self", "/dev/shm",
                                      "/run", "/lib64",     "/sys/fs", "/bin"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct nj_box_plan plan = standard();
        struct nj_box_mount mount = {.target = bad[i]};

        plan.writable_paths = &bad[i];
        plan.n_writable_paths = 1;
        refuse(&plan, "belongs to the system");
        plan = standard();
        plan.mounts = &mount;
        plan.n_mounts = 1;
        refuse(&plan, "belongs to the system");
    }
}

static void paths_are_absolute_and_plain(void **state)
{
    static const char *const bad[] = {"",       "workspace", "/",   "/a/", "/a//b",
                                      "/a/./b", "/a/../b",   "/..", "//a"};
    static const char *const fine[] = {"/usr2", "/etcetera", "/a/..b/c", "/data/x y"};
    struct nj_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct nj_box_plan plan = standard();

        plan.writable_paths = &bad[i];
        plan.n_writable_paths = 1;
        refuse(&plan, bad[i][0] == '/' ? "write it without" : "not absolute");
    }
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        struct nj_box_plan plan = standard();

        plan.writable_paths = &fine[i];
        plan.n_writable_paths = 1;
        assert_int_equal(nj_box_plan_check(&plan, &err), 0);
    }
}

static void paths_do_not_overlap(void **state)
{
    static const char *const nested[] = {"/a", "/a/b"};
    struct nj_box_mount mounts[2] = {{.target = "/m"}, {.target = "/m/n"}};
    struct nj_box_mount cover = {.target = "/workspace"}, inside = {.target = "/workspace/in"};
    struct nj_box_plan plan = standard();
    struct nj_error err;

    (void)state;
    plan.writable_paths = nested;
    refuse(&plan, "overlap; keep the outer one");
    plan = standard();
    plan.mounts = mounts;
    plan.n_mounts = 2;
    refuse(&plan, "mounts \"/m\" and \"/m/n\" overlap");
    plan.mounts = &cover;
    plan.n_mounts = 1;
    refuse(&plan, "would cover the writable path");
    plan.mounts = &inside;
    assert_int_equal(nj_box_plan_check(&plan, &err), 0);
}

static void a_read_only_path_has_something_to_take_away(void **state)
{
    static const char *const outside[] = {"/data"}, *const within[] = {"/workspace/data"};
    struct nj_box_plan plan = standard();
    struct nj_error err;

    (void)state;
    plan.read_only_paths = outside;
    plan.n_read_only_paths = 1;
    refuse(&plan, "not inside a writable path or a mount");
    plan.read_only_paths = within;
    assert_int_equal(nj_box_plan_check(&plan, &err), 0);
}

static void figures_have_a_range(void **state)
{
    struct nj_box_plan plan = standard();

    (void)state;
    plan.max_size_bytes = 1;
    refuse(&plan, "workspace size: 1, want 65536 to");
    plan = standard();
    plan.max_files = NJ_BOX_FILES_MAX + 1;
    refuse(&plan, "workspace files");
    plan = standard();
    plan.max_memory_bytes = UINT64_MAX;
    refuse(&plan, "memory");
    plan = standard();
    plan.max_processes = 0;
    refuse(&plan, "processes: 0, want 1 to");
    plan = standard();
    plan.max_cpu_micro = 9999;
    refuse(&plan, "processor time: 9999, want 10000 to");
    plan = standard();
    plan.hostname = "a.b";
    refuse(&plan, "hostname");
    plan.hostname = NULL;
    refuse(&plan, "hostname");
}

static void operations_come_in_an_order_that_can_be_carried_out(void **state)
{
    struct nj_box_mount mounts[2] = {{.target = "/data/in"}, {.target = "/workspace/in"}};
    static const char *const frozen[] = {"/workspace/ro", "/data/in/x"};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_box_plan plan = standard();
    size_t hide = 0, fresh = 0, inside = 0, freeze = 0, bind = 0;
    struct nj_error err;
    struct nj_ops ops;

    (void)state;
    plan.mounts = mounts;
    plan.n_mounts = 2;
    plan.read_only_paths = frozen;
    plan.n_read_only_paths = 2;
    assert_int_equal(nj_ops_build(&plan, "/store", &arena, &ops, &err), 0);
    assert_int_equal(ops.open[ops.n_open - 1].kind, NJ_OP_SEAL);
    assert_string_equal(ops.open[ops.n_open - 1].target, "/");
    for (size_t i = 0; i < ops.n_open; i++) {
        /* Every target's parent was made before it. */
        const char *slash = strrchr(ops.open[i].target, '/');
        bool made = slash == ops.open[i].target;

        for (size_t j = 0; j < i; j++)
            made |=
                strlen(ops.open[j].target) == (size_t)(slash - ops.open[i].target) &&
                strncmp(ops.open[j].target, ops.open[i].target, strlen(ops.open[j].target)) == 0;
        if (!made)
            fail_msg("nothing made the parent of %s", ops.open[i].target);
        if (ops.open[i].kind == NJ_OP_BIND)
            assert_true(ops.open[i].flags &
                        NJ_OP_READ_ONLY); /* nothing of the host is ever writable */
    }
    for (size_t i = 0; i < ops.n_call; i++) {
        const struct nj_op *op = &ops.call[i];

        if (op->kind == NJ_OP_HIDE)
            hide = i;
        if (op->kind == NJ_OP_TMPFS && strcmp(op->target, "/run") == 0)
            fresh = i;
        if (op->kind == NJ_OP_INSIDE)
            inside = i;
        if (op->kind == NJ_OP_FREEZE)
            freeze = i;
        if (op->kind == NJ_OP_BIND)
            bind = i;
    }
    assert_true(bind < inside && inside < freeze && freeze < hide && hide < fresh);
    assert_string_equal(ops.call[freeze].target, "/workspace/ro");
    assert_int_equal(ops.n_places, 4);
    assert_string_equal(ops.places[0].path, "workspace");
    assert_int_equal(ops.places[1].mode, 01777);
    assert_string_equal(ops.places[2].path, "workspace/in");
    assert_string_equal(ops.places[3].path, "workspace/ro");
}

static bool prints(const struct nj_box_plan *plan, const char *line)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err;

    nj_buf_init(&out, 1u << 20);
    assert_int_equal(nj_box_plan_print(plan, &out, &err), 0);
    return strstr((const char *)out.data, line) != NULL;
}

static void an_image_takes_the_place_of_the_hosts_system_and_of_nothing_else(void **state)
{
    const struct nj_workspace_ref image = {{{1}}, {{2}}};
    static const char *const home[] = {"/home/agent", "/tmp"};
    struct nj_box_plan plan = standard();

    (void)state;
    plan.rootfs = &image;
    assert_false(prints(&plan, " from /usr read-only"));
    assert_true(prints(&plan, "bind /usr from (inputs of the run)/rootfs-01"));
    assert_true(prints(&plan, "bind /home from "));
    assert_true(prints(&plan, "bind /etc/passwd from run/etc/passwd read-only"));
    assert_true(prints(&plan, "bind /dev/null from /dev/null"));
    plan.writable_paths = home;
    assert_false(prints(&plan, "bind /home from "));
}

static void a_printed_plan_shows_every_operation_and_limit(void **state)
{
    static const char *const wanted[] = {
        "namespaces: user, pid, mount, network, ipc, uts, cgroup\n",
        "user: 1000 (agent), no capabilities, no_new_privs\n",
        "  bind /usr from /usr read-only nosuid nodev\n",
        "  tmpfs /run/workspace size=536870912,nr_inodes=200000,mode=0755,nosuid,nodev\n",
        "  proc /proc read-only,nosuid,nodev,noexec\n",
        "  bind /workspace from /run/workspace/workspace\n",
        "  mask /proc/kcore\n",
        "  detach /run\n",
        "  memory 2048 MiB: ",
        "  processes 256: ",
        "  allow files (",
    };
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_box_plan plan = standard();
    struct nj_error err;

    (void)state;
    nj_buf_init(&out, 1 << 20);
    assert_int_equal(nj_box_plan_print(&plan, &out, &err), 0);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (!strstr((char *)out.data, wanted[i]))
            fail_msg("no \"%s\" in\n%s", wanted[i], (char *)out.data);
    }
    plan.max_processes = 0;
    assert_int_equal(nj_box_plan_print(&plan, &out, &err), -NJ_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_plan_is_what_the_manual_says),
        cmocka_unit_test(paths_of_the_system_are_not_for_agents),
        cmocka_unit_test(paths_are_absolute_and_plain),
        cmocka_unit_test(paths_do_not_overlap),
        cmocka_unit_test(a_read_only_path_has_something_to_take_away),
        cmocka_unit_test(figures_have_a_range),
        cmocka_unit_test(operations_come_in_an_order_that_can_be_carried_out),
        cmocka_unit_test(an_image_takes_the_place_of_the_hosts_system_and_of_nothing_else),
        cmocka_unit_test(a_printed_plan_shows_every_operation_and_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
