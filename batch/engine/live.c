/*
 * live.c - a session's objects and frames in the journal, its beginning and its end
 *
 * The one complication: an object may be asked for only when it is durable, because what is pending
 * is in no file yet. That holds by order: whatever reads objects (restoring a box, collecting
 * outputs) happens after the snapshot that names them was waited for.
 */
#include "batch/engine/live.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <sys/random.h>
#include <time.h>

#include "batch/engine/recent.h"

#include "formats/base/banned.h"

struct nj_live *nj_live_of(struct nj_seat *seat)
{
    return (struct nj_live *)((char *)seat - offsetof(struct nj_live, seat));
}

int nj_live_note_place(struct nj_live *live, const struct nj_frame *frame, struct nj_error *err)
{
    if (live->n_places == live->cap_places) {
        size_t cap = live->cap_places ? live->cap_places * 2 : 16;
        struct nj_journal_place *grown = reallocarray(live->places, cap, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        live->places = grown;
        live->cap_places = cap;
    }
    live->places[live->n_places++] = frame->place;
    return 0;
}

int nj_live_append(struct nj_live *live, enum nj_frame_kind kind, struct nj_span payload,
                   struct nj_error *err)
{
    struct nj_frame frame = {.kind = kind,
                             .session = live->plan->number,
                             .sequence = live->sequence + 1,
                             .payload = payload};

    if (nj_journal_append(live->engine->writer, &frame, &frame.place, err) < 0 ||
        nj_live_note_place(live, &frame, err) < 0) {
        nj_engine_fail(live->engine, err); /* the journal is every session's: none can go on */
        return -(int)err->code;
    }
    live->sequence++;
    return 0;
}

static int read_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    struct nj_live *live = ctx;
    const struct nj_journal_place *place = nj_object_index_find(&live->index, digest);
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    if (place)
        return nj_journal_read(live->engine->reader, place, out, err);
    nj_digest_hex(digest, hex);
    return nj_fail(err, NJ_E_CORRUPT, "session %s has no object %s", live->plan->key, hex);
}

/* fetch_earlier - what was stored long ago, or by a taker, is not among what was put here lately.
 * It may not be in the journal yet; then the new content is stored whole. */
static void fetch_earlier(struct nj_live *live, const struct nj_object *object)
{
    const struct nj_object_shelf shelf = {.read = read_object, .ctx = live};
    struct nj_engine *engine = live->engine;

    if (engine->fetches_left > 0 && object->has_earlier &&
        nj_object_index_find(&live->index, &object->earlier))
        engine->fetches_left -=
            nj_recent_fetch(engine->recent, live->owner, &shelf, object, NJ_LIVE_FETCH_MAX_BYTES);
}

static int put_object(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    struct nj_live *live = ctx;
    struct nj_engine *engine = live->engine;
    struct nj_frame frame = {.kind = NJ_FRAME_OBJECT, .session = live->plan->number};

    if (nj_object_index_find(&live->index, &object->digest))
        return 0;
    fetch_earlier(live, object);
    nj_buf_clear(&engine->scratch);
    if (nj_recent_encode(engine->recent, live->owner, object, &engine->scratch, err) < 0)
        return -(int)err->code;
    frame.payload = nj_buf_span(&engine->scratch);
    if (nj_journal_append(engine->writer, &frame, &frame.place, err) < 0) {
        nj_engine_fail(engine, err);
        return -(int)err->code;
    }
    return nj_object_index_add(&live->index, &object->digest, &frame.place, err);
}

static int get_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                      struct nj_error *err)
{
    const struct nj_object_shelf shelf = {.read = read_object, .ctx = ctx};

    return nj_object_shelf_get(&shelf, digest, out, err);
}

static int get_unchecked(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                         struct nj_error *err)
{
    const struct nj_object_shelf shelf = {.read = read_object, .ctx = ctx, .is_plain = true};

    return nj_object_shelf_get(&shelf, digest, out, err);
}

struct nj_object_source nj_live_source(struct nj_live *live)
{
    return (struct nj_object_source){.get = get_object, .ctx = live, .is_checked = true};
}

struct nj_object_source nj_live_contents(struct nj_live *live)
{
    return (struct nj_object_source){.get = get_unchecked, .ctx = live, .is_checked = true};
}

int64_t nj_live_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct nj_event nj_live_event(const struct nj_live *live, enum nj_event_kind kind)
{
    (void)live;
    return (struct nj_event){.kind = kind, .time_ns = nj_live_now_ns(), .attempt = 1};
}

void nj_live_cancel_worker(struct nj_live *live)
{
    nj_worker_cancel(live->worker);
    live->worker = NULL;
}

int nj_live_new(struct nj_engine *engine, const struct nj_plan_session *plan,
                struct nj_live **ret_live, struct nj_error *err)
{
    NJ_AUTO(nj_live_free) struct nj_live *live = calloc(1, sizeof(*live));
    struct nj_engine_seat *seat = &engine->seats[plan->number - 1];

    if (!live)
        return nj_fail_nomem(err);
    live->engine = engine;
    live->owner = ++engine->owners;
    live->plan = plan;
    live->restore_fd = -1;
    live->index.share = true;
    nj_buf_init(&live->began, NJ_CONFIG_MAX_BYTES);
    live->seat.world = &engine->world;
    live->seat.sink = (struct nj_object_sink){.put = put_object, .ctx = live};
    if (seat->facts.len > 0) { /* it is tried again */
        struct nj_facts facts;

        if (nj_facts_decode(nj_buf_span(&seat->facts), &live->fold.arena, &facts, err) < 0)
            return -(int)err->code;
        nj_fold_continue(&live->fold, &facts);
        nj_buf_done(&seat->facts);
    } else if (nj_facts_init(&live->fold.facts, &live->fold.arena, plan->key,
                             engine->manifest->groups[plan->group].name, plan->config->agent,
                             err) < 0) {
        return -(int)err->code;
    }
    *ret_live = nj_steal_ptr(&live);
    return 0;
}

void nj_live_free(struct nj_live *live)
{
    if (!live)
        return;
    nj_live_cancel_worker(live);
    nj_money_forget(live);
    nj_model_cancel(live->model_call);
    nj_money_settle(live, live->reserved_micro_usd); /* nobody knows what came of it */
    if (live->engine->committer)
        nj_committer_forget(live->engine->committer, &live->waiter);
    nj_live_release_slot(live);
    nj_live_drop_box(live, NULL);
    if (live->publish_queued)
        TAILQ_REMOVE(&live->engine->publish_queue, live, publish_link);
    if (live->park)
        event_free(live->park);
    if (live->restore_fd >= 0)
        (void)close(live->restore_fd);
    nj_session_free(live->seat.session);
    nj_object_index_done(&live->index);
    nj_arena_done(&live->arena);
    nj_arena_done(&live->config_arena);
    free(live->closed);
    nj_buf_done(&live->closed_bytes);
    free(live->why);
    nj_buf_done(&live->began);
    nj_fold_done(&live->fold);
    free(live->places);
    free(live->row);
    free(live);
}

/* row_key - where @key with its quotes, comma and colon stands in @row. Inside a text it has a
 * backslash before its quotes, and a result, whose JSON may have the same key, comes before. */
static const char *row_key(const char *row, const char *key)
{
    const char *at = NULL;

    for (const char *next = strstr(row, key); next; next = strstr(next + 1, key))
        at = next;
    return at;
}

bool nj_live_row_has_bundle(const char *row)
{
    static const char none[] = ",\"bundle\":null,";
    const char *at = row_key(row, ",\"bundle\":");

    return at && strncmp(at, none, strlen(none)) != 0;
}

/* A row as agents get it: key, group, status, result and error, and nothing behind them. What it
 * took (attempts, cost, tokens) is more after a kill, whose calls in flight count as spent, and the
 * bundle's path is one of this host: either would make another conversation of the same work. */
static int append_for_agents(const char *row, struct nj_buf *out, struct nj_error *err)
{
    const char *at = row_key(row, ",\"attempts\":");

    if (!at)
        return nj_fail(err, NJ_E_CORRUPT, "a row without the key attempts: %.100s", row);
    if (nj_buf_append(out, row, (size_t)(at - row), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

/* {results} for a group that comes after others: their rows so far, in plan order. */
static int gather_results(struct nj_engine *engine, const struct nj_manifest_group *group,
                          struct nj_buf *out, struct nj_error *err)
{
    const struct nj_manifest *manifest = engine->manifest;
    bool first = true;

    if (nj_buf_text(out, "[", err) < 0)
        return -(int)err->code;
    for (size_t g = 0; g < manifest->n_groups; g++) {
        bool wanted = false;

        for (size_t k = 0; k < group->n_after; k++)
            wanted |= g == group->after[k];
        for (size_t i = engine->group_first[g]; wanted && i < engine->group_first[g + 1]; i++) {
            if (!engine->seats[i].row)
                continue;
            if ((!first && nj_buf_text(out, ",\n", err) < 0) ||
                append_for_agents(engine->seats[i].row, out, err) < 0)
                return -(int)err->code;
            first = false;
        }
    }
    return nj_buf_text(out, "]", err);
}

static int put_config(struct nj_live *live, struct nj_digest *ret_digest, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};

    nj_buf_init(&packed, NJ_CONFIG_MAX_BYTES);
    if (nj_config_encode(live->plan->config, &packed, err) < 0)
        return -(int)err->code;
    return nj_object_put(&live->seat.sink, NJ_OBJECT_CONFIG, nj_buf_span(&packed), ret_digest, err);
}

int nj_live_open(struct nj_live *live, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf results = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    struct nj_engine *engine = live->engine;
    const struct nj_manifest_group *group = &engine->manifest->groups[live->plan->group];
    struct nj_object_source inputs = nj_inputs_source(engine->inputs);
    struct nj_event event = nj_live_event(live, NJ_EVENT_OPENED);
    struct nj_workspace_ref workspace;

    nj_buf_init(&results, NJ_MESSAGE_MAX_BYTES * 4);
    nj_buf_init(&first, NJ_MESSAGE_MAX_BYTES);
    if (nj_session_new(live->plan->config, &live->seat.session, err) < 0)
        return -(int)err->code;
    if (group->n_after > 0 && gather_results(engine, group, &results, err) < 0)
        return nj_wrap(err, "results for session %s", live->plan->key);
    if (nj_plan_prepare(engine->plan, live->plan,
                        group->n_after > 0 ? (const char *)results.data : NULL, &inputs,
                        &live->seat.sink, &first, &event.opened.first, &workspace, err) < 0)
        return nj_wrap(err, "prepare session %s", live->plan->key);
    if (put_config(live, &event.opened.config, err) < 0)
        return -(int)err->code;
    event.attempt = nj_live_attempt(live);
    event.opened.key = nj_span_text(live->plan->key);
    event.opened.group = nj_span_text(group->name);
    event.opened.agent = nj_span_text(live->plan->config->agent);
    event.opened.identity = live->plan->identity;
    event.opened.item = nj_span_text(live->plan->item_json);
    event.opened.tree = workspace.tree;
    event.opened.stamps = workspace.stamps;
    if (getrandom(event.opened.seed, sizeof(event.opened.seed), 0) != sizeof(event.opened.seed))
        return nj_fail(err, NJ_E_SYSTEM, "no randomness for a session's seed");
    nj_seat_deliver(&live->seat, &event, nj_buf_span(&first));
    return 0;
}

int nj_live_bundle_name(const struct nj_plan_session *plan, char *name, size_t size)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(&plan->identity, hex);
    return snprintf(name, size, "%s-%.8s.njb", plan->slug, hex);
}

int nj_live_keep_facts(struct nj_live *live, struct nj_error *err)
{
    struct nj_engine_seat *seat = &live->engine->seats[live->plan->number - 1];
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};

    nj_buf_init(&packed, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (nj_facts_encode(&live->fold.facts, &packed, err) < 0)
        return nj_wrap(err, "the figures of session %s", live->plan->key);
    nj_buf_done(&seat->facts);
    seat->facts = packed;
    packed = (struct nj_buf){0};
    return 0;
}

void nj_live_own_bundle_name(const struct nj_live *live, char *name, size_t size)
{
    if (live->again)
        (void)nj_live_attempt_bundle_name(live->plan, nj_live_attempt(live), name, size);
    else
        (void)nj_live_bundle_name(live->plan, name, size);
}

/* A result that is a JSON object or array is given as JSON, everything else as text. */
static int append_result(struct nj_buf *row, struct nj_span result, struct nj_error *err)
{
    json_t *json = json_loadb((const char *)result.data, result.len, JSON_REJECT_DUPLICATES, NULL);
    nj_auto_free char *text = NULL;

    if (!json)
        return nj_buf_json_text(row, result, err);
    text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(json);
    if (!text)
        return nj_fail_nomem(err);
    return nj_buf_text(row, text, err);
}

static int append_error(struct nj_buf *row, const char *kind, const char *text,
                        struct nj_error *err)
{
    if (!kind || !kind[0])
        return nj_buf_text(row, "null", err);
    if (nj_buf_text(row, "{\"kind\":", err) < 0 ||
        nj_buf_json_text(row, nj_span_text(kind), err) < 0 ||
        nj_buf_text(row, ",\"message\":", err) < 0 ||
        nj_buf_json_text(row, nj_span_text(text), err) < 0 || nj_buf_text(row, "}", err) < 0)
        return -(int)err->code;
    return 0;
}

static int append_bundle(struct nj_buf *row, const struct nj_live *live, enum nj_status status,
                         struct nj_error *err)
{
    nj_auto_free char *bundle = NULL;
    nj_auto_free char *replay = NULL;
    char name[NJ_BUNDLE_NAME_MAX_BYTES];

    if (live->sequence == 0) /* it failed before there was anything to record */
        return nj_buf_text(row, ",\"bundle\":null,\"replay\":null", err);
    nj_live_own_bundle_name(live, name, sizeof(name));
    if (status == NJ_STATUS_SUSPENDED || live->unbundled) { /* its record is in the journal still */
        if (asprintf(&replay, "nightjar-replay show %s:%s", live->engine->dir.path,
                     live->plan->key) < 0)
            return nj_fail_nomem(err);
        if (nj_buf_text(row, ",\"bundle\":null,\"replay\":", err) < 0)
            return -(int)err->code;
        return nj_buf_json_text(row, nj_span_text(replay), err);
    }
    if (asprintf(&bundle, "bundles/%s", name) < 0)
        return nj_fail_nomem(err);
    if (asprintf(&replay, "nightjar-replay verify %s/%s", live->engine->dir.path, bundle) < 0)
        return nj_fail_nomem(err);
    if (nj_buf_text(row, ",\"bundle\":", err) < 0 ||
        nj_buf_json_text(row, nj_span_text(bundle), err) < 0 ||
        nj_buf_text(row, ",\"replay\":", err) < 0)
        return -(int)err->code;
    return nj_buf_json_text(row, nj_span_text(replay), err);
}

/* Cost and tokens are those of all attempts: they were paid for. Steps are this one's. */
static int append_counts(struct nj_buf *row, const struct nj_live *live, struct nj_error *err)
{
    const struct nj_facts *facts = &live->fold.facts;

    return nj_buf_printf(row, err,
                         ",\"attempts\":%" PRIu64 ",\"steps\":%" PRIu64 ",\"cost_usd\":%" PRIu64
                         ".%06" PRIu64 ",\"tokens\":{\"input\":%" PRIu64 ",\"output\":%" PRIu64
                         ",\"cache_read\":%" PRIu64 ",\"cache_write\":%" PRIu64 "}",
                         nj_live_attempt(live), live->seat.session->steps,
                         facts->cost_micro_usd / 1000000, facts->cost_micro_usd % 1000000,
                         facts->usage.input_tokens, facts->usage.output_tokens,
                         facts->usage.cache_read_tokens,
                         facts->usage.cache_write_5m_tokens + facts->usage.cache_write_1h_tokens);
}

int nj_live_row(struct nj_live *live, enum nj_status status, const char *error_kind,
                const char *error_text, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf row = {0};
    const struct nj_session *session = live->seat.session;
    const struct nj_manifest_group *group = &live->engine->manifest->groups[live->plan->group];

    nj_buf_init(&row, NJ_MESSAGE_MAX_BYTES * 2);
    if (nj_buf_text(&row, "{\"key\":", err) < 0 ||
        nj_buf_json_text(&row, nj_span_text(live->plan->key), err) < 0 ||
        nj_buf_text(&row, ",\"group\":", err) < 0 ||
        nj_buf_json_text(&row, nj_span_text(group->name), err) < 0 ||
        nj_buf_printf(&row, err, ",\"status\":\"%s\",\"result\":", nj_status_text(status)) < 0)
        return -(int)err->code;
    if (status == NJ_STATUS_SUCCEEDED ? append_result(&row, nj_buf_span(&session->result), err) < 0
                                      : nj_buf_text(&row, "null", err) < 0)
        return -(int)err->code;
    if (nj_buf_text(&row, ",\"error\":", err) < 0 ||
        append_error(&row, error_kind, error_text, err) < 0 || append_counts(&row, live, err) < 0 ||
        append_bundle(&row, live, status, err) < 0 || nj_buf_text(&row, "}", err) < 0)
        return -(int)err->code;
    free(live->row);
    live->row = nj_buf_steal(&row);
    return 0;
}
