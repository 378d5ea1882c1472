/*
 * virtual.c - the layer's life: what the host has, a call's beginning and end
 */
#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/virtual.h"

#include "batch/sandbox/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "batch/sandbox/probe.h"
#include "formats/base/bytes.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* No machine answers queries faster than one in this many nanoseconds per processor and thousand:
 * what the clock may have gained at most, in its own nanoseconds for each real one. */
#define GAIN_MAX 100000

static bool has_thread_pidfds(void)
{
    nj_auto_close int fd = (int)syscall(SYS_pidfd_open, getpid(), PIDFD_THREAD);

    return fd >= 0;
}

/* wanted_level - NJ_TEST_LEVEL caps what plans ask for, to find what a failure comes from */
static unsigned wanted_level(const struct nj_box_plan *plan, enum nj_lowered *ret_why)
{
    const char *cap = getenv("NJ_TEST_LEVEL");
    unsigned level = plan->level;

    if (cap && cap[0] >= '0' && cap[0] <= '3' && (unsigned)(cap[0] - '0') < level) {
        level = (unsigned)(cap[0] - '0');
        *ret_why = NJ_LOWERED_ASKED;
    }
    /* What is really missing shows when it is used: no listener comes, a program is not followed.
     */
    if (level > 0 &&
        (nj_probe_is_withheld(NJ_PROBE_NOTIFY) || nj_probe_is_withheld(NJ_PROBE_KILLABLE))) {
        level = 0;
        *ret_why = NJ_LOWERED_LISTENER;
    } else if (level > 0 && nj_probe_is_withheld(NJ_PROBE_PTRACE)) {
        level = 0;
        *ret_why = NJ_LOWERED_TRACE;
    }
    /* Without them the end of a thread is not to be seen. */
    if (level == NJ_LEVEL_MAX && !has_thread_pidfds()) {
        level = NJ_LEVEL_MAX - 1;
        *ret_why = NJ_LOWERED_ORDER;
    }
    return level;
}

static void child_has_news(int signal)
{
    (void)signal; /* it ends ppoll(), which is all */
}

/* await_children - SIGCHLD is let in by nj_virtual_poll() alone */
static int await_children(struct nj_error *err)
{
    struct sigaction action = {.sa_handler = child_has_news};
    sigset_t blocked;

    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGCHLD);
    if (sigaction(SIGCHLD, &action, NULL) < 0 || sigprocmask(SIG_BLOCK, &blocked, NULL) < 0)
        return nj_fail_errno(err, errno, "box: signals");
    return 0;
}

int nj_virtual_new(const struct nj_box_plan *plan, int socket_fd, struct nj_virtual **ret_virtual,
                   struct nj_error *err)
{
    struct nj_virtual *v = calloc(1, sizeof(*v));

    if (!v)
        return nj_fail_nomem(err);
    v->proc_fd = v->listener_fd = v->page_fd = v->socket_fd = v->figures.fd = -1;
    v->memory_bytes = plan->max_memory_bytes;
    v->level = wanted_level(plan, &v->host);
    *ret_virtual = v;
    if (v->level == 0)
        return 0;
    nj_figures_init(v);
    v->patches = nj_patch_is_possible();
    v->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (v->proc_fd < 0)
        return nj_fail_errno(err, errno, "box: open /proc");
    v->socket_fd = socket_fd;
    return await_children(err);
}

int nj_virtual_poll(struct nj_virtual *v, struct pollfd *polled, nfds_t n, int wait_ms,
                    struct nj_error *err)
{
    int ms = nj_order_wait_ms(v, nj_timers_wait_ms(v, wait_ms));
    const struct timespec wait = {ms / 1000, ms % 1000 * 1000000L};
    struct pollfd all[NJ_VIRTUAL_POLLED_MAX + NJ_ORDER_POLLED_MAX];
    size_t n_more;
    sigset_t none;

    (void)sigemptyset(&none);
    memcpy(all, polled, n * sizeof(*polled));
    n_more = nj_order_poll_fds(v, all + n);
    if (ppoll(all, n + n_more, ms < 0 ? NULL : &wait, v->level > 0 ? &none : NULL) >= 0) {
        memcpy(polled, all, n * sizeof(*polled));
        for (size_t i = 0; i < n_more; i++)
            v->order->told |= all[n + i].revents != 0;
        return 0;
    }
    if (errno != EINTR)
        return nj_fail_errno(err, errno, "call: poll");
    for (nfds_t i = 0; i < n; i++)
        polled[i].revents = 0;
    return 0;
}

/* make_page - the image, and behind it the clock's page, of no call yet */
static int make_page(struct nj_virtual *v, struct nj_error *err)
{
    static const struct nj_clock_page empty;
    const size_t image_bytes = (size_t)(nj_vdso_image_end - nj_vdso_image);
    int r;

    r = nj_fsio_memfd("nj-clock", &v->page_fd, err);
    if (r >= 0)
        r = nj_fsio_pwrite(v->page_fd, nj_vdso_image, image_bytes, 0, err);
    if (r < 0)
        return nj_wrap(err, "call: the clock page");
    /* Of a size that cannot change: a shorter page would be our end, too; and so would one that the
     * kernel has no memory for when it is written to by the mapping. */
    if (ftruncate(v->page_fd, NJ_LAYOUT_BYTES) < 0 ||
        fcntl(v->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return nj_fail_errno(err, errno, "call: the clock page");
    r = nj_fsio_pwrite(v->page_fd, &empty, sizeof(empty), NJ_LAYOUT_CLOCK_OFFSET, err);
    if (r < 0)
        return nj_wrap(err, "call: the clock page");
    v->page = mmap(NULL, NJ_LAYOUT_CLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                   v->page_fd, NJ_LAYOUT_CLOCK_OFFSET);
    if (v->page == MAP_FAILED) {
        v->page = NULL;
        return nj_fail_errno(err, errno, "call: map the clock page");
    }
    return 0;
}

static void drop_page(struct nj_virtual *v)
{
    if (v->page)
        (void)munmap(v->page, NJ_LAYOUT_CLOCK_BYTES);
    v->page = NULL;
    nj_close_auto(&v->page_fd);
    v->page_fd = -1;
}

/* begin_page - the call's own, perhaps made ahead of it */
static int begin_page(struct nj_virtual *v, int64_t clock_ns, struct nj_error *err)
{
    int r = v->page ? 0 : make_page(v, err);

    if (r >= 0)
        *v->page = (struct nj_clock_page){
            .now_ns = clock_ns, .start_ns = clock_ns, .boot_ns = nj_clock_boot(v)};
    return r;
}

static void make_key(struct nj_virtual *v, const struct nj_box_call *call)
{
    uint8_t step[8];

    nj_store_u64le(step, call->step);
    nj_digest_bytes(call->seed, sizeof(call->seed), &v->key);
    nj_digest_chain(&v->key, "nightjar call", (struct nj_span){step, sizeof(step)});
}

int nj_virtual_begin(struct nj_virtual *v, const struct nj_box_call *call, struct nj_error *err)
{
    v->reached = v->level;
    v->lowered = v->host;
    v->notified = 0;
    if (v->level == 0)
        return 0;
    if (v->refused)
        nj_virtual_lower(v, 0, NJ_LOWERED_LISTENER);
    v->started_ns = nj_virtual_now_ns(CLOCK_MONOTONIC);
    v->start_ns = call->clock_ns;
    make_key(v, call);
    return begin_page(v, call->clock_ns, err);
}

void nj_virtual_forget(struct nj_virtual *v)
{
    nj_close_auto(&v->listener_fd);
    v->listener_fd = -1;
    v->refused = v->launched = v->began = false;
}

void nj_virtual_listen(struct nj_virtual *v)
{
    int fds[1], r;
    size_t n_fds = 1, len;
    struct nj_error ignored;
    char byte;

    r = nj_fsio_recvmsg(v->socket_fd, &byte, 1, &len, fds, &n_fds, &ignored);
    if (r > 0)
        return;
    if (r < 0 || len == 0) {
        v->socket_fd = -1; /* init is gone, which others see */
        return;
    }
    nj_virtual_forget(v);
    if (n_fds == 1) {
        v->listener_fd = fds[0];
        /* A notified task waits for us: we run at once, on its processor. Older kernels wake us
         * some time later. */
        (void)ioctl(v->listener_fd, NJ_NOTIF_SET_FLAGS, NJ_NOTIF_SYNC_WAKE_UP);
        if (!v->page && make_page(v, &ignored) < 0) /* begin_page() tries again, and tells */
            drop_page(v);
    } else {
        v->refused = true;
        nj_virtual_lower(v, 0, NJ_LOWERED_LISTENER);
    }
}

void nj_virtual_lower(struct nj_virtual *v, unsigned level, enum nj_lowered why)
{
    if (level >= v->reached)
        return;
    v->reached = level;
    v->lowered = why;
}

/* end_clock - where the call's clock ended, if that can be */
static int64_t end_clock(struct nj_virtual *v, int64_t start_ns)
{
    int64_t now = nj_clock_read(v);
    int64_t elapsed = nj_virtual_now_ns(CLOCK_MONOTONIC) - v->started_ns;
    int64_t gain;

    if (__builtin_mul_overflow(elapsed, (int64_t)GAIN_MAX, &gain) ||
        __builtin_add_overflow(gain, v->order ? v->order->jumped_ns : 0, &gain))
        gain = NJ_CLOCK_MAX_NS;
    if (now < start_ns || now - start_ns > gain || now == NJ_CLOCK_MAX_NS) {
        nj_virtual_lower(v, 0, NJ_LOWERED_TAMPERED);
        return start_ns > NJ_CLOCK_MAX_NS - elapsed ? NJ_CLOCK_MAX_NS : start_ns + elapsed;
    }
    return now;
}

void nj_virtual_end(struct nj_virtual *v, struct nj_call_meta *meta)
{
    meta->clock_ns = v->page ? end_clock(v, v->start_ns) : 0;
    meta->level = v->reached;
    meta->lowered = v->lowered;
    nj_virtual_stopped(v);
    meta->figures = nj_figures_end(v);
    nj_order_tell_turns(v, meta);
    nj_order_end(v);
    v->n_tasks = v->n_timers = 0;
    nj_programs_end(v);
    free(v->draws);
    v->draws = NULL;
    v->n_draws = v->draws_size = 0;
    drop_page(v);
    nj_virtual_forget(v);
}
