/*
 * look.c - stat() without the supervisor: the program asks the kernel and is told what the
 * supervisor would tell
 *
 * At a program's third notified stat the supervisor turns the call's instruction into a jump to
 * here (patch.c). The call is then made from an instruction of the image, which nobody is told of,
 * and what the kernel answered is rewritten in place. That is possible because nearly all that a
 * program looks at did not change in this call: then the inode itself carries what is to be told,
 * the ctime in the place of the atime. What did change has, by the kernel's own clock, a ctime
 * within this call; of such an inode the supervisor is asked the times, which it leaves in the
 * clock page. In every other case the call is made once more as it was, and the supervisor answers
 * it. All ways tell the same (show() in stat.c).
 *
 * The complication is that this runs in the midst of a function that believes to make a system
 * call: it has the caller's stack below the red zone, and every register but those that a call
 * spoils is put back. It holds nothing else, so threads, signals and jumps out of their handlers
 * are no matter.
 */
#include <stdbool.h>
#include <stdint.h>

#include "batch/sandbox/virtual/layout.h"

#include "formats/base/banned.h"

#define TEXT_OF(macro) #macro
#define VALUE(macro) TEXT_OF(macro)
#define PAGE ((const struct nj_clock_page *)NJ_LAYOUT_CLOCK)
#define NS_PER_S 1000000000
#define FILE_TYPE 0170000
#define FILE_PLAIN_FOR_ALL 0100666
#define FILE_CHARACTERS 0020000
#define STATX_BASIC_STATS 0x7ffu

enum { CALL_FSTAT = 5, CALL_NEWFSTATAT = 262, CALL_STATX = 332 };

/* As the assembly below pushes it. */
struct frame {
    uint64_t back; /* where the program goes on */
    uint64_t r9, r8, r10, rdx, rsi, rdi;
    uint64_t rax; /* the call's number, then its result */
};

struct time {
    int64_t seconds;
    int64_t ns;
};

struct stat {
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, blksize, blocks;
    struct time accessed, modified, changed;
    int64_t unused[3];
};

struct statx_time {
    int64_t seconds;
    uint32_t ns;
    int32_t pad;
};

struct statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    struct statx_time accessed, born, changed, modified;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t rest[14];
};

_Static_assert(sizeof(struct stat) == 144 && sizeof(struct statx) == 256, "as the kernel has them");

/* What either structure says, for one judgement. */
struct seen {
    uint64_t device; /* major << 32 | minor */
    uint64_t ino;
    uint32_t mode;
    int64_t size;
    struct time modified, changed;
};

enum told {
    TOLD_ELSEWHERE, /* the supervisor is to answer the call */
    TOLD_ASKED,     /* the times are in struct seen by now */
    TOLD_CARRIED,   /* by the inode itself */
    TOLD_MTIME,     /* which stands for all times */
    TOLD_START,     /* of the call stands for all times */
};

static bool is_since(const struct time *time, int64_t ns)
{
    int64_t seconds = ns / NS_PER_S;

    return time->seconds > seconds || (time->seconds == seconds && time->ns >= ns % NS_PER_S);
}

/* time_of - as time_of() of stat.c: from 0 to 999,999,999 ns behind the second */
static struct time time_of(int64_t ns)
{
    struct time time = {ns / NS_PER_S, ns % NS_PER_S};

    if (time.ns < 0) {
        time.seconds--;
        time.ns += NS_PER_S;
    }
    return time;
}

/* ask - the supervisor, of a changed inode; false: it does not say */
static bool ask(struct seen *seen)
{
    int64_t result = CALL_FSTAT, mtime_ns;
    const struct nj_told *told;

    if (__builtin_mul_overflow(seen->modified.seconds, (int64_t)NS_PER_S, &mtime_ns) ||
        __builtin_add_overflow(mtime_ns, seen->modified.ns, &mtime_ns))
        return false;
    __asm__ volatile("call nj_ask"
                     : "+a"(result)
                     : "D"(-1L), "S"(seen->ino), "d"(mtime_ns)
                     : "rcx", "r11", "memory");
    if (result < 0 || result >= NJ_TOLD_MAX)
        return false;
    told = &PAGE->told[result];
    seen->modified = time_of(told->mtime_ns);
    seen->changed = time_of(told->ctime_ns);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return told->ino == seen->ino; /* else this one of many threads was late */
}

static enum told judge(struct seen *seen)
{
    if (seen->device == PAGE->workspace)
        return !is_since(&seen->changed, PAGE->call_ns) ? TOLD_CARRIED
               : ask(seen)                              ? TOLD_ASKED
                                                        : TOLD_ELSEWHERE;
    /* It may be one of the random devices that the supervisor makes up. */
    if (seen->device >> 32 == 0 && seen->mode == FILE_PLAIN_FOR_ALL && seen->size == 0 &&
        seen->modified.seconds == 0)
        return TOLD_ELSEWHERE;
    if ((seen->mode & FILE_TYPE) == FILE_CHARACTERS || is_since(&seen->modified, PAGE->box_ns))
        return TOLD_START;
    return TOLD_MTIME;
}

static uint32_t shown_minor(uint64_t device)
{
    return device == PAGE->workspace ? NJ_DEVICE_OF_WORKSPACE : NJ_DEVICE_OF_OTHERS;
}

static bool show_stat(struct stat *st)
{
    struct seen seen = {
        /* new_encode_dev() of the kernel */
        .device = (st->dev & 0xfff00) << 24 | (st->dev & 0xff) | (st->dev >> 12 & 0xfff00),
        .ino = st->ino,
        .mode = st->mode,
        .size = st->size,
        .modified = st->modified,
        .changed = st->changed,
    };
    enum told told = judge(&seen);

    if (told == TOLD_ELSEWHERE)
        return false;
    if (told == TOLD_START)
        seen.modified = time_of(PAGE->start_ns);
    if (told == TOLD_CARRIED)
        seen.changed = st->accessed;
    else if (told != TOLD_ASKED)
        seen.changed = seen.modified;
    st->accessed = st->modified = seen.modified;
    st->changed = seen.changed;
    if (seen.device >> 32 == 0)
        st->dev = shown_minor(seen.device);
    return true;
}

static struct statx_time statx_time(const struct time *time)
{
    return (struct statx_time){time->seconds, (uint32_t)time->ns, 0};
}

static bool show_statx(struct statx *x)
{
    struct seen seen = {
        .device = (uint64_t)x->dev_major << 32 | x->dev_minor,
        .ino = x->ino,
        .mode = x->mode,
        .size = (int64_t)x->size,
        .modified = {x->modified.seconds, x->modified.ns},
        .changed = {x->changed.seconds, x->changed.ns},
    };
    enum told told = judge(&seen);

    if (told == TOLD_ELSEWHERE)
        return false;
    if (told == TOLD_START)
        seen.modified = time_of(PAGE->start_ns);
    if (told == TOLD_CARRIED)
        seen.changed = (struct time){x->accessed.seconds, x->accessed.ns};
    else if (told != TOLD_ASKED)
        seen.changed = seen.modified;
    x->accessed = x->modified = statx_time(&seen.modified);
    x->changed = statx_time(&seen.changed);
    x->born = (struct statx_time){0, 0, 0};
    x->mask &= STATX_BASIC_STATS;
    if (seen.device >> 32 == 0)
        x->dev_minor = shown_minor(seen.device);
    for (unsigned i = 0; i < 14; i++)
        x->rest[i] = 0; /* numbers of mounts, and what kernels to come will tell */
    return true;
}

static int64_t look(const struct frame *frame)
{
    register uint64_t r10 __asm__("r10") = frame->r10;
    register uint64_t r8 __asm__("r8") = frame->r8;
    int64_t result = (int64_t)frame->rax;

    __asm__ volatile("call nj_look"
                     : "+a"(result)
                     : "D"(frame->rdi), "S"(frame->rsi), "d"(frame->rdx), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

bool nj_image_stat(struct frame *frame);

/* nj_image_stat - false: the call is to be made as it was */
__attribute__((visibility("hidden"), used)) bool nj_image_stat(struct frame *frame)
{
    int64_t result = look(frame);
    bool shown;

    if (result == 0) {
        if (frame->rax == CALL_STATX)
            shown = show_statx((struct statx *)frame->r8);
        else
            shown =
                show_stat((struct stat *)(frame->rax == CALL_NEWFSTATAT ? frame->rdx : frame->rsi));
        if (!shown)
            return false;
    }
    frame->rax = (uint64_t)result;
    return true;
}

/*
 * stat: entered from a patched call with everything as the call wants it, but rcx = the BACK of its
 * site. Another call at the same place (of a C library's syscall()) is made as it was. look: the
 * instruction that the filter lets through. ask: one by which the supervisor knows what is asked.
 */
__asm__(".pushsection .nj_stat, \"ax\"\n"
        "cmp $262, %eax\n" /* newfstatat, statx */
        "je 2f\n"
        "cmp $332, %eax\n"
        "je 2f\n"
        "cmp $4, %eax\n" /* stat, fstat, lstat */
        "jb 1f\n"
        "cmp $6, %eax\n"
        "jbe 2f\n"
        "1: lea (" VALUE(NJ_SITE_TRAP) " - " VALUE(
            NJ_SITE_BACK) ")(%rcx), %rcx\n"
                          "jmp *%rcx\n"
                          "2: lea -128(%rsp), %rsp\n" /* behind the red zone */
                          "push %rax\n"
                          "push %rdi\n"
                          "push %rsi\n"
                          "push %rdx\n"
                          "push %r10\n"
                          "push %r8\n"
                          "push %r9\n"
                          "push %rcx\n"
                          "mov %rsp, %rdi\n"
                          "call nj_image_stat\n"
                          "test %al, %al\n"
                          "pop %rcx\n"
                          "pop %r9\n"
                          "pop %r8\n"
                          "pop %r10\n"
                          "pop %rdx\n"
                          "pop %rsi\n"
                          "pop %rdi\n"
                          "pop %rax\n"
                          "lea 128(%rsp), %rsp\n"
                          "jz 1b\n"
                          "jmp *%rcx\n"
                          ".popsection\n"
                          ".pushsection .nj_look, \"ax\"\n"
                          ".global nj_look\n.hidden nj_look\nnj_look:\n"
                          "syscall\n"
                          "ret\n"
                          ".balign 16\n" /* NJ_LAYOUT_ASK */
                          ".global nj_ask\n.hidden nj_ask\nnj_ask:\n"
                          "syscall\n"
                          "ret\n"
                          ".popsection\n");
