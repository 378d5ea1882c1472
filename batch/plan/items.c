/*
 * items.c - the items of a group
 *
 * The complication: a list of 100,000 rows is read for one run and then lives with it, so each item
 * is one text in an arena and nothing else; values are looked up in that text when they are needed.
 */
#include "batch/plan/items.h"

#include <inttypes.h>

#include "batch/plan/csv.h"
#include "formats/manifest/template.h"

#include "formats/base/banned.h"

struct reading {
    const struct nj_manifest_axis *axis;
    struct nj_items *items;
    nj_items_fault fault;
    void *ctx;
    struct nj_error *err;
};

void nj_items_done(struct nj_items *items)
{
    if (!items)
        return;
    free(items->items);
    nj_arena_done(&items->arena);
    memset(items, 0, sizeof(*items));
}

static int add(struct reading *reading, const char *json, unsigned line)
{
    struct nj_items *items = reading->items;

    if (!json)
        return nj_fail_nomem(reading->err);
    if (items->count == NJ_ITEMS_MAX)
        return nj_fail(reading->err, NJ_E_INPUT, "more than %d items", NJ_ITEMS_MAX);
    if (items->count == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 64;
        struct nj_item *larger = reallocarray(items->items, cap, sizeof(*larger));

        if (!larger)
            return nj_fail_nomem(reading->err);
        items->items = larger;
        items->cap = cap;
    }
    items->items[items->count++] = (struct nj_item){json, line};
    return 0;
}

static int add_copy(struct reading *reading, const struct nj_buf *json, unsigned line)
{
    return add(reading, nj_arena_span(&reading->items->arena, nj_buf_span(json)), line);
}

/* A row's fault is told with its place; whatever is no fault of the row ends the reading. */
static int tell(struct reading *reading, unsigned line)
{
    struct nj_error fault = *reading->err;

    if (fault.code != NJ_E_INPUT && fault.code != NJ_E_LIMIT)
        return -(int)fault.code;
    (void)nj_fail(&fault, NJ_E_INPUT, "%.200s:%u: %.300s", reading->axis->text, line,
                  reading->err->text);
    return reading->fault(reading->ctx, &fault);
}

/* for_each takes objects: anything else is its member "value". A matrix takes what comes. */
static int wrap(struct reading *reading, struct nj_buf *json)
{
    NJ_AUTO(nj_buf_done) struct nj_buf inner = {0};

    if (reading->axis->name || json->data[0] == '{')
        return 0;
    nj_buf_init(&inner, NJ_ITEM_MAX_BYTES);
    if (nj_buf_append(&inner, json->data, json->len, reading->err) < 0)
        return -(int)reading->err->code;
    nj_buf_clear(json);
    return nj_buf_printf(json, reading->err, "{\"value\":%s}", (const char *)inner.data);
}

/* ---- lines ---- */

static bool is_blank(struct nj_span line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    }
    return true;
}

static int read_lines(struct reading *reading, struct nj_span bytes)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    unsigned line = 0;

    if (bytes.len >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0)
        bytes = (struct nj_span){bytes.data + 3, bytes.len - 3};
    nj_buf_init(&json, NJ_ITEM_MAX_BYTES);
    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        struct nj_span text = {bytes.data, end ? (size_t)(end - bytes.data) : bytes.len};
        int r;

        line++;
        bytes.data += text.len + (end != NULL);
        bytes.len -= text.len + (end != NULL);
        if (is_blank(text))
            continue;
        nj_buf_clear(&json);
        if (text.len > NJ_ITEM_MAX_BYTES)
            r = nj_fail(reading->err, NJ_E_INPUT,
                        "the line is longer than %u bytes (put large texts into files and name "
                        "those)",
                        NJ_ITEM_MAX_BYTES);
        else
            r = nj_item_json_read(text, &json, reading->err);
        if (r == 0)
            r = wrap(reading, &json);
        r = r < 0 ? tell(reading, line) : add_copy(reading, &json, line);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- csv ---- */

struct columns {
    struct nj_arena arena;
    const char *names[NJ_CSV_COLUMNS_MAX];
    size_t order[NJ_CSV_COLUMNS_MAX]; /* by name */
    size_t count;
};

static const char *field_name(struct nj_arena *arena, struct nj_span header)
{
    char *name = nj_arena_alloc(arena, header.len + 1);
    size_t len = 0;
    bool gap = false;

    for (size_t i = 0; name && i < header.len; i++) {
        char c = (char)header.data[i];
        bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';

        if (keep && gap && len > 0)
            name[len++] = '_';
        if (keep)
            name[len++] = c;
        gap = !keep;
    }
    if (name)
        name[len] = '\0';
    return name;
}

static int sort_columns(struct columns *columns, struct nj_error *err)
{
    for (size_t i = 0; i < columns->count; i++) {
        size_t at = i;

        for (; at > 0 && strcmp(columns->names[columns->order[at - 1]], columns->names[i]) > 0;
             at--)
            columns->order[at] = columns->order[at - 1];
        columns->order[at] = i;
    }
    for (size_t i = 1; i < columns->count; i++) {
        const char *name = columns->names[columns->order[i]];

        if (strcmp(columns->names[columns->order[i - 1]], name) == 0)
            return nj_fail(err, NJ_E_INPUT, "the header has the field %.64s twice", name);
    }
    return 0;
}

static int read_header(struct reading *reading, struct nj_csv *csv, struct nj_csv_row *row,
                       struct columns *columns)
{
    const struct nj_manifest_texts *given = &reading->axis->fields;
    int r = 1;

    if (given->count == 0)
        r = nj_csv_next(csv, row, reading->err);
    if (r < 0)
        return r;
    columns->count = given->count ? given->count : r == 1 ? row->count : 0;
    if (columns->count == 0)
        return nj_fail(reading->err, NJ_E_INPUT, "the file is empty: expected a header");
    for (size_t i = 0; i < columns->count; i++) {
        columns->names[i] =
            given->count ? given->items[i].text : field_name(&columns->arena, row->fields[i]);
        if (!columns->names[i])
            return nj_fail_nomem(reading->err);
        if (!*columns->names[i])
            return nj_fail(reading->err, NJ_E_INPUT,
                           "line %u: column %zu of the header has no name (or no letter in it)",
                           csv->row_line, i + 1);
    }
    return sort_columns(columns, reading->err);
}

static int row_json(const struct columns *columns, const struct nj_csv_row *row, struct nj_buf *out,
                    struct nj_error *err)
{
    nj_buf_clear(out);
    if (row->count != columns->count)
        return nj_fail(err, NJ_E_INPUT, "the row has %zu field%s, the header %zu", row->count,
                       row->count == 1 ? "" : "s", columns->count);
    for (size_t i = 0; i < columns->count; i++) {
        size_t at = columns->order[i];

        if (nj_buf_text(out, i ? "," : "{", err) < 0 ||
            nj_buf_json_text(out, nj_span_text(columns->names[at]), err) < 0 ||
            nj_buf_text(out, ":", err) < 0 || nj_buf_json_text(out, row->fields[at], err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, "}", err);
}

static int read_rows(struct reading *reading, struct nj_csv *csv, struct nj_csv_row *row,
                     const struct columns *columns)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    int r;

    nj_buf_init(&json, 2 * (size_t)NJ_ITEM_MAX_BYTES);
    while ((r = nj_csv_next(csv, row, reading->err)) == 1) {
        r = row_json(columns, row, &json, reading->err);
        r = r < 0 ? tell(reading, csv->row_line) : add_copy(reading, &json, csv->row_line);
        if (r < 0)
            return r;
    }
    return r;
}

static int read_csv(struct reading *reading, struct nj_span bytes)
{
    nj_auto_free struct nj_csv_row *row = calloc(1, sizeof(*row));
    nj_auto_free struct columns *columns = calloc(1, sizeof(*columns));
    struct nj_csv csv;
    int r;

    if (!row || !columns)
        return nj_fail_nomem(reading->err);
    r = nj_csv_start(&csv, bytes, reading->axis->delimiter, reading->err);
    if (r == 0)
        r = read_header(reading, &csv, row, columns);
    if (r == 0)
        r = read_rows(reading, &csv, row, columns);
    nj_csv_row_done(row);
    nj_arena_done(&columns->arena);
    return r < 0 ? nj_wrap(reading->err, "%.200s", reading->axis->text) : 0;
}

/* ---- globs and values ---- */

static int put_member(struct nj_buf *out, const char *head, const char *text, size_t len,
                      struct nj_error *err)
{
    if (nj_buf_text(out, head, err) < 0)
        return -(int)err->code;
    return nj_buf_json_text(out, (struct nj_span){(const uint8_t *)text, len}, err);
}

/* {"dir","name","path","size","stem"}: dir is the last name of the folder the file is in, "" at the
 * top; ".profile" keeps its only dot in its stem. */
static int file_json(const struct nj_glob_match *match, struct nj_buf *out, struct nj_error *err)
{
    const char *path = match->path;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    const char *dir = slash ? slash : path;

    while (dir > path && dir[-1] != '/')
        dir--;
    if (put_member(out, "{\"dir\":", dir, slash ? (size_t)(slash - dir) : 0, err) < 0 ||
        put_member(out, ",\"name\":", name, strlen(name), err) < 0 ||
        put_member(out, ",\"path\":", path, strlen(path), err) < 0 ||
        nj_buf_printf(out, err, ",\"size\":%" PRIu64, match->size) < 0 ||
        put_member(out, ",\"stem\":", name, dot && dot > name ? (size_t)(dot - name) : strlen(name),
                   err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

static int read_glob(struct reading *reading, struct nj_sources *sources)
{
    const struct nj_glob_result *result = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    int r;

    r = nj_sources_glob(sources, reading->axis->text, &result, reading->err);
    if (r < 0)
        return r;
    if (result->n_matches == 0 && result->links_left > 0)
        return nj_fail(
            reading->err, NJ_E_INPUT,
            "no file matches %.200s within the allowed directories; %zu links leave them, the "
            "first is %.200s (--allow-path DIR allows more)",
            reading->axis->text, result->links_left, result->first_link ? result->first_link : "?");
    nj_buf_init(&json, NJ_ITEM_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < result->n_matches; i++) {
        nj_buf_clear(&json);
        r = file_json(&result->matches[i], &json, reading->err);
        if (r == 0)
            r = add_copy(reading, &json, 0);
    }
    return r;
}

static int read_values(struct reading *reading)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    int r = 0;

    nj_buf_init(&json, NJ_ITEM_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < reading->axis->values.count; i++) {
        nj_buf_clear(&json);
        r = nj_buf_text(&json, reading->axis->values.items[i].text, reading->err);
        if (r == 0)
            r = wrap(reading, &json);
        if (r == 0)
            r = add_copy(reading, &json, 0);
    }
    return r;
}

static int read_file(struct reading *reading, struct nj_sources *sources)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    int r;

    nj_buf_init(&bytes, NJ_ITEMS_FILE_MAX_BYTES);
    r = nj_sources_text(sources, reading->axis->text, &bytes, reading->err);
    if (r < 0)
        return r;
    return reading->axis->kind == NJ_FOR_EACH_CSV ? read_csv(reading, nj_buf_span(&bytes))
                                                  : read_lines(reading, nj_buf_span(&bytes));
}

int nj_items_read(struct nj_sources *sources, const struct nj_manifest_axis *axis,
                  struct nj_items *ret_items, nj_items_fault fault, void *ctx, struct nj_error *err)
{
    struct reading reading = {
        .axis = axis, .items = ret_items, .fault = fault, .ctx = ctx, .err = err};

    switch (axis->kind) {
    case NJ_FOR_EACH_GLOB:
        return read_glob(&reading, sources);
    case NJ_FOR_EACH_LINES:
    case NJ_FOR_EACH_CSV:
        return read_file(&reading, sources);
    case NJ_FOR_EACH_VALUES:
        return read_values(&reading);
    case NJ_FOR_EACH_NONE:
    case NJ_FOR_EACH_MATRIX:
        break;
    }
    return 0;
}

/* ---- using them ---- */

void nj_item_label(const struct nj_manifest_group *group, const char *json, uint32_t line,
                   char label[NJ_ITEM_LABEL_MAX_BYTES])
{
    NJ_AUTO(nj_buf_done) struct nj_buf path = {0};
    struct nj_error ignored = {0};
    struct nj_span value;
    const char *text = json;

    nj_buf_init(&path, NJ_ITEM_MAX_BYTES);
    if (group->for_each == NJ_FOR_EACH_NONE)
        text = group->name;
    else if (group->for_each == NJ_FOR_EACH_GLOB && nj_item_json_find(json, "path", &value) &&
             nj_item_json_value(value, &path, &ignored) == 0 && path.len > 0)
        text = (const char *)path.data;
    if (line > 0)
        (void)snprintf(label, NJ_ITEM_LABEL_MAX_BYTES, "%.140s:%u", group->axes[0].text, line);
    else
        (void)snprintf(label, NJ_ITEM_LABEL_MAX_BYTES, "%.150s", text);
}

static int no_value(const struct nj_item_values *values, const char *name, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf known = {0};

    if (strncmp(name, "item.", 5) != 0)
        return nj_fail(err, NJ_E_INPUT, "{%s} has no value here", name);
    nj_buf_init(&known, 4096);
    if (strcmp(values->item, "{}") != 0 &&
        nj_item_json_nearest(values->item, name + 5, &known, err) < 0)
        return -(int)err->code;
    return nj_fail(err, NJ_E_INPUT, "the item has no {%s}%s", name,
                   known.data ? (const char *)known.data : "");
}

static int lookup(void *ctx, const char *name, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_item_values *values = ctx;
    struct nj_span value;

    if (values->results && strcmp(name, "results") == 0)
        return nj_buf_text(out, values->results, err);
    if (strncmp(name, "item.", 5) != 0 || !nj_item_json_find(values->item, name + 5, &value))
        return no_value(values, name, err);
    return nj_item_json_value(value, out, err);
}

int nj_item_expand(const char *text, const struct nj_item_values *values, struct nj_buf *out,
                   struct nj_error *err)
{
    struct nj_item_values copy = *values;

    return nj_template_expand(text, lookup, &copy, out, err);
}
