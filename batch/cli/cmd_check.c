/*
 * cmd_check.c - nightjar check JOB
 *
 * Reads all that a run would read and starts nothing.
 */
#include <errno.h>
#include <fcntl.h>

#include "batch/cli/cmd.h"
#include "batch/cli/explain.h"
#include "batch/cli/faults.h"
#include "batch/engine/job.h"

#include "formats/base/banned.h"

#define ALLOW_MAX 64
#define SETS_MAX 256
#define ONLY_MAX 1000
#define TEXT_MAX_BYTES ((size_t)64 << 20)

enum { OPT_PLAN = 1, OPT_ALLOW_PATH, OPT_SET, OPT_ONLY };

struct checking {
    const char *job_path;
    const char *const *allow_paths;
    const char *const *sets;
    const char *const *only;
    bool boxes;
    struct nj_manifest_faults faults;
};

static int write_out(const struct nj_buf *text, struct nj_error *err)
{
    if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0)
        return nj_fail_errno(err, errno, "write to standard output");
    return 0;
}

static int explain(const struct checking *checking, const struct nj_plan *plan,
                   const struct nj_explain_inputs *inputs, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_explain_host host;
    nj_auto_close int here = -1;
    int r;

    here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return nj_fail_errno(err, errno, "open the working directory");
    nj_buf_init(&text, TEXT_MAX_BYTES);
    r = nj_explain_host(here, &host, err);
    if (r == 0)
        r = nj_explain_job(plan, inputs, &host, &text, err);
    if (r == 0 && checking->boxes)
        r = nj_explain_boxes(plan, &text, err);
    return r < 0 ? r : write_out(&text, err);
}

static int check_manifest(struct checking *checking, int dir_fd, const struct nj_manifest *manifest,
                          struct nj_error *err)
{
    NJ_AUTO(nj_explain_inputs_done) struct nj_explain_inputs inputs = {0};
    struct nj_object_sink sink = nj_explain_inputs_sink(&inputs);
    NJ_AUTO(nj_models_free) struct nj_models *models = NULL;
    NJ_AUTO(nj_plan_free) struct nj_plan *plan = NULL;
    int r;

    r = nj_models_new(manifest, dir_fd, &models, err);
    if (r == 0)
        r = nj_plan_new(manifest, dir_fd, models, &sink, checking->allow_paths, &plan,
                        &checking->faults, err);
    if (r == 0)
        r = nj_explain_check_boxes(plan, &checking->faults, err);
    return r < 0 ? r : explain(checking, plan, &inputs, err);
}

static int check(struct checking *checking, struct nj_error *err)
{
    NJ_AUTO(nj_job_done) struct nj_job job = NJ_JOB_EMPTY;
    int r = nj_job_read(checking->job_path, checking->sets, checking->only, &job, &checking->faults,
                        err);

    return r < 0 ? r : check_manifest(checking, job.dir_fd, job.manifest, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    const char *allow[ALLOW_MAX + 1] = {NULL};
    const char *sets[SETS_MAX + 1] = {NULL};
    const char *only[ONLY_MAX + 1] = {NULL};
    struct checking checking = {.allow_paths = allow, .sets = sets, .only = only};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_PLAN)
            checking.boxes = true;
        else if (r == OPT_ALLOW_PATH && nj_arguments_add(args, allow, ALLOW_MAX, err) < 0)
            return -(int)err->code;
        else if (r == OPT_SET && nj_arguments_add(args, sets, SETS_MAX, err) < 0)
            return -(int)err->code;
        else if (r == OPT_ONLY && nj_arguments_add(args, only, ONLY_MAX, err) < 0)
            return -(int)err->code;
    }
    if (r < 0)
        return r;
    checking.job_path = args->operands[0];
    r = check(&checking, err);
    if (r < 0 && checking.faults.count > 0) {
        nj_cli_print_faults(&checking.faults, checking.job_path);
        r = NJ_EXIT_USAGE;
    }
    nj_manifest_faults_done(&checking.faults);
    return r;
}

const struct nj_command nj_cmd_check = {
    .name = "check",
    .summary = "explain a job, or tell its faults; nothing is started",
    .help = "Reads the manifest JOB and all that it names, and tells what would run: groups and "
            "their items, agents and their boxes, inputs, and the limits added up against this "
            "host. Faults are told one a line, as file:line:column: path: text, and the exit "
            "status is 2.",
    .operands = (const struct nj_operand[]){{.name = "JOB", .takes = NJ_TAKES_JOB}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_PLAN, "plan", .help = "print each agent's sandbox plan as well"},
            {OPT_SET, "set", .value = "PATH=VALUE", .repeated = true,
             .help = "put VALUE (as YAML) in place of what JOB says at PATH, such as "
                     "limits.sessions=8, agents.NAME.model=ROLE or sessions.NAME.first=3; no VALUE "
                     "takes the key out"},
            {OPT_ONLY, "only", .value = "KEY", .repeated = true,
             .help = "only sessions whose key is KEY, or matches it as a pattern with * and ?"},
            {OPT_ALLOW_PATH, "allow-path", .value = "DIR", .takes = NJ_TAKES_FOLDER,
             .repeated = true, .help = "paths of the manifest may lie beneath DIR, too"},
            {0},
        },
    .see = "nightjar-run(1)",
    .run = run,
};
