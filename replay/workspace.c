/*
 * workspace.c - a recorded workspace as lines
 */
#include "replay/workspace.h"

#include <inttypes.h>

#include "formats/base/fsio.h"
#include "replay/render.h"

#include "formats/base/banned.h"

int nj_workspace_path(const char *text, char **ret_path, struct nj_error *err)
{
    nj_auto_free char *path = NULL;
    size_t len;

    while (*text == '/')
        text++;
    len = strlen(text);
    while (len > 0 && text[len - 1] == '/')
        len--;
    path = strndup(text, len);
    if (!path)
        return nj_fail_nomem(err);
    if (len > 0 && !nj_tree_path_valid(nj_span_text(path)))
        return nj_fail(err, NJ_E_INPUT,
                       "%s: a path in the workspace is expected, such as /workspace/out", text);
    *ret_path = nj_steal_ptr(&path);
    return 0;
}

int nj_workspace_find(const struct nj_object_source *source, const struct nj_digest *root,
                      const char *path, struct nj_arena *arena, struct nj_tree_entry *ret_entry,
                      struct nj_error *err)
{
    if (path[0])
        return nj_tree_lookup(source, root, path, arena, ret_entry, err);
    *ret_entry = (struct nj_tree_entry){.type = NJ_FILE_DIRECTORY, .mode = 0755, .digest = *root};
    return 0;
}

struct lister {
    const char *top; /* "" or a path */
    enum nj_listing listing;
    int (*print)(struct nj_buf *out, struct nj_error *err);
    struct nj_buf *out;
};

static char type_letter(enum nj_file_type type)
{
    switch (type) {
    case NJ_FILE_DIRECTORY:
        return 'd';
    case NJ_FILE_SYMLINK:
        return 'l';
    case NJ_FILE_HARDLINK:
        return 'h';
    case NJ_FILE_FIFO:
        return 'p';
    case NJ_FILE_SOCKET:
        return 's';
    case NJ_FILE_REGULAR:
        break;
    }
    return '-';
}

const char *nj_file_type_text(enum nj_file_type type)
{
    switch (type) {
    case NJ_FILE_REGULAR:
        return "file";
    case NJ_FILE_DIRECTORY:
        return "folder";
    case NJ_FILE_SYMLINK:
        return "symlink";
    case NJ_FILE_HARDLINK:
        return "hardlink";
    case NJ_FILE_FIFO:
        return "fifo";
    case NJ_FILE_SOCKET:
        return "socket";
    }
    return "?";
}

static bool has_target(const struct nj_tree_entry *entry)
{
    return entry->type == NJ_FILE_SYMLINK || entry->type == NJ_FILE_HARDLINK;
}

static int long_columns(const struct nj_tree_entry *entry, struct nj_buf *out, struct nj_error *err)
{
    char bits[11] = "rwxrwxrwx";

    for (unsigned i = 0; i < 9; i++)
        if (!has_target(entry) && !(entry->mode & (0400u >> i)))
            bits[i] = '-';
    return nj_buf_printf(out, err, "%c%s %12" PRIu64 " ", type_letter(entry->type), bits,
                         entry->size);
}

static int say_text(struct lister *lister, const char *path, const struct nj_tree_entry *entry,
                    struct nj_error *err)
{
    struct nj_buf *out = lister->out;
    bool is_long = lister->listing == NJ_LISTING_LONG;
    nj_auto_free char *absolute = NULL;

    if (asprintf(&absolute, "/%s%s", path, entry->type == NJ_FILE_DIRECTORY && path[0] ? "/" : "") <
        0) {
        absolute = NULL;
        return nj_fail_nomem(err);
    }
    if ((is_long && long_columns(entry, out, err) < 0) ||
        nj_render_name(out, nj_span_text(absolute), err) < 0)
        return -(int)err->code;
    if (is_long && has_target(entry) &&
        (nj_buf_text(out, entry->type == NJ_FILE_SYMLINK ? " -> " : " = /", err) < 0 ||
         nj_render_name(out, entry->target, err) < 0))
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int say_json(struct lister *lister, const char *path, const struct nj_tree_entry *entry,
                    struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf absolute = {0};
    json_t *object = json_object();
    bool ok;

    nj_buf_init(&absolute, strlen(path) + 2);
    if (nj_buf_printf(&absolute, err, "/%s", path) < 0) {
        json_decref(object);
        return -(int)err->code;
    }
    ok = nj_json_set(object, "path", nj_json_text(nj_buf_span(&absolute))) &&
         nj_json_set(object, "type", json_string(nj_file_type_text(entry->type)));
    if (ok && !nj_fsio_utf8_valid(nj_buf_span(&absolute)))
        ok = nj_json_set(object, "path_base64", nj_json_base64(nj_buf_span(&absolute)));
    if (ok && !has_target(entry))
        ok = nj_json_set(object, "mode", json_integer((json_int_t)entry->mode));
    if (ok && entry->type == NJ_FILE_REGULAR)
        ok = nj_json_set(object, "size", json_integer((json_int_t)entry->size)) &&
             nj_json_set(object, "sha256", nj_json_digest(&entry->digest));
    if (ok && has_target(entry))
        ok = nj_json_set(object, "target", nj_json_text(entry->target));
    if (!ok) {
        json_decref(object);
        return nj_fail_nomem(err);
    }
    return nj_json_line(lister->out, object, err);
}

static int say(struct lister *lister, const char *path, const struct nj_tree_entry *entry,
               struct nj_error *err)
{
    int r;

    if (lister->listing == NJ_LISTING_JSON)
        r = say_json(lister, path, entry, err);
    else
        r = say_text(lister, path, entry, err);
    return r < 0 ? r : lister->print(lister->out, err);
}

static int visit(void *ctx, const char *path, const struct nj_tree_entry *entry,
                 struct nj_error *err)
{
    struct lister *lister = ctx;
    nj_auto_free char *full = NULL;

    if (!lister->top[0])
        return say(lister, path, entry, err);
    if (asprintf(&full, "%s/%s", lister->top, path) < 0) {
        full = NULL;
        return nj_fail_nomem(err);
    }
    return say(lister, full, entry, err);
}

int nj_workspace_list(const struct nj_object_source *source, const char *path,
                      const struct nj_tree_entry *entry, enum nj_listing listing,
                      int (*print)(struct nj_buf *out, struct nj_error *err), struct nj_buf *out,
                      struct nj_error *err)
{
    struct lister lister = {.top = path, .listing = listing, .print = print, .out = out};

    if (path[0] && say(&lister, path, entry, err) < 0)
        return -(int)err->code;
    if (entry->type != NJ_FILE_DIRECTORY)
        return 0;
    return nj_tree_walk(source, &entry->digest, visit, &lister, err);
}
