/*
 * engine.h - one run, from start or resume to its end
 */
#ifndef NJ_ENGINE_H
#define NJ_ENGINE_H

#include <stdio.h>

#include "formats/manifest/manifest.h"

struct nj_engine_options {
    const char *job_path;           /* run: the manifest; resume: NULL */
    const char *run_path;           /* run: NULL for a name of its own; resume: the run directory */
    const char *user;               /* as root: who to become; NULL: see nj_engine_run() */
    const char *const *allow_paths; /* NULL-terminated; may be NULL */
    const char *const *sets;        /* run: --set PATH=VALUE, likewise */
    const char *const *only;        /* run: --only PATTERN, likewise */
    const char *reuse_path;         /* run: the earlier run to reuse sessions of; may be NULL */
    bool retry_failed;              /* resume: sessions that have failed get another attempt */
    int64_t budget_micro_usd;       /* resume: the run's budget from now on; -1: as it was */
    bool quiet;                     /* say only what went wrong */
    bool verbose;                   /* say when sessions begin, and more about how they ended */
};

/* How a run ended: the program's exit status. */
enum nj_engine_outcome {
    NJ_RUN_SUCCEEDED = 0,
    NJ_RUN_SOME_FAILED = 1,
    NJ_RUN_SUSPENDED = 4,
};

/*
 * nj_engine_run - run a job, or go on with a run
 *
 * As root it builds the helper, hands the run directory to the unprivileged user (--user; else the
 * directory's owner; else "nightjar" if there is such a user; else "nobody") and becomes it.
 *
 * Returns an enum nj_engine_outcome. Fails with NJ_E_INPUT (manifest: @faults is filled), or any
 * other code when the engine itself could not go on; the run can then be resumed.
 */
int nj_engine_run(const struct nj_engine_options *options, struct nj_manifest_faults *faults,
                  struct nj_error *err) NJ_MUST_USE;

#endif
