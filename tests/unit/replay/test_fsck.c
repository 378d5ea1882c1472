/*
 * test_fsck.c - a run directory that is checked and saved
 */
#include <dirent.h>
#include <fcntl.h>

#include "replay/fsck_run.h"
#include "tests/lib/record_kit.h"

#include "formats/base/banned.h"

static const struct nj_run_dir empty_dir = NJ_RUN_DIR_EMPTY;

struct fixture {
    struct record_kit kit;
    char folder[32];
    char path[64];
    struct nj_run_dir dir;
    int save_fd;
    unsigned faults;
};

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.dir = empty_dir, .save_fd = -1, .folder = "/tmp/nj-fsck-XXXXXX"};
    *state = &fixture;
    if (!mkdtemp(fixture.folder))
        return -1;
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/saved", fixture.folder);
    if (mkdir(fixture.path, 0700) < 0)
        return -1;
    fixture.save_fd = open(fixture.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/run", fixture.folder);
    return fixture.save_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    nj_run_dir_done(&fixture->dir);
    (void)close(fixture->save_fd);
    record_kit_done(&fixture->kit);
    return nj_fsio_remove_tree(AT_FDCWD, fixture->folder, &err);
}

static int count_fault(void *ctx, const struct nj_fault *fault, struct nj_error *err)
{
    struct fixture *fixture = ctx;

    (void)err;
    assert_true(*fault->where && *fault->what);
    fixture->faults++;
    return 0;
}

/* add_session - another session with the frames that record_kit_run() wrote, from its frame @first
 * on (from 0) */
static void add_session(struct fixture *fixture, uint32_t session, size_t first)
{
    NJ_AUTO(nj_journal_writer_close) struct nj_journal_writer *writer = NULL;
    struct nj_journal_recovery recovery;
    struct nj_error err = {0};

    record_kit_must(nj_journal_recover(fixture->dir.journal_fd, &recovery, &err), &err);
    record_kit_must(nj_journal_writer_open(fixture->dir.journal_fd, &recovery.next, &writer, &err),
                    &err);
    for (size_t i = 0; i < fixture->kit.store.n_items; i++) {
        const struct memory_object *item = &fixture->kit.store.items[i];
        struct nj_object object = {
            .kind = item->kind, .digest = item->digest, .bytes = {item->data, item->len}};
        NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
        struct nj_frame frame = {.kind = NJ_FRAME_OBJECT, .session = session};

        nj_buf_init(&buf, NJ_FRAME_PAYLOAD_MAX_BYTES);
        record_kit_must(nj_object_encode(&object, &buf, &err), &err);
        frame.payload = nj_buf_span(&buf);
        record_kit_must(nj_journal_append(writer, &frame, NULL, &err), &err);
    }
    for (size_t i = first; i < fixture->kit.n_frames; i++) {
        struct nj_frame frame = record_kit_frame_at(&fixture->kit, i);

        frame.session = session;
        frame.sequence = i - first + 1;
        record_kit_must(nj_journal_append(writer, &frame, NULL, &err), &err);
    }
    record_kit_must(nj_journal_commit(writer, &err), &err);
}

static unsigned files_saved(const struct fixture *fixture)
{
    int fd = openat(fixture->save_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    unsigned count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)))
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

static struct nj_fsck_run_result check(struct fixture *fixture)
{
    struct nj_fsck_ear ear = {.fault = count_fault, .ctx = fixture};
    struct nj_fsck_run_result result = {0};
    struct nj_error err = {0};

    record_kit_must(nj_fsck_run(&fixture->dir, fixture->save_fd, &ear, &result, &err), &err);
    assert_int_equal(result.faults, fixture->faults);
    return result;
}

static void make_run_of(struct fixture *fixture)
{
    struct nj_error err = {0};

    record_kit_play_small(&fixture->kit);
    record_kit_run(&fixture->kit, fixture->path, fixture->kit.n_frames);
    record_kit_must(nj_run_dir_open(fixture->path, false, &fixture->dir, &err), &err);
}

static void make_run(struct fixture *fixture)
{
    record_kit_init(&fixture->kit);
    make_run_of(fixture);
}

/* Names are made of a key's first characters and eight of the digest: of 100,000 sessions two meet.
 */
static void two_sessions_of_one_file_name_are_both_saved(void **state)
{
    struct fixture *fixture = *state;
    struct nj_fsck_run_result result;

    make_run(fixture);
    add_session(fixture, 3, 0);
    result = check(fixture);
    assert_int_equal(result.sessions, 3);
    assert_int_equal(result.sessions_whole, 2); /* the kit's other one has nothing but a key */
    assert_int_equal(result.saved, 2);
    assert_int_equal(files_saved(fixture), 2);
}

static void a_session_that_nothing_opened_is_a_fault_and_no_crash(void **state)
{
    struct fixture *fixture = *state;

    make_run(fixture);
    add_session(fixture, 3, 2); /* from the first reply on */
    assert_int_equal(check(fixture).saved, 1);
    assert_true(fixture->faults > 0);
}

/* The first builds wrote neither clock nor seed into snapshots. */
static void a_record_of_the_first_builds_is_whole(void **state)
{
    struct fixture *fixture = *state;

    record_kit_init(&fixture->kit);
    fixture->kit.without_clock = true;
    make_run_of(fixture);
    assert_int_equal(check(fixture).sessions_whole, 1);
}

static void where_calls_had_a_clock_a_snapshot_without_it_is_a_fault(void **state)
{
    struct fixture *fixture = *state;

    record_kit_init(&fixture->kit);
    fixture->kit.without_clock = true;
    fixture->kit.config.layer = 1;
    make_run_of(fixture);
    assert_int_equal(check(fixture).sessions_whole, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(two_sessions_of_one_file_name_are_both_saved),
        TEST(a_session_that_nothing_opened_is_a_fault_and_no_crash),
        TEST(a_record_of_the_first_builds_is_whole),
        TEST(where_calls_had_a_clock_a_snapshot_without_it_is_a_fault),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
