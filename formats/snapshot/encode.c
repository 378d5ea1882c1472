/*
 * encode.c - writing a snapshot
 *
 * The complication: pairs that a later build wrote are merged in at their place, since a canonical
 * map has its keys in order.
 */
#include <assert.h>

#include "formats/base/bytes.h"
#include "formats/base/squeeze.h"
#include "formats/snapshot/keys.h"
#include "formats/snapshot/snapshot.h"

#include "formats/base/banned.h"

static bool key_is_due(const struct nj_snapshot *snapshot, enum nj_snapshot_key key)
{
    switch (key) {
    case NJ_SNAPSHOT_KEY_END:
    case NJ_SNAPSHOT_KEY_END_KIND:
    case NJ_SNAPSHOT_KEY_END_TEXT:
        return snapshot->status != 0;
    case NJ_SNAPSHOT_KEY_LIST:
        return snapshot->items > 0;
    case NJ_SNAPSHOT_KEY_COMPACT:
        return snapshot->compacted > 0;
    case NJ_SNAPSHOT_KEY_PROMPT:
    case NJ_SNAPSHOT_KEY_PROMPT_ITEMS:
        return snapshot->prompt_tokens > 0;
    case NJ_SNAPSHOT_KEY_CLOCK:
    case NJ_SNAPSHOT_KEY_SEED:
        return snapshot->clock_ns > 0;
    case NJ_SNAPSHOT_KEY_AT:
    case NJ_SNAPSHOT_KEY_CALLS:
    case NJ_SNAPSHOT_KEY_CONFIG:
    case NJ_SNAPSHOT_KEY_COST:
    case NJ_SNAPSHOT_KEY_FAILED:
    case NJ_SNAPSHOT_KEY_JUDGED:
    case NJ_SNAPSHOT_KEY_MESSAGES:
    case NJ_SNAPSHOT_KEY_SEQ:
    case NJ_SNAPSHOT_KEY_STAMPS:
    case NJ_SNAPSHOT_KEY_STATE:
    case NJ_SNAPSHOT_KEY_STEPS:
    case NJ_SNAPSHOT_KEY_TOOL_MS:
    case NJ_SNAPSHOT_KEY_TREE:
    case NJ_SNAPSHOT_KEY_TURN:
    case NJ_SNAPSHOT_KEY_USE_IN:
    case NJ_SNAPSHOT_KEY_USE_OUT:
    case NJ_SNAPSHOT_KEY_USE_READ:
    case NJ_SNAPSHOT_KEY_USE_W1H:
    case NJ_SNAPSHOT_KEY_USE_W5M:
    case NJ_SNAPSHOT_KEY_V:
        return true;
    }
    return false;
}

static void pack_value(struct nj_packer *packer, const struct nj_snapshot *snapshot,
                       enum nj_snapshot_key key)
{
    switch (key) {
    case NJ_SNAPSHOT_KEY_AT:
        nj_pack_int(packer, snapshot->time_ns);
        break;
    case NJ_SNAPSHOT_KEY_CALLS:
        nj_pack_uint(packer, snapshot->calls_done);
        break;
    case NJ_SNAPSHOT_KEY_CLOCK:
        nj_pack_int(packer, snapshot->clock_ns);
        break;
    case NJ_SNAPSHOT_KEY_COMPACT:
        nj_pack_uint(packer, snapshot->compacted);
        break;
    case NJ_SNAPSHOT_KEY_PROMPT:
        nj_pack_uint(packer, snapshot->prompt_tokens);
        break;
    case NJ_SNAPSHOT_KEY_PROMPT_ITEMS:
        nj_pack_uint(packer, snapshot->prompt_items);
        break;
    case NJ_SNAPSHOT_KEY_CONFIG:
        nj_pack_digest(packer, &snapshot->config);
        break;
    case NJ_SNAPSHOT_KEY_COST:
        nj_pack_uint(packer, snapshot->cost_micro_usd);
        break;
    case NJ_SNAPSHOT_KEY_END:
        nj_pack_uint(packer, snapshot->status);
        break;
    case NJ_SNAPSHOT_KEY_END_KIND:
        nj_pack_span(packer, snapshot->error_kind);
        break;
    case NJ_SNAPSHOT_KEY_END_TEXT: /* as bytes: a cut inside a character must not stop a session's
                                      end */
        nj_pack_bin(packer, snapshot->error_text);
        break;
    case NJ_SNAPSHOT_KEY_FAILED:
        nj_pack_uint(packer, snapshot->attempts_failed);
        break;
    case NJ_SNAPSHOT_KEY_JUDGED:
        nj_pack_uint(packer, snapshot->judge_rounds);
        break;
    case NJ_SNAPSHOT_KEY_LIST:
        nj_pack_digest(packer, &snapshot->conversation);
        break;
    case NJ_SNAPSHOT_KEY_MESSAGES:
        nj_pack_uint(packer, snapshot->items);
        break;
    case NJ_SNAPSHOT_KEY_SEED:
        nj_pack_bin(packer, (struct nj_span){snapshot->seed, sizeof(snapshot->seed)});
        break;
    case NJ_SNAPSHOT_KEY_SEQ:
        nj_pack_uint(packer, snapshot->sequence);
        break;
    case NJ_SNAPSHOT_KEY_STAMPS:
        nj_pack_digest(packer, &snapshot->workspace.stamps);
        break;
    case NJ_SNAPSHOT_KEY_STATE:
        nj_pack_uint(packer, snapshot->state);
        break;
    case NJ_SNAPSHOT_KEY_STEPS:
        nj_pack_uint(packer, snapshot->steps);
        break;
    case NJ_SNAPSHOT_KEY_TOOL_MS:
        nj_pack_uint(packer, snapshot->tool_time_ms);
        break;
    case NJ_SNAPSHOT_KEY_TREE:
        nj_pack_digest(packer, &snapshot->workspace.tree);
        break;
    case NJ_SNAPSHOT_KEY_TURN:
        nj_pack_uint(packer, snapshot->turn);
        break;
    case NJ_SNAPSHOT_KEY_USE_IN:
        nj_pack_uint(packer, snapshot->usage.input_tokens);
        break;
    case NJ_SNAPSHOT_KEY_USE_OUT:
        nj_pack_uint(packer, snapshot->usage.output_tokens);
        break;
    case NJ_SNAPSHOT_KEY_USE_READ:
        nj_pack_uint(packer, snapshot->usage.cache_read_tokens);
        break;
    case NJ_SNAPSHOT_KEY_USE_W1H:
        nj_pack_uint(packer, snapshot->usage.cache_write_1h_tokens);
        break;
    case NJ_SNAPSHOT_KEY_USE_W5M:
        nj_pack_uint(packer, snapshot->usage.cache_write_5m_tokens);
        break;
    case NJ_SNAPSHOT_KEY_V:
        nj_pack_uint(packer, NJ_SNAPSHOT_VERSION);
        break;
    }
}

/* The text of the packed string that @packed begins with. */
static struct nj_span string_text(struct nj_span packed)
{
    const uint8_t *data = packed.data;

    if (data[0] >= 0xa0 && data[0] < 0xc0)
        return (struct nj_span){data + 1, data[0] & 0x1f};
    if (data[0] == 0xd9)
        return (struct nj_span){data + 2, data[1]};
    if (data[0] == 0xda)
        return (struct nj_span){data + 3, be16toh(nj_load_u16le(data + 1))};
    assert(data[0] == 0xdb);
    return (struct nj_span){data + 5, be32toh(nj_load_u32le(data + 1))};
}

static bool span_is_below(struct nj_span a, const char *text)
{
    struct nj_span b = nj_span_text(text);
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.data, b.data, shared);

    return order < 0 || (order == 0 && a.len < b.len);
}

/* Moves the unknown pairs whose keys stand before @key (NULL: all) from @rest to @packer. */
static void merge_unknown(struct nj_packer *packer, struct nj_span *rest, const char *key)
{
    while (rest->len > 0) {
        struct nj_error ignored = {0};
        struct nj_span value;
        size_t key_len;
        size_t value_len;
        size_t len;
        int r;

        r = nj_pack_walk_one(*rest, &key_len, &ignored);
        assert(r == 0);
        if (key && !span_is_below(string_text(*rest), key))
            return;
        value = (struct nj_span){rest->data + key_len, rest->len - key_len};
        r = nj_pack_walk_one(value, &value_len, &ignored);
        assert(r == 0);
        len = key_len + value_len;
        nj_pack_raw(packer, (struct nj_span){rest->data, len});
        *rest = (struct nj_span){rest->data + len, rest->len - len};
    }
}

int nj_snapshot_pack(const struct nj_snapshot *snapshot, struct nj_buf *out, struct nj_error *err)
{
    struct nj_span unknown = snapshot->unknown;
    size_t pairs = snapshot->n_unknown;
    struct nj_packer packer;
    size_t start = out->len;
    int r;

    assert(snapshot->state <= NJ_SNAPSHOT_STATE_MAX);
    assert(snapshot->status <= NJ_SNAPSHOT_STATE_MAX);
    assert(snapshot->items <= NJ_LIST_ITEMS_MAX);
    if (snapshot->error_kind.len > NJ_SNAPSHOT_KIND_MAX_BYTES ||
        snapshot->error_text.len > NJ_SNAPSHOT_TEXT_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT,
                       "snapshot: an error of %zu and %zu bytes: at most %d of kind and %d of text",
                       snapshot->error_kind.len, snapshot->error_text.len,
                       NJ_SNAPSHOT_KIND_MAX_BYTES, NJ_SNAPSHOT_TEXT_MAX_BYTES);
    for (size_t i = 0; i < NJ_SNAPSHOT_N_KEYS; i++)
        pairs += key_is_due(snapshot, (enum nj_snapshot_key)i);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, pairs);
    for (size_t i = 0; i < NJ_SNAPSHOT_N_KEYS; i++) {
        if (!key_is_due(snapshot, (enum nj_snapshot_key)i))
            continue;
        merge_unknown(&packer, &unknown, nj_snapshot_keys[i]);
        nj_pack_text(&packer, nj_snapshot_keys[i]);
        pack_value(&packer, snapshot, (enum nj_snapshot_key)i);
    }
    merge_unknown(&packer, &unknown, NULL);
    r = nj_packer_end(&packer, err);
    if (r < 0)
        return nj_wrap(err, "snapshot");
    if (out->len - start > NJ_SNAPSHOT_MAX_BYTES) {
        size_t len = out->len - start;

        out->len = start;
        out->data[start] = 0;
        return nj_fail(err, NJ_E_LIMIT, "snapshot: %zu bytes, at most %u", len,
                       NJ_SNAPSHOT_MAX_BYTES);
    }
    return 0;
}

int nj_snapshot_encode(const struct nj_snapshot *snapshot, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    int r;

    nj_buf_init(&packed, 2 * (size_t)NJ_SNAPSHOT_MAX_BYTES);
    r = nj_snapshot_pack(snapshot, &packed, err);
    if (r < 0)
        return r;
    r = nj_squeeze(out, nj_buf_span(&packed), NJ_SQUEEZE_LEVEL_ARCHIVE, err);
    if (r < 0)
        return nj_wrap(err, "snapshot");
    return 0;
}
