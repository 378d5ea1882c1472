/*
 * faults.h - what is wrong with a file that a person wrote: several faults at once, each with its
 * place
 *
 * A reader that meets a fault adds it and goes on, so that a person mends a file in one round and
 * not in ten. The list keeps the first NJ_FAULTS_MAX and counts the rest. Texts are single lines of
 * printable UTF-8: whatever a file contained is escaped on its way in.
 *
 *     NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
 *     if (nj_manifest_parse(bytes, "job.yaml", &manifest, &faults, &err) < 0)
 *         nj_manifest_faults_print(&faults, "job.yaml", &buf, &err2);   one "file:line:col: path:
 * text" a line
 */
#ifndef NJ_MANIFEST_FAULTS_H
#define NJ_MANIFEST_FAULTS_H

#include "formats/base/arena.h"
#include "formats/base/buf.h"

#define NJ_FAULTS_MAX 20
#define NJ_FAULT_FILES_MAX 512

/* A place in the file, both counted from 1; columns count characters. Zero: the file as a whole. */
struct nj_mark {
    unsigned line;
    unsigned column;
    unsigned file; /* 0: the file itself; else what nj_manifest_faults_file() said */
};

struct nj_manifest_fault {
    struct nj_mark mark;
    const char *path; /* "agents.worker.sandbox.max_memory"; "" for the file as a whole */
    const char *text;
};

struct nj_manifest_faults {
    struct nj_manifest_fault
        items[NJ_FAULTS_MAX];              /* in the order of the file once parsing is over */
    size_t count;                          /* of items */
    size_t dropped;                        /* further faults that found no room */
    bool nomem;                            /* a fault could not be kept: memory is gone */
    const char *files[NJ_FAULT_FILES_MAX]; /* names of other files and options */
    size_t n_files;
    struct nj_arena arena; /* owns the texts */
};

void nj_manifest_faults_done(
    struct nj_manifest_faults *faults); /* a zeroed list is valid and empty */
NJ_DEFINE_AUTO_VAL(struct nj_manifest_faults, nj_manifest_faults_done);

/* nj_manifest_faults_add - a fault at @mark; @path may be NULL; both texts are copied and escaped
 */
void nj_manifest_faults_add(struct nj_manifest_faults *faults, struct nj_mark mark,
                            const char *path, const char *fmt, ...) NJ_PRINTF(4, 5);

/* nj_manifest_faults_file - the number that marks within this file carry: an included file, or an
 * option such as "--set limits.sessions=8". Beyond NJ_FAULT_FILES_MAX the last number is shared. */
unsigned nj_manifest_faults_file(struct nj_manifest_faults *faults, const char *name);

/* nj_manifest_faults_sort - into the order of the file; equal places keep the order of adding */
void nj_manifest_faults_sort(struct nj_manifest_faults *faults);

/* nj_manifest_faults_fail - NJ_E_INPUT with the first fault and the number of the others in @err
 * (NJ_E_NOMEM when memory was gone); 0 when there is none */
int nj_manifest_faults_fail(const struct nj_manifest_faults *faults, const char *name,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_manifest_faults_print - append "name:line:col: path: text\n" for each, then a line for those
 * dropped */
int nj_manifest_faults_print(const struct nj_manifest_faults *faults, const char *name,
                             struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

#endif
