/*
 * test_kept_ops.c - plans spelled out once, until what they were spelled out from changes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch/sandbox/kept_ops.h"

#include "formats/base/banned.h"

#define SETTLES_US 1100000
#define TRIES 20 /* somebody may be at work in /etc */

static const struct nj_ops *get(struct nj_kept_ops *kept, uint64_t processes)
{
    const struct nj_ops *ops = NULL;
    struct nj_box_plan plan;
    struct nj_error err;

    nj_box_plan_default(&plan);
    plan.max_processes = processes;
    if (nj_kept_ops_get(kept, &plan, "/store", &ops, &err) < 0)
        fail_msg("%s", err.text);
    return ops;
}

/* is_kept - the same plan twice is spelled out once */
static bool is_kept(struct nj_kept_ops *kept, uint64_t processes)
{
    for (int i = 0; i < TRIES; i++) {
        const struct nj_op *open = get(kept, processes)->open;

        if (get(kept, processes)->open == open)
            return true;
        (void)usleep(SETTLES_US / 4);
    }
    return false;
}

static void a_plan_is_spelled_out_once(void **state)
{
    struct nj_kept_ops kept = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    const struct nj_ops *ops;
    struct nj_box_plan plan;
    struct nj_error err;
    struct nj_ops fresh;

    (void)state;
    assert_true(is_kept(&kept, 100));
    ops = get(&kept, 100);
    nj_box_plan_default(&plan);
    plan.max_processes = 100;
    assert_int_equal(nj_ops_build(&plan, "/store", &arena, &fresh, &err), 0);
    assert_int_equal(ops->n_open, fresh.n_open);
    assert_int_equal(ops->n_call, fresh.n_call);
    assert_int_equal(ops->n_places, fresh.n_places);
    for (size_t i = 0; i < fresh.n_open; i++)
        assert_string_equal(ops->open[i].target, fresh.open[i].target);
    nj_kept_ops_done(&kept);
}

static void of_many_plans_the_last_are_kept(void **state)
{
    struct nj_kept_ops kept = {0};
    size_t n = 0;

    (void)state;
    for (uint64_t i = 0; i < 3 * NJ_KEPT_OPS_PLANS; i++)
        assert_non_null(get(&kept, 10 + i)->open);
    for (size_t i = 0; i < NJ_KEPT_OPS_PLANS; i++)
        n += kept.plans[i].ops.n_open > 0;
    assert_int_equal(n, NJ_KEPT_OPS_PLANS);
    nj_kept_ops_done(&kept);
}

static bool names(const struct nj_ops *ops, const char *target)
{
    for (size_t i = 0; i < ops->n_open; i++) {
        if (strcmp(ops->open[i].target, target) == 0)
            return true;
    }
    return false;
}

/* In a mount namespace of its own, where /etc/ssl is ours. Returns what is wrong, or NULL. */
static const char *change(void)
{
    struct nj_kept_ops kept = {0};

    if (names(get(&kept, 100), "/etc/ssl/certs"))
        return "an empty /etc/ssl has certificates";
    if (mkdir("/etc/ssl/certs", 0755) < 0)
        return "mkdir";
    if (!names(get(&kept, 100), "/etc/ssl/certs"))
        return "a change right behind another is not seen";
    (void)usleep(SETTLES_US);
    if (!is_kept(&kept, 100))
        return "nothing is kept";
    if (rmdir("/etc/ssl/certs") < 0)
        return "rmdir";
    if (names(get(&kept, 100), "/etc/ssl/certs"))
        return "what was kept is still there behind a change";
    nj_kept_ops_done(&kept);
    return NULL;
}

static bool put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

/* A link of /etc whose end lies in a directory that nobody looks at. */
static const char *lead_nowhere(void)
{
    struct nj_kept_ops kept = {0};

    if (mkdir("/etc/ssl/far", 0755) < 0 || !put("/etc/ssl/far/cnf", "") ||
        symlink("far/cnf", "/etc/ssl/openssl.cnf") < 0)
        return "make a link";
    (void)usleep(SETTLES_US);
    if (!is_kept(&kept, 200) || !names(get(&kept, 200), "/etc/ssl/openssl.cnf"))
        return "a link is not kept";
    if (unlink("/etc/ssl/far/cnf") < 0)
        return "unlink";
    if (names(get(&kept, 200), "/etc/ssl/openssl.cnf"))
        return "a box would have what is not there";
    nj_kept_ops_done(&kept);
    return NULL;
}

/* enter_mounts - a mount namespace of our own; as an ordinary user with a user namespace */
static bool enter_mounts(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char uid_map[32], gid_map[32];

    if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    snprintf(uid_map, sizeof(uid_map), "0 %u 1", uid);
    snprintf(gid_map, sizeof(gid_map), "0 %u 1", gid);
    return (uid == 0 ||
            (put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", uid_map) &&
             put("/proc/self/gid_map", gid_map))) &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void what_was_kept_goes_with_a_change(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const char *wrong;

        if (!enter_mounts() || mount("tmpfs", "/etc/ssl", "tmpfs", 0, NULL) < 0)
            _exit(77);
        wrong = change();
        if (!wrong)
            wrong = lead_nowhere();
        if (wrong)
            fprintf(stderr, "%s\n", wrong);
        _exit(wrong ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skipped: no user namespaces\n");
        skip();
    }
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_spelled_out_once),
        cmocka_unit_test(of_many_plans_the_last_are_kept),
        cmocka_unit_test(what_was_kept_goes_with_a_change),
    };

    return cmocka_run_group_tests_name("plans spelled out", tests, NULL, NULL);
}
