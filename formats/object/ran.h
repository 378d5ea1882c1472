/*
 * ran.h - the files that ran in one call: what the kernel executed or mapped to be executed
 *
 * A BLOB object that a call's meta names, of files that belong to the host, not to the workspace:
 * programs and the libraries they loaded, by path, with the size and mtime by which a later reader
 * tells that the file is still the same one. Equal calls have equal lists, so a session stores few.
 * Source: formats/object/FORMAT.md, "What ran".
 */
#ifndef NJ_RAN_H
#define NJ_RAN_H

#include "formats/object/object.h"

#define NJ_RAN_FILES_MAX 4096
#define NJ_RAN_PATH_MAX_BYTES 4095

struct nj_ran_file {
    struct nj_span path; /* as the box saw it: absolute */
    uint64_t bytes;      /* at most INT64_MAX */
    int64_t mtime_ns;
};

struct nj_ran {
    struct nj_ran_file *files; /* ascending by path, which are unique */
    size_t n_files;
    bool more; /* there were others, which found no room */
};

/* nj_ran_path_valid - absolute, without NUL, at most NJ_RAN_PATH_MAX_BYTES */
bool nj_ran_path_valid(struct nj_span path);

/* nj_ran_sort - put @ran in order; of files with the same path the first one stays */
void nj_ran_sort(struct nj_ran *ran);

/* nj_ran_encode - @ran is in order, its paths are valid (asserted) */
int nj_ran_encode(const struct nj_ran *ran, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_ran_decode - paths are borrowed from @bytes, the rest is of @arena. NJ_E_CORRUPT names the
 * place. */
int nj_ran_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_ran *ret_ran,
                  struct nj_error *err) NJ_MUST_USE;

#endif
