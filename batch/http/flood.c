/*
 * flood.c - OpenSSL's records, counted
 */
#include "batch/http/flood.h"

#include <openssl/ssl.h>

#include "batch/http/call.h"

#include "formats/base/banned.h"

/* Both, so that neither a busy machine nor the headers of many answers at once are a flood. */
#define RECORDS_MAX 300u /* more than calls share a connection */
#define FLOOD_MS 50u
/* Nor are a few for each of those calls, while a byte comes now and then. */
#define VAIN_MAX 1000u
#define VAIN_MS 100u

static bool is_flood(const struct nj_http *http)
{
    const struct nj_flood *flood = &http->flood;
    bool many = flood->records > RECORDS_MAX;
    bool vain = flood->vain + flood->records > VAIN_MAX;
    uint64_t now = many || vain ? nj_http_now_ms() : 0;

    return (many && now - flood->since_ms > FLOOD_MS) || (vain && now - http->now_ms > VAIN_MS);
}

/* Its calls are told why they end. */
static void end_connection(struct nj_http *http, SSL *ssl)
{
    struct nj_http_call *call;

    TAILQ_FOREACH(call, &http->calls, link)
    call->flooded = call->flooded || call->tls == ssl;
    SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN | SSL_SENT_SHUTDOWN);
}

static void on_record(int written, int version, int type, const void *bytes, size_t len, SSL *ssl,
                      void *ctx)
{
    struct nj_http *http = ctx;
    struct nj_flood *flood = &http->flood;

    (void)version;
    (void)bytes;
    (void)len;
    if (written || type != SSL3_RT_HEADER)
        return;
    if (flood->connection != ssl)
        *flood = (struct nj_flood){.connection = ssl};
    if (flood->records++ == 0)
        flood->since_ms = nj_http_now_ms();
    if (is_flood(http))
        end_connection(http, ssl);
}

void nj_flood_watch(struct nj_http *http, void *context)
{
    SSL_CTX_set_msg_callback(context, on_record);
    SSL_CTX_set_msg_callback_arg(context, http);
}
