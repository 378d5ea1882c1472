/*
 * log.c - one line, one write
 *
 * Lines are composed on the stack: logging works when memory is gone, and lines of several
 * processes on one standard error do not mix.
 */
#include "formats/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "formats/base/buf.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES 4096u
#define ESCAPE_MAX_BYTES 4u /* \xNN for one byte */

static const char *program_name = "";
static enum nj_log_level level_max = NJ_LOG_INFO;
static bool as_json;
static void (*hook_before)(void *ctx);
static void *hook_ctx;

static const char *level_word(enum nj_log_level level)
{
    switch (level) {
    case NJ_LOG_ERROR:
        return "error";
    case NJ_LOG_WARN:
        return "warning";
    case NJ_LOG_INFO:
        return "info";
    case NJ_LOG_DEBUG:
        return "debug";
    }
    return "error";
}

void nj_log_init(const char *program, enum nj_log_level max_level)
{
    const char *format = getenv("NJ_LOG");

    program_name = program;
    level_max = max_level;
    as_json = format && strcmp(format, "json") == 0;
}

void nj_log_set_hook(void (*before)(void *ctx), void *ctx)
{
    hook_before = before;
    hook_ctx = ctx;
}

/* escape - @text with everything unsafe as \xNN into @line (4 bytes a byte of room); the length */
static size_t escape(struct nj_span text, char *line)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0, len = 0;

    while (at < text.len) {
        struct nj_span rest = {text.data + at, text.len - at};
        uint32_t code_point = 0;
        size_t bytes = nj_utf8_next(rest, &code_point);
        bool plain = bytes > 0 && !nj_utf8_is_unsafe(code_point);

        for (size_t i = 0; i < (bytes ? bytes : 1); i++) {
            uint8_t byte = rest.data[i];

            if (plain) {
                line[len++] = (char)byte;
                continue;
            }
            line[len++] = '\\';
            line[len++] = 'x';
            line[len++] = hex[byte >> 4];
            line[len++] = hex[byte & 0xf];
        }
        at += bytes ? bytes : 1;
    }
    return len;
}

static void put(const void *line, size_t len)
{
    ssize_t n;

    do {
        n = write(STDERR_FILENO, line, len);
    } while (n < 0 && errno == EINTR); /* any other failure: there is nowhere to tell it */
}

static int put_json(enum nj_log_level level, struct nj_span text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    struct nj_error err = {0};
    int r;

    nj_buf_init(&line, 8 * TEXT_MAX_BYTES);
    r = nj_buf_printf(&line, &err, "{\"level\":\"%s\",\"program\":", level_word(level));
    if (r == 0)
        r = nj_buf_json_text(&line, nj_span_text(program_name), &err);
    if (r == 0)
        r = nj_buf_text(&line, ",\"text\":", &err);
    if (r == 0)
        r = nj_buf_json_text(&line, text, &err);
    if (r == 0)
        r = nj_buf_text(&line, "}\n", &err);
    if (r < 0)
        return r;
    put(line.data, line.len);
    return 0;
}

void nj_log(enum nj_log_level level, const char *fmt, ...)
{
    char text[TEXT_MAX_BYTES], line[ESCAPE_MAX_BYTES * TEXT_MAX_BYTES + 32];
    int saved_errno = errno; /* a log line between a failure and its report changes nothing */
    va_list args;
    size_t len;
    int n;

    if (level > level_max)
        return;
    if (hook_before)
        hook_before(hook_ctx);
    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof(text)) {
        n = sizeof(text) - 1;
        memcpy(text + n - 3, "...", 3);
    }
    if (!as_json || put_json(level, (struct nj_span){(uint8_t *)text, (size_t)n}) < 0) {
        len = (size_t)snprintf(line, 32, "%s ", level_word(level));
        len += escape((struct nj_span){(uint8_t *)text, (size_t)n}, line + len);
        line[len++] = '\n';
        put(line, len);
    }
    errno = saved_errno;
}
