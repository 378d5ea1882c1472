/*
 * snapshot.h - where one session stood after a step
 *
 * A canonical msgpack map of digests, counters and one clock: it holds no content, so its size depends neither on the
 * length of the conversation nor on the workspace. The journal stores the packed map (its frames are
 * compressed there); a snapshot on its own is that map in one zstd frame. Keys that this build does not know are
 * kept as raw bytes and written back by a rewrite.
 * Source: formats/snapshot/FORMAT.md.
 */
#ifndef NJ_SNAPSHOT_H
#define NJ_SNAPSHOT_H

#include "formats/journal/event.h"

#define NJ_SNAPSHOT_MAX_BYTES (1u << 20) /* packed */
#define NJ_SNAPSHOT_VERSION 0

struct nj_snapshot {
    uint64_t sequence;       /* of the last frame that was folded in; the snapshot's own is the next */
    uint64_t state;          /* the core's state after the snapshot is durable */
    uint64_t turn;           /* replies so far */
    uint64_t steps;          /* replies and calls so far */
    uint64_t calls_done;     /* of the current turn */
    uint64_t judge_rounds;
    uint64_t attempts_failed;
    uint64_t items;          /* of the conversation */
    struct nj_digest conversation; /* its root; present when items > 0 */
    struct nj_workspace_ref workspace;
    struct nj_usage usage;
    uint64_t cost_micro_usd;
    uint64_t tool_time_ms;
    int64_t time_ns; /* of the last event */
    struct nj_digest config;
    uint64_t status;            /* how the session is about to close (enum nj_status); 0: it is not */
    struct nj_span error_kind;  /* text */
    struct nj_span error_text;  /* text */
    struct nj_span unknown;     /* packed pairs of unknown keys, ascending */
    size_t n_unknown;
};

/* nj_snapshot_pack - append the canonical map. error_kind and error_text must be UTF-8. */
int nj_snapshot_pack(const struct nj_snapshot *snapshot, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_snapshot_unpack - spans live in @arena. NJ_E_VERSION: a newer format; NJ_E_CORRUPT names the key. */
int nj_snapshot_unpack(struct nj_span packed, struct nj_arena *arena, struct nj_snapshot *ret_snapshot,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_snapshot_encode, nj_snapshot_decode - the same in one zstd frame */
int nj_snapshot_encode(const struct nj_snapshot *snapshot, struct nj_buf *out,
                       struct nj_error *err) NJ_MUST_USE;
int nj_snapshot_decode(struct nj_span frame, struct nj_arena *arena, struct nj_snapshot *ret_snapshot,
                       struct nj_error *err) NJ_MUST_USE;

#endif
