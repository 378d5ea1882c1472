/*
 * cmd_status.c - nightjar status RUN: how far it is, whether anybody is at work on it, and what to
 * do next
 *
 * Counts come from run.json, which a live engine keeps current to a second. The rest (groups,
 * causes, who is slow) is folded from the journal: once, and with --watch only what came since.
 * Where that would take long for a single look, it is left out and said.
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "batch/cli/cmd.h"
#include "batch/cli/view.h"
#include "batch/report/panel.h"
#include "batch/report/text.h"

#include "formats/base/banned.h"

#define LOOK_MAX_BYTES (UINT64_C(512) << 20) /* of journal, for one look: about a second */
#define GROUPS_SHOWN_MAX 8
#define CAUSES_SHOWN_MAX 5
#define RUNNING_SHOWN_MAX 3

enum { OPT_WATCH = 1, OPT_JSON };

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

enum condition { WORKING, DIED, SUSPENDED, FAILED, FINISHED };

static enum condition condition_of(const struct nj_view *view)
{
    const char *state = view->state.state;

    if (view->working)
        return WORKING;
    if (strcmp(state, "running") == 0)
        return DIED;
    if (strcmp(state, "suspended") == 0)
        return SUSPENDED;
    return strcmp(state, "failed") == 0 ? FAILED : FINISHED;
}

static const char *condition_word(enum condition condition)
{
    switch (condition) {
    case WORKING:
        return "running";
    case DIED:
        return "dead";
    case SUSPENDED:
        return "suspended";
    case FAILED:
        return "failed";
    case FINISHED:
        return "finished";
    }
    return "";
}

/* What to type next; NULL: nothing. */
static char *advice(const struct nj_view *view, enum condition condition)
{
    NJ_AUTO(nj_buf_done) struct nj_buf run = {0};
    const struct nj_run_counts *counts = &view->state.sessions;
    struct nj_error ignored = {0};
    char *text = NULL;
    int r = 0;

    nj_buf_init(&run, 1u << 16);
    if (nj_text_shell(&run, view->dir.path, &ignored) < 0)
        return NULL;
    if (condition == WORKING)
        r = asprintf(&text, "nightjar stop %s", (const char *)run.data);
    else if (condition != FINISHED)
        r = asprintf(&text, "nightjar resume %s%s", (const char *)run.data,
                     strcmp(view->state.stop_reason, "budget") == 0 ? " --budget USD" : "");
    else if (counts->failed > 0)
        r = asprintf(&text, "nightjar resume %s --retry-failed", (const char *)run.data);
    else
        r = asprintf(&text, "nightjar report %s", (const char *)run.data);
    return r < 0 ? NULL : text;
}

/* ---- for people ---- */

static int put_head(const struct nj_view *view, enum condition condition,
                    const struct nj_summary_style *style, struct nj_buf *out, struct nj_error *err)
{
    char holder[128] = "";
    int r = 0;

    if (nj_text_shown(out, view->state.job, style->columns / 2, style->utf8, err) < 0 ||
        nj_buf_text(out, ": ", err) < 0)
        return -(int)err->code;
    nj_holder_text(&view->holder, holder, sizeof(holder));
    switch (condition) {
    case WORKING:
        r = nj_buf_printf(out, err, "running, %s", holder);
        break;
    case DIED:
        r = nj_buf_printf(out, err, "its engine died (%s); nothing that was written is lost",
                          holder);
        break;
    case SUSPENDED:
        r = nj_buf_printf(out, err, "suspended (%s)",
                          view->state.stop_reason[0] ? view->state.stop_reason : "stopped");
        break;
    case FAILED:
        r = nj_buf_text(out, "the engine had to stop; what is durable is kept", err);
        break;
    case FINISHED:
        r = nj_buf_text(out, "finished", err);
        break;
    }
    return r < 0 ? r : nj_buf_text(out, "\n", err);
}

/* put_part - ", N word", on a line of its own where the terminal has no room; @line is where the
 * line began */
static int put_part(uint64_t count, const char *word, size_t columns, size_t *line,
                    struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf part = {0};
    bool any = out->data[out->len - 1] != ' ';

    nj_buf_init(&part, 256);
    if (nj_text_count(&part, count, err) < 0 || nj_buf_printf(&part, err, " %s", word) < 0)
        return -(int)err->code;
    /* Two for what stands before it, one for a comma behind it. */
    if (any && out->len - *line + 2 + part.len + 1 > columns) {
        if (nj_buf_text(out, ",\n", err) < 0)
            return -(int)err->code;
        *line = out->len;
        if (nj_buf_text(out, "            ", err) < 0)
            return -(int)err->code;
    } else if (any && nj_buf_text(out, ", ", err) < 0) {
        return -(int)err->code;
    }
    return nj_buf_append(out, part.data, part.len, err);
}

static int put_counts(const struct nj_view *view, const struct nj_summary_style *style,
                      struct nj_buf *out, struct nj_error *err)
{
    const struct nj_run_counts *c = &view->state.sessions;
    struct {
        uint64_t count;
        const char *word;
        bool always;
    } parts[] = {{c->succeeded, "succeeded", true},  {c->reused, "of them reused", false},
                 {c->failed, "failed", true},        {c->skipped, "skipped", false},
                 {c->suspended, "suspended", false}, {c->running, "running", view->working},
                 {c->waiting, "waiting", false},     {c->retrying, "of them again", false}};
    size_t line = out->len;

    if (nj_buf_text(out, "  sessions  ", err) < 0 || nj_text_count(out, c->total, err) < 0 ||
        nj_buf_text(out, ": ", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if ((parts[i].count > 0 || parts[i].always) &&
            put_part(parts[i].count, parts[i].word, style->columns, &line, out, err) < 0)
            return -(int)err->code;
    }
    if (nj_buf_text(out, "\n  cost      ", err) < 0 ||
        nj_text_money(out, (uint64_t)view->state.spent_micro_usd, err) < 0)
        return -(int)err->code;
    if (view->state.budget_micro_usd >= 0 &&
        (nj_buf_text(out, " of ", err) < 0 ||
         nj_text_money(out, (uint64_t)view->state.budget_micro_usd, err) < 0))
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int put_time(const struct nj_view *view, const struct nj_tally *tally, struct nj_buf *out,
                    struct nj_error *err)
{
    int64_t end_s = view->working ? nj_view_now_ns() / 1000000000 : view->state.updated_s;
    int64_t s = end_s - view->state.created_s;
    size_t ended = tally->all.succeeded + tally->all.failed + tally->all.skipped;
    size_t left = view->state.sessions.total > ended ? view->state.sessions.total - ended : 0;

    if (view->state.created_s == 0)
        return 0;
    if (nj_buf_text(out, "  time      ", err) < 0 ||
        (s > 0 ? nj_text_duration(out, (uint64_t)s * 1000, err)
               : nj_buf_text(out, "less than a second", err)) < 0)
        return -(int)err->code;
    if (view->working && ended >= 3 && left > 0 && s > 0 &&
        (nj_buf_text(out, ", about ", err) < 0 ||
         nj_text_duration(out, (uint64_t)s * 1000 * left / ended, err) < 0 ||
         nj_buf_text(out, " left", err) < 0))
        return -(int)err->code;
    if (view->working && view->state.deadline_s > 0 &&
        (nj_buf_text(out, "\n  until     ", err) < 0 ||
         nj_text_time(out, view->state.deadline_s * 1000000000, err) < 0))
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int put_groups(const struct nj_tally *tally, const struct nj_summary_style *style,
                      struct nj_buf *out, struct nj_error *err)
{
    for (size_t i = 0; tally->n_groups > 1 && i < tally->n_groups && i < GROUPS_SHOWN_MAX; i++) {
        const struct nj_tally_sum *sum = &tally->groups[i];

        if (nj_buf_printf(out, err, "  %-8s  ", i == 0 ? "groups" : "") < 0 ||
            nj_text_count(out, sum->succeeded, err) < 0 || nj_buf_text(out, " of ", err) < 0 ||
            nj_text_count(out, sum->total, err) < 0 || nj_buf_text(out, "  ", err) < 0 ||
            nj_text_shown(out, sum->name, style->columns / 3, style->utf8, err) < 0)
            return -(int)err->code;
        if (sum->failed > 0 &&
            (nj_buf_text(out, ", ", err) < 0 || nj_text_count(out, sum->failed, err) < 0 ||
             nj_buf_text(out, " failed", err) < 0))
            return -(int)err->code;
        if (nj_buf_text(out, "\n", err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* Those that have been at work longest. */
static int put_running(const struct nj_view *view, const struct nj_summary_style *style,
                       struct nj_buf *out, struct nj_error *err)
{
    const struct nj_facts *longest[RUNNING_SHOWN_MAX] = {NULL};
    int64_t now_ns = nj_view_now_ns();

    for (size_t i = 0; view->working && i < view->ledger.n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(&view->ledger, i);

        if (!facts || facts->status != 0 || facts->opened_ns == 0)
            continue;
        for (size_t k = 0; k < RUNNING_SHOWN_MAX; k++)
            if (!longest[k] || facts->opened_ns < longest[k]->opened_ns) {
                memmove(&longest[k] + 1, &longest[k],
                        (RUNNING_SHOWN_MAX - 1 - k) * sizeof(longest[0]));
                longest[k] = facts;
                break;
            }
    }
    for (size_t i = 0; i < RUNNING_SHOWN_MAX && longest[i]; i++)
        if (nj_buf_printf(out, err, "  %-8s  ", i == 0 ? "slowest" : "") < 0 ||
            nj_text_duration(out, nj_ledger_busy_ms(longest[i], now_ns), err) < 0 ||
            nj_buf_text(out, "  ", err) < 0 ||
            nj_text_shown(out, longest[i]->key, style->columns / 2, style->utf8, err) < 0 ||
            nj_buf_printf(out, err, ", %llu steps\n", (unsigned long long)longest[i]->steps) < 0)
            return -(int)err->code;
    return 0;
}

static int put_causes(const struct nj_view *view, const struct nj_tally *tally,
                      const struct nj_summary_style *style, struct nj_buf *out,
                      struct nj_error *err)
{
    for (size_t i = 0; i < tally->n_causes && i < CAUSES_SHOWN_MAX; i++) {
        const struct nj_tally_cause *cause = &tally->causes[i];
        size_t room = style->columns > 40 ? style->columns - 26 : 14;

        if (nj_buf_printf(out, err, "  %-8s  %zu  ", i == 0 ? "failed" : "", cause->count) < 0 ||
            nj_text_shown(out, cause->kind, 10, style->utf8, err) < 0 ||
            nj_buf_text(out, ": ", err) < 0 ||
            nj_text_shown(out, cause->text, room, style->utf8, err) < 0 ||
            nj_buf_text(out, "\n            ", err) < 0)
            return -(int)err->code;
        if (nj_ledger_command(&view->ledger, nj_ledger_at(&view->ledger, cause->first), out, err) <
                0 ||
            nj_buf_text(out, "\n", err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* @tally is NULL where the journal was not read. */
static int put_status(const struct nj_view *view, const struct nj_tally *tally,
                      const struct nj_summary_style *style, struct nj_buf *out,
                      struct nj_error *err)
{
    enum condition condition = condition_of(view);
    nj_auto_free char *next = advice(view, condition);

    if (put_head(view, condition, style, out, err) < 0 || put_counts(view, style, out, err) < 0)
        return -(int)err->code;
    if (tally &&
        (put_time(view, tally, out, err) < 0 || put_groups(tally, style, out, err) < 0 ||
         put_running(view, style, out, err) < 0 || put_causes(view, tally, style, out, err) < 0))
        return -(int)err->code;
    if (!tally &&
        nj_buf_text(out, "  more      the journal is large: --watch or `report` read it\n", err) <
            0)
        return -(int)err->code;
    return nj_buf_printf(out, err, "  next      %s\n", next ? next : "");
}

/* ---- for scripts ---- */

static int put_json(const struct nj_view *view, const struct nj_tally *tally, struct nj_buf *out,
                    struct nj_error *err)
{
    const struct nj_run_counts *c = &view->state.sessions;
    enum condition condition = condition_of(view);
    nj_auto_free char *next = advice(view, condition);
    nj_auto_free char *text = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf report = {0};
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:b, s:s*, s:i, s:f, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, "
        "s:s*}",
        "job", view->state.job, "run", view->dir.path, "state", condition_word(condition),
        "working", view->working, "stop_reason",
        view->state.stop_reason[0] ? view->state.stop_reason : NULL, "pid", (int)view->holder.pid,
        "cost_usd", (double)view->state.spent_micro_usd / 1e6, "sessions", "total",
        (json_int_t)c->total, "succeeded", (json_int_t)c->succeeded, "failed",
        (json_int_t)c->failed, "suspended", (json_int_t)c->suspended, "skipped",
        (json_int_t)c->skipped, "running", (json_int_t)c->running, "waiting",
        (json_int_t)c->waiting, "retrying", (json_int_t)c->retrying, "reused",
        (json_int_t)c->reused, "next", next);

    nj_buf_init(&report, SIZE_MAX / 2);
    if (json && view->state.deadline_s > 0) {
        NJ_AUTO(nj_buf_done) struct nj_buf stamp = {0};

        nj_buf_init(&stamp, 64);
        if (nj_text_stamp(&stamp, view->state.deadline_s * 1000000000, err) < 0) {
            json_decref(json);
            return -(int)err->code;
        }
        (void)json_object_set_new(json, "deadline", json_string((const char *)stamp.data));
    }
    if (json && tally) {
        if (nj_summary_json(&view->ledger, tally, &report, err) < 0) {
            json_decref(json);
            return -(int)err->code;
        }
        (void)json_object_set_new(json, "report",
                                  json_loadb((const char *)report.data, report.len, 0, NULL));
    }
    text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(json);
    if (!text)
        return nj_fail_nomem(err);
    return nj_buf_printf(out, err, "%s\n", text);
}

/* ---- looking ---- */

static int look(struct nj_view *view, bool json, bool deep, const struct nj_summary_style *style,
                struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_tally_done) struct nj_tally tally = {0};

    if (deep && (nj_view_read(view, err) < 0 ||
                 nj_tally_new(&view->ledger, nj_view_now_ns(), &tally, err) < 0))
        return -(int)err->code;
    return json ? put_json(view, deep ? &tally : NULL, out, err)
                : put_status(view, deep ? &tally : NULL, style, out, err);
}

/* On a terminal the text is drawn over the one before: the cursor stays at its first line. */
static int draw_over(struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf frame = {0};
    const char *at = (const char *)out->data;
    struct winsize size = {0};
    size_t lines = 0, lines_max;

    lines_max =
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row - 1u : 23;
    nj_buf_init(&frame, SIZE_MAX / 2);
    if (nj_buf_text(&frame, "\x1b[?2026h\x1b[?7l\r", err) < 0)
        return -(int)err->code;
    for (const char *end; lines < lines_max && (end = strchr(at, '\n')); at = end + 1, lines++)
        if (nj_buf_append(&frame, at, (size_t)(end - at), err) < 0 ||
            nj_buf_text(&frame, "\x1b[K\r\n", err) < 0)
            return -(int)err->code;
    if (nj_buf_printf(&frame, err, "\x1b[J\x1b[%zuA\r\x1b[?7h\x1b[?2026l", lines) < 0)
        return -(int)err->code;
    nj_buf_clear(out);
    return nj_fsio_write(STDOUT_FILENO, frame.data, frame.len, err);
}

static int watch(struct nj_view *view, bool json, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0}, before = {0};
    bool terminal = isatty(STDOUT_FILENO) == 1 && !json;
    struct sigaction action = {.sa_handler = on_signal};
    struct timespec pause = {.tv_sec = 1};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    nj_buf_init(&out, SIZE_MAX / 2);
    nj_buf_init(&before, SIZE_MAX / 2);
    for (;;) {
        struct nj_summary_style style = nj_view_style(STDOUT_FILENO);
        int r;

        nj_buf_clear(&out);
        if (nj_view_refresh(view, err) < 0 || look(view, json, true, &style, &out, err) < 0)
            return -(int)err->code;
        if (!view->working || interrupted)
            break;
        if (terminal)
            r = draw_over(&out, err);
        else if (nj_span_equal(nj_buf_span(&out), nj_buf_span(&before)))
            r = 0;
        else
            r = nj_fsio_write(STDOUT_FILENO, out.data, out.len, err);
        if (r < 0)
            return r;
        nj_buf_clear(&before);
        if (nj_buf_append(&before, out.data, out.len, err) < 0)
            return -(int)err->code;
        (void)nanosleep(&pause, NULL); /* a signal only ends it sooner */
    }
    if (terminal && nj_fsio_write(STDOUT_FILENO, NJ_PANEL_CLEAR, strlen(NJ_PANEL_CLEAR), err) < 0)
        return -(int)err->code;
    return nj_command_print(&out, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_view_done) struct nj_view view = NJ_VIEW_EMPTY;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_summary_style style = nj_view_style(STDOUT_FILENO);
    bool watching = false, json = false;
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_WATCH)
            watching = true;
        else if (r == OPT_JSON)
            json = true;
    }
    if (r < 0 || nj_view_open(args->operands[0], -1, &view, err) < 0)
        return -(int)err->code;
    if (watching)
        return watch(&view, json, err);
    nj_buf_init(&out, SIZE_MAX / 2);
    if (look(&view, json, nj_view_journal_bytes(&view) <= LOOK_MAX_BYTES, &style, &out, err) < 0)
        return -(int)err->code;
    return nj_command_print(&out, err);
}

const struct nj_command nj_cmd_status = {
    .name = "status",
    .summary = "how far a run is, and what to do next",
    .help = "Tells whether an engine is at work on RUN (or died, or was suspended), how many "
            "sessions have ended and how, what it cost, which have been running longest and why "
            "others failed. Works beside a live engine.",
    .operands = (const struct nj_operand[]){{.name = "RUN", .takes = NJ_TAKES_RUN}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_WATCH, "watch", .help = "again every second, until the run ends"},
            {OPT_JSON, "json", .help = "one JSON object; with --watch one for every change"},
            {0},
        },
    .examples = "nightjar status runs/last-night --watch\n",
    .see = "nightjar-report(1) nightjar-stop(1) nightjar-resume(1)",
    .run = run,
};
