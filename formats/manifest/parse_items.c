/*
 * parse_items.c - which items a group has, which of them count, and what an item may say itself
 *
 * The complication: for_each is one list and a matrix several by name, and both are read as axes,
 * so that whoever makes the plan crosses one or many alike. A list with a fault still has its kind:
 * faults of its templates would only hide its own.
 */
#include <regex.h>
#include <stdio.h>

#include "formats/manifest/read.h"
#include "formats/manifest/template.h"

#include "formats/base/banned.h"

#define VALUE_MAX_BYTES (64u << 10)
#define FIRST_MAX 1000000

static const char *const list_keys[] = {"glob", "lines", "csv", "values", "delimiter", "fields"};
#define LIST_KINDS 4 /* of list_keys */

/* ---- lists ---- */

static void read_values(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_axis *axis)
{
    struct nj_manifest_text *values;
    size_t n = 0;

    if (!nj_yaml_list(&in->yaml, node, 1, NJ_MANIFEST_VALUES_MAX))
        return;
    values = nj_manifest_read_alloc(in, node->count, sizeof(*values));
    if (!values)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
        struct nj_error err = {0};

        nj_buf_init(&json, VALUE_MAX_BYTES);
        if (nj_yaml_type(item) == NJ_YAML_NULL || nj_yaml_type(item) == NJ_YAML_LIST) {
            nj_yaml_expected(&in->yaml, item, "a text, a number, true, false or a map");
        } else if (nj_yaml_to_json(item, &json, &err) < 0) {
            nj_yaml_fault(&in->yaml, item, "%s", err.text);
        } else {
            values[n].mark = item->mark;
            values[n].text = nj_arena_span(in->yaml.arena, nj_buf_span(&json));
            in->yaml.nomem = in->yaml.nomem || !values[n].text;
            n++;
        }
    }
    axis->values = (struct nj_manifest_texts){values, n};
}

static const char *field_fault(const char *text)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (!*text || text[strspn(text, chars)] || strlen(text) > NJ_MANIFEST_NAME_MAX_CHARS)
        return "a field has 1 to 64 letters, digits, \"_\" or \"-\"";
    return NULL;
}

static void read_csv_keys(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                          struct nj_manifest_axis *axis)
{
    const struct nj_yaml_node *delimiter = nj_yaml_get(node, "delimiter");
    const struct nj_yaml_node *fields = nj_yaml_get(node, "fields");
    const char *text = NULL;

    axis->delimiter = ',';
    if (axis->kind != NJ_FOR_EACH_CSV) {
        if (delimiter || fields)
            nj_yaml_fault_key(&in->yaml, delimiter ? delimiter : fields, "only csv has this key");
        return;
    }
    nj_manifest_read_texts(in, node, "fields", 1, NJ_MANIFEST_LIST_MAX, field_fault, &axis->fields);
    if (!delimiter || !nj_yaml_text(&in->yaml, delimiter, VALUE_MAX_BYTES, true, &text))
        return;
    if (strlen(text) != 1 || strchr("\"\r\n", *text) || (unsigned char)*text >= 0x80)
        nj_yaml_fault(&in->yaml, delimiter, "expected one character, such as \";\" or \"\\t\"");
    else
        axis->delimiter = *text;
}

static void read_list(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      struct nj_manifest_axis *axis)
{
    const struct nj_yaml_node *value = NULL;
    const char *fault = NULL;
    size_t n = 0;

    axis->mark = axis->text_mark = node->mark;
    axis->kind = NJ_FOR_EACH_GLOB;
    axis->delimiter = ',';
    if (!nj_yaml_keys(&in->yaml, node, list_keys, NJ_COUNT(list_keys)))
        return;
    for (size_t i = 0; i < LIST_KINDS; i++) {
        const struct nj_yaml_node *found = nj_yaml_get(node, list_keys[i]);

        if (!found)
            continue;
        n++;
        value = found;
        axis->kind = (enum nj_manifest_for_each)(i + 1);
    }
    if (n != 1) {
        nj_yaml_fault(&in->yaml, node, "expected one of glob, lines, csv and values");
        return;
    }
    axis->text_mark = value->mark;
    read_csv_keys(in, node, axis);
    if (axis->kind == NJ_FOR_EACH_VALUES) {
        read_values(in, value, axis);
        return;
    }
    nj_manifest_read_path(in, value, &axis->text);
    if (axis->kind == NJ_FOR_EACH_GLOB && axis->text)
        fault = nj_manifest_glob_fault(axis->text);
    if (fault)
        nj_yaml_fault(&in->yaml, value, "%s", fault);
}

static void read_matrix(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                        struct nj_manifest_group *group)
{
    struct nj_manifest_axis *axes;

    group->for_each = NJ_FOR_EACH_MATRIX;
    group->for_each_mark = node->mark;
    if (!nj_yaml_names(&in->yaml, node, 1, NJ_MANIFEST_AXES_MAX))
        return;
    axes = nj_manifest_read_alloc(in, node->count, sizeof(*axes));
    if (!axes)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next) {
        const char *fault = field_fault(item->key);

        if (fault)
            nj_yaml_fault_key(&in->yaml, item, "%s", fault);
        axes[item->index].name = item->key;
        read_list(in, item, &axes[item->index]);
    }
    group->axes = axes;
    group->n_axes = node->count;
}

/* ---- where ---- */

static bool read_value(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_value *value)
{
    enum nj_yaml_type type = nj_yaml_type(node);

    if (type == NJ_YAML_TEXT)
        return nj_yaml_text(&in->yaml, node, VALUE_MAX_BYTES, true, &value->text);
    if (type != NJ_YAML_INT && type != NJ_YAML_FLOAT && type != NJ_YAML_BOOL) {
        nj_yaml_expected(&in->yaml, node, "a text, a number, true or false");
        return false;
    }
    value->text = (const char *)node->text.data;
    if (type == NJ_YAML_BOOL)
        value->text = (*value->text | 0x20) == 't' ? "true" : "false"; /* as JSON has them */
    value->number = type != NJ_YAML_BOOL;
    return true;
}

/* A value, or a list of them. */
static void read_test_values(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                             struct nj_manifest_test *test)
{
    bool is_list = node->kind == NJ_YAML_SEQ;
    struct nj_manifest_value *values;
    size_t count = is_list ? node->count : 1;

    if (is_list && !nj_yaml_list(&in->yaml, node, 1, NJ_MANIFEST_LIST_MAX))
        return;
    values = nj_manifest_read_alloc(in, count, sizeof(*values));
    if (!values)
        return;
    test->values = values;
    if (!is_list) {
        test->n_values = read_value(in, node, values);
        return;
    }
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        test->n_values += read_value(in, item, &values[test->n_values]);
}

static void check_test(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       const struct nj_manifest_test *test)
{
    const struct nj_manifest_value *value = test->n_values > 0 ? &test->values[0] : NULL;
    regex_t pattern;
    char why[128];
    int r;

    if (test->kind == NJ_TEST_IS || test->kind == NJ_TEST_NOT || test->kind == NJ_TEST_EXISTS ||
        !value)
        return;
    if (node->kind == NJ_YAML_SEQ) {
        nj_yaml_expected(&in->yaml, node, "one value");
        return;
    }
    if (test->kind != NJ_TEST_MATCHES) {
        if (!value->number)
            nj_yaml_expected(&in->yaml, node, "a number");
        return;
    }
    r = regcomp(&pattern, value->text, REG_EXTENDED | REG_NOSUB);
    if (r == 0) {
        regfree(&pattern);
        return;
    }
    (void)regerror(r, &pattern, why, sizeof(why));
    nj_yaml_fault(&in->yaml, node, "not a regular expression: %s", why);
}

static void read_test(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                      const char *field, size_t kind, struct nj_manifest_test *test)
{
    test->field = field;
    test->mark = node->mark;
    test->kind = (enum nj_manifest_test_kind)kind;
    if (test->kind == NJ_TEST_EXISTS)
        (void)nj_yaml_bool(&in->yaml, node, &test->exists);
    else
        read_test_values(in, node, test);
    check_test(in, node, test);
}

static const char *where_field_fault(const char *text)
{
    static const char *const chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

    if (!*text || text[strspn(text, chars)])
        return "expected a field's name, such as status or customer.country";
    return NULL;
}

static void read_where(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                       struct nj_manifest_group *group)
{
    struct nj_manifest_test *tests;
    size_t n = 0;

    if (!node || !nj_yaml_names(&in->yaml, node, 1, NJ_MANIFEST_WHERE_MAX))
        return;
    tests = nj_manifest_read_alloc(in, NJ_MANIFEST_WHERE_MAX, sizeof(*tests));
    for (const struct nj_yaml_node *item = node->first; tests && item; item = item->next) {
        const char *fault = where_field_fault(item->key);

        if (fault)
            nj_yaml_fault_key(&in->yaml, item, "%s", fault);
        if (item->kind != NJ_YAML_MAP) {
            if (n < NJ_MANIFEST_WHERE_MAX)
                read_test(in, item, item->key, NJ_TEST_IS, &tests[n++]);
            continue;
        }
        if (!nj_yaml_keys(&in->yaml, item, nj_manifest_tests, NJ_COUNT(nj_manifest_tests)))
            continue;
        for (size_t k = 0; k < NJ_COUNT(nj_manifest_tests); k++) {
            const struct nj_yaml_node *value = nj_yaml_get(item, nj_manifest_tests[k]);

            if (value && n < NJ_MANIFEST_WHERE_MAX)
                read_test(in, value, item->key, k, &tests[n++]);
        }
    }
    if (n == NJ_MANIFEST_WHERE_MAX)
        nj_yaml_fault(&in->yaml, node, "at most %d tests are allowed", NJ_MANIFEST_WHERE_MAX - 1);
    group->where = tests;
    group->n_where = n;
}

/* ---- the whole ---- */

void nj_manifest_read_items(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                            struct nj_manifest_group *group)
{
    static const char *const need_items[] = {"where", "first", "may_be_empty", "override"};
    const struct nj_yaml_node *for_each = nj_yaml_get(map, "for_each");
    const struct nj_yaml_node *matrix = nj_yaml_get(map, "matrix");
    const struct nj_yaml_node *empty = nj_yaml_get(map, "may_be_empty");

    if (for_each && matrix)
        nj_yaml_fault_key(&in->yaml, matrix, "expected either for_each or matrix");
    if (for_each) {
        struct nj_manifest_axis *axis = nj_manifest_read_alloc(in, 1, sizeof(*axis));

        if (!axis)
            return;
        read_list(in, for_each, axis);
        group->for_each = axis->kind;
        group->for_each_mark = axis->text_mark;
        group->axes = axis;
        group->n_axes = 1;
    } else if (matrix) {
        read_matrix(in, matrix, group);
    } else {
        for (size_t i = 0; i < NJ_COUNT(need_items); i++) {
            const struct nj_yaml_node *extra = nj_yaml_get(map, need_items[i]);

            if (extra)
                nj_yaml_fault_key(&in->yaml, extra, "needs for_each or matrix");
        }
    }
    read_where(in, nj_yaml_get(map, "where"), group);
    nj_manifest_read_uint(in, map, "first", 1, FIRST_MAX, &group->first);
    if (empty)
        (void)nj_yaml_bool(&in->yaml, empty, &group->may_be_empty);
}

void nj_manifest_read_override(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                               struct nj_manifest_group *group)
{
    static const char *const keys[] = {"model", "instructions", "input", "limits"};
    static const char *const limit_keys[] = {"turns", "session_budget_usd"};
    struct nj_manifest_override *override = &group->override;
    const struct nj_yaml_node *limits;

    if (!node || group->for_each == NJ_FOR_EACH_NONE ||
        !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    override->mark = node->mark;
    override->model =
        nj_manifest_read_template(in, nj_yaml_get(node, "model"), group, false, false);
    override->instructions =
        nj_manifest_read_template(in, nj_yaml_get(node, "instructions"), group, false, false);
    override->input =
        nj_manifest_read_template(in, nj_yaml_get(node, "input"), group, false, false);
    limits = nj_yaml_get(node, "limits");
    if (!limits || !nj_yaml_keys(&in->yaml, limits, limit_keys, NJ_COUNT(limit_keys)))
        return;
    override->turns =
        nj_manifest_read_template(in, nj_yaml_get(limits, "turns"), group, false, false);
    override->session_budget_usd = nj_manifest_read_template(
        in, nj_yaml_get(limits, "session_budget_usd"), group, false, false);
}
