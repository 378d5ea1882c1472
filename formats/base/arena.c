/*
 * arena.c - blocks of zeroed memory, newest first
 *
 * Blocks double in size, so that a frame of any size costs few calls of malloc. A piece that would
 * waste most of a block gets one of its own, behind the block in use.
 */
#include "formats/base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "formats/base/bytes.h"

#include "formats/base/banned.h"

#define ALIGN_BYTES ((size_t)16)
#define FIRST_BLOCK_BYTES ((size_t)256)
#define BLOCK_MAX_BYTES ((size_t)64 << 10)

struct nj_arena_block {
    struct nj_arena_block *next;
    size_t used;
    size_t size;
    _Alignas(16) uint8_t data[];
};

static_assert(offsetof(struct nj_arena_block, data) % ALIGN_BYTES == 0,
              "data begins where calloc's alignment keeps it aligned");

void nj_arena_done(struct nj_arena *arena)
{
    if (!arena)
        return;
    while (arena->blocks) {
        struct nj_arena_block *next = arena->blocks->next;

        free(arena->blocks);
        arena->blocks = next;
    }
}

void nj_arena_reset(struct nj_arena *arena)
{
    struct nj_arena_block *keep = arena->blocks;

    /* The block in use is kept for the next round: a loop over frames then allocates nothing. */
    if (keep && keep->size <= BLOCK_MAX_BYTES) {
        arena->blocks = nj_steal_ptr(&keep->next);
        nj_arena_done(arena);
        memset(keep->data, 0, keep->used);
        keep->used = 0;
        arena->blocks = keep;
        return;
    }
    nj_arena_done(arena);
}

static struct nj_arena_block *block_new(size_t size)
{
    struct nj_arena_block *block;
    size_t total;

    if (nj_add_overflows(size, sizeof(*block), &total))
        return NULL;
    block = calloc(1, total);
    if (block)
        block->size = size;
    return block;
}

void *nj_arena_alloc(struct nj_arena *arena, size_t bytes)
{
    struct nj_arena_block *block = arena->blocks;
    size_t size, grown;
    void *piece;

    if (nj_add_overflows(bytes ? bytes : 1, ALIGN_BYTES - 1, &size))
        return NULL;
    size &= ~(ALIGN_BYTES - 1);

    if (!block || block->size - block->used < size) {
        grown = block && block->size < BLOCK_MAX_BYTES ? block->size * 2 : FIRST_BLOCK_BYTES;
        if (block && block->size >= BLOCK_MAX_BYTES)
            grown = BLOCK_MAX_BYTES;
        if (size > grown / 2) {
            struct nj_arena_block *own = block_new(size);

            if (!own)
                return NULL;
            own->used = size;
            if (block) {
                own->next = block->next;
                block->next = own;
            } else {
                arena->blocks = own;
            }
            return own->data;
        }
        block = block_new(grown);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    piece = block->data + block->used;
    block->used += size;
    return piece;
}

void *nj_arena_array(struct nj_arena *arena, size_t count, size_t size)
{
    size_t bytes;

    if (nj_mul_overflows(count, size, &bytes))
        return NULL;
    return nj_arena_alloc(arena, bytes);
}

char *nj_arena_span(struct nj_arena *arena, struct nj_span span)
{
    char *copy;
    size_t size;

    if (nj_add_overflows(span.len, 1, &size))
        return NULL;
    copy = nj_arena_alloc(arena, size);
    if (copy && span.len > 0)
        memcpy(copy, span.data, span.len);
    return copy;
}

char *nj_arena_text(struct nj_arena *arena, const char *text)
{
    return nj_arena_span(arena, nj_span_text(text));
}

char *nj_arena_printf(struct nj_arena *arena, const char *fmt, ...)
{
    char small[256];
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (len < 0)
        return NULL;
    text = nj_arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    if ((size_t)len < sizeof(small)) {
        memcpy(text, small, (size_t)len + 1);
        return text;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}
