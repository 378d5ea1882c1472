/*
 * plan.h - from a manifest to the sessions of a run
 *
 * The plan expands for_each, makes keys and identities, reads every input once (into the run's inputs, by digest) and
 * builds each session's first workspace. It is data: nothing has started when it is done, and every fault a person
 * can mend was found. Sessions of groups that come `after` others get their input and files when those have
 * ended (nj_plan_prepare), because {results} is known only then.
 */
#ifndef NJ_PLAN_H
#define NJ_PLAN_H

#include "batch/model/model.h"
#include "batch/session/config.h"
#include "formats/manifest/manifest.h"

#define NJ_PLAN_SESSIONS_MAX 1000000
#define NJ_PLAN_KEY_MAX_BYTES 255
#define NJ_PLAN_SLUG_MAX_BYTES 80

struct nj_plan_session {
    uint32_t number;   /* in the journal, from 1, in plan order */
    const char *key;   /* unique in the run */
    const char *slug;  /* of the key, for file names: [a-z0-9._-], never starts with '.'; unique with digest8 */
    size_t group;      /* index in the manifest */
    size_t role;
    struct nj_digest identity; /* DESIGN section 2, "digest" */
    const char *item_json; /* "{}" without for_each */
    const struct nj_session_config *config;
    struct nj_digest config_digest;
};

struct nj_plan {
    struct nj_arena arena;
    const struct nj_manifest *manifest; /* borrowed */
    int dir_fd;                         /* the manifest's directory, borrowed */
    struct nj_plan_session *sessions;
    size_t n_sessions;
};

/*
 * nj_plan_new - expand and check
 *
 * @inputs   where mounts and files are put, by digest: the run's inputs (inputs.h), or a counting sink for `check`
 * @faults   what a person can mend: no match for a glob, a key twice, a missing file... each with its mark
 *
 * Fails with NJ_E_INPUT (and @faults), NJ_E_LIMIT, NJ_E_SYSTEM. @models is asked for nj_models_digest().
 */
int nj_plan_new(const struct nj_manifest *manifest, int dir_fd, const struct nj_models *models,
                const struct nj_object_sink *inputs, struct nj_plan **ret_plan,
                struct nj_manifest_faults *faults, struct nj_error *err) NJ_MUST_USE;
void nj_plan_free(struct nj_plan *plan);
NJ_DEFINE_AUTO_PTR(struct nj_plan, nj_plan_free);

/* nj_plan_prepare - the session's first message (an item, message.h) and first workspace
 *
 * @results  JSON array text of the rows that {results} stands for; NULL for groups without after
 * @files    where file contents can be read again by digest (the run's inputs)
 * @objects  where message, blobs and trees go (the session's objects)
 */
int nj_plan_prepare(const struct nj_plan *plan, const struct nj_plan_session *session,
                    const char *results, const struct nj_object_source *files,
                    const struct nj_object_sink *objects, struct nj_buf *ret_first,
                    struct nj_digest *ret_first_digest, struct nj_workspace_ref *ret_workspace,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_plan_environment - append what this host is, as a JSON object: kernel, architecture, interpreters found */
int nj_plan_environment(struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
