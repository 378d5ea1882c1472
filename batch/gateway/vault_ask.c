/*
 * vault_ask.c - asking the vault without waiting for it
 *
 * The one complication: the vault answers in order, over the socket that nj_vault_mask() waits at,
 * too. So whoever waits first collects what was asked before, and the loop finds it here.
 */
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "batch/gateway/vault_inside.h"

#include "formats/base/banned.h"

/* What the socket's buffers hold in any case: neither side can be stopped by the other. */
#define SENT_MAX 16
/* Sending a request takes a good tenth of a millisecond each: many go in several turns of the loop.
 */
#define ANSWERED_PER_TURN 8

struct nj_credential_wait {
    TAILQ_ENTRY(nj_credential_wait) link;
    struct nj_vault *vault;
    struct vault_ask ask;
    nj_credential_answered *answered; /* NULL: forgotten */
    void *ctx;
    bool sent;
    struct vault_answer *early; /* collected, and not yet told */
    size_t early_len;
};

static void wait_free(struct nj_credential_wait *wait)
{
    if (wait->early)
        explicit_bzero(wait->early, sizeof(*wait->early));
    free(wait->early);
    free(wait);
}

static void take_out(struct nj_credential_wait *wait)
{
    TAILQ_REMOVE(&wait->vault->waits, wait, link);
    wait->vault->n_sent -= wait->sent;
}

void vault_give_up(struct nj_vault *vault)
{
    vault->gone = true;
    if (vault->heard)
        event_active(vault->heard, EV_READ, 0); /* who waits is told from the loop */
}

/* Sends what may be under way at once. */
static void send_more(struct nj_vault *vault)
{
    struct nj_credential_wait *wait;

    TAILQ_FOREACH(wait, &vault->waits, link)
    {
        ssize_t n;

        if (wait->sent)
            continue;
        if (vault->n_sent == SENT_MAX)
            return;
        do
            n = send(vault->fd, &wait->ask, sizeof(wait->ask), MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && vault->n_sent > 0)
            return; /* after the next answer */
        if (n < 0) {
            vault_give_up(vault);
            return;
        }
        wait->sent = true;
        vault->n_sent++;
    }
}

/* Its turn has come: tells @wait, which is gone then. */
static void tell(struct nj_credential_wait *wait, const char *line, const struct nj_error *why)
{
    nj_credential_answered *answered = wait->answered;
    void *ctx = wait->ctx;

    take_out(wait);
    if (answered)
        answered(ctx, line, why);
    wait_free(wait);
}

static void fail_all(struct nj_vault *vault, const struct nj_error *why)
{
    struct nj_credential_wait *wait;

    vault->gone = true; /* who asks from inside is refused at once */
    while ((wait = TAILQ_FIRST(&vault->waits)))
        tell(wait, NULL, why);
}

/* The answer of the first that was sent, when it is there: *ret_len is 0 when it is not. */
static int next_answer(struct nj_vault *vault, struct nj_credential_wait *wait,
                       struct vault_answer *answer, size_t *ret_len, struct nj_error *err)
{
    if (!wait->early)
        return vault_hear(vault, answer, sizeof(*answer), MSG_DONTWAIT, ret_len, err);
    memcpy(answer, wait->early, wait->early_len);
    *ret_len = wait->early_len;
    return 0;
}

static void watch(struct nj_vault *vault)
{
    const struct timeval limit = {.tv_sec = VAULT_ANSWER_TIMEOUT_S};
    const struct nj_credential_wait *first = TAILQ_FIRST(&vault->waits);

    if (!first)
        (void)event_del(vault->heard); /* it cannot fail */
    else if (first->early)
        event_active(vault->heard, EV_READ, 0);
    else
        (void)event_add(vault->heard,
                        &limit); /* without memory for it a hanging vault is not seen */
}

static void on_heard(int fd, short what, void *ctx)
{
    struct nj_vault *vault = ctx;
    struct nj_credential_wait *wait;
    struct vault_answer answer;
    struct nj_error err = {0};
    size_t len;

    (void)fd;
    if (vault->gone)
        (void)nj_fail(&err, NJ_E_SYSTEM, "the vault has ended; `resume` starts another");
    else if (!(what & EV_READ) && vault->late)
        (void)nj_fail(&err, NJ_E_SYSTEM, "the vault does not answer; `resume` starts another");
    vault->late = !(what & EV_READ);
    for (unsigned n = 0; !err.code && n < ANSWERED_PER_TURN; n++) {
        struct nj_error why = {0};

        wait = TAILQ_FIRST(&vault->waits);
        if (!wait || !wait->sent || next_answer(vault, wait, &answer, &len, &err) < 0 || len == 0)
            break;
        if (vault_take_answer(&answer, len, &why) == 0)
            tell(wait, answer.text, NULL);
        else
            tell(wait, NULL, &why);
        explicit_bzero(&answer, sizeof(answer));
    }
    if (err.code)
        fail_all(vault, &err);
    else
        send_more(vault);
    watch(vault);
}

int vault_collect(struct nj_vault *vault, struct nj_error *err)
{
    struct nj_credential_wait *wait;

    TAILQ_FOREACH(wait, &vault->waits, link)
    {
        if (!wait->sent)
            break;
        if (wait->early)
            continue;
        wait->early = malloc(sizeof(*wait->early));
        if (!wait->early)
            return nj_fail_nomem(err);
        if (vault_hear(vault, wait->early, sizeof(*wait->early), 0, &wait->early_len, err) < 0) {
            free(wait->early);
            wait->early = NULL;
            return -(int)err->code;
        }
    }
    if (vault->heard)
        watch(vault);
    return 0;
}

void vault_forget_all(struct nj_vault *vault)
{
    struct nj_credential_wait *wait;

    while ((wait = TAILQ_FIRST(&vault->waits))) {
        take_out(wait);
        wait_free(wait);
    }
    if (vault->heard)
        event_free(vault->heard);
    vault->heard = NULL;
}

int nj_vault_attach(void *object, struct event_base *base, struct nj_error *err)
{
    struct nj_vault *vault = object;

    if (!vault || vault->fd < 0)
        return 0;
    if (!base) {
        struct nj_error ignored = {0};

        /* The next loop hears answers of its own only. */
        if (!vault->gone && vault_collect(vault, &ignored) < 0)
            vault->gone = true;
        vault_forget_all(vault);
        return 0;
    }
    vault->heard = event_new(base, vault->fd, EV_READ | EV_PERSIST, on_heard, vault);
    return vault->heard ? 0 : nj_fail_nomem(err);
}

int nj_vault_ask(void *object, const struct nj_credential_ask *ask,
                 nj_credential_answered *answered, void *answered_ctx,
                 struct nj_credential_wait **ret_wait, struct nj_error *err)
{
    struct nj_vault *vault = object;
    struct nj_credential_wait *wait;

    if (!vault || vault->fd < 0)
        return nj_fail(err, NJ_E_INPUT,
                       "no credential is held: none of the job's models names one");
    if (vault->gone || !vault->heard)
        return nj_fail(err, NJ_E_SYSTEM, "the vault has ended; `resume` starts another");
    if (strlen(ask->host) >= sizeof(wait->ask.host) ||
        strlen(ask->method) >= sizeof(wait->ask.method) ||
        strlen(ask->default_header) >= sizeof(wait->ask.default_header) ||
        strlen(ask->default_format) >= sizeof(wait->ask.default_format))
        return nj_fail(err, NJ_E_LIMIT, "credential for %.64s: a name is too long", ask->host);
    wait = calloc(1, sizeof(*wait));
    if (!wait)
        return nj_fail_nomem(err);
    wait->vault = vault;
    wait->answered = answered;
    wait->ctx = answered_ctx;
    wait->ask.kind = VAULT_HEADER;
    wait->ask.credential = (uint32_t)ask->credential;
    memcpy(wait->ask.host, ask->host, strlen(ask->host));
    memcpy(wait->ask.method, ask->method, strlen(ask->method));
    memcpy(wait->ask.default_header, ask->default_header, strlen(ask->default_header));
    memcpy(wait->ask.default_format, ask->default_format, strlen(ask->default_format));
    TAILQ_INSERT_TAIL(&vault->waits, wait, link);
    send_more(vault);
    if (TAILQ_FIRST(&vault->waits) == wait)
        watch(vault);
    *ret_wait = wait;
    return 0;
}

void nj_vault_forget(struct nj_credential_wait *wait)
{
    if (!wait)
        return;
    if (wait->sent) { /* its answer comes all the same */
        wait->answered = NULL;
        return;
    }
    take_out(wait);
    wait_free(wait);
}
