/*
 * plan_print.c - a plan as lines for people
 */
#include "batch/sandbox/filter.h"
#include "batch/sandbox/limits.h"
#include "batch/sandbox/plan.h"
#include "batch/sandbox/fixed.h"

#include "formats/base/banned.h"

static const char *kind_text(enum nj_op_kind kind)
{
    switch (kind) {
#define X(name, text)                                                                              \
    case NJ_OP_##name:                                                                             \
        return text;
        NJ_OP_KINDS(X)
#undef X
    }
    return "?";
}

int nj_op_text(const struct nj_op *op, struct nj_buf *out, struct nj_error *err)
{
    int r;

    r = nj_buf_printf(out, err, "%s %s", kind_text(op->kind), op->target);
    if (r < 0)
        return r;
    switch (op->kind) {
    case NJ_OP_FILE:
        return op->source[0] == '\0' ? 0
                                     : nj_buf_printf(out, err, " (%zu bytes)", strlen(op->source));
    case NJ_OP_LINK:
        return nj_buf_printf(out, err, " -> %s", op->source);
    case NJ_OP_TMPFS:
        return nj_buf_printf(out, err, " %s,nosuid,nodev%s", op->source,
                             op->flags & NJ_OP_NOEXEC ? ",noexec" : "");
    case NJ_OP_PROC:
        return nj_buf_printf(out, err, "%s,nosuid,nodev,noexec",
                             op->flags & NJ_OP_READ_ONLY ? " read-only" : " of the box");
    case NJ_OP_BIND:
    case NJ_OP_INSIDE:
        return nj_buf_printf(out, err, " from %s%s%s%s%s", op->source,
                             op->flags & NJ_OP_READ_ONLY ? " read-only" : "",
                             op->flags & NJ_OP_READ_ONLY ? " nosuid" : "",
                             op->flags & NJ_OP_READ_ONLY && !(op->flags & NJ_OP_DEVICES) ? " nodev"
                                                                                         : "",
                             op->flags & NJ_OP_NOEXEC ? " noexec" : "");
    case NJ_OP_COVER:
        return nj_buf_printf(out, err, " with %s", op->source);
    case NJ_OP_DIR:
    case NJ_OP_FREEZE:
    case NJ_OP_MASK:
    case NJ_OP_SEAL:
    case NJ_OP_HIDE:
        return 0;
    }
    return 0;
}

static int print_ops(const char *title, const struct nj_op *ops, size_t n, struct nj_buf *out,
                     struct nj_error *err)
{
    int r;

    r = nj_buf_printf(out, err, "%s\n", title);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = nj_buf_text(out, "  ", err);
        if (r >= 0)
            r = nj_op_text(&ops[i], out, err);
        if (r >= 0)
            r = nj_buf_text(out, "\n", err);
    }
    return r;
}

int nj_box_plan_print(const struct nj_box_plan *plan, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_ops ops;
    int r;

    r = nj_box_plan_check(plan, err);
    if (r < 0)
        return r;
    r = nj_ops_build(plan, "(inputs of the run)", &arena, &ops, err);
    if (r < 0)
        return r;
    r = nj_buf_printf(out, err,
                      "namespaces: user, pid, mount, network, ipc, uts, cgroup\n"
                      "user: %d (" NJ_BOX_USER "), no capabilities, no_new_privs\n"
                      "network: none but the box's own loopback\n",
                      NJ_BOX_UID);
    if (r < 0)
        return r;
    r = print_ops("once, when the box opens:", ops.open, ops.n_open, out, err);
    if (r < 0)
        return r;
    r = print_ops("for each call, in a pid, mount and ipc namespace of its own:", ops.call,
                  ops.n_call, out, err);
    if (r < 0)
        return r;
    r = nj_fixed_print(plan, out, err);
    if (r < 0)
        return r;
    r = nj_limits_print(plan, out, err);
    if (r < 0)
        return r;
    return nj_filter_print(out, err);
}
