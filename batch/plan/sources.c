/*
 * sources.c - what a plan asks of the host, and what it was told
 *
 * The complication: one kind of object, two ways to fill it. A live one asks when it does not know;
 * a recorded one was filled when it was made (sources_read.c) and refuses what it does not know.
 */
#include "batch/plan/sources_inside.h"

#include <inttypes.h>

#include "batch/plan/inputs.h"

#include "formats/base/banned.h"

/* ---- keeping answers ---- */

int nj_sources_keep(struct nj_sources *sources, const struct nj_answer *answer,
                    struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf key = {0};
    size_t before;
    int r;

    if (sources->n_answers == sources->cap_answers) {
        size_t cap = sources->cap_answers ? sources->cap_answers * 2 : 64;
        struct nj_answer **larger = reallocarray(sources->answers, cap, sizeof(struct nj_answer *));

        if (!larger)
            return nj_fail_nomem(err);
        sources->answers = larger;
        sources->cap_answers = cap;
    }
    sources->answers[sources->n_answers] = nj_arena_alloc(&sources->arena, sizeof(*answer));
    if (!sources->answers[sources->n_answers])
        return nj_fail_nomem(err);
    *sources->answers[sources->n_answers] = *answer;
    nj_buf_init(&key, SIZE_MAX);
    if (nj_buf_printf(&key, err, "%c%s", (int)answer->kind, answer->path) < 0)
        return -(int)err->code;
    r = nj_table_add(&sources->known, nj_buf_span(&key), sources->n_answers, &before, err);
    if (r < 0)
        return r;
    sources->n_answers++;
    return r;
}

static int find(struct nj_sources *sources, enum nj_answer_kind kind, const char *path,
                const struct nj_answer **ret_answer, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf key = {0};
    size_t at;

    nj_buf_init(&key, SIZE_MAX);
    if (nj_buf_printf(&key, err, "%c%s", (int)kind, path) < 0)
        return -(int)err->code;
    if (nj_table_find(&sources->known, nj_buf_span(&key), &at)) {
        *ret_answer = sources->answers[at];
        return 1;
    }
    if (sources->recorded)
        return nj_fail(err, NJ_E_CORRUPT,
                       "the run's inputs do not hold %.300s, which its manifest asks for", path);
    return 0;
}

static int keep_last(struct nj_sources *sources, struct nj_answer *answer, const char *path,
                     const struct nj_answer **ret_answer, struct nj_error *err)
{
    int r;

    answer->path = nj_arena_text(&sources->arena, path);
    if (!answer->path)
        return nj_fail_nomem(err);
    answer->file.path = answer->path;
    r = nj_sources_keep(sources, answer, err);
    if (r < 0)
        return r;
    *ret_answer = sources->answers[sources->n_answers - 1];
    return 0;
}

/* ---- asking ---- */

int nj_sources_new(int dir_fd, const char *const *allow, const struct nj_object_sink *sink,
                   struct nj_sources **ret_sources, struct nj_error *err)
{
    NJ_AUTO(nj_sources_free) struct nj_sources *sources = calloc(1, sizeof(*sources));
    int r;

    if (!sources)
        return nj_fail_nomem(err);
    r = nj_roots_open(dir_fd, allow, &sources->roots, err);
    if (r < 0)
        return r;
    sources->sink = sink;
    *ret_sources = nj_steal_ptr(&sources);
    return 0;
}

void nj_sources_free(struct nj_sources *sources)
{
    if (!sources)
        return;
    free(sources->answers);
    nj_table_done(&sources->known);
    nj_roots_done(&sources->roots);
    nj_arena_done(&sources->arena);
    free(sources);
}

int nj_sources_glob(struct nj_sources *sources, const char *pattern,
                    const struct nj_glob_result **ret_result, struct nj_error *err)
{
    struct nj_answer answer = {.kind = NJ_ANSWER_GLOB};
    const struct nj_answer *known;
    int r;

    r = find(sources, NJ_ANSWER_GLOB, pattern, &known, err);
    if (r == 0)
        r = nj_glob_expand(&sources->roots, pattern, &sources->arena, &answer.glob, err);
    else if (r > 0)
        *ret_result = &known->glob;
    if (r != 0)
        return r < 0 ? r : 0;
    r = keep_last(sources, &answer, pattern, &known, err);
    if (r == 0)
        *ret_result = &known->glob;
    return r;
}

/* The answer for a file; its content is appended to @out where that is not NULL and the host was
 * asked. *ret_asked says so. */
static int ask_file(struct nj_sources *sources, const char *path, struct nj_buf *out,
                    const struct nj_answer **ret_answer, bool *ret_asked, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_answer answer = {.kind = NJ_ANSWER_FILE};
    struct nj_place place;
    int r;

    *ret_asked = false;
    r = find(sources, NJ_ANSWER_FILE, path, ret_answer, err);
    if (r != 0)
        return r < 0 ? r : 0;
    *ret_asked = true;
    r = nj_roots_place(&sources->roots, path, &arena, &place, err);
    if (r == 0)
        r = nj_inputs_add_file(&sources->roots, &place, sources->sink, out, &answer.file.entry,
                               &answer.file.mtime_ns, err);
    return r < 0 ? r : keep_last(sources, &answer, path, ret_answer, err);
}

int nj_sources_file(struct nj_sources *sources, const char *path,
                    const struct nj_source_file **ret_file, struct nj_error *err)
{
    const struct nj_answer *answer = NULL;
    bool asked;
    int r = ask_file(sources, path, NULL, &answer, &asked, err);

    if (r == 0)
        *ret_file = &answer->file;
    return r;
}

void nj_sources_read_from(struct nj_sources *sources, const struct nj_object_source *source)
{
    sources->source = source;
}

static int append_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    return nj_buf_append(ctx, piece.data, piece.len, err);
}

/* A file whose answer is known from before: recorded, or asked for as another input already. */
static int read_known(struct nj_sources *sources, const struct nj_answer *answer,
                      struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tree_entry entry = {0};
    struct nj_place place;
    int64_t mtime_ns;
    int r;

    if (sources->recorded)
        return sources->source
                   ? nj_parts_each(sources->source, &answer->file.entry, append_piece, out, err)
                   : nj_fail(err, NJ_E_CORRUPT, "no content is at hand for %.200s", answer->path);
    r = nj_roots_place(&sources->roots, answer->path, &arena, &place, err);
    if (r == 0)
        r = nj_inputs_add_file(&sources->roots, &place, sources->sink, out, &entry, &mtime_ns, err);
    if (r == 0 && memcmp(&entry.digest, &answer->file.entry.digest, sizeof(entry.digest)) != 0)
        return nj_fail(err, NJ_E_INPUT, "%.200s was changed while it was read", answer->path);
    return r;
}

int nj_sources_text(struct nj_sources *sources, const char *path, struct nj_buf *out,
                    struct nj_error *err)
{
    const struct nj_answer *answer = NULL;
    bool asked;
    int r = ask_file(sources, path, out, &answer, &asked, err);

    if (r == 0 && !asked)
        r = read_known(sources, answer, out, err);
    if (r < 0 && err->code == NJ_E_LIMIT)
        return nj_fail(err, NJ_E_INPUT, "%.200s is longer than %zu bytes", path, out->max);
    return r;
}

int nj_sources_folder(struct nj_sources *sources, const char *path,
                      struct nj_workspace_ref *ret_ref, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_answer answer = {.kind = NJ_ANSWER_FOLDER};
    const struct nj_answer *known;
    struct nj_place place;
    int r;

    r = find(sources, NJ_ANSWER_FOLDER, path, &known, err);
    if (r > 0)
        *ret_ref = known->folder;
    if (r != 0)
        return r < 0 ? r : 0;
    r = nj_roots_place(&sources->roots, path, &arena, &place, err);
    if (r == 0)
        r = nj_inputs_add_folder(&sources->roots, &place, sources->sink, &answer.folder, err);
    if (r == 0)
        r = keep_last(sources, &answer, path, &known, err);
    if (r == 0)
        *ret_ref = known->folder;
    return r;
}

/* A recorded run has it among its inputs already. */
static int drop_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    (void)ctx;
    (void)object;
    (void)err;
    return 0;
}

int nj_sources_archive(struct nj_sources *sources, const char *path, const char *name,
                       struct nj_workspace_ref *ret_ref, struct nj_digest *ret_digest,
                       struct nj_error *err)
{
    const struct nj_object_sink nowhere = {.put = drop_object};
    const struct nj_object_sink *sink = sources->recorded ? &nowhere : sources->sink;
    const struct nj_source_file *file;
    int r;

    r = nj_sources_file(sources, path, &file, err);
    if (r == 0)
        r = nj_inputs_single(&file->entry, name, sink, ret_ref, err);
    if (r == 0)
        *ret_digest = file->entry.digest;
    return r;
}

size_t nj_sources_links_left(const struct nj_sources *sources, const char **ret_first)
{
    const char *first = NULL;
    size_t count = 0;

    for (size_t i = 0; i < sources->n_answers; i++) {
        const struct nj_answer *answer = sources->answers[i];

        if (answer->kind != NJ_ANSWER_GLOB)
            continue;
        if (!first)
            first = answer->glob.first_link;
        count += answer->glob.links_left;
    }
    *ret_first = first;
    return count;
}

/* ---- writing ---- */

static int write_digest(struct nj_buf *out, const char *key, const struct nj_digest *digest,
                        struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    return nj_buf_printf(out, err, ",\"%s\":\"%s\"", key, hex);
}

static int write_path(struct nj_buf *out, const char *key, const char *path, struct nj_error *err)
{
    if (nj_buf_printf(out, err, "{\"%s\":", key) < 0)
        return -(int)err->code;
    return nj_buf_json_text(out, nj_span_text(path), err);
}

static int write_glob(struct nj_buf *out, const struct nj_answer *answer, size_t *lines,
                      struct nj_error *err)
{
    const struct nj_glob_result *glob = &answer->glob;

    if (write_path(out, "glob", answer->path, err) < 0 ||
        nj_buf_printf(out, err, ",\"matches\":%zu,\"links_left\":%zu}\n", glob->n_matches,
                      glob->links_left) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < glob->n_matches; i++) {
        if (write_path(out, "match", glob->matches[i].path, err) < 0 ||
            nj_buf_printf(out, err, ",\"size\":%" PRIu64 "}\n", glob->matches[i].size) < 0)
            return -(int)err->code;
    }
    *lines += 1 + glob->n_matches;
    return 0;
}

static int write_file(struct nj_buf *out, const struct nj_source_file *file, struct nj_error *err)
{
    if (write_path(out, "file", file->path, err) < 0 ||
        write_digest(out, "digest", &file->entry.digest, err) < 0 ||
        (file->entry.has_parts && write_digest(out, "parts", &file->entry.parts, err) < 0))
        return -(int)err->code;
    return nj_buf_printf(out, err,
                         ",\"size\":%" PRIu64 ",\"mode\":\"%04o\",\"mtime_ns\":%" PRId64 "}\n",
                         file->entry.size, file->entry.mode, file->mtime_ns);
}

static int write_folder(struct nj_buf *out, const struct nj_answer *answer, struct nj_error *err)
{
    if (write_path(out, "folder", answer->path, err) < 0 ||
        write_digest(out, "tree", &answer->folder.tree, err) < 0 ||
        write_digest(out, "stamps", &answer->folder.stamps, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}\n", err);
}

int nj_sources_write(const struct nj_sources *sources, struct nj_buf *out, struct nj_error *err)
{
    size_t lines = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < sources->n_answers; i++) {
        const struct nj_answer *answer = sources->answers[i];

        switch (answer->kind) {
        case NJ_ANSWER_GLOB:
            r = write_glob(out, answer, &lines, err);
            break;
        case NJ_ANSWER_FILE:
            r = write_file(out, &answer->file, err);
            lines++;
            break;
        case NJ_ANSWER_FOLDER:
            r = write_folder(out, answer, err);
            lines++;
            break;
        }
    }
    return r < 0 ? r : nj_buf_printf(out, err, "{\"end\":%zu}\n", lines);
}
