/*
 * ask.c - the engine's model client alone: so many calls by so many sessions, over real sockets
 *
 * usage: ask BASE-URL CALLS SESSIONS plain|stream
 *
 * Prints calls a second. Everything between "the session wants a reply" and "the reply is whole and
 * frozen" is there: the gate, the request out of the conversation, the exchange, the dialect. Calls
 * of the slow ramp are not counted.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "batch/model/model.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define SESSIONS_MAX 4096
#define WARM_CALLS 4 /* of each session, before the clock runs */

struct bench;

struct asker {
    struct bench *bench;
    struct nj_session *session;
    struct nj_session_config config;
    char key[24];
    struct nj_model_call *call;
};

struct bench {
    struct event_base *base;
    struct nj_models *models;
    struct memory_objects store;
    struct asker askers[SESSIONS_MAX];
    struct nj_digest identity;
    size_t begun, ended, bad, warm, total;
    double start;
};

static const char first[] =
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}";

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void ask(struct asker *asker);

static void ended(struct asker *asker, bool sound)
{
    struct bench *bench = asker->bench;

    asker->call = NULL;
    bench->bad += !sound;
    if (++bench->ended == bench->warm)
        bench->start = now();
    if (bench->ended == bench->total)
        (void)event_base_loopbreak(bench->base); /* it cannot fail */
    else if (bench->begun < bench->total)
        ask(asker);
}

static void on_replied(void *ctx, const struct nj_model_reply *reply)
{
    ended(ctx, reply->content.len > 100 && reply->usage.output_tokens == 5);
}

static void on_failed(void *ctx, const struct nj_model_failure *failure)
{
    fprintf(stderr, "ask: %s\n", failure->text);
    ended(ctx, false);
}

static void on_attempt(void *ctx, const struct nj_model_failure *failure)
{
    (void)ctx;
    fprintf(stderr, "ask: a failed try: %s\n", failure->text);
}

static void ask(struct asker *asker)
{
    struct bench *bench = asker->bench;
    const struct nj_model_callbacks callbacks = {
        .replied = on_replied, .failed = on_failed, .attempt = on_attempt, .ctx = asker};
    const struct nj_model_request request = {.session = asker->session,
                                             .turn = 1,
                                             .item_json = "{}",
                                             .session_attempt = 1,
                                             .identity = &bench->identity};
    struct nj_error err = {0};

    bench->begun++;
    if (nj_model_ask(bench->models, 0, &request, &callbacks, &asker->call, &err) < 0) {
        fprintf(stderr, "ask: %s\n", err.text);
        ended(asker, false);
    }
}

static int open_asker(struct bench *bench, size_t index, struct nj_error *err)
{
    struct asker *asker = &bench->askers[index];
    struct nj_object_sink sink = memory_objects_sink(&bench->store);
    struct nj_event opened = {.kind = NJ_EVENT_OPENED},
                    snapshotted = {.kind = NJ_EVENT_SNAPSHOTTED};

    (void)snprintf(asker->key, sizeof(asker->key), "s%zu", index);
    asker->bench = bench;
    asker->config = (struct nj_session_config){.key = asker->key,
                                               .group = "g",
                                               .agent = "a",
                                               .role = "worker",
                                               .instructions = "",
                                               .reproducible = "D0",
                                               .turns_max = 100,
                                               .max_runtime_ms = 1000,
                                               .budget_micro_usd = -1};
    if (nj_session_new(&asker->config, &asker->session, err) < 0)
        return -(int)err->code;
    opened.opened.config = asker->session->config_digest;
    nj_digest_bytes(first, strlen(first), &opened.opened.first);
    if (nj_session_step(asker->session, &opened, nj_span_text(first), &sink, err) < 0 ||
        nj_session_step(asker->session, &snapshotted, (struct nj_span){0}, &sink, err) < 0)
        return -(int)err->code;
    return 0;
}

static int measure(struct bench *bench, const char *url, size_t calls, size_t sessions, bool stream,
                   struct nj_error *err)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    struct nj_manifest_faults faults = {0};
    char text[1024];
    int r;

    (void)snprintf(text, sizeof(text),
                   "nightjar: 1\nmodels: {worker: [{provider: anthropic, model: m, base_url: "
                   "\"%s\", stream: %s, "
                   "cache: off, max_tokens: 100}]}\nagents: {a: {model: worker}}\nsessions: "
                   "[{name: g, agent: a, key: k, input: x}]\n",
                   url, stream ? "true" : "false");
    r = nj_manifest_parse(nj_span_text(text), "bench.yaml", &manifest, &faults, err);
    if (r < 0)
        return r;
    if (nj_models_new(manifest, AT_FDCWD, &bench->models, err) < 0 ||
        nj_models_attach(bench->models, bench->base, err) < 0)
        return -(int)err->code;
    bench->warm = WARM_CALLS * sessions;
    bench->total = bench->warm + calls;
    for (size_t i = 0; i < sessions; i++)
        if (open_asker(bench, i, err) < 0)
            return -(int)err->code;
    for (size_t i = 0; i < sessions; i++)
        ask(&bench->askers[i]);
    (void)event_base_dispatch(bench->base);
    if (bench->bad > 0 || bench->ended < bench->total)
        return nj_fail(err, NJ_E_UPSTREAM, "%zu of %zu calls ended, %zu of them wrong",
                       bench->ended, bench->total, bench->bad);
    printf("%.0f\n", (double)calls / (now() - bench->start));
    for (size_t i = 0; i < sessions; i++) {
        nj_model_cancel(bench->askers[i].call);
        nj_session_free(bench->askers[i].session);
    }
    nj_models_free(bench->models);
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct nj_error err = {0};
    size_t sessions = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;

    if (sessions == 0 || sessions > SESSIONS_MAX) {
        fprintf(stderr, "usage: ask BASE-URL CALLS SESSIONS plain|stream\n");
        return 2;
    }
    bench.base = event_base_new();
    if (!bench.base || measure(&bench, argv[1], strtoul(argv[2], NULL, 10), sessions,
                               strcmp(argv[4], "stream") == 0, &err) < 0) {
        fprintf(stderr, "ask: %s\n", err.text);
        return 1;
    }
    memory_objects_done(&bench.store);
    event_base_free(bench.base);
    return 0;
}
