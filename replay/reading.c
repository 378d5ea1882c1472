/*
 * reading.c - opening before giving up rights, parsing after
 */
#include "replay/reading.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include "batch/engine/confine.h"
#include "batch/engine/drop.h"
#include "formats/base/log.h"
#include "formats/bundle/spool.h"
#include "replay/isolate.h"

#include "formats/base/banned.h"

static const struct nj_source empty_source = NJ_SOURCE_EMPTY;
static const struct nj_reading empty_reading = NJ_READING_EMPTY;

void nj_source_done(struct nj_source *source)
{
    nj_where_done(&source->where);
    if (source->fd >= 0)
        (void)close(source->fd);
    nj_run_dir_done(&source->dir);
    *source = empty_source;
}

int nj_source_open(struct nj_source *source, struct nj_error *err)
{
    struct stat st;

    if (source->where.key)
        return nj_run_dir_open(source->where.path, false, &source->dir, err);
    /* A FIFO must not block, a terminal must not become ours. */
    source->fd = open(source->where.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (source->fd < 0 || fstat(source->fd, &st) < 0) {
        (void)nj_fail_errno(err, errno, "open %s", source->where.path);
        if (err->sys_errno == EACCES || err->sys_errno == ENOENT)
            err->code = NJ_E_INPUT;
        return -(int)err->code;
    }
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "%s: a bundle is a file, this is none", source->where.path);
    return 0;
}

int nj_source_drop_privileges(const struct nj_source *sources, size_t n_sources,
                              struct nj_error *err)
{
    char user[32];
    struct stat st;

    if (geteuid() == 0)
        for (size_t i = 0; i < n_sources; i++) {
            if (!sources[i].where.key)
                continue;
            if (fstat(sources[i].dir.fd, &st) < 0)
                return nj_fail_errno(err, errno, "look at run %s", sources[i].where.path);
            if (st.st_uid == 0)
                continue;
            (void)snprintf(user, sizeof(user), "%u", st.st_uid);
            return nj_drop_privileges(user, NULL, err);
        }
    return nj_drop_privileges(NULL, NULL, err);
}

/* Where a box's programs come from; what is no folder of its own leads below the first. */
static const char *const system_folders[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64"};

#define SYSTEM_FOLDERS (sizeof(system_folders) / sizeof(system_folders[0]))

static size_t open_system(int fds[SYSTEM_FOLDERS])
{
    size_t n = 0;

    for (size_t i = 0; i < SYSTEM_FOLDERS; i++) {
        int fd = open(system_folders[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
            fds[n++] = fd;
    }
    return n;
}

int nj_source_confine(const struct nj_source *sources, size_t n_sources, int write_fd, bool loop,
                      struct nj_error *err)
{
    nj_auto_free int *read_fds = calloc(n_sources + SYSTEM_FOLDERS, sizeof(*read_fds));
    struct nj_error ignored = {0};
    size_t n_system, n;
    int r;

    if (!read_fds)
        return nj_fail_nomem(err);
    n = n_system = loop ? open_system(read_fds) : 0;
    for (size_t i = 0; i < n_sources; i++)
        if (sources[i].where.key)
            read_fds[n++] = sources[i].dir.fd;
    /* Only what is large needs it: the message comes when it is missed. */
    (void)!nj_spool_reserve(&ignored);
    r = nj_confine_reader(read_fds, n, write_fd, loop, err);
    for (size_t i = 0; i < n_system; i++)
        (void)close(read_fds[i]);
    return r;
}

int nj_source_record(const struct nj_source *source, unsigned flags, struct nj_record **ret_record,
                     struct nj_error *err)
{
    if (source->where.key)
        return nj_record_open_run(&source->dir, source->where.key, flags, ret_record, err);
    return nj_record_open_bundle(source->fd, source->where.path, flags, ret_record, err);
}

void nj_reading_done(struct nj_reading *reading)
{
    nj_timeline_free(reading->timeline);
    nj_record_free(reading->record);
    nj_source_done(&reading->source);
    *reading = empty_reading;
}

int nj_reading_isolate(struct nj_error *err)
{
    struct nj_error why = {0};
    int r = nj_isolate_network(&why);

    if (r < 0) {
        *err = why;
        return r;
    }
    if (r == 1)
        nj_log(NJ_LOG_INFO, "reading without a network namespace: %s", why.text);
    return 0;
}

int nj_reading_open(const char *text, unsigned flags, int write_fd, struct nj_reading *ret_reading,
                    struct nj_error *err)
{
    NJ_AUTO(nj_reading_done) struct nj_reading reading = NJ_READING_EMPTY;
    bool salvage = flags & NJ_READING_SALVAGE;

    if (nj_where_parse(text, &reading.source.where, err) < 0 || nj_reading_isolate(err) < 0 ||
        nj_source_open(&reading.source, err) < 0)
        return -(int)err->code;
    if ((write_fd < 0 && nj_source_drop_privileges(&reading.source, 1, err) < 0) ||
        nj_source_confine(&reading.source, 1, write_fd, false, err) < 0)
        return -(int)err->code;
    if (nj_source_record(&reading.source, salvage ? NJ_BUNDLE_SALVAGE : 0, &reading.record, err) <
        0)
        return err->code == NJ_E_CORRUPT
                   ? nj_wrap(err, "damaged, `nightjar-replay fsck` tells what of it is whole")
                   : -(int)err->code;
    if (nj_timeline_new(reading.record, salvage, &reading.timeline, err) < 0)
        return nj_wrap(err, "%s", reading.source.where.text);
    *ret_reading = reading;
    reading = empty_reading;
    return 0;
}

int nj_reading_row(const struct nj_reading *reading, const struct nj_row **ret_row,
                   struct nj_error *err)
{
    const struct nj_where *where = &reading->source.where;
    int r;

    r = nj_timeline_step(reading->timeline, where->has_step ? where->step : -1, ret_row, err);
    return r < 0 ? nj_wrap(err, "%s", where->text) : 0;
}
