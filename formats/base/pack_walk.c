/*
 * pack_walk.c - judging msgpack bytes before anything is decoded
 *
 * The walk allocates nothing and never recurses: its stack is an array of NJ_PACK_DEPTH_MAX open
 * containers, so hostile nesting costs an error and not the process's stack.
 */
#include "formats/base/pack_walk.h"

#include "formats/base/fsio.h"
#include "formats/base/pack.h"

#include "formats/base/banned.h"

const char *nj_pack_rule_text(enum nj_pack_rule rule)
{
    switch (rule) {
    case NJ_PACK_RULE_KEPT:
        return "canonical";
#define X(name, text)                                                                              \
    case NJ_PACK_RULE_##name:                                                                      \
        return text;
        NJ_PACK_RULES(X)
#undef X
    }
    return "unknown";
}

static uint64_t load_be(const uint8_t *from, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        value = value << 8 | from[i];
    return value;
}

/* A head byte that is followed by a big-endian number: what it heads, and the least value for which
 * no shorter form exists. */
struct wide_head {
    enum nj_pack_kind kind;
    uint8_t width;
    uint32_t least;
};

static const struct wide_head wide_heads[] = {
    [0xc4 - 0xc4] = {NJ_PACK_BIN, 1, 0},         [0xc5 - 0xc4] = {NJ_PACK_BIN, 2, 0x100},
    [0xc6 - 0xc4] = {NJ_PACK_BIN, 4, 0x10000},   [0xcc - 0xc4] = {NJ_PACK_UINT, 1, 0x80},
    [0xcd - 0xc4] = {NJ_PACK_UINT, 2, 0x100},    [0xce - 0xc4] = {NJ_PACK_UINT, 4, 0x10000},
    [0xcf - 0xc4] = {NJ_PACK_UINT, 8, 0}, /* its least value, 2^32, does not fit: checked below */
    [0xd0 - 0xc4] = {NJ_PACK_INT, 1, 0},         [0xd1 - 0xc4] = {NJ_PACK_INT, 2, 0},
    [0xd2 - 0xc4] = {NJ_PACK_INT, 4, 0},         [0xd3 - 0xc4] = {NJ_PACK_INT, 8, 0},
    [0xd9 - 0xc4] = {NJ_PACK_TEXT, 1, 0x20},     [0xda - 0xc4] = {NJ_PACK_TEXT, 2, 0x100},
    [0xdb - 0xc4] = {NJ_PACK_TEXT, 4, 0x10000},  [0xdc - 0xc4] = {NJ_PACK_ARRAY, 2, 0x10},
    [0xdd - 0xc4] = {NJ_PACK_ARRAY, 4, 0x10000}, [0xde - 0xc4] = {NJ_PACK_MAP, 2, 0x10},
    [0xdf - 0xc4] = {NJ_PACK_MAP, 4, 0x10000},
};

/* int_is_shortest - negative, and below what the next narrower form can hold */
static bool int_is_shortest(uint64_t raw, size_t width)
{
    unsigned unused_bits = (unsigned)(64 - 8 * width);
    int64_t value = (int64_t)(raw << unused_bits) >> unused_bits;

    switch (width) {
    case 1:
        return value < -32;
    case 2:
        return value < INT8_MIN;
    case 4:
        return value < INT16_MIN;
    default:
        return value < INT32_MIN;
    }
}

/* wide_read - the number behind head byte @first; its shortest-form rule */
static enum nj_pack_rule wide_read(struct nj_span rest, struct nj_pack_head *head,
                                   uint64_t *ret_number)
{
    uint8_t first = rest.data[0];
    const struct wide_head *wide = &wide_heads[first - 0xc4];
    uint64_t number;

    if (wide->width == 0)
        return NJ_PACK_RULE_TYPE;
    if (rest.len - 1 < wide->width)
        return NJ_PACK_RULE_CUT;
    number = load_be(rest.data + 1, wide->width);
    if (wide->kind == NJ_PACK_INT && !int_is_shortest(number, wide->width))
        return NJ_PACK_RULE_SHORTEST;
    if (number < wide->least || (first == 0xcf && number <= UINT32_MAX))
        return NJ_PACK_RULE_SHORTEST;
    head->kind = wide->kind;
    head->head_bytes = 1 + (size_t)wide->width;
    *ret_number = number;
    return NJ_PACK_RULE_KEPT;
}

enum nj_pack_rule nj_pack_head_read(struct nj_span bytes, size_t at, struct nj_pack_head *ret_head)
{
    struct nj_span rest = {bytes.data + at, bytes.len - at};
    struct nj_pack_head head = {.head_bytes = 1};
    enum nj_pack_rule rule;
    uint64_t number = 0; /* a length or count; of no meaning for other kinds */
    uint8_t first;
    size_t left;

    if (rest.len == 0)
        return NJ_PACK_RULE_CUT;
    first = rest.data[0];
    if (first < 0x80) {
        head.kind = NJ_PACK_UINT;
    } else if (first < 0x90) {
        head.kind = NJ_PACK_MAP;
        number = first & 0x0f;
    } else if (first < 0xa0) {
        head.kind = NJ_PACK_ARRAY;
        number = first & 0x0f;
    } else if (first < 0xc0) {
        head.kind = NJ_PACK_TEXT;
        number = first & 0x1f;
    } else if (first == 0xc0) {
        head.kind = NJ_PACK_NIL;
    } else if (first == 0xc1) {
        return NJ_PACK_RULE_TYPE;
    } else if (first < 0xc4) {
        head.kind = NJ_PACK_BOOL;
    } else if (first < 0xe0) {
        rule = wide_read(rest, &head, &number);
        if (rule != NJ_PACK_RULE_KEPT)
            return rule;
    } else {
        head.kind = NJ_PACK_INT;
    }

    left = rest.len - head.head_bytes;
    if (head.kind == NJ_PACK_TEXT || head.kind == NJ_PACK_BIN) {
        if (number > left)
            return NJ_PACK_RULE_CUT;
        head.payload_bytes = (size_t)number;
    } else if (head.kind == NJ_PACK_ARRAY || head.kind == NJ_PACK_MAP) {
        if (number > (head.kind == NJ_PACK_MAP ? left / 2 : left)) /* each takes a byte at least */
            return NJ_PACK_RULE_CUT;
        head.items = (size_t)number;
    }
    *ret_head = head;
    return NJ_PACK_RULE_KEPT;
}

struct open_container {
    bool is_map;
    bool key_is_next;
    size_t left; /* items, or pairs whose key has not come */
    struct nj_span last_key;
};

static bool key_is_above(struct nj_span key, struct nj_span last)
{
    size_t common = key.len < last.len ? key.len : last.len;
    int order = common > 0 ? memcmp(key.data, last.data, common) : 0;

    return order > 0 || (order == 0 && key.len > last.len);
}

/* take_key - judge the value as the next key of @map */
static enum nj_pack_rule take_key(struct open_container *map, const struct nj_pack_head *head,
                                  struct nj_span text)
{
    if (head->kind != NJ_PACK_TEXT)
        return NJ_PACK_RULE_KEY;
    if (map->last_key.data && !key_is_above(text, map->last_key))
        return NJ_PACK_RULE_ORDER;
    map->last_key = text;
    return NJ_PACK_RULE_KEPT;
}

enum nj_pack_rule nj_pack_rule_first(struct nj_span bytes, size_t *ret_at)
{
    struct open_container stack[NJ_PACK_DEPTH_MAX];
    size_t depth = 0, nodes = 0, at = 0;

    do {
        struct open_container *inner = depth > 0 ? &stack[depth - 1] : NULL;
        struct nj_pack_head head;
        enum nj_pack_rule rule;
        struct nj_span payload;

        *ret_at = at;
        rule = nj_pack_head_read(bytes, at, &head);
        if (rule != NJ_PACK_RULE_KEPT)
            return rule;
        if (++nodes > NJ_PACK_NODES_MAX)
            return NJ_PACK_RULE_NODES;
        payload = (struct nj_span){bytes.data + at + head.head_bytes, head.payload_bytes};
        if (inner && inner->is_map && inner->key_is_next) {
            rule = take_key(inner, &head, payload);
            if (rule != NJ_PACK_RULE_KEPT)
                return rule;
            inner->key_is_next = false;
        } else if (inner) {
            inner->left--;
            inner->key_is_next = true;
        }
        if (head.kind == NJ_PACK_TEXT && !nj_fsio_utf8_valid(payload))
            return NJ_PACK_RULE_UTF8;
        if (head.kind == NJ_PACK_ARRAY || head.kind == NJ_PACK_MAP) {
            if (depth == NJ_PACK_DEPTH_MAX)
                return NJ_PACK_RULE_DEPTH;
            stack[depth++] = (struct open_container){
                .is_map = head.kind == NJ_PACK_MAP, .key_is_next = true, .left = head.items};
        }
        at += head.head_bytes + head.payload_bytes;
        while (depth > 0 && stack[depth - 1].left == 0)
            depth--;
    } while (depth > 0);
    *ret_at = at;
    return NJ_PACK_RULE_KEPT;
}

bool nj_pack_skip(struct nj_span bytes, size_t at, size_t *ret_end)
{
    size_t pending = 1; /* values still to come; bounded by the bytes, for each head is */

    while (pending > 0) {
        struct nj_pack_head head;

        if (nj_pack_head_read(bytes, at, &head) != NJ_PACK_RULE_KEPT)
            return false;
        pending += (head.kind == NJ_PACK_MAP ? 2 * head.items : head.items) - 1;
        at += head.head_bytes + head.payload_bytes;
    }
    *ret_end = at;
    return true;
}

static int fail_rule(enum nj_pack_rule rule, size_t at, struct nj_error *err)
{
    return nj_fail(err, NJ_E_CORRUPT, "msgpack byte %zu: %s", at, nj_pack_rule_text(rule));
}

int nj_pack_walk_one(struct nj_span bytes, size_t *ret_len, struct nj_error *err)
{
    size_t at;
    enum nj_pack_rule rule = nj_pack_rule_first(bytes, &at);

    if (rule != NJ_PACK_RULE_KEPT)
        return fail_rule(rule, at, err);
    *ret_len = at;
    return 0;
}

int nj_pack_walk(struct nj_span bytes, struct nj_error *err)
{
    size_t len = 0;
    int r = nj_pack_walk_one(bytes, &len, err);

    if (r < 0)
        return r;
    if (len != bytes.len)
        return nj_fail(err, NJ_E_CORRUPT, "msgpack byte %zu: %zu bytes behind the value", len,
                       bytes.len - len);
    return 0;
}

/* next_pair - the pair at *at; false when @map ends or is not a map of string keys */
static bool next_pair(struct nj_span map, size_t *at, struct nj_span *ret_key,
                      struct nj_span *ret_value)
{
    struct nj_pack_head head;
    size_t value, end;

    if (nj_pack_head_read(map, *at, &head) != NJ_PACK_RULE_KEPT || head.kind != NJ_PACK_TEXT)
        return false;
    value = *at + head.head_bytes + head.payload_bytes;
    if (!nj_pack_skip(map, value, &end))
        return false;
    *ret_key = (struct nj_span){map.data + *at + head.head_bytes, head.payload_bytes};
    *ret_value = (struct nj_span){map.data + value, end - value};
    *at = end;
    return true;
}

bool nj_pack_raw_at(struct nj_span map, const char *key, struct nj_span *ret_value)
{
    struct nj_span wanted = nj_span_text(key), there, value;
    struct nj_pack_head head;
    size_t at;

    if (nj_pack_head_read(map, 0, &head) != NJ_PACK_RULE_KEPT || head.kind != NJ_PACK_MAP)
        return false;
    at = head.head_bytes;
    for (size_t i = 0; i < head.items; i++) {
        if (!next_pair(map, &at, &there, &value))
            return false;
        if (nj_span_equal(there, wanted)) {
            *ret_value = value;
            return true;
        }
        if (key_is_above(there, wanted))
            return false;
    }
    return false;
}

static bool is_known(struct nj_span key, const char *const *known, size_t n_known)
{
    for (size_t i = 0; i < n_known; i++) {
        if (nj_span_is(key, known[i]))
            return true;
    }
    return false;
}

int nj_pack_unknown(struct nj_span map, const char *const *known, size_t n_known,
                    struct nj_buf *ret_raw, size_t *ret_pairs, struct nj_error *err)
{
    size_t start = ret_raw->len, pairs = 0, at;
    struct nj_pack_head head;

    if (nj_pack_head_read(map, 0, &head) != NJ_PACK_RULE_KEPT || head.kind != NJ_PACK_MAP)
        return nj_fail(err, NJ_E_CORRUPT, "not a msgpack map");
    at = head.head_bytes;
    for (size_t i = 0; i < head.items; i++) {
        size_t pair = at;
        struct nj_span key, value;
        int r = 0;

        if (!next_pair(map, &at, &key, &value))
            r = nj_fail(err, NJ_E_CORRUPT, "msgpack byte %zu: no pair of a key and a value", pair);
        else if (!is_known(key, known, n_known)) {
            r = nj_buf_append(ret_raw, map.data + pair, at - pair, err);
            pairs++;
        }
        if (r < 0) {
            ret_raw->len = start;
            return r;
        }
    }
    *ret_pairs = pairs;
    return 0;
}
