/*
 * junit.c - junit.xml: a test suite a group, a test case a session
 *
 * Sessions of a group stand together in the plan's order; should they not, their group has several
 * suites, each with its own counts.
 */
#include "batch/report/junit.h"

#include "batch/report/text.h"

#include "formats/base/banned.h"

struct counts {
    size_t tests;
    size_t failures;
    size_t errors;
    size_t skipped;
    uint64_t busy_ms;
};

static bool is_engines(const struct nj_facts *facts)
{
    return facts->status == NJ_STATUS_FAILED && strcmp(facts->error_kind, "engine") == 0;
}

static void add(struct counts *counts, const struct nj_ledger *ledger, const struct nj_facts *facts)
{
    counts->tests++;
    counts->busy_ms += nj_ledger_busy_ms(facts, ledger->last_ns);
    switch (nj_ledger_status(facts)) {
    case NJ_STATUS_SUCCEEDED:
        break;
    case NJ_STATUS_FAILED:
        if (is_engines(facts))
            counts->errors++;
        else
            counts->failures++;
        break;
    case NJ_STATUS_SUSPENDED:
    case NJ_STATUS_SKIPPED:
        counts->skipped++;
        break;
    }
}

static int put_attribute(struct nj_buf *out, const char *name, const char *value,
                         struct nj_error *err)
{
    if (nj_buf_printf(out, err, " %s=\"", name) < 0 || nj_text_xml(out, value, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\"", err);
}

static int put_counts(struct nj_buf *out, const struct counts *counts, struct nj_error *err)
{
    if (nj_buf_printf(out, err, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\"",
                      counts->tests, counts->failures, counts->errors, counts->skipped) < 0 ||
        nj_buf_text(out, " time=\"", err) < 0 || nj_text_seconds(out, counts->busy_ms, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\"", err);
}

static int put_failure(const struct nj_ledger *ledger, const struct nj_facts *facts,
                       struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf command = {0};
    const char *element = is_engines(facts) ? "error" : "failure";
    int r;

    nj_buf_init(&command, 1u << 16);
    r = nj_ledger_command(ledger, facts, &command, err);
    if (r < 0 || nj_buf_printf(out, err, "      <%s", element) < 0 ||
        put_attribute(out, "type", facts->error_kind, err) < 0 ||
        put_attribute(out, "message", facts->error_text, err) < 0 ||
        nj_buf_text(out, ">", err) < 0 || nj_text_xml(out, facts->error_text, err) < 0)
        return -(int)err->code;
    if (r == 0 &&
        (nj_buf_text(out, "\n", err) < 0 || nj_text_xml(out, (const char *)command.data, err) < 0))
        return -(int)err->code;
    return nj_buf_printf(out, err, "</%s>\n", element);
}

/* It passed, though not today. */
static int put_reused(const struct nj_facts *facts, struct nj_buf *out, struct nj_error *err)
{
    if (nj_buf_text(out, "      <system-out>reused from ", err) < 0 ||
        nj_text_xml(out, facts->reused, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "</system-out>\n", err);
}

static int put_case(const struct nj_ledger *ledger, const struct nj_facts *facts,
                    struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *class_name = NULL;
    int r = 0;

    if (asprintf(&class_name, "%s.%s", ledger->job, facts->group) < 0)
        return nj_fail_nomem(err);
    if (nj_buf_text(out, "    <testcase", err) < 0 ||
        put_attribute(out, "name", facts->key, err) < 0 ||
        put_attribute(out, "classname", class_name, err) < 0 ||
        nj_buf_text(out, " time=\"", err) < 0 ||
        nj_text_seconds(out, nj_ledger_busy_ms(facts, ledger->last_ns), err) < 0)
        return -(int)err->code;
    if (facts->status == NJ_STATUS_SUCCEEDED && !nj_facts_is_reused(facts))
        return nj_buf_text(out, "\"/>\n", err);
    if (nj_buf_text(out, "\">\n", err) < 0)
        return -(int)err->code;
    if (nj_facts_is_reused(facts))
        r = put_reused(facts, out, err);
    else if (facts->status == NJ_STATUS_FAILED)
        r = put_failure(ledger, facts, out, err);
    else
        r = nj_buf_printf(out, err, "      <skipped message=\"%s\"/>\n",
                          facts->status == NJ_STATUS_SKIPPED ? "skipped"
                          : facts->opened_ns                 ? "suspended"
                                                             : "not begun");
    return r < 0 ? r : nj_buf_text(out, "    </testcase>\n", err);
}

/* One suite: the sessions from @first that have its group; returns the index behind them in
 * @ret_next. */
static int put_suite(const struct nj_ledger *ledger, const struct nj_tally *tally, size_t first,
                     size_t *ret_next, struct nj_buf *out, struct nj_error *err)
{
    const char *group = nj_ledger_at(ledger, first)->group;
    struct counts counts = {0};
    size_t next = first;

    for (; next < ledger->n_entries; next++) {
        const struct nj_facts *facts = nj_ledger_at(ledger, next);

        if (facts && strcmp(facts->group, group) != 0)
            break;
        if (facts)
            add(&counts, ledger, facts);
    }
    if (nj_buf_text(out, "  <testsuite", err) < 0 || put_attribute(out, "name", group, err) < 0 ||
        put_counts(out, &counts, err) < 0 || nj_buf_text(out, " timestamp=\"", err) < 0 ||
        nj_text_stamp(out, tally->began_ns, err) < 0 || nj_buf_text(out, "\">\n", err) < 0)
        return -(int)err->code;
    for (size_t i = first; i < next; i++)
        if (nj_ledger_at(ledger, i) && put_case(ledger, nj_ledger_at(ledger, i), out, err) < 0)
            return -(int)err->code;
    *ret_next = next;
    return nj_buf_text(out, "  </testsuite>\n", err);
}

int nj_junit_write(const struct nj_ledger *ledger, const struct nj_tally *tally, struct nj_buf *out,
                   struct nj_error *err)
{
    struct counts counts = {0};

    for (size_t i = 0; i < ledger->n_entries; i++)
        if (nj_ledger_at(ledger, i))
            add(&counts, ledger, nj_ledger_at(ledger, i));
    if (nj_buf_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites", err) < 0 ||
        put_attribute(out, "name", ledger->job, err) < 0 || put_counts(out, &counts, err) < 0 ||
        nj_buf_text(out, ">\n", err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < ledger->n_entries;) {
        if (!nj_ledger_at(ledger, i)) {
            i++;
            continue;
        }
        if (put_suite(ledger, tally, i, &i, out, err) < 0)
            return -(int)err->code;
    }
    return nj_buf_text(out, "</testsuites>\n", err);
}
