/*
 * cmd_verify.c - nightjar-replay verify B...: lived again, compared, judged
 */
#include <sys/sysinfo.h>

#include "formats/base/log.h"
#include "replay/cmd.h"
#include "replay/render.h"
#include "replay/verify.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 1, OPT_ALL, OPT_JOBS, OPT_ROOTFS };

#define JOBS_MAX 256

struct telling {
    bool json;
    bool all;
    bool seen[NJ_EXIT_ENVIRONMENT + 1]; /* exit statuses that some record asks for */
};

static enum nj_exit_status status_of(const struct nj_verified *verified)
{
    switch (verified->verdict) {
    case NJ_VERDICT_EQUAL:
        return NJ_EXIT_OK;
    case NJ_VERDICT_DIVERGED:
        return NJ_EXIT_DIVERGED;
    case NJ_VERDICT_ENVIRONMENT:
        return NJ_EXIT_ENVIRONMENT;
    case NJ_VERDICT_FAILED:
        return nj_replay_status_of(&verified->error);
    case NJ_VERDICT_STOPPED:
        return NJ_EXIT_STOPPED;
    }
    return NJ_EXIT_ENGINE;
}

static int tell(void *ctx, const struct nj_verified *verified, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct telling *telling = ctx;
    int r;

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    telling->seen[status_of(verified)] = true;
    /* A record that is refused is no result: it is told where errors are told. */
    if (verified->verdict == NJ_VERDICT_FAILED)
        nj_log(NJ_LOG_ERROR, "%s: %s", verified->name, verified->error.text);
    if (telling->json)
        r = nj_verified_json(verified, &out, err);
    else
        r = nj_verified_text(verified, telling->all, &out, err);
    return r < 0 ? r : nj_command_print(&out, err);
}

/* Of several records the gravest counts: this program failed, a record was refused, one differs,
 * one cannot be judged. */
static int gravest(const struct telling *telling)
{
    static const enum nj_exit_status order[] = {NJ_EXIT_STOPPED, NJ_EXIT_ENGINE, NJ_EXIT_USAGE,
                                                NJ_EXIT_DIVERGED, NJ_EXIT_ENVIRONMENT};

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (telling->seen[order[i]])
            return order[i];
    return NJ_EXIT_OK;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_verify_free) struct nj_verify *verify = NULL;
    struct telling telling = {0};
    const char *rootfs = NULL;
    unsigned long jobs = (unsigned long)get_nprocs();
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_JSON)
            telling.json = true;
        else if (r == OPT_ALL)
            telling.all = true;
        else if (r == OPT_ROOTFS)
            rootfs = args->value;
        else if (r == OPT_JOBS && nj_arguments_number(args, 1, JOBS_MAX, &jobs, err) < 0)
            return -(int)err->code;
    }
    if (r < 0 || nj_verify_open(args->operands, args->n_operands, rootfs, &verify, err) < 0 ||
        nj_verify_run(verify, (unsigned)jobs, tell, &telling, err) < 0)
        return -(int)err->code;
    return gravest(&telling);
}

const struct nj_command nj_cmd_verify = {
    .name = "verify",
    .summary = "run a session's code again and compare, without a network",
    .help = "Answers the model from the record, runs every tool call and every check again in a "
            "sandbox built from the record, and compares exit, output, workspace and state of "
            "each step. The first step that differs is named, with the path and the byte (counted "
            "from 1); the others are counted.\n\n"
            "A bundle's manifest plays no part: no path, command, variable or host that it names "
            "is used.",
    .operands =
        (const struct nj_operand[]){{.name = "B", .takes = NJ_TAKES_RECORD, .repeated = true}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_ALL, "all", .help = "name every difference"},
            {OPT_JSON, "json", .help = "one JSON object a record"},
            {OPT_JOBS, "jobs", .value = "N",
             .help = "so many records at once (without it: as many as there are CPUs)"},
            {OPT_ROOTFS, "rootfs", .value = "FILE",
             .help = "the image that boxes have in place of the host's system, for records that "
                     "name one; without it the one that the record holds"},
            {0},
        },
    .exits = "Exit status: 0 all equal, 1 some differ, 2 a record is refused, 3 this program or "
             "host failed, 4 stopped by a signal, 5 something differs, and so does an interpreter "
             "that its steps used, or the image.",
    .see = "nightjar-replay-show(1)",
    .run = run,
};
