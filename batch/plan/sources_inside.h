/*
 * sources_inside.h - how answers are kept; private to sources*.c
 */
#ifndef NJ_SOURCES_INSIDE_H
#define NJ_SOURCES_INSIDE_H

#include "batch/plan/sources.h"
#include "batch/plan/table.h"

/* The value begins the answer's key in the table, so that a file and a folder of one name are two.
 */
enum nj_answer_kind { NJ_ANSWER_FILE = 'f', NJ_ANSWER_FOLDER = 'd', NJ_ANSWER_GLOB = 'g' };

struct nj_answer {
    enum nj_answer_kind kind;
    const char *path;
    struct nj_source_file file;
    struct nj_workspace_ref folder;
    struct nj_glob_result glob;
};

struct nj_sources {
    bool recorded;
    struct nj_arena arena;
    struct nj_roots roots; /* live only */
    const struct nj_object_sink *sink;
    const struct nj_object_source *source; /* recorded only; may be NULL */
    struct nj_table known;                 /* kind and path; value: index in answers */
    struct nj_answer *
        *answers; /* in the order of asking; each in the arena, so that it never moves */
    size_t n_answers;
    size_t cap_answers;
};

/* nj_sources_keep - texts must live as long as @sources. Returns 1 when the question had an answer
 * already. */
int nj_sources_keep(struct nj_sources *sources, const struct nj_answer *answer,
                    struct nj_error *err) NJ_MUST_USE;

#endif
