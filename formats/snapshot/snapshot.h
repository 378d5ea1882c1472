/*
 * snapshot.h - where one session stood after a step
 *
 * A canonical msgpack map of digests, counters and one clock: it holds no content, so its size
 * depends neither on the length of the conversation nor on the workspace. With the objects that it
 * names a session goes on from here; the journal's frames behind `sequence` are then folded in. The
 * journal stores the packed map (its frames are compressed there); a snapshot on its own is that
 * map in one zstd frame. Keys that this build does not know are kept as raw bytes and written back
 * by a rewrite.
 * Source: formats/snapshot/FORMAT.md.
 */
#ifndef NJ_SNAPSHOT_H
#define NJ_SNAPSHOT_H

#include "formats/base/usage.h"
#include "formats/object/object.h"

#define NJ_SNAPSHOT_VERSION 0
#define NJ_SNAPSHOT_MAX_BYTES (1u << 20)      /* packed */
#define NJ_SNAPSHOT_PROMPT_MAX 1000000000000u /* tokens */
#define NJ_SNAPSHOT_STATE_MAX 255             /* of state and of status */
#define NJ_SNAPSHOT_KIND_MAX_BYTES 64
#define NJ_SNAPSHOT_SEED_BYTES 32
#define NJ_SNAPSHOT_TEXT_MAX_BYTES 4096

struct nj_snapshot {
    uint64_t sequence;   /* of the last frame that was folded in; the snapshot's own is the next */
    uint64_t state;      /* the core's state after the snapshot is durable */
    uint64_t turn;       /* replies so far */
    uint64_t steps;      /* replies and calls so far */
    uint64_t calls_done; /* of the current turn */
    uint64_t judge_rounds;
    uint64_t attempts_failed;
    uint64_t items;                /* of the conversation, at most NJ_LIST_ITEMS_MAX */
    struct nj_digest conversation; /* its LIST root; present when items > 0 */
    uint64_t prompt_tokens;        /* of the last prompt and its reply; 0: not known */
    uint64_t prompt_items;         /* items that they were, at most items */
    uint64_t compacted;            /* tool results before this item are left out of requests */
    struct nj_workspace_ref workspace;
    struct nj_usage usage; /* of all replies so far */
    uint64_t cost_micro_usd;
    uint64_t tool_time_ms;
    int64_t time_ns;  /* of the last event */
    int64_t clock_ns; /* where the next call's virtual clock starts; 0: not known, and no seed */
    uint8_t seed[NJ_SNAPSHOT_SEED_BYTES]; /* what time and randomness in boxes follow */
    struct nj_digest config;
    uint64_t status; /* how the session is about to close; 0: it is not, and has no error */
    struct nj_span error_kind; /* UTF-8, at most NJ_SNAPSHOT_KIND_MAX_BYTES */
    struct nj_span error_text; /* any bytes, at most NJ_SNAPSHOT_TEXT_MAX_BYTES */
    struct nj_span unknown;    /* packed pairs of unknown keys, ascending; as _unpack gave them */
    size_t n_unknown;
};

/* nj_snapshot_pack - append the canonical map. NJ_E_LIMIT: a text or the whole is too long;
 * NJ_E_INPUT: error_kind is not UTF-8. Numbers above their maximum, and unknown pairs from
 * elsewhere, are our own mistakes (asserted). */
int nj_snapshot_pack(const struct nj_snapshot *snapshot, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_snapshot_unpack - spans live in @arena; @packed may go. NJ_E_VERSION: a newer format
 * ("snapshot: format 9, this build reads up to 0") or a key that must be understood; NJ_E_CORRUPT
 * names the key. */
int nj_snapshot_unpack(struct nj_span packed, struct nj_arena *arena,
                       struct nj_snapshot *ret_snapshot, struct nj_error *err) NJ_MUST_USE;

/* nj_snapshot_encode, nj_snapshot_decode - the same in exactly one zstd frame. NJ_E_LIMIT: it says
 * that it holds more than NJ_SNAPSHOT_MAX_BYTES; checked before memory is asked for. */
int nj_snapshot_encode(const struct nj_snapshot *snapshot, struct nj_buf *out,
                       struct nj_error *err) NJ_MUST_USE;
int nj_snapshot_decode(struct nj_span frame, struct nj_arena *arena,
                       struct nj_snapshot *ret_snapshot, struct nj_error *err) NJ_MUST_USE;

#endif
