/*
 * cmd_verify.c - nightjar-replay verify B...: lived again, compared, judged
 */
#include <getopt.h>
#include <sys/sysinfo.h>

#include "formats/base/log.h"
#include "replay/cmd.h"
#include "replay/render.h"
#include "replay/verify.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 256, OPT_ALL, OPT_JOBS };

#define JOBS_MAX 256

struct telling {
    bool json;
    bool all;
    bool seen[NJ_REPLAY_ENVIRONMENT + 1]; /* exit statuses that some record asks for */
};

static enum nj_replay_status status_of(const struct nj_verified *verified)
{
    switch (verified->verdict) {
    case NJ_VERDICT_EQUAL:
        return NJ_REPLAY_OK;
    case NJ_VERDICT_DIVERGED:
        return NJ_REPLAY_DIVERGED;
    case NJ_VERDICT_ENVIRONMENT:
        return NJ_REPLAY_ENVIRONMENT;
    case NJ_VERDICT_FAILED:
        return nj_replay_status_of(&verified->error);
    case NJ_VERDICT_STOPPED:
        return NJ_REPLAY_STOPPED;
    }
    return NJ_REPLAY_ENGINE;
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
    static const enum nj_replay_status order[] = {NJ_REPLAY_STOPPED, NJ_REPLAY_ENGINE,
                                                  NJ_REPLAY_USAGE, NJ_REPLAY_DIVERGED,
                                                  NJ_REPLAY_ENVIRONMENT};

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (telling->seen[order[i]])
            return order[i];
    return NJ_REPLAY_OK;
}

static bool read_jobs(const char *text, unsigned *ret_jobs)
{
    char *end;
    unsigned long jobs;

    if (text[0] < '0' || text[0] > '9')
        return false;
    jobs = strtoul(text, &end, 10);
    if (*end || jobs < 1 || jobs > JOBS_MAX)
        return false;
    *ret_jobs = (unsigned)jobs;
    return true;
}

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPT_JSON},
                                            {"all", no_argument, NULL, OPT_ALL},
                                            {"jobs", required_argument, NULL, OPT_JOBS},
                                            {0}};
    NJ_AUTO(nj_verify_free) struct nj_verify *verify = NULL;
    struct telling telling = {0};
    unsigned jobs = (unsigned)get_nprocs();
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == OPT_JSON)
            telling.json = true;
        else if (option == OPT_ALL)
            telling.all = true;
        else if (option != OPT_JOBS)
            return nj_command_usage(command, err, "%s: no such option", argv[optind - 1]);
        else if (!read_jobs(optarg, &jobs))
            return nj_command_usage(command, err, "--jobs %s: a number from 1 to %d is expected",
                                    optarg, JOBS_MAX);
    }
    if (argc - optind < 1)
        return nj_command_usage(command, err, "at least one record is expected");
    if (nj_verify_open(argv + optind, (size_t)(argc - optind), &verify, err) < 0 ||
        nj_verify_run(verify, jobs, tell, &telling, err) < 0)
        return -(int)err->code;
    return gravest(&telling);
}

const struct nj_command nj_cmd_verify = {
    .name = "verify",
    .arguments = "B... [--all] [--json] [--jobs N]",
    .summary = "run a session's code again and compare, without a network",
    .help = "Answers the model from the record, runs every tool call and every check again\n"
            "in a sandbox built from the record, and compares exit, output, workspace and\n"
            "state of each step. The first step that differs is named, with the path and\n"
            "the byte (counted from 1); the others are counted.\n"
            "  --all      name every difference\n"
            "  --json     one JSON object a record\n"
            "  --jobs N   so many records at once (without it: as many as there are CPUs)\n"
            "Exit status: 0 all equal, 1 some differ, 2 a record is refused, 3 this program\n"
            "or host failed, 4 stopped by a signal, 5 something differs, and so does an\n"
            "interpreter that its steps used. A bundle's manifest plays no part: no path,\n"
            "command, variable or host that it names is used.\n",
    .run = run,
};
