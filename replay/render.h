/*
 * render.h - what a session left, as text that cannot drive a terminal and JSON that a script can
 * read
 *
 * Everything that came out of a sandbox, a model or a bundle passes through here before it is
 * shown: control characters (C0, C1, DEL), bytes that are not UTF-8 and the characters that reorder
 * or break a line (bidirectional controls, line separators) appear as \xNN or \u{NNNN}. JSON is
 * written in ASCII only, so it is as harmless on a terminal as in a file.
 */
#ifndef NJ_REPLAY_RENDER_H
#define NJ_REPLAY_RENDER_H

#include <jansson.h>

#include "formats/base/digest.h"

#define NJ_RENDER_MAX_BYTES                                                                        \
    (256u << 20) /* of one rendered step: 4 bytes a recorded byte, and room */

/* nj_render_line - append @text as one line: line breaks and tabs are escaped too */
int nj_render_line(struct nj_buf *out, struct nj_span text, struct nj_error *err) NJ_MUST_USE;

/* nj_render_quoted - the same between double quotes, with \" and \\ so that it can be read back
 * exactly */
int nj_render_quoted(struct nj_buf *out, struct nj_span text, struct nj_error *err) NJ_MUST_USE;

/* nj_render_text - append @text with its own line breaks and tabs, @indent before each line; ends
 * in a line break unless @text is empty */
int nj_render_text(struct nj_buf *out, struct nj_span text, const char *indent,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_render_name - append @name as it is where every byte is plain, else quoted: `ls` output */
int nj_render_name(struct nj_buf *out, struct nj_span name, struct nj_error *err) NJ_MUST_USE;

/* Figures. Money is micro-USD; times are UTC. Each appends. */
int nj_render_money(struct nj_buf *out, uint64_t micro_usd, struct nj_error *err) NJ_MUST_USE;
int nj_render_duration(struct nj_buf *out, uint64_t ms, struct nj_error *err) NJ_MUST_USE;
int nj_render_time(struct nj_buf *out, int64_t time_ns, struct nj_error *err) NJ_MUST_USE;
int nj_render_digest(struct nj_buf *out, const struct nj_digest *digest,
                     struct nj_error *err) NJ_MUST_USE;

/* ---- JSON: NULL means that memory is gone ---- */

/* nj_json_text - a string; bytes that are not UTF-8 become U+FFFD */
json_t *nj_json_text(struct nj_span text);

/* nj_json_digest - 64 hex characters */
json_t *nj_json_digest(const struct nj_digest *digest);

/* nj_json_base64 - a string that holds every byte */
json_t *nj_json_base64(struct nj_span bytes);

/* nj_json_set - object[key] = value (taken); false when @value is NULL or memory is gone */
bool nj_json_set(json_t *object, const char *key, json_t *value);

/* nj_json_line - append @value as one ASCII line with sorted keys; takes @value, NULL is out of
 * memory */
int nj_json_line(struct nj_buf *out, json_t *value, struct nj_error *err) NJ_MUST_USE;

#endif
