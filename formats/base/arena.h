/*
 * arena.h - all memory of one decoded thing, freed at once
 *
 * Nothing allocated here is freed alone; pointers live until nj_arena_reset() or _done().
 */
#ifndef NJ_BASE_ARENA_H
#define NJ_BASE_ARENA_H

#include <stddef.h>

#include "formats/base/buf.h"

struct nj_arena_block;
struct nj_arena {
    struct nj_arena_block *blocks;
};

void nj_arena_done(struct nj_arena *arena); /* a zeroed arena is valid and empty */
void nj_arena_reset(struct nj_arena *arena);
NJ_DEFINE_AUTO_VAL(struct nj_arena, nj_arena_done);

/* All return NULL when memory is gone (or count * size overflows). Memory is zeroed and aligned to
 * 16 bytes. */
void *nj_arena_alloc(struct nj_arena *arena, size_t bytes);
void *nj_arena_array(struct nj_arena *arena, size_t count, size_t size);
char *nj_arena_text(struct nj_arena *arena, const char *text);
char *nj_arena_span(struct nj_arena *arena, struct nj_span span); /* NUL-terminated copy */
char *nj_arena_printf(struct nj_arena *arena, const char *fmt, ...) NJ_PRINTF(2, 3);

#endif
