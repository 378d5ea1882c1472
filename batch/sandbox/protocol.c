/*
 * protocol.c - messages written as canonical msgpack, sent and received
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

static void put_text(struct nj_packer *pk, const char *key, const char *text)
{
    nj_pack_put_bin(pk, key, nj_span_text(text ? text : ""));
}

static void put_texts(struct nj_packer *pk, const char *key, const char *const *texts, size_t n)
{
    nj_pack_text(pk, key);
    nj_pack_array(pk, n);
    for (size_t i = 0; i < n; i++)
        nj_pack_bin(pk, nj_span_text(texts[i]));
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
    nj_pack_put_digest(pk, "stamps", &ref->stamps);
    nj_pack_put_digest(pk, "tree", &ref->tree);
}

static void put_plan(struct nj_packer *pk, const struct nj_box_plan *plan)
{
    nj_pack_map(pk, 10 + (plan->rootfs != NULL));
    put_text(pk, "hostname", plan->hostname);
    nj_pack_put_uint(pk, "level", plan->level);
    nj_pack_put_uint(pk, "max_cpu_micro", plan->max_cpu_micro);
    nj_pack_put_uint(pk, "max_files", plan->max_files);
    nj_pack_put_uint(pk, "max_memory_bytes", plan->max_memory_bytes);
    nj_pack_put_uint(pk, "max_processes", plan->max_processes);
    nj_pack_put_uint(pk, "max_size_bytes", plan->max_size_bytes);
    nj_pack_text(pk, "mounts");
    nj_pack_array(pk, plan->n_mounts);
    for (size_t i = 0; i < plan->n_mounts; i++) {
        nj_pack_map(pk, 2);
        nj_pack_text(pk, "input");
        put_ref(pk, &plan->mounts[i].input);
        put_text(pk, "target", plan->mounts[i].target);
    }
    put_texts(pk, "read_only_paths", plan->read_only_paths, plan->n_read_only_paths);
    if (plan->rootfs) {
        nj_pack_text(pk, "rootfs");
        put_ref(pk, plan->rootfs);
    }
    put_texts(pk, "writable_paths", plan->writable_paths, plan->n_writable_paths);
}

static void put_call(struct nj_packer *pk, const struct nj_msg *msg)
{
    const struct nj_box_call *call = &msg->call.call;

    nj_pack_map(pk, 14);
    put_texts(pk, "argv", call->argv, count_texts(call->argv));
    nj_pack_put_int(pk, "clock_ns", call->clock_ns);
    put_text(pk, "cwd", call->cwd);
    put_texts(pk, "env", call->env, count_texts(call->env));
    nj_pack_put_bool(pk, "has_input", msg->call.has_input);
    nj_pack_put_bool(pk, "has_script", msg->call.has_script);
    nj_pack_put_uint(pk, "head_max_bytes", call->head_max_bytes);
    nj_pack_put_uint(pk, "runtime_left_ms", call->runtime_left_ms);
    nj_pack_put_uint(pk, "runtime_limit_ms", call->runtime_limit_ms);
    put_text(pk, "script_name", call->script_name);
    nj_pack_put_bin(pk, "seed", (struct nj_span){call->seed, sizeof(call->seed)});
    nj_pack_put_uint(pk, "step", call->step);
    nj_pack_put_uint(pk, "tail_max_bytes", call->tail_max_bytes);
    nj_pack_put_uint(pk, "timeout_ms", call->timeout_ms);
}

static void put_stream(struct nj_packer *pk, const struct nj_stream *stream, bool spilled)
{
    nj_pack_map(pk, 4);
    nj_pack_put_uint(pk, "bytes", stream->bytes);
    nj_pack_put_digest(pk, "digest", &stream->digest);
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

    nj_pack_map(pk, 22);
    nj_pack_put_int(pk, "clock_ns", meta->clock_ns);
    nj_pack_put_uint(pk, "cpu_ms", meta->cpu_ms);
    nj_pack_put_uint(pk, "duration_ms", meta->duration_ms);
    nj_pack_text(pk, "errors");
    put_stream(pk, &outcome->errors, msg->called.spilled);
    nj_pack_put_uint(pk, "exit", (uint64_t)outcome->exit);
    nj_pack_put_uint(pk, "figures", meta->figures);
    nj_pack_put_uint(pk, "files_hashed", msg->called.files_hashed);
    nj_pack_put_uint(pk, "level", meta->level);
    nj_pack_put_uint(pk, "limit", (uint64_t)outcome->limit);
    nj_pack_put_uint(pk, "limit_used", meta->limit_used);
    nj_pack_put_uint(pk, "limit_value", outcome->limit_value);
    nj_pack_put_uint(pk, "lowered", (uint64_t)meta->lowered);
    nj_pack_put_uint(pk, "memory_peak_bytes", meta->memory_peak_bytes);
    nj_pack_put_uint(pk, "objects_bytes", msg->called.objects_bytes);
    nj_pack_put_digest(pk, "order", &meta->order); /* zeros: nothing is told */
    nj_pack_text(pk, "out");
    put_stream(pk, &outcome->out, msg->called.spilled);
    nj_pack_put_digest(pk, "ran", &meta->ran); /* likewise */
    nj_pack_put_bool(pk, "spilled", msg->called.spilled);
    nj_pack_put_digest(pk, "stamps", &meta->stamps);
    nj_pack_put_uint(pk, "status", (uint64_t)outcome->status);
    nj_pack_put_bin(pk, "text", outcome->text);
    nj_pack_put_digest(pk, "tree", &outcome->tree);
}

static void put_failed(struct nj_packer *pk, const struct nj_error *failed)
{
    nj_pack_map(pk, 3);
    nj_pack_put_uint(pk, "code", (uint64_t)failed->code);
    nj_pack_put_uint(pk, "errno", failed->sys_errno > 0 ? (uint64_t)failed->sys_errno : 0);
    put_text(pk, "text", failed->text);
}

static void put_body(struct nj_packer *pk, const struct nj_msg *msg)
{
    switch (msg->kind) {
    case NJ_MSG_OPEN:
        nj_pack_map(pk, 2);
        nj_pack_put_uint(pk, "box", msg->open.box);
        nj_pack_text(pk, "plan");
        put_plan(pk, &msg->open.plan);
        break;
    case NJ_MSG_INPUT:
    case NJ_MSG_RESTORE:
        put_ref(pk, &msg->ref);
        break;
    case NJ_MSG_ROOTFS:
        nj_pack_map(pk, 2);
        nj_pack_put_bool(pk, "is_tar", msg->rootfs.is_tar);
        nj_pack_text(pk, "ref");
        put_ref(pk, &msg->rootfs.ref);
        break;
    case NJ_MSG_OPENED:
        nj_pack_map(pk, 1);
        nj_pack_put_uint(pk, "pid", (uint64_t)msg->opened.pid);
        break;
    case NJ_MSG_CALL:
        put_call(pk, msg);
        break;
    case NJ_MSG_FAILED:
        put_failed(pk, &msg->failed);
        break;
    case NJ_MSG_OUTPUT:
        nj_pack_map(pk, 2);
        nj_pack_put_bin(pk, "piece", msg->output.piece);
        nj_pack_put_uint(pk, "stream", (uint64_t)msg->output.stream);
        break;
    case NJ_MSG_CALLED:
        put_called(pk, msg);
        break;
    case NJ_MSG_SCANNED:
        nj_pack_map(pk, 2);
        nj_pack_put_uint(pk, "files", msg->scanned.files);
        nj_pack_put_uint(pk, "misses", msg->scanned.misses);
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
    nj_pack_put_uint(&pk, "kind", (uint64_t)msg->kind);
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
