/*
 * progress.c - one line on a terminal, a line a session elsewhere
 */
#include "batch/report/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define LINE_CHARS 72
#define REDRAW_MS 100

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Printable ASCII as it is, everything else as \xNN, at most @size - 1 characters. */
static void escape(char *out, size_t size, const char *text)
{
    size_t used = 0;

    for (const unsigned char *c = (const unsigned char *)text; *c && used + 5 < size; c++) {
        if (*c >= 0x20 && *c < 0x7f)
            out[used++] = (char)*c;
        else
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", *c);
    }
    out[used] = '\0';
}

void nj_progress_init(struct nj_progress *progress, bool quiet, size_t total)
{
    *progress = (struct nj_progress){.quiet = quiet,
                                     .terminal = isatty(STDERR_FILENO) == 1,
                                     .total = total,
                                     .started_ms = now_ms()};
}

void nj_progress_ended(struct nj_progress *progress, const char *key, bool succeeded,
                       const char *error)
{
    char name[256];
    char reason[512];

    if (succeeded)
        progress->succeeded++;
    else
        progress->failed++;
    if (progress->quiet)
        return;
    escape(name, sizeof(name), key);
    escape(reason, sizeof(reason), error ? error : "");
    if (progress->terminal && succeeded) {
        nj_progress_draw(progress, false);
        return;
    }
    if (progress->terminal)
        fprintf(stderr, "\r%*s\r", LINE_CHARS, "");
    if (succeeded)
        fprintf(stderr, "[%zu/%zu] %s succeeded\n", progress->succeeded + progress->failed,
                progress->total, name);
    else
        fprintf(stderr, "[%zu/%zu] %s failed: %s\n", progress->succeeded + progress->failed,
                progress->total, name, reason);
}

void nj_progress_draw(struct nj_progress *progress, bool now)
{
    int64_t time_ms = now_ms();
    char line[LINE_CHARS + 1];

    if (progress->quiet || !progress->terminal)
        return;
    if (!now && time_ms - progress->drawn_ms < REDRAW_MS)
        return;
    progress->drawn_ms = time_ms;
    (void)snprintf(line, sizeof(line),
                   "%zu/%zu done, %zu running, %zu failed, %.2f USD, %" PRId64 " s",
                   progress->succeeded + progress->failed, progress->total, progress->running,
                   progress->failed, (double)progress->spent_micro_usd / 1e6,
                   (time_ms - progress->started_ms) / 1000);
    fprintf(stderr, "\r%-*s", LINE_CHARS, line);
    (void)fflush(stderr);
}

void nj_progress_done(struct nj_progress *progress)
{
    nj_progress_draw(progress, true);
    if (progress->terminal && !progress->quiet)
        fputc('\n', stderr);
}
