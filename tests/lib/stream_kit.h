/*
 * stream_kit.h - what a dialect reads of an answer, as text: for goldens, and to compare
 */
#ifndef NJ_TESTS_STREAM_KIT_H
#define NJ_TESTS_STREAM_KIT_H

#include <inttypes.h>
#include <stdlib.h>

#include "batch/model/dialect.h"
#include "batch/model/retry.h"

static inline const char *verdict_text(enum nj_try_verdict verdict)
{
    static const char *const texts[] = {"again", "final", "stop", "over"};

    return texts[verdict];
}

/* Appends what @r and @reply came to. */
static inline void dump_reply(int r, const struct nj_error *why, const struct nj_reply *reply,
                              struct nj_buf *out)
{
    static const struct {
        unsigned bit;
        const char *text;
    } variants[] = {
#define X(name, bit, text) {bit, text},
        NJ_REPLY_VARIANTS(X)
#undef X
    };
    const struct nj_usage *usage = &reply->usage;
    struct nj_error err = {0};

    nj_buf_init(out, 64u << 20);
    if (r < 0 && nj_buf_printf(out, &err, "rubbish: %s\n", why->text) < 0)
        abort();
    if (r < 0)
        return; /* half a reading may differ in what it had looked at */
    if (reply->fault.is &&
        nj_buf_printf(out, &err, "fault %s %s: %s\n", nj_retry_cause_text(reply->fault.cause),
                      verdict_text(reply->fault.verdict), reply->fault.text) < 0)
        abort();
    if (nj_buf_printf(
            out, &err,
            "model %s\nusage %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            reply->model, usage->input_tokens, usage->output_tokens, usage->cache_read_tokens,
            usage->cache_write_5m_tokens, usage->cache_write_1h_tokens) < 0 ||
        (reply->stop && nj_buf_printf(out, &err, "stop %s\n", nj_stop_text(reply->stop)) < 0))
        abort();
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        if (reply->variants & variants[i].bit &&
            nj_buf_printf(out, &err, "variant %s\n", variants[i].text) < 0)
            abort();
    if (!reply->fault.is &&
        (nj_buf_text(out, "content ", &err) < 0 ||
         nj_buf_append(out, reply->content.data, reply->content.len, &err) < 0 ||
         nj_buf_text(out, "\n", &err) < 0))
        abort();
}

/* stream_read - read @stream in two pieces, cut at @cut; negative with @err set when it is rubbish
 */
static inline int stream_read(const struct nj_dialect *dialect, struct nj_span stream, size_t cut,
                              struct nj_reply *reply, struct nj_error *err)
{
    NJ_AUTO(nj_sse_done) struct nj_sse sse = {0};
    struct nj_span pieces[2] = {{stream.data, cut}, {stream.data + cut, stream.len - cut}};
    struct nj_reader *reader;
    bool done = false;
    int r = 0;

    nj_sse_init(&sse, NJ_EVENT_DATA_MAX_BYTES);
    if (dialect->reader_new(&reader, err) < 0)
        abort();
    for (size_t i = 0; i < 2 && r >= 0 && !done; i++) {
        struct nj_sse_event event;

        while (!done && (r = nj_sse_next(&sse, &pieces[i], &event, err)) == NJ_SSE_EVENT) {
            r = dialect->event(reader, &event, reply, err);
            if (r < 0)
                break;
            done = r == NJ_READ_DONE;
        }
    }
    if (r >= 0 && !done)
        r = dialect->end(reader, reply, err);
    dialect->reader_free(reader);
    return r;
}

static inline void stream_dump(const struct nj_dialect *dialect, struct nj_span stream, size_t cut,
                               struct nj_buf *out)
{
    NJ_AUTO(nj_reply_done) struct nj_reply reply;
    struct nj_error err = {0};
    int r;

    nj_reply_init(&reply);
    r = stream_read(dialect, stream, cut, &reply, &err);
    dump_reply(r, &err, &reply, out);
}

static inline void whole_dump(const struct nj_dialect *dialect, struct nj_span body,
                              struct nj_buf *out)
{
    NJ_AUTO(nj_reply_done) struct nj_reply reply;
    struct nj_error err = {0};
    int r;

    nj_reply_init(&reply);
    r = dialect->whole(body, &reply, &err);
    dump_reply(r, &err, &reply, out);
}

#endif
