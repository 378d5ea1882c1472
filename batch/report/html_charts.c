/*
 * html_charts.c - report.html: pictures that are as wide as the page
 *
 * All places across are percents, so that nothing is stretched at any width and text keeps its
 * size. Each picture has its figures in words too, for those who do not see it.
 */
#include <stdio.h>

#include "batch/report/html_inside.h"

#include "formats/base/banned.h"

#define ROWS_MAX 40 /* sessions that get a line of their own in the timeline */
#define BINS 120
#define BUCKETS_MAX 24
#define TICKS 4

static double percent(int64_t at, int64_t from, int64_t to)
{
    if (to <= from || at <= from)
        return 0;
    return at >= to ? 100 : (double)(at - from) * 100 / (double)(to - from);
}

static double lesser(double a, double b)
{
    return a < b ? a : b;
}

static double greater(double a, double b)
{
    return a > b ? a : b;
}

static const char *fill_of(enum nj_status status)
{
    switch (status) {
    case NJ_STATUS_SUCCEEDED:
        return "fill-ok";
    case NJ_STATUS_FAILED:
        return "fill-bad";
    case NJ_STATUS_SUSPENDED:
        return "fill-hold";
    case NJ_STATUS_SKIPPED:
        break;
    }
    return "fill-idle";
}

/* ---- how it came out ---- */

struct part {
    const char *word;
    const char *fill;
    size_t count;
};

void nj_page_outcome(struct nj_page *page)
{
    const struct nj_tally_sum *all = &page->tally->all;
    struct part parts[] = {{"succeeded", "fill-ok", all->succeeded},
                           {"failed", "fill-bad", all->failed},
                           {"suspended", "fill-hold", all->begun},
                           {"skipped", "fill-idle", all->skipped},
                           {"waiting", "fill-idle", all->waiting}};
    double at = 0;

    nj_page_put(page, "<svg class=\"round\" width=\"100%\" height=\"14\" aria-hidden=\"true\">");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        double width = all->total ? (double)parts[i].count * 100 / (double)all->total : 0;

        if (parts[i].count == 0)
            continue;
        if (width < 0.4)
            width = 0.4; /* what is rare is seen, too */
        nj_page_printf(page, "<rect class=\"%s\" x=\"%.3f%%\" width=\"%.3f%%\" height=\"14\"/>",
                       parts[i].fill, at, width);
        at += width;
    }
    nj_page_put(page, "</svg>\n<ul class=\"key\">");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].count == 0)
            continue;
        nj_page_printf(page,
                       "<li><svg width=\"10\" height=\"10\" aria-hidden=\"true\"><rect "
                       "class=\"%s\" width=\"10\" height=\"10\" rx=\"3\"/></svg><b>",
                       parts[i].fill);
        nj_page_count(page, parts[i].count);
        nj_page_printf(page, "</b> %s</li>", parts[i].word);
    }
    nj_page_put(page, "</ul>\n");
}

/* ---- when ---- */

static void put_ticks(struct nj_page *page, int64_t span_ns, int y)
{
    for (int i = 0; i <= TICKS; i++) {
        nj_page_printf(page, "<text%s x=\"%d%%\" y=\"%d\" text-anchor=\"%s\">",
                       i % 2 ? " class=\"odd\"" : "", i * 100 / TICKS, y,
                       i == 0       ? "start"
                       : i == TICKS ? "end"
                                    : "middle");
        if (i > 0)
            nj_page_duration(page, (uint64_t)(span_ns / TICKS * i / 1000000));
        else
            nj_page_put(page, "start");
        nj_page_put(page, "</text>");
    }
}

/* Few sessions: a line each, a bar an attempt. */
static void put_lines(struct nj_page *page, int64_t from, int64_t to)
{
    nj_page_put(page, "<div class=\"gantt\">\n");
    for (size_t i = 0; i < page->ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(page->ledger, i);

        if (!facts || facts->n_attempts == 0)
            continue;
        nj_page_put(page, "<span>");
        nj_page_text(page, facts->key);
        nj_page_put(page, "</span><svg class=\"track\" width=\"100%\" height=\"14\" "
                          "role=\"img\" aria-label=\"");
        nj_page_text(page, facts->key);
        nj_page_printf(page, ": %s after ", nj_status_text(nj_ledger_status(facts)));
        nj_page_duration(page, nj_ledger_busy_ms(facts, to));
        nj_page_put(page, "\">");
        for (size_t k = 0; k < facts->n_attempts; k++) {
            const struct nj_facts_attempt *attempt = &facts->attempts[k];
            double start = percent(attempt->start_ns, from, to);
            double width = percent(attempt->status ? attempt->end_ns : to, from, to) - start;

            nj_page_printf(page,
                           "<rect class=\"%s\" x=\"%.3f%%\" y=\"2\" width=\"%.3f%%\" height=\"10\" "
                           "rx=\"2\"/>",
                           fill_of(attempt->status ? attempt->status : NJ_STATUS_SUSPENDED),
                           start > 99.5 ? 99.5 : start, width < 0.5 ? 0.5 : width);
        }
        nj_page_put(page, "</svg>\n");
    }
    nj_page_put(page, "<span></span><svg width=\"100%\" height=\"18\" aria-hidden=\"true\">");
    put_ticks(page, to - from, 14);
    nj_page_put(page, "</svg>\n</div>\n");
}

struct bin {
    double at_work; /* on average: never more than were at once */
    size_t failed;
    size_t ended;
};

static void fill_bins(const struct nj_page *page, int64_t from, int64_t to, struct bin *bins)
{
    for (size_t i = 0; i < page->ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(page->ledger, i);

        for (size_t k = 0; facts && k < facts->n_attempts; k++) {
            const struct nj_facts_attempt *attempt = &facts->attempts[k];
            int64_t end_ns = attempt->status ? attempt->end_ns : to;
            double start = percent(attempt->start_ns, from, to) / 100 * BINS;
            double end = percent(end_ns, from, to) / 100 * BINS;
            size_t last = end < BINS ? (size_t)end : BINS - 1;

            for (size_t b = (size_t)start; b <= last; b++)
                bins[b].at_work += lesser(end, (double)b + 1) - greater(start, (double)b);
            bins[last].ended += attempt->status != 0;
            bins[last].failed += attempt->status == NJ_STATUS_FAILED;
        }
    }
}

/* Many sessions: how many were at work, and when some failed. */
static void put_crowd(struct nj_page *page, int64_t from, int64_t to)
{
    struct bin bins[BINS] = {{0}};
    size_t most_failed = 0;
    double most = 1;

    fill_bins(page, from, to, bins);
    for (size_t i = 0; i < BINS; i++) {
        most = greater(most, bins[i].at_work);
        most_failed = bins[i].failed > most_failed ? bins[i].failed : most_failed;
    }
    nj_page_printf(page,
                   "<svg width=\"100%%\" height=\"196\" role=\"img\" aria-label=\"Sessions at work "
                   "over time: %.0f at most; at most %zu failed in one of %d parts.\">",
                   most, most_failed, BINS);
    for (int line = 0; line <= 2; line++) {
        int y = 16 + line * 62;

        nj_page_printf(
            page, "<line class=\"grid-line\" x1=\"0\" x2=\"100%%\" y1=\"%d\" y2=\"%d\"/>", y, y);
    }
    nj_page_printf(page, "<text x=\"0\" y=\"12\">%.0f at work</text>", most);
    for (size_t i = 0; i < BINS; i++) {
        double height = bins[i].at_work * 124 / most;

        if (height > 0)
            nj_page_printf(page,
                           "<rect class=\"fill-bar\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" "
                           "height=\"%.1f\"/>",
                           (double)i * 100 / BINS, 140 - height, 84.0 / BINS, height);
        if (bins[i].failed > 0) {
            double tall = 4 + (double)bins[i].failed * 16 / (double)most_failed;

            nj_page_printf(page,
                           "<rect class=\"fill-bad\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" "
                           "height=\"%.1f\"/>",
                           (double)i * 100 / BINS, 166 - tall, 84.0 / BINS, tall);
        }
    }
    nj_page_put(page, "<line class=\"grid-line\" x1=\"0\" x2=\"100%\" y1=\"166\" y2=\"166\"/>");
    put_ticks(page, to - from, 184);
    nj_page_put(page, "</svg>\n<ul class=\"key\"><li><svg width=\"10\" height=\"10\" "
                      "aria-hidden=\"true\"><rect class=\"fill-bar\" width=\"10\" height=\"10\" "
                      "rx=\"3\"/></svg>at work</li>");
    if (most_failed > 0)
        nj_page_put(page, "<li><svg width=\"10\" height=\"10\" aria-hidden=\"true\"><rect "
                          "class=\"fill-bad\" width=\"10\" height=\"10\" rx=\"3\"/></svg>failed"
                          "</li>");
    nj_page_put(page, "</ul>\n");
}

void nj_page_timeline(struct nj_page *page)
{
    const struct nj_tally *t = page->tally;
    size_t begun = 0;

    for (size_t i = 0; i < page->ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(page->ledger, i);

        begun += facts && facts->n_attempts > 0;
    }
    if (begun == 0 || t->ended_ns <= t->began_ns)
        return;
    nj_page_put(page, "<section aria-labelledby=\"timeline\">\n<div class=\"head\"><h2 "
                      "id=\"timeline\">Timeline</h2><p>from ");
    nj_page_time(page, t->began_ns);
    nj_page_put(page, "</p></div>\n");
    if (begun <= ROWS_MAX)
        put_lines(page, t->began_ns, t->ended_ns);
    else
        put_crowd(page, t->began_ns, t->ended_ns);
    nj_page_put(page, "</section>\n");
}

/* ---- how long, how dear ---- */

struct buckets {
    uint64_t edges[BUCKETS_MAX + 1];
    size_t counts[BUCKETS_MAX];
    size_t failed[BUCKETS_MAX];
    size_t n;
};

/* Money goes 1, 2, 5, 10; time as clocks do. */
static uint64_t next_amount(uint64_t edge)
{
    uint64_t power = 1;

    while (power <= edge / 10)
        power *= 10;
    return edge / power == 2 ? power * 5 : edge * 2;
}

static uint64_t next_time(uint64_t edge)
{
    static const uint64_t natural[] = {1000,    2000,    5000,     10000,    20000,    30000,
                                       60000,   120000,  300000,   600000,   1200000,  1800000,
                                       3600000, 7200000, 14400000, 28800000, 43200000, 86400000};
    size_t count = sizeof(natural) / sizeof(natural[0]);

    if (edge < natural[0])
        return next_amount(edge);
    for (size_t i = 0; i < count; i++)
        if (natural[i] > edge)
            return natural[i];
    return edge * 2;
}

typedef uint64_t next_edge(uint64_t edge);

static uint64_t edge_below(uint64_t value, next_edge *next)
{
    uint64_t edge = 1;

    while (next(edge) <= value && edge < UINT64_MAX / 10)
        edge = next(edge);
    return edge;
}

typedef uint64_t figure_of(const struct nj_page *page, const struct nj_facts *facts);

static uint64_t time_of(const struct nj_page *page, const struct nj_facts *facts)
{
    return nj_ledger_busy_ms(facts, page->tally->ended_ns);
}

static uint64_t cost_of(const struct nj_page *page, const struct nj_facts *facts)
{
    (void)page;
    return facts->cost_micro_usd;
}

static bool counts(const struct nj_facts *facts)
{
    return facts && (facts->status == NJ_STATUS_SUCCEEDED || facts->status == NJ_STATUS_FAILED);
}

/* False when there is nothing to show. */
static bool fill_buckets(const struct nj_page *page, figure_of *figure, next_edge *next,
                         struct buckets *b)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (size_t i = 0; i < page->ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(page->ledger, i);
        uint64_t value = counts(facts) ? figure(page, facts) : 0;

        if (value > 0) {
            least = value < least ? value : least;
            most = value > most ? value : most;
        }
    }
    if (most == 0)
        return false;
    b->edges[0] = edge_below(least, next);
    while (b->n < BUCKETS_MAX && b->edges[b->n] <= most) {
        b->edges[b->n + 1] = next(b->edges[b->n]);
        b->n++;
    }
    for (size_t i = 0; i < page->ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(page->ledger, i);
        uint64_t value = counts(facts) ? figure(page, facts) : 0;
        size_t k = 0;

        if (value == 0)
            continue;
        while (k + 1 < b->n && value >= b->edges[k + 1])
            k++;
        b->counts[k]++;
        b->failed[k] += facts->status == NJ_STATUS_FAILED;
    }
    return true;
}

/* Edges are round figures: "5 s", "2 min", "$0.02". */
static void put_edge(struct nj_page *page, uint64_t edge, bool money)
{
    if (money) {
        char text[32];
        size_t len = (size_t)snprintf(text, sizeof(text), "$%llu.%06llu",
                                      (unsigned long long)(edge / 1000000),
                                      (unsigned long long)(edge % 1000000));

        while (text[len - 1] == '0')
            text[--len] = '\0';
        if (text[len - 1] == '.')
            text[--len] = '\0';
        nj_page_put(page, text);
    } else if (edge < 1000) {
        nj_page_printf(page, "%llu ms", (unsigned long long)edge);
    } else if (edge < 60000) {
        nj_page_printf(page, "%llu s", (unsigned long long)(edge / 1000));
    } else if (edge < 3600000) {
        nj_page_printf(page, "%llu min", (unsigned long long)(edge / 60000));
    } else {
        nj_page_printf(page, "%llu h", (unsigned long long)(edge / 3600000));
    }
}

static void put_histogram(struct nj_page *page, const struct buckets *b, bool money)
{
    size_t most = 1;
    size_t every = b->n > 6 ? (b->n + 5) / 6 : 1; /* edges with a label */

    for (size_t i = 0; i < b->n; i++)
        most = b->counts[i] > most ? b->counts[i] : most;
    nj_page_printf(page,
                   "<svg width=\"100%%\" height=\"168\" role=\"img\" aria-label=\"%s of sessions "
                   "that ended, in %zu steps:",
                   money ? "Cost" : "Time", b->n);
    for (size_t i = 0; i < b->n; i++) {
        nj_page_put(page, i ? ", " : " ");
        nj_page_count(page, b->counts[i]);
        nj_page_put(page, " from ");
        put_edge(page, b->edges[i], money);
    }
    nj_page_put(page, ".\">");
    for (size_t i = 0; i < b->n; i++) {
        double x = (double)i * 100 / (double)b->n;
        double width = 100.0 / (double)b->n;
        double height = (double)b->counts[i] * 112 / (double)most;
        double bad = (double)b->failed[i] * 112 / (double)most;

        if (b->counts[i] > 0) {
            nj_page_printf(page,
                           "<rect class=\"fill-bar\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" "
                           "height=\"%.1f\" rx=\"2\"/>",
                           x + width * 0.06, 136 - height, width * 0.88, height);
            if (b->failed[i] > 0)
                nj_page_printf(page,
                               "<rect class=\"fill-bad\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" "
                               "height=\"%.1f\" rx=\"2\"/>",
                               x + width * 0.06, 136 - bad, width * 0.88, bad < 2 ? 2 : bad);
            nj_page_printf(page, "<text x=\"%.3f%%\" y=\"%.1f\" text-anchor=\"middle\">",
                           x + width / 2, 130 - height);
            nj_page_short(page, b->counts[i]);
            nj_page_put(page, "</text>");
        }
        if (i % every == 0) {
            nj_page_printf(page, "<text%s x=\"%.3f%%\" y=\"156\" text-anchor=\"%s\">",
                           (i / every) % 2 ? " class=\"odd\"" : "", x, i == 0 ? "start" : "middle");
            put_edge(page, b->edges[i], money);
            nj_page_put(page, "</text>");
        }
    }
    nj_page_put(page, "<line class=\"grid-line\" x1=\"0\" x2=\"100%\" y1=\"136.5\" y2=\"136.5\"/>"
                      "</svg>\n");
}

static void put_distribution(struct nj_page *page, const char *id, const char *title,
                             const struct buckets *b, bool money)
{
    nj_page_printf(page,
                   "<section aria-labelledby=\"%s\">\n<div class=\"head\"><h2 id=\"%s\">%s</h2>"
                   "<p>sessions, <span class=\"bad\">failed</span> ones in front</p></div>\n",
                   id, id, title);
    put_histogram(page, b, money);
    nj_page_put(page, "</section>\n");
}

void nj_page_distributions(struct nj_page *page)
{
    struct buckets times = {.n = 0}, costs = {.n = 0};
    bool has_times = fill_buckets(page, time_of, next_time, &times);
    bool has_costs = fill_buckets(page, cost_of, next_amount, &costs);

    if (!has_times && !has_costs)
        return;
    nj_page_put(page, has_times && has_costs ? "<div class=\"two\">\n" : "");
    if (has_times)
        put_distribution(page, "durations", "How long sessions took", &times, false);
    if (has_costs)
        put_distribution(page, "costs", "What sessions cost", &costs, true);
    nj_page_put(page, has_times && has_costs ? "</div>\n" : "");
}
