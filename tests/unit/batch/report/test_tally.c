/*
 * test_tally.c - a run counted, from packed facts and from a journal
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch/report/tally.h"
#include "formats/base/fsio.h"
#include "formats/base/pack.h"
#include "tests/lib/sample_events.h"
#include "tests/lib/sample_facts.h"

#include "formats/base/banned.h"

#define SECOND INT64_C(1000000000)
#define START (INT64_C(1795310400) * SECOND)

static void must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void normal_is(const char *text, const char *key, const char *expected)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};

    assert_string_equal(nj_tally_normal(&arena, text, key), expected);
}

static void causes_differ_only_in_what_differs_between_items(void **state)
{
    (void)state;
    normal_is("exit status 7 after 12.5 s", "k", "exit status # after #.# s");
    normal_is("object 0123abcdef is missing", "k", "object # is missing");
    normal_is("totals_17 and total-3", "k", "totals_# and total-#");
    normal_is("python3 of acme/7 failed", "acme/7", "python3 of {key} failed");
    normal_is("acme/77 failed", "acme/7", "acme/# failed");
    normal_is("4 turns (limits.turns)", "turns", "# turns (limits.turns)");
    normal_is("a\n\n  b\tc", "k", "a b c");
    normal_is("", "k", "");
}

static void add(struct nj_ledger *ledger, uint32_t number, const struct nj_facts *facts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    struct nj_error err = {0};

    nj_buf_init(&packed, 1u << 20);
    must(nj_facts_encode(facts, &packed, &err), &err);
    must(nj_ledger_add(ledger, number, nj_buf_span(&packed), &err), &err);
}

static void sums_causes_and_the_slowest_are_found(void **state)
{
    NJ_AUTO(nj_ledger_done) struct nj_ledger ledger = {0};
    NJ_AUTO(nj_tally_done) struct nj_tally tally = {0};
    struct nj_error err = {0};

    (void)state;
    nj_ledger_init(&ledger);
    ledger.total = 12;
    for (uint32_t i = 0; i < 10; i++) {
        struct nj_facts_attempt attempt = {.start_ns = START, .kind = "", .text = ""};
        struct nj_facts facts = sample_facts();
        char key[16], text[64];

        (void)snprintf(key, sizeof(key), "key-%u", i);
        (void)snprintf(text, sizeof(text), "%s: %u of 5", i < 6 ? "too much" : "too little", i);
        facts.key = key;
        facts.group = i % 2 ? "odd" : "even";
        facts.opened_ns = START;
        facts.down_ms = 0;
        facts.status = i < 8 ? NJ_STATUS_FAILED : NJ_STATUS_SUCCEEDED;
        facts.error_kind = i < 8 ? "accept" : "";
        facts.error_text = i < 8 ? text : "";
        attempt.end_ns = START + (int64_t)(i * 7 % 10 + 1) * SECOND;
        attempt.status = facts.status;
        facts.attempts = &attempt;
        facts.n_attempts = 1;
        add(&ledger, i + 1, &facts);
    }
    must(nj_tally_new(&ledger, START, &tally, &err), &err);
    assert_int_equal(tally.all.total, 12);
    assert_int_equal(tally.all.failed, 8);
    assert_int_equal(tally.all.succeeded, 2);
    assert_int_equal(tally.all.waiting, 2);
    assert_int_equal(tally.all.cost_micro_usd, 10 * 3300);
    assert_int_equal(tally.all.usage.cache_read_tokens, 10 * 707);
    assert_int_equal(tally.n_groups, 2);
    assert_string_equal(tally.groups[0].name, "even");
    assert_int_equal(tally.groups[0].total, 5);
    assert_int_equal(tally.n_models, 2);
    assert_string_equal(tally.models[0].name, "large");
    assert_int_equal(tally.models[0].calls, 30);
    assert_int_equal(tally.n_causes, 2);
    assert_string_equal(tally.causes[0].text, "too much: # of #");
    assert_int_equal(tally.causes[0].count, 6);
    assert_int_equal(tally.causes[0].first, 0);
    assert_int_equal(tally.causes[1].first, 6);
    assert_int_equal(tally.cause_of[5], 1);
    assert_int_equal(tally.cause_of[7], 2);
    assert_int_equal(tally.cause_of[9], 0);
    assert_int_equal(tally.n_slowest, 3);
    assert_int_equal(tally.slowest[0], 7); /* 10 s, 9 s, 8 s: 7 * 7 % 10 is 9 */
    assert_int_equal(tally.slowest[1], 4);
    assert_int_equal(tally.slowest[2], 1);
}

/* ---- from a journal ---- */

struct record {
    char path[64];
    int dir_fd;
    struct nj_journal_writer *writer;
    uint64_t sequence;
};

static void begin(struct record *record)
{
    struct nj_journal_start start = {.epoch = 1, .first_segment = 1, .segment_bytes = 1u << 20};
    struct nj_error err = {0};

    *record = (struct record){.path = "/tmp/nj-tally-XXXXXX", .dir_fd = -1};
    assert_non_null(mkdtemp(record->path));
    record->dir_fd = open(record->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(record->dir_fd >= 0);
    must(nj_journal_writer_open(record->dir_fd, &start, &record->writer, &err), &err);
}

static void end(struct record *record)
{
    struct nj_error err = {0};

    nj_journal_writer_close(record->writer);
    must(nj_fsio_remove_tree(AT_FDCWD, record->path, &err), &err);
    (void)close(record->dir_fd);
}

static void put(struct record *record, enum nj_frame_kind kind, struct nj_span payload)
{
    struct nj_frame frame = {.kind = kind, .session = 1, .payload = payload};
    struct nj_error err = {0};

    if (kind == NJ_FRAME_EVENT)
        frame.sequence = ++record->sequence;
    must(nj_journal_append(record->writer, &frame, NULL, &err), &err);
    must(nj_journal_commit(record->writer, &err), &err);
}

static void put_event(struct record *record, enum nj_event_kind kind, int64_t second)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_event event = sample_event(kind);
    struct nj_error err = {0};

    event.time_ns = START + second * SECOND;
    nj_buf_init(&bytes, 1u << 20);
    must(nj_event_encode(&event, &bytes, &err), &err);
    put(record, NJ_FRAME_EVENT, nj_buf_span(&bytes));
}

static void put_archived(struct record *record, const struct nj_facts *facts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0}, bytes = {0};
    struct nj_archived archived = {.row = nj_span_text("{}"), .status = facts->status};
    struct nj_error err = {0};

    nj_buf_init(&packed, 1u << 20);
    nj_buf_init(&bytes, 1u << 20);
    must(nj_facts_encode(facts, &packed, &err), &err);
    archived.facts = nj_buf_span(&packed);
    must(nj_archived_encode(&archived, &bytes, &err), &err);
    put(record, NJ_FRAME_ARCHIVED, nj_buf_span(&bytes));
}

static void reading_on_folds_only_what_came_since(void **state)
{
    NJ_AUTO(nj_ledger_done) struct nj_ledger ledger = {0};
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct record record;
    struct nj_error err = {0};

    (void)state;
    begin(&record);
    nj_ledger_init(&ledger);
    put_event(&record, NJ_EVENT_OPENED, 0);
    put_event(&record, NJ_EVENT_REPLY, 1);
    must(nj_journal_open(record.dir_fd, &journal, &err), &err);
    assert_int_equal(nj_ledger_read(&ledger, journal, &err), 1);
    assert_int_equal(nj_ledger_at(&ledger, 0)->turns, 1);
    assert_int_equal(nj_ledger_read(&ledger, journal, &err), 0);
    put_event(&record, NJ_EVENT_REPLY, 2);
    assert_int_equal(nj_ledger_read(&ledger, journal, &err), 1);
    assert_int_equal(nj_ledger_at(&ledger, 0)->turns, 2);
    assert_int_equal(nj_ledger_at(&ledger, 0)->status, 0);
    assert_null(nj_ledger_at(&ledger, 1));
    end(&record);
}

static void a_reopened_session_goes_on_with_its_figures(void **state)
{
    NJ_AUTO(nj_ledger_done) struct nj_ledger ledger = {0};
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_facts facts = sample_facts();
    struct record record;
    struct nj_error err = {0};

    (void)state;
    begin(&record);
    nj_ledger_init(&ledger);
    put_event(&record, NJ_EVENT_OPENED, 0);
    put_archived(&record, &facts);
    must(nj_journal_open(record.dir_fd, &journal, &err), &err);
    must(nj_ledger_read(&ledger, journal, &err), &err);
    assert_int_equal(nj_ledger_at(&ledger, 0)->status, NJ_STATUS_FAILED);
    put(&record, NJ_FRAME_REOPENED, nj_span_text("\x80"));
    must(nj_ledger_read(&ledger, journal, &err), &err);
    assert_int_equal(nj_ledger_at(&ledger, 0)->status, 0);
    record.sequence = 0; /* an attempt's frames count from 1 again */
    put_event(&record, NJ_EVENT_OPENED, 100);
    put_event(&record, NJ_EVENT_REPLY, 101);
    put_event(&record, NJ_EVENT_CLOSED, 102);
    must(nj_ledger_read(&ledger, journal, &err), &err);
    assert_int_equal(nj_ledger_at(&ledger, 0)->n_attempts, 3);
    assert_int_equal(nj_ledger_at(&ledger, 0)->turns, 5);
    assert_int_equal(nj_ledger_at(&ledger, 0)->cost_micro_usd, 2 * 3300);
    assert_int_equal(nj_ledger_at(&ledger, 0)->attempts[2].steps, 1);
    end(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causes_differ_only_in_what_differs_between_items),
        cmocka_unit_test(sums_causes_and_the_slowest_are_found),
        cmocka_unit_test(reading_on_folds_only_what_came_since),
        cmocka_unit_test(a_reopened_session_goes_on_with_its_figures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
