/*
 * html.c - report.html: the frame of the page and its first screen
 */
#include "batch/report/html.h"

#include <openssl/evp.h>
#include <stdarg.h>

#include "batch/report/assets.h"
#include "batch/report/html_inside.h"
#include "batch/report/summary.h"
#include "batch/report/text.h"
#include "formats/base/digest.h"

#include "formats/base/banned.h"

/* ---- putting ---- */

void nj_page_put(struct nj_page *page, const char *markup)
{
    if (page->err.code == 0)
        (void)!nj_buf_text(page->out, markup, &page->err);
}

void nj_page_printf(struct nj_page *page, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args); /* figures and names of ours: they fit */
    va_end(args);
    nj_page_put(page, text);
}

void nj_page_text(struct nj_page *page, const char *foreign)
{
    if (page->err.code == 0)
        (void)!nj_text_xml(page->out, foreign, &page->err);
}

void nj_page_count(struct nj_page *page, uint64_t value)
{
    if (page->err.code == 0)
        (void)!nj_text_count(page->out, value, &page->err);
}

void nj_page_short(struct nj_page *page, uint64_t value)
{
    if (page->err.code == 0)
        (void)!nj_text_short_count(page->out, value, &page->err);
}

void nj_page_money(struct nj_page *page, uint64_t micro_usd)
{
    if (page->err.code == 0)
        (void)!nj_text_money(page->out, micro_usd, &page->err);
}

void nj_page_duration(struct nj_page *page, uint64_t ms)
{
    if (page->err.code == 0)
        (void)!nj_text_duration(page->out, ms, &page->err);
}

void nj_page_time(struct nj_page *page, int64_t time_ns)
{
    if (page->err.code == 0)
        (void)!nj_text_time(page->out, time_ns, &page->err);
}

/* ---- the frame ---- */

/* The digest by which the page's policy lets one inline text pass. */
static void put_source(struct nj_page *page, struct nj_span text)
{
    struct nj_digest digest;
    unsigned char base64[4 * ((NJ_DIGEST_BYTES + 2) / 3) + 1];

    nj_digest_bytes(text.data, text.len, &digest);
    (void)EVP_EncodeBlock(base64, digest.bytes, NJ_DIGEST_BYTES);
    nj_page_printf(page, "'sha256-%s'", (const char *)base64);
}

static void put_span(struct nj_page *page, struct nj_span text)
{
    if (page->err.code == 0)
        (void)!nj_buf_append(page->out, text.data, text.len, &page->err);
}

static void put_head(struct nj_page *page)
{
    nj_page_put(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                      "base-uri 'none'; form-action 'none'; style-src ");
    put_source(page, nj_asset_style());
    nj_page_put(page, "; script-src ");
    put_source(page, nj_asset_script());
    nj_page_put(page, "\">\n<meta name=\"viewport\" content=\"width=device-width, "
                      "initial-scale=1\">\n<title>");
    nj_page_text(page, page->ledger->job);
    nj_page_put(page, ": report</title>\n<style>");
    put_span(page, nj_asset_style());
    nj_page_put(page, "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#sessions\">To the "
                      "sessions</a>\n<div class=\"page\">\n");
}

static void put_title(struct nj_page *page)
{
    const struct nj_tally *t = page->tally;
    const struct nj_tally_sum *all = &t->all;
    size_t open = all->begun + all->waiting;

    nj_page_put(page, "<header>\n<div class=\"name\"><h1>");
    nj_page_text(page, page->ledger->job);
    nj_page_printf(page, "</h1><span class=\"state %s\">",
                   open          ? "hold"
                   : all->failed ? "bad"
                                 : "ok");
    nj_page_text(page, page->ledger->state);
    nj_page_put(page, "</span></div>\n<p class=\"soft where\">");
    nj_page_text(page, page->ledger->run_path);
    nj_page_put(page, "</p>\n<p class=\"soft\">");
    if (t->began_ns) {
        nj_page_time(page, t->began_ns);
        nj_page_put(page, " to ");
        nj_page_time(page, t->ended_ns);
    }
    if (page->ledger->epochs > 1) {
        nj_page_put(page, ", in ");
        nj_page_count(page, page->ledger->epochs);
        nj_page_put(page, " parts");
    }
    nj_page_put(page, "</p>\n</header>\n<main>\n");
}

static void tile(struct nj_page *page, const char *name)
{
    nj_page_printf(page, "<div><dt>%s</dt><dd>", name);
}

static void put_tiles(struct nj_page *page)
{
    const struct nj_tally *t = page->tally;
    const struct nj_tally_sum *all = &t->all;
    const struct nj_usage *usage = &all->usage;
    uint64_t in = usage->input_tokens + usage->cache_read_tokens + usage->cache_write_5m_tokens +
                  usage->cache_write_1h_tokens;

    nj_page_put(page, "<dl class=\"tiles\">\n");
    tile(page, "Took");
    nj_page_duration(
        page, t->ended_ns > t->began_ns ? (uint64_t)(t->ended_ns - t->began_ns) / 1000000 : 0);
    nj_page_put(page, "<small>");
    nj_page_duration(page, all->busy_ms);
    nj_page_put(page, " of sessions</small></dd></div>\n");
    tile(page, "Cost");
    nj_page_money(page, all->cost_micro_usd);
    if (all->succeeded > all->reused) {
        nj_page_put(page, "<small>");
        nj_page_money(page, all->cost_micro_usd / (all->succeeded - all->reused));
        nj_page_put(page, " a success</small>");
    }
    nj_page_put(page, "</dd></div>\n");
    tile(page, "Tokens");
    nj_page_short(page, in + usage->output_tokens);
    nj_page_put(page, "<small>");
    nj_page_short(page, usage->output_tokens);
    nj_page_put(page, " of them written");
    if (usage->cache_read_tokens > 0)
        nj_page_printf(page, ", %u %% cached", (unsigned)(usage->cache_read_tokens * 100 / in));
    nj_page_put(page, "</small></dd></div>\n");
    tile(page, "Model calls");
    nj_page_count(page, all->turns);
    nj_page_put(page, "<small>");
    nj_page_count(page, all->retries);
    nj_page_put(page, " tried again</small></dd></div>\n");
    tile(page, "Tool calls");
    nj_page_count(page, all->calls);
    nj_page_put(page, "<small>");
    nj_page_duration(page, all->tool_ms);
    nj_page_put(page, "</small></dd></div>\n");
    tile(page, "Sandboxes held");
    nj_page_duration(page, all->box_held_ms);
    nj_page_put(page, "<small>");
    if (page->ledger->usd_per_hour_micro > 0) {
        nj_page_money(page, nj_ledger_runtime_cost(page->ledger, all->box_held_ms));
    } else {
        nj_page_count(page, all->boxes_lost);
        nj_page_put(page, " lost");
    }
    nj_page_put(page, "</small></dd></div>\n</dl>\n");
}

static void put_first_screen(struct nj_page *page)
{
    const struct nj_tally_sum *all = &page->tally->all;
    size_t open = all->begun + all->waiting;

    nj_page_put(page,
                "<section aria-labelledby=\"outcome\">\n<h2 id=\"outcome\" class=\"verdict\">");
    if (all->succeeded == all->total) {
        nj_page_put(page, all->total == 1 ? "The session succeeded" : "All ");
        if (all->total != 1) {
            nj_page_count(page, all->total);
            nj_page_put(page, " sessions succeeded");
        }
    } else {
        nj_page_count(page, all->succeeded);
        nj_page_put(page, " of ");
        nj_page_count(page, all->total);
        nj_page_put(page, " succeeded");
        if (all->failed > 0) {
            nj_page_put(page, ", <span class=\"bad\">");
            nj_page_count(page, all->failed);
            nj_page_put(page, " failed</span>");
        }
        if (open > 0) {
            nj_page_put(page, ", <span class=\"hold\">");
            nj_page_count(page, open);
            nj_page_put(page, " to go on with</span>");
        }
    }
    nj_page_put(page, "</h2>\n");
    if (all->reused > 0) {
        nj_page_put(page, "<p class=\"soft\">");
        nj_page_count(page, all->reused);
        nj_page_put(page, " of them taken over from an earlier run</p>\n");
    }
    nj_page_outcome(page);
    put_tiles(page);
    nj_page_put(page, "</section>\n");
}

static void put_next(struct nj_page *page)
{
    NJ_AUTO(nj_buf_done) struct nj_buf command = {0};

    nj_buf_init(&command, 1u << 16);
    if (page->err.code != 0 ||
        nj_summary_next(page->ledger, page->tally, &command, &page->err) != 0)
        return;
    nj_page_put(page,
                "<section aria-labelledby=\"next\">\n<div class=\"head\"><h2 id=\"next\">What "
                "to type next</h2></div>\n<div class=\"line\"><code data-copy>");
    nj_page_text(page, (const char *)command.data);
    nj_page_put(page, "</code></div>\n</section>\n");
}

int nj_html_write(const struct nj_ledger *ledger, const struct nj_tally *tally, struct nj_buf *out,
                  struct nj_error *err)
{
    struct nj_page page = {.ledger = ledger, .tally = tally, .out = out};

    put_head(&page);
    put_title(&page);
    put_first_screen(&page);
    put_next(&page);
    nj_page_causes(&page);
    nj_page_timeline(&page);
    nj_page_distributions(&page);
    nj_page_costs(&page);
    nj_page_sessions(&page);
    nj_page_put(&page, "</main>\n<footer>Made by nightjar " NJ_VERSION
                       " from the journal of the run. Times are UTC.</footer>\n</div>\n<script>");
    put_span(&page, nj_asset_script());
    nj_page_put(&page, "</script>\n</body>\n</html>\n");
    if (page.err.code != 0) {
        *err = page.err;
        return nj_wrap(err, "report.html");
    }
    return 0;
}
