/*
 * utf8.h - one strict UTF-8 decoder for everything that checks, escapes or shows text
 */
#ifndef NJ_BASE_UTF8_H
#define NJ_BASE_UTF8_H

#include "formats/base/buf.h"

/* nj_utf8_next - decode the character at the front of @text
 *
 * Returns its length in bytes, 1 to 4, or 0 when there is none or the bytes are not strict UTF-8
 * (overlong forms, surrogates, values above U+10FFFF, a cut sequence). */
size_t nj_utf8_next(struct nj_span text, uint32_t *ret_code_point);

/* nj_utf8_trim - end a C string behind its last whole character before the first that is not strict
 * UTF-8: what snprintf() cut in the middle of a character can then be packed */
void nj_utf8_trim(char *text);

/* nj_utf8_clean - put '?' for each byte of a C string that is not part of strict UTF-8; the length
 * stays */
void nj_utf8_clean(char *text);

/* nj_utf8_is_unsafe - true for what can drive or deceive a terminal: C0 and C1 controls, DEL, line
 * and paragraph separators, and the bidirectional controls that reorder what a person reads */
bool nj_utf8_is_unsafe(uint32_t code_point);

#endif
