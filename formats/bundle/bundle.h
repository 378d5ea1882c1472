/*
 * bundle.h - one session as one file that tar, zstd and any msgpack reader can open
 *
 * A plain pax tar with these members, in this order:
 *   nightjar.json          tells a person (and a script) what this is; sorted keys, no time of
 * bundling job.yaml               the manifest as it was run journal.msgpack.zst    {"kind",
 * "payload", "sequence"} for every EVENT and OUTPUT frame snapshots.msgpack.zst  {"payload",
 * "sequence"} for every SNAPSHOT frame objects.msgpack.zst    encoded objects (object.h), each
 * once, in the order added inputs.msgpack.zst     encoded objects of the mounts (absent with
 * inputs: reference) SHA256SUMS             `sha256sum -c` reads it SHA256SUMS.sig optional;
 * Ed25519 over SHA256SUMS The streams are concatenated zstd frames of concatenated canonical
 * msgpack maps. The same input gives the same bytes, whatever the time zone, user, umask and
 * directory: all tar times are 0, uid and gid 0 without names, modes 0600.
 *
 * Reading treats every byte as hostile: member names, order, sizes and counts are checked before
 * memory is spent, digests before content is believed, and nothing is ever extracted to a path. A
 * bundle's manifest is data, never authority. Source: formats/bundle/FORMAT.md.
 */
#ifndef NJ_BUNDLE_H
#define NJ_BUNDLE_H

#include "formats/journal/journal.h"

#define NJ_BUNDLE_MANIFEST_MAX_BYTES                                                               \
    (16u << 20) /* what a manifest may have (NJ_MANIFEST_MAX_BYTES) */
#define NJ_BUNDLE_FRAMES_MAX 4000000u
#define NJ_BUNDLE_STREAM_MAX_BYTES                                                                 \
    (4ull << 30) /* decoded, each; spooled to an unlinked file, not memory */

/* What nightjar.json says. Text is borrowed from the bundle (reading) or the caller (writing). */
struct nj_bundle_info {
    const char *job;
    const char *run; /* the run directory's name */
    const char *key;
    const char *group;
    const char *agent;
    struct nj_digest identity;
    enum nj_status status;
    uint64_t frames; /* highest sequence */
    struct nj_record_digests digests;
    bool inputs_embedded;
    const char *reproducible; /* "D0" to "D3": declared */
    const char *environment;  /* JSON object: kernel, architecture, interpreter versions; "{}" when
                                 unknown */
};

/* ---- writing ---- */

/* Order: new -> frame()s in sequence order -> object()s -> input()s -> finish. Short streams are
 * kept in memory, long ones spooled to unlinked files in @spool_dir_fd (borrowed; -1: in TMPDIR,
 * else /tmp), so memory stays bounded. */
struct nj_bundle_writer;
int nj_bundle_writer_new(int spool_dir_fd, struct nj_bundle_writer **ret_writer,
                         struct nj_error *err) NJ_MUST_USE;
void nj_bundle_writer_free(struct nj_bundle_writer *writer);
NJ_DEFINE_AUTO_PTR(struct nj_bundle_writer, nj_bundle_writer_free);
int nj_bundle_writer_frame(struct nj_bundle_writer *writer, const struct nj_frame *frame,
                           struct nj_error *err) NJ_MUST_USE; /* EVENT, OUTPUT or SNAPSHOT */
int nj_bundle_writer_event(struct nj_bundle_writer *writer, const struct nj_frame *frame,
                           const struct nj_event *event,
                           struct nj_error *err) NJ_MUST_USE; /* an EVENT, decoded already */
int nj_bundle_writer_object(struct nj_bundle_writer *writer, const struct nj_object *object,
                            struct nj_error *err) NJ_MUST_USE; /* a second time is ignored */
int nj_bundle_writer_input(struct nj_bundle_writer *writer, const struct nj_object *object,
                           struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_writer_finish - write the tar to @fd and fdatasync it. info->digests and info->frames
 * are filled in from the frames that were added, whatever the caller set. Once for each writer,
 * whatever comes of it. */
int nj_bundle_writer_finish(struct nj_bundle_writer *writer, const struct nj_bundle_info *info,
                            struct nj_span manifest, int fd, struct nj_error *err) NJ_MUST_USE;

/* ---- reading ---- */

struct nj_bundle;

enum nj_bundle_flags {
    NJ_BUNDLE_SALVAGE =
        1, /* read what is intact before, between and behind damages; nj_bundle_damage() tells the
            * first. What comes from a zstd frame that was cut off, no checksum covers. Of a damaged
            * nightjar.json the first event stands in. */
};

/* nj_bundle_open - read and check the whole bundle: structure, SHA256SUMS, canonical frames,
 * gapless sequence, object digests, both record digests against nightjar.json. NJ_E_CORRUPT names
 * member and damage, NJ_E_VERSION a newer format, NJ_E_LIMIT which cap, NJ_E_INPUT when it is no
 * bundle at all. */
int nj_bundle_open(int fd, const char *name, unsigned flags, struct nj_bundle **ret_bundle,
                   struct nj_error *err) NJ_MUST_USE;
void nj_bundle_free(struct nj_bundle *bundle);
NJ_DEFINE_AUTO_PTR(struct nj_bundle, nj_bundle_free);

const struct nj_bundle_info *nj_bundle_info(const struct nj_bundle *bundle);
struct nj_span nj_bundle_manifest(const struct nj_bundle *bundle);
const char *nj_bundle_damage(const struct nj_bundle *bundle); /* NULL when whole */

/* nj_bundle_damage_at - each place where a salvaged bundle is damaged, from 0; NULL behind the last
 */
const char *nj_bundle_damage_at(const struct nj_bundle *bundle, size_t i);

/* nj_bundle_each_object - every object of the bundle (inputs apart), in the order they came; a
 * negative return of @visit ends it and is returned */
int nj_bundle_each_object(struct nj_bundle *bundle,
                          int (*visit)(void *ctx, const struct nj_object *object,
                                       struct nj_error *err),
                          void *ctx, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_frame - frame @sequence (1 to info->frames), payload appended to @out and borrowed from
 * it. Session and place are zero. NJ_E_INPUT: no such frame; NJ_E_CORRUPT: lost, which only a
 * salvaged bundle can say. */
int nj_bundle_frame(struct nj_bundle *bundle, uint64_t sequence, struct nj_buf *out,
                    struct nj_frame *ret_frame, struct nj_error *err) NJ_MUST_USE;

/* Sources live as long as the bundle. */
struct nj_object_source nj_bundle_objects(struct nj_bundle *bundle);
struct nj_object_source nj_bundle_inputs(struct nj_bundle *bundle);

#endif
