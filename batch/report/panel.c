/*
 * panel.c - the picture of a run at work
 *
 * Figures are pieces that flow: as many on a line as fit, so that one picture serves 40 columns and
 * 200.
 */
#include "batch/report/panel.h"

#include "batch/report/text.h"

#include "formats/base/banned.h"

#define COLUMNS_MIN 28u
#define ROWS_MAX 8u
#define BAR_MAX 60u

struct frame {
    const struct nj_panel *panel;
    const struct nj_panel_style *style;
    struct nj_buf *out;
    struct nj_error *err; /* the first failure sticks */
    size_t width;         /* of a line: one less than the terminal, whose last column may wrap */
    size_t used;          /* columns of the line under way */
    size_t rows;          /* lines begun, from 1 */
    size_t rows_max;
    bool full; /* no further line has room */
};

static void put(struct frame *f, const char *text)
{
    if (f->err->code == 0)
        (void)!nj_buf_text(f->out, text, f->err);
}

static void color(struct frame *f, const char *code)
{
    if (f->style->color)
        put(f, code);
}

/* Our own text: its columns are its characters. */
static void put_plain(struct frame *f, const char *text, size_t columns)
{
    put(f, text);
    f->used += columns;
}

static void put_foreign(struct frame *f, const char *text, size_t max_columns)
{
    int columns = 0;

    if (f->err->code == 0)
        columns = nj_text_shown(f->out, text, max_columns, f->style->utf8, f->err);
    if (columns > 0)
        f->used += (size_t)columns;
}

static bool new_line(struct frame *f)
{
    if (f->full || f->rows == f->rows_max) {
        f->full = true;
        return false;
    }
    put(f, "\x1b[K\r\n");
    f->rows++;
    f->used = 0;
    put_plain(f, " ", 1);
    return true;
}

/* One piece of the flow: "1,204 failed". */
static void piece(struct frame *f, const char *code, const char *text)
{
    size_t columns = strlen(text);
    size_t gap = f->used > 1 ? (f->style->columns < 60 ? 2 : 3) : 0;

    if (f->used + gap + columns > f->width) {
        if (!new_line(f))
            return;
        gap = 0;
    }
    if (f->full || f->used + columns > f->width)
        return;
    for (; gap > 0; gap--)
        put_plain(f, " ", 1);
    color(f, code);
    put_plain(f, text, columns);
    color(f, NJ_TEXT_PLAIN);
}

/* A figure and its word as a piece; left out when it is 0 and @always is not set. */
static void figure(struct frame *f, const char *code, uint64_t value, const char *word, bool always)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    if (value == 0 && !always)
        return;
    nj_buf_init(&text, 256);
    if (f->err->code == 0 && nj_text_count(&text, value, f->err) == 0 &&
        nj_buf_printf(&text, f->err, " %s", word) == 0)
        piece(f, code, (const char *)text.data);
}

/* ---- the lines ---- */

static void put_bar(struct frame *f, size_t width)
{
    const struct nj_panel *p = f->panel;
    size_t total = p->total ? p->total : 1;
    size_t ok = (p->succeeded + p->skipped) * width / total;
    size_t done = (p->succeeded + p->skipped + p->failed) * width / total;
    const char *full = f->style->utf8 ? "\xe2\x94\x81" : "#";
    const char *rest = f->style->utf8 ? (f->style->color ? "\xe2\x94\x81" : "\xe2\x94\x80") : "-";

    if (p->failed > 0 && done == ok && ok > 0)
        ok--; /* a failure is seen however few they are */
    color(f, NJ_TEXT_GREEN);
    for (size_t i = 0; i < width; i++) {
        if (i == ok)
            color(f, NJ_TEXT_RED);
        if (i == done) {
            color(f, NJ_TEXT_PLAIN);
            color(f, NJ_TEXT_DIM);
        }
        put_plain(f, i < ok ? full : i < done ? (f->style->utf8 ? full : "x") : rest, 1);
    }
    color(f, NJ_TEXT_PLAIN);
}

static void put_head(struct frame *f)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const struct nj_panel *p = f->panel;
    size_t done = p->succeeded + p->failed + p->skipped;
    size_t bar;

    nj_buf_init(&text, 256);
    if (!new_line(f) || f->err->code != 0 ||
        nj_buf_printf(&text, f->err, "  %zu %%  ", p->total ? done * 100 / p->total : 100) < 0 ||
        nj_text_count(&text, done, f->err) < 0 || nj_buf_text(&text, "/", f->err) < 0 ||
        nj_text_count(&text, p->total, f->err) < 0)
        return;
    if (f->width >= 60) {
        color(f, NJ_TEXT_BOLD);
        put_foreign(f, p->job, f->width / 4);
        color(f, NJ_TEXT_PLAIN);
        put_plain(f, "  ", 2);
    }
    bar = f->width > f->used + text.len + 4 ? f->width - f->used - text.len : 0;
    put_bar(f, bar < BAR_MAX ? bar : BAR_MAX);
    put_plain(f, (const char *)text.data, text.len);
}

static void put_figures(struct frame *f)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const struct nj_panel *p = f->panel;
    size_t done = p->succeeded + p->failed + p->skipped + p->suspended;
    size_t waiting = p->total > done + p->running ? p->total - done - p->running : 0;

    if (!new_line(f))
        return;
    figure(f, NJ_TEXT_GREEN, p->succeeded, "ok", true);
    figure(f, p->failed ? NJ_TEXT_RED : "", p->failed, "failed", true);
    figure(f, "", p->skipped, "skipped", false);
    figure(f, NJ_TEXT_YELLOW, p->suspended, "suspended", false);
    figure(f, "", p->running, "running", true);
    figure(f, NJ_TEXT_DIM, waiting, "waiting", true);
    if (p->stopping)
        piece(f, NJ_TEXT_YELLOW, "stopping");
    nj_buf_init(&text, 256);
    if (f->err->code == 0 &&
        nj_text_duration(&text, p->elapsed_ms - p->elapsed_ms % 1000, f->err) == 0)
        piece(f, "", (const char *)text.data);
    nj_buf_clear(&text);
    if (f->err->code == 0 && p->per_hour > 0 &&
        (p->per_hour >= 60 ? nj_text_count(&text, (p->per_hour + 30) / 60, f->err)
                           : nj_text_count(&text, p->per_hour, f->err)) == 0 &&
        nj_buf_text(&text, p->per_hour >= 60 ? "/min" : "/h", f->err) == 0)
        piece(f, "", (const char *)text.data);
    nj_buf_clear(&text);
    if (f->err->code == 0 && p->left_ms > 0 &&
        nj_text_duration(&text, p->left_ms - p->left_ms % 1000, f->err) == 0 &&
        nj_buf_text(&text, " left", f->err) == 0)
        piece(f, "", (const char *)text.data);
    nj_buf_clear(&text);
    if (f->err->code == 0 && p->spent_micro_usd > 0 &&
        nj_text_money(&text, p->spent_micro_usd, f->err) == 0)
        piece(f, "", (const char *)text.data);
}

static void put_one(struct frame *f, const char *label, const char *code, const char *key,
                    const char *tail, bool tail_is_foreign)
{
    size_t room;

    if (!key || !new_line(f))
        return;
    color(f, code);
    put_plain(f, label, strlen(label));
    color(f, NJ_TEXT_PLAIN);
    room = f->width - f->used;
    put_foreign(f, key, tail_is_foreign ? room / 2 : room - strlen(tail) - 2);
    put_plain(f, "  ", 2);
    if (tail_is_foreign)
        put_foreign(f, tail, f->width - f->used);
    else
        put_plain(f, tail, strlen(tail));
}

int nj_panel_draw(const struct nj_panel *panel, const struct nj_panel_style *style,
                  struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf slow = {0};
    struct nj_error first = {0};
    struct frame f = {.panel = panel, .style = style, .out = out, .err = &first, .rows = 1};

    if (style->columns < COLUMNS_MIN || style->rows < 3)
        return nj_buf_text(out, NJ_PANEL_CLEAR, err); /* nothing can be told in that */
    f.width = style->columns - 1;
    f.rows_max = style->rows - 1 < ROWS_MAX ? style->rows - 1 : ROWS_MAX;
    nj_buf_init(&slow, 64);
    put(&f, "\x1b[?2026h\r");
    put_head(&f);
    put_figures(&f);
    if (panel->slowest &&
        nj_text_duration(&slow, panel->slowest_ms - panel->slowest_ms % 1000, &first) == 0)
        put_one(&f, "slowest  ", NJ_TEXT_DIM, panel->slowest, (const char *)slow.data, false);
    put_one(&f, "failed   ", NJ_TEXT_RED, panel->failed_key,
            panel->failed_why ? panel->failed_why : "", true);
    if (first.code == 0)
        (void)!nj_buf_printf(out, &first, "\x1b[K\x1b[J\x1b[%zuA\r\x1b[?2026l", f.rows - 1);
    if (first.code != 0) {
        *err = first;
        return -(int)err->code;
    }
    return 0;
}

int nj_panel_line(const struct nj_panel *panel, struct nj_buf *out, struct nj_error *err)
{
    size_t done = panel->succeeded + panel->failed + panel->skipped;

    if (nj_buf_printf(out, err, "%zu/%zu done, %zu failed, %zu running", done, panel->total,
                      panel->failed, panel->running) < 0)
        return -(int)err->code;
    if (panel->per_hour > 0 &&
        nj_buf_printf(out, err, ", %llu %s",
                      (unsigned long long)(panel->per_hour >= 60 ? (panel->per_hour + 30) / 60
                                                                 : panel->per_hour),
                      panel->per_hour >= 60 ? "a minute" : "an hour") < 0)
        return -(int)err->code;
    if (panel->left_ms > 0 &&
        (nj_buf_text(out, ", ", err) < 0 || nj_text_duration(out, panel->left_ms, err) < 0 ||
         nj_buf_text(out, " left", err) < 0))
        return -(int)err->code;
    if (panel->spent_micro_usd > 0 &&
        (nj_buf_text(out, ", ", err) < 0 || nj_text_money(out, panel->spent_micro_usd, err) < 0))
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}
