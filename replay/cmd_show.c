/*
 * cmd_show.c - nightjar-replay show B[@N]: the timeline, or one step in full
 */
#include <sys/ioctl.h>
#include <unistd.h>

#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/render.h"
#include "replay/show.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 1, OPT_SALVAGE };

static int show_all(const struct nj_reading *reading, struct nj_show *show, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (nj_show_session(show, &out, err) < 0 || nj_command_print(&out, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < reading->timeline->n_rows; i++)
        if (nj_show_row(show, &reading->timeline->rows[i], &out, err) < 0 ||
            nj_command_print(&out, err) < 0)
            return -(int)err->code;
    return NJ_EXIT_OK;
}

static int show_one(const struct nj_reading *reading, struct nj_show *show, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    const struct nj_row *row;

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (nj_reading_row(reading, &row, err) < 0 || nj_show_step(show, row, &out, err) < 0 ||
        nj_command_print(&out, err) < 0)
        return -(int)err->code;
    return NJ_EXIT_OK;
}

/* terminal_columns - of standard output; 0 where that is none. Asked before we are confined. */
static size_t terminal_columns(void)
{
    struct winsize size = {0};

    return isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col
                                                                                      : 0;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    NJ_AUTO(nj_show_done) struct nj_show show = {.columns = terminal_columns()};
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_JSON)
            show.json = true;
        else if (r == OPT_SALVAGE)
            show.salvage = true;
    }
    if (r < 0 || nj_reading_open(args->operands[0], show.salvage ? NJ_READING_SALVAGE : 0, -1,
                                 &reading, err) < 0)
        return -(int)err->code;
    show.timeline = reading.timeline;
    return reading.source.where.has_step ? show_one(&reading, &show, err)
                                         : show_all(&reading, &show, err);
}

const struct nj_command nj_cmd_show = {
    .name = "show",
    .summary = "the timeline of a session, or one step in full",
    .help = "Without @N: who the session is, and a row for everything that happened: when, how "
            "long, what it cost, what was said, run and changed. With @N: that step's request, "
            "reply, call, output and files.\n\n"
            "Whatever came from the session is escaped: it cannot drive a terminal.",
    .operands = (const struct nj_operand[]){{.name = "B[@N]", .takes = NJ_TAKES_RECORD}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_JSON, "json",
             .help = "one JSON object a line: the session, then each row; with @N one object"},
            {OPT_SALVAGE, "salvage",
             .help = "of a damaged bundle, show what is intact, and tell the damage"},
            {0},
        },
    .see = "nightjar-replay-verify(1)",
    .run = run,
};
