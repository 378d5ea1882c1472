/*
 * helper_start.c - the engine's side: which program the helper is, and how it begins
 *
 * The complication is what it begins with: of the engine's environment, which may hold keys, it
 * gets the few variables that it reads.
 */
#include "batch/sandbox/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch/sandbox/changes.h"
#include "formats/base/cleanup.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define PROGRAM "nj-sandbox"

/* Beside our own program (a build), or where packages put what no person starts. */
static const char *const places[] = {"", "../libexec/nightjar/"};

/* For tests, for sanitizers, and for libraries that lie where the system does not look. */
static const char *const passed_on[] = {"NJ_FAULT",        "NJ_FAULT_COUNT", "NJ_TEST_LACK",
                                        "NJ_TEST_LEVEL",   "NJ_TEST_PATCH",  NJ_CHANGES_ENV,
                                        "LD_LIBRARY_PATH", "ASAN_OPTIONS",   "LSAN_OPTIONS",
                                        "TSAN_OPTIONS",    "UBSAN_OPTIONS"};

enum { PASSED_ON = sizeof(passed_on) / sizeof(passed_on[0]) };

bool nj_helper_own_uids(void)
{
    NJ_AUTO(nj_buf_done) struct nj_buf map = {0};
    const unsigned uids = NJ_HELPER_UID_BLOCKS * NJ_HELPER_BOXES_MAX;
    unsigned inside, outside, count;
    struct nj_error err;

    if (geteuid() != 0)
        return false;
    nj_buf_init(&map, 4096);
    /* One line that covers the range is what the initial namespace and containers made for it have.
     */
    return nj_fsio_read_file(AT_FDCWD, "/proc/self/uid_map", &map, &err) >= 0 && map.data &&
           sscanf((const char *)map.data, "%u %u %u", &inside, &outside, &count) == 3 &&
           inside <= NJ_HELPER_UID_FIRST && count >= uids &&
           count - uids >= NJ_HELPER_UID_FIRST - inside;
}

/* own_folder - where our own program lies, without a slash at its end */
static int own_folder(char folder[PATH_MAX], struct nj_error *err)
{
    ssize_t len = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    char *slash;

    if (len < 0)
        return nj_fail_errno(err, errno, "read /proc/self/exe");
    folder[len] = '\0';
    slash = strrchr(folder, '/');
    if (!slash)
        return nj_fail(err, NJ_E_SYSTEM, "/proc/self/exe leads to \"%s\"", folder);
    *slash = '\0';
    return 0;
}

static void make_environment(char *texts[PASSED_ON], char *environment[PASSED_ON + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < PASSED_ON; i++) {
        const char *value = getenv(passed_on[i]);

        texts[i] = NULL;
        if (value && asprintf(&texts[i], "%s=%s", passed_on[i], value) >= 0)
            environment[n++] = texts[i];
    }
    environment[n] = NULL;
}

/* spawn - returns 0 or the errno */
static int spawn(const char *path, const char *run_name, int fd, pid_t *ret_pid)
{
    char *argv[] = {(char *)PROGRAM, (char *)(uintptr_t)nj_build_name, (char *)(uintptr_t)run_name,
                    NULL};
    char *texts[PASSED_ON], *environment[PASSED_ON + 1];
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);

    if (r != 0)
        return r;
    make_environment(texts, environment);
    r = posix_spawn_file_actions_adddup2(&actions, fd, NJ_HELPER_FD);
    if (r == 0)
        r = posix_spawn(ret_pid, path, &actions, NULL, argv, environment);
    for (size_t i = 0; i < PASSED_ON; i++)
        free(texts[i]);
    (void)posix_spawn_file_actions_destroy(&actions);
    return r;
}

int nj_helper_start(const char *run_name, int fd, pid_t *ret_pid, struct nj_error *err)
{
    char folder[PATH_MAX];

    if (own_folder(folder, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        nj_auto_free char *path = NULL;
        int r;

        if (asprintf(&path, "%s/%s" PROGRAM, folder, places[i]) < 0)
            return nj_fail_nomem(err);
        r = spawn(path, run_name, fd, ret_pid);
        if (r == 0)
            return 0;
        if (r != ENOENT)
            return nj_fail_errno(err, r, "start %s, which builds the boxes", path);
    }
    return nj_fail(
        err, NJ_E_SYSTEM,
        "the program " PROGRAM ", which builds the boxes, is missing: neither %s has it "
        "nor its ../libexec/nightjar. Cure: install nightjar as a whole (the package, or "
        "cmake --install); whoever copies the program copies " PROGRAM " along",
        folder);
}
