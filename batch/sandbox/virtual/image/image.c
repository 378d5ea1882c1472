/*
 * image.c - the replacement vDSO: a program's clock
 *
 * Compiled freestanding, linked by image.lds into one small shared object, embedded in the
 * supervisor and mapped into each program at exec. The clock answers from one page that all
 * processes of a call share; a query moves it on, so time is a function of what was asked, and no
 * two queries get the same answer. The complication is the assembly below: code that runs in the
 * program but stands for the supervisor, with no stack and no register of its own.
 */
#include <stdint.h>

#include "batch/sandbox/virtual/layout.h"

#include "formats/base/banned.h"

#define TEXT_OF(macro) #macro
#define VALUE(macro) TEXT_OF(macro)

struct time {
    int64_t seconds;
    int64_t fraction;
};

int __vdso_clock_gettime(int clock, struct time *ret);
int __vdso_clock_getres(int clock, struct time *ret);
int __vdso_gettimeofday(struct time *ret, int32_t *zone);
int64_t __vdso_time(int64_t *ret);
int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);

#define PAGE ((struct nj_clock_page *)NJ_LAYOUT_CLOCK)
#define NS_PER_S 1000000000

enum { CALL_GETRES = 229, CALL_GETTIME = 228 };

static int64_t tick(void)
{
    return __atomic_add_fetch(&PAGE->now_ns, NJ_CLOCK_STEP_NS, __ATOMIC_RELAXED);
}

static int ask_supervisor(int number, int clock, struct time *ret)
{
    int64_t result = number;

    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"((int64_t)clock), "S"(ret)
                     : "rcx", "r11", "memory");
    return (int)result;
}

int __vdso_clock_gettime(int clock, struct time *ret)
{
    int64_t now;

    switch (clock) {
    case 0:  /* CLOCK_REALTIME */
    case 5:  /* _COARSE */
    case 8:  /* _ALARM */
    case 11: /* CLOCK_TAI: no host told the kernel about leap seconds */
        now = tick();
        break;
    case 1: /* CLOCK_MONOTONIC */
    case 4: /* _RAW */
    case 6: /* _COARSE */
    case 7: /* CLOCK_BOOTTIME */
    case 9: /* _ALARM */
        now = tick() - PAGE->boot_ns;
        break;
    case 2: /* CLOCK_PROCESS_CPUTIME_ID */
    case 3: /* of the thread */
        now = tick() - PAGE->start_ns - PAGE->waited_ns;
        break;
    default: /* of another process, or none at all */
        return ask_supervisor(CALL_GETTIME, clock, ret);
    }
    if (now < 0)
        now = 0;
    ret->seconds = now / NS_PER_S;
    ret->fraction = now % NS_PER_S;
    return 0;
}

int __vdso_clock_getres(int clock, struct time *ret)
{
    if (clock < 0 || clock > 11 || clock == 10)
        return ask_supervisor(CALL_GETRES, clock, ret);
    if (ret)
        *ret = (struct time){0, 1};
    return 0;
}

int __vdso_gettimeofday(struct time *ret, int32_t *zone)
{
    int64_t now = tick();

    if (ret)
        *ret = (struct time){now / NS_PER_S, now % NS_PER_S / 1000};
    if (zone)
        zone[0] = zone[1] = 0;
    return 0;
}

int64_t __vdso_time(int64_t *ret)
{
    int64_t now = tick() / NS_PER_S;

    if (ret)
        *ret = now;
    return now;
}

int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
    (void)unused;
    if (cpu)
        *cpu = 0;
    if (node)
        *node = 0;
    return 0;
}

/*
 * set_up: the first code of a program, entered from the supervisor's stop after exec with r12 = the
 * descriptor, r13 = the program's entry, and no signal handler in the world (exec.c). It maps slots
 * and clock page over the rest of the first mapping and closes the descriptor; the program starts
 * with registers that are 0, as the kernel leaves them.
 */
__asm__(
    ".pushsection .nj_set_up, \"ax\"\n"
    "mov $9, %eax\n" /* mmap: slots, private, empty */
    "movabs $" VALUE(
        NJ_LAYOUT_SLOTS) ", %rdi\n"
                         "mov $" VALUE(
                             NJ_LAYOUT_SLOTS_BYTES) ", %esi\n"
                                                    "mov $3, %edx\n"
                                                    "mov $0x32, %r10d\n"
                                                    "mov $-1, %r8\n"
                                                    "xor %r9d, %r9d\n"
                                                    "syscall\n"
                                                    "cmp %rdi, %rax\n"
                                                    "jne 1f\n"
                                                    "mov $9, %eax\n" /* mmap: the clock, shared */
                                                    "movabs $" VALUE(
                                                        NJ_LAYOUT_CLOCK) ", %rdi\n"
                                                                         "mov $" VALUE(
                                                                             NJ_LAYOUT_CLOCK_BYTES) ", %esi\n"
                                                                                                    "mov $3, %edx\n"
                                                                                                    "mov $0x11, %r10d\n"
                                                                                                    "mov %r12, %r8\n"
                                                                                                    "mov $" VALUE(
                                                                                                        NJ_LAYOUT_CLOCK_OFFSET) ", %r9d\n"
                                                                                                                                "syscall\n"
                                                                                                                                "cmp %rdi, %rax\n"
                                                                                                                                "jne 1f\n"
                                                                                                                                "mov $3, %eax\n" /* close */
                                                                                                                                "mov %r12, %rdi\n"
                                                                                                                                "syscall\n"
                                                                                                                                "movabs $" VALUE(
                                                                                                                                    NJ_LAYOUT_SLOTS) ", %rax\n"
                                                                                                                                                     "mov %r13, " VALUE(
                                                                                                                                                         NJ_SLOT_TIME) "(%rax)\n" /* the jump below needs no register */
                                                                                                                                                                       "xor %eax, %eax\n"
                                                                                                                                                                       "xor %ecx, %ecx\n"
                                                                                                                                                                       "xor %edx, %edx\n"
                                                                                                                                                                       "xor %esi, %esi\n"
                                                                                                                                                                       "xor %edi, %edi\n"
                                                                                                                                                                       "xor %r8d, %r8d\n"
                                                                                                                                                                       "xor %r9d, %r9d\n"
                                                                                                                                                                       "xor %r10d, %r10d\n"
                                                                                                                                                                       "xor %r11d, %r11d\n"
                                                                                                                                                                       "xor %r12d, %r12d\n"
                                                                                                                                                                       "xor %r13d, %r13d\n"
                                                                                                                                                                       "xor %r14d, %r14d\n"
                                                                                                                                                                       "xor %ebx, %ebx\n"
                                                                                                                                                                       "xor %ebp, %ebp\n"
                                                                                                                                                                       "jmp *nj_slots_here(%rip)\n"
                                                                                                                                                                       "1: ud2\n" /* no memory for 36 KiB: there is nothing to go on with */
                                                                                                                                                                       ".popsection\n");

/*
 * wait: entered in place of a timed wait's return, registers as the call wants them and r15 = the
 * slot. After the call: when it timed out the clock is raised to the deadline, when a signal
 * interrupted it the supervisor says how far time went; then everything is as the program knows it
 * from a system call, and on it goes. undo: the same way back, for a call of the supervisor's own.
 * A signal may come at any point: all state is in the slot, which stays taken until the end.
 */
__asm__(
    ".pushsection .nj_wait, \"ax\"\n"
    "syscall\n"
    "mov %rax, " VALUE(NJ_SLOT_RESULT) "(%r15)\n"
                                       "cmp %rax, " VALUE(NJ_SLOT_TIMED_OUT) "(%r15)\n"
                                                                             "jne 3f\n"
                                                                             "mov " VALUE(
                                                                                 NJ_SLOT_DEADLINE) "(%r15), %rcx\n"
                                                                                                   "movabs $" VALUE(NJ_LAYOUT_CLOCK) ", %r11\n"
                                                                                                                                     "mov " VALUE(
                                                                                                                                         NJ_CLOCK_NOW) "(%r11), %rax\n"
                                                                                                                                                       "1: cmp %rcx, %rax\n"
                                                                                                                                                       "jge 2f\n"
                                                                                                                                                       "lock cmpxchg %rcx, " VALUE(NJ_CLOCK_NOW) "(%r11)\n"
                                                                                                                                                                                                 "jne 1b\n"
                                                                                                                                                                                                 "sub %rax, %rcx\n"
                                                                                                                                                                                                 "lock add %rcx, " VALUE(NJ_CLOCK_WAITED) "(%r11)\n"
                                                                                                                                                                                                                                          "2: mov " VALUE(NJ_SLOT_REST) "(%r15), %rcx\n"
                                                                                                                                                                                                                                                                        "test %rcx, %rcx\n"
                                                                                                                                                                                                                                                                        "jz 4f\n"
                                                                                                                                                                                                                                                                        "movq $0, (%rcx)\n"
                                                                                                                                                                                                                                                                        "movq $0, 8(%rcx)\n"
                                                                                                                                                                                                                                                                        "jmp 4f\n"
                                                                                                                                                                                                                                                                        "3: cmp $-4, %rax\n" /* -EINTR */
                                                                                                                                                                                                                                                                        "jne 4f\n"
                                                                                                                                                                                                                                                                        "mov $228, %eax\n" /* clock_gettime */
                                                                                                                                                                                                                                                                        "mov $" VALUE(
                                                                                                                                                                                                                                                                            NJ_CLOCK_INTERRUPTED) ", %edi\n"
                                                                                                                                                                                                                                                                                                  "mov %r15, %rsi\n"
                                                                                                                                                                                                                                                                                                  "syscall\n"
                                                                                                                                                                                                                                                                                                  ".global nj_wait_back\n.hidden nj_wait_back\nnj_wait_back:\n"
                                                                                                                                                                                                                                                                                                  "4: mov " VALUE(NJ_SLOT_RESULT) "(%r15), %rax\n"
                                                                                                                                                                                                                                                                                                                                  "mov " VALUE(
                                                                                                                                                                                                                                                                                                                                      NJ_SLOT_RDI) "(%r15), %rdi\n"
                                                                                                                                                                                                                                                                                                                                                   "mov " VALUE(NJ_SLOT_RSI) "(%r15), %rsi\n"
                                                                                                                                                                                                                                                                                                                                                                             "mov " VALUE(NJ_SLOT_RDX) "(%r15), %rdx\n"
                                                                                                                                                                                                                                                                                                                                                                                                       "mov " VALUE(NJ_SLOT_R10) "(%r15), %r10\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                 "mov " VALUE(NJ_SLOT_R8) "(%r15), %r8\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                          "mov " VALUE(
                                                                                                                                                                                                                                                                                                                                                                                                                                                              NJ_SLOT_R9) "(%r15), %r9\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "mov " VALUE(NJ_SLOT_RIP) "(%r15), %rcx\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "mov " VALUE(NJ_SLOT_R15) "(%r15), %r11\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "movq $0, " VALUE(NJ_SLOT_BUSY) "(%r15)\n" /* the slot is another's from here */
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "mov %r11, %r15\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "jmp *%rcx\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              ".popsection\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              ".pushsection .nj_undo, \"ax\"\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "syscall\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "jmp nj_wait_back\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              ".popsection\n");
