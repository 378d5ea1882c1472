/*
 * cmd_checkout.c - nightjar-replay checkout B[@N] [PATH] [--to DIR]: the workspace as files here
 */
#include <inttypes.h>

#include "formats/base/log.h"
#include "replay/checkout.h"
#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

enum { OPT_TO = 1, OPT_FORCE };

struct wish {
    const char *path; /* in the workspace, NULL: all of it */
    const char *to;   /* NULL: a folder named after session and step */
    bool force;
};

/* A session's key may hold anything; a folder's name should not. */
static int default_target(const char *key, uint32_t step, char **ret_name, struct nj_error *err)
{
    nj_auto_free char *name = NULL;

    if (asprintf(&name, "%.80s@%" PRIu32, key, step) < 0) {
        name = NULL;
        return nj_fail_nomem(err);
    }
    for (char *at = name; *at; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
              (*at >= '0' && *at <= '9') || *at == '@' || *at == '_' || *at == '-' ||
              (*at == '.' && at > name)))
            *at = '-';
    *ret_name = nj_steal_ptr(&name);
    return 0;
}

static void tell(const struct nj_checkout_report *report, const char *target, uint32_t step)
{
    nj_log(NJ_LOG_INFO,
           "step %" PRIu32 " written to %s: %" PRIu64 " files, %" PRIu64 " folders, %" PRIu64
           " links, %" PRIu64 " bytes",
           step, target, report->files, report->folders, report->links, report->bytes);
    if (report->skipped_special > 0)
        nj_log(NJ_LOG_WARN, "%" PRIu64 " FIFOs or sockets were left out", report->skipped_special);
    if (report->skipped_xattrs > 0)
        nj_log(NJ_LOG_WARN, "extended attributes of %" PRIu64 " files were left out",
               report->skipped_xattrs);
    if (report->dropped_rights > 0)
        nj_log(NJ_LOG_WARN, "setuid or setgid bits of %" PRIu64 " files were left out",
               report->dropped_rights);
}

static int check_out(const struct nj_reading *reading, const struct wish *wish,
                     struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_checkout checkout = {.source = nj_record_objects(reading->record),
                                   .force = wish->force};
    struct nj_checkout_report report;
    nj_auto_free char *only = NULL;
    nj_auto_free char *made_up = NULL;
    nj_auto_close int fd = -1;
    struct nj_tree_entry entry;
    const struct nj_row *row;
    int r;

    if (nj_workspace_path(wish->path ? wish->path : "/", &only, err) < 0 ||
        nj_reading_row(reading, &row, err) < 0 ||
        nj_timeline_workspace(reading->timeline, row, &checkout.workspace, err) < 0 ||
        default_target(nj_record_info(reading->record)->key, row->step, &made_up, err) < 0)
        return -(int)err->code;
    r = nj_workspace_find(&checkout.source, &checkout.workspace.tree, only, &arena, &entry, err);
    if (r < 0)
        return nj_wrap(err, "tree");
    if (r == 1) {
        nj_log(NJ_LOG_ERROR, "/%s: not in the workspace at step %u", only, row->step);
        return NJ_EXIT_DIVERGED;
    }
    checkout.only = only[0] ? only : NULL;
    if (nj_checkout_target(wish->to ? wish->to : made_up, wish->force, &fd, err) < 0)
        return -(int)err->code;
    checkout.target_fd = fd;
    if (nj_checkout(&checkout, &report, err) < 0)
        return nj_wrap(err, "checkout to %s", wish->to ? wish->to : made_up);
    tell(&report, wish->to ? wish->to : made_up, row->step);
    return NJ_EXIT_OK;
}

/* Paths of a workspace are absolute, so an operand that is not names the folder. */
static int read_operand(const struct nj_arguments *args, const char *operand, struct wish *wish,
                        struct nj_error *err)
{
    const char **place = operand[0] == '/' ? &wish->path : &wish->to;

    if (*place)
        return nj_arguments_refuse(args, err, "%s: one %s is enough", operand,
                                   operand[0] == '/' ? "path" : "folder");
    *place = operand;
    return 0;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    struct wish wish = {0};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_TO)
            wish.to = args->value;
        else if (r == OPT_FORCE)
            wish.force = true;
    }
    if (r < 0)
        return r;
    for (size_t i = 1; i < args->n_operands; i++)
        if (read_operand(args, args->operands[i], &wish, err) < 0)
            return -(int)err->code;
    if (nj_reading_open(args->operands[0], NJ_READING_KEEP_USER, &reading, err) < 0)
        return -(int)err->code;
    return check_out(&reading, &wish, err);
}

const struct nj_command nj_cmd_checkout = {
    .name = "checkout",
    .summary = "write the workspace at a step into a folder",
    .help = "Writes what the writable paths held after step N (without @N: the last) below a "
            "folder: PATH keeps its place, so /workspace/a becomes DIR/workspace/a. Without PATH "
            "everything is written.\n\n"
            "Modes and times are restored. Links are written, never followed; FIFOs, sockets, "
            "extended attributes and setuid bits are left out. Nothing is written outside the "
            "folder.",
    .operands =
        (const struct nj_operand[]){{.name = "B[@N]", .takes = NJ_TAKES_RECORD},
                                    {.name = "PATH", .optional = true},
                                    {.name = "DIR", .takes = NJ_TAKES_FOLDER, .optional = true},
                                    {0}},
    .options =
        (const struct nj_option[]){
            {OPT_TO, "to", .value = "DIR", .takes = NJ_TAKES_FOLDER,
             .help = "the folder, made when missing; it must be empty. Without it, one named "
                     "KEY@N. An operand that does not begin with '/' is taken for it too"},
            {OPT_FORCE, "force",
             .help = "write into a folder that is not empty, replacing files that are in the way"},
            {0},
        },
    .exits = "Exit status 1: there is no such path.",
    .see = "nightjar-replay-ls(1)",
    .run = run,
};
