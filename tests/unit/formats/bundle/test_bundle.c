/*
 * test_bundle.c - bundles: what goes in comes out, the same bytes everywhere, readable with common
 * tools
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/fault.h"
#include "tests/lib/bundle_kit.h"
#include "tests/lib/golden.h"

#include "formats/base/banned.h"

static void what_goes_in_comes_out(void **state)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    nj_auto_close int fd = kit_bundle();
    const struct nj_bundle_info *info;
    struct nj_object_source objects, inputs;
    struct nj_error err = {0};
    struct nj_digest digest;
    int r;

    (void)state;
    nj_buf_init(&out, 1u << 20);
    r = nj_bundle_open(fd, "small.njb", 0, &bundle, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    info = nj_bundle_info(bundle);
    assert_string_equal(info->key, KIT_KEY);
    assert_string_equal(info->environment, "{\"kernel\":\"6.1\",\"python\":\"3.11\"}");
    assert_int_equal(info->frames, KIT_FRAMES);
    assert_int_equal(info->status, NJ_STATUS_SUCCEEDED);
    assert_true(info->inputs_embedded);
    assert_true(nj_span_is(nj_bundle_manifest(bundle), KIT_MANIFEST));
    assert_null(nj_bundle_damage(bundle));
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
        struct nj_frame frame, there = kit_frame(sequence, &expected);

        nj_buf_clear(&out);
        assert_int_equal(nj_bundle_frame(bundle, sequence, &out, &frame, &err), 0);
        assert_int_equal(frame.kind, there.kind);
        assert_int_equal(frame.sequence, sequence);
        assert_true(nj_span_equal(frame.payload, there.payload));
    }
    objects = nj_bundle_objects(bundle);
    inputs = nj_bundle_inputs(bundle);
    for (unsigned n = 0; n < KIT_OBJECTS; n++) {
        nj_digest_bytes(kit_object_text(n), strlen(kit_object_text(n)), &digest);
        nj_buf_clear(&out);
        assert_int_equal(objects.get(objects.ctx, &digest, &out, &err), 0);
        assert_true(nj_span_is(nj_buf_span(&out), kit_object_text(n)));
    }
    nj_digest_bytes(KIT_INPUT, strlen(KIT_INPUT), &digest);
    nj_buf_clear(&out);
    assert_int_equal(inputs.get(inputs.ctx, &digest, &out, &err), 0);
    assert_true(nj_span_is(nj_buf_span(&out), KIT_INPUT));
    assert_int_equal(objects.get(objects.ctx, &digest, &out, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_bundle_frame(bundle, 0, &out, &(struct nj_frame){0}, &err), -NJ_E_INPUT);
    assert_int_equal(nj_bundle_frame(bundle, KIT_FRAMES + 1, &out, &(struct nj_frame){0}, &err),
                     -NJ_E_INPUT);
}

/* ---- the same bytes everywhere ---- */

static void time_zone_umask_directory_and_locale_leave_no_trace(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf here = {0}, there = {0};
    nj_auto_close int fd = kit_bundle();
    nj_auto_close int other_fd = -1;
    nj_auto_close int cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mode_t mask;

    (void)state;
    kit_bytes(fd, &here);
    assert_int_equal(setenv("TZ", "Pacific/Kiritimati", 1), 0);
    tzset();
    (void)setlocale(LC_ALL, "C.UTF-8");
    mask = umask(0);
    assert_int_equal(chdir("/"), 0);
    other_fd = kit_bundle();
    kit_bytes(other_fd, &there);
    assert_int_equal(fchdir(cwd), 0);
    (void)umask(mask);
    (void)setlocale(LC_ALL, "C");
    (void)unsetenv("TZ");
    assert_true(nj_span_equal(nj_buf_span(&here), nj_buf_span(&there)));
}

static void another_user_writes_the_same_bytes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf here = {0}, there = {0};
    nj_auto_close int fd = kit_bundle();
    nj_auto_close int other_fd = kit_memfd((struct nj_span){NULL, 0});
    int status = -1;
    pid_t pid;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: needs root to become another user\n");
        skip();
    }
    pid = fork();
    if (pid == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(1);
        kit_bundle_to(other_fd);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    kit_bytes(fd, &here);
    kit_bytes(other_fd, &there);
    assert_true(nj_span_equal(nj_buf_span(&here), nj_buf_span(&there)));
}

/* ---- common tools ---- */

static void tar_zstd_and_sha256sum_read_it(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, text = {0};
    nj_auto_close int fd = kit_bundle();
    struct nj_error err = {0};
    char folder[] = "/tmp/nj-bundle-XXXXXX";
    char command[1024];
    nj_auto_close int dir_fd = -1;

    (void)state;
    if (system("command -v tar zstd sha256sum >/dev/null") != 0) {
        print_message("skipped: no tar, zstd or sha256sum\n");
        skip();
    }
    assert_non_null(mkdtemp(folder));
    dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    kit_bytes(fd, &bytes);
    kit_must(nj_fsio_publish(dir_fd, "b.njb", nj_buf_span(&bytes), 0600, &err), &err);
    (void)snprintf(command, sizeof(command),
                   "cd %s && tar tf b.njb >list 2>warnings && test ! -s warnings && "
                   "tar xf b.njb 2>>warnings && sha256sum -c --status SHA256SUMS && "
                   "zstd -q -d -c objects.msgpack.zst >objects",
                   folder);
    assert_int_equal(system(command), 0);
    nj_buf_init(&text, 1u << 16);
    kit_must(nj_fsio_read_file(dir_fd, "list", &text, &err), &err);
    assert_string_equal((char *)text.data,
                        "nightjar.json\njob.yaml\njournal.msgpack.zst\nsnapshots.msgpack.zst\n"
                        "objects.msgpack.zst\ninputs.msgpack.zst\nSHA256SUMS\n");
    nj_buf_clear(&text);
    kit_must(nj_fsio_read_file(dir_fd, "objects", &text, &err), &err);
    for (size_t at = 0, n = 0; at < text.len; n++) {
        struct nj_object object;
        size_t len;

        kit_must(nj_object_decode((struct nj_span){text.data + at, text.len - at}, true, &object,
                                  &len, &err),
                 &err);
        assert_true(nj_span_is(object.bytes, kit_object_text((unsigned)n)));
        at += len;
    }
    kit_must(nj_fsio_remove_tree(AT_FDCWD, folder, &err), &err);
}

/* ---- sizes ---- */

/* noise - bytes that hardly compress, the same for the same seed */
static void noise(uint8_t *bytes, size_t len, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)(x >> 32);
    }
}

static void long_streams_go_through_files_and_come_back(void **state)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0}, listing = {0};
    nj_auto_close int fd = kit_memfd((struct nj_span){NULL, 0});
    nj_auto_close int tmp_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    nj_auto_free uint8_t *bytes = malloc(NJ_OBJECT_MAX_BYTES);
    static const size_t lengths[] = {NJ_OBJECT_MAX_BYTES, 3000000, 2000000, 1, 4000000, 0, 900000};
    struct nj_bundle_info info = kit_info();
    struct nj_object_source objects;
    struct nj_digest digests[7];
    struct nj_error err = {0};

    (void)state;
    assert_non_null(bytes);
    info.inputs_embedded = false;
    kit_must(nj_bundle_writer_new(tmp_fd, &writer, &err), &err);
    for (unsigned i = 0; i < 7; i++) {
        struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = {bytes, lengths[i]}};

        noise(bytes, lengths[i], i);
        nj_digest_bytes(bytes, lengths[i], &digests[i]);
        object.digest = digests[i];
        kit_must(nj_bundle_writer_object(writer, &object, &err), &err);
    }
    kit_must(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err), &err);
    kit_must(nj_bundle_open(fd, "long", 0, &bundle, &err), &err);
    assert_false(nj_bundle_info(bundle)->inputs_embedded);
    assert_int_equal(nj_bundle_info(bundle)->frames, 0);
    objects = nj_bundle_objects(bundle);
    nj_buf_init(&out, NJ_OBJECT_MAX_BYTES);
    for (unsigned i = 0; i < 7; i++) {
        nj_buf_clear(&out);
        kit_must(nj_object_get(&objects, NJ_OBJECT_BLOB, &digests[i], &out, &err), &err);
        assert_int_equal(out.len, lengths[i]);
    }
}

/* ---- what the writer refuses ---- */

static void the_writer_refuses_what_has_no_place(void **state)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    nj_auto_close int fd = kit_memfd((struct nj_span){NULL, 0});
    struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = nj_span_text("x")};
    struct nj_frame frame = kit_frame(2, &payload);
    struct nj_bundle_info info = kit_info();
    struct nj_error err = {0};

    (void)state;
    kit_must(nj_bundle_writer_new(-1, &writer, &err), &err);
    assert_int_equal(nj_bundle_writer_frame(writer, &frame, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "frame 2 follows frame 0"));
    frame.sequence = 1;
    frame.kind = NJ_FRAME_OBJECT;
    assert_int_equal(nj_bundle_writer_frame(writer, &frame, &err), -NJ_E_INPUT);
    frame.kind = NJ_FRAME_EVENT;
    frame.payload = nj_span_text("no event");
    assert_int_equal(nj_bundle_writer_frame(writer, &frame, &err), -NJ_E_CORRUPT);
    nj_digest_bytes("x", 1, &object.digest);
    kit_must(nj_bundle_writer_input(writer, &object, &err), &err);
    info.inputs_embedded = false;
    assert_int_equal(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err),
                     -NJ_E_INPUT);
    info.inputs_embedded = true;
    info.key = "\xff";
    assert_int_equal(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err),
                     -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "nightjar.json: key is not UTF-8"));
    info.key = NULL;
    assert_int_equal(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err),
                     -NJ_E_INPUT);
    info.key = "k";
    info.environment = "[]";
    assert_int_equal(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err),
                     -NJ_E_INPUT);
    info.environment = "{}";
    info.status = (enum nj_status)9;
    assert_int_equal(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err),
                     -NJ_E_INPUT);
}

static void a_full_disk_fails_the_writer(void **state)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    nj_auto_close int fd = kit_memfd((struct nj_span){NULL, 0});
    struct nj_bundle_info info = kit_info();
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(setenv("NJ_FAULT", "write:enospc", 1), 0);
    nj_fault_init("engine");
    kit_must(nj_bundle_writer_new(-1, &writer, &err), &err);
    assert_int_equal(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err),
                     -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOSPC);
    (void)unsetenv("NJ_FAULT");
    nj_fault_init("engine");
}

/* ---- goldens ---- */

/* dump - a bundle as a person would list it */
static void dump(struct nj_bundle *bundle, struct nj_buf *out)
{
    const struct nj_bundle_info *info = nj_bundle_info(bundle);
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    char record[NJ_DIGEST_HEX_CHARS + 1], content[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_error err = {0};

    nj_buf_init(out, 1u << 20);
    nj_buf_init(&payload, 1u << 20);
    nj_digest_hex(&info->digests.record, record);
    nj_digest_hex(&info->digests.content, content);
    kit_must(nj_buf_printf(out, &err, "job %s\nrun %s\nkey %s\ngroup %s\nagent %s\nstatus %s\n",
                           info->job, info->run, info->key, info->group, info->agent,
                           nj_status_text(info->status)),
             &err);
    kit_must(nj_buf_printf(out, &err, "reproducible %s\nenvironment %s\nrecord %s\ncontent %s\n",
                           info->reproducible, info->environment, record, content),
             &err);
    for (uint64_t sequence = 1; sequence <= info->frames; sequence++) {
        char hex[NJ_DIGEST_HEX_CHARS + 1];
        struct nj_digest digest;
        struct nj_frame frame;

        nj_buf_clear(&payload);
        kit_must(nj_bundle_frame(bundle, sequence, &payload, &frame, &err), &err);
        nj_digest_bytes(frame.payload.data, frame.payload.len, &digest);
        nj_digest_hex(&digest, hex);
        kit_must(nj_buf_printf(out, &err, "frame %u %s %zu bytes %s\n", (unsigned)sequence,
                               nj_frame_kind_text(frame.kind), frame.payload.len, hex),
                 &err);
    }
}

static void the_golden_bundle_reads_as_ever(void **state)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *golden = NULL;
    NJ_AUTO(nj_bundle_free) struct nj_bundle *written = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, text = {0}, now = {0};
    nj_auto_close int fd = kit_bundle();
    nj_auto_close int golden_fd = -1;
    struct nj_error err = {0};

    (void)state;
    if (getenv("NJ_UPDATE_GOLDEN")) {
        kit_bytes(fd, &bytes);
        golden_check("bundle/v0/small.njb", nj_buf_span(&bytes));
        nj_buf_done(&bytes);
    }
    golden_read("bundle/v0/small.njb", &bytes);
    golden_fd = kit_memfd(nj_buf_span(&bytes));
    kit_must(nj_bundle_open(golden_fd, "golden", 0, &golden, &err), &err);
    dump(golden, &text);
    golden_check("bundle/v0/small.dump", nj_buf_span(&text));
    kit_must(nj_bundle_open(fd, "written", 0, &written, &err), &err);
    dump(written, &now);
    assert_true(nj_span_equal(nj_buf_span(&text), nj_buf_span(&now)));
}

static void the_document_shows_a_record_and_nightjar_json(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, hex = {0};
    NJ_AUTO(kit_done) struct kit kit = {0};
    struct nj_frame frame = {
        .kind = NJ_FRAME_OUTPUT, .sequence = 5, .payload = nj_span_text("hello\n")};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&bytes, 256);
    kit_must(nj_bundle_record_encode(&frame, &bytes, &err), &err);
    hex_lines(nj_buf_span(&bytes), &hex);
    document_shows("formats/bundle/FORMAT.md", (char *)hex.data);
    kit_open(&kit);
    document_shows("formats/bundle/FORMAT.md", (char *)kit_find(&kit, NJ_BUNDLE_INFO)->bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(time_zone_umask_directory_and_locale_leave_no_trace),
        cmocka_unit_test(another_user_writes_the_same_bytes),
        cmocka_unit_test(tar_zstd_and_sha256sum_read_it),
        cmocka_unit_test(long_streams_go_through_files_and_come_back),
        cmocka_unit_test(the_writer_refuses_what_has_no_place),
        cmocka_unit_test(a_full_disk_fails_the_writer),
        cmocka_unit_test(the_golden_bundle_reads_as_ever),
        cmocka_unit_test(the_document_shows_a_record_and_nightjar_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
