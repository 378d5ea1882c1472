/*
 * reading.h - from what a person typed to a record that can be read, with as few rights as that
 * takes
 *
 * The order is the point: the words are understood (stat only), the network is left behind, files
 * are opened, root is given up, the process is confined to what it has opened, and only then is a
 * byte of the record parsed.
 */
#ifndef NJ_REPLAY_READING_H
#define NJ_REPLAY_READING_H

#include "replay/timeline.h"
#include "replay/where.h"

/* One B, opened but not yet parsed. Zero it with NJ_SOURCE_EMPTY. */
struct nj_source {
    struct nj_where where;
    int fd;                /* a bundle; -1 for a run */
    struct nj_run_dir dir; /* a run */
};

#define NJ_SOURCE_EMPTY                                                                            \
    {                                                                                              \
        .fd = -1, .dir = NJ_RUN_DIR_EMPTY                                                          \
    }

void nj_source_done(struct nj_source *source);
NJ_DEFINE_AUTO_VAL(struct nj_source, nj_source_done);

/* nj_reading_isolate - leave the network; where this host refuses a namespace, reading goes on
 * without one (and says so at level info) */
int nj_reading_isolate(struct nj_error *err) NJ_MUST_USE;

/* nj_source_open - open what source->where names; a bundle must be a regular file */
int nj_source_open(struct nj_source *source, struct nj_error *err) NJ_MUST_USE;

/* nj_source_drop_privileges - as root, become the owner of the first run among @sources, else the
 * user of nj_drop_privileges() */
int nj_source_drop_privileges(const struct nj_source *sources, size_t n_sources,
                              struct nj_error *err) NJ_MUST_USE;

/*
 * nj_source_confine - from here this process reads @sources, and nothing else
 *
 * @write_fd  a folder that may be written into; -1: none. As root without a drop before, the
 *            capabilities stay that reaching a run of another user and writing there take.
 * @loop      for `verify`, which talks with its sandbox's helper, and digests the programs that
 * ran: the system's folders may be read, too
 *
 * On a kernel without Landlock the rest of the confinement must do, and level info tells so.
 */
int nj_source_confine(const struct nj_source *sources, size_t n_sources, int write_fd, bool loop,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_source_record - parse; the record borrows from @source */
int nj_source_record(const struct nj_source *source, unsigned flags, struct nj_record **ret_record,
                     struct nj_error *err) NJ_MUST_USE;

/* What the commands that only read go through: all of the above, and the timeline. */
struct nj_reading {
    struct nj_source source;
    struct nj_record *record;
    struct nj_timeline *timeline;
};

#define NJ_READING_EMPTY                                                                           \
    {                                                                                              \
        .source = NJ_SOURCE_EMPTY                                                                  \
    }

void nj_reading_done(struct nj_reading *reading);
NJ_DEFINE_AUTO_VAL(struct nj_reading, nj_reading_done);

enum nj_reading_flags {
    NJ_READING_SALVAGE = 1,
};

/*
 * nj_reading_open - @text as nj_where_parse() reads it
 *
 * @write_fd  a folder that is written into later; -1: none. What is written belongs to the caller,
 *            so with a folder root stays root, without its rights.
 *
 * Where this host refuses a network namespace, reading goes on without one (and says so at level
 * info).
 */
int nj_reading_open(const char *text, unsigned flags, int write_fd, struct nj_reading *ret_reading,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_reading_row - the row of the step that was asked for, the last one without @N */
int nj_reading_row(const struct nj_reading *reading, const struct nj_row **ret_row,
                   struct nj_error *err) NJ_MUST_USE;

#endif
