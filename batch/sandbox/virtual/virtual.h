/*
 * virtual.h - the reproducible layer of a box: what a supervisor does so that the same code gives
 * the same bytes
 *
 * At level 1 (D1) and up a payload carries a second filter, which notifies the supervisor of the
 * calls that ask for time or randomness and of each exec; virtual.h is how call.c runs all of that:
 *
 *   nj_virtual_new()        once, before the supervisor confines itself
 *   nj_virtual_listen()     a payload sent its listener, perhaps ahead of its call
 *   nj_virtual_begin()      before a call starts: a fresh clock page, the call's key
 *   nj_virtual_serve()      each time the loop turns: answers what is waiting, follows execs
 *   nj_virtual_poll()       how the loop sleeps
 *   nj_virtual_end()        all processes are gone: where the clock ended, what was reached
 *
 * A level is aimed at and measured: what cannot be kept lowers it, with a word, and the call goes
 * on. Nothing here is needed for safety: the box is as closed without it. Parts: notify (which
 * calls, and the listener), exec (a program gets the vDSO), clock, wait (timed waits and timers),
 * random, stat (times of files, from level 2 on, with the table in times.h), patch (stats that need
 * no notification), programs (which files run, and what they hold), figures (which of the kernel's
 * own figures were looked at), vdso (the image), layout.h (what both sides share).
 */
#ifndef NJ_VIRTUAL_H
#define NJ_VIRTUAL_H

#include <linux/seccomp.h>
#include <poll.h>

#include "batch/sandbox/changes.h"
#include "batch/sandbox/sandbox.h"
#include "batch/sandbox/virtual/layout.h"
#include "batch/sandbox/virtual/times.h"

#define NJ_VIRTUAL_TASKS_MAX                                                                       \
    1024 /* stopped for us at the same time; beyond, one goes its own way */
#define NJ_VIRTUAL_TIMERS_MAX 1024
#define NJ_VIRTUAL_POLLED_MAX 16 /* of the loop's own */

/* What a stopped task is stopped for. */
enum nj_task_state {
    NJ_TASK_NONE,
    NJ_TASK_PAYLOAD, /* not stopped: waits for its call and its first exec */
    NJ_TASK_EXEC,    /* parked in exec: comes out with a new program, or without */
    NJ_TASK_WAIT,    /* out of a timed wait that it is to begin in the image */
    NJ_TASK_FORK,    /* level 3: about to have a child */
    NJ_TASK_LEAVE,   /* of no more interest */
};

struct nj_task {
    pid_t tid;
    enum nj_task_state state;
    bool is_payload; /* EXEC: a failed one leaves it ours */
    int fd;          /* EXEC: the clock's descriptor in that process; -1: none */
    int signal;      /* that came in between, to be handed on */
    int number;      /* WAIT: the call, as it is to be made */
    uint64_t arguments[6];
    int time_argument; /* WAIT: of these the one that points to slot.time; -1: none */
    struct nj_wait_slot slot;
};

/* A timer that the kernel runs in real time. */
struct nj_timer {
    pid_t tid;
    uint64_t key;        /* which of this task's: NJ_TIMER_OF_... */
    int64_t due_ns;      /* CLOCK_MONOTONIC of the host */
    int64_t clock_ns;    /* what the virtual clock says then, at least */
    int64_t interval_ns; /* 0: once */
};

/* How often each task took randomness, by its number in the call's pid namespace. */
struct nj_draw {
    uint32_t pid;
    uint32_t count;
};

/* How often a task was told what it asked of files. */
struct nj_told_task {
    pid_t tid;
    unsigned n;
};
#define NJ_VIRTUAL_TOLD_MAX 256

/* What tells of the workspace's files; all borrowed. */
struct nj_virtual_files {
    struct nj_times *times; /* NULL: files have the kernel's times */
    struct nj_changes *changes;
    dev_t device;        /* of the workspace */
    int64_t box_ns;      /* when the box was made, by the kernel's clock */
    int64_t ahead_ns;    /* the kernel's clock, of the monotonic one when the call began */
    int root_fd;         /* the program's root; -1: not asked for yet */
    bool walks_as_owner; /* the supervisor laid capabilities aside */
    unsigned n_told;     /* answers in the clock page so far */
};

/* A file that ran in the call. */
struct nj_program {
    dev_t dev;
    ino_t ino;
    uint64_t bytes;
    int64_t mtime_ns;
    char *path; /* as the box sees it; NULL: it is not listed */
};

struct nj_programs {
    dev_t workspace_device;
    bool lists; /* files outside the workspace are the host's, and listed */
    bool more;  /* than found room */
    struct nj_program *files;
    size_t n, room;
    size_t path_bytes;
    unsigned n_sought;
};

#define NJ_FIGURES_WATCHED_MAX 64 /* the newest programs'; a user has some thousand watches */

/* Who looked at what /proc has of processes. */
struct nj_figures {
    int fd;          /* inotify; -1: none is to be had, and nothing is told */
    uint32_t opened; /* NJ_FIGURE_..., in this call so far */
    int watches[NJ_FIGURES_WATCHED_MAX];
    size_t n; /* watches made in this call */
};

struct nj_order;

struct nj_virtual {
    unsigned level;       /* of this box: min(plan, what the host has) */
    enum nj_lowered host; /* why the host has no more */
    int proc_fd;          /* the host's /proc */
    int socket_fd;        /* by which payloads send their listeners; borrowed; -1: none come */
    bool patches;         /* calls may be led into the image */
    struct nj_told_task told[NJ_VIRTUAL_TOLD_MAX]; /* by number; a collision counts anew */
    uint64_t memory_bytes;                         /* as the plan bounds it, told by sysinfo() */

    /* of the payload, also of one that waits for its call */
    int listener_fd; /* -1: no payload yet, or none is left */
    bool refused;    /* it says that it has none */
    bool launched;   /* it came to its first exec; until then it is ours, and the kernel's alone */
    bool began;      /* and out of it, as the call's program */

    /* of the call under way */
    unsigned reached;
    enum nj_lowered lowered;
    int page_fd;
    struct nj_clock_page *page;
    int64_t started_ns; /* CLOCK_MONOTONIC of the host */
    int64_t start_ns;   /* what the virtual clock said then */
    struct nj_digest key;
    struct nj_task tasks[NJ_VIRTUAL_TASKS_MAX];
    size_t n_tasks; /* in use: the first ones */
    struct nj_timer timers[NJ_VIRTUAL_TIMERS_MAX];
    size_t n_timers;
    struct nj_draw *draws; /* hashed by pid */
    size_t n_draws, draws_size;
    struct nj_virtual_files files;
    struct nj_programs programs;
    struct nj_figures figures;
    struct nj_order *order; /* level 3 (order.h), else NULL */
    uint64_t notified;      /* for tests and measurements */
};

/* nj_virtual_new - what a box of @plan's level needs; opens /proc. Its payloads send their
 * listeners to @socket_fd. @ret_virtual has level 0 where the host lacks something: .host says
 * what. */
int nj_virtual_new(const struct nj_box_plan *plan, int socket_fd, struct nj_virtual **ret_virtual,
                   struct nj_error *err) NJ_MUST_USE;

int nj_virtual_begin(struct nj_virtual *v, const struct nj_box_call *call,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_stat_begin - behind nj_virtual_begin(), at level 2 and up */
void nj_stat_begin(struct nj_virtual *v, const struct nj_virtual_files *files);

/* nj_stat_end - all processes are gone: the last changes get their times. Before the capture. */
void nj_stat_end(struct nj_virtual *v);

/* nj_programs_begin - behind nj_virtual_begin(): @workspace_device is what the box's own files are
 * on; @lists: all others are the host's, and are told */
void nj_programs_begin(struct nj_virtual *v, dev_t workspace_device, bool lists);

/* nj_programs_tell - all processes are gone: put the list of the host's files that ran, which
 * @meta then names. Before nj_virtual_end(). */
int nj_programs_tell(struct nj_virtual *v, const struct nj_object_sink *sink,
                     struct nj_call_meta *meta, struct nj_error *err) NJ_MUST_USE;

/* nj_virtual_listen - take a payload's listener from v->socket_fd. The newest one counts: whoever
 * sent an earlier one is gone. */
void nj_virtual_listen(struct nj_virtual *v);

/* nj_virtual_forget - the payload is gone, and with it its listener */
void nj_virtual_forget(struct nj_virtual *v);

/* nj_virtual_serve - @listener_events: what poll() said about v->listener_fd. Between calls it lets
 * a payload that waits for its call do so. */
void nj_virtual_serve(struct nj_virtual *v, short listener_events);

/* nj_virtual_poll - poll(), which ends as well when a stopped task has news or a timer is due.
 * Returns 0; revents are valid, or 0 after a signal. */
int nj_virtual_poll(struct nj_virtual *v, struct pollfd *polled, nfds_t n, int wait_ms,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_virtual_file_clock - the call's clock, as file times want it; until the call's end */
struct nj_times_clock nj_virtual_file_clock(struct nj_virtual *v);

void nj_virtual_end(struct nj_virtual *v, struct nj_call_meta *meta);

/* nj_virtual_lower - this call keeps @level at most */
void nj_virtual_lower(struct nj_virtual *v, unsigned level, enum nj_lowered why);

/* nj_virtual_install - in the payload: the second filter; returns the listener or -errno.
 * Allocates nothing. */
int nj_virtual_install(unsigned level) NJ_MUST_USE;

/* nj_virtual_show - in the payload, once the supervisor has the listener and may look into its
 * memory: from here on that follows its exec */
void nj_virtual_show(void);

/* ---- between the parts ---- */

/* What is done about a notified call. */
enum nj_answer {
    NJ_ANSWER_CONTINUE, /* the kernel carries it out */
    NJ_ANSWER_VALUE,    /* response holds result or error */
    NJ_ANSWER_LATER,    /* the task is stopped, or was answered already */
};
typedef enum nj_answer nj_call_handler(struct nj_virtual *v, const struct seccomp_notif *notif,
                                       struct seccomp_notif_resp *response);

nj_call_handler nj_virtual_exec;
nj_call_handler nj_virtual_wait;
nj_call_handler nj_virtual_wait_child;
nj_call_handler nj_virtual_timer;
nj_call_handler nj_clock_gettime, nj_clock_getres, nj_clock_gettimeofday, nj_clock_time,
    nj_clock_times, nj_clock_getrusage, nj_clock_sysinfo, nj_clock_getcpu, nj_clock_getaffinity,
    nj_clock_setaffinity;
nj_call_handler nj_programs_mapped;
nj_call_handler nj_random_getrandom;
nj_call_handler nj_stat_stat, nj_stat_set_times, nj_stat_open;

/* nj_patch_is_possible - on this processor */
bool nj_patch_is_possible(void);

/* nj_patch_site - the task is in a call of the stat family: from now on that place asks the image,
 * if it can be done */
void nj_patch_site(struct nj_virtual *v, const struct seccomp_notif *notif);

/* nj_virtual_serve_call - answer @notif as the level below 3 does */
void nj_virtual_serve_call(struct nj_virtual *v, const struct seccomp_notif *notif);

/* nj_virtual_answer - send @response; the task may be gone */
void nj_virtual_answer(struct nj_virtual *v, const struct seccomp_notif_resp *response);
bool nj_virtual_is_alive(struct nj_virtual *v, const struct seccomp_notif *notif);

/* Memory of a notified or stopped task; false: not there. */
bool nj_virtual_read(pid_t tid, uint64_t address, void *data, size_t len);
bool nj_virtual_write(pid_t tid, uint64_t address, const void *data, size_t len);

/* nj_virtual_pid - the task's number in the innermost pid namespace; 0: gone */
uint32_t nj_virtual_pid(struct nj_virtual *v, pid_t tid);

/* nj_virtual_payload - a payload shows itself: its exec will be followed */
void nj_virtual_payload(struct nj_virtual *v, const struct seccomp_notif *notif);

/* nj_virtual_stop - stop @tid at the end of the call it is parked in; NULL: it is not to be had.
 * For PAYLOAD and FORK it is only seized: asked to stop it would begin its fork again and again. */
struct nj_task *nj_virtual_stop(struct nj_virtual *v, pid_t tid, enum nj_task_state state);
struct nj_task *nj_virtual_find_stopped(struct nj_virtual *v, pid_t tid);
void nj_virtual_let_go(struct nj_virtual *v, struct nj_task *task); /* it is in its stop */
void nj_virtual_stopped(struct nj_virtual *v); /* carry on with all tasks that stopped */
void nj_virtual_wait_begin(struct nj_virtual *v, struct nj_task *task); /* WAIT reached its stop */
void nj_programs_began(struct nj_virtual *v, pid_t tid); /* a program is in its first stop */
void nj_programs_end(struct nj_virtual *v);

/* nj_virtual_is_dying - @tid was in its stop, and was killed out of it: nothing of its program has
 * run or will */
bool nj_virtual_is_dying(pid_t tid);

/* nj_figures_init - once, before the supervisor confines itself */
void nj_figures_init(struct nj_virtual *v);
/* nj_figures_began - a program, number @pid in the call, is in its first stop; moves the working
 * directory */
void nj_figures_began(struct nj_virtual *v, pid_t tid, uint32_t pid);
/* nj_figures_end - all processes are gone: what was opened, as NJ_FIGURE_... bits */
uint32_t nj_figures_end(struct nj_virtual *v);

/* nj_virtual_slot - a free slot of the stopped task for going back by the image; 0: none */
struct user_regs_struct;
uint64_t nj_virtual_slot(pid_t tid, const struct user_regs_struct *regs,
                         struct nj_wait_slot *ret_slot);

int64_t nj_virtual_now_ns(int clock); /* of the host */
#define NJ_CLOCK_MAX_NS (INT64_MAX / 2)
/* nj_clock_read, _tick - from 0 to NJ_CLOCK_MAX_NS, whatever the box wrote */
int64_t nj_clock_read(const struct nj_virtual *v);
int64_t nj_clock_boot(const struct nj_virtual *v); /* where the monotonic clocks begin */
int64_t nj_clock_tick(struct nj_virtual *v);
void nj_clock_raise(struct nj_virtual *v, int64_t clock_ns); /* to at least; counts as waiting */
#define NJ_TIMER_OF_PROCESS UINT64_C(0)
#define NJ_TIMER_OF_ID(id) (UINT64_C(1) << 32 | (uint32_t)(id))
#define NJ_TIMER_OF_FD(fd) (UINT64_C(1) << 33 | (uint32_t)(fd))
/* nj_timers_add - the kernel was told of one by @tid; @value_ns 0: it was disarmed */
void nj_timers_add(struct nj_virtual *v, pid_t tid, uint64_t key, int64_t value_ns,
                   int64_t interval_ns);
void nj_timers_fire(struct nj_virtual *v);
int nj_timers_wait_ms(const struct nj_virtual *v, int wait_ms); /* at most @wait_ms */
void nj_timers_interrupted(struct nj_virtual *v, const struct nj_wait_slot *slot);

/* nj_random_bytes - the next piece of randomness of stream @pid */
int nj_random_bytes(struct nj_virtual *v, uint32_t pid, uint8_t *bytes, size_t len,
                    struct nj_error *err) NJ_MUST_USE;

extern const uint8_t nj_vdso_image[], nj_vdso_image_end[];

#endif
