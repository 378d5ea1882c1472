/*
 * order.h - level 3: exactly one task of a call runs, so what happens first is no chance
 *
 * Every call that may block, and every birth and death, is told to the supervisor. One task holds
 * the token and runs; a call that would block parks its task, and the token goes to the task that
 * was parked longest and could go on. When none could, the clock jumps to the earliest deadline, so
 * sleeping takes no time. What parks a task, and where that is kept:
 *
 *   order.c          the token: who runs, who is next, when nobody can
 *   order_tasks.c    tasks and processes: births, deaths, who waits for whose end
 *   order_ready.c    whether a call would block: descriptors, children, locks
 *   order_transfer.c writes larger than a pipe is wide, made piece by piece
 *   order_output.c   how standard output and error took turns
 *   order_futex.c    waits on memory, woken in the order in which they began
 *   order_timers.c   timers in virtual time
 *   order_lost.c     sleeping in calls that are not told
 *   order_signals.c  what is pending for whom, and what a signal does to a parked task
 *
 * How it is used: nj_order_begin() behind nj_virtual_begin(); then each notification goes to
 * nj_order_enter() as long as nj_order_keeps() says so, each stop of a traced task to
 * nj_order_stopped(), and the loop calls nj_order_serve() whenever it turned and
 * nj_order_poll_fds() before it sleeps; nj_order_end() at last.
 *
 * A task that sleeps in a call that is not told (opening a FIFO, a semaphore) is passed over after
 * a moment, and found again by what wakes it: only the holder can, so at the holder's next call it
 * is seen to be awake, and waited for until it makes a call itself.
 *
 * What is not kept is let go: nj_order_release() wakes every task, gives back what is parked to the
 * kernel and to the clock of wait.c, and lowers the call to D2, saying "order not kept". It happens
 * when a task computes for SPIN_NS without a call while others wait (they may be what it waits
 * for), when one sleeps in a way that is not known, at stop signals, ptrace, PI futexes, and when
 * nobody could ever run again. After it nothing here has a say, so no mistake of the order can hold
 * a program up for longer than the watchdog takes.
 *
 * Numbers of tasks are the host's unless they are called "inside".
 */
#ifndef NJ_VIRTUAL_ORDER_H
#define NJ_VIRTUAL_ORDER_H

#include <fcntl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "batch/sandbox/virtual/virtual.h"

#define NJ_ORDER_TASKS_MAX 2048
#define NJ_ORDER_TIMERS_MAX 256
#define NJ_ORDER_NEVER INT64_MAX /* no deadline */
#define NJ_ORDER_BUCKETS 256
#define NJ_ORDER_POLLED_MAX 8 /* descriptors that the loop sleeps on for the order */

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

enum nj_order_state {
    NJ_ORDER_RUNS,    /* holds the token */
    NJ_ORDER_PARKED,  /* in a call that would block */
    NJ_ORDER_BORN,    /* in its first stop, or on the way there */
    NJ_ORDER_VFORKS,  /* waits in the kernel for its child's exec or end */
    NJ_ORDER_VFORKED, /* that came; it is in its stop, or on the way there */
    NJ_ORDER_LOST,    /* sleeps in a call that is not told, or is on its way out of it */
    NJ_ORDER_ARRIVED, /* came out of that; its next call is not looked at yet */
    NJ_ORDER_ENDS,    /* on the way out */
};

#define NJ_ORDER_LOOK_READY (-1) /* as plain files are; with no events: nothing to look at */
#define NJ_ORDER_LOOK_BAD (-2)

struct nj_order_process {
    LIST_ENTRY(nj_order_process) bucket;
    pid_t tgid;
    pid_t parent; /* its tgid; 0: one that is not ours */
    uint32_t inside;
    int pidfd;
    unsigned n_tasks;
    bool unsettled; /* it is known to be dying */
    bool dead;      /* and perhaps not waited for */
};

struct nj_order_task {
    LIST_ENTRY(nj_order_task) bucket;
    TAILQ_ENTRY(nj_order_task) queue;
    pid_t tid;
    struct nj_order_process *process;
    int pidfd; /* of the thread; -1: a leader, see its process */
    enum nj_order_state state;
    bool queued;
    bool stopped;       /* BORN, VFORKS, VFORKED: it is in its stop, by our ptrace */
    bool unsettled;     /* counted in n_unsettled */
    pid_t vfork_parent; /* 0: none waits for it */
    unsigned calls;     /* since it got the token */
    uint64_t slices;    /* LOST: how often it had been given a processor then */

    /* PARKED */
    struct seccomp_notif notif;
    int64_t deadline_ns; /* of the virtual clock, or NJ_ORDER_NEVER */
    bool yields;         /* may go on at any time */
    bool fresh;          /* not looked at since it was parked */
    bool look_for_signal;
    bool interrupted;     /* a signal waits that ends the call */
    struct pollfd *looks; /* on copies of its descriptors, or NJ_ORDER_LOOK_* */
    size_t n_looks;
    bool on_network; /* what it looks at may lag behind the sender */
    uint64_t deaths; /* as of the last look at its children */
    uint64_t total;  /* bytes of its write */
    uint64_t done;   /* of these, out already */
    mode_t type;     /* of the descriptor that it writes to */
    int output;      /* which of the call's own pipes that is; -1: none */
    struct {         /* a futex */
        uint64_t key[3];
        uint32_t bits;
        bool woken;
    } futex;
};

struct nj_order_timer {
    pid_t tgid;     /* 0: of nobody, it is a timerfd */
    uint32_t id;    /* of timer_create(); NJ_ORDER_ITIMER: setitimer() and alarm() */
    pid_t tid;      /* who gets the signal; 0: the process. Of a timerfd: who has it open under the
                       number id; 0: it is not looked for, and may be */
    int fd;         /* a pidfd of it; a copy of the timerfd */
    int signal;     /* 0: none */
    uint64_t value; /* sigval */
    int64_t due_ns; /* of the virtual clock; released: of the host's */
    int64_t clock_ns;
    int64_t interval_ns;
    bool sent; /* a timerfd that a message carried */
};
#define NJ_ORDER_ITIMER UINT32_MAX

/* The call's own pipes: the supervisor reads them, so nobody in the box need ever wait for room. */
struct nj_order_outputs {
    int fds[2];
    void (*drain)(void *ctx); /* read some of what is there */
    /* All that is there of one; returns how much came since the call began. */
    uint64_t (*read_all)(void *ctx, int output);
    void *ctx;
};

/* Who wrote how much before the other stream was written to. */
struct nj_order_turns {
    int writing;      /* the last that somebody was about to write to */
    int of;           /* whose turn it is, */
    uint64_t bytes;   /* and of how many so far */
    uint64_t seen[2]; /* of each stream */
    uint64_t n;       /* that are over */
    struct nj_digest digest;
};

struct nj_order {
    bool keeps; /* else released */
    struct nj_order_task *holder;
    TAILQ_HEAD(, nj_order_task) queue; /* who wants the token, the longest first */
    LIST_HEAD(, nj_order_task) tasks[NJ_ORDER_BUCKETS];
    LIST_HEAD(, nj_order_process) processes[NJ_ORDER_BUCKETS];
    size_t n_tasks;
    size_t n_unsettled; /* tasks whose stop or death is still to come: nobody is chosen before */
    pid_t early;        /* a newborn whose stop came before its parent's */
    uint64_t deaths;    /* so far */
    size_t n_lost;      /* tasks that are LOST */
    bool deferred;      /* the holder's call came, and waits until all is settled */
    bool again;         /* a write is longer than a turn */
    bool killed;        /* a signal was sent and has not been looked after */
    pid_t kill_target;  /* as the sender names it; 0: anybody */
    struct nj_order_timer timers[NJ_ORDER_TIMERS_MAX];
    size_t n_timers;
    bool sent_other; /* a timerfd that was not set then, or more than we look through */
    struct nj_order_outputs outputs;
    struct stat output_stat[2];
    struct nj_order_turns turns;
    int64_t jumped_ns; /* by how much the clock was moved because nobody could run */

    /* the watchdog's */
    bool told;                 /* by a pidfd that was slept on */
    uint64_t served;           /* notifications, and changes of the holder */
    uint64_t looked_at;        /* served, when it last looked */
    int64_t next_look_ns;      /* host's */
    int64_t busy_from_ns;      /* processor time of the holder then; -1: not looked yet */
    uint64_t slices;           /* how often it had been given a processor */
    bool asleep;               /* and since then it slept */
    int64_t unsettled_from_ns; /* host's; 0: all is settled */
    int64_t idle_until_ns; /* the network may lag: not before this the clock jumps; 0: not idle */
};

/* What a parked task's call is answered with. */
enum nj_order_verdict {
    NJ_ORDER_WAITS,    /* it would block */
    NJ_ORDER_GOES,     /* the kernel carries it out, without blocking */
    NJ_ORDER_ANSWERED, /* response holds result or error */
    NJ_ORDER_REFUSED,  /* not ours to keep in order: release */
};

/* nj_order_begin - a call of level 3 begins; lowers the level where the host lacks the means */
int nj_order_begin(struct nj_virtual *v, const struct nj_order_outputs *outputs,
                   struct nj_error *err) NJ_MUST_USE;
void nj_order_end(struct nj_virtual *v);
bool nj_order_keeps(const struct nj_virtual *v);

/* nj_order_enter - @notif came; answers it now or later. False: it is served as at D2. */
bool nj_order_enter(struct nj_virtual *v, const struct seccomp_notif *notif);

/* nj_order_stopped - of a stop of @tid that no other part asked for. False: neither did we. */
bool nj_order_stopped(struct nj_virtual *v, pid_t tid, int status);
void nj_order_gone(struct nj_virtual *v, pid_t tid); /* a traced task is dead */
void nj_order_execed(struct nj_virtual *v, pid_t before, pid_t tid);
void nj_order_serve(struct nj_virtual *v);

/* nj_order_poll_fds - what to sleep on besides; at most NJ_ORDER_POLLED_MAX */
size_t nj_order_poll_fds(struct nj_virtual *v, struct pollfd *polled);
int nj_order_wait_ms(const struct nj_virtual *v, int wait_ms);

/* nj_order_is_told - at level 3 alone: whatever may block, or is of the order */
bool nj_order_is_told(int number);

/* nj_order_release - everybody runs from here on */
void nj_order_release(struct nj_virtual *v);

/* ---- between the parts ---- */

struct nj_order_task *nj_order_find(struct nj_order *o, pid_t tid);
struct nj_order_process *nj_order_process(struct nj_order *o, pid_t tgid);
/* nj_order_add - a task that was born, or the first; NULL: no room, or it is gone */
struct nj_order_task *nj_order_add(struct nj_virtual *v, pid_t tid);
void nj_order_drop(struct nj_virtual *v, struct nj_order_task *task);
void nj_order_enqueue(struct nj_order *o, struct nj_order_task *task);
void nj_order_dequeue(struct nj_order *o, struct nj_order_task *task);
void nj_order_forget_looks(struct nj_order_task *task);
/* nj_order_ends - @task was let go on its way out, or was found dying */
void nj_order_ends(struct nj_virtual *v, struct nj_order_task *task, bool whole_process);
/* nj_order_bury - whoever is dead by now; true: somebody was */
bool nj_order_bury(struct nj_virtual *v, bool look_at_all);
/* nj_order_settle_lost, _watch_lost - who of the lost is awake; who sleeps again after all */
void nj_order_settle_lost(struct nj_virtual *v);
void nj_order_watch_lost(struct nj_virtual *v);
/* nj_order_lose - the holder sleeps; false: not in a call that it may be passed over in */
bool nj_order_lose(struct nj_virtual *v, struct nj_order_task *task, uint64_t slices);
bool nj_order_read_schedule(struct nj_virtual *v, pid_t tid, int64_t *ret_busy_ns,
                            uint64_t *ret_slices);
void nj_order_set_unsettled(struct nj_order *o, bool *flag, bool value);
enum nj_order_verdict nj_order_birth(struct nj_virtual *v, struct nj_order_task *task);
/* nj_order_resume - out of its stop */
void nj_order_resume(struct nj_virtual *v, struct nj_order_task *task);

/* nj_order_prepare - once, when a call that may block is parked: deadline, what to look at */
enum nj_order_verdict nj_order_prepare(struct nj_virtual *v, struct nj_order_task *task);
enum nj_order_verdict nj_order_test(struct nj_virtual *v, struct nj_order_task *task,
                                    struct seccomp_notif_resp *response);
/* nj_order_expire - the answer when the deadline passed */
void nj_order_expire(struct nj_virtual *v, struct nj_order_task *task,
                     struct seccomp_notif_resp *response);
enum nj_order_verdict nj_order_transfer(struct nj_virtual *v, struct nj_order_task *task,
                                        struct seccomp_notif_resp *response);
/* nj_order_type_of - of a task's descriptor, without opening it: what it would do to wait for some
 * of ours would be to wait for ourselves. False: there is none. */
bool nj_order_type_of(struct nj_virtual *v, const struct nj_order_task *task, int fd,
                      struct statx *ret_statx);
/* nj_order_output - which of the call's pipes this is; -1: none */
int nj_order_output(const struct nj_order *o, const struct statx *x);
/* nj_order_writes - the token's holder is about to, to @output (-1: to something else) */
void nj_order_writes(struct nj_virtual *v, int output);
/* nj_order_tell_turns - all processes are gone, and all they wrote was read */
void nj_order_tell_turns(struct nj_virtual *v, struct nj_call_meta *meta);
int nj_order_copy(const struct nj_order_task *task, int fd); /* a descriptor; -1 */

enum nj_order_verdict nj_order_futex(struct nj_virtual *v, struct nj_order_task *task,
                                     struct seccomp_notif_resp *response);
/* nj_order_futex_recheck - of @process (NULL: of all) a task died, and the kernel wrote to memory
 */
void nj_order_futex_recheck(struct nj_virtual *v, const struct nj_order_process *process);

enum nj_order_verdict nj_order_timer(struct nj_virtual *v, struct nj_order_task *task,
                                     struct seccomp_notif_resp *response);
/* nj_order_timers_sent - @task makes a call that may send timerfds */
void nj_order_timers_sent(struct nj_virtual *v, const struct nj_order_task *task);
bool nj_order_timers_fire(struct nj_virtual *v);         /* may give the order up */
int64_t nj_order_timers_due(const struct nj_virtual *v); /* or NJ_ORDER_NEVER */
void nj_order_timers_drop(struct nj_virtual *v, pid_t tgid);
void nj_order_timers_execed(struct nj_virtual *v, pid_t tgid); /* of timer_create(): none is left */
void nj_order_timers_release(struct nj_virtual *v);
void nj_order_timers_end(struct nj_order *o);
/* nj_order_timers_supersede - behind a release: what is set now is the kernel's, and ours is not */
void nj_order_timers_supersede(struct nj_virtual *v, const struct seccomp_notif *notif);

/* nj_order_sends - @task is about to send a signal */
enum nj_order_verdict nj_order_sends(struct nj_virtual *v, struct nj_order_task *task);
void nj_order_after_signals(struct nj_virtual *v); /* who dies of them, who is to look */
void nj_order_signal_to(struct nj_virtual *v, const struct nj_order_process *process);
bool nj_order_is_interrupted(struct nj_virtual *v, struct nj_order_task *task);
/* nj_order_interrupt - the answer to a call that a signal ends */
enum nj_order_verdict nj_order_interrupt(struct nj_virtual *v, struct nj_order_task *task,
                                         struct seccomp_notif_resp *response);
char nj_order_state_of(struct nj_virtual *v, pid_t tid); /* as in /proc; 'X': gone */

/* Of wait.c: when a call's wait ends. */
enum nj_wait_end { NJ_WAIT_NEVER, NJ_WAIT_AT, NJ_WAIT_AT_ONCE, NJ_WAIT_UNKNOWN };
enum nj_wait_end nj_wait_deadline(struct nj_virtual *v, const struct seccomp_notif *notif,
                                  int64_t *ret_deadline_ns);
/* nj_wait_tell_rest - write what remains where the call leaves it */
void nj_wait_tell_rest(const struct seccomp_notif *notif, int64_t rest_ns);

#endif
