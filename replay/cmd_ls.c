/*
 * cmd_ls.c - nightjar-replay ls B[@N] [PATH]: the workspace at a step
 */
#include <getopt.h>

#include "formats/base/log.h"
#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/render.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 256 };

static int list(const struct nj_reading *reading, const char *text, enum nj_listing listing,
                struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_object_source source = nj_record_objects(reading->record);
    struct nj_workspace_ref workspace;
    nj_auto_free char *path = NULL;
    struct nj_tree_entry entry;
    const struct nj_row *row;
    int r;

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (nj_workspace_path(text, &path, err) < 0 || nj_reading_row(reading, &row, err) < 0 ||
        nj_timeline_workspace(reading->timeline, row, &workspace, err) < 0)
        return -(int)err->code;
    r = nj_workspace_find(&source, &workspace.tree, path, &arena, &entry, err);
    if (r < 0)
        return r;
    if (r == 1) {
        nj_log(NJ_LOG_ERROR, "/%s: not in the workspace at step %u", path, row->step);
        return NJ_REPLAY_DIVERGED;
    }
    r = nj_workspace_list(&source, path, &entry, listing, nj_command_print, &out, err);
    return r < 0 ? r : NJ_REPLAY_OK;
}

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPT_JSON}, {0}};
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    enum nj_listing listing = NJ_LISTING_PLAIN;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "l", options, NULL)) != -1) {
        if (option == 'l')
            listing = NJ_LISTING_LONG;
        else if (option == OPT_JSON)
            listing = NJ_LISTING_JSON;
        else
            return nj_command_usage(command, err, "%s: no such option", argv[optind - 1]);
    }
    if (argc - optind < 1 || argc - optind > 2)
        return nj_command_usage(command, err, "a record and at most one path are expected");
    if (nj_reading_open(argv[optind], 0, &reading, err) < 0)
        return -(int)err->code;
    return list(&reading, argc - optind == 2 ? argv[optind + 1] : "/", listing, err);
}

const struct nj_command nj_cmd_ls = {
    .name = "ls",
    .arguments = "B[@N] [PATH] [-l] [--json]",
    .summary = "the files of the workspace at a step",
    .help = "Lists what the writable paths held after step N (without @N: the last),\n"
            "everything below PATH, one absolute path a line; folders end in '/'. A name\n"
            "that is no plain text is quoted.\n"
            "  -l       type, mode, size, and where links point to\n"
            "  --json   one JSON object a line\n",
    .run = run,
};
