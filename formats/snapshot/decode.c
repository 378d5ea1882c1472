/*
 * decode.c - a snapshot read under suspicion
 */
#include "formats/base/squeeze.h"
#include "formats/snapshot/keys.h"
#include "formats/snapshot/snapshot.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES 4096

static int get_text(const struct nj_pack_at *map, const char *key, struct nj_arena *arena,
                    struct nj_span *ret_text, struct nj_error *err)
{
    struct nj_span text = {0};
    const char *copy;

    if (nj_pack_get_text(map, key, &text, err) < 0)
        return -(int)err->code;
    if (text.len > TEXT_MAX_BYTES)
        return nj_pack_fail(map, err, "%s: %zu bytes, at most %d", key, text.len, TEXT_MAX_BYTES);
    copy = nj_arena_span(arena, text);
    if (!copy)
        return nj_fail_nomem(err);
    *ret_text = (struct nj_span){(const uint8_t *)copy, text.len};
    return 0;
}

static int get_closing(const struct nj_pack_at *root, struct nj_arena *arena,
                       struct nj_snapshot *snapshot, struct nj_error *err)
{
    struct nj_pack_at map;

    if (nj_pack_get_map(root, "closing", &map, err) < 0 ||
        nj_pack_get_uint(&map, "status", NJ_STATUS_SKIPPED, &snapshot->status, err) < 0 ||
        get_text(&map, "kind", arena, &snapshot->error_kind, err) < 0 ||
        get_text(&map, "text", arena, &snapshot->error_text, err) < 0)
        return -(int)err->code;
    return 0;
}

static int get_conversation(const struct nj_pack_at *root, struct nj_snapshot *snapshot,
                            struct nj_error *err)
{
    struct nj_pack_at map;

    if (nj_pack_get_map(root, "conversation", &map, err) < 0 ||
        nj_pack_get_uint(&map, "items", UINT64_MAX, &snapshot->items, err) < 0)
        return -(int)err->code;
    if (snapshot->items == 0)
        return 0;
    return nj_pack_get_digest(&map, "root", &snapshot->conversation, err);
}

static int get_usage(const struct nj_pack_at *root, struct nj_usage *usage, struct nj_error *err)
{
    uint64_t *const fields[] = {&usage->input_tokens, &usage->output_tokens, &usage->cache_read_tokens,
                                &usage->cache_write_5m_tokens, &usage->cache_write_1h_tokens};
    size_t n_fields = sizeof(fields) / sizeof(fields[0]);
    struct nj_pack_at array;
    size_t n = 0;

    if (nj_pack_get_array(root, "usage", &array, &n, err) < 0)
        return -(int)err->code;
    if (n != n_fields)
        return nj_pack_fail(&array, err, "%zu items, not %zu", n, n_fields);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at item;

        if (nj_pack_item(&array, i, &item, err) < 0 ||
            nj_pack_as_uint(&item, UINT64_MAX, fields[i], err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int get_workspace(const struct nj_pack_at *root, struct nj_workspace_ref *workspace,
                         struct nj_error *err)
{
    struct nj_pack_at map;

    if (nj_pack_get_map(root, "workspace", &map, err) < 0 ||
        nj_pack_get_digest(&map, "tree", &workspace->tree, err) < 0 ||
        nj_pack_get_digest(&map, "stamps", &workspace->stamps, err) < 0)
        return -(int)err->code;
    return 0;
}

static int get_unknown(struct nj_span packed, struct nj_arena *arena, struct nj_snapshot *snapshot,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    const char *copy;

    nj_buf_init(&raw, NJ_SNAPSHOT_MAX_BYTES);
    if (nj_pack_unknown(packed, nj_snapshot_keys, NJ_SNAPSHOT_KEYS_COUNT, &raw, &snapshot->n_unknown,
                        err) < 0)
        return -(int)err->code;
    if (raw.len == 0)
        return 0;
    copy = nj_arena_span(arena, nj_buf_span(&raw));
    if (!copy)
        return nj_fail_nomem(err);
    snapshot->unknown = (struct nj_span){(const uint8_t *)copy, raw.len};
    return 0;
}

static int get_counters(const struct nj_pack_at *root, struct nj_snapshot *snapshot, struct nj_error *err)
{
    struct {
        const char *key;
        uint64_t *value;
    } const counters[] = {
        {"attempts_failed", &snapshot->attempts_failed}, {"calls_done", &snapshot->calls_done},
        {"cost_micro_usd", &snapshot->cost_micro_usd},   {"judge_rounds", &snapshot->judge_rounds},
        {"sequence", &snapshot->sequence},               {"state", &snapshot->state},
        {"steps", &snapshot->steps},                     {"tool_time_ms", &snapshot->tool_time_ms},
        {"turn", &snapshot->turn},
    };

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        if (nj_pack_get_uint(root, counters[i].key, UINT64_MAX, counters[i].value, err) < 0)
            return -(int)err->code;
    return nj_pack_get_int(root, "time_ns", &snapshot->time_ns, err);
}

int nj_snapshot_unpack(struct nj_span packed, struct nj_arena *arena, struct nj_snapshot *ret_snapshot,
                       struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_snapshot snapshot = {0};
    struct nj_pack_at root;
    uint64_t version = 0;

    if (packed.len > NJ_SNAPSHOT_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "snapshot: %zu bytes, at most %u", packed.len,
                       NJ_SNAPSHOT_MAX_BYTES);
    if (nj_pack_open(&doc, "snapshot", packed, err) < 0 || nj_pack_root(&doc, &root, err) < 0 ||
        nj_pack_get_uint(&root, "v", UINT64_MAX, &version, err) < 0)
        return -(int)err->code;
    if (version > NJ_SNAPSHOT_VERSION)
        return nj_fail(err, NJ_E_VERSION, "snapshot: format %llu, this build reads up to %d",
                       (unsigned long long)version, NJ_SNAPSHOT_VERSION);
    if (get_counters(&root, &snapshot, err) < 0 ||
        nj_pack_get_digest(&root, "config", &snapshot.config, err) < 0 ||
        get_closing(&root, arena, &snapshot, err) < 0 || get_conversation(&root, &snapshot, err) < 0 ||
        get_usage(&root, &snapshot.usage, err) < 0 ||
        get_workspace(&root, &snapshot.workspace, err) < 0 ||
        get_unknown(packed, arena, &snapshot, err) < 0)
        return -(int)err->code;
    *ret_snapshot = snapshot;
    return 0;
}

int nj_snapshot_decode(struct nj_span frame, struct nj_arena *arena, struct nj_snapshot *ret_snapshot,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};

    nj_buf_init(&packed, NJ_SNAPSHOT_MAX_BYTES);
    if (nj_unsqueeze(&packed, frame, NJ_SNAPSHOT_MAX_BYTES, err) < 0)
        return nj_wrap(err, "snapshot");
    return nj_snapshot_unpack(nj_buf_span(&packed), arena, ret_snapshot, err);
}
