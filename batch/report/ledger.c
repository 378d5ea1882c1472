/*
 * ledger.c - all sessions of a run in figures
 */
#include "batch/report/ledger.h"

#include "batch/report/text.h"
#include "formats/base/pack.h"

#include "formats/base/banned.h"

void nj_ledger_init(struct nj_ledger *ledger)
{
    *ledger = (struct nj_ledger){.job = "", .run_path = "", .state = ""};
}

static void fold_free(struct nj_fold *fold)
{
    if (!fold)
        return;
    nj_fold_done(fold);
    free(fold);
}

void nj_ledger_done(struct nj_ledger *ledger)
{
    for (size_t i = 0; i < ledger->n_entries; i++)
        fold_free(ledger->entries[i].fold);
    free(ledger->entries);
    nj_arena_done(&ledger->arena);
    *ledger = (struct nj_ledger){0};
}

static int entry_of(struct nj_ledger *ledger, uint32_t number, struct nj_ledger_entry **ret_entry,
                    struct nj_error *err)
{
    if (number < 1 || number > NJ_LEDGER_SESSIONS_MAX)
        return nj_fail(err, NJ_E_CORRUPT, "a frame of session %u: a run has at most %d", number,
                       NJ_LEDGER_SESSIONS_MAX);
    if (number > ledger->cap_entries) {
        size_t cap = ledger->cap_entries ? ledger->cap_entries * 2 : 64;
        struct nj_ledger_entry *grown;

        while (cap < number)
            cap *= 2;
        grown = reallocarray(ledger->entries, cap, sizeof(*grown));
        if (!grown)
            return nj_fail_nomem(err);
        memset(grown + ledger->cap_entries, 0, (cap - ledger->cap_entries) * sizeof(*grown));
        ledger->entries = grown;
        ledger->cap_entries = cap;
    }
    if (number > ledger->n_entries)
        ledger->n_entries = number;
    if (ledger->n_entries > ledger->total)
        ledger->total = ledger->n_entries;
    *ret_entry = &ledger->entries[number - 1];
    return 0;
}

static void note_time(struct nj_ledger *ledger, int64_t time_ns)
{
    if (time_ns > ledger->last_ns)
        ledger->last_ns = time_ns;
}

int nj_ledger_add(struct nj_ledger *ledger, uint32_t number, struct nj_span packed,
                  struct nj_error *err)
{
    struct nj_ledger_entry *entry;
    struct nj_facts facts;

    if (entry_of(ledger, number, &entry, err) < 0 ||
        nj_facts_decode(packed, &ledger->arena, &facts, err) < 0)
        return nj_wrap(err, "session %u", number);
    fold_free(entry->fold);
    *entry = (struct nj_ledger_entry){.facts = facts, .known = true};
    note_time(ledger, nj_ledger_ended_ns(&entry->facts));
    return 0;
}

int nj_ledger_add_waiting(struct nj_ledger *ledger, uint32_t number, const char *key,
                          const char *group, const char *agent, struct nj_error *err)
{
    struct nj_ledger_entry *entry;

    if (entry_of(ledger, number, &entry, err) < 0)
        return -(int)err->code;
    if (entry->known)
        return 0;
    if (nj_facts_init(&entry->facts, &ledger->arena, key, group, agent, err) < 0)
        return -(int)err->code;
    entry->known = true;
    return 0;
}

/* ---- from the journal ---- */

int nj_ledger_run_time(struct nj_span payload, int64_t *ret_ns, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at map;

    if (nj_pack_open(&doc, "run", payload, err) < 0 || nj_pack_root(&doc, &map, err) < 0)
        return -(int)err->code;
    return nj_pack_get_int(&map, "time_ns", ret_ns, err);
}

static int on_run(struct nj_ledger *ledger, const struct nj_frame *frame, struct nj_error *err)
{
    int64_t time_ns = 0;

    if (nj_ledger_run_time(frame->payload, &time_ns, err) < 0)
        return -(int)err->code;
    if (ledger->epochs++ > 0)
        return 0; /* that a later engine began is no work: it may have found nothing to do */
    ledger->started_ns = time_ns;
    note_time(ledger, time_ns);
    return 0;
}

static int on_event(struct nj_ledger *ledger, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_ledger_entry *entry;
    struct nj_event event;

    if (entry_of(ledger, frame->session, &entry, err) < 0 ||
        nj_event_decode(frame->payload, &event, err) < 0)
        return -(int)err->code;
    if (!entry->fold) {
        entry->fold = calloc(1, sizeof(*entry->fold));
        if (!entry->fold)
            return nj_fail_nomem(err);
        if (entry->known) /* archived, and tried again: its texts stay in the ledger's arena */
            nj_fold_continue(entry->fold, &entry->facts);
    }
    if (nj_fold_event(entry->fold, &event, err) < 0)
        return -(int)err->code;
    entry->known = true;
    note_time(ledger, event.time_ns);
    return 0;
}

static int on_archived(struct nj_ledger *ledger, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_archived archived;

    if (nj_archived_decode(frame->payload, &archived, err) < 0)
        return -(int)err->code;
    if (archived.facts.len == 0)
        return 0; /* of a first build: what was folded stays */
    return nj_ledger_add(ledger, frame->session, archived.facts, err);
}

/* The attempt that was archived was not the last: the session is to go on. */
static int on_reopened(struct nj_ledger *ledger, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_ledger_entry *entry;
    struct nj_facts *facts;

    if (entry_of(ledger, frame->session, &entry, err) < 0)
        return -(int)err->code;
    facts = entry->fold ? &entry->fold->facts : &entry->facts;
    facts->status = 0;
    facts->bundle = "";
    return 0;
}

int nj_ledger_read(struct nj_ledger *ledger, struct nj_journal *journal, struct nj_error *err)
{
    struct nj_frame frame;
    int any = 0;
    int r;

    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        any = 1;
        r = 0;
        if (frame.kind == NJ_FRAME_RUN)
            r = on_run(ledger, &frame, err);
        else if (frame.kind == NJ_FRAME_EVENT)
            r = on_event(ledger, &frame, err);
        else if (frame.kind == NJ_FRAME_ARCHIVED)
            r = on_archived(ledger, &frame, err);
        else if (frame.kind == NJ_FRAME_REOPENED)
            r = on_reopened(ledger, &frame, err);
        if (r < 0)
            return nj_wrap(err, "session %u, frame %llu", frame.session,
                           (unsigned long long)frame.sequence);
    }
    return r < 0 ? r : any;
}

/* ---- asking ---- */

const struct nj_facts *nj_ledger_at(const struct nj_ledger *ledger, size_t index)
{
    const struct nj_ledger_entry *entry;

    if (index >= ledger->n_entries || !ledger->entries[index].known)
        return NULL;
    entry = &ledger->entries[index];
    return entry->fold ? &entry->fold->facts : &entry->facts;
}

enum nj_status nj_ledger_status(const struct nj_facts *facts)
{
    return facts->status ? facts->status : NJ_STATUS_SUSPENDED;
}

int64_t nj_ledger_ended_ns(const struct nj_facts *facts)
{
    if (facts->status == 0 || facts->n_attempts == 0)
        return 0;
    return facts->attempts[facts->n_attempts - 1].end_ns;
}

uint64_t nj_ledger_busy_ms(const struct nj_facts *facts, int64_t now_ns)
{
    int64_t end_ns = facts->status ? nj_ledger_ended_ns(facts) : now_ns;
    uint64_t ms;

    if (facts->opened_ns == 0 || end_ns <= facts->opened_ns)
        return 0;
    ms = (uint64_t)(end_ns - facts->opened_ns) / 1000000;
    return ms > facts->down_ms ? ms - facts->down_ms : 0;
}

uint64_t nj_ledger_runtime_cost(const struct nj_ledger *ledger, uint64_t box_held_ms)
{
    return (uint64_t)((double)box_held_ms / 3.6e6 * (double)ledger->usd_per_hour_micro + 0.5);
}

int nj_ledger_command(const struct nj_ledger *ledger, const struct nj_facts *facts,
                      struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *what = NULL;

    if (facts->bundle && facts->bundle[0]) {
        if (asprintf(&what, "%s/bundles/%s", ledger->run_path, facts->bundle) < 0)
            return nj_fail_nomem(err);
    } else if (facts->opened_ns != 0) {
        if (asprintf(&what, "%s:%s", ledger->run_path, facts->key) < 0)
            return nj_fail_nomem(err);
    } else {
        return 1;
    }
    if (nj_buf_text(out,
                    facts->bundle && facts->bundle[0] ? "nightjar-replay verify "
                                                      : "nightjar-replay show ",
                    err) < 0)
        return -(int)err->code;
    return nj_text_shell(out, what, err);
}
