/*
 * pulse.h - how late the loop comes to what is due
 *
 * A timer ten times a second, and how long after its time each was handled: what an event waits
 * that arrives in between. It holds the machine's load (the loop's own turns are loop_stall_ms) and
 * is told in run.json as loop_late_ms: 99 of 100 were not later.
 */
#ifndef NJ_PULSE_H
#define NJ_PULSE_H

#include <stdint.h>

#include "formats/base/error.h"

struct event_base;
struct nj_pulse;

int nj_pulse_new(struct event_base *base, struct nj_pulse **ret_pulse,
                 struct nj_error *err) NJ_MUST_USE;
void nj_pulse_free(struct nj_pulse *pulse);

/* nj_pulse_late_ms - what 99 of 100 beats did not exceed; 0 before the first, and for NULL.
 * NJ_PULSE_MAX_MS stands for all above. */
#define NJ_PULSE_MAX_MS 1000u
unsigned nj_pulse_late_ms(const struct nj_pulse *pulse);

/*
 * nj_pulse_hurry - ask that the calling thread is let onto a processor soon after it wakes
 *
 * For threads that work for microseconds and then wait: the scheduler lets those in first that want
 * the shortest slice, whatever many others that spin are there (Linux 6.12 and later; before, the
 * wish is not heard). It is no priority, takes no right, and ends with a fork.
 */
void nj_pulse_hurry(void);

#endif
