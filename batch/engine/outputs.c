/*
 * outputs.c - the part of a workspace that the globs of a job name
 *
 * The workspace was made by an agent: nested as deep and as wide as it liked. A folder is entered
 * only where a pattern can still match, and the walk stops at the limits of all walks.
 */
#include "batch/engine/outputs.h"

#include "batch/plan/glob.h"
#include "batch/plan/shown.h"

#include "formats/base/banned.h"

struct collecting {
    const struct nj_object_source *source;
    const struct nj_digest *root;
    const struct nj_object_sink *sink;
    const struct nj_glob *globs;
    size_t n_globs;
    size_t visits;
    size_t held_bytes; /* of the directories held open */
};

static int compile_all(const char *const *globs, size_t n_globs, struct nj_arena *arena,
                       const struct nj_glob **ret_globs, struct nj_error *err)
{
    struct nj_glob *compiled = nj_arena_array(arena, n_globs + 1, sizeof(*compiled));

    if (!compiled)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n_globs; i++) {
        int r = nj_glob_compile(globs[i], arena, &compiled[i], err);

        if (r < 0)
            return nj_wrap(err, "outputs %.200s", globs[i]);
    }
    *ret_globs = compiled;
    return 0;
}

int nj_outputs_match(const char *const *globs, size_t n_globs, const char *path,
                     struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    const struct nj_glob *compiled;
    int r;

    r = compile_all(globs, n_globs, &arena, &compiled, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_globs; i++) {
        struct nj_glob_state state;
        const char *at = path;

        nj_glob_start(&compiled[i], &state);
        while (*at) {
            size_t len = strcspn(at, "/");

            nj_glob_step(&compiled[i], &state, (struct nj_span){(const uint8_t *)at, len}, false,
                         &state);
            at += len;
            at += *at == '/';
        }
        if (nj_glob_matched(&compiled[i], &state))
            return 1;
    }
    return 0;
}

/* ---- collecting ---- */

static int collect_dir(struct collecting *in, const struct nj_digest *tree,
                       const struct nj_glob_state *states, unsigned depth,
                       struct nj_digest *ret_tree, bool *ret_empty, struct nj_error *err);

/* resolve_hardlink - the file that @entry is another name of, under its own name */
static int resolve_hardlink(struct collecting *in, struct nj_arena *arena,
                            struct nj_tree_entry *entry, struct nj_error *err)
{
    struct nj_tree_entry target;
    const char *path = nj_arena_span(arena, entry->target);
    int r;

    if (!path)
        return nj_fail_nomem(err);
    r = nj_tree_lookup(in->source, in->root, path, arena, &target, err);
    if (r < 0)
        return r;
    if (r == 1 || target.type != NJ_FILE_REGULAR)
        return nj_fail(err, NJ_E_CORRUPT, "a hard link to %s, which is no file",
                       nj_shown(path).text);
    target.name = entry->name;
    *entry = target;
    return 0;
}

/* collect_entry - 1 when @entry (changed to what is collected of it) belongs to the outputs */
static int collect_entry(struct collecting *in, const struct nj_glob_state *states, unsigned depth,
                         struct nj_arena *arena, struct nj_tree_entry *entry, struct nj_error *err)
{
    struct nj_glob_state *next = nj_arena_array(arena, in->n_globs + 1, sizeof(*next));
    bool matched = false;
    bool alive = false;
    bool empty = true;
    int r;

    if (!next)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < in->n_globs; i++) {
        nj_glob_step(&in->globs[i], &states[i], entry->name, false, &next[i]);
        matched = matched || nj_glob_matched(&in->globs[i], &next[i]);
        alive = alive || nj_glob_alive(&in->globs[i], &next[i]);
    }
    switch (entry->type) {
    case NJ_FILE_REGULAR:
    case NJ_FILE_SYMLINK:
        return matched;
    case NJ_FILE_HARDLINK:
        if (!matched)
            return 0;
        r = resolve_hardlink(in, arena, entry, err);
        return r < 0 ? r : 1;
    case NJ_FILE_DIRECTORY:
        if (!alive)
            return 0;
        r = collect_dir(in, &entry->digest, next, depth + 1, &entry->digest, &empty, err);
        return r < 0 ? r : !empty;
    case NJ_FILE_FIFO:
    case NJ_FILE_SOCKET:
        break;
    }
    return 0;
}

static int put_dir(struct collecting *in, const struct nj_tree_entry *entries, size_t n_entries,
                   struct nj_digest *ret_tree, struct nj_error *err)
{
    struct nj_tree tree = {.entries = entries, .n_entries = n_entries};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_dir_stored stored;
    int r;

    r = nj_tree_put(in->sink, &tree, NULL, &arena, &stored, err);
    if (r < 0)
        return r;
    *ret_tree = stored.digest;
    return 0;
}

static int collect_entries(struct collecting *in, const struct nj_tree *tree,
                           const struct nj_glob_state *states, unsigned depth,
                           struct nj_arena *arena, struct nj_digest *ret_tree, bool *ret_empty,
                           struct nj_error *err)
{
    struct nj_tree_entry *kept = nj_arena_array(arena, tree->n_entries + 1, sizeof(*kept));
    size_t n_kept = 0;
    int r;

    if (!kept)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < tree->n_entries; i++) {
        if (++in->visits > NJ_TREE_VISITS_MAX)
            return nj_fail(err, NJ_E_LIMIT, "more than %d files", NJ_TREE_VISITS_MAX);
        kept[n_kept] = tree->entries[i];
        r = collect_entry(in, states, depth, arena, &kept[n_kept], err);
        if (r < 0)
            return r;
        n_kept += (size_t)r;
    }
    *ret_empty = n_kept == 0;
    return n_kept || depth == 0 ? put_dir(in, kept, n_kept, ret_tree, err) : 0;
}

static int collect_dir(struct collecting *in, const struct nj_digest *tree,
                       const struct nj_glob_state *states, unsigned depth,
                       struct nj_digest *ret_tree, bool *ret_empty, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tree decoded;
    size_t bytes;
    int r;

    if (depth > NJ_TREE_DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "folders deeper than %d", NJ_TREE_DEPTH_MAX);
    r = nj_tree_load(in->source, tree, &arena, &decoded, &bytes, err);
    if (r < 0)
        return r;
    if (bytes > NJ_TREE_HELD_MAX_BYTES - in->held_bytes)
        return nj_fail(err, NJ_E_LIMIT, "folders of more than %u bytes in one path",
                       NJ_TREE_HELD_MAX_BYTES);
    in->held_bytes += bytes;
    r = collect_entries(in, &decoded, states, depth, &arena, ret_tree, ret_empty, err);
    in->held_bytes -= bytes;
    return r;
}

int nj_outputs_collect(const struct nj_object_source *source, const struct nj_digest *tree,
                       const char *const *globs, size_t n_globs, const struct nj_object_sink *sink,
                       struct nj_digest *ret_outputs, struct nj_error *err)
{
    struct collecting in = {.source = source, .root = tree, .sink = sink, .n_globs = n_globs};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_glob_state *states;
    struct nj_digest outputs;
    bool empty;
    int r;

    r = compile_all(globs, n_globs, &arena, &in.globs, err);
    if (r < 0)
        return r;
    states = nj_arena_array(&arena, n_globs + 1, sizeof(*states));
    if (!states)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n_globs; i++)
        nj_glob_start(&in.globs[i], &states[i]);
    r = collect_dir(&in, tree, states, 0, &outputs, &empty, err);
    if (r < 0)
        return nj_wrap(err, "collect outputs");
    *ret_outputs = outputs;
    return 0;
}
