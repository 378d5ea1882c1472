/*
 * cmd_report.c - nightjar report RUN: what the owner of a run reads in the morning
 *
 * Everything comes from the run's journal up to its last commit. How many sessions are planned is
 * told by run.json, because the journal does not know those that have not begun.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "batch/cli/cmd.h"
#include "batch/cli/view.h"
#include "batch/report/html.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 1, OPT_HTML };

/* open_folder - that of the file @path, before the run is read; -1 where there is no file to be */
static int open_folder(const char *path, int *ret_fd, struct nj_error *err)
{
    nj_auto_free char *folder = path ? strdup(path) : NULL;

    if (!path || strcmp(path, "-") == 0)
        return 0;
    if (!folder)
        return nj_fail_nomem(err);
    *ret_fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? nj_fail_errno(err, errno, "open the folder of %s", path) : 0;
}

/* The page as a file, whole or not there; without a folder it goes to standard output. */
static int write_page(const struct nj_view *view, const struct nj_tally *tally, int folder_fd,
                      const char *path, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    const char *slash = strrchr(path, '/');

    nj_buf_init(&out, SIZE_MAX / 2);
    if (nj_html_write(&view->ledger, tally, &out, err) < 0)
        return -(int)err->code;
    if (folder_fd < 0)
        return nj_command_print(&out, err);
    return nj_fsio_publish(folder_fd, slash ? slash + 1 : path, nj_buf_span(&out), 0600, err);
}

static int report(const char *run_path, bool json, const char *html, struct nj_error *err)
{
    NJ_AUTO(nj_view_done) struct nj_view view = NJ_VIEW_EMPTY;
    NJ_AUTO(nj_tally_done) struct nj_tally tally = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_summary_style style = nj_view_style(STDOUT_FILENO);
    nj_auto_close int folder_fd = -1;
    int r;

    if (open_folder(html, &folder_fd, err) < 0 ||
        nj_view_open(run_path, folder_fd, &view, err) < 0 || nj_view_read(&view, err) < 0 ||
        nj_tally_new(&view.ledger, nj_view_now_ns(), &tally, err) < 0)
        return -(int)err->code;
    if (html)
        return write_page(&view, &tally, folder_fd, html, err);
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
