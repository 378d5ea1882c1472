/*
 * exec.c - tasks that are stopped for a moment: a new program gets its vDSO, a wait its detour
 *
 * A task parked in a notification is seized and asked to stop; answered, it finishes its call and
 * stops before its next instruction, where its registers are its own. Nothing is traced longer than
 * that, so a program may trace its own children. Everything is asynchronous: a task may take as
 * long as it likes to come to its stop (another thread of it may hold it up), and may be killed at
 * any point; the loop calls nj_virtual_stopped() when SIGCHLD says that something happened.
 *
 * Exec: a program has one stop, EVENT_EXEC, which also names the task anew when a thread that is
 * not the leader execs, and takes back the stop that was asked for. A few instructions (enter_image
 * below) are put over the beginning of the kernel's vDSO, which nobody is told of any more; there
 * the program begins, maps the image and goes on in it, and nobody waits for that. The descriptor
 * of the page is put into the process before the exec, the only moment that allows it; a failed
 * exec closes it again, by way of the old program's image.
 *
 * A payload is the exception: until its exec it shares init's memory, which nobody may look into.
 * So it shows itself while nothing of an agent's runs in the box, and stays seized for its exec.
 */
#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "batch/sandbox/virtual/order.h"
#include "batch/sandbox/virtual/virtual.h"

#include "formats/base/banned.h"

#define STACK_WORDS_MAX (1u << 20) /* arguments and environment: as many as the kernel lets in */
#define NO_CALL UINT64_MAX         /* nothing for the kernel to start again */

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
    if (ptrace(PTRACE_DETACH, task->tid, NULL, (void *)(uintptr_t)(unsigned)task->signal) == 0)
        drop_task(v, task);
    else
        task->state = NJ_TASK_LEAVE; /* killed meanwhile: its parent waits until we waited for it */
}

struct nj_task *nj_virtual_stop(struct nj_virtual *v, pid_t tid, enum nj_task_state state)
{
    static const uintptr_t options = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                     PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORKDONE;
    struct nj_task *task = nj_virtual_find_stopped(v, tid);

    /* A fork that failed leaves it seized, and so it is before its first exec. */
    if (task && task->state != NJ_TASK_FORK && task->state != NJ_TASK_PAYLOAD)
        return NULL;
    if (!task) {
        if (v->n_tasks == NJ_VIRTUAL_TASKS_MAX ||
            ptrace(PTRACE_SEIZE, tid, NULL,
                   (void *)(state == NJ_TASK_FORK ? options : PTRACE_O_TRACEEXEC)) < 0)
            return NULL;
        task = &v->tasks[v->n_tasks++];
    }
    *task = (struct nj_task){.tid = tid, .state = state, .fd = -1};
    if (state == NJ_TASK_FORK || state == NJ_TASK_PAYLOAD)
        return task;
    /* Fails only for a task that is dead, of which waitpid() tells. */
    (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    return task;
}

bool nj_virtual_is_dying(pid_t tid)
{
    unsigned long message;

    return ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message) < 0;
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

/* enter_image - the first instructions of a program, in the place of its vDSO's head: a mapping
 * whose arguments are set already, then the image's own beginning (r14). Where there is no room for
 * it (rdi), the program begins (r13) without the image and without a vDSO: auxv's entry (rbx) is to
 * be ignored, the descriptor (r12) closed, and the supervisor told of it (ebp). Not a function:
 * these are bytes to copy. */
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        "enter_image:\n"
        "mov $9, %eax\n" /* mmap */
        "syscall\n"
        "cmp %rdi, %rax\n"
        "jne 1f\n"
        "jmp *%r14\n"
        "1: movq $1, (%rbx)\n" /* AT_IGNORE */
        "mov $3, %eax\n"       /* close */
        "mov %r12d, %edi\n"
        "syscall\n"
        "mov $228, %eax\n" /* clock_gettime */
        "mov %ebp, %edi\n"
        "syscall\n"
        "xor %edx, %edx\n" /* no function to run at the end */
        "jmp *%r13\n"
        ".balign 8\n"
        "enter_image_end:\n"
        ".popsection\n");
extern const uint64_t enter_image[], enter_image_end[];

void nj_virtual_payload(struct nj_virtual *v, const struct seccomp_notif *notif)
{
    struct nj_task *task = nj_virtual_stop(v, (pid_t)notif->pid, NJ_TASK_PAYLOAD);

    /* Who was seized may be somebody else; a payload that was not is told of at its exec. */
    if (task && !nj_virtual_is_alive(v, notif)) {
        task->state = NJ_TASK_LEAVE;
        (void)ptrace(PTRACE_INTERRUPT, task->tid, NULL, NULL);
    }
}

/* stay_on_cpu - one processor, the one where the kernel just put the payload, which woke us there:
 * so boxes spread over all of them by load, and a program counts one. A mask that is refused leaves
 * more than one to count. */
static void stay_on_cpu(pid_t tid)
{
    cpu_set_t set;
    int cpu = sched_getcpu();

    CPU_ZERO(&set);
    if (cpu >= 0 && cpu < CPU_SETSIZE) {
        CPU_SET((size_t)cpu, &set);
        (void)sched_setaffinity(tid, sizeof(set), &set);
    }
}

enum nj_answer nj_virtual_exec(struct nj_virtual *v, const struct seccomp_notif *notif,
                               struct seccomp_notif_resp *response)
{
    struct nj_task *task = nj_virtual_stop(v, (pid_t)notif->pid, NJ_TASK_EXEC);
    struct seccomp_notif_addfd add = {.id = notif->id, .srcfd = (uint32_t)v->page_fd};

    (void)response;
    if (!task) {
        if (nj_virtual_is_alive(v, notif)) /* it is being debugged, for one */
            nj_virtual_lower(v, 0, NJ_LOWERED_EXEC);
        return NJ_ANSWER_CONTINUE;
    }
    if (!nj_virtual_is_alive(v, notif)) {
        task->state = NJ_TASK_LEAVE; /* who was seized may be somebody else */
        return NJ_ANSWER_CONTINUE;
    }
    task->is_payload = !v->began;
    if (task->is_payload)
        stay_on_cpu(task->tid);
    task->fd = ioctl(v->listener_fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    return NJ_ANSWER_CONTINUE;
}

/* exec_failed - the old program goes on, without the descriptor */
static void exec_failed(struct nj_virtual *v, struct nj_task *task)
{
    struct user_regs_struct regs;
    struct nj_wait_slot slot;
    uint64_t at;

    if (task->is_payload) { /* closes it itself, and perhaps tries the next directory */
        task->state = NJ_TASK_PAYLOAD;
        (void)ptrace(PTRACE_CONT, task->tid, NULL, NULL);
        return;
    }
    if (task->fd >= 0 && ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) == 0) {
        at = nj_virtual_slot(task->tid, &regs, &slot);
        slot.result = (int64_t)regs.rax;
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

/* put_enter_image - over the vDSO's head; in this process alone, of which it gets a copy */
static bool put_enter_image(pid_t tid, uint64_t at)
{
    for (const uint64_t *word = enter_image; word < enter_image_end; word++, at += sizeof(*word)) {
        if (ptrace(PTRACE_POKETEXT, tid, (void *)(uintptr_t)at, (void *)(uintptr_t)*word) < 0)
            return false;
    }
    return true;
}

/* program_begins - in its one stop. Of its registers all keep what they are given here but rax,
 * where the exec's result goes. */
static bool program_begins(struct nj_virtual *v, struct nj_task *task)
{
    static const uint64_t ours = NJ_LAYOUT_BASE;
    struct auxiliary auxiliary = {0};
    struct user_regs_struct regs;
    struct nj_error ignored; /* what matters is that it was not done */
    uint32_t pid = nj_virtual_pid(v, task->tid);
    uint8_t random[16];

    nj_figures_began(v, task->tid, pid);
    if (task->fd < 0 || ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) < 0 ||
        !read_auxiliary(task->tid, regs.rsp, &auxiliary) ||
        nj_random_bytes(v, pid, random, sizeof(random), &ignored) < 0 ||
        !nj_virtual_write(task->tid, auxiliary.random_at, random, sizeof(random)) ||
        !put_enter_image(task->tid, auxiliary.vdso) ||
        !nj_virtual_write(task->tid, auxiliary.vdso_at, &ours, sizeof(ours)))
        return false;
    regs.r12 = (unsigned)task->fd;
    regs.r13 = regs.rip;
    regs.r14 = NJ_LAYOUT_SET_UP;
    regs.rbx = auxiliary.vdso_at - 8;
    regs.rbp = NJ_CLOCK_NO_IMAGE;
    regs.rip = auxiliary.vdso;
    regs.rdi = NJ_LAYOUT_BASE;
    regs.rsi = NJ_LAYOUT_BYTES;
    regs.rdx = PROT_READ | PROT_EXEC;
    regs.r10 = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
    regs.r8 = (unsigned)task->fd;
    regs.r9 = 0;
    return ptrace(PTRACE_SETREGS, task->tid, NULL, &regs) == 0;
}

/* ---- stops ---- */

/* renamed - the task that came out of exec as @tid; NULL: none of ours */
static struct nj_task *renamed(struct nj_virtual *v, pid_t tid)
{
    struct nj_task *task;
    unsigned long before;

    if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &before) < 0)
        return NULL;
    if ((pid_t)before != tid) {
        task = nj_virtual_find_stopped(v, tid); /* the leader, which is gone */
        if (task)
            drop_task(v, task);
    }
    nj_order_execed(v, (pid_t)before, tid);
    task = nj_virtual_find_stopped(v, (pid_t)before);
    if (task)
        task->tid = tid;
    return task;
}

/* execed - a new program is in its first stop */
static void execed(struct nj_virtual *v, pid_t tid)
{
    struct nj_task *task = renamed(v, tid);

    if (!task || task->state != NJ_TASK_EXEC) {
        /* This stop took back the one that was asked for before. */
        (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
        (void)ptrace(PTRACE_CONT, tid, NULL, NULL);
        return;
    }
    v->began = true;
    nj_programs_began(v, tid);
    if (!program_begins(v, task) && !nj_virtual_is_dying(tid))
        nj_virtual_lower(v, 0, NJ_LOWERED_EXEC);
    nj_virtual_let_go(v, task);
}

static void one_stopped(struct nj_virtual *v, pid_t tid, int status)
{
    int event = status >> 16, signal = WSTOPSIG(status);
    struct nj_task *task;

    if (event == PTRACE_EVENT_EXEC) {
        execed(v, tid);
        return;
    }
    if (nj_order_stopped(v, tid, status))
        return;
    task = nj_virtual_find_stopped(v, tid);
    if (!task) {
        (void)ptrace(PTRACE_DETACH, tid, NULL, (void *)(uintptr_t)(event ? 0u : (unsigned)signal));
    } else if (!event) {
        task->signal = signal; /* not seen here: the asked-for stop comes first */
        nj_virtual_let_go(v, task);
    } else if (task->state == NJ_TASK_EXEC) {
        exec_failed(v, task);
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
