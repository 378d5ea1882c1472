/*
 * flood.h - a TLS connection that brings much and nothing for anybody is ended
 *
 * HTTP/2 has frames that no call waits for (GOAWAY, PRIORITY, DATA without a byte...), and libcurl
 * 7.88 reads on, within one call of it, as long as more of them have come: a server that sends them
 * without end would hold up the loop, and so all sessions. So OpenSSL tells of each record, and
 * when many came, for long, while no call got a header or a byte, or hardly one, it is told that
 * the connection is at its end. What was asked by it ends as cut, and says so.
 */
#ifndef NJ_HTTP_FLOOD_H
#define NJ_HTTP_FLOOD_H

#include <stddef.h>
#include <stdint.h>

struct nj_http;

struct nj_flood {
    const void *connection; /* what is read, since libcurl was entered */
    size_t records;         /* of it, since a call got something */
    uint64_t since_ms;      /* when the first of them was */
    size_t vain;            /* of those before, what brought nothing */
};

/* nj_flood_watch - count the records of the connections that OpenSSL's @context is for; @http
 * outlives them */
void nj_flood_watch(struct nj_http *http, void *context);

/* nj_flood_begin - libcurl is entered */
static inline void nj_flood_begin(struct nj_flood *flood)
{
    *flood = (struct nj_flood){0};
}

/* nj_flood_got - a call got something, which the last record brought */
static inline void nj_flood_got(struct nj_flood *flood)
{
    if (flood->records > 1)
        flood->vain += flood->records - 1;
    flood->records = 0;
}

#endif
