/*
 * reused.c - choosing what an earlier run did already, and taking it over
 *
 * The one complication is trust. The choice is made with the rights of whoever started the run, but
 * from names and digests only; the bundles, which hold what agents wrote, are opened by the
 * unprivileged user, and parsed by a confined child of it (reused_check.h). A bundle is checked
 * whole before it stands for a session: what is reused is believed for as long as runs are reused
 * one after another.
 *
 * A bundle is written once and never changed, so it gets a second name (a link) where that can be:
 * it costs no room, and gc of either run leaves it to the other. Outputs are for people to change,
 * so they are written anew.
 */
#include "batch/engine/reused.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "batch/engine/reused_check.h"
#include "batch/plan/reuse.h"
#include "formats/base/log.h"
#include "formats/bundle/bundle.h"

#include "formats/base/banned.h"

#define BUNDLES "bundles/"
#define ROWS_MAX_BYTES NJ_IDENTITIES_MAX_BYTES
#define COPY_BYTES (1u << 20)
#define COMMIT_EVERY 256 /* sessions: what pends stays small */

static void json_auto(json_t **json)
{
    json_decref(*json);
}

#define AUTO_JSON __attribute__((cleanup(json_auto))) json_t *

static json_t *read_json(struct nj_span text)
{
    return json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
}

/* ---- choosing ---- */

struct choosing {
    struct nj_reuse *reuse;
    const struct nj_plan *plan;
    struct nj_buf *out;
    size_t count;
    bool done[NJ_MANIFEST_AGENTS_MAX]; /* groups */
};

static int choose(struct choosing *choosing, const struct nj_plan_session *session,
                  struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf why = {0};
    struct nj_buf *out = choosing->out;
    struct nj_span row;
    int r;

    nj_buf_init(&why, 1u << 16);
    r = nj_reuse_judge(choosing->reuse, choosing->plan, session, &why, err);
    if (r < 0)
        return r;
    if (r != NJ_REUSE_SAME || !nj_reuse_row(choosing->reuse, session->key, &row))
        return 0;
    choosing->count++;
    if (nj_buf_text(out, "{\"key\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(session->key), err) < 0 ||
        nj_buf_text(out, ",\"row\":", err) < 0 || nj_buf_append(out, row.data, row.len, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}\n", err);
}

/* A group may stand before one that it comes after in the manifest. Here it stands behind, so that
 * whoever takes them over line by line knows what became of the others. */
static int choose_group(struct choosing *choosing, size_t group, struct nj_error *err)
{
    const struct nj_plan *plan = choosing->plan;
    const struct nj_manifest_group *its = &plan->manifest->groups[group];

    if (choosing->done[group])
        return 0;
    choosing->done[group] = true;
    for (size_t i = 0; i < its->n_after; i++)
        if (choose_group(choosing, its->after[i], err) < 0)
            return -(int)err->code;
    for (size_t i = 0; i < plan->n_sessions; i++)
        if (plan->sessions[i].group == group && choose(choosing, &plan->sessions[i], err) < 0)
            return -(int)err->code;
    return 0;
}

static int choose_all(struct nj_reuse *reuse, const struct nj_plan *plan, struct nj_buf *out,
                      struct nj_error *err)
{
    struct choosing choosing = {.reuse = reuse, .plan = plan, .out = out};

    for (size_t i = 0; i < plan->manifest->n_groups; i++)
        if (choose_group(&choosing, i, err) < 0)
            return -(int)err->code;
    return nj_buf_printf(out, err, "{\"end\":%zu}\n", choosing.count);
}

int nj_reused_choose(const struct nj_plan *plan, const char *run_path, int inputs_fd,
                     struct nj_error *err)
{
    NJ_AUTO(nj_reuse_free) struct nj_reuse *reuse = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    nj_auto_free char *path = NULL;

    if (!run_path) {
        if (unlinkat(inputs_fd, NJ_REUSED_NAME, 0) < 0 && errno != ENOENT)
            return nj_fail_errno(err, errno, "remove %s", NJ_REUSED_NAME);
        return 0;
    }
    if (nj_reuse_open(run_path, &reuse, err) < 0)
        return -(int)err->code;
    path = realpath(run_path, NULL);
    if (!path)
        return nj_fail_errno(err, errno, "run %s", run_path);
    nj_buf_init(&out, ROWS_MAX_BYTES);
    if (nj_buf_text(&out, "{\"run\":", err) < 0 ||
        nj_buf_json_text(&out, nj_span_text(path), err) < 0 || nj_buf_text(&out, "}\n", err) < 0 ||
        choose_all(reuse, plan, &out, err) < 0)
        return -(int)err->code;
    return nj_fsio_publish(inputs_fd, NJ_REUSED_NAME, nj_buf_span(&out), 0600, err);
}

/* ---- taking over ---- */

struct nj_reused {
    struct nj_engine *engine;
    struct nj_buf file; /* inputs/reused.jsonl */
    size_t at;          /* of its first session */
    json_t *head;
    const char *run;       /* the earlier one, absolute */
    struct nj_run_dir dir; /* of it; fd -1: it cannot be opened */
    struct nj_reused_checker *checker;
    size_t taken;
    size_t left;                          /* that are run after all */
    bool left_of[NJ_MANIFEST_AGENTS_MAX]; /* by group: some of it are */
};

static int copy_bytes(int from, int to, struct nj_error *err)
{
    nj_auto_free uint8_t *bytes = malloc(COPY_BYTES);
    uint64_t at = 0;

    if (!bytes)
        return nj_fail_nomem(err);
    for (;;) {
        ssize_t n = pread(from, bytes, COPY_BYTES, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nj_fail_errno(err, errno, "read it");
        if (n == 0)
            return nj_fsio_fdatasync(to, err);
        if (nj_fsio_write(to, bytes, (size_t)n, err) < 0)
            return -(int)err->code;
        at += (uint64_t)n;
    }
}

static int copy_bundle(int from, int dir_fd, const char *name, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    char temp[64];
    int r;

    (void)snprintf(temp, sizeof(temp), ".tmp-%d-reused", (int)getpid());
    fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create bundle %s", name);
    r = copy_bytes(from, fd, err);
    if (r == 0)
        r = nj_fsio_rename(dir_fd, temp, dir_fd, name, err);
    if (r < 0)
        (void)unlinkat(dir_fd, temp, 0); /* a leftover is swept at the next start */
    return r;
}

/* The very file that was checked, whatever has its name by now. One that a killed engine left here
 * under this name is the same, or was copied from it. */
static int name_bundle(int fd, int dir_fd, const char *name, struct nj_error *err)
{
    char self[64];

    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, dir_fd, name, AT_SYMLINK_FOLLOW) == 0 || errno == EEXIST)
        return 0;
    return copy_bundle(fd, dir_fd, name, err); /* another disk, another owner, no links */
}

/* Its bundle and outputs are here afterwards. A failure is the earlier run's, or the disk's. */
static int take_files(const struct nj_reused *taking, const struct nj_plan_session *session,
                      const char *theirs, const char *ours, struct nj_error *err)
{
    nj_auto_close int fd = -1;

    fd = openat(taking->dir.bundles_fd, theirs,
                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open bundle %s", theirs);
    if (nj_reused_check(taking->checker, session, fd, theirs, err) < 0)
        return -(int)err->code;
    if (name_bundle(fd, taking->engine->dir.bundles_fd, ours, err) < 0)
        return nj_wrap(err, "bundle %s", theirs);
    return 0;
}

/* What it took there; of one that was reused there already, what it took in the first place. */
static int add_origin(json_t *row, const char *run, struct nj_error *err)
{
    static const char *const figures[] = {"attempts", "steps", "cost_usd"};
    json_t *before = json_object_get(row, "reused");
    json_t *origin = json_pack("{s:s}", "run", run);

    for (size_t i = 0; origin && i < sizeof(figures) / sizeof(figures[0]); i++)
        (void)json_object_set(origin, figures[i],
                              json_object_get(json_is_object(before) ? before : row, figures[i]));
    return origin && json_object_set_new(row, "reused", origin) == 0 ? 0 : nj_fail_nomem(err);
}

static int put_member(struct nj_buf *out, const json_t *row, const char *key, struct nj_error *err)
{
    nj_auto_free char *text =
        json_dumps(json_object_get(row, key), JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

    return text ? nj_buf_printf(out, err, "\"%s\":%s,", key, text)
                : nj_fail(err, NJ_E_CORRUPT, "its row has no %s", key);
}

/* The row as it is told here: nothing was tried, nothing was spent, and where it comes from. The
 * order of keys is that of every row (live.c), which what agents get of it relies on. */
static int make_row(const struct nj_reused *taking, const struct nj_plan_session *session,
                    json_t *row, const char *bundle, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_engine *engine = taking->engine;
    nj_auto_free char *replay = NULL;
    nj_auto_free char *origin = NULL;

    if (asprintf(&replay, "nightjar-replay verify %s/" BUNDLES "%s", engine->dir.path, bundle) < 0)
        return nj_fail_nomem(err);
    if (add_origin(row, taking->run, err) < 0)
        return -(int)err->code;
    origin = json_dumps(json_object_get(row, "reused"), JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!origin)
        return nj_fail_nomem(err);
    if (nj_buf_text(out, "{\"key\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(session->key), err) < 0 ||
        nj_buf_text(out, ",\"group\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(engine->manifest->groups[session->group].name), err) <
            0 ||
        nj_buf_text(out, ",\"status\":\"succeeded\",", err) < 0 ||
        put_member(out, row, "result", err) < 0 ||
        nj_buf_text(out,
                    "\"error\":null,\"attempts\":0,\"steps\":0,\"cost_usd\":0.000000,\"tokens\":{"
                    "\"input\":0,\"output\":0,\"cache_read\":0,\"cache_write\":0},\"bundle\":",
                    err) < 0)
        return -(int)err->code;
    if (nj_buf_printf(out, err, "\"" BUNDLES "%s\",\"replay\":", bundle) < 0 ||
        nj_buf_json_text(out, nj_span_text(replay), err) < 0)
        return -(int)err->code;
    return nj_buf_printf(out, err, ",\"reused\":%s}", origin);
}

static int make_facts(const struct nj_reused *taking, const struct nj_plan_session *session,
                      const char *bundle, struct nj_buf *packed, struct nj_error *err)
{
    NJ_AUTO(nj_fold_done) struct nj_fold fold = {0};
    struct timespec now;
    int64_t now_ns;

    clock_gettime(CLOCK_REALTIME, &now);
    now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (nj_facts_init(&fold.facts, &fold.arena, session->key,
                      taking->engine->manifest->groups[session->group].name, session->config->agent,
                      err) < 0 ||
        nj_fold_end(&fold, now_ns, NJ_STATUS_SUCCEEDED, "", "", err) < 0)
        return -(int)err->code;
    fold.facts.opened_ns = now_ns;
    fold.facts.bundle = bundle;
    fold.facts.reused = taking->run;
    return nj_facts_encode(&fold.facts, packed, err);
}

/* The session has ended, as far as this run is concerned. */
static int archive(const struct nj_reused *taking, const struct nj_plan_session *session,
                   struct nj_span row, const char *bundle, struct nj_error *err)
{
    struct nj_engine *engine = taking->engine;
    struct nj_engine_seat *seat = &engine->seats[session->number - 1];
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_frame frame = {.kind = NJ_FRAME_ARCHIVED, .session = session->number};
    struct nj_archived archived = {.row = row, .status = NJ_STATUS_SUCCEEDED};

    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    nj_buf_done(&seat->facts);
    nj_buf_init(&seat->facts, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (make_facts(taking, session, bundle, &seat->facts, err) < 0)
        return -(int)err->code;
    archived.facts = nj_buf_span(&seat->facts);
    if (nj_archived_encode(&archived, &payload, err) < 0)
        return -(int)err->code;
    frame.payload = nj_buf_span(&payload);
    if (nj_journal_append(engine->writer, &frame, NULL, err) < 0)
        return -(int)err->code;
    seat->row = nj_span_dup(row);
    if (!seat->row)
        return nj_fail_nomem(err);
    seat->status = NJ_STATUS_SUCCEEDED;
    seat->reused = true;
    nj_queue_end(engine->queue, session->number - 1);
    return 0;
}

/* The file's plain name, or NULL: a row of an earlier run is no authority over paths. */
static const char *bundle_of(const json_t *row)
{
    const char *path = json_string_value(json_object_get(row, "bundle"));

    if (!path || strncmp(path, BUNDLES, strlen(BUNDLES)) != 0)
        return NULL;
    path += strlen(BUNDLES);
    return *path && !strchr(path, '/') && strcmp(path, "..") != 0 ? path : NULL;
}

static void leave(struct nj_reused *taking, const struct nj_plan_session *session, const char *why)
{
    taking->left_of[session->group] = true;
    if (taking->left++ == 0)
        nj_log(NJ_LOG_WARN, "session %s is run, and not reused from %s: %s", session->key,
               taking->run, why);
}

/* The earlier run is as good as it was, but there is no room for it here. To run the sessions would
 * need no less, and be paid for. */
static bool is_full(const struct nj_error *why)
{
    return why->code == NJ_E_NOMEM || why->sys_errno == ENOSPC || why->sys_errno == EDQUOT;
}

/* Results that it would be given may be others, when not all that it comes after could be taken. */
static bool others_are_left(const struct nj_reused *taking, const struct nj_plan_session *session)
{
    const struct nj_manifest_group *group = &taking->engine->manifest->groups[session->group];

    for (size_t i = 0; i < group->n_after; i++)
        if (taking->left_of[group->after[i]])
            return true;
    return false;
}

/* One that has ended, or begun, in an earlier process of this run: reused there, or run after all.
 */
static int look_back(struct nj_reused *taking, const struct nj_plan_session *session,
                     struct nj_error *err)
{
    struct nj_engine_seat *seat = &taking->engine->seats[session->number - 1];
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_facts facts = {0};

    if (seat->status != 0 && seat->facts.len > 0 &&
        nj_facts_decode(nj_buf_span(&seat->facts), &arena, &facts, err) < 0)
        return -(int)err->code;
    seat->reused = nj_facts_is_reused(&facts);
    taking->left_of[session->group] |= !seat->reused;
    return 0;
}

static int take_session(struct nj_reused *taking, const char *key, json_t *row,
                        struct nj_error *err)
{
    struct nj_engine *engine = taking->engine;
    const struct nj_plan_session *session = nj_plan_find(engine->plan, key);
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const char *theirs = bundle_of(row);
    char ours[NJ_BUNDLE_NAME_MAX_BYTES];
    struct nj_error why = {0};

    if (!session)
        return nj_fail(err, NJ_E_CORRUPT, "the plan has no session %s", key);
    if (engine->seats[session->number - 1].status != 0 || engine->seats[session->number - 1].past)
        return look_back(taking, session, err);
    (void)nj_live_bundle_name(session, ours, sizeof(ours));
    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES * 4);
    if (!theirs)
        (void)nj_fail(&why, NJ_E_INPUT, "its row there names no bundle");
    else if (others_are_left(taking, session))
        (void)nj_fail(&why, NJ_E_INPUT, "some of what it comes after are run");
    else if (take_files(taking, session, theirs, ours, &why) == 0)
        (void)!make_row(taking, session, row, ours, &text, &why);
    if (why.code != 0 && is_full(&why)) {
        *err = why;
        return -(int)err->code;
    }
    if (why.code != 0) {
        leave(taking, session, why.text);
        return 0;
    }
    if (archive(taking, session, nj_buf_span(&text), ours, err) < 0)
        return nj_wrap(err, "session %s", key);
    taking->taken++;
    return 0;
}

static int commit(const struct nj_reused *taking, struct nj_error *err)
{
    if (nj_fsio_sync_dir(taking->engine->dir.bundles_fd, err) < 0)
        return -(int)err->code;
    return nj_journal_commit(taking->engine->writer, err);
}

static struct nj_span next_line(struct nj_reused *taking)
{
    const struct nj_buf *file = &taking->file;
    const uint8_t *from = file->data + taking->at;
    const uint8_t *end = memchr(from, '\n', file->len - taking->at);
    struct nj_span line = {from, end ? (size_t)(end - from) : 0};

    taking->at += line.len + 1;
    return line;
}

/* Returns 0, or 1 behind the last line. */
static int take_line(struct nj_reused *taking, struct nj_span line, struct nj_error *err)
{
    AUTO_JSON map = read_json(line);
    const char *key = json_string_value(json_object_get(map, "key"));
    json_t *row = json_object_get(map, "row");
    size_t before = taking->taken;

    if (json_object_get(map, "end"))
        return 1;
    if (!key || !json_is_object(row))
        return nj_fail(err, NJ_E_CORRUPT, "a line without key and row");
    if (take_session(taking, key, row, err) < 0)
        return -(int)err->code;
    return taking->taken > before && taking->taken % COMMIT_EVERY == 0 ? commit(taking, err) : 0;
}

static int take_lines(struct nj_reused *taking, struct nj_error *err)
{
    int r = 0;

    while (r == 0 && taking->at < taking->file.len) {
        struct nj_span line = next_line(taking);

        r = take_line(taking, line, err);
    }
    return r < 0 ? r : 0;
}

void nj_reused_free(struct nj_reused *reused)
{
    if (!reused)
        return;
    nj_reused_checker_free(reused->checker);
    nj_run_dir_done(&reused->dir);
    json_decref(reused->head);
    nj_buf_done(&reused->file);
    free(reused);
}

int nj_reused_open(struct nj_engine *engine, struct nj_reused **ret_reused, struct nj_error *err)
{
    NJ_AUTO(nj_reused_free) struct nj_reused *reused = calloc(1, sizeof(*reused));
    struct nj_error why = {0};

    if (!reused)
        return nj_fail_nomem(err);
    *reused = (struct nj_reused){.engine = engine, .dir = NJ_RUN_DIR_EMPTY};
    nj_buf_init(&reused->file, ROWS_MAX_BYTES);
    if (nj_fsio_read_file(engine->dir.inputs_fd, NJ_REUSED_NAME, &reused->file, &why) < 0) {
        if (why.sys_errno == ENOENT)
            return 0;
        *err = why;
        return -(int)err->code;
    }
    reused->head = reused->file.len > 0 ? read_json(next_line(reused)) : NULL;
    reused->run = json_string_value(json_object_get(reused->head, "run"));
    if (!reused->run)
        return nj_fail(err, NJ_E_CORRUPT, "inputs/%s: it names no run", NJ_REUSED_NAME);
    if (nj_run_dir_open(reused->run, false, &reused->dir, &why) < 0)
        nj_log(NJ_LOG_WARN, "nothing is reused: %s", why.text);
    *ret_reused = nj_steal_ptr(&reused);
    return 0;
}

int nj_reused_take_over(struct nj_reused *reused, struct nj_error *err)
{
    struct nj_engine *engine = reused->engine;
    int r;

    if (reused->dir.fd < 0)
        return 0;
    if (nj_reused_checker_new(engine->plan, engine->dir.outputs_fd, &reused->checker, err) < 0)
        return -(int)err->code;
    r = take_lines(reused, err);
    nj_reused_checker_free(reused->checker);
    reused->checker = NULL;
    if (r == 0 && reused->taken > 0)
        r = commit(reused, err);
    if (r == 0 && reused->left > 1)
        nj_log(NJ_LOG_WARN, "and %zu more", reused->left - 1);
    if (r == 0 && reused->taken > 0 && !engine->options->quiet)
        nj_log(NJ_LOG_INFO, "%zu of %zu sessions are reused from %s", reused->taken,
               engine->plan->n_sessions, reused->run);
    return r < 0 ? nj_wrap(err, "inputs/%s", NJ_REUSED_NAME) : 0;
}
