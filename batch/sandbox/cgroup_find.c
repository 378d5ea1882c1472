/*
 * cgroup_find.c - where this process may make cgroups
 *
 * The one complication is v2's rule that a group with controllers for its children holds no
 * process. Our own group holds us. So: where it was delegated to us (systemd says so in an
 * attribute), all that is in it moves to a leaf below, as whoever is given a subtree is meant to
 * do; otherwise the parent is used, when it is writable and empty, and nobody needs to move; and
 * our own group as the last way, which is what a container of one's own offers.
 */
#include "batch/sandbox/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define FILE_MAX_BYTES (1u << 20)

static const char *const v1_names[] = {"memory", "pids", "cpuacct", "cpu"};
static const char *const v2_names[] = {"memory", "pids", "cpu", "cpu"};

/* ---- the two files ---- */

/* has_word - @word in @list, separated by commas or blanks */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    while (*list) {
        size_t n = strcspn(list, ", \n");

        if (n == len && strncmp(list, word, len) == 0)
            return true;
        list += n + (list[n] != '\0');
    }
    return false;
}

/* One line of mountinfo that is a cgroup's: its root and place, and the controllers of a v1 one. */
struct mounted {
    const char *root;
    const char *point;
    const char *options;
};

/* next_mount - cut the next line off @at; false at the end, @ret_kind NONE: no cgroup's */
static bool next_mount(char **at, enum nj_cgroup_kind *ret_kind, struct mounted *ret_mounted)
{
    char *line = *at, *end = line + strcspn(line, "\n"), *tail, *fields[5], *save = NULL;
    size_t n = 0;

    if (*line == '\0')
        return false;
    *at = end + (*end == '\n');
    *end = '\0';
    *ret_kind = NJ_CGROUP_NONE;
    tail = strstr(line, " - cgroup");
    if (!tail)
        return true;
    ret_mounted->options = strrchr(tail, ' ') + 1;
    *tail = '\0';
    for (char *word = strtok_r(line, " ", &save); word && n < 5; word = strtok_r(NULL, " ", &save))
        fields[n++] = word;
    if (n < 5)
        return true;
    ret_mounted->root = fields[3];
    ret_mounted->point = fields[4];
    *ret_kind = strncmp(tail + 3, "cgroup2 ", 8) == 0 ? NJ_CGROUP_V2 : NJ_CGROUP_V1;
    return true;
}

/* own_path - this process's path in the hierarchy of @controller, or v2's (NULL) */
static bool own_path(const char *own, const char *controller, char path[NJ_CGROUP_PATH_MAX_BYTES])
{
    for (const char *line = own; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *list = strchr(line, ':'), *at = list ? strchr(list + 1, ':') : NULL;
        char names[256];
        size_t len;

        if (!at || (size_t)(at - list) > sizeof(names))
            continue;
        (void)snprintf(names, sizeof(names), "%.*s", (int)(at - list - 1), list + 1);
        if (controller ? !has_word(names, controller) : strncmp(line, "0::", 3) != 0)
            continue;
        len = strcspn(++at, "\n");
        if (len >= NJ_CGROUP_PATH_MAX_BYTES || strncmp(at, "/..", 3) == 0)
            return false; /* outside of the cgroup namespace: not ours to reach */
        memcpy(path, at, len);
        path[len] = '\0';
        return true;
    }
    return false;
}

/* place - where @path is, as mounted at @mounted; false: what is mounted does not hold it */
static bool place(const struct mounted *mounted, const char *path, const char *prefix,
                  char dir[NJ_CGROUP_PATH_MAX_BYTES])
{
    size_t skip = strcmp(mounted->root, "/") == 0 ? 0 : strlen(mounted->root);
    int len;

    if (strncmp(path, mounted->root, skip) != 0 || (path[skip] != '/' && path[skip] != '\0'))
        return false;
    path += skip;
    len = snprintf(dir, NJ_CGROUP_PATH_MAX_BYTES, "%s%s%s", prefix, mounted->point,
                   strcmp(path, "/") == 0 ? "" : path);
    return len > 0 && len < NJ_CGROUP_PATH_MAX_BYTES;
}

/* ---- v2 ---- */

static bool may_write(const char *dir, const char *file)
{
    char path[NJ_CGROUP_PATH_MAX_BYTES + 64];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, file);
    return access(path, W_OK) == 0;
}

/* holds - the text of a group's file; false when it cannot be read */
static bool holds(const char *dir, const char *file, struct nj_buf *text)
{
    char path[NJ_CGROUP_PATH_MAX_BYTES + 64];
    struct nj_error ignored;

    nj_buf_clear(text);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, file);
    return nj_fsio_read_file(AT_FDCWD, path, text, &ignored) >= 0;
}

static bool is_true_root(const char *dir)
{
    char path[NJ_CGROUP_PATH_MAX_BYTES + 64];

    (void)snprintf(path, sizeof(path), "%s/cgroup.events", dir); /* every other group has it */
    return access(path, F_OK) != 0;
}

static bool is_delegated(const char *dir)
{
    static const char *const names[] = {"user.delegate", "trusted.delegate"};
    char value;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (getxattr(dir, names[i], &value, 1) == 1 && value == '1')
            return true;
    }
    return false;
}

/* What is to be known of a group that may become the base. */
struct candidate {
    const char *dir;
    bool writable;
    bool has_processes;
    char controllers[256];
};

static void look_at(struct candidate *candidate, const char *dir)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};

    nj_buf_init(&text, FILE_MAX_BYTES);
    *candidate = (struct candidate){.dir = dir};
    candidate->writable = access(dir, W_OK) == 0 && may_write(dir, "cgroup.procs") &&
                          may_write(dir, "cgroup.subtree_control");
    if (holds(dir, "cgroup.type", &text) && text.len > 0 &&
        strncmp((const char *)text.data, "domain\n", 7) != 0)
        candidate->writable = false; /* threaded: no memory there */
    if (holds(dir, "cgroup.controllers", &text) && text.len > 0)
        (void)snprintf(candidate->controllers, sizeof(candidate->controllers), "%s",
                       (const char *)text.data);
    candidate->has_processes = !holds(dir, "cgroup.procs", &text) || text.len > 0;
}

static bool is_useful(const struct candidate *candidate)
{
    return candidate->writable &&
           (has_word(candidate->controllers, "memory") || has_word(candidate->controllers, "pids"));
}

/* choose_v2 - the base: our own group @own, or its parent; why[] when neither will do */
static const struct candidate *choose_v2(const struct candidate *own,
                                         const struct candidate *parent, char *why, size_t size)
{
    if (is_useful(own) && is_delegated(own->dir))
        return own;
    if (is_useful(parent) && (!parent->has_processes || is_true_root(parent->dir)))
        return parent;
    if (is_useful(own))
        return own;
    if (!has_word(own->controllers, "memory") && !has_word(parent->controllers, "memory"))
        (void)snprintf(why, size, "cgroup v2 has no memory controller at %.200s", own->dir);
    else
        (void)snprintf(why, size, "cgroup %.200s is not ours to divide", own->dir);
    return NULL;
}

static void find_v2(const char *own, const struct mounted *mounted, const char *prefix,
                    struct nj_cgroups *cgroups)
{
    char path[NJ_CGROUP_PATH_MAX_BYTES], dir[NJ_CGROUP_PATH_MAX_BYTES];
    char above[NJ_CGROUP_PATH_MAX_BYTES] = "";
    struct candidate candidates[2] = {{.dir = dir}, {.dir = above}};
    const struct candidate *base;

    if (!own_path(own, NULL, path) || !place(mounted, path, prefix, dir)) {
        (void)snprintf(cgroups->why, sizeof(cgroups->why),
                       "the mounted cgroup v2 tree does not hold this process");
        return;
    }
    look_at(&candidates[0], dir);
    if (strlen(dir) > strlen(prefix) + strlen(mounted->point)) {
        (void)snprintf(above, sizeof(above), "%s", dir);
        *strrchr(above, '/') = '\0';
        look_at(&candidates[1], above);
    }
    base = choose_v2(&candidates[0], &candidates[1], cgroups->why, sizeof(cgroups->why));
    if (!base)
        return;
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        if (i != NJ_CGROUP_CPU && !has_word(base->controllers, v2_names[i]))
            continue;
        cgroups->kind[i] = NJ_CGROUP_V2;
        (void)snprintf(cgroups->dir[i], sizeof(cgroups->dir[i]), "%s", base->dir);
    }
    cgroups->move_out = base == &candidates[0] && !is_true_root(base->dir);
    if (cgroups->kind[NJ_CGROUP_MEMORY] != NJ_CGROUP_V2 ||
        cgroups->kind[NJ_CGROUP_PIDS] != NJ_CGROUP_V2)
        (void)snprintf(cgroups->why, sizeof(cgroups->why),
                       "cgroup %.200s has not both the memory and the pids controller", base->dir);
}

/* ---- both ---- */

static void find_v1(const char *own, const struct mounted *mounted, const char *prefix,
                    struct nj_cgroups *cgroups)
{
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++) {
        char path[NJ_CGROUP_PATH_MAX_BYTES], dir[NJ_CGROUP_PATH_MAX_BYTES];

        if (cgroups->kind[i] != NJ_CGROUP_NONE || !has_word(mounted->options, v1_names[i]) ||
            !own_path(own, v1_names[i], path) || !place(mounted, path, prefix, dir) ||
            access(dir, W_OK) != 0)
            continue;
        cgroups->kind[i] = NJ_CGROUP_V1;
        (void)snprintf(cgroups->dir[i], sizeof(cgroups->dir[i]), "%s", dir);
    }
}

/* find_bound - a controller is in one tree only: where v1 has memory, v2 has not */
static void find_bound(const char *own, const struct mounted *mounted, enum nj_cgroup_kind kind,
                       const char *prefix, struct nj_cgroup_bound *bound)
{
    const char *controller = kind == NJ_CGROUP_V1 ? v1_names[NJ_CGROUP_MEMORY] : NULL;
    char path[NJ_CGROUP_PATH_MAX_BYTES];

    if (controller ? !has_word(mounted->options, controller) : bound->kind != NJ_CGROUP_NONE)
        return;
    if (!own_path(own, controller, path) || !place(mounted, path, prefix, bound->dir))
        return;
    bound->kind = kind;
    bound->top_len = strlen(prefix) + strlen(mounted->point);
}

void nj_cgroups_find_in(char *own, char *mounts, const char *prefix, struct nj_cgroups *ret_cgroups)
{
    struct mounted v1[16], mounted = {0};
    enum nj_cgroup_kind kind;
    bool seen_v2 = false;
    size_t n_v1 = 0;

    *ret_cgroups = (struct nj_cgroups){.lock_fd = {-1, -1, -1, -1}};
    (void)snprintf(ret_cgroups->why, sizeof(ret_cgroups->why), "no cgroup v2 tree is mounted");
    while (next_mount(&mounts, &kind, &mounted)) {
        if (kind != NJ_CGROUP_NONE)
            find_bound(own, &mounted, kind, prefix, &ret_cgroups->bound);
        if (kind == NJ_CGROUP_V2 && !seen_v2) {
            seen_v2 = true;
            ret_cgroups->why[0] = '\0';
            find_v2(own, &mounted, prefix, ret_cgroups);
        } else if (kind == NJ_CGROUP_V1 && n_v1 < sizeof(v1) / sizeof(v1[0])) {
            v1[n_v1++] = mounted;
        }
    }
    for (size_t i = 0; i < n_v1; i++)
        find_v1(own, &v1[i], prefix, ret_cgroups);
}

void nj_cgroups_find(struct nj_cgroups *ret_cgroups)
{
    NJ_AUTO(nj_buf_done) struct nj_buf own = {0}, mounts = {0};
    struct nj_error err;

    *ret_cgroups =
        (struct nj_cgroups){.why = "/proc/self cannot be read", .lock_fd = {-1, -1, -1, -1}};
    nj_buf_init(&own, FILE_MAX_BYTES);
    nj_buf_init(&mounts, FILE_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, "/proc/self/cgroup", &own, &err) >= 0 &&
        nj_fsio_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, &err) >= 0 && own.data &&
        mounts.data)
        nj_cgroups_find_in((char *)own.data, (char *)mounts.data, "", ret_cgroups);
}
