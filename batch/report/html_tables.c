/*
 * html_tables.c - report.html: failures by cause, costs, and the sessions
 */
#include "batch/report/html.h"
#include "batch/report/html_inside.h"
#include "batch/report/text.h"

#include "formats/base/banned.h"

#define CAUSES_SHOWN_MAX 50
#define SUMS_SHOWN_MAX 50

/* A command that is copied by a button; nothing when there is none. */
static void put_command(struct nj_page *page, const struct nj_facts *facts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf command = {0};

    nj_buf_init(&command, 1u << 16);
    if (page->err.code != 0 || nj_ledger_command(page->ledger, facts, &command, &page->err) != 0)
        return;
    nj_page_put(page, "<div class=\"line\"><code data-copy>");
    nj_page_text(page, (const char *)command.data);
    nj_page_put(page, "</code></div>");
}

void nj_page_causes(struct nj_page *page)
{
    const struct nj_tally *t = page->tally;
    size_t shown = t->n_causes < CAUSES_SHOWN_MAX ? t->n_causes : CAUSES_SHOWN_MAX;

    if (t->n_causes == 0)
        return;
    nj_page_put(page, "<section aria-labelledby=\"failures\">\n<div class=\"head\"><h2 "
                      "id=\"failures\">Failures by cause</h2><p>");
    nj_page_count(page, t->n_causes);
    nj_page_put(page, t->n_causes == 1 ? " cause" : " causes");
    nj_page_put(page, ", each with the command for one of its sessions</p></div>\n<ol "
                      "class=\"causes\">\n");
    for (size_t i = 0; i < shown; i++) {
        const struct nj_tally_cause *cause = &t->causes[i];
        const struct nj_facts *facts = nj_ledger_at(page->ledger, cause->first);

        nj_page_put(page, "<li><span class=\"count bad\">");
        nj_page_count(page, cause->count);
        nj_page_put(page, "</span><span class=\"why\"><b>");
        nj_page_text(page, cause->kind);
        nj_page_put(page, "</b> ");
        nj_page_text(page, cause->text);
        nj_page_put(page, "</span>");
        put_command(page, facts);
        nj_page_put(page, "<p class=\"soft\">");
        nj_page_text(page, facts->key);
        if (cause->count > 1) {
            nj_page_put(page, " and ");
            nj_page_count(page, cause->count - 1);
            nj_page_put(page, cause->count == 2 ? " other" : " others");
        }
        nj_page_put(page, "</p></li>\n");
    }
    nj_page_put(page, "</ol>\n");
    if (shown < t->n_causes) {
        nj_page_put(page, "<p class=\"soft\">");
        nj_page_count(page, t->n_causes - shown);
        nj_page_put(page, " rarer causes are in the table below.</p>\n");
    }
    nj_page_put(page, "</section>\n");
}

/* ---- costs ---- */

static void put_models(struct nj_page *page)
{
    const struct nj_tally *t = page->tally;

    nj_page_put(page,
                "<section aria-labelledby=\"models\">\n<div class=\"head\"><h2 "
                "id=\"models\">Cost by model</h2></div>\n<table>\n<thead><tr><th scope=\"col\">"
                "Model</th><th scope=\"col\" class=\"n\">Calls</th><th scope=\"col\" class=\"n "
                "wide\">In</th><th scope=\"col\" class=\"n wide\">Out</th><th scope=\"col\" "
                "class=\"n\">Cached</th><th scope=\"col\" class=\"n\">Cost</th></tr></thead>\n"
                "<tbody>\n");
    for (size_t i = 0; i < t->n_models && i < SUMS_SHOWN_MAX; i++) {
        const struct nj_facts_model *model = &t->models[i];
        uint64_t in = model->usage.input_tokens + model->usage.cache_read_tokens +
                      model->usage.cache_write_5m_tokens + model->usage.cache_write_1h_tokens;

        nj_page_put(page, "<tr><th scope=\"row\" class=\"who\">");
        nj_page_text(page, model->name);
        nj_page_put(page, "</th><td class=\"n\">");
        nj_page_count(page, model->calls);
        nj_page_put(page, "</td><td class=\"n wide\">");
        nj_page_short(page, in);
        nj_page_put(page, "</td><td class=\"n wide\">");
        nj_page_short(page, model->usage.output_tokens);
        nj_page_printf(page, "</td><td class=\"n\">%u %%</td><td class=\"n\">",
                       (unsigned)(in ? model->usage.cache_read_tokens * 100 / in : 0));
        nj_page_money(page, model->cost_micro_usd);
        nj_page_put(page, "</td></tr>\n");
    }
    nj_page_put(page, "</tbody></table>\n</section>\n");
}

static void put_sums(struct nj_page *page, const char *id, const char *title, const char *word,
                     const struct nj_tally_sum *sums, size_t count)
{
    nj_page_printf(page,
                   "<section aria-labelledby=\"%s\">\n<div class=\"head\"><h2 id=\"%s\">%s</h2>"
                   "</div>\n<table>\n<thead><tr><th scope=\"col\">%s</th><th scope=\"col\" "
                   "class=\"n\">Succeeded</th><th scope=\"col\" class=\"n wide\">Time</th><th "
                   "scope=\"col\" class=\"n wide\">Runtime</th><th "
                   "scope=\"col\" class=\"n wide\">Cached</th><th scope=\"col\" class=\"n\">Cost"
                   "</th></tr></thead>\n<tbody>\n",
                   id, id, title, word);
    for (size_t i = 0; i < count && i < SUMS_SHOWN_MAX; i++) {
        const struct nj_usage *usage = &sums[i].usage;
        uint64_t in = usage->input_tokens + usage->cache_read_tokens +
                      usage->cache_write_5m_tokens + usage->cache_write_1h_tokens;

        nj_page_put(page, "<tr><th scope=\"row\" class=\"who\">");
        nj_page_text(page, sums[i].name);
        nj_page_put(page, "</th><td class=\"n\">");
        nj_page_count(page, sums[i].succeeded);
        nj_page_put(page, " of ");
        nj_page_count(page, sums[i].total);
        nj_page_put(page, "</td><td class=\"n wide\">");
        nj_page_duration(page, sums[i].busy_ms);
        nj_page_put(page, "</td><td class=\"n wide\">");
        nj_page_money(page, nj_ledger_runtime_cost(page->ledger, sums[i].box_held_ms));
        nj_page_printf(page, "</td><td class=\"n wide\">%u %%</td><td class=\"n\">",
                       (unsigned)(in ? usage->cache_read_tokens * 100 / in : 0));
        nj_page_money(page, sums[i].cost_micro_usd);
        nj_page_put(page, "</td></tr>\n");
    }
    nj_page_put(page, "</tbody></table>\n</section>\n");
}

void nj_page_costs(struct nj_page *page)
{
    const struct nj_tally *t = page->tally;

    if (t->n_models > 0)
        put_models(page);
    if (t->n_groups > 0) {
        nj_page_put(page, "<div class=\"two sums\">\n");
        put_sums(page, "groups", "By group", "Group", t->groups, t->n_groups);
        put_sums(page, "agents", "By agent", "Agent", t->agents, t->n_agents);
        nj_page_put(page, "</div>\n");
    }
}

/* ---- sessions ---- */

struct status_word {
    const char *word;
    const char *tone;
    const char *sign;
};

static struct status_word word_of(const struct nj_facts *facts)
{
    switch (nj_ledger_status(facts)) {
    case NJ_STATUS_SUCCEEDED:
        return (struct status_word){"succeeded", "ok", "&#10003;"};
    case NJ_STATUS_FAILED:
        return (struct status_word){"failed", "bad", "&#10005;"};
    case NJ_STATUS_SKIPPED:
        return (struct status_word){"skipped", "idle", "&#8211;"};
    case NJ_STATUS_SUSPENDED:
        break;
    }
    return facts->opened_ns ? (struct status_word){"suspended", "hold", "&#8214;"}
                            : (struct status_word){"waiting", "idle", "&#8230;"};
}

static void put_session(struct nj_page *page, const struct nj_facts *facts)
{
    struct status_word status = word_of(facts);
    uint64_t busy_ms = nj_ledger_busy_ms(facts, page->tally->ended_ns);
    bool has_command = facts->bundle[0] || facts->opened_ns;
    size_t attempts = nj_facts_is_reused(facts) ? 0 : facts->n_attempts;

    nj_page_printf(page, "<tr data-s=\"%s\"><td class=\"who\" data-v=\"", status.word);
    nj_page_text(page, facts->key);
    nj_page_put(page, has_command ? "\"><details><summary>" : "\">");
    nj_page_text(page, facts->key);
    if (has_command) {
        nj_page_put(page, "</summary>");
        put_command(page, facts);
        nj_page_put(page, "</details>");
    }
    if (nj_facts_is_reused(facts)) {
        nj_page_put(page, "<span class=\"sub\">taken over from ");
        nj_page_text(page, facts->reused);
        nj_page_put(page, "</span>");
    }
    if (facts->status == NJ_STATUS_FAILED) {
        nj_page_put(page, "<span class=\"sub bad\">");
        nj_page_text(page, facts->error_kind);
        nj_page_put(page, ": ");
        nj_page_text(page, facts->error_text);
        nj_page_put(page, "</span>");
    }
    nj_page_printf(page,
                   "</td><td class=\"mark %s\" data-v=\"%s\">%s <span>%s</span></td><td "
                   "class=\"wide\">",
                   status.tone, status.word, status.sign, status.word);
    nj_page_text(page, facts->group);
    nj_page_printf(page, "</td><td class=\"n wide\" data-v=\"%zu\">%zu</td>", attempts, attempts);
    nj_page_printf(page, "<td class=\"n wide\" data-v=\"%llu\">%llu</td>",
                   (unsigned long long)facts->steps, (unsigned long long)facts->steps);
    nj_page_printf(page, "<td class=\"n\" data-v=\"%llu\">", (unsigned long long)busy_ms);
    nj_page_duration(page, busy_ms);
    nj_page_printf(page, "</td><td class=\"n\" data-v=\"%llu\">",
                   (unsigned long long)facts->cost_micro_usd);
    if (page->err.code == 0)
        (void)!nj_buf_printf(page->out, &page->err, "%llu.%04llu",
                             (unsigned long long)(facts->cost_micro_usd / 1000000),
                             (unsigned long long)(facts->cost_micro_usd % 1000000 / 100));
    nj_page_put(page, "</td></tr>\n");
}

static void put_tools(struct nj_page *page)
{
    const struct nj_tally_sum *all = &page->tally->all;
    struct {
        const char *word;
        const char *shown;
        size_t count;
    } chips[] = {{"", "all", all->total},
                 {"failed", "failed", all->failed},
                 {"succeeded", "succeeded", all->succeeded},
                 {"suspended", "suspended", all->begun},
                 {"waiting", "waiting", all->waiting},
                 {"skipped", "skipped", all->skipped}};

    nj_page_put(page,
                "<div class=\"tools\" id=\"tools\" hidden><label for=\"search\">Search</label>"
                "<input type=\"search\" id=\"search\" autocomplete=\"off\" "
                "spellcheck=\"false\">\n");
    for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
        if (i > 0 && chips[i].count == 0)
            continue;
        nj_page_printf(page, "<button type=\"button\" data-s=\"%s\" aria-pressed=\"%s\">%s ",
                       chips[i].word, i == 0 ? "true" : "false", chips[i].shown);
        nj_page_count(page, chips[i].count);
        nj_page_put(page, "</button>\n");
    }
    nj_page_put(page, "</div>\n");
}

void nj_page_sessions(struct nj_page *page)
{
    const struct nj_ledger *ledger = page->ledger;
    bool too_many = ledger->n_entries > NJ_HTML_SESSIONS_MAX;
    size_t left = NJ_HTML_SESSIONS_MAX;

    nj_page_put(page, "<section aria-labelledby=\"sessions\">\n<div class=\"head\"><h2 "
                      "id=\"sessions\" tabindex=\"-1\">Sessions</h2><p>");
    if (too_many) {
        nj_page_count(page, NJ_HTML_SESSIONS_MAX);
        nj_page_put(page, " of ");
        nj_page_count(page, page->tally->all.total);
        nj_page_put(page, ", the failed ones first; results.jsonl has all");
    }
    nj_page_put(page, "</p></div>\n");
    put_tools(page);
    nj_page_put(page, "<table id=\"sessions-table\">\n<thead><tr><th scope=\"col\" "
                      "data-sort=\"text\">Session</th><th scope=\"col\" data-sort=\"text\">Status"
                      "</th><th scope=\"col\" class=\"wide\" data-sort=\"text\">Group</th><th "
                      "scope=\"col\" class=\"n wide\" data-sort=\"number\">Attempts</th><th "
                      "scope=\"col\" class=\"n wide\" data-sort=\"number\">Steps</th><th "
                      "scope=\"col\" class=\"n\" data-sort=\"number\">Time</th><th scope=\"col\" "
                      "class=\"n\" data-sort=\"number\">USD</th></tr></thead>\n<tbody>\n");
    for (int round = too_many ? 0 : 1; round < 2; round++)
        for (size_t i = 0; i < ledger->n_entries && left > 0; i++) {
            const struct nj_facts *facts = nj_ledger_at(ledger, i);

            if (!facts || (too_many && (facts->status == NJ_STATUS_FAILED) != (round == 0)))
                continue;
            put_session(page, facts);
            left--;
        }
    nj_page_put(page,
                "</tbody></table>\n<div class=\"pages\" id=\"pages\" hidden><button "
                "type=\"button\" id=\"earlier\">Earlier</button><button type=\"button\" "
                "id=\"later\">Later</button><span id=\"shown\" role=\"status\"></span></div>\n"
                "</section>\n");
}
