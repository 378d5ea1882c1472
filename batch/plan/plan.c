/*
 * plan.c - from a manifest to the sessions of a run
 *
 * The complication: a person wants all faults in one round. What an item lacks is added to the list
 * and the next item is looked at; only what the person cannot mend (memory, a failing disk) ends
 * the plan at once.
 */
#include "batch/plan/plan_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "batch/plan/inputs.h"
#include "formats/base/fsio.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define SOURCES_NAME "sources.jsonl"
#define EXPANDED_PATH_MAX_BYTES ((size_t)64 << 10)
#define FAULT_PATH_MAX_BYTES 256

int nj_planning_fault(struct nj_planning *planning, struct nj_mark mark, const struct nj_error *err,
                      const char *path_fmt, ...)
{
    char path[FAULT_PATH_MAX_BYTES];
    va_list args;

    if (err->code != NJ_E_INPUT)
        return -(int)err->code;
    va_start(args, path_fmt);
    (void)vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    nj_manifest_faults_add(planning->faults, mark, path, "%s", err->text);
    return 0;
}

/* nj_planning_item_fault - the same for a fault of one item: its place is told as well */
int nj_planning_item_fault(struct nj_planning *planning, const struct nj_plan_session *session,
                           struct nj_mark mark, struct nj_error *err, const char *part)
{
    const struct nj_manifest_group *group = &planning->manifest->groups[session->group];
    char label[NJ_ITEM_LABEL_MAX_BYTES];

    nj_item_label(group, session->item_json, session->item_line, label);
    (void)nj_wrap(err, "%s", label);
    return nj_planning_fault(planning, mark, err, "sessions[%zu].%s", session->group, part);
}

/* ---- one session ---- */

static const char *text_in(struct nj_planning *planning, const struct nj_buf *buf)
{
    return nj_arena_span(&planning->plan->arena, nj_buf_span(buf));
}

static int check_key(const char *key, struct nj_error *err)
{
    struct nj_span rest = nj_span_text(key);
    uint32_t c;

    if (rest.len == 0)
        return nj_fail(err, NJ_E_INPUT, "the key is empty");
    if (rest.len > NJ_PLAN_KEY_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT, "the key %.40s... is longer than %d bytes", key,
                       NJ_PLAN_KEY_MAX_BYTES);
    while (rest.len > 0) {
        size_t len = nj_utf8_next(rest, &c);

        if (len == 0 || nj_utf8_is_unsafe(c))
            return nj_fail(err, NJ_E_INPUT, "the key %.100s holds a control character", key);
        rest.data += len;
        rest.len -= len;
    }
    return 0;
}

static int make_slug(struct nj_planning *planning, struct nj_plan_session *session,
                     struct nj_error *err)
{
    char slug[NJ_SLUG_MAX_BYTES + 1];
    size_t before;
    int r;

    nj_slug(session->key, false, slug);
    r = nj_table_add(&planning->slugs, nj_span_text(slug), 0, &before, err);
    if (r == 1) {
        nj_slug(session->key, true, slug);
        r = nj_table_add(&planning->slugs, nj_span_text(slug), 0, &before, err);
    }
    if (r == 1)
        return nj_fail(err, NJ_E_INPUT,
                       "the key %.100s cannot be told from another as a file name (%s)",
                       session->key, slug);
    if (r < 0)
        return r;
    session->slug = nj_arena_text(&planning->plan->arena, slug);
    return session->slug ? 0 : nj_fail_nomem(err);
}

static int make_key(struct nj_planning *planning, const struct nj_manifest_group *group,
                    struct nj_plan_session *session, struct nj_error *err)
{
    struct nj_item_values values = {.item = session->item_json};
    NJ_AUTO(nj_buf_done) struct nj_buf key = {0};
    char label[NJ_ITEM_LABEL_MAX_BYTES];
    size_t before;
    int r;

    nj_item_label(group, session->item_json, session->item_line, label);
    nj_buf_init(&key, EXPANDED_PATH_MAX_BYTES);
    r = nj_item_expand(group->key, &values, &key, err);
    if (r < 0)
        return nj_wrap(err, "%s", label);
    r = check_key(key.len ? (const char *)key.data : "", err);
    if (r < 0)
        return nj_wrap(err, "%s", label);
    session->key = text_in(planning, &key);
    if (!session->key)
        return nj_fail_nomem(err);
    r = nj_table_add(&planning->keys, nj_span_text(session->key), planning->plan->n_sessions,
                     &before, err);
    if (r == 1) {
        const struct nj_plan_session *first = &planning->plan->sessions[before];
        char other[NJ_ITEM_LABEL_MAX_BYTES];

        nj_item_label(&planning->manifest->groups[first->group], first->item_json, first->item_line,
                      other);
        return nj_fail(err, NJ_E_INPUT, "the key %.100s is given twice: to %.100s and to %.100s",
                       session->key, other, label);
    }
    return r < 0 ? r : make_slug(planning, session, err);
}

static int make_target(struct nj_planning *planning, const struct nj_manifest_group *group,
                       const struct nj_item_values *values, const struct nj_manifest_file *file,
                       const char **ret_target, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r;

    nj_buf_init(&text, EXPANDED_PATH_MAX_BYTES);
    r = nj_item_expand(file->target, values, &text, err);
    if (r < 0)
        return r;
    *ret_target = text_in(planning, &text);
    if (!*ret_target)
        return nj_fail_nomem(err);
    return nj_manifest_target_ok(&planning->manifest->agents[group->agent], *ret_target, err);
}

static int make_source(struct nj_planning *planning, const struct nj_item_values *values,
                       const struct nj_manifest_file *file,
                       const struct nj_source_file **ret_source, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf path = {0};
    int r;

    nj_buf_init(&path, EXPANDED_PATH_MAX_BYTES);
    r = nj_item_expand(file->source, values, &path, err);
    if (r < 0)
        return r;
    return nj_sources_file(planning->sources, path.len ? (const char *)path.data : "", ret_source,
                           err);
}

/* check_nesting - no file twice, and none where another needs a folder */
static int check_nesting(const struct nj_plan_file *files, size_t n_files, size_t *ret_bad,
                         struct nj_error *err)
{
    NJ_AUTO(nj_table_done) struct nj_table targets = {0};
    size_t before;
    int r;

    for (size_t i = 0; i < n_files; i++) {
        *ret_bad = i;
        r = nj_table_add(&targets, nj_span_text(files[i].target), i, &before, err);
        if (r == 1)
            return nj_fail(err, NJ_E_INPUT, "two files have the target %.300s", files[i].target);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < n_files; i++) {
        struct nj_span folder = nj_span_text(files[i].target);

        *ret_bad = i;
        while (folder.len > 1) {
            folder.len--;
            if (folder.data[folder.len] == '/' && nj_table_find(&targets, folder, &before))
                return nj_fail(err, NJ_E_INPUT, "the target %.200s is under the file %.200s",
                               files[i].target, files[before].target);
        }
    }
    return 0;
}

static int make_files(struct nj_planning *planning, const struct nj_manifest_group *group,
                      struct nj_plan_session *session, struct nj_error *err)
{
    struct nj_plan_file *files =
        nj_arena_array(&planning->plan->arena, group->n_files + 1, sizeof(*files));
    struct nj_item_values values = {.item = session->item_json};
    bool whole = true;
    size_t bad = 0;
    int r;

    if (!files)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < group->n_files; i++) {
        const struct nj_manifest_file *file = &group->files[i];

        r = make_target(planning, group, &values, file, &files[i].target, err);
        if (r < 0) {
            r = nj_planning_fault(planning, file->target_mark, err,
                                  "sessions[%zu].files[%zu].target", session->group, i);
            whole = false;
        }
        if (r < 0)
            return r;
        files[i].content = file->content;
        if (file->source)
            r = make_source(planning, &values, file, &files[i].source, err);
        if (r < 0)
            r = nj_planning_fault(planning, file->source_mark, err,
                                  "sessions[%zu].files[%zu].source", session->group, i);
        if (r < 0)
            return r;
    }
    session->files = files;
    session->n_files = group->n_files;
    if (!whole || group->n_files < 2)
        return 0;
    r = check_nesting(files, group->n_files, &bad, err);
    return r < 0 ? nj_planning_fault(planning, group->files[bad].target_mark, err,
                                     "sessions[%zu].files[%zu].target", session->group, bad)
                 : 0;
}

/* check_input - a placeholder without a value is found now, not when the session begins at night */
static int check_input(struct nj_planning *planning, const struct nj_plan_session *session,
                       struct nj_error *err)
{
    const struct nj_manifest_group *group = &planning->manifest->groups[session->group];
    struct nj_item_values values = {.item = session->item_json, .results = ""};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r = 0;

    if (group->for_each == NJ_FOR_EACH_NONE)
        return 0;
    nj_buf_init(&text, NJ_PLAN_CONTENT_MAX_BYTES);
    if (!session->input)
        r = nj_item_expand(group->input, &values, &text, err);
    if (r < 0)
        r = nj_planning_item_fault(planning, session, group->input_mark, err, "input");
    for (size_t i = 0; r == 0 && i < group->n_files; i++) {
        nj_buf_clear(&text);
        if (group->files[i].content)
            r = nj_item_expand(group->files[i].content, &values, &text, err);
        if (r < 0)
            r = nj_planning_item_fault(planning, session, group->files[i].source_mark, err,
                                       "files");
    }
    return r;
}

static int make_room(struct nj_planning *planning, struct nj_error *err)
{
    struct nj_plan *plan = planning->plan;
    struct nj_plan_session *larger;
    size_t cap;

    if (plan->n_sessions == NJ_PLAN_SESSIONS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "more than %d sessions", NJ_PLAN_SESSIONS_MAX);
    if (plan->n_sessions < planning->cap_sessions)
        return 0;
    cap = planning->cap_sessions ? planning->cap_sessions * 2 : 64;
    larger = reallocarray(plan->sessions, cap, sizeof(*larger));
    if (!larger)
        return nj_fail_nomem(err);
    plan->sessions = larger;
    planning->cap_sessions = cap;
    return 0;
}

int nj_planning_session(struct nj_planning *planning, size_t at,
                        const struct nj_session_config *shared, const char *json, uint32_t line,
                        struct nj_error *err)
{
    const struct nj_manifest_group *group = &planning->manifest->groups[at];
    struct nj_plan_session session = {.group = at, .item_line = line};
    struct nj_session_config *config;
    int r;

    r = make_room(planning, err);
    if (r < 0)
        return r;
    session.item_json = nj_arena_text(&planning->plan->arena, json);
    config = nj_arena_alloc(&planning->plan->arena, sizeof(*config));
    if (!session.item_json || !config)
        return nj_fail_nomem(err);
    r = make_key(planning, group, &session, err);
    if (r < 0) /* without a key of its own it is not in the plan, but its files are looked at */
        r = nj_planning_fault(planning, group->key_mark, err, "sessions[%zu].key", at);
    if (r == 0)
        r = make_files(planning, group, &session, err);
    *config = *shared;
    config->key = session.key;
    session.config = config;
    session.role = planning->manifest->agents[group->agent].role;
    if (r == 0)
        r = nj_planning_override(planning, &session, config, err);
    if (r == 0)
        r = check_input(planning, &session, err);
    if (r < 0 || !session.slug)
        return r;
    session.number = (uint32_t)planning->plan->n_sessions + 1;
    planning->plan->sessions[planning->plan->n_sessions++] = session;
    return 0;
}

/* ---- groups ---- */

static int plan_group(struct nj_planning *planning, size_t at, struct nj_error *err)
{
    const struct nj_manifest_group *group = &planning->manifest->groups[at];
    struct nj_session_config config = {0};
    int r;

    r = nj_planning_config(planning, group, &config, err);
    if (r < 0)
        return r;
    if (group->for_each == NJ_FOR_EACH_NONE)
        return nj_planning_session(planning, at, &config, "{}", 0, err);
    return nj_planning_items(planning, at, &config, err);
}

/* plan_make - takes @sources, also when it fails */
static int plan_make(const struct nj_manifest *manifest, const struct nj_models *models,
                     struct nj_sources *sources, struct nj_plan **ret_plan,
                     struct nj_manifest_faults *faults, struct nj_error *err)
{
    NJ_AUTO(nj_plan_free) struct nj_plan *plan = calloc(1, sizeof(*plan));
    struct nj_planning planning = {
        .manifest = manifest, .models = models, .sources = sources, .faults = faults, .plan = plan};
    int r = 0;

    if (!plan) {
        nj_sources_free(sources);
        return nj_fail_nomem(err);
    }
    plan->manifest = manifest;
    plan->models = models;
    plan->sources = sources;
    for (size_t i = 0; r == 0 && i < manifest->n_groups; i++)
        r = plan_group(&planning, i, err);
    if (r == 0)
        r = nj_planning_only(&planning, err);
    if (r == 0) {
        nj_manifest_faults_sort(faults);
        r = nj_manifest_faults_fail(faults, manifest->name, err);
    }
    if (r == 0)
        r = nj_planning_identities(&planning, err);
    nj_table_done(&planning.keys);
    nj_table_done(&planning.slugs);
    if (r < 0)
        return r;
    *ret_plan = nj_steal_ptr(&plan);
    return 0;
}

void nj_plan_free(struct nj_plan *plan)
{
    if (!plan)
        return;
    free(plan->sessions);
    nj_sources_free(plan->sources);
    nj_arena_done(&plan->arena);
    free(plan);
}

int nj_plan_new(const struct nj_manifest *manifest, int dir_fd, const struct nj_models *models,
                const struct nj_object_sink *inputs, const char *const *allow_paths,
                struct nj_plan **ret_plan, struct nj_manifest_faults *faults, struct nj_error *err)
{
    struct nj_sources *sources = NULL;
    int r;

    r = nj_sources_new(dir_fd, allow_paths, inputs, &sources, err);
    return r < 0 ? r : plan_make(manifest, models, sources, ret_plan, faults, err);
}

const struct nj_plan_session *nj_plan_find(const struct nj_plan *plan, const char *key)
{
    for (size_t i = 0; i < plan->n_sessions; i++) {
        if (strcmp(plan->sessions[i].key, key) == 0)
            return &plan->sessions[i];
    }
    return NULL;
}

/* ---- between two processes ---- */

int nj_plan_save(const struct nj_plan *plan, int inputs_dir_fd, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf lines = {0};
    int r;

    nj_buf_init(&lines, NJ_SOURCES_MAX_BYTES);
    r = nj_sources_write(plan->sources, &lines, err);
    if (r == 0)
        r = nj_fsio_publish(inputs_dir_fd, SOURCES_NAME, nj_buf_span(&lines), 0600, err);
    return r < 0 ? nj_wrap(err, "save the plan") : 0;
}

int nj_plan_load(const struct nj_manifest *manifest, int inputs_dir_fd,
                 const struct nj_models *models, struct nj_plan **ret_plan, struct nj_error *err)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf lines = {0};
    NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
    struct nj_sources *sources = NULL;
    struct nj_object_source source;
    int r;

    nj_buf_init(&lines, NJ_SOURCES_MAX_BYTES);
    r = nj_fsio_read_file(inputs_dir_fd, SOURCES_NAME, &lines, err);
    if (r < 0 && err->code == NJ_E_SYSTEM && err->sys_errno == ENOENT)
        return nj_fail(err, NJ_E_CORRUPT, "the run's inputs hold no " SOURCES_NAME);
    if (r == 0)
        r = nj_sources_recorded(nj_buf_span(&lines), &sources, err);
    if (r == 0)
        r = nj_inputs_open(inputs_dir_fd, &inputs, err);
    if (r == 0) {
        source = nj_inputs_source(inputs);
        nj_sources_read_from(sources, &source);
        r = plan_make(manifest, models, sources, ret_plan, &faults, err);
        if (r == 0)
            nj_sources_read_from(sources, NULL);
    } else {
        nj_sources_free(sources);
    }
    if (r < 0 && err->code == NJ_E_INPUT) /* it had no fault when it was saved */
        return nj_fail(err, NJ_E_CORRUPT,
                       "the run's manifest and its " SOURCES_NAME " do not go together: %s",
                       faults.count ? faults.items[0].text : "");
    return r;
}
