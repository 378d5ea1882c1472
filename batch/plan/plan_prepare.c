/*
 * plan_prepare.c - a session's first message and first workspace
 *
 * The complication: a workspace must come out the same in the run that was killed and in the one
 * that resumed it, so nothing here looks at the host: contents come from the run's inputs, times
 * from the plan.
 */
#include "batch/plan/plan_inside.h"

#include "batch/session/message.h"

#include "formats/base/banned.h"

static int append_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    return nj_buf_append(ctx, piece.data, piece.len, err);
}

static int prepare_message(const struct nj_plan *plan, const struct nj_plan_session *session,
                           const struct nj_item_values *values,
                           const struct nj_object_sink *objects, struct nj_buf *ret_first,
                           struct nj_digest *ret_digest, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    size_t start = ret_first->len;
    struct nj_span item;
    int r;

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (session->input)
        r = nj_buf_text(&text, session->input, err);
    else
        r = nj_item_expand(plan->manifest->groups[session->group].input, values, &text, err);
    if (r < 0)
        return r;
    r = nj_message_user_text(nj_buf_span(&text), ret_first, err);
    if (r < 0)
        return r;
    item = (struct nj_span){ret_first->data + start, ret_first->len - start};
    if (item.len > NJ_MESSAGE_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "%zu bytes, at most %u", item.len, NJ_MESSAGE_MAX_BYTES);
    return nj_object_put(objects, NJ_OBJECT_MESSAGE, item, ret_digest, err);
}

static int file_content(const struct nj_plan_file *file, const struct nj_item_values *values,
                        const struct nj_object_source *files, struct nj_buf *buf,
                        struct nj_error *err)
{
    if (file->source) {
        nj_buf_init(buf, file->source->entry.size);
        return nj_parts_each(files, &file->source->entry, append_piece, buf, err);
    }
    nj_buf_init(buf, NJ_PLAN_CONTENT_MAX_BYTES);
    return nj_item_expand(file->content, values, buf, err);
}

static int add_file(struct nj_tree_builder *builder, const struct nj_plan_file *file,
                    const struct nj_item_values *values, const struct nj_object_source *files,
                    const struct nj_object_sink *objects, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    r = file_content(file, values, files, &buf, err);
    if (r == 0)
        r = nj_tree_builder_file(builder, file->target + 1,
                                 file->source ? file->source->entry.mode : 0644,
                                 file->source ? file->source->mtime_ns : NJ_PLAN_MTIME_NS,
                                 nj_buf_span(&buf), objects, err);
    return r < 0 ? nj_wrap(err, "file %.200s", file->target) : 0;
}

/* add_folders - @path's parents below the root, and itself when @whole; those that are there
 * already stay */
static int add_folders(struct nj_tree_builder *builder, struct nj_table *folders, const char *path,
                       bool whole, struct nj_error *err)
{
    for (size_t len = 1;; len++) {
        nj_auto_free char *folder = NULL;
        unsigned mode = 0755;
        size_t before;
        int r;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        if (path[len] == '\0' && !whole)
            return 0;
        r = nj_table_add(folders, (struct nj_span){(const uint8_t *)path, len}, 0, &before, err);
        if (r < 0)
            return r;
        folder = strndup(path, len);
        if (!folder)
            return nj_fail_nomem(err);
        if (strcmp(folder, "/tmp") == 0)
            mode = 01777;
        if (r == 0 && nj_tree_builder_dir(builder, folder + 1, mode, NJ_PLAN_MTIME_NS, err) < 0)
            return -(int)err->code;
        if (path[len] == '\0')
            return 0;
    }
}

static bool is_under(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* wants_folder - a read-only path that the workspace has to bring: the box can only cover what
 * exists */
static bool wants_folder(const struct nj_plan_session *session, const char *path)
{
    const struct nj_session_config *config = session->config;
    bool writable = false;

    for (size_t i = 0; i < config->n_writable_paths; i++)
        writable = writable || is_under(path, config->writable_paths[i]);
    for (size_t i = 0; i < session->n_files; i++) {
        if (strcmp(session->files[i].target, path) == 0)
            return false;
    }
    return writable;
}

static int add_all(struct nj_tree_builder *builder, const struct nj_plan_session *session,
                   const struct nj_item_values *values, const struct nj_object_source *files,
                   const struct nj_object_sink *objects, struct nj_error *err)
{
    const struct nj_session_config *config = session->config;
    NJ_AUTO(nj_table_done) struct nj_table folders = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < config->n_writable_paths; i++)
        r = add_folders(builder, &folders, config->writable_paths[i], true, err);
    for (size_t i = 0; r == 0 && i < config->n_read_only_paths; i++) {
        if (wants_folder(session, config->read_only_paths[i]))
            r = add_folders(builder, &folders, config->read_only_paths[i], true, err);
    }
    for (size_t i = 0; r == 0 && i < session->n_files; i++) {
        r = add_folders(builder, &folders, session->files[i].target, false, err);
        if (r == 0)
            r = add_file(builder, &session->files[i], values, files, objects, err);
    }
    return r;
}

int nj_plan_prepare(const struct nj_plan *plan, const struct nj_plan_session *session,
                    const char *results, const struct nj_object_source *files,
                    const struct nj_object_sink *objects, struct nj_buf *ret_first,
                    struct nj_digest *ret_first_digest, struct nj_workspace_ref *ret_workspace,
                    struct nj_error *err)
{
    struct nj_item_values values = {.item = session->item_json, .results = results};
    NJ_AUTO(nj_tree_builder_free) struct nj_tree_builder *builder = NULL;
    size_t start = ret_first->len;
    struct nj_workspace_ref ref;
    struct nj_digest first;
    int r;

    r = nj_tree_builder_new(&builder, err);
    if (r < 0)
        return r;
    r = add_all(builder, session, &values, files, objects, err);
    if (r == 0)
        r = nj_tree_builder_finish(builder, objects, &ref, err);
    if (r < 0)
        return nj_wrap(err, "session %s: first workspace", session->key);
    r = prepare_message(plan, session, &values, objects, ret_first, &first, err);
    if (r < 0) {
        ret_first->len = start;
        if (ret_first->data)
            ret_first->data[start] = '\0';
        return nj_wrap(err, "session %s: first message", session->key);
    }
    *ret_first_digest = first;
    *ret_workspace = ref;
    return 0;
}
