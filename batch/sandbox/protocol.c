/*
 * protocol.c - messages as canonical msgpack
 *
 * Strings of a plan or a call may hold any bytes but NUL (a path need not be UTF-8), so they travel
 * as bin.
 */
#include "batch/sandbox/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

const char *nj_msg_kind_text(enum nj_msg_kind kind)
{
    switch (kind) {
#define X(name, value, text)                                                                       \
    case NJ_MSG_##name:                                                                            \
        return text;
        NJ_MSG_KINDS(X)
#undef X
    }
    return "?";
}

/* ---- writing ---- */

static void put_text(struct nj_packer *pk, const char *text)
{
    nj_pack_bin(pk, nj_span_text(text));
}

static void put_texts(struct nj_packer *pk, const char *const *texts, size_t n)
{
    nj_pack_array(pk, n);
    for (size_t i = 0; i < n; i++)
        put_text(pk, texts[i]);
}

static size_t count_texts(const char *const *texts)
{
    size_t n = 0;

    while (texts && texts[n])
        n++;
    return n;
}

static void put_ref(struct nj_packer *pk, const struct nj_workspace_ref *ref)
{
    nj_pack_map(pk, 2);
    nj_pack_text(pk, "stamps");
    nj_pack_digest(pk, &ref->stamps);
    nj_pack_text(pk, "tree");
    nj_pack_digest(pk, &ref->tree);
}

static void put_plan(struct nj_packer *pk, const struct nj_box_plan *plan)
{
    nj_pack_map(pk, 8);
    nj_pack_text(pk, "hostname");
    put_text(pk, plan->hostname ? plan->hostname : "");
    nj_pack_text(pk, "max_files");
    nj_pack_uint(pk, plan->max_files);
    nj_pack_text(pk, "max_memory_bytes");
    nj_pack_uint(pk, plan->max_memory_bytes);
    nj_pack_text(pk, "max_processes");
    nj_pack_uint(pk, plan->max_processes);
    nj_pack_text(pk, "max_size_bytes");
    nj_pack_uint(pk, plan->max_size_bytes);
    nj_pack_text(pk, "mounts");
    nj_pack_array(pk, plan->n_mounts);
    for (size_t i = 0; i < plan->n_mounts; i++) {
        nj_pack_map(pk, 2);
        nj_pack_text(pk, "input");
        put_ref(pk, &plan->mounts[i].input);
        nj_pack_text(pk, "target");
        put_text(pk, plan->mounts[i].target);
    }
    nj_pack_text(pk, "read_only_paths");
    put_texts(pk, plan->read_only_paths, plan->n_read_only_paths);
    nj_pack_text(pk, "writable_paths");
    put_texts(pk, plan->writable_paths, plan->n_writable_paths);
}

static void put_call(struct nj_packer *pk, const struct nj_msg *msg)
{
    const struct nj_box_call *call = &msg->call.call;

    nj_pack_map(pk, 11);
    nj_pack_text(pk, "argv");
    put_texts(pk, call->argv, count_texts(call->argv));
    nj_pack_text(pk, "cwd");
    put_text(pk, call->cwd ? call->cwd : "");
    nj_pack_text(pk, "env");
    put_texts(pk, call->env, count_texts(call->env));
    nj_pack_text(pk, "has_input");
    nj_pack_bool(pk, msg->call.has_input);
    nj_pack_text(pk, "has_script");
    nj_pack_bool(pk, msg->call.has_script);
    nj_pack_text(pk, "head_max_bytes");
    nj_pack_uint(pk, call->head_max_bytes);
    nj_pack_text(pk, "runtime_left_ms");
    nj_pack_uint(pk, call->runtime_left_ms);
    nj_pack_text(pk, "runtime_limit_ms");
    nj_pack_uint(pk, call->runtime_limit_ms);
    nj_pack_text(pk, "script_name");
    put_text(pk, call->script_name ? call->script_name : "");
    nj_pack_text(pk, "tail_max_bytes");
    nj_pack_uint(pk, call->tail_max_bytes);
    nj_pack_text(pk, "timeout_ms");
    nj_pack_uint(pk, call->timeout_ms);
}

static void put_stream(struct nj_packer *pk, const struct nj_stream *stream, bool spilled)
{
    nj_pack_map(pk, 4);
    nj_pack_text(pk, "bytes");
    nj_pack_uint(pk, stream->bytes);
    nj_pack_text(pk, "digest");
    nj_pack_digest(pk, &stream->digest);
    nj_pack_text(pk, "head");
    if (spilled)
        nj_pack_uint(pk, stream->head.len);
    else
        nj_pack_bin(pk, stream->head);
    nj_pack_text(pk, "tail");
    if (spilled)
        nj_pack_uint(pk, stream->tail.len);
    else
        nj_pack_bin(pk, stream->tail);
}

static void put_called(struct nj_packer *pk, const struct nj_msg *msg)
{
    const struct nj_call_outcome *outcome = &msg->called.outcome;
    const struct nj_call_meta *meta = &msg->called.meta;

    nj_pack_map(pk, 16);
    nj_pack_text(pk, "cpu_ms");
    nj_pack_uint(pk, meta->cpu_ms);
    nj_pack_text(pk, "duration_ms");
    nj_pack_uint(pk, meta->duration_ms);
    nj_pack_text(pk, "errors");
    put_stream(pk, &outcome->errors, msg->called.spilled);
    nj_pack_text(pk, "exit");
    nj_pack_uint(pk, (uint64_t)outcome->exit);
    nj_pack_text(pk, "files_hashed");
    nj_pack_uint(pk, msg->called.files_hashed);
    nj_pack_text(pk, "limit");
    nj_pack_uint(pk, (uint64_t)outcome->limit);
    nj_pack_text(pk, "limit_used");
    nj_pack_uint(pk, meta->limit_used);
    nj_pack_text(pk, "limit_value");
    nj_pack_uint(pk, outcome->limit_value);
    nj_pack_text(pk, "memory_peak_bytes");
    nj_pack_uint(pk, meta->memory_peak_bytes);
    nj_pack_text(pk, "objects_bytes");
    nj_pack_uint(pk, msg->called.objects_bytes);
    nj_pack_text(pk, "out");
    put_stream(pk, &outcome->out, msg->called.spilled);
    nj_pack_text(pk, "spilled");
    nj_pack_bool(pk, msg->called.spilled);
    nj_pack_text(pk, "stamps");
    nj_pack_digest(pk, &meta->stamps);
    nj_pack_text(pk, "status");
    nj_pack_uint(pk, (uint64_t)outcome->status);
    nj_pack_text(pk, "text");
    nj_pack_bin(pk, outcome->text);
    nj_pack_text(pk, "tree");
    nj_pack_digest(pk, &outcome->tree);
}

static void put_failed(struct nj_packer *pk, const struct nj_error *failed)
{
    nj_pack_map(pk, 3);
    nj_pack_text(pk, "code");
    nj_pack_uint(pk, (uint64_t)failed->code);
    nj_pack_text(pk, "errno");
    nj_pack_uint(pk, failed->sys_errno > 0 ? (uint64_t)failed->sys_errno : 0);
    nj_pack_text(pk, "text");
    put_text(pk, failed->text);
}

static void put_body(struct nj_packer *pk, const struct nj_msg *msg)
{
    switch (msg->kind) {
    case NJ_MSG_OPEN:
        nj_pack_map(pk, 2);
        nj_pack_text(pk, "box");
        nj_pack_uint(pk, msg->open.box);
        nj_pack_text(pk, "plan");
        put_plan(pk, &msg->open.plan);
        break;
    case NJ_MSG_INPUT:
    case NJ_MSG_RESTORE:
        put_ref(pk, &msg->ref);
        break;
    case NJ_MSG_OPENED:
        nj_pack_map(pk, 1);
        nj_pack_text(pk, "pid");
        nj_pack_uint(pk, (uint64_t)msg->opened.pid);
        break;
    case NJ_MSG_CALL:
        put_call(pk, msg);
        break;
    case NJ_MSG_FAILED:
        put_failed(pk, &msg->failed);
        break;
    case NJ_MSG_OUTPUT:
        nj_pack_map(pk, 2);
        nj_pack_text(pk, "piece");
        nj_pack_bin(pk, msg->output.piece);
        nj_pack_text(pk, "stream");
        nj_pack_uint(pk, (uint64_t)msg->output.stream);
        break;
    case NJ_MSG_CALLED:
        put_called(pk, msg);
        break;
    case NJ_MSG_SCANNED:
        nj_pack_map(pk, 2);
        nj_pack_text(pk, "files");
        nj_pack_uint(pk, msg->scanned.files);
        nj_pack_text(pk, "misses");
        nj_pack_uint(pk, msg->scanned.misses);
        break;
    case NJ_MSG_READY:
    case NJ_MSG_CANCEL:
    case NJ_MSG_SCAN:
    case NJ_MSG_DONE:
        nj_pack_map(pk, 0);
        break;
    }
}

int nj_msg_encode(const struct nj_msg *msg, struct nj_buf *out, struct nj_error *err)
{
    size_t start = out->len;
    struct nj_packer pk;
    int r;

    nj_packer_init(&pk, out);
    nj_pack_map(&pk, 2);
    nj_pack_text(&pk, "body");
    put_body(&pk, msg);
    nj_pack_text(&pk, "kind");
    nj_pack_uint(&pk, (uint64_t)msg->kind);
    r = nj_packer_end(&pk, err);
    if (r < 0)
        return nj_wrap(err, "%s message", nj_msg_kind_text(msg->kind));
    if (out->len - start > NJ_MSG_MAX_BYTES) {
        size_t len = out->len - start;

        out->len = start;
        return nj_fail(err, NJ_E_LIMIT, "%s message: %zu bytes, at most %u fit",
                       nj_msg_kind_text(msg->kind), len, NJ_MSG_MAX_BYTES);
    }
    return 0;
}

/* ---- reading ---- */

static int to_text(const struct nj_pack_at *at, struct nj_span bytes, struct nj_arena *arena,
                   const char **ret_text, struct nj_error *err)
{
    const char *text;

    if (memchr(bytes.data, '\0', bytes.len))
        return nj_pack_fail(at, err, "a NUL byte in a string");
    text = nj_arena_span(arena, bytes);
    if (!text)
        return nj_fail_nomem(err);
    *ret_text = text;
    return 0;
}

static int get_text(const struct nj_pack_at *map, const char *key, struct nj_arena *arena,
                    const char **ret_text, struct nj_error *err)
{
    struct nj_span bytes;
    int r;

    r = nj_pack_get_bin(map, key, &bytes, err);
    if (r < 0)
        return r;
    return to_text(map, bytes, arena, ret_text, err);
}

/* get_texts - an array of strings, with a NULL behind the last */
static int get_texts(const struct nj_pack_at *map, const char *key, size_t max,
                     struct nj_arena *arena, const char *const **ret_texts, size_t *ret_n,
                     struct nj_error *err)
{
    struct nj_pack_at array;
    const char **texts;
    size_t n;
    int r;

    r = nj_pack_get_array(map, key, &array, &n, err);
    if (r < 0)
        return r;
    if (n > max)
        return nj_pack_fail(&array, err, "%zu items, at most %zu", n, max);
    texts = nj_arena_array(arena, n + 1, sizeof(*texts));
    if (!texts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at item;
        struct nj_span bytes;

        r = nj_pack_item(&array, i, &item, err);
        if (r < 0)
            return r;
        r = nj_pack_as_bin(&item, &bytes, err);
        if (r < 0)
            return r;
        r = to_text(&item, bytes, arena, &texts[i], err);
        if (r < 0)
            return r;
    }
    *ret_texts = texts;
    if (ret_n)
        *ret_n = n;
    return 0;
}

static int get_ref(const struct nj_pack_at *map, struct nj_workspace_ref *ret_ref,
                   struct nj_error *err)
{
    int r;

    r = nj_pack_get_digest(map, "stamps", &ret_ref->stamps, err);
    if (r < 0)
        return r;
    return nj_pack_get_digest(map, "tree", &ret_ref->tree, err);
}

static int get_mounts(const struct nj_pack_at *map, struct nj_arena *arena,
                      struct nj_box_plan *plan, struct nj_error *err)
{
    struct nj_box_mount *mounts;
    struct nj_pack_at array;
    size_t n;
    int r;

    r = nj_pack_get_array(map, "mounts", &array, &n, err);
    if (r < 0)
        return r;
    if (n > NJ_BOX_PATHS_MAX)
        return nj_pack_fail(&array, err, "%zu mounts, at most %d", n, NJ_BOX_PATHS_MAX);
    mounts = nj_arena_array(arena, n + 1, sizeof(*mounts));
    if (!mounts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at item, input;

        r = nj_pack_item(&array, i, &item, err);
        if (r < 0)
            return r;
        r = nj_pack_as_map(&item, err);
        if (r < 0)
            return r;
        r = nj_pack_get_map(&item, "input", &input, err);
        if (r < 0)
            return r;
        r = get_ref(&input, &mounts[i].input, err);
        if (r < 0)
            return r;
        r = get_text(&item, "target", arena, &mounts[i].target, err);
        if (r < 0)
            return r;
    }
    plan->mounts = mounts;
    plan->n_mounts = n;
    return 0;
}

static int get_plan(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_box_plan *plan,
                    struct nj_error *err)
{
    int r;

    r = get_text(map, "hostname", arena, &plan->hostname, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "max_files", UINT64_MAX, &plan->max_files, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "max_memory_bytes", UINT64_MAX, &plan->max_memory_bytes, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "max_processes", UINT64_MAX, &plan->max_processes, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "max_size_bytes", UINT64_MAX, &plan->max_size_bytes, err);
    if (r < 0)
        return r;
    r = get_mounts(map, arena, plan, err);
    if (r < 0)
        return r;
    r = get_texts(map, "read_only_paths", NJ_BOX_PATHS_MAX, arena, &plan->read_only_paths,
                  &plan->n_read_only_paths, err);
    if (r < 0)
        return r;
    return get_texts(map, "writable_paths", NJ_BOX_PATHS_MAX, arena, &plan->writable_paths,
                     &plan->n_writable_paths, err);
}

static int get_call(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_msg *msg,
                    struct nj_error *err)
{
    struct nj_box_call *call = &msg->call.call;
    uint64_t head_max, tail_max;
    size_t n_args;
    int r;

    r = get_texts(map, "argv", NJ_BOX_ARGS_MAX, arena, &call->argv, &n_args, err);
    if (r < 0)
        return r;
    if (n_args == 0)
        return nj_pack_fail(map, err, "no argv");
    r = get_text(map, "cwd", arena, &call->cwd, err);
    if (r < 0)
        return r;
    r = get_texts(map, "env", NJ_BOX_ENV_MAX, arena, &call->env, NULL, err);
    if (r < 0)
        return r;
    r = nj_pack_get_bool(map, "has_input", &msg->call.has_input, err);
    if (r < 0)
        return r;
    r = nj_pack_get_bool(map, "has_script", &msg->call.has_script, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "head_max_bytes", NJ_BOX_STREAM_MAX_BYTES, &head_max, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "runtime_left_ms", UINT64_MAX, &call->runtime_left_ms, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "runtime_limit_ms", UINT64_MAX, &call->runtime_limit_ms, err);
    if (r < 0)
        return r;
    r = get_text(map, "script_name", arena, &call->script_name, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "tail_max_bytes", NJ_BOX_STREAM_MAX_BYTES, &tail_max, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "timeout_ms", UINT64_MAX, &call->timeout_ms, err);
    if (r < 0)
        return r;
    if (call->cwd[0] == '\0')
        call->cwd = NULL;
    if (call->script_name[0] == '\0')
        call->script_name = NULL;
    if (msg->call.has_script != (call->script_name != NULL))
        return nj_pack_fail(map, err, "a script without a name, or a name without a script");
    call->head_max_bytes = (size_t)head_max;
    call->tail_max_bytes = (size_t)tail_max;
    return 0;
}

static int get_stream(const struct nj_pack_at *map, const char *key, bool spilled,
                      struct nj_stream *stream, struct nj_error *err)
{
    struct nj_pack_at at;
    int r;

    r = nj_pack_get_map(map, key, &at, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(&at, "bytes", UINT64_MAX, &stream->bytes, err);
    if (r < 0)
        return r;
    r = nj_pack_get_digest(&at, "digest", &stream->digest, err);
    if (r < 0)
        return r;
    if (spilled) {
        uint64_t head, tail;

        r = nj_pack_get_uint(&at, "head", NJ_BOX_STREAM_MAX_BYTES, &head, err);
        if (r < 0)
            return r;
        r = nj_pack_get_uint(&at, "tail", NJ_BOX_STREAM_MAX_BYTES, &tail, err);
        if (r < 0)
            return r;
        stream->head = (struct nj_span){NULL, (size_t)head};
        stream->tail = (struct nj_span){NULL, (size_t)tail};
    } else {
        r = nj_pack_get_bin(&at, "head", &stream->head, err);
        if (r < 0)
            return r;
        r = nj_pack_get_bin(&at, "tail", &stream->tail, err);
        if (r < 0)
            return r;
    }
    if (stream->bytes < stream->head.len || stream->bytes - stream->head.len < stream->tail.len)
        return nj_pack_fail(&at, err, "head and tail are longer than the whole");
    return 0;
}

static int get_called(const struct nj_pack_at *map, struct nj_msg *msg, struct nj_error *err)
{
    struct nj_call_outcome *outcome = &msg->called.outcome;
    struct nj_call_meta *meta = &msg->called.meta;
    uint64_t exit_kind, limit, status;
    int r;

    r = nj_pack_get_bool(map, "spilled", &msg->called.spilled, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "cpu_ms", UINT64_MAX, &meta->cpu_ms, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "duration_ms", UINT64_MAX, &meta->duration_ms, err);
    if (r < 0)
        return r;
    r = get_stream(map, "errors", msg->called.spilled, &outcome->errors, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "exit", NJ_EXIT_REFUSED, &exit_kind, err);
    if (r < 0)
        return r;
    if (exit_kind < NJ_EXIT_EXITED)
        return nj_pack_fail(map, err, "exit: no such kind");
    outcome->exit = (enum nj_exit_kind)exit_kind;
    r = nj_pack_get_uint(map, "files_hashed", UINT64_MAX, &msg->called.files_hashed, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "limit", NJ_LIMIT_PROCESSES, &limit, err);
    if (r < 0)
        return r;
    outcome->limit = (enum nj_limit)limit;
    r = nj_pack_get_uint(map, "limit_used", UINT64_MAX, &meta->limit_used, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "limit_value", UINT64_MAX, &outcome->limit_value, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "memory_peak_bytes", UINT64_MAX, &meta->memory_peak_bytes, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "objects_bytes", UINT64_MAX, &msg->called.objects_bytes, err);
    if (r < 0)
        return r;
    r = get_stream(map, "out", msg->called.spilled, &outcome->out, err);
    if (r < 0)
        return r;
    r = nj_pack_get_digest(map, "stamps", &meta->stamps, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "status", 255, &status, err);
    if (r < 0)
        return r;
    outcome->status = (int)status;
    r = nj_pack_get_bin(map, "text", &outcome->text, err);
    if (r < 0)
        return r;
    return nj_pack_get_digest(map, "tree", &outcome->tree, err);
}

static int get_failed(const struct nj_pack_at *map, struct nj_error *failed, struct nj_error *err)
{
    uint64_t code, sys_errno;
    struct nj_span text;
    int r;

    r = nj_pack_get_uint(map, "code", NJ_E_CANCELLED, &code, err);
    if (r < 0)
        return r;
    if (code < NJ_E_SYSTEM)
        return nj_pack_fail(map, err, "code: no such error");
    r = nj_pack_get_uint(map, "errno", 4095, &sys_errno, err);
    if (r < 0)
        return r;
    r = nj_pack_get_bin(map, "text", &text, err);
    if (r < 0)
        return r;
    if (text.len >= sizeof(failed->text) || memchr(text.data, '\0', text.len))
        return nj_pack_fail(map, err, "text: not a line of at most %zu bytes",
                            sizeof(failed->text) - 1);
    failed->code = (enum nj_error_code)code;
    failed->sys_errno = (int)sys_errno;
    memcpy(failed->text, text.data, text.len);
    failed->text[text.len] = '\0';
    return 0;
}

static int get_body(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_msg *msg,
                    struct nj_error *err)
{
    struct nj_pack_at at;
    uint64_t number;
    int r;

    switch (msg->kind) {
    case NJ_MSG_OPEN:
        r = nj_pack_get_uint(map, "box", UINT32_MAX, &msg->open.box, err);
        if (r < 0)
            return r;
        r = nj_pack_get_map(map, "plan", &at, err);
        if (r < 0)
            return r;
        return get_plan(&at, arena, &msg->open.plan, err);
    case NJ_MSG_INPUT:
    case NJ_MSG_RESTORE:
        return get_ref(map, &msg->ref, err);
    case NJ_MSG_OPENED:
        r = nj_pack_get_uint(map, "pid", INT32_MAX, &number, err);
        if (r < 0)
            return r;
        msg->opened.pid = (pid_t)number;
        return 0;
    case NJ_MSG_CALL:
        return get_call(map, arena, msg, err);
    case NJ_MSG_FAILED:
        return get_failed(map, &msg->failed, err);
    case NJ_MSG_OUTPUT:
        r = nj_pack_get_uint(map, "stream", 2, &number, err);
        if (r < 0)
            return r;
        if (number < 1)
            return nj_pack_fail(map, err, "stream: neither 1 nor 2");
        msg->output.stream = (int)number;
        return nj_pack_get_bin(map, "piece", &msg->output.piece, err);
    case NJ_MSG_CALLED:
        return get_called(map, msg, err);
    case NJ_MSG_SCANNED:
        r = nj_pack_get_uint(map, "files", UINT64_MAX, &msg->scanned.files, err);
        if (r < 0)
            return r;
        return nj_pack_get_uint(map, "misses", UINT64_MAX, &msg->scanned.misses, err);
    case NJ_MSG_READY:
    case NJ_MSG_CANCEL:
    case NJ_MSG_SCAN:
    case NJ_MSG_DONE:
        return 0;
    }
    return nj_pack_fail(map, err, "no such message");
}

int nj_msg_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_msg *ret_msg,
                  struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at root, body;
    struct nj_msg msg = {0};
    uint64_t kind;
    int r;

    if (bytes.len > NJ_MSG_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "message: %zu bytes, at most %u", bytes.len,
                       NJ_MSG_MAX_BYTES);
    r = nj_pack_open(&doc, "message", bytes, err);
    if (r < 0)
        return r;
    r = nj_pack_root(&doc, &root, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(&root, "kind", NJ_MSG_SCANNED, &kind, err);
    if (r < 0)
        return r;
    r = nj_pack_get_map(&root, "body", &body, err);
    if (r < 0)
        return r;
    msg.kind = (enum nj_msg_kind)kind;
    r = get_body(&body, arena, &msg, err);
    if (r < 0)
        return r;
    *ret_msg = msg;
    return 0;
}

/* ---- sending and receiving ---- */

int nj_msg_send(int socket_fd, const struct nj_msg *msg, const int *fds, size_t n_fds,
                struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    nj_buf_init(&buf, NJ_MSG_MAX_BYTES + 1);
    r = nj_msg_encode(msg, &buf, err);
    if (r < 0)
        return r;
    return nj_fsio_sendmsg(socket_fd, buf.data, buf.len, fds, n_fds, err);
}

void nj_msg_in_done(struct nj_msg_in *in)
{
    for (size_t i = 0; i < in->n_fds; i++) {
        if (in->fds[i] >= 0)
            (void)close(in->fds[i]);
    }
    in->n_fds = 0;
    nj_arena_done(&in->arena);
}

int nj_msg_receive(int socket_fd, struct nj_msg_in *in, struct nj_error *err)
{
    size_t len;
    int r;

    nj_msg_in_done(in);
    in->n_fds = NJ_MSG_FDS_MAX;
    r = nj_fsio_recvmsg(socket_fd, in->bytes, sizeof(in->bytes), &len, in->fds, &in->n_fds, err);
    if (r != 0) {
        in->n_fds = 0;
        return r;
    }
    if (len == 0)
        return 2;
    r = nj_msg_decode((struct nj_span){in->bytes, len}, &in->arena, &in->msg, err);
    if (r < 0)
        nj_msg_in_done(in);
    return r;
}

int nj_msg_seal(int fd, struct nj_error *err)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return nj_fail_errno(err, errno, "seal a memfd");
    return 0;
}

int nj_msg_memfd(const char *name, struct nj_span data, int *ret_fd, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    int r;

    r = nj_fsio_memfd(name, &fd, err);
    if (r < 0)
        return r;
    r = nj_fsio_pwrite(fd, data.data, data.len, 0, err);
    if (r < 0)
        return nj_wrap(err, "memfd %s", name);
    r = nj_msg_seal(fd, err);
    if (r < 0)
        return r;
    *ret_fd = nj_steal_fd(&fd);
    return 0;
}

int nj_msg_memfd_bytes(int fd, uint64_t *ret_bytes, struct nj_error *err)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    struct stat st;
    int seals;

    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & wanted) != wanted)
        return nj_fail(err, NJ_E_CORRUPT, "a descriptor that is no sealed memfd");
    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "fstat of a memfd");
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_CORRUPT, "a descriptor that is no memfd");
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

int nj_msg_check_memfd(int fd, uint64_t bytes, struct nj_error *err)
{
    uint64_t found;
    int r;

    r = nj_msg_memfd_bytes(fd, &found, err);
    if (r < 0)
        return r;
    if (found != bytes)
        return nj_fail(err, NJ_E_CORRUPT, "a memfd of %llu bytes where %llu were announced",
                       (unsigned long long)found, (unsigned long long)bytes);
    return 0;
}
