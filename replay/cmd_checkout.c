/*
 * cmd_checkout.c - nightjar-replay checkout B[@N] [PATH] [--to DIR]: the workspace as files here
 */
#include <getopt.h>
#include <inttypes.h>

#include "formats/base/log.h"
#include "replay/checkout.h"
#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

enum { OPT_TO = 256, OPT_FORCE };

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
        return NJ_REPLAY_DIVERGED;
    }
    checkout.only = only[0] ? only : NULL;
    if (nj_checkout_target(wish->to ? wish->to : made_up, wish->force, &fd, err) < 0)
        return -(int)err->code;
    checkout.target_fd = fd;
    if (nj_checkout(&checkout, &report, err) < 0)
        return nj_wrap(err, "checkout to %s", wish->to ? wish->to : made_up);
    tell(&report, wish->to ? wish->to : made_up, row->step);
    return NJ_REPLAY_OK;
}

/* Paths of a workspace are absolute, so an operand that is not names the folder. */
static int read_operand(const struct nj_command *command, const char *operand, struct wish *wish,
                        struct nj_error *err)
{
    const char **place = operand[0] == '/' ? &wish->path : &wish->to;

    if (*place)
        return nj_command_usage(command, err, "%s: one %s is enough", operand,
                                operand[0] == '/' ? "path" : "folder");
    *place = operand;
    return 0;
}

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {
        {"to", required_argument, NULL, OPT_TO}, {"force", no_argument, NULL, OPT_FORCE}, {0}};
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    struct wish wish = {0};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == OPT_TO)
            wish.to = optarg;
        else if (option == OPT_FORCE)
            wish.force = true;
        else
            return nj_command_usage(command, err, "%s: no such option, or it lacks its folder",
                                    argv[optind - 1]);
    }
    if (argc - optind < 1)
        return nj_command_usage(command, err, "a record is expected");
    for (int i = optind + 1; i < argc; i++)
        if (read_operand(command, argv[i], &wish, err) < 0)
            return -(int)err->code;
    if (nj_reading_open(argv[optind], NJ_READING_KEEP_USER, &reading, err) < 0)
        return -(int)err->code;
    return check_out(&reading, &wish, err);
}

const struct nj_command nj_cmd_checkout = {
    .name = "checkout",
    .arguments = "B[@N] [PATH] [--to DIR] [--force]",
    .summary = "write the workspace at a step into a folder",
    .help = "Writes what the writable paths held after step N (without @N: the last) below\n"
            "a folder: PATH keeps its place, so /workspace/a becomes DIR/workspace/a.\n"
            "Without PATH everything is written.\n"
            "  --to DIR   the folder, made when missing; it must be empty. Without it, one\n"
            "             named KEY@N. An operand that does not begin with '/' is taken\n"
            "             for it too.\n"
            "  --force    write into a folder that is not empty, replacing files that are\n"
            "             in the way\n"
            "Modes and times are restored. Links are written, never followed; FIFOs,\n"
            "sockets, extended attributes and setuid bits are left out. Nothing is written\n"
            "outside the folder.\n",
    .run = run,
};
