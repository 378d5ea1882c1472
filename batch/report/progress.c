/*
 * progress.c - what a run says on standard error while it works
 *
 * The one complication is that a terminal can stop taking bytes (Ctrl-S, a slow line) while the
 * loop must not wait. So frames go to a description of our own that does not block: what a terminal
 * does not take is kept, and no new frame is made before it is gone. Lines are few and are written
 * as anybody writes them.
 */
#include "batch/report/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "batch/report/text.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

#define FRAME_MAX_BYTES (16u << 10)
#define EACH_MAX 100 /* sessions of a run whose successes get a line each */
#define LINE_EVERY_MS 10000
#define SAMPLES 13 /* of the number done, one every five seconds: the rate of the last minute */
#define SAMPLE_MS 5000

struct nj_progress {
    enum nj_progress_mode mode;
    struct nj_panel panel;
    struct nj_panel_style style;
    bool terminal;
    int fd; /* the terminal, not blocking; -1: standard error is used */
    bool shown;
    struct nj_buf rest; /* of a frame that the terminal did not take */
    int64_t started_ms;
    int64_t line_ms;
    size_t line_done;
    size_t earlier; /* ended before this process */
    char failed_key[256];
    char failed_why[NJ_FACTS_TEXT_MAX_BYTES + 80];
    size_t samples[SAMPLES]; /* done at started_ms + i * SAMPLE_MS, a ring */
    size_t n_samples;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t done(const struct nj_progress *p)
{
    return p->panel.succeeded + p->panel.failed + p->panel.skipped;
}

static void before_log(void *ctx)
{
    nj_progress_clear(ctx);
}

int nj_progress_new(enum nj_progress_mode mode, struct nj_progress **ret_progress,
                    struct nj_error *err)
{
    struct nj_progress *p = calloc(1, sizeof(*p));
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");

    if (!p)
        return nj_fail_nomem(err);
    p->mode = mode;
    p->fd = -1;
    p->panel.job = "";
    p->style.utf8 = nj_text_locale();
    p->style.color = !no_color || !no_color[0];
    p->started_ms = now_ms();
    p->line_ms = p->started_ms;
    nj_buf_init(&p->rest, FRAME_MAX_BYTES);
    p->terminal = mode != NJ_PROGRESS_QUIET && isatty(STDERR_FILENO) == 1 && term && term[0] &&
                  strcmp(term, "dumb") != 0;
    if (p->terminal) {
        p->fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        nj_log_set_hook(before_log, p);
    }
    *ret_progress = p;
    return 0;
}

void nj_progress_free(struct nj_progress *p)
{
    if (!p)
        return;
    nj_progress_clear(p);
    nj_log_set_hook(NULL, NULL);
    nj_close_auto(&p->fd);
    nj_buf_done(&p->rest);
    free(p);
}

struct nj_panel *nj_progress_panel(struct nj_progress *p)
{
    return &p->panel;
}

bool nj_progress_is_terminal(const struct nj_progress *p)
{
    return p->terminal;
}

void nj_progress_start(struct nj_progress *p, const char *job, size_t total, size_t succeeded,
                       size_t failed)
{
    p->panel.job = job;
    p->panel.total = total;
    p->panel.succeeded = succeeded;
    p->panel.failed = failed;
    p->earlier = succeeded + failed;
    p->line_done = p->earlier;
}

/* ---- writing ---- */

static void write_lines(const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* there is nowhere to tell it */
        at += n;
        len -= (size_t)n;
    }
}

/* True when all of an earlier frame is gone. */
static bool flush(struct nj_progress *p)
{
    int fd = p->fd >= 0 ? p->fd : STDERR_FILENO;

    while (p->rest.len > 0) {
        ssize_t n = write(fd, p->rest.data, p->rest.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) { /* the terminal is gone */
            p->terminal = false;
            p->rest.len = 0;
            return false;
        }
        memmove(p->rest.data, p->rest.data + n, p->rest.len - (size_t)n);
        p->rest.len -= (size_t)n;
    }
    return true;
}

static bool is_foreground(const struct nj_progress *p)
{
    pid_t group = tcgetpgrp(p->fd >= 0 ? p->fd : STDERR_FILENO);

    return group < 0 || group == getpgrp();
}

void nj_progress_clear(struct nj_progress *p)
{
    if (!p->shown)
        return;
    p->shown = false;
    (void)flush(p);
    write_lines(NJ_PANEL_CLEAR, strlen(NJ_PANEL_CLEAR));
}

static void take_size(struct nj_progress *p)
{
    struct winsize size = {0};

    if (ioctl(p->fd >= 0 ? p->fd : STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    p->style.columns = size.ws_col;
    p->style.rows = size.ws_row ? size.ws_row : 24;
}

/* A line, to which this adds the end; it may be above the panel. */
static void say(struct nj_progress *p, struct nj_span line)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0}; /* a line less: the run goes on */
    size_t columns = SIZE_MAX;

    nj_progress_clear(p);
    if (p->terminal) {
        take_size(p);
        columns = p->style.columns;
    }
    nj_buf_init(&text, 2 * FRAME_MAX_BYTES);
    if (nj_text_wrap(&text, line, columns, 4, &ignored) == 0 &&
        nj_buf_text(&text, "\n", &ignored) == 0)
        write_lines(text.data, text.len);
}

/* ---- figures ---- */

static void sample(struct nj_progress *p, int64_t elapsed_ms)
{
    size_t due = (size_t)(elapsed_ms / SAMPLE_MS) + 1;

    for (; p->n_samples < due; p->n_samples++)
        p->samples[p->n_samples % SAMPLES] = done(p);
}

static void take_rate(struct nj_progress *p)
{
    int64_t elapsed_ms = now_ms() - p->started_ms;
    size_t oldest, before;
    uint64_t ms, ended;

    sample(p, elapsed_ms);
    oldest = p->n_samples > SAMPLES ? p->n_samples - SAMPLES : 0;
    before = oldest == 0 ? p->earlier : p->samples[oldest % SAMPLES];
    ms = (uint64_t)(elapsed_ms - (int64_t)oldest * SAMPLE_MS);
    ended = done(p) - before;
    p->panel.elapsed_ms = (uint64_t)elapsed_ms;
    p->panel.per_hour = 0;
    p->panel.left_ms = 0;
    if (ms < 1000 || ended < 3)
        return; /* a guess from so little would jump */
    p->panel.per_hour = ended * 3600000 / ms;
    if (p->panel.total > done(p))
        p->panel.left_ms = (p->panel.total - done(p)) * ms / ended;
}

/* ---- events of the run ---- */

static bool says_each(const struct nj_progress *p)
{
    return p->mode == NJ_PROGRESS_VERBOSE || (!p->terminal && p->panel.total <= EACH_MAX);
}

static int put_ended(struct nj_progress *p, const struct nj_facts *facts, struct nj_buf *line,
                     struct nj_error *err)
{
    bool failed = facts->status == NJ_STATUS_FAILED;
    int64_t ns = facts->n_attempts ? facts->attempts[facts->n_attempts - 1].end_ns -
                                         facts->attempts[facts->n_attempts - 1].start_ns
                                   : 0;

    if (nj_buf_printf(line, err, "[%zu/%zu] ", done(p), p->panel.total) < 0 ||
        nj_text_shown(line, facts->key, 200, p->style.utf8, err) < 0 ||
        nj_buf_printf(line, err, " %s", nj_status_text(facts->status)) < 0)
        return -(int)err->code;
    if (p->mode == NJ_PROGRESS_VERBOSE &&
        (nj_buf_text(line, " after ", err) < 0 ||
         nj_text_duration(line, ns > 0 ? (uint64_t)ns / 1000000 : 0, err) < 0 ||
         nj_buf_printf(line, err, ", %llu steps, ", (unsigned long long)facts->steps) < 0 ||
         nj_text_money(line, facts->cost_micro_usd, err) < 0))
        return -(int)err->code;
    if (failed && (nj_buf_text(line, ": ", err) < 0 ||
                   nj_text_shown(line, facts->error_kind, 40, p->style.utf8, err) < 0 ||
                   nj_buf_text(line, ": ", err) < 0 ||
                   nj_text_shown(line, facts->error_text, 400, p->style.utf8, err) < 0))
        return -(int)err->code;
    return 0;
}

void nj_progress_begun(struct nj_progress *p, const char *key)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    struct nj_error ignored = {0}; /* a line less: the run goes on */

    if (p->mode != NJ_PROGRESS_VERBOSE)
        return;
    nj_buf_init(&line, FRAME_MAX_BYTES);
    if (nj_buf_text(&line, "[begun] ", &ignored) == 0 &&
        nj_text_shown(&line, key, 200, p->style.utf8, &ignored) >= 0)
        say(p, nj_buf_span(&line));
}

void nj_progress_ended(struct nj_progress *p, const struct nj_facts *facts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    struct nj_error ignored = {0};

    if (facts->status == NJ_STATUS_SUCCEEDED)
        p->panel.succeeded++;
    else if (facts->status == NJ_STATUS_SKIPPED)
        p->panel.skipped++;
    else
        p->panel.failed++;
    if (facts->status == NJ_STATUS_FAILED) {
        (void)snprintf(p->failed_key, sizeof(p->failed_key), "%s", facts->key);
        (void)snprintf(p->failed_why, sizeof(p->failed_why), "%s: %s", facts->error_kind,
                       facts->error_text);
        p->panel.failed_key = p->failed_key;
        p->panel.failed_why = p->failed_why;
    }
    if (p->mode == NJ_PROGRESS_QUIET || (facts->status != NJ_STATUS_FAILED && !says_each(p)))
        return;
    nj_buf_init(&line, FRAME_MAX_BYTES);
    if (put_ended(p, facts, &line, &ignored) == 0)
        say(p, nj_buf_span(&line));
}

static void draw(struct nj_progress *p)
{
    struct nj_error ignored = {0};

    if (!is_foreground(p)) {
        p->shown = false; /* it is somebody else's screen now */
        return;
    }
    if (!flush(p) || !p->terminal)
        return;
    take_size(p);
    nj_buf_clear(&p->rest);
    if (nj_panel_draw(&p->panel, &p->style, &p->rest, &ignored) < 0) {
        nj_buf_clear(&p->rest);
        return;
    }
    p->shown = true;
    (void)flush(p);
}

void nj_progress_tick(struct nj_progress *p)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    struct nj_error ignored = {0};
    int64_t time_ms = now_ms();

    if (p->mode == NJ_PROGRESS_QUIET)
        return;
    take_rate(p);
    if (p->terminal) {
        draw(p);
        return;
    }
    if (says_each(p) || time_ms - p->line_ms < LINE_EVERY_MS || done(p) == p->line_done)
        return;
    p->line_ms = time_ms;
    p->line_done = done(p);
    nj_buf_init(&line, FRAME_MAX_BYTES);
    if (nj_panel_line(&p->panel, &line, &ignored) == 0)
        write_lines(line.data, line.len);
}
