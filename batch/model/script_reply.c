/*
 * script_reply.c - which reply fits a scene, and what it says
 *
 * The one complication: templates are lenient. A text may hold JSON or a program, so only a
 * placeholder that has a value is replaced and every other brace stays; and an input is expanded as
 * JSON text, inside its string values only, so that numbers keep the digits they were written with.
 */
#include "batch/model/script.h"

#include <inttypes.h>

#include "formats/base/slice.h"

#include "formats/base/banned.h"

#define NAME_MAX_CHARS 128 /* of a placeholder */
#define ITEM_PREFIX "item."
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/* ---- the scene ---- */

static int look_at_blocks(struct nj_script_scene *scene, struct nj_span content,
                          struct nj_error *err)
{
    struct nj_slice_walk walk = {0};
    struct nj_span blocks, block, last = {0};

    if (nj_slice_check(content, &blocks, err) < 0 || nj_slice_kind(blocks) != NJ_SLICE_ARRAY)
        return nj_fail(err, NJ_E_CORRUPT, "last message: its content is no JSON array");
    while (nj_slice_item(blocks, &walk, &block))
        last = block;
    if (nj_slice_is(nj_slice_get(last, "type"), "tool_result"))
        scene->tool = nj_slice_kind(nj_slice_get(last, "is_error")) == NJ_SLICE_TRUE
                          ? NJ_SCRIPT_TOOL_ERROR
                          : NJ_SCRIPT_TOOL_OK;
    return 0;
}

int nj_script_scene_init(struct nj_script_scene *scene, const char *agent, const json_t *item,
                         uint64_t turn, struct nj_span last, struct nj_error *err)
{
    struct nj_script_scene made = {.agent = agent, .item = item, .turn = turn};
    struct nj_span content;
    enum nj_role role;
    int r;

    nj_buf_init(&made.last, NJ_MESSAGE_MAX_BYTES);
    r = nj_message_content(last, &role, &content, err);
    if (r == 0)
        r = look_at_blocks(&made, content, err);
    if (r == 0)
        r = nj_message_text(last, &made.last, err);
    if (r < 0) {
        nj_script_scene_done(&made);
        return r;
    }
    *scene = made;
    return 0;
}

void nj_script_scene_done(struct nj_script_scene *scene)
{
    nj_buf_done(&scene->last);
}

/* ---- fields of the item ---- */

/* "a.b" is the field of that name, or b in the map a. */
static const json_t *find_field(const json_t *item, const char *name)
{
    const json_t *found = json_object_get(item, name);
    const char *dot;

    for (dot = strchr(name, '.'); !found && dot; dot = strchr(dot + 1, '.')) {
        const json_t *inner = json_object_getn(item, name, (size_t)(dot - name));

        if (json_is_object(inner))
            found = find_field(inner, dot + 1);
    }
    return found;
}

/* A field's value as people write it: texts without quotes, everything else as JSON. */
static int append_field(const json_t *field, struct nj_buf *out, struct nj_error *err)
{
    nj_auto_free char *text = NULL;

    if (json_is_string(field))
        return nj_buf_append(out, json_string_value(field), json_string_length(field), err);
    text = json_dumps(field, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    return text ? nj_buf_text(out, text, err) : nj_fail_nomem(err);
}

/* ---- when ---- */

static bool fits_turn(const struct nj_script_reply *reply, uint64_t turn)
{
    for (size_t i = 0; i < reply->n_turns; i++)
        if (reply->turns[i] == turn)
            return true;
    return reply->n_turns == 0;
}

/* Equal as text (a CSV's 7 is the file's 7), or as a JSON value (1.50 is 1.5). */
static int fits_fields(const struct nj_script_reply *reply, const json_t *item, bool *ret_fits,
                       struct nj_error *err)
{
    *ret_fits = true;
    for (size_t i = 0; i < reply->n_fields && *ret_fits; i++) {
        const struct nj_script_field *want = &reply->fields[i];
        const json_t *have = find_field(item, want->name);
        NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
        json_t *value;

        if (!have) {
            *ret_fits = false;
            break;
        }
        nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
        if (append_field(have, &text, err) < 0)
            return -(int)err->code;
        if (nj_span_is(nj_buf_span(&text), want->text))
            continue;
        value = json_loads(want->json, JSON_DECODE_ANY, NULL);
        *ret_fits = value && json_equal(value, have);
        json_decref(value);
    }
    return 0;
}

static int fits_pattern(const struct nj_script_reply *reply, const struct nj_buf *text,
                        bool *ret_fits, struct nj_error *err)
{
    regmatch_t whole = {.rm_so = 0, .rm_eo = (regoff_t)text->len};
    int r;

    *ret_fits = true;
    if (!reply->has_pattern)
        return 0;
    r = regexec(&reply->pattern, text->len ? (const char *)text->data : "", 1, &whole,
                REG_STARTEND);
    if (r == REG_ESPACE)
        return nj_fail_nomem(err);
    *ret_fits = r == 0;
    return 0;
}

int nj_script_choose(const struct nj_script *script, const struct nj_script_scene *scene,
                     const uint32_t *uses, size_t *ret_index, struct nj_error *err)
{
    for (size_t i = 0; i < script->n_replies; i++) {
        const struct nj_script_reply *reply = &script->replies[i];
        bool fits;

        if (uses && reply->times > 0 && uses[i] >= reply->times)
            continue;
        if (!fits_turn(reply, scene->turn) ||
            (reply->attempt && reply->attempt != scene->attempt) ||
            (reply->agent && strcmp(reply->agent, scene->agent) != 0) ||
            (reply->tool != NJ_SCRIPT_TOOL_ANY && reply->tool != scene->tool))
            continue;
        if (fits_fields(reply, scene->item, &fits, err) < 0)
            return -(int)err->code;
        if (fits && fits_pattern(reply, &scene->last, &fits, err) < 0)
            return -(int)err->code;
        if (fits) {
            *ret_index = i;
            return 0;
        }
    }
    return 1;
}

/* ---- what it says ---- */

/* Appends the value of the placeholder that begins at @at (a '{'); *ret_len is its length, 0 when
 * it is none. */
static int placeholder(const struct nj_script_scene *scene, struct nj_span text, size_t at,
                       bool with_last, size_t *ret_len, struct nj_buf *out, struct nj_error *err)
{
    char name[NAME_MAX_CHARS + 1];
    const json_t *field;
    size_t len = 0;

    *ret_len = 0;
    while (at + 1 + len < text.len && len < NAME_MAX_CHARS && text.data[at + 1 + len] != 0 &&
           strchr(NAME_CHARS, text.data[at + 1 + len])) {
        name[len] = (char)text.data[at + 1 + len];
        len++;
    }
    if (at + 1 + len >= text.len || text.data[at + 1 + len] != '}')
        return 0;
    name[len] = 0;
    if (with_last && strcmp(name, "last") == 0) {
        *ret_len = len + 2;
        return nj_buf_append(out, scene->last.data, scene->last.len, err);
    }
    if (strncmp(name, ITEM_PREFIX, strlen(ITEM_PREFIX)) != 0)
        return 0;
    field = find_field(scene->item, name + strlen(ITEM_PREFIX));
    if (!field)
        return 0;
    *ret_len = len + 2;
    return append_field(field, out, err);
}

/* Appends @text with its placeholders replaced. Values are not looked at again. */
static int expand(const struct nj_script_scene *scene, struct nj_span text, bool with_last,
                  bool as_json, struct nj_buf *out, struct nj_error *err)
{
    size_t from = 0; /* what was not yet copied */
    size_t at = 0;

    for (;;) {
        NJ_AUTO(nj_buf_done) struct nj_buf value = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf quoted = {0};
        const uint8_t *brace = at < text.len ? memchr(text.data + at, '{', text.len - at) : NULL;
        size_t len;

        if (!brace)
            break;
        at = (size_t)(brace - text.data);
        nj_buf_init(&value, NJ_MESSAGE_MAX_BYTES);
        nj_buf_init(&quoted, NJ_MESSAGE_MAX_BYTES);
        if (placeholder(scene, text, at, with_last, &len, &value, err) < 0)
            return -(int)err->code;
        if (len == 0) {
            at++;
            continue;
        }
        if (nj_buf_append(out, text.data + from, at - from, err) < 0)
            return -(int)err->code;
        if (as_json && nj_buf_json_text(&quoted, nj_buf_span(&value), err) < 0)
            return -(int)err->code;
        if ((as_json ? nj_buf_append(out, quoted.data + 1, quoted.len - 2, err)
                     : nj_buf_append(out, value.data, value.len, err)) < 0)
            return -(int)err->code;
        at += len;
        from = at;
    }
    return nj_buf_append(out, text.data + from, text.len - from, err);
}

/* The end of the JSON string that begins at @at, behind its closing quote. */
static size_t string_end(struct nj_span json, size_t at)
{
    for (at++; at < json.len && json.data[at] != '"'; at++)
        if (json.data[at] == '\\')
            at++;
    return at + 1;
}

static int expand_input(const struct nj_script_scene *scene, struct nj_span json,
                        struct nj_buf *out, struct nj_error *err)
{
    size_t at = 0;

    while (at < json.len) {
        size_t end = at;
        bool is_value;

        while (end < json.len && json.data[end] != '"')
            end++;
        if (nj_buf_append(out, json.data + at, end - at, err) < 0)
            return -(int)err->code;
        at = end;
        if (at == json.len)
            break;
        end = string_end(json, at);
        is_value = end == json.len || json.data[end] != ':';
        if ((is_value
                 ? expand(scene, (struct nj_span){json.data + at, end - at}, false, true, out, err)
                 : nj_buf_append(out, json.data + at, end - at, err)) < 0)
            return -(int)err->code;
        at = end;
    }
    return 0;
}

static int render_call(const struct nj_script_call *call, const struct nj_script_scene *scene,
                       size_t index, struct nj_buf *out, struct nj_error *err)
{
    char id[64];

    (void)snprintf(id, sizeof(id), "toolu_%" PRIu64 "_%zu", scene->turn, index);
    if (nj_buf_text(out, "{\"type\":\"tool_use\",\"id\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(call->id ? call->id : id), err) < 0 ||
        nj_buf_text(out, ",\"name\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(call->tool), err) < 0 ||
        nj_buf_text(out, ",\"input\":", err) < 0 ||
        expand_input(scene, nj_span_text(call->input), out, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

int nj_script_render(const struct nj_script_reply *reply, const struct nj_script_scene *scene,
                     struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    bool first = true;

    nj_buf_init(&text, NJ_MESSAGE_MAX_BYTES);
    if (expand(scene, nj_span_text(reply->say), true, false, &text, err) < 0 ||
        nj_buf_text(out, "[", err) < 0)
        return -(int)err->code;
    if (text.len > 0) {
        if (nj_buf_text(out, "{\"type\":\"text\",\"text\":", err) < 0 ||
            nj_buf_json_text(out, nj_buf_span(&text), err) < 0 || nj_buf_text(out, "}", err) < 0)
            return -(int)err->code;
        first = false;
    }
    for (size_t i = 0; i < reply->n_calls; i++) {
        if (!first && nj_buf_text(out, ",", err) < 0)
            return -(int)err->code;
        if (render_call(&reply->calls[i], scene, i, out, err) < 0)
            return -(int)err->code;
        first = false;
    }
    return nj_buf_text(out, "]", err);
}
