/*
 * fuzz_slice.c - a provider's JSON may be hostile
 *
 * Properties: what is checked is what jansson takes (where jansson has no narrower opinion of its
 * own: huge numbers, lone surrogates, its own depth, NUL bytes); every slice of it checks again;
 * walkers stay inside of unchecked bytes too; members found while checking are those found later.
 */
#include <assert.h>
#include <jansson.h>

#include "formats/base/slice.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct nj_span value, unsigned depth, bool checked)
{
    struct nj_slice_walk at = {0};
    struct nj_span key, inner, again;
    struct nj_error err = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    uint64_t n;

    if (depth > 8)
        return;
    while (nj_slice_member(value, &at, &key, &inner)) {
        assert(inner.data > value.data && inner.data + inner.len <= value.data + value.len);
        if (checked && nj_slice_check(inner, &again, &err) < 0)
            __builtin_trap();
        walk(inner, depth + 1, checked);
    }
    at = (struct nj_slice_walk){0};
    while (nj_slice_item(value, &at, &inner)) {
        assert(inner.data > value.data && inner.data + inner.len <= value.data + value.len);
        if (checked && nj_slice_check(inner, &again, &err) < 0)
            __builtin_trap();
        walk(inner, depth + 1, checked);
    }
    nj_buf_init(&text, value.len + 16);
    if (nj_slice_text(value, &text, &err) == 0)
        assert(text.len <= value.len);
    if (nj_slice_uint(value, INT64_MAX, "n", &n, &err) == 0)
        assert(n <= INT64_MAX && value.len > 0);
    (void)nj_slice_get(value, "type");
}

static void check_picking(struct nj_span text, bool ok, struct nj_span value)
{
    static const char *const keys[] = {"type", "a", "index", ""};
    struct nj_span whole = {0}, found[4], later[4];
    struct nj_error err = {0};
    bool again = nj_slice_check_pick(text, keys, 4, &whole, found, &err) == 0;

    assert(again == ok);
    if (ok)
        assert(whole.data == value.data && whole.len == value.len);
    nj_slice_pick(ok ? value : (struct nj_span){0}, keys, 4, later);
    for (size_t i = 0; i < 4; i++)
        assert(found[i].data == later[i].data && found[i].len == later[i].len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nj_span text = {data, size}, value;
    struct nj_error err = {0};
    json_error_t jerr;
    json_t *json;
    bool ok;

    if (size > 65536)
        return 0;
    ok = nj_slice_check(text, &value, &err) == 0;
    json = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &jerr);
    /* jansson loses a NUL that it has put back behind a number. */
    if (json && !ok && !strstr(err.text, "less depth") && !memchr(data, 0, size))
        __builtin_trap();
    if (ok && !json && json_error_code(&jerr) != json_error_numeric_overflow &&
        json_error_code(&jerr) != json_error_invalid_syntax)
        __builtin_trap();
    json_decref(json);
    check_picking(text, ok, value);
    walk(ok ? value : text, 0, ok);
    return 0;
}
