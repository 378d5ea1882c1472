/*
 * script.c - reading a replies file
 *
 * The one complication: a file is written by a person and comes back from bundles, so a pattern may
 * be hostile to the C library's matcher, which unrolls repetitions and backtracks over back
 * references. Both are capped here, before regcomp() sees the pattern.
 */
#include "batch/model/script.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "formats/base/fsio.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define ITEM_PREFIX "item."
#define WHEN_KEYS_MAX 64

static const char *const fail_names[] = {
#define X(name, text) text,
    NJ_SCRIPT_FAILS(X)
#undef X
};

#define N_FAILS (sizeof(fail_names) / sizeof(fail_names[0]))

const char *nj_script_fail_text(enum nj_script_fail fail)
{
    return fail == NJ_SCRIPT_FAIL_NONE ? NULL : fail_names[fail - 1];
}

static void *take(struct nj_yaml_reader *reader, size_t count, size_t size)
{
    void *memory = nj_arena_array(reader->arena, count ? count : 1, size);

    reader->nomem = reader->nomem || !memory;
    return memory;
}

/* ---- when ---- */

static void read_turns(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       struct nj_script_reply *reply)
{
    const struct nj_yaml_node *item = node;
    uint64_t *turns;

    if (node->kind == NJ_YAML_SEQ) {
        if (!nj_yaml_list(reader, node, 1, NJ_SCRIPT_TURNS_MAX))
            return;
        item = node->first;
    }
    turns = take(reader, node->kind == NJ_YAML_SEQ ? node->count : 1, sizeof(*turns));
    if (!turns)
        return;
    for (; item; item = node->kind == NJ_YAML_SEQ ? item->next : NULL)
        if (nj_yaml_uint(reader, item, 1, INT64_MAX, &turns[reply->n_turns]))
            reply->n_turns++;
    reply->turns = turns;
}

/* How many copies of something regcomp() would make of @pattern, at worst. */
static uint64_t repeats(const char *pattern)
{
    uint64_t product = 1;

    for (const char *at = pattern; (at = strchr(at, '{')); at++) {
        uint64_t least = 0, most = 0;
        size_t digits = strspn(at + 1, "0123456789");
        const char *then = at + 1 + digits;

        for (size_t i = 0; i < digits && least <= NJ_SCRIPT_REPEAT_MAX; i++)
            least = least * 10 + (uint64_t)(at[1 + i] - '0');
        if (*then == ',') {
            digits = strspn(++then, "0123456789");
            for (size_t i = 0; i < digits && most <= NJ_SCRIPT_REPEAT_MAX; i++)
                most = most * 10 + (uint64_t)(then[i] - '0');
        }
        if (most < least)
            most = least;
        if (most > 1)
            product *= most;
        if (product > NJ_SCRIPT_REPEAT_MAX)
            break;
    }
    return product;
}

static bool has_back_reference(const char *pattern)
{
    for (const char *at = strchr(pattern, '\\'); at && at[1]; at = strchr(at + 2, '\\'))
        if (at[1] >= '1' && at[1] <= '9')
            return true;
    return false;
}

static void read_pattern(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                         struct nj_script_reply *reply)
{
    const char *text;
    char why[128];
    int r;

    if (!nj_yaml_text(reader, node, NJ_SCRIPT_PATTERN_MAX_BYTES, false, &text))
        return;
    if (has_back_reference(text)) {
        nj_yaml_fault(reader, node,
                      "expected a POSIX extended regular expression, found a back reference");
        return;
    }
    if (repeats(text) > NJ_SCRIPT_REPEAT_MAX) {
        nj_yaml_fault(reader, node,
                      "its {n,m} multiply to more than %d; write fewer or smaller ones",
                      NJ_SCRIPT_REPEAT_MAX);
        return;
    }
    r = regcomp(&reply->pattern, text, REG_EXTENDED | REG_NOSUB);
    if (r == REG_ESPACE) {
        reader->nomem = true;
    } else if (r != 0) {
        (void)regerror(r, &reply->pattern, why, sizeof(why));
        nj_yaml_fault(reader, node, "expected a POSIX extended regular expression: %s", why);
    }
    reply->has_pattern = r == 0;
}

static void read_field(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       const char *name, struct nj_script_reply *reply,
                       struct nj_script_field *fields)
{
    struct nj_script_field *field = &fields[reply->n_fields];
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    enum nj_yaml_type type = nj_yaml_type(node);
    struct nj_error err = {0};

    if (type == NJ_YAML_NULL || type == NJ_YAML_LIST || type == NJ_YAML_TREE) {
        nj_yaml_expected(reader, node, "a text, a number, true or false");
        return;
    }
    if (type == NJ_YAML_NONE)
        return;
    if (!*name) {
        nj_yaml_fault_key(reader, node, "expected the name of a field, as in item.stem");
        return;
    }
    nj_buf_init(&json, NJ_SCRIPT_TEXT_MAX_BYTES);
    if (nj_yaml_to_json(node, &json, &err) < 0) {
        nj_yaml_fault(reader, node, "%s", err.text);
        return;
    }
    field->name = name;
    field->text = (const char *)node->text.data;
    field->json = nj_arena_span(reader->arena, nj_buf_span(&json));
    reader->nomem = reader->nomem || !field->json;
    reply->n_fields++;
}

static void read_fields(struct nj_yaml_reader *reader, const struct nj_yaml_node *when,
                        struct nj_script_reply *reply)
{
    const struct nj_yaml_node *item = nj_yaml_get(when, "item");
    struct nj_script_field *fields;
    size_t most = when->count;

    if (item && nj_yaml_names(reader, item, 1, WHEN_KEYS_MAX))
        most += item->count;
    else
        item = NULL;
    fields = take(reader, most, sizeof(*fields));
    if (!fields)
        return;
    for (const struct nj_yaml_node *child = when->first; child; child = child->next)
        if (child->key && strncmp(child->key, ITEM_PREFIX, strlen(ITEM_PREFIX)) == 0)
            read_field(reader, child, child->key + strlen(ITEM_PREFIX), reply, fields);
    for (const struct nj_yaml_node *child = item ? item->first : NULL; child; child = child->next)
        read_field(reader, child, child->key, reply, fields);
    reply->fields = fields;
}

static void read_when(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                      struct nj_script_reply *reply)
{
    static const char *const tool_names[] = {"ok", "error"};
    const char *known[6 + WHEN_KEYS_MAX] = {"turn", "attempt", "agent", "matches", "tool", "item"};
    const struct nj_yaml_node *value;
    size_t n_known = 6;
    size_t tool;

    /* Every item.FIELD is a known key: which fields there are is the item's business. */
    if (!nj_yaml_names(reader, node, 0, WHEN_KEYS_MAX))
        return;
    for (const struct nj_yaml_node *child = node->first; child; child = child->next)
        if (child->key && strncmp(child->key, ITEM_PREFIX, strlen(ITEM_PREFIX)) == 0)
            known[n_known++] = child->key;
    if (!nj_yaml_keys(reader, node, known, n_known))
        return;
    value = nj_yaml_get(node, "turn");
    if (value)
        read_turns(reader, value, reply);
    value = nj_yaml_get(node, "attempt");
    if (value)
        (void)nj_yaml_uint(reader, value, 1, INT64_MAX, &reply->attempt);
    value = nj_yaml_get(node, "agent");
    if (value)
        (void)nj_yaml_text(reader, value, 1024, false,
                           &reply->agent); /* its fault is in the list */
    value = nj_yaml_get(node, "matches");
    if (value)
        read_pattern(reader, value, reply);
    value = nj_yaml_get(node, "tool");
    if (value && nj_yaml_enum(reader, value, "outcome", tool_names, 2, &tool))
        reply->tool = tool == 0 ? NJ_SCRIPT_TOOL_OK : NJ_SCRIPT_TOOL_ERROR;
    read_fields(reader, node, reply);
}

/* ---- what is said, called and counted ---- */

static void read_input(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       const char **ret_input)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0};
    struct nj_error err = {0};
    json_error_t jerr;
    json_t *value;

    if (node->kind != NJ_YAML_MAP) {
        nj_yaml_expected(reader, node, "a map: the tool's input");
        return;
    }
    nj_buf_init(&json, NJ_SCRIPT_TEXT_MAX_BYTES);
    if (nj_yaml_to_json(node, &json, &err) < 0) {
        nj_yaml_fault(reader, node, "%s", err.text);
        return;
    }
    /* Whoever reads the reply parses this again: what it cannot read is a fault of the file. */
    value = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                       &jerr);
    if (!value) {
        nj_yaml_fault(reader, node, "cannot be sent as JSON: %s", jerr.text);
        return;
    }
    json_decref(value);
    *ret_input = nj_arena_span(reader->arena, nj_buf_span(&json));
    reader->nomem = reader->nomem || !*ret_input;
}

static void read_call(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                      struct nj_script_call *call)
{
    static const char *const known[] = {"tool", "input", "id"};
    const struct nj_yaml_node *value;

    call->input = "{}";
    if (!nj_yaml_keys(reader, node, known, 3))
        return;
    value = nj_yaml_need(reader, node, "tool");
    if (value)
        (void)nj_yaml_text(reader, value, 1024, false, &call->tool); /* its fault is in the list */
    value = nj_yaml_get(node, "id");
    if (value)
        (void)nj_yaml_text(reader, value, 256, false, &call->id); /* likewise */
    value = nj_yaml_get(node, "input");
    if (value)
        read_input(reader, value, &call->input);
}

static void read_calls(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       struct nj_script_reply *reply)
{
    struct nj_script_call *calls;

    if (!nj_yaml_list(reader, node, 1, NJ_CALLS_MAX))
        return;
    calls = take(reader, node->count, sizeof(*calls));
    if (!calls)
        return;
    for (const struct nj_yaml_node *item = node->first; item; item = item->next)
        read_call(reader, item, &calls[reply->n_calls++]);
    reply->calls = calls;
}

static void read_usage(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       struct nj_usage *usage)
{
    static const char *const known[] = {"input_tokens", "output_tokens", "cache_read_tokens",
                                        "cache_write_5m_tokens", "cache_write_1h_tokens"};
    uint64_t *const counts[] = {&usage->input_tokens, &usage->output_tokens,
                                &usage->cache_read_tokens, &usage->cache_write_5m_tokens,
                                &usage->cache_write_1h_tokens};

    if (!nj_yaml_keys(reader, node, known, 5))
        return;
    for (size_t i = 0; i < 5; i++) {
        const struct nj_yaml_node *value = nj_yaml_get(node, known[i]);

        if (value)
            (void)nj_yaml_uint(reader, value, 0, NJ_SCRIPT_TOKENS_MAX, counts[i]); /* likewise */
    }
}

/* What a failed call cannot carry, and that a reply says or calls something. */
static void check_reply(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                        const struct nj_script_reply *reply)
{
    static const char *const carried[] = {"say", "call", "usage"};
    bool is_reply = reply->fail == NJ_SCRIPT_FAIL_NONE || reply->fail == NJ_SCRIPT_FAIL_TRUNCATED;

    for (size_t i = 0; i < 3 && !is_reply; i++) {
        const struct nj_yaml_node *value = nj_yaml_get(node, carried[i]);

        if (value)
            nj_yaml_fault_key(reader, value, "a call that fails with %s carries nothing; drop one",
                              nj_script_fail_text(reply->fail));
    }
    if (!nj_yaml_get(node, "say") && !nj_yaml_get(node, "call") && !nj_yaml_get(node, "fail"))
        nj_yaml_fault(reader, node, "expected say, call or fail: this reply is empty");
}

static void read_reply(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       struct nj_script_reply *reply)
{
    static const char *const known[] = {"when",     "say",  "call", "usage",
                                        "delay_ms", "fail", "times"};
    const struct nj_yaml_node *value;
    size_t fail;

    reply->say = "";
    if (!nj_yaml_keys(reader, node, known, 7))
        return;
    value = nj_yaml_get(node, "when");
    if (value)
        read_when(reader, value, reply);
    value = nj_yaml_get(node, "say");
    if (value)
        (void)nj_yaml_text(reader, value, NJ_SCRIPT_TEXT_MAX_BYTES, true,
                           &reply->say); /* likewise */
    value = nj_yaml_get(node, "call");
    if (value)
        read_calls(reader, value, reply);
    value = nj_yaml_get(node, "usage");
    if (value)
        read_usage(reader, value, &reply->usage);
    value = nj_yaml_get(node, "delay_ms");
    if (value)
        (void)nj_yaml_uint(reader, value, 0, NJ_SCRIPT_DELAY_MAX_MS,
                           &reply->delay_ms); /* likewise */
    value = nj_yaml_get(node, "fail");
    if (value && nj_yaml_enum(reader, value, "failure", fail_names, N_FAILS, &fail))
        reply->fail = (enum nj_script_fail)(fail + 1);
    value = nj_yaml_get(node, "times");
    if (value)
        (void)nj_yaml_uint(reader, value, 1, INT32_MAX, &reply->times); /* likewise */
    check_reply(reader, node, reply);
}

/* reads_item - whether it looks at a field of the item, or may say one */
static bool reads_item(const struct nj_script_reply *reply)
{
    bool reads = reply->n_fields > 0 || strstr(reply->say, "{" ITEM_PREFIX);

    for (size_t i = 0; i < reply->n_calls && !reads; i++)
        reads = strstr(reply->calls[i].input, "{" ITEM_PREFIX) != NULL;
    return reads;
}

static void read_root(struct nj_yaml_reader *reader, const struct nj_yaml_node *root,
                      struct nj_script *script)
{
    static const char *const known[] = {"replies"};
    const struct nj_yaml_node *list;

    if (!nj_yaml_keys(reader, root, known, 1))
        return;
    list = nj_yaml_need(reader, root, "replies");
    if (!list || !nj_yaml_list(reader, list, 1, NJ_SCRIPT_REPLIES_MAX))
        return;
    script->replies = take(reader, list->count, sizeof(*script->replies));
    if (!script->replies)
        return;
    for (const struct nj_yaml_node *item = list->first; item; item = item->next) {
        struct nj_script_reply *reply = &script->replies[script->n_replies++];

        read_reply(reader, item, reply);
        script->counts = script->counts || reply->times > 0;
        script->reads_item = script->reads_item || reads_item(reply);
    }
}

int nj_script_parse(struct nj_span bytes, const char *name, struct nj_script **ret_script,
                    struct nj_error *err)
{
    static const struct nj_yaml_limits limits = {
        .max_bytes = NJ_SCRIPT_MAX_BYTES, .max_nodes = NJ_SCRIPT_NODES_MAX, .max_depth = 24};
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_script_free) struct nj_script *script = calloc(1, sizeof(*script));
    struct nj_yaml_reader reader = {.faults = &faults};
    const struct nj_yaml_node *root = NULL;
    int r;

    if (!script)
        return nj_fail_nomem(err);
    reader.arena = &script->arena;
    script->name = nj_arena_text(&script->arena, name);
    if (!script->name)
        return nj_fail_nomem(err);
    r = nj_yaml_load(bytes, &limits, &reader, &root, err);
    if (r < 0)
        return r;
    if (root)
        read_root(&reader, root, script);
    r = nj_yaml_end(&reader, name, err);
    if (r < 0)
        return r;
    nj_digest_bytes(bytes.data, bytes.len, &script->digest);
    *ret_script = nj_steal_ptr(&script);
    return 0;
}

static int open_beneath(int dir_fd, const char *path, struct nj_error *err)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    struct stat st;
    int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

    if (fd < 0 && errno == EXDEV)
        return nj_fail(err, NJ_E_INPUT, "script %s: leads out of the manifest's directory", path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return nj_fail(err, NJ_E_INPUT,
                       "script %s: there is no such file in the manifest's directory", path);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open script %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd); /* nothing was written */
        return nj_fail(err, NJ_E_INPUT, "script %s: not a regular file", path);
    }
    return fd;
}

int nj_script_load(int dir_fd, const char *path, struct nj_script **ret_script,
                   struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    nj_auto_close int fd = open_beneath(dir_fd, path, err);
    int r;

    if (fd < 0)
        return fd;
    nj_buf_init(&bytes, NJ_SCRIPT_MAX_BYTES);
    r = nj_fsio_read_all(fd, &bytes, err);
    if (r < 0)
        return nj_wrap(err, "script %s", path);
    return nj_script_parse(nj_buf_span(&bytes), path, ret_script, err);
}

void nj_script_free(struct nj_script *script)
{
    if (!script)
        return;
    for (size_t i = 0; i < script->n_replies; i++)
        if (script->replies[i].has_pattern)
            regfree(&script->replies[i].pattern);
    nj_arena_done(&script->arena);
    free(script);
}
