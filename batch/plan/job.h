/*
 * job.h - a job as it is read from the host: the manifest, what it includes, variables, the command
 * line
 *
 * `run`, `plan` and `check` read a job with nj_job_read(); a resumed run reads the job.yaml that
 * nj_job_text() gave to its folder, which needs nothing else any more. Included files are opened
 * beneath the manifest's directory: no link leads out of it.
 */
#ifndef NJ_JOB_H
#define NJ_JOB_H

#include "formats/manifest/manifest.h"

struct nj_job {
    int dir_fd;        /* the manifest's directory */
    char *dir;         /* absolute, without links */
    struct nj_buf raw; /* the manifest's own bytes */
    struct nj_manifest *manifest;
};

#define NJ_JOB_EMPTY                                                                               \
    {                                                                                              \
        .dir_fd = -1                                                                               \
    }

void nj_job_done(struct nj_job *job);
NJ_DEFINE_AUTO_VAL(struct nj_job, nj_job_done);

/*
 * nj_job_read - read and judge, what this build does not run included
 *
 * @sets, @only  of the command line: see struct nj_manifest_options; may be NULL
 * @job          NJ_JOB_EMPTY; filled as far as the reading came, to be done with in any case
 *
 * Fails with NJ_E_INPUT (@faults is filled unless the file itself cannot be read).
 */
int nj_job_read(const char *path, const char *const *sets, const char *const *only,
                struct nj_job *job, struct nj_manifest_faults *faults,
                struct nj_error *err) NJ_MUST_USE;

/* nj_job_text - append the whole job as one manifest: the bytes themselves where they are that */
int nj_job_text(const struct nj_job *job, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
