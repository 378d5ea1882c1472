/*
 * packages.h - which of dpkg's packages a file of the host is from
 *
 * Reads /var/lib/dpkg; on a host without it no file is of a package.
 */
#ifndef NJ_PACKAGES_H
#define NJ_PACKAGES_H

#include <stddef.h>

#include "formats/base/error.h"

struct nj_packages_file {
    const char *path; /* as the kernel resolves it; borrowed */
    char *package;    /* the answer, the caller's: "libc6 2.36-9"; NULL: of none */
};

/* nj_packages_find - answer for all of @files, which are ascending by path and have no package yet.
 * Takes a millisecond when their packages are called as they are, and some 20 when all lists are to
 * be read: ask for many at once. Negative only when memory is gone. */
int nj_packages_find(struct nj_packages_file *files, size_t n, struct nj_error *err) NJ_MUST_USE;

#endif
