/*
 * fixed.h - what programs in a box of level D1 and up are told of a machine
 *
 * Load, counters and sizes of the host differ from run to run, and programs print them, size their
 * pools by them and hash them. So a box shows a small machine that is always the same: one
 * processor, the memory of the plan, nothing else going on. The values are files over those of
 * procfs; what they are is data of the plan (nj_box_plan_print()).
 */
#ifndef NJ_SANDBOX_FIXED_H
#define NJ_SANDBOX_FIXED_H

#include "batch/sandbox/plan.h"

/* Where the files lie until a call covers procfs with them: gone from a payload's view. */
#define NJ_FIXED_DIR NJ_BOX_HIDDEN "/fixed"
#define NJ_FIXED_EMPTY_DIR NJ_FIXED_DIR "/empty"

struct nj_fixed_file {
    const char *target; /* of procfs */
    const char *name;   /* in NJ_FIXED_DIR */
    const char *text;   /* its content; NULL: memory is gone */
    const char *reason;
};

#define NJ_FIXED_FILES_MAX 8

/* nj_fixed_files - fill @files, with texts in @arena; returns how many: none below level D1 */
size_t nj_fixed_files(const struct nj_box_plan *plan, struct nj_arena *arena,
                      struct nj_fixed_file files[NJ_FIXED_FILES_MAX]);

/* nj_fixed_masks - counters of the host that no program needs: empty. Ends with NULL; none below D1
 */
const char *const *nj_fixed_masks(const struct nj_box_plan *plan);

/* nj_fixed_hidden - likewise, directories */
const char *const *nj_fixed_hidden(const struct nj_box_plan *plan);

/* nj_fixed_print - a line for each value that is fixed, with its reason */
int nj_fixed_print(const struct nj_box_plan *plan, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

#endif
