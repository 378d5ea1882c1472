/*
 * queue.c - groups, each with a place in the plan and a heap of those that are tried again
 *
 * The one complication is recovery: sessions that began before a crash lie anywhere in their group
 * (some have ended, some are tried again later), so the place in the plan steps over whatever is
 * not waiting.
 */
#include "batch/engine/queue.h"

#include <assert.h>

#include "formats/base/banned.h"

#define PLACES (NJ_QUEUE_ENDED + 1)

struct delayed {
    int64_t due_ms;
    size_t session;
};

struct group {
    size_t next; /* every session before it, from the group's first, has begun */
    size_t end;
    size_t left; /* not ENDED */
    size_t alive;
    struct delayed *heap; /* the earliest first */
    size_t n_heap;
    size_t cap_heap;
};

struct nj_queue {
    const struct nj_manifest *manifest;
    struct group *groups;
    size_t *agents_alive;
    uint8_t *places; /* enum nj_queue_place by session */
    uint16_t *of;    /* group by session */
    size_t n_sessions;
    size_t counts[PLACES];
};

static void move(struct nj_queue *queue, size_t session, enum nj_queue_place place)
{
    struct group *group = &queue->groups[queue->of[session]];
    size_t *agent = &queue->agents_alive[queue->manifest->groups[queue->of[session]].agent];
    enum nj_queue_place before = (enum nj_queue_place)queue->places[session];

    queue->counts[before]--;
    queue->counts[place]++;
    queue->places[session] = (uint8_t)place;
    if (before == NJ_QUEUE_ALIVE) {
        group->alive--;
        (*agent)--;
    }
    if (place == NJ_QUEUE_ALIVE) {
        group->alive++;
        (*agent)++;
    }
    if (before != NJ_QUEUE_ENDED && place == NJ_QUEUE_ENDED)
        group->left--;
    if (before == NJ_QUEUE_ENDED && place != NJ_QUEUE_ENDED)
        group->left++;
}

int nj_queue_new(const struct nj_manifest *manifest, const size_t *groups, size_t n_sessions,
                 struct nj_queue **ret_queue, struct nj_error *err)
{
    NJ_AUTO(nj_queue_free) struct nj_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return nj_fail_nomem(err);
    queue->manifest = manifest;
    queue->n_sessions = n_sessions;
    queue->groups = calloc(manifest->n_groups + 1, sizeof(*queue->groups));
    queue->agents_alive = calloc(manifest->n_agents + 1, sizeof(*queue->agents_alive));
    queue->places = calloc(n_sessions + 1, sizeof(*queue->places));
    queue->of = calloc(n_sessions + 1, sizeof(*queue->of));
    if (!queue->groups || !queue->agents_alive || !queue->places || !queue->of)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n_sessions; i++) {
        struct group *group = &queue->groups[groups[i]];

        if (group->left++ == 0)
            group->next = i;
        assert(i == group->next + group->left - 1); /* they lie together */
        group->end = i + 1;
        queue->of[i] = (uint16_t)groups[i];
    }
    queue->counts[NJ_QUEUE_WAITING] = n_sessions;
    *ret_queue = nj_steal_ptr(&queue);
    return 0;
}

void nj_queue_free(struct nj_queue *queue)
{
    if (!queue)
        return;
    for (size_t i = 0; queue->groups && i < queue->manifest->n_groups; i++)
        free(queue->groups[i].heap);
    free(queue->groups);
    free(queue->agents_alive);
    free(queue->places);
    free(queue->of);
    free(queue);
}

/* ---- the heap ---- */

static void swap(struct delayed *a, struct delayed *b)
{
    struct delayed kept = *a;

    *a = *b;
    *b = kept;
}

/* Of one time, the plan's order. */
static bool is_before(const struct delayed *a, const struct delayed *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->session < b->session;
}

static int push(struct group *group, struct delayed delayed, struct nj_error *err)
{
    if (group->n_heap == group->cap_heap) {
        size_t cap = group->cap_heap ? group->cap_heap * 2 : 16;
        struct delayed *grown = reallocarray(group->heap, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        group->heap = grown;
        group->cap_heap = cap;
    }
    group->heap[group->n_heap] = delayed;
    for (size_t at = group->n_heap++; at > 0; at = (at - 1) / 2) {
        if (!is_before(&group->heap[at], &group->heap[(at - 1) / 2]))
            break;
        swap(&group->heap[at], &group->heap[(at - 1) / 2]);
    }
    return 0;
}

static size_t pop(struct group *group)
{
    size_t session = group->heap[0].session;
    size_t at = 0;

    group->heap[0] = group->heap[--group->n_heap];
    for (;;) {
        size_t least = at;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < group->n_heap; child++)
            if (is_before(&group->heap[child], &group->heap[least]))
                least = child;
        if (least == at)
            return session;
        swap(&group->heap[at], &group->heap[least]);
        at = least;
    }
}

/* ---- who begins ---- */

static bool is_below(size_t alive, uint64_t limit)
{
    return limit == 0 || alive < limit;
}

static bool may_begin(const struct nj_queue *queue, size_t index)
{
    const struct nj_manifest_group *group = &queue->manifest->groups[index];

    if (!is_below(queue->groups[index].alive, group->limits.sessions) ||
        !is_below(queue->agents_alive[group->agent],
                  queue->manifest->agents[group->agent].limits.sessions))
        return false;
    for (size_t i = 0; i < group->n_after; i++)
        if (queue->groups[group->after[i]].left > 0)
            return false;
    return true;
}

static bool take_of_group(struct nj_queue *queue, struct group *group, int64_t now_ms,
                          size_t *ret_session)
{
    if (group->n_heap > 0 && group->heap[0].due_ms <= now_ms) {
        *ret_session = pop(group);
        return true;
    }
    while (group->next < group->end && queue->places[group->next] != NJ_QUEUE_WAITING)
        group->next++;
    if (group->next == group->end)
        return false;
    *ret_session = group->next++;
    return true;
}

bool nj_queue_take(struct nj_queue *queue, int64_t now_ms, size_t *ret_session)
{
    size_t session;

    if (!is_below(queue->counts[NJ_QUEUE_ALIVE], queue->manifest->limits.sessions))
        return false;
    for (size_t i = 0; i < queue->manifest->n_groups; i++) {
        if (!may_begin(queue, i) || !take_of_group(queue, &queue->groups[i], now_ms, &session))
            continue;
        move(queue, session, NJ_QUEUE_ALIVE);
        *ret_session = session;
        return true;
    }
    return false;
}

void nj_queue_end(struct nj_queue *queue, size_t session)
{
    assert(queue->places[session] == NJ_QUEUE_ALIVE || queue->places[session] == NJ_QUEUE_WAITING);
    move(queue, session, NJ_QUEUE_ENDED);
}

int nj_queue_again(struct nj_queue *queue, size_t session, int64_t due_ms, struct nj_error *err)
{
    struct delayed delayed = {.due_ms = due_ms, .session = session};

    assert(queue->places[session] == NJ_QUEUE_ENDED);
    if (push(&queue->groups[queue->of[session]], delayed, err) < 0)
        return -(int)err->code;
    move(queue, session, NJ_QUEUE_DELAYED);
    return 0;
}

void nj_queue_park(struct nj_queue *queue, size_t session)
{
    assert(queue->places[session] == NJ_QUEUE_ALIVE);
    move(queue, session, NJ_QUEUE_PARKED);
}

enum nj_queue_place nj_queue_place(const struct nj_queue *queue, size_t session)
{
    return (enum nj_queue_place)queue->places[session];
}

size_t nj_queue_count(const struct nj_queue *queue, enum nj_queue_place place)
{
    return queue->counts[place];
}

int64_t nj_queue_next_due_ms(const struct nj_queue *queue, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < queue->manifest->n_groups; i++) {
        const struct group *group = &queue->groups[i];

        if (group->n_heap > 0 && group->heap[0].due_ms > now_ms && group->heap[0].due_ms < next)
            next = group->heap[0].due_ms;
    }
    return next;
}
