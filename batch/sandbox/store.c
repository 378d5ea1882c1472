/*
 * store.c - inputs and images become directories
 */
#include "batch/sandbox/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "batch/sandbox/objects.h"
#include "batch/sandbox/plan.h"
#include "batch/sandbox/rootfs.h"
#include "batch/sandbox/workspace.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* While an input is made. */
#define MAKING "making"
#define UNPACKING "unpacking"

static bool have(const char *store, const char *name)
{
    char path[NJ_PLAN_ROOTFS_NAME_BYTES + 64];

    (void)snprintf(path, sizeof(path), "%s/%s", store, name);
    return access(path, F_OK) == 0;
}

bool nj_store_has_input(const char *store, const struct nj_workspace_ref *ref)
{
    char name[NJ_PLAN_INPUT_NAME_BYTES];

    nj_plan_input_name(ref, name);
    return have(store, name);
}

bool nj_store_has_image(const char *store, const struct nj_workspace_ref *image)
{
    char name[NJ_PLAN_ROOTFS_NAME_BYTES];

    nj_plan_rootfs_name(image, name);
    return have(store, name);
}

/* make_folder - an empty directory in the store, whatever a failed one left */
static int make_folder(int store_fd, const char *name, int *ret_fd, struct nj_error *err)
{
    int r = nj_fsio_remove_tree(store_fd, name, err);

    return r < 0 ? r : nj_fsio_open_dir(store_fd, name, ret_fd, err);
}

/* make_input - the tree as files in the directory "making" */
static int make_input(int store_fd, const struct nj_workspace_ref *ref,
                      const struct nj_objects *objects, int engine_fd, int *ret_fd,
                      struct nj_error *err)
{
    nj_auto_close int dir_fd = -1;
    int r;

    r = make_folder(store_fd, MAKING, &dir_fd, err);
    if (r >= 0)
        r = nj_workspace_input(dir_fd, ref, objects, engine_fd, err);
    if (r >= 0)
        *ret_fd = nj_steal_fd(&dir_fd);
    return r;
}

static int add_input(const char *store, const struct nj_workspace_ref *ref, int store_fd,
                     const struct nj_objects *objects, int engine_fd, struct nj_error *err)
{
    char name[NJ_PLAN_INPUT_NAME_BYTES];
    nj_auto_close int dir_fd = -1;
    int r;

    if (nj_store_has_input(store, ref))
        return 0;
    nj_plan_input_name(ref, name);
    r = make_input(store_fd, ref, objects, engine_fd, &dir_fd, err);
    return r < 0 ? r : nj_fsio_rename(store_fd, MAKING, store_fd, name, err);
}

/* unpack_image - the archive in "making" becomes the directory "unpacking" */
static int unpack_image(const char *store, int store_fd, int making_fd, int engine_fd, int *ret_fd,
                        struct nj_error *err)
{
    nj_auto_close int tar_fd = -1, dir_fd = -1;
    char path[128];
    int r;

    tar_fd = openat(making_fd, NJ_BOX_ROOTFS_TAR, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (tar_fd < 0)
        return nj_fail_errno(err, errno, "open %s", NJ_BOX_ROOTFS_TAR);
    r = make_folder(store_fd, UNPACKING, &dir_fd, err);
    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "%s/%s", store, UNPACKING); /* fits: make_store() */
    r = nj_rootfs_unpack(tar_fd, path, dir_fd, engine_fd, err);
    if (r >= 0)
        *ret_fd = nj_steal_fd(&dir_fd);
    return r;
}

static int add_image(const char *store, const struct nj_workspace_ref *ref, bool is_tar,
                     int store_fd, const struct nj_objects *objects, int engine_fd,
                     struct nj_error *err)
{
    char name[NJ_PLAN_ROOTFS_NAME_BYTES];
    nj_auto_close int making_fd = -1, dir_fd = -1;
    int r;

    if (nj_store_has_image(store, ref))
        return 0;
    nj_plan_rootfs_name(ref, name);
    r = make_input(store_fd, ref, objects, engine_fd, &making_fd, err);
    if (r >= 0 && is_tar)
        r = unpack_image(store, store_fd, making_fd, engine_fd, &dir_fd, err);
    if (r >= 0)
        r = nj_rootfs_dress(is_tar ? dir_fd : making_fd, err);
    if (r >= 0)
        r = nj_fsio_rename(store_fd, is_tar ? UNPACKING : MAKING, store_fd, name, err);
    return r >= 0 && is_tar ? nj_fsio_remove_tree(store_fd, MAKING, err) : r;
}

int nj_store_add(const char *store, const struct nj_msg *msg, int objects_fd, int engine_fd,
                 struct nj_error *err)
{
    NJ_AUTO(nj_objects_close) struct nj_objects objects = {0};
    nj_auto_close int store_fd = -1;
    int r;

    r = nj_objects_open(&objects, objects_fd, err);
    if (r < 0)
        return r;
    store_fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store_fd < 0)
        return nj_fail_errno(err, errno, "open %s", store);
    return msg->kind == NJ_MSG_INPUT
               ? add_input(store, &msg->ref, store_fd, &objects, engine_fd, err)
               : add_image(store, &msg->rootfs.ref, msg->rootfs.is_tar, store_fd, &objects,
                           engine_fd, err);
}
