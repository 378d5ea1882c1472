/*
 * sources.h - what a plan asks of the host, and what it was told
 *
 * Live, a question is answered by the host: the matches of a glob, the content of a file, the tree
 * of a folder; contents are put into the run's inputs. Each question is asked once, and its answer
 * is kept. The answers, as lines of JSON, are inputs/sources.jsonl: a person reads there which path
 * had which digest, and a resumed run answers the same questions from it, so that its plan is the
 * same whatever became of the host.
 *
 *     {"file":"check.py","digest":HEX,"size":812,"mode":"0644","mtime_ns":1763776800000000000}
 *     {"file":"big.bin","digest":HEX,"parts":HEX,...}          "parts" above NJ_OBJECT_PART_BYTES
 *     {"folder":"config","tree":HEX,"stamps":HEX}
 *     {"glob":"inbox/?.pdf","matches":2,"links_left":0}        then so many:
 *     {"match":"inbox/a.pdf","size":9120}
 *     {"end":4}                                                lines before this one
 */
#ifndef NJ_SOURCES_H
#define NJ_SOURCES_H

#include "batch/plan/glob.h"
#include "formats/object/object.h"

#define NJ_SOURCES_MAX_BYTES (512u << 20)

struct nj_sources;

struct nj_source_file {
    const char *path;           /* as the manifest spells it */
    struct nj_tree_entry entry; /* REGULAR, without a name */
    int64_t mtime_ns;
};

/* nj_sources_new - live. @allow as in nj_roots_open(); @sink is borrowed for the life of the
 * result. */
int nj_sources_new(int dir_fd, const char *const *allow, const struct nj_object_sink *sink,
                   struct nj_sources **ret_sources, struct nj_error *err) NJ_MUST_USE;

/* nj_sources_recorded - answer from the lines of nj_sources_write(); @lines is not kept.
 * NJ_E_CORRUPT names the line. */
int nj_sources_recorded(struct nj_span lines, struct nj_sources **ret_sources,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_sources_read_from - where recorded sources find the content of a file; borrowed until the next
 * call, NULL for nowhere */
void nj_sources_read_from(struct nj_sources *sources, const struct nj_object_source *source);
void nj_sources_free(struct nj_sources *sources);
NJ_DEFINE_AUTO_PTR(struct nj_sources, nj_sources_free);

/*
 * The questions. Answers are borrowed from @sources. NJ_E_INPUT is for a person to mend (the text
 * says what); a recorded run that is asked what was never answered fails with NJ_E_CORRUPT.
 */
int nj_sources_glob(struct nj_sources *sources, const char *pattern,
                    const struct nj_glob_result **ret_result, struct nj_error *err) NJ_MUST_USE;
int nj_sources_file(struct nj_sources *sources, const char *path,
                    const struct nj_source_file **ret_file, struct nj_error *err) NJ_MUST_USE;
/* nj_sources_text - a file's content, appended; as nj_sources_file() otherwise. NJ_E_INPUT when it
 * is longer than @out takes. */
int nj_sources_text(struct nj_sources *sources, const char *path, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;
int nj_sources_folder(struct nj_sources *sources, const char *path,
                      struct nj_workspace_ref *ret_ref, struct nj_error *err) NJ_MUST_USE;
/* nj_sources_archive - a file as the only entry, @name, of a folder: 0444, as old as 1970, so that
 * the reference follows from @name and the bytes alone. *ret_digest is of the bytes. */
int nj_sources_archive(struct nj_sources *sources, const char *path, const char *name,
                       struct nj_workspace_ref *ret_ref, struct nj_digest *ret_digest,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_sources_links_left - links that were not followed because they leave the roots; the first of
 * them or NULL */
size_t nj_sources_links_left(const struct nj_sources *sources, const char **ret_first);

/* nj_sources_write - append all answers so far, in the order of asking */
int nj_sources_write(const struct nj_sources *sources, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

#endif
