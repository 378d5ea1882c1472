/*
 * log.h - structured lines on standard error, for programs; libraries return errors instead
 *
 * A line is "LEVEL text" for a person, or with NJ_LOG=json one JSON object. Control characters in
 * the text are escaped: what a sandbox wrote can never drive a terminal.
 */
#ifndef NJ_BASE_LOG_H
#define NJ_BASE_LOG_H

#include "formats/base/error.h"

enum nj_log_level { NJ_LOG_ERROR, NJ_LOG_WARN, NJ_LOG_INFO, NJ_LOG_DEBUG };

void nj_log_init(const char *program, enum nj_log_level max_level);
/* nj_log_set_hook - call @before ahead of each line: whoever draws on the same terminal takes its
 * picture off there. NULL for none. */
void nj_log_set_hook(void (*before)(void *ctx), void *ctx);

void nj_log(enum nj_log_level level, const char *fmt, ...) NJ_PRINTF(2, 3);

#endif
