/*
 * rootfs_file.h - an image file given to a replay, for records that name theirs by digest only
 *
 *     nj_image_open() while still privileged; nj_image_read() when there is nothing left to lose;
 * then it is the archive of a box's system like one from a record's inputs, read from memory.
 */
#ifndef NJ_REPLAY_ROOTFS_FILE_H
#define NJ_REPLAY_ROOTFS_FILE_H

#include "batch/sandbox/objects.h"

#define NJ_IMAGE_MAX_BYTES (1u << 30)

struct nj_image {
    int fd;
    const char *path;        /* borrowed */
    struct nj_digest digest; /* of its bytes */
    struct nj_workspace_ref input;
    struct nj_objects objects;
    struct nj_object_source source; /* of objects */
};

#define NJ_IMAGE_NONE                                                                              \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* nj_image_open - @path is borrowed; NJ_E_INPUT when it is no regular file. Pair with _done. */
int nj_image_open(struct nj_image *image, const char *path, struct nj_error *err) NJ_MUST_USE;
int nj_image_read(struct nj_image *image, struct nj_error *err) NJ_MUST_USE;
void nj_image_done(struct nj_image *image);

/* nj_image_compare - append a line to @what when @image is another one than was recorded */
int nj_image_compare(const struct nj_image *image, const struct nj_digest *recorded,
                     struct nj_buf *what, struct nj_error *err) NJ_MUST_USE;

/* nj_image_wanted - fails with NJ_E_INPUT, telling which image is missing and what to do */
int nj_image_wanted(const struct nj_digest *recorded, bool is_tar,
                    struct nj_error *err) NJ_MUST_USE;

#endif
