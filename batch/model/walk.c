/*
 * walk.c - places in chains, kept in memory and found again after a crash
 *
 * The one complication: a provider may keep counters over a session's turns (`times` in a script),
 * but a crash leaves only the conversation and the number of failed tries of the turn under way. So
 * the counters are kept in memory while the engine lives, and are rebuilt when a call does not
 * continue what memory holds: every earlier turn is foreseen once more from the item before its
 * reply, failures included, and then the failed tries of this turn. Foreseeing is pure, so the same
 * counters come out. Only roles with counters pay for this. A provider that cannot foresee begins a
 * turn that a crash interrupted where the turn began.
 */
#include "batch/model/walk.h"

#include <search.h>

#include "formats/base/banned.h"

struct nj_walk_memory {
    size_t role;
    char *key;
    struct nj_walk walk;
};

/* What is being rebuilt. */
struct rebuilding {
    const struct nj_models_role *role;
    const struct nj_model_request *request;
    size_t n_tally;
};

/* ---- memories ---- */

static int by_role_and_key(const void *a, const void *b)
{
    const struct nj_walk_memory *left = a, *right = b;

    if (left->role != right->role)
        return left->role < right->role ? -1 : 1;
    return strcmp(left->key, right->key);
}

static void memory_free(void *object)
{
    struct nj_walk_memory *memory = object;

    if (!memory)
        return;
    free(memory->key);
    free(memory->walk.tally);
    free(memory);
}

void nj_walk_forget_all(struct nj_models *models)
{
    tdestroy(models->memories, memory_free);
    models->memories = NULL;
}

/* Finds the memory of a session, or makes an empty one, whose turn 0 no call continues. */
static int remember(struct nj_models *models, size_t role, const char *key,
                    struct nj_walk_memory **ret_memory, struct nj_error *err)
{
    struct nj_walk_memory probe = {.role = role, .key = (char *)(uintptr_t)key};
    struct nj_walk_memory *const *found = tfind(&probe, &models->memories, by_role_and_key);
    struct nj_walk_memory *made;

    if (found) {
        *ret_memory = *found;
        return 0;
    }
    made = calloc(1, sizeof(*made));
    if (!made)
        return nj_fail_nomem(err);
    made->role = role;
    made->key = strdup(key);
    made->walk.tally = calloc(models->n_tally, sizeof(*made->walk.tally));
    if (!made->key || !made->walk.tally || !tsearch(made, &models->memories, by_role_and_key)) {
        memory_free(made);
        return nj_fail_nomem(err);
    }
    *ret_memory = made;
    return 0;
}

void nj_walk_forget(struct nj_models *models, struct nj_walk_memory *memory)
{
    if (!memory)
        return;
    (void)tdelete(memory, &models->memories, by_role_and_key); /* its parent node: no use */
    memory_free(memory);
}

void nj_walk_keep(struct nj_walk_memory *memory, const struct nj_walk *walk)
{
    if (memory)
        memory->walk = *walk;
}

/* ---- the walk ---- */

const struct nj_model *nj_walk_model(const struct nj_models_role *role, const struct nj_walk *walk)
{
    return &role->chain[walk->retry.model];
}

struct nj_try_request nj_walk_try(const struct nj_models_role *role,
                                  const struct nj_model_request *request,
                                  const struct nj_walk *walk, size_t n_messages)
{
    return (struct nj_try_request){
        .session = request->session,
        .n_messages = n_messages,
        .turn = walk->turn,
        .attempt = walk->attempts + 1,
        .session_attempt = request->session_attempt,
        .item_json = request->item_json,
        .tools = request->tools,
        .identity = request->identity,
        .tally = walk->tally ? walk->tally + nj_walk_model(role, walk)->tally_first : NULL,
    };
}

/* Walks a turn up to its reply, or up to @attempts failed tries. A script that was edited may lead
 * elsewhere than it did then; the walk ends there, since a turn has one reply whatever led to it.
 */
static int walk_turn(const struct rebuilding *of, struct nj_walk *walk, uint64_t turn,
                     size_t n_messages, uint64_t attempts, struct nj_error *err)
{
    size_t begins = turn == of->request->turn        ? of->request->begins
                    : turn <= of->request->began.len ? of->request->began.data[turn - 1]
                                                     : 0;

    walk->retry = nj_retry_begin(begins);
    walk->turn = turn;
    for (walk->attempts = 0; walk->attempts < attempts; walk->attempts++) {
        struct nj_foreseen seen = {
            .failed = true, .cause = NJ_CAUSE_ERROR, .verdict = NJ_TRY_FINAL};
        const struct nj_model *model = nj_walk_model(of->role, walk);
        struct nj_try_request request = nj_walk_try(of->role, of->request, walk, n_messages);

        if (model->provider && !model->provider->foresee)
            break;
        if (model->provider && model->provider->foresee(model, &request, &seen, err) < 0)
            return -(int)err->code;
        if (!seen.failed || nj_retry_failed(&walk->retry, of->role->spec, seen.cause,
                                            seen.verdict != NJ_TRY_AGAIN) == NJ_RETRY_OVER)
            break;
    }
    return 0;
}

/* The session's counters as of its turn under way, from its conversation. */
static int rebuild(const struct rebuilding *of, struct nj_walk *walk, struct nj_error *err)
{
    const struct nj_session *session = of->request->session;
    uint64_t turn = 0;

    if (walk->tally)
        memset(walk->tally, 0, of->n_tally * sizeof(*walk->tally));
    for (size_t i = 1; walk->tally && i < session->n_messages; i++) {
        struct nj_span item = {(const uint8_t *)session->messages[i].bytes,
                               session->messages[i].len};
        struct nj_span content;
        enum nj_role speaker;

        if (nj_message_content(item, &speaker, &content, err) < 0)
            return -(int)err->code;
        if (speaker == NJ_ROLE_ASSISTANT && walk_turn(of, walk, ++turn, i, UINT64_MAX, err) < 0)
            return -(int)err->code;
    }
    if (walk_turn(of, walk, of->request->turn, session->n_messages, of->request->attempts_failed,
                  err) < 0)
        return -(int)err->code;
    walk->attempts = of->request->attempts_failed;
    walk->session_attempt = of->request->session_attempt;
    return 0;
}

/* The walk goes on where memory has it, or is rebuilt: after a crash, and for a session that begins
 * anew. */
int nj_walk_find(struct nj_models *models, size_t role, const struct nj_model_request *request,
                 struct nj_walk_memory **ret_memory, struct nj_walk *ret_walk, struct nj_error *err)
{
    const struct rebuilding of = {
        .role = &models->roles[role], .request = request, .n_tally = models->n_tally};
    struct nj_walk_memory *memory = NULL;
    struct nj_walk walk = {.tally = NULL};
    bool continues = false;

    if (of.role->counts) {
        if (remember(models, role, request->session->config->key, &memory, err) < 0)
            return -(int)err->code;
        walk = memory->walk;
        if (walk.turn == request->turn && walk.attempts == 0)
            walk.retry = nj_retry_begin(request->begins);
        continues = walk.turn == request->turn &&
                    walk.session_attempt == request->session_attempt &&
                    walk.attempts == request->attempts_failed;
    }
    if (!continues && rebuild(&of, &walk, err) < 0)
        return -(int)err->code;
    nj_walk_keep(memory, &walk);
    *ret_memory = memory;
    *ret_walk = walk;
    return 0;
}
