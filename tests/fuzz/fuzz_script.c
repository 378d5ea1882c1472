/*
 * fuzz_script.c - a replies file may be anything; what was accepted can be chosen from and said
 *
 * There is no writer to go round with. The property instead: every accepted file reads the same
 * twice, whatever is chosen for a scene renders to the same bytes twice, and those bytes are
 * content that the session core reads.
 */
#include <assert.h>

#include "batch/model/script.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const items[] = {
    "{}",
    "{\"name\":\"a {last} \\\"b\\\" "
    "\\u0000\",\"stem\":\"s\",\"n\":3,\"t\":true,\"x\":{\"y\":[1.5,null]}}",
};

static const char *const lasts[] = {
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"{item.name} start\"}]}",
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"content\":"
    "\"ok\"}]}",
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"content\":"
    "\"Traceback\",\"is_error\":true}]}",
};

static void say(const struct nj_script_reply *reply, const struct nj_script_scene *scene,
                struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, NJ_MESSAGE_MAX_BYTES);
    if (nj_script_render(reply, scene, out, &err) < 0)
        assert(err.code == NJ_E_LIMIT || err.code == NJ_E_NOMEM);
}

static void check_reply(const struct nj_script_reply *reply, const struct nj_script_scene *scene)
{
    NJ_AUTO(nj_buf_done) struct nj_buf once = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf twice = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    struct nj_error err = {0};

    say(reply, scene, &once);
    say(reply, scene, &twice);
    assert(nj_span_equal(nj_buf_span(&once), nj_buf_span(&twice)));
    if (once.len > NJ_MESSAGE_MAX_BYTES / 2)
        return;
    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    if (nj_message_assistant(nj_buf_span(&once), &item, &err) < 0 ||
        nj_message_calls(nj_buf_span(&item), &calls, &err) < 0)
        __builtin_trap();
    assert(calls.count == reply->n_calls);
}

static void play(const struct nj_script *script, const char *item_json, const char *last,
                 uint64_t turn)
{
    NJ_AUTO(nj_script_scene_done) struct nj_script_scene scene = {0};
    nj_auto_free uint32_t *uses = calloc(script->n_replies, sizeof(*uses));
    json_t *item = json_loads(item_json, JSON_ALLOW_NUL, NULL);
    struct nj_error err = {0};

    assert(item && uses);
    if (nj_script_scene_init(&scene, "worker", item, turn, nj_span_text(last), &err) < 0)
        __builtin_trap();
    for (unsigned round = 0; round < 4; round++) {
        size_t index = SIZE_MAX;

        if (nj_script_choose(script, &scene, uses, &index, &err) != 0)
            break;
        assert(index < script->n_replies);
        assert(script->replies[index].times == 0 || uses[index] < script->replies[index].times);
        uses[index]++;
        check_reply(&script->replies[index], &scene);
    }
    json_decref(item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_script_free) struct nj_script *script = NULL;
    NJ_AUTO(nj_script_free) struct nj_script *again = NULL;
    struct nj_span bytes = {data, size};
    struct nj_error err = {0};

    if (nj_script_parse(bytes, "replies.yaml", &script, &err) < 0) {
        assert(err.code == NJ_E_INPUT || err.code == NJ_E_NOMEM);
        assert(!script);
        return 0;
    }
    if (nj_script_parse(bytes, "replies.yaml", &again, &err) < 0)
        __builtin_trap();
    assert(script->n_replies == again->n_replies && script->counts == again->counts);
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
        for (size_t l = 0; l < sizeof(lasts) / sizeof(lasts[0]); l++)
            play(script, items[i], lasts[l], l + 1);
    return 0;
}
