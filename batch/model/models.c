/*
 * models.c - the roles of a manifest and the models of their chains, opened
 *
 * Models that name the same source (a script file) share its state and its counters, in whatever
 * role they stand.
 */
#include "batch/model/inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "batch/http/client.h"
#include "batch/model/retry.h"

#include "formats/base/banned.h"

#define TEST_RETRY_MAX_MS 60000

static const struct nj_provider *provider_of(enum nj_manifest_provider provider)
{
    switch (provider) {
    case NJ_PROVIDER_SCRIPT:
        return &nj_provider_script;
    case NJ_PROVIDER_ANTHROPIC:
        return &nj_provider_anthropic;
    case NJ_PROVIDER_OPENAI:
        return &nj_provider_openai;
    }
    return NULL;
}

/* The first opened model whose state this one may share. */
static const struct nj_model *find_same(const struct nj_models *models,
                                        const struct nj_model *model)
{
    if (!model->provider->is_same)
        return NULL;
    for (size_t i = 0; i < models->n_roles; i++)
        for (size_t k = 0; k < models->roles[i].n_opened; k++) {
            const struct nj_model *other = &models->roles[i].chain[k];

            if (other != model && other->provider == model->provider && !other->shares_state &&
                model->provider->is_same(other->spec, model->spec))
                return other;
        }
    return NULL;
}

static int open_model(struct nj_models *models, int dir_fd, struct nj_model *model,
                      struct nj_error *err)
{
    const struct nj_model *same;

    if (!model->provider)
        return 0;
    same = find_same(models, model);
    if (same) {
        model->state = same->state;
        model->shares_state = true;
        model->n_tally = same->n_tally;
        model->tally_first = same->tally_first;
        return 0;
    }
    if (model->provider->open(model, dir_fd, err) < 0)
        return -(int)err->code;
    model->tally_first = models->n_tally;
    models->n_tally += model->n_tally;
    return 0;
}

static int open_role(struct nj_models *models, int dir_fd, const struct nj_manifest_role *spec,
                     struct nj_models_role *role, struct nj_error *err)
{
    role->spec = spec;
    role->chain = calloc(spec->n_chain, sizeof(*role->chain));
    if (!role->chain)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < spec->n_chain; i++) {
        struct nj_model *model = &role->chain[i];

        *model = (struct nj_model){.provider = provider_of(spec->chain[i].provider),
                                   .spec = &spec->chain[i],
                                   .services = &models->services};
        if (open_model(models, dir_fd, model, err) < 0 || nj_turnstile_open(models, model, err) < 0)
            return nj_wrap(err, "models.%s[%zu]", spec->name, i);
        role->n_opened++;
        role->counts = role->counts || model->n_tally > 0;
    }
    return 0;
}

/* Before privileges are dropped: the log may lie where only whoever began the run can write. */
static int read_environment(struct nj_models *models, struct nj_error *err)
{
    const char *log = getenv("NJ_SCRIPT_LOG");
    const char *retry = getenv("NJ_TEST_RETRY_MS");

    if (retry && *retry) {
        char *end;

        errno = 0;
        models->retry_base_ms = strtoull(retry, &end, 10);
        if (*end || errno || retry[0] == '-' || models->retry_base_ms > TEST_RETRY_MAX_MS)
            return nj_fail(err, NJ_E_INPUT,
                           "NJ_TEST_RETRY_MS: expected milliseconds, 0 to %d, found \"%.32s\"",
                           TEST_RETRY_MAX_MS, retry);
    }
    if (log && *log) {
        models->services.script_log_fd =
            open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (models->services.script_log_fd < 0)
            return nj_fail_errno(err, errno, "NJ_SCRIPT_LOG: open %s", log);
    }
    return 0;
}

int nj_models_new(const struct nj_manifest *manifest, int dir_fd, struct nj_models **ret_models,
                  struct nj_error *err)
{
    NJ_AUTO(nj_models_free) struct nj_models *models = calloc(1, sizeof(*models));

    if (!models)
        return nj_fail_nomem(err);
    models->services.script_log_fd = -1;
    models->retry_base_ms = NJ_RETRY_BASE_MS;
    models->manifest = manifest;
    if (read_environment(models, err) < 0) /* first: gates are made with its figures */
        return -(int)err->code;
    models->roles = calloc(manifest->n_roles + 1, sizeof(*models->roles));
    if (!models->roles)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < manifest->n_roles; i++)
        if (open_role(models, dir_fd, &manifest->roles[i], &models->roles[models->n_roles++], err) <
            0)
            return -(int)err->code;
    *ret_models = nj_steal_ptr(&models);
    return 0;
}

static void detach_credentials(struct nj_models *models)
{
    const struct nj_credentials *credentials = &models->services.credentials;
    struct nj_error ignored = {0};

    if (credentials->attach && models->services.base)
        (void)!credentials->attach(credentials->ctx, NULL, &ignored); /* it only lets go */
}

void nj_models_free(struct nj_models *models)
{
    if (!models)
        return;
    assert(models->n_calls == 0); /* they would call back into what is freed here */
    nj_walk_forget_all(models);
    for (size_t i = 0; i < models->n_roles; i++) {
        for (size_t k = 0; k < models->roles[i].n_opened; k++) {
            struct nj_model *model = &models->roles[i].chain[k];

            if (model->provider && !model->shares_state)
                model->provider->close(model);
        }
        free(models->roles[i].chain);
    }
    free(models->roles);
    nj_turnstile_free_all(models);
    detach_credentials(models);
    nj_http_free(models->services.http);
    if (models->services.script_log_fd >= 0)
        (void)close(models->services.script_log_fd); /* each line was written when it was due */
    free(models);
}

void nj_models_set_credentials(struct nj_models *models, const struct nj_credentials *credentials)
{
    models->services.credentials = *credentials;
}

/* Does a model speak TLS? A provider's own service does. */
static bool needs_tls(const struct nj_models *models)
{
    for (const struct nj_models_gate *gate = models->gates; gate; gate = gate->next)
        if (gate->spec->provider != NJ_PROVIDER_SCRIPT &&
            (!gate->spec->base_url || strncmp(gate->spec->base_url, "https:", 6) == 0))
            return true;
    return false;
}

static bool needs_http(const struct nj_models *models)
{
    for (size_t i = 0; i < models->n_roles; i++)
        for (size_t k = 0; k < models->roles[i].n_opened; k++)
            if (models->roles[i].chain[k].spec->provider != NJ_PROVIDER_SCRIPT)
                return true;
    return false;
}

void nj_models_on_piece(struct nj_models *models, void (*on_piece)(void *ctx), void *ctx)
{
    models->services.on_piece = on_piece;
    models->services.piece_ctx = ctx;
}

int nj_models_attach(struct nj_models *models, struct event_base *base, struct nj_error *err)
{
    /* The variable that OpenSSL's own programs and curl honour, for hosts of a company's own. */
    const struct nj_http_options options = {.ca_file = getenv("SSL_CERT_FILE"),
                                            .read_trust = needs_tls(models),
                                            .on_piece = models->services.on_piece,
                                            .piece_ctx = models->services.piece_ctx};

    const struct nj_credentials *credentials = &models->services.credentials;

    models->services.base = base;
    if (nj_turnstile_attach(models, base, err) < 0 ||
        (credentials->attach && credentials->attach(credentials->ctx, base, err) < 0))
        return -(int)err->code;
    return needs_http(models) ? nj_http_new(base, &options, &models->services.http, err) : 0;
}

void nj_models_detach(struct nj_models *models)
{
    nj_turnstile_detach(models);
    detach_credentials(models);
    nj_http_free(models->services.http);
    models->services.http = NULL;
    models->services.base = NULL;
}

int nj_models_digest(const struct nj_models *models, size_t role, struct nj_digest *ret_digest,
                     struct nj_error *err)
{
    struct nj_digest digest = {0};

    if (role >= models->n_roles)
        return nj_fail(err, NJ_E_INPUT, "models: there is no role %zu", role);
    for (size_t i = 0; i < models->roles[role].n_opened; i++) {
        const struct nj_model *model = &models->roles[role].chain[i];

        if (model->provider && model->provider->digest)
            model->provider->digest(model, &digest);
    }
    *ret_digest = digest;
    return 0;
}
