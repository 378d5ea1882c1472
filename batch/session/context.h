/*
 * context.h - how large a session's next prompt is, and what of it is left out
 *
 * Pure: functions of the session's state, so a replay computes the same. Two figures: an estimate,
 * for limits of rate and context, and a bound, for money, which takes every byte that no usage has
 * measured yet for a token. Both go out from the last reply's usage, which is exact. What one model
 * makes of a byte differs by half from the next, so the estimate learns it (struct nj_token_rate).
 *
 * Compaction: when a prompt nears the limit that the config names, tool results older than the last
 * turns are left out of requests and a note stands in their place, naming the step where they can
 * be seen. The conversation itself, its objects and digests keep everything. The cut moves only
 * when the limit is met again, so that between two cuts the prompt's beginning, and with it the
 * provider's cache, stays.
 */
#ifndef NJ_SESSION_CONTEXT_H
#define NJ_SESSION_CONTEXT_H

#include "batch/session/session.h"

#define NJ_CONTEXT_BYTES_PER_TOKEN 3    /* of JSON text; a little more than a token really has */
#define NJ_CONTEXT_OVERHEAD_TOKENS 2048 /* what a provider adds for tools, and our framing */
#define NJ_CONTEXT_TOOL_TOKENS 2048     /* at most of one tool's schema */
#define NJ_CONTEXT_ITEM_TOKENS 64       /* framing of one item */
#define NJ_CONTEXT_TURNS_KEPT 2         /* turns whose results always stay */
#define NJ_CONTEXT_NOTE_MIN_BYTES 512   /* a shorter item is not worth a note */

#define NJ_CONTEXT_LEARN_MIN_BYTES 4096 /* of text, below which framing hides a model's rate */
#define NJ_CONTEXT_LEARN_MAX_BYTES (16u << 20) /* then the older half counts half */

/* How many tokens a model makes of a prompt's bytes: sums over what its replies told. Zeroed: not
 * known. */
struct nj_token_rate {
    uint64_t tokens, bytes;
};

/* nj_token_rate_learn - a prompt of @bytes was counted as @tokens; a figure that no model can mean
 * (below a token for 16 bytes, above one for each) is not learned from */
void nj_token_rate_learn(struct nj_token_rate *rate, uint64_t bytes, uint64_t tokens);

/* nj_token_rate_of - tokens of @bytes; NJ_CONTEXT_BYTES_PER_TOKEN where nothing was learned */
uint64_t nj_token_rate_of(const struct nj_token_rate *rate, uint64_t bytes);

/* nj_context_bytes - bytes of the next prompt: what a rate is learned from */
uint64_t nj_context_bytes(const struct nj_session *session);

/* nj_context_estimate - tokens of the next prompt, as they will probably be counted. What the last
 * usage measured is exact, and what came since is taken at its rate. @rate is for a prompt that
 * nobody measured: what the model made of others; NULL: not known. */
uint64_t nj_context_estimate(const struct nj_session *session, const struct nj_token_rate *rate);

/* nj_context_bound - tokens that the next prompt cannot exceed. @same_model: the model that is
 * asked is the one that counted the last usage; another one's tokens may be half as many again. */
uint64_t nj_context_bound(const struct nj_session *session, bool same_model);

/* nj_context_is_reply - is item @index an assistant's? */
bool nj_context_is_reply(const struct nj_session *session, size_t index);

/* nj_context_compact - move the cut if it is due; called by the core before it prompts */
void nj_context_compact(struct nj_session *session);

/* nj_context_item - item @index as a request holds it: borrowed from the session, or, where it is
 * left out, a note in @scratch (which is cleared first) */
int nj_context_item(const struct nj_session *session, size_t index, struct nj_buf *scratch,
                    struct nj_span *ret_item, struct nj_error *err) NJ_MUST_USE;

#endif
