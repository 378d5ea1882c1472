/*
 * protocol_read.c - messages read under suspicion
 *
 * Every figure meets its bound and every list its length before memory is taken for it.
 */
#include "batch/sandbox/protocol.h"

#include "formats/base/banned.h"

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

static int get_image(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_box_plan *plan,
                     struct nj_error *err)
{
    struct nj_workspace_ref *image;
    struct nj_pack_at at;
    int r;

    if (!nj_pack_has(map, "rootfs"))
        return 0;
    image = nj_arena_alloc(arena, sizeof(*image));
    if (!image)
        return nj_fail_nomem(err);
    r = nj_pack_get_map(map, "rootfs", &at, err);
    if (r < 0)
        return r;
    plan->rootfs = image;
    return get_ref(&at, image, err);
}

static int get_plan(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_box_plan *plan,
                    struct nj_error *err)
{
    uint64_t level;
    int r;

    r = get_text(map, "hostname", arena, &plan->hostname, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "level", NJ_LEVEL_MAX, &level, err);
    if (r < 0)
        return r;
    plan->level = (unsigned)level;
    r = nj_pack_get_uint(map, "max_cpu_micro", UINT64_MAX, &plan->max_cpu_micro, err);
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
    r = get_image(map, arena, plan, err);
    if (r < 0)
        return r;
    return get_texts(map, "writable_paths", NJ_BOX_PATHS_MAX, arena, &plan->writable_paths,
                     &plan->n_writable_paths, err);
}

/* get_clock - a time from which a call can still go on for centuries */
static int get_clock(const struct nj_pack_at *map, int64_t *ret_clock_ns, struct nj_error *err)
{
    uint64_t clock_ns;
    int r;

    r = nj_pack_get_uint(map, "clock_ns", INT64_MAX / 2, &clock_ns, err);
    if (r >= 0)
        *ret_clock_ns = (int64_t)clock_ns;
    return r;
}

static int get_call(const struct nj_pack_at *map, struct nj_arena *arena, struct nj_msg *msg,
                    struct nj_error *err)
{
    struct nj_box_call *call = &msg->call.call;
    uint64_t head_max, tail_max;
    struct nj_span seed;
    size_t n_args;
    int r;

    r = get_texts(map, "argv", NJ_BOX_ARGS_MAX, arena, &call->argv, &n_args, err);
    if (r < 0)
        return r;
    if (n_args == 0)
        return nj_pack_fail(map, err, "no argv");
    r = get_clock(map, &call->clock_ns, err);
    if (r < 0)
        return r;
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
    r = nj_pack_get_bin(map, "seed", &seed, err);
    if (r < 0)
        return r;
    if (seed.len != sizeof(call->seed))
        return nj_pack_fail(map, err, "seed: %zu bytes, not %zu", seed.len, sizeof(call->seed));
    memcpy(call->seed, seed.data, seed.len);
    r = nj_pack_get_uint(map, "step", UINT64_MAX, &call->step, err);
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

/* get_told - a digest that is zeros where nothing is told */
static int get_told(const struct nj_pack_at *map, const char *key, bool *ret_is_told,
                    struct nj_digest *ret_digest, struct nj_error *err)
{
    static const struct nj_digest nothing;
    int r = nj_pack_get_digest(map, key, ret_digest, err);

    *ret_is_told = r >= 0 && !nj_digest_equal(ret_digest, &nothing);
    return r;
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
    uint64_t exit_kind, figures, level, limit, lowered, status;
    int r;

    r = nj_pack_get_bool(map, "spilled", &msg->called.spilled, err);
    if (r < 0)
        return r;
    r = get_clock(map, &meta->clock_ns, err);
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
    r = nj_pack_get_uint(map, "figures", NJ_FIGURES_MAX, &figures, err);
    if (r < 0)
        return r;
    meta->figures = (uint32_t)figures;
    r = nj_pack_get_uint(map, "files_hashed", UINT64_MAX, &msg->called.files_hashed, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "level", NJ_LEVEL_MAX, &level, err);
    if (r < 0)
        return r;
    meta->level = (unsigned)level;
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
    r = nj_pack_get_uint(map, "lowered", NJ_LOWERED_MAX, &lowered, err);
    if (r < 0)
        return r;
    meta->lowered = (enum nj_lowered)lowered;
    r = nj_pack_get_uint(map, "memory_peak_bytes", UINT64_MAX, &meta->memory_peak_bytes, err);
    if (r < 0)
        return r;
    r = nj_pack_get_uint(map, "objects_bytes", UINT64_MAX, &msg->called.objects_bytes, err);
    if (r < 0)
        return r;
    r = get_told(map, "order", &meta->has_order, &meta->order, err);
    if (r < 0)
        return r;
    r = get_stream(map, "out", msg->called.spilled, &outcome->out, err);
    if (r < 0)
        return r;
    r = get_told(map, "ran", &meta->has_ran, &meta->ran, err);
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
    case NJ_MSG_ROOTFS:
        r = nj_pack_get_bool(map, "is_tar", &msg->rootfs.is_tar, err);
        if (r < 0)
            return r;
        r = nj_pack_get_map(map, "ref", &at, err);
        if (r < 0)
            return r;
        return get_ref(&at, &msg->rootfs.ref, err);
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
    r = nj_pack_get_uint(&root, "kind", NJ_MSG_ROOTFS, &kind, err);
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
