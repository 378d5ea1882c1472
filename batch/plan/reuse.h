/*
 * reuse.h - what went into each session, by name, and what of it is different from an earlier run
 *
 * A run keeps inputs/identities.jsonl: for each group, what all its sessions share, and for each
 * session what is its own, every ingredient with the head of its digest. A later plan is compared
 * with it name by name, so that a person reads "the file /workspace/in.txt changed" and not "the
 * digest is another". The attempt is in none of it.
 *
 *     {"group":"invoices","parts":{"instructions":"0123456789abcdef","model":...}}
 *     {"key":"a-17","group":"invoices","digest":HEX,"parts":{"item":...,"file
 * /workspace/in.txt":...}}
 *     {"end":2}
 */
#ifndef NJ_REUSE_H
#define NJ_REUSE_H

#include "batch/plan/plan.h"

#define NJ_IDENTITIES_NAME "identities.jsonl"
#define NJ_IDENTITIES_MAX_BYTES (1u << 30)

/* nj_identities_save - publish the plan's identities in the inputs folder, durable */
int nj_identities_save(const struct nj_plan *plan, int inputs_dir_fd,
                       struct nj_error *err) NJ_MUST_USE;

struct nj_reuse;

/* nj_reuse_open - an earlier run that has ended. NJ_E_INPUT: there is none, or it has not ended. */
int nj_reuse_open(const char *run_path, struct nj_reuse **ret_reuse,
                  struct nj_error *err) NJ_MUST_USE;
void nj_reuse_free(struct nj_reuse *reuse);
NJ_DEFINE_AUTO_PTR(struct nj_reuse, nj_reuse_free);

enum nj_reuse_verdict {
    NJ_REUSE_SAME, /* succeeded there, from exactly the same, and so did all that it comes after: it
                      can be taken over */
    NJ_REUSE_NEW,  /* no such key */
    NJ_REUSE_CHANGED, /* something that went into it is different */
    NJ_REUSE_FAILED   /* the same went in, but it did not succeed */
};

/*
 * nj_reuse_judge - may the earlier session with this key stand for @session?
 *
 * @why  appended for CHANGED: "instructions", "file /workspace/in.txt (and 2 more)"; for FAILED:
 * its status Returns an enum nj_reuse_verdict.
 */
int nj_reuse_judge(struct nj_reuse *reuse, const struct nj_plan *plan,
                   const struct nj_plan_session *session, struct nj_buf *why,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_reuse_row - the earlier session's line of results.jsonl, borrowed; false without one */
bool nj_reuse_row(const struct nj_reuse *reuse, const char *key, struct nj_span *ret_row);

/* What the succeeded sessions of a group used there, all together. */
struct nj_reuse_usage {
    uint64_t sessions;
    uint64_t input_tokens; /* neither read from nor written to a cache */
    uint64_t output_tokens;
    uint64_t cache_read_tokens;
    uint64_t cache_write_tokens;
    uint64_t calls; /* of models, at one tool call a turn: rows tell steps, which are both */
};

/* nj_reuse_group - zeroes where the group is not known */
struct nj_reuse_usage nj_reuse_group(const struct nj_reuse *reuse, const char *group);

#endif
