/*
 * joblog.c - joblog.tsv: a line for every attempt at a session that has ended
 *
 * A session that was taken over from an earlier run has one line as well: attempt 0, status
 * "reused", and that run in place of a message.
 */
#include "batch/report/joblog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "batch/report/text.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define LINE_MAX_BYTES (64u << 10)

static const char header[] =
    "start\tend\tseconds\tkey\tgroup\tagent\tattempt\tstatus\tcause\tsteps\t"
    "cost_usd\tbundle\tmessage\n";

struct line {
    const struct nj_facts *facts;
    size_t index;
};

static int put_times(struct nj_buf *out, const struct nj_facts_attempt *attempt,
                     struct nj_error *err)
{
    int64_t ns = attempt->end_ns - attempt->start_ns;

    if (nj_text_stamp(out, attempt->start_ns, err) < 0 || nj_buf_text(out, "\t", err) < 0 ||
        nj_text_stamp(out, attempt->end_ns, err) < 0 || nj_buf_text(out, "\t", err) < 0)
        return -(int)err->code;
    return nj_text_seconds(out, ns > 0 ? (uint64_t)ns / 1000000 : 0, err);
}

static int put_texts(struct nj_buf *out, const char *const *texts, size_t count,
                     struct nj_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (nj_buf_text(out, "\t", err) < 0 || nj_text_tsv(out, texts[i], err) < 0)
            return -(int)err->code;
    return 0;
}

static int put_line(struct nj_buf *out, const struct nj_facts *facts, size_t index,
                    struct nj_error *err)
{
    const struct nj_facts_attempt *attempt = &facts->attempts[index];
    const char *who[] = {facts->key, facts->group, facts->agent};
    const char *how[] = {nj_facts_is_reused(facts) ? "reused" : nj_status_text(attempt->status),
                         attempt->kind};
    const char *left[] = {index + 1 == facts->n_attempts ? facts->bundle : "",
                          nj_facts_is_reused(facts) ? facts->reused : attempt->text};

    if (put_times(out, attempt, err) < 0 || put_texts(out, who, 3, err) < 0 ||
        nj_buf_printf(out, err, "\t%zu", nj_facts_is_reused(facts) ? 0 : index + 1) < 0 ||
        put_texts(out, how, 2, err) < 0 ||
        nj_buf_printf(out, err, "\t%" PRIu64 "\t", attempt->steps) < 0 ||
        nj_text_usd(out, attempt->cost_micro_usd, err) < 0 || put_texts(out, left, 2, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static int by_end(const void *left, const void *right)
{
    const struct line *a = left, *b = right;
    int64_t a_ns = a->facts->attempts[a->index].end_ns;
    int64_t b_ns = b->facts->attempts[b->index].end_ns;

    if (a_ns != b_ns)
        return a_ns < b_ns ? -1 : 1;
    if (a->facts == b->facts)
        return (a->index > b->index) - (a->index < b->index);
    return strcmp(a->facts->key, b->facts->key);
}

int nj_joblog_publish(int dir_fd, const struct nj_ledger *ledger, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    nj_auto_free struct line *lines = NULL;
    size_t max = 0, count = 0;

    for (size_t i = 0; i < ledger->n_entries; i++)
        max += nj_ledger_at(ledger, i) ? nj_ledger_at(ledger, i)->n_attempts : 0;
    lines = calloc(max + 1, sizeof(*lines));
    if (!lines)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const struct nj_facts *facts = nj_ledger_at(ledger, i);

        for (size_t k = 0; facts && k < facts->n_attempts; k++)
            if (facts->attempts[k].status != 0)
                lines[count++] = (struct line){facts, k};
    }
    if (count > 1)
        qsort(lines, count, sizeof(*lines), by_end);
    nj_buf_init(&out, SIZE_MAX / 2);
    if (nj_buf_text(&out, header, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < count; i++)
        if (put_line(&out, lines[i].facts, lines[i].index, err) < 0)
            return -(int)err->code;
    return nj_fsio_publish(dir_fd, NJ_JOBLOG_NAME, nj_buf_span(&out), 0600, err);
}

int nj_joblog_open(int dir_fd, int *ret_fd, struct nj_error *err)
{
    int fd = openat(dir_fd, NJ_JOBLOG_NAME, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return nj_fail_errno(err, errno, "open %s", NJ_JOBLOG_NAME);
    *ret_fd = fd;
    return 0;
}

int nj_joblog_append(int fd, const struct nj_facts *facts, size_t index, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, LINE_MAX_BYTES);
    if (put_line(&out, facts, index, err) < 0 || nj_fsio_write(fd, out.data, out.len, err) < 0)
        return nj_wrap(err, "%s", NJ_JOBLOG_NAME);
    return 0;
}
