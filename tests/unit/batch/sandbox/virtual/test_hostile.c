/*
 * test_hostile.c - programs that turn the layer against its supervisor
 *
 * Whatever a program writes to its clock page or asks for, the call ends in time, with a result.
 */
#include "../harness.h"

#include "batch/sandbox/virtual/layout.h"

#include <time.h>

#include "formats/base/banned.h"

#define TEXT_OF(macro) #macro
#define VALUE(macro) TEXT_OF(macro)

#define START_NS INT64_C(1767225600000000000) /* 2026-01-01 */

static struct harness h;

/* run - @program (C) in a fresh box of @level */
static void run(unsigned level, const char *program, uint64_t timeout_ms)
{
    static char command[16384];
    const char *const argv[] = {"bash", "-c", command, NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.level = level;
    open_box(&h, &plan);
    snprintf(command, sizeof(command),
             "cat > t.c <<'E'\n#define _GNU_SOURCE\n#include <pthread.h>\n#include <stdint.h>\n"
             "#include <stdio.h>\n#include <stdlib.h>\n#include <sys/stat.h>\n"
             "#include <sys/syscall.h>\n#include <sys/time.h>\n#include <time.h>\n"
             "#include <poll.h>\n#include <unistd.h>\n%s\nE\ngcc -O1 -pthread -o t t.c && ./t",
             program);
    call.clock_ns = START_NS;
    call.timeout_ms = timeout_ms;
    call_with(&h, &call);
    if (h.failed)
        fail_msg("%s", h.err.text);
    nj_box_close(h.box);
    h.box = NULL;
    if (h.meta.lowered == NJ_LOWERED_LISTENER || h.meta.lowered == NJ_LOWERED_TRACE ||
        h.meta.lowered == NJ_LOWERED_DEVICES) {
        print_message("skipped: this host's boxes have no layer: %s\n",
                      nj_lowered_text(h.meta.lowered));
        skip();
    }
}

static void a_clock_of_any_value_is_survived(void **state)
{
    static const char program[] =
        "int main(void) {\n"
        "  static const int64_t values[] = {INT64_MAX, INT64_MIN, -1, 0, INT64_MAX - 20000};\n"
        "  volatile int64_t *page = (int64_t *)(" VALUE(
            NJ_LAYOUT_CLOCK) ");\n"
                             "  struct timespec t, at = {2000000000, 0}; struct stat st; char "
                             "text[99];\n"
                             "  for (int i = 0; i < 5; i++) for (int word = 0; word < 4; word++) "
                             "{\n"
                             "    struct itimerval timer = {{0, 1000}, {900000000, 0}};\n"
                             "    page[word] = values[i];\n"
                             "    for (int c = -9; c < 12; c++) syscall(SYS_clock_gettime, c, "
                             "&t);\n"
                             "    page[word] = values[i];\n"
                             "    setitimer(ITIMER_REAL, &timer, NULL); alarm(0);\n"
                             "    page[word] = values[i];\n"
                             "    poll(NULL, 0, 1); usleep(1);\n"
                             "    page[word] = values[i];\n"
                             "    syscall(SYS_futex, text, 9 | 128, *(int *)text + 1, &at, NULL, "
                             "-1);\n"
                             "    page[word] = values[i];\n"
                             "    FILE *f = fopen(\"/proc/uptime\", \"r\"); if (f) { fgets(text, "
                             "99, f); fclose(f); }\n"
                             "    page[word] = values[i];\n"
                             "    f = fopen(\"x\", \"w\"); if (f) { fputs(\"x\", f); fclose(f); } "
                             "stat(\"x\", &st);\n"
                             "  }\n"
                             "  page[0] = INT64_MAX; return 0; }";

    (void)state;
    for (unsigned level = 1; level <= 2; level++) {
        run(level, program, 60000);
        assert_int_equal(h.outcome.exit, NJ_EXIT_EXITED);
        assert_int_equal(h.outcome.status, 0);
        assert_int_equal(h.meta.level, 0);
        assert_int_equal(h.meta.lowered, NJ_LOWERED_TAMPERED);
        assert_true(h.meta.clock_ns >= START_NS);
    }
}

static void times_of_files_beyond_any_calendar_are_survived(void **state)
{
    static const char program[] =
        "int main(void) {\n"
        "  static const int64_t s[] = {INT64_MAX, INT64_MIN, INT64_MAX / 1000000000 + 1};\n"
        "  struct stat st; fclose(fopen(\"x\", \"w\"));\n"
        "  for (int i = 0; i < 3; i++) {\n"
        "    struct timespec t[2] = {{s[i], 0}, {s[i], 999999999}};\n"
        "    struct timeval v[2] = {{s[i], INT64_MAX}, {s[i], INT64_MAX}};\n"
        "    syscall(SYS_utimes, \"x\", v); utimensat(-100, \"x\", t, 0); stat(\"x\", &st);\n"
        "  }\n"
        "  return 0; }";

    (void)state;
    run(2, program, 60000);
    assert_int_equal(h.outcome.exit, NJ_EXIT_EXITED);
    assert_int_equal(h.outcome.status, 0);
}

/* ends_in_time - where 64 threads keep the supervisor busy. Nobody waits for what vfork() began:
 * where no cgroup refuses it, a watchdog ends the call for having too many processes. */
static void ends_in_time(unsigned level, const char *ask)
{
    char program[2048];

    snprintf(program, sizeof(program),
             "static char b[1 << 25];\nstatic void *f(void *x) { for (;;) { %s; } return x; }\n"
             "int main(void) { pthread_t t; for (int i = 0; i < 63; i++)\n"
             "pthread_create(&t, NULL, f, NULL); f(NULL); }",
             ask);
    run(level, program, 1000);
    if (!strstr(ask, "vfork") || h.outcome.limit != NJ_LIMIT_PROCESSES)
        assert_int_equal(h.outcome.limit, NJ_LIMIT_TIMEOUT);
    if (h.meta.duration_ms > 10000)
        fail_msg("%s: ended after %u ms", ask, (unsigned)h.meta.duration_ms);
}

static void a_call_ends_in_time_whatever_it_asks_for(void **state)
{
    (void)state;
    ends_in_time(1, "syscall(SYS_getrandom, b, sizeof(b), 0)");
    ends_in_time(1, "poll(NULL, 0, 1)");
    ends_in_time(1, "poll(NULL, 0, 100000)");
    ends_in_time(1, "if (vfork() == 0) { execl(\"/bin/true\", \"true\", NULL); _exit(1); }");
    ends_in_time(2, "struct stat s; stat(\"t.c\", &s); FILE *q = fopen(\"/dev/urandom\", \"r\"); "
                    "if (q) { fread(b, 1, sizeof(b), q); fclose(q); }");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(a_clock_of_any_value_is_survived),
        BOX_TEST(times_of_files_beyond_any_calendar_are_survived),
        BOX_TEST(a_call_ends_in_time_whatever_it_asks_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
