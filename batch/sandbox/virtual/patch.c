/*
 * patch.c - calls that a program makes often are led into the image
 *
 * A notification costs some 15 us, the call itself less than one. So at the third notified stat of
 * a program, and each behind it, the instruction that it came from is replaced, in this process's
 * own copy of its text, by a jump to the image, which makes the call without us (image/look.c).
 * What is recognised is the end of a C library's wrapper, eight or seven bytes:
 *
 *   syscall; cmp $-4096 or -4095, %rax    becomes    xor %ecx, %ecx; jmp way; nop
 *   syscall; cmp $-4096, %eax                        xor %ecx, %ecx; jmp way
 *
 * and the way, one for each such site, lies on the sites' page beside the image:
 *
 *   way:   jrcxz 1f            the kernel leaves a return address in rcx
 *   back:  cmp ..., %rax       as it was
 *          jmp site's end
 *   1:     lea back, %rcx
 *          jmp NJ_LAYOUT_STAT
 *   trap:  syscall             the call as it was, told to us
 *          jmp back
 *
 * The complication is the task that waits in that very call, and returns between the first and the
 * second of the new instructions: with rcx set, and so to what comes behind a call. That is why
 * both instructions begin where the old ones did, and no register or stack of the program is
 * needed. The bytes are replaced only while nobody can run them: the process has one thread, and
 * does not share its memory with its parent, as a vfork() does. Forks inherit all of it, an exec
 * starts anew. Any other site stays notified: the answers are the same, only later. A program that
 * reads its own text sees the difference.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "batch/sandbox/virtual/proc.h"
#include "formats/base/bytes.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define SITES_MAX (NJ_LAYOUT_SITES_BYTES / NJ_SITE_BYTES - 1) /* the first place counts them */
#define CALL_BYTES 2                                          /* of the instruction syscall */
#define FREQUENT 3

static const uint8_t call_bytes[CALL_BYTES] = {0x0f, 0x05};

/* The comparisons that are recognised. */
static const struct comparison {
    uint8_t bytes[6];
    uint8_t len;
} comparisons[] = {
    {{0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff}, 6}, /* cmp $-4096, %rax */
    {{0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff}, 6},
    {{0x3d, 0x00, 0xf0, 0xff, 0xff}, 5}, /* cmp $-4096, %eax */
    {{0x3d, 0x01, 0xf0, 0xff, 0xff}, 5},
};

bool nj_patch_is_possible(void)
{
    uint64_t rcx = 0;
    long result = SYS_getpid;
    const char *off = getenv("NJ_TEST_PATCH");

    if (off && strcmp(off, "0") == 0)
        return false;
    /* With event delivery of newer processors (FRED) a call may leave rcx as it was. */
    __asm__ volatile("syscall" : "+a"(result), "+c"(rcx) : : "r11", "memory");
    return rcx != 0;
}

static const struct comparison *recognise(const uint8_t *code)
{
    if (memcmp(code, call_bytes, sizeof(call_bytes)) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
        if (memcmp(code + CALL_BYTES, comparisons[i].bytes, comparisons[i].len) == 0)
            return &comparisons[i];
    }
    return NULL;
}

/* put_relative - the distance from behind the four bytes at @code, which run at @at; false: too far
 */
static bool put_relative(uint8_t *code, uint64_t at, uint64_t target)
{
    int64_t distance = (int64_t)(target - (at + 4));

    nj_store_u32le(code, (uint32_t)distance);
    return distance == (int32_t)distance;
}

/* make_way - the code at @way_at for the call at @site_at, and what stands there instead */
static bool make_way(uint64_t way_at, uint64_t site_at, const struct comparison *comparison,
                     uint8_t way[NJ_SITE_BYTES], uint8_t site[CALL_BYTES + 6])
{
    memset(way, 0x90, NJ_SITE_BYTES); /* nop */
    memcpy(way, (uint8_t[]){0xe3, 11}, 2);
    memcpy(way + NJ_SITE_BACK, comparison->bytes, comparison->len);
    way[8] = 0xe9;
    memcpy(way + 13, (uint8_t[]){0x48, 0x8d, 0x0d}, 3);
    way[20] = 0xe9;
    memcpy(way + NJ_SITE_TRAP, (uint8_t[]){0x0f, 0x05, 0xeb, (uint8_t)(NJ_SITE_BACK - 29)}, 4);
    memset(site, 0x90, CALL_BYTES + 6);
    memcpy(site, (uint8_t[]){0x31, 0xc9, 0xe9}, 3);
    return put_relative(way + 9, way_at + 9, site_at + CALL_BYTES + comparison->len) &&
           put_relative(way + 16, way_at + 16, way_at + NJ_SITE_BACK) &&
           put_relative(way + 21, way_at + 21, NJ_LAYOUT_STAT) &&
           put_relative(site + 3, site_at + 3, way_at);
}

/* is_alone - one thread, and memory that the parent does not have as well */
static bool is_alone(const struct nj_virtual *v, pid_t tid)
{
    char status[NJ_PROC_STATUS_BYTES];
    long parent, order;

    if (!nj_proc_read(v, tid, "status", status, sizeof(status)))
        return false;
    parent = nj_proc_number(status, "\nPPid:");
    if (nj_proc_number(status, "\nThreads:") != 1 || parent <= 0)
        return false;
    /* Whose memory we may not look at has another than the task's: init, for one. */
    order = syscall(SYS_kcmp, tid, (pid_t)parent, KCMP_VM, 0, 0);
    return order > 0 || (order < 0 && errno == EPERM);
}

/* is_text - the program itself cannot write there. What is forced into such memory goes into a
 * copy of the process's own; into a writable mapping of a file it would go into the file. */
static bool is_text(pid_t tid, uint64_t at)
{
    uint8_t byte;

    return nj_virtual_read(tid, at, &byte, 1) && !nj_virtual_write(tid, at, &byte, 1);
}

static bool force(int fd, uint64_t at, const void *data, size_t len)
{
    return pwrite(fd, data, len, (off_t)at) == (ssize_t)len;
}

/* is_frequent - what is to be asked and written costs about two notifications, and most programs
 * that end soon make no more: their loader looks at two libraries. */
static bool is_frequent(struct nj_virtual *v, pid_t tid)
{
    struct nj_told_task *task = &v->told[(unsigned)tid % NJ_VIRTUAL_TOLD_MAX];

    if (task->tid != tid)
        *task = (struct nj_told_task){.tid = tid};
    return ++task->n >= FREQUENT;
}

void nj_patch_site(struct nj_virtual *v, const struct seccomp_notif *notif)
{
    const pid_t tid = (pid_t)notif->pid;
    const uint64_t site_at = notif->data.instruction_pointer - CALL_BYTES;
    uint8_t code[CALL_BYTES + 6], way[NJ_SITE_BYTES], site[CALL_BYTES + 6];
    const struct comparison *comparison;
    nj_auto_close int fd = -1;
    char name[32];
    uint64_t n, way_at;

    if (!v->patches || site_at - NJ_LAYOUT_BASE < NJ_LAYOUT_BYTES || !is_frequent(v, tid))
        return;
    if (!nj_virtual_read(tid, site_at, code, sizeof(code)))
        return;
    comparison = recognise(code);
    if (!comparison || !nj_virtual_read(tid, NJ_LAYOUT_SITES, &n, sizeof(n)) || n >= SITES_MAX)
        return;
    way_at = NJ_LAYOUT_SITES + (n + 1) * NJ_SITE_BYTES;
    if (!make_way(way_at, site_at, comparison, way, site) || !is_alone(v, tid) ||
        !is_text(tid, site_at) || !is_text(tid, site_at + CALL_BYTES + comparison->len - 1) ||
        !is_text(tid, NJ_LAYOUT_SITES))
        return;
    (void)snprintf(name, sizeof(name), "%d/mem", tid); /* fits */
    fd = openat(v->proc_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || !nj_virtual_is_alive(v, notif))
        return;
    n++;
    if (force(fd, way_at, way, sizeof(way)) && force(fd, NJ_LAYOUT_SITES, &n, sizeof(n)))
        (void)force(fd, site_at, site, (size_t)CALL_BYTES + comparison->len);
}
