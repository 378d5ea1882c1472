/*
 * job_options.h - the options of every command that reads a manifest: --set, --only, --allow-path
 *
 * Their rows stand in the commands' tables as NJ_JOB_OPTIONS, and their loops say:
 *
 *     while ((r = nj_arguments_next(args, err)) > 0) {
 *         if (r == OPT_PLAN)
 *             ...
 *         else if (nj_job_option(args, r, &job, err) < 0)
 *             return -(int)err->code;
 *     }
 */
#ifndef NJ_CLI_JOB_OPTIONS_H
#define NJ_CLI_JOB_OPTIONS_H

#include "batch/cli/cmd.h"

#define NJ_JOB_ALLOW_MAX 64
#define NJ_JOB_SETS_MAX 256
#define NJ_JOB_ONLY_MAX 1000

/* Lists end with NULL; the texts are borrowed from argv. */
struct nj_job_options {
    const char *allow[NJ_JOB_ALLOW_MAX + 1];
    const char *sets[NJ_JOB_SETS_MAX + 1];
    const char *only[NJ_JOB_ONLY_MAX + 1];
};

enum { NJ_OPT_SET = 1000, NJ_OPT_ONLY, NJ_OPT_ALLOW_PATH };

#define NJ_JOB_OPTIONS                                                                             \
    {NJ_OPT_SET, "set", .value = "PATH=VALUE", .repeated = true,                                   \
     .help = "put VALUE (as YAML) in place of what JOB says at PATH, such as limits.sessions=8, "  \
             "agents.NAME.model=ROLE or sessions.NAME.first=3; no VALUE takes the key out"},       \
        {NJ_OPT_ONLY, "only", .value = "KEY", .repeated = true,                                    \
         .help = "only sessions whose key is KEY, or matches it as a pattern with * and ?"},       \
    {                                                                                              \
        NJ_OPT_ALLOW_PATH, "allow-path", .value = "DIR", .takes = NJ_TAKES_FOLDER,                 \
                                         .repeated = true,                                         \
                                         .help = "paths of the manifest may lie beneath DIR, too"  \
    }

/* nj_job_option - keep the value of option @id, which nj_arguments_next() just returned, when it is
 * one of these; fails with NJ_E_INPUT when there are too many */
int nj_job_option(const struct nj_arguments *args, int id, struct nj_job_options *options,
                  struct nj_error *err) NJ_MUST_USE;

#endif
