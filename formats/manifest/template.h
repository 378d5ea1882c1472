/*
 * template.h - texts with placeholders: "Summarise {results} of {item.stem}"
 *
 * A placeholder is "{" name "}", a name is words of [A-Za-z0-9_-] joined by dots, at most
 * NJ_TEMPLATE_NAME_MAX_CHARS long. "{{" and "}}" stand for one brace. Any other brace is an error,
 * so that a mistyped placeholder is never delivered as text. Values are inserted as they are: they
 * are never expanded again.
 */
#ifndef NJ_MANIFEST_TEMPLATE_H
#define NJ_MANIFEST_TEMPLATE_H

#include "formats/base/buf.h"

#define NJ_TEMPLATE_NAME_MAX_CHARS 128

/*
 * The value of a placeholder. @name is e.g. "item.stem", borrowed for the call; append the value to
 * @out. Returns 0, or fails: NJ_E_INPUT for a name that has no value.
 */
typedef int (*nj_template_lookup)(void *ctx, const char *name, struct nj_buf *out,
                                  struct nj_error *err);

/* nj_template_expand - append the expanded text to @out; on failure @out is as it was */
int nj_template_expand(const char *text, nj_template_lookup lookup, void *ctx, struct nj_buf *out,
                       struct nj_error *err) NJ_MUST_USE;

/*
 * nj_template_check - is this a template whose placeholders are all allowed?
 *
 * @allowed  NULL-terminated: "results" allows {results}; "item." allows any {item.FIELD}
 * Returns the number of placeholders, or fails with NJ_E_INPUT: what is wrong, and the nearest
 * allowed name.
 */
int nj_template_check(const char *text, const char *const *allowed,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_template_uses - does a (checked) template hold this placeholder? "item." asks for any item
 * field. */
bool nj_template_uses(const char *text, const char *name);

#endif
