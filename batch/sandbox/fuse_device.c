/*
 * fuse_device.c - a node beside the host's own
 */
#include "batch/sandbox/fuse_device.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define DEVICE "/dev/fuse"
#define ALL_MAY 0666

int nj_fuse_device_share(const char *folder)
{
    char path[64];
    struct stat st;
    int r = 0;

    if (stat(DEVICE, &st) < 0)
        return -errno;
    if (!S_ISCHR(st.st_mode) || (st.st_mode & ALL_MAY) == ALL_MAY)
        return 0;
    if (mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,mode=0700") < 0)
        return -errno;
    (void)snprintf(path, sizeof(path), "%s/fuse", folder);
    if (mknod(path, S_IFCHR | ALL_MAY, st.st_rdev) < 0 || chmod(path, ALL_MAY) < 0 ||
        mount(path, DEVICE, NULL, MS_BIND, NULL) < 0)
        r = -errno;
    (void)umount2(folder, MNT_DETACH);
    return r;
}
