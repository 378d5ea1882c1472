/*
 * ran.c - comparing what ran by digest, and by name
 */
#include "replay/ran.h"

#include "batch/sandbox/instructions.h"
#include "replay/render.h"

#include "formats/base/banned.h"

/* read_list - @bytes are what the list borrows from */
static int read_list(const struct nj_object_source *source, const struct nj_digest *digest,
                     struct nj_buf *bytes, struct nj_arena *arena, struct nj_ran *ret_ran,
                     struct nj_error *err)
{
    nj_buf_init(bytes, NJ_OBJECT_MAX_BYTES);
    if (nj_object_get(source, NJ_OBJECT_BLOB, digest, bytes, err) < 0 ||
        nj_ran_decode(nj_buf_span(bytes), arena, ret_ran, err) < 0)
        return nj_wrap(err, "what ran");
    return 0;
}

static int compare_file(const struct nj_digested_file *file, const struct nj_environment *then,
                        struct nj_buf *what, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};

    if (!file || !file->is_there)
        return 0;
    nj_buf_init(&line, 4 * (size_t)NJ_RAN_PATH_MAX_BYTES);
    if (nj_environment_compare_file(then, file->path, &file->digest, &line, err) < 0)
        return -(int)err->code;
    if (line.len == 0 || (what->len && strstr((const char *)what->data, (const char *)line.data)))
        return 0;
    if (nj_buf_append(what, line.data, line.len, err) < 0 || nj_buf_text(what, "\n", err) < 0)
        return -(int)err->code;
    return 0;
}

int nj_ran_compare(struct nj_digested *digested, const struct nj_object_source *now,
                   const struct nj_digest *digest, const struct nj_environment *then,
                   struct nj_buf *what, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_ran ran;

    if (read_list(now, digest, &bytes, &arena, &ran, err) < 0 ||
        nj_digested_add(digested, &ran, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < ran.n_files; i++) {
        const struct nj_digested_file *file = nj_digested_find(digested, ran.files[i].path);

        if (compare_file(file, then, what, err) < 0)
            return -(int)err->code;
        if (file && file->loader &&
            compare_file(nj_digested_find(digested, nj_span_text(file->loader)), then, what, err) <
                0)
            return -(int)err->code;
    }
    return 0;
}

static void copy_path(struct nj_span from, char *path, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0};

    nj_buf_init(&text, 4 * (size_t)NJ_RAN_PATH_MAX_BYTES + 64);
    path[0] = '\0';
    if (nj_render_line(&text, from, &ignored) == 0 && text.data)
        (void)snprintf(path, size, "%s", (const char *)text.data);
}

bool nj_ran_holder(const struct nj_digested *digested, const struct nj_object_source *now,
                   const struct nj_digest *digest, unsigned holds, char *path, size_t size)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error ignored = {0};
    struct nj_ran ran;
    bool found = false;

    if (read_list(now, digest, &bytes, &arena, &ran, &ignored) < 0)
        return false;
    for (size_t i = 0; i < ran.n_files; i++) {
        const struct nj_digested_file *file = nj_digested_find(digested, ran.files[i].path);

        if (!file || !(file->holds & holds))
            continue;
        copy_path(ran.files[i].path, path, size);
        found = true;
    }
    return found;
}

static bool is_in(const struct nj_ran *ran, struct nj_span path)
{
    for (size_t i = 0; i < ran->n_files; i++)
        if (nj_span_equal(ran->files[i].path, path))
            return true;
    return false;
}

bool nj_ran_stranger(const struct nj_object_source *source_then, const struct nj_digest *then,
                     const struct nj_object_source *source_now, const struct nj_digest *now,
                     char *path, size_t size, bool *ret_then)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes_then = {0}, bytes_now = {0};
    struct nj_error ignored = {0};
    struct nj_ran lists[2];

    if (nj_digest_equal(then, now) ||
        read_list(source_then, then, &bytes_then, &arena, &lists[0], &ignored) < 0 ||
        read_list(source_now, now, &bytes_now, &arena, &lists[1], &ignored) < 0)
        return false;
    for (size_t which = 0; which < 2; which++) {
        for (size_t i = 0; i < lists[which].n_files; i++) {
            if (is_in(&lists[1 - which], lists[which].files[i].path))
                continue;
            copy_path(lists[which].files[i].path, path, size);
            *ret_then = which == 0;
            return true;
        }
    }
    return false;
}
