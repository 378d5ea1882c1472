/*
 * archive.c - from journal places to a bundle
 */
#include "batch/engine/archive.h"

#include <errno.h>
#include <fcntl.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

struct input_ctx {
    struct nj_bundle_writer *writer;
    const struct nj_object_source *source;
    struct nj_buf bytes;
};

static int add_frames(const struct nj_archive *archive, struct nj_bundle_writer *writer,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    for (size_t i = 0; i < archive->n_places; i++) {
        struct nj_frame frame = {.place = archive->places[i]};

        nj_buf_clear(&payload);
        if (nj_journal_read_frame(archive->journal, &archive->places[i], &payload, &frame, err) <
                0 ||
            nj_bundle_writer_frame(writer, &frame, err) < 0)
            return nj_wrap(err, "frame %zu", i + 1);
    }
    return 0;
}

static int add_objects(const struct nj_archive *archive, struct nj_bundle_writer *writer,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    nj_auto_free struct nj_object_index_slot *sorted = nj_object_index_sorted(archive->index);

    if (!sorted)
        return nj_fail_nomem(err);
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    for (size_t i = 0; i < archive->index->count; i++) {
        struct nj_object object;
        size_t len;

        nj_buf_clear(&payload);
        if (nj_journal_read(archive->journal, &sorted[i].place, &payload, err) < 0 ||
            nj_object_decode(nj_buf_span(&payload), true, &object, &len, err) < 0 ||
            nj_bundle_writer_object(writer, &object, err) < 0)
            return nj_wrap(err, "object %zu", i + 1);
    }
    return 0;
}

static int add_input(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                     struct nj_error *err)
{
    struct input_ctx *input = ctx;
    struct nj_object object = {.kind = kind, .digest = *digest};

    nj_buf_clear(&input->bytes);
    if (input->source->get(input->source->ctx, digest, &input->bytes, err) < 0)
        return -(int)err->code;
    object.bytes = nj_buf_span(&input->bytes);
    return nj_bundle_writer_input(input->writer, &object, err);
}

static int add_inputs(const struct nj_archive *archive, struct nj_bundle_writer *writer,
                      struct nj_error *err)
{
    struct input_ctx input = {.writer = writer, .source = &archive->inputs};
    int r = 0;

    nj_buf_init(&input.bytes, NJ_OBJECT_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < archive->n_mounts; i++)
        r = nj_tree_reach(&archive->inputs, &archive->mounts[i], add_input, &input, err);
    nj_buf_done(&input.bytes);
    return r < 0 ? nj_wrap(err, "inputs") : 0;
}

int nj_archive_write(const struct nj_archive *archive, const struct nj_bundle_info *info,
                     int spool_dir_fd, int fd, struct nj_error *err)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;

    if (nj_bundle_writer_new(spool_dir_fd, &writer, err) < 0 ||
        add_frames(archive, writer, err) < 0 || add_objects(archive, writer, err) < 0)
        return -(int)err->code;
    if (info->inputs_embedded && add_inputs(archive, writer, err) < 0)
        return -(int)err->code;
    return nj_bundle_writer_finish(writer, info, archive->manifest, fd, err);
}

int nj_archive_publish(const struct nj_archive *archive, const struct nj_bundle_info *info,
                       int dir_fd, const char *name, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    char temp[64];
    int r;

    (void)snprintf(temp, sizeof(temp), ".tmp-%d-bundle", (int)getpid());
    fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create bundle %s", name);
    r = fchmod(fd, 0600) == 0 ? 0 : nj_fail_errno(err, errno, "chmod"); /* whatever the umask */
    if (r == 0)
        r = nj_archive_write(archive, info, dir_fd, fd, err);
    if (r == 0)
        r = nj_fsio_rename(dir_fd, temp, dir_fd, name, err);
    if (r == 0)
        r = nj_fsio_sync_dir(dir_fd, err);
    if (r < 0) {
        (void)unlinkat(dir_fd, temp, 0); /* a leftover is swept at the next start */
        return nj_wrap(err, "bundle %s", name);
    }
    return 0;
}
