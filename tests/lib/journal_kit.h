/*
 * journal_kit.h - journals in a folder of their own, whose frames follow from their numbers
 *
 * Header only, because the programs that use it are each linked alone.
 */
#ifndef NJ_TESTS_JOURNAL_KIT_H
#define NJ_TESTS_JOURNAL_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/bytes.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"
#include "formats/journal/entry.h"

#define SEGMENT_BYTES 4096u

struct fixture {
    char path[64];
    int parent_fd;
    int dir_fd;
};

static inline void must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    static const char *const parents[] = {"/dev/shm",
                                          "/tmp"}; /* memory first: thousands of syncs */

    assert_non_null(fixture);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(fixture->path, sizeof(fixture->path), "%s/nj-journal-XXXXXX", parents[i]);
        if (mkdtemp(fixture->path)) {
            fixture->parent_fd = open(parents[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            fixture->dir_fd = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            *state = fixture;
            return fixture->dir_fd < 0 ? -1 : 0;
        }
    }
    free(fixture);
    return -1;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    int r = nj_fsio_remove_tree(fixture->parent_fd, strrchr(fixture->path, '/') + 1, &err);

    (void)unsetenv("NJ_FAULT");
    nj_fault_init("engine");
    (void)close(fixture->dir_fd);
    (void)close(fixture->parent_fd);
    free(fixture);
    return r;
}

/* ---- helpers ---- */

static inline struct nj_journal_start start_small(void)
{
    struct nj_journal_start start = {
        .epoch = 1, .first_segment = 1, .segment_bytes = SEGMENT_BYTES};

    for (uint8_t i = 0; i < NJ_JOURNAL_RUN_ID_BYTES; i++)
        start.run_id[i] = (uint8_t)(0x10 + i);
    return start;
}

/* Payload n: its length and bytes follow from n; every third compresses well. */
static inline size_t payload_make(unsigned n, uint8_t *bytes)
{
    size_t len = n % 3 == 0 ? 700 + n % 100 : 11 + 37 * (n % 20);
    uint32_t x = n * 2654435761u + 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = n % 3 == 0 ? (uint8_t)('a' + i % 7) : (uint8_t)(x >> 24);
    }
    return len;
}

static inline struct nj_frame frame_make(unsigned n, uint8_t *bytes)
{
    struct nj_frame frame = {.kind = NJ_FRAME_EVENT, .session = 1 + n % 3, .sequence = 1 + n / 3};

    if (n % 5 == 4) {
        frame.kind = NJ_FRAME_OBJECT;
        frame.sequence = 0;
    }
    frame.payload = (struct nj_span){bytes, payload_make(n, bytes)};
    return frame;
}

static inline int append(struct nj_journal_writer *writer, unsigned n,
                         struct nj_journal_place *ret_place, struct nj_error *err)
{
    uint8_t bytes[1024];
    struct nj_frame frame = frame_make(n, bytes);

    return nj_journal_append(writer, &frame, ret_place, err);
}

static inline void append_and_commit(struct nj_journal_writer *writer, unsigned first,
                                     unsigned count)
{
    struct nj_error err = {0};

    for (unsigned i = 0; i < count; i++)
        must(append(writer, first + i, NULL, &err), &err);
    must(nj_journal_commit(writer, &err), &err);
}

/* Frames 0 .. 19 over two epochs and several segments; batch ends after 1, 3, 6, 10, 14 and 20
 * frames, and where a segment turned. */
#define FRAMES 20u

static inline void journal_make(int dir_fd)
{
    struct nj_journal_start start = start_small();
    struct nj_journal_recovery recovery;
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    must(nj_journal_writer_open(dir_fd, &start, &writer, &err), &err);
    append_and_commit(writer, 0, 1);
    append_and_commit(writer, 1, 2);
    append_and_commit(writer, 3, 3);
    append_and_commit(writer, 6, 4);
    nj_journal_writer_close(writer);
    must(nj_journal_recover(dir_fd, &recovery, &err), &err);
    recovery.next.segment_bytes = SEGMENT_BYTES;
    writer = NULL;
    must(nj_journal_writer_open(dir_fd, &recovery.next, &writer, &err), &err);
    append_and_commit(writer, 10, 4);
    append_and_commit(writer, 14, 6);
    nj_journal_writer_close(writer);
}

/* read_all - frames 0 .. n-1 as journal_make() wrote them, then how it ended (an outcome or an
 * error) */
static inline int read_all(int dir_fd, unsigned *ret_frames, struct nj_error *err)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_frame frame;
    unsigned n = 0;
    int r;

    must(nj_journal_open(dir_fd, &journal, err), err);
    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        uint8_t bytes[1024];
        struct nj_frame expected = frame_make(n, bytes);

        assert_int_equal(frame.kind, expected.kind);
        assert_int_equal(frame.session, expected.session);
        assert_int_equal(frame.sequence, expected.sequence);
        assert_true(nj_span_equal(frame.payload, expected.payload));
        n++;
    }
    *ret_frames = n;
    return r;
}

struct image {
    struct nj_buf bytes[16];
    unsigned segments;
};

static inline void image_load(int dir_fd, struct image *image)
{
    struct nj_error err = {0};
    struct stat st;
    char name[NJ_SEGMENT_NAME_MAX_BYTES];

    *image = (struct image){0};
    for (uint32_t n = 1; n <= 16; n++) {
        nj_entry_segment_name(n, name);
        if (fstatat(dir_fd, name, &st, 0) < 0)
            break;
        nj_buf_init(&image->bytes[n - 1], 1u << 20);
        must(nj_fsio_read_file(dir_fd, name, &image->bytes[n - 1], &err), &err);
        image->segments = n;
    }
}

static inline void image_done(struct image *image)
{
    for (unsigned i = 0; i < image->segments; i++)
        nj_buf_done(&image->bytes[i]);
}

static inline void file_write(int dir_fd, uint32_t number, const uint8_t *data, size_t len)
{
    struct nj_error err = {0};
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    int fd;

    nj_entry_segment_name(number, name);
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    must(nj_fsio_write(fd, data, len, &err), &err);
    (void)close(fd);
}

/* image_restore - the folder holds the image's segments and nothing else */
static inline void image_restore(int dir_fd, const struct image *image)
{
    char name[NJ_SEGMENT_NAME_MAX_BYTES];

    for (uint32_t n = 1; n <= image->segments; n++)
        file_write(dir_fd, n, image->bytes[n - 1].data, image->bytes[n - 1].len);
    for (uint32_t n = image->segments + 1; n < 20; n++) {
        nj_entry_segment_name(n, name);
        (void)unlinkat(dir_fd, name, 0);
    }
}

#endif
