/*
 * reuse.c - a plan beside an earlier run
 *
 * The complication: an earlier run may have a hundred thousand sessions, of which each is looked at
 * once. So its files stay as they are, in one buffer each; a table leads from a key to its lines,
 * and a line is read when it is asked for.
 */
#include <fcntl.h>
#include <jansson.h>

#include "batch/plan/identities.h"
#include "batch/plan/table.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

struct group {
    char *name;
    json_t *parts;
    struct nj_reuse_usage usage;
};

struct nj_reuse {
    struct nj_buf identities;
    struct nj_buf rows;
    struct nj_table keys; /* key -> offset of its line of identities */
    struct nj_table results;
    struct group groups[NJ_MANIFEST_AGENTS_MAX];
    size_t n_groups;
    enum { NOT_JUDGED, WHOLE, PARTLY } judged[NJ_MANIFEST_AGENTS_MAX]; /* the plan's groups */
};

static void json_auto(json_t **json)
{
    json_decref(*json);
}

#define AUTO_JSON __attribute__((cleanup(json_auto))) json_t *

void nj_reuse_free(struct nj_reuse *reuse)
{
    if (!reuse)
        return;
    for (size_t i = 0; i < reuse->n_groups; i++) {
        free(reuse->groups[i].name);
        json_decref(reuse->groups[i].parts);
    }
    nj_table_done(&reuse->keys);
    nj_table_done(&reuse->results);
    nj_buf_done(&reuse->identities);
    nj_buf_done(&reuse->rows);
    free(reuse);
}

static struct group *find_group(const struct nj_reuse *reuse, const char *name)
{
    for (size_t i = 0; name && i < reuse->n_groups; i++) {
        if (strcmp(reuse->groups[i].name, name) == 0)
            return (struct group *)(uintptr_t)&reuse->groups[i];
    }
    return NULL;
}

static struct nj_span line_at(const struct nj_buf *buf, size_t offset)
{
    const uint8_t *end = memchr(buf->data + offset, '\n', buf->len - offset);
    size_t len = end ? (size_t)(end - buf->data) - offset : buf->len - offset;

    return (struct nj_span){buf->data + offset, len};
}

static json_t *read_line(struct nj_span line)
{
    return json_loadb((const char *)line.data, line.len, JSON_REJECT_DUPLICATES, NULL);
}

typedef int (*take_line)(struct nj_reuse *reuse, json_t *map, size_t offset, struct nj_error *err);

static int each_line(struct nj_reuse *reuse, const struct nj_buf *buf, const char *name,
                     take_line take, struct nj_error *err)
{
    size_t number = 0;

    for (size_t at = 0; at < buf->len;) {
        struct nj_span line = line_at(buf, at);
        AUTO_JSON map = read_line(line);
        int r;

        number++;
        if (!json_is_object(map))
            return nj_fail(err, NJ_E_CORRUPT, "%s line %zu: not a JSON object", name, number);
        r = take(reuse, map, at, err);
        if (r < 0)
            return nj_wrap(err, "%s line %zu", name, number);
        at += line.len + 1;
    }
    return 0;
}

static int take_identity(struct nj_reuse *reuse, json_t *map, size_t offset, struct nj_error *err)
{
    const char *key = json_string_value(json_object_get(map, "key"));
    const char *name = json_string_value(json_object_get(map, "group"));
    json_t *parts = json_object_get(map, "parts");
    struct group *group;
    size_t before;
    int r;

    if (json_object_get(map, "end"))
        return 0;
    if (!name || !json_is_object(parts))
        return nj_fail(err, NJ_E_CORRUPT, "neither a group nor a session");
    if (key) {
        if (!*key)
            return nj_fail(err, NJ_E_CORRUPT, "a session without a key");
        r = nj_table_add(&reuse->keys, nj_span_text(key), offset, &before, err);
        return r == 1 ? nj_fail(err, NJ_E_CORRUPT, "a session twice") : r;
    }
    if (reuse->n_groups == NJ_MANIFEST_AGENTS_MAX || find_group(reuse, name))
        return nj_fail(err, NJ_E_CORRUPT, "a group twice, or too many");
    group = &reuse->groups[reuse->n_groups];
    group->name = strdup(name);
    if (!group->name)
        return nj_fail_nomem(err);
    group->parts = json_incref(parts);
    reuse->n_groups++;
    return 0;
}

static uint64_t tokens_of(json_t *row, const char *kind)
{
    json_int_t value = json_integer_value(json_object_get(json_object_get(row, "tokens"), kind));

    return value > 0 ? (uint64_t)value : 0;
}

static uint64_t calls_of(json_t *row)
{
    json_int_t steps = json_integer_value(json_object_get(row, "steps"));

    return steps > 0 ? ((uint64_t)steps + 1) / 2 : 1;
}

static int take_row(struct nj_reuse *reuse, json_t *map, size_t offset, struct nj_error *err)
{
    const char *key = json_string_value(json_object_get(map, "key"));
    const char *status = json_string_value(json_object_get(map, "status"));
    struct group *group = find_group(reuse, json_string_value(json_object_get(map, "group")));
    size_t before;
    int r;

    if (!key || !*key || !status)
        return nj_fail(err, NJ_E_CORRUPT, "a row without key or status");
    r = nj_table_add(&reuse->results, nj_span_text(key), offset, &before, err);
    if (r != 0)
        return r == 1 ? nj_fail(err, NJ_E_CORRUPT, "a row twice") : r;
    if (!group || strcmp(status, "succeeded") != 0)
        return 0;
    group->usage.sessions++;
    group->usage.input_tokens += tokens_of(map, "input");
    group->usage.output_tokens += tokens_of(map, "output");
    group->usage.cache_read_tokens += tokens_of(map, "cache_read");
    group->usage.cache_write_tokens += tokens_of(map, "cache_write");
    group->usage.calls += calls_of(map);
    return 0;
}

static int read_file(const char *run_path, const char *name, struct nj_buf *buf,
                     struct nj_error *err)
{
    nj_auto_close int fd = open(run_path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    nj_buf_init(buf, NJ_IDENTITIES_MAX_BYTES);
    if (fd < 0)
        return nj_fail(err, NJ_E_INPUT, "run %s: there is none", run_path);
    if (nj_fsio_read_file(fd, name, buf, err) < 0)
        return nj_fail(err, NJ_E_INPUT, "run %s: it has no %s, so nothing of it can be reused",
                       run_path, name);
    return 0;
}

int nj_reuse_open(const char *run_path, struct nj_reuse **ret_reuse, struct nj_error *err)
{
    NJ_AUTO(nj_reuse_free) struct nj_reuse *reuse = calloc(1, sizeof(*reuse));

    if (!reuse)
        return nj_fail_nomem(err);
    if (read_file(run_path, "inputs/" NJ_IDENTITIES_NAME, &reuse->identities, err) < 0 ||
        read_file(run_path, "results.jsonl", &reuse->rows, err) < 0)
        return -(int)err->code;
    if (each_line(reuse, &reuse->identities, NJ_IDENTITIES_NAME, take_identity, err) < 0 ||
        each_line(reuse, &reuse->rows, "results.jsonl", take_row, err) < 0)
        return nj_wrap(err, "run %s", run_path);
    *ret_reuse = nj_steal_ptr(&reuse);
    return 0;
}

bool nj_reuse_row(const struct nj_reuse *reuse, const char *key, struct nj_span *ret_row)
{
    size_t offset;

    if (!nj_table_find(&reuse->results, nj_span_text(key), &offset))
        return false;
    *ret_row = line_at(&reuse->rows, offset);
    return true;
}

struct nj_reuse_usage nj_reuse_group(const struct nj_reuse *reuse, const char *group)
{
    const struct group *found = find_group(reuse, group);

    return found ? found->usage : (struct nj_reuse_usage){0};
}

/* ---- comparing ---- */

struct comparing {
    json_t *parts; /* of then */
    struct nj_buf *why;
    size_t changed;
    bool of_files; /* items are files: one that changed has another size, too */
    bool schema;   /* a tool's schema changed */
};

/* Whether what changed in @name is only what was named already: it holds that, or follows from it.
 */
static bool named_already(const struct comparing *comparing, const char *name)
{
    if (comparing->changed == 0)
        return false;
    return strcmp(name, "agent") == 0 || (strcmp(name, "item") == 0 && comparing->of_files) ||
           (strcmp(name, "tools") == 0 && comparing->schema);
}

static int compare_part(void *ctx, const char *name, const struct nj_digest *digest,
                        struct nj_error *err)
{
    struct comparing *comparing = ctx;
    const char *then = json_string_value(json_object_get(comparing->parts, name));
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    if (then && strlen(then) == NJ_PART_HEX_CHARS && memcmp(then, hex, NJ_PART_HEX_CHARS) == 0)
        return 0;
    if (named_already(comparing, name))
        return 0;
    if (strncmp(name, "tool schema ", 12) == 0)
        comparing->schema = true;
    if (comparing->changed++ > 0)
        return 0;
    return nj_buf_text(comparing->why, name, err);
}

static int explain(struct nj_reuse *reuse, const struct nj_plan *plan,
                   const struct nj_plan_session *session, json_t *line, struct nj_buf *why,
                   struct nj_error *err)
{
    struct comparing comparing = {.parts = json_object_get(line, "parts"), .why = why};
    enum nj_manifest_for_each kind = plan->manifest->groups[session->group].for_each;
    struct nj_part_sink sink = {compare_part, &comparing};
    const char *name = json_string_value(json_object_get(line, "group"));
    const struct group *group = find_group(reuse, name);

    comparing.of_files = kind == NJ_FOR_EACH_GLOB;
    if (nj_identity_own(plan, session, &sink, err) < 0)
        return -(int)err->code;
    comparing.parts = group ? group->parts : NULL;
    if (nj_identity_shared(plan, session, &sink, err) < 0)
        return -(int)err->code;
    if (comparing.changed == 0)
        return nj_buf_text(why,
                           plan->manifest->groups[session->group].n_after > 0
                               ? "what it comes after"
                               : "files that are gone, or nightjar itself",
                           err);
    return comparing.changed > 1 ? nj_buf_printf(why, err, " (and %zu more)", comparing.changed - 1)
                                 : 0;
}

/* Whether all sessions of a group are the same: judged once, and kept. Recursion ends, because
 * groups do not come after each other in circles. */
static int judge_group(struct nj_reuse *reuse, const struct nj_plan *plan, size_t group,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf why = {0};
    bool any = false;

    if (reuse->judged[group] != 0)
        return reuse->judged[group] == WHOLE;
    nj_buf_init(&why, 1u << 16);
    for (size_t i = 0; !any && i < plan->n_sessions; i++) {
        int r = plan->sessions[i].group == group
                    ? nj_reuse_judge(reuse, plan, &plan->sessions[i], &why, err)
                    : NJ_REUSE_SAME;

        if (r < 0)
            return r;
        any = r != NJ_REUSE_SAME;
        nj_buf_clear(&why);
    }
    reuse->judged[group] = any ? PARTLY : WHOLE;
    return !any;
}

/* A session that comes after others is given their results: where one of those is run again, what
 * it says may be another, though the same goes into it. */
static int judge_before(struct nj_reuse *reuse, const struct nj_plan *plan,
                        const struct nj_plan_session *session, struct nj_buf *why,
                        struct nj_error *err)
{
    const struct nj_manifest_group *group = &plan->manifest->groups[session->group];

    for (size_t i = 0; i < group->n_after; i++) {
        int r = judge_group(reuse, plan, group->after[i], err);

        if (r < 0)
            return r;
        if (r == 0)
            return nj_buf_text(why, "what it comes after", err) < 0 ? -(int)err->code
                                                                    : NJ_REUSE_CHANGED;
    }
    return NJ_REUSE_SAME;
}

int nj_reuse_judge(struct nj_reuse *reuse, const struct nj_plan *plan,
                   const struct nj_plan_session *session, struct nj_buf *why, struct nj_error *err)
{
    AUTO_JSON line = NULL;
    AUTO_JSON row = NULL;
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_span text;
    const char *then;
    const char *status;
    size_t offset;

    if (!nj_table_find(&reuse->keys, nj_span_text(session->key), &offset))
        return NJ_REUSE_NEW;
    line = read_line(line_at(&reuse->identities, offset));
    then = json_string_value(json_object_get(line, "digest"));
    nj_digest_hex(&session->identity, hex);
    if (!then || strcmp(then, hex) != 0)
        return explain(reuse, plan, session, line, why, err) < 0 ? -(int)err->code
                                                                 : NJ_REUSE_CHANGED;
    if (nj_reuse_row(reuse, session->key, &text))
        row = read_line(text);
    status = json_string_value(json_object_get(row, "status"));
    if (status && strcmp(status, "succeeded") == 0)
        return judge_before(reuse, plan, session, why, err);
    return nj_buf_text(why, status ? status : "without a result", err) < 0 ? -(int)err->code
                                                                           : NJ_REUSE_FAILED;
}
