/*
 * decode.c - reading a snapshot that may come from a later build, or from an enemy
 *
 * The complication: the version is looked at before anything else is judged, so that a newer
 * snapshot is called newer and not damaged.
 */
#include "formats/base/squeeze.h"
#include "formats/snapshot/keys.h"
#include "formats/snapshot/snapshot.h"

#include "formats/base/banned.h"

static const char *key_text(enum nj_snapshot_key key)
{
    return nj_snapshot_keys[key];
}

static int check_version(const struct nj_pack_at *map, struct nj_error *err)
{
    const msgpack_object_map *pairs = &map->object->via.map;
    uint64_t version;
    int r;

    r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_V), UINT64_MAX, &version, err);
    if (r < 0)
        return r;
    if (version > NJ_SNAPSHOT_VERSION)
        return nj_fail(err, NJ_E_VERSION, "snapshot: format %lu, this build reads up to %d",
                       (unsigned long)version, NJ_SNAPSHOT_VERSION);
    for (uint32_t i = 0; i < pairs->size; i++) {
        const msgpack_object_str *key = &pairs->ptr[i].key.via.str; /* one: the walk saw it */

        if (key->size > 0 && key->ptr[0] >= 'A' && key->ptr[0] <= 'Z')
            return nj_fail(err, NJ_E_VERSION, "snapshot: key \"%.*s\" needs a newer build",
                           key->size > 40 ? 40 : (int)key->size, key->ptr);
    }
    return 0;
}

static int get_uint(const struct nj_pack_at *map, enum nj_snapshot_key key, uint64_t *ret,
                    struct nj_error *err)
{
    return nj_pack_get_uint(map, key_text(key), UINT64_MAX, ret, err);
}

static int get_digest(const struct nj_pack_at *map, enum nj_snapshot_key key, struct nj_digest *ret,
                      struct nj_error *err)
{
    return nj_pack_get_digest(map, key_text(key), ret, err);
}

static int copy_span(struct nj_arena *arena, struct nj_span *span, struct nj_error *err)
{
    char *copy = nj_arena_span(arena, *span);

    if (!copy)
        return nj_fail_nomem(err);
    span->data = (const uint8_t *)copy;
    return 0;
}

static int read_progress(const struct nj_pack_at *map, struct nj_snapshot *snapshot,
                         struct nj_error *err)
{
    int r;

    r = nj_pack_get_int(map, key_text(NJ_SNAPSHOT_KEY_AT), &snapshot->time_ns, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_CALLS, &snapshot->calls_done, err);
    if (r == 0)
        r = get_digest(map, NJ_SNAPSHOT_KEY_CONFIG, &snapshot->config, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_FAILED, &snapshot->attempts_failed, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_JUDGED, &snapshot->judge_rounds, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_SEQ, &snapshot->sequence, err);
    if (r == 0)
        r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_STATE), NJ_SNAPSHOT_STATE_MAX,
                             &snapshot->state, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_STEPS, &snapshot->steps, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_TURN, &snapshot->turn, err);
    return r;
}

static int read_spent(const struct nj_pack_at *map, struct nj_snapshot *snapshot,
                      struct nj_error *err)
{
    struct nj_usage *usage = &snapshot->usage;
    int r;

    r = get_uint(map, NJ_SNAPSHOT_KEY_COST, &snapshot->cost_micro_usd, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_TOOL_MS, &snapshot->tool_time_ms, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_USE_IN, &usage->input_tokens, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_USE_OUT, &usage->output_tokens, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_USE_READ, &usage->cache_read_tokens, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_USE_W1H, &usage->cache_write_1h_tokens, err);
    if (r == 0)
        r = get_uint(map, NJ_SNAPSHOT_KEY_USE_W5M, &usage->cache_write_5m_tokens, err);
    return r;
}

/* What is known of the next prompt; counts of items were read before. */
static int read_prompt(const struct nj_pack_at *map, struct nj_snapshot *snapshot,
                       struct nj_error *err)
{
    bool has_prompt = nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_PROMPT));
    int r = 0;

    if (has_prompt != nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_PROMPT_ITEMS)))
        return nj_pack_fail(map, err, "prompt and prompt_items belong together");
    if (nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_COMPACT)))
        r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_COMPACT), snapshot->items,
                             &snapshot->compacted, err);
    if (r == 0 && has_prompt)
        r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_PROMPT_ITEMS), snapshot->items,
                             &snapshot->prompt_items, err);
    if (r == 0 && has_prompt)
        r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_PROMPT), NJ_SNAPSHOT_PROMPT_MAX,
                             &snapshot->prompt_tokens, err);
    if (r < 0)
        return r;
    if ((has_prompt && snapshot->prompt_tokens == 0) ||
        (snapshot->compacted == 0 && nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_COMPACT))))
        return nj_pack_fail(map, err, "compact and prompt are not written when they are 0");
    return 0;
}

/* What the next call's time and randomness follow. */
static int read_clock(const struct nj_pack_at *map, struct nj_snapshot *snapshot,
                      struct nj_error *err)
{
    bool has_clock = nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_CLOCK));
    struct nj_span seed;
    int r;

    if (has_clock != nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_SEED)))
        return nj_pack_fail(map, err, "clock and seed belong together");
    if (!has_clock)
        return 0;
    r = nj_pack_get_int(map, key_text(NJ_SNAPSHOT_KEY_CLOCK), &snapshot->clock_ns, err);
    if (r == 0)
        r = nj_pack_get_bin(map, key_text(NJ_SNAPSHOT_KEY_SEED), &seed, err);
    if (r < 0)
        return r;
    if (snapshot->clock_ns <= 0)
        return nj_pack_fail(map, err, "clock: no time of a session");
    if (seed.len != sizeof(snapshot->seed))
        return nj_pack_fail(map, err, "seed has %zu bytes, not %zu", seed.len,
                            sizeof(snapshot->seed));
    memcpy(snapshot->seed, seed.data, seed.len);
    return 0;
}

static int read_contents(const struct nj_pack_at *map, struct nj_snapshot *snapshot,
                         struct nj_error *err)
{
    bool has_list = nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_LIST));
    int r;

    r = get_digest(map, NJ_SNAPSHOT_KEY_TREE, &snapshot->workspace.tree, err);
    if (r == 0)
        r = get_digest(map, NJ_SNAPSHOT_KEY_STAMPS, &snapshot->workspace.stamps, err);
    if (r == 0)
        r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_MESSAGES), NJ_LIST_ITEMS_MAX,
                             &snapshot->items, err);
    if (r < 0)
        return r;
    if (has_list != (snapshot->items > 0))
        return nj_pack_fail(map, err, "%lu messages, but %s list", (unsigned long)snapshot->items,
                            has_list ? "a" : "no");
    if (!has_list)
        return 0;
    return get_digest(map, NJ_SNAPSHOT_KEY_LIST, &snapshot->conversation, err);
}

static int read_end(const struct nj_pack_at *map, struct nj_arena *arena,
                    struct nj_snapshot *snapshot, struct nj_error *err)
{
    bool has_end = nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_END));
    bool has_kind = nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_END_KIND));
    bool has_text = nj_pack_has(map, key_text(NJ_SNAPSHOT_KEY_END_TEXT));
    int r;

    if (has_end != has_kind || has_end != has_text)
        return nj_pack_fail(map, err, "end, end_kind and end_text belong together");
    if (!has_end)
        return 0;
    r = nj_pack_get_uint(map, key_text(NJ_SNAPSHOT_KEY_END), NJ_SNAPSHOT_STATE_MAX,
                         &snapshot->status, err);
    if (r == 0)
        r = nj_pack_get_text(map, key_text(NJ_SNAPSHOT_KEY_END_KIND), &snapshot->error_kind, err);
    if (r == 0)
        r = nj_pack_get_bin(map, key_text(NJ_SNAPSHOT_KEY_END_TEXT), &snapshot->error_text, err);
    if (r < 0)
        return r;
    if (snapshot->status == 0)
        return nj_pack_fail(map, err, "end: 0 is no way to end");
    if (snapshot->error_kind.len > NJ_SNAPSHOT_KIND_MAX_BYTES)
        return nj_pack_fail(map, err, "end_kind: %zu bytes, at most %d", snapshot->error_kind.len,
                            NJ_SNAPSHOT_KIND_MAX_BYTES);
    if (snapshot->error_text.len > NJ_SNAPSHOT_TEXT_MAX_BYTES)
        return nj_pack_fail(map, err, "end_text: %zu bytes, at most %d", snapshot->error_text.len,
                            NJ_SNAPSHOT_TEXT_MAX_BYTES);
    r = copy_span(arena, &snapshot->error_kind, err);
    if (r == 0)
        r = copy_span(arena, &snapshot->error_text, err);
    return r;
}

static int read_unknown(struct nj_span packed, struct nj_arena *arena, struct nj_snapshot *snapshot,
                        struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    size_t pairs;
    int r;

    nj_buf_init(&raw, NJ_SNAPSHOT_MAX_BYTES);
    r = nj_pack_unknown(packed, nj_snapshot_keys, NJ_SNAPSHOT_N_KEYS, &raw, &pairs, err);
    if (r < 0 || pairs == 0)
        return r;
    snapshot->unknown = nj_buf_span(&raw);
    snapshot->n_unknown = pairs;
    return copy_span(arena, &snapshot->unknown, err);
}

int nj_snapshot_unpack(struct nj_span packed, struct nj_arena *arena,
                       struct nj_snapshot *ret_snapshot, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_snapshot snapshot = {0};
    struct nj_pack_at map;
    int r;

    if (packed.len > NJ_SNAPSHOT_MAX_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "snapshot: %zu bytes, at most %u", packed.len,
                       NJ_SNAPSHOT_MAX_BYTES);
    r = nj_pack_open(&doc, "snapshot", packed, err);
    if (r == 0)
        r = nj_pack_root(&doc, &map, err);
    if (r == 0)
        r = check_version(&map, err);
    if (r == 0)
        r = read_progress(&map, &snapshot, err);
    if (r == 0)
        r = read_spent(&map, &snapshot, err);
    if (r == 0)
        r = read_contents(&map, &snapshot, err);
    if (r == 0)
        r = read_prompt(&map, &snapshot, err);
    if (r == 0)
        r = read_clock(&map, &snapshot, err);
    if (r == 0)
        r = read_end(&map, arena, &snapshot, err);
    if (r == 0)
        r = read_unknown(packed, arena, &snapshot, err);
    if (r < 0)
        return r;
    *ret_snapshot = snapshot;
    return 0;
}

int nj_snapshot_decode(struct nj_span frame, struct nj_arena *arena,
                       struct nj_snapshot *ret_snapshot, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    int r;

    nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
    r = nj_unsqueeze(&packed, frame, NJ_SNAPSHOT_MAX_BYTES, err);
    if (r < 0)
        return nj_wrap(err, "snapshot");
    return nj_snapshot_unpack(nj_buf_span(&packed), arena, ret_snapshot, err);
}
