/*
 * divergence.c - comparing outcomes and saying what differs
 *
 * The one complication is streams: past a cap only head, tail, length and digest are known, so the
 * first difference may lie in bytes that nobody kept. Then the sentence says between which offsets.
 */
#include "replay/divergence.h"

#include <inttypes.h>
#include <signal.h>

#include "replay/render.h"

#include "formats/base/banned.h"

#define CONTEXT_BEFORE_BYTES 12 /* shown in front of the first byte that differs */
#define CONTEXT_BYTES 48
#define FILE_COMPARE_MAX_BYTES                                                                     \
    (256u << 20) /* of one file whose content is looked at byte by byte */

const char *nj_divergence_kind_text(enum nj_divergence_kind kind)
{
    switch (kind) {
#define X(name, text)                                                                              \
    case NJ_DIVERGENCE_##name:                                                                     \
        return text;
        NJ_DIVERGENCE_KINDS(X)
#undef X
    }
    return "?";
}

void nj_divergences_done(struct nj_divergences *list)
{
    for (size_t i = 0; i < list->n_items; i++) {
        free(list->items[i].where);
        free(list->items[i].what);
    }
    free(list->items);
    *list = (struct nj_divergences){0};
}

int nj_divergence_add(struct nj_divergences *list, uint64_t place, uint64_t step,
                      enum nj_divergence_kind kind, const char *where, const char *what,
                      struct nj_error *err)
{
    struct nj_divergence *item;

    if (list->n_items == list->cap_items && list->n_items < NJ_DIVERGENCES_KEPT_MAX) {
        size_t cap = list->cap_items ? list->cap_items * 2 : 8;
        struct nj_divergence *grown = reallocarray(list->items, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        list->items = grown;
        list->cap_items = cap;
    }
    if (list->n_items < NJ_DIVERGENCES_KEPT_MAX) {
        item = &list->items[list->n_items];
        *item = (struct nj_divergence){
            .step = step, .kind = kind, .where = strdup(where), .what = strdup(what)};
        if (!item->where || !item->what) {
            free(item->where);
            free(item->what);
            return nj_fail_nomem(err);
        }
        list->n_items++;
    }
    if (list->count == 0 || list->last_place != place)
        list->steps++;
    list->last_place = place;
    list->count++;
    return 0;
}

/* ---- bytes ---- */

/* A few bytes around @at, quoted; "..." where something was left out. A cut in the middle of a
 * character would show a sound one as bytes, so the window begins and ends on whole ones where it
 * can. */
static int append_context(struct nj_buf *what, struct nj_span bytes, size_t at,
                          struct nj_error *err)
{
    size_t from = at > CONTEXT_BEFORE_BYTES ? at - CONTEXT_BEFORE_BYTES : 0;
    size_t to = bytes.len - from > CONTEXT_BYTES ? from + CONTEXT_BYTES : bytes.len;

    while (from < at && (bytes.data[from] & 0xc0) == 0x80)
        from++;
    while (to < bytes.len && to > at + 1 && (bytes.data[to] & 0xc0) == 0x80)
        to--;
    if (from > 0 && nj_buf_text(what, "...", err) < 0)
        return -(int)err->code;
    if (nj_render_quoted(what, (struct nj_span){bytes.data + from, to - from}, err) < 0)
        return -(int)err->code;
    return to < bytes.len ? nj_buf_text(what, "...", err) : 0;
}

static size_t common_bytes(struct nj_span a, struct nj_span b)
{
    size_t least = a.len < b.len ? a.len : b.len;
    size_t at = 0;

    while (at < least && a.data[at] == b.data[at])
        at++;
    return at;
}

static int append_sides(struct nj_buf *what, struct nj_span recorded, struct nj_span now, size_t at,
                        struct nj_error *err)
{
    if (nj_buf_text(what, ": recorded ", err) < 0 || append_context(what, recorded, at, err) < 0 ||
        nj_buf_text(what, ", now ", err) < 0)
        return -(int)err->code;
    return append_context(what, now, at, err);
}

/* @base is the offset of both spans in the whole. Byte numbers count from 1, as a person's editor
 * does. */
static int say_bytes(const char *name, struct nj_span recorded, struct nj_span now, uint64_t base,
                     struct nj_buf *what, struct nj_error *err)
{
    size_t at = common_bytes(recorded, now);
    int r;

    if (at == recorded.len || at == now.len) {
        bool longer = now.len > recorded.len;

        r = nj_buf_printf(what, err,
                          "%s differs at byte %" PRIu64 ": %s ends there, %s goes on with ", name,
                          base + at + 1, longer ? "the recorded one" : "the one now",
                          longer ? "the one now" : "the recorded one");
        if (r == 0)
            r = append_context(what, longer ? now : recorded, at, err);
        return r < 0 ? r : 1;
    }
    r = nj_buf_printf(what, err, "%s differs at byte %" PRIu64, name, base + at + 1);
    if (r == 0)
        r = append_sides(what, recorded, now, at, err);
    return r < 0 ? r : 1;
}

int nj_compare_bytes(const char *name, struct nj_span recorded, struct nj_span now,
                     struct nj_buf *what, struct nj_error *err)
{
    if (nj_span_equal(recorded, now))
        return 0;
    return say_bytes(name, recorded, now, 0, what, err);
}

static bool is_whole(const struct nj_stream *stream)
{
    return stream->bytes == stream->head.len;
}

static int say_length(const char *name, const struct nj_stream *recorded,
                      const struct nj_stream *now, struct nj_buf *what, struct nj_error *err)
{
    int r;

    if (recorded->bytes != now->bytes)
        r = nj_buf_printf(what, err,
                          "%s differs in length: recorded %" PRIu64 " bytes, now %" PRIu64, name,
                          recorded->bytes, now->bytes);
    else
        r = nj_buf_printf(what, err,
                          "%s differs somewhere between byte %zu and byte %" PRIu64
                          ", which the record keeps by digest only",
                          name, recorded->head.len + 1, recorded->bytes - recorded->tail.len);
    return r < 0 ? r : 1;
}

int nj_compare_stream(const char *name, const struct nj_stream *recorded,
                      const struct nj_stream *now, struct nj_buf *what, struct nj_error *err)
{
    struct nj_span a = recorded->head;
    struct nj_span b = now->head;

    /* Of two longer streams only as much of the heads as both kept can be compared. */
    if (!is_whole(recorded) || !is_whole(now)) {
        size_t least = a.len < b.len ? a.len : b.len;

        if (common_bytes(a, b) < least)
            return say_bytes(name, a, b, 0, what, err);
        if (!is_whole(recorded) && !is_whole(now))
            a.len = b.len = least;
    }
    if (!nj_span_equal(a, b))
        return say_bytes(name, a, b, 0, what, err);
    if (recorded->bytes != now->bytes)
        return say_length(name, recorded, now, what, err);
    if (recorded->tail.len == now->tail.len && !nj_span_equal(recorded->tail, now->tail))
        return say_bytes(name, recorded->tail, now->tail, recorded->bytes - recorded->tail.len,
                         what, err);
    if (!nj_digest_equal(&recorded->digest, &now->digest))
        return say_length(name, recorded, now, what, err);
    return 0;
}

/* ---- exits ---- */

static const char *unit_of(enum nj_limit limit)
{
    switch (limit) {
#define X(name, value, key, unit)                                                                  \
    case NJ_LIMIT_##name:                                                                          \
        return unit;
        NJ_LIMITS(X)
#undef X
    }
    return "";
}

int nj_describe_exit(const struct nj_call_outcome *outcome, struct nj_buf *out,
                     struct nj_error *err)
{
    int r = 0;

    switch (outcome->exit) {
    case NJ_EXIT_EXITED:
        r = nj_buf_printf(out, err, "exit status %d", outcome->status);
        break;
    case NJ_EXIT_SIGNALLED: {
        const char *name = sigabbrev_np(outcome->status);

        r = nj_buf_printf(out, err, "killed by signal %d (%s)", outcome->status, name ? name : "?");
        break;
    }
    case NJ_EXIT_REFUSED:
        r = nj_buf_text(out, "refused: ", err);
        if (r == 0)
            r = nj_render_line(out, outcome->text, err);
        break;
    }
    if (r == 0 && outcome->limit != NJ_LIMIT_NONE)
        r = nj_buf_printf(out, err, ", at its limit %s of %" PRIu64 " %s",
                          nj_limit_key(outcome->limit), outcome->limit_value,
                          unit_of(outcome->limit));
    return r;
}

int nj_compare_exit(const struct nj_call_outcome *recorded, const struct nj_call_outcome *now,
                    struct nj_buf *what, struct nj_error *err)
{
    if (recorded->exit == now->exit && recorded->status == now->status &&
        recorded->limit == now->limit && recorded->limit_value == now->limit_value &&
        nj_span_equal(recorded->text, now->text))
        return 0;
    if (nj_buf_text(what, "the exit differs: recorded ", err) < 0 ||
        nj_describe_exit(recorded, what, err) < 0 || nj_buf_text(what, ", now ", err) < 0 ||
        nj_describe_exit(now, what, err) < 0)
        return -(int)err->code;
    return 1;
}

/* ---- workspaces ---- */

struct comparison {
    const struct nj_object_source *recorded_source;
    const struct nj_object_source *now_source;
    struct nj_buf *what;
    uint64_t differences;
};

static const char *type_text(enum nj_file_type type)
{
    switch (type) {
    case NJ_FILE_REGULAR:
        return "a file";
    case NJ_FILE_DIRECTORY:
        return "a folder";
    case NJ_FILE_SYMLINK:
        return "a symbolic link";
    case NJ_FILE_HARDLINK:
        return "a hard link";
    case NJ_FILE_FIFO:
        return "a FIFO";
    case NJ_FILE_SOCKET:
        return "a socket";
    }
    return "something else";
}

static int keep_piece(void *ctx, struct nj_span piece, struct nj_error *err)
{
    return nj_buf_append(ctx, piece.data, piece.len, err);
}

static int say_content(struct comparison *comparison, const struct nj_tree_entry *recorded,
                       const struct nj_tree_entry *now, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf a = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf b = {0};
    int r;

    if (recorded->size > FILE_COMPARE_MAX_BYTES || now->size > FILE_COMPARE_MAX_BYTES)
        return nj_buf_printf(comparison->what, err,
                             "its content differs: recorded %" PRIu64 " bytes, now %" PRIu64
                             " bytes",
                             recorded->size, now->size);
    nj_buf_init(&a, FILE_COMPARE_MAX_BYTES);
    nj_buf_init(&b, FILE_COMPARE_MAX_BYTES);
    if (nj_parts_each(comparison->recorded_source, recorded, keep_piece, &a, err) < 0)
        return nj_wrap(err, "recorded content");
    if (nj_parts_each(comparison->now_source, now, keep_piece, &b, err) < 0)
        return nj_wrap(err, "content now");
    r = nj_compare_bytes("its content", nj_buf_span(&a), nj_buf_span(&b), comparison->what, err);
    if (r == 0) /* cut differently into parts: which no box of this build does */
        r = nj_buf_text(comparison->what, "its content is cut into other parts", err);
    return r < 0 ? r : 0;
}

static int say_entry(struct comparison *comparison, const struct nj_tree_entry *recorded,
                     const struct nj_tree_entry *now, struct nj_error *err)
{
    struct nj_buf *what = comparison->what;

    if (!recorded)
        return nj_buf_printf(what, err, "%s that the record does not have", type_text(now->type));
    if (!now)
        return nj_buf_printf(what, err, "missing; the record has %s", type_text(recorded->type));
    if (recorded->type != now->type)
        return nj_buf_printf(what, err, "its type differs: recorded %s, now %s",
                             type_text(recorded->type), type_text(now->type));
    if (recorded->type == NJ_FILE_REGULAR && !nj_digest_equal(&recorded->digest, &now->digest))
        return say_content(comparison, recorded, now, err);
    if (recorded->mode != now->mode)
        return nj_buf_printf(what, err, "its mode differs: recorded %04o, now %04o", recorded->mode,
                             now->mode);
    if (!nj_span_equal(recorded->target, now->target)) {
        if (nj_buf_text(what, "its target differs: recorded ", err) < 0 ||
            nj_render_quoted(what, recorded->target, err) < 0 ||
            nj_buf_text(what, ", now ", err) < 0)
            return -(int)err->code;
        return nj_render_quoted(what, now->target, err);
    }
    if (recorded->type == NJ_FILE_REGULAR && recorded->has_parts)
        return nj_buf_text(what, "its content is cut into other parts", err);
    return nj_buf_text(what, "its extended attributes differ", err);
}

static int on_difference(void *ctx, const char *path, const struct nj_tree_entry *recorded,
                         const struct nj_tree_entry *now, struct nj_error *err)
{
    struct comparison *comparison = ctx;

    if (comparison->differences++ > 0)
        return 0;
    if (nj_buf_text(comparison->what, "the workspace differs at /", err) < 0 ||
        nj_render_name(comparison->what, nj_span_text(path), err) < 0 ||
        nj_buf_text(comparison->what, ": ", err) < 0)
        return -(int)err->code;
    return say_entry(comparison, recorded, now, err);
}

int nj_compare_trees(const struct nj_object_source *recorded_source,
                     const struct nj_digest *recorded, const struct nj_object_source *now_source,
                     const struct nj_digest *now, struct nj_buf *what, struct nj_error *err)
{
    struct comparison comparison = {
        .recorded_source = recorded_source, .now_source = now_source, .what = what};

    if (nj_digest_equal(recorded, now))
        return 0;
    if (nj_tree_diff(recorded_source, recorded, now_source, now, on_difference, &comparison, err) <
        0)
        return nj_wrap(err, "compare workspaces");
    if (comparison.differences == 0)
        return nj_buf_text(what, "the workspace's digest differs", err) < 0 ? -(int)err->code : 1;
    if (comparison.differences > 1 &&
        nj_buf_printf(what, err, " (and %" PRIu64 " more paths)", comparison.differences - 1) < 0)
        return -(int)err->code;
    return 1;
}

/* ---- snapshots ---- */

static int say_field(struct nj_buf *what, size_t start, const char *name, struct nj_error *err)
{
    return nj_buf_printf(what, err, "%s%s", what->len > start ? ", " : "", name);
}

int nj_compare_snapshots(const struct nj_snapshot *recorded, const struct nj_snapshot *now,
                         struct nj_buf *what, struct nj_error *err)
{
    const struct {
        const char *name;
        bool differs;
    } fields[] = {
        {"sequence", recorded->sequence != now->sequence},
        {"state", recorded->state != now->state},
        {"turn", recorded->turn != now->turn},
        {"steps", recorded->steps != now->steps},
        {"calls_done", recorded->calls_done != now->calls_done},
        {"judge_rounds", recorded->judge_rounds != now->judge_rounds},
        {"attempts_failed", recorded->attempts_failed != now->attempts_failed},
        {"items", recorded->items != now->items},
        {"conversation", !nj_digest_equal(&recorded->conversation, &now->conversation)},
        {"tree", !nj_digest_equal(&recorded->workspace.tree, &now->workspace.tree)},
        {"stamps", !nj_digest_equal(&recorded->workspace.stamps, &now->workspace.stamps)},
        {"usage", memcmp(&recorded->usage, &now->usage, sizeof(now->usage)) != 0},
        {"cost", recorded->cost_micro_usd != now->cost_micro_usd},
        {"tool_time", recorded->tool_time_ms != now->tool_time_ms},
        {"time", recorded->time_ns != now->time_ns},
        {"clock", recorded->clock_ns > 0 && recorded->clock_ns != now->clock_ns},
        {"seed",
         recorded->clock_ns > 0 && memcmp(recorded->seed, now->seed, sizeof(now->seed)) != 0},
        {"config", !nj_digest_equal(&recorded->config, &now->config)},
        {"status", recorded->status != now->status},
        {"error_kind", !nj_span_equal(recorded->error_kind, now->error_kind)},
        {"error_text", !nj_span_equal(recorded->error_text, now->error_text)},
        {"unknown keys", recorded->n_unknown != now->n_unknown},
    };
    size_t before = what->len;
    size_t start;

    if (nj_buf_text(what, "the snapshot does not fit the events before it: ", err) < 0)
        return -(int)err->code;
    start = what->len;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].differs && say_field(what, start, fields[i].name, err) < 0)
            return -(int)err->code;
    if (what->len > start)
        return 1;
    what->len = before;
    if (what->data)
        what->data[before] = '\0';
    return 0;
}
