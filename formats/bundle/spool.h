/*
 * spool.h - bytes that may become many: in memory while they are few, in an unlinked file beyond
 *
 * Nothing of it is ever visible under a name, and nothing survives the process.
 */
#ifndef NJ_BUNDLE_SPOOL_H
#define NJ_BUNDLE_SPOOL_H

#include "formats/base/buf.h"

struct nj_spool {
    int dir_fd; /* borrowed: where the file is made; -1: in TMPDIR, else /tmp */
    int fd;     /* -1 while everything is in memory */
    struct nj_buf memory;
    size_t memory_max_bytes;
    uint64_t len;
};

void nj_spool_init(struct nj_spool *spool, int dir_fd, size_t memory_max_bytes);
void nj_spool_done(struct nj_spool *spool);
NJ_DEFINE_AUTO_VAL(struct nj_spool, nj_spool_done);

int nj_spool_append(struct nj_spool *spool, struct nj_span bytes, struct nj_error *err) NJ_MUST_USE;

/* nj_spool_read - append @len bytes from @offset to @out; they must have been appended before */
int nj_spool_read(const struct nj_spool *spool, uint64_t offset, size_t len, struct nj_buf *out,
                  struct nj_error *err) NJ_MUST_USE;

#endif
