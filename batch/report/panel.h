/*
 * panel.h - the picture of a run at work, as lines for a terminal of any width
 *
 * Pure: figures in, bytes out; progress.h decides when and where. No line is wider than the
 * terminal, none wraps, and text of files and agents is escaped and cut by display width.
 */
#ifndef NJ_PANEL_H
#define NJ_PANEL_H

#include "formats/base/buf.h"

struct nj_panel {
    const char *job;
    size_t total;
    size_t succeeded;
    size_t failed;
    size_t skipped;
    size_t suspended; /* alone, by their budget */
    size_t running;
    bool stopping;
    uint64_t elapsed_ms;
    uint64_t spent_micro_usd;
    uint64_t per_hour;   /* sessions that end an hour; 0: not known yet */
    uint64_t left_ms;    /* 0: not known */
    const char *slowest; /* key of the one that has run longest; NULL: none */
    uint64_t slowest_ms;
    const char *failed_key; /* the last failure; NULL: none */
    const char *failed_why;
};

struct nj_panel_style {
    size_t columns;
    size_t rows;
    bool utf8;
    bool color;
};

/*
 * nj_panel_draw - append one frame
 *
 * The cursor is taken to stand where the panel's first line belongs, and is left there: whatever
 * anybody else writes meanwhile lands above the next frame, and a resize cannot lose the place. The
 * first line is empty, so that the cursor covers nothing.
 */
int nj_panel_draw(const struct nj_panel *panel, const struct nj_panel_style *style,
                  struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* What takes the panel off the screen again, from where the cursor was left. */
#define NJ_PANEL_CLEAR "\r\x1b[J"

/* nj_panel_line - the same figures as one plain line */
int nj_panel_line(const struct nj_panel *panel, struct nj_buf *out,
                  struct nj_error *err) NJ_MUST_USE;

#endif
