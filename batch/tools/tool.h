/*
 * tool.h - one tool, one file, one const descriptor
 *
 * A tool turns a call's input into what its box runs (code_execution) or refuses it in words the
 * agent can act on. The result's text is made by the session core from the outcome. What lives here
 * is pure: the engine and a replay run the same preparation and get the same box call.
 */
#ifndef NJ_TOOL_H
#define NJ_TOOL_H

#include <jansson.h>

#include "batch/sandbox/sandbox.h"
#include "batch/session/session.h"

struct nj_tool_call {
    struct nj_box_call box; /* points into the arena and the input */
    const char *refusal;    /* not NULL: not run; the agent is told this */
};

struct nj_tool {
    const char *type;   /* as in the manifest */
    const char *effect; /* "none", "workspace", "outside" */

    /* prepare - @input is the model's; unknown or wrong fields are a refusal, not an error */
    int (*prepare)(const struct nj_config_tool *config, const json_t *input, struct nj_arena *arena,
                   struct nj_tool_call *ret_call, struct nj_error *err);

    /* schema - append the tool's definition as the model is shown it (JSON object with name,
     * description, input_schema) */
    int (*schema)(const struct nj_config_tool *config, struct nj_buf *out, struct nj_error *err);
};

extern const struct nj_tool nj_tool_code_execution;

/* nj_tool_find - by manifest type, NULL when this build has none */
const struct nj_tool *nj_tool_find(const char *type);

#define NJ_TOOLS_SCHEMA_MAX_BYTES (1u << 20) /* of all definitions of one config */

/* nj_tool_schemas - append the JSON array of the config's tools as a model is shown them, by name:
 * the same config gives the same bytes, which is what a prompt cache goes by */
int nj_tool_schemas(const struct nj_session_config *config, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_tool_prepare - find the config's tool by the name the model called, and prepare it; an unknown
 * name is a refusal that lists the known ones. Fills the time limits from the config and
 * @runtime_used_ms. */
int nj_tool_prepare(const struct nj_session_config *config, const char *name, const json_t *input,
                    uint64_t runtime_used_ms, struct nj_arena *arena, struct nj_tool_call *ret_call,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_tool_prepare_command - the accept command as a box call (no tool: it is the job's, not the
 * agent's) */
int nj_tool_prepare_command(const struct nj_session_config *config, uint64_t runtime_used_ms,
                            struct nj_arena *arena, struct nj_tool_call *ret_call,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_tool_follow - what the call's time and randomness follow, from where @session stands before it
 */
void nj_tool_follow(const struct nj_session *session, struct nj_tool_call *call);

/* nj_tool_note_level - that the call's box was built for level @applied; what its supervisor says
 * of level and clock is kept within what an event may say */
void nj_tool_note_level(struct nj_call_meta *meta, unsigned applied);

/* nj_tool_box_plan - the config's box, at the config's level, borrowed from the config and @arena
 */
int nj_tool_box_plan(const struct nj_session_config *config, struct nj_arena *arena,
                     struct nj_box_plan *ret_plan, struct nj_error *err) NJ_MUST_USE;

#endif
