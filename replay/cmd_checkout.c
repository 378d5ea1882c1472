/*
 * cmd_checkout.c - nightjar-replay checkout B[@N] [PATH] [--to DIR]: the workspace as files here
 *
 * The one complication: the process that reads the record may write below the target and nowhere
 * else, so the target is there before. Where its name is to come from the record, a first reading
 * tells it.
 */
#include <inttypes.h>
#include <unistd.h>

#include "formats/base/log.h"
#include "replay/apart.h"
#include "replay/checkout.h"
#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

enum { OPT_TO = 1, OPT_FORCE };

struct wish {
    const char *record;
    const char *path; /* in the workspace, NULL: all of it */
    const char *to;   /* NULL: a folder named after session and step */
    int to_fd;
    bool force;
};

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '@' ||
           c == '_' || c == '-' || c == '.';
}

/* A session's key may hold anything; a folder's name should not, and is never hidden or "..". */
static void make_plain(char *name)
{
    for (char *at = name; *at; at++)
        if (!is_plain(*at) || (*at == '.' && at == name))
            *at = '-';
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

/* Returns 0, or 1 when the path is not in the workspace at that step. */
static int find(const struct nj_reading *reading, const struct wish *wish,
                struct nj_checkout *checkout, char **ret_only, const struct nj_row **ret_row,
                struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    nj_auto_free char *only = NULL;
    struct nj_tree_entry entry;
    int r;

    checkout->source = nj_record_objects(reading->record);
    checkout->max_size_bytes = reading->timeline->config->max_size_bytes;
    if (nj_workspace_path(wish->path ? wish->path : "/", &only, err) < 0 ||
        nj_reading_row(reading, ret_row, err) < 0 ||
        nj_timeline_workspace(reading->timeline, *ret_row, &checkout->workspace, err) < 0)
        return -(int)err->code;
    r = nj_workspace_find(&checkout->source, &checkout->workspace.tree, only, &arena, &entry, err);
    if (r < 0)
        return nj_wrap(err, "tree");
    if (r == 1)
        nj_log(NJ_LOG_ERROR, "/%s: not in the workspace at step %u" NJ_WORKSPACE_HINT, only,
               (*ret_row)->step);
    *ret_only = nj_steal_ptr(&only);
    return r;
}

/* In a reading process: what a folder for it is called, as far as there is anything to write. */
static int tell_name(void *ctx, struct nj_told *told, struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    const struct wish *wish = ctx;
    nj_auto_free char *only = NULL;
    struct nj_checkout checkout = {0};
    const struct nj_row *row;
    int r;

    r = nj_reading_open(wish->record, 0, -1, &reading, err);
    if (r == 0)
        r = find(&reading, wish, &checkout, &only, &row, err);
    if (r != 0)
        return r < 0 ? r : NJ_EXIT_DIVERGED;
    (void)snprintf(told->text, sizeof(told->text), "%.80s@%" PRIu32,
                   nj_record_info(reading.record)->key, row->step);
    return NJ_EXIT_OK;
}

/* In a reading process, which may write below wish->to_fd. */
static int check_out(void *ctx, struct nj_told *told, struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    const struct wish *wish = ctx;
    struct nj_checkout checkout = {.target_fd = wish->to_fd, .force = wish->force};
    struct nj_checkout_report report;
    nj_auto_free char *only = NULL;
    const struct nj_row *row;
    int r;

    (void)told;
    r = nj_reading_open(wish->record, 0, wish->to_fd, &reading, err);
    if (r == 0)
        r = find(&reading, wish, &checkout, &only, &row, err);
    if (r != 0)
        return r < 0 ? r : NJ_EXIT_DIVERGED;
    checkout.only = only[0] ? only : NULL;
    if (nj_checkout(&checkout, &report, err) < 0)
        return nj_wrap(err, "checkout to %s", wish->to);
    tell(&report, wish->to, row->step);
    return NJ_EXIT_OK;
}

static int make_and_write(struct wish *wish, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct nj_told told;
    bool made = false;
    int r;

    if (nj_checkout_target(wish->to, wish->force, &fd, &made, err) < 0)
        return -(int)err->code;
    wish->to_fd = fd;
    r = nj_apart(check_out, wish, &told, err);
    if (r != NJ_EXIT_OK && made)
        (void)rmdir(wish->to); /* unless something was written, which stays */
    return r;
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
    struct wish wish = {.to_fd = -1};
    struct nj_told told;
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
    wish.record = args->operands[0];
    if (!wish.to) {
        r = nj_apart(tell_name, &wish, &told, err);
        if (r != NJ_EXIT_OK)
            return r;
        make_plain(told.text);
        wish.to = told.text;
    }
    return make_and_write(&wish, err);
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
