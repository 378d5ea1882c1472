/*
 * where.c - which items count
 *
 * The complication: numbers are compared without passing through a double where both are plain
 * decimals, so that an account number of twenty digits equals only itself.
 */
#include <regex.h>

#include "batch/plan/items.h"

#include "formats/base/banned.h"

struct nj_where {
    const struct nj_manifest_group *group;
    regex_t *patterns; /* one a test; compiled only for MATCHES */
    size_t n_compiled; /* how far compiling came */
};

void nj_where_free(struct nj_where *where)
{
    if (!where)
        return;
    for (size_t i = 0; i < where->n_compiled; i++) {
        if (where->group->where[i].kind == NJ_TEST_MATCHES)
            regfree(&where->patterns[i]);
    }
    free(where->patterns);
    free(where);
}

int nj_where_new(const struct nj_manifest_group *group, struct nj_where **ret_where,
                 struct nj_error *err)
{
    NJ_AUTO(nj_where_free) struct nj_where *where = calloc(1, sizeof(*where));

    if (!where)
        return nj_fail_nomem(err);
    where->group = group;
    where->patterns = calloc(group->n_where + 1, sizeof(*where->patterns));
    if (!where->patterns)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < group->n_where; i++) {
        const struct nj_manifest_test *test = &group->where[i];

        /* The manifest compiled it before: only memory can be missing. */
        if (test->kind == NJ_TEST_MATCHES &&
            regcomp(&where->patterns[i], test->values[0].text, REG_EXTENDED | REG_NOSUB) != 0)
            return nj_fail_nomem(err);
        where->n_compiled = i + 1;
    }
    *ret_where = nj_steal_ptr(&where);
    return 0;
}

/* ---- numbers ---- */

struct decimal {
    bool negative;
    const char *whole; /* without leading zeros */
    size_t n_whole;
    const char *part; /* without trailing zeros */
    size_t n_part;
};

/* "-012.50" in pieces; false for what is no plain decimal. */
static bool split(const char *text, struct decimal *ret)
{
    struct decimal decimal = {.negative = *text == '-'};
    size_t digits;

    if (*text == '-' || *text == '+')
        text++;
    digits = strspn(text, "0123456789");
    decimal.whole = text;
    decimal.n_whole = digits;
    text += digits;
    while (decimal.n_whole > 0 && *decimal.whole == '0') {
        decimal.whole++;
        decimal.n_whole--;
    }
    if (*text == '.') {
        decimal.part = ++text;
        decimal.n_part = strspn(text, "0123456789");
        digits += decimal.n_part;
        text += decimal.n_part;
    }
    if (digits == 0 || *text)
        return false;
    while (decimal.n_part > 0 && decimal.part[decimal.n_part - 1] == '0')
        decimal.n_part--;
    if (decimal.n_whole == 0 && decimal.n_part == 0)
        decimal.negative = false;
    *ret = decimal;
    return true;
}

static int compare_decimals(const struct decimal *a, const struct decimal *b)
{
    int sign = a->negative ? -1 : 1;
    size_t shorter = a->n_part < b->n_part ? a->n_part : b->n_part;
    int order;

    if (a->negative != b->negative)
        return sign;
    if (a->n_whole != b->n_whole)
        return a->n_whole < b->n_whole ? -sign : sign;
    order = memcmp(a->whole, b->whole, a->n_whole);
    if (order == 0 && shorter > 0)
        order = memcmp(a->part, b->part, shorter);
    if (order != 0)
        return order < 0 ? -sign : sign;
    if (a->n_part == b->n_part)
        return 0;
    return a->n_part < b->n_part ? -sign : sign;
}

/* false when one of them is no number */
static bool compare_numbers(const char *a, const char *b, int *ret)
{
    struct decimal left, right;
    long double x, y;
    char *end;

    if (split(a, &left) && split(b, &right)) {
        *ret = compare_decimals(&left, &right);
        return true;
    }
    x = strtold(a, &end); /* an exponent */
    if (end == a || *end)
        return false;
    y = strtold(b, &end);
    if (end == b || *end)
        return false;
    *ret = x < y ? -1 : x > y;
    return true;
}

/* ---- tests ---- */

static bool is_one_of(const struct nj_manifest_test *test, const char *text)
{
    int order;

    for (size_t i = 0; i < test->n_values; i++) {
        const struct nj_manifest_value *value = &test->values[i];

        if (strcmp(value->text, text) == 0 ||
            (value->number && compare_numbers(text, value->text, &order) && order == 0))
            return true;
    }
    return false;
}

static bool holds(const struct nj_where *where, size_t at, const char *text)
{
    const struct nj_manifest_test *test = &where->group->where[at];
    int order = 0;

    switch (test->kind) {
    case NJ_TEST_IS:
        return is_one_of(test, text);
    case NJ_TEST_NOT:
        return !is_one_of(test, text);
    case NJ_TEST_MATCHES:
        return regexec(&where->patterns[at], text, 0, NULL, 0) == 0;
    case NJ_TEST_EXISTS:
        return (*text != '\0') == test->exists;
    case NJ_TEST_ABOVE:
        return compare_numbers(text, test->values[0].text, &order) && order > 0;
    case NJ_TEST_AT_LEAST:
        return compare_numbers(text, test->values[0].text, &order) && order >= 0;
    case NJ_TEST_BELOW:
        return compare_numbers(text, test->values[0].text, &order) && order < 0;
    case NJ_TEST_AT_MOST:
        return compare_numbers(text, test->values[0].text, &order) && order <= 0;
    }
    return false;
}

int nj_where_holds(const struct nj_where *where, const char *json, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    nj_buf_init(&text, NJ_ITEM_MAX_BYTES);
    for (size_t i = 0; i < where->group->n_where; i++) {
        const struct nj_manifest_test *test = &where->group->where[i];
        struct nj_span value;
        bool there = nj_item_json_find(json, test->field, &value) && !nj_span_is(value, "null");

        nj_buf_clear(&text);
        if (there && nj_item_json_value(value, &text, err) < 0)
            return -(int)err->code;
        if (!there) {
            if (test->kind == NJ_TEST_NOT || (test->kind == NJ_TEST_EXISTS && !test->exists))
                continue;
            return 0;
        }
        if (!holds(where, i, text.data ? (const char *)text.data : ""))
            return 0;
    }
    return 1;
}
