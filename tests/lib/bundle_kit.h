/*
 * bundle_kit.h - a small good bundle, and the tools to take it apart, change it and close it again
 *
 * A hostile bundle is as consistent as its maker wants, so the kit mends sizes, checksums and
 * SHA256SUMS after a change: what is refused is then refused for the change itself. The tar here is
 * written by hand, a second writer beside libarchive's. Header only, because the programs that use
 * it are each linked alone.
 */
#ifndef NJ_TESTS_BUNDLE_KIT_H
#define NJ_TESTS_BUNDLE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "formats/base/fsio.h"
#include "formats/base/squeeze.h"
#include "formats/bundle/entry.h"
#include "tests/lib/sample_events.h"

#define KIT_KEY "invoice-0041"
#define KIT_MANIFEST "nightjar: 1\njob: nightly-invoices\n"
#define KIT_INPUT "# /config/check.py\n"
#define KIT_OBJECTS 3u
#define KIT_FRAMES 14u /* ten events, an output and three snapshots */

static inline const char *kit_object_text(unsigned n)
{
    static const char *const texts[KIT_OBJECTS] = {"", "total: 12.50\n",
                                                   "{\"role\":\"user\",\"content\":\"go on\"}"};

    return texts[n];
}

static inline void kit_must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

/* kit_frame - frame @sequence of the kit's session; its payload is put into @payload */
static inline struct nj_frame kit_frame(uint64_t sequence, struct nj_buf *payload)
{
    struct nj_frame frame = {.kind = NJ_FRAME_EVENT, .session = 7, .sequence = sequence};
    struct nj_error err = {0};
    struct nj_event event;

    nj_buf_init(payload, 1u << 16);
    switch (sequence) {
    case 4:
    case 8:
    case 12:
        frame.kind = NJ_FRAME_SNAPSHOT;
        kit_must(nj_buf_printf(payload, &err, "a snapshot after frame %u", (unsigned)sequence),
                 &err);
        break;
    case 5:
        frame.kind = NJ_FRAME_OUTPUT;
        kit_must(nj_buf_text(payload, "first lines\n", &err), &err);
        break;
    default:
        event = sample_event(SAMPLE_KINDS[sequence < 4    ? sequence - 1
                                          : sequence < 8  ? sequence - 3
                                          : sequence < 12 ? sequence - 4
                                                          : sequence - 5]);
        kit_must(nj_event_encode(&event, payload, &err), &err);
    }
    frame.payload = nj_buf_span(payload);
    return frame;
}

static inline struct nj_bundle_info kit_info(void)
{
    return (struct nj_bundle_info){.job = "nightly-invoices",
                                   .run = "2026-11-22T02-00-00Z-invoices",
                                   .key = KIT_KEY,
                                   .group = "invoices",
                                   .agent = "data-processor",
                                   .identity = sample_digest(0x01),
                                   .status = NJ_STATUS_SUCCEEDED,
                                   .inputs_embedded = true,
                                   .reproducible = "D0",
                                   .environment = "{\"python\": \"3.11\", \"kernel\": \"6.1\"}"};
}

/* kit_bundle_to - write the small good bundle to @fd */
static inline void kit_bundle_to(int fd)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = NULL;
    struct nj_bundle_info info = kit_info();
    struct nj_error err = {0};
    struct nj_object object = {.kind = NJ_OBJECT_BLOB};

    kit_must(nj_bundle_writer_new(-1, &writer, &err), &err);
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
        struct nj_frame frame = kit_frame(sequence, &payload);

        kit_must(nj_bundle_writer_frame(writer, &frame, &err), &err);
    }
    for (unsigned twice = 0; twice < 2; twice++) {
        for (unsigned n = 0; n < KIT_OBJECTS; n++) {
            object.bytes = nj_span_text(kit_object_text(n));
            nj_digest_bytes(object.bytes.data, object.bytes.len, &object.digest);
            kit_must(nj_bundle_writer_object(writer, &object, &err), &err);
        }
    }
    object.bytes = nj_span_text(KIT_INPUT);
    nj_digest_bytes(object.bytes.data, object.bytes.len, &object.digest);
    kit_must(nj_bundle_writer_input(writer, &object, &err), &err);
    kit_must(nj_bundle_writer_finish(writer, &info, nj_span_text(KIT_MANIFEST), fd, &err), &err);
}

static inline int kit_memfd(struct nj_span bytes)
{
    struct nj_error err = {0};
    int fd = -1;

    kit_must(nj_fsio_memfd("bundle", &fd, &err), &err);
    kit_must(nj_fsio_write(fd, bytes.data, bytes.len, &err), &err);
    return fd;
}

static inline int kit_bundle(void)
{
    int fd = kit_memfd((struct nj_span){NULL, 0});

    kit_bundle_to(fd);
    return fd;
}

static inline void kit_bytes(int fd, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, 64u << 20);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    kit_must(nj_fsio_read_all(fd, out, &err), &err);
}

/* ---- taking apart and putting together ---- */

struct kit_member {
    char name[101];
    char type; /* ustar's: '0' file, '1' hard link, '2' symlink, '3' device, 'x' pax header... */
    char link[101];
    unsigned mode;
    unsigned uid;
    unsigned mtime;
    struct nj_buf bytes;
};

#define KIT_MEMBERS_MAX 12
struct kit {
    struct kit_member members[KIT_MEMBERS_MAX];
    size_t count;
};

static inline void kit_done(struct kit *kit)
{
    for (size_t i = 0; i < kit->count; i++)
        nj_buf_done(&kit->members[i].bytes);
    kit->count = 0;
}
NJ_DEFINE_AUTO_VAL(struct kit, kit_done);

/* kit_insert - a new member before the one at @at */
static inline struct kit_member *kit_insert(struct kit *kit, size_t at, const char *name,
                                            struct nj_span bytes)
{
    struct kit_member *member = &kit->members[at];
    struct nj_error err = {0};

    assert_true(kit->count < KIT_MEMBERS_MAX);
    memmove(member + 1, member, (kit->count - at) * sizeof(*member));
    kit->count++;
    *member = (struct kit_member){.type = '0', .mode = 0600};
    (void)snprintf(member->name, sizeof(member->name), "%s", name);
    nj_buf_init(&member->bytes, 64u << 20);
    kit_must(nj_buf_append(&member->bytes, bytes.data, bytes.len, &err), &err);
    return member;
}

/* kit_open - the members of the small good bundle */
static inline void kit_open(struct kit *kit)
{
    NJ_AUTO(nj_buf_done) struct nj_buf tar = {0};
    nj_auto_close int fd = kit_bundle();

    *kit = (struct kit){0};
    kit_bytes(fd, &tar);
    for (size_t at = 0; at + 512 <= tar.len && tar.data[at] != 0;) {
        const char *header = (const char *)tar.data + at;
        size_t len = (size_t)strtoull(header + 124, NULL, 8);

        (void)kit_insert(kit, kit->count, header, (struct nj_span){tar.data + at + 512, len});
        at += 512 + (len + 511) / 512 * 512;
    }
}

static inline struct kit_member *kit_find(struct kit *kit, enum nj_bundle_member member)
{
    for (size_t i = 0; i < kit->count; i++) {
        if (strcmp(kit->members[i].name, nj_bundle_member_name(member)) == 0)
            return &kit->members[i];
    }
    fail_msg("no member %s", nj_bundle_member_name(member));
    return NULL;
}

static inline void kit_set(struct kit_member *member, struct nj_span bytes)
{
    struct nj_error err = {0};

    nj_buf_clear(&member->bytes);
    kit_must(nj_buf_append(&member->bytes, bytes.data, bytes.len, &err), &err);
}

/* kit_squeeze - the member becomes one zstd frame of @bytes */
static inline void kit_squeeze(struct kit_member *member, struct nj_span bytes)
{
    struct nj_error err = {0};

    nj_buf_clear(&member->bytes);
    kit_must(nj_squeeze(&member->bytes, bytes, NJ_SQUEEZE_LEVEL_ARCHIVE, &err), &err);
}

static inline void kit_unsqueeze(const struct kit_member *member, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, 32u << 20);
    kit_must(nj_unsqueeze(out, nj_buf_span(&member->bytes), 32u << 20, &err), &err);
}

/* kit_replace - @from becomes @to in a member's text; it must be there */
static inline void kit_replace(struct kit_member *member, const char *from, const char *to)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};
    char *at = strstr((char *)member->bytes.data, from);

    assert_non_null(at);
    nj_buf_init(&text, 1u << 20);
    kit_must(
        nj_buf_append(&text, member->bytes.data, (size_t)(at - (char *)member->bytes.data), &err),
        &err);
    kit_must(nj_buf_text(&text, to, &err), &err);
    kit_must(nj_buf_text(&text, at + strlen(from), &err), &err);
    kit_set(member, nj_buf_span(&text));
}

/* kit_sums - SHA256SUMS agrees again with the members before it */
static inline void kit_sums(struct kit *kit)
{
    NJ_AUTO(nj_buf_done) struct nj_buf sums = {0};
    struct nj_error err = {0};

    nj_buf_init(&sums, 1u << 16);
    for (size_t i = 0; i < kit->count; i++) {
        struct kit_member *member = &kit->members[i];
        char hex[NJ_DIGEST_HEX_CHARS + 1];
        struct nj_digest digest;

        if (strcmp(member->name, nj_bundle_member_name(NJ_BUNDLE_SUMS)) == 0) {
            kit_set(member, nj_buf_span(&sums));
            return;
        }
        nj_digest_bytes(member->bytes.data, member->bytes.len, &digest);
        nj_digest_hex(&digest, hex);
        kit_must(nj_buf_printf(&sums, &err, "%s  %s\n", hex, member->name), &err);
    }
}

static inline void kit_header(const struct kit_member *member, char header[512])
{
    unsigned sum = 0;

    memset(header, 0, 512);
    memcpy(header, member->name, strlen(member->name) < 100 ? strlen(member->name) : 100);
    (void)snprintf(header + 100, 8, "%07o", member->mode);
    (void)snprintf(header + 108, 8, "%07o", member->uid);
    (void)snprintf(header + 116, 8, "%07o", 0u);
    (void)snprintf(header + 124, 12, "%011o", (unsigned)member->bytes.len);
    (void)snprintf(header + 136, 12, "%011o", member->mtime);
    header[156] = member->type;
    memcpy(header + 157, member->link, strlen(member->link) < 100 ? strlen(member->link) : 100);
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)header[i];
    (void)snprintf(header + 148, 8, "%06o", sum);
}

/* kit_tar - the members as a tar */
static inline void kit_tar(const struct kit *kit, struct nj_buf *out)
{
    static const uint8_t zeros[1024];
    struct nj_error err = {0};

    nj_buf_init(out, 64u << 20);
    for (size_t i = 0; i < kit->count; i++) {
        const struct kit_member *member = &kit->members[i];
        char header[512];

        kit_header(member, header);
        kit_must(nj_buf_append(out, header, sizeof(header), &err), &err);
        kit_must(nj_buf_append(out, member->bytes.data, member->bytes.len, &err), &err);
        kit_must(nj_buf_append(out, zeros, (512 - member->bytes.len % 512) % 512, &err), &err);
    }
    kit_must(nj_buf_append(out, zeros, sizeof(zeros), &err), &err);
}

#endif
