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

static void on_record(int written, int version, int type, const void *bytes, size_t len, SSL *ssl,
                      void *ctx)
{
    struct nj_flood *flood = ctx;

    (void)version;
    (void)bytes;
    (void)len;
    if (written || type != SSL3_RT_HEADER)
        return;
    if (flood->records++ == 0)
        flood->since_ms = nj_http_now_ms();
    if (flood->records > RECORDS_MAX && nj_http_now_ms() - flood->since_ms > FLOOD_MS)
        SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN | SSL_SENT_SHUTDOWN);
}

void nj_flood_watch(struct nj_flood *flood, void *context)
{
    SSL_CTX_set_msg_callback(context, on_record);
    SSL_CTX_set_msg_callback_arg(context, flood);
}
