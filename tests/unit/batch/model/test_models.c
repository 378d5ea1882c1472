/*
 * test_models.c - chains, retries, counts of uses, and what a crash in the middle leaves of them
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>

#include "batch/model/model.h"
#include "batch/model/retry.h"
#include "batch/model/stay.h"
#include "formats/base/fsio.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define CHAIN_MAX 4
#define LOG_NAME "script.log"

/* A folder with scripts a.yaml, b.yaml..., one role over them, and a loop. */
struct stage {
    char dir[64];
    int dir_fd;
    size_t n_scripts;
    struct nj_manifest_model chain[CHAIN_MAX];
    struct nj_manifest_role role;
    struct nj_manifest manifest;
    struct event_base *base;
    struct nj_models *models;
    char log[128];
};

static const char *const script_names[CHAIN_MAX] = {"a.yaml", "b.yaml", "c.yaml", "d.yaml"};

static void stage_open_models(struct stage *stage)
{
    struct nj_error err = {0};

    if (nj_models_new(&stage->manifest, stage->dir_fd, &stage->models, &err) < 0 ||
        nj_models_attach(stage->models, stage->base, &err) < 0)
        fail_msg("%s", err.text);
}

static void stage_init(struct stage *stage, const char *const *scripts, size_t n_scripts)
{
    struct nj_error err = {0};

    *stage = (struct stage){.dir = "/tmp/nj-models-XXXXXX", .n_scripts = n_scripts};
    assert_non_null(mkdtemp(stage->dir));
    stage->dir_fd = open(stage->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < n_scripts; i++) {
        assert_int_equal(
            nj_fsio_publish(stage->dir_fd, script_names[i], nj_span_text(scripts[i]), 0600, &err),
            0);
        stage->chain[i].script = script_names[i];
        stage->chain[i].when = i == 0 ? 0 : NJ_CAUSE_OVERLOADED | NJ_CAUSE_ERROR;
    }
    stage->role =
        (struct nj_manifest_role){.name = "worker", .chain = stage->chain, .n_chain = n_scripts};
    stage->manifest.roles = &stage->role;
    stage->manifest.n_roles = 1;
    (void)snprintf(stage->log, sizeof(stage->log), "%s/" LOG_NAME, stage->dir);
    assert_int_equal(setenv("NJ_SCRIPT_LOG", stage->log, 1), 0);
    assert_int_equal(setenv("NJ_TEST_RETRY_MS", "0", 1), 0);
    stage->base = event_base_new();
    assert_non_null(stage->base);
    stage_open_models(stage);
}

static void stage_done(struct stage *stage)
{
    nj_models_free(stage->models);
    event_base_free(stage->base);
    for (size_t i = 0; i < stage->n_scripts; i++)
        assert_int_equal(unlinkat(stage->dir_fd, script_names[i], 0), 0);
    (void)unlinkat(stage->dir_fd, LOG_NAME, 0); /* made on first use */
    assert_int_equal(close(stage->dir_fd), 0);
    assert_int_equal(rmdir(stage->dir), 0);
}

/* ---- a session whose tool calls all print "ok" ---- */

static const struct nj_session_config config = {
    .key = "inv \"7\"",
    .group = "g",
    .agent = "worker",
    .role = "worker",
    .instructions = "",
    .reproducible = "D0",
    .turns_max = 100,
    .max_runtime_ms = 1000,
    .budget_micro_usd = -1,
};

struct player {
    struct memory_objects store;
    struct nj_session *session;
    const struct nj_manifest_role *role; /* whose `return` is obeyed; NULL: nobody stays */
    int64_t now_ns;
    struct nj_stay stay;
    size_t begins;
    uint8_t began[64];
    size_t n_began;
};

static void step(struct player *player, const struct nj_event *event, const char *first)
{
    struct nj_object_sink sink = memory_objects_sink(&player->store);
    struct nj_event snapshotted = {.kind = NJ_EVENT_SNAPSHOTTED};
    struct nj_error err = {0};

    if (nj_session_step(player->session, event, nj_span_text(first), &sink, &err) < 0)
        fail_msg("%s", err.text);
    if (player->session->state == NJ_SESSION_SNAPSHOTTING)
        assert_int_equal(
            nj_session_step(player->session, &snapshotted, (struct nj_span){0}, &sink, &err), 0);
}

static void player_init(struct player *player, const char *first_text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    struct nj_event opened = {.kind = NJ_EVENT_OPENED};
    struct nj_error err = {0};

    *player = (struct player){0};
    nj_buf_init(&first, 65536);
    assert_int_equal(nj_message_user_text(nj_span_text(first_text), &first, &err), 0);
    assert_int_equal(nj_session_new(&config, &player->session, &err), 0);
    opened.opened.config = player->session->config_digest;
    nj_digest_bytes(first.data, first.len, &opened.opened.first);
    step(player, &opened, (const char *)first.data);
}

static void player_done(struct player *player)
{
    nj_session_free(player->session);
    memory_objects_done(&player->store);
}

static void run_calls(struct player *player)
{
    while (player->session->state == NJ_SESSION_ACTING) {
        struct nj_event done = {.kind = NJ_EVENT_TOOL_DONE};

        done.tool_done.turn = player->session->turn;
        done.tool_done.call = player->session->calls_done;
        done.tool_done.outcome.exit = NJ_EXIT_EXITED;
        done.tool_done.outcome.out.head = nj_span_text("ok");
        done.tool_done.outcome.out.bytes = 2;
        step(player, &done, NULL);
    }
}

static void take_reply(struct player *player, const struct nj_model_reply *reply)
{
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_event event = {.kind = NJ_EVENT_REPLY};
    struct nj_error err = {0};

    nj_buf_init(&item, NJ_MESSAGE_MAX_BYTES);
    assert_int_equal(nj_message_assistant(reply->content, &item, &err), 0);
    event.reply.turn = player->session->turn + 1;
    event.reply.stop = reply->stop;
    event.reply.usage = reply->usage;
    event.reply.message_bytes = nj_buf_span(&item);
    nj_digest_bytes(item.data, item.len, &event.reply.message);
    assert_true(player->n_began < sizeof(player->began));
    player->began[player->n_began++] = (uint8_t)player->begins;
    nj_stay_replied(&player->stay, player->begins, reply->place, player->now_ns);
    step(player, &event, NULL);
    run_calls(player);
}

/* ---- one ask, and what came of it ---- */

struct answer {
    struct player *player; /* takes replies and attempts; NULL: nobody does */
    struct nj_model_call *call;
    bool cancel_in_attempt;
    unsigned attempts;
    char causes[256]; /* of the attempts, comma after each */
    char models[256];
    unsigned endings;
    bool replied;
    char content[4096];
    char model[64];
    char cause[32];
    char text[512];
    enum nj_stop stop;
    struct nj_usage usage;
    uint64_t cost_micro_usd;
};

static void append(char *text, size_t room, const char *word)
{
    size_t len = strlen(text);

    (void)snprintf(text + len, room - len, "%s,", word);
}

static void on_replied(void *ctx, const struct nj_model_reply *reply)
{
    struct answer *answer = ctx;

    answer->endings++;
    answer->replied = true;
    (void)snprintf(answer->content, sizeof(answer->content), "%.*s", (int)reply->content.len,
                   (const char *)reply->content.data);
    (void)snprintf(answer->model, sizeof(answer->model), "%.*s", (int)reply->model.len,
                   (const char *)reply->model.data);
    answer->stop = reply->stop;
    answer->usage = reply->usage;
    answer->cost_micro_usd = reply->cost_micro_usd;
    if (answer->player)
        take_reply(answer->player, reply);
}

static void on_failed(void *ctx, const struct nj_model_failure *failure)
{
    struct answer *answer = ctx;

    answer->endings++;
    (void)snprintf(answer->cause, sizeof(answer->cause), "%s", failure->cause);
    (void)snprintf(answer->text, sizeof(answer->text), "%s", failure->text);
    (void)snprintf(answer->model, sizeof(answer->model), "%s", failure->model);
}

static void on_attempt(void *ctx, const struct nj_model_failure *failure)
{
    struct answer *answer = ctx;
    struct nj_event event = {.kind = NJ_EVENT_ATTEMPT};

    answer->attempts++;
    append(answer->causes, sizeof(answer->causes), failure->cause);
    append(answer->models, sizeof(answer->models), failure->model);
    if (answer->player) {
        event.attempt_failed.turn = answer->player->session->turn + 1;
        step(answer->player, &event, NULL);
    }
    if (answer->cancel_in_attempt)
        nj_model_cancel(answer->call);
}

static void ask(struct stage *stage, struct player *player, struct answer *answer)
{
    struct nj_model_request request = {.session = player->session,
                                       .turn = player->session->turn + 1,
                                       .item_json = "{\"name\":\"n\"}",
                                       .attempts_failed = player->session->attempts_failed,
                                       .began = {player->began, player->n_began}};
    struct nj_model_callbacks callbacks = {on_replied, on_failed, on_attempt, answer};
    struct nj_error err = {0};

    if (player->role && request.attempts_failed == 0)
        player->begins = nj_stay_begins(&player->stay, player->role, player->now_ns);
    request.begins = player->begins;
    if (nj_model_ask(stage->models, 0, &request, &callbacks, &answer->call, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(answer->endings, 0); /* never from inside */
    assert_int_equal(answer->attempts, 0);
}

static void ask_and_wait(struct stage *stage, struct player *player, struct answer *answer)
{
    ask(stage, player, answer);
    assert_true(event_base_dispatch(stage->base) >= 0);
    if (!answer->cancel_in_attempt)
        assert_int_equal(answer->endings, 1);
}

static void check_log(const struct stage *stage, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf found = {0};
    struct nj_error err = {0};

    nj_buf_init(&found, 1u << 20);
    assert_int_equal(nj_fsio_read_file(stage->dir_fd, LOG_NAME, &found, &err), 0);
    assert_string_equal(found.len ? (const char *)found.data : "", expected);
}

/* ---- tests ---- */

static void a_reply_brings_content_model_usage_and_cost(void **state)
{
    const char *script =
        "replies: [{say: 'hi {item.name}', call: [{tool: t}], usage: {input_tokens: "
        "1, output_tokens: 2, cache_read_tokens: 3, cache_write_5m_tokens: 4, "
        "cache_write_1h_tokens: 5}}]";
    struct answer answer = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    /* 1*100000 + 2*1000000 + 3*10000 + 4*200000 + 5*314000 = 4500000: four and a half micro-USD */
    stage.chain[0].price = (struct nj_manifest_price){100000, 1000000, 10000, 200000, 314000};
    player_init(&player, "x");
    ask_and_wait(&stage, &player, &answer);
    assert_true(answer.replied);
    assert_string_equal(answer.content,
                        "[{\"type\":\"text\",\"text\":\"hi n\"},{\"type\":\"tool_use\",\"id\":"
                        "\"toolu_1_0\",\"name\":\"t\",\"input\":{}}]");
    assert_string_equal(answer.model, "script:a.yaml");
    assert_int_equal(answer.stop, NJ_STOP_TOOLS);
    assert_int_equal(answer.usage.cache_write_1h_tokens, 5);
    assert_int_equal(answer.cost_micro_usd, 5);
    check_log(&stage, "{\"session\":\"inv \\\"7\\\"\",\"turn\":1,\"reply\":0,\"attempt\":1,"
                      "\"fail\":null}\n");
    player_done(&player);
    stage_done(&stage);
}

static void a_cost_beyond_64_bits_is_capped(void **state)
{
    const char *script = "replies: [{say: x, usage: {input_tokens: 1000000000000, output_tokens: "
                         "1000000000000}}]";
    struct answer answer = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    stage.chain[0].price = (struct nj_manifest_price){INT64_MAX, INT64_MAX, 0, 0, 0};
    player_init(&player, "x");
    ask_and_wait(&stage, &player, &answer);
    assert_true(answer.cost_micro_usd == INT64_MAX);
    assert_int_equal(answer.stop, NJ_STOP_END);
    player_done(&player);
    stage_done(&stage);
}

static void an_overload_is_tried_five_times_then_fails_with_its_cause(void **state)
{
    static const struct {
        const char *fail, *cause;
    } rows[] = {{"overloaded", "overloaded"},
                {"rate_limited", "rate_limited"},
                {"cut", "error"},
                {"garbage", "error"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[64], causes[128];
        const char *script = text;
        struct answer answer = {0};
        struct player player;
        struct stage stage;

        (void)snprintf(text, sizeof(text), "replies: [{fail: %s}]", rows[i].fail);
        (void)snprintf(causes, sizeof(causes), "%s,%s,%s,%s,", rows[i].cause, rows[i].cause,
                       rows[i].cause, rows[i].cause);
        stage_init(&stage, &script, 1);
        player_init(&player, "x");
        answer.player = &player;
        ask_and_wait(&stage, &player, &answer);
        assert_false(answer.replied);
        assert_string_equal(answer.cause, rows[i].cause);
        assert_string_equal(answer.causes, causes);
        assert_string_equal(answer.model, "script:a.yaml");
        assert_non_null(strstr(answer.text, rows[i].fail));
        player_done(&player);
        stage_done(&stage);
    }
}

static void a_refusal_and_a_full_context_are_not_tried_again(void **state)
{
    static const char *const causes[] = {"refusal", "context_full"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char text[64];
        const char *script = text;
        struct answer answer = {0};
        struct player player;
        struct stage stage;

        (void)snprintf(text, sizeof(text), "replies: [{fail: %s}]", causes[i]);
        stage_init(&stage, &script, 1);
        player_init(&player, "x");
        ask_and_wait(&stage, &player, &answer);
        assert_false(answer.replied);
        assert_int_equal(answer.attempts, 0);
        assert_string_equal(answer.cause, causes[i]);
        player_done(&player);
        stage_done(&stage);
    }
}

static void the_chain_advances_by_cause_and_returns_to_its_first_model(void **state)
{
    static const char *const scripts[] = {
        "replies: [{when: {turn: 1}, fail: overloaded}, {say: back}]",
        "replies: [{fail: refusal}]",
        "replies: [{say: third, call: [{tool: t}]}]",
    };
    struct answer first = {0}, second = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, scripts, 3);
    stage.chain[1].when = NJ_CAUSE_OVERLOADED;
    stage.chain[2].when = NJ_CAUSE_REFUSAL;
    player_init(&player, "x");
    first.player = second.player = &player;
    ask_and_wait(&stage, &player, &first);
    assert_true(first.replied);
    assert_string_equal(first.model, "script:c.yaml");
    assert_string_equal(first.causes,
                        "overloaded,overloaded,overloaded,overloaded,overloaded,refusal,");
    assert_string_equal(first.models, "script:a.yaml,script:a.yaml,script:a.yaml,script:a.yaml,"
                                      "script:a.yaml,script:b.yaml,");
    ask_and_wait(&stage, &player, &second);
    assert_string_equal(second.model, "script:a.yaml");
    player_done(&player);
    stage_done(&stage);
}

static void a_stay_lasts_its_seconds_and_begins_anew_with_each_failure_of_the_first(void **state)
{
    const struct nj_manifest_role role = {.n_chain = 3, .return_seconds = 60};
    const struct nj_manifest_role at_once = {.n_chain = 3};
    const int64_t s = 1000000000;
    struct nj_stay stay = {0};

    (void)state;
    assert_int_equal(nj_stay_begins(&stay, &role, 5 * s), 0);
    nj_stay_replied(&stay, 0, 2, 100 * s);
    assert_int_equal(nj_stay_begins(&stay, &role, 101 * s), 2);
    assert_int_equal(nj_stay_begins(&stay, &at_once, 101 * s), 0);
    nj_stay_replied(&stay, 2, 2, 150 * s); /* staying does not prolong the stay */
    assert_int_equal(nj_stay_begins(&stay, &role, 160 * s - 1), 2);
    assert_int_equal(nj_stay_begins(&stay, &role, 160 * s), 0);
    assert_int_equal(nj_stay_begins(&stay, &role, 99 * s), 0); /* the clock was set back */
    nj_stay_replied(&stay, 0, 1, 161 * s);
    assert_int_equal(nj_stay_begins(&stay, &role, 220 * s), 1);
    nj_stay_replied(&stay, 1, 0, 220 * s);
    assert_int_equal(nj_stay_begins(&stay, &role, 220 * s), 0);
}

static void a_session_stays_with_a_later_model_and_comes_back_when_its_time_is_over(void **state)
{
    static const char *const scripts[] = {
        "replies: [{when: {turn: [1, 2]}, fail: overloaded}, {say: back}]",
        "replies: [{say: second, call: [{tool: t}]}]",
    };
    struct answer answers[3] = {{0}};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, scripts, 2);
    stage.role.return_seconds = 60;
    player_init(&player, "x");
    player.role = &stage.role;
    for (size_t i = 0; i < 3; i++) {
        answers[i].player = &player;
        player.now_ns = (int64_t)i * 40 * 1000000000;
        ask_and_wait(&stage, &player, &answers[i]);
        assert_true(answers[i].replied);
    }
    assert_int_equal(answers[0].attempts, NJ_RETRY_TRIES_MAX);
    assert_string_equal(answers[0].model, "script:b.yaml");
    assert_int_equal(answers[1].attempts, 0);
    assert_string_equal(answers[1].model, "script:b.yaml");
    assert_string_equal(answers[2].model, "script:a.yaml");
    player_done(&player);
    stage_done(&stage);
}

static void a_stay_ends_early_when_its_model_fails(void **state)
{
    static const char *const scripts[] = {
        "replies: [{when: {turn: 1}, fail: overloaded}, {say: back}]",
        "replies: [{when: {turn: 1}, say: second, call: [{tool: t}]}, {fail: refusal}]",
    };
    struct answer first = {0}, second = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, scripts, 2);
    stage.role.return_seconds = 60;
    player_init(&player, "x");
    player.role = &stage.role;
    first.player = second.player = &player;
    ask_and_wait(&stage, &player, &first);
    ask_and_wait(&stage, &player, &second);
    assert_true(second.replied);
    assert_string_equal(second.model, "script:a.yaml");
    assert_string_equal(second.causes, "refusal,");
    player_done(&player);
    stage_done(&stage);
}

static void who_fails_everywhere_fails_behind_a_stay_as_well(void **state)
{
    static const char *const scripts[] = {
        "replies: [{fail: overloaded}]",
        "replies: [{when: {turn: 1}, say: second, call: [{tool: t}]}, {fail: refusal}]",
    };
    struct answer first = {0}, second = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, scripts, 2);
    stage.role.return_seconds = 60;
    player_init(&player, "x");
    player.role = &stage.role;
    first.player = second.player = &player;
    ask_and_wait(&stage, &player, &first);
    ask_and_wait(&stage, &player, &second);
    assert_false(second.replied);
    assert_string_equal(second.cause, "refusal");
    assert_int_equal(second.attempts, 1 + NJ_RETRY_TRIES_MAX);
    player_done(&player);
    stage_done(&stage);
}

static void a_model_that_is_not_for_the_cause_is_passed_over(void **state)
{
    static const char *const scripts[] = {"replies: [{fail: context_full}]",
                                          "replies: [{say: never}]", "replies: [{say: third}]"};
    struct answer answer = {0}, other = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, scripts, 3);
    stage.chain[2].when = NJ_CAUSE_CONTEXT_FULL;
    player_init(&player, "x");
    ask_and_wait(&stage, &player, &answer);
    assert_string_equal(answer.model, "script:c.yaml");
    assert_string_equal(answer.causes, "context_full,");
    stage.chain[2].when = NJ_CAUSE_REFUSAL;
    ask_and_wait(&stage, &player, &other);
    assert_false(other.replied);
    assert_string_equal(other.cause, "context_full");
    player_done(&player);
    stage_done(&stage);
}

static void a_truncated_reply_is_a_reply(void **state)
{
    const char *script = "replies: [{fail: truncated, say: half a}]";
    struct answer answer = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    player_init(&player, "x");
    ask_and_wait(&stage, &player, &answer);
    assert_true(answer.replied);
    assert_int_equal(answer.stop, NJ_STOP_TRUNCATED);
    assert_string_equal(answer.content, "[{\"type\":\"text\",\"text\":\"half a\"}]");
    assert_int_equal(answer.attempts, 0);
    check_log(&stage, "{\"session\":\"inv \\\"7\\\"\",\"turn\":1,\"reply\":0,\"attempt\":1,"
                      "\"fail\":\"truncated\"}\n");
    player_done(&player);
    stage_done(&stage);
}

static void a_turn_that_no_reply_fits_fails_by_name(void **state)
{
    static const char *const scripts[] = {"replies: [{when: {turn: 2}, say: x}]",
                                          "replies: [{when: {turn: 3}, say: x}]"};
    struct answer answer = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, scripts, 2);
    player_init(&player, "x");
    ask_and_wait(&stage, &player, &answer);
    assert_false(answer.replied);
    assert_string_equal(answer.causes, "error,"); /* once: it would not fit the next time either */
    assert_string_equal(answer.cause, "error");
    assert_string_equal(answer.text, "b.yaml: no reply fits turn 1 of session inv \"7\"");
    player_done(&player);
    stage_done(&stage);
}

/* A script that needs its counts: uses over turns, failures in the middle, two models, an
 * accept-like end. */
static const char *const counting[] = {
    "replies:\n"
    "  - {when: {turn: [2, 4]}, fail: overloaded, times: 7}\n"
    "  - {say: one, call: [{tool: t}, {tool: u}], times: 2}\n"
    "  - {fail: cut, times: 1}\n"
    "  - {say: two, call: [{tool: t}], times: 3}\n"
    "  - {fail: rate_limited, times: 2}\n"
    "  - {say: end}\n",
    "replies:\n"
    "  - {say: other, call: [{tool: t}], times: 1}\n"
    "  - {fail: garbage, times: 2}\n"
    "  - {say: again, call: [{tool: t}]}\n",
};

static void read_log(const struct stage *stage, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, 1u << 20);
    assert_int_equal(nj_fsio_read_file(stage->dir_fd, LOG_NAME, out, &err), 0);
}

/* Plays to the end; with @crash_every the models are thrown away and made anew after so many
 * deliveries. */
static void play(struct stage *stage, unsigned crash_every)
{
    struct player player;
    unsigned asks = 0;

    player_init(&player, "x");
    player.role = &stage->role;
    while (player.session->state == NJ_SESSION_PROMPTING) {
        struct answer answer = {.player = &player};

        player.now_ns = (int64_t)player.session->turn * 1000000000;
        ask(stage, &player, &answer);
        if (crash_every) {
            /* One delivery, then the engine is gone: what it knew lives on in the session only. */
            for (unsigned i = 0; i < crash_every && answer.endings == 0; i++)
                assert_true(event_base_loop(stage->base, EVLOOP_ONCE) >= 0);
            if (answer.endings == 0)
                nj_model_cancel(answer.call);
            nj_models_free(stage->models);
            stage_open_models(stage);
        } else {
            assert_true(event_base_dispatch(stage->base) >= 0);
            assert_int_equal(answer.endings, 1);
        }
        assert_true(answer.endings == 0 || answer.replied);
        assert_true(++asks < 200);
    }
    player_done(&player);
}

static void check_that_counts_survive(uint64_t return_seconds)
{
    NJ_AUTO(nj_buf_done) struct nj_buf undisturbed = {0};
    struct stage stage;

    stage_init(&stage, counting, 2);
    stage.role.return_seconds = return_seconds;
    play(&stage, 0);
    read_log(&stage, &undisturbed);
    /* Deliveries: 1 one; 2 overloaded x5, other; 3 one; 4 overloaded x2, cut, two; then two x2;
     * end. */
    assert_int_equal(undisturbed.len > 0, 1);
    stage_done(&stage);
    for (unsigned crash_every = 1; crash_every <= 4; crash_every++) {
        NJ_AUTO(nj_buf_done) struct nj_buf disturbed = {0};

        stage_init(&stage, counting, 2);
        stage.role.return_seconds = return_seconds;
        play(&stage, crash_every);
        read_log(&stage, &disturbed);
        assert_string_equal((const char *)disturbed.data, (const char *)undisturbed.data);
        stage_done(&stage);
    }
}

static void counts_survive_a_crash_after_every_delivery(void **state)
{
    (void)state;
    check_that_counts_survive(0);
}

static void counts_survive_a_crash_where_sessions_stay(void **state)
{
    (void)state;
    check_that_counts_survive(2);
}

static void the_log_tells_the_counting_story(void **state)
{
    static const struct {
        int turn, reply, attempt;
        const char *fail;
    } rows[] = {
        {1, 1, 1, NULL},           {2, 0, 1, "overloaded"}, {2, 0, 2, "overloaded"},
        {2, 0, 3, "overloaded"},   {2, 0, 4, "overloaded"}, {2, 0, 5, "overloaded"},
        {2, 0, 6, NULL},           {3, 1, 1, NULL},         {4, 0, 1, "overloaded"},
        {4, 0, 2, "overloaded"},   {4, 2, 3, "cut"},        {4, 3, 4, NULL},
        {5, 3, 1, NULL},           {6, 3, 1, NULL},         {7, 4, 1, "rate_limited"},
        {7, 4, 2, "rate_limited"}, {7, 5, 3, NULL},
    };
    NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
    struct nj_error err = {0};
    struct stage stage;

    (void)state;
    nj_buf_init(&expected, 65536);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(
            nj_buf_printf(&expected, &err,
                          "{\"session\":\"inv \\\"7\\\"\",\"turn\":%d,\"reply\":%d,"
                          "\"attempt\":%d,\"fail\":%s%s%s}\n",
                          rows[i].turn, rows[i].reply, rows[i].attempt, rows[i].fail ? "\"" : "",
                          rows[i].fail ? rows[i].fail : "null", rows[i].fail ? "\"" : ""),
            0);
    stage_init(&stage, counting, 2);
    play(&stage, 0);
    check_log(&stage, (const char *)expected.data);
    stage_done(&stage);
}

static void a_session_that_begins_anew_counts_anew(void **state)
{
    const char *script = "replies: [{say: a, call: [{tool: t}], times: 1}, {say: b}]";
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    for (int i = 0; i < 3; i++) {
        struct answer answer = {0};
        struct player player;

        player_init(&player, "x");
        answer.player = &player;
        ask_and_wait(&stage, &player, &answer);
        assert_non_null(strstr(answer.content, "\"text\":\"a\""));
        player_done(&player);
    }
    stage_done(&stage);
}

static void a_cancelled_call_calls_nobody_and_uses_nothing(void **state)
{
    const char *script = "replies: [{say: a, call: [{tool: t}], times: 1, delay_ms: 20}, {say: b}]";
    struct answer answer = {0}, second = {0};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    player_init(&player, "x");
    ask(&stage, &player, &answer);
    nj_model_cancel(answer.call);
    nj_model_cancel(NULL);
    assert_true(event_base_dispatch(stage.base) >= 0);
    assert_int_equal(answer.endings, 0);
    ask_and_wait(&stage, &player, &second);
    assert_non_null(strstr(second.content, "\"text\":\"a\""));
    player_done(&player);
    stage_done(&stage);
}

static void a_call_can_be_cancelled_while_it_tells_of_a_failed_try(void **state)
{
    const char *script = "replies: [{fail: overloaded, times: 1}, {say: b}]";
    struct answer answer = {.cancel_in_attempt = true};
    struct player player;
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    player_init(&player, "x");
    ask_and_wait(&stage, &player, &answer);
    assert_int_equal(answer.attempts, 1);
    assert_int_equal(answer.endings, 0);
    player_done(&player);
    stage_done(&stage);
}

static void many_sessions_are_counted_apart(void **state)
{
    const char *script = "replies: [{fail: overloaded, times: 1}, {say: b, delay_ms: 1}]";
    struct nj_session_config configs[50];
    struct answer answers[50] = {0};
    struct player players[50];
    char keys[50][16];
    struct stage stage;

    (void)state;
    stage_init(&stage, &script, 1);
    for (size_t i = 0; i < 50; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        configs[i] = config;
        configs[i].key = keys[i];
        player_init(&players[i], "x");
        players[i].session->config = &configs[i]; /* only its key differs: nothing else looks */
        ask(&stage, &players[i], &answers[i]);
    }
    assert_true(event_base_dispatch(stage.base) >= 0);
    for (size_t i = 0; i < 50; i++) {
        assert_true(answers[i].replied);
        assert_int_equal(answers[i].attempts, 1);
        player_done(&players[i]);
    }
    stage_done(&stage);
}

static void waits_double_up_to_sixteen_times_less_a_quarter(void **state)
{
    static const uint64_t whole[] = {500, 1000, 2000, 4000, 8000, 8000};
    bool differ = false;

    (void)state;
    for (unsigned tries = 1; tries <= 6; tries++) {
        struct nj_retry retry = {.tries = tries};
        uint64_t ms = nj_retry_delay_ms(&retry, NJ_RETRY_BASE_MS, "k", 3, tries);

        assert_true(ms <= whole[tries - 1] && ms >= whole[tries - 1] * 3 / 4);
        assert_int_equal(ms, nj_retry_delay_ms(&retry, NJ_RETRY_BASE_MS, "k", 3, tries));
        differ = differ || ms != nj_retry_delay_ms(&retry, NJ_RETRY_BASE_MS, "l", 3, tries);
        assert_int_equal(nj_retry_delay_ms(&retry, 0, "k", 3, tries), 0);
    }
    assert_true(differ);
}

static void a_role_s_digest_is_its_scripts(void **state)
{
    static const char *const one[] = {"replies: [{say: a}]", "replies: [{say: b}]"};
    static const char *const two[] = {"replies: [{say: a}]", "replies: [{say: c}]"};
    struct nj_digest a, b, c;
    struct nj_error err = {0};
    struct stage stage;

    (void)state;
    stage_init(&stage, one, 2);
    assert_int_equal(nj_models_digest(stage.models, 0, &a, &err), 0);
    assert_int_equal(nj_models_digest(stage.models, 1, &a, &err), -NJ_E_INPUT);
    stage_done(&stage);
    stage_init(&stage, one, 2);
    assert_int_equal(nj_models_digest(stage.models, 0, &b, &err), 0);
    stage_done(&stage);
    stage_init(&stage, two, 2);
    assert_int_equal(nj_models_digest(stage.models, 0, &c, &err), 0);
    stage_done(&stage);
    assert_true(nj_digest_equal(&a, &b));
    assert_false(nj_digest_equal(&a, &c));
}

static void a_faulty_script_names_role_file_and_place(void **state)
{
    const char *good = "replies: [{say: a}]";
    struct nj_models *models = NULL;
    struct nj_error err = {0};
    struct stage stage;

    (void)state;
    stage_init(&stage, &good, 1);
    assert_int_equal(
        nj_fsio_publish(stage.dir_fd, "a.yaml", nj_span_text("replies:\n  - sey: a\n"), 0600, &err),
        0);
    assert_int_equal(nj_models_new(&stage.manifest, stage.dir_fd, &models, &err), -NJ_E_INPUT);
    assert_null(models);
    assert_non_null(strstr(err.text, "models.worker[0]: a.yaml:2:5: replies[0].sey: unknown key"));
    stage_done(&stage);
}

static void a_wrong_retry_variable_is_refused(void **state)
{
    static const char *const wrong[] = {"soon", "-1", "60001", "1 ", "99999999999999999999"};
    const char *good = "replies: [{say: a}]";
    struct stage stage;

    (void)state;
    stage_init(&stage, &good, 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct nj_models *models = NULL;
        struct nj_error err = {0};

        assert_int_equal(setenv("NJ_TEST_RETRY_MS", wrong[i], 1), 0);
        assert_int_equal(nj_models_new(&stage.manifest, stage.dir_fd, &models, &err), -NJ_E_INPUT);
        assert_non_null(strstr(err.text, "NJ_TEST_RETRY_MS"));
        assert_null(models);
    }
    stage_done(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_brings_content_model_usage_and_cost),
        cmocka_unit_test(a_cost_beyond_64_bits_is_capped),
        cmocka_unit_test(an_overload_is_tried_five_times_then_fails_with_its_cause),
        cmocka_unit_test(a_refusal_and_a_full_context_are_not_tried_again),
        cmocka_unit_test(the_chain_advances_by_cause_and_returns_to_its_first_model),
        cmocka_unit_test(a_stay_lasts_its_seconds_and_begins_anew_with_each_failure_of_the_first),
        cmocka_unit_test(a_session_stays_with_a_later_model_and_comes_back_when_its_time_is_over),
        cmocka_unit_test(a_stay_ends_early_when_its_model_fails),
        cmocka_unit_test(who_fails_everywhere_fails_behind_a_stay_as_well),
        cmocka_unit_test(a_model_that_is_not_for_the_cause_is_passed_over),
        cmocka_unit_test(a_truncated_reply_is_a_reply),
        cmocka_unit_test(a_turn_that_no_reply_fits_fails_by_name),
        cmocka_unit_test(counts_survive_a_crash_after_every_delivery),
        cmocka_unit_test(counts_survive_a_crash_where_sessions_stay),
        cmocka_unit_test(the_log_tells_the_counting_story),
        cmocka_unit_test(a_session_that_begins_anew_counts_anew),
        cmocka_unit_test(a_cancelled_call_calls_nobody_and_uses_nothing),
        cmocka_unit_test(a_call_can_be_cancelled_while_it_tells_of_a_failed_try),
        cmocka_unit_test(many_sessions_are_counted_apart),
        cmocka_unit_test(waits_double_up_to_sixteen_times_less_a_quarter),
        cmocka_unit_test(a_role_s_digest_is_its_scripts),
        cmocka_unit_test(a_faulty_script_names_role_file_and_place),
        cmocka_unit_test(a_wrong_retry_variable_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
