/*
 * vault.c - the engine's end of the vault
 *
 * The one complication is the environment. A variable's bytes lie where the kernel put them at
 * exec, and /proc/PID/environ shows that place for as long as the process lives: unsetenv() only
 * forgets the pointer, so the bytes themselves are overwritten.
 */
#include "batch/gateway/vault.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "batch/gateway/vault_inside.h"
#include "formats/base/arena.h"

#include "formats/base/banned.h"

/* ---- who needs what ---- */

static const char *default_host(enum nj_manifest_provider provider)
{
    switch (provider) {
    case NJ_PROVIDER_ANTHROPIC:
        return "api.anthropic.com";
    case NJ_PROVIDER_OPENAI:
        return "api.openai.com";
    case NJ_PROVIDER_SCRIPT:
        break;
    }
    return NULL;
}

/* The host of a URL in lower case, with its port where that is not the scheme's own. */
static int host_of(const char *url, struct nj_arena *arena, const char **ret_host,
                   struct nj_error *err)
{
    bool tls = strncasecmp(url, "https://", 8) == 0;
    const char *begin = strstr(url, "://");
    const char *own = tls ? ":443" : ":80";
    size_t len, own_len = strlen(own);
    char *host;

    begin = begin ? begin + 3 : url;
    len = strcspn(begin, "/?#");
    if (len > own_len && strncmp(begin + len - own_len, own, own_len) == 0)
        len -= own_len;
    host = nj_arena_span(arena, (struct nj_span){(const uint8_t *)begin, len});
    if (!host)
        return nj_fail_nomem(err);
    for (char *at = host; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    *ret_host = host;
    return 0;
}

static int note_model(const struct nj_manifest_model *model, struct vault_secret *secrets,
                      struct nj_arena *arena, struct nj_error *err)
{
    const char *host = default_host(model->provider);
    struct vault_secret *secret;

    if (model->credential == NJ_MANIFEST_NONE)
        return 0;
    secret = &secrets[model->credential];
    if (model->base_url && host_of(model->base_url, arena, &host, err) < 0)
        return -(int)err->code;
    if (!host || secret->n_hosts == VAULT_HOSTS_MAX)
        return host ? nj_fail(err, NJ_E_LIMIT, "credentials.%s: more than %u models name it",
                              secret->spec->name, VAULT_HOSTS_MAX)
                    : 0;
    secret->hosts[secret->n_hosts++] = host;
    return 0;
}

/* Roles of agents that sessions run, or that those can call. */
static void note_agent(const struct nj_manifest *manifest, size_t agent, bool *agents, bool *roles)
{
    const struct nj_manifest_agent *spec = &manifest->agents[agent];

    if (agents[agent])
        return;
    agents[agent] = true;
    if (spec->role != NJ_MANIFEST_NONE)
        roles[spec->role] = true;
    for (size_t i = 0; i < spec->n_tools; i++)
        if (spec->tools[i].agent != NJ_MANIFEST_NONE &&
            spec->tools[i].type == NJ_TOOL_AGENT) /* deep at most as there are agents */
            note_agent(manifest, spec->tools[i].agent, agents, roles);
}

static int find_needed(const struct nj_manifest *manifest, struct vault_secret *secrets,
                       struct nj_arena *arena, size_t *ret_needed, struct nj_error *err)
{
    nj_auto_free bool *agents = calloc(manifest->n_agents + 1, sizeof(*agents));
    nj_auto_free bool *roles = calloc(manifest->n_roles + 1, sizeof(*roles));
    size_t needed = 0;

    if (!agents || !roles)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < manifest->n_credentials; i++)
        secrets[i].spec = &manifest->credentials[i];
    for (size_t i = 0; i < manifest->n_groups; i++)
        note_agent(manifest, manifest->groups[i].agent, agents, roles);
    for (size_t i = 0; i < manifest->n_roles; i++)
        for (size_t k = 0; roles[i] && k < manifest->roles[i].n_chain; k++)
            if (note_model(&manifest->roles[i].chain[k], secrets, arena, err) < 0)
                return -(int)err->code;
    for (size_t i = 0; i < manifest->n_credentials; i++)
        needed += secrets[i].n_hosts > 0;
    *ret_needed = needed;
    return 0;
}

/* ---- hearing it; who asks: vault_ask.c ---- */

int vault_hear(struct nj_vault *vault, void *out, size_t size, int flags, size_t *ret_len,
               struct nj_error *err)
{
    ssize_t n;

    do
        n = recv(vault->fd, out, size, flags);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (flags & MSG_DONTWAIT) && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        *ret_len = 0;
        return 0;
    }
    if (n < 0)
        return nj_fail_errno(err, errno, "hear the vault");
    if (n == 0)
        return nj_fail(err, NJ_E_SYSTEM, "the vault has ended; `resume` starts another");
    *ret_len = (size_t)n;
    return 0;
}

int vault_take_answer(const struct vault_answer *answer, size_t len, struct nj_error *err)
{
    const size_t head = offsetof(struct vault_answer, text);

    if (len < head + 1 || answer->len != len - head - 1 || answer->text[answer->len] != '\0' ||
        answer->code > NJ_E_CANCELLED)
        return nj_fail(err, NJ_E_SYSTEM, "the vault's answer is malformed");
    if (answer->code != 0)
        return nj_fail(err, (enum nj_error_code)answer->code, "%s", answer->text);
    return 0;
}

/* ---- birth and death ---- */

void vault_wipe_environment(const char *name)
{
    char *value = getenv(name);

    if (value)
        explicit_bzero(value, strlen(value));
    (void)unsetenv(name); /* fails for names that no variable has */
}

static int fork_vault(struct nj_vault *vault, struct vault_inside *inside,
                      const struct nj_vault_options *options, struct nj_error *err)
{
    const struct timeval timeout = {.tv_sec = VAULT_ANSWER_TIMEOUT_S};
    nj_auto_close int theirs = -1;
    struct vault_answer answer;
    size_t len = 0;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return nj_fail_errno(err, errno, "make the vault's socket");
    vault->fd = ends[0];
    theirs = ends[1];
    (void)fflush(NULL); /* else both would write what is buffered */
    vault->pid = fork();
    if (vault->pid < 0)
        return nj_fail_errno(err, errno, "start the vault");
    if (vault->pid == 0) {
        (void)close(vault->fd);
        inside->fd = theirs;
        vault_process(inside, options);
    }
    (void)close(theirs);
    theirs = -1;
    if (vault_hear(vault, &answer, sizeof(answer), 0, &len, err) < 0 ||
        vault_take_answer(&answer, len, err) < 0)
        return -(int)err->code;
    if (setsockopt(vault->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
        return nj_fail_errno(err, errno, "set the vault's time-out");
    return 0;
}

int nj_vault_start(const struct nj_manifest *manifest, const struct nj_vault_options *options,
                   struct nj_vault **ret_vault, struct nj_error *err)
{
    NJ_AUTO(nj_vault_free) struct nj_vault *vault = calloc(1, sizeof(*vault));
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    nj_auto_free struct vault_secret *secrets =
        calloc(manifest->n_credentials + 1, sizeof(*secrets));
    struct vault_inside inside = {.manifest = manifest, .secrets = secrets, .fd = -1};
    size_t needed = 0;
    int r;

    if (!vault || !secrets)
        return nj_fail_nomem(err);
    vault->fd = -1;
    TAILQ_INIT(&vault->waits);
    r = find_needed(manifest, secrets, &arena, &needed, err);
    if (r == 0 && needed > 0)
        r = fork_vault(vault, &inside, options, err);
    for (size_t i = 0; i < manifest->n_credentials; i++)
        if (manifest->credentials[i].env)
            vault_wipe_environment(manifest->credentials[i].env);
    if (r < 0)
        return r;
    *ret_vault = nj_steal_ptr(&vault);
    return 0;
}

void nj_vault_free(struct nj_vault *vault)
{
    if (!vault)
        return;
    vault_forget_all(vault);
    if (vault->fd >= 0)
        (void)close(vault->fd); /* its end */
    /* One that hangs does not see that. Of another user (the engine was root's) it is left. */
    if (vault->gone && vault->pid > 0 && kill(vault->pid, SIGKILL) < 0)
        vault->pid = 0;
    while (vault->pid > 0 && waitpid(vault->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(vault);
}
