/*
 * verify_tell.c - what verify says of one record
 */
#include <inttypes.h>

#include "replay/render.h"
#include "replay/verify.h"

#include "formats/base/banned.h"

#define LEVELS_SHOWN 5 /* lowered steps, unless all are asked for */

static bool declares_reproduction(const struct nj_verified *verified)
{
    return verified->level[0] == 'D' && verified->level[1] > '0';
}

static int say_work(const struct nj_verified *verified, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_recorded_result *result = verified->result;

    if (nj_buf_printf(out, err,
                      "%" PRIu64 " step%s: %" PRIu64 " repl%s from the record, %" PRIu64
                      " call%s and %" PRIu64 " check%s run again",
                      result->steps, nj_plural(result->steps), result->replies,
                      result->replies == 1 ? "y" : "ies", result->calls, nj_plural(result->calls),
                      result->checks, nj_plural(result->checks)) < 0)
        return -(int)err->code;
    if (result->refusals > 0 &&
        nj_buf_printf(out, err, ", %" PRIu64 " refused as before", result->refusals) < 0)
        return -(int)err->code;
    if (result->unjudged > 0 &&
        nj_buf_printf(out, err, ", %" PRIu64 " not judged (their sandbox was lost when recorded)",
                      result->unjudged) < 0)
        return -(int)err->code;
    if (!result->closed &&
        nj_buf_text(out, ", to its last commit (the session has not ended)", err) < 0)
        return -(int)err->code;
    if (nj_buf_text(out, ", in ", err) < 0)
        return -(int)err->code;
    return nj_render_duration(out, verified->duration_ms, err);
}

/* The first place that differs, with all that differs there; the others by number, or in full. */
static int say_differences(const struct nj_verified *verified, bool all, struct nj_buf *out,
                           struct nj_error *err)
{
    const struct nj_divergences *list = &verified->result->divergences;
    uint64_t more = list->steps > 0 ? list->steps - 1 : 0;
    const char *first = list->items[0].where;

    for (size_t i = 0; i < list->n_items; i++) {
        const struct nj_divergence *item = &list->items[i];

        if (!all && strcmp(item->where, first) != 0)
            break;
        if (nj_buf_printf(out, err, "  %s: %s\n", item->where, item->what) < 0)
            return -(int)err->code;
    }
    if (all && list->count > list->n_items)
        return nj_buf_printf(out, err, "  and %" PRIu64 " more differences\n",
                             list->count - list->n_items);
    if (!all && more > 0)
        return nj_buf_printf(out, err,
                             "  and %" PRIu64 " more step%s differ%s (--all names them)\n", more,
                             nj_plural(more), more == 1 ? "s" : "");
    return 0;
}

/* What the calls reached, and each that the layer was applied to and did not follow. */
static int say_levels(const struct nj_verified *verified, bool all, struct nj_buf *out,
                      struct nj_error *err)
{
    const struct nj_recorded_levels *levels = &verified->result->levels;
    size_t shown = 0;

    if (levels->count == 0 || levels->lowest_applied == 0)
        return 0;
    if (nj_buf_printf(out, err, "  level: %s declared, D%u reached when recorded, D%u here\n",
                      verified->level, levels->lowest_then, levels->lowest_now) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < levels->n_items && (all || shown < LEVELS_SHOWN); i++) {
        const struct nj_recorded_level *level = &levels->items[i];

        if (level->then == level->applied && level->now == level->applied)
            continue;
        shown++;
        if (nj_buf_printf(
                out, err, "    step %" PRIu64 "%s: D%u when recorded%s%s%s, D%u here%s%s%s\n",
                level->step, level->check ? " (the check behind it)" : "", level->then,
                level->lowered_then ? " (" : "", nj_lowered_text(level->lowered_then),
                level->lowered_then ? ")" : "", level->now, level->lowered_now ? " (" : "",
                nj_lowered_text(level->lowered_now), level->lowered_now ? ")" : "") < 0)
            return -(int)err->code;
    }
    return 0;
}

static int say_notes(const struct nj_verified *verified, struct nj_buf *out, struct nj_error *err)
{
    struct nj_span rest = nj_buf_span(&verified->result->environment);

    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.data) : rest.len;

        if (nj_buf_printf(out, err, "  environment: %.*s\n", (int)len, (const char *)rest.data) < 0)
            return -(int)err->code;
        rest = (struct nj_span){rest.data + len + (end != NULL), rest.len - len - (end != NULL)};
    }
    if (verified->verdict == NJ_VERDICT_EQUAL)
        return 0;
    if (verified->host[0] && nj_buf_printf(out, err, "  host: %s\n", verified->host) < 0)
        return -(int)err->code;
    if (declares_reproduction(verified) && verified->result->levels.lowest_applied == 0)
        return nj_buf_printf(out, err,
                             "  note: level %s is declared, but the session ran without the "
                             "reproducible layer: a step that depends on time or chance differs\n",
                             verified->level);
    return 0;
}

int nj_verified_text(const struct nj_verified *verified, bool all, struct nj_buf *out,
                     struct nj_error *err)
{
    if (nj_render_line(out, nj_span_text(verified->name), err) < 0 ||
        nj_buf_printf(out, err, ": %s", nj_verdict_text(verified->verdict)) < 0)
        return -(int)err->code;
    if (verified->verdict == NJ_VERDICT_STOPPED)
        return nj_buf_text(out, "\n", err);
    if (verified->verdict == NJ_VERDICT_FAILED) {
        if (nj_buf_text(out, ": ", err) < 0 ||
            nj_render_line(out, nj_span_text(verified->error.text), err) < 0)
            return -(int)err->code;
        return nj_buf_text(out, "\n", err);
    }
    if (nj_buf_text(out, ": ", err) < 0 || say_work(verified, out, err) < 0 ||
        nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    if (verified->result->divergences.count > 0 && say_differences(verified, all, out, err) < 0)
        return -(int)err->code;
    if (verified->result->likely[0] &&
        nj_buf_printf(out, err, "  likely source of the first: %s\n", verified->result->likely) < 0)
        return -(int)err->code;
    if (say_levels(verified, all, out, err) < 0)
        return -(int)err->code;
    return say_notes(verified, out, err);
}

/* ---- JSON ---- */

static bool set_number(json_t *object, const char *key, uint64_t value)
{
    return nj_json_set(object, key,
                       json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

static bool set_text(json_t *object, const char *key, const char *text)
{
    return nj_json_set(object, key, nj_json_text(nj_span_text(text)));
}

static json_t *differences_json(const struct nj_divergences *list)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < list->n_items; i++) {
        const struct nj_divergence *item = &list->items[i];
        json_t *object = json_object();

        if (!set_number(object, "step", item->step) ||
            !set_text(object, "kind", nj_divergence_kind_text(item->kind)) ||
            !set_text(object, "where", item->where) || !set_text(object, "what", item->what) ||
            json_array_append_new(array, object) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static bool set_level(json_t *object, const char *key, unsigned level)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "D%u", level);
    return set_text(object, key, text);
}

/* The calls that the layer was applied to, one by one; what was not lowered says so by "". */
static json_t *levels_json(const struct nj_recorded_levels *levels)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < levels->n_items; i++) {
        const struct nj_recorded_level *level = &levels->items[i];
        json_t *object;

        if (level->applied == 0)
            continue;
        object = json_object();
        if (!set_number(object, "step", level->step) ||
            !set_number(object, "check", level->check) ||
            !set_level(object, "applied", level->applied) ||
            !set_level(object, "recorded", level->then) ||
            !set_text(object, "recorded_lowered", nj_lowered_text(level->lowered_then)) ||
            !set_level(object, "reached", level->now) ||
            !set_text(object, "reached_lowered", nj_lowered_text(level->lowered_now)) ||
            json_array_append_new(array, object) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static bool add_result(json_t *object, const struct nj_verified *verified)
{
    const struct nj_recorded_result *result = verified->result;

    return set_number(object, "steps", result->steps) &&
           set_number(object, "replies", result->replies) &&
           set_number(object, "calls_run", result->calls) &&
           set_number(object, "checks_run", result->checks) &&
           set_number(object, "refusals", result->refusals) &&
           set_number(object, "unjudged", result->unjudged) &&
           set_number(object, "snapshots", result->snapshots) &&
           nj_json_set(object, "closed", json_boolean(result->closed)) &&
           set_level(object, "level_recorded", result->levels.lowest_then) &&
           set_level(object, "level_reached", result->levels.lowest_now) &&
           nj_json_set(object, "levels", levels_json(&result->levels)) &&
           set_number(object, "differences_count", result->divergences.count) &&
           set_number(object, "steps_differ", result->divergences.steps) &&
           set_text(object, "likely_source", result->likely) &&
           nj_json_set(object, "differences", differences_json(&result->divergences)) &&
           nj_json_set(object, "environment", nj_json_text(nj_buf_span(&result->environment)));
}

static json_t *verified_json(const struct nj_verified *verified)
{
    json_t *object = json_object();
    bool ok;

    ok = set_text(object, "record", verified->name) &&
         set_text(object, "verdict", nj_verdict_text(verified->verdict)) &&
         set_number(object, "duration_ms", verified->duration_ms) &&
         set_text(object, "level_declared", verified->level) &&
         set_text(object, "host", verified->host);
    if (ok && verified->info)
        ok =
            set_text(object, "key", verified->info->key) &&
            nj_json_set(object, "content_digest", nj_json_digest(&verified->info->digests.content));
    if (ok && verified->result)
        ok = add_result(object, verified);
    if (ok && verified->verdict == NJ_VERDICT_FAILED)
        ok = set_text(object, "error", verified->error.text) &&
             set_text(object, "error_code", nj_error_code_text(verified->error.code));
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

int nj_verified_json(const struct nj_verified *verified, struct nj_buf *out, struct nj_error *err)
{
    return nj_json_line(out, verified_json(verified), err);
}
