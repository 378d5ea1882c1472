/*
 * proc.h - what /proc tells of a box's task
 *
 * The host's /proc is read, by the host's numbers; v->proc_fd was opened before the supervisor
 * confined itself.
 */
#ifndef NJ_VIRTUAL_PROC_H
#define NJ_VIRTUAL_PROC_H

#include "batch/sandbox/virtual/virtual.h"

#define NJ_PROC_STATUS_BYTES                                                                       \
    4096 /* holds all of a status file, unless there are very many groups */

/* nj_proc_read - /proc/@tid/@file, cut off at @size - 1 bytes, as a string; false: the task is gone
 */
bool nj_proc_read(const struct nj_virtual *v, pid_t tid, const char *file, char *text, size_t size);

/* nj_proc_number - the number behind @name, which stands as "\nName:" in a status file; -1: none of
 * that name. */
long nj_proc_number(const char *status, const char *name);

/* nj_proc_mask - likewise, a set of signals; 0: none of that name */
uint64_t nj_proc_mask(const char *status, const char *name);

/* nj_proc_innermost - likewise, of a list of one number a pid namespace the last: what the box
 * itself sees; 0: none of that name */
uint32_t nj_proc_innermost(const char *status, const char *name);

#endif
