/*
 * cmd_doctor.c - nightjar doctor
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "batch/cli/cmd.h"
#include "batch/cli/doctor.h"
#include "batch/cli/rows.h"

#include "formats/base/banned.h"

#define TEXT_MAX_BYTES (1u << 20)

enum { OPT_JSON = 1 };

static int run(struct nj_arguments *args, struct nj_error *err)
{
    static const int statuses[] = {
        [NJ_PROBE_OK] = NJ_EXIT_OK,
        [NJ_PROBE_DEGRADED] = NJ_EXIT_SOME_FAILED,
        [NJ_PROBE_MISSING] = NJ_EXIT_ENGINE,
    };
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    static struct nj_doctor doctor; /* large */
    nj_auto_close int here = -1;
    bool json = false;
    size_t columns;
    int r;

    while ((r = nj_arguments_next(args, err)) > 0)
        if (r == OPT_JSON)
            json = true;
    if (r < 0)
        return r;
    here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return nj_fail_errno(err, errno, "open the working directory");
    nj_doctor_look(here, &doctor);
    nj_buf_init(&text, TEXT_MAX_BYTES);
    /* Who reads lines, as grep does, gets each finding in one. */
    columns = isatty(STDOUT_FILENO) == 1 ? nj_rows_columns() : SIZE_MAX;
    r = json ? nj_doctor_json(&doctor, &text, err) : nj_doctor_text(&doctor, columns, &text, err);
    if (r < 0)
        return r;
    if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0)
        return nj_fail_errno(err, errno, "write to standard output");
    return statuses[nj_doctor_worst(&doctor)];
}

const struct nj_command nj_cmd_doctor = {
    .name = "doctor",
    .summary = "what this host has and lacks for boxes and runs, each with its cure",
    .help = "Tries every kernel feature that boxes use, builds a box and runs a program in it, and "
            "looks at limits, space, interpreters and the HTTP client. What is not ok is told with "
            "what follows from it and with a line to type. A run refuses to start with the same "
            "words when something is missing that no box can do without; it never falls back to a "
            "weaker sandbox in silence.\n\n"
            "Run it as the user who will run the jobs, in the place where they will run.",
    .options =
        (const struct nj_option[]){
            {OPT_JSON, "json", .help = "one object, for scripts"},
            {0},
        },
    .exits = "0: all is ok; 1: something is degraded, runs start; 3: something is missing, runs "
             "refuse to start.",
    .examples = "nightjar doctor\tas the user who runs the jobs\n"
                "systemd-run --user --scope -p Delegate=yes nightjar doctor\twith hard limits "
                "for an ordinary user\n",
    .see = "nightjar-run(1) nightjar-check(1)",
    .run = run,
};
