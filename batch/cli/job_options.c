/*
 * job_options.c - --set, --only and --allow-path, read alike by run, check and plan
 */
#include "batch/cli/job_options.h"

#include "formats/base/banned.h"

int nj_job_option(const struct nj_arguments *args, int id, struct nj_job_options *options,
                  struct nj_error *err)
{
    if (id == NJ_OPT_SET)
        return nj_arguments_add(args, options->sets, NJ_JOB_SETS_MAX, err);
    if (id == NJ_OPT_ONLY)
        return nj_arguments_add(args, options->only, NJ_JOB_ONLY_MAX, err);
    if (id == NJ_OPT_ALLOW_PATH)
        return nj_arguments_add(args, options->allow, NJ_JOB_ALLOW_MAX, err);
    return 0;
}
