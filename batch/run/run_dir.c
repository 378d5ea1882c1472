/*
 * run_dir.c - making, locking and opening a run's folder
 *
 * The one complication: a process that a killed engine had forked holds the lock until the kernel
 * has ended it too, a moment later. That is wanted, since it may be writing still, so whoever comes
 * next waits that moment.
 */
#include "batch/run/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include "batch/run/holder.h"

#include "formats/base/banned.h"

#define LOCK_WAIT_MS 2000
#define LOCK_RETRY_MS 10
#define RUNS_FOLDER "runs"
#define STAMP_CHARS 20 /* 2026-11-22T02-00-00Z */

static int make_parents(const char *path, struct nj_error *err)
{
    nj_auto_free char *copy = strdup(path);

    if (!copy)
        return nj_fail_nomem(err);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) < 0 && errno != EEXIST)
            return nj_fail_errno(err, errno, "make folder %s", copy);
        *slash = '/';
    }
    return 0;
}

static int lock_dir(struct nj_run_dir *dir, struct nj_error *err)
{
    struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000};
    struct nj_holder holder;
    char who[200];

    for (int waited_ms = 0; flock(dir->fd, LOCK_EX | LOCK_NB) < 0; waited_ms += LOCK_RETRY_MS) {
        if (errno != EWOULDBLOCK)
            return nj_fail_errno(err, errno, "lock run %s", dir->path);
        nj_holder_read(dir->fd, &holder);
        if (waited_ms >= LOCK_WAIT_MS || nj_holder_state(&holder) == NJ_HOLDER_LIVES) {
            nj_holder_text(&holder, who, sizeof(who));
            return nj_fail(err, NJ_E_INPUT,
                           "run %s: another engine is at work on it (%s); wait for it, or stop it "
                           "with `nightjar stop %s`",
                           dir->path, who, dir->path);
        }
        (void)nanosleep(&pause, NULL); /* waking early only asks again */
    }
    return 0;
}

static void tell_holder(const struct nj_run_dir *dir)
{
    struct nj_error ignored = {0}; /* the lock is as good without: words are lost */

    (void)!nj_holder_write(dir->fd, &ignored);
}

static int open_parts(struct nj_run_dir *dir, bool create, struct nj_error *err)
{
    struct {
        const char *name;
        int *fd;
    } parts[] = {
        {"journal", &dir->journal_fd},
        {"inputs", &dir->inputs_fd},
        {"bundles", &dir->bundles_fd},
        {"outputs", &dir->outputs_fd},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (create) {
            if (nj_fsio_open_dir(dir->fd, parts[i].name, parts[i].fd, err) < 0)
                return nj_wrap(err, "run %s", dir->path);
            continue;
        }
        *parts[i].fd =
            openat(dir->fd, parts[i].name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (*parts[i].fd < 0 && errno == ENOENT)
            return nj_fail(err, NJ_E_INPUT,
                           "run %s: it has no folder %s, so nothing of it can have run", dir->path,
                           parts[i].name);
        if (*parts[i].fd < 0)
            return nj_fail_errno(err, errno, "run %s: open %s", dir->path, parts[i].name);
    }
    return 0;
}

static int set_names(struct nj_run_dir *dir, const char *path, struct nj_error *err)
{
    size_t len = strlen(path);
    const char *start;

    while (len > 1 && path[len - 1] == '/')
        len--;
    dir->path = strndup(path, len);
    if (!dir->path)
        return nj_fail_nomem(err);
    start = strrchr(dir->path, '/');
    start = start && start[1] ? start + 1 : dir->path;
    dir->name = strdup(start);
    if (!dir->name)
        return nj_fail_nomem(err);
    return 0;
}

static int open_dir(const char *path, struct nj_run_dir *dir, struct nj_error *err)
{
    dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return nj_fail(err, NJ_E_INPUT, "%s: there is no run", path);
    if (dir->fd < 0)
        return nj_fail_errno(err, errno, "open run %s", path);
    return 0;
}

/* Is @name what a run of @job is called that was started without a name? */
static bool is_run_of(const char *name, const char *job)
{
    return strlen(name) > STAMP_CHARS && name[STAMP_CHARS] == '-' &&
           strcmp(name + STAMP_CHARS + 1, job) == 0;
}

/* Last night's run may be going on still, and two of a job would do the same work and write to the
 * same places. The folder of all runs is locked until the new run's own lock is held, so that two
 * that begin at once see each other. */
static int refuse_beside_another(int runs_fd, const char *job, struct nj_error *err)
{
    int fd = openat(runs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    DIR *stream;
    int r = 0;

    if (fd < 0 || !(stream = fdopendir(fd))) {
        nj_close_auto(&fd);
        return nj_fail_errno(err, errno, "look at " RUNS_FOLDER);
    }
    while (r == 0 && (entry = readdir(stream))) {
        nj_auto_close int run_fd = -1;
        struct nj_holder holder;
        char who[200];

        if (!is_run_of(entry->d_name, job))
            continue;
        run_fd = openat(runs_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (run_fd < 0 || !nj_holder_is_locked(run_fd))
            continue; /* another user's run cannot be opened, and is no business of ours */
        nj_holder_read(run_fd, &holder);
        nj_holder_text(&holder, who, sizeof(who));
        r = nj_fail(err, NJ_E_INPUT,
                    "job %s: a run of it is still going on: " RUNS_FOLDER
                    "/%s (%s); wait for it, stop it with `nightjar stop " RUNS_FOLDER
                    "/%s`, or start beside it with --run-dir DIR",
                    job, entry->d_name, who, entry->d_name);
    }
    (void)closedir(stream);
    return r;
}

static int lock_runs(const char *job, int *ret_fd, struct nj_error *err)
{
    nj_auto_close int fd = -1;

    if (mkdir(RUNS_FOLDER, 0777) < 0 && errno != EEXIST)
        return nj_fail_errno(err, errno, "make folder " RUNS_FOLDER);
    fd = open(RUNS_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return nj_fail_errno(err, errno, "lock folder " RUNS_FOLDER);
    if (refuse_beside_another(fd, job, err) < 0)
        return -(int)err->code;
    *ret_fd = nj_steal_fd(&fd);
    return 0;
}

/* new_name - of the time, or of the next second that no run is named after: two of a job may begin
 * in one. The folder of runs is locked. */
static int new_name(const char *job, char **ret_path, struct nj_error *err)
{
    for (time_t at = time(NULL);; at++) {
        char stamp[32];
        char *path;
        struct tm tm;

        gmtime_r(&at, &tm);
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H-%M-%SZ", &tm);
        if (asprintf(&path, RUNS_FOLDER "/%s-%s", stamp, job) < 0)
            return nj_fail_nomem(err);
        if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
            *ret_path = path;
            return 0;
        }
        free(path);
    }
}

static const struct nj_run_dir empty_dir = NJ_RUN_DIR_EMPTY;

static void move_out(struct nj_run_dir *from, struct nj_run_dir *to)
{
    *to = *from;
    *from = empty_dir;
}

int nj_run_dir_create(const char *path, const char *job, struct nj_run_dir *ret_dir,
                      struct nj_error *err)
{
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    nj_auto_free char *made = NULL;
    nj_auto_close int runs_fd = -1;

    if (!path) {
        if (lock_runs(job, &runs_fd, err) < 0 || new_name(job, &made, err) < 0)
            return -(int)err->code;
        path = made;
    }
    if (set_names(&dir, path, err) < 0 || make_parents(dir.path, err) < 0)
        return -(int)err->code;
    dir.made = mkdir(dir.path, 0700) == 0;
    if (!dir.made && errno != EEXIST)
        return nj_fail_errno(err, errno, "make run %s", dir.path);
    if (open_dir(dir.path, &dir, err) < 0 || lock_dir(&dir, err) < 0)
        return -(int)err->code;
    /* job.yaml comes last: a folder without it was given up before anything ran, and is begun anew.
     */
    if (faccessat(dir.fd, "run.json", F_OK, 0) == 0 || faccessat(dir.fd, "job.yaml", F_OK, 0) == 0)
        return nj_fail(err, NJ_E_INPUT,
                       "run %s: there is a run already; go on with `nightjar resume %s`, or name "
                       "another folder",
                       dir.path, dir.path);
    if (fchmod(dir.fd, 0700) < 0)
        return nj_fail_errno(err, errno, "run %s: set its mode", dir.path);
    if (open_parts(&dir, true, err) < 0)
        return -(int)err->code;
    tell_holder(&dir);
    move_out(&dir, ret_dir);
    return 0;
}

void nj_run_dir_unmake(struct nj_run_dir *dir)
{
    static const char *const parts[] = {"journal", "inputs",   "bundles",
                                        "outputs", "job.yaml", "lock"};
    struct nj_error ignored = {0}; /* a leftover harms nobody: the folder holds no run */

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (nj_fsio_remove_tree(dir->fd, parts[i], &ignored) < 0)
            continue;
    if (dir->made)
        (void)rmdir(dir->path);
}

int nj_run_dir_open(const char *path, bool lock, struct nj_run_dir *ret_dir, struct nj_error *err)
{
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;

    if (set_names(&dir, path, err) < 0 || open_dir(dir.path, &dir, err) < 0)
        return -(int)err->code;
    if (lock && lock_dir(&dir, err) < 0)
        return -(int)err->code;
    if (faccessat(dir.fd, "journal", F_OK, 0) < 0)
        return nj_fail(err, NJ_E_INPUT, "run %s: it has no journal, so it is no run", dir.path);
    if (open_parts(&dir, false, err) < 0)
        return -(int)err->code;
    if (lock)
        tell_holder(&dir);
    move_out(&dir, ret_dir);
    return 0;
}

void nj_run_dir_done(struct nj_run_dir *dir)
{
    int *fds[] = {&dir->journal_fd, &dir->inputs_fd, &dir->bundles_fd, &dir->outputs_fd, &dir->fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        nj_close_auto(fds[i]);
        *fds[i] = -1;
    }
    free(dir->path);
    free(dir->name);
    dir->path = NULL;
    dir->name = NULL;
}

/* Whoever owns the folder may have put another name of somebody's file into it: that is not given
 * away. */
static int give_file(int dir_fd, const char *name, uid_t uid, gid_t gid, struct nj_error *err)
{
    nj_auto_close int fd = openat(dir_fd, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at %s", name);
    if (st.st_uid == uid && st.st_gid == gid)
        return 0;
    if (st.st_nlink != 1)
        return nj_fail(err, NJ_E_INPUT, "%s is a hard link to a file of user %u: remove it", name,
                       st.st_uid);
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return nj_fail_errno(err, errno, "give %s to user %u", name, uid);
    return 0;
}

static int give_folder(int parent_fd, const char *name, uid_t uid, gid_t gid, unsigned depth,
                       struct nj_error *err)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct dirent *entry;
    DIR *stream;
    int r = 0;

    if (fd < 0)
        return nj_fail_errno(err, errno, "open %s", name);
    stream = fdopendir(fd);
    if (!stream) {
        (void)close(fd);
        return nj_fail_nomem(err);
    }
    if (fchown(fd, uid, gid) < 0)
        r = nj_fail_errno(err, errno, "give %s to user %u", name, uid);
    while (r == 0 && (entry = readdir(stream))) {
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            r = nj_fail_errno(err, errno, "look at %s", entry->d_name);
        else if (S_ISDIR(st.st_mode) && depth < 64)
            r = give_folder(fd, entry->d_name, uid, gid, depth + 1, err);
        else
            r = give_file(fd, entry->d_name, uid, gid, err);
    }
    (void)closedir(stream);
    return r;
}

int nj_run_dir_give(const struct nj_run_dir *dir, uid_t uid, gid_t gid, struct nj_error *err)
{
    if (give_folder(dir->fd, ".", uid, gid, 0, err) < 0)
        return nj_wrap(err, "run %s", dir->path);
    return 0;
}
