/*
 * gc.c - which runs go, and removing them whole
 *
 * The one complication is who else may come: the run's lock is held from before its state is read
 * until it has another name, so nobody goes on with a run that is being removed.
 */
#include "batch/run/gc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#include "batch/run/state.h"
#include "formats/base/fsio.h"
#include "formats/base/log.h"

#include "formats/base/banned.h"

#define ASIDE ".gc-"
#define DEPTH_MAX 64

int64_t nj_gc_duration(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char *end = NULL;
    unsigned long number;

    if (text[0] < '0' || text[0] > '9')
        return -1;
    number = strtoul(text, &end, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (end[0] == units[i].unit && !end[1] && number <= 1000000)
            return (int64_t)number * units[i].seconds;
    return -1;
}

/* What removing the folder gives back: a file that has another name elsewhere gives nothing. */
static uint64_t measure(int dir_fd, const char *name, unsigned depth)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t bytes = 0;

    if (!stream) {
        nj_close_auto(&fd);
        return 0;
    }
    while ((entry = readdir(stream))) {
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
            bytes += measure(fd, entry->d_name, depth + 1);
        if (S_ISDIR(st.st_mode) || st.st_nlink == 1)
            bytes += (uint64_t)st.st_blocks * 512;
    }
    (void)closedir(stream);
    return bytes;
}

/* Whether the run, whose lock is held, is to go. */
static bool is_due(int run_fd, const struct nj_gc_options *options, struct nj_run_state *state)
{
    struct nj_error ignored = {0}; /* without a state it is no run that could be judged */
    int64_t keep_s = options->keep_seconds;

    if (faccessat(run_fd, "journal", F_OK, 0) < 0 || faccessat(run_fd, "job.yaml", F_OK, 0) < 0 ||
        nj_run_state_read(run_fd, state, &ignored) < 0)
        return false;
    if (options->job && strcmp(options->job, state->job) != 0)
        return false;
    if (strcmp(state->state, "finished") != 0 && !options->unfinished)
        return false;
    if (keep_s < 0) {
        if (state->retain_seconds == 0)
            return false;
        keep_s = (int64_t)state->retain_seconds;
    }
    return state->updated_s > 0 && time(NULL) - state->updated_s > keep_s;
}

static int remove_run(int runs_fd, const char *name, struct nj_error *err)
{
    nj_auto_free char *aside = NULL;

    if (asprintf(&aside, ASIDE "%s", name) < 0)
        return nj_fail_nomem(err);
    if (nj_fsio_rename(runs_fd, name, runs_fd, aside, err) < 0 ||
        nj_fsio_remove_tree(runs_fd, aside, err) < 0)
        return nj_wrap(err, "run %s", name);
    return 0;
}

struct collecting {
    const struct nj_gc_options *options;
    void (*told)(void *ctx, const struct nj_gc_removed *removed);
    void *ctx;
    int runs_fd;
};

static int look_at(const struct collecting *gc, const char *name, struct nj_error *err)
{
    nj_auto_close int run_fd =
        openat(gc->runs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    NJ_AUTO(nj_run_state_done) struct nj_run_state state = {0};
    struct nj_gc_removed removed = {.name = name};

    if (run_fd < 0 || flock(run_fd, LOCK_EX | LOCK_NB) < 0)
        return 0; /* no folder of ours, or an engine is at work on it */
    if (strncmp(name, ASIDE, strlen(ASIDE)) == 0)
        return gc->options->dry_run ? 0 : nj_fsio_remove_tree(gc->runs_fd, name, err);
    if (!is_due(run_fd, gc->options, &state))
        return 0;
    removed.state = state.state;
    removed.ended_s = state.updated_s;
    removed.bytes = measure(gc->runs_fd, name, 0);
    if (!gc->options->dry_run && remove_run(gc->runs_fd, name, err) < 0)
        return -(int)err->code;
    gc->told(gc->ctx, &removed);
    return 0;
}

int nj_gc(const char *runs_path, const struct nj_gc_options *options,
          void (*told)(void *ctx, const struct nj_gc_removed *removed), void *ctx,
          struct nj_error *err)
{
    struct collecting gc = {.options = options, .told = told, .ctx = ctx};
    struct dirent **names = NULL;
    size_t failed = 0;
    int count;

    gc.runs_fd = open(runs_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (gc.runs_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return nj_fail(err, NJ_E_INPUT, "%s: there is no such folder of runs", runs_path);
    if (gc.runs_fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", runs_path);
    /* The names first: a folder that changes while it is read may tell of one twice. */
    count = scandirat(gc.runs_fd, ".", &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        struct nj_error why = {0};
        const char *name = names[i]->d_name;

        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && look_at(&gc, name, &why) < 0) {
            nj_log(NJ_LOG_WARN, "%s: %s", name, why.text);
            failed++;
        }
        free(names[i]);
    }
    free(names);
    (void)close(gc.runs_fd);
    if (count < 0)
        return nj_fail_errno(err, errno, "read folder %s", runs_path);
    if (failed > 0)
        return nj_fail(err, NJ_E_SYSTEM, "%zu runs could not be removed", failed);
    return 0;
}
