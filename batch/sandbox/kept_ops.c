/*
 * kept_ops.c - plans spelled out, and whether they still hold
 */
#include "batch/sandbox/kept_ops.h"

#include <sys/stat.h>

#include "batch/sandbox/protocol.h"

#include "formats/base/banned.h"

/* A directory that has not changed for so long tells its next change. */
#define SETTLED_NS 1000000000

static const char *const dirs[NJ_KEPT_OPS_DIRS] = {"/", "/etc", "/etc/ssl"};

/* look - when each directory changed last; false: one of them changes just now, or the clock was
 * set back behind that. One that is missing changes when its parent does. */
static bool look(struct timespec changed[NJ_KEPT_OPS_DIRS])
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < NJ_KEPT_OPS_DIRS; i++) {
        struct stat st;
        int64_t age_ns;

        changed[i] = (struct timespec){0, 0};
        if (stat(dirs[i], &st) < 0)
            continue;
        changed[i] = st.st_ctim;
        age_ns = (int64_t)(now.tv_sec - st.st_ctim.tv_sec) * 1000000000 + now.tv_nsec -
                 st.st_ctim.tv_nsec;
        if (age_ns < SETTLED_NS)
            return false;
    }
    return true;
}

static void let_go(struct nj_kept_plan *plan)
{
    nj_buf_done(&plan->key);
    nj_arena_done(&plan->arena);
    *plan = (struct nj_kept_plan){0};
}

/* are_there - entries of /etc may be links, and what they lead to goes without a change of /etc */
static bool are_there(const struct nj_ops *ops)
{
    for (size_t i = 0; i < ops->n_open; i++) {
        const struct nj_op *op = &ops->open[i];

        if (op->kind == NJ_OP_BIND && strncmp(op->source, "/etc/", 5) == 0 &&
            access(op->source, F_OK) < 0)
            return false;
    }
    return true;
}

static bool holds(const struct nj_kept_plan *plan, struct nj_span key,
                  const struct timespec changed[NJ_KEPT_OPS_DIRS])
{
    if (plan->key.len == 0 || !nj_span_equal(nj_buf_span(&plan->key), key))
        return false;
    for (size_t i = 0; i < NJ_KEPT_OPS_DIRS; i++) {
        if (plan->changed[i].tv_sec != changed[i].tv_sec ||
            plan->changed[i].tv_nsec != changed[i].tv_nsec)
            return false;
    }
    return are_there(&plan->ops);
}

/* build - into @plan, of a copy of the plan: operations point into it */
static int build(struct nj_kept_plan *plan, const char *store, struct nj_error *err)
{
    struct nj_msg msg;
    int r;

    r = nj_msg_decode(nj_buf_span(&plan->key), &plan->arena, &msg, err);
    return r < 0 ? r : nj_ops_build(&msg.open.plan, store, &plan->arena, &plan->ops, err);
}

int nj_kept_ops_get(struct nj_kept_ops *kept, const struct nj_box_plan *plan, const char *store,
                    const struct nj_ops **ret_ops, struct nj_error *err)
{
    const struct nj_msg msg = {.kind = NJ_MSG_OPEN, .open = {.box = 1, .plan = *plan}};
    struct timespec changed[NJ_KEPT_OPS_DIRS];
    NJ_AUTO(nj_buf_done) struct nj_buf key = {0};
    struct nj_kept_plan *chosen;
    bool settled = look(changed); /* before what is looked at */
    int r;

    nj_buf_init(&key, NJ_MSG_MAX_BYTES);
    r = nj_msg_encode(&msg, &key, err);
    if (r < 0)
        return r;
    for (size_t i = 0; settled && i < NJ_KEPT_OPS_PLANS; i++) {
        if (holds(&kept->plans[i], nj_buf_span(&key), changed)) {
            *ret_ops = &kept->plans[i].ops;
            return 0;
        }
    }
    chosen = &kept->plans[kept->next];
    kept->next = (kept->next + 1) % NJ_KEPT_OPS_PLANS;
    let_go(chosen);
    chosen->key = key;
    key = (struct nj_buf){0};
    r = build(chosen, store, err);
    if (r < 0) {
        let_go(chosen);
        return r;
    }
    memcpy(chosen->changed, changed, sizeof(changed));
    if (!settled)
        nj_buf_clear(&chosen->key); /* good for this box alone */
    *ret_ops = &chosen->ops;
    return 0;
}

void nj_kept_ops_done(struct nj_kept_ops *kept)
{
    for (size_t i = 0; i < NJ_KEPT_OPS_PLANS; i++)
        let_go(&kept->plans[i]);
}
