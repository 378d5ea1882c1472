/*
 * forecast.c - a plan in words or JSON
 *
 * The complication: nobody reads a hundred thousand lines, and nobody wants to miss the one session
 * that changed. So sessions of a group that would run for the same reason are told together, with
 * the first of them by name; JSON has them all.
 */
#include "batch/cli/forecast.h"

#include <inttypes.h>

#include "batch/cli/forecast_cost.h"
#include "batch/cli/rows.h"

#include "formats/base/banned.h"

#define REASONS_MAX 20 /* of one group, in words */
#define REASON_MAX_BYTES 300

/* ---- one session ---- */

static const char *const verdicts[] = {"reuse", "new", "changed", "failed"};

struct judged {
    enum nj_reuse_verdict verdict;
    struct nj_buf why;
};

static int judge(const struct nj_plan *plan, struct nj_reuse *reuse,
                 const struct nj_plan_session *session, struct judged *ret, struct nj_error *err)
{
    int r = NJ_REUSE_NEW;

    nj_buf_clear(&ret->why);
    if (reuse)
        r = nj_reuse_judge(reuse, plan, session, &ret->why, err);
    if (r < 0)
        return r;
    ret->verdict = (enum nj_reuse_verdict)r;
    return 0;
}

static const char *why_of(const struct judged *judged)
{
    return judged->why.data ? (const char *)judged->why.data : "";
}

/* ---- words ---- */

struct reason {
    char text[REASON_MAX_BYTES];
    size_t count;
    const char *first;
};

struct telling {
    const struct nj_plan *plan;
    struct nj_reuse *reuse;
    struct nj_buf *out;
    struct judged judged;
    size_t reused;
    struct nj_forecast_cost cost;
};

static void add_reason(struct reason *reasons, size_t *n, const struct judged *judged,
                       const char *key)
{
    char text[REASON_MAX_BYTES];
    size_t at = 0;

    if (judged->verdict == NJ_REUSE_NEW)
        (void)snprintf(text, sizeof(text), "new");
    else if (judged->verdict == NJ_REUSE_FAILED)
        (void)snprintf(text, sizeof(text), "%.250s there", why_of(judged));
    else
        (void)snprintf(text, sizeof(text), "changed: %.250s", why_of(judged));
    while (at < *n && strcmp(reasons[at].text, text) != 0)
        at++;
    if (at == REASONS_MAX) { /* the rest together */
        at = REASONS_MAX - 1;
        (void)snprintf(reasons[at].text, sizeof(reasons[at].text), "for other reasons");
    } else if (at == *n) {
        memcpy(reasons[at].text, text, sizeof(text));
        reasons[at].first = key;
        (*n)++;
    }
    reasons[at].count++;
}

static void tell_reason(struct nj_rows *rows, const struct reason *reason)
{
    nj_rows_put(rows, "    %zu ", reason->count);
    nj_rows_shown(rows, reason->text);
    nj_rows_put(rows, "%s", reason->count > 1 ? ", first " : ": ");
    nj_rows_shown(rows, reason->first);
    nj_rows_line(rows);
}

static int tell_group(struct telling *telling, struct nj_rows *rows, size_t at,
                      struct nj_error *err)
{
    const struct nj_plan *plan = telling->plan;
    const struct nj_manifest_group *group = &plan->manifest->groups[at];
    struct nj_reuse_usage usage = {0};
    struct reason reasons[REASONS_MAX] = {0};
    size_t reused = 0;
    size_t run = 0;
    size_t n = 0;

    if (telling->reuse)
        usage = nj_reuse_group(telling->reuse, group->name);
    for (size_t i = 0; i < plan->n_sessions; i++) {
        const struct nj_plan_session *session = &plan->sessions[i];

        if (session->group != at)
            continue;
        if (judge(plan, telling->reuse, session, &telling->judged, err) < 0)
            return -(int)err->code;
        if (telling->judged.verdict == NJ_REUSE_SAME) {
            reused++;
            telling->reused++;
            continue;
        }
        run++;
        nj_forecast_cost_add(&telling->cost, plan, session, &usage);
        add_reason(reasons, &n, &telling->judged, session->key);
    }
    nj_rows_put(rows, "  ");
    nj_rows_shown(rows, group->name);
    nj_rows_put(rows, ": %zu would run", run);
    if (telling->reuse)
        nj_rows_put(rows, ", %zu reused", reused);
    nj_rows_line(rows);
    for (size_t i = 0; telling->reuse && i < n; i++)
        tell_reason(rows, &reasons[i]);
    return rows->r;
}

int nj_forecast_text(const struct nj_plan *plan, struct nj_reuse *reuse, size_t columns,
                     struct nj_buf *out, struct nj_error *err)
{
    struct telling telling = {.plan = plan, .reuse = reuse, .out = out};
    struct nj_rows rows = {.out = out, .columns = columns, .err = err};
    int r = 0;

    nj_buf_init(&telling.judged.why, 8192);
    nj_rows_put(&rows, "%zu session%s", plan->n_sessions, plan->n_sessions == 1 ? "" : "s");
    nj_rows_line(&rows);
    for (size_t i = 0; r == 0 && i < plan->manifest->n_groups; i++)
        r = tell_group(&telling, &rows, i, err);
    if (r == 0)
        r = nj_forecast_cost_text(&telling.cost, plan->manifest, columns, out, err);
    nj_buf_done(&telling.judged.why);
    return nj_rows_done(&rows) < 0 ? rows.r : r;
}

/* ---- JSON ---- */

static int json_field(struct nj_buf *out, const char *head, const char *text, struct nj_error *err)
{
    if (nj_buf_text(out, head, err) < 0)
        return -(int)err->code;
    return nj_buf_json_text(out, nj_span_text(text), err);
}

static int json_session(struct telling *telling, const struct nj_plan_session *session,
                        struct nj_error *err)
{
    const char *group = telling->plan->manifest->groups[session->group].name;
    struct nj_buf *out = telling->out;
    struct nj_reuse_usage usage = {0};
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    if (judge(telling->plan, telling->reuse, session, &telling->judged, err) < 0)
        return -(int)err->code;
    if (telling->reuse)
        usage = nj_reuse_group(telling->reuse, group);
    if (telling->judged.verdict == NJ_REUSE_SAME)
        telling->reused++;
    else
        nj_forecast_cost_add(&telling->cost, telling->plan, session, &usage);
    nj_digest_hex(&session->identity, hex);
    if (json_field(out, session->number > 1 ? ",\n{\"key\":" : "\n{\"key\":", session->key, err) <
            0 ||
        json_field(out, ",\"group\":", group, err) < 0 ||
        json_field(out, ",\"digest\":", hex, err) < 0 ||
        json_field(out, ",\"verdict\":", telling->reuse ? verdicts[telling->judged.verdict] : "run",
                   err) < 0)
        return -(int)err->code;
    if (telling->judged.why.len > 0 &&
        json_field(out, ",\"why\":", why_of(&telling->judged), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

int nj_forecast_json(const struct nj_plan *plan, struct nj_reuse *reuse, struct nj_buf *out,
                     struct nj_error *err)
{
    struct telling telling = {.plan = plan, .reuse = reuse, .out = out};
    int r;

    nj_buf_init(&telling.judged.why, 8192);
    r = nj_buf_printf(out, err, "{\"job\":\"%s\",\"sessions\":[", plan->manifest->job);
    for (size_t i = 0; r == 0 && i < plan->n_sessions; i++)
        r = json_session(&telling, &plan->sessions[i], err);
    if (r == 0)
        r = nj_buf_printf(out, err, "\n],\"run\":%zu,\"reused\":%zu", telling.cost.run,
                          telling.reused);
    if (r == 0)
        r = nj_forecast_cost_json(&telling.cost, plan->manifest, out, err);
    if (r == 0)
        r = nj_buf_text(out, "}\n", err);
    nj_buf_done(&telling.judged.why);
    return r;
}
