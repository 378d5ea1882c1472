/*
 * test_log.c - what reaches standard error, byte by byte
 *
 * Standard error is a packet socket here: one read returns what one write wrote.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <jansson.h>

#include "formats/base/buf.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

struct fixture {
    int read_fd;
    int saved_stderr;
    char line[65536];
};

static int set_up(void **state)
{
    static struct fixture fixture;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    fixture.saved_stderr = dup(STDERR_FILENO);
    if (dup2(pair[1], STDERR_FILENO) < 0)
        return -1;
    (void)close(pair[1]);
    fixture.read_fd = pair[0];
    *state = &fixture;
    (void)unsetenv("NJ_LOG");
    nj_log_init("nightjar", NJ_LOG_DEBUG);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    (void)dup2(fixture->saved_stderr, STDERR_FILENO);
    (void)close(fixture->saved_stderr);
    (void)close(fixture->read_fd);
    return 0;
}

/* next_line - what the next write wrote; "" when there was none */
static const char *next_line(struct fixture *fixture)
{
    ssize_t n = read(fixture->read_fd, fixture->line, sizeof(fixture->line) - 1);

    fixture->line[n > 0 ? n : 0] = '\0';
    return fixture->line;
}

static void a_line_is_a_level_and_a_text_in_one_write(void **state)
{
    nj_log(NJ_LOG_ERROR, "job %d failed", 41);
    assert_string_equal(next_line(*state), "error job 41 failed\n");
    nj_log(NJ_LOG_WARN, "w");
    assert_string_equal(next_line(*state), "warning w\n");
    nj_log(NJ_LOG_INFO, "i");
    assert_string_equal(next_line(*state), "info i\n");
    nj_log(NJ_LOG_DEBUG, "d");
    assert_string_equal(next_line(*state), "debug d\n");
    assert_string_equal(next_line(*state), "");
}

static void lines_above_the_level_are_not_written(void **state)
{
    nj_log_init("nightjar", NJ_LOG_WARN);
    nj_log(NJ_LOG_INFO, "not shown");
    nj_log(NJ_LOG_WARN, "shown");
    assert_string_equal(next_line(*state), "warning shown\n");
    assert_string_equal(next_line(*state), "");
}

static void nothing_in_the_text_can_drive_a_terminal(void **state)
{
    nj_log(NJ_LOG_INFO, "%s", "a\x1b[2Jb\nc\rd\x7f \xc2\x9b e\xff \xe2\x80\xae gr\xc3\xbc\xc3\x9f");
    assert_string_equal(next_line(*state),
                        "info a\\x1b[2Jb\\x0ac\\x0dd\\x7f \\xc2\\x9b e\\xff \\xe2\\x80\\xae "
                        "gr\xc3\xbc\xc3\x9f\n");
}

static void a_text_that_is_too_long_says_so(void **state)
{
    char text[10000];
    const char *line;

    memset(text, '\x01', sizeof(text) - 1); /* four bytes each: the most that a line can need */
    text[sizeof(text) - 1] = '\0';
    nj_log(NJ_LOG_INFO, "%s", text);
    line = next_line(*state);
    assert_int_equal(strlen(line), 5 + 4092 * 4 + 3 + 1);
    assert_string_equal(line + strlen(line) - 8, "\\x01...\n");
}

static void json_lines_are_json_objects(void **state)
{
    struct fixture *fixture = *state;
    json_t *object;

    (void)setenv("NJ_LOG", "json", 1);
    nj_log_init("nightjar", NJ_LOG_DEBUG);
    nj_log(NJ_LOG_WARN, "%s", "say \"hi\"\x1b[0m\n\xff");
    object = json_loads(next_line(fixture), 0, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(object, "program")), "nightjar");
    assert_string_equal(json_string_value(json_object_get(object, "text")),
                        "say \"hi\"\x1b[0m\n\xef\xbf\xbd");
    json_decref(object);
    assert_null(strchr(fixture->line, '\x1b'));
    assert_ptr_equal(strchr(fixture->line, '\n'), fixture->line + strlen(fixture->line) - 1);
}

static void the_longest_json_line_is_written_too(void **state)
{
    struct fixture *fixture = *state;
    char text[10000];

    memset(text, '\x01', sizeof(text) - 1); /* six bytes each */
    text[sizeof(text) - 1] = '\0';
    (void)setenv("NJ_LOG", "json", 1);
    nj_log_init("nightjar", NJ_LOG_DEBUG);
    nj_log(NJ_LOG_INFO, "%s", text);
    assert_memory_equal(next_line(fixture), "{\"level\":\"info\"", 15);
    assert_true(strlen(fixture->line) > 6 * 4092);
}

static void logging_does_not_disturb_errno(void **state)
{
    (void)state;
    (void)close(STDERR_FILENO);
    errno = ENOSPC;
    nj_log(NJ_LOG_INFO, "nowhere to go");
    assert_int_equal(errno, ENOSPC);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_line_is_a_level_and_a_text_in_one_write),
        CASE(lines_above_the_level_are_not_written),
        CASE(nothing_in_the_text_can_drive_a_terminal),
        CASE(a_text_that_is_too_long_says_so),
        CASE(json_lines_are_json_objects),
        CASE(the_longest_json_line_is_written_too),
        CASE(logging_does_not_disturb_errno),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
