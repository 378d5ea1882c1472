/*
 * spool.h - bytes that may become many: in memory while they are few, in an unlinked file beyond
 *
 * Nothing of it is ever visible under a name, and nothing survives the process.
 *
 * A process that will not be able to open files later (batch/engine/confine.h) reserves one before:
 * nj_spool_reserve(). Each spool that outgrows memory then takes a region of that file, and gives
 * its blocks back when it is done.
 */
#ifndef NJ_BUNDLE_SPOOL_H
#define NJ_BUNDLE_SPOOL_H

#include "formats/base/buf.h"

struct nj_spool {
    int dir_fd;    /* borrowed: where the file is made; -1: in TMPDIR, else /tmp */
    int fd;        /* -1 while everything is in memory */
    uint64_t base; /* where its bytes begin in the file; 0 unless that is the reserved one */
    struct nj_buf memory;
    size_t memory_max_bytes;
    uint64_t len;
};

void nj_spool_init(struct nj_spool *spool, int dir_fd, size_t memory_max_bytes);
void nj_spool_done(struct nj_spool *spool);
NJ_DEFINE_AUTO_VAL(struct nj_spool, nj_spool_done);

/* nj_spool_reserve - open the file of all later spools that have no folder of their own; for a
 * process of one thread. It is closed with the process. */
int nj_spool_reserve(struct nj_error *err) NJ_MUST_USE;

int nj_spool_append(struct nj_spool *spool, struct nj_span bytes, struct nj_error *err) NJ_MUST_USE;

/* nj_spool_read - append @len bytes from @offset to @out; they must have been appended before */
int nj_spool_read(const struct nj_spool *spool, uint64_t offset, size_t len, struct nj_buf *out,
                  struct nj_error *err) NJ_MUST_USE;

#endif
