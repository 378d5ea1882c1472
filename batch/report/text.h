/*
 * text.h - figures and foreign text as people and formats read them
 *
 * Keys, errors and names come from files, agents and servers: whatever they hold, each function
 * here gives text that is harmless where it goes and can be told apart from other text. All append.
 */
#ifndef NJ_REPORT_TEXT_H
#define NJ_REPORT_TEXT_H

#include "formats/base/buf.h"

/* What sets a terminal's color, for whoever was told that there is one. */
#define NJ_TEXT_BOLD "\x1b[1m"
#define NJ_TEXT_DIM "\x1b[2m"
#define NJ_TEXT_RED "\x1b[31m"
#define NJ_TEXT_GREEN "\x1b[32m"
#define NJ_TEXT_YELLOW "\x1b[33m"
#define NJ_TEXT_PLAIN "\x1b[0m"

/* ---- figures ---- */

/* nj_text_count - 1204 as 1,204 */
int nj_text_count(struct nj_buf *out, uint64_t value, struct nj_error *err) NJ_MUST_USE;

/* nj_text_short_count - 999, 12.3 k, 4.5 M */
int nj_text_short_count(struct nj_buf *out, uint64_t value, struct nj_error *err) NJ_MUST_USE;

/* nj_text_money - micro-USD as "1.23 USD"; four decimals below one cent's tenth matter: 0.0042 */
int nj_text_money(struct nj_buf *out, uint64_t micro_usd, struct nj_error *err) NJ_MUST_USE;

/* nj_text_duration - "812 ms", "4.2 s", "4 s", "3 min 12 s", "4 h 05 min", "2 d 3 h" */
int nj_text_duration(struct nj_buf *out, uint64_t ms, struct nj_error *err) NJ_MUST_USE;

/* nj_text_time - "2026-11-22 02:00:07 UTC"; nj_text_stamp - "2026-11-22T02:00:07.123Z" */
int nj_text_time(struct nj_buf *out, int64_t time_ns, struct nj_error *err) NJ_MUST_USE;
int nj_text_stamp(struct nj_buf *out, int64_t time_ns, struct nj_error *err) NJ_MUST_USE;

/* nj_text_seconds - "12.345" */
int nj_text_seconds(struct nj_buf *out, uint64_t ms, struct nj_error *err) NJ_MUST_USE;

/* nj_text_usd - "0.003300": for formats, always six decimals */
int nj_text_usd(struct nj_buf *out, uint64_t micro_usd, struct nj_error *err) NJ_MUST_USE;

/* ---- foreign text ---- */

/* nj_text_locale - take the locale from the environment; true when terminals get UTF-8. Called once
 * by a program before it shows anything. */
bool nj_text_locale(void);

/*
 * nj_text_shown - @text on one line of a terminal, cut to @max_columns
 *
 * @utf8  as nj_text_locale() said; without it everything beyond ASCII is escaped
 *
 * Controls, bytes that are no UTF-8 and what reorders a line appear as \xNN. What is cut ends in an
 * ellipsis (three dots without UTF-8). Returns the columns used, or fails.
 */
int nj_text_shown(struct nj_buf *out, const char *text, size_t max_columns, bool utf8,
                  struct nj_error *err) NJ_MUST_USE;

/*
 * nj_text_wrap - @line, which has no line break, in as many lines as a terminal of @max_columns
 * needs
 *
 * Broken between words; what follows is set in by @indent blanks, and within the first @indent
 * columns nothing is broken. A word wider than a line stands beyond its end: a path that is cut in
 * two cannot be copied. A color's code takes no columns.
 */
int nj_text_wrap(struct nj_buf *out, struct nj_span line, size_t max_columns, size_t indent,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_text_shell - as one word of a shell's command line */
int nj_text_shell(struct nj_buf *out, const char *text, struct nj_error *err) NJ_MUST_USE;

/* nj_text_tsv - as a field of a tab-separated file: \t \n \r \\ and \xNN; an empty one is "-" */
int nj_text_tsv(struct nj_buf *out, const char *text, struct nj_error *err) NJ_MUST_USE;

/* nj_text_xml - as character data or attribute value of XML 1.0 and HTML: the five entities, and
 * what XML cannot hold as \xNN */
int nj_text_xml(struct nj_buf *out, const char *text, struct nj_error *err) NJ_MUST_USE;

#endif
