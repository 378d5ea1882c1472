/*
 * test_pulse.c - what is held up is told
 */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "batch/engine/pulse.h"

#include "formats/base/banned.h"

#define HELD_MS 150

static void hold_up(evutil_socket_t fd, short what, void *arg)
{
    const struct timespec held = {.tv_nsec = HELD_MS * 1000000};

    (void)fd;
    (void)what;
    (void)arg;
    (void)nanosleep(&held, NULL);
}

static void what_keeps_the_loop_from_its_work_is_told(void **state)
{
    struct event_base *base = event_base_new();
    const struct timeval soon = {.tv_usec = 20000}, end = {.tv_usec = 400000};
    struct nj_error err = {0};
    struct nj_pulse *pulse = NULL;
    struct event *held;

    (void)state;
    assert_int_equal(nj_pulse_new(base, &pulse, &err), 0);
    assert_int_equal(nj_pulse_late_ms(pulse), 0);
    held = evtimer_new(base, hold_up, NULL);
    assert_int_equal(event_add(held, &soon), 0);
    assert_int_equal(event_base_loopexit(base, &end), 0);
    assert_int_equal(event_base_dispatch(base), 0);
    /* Due after 100 ms, it had to wait until 170 at least, and later where the machine is busy. */
    assert_true(nj_pulse_late_ms(pulse) >= 60);
    assert_true(nj_pulse_late_ms(pulse) <= NJ_PULSE_MAX_MS);
    event_free(held);
    nj_pulse_free(pulse);
    event_base_free(base);
}

static void hurrying_is_a_wish_that_changes_nothing_else(void **state)
{
    (void)state;
    nj_pulse_hurry();
    nj_pulse_hurry();
    assert_int_equal(nj_pulse_late_ms(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_keeps_the_loop_from_its_work_is_told),
        cmocka_unit_test(hurrying_is_a_wish_that_changes_nothing_else),
    };

    return cmocka_run_group_tests_name("pulse", tests, NULL, NULL);
}
