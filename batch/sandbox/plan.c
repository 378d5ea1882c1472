/*
 * plan.c - from what a box shall be to the operations that make it
 *
 * The one complication: parts of a box's paths belong to an agent. What is mounted inside a
 * writable path is mounted afresh for every call (kind INSIDE and FREEZE), because the directory it
 * is mounted at may have been renamed, removed or replaced by a link since the last one.
 */
#include "batch/sandbox/plan.h"

#include <dirent.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "batch/sandbox/fixed.h"
#include "batch/sandbox/virtual/files.h"

#include "formats/base/banned.h"

#define OPS_MAX 512
#define OPS_FIRST 32
#define MIB (UINT64_C(1) << 20)

/* Directories that make the box a system. An agent's paths neither contain them nor lie in them. */
static const char *const system_paths[] = {"/bin", "/sbin", "/lib",  "/lib32", "/lib64", "/libx32",
                                           "/usr", "/etc",  "/proc", "/sys",   "/dev",   "/run"};

static const char *const system_dirs[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};

/* What programs need of the host's /etc and what says nothing about the host's users, networks and
 * secrets. Patterns of fnmatch(3), matched against the entries of their directory. */
static const struct {
    const char *dir;
    const char *pattern;
} etc_entries[] = {
    {"/etc", "ld.so.cache"},  {"/etc", "ld.so.conf"},    {"/etc", "ld.so.conf.d"},
    {"/etc", "alternatives"}, {"/etc/ssl", "certs"},     {"/etc/ssl", "openssl.cnf"},
    {"/etc", "localtime"},    {"/etc", "os-release"},    {"/etc", "debian_version"},
    {"/etc", "mime.types"},   {"/etc", "magic"},         {"/etc", "protocols"},
    {"/etc", "services"},     {"/etc", "terminfo"},      {"/etc", "locale.alias"},
    {"/etc", "gai.conf"},     {"/etc", "fonts"},         {"/etc", "perl"},
    {"/etc", "python3*"},     {"/etc", "java-*openjdk"}, {"/etc", "bash.bashrc"},
};

static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};

static const struct {
    const char *target;
    const char *text;
} device_links[] = {{"/dev/fd", "/proc/self/fd"},
                    {"/dev/stdin", "/proc/self/fd/0"},
                    {"/dev/stdout", "/proc/self/fd/1"},
                    {"/dev/stderr", "/proc/self/fd/2"}};

/* procfs is mounted read-only as a whole; these would also leak when read. */
static const char *const masks[] = {"/proc/kcore",      "/proc/kallsyms",  "/proc/timer_list",
                                    "/proc/keys",       "/proc/key-users", "/proc/sysrq-trigger",
                                    "/proc/kpagecount", "/proc/kpageflags"};

void nj_box_plan_default(struct nj_box_plan *ret_plan)
{
    static const char *const writable[] = {"/workspace", "/tmp"};

    *ret_plan = (struct nj_box_plan){
        .writable_paths = writable,
        .n_writable_paths = 2,
        .max_size_bytes = 512 * MIB,
        .max_files = NJ_BOX_FILES_MAX,
        .max_memory_bytes = 2048 * MIB,
        .max_processes = 256,
        .hostname = "sandbox",
    };
}

bool nj_plan_inside(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

void nj_plan_input_name(const struct nj_workspace_ref *ref, char name[NJ_PLAN_INPUT_NAME_BYTES])
{
    nj_digest_hex(&ref->tree, name);
    name[NJ_DIGEST_HEX_CHARS] = '-';
    nj_digest_hex(&ref->stamps, name + NJ_DIGEST_HEX_CHARS + 1);
}

void nj_plan_rootfs_name(const struct nj_workspace_ref *image, char name[NJ_PLAN_ROOTFS_NAME_BYTES])
{
    static const char prefix[] = "rootfs-";

    memcpy(name, prefix, sizeof(prefix) - 1);
    nj_plan_input_name(image, name + sizeof(prefix) - 1);
}

/* ---- checking ---- */

static int check_path(const char *what, const char *path, struct nj_error *err)
{
    if (path[0] != '/')
        return nj_fail(err, NJ_E_INPUT, "%s \"%s\": not absolute; begin it with \"/\"", what, path);
    if (strlen(path) > NJ_BOX_PATH_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT, "%s \"%.40s...\": longer than %d bytes", what, path,
                       NJ_BOX_PATH_MAX_BYTES);
    for (const char *part = path; *part; part += strcspn(part + 1, "/") + 1) {
        size_t len = strcspn(part + 1, "/");

        if (len == 0 || len > NJ_OBJECT_NAME_MAX_BYTES || (len == 1 && part[1] == '.') ||
            (len == 2 && part[1] == '.' && part[2] == '.'))
            return nj_fail(err, NJ_E_INPUT,
                           "%s \"%s\": write it without \".\", \"..\", \"//\" or a \"/\" at the "
                           "end, and not \"/\" itself",
                           what, path);
    }
    for (size_t i = 0; i < sizeof(system_paths) / sizeof(system_paths[0]); i++) {
        if (nj_plan_inside(path, system_paths[i]))
            return nj_fail(err, NJ_E_INPUT,
                           "%s \"%s\": %s belongs to the system; take a path of your own like "
                           "/workspace or /data",
                           what, path, system_paths[i]);
    }
    return 0;
}

static bool overlap(const char *a, const char *b)
{
    return nj_plan_inside(a, b) || nj_plan_inside(b, a);
}

static bool in_writable(const struct nj_box_plan *plan, const char *path)
{
    for (size_t i = 0; i < plan->n_writable_paths; i++) {
        if (nj_plan_inside(path, plan->writable_paths[i]))
            return true;
    }
    return false;
}

static bool in_mount(const struct nj_box_plan *plan, const char *path)
{
    for (size_t i = 0; i < plan->n_mounts; i++) {
        if (nj_plan_inside(path, plan->mounts[i].target))
            return true;
    }
    return false;
}

static int check_paths(const struct nj_box_plan *plan, struct nj_error *err)
{
    int r;

    if (plan->n_writable_paths > NJ_BOX_PATHS_MAX || plan->n_read_only_paths > NJ_BOX_PATHS_MAX ||
        plan->n_mounts > NJ_BOX_PATHS_MAX)
        return nj_fail(err, NJ_E_INPUT,
                       "more than %d writable paths, read-only paths or mounts in one box",
                       NJ_BOX_PATHS_MAX);
    for (size_t i = 0; i < plan->n_writable_paths; i++) {
        r = check_path("writable path", plan->writable_paths[i], err);
        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++) {
            if (overlap(plan->writable_paths[i], plan->writable_paths[j]))
                return nj_fail(err, NJ_E_INPUT,
                               "writable paths \"%s\" and \"%s\" overlap; keep the outer one",
                               plan->writable_paths[j], plan->writable_paths[i]);
        }
    }
    for (size_t i = 0; i < plan->n_mounts; i++) {
        const char *target = plan->mounts[i].target;

        r = check_path("mount", target, err);
        if (r < 0)
            return r;
        for (size_t j = 0; j < plan->n_writable_paths; j++) {
            if (nj_plan_inside(plan->writable_paths[j], target))
                return nj_fail(err, NJ_E_INPUT,
                               "mount \"%s\" would cover the writable path \"%s\"; mount below it "
                               "or elsewhere",
                               target, plan->writable_paths[j]);
        }
        for (size_t j = 0; j < i; j++) {
            if (overlap(target, plan->mounts[j].target))
                return nj_fail(err, NJ_E_INPUT, "mounts \"%s\" and \"%s\" overlap",
                               plan->mounts[j].target, target);
        }
    }
    for (size_t i = 0; i < plan->n_read_only_paths; i++) {
        const char *path = plan->read_only_paths[i];

        r = check_path("read-only path", path, err);
        if (r < 0)
            return r;
        if (!in_writable(plan, path) && !in_mount(plan, path))
            return nj_fail(err, NJ_E_INPUT,
                           "read-only path \"%s\": not inside a writable path or a mount, so it "
                           "is read-only already; remove it",
                           path);
    }
    return 0;
}

static int check_range(const char *what, uint64_t value, uint64_t min, uint64_t max,
                       const char *unit, struct nj_error *err)
{
    if (value < min || value > max)
        return nj_fail(err, NJ_E_INPUT, "%s: %" PRIu64 ", want %" PRIu64 " to %" PRIu64 " %s", what,
                       value, min, max, unit);
    return 0;
}

int nj_box_plan_check(const struct nj_box_plan *plan, struct nj_error *err)
{
    size_t len = plan->hostname ? strlen(plan->hostname) : 0;
    int r;

    r = check_paths(plan, err);
    if (r < 0)
        return r;
    r = check_range("workspace size", plan->max_size_bytes, 64 << 10, MIB << 20, "bytes", err);
    if (r < 0)
        return r;
    r = check_range("workspace files", plan->max_files, 16, NJ_BOX_FILES_MAX, "files", err);
    if (r < 0)
        return r;
    r = check_range("memory", plan->max_memory_bytes, 16 * MIB, MIB << 24, "bytes", err);
    if (r < 0)
        return r;
    r = check_range("processes", plan->max_processes, 1, 30000, "processes", err);
    if (r < 0)
        return r;
    r = plan->max_cpu_micro == 0 ? 0
                                 : check_range("processor time", plan->max_cpu_micro, 10000,
                                               1024000000, "millionths of a CPU", err);
    if (r < 0)
        return r;
    if (len < 1 || len > 63 ||
        strspn(plan->hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
            len)
        return nj_fail(err, NJ_E_INPUT, "hostname: want 1 to 63 letters, digits or \"-\"");
    return 0;
}

/* ---- building ---- */

struct builder {
    struct nj_arena *arena;
    struct nj_op *ops;
    size_t n;
    size_t room;
    bool failed; /* memory is gone, or more operations than a plan within its limits can need */
};

/* grow - most plans need a tenth of OPS_MAX, and a page that is touched costs more than to copy it
 */
static bool grow(struct builder *b)
{
    size_t room = b->room ? 2 * b->room : OPS_FIRST;
    struct nj_op *ops = nj_arena_array(b->arena, room, sizeof(*ops));

    if (!ops)
        return false;
    if (b->n > 0)
        memcpy(ops, b->ops, b->n * sizeof(*ops));
    b->ops = ops;
    b->room = room;
    return true;
}

static void add(struct builder *b, struct nj_op op)
{
    if (b->n == OPS_MAX || !op.target || (b->n == b->room && !grow(b)))
        b->failed = true;
    else
        b->ops[b->n++] = op;
}

/* add_dirs - @path and the directories above it */
static void add_dirs(struct builder *b, const char *path)
{
    for (const char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
        struct nj_span part = {(const uint8_t *)path, (size_t)(end - path)};

        add(b, (struct nj_op){NJ_OP_DIR, nj_arena_span(b->arena, part), NULL, 0, 0755});
    }
    add(b, (struct nj_op){NJ_OP_DIR, path, NULL, 0, 0755});
}

static void add_file(struct builder *b, const char *target, const char *text)
{
    add(b, (struct nj_op){NJ_OP_FILE, target, text ? text : "", 0, 0644});
    if (!text)
        b->failed = true;
}

static void add_system(struct builder *b)
{
    struct stat st;

    add(b, (struct nj_op){NJ_OP_DIR, "/usr", NULL, 0, 0755});
    add(b, (struct nj_op){NJ_OP_BIND, "/usr", "/usr", NJ_OP_READ_ONLY, 0});
    for (size_t i = 0; i < sizeof(system_dirs) / sizeof(system_dirs[0]); i++) {
        char *path = nj_arena_printf(b->arena, "/%s", system_dirs[i]);
        char text[256];
        ssize_t len;

        if (!path || lstat(path, &st) < 0) {
            b->failed |= !path;
            continue;
        }
        len = S_ISLNK(st.st_mode) ? readlink(path, text, sizeof(text)) : -1;
        if (len > 0 && (size_t)len < sizeof(text)) {
            struct nj_span span = {(const uint8_t *)text, (size_t)len};

            add(b, (struct nj_op){NJ_OP_LINK, path, nj_arena_span(b->arena, span), 0, 0});
        } else if (S_ISDIR(st.st_mode)) {
            add(b, (struct nj_op){NJ_OP_DIR, path, NULL, 0, 0755});
            add(b, (struct nj_op){NJ_OP_BIND, path, path, NJ_OP_READ_ONLY, 0});
        }
    }
}

static void add_etc_entry(struct builder *b, const char *dir, const char *name)
{
    char *path = nj_arena_printf(b->arena, "%s/%s", dir, name);
    struct stat st;

    if (!path || stat(path, &st) < 0) {
        b->failed |= !path;
        return;
    }
    if (S_ISDIR(st.st_mode))
        add(b, (struct nj_op){NJ_OP_DIR, path, NULL, 0, 0755});
    else if (S_ISREG(st.st_mode))
        add_file(b, path, "");
    else
        return;
    add(b, (struct nj_op){NJ_OP_BIND, path, path, NJ_OP_READ_ONLY, 0});
}

/* add_own_etc - what a box says of itself, as files in @dir */
static void add_own_etc(struct builder *b, const struct nj_box_plan *plan, const char *dir)
{
    const char *home = plan->n_writable_paths > 0 ? plan->writable_paths[0] : "/";

    add_file(b, nj_arena_printf(b->arena, "%s/passwd", dir),
             nj_arena_printf(b->arena,
                             "root:x:0:0:root:/:/usr/sbin/nologin\n" NJ_BOX_USER
                             ":x:%d:%d::%s:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
                             NJ_BOX_UID, NJ_BOX_GID, home));
    add_file(b, nj_arena_printf(b->arena, "%s/group", dir),
             nj_arena_printf(b->arena, "root:x:0:\n" NJ_BOX_USER ":x:%d:\nnogroup:x:65534:\n",
                             NJ_BOX_GID));
    add_file(b, nj_arena_printf(b->arena, "%s/hosts", dir),
             nj_arena_printf(b->arena, "127.0.0.1 localhost %s\n::1 localhost\n", plan->hostname));
    add_file(b, nj_arena_printf(b->arena, "%s/hostname", dir),
             nj_arena_printf(b->arena, "%s\n", plan->hostname));
    add_file(b, nj_arena_printf(b->arena, "%s/nsswitch.conf", dir),
             "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n"
             "protocols: files\n");
    add_file(b, nj_arena_printf(b->arena, "%s/resolv.conf", dir),
             "# This box has no network but its own loopback.\n");
}

static void add_host_etc(struct builder *b, const struct nj_box_plan *plan)
{
    add_dirs(b, "/etc/ssl");
    add_own_etc(b, plan, "/etc");
    for (size_t i = 0; i < sizeof(etc_entries) / sizeof(etc_entries[0]); i++) {
        struct dirent *entry;
        DIR *dir;

        if (!strpbrk(etc_entries[i].pattern, "*?[")) {
            add_etc_entry(b, etc_entries[i].dir, etc_entries[i].pattern);
            continue;
        }
        dir = opendir(etc_entries[i].dir);
        while (dir && (entry = readdir(dir))) {
            if (fnmatch(etc_entries[i].pattern, entry->d_name, FNM_PERIOD) == 0)
                add_etc_entry(b, etc_entries[i].dir, entry->d_name);
        }
        if (dir)
            (void)closedir(dir);
    }
}

/* ---- building: an image in place of the host's system ---- */

/* Of an image's top; what is not there is left out, and so is one where the plan puts a path of its
 * own. /dev, /proc, /run and the like are the box's. */
static const char *const image_dirs[] = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
                                         "etc", "opt", "var",  "srv", "home",  "root"};

static bool taken_by_plan(const struct nj_box_plan *plan, const char *path)
{
    for (size_t i = 0; i < plan->n_writable_paths; i++) {
        if (nj_plan_inside(plan->writable_paths[i], path))
            return true;
    }
    for (size_t i = 0; i < plan->n_mounts; i++) {
        if (nj_plan_inside(plan->mounts[i].target, path))
            return true;
    }
    return false;
}

/* add_image_dir - a directory of the image as it is, or the link that it is (/bin to usr/bin). A
 * plan that is only printed has no image at hand, and shows each. */
static void add_image_dir(struct builder *b, const char *image, const char *path)
{
    char *source = nj_arena_printf(b->arena, "%s%s", image, path);
    char text[256];
    struct stat st = {.st_mode = S_IFDIR};
    ssize_t len;

    if (!source || (image[0] == '/' && lstat(source, &st) < 0)) {
        b->failed |= !source;
        return;
    }
    len = S_ISLNK(st.st_mode) ? readlink(source, text, sizeof(text)) : -1;
    if (len > 0 && (size_t)len < sizeof(text)) {
        struct nj_span span = {(const uint8_t *)text, (size_t)len};

        add(b, (struct nj_op){NJ_OP_LINK, path, nj_arena_span(b->arena, span), 0, 0});
    } else if (S_ISDIR(st.st_mode)) {
        add(b, (struct nj_op){NJ_OP_DIR, path, NULL, 0, 0755});
        add(b, (struct nj_op){NJ_OP_BIND, path, source, NJ_OP_READ_ONLY, 0});
    }
}

static void add_image(struct builder *b, const struct nj_box_plan *plan, const char *store)
{
    char name[NJ_PLAN_ROOTFS_NAME_BYTES];
    char *image;

    nj_plan_rootfs_name(plan->rootfs, name);
    image = nj_arena_printf(b->arena, "%s/%s", store, name);
    if (!image) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < sizeof(image_dirs) / sizeof(image_dirs[0]); i++) {
        char *path = nj_arena_printf(b->arena, "/%s", image_dirs[i]);

        if (!path)
            b->failed = true;
        else if (!taken_by_plan(plan, path))
            add_image_dir(b, image, path);
    }
}

/* add_image_etc - the image's /etc stays whole, and the box's own files are mounted over its. They
 * lie where no payload sees them. */
static void add_image_etc(struct builder *b, const struct nj_box_plan *plan)
{
#define X(name)                                                                                    \
    add(b, (struct nj_op){NJ_OP_BIND, "/etc/" name, &(NJ_BOX_HIDDEN "/etc/" name)[1],              \
                          NJ_OP_READ_ONLY, 0});
    add(b, (struct nj_op){NJ_OP_DIR, NJ_BOX_HIDDEN "/etc", NULL, 0, 0755});
    add_own_etc(b, plan, NJ_BOX_HIDDEN "/etc");
    NJ_PLAN_OWN_ETC(X)
#undef X
}

static void add_dev(struct builder *b)
{
    add(b, (struct nj_op){NJ_OP_DIR, "/dev", NULL, 0, 0755});
    add(b, (struct nj_op){NJ_OP_TMPFS, "/dev", "size=64k,nr_inodes=64,mode=0755", NJ_OP_NOEXEC, 0});
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        char *path = nj_arena_printf(b->arena, "/dev/%s", devices[i]);

        add_file(b, path, "");
        add(b, (struct nj_op){NJ_OP_BIND, path, path,
                              NJ_OP_READ_ONLY | NJ_OP_DEVICES | NJ_OP_NOEXEC, 0});
    }
    for (size_t i = 0; i < sizeof(device_links) / sizeof(device_links[0]); i++)
        add(b, (struct nj_op){NJ_OP_LINK, device_links[i].target, device_links[i].text, 0, 0});
    add(b, (struct nj_op){NJ_OP_DIR, "/dev/shm", NULL, 0, 0755});
    add(b, (struct nj_op){NJ_OP_SEAL, "/dev", NULL, 0, 0});
}

/* The files lie on a mount of their own, which is read-only before any payload exists: who runs as
 * the box's user owns them. */
static void add_fixed(struct builder *b, const struct nj_box_plan *plan)
{
    struct nj_fixed_file files[NJ_FIXED_FILES_MAX];
    size_t n = nj_fixed_files(plan, b->arena, files);

    if (n == 0)
        return;
    add(b, (struct nj_op){NJ_OP_DIR, NJ_FIXED_DIR, NULL, 0, 0755});
    add(b, (struct nj_op){NJ_OP_TMPFS, NJ_FIXED_DIR, "size=128k,nr_inodes=32,mode=0755",
                          NJ_OP_NOEXEC, 0});
    for (size_t i = 0; i < n; i++)
        add_file(b, nj_arena_printf(b->arena, NJ_FIXED_DIR "/%s", files[i].name), files[i].text);
    add(b, (struct nj_op){NJ_OP_DIR, NJ_FIXED_EMPTY_DIR, NULL, 0, 0555});
    add(b, (struct nj_op){NJ_OP_SEAL, NJ_FIXED_DIR, NULL, 0, 0});
    add(b, (struct nj_op){NJ_OP_DIR, NJ_FILES_DIR, NULL, 0, 0755});
}

static void cover_fixed(struct builder *b, const struct nj_box_plan *plan)
{
    struct nj_fixed_file files[NJ_FIXED_FILES_MAX];
    size_t n = nj_fixed_files(plan, b->arena, files);

    for (size_t i = 0; i < n; i++)
        add(b, (struct nj_op){NJ_OP_COVER, files[i].target,
                              nj_arena_printf(b->arena, NJ_FIXED_DIR "/%s", files[i].name), 0, 0});
    if (n > 0) {
#define X(enumerator, node, name, target)                                                          \
    add(b, (struct nj_op){NJ_OP_COVER, target, NJ_FILES_DIR "/" name, 0, 0});
        NJ_FILES(X)
#undef X
    }
    for (const char *const *mask = nj_fixed_masks(plan); *mask; mask++)
        add(b, (struct nj_op){NJ_OP_MASK, *mask, NULL, 0, 0});
    for (const char *const *hidden = nj_fixed_hidden(plan); *hidden; hidden++)
        add(b, (struct nj_op){NJ_OP_COVER, *hidden, NJ_FIXED_EMPTY_DIR, 0, 0});
}

static void add_open(struct builder *b, const struct nj_box_plan *plan, const char *store)
{
    if (plan->rootfs) {
        add_image(b, plan, store);
    } else {
        add_system(b);
        add_host_etc(b, plan);
    }
    add(b, (struct nj_op){NJ_OP_DIR, "/proc", NULL, 0, 0755});
    add(b, (struct nj_op){NJ_OP_PROC, "/proc", NULL, 0, 0});
    add_dev(b);
    add(b, (struct nj_op){NJ_OP_DIR, NJ_BOX_HIDDEN, NULL, 0, 0755});
    add(b, (struct nj_op){NJ_OP_TMPFS, NJ_BOX_HIDDEN, "size=64k,nr_inodes=256,mode=0700", 0, 0});
    add_fixed(b, plan);
    if (plan->rootfs)
        add_image_etc(b, plan);
    add(b, (struct nj_op){NJ_OP_DIR, NJ_BOX_WORKSPACE, NULL, 0, 0755});
    add(b,
        (struct nj_op){NJ_OP_TMPFS, NJ_BOX_WORKSPACE,
                       nj_arena_printf(b->arena, "size=%" PRIu64 ",nr_inodes=%" PRIu64 ",mode=0755",
                                       plan->max_size_bytes, plan->max_files),
                       0, 0});
    for (size_t i = 0; i < plan->n_writable_paths; i++)
        add_dirs(b, plan->writable_paths[i]);
    for (size_t i = 0; i < plan->n_mounts; i++) {
        const struct nj_box_mount *mount = &plan->mounts[i];
        char name[NJ_PLAN_INPUT_NAME_BYTES];
        char *source;
        const char *target = mount->target;

        nj_plan_input_name(&mount->input, name);
        source = nj_arena_printf(b->arena, "%s/%s", store, name);
        if (in_writable(plan, target))
            target = nj_arena_printf(b->arena, NJ_BOX_HIDDEN "/in%zu", i);
        if (!source || !target) {
            b->failed = true;
            return;
        }
        add_dirs(b, target);
        add(b, (struct nj_op){NJ_OP_BIND, target, source, NJ_OP_READ_ONLY, 0});
    }
    add(b, (struct nj_op){NJ_OP_SEAL, "/", NULL, 0, 0});
}

static void add_call(struct builder *b, const struct nj_box_plan *plan)
{
    uint64_t shared = plan->max_memory_bytes / 4 < 64 * MIB ? plan->max_memory_bytes / 4 : 64 * MIB;

    add(b, (struct nj_op){NJ_OP_PROC, "/proc", NULL, NJ_OP_READ_ONLY, 0});
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
        add(b, (struct nj_op){NJ_OP_MASK, masks[i], NULL, 0, 0});
    cover_fixed(b, plan);
    add(b, (struct nj_op){
               NJ_OP_TMPFS, "/dev/shm",
               nj_arena_printf(b->arena, "size=%" PRIu64 ",nr_inodes=4096,mode=1777", shared),
               NJ_OP_NOEXEC, 0});
    for (size_t i = 0; i < plan->n_writable_paths; i++)
        add(b,
            (struct nj_op){
                NJ_OP_BIND, plan->writable_paths[i],
                nj_arena_printf(b->arena, NJ_BOX_WORKSPACE "%s", plan->writable_paths[i]), 0, 0});
    for (size_t i = 0; i < plan->n_mounts; i++) {
        if (in_writable(plan, plan->mounts[i].target))
            add(b, (struct nj_op){NJ_OP_INSIDE, plan->mounts[i].target,
                                  nj_arena_printf(b->arena, NJ_BOX_HIDDEN "/in%zu", i),
                                  NJ_OP_READ_ONLY, 0});
    }
    for (size_t i = 0; i < plan->n_read_only_paths; i++) {
        if (!in_mount(plan, plan->read_only_paths[i]))
            add(b,
                (struct nj_op){NJ_OP_FREEZE, plan->read_only_paths[i], NULL, NJ_OP_READ_ONLY, 0});
    }
    add(b, (struct nj_op){NJ_OP_HIDE, NJ_BOX_HIDDEN, NULL, 0, 0});
    add(b, (struct nj_op){NJ_OP_TMPFS, NJ_BOX_SCRIPTS, "size=16m,nr_inodes=1024,mode=0755", 0, 0});
}

static size_t add_places(const struct nj_box_plan *plan, struct nj_op_place *places)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_writable_paths; i++) {
        const char *path = plan->writable_paths[i];

        places[n++] = (struct nj_op_place){path + 1, strcmp(path, "/tmp") == 0 ? 01777 : 0755};
    }
    for (size_t i = 0; i < plan->n_mounts; i++) {
        if (in_writable(plan, plan->mounts[i].target))
            places[n++] = (struct nj_op_place){plan->mounts[i].target + 1, 0755};
    }
    for (size_t i = 0; i < plan->n_read_only_paths; i++) {
        if (!in_mount(plan, plan->read_only_paths[i]))
            places[n++] = (struct nj_op_place){plan->read_only_paths[i] + 1, 0755};
    }
    return n;
}

int nj_ops_build(const struct nj_box_plan *plan, const char *store, struct nj_arena *arena,
                 struct nj_ops *ret_ops, struct nj_error *err)
{
    struct builder open = {.arena = arena}, call = {.arena = arena};
    struct nj_op_place *places;

    places = nj_arena_array(
        arena, plan->n_writable_paths + plan->n_read_only_paths + plan->n_mounts, sizeof(*places));
    if (!places)
        return nj_fail_nomem(err);
    add_open(&open, plan, store);
    add_call(&call, plan);
    if (open.failed || call.failed)
        return nj_fail(err, NJ_E_NOMEM, "box plan: out of memory, or more than %d operations",
                       OPS_MAX);
    *ret_ops =
        (struct nj_ops){open.ops, open.n, call.ops, call.n, places, add_places(plan, places)};
    return 0;
}
