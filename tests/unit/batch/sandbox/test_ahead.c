/*
 * test_ahead.c - calls whose processes were made before they came
 *
 * What waits for a call is found through /proc: below init a reaper, below that the payload.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "formats/base/banned.h"

#define WAIT_MS 60000
#define START_NS INT64_C(1767225600000000000) /* 2026-01-01 */

static struct harness h;

static void open_at(unsigned level)
{
    struct nj_box_plan plan;

    nj_box_close(h.box);
    h.box = NULL;
    nj_box_plan_default(&plan);
    plan.level = level;
    open_box(&h, &plan);
}

/* child_of - the only one; 0: none (yet) */
static pid_t child_of(pid_t pid)
{
    char path[64];
    FILE *file;
    int child = 0;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &child) != 1)
        child = 0;
    (void)fclose(file);
    return child;
}

static bool waits_for_message(pid_t pid)
{
    char path[64], text[16] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    (void)!fscanf(file, "%*d (%*[^)]) %15s", text);
    (void)fclose(file);
    return text[0] == 'S';
}

static void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&pause, NULL);
}

struct ahead {
    pid_t reaper;
    pid_t payload;
};

/* prepared - waits until the next call's payload waits for it */
static struct ahead prepared(void)
{
    for (int ms = 0; ms < WAIT_MS; ms++) {
        pid_t init = child_of(nj_box_supervisor_pid(h.box));
        struct ahead ahead = {.reaper = init ? child_of(init) : 0};

        ahead.payload = ahead.reaper ? child_of(ahead.reaper) : 0;
        if (ahead.payload && waits_for_message(ahead.payload))
            return ahead;
        pause_ms(1);
    }
    fail_msg("nothing was prepared within %d s", WAIT_MS / 1000);
    return (struct ahead){0, 0};
}

static void until_gone(pid_t pid)
{
    for (int ms = 0; kill(pid, 0) == 0; ms++) {
        if (ms == WAIT_MS)
            fail_msg("process %d did not go", pid);
        pause_ms(1);
    }
}

static void a_call_is_prepared_after_the_opening_and_after_each_call(void **state)
{
    (void)state;
    for (unsigned level = 0; level <= NJ_LEVEL_MAX; level++) {
        struct ahead first, second;

        open_at(level);
        if (level >= NJ_LEVEL_FILE_TIMES)
            sh_ok(&h, "true"); /* before it the box has no directories to mount */
        first = prepared();
        sh_ok(&h, "echo $$ /proc/[0-9]*; test -w /workspace -a -w /tmp");
        assert_string_equal(h.out, "2 /proc/1 /proc/2\n"); /* the reaper and bash */
        second = prepared();
        assert_int_not_equal(first.reaper, second.reaper);
        sh_ok(&h, "true");
    }
}

static void what_was_prepared_before_a_restore_does_not_see_what_was_replaced(void **state)
{
    struct nj_workspace_ref ref;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "echo one > /workspace/a; chmod 700 /tmp");
    ref = h.ref;
    sh_ok(&h, "echo two > /workspace/a; chmod 1777 /tmp");
    (void)prepared();
    restore(&h, &ref);
    sh_ok(&h, "cat /workspace/a; stat -c %a /tmp; echo three > /workspace/b");
    assert_string_equal(h.out, "one\n700\n");
    (void)prepared();
    sh_ok(&h, "cat /workspace/b");
    assert_string_equal(h.out, "three\n");
}

static void who_waits_for_a_call_may_be_killed_without_harm(void **state)
{
    (void)state;
    for (unsigned level = 0; level <= NJ_LEVEL_MAX; level++) {
        unsigned reached;

        open_at(level);
        sh_ok(&h, "true");
        reached = h.meta.level;
        for (int i = 0; i < 4; i++) {
            struct ahead ahead = prepared();

            assert_int_equal(kill(i % 2 ? ahead.payload : ahead.reaper, SIGKILL), 0);
            until_gone(ahead.reaper); /* before, the call is its, and ends with it */
            sh_ok(&h, "echo fine");
            assert_string_equal(h.out, "fine\n");
            assert_int_equal(h.meta.level, reached);
        }
    }
}

/* run_step - what a call of a step of its own says of time and randomness */
static char *run_step(uint8_t step)
{
    const char *const argv[] = {"bash", "-c",
                                "date +%s.%N; mktemp -u; od -An -tx1 -N8 /dev/urandom", NULL};
    struct nj_box_call call = shell_call(argv);
    char *out;

    call.step = step;
    call.clock_ns = START_NS + step;
    memset(call.seed, step, sizeof(call.seed));
    call_with(&h, &call);
    if (h.failed || h.outcome.status != 0)
        fail_msg("%s%s", h.err.text, h.errors);
    out = strdup(h.out);
    assert_non_null(out);
    return out;
}

static void a_prepared_call_has_the_time_and_the_randomness_of_its_own_step(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= NJ_LEVEL_MAX; level++) {
        char *earlier, *ahead, *other;
        struct ahead ended;

        open_at(level);
        earlier = run_step(1);
        (void)prepared();
        ahead = run_step(2);
        open_at(level);
        free(run_step(1));
        ended = prepared();
        assert_int_equal(kill(ended.reaper, SIGKILL), 0);
        until_gone(ended.reaper);
        other = run_step(2);    /* by processes that were made for it */
        if (h.meta.level > 0) { /* else the host has no such layer */
            assert_string_equal(ahead, other);
            assert_string_not_equal(ahead, earlier);
        }
        free(earlier);
        free(ahead);
        free(other);
    }
}

static void a_call_that_nobody_took_can_be_cancelled(void **state)
{
    const char *const argv[] = {"touch", "/workspace/ran", NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_error err;

    (void)state;
    for (unsigned level = 0; level <= NJ_LEVEL_MAX; level++) {
        open_at(level);
        sh_ok(&h, "true");
        assert_int_equal(kill(prepared().payload, SIGSTOP), 0);
        h.done = false;
        must(nj_box_call(h.box, &call, NULL, on_called, &h, &err), &err);
        pause_ms(20);
        nj_box_cancel(h.box);
        run_until_done(&h);
        if (h.failed)
            fail_msg("%s", h.err.text);
        assert_int_equal(h.outcome.exit, NJ_EXIT_SIGNALLED);
        assert_int_equal(h.outcome.status, SIGKILL);
        sh_ok(&h, "ls /workspace");
        assert_string_equal(h.out, "");
    }
}

static void what_cannot_be_had_ahead_is_told_to_the_call(void **state)
{
    static const char *const frozen[] = {"/workspace/frozen"};
    struct nj_box_plan plan;

    (void)state;
    nj_box_plan_default(&plan);
    plan.read_only_paths = frozen;
    plan.n_read_only_paths = 1;
    open_box(&h, &plan);
    sh_ok(&h, "test -d /workspace/frozen");
    sh(&h, "mkdir /workspace/x && mv /workspace/frozen /workspace/x/ && "
           "ln -s /etc /workspace/frozen && echo moved");
    if (strcmp(h.out, "moved\n") == 0) {
        pause_ms(20);
        sh(&h, "echo never");
        assert_int_equal(h.outcome.exit, NJ_EXIT_REFUSED);
        assert_string_equal(h.out, "");
    }
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(a_call_is_prepared_after_the_opening_and_after_each_call),
        BOX_TEST(what_was_prepared_before_a_restore_does_not_see_what_was_replaced),
        BOX_TEST(who_waits_for_a_call_may_be_killed_without_harm),
        BOX_TEST(a_prepared_call_has_the_time_and_the_randomness_of_its_own_step),
        BOX_TEST(a_call_that_nobody_took_can_be_cancelled),
        BOX_TEST(what_cannot_be_had_ahead_is_told_to_the_call),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "calls prepared ahead");
}
