/*
 * test_snapshot.c - where a session stood, packed and encoded, and every rule broken once
 */
#include "formats/base/squeeze.h"
#include "formats/snapshot/snapshot.h"
#include "tests/lib/golden.h"

#include "formats/base/banned.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

/* In the middle of a turn. */
static const struct nj_snapshot acting = {
    .sequence = 9,
    .state = 2,
    .turn = 2,
    .steps = 5,
    .calls_done = 1,
    .judge_rounds = 3,
    .attempts_failed = 4,
    .items = 70000,
    .conversation = {{0xc0}},
    .workspace = {{{0xaa}}, {{0xbb}}},
    .usage = {1200, 340, 56000, 7, UINT64_MAX},
    .cost_micro_usd = 4650,
    .tool_time_ms = 61000,
    .time_ns = 1790000000123456789,
    .clock_ns = 1790000000200000000,
    .seed = {0x5e, 0xed},
    .config = {{0xcf}},
};

/* At the end, with an error whose text was cut inside a character. */
static const struct nj_snapshot failing = {
    .sequence = UINT64_MAX,
    .state = 255,
    .time_ns = INT64_MIN,
    .status = 2,
    .error_kind = TEXT("upstream"),
    .error_text = TEXT("the model answered: caf\xc3"),
};

static void pack(const struct nj_snapshot *snapshot, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, 2 * (size_t)NJ_SNAPSHOT_MAX_BYTES);
    if (nj_snapshot_pack(snapshot, out, &err) < 0)
        fail_msg("%s", err.text);
}

static void assert_equal(const struct nj_snapshot *a, const struct nj_snapshot *b)
{
    assert_true(a->sequence == b->sequence);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->turn, b->turn);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->calls_done, b->calls_done);
    assert_int_equal(a->judge_rounds, b->judge_rounds);
    assert_int_equal(a->attempts_failed, b->attempts_failed);
    assert_int_equal(a->items, b->items);
    assert_memory_equal(&a->conversation, &b->conversation, sizeof(a->conversation));
    assert_memory_equal(&a->workspace, &b->workspace, sizeof(a->workspace));
    assert_memory_equal(&a->usage, &b->usage, sizeof(a->usage));
    assert_int_equal(a->cost_micro_usd, b->cost_micro_usd);
    assert_int_equal(a->tool_time_ms, b->tool_time_ms);
    assert_true(a->time_ns == b->time_ns);
    assert_true(a->clock_ns == b->clock_ns);
    assert_memory_equal(a->seed, b->seed, sizeof(a->seed));
    assert_memory_equal(&a->config, &b->config, sizeof(a->config));
    assert_int_equal(a->status, b->status);
    assert_true(nj_span_equal(a->error_kind, b->error_kind));
    assert_true(nj_span_equal(a->error_text, b->error_text));
    assert_true(nj_span_equal(a->unknown, b->unknown));
    assert_int_equal(a->n_unknown, b->n_unknown);
}

static void check_both_ways(const struct nj_snapshot *snapshot, const char *golden)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    struct nj_snapshot found;
    struct nj_error err = {0};

    pack(snapshot, &packed);
    golden_check(golden, nj_buf_span(&packed));
    if (nj_snapshot_unpack(nj_buf_span(&packed), &arena, &found, &err) < 0)
        fail_msg("%s", err.text);
    nj_buf_done(&packed); /* what was read does not depend on it: a sanitizer would see */
    assert_equal(&found, snapshot);

    nj_buf_init(&frame, 4096);
    assert_int_equal(nj_snapshot_encode(snapshot, &frame, &err), 0);
    if (nj_snapshot_decode(nj_buf_span(&frame), &arena, &found, &err) < 0)
        fail_msg("%s", err.text);
    assert_equal(&found, snapshot);
}

static void a_snapshot_reads_back_as_it_was_written(void **state)
{
    (void)state;
    check_both_ways(&acting, "snapshot/v0/acting.snapshot");
    check_both_ways(&failing, "snapshot/v0/failing.snapshot");
    check_both_ways(&(struct nj_snapshot){0}, "snapshot/v0/zero.snapshot");
}

static void the_document_shows_the_real_bytes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf hex = {0};

    (void)state;
    pack(&acting, &packed);
    hex_lines(nj_buf_span(&packed), &hex);
    document_shows("formats/snapshot/FORMAT.md", (const char *)hex.data);
}

static void the_size_does_not_grow_with_the_session(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    struct nj_snapshot late = acting;

    (void)state;
    late.turn = late.steps = late.sequence = UINT64_MAX;
    late.items = NJ_LIST_ITEMS_MAX;
    pack(&late, &packed);
    assert_true(packed.len < 500);
}

static void appending_keeps_what_was_there(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_snapshot wrong = failing;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 4096);
    assert_int_equal(nj_buf_text(&buf, "before", &err), 0);
    assert_int_equal(nj_snapshot_pack(&acting, &buf, &err), 0);
    assert_memory_equal(buf.data, "before", 6);
    assert_int_equal(buf.data[6], 0xde); /* a map of more than 15 pairs */
    buf.len = 6;
    wrong.error_kind = (struct nj_span)TEXT("\xff");
    assert_int_equal(nj_snapshot_pack(&wrong, &buf, &err), -NJ_E_INPUT);
    assert_int_equal(buf.len, 6);
}

static void long_texts_are_a_limit(void **state)
{
    static char text[NJ_SNAPSHOT_TEXT_MAX_BYTES + 1];
    struct nj_snapshot snapshot = failing;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    (void)state;
    memset(text, 'x', sizeof(text));
    nj_buf_init(&buf, 1u << 20);
    snapshot.error_text = (struct nj_span){(uint8_t *)text, sizeof(text)};
    assert_int_equal(nj_snapshot_pack(&snapshot, &buf, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "at most 64 of kind and 4096 of text"));
    snapshot.error_text.len--;
    assert_int_equal(nj_snapshot_pack(&snapshot, &buf, &err), 0);
    snapshot.error_kind = (struct nj_span){(uint8_t *)text, NJ_SNAPSHOT_KIND_MAX_BYTES + 1};
    assert_int_equal(nj_snapshot_pack(&snapshot, &buf, &err), -NJ_E_LIMIT);
}

/* ---- damage: packed by hand, so that each rule can be broken alone ---- */

/* A whole snapshot as pairs of key and packed value; cases replace, drop or add some. */
struct field {
    const char *key;
    const char *value;
    size_t len;
};

#define D                                                                                          \
    "\xc4\x20"                                                                                     \
    "0123456789abcdef0123456789abcdef"
#define FIELD(key, value)                                                                          \
    {                                                                                              \
        key, value, sizeof(value) - 1                                                              \
    }

static const struct field fields[] = {
    FIELD("at", "\x05"),
    FIELD("calls", "\x00"),
    FIELD("config", D),
    FIELD("cost", "\x00"),
    FIELD("end", "\x02"),
    FIELD("end_kind", "\xa1k"),
    FIELD("end_text", "\xc4\x01t"),
    FIELD("failed", "\x00"),
    FIELD("judged", "\x00"),
    FIELD("list", D),
    FIELD("messages", "\x01"),
    FIELD("seq", "\x07"),
    FIELD("stamps", D),
    FIELD("state", "\x01"),
    FIELD("steps", "\x01"),
    FIELD("tool_ms", "\x00"),
    FIELD("tree", D),
    FIELD("turn", "\x01"),
    FIELD("use_in", "\x00"),
    FIELD("use_out", "\x00"),
    FIELD("use_read", "\x00"),
    FIELD("use_w1h", "\x00"),
    FIELD("use_w5m", "\x00"),
    FIELD("v", "\x00"),
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* Packs the fields with @change in the place of its key (added at its place when there is none;
 * dropped when its value is NULL). */
static void pack_changed(const struct field *change, struct nj_buf *out)
{
    struct nj_packer packer;
    struct nj_error err = {0};
    size_t pairs = N_FIELDS;
    bool is_known = false;

    for (size_t i = 0; i < N_FIELDS; i++)
        is_known |= strcmp(fields[i].key, change->key) == 0;
    pairs += !is_known;
    pairs -= is_known && !change->value;
    nj_buf_init(out, 4096);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, pairs);
    for (size_t i = 0; i <= N_FIELDS; i++) {
        const struct field *field = i < N_FIELDS ? &fields[i] : NULL;
        bool here = field && strcmp(field->key, change->key) == 0;
        bool before = !is_known && (!field || strcmp(change->key, field->key) < 0) &&
                      (i == 0 || strcmp(change->key, fields[i - 1].key) > 0);

        if (before || (here && change->value)) {
            nj_pack_text(&packer, change->key);
            nj_pack_raw(&packer, (struct nj_span){(const uint8_t *)change->value, change->len});
        }
        if (field && !here) {
            nj_pack_text(&packer, field->key);
            nj_pack_raw(&packer, (struct nj_span){(const uint8_t *)field->value, field->len});
        }
    }
    assert_int_equal(nj_packer_end(&packer, &err), 0);
}

static const char long_kind[] =
    "\xd9\x41xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static void damaged_snapshots_are_refused_by_name(void **state)
{
    static const struct {
        const char *name;
        struct field change;
        enum nj_error_code code;
        const char *words;
    } cases[] = {
        {"format-9", FIELD("v", "\x09"), NJ_E_VERSION,
         "snapshot: format 9, this build reads up to 0"},
        {"newer-key", FIELD("Stores", "\x80"), NJ_E_VERSION,
         "snapshot: key \"Stores\" needs a newer build"},
        {"version-missing", {"v", NULL, 0}, NJ_E_CORRUPT, "snapshot.v: missing"},
        {"version-is-text",
         FIELD("v", "\xa1"
                    "0"),
         NJ_E_CORRUPT, "snapshot.v"},
        {"at-is-nil", FIELD("at", "\xc0"), NJ_E_CORRUPT, "snapshot.at"},
        {"calls-negative", FIELD("calls", "\xff"), NJ_E_CORRUPT, "snapshot.calls"},
        {"clock-without-seed", FIELD("clock", "\x01"), NJ_E_CORRUPT, "belong together"},
        {"config-missing", {"config", NULL, 0}, NJ_E_CORRUPT, "snapshot.config: missing"},
        {"config-short", FIELD("config", "\xc4\x01x"), NJ_E_CORRUPT, "snapshot.config"},
        {"cost-missing", {"cost", NULL, 0}, NJ_E_CORRUPT, "snapshot.cost: missing"},
        {"end-0", FIELD("end", "\x00"), NJ_E_CORRUPT, "end: 0 is no way to end"},
        {"end-256", FIELD("end", "\xcd\x01\x00"), NJ_E_CORRUPT, "snapshot.end"},
        {"end-missing", {"end", NULL, 0}, NJ_E_CORRUPT, "belong together"},
        {"end-kind-missing", {"end_kind", NULL, 0}, NJ_E_CORRUPT, "belong together"},
        {"end-kind-is-bytes", FIELD("end_kind", "\xc4\x01k"), NJ_E_CORRUPT, "snapshot.end_kind"},
        {"end-kind-long", FIELD("end_kind", long_kind), NJ_E_CORRUPT, "end_kind: 65 bytes"},
        {"end-text-missing", {"end_text", NULL, 0}, NJ_E_CORRUPT, "belong together"},
        {"end-text-is-text", FIELD("end_text", "\xa1t"), NJ_E_CORRUPT, "snapshot.end_text"},
        {"failed-missing", {"failed", NULL, 0}, NJ_E_CORRUPT, "snapshot.failed: missing"},
        {"judged-missing", {"judged", NULL, 0}, NJ_E_CORRUPT, "snapshot.judged: missing"},
        {"list-missing", {"list", NULL, 0}, NJ_E_CORRUPT, "1 messages, but no list"},
        {"list-is-nil", FIELD("list", "\xc0"), NJ_E_CORRUPT, "snapshot.list"},
        {"messages-none", FIELD("messages", "\x00"), NJ_E_CORRUPT, "0 messages, but a list"},
        {"messages-above-limit", FIELD("messages", "\xce\x00\x10\x00\x01"), NJ_E_CORRUPT,
         "snapshot.messages"},
        {"seed-without-clock", FIELD("seed", "\xc4\x01x"), NJ_E_CORRUPT, "belong together"},
        {"seq-missing", {"seq", NULL, 0}, NJ_E_CORRUPT, "snapshot.seq: missing"},
        {"stamps-missing", {"stamps", NULL, 0}, NJ_E_CORRUPT, "snapshot.stamps: missing"},
        {"state-256", FIELD("state", "\xcd\x01\x00"), NJ_E_CORRUPT, "snapshot.state"},
        {"steps-missing", {"steps", NULL, 0}, NJ_E_CORRUPT, "snapshot.steps: missing"},
        {"tool-ms-missing", {"tool_ms", NULL, 0}, NJ_E_CORRUPT, "snapshot.tool_ms: missing"},
        {"tree-missing", {"tree", NULL, 0}, NJ_E_CORRUPT, "snapshot.tree: missing"},
        {"turn-is-a-map", FIELD("turn", "\x80"), NJ_E_CORRUPT, "snapshot.turn"},
        {"use-in-missing", {"use_in", NULL, 0}, NJ_E_CORRUPT, "snapshot.use_in: missing"},
        {"use-out-missing", {"use_out", NULL, 0}, NJ_E_CORRUPT, "snapshot.use_out: missing"},
        {"use-read-missing", {"use_read", NULL, 0}, NJ_E_CORRUPT, "snapshot.use_read: missing"},
        {"use-w1h-missing", {"use_w1h", NULL, 0}, NJ_E_CORRUPT, "snapshot.use_w1h: missing"},
        {"use-w5m-missing", {"use_w5m", NULL, 0}, NJ_E_CORRUPT, "snapshot.use_w5m: missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
        struct nj_snapshot found = {.sequence = 77};
        struct nj_error err = {0};
        char file[128];
        int r;

        pack_changed(&cases[i].change, &packed);
        (void)snprintf(file, sizeof(file), "snapshot/damaged/%s", cases[i].name);
        golden_check(file, nj_buf_span(&packed));
        r = nj_snapshot_unpack(nj_buf_span(&packed), &arena, &found, &err);
        if (r != -(int)cases[i].code || !strstr(err.text, cases[i].words))
            fail_msg("%s: %d %s", cases[i].name, r, err.text);
        assert_int_equal(found.sequence, 77); /* outputs are untouched on failure */
    }
}

static void a_newer_format_is_called_newer_whatever_else_it_holds(void **state)
{
    static const char bytes[] = "\x82\xa4list\xc3\xa1v\xcd\x01\x00";
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_snapshot found;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_snapshot_unpack((struct nj_span){(const uint8_t *)bytes, sizeof(bytes) - 1},
                                        &arena, &found, &err),
                     -NJ_E_VERSION);
    assert_string_equal(err.text, "snapshot: format 256, this build reads up to 0");
}

static void keys_from_later_survive_a_rewrite(void **state)
{
    static const struct field later[] = {
        FIELD("aardvark", "\x92\x01\xc4\x02\x00\x01"), /* before all known keys */
        FIELD("statement", "\x81\xa1"
                           "a\xc0"), /* between "state" and "steps" */
        FIELD("zebra", "\xa3"
                       "end"), /* behind all */
        FIELD("a_key_whose_name_is_longer_than_thirty-one_bytes", "\xc2"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf again = {0};
        struct nj_snapshot found;
        struct nj_error err = {0};

        pack_changed(&later[i], &packed);
        if (nj_snapshot_unpack(nj_buf_span(&packed), &arena, &found, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(found.n_unknown, 1);
        pack(&found, &again);
        assert_true(nj_span_equal(nj_buf_span(&again), nj_buf_span(&packed)));
    }
}

static void a_key_name_of_any_length_survives(void **state)
{
    static const size_t lengths[] = {1, 31, 32, 255, 256, 65535, 65536};
    nj_auto_free char *name = malloc(65537);

    (void)state;
    assert_non_null(name);
    memset(name, 'n', 65536);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
        struct nj_snapshot snapshot = acting;
        struct nj_snapshot found;
        struct nj_packer packer;
        struct nj_error err = {0};

        nj_buf_init(&raw, 1u << 20);
        nj_packer_init(&packer, &raw);
        nj_pack_span(&packer, (struct nj_span){(uint8_t *)name, lengths[i]});
        nj_pack_nil(&packer);
        snapshot.unknown = nj_buf_span(&raw);
        snapshot.n_unknown = 1;
        pack(&snapshot, &packed);
        if (nj_snapshot_unpack(nj_buf_span(&packed), &arena, &found, &err) < 0)
            fail_msg("%s", err.text);
        assert_equal(&found, &snapshot);
    }
}

static void more_than_the_cap_is_refused(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    nj_auto_free uint8_t *zeros = calloc(1, NJ_SNAPSHOT_MAX_BYTES);
    struct nj_snapshot snapshot = acting;
    struct nj_snapshot found;
    struct nj_packer packer;
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&raw, 2u << 20);
    nj_packer_init(&packer, &raw);
    nj_pack_put_bin(&packer, "zeros", (struct nj_span){zeros, NJ_SNAPSHOT_MAX_BYTES});
    snapshot.unknown = nj_buf_span(&raw);
    snapshot.n_unknown = 1;
    nj_buf_init(&packed, 4u << 20);
    assert_int_equal(nj_snapshot_pack(&snapshot, &packed, &err), -NJ_E_LIMIT);
    assert_non_null(strstr(err.text, "at most 1048576"));
    assert_int_equal(packed.len, 0);

    nj_buf_init(&frame, 1u << 20); /* a small frame that unfolds */
    assert_int_equal(nj_squeeze(&frame, nj_buf_span(&raw), NJ_SQUEEZE_LEVEL, &err), 0);
    assert_true(frame.len < 1000);
    assert_int_equal(nj_snapshot_decode(nj_buf_span(&frame), &arena, &found, &err), -NJ_E_LIMIT);
    assert_int_equal(nj_snapshot_unpack(nj_buf_span(&raw), &arena, &found, &err), -NJ_E_CORRUPT);
    assert_null(arena.blocks);
}

static void every_cut_is_refused(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    struct nj_snapshot found;
    struct nj_error err = {0};

    (void)state;
    pack(&failing, &packed);
    nj_buf_init(&frame, 4096);
    assert_int_equal(nj_snapshot_encode(&failing, &frame, &err), 0);
    for (size_t len = 0; len < packed.len; len++)
        assert_int_equal(
            nj_snapshot_unpack((struct nj_span){packed.data, len}, &arena, &found, &err),
            -NJ_E_CORRUPT);
    for (size_t len = 0; len < frame.len; len++)
        assert_int_equal(
            nj_snapshot_decode((struct nj_span){frame.data, len}, &arena, &found, &err),
            -NJ_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_reads_back_as_it_was_written),
        cmocka_unit_test(the_document_shows_the_real_bytes),
        cmocka_unit_test(the_size_does_not_grow_with_the_session),
        cmocka_unit_test(appending_keeps_what_was_there),
        cmocka_unit_test(long_texts_are_a_limit),
        cmocka_unit_test(damaged_snapshots_are_refused_by_name),
        cmocka_unit_test(a_newer_format_is_called_newer_whatever_else_it_holds),
        cmocka_unit_test(keys_from_later_survive_a_rewrite),
        cmocka_unit_test(a_key_name_of_any_length_survives),
        cmocka_unit_test(more_than_the_cap_is_refused),
        cmocka_unit_test(every_cut_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
