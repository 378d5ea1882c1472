/*
 * test_packages.c - files of this host and their packages, as dpkg itself would say
 */
#include "batch/engine/packages.h"

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "formats/base/banned.h"

static void needs_dpkg(void)
{
    if (access("/var/lib/dpkg/info/coreutils.list", R_OK) < 0) {
        print_message("no dpkg here\n");
        skip();
    }
}

/* package_is - of one file that is asked for alone; @begins NULL: none */
static void package_is(const char *path, const char *begins)
{
    struct nj_packages_file file = {.path = path};
    struct nj_error err = {0};

    assert_int_equal(nj_packages_find(&file, 1, &err), 0);
    if (!begins) {
        assert_null(file.package);
        return;
    }
    assert_non_null(file.package);
    assert_memory_equal(file.package, begins, strlen(begins));
    assert_true(strlen(file.package) > strlen(begins)); /* the version */
    free(file.package);
}

static void a_program_is_found_however_its_package_is_called(void **state)
{
    (void)state;
    needs_dpkg();
    package_is("/usr/bin/bash", "bash ");      /* like the program; listed as /bin/bash */
    package_is("/usr/bin/true", "coreutils "); /* of the usual ones */
    package_is("/usr/bin/ldd", "libc-bin ");   /* by all lists */
}

static void a_library_is_found_behind_its_links(void **state)
{
    char path[PATH_MAX];

    (void)state;
    needs_dpkg();
    if (!realpath("/lib64/ld-linux-x86-64.so.2", path))
        skip();
    package_is(path, "libc6 ");
}

static void what_no_package_brought_has_none(void **state)
{
    (void)state;
    needs_dpkg();
    package_is("/usr/local/bin/of-no-package", NULL);
}

/* Another file than /usr/bin/ldd where the two folders are two. */
static void below_usr_is_not_beside_it(void **state)
{
    (void)state;
    needs_dpkg();
    package_is("/bin/ldd", NULL);
}

static void many_are_answered_at_once(void **state)
{
    struct nj_packages_file files[] = {{.path = "/nowhere"},
                                       {.path = "/usr/bin/bash"},
                                       {.path = "/usr/bin/ldd"},
                                       {.path = "/usr/bin/true"}};
    struct nj_error err = {0};

    (void)state;
    needs_dpkg();
    assert_int_equal(nj_packages_find(files, 4, &err), 0);
    assert_null(files[0].package);
    for (size_t i = 1; i < 4; i++) {
        assert_non_null(files[i].package);
        free(files[i].package);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_found_however_its_package_is_called),
        cmocka_unit_test(a_library_is_found_behind_its_links),
        cmocka_unit_test(what_no_package_brought_has_none),
        cmocka_unit_test(below_usr_is_not_beside_it),
        cmocka_unit_test(many_are_answered_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
