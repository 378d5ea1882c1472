/*
 * policy.c - breakpoints, a schema, notes
 */
#include "batch/model/policy.h"

#include "batch/session/context.h"

#include "formats/base/banned.h"

/* The notes that stand for what is left out, made before the request is: they are borrowed by it
 * until the try ended. */
static struct nj_span note_of(void *ctx, size_t at)
{
    const struct nj_policy *policy = ctx;

    return at < policy->n_noted ? policy->noted[at] : (struct nj_span){0};
}

static int make_notes(struct nj_policy *policy, const struct nj_session *session,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf scratch = {0};

    nj_arena_reset(&policy->notes);
    policy->n_noted = 0;
    if (session->compacted == 0)
        return 0;
    nj_buf_init(&scratch, NJ_MESSAGE_MAX_BYTES);
    policy->noted = nj_arena_array(&policy->notes, session->compacted, sizeof(*policy->noted));
    if (!policy->noted)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < session->compacted; i++) {
        struct nj_span item;

        if (nj_context_item(session, i, &scratch, &item, err) < 0)
            return -(int)err->code;
        if (item.data == (const uint8_t *)session->messages[i].bytes)
            continue; /* as it is: an empty span says so */
        policy->noted[i].data = (const uint8_t *)nj_arena_span(&policy->notes, item);
        policy->noted[i].len = item.len;
        if (!policy->noted[i].data)
            return nj_fail_nomem(err);
    }
    policy->n_noted = session->compacted;
    return 0;
}

/* Behind the newest user's item, which the next turn's prompt will begin with; and behind the one
 * before the last reply, where this prompt's own cache ends: a breakpoint is found again up to 20
 * blocks back only (WIRE.md 4), and a turn may have more calls than that. */
static void place_breakpoints(const struct nj_session *session, struct nj_request_policy *request)
{
    size_t last = session->n_messages;
    size_t before = last > 0 ? last - 1 : 0;

    while (before > 0 && !nj_context_is_reply(session, before))
        before--; /* the last reply */
    while (before > 0 && nj_context_is_reply(session, before))
        before--; /* the item it answered */
    if (last == 0)
        return;
    if (before + 1 < last)
        request->cache_items[request->n_cache_items++] = before;
    request->cache_items[request->n_cache_items++] = last - 1;
}

int nj_policy_decide(struct nj_policy *policy, const struct nj_manifest_model *model,
                     const struct nj_session *session, struct nj_error *err)
{
    struct nj_request_policy *request = &policy->request;

    *request = (struct nj_request_policy){.item = note_of, .ctx = policy};
    if (session->config->output_schema && model->can.structured_output)
        request->output_schema = nj_span_text(session->config->output_schema);
    if (model->cache != NJ_CACHE_OFF) {
        request->cache_ttl = model->cache == NJ_CACHE_1H ? "1h" : "5m";
        request->cache_tools = session->config->n_tools > 0;
        request->cache_system = *session->config->instructions;
        place_breakpoints(session, request);
    }
    return make_notes(policy, session, err);
}

void nj_policy_done(struct nj_policy *policy)
{
    nj_arena_done(&policy->notes);
}
