/*
 * code.c - code_execution: a script of the agent, run by bash, python3 or node in its box
 *
 * The one complication: the input is a model's guess at a schema. Whatever is wrong with it goes
 * back in words that name the field and what belongs there; nothing is corrected in silence.
 */
#include "batch/tools/tool.h"

#include <inttypes.h>

#include "formats/manifest/manifest.h"

#include "formats/base/banned.h"

#define NAME_SHOWN_MAX_BYTES 64 /* of a name that the model made up */

struct language {
    unsigned bit;
    const char *name;
    const char *script_name;
    const char *argv[3];
};

static const struct language languages[] = {
    {NJ_LANGUAGE_BASH, "bash", "call.sh", {"bash", "/run/call.sh", NULL}},
    {NJ_LANGUAGE_PYTHON, "python", "call.py", {"python3", "/run/call.py", NULL}},
    {NJ_LANGUAGE_NODE, "node", "call.js", {"node", "/run/call.js", NULL}},
};

#define N_LANGUAGES (sizeof(languages) / sizeof(languages[0]))

static const char *const fields[] = {"language", "code", "timeout_seconds"};

static int refuse(struct nj_tool_call *call, struct nj_arena *arena, struct nj_error *err,
                  const struct nj_buf *reason)
{
    call->refusal = nj_arena_span(arena, nj_buf_span(reason));
    return call->refusal ? 0 : nj_fail_nomem(err);
}

static const char *type_text(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

/* A name as the model spelled it, quoted, and cut where it is absurd. */
static int append_shown(struct nj_buf *out, const char *text, size_t len, struct nj_error *err)
{
    struct nj_span shown = {(const uint8_t *)text,
                            len < NAME_SHOWN_MAX_BYTES ? len : NAME_SHOWN_MAX_BYTES};

    return nj_buf_json_text(out, shown, err);
}

static int append_languages(struct nj_buf *out, uint64_t bits, struct nj_error *err)
{
    const char *between = "";

    for (size_t i = 0; i < N_LANGUAGES; i++) {
        if (!(bits & languages[i].bit))
            continue;
        if (nj_buf_printf(out, err, "%s\"%s\"", between, languages[i].name) < 0)
            return -(int)err->code;
        between = " or ";
    }
    return 0;
}

static const char *unknown_field(const json_t *input)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)input, key, value)
    {
        bool known = false;

        for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
            known = known || strcmp(key, fields[i]) == 0;
        if (!known)
            return key;
    }
    return NULL;
}

/* Returns 0 with *ret_language set, or with @reason filled. */
static int read_language(const struct nj_config_tool *config, const json_t *input,
                         const struct language **ret_language, struct nj_buf *reason,
                         struct nj_error *err)
{
    const json_t *value = json_object_get(input, "language");
    const char *name = json_string_value(value);
    struct nj_span spelled = {(const uint8_t *)name, json_string_length(value)};

    for (size_t i = 0; name && i < N_LANGUAGES; i++)
        if (nj_span_is(spelled, languages[i].name) && (config->languages & languages[i].bit)) {
            *ret_language = &languages[i];
            return 0;
        }
    if (nj_buf_text(reason, "language: expected ", err) < 0 ||
        append_languages(reason, config->languages, err) < 0 ||
        nj_buf_text(reason, ", found ", err) < 0)
        return -(int)err->code;
    return name ? append_shown(reason, name, json_string_length(value), err)
                : nj_buf_text(reason, type_text(value), err);
}

/* Returns 0 with *ret_ms set, or with @reason filled. A wish above the tool's limit gets the limit.
 */
static int read_timeout(const struct nj_config_tool *config, const json_t *input, uint64_t *ret_ms,
                        struct nj_buf *reason, struct nj_error *err)
{
    const json_t *value = json_object_get(input, "timeout_seconds");
    double ms;

    if (!value) {
        *ret_ms = config->timeout_ms;
        return 0;
    }
    if (!json_is_number(value))
        return nj_buf_printf(reason, err,
                             "timeout_seconds: expected a number of seconds above 0, found %s",
                             type_text(value));
    ms = json_number_value(value) * 1000.0;
    if (ms <= 0)
        return nj_buf_printf(reason, err,
                             "timeout_seconds: expected a number of seconds above 0, found %.6g",
                             json_number_value(value));
    if (ms >= (double)config->timeout_ms)
        *ret_ms = config->timeout_ms;
    else
        *ret_ms = ms < 1.0 ? 1 : (uint64_t)ms;
    return 0;
}

static int prepare(const struct nj_config_tool *config, const json_t *input, struct nj_arena *arena,
                   struct nj_tool_call *ret_call, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf reason = {0};
    const struct language *language = NULL;
    struct nj_tool_call call = {0};
    const json_t *code = json_object_get(input, "code");
    const char *unknown = unknown_field(input);
    uint64_t timeout_ms = 0;
    int r = 0;

    nj_buf_init(&reason, 4096);
    if (unknown) {
        r = append_shown(&reason, unknown, strlen(unknown), err);
        if (r == 0)
            r = nj_buf_text(&reason,
                            ": no such field; expected language, code and, where wanted, "
                            "timeout_seconds",
                            err);
    }
    if (r == 0 && reason.len == 0)
        r = read_language(config, input, &language, &reason, err);
    if (r == 0 && reason.len == 0 && !json_is_string(code))
        r = nj_buf_printf(&reason, err, "code: expected the script's text, found %s",
                          type_text(code));
    if (r == 0 && reason.len == 0 && json_string_length(code) == 0)
        r = nj_buf_text(&reason, "code: expected the script's text, found an empty string", err);
    if (r == 0 && reason.len == 0)
        r = read_timeout(config, input, &timeout_ms, &reason, err);
    if (r == 0 && reason.len > 0)
        r = refuse(&call, arena, err, &reason);
    if (r < 0)
        return r;
    if (!call.refusal) {
        call.box.argv = language->argv;
        call.box.script_name = language->script_name;
        call.box.script =
            (struct nj_span){(const uint8_t *)json_string_value(code), json_string_length(code)};
        call.box.timeout_ms = timeout_ms;
    }
    *ret_call = call;
    return 0;
}

static int schema(const struct nj_config_tool *config, struct nj_buf *out, struct nj_error *err)
{
    const char *between = "";

    if (nj_buf_text(out, "{\"name\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(config->name), err) < 0 ||
        nj_buf_printf(
            out, err,
            ",\"description\":\"Runs a script in the sandbox and returns its standard output, "
            "its standard error and its exit status. Files in the writable paths last from "
            "one call to the next; processes do not.\",\"input_schema\":{\"type\":\"object\","
            "\"properties\":{\"language\":{\"type\":\"string\",\"enum\":[") < 0)
        return -(int)err->code;
    for (size_t i = 0; i < N_LANGUAGES; i++) {
        if (!(config->languages & languages[i].bit))
            continue;
        if (nj_buf_printf(out, err, "%s\"%s\"", between, languages[i].name) < 0)
            return -(int)err->code;
        between = ",";
    }
    return nj_buf_printf(
        out, err,
        "]},\"code\":{\"type\":\"string\",\"description\":\"The script.\"},"
        "\"timeout_seconds\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"description\":"
        "\"The most time the script may take; never above %.6g.\"}},"
        "\"required\":[\"language\",\"code\"],\"additionalProperties\":false}}",
        (double)config->timeout_ms / 1000.0);
}

const struct nj_tool nj_tool_code_execution = {
    .type = "code_execution",
    .effect = "workspace",
    .prepare = prepare,
    .schema = schema,
};
