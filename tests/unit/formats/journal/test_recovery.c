/*
 * test_recovery.c - the end of a journal: torn, cut, flipped, stale, still being written
 *
 * The harshest tests cut and flip every byte of a small journal. What they demand is the promise of
 * the format: a reader delivers a prefix of what was committed, or names the damage, and nothing
 * else.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/lib/journal_kit.h"

#include "formats/base/banned.h"

/* ---- tests ---- */

static void an_empty_folder_is_an_empty_journal(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};
    unsigned frames = 0;

    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 0);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_int_equal(recovery.next.epoch, 1);
    assert_int_equal(recovery.next.first_segment, 1);
    assert_int_equal(recovery.next.commits, 0);
}

static void every_cut_recovers_to_the_last_whole_commit(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    unsigned last_count = 0;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    assert_true(image.segments >= 3);
    for (size_t cut = 0; cut <= image.bytes[image.segments - 1].len; cut++) {
        struct nj_journal_recovery recovery;
        struct nj_journal_writer *writer = NULL;
        struct nj_error err = {0};
        unsigned frames = 0, again = 0;
        int r;

        image_restore(fixture->dir_fd, &image);
        file_write(fixture->dir_fd, image.segments, image.bytes[image.segments - 1].data, cut);
        r = read_all(fixture->dir_fd, &frames, &err);
        must(r, &err);
        assert_true(frames >= last_count);
        last_count = frames;
        must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
        assert_int_equal(recovery.torn_bytes > 0, r == NJ_JOURNAL_TORN);
        assert_int_equal(read_all(fixture->dir_fd, &again, &err), NJ_JOURNAL_END);
        assert_int_equal(again, frames);

        recovery.next.segment_bytes = SEGMENT_BYTES;
        must(nj_journal_writer_open(fixture->dir_fd, &recovery.next, &writer, &err), &err);
        append_and_commit(writer, frames, 1);
        nj_journal_writer_close(writer);
        assert_int_equal(read_all(fixture->dir_fd, &again, &err), NJ_JOURNAL_END);
        assert_int_equal(again, frames + 1);
    }
    assert_int_equal(last_count, FRAMES);
    image_done(&image);
}

static void a_cut_before_the_last_segment_is_damage(void **state)
{
    struct fixture *fixture = *state;
    struct image image;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    for (uint32_t n = 1; n < image.segments; n++) {
        size_t len = image.bytes[n - 1].len;

        while (len > 0 && image.bytes[n - 1].data[len - 1] == 0)
            len--;
        for (size_t cut = 0; cut < len; cut += 5) {
            struct nj_journal_recovery recovery;
            struct nj_error err = {0};
            unsigned frames = 0;

            image_restore(fixture->dir_fd, &image);
            file_write(fixture->dir_fd, n, image.bytes[n - 1].data, cut);
            assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
            assert_int_equal(nj_journal_recover(fixture->dir_fd, &recovery, &err), -NJ_E_CORRUPT);
            assert_non_null(strstr(err.text, "journal segment 00000"));
        }
    }
    image_done(&image);
}

static void every_flipped_byte_is_noticed(void **state)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    struct fixture *fixture = *state;
    struct image image;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    for (uint32_t n = 1; n <= image.segments; n++) {
        struct nj_buf *bytes = &image.bytes[n - 1];
        char name[NJ_SEGMENT_NAME_MAX_BYTES];
        int fd;

        image_restore(fixture->dir_fd, &image);
        nj_entry_segment_name(n, name);
        fd = openat(fixture->dir_fd, name, O_RDWR | O_CLOEXEC);
        for (size_t at = 0; at < bytes->len; at++) {
            uint8_t flipped = bytes->data[at] ^ masks[at % 3];
            struct nj_error err = {0};
            unsigned frames = 0;
            int r;

            must(nj_fsio_pwrite(fd, &flipped, 1, at, &err), &err);
            r = read_all(fixture->dir_fd, &frames,
                         &err); /* asserts that what is delivered is right */
            assert_true(r != NJ_JOURNAL_END);
            must(nj_fsio_pwrite(fd, &bytes->data[at], 1, at, &err), &err);
        }
        (void)close(fd);
    }
    image_done(&image);
}

/* ---- torn or damaged ---- */

/* unclosed_make - the image of a journal whose writer was never closed: batches of frames 0, 1-2,
 * 3-4 */
static void unclosed_make(struct fixture *fixture, struct image *image,
                          struct nj_journal_place places[5])
{
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    for (unsigned n = 0; n < 5; n++) {
        must(append(writer, n, &places[n], &err), &err);
        if (n % 2 == 0)
            must(nj_journal_commit(writer, &err), &err);
    }
    image_load(fixture->dir_fd, image);
    nj_journal_writer_close(writer);
    image_restore(fixture->dir_fd, image);
}

/* zero_frame - as if the disk had never got these bytes */
static void zero_frame(struct image *image, const struct nj_journal_place *place)
{
    memset(image->bytes[place->segment - 1].data + place->offset, 0, place->bytes);
}

static void a_commit_may_reach_the_disk_before_its_frames(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_place places[5];
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};
    struct image image;
    unsigned frames = 0;

    unclosed_make(fixture, &image, places);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 5);
    zero_frame(&image, &places[3]); /* of the last batch, whose commit is there */
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_TORN);
    assert_int_equal(frames, 3);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_int_equal(recovery.next.commits, 2);
    assert_true(recovery.torn_bytes > 0);
    image_done(&image);
}

static void frames_lost_before_a_later_commit_are_damage(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_place places[5];
    struct nj_error err = {0};
    struct image image;
    unsigned frames = 0;

    unclosed_make(fixture, &image, places);
    zero_frame(&image, &places[1]);
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
    assert_int_equal(frames, 1);
    assert_non_null(strstr(err.text, "journal segment 000001, offset"));
    image_done(&image);
}

static void in_a_closed_journal_even_the_last_batch_is_damage(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_place places[5];
    struct nj_error err = {0};
    struct image image;
    unsigned frames = 0;

    unclosed_make(fixture, &image, places);
    while (image.bytes[0].data[image.bytes[0].len - 1] == 0)
        image.bytes[0].len--;
    image.bytes[0].len = (image.bytes[0].len + 7) / 8 * 8;
    zero_frame(&image, &places[4]);
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
    image_done(&image);
}

/* An agent's file that looks like a commit of this very epoch, inside a batch that was cut off. */
static void forged_commits_in_payloads_are_not_believed(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_commit commit = {.bytes = 8, .number = 9, .frames = 1, .checksum = 1};
    struct nj_frame_header header = {.kind = NJ_FRAME_COMMIT, .epoch = 1};
    struct nj_journal_writer *writer = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_journal_place place;
    uint8_t forged[240] = {0};
    struct nj_frame frame = {.kind = NJ_FRAME_OUTPUT, .session = 1, .sequence = 1};
    struct nj_error err = {0};
    struct image image;
    unsigned frames = 0;

    nj_buf_init(&payload, 64);
    must(nj_entry_commit_encode(&commit, &payload, &err), &err);
    header.stored_bytes = header.payload_bytes = (uint32_t)payload.len;
    nj_entry_frame_encode(&header, nj_buf_span(&payload), nj_entry_seed((const uint8_t[16]){0}),
                          forged);
    memcpy(forged + NJ_FRAME_HEADER_BYTES, payload.data, payload.len);
    memcpy(forged + 120, forged, 100);
    frame.payload = (struct nj_span){forged, sizeof(forged)};

    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    append_and_commit(writer, 0, 1);
    must(nj_journal_append(writer, &frame, &place, &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    image_load(fixture->dir_fd, &image);
    nj_journal_writer_close(writer);
    memset(image.bytes[0].data + place.offset + place.bytes, 0,
           image.bytes[0].len - place.offset - place.bytes); /* its commit never arrived */
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_TORN);
    assert_int_equal(frames, 1);
    image_done(&image);
}

static void stale_frames_of_an_earlier_epoch_do_not_pass(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};
    struct image image;
    unsigned frames = 0;
    size_t end;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    end = image.bytes[image.segments - 1].len;
    /* the first segment's batches again, behind the last commit of the last epoch */
    must(nj_buf_append(&image.bytes[image.segments - 1], image.bytes[0].data + 64, 1024, &err),
         &err);
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_TORN);
    assert_int_equal(frames, FRAMES);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_in_range(recovery.torn_bytes, 1000, 1024);
    image_done(&image);
    image_load(fixture->dir_fd, &image);
    assert_int_equal(image.bytes[image.segments - 1].len, end);
    image_done(&image);
}

/* ---- segments that do not belong together ---- */

/* with_header - change the header of the last segment, mend its checksum, and read */
static int with_header(struct fixture *fixture, void (*change)(uint8_t *header),
                       struct nj_error *err)
{
    struct nj_segment_header header = {0};
    struct image image;
    unsigned frames = 0;
    uint8_t *bytes;
    int r;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    bytes = image.bytes[image.segments - 1].data;
    change(bytes);
    r = nj_entry_segment_decode(bytes, &header, err);
    if (r == 1) { /* re-encode what can be: number, epoch, run, capacity, first commit */
        header.number = nj_load_u32le(bytes + NJ_SEGMENT_AT_NUMBER);
        header.epoch = nj_load_u32le(bytes + NJ_SEGMENT_AT_EPOCH);
        memcpy(header.run_id, bytes + NJ_SEGMENT_AT_RUN_ID, NJ_JOURNAL_RUN_ID_BYTES);
        header.capacity = nj_load_u64le(bytes + NJ_SEGMENT_AT_CAPACITY);
        header.first_commit = nj_load_u64le(bytes + NJ_SEGMENT_AT_FIRST_COMMIT);
        nj_entry_segment_encode(&header, bytes);
    }
    image_restore(fixture->dir_fd, &image);
    r = read_all(fixture->dir_fd, &frames, err);
    image_done(&image);
    return r;
}

static void other_run(uint8_t *header)
{
    header[NJ_SEGMENT_AT_RUN_ID] ^= 1;
}

static void commit_later(uint8_t *header)
{
    nj_store_u64le(header + NJ_SEGMENT_AT_FIRST_COMMIT, 77);
}

static void number_other(uint8_t *header)
{
    nj_store_u32le(header + NJ_SEGMENT_AT_NUMBER, 1);
}

static void major_newer(uint8_t *header)
{
    nj_store_u16le(header + NJ_SEGMENT_AT_MAJOR, 9);
}

static void segments_must_belong_together(void **state)
{
    static const struct {
        void (*change)(uint8_t *header);
        enum nj_error_code code;
        const char *words;
    } changes[] = {
        {other_run, NJ_E_CORRUPT, "belongs to another run"},
        {commit_later, NJ_E_CORRUPT, "commits are missing before it"},
        {number_other, NJ_E_CORRUPT, "the header names another segment"},
        {major_newer, NJ_E_VERSION, "journal format 9, this build reads up to 0"},
    };

    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct fixture *fixture = *state;
        struct nj_error err = {0};
        struct image empty = {0};
        int r = with_header(fixture, changes[i].change, &err);

        if (r != -(int)changes[i].code || !strstr(err.text, changes[i].words))
            fail_msg("%d \"%s\" does not say \"%s\"", r, err.text, changes[i].words);
        image_restore(fixture->dir_fd, &empty);
    }
}

static void an_epoch_never_goes_back(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};
    unsigned frames = 0;

    start.epoch = 3;
    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    append_and_commit(writer, 0, 1);
    nj_journal_writer_close(writer);
    start.epoch = 2;
    start.first_segment = 2;
    start.commits = 1;
    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    append_and_commit(writer, 1, 1);
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "its epoch is before that of an earlier segment"));
    assert_int_equal(frames, 1);
}

static void a_missing_segment_is_damage(void **state)
{
    struct fixture *fixture = *state;
    struct image image;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    for (uint32_t n = 1; n < image.segments; n++) {
        char name[NJ_SEGMENT_NAME_MAX_BYTES];
        struct nj_error err = {0};
        unsigned frames = 0;

        image_restore(fixture->dir_fd, &image);
        nj_entry_segment_name(n, name);
        assert_int_equal(unlinkat(fixture->dir_fd, name, 0), 0);
        assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
        assert_non_null(strstr(err.text, "is missing or empty"));
        assert_non_null(strstr(err.text, (const char[]){'0', (char)('0' + n), ',', '\0'}));
    }
    image_done(&image);
}

static void a_lost_header_before_commits_is_damage(void **state)
{
    struct fixture *fixture = *state;
    struct image image;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    for (uint32_t n = 1; n <= image.segments; n += image.segments - 1) {
        struct nj_journal_recovery recovery;
        struct nj_error err = {0};

        memset(image.bytes[n - 1].data, 0, NJ_SEGMENT_HEADER_BYTES);
        image_restore(fixture->dir_fd, &image);
        assert_int_equal(nj_journal_recover(fixture->dir_fd, &recovery, &err), -NJ_E_CORRUPT);
        assert_non_null(strstr(err.text, "the segment's header is damaged"));
    }
    image_done(&image);
}

/* A segment's header and its first batch are one write, and a power cut may lose the beginning. */
static void a_lost_header_before_its_own_commit_is_torn(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    uint8_t header[NJ_SEGMENT_HEADER_BYTES];
    struct nj_error err = {0};
    struct image image;
    unsigned batches = 0, frames = 0;

    start.run_id[0] = 1; /* for a header whose last byte is none of its own zeros */
    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    do
        append_and_commit(writer, batches++, 1);
    while (nj_journal_durable_segment(writer) < 2);
    image_load(fixture->dir_fd, &image);
    nj_journal_writer_close(writer);
    memcpy(header, image.bytes[1].data, sizeof(header));
    assert_int_not_equal(header[sizeof(header) - 1], 0);
    for (size_t kept = 0; kept < sizeof(header); kept++) {
        struct nj_journal_recovery recovery;

        memset(image.bytes[1].data, 0, sizeof(header));
        memcpy(image.bytes[1].data, header, kept);
        image_restore(fixture->dir_fd, &image);
        assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_TORN);
        assert_int_equal(frames, batches - 1);
        must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
        assert_int_equal(recovery.next.commits, batches - 1);
        assert_true(recovery.torn_bytes > 0);
    }
    memcpy(image.bytes[1].data, header, sizeof(header));
    image.bytes[1].data[NJ_SEGMENT_AT_CAPACITY] ^= 1; /* with its end: that is no power cut */
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
    image_done(&image);
}

static void files_that_are_no_segments_are_ignored(void **state)
{
    static const char *const names[] = {"README",     "1.njj",      "0000001.njj",
                                        "000000.njj", "000009.njk", "99999999999.njj"};
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    unsigned frames = 0;

    journal_make(fixture->dir_fd);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        must(nj_fsio_publish(fixture->dir_fd, names[i], nj_span_text("x"), 0600, &err), &err);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, FRAMES);
}

static void a_segment_that_is_no_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    unsigned frames = 0;

    assert_int_equal(mkfifoat(fixture->dir_fd, "000001.njj", 0600), 0);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "000001.njj: not a regular file"));
}

/* ---- killed at every point ---- */

#define KILL_FRAMES 24u

/* write_until_killed - the child: appends and commits, and notes in @acked what it was promised */
static void write_until_killed(int dir_fd, const char *fault, volatile unsigned *acked)
{
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    (void)setenv("NJ_FAULT", fault, 1);
    nj_fault_init("engine");
    if (nj_journal_writer_open(dir_fd, &start, &writer, &err) < 0)
        _exit(1);
    for (unsigned n = 0; n < KILL_FRAMES; n++) {
        if (append(writer, n, NULL, &err) < 0)
            _exit(1);
        if (n % 3 == 2) {
            if (nj_journal_commit(writer, &err) < 0)
                _exit(1);
            *acked = n + 1;
        }
    }
    nj_journal_writer_close(writer);
    _exit(0);
}

static void what_was_promised_survives_a_kill_at_every_point(void **state)
{
    static const char *const points[] = {"write",
                                         "fdatasync",
                                         "fallocate",
                                         "journal.before_write",
                                         "journal.before_sync",
                                         "journal.after_sync"};
    struct fixture *fixture = *state;
    volatile unsigned *acked =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct image empty = {0};
    unsigned kills = 0;

    assert_true(acked != MAP_FAILED);
    for (size_t point = 0; point < sizeof(points) / sizeof(points[0]); point++) {
        for (unsigned nth = 1;; nth++) {
            struct nj_journal_recovery recovery;
            struct nj_error err = {0};
            unsigned frames = 0;
            char fault[64];
            int status = 0;
            pid_t pid;

            image_restore(fixture->dir_fd, &empty);
            *acked = 0;
            (void)snprintf(fault, sizeof(fault), "%s#%u:kill", points[point], nth);
            pid = fork();
            if (pid == 0)
                write_until_killed(fixture->dir_fd, fault, acked);
            assert_int_equal(waitpid(pid, &status, 0), pid);
            must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
            assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
            assert_in_range(frames, *acked, *acked + 3);
            if (!WIFSIGNALED(status)) { /* the point is not passed so often */
                assert_int_equal(WEXITSTATUS(status), 0);
                assert_int_equal(frames, KILL_FRAMES);
                break;
            }
            kills++;
        }
    }
    assert_true(kills >= 40);
    (void)munmap((void *)(uintptr_t)acked, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        T(an_empty_folder_is_an_empty_journal),
        T(every_cut_recovers_to_the_last_whole_commit),
        T(a_cut_before_the_last_segment_is_damage),
        T(every_flipped_byte_is_noticed),
        T(a_commit_may_reach_the_disk_before_its_frames),
        T(frames_lost_before_a_later_commit_are_damage),
        T(in_a_closed_journal_even_the_last_batch_is_damage),
        T(forged_commits_in_payloads_are_not_believed),
        T(stale_frames_of_an_earlier_epoch_do_not_pass),
        T(segments_must_belong_together),
        T(an_epoch_never_goes_back),
        T(a_missing_segment_is_damage),
        T(a_lost_header_before_commits_is_damage),
        T(a_lost_header_before_its_own_commit_is_torn),
        T(files_that_are_no_segments_are_ignored),
        T(a_segment_that_is_no_file_is_refused),
        T(what_was_promised_survives_a_kill_at_every_point),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
