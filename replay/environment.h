/*
 * environment.h - the host a session ran on beside the host of now
 *
 * A record names what it ran on (nj_archive_publish()): kernel, architecture, and interpreters
 * by the digests of their programs. Another kernel alone is a note. An interpreter that a step
 * used, and that is missing or another program here, means that a difference found afterwards
 * cannot be judged. What a record says is text to compare: no path in it is looked at.
 */
#ifndef NJ_REPLAY_ENVIRONMENT_H
#define NJ_REPLAY_ENVIRONMENT_H

#include <jansson.h>

#include "batch/engine/digested.h"
#include "formats/base/buf.h"

struct nj_environment {
    json_t *root; /* an object; empty when nothing is known */
};

/* nj_environment_parse - @text is a JSON object, or empty: nothing is known. NJ_E_CORRUPT
 * otherwise. */
int nj_environment_parse(const char *text, struct nj_environment *ret_environment,
                         struct nj_error *err) NJ_MUST_USE;
void nj_environment_done(struct nj_environment *environment);
NJ_DEFINE_AUTO_VAL(struct nj_environment, nj_environment_done);

/* nj_environment_here - what this host is, and where its interpreters are, each still without a
 * digest */
int nj_environment_here(struct nj_environment *ret_here, struct nj_error *err) NJ_MUST_USE;

/* nj_environment_digest - give interpreter @name of @here its digest, unless it has one or is not
 * there */
int nj_environment_digest(struct nj_environment *here, const char *name,
                          struct nj_digested *digested, struct nj_error *err) NJ_MUST_USE;

/* nj_environment_compare_program - is interpreter @name the same program in both?
 *
 * Returns 0 when it is, or nobody can tell: it is not in the record, or here and unreadable; 1 with
 * a sentence appended to @what when it differs or is missing here. */
int nj_environment_compare_program(const struct nj_environment *recorded,
                                   const struct nj_environment *here, const char *name,
                                   struct nj_buf *what, struct nj_error *err) NJ_MUST_USE;

/* nj_environment_compare_file - did the file at @path that ran then (formats/bundle/FORMAT.md,
 * "ran") have the digest @here? As above. */
int nj_environment_compare_file(const struct nj_environment *recorded, const char *path,
                                const struct nj_digest *here, struct nj_buf *what,
                                struct nj_error *err) NJ_MUST_USE;

/* nj_environment_compare_host - kernel, architecture, processor, packages and build; as above, each
 * difference in the one sentence */
int nj_environment_compare_host(const struct nj_environment *recorded,
                                const struct nj_environment *here, struct nj_buf *what,
                                struct nj_error *err) NJ_MUST_USE;

#endif
