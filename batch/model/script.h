/*
 * script.h - the script provider's file: replies, read strictly and chosen without chance
 *
 * nj_script_load() reads a replies file; nj_script_choose() finds the first reply whose `when` fits
 * a scene (one model call: who asks, which turn, the last message); nj_script_render() makes its
 * content blocks. All of it is pure after loading: the same scene and the same counts of earlier
 * uses give the same bytes, which is what lets models.c rebuild the counts after a crash by going
 * through a session's earlier turns once more.
 *
 * The file (DESIGN section 8): `replies:` is a list of maps with the keys
 *   when       turn (a number from 1, or a list of them), attempt (of the session), agent, matches
 * (POSIX extended regular expression over the last message's text), tool (ok | error: the last item
 * is the result of a call that ...), item.FIELD: VALUE or item: {FIELD: VALUE}; all must fit, none
 * fits always say text; {item.FIELD} of an existing field and {last} are replaced, every other
 * brace stays call [{tool, input, id}]; in texts of the input {item.FIELD} of an existing field is
 * replaced, nothing else; id is "toolu_TURN_INDEX" unless given usage      input_tokens,
 * output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens delay_ms   before
 * the reply or the failure fail       overloaded | rate_limited | refusal | context_full |
 * truncated | cut | garbage times      how often a session may use this reply; no limit unless
 * given
 */
#ifndef NJ_MODEL_SCRIPT_H
#define NJ_MODEL_SCRIPT_H

#include <jansson.h>
#include <regex.h>

#include "batch/session/message.h"
#include "formats/base/arena.h"
#include "formats/journal/event.h"

#define NJ_SCRIPT_MAX_BYTES (4u << 20)
#define NJ_SCRIPT_NODES_MAX 400000
#define NJ_SCRIPT_REPLIES_MAX 10000
#define NJ_SCRIPT_TURNS_MAX 1000            /* numbers in one list of turns */
#define NJ_SCRIPT_TEXT_MAX_BYTES (1u << 20) /* of say; of the JSON of one input */
#define NJ_SCRIPT_PATTERN_MAX_BYTES 1024
#define NJ_SCRIPT_REPEAT_MAX 1024 /* product of a pattern's {n,m}: the C library unrolls them */
#define NJ_SCRIPT_DELAY_MAX_MS (3600u * 1000u)
#define NJ_SCRIPT_TOKENS_MAX 1000000000000u

/* Each failure once: enumerator and name in the file. */
#define NJ_SCRIPT_FAILS(X)                                                                         \
    X(OVERLOADED, "overloaded")                                                                    \
    X(RATE_LIMITED, "rate_limited")                                                                \
    X(REFUSAL, "refusal")                                                                          \
    X(CONTEXT_FULL, "context_full")                                                                \
    X(TRUNCATED, "truncated") /* a reply all the same, with stop TRUNCATED */                      \
    X(CUT, "cut")                                                                                  \
    X(GARBAGE, "garbage")

enum nj_script_fail {
    NJ_SCRIPT_FAIL_NONE,
#define X(name, text) NJ_SCRIPT_FAIL_##name,
    NJ_SCRIPT_FAILS(X)
#undef X
};

const char *nj_script_fail_text(enum nj_script_fail fail); /* NULL for NONE */

enum nj_script_tool { NJ_SCRIPT_TOOL_ANY, NJ_SCRIPT_TOOL_OK, NJ_SCRIPT_TOOL_ERROR };

struct nj_script_field {
    const char *name; /* without "item." */
    const char *text; /* as written in the file */
    const char *json; /* the same value as JSON text */
};

struct nj_script_call {
    const char *tool;
    const char *id;    /* NULL: made of turn and index */
    const char *input; /* JSON text of an object, templates not yet expanded */
};

struct nj_script_reply {
    const uint64_t *turns; /* n_turns 0: any */
    size_t n_turns;
    uint64_t attempt;  /* 0: any */
    const char *agent; /* NULL: any */
    bool has_pattern;
    regex_t pattern;
    enum nj_script_tool tool;
    const struct nj_script_field *fields;
    size_t n_fields;
    const char *say; /* "" when not given */
    const struct nj_script_call *calls;
    size_t n_calls;
    struct nj_usage usage;
    uint64_t delay_ms;
    enum nj_script_fail fail;
    uint64_t times; /* 0: no limit */
};

struct nj_script {
    struct nj_arena arena; /* owns all below but the patterns */
    const char *name;      /* of the file, as the manifest has it */
    struct nj_digest digest;
    struct nj_script_reply *replies;
    size_t n_replies;
    bool counts;     /* some reply has `times` */
    bool reads_item; /* some reply looks at fields of the item, or says them */
};

/* nj_script_parse - read a file's bytes; NJ_E_INPUT names file, line, column and path of the first
 * fault */
int nj_script_parse(struct nj_span bytes, const char *name, struct nj_script **ret_script,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_script_load - open @path beneath @dir_fd (links cannot leave it), and parse */
int nj_script_load(int dir_fd, const char *path, struct nj_script **ret_script,
                   struct nj_error *err) NJ_MUST_USE;
void nj_script_free(struct nj_script *script);
NJ_DEFINE_AUTO_PTR(struct nj_script, nj_script_free);

/* One model call as a reply's `when` sees it. */
struct nj_script_scene {
    const char *agent;
    const json_t *item; /* the item's fields, an object; borrowed; NULL where no reply reads it */
    uint64_t turn;
    uint64_t attempt;         /* of the session, from 1 */
    struct nj_buf last;       /* text of the last message */
    enum nj_script_tool tool; /* what the last message is: ANY when no tool result */
};

/* nj_script_scene_init - @last is the newest item of the conversation; pair with _done */
int nj_script_scene_init(struct nj_script_scene *scene, const char *agent, const json_t *item,
                         uint64_t turn, struct nj_span last, struct nj_error *err) NJ_MUST_USE;
void nj_script_scene_done(struct nj_script_scene *scene);
NJ_DEFINE_AUTO_VAL(struct nj_script_scene, nj_script_scene_done);

/* nj_script_choose - index of the first reply that fits. @uses[i] is how often the session used
 * reply i so far; NULL when nothing is counted. Returns 0, or 1 when none fits. */
int nj_script_choose(const struct nj_script *script, const struct nj_script_scene *scene,
                     const uint32_t *uses, size_t *ret_index, struct nj_error *err) NJ_MUST_USE;

/* nj_script_render - append the reply's JSON array of content blocks */
int nj_script_render(const struct nj_script_reply *reply, const struct nj_script_scene *scene,
                     struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
