/*
 * header.c - splitting header lines
 */
#include "batch/http/header.h"

#include <strings.h>

#include "formats/base/banned.h"

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct nj_span trim(struct nj_span span)
{
    while (span.len > 0 && is_blank(span.data[0]))
        span = (struct nj_span){span.data + 1, span.len - 1};
    while (span.len > 0 && is_blank(span.data[span.len - 1]))
        span.len--;
    return span;
}

/* A name is one token: a blank in it, or before the colon, makes the line none of ours. */
static bool is_name(struct nj_span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f)
            return false;
    return name.len > 0;
}

size_t nj_http_headers_read(struct nj_span block, struct nj_http_header *ret_headers, size_t max)
{
    size_t n = 0;

    while (block.len > 0 && n < max) {
        const uint8_t *end = memchr(block.data, '\n', block.len);
        size_t len = end ? (size_t)(end - block.data) + 1 : block.len;
        const uint8_t *colon = memchr(block.data, ':', len);

        if (colon) {
            struct nj_span name = {block.data, (size_t)(colon - block.data)};

            if (is_name(name))
                ret_headers[n++] = (struct nj_http_header){
                    .name = name,
                    .value = trim((struct nj_span){colon + 1, len - name.len - 1}),
                };
        }
        block = (struct nj_span){block.data + len, block.len - len};
    }
    return n;
}

struct nj_span nj_http_header_find(const struct nj_http_header *headers, size_t n_headers,
                                   const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < n_headers; i++)
        if (headers[i].name.len == len &&
            strncasecmp((const char *)headers[i].name.data, name, len) == 0)
            return headers[i].value;
    return (struct nj_span){0};
}

int nj_http_status_read(struct nj_span line)
{
    static const char start[] = "HTTP/";
    size_t at = sizeof(start) - 1;
    int status = 0;

    if (line.len < at || memcmp(line.data, start, at) != 0)
        return -1;
    while (at < line.len && line.data[at] != ' ')
        at++;
    while (at < line.len && line.data[at] == ' ')
        at++;
    for (size_t i = 0; i < 3; i++, at++) {
        if (at >= line.len || line.data[at] < '0' || line.data[at] > '9')
            return -1;
        status = status * 10 + (line.data[at] - '0');
    }
    if (at < line.len && !is_blank(line.data[at]))
        return -1;
    return status >= 100 ? status : -1;
}
