/*
 * instructions.c - searching code for rdtsc, rdrand and rdseed without decoding it
 *
 * Two or three bytes turn up by chance in any megabyte of code. So what must stand behind them is
 * looked for, too: the shift that joins a counter's halves, and a question about the carry flag,
 * by which rdrand and rdseed tell whether they had a number. Careless programs do not ask; they are
 * told by the prefix of 64 bits, with which it is four bytes.
 */
#include "batch/sandbox/instructions.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define PIECE_BYTES 65536u
#define REACH_BYTES 32u /* what is looked at around an instruction */
#define SEGMENTS_MAX 64u

static const char random_device[] = "_ZNSt13random_device"; /* its members, as a linker sees them */

const char *nj_holds_word(unsigned holds)
{
    switch (holds) {
    case NJ_HOLDS_RDTSC:
        return "rdtsc";
    case NJ_HOLDS_RDRAND:
        return "rdrand";
    case NJ_HOLDS_RDSEED:
        return "rdseed";
    case NJ_HOLDS_RANDOM_DEVICE:
        return "std::random_device";
    }
    return "?";
}

/* is_behind_counter - whether the shift that joins the counter's halves stands behind rdtsc(p) */
static bool is_behind_counter(const uint8_t *shift, size_t before)
{
    if (before >= 2 && memcmp(shift - 2, "\x0f\x31", 2) == 0)
        return true;
    if (before >= 5 && memcmp(shift - 5, "\x0f\x31", 2) == 0) /* a register is moved between */
        return true;
    for (size_t n = 3; n <= 16 && n <= before; n++) {
        if (memcmp(shift - n, "\x0f\x01\xf9", 3) == 0)
            return true;
    }
    return false;
}

static bool holds_counter(const uint8_t *code, size_t len)
{
    static const uint8_t shift[] = {0x48, 0xc1, 0xe2, 0x20}; /* shl $32, %rdx */
    const uint8_t *at = code;

    while ((at = memmem(at, len - (size_t)(at - code), shift, sizeof(shift)))) {
        if (is_behind_counter(at, (size_t)(at - code)))
            return true;
        at++;
    }
    return false;
}

/* asks_carry - jc, jnc, setc, setnc, cmovc, cmovnc, sbb or adc of a register with itself */
static bool asks_carry(const uint8_t *code, size_t len)
{
    for (size_t i = 0; i < len && i < 4; i++) {
        if (code[i] == 0x72 || code[i] == 0x73)
            return true;
    }
    for (size_t i = 0; i + 1 < len && i < 20; i++) {
        if (code[i] == 0x0f && (code[i + 1] == 0x92 || code[i + 1] == 0x93 || code[i + 1] == 0x42 ||
                                code[i + 1] == 0x43 || code[i + 1] == 0x82 || code[i + 1] == 0x83))
            return true;
    }
    return false;
}

static unsigned holds_randomness(const uint8_t *code, size_t len)
{
    static const uint8_t group[] = {0x0f, 0xc7}; /* with a register: rdrand /6, rdseed /7 */
    const uint8_t *at = code;
    unsigned holds = 0;

    while ((at = memmem(at, len - (size_t)(at - code), group, sizeof(group)))) {
        size_t rest = len - (size_t)(at - code);
        bool is_rdpid = at > code && at[-1] == 0xf3;
        bool is_wide = at > code && (at[-1] == 0x48 || at[-1] == 0x49);

        if (rest > 3 && at[2] >= 0xf0 && !is_rdpid && (is_wide || asks_carry(at + 3, rest - 3)))
            holds |= at[2] < 0xf8 ? NJ_HOLDS_RDRAND : NJ_HOLDS_RDSEED;
        at++;
    }
    return holds;
}

struct segments {
    Elf64_Phdr part[SEGMENTS_MAX];
    size_t n;
};

static bool read_segments(int fd, struct segments *ret)
{
    Elf64_Ehdr head;

    if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_machine != EM_X86_64 || head.e_phentsize != sizeof(*ret->part) ||
        head.e_phoff > INT64_MAX)
        return false;
    ret->n = head.e_phnum < SEGMENTS_MAX ? head.e_phnum : SEGMENTS_MAX;
    return pread(fd, ret->part, ret->n * sizeof(*ret->part), (off_t)head.e_phoff) ==
           (ssize_t)(ret->n * sizeof(*ret->part));
}

/* holds_code - @piece stands at @at in the file; where of it is code */
static unsigned holds_code(const struct segments *segments, const uint8_t *piece, uint64_t at,
                           size_t len)
{
    unsigned holds = 0;

    for (size_t i = 0; i < segments->n; i++) {
        const Elf64_Phdr *part = &segments->part[i];
        uint64_t from = part->p_offset > at ? part->p_offset : at;
        uint64_t to = at + len;

        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) ||
            part->p_filesz > UINT64_MAX - part->p_offset)
            continue;
        if (to > part->p_offset + part->p_filesz)
            to = part->p_offset + part->p_filesz;
        if (from >= to)
            continue;
        holds |= holds_counter(piece + (from - at), (size_t)(to - from)) ? NJ_HOLDS_RDTSC : 0;
        holds |= holds_randomness(piece + (from - at), (size_t)(to - from));
    }
    return holds;
}

unsigned nj_instructions_seek(int fd, uint64_t max_bytes)
{
    static uint8_t piece[REACH_BYTES + PIECE_BYTES];
    static struct segments segments;
    unsigned holds = 0;
    size_t kept = 0;
    ssize_t n;

    if (!read_segments(fd, &segments))
        return 0;
    for (uint64_t done = 0; done < max_bytes; done += (uint64_t)n) {
        size_t len;

        n = pread(fd, piece + kept, PIECE_BYTES, (off_t)done);
        if (n <= 0)
            break;
        len = kept + (size_t)n;
        holds |= holds_code(&segments, piece, done - kept, len);
        if (memmem(piece, len, random_device, sizeof(random_device) - 1))
            holds |= NJ_HOLDS_RANDOM_DEVICE;
        kept = len < REACH_BYTES ? len : REACH_BYTES;
        memmove(piece, piece + len - kept, kept);
    }
    return holds;
}
