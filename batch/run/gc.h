/*
 * gc.h - runs that ended long ago are removed
 *
 * A run goes when it has finished and its end lies further back than wanted. One that an engine
 * works on stays always; one that was suspended or whose engine died stays unless it is asked for,
 * since it could be gone on with. Removing begins with a rename to ".gc-<name>", so a run is there
 * as a whole or not at all; what a killed gc left is removed by the next one.
 */
#ifndef NJ_GC_H
#define NJ_GC_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/base/error.h"

struct nj_gc_options {
    int64_t keep_seconds; /* -1: what each run's job says (archive.retain), else for ever */
    const char *job;      /* only runs of this job; NULL: of all */
    bool unfinished;      /* suspended and died ones too */
    bool dry_run;         /* tell, and leave everything */
};

struct nj_gc_removed {
    const char *name;
    const char *state; /* "finished", ... */
    int64_t ended_s;   /* wall clock */
    uint64_t bytes;    /* given back to the disk */
};

/* nj_gc - @told is called for each run that is (or would be) removed. Fails with NJ_E_INPUT when
 * there is no folder @runs_path; a run that cannot be removed is logged, and the others go on: then
 * NJ_E_SYSTEM at the end. */
int nj_gc(const char *runs_path, const struct nj_gc_options *options,
          void (*told)(void *ctx, const struct nj_gc_removed *removed), void *ctx,
          struct nj_error *err) NJ_MUST_USE;

/* nj_gc_duration - "30d", "12h", "90m", "45s", "2w" in seconds, or -1 */
int64_t nj_gc_duration(const char *text);

#endif
