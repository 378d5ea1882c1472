/*
 * job.c - a job as it is read from the host
 */
#include "batch/plan/job.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <time.h>

#include "batch/plan/deadline.h"
#include "batch/plan/roots.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

void nj_job_done(struct nj_job *job)
{
    if (!job)
        return;
    nj_close_auto(&job->dir_fd);
    job->dir_fd = -1;
    free(job->dir);
    job->dir = NULL;
    nj_buf_done(&job->raw);
    nj_manifest_free(job->manifest);
    job->manifest = NULL;
}

static int read_included(void *ctx, const char *path, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_job *job = ctx;
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    nj_auto_close int fd = -1;
    struct nj_place place;
    struct stat st;
    int r;

    r = nj_roots_open(job->dir_fd, NULL, &roots, err);
    if (r == 0)
        r = nj_roots_place(&roots, path, &arena, &place, err);
    if (r < 0)
        return r;
    r = nj_roots_read(&roots, place.root, place.rest, &fd, &st);
    if (r == EXDEV)
        return nj_fail(err, NJ_E_INPUT, "%s: a link leads out of the manifest's directory", path);
    if (r != 0)
        return nj_fail(err, NJ_E_INPUT, "%s: %s", path, strerror(r));
    if (nj_fsio_read_all(fd, out, err) < 0)
        return err->code == NJ_E_LIMIT
                   ? nj_fail(err, NJ_E_INPUT, "%s has more than %zu bytes", path, out->max)
                   : nj_wrap(err, "%s", path);
    return 0;
}

static const char *variable(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

/* The zone files are the host's, so the format cannot know whether there is such a zone. */
static int check_zone(const struct nj_manifest *manifest, struct nj_manifest_faults *faults,
                      struct nj_error *err)
{
    struct nj_error why = {0};
    int64_t at_s;

    if (!manifest->limits.deadline ||
        nj_deadline_next(manifest->limits.deadline, time(NULL), &at_s, &why) == 0)
        return 0;
    nj_manifest_faults_add(faults, manifest->limits.deadline_mark, "limits.deadline", "%s",
                           why.text);
    return nj_manifest_faults_fail(faults, manifest->name, err);
}

int nj_job_read(const char *path, const char *const *sets, const char *const *only,
                struct nj_job *job, struct nj_manifest_faults *faults, struct nj_error *err)
{
    struct nj_manifest_options options = {
        .read = read_included, .env = variable, .ctx = job, .sets = sets, .only = only};
    nj_auto_free char *dir_copy = strdup(path);
    nj_auto_free char *name_copy = strdup(path);
    const char *folder;

    if (!dir_copy || !name_copy)
        return nj_fail_nomem(err);
    folder = dirname(dir_copy);
    job->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    job->dir = job->dir_fd < 0 ? NULL : realpath(folder, NULL);
    if (!job->dir)
        return nj_fail(err, NJ_E_INPUT, "job %s: %s", path, strerror(errno));
    nj_buf_init(&job->raw, NJ_MANIFEST_MAX_BYTES);
    if (nj_fsio_read_file(job->dir_fd, basename(name_copy), &job->raw, err) < 0) {
        if (err->code == NJ_E_LIMIT)
            return nj_fail(err, NJ_E_INPUT, "job %s: more than %u bytes", path,
                           NJ_MANIFEST_MAX_BYTES);
        if (err->sys_errno == ENOENT || err->sys_errno == EACCES || err->sys_errno == EISDIR)
            return nj_fail(err, NJ_E_INPUT, "job %s: %s", path, strerror(err->sys_errno));
        return nj_wrap(err, "job %s", path);
    }
    if (nj_manifest_parse_job(nj_buf_span(&job->raw), path, &options, &job->manifest, faults, err) <
            0 ||
        nj_manifest_supported(job->manifest, faults, err) < 0)
        return -(int)err->code;
    return check_zone(job->manifest, faults, err);
}

int nj_job_text(const struct nj_job *job, struct nj_buf *out, struct nj_error *err)
{
    if (!job->manifest->assembled)
        return nj_buf_append(out, job->raw.data, job->raw.len, err);
    if (nj_buf_text(out, "# The job as it was run: what was included, set and chosen is in it.\n",
                    err) < 0)
        return -(int)err->code;
    return nj_manifest_dump(job->manifest, out, err);
}
