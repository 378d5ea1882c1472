/*
 * cmd_report.c - nightjar report RUN: what the owner of a run reads in the morning
 *
 * Everything comes from the run's journal up to its last commit. How many sessions are planned is
 * told by run.json, because the journal does not know those that have not begun.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "batch/cli/cmd.h"
#include "batch/cli/view.h"
#include "batch/report/html.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 1, OPT_HTML };

/* The page as a file, whole or not there; "-" is standard output. */
static int write_page(const struct nj_view *view, const struct nj_tally *tally, const char *path,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, SIZE_MAX / 2);
    if (nj_html_write(&view->ledger, tally, &out, err) < 0)
        return -(int)err->code;
    if (strcmp(path, "-") == 0)
        return nj_command_print(&out, err);
    return nj_fsio_publish(AT_FDCWD, path, nj_buf_span(&out), 0600, err);
}

static int report(const char *run_path, bool json, const char *html, struct nj_error *err)
{
    NJ_AUTO(nj_view_done) struct nj_view view = NJ_VIEW_EMPTY;
    NJ_AUTO(nj_tally_done) struct nj_tally tally = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_summary_style style = nj_view_style(STDOUT_FILENO);
    int r;

    if (nj_view_open(run_path, &view, err) < 0 || nj_view_read(&view, err) < 0 ||
        nj_tally_new(&view.ledger, nj_view_now_ns(), &tally, err) < 0)
        return -(int)err->code;
    if (html)
        return write_page(&view, &tally, html, err);
    nj_buf_init(&out, SIZE_MAX / 2);
    r = json ? nj_summary_json(&view.ledger, &tally, &out, err)
             : nj_summary_write(&view.ledger, &tally, &style, &out, err);
    return r < 0 ? r : nj_command_print(&out, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    const char *html = NULL;
    bool json = false;
    int r;

    while ((r = nj_arguments_next(args, err)) > 0)
        if (r == OPT_JSON)
            json = true;
        else if (r == OPT_HTML)
            html = args->value;
    if (r < 0)
        return r;
    return report(args->operands[0], json, html, err);
}

const struct nj_command nj_cmd_report = {
    .name = "report",
    .summary = "the morning summary of a run",
    .help = "Counts, time, cost, the slowest sessions, failures grouped by cause with a command "
            "each, and what to type next: from the run's journal, while it works or after.",
    .operands = (const struct nj_operand[]){{.name = "RUN", .takes = NJ_TAKES_RUN}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_JSON, "json", .help = "the same figures as one JSON object"},
            {OPT_HTML, "html", .value = "FILE", .takes = NJ_TAKES_FILE,
             .help = "write the page report.html as it would be now; - for standard output"},
            {0},
        },
    .examples = "nightjar report runs/last-night\n",
    .see = "nightjar-status(1) nightjar-resume(1)",
    .run = run,
};
