/*
 * test_damaged.c - bundles that must be refused, each by the name of its damage
 *
 * Sums are mended after each change, so that it is the change that is refused.
 */
#include <time.h>

#include "tests/lib/bundle_kit.h"
#include "tests/lib/golden.h"

#include "formats/base/banned.h"

/* open_bytes - what nj_bundle_open() says to @bytes */
static int open_bytes(struct nj_span bytes, unsigned flags, struct nj_bundle **ret_bundle,
                      struct nj_error *err)
{
    nj_auto_close int fd = kit_memfd(bytes);

    return nj_bundle_open(fd, "b", flags, ret_bundle, err);
}

static void refused(struct nj_span bytes, enum nj_error_code code, const char *words)
{
    struct nj_bundle *bundle = NULL;
    struct nj_error err = {0};
    int r = open_bytes(bytes, 0, &bundle, &err);

    if (r >= 0)
        fail_msg("not refused, expected \"%s\"", words);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_int_equal(r, -(int)code);
    assert_null(bundle); /* outputs are untouched on failure */
}

/* kit_refused - with SHA256SUMS mended; @golden names the file to keep, or is NULL */
static void kit_refused(struct kit *kit, const char *golden, enum nj_error_code code,
                        const char *words)
{
    NJ_AUTO(nj_buf_done) struct nj_buf tar = {0};

    kit_sums(kit);
    kit_tar(kit, &tar);
    refused(nj_buf_span(&tar), code, words);
    if (golden) {
        NJ_AUTO(nj_buf_done) struct nj_buf kept = {0};
        char name[128];

        (void)snprintf(name, sizeof(name), "bundle/damaged/%s.njb", golden);
        if (getenv("NJ_UPDATE_GOLDEN"))
            golden_check(name, nj_buf_span(&tar));
        golden_read(
            name, &kept); /* other versions of zstd write other bytes, so only the verdict counts */
        refused(nj_buf_span(&kept), code, words);
    }
}

static void the_kit_itself_is_accepted(void **state)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf tar = {0}, written = {0};
    NJ_AUTO(kit_done) struct kit kit;
    nj_auto_close int fd = kit_bundle();
    struct nj_error err = {0};

    (void)state;
    kit_open(&kit);
    assert_int_equal(kit.count, 7);
    kit_sums(&kit);
    kit_tar(&kit, &tar);
    kit_must(open_bytes(nj_buf_span(&tar), 0, &bundle, &err), &err);
    kit_bytes(fd, &written);
    assert_int_equal(written.len,
                     tar.len); /* the two writers differ at most in how they fill fields */
}

/* ---- the tar ---- */

static void every_cut_is_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_close int fd = kit_bundle();

    (void)state;
    kit_bytes(fd, &bytes);
    for (size_t cut = 0; cut < bytes.len; cut += cut % 512 < 16 ? 1 : 29) {
        struct nj_bundle *bundle = NULL;
        struct nj_error err = {0};
        int r = open_bytes((struct nj_span){bytes.data, cut}, 0, &bundle, &err);

        if (r != -NJ_E_CORRUPT && !(r == -NJ_E_INPUT && cut < 1024))
            fail_msg("cut at %zu: %d %s", cut, r, err.text);
    }
}

static void no_flipped_byte_changes_what_is_read(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_close int fd = kit_bundle();
    size_t accepted = 0;

    (void)state;
    kit_bytes(fd, &bytes);
    for (size_t at = 0; at < bytes.len; at += 3) {
        NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
        struct nj_error err = {0};

        bytes.data[at] ^= (uint8_t)(1u << at % 8);
        if (open_bytes(nj_buf_span(&bytes), 0, &bundle, &err) == 0) {
            accepted++;
            assert_true(at % 512 >= 100); /* some header field that nothing is read from */
            assert_int_equal(nj_bundle_info(bundle)->frames, KIT_FRAMES);
            assert_true(nj_span_is(nj_bundle_manifest(bundle), KIT_MANIFEST));
        }
        bytes.data[at] ^= (uint8_t)(1u << at % 8);
    }
    assert_true(accepted < 40);
}

static void members_have_their_names_and_order(void **state)
{
    NJ_AUTO(kit_done) struct kit kit = {0};
    struct kit_member member;

    (void)state;
    kit_open(&kit);
    member = kit.members[2];
    kit.members[2] = kit.members[3];
    kit.members[3] = member;
    kit_refused(&kit, "members-swapped", NJ_E_CORRUPT,
                "member \"snapshots.msgpack.zst\" where journal.msgpack.zst should be");
    kit_done(&kit);

    kit_open(&kit);
    (void)kit_insert(&kit, 3, "journal.msgpack.zst", nj_buf_span(&kit.members[2].bytes));
    kit_refused(&kit, "member-twice", NJ_E_CORRUPT,
                "member \"journal.msgpack.zst\" where snapshots.msgpack.zst should be");
    kit_done(&kit);

    kit_open(&kit);
    (void)kit_insert(&kit, 1, "../../etc/cron.d/x", nj_span_text("x"));
    kit_refused(&kit, "member-dot-dot", NJ_E_CORRUPT,
                "member \"../../etc/cron.d/x\" where job.yaml");
    kit_done(&kit);

    kit_open(&kit);
    (void)kit_insert(&kit, 1, "/etc/passwd", nj_span_text("x"));
    kit_refused(&kit, "member-absolute", NJ_E_CORRUPT, "member \"/etc/passwd\" where job.yaml");
    kit_done(&kit);

    kit_open(&kit);
    (void)snprintf(kit.members[1].name, sizeof(kit.members[1].name), "JOB.YAML");
    kit_refused(&kit, "member-case", NJ_E_CORRUPT, "member \"JOB.YAML\" where job.yaml should be");
    kit_done(&kit);

    kit_open(&kit);
    (void)kit_insert(&kit, kit.count, "more", nj_span_text("x"));
    kit_refused(&kit, "member-behind", NJ_E_CORRUPT, "member \"more\" behind SHA256SUMS");
    kit_done(&kit);

    kit_open(&kit);
    nj_buf_done(&kit.members[kit.count - 1].bytes);
    kit.count--;
    kit_refused(&kit, "member-missing", NJ_E_CORRUPT, "SHA256SUMS is missing");
}

static void only_regular_files_are_members(void **state)
{
    static const struct {
        char type;
        const char *golden;
    } types[] = {
        {'1', "member-hardlink"},     {'2', "member-symlink"},   {'3', "member-char-device"},
        {'4', "member-block-device"}, {'5', "member-directory"}, {'6', "member-fifo"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        NJ_AUTO(kit_done) struct kit kit = {0};

        kit_open(&kit);
        kit.members[1].type = types[i].type;
        nj_buf_clear(&kit.members[1].bytes);
        (void)snprintf(kit.members[1].link, sizeof(kit.members[1].link), "/etc/passwd");
        kit_refused(&kit, types[i].golden, NJ_E_CORRUPT,
                    "where job.yaml should be: not a regular file");
    }
}

static void owners_modes_and_times_are_the_writers(void **state)
{
    NJ_AUTO(kit_done) struct kit kit = {0};

    (void)state;
    kit_open(&kit);
    kit.members[1].mode = 04755;
    kit_refused(&kit, "member-setuid", NJ_E_CORRUPT, "owner or mode");
    kit.members[1].mode = 0600;
    kit.members[1].uid = 1000;
    kit_refused(&kit, NULL, NJ_E_CORRUPT, "owner or mode");
    kit.members[1].uid = 0;
    kit.members[1].mtime = 1;
    kit_refused(&kit, NULL, NJ_E_CORRUPT, "its time is not 0");
}

static void hidden_headers_have_no_room(void **state)
{
    static const struct {
        char type;
        const char *name;
        const char *text;
    } hidden[] = {
        {'x', "pax", "16 path=job.yaml\n"}, /* names what the next header names anyway */
        {'x', "pax", "22 GNU.sparse.major=1\n"},
        {'g', "pax", "12 comment=x\n"},
        {'L', "././@LongLink", "job.yaml"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf tar = {0};
        NJ_AUTO(kit_done) struct kit kit = {0};
        struct nj_bundle *bundle = NULL;
        struct nj_error err = {0};
        int r;

        kit_open(&kit);
        kit_sums(&kit);
        kit_insert(&kit, 1, hidden[i].name, nj_span_text(hidden[i].text))->type = hidden[i].type;
        kit_tar(&kit, &tar);
        r = open_bytes(nj_buf_span(&tar), 0, &bundle, &err);
        if (r != -NJ_E_CORRUPT)
            fail_msg("hidden header %zu: %d %s", i, r, err.text);
    }
}

static void bytes_behind_the_end_are_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_close int fd = kit_bundle();
    static const uint8_t zeros[16384];
    struct nj_error err = {0};
    size_t len;

    (void)state;
    kit_bytes(fd, &bytes);
    len = bytes.len;
    kit_must(nj_buf_append(&bytes, zeros, sizeof(zeros), &err), &err);
    refused(nj_buf_span(&bytes), NJ_E_CORRUPT, "bytes behind the end of the tar");
    bytes.len = len + 512; /* other writers fill up to ten kilobytes */
    {
        NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;

        kit_must(open_bytes(nj_buf_span(&bytes), 0, &bundle, &err), &err);
    }
    bytes.data[len + 100] = 1;
    refused(nj_buf_span(&bytes), NJ_E_CORRUPT, "is filling and not 0");
}

static void other_files_are_no_bundles(void **state)
{
    static uint8_t zeros[20480];

    (void)state;
    refused(nj_span_text(""), NJ_E_INPUT, "this is not a bundle");
    refused(nj_span_text("#!/bin/sh\n"), NJ_E_INPUT, "this is not a bundle");
    refused((struct nj_span){zeros, sizeof(zeros)}, NJ_E_INPUT, "this is not a bundle");
    {
        NJ_AUTO(kit_done) struct kit kit = {0};

        kit_open(&kit);
        (void)snprintf(kit.members[0].name, sizeof(kit.members[0].name), "README");
        kit_refused(&kit, NULL, NJ_E_INPUT, "no tar that begins with nightjar.json");
    }
}

/* ---- nightjar.json and the sums ---- */

static void json_is_judged(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        enum nj_error_code code;
        const char *words;
        const char *golden;
    } changes[] = {
        {"\"version\": 0", "\"version\": 1", NJ_E_VERSION,
         "bundle format 1, this build reads up to 0", "version-newer"},
        {"\"version\": 0", "\"requires\": [\"deltas\"], \"version\": 0", NJ_E_VERSION,
         "needs the feature \"deltas\"", "requires-deltas"},
        {"\"version\": 0", "\"version\": \"0\"", NJ_E_CORRUPT, "version is not a number", NULL},
        {"\"nightjar-bundle\"", "\"tar\"", NJ_E_INPUT, "this is not a bundle", NULL},
        {"\"status\": \"succeeded\"", "\"status\": \"done\"", NJ_E_CORRUPT, "status is not one of",
         NULL},
        {"\"frames\": 14", "\"frames\": 13", NJ_E_CORRUPT, "14 frames are there", "frames-fewer"},
        {"\"frames\": 14", "\"frames\": -1", NJ_E_CORRUPT, "frames is not a number", NULL},
        {"\"frames\": 14", "\"frames\": 4000001", NJ_E_CORRUPT, "frames is not a number", NULL},
        {"\"frames\": 14", "\"frames\": 14, \"frames\": 14", NJ_E_CORRUPT, "duplicate", NULL},
        {"\"inputs_embedded\": true", "\"inputs_embedded\": false", NJ_E_CORRUPT,
         "member \"inputs.msgpack.zst\" where SHA256SUMS should be", NULL},
        {"\"inputs_embedded\": true", "\"inputs_embedded\": 1", NJ_E_CORRUPT, "not true or false",
         NULL},
        {"\"reproducible\": \"D0\"", "\"reproducible\": \"D4\"", NJ_E_CORRUPT, "reproducible",
         NULL},
        {"\"key\": \"", "\"kex\": \"", NJ_E_CORRUPT, "key is missing", NULL},
        {"\"key\": \"", "\"key\": \"\\u0000", NJ_E_CORRUPT, "line", NULL},
        {"\"environment\": {", "\"environmental\": {", NJ_E_CORRUPT, "environment is missing",
         NULL},
        {"\"identity\": \"01", "\"identity\": \"g1", NJ_E_CORRUPT, "identity is not a SHA-256",
         NULL},
        {"{", "[", NJ_E_CORRUPT, "nightjar.json: line", "json-damaged"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        NJ_AUTO(kit_done) struct kit kit = {0};

        kit_open(&kit);
        kit_replace(kit_find(&kit, NJ_BUNDLE_INFO), changes[i].from, changes[i].to);
        kit_refused(&kit, changes[i].golden, changes[i].code, changes[i].words);
    }
}

static void digests_are_recomputed(void **state)
{
    static const char *const keys[] = {"record_digest", "content_digest"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        NJ_AUTO(kit_done) struct kit kit = {0};
        struct kit_member *info;
        char words[64];
        char *hex;

        kit_open(&kit);
        info = kit_find(&kit, NJ_BUNDLE_INFO);
        hex = strstr((char *)info->bytes.data, keys[i]);
        assert_non_null(hex);
        hex += strlen(keys[i]) + 4;
        *hex = *hex == '0' ? '1' : '0';
        (void)snprintf(words, sizeof(words), "the %s digest is not that of nightjar.json",
                       i == 0 ? "record" : "content");
        kit_refused(&kit, keys[i], NJ_E_CORRUPT, words);
    }
}

static void sums_must_agree_with_every_member(void **state)
{
    (void)state;
    for (int member = NJ_BUNDLE_INFO; member < NJ_BUNDLE_SUMS; member++) {
        NJ_AUTO(nj_buf_done) struct nj_buf tar = {0};
        NJ_AUTO(kit_done) struct kit kit = {0};
        char words[96];
        struct kit_member *sums;
        char *line_end;

        kit_open(&kit);
        sums = kit_find(&kit, NJ_BUNDLE_SUMS);
        line_end =
            strstr((char *)sums->bytes.data, nj_bundle_member_name((enum nj_bundle_member)member));
        assert_non_null(line_end);
        line_end[-3] = line_end[-3] == '0' ? '1' : '0'; /* the last digit of its digest */
        (void)snprintf(words, sizeof(words), "SHA256SUMS does not agree with %s",
                       nj_bundle_member_name((enum nj_bundle_member)member));
        kit_tar(&kit, &tar);
        refused(nj_buf_span(&tar), NJ_E_CORRUPT, words);
    }
}

/* ---- streams ---- */

/* with_stream - @member decodes to @bytes; what is said then */
static void with_stream(enum nj_bundle_member member, struct nj_span bytes, const char *golden,
                        enum nj_error_code code, const char *words)
{
    NJ_AUTO(kit_done) struct kit kit = {0};

    kit_open(&kit);
    kit_squeeze(kit_find(&kit, member), bytes);
    kit_refused(&kit, golden, code, words);
}

static void records_are_canonical(void **state)
{
    static uint8_t deep[100000];
    static const uint8_t nan[] = {0x83, 0xa4, 'k', 'i',  'n',  'd',  2, 0xa7, 'p', 'a', 'y', 'l',
                                  'o',  'a',  'd', 0xcb, 0x7f, 0xf8, 0, 0,    0,   0,   0,   0};
    static const uint8_t ext[] = {0xd4, 0x01, 0x00};
    static const uint8_t long_bin[] = {0x81, 0xa7, 'p',  'a',  'y',  'l',  'o',
                                       'a',  'd',  0xc6, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t long_map[] = {0xdf, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t not_shortest[] = {0x81, 0xa1, 'x', 0xcc, 0x01};
    static const uint8_t number[] = {0x01};
    static const uint8_t kind_object[] = {0x83, 0xa4, 'k', 'i', 'n', 'd', 3,    0xa7, 'p',
                                          'a',  'y',  'l', 'o', 'a', 'd', 0xc4, 0,    0xa8,
                                          's',  'e',  'q', 'u', 'e', 'n', 'c',  'e',  1};
    static const uint8_t sequence_zero[] = {0x82, 0xa7, 'p', 'a', 'y', 'l', 'o', 'a', 'd', 0xc4, 0,
                                            0xa8, 's',  'e', 'q', 'u', 'e', 'n', 'c', 'e', 0};

    (void)state;
    memset(deep, 0x91, sizeof(deep));
#define BYTES(array) ((struct nj_span){array, sizeof(array)})
    with_stream(NJ_BUNDLE_JOURNAL, BYTES(deep), "msgpack-depth", NJ_E_CORRUPT, "nested too deep");
    with_stream(NJ_BUNDLE_OBJECTS, BYTES(deep), NULL, NJ_E_CORRUPT, "nested too deep");
    with_stream(NJ_BUNDLE_JOURNAL, BYTES(nan), "msgpack-nan", NJ_E_CORRUPT, "floats");
    with_stream(NJ_BUNDLE_SNAPSHOTS, BYTES(ext), "msgpack-ext", NJ_E_CORRUPT, "ext types");
    with_stream(NJ_BUNDLE_JOURNAL, BYTES(long_bin), "msgpack-length", NJ_E_CORRUPT, "cut off");
    with_stream(NJ_BUNDLE_INPUTS, BYTES(long_map), NULL, NJ_E_CORRUPT, "cut off");
    with_stream(NJ_BUNDLE_SNAPSHOTS, BYTES(not_shortest), NULL, NJ_E_CORRUPT, "shortest form");
    with_stream(NJ_BUNDLE_JOURNAL, BYTES(number), NULL, NJ_E_CORRUPT, "journal.msgpack.zst");
    with_stream(NJ_BUNDLE_JOURNAL, BYTES(kind_object), "frame-kind", NJ_E_CORRUPT,
                "no place in a bundle");
    with_stream(NJ_BUNDLE_SNAPSHOTS, BYTES(sequence_zero), NULL, NJ_E_CORRUPT, "begin at 1");
}

static void objects_are_what_their_digests_say(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object object = {.kind = NJ_OBJECT_BLOB, .bytes = nj_span_text("total: 13.50\n")};
    struct nj_error err = {0};
    size_t once;

    (void)state;
    nj_buf_init(&bytes, 1u << 16);
    nj_digest_bytes("other", 5, &object.digest);
    kit_must(nj_object_encode(&object, &bytes, &err), &err);
    with_stream(NJ_BUNDLE_OBJECTS, nj_buf_span(&bytes), "object-digest", NJ_E_CORRUPT,
                "bytes have another digest");
    nj_buf_clear(&bytes);
    nj_digest_bytes(object.bytes.data, object.bytes.len, &object.digest);
    kit_must(nj_object_encode(&object, &bytes, &err), &err);
    once = bytes.len;
    kit_must(nj_buf_reserve(&bytes, once, &err), &err);
    kit_must(nj_buf_append(&bytes, bytes.data, once, &err), &err);
    with_stream(NJ_BUNDLE_INPUTS, nj_buf_span(&bytes), "object-twice", NJ_E_CORRUPT,
                "is there twice");
}

/* The journal stream again, with frame @drop left out and @twice put in twice. */
static void with_frames(uint64_t drop, uint64_t twice, const char *golden, const char *words)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error err = {0};

    nj_buf_init(&bytes, 1u << 20);
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
        struct nj_frame frame = kit_frame(sequence, &payload);

        if (frame.kind == NJ_FRAME_SNAPSHOT || sequence == drop)
            continue;
        for (unsigned i = 0; i < (sequence == twice ? 2 : 1); i++)
            kit_must(nj_bundle_record_encode(&frame, &bytes, &err), &err);
    }
    with_stream(NJ_BUNDLE_JOURNAL, nj_buf_span(&bytes), golden, NJ_E_CORRUPT, words);
}

static void sequence_numbers_have_no_gaps(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_frame frame = {.kind = NJ_FRAME_SNAPSHOT, .sequence = 4};
    struct nj_error err = {0};

    (void)state;
    with_frames(7, 0, "frame-missing", "13 frames are there");
    with_frames(0, 7, "frame-twice", "frame 7 after frame 7");
    nj_buf_init(&bytes, 1u << 16);
    for (frame.sequence = 3; frame.sequence < 6; frame.sequence++) /* 3 and 5 are events' */
        kit_must(nj_bundle_record_encode(&frame, &bytes, &err), &err);
    with_stream(NJ_BUNDLE_SNAPSHOTS, nj_buf_span(&bytes), NULL, NJ_E_CORRUPT, "frame 8 is missing");
}

static void an_event_must_be_one(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&bytes, 1u << 20);
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
        struct nj_frame frame = kit_frame(sequence, &payload);

        if (frame.kind == NJ_FRAME_SNAPSHOT)
            continue;
        if (sequence == 2)
            frame.payload = nj_span_text("\x80");
        kit_must(nj_bundle_record_encode(&frame, &bytes, &err), &err);
    }
    with_stream(NJ_BUNDLE_JOURNAL, nj_buf_span(&bytes), "event-empty", NJ_E_CORRUPT,
                "frame 2: event.kind: missing");
}

static void zstd_frames_are_bounded_and_whole(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf zeros = {0}, squeezed = {0};
    NJ_AUTO(kit_done) struct kit kit = {0};
    struct kit_member *objects;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&zeros, 32u << 20);
    kit_must(nj_buf_reserve(&zeros, 32u << 20, &err), &err);
    memset(zeros.data, 0, 32u << 20);
    zeros.len = 32u << 20;
    with_stream(NJ_BUNDLE_OBJECTS, nj_buf_span(&zeros), "zstd-bomb", NJ_E_LIMIT,
                "objects.msgpack.zst: a zstd frame holds 33554432 bytes");

    kit_open(&kit);
    objects = kit_find(&kit, NJ_BUNDLE_OBJECTS);
    objects->bytes.len -= 5;
    kit_refused(&kit, "zstd-cut", NJ_E_CORRUPT, "its last zstd frame is damaged or cut off");
    kit_done(&kit);

    kit_open(&kit);
    objects = kit_find(&kit, NJ_BUNDLE_OBJECTS);
    objects->bytes.data[objects->bytes.len / 2] ^= 0x10;
    kit_refused(&kit, "zstd-flipped", NJ_E_CORRUPT, "objects.msgpack.zst: ");
    kit_set(kit_find(&kit, NJ_BUNDLE_OBJECTS), nj_span_text("this is no zstd frame at all"));
    kit_refused(&kit, "zstd-none", NJ_E_CORRUPT, "objects.msgpack.zst: not a zstd frame");
    nj_buf_clear(&zeros);
    for (int i = 0; i < 2; i++) /* one, alone, is a stream without records */
        kit_must(nj_squeeze(&zeros, nj_span_text(""), 1, &err), &err);
    kit_set(kit_find(&kit, NJ_BUNDLE_OBJECTS), nj_buf_span(&zeros));
    kit_refused(&kit, "zstd-empty", NJ_E_CORRUPT, "an empty zstd frame");
    kit_set(kit_find(&kit, NJ_BUNDLE_OBJECTS),
            (struct nj_span){(const uint8_t *)"\x50\x2a\x4d\x18\x04\0\0\0abcd", 12});
    kit_refused(&kit, "zstd-skippable", NJ_E_CORRUPT, "an empty zstd frame");
}

/* ---- salvage ---- */

static void salvage_keeps_what_is_before_the_damage(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf tar = {0}, out = {0};
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(kit_done) struct kit kit = {0};
    struct nj_object_source objects;
    struct nj_error err = {0};
    struct nj_digest digest;
    struct nj_frame frame;

    (void)state;
    kit_open(&kit);
    kit_find(&kit, NJ_BUNDLE_OBJECTS)->bytes.data[6] ^= 0xff;
    kit_tar(&kit, &tar);
    kit_must(open_bytes(nj_buf_span(&tar), NJ_BUNDLE_SALVAGE, &bundle, &err), &err);
    assert_non_null(strstr(nj_bundle_damage(bundle), "bundle b: objects.msgpack.zst: "));
    nj_buf_init(&out, 1u << 20);
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++)
        kit_must(nj_bundle_frame(bundle, sequence, &out, &frame, &err), &err);
    objects = nj_bundle_objects(bundle);
    nj_digest_bytes(kit_object_text(1), strlen(kit_object_text(1)), &digest);
    assert_int_equal(objects.get(objects.ctx, &digest, &out, &err), -NJ_E_CORRUPT);
}

static void salvage_reads_a_cut_file_as_far_as_it_goes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_close int fd = kit_bundle();
    unsigned most = 0, least = KIT_FRAMES;

    (void)state;
    kit_bytes(fd, &bytes);
    for (size_t cut = 0; cut < bytes.len; cut += 61) {
        NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_error err = {0};
        unsigned frames = 0;

        if (open_bytes((struct nj_span){bytes.data, cut}, NJ_BUNDLE_SALVAGE, &bundle, &err) < 0) {
            assert_true(cut < 512); /* not even the first header */
            continue;
        }
        if (nj_bundle_info(bundle)->frames == 0) { /* cut in nightjar.json: nothing else is there */
            assert_true(cut < 2048);
            continue;
        }
        assert_non_null(nj_bundle_damage(bundle));
        nj_buf_init(&out, 1u << 20);
        for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
            NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
            struct nj_frame there = kit_frame(sequence, &expected);
            struct nj_frame frame;

            nj_buf_clear(&out);
            if (nj_bundle_frame(bundle, sequence, &out, &frame, &err) < 0) {
                assert_int_equal(err.code, NJ_E_CORRUPT);
                assert_non_null(strstr(err.text, "is lost"));
                continue;
            }
            assert_true(nj_span_equal(frame.payload, there.payload));
            frames++;
        }
        most = frames > most ? frames : most;
        least = frames < least ? frames : least;
    }
    assert_int_equal(least, 0);
    assert_int_equal(most, KIT_FRAMES);
}

/* Whatever byte is flipped, what a salvaged bundle gives is what was written, and the damage costs
 * one member at most: the others are read on behind it. */
static void salvage_gives_nothing_false_for_any_flipped_byte(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_close int fd = kit_bundle();
    unsigned damaged = 0, frames_lost = 0, objects_lost = 0, newer = 0;

    (void)state;
    kit_bytes(fd, &bytes);
    for (size_t at = 0; at < bytes.len; at++) {
        NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_object_source objects;
        struct nj_error err = {0};
        unsigned frames = 0, found = 0;
        int r;

        bytes.data[at] ^= (uint8_t)(1u << at % 8);
        r = open_bytes(nj_buf_span(&bytes), NJ_BUNDLE_SALVAGE, &bundle, &err);
        bytes.data[at] ^= (uint8_t)(1u << at % 8);
        if (r == -NJ_E_VERSION) { /* the version's own digit: a newer bundle is not salvaged */
            assert_true(++newer <= 1);
            continue;
        }
        kit_must(r, &err);
        if (!nj_bundle_damage(bundle))
            continue; /* a header's field that nothing is read from */
        damaged++;
        assert_non_null(nj_bundle_damage_at(bundle, 0));
        nj_buf_init(&out, 1u << 20);
        for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
            NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
            struct nj_frame there = kit_frame(sequence, &expected);
            struct nj_frame frame;

            nj_buf_clear(&out);
            if (nj_bundle_frame(bundle, sequence, &out, &frame, &err) < 0)
                continue;
            assert_int_equal(frame.kind, there.kind);
            assert_true(nj_span_equal(frame.payload, there.payload));
            frames++;
        }
        objects = nj_bundle_objects(bundle);
        for (unsigned i = 0; i < KIT_OBJECTS; i++) {
            struct nj_digest digest;

            nj_buf_clear(&out);
            nj_digest_bytes(kit_object_text(i), strlen(kit_object_text(i)), &digest);
            if (objects.get(objects.ctx, &digest, &out, &err) == 0) {
                assert_true(nj_span_is(nj_buf_span(&out), kit_object_text(i)));
                found++;
            }
        }
        frames_lost += frames < KIT_FRAMES;
        objects_lost += found < KIT_OBJECTS;
        assert_true(frames == KIT_FRAMES || found == KIT_OBJECTS);
    }
    print_message("%u of %zu flips damage it: %u lose frames, %u objects\n", damaged, bytes.len,
                  frames_lost, objects_lost);
    assert_true(damaged > bytes.len / 2 && frames_lost > 0 && objects_lost > 0);
    assert_true(frames_lost + objects_lost < damaged / 2);
}

/* Bytes that do not compress: the zstd frame has blocks, and a cut leaves whole ones. */
static void salvage_reads_whole_records_of_a_cut_zstd_frame(void **state)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, out = {0};
    nj_auto_close int fd = kit_memfd((struct nj_span){NULL, 0});
    nj_auto_free uint8_t *noise = malloc(1u << 20);
    struct nj_bundle_info info = kit_info();
    struct nj_frame frame = {.kind = NJ_FRAME_OUTPUT};
    struct nj_error err = {0};
    uint32_t x = 1;
    unsigned frames = 0;

    (void)state;
    assert_non_null(noise);
    for (size_t i = 0; i < 1u << 20; i++) {
        x = x * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(x >> 24);
    }
    kit_must(nj_bundle_writer_new(-1, &writer, &err), &err);
    for (frame.sequence = 1; frame.sequence <= 16; frame.sequence++) {
        frame.payload = (struct nj_span){noise + frame.sequence * 50000, 50000};
        kit_must(nj_bundle_writer_frame(writer, &frame, &err), &err);
    }
    kit_must(nj_bundle_writer_finish(writer, &info, nj_span_text(""), fd, &err), &err);
    kit_bytes(fd, &bytes);
    kit_must(
        open_bytes((struct nj_span){bytes.data, bytes.len / 2}, NJ_BUNDLE_SALVAGE, &bundle, &err),
        &err);
    nj_buf_init(&out, 1u << 20);
    for (uint64_t sequence = 1; sequence <= 16; sequence++) {
        nj_buf_clear(&out);
        if (nj_bundle_frame(bundle, sequence, &out, &frame, &err) < 0)
            break;
        assert_memory_equal(frame.payload.data, noise + sequence * 50000, 50000);
        frames++;
    }
    assert_true(frames >= 5 && frames < 10);
}

static double seconds_to_open(struct nj_span bytes, unsigned flags)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    struct nj_error err = {0};
    clock_t began = clock();

    kit_must(open_bytes(bytes, flags, &bundle, &err), &err);
    assert_int_equal(nj_bundle_damage(bundle) != NULL, flags != 0);
    return (double)(clock() - began) / CLOCKS_PER_SEC;
}

/* A bundle can hold millions of zstd frames with one small object each. */
static void salvage_of_many_tiny_frames_costs_what_they_hold(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf whole = {0}, tar = {0};
    NJ_AUTO(kit_done) struct kit kit = {0};
    struct nj_buf *stream, *sums;
    struct nj_error err = {0};
    double opening, salvaging;

    (void)state;
    kit_open(&kit);
    stream = &kit_find(&kit, NJ_BUNDLE_OBJECTS)->bytes;
    nj_buf_done(stream);
    nj_buf_init(stream, 16u << 20);
    for (unsigned i = 0; i < 40000; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf record = {0};
        struct nj_object object = {.kind = NJ_OBJECT_BLOB,
                                   .bytes = {(const uint8_t *)&i, sizeof(i)}};

        nj_buf_init(&record, 4096);
        nj_digest_bytes(object.bytes.data, object.bytes.len, &object.digest);
        kit_must(nj_object_encode(&object, &record, &err), &err);
        kit_must(nj_squeeze(stream, nj_buf_span(&record), NJ_SQUEEZE_LEVEL, &err), &err);
    }
    kit_sums(&kit);
    kit_tar(&kit, &whole);
    sums = &kit_find(&kit, NJ_BUNDLE_SUMS)->bytes;
    sums->data[3] ^= 1;
    kit_tar(&kit, &tar);
    opening = seconds_to_open(nj_buf_span(&whole), 0);
    salvaging = seconds_to_open(nj_buf_span(&tar), NJ_BUNDLE_SALVAGE);
    print_message("opened in %.3f s, salvaged in %.3f s\n", opening, salvaging);
    assert_true(salvaging < 8 * opening); /* it is read twice; by the square of it, 50 times */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kit_itself_is_accepted),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(no_flipped_byte_changes_what_is_read),
        cmocka_unit_test(members_have_their_names_and_order),
        cmocka_unit_test(only_regular_files_are_members),
        cmocka_unit_test(owners_modes_and_times_are_the_writers),
        cmocka_unit_test(hidden_headers_have_no_room),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(other_files_are_no_bundles),
        cmocka_unit_test(json_is_judged),
        cmocka_unit_test(digests_are_recomputed),
        cmocka_unit_test(sums_must_agree_with_every_member),
        cmocka_unit_test(records_are_canonical),
        cmocka_unit_test(objects_are_what_their_digests_say),
        cmocka_unit_test(sequence_numbers_have_no_gaps),
        cmocka_unit_test(an_event_must_be_one),
        cmocka_unit_test(zstd_frames_are_bounded_and_whole),
        cmocka_unit_test(salvage_keeps_what_is_before_the_damage),
        cmocka_unit_test(salvage_reads_a_cut_file_as_far_as_it_goes),
        cmocka_unit_test(salvage_gives_nothing_false_for_any_flipped_byte),
        cmocka_unit_test(salvage_reads_whole_records_of_a_cut_zstd_frame),
        cmocka_unit_test(salvage_of_many_tiny_frames_costs_what_they_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
