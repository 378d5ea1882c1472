/*
 * recorded_judge.c - a call that ran again beside the record: what differs, and where from
 *
 * The one complication is the order of asking: what a call left is compared while its objects are
 * still kept, and likely sources last, since what is known of programs and levels goes before
 * looks.
 */
#include <inttypes.h>

#include "batch/sandbox/instructions.h"
#include "replay/likely.h"
#include "replay/recorded_inside.h"
#include "replay/render.h"

#include "formats/base/banned.h"

/* ---- what is said ---- */

static int say_where(struct nj_recorded *recorded, struct nj_error *err)
{
    const struct nj_event *event = &recorded->event;
    struct nj_buf *where = &recorded->where;
    uint64_t step = recorded->result.steps;

    nj_buf_clear(where);
    switch (event->kind) {
    case NJ_EVENT_OPENED:
        return nj_buf_text(where, "the start of the session", err);
    case NJ_EVENT_REPLY:
        return nj_buf_printf(where, err, "step %" PRIu64 " (the reply of turn %" PRIu64 ")", step,
                             event->reply.turn);
    case NJ_EVENT_TOOL_DONE:
        return nj_buf_printf(where, err, "step %" PRIu64 " (call %" PRIu64 " of turn %" PRIu64 ")",
                             step, event->tool_done.call + 1, event->tool_done.turn);
    case NJ_EVENT_JUDGED:
        return nj_buf_printf(where, err, "step %" PRIu64 " (check %" PRIu64 ")", step,
                             event->judged.round);
    case NJ_EVENT_NO_REPLY:
        return nj_buf_printf(where, err, "after step %" PRIu64 " (no reply in turn %" PRIu64 ")",
                             step, event->no_reply.turn);
    case NJ_EVENT_CLOSED:
        return nj_buf_text(where, "the end of the session", err);
    case NJ_EVENT_ATTEMPT:
    case NJ_EVENT_BOX:
    case NJ_EVENT_SUSPENDED:
    case NJ_EVENT_RESUMED:
    case NJ_EVENT_SNAPSHOTTED:
        break;
    }
    return nj_buf_printf(where, err, "after step %" PRIu64, step);
}

int nj_recorded_diverged(struct nj_recorded *recorded, enum nj_divergence_kind kind,
                         struct nj_error *err)
{
    if (say_where(recorded, err) < 0)
        return -(int)err->code;
    return nj_divergence_add(&recorded->result.divergences, recorded->sequence,
                             recorded->result.steps, kind, (const char *)recorded->where.data,
                             (const char *)recorded->what.data, err);
}

/* ---- a call ---- */

const struct nj_call_meta *nj_recorded_meta(const struct nj_recorded *recorded)
{
    return recorded->judging ? &recorded->event.judged.meta : &recorded->event.tool_done.meta;
}

const struct nj_call_outcome *nj_recorded_outcome(const struct nj_recorded *recorded)
{
    return recorded->judging ? &recorded->event.judged.outcome : &recorded->event.tool_done.outcome;
}

int nj_recorded_note(struct nj_recorded *recorded, int differs, enum nj_divergence_kind kind,
                     struct nj_error *err)
{
    int r = differs;

    if (differs == 1)
        r = nj_recorded_diverged(recorded, kind, err);
    nj_buf_clear(&recorded->what);
    return r;
}

int nj_recorded_compare(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                        struct nj_error *err)
{
    const struct nj_call_outcome *then = nj_recorded_outcome(recorded);
    struct nj_object_source source_then = nj_record_objects(recorded->record);
    struct nj_object_source source_now = nj_recorded_source_now(recorded);
    struct nj_buf *what = &recorded->what;
    int r;

    nj_buf_clear(what);
    r = nj_recorded_note(recorded, nj_compare_exit(then, now, what, err), NJ_DIVERGENCE_EXIT, err);
    if (r == 0)
        r = nj_recorded_note(recorded,
                             nj_compare_stream("standard output", &then->out, &now->out, what, err),
                             NJ_DIVERGENCE_STDOUT, err);
    if (r == 0)
        r = nj_recorded_note(
            recorded, nj_compare_stream("standard error", &then->errors, &now->errors, what, err),
            NJ_DIVERGENCE_STDERR, err);
    if (r == 0)
        r = nj_recorded_note(
            recorded,
            nj_compare_trees(&source_then, &then->tree, &source_now, &now->tree, what, err),
            NJ_DIVERGENCE_WORKSPACE, err);
    return r;
}

/* Did standard output and error take turns as they did? Known where both reached D3; where one
 * stream differs by itself that is said already. */
static int note_order(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                      const struct nj_call_meta *meta, struct nj_error *err)
{
    const struct nj_call_outcome *then = nj_recorded_outcome(recorded);
    const struct nj_call_meta *meta_then = nj_recorded_meta(recorded);

    if (!meta_then->has_order || !meta->has_order ||
        nj_digest_equal(&meta_then->order, &meta->order) ||
        !nj_digest_equal(&then->out.digest, &now->out.digest) ||
        !nj_digest_equal(&then->errors.digest, &now->errors.digest))
        return 0;
    if (nj_buf_text(&recorded->what,
                    "standard output and standard error hold the same, but took turns in writing "
                    "otherwise",
                    err) < 0)
        return -(int)err->code;
    return nj_recorded_note(recorded, 1, NJ_DIVERGENCE_ORDER, err);
}

/* Were the interpreters of this step the same programs? Told once each. */
static int note_program(struct nj_recorded *recorded, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    struct nj_buf *all = &recorded->result.environment;
    const char *name = recorded->call.box.argv[0];
    int r;

    if (recorded->seat.session->config->rootfs)
        return 0; /* they came from the image, which has been compared */
    if (recorded->hall->digested &&
        nj_environment_digest(recorded->hall->here, name, recorded->hall->digested, err) < 0)
        return -(int)err->code;
    nj_buf_init(&line, NJ_DIVERGENCE_TEXT_MAX_BYTES);
    r = nj_environment_compare_program(&recorded->then, recorded->hall->here, name, &line, err);
    if (r <= 0)
        return r;
    if (all->len && strstr((const char *)all->data, (const char *)line.data))
        return 0;
    r = nj_buf_append(all, line.data, line.len, err);
    return r < 0 ? r : nj_buf_text(all, "\n", err);
}

/* Were the files that ran the same ones? */
static int note_files(struct nj_recorded *recorded, const struct nj_call_meta *meta,
                      struct nj_error *err)
{
    struct nj_object_source now = nj_recorded_source_now(recorded);

    if (!meta->has_ran || !recorded->hall->digested)
        return 0;
    return nj_ran_compare(recorded->hall->digested, &now, &meta->ran, &recorded->then,
                          &recorded->result.environment, err);
}

/* How far the step could be reproduced, then and now. */
static int note_level(struct nj_recorded *recorded, const struct nj_call_meta *now,
                      struct nj_error *err)
{
    const struct nj_call_meta *then = nj_recorded_meta(recorded);
    struct nj_recorded_levels *levels = &recorded->result.levels;
    struct nj_recorded_level level = {
        .step = recorded->result.steps,
        .check = recorded->judging ? recorded->event.judged.round : 0,
        .applied = then->applied,
        .then = then->level,
        .now = now->level,
        .lowered_then = then->lowered,
        .lowered_now = now->lowered,
    };

    if (levels->count == 0 || level.applied < levels->lowest_applied)
        levels->lowest_applied = level.applied;
    if (levels->count == 0 || level.then < levels->lowest_then)
        levels->lowest_then = level.then;
    if (levels->count == 0 || level.now < levels->lowest_now)
        levels->lowest_now = level.now;
    levels->count++;
    if (levels->n_items == NJ_RECORDED_LEVELS_MAX)
        return 0;
    if (levels->n_items == levels->cap_items) {
        size_t cap = levels->cap_items ? 2 * levels->cap_items : 16;
        struct nj_recorded_level *grown = reallocarray(levels->items, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        levels->items = grown;
        levels->cap_items = cap;
    }
    levels->items[levels->n_items++] = level;
    return 0;
}

/* note_figures - a program opened files in which the kernel tells figures of its own */
static void note_figures(struct nj_recorded *recorded, uint32_t figures)
{
    char *likely = recorded->result.likely, names[NJ_FIGURES_TEXT_BYTES];
    size_t len = strlen(likely), size = sizeof(recorded->result.likely) - len;

    nj_figures_text(figures, names);
    if (names[0])
        (void)snprintf(likely + len, size,
                       "; a program opened in /proc/PID, where figures are the kernel's: %s",
                       names);
    else if (figures & NJ_FIGURE_UNHEARD)
        (void)snprintf(
            likely + len, size,
            "; whether a program opened in /proc/PID what is the kernel's was not heard");
}

/* note_hint - what the files that ran add to it */
static void note_hint(struct nj_recorded *recorded, const struct nj_call_meta *then,
                      const struct nj_call_meta *now, enum nj_likely source)
{
    struct nj_object_source source_then = nj_record_objects(recorded->record);
    struct nj_object_source source_now = nj_recorded_source_now(recorded);
    unsigned holds = source == NJ_LIKELY_RANDOMNESS ? NJ_HOLDS_RDRAND | NJ_HOLDS_RDSEED
                     : source == NJ_LIKELY_TIME     ? NJ_HOLDS_RDTSC
                                                    : 0;
    char *likely = recorded->result.likely;
    size_t len = strlen(likely), size = sizeof(recorded->result.likely) - len;
    char path[200];
    bool of_then;

    if (then->has_ran && nj_ran_stranger(&source_then, &then->ran, &source_now, &now->ran, path,
                                         sizeof(path), &of_then))
        (void)snprintf(likely + len, size, "; %s ran only %s", path,
                       of_then ? "when recorded" : "here");
    else if (holds && nj_ran_holder(recorded->hall->digested, &source_now, &now->ran, holds, path,
                                    sizeof(path)))
        (void)snprintf(likely + len, size, "; %s ran and may use %s, which is not virtual", path,
                       holds & NJ_HOLDS_RDTSC ? "rdtsc" : "rdrand");
}

/* Where the first difference of a call probably comes from: what is known first, then its looks. */
static void note_likely(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                        const struct nj_call_meta *meta)
{
    const struct nj_call_outcome *then = nj_recorded_outcome(recorded);
    const struct nj_call_meta *meta_then = nj_recorded_meta(recorded);
    enum nj_lowered lowered = meta_then->lowered ? meta_then->lowered : meta->lowered;
    const char *text = nj_likely_text(NJ_LIKELY_UNKNOWN);
    enum nj_likely source = NJ_LIKELY_UNKNOWN;
    char *likely = recorded->result.likely;
    size_t size = sizeof(recorded->result.likely);

    if (recorded->result.environment.len > 0)
        text = "environment: a program that it used is another one here";
    else if (!nj_digest_equal(&then->out.digest, &now->out.digest))
        text = nj_likely_text(source = nj_likely_source(then->out.head, now->out.head));
    else if (!nj_digest_equal(&then->errors.digest, &now->errors.digest))
        text = nj_likely_text(source = nj_likely_source(then->errors.head, now->errors.head));
    else if (!nj_digest_equal(&then->tree, &now->tree))
        text = "files: what it wrote differs, not what it said";
    else if (meta_then->has_order && meta->has_order &&
             !nj_digest_equal(&meta_then->order, &meta->order))
        text = "order: who wrote first";
    if (recorded->result.environment.len == 0 && meta_then->applied > 0 && lowered)
        (void)snprintf(likely, size, "%s (its level was lowered: %s)", text,
                       nj_lowered_text(lowered));
    else
        (void)snprintf(likely, size, "%s", text);
    if (recorded->result.environment.len == 0)
        note_figures(recorded, meta_then->figures | meta->figures);
    if (recorded->result.environment.len == 0 && !lowered && meta->has_ran &&
        recorded->hall->digested)
        note_hint(recorded, meta_then, meta, source);
}

int nj_recorded_judge(struct nj_recorded *recorded, const struct nj_call_outcome *now,
                      const struct nj_call_meta *meta, struct nj_error *err)
{
    uint64_t before = recorded->result.divergences.count;

    if (nj_recorded_compare(recorded, now, err) < 0 || note_order(recorded, now, meta, err) < 0 ||
        note_level(recorded, meta, err) < 0 || note_program(recorded, err) < 0 ||
        note_files(recorded, meta, err) < 0)
        return -(int)err->code;
    if (recorded->result.divergences.count > before && !recorded->result.likely[0])
        note_likely(recorded, now, meta);
    return 0;
}
