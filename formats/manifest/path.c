/*
 * path.c - what a path may look like
 *
 * The complication: these are lexical checks only. A path of the host is opened by the engine
 * beneath the manifest's directory, a path of the box by the sandbox beneath its root; what is
 * refused here is what no opening could make right.
 */
#include "formats/manifest/read.h"

#include "formats/base/banned.h"

#define PART_MAX_BYTES 255

/* What the box brings itself, and where memory stores will stand. */
static const char *const system_dirs[] = {
    "/bin",    "/boot",       "/dev",  "/etc", "/lib",  "/lib32", "/lib64",
    "/libx32", "/mnt/memory", "/proc", "/run", "/sbin", "/sys",   "/usr",
};

bool nj_manifest_path_under(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

const char *nj_manifest_system_dir(const char *path)
{
    for (size_t i = 0; i < NJ_COUNT(system_dirs); i++) {
        if (nj_manifest_path_under(path, system_dirs[i]) ||
            nj_manifest_path_under(system_dirs[i], path))
            return system_dirs[i];
    }
    return NULL;
}

static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

const char *nj_manifest_host_path_fault(const char *path)
{
    if (!*path)
        return "a path is empty";
    if (strlen(path) > NJ_MANIFEST_PATH_MAX_BYTES)
        return "a path is longer than 1024 bytes";
    if (has_control(path))
        return "a path holds a control character";
    return NULL;
}

const char *nj_manifest_box_path_fault(const char *path)
{
    const char *fault = nj_manifest_host_path_fault(path);

    if (fault)
        return fault;
    if (*path != '/')
        return "a path of the box is absolute: it begins with /";
    if (!path[1])
        return "the root itself cannot be named here";
    while (*path == '/') {
        size_t len = strcspn(++path, "/");

        if (len == 0)
            return "an empty part: neither // nor a / at the end";
        if (len > PART_MAX_BYTES)
            return "a part is longer than 255 bytes";
        if ((len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
            return "a part is \".\" or \"..\": write the path out";
        path += len;
    }
    return NULL;
}

/* "[" must be closed ("]" right behind it, or behind "!" or "^", is a member); ** is a part of its
 * own. */
static const char *pattern_fault(const char *glob)
{
    for (const char *at = glob; *at; at++) {
        if (*at == '[') {
            at++;
            if (*at == '!' || *at == '^')
                at++;
            if (*at == ']')
                at++;
            at += strcspn(at, "]/");
            if (*at != ']')
                return "a [ has no ]";
        } else if (at[0] == '*' && at[1] == '*') {
            if ((at > glob && at[-1] != '/') || (at[2] && at[2] != '/'))
                return "** stands alone between slashes";
            at++;
        }
    }
    return NULL;
}

const char *nj_manifest_glob_fault(const char *glob)
{
    const char *fault = nj_manifest_host_path_fault(glob);

    return fault ? fault : pattern_fault(glob);
}

const char *nj_manifest_box_glob_fault(const char *glob)
{
    const char *fault = nj_manifest_box_path_fault(glob);

    return fault ? fault : pattern_fault(glob);
}

int nj_manifest_path_ok(const char *path, struct nj_error *err)
{
    const char *fault = nj_manifest_host_path_fault(path);
    size_t depth = 0;

    if (fault)
        return nj_fail(err, NJ_E_INPUT, "%s", fault);
    if (*path == '/')
        return nj_fail(err, NJ_E_INPUT,
                       "%s is absolute: paths are relative to the manifest, unless "
                       "--allow-path names their directory",
                       path);
    while (*path) {
        const char *part = path;
        size_t len = strcspn(part, "/");

        path += len;
        while (*path == '/')
            path++;
        if (len == 2 && part[0] == '.' && part[1] == '.') {
            if (depth == 0)
                return nj_fail(err, NJ_E_INPUT,
                               "the path climbs out of the manifest's directory; "
                               "--allow-path allows another one");
            depth--;
        } else if (!(len == 1 && part[0] == '.')) {
            depth++;
        }
    }
    return 0;
}

int nj_manifest_target_ok(const struct nj_manifest_agent *agent, const char *target,
                          struct nj_error *err)
{
    const struct nj_manifest_texts *writable = &agent->sandbox.writable_paths;
    const char *fault = nj_manifest_box_path_fault(target);

    if (fault)
        return nj_fail(err, NJ_E_INPUT, "target \"%s\": %s", target, fault);
    for (size_t i = 0; i < writable->count; i++) {
        if (strcmp(target, writable->items[i].text) == 0)
            return nj_fail(err, NJ_E_INPUT,
                           "target \"%s\" is a writable path itself: name a file in it", target);
        if (nj_manifest_path_under(target, writable->items[i].text))
            return 0;
    }
    return nj_fail(err, NJ_E_INPUT, "target \"%s\" is in none of the writable paths of agent %s",
                   target, agent->name);
}
