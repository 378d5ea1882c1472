/*
 * plan.h - from a manifest to the sessions of a run
 *
 * The plan expands for_each, makes keys and identities, and reads every input once, into the run's
 * inputs, by digest. It is data: nothing has started when it is done, and every fault a person can
 * mend was found. Sessions of groups that come `after` others get their input and files when those
 * have ended (nj_plan_prepare), because {results} is known only then.
 *
 *     run:     nj_plan_new(), nj_inputs_sync(), nj_plan_save(); from then on the host is not asked
 *     resume:  nj_plan_load() of what was saved: the same sessions, identities and configs,
 *              whatever became of the files they came from
 *     both:    nj_plan_prepare() as each session is opened
 *
 * Identity (DESIGN section 2, "digest"): a chain of SHA-256 over "agent" (nj_manifest_pack_agent),
 * "group" (nj_manifest_pack_group), "item" (its JSON), for each file "file" (target, a zero byte,
 * mode, digest of the source's bytes; `content` is in the group), for each mount "mount" (target, a
 * zero byte, its tree), for each tool "tool" (the schema a model is shown), "models"
 * (nj_models_digest), and where the group comes after others "after" (a chain of their sessions'
 * identities). The key, limits of the run, attempts and times of files are not in it.
 */
#ifndef NJ_PLAN_H
#define NJ_PLAN_H

#include <linux/limits.h>

#include "batch/model/model.h"
#include "batch/plan/items.h"
#include "batch/plan/slug.h"
#include "batch/plan/sources.h"
#include "batch/session/config.h"
#include "formats/manifest/manifest.h"

#define NJ_PLAN_SESSIONS_MAX 1000000
#define NJ_PLAN_KEY_MAX_BYTES 255
#define NJ_PLAN_SLUG_MAX_BYTES NJ_SLUG_MAX_BYTES
#define NJ_PLAN_CONTENT_MAX_BYTES (64u << 20) /* of a file given by `content` */

/* What has no source file to be as old as: folders, and files given by `content`. 2000-01-01; zip
 * cannot say 1970. */
#define NJ_PLAN_MTIME_NS (INT64_C(946684800) * 1000000000)

struct nj_plan_file {
    const char *target;  /* absolute in the box */
    const char *content; /* template, for when it is prepared: it may hold {results} */
    const struct nj_source_file *source; /* exactly one of content and source is there */
};

struct nj_plan_session {
    uint32_t number;  /* in the journal, from 1, in plan order */
    const char *key;  /* unique in the run */
    const char *slug; /* of the key, for file names: see slug.h; unique in the run */
    size_t group;     /* index in the manifest */
    size_t role;      /* the agent's, unless the item overrides it */
    struct nj_digest identity;
    const char *item_json; /* "{}" without for_each; keys ascending, no spaces */
    uint32_t item_line;    /* of its file, where it comes from lines or csv; else 0 */
    const char *input;     /* an overridden input, as it is; NULL: the group's template */
    const struct nj_plan_file *files;
    size_t n_files;
    const struct nj_session_config *config;
    struct nj_digest config_digest; /* of nj_config_encode()'s bytes */
};

struct nj_plan {
    struct nj_arena arena;
    const struct nj_manifest *manifest; /* borrowed */
    const struct nj_models *models;     /* borrowed */
    struct nj_plan_session *sessions;   /* in the order of the manifest's groups, items ascending */
    size_t n_sessions;
    struct nj_sources *sources;
};

/*
 * nj_plan_new - expand and check
 *
 * @dir_fd       the manifest's directory, borrowed for the call
 * @inputs       where mounts and files are put, by digest: the run's inputs (inputs.h), or a
 *               counting sink for `check`
 * @allow_paths  directories beside the manifest's that inputs may come from (--allow-path);
 *               NULL-terminated, may be NULL
 * @faults       what a person can mend: no match for a glob, a key twice, a missing file... each
 *               with its mark
 *
 * Fails with NJ_E_INPUT (and @faults, unless an allowed directory is no directory), NJ_E_LIMIT,
 * NJ_E_SYSTEM. The model scripts of all roles in use become inputs too.
 */
int nj_plan_new(const struct nj_manifest *manifest, int dir_fd, const struct nj_models *models,
                const struct nj_object_sink *inputs, const char *const *allow_paths,
                struct nj_plan **ret_plan, struct nj_manifest_faults *faults,
                struct nj_error *err) NJ_MUST_USE;

/* nj_plan_save - publish the plan's answers from the host as sources.jsonl in the inputs folder,
 * durable */
int nj_plan_save(const struct nj_plan *plan, int inputs_dir_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_plan_load - the plan again, from the manifest as it was run and what nj_plan_save() left.
 * NJ_E_CORRUPT when that is missing, damaged or does not answer what the manifest asks. */
int nj_plan_load(const struct nj_manifest *manifest, int inputs_dir_fd,
                 const struct nj_models *models, struct nj_plan **ret_plan,
                 struct nj_error *err) NJ_MUST_USE;

void nj_plan_free(struct nj_plan *plan);
NJ_DEFINE_AUTO_PTR(struct nj_plan, nj_plan_free);

/* nj_plan_find - by key, NULL when there is none */
const struct nj_plan_session *nj_plan_find(const struct nj_plan *plan, const char *key);

/*
 * nj_plan_prepare - the session's first message (an item, message.h) and first workspace
 *
 * @results    JSON array text of the rows that {results} stands for; NULL for groups without after
 * @files      where file contents can be read again by digest (the run's inputs)
 * @objects    where message, blobs and trees go (the session's objects)
 * @ret_first  appended to
 *
 * The workspace holds each writable path (0755; /tmp 01777), the files (0644, 0755 when the source
 * was executable) with the times of their sources, and the folders between. The same plan, results
 * and inputs give the same bytes.
 */
int nj_plan_prepare(const struct nj_plan *plan, const struct nj_plan_session *session,
                    const char *results, const struct nj_object_source *files,
                    const struct nj_object_sink *objects, struct nj_buf *ret_first,
                    struct nj_digest *ret_first_digest, struct nj_workspace_ref *ret_workspace,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_plan_environment - append what this host is, as a JSON object: build, kernel, architecture,
 * processor, and what dpkg has */
int nj_plan_environment(struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* What a call of code runs, by the names that a box looks for. */
#define NJ_PLAN_INTERPRETERS 3
extern const char *const nj_plan_interpreters[NJ_PLAN_INTERPRETERS];

/* nj_plan_interpreter - the program that runs in the end as @name, a link that an upgrade moves, or
 * 1 when no folder of a box has it */
int nj_plan_interpreter(const char *name, char ret_path[PATH_MAX]);

#endif
