/*
 * digested.h - the host's files that ran in boxes: their digests, packages, and what they hold
 *
 * A box tells which files ran (formats/object/ran.h); what they are is found out here, once for
 * each path, size and mtime, and apart from the calls: in the worker that makes a bundle, and in
 * `nightjar-replay verify` behind each call. A list comes from a box, so it is checked: only a
 * regular file with just this size and mtime is read, and what is found out about it is all that
 * anybody sees.
 *
 *   nj_digested_new() -> nj_digested_add() a list ... -> nj_digested_find(), nj_digested_write()
 */
#ifndef NJ_DIGESTED_H
#define NJ_DIGESTED_H

#include "formats/object/ran.h"

struct nj_digested_file {
    char *path;
    uint64_t bytes;
    int64_t mtime_ns;
    bool is_there; /* else: gone, or another file by now, and the rest is not known */
    struct nj_digest digest;
    unsigned holds; /* batch/sandbox/instructions.h */
    char *loader;   /* a program's: the path of what loads its libraries; NULL: none */
    char *package;  /* "libc6 2.36-9"; NULL: dpkg does not know it, or was not asked */
    bool closely;   /* what it holds was looked for */
    bool asked;     /* dpkg */
    bool told;      /* scratch of nj_digested_write() */
};

struct nj_digested;

int nj_digested_new(struct nj_digested **ret_digested, struct nj_error *err) NJ_MUST_USE;
void nj_digested_free(struct nj_digested *digested);
NJ_DEFINE_AUTO_PTR(struct nj_digested, nj_digested_free);

/* nj_digested_add - read what is new in @ran, and the loaders of its programs, which run, too.
 * Takes some milliseconds a megabyte. */
int nj_digested_add(struct nj_digested *digested, const struct nj_ran *ran,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_digested_add_program - read the file at @path as it is, unless something of it is known; what
 * it holds is not looked for */
int nj_digested_add_program(struct nj_digested *digested, const char *path,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_digested_find - the newest that was found out of @path; NULL: nothing */
const struct nj_digested_file *nj_digested_find(const struct nj_digested *digested,
                                                struct nj_span path);

/* nj_digested_write - append ,"ran":{PATH:{...},...} of the files in @ran and their loaders: a part
 * of a bundle's environment (formats/bundle/FORMAT.md), where it must not be longer than
 * NJ_DIGESTED_MAX_BYTES. Paths that are not UTF-8 are left out. Nothing when there is none. Asks
 * dpkg for their packages. */
#define NJ_DIGESTED_MAX_BYTES ((size_t)512 << 10)
int nj_digested_write(struct nj_digested *digested, const struct nj_ran *ran, struct nj_buf *out,
                      struct nj_error *err) NJ_MUST_USE;

#endif
