/*
 * rows.c - rows and lines that fit a terminal
 */
#include "batch/cli/rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "batch/plan/shown.h"
#include "batch/report/text.h"

#include "formats/base/banned.h"

#define VALUE_MAX_BYTES (1u << 20)
#define LABEL_COLUMNS 11 /* and two blanks before it, one behind */
#define LINE_HEAD_MAX_BYTES 64
#define SET_IN_MAX 8

static bool begin(struct nj_rows *rows)
{
    if (rows->value.max == 0)
        nj_buf_init(&rows->value, VALUE_MAX_BYTES);
    return rows->r == 0;
}

void nj_rows_put(struct nj_rows *rows, const char *fmt, ...)
{
    char text[512];
    va_list args;
    int n;

    if (!begin(rows))
        return;
    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n > 0)
        rows->r = nj_buf_text(&rows->value, text, rows->err);
}

void nj_rows_shown(struct nj_rows *rows, const char *text)
{
    if (begin(rows))
        rows->r = nj_shown_append(&rows->value, text, rows->err);
}

void nj_rows_size(struct nj_rows *rows, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t tenths;
    size_t unit = 0;
    uint64_t whole = bytes;

    while (whole >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        whole >>= 10;
        unit++;
    }
    tenths = unit > 0 ? (bytes >> (10 * (unit - 1))) % 1024 * 10 / 1024 : 0;
    if (whole < 10 && tenths > 0)
        nj_rows_put(rows, "%" PRIu64 ".%" PRIu64 " %s", whole, tenths, units[unit]);
    else
        nj_rows_put(rows, "%" PRIu64 " %s", whole, units[unit]);
}

/* Two decimals, or as many as are needed. */
void nj_rows_usd(struct nj_rows *rows, int64_t micro_usd)
{
    char text[48];
    int n = snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64, micro_usd / 1000000,
                     micro_usd % 1000000);

    for (int spare = 4; n > 0 && spare > 0 && text[n - 1] == '0'; spare--)
        text[--n] = '\0';
    nj_rows_put(rows, "%s USD", text);
}

void nj_rows_time(struct nj_rows *rows, uint64_t seconds)
{
    if (seconds < 120 || seconds % 60 > 0)
        nj_rows_put(rows, "%" PRIu64 " s", seconds);
    else if (seconds < 7200)
        nj_rows_put(rows, "%" PRIu64 " min", seconds / 60);
    else if (seconds < UINT64_C(172800) && seconds % 3600 > 0)
        nj_rows_put(rows, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    else if (seconds < UINT64_C(172800))
        nj_rows_put(rows, "%" PRIu64 " h", seconds / 3600);
    else
        nj_rows_put(rows, "%" PRIu64 " d", seconds / 86400);
}

size_t nj_rows_columns(void)
{
    struct winsize size = {0};

    if (isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
        size.ws_col > 0 && size.ws_col < NJ_ROWS_COLUMNS)
        return size.ws_col;
    return NJ_ROWS_COLUMNS;
}

static void put_wrapped(struct nj_rows *rows, struct nj_span line, size_t indent)
{
    rows->r = nj_text_wrap(rows->out, line, rows->columns, indent, rows->err);
    if (rows->r == 0)
        rows->r = nj_buf_text(rows->out, "\n", rows->err);
}

void nj_rows_row(struct nj_rows *rows, const char *label)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};

    if (!begin(rows) || rows->value.len == 0)
        return;
    nj_buf_init(&line, VALUE_MAX_BYTES + LINE_HEAD_MAX_BYTES);
    rows->r = nj_buf_printf(&line, rows->err, "  %-*s ", LABEL_COLUMNS, label);
    if (rows->r == 0)
        rows->r = nj_buf_append(&line, rows->value.data, rows->value.len, rows->err);
    if (rows->r == 0)
        put_wrapped(rows, nj_buf_span(&line), LABEL_COLUMNS + 3);
    nj_buf_clear(&rows->value);
}

static size_t blanks_before(struct nj_span line)
{
    size_t n = 0;

    while (n < line.len && n < SET_IN_MAX && line.data[n] == ' ')
        n++;
    return n;
}

void nj_rows_line(struct nj_rows *rows)
{
    struct nj_span line = nj_buf_span(&rows->value);

    if (!begin(rows))
        return;
    put_wrapped(rows, line, blanks_before(line) + 4);
    nj_buf_clear(&rows->value);
}

void nj_rows_wrap(struct nj_rows *rows, struct nj_span text)
{
    while (begin(rows) && text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;
        struct nj_span line = {text.data, len};

        put_wrapped(rows, line, blanks_before(line) + 4);
        text.data += len + (end ? 1 : 0);
        text.len -= len + (end ? 1 : 0);
    }
}

int nj_rows_done(struct nj_rows *rows)
{
    nj_buf_done(&rows->value);
    return rows->r;
}
