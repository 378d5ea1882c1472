/*
 * exec.c - tasks that are stopped for a moment: a new program gets its vDSO, a wait its detour
 *
 * A task parked in a notification is seized and asked to stop; answered, it finishes its call and
 * stops before its next instruction, where its registers are its own. Nothing is traced longer than
 * that, so a program may trace its own children. Everything is asynchronous: a task may take as
 * long as it likes to come to its stop (another thread of it may hold it up), and may be killed at
 * any point; the loop calls nj_virtual_stopped() when SIGCHLD says that something happened.
 *
 * Exec: EVENT_EXEC names the task anew when a thread that is not the leader execs; at the stop
 * after it (registers are only then safe from the kernel's own result) one mmap is stepped, through
 * the system call instruction of the kernel's own vDSO, and the image does the rest itself. The
 * descriptor of the page is put into the process before the exec, the only moment that allows it; a
 * failed exec closes it again, likewise by way of the image.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/virtual.h"

#include "formats/base/banned.h"

#define STACK_WORDS_MAX (1u << 20) /* arguments and environment: as many as the kernel lets in */
#define KERNEL_SIGSET_BYTES 8
#define NO_CALL UINT64_MAX /* nothing for the kernel to start again */

/* ---- tasks ---- */

struct nj_task *nj_virtual_find_stopped(struct nj_virtual *v, pid_t tid)
{
    for (size_t i = 0; i < v->n_tasks; i++) {
        if (v->tasks[i].tid == tid)
            return &v->tasks[i];
    }
    return NULL;
}

static void drop_task(struct nj_virtual *v, struct nj_task *task)
{
    *task = v->tasks[--v->n_tasks];
}

void nj_virtual_let_go(struct nj_virtual *v, struct nj_task *task)
{
    (void)ptrace(PTRACE_DETACH, task->tid, NULL, (void *)(uintptr_t)(unsigned)task->signal);
    drop_task(v, task);
}

struct nj_task *nj_virtual_stop(struct nj_virtual *v, pid_t tid, enum nj_task_state state)
{
    static const uintptr_t options = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                     PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORKDONE;
    struct nj_task *task = nj_virtual_find_stopped(v, tid);

    if (task && task->state != NJ_TASK_FORK) /* a fork that failed leaves it seized */
        return NULL;
    if (!task) {
        if (v->n_tasks == NJ_VIRTUAL_TASKS_MAX ||
            ptrace(PTRACE_SEIZE, tid, NULL,
                   (void *)(state == NJ_TASK_FORK ? options : PTRACE_O_TRACEEXEC)) < 0)
            return NULL;
        task = &v->tasks[v->n_tasks++];
    }
    *task = (struct nj_task){.tid = tid, .state = state, .fd = -1};
    if (state == NJ_TASK_FORK)
        return task;
    /* Fails only for a task that is dead, of which waitpid() tells. */
    (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    return task;
}

uint64_t nj_virtual_slot(pid_t tid, const struct user_regs_struct *regs,
                         struct nj_wait_slot *ret_slot)
{
    const uint64_t n = NJ_LAYOUT_SLOTS_BYTES / NJ_SLOT_BYTES;

    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = NJ_LAYOUT_SLOTS + ((uint64_t)tid + i) % n * NJ_SLOT_BYTES;
        uint64_t head[2]; /* busy, rsp */

        if (!nj_virtual_read(tid, at, head, sizeof(head)))
            return 0; /* no image: a program we could not follow */
        /* One of ours whose frame is gone was left by a jump out of a signal handler. */
        if (head[0] == 0 || (head[0] == (uint64_t)tid && head[1] <= regs->rsp)) {
            *ret_slot = (struct nj_wait_slot){
                .busy = (uint64_t)tid,
                .rsp = regs->rsp,
                .rip = regs->rip,
                .r15 = regs->r15,
                .arguments = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9},
                .timed_out = INT64_MIN};
            return at;
        }
    }
    return 0;
}

/* ---- exec ---- */

enum nj_answer nj_virtual_exec(struct nj_virtual *v, const struct seccomp_notif *notif,
                               struct seccomp_notif_resp *response)
{
    struct nj_task *task = nj_virtual_stop(v, (pid_t)notif->pid, NJ_TASK_EXEC);
    struct seccomp_notif_addfd add = {.id = notif->id, .srcfd = (uint32_t)v->page_fd};

    (void)response;
    if (!task) {
        nj_virtual_lower(v, 0, NJ_LOWERED_EXEC); /* it is being debugged, for one */
        return NJ_ANSWER_CONTINUE;
    }
    if (!nj_virtual_is_alive(v, notif))
        task->state = NJ_TASK_LEAVE; /* who was seized may be somebody else */
    else
        task->fd = ioctl(v->listener_fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    return NJ_ANSWER_CONTINUE;
}

/* exec_failed - the old program goes on, without the descriptor */
static void exec_failed(struct nj_virtual *v, struct nj_task *task)
{
    struct user_regs_struct regs;
    struct nj_wait_slot slot;
    uint64_t at;

    if (task->fd >= 0 && ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) == 0) {
        at = nj_virtual_slot(task->tid, &regs, &slot);
        slot.result = (int64_t)regs.rax;
        /* A payload that has no image yet closes it itself. */
        if (at != 0 && nj_virtual_write(task->tid, at, &slot, sizeof(slot))) {
            regs.rax = SYS_close;
            regs.rdi = (unsigned)task->fd;
            regs.orig_rax = NO_CALL;
            regs.r15 = at;
            regs.rip = NJ_LAYOUT_UNDO;
            (void)ptrace(PTRACE_SETREGS, task->tid, NULL, &regs);
        }
    }
    nj_virtual_let_go(v, task);
}

/* A new program's first stack, read page by page. */
struct stack {
    pid_t tid;
    uint64_t at;
    uint64_t from; /* of what is held */
    uint64_t words[512];
};

static bool next_word(struct stack *stack, uint64_t *ret)
{
    uint64_t page = stack->at & ~(uint64_t)4095;

    if (stack->from != page) {
        if (!nj_virtual_read(stack->tid, page, stack->words, sizeof(stack->words)))
            return false;
        stack->from = page;
    }
    *ret = stack->words[(stack->at - page) / 8];
    stack->at += 8;
    return true;
}

struct auxiliary {
    uint64_t vdso, vdso_at; /* its value, and where that stands */
    uint64_t random_at;
};

/* read_auxiliary - behind the arguments and the environment */
static bool read_auxiliary(pid_t tid, uint64_t rsp, struct auxiliary *ret)
{
    struct stack stack = {.tid = tid, .at = rsp, .from = 1};
    uint64_t word, value;
    int strings = 0;

    if (rsp % 8 != 0 || !next_word(&stack, &word))
        return false;
    for (size_t n = 0; strings < 2; n++) { /* two lists, each with a 0 behind it */
        if (n == STACK_WORDS_MAX || !next_word(&stack, &word))
            return false;
        strings += word == 0;
    }
    for (size_t n = 0; n < 64; n++) {
        if (!next_word(&stack, &word) || !next_word(&stack, &value))
            return false;
        if (word == AT_NULL)
            return ret->vdso != 0 && ret->random_at != 0;
        if (word == AT_SYSINFO_EHDR) {
            ret->vdso = value;
            ret->vdso_at = stack.at - 8;
        } else if (word == AT_RANDOM) {
            ret->random_at = value;
        }
    }
    return false;
}

static bool set_mask(pid_t tid, uint64_t mask)
{
    return ptrace(PTRACE_SETSIGMASK, tid, (void *)KERNEL_SIGSET_BYTES, &mask) == 0;
}

/* program_begins - in its first stop; steps the mapping of the image */
static bool program_begins(struct nj_virtual *v, struct nj_task *task)
{
    struct auxiliary auxiliary = {0};
    struct user_regs_struct regs;
    struct nj_error ignored; /* what matters is that it was not done */
    uint32_t pid = nj_virtual_pid(v, task->tid);
    uint8_t random[16];

    nj_figures_began(v, task->tid, pid);
    if (task->fd < 0 || v->vdso_call_offset == 0 ||
        ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) < 0 ||
        !read_auxiliary(task->tid, regs.rsp, &auxiliary) ||
        nj_random_bytes(v, pid, random, sizeof(random), &ignored) < 0 ||
        !nj_virtual_write(task->tid, auxiliary.random_at, random, sizeof(random)) ||
        ptrace(PTRACE_GETSIGMASK, task->tid, (void *)KERNEL_SIGSET_BYTES, &task->mask) < 0 ||
        !set_mask(task->tid, UINT64_MAX))
        return false;
    task->entry = regs.rip;
    task->auxv = auxiliary.vdso_at;
    regs.rip = auxiliary.vdso + v->vdso_call_offset;
    regs.rax = SYS_mmap;
    regs.orig_rax = NO_CALL;
    regs.rdi = NJ_LAYOUT_BASE;
    regs.rsi = NJ_LAYOUT_BYTES;
    regs.rdx = 1 | 4;        /* PROT_READ, PROT_EXEC */
    regs.r10 = 2 | 0x100000; /* MAP_PRIVATE, MAP_FIXED_NOREPLACE */
    regs.r8 = (unsigned)task->fd;
    regs.r9 = 0;
    task->state = NJ_TASK_MAP;
    return ptrace(PTRACE_SETREGS, task->tid, NULL, &regs) == 0 &&
           ptrace(PTRACE_SINGLESTEP, task->tid, NULL, NULL) == 0;
}

/* program_mapped - the image is there, or is not; either way the program starts */
static void program_mapped(struct nj_virtual *v, struct nj_task *task)
{
    static const uint64_t ours = NJ_LAYOUT_BASE;
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) < 0) {
        nj_virtual_let_go(v, task);
        return;
    }
    if (regs.rax == ours && nj_virtual_write(task->tid, task->auxv, &ours, sizeof(ours))) {
        regs.rip = NJ_LAYOUT_SET_UP;
        regs.r12 = (unsigned)task->fd;
        regs.r13 = task->entry;
    } else {
        nj_virtual_lower(v, 0, NJ_LOWERED_EXEC);
        regs.rip = task->entry;
        regs.rdi = regs.rsi = regs.rdx = regs.r10 = regs.r8 = regs.r9 = 0;
        regs.rcx = regs.r11 = 0;
    }
    regs.rax = 0;
    regs.orig_rax = NO_CALL;
    (void)ptrace(PTRACE_SETREGS, task->tid, NULL, &regs);
    (void)set_mask(task->tid, task->mask);
    nj_virtual_let_go(v, task);
}

/* ---- stops ---- */

static void renamed(struct nj_virtual *v, pid_t tid)
{
    struct nj_task *task;
    unsigned long before;

    if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &before) < 0)
        return;
    if ((pid_t)before != tid) {
        task = nj_virtual_find_stopped(v, tid); /* the leader, which is gone */
        if (task)
            drop_task(v, task);
    }
    nj_order_execed(v, (pid_t)before, tid);
    task = nj_virtual_find_stopped(v, (pid_t)before);
    if (!task)
        return;
    task->tid = tid;
    if (task->state == NJ_TASK_EXEC)
        task->state = NJ_TASK_NEW;
}

static void one_stopped(struct nj_virtual *v, pid_t tid, int status)
{
    int event = status >> 16, signal = WSTOPSIG(status);
    struct nj_task *task;

    if (event == PTRACE_EVENT_EXEC) {
        renamed(v, tid);
        /* Any stop takes back the one that was asked for before. */
        (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
        (void)ptrace(PTRACE_CONT, tid, NULL, NULL);
        return;
    }
    if (nj_order_stopped(v, tid, status))
        return;
    task = nj_virtual_find_stopped(v, tid);
    if (!task) {
        (void)ptrace(PTRACE_DETACH, tid, NULL, (void *)(uintptr_t)(event ? 0u : (unsigned)signal));
        return;
    }
    if (task->state == NJ_TASK_MAP && !event && signal == SIGTRAP) {
        program_mapped(v, task);
    } else if (task->state == NJ_TASK_MAP) {
        if (!event)
            task->signal = signal; /* of those that cannot be blocked */
        (void)ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL);
    } else if (!event) {
        task->signal = signal; /* not seen here: the asked-for stop comes first */
        nj_virtual_let_go(v, task);
    } else if (task->state == NJ_TASK_EXEC) {
        exec_failed(v, task);
    } else if (task->state == NJ_TASK_NEW) {
        nj_programs_began(v, tid);
        if (!program_begins(v, task)) {
            nj_virtual_lower(v, 0, NJ_LOWERED_EXEC);
            nj_virtual_let_go(v, task);
        }
    } else {
        if (task->state == NJ_TASK_WAIT)
            nj_virtual_wait_begin(v, task);
        nj_virtual_let_go(v, task);
    }
}

void nj_virtual_stopped(struct nj_virtual *v)
{
    /* At level 3 newborns are traced, too, which may die before anybody knew of them; and until we
     * waited for it no dead one is gone for its box. */
    while (v->n_tasks > 0 || v->order) {
        struct nj_task *task;
        int status;
        pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);

        if (tid <= 0) {
            if (tid < 0 && errno == ECHILD)
                v->n_tasks = 0; /* none is left */
            return;
        }
        if (WIFSTOPPED(status)) {
            one_stopped(v, tid, status);
            continue;
        }
        nj_order_gone(v, tid);
        task = nj_virtual_find_stopped(v, tid);
        if (task)
            drop_task(v, task);
    }
}
