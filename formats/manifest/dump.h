/*
 * dump.h - what the files that write a manifest share; not for callers
 */
#ifndef NJ_MANIFEST_DUMP_H
#define NJ_MANIFEST_DUMP_H

#include "formats/manifest/manifest.h"

/* The first failure sticks; later calls do nothing. */
struct nj_dump {
    struct nj_buf *out;
    struct nj_error *err;
    int r;
};

void nj_dump_put(struct nj_dump *dump, const char *text); /* as it is */
void nj_dump_put_number(struct nj_dump *dump, const char *before, uint64_t value);
void nj_dump_put_escaped(struct nj_dump *dump, const char *text, bool escape_quotes);
void nj_dump_put_quoted(struct nj_dump *dump, const char *text);
void nj_dump_put_text(struct nj_dump *dump, const char *before, const char *text); /* or NULL */
void nj_dump_put_word(struct nj_dump *dump, const char *before, const char *word);
void nj_dump_put_micro(struct nj_dump *dump, const char *before, int64_t micro);
void nj_dump_put_texts(struct nj_dump *dump, const char *before,
                       const struct nj_manifest_texts *texts);

/* for_each or matrix, where, first, may_be_empty, override of a group */
void nj_dump_items(struct nj_dump *dump, const struct nj_manifest_group *group);

#endif
