/*
 * outputs_publish.c - a tree as a folder of the host
 *
 * The tree is an agent's work and may come out of a bundle: names are single parts (the decoder's
 * promise), everything is made new in a folder that nobody else writes to, and no link is made that
 * could lead whoever reads the outputs out of them. Such a link is one that is absolute, climbs
 * above the folder, or has ".." behind a name (which another link could bend); what is left only
 * leads down from a real folder.
 */
#include "batch/engine/outputs.h"

#include <errno.h>
#include <fcntl.h>

#include "batch/plan/shown.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define TEMP_MAX_BYTES 300
#define DEPTH_MAX 256 /* each level holds a descriptor while it is written */

struct publishing {
    const struct nj_object_source *source;
    struct nj_buf *report;
    size_t visits;
    size_t held_bytes;
    bool named; /* the failure has its path already: the innermost knows all of it */
};

static bool leads_out(struct nj_span target, unsigned depth)
{
    size_t at = 0;
    bool named = false;

    if (target.len == 0 || target.data[0] == '/')
        return true;
    while (at < target.len) {
        size_t start = at;
        size_t len;

        while (at < target.len && target.data[at] != '/')
            at++;
        len = at - start;
        at++;
        if (len == 2 && memcmp(target.data + start, "..", 2) == 0) {
            if (named || depth-- == 0)
                return true;
        } else if (len > 1 || (len == 1 && target.data[start] != '.')) {
            named = true;
        }
    }
    return false;
}

static int report_link(struct publishing *out, const char *path, struct nj_span target,
                       struct nj_error *err)
{
    size_t start;
    int r;

    if (!out->report)
        return 0;
    start = out->report->len;
    r = nj_buf_text(out->report, "link ", err);
    if (r == 0)
        r = nj_buf_json_text(out->report, nj_span_text(path), err);
    if (r == 0)
        r = nj_buf_text(out->report, " points out of the outputs and was left out: ", err);
    if (r == 0)
        r = nj_buf_json_text(out->report, target, err);
    if (r == 0)
        r = nj_buf_text(out->report, "\n", err);
    if (r < 0 && err->code == NJ_E_LIMIT) { /* a report that is full has said enough */
        out->report->len = start;
        if (out->report->data)
            out->report->data[start] = '\0';
        return 0;
    }
    return r;
}

static int write_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    return nj_fsio_sparse_write(ctx, piece.data, piece.len, err);
}

static int publish_file(struct publishing *out, int dir_fd, const char *name,
                        const struct nj_tree_entry *entry, struct nj_error *err)
{
    mode_t mode = entry->mode & 0111 ? 0700 : 0600;
    struct nj_fsio_sparse file = {0};
    nj_auto_close int fd = -1;
    int r;

    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create");
    if (fchmod(fd, mode) < 0) /* whatever the umask */
        return nj_fail_errno(err, errno, "chmod");
    file.fd = fd;
    r = nj_parts_each(out->source, entry, write_piece, &file, err);
    if (r == 0)
        r = nj_fsio_sparse_end(&file, err);
    return r < 0 ? r : nj_fsio_fdatasync(fd, err);
}

static int publish_dir(struct publishing *out, int fd, const struct nj_digest *tree,
                       const char *path, unsigned depth, struct nj_error *err);

static int publish_folder(struct publishing *out, int dir_fd, const char *name,
                          const struct nj_tree_entry *entry, const char *path, unsigned depth,
                          struct nj_error *err)
{
    nj_auto_close int fd = -1;

    if (mkdirat(dir_fd, name, 0700) < 0)
        return nj_fail_errno(err, errno, "make folder");
    if (fchmodat(dir_fd, name, 0700, 0) < 0) /* made a moment ago, in a folder that is ours alone */
        return nj_fail_errno(err, errno, "chmod folder");
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open folder");
    return publish_dir(out, fd, &entry->digest, path, depth + 1, err);
}

static int publish_entry(struct publishing *out, int dir_fd, const struct nj_tree_entry *entry,
                         const char *name, const char *path, unsigned depth, struct nj_error *err)
{
    nj_auto_free char *target = NULL;

    switch (entry->type) {
    case NJ_FILE_REGULAR:
        return publish_file(out, dir_fd, name, entry, err);
    case NJ_FILE_DIRECTORY:
        return publish_folder(out, dir_fd, name, entry, path, depth, err);
    case NJ_FILE_SYMLINK:
        if (leads_out(entry->target, depth))
            return report_link(out, path, entry->target, err);
        target = nj_span_dup(entry->target);
        if (!target)
            return nj_fail_nomem(err);
        return symlinkat(target, dir_fd, name) == 0 ? 0 : nj_fail_errno(err, errno, "make link");
    case NJ_FILE_HARDLINK:
    case NJ_FILE_FIFO:
    case NJ_FILE_SOCKET:
        break;
    }
    return nj_fail(err, NJ_E_CORRUPT, "neither a file, a folder nor a symlink");
}

static int publish_entries(struct publishing *out, int fd, const struct nj_tree *tree,
                           const char *path, unsigned depth, struct nj_error *err)
{
    for (size_t i = 0; i < tree->n_entries; i++) {
        nj_auto_free char *name = nj_span_dup(tree->entries[i].name);
        nj_auto_free char *inner = NULL;
        int r;

        if (++out->visits > NJ_TREE_VISITS_MAX)
            return nj_fail(err, NJ_E_LIMIT, "more than %d files", NJ_TREE_VISITS_MAX);
        if (!name)
            return nj_fail_nomem(err);
        if (asprintf(&inner, "%s%s%s", path, *path ? "/" : "", name) < 0) {
            inner = NULL;
            return nj_fail_nomem(err);
        }
        r = publish_entry(out, fd, &tree->entries[i], name, inner, depth, err);
        if (r < 0)
            return out->named ? r : (out->named = true, nj_wrap(err, "%s", nj_shown(inner).text));
    }
    return nj_fsio_sync_dir(fd, err);
}

static int publish_dir(struct publishing *out, int fd, const struct nj_digest *tree,
                       const char *path, unsigned depth, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_tree decoded;
    size_t bytes;
    int r;

    if (depth > DEPTH_MAX)
        return nj_fail(err, NJ_E_LIMIT, "folders deeper than %d", DEPTH_MAX);
    r = nj_tree_load(out->source, tree, &arena, &decoded, &bytes, err);
    if (r < 0)
        return r;
    if (bytes > NJ_TREE_HELD_MAX_BYTES - out->held_bytes)
        return nj_fail(err, NJ_E_LIMIT, "folders of more than %u bytes in one path",
                       NJ_TREE_HELD_MAX_BYTES);
    out->held_bytes += bytes;
    r = publish_entries(out, fd, &decoded, path, depth, err);
    out->held_bytes -= bytes;
    return r;
}

/* exchange - nj_fsio_rename() for two names that are both taken; passes the same fault point */
static int exchange(int dir_fd, const char *temp, const char *slug)
{
    switch (nj_fault("rename")) {
    case NJ_FAULT_ENOSPC:
        return ENOSPC;
    case NJ_FAULT_EIO:
        return EIO;
    case NJ_FAULT_NONE:
    case NJ_FAULT_EINTR: /* a rename is not interrupted half-way, and has no short form */
    case NJ_FAULT_SHORT:
        break;
    }
    return renameat2(dir_fd, temp, dir_fd, slug, RENAME_EXCHANGE) == 0 ? 0 : errno;
}

/* replace - @temp becomes @slug; what was there becomes @temp, to be removed */
static int replace(int dir_fd, const char *temp, const char *slug, struct nj_error *err)
{
    struct stat st;
    int r;

    if (fstatat(dir_fd, slug, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return nj_fail_errno(err, errno, "look at what is there");
        return nj_fsio_rename(dir_fd, temp, dir_fd, slug, err);
    }
    r = exchange(dir_fd, temp, slug);
    if (r == 0)
        return 0;
    if (r != EINVAL && r != ENOSYS)
        return nj_fail_errno(err, r, "exchange with what is there");
    r = nj_fsio_remove_tree(dir_fd, slug,
                            err); /* a file system that cannot exchange: gone for a moment */
    return r < 0 ? r : nj_fsio_rename(dir_fd, temp, dir_fd, slug, err);
}

static int publish_as(struct publishing *out, const struct nj_digest *outputs, int dir_fd,
                      const char *temp, const char *slug, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    int r;

    r = nj_fsio_remove_tree(dir_fd, temp, err);
    if (r == 0 && mkdirat(dir_fd, temp, 0700) < 0)
        r = nj_fail_errno(err, errno, "make %s", temp);
    if (r == 0 && fchmodat(dir_fd, temp, 0700, 0) < 0)
        r = nj_fail_errno(err, errno, "chmod %s", temp);
    if (r < 0)
        return r;
    fd = openat(dir_fd, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open %s", temp);
    r = publish_dir(out, fd, outputs, "", 0, err);
    if (r == 0)
        r = replace(dir_fd, temp, slug, err);
    return r < 0 ? r : nj_fsio_sync_dir(dir_fd, err);
}

int nj_outputs_publish(const struct nj_object_source *source, const struct nj_digest *outputs,
                       int dir_fd, const char *slug, struct nj_buf *report, struct nj_error *err)
{
    struct publishing out = {.source = source, .report = report};
    struct nj_error ignored = {0};
    char temp[TEMP_MAX_BYTES];
    int r;

    (void)snprintf(temp, sizeof(temp), ".tmp-outputs-%s", slug);
    r = publish_as(&out, outputs, dir_fd, temp, slug, err);
    /* What failed, or what was replaced; left behind it is removed by the next one. */
    if (nj_fsio_remove_tree(dir_fd, temp, &ignored) < 0 && r == 0) {
        *err = ignored;
        r = -(int)ignored.code;
    }
    return r < 0 ? nj_wrap(err, "publish outputs %s", slug) : 0;
}
