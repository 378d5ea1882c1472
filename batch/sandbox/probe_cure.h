/*
 * probe_cure.h - why this host may refuse something, and what to type about it
 *
 * Kernels answer alike for very different reasons (EPERM for a sysctl, for AppArmor, for a
 * container runtime's filter), so the text looks at the switches that are known to cause it.
 */
#ifndef NJ_SANDBOX_PROBE_CURE_H
#define NJ_SANDBOX_PROBE_CURE_H

#include "batch/sandbox/probe.h"

void nj_probe_cure(enum nj_probe_what what, int errnum, char *ret_text, size_t size);

#endif
