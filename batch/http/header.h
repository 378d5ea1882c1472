/*
 * header.h - headers of an HTTP message, as spans
 *
 * Names are compared without regard to case; values come without the blanks around them. Nothing
 * here owns memory.
 */
#ifndef NJ_HTTP_HEADER_H
#define NJ_HTTP_HEADER_H

#include "formats/base/buf.h"

#define NJ_HTTP_HEADERS_MAX 128         /* in one answer; what comes after them is not looked at */
#define NJ_HTTP_HEADER_MAX_BYTES 65536u /* of all headers of one answer; its trailers as much */

struct nj_http_header {
    struct nj_span name;
    struct nj_span value;
};

/* nj_http_headers_read - split the header lines of one answer (its status line apart)
 *
 * @block is what came between the status line and the blank line, lines ending in CRLF or LF; lines
 * that are no header (no colon, an empty name, a folded line) are passed over. Returns how many of
 * @ret_headers were filled, at most @max. */
size_t nj_http_headers_read(struct nj_span block, struct nj_http_header *ret_headers, size_t max);

/* nj_http_header_find - the value of the first header called @name; data is NULL when there is none
 */
struct nj_span nj_http_header_find(const struct nj_http_header *headers, size_t n_headers,
                                   const char *name);

/* nj_http_status_read - the status of a status line ("HTTP/1.1 200 OK", "HTTP/2 200"), or -1 */
int nj_http_status_read(struct nj_span line);

#endif
