/*
 * drop.c - which user, and the order of giving rights up
 */
#include "batch/engine/drop.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>

#include "batch/sandbox/probe.h"

#include "formats/base/banned.h"

static bool find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);
    const struct passwd *user = getpwnam(name);

    if (!user && *name && !*end)
        user = getpwuid((uid_t)number);
    if (user) {
        *ret_uid = user->pw_uid;
        *ret_gid = user->pw_gid;
        return true;
    }
    if (!*name || *end || number == 0 || number > INT32_MAX)
        return false;
    *ret_uid = (uid_t)number; /* a number without an entry is a user all the same */
    *ret_gid = (gid_t)number;
    return true;
}

static int choose(const char *user, const struct nj_run_dir *dir, uid_t *ret_uid, gid_t *ret_gid,
                  struct nj_error *err)
{
    static const char *const fallbacks[] = {"nightjar", "nobody"};
    const char *sudo = getenv("SUDO_UID");
    struct stat st;

    if (user) {
        if (!find_user(user, ret_uid, ret_gid) || *ret_uid == 0)
            return nj_fail(err, NJ_E_INPUT, "--user %s: %s", user,
                           find_user(user, ret_uid, ret_gid) ? "the engine does not run as root"
                                                             : "there is no such user");
        return 0;
    }
    if (dir) {
        if (fstat(dir->fd, &st) < 0)
            return nj_fail_errno(err, errno, "look at run %s", dir->path);
        if (st.st_uid != 0) {
            *ret_uid = st.st_uid;
            *ret_gid = st.st_gid;
            return 0;
        }
    }
    if (sudo && find_user(sudo, ret_uid, ret_gid) && *ret_uid != 0)
        return 0;
    for (size_t i = 0; i < sizeof(fallbacks) / sizeof(fallbacks[0]); i++)
        if (find_user(fallbacks[i], ret_uid, ret_gid) && *ret_uid != 0)
            return 0;
    return nj_fail(err, NJ_E_INPUT,
                   "there is no user \"nightjar\" and no \"nobody\": name one with --user");
}

/* become - whoever is to end with its parent still is: the kernel forgets that with the user */
static int become(uid_t uid, gid_t gid, struct nj_error *err)
{
    pid_t parent = getppid();
    int with_parent = 0;

    if (prctl(PR_GET_PDEATHSIG, &with_parent, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
        prctl(PR_SET_PDEATHSIG, with_parent, 0, 0, 0) < 0)
        return nj_fail_errno(err, errno, "become user %u", uid);
    if (with_parent && getppid() != parent)
        return nj_fail(err, NJ_E_SYSTEM, "become user %u: the process above has ended", uid);
    if (setuid(0) == 0)
        return nj_fail(err, NJ_E_SYSTEM, "become user %u: root came back", uid);
    return 0;
}

int nj_drop_privileges(const char *user, const struct nj_run_dir *dir, struct nj_error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;

    if (geteuid() != 0) {
        if (user)
            return nj_fail(err, NJ_E_INPUT, "--user needs root");
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
            return nj_fail_errno(err, errno, "become undumpable");
        return 0;
    }
    if (choose(user, dir, &uid, &gid, err) < 0)
        return -(int)err->code;
    if (!nj_probe_has_uid(uid))
        return nj_fail(err, NJ_E_SYSTEM,
                       "there is no uid %u in this user namespace: " NJ_PROBE_NO_USER
                       ". Cure: " NJ_PROBE_NO_USER_CURE,
                       uid);
    if (dir && nj_run_dir_give(dir, uid, gid, err) < 0)
        return -(int)err->code;
    if (become(uid, gid, err) < 0)
        return -(int)err->code;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return nj_fail_errno(err, errno, "give up privileges");
    return 0;
}
