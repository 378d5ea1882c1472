/*
 * test_cgroup.c - where cgroups are made, and what is written there, on a tree of plain files
 *
 * Real v2 controllers are tried by tests/vm; here every shape of host is decided on, and each file
 * that a kernel would read is looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "batch/sandbox/cgroup.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define V2_MOUNT "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MEMORY_MOUNT "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define OTHER_MOUNT "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"

static char root[128];

static void put(const char *path, const char *text)
{
    char full[512];
    FILE *file;

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        (void)mkdir(full, 0777);
        *at = '/';
    }
    file = fopen(full, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const char *get(const char *path)
{
    static char text[4096];
    char full[512];
    FILE *file;
    size_t n;

    snprintf(full, sizeof(full), "%s%s", root, path);
    file = fopen(full, "re");
    if (!file)
        return "(none)";
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    (void)fclose(file);
    return text;
}

/* group - a v2 group of the tree */
static void group(const char *path, const char *available, const char *processes)
{
    static const char *const names[] = {"cgroup.controllers", "cgroup.procs",
                                        "cgroup.subtree_control", "cgroup.events", "cgroup.type"};
    const char *const texts[] = {available, processes, "", "populated 1\n", "domain\n"};

    for (size_t i = 0; i < 5; i++) {
        char name[256];

        snprintf(name, sizeof(name), "/sys/fs/cgroup%s/%s", path, names[i]);
        put(name, texts[i]);
    }
}

static void decide(const char *own, const char *mounts, struct nj_cgroups *ret_cgroups)
{
    char own_text[1024], mounts_text[2048];

    snprintf(own_text, sizeof(own_text), "%s", own);
    snprintf(mounts_text, sizeof(mounts_text), "%s", mounts);
    nj_cgroups_find_in(own_text, mounts_text, root, ret_cgroups);
}

/* assert_base - all of it at @dir; the share of processors is looked at where it is the subject */
static void assert_base(const struct nj_cgroups *cgroups, const char *dir)
{
    char full[512];

    snprintf(full, sizeof(full), "%s/sys/fs/cgroup%s", root, dir);
    for (size_t i = 0; i < NJ_CGROUP_QUOTA; i++) {
        assert_int_equal(cgroups->kind[i], NJ_CGROUP_V2);
        assert_string_equal(cgroups->dir[i], full);
    }
    assert_string_equal(cgroups->why, "");
}

/* ---- what bounds us ---- */

static void the_group_that_leaves_least_bounds(void **state)
{
    struct nj_cgroups cgroups;
    uint64_t limit, left;

    (void)state;
    group("/box.slice", "memory\n", "");
    group("/box.slice/run.scope", "memory\n", "17\n");
    decide("0::/box.slice/run.scope\n", V2_MOUNT, &cgroups);
    assert_false(nj_cgroup_bound_left(&cgroups.bound, &limit, &left));
    put("/sys/fs/cgroup/box.slice/run.scope/memory.max", "max\n");
    put("/sys/fs/cgroup/box.slice/memory.max", "1000000\n");
    put("/sys/fs/cgroup/box.slice/memory.current", "900000\n");
    put("/sys/fs/cgroup/box.slice/memory.stat", "anon 5\nfile 300000\nshmem 100000\n");
    assert_true(nj_cgroup_bound_left(&cgroups.bound, &limit, &left));
    assert_int_equal(limit, 1000000);
    assert_int_equal(left, 300000); /* 200,000 are pages of files, which can go */
    put("/sys/fs/cgroup/box.slice/run.scope/memory.max", "5000000\n");
    put("/sys/fs/cgroup/box.slice/run.scope/memory.current", "4900000\n");
    assert_true(nj_cgroup_bound_left(&cgroups.bound, &limit, &left));
    assert_int_equal(limit, 5000000);
    assert_int_equal(left, 100000);
}

static void a_v1_group_bounds_where_v1_has_memory(void **state)
{
    struct nj_cgroups cgroups;
    uint64_t limit, left;

    (void)state;
    group("", "\n", "1\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "600\n");
    put("/sys/fs/cgroup/memory/job/memory.stat",
        "cache 0\nshmem 0\ntotal_cache 500\ntotal_shmem 100\n");
    decide("4:memory:/job\n0::/\n", V2_MOUNT V1_MEMORY_MOUNT, &cgroups);
    assert_int_equal(cgroups.bound.kind, NJ_CGROUP_V1);
    assert_false(nj_cgroup_bound_left(&cgroups.bound, &limit, &left));
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1000\n");
    assert_true(nj_cgroup_bound_left(&cgroups.bound, &limit, &left));
    assert_int_equal(left, 800);
}

/* ---- finding ---- */

static void an_empty_parent_is_used_and_nobody_moves(void **state)
{
    struct nj_cgroups cgroups;

    (void)state;
    group("/user.slice", "cpu memory pids\n", "");
    group("/user.slice/session-1.scope", "cpu memory pids\n", "17\n");
    decide("0::/user.slice/session-1.scope\n", OTHER_MOUNT V2_MOUNT, &cgroups);
    assert_base(&cgroups, "/user.slice");
    assert_false(cgroups.move_out);
}

static void a_group_below_a_busy_parent_is_divided_itself(void **state)
{
    struct nj_cgroups cgroups;

    (void)state;
    group("/app.slice", "memory pids\n", "5\n");
    group("/app.slice/run.scope", "memory pids\n", "17\n");
    decide("0::/app.slice/run.scope\n", V2_MOUNT, &cgroups);
    assert_base(&cgroups, "/app.slice/run.scope");
    assert_true(cgroups.move_out);
    /* Time is counted without its controller, a share of it is not kept. */
    assert_int_equal(cgroups.kind[NJ_CGROUP_QUOTA], NJ_CGROUP_NONE);
}

static void the_true_root_is_used_with_processes_in_it(void **state)
{
    struct nj_cgroups cgroups;
    char path[512];

    (void)state;
    group("", "cpu memory pids\n", "1\n2\n");
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cgroup.events", root);
    assert_int_equal(remove(path), 0);
    decide("0::/\n", V2_MOUNT, &cgroups);
    assert_base(&cgroups, "");
    assert_false(cgroups.move_out);
}

static void a_containers_own_root_is_emptied(void **state)
{
    struct nj_cgroups cgroups;

    (void)state;
    group("", "cpu memory pids\n", "1\n2\n");
    decide("0::/\n", V2_MOUNT, &cgroups);
    assert_base(&cgroups, "");
    assert_true(cgroups.move_out);
}

static void a_group_that_is_mounted_from_below_is_found(void **state)
{
    struct nj_cgroups cgroups;

    (void)state;
    group("/inner", "memory pids\n", "");
    group("/inner/own", "memory pids\n", "7\n");
    decide("0::/docker/abc/inner/own\n",
           "30 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", &cgroups);
    assert_base(&cgroups, "/inner");
    decide("0::/docker/abcd/inner/own\n",
           "30 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", &cgroups);
    assert_int_equal(cgroups.kind[NJ_CGROUP_MEMORY], NJ_CGROUP_NONE);
    decide("0::/../outside\n", V2_MOUNT, &cgroups);
    assert_int_equal(cgroups.kind[NJ_CGROUP_MEMORY], NJ_CGROUP_NONE);
    assert_non_null(strstr(cgroups.why, "does not hold"));
}

static void without_the_controllers_v1_is_next_each_by_itself(void **state)
{
    struct nj_cgroups cgroups;
    char full[512];

    (void)state;
    group("", "pids\n", "1\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "");
    decide("4:memory:/job\n3:name=systemd:/\n0::/\n",
           "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
           "32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" V2_MOUNT,
           &cgroups);
    assert_int_equal(cgroups.kind[NJ_CGROUP_MEMORY], NJ_CGROUP_V1);
    snprintf(full, sizeof(full), "%s/sys/fs/cgroup/memory/job", root);
    assert_string_equal(cgroups.dir[NJ_CGROUP_MEMORY], full);
    assert_int_equal(cgroups.kind[NJ_CGROUP_PIDS], NJ_CGROUP_V2);
    assert_non_null(strstr(cgroups.why, "not both"));
}

static void nothing_mounted_is_soft_and_says_why(void **state)
{
    struct nj_cgroups cgroups;

    (void)state;
    decide("0::/\n", OTHER_MOUNT, &cgroups);
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++)
        assert_int_equal(cgroups.kind[i], NJ_CGROUP_NONE);
    assert_non_null(strstr(cgroups.why, "no cgroup v2 tree"));
    decide("garbage", " - cgroup2 x\n - cgroup", &cgroups);
    assert_int_equal(cgroups.kind[NJ_CGROUP_MEMORY], NJ_CGROUP_NONE);
}

/* as_nobody - a decision in a child without rights; its exit status */
static int as_nobody(int (*decide_there)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                               setresuid(65534, 65534, 65534) < 0))
            _exit(99);
        _exit(decide_there());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int a_foreign_group(void)
{
    struct nj_cgroups cgroups;

    decide("0::/user.slice/session-1.scope\n", V2_MOUNT, &cgroups);
    return cgroups.kind[NJ_CGROUP_MEMORY] == NJ_CGROUP_NONE &&
                   strstr(cgroups.why, "not ours to divide")
               ? 0
               : 1;
}

static int a_delegated_group(void)
{
    struct nj_cgroups cgroups;

    decide("0::/user.slice/session-1.scope\n", V2_MOUNT, &cgroups);
    return cgroups.kind[NJ_CGROUP_MEMORY] == NJ_CGROUP_V2 && cgroups.move_out ? 0 : 1;
}

static void an_ordinary_user_takes_what_is_delegated_and_no_more(void **state)
{
    static const char *const files[] = {"", "/cgroup.procs", "/cgroup.subtree_control"};

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: not root, so nothing here can belong to somebody else\n");
        return;
    }
    group("/user.slice", "memory pids\n", "");
    group("/user.slice/session-1.scope", "memory pids\n", "17\n");
    assert_int_equal(as_nobody(a_foreign_group), 0);
    for (size_t i = 0; i < 3; i++) {
        char path[512];

        snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user.slice/session-1.scope%s", root,
                 files[i]);
        assert_int_equal(chown(path, 65534, 65534), 0);
    }
    assert_int_equal(as_nobody(a_delegated_group), 0);
}

/* ---- writing ---- */

static struct nj_cgroups found(void)
{
    struct nj_cgroups cgroups;

    group("/user.slice", "cpu memory pids\n", "");
    group("/user.slice/own", "cpu memory pids\n", "17\n");
    decide("0::/user.slice/own\n", V2_MOUNT, &cgroups);
    assert_base(&cgroups, "/user.slice");
    return cgroups;
}

#define RUN "/sys/fs/cgroup/user.slice/nightjar.run-job-5"

static void a_boxs_limits_are_written_as_the_kernel_reads_them(void **state)
{
    struct nj_cgroup cgroup;
    struct nj_cgroups cgroups = found();
    struct nj_box_plan plan;
    struct nj_error err;

    (void)state;
    nj_box_plan_default(&plan);
    plan.max_memory_bytes = 128 << 20;
    plan.max_size_bytes = 8 << 20;
    plan.max_processes = 30;
    /* A kernel makes a group's files with it. */
    put(RUN "/cgroup.subtree_control", "");
    put(RUN "/1/cgroup.procs", "");
    put(RUN "/1/memory.max", "");
    put(RUN "/1/memory.swap.max", "");
    put(RUN "/1/memory.oom.group", "");
    put(RUN "/1/pids.max", "");
    put(RUN "/1/memory.current", "104857600\n");
    put(RUN "/1/memory.stat", "anon 1000\nfile 41943040\nkernel 5\nshmem 20971520\n");
    put(RUN "/1/memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n");
    put(RUN "/1/memory.peak", "4711\n");
    put(RUN "/1/pids.events", "max 12\n");
    put(RUN "/1/cpu.stat", "usage_usec 250\nuser_usec 200\n");
    assert_int_equal(nj_cgroups_begin(&cgroups, "job-5", &err), 0);
    /* Each is a write of its own, here over the one before. */
    assert_string_equal(get("/sys/fs/cgroup/user.slice/cgroup.subtree_control"), "+pidsry");
    assert_string_equal(get(RUN "/cgroup.subtree_control"), "+pidsry");
    assert_int_equal(nj_cgroup_make(&cgroups, 1, &plan, &cgroup, &err), 0);
    assert_string_equal(get(RUN "/1/memory.max"), "142606336");
    assert_string_equal(get(RUN "/1/memory.swap.max"), "0");
    assert_string_equal(get(RUN "/1/memory.oom.group"), "1");
    assert_string_equal(get(RUN "/1/pids.max"), "32");
    assert_int_equal(nj_cgroup_move(&cgroup, 4242, &err), 0);
    assert_string_equal(get(RUN "/1/cgroup.procs"), "4242");
    assert_int_equal(nj_cgroup_memory_held(&cgroup), 104857600 - (41943040 - 20971520));
    assert_int_equal(nj_cgroup_oom_kills(&cgroup), 2);
    assert_int_equal(nj_cgroup_memory_peak(&cgroup), 4711);
    assert_int_equal(nj_cgroup_fork_refusals(&cgroup), 12);
    assert_int_equal(nj_cgroup_cpu_ns(&cgroup), 250000);
    nj_cgroup_close(&cgroup);
    nj_cgroups_end(&cgroups);
}

static void a_box_joins_the_groups_of_v1_and_is_moved_into_that_of_v2(void **state)
{
    static const char *const made[] = {
        "/memory/j/1/tasks",  "/memory/j/1/memory.limit_in_bytes", "/pids/j/1/tasks",
        "/pids/j/1/pids.max", "/unified/j/1/cgroup.procs",         "/unified/j/1/cpu.stat"};
    struct nj_cgroups cgroups = {.name = "j"};
    struct nj_cgroup cgroup;
    struct nj_box_plan plan;
    struct nj_error err;

    (void)state;
    nj_box_plan_default(&plan);
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        put(made[i], "");
    cgroups.kind[NJ_CGROUP_MEMORY] = cgroups.kind[NJ_CGROUP_PIDS] = NJ_CGROUP_V1;
    cgroups.kind[NJ_CGROUP_CPU] = NJ_CGROUP_V2;
    snprintf(cgroups.dir[NJ_CGROUP_MEMORY], NJ_CGROUP_PATH_MAX_BYTES, "%s/memory", root);
    snprintf(cgroups.dir[NJ_CGROUP_PIDS], NJ_CGROUP_PATH_MAX_BYTES, "%s/pids", root);
    snprintf(cgroups.dir[NJ_CGROUP_CPU], NJ_CGROUP_PATH_MAX_BYTES, "%s/unified", root);
    assert_int_equal(nj_cgroup_make(&cgroups, 1, &plan, &cgroup, &err), 0);
    assert_int_equal(nj_cgroup_move(&cgroup, 4242, &err), 0);
    assert_string_equal(get("/unified/j/1/cgroup.procs"), "4242");
    assert_string_equal(get("/memory/j/1/tasks"), "");
    assert_int_equal(nj_cgroup_join(&cgroup), 0);
    assert_string_equal(get("/memory/j/1/tasks"), "0");
    assert_string_equal(get("/pids/j/1/tasks"), "0");
    nj_cgroup_entered(&cgroup);
    assert_int_equal(cgroup.procs_fd, -1);
    assert_int_equal(cgroup.tasks_fd[NJ_CGROUP_PIDS], -1);
    cgroup.tasks_fd[NJ_CGROUP_PIDS] = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(nj_cgroup_join(&cgroup), -ENOSPC);
    nj_cgroup_close(&cgroup);
}

static void a_share_of_the_processors_is_asked_for_where_a_plan_has_one(void **state)
{
    struct nj_cgroups cgroups = found();
    struct nj_cgroup cgroup;
    struct nj_box_plan plan;
    struct nj_error err;

    (void)state;
    nj_box_plan_default(&plan);
    put(RUN "/cgroup.subtree_control", "");
    for (int box = 1; box <= 2; box++) {
        static const char *const files[] = {"cgroup.procs",     "memory.max", "memory.swap.max",
                                            "memory.oom.group", "pids.max",   "cpu.max"};

        for (size_t i = 0; i < 6; i++) {
            char path[256];

            snprintf(path, sizeof(path), RUN "/%d/%s", box, files[i]);
            put(path, "");
        }
    }
    assert_int_equal(cgroups.kind[NJ_CGROUP_QUOTA], NJ_CGROUP_V2);
    assert_int_equal(nj_cgroups_begin(&cgroups, "job-5", &err), 0);
    assert_int_equal(nj_cgroup_make(&cgroups, 1, &plan, &cgroup, &err), 0);
    assert_string_equal(get(RUN "/1/cpu.max"), "");
    assert_string_equal(get(RUN "/cgroup.subtree_control"), "+pidsry");
    assert_false(cgroup.cpu_bounded);
    nj_cgroup_close(&cgroup);
    plan.max_cpu_micro = 1250000;
    assert_int_equal(nj_cgroup_make(&cgroups, 2, &plan, &cgroup, &err), 0);
    assert_string_equal(get(RUN "/2/cpu.max"), "125000 100000");
    assert_string_equal(get(RUN "/cgroup.subtree_control"), "+cpusry");
    assert_string_equal(get("/sys/fs/cgroup/user.slice/cgroup.subtree_control"), "+cpusry");
    assert_true(cgroup.cpu_bounded);
    nj_cgroup_close(&cgroup);
    nj_cgroups_end(&cgroups);
}

static void a_promise_that_does_not_hold_is_an_error_with_its_place(void **state)
{
    struct nj_cgroups cgroups = found();
    struct nj_error err;
    char path[512];

    (void)state;
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user.slice/cgroup.subtree_control", root);
    assert_int_equal(remove(path), 0);
    assert_int_equal(nj_cgroups_begin(&cgroups, "job-5", &err), -NJ_E_SYSTEM);
    assert_non_null(strstr(err.text, "user.slice"));
    assert_non_null(strstr(err.text, "cgroup.subtree_control"));
    nj_cgroups_end(&cgroups);
}

/* ---- sweeping ---- */

static void a_dead_runs_groups_go_and_a_live_ones_stay(void **state)
{
    struct nj_cgroups cgroups = found();
    char path[512];
    int lock_fd;

    (void)state;
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"nightjar.run-dead-1", "nightjar.run-dead-1/3",
                                            "nightjar.run-live-2", "nightjar.engine"};

        snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user.slice/%s", root, names[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user.slice/nightjar.run-live-2", root);
    lock_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock_fd, LOCK_EX), 0);
    assert_int_equal(nj_cgroups_sweep(&cgroups), 1);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user.slice/nightjar.run-dead-1", root);
    assert_int_not_equal(access(path, F_OK), 0);
    (void)close(lock_fd); /* its helper died */
    assert_int_equal(nj_cgroups_sweep(&cgroups), 1);
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user.slice/nightjar.engine", root);
    assert_int_equal(access(path, F_OK), 0);
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(root, sizeof(root), "%.90s/nj-cgroup-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(root) && chmod(root, 0755) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct nj_error err;

    (void)state;
    return nj_fsio_remove_tree(AT_FDCWD, root, &err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_group_that_leaves_least_bounds),
        TEST(a_v1_group_bounds_where_v1_has_memory),
        TEST(an_empty_parent_is_used_and_nobody_moves),
        TEST(a_group_below_a_busy_parent_is_divided_itself),
        TEST(the_true_root_is_used_with_processes_in_it),
        TEST(a_containers_own_root_is_emptied),
        TEST(a_group_that_is_mounted_from_below_is_found),
        TEST(without_the_controllers_v1_is_next_each_by_itself),
        TEST(nothing_mounted_is_soft_and_says_why),
        TEST(an_ordinary_user_takes_what_is_delegated_and_no_more),
        TEST(a_boxs_limits_are_written_as_the_kernel_reads_them),
        TEST(a_box_joins_the_groups_of_v1_and_is_moved_into_that_of_v2),
        TEST(a_share_of_the_processors_is_asked_for_where_a_plan_has_one),
        TEST(a_promise_that_does_not_hold_is_an_error_with_its_place),
        TEST(a_dead_runs_groups_go_and_a_live_ones_stay),
    };

    return cmocka_run_group_tests_name("cgroups", tests, NULL, NULL);
}
