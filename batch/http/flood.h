/*
 * flood.h - a TLS connection that brings much and nothing for anybody is ended
 *
 * HTTP/2 has frames that no call waits for (GOAWAY, PRIORITY, DATA without a byte...), and libcurl
 * 7.88 reads on, within one call of it, as long as more of them have come: a server that sends them
 * without end would hold up the loop, and so all sessions. So OpenSSL tells of each record, and
 * when many came, for long, while no call got a header or a byte, it is told that the connection is
 * at its end.
 */
#ifndef NJ_HTTP_FLOOD_H
#define NJ_HTTP_FLOOD_H

#include <stddef.h>
#include <stdint.h>

struct nj_flood {
    size_t records;    /* read since somebody got something, or libcurl was entered */
    uint64_t since_ms; /* when the first of them was */
};

/* nj_flood_watch - count the records of the connections that OpenSSL's @context is for; @flood is
 * that of the whole client, and outlives them */
void nj_flood_watch(struct nj_flood *flood, void *context);

/* nj_flood_none - libcurl is entered, or a call got something */
static inline void nj_flood_none(struct nj_flood *flood)
{
    flood->records = 0;
}

#endif
