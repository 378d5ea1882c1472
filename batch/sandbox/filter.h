/*
 * filter.h - which system calls a payload and a supervisor may make
 *
 * An allow-list, by family with a reason, compiled by libseccomp once in the helper and exported as
 * BPF: compiling costs more than starting a process in a warm box. What is not listed is answered
 * as programs expect it from an older kernel (ENOSYS) or from one that says no (EPERM), so they
 * fall back or report it; a call of another architecture ends the process.
 */
#ifndef NJ_SANDBOX_FILTER_H
#define NJ_SANDBOX_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "formats/base/buf.h"

#define NJ_FILTER_MAX_INSTRUCTIONS 4096 /* the kernel's BPF_MAXINSNS */

/* Linux 6.6, not in older headers */
#define NJ_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define NJ_NOTIF_SYNC_WAKE_UP 1ul

struct nj_filter {
    struct sock_filter *code;
    unsigned short n;
};

/* of a System V segment, where no cgroup bounds memory; a box can have 4096 of them */
#define NJ_FILTER_SEGMENT_MAX_BYTES (64u << 10)

enum nj_filter_kind {
    NJ_FILTER_PAYLOAD,
    NJ_FILTER_PAYLOAD_SOFT, /* no cgroup bounds memory: no calls for what a watchdog cannot see */
    NJ_FILTER_SUPERVISOR,
};

int nj_filter_build(enum nj_filter_kind kind, struct nj_filter *ret_filter,
                    struct nj_error *err) NJ_MUST_USE;
void nj_filter_done(struct nj_filter *filter);
NJ_DEFINE_AUTO_VAL(struct nj_filter, nj_filter_done);

/* nj_filter_install - for the calling thread, which must have no_new_privs. Returns 0 or -errno;
 * allocates nothing, so it can stand between clone and exec. */
int nj_filter_install(const struct nj_filter *filter) NJ_MUST_USE;

/* nj_filter_print - the payload's filter by family, for `nightjar check --plan` */
int nj_filter_print(struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
