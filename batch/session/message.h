/*
 * message.h - one item of a conversation as JSON bytes
 *
 * An item is {"role":"assistant","content":RAW} or {"role":"user","content":[...]}, in exactly this
 * spelling, so that the raw content can be sliced out and spliced into a later request unchanged: a
 * provider's bytes are frozen the moment they arrive. Consecutive items of one role form one
 * message on the wire: each tool result is an item of its own, and a step adds one item.
 */
#ifndef NJ_SESSION_MESSAGE_H
#define NJ_SESSION_MESSAGE_H

#include <jansson.h>

#include "formats/journal/event.h"

#define NJ_MESSAGE_MAX_BYTES (8u << 20)
#define NJ_CALLS_MAX 64 /* tool calls in one reply */

enum nj_role { NJ_ROLE_USER = 1, NJ_ROLE_ASSISTANT = 2 };

/* The input of a call whose arguments were no JSON object: what they were, and why they are none.
 * The tools refuse it in these words. */
#define NJ_CALL_BAD_INPUT_KEY "$arguments"
#define NJ_CALL_BAD_INPUT_WHY_KEY "$why"

/* One tool call that a reply asks for. */
struct nj_call {
    char *id;
    char *name;
    json_t *input; /* an object */
};

struct nj_calls {
    struct nj_call *items;
    size_t count;
};

void nj_calls_done(struct nj_calls *calls);
NJ_DEFINE_AUTO_VAL(struct nj_calls, nj_calls_done);

/* nj_message_assistant - append the item for a reply's raw content array */
int nj_message_assistant(struct nj_span content, struct nj_buf *out,
                         struct nj_error *err) NJ_MUST_USE;

/* nj_message_user_text, nj_message_tool_result - append a user item */
int nj_message_user_text(struct nj_span text, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;
int nj_message_tool_result(const char *id, struct nj_span text, bool is_error, struct nj_buf *out,
                           struct nj_error *err) NJ_MUST_USE;

/* nj_message_content - the raw content array inside an item, and its role; NJ_E_CORRUPT when it is
 * no item */
int nj_message_content(struct nj_span item, enum nj_role *ret_role, struct nj_span *ret_content,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_message_text - append the plain text of an item: text blocks, and the text of tool results, a
 * newline between; NJ_E_UPSTREAM when it cannot be read */
int nj_message_text(struct nj_span item, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_message_calls - the tool_use blocks of an assistant item, in order; NJ_E_UPSTREAM when they
 * are malformed */
int nj_message_calls(struct nj_span item, struct nj_calls *ret_calls,
                     struct nj_error *err) NJ_MUST_USE;
int nj_message_content_calls(struct nj_span content, struct nj_calls *ret_calls,
                             struct nj_error *err) NJ_MUST_USE;

/* nj_message_outcome - what a model is told of a call: standard output; then, where there is
 * something to tell, standard error, exit status or signal, and the limit with its figure.
 * *ret_is_error as tool_result's is_error. */
int nj_message_outcome(const struct nj_call_outcome *outcome, struct nj_buf *out,
                       bool *ret_is_error, struct nj_error *err) NJ_MUST_USE;

#endif
