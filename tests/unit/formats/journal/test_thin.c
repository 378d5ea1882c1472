/*
 * test_thin.c - a segment without its dead frames: what is left is all that lived, in its order
 *
 * A journal of some segments is thinned under every choice of who lives; what a reader then
 * delivers must be the frames that live and nothing else, and everything that could be done with
 * the journal still can.
 */
#include "tests/lib/golden.h"
#include "tests/lib/journal_kit.h"

#include "formats/base/banned.h"

#define MANY 60u

struct who {
    unsigned sessions; /* a bit each */
};

static bool lives(void *ctx, const struct nj_frame *frame)
{
    const struct who *who = ctx;

    return (who->sessions >> frame->session & 1) != 0;
}

/* Frames 0 to MANY - 1, a commit behind every third; their places where they are asked for. */
static uint32_t make(int dir_fd, struct nj_journal_place *places)
{
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};
    uint32_t last;

    must(nj_journal_writer_open(dir_fd, &start, &writer, &err), &err);
    for (unsigned i = 0; i < MANY; i++) {
        must(append(writer, i, places ? &places[i] : NULL, &err), &err);
        if (i % 3 == 2)
            must(nj_journal_commit(writer, &err), &err);
    }
    must(nj_journal_commit(writer, &err), &err);
    last = nj_journal_durable_segment(writer);
    nj_journal_writer_close(writer);
    assert_true(last >= 4);
    return last;
}

static int thin(int dir_fd, uint32_t segment, unsigned sessions,
                struct nj_journal_thinned *ret_thinned)
{
    struct who who = {sessions};
    struct nj_journal_thin how = {.lives = lives, .ctx = &who};
    struct nj_error err = {0};
    int r = nj_journal_thin(dir_fd, segment, &how, ret_thinned, &err);

    must(r, &err);
    if (r == NJ_JOURNAL_THIN_READY)
        must(nj_journal_thin_swap(dir_fd, segment, &err), &err);
    return r;
}

static void thin_quietly(int dir_fd, uint32_t segment, unsigned sessions)
{
    struct nj_journal_thinned thinned;

    if (thin(dir_fd, segment, sessions, &thinned) == NJ_JOURNAL_THIN_READY)
        free(thinned.moves);
}

/* What the reader delivers must be frames @segments or sessions of which live, in order. */
static unsigned read_living(int dir_fd, const struct nj_journal_place *places, uint32_t thinned,
                            unsigned sessions)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error err = {0};
    struct nj_frame frame;
    unsigned count = 0;
    int r = NJ_JOURNAL_FRAME;

    must(nj_journal_open(dir_fd, &journal, &err), &err);
    for (unsigned i = 0; i < MANY; i++) {
        uint8_t bytes[1024];
        struct nj_frame expected = frame_make(i, bytes);

        if ((thinned == 0 || places[i].segment == thinned) && !(sessions >> expected.session & 1))
            continue;
        r = nj_journal_next(journal, &frame, &err);
        must(r, &err);
        assert_int_equal(r, NJ_JOURNAL_FRAME);
        assert_int_equal(frame.session, expected.session);
        assert_int_equal(frame.sequence, expected.sequence);
        assert_true(nj_span_equal(frame.payload, expected.payload));
        count++;
    }
    r = nj_journal_next(journal, &frame, &err);
    must(r, &err);
    assert_int_equal(r, NJ_JOURNAL_END);
    assert_true(nj_journal_is_thinned(journal));
    return count;
}

static void what_lives_is_read_in_its_order_whoever_it_is(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_place places[MANY];
    uint32_t last = make(fixture->dir_fd, places);
    struct image image;

    image_load(fixture->dir_fd, &image);
    for (uint32_t segment = 1; segment < last; segment++) {
        for (unsigned sessions = 0; sessions < 16; sessions += 2) {
            struct nj_journal_thinned thinned;

            image_restore(fixture->dir_fd, &image);
            if (thin(fixture->dir_fd, segment, sessions, &thinned) != NJ_JOURNAL_THIN_READY) {
                assert_true((sessions & (sessions - 1)) != 0); /* most would live */
                continue;
            }
            assert_true(thinned.bytes_after < thinned.bytes_before);
            assert_int_equal(nj_journal_segment_bytes(fixture->dir_fd, segment),
                             thinned.bytes_after);
            (void)read_living(fixture->dir_fd, places, segment, sessions);
            free(thinned.moves);
        }
    }
    image_done(&image);
}

static unsigned count_frames(int dir_fd)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error err = {0};
    struct nj_frame frame;
    unsigned count = 0;
    int r;

    must(nj_journal_open(dir_fd, &journal, &err), &err);
    while ((r = nj_journal_next(journal, &frame, &err)) == NJ_JOURNAL_FRAME)
        count++;
    must(r, &err);
    assert_int_equal(r, NJ_JOURNAL_END);
    return count;
}

static void a_journal_of_the_dead_is_empty_and_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_place places[MANY];
    uint32_t last = make(fixture->dir_fd, places);
    struct nj_journal_recovery before, after;
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};
    unsigned in_last = 0;
    uint8_t bytes[1024];
    struct nj_frame frame = frame_make(0, bytes);

    must(nj_journal_recover(fixture->dir_fd, &before, &err), &err);
    for (uint32_t segment = 1; segment < last; segment++)
        thin_quietly(fixture->dir_fd, segment, 0);
    for (unsigned i = 0; i < MANY; i++)
        in_last += places[i].segment == last;
    assert_int_equal(count_frames(fixture->dir_fd), in_last);
    must(nj_journal_recover(fixture->dir_fd, &after, &err), &err);
    assert_int_equal(after.torn_bytes, 0);
    assert_int_equal(after.next.commits, before.next.commits);
    assert_int_equal(after.next.epoch, before.next.epoch);
    assert_int_equal(after.next.first_segment, before.next.first_segment);

    after.next.segment_bytes = SEGMENT_BYTES;
    must(nj_journal_writer_open(fixture->dir_fd, &after.next, &writer, &err), &err);
    must(nj_journal_append(writer, &frame, NULL, &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    nj_journal_writer_close(writer);
    assert_int_equal(count_frames(fixture->dir_fd), in_last + 1);
}

static void thinned_twice_it_has_what_lived_both_times(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_place places[MANY];
    struct nj_journal_thinned thinned;

    (void)make(fixture->dir_fd, places);
    thin_quietly(fixture->dir_fd, 2, 4);
    assert_true(read_living(fixture->dir_fd, places, 2, 4) < MANY);
    assert_int_equal(thin(fixture->dir_fd, 2, 2 | 8, &thinned), NJ_JOURNAL_THIN_READY);
    assert_int_equal(thinned.n_moves, 0);
    free(thinned.moves);
    (void)read_living(fixture->dir_fd, places, 2, 0);
}

static void places_follow_the_frames(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_journal_place places[MANY];
    struct nj_journal_thinned thinned;
    struct nj_error err = {0};
    unsigned dead = 0;

    (void)make(fixture->dir_fd, places);
    nj_buf_init(&out, 1u << 20);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    for (unsigned i = 0; i < MANY; i++) { /* the reader has every segment open */
        nj_buf_clear(&out);
        must(nj_journal_read(journal, &places[i], &out, &err), &err);
    }
    assert_int_equal(thin(fixture->dir_fd, 3, 4, &thinned), NJ_JOURNAL_THIN_READY);
    nj_journal_forget(journal, 3);
    for (unsigned i = 0; i < MANY; i++) {
        uint8_t bytes[1024];
        struct nj_frame expected = frame_make(i, bytes), frame;
        bool alive = places[i].segment != 3 || expected.session == 2;

        dead += !alive;
        assert_int_equal(nj_journal_thin_place(thinned.moves, thinned.n_moves, 3, &places[i]),
                         alive);
        if (!alive)
            continue;
        nj_buf_clear(&out);
        must(nj_journal_read_frame(journal, &places[i], &out, &frame, &err), &err);
        assert_true(nj_span_equal(frame.payload, expected.payload));
    }
    assert_true(dead > 0);
    free(thinned.moves);
}

static void a_reader_in_the_middle_of_it_reads_on(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error err = {0};
    struct nj_frame frame;
    unsigned count = 1;

    (void)make(fixture->dir_fd, NULL);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_FRAME);
    thin_quietly(fixture->dir_fd, 1, 0);
    while (nj_journal_next(journal, &frame, &err) == NJ_JOURNAL_FRAME)
        count++;
    assert_int_equal(err.code, 0);
    assert_int_equal(count, MANY);
}

static void a_reader_that_holds_finds_the_frames_where_they_were(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_journal_place places[MANY];
    uint32_t last = make(fixture->dir_fd, places);
    struct nj_error err = {0};
    struct nj_frame frame;

    nj_buf_init(&out, 1u << 20);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    nj_journal_hold(journal);
    must(nj_journal_next(journal, &frame, &err), &err);
    thin_quietly(fixture->dir_fd, 1, 0); /* it is held as it was, and below as it is then */
    for (int twice = 0; twice < 2; twice++) {
        nj_journal_rewind(journal);
        while (nj_journal_next(journal, &frame, &err) == NJ_JOURNAL_FRAME)
            continue;
        assert_int_equal(err.code, 0);
    }
    for (uint32_t segment = 2; segment < last; segment++)
        thin_quietly(fixture->dir_fd, segment, 0);
    for (unsigned i = 0; i < MANY; i++) {
        uint8_t bytes[1024];
        struct nj_frame expected = frame_make(i, bytes);

        if (places[i].segment == 1)
            continue;
        nj_buf_clear(&out);
        must(nj_journal_read_frame(journal, &places[i], &out, &frame, &err), &err);
        assert_int_equal(frame.sequence, expected.sequence);
        assert_true(nj_span_equal(frame.payload, expected.payload));
    }
}

/* A slow disk: batches of segments that are full already wait for their turn. */
static void a_segment_whose_last_batch_still_waits_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_writer_close) struct nj_journal_writer *writer = NULL;
    struct nj_journal_start start = start_small();
    struct who nobody = {0};
    struct nj_journal_thin how = {.lives = lives, .ctx = &nobody};
    struct nj_journal_thinned thinned;
    struct nj_error err = {0};
    struct nj_journal_place place;
    unsigned i = 0;

    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    assert_int_equal(nj_journal_durable_segment(writer), 0);
    must(append(writer, i++, &place, &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    while (place.segment < 4)
        must(append(writer, i++, &place, &err), &err);
    assert_int_equal(nj_journal_durable_segment(writer), 1);
    assert_int_equal(nj_journal_thin(fixture->dir_fd, 1, &how, &thinned, &err), -NJ_E_CORRUPT);

    err = (struct nj_error){0};
    must(nj_journal_commit(writer, &err), &err);
    assert_int_equal(nj_journal_durable_segment(writer), 4);
    thin_quietly(fixture->dir_fd, 1, 2 | 4 | 8);
    assert_int_equal(count_frames(fixture->dir_fd), i);
    thin_quietly(fixture->dir_fd, 1, 0);
    assert_true(count_frames(fixture->dir_fd) < i);
}

static void damage_and_what_is_not_complete_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct who nobody = {0};
    struct nj_journal_thin how = {.lives = lives, .ctx = &nobody};
    struct nj_journal_thinned thinned;
    struct image image;

    (void)make(fixture->dir_fd, NULL);
    image_load(fixture->dir_fd, &image);
    for (size_t at = 0; at < image.bytes[1].len; at += 3) {
        struct nj_error err = {0};
        struct stat st;

        image.bytes[1].data[at] ^= 0x40;
        image_restore(fixture->dir_fd, &image);
        image.bytes[1].data[at] ^= 0x40;
        assert_true(nj_journal_thin(fixture->dir_fd, 2, &how, &thinned, &err) < 0);
        assert_int_equal(fstatat(fixture->dir_fd, ".tmp-000002.njj", &st, 0), -1);
    }
    image_done(&image);
}

static void every_flipped_byte_of_a_thinned_one_is_noticed(void **state)
{
    struct fixture *fixture = *state;
    struct image image;

    (void)make(fixture->dir_fd, NULL);
    thin_quietly(fixture->dir_fd, 2, 4);
    image_load(fixture->dir_fd, &image);
    for (size_t at = 0; at < image.bytes[1].len; at++) {
        NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
        struct nj_error err = {0};
        struct nj_frame frame;
        int r;

        image.bytes[1].data[at] ^= 0x21;
        file_write(fixture->dir_fd, 2, image.bytes[1].data, image.bytes[1].len);
        image.bytes[1].data[at] ^= 0x21;
        must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
        while ((r = nj_journal_next(journal, &frame, &err)) == NJ_JOURNAL_FRAME)
            continue;
        assert_true(r == -NJ_E_CORRUPT || r == -NJ_E_VERSION);
    }
    image_done(&image);
}

static void a_full_disk_leaves_the_old_one_and_recovery_sweeps(void **state)
{
    struct fixture *fixture = *state;
    struct who nobody = {0};
    struct nj_journal_thin how = {.lives = lives, .ctx = &nobody};
    struct nj_journal_thinned thinned;
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};
    struct stat st;

    (void)make(fixture->dir_fd, NULL);
    assert_int_equal(setenv("NJ_FAULT", "write:enospc", 1), 0);
    nj_fault_init("engine");
    assert_int_equal(nj_journal_thin(fixture->dir_fd, 1, &how, &thinned, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_int_equal(unsetenv("NJ_FAULT"), 0);
    nj_fault_init("engine");
    assert_int_equal(fstatat(fixture->dir_fd, ".tmp-000001.njj", &st, 0), -1);

    err = (struct nj_error){0};
    must(nj_journal_thin(fixture->dir_fd, 1, &how, &thinned, &err), &err); /* never swapped in */
    free(thinned.moves);
    assert_int_equal(fstatat(fixture->dir_fd, ".tmp-000001.njj", &st, 0), 0);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_int_equal(fstatat(fixture->dir_fd, ".tmp-000001.njj", &st, 0), -1);
    assert_true(nj_journal_segment_bytes(fixture->dir_fd, 1) > 1000);
}

/* None of its frames is long enough to be compressed, so every version of zstd writes these bytes.
 */
static void the_golden_thinned_segment_is_written_and_read_as_ever(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    for (unsigned i = 0; nj_journal_durable_segment(writer) < 2; i++) {
        uint8_t payload[200];
        struct nj_frame frame = {.kind = NJ_FRAME_EVENT,
                                 .session = i % 8 == 3 ? 2 : 1,
                                 .sequence = 1 + (i % 8 == 3 ? i / 8 : i),
                                 .payload = {payload, sizeof(payload) - 9 * i}};

        memset(payload, (int)(0x30 + i), sizeof(payload));
        must(nj_journal_append(writer, &frame, NULL, &err), &err);
        must(nj_journal_commit(writer, &err), &err);
    }
    nj_journal_writer_close(writer);
    thin_quietly(fixture->dir_fd, 1, 4);
    assert_int_equal(count_frames(fixture->dir_fd), 3); /* two of session 2, and the last */
    nj_buf_init(&bytes, SEGMENT_BYTES);
    must(nj_fsio_read_file(fixture->dir_fd, "000001.njj", &bytes, &err), &err);
    golden_check("journal/v0/thinned.njj", nj_buf_span(&bytes));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_lives_is_read_in_its_order_whoever_it_is),
        CASE(a_journal_of_the_dead_is_empty_and_goes_on),
        CASE(thinned_twice_it_has_what_lived_both_times),
        CASE(places_follow_the_frames),
        CASE(a_reader_in_the_middle_of_it_reads_on),
        CASE(a_reader_that_holds_finds_the_frames_where_they_were),
        CASE(a_segment_whose_last_batch_still_waits_is_left_alone),
        CASE(damage_and_what_is_not_complete_are_left_alone),
        CASE(every_flipped_byte_of_a_thinned_one_is_noticed),
        CASE(the_golden_thinned_segment_is_written_and_read_as_ever),
        CASE(a_full_disk_leaves_the_old_one_and_recovery_sweeps),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
