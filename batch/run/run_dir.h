/*
 * run_dir.h - the folder that a run owns
 *
 * Folders 0700, files 0600. The lock is held on the folder itself (flock), so it ends with the
 * process and its workers, and a second engine is refused (a killed one's workers get two seconds
 * to end); readers need no lock.
 */
#ifndef NJ_RUN_DIR_H
#define NJ_RUN_DIR_H

#include "formats/base/fsio.h"

struct nj_run_dir {
    char *path; /* as a person gave it, for messages */
    char *name; /* its last part: names the run in bundles and leftovers */
    int fd;
    int journal_fd;
    int inputs_fd;
    int bundles_fd;
    int outputs_fd;
    bool made; /* the folder itself was made by nj_run_dir_create() */
};

/* Declare with this value: a zeroed one would close descriptor 0. */
#define NJ_RUN_DIR_EMPTY                                                                           \
    {                                                                                              \
        .fd = -1, .journal_fd = -1, .inputs_fd = -1, .bundles_fd = -1, .outputs_fd = -1            \
    }

/* nj_run_dir_create - make the folder (and its parents) and its parts, and lock it; NJ_E_INPUT when
 * a run is there already. What a start left behind that was killed before its job.yaml was
 * published is taken over. @path NULL: runs/<UTC time>-<job> below the working directory, refused
 * (NJ_E_INPUT) while another run there that was named likewise is going on. */
int nj_run_dir_create(const char *path, const char *job, struct nj_run_dir *ret_dir,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_run_dir_unmake - remove what nj_run_dir_create() made, for a run that never began */
void nj_run_dir_unmake(struct nj_run_dir *dir);

/* nj_run_dir_open - an existing run; with @lock for going on (NJ_E_INPUT when another engine holds
 * it), without to read */
int nj_run_dir_open(const char *path, bool lock, struct nj_run_dir *ret_dir,
                    struct nj_error *err) NJ_MUST_USE;

void nj_run_dir_done(struct nj_run_dir *dir);
NJ_DEFINE_AUTO_VAL(struct nj_run_dir, nj_run_dir_done);

/* nj_run_dir_give - hand everything in the folder to a user (root only, before dropping to it) */
int nj_run_dir_give(const struct nj_run_dir *dir, uid_t uid, gid_t gid,
                    struct nj_error *err) NJ_MUST_USE;

#endif
