/*
 * test_salvage.c - what a damaged journal still gives
 */
#include <time.h>

#include "tests/lib/journal_kit.h"

#include "formats/base/banned.h"

#define BOX_BYTES ((size_t)16 << 20)

/* salvage_all - each frame that is delivered is one of journal_make()'s, in their order; returns
 * how many there are */
static unsigned salvage_all(int dir_fd, unsigned *ret_damages)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    unsigned next = 0, found = 0;
    struct nj_error err = {0};
    struct nj_frame frame;
    int r;

    *ret_damages = 0;
    must(nj_journal_open_damaged(dir_fd, &journal, &err), &err);
    while ((r = nj_journal_next(journal, &frame, &err)) != NJ_JOURNAL_END) {
        must(r, &err);
        if (r == NJ_JOURNAL_DAMAGE) {
            assert_true(*nj_journal_damage(journal));
            (*ret_damages)++;
            continue;
        }
        for (;; next++) {
            uint8_t bytes[1024];
            struct nj_frame there = frame_make(next, bytes);

            assert_true(next < FRAMES);
            if (there.kind == frame.kind && there.session == frame.session &&
                there.sequence == frame.sequence && nj_span_equal(there.payload, frame.payload))
                break;
        }
        next++;
        found++;
    }
    return found;
}

static void a_whole_journal_is_delivered_whole(void **state)
{
    struct fixture *fixture = *state;
    unsigned damages;

    journal_make(fixture->dir_fd);
    assert_int_equal(salvage_all(fixture->dir_fd, &damages), FRAMES);
    assert_int_equal(damages, 0);
}

static void a_flipped_byte_costs_the_frame_that_it_lies_in(void **state)
{
    struct fixture *fixture = *state;
    unsigned last_batch = 6, lost_most = 0;
    struct image image;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    for (uint32_t n = 1; n <= image.segments; n++) {
        struct nj_buf *bytes = &image.bytes[n - 1];

        image_restore(fixture->dir_fd, &image);
        for (size_t at = 0; at < bytes->len; at += 3) {
            unsigned damages, found;

            bytes->data[at] ^= (uint8_t)(1u << at % 8);
            file_write(fixture->dir_fd, n, bytes->data, bytes->len);
            bytes->data[at] ^= (uint8_t)(1u << at % 8);
            found = salvage_all(fixture->dir_fd, &damages);
            /* In the last segments frames need a commit behind them. */
            assert_true(found + (n + 1 < image.segments ? 1 : last_batch) >= FRAMES);
            assert_true(found == FRAMES || damages > 0 || n + 1 >= image.segments);
            lost_most = FRAMES - found > lost_most ? FRAMES - found : lost_most;
        }
    }
    assert_true(lost_most >= 1);
    image_done(&image);
}

/* three_frames - one batch; the places of its frames */
static void three_frames(int dir_fd, uint32_t segment_bytes, struct nj_span middle,
                         struct nj_journal_place places[3])
{
    NJ_AUTO(nj_journal_writer_close) struct nj_journal_writer *writer = NULL;
    struct nj_frame between = {.kind = NJ_FRAME_OBJECT, .session = 1, .payload = middle};
    struct nj_journal_start start = start_small();
    struct nj_error err = {0};

    start.segment_bytes = segment_bytes;
    must(nj_journal_writer_open(dir_fd, &start, &writer, &err), &err);
    must(append(writer, 0, &places[0], &err), &err);
    must(nj_journal_append(writer, &between, &places[1], &err), &err);
    must(append(writer, 1, &places[2], &err), &err);
    must(nj_journal_commit(writer, &err), &err);
}

static void a_frame_whose_payload_is_none_costs_only_itself(void **state)
{
    struct fixture *fixture = *state;
    struct nj_frame_header header;
    struct nj_journal_place places[3];
    struct nj_segment_header segment;
    struct nj_error err = {0};
    struct image image;
    unsigned damages;
    uint8_t *bytes;

    three_frames(fixture->dir_fd, SEGMENT_BYTES, nj_span_text("this is no zstd frame"), places);
    image_load(fixture->dir_fd, &image);
    must(nj_entry_segment_decode(image.bytes[0].data, &segment, &err), &err);
    bytes = image.bytes[0].data + places[1].offset;
    assert_true(nj_entry_frame_decode(bytes, &header));
    header.flags = NJ_FRAME_FLAG_ZSTD;
    header.payload_bytes = 1000;
    nj_entry_frame_encode(&header,
                          (struct nj_span){bytes + NJ_FRAME_HEADER_BYTES, header.stored_bytes},
                          nj_entry_seed(segment.run_id), bytes);
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(salvage_all(fixture->dir_fd, &damages), 2);
    assert_int_equal(damages, 1);
    image_done(&image);
}

/* The content of one frame looks like the header of a long frame at every 40th byte. Once that
 * frame is damaged, each of them is looked at. */
static void what_a_box_wrote_cannot_make_salvage_endless(void **state)
{
    struct fixture *fixture = *state;
    nj_auto_free uint8_t *box = calloc(1, BOX_BYTES);
    struct nj_frame_header fake = {.kind = NJ_FRAME_OBJECT, .session = 1, .epoch = 1};
    struct nj_journal_place places[3];
    unsigned damages;
    uint8_t flipped;
    clock_t began;
    int fd;

    assert_non_null(box);
    fake.stored_bytes = fake.payload_bytes = BOX_BYTES - 65536;
    for (size_t at = 0; at + 8 * NJ_FRAME_HEADER_BYTES < BOX_BYTES; at += NJ_FRAME_HEADER_BYTES)
        nj_entry_frame_encode(&fake, (struct nj_span){0}, at, box + at);
    three_frames(fixture->dir_fd, 40u << 20, (struct nj_span){box, BOX_BYTES}, places);
    fd = openat(fixture->dir_fd, "000001.njj", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &flipped, 1, (off_t)(places[2].offset - 64)), 1);
    flipped ^= 1;
    assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(places[2].offset - 64)), 1);
    (void)close(fd);
    began = clock();
    assert_int_equal(salvage_all(fixture->dir_fd, &damages), 2);
    assert_true(damages >= 1);
    assert_true(clock() - began < 60 * CLOCKS_PER_SEC); /* without a bound it is an hour */
}

static void without_one_whole_header_nothing_can_be_judged(void **state)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    struct image image;

    journal_make(fixture->dir_fd);
    image_load(fixture->dir_fd, &image);
    for (unsigned n = 0; n < image.segments; n++)
        image.bytes[n].data[0] ^= 1;
    image_restore(fixture->dir_fd, &image);
    assert_int_equal(nj_journal_open_damaged(fixture->dir_fd, &journal, &err), -NJ_E_CORRUPT);
    assert_null(journal);
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(a_whole_journal_is_delivered_whole),
        T(a_flipped_byte_costs_the_frame_that_it_lies_in),
        T(a_frame_whose_payload_is_none_costs_only_itself),
        T(what_a_box_wrote_cannot_make_salvage_endless),
        T(without_one_whole_header_nothing_can_be_judged),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
