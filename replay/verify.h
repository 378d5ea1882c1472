/*
 * verify.h - records verified one after another or a few at a time, in one process
 *
 *     nj_verify_open()  while still privileged: network left behind, helper started, files opened,
 * root given up nj_verify_run()   every record is lived again; one callback each, in the order
 * given
 */
#ifndef NJ_REPLAY_VERIFY_H
#define NJ_REPLAY_VERIFY_H

#include "replay/reading.h"
#include "replay/world_recorded.h"

enum nj_verdict {
    NJ_VERDICT_EQUAL,
    NJ_VERDICT_DIVERGED,
    NJ_VERDICT_ENVIRONMENT, /* it differs, but so does a program that its steps used */
    NJ_VERDICT_FAILED,      /* refused, damaged, or the replay could not go on: result->error */
    NJ_VERDICT_STOPPED,     /* a signal came before its end */
};

const char *nj_verdict_text(enum nj_verdict verdict);

struct nj_verified {
    const char *name; /* as the person wrote it */
    enum nj_verdict verdict;
    const struct nj_recorded_result *result; /* NULL when it could not even begin */
    const struct nj_bundle_info *info;       /* NULL likewise */
    const char *level;                       /* declared, "" when unknown */
    const char *host;      /* a note when kernel, architecture or build differ; else "" */
    struct nj_error error; /* FAILED */
    uint64_t duration_ms;
};

struct nj_verify;

/* nj_verify_open - @names as nj_where_parse() reads them. @rootfs: the image for all records that
 * have one, in place of their own, or NULL; names are borrowed. Fails as a whole: a missing file,
 * no namespaces, no sandbox. */
int nj_verify_open(char *const *names, size_t n_names, const char *rootfs,
                   struct nj_verify **ret_verify, struct nj_error *err) NJ_MUST_USE;
void nj_verify_free(struct nj_verify *verify);
NJ_DEFINE_AUTO_PTR(struct nj_verify, nj_verify_free);

/* nj_verify_run - at most @jobs at once. @tell is called for each in the order given; negative
 * stops all. SIGINT and SIGTERM end it early: what was not begun or not ended is told as STOPPED.
 */
typedef int (*nj_verify_tell)(void *ctx, const struct nj_verified *verified, struct nj_error *err);
int nj_verify_run(struct nj_verify *verify, unsigned jobs, nj_verify_tell tell, void *ctx,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_verified_text, nj_verified_json - what is printed of one; @all lists every difference, else
 * those of the first place */
int nj_verified_text(const struct nj_verified *verified, bool all, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;
int nj_verified_json(const struct nj_verified *verified, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

#endif
