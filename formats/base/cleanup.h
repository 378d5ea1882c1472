/*
 * cleanup.h - resources that free themselves when a function returns
 *
 * Declare with a cleanup and an empty value, fill, and nj_steal_*() on the last lines; then an
 * early return is always right. Every type with a destructor declares it with NJ_DEFINE_AUTO.
 */
#ifndef NJ_BASE_CLEANUP_H
#define NJ_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* NJ_AUTO(nj_x_free) struct nj_x *x = NULL;  or  NJ_AUTO(nj_buf_done) struct nj_buf buf = {0}; */
#define NJ_AUTO(fn) __attribute__((cleanup(fn##_auto)))

/* For heap objects: fn takes T * and accepts NULL. */
#define NJ_DEFINE_AUTO_PTR(type, fn)                                                               \
    static inline void fn##_auto(type **object)                                                    \
    {                                                                                              \
        fn(*object);                                                                               \
    }                                                                                              \
    struct nj_swallow_semicolon

/* For embedded objects: fn takes T * of an initialised or zeroed object. */
#define NJ_DEFINE_AUTO_VAL(type, fn)                                                               \
    static inline void fn##_auto(type *object)                                                     \
    {                                                                                              \
        fn(object);                                                                                \
    }                                                                                              \
    struct nj_swallow_semicolon

static inline void nj_free_auto(void *pointer)
{
    free(*(void **)pointer);
}

static inline void nj_close_auto(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* the writers that care sync first; nothing is learnt here */
}

static inline void nj_fclose_auto(FILE **file)
{
    if (*file)
        (void)fclose(*file);
}

#define nj_auto_free __attribute__((cleanup(nj_free_auto)))
#define nj_auto_close __attribute__((cleanup(nj_close_auto)))
#define nj_auto_fclose __attribute__((cleanup(nj_fclose_auto)))

/* nj_steal_ptr - hand the pointer over and leave NULL behind */
#define nj_steal_ptr(pointer_address)                                                              \
    (__extension__({                                                                               \
        __typeof__(*(pointer_address)) stolen_ = *(pointer_address);                               \
        *(pointer_address) = NULL;                                                                 \
        stolen_;                                                                                   \
    }))

static inline int nj_steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

#endif
