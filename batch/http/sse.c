/*
 * sse.c - reading an event stream
 *
 * The one complication: CR ends a line at once, so the LF of a CRLF is met at the start of the next
 * line, perhaps in the next bytes, and must not count as a blank one.
 */
#include "batch/http/sse.h"

#include "formats/base/banned.h"

#define KEEP_BYTES 4096 /* buffers that grew beyond this are given back after each event */

void nj_sse_init(struct nj_sse *sse, size_t max_bytes)
{
    *sse = (struct nj_sse){.max_bytes = max_bytes};
    nj_buf_init(&sse->line, max_bytes);
    nj_buf_init(&sse->data, max_bytes);
}

void nj_sse_done(struct nj_sse *sse)
{
    nj_buf_done(&sse->line);
    nj_buf_done(&sse->data);
}

bool nj_sse_is_clean(const struct nj_sse *sse)
{
    return sse->line.len == 0 && (sse->given || (!sse->has_data && sse->name_len == 0));
}

static void reset(struct nj_buf *buf)
{
    if (buf->cap > KEEP_BYTES)
        nj_buf_done(buf);
    else
        nj_buf_clear(buf);
}

static void begin_event(struct nj_sse *sse)
{
    reset(&sse->data);
    sse->name_len = 0;
    sse->name[0] = 0;
    sse->has_data = false;
    sse->given = false;
}

static int take_data(struct nj_sse *sse, struct nj_span value, struct nj_error *err)
{
    if (value.len > sse->max_bytes - sse->data.len ||
        (sse->has_data && value.len == sse->max_bytes - sse->data.len))
        return nj_fail(err, NJ_E_LIMIT, "event stream: an event has more than %zu bytes",
                       sse->max_bytes);
    if (sse->has_data && nj_buf_append(&sse->data, "\n", 1, err) < 0)
        return -(int)err->code;
    sse->has_data = true;
    return nj_buf_append(&sse->data, value.data, value.len, err);
}

/* One whole line, without its end; it is not blank. */
static int take_line(struct nj_sse *sse, struct nj_span line, struct nj_error *err)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    struct nj_span field = line, value = {0};

    if (colon) {
        field.len = (size_t)(colon - line.data);
        value = (struct nj_span){colon + 1, line.len - field.len - 1};
        if (value.len > 0 && value.data[0] == ' ')
            value = (struct nj_span){value.data + 1, value.len - 1};
    }
    if (nj_span_is(field, "data"))
        return take_data(sse, value, err);
    if (nj_span_is(field, "event")) {
        sse->name_len = value.len < NJ_SSE_NAME_MAX_BYTES ? value.len : NJ_SSE_NAME_MAX_BYTES;
        if (sse->name_len > 0)
            memcpy(sse->name, value.data, sse->name_len);
        sse->name[sse->name_len] = 0;
    }
    return 0; /* a comment has an empty field; id, retry and unknown ones are passed over */
}

/* The next line end in @bytes, or its length. */
static size_t find_end(struct nj_span bytes)
{
    const uint8_t *lf = memchr(bytes.data, '\n', bytes.len);
    size_t len = lf ? (size_t)(lf - bytes.data) : bytes.len;
    const uint8_t *cr = memchr(bytes.data, '\r', len);

    return cr ? (size_t)(cr - bytes.data) : len;
}

static int too_long(const struct nj_sse *sse, struct nj_error *err)
{
    return nj_fail(err, NJ_E_LIMIT, "event stream: a line has more than %zu bytes", sse->max_bytes);
}

static struct nj_span without_bom(struct nj_sse *sse, struct nj_span line)
{
    if (!sse->begun && line.len >= 3 && memcmp(line.data, "\xef\xbb\xbf", 3) == 0)
        line = (struct nj_span){line.data + 3, line.len - 3};
    sse->begun = true;
    return line;
}

int nj_sse_next(struct nj_sse *sse, struct nj_span *bytes, struct nj_sse_event *ret_event,
                struct nj_error *err)
{
    if (sse->given)
        begin_event(sse);
    while (bytes->len > 0) {
        struct nj_span line = *bytes;

        if (sse->after_cr) {
            sse->after_cr = false;
            if (bytes->data[0] == '\n') {
                *bytes = (struct nj_span){bytes->data + 1, bytes->len - 1};
                continue;
            }
        }
        line.len = find_end(*bytes);
        if (line.len > sse->max_bytes - sse->line.len)
            return too_long(sse, err);
        if (line.len == bytes->len) {
            *bytes = (struct nj_span){bytes->data + bytes->len, 0};
            return nj_buf_append(&sse->line, line.data, line.len, err) < 0 ? -(int)err->code
                                                                           : NJ_SSE_MORE;
        }
        sse->after_cr = bytes->data[line.len] == '\r';
        *bytes = (struct nj_span){bytes->data + line.len + 1, bytes->len - line.len - 1};
        if (sse->line.len > 0) {
            if (nj_buf_append(&sse->line, line.data, line.len, err) < 0)
                return -(int)err->code;
            line = nj_buf_span(&sse->line);
        }
        line = without_bom(sse, line);
        if (line.len > 0) {
            if (take_line(sse, line, err) < 0)
                return -(int)err->code;
            reset(&sse->line);
            continue;
        }
        reset(&sse->line);
        if (!sse->has_data) { /* a name without data is no event */
            begin_event(sse);
            continue;
        }
        sse->given = true;
        *ret_event = (struct nj_sse_event){
            .name = {(const uint8_t *)sse->name, sse->name_len},
            .data = nj_buf_span(&sse->data),
        };
        return NJ_SSE_EVENT;
    }
    return NJ_SSE_MORE;
}
