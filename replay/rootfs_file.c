/*
 * rootfs_file.c - a file becomes objects in a memfd, as a run's inputs would be
 */
#include "replay/rootfs_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "batch/plan/inputs.h"
#include "batch/sandbox/protocol.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define OBJECT_OVERHEAD_BYTES 256

int nj_image_open(struct nj_image *image, const char *path, struct nj_error *err)
{
    struct stat st;

    image->path = path;
    image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (image->fd < 0)
        return nj_fail(err, NJ_E_INPUT, "--rootfs %s: %s", path, strerror(errno));
    if (fstat(image->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "--rootfs %s: no regular file; give the archive", path);
    return 0;
}

static int put(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};

    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES + OBJECT_OVERHEAD_BYTES);
    if (nj_object_encode(object, &encoded, err) < 0)
        return -(int)err->code;
    return nj_fsio_write(*(const int *)ctx, encoded.data, encoded.len, err);
}

int nj_image_read(struct nj_image *image, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_tree_entry entry = {.type = NJ_FILE_REGULAR};
    nj_auto_close int fd = -1;
    struct nj_object_sink sink = {put, &fd};
    int r;

    nj_buf_init(&bytes, NJ_IMAGE_MAX_BYTES);
    r = nj_fsio_read_all(image->fd, &bytes, err);
    if (r == 0)
        r = nj_fsio_memfd("nj-image", &fd, err);
    if (r == 0)
        r = nj_parts_put(&sink, nj_buf_span(&bytes), &entry, err);
    if (r == 0)
        r = nj_inputs_single(&entry, NJ_BOX_ROOTFS_TAR, &sink, &image->input, err);
    if (r == 0)
        r = nj_msg_seal(fd, err);
    if (r == 0)
        r = nj_objects_open(&image->objects, nj_steal_fd(&fd), err);
    if (r < 0)
        return nj_wrap(err, "--rootfs %s", image->path);
    image->digest = entry.digest;
    image->source = (struct nj_object_source){.get = nj_objects_get, .ctx = &image->objects};
    return 0;
}

void nj_image_done(struct nj_image *image)
{
    if (image->fd >= 0)
        (void)close(nj_steal_fd(&image->fd));
    nj_objects_close(&image->objects);
}

int nj_image_compare(const struct nj_image *image, const struct nj_digest *recorded,
                     struct nj_buf *what, struct nj_error *err)
{
    char then[NJ_DIGEST_HEX_CHARS + 1], now[NJ_DIGEST_HEX_CHARS + 1];

    if (nj_digest_equal(&image->digest, recorded))
        return 0;
    nj_digest_hex(recorded, then);
    nj_digest_hex(&image->digest, now);
    return nj_buf_printf(what, err, "image: recorded sha256:%s, here sha256:%s\n", then, now);
}

int nj_image_wanted(const struct nj_digest *recorded, bool is_tar, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(recorded, hex);
    return nj_fail(
        err, NJ_E_INPUT,
        "the bundle names its image by digest only (sha256:%s); %s verify the session in "
        "its run, as RUN:KEY, or bundle it with `archive: {inputs: embed}`",
        hex, is_tar ? "give it with --rootfs FILE, or" : "");
}
