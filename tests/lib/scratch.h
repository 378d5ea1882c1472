/*
 * scratch.h - a folder of its own for a test that works on real files
 *
 * Header only. SCRATCH_TEST(name, &scratch) lists a case before which the folder is made, and
 * behind which it is removed; a setup that does more calls scratch_make(), and its teardown
 * scratch_remove(). Paths are relative to the folder. Every helper fails the test when the file
 * system refuses.
 */
#ifndef NJ_TESTS_SCRATCH_H
#define NJ_TESTS_SCRATCH_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "formats/base/fsio.h"

struct scratch {
    char path[PATH_MAX];
    int fd;
};

static inline void scratch_make(struct scratch *scratch)
{
    const char *temp = getenv("TMPDIR");

    (void)snprintf(scratch->path, sizeof(scratch->path), "%s/nj-test-XXXXXX", temp ? temp : "/tmp");
    assert_non_null(mkdtemp(scratch->path));
    scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(scratch->fd >= 0);
    assert_int_equal(fchmod(scratch->fd, 0755), 0);
}

static inline void scratch_remove(struct scratch *scratch)
{
    struct nj_error err = {0};

    (void)close(scratch->fd);
    if (nj_fsio_remove_tree(AT_FDCWD, scratch->path, &err) < 0)
        fail_msg("%s", err.text);
}

static inline int scratch_setup(void **state)
{
    scratch_make(*state);
    return 0;
}

static inline int scratch_teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

#define SCRATCH_TEST(name, scratch)                                                                \
    cmocka_unit_test_prestate_setup_teardown(name, scratch_setup, scratch_teardown, scratch)

/* scratch_parents - the folders that @path is in */
static inline void scratch_parents(const struct scratch *scratch, const char *path)
{
    char copy[PATH_MAX];

    (void)snprintf(copy, sizeof(copy), "%s", path);
    for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(scratch->fd, copy, 0755) < 0 && errno != EEXIST)
            fail_msg("mkdir %s: %s", copy, strerror(errno));
        *slash = '/';
    }
}

static inline void scratch_file(const struct scratch *scratch, const char *path, const char *text,
                                mode_t mode)
{
    int fd;

    scratch_parents(scratch, path);
    fd = openat(scratch->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        fail_msg("create %s: %s", path, strerror(errno));
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static inline void scratch_dir(const struct scratch *scratch, const char *path)
{
    scratch_parents(scratch, path);
    if (mkdirat(scratch->fd, path, 0755) < 0 && errno != EEXIST)
        fail_msg("mkdir %s: %s", path, strerror(errno));
}

static inline void scratch_link(const struct scratch *scratch, const char *target, const char *path)
{
    scratch_parents(scratch, path);
    if (symlinkat(target, scratch->fd, path) < 0)
        fail_msg("link %s: %s", path, strerror(errno));
}

/* scratch_text - the content of a file, NUL-terminated, to be freed; NULL when there is no such
 * file */
static inline char *scratch_text(const struct scratch *scratch, const char *path)
{
    struct nj_buf buf = {0};
    struct nj_error err = {0};
    char *text;

    nj_buf_init(&buf, 64u << 20);
    if (nj_fsio_read_file(scratch->fd, path, &buf, &err) < 0) {
        nj_buf_done(&buf);
        return NULL;
    }
    text = nj_buf_steal(&buf);
    return text ? text : strdup("");
}

/* scratch_join - the absolute path of @path; static memory, good for one more call */
static inline const char *scratch_join(const struct scratch *scratch, const char *path)
{
    static char joined[2][2 * PATH_MAX];
    static int turn;

    turn = !turn;
    (void)snprintf(joined[turn], sizeof(joined[turn]), "%s/%s", scratch->path, path);
    return joined[turn];
}

#endif
