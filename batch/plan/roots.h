/*
 * roots.h - the directories that a job's inputs may come from
 *
 * The first is the manifest's own, the others were named with --allow-path; the last is
 * NJ_ROOTS_PUBLIC, which holds nothing but what packages installed for everybody to read. A path
 * that a manifest gives is placed by its spelling: a relative one that does not climb lies under
 * the manifest's directory, an absolute or climbing one must lie under an allowed directory. It is
 * then opened beneath that root (openat2), so that no link, planted or honest, leads anywhere else:
 * a link is followed only where its target is inside one of the roots.
 */
#ifndef NJ_ROOTS_H
#define NJ_ROOTS_H

#include <sys/stat.h>

#include "formats/base/arena.h"

#define NJ_ROOTS_MAX 64
#define NJ_ROOTS_PUBLIC "/usr/share"

struct nj_root {
    int fd;           /* O_PATH */
    const char *path; /* absolute, as given, normal */
    const char *real; /* absolute, without links: what the kernel calls it */
};

struct nj_roots {
    struct nj_arena arena;
    struct nj_root items[NJ_ROOTS_MAX]; /* [0] is the manifest's directory */
    size_t count;
};

/* Where a path lies. Texts live in the arena that was given. */
struct nj_place {
    size_t root;
    const char *
        prefix; /* of the spelling, such that prefix + rest is what the manifest calls it, normal */
    const char *rest; /* from the root; no leading '/', no "." or ".."; "" is the root itself */
};

/* nj_roots_open - @dir_fd is the manifest's directory, borrowed for the call; @allow is
 * NULL-terminated, may be NULL. NJ_E_INPUT when an allowed directory is none. */
int nj_roots_open(int dir_fd, const char *const *allow, struct nj_roots *ret_roots,
                  struct nj_error *err) NJ_MUST_USE;
void nj_roots_done(struct nj_roots *roots); /* a zeroed object is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_roots, nj_roots_done);

/* nj_roots_place - by spelling only; wildcards are parts like others. NJ_E_INPUT with the cure when
 * no root holds it. */
int nj_roots_place(const struct nj_roots *roots, const char *path, struct nj_arena *arena,
                   struct nj_place *ret_place, struct nj_error *err) NJ_MUST_USE;

/*
 * nj_roots_reach - open what lies at @rest of a root; @flags as for openat(), O_CLOEXEC is added
 *
 * Returns 0, or a positive errno: EXDEV means that a link leaves the roots.
 */
int nj_roots_reach(const struct nj_roots *roots, size_t root, const char *rest, uint64_t flags,
                   int *ret_fd) NJ_MUST_USE;

/* nj_roots_read - open the regular file at @rest for reading and stat it; devices and FIFOs are
 * never opened. Returns 0, or a positive errno: EXDEV as above, EISDIR, EINVAL for what is neither
 * file nor folder. */
int nj_roots_read(const struct nj_roots *roots, size_t root, const char *rest, int *ret_fd,
                  struct stat *ret_stat) NJ_MUST_USE;

/* nj_path_normal - append @path without "." parts, doubled or trailing slashes, and with each
 * NAME/.. gone; leading ".." of a relative path stay. An absolute path does not climb above "/". */
int nj_path_normal(const char *path, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
