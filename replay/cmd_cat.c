/*
 * cmd_cat.c - nightjar-replay cat B[@N] PATH: one file of the workspace at a step
 *
 * The one complication: bytes of a sandbox must not reach a terminal as they are, and must reach a
 * pipe so.
 */
#include <unistd.h>

#include "formats/base/fsio.h"
#include "formats/base/log.h"
#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/render.h"
#include "replay/workspace.h"

#include "formats/base/banned.h"

static int write_raw(void *ctx, struct nj_span piece, struct nj_error *err)
{
    (void)ctx;
    return nj_fsio_write(STDOUT_FILENO, piece.data, piece.len, err);
}

/* Pieces end anywhere, also in the middle of a character: only the whole can be escaped. */
static int keep(void *ctx, struct nj_span piece, struct nj_error *err)
{
    return nj_buf_append(ctx, piece.data, piece.len, err);
}

static int print_escaped(const struct nj_object_source *source, const struct nj_tree_entry *entry,
                         struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf content = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&content, NJ_RENDER_MAX_BYTES / 8);
    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (nj_parts_each(source, entry, keep, &content, err) < 0 ||
        nj_render_text(&out, nj_buf_span(&content), "", err) < 0)
        return -(int)err->code;
    return nj_command_print(&out, err);
}

/* Follows a hard link to the name that holds the content; a symlink is told, not followed. */
static int find_file(const struct nj_reading *reading, const char *path,
                     const struct nj_digest *root, struct nj_arena *arena,
                     struct nj_tree_entry *entry, struct nj_error *err)
{
    struct nj_object_source source = nj_record_objects(reading->record);
    int r = nj_workspace_find(&source, root, path, arena, entry, err);

    if (r == 0 && entry->type == NJ_FILE_HARDLINK) {
        char *target = nj_arena_span(arena, entry->target);

        if (!target)
            return nj_fail_nomem(err);
        r = nj_tree_lookup(&source, root, target, arena, entry, err);
    }
    return r;
}

static int cat(const struct nj_reading *reading, const char *text, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_object_source source = nj_record_objects(reading->record);
    struct nj_workspace_ref workspace;
    nj_auto_free char *path = NULL;
    struct nj_tree_entry entry;
    const struct nj_row *row;
    int r;

    if (nj_workspace_path(text, &path, err) < 0 || nj_reading_row(reading, &row, err) < 0 ||
        nj_timeline_workspace(reading->timeline, row, &workspace, err) < 0)
        return -(int)err->code;
    r = find_file(reading, path, &workspace.tree, &arena, &entry, err);
    if (r < 0)
        return r;
    if (r == 1 || entry.type != NJ_FILE_REGULAR) {
        nj_log(NJ_LOG_ERROR, "/%s: %s at step %u%s", path,
               r == 1 ? "not in the workspace" : "not a file", row->step,
               r == 1 ? NJ_WORKSPACE_HINT : "");
        return NJ_EXIT_DIVERGED;
    }
    if (isatty(STDOUT_FILENO))
        r = print_escaped(&source, &entry, err);
    else
        r = nj_parts_each(&source, &entry, write_raw, NULL, err);
    return r < 0 ? nj_wrap(err, "/%s", path) : NJ_EXIT_OK;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;

    if (nj_arguments_next(args, err) < 0 ||
        nj_reading_open(args->operands[0], 0, -1, &reading, err) < 0)
        return -(int)err->code;
    return cat(&reading, args->operands[1], err);
}

const struct nj_command nj_cmd_cat = {
    .name = "cat",
    .summary = "one file of the workspace at a step",
    .help = "Writes the file's bytes as they were after step N (without @N: the last). On a "
            "terminal they are escaped.",
    .operands = (const struct nj_operand[]){{.name = "B[@N]", .takes = NJ_TAKES_RECORD},
                                            {.name = "PATH"},
                                            {0}},
    .exits = "Exit status 1: there is no such file.",
    .see = "nightjar-replay-ls(1) nightjar-replay-checkout(1)",
    .run = run,
};
