/*
 * reproducible_run.c - runs a workload through the box interface, without engine and journal
 *
 * The one complication is the objects: each capture hands over what is new since the last, so all
 * of a run's are kept until it ends, for a restore and for the list of files.
 */
#include "tests/bench/reproducible_run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define CLOCK_BEGIN_NS (INT64_C(1790000000) * 1000000000 + 123456789) /* some hour in 2026 */
#define CALL_TIMEOUT_MS 60000
#define NEXT_CALL "\n### next call\n"

/* What one run has gathered. */
struct run {
    struct runner *runner;
    const struct workload *workload;
    const struct request *request;
    struct nj_objects objects[CALLS_MAX]; /* of each call so far */
    size_t n_objects;
    struct nj_workspace_ref ref;
    int64_t clock_ns;
    FILE *out;
    FILE *errors;
    struct mark *mark;
};

static void die(const char *what, const struct nj_error *err)
{
    fprintf(stderr, "reproducible: %s: %s\n", what, err->text);
    exit(3);
}

static double now_ms(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* ---- workloads ---- */

/* header - the rest of the line "# KEY: ..." in the script's head, into @value */
static bool header(const char *text, const char *key, char *value, size_t room)
{
    size_t key_len = strlen(key);

    for (const char *line = text; *line == '#';) {
        size_t len = strcspn(line, "\n");

        if (len >= 2 + key_len && strncmp(line + 2, key, key_len) == 0 &&
            len - 2 - key_len < room) {
            memcpy(value, line + 2 + key_len, len - 2 - key_len);
            value[len - 2 - key_len] = '\0';
            return true;
        }
        line += line[len] ? len + 1 : len;
    }
    return false;
}

static bool cut_calls(struct workload *w)
{
    char *at = w->text, *next;

    do {
        if (w->n_calls == CALLS_MAX)
            return false;
        next = strstr(at, NEXT_CALL);
        w->calls[w->n_calls++] =
            (struct nj_span){(const uint8_t *)at, next ? (size_t)(next - at) + 1 : strlen(at)};
        at = next ? next + strlen(NEXT_CALL) : NULL;
    } while (at);
    return true;
}

static unsigned level_of(const char *text)
{
    return text[0] == 'D' ? (unsigned)(text[1] - '0') : LEVEL_NEVER;
}

bool workload_read(const char *path, struct workload *ret_workload)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct workload w = {.held_out = strstr(path, "held_out/") != NULL};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {.max = SCRIPT_MAX_BYTES};
    size_t name_len = strcspn(base, ".");
    struct nj_error err;
    char value[128];

    if (nj_fsio_read_file(AT_FDCWD, path, &buf, &err) < 0) {
        fprintf(stderr, "reproducible: %s\n", err.text);
        return false;
    }
    w.text = nj_buf_steal(&buf);
    if (!w.text || name_len >= sizeof(w.name) || !header(w.text, "equal: ", value, sizeof(value)) ||
        !cut_calls(&w)) {
        fprintf(stderr, "reproducible: %s: no line \"# equal: LEVEL\" or too many calls\n", path);
        free(w.text);
        return false;
    }
    memcpy(w.name, base, name_len);
    w.equal_from = level_of(value);
    w.times_from = w.equal_from < NJ_LEVEL_FILE_TIMES ? NJ_LEVEL_FILE_TIMES : w.equal_from;
    if (header(w.text, "times: ", value, sizeof(value)))
        w.times_from = level_of(value);
    w.varies = header(w.text, "varies", value, sizeof(value));
    (void)header(w.text, "needs: ", w.needs, sizeof(w.needs));
    *ret_workload = w;
    return true;
}

void workload_done(struct workload *workload)
{
    free(workload->text);
}

const char *workload_missing(const struct workload *workload)
{
    static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin"}; /* PATH of a box */
    static char name[128];
    const char *at = workload->needs;
    char path[256];

    while (*at) {
        size_t len = strcspn(at, " ");
        bool found = false;

        snprintf(name, sizeof(name), "%.*s", (int)len, at);
        for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
            snprintf(path, sizeof(path), "%s/%s", folders[i], name);
            found = found || access(path, X_OK) == 0;
        }
        if (!found)
            return name;
        at += len + strspn(at + len, " ");
    }
    return NULL;
}

/* ---- objects ---- */

static int get_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    struct run *run = ctx;

    for (size_t i = 0; i < run->n_objects; i++) {
        if (nj_objects_has(&run->objects[i], digest))
            return nj_objects_get(&run->objects[i], digest, out, err);
    }
    return nj_fail(err, NJ_E_CORRUPT, "an object is missing");
}

static int list_entry(void *ctx, const char *path, const struct nj_tree_entry *entry,
                      struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1] = "-";

    (void)err;
    if (entry->type == NJ_FILE_REGULAR)
        nj_digest_hex(&entry->digest, hex);
    fprintf(ctx, "%d %04o %8" PRIu64 " %s %s %.*s\n", (int)entry->type, entry->mode, entry->size,
            hex, path, (int)entry->target.len,
            entry->target.data ? (const char *)entry->target.data : "");
    return 0;
}

static FILE *keep_file(const struct request *request, const char *ending)
{
    char path[1024];
    FILE *file;

    snprintf(path, sizeof(path), "%s.%s", request->keep, ending);
    file = fopen(path, "we");
    if (!file) {
        fprintf(stderr, "reproducible: %s: %m\n", path);
        exit(3);
    }
    return file;
}

static void keep_tree(struct run *run)
{
    const struct nj_object_source source = {.get = get_object, .ctx = run};
    nj_auto_fclose FILE *file = keep_file(run->request, "tree");
    struct nj_error err;

    if (nj_tree_walk(&source, &run->ref.tree, list_entry, file, &err) < 0)
        die("list of files", &err);
}

/* list_stamps - times and numbers of what is in the directory @path, in the order of its listing */
static void list_stamps(struct run *run, FILE *file, const char *path,
                        const struct nj_digest *digest)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_stamps stamps;
    struct nj_error err;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (get_object(run, digest, &bytes, &err) < 0 ||
        nj_stamps_decode(nj_buf_span(&bytes), &arena, &stamps, &err) < 0)
        die("times of files", &err);
    fprintf(file, "%s/ %" PRId64 " %" PRId64 " next %" PRIu64 "\n", path, stamps.mtime_ns,
            stamps.ctime_ns, stamps.next_ino);
    for (size_t i = 0; i < stamps.n_entries; i++) {
        const struct nj_stamp *entry = &stamps.entries[i];
        const char *name = nj_arena_printf(&arena, "%s/%.*s", path, (int)entry->name.len,
                                           (const char *)entry->name.data);

        if (!name)
            die("times of files", &err);
        fprintf(file, "%s %" PRId64 " %" PRId64 " ino %" PRIu64 "\n", name, entry->mtime_ns,
                entry->ctime_ns, entry->ino);
        if (entry->has_stamps)
            list_stamps(run, file, name, &entry->stamps);
    }
}

static void keep_stamps(struct run *run)
{
    nj_auto_fclose FILE *file = keep_file(run->request, "stamps");

    list_stamps(run, file, "", &run->ref.stamps);
}

/* all_objects - of the run so far, in one memfd, as a restore wants them */
static int all_objects(struct run *run)
{
    struct nj_error err;
    int fd;

    if (nj_fsio_memfd("objects", &fd, &err) < 0)
        die("objects", &err);
    for (size_t i = 0; i < run->n_objects; i++) {
        if (nj_fsio_write(fd, run->objects[i].map, run->objects[i].map_bytes, &err) < 0)
            die("objects", &err);
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        (void)nj_fail_errno(&err, errno, "seal the objects");
        die("objects", &err);
    }
    return fd;
}

/* ---- boxes ---- */

static void wait_for_all(struct runner *runner)
{
    while (runner->waiting > 0)
        (void)event_base_loop(runner->base, EVLOOP_ONCE);
}

void runner_start(struct runner *runner)
{
    struct nj_error err;
    char name[64];

    *runner = (struct runner){.base = event_base_new()};
    snprintf(name, sizeof(name), "reproducible-%d", (int)getpid());
    if (!runner->base || nj_sandbox_start(name, &runner->sandbox, &err) < 0 ||
        nj_sandbox_attach(runner->sandbox, runner->base, &err) < 0)
        die("start", &err);
}

void runner_stop(struct runner *runner)
{
    nj_sandbox_free(runner->sandbox);
    event_base_free(runner->base);
}

static void on_opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct runner *runner = ctx;

    if (err)
        die("open a box", err);
    runner->box = box;
    runner->waiting--;
}

static void on_restored(void *ctx, const struct nj_error *err)
{
    struct runner *runner = ctx;

    if (err)
        die("restore a box", err);
    runner->waiting--;
}

static void open_box(struct run *run)
{
    struct nj_box_plan plan;
    struct nj_error err;

    nj_box_plan_default(&plan);
    plan.level = run->request->level;
    if (nj_box_open(run->runner->sandbox, &plan, on_opened, run->runner, &err) < 0)
        die("open a box", &err);
    run->runner->waiting++;
    wait_for_all(run->runner);
}

/* move_to_new_box - what an eviction does */
static void move_to_new_box(struct run *run)
{
    struct nj_error err;

    nj_box_close(run->runner->box);
    open_box(run);
    if (nj_box_restore(run->runner->box, &run->ref, all_objects(run), on_restored, run->runner,
                       &err) < 0)
        die("restore a box", &err);
    run->runner->waiting++;
    wait_for_all(run->runner);
}

static void keep_stream(FILE *file, const struct nj_stream *stream)
{
    if (!file)
        return;
    (void)fwrite(stream->head.data, 1, stream->head.len, file);
    if (stream->tail.len > 0) {
        fputs("\n[...]\n", file);
        (void)fwrite(stream->tail.data, 1, stream->tail.len, file);
    }
}

static void on_called(void *ctx, const struct nj_box_result *result, const struct nj_error *err)
{
    struct run *run = ctx;
    const struct nj_call_outcome *outcome;
    const struct nj_call_meta *meta;
    struct mark *mark = run->mark;
    struct nj_error failure;
    char word[64];
    size_t call = run->n_objects;

    run->runner->waiting--;
    if (err)
        die(run->workload->name, err);
    outcome = &result->outcome;
    meta = &result->meta;
    snprintf(word, sizeof(word), "%d %d %d", (int)outcome->exit, outcome->status,
             (int)outcome->limit);
    nj_digest_chain(&mark->says, "exit", (struct nj_span){(const uint8_t *)word, strlen(word)});
    nj_digest_chain(&mark->says, "out",
                    (struct nj_span){outcome->out.digest.bytes, NJ_DIGEST_BYTES});
    nj_digest_chain(&mark->says, "err",
                    (struct nj_span){outcome->errors.digest.bytes, NJ_DIGEST_BYTES});
    nj_digest_chain(&mark->says, "order",
                    (struct nj_span){meta->order.bytes, meta->has_order ? NJ_DIGEST_BYTES : 0});
    nj_digest_chain(&mark->leaves, "tree", (struct nj_span){outcome->tree.bytes, NJ_DIGEST_BYTES});
    nj_digest_chain(&mark->stamps, "stamps", (struct nj_span){meta->stamps.bytes, NJ_DIGEST_BYTES});
    if (mark->well && (outcome->exit != NJ_EXIT_EXITED || outcome->status != 0)) {
        mark->well = false;
        snprintf(mark->trouble, sizeof(mark->trouble), "call %zu: %s %d%s%s", call + 1,
                 outcome->exit == NJ_EXIT_EXITED ? "status" : "signal", outcome->status,
                 outcome->limit ? ", limit " : "", nj_limit_key(outcome->limit));
    }
    mark->figures |= meta->figures;
    if (meta->level < mark->level) {
        mark->level = meta->level;
        snprintf(mark->lowered, sizeof(mark->lowered), "%s", nj_lowered_text(meta->lowered));
    }
    run->ref = (struct nj_workspace_ref){outcome->tree, meta->stamps};
    run->clock_ns = meta->clock_ns > run->clock_ns ? meta->clock_ns : run->clock_ns;
    keep_stream(run->out, &outcome->out);
    keep_stream(run->errors, &outcome->errors);
    if (result->objects_fd >= 0 &&
        nj_objects_open(&run->objects[call], result->objects_fd, &failure) < 0)
        die("objects", &failure);
    run->n_objects++;
}

static void run_call(struct run *run, size_t i)
{
    static const char *const argv[] = {"bash", "/run/workload", NULL};
    struct nj_digest seed;
    struct nj_box_call call = {.argv = argv,
                               .script_name = "workload",
                               .script = run->workload->calls[i],
                               .timeout_ms = CALL_TIMEOUT_MS,
                               .runtime_left_ms = CALLS_MAX * CALL_TIMEOUT_MS,
                               .runtime_limit_ms = CALLS_MAX * CALL_TIMEOUT_MS,
                               .head_max_bytes = OUTPUT_MAX_BYTES,
                               .tail_max_bytes = NJ_BOX_TAIL_BYTES,
                               .step = 2 * i + 2, /* a reply comes before each call */
                               .clock_ns = run->clock_ns};
    struct nj_error err;
    double begun;

    nj_digest_bytes(run->request->seed, strlen(run->request->seed), &seed);
    memcpy(call.seed, seed.bytes, sizeof(call.seed));
    begun = now_ms();
    if (nj_box_call(run->runner->box, &call, NULL, on_called, run, &err) < 0)
        die(run->workload->name, &err);
    run->runner->waiting++;
    wait_for_all(run->runner);
    run->mark->ms += now_ms() - begun;
    run->clock_ns += INT64_C(30) * 1000000000; /* as if a model had answered meanwhile */
}

void run_workload(struct runner *runner, const struct workload *workload,
                  const struct request *request, struct mark *ret_mark)
{
    struct run run = {.runner = runner,
                      .workload = workload,
                      .request = request,
                      .clock_ns = CLOCK_BEGIN_NS + request->later_ns,
                      .mark = ret_mark};

    *ret_mark = (struct mark){.well = true, .level = request->level};
    if (request->keep) {
        run.out = keep_file(request, "out");
        run.errors = keep_file(request, "err");
    }
    open_box(&run);
    for (size_t i = 0; i < workload->n_calls; i++) {
        if (i > 0 && request->evict)
            move_to_new_box(&run);
        run_call(&run, i);
    }
    nj_box_close(runner->box);
    if (request->keep) {
        keep_tree(&run);
        keep_stamps(&run);
        (void)fclose(run.out);
        (void)fclose(run.errors);
    }
    for (size_t i = 0; i < run.n_objects; i++)
        nj_objects_close(&run.objects[i]);
}
