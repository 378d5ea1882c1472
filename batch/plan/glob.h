/*
 * glob.h - patterns over paths: which files of the host are items, which files of a workspace are
 * outputs
 *
 * A pattern is parts between slashes. In a part, * is any run of characters, ? one character,
 * [abc], [a-z], [!a] (or [^a]) one of a set; there is no escape: [*] is a star. A part that is **
 * stands for any number of folders, none included; at the end, for every file below. A name that
 * begins with '.' is matched only by a part that begins with '.'. Links to folders are followed by
 * other parts but not by **. Order is the order of bytes.
 *
 * A compiled pattern is a set of places in it (nj_glob_state) that moves on with each name, so
 * matching takes time in proportion to path and pattern, whatever either of them is.
 */
#ifndef NJ_GLOB_H
#define NJ_GLOB_H

#include "batch/plan/roots.h"

#define NJ_GLOB_PARTS_MAX 255
#define NJ_GLOB_MATCHES_MAX 1000000
#define NJ_GLOB_ENTRIES_MAX 4000000 /* directory entries that one expansion looks at */

struct nj_glob_part {
    const char *text;
    bool literal;
    bool deep; /* ** */
};

struct nj_glob {
    const struct nj_glob_part *parts;
    size_t n_parts;
};

struct nj_glob_state {
    uint64_t bits[(NJ_GLOB_PARTS_MAX + 1 + 63) / 64]; /* bit i: parts before i are matched */
};

/* nj_glob_compile - @pattern without leading '/'; memory is in @arena. NJ_E_INPUT: more than
 * NJ_GLOB_PARTS_MAX parts. */
int nj_glob_compile(const char *pattern, struct nj_arena *arena, struct nj_glob *ret_glob,
                    struct nj_error *err) NJ_MUST_USE;

void nj_glob_start(const struct nj_glob *glob, struct nj_glob_state *ret_state);

/* nj_glob_step - go on by one name of the path; @through_link: it is a link, which ** does not take
 * for a folder.
 * @state and @ret_state may be the same. */
void nj_glob_step(const struct nj_glob *glob, const struct nj_glob_state *state,
                  struct nj_span name, bool through_link, struct nj_glob_state *ret_state);

/* nj_glob_matched - the names so far are a whole match. nj_glob_alive - more names may become one.
 */
bool nj_glob_matched(const struct nj_glob *glob, const struct nj_glob_state *state);
bool nj_glob_alive(const struct nj_glob *glob, const struct nj_glob_state *state);

/* nj_glob_part_match - one part against one name */
bool nj_glob_part_match(const char *part, struct nj_span name);

/* ---- over the host ---- */

struct nj_glob_match {
    const char *path; /* as the manifest would spell it */
    uint64_t size;
};

struct nj_glob_result {
    struct nj_glob_match *matches; /* regular files, ascending by path bytes, each once */
    size_t n_matches;
    size_t links_left;      /* links that leave the roots: not followed */
    const char *first_link; /* the first of them */
};

/* nj_glob_expand - memory is in @arena. NJ_E_INPUT: outside the roots, a folder that cannot be
 * read, a name that is not UTF-8 or holds a control character; NJ_E_LIMIT. No match is not a
 * failure here. */
int nj_glob_expand(const struct nj_roots *roots, const char *pattern, struct nj_arena *arena,
                   struct nj_glob_result *ret_result, struct nj_error *err) NJ_MUST_USE;

#endif
