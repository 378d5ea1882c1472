/*
 * pack.c - writing canonical msgpack, and reading decoded documents by path
 *
 * msgpack-c writes every number in its shortest form; order, depth and text are ours to prove,
 * which nj_packer_end() does with the same walk that guards reading.
 */
#include "formats/base/pack.h"

#include <inttypes.h>
#include <stdio.h>

#include "formats/base/fsio.h"
#include "formats/base/pack_walk.h"

#include "formats/base/banned.h"

/* ---- writing ---- */

#define SHORT_TEXT_MAX_BYTES 31u /* its length is in its first byte */

static int append(void *object, const char *data, size_t len)
{
    struct nj_packer *packer = object;

    if (packer->err.code != 0)
        return -1;
    return nj_buf_append(packer->buf, data, len, &packer->err) < 0 ? -1 : 0;
}

static msgpack_packer writer(struct nj_packer *packer)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, packer, append);
    return pk;
}

void nj_packer_init(struct nj_packer *packer, struct nj_buf *buf)
{
    *packer = (struct nj_packer){.buf = buf, .start = buf->len};
}

void nj_pack_map(struct nj_packer *packer, size_t pairs)
{
    msgpack_packer pk = writer(packer);

    (void)msgpack_pack_map(&pk, pairs); /* failures stick in the packer; here and below */
}

void nj_pack_array(struct nj_packer *packer, size_t items)
{
    msgpack_packer pk = writer(packer);

    (void)msgpack_pack_array(&pk, items);
}

void nj_pack_text(struct nj_packer *packer, const char *text)
{
    nj_pack_span(packer, nj_span_text(text));
}

void nj_pack_span(struct nj_packer *packer, struct nj_span text)
{
    msgpack_packer pk = writer(packer);

    if (packer->err.code != 0)
        return;
    if (text.len > UINT32_MAX) {
        (void)nj_fail(&packer->err, NJ_E_LIMIT, "a string of %zu bytes", text.len);
        return;
    }
    if (!nj_fsio_utf8_valid(text)) {
        (void)nj_fail(&packer->err, NJ_E_INPUT, "a string is not UTF-8");
        return;
    }
    (void)msgpack_pack_str(&pk, text.len);
    (void)append(packer, (const char *)text.data, text.len);
}

void nj_pack_bin(struct nj_packer *packer, struct nj_span bytes)
{
    msgpack_packer pk = writer(packer);

    if (packer->err.code != 0)
        return;
    if (bytes.len > UINT32_MAX) {
        (void)nj_fail(&packer->err, NJ_E_LIMIT, "a bin of %zu bytes", bytes.len);
        return;
    }
    (void)msgpack_pack_bin(&pk, bytes.len);
    (void)append(packer, (const char *)bytes.data, bytes.len);
}

void nj_pack_digest(struct nj_packer *packer, const struct nj_digest *digest)
{
    nj_pack_bin(packer, (struct nj_span){digest->bytes, NJ_DIGEST_BYTES});
}

void nj_pack_uint(struct nj_packer *packer, uint64_t value)
{
    msgpack_packer pk = writer(packer);

    (void)msgpack_pack_uint64(&pk, value);
}

void nj_pack_int(struct nj_packer *packer, int64_t value)
{
    msgpack_packer pk = writer(packer);

    (void)msgpack_pack_int64(&pk, value);
}

void nj_pack_bool(struct nj_packer *packer, bool value)
{
    msgpack_packer pk = writer(packer);

    if (value)
        (void)msgpack_pack_true(&pk);
    else
        (void)msgpack_pack_false(&pk);
}

void nj_pack_nil(struct nj_packer *packer)
{
    msgpack_packer pk = writer(packer);

    (void)msgpack_pack_nil(&pk);
}

void nj_pack_raw(struct nj_packer *packer, struct nj_span canonical)
{
    (void)append(packer, (const char *)canonical.data, canonical.len);
}

/* A key is a word of the format: short, and in one piece. That it is UTF-8 and in its place
 * nj_packer_end() proves, as of everything. */
static void pack_key(struct nj_packer *packer, const char *key)
{
    char head[1 + SHORT_TEXT_MAX_BYTES];
    size_t len = strlen(key);

    if (len > SHORT_TEXT_MAX_BYTES) {
        nj_pack_text(packer, key);
        return;
    }
    head[0] = (char)(0xa0 | len);
    memcpy(head + 1, key, len);
    (void)append(packer, head, 1 + len);
}

void nj_pack_put_text(struct nj_packer *packer, const char *key, const char *text)
{
    pack_key(packer, key);
    nj_pack_text(packer, text);
}

void nj_pack_put_span(struct nj_packer *packer, const char *key, struct nj_span text)
{
    pack_key(packer, key);
    nj_pack_span(packer, text);
}

void nj_pack_put_bin(struct nj_packer *packer, const char *key, struct nj_span bytes)
{
    pack_key(packer, key);
    nj_pack_bin(packer, bytes);
}

void nj_pack_put_digest(struct nj_packer *packer, const char *key, const struct nj_digest *digest)
{
    pack_key(packer, key);
    nj_pack_digest(packer, digest);
}

void nj_pack_put_uint(struct nj_packer *packer, const char *key, uint64_t value)
{
    pack_key(packer, key);
    nj_pack_uint(packer, value);
}

void nj_pack_put_int(struct nj_packer *packer, const char *key, int64_t value)
{
    pack_key(packer, key);
    nj_pack_int(packer, value);
}

void nj_pack_put_bool(struct nj_packer *packer, const char *key, bool value)
{
    pack_key(packer, key);
    nj_pack_bool(packer, value);
}

/* abort_on_mistake - an assert that shows the place; the offset alone rarely tells which key */
static void abort_on_mistake(struct nj_span written, enum nj_pack_rule rule, size_t at)
{
    size_t near = at > 16 ? at - 16 : 0;

    fprintf(stderr, "nj_packer_end: byte %zu of %zu: %s; near \"", at, written.len,
            rule == NJ_PACK_RULE_KEPT ? "the document ends here, bytes follow"
                                      : nj_pack_rule_text(rule));
    for (; near < written.len && near < at + 32; near++)
        fputc(written.data[near] >= 0x20 && written.data[near] < 0x7f ? written.data[near] : '.',
              stderr);
    fputs("\"\n", stderr);
    abort();
}

int nj_packer_end(struct nj_packer *packer, struct nj_error *err)
{
    struct nj_buf *buf = packer->buf;
    struct nj_span written = {NULL, 0};
    size_t end;

    if (packer->err.code == 0) {
        enum nj_pack_rule rule;

        if (buf->len > packer->start)
            written = (struct nj_span){buf->data + packer->start, buf->len - packer->start};
        rule = nj_pack_rule_first(written, &end);
        if (rule == NJ_PACK_RULE_KEPT && end == written.len)
            return 0;
        /* Depth and number of values follow from input; all else is a mistake of the caller. */
        if (rule != NJ_PACK_RULE_DEPTH && rule != NJ_PACK_RULE_NODES)
            abort_on_mistake(written, rule, end);
        (void)nj_fail(&packer->err, NJ_E_LIMIT, "msgpack: %s", nj_pack_rule_text(rule));
    }
    buf->len = packer->start;
    if (buf->data)
        buf->data[buf->len] = '\0';
    *err = packer->err;
    return -(int)err->code;
}

/* ---- reading ---- */

#define ZONE_CHUNK_MIN_BYTES ((size_t)512)
#define ZONE_CHUNK_MAX_BYTES ((size_t)MSGPACK_ZONE_CHUNK_SIZE)
#define PATH_TEXT_MAX_BYTES 256

int nj_pack_open(struct nj_pack_doc *doc, const char *name, struct nj_span bytes,
                 struct nj_error *err)
{
    size_t chunk, at = 0;
    int r;

    r = nj_pack_walk(bytes, err);
    if (r < 0)
        return *name ? nj_wrap(err, "%s", name) : r;

    /* A decoded value takes about ten times its bytes; most documents then need one chunk. */
    chunk = bytes.len < ZONE_CHUNK_MAX_BYTES / 10 ? bytes.len * 10 : ZONE_CHUNK_MAX_BYTES;
    if (chunk < ZONE_CHUNK_MIN_BYTES)
        chunk = ZONE_CHUNK_MIN_BYTES;
    if (!msgpack_zone_init(&doc->zone, chunk))
        return nj_fail_nomem(err);
    doc->zone_ready = true;
    doc->name = name;
    doc->bytes = bytes;
    switch (msgpack_unpack((const char *)bytes.data, bytes.len, &at, &doc->zone, &doc->root)) {
    case MSGPACK_UNPACK_SUCCESS:
        return 0;
    case MSGPACK_UNPACK_NOMEM_ERROR:
        nj_pack_done(doc);
        return nj_fail_nomem(err);
    case MSGPACK_UNPACK_EXTRA_BYTES:
    case MSGPACK_UNPACK_CONTINUE:
    case MSGPACK_UNPACK_PARSE_ERROR:
        break;
    }
    nj_pack_done(doc);
    return nj_fail(err, NJ_E_CORRUPT, "%s: msgpack-c stopped at byte %zu", name, at);
}

void nj_pack_done(struct nj_pack_doc *doc)
{
    if (!doc)
        return;
    if (doc->zone_ready)
        msgpack_zone_destroy(&doc->zone);
    *doc = (struct nj_pack_doc){0};
}

/* path_text - "name.calls[2].timeout_ms" of @at; cut at the end when it does not fit */
static void path_text(const struct nj_pack_at *at, char text[PATH_TEXT_MAX_BYTES])
{
    const struct nj_pack_at *places[NJ_PACK_DEPTH_MAX + 2];
    size_t n = 0, len = 0;
    const char *name = at->doc->name;

    for (const struct nj_pack_at *place = at; place->up; place = place->up) {
        if (n == sizeof(places) / sizeof(places[0]))
            break;
        places[n++] = place;
    }
    text[0] = '\0';
    if (*name || n == 0)
        len = (size_t)snprintf(text, PATH_TEXT_MAX_BYTES, "%s", *name ? name : "document");
    while (n > 0 && len < PATH_TEXT_MAX_BYTES) {
        const struct nj_pack_at *place = places[--n];
        char *rest = text + len;
        size_t room = PATH_TEXT_MAX_BYTES - len;

        if (place->key)
            len += (size_t)snprintf(rest, room, "%s%s", len ? "." : "", place->key);
        else
            len += (size_t)snprintf(rest, room, "[%zu]", place->index);
    }
}

int nj_pack_fail(const struct nj_pack_at *at, struct nj_error *err, const char *fmt, ...)
{
    char path[PATH_TEXT_MAX_BYTES], text[NJ_ERROR_TEXT_MAX_BYTES];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    path_text(at, path);
    (void)nj_fail(err, NJ_E_CORRUPT, "%s", text);
    return nj_wrap(err, "%s", path);
}

static const char *type_text(const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return "nil";
    case MSGPACK_OBJECT_BOOLEAN:
        return "a boolean";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return "an integer";
    case MSGPACK_OBJECT_STR:
        return "a string";
    case MSGPACK_OBJECT_BIN:
        return "a bin";
    case MSGPACK_OBJECT_ARRAY:
        return "an array";
    case MSGPACK_OBJECT_MAP:
        return "a map";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
    case MSGPACK_OBJECT_EXT:
        break; /* the walk refused them */
    }
    return "of an unknown type";
}

static int fail_type(const struct nj_pack_at *at, const char *wanted, struct nj_error *err)
{
    return nj_pack_fail(at, err, "not %s but %s", wanted, type_text(at->object));
}

int nj_pack_root(const struct nj_pack_doc *doc, struct nj_pack_at *ret_map, struct nj_error *err)
{
    struct nj_pack_at root = {.doc = doc, .object = &doc->root};
    int r = nj_pack_as_map(&root, err);

    if (r == 0)
        *ret_map = root;
    return r;
}

/* find - the value under @key, NULL when absent; keys are sorted, the walk has seen to it */
static const msgpack_object *find(const struct nj_pack_at *map, const char *key)
{
    const msgpack_object_kv *pairs;
    size_t low = 0, high, key_len = strlen(key);

    if (map->object->type != MSGPACK_OBJECT_MAP)
        return NULL;
    pairs = map->object->via.map.ptr;
    high = map->object->via.map.size;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const msgpack_object_str *there = &pairs[middle].key.via.str;
        size_t common = there->size < key_len ? there->size : key_len;
        int order = common > 0 ? memcmp(there->ptr, key, common) : 0;

        if (order == 0)
            order = there->size < key_len ? -1 : there->size > key_len;
        if (order == 0)
            return &pairs[middle].val;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool nj_pack_has(const struct nj_pack_at *map, const char *key)
{
    return find(map, key) != NULL;
}

bool nj_pack_is_nil(const struct nj_pack_at *map, const char *key)
{
    const msgpack_object *value = find(map, key);

    return !value || value->type == MSGPACK_OBJECT_NIL;
}

int nj_pack_get(const struct nj_pack_at *map, const char *key, struct nj_pack_at *ret_value,
                struct nj_error *err)
{
    struct nj_pack_at value = {.up = map, .doc = map->doc, .key = key};
    int r = nj_pack_as_map(map, err);

    if (r < 0)
        return r;
    value.object = find(map, key);
    if (!value.object)
        return nj_pack_fail(&value, err, "missing");
    *ret_value = value;
    return 0;
}

int nj_pack_get_map(const struct nj_pack_at *map, const char *key, struct nj_pack_at *ret_map,
                    struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    if (r == 0)
        r = nj_pack_as_map(&value, err);
    if (r == 0)
        *ret_map = value;
    return r;
}

int nj_pack_get_array(const struct nj_pack_at *map, const char *key, struct nj_pack_at *ret_array,
                      size_t *ret_items, struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    if (r == 0)
        r = nj_pack_as_array(&value, ret_items, err);
    if (r == 0)
        *ret_array = value;
    return r;
}

int nj_pack_item(const struct nj_pack_at *array, size_t index, struct nj_pack_at *ret_item,
                 struct nj_error *err)
{
    size_t items = 0;
    int r = nj_pack_as_array(array, &items, err);

    if (r < 0)
        return r;
    if (index >= items)
        return nj_pack_fail(array, err, "item %zu of %zu", index, items);
    *ret_item = (struct nj_pack_at){.up = array,
                                    .doc = array->doc,
                                    .index = index,
                                    .object = &array->object->via.array.ptr[index]};
    return 0;
}

int nj_pack_as_uint(const struct nj_pack_at *at, uint64_t max, uint64_t *ret, struct nj_error *err)
{
    if (at->object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return nj_pack_fail(at, err, "%" PRId64 " is negative", at->object->via.i64);
    if (at->object->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return fail_type(at, "an integer", err);
    if (at->object->via.u64 > max)
        return nj_pack_fail(at, err, "%" PRIu64 " is above %" PRIu64, at->object->via.u64, max);
    *ret = at->object->via.u64;
    return 0;
}

int nj_pack_as_int(const struct nj_pack_at *at, int64_t *ret, struct nj_error *err)
{
    if (at->object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        *ret = at->object->via.i64;
        return 0;
    }
    if (at->object->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return fail_type(at, "an integer", err);
    if (at->object->via.u64 > INT64_MAX)
        return nj_pack_fail(at, err, "%" PRIu64 " is above %" PRId64, at->object->via.u64,
                            INT64_MAX);
    *ret = (int64_t)at->object->via.u64;
    return 0;
}

static int as_bool(const struct nj_pack_at *at, bool *ret, struct nj_error *err)
{
    if (at->object->type != MSGPACK_OBJECT_BOOLEAN)
        return fail_type(at, "a boolean", err);
    *ret = at->object->via.boolean;
    return 0;
}

int nj_pack_as_text(const struct nj_pack_at *at, struct nj_span *ret, struct nj_error *err)
{
    if (at->object->type != MSGPACK_OBJECT_STR)
        return fail_type(at, "a string", err);
    *ret = (struct nj_span){(const uint8_t *)at->object->via.str.ptr, at->object->via.str.size};
    return 0;
}

int nj_pack_as_bin(const struct nj_pack_at *at, struct nj_span *ret, struct nj_error *err)
{
    if (at->object->type != MSGPACK_OBJECT_BIN)
        return fail_type(at, "a bin", err);
    *ret = (struct nj_span){(const uint8_t *)at->object->via.bin.ptr, at->object->via.bin.size};
    return 0;
}

int nj_pack_as_digest(const struct nj_pack_at *at, struct nj_digest *ret, struct nj_error *err)
{
    struct nj_span bytes = {NULL, 0};
    int r = nj_pack_as_bin(at, &bytes, err);

    if (r < 0)
        return r;
    if (bytes.len != NJ_DIGEST_BYTES)
        return nj_pack_fail(at, err, "a digest has %d bytes, not %zu", NJ_DIGEST_BYTES, bytes.len);
    memcpy(ret->bytes, bytes.data, NJ_DIGEST_BYTES);
    return 0;
}

int nj_pack_as_map(const struct nj_pack_at *at, struct nj_error *err)
{
    return at->object->type == MSGPACK_OBJECT_MAP ? 0 : fail_type(at, "a map", err);
}

int nj_pack_as_array(const struct nj_pack_at *at, size_t *ret_items, struct nj_error *err)
{
    if (at->object->type != MSGPACK_OBJECT_ARRAY)
        return fail_type(at, "an array", err);
    *ret_items = at->object->via.array.size;
    return 0;
}

int nj_pack_get_uint(const struct nj_pack_at *map, const char *key, uint64_t max, uint64_t *ret,
                     struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    return r < 0 ? r : nj_pack_as_uint(&value, max, ret, err);
}

int nj_pack_get_int(const struct nj_pack_at *map, const char *key, int64_t *ret,
                    struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    return r < 0 ? r : nj_pack_as_int(&value, ret, err);
}

int nj_pack_get_bool(const struct nj_pack_at *map, const char *key, bool *ret, struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    return r < 0 ? r : as_bool(&value, ret, err);
}

int nj_pack_get_text(const struct nj_pack_at *map, const char *key, struct nj_span *ret,
                     struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    return r < 0 ? r : nj_pack_as_text(&value, ret, err);
}

int nj_pack_get_bin(const struct nj_pack_at *map, const char *key, struct nj_span *ret,
                    struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    return r < 0 ? r : nj_pack_as_bin(&value, ret, err);
}

int nj_pack_get_digest(const struct nj_pack_at *map, const char *key, struct nj_digest *ret,
                       struct nj_error *err)
{
    struct nj_pack_at value;
    int r = nj_pack_get(map, key, &value, err);

    return r < 0 ? r : nj_pack_as_digest(&value, ret, err);
}
