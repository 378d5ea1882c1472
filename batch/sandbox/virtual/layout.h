/*
 * layout.h - what supervisor and replacement vDSO share: addresses and the clock page
 *
 * Every followed program has the same four pieces at one fixed address. They lie in the gap that
 * the kernel keeps below the stack, so no other mapping meets them while addresses are not
 * randomised:
 *
 *   NJ_LAYOUT_BASE    image   code, private and read-only
 *   NJ_LAYOUT_SITES   sites   private and read-only, too: the ways from patched calls (patch.c)
 *   NJ_LAYOUT_SLOTS   slots   this process's own, one for each timed wait under way
 *   NJ_LAYOUT_CLOCK   clock   one page, shared by all processes of the call and the supervisor
 *
 * A program may write slots and clock page: it reads its own time there, so it can only spoil its
 * own session's, and the supervisor believes the clock only within bounds (clock.c).
 *
 * Included by the freestanding image: no other header but <stdint.h>, and by its assembly only the
 * macros.
 */
#ifndef NJ_VIRTUAL_LAYOUT_H
#define NJ_VIRTUAL_LAYOUT_H

#define NJ_LAYOUT_BASE 0x7ffffa000000
#define NJ_LAYOUT_IMAGE_BYTES 0x4000
#define NJ_LAYOUT_SITES (NJ_LAYOUT_BASE + NJ_LAYOUT_IMAGE_BYTES)
#define NJ_LAYOUT_SITES_BYTES 0x1000
#define NJ_LAYOUT_SLOTS (NJ_LAYOUT_SITES + NJ_LAYOUT_SITES_BYTES)
#define NJ_LAYOUT_SLOTS_BYTES 0x10000
#define NJ_LAYOUT_CLOCK (NJ_LAYOUT_SLOTS + NJ_LAYOUT_SLOTS_BYTES)
#define NJ_LAYOUT_CLOCK_BYTES 0x1000
#define NJ_LAYOUT_CLOCK_OFFSET                                                                     \
    (NJ_LAYOUT_IMAGE_BYTES + NJ_LAYOUT_SITES_BYTES + NJ_LAYOUT_SLOTS_BYTES)
#define NJ_LAYOUT_BYTES (NJ_LAYOUT_CLOCK_OFFSET + NJ_LAYOUT_CLOCK_BYTES)

/* Entries of the image, placed by its linker script. */
#define NJ_LAYOUT_SET_UP (NJ_LAYOUT_BASE + 0x1000) /* once after exec: maps the rest, starts */
#define NJ_LAYOUT_WAIT (NJ_LAYOUT_BASE + 0x1100)   /* a timed wait, then back */
#define NJ_LAYOUT_WAIT_CALLED (NJ_LAYOUT_WAIT + 2) /* behind its system call */
#define NJ_LAYOUT_UNDO (NJ_LAYOUT_BASE + 0x1200)   /* a call whose result nobody sees, then back */
#define NJ_LAYOUT_STAT (NJ_LAYOUT_BASE + 0x1300)   /* from a patched call, see struct nj_site */
#define NJ_LAYOUT_LOOK                                                                             \
    (NJ_LAYOUT_BASE + 0x1400) /* a stat by the kernel, of which nobody is told                     \
                               */
#define NJ_LAYOUT_LOOK_CALLED (NJ_LAYOUT_LOOK + 2) /* behind its system call */
#define NJ_LAYOUT_ASK (NJ_LAYOUT_BASE + 0x1410)    /* for the times of an inode that changed */
#define NJ_LAYOUT_ASK_CALLED (NJ_LAYOUT_ASK + 2)

/* Offsets into a slot; the structure below is checked against them. */
#define NJ_SLOT_BYTES 256
#define NJ_SLOT_BUSY 0
#define NJ_SLOT_RSP 8
#define NJ_SLOT_RIP 16
#define NJ_SLOT_R15 24
#define NJ_SLOT_RDI 32
#define NJ_SLOT_RSI 40
#define NJ_SLOT_RDX 48
#define NJ_SLOT_R10 56
#define NJ_SLOT_R8 64
#define NJ_SLOT_R9 72
#define NJ_SLOT_RESULT 80
#define NJ_SLOT_TIMED_OUT 88
#define NJ_SLOT_DEADLINE 96
#define NJ_SLOT_REST 104
#define NJ_SLOT_TIME 112

/* Offsets into the clock page. */
#define NJ_CLOCK_NOW 0
#define NJ_CLOCK_WAITED 8

/* Device numbers that programs see of file systems without a device. */
#define NJ_DEVICE_OF_WORKSPACE 40
#define NJ_DEVICE_OF_OTHERS 41

/* Offsets into a way from a patched call: a program goes on at BACK when it was answered, at TRAP
 * to make the call as it was. */
#define NJ_SITE_BACK 2
#define NJ_SITE_TRAP 25
#define NJ_SITE_BYTES 32

/* A clock_gettime() of this clock is a wait's question how long an interrupted one really took. */
#define NJ_CLOCK_INTERRUPTED 0x4e4a0001
/* Of this one it says that a program has no image: there was no room for it. */
#define NJ_CLOCK_NO_IMAGE 0x4e4a0002

#define NJ_CLOCK_STEP_NS                                                                           \
    10000 /* a query moves the clock by this, about what a trapped one takes                       \
           */

/* The monotonic clocks count from here (2023-11-14), so that they never go back between calls. */
#define NJ_CLOCK_BOOT_NS 1700000000000000000

#ifndef __ASSEMBLER__
#include <stdint.h>

/* What was told of an inode. */
struct nj_told {
    uint64_t ino;
    int64_t mtime_ns;
    int64_t ctime_ns;
};

#define NJ_TOLD_MAX 64 /* the newest; who comes too late asks again */

struct nj_clock_page {
    int64_t now_ns;    /* virtual wall clock; only added to, or raised */
    int64_t waited_ns; /* of it, in waits: CPU clocks leave that out */
    int64_t start_ns;  /* of the call */
    int64_t boot_ns;   /* where the monotonic clocks begin */

    /* How the image answers stat(); stat.c says more. */
    uint64_t workspace; /* its device, major << 32 | minor */
    int64_t call_ns;    /* by the kernel's clock: what changed later has its times elsewhere */
    int64_t box_ns;     /* by the kernel's clock: what is newer the box made itself */
    struct nj_told told[NJ_TOLD_MAX];
};

struct nj_wait_slot {
    uint64_t busy; /* the thread (host's number), 0: free */
    uint64_t rsp;  /* at the call: a jump out of a signal handler leaves the slot busy */
    uint64_t rip;  /* to go back to */
    uint64_t r15;
    uint64_t arguments[6]; /* as the program had them: rdi, rsi, rdx, r10, r8, r9 */
    int64_t result;
    int64_t timed_out;   /* the result that means so */
    int64_t deadline_ns; /* the clock is at least here when it did */
    uint64_t rest;       /* address of the caller's remaining time, to become 0; or 0 */
    uint64_t time[4];    /* the timeout that the kernel gets to see */
    int64_t began_ns;    /* CLOCK_MONOTONIC of the host */
    int64_t length_ns;   /* virtual and real */
    uint64_t unused[12];
};
#endif

#endif
