/*
 * cmd_fsck.c - nightjar-replay fsck PATH...: is it whole? and --salvage OUT: what can be saved
 *
 * The one complication: whoever reads a damaged record may not name files. So OUT of a run is a
 * folder that is there before, and OUT of a record is a file without its name, which this process
 * gives it once the reading one (apart.h) has said that it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "formats/base/log.h"
#include "replay/apart.h"
#include "replay/cmd.h"
#include "replay/fsck_run.h"
#include "replay/reading.h"
#include "replay/render.h"

#include "formats/base/banned.h"

enum { OPT_JSON = 1, OPT_SALVAGE };

#define PATHS_MAX 4096
#define SAVED 's' /* what the reading process tells of a file that is to be named */
#define CURE_BUNDLE "take a copy that is whole; fsck --salvage FILE writes what comes before it"

/* One PATH, and what is said about it. */
struct patient {
    struct nj_source source;
    bool is_run;
    bool json;
    int save_fd; /* with --salvage, of a record: a file; of a run: a folder; else -1 */
    uint64_t faults;
    char *cure;   /* of the last faults, to be told behind them */
    json_t *told; /* with json: array of faults */
    struct nj_buf text;
};

static void patient_done(struct patient *patient)
{
    nj_source_done(&patient->source);
    json_decref(patient->told);
    nj_buf_done(&patient->text);
    free(patient->cure);
}

/* flush_cure - one cure for all faults in a row that it mends */
static int flush_cure(struct patient *patient, struct nj_error *err)
{
    int r;

    if (!patient->cure)
        return 0;
    r = nj_buf_text(&patient->text, "    cure: ", err);
    if (r == 0)
        r = nj_render_line(&patient->text, nj_span_text(patient->cure), err);
    if (r == 0)
        r = nj_buf_text(&patient->text, "\n", err);
    free(patient->cure);
    patient->cure = NULL;
    return r;
}

static int on_fault(void *ctx, const struct nj_fault *fault, struct nj_error *err)
{
    struct patient *patient = ctx;
    const char *cure = fault->cure ? fault->cure : CURE_BUNDLE;
    int r;

    patient->faults++;
    if (patient->json) {
        json_t *object = json_object();

        if (!object || !nj_json_set(object, "where", nj_json_text(nj_span_text(fault->where))) ||
            !nj_json_set(object, "what", nj_json_text(nj_span_text(fault->what))) ||
            !nj_json_set(object, "cure", nj_json_text(nj_span_text(cure))) ||
            json_array_append_new(patient->told, object) < 0)
            return nj_fail_nomem(err);
        return 0;
    }
    if (patient->cure && strcmp(patient->cure, cure) != 0 && flush_cure(patient, err) < 0)
        return -(int)err->code;
    if (!patient->cure) {
        patient->cure = strdup(cure);
        if (!patient->cure)
            return nj_fail_nomem(err);
    }
    r = nj_buf_text(&patient->text, "  ", err);
    if (r == 0)
        r = nj_render_line(&patient->text, nj_span_text(fault->where), err);
    if (r == 0)
        r = nj_buf_text(&patient->text, ": ", err);
    if (r == 0)
        r = nj_render_line(&patient->text, nj_span_text(fault->what), err);
    return r < 0 ? r : nj_buf_text(&patient->text, "\n", err);
}

/* ---- saying it ---- */

static int say_json(struct patient *patient, json_t *object, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (!object ||
        !nj_json_set(object, "path", nj_json_text(nj_span_text(patient->source.where.text))) ||
        !nj_json_set(object, "whole", json_boolean(patient->faults == 0)) ||
        !nj_json_set(object, "faults", json_incref(patient->told))) {
        json_decref(object);
        return nj_fail_nomem(err);
    }
    if (nj_json_line(&out, object, err) < 0)
        return -(int)err->code;
    return nj_command_print(&out, err);
}

static int say(struct patient *patient, const char *rest, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, NJ_RENDER_MAX_BYTES);
    if (flush_cure(patient, err) < 0 ||
        nj_render_line(&out, nj_span_text(patient->source.where.text), err) < 0 ||
        nj_buf_printf(&out, err, ": %s; %s\n", patient->faults ? "damaged" : "whole", rest) < 0 ||
        nj_buf_append(&out, patient->text.data, patient->text.len, err) < 0)
        return -(int)err->code;
    return nj_command_print(&out, err);
}

/* ---- one record ---- */

static int open_damaged(struct patient *patient, struct nj_record **ret_record,
                        struct nj_error *err)
{
    const struct nj_source *source = &patient->source;
    struct nj_error why = {0};
    const char *damage;
    int r;

    r = nj_source_record(source, NJ_BUNDLE_SALVAGE, ret_record, &why);
    if (r == -NJ_E_CORRUPT || r == -NJ_E_VERSION || r == -NJ_E_LIMIT)
        return on_fault(patient, &(struct nj_fault){.where = "the whole", .what = why.text}, err);
    if (r < 0) {
        *err = why;
        return r;
    }
    for (size_t i = 0; (damage = nj_record_damage_at(*ret_record, i)); i++)
        if (on_fault(patient, &(struct nj_fault){.where = "the file", .what = damage}, err) < 0)
            return -(int)err->code;
    return 0;
}

/* Returns whether something was saved in @ret_saved. */
static int check_record(struct patient *patient, bool *ret_saved, struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;
    struct nj_fsck_ear ear = {.fault = on_fault, .ctx = patient};
    struct nj_fsck_result result = {0};
    bool save;
    char text[160];
    int r;

    r = open_damaged(patient, &record, err);
    if (r == 0 && record)
        r = nj_fsck_record(record, &ear, &result, err);
    save = r == 0 && patient->save_fd >= 0 && result.frames_whole > 0;
    if (save)
        r = nj_fsck_save(record, &result, patient->save_fd, err);
    if (r < 0)
        return r;
    *ret_saved = save;
    if (patient->json)
        return say_json(patient,
                        json_pack("{sI sI sI sb}", "frames", (json_int_t)result.frames,
                                  "frames_whole", (json_int_t)result.frames_whole, "steps_whole",
                                  (json_int_t)result.steps_whole, "saved", save),
                        err);
    if (result.frames_whole == 0 && patient->faults > 0)
        (void)snprintf(text, sizeof(text), "nothing of it is whole%s",
                       patient->save_fd >= 0 ? ", and nothing could be saved" : "");
    else
        (void)snprintf(text, sizeof(text),
                       "frames 1 to %" PRIu64 " of %" PRIu64 " are whole (%" PRIu64 " steps)%s",
                       result.frames_whole, result.frames, result.steps_whole,
                       save                    ? ", and were saved"
                       : patient->save_fd >= 0 ? ": nothing could be saved"
                                               : "");
    return say(patient, text, err);
}

/* ---- one run ---- */

static int check_run(struct patient *patient, struct nj_error *err)
{
    struct nj_fsck_ear ear = {.fault = on_fault, .ctx = patient};
    struct nj_fsck_run_result result;
    char text[200];
    int r;

    r = nj_fsck_run(&patient->source.dir, patient->save_fd, &ear, &result, err);
    if (r < 0)
        return r;
    if (patient->json)
        return say_json(patient,
                        json_pack("{sI sI sI sb}", "sessions", (json_int_t)result.sessions,
                                  "sessions_whole", (json_int_t)result.sessions_whole, "saved",
                                  (json_int_t)result.saved, "torn", result.torn_bytes > 0),
                        err);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " sessions are whole%s",
                   result.sessions_whole, result.sessions,
                   result.torn_bytes ? ", behind the last commit a write was cut off" : "");
    if (patient->save_fd >= 0)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
                       ", %" PRIu64 " were saved from the journal", result.saved);
    return say(patient, text, err);
}

/* ---- all of them ---- */

/* A folder is a run as a whole; anything else is a bundle or RUN:KEY. */
static int read_path(const char *path, struct patient *patient, struct nj_error *err)
{
    struct nj_where *where = &patient->source.where;
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        patient->is_run = true;
        where->text = strdup(path);
        where->path = strdup(path);
        where->key = strdup(""); /* all of them */
        return where->text && where->path && where->key ? 0 : nj_fail_nomem(err);
    }
    if (nj_where_parse(path, where, err) < 0)
        return -(int)err->code;
    if (where->has_step)
        return nj_fail(err, NJ_E_INPUT, "%s: a record is checked as a whole, without @N", path);
    return 0;
}

/* All that is asked of one command line. */
struct ward {
    struct patient *patients;
    size_t n;
};

/* From here this process reads the patients, and with a run's salvage writes into one folder. */
static int confine(const struct ward *ward, struct nj_error *err)
{
    nj_auto_free struct nj_source *sources = calloc(ward->n + 1, sizeof(*sources));
    const struct patient *first = &ward->patients[0];
    int folder_fd = first->is_run ? first->save_fd : -1;

    if (!sources)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < ward->n; i++)
        sources[i] = ward->patients[i].source;
    /* What is made in the folder belongs to the caller, like the folder. */
    if (folder_fd < 0 && nj_source_drop_privileges(sources, ward->n, err) < 0)
        return -(int)err->code;
    return nj_source_confine(sources, ward->n, folder_fd, false, err);
}

static int check_all(void *ctx, struct nj_told *told, struct nj_error *err)
{
    const struct ward *ward = ctx;
    bool refused = false, damaged = false, saved = false;

    if (confine(ward, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < ward->n; i++) {
        struct patient *patient = &ward->patients[i];

        nj_buf_init(&patient->text, NJ_RENDER_MAX_BYTES);
        patient->told = json_array();
        if (!patient->told)
            return nj_fail_nomem(err);
        if ((patient->is_run ? check_run(patient, err) : check_record(patient, &saved, err)) < 0) {
            if (err->code != NJ_E_INPUT)
                return -(int)err->code;
            nj_log(NJ_LOG_ERROR, "%s", err->text);
            *err = (struct nj_error){0};
            refused = true;
        }
        damaged = damaged || patient->faults > 0;
    }
    told->text[0] = saved ? SAVED : '\0';
    return refused || damaged ? NJ_EXIT_USAGE : NJ_EXIT_OK;
}

/* ---- salvage ---- */

static int salvage_run(struct ward *ward, const char *path, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct nj_told told;

    if (mkdir(path, 0700) < 0)
        return nj_fail_errno(err, errno, "make folder %s", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", path);
    ward->patients[0].save_fd = fd;
    return check_all(ward, &told, err);
}

/* The file has a name of its own at first. OUT appears whole, or not at all; it must not exist. */
static int salvage_record(struct ward *ward, const char *path, struct nj_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    nj_auto_free char *folder = NULL, *temp = NULL;
    nj_auto_close int dir_fd = -1, fd = -1;
    struct nj_told told;
    int r;

    folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder || asprintf(&temp, "%s.tmp-%d", name, (int)getpid()) < 0) {
        temp = NULL;
        return nj_fail_nomem(err);
    }
    dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", folder);
    if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return nj_fail_errno(err, EEXIST, "create %s", path);
    fd = openat(dir_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create %s", path);
    ward->patients[0].save_fd = fd;
    r = nj_apart(check_all, ward, &told, err);
    if (r >= 0 && told.text[0] == SAVED) {
        if (renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) == 0)
            return nj_fsio_sync_dir(dir_fd, err) < 0 ? -(int)err->code : r;
        r = nj_fail_errno(err, errno, "create %s", path);
    }
    (void)unlinkat(dir_fd, temp, 0); /* the error is told; a leftover says what it is */
    return r;
}

static int look(struct ward *ward, char *const *paths, const char *salvage, struct nj_error *err)
{
    struct nj_told told;

    for (size_t i = 0; i < ward->n; i++)
        if (read_path(paths[i], &ward->patients[i], err) < 0)
            return -(int)err->code;
    if (nj_reading_isolate(err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < ward->n; i++)
        if (nj_source_open(&ward->patients[i].source, err) < 0)
            return -(int)err->code;
    if (!salvage)
        return check_all(ward, &told, err);
    return ward->patients[0].is_run ? salvage_run(ward, salvage, err)
                                    : salvage_record(ward, salvage, err);
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    static const struct nj_source empty = NJ_SOURCE_EMPTY;
    nj_auto_free struct patient *patients = NULL;
    const char *salvage = NULL;
    bool json = false;
    int r;

    while ((r = nj_arguments_next(args, err)) > 0) {
        if (r == OPT_JSON)
            json = true;
        else if (r == OPT_SALVAGE)
            salvage = args->value;
    }
    if (r < 0)
        return r;
    if (salvage && args->n_operands > 1)
        return nj_arguments_refuse(args, err, "--salvage takes one PATH at a time");
    if (args->n_operands > PATHS_MAX)
        return nj_arguments_refuse(args, err, "at most %d paths at a time", PATHS_MAX);
    patients = calloc(args->n_operands, sizeof(*patients));
    if (!patients)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < args->n_operands; i++)
        patients[i] = (struct patient){.source = empty, .json = json, .save_fd = -1};
    r = look(&(struct ward){.patients = patients, .n = args->n_operands}, args->operands, salvage,
             err);
    for (size_t i = 0; i < args->n_operands; i++)
        patient_done(&patients[i]);
    return r;
}

const struct nj_command nj_cmd_fsck = {
    .name = "fsck",
    .summary = "check that a bundle or a run is whole, and save what is",
    .help =
        "PATH is a bundle, RUN:KEY, or a run directory. Every checksum, digest, reference and "
        "order is checked: what the container says, that each event can follow those before "
        "it, that each snapshot is what they give, and that every message and file that any of "
        "them names is there. Each fault is told with its place and its cure. No code is run "
        "again (that is `verify`), and nothing is changed.\n\n"
        "With --salvage the frames before the first fault are written, with all that they name, "
        "as a bundle that is whole again. Of a run directory, each session that is in no whole "
        "bundle is written.",
    .operands =
        (const struct nj_operand[]){{.name = "PATH", .takes = NJ_TAKES_RECORD, .repeated = true},
                                    {0}},
    .options =
        (const struct nj_option[]){
            {OPT_JSON, "json", .help = "one JSON object a PATH"},
            {OPT_SALVAGE, "salvage", .value = "OUT", .takes = NJ_TAKES_FILE,
             .help = "write what is whole: of a bundle or RUN:KEY to the file OUT, of a run "
                     "directory to files in the folder OUT. OUT must not exist"},
            {0},
        },
    .exits = "Exit status: 0 all is whole, 2 something is damaged (also when it was salvaged), 3 "
             "this program or host failed.",
    .see = "nightjar-replay-verify(1)",
    .run = run,
};
