/*
 * state.c - run.json written and read
 *
 * What is read was written by another process, perhaps by a person: every key may be missing or of
 * another type, and then counts for nothing.
 */
#include "batch/run/state.h"

#include <errno.h>
#include <jansson.h>
#include <time.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define STATE_MAX_BYTES (1u << 20)
#define STAMP "%Y-%m-%dT%H:%M:%SZ"

#define COUNTS(X)                                                                                  \
    X(total)                                                                                       \
    X(succeeded) X(failed) X(suspended) X(skipped) X(running) X(waiting) X(retrying) X(reused)

/* A time as text; JSON null for 0. */
static json_t *stamp(int64_t time_s)
{
    char text[32];
    time_t time = (time_t)time_s;
    struct tm tm;

    if (time_s == 0 || !gmtime_r(&time, &tm))
        return json_null();
    (void)strftime(text, sizeof(text), STAMP, &tm);
    return json_string(text);
}

static int64_t stamp_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    struct tm tm = {0};

    return text && strptime(text, STAMP, &tm) ? (int64_t)timegm(&tm) : 0;
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *usd_or_null(int64_t micro_usd)
{
    return micro_usd < 0 ? json_null() : json_real((double)micro_usd / 1e6);
}

static json_t *counts(const struct nj_run_counts *sessions)
{
    json_t *json = json_object();

#define X(name) (void)json_object_set_new(json, #name, json_integer((json_int_t)sessions->name));
    COUNTS(X)
#undef X
    return json;
}

int nj_run_state_write(const struct nj_run_state *state, struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *text = NULL;
    json_t *json;

    json = json_pack(
        "{s:i, s:s, s:s, s:s, s:o, s:i, s:s, s:s%, s:o, s:o, s:o, s:o, s:f, s:o, s:o, "
        "s:b, s:f, s:i, s:o}",
        "nightjar_run", 0, "version", NJ_VERSION, "job", state->job, "state", state->state,
        "stop_reason", text_or_null(state->stop_reason), "pid", state->pid, "boot_id",
        state->boot_id, "host", state->host, strlen(state->host), "created",
        stamp(state->created_s), "started", stamp(state->started_s), "updated",
        stamp(state->updated_s), "deadline", stamp(state->deadline_s), "cost_usd",
        (double)state->spent_micro_usd / 1e6, "budget_usd", usd_or_null(state->budget_micro_usd),
        "retain_seconds",
        state->retain_seconds ? json_integer((json_int_t)state->retain_seconds) : json_null(),
        "disk_low", (int)state->disk_low, "loop_stall_ms", (double)state->loop_stall_us / 1e3,
        "loop_late_ms", (int)state->loop_late_ms, "sessions", counts(&state->sessions));
    /* Names of folders need not be UTF-8; one that is not is left out. */
    if (json)
        (void)json_object_set_new(json, "manifest_dir", json_string(state->manifest_dir));
    text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return nj_fail_nomem(err);
    if (nj_buf_text(out, text, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "\n", err);
}

static void take_text(const json_t *json, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(json, key));

    (void)snprintf(text, size, "%s", value ? value : "");
}

static uint64_t take_count(const json_t *json, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(json, key));

    return value > 0 ? (uint64_t)value : 0;
}

static int64_t take_usd(const json_t *json, const char *key, int64_t missing)
{
    const json_t *value = json_object_get(json, key);
    double usd = json_number_value(value);

    return json_is_number(value) && usd >= 0 && usd < 1e12 ? (int64_t)(usd * 1e6 + 0.5) : missing;
}

static void take(const json_t *json, struct nj_run_state *state)
{
    const json_t *sessions = json_object_get(json, "sessions");

    take_text(json, "job", state->job, sizeof(state->job));
    take_text(json, "state", state->state, sizeof(state->state));
    take_text(json, "stop_reason", state->stop_reason, sizeof(state->stop_reason));
    take_text(json, "host", state->host, sizeof(state->host));
    take_text(json, "boot_id", state->boot_id, sizeof(state->boot_id));
    state->pid = (int)take_count(json, "pid");
    state->created_s = stamp_of(json, "created");
    state->started_s = stamp_of(json, "started");
    state->updated_s = stamp_of(json, "updated");
    state->deadline_s = stamp_of(json, "deadline");
    state->spent_micro_usd = take_usd(json, "cost_usd", 0);
    state->budget_micro_usd = take_usd(json, "budget_usd", -1);
    state->retain_seconds = take_count(json, "retain_seconds");
    state->disk_low = json_is_true(json_object_get(json, "disk_low"));
#define X(name) state->sessions.name = take_count(sessions, #name);
    COUNTS(X)
#undef X
}

int nj_run_state_read(int dir_fd, struct nj_run_state *ret_state, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_run_state state = {0};
    const char *folder;
    json_t *json;

    nj_buf_init(&bytes, STATE_MAX_BYTES);
    if (nj_fsio_read_file(dir_fd, NJ_STATE_FILE, &bytes, err) < 0) {
        if (err->sys_errno == ENOENT)
            err->code = NJ_E_INPUT;
        return -(int)err->code;
    }
    json = json_loadb((const char *)bytes.data, bytes.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json) || !json_object_get(json, "nightjar_run")) {
        json_decref(json);
        return nj_fail(err, NJ_E_INPUT, NJ_STATE_FILE ": that is no state of a run");
    }
    take(json, &state);
    folder = json_string_value(json_object_get(json, "manifest_dir"));
    state.manifest_dir = strdup(folder ? folder : "");
    json_decref(json);
    if (!state.manifest_dir)
        return nj_fail_nomem(err);
    *ret_state = state;
    return 0;
}

void nj_run_state_done(struct nj_run_state *state)
{
    free((char *)state->manifest_dir);
    *state = (struct nj_run_state){0};
}
