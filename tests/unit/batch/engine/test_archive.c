/*
 * test_archive.c - from a session's places in a journal to its bundle
 */
#include <dirent.h>
#include <sys/wait.h>

#include "batch/engine/archive.h"
#include "tests/lib/bundle_kit.h"
#include "tests/lib/journal_kit.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define HOST "{\"kernel\":\"6.1\"}" /* of nj_plan_environment() */
#define OTHER_SESSION 3u
#define NAME "invoice-0041-01020304.njb"

/* A journal in which the kit's session lies between frames of another one, and what is known of it.
 */
struct stage {
    struct fixture *fixture;
    struct nj_journal *journal;
    struct nj_journal_place places[KIT_FRAMES];
    struct nj_object_index index;
    struct memory_objects inputs;
    struct nj_workspace_ref mount;
    struct nj_archive archive;
    struct nj_bundle_info info;
    int bundles_fd;
};

static void put_frame(struct nj_journal_writer *writer, const struct nj_frame *frame,
                      struct nj_journal_place *ret_place)
{
    struct nj_error err = {0};

    must(nj_journal_append(writer, frame, ret_place, &err), &err);
}

static void put_object(struct stage *stage, struct nj_journal_writer *writer, unsigned n)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = nj_span_text(kit_object_text(n))};
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT, .session = 7};
    struct nj_journal_place place;
    struct nj_error err = {0};

    nj_digest_bytes(object.bytes.data, object.bytes.len, &object.digest);
    nj_buf_init(&payload, 1u << 16);
    must(nj_object_encode(&object, &payload, &err), &err);
    frame.payload = nj_buf_span(&payload);
    put_frame(writer, &frame, &place);
    must(nj_object_index_add(&stage->index, &object.digest, &place, &err), &err);
}

static void fill_journal(struct stage *stage)
{
    struct nj_journal_start start = start_small();
    struct nj_journal_writer *writer = NULL;
    struct nj_error err = {0};

    must(nj_journal_writer_open(stage->fixture->dir_fd, &start, &writer, &err), &err);
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
        struct nj_frame frame = kit_frame(sequence, &payload);

        put_frame(writer, &frame, &stage->places[sequence - 1]);
        frame.session = OTHER_SESSION;
        put_frame(writer, &frame, NULL);
        if (sequence <= KIT_OBJECTS)
            put_object(stage, writer, (unsigned)sequence - 1);
        if (sequence % 3 == 0)
            must(nj_journal_commit(writer, &err), &err);
    }
    must(nj_journal_commit(writer, &err), &err);
    nj_journal_writer_close(writer);
}

static void fill_inputs(struct stage *stage)
{
    struct nj_object_sink sink = memory_objects_sink(&stage->inputs);
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_tree_entry entry = {
        .name = nj_span_text("check.py"), .type = NJ_FILE_REGULAR, .mode = 0644};
    struct nj_tree tree = {.entries = &entry, .n_entries = 1};
    struct nj_stamp stamp = {.name = entry.name, .mtime_ns = 1};
    struct nj_stamps stamps = {.entries = &stamp, .n_entries = 1};
    struct nj_error err = {0};

    must(nj_parts_put(&sink, nj_span_text(KIT_INPUT), &entry, &err), &err);
    nj_buf_init(&buf, 1u << 16);
    must(nj_tree_encode(&tree, &buf, &err), &err);
    must(nj_object_put(&sink, NJ_OBJECT_TREE, nj_buf_span(&buf), &stage->mount.tree, &err), &err);
    nj_buf_clear(&buf);
    must(nj_stamps_encode(&stamps, &buf, &err), &err);
    must(nj_object_put(&sink, NJ_OBJECT_STAMPS, nj_buf_span(&buf), &stage->mount.stamps, &err),
         &err);
}

static int stage_up(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    struct nj_error err = {0};
    void *fixture = NULL;

    if (!stage || set_up(&fixture) < 0)
        return -1;
    stage->fixture = fixture;
    fill_journal(stage);
    fill_inputs(stage);
    must(nj_journal_open(stage->fixture->dir_fd, &stage->journal, &err), &err);
    must(nj_fsio_open_dir(stage->fixture->dir_fd, "bundles", &stage->bundles_fd, &err), &err);
    stage->archive = (struct nj_archive){
        .journal = stage->journal,
        .places = stage->places,
        .n_places = KIT_FRAMES,
        .index = &stage->index,
        .mounts = &stage->mount,
        .n_mounts = 1,
        .inputs = memory_objects_source(&stage->inputs),
        .manifest = nj_span_text(KIT_MANIFEST),
        .host = HOST,
    };
    must(nj_digested_new(&stage->archive.digested, &err), &err);
    stage->info = kit_info();
    stage->info.environment = NULL; /* the archive's */
    *state = stage;
    return 0;
}

static int stage_down(void **state)
{
    struct stage *stage = *state;
    void *fixture = stage->fixture;
    int r;

    (void)close(stage->bundles_fd);
    nj_digested_free(stage->archive.digested);
    nj_journal_free(stage->journal);
    nj_object_index_done(&stage->index);
    memory_objects_done(&stage->inputs);
    r = tear_down(&fixture);
    free(stage);
    return r;
}

static void publish(struct stage *stage)
{
    struct nj_error err = {0};

    must(nj_archive_publish(&stage->archive, &stage->info, stage->bundles_fd, NAME, &err), &err);
}

static void read_published(struct stage *stage, struct nj_buf *bytes)
{
    struct nj_error err = {0};

    nj_buf_init(bytes, 1u << 24);
    must(nj_fsio_read_file(stage->bundles_fd, NAME, bytes, &err), &err);
}

/* How many names are in the bundles' folder that are not the bundle's. */
static int strangers(struct stage *stage)
{
    int fd = openat(stage->bundles_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    struct dirent *entry;
    int n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
             strcmp(entry->d_name, NAME) != 0;
    (void)closedir(dir);
    return n;
}

static void the_bundle_holds_the_session_and_nothing_of_the_others(void **state)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    nj_auto_close int fd = -1;
    struct stage *stage = *state;
    const struct nj_bundle_info *info;
    struct nj_object_source source;
    struct nj_error err = {0};

    publish(stage);
    fd = openat(stage->bundles_fd, NAME, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    must(nj_bundle_open(fd, NAME, 0, &bundle, &err), &err);
    info = nj_bundle_info(bundle);
    assert_string_equal(info->key, KIT_KEY);
    assert_int_equal(info->frames, KIT_FRAMES);
    assert_non_null(strstr(info->environment, "\"kernel\":\"6.1\""));
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf got = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
        struct nj_frame expected = kit_frame(sequence, &payload);
        struct nj_frame frame;

        nj_buf_init(&got, 1u << 16);
        must(nj_bundle_frame(bundle, sequence, &got, &frame, &err), &err);
        assert_int_equal(frame.kind, expected.kind);
        assert_true(nj_span_equal(frame.payload, expected.payload));
    }
    source = nj_bundle_objects(bundle);
    for (unsigned n = 0; n < KIT_OBJECTS; n++) {
        NJ_AUTO(nj_buf_done) struct nj_buf got = {0};
        struct nj_span text = nj_span_text(kit_object_text(n));
        struct nj_digest digest;

        nj_digest_bytes(text.data, text.len, &digest);
        nj_buf_init(&got, 1u << 16);
        must(source.get(source.ctx, &digest, &got, &err), &err);
        assert_true(nj_span_equal(nj_buf_span(&got), text));
    }
    source = nj_bundle_inputs(bundle);
    {
        NJ_AUTO(nj_buf_done) struct nj_buf got = {0};

        nj_buf_init(&got, 1u << 16);
        must(source.get(source.ctx, &stage->mount.tree, &got, &err), &err);
    }
    assert_string_equal((const char *)nj_bundle_manifest(bundle).data, KIT_MANIFEST);
}

static void inputs_stay_out_where_the_job_says_reference(void **state)
{
    struct stage *stage = *state;
    struct nj_object_source source;
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf got = {0};
    nj_auto_close int fd = -1;
    struct nj_error err = {0};

    stage->info.inputs_embedded = false;
    publish(stage);
    fd = openat(stage->bundles_fd, NAME, O_RDONLY | O_CLOEXEC);
    must(nj_bundle_open(fd, NAME, 0, &bundle, &err), &err);
    nj_buf_init(&got, 1u << 16);
    source = nj_bundle_inputs(bundle);
    assert_true(source.get(source.ctx, &stage->mount.tree, &got, &err) < 0);
}

/* publish_as - in a process of its own, somewhere else in the world */
static void publish_as(struct stage *stage, const char *zone, mode_t mask, const char *cwd,
                       uid_t uid)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct nj_error err = {0};

        if (setenv("TZ", zone, 1) != 0 || setenv("LC_ALL", "tr_TR.UTF-8", 1) != 0 || chdir(cwd) < 0)
            _exit(2);
        (void)umask(mask);
        if (uid != 0 &&
            (fchown(stage->bundles_fd, uid, uid) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
            _exit(3);
        if (nj_archive_publish(&stage->archive, &stage->info, stage->bundles_fd, NAME, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void the_bytes_are_the_same_whatever_the_zone_umask_folder_and_user(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    struct stage *stage = *state;
    static const struct {
        const char *zone;
        mode_t mask;
        const char *cwd;
        uid_t uid;
    } places[] = {
        {"UTC", 022, ".", 0},
        {"Asia/Tokyo", 077, "/", 0},
        {"America/New_York", 0, "/tmp", 0},
        {"UTC", 0777, "/", 65534},
    };

    publish(stage);
    read_published(stage, &first);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        struct stat st;

        if (places[i].uid != 0 && geteuid() != 0)
            continue;
        publish_as(stage, places[i].zone, places[i].mask, places[i].cwd, places[i].uid);
        assert_int_equal(fstatat(stage->bundles_fd, NAME, &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        read_published(stage, &bytes);
        assert_true(nj_span_equal(nj_buf_span(&bytes), nj_buf_span(&first)));
    }
}

static void what_fails_leaves_the_bundle_before_it_and_no_file(void **state)
{
    static const char *const faults[] = {"write:enospc", "write:eio", "fdatasync:eio",
                                         "fdatasync#2:eio", "rename:eio"};
    NJ_AUTO(nj_buf_done) struct nj_buf before = {0};
    struct stage *stage = *state;

    publish(stage);
    read_published(stage, &before);
    stage->info.job = "another";
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf after = {0};
        struct nj_error err = {0};

        assert_int_equal(setenv("NJ_FAULT", faults[i], 1), 0);
        nj_fault_init("engine");
        if (nj_archive_publish(&stage->archive, &stage->info, stage->bundles_fd, NAME, &err) == 0)
            fail_msg("%s: nothing failed", faults[i]);
        assert_non_null(strstr(err.text, NAME));
        assert_int_equal(strangers(stage), 0);
        read_published(stage, &after);
        /* After the rename it is the new one, whole: only its folder's sync failed. */
        if (strcmp(faults[i], "fdatasync#2:eio") != 0)
            assert_true(nj_span_equal(nj_buf_span(&after), nj_buf_span(&before)));
        else
            publish(stage);
        stage->info.job = "nightly-invoices";
        (void)unsetenv("NJ_FAULT");
        nj_fault_init("engine");
        publish(stage);
        stage->info.job = "another";
    }
}

static void a_damaged_frame_or_object_is_named(void **state)
{
    struct stage *stage = *state;
    struct nj_error err = {0};
    uint8_t byte;
    nj_auto_close int fd = openat(stage->fixture->dir_fd, "000001.njj", O_RDWR | O_CLOEXEC);
    off_t at = (off_t)stage->places[2].offset + NJ_FRAME_HEADER_BYTES + 3;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(
        nj_archive_publish(&stage->archive, &stage->info, stage->bundles_fd, NAME, &err),
        -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "frame 3"));
    assert_int_equal(strangers(stage), 0);
    assert_int_equal(faccessat(stage->bundles_fd, NAME, F_OK, 0), -1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_up, stage_down)
    const struct CMUnitTest tests[] = {
        CASE(the_bundle_holds_the_session_and_nothing_of_the_others),
        CASE(inputs_stay_out_where_the_job_says_reference),
        CASE(the_bytes_are_the_same_whatever_the_zone_umask_folder_and_user),
        CASE(what_fails_leaves_the_bundle_before_it_and_no_file),
        CASE(a_damaged_frame_or_object_is_named),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
