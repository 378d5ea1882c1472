/*
 * plan_items.c - a group's items become sessions
 *
 * The complication: a matrix is crossed here, the last axis fastest, and may be large where its
 * lists are not; so each combination is made, judged by `where` and dropped or kept before the next
 * one is made.
 */
#include "batch/plan/plan_inside.h"

#include "formats/base/banned.h"

struct crossing {
    struct nj_planning *planning;
    size_t group;
    const struct nj_session_config *config;
    struct nj_items lists[NJ_MANIFEST_AXES_MAX];
    size_t order[NJ_MANIFEST_AXES_MAX]; /* of the axes by name */
    size_t at[NJ_MANIFEST_AXES_MAX];
    size_t axis; /* being read, for faults */
    struct nj_where *where;
    size_t items; /* combinations seen */
    size_t kept;
    struct nj_buf json;
};

static int on_fault(void *ctx, const struct nj_error *fault)
{
    struct crossing *crossing = ctx;
    const struct nj_manifest_group *group = &crossing->planning->manifest->groups[crossing->group];

    return nj_planning_fault(crossing->planning, group->axes[crossing->axis].text_mark, fault,
                             "sessions[%zu].%s", crossing->group,
                             group->for_each == NJ_FOR_EACH_MATRIX ? "matrix" : "for_each");
}

static const char *const kinds[] = {"", "glob", "lines", "csv", "values", ""};

/* One axis; *ret_whole false when a fault of the list itself was found. */
static int read_axis(struct crossing *crossing, size_t at, bool *ret_whole, struct nj_error *err)
{
    struct nj_planning *planning = crossing->planning;
    const struct nj_manifest_group *group = &planning->manifest->groups[crossing->group];
    const struct nj_manifest_axis *axis = &group->axes[at];
    size_t faults = planning->faults->count + planning->faults->dropped;
    int r;

    crossing->axis = at;
    r = nj_items_read(planning->sources, axis, &crossing->lists[at], on_fault, crossing, err);
    if (r == 0 && crossing->lists[at].count == 0 && !group->may_be_empty &&
        planning->faults->count + planning->faults->dropped == faults)
        r = axis->kind == NJ_FOR_EACH_GLOB
                ? nj_fail(err, NJ_E_INPUT, "no file matches %.300s", axis->text)
                : nj_fail(err, NJ_E_INPUT, "%.300s holds no item (may_be_empty: true takes that)",
                          axis->text ? axis->text : "the list");
    if (r < 0 && axis->name)
        r = nj_planning_fault(planning, axis->text_mark, err, "sessions[%zu].matrix.%s.%s",
                              crossing->group, axis->name, kinds[axis->kind]);
    else if (r < 0)
        r = nj_planning_fault(planning, axis->text_mark, err, "sessions[%zu].for_each.%s",
                              crossing->group, kinds[axis->kind]);
    *ret_whole = planning->faults->count + planning->faults->dropped == faults;
    return r;
}

static void order_axes(const struct nj_manifest_group *group, size_t *order)
{
    for (size_t i = 0; i < group->n_axes; i++) {
        size_t at = i;

        for (; at > 0 && group->axes[i].name &&
               strcmp(group->axes[order[at - 1]].name, group->axes[i].name) > 0;
             at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* The item that the crossing stands at: its JSON, borrowed until the next one. */
static int compose(struct crossing *crossing, const char **ret_json, uint32_t *ret_line,
                   struct nj_error *err)
{
    const struct nj_manifest_group *group = &crossing->planning->manifest->groups[crossing->group];

    if (group->for_each != NJ_FOR_EACH_MATRIX) {
        *ret_json = crossing->lists[0].items[crossing->at[0]].json;
        *ret_line = crossing->lists[0].items[crossing->at[0]].line;
        return 0;
    }
    nj_buf_clear(&crossing->json);
    for (size_t i = 0; i < group->n_axes; i++) {
        size_t axis = crossing->order[i];

        if (nj_buf_printf(&crossing->json, err, "%s\"%s\":", i ? "," : "{",
                          group->axes[axis].name) < 0 ||
            nj_buf_text(&crossing->json, crossing->lists[axis].items[crossing->at[axis]].json,
                        err) < 0)
            return -(int)err->code;
    }
    *ret_json = (const char *)crossing->json.data;
    *ret_line = 0;
    return nj_buf_text(&crossing->json, "}", err);
}

/* Moves to the next combination; false behind the last. */
static bool advance(struct crossing *crossing, size_t n_axes)
{
    for (size_t i = n_axes; i > 0; i--) {
        if (++crossing->at[i - 1] < crossing->lists[i - 1].count)
            return true;
        crossing->at[i - 1] = 0;
    }
    return false;
}

static int cross(struct crossing *crossing, struct nj_error *err)
{
    const struct nj_manifest_group *group = &crossing->planning->manifest->groups[crossing->group];
    int r;

    for (size_t i = 0; i < group->n_axes; i++) {
        if (crossing->lists[i].count == 0)
            return 0;
    }
    do {
        const char *json = NULL;
        uint32_t line = 0;

        if (++crossing->items > NJ_ITEMS_MAX)
            return nj_fail(err, NJ_E_INPUT, "more than %d combinations", NJ_ITEMS_MAX);
        r = compose(crossing, &json, &line, err);
        if (r == 0)
            r = nj_where_holds(crossing->where, json, err);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        crossing->kept++;
        r = nj_planning_session(crossing->planning, crossing->group, crossing->config, json, line,
                                err);
        if (r < 0)
            return r;
    } while ((group->first == 0 || crossing->kept < group->first) &&
             advance(crossing, group->n_axes));
    return 0;
}

static int plan_axes(struct crossing *crossing, struct nj_error *err)
{
    struct nj_planning *planning = crossing->planning;
    const struct nj_manifest_group *group = &planning->manifest->groups[crossing->group];
    bool all_whole = true;
    int r = 0;

    for (size_t i = 0; r == 0 && i < group->n_axes; i++) {
        bool whole = false;

        r = read_axis(crossing, i, &whole, err);
        all_whole = all_whole && whole;
    }
    if (r == 0)
        r = nj_where_new(group, &crossing->where, err);
    if (r < 0)
        return r;
    order_axes(group, crossing->order);
    r = cross(crossing, err);
    if (r == 0 && crossing->kept == 0 && crossing->items > 0 && all_whole && !group->may_be_empty)
        r = nj_fail(err, NJ_E_INPUT,
                    "none of %zu items passes where (may_be_empty: true takes that)",
                    crossing->items);
    return r < 0 ? nj_planning_fault(planning, group->for_each_mark, err, "sessions[%zu].%s",
                                     crossing->group, group->n_where > 0 ? "where" : "matrix")
                 : 0;
}

int nj_planning_items(struct nj_planning *planning, size_t at,
                      const struct nj_session_config *config, struct nj_error *err)
{
    struct crossing crossing = {.planning = planning, .group = at, .config = config};
    int r;

    nj_buf_init(&crossing.json, NJ_ITEM_MAX_BYTES);
    r = plan_axes(&crossing, err);
    for (size_t i = 0; i < NJ_MANIFEST_AXES_MAX; i++)
        nj_items_done(&crossing.lists[i]);
    nj_where_free(crossing.where);
    nj_buf_done(&crossing.json);
    return r;
}
