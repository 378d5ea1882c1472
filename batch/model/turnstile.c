/*
 * turnstile.c - gates on the loop: one timer each, which lets in whoever's turn it is
 *
 * Before the queue of all stands, where the model caches prompts, that of the group (lead.h).
 * A call is never let in from inside the function that entered it, but from the loop, as endings
 * are: whoever asks must have its handle first.
 */
#include "batch/model/inside.h"

#include <event2/event.h>
#include <time.h>

#include "formats/base/banned.h"

#define ADMITTED_PER_TURN 2

uint64_t nj_turnstile_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_same(const struct nj_manifest_model *a, const struct nj_manifest_model *b)
{
    return a->provider == b->provider && same_text(a->base_url, b->base_url) &&
           same_text(a->model, b->model) && same_text(a->script, b->script) &&
           a->credential == b->credential;
}

static bool has_rate(const struct nj_manifest_rate *rate)
{
    return rate->requests || rate->input_tokens || rate->output_tokens || rate->concurrent;
}

int nj_turnstile_open(struct nj_models *models, struct nj_model *model, struct nj_error *err)
{
    const struct nj_manifest_rate *rate = &model->spec->rate;
    const struct nj_limiter_limits limits = {
        .per_minute = {rate->requests, rate->input_tokens, rate->output_tokens},
        .concurrent = rate->concurrent};
    struct nj_models_gate *gate;

    /* A file answers as often as it is asked, unless the manifest wants to see how a rate feels. */
    if (model->spec->provider == NJ_PROVIDER_SCRIPT && !has_rate(rate))
        return 0;
    for (gate = models->gates; gate; gate = gate->next)
        if (is_same(gate->spec, model->spec)) {
            model->gate = gate;
            return 0;
        }
    gate = calloc(1, sizeof(*gate));
    if (!gate)
        return nj_fail_nomem(err);
    nj_gate_init(&gate->gate, &limits, models->retry_base_ms, nj_turnstile_now_ms());
    gate->spec = model->spec;
    gate->services = &models->services;
    gate->next = models->gates;
    models->gates = gate;
    model->gate = gate;
    return 0;
}

/* Lets calls go on from their groups to the gate; returns when to look again. */
static uint64_t follow(struct nj_models_gate *gate)
{
    uint64_t now_ms = nj_turnstile_now_ms(), least_ms = UINT64_MAX;

    for (struct nj_models_group *group = gate->groups; group; group = group->next) {
        struct nj_lead_place *place;
        uint64_t wait_ms;

        while ((place = nj_lead_next(&group->lead, now_ms, &wait_ms)))
            nj_chain_follow(place);
        least_ms = wait_ms < least_ms ? wait_ms : least_ms;
    }
    return least_ms;
}

static void on_timer(int fd, short what, void *ctx)
{
    struct nj_models_gate *gate = ctx;
    uint64_t follow_ms, wait_ms;
    struct nj_gate_place *place;
    struct timeval delay;

    (void)fd;
    (void)what;
    if (gate->services->on_piece)
        gate->services->on_piece(gate->services->piece_ctx);
    follow_ms = follow(gate);
    /* Sending takes some tenths of a millisecond, and as much again when libcurl connects: many who
     * come at once go in several turns of the loop. */
    for (unsigned sent = 0; (place = nj_gate_next(&gate->gate, nj_turnstile_now_ms(), &wait_ms));) {
        nj_chain_admit(place);
        if (++sent == ADMITTED_PER_TURN) {
            wait_ms = 0;
            break;
        }
    }
    wait_ms = follow_ms < wait_ms ? follow_ms : wait_ms;
    if (wait_ms == UINT64_MAX)
        return;
    delay = (struct timeval){.tv_sec = (time_t)(wait_ms / 1000),
                             .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
    (void)evtimer_add(gate->timer,
                      &delay); /* fails for lack of memory only: the next answer wakes */
}

int nj_turnstile_attach(struct nj_models *models, struct event_base *base, struct nj_error *err)
{
    for (struct nj_models_gate *gate = models->gates; gate; gate = gate->next) {
        gate->timer = evtimer_new(base, on_timer, gate);
        if (!gate->timer)
            return nj_fail_nomem(err);
    }
    return 0;
}

int nj_turnstile_group(struct nj_models_gate *gate, const char *name, struct nj_lead **ret_lead,
                       struct nj_error *err)
{
    uint64_t keep_ms = gate->spec->cache == NJ_CACHE_1H ? 3600000 : 300000;
    struct nj_models_group *group = gate->groups;

    while (group && strcmp(group->name, name) != 0)
        group = group->next;
    if (!group) {
        group = calloc(1, sizeof(*group));
        if (!group)
            return nj_fail_nomem(err);
        group->name = strdup(name);
        if (!group->name) {
            free(group);
            return nj_fail_nomem(err);
        }
        nj_lead_init(&group->lead, keep_ms);
        group->next = gate->groups;
        gate->groups = group;
    }
    *ret_lead = &group->lead;
    return 0;
}

void nj_turnstile_wake(struct nj_models_gate *gate)
{
    event_active(gate->timer, EV_TIMEOUT, 0);
}

void nj_turnstile_detach(struct nj_models *models)
{
    for (struct nj_models_gate *gate = models->gates; gate; gate = gate->next)
        if (gate->timer) {
            event_free(gate->timer);
            gate->timer = NULL;
        }
}

void nj_turnstile_free_all(struct nj_models *models)
{
    while (models->gates) {
        struct nj_models_gate *gate = models->gates;

        models->gates = gate->next;
        if (gate->timer)
            event_free(gate->timer);
        while (gate->groups) {
            struct nj_models_group *group = gate->groups;

            gate->groups = group->next;
            free(group->name);
            free(group);
        }
        free(gate);
    }
}
