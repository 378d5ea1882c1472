/*
 * roots.c - the directories that a job's inputs may come from
 *
 * The complication: RESOLVE_BENEATH refuses every absolute link, also one that points back into the
 * root. Where it refuses, the place is resolved once more without rights (O_PATH), the kernel is
 * asked what it is called, and that name, which holds no link, is opened beneath the root it lies
 * in. Whoever swaps links meanwhile gets an error.
 */
#include "batch/plan/roots.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "batch/plan/shown.h"

#include "formats/base/banned.h"

#define PATH_MAX_BYTES ((size_t)2 * PATH_MAX)
#define AGAIN_MAX 64 /* openat2 says EAGAIN when a rename passed by */

static int open_how(int dir_fd, const char *path, uint64_t flags, uint64_t resolve, int *ret_fd)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};

    for (int i = 0;; i++) {
        long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

        if (fd >= 0) {
            *ret_fd = (int)fd;
            return 0;
        }
        if ((errno != EAGAIN && errno != EINTR) || i == AGAIN_MAX)
            return errno;
    }
}

static char *fd_name(int fd, char name[static PATH_MAX])
{
    char link[64];
    ssize_t len;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, name, PATH_MAX - 1);
    if (len <= 0 || name[0] != '/')
        return NULL;
    name[len] = '\0';
    return name;
}

/* ---- spelling ---- */

static bool part_is(const char *part, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(part, text, len) == 0;
}

/* drop_part - take the last part of out[start..] away; false when there is none, or it is ".." */
static bool drop_part(struct nj_buf *out, size_t start)
{
    size_t at = out->len;

    while (at > start && out->data[at - 1] != '/')
        at--;
    if (out->len == start || part_is((const char *)out->data + at, out->len - at, ".."))
        return false;
    out->len = at > start ? at - 1 : start; /* with the slash between */
    out->data[out->len] = '\0';
    return true;
}

int nj_path_normal(const char *path, struct nj_buf *out, struct nj_error *err)
{
    bool absolute = *path == '/';
    size_t start;

    if (absolute && nj_buf_text(out, "/", err) < 0)
        return -(int)err->code;
    if (nj_buf_reserve(out, 1, err) < 0)
        return -(int)err->code;
    start = out->len;
    while (*path) {
        size_t len = strcspn(path, "/");
        const char *part = path;

        path += len;
        path += strspn(path, "/");
        if (len == 0 || part_is(part, len, "."))
            continue;
        if (part_is(part, len, "..") && (drop_part(out, start) || absolute))
            continue;
        if ((out->len > start && nj_buf_text(out, "/", err) < 0) ||
            nj_buf_append(out, part, len, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* beneath - what follows @dir in @path, or NULL when @path does not lie there */
static const char *beneath(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    if (len > 0 && dir[len - 1] == '/') /* "/" */
        len--;
    if (strncmp(path, dir, len) != 0)
        return NULL;
    if (path[len] == '\0')
        return path + len;
    return path[len] == '/' ? path + len + 1 : NULL;
}

/* ---- the roots ---- */

static int root_add(struct nj_roots *roots, int dir_fd, const char *path, struct nj_error *err)
{
    struct nj_root *root = &roots->items[roots->count];
    NJ_AUTO(nj_buf_done) struct nj_buf normal = {0};
    char real[PATH_MAX];
    int fd;

    fd = openat(dir_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open folder %s", path);
    root->fd = fd; /* closed with the others from here on */
    roots->count++;
    if (!fd_name(fd, real))
        return nj_fail(err, NJ_E_SYSTEM, "folder %s: its name cannot be read from /proc/self/fd",
                       path);
    root->real = nj_arena_text(&roots->arena, real);
    root->path = root->real;
    if (*path == '/') {
        nj_buf_init(&normal, PATH_MAX_BYTES);
        if (nj_path_normal(path, &normal, err) < 0)
            return -(int)err->code;
        root->path = nj_arena_span(&roots->arena, nj_buf_span(&normal));
    }
    return root->real && root->path ? 0 : nj_fail_nomem(err);
}

int nj_roots_open(int dir_fd, const char *const *allow, struct nj_roots *ret_roots,
                  struct nj_error *err)
{
    NJ_AUTO(nj_roots_done) struct nj_roots roots = {0};
    int r;

    r = root_add(&roots, dir_fd, ".", err);
    if (r < 0)
        return nj_wrap(err, "the manifest's directory");
    for (size_t i = 0; allow && allow[i]; i++) {
        if (roots.count == NJ_ROOTS_MAX)
            return nj_fail(err, NJ_E_INPUT, "--allow-path: at most %d directories",
                           NJ_ROOTS_MAX - 1);
        r = root_add(&roots, AT_FDCWD, allow[i], err);
        if (r < 0 && err->code == NJ_E_SYSTEM &&
            (err->sys_errno == ENOENT || err->sys_errno == ENOTDIR || err->sys_errno == EACCES))
            return nj_fail(err, NJ_E_INPUT, "--allow-path %s: %s", allow[i],
                           strerror(err->sys_errno));
        if (r < 0)
            return nj_wrap(err, "--allow-path");
    }
    if (roots.count < NJ_ROOTS_MAX && faccessat(AT_FDCWD, NJ_ROOTS_PUBLIC, X_OK, 0) == 0 &&
        root_add(&roots, AT_FDCWD, NJ_ROOTS_PUBLIC, err) < 0)
        return -(int)err->code;
    *ret_roots = roots;
    roots = (struct nj_roots){0};
    return 0;
}

void nj_roots_done(struct nj_roots *roots)
{
    if (!roots)
        return;
    for (size_t i = 0; i < roots->count; i++)
        (void)close(roots->items[i].fd); /* nothing was written through it */
    nj_arena_done(&roots->arena);
    *roots = (struct nj_roots){0};
}

/* ---- placing ---- */

/* allowed_root - the innermost allowed directory that @path (absolute, normal) lies in */
static const char *allowed_root(const struct nj_roots *roots, const char *path, size_t *ret_root)
{
    const char *best = NULL;

    for (size_t i = 1; i < roots->count; i++) {
        const struct nj_root *root = &roots->items[i];
        const char *rest = beneath(path, root->path);

        if (!rest)
            rest = beneath(path, root->real);
        if (rest && (!best || rest > best)) {
            best = rest;
            *ret_root = i;
        }
    }
    return best;
}

int nj_roots_place(const struct nj_roots *roots, const char *path, struct nj_arena *arena,
                   struct nj_place *ret_place, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf whole = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf normal = {0};
    struct nj_place place = {.prefix = ""};
    const char *spelled, *rest;
    bool absolute, climbs;
    size_t rest_len;

    nj_buf_init(&whole, PATH_MAX_BYTES);
    nj_buf_init(&normal, PATH_MAX_BYTES);
    if (nj_path_normal(path, &normal, err) < 0)
        return -(int)err->code;
    spelled = normal.len ? (const char *)normal.data : "";
    absolute = *spelled == '/';
    climbs = strcmp(spelled, "..") == 0 || strncmp(spelled, "../", 3) == 0;
    if (!absolute && !climbs) {
        place.rest = nj_arena_text(arena, spelled);
        if (!place.rest)
            return nj_fail_nomem(err);
        *ret_place = place;
        return 0;
    }
    if (climbs) {
        NJ_AUTO(nj_buf_done) struct nj_buf joined = {0};

        nj_buf_init(&joined, PATH_MAX_BYTES);
        if (nj_buf_printf(&joined, err, "%s/%s", roots->items[0].real, spelled) < 0 ||
            nj_path_normal((const char *)joined.data, &whole, err) < 0)
            return -(int)err->code;
    } else if (nj_buf_append(&whole, normal.data, normal.len, err) < 0) {
        return -(int)err->code;
    }
    rest = allowed_root(roots, (const char *)whole.data, &place.root);
    if (!rest)
        return nj_fail(err, NJ_E_INPUT, "%s %s: allow its directory with --allow-path DIR",
                       nj_shown(path).text,
                       absolute ? "is absolute, and paths are relative to the manifest"
                                : "leaves the manifest's directory");
    rest_len = strlen(rest);
    place.rest = nj_arena_text(arena, rest);
    if (normal.len >= rest_len && strcmp(spelled + normal.len - rest_len, rest) == 0)
        place.prefix = nj_arena_span(arena, (struct nj_span){normal.data, normal.len - rest_len});
    else /* an allowed directory further up than the path climbs: only its own name says it */
        place.prefix = nj_arena_span(arena, (struct nj_span){whole.data, whole.len - rest_len});
    if (!place.rest || !place.prefix)
        return nj_fail_nomem(err);
    *ret_place = place;
    return 0;
}

/* ---- opening ---- */

/* reach_through - the link at @rest points to a place by its full name: is that inside a root? */
static int reach_through(const struct nj_roots *roots, size_t root, const char *rest,
                         uint64_t flags, int *ret_fd)
{
    nj_auto_close int handle = -1;
    char real[PATH_MAX];
    int r;

    r = open_how(roots->items[root].fd, rest, O_PATH, 0, &handle);
    if (r != 0)
        return r;
    if (!fd_name(handle, real))
        return EXDEV;
    for (size_t i = 0; i < roots->count; i++) {
        const char *inner = beneath(real, roots->items[i].real);

        if (inner)
            return open_how(roots->items[i].fd, *inner ? inner : ".", flags,
                            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, ret_fd);
    }
    return EXDEV;
}

int nj_roots_reach(const struct nj_roots *roots, size_t root, const char *rest, uint64_t flags,
                   int *ret_fd)
{
    int r;

    if (!*rest)
        rest = ".";
    r = open_how(roots->items[root].fd, rest, flags, RESOLVE_BENEATH, ret_fd);
    return r == EXDEV ? reach_through(roots, root, rest, flags, ret_fd) : r;
}

int nj_roots_read(const struct nj_roots *roots, size_t root, const char *rest, int *ret_fd,
                  struct stat *ret_stat)
{
    nj_auto_close int handle = -1;
    char path[64];
    int fd, r;

    r = nj_roots_reach(roots, root, rest, O_PATH, &handle);
    if (r != 0)
        return r;
    if (fstat(handle, ret_stat) < 0)
        return errno;
    if (S_ISDIR(ret_stat->st_mode))
        return EISDIR;
    if (!S_ISREG(ret_stat->st_mode))
        return EINVAL;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d",
                   handle); /* the very file that was judged */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno;
    *ret_fd = fd;
    return 0;
}
