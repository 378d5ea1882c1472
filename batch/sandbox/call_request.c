/*
 * call_request.c - what a call runs, written where its payload finds it without allocating
 */
#include "batch/sandbox/call_inside.h"

#include "formats/base/banned.h"

struct filler {
    struct nj_init_share *share;
    size_t used;
    bool full;
};

static uint32_t fill_text(struct filler *f, const char *text)
{
    size_t len = strlen(text) + 1;
    uint32_t at = (uint32_t)f->used;

    if (len > sizeof(f->share->text) - f->used) {
        f->full = true;
        return 0;
    }
    memcpy(f->share->text + f->used, text, len);
    f->used += len;
    return at;
}

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");

    return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* fill_env - the fixed environment, each variable unless the call brings its own, then the call's
 */
static void fill_env(struct filler *f, const struct nj_box_plan *plan,
                     const struct nj_box_call *request)
{
    const char *home = plan->n_writable_paths > 0 ? plan->writable_paths[0] : "/";
    char home_text[NJ_BOX_PATH_MAX_BYTES + 8];
    const char *fixed[9];
    size_t n = 0;

    (void)snprintf(home_text, sizeof(home_text), "HOME=%s", home); /* fits: the plan was checked */
    fixed[n++] = "PATH=" NJ_BOX_PATH_VARIABLE;
    fixed[n++] = home_text;
    fixed[n++] = "LANG=C.UTF-8";
    fixed[n++] = "TZ=UTC";
    fixed[n++] = "USER=" NJ_BOX_USER;
    fixed[n++] = "LOGNAME=" NJ_BOX_USER;
    fixed[n++] = "SHELL=/bin/bash";
    for (size_t i = 0; i < plan->n_writable_paths; i++) {
        if (strcmp(plan->writable_paths[i], "/tmp") == 0)
            fixed[n++] = "TMPDIR=/tmp";
    }
    /* One after the other they would come anyway: so its pool need not be kept in order. */
    if (plan->level == NJ_LEVEL_MAX)
        fixed[n++] = "UV_THREADPOOL_SIZE=1";
    f->share->n_env = 0;
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;

        for (size_t j = 0; request->env && request->env[j]; j++)
            replaced |= same_name(fixed[i], request->env[j]);
        if (!replaced)
            f->share->env_at[f->share->n_env++] = fill_text(f, fixed[i]);
    }
    for (size_t j = 0; request->env && request->env[j]; j++)
        f->share->env_at[f->share->n_env++] = fill_text(f, request->env[j]);
}

int nj_running_fill(struct nj_running *call, struct nj_error *err)
{
    struct nj_init_share *share = call->supervisor->share;
    const struct nj_box_plan *plan = call->supervisor->setup->plan;
    const struct nj_box_call *request = call->request;
    struct filler f = {.share = share, .used = 1}; /* offset 0 means none */

    share->n_args = 0;
    for (size_t i = 0; request->argv[i]; i++)
        share->args_at[share->n_args++] = fill_text(&f, request->argv[i]);
    fill_env(&f, plan, request);
    share->cwd_at = fill_text(&f, request->cwd                 ? request->cwd
                                  : plan->n_writable_paths > 0 ? plan->writable_paths[0]
                                                               : "/");
    share->script_at = request->script_name ? fill_text(&f, request->script_name) : 0;
    share->number++;
    share->stage = NJ_INIT_NONE;
    share->sys_errno = 0;
    share->op = 0;
    share->ended = 0;
    share->status = 0;
    share->cpu_us = 0;
    share->max_rss_kb = 0;
    if (f.full)
        return nj_fail(err, NJ_E_LIMIT, "call: arguments and environment are too long");
    return 0;
}
