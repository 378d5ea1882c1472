/*
 * fuzz_items.c - JSON lines and CSV rows
 *
 * The first byte says which. Property of JSON: the canonical form is its own canonical form. Of
 * CSV: the rows, written with every field quoted, read back as the same rows.
 */
#include <stdlib.h>

#include "batch/plan/csv.h"
#include "batch/plan/item_json.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void try_json(struct nj_span text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    struct nj_error err = {0};
    struct nj_span value;

    nj_buf_init(&first, NJ_ITEM_MAX_BYTES);
    nj_buf_init(&second, NJ_ITEM_MAX_BYTES);
    if (nj_item_json_read(text, &first, &err) < 0)
        return;
    must(nj_item_json_read(nj_buf_span(&first), &second, &err) == 0);
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
    nj_buf_clear(&second);
    if (nj_item_json_find((const char *)first.data, "a.b", &value) ||
        nj_item_json_find((const char *)first.data, "a", &value))
        must(nj_item_json_value(value, &second, &err) == 0);
    must(nj_item_json_nearest((const char *)first.data, "abc", &second, &err) == 0);
}

static void quote(struct nj_buf *out, const struct nj_csv_row *row)
{
    struct nj_error err = {0};

    for (size_t i = 0; i < row->count; i++) {
        must(nj_buf_text(out, i ? ",\"" : "\"", &err) == 0);
        for (size_t k = 0; k < row->fields[i].len; k++) {
            const uint8_t *at = row->fields[i].data + k;

            must(nj_buf_append(out, at, 1, &err) == 0);
            must(*at != '"' || nj_buf_append(out, at, 1, &err) == 0);
        }
        must(nj_buf_text(out, "\"", &err) == 0);
    }
    must(nj_buf_text(out, "\n", &err) == 0);
}

/* Whether all of it was read; the rows are appended in quotes. */
static bool read_rows(struct nj_span text, struct nj_buf *out)
{
    NJ_AUTO(nj_csv_row_done) struct nj_csv_row row = {0};
    struct nj_error err = {0};
    struct nj_csv csv;
    int r;

    if (nj_csv_start(&csv, text, ',', &err) < 0)
        return false;
    while ((r = nj_csv_next(&csv, &row, &err)) == 1)
        quote(out, &row);
    return r == 0;
}

static void try_csv(struct nj_span text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};

    nj_buf_init(&first, 64u << 20);
    nj_buf_init(&second, 64u << 20);
    if (!read_rows(text, &first))
        return;
    must(read_rows(nj_buf_span(&first), &second));
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2)
        try_json((struct nj_span){data + 1, size - 1});
    else
        try_csv((struct nj_span){data + 1, size - 1});
    return 0;
}
