/*
 * test_ahead_boxes.c - boxes that were opened before anybody asked for them
 *
 * Which box is whose is told by its supervisor's pid: these are the helper's only children.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "formats/base/banned.h"

#define WAIT_MS 60000
#define BOXES_MAX 8

static struct harness h;

/* children_of - how many, at most BOXES_MAX of them in @pids */
static size_t children_of(pid_t pid, pid_t *pids)
{
    char path[64];
    FILE *file;
    size_t n = 0;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    file = fopen(path, "r");
    assert_non_null(file);
    while (n < BOXES_MAX && fscanf(file, "%d", &pids[n]) == 1)
        n++;
    (void)fclose(file);
    return n;
}

/* go_on - the loop, for a moment in which nobody asks for anything */
static void go_on(void)
{
    const struct timeval moment = {.tv_usec = 5000};

    (void)event_base_loopexit(h.base, &moment);
    (void)event_base_dispatch(h.base);
}

/* until_pids - the loop, until the helper has @n children, two looks in a row: a list may miss one
 * while another ends */
static void until_pids(pid_t helper, size_t n, pid_t *pids)
{
    int looks = 0;

    for (int ms = 0; looks < 2; ms += 5) {
        if (ms >= WAIT_MS)
            fail_msg("not %zu boxes after %d s", n, WAIT_MS / 1000);
        looks = children_of(helper, pids) == n ? looks + 1 : 0;
        go_on();
    }
}

static void until_boxes(pid_t helper, size_t n)
{
    pid_t pids[BOXES_MAX];

    until_pids(helper, n, pids);
}

/* ahead_of - waits for the one box that is there beside h.box */
static pid_t ahead_of(pid_t helper)
{
    pid_t pids[BOXES_MAX];

    until_pids(helper, 2, pids);
    return pids[0] == nj_box_supervisor_pid(h.box) ? pids[1] : pids[0];
}

static pid_t begin_ahead(size_t boxes_max)
{
    nj_sandbox_ahead(h.sandbox, boxes_max);
    open_box(&h, NULL);
    return parent_of(nj_box_supervisor_pid(h.box));
}

static void the_next_box_of_a_plan_is_the_one_opened_ahead(void **state)
{
    pid_t helper = begin_ahead(1), ahead;

    (void)state;
    for (int i = 0; i < 3; i++) {
        ahead = ahead_of(helper);
        sh_ok(&h, "ls -A /workspace /tmp; echo mine > /workspace/a");
        assert_string_equal(h.out, "/tmp:\n\n/workspace:\n");
        nj_box_close(h.box);
        h.box = NULL;
        until_boxes(helper, 1);
        open_box(&h, NULL);
        assert_int_equal(nj_box_supervisor_pid(h.box), ahead);
    }
}

static void another_plan_gets_a_box_of_its_own(void **state)
{
    pid_t helper = begin_ahead(1), ahead = ahead_of(helper);
    struct nj_box *first = h.box;
    struct nj_box_plan plan;

    (void)state;
    nj_box_plan_default(&plan);
    plan.hostname = "elsewhere";
    open_box(&h, &plan);
    nj_box_close(first);
    assert_int_not_equal(nj_box_supervisor_pid(h.box), ahead);
    sh_ok(&h, "hostname");
    assert_string_equal(h.out, "elsewhere\n");
    while (ahead_of(helper) == ahead) /* soon the next is of this plan */
        go_on();
}

static void one_that_was_lost_is_opened_anew(void **state)
{
    pid_t helper = begin_ahead(1), ahead = ahead_of(helper);

    (void)state;
    for (int i = 0; i < 3; i++) /* so that it is open, too */
        go_on();
    assert_int_equal(kill(ahead, SIGKILL), 0);
    for (int ms = 0; kill(ahead, 0) == 0 && ms < WAIT_MS; ms += 5)
        go_on();
    for (int i = 0; i < 3; i++) /* so that its end is heard, behind what it may have said before */
        go_on();
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, NULL);
    assert_int_not_equal(nj_box_supervisor_pid(h.box), ahead);
    assert_int_equal(parent_of(nj_box_supervisor_pid(h.box)), helper);
    sh_ok(&h, "true");
}

static void no_more_are_kept_than_were_asked_for(void **state)
{
    pid_t helper = begin_ahead(2);
    struct nj_box *first = h.box;
    struct nj_box_plan plan;

    (void)state;
    until_boxes(helper, 2);
    nj_box_plan_default(&plan);
    for (uint64_t i = 1; i <= 3; i++) {
        plan.max_processes = 100 + i;
        open_box(&h, &plan);
        nj_box_close(h.box);
        go_on();
    }
    h.box = first;
    until_boxes(helper, 3);
    nj_sandbox_ahead(h.sandbox, 0);
    until_boxes(helper, 1);
    sh_ok(&h, "true");
}

static void what_cannot_be_opened_is_told_each_time(void **state)
{
    pid_t helper = begin_ahead(1);
    struct nj_box *first = h.box;
    struct nj_box_plan plan;
    struct nj_box_mount mount = {.target = "/data"};

    (void)state;
    nj_box_plan_default(&plan);
    plan.mounts = &mount;
    plan.n_mounts = 1;
    until_boxes(helper, 2);
    for (int i = 0; i < 3; i++) {
        assert_false(try_open(&h, &plan));
        assert_non_null(strstr(h.err.text, "its input was not added"));
        go_on();
    }
    h.box = first;
    until_boxes(helper, 1);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(the_next_box_of_a_plan_is_the_one_opened_ahead),
        BOX_TEST(another_plan_gets_a_box_of_its_own),
        BOX_TEST(one_that_was_lost_is_opened_anew),
        BOX_TEST(no_more_are_kept_than_were_asked_for),
        BOX_TEST(what_cannot_be_opened_is_told_each_time),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "boxes opened ahead");
}
