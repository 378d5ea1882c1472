/*
 * test_journal.c - the journal's daily work: appending, group commit, segments, reading, full disks
 */
#include <pthread.h>
#include <xxhash.h>

#include "tests/lib/golden.h"
#include "tests/lib/journal_kit.h"

#include "formats/base/banned.h"

static struct nj_journal_writer *open_writer(struct fixture *fixture)
{
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    return writer;
}

static void arm(const char *fault)
{
    assert_int_equal(fault ? setenv("NJ_FAULT", fault, 1) : unsetenv("NJ_FAULT"), 0);
    nj_fault_init("engine");
}

static void what_was_committed_is_read_back_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    unsigned frames = 0;

    journal_make(fixture->dir_fd);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, FRAMES);
}

static void what_was_not_committed_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_error err = {0};
    unsigned frames = 0;

    append_and_commit(writer, 0, 2);
    must(append(writer, 2, NULL, &err), &err);
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 2);
}

static void tickets_tell_when_a_frame_is_durable(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_journal_batch *batch = NULL, *none = NULL;
    struct nj_error err = {0};

    assert_int_equal(nj_journal_ticket(writer), 0);
    must(nj_journal_seal(writer, &none, &err), &err);
    assert_null(none);
    must(append(writer, 0, NULL, &err), &err);
    assert_int_equal(nj_journal_ticket(writer), 1);
    must(nj_journal_seal(writer, &batch, &err), &err);
    assert_non_null(batch);
    assert_int_equal(nj_journal_ticket(writer), 1);
    must(append(writer, 1, NULL, &err), &err); /* while the batch is being written */
    assert_int_equal(nj_journal_ticket(writer), 2);
    must(nj_journal_batch_write(batch, &err), &err);
    assert_int_equal(nj_journal_durable(writer), 0);
    nj_journal_batch_done(writer, batch, 0);
    assert_int_equal(nj_journal_durable(writer), 1);
    assert_true(nj_journal_bytes_written(writer) > NJ_SEGMENT_HEADER_BYTES);
    must(nj_journal_commit(writer, &err), &err);
    assert_int_equal(nj_journal_durable(writer), 2);
    must(nj_journal_commit(writer, &err), &err); /* nothing pends */
    assert_int_equal(nj_journal_durable(writer), 2);
    nj_journal_writer_close(writer);
}

static void tickets_go_on_over_epochs(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_recovery recovery;
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    journal_make(fixture->dir_fd);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_int_equal(recovery.next.epoch, 3);
    assert_true(recovery.next.commits >= 6);
    assert_int_equal(recovery.torn_bytes, 0);
    assert_memory_equal(recovery.next.run_id, start_small().run_id, NJ_JOURNAL_RUN_ID_BYTES);
    must(nj_journal_writer_open(fixture->dir_fd, &recovery.next, &writer, &err), &err);
    assert_int_equal(nj_journal_ticket(writer), recovery.next.commits);
    assert_int_equal(nj_journal_durable(writer), recovery.next.commits);
    append_and_commit(writer, 0, 1);
    assert_int_equal(nj_journal_durable(writer), recovery.next.commits + 1);
    nj_journal_writer_close(writer);
}

static void a_full_segment_is_followed_by_the_next(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_journal_place place = {0}, last = {0};
    struct nj_journal_batch *batch;
    struct nj_error err = {0};
    unsigned batches = 0, frames = 0;

    for (unsigned n = 0; n < 40; n++) {
        must(append(writer, n, &place, &err), &err);
        assert_true(place.segment == last.segment ? place.offset >= last.offset + last.bytes
                                                  : place.offset == NJ_SEGMENT_HEADER_BYTES);
        assert_true(place.offset + place.bytes < SEGMENT_BYTES);
        last = place;
    }
    assert_true(place.segment >= 3);
    for (;;) { /* one batch a segment, in order */
        must(nj_journal_seal(writer, &batch, &err), &err);
        if (!batch)
            break;
        must(nj_journal_batch_write(batch, &err), &err);
        nj_journal_batch_done(writer, batch, 0);
        assert_int_equal(nj_journal_durable(writer), ++batches);
    }
    assert_int_equal(batches, place.segment);
    assert_int_equal(nj_journal_ticket(writer), batches);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 40);
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 40);
}

static void a_closed_journal_takes_no_room_it_does_not_use(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct image image;

    append_and_commit(writer, 0, 1);
    image_load(fixture->dir_fd, &image);
    assert_int_equal(image.segments, 2); /* one in hand */
    assert_int_equal(image.bytes[0].len, SEGMENT_BYTES);
    image_done(&image);
    nj_journal_writer_close(writer);
    image_load(fixture->dir_fd, &image);
    assert_int_equal(image.segments, 1);
    assert_true(image.bytes[0].len < SEGMENT_BYTES / 2);
    image_done(&image);
}

static void places_lead_back_to_their_frames(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_journal_place places[40];
    struct nj_error err = {0};
    uint8_t bytes[1024];

    for (unsigned n = 0; n < 40; n++)
        must(append(writer, n, &places[n], &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    for (unsigned n = 40; n-- > 0;) {
        nj_buf_init(&out, 1u << 20);
        must(nj_journal_read(journal, &places[n], &out, &err), &err);
        assert_true(nj_span_equal(nj_buf_span(&out), frame_make(n, bytes).payload));
        nj_buf_done(&out);
    }
    nj_buf_init(&out, 1u << 20);
    places[0].bytes--;
    assert_int_equal(nj_journal_read(journal, &places[0], &out, &err), -NJ_E_CORRUPT);
    places[0].bytes = 39;
    assert_int_equal(nj_journal_read(journal, &places[0], &out, &err), -NJ_E_CORRUPT);
    places[1].offset += 8;
    assert_int_equal(nj_journal_read(journal, &places[1], &out, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "the frame is damaged"));
    places[2].segment = 77;
    assert_int_equal(nj_journal_read(journal, &places[2], &out, &err), -NJ_E_CORRUPT);
    places[3].offset = 1u << 30;
    assert_int_equal(nj_journal_read(journal, &places[3], &out, &err), -NJ_E_CORRUPT);
    assert_int_equal(out.len, 0);
    nj_journal_writer_close(writer);
}

/* Reads frame @n of those at @places, after gathering from it on. */
static void gather_and_read(struct nj_journal *journal, const struct nj_journal_place *places,
                            unsigned n, size_t follow)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    uint8_t bytes[1024];

    nj_buf_init(&out, 1u << 20);
    nj_journal_gather(journal, &places[n], follow);
    must(nj_journal_read(journal, &places[n], &out, &err), &err);
    assert_true(nj_span_equal(nj_buf_span(&out), frame_make(n, bytes).payload));
}

static void what_was_gathered_is_read_as_it_stood_and_forgotten_when_told(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_journal_place places[240];
    struct nj_error err = {0};
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    nj_auto_close int fd = -1;

    for (unsigned n = 0; n < 240; n++)
        must(append(writer, n, &places[n], &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    nj_journal_writer_close(writer);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    for (unsigned n = 0; n < 240; n++)
        gather_and_read(journal, places, n, 240 - n);
    for (unsigned n = 240; n-- > 0;) /* not in their order */
        gather_and_read(journal, places, n, 240 - n);

    /* The file changes below it: what is in memory does not, until it is forgotten. */
    assert_int_equal(places[1].segment, 1);
    gather_and_read(journal, places, 0, 240);
    nj_entry_segment_name(1, name);
    fd = openat(fixture->dir_fd, name, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)places[1].offset + NJ_FRAME_HEADER_BYTES), 1);
    gather_and_read(journal, places, 1, 239);
    nj_journal_forget(journal, 2);
    gather_and_read(journal, places, 1, 239);
    nj_journal_forget(journal, 1);
    nj_buf_init(&out, 1u << 20);
    nj_journal_gather(journal, &places[0], 240);
    assert_int_equal(nj_journal_read(journal, &places[1], &out, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "the frame is damaged"));
}

static void what_cannot_be_gathered_is_told_when_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_journal_place places[3];
    struct nj_error err = {0};

    for (unsigned n = 0; n < 3; n++)
        must(append(writer, n, &places[n], &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    nj_journal_writer_close(writer);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    places[2].bytes += 4000; /* beyond the file's end */
    for (unsigned n = 0; n < 2; n++)
        gather_and_read(journal, places, n, 3 - n);
    nj_buf_init(&out, 1u << 20);
    nj_journal_gather(journal, &places[2], 1);
    assert_int_equal(nj_journal_read(journal, &places[2], &out, &err), -NJ_E_CORRUPT);
    places[0].bytes = 1;
    nj_journal_gather(journal, places, 3);
    assert_int_equal(nj_journal_read(journal, &places[0], &out, &err), -NJ_E_CORRUPT);
    nj_journal_gather(journal, places, 0);
}

static void more_segments_than_descriptors_are_read(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_journal_place places[240];
    struct nj_error err = {0};
    uint8_t bytes[1024];

    for (unsigned n = 0; n < 240; n++)
        must(append(writer, n, &places[n], &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    assert_true(places[239].segment > 18);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    nj_buf_init(&out, 1u << 20);
    for (unsigned n = 0; n < 240; n++) {
        unsigned at = n * 77 % 240;

        nj_buf_clear(&out);
        must(nj_journal_read(journal, &places[at], &out, &err), &err);
        assert_true(nj_span_equal(nj_buf_span(&out), frame_make(at, bytes).payload));
    }
    nj_journal_writer_close(writer);
}

static void payloads_are_compressed_where_that_pays(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_frame frame = {.kind = NJ_FRAME_OUTPUT, .session = 1, .sequence = 1};
    static uint8_t same[2048];
    struct nj_journal_place place;
    struct nj_error err = {0};
    uint8_t bytes[1024];

    frame.payload = (struct nj_span){same, sizeof(same)};
    must(nj_journal_append(writer, &frame, &place, &err), &err);
    assert_true(place.bytes < 100);
    frame.payload.len = 255; /* too short to try */
    must(nj_journal_append(writer, &frame, &place, &err), &err);
    assert_int_equal(place.bytes, NJ_FRAME_HEADER_BYTES + 255);
    frame.payload = (struct nj_span){bytes, payload_make(19, bytes)}; /* noise */
    must(nj_journal_append(writer, &frame, &place, &err), &err);
    assert_int_equal(place.bytes, NJ_FRAME_HEADER_BYTES + frame.payload.len);
    frame.payload.len = 0;
    must(nj_journal_append(writer, &frame, &place, &err), &err);
    assert_int_equal(place.bytes, NJ_FRAME_HEADER_BYTES);
    nj_journal_writer_close(writer);
}

static void a_frame_of_the_greatest_length_fits(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    nj_auto_free uint8_t *bytes = malloc(NJ_FRAME_PAYLOAD_MAX_BYTES + 1);
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT}, read;
    struct nj_error err = {0};
    uint64_t x = 88172645463325252u;

    assert_non_null(bytes);
    for (size_t i = 0; i < NJ_FRAME_PAYLOAD_MAX_BYTES; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)(x >> 32);
    }
    start.segment_bytes = 64u << 20; /* holds three of them */
    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    frame.payload = (struct nj_span){bytes, NJ_FRAME_PAYLOAD_MAX_BYTES};
    for (unsigned i = 0; i < 4; i++) /* the fourth turns the segment */
        must(nj_journal_append(writer, &frame, NULL, &err), &err);
    must(nj_journal_commit(writer, &err), &err);
    frame.payload.len++;
    assert_int_equal(nj_journal_append(writer, &frame, NULL, &err), -NJ_E_LIMIT);
    nj_journal_writer_close(writer);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    for (unsigned i = 0; i < 4; i++) {
        must(nj_journal_next(journal, &read, &err), &err);
        assert_int_equal(read.place.segment, i < 3 ? 1 : 2);
        assert_true(
            nj_span_equal(read.payload, (struct nj_span){bytes, NJ_FRAME_PAYLOAD_MAX_BYTES}));
    }
    assert_int_equal(nj_journal_next(journal, &read, &err), NJ_JOURNAL_END);
}

static void impossible_frames_are_not_appended(void **state)
{
    static const struct nj_frame frames[] = {
        {.kind = NJ_FRAME_COMMIT},
        {.kind = (enum nj_frame_kind)9, .session = 1},
        {.kind = NJ_FRAME_EVENT, .sequence = 1},
        {.kind = NJ_FRAME_EVENT, .session = 1},
        {.kind = NJ_FRAME_RUN, .session = 1},
        {.kind = NJ_FRAME_OBJECT, .session = 1, .sequence = 1},
        {.kind = NJ_FRAME_ARCHIVED},
        {.kind = NJ_FRAME_REOPENED},
        {.kind = NJ_FRAME_REOPENED, .session = 1, .sequence = 1},
    };
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_error err = {0};

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
        assert_int_equal(nj_journal_append(writer, &frames[i], NULL, &err), -NJ_E_INPUT);
    assert_int_equal(nj_journal_ticket(writer), 0);
    nj_journal_writer_close(writer);
}

static void a_frame_longer_than_a_segment_is_refused_and_leaves_no_trace(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT};
    nj_auto_free uint8_t *bytes = malloc(SEGMENT_BYTES);
    struct nj_error err = {0};
    uint64_t x = 7;
    unsigned frames = 0;

    assert_non_null(bytes);
    for (size_t i = 0; i < SEGMENT_BYTES; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(x >> 56);
    }
    frame.payload = (struct nj_span){bytes, SEGMENT_BYTES};
    append_and_commit(writer, 0, 1);
    must(append(writer, 1, NULL, &err), &err);
    assert_int_equal(nj_journal_append(writer, &frame, NULL, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "too long for segments of 4096 bytes"));
    append_and_commit(writer, 2, 1);
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 3);
}

static void a_writer_does_not_open_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};
    struct image image;

    journal_make(fixture->dir_fd);
    assert_int_equal(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EEXIST);
    assert_null(writer);
    image_load(fixture->dir_fd, &image);
    start.first_segment = image.segments + 1;
    image_done(&image);
    start.epoch = 0;
    assert_int_equal(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), -NJ_E_INPUT);
    start.epoch = 9;
    start.segment_bytes = 4095;
    assert_int_equal(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), -NJ_E_INPUT);
}

/* ---- beside a live writer ---- */

static void a_reader_follows_a_live_writer(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error err = {0};
    struct nj_frame frame;
    uint8_t bytes[1024];

    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_END);
    for (unsigned n = 0; n < 60; n++) {
        must(append(writer, n, NULL, &err), &err);
        assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_END);
        must(nj_journal_commit(writer, &err), &err);
        assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_FRAME);
        assert_true(nj_span_equal(frame.payload, frame_make(n, bytes).payload));
    }
    assert_true(frame.place.segment > 3);
    nj_journal_writer_close(writer);
    assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_END);
}

#define THREAD_FRAMES 3000u

struct shared {
    int dir_fd;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct nj_journal_batch *batch; /* for the thread; NULL when it is idle */
    bool written;
    bool stop;
    int result;
};

static void *writer_thread(void *object)
{
    struct shared *shared = object;

    pthread_mutex_lock(&shared->lock);
    while (!shared->stop) {
        struct nj_journal_batch *batch = shared->written ? NULL : shared->batch;
        struct nj_error err = {0};
        int r;

        if (!batch) {
            pthread_cond_wait(&shared->changed, &shared->lock);
            continue;
        }
        pthread_mutex_unlock(&shared->lock);
        r = nj_journal_batch_write(batch, &err);
        pthread_mutex_lock(&shared->lock);
        shared->result = r;
        shared->written = true;
        pthread_cond_broadcast(&shared->changed);
    }
    pthread_mutex_unlock(&shared->lock);
    return NULL;
}

static void *follower_thread(void *object)
{
    struct shared *shared = object;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error err = {0};
    struct nj_frame frame;
    uintptr_t frames = 0;

    if (nj_journal_open(shared->dir_fd, &journal, &err) < 0)
        return NULL;
    while (frames < THREAD_FRAMES) {
        int r = nj_journal_next(journal, &frame, &err);

        if (r < 0) {
            print_error("%s\n", err.text);
            break;
        }
        if (r == NJ_JOURNAL_FRAME)
            frames++;
    }
    return (void *)frames; /* NOLINT: a number, not a place */
}

/* swap_batch - take back what the thread has written, give it the next; with @wait until it is idle
 */
static bool swap_batch(struct shared *shared, struct nj_journal_writer *writer, bool wait)
{
    struct nj_error err = {0};
    bool idle;

    pthread_mutex_lock(&shared->lock);
    while (wait && shared->batch && !shared->written)
        pthread_cond_wait(&shared->changed, &shared->lock);
    if (shared->written) {
        nj_journal_batch_done(writer, shared->batch, shared->result);
        shared->batch = NULL;
        shared->written = false;
    }
    if (!shared->batch) {
        must(nj_journal_seal(writer, &shared->batch, &err), &err);
        pthread_cond_broadcast(&shared->changed);
    }
    idle = !shared->batch;
    pthread_mutex_unlock(&shared->lock);
    return idle;
}

static void one_thread_appends_while_another_writes_and_a_third_reads(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct shared shared = {.dir_fd = fixture->dir_fd};
    pthread_t thread, follower;
    struct nj_error err = {0};
    void *followed = NULL;
    unsigned frames = 0;

    pthread_mutex_init(&shared.lock, NULL);
    pthread_cond_init(&shared.changed, NULL);
    start.segment_bytes = 65536;
    must(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err), &err);
    assert_int_equal(pthread_create(&thread, NULL, writer_thread, &shared), 0);
    assert_int_equal(pthread_create(&follower, NULL, follower_thread, &shared), 0);
    for (unsigned n = 0; n < THREAD_FRAMES; n++) {
        must(append(writer, n, NULL, &err), &err);
        (void)swap_batch(&shared, writer, false);
    }
    while (!swap_batch(&shared, writer, true))
        ;
    assert_int_equal(nj_journal_durable(writer), nj_journal_ticket(writer));
    assert_int_equal(pthread_join(follower, &followed), 0);
    assert_int_equal((uintptr_t)followed, THREAD_FRAMES);
    pthread_mutex_lock(&shared.lock);
    shared.stop = true;
    pthread_cond_broadcast(&shared.changed);
    pthread_mutex_unlock(&shared.lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, THREAD_FRAMES);
    pthread_mutex_destroy(&shared.lock);
    pthread_cond_destroy(&shared.changed);
}

/* ---- goldens ---- */

/* Where the frames of the small journal begin. */
#define RUN_AT 64u
#define FIRST_COMMIT_AT 120u
#define EVENT_AT 184u
#define COMMIT_SUM_AT (FIRST_COMMIT_AT + NJ_FRAME_HEADER_BYTES + 13) /* 8 bytes, big-endian */

/* small_journal - one segment: a commit of the run's frame, then one of an event and an output.
 * None is long enough to be compressed, so every version of zstd writes these bytes. */
static void small_journal(struct fixture *fixture, struct nj_buf *out)
{
    static const struct nj_frame frames[] = {
        {.kind = NJ_FRAME_RUN,
         .payload = {(const uint8_t *)"\x81\xa5"
                                      "build\xa3"
                                      "0.1",
                     11}},
        {.kind = NJ_FRAME_EVENT,
         .session = 1,
         .sequence = 1,
         .payload = {(const uint8_t *)"\x80", 1}},
        {.kind = NJ_FRAME_OUTPUT,
         .session = 1,
         .sequence = 2,
         .payload = {(const uint8_t *)"hello\n", 6}},
    };
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_error err = {0};

    for (size_t i = 0; i < 3; i++) {
        must(nj_journal_append(writer, &frames[i], NULL, &err), &err);
        if (i != 1)
            must(nj_journal_commit(writer, &err), &err);
    }
    nj_journal_writer_close(writer);
    nj_buf_init(out, 1u << 20);
    must(nj_fsio_read_file(fixture->dir_fd, "000001.njj", out, &err), &err);
}

static void the_golden_journal_is_written_and_read_as_ever(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, hex = {0};
    struct nj_error err = {0};
    struct nj_frame frame;

    small_journal(fixture, &bytes);
    golden_check("journal/v0/small.njj", nj_buf_span(&bytes));
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    must(nj_journal_next(journal, &frame, &err), &err);
    assert_int_equal(frame.kind, NJ_FRAME_RUN);
    must(nj_journal_next(journal, &frame, &err), &err);
    assert_int_equal(frame.place.offset, EVENT_AT);
    must(nj_journal_next(journal, &frame, &err), &err);
    assert_true(nj_span_is(frame.payload, "hello\n"));
    assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_END);

    bytes.len = EVENT_AT; /* the first commit's end */
    hex_lines(nj_buf_span(&bytes), &hex);
    document_shows("formats/journal/FORMAT.md", (char *)hex.data);
}

/* A frame is 40 bytes of header, then its payload; here it is mended after a change. */
static void frame_mend(uint8_t *bytes, size_t at)
{
    struct nj_frame_header header = {
        .kind = (enum nj_frame_kind)bytes[at + NJ_FRAME_AT_KIND],
        .flags = bytes[at + NJ_FRAME_AT_FLAGS],
        .stored_bytes = nj_load_u32le(bytes + at + NJ_FRAME_AT_STORED_BYTES),
        .payload_bytes = nj_load_u32le(bytes + at + NJ_FRAME_AT_PAYLOAD_BYTES),
        .session = nj_load_u32le(bytes + at + NJ_FRAME_AT_SESSION),
        .epoch = nj_load_u32le(bytes + at + NJ_FRAME_AT_EPOCH),
        .sequence = nj_load_u64le(bytes + at + NJ_FRAME_AT_SEQUENCE)};

    nj_entry_frame_encode(&header,
                          (struct nj_span){bytes + at + NJ_FRAME_HEADER_BYTES, header.stored_bytes},
                          nj_entry_seed(start_small().run_id), bytes + at);
}

static void damaged_goldens_are_refused_or_torn(void **state)
{
    static const struct {
        const char *name;
        size_t at;      /* of the byte to change */
        uint8_t value;  /* what it becomes */
        size_t mend_at; /* 0, or the frame whose checksum then fits again */
        int outcome;
        const char *words;
    } damages[] = {
        {"major-9", NJ_SEGMENT_AT_MAJOR, 9, 0, -NJ_E_VERSION,
         "journal format 9, this build reads up to 0"},
        {"header-checksum-flipped", NJ_SEGMENT_AT_CHECKSUM, 0xaa, 0, -NJ_E_CORRUPT,
         "header is damaged"},
        {"frame-checksum-flipped", RUN_AT + NJ_FRAME_AT_CHECKSUM, 0xaa, 0, -NJ_E_CORRUPT,
         "offset 64: a frame is damaged"},
        {"frame-magic-flipped", RUN_AT, 0xaa, 0, -NJ_E_CORRUPT, "offset 64: a frame is damaged"},
        {"frame-other-epoch", RUN_AT + NJ_FRAME_AT_EPOCH, 2, RUN_AT, -NJ_E_CORRUPT, "offset 64"},
        {"frame-reserved-set", RUN_AT + NJ_FRAME_AT_RESERVED, 1, 0, -NJ_E_CORRUPT, "offset 64"},
        {"frame-kind-unknown", RUN_AT + NJ_FRAME_AT_KIND, 9, RUN_AT, -NJ_E_CORRUPT, "offset 64"},
        {"frame-flags-unknown", RUN_AT + NJ_FRAME_AT_FLAGS, 2, RUN_AT, -NJ_E_CORRUPT, "offset 64"},
        {"frame-session-in-run", RUN_AT + NJ_FRAME_AT_SESSION, 1, RUN_AT, -NJ_E_CORRUPT,
         "offset 64"},
        {"frame-length-huge", RUN_AT + NJ_FRAME_AT_STORED_BYTES + 3, 0x7f, 0, -NJ_E_CORRUPT,
         "offset 64"},
        {"padding-set", RUN_AT + 55, 1, 0, -NJ_E_CORRUPT, "offset 64: a frame is damaged"},
        {"commit-number-skips", FIRST_COMMIT_AT + 40 + 6, 2, FIRST_COMMIT_AT, -NJ_E_CORRUPT,
         "the commit's number is out of order"},
        {"commit-other-bytes", FIRST_COMMIT_AT + 40 + 3, 48, FIRST_COMMIT_AT, -NJ_E_CORRUPT,
         "the commit covers other frames"},
        {"commit-other-frames", FIRST_COMMIT_AT + 40 + 9, 2, FIRST_COMMIT_AT, -NJ_E_CORRUPT,
         "the commit covers other frames"},
        {"commit-not-canonical", FIRST_COMMIT_AT + 40 + 2, 'c', FIRST_COMMIT_AT, -NJ_E_CORRUPT,
         "not unique and ascending"},
        {"zstd-none", RUN_AT + NJ_FRAME_AT_FLAGS, NJ_FRAME_FLAG_ZSTD, RUN_AT, -NJ_E_CORRUPT,
         "offset 64: the frame's payload does not decode"},
        {"last-event-flipped", EVENT_AT + 40, 0x81, 0, -NJ_E_CORRUPT,
         "offset 184: a frame is damaged"},
    };
    struct fixture *fixture = *state;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};

    small_journal(fixture, &bytes);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
        nj_auto_free uint8_t *copy = malloc(bytes.len);
        struct nj_error err = {0};
        struct nj_frame frame;
        char name[96];
        int r;

        assert_non_null(copy);
        memcpy(copy, bytes.data, bytes.len);
        copy[damages[i].at] = damages[i].value;
        if (damages[i].at ==
            RUN_AT + NJ_FRAME_AT_FLAGS) /* more than is stored, as a zstd frame must have */
            copy[RUN_AT + NJ_FRAME_AT_PAYLOAD_BYTES] = 12;
        if (damages[i].mend_at != 0)
            frame_mend(copy, damages[i].mend_at);
        if (damages[i].mend_at == RUN_AT) { /* and the commit covers it */
            uint64_t sum = XXH3_64bits_withSeed(copy + RUN_AT, FIRST_COMMIT_AT - RUN_AT,
                                                nj_entry_seed(start_small().run_id));

            for (size_t j = 0; j < 8; j++)
                copy[COMMIT_SUM_AT + j] = (uint8_t)(sum >> (56 - 8 * j));
            frame_mend(copy, FIRST_COMMIT_AT);
        }
        (void)snprintf(name, sizeof(name), "journal/damaged/%s.njj", damages[i].name);
        golden_check(name, (struct nj_span){copy, bytes.len});
        file_write(fixture->dir_fd, 1, copy, bytes.len);
        must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
        do {
            r = nj_journal_next(journal, &frame, &err);
        } while (r == NJ_JOURNAL_FRAME);
        if (r != damages[i].outcome || !strstr(err.text, damages[i].words))
            fail_msg("%s: %d \"%s\" does not say \"%s\"", damages[i].name, r, err.text,
                     damages[i].words);
    }
}

static void unknown_requirements_are_refused_and_hints_ignored(void **state)
{
    struct fixture *fixture = *state;
    struct nj_segment_header header;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error err = {0};
    unsigned frames = 0;

    journal_make(fixture->dir_fd);
    nj_buf_init(&bytes, 1u << 20);
    must(nj_fsio_read_file(fixture->dir_fd, "000001.njj", &bytes, &err), &err);
    must(nj_entry_segment_decode(bytes.data, &header, &err), &err);
    header.hints = 0x80;
    nj_entry_segment_encode(&header, bytes.data);
    file_write(fixture->dir_fd, 1, bytes.data, bytes.len);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, FRAMES);
    nj_store_u32le(bytes.data + NJ_SEGMENT_AT_REQUIRES, 4);
    nj_store_u64le(bytes.data + NJ_SEGMENT_AT_CHECKSUM,
                   XXH3_64bits(bytes.data, NJ_SEGMENT_AT_CHECKSUM));
    file_write(fixture->dir_fd, 1, bytes.data, bytes.len);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), -NJ_E_VERSION);
    assert_non_null(strstr(err.text, "journal segment 000001.njj: needs journal features 0x4"));
}

static void a_rewound_reader_begins_again(void **state)
{
    struct fixture *fixture = *state;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error err = {0};
    struct nj_frame frame;

    journal_make(fixture->dir_fd);
    must(nj_journal_open(fixture->dir_fd, &journal, &err), &err);
    for (unsigned stop = 0; stop <= FRAMES; stop += 3) {
        uint8_t bytes[1024];

        for (unsigned n = 0; n < stop; n++) {
            assert_int_equal(nj_journal_next(journal, &frame, &err), NJ_JOURNAL_FRAME);
            assert_true(nj_span_equal(frame.payload, frame_make(n, bytes).payload));
        }
        nj_journal_rewind(journal);
    }
}

/* ---- disks that fail ---- */

static void a_full_disk_leaves_a_segment_to_suspend_in(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_error err = {0};
    unsigned n = 0, refused_at, frames = 0;

    arm("fallocate#1:enospc,fallocate#2:enospc");
    while (append(writer, n, NULL, &err) == 0) {
        must(nj_journal_commit(writer, &err), &err);
        n++;
    }
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_non_null(strstr(err.text, "journal segment 000003.njj"));
    refused_at = n;
    must(append(writer, n++, NULL, &err), &err); /* the suspend records */
    must(nj_journal_commit(writer, &err), &err);
    while (append(writer, n, NULL, &err) == 0) {
        must(nj_journal_commit(writer, &err), &err);
        n++;
    }
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_true(n > refused_at + 2);
    append_and_commit(writer, n, 30); /* there is room again */
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, n + 30);
}

static void a_full_disk_at_the_start_leaves_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};
    struct image image;

    for (unsigned nth = 1; nth <= 2; nth++) {
        arm(nth == 1 ? "fallocate#1:enospc" : "fallocate#2:enospc");
        assert_int_equal(nj_journal_writer_open(fixture->dir_fd, &start, &writer, &err),
                         -NJ_E_SYSTEM);
        assert_int_equal(err.sys_errno, ENOSPC);
        image_load(fixture->dir_fd, &image);
        assert_int_equal(image.segments, 0);
    }
}

static void after_a_failed_sync_nothing_more_is_written(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_journal_batch *first = NULL, *second = NULL, *third = NULL;
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};
    unsigned frames = 0;

    append_and_commit(writer, 0, 3);
    must(append(writer, 3, NULL, &err), &err);
    must(nj_journal_seal(writer, &first, &err), &err);
    must(append(writer, 4, NULL, &err), &err);
    must(nj_journal_seal(writer, &second, &err), &err);
    arm("fdatasync:eio");
    assert_int_equal(nj_journal_batch_write(first, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EIO);
    assert_non_null(strstr(err.text, "journal segment 000001.njj: fdatasync"));
    arm(NULL);
    assert_int_equal(nj_journal_batch_write(second, &err), -NJ_E_SYSTEM);
    nj_journal_batch_done(writer, first, -NJ_E_SYSTEM);
    nj_journal_batch_done(writer, second, -NJ_E_SYSTEM);
    assert_int_equal(nj_journal_durable(writer), 1);
    assert_int_equal(append(writer, 5, NULL, &err), -NJ_E_SYSTEM);
    assert_non_null(strstr(err.text, "an earlier write failed"));
    assert_int_equal(nj_journal_seal(writer, &third, &err), -NJ_E_SYSTEM);
    assert_int_equal(nj_journal_commit(writer, &err), -NJ_E_SYSTEM);
    nj_journal_writer_close(writer);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_in_range(frames, 3, 4); /* the unsynced batch may be there or not */
}

/* The second write is of zeros, where they are written ahead, else of the second batch. */
static void a_failed_write_of_zeros_is_an_end_too(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};
    unsigned frames = 0;
    int r;

    arm("write#2:eio");
    must(append(writer, 0, NULL, &err), &err);
    r = nj_journal_commit(writer, &err);
    if (r == 0) {
        must(append(writer, 1, NULL, &err), &err);
        r = nj_journal_commit(writer, &err);
    }
    assert_int_equal(r, -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EIO);
    assert_int_equal(nj_journal_commit(writer, &err), -NJ_E_SYSTEM);
    arm(NULL);
    nj_journal_writer_close(writer);
    must(nj_journal_recover(fixture->dir_fd, &recovery, &err), &err);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 1);
}

static void short_and_interrupted_writes_are_completed(void **state)
{
    struct fixture *fixture = *state;
    struct nj_journal_writer *writer = open_writer(fixture);
    struct nj_error err = {0};
    unsigned frames = 0;

    arm("write#1:short,write#2:eintr,fdatasync#1:eintr,write#5:short");
    append_and_commit(writer, 0, 3);
    append_and_commit(writer, 3, 3);
    nj_journal_writer_close(writer);
    assert_int_equal(read_all(fixture->dir_fd, &frames, &err), NJ_JOURNAL_END);
    assert_int_equal(frames, 6);
}

static void named_points_can_fail(void **state)
{
    static const char *const faults[] = {"journal.before_write:enospc", "journal.before_sync:eio",
                                         "journal.after_sync:eio"};

    for (size_t i = 0; i < 3; i++) {
        struct fixture *fixture = *state;
        struct nj_journal_writer *writer = open_writer(fixture);
        struct image empty = {0};
        struct nj_error err = {0};

        must(append(writer, 0, NULL, &err), &err);
        arm(faults[i]);
        assert_int_equal(nj_journal_commit(writer, &err), -NJ_E_SYSTEM);
        assert_int_equal(err.sys_errno, i == 0 ? ENOSPC : EIO);
        arm(NULL);
        nj_journal_writer_close(writer);
        image_restore(fixture->dir_fd, &empty);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        T(what_was_committed_is_read_back_in_order),
        T(what_was_not_committed_is_not_read),
        T(tickets_tell_when_a_frame_is_durable),
        T(tickets_go_on_over_epochs),
        T(a_full_segment_is_followed_by_the_next),
        T(a_closed_journal_takes_no_room_it_does_not_use),
        T(places_lead_back_to_their_frames),
        T(what_was_gathered_is_read_as_it_stood_and_forgotten_when_told),
        T(what_cannot_be_gathered_is_told_when_it_is_read),
        T(more_segments_than_descriptors_are_read),
        T(payloads_are_compressed_where_that_pays),
        T(a_frame_of_the_greatest_length_fits),
        T(impossible_frames_are_not_appended),
        T(a_frame_longer_than_a_segment_is_refused_and_leaves_no_trace),
        T(a_writer_does_not_open_what_is_there),
        T(a_reader_follows_a_live_writer),
        T(one_thread_appends_while_another_writes_and_a_third_reads),
        T(the_golden_journal_is_written_and_read_as_ever),
        T(damaged_goldens_are_refused_or_torn),
        T(unknown_requirements_are_refused_and_hints_ignored),
        T(a_rewound_reader_begins_again),
        T(a_full_disk_leaves_a_segment_to_suspend_in),
        T(a_full_disk_at_the_start_leaves_nothing_behind),
        T(after_a_failed_sync_nothing_more_is_written),
        T(a_failed_write_of_zeros_is_an_end_too),
        T(short_and_interrupted_writes_are_completed),
        T(named_points_can_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
