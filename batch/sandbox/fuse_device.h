/*
 * fuse_device.h - /dev/fuse for the boxes of an engine that root started
 *
 * Boxes have uids of their own, and what they read of the random devices comes over FUSE
 * (virtual/files.h). Where udev opens /dev/fuse to every user there is nothing to do; elsewhere it
 * is root's alone.
 */
#ifndef NJ_FUSE_DEVICE_H
#define NJ_FUSE_DEVICE_H

/* nj_fuse_device_share - cover /dev/fuse with a node that every user can open, in the caller's
 * mount namespace, which must be private; no other process sees it. @folder is where a tmpfs can
 * lie for a moment.
 *
 * Returns 0, also when it was open already, or -errno: without root's rights, or where the host has
 * no such device. All is then as before. */
int nj_fuse_device_share(const char *folder);

#endif
