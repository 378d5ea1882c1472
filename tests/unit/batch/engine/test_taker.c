/*
 * test_taker.c - what a call left comes in pieces, checked, and each object once
 *
 * Every case has a real journal, a real loop and the real thread.
 */
#include <event2/event.h>
#include <sys/mman.h>

#include "batch/engine/taker.h"
#include "formats/base/fsio.h"
#include "formats/object/object.h"
#include "tests/lib/journal_kit.h"

#include "formats/base/banned.h"

#define OBJECT_BYTES 20000u
#define OBJECTS 100u

struct stage {
    struct fixture *fixture;
    struct event_base *base;
    struct nj_journal_writer *writer;
    struct nj_journal *reader;
    struct nj_taker *taker;
    struct nj_object_index index;
    struct nj_take *take;
    unsigned pieces;
    unsigned appended;
    size_t most_bytes; /* of a piece */
    bool stopping;     /* a piece is not appended, and no next one asked for */
    bool over;
    struct nj_error failed;
};

static struct stage stage;

static int stage_up(void **state)
{
    struct nj_journal_start start = start_small();
    struct nj_error err = {0};

    if (set_up(state) < 0)
        return -1;
    start.segment_bytes = 8u << 20;
    stage = (struct stage){.fixture = *state, .base = event_base_new()};
    assert_int_equal(event_base_priority_init(stage.base, 2), 0);
    must(nj_journal_writer_open(stage.fixture->dir_fd, &start, &stage.writer, &err), &err);
    must(nj_journal_open(stage.fixture->dir_fd, &stage.reader, &err), &err);
    must(nj_taker_new(stage.base, stage.fixture->dir_fd, &stage.taker, &err), &err);
    return 0;
}

static int stage_down(void **state)
{
    nj_take_cancel(stage.take);
    nj_taker_free(stage.taker);
    nj_object_index_done(&stage.index);
    nj_journal_free(stage.reader);
    nj_journal_writer_close(stage.writer);
    event_base_free(stage.base);
    return tear_down(state);
}

/* content - the object @n in its version @version: bytes that do not compress, but for what
 * versions share */
static void content(unsigned n, unsigned version, uint8_t *bytes)
{
    uint32_t x = n * 2654435761u + 1;

    for (size_t i = 0; i < OBJECT_BYTES; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (uint8_t)x;
    }
    bytes[n] = (uint8_t)(bytes[n] + version);
}

static void add_object(int fd, unsigned n, unsigned version, bool lies)
{
    NJ_AUTO(nj_buf_done) struct nj_buf encoded = {0};
    uint8_t bytes[OBJECT_BYTES];
    struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = {bytes, sizeof(bytes)}};
    struct nj_error err = {0};

    if (version > 0) {
        content(n, version - 1, bytes);
        object.has_earlier = true;
        nj_digest_bytes(bytes, sizeof(bytes), &object.earlier);
    }
    content(n, version, bytes);
    nj_digest_bytes(bytes, sizeof(bytes), &object.digest);
    if (lies)
        bytes[7]++;
    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES);
    must(nj_object_encode(&object, &encoded, &err), &err);
    must(nj_fsio_write(fd, encoded.data, encoded.len, &err), &err);
}

static void on_ready(void *ctx, const struct nj_take_piece *piece, const struct nj_error *failed)
{
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT, .session = 1};
    struct nj_error err = {0};
    size_t bytes = 0;

    assert_ptr_equal(ctx, &stage);
    stage.over = !piece || piece->last;
    if (!piece) {
        stage.failed = *failed;
        return;
    }
    stage.pieces++;
    for (size_t i = 0; i < piece->n_items && !stage.stopping; i++) {
        const struct nj_taken *taken = &piece->items[i];

        must(nj_journal_append_stored(stage.writer, &frame, &taken->stored, &frame.place, &err),
             &err);
        must(nj_take_note(stage.take, &stage.index, &taken->digest, &frame.place, &err), &err);
        bytes += taken->stored.bytes.len;
        stage.appended++;
    }
    if (bytes > stage.most_bytes)
        stage.most_bytes = bytes;
    if (!piece->last && !stage.stopping)
        nj_take_next(stage.take);
}

/* take - what was written to @fd, which is taken; until it is over */
static void take(int fd)
{
    struct nj_take_setup setup = {
        .fd = fd, .owner = 1, .index = &stage.index, .ready = on_ready, .ctx = &stage};
    struct nj_error err = {0};
    off_t bytes = lseek(fd, 0, SEEK_CUR);

    assert_true(bytes > 0);
    setup.bytes = (uint64_t)bytes;
    stage.over = false;
    stage.pieces = stage.appended = 0;
    must(nj_take_start(stage.taker, &setup, &stage.take, &err), &err);
    while (!stage.over && !(stage.stopping && stage.pieces > 0))
        assert_true(event_base_loop(stage.base, EVLOOP_ONCE) >= 0);
    nj_take_cancel(stage.take);
    stage.take = NULL;
    must(nj_journal_commit(stage.writer, &err), &err);
}

static int new_memfd(void)
{
    struct nj_error err = {0};
    int fd = -1;

    must(nj_fsio_memfd("test", &fd, &err), &err);
    return fd;
}

static void take_version(unsigned version)
{
    int fd = new_memfd();

    for (unsigned n = 0; n < OBJECTS; n++)
        add_object(fd, n, version, false);
    take(fd);
}

static int read_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct nj_journal_place *place = nj_object_index_find(&stage.index, digest);

    (void)ctx;
    if (!place)
        return nj_fail(err, NJ_E_CORRUPT, "it is not there");
    return nj_journal_read(stage.reader, place, out, err);
}

/* chain_of - the object can be read, as the so many-th change */
static unsigned chain_of(unsigned n, unsigned version)
{
    const struct nj_object_shelf shelf = {.read = read_object, .ctx = NULL};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    uint8_t bytes[OBJECT_BYTES];
    struct nj_object object;
    struct nj_digest digest;
    struct nj_error err = {0};
    unsigned chain = 0;

    content(n, version, bytes);
    nj_digest_bytes(bytes, sizeof(bytes), &digest);
    nj_buf_init(&out, NJ_OBJECT_MAX_BYTES);
    must(nj_object_load(&shelf, &digest, &out, &object, &chain, &err), &err);
    assert_int_equal(object.bytes.len, sizeof(bytes));
    assert_memory_equal(object.bytes.data, bytes, sizeof(bytes));
    return chain;
}

static void pieces_are_bounded_and_hold_everything(void **state)
{
    (void)state;
    take_version(0);
    assert_int_equal(stage.appended, OBJECTS);
    assert_true(stage.pieces >= OBJECTS * OBJECT_BYTES / (NJ_TAKE_PIECE_BYTES + OBJECT_BYTES));
    assert_true(stage.most_bytes < NJ_TAKE_PIECE_BYTES + OBJECT_BYTES + 4096);
    for (unsigned n = 0; n < OBJECTS; n++)
        assert_int_equal(chain_of(n, 0), 0);
}

static void what_is_known_is_left_out_and_twice_the_same_is_stored_once(void **state)
{
    int fd = new_memfd();

    (void)state;
    add_object(fd, 1, 0, false);
    add_object(fd, 1, 0, false);
    take(fd);
    assert_int_equal(stage.appended, 1);
    take_version(0);
    assert_int_equal(stage.appended, OBJECTS - 1);
}

static void small_edits_are_stored_as_changes_in_short_chains(void **state)
{
    (void)state;
    for (unsigned version = 0; version < 3 * NJ_OBJECT_CHAIN_MAX; version++) {
        uint64_t before = nj_journal_bytes_written(stage.writer);

        take_version(version);
        for (unsigned n = 0; n < OBJECTS; n++)
            assert_true(chain_of(n, version) <= NJ_OBJECT_CHAIN_MAX);
        if (version > 0)
            assert_true(nj_journal_bytes_written(stage.writer) - before <
                        OBJECTS * OBJECT_BYTES / 10);
    }
}

static void an_object_under_anothers_digest_is_refused(void **state)
{
    int fd = new_memfd();

    (void)state;
    add_object(fd, 0, 0, false);
    add_object(fd, 1, 0, true);
    take(fd);
    assert_int_equal(stage.failed.code, NJ_E_CORRUPT);
    assert_non_null(strstr(stage.failed.text, "another digest"));
}

static void rubbish_behind_what_is_whole_is_refused(void **state)
{
    int fd = new_memfd();
    struct nj_error err = {0};

    (void)state;
    add_object(fd, 0, 0, false);
    must(nj_fsio_write(fd, "rubbish", 7, &err), &err);
    take(fd);
    assert_int_equal(stage.failed.code, NJ_E_CORRUPT);
}

/* What the thread made of an object that was never appended is no base: the change would end
 * nowhere. */
static void behind_a_take_that_ended_early_everything_can_be_read(void **state)
{
    (void)state;
    take_version(0);
    for (unsigned version = 2; version < 10; version += 3) { /* what it follows is unknown, too */
        stage.stopping = true;
        take_version(version);
        assert_int_equal(stage.appended, 0);
        stage.stopping = false;
        take_version(version + 1);
        assert_int_equal(stage.appended, OBJECTS);
        for (unsigned n = 0; n < OBJECTS; n++)
            assert_int_equal(chain_of(n, version + 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_up, stage_down)
        CASE(pieces_are_bounded_and_hold_everything),
        CASE(what_is_known_is_left_out_and_twice_the_same_is_stored_once),
        CASE(small_edits_are_stored_as_changes_in_short_chains),
        CASE(an_object_under_anothers_digest_is_refused),
        CASE(rubbish_behind_what_is_whole_is_refused),
        CASE(behind_a_take_that_ended_early_everything_can_be_read),
#undef CASE
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
