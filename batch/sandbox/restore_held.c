/*
 * restore_held.c - what a workspace held before it is restored: kept as objects, then removed
 *
 * The one complication: the tree to be restored may need contents that came neither along nor back,
 * because the box has them. So all it has is saved first, unless nothing of it can be needed.
 */
#include "batch/sandbox/restore_held.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "batch/sandbox/protocol.h"
#include "batch/sandbox/table.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

static int missing(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                   struct nj_error *err)
{
    (void)kind;
    return nj_objects_has(ctx, digest) ? 0 : nj_fail(err, NJ_E_CORRUPT, "missing");
}

int restore_reach_new(const struct nj_objects *objects, struct nj_reach **ret_reach,
                      struct nj_error *err)
{
    struct nj_object_source source = {.get = nj_objects_get, .ctx = (void *)(uintptr_t)objects};

    return nj_reach_new(&source, missing, (void *)(uintptr_t)objects, ret_reach, err);
}

bool restore_is_complete(const struct nj_objects *objects, const struct nj_workspace_ref *ref)
{
    NJ_AUTO(nj_reach_free) struct nj_reach *reach = NULL;
    struct nj_error
        ignored; /* whatever it is, the old tree is asked too, and then the restore says it */

    return restore_reach_new(objects, &reach, &ignored) >= 0 &&
           nj_reach_workspace(reach, ref, &ignored) >= 0;
}

static int write_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES + 4096);
    r = nj_object_encode(object, &buf, err);
    return r < 0 ? r : nj_fsio_write(*(int *)ctx, buf.data, buf.len, err);
}

int restore_save(struct nj_workspace *workspace, struct nj_objects *ret_objects,
                 struct nj_error *err)
{
    static const struct table nothing;
    NJ_AUTO(table_done) struct table table = {0};
    struct nj_workspace_capture capture;
    nj_auto_close int fd = -1;
    struct nj_object_sink sink = {write_object, &fd};
    int r;

    r = nj_fsio_memfd("nj-held", &fd, err);
    if (r >= 0)
        r = table_capture(workspace, &nothing, TABLE_READ_ALL | table_plain(workspace), &sink,
                          &table, &capture, err);
    if (r >= 0)
        r = nj_msg_seal(fd, err);
    if (r < 0)
        return r;
    return nj_objects_open(ret_objects, nj_steal_fd(&fd), err);
}

int restore_wipe(struct nj_workspace *workspace, struct nj_error *err)
{
    struct dirent *entry;
    DIR *dir;
    int fd, r = 0;

    fd = openat(workspace->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        r = errno;
        nj_close_auto(&fd);
        return nj_fail_errno(err, r, "open the workspace");
    }
    while (r >= 0 && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = nj_fsio_remove_tree(workspace->root_fd, entry->d_name, err);
        nj_changes_forget_own(workspace->changes);
    }
    (void)closedir(dir);
    return r;
}
