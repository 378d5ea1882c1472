/*
 * yaml_json.c - a node of the tree as JSON text
 *
 * The complication: one meaning must give one text, because the text goes into digests, and no
 * number may pass through a double on its way.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

static int refuse(const struct nj_yaml_node *node, struct nj_error *err, const char *why)
{
    char path[NJ_YAML_PATH_MAX_BYTES];

    nj_yaml_path(node, path);
    return nj_fail(err, NJ_E_INPUT, "%u:%u: %s: %s", node->mark.line, node->mark.column, path, why);
}

static int put_int(const struct nj_yaml_node *node, struct nj_buf *out, struct nj_error *err)
{
    const char *text = (const char *)node->text.data;
    bool based = text[0] == '0' && (text[1] == 'x' || text[1] == 'o');
    char *end = NULL;
    long long value;

    /* strtoll knows "0x" but not "0o", and would take a leading 0 for octal without being told 10.
     */
    errno = 0;
    if (based)
        value = strtoll(text + 2, &end, text[1] == 'x' ? 16 : 8);
    else
        value = strtoll(text, &end, 10);
    if (errno != 0)
        return refuse(node, err, "a whole number beyond 64 bits");
    return nj_buf_printf(out, err, "%lld", value);
}

static int put_float(const struct nj_yaml_node *node, struct nj_buf *out, struct nj_error *err)
{
    const char *text = (const char *)node->text.data;
    size_t whole;
    int r = 0;

    if (!isfinite(strtod(text, NULL)) || strpbrk(text, "iInN")) /* .inf and .nan; 1e999 */
        return refuse(node, err, "a number that JSON cannot hold");
    if (*text == '-')
        r = nj_buf_text(out, "-", err);
    if (*text == '-' || *text == '+')
        text++;
    while (text[0] == '0' && text[1] >= '0' && text[1] <= '9')
        text++;
    whole = strspn(text, "0123456789");
    if (r == 0)
        r = whole > 0 ? nj_buf_append(out, text, whole, err) : nj_buf_text(out, "0", err);
    text += whole;
    if (r == 0 && *text == '.') {
        size_t part = strspn(text + 1, "0123456789");

        r = part > 0 ? nj_buf_append(out, text, part + 1, err) : nj_buf_text(out, ".0", err);
        text += part + 1;
    }
    return r == 0 ? nj_buf_text(out, text, err) : r; /* the exponent, if any */
}

static int put_scalar(const struct nj_yaml_node *node, struct nj_buf *out, struct nj_error *err)
{
    switch (nj_yaml_type(node)) {
    case NJ_YAML_NULL:
        return nj_buf_text(out, "null", err);
    case NJ_YAML_BOOL:
        return nj_buf_text(out, (node->text.data[0] | 0x20) == 't' ? "true" : "false", err);
    case NJ_YAML_INT:
        return put_int(node, out, err);
    case NJ_YAML_FLOAT:
        return put_float(node, out, err);
    case NJ_YAML_TEXT:
        return nj_buf_json_text(out, node->text, err);
    case NJ_YAML_LIST:
    case NJ_YAML_TREE:
    case NJ_YAML_NONE:
        break;
    }
    return refuse(node, err, "an alias");
}

static int put_list(const struct nj_yaml_node *node, struct nj_buf *out, struct nj_error *err)
{
    int r = nj_buf_text(out, "[", err);

    for (const struct nj_yaml_node *item = node->first; r == 0 && item; item = item->next) {
        if (item->index > 0)
            r = nj_buf_text(out, ",", err);
        if (r == 0)
            r = nj_yaml_to_json(item, out, err);
    }
    return r < 0 ? r : nj_buf_text(out, "]", err);
}

static int by_key(const void *a, const void *b)
{
    const struct nj_yaml_node *left = *(const struct nj_yaml_node *const *)a;
    const struct nj_yaml_node *right = *(const struct nj_yaml_node *const *)b;

    return strcmp(left->key, right->key);
}

static int put_map(const struct nj_yaml_node *node, struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free const struct nj_yaml_node **sorted = NULL;
    size_t n = 0;
    int r;

    sorted = calloc(node->count + 1, sizeof(*sorted));
    if (!sorted)
        return nj_fail_nomem(err);
    for (const struct nj_yaml_node *child = node->first; child; child = child->next)
        sorted[n++] = child;
    qsort(sorted, n, sizeof(*sorted), by_key);
    r = nj_buf_text(out, "{", err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (i > 0)
            r = nj_buf_text(out, ",", err);
        if (r == 0)
            r = nj_buf_json_text(out, nj_span_text(sorted[i]->key), err);
        if (r == 0)
            r = nj_buf_text(out, ":", err);
        if (r == 0)
            r = nj_yaml_to_json(sorted[i], out, err);
    }
    return r < 0 ? r : nj_buf_text(out, "}", err);
}

int nj_yaml_to_json(const struct nj_yaml_node *node, struct nj_buf *out, struct nj_error *err)
{
    switch (node->kind) {
    case NJ_YAML_SEQ:
        return put_list(node, out, err);
    case NJ_YAML_MAP:
        return put_map(node, out, err);
    case NJ_YAML_SCALAR:
    case NJ_YAML_BROKEN:
        break;
    }
    return put_scalar(node, out, err);
}
