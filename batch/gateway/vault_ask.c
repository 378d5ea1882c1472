/*
 * vault_ask.c - asking the vault without waiting for it
 *
 * The one complication: the vault answers in order, so what is forgotten after it was sent keeps
 * its place in the queue until its answer has come.
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
    void *message; /* struct vault_ask or struct vault_mask */
    size_t message_len;
    nj_credential_answered *answered; /* of a header */
    nj_credential_masked *masked;     /* of a text; both NULL: forgotten */
    void *ctx;
    char *text; /* to be masked */
    size_t len;
    bool sent;
};

static struct nj_credential_wait *wait_new(struct nj_vault *vault, size_t message_len)
{
    struct nj_credential_wait *wait = calloc(1, sizeof(*wait));

    if (!wait)
        return NULL;
    wait->message = calloc(1, message_len);
    if (!wait->message) {
        free(wait);
        return NULL;
    }
    wait->vault = vault;
    wait->message_len = message_len;
    return wait;
}

static void wait_free(struct nj_credential_wait *wait)
{
    explicit_bzero(wait->message, wait->message_len); /* a text may hold a secret */
    free(wait->message);
    free(wait);
}

static void take_out(struct nj_credential_wait *wait)
{
    TAILQ_REMOVE(&wait->vault->waits, wait, link);
    wait->vault->n_sent -= wait->sent;
}

/* Who waits is told from the loop. */
static void give_up(struct nj_vault *vault)
{
    vault->gone = true;
    event_active(vault->heard, EV_READ, 0);
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
            n = send(vault->fd, wait->message, wait->message_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && vault->n_sent > 0)
            return; /* after the next answer */
        if (n < 0) {
            give_up(vault);
            return;
        }
        wait->sent = true;
        vault->n_sent++;
    }
}

/* Its turn has come: tells @wait, which is gone then. @message is its answer, or NULL and @why. */
static void tell(struct nj_credential_wait *wait, const void *message, size_t len,
                 struct nj_error *why)
{
    const struct vault_answer *answer = message;
    const struct vault_mask *masked = message;
    const char *line = NULL;

    take_out(wait);
    if (wait->masked) {
        if (message && len == wait->message_len)
            memcpy(wait->text, masked->text, wait->len);
        else
            memset(wait->text, '*', wait->len); /* nothing can be told apart */
        wait->masked(wait->ctx);
    } else if (wait->answered) {
        if (message && vault_take_answer(answer, len, why) == 0)
            line = answer->text;
        wait->answered(wait->ctx, line, why);
    }
    wait_free(wait);
}

static void fail_all(struct nj_vault *vault, struct nj_error *why)
{
    struct nj_credential_wait *wait;

    vault->gone = true; /* who asks from inside is refused at once */
    while ((wait = TAILQ_FIRST(&vault->waits)))
        tell(wait, NULL, 0, why);
}

static void watch(struct nj_vault *vault)
{
    const struct timeval limit = {.tv_sec = VAULT_ANSWER_TIMEOUT_S};
    const struct nj_credential_wait *first = TAILQ_FIRST(&vault->waits);

    if (!first)
        (void)event_del(vault->heard); /* it cannot fail */
    else
        (void)event_add(vault->heard,
                        &limit); /* without memory for it a hanging vault is not seen */
}

static void on_heard(int fd, short what, void *ctx)
{
    struct nj_vault *vault = ctx;
    struct nj_credential_wait *wait;
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
        if (!wait || !wait->sent ||
            vault_hear(vault, vault->message, VAULT_ROOM_BYTES, MSG_DONTWAIT, &len, &err) < 0 ||
            len == 0)
            break;
        tell(wait, vault->message, len, &why);
        explicit_bzero(vault->message, len);
    }
    if (err.code)
        fail_all(vault, &err);
    else
        send_more(vault);
    watch(vault);
}

/* The next loop hears answers of its own only. */
static void drain(struct nj_vault *vault)
{
    struct nj_error ignored = {0};
    size_t len;

    for (size_t n = vault->n_sent; n > 0 && !vault->gone; n--)
        if (vault_hear(vault, vault->message, VAULT_ROOM_BYTES, 0, &len, &ignored) < 0)
            vault->gone = true;
    explicit_bzero(vault->message, VAULT_ROOM_BYTES);
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
    free(vault->message);
    vault->message = NULL;
}

int nj_vault_attach(void *object, struct event_base *base, struct nj_error *err)
{
    struct nj_vault *vault = object;

    if (!vault || vault->fd < 0)
        return 0;
    if (!base) {
        if (vault->message)
            drain(vault);
        vault_forget_all(vault);
        return 0;
    }
    vault->message = malloc(VAULT_ROOM_BYTES);
    vault->heard = event_new(base, vault->fd, EV_READ | EV_PERSIST, on_heard, vault);
    return vault->message && vault->heard ? 0 : nj_fail_nomem(err);
}

static void queue(struct nj_vault *vault, struct nj_credential_wait *wait)
{
    TAILQ_INSERT_TAIL(&vault->waits, wait, link);
    send_more(vault);
    if (TAILQ_FIRST(&vault->waits) == wait)
        watch(vault);
}

int nj_vault_ask(void *object, const struct nj_credential_ask *ask,
                 nj_credential_answered *answered, void *answered_ctx,
                 struct nj_credential_wait **ret_wait, struct nj_error *err)
{
    struct nj_vault *vault = object;
    struct nj_credential_wait *wait;
    struct vault_ask *message;

    if (!vault || vault->fd < 0)
        return nj_fail(err, NJ_E_INPUT,
                       "no credential is held: none of the job's models names one");
    if (vault->gone || !vault->heard)
        return nj_fail(err, NJ_E_SYSTEM, "the vault has ended; `resume` starts another");
    if (strlen(ask->host) >= sizeof(message->host) ||
        strlen(ask->method) >= sizeof(message->method) ||
        strlen(ask->default_header) >= sizeof(message->default_header) ||
        strlen(ask->default_format) >= sizeof(message->default_format))
        return nj_fail(err, NJ_E_LIMIT, "credential for %.64s: a name is too long", ask->host);
    wait = wait_new(vault, sizeof(*message));
    if (!wait)
        return nj_fail_nomem(err);
    wait->answered = answered;
    wait->ctx = answered_ctx;
    message = wait->message;
    message->kind = VAULT_HEADER;
    message->credential = (uint32_t)ask->credential;
    memcpy(message->host, ask->host, strlen(ask->host));
    memcpy(message->method, ask->method, strlen(ask->method));
    memcpy(message->default_header, ask->default_header, strlen(ask->default_header));
    memcpy(message->default_format, ask->default_format, strlen(ask->default_format));
    queue(vault, wait);
    *ret_wait = wait;
    return 0;
}

bool nj_vault_mask(void *object, char *text, size_t len, nj_credential_masked *masked,
                   void *masked_ctx, struct nj_credential_wait **ret_wait)
{
    struct nj_vault *vault = object;
    struct nj_credential_wait *wait = NULL;
    struct vault_mask *message;

    if (!vault || vault->fd < 0 || len == 0)
        return true; /* no secret is held, none can have been sent */
    if (!vault->gone && vault->heard && len <= NJ_VAULT_MASK_MAX_BYTES)
        wait = wait_new(vault, offsetof(struct vault_mask, text) + len);
    if (!wait) {
        memset(text, '*', len);
        return true;
    }
    wait->masked = masked;
    wait->ctx = masked_ctx;
    wait->text = text;
    wait->len = len;
    message = wait->message;
    message->kind = VAULT_MASK;
    message->len = (uint32_t)len;
    memcpy(message->text, text, len);
    queue(vault, wait);
    *ret_wait = wait;
    return false;
}

void nj_vault_forget(struct nj_credential_wait *wait)
{
    if (!wait)
        return;
    if (wait->sent) { /* its answer comes all the same */
        wait->answered = NULL;
        wait->masked = NULL;
        return;
    }
    take_out(wait);
    wait_free(wait);
}
