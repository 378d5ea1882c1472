/*
 * cmd_ls.c - nightjar-replay ls B[@N] [PATH]: the workspace at a step
 */

#include "formats/base/log.h"
#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/render.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

enum { OPT_LONG = 1, OPT_JSON };

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
        nj_log(NJ_LOG_ERROR, "/%s: not in the workspace at step %u" NJ_WORKSPACE_HINT, path,
               row->step);
        return NJ_EXIT_DIVERGED;
    }
    r = nj_workspace_list(&source, path, &entry, listing, nj_command_print, &out, err);
    return r < 0 ? r : NJ_EXIT_OK;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    enum nj_listing listing = NJ_LISTING_PLAIN;
    int r;

    while ((r = nj_arguments_next(args, err)) > 0)
        listing = r == OPT_JSON ? NJ_LISTING_JSON : NJ_LISTING_LONG;
    if (r < 0 || nj_reading_open(args->operands[0], 0, -1, &reading, err) < 0)
        return -(int)err->code;
    return list(&reading, args->n_operands == 2 ? args->operands[1] : "/", listing, err);
}

const struct nj_command nj_cmd_ls = {
    .name = "ls",
    .summary = "the files of the workspace at a step",
    .help = "Lists what the writable paths held after step N (without @N: the last), everything "
            "below PATH, one absolute path a line; folders end in '/'. A name that is no plain "
            "text is quoted.",
    .operands = (const struct nj_operand[]){{.name = "B[@N]", .takes = NJ_TAKES_RECORD},
                                            {.name = "PATH", .optional = true},
                                            {0}},
    .options =
        (const struct nj_option[]){
            {OPT_LONG, .letter = 'l', .help = "type, mode, size, and where links point to"},
            {OPT_JSON, "json", .help = "one JSON object a line"},
            {0},
        },
    .exits = "Exit status 1: there is no such path.",
    .see = "nightjar-replay-cat(1) nightjar-replay-checkout(1)",
    .run = run,
};
