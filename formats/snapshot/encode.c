/*
 * encode.c - a snapshot as a canonical map
 *
 * The one complication: unknown keys of a rewritten snapshot are merged back at their places in the order.
 */
#include "formats/snapshot/snapshot.h"

#include "formats/base/squeeze.h"
#include "formats/snapshot/keys.h"

#include "formats/base/banned.h"

static void pack_workspace(struct nj_packer *packer, const struct nj_workspace_ref *workspace)
{
    nj_pack_map(packer, 2);
    nj_pack_text(packer, "stamps");
    nj_pack_digest(packer, &workspace->stamps);
    nj_pack_text(packer, "tree");
    nj_pack_digest(packer, &workspace->tree);
}

static void pack_usage(struct nj_packer *packer, const struct nj_usage *usage)
{
    nj_pack_array(packer, 5);
    nj_pack_uint(packer, usage->input_tokens);
    nj_pack_uint(packer, usage->output_tokens);
    nj_pack_uint(packer, usage->cache_read_tokens);
    nj_pack_uint(packer, usage->cache_write_5m_tokens);
    nj_pack_uint(packer, usage->cache_write_1h_tokens);
}

static void pack_conversation(struct nj_packer *packer, const struct nj_snapshot *snapshot)
{
    nj_pack_map(packer, snapshot->items > 0 ? 2 : 1);
    nj_pack_text(packer, "items");
    nj_pack_uint(packer, snapshot->items);
    if (snapshot->items > 0) {
        nj_pack_text(packer, "root");
        nj_pack_digest(packer, &snapshot->conversation);
    }
}

static void pack_closing(struct nj_packer *packer, const struct nj_snapshot *snapshot)
{
    nj_pack_map(packer, 3);
    nj_pack_text(packer, "kind");
    nj_pack_span(packer, snapshot->error_kind);
    nj_pack_text(packer, "status");
    nj_pack_uint(packer, snapshot->status);
    nj_pack_text(packer, "text");
    nj_pack_span(packer, snapshot->error_text);
}

static void pack_value(struct nj_packer *packer, enum nj_snapshot_key key,
                       const struct nj_snapshot *snapshot)
{
    switch (key) {
    case NJ_SNAPSHOT_KEY_ATTEMPTS_FAILED:
        nj_pack_uint(packer, snapshot->attempts_failed);
        return;
    case NJ_SNAPSHOT_KEY_CALLS_DONE:
        nj_pack_uint(packer, snapshot->calls_done);
        return;
    case NJ_SNAPSHOT_KEY_CLOSING:
        pack_closing(packer, snapshot);
        return;
    case NJ_SNAPSHOT_KEY_CONFIG:
        nj_pack_digest(packer, &snapshot->config);
        return;
    case NJ_SNAPSHOT_KEY_CONVERSATION:
        pack_conversation(packer, snapshot);
        return;
    case NJ_SNAPSHOT_KEY_COST:
        nj_pack_uint(packer, snapshot->cost_micro_usd);
        return;
    case NJ_SNAPSHOT_KEY_JUDGE_ROUNDS:
        nj_pack_uint(packer, snapshot->judge_rounds);
        return;
    case NJ_SNAPSHOT_KEY_SEQUENCE:
        nj_pack_uint(packer, snapshot->sequence);
        return;
    case NJ_SNAPSHOT_KEY_STATE:
        nj_pack_uint(packer, snapshot->state);
        return;
    case NJ_SNAPSHOT_KEY_STEPS:
        nj_pack_uint(packer, snapshot->steps);
        return;
    case NJ_SNAPSHOT_KEY_TIME:
        nj_pack_int(packer, snapshot->time_ns);
        return;
    case NJ_SNAPSHOT_KEY_TOOL_TIME:
        nj_pack_uint(packer, snapshot->tool_time_ms);
        return;
    case NJ_SNAPSHOT_KEY_TURN:
        nj_pack_uint(packer, snapshot->turn);
        return;
    case NJ_SNAPSHOT_KEY_USAGE:
        pack_usage(packer, &snapshot->usage);
        return;
    case NJ_SNAPSHOT_KEY_VERSION:
        nj_pack_uint(packer, NJ_SNAPSHOT_VERSION);
        return;
    case NJ_SNAPSHOT_KEY_WORKSPACE:
        pack_workspace(packer, &snapshot->workspace);
        return;
    }
}

/* The key of the first packed pair in @pairs, and where its value ends. False at the end. */
static bool next_unknown(struct nj_span *pairs, struct nj_span *ret_key, struct nj_span *ret_pair,
                         struct nj_error *err)
{
    size_t key_len;
    size_t value_len;
    size_t head;

    if (pairs->len == 0)
        return false;
    if (nj_pack_walk_one(*pairs, &key_len, err) < 0)
        return false;
    if (nj_pack_walk_one((struct nj_span){pairs->data + key_len, pairs->len - key_len}, &value_len, err) < 0)
        return false;
    head = pairs->data[0] < 0xc0 ? 1 : pairs->data[0] == 0xd9 ? 2 : pairs->data[0] == 0xda ? 3 : 5;
    *ret_key = (struct nj_span){pairs->data + head, key_len - head};
    *ret_pair = (struct nj_span){pairs->data, key_len + value_len};
    *pairs = (struct nj_span){pairs->data + ret_pair->len, pairs->len - ret_pair->len};
    return true;
}

static bool comes_before(struct nj_span a, const char *b)
{
    size_t b_len = strlen(b);
    int order = memcmp(a.data, b, a.len < b_len ? a.len : b_len);

    return order < 0 || (order == 0 && a.len < b_len);
}

int nj_snapshot_pack(const struct nj_snapshot *snapshot, struct nj_buf *out, struct nj_error *err)
{
    struct nj_span rest = snapshot->unknown;
    struct nj_error walk_err = {0};
    struct nj_packer packer;
    struct nj_span key;
    struct nj_span pair;
    bool more;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, NJ_SNAPSHOT_KEYS_COUNT + snapshot->n_unknown);
    more = next_unknown(&rest, &key, &pair, &walk_err);
    for (size_t i = 0; i < NJ_SNAPSHOT_KEYS_COUNT; i++) {
        for (; more && comes_before(key, nj_snapshot_keys[i]);
             more = next_unknown(&rest, &key, &pair, &walk_err))
            nj_pack_raw(&packer, pair);
        nj_pack_text(&packer, nj_snapshot_keys[i]);
        pack_value(&packer, (enum nj_snapshot_key)i, snapshot);
    }
    for (; more; more = next_unknown(&rest, &key, &pair, &walk_err))
        nj_pack_raw(&packer, pair);
    if (walk_err.code != 0) {
        *err = walk_err;
        return nj_wrap(err, "snapshot: unknown keys");
    }
    return nj_packer_end(&packer, err);
}

int nj_snapshot_encode(const struct nj_snapshot *snapshot, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};

    nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
    if (nj_snapshot_pack(snapshot, &packed, err) < 0)
        return -(int)err->code;
    return nj_squeeze(out, nj_buf_span(&packed), NJ_SQUEEZE_LEVEL, err);
}
