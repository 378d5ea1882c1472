/*
 * csv.c - rows of a CSV file
 *
 * The complication: fields are copied once into one buffer that may move while it grows, so their
 * places are kept as offsets until the row is whole.
 */
#include "batch/plan/csv.h"

#include <string.h>

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

void nj_csv_row_done(struct nj_csv_row *row)
{
    if (row)
        nj_buf_done(&row->text);
}

int nj_csv_start(struct nj_csv *csv, struct nj_span bytes, char delimiter, struct nj_error *err)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};

    if (bytes.len >= 2 && ((bytes.data[0] == 0xff && bytes.data[1] == 0xfe) ||
                           (bytes.data[0] == 0xfe && bytes.data[1] == 0xff)))
        return nj_fail(err, NJ_E_INPUT, "this is UTF-16: save the file as UTF-8");
    if (bytes.len >= sizeof(mark) && memcmp(bytes.data, mark, sizeof(mark)) == 0) {
        bytes.data += sizeof(mark);
        bytes.len -= sizeof(mark);
    }
    *csv = (struct nj_csv){.rest = bytes, .delimiter = delimiter, .line = 1};
    return 0;
}

static void pass(struct nj_csv *csv, size_t bytes)
{
    csv->rest.data += bytes;
    csv->rest.len -= bytes;
}

/* Takes a line end where one stands. */
static bool line_end(struct nj_csv *csv)
{
    size_t len = csv->rest.len;

    if (len > 0 && csv->rest.data[0] == '\n')
        pass(csv, 1);
    else if (len > 1 && csv->rest.data[0] == '\r' && csv->rest.data[1] == '\n')
        pass(csv, 2);
    else
        return false;
    csv->line++;
    return true;
}

static int append(const struct nj_csv *csv, struct nj_csv_row *row, const uint8_t *data, size_t len,
                  struct nj_error *err)
{
    int r;

    if (row->text.len + len > NJ_CSV_ROW_MAX_BYTES)
        return nj_fail(
            err, NJ_E_INPUT,
            "line %u: field %zu makes the row longer than %u bytes (put large texts into "
            "files and name those)",
            csv->row_line, row->count + 1, NJ_CSV_ROW_MAX_BYTES);
    r = nj_buf_append(&row->text, data, len, err);
    return r;
}

static int read_quoted(struct nj_csv *csv, struct nj_csv_row *row, struct nj_error *err)
{
    unsigned opened = csv->line;

    pass(csv, 1);
    for (;;) {
        const uint8_t *quote = csv->rest.len ? memchr(csv->rest.data, '"', csv->rest.len) : NULL;
        size_t len = quote ? (size_t)(quote - csv->rest.data) : 0;
        int r;

        if (!quote)
            return nj_fail(err, NJ_E_INPUT, "line %u: a quoted field is never closed", opened);
        r = append(csv, row, csv->rest.data, len, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < len; i++)
            csv->line += csv->rest.data[i] == '\n';
        pass(csv, len + 1);
        if (csv->rest.len == 0 || csv->rest.data[0] != '"')
            return 0;
        r = append(csv, row, csv->rest.data, 1, err);
        if (r < 0)
            return r;
        pass(csv, 1);
    }
}

static int read_plain(struct nj_csv *csv, struct nj_csv_row *row, struct nj_error *err)
{
    size_t len = 0;
    int r;

    while (len < csv->rest.len && csv->rest.data[len] != (uint8_t)csv->delimiter &&
           csv->rest.data[len] != '\n') {
        if (csv->rest.data[len] == '"')
            return nj_fail(err, NJ_E_INPUT,
                           "line %u: a quote inside field %zu: put the whole field in quotes and "
                           "write the quote twice",
                           csv->line, row->count + 1);
        len++;
    }
    if (len > 0 && csv->rest.data[len - 1] == '\r' &&
        (len == csv->rest.len || csv->rest.data[len] == '\n'))
        len--;
    r = append(csv, row, csv->rest.data, len, err);
    pass(csv, len);
    if (csv->rest.len == 1 && csv->rest.data[0] == '\r')
        pass(csv, 1);
    return r;
}

static int check_text(const struct nj_csv *csv, struct nj_span field, size_t number,
                      struct nj_error *err)
{
    while (field.len > 0) {
        uint32_t point = 0;
        size_t len = nj_utf8_next(field, &point);

        if (len == 0)
            return nj_fail(err, NJ_E_INPUT, "line %u: field %zu is not UTF-8", csv->row_line,
                           number);
        if (point == 0)
            return nj_fail(err, NJ_E_INPUT, "line %u: field %zu holds a NUL character",
                           csv->row_line, number);
        field.data += len;
        field.len -= len;
    }
    return 0;
}

static int read_row(struct nj_csv *csv, struct nj_csv_row *row, struct nj_error *err)
{
    for (;;) {
        size_t start = row->text.len;
        int r;

        if (row->count == NJ_CSV_COLUMNS_MAX)
            return nj_fail(err, NJ_E_INPUT, "line %u: more than %d fields", csv->row_line,
                           NJ_CSV_COLUMNS_MAX);
        if (csv->rest.len > 0 && csv->rest.data[0] == '"')
            r = read_quoted(csv, row, err);
        else
            r = read_plain(csv, row, err);
        if (r < 0)
            return r;
        row->fields[row->count++] = (struct nj_span){NULL, row->text.len - start};
        if (csv->rest.len == 0 || line_end(csv))
            return 0;
        if (csv->rest.data[0] != (uint8_t)csv->delimiter)
            return nj_fail(err, NJ_E_INPUT,
                           "line %u: something stands behind the closing quote of "
                           "field %zu",
                           csv->line, row->count);
        pass(csv, 1);
    }
}

int nj_csv_next(struct nj_csv *csv, struct nj_csv_row *row, struct nj_error *err)
{
    size_t at = 0;
    int r;

    row->count = 0;
    if (row->text.max == 0)
        nj_buf_init(&row->text, 2 * (size_t)NJ_CSV_ROW_MAX_BYTES);
    nj_buf_clear(&row->text);
    while (line_end(csv))
        continue;
    if (csv->rest.len == 0)
        return 0;
    csv->row_line = csv->line;
    r = read_row(csv, row, err);
    for (size_t i = 0; r == 0 && i < row->count; i++) {
        row->fields[i].data = row->text.data ? row->text.data + at : (const uint8_t *)"";
        at += row->fields[i].len;
        r = check_text(csv, row->fields[i], i + 1, err);
    }
    return r < 0 ? r : 1;
}
