/*
 * cmd_show.c - nightjar-replay show B[@N]: the timeline, or one step in full
 */
#include <getopt.h>

#include "replay/cmd.h"
#include "replay/reading.h"
#include "replay/render.h"
#include "replay/show.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 256, OPT_SALVAGE };

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
    return NJ_REPLAY_OK;
}

static int show_one(const struct nj_reading *reading, struct nj_show *show, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    const struct nj_row *row;

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (nj_reading_row(reading, &row, err) < 0 || nj_show_step(show, row, &out, err) < 0 ||
        nj_command_print(&out, err) < 0)
        return -(int)err->code;
    return NJ_REPLAY_OK;
}

static int run(const struct nj_command *command, int argc, char **argv, struct nj_error *err)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, OPT_JSON}, {"salvage", no_argument, NULL, OPT_SALVAGE}, {0}};
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    NJ_AUTO(nj_show_done) struct nj_show show = {0};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == OPT_JSON)
            show.json = true;
        else if (option == OPT_SALVAGE)
            show.salvage = true;
        else
            return nj_command_usage(command, err, "%s: no such option", argv[optind - 1]);
    }
    if (argc - optind != 1)
        return nj_command_usage(command, err, "one record is expected");
    if (nj_reading_open(argv[optind], show.salvage ? NJ_READING_SALVAGE : 0, &reading, err) < 0)
        return -(int)err->code;
    show.timeline = reading.timeline;
    return reading.source.where.has_step ? show_one(&reading, &show, err)
                                         : show_all(&reading, &show, err);
}

const struct nj_command nj_cmd_show = {
    .name = "show",
    .arguments = "B[@N] [--json] [--salvage]",
    .summary = "the timeline of a session, or one step in full",
    .help = "Without @N: who the session is, and a row for everything that happened: when,\n"
            "how long, what it cost, what was said, run and changed. With @N: that step's\n"
            "request, reply, call, output and files.\n"
            "  --json      one JSON object a line: the session, then each row; with @N one\n"
            "              object\n"
            "  --salvage   of a damaged bundle, show what is intact, and tell the damage\n"
            "Whatever came from the session is escaped: it cannot drive a terminal.\n",
    .run = run,
};
