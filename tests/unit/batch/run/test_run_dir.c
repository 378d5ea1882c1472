/*
 * test_run_dir.c - making, locking, opening and giving away a run's folder
 */
#include "tests/lib/scratch.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "batch/run/run_dir.h"

#include "formats/base/banned.h"

static struct scratch scratch;

static void must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static struct nj_run_dir create(const char *path)
{
    struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    struct nj_error err = {0};

    must(nj_run_dir_create(scratch_join(&scratch, path), "job", &dir, &err), &err);
    return dir;
}

static void refused(int r, const struct nj_error *err, const char *text)
{
    assert_int_equal(r, -NJ_E_INPUT);
    if (!strstr(err->text, text))
        fail_msg("\"%s\" does not say \"%s\"", err->text, text);
}

static long elapsed_ms(const struct timespec *since)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

static void a_folder_is_made_with_its_parents_and_for_nobody_else(void **state)
{
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    static const char *const parts[] = {"", "/journal", "/inputs", "/bundles", "/outputs"};
    mode_t before = umask(0);

    (void)state;
    dir = create("deep/er/run//");
    (void)umask(before);
    assert_string_equal(dir.name, "run");
    assert_string_equal(dir.path, scratch_join(&scratch, "deep/er/run"));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char path[64];
        struct stat st;

        (void)snprintf(path, sizeof(path), "deep/er/run%s", parts[i]);
        assert_int_equal(fstatat(scratch.fd, path, &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
}

static void a_run_without_a_name_gets_one_of_time_and_job(void **state)
{
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    nj_auto_close int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(fchdir(scratch.fd), 0);
    must(nj_run_dir_create(NULL, "nightly", &dir, &err), &err);
    assert_int_equal(fchdir(before), 0);
    assert_int_equal(strncmp(dir.path, "runs/20", 7), 0);
    assert_string_equal(dir.name + strlen("2026-11-22T02-00-00Z"), "-nightly");
}

static void runs_that_begin_in_one_second_get_names_of_their_own(void **state)
{
    char names[3][64];
    nj_auto_close int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(fchdir(scratch.fd), 0);
    for (size_t i = 0; i < 3; i++) {
        NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;

        must(nj_run_dir_create(NULL, "nightly", &dir, &err), &err);
        (void)snprintf(names[i], sizeof(names[i]), "%s", dir.name);
        assert_true(i == 0 || strcmp(names[i - 1], names[i]) < 0); /* the newest is the last */
    }
    assert_int_equal(fchdir(before), 0);
}

static void a_run_that_is_there_is_not_written_over(void **state)
{
    struct nj_run_dir dir = create("run");
    struct nj_error err = {0};

    (void)state;
    nj_run_dir_done(&dir);
    scratch_file(&scratch, "run/job.yaml", "nightjar: 1\n", 0600);
    refused(nj_run_dir_create(scratch_join(&scratch, "run"), "job", &dir, &err), &err,
            "nightjar resume");
}

static void what_a_killed_start_left_is_taken_over(void **state)
{
    struct nj_run_dir dir = create("run");

    (void)state;
    nj_run_dir_done(&dir); /* as if killed before job.yaml was published */
    scratch_file(&scratch, "run/inputs/.tmp-1-0", "half", 0600);
    dir = create("run");
    nj_run_dir_done(&dir);
}

static void opening_tells_what_is_missing_by_name(void **state)
{
    struct nj_run_dir dir = create("run");
    struct nj_error err = {0};

    (void)state;
    nj_run_dir_done(&dir);
    refused(nj_run_dir_open(scratch_join(&scratch, "nowhere"), true, &dir, &err), &err,
            "there is no run");
    scratch_file(&scratch, "file", "text", 0600);
    refused(nj_run_dir_open(scratch_join(&scratch, "file"), true, &dir, &err), &err,
            "there is no run");
    scratch_dir(&scratch, "empty");
    refused(nj_run_dir_open(scratch_join(&scratch, "empty"), true, &dir, &err), &err, "no journal");
    assert_int_equal(unlinkat(scratch.fd, "run/outputs", AT_REMOVEDIR), 0);
    refused(nj_run_dir_open(scratch_join(&scratch, "run"), true, &dir, &err), &err, "outputs");
    must(mkdirat(scratch.fd, "run/outputs", 0700), &err);
    must(nj_run_dir_open(scratch_join(&scratch, "run"), true, &dir, &err), &err);
    nj_run_dir_done(&dir);
}

/* in_child - what @work returns in a forked process whose descriptors are its own */
static int in_child(int (*work)(void))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(work());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_to_lock(void)
{
    struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    struct nj_error err = {0};
    int r = nj_run_dir_open(scratch_join(&scratch, "run"), true, &dir, &err);

    nj_run_dir_done(&dir);
    return r == -NJ_E_INPUT && strstr(err.text, "another engine") ? 1 : r == 0 ? 0 : 2;
}

static int try_to_read(void)
{
    struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    struct nj_error err = {0};
    int r = nj_run_dir_open(scratch_join(&scratch, "run"), false, &dir, &err);

    nj_run_dir_done(&dir);
    return r == 0 ? 0 : 2;
}

static void a_second_engine_is_refused_a_reader_is_not(void **state)
{
    struct nj_run_dir dir = create("run");
    struct timespec began;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &began);
    assert_int_equal(in_child(try_to_lock), 1);
    assert_true(elapsed_ms(&began) < 1000); /* it lives, so there is nothing to wait for */
    assert_int_equal(in_child(try_to_read), 0);
    assert_int_equal(unlinkat(scratch.fd, "run/lock", 0), 0);
    clock_gettime(CLOCK_MONOTONIC, &began);
    assert_int_equal(in_child(try_to_lock), 1);
    assert_true(elapsed_ms(&began) >= 1000); /* it might have been what a killed engine left */
    nj_run_dir_done(&dir);
    assert_int_equal(in_child(try_to_lock), 0);
}

static void the_refusal_tells_who_holds_the_run_and_since_when(void **state)
{
    struct nj_run_dir dir = create("run");
    struct nj_run_dir second = NJ_RUN_DIR_EMPTY;
    struct nj_error err = {0};
    char who[32];

    (void)state;
    (void)snprintf(who, sizeof(who), "(pid %d on ", (int)getpid());
    refused(nj_run_dir_open(scratch_join(&scratch, "run"), true, &second, &err), &err, who);
    assert_non_null(strstr(err.text, " UTC)"));
    assert_non_null(strstr(err.text, "nightjar stop "));
    nj_run_dir_done(&dir);
}

static void a_run_of_the_same_job_is_refused_while_last_nights_goes_on(void **state)
{
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir first = NJ_RUN_DIR_EMPTY;
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir other = NJ_RUN_DIR_EMPTY;
    nj_auto_close int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_run_dir second = NJ_RUN_DIR_EMPTY;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(fchdir(scratch.fd), 0);
    must(nj_run_dir_create(NULL, "bills", &first, &err), &err);
    refused(nj_run_dir_create(NULL, "bills", &second, &err), &err, first.path);
    assert_non_null(strstr(err.text, "still going on"));
    must(nj_run_dir_create(NULL, "more-bills", &other, &err), &err); /* its name ends alike */
    must(nj_run_dir_create("named", "bills", &second, &err), &err);
    nj_run_dir_done(&second);
    assert_int_equal(fchdir(before), 0);
}

static void what_a_killed_engine_had_forked_is_waited_for(void **state)
{
    struct nj_run_dir dir = create("run");
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(unlinkat(scratch.fd, "run/lock", 0), 0); /* it names us, who live */
    pid = fork(); /* its worker: it holds the lock, since it has the descriptor */
    assert_true(pid >= 0);
    if (pid == 0) {
        struct timespec pause = {.tv_nsec = 300000000};

        (void)nanosleep(&pause, NULL);
        _exit(0);
    }
    nj_run_dir_done(&dir);
    assert_int_equal(in_child(try_to_lock), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void unmake_removes_what_create_made_and_nothing_else(void **state)
{
    struct nj_run_dir dir = create("made");

    (void)state;
    scratch_file(&scratch, "made/job.yaml", "nightjar: 1\n", 0600);
    scratch_file(&scratch, "made/inputs/files/x", "x", 0600);
    nj_run_dir_unmake(&dir);
    nj_run_dir_done(&dir);
    assert_int_equal(faccessat(scratch.fd, "made", F_OK, 0), -1);

    scratch_file(&scratch, "mine/notes", "keep me", 0600);
    dir = create("mine");
    nj_run_dir_unmake(&dir);
    nj_run_dir_done(&dir);
    assert_int_equal(faccessat(scratch.fd, "mine/notes", F_OK, 0), 0);
    assert_int_equal(faccessat(scratch.fd, "mine/journal", F_OK, 0), -1);
}

static void all_in_the_folder_is_given_but_no_other_name_of_a_file(void **state)
{
    struct nj_run_dir dir = create("run");
    struct nj_error err = {0};
    struct stat st;

    (void)state;
    if (geteuid() != 0) {
        nj_run_dir_done(&dir);
        skip();
    }
    scratch_file(&scratch, "run/inputs/files/x", "x", 0600);
    scratch_link(&scratch, "/etc/passwd", "run/outputs/link");
    must(nj_run_dir_give(&dir, 1234, 2345, &err), &err);
    assert_int_equal(fstatat(scratch.fd, "run/inputs/files/x", &st, 0), 0);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(st.st_gid, 2345);
    assert_int_equal(fstatat(scratch.fd, "run", &st, 0), 0);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(fstatat(scratch.fd, "run/outputs/link", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(stat("/etc/passwd", &st), 0);
    assert_int_equal(st.st_uid, 0); /* the link was given, not what it points to */

    scratch_file(&scratch, "secret", "of root", 0600);
    assert_int_equal(linkat(scratch.fd, "secret", scratch.fd, "run/bundles/planted", 0), 0);
    refused(nj_run_dir_give(&dir, 1234, 2345, &err), &err, "planted");
    assert_int_equal(fstatat(scratch.fd, "secret", &st, 0), 0);
    assert_int_equal(st.st_uid, 0);
    nj_run_dir_done(&dir);
}

int main(void)
{
#define CASE(name) SCRATCH_TEST(name, &scratch)
    const struct CMUnitTest tests[] = {
        CASE(a_folder_is_made_with_its_parents_and_for_nobody_else),
        CASE(a_run_without_a_name_gets_one_of_time_and_job),
        CASE(runs_that_begin_in_one_second_get_names_of_their_own),
        CASE(a_run_that_is_there_is_not_written_over),
        CASE(what_a_killed_start_left_is_taken_over),
        CASE(opening_tells_what_is_missing_by_name),
        CASE(a_second_engine_is_refused_a_reader_is_not),
        CASE(the_refusal_tells_who_holds_the_run_and_since_when),
        CASE(a_run_of_the_same_job_is_refused_while_last_nights_goes_on),
        CASE(what_a_killed_engine_had_forked_is_waited_for),
        CASE(unmake_removes_what_create_made_and_nothing_else),
        CASE(all_in_the_folder_is_given_but_no_other_name_of_a_file),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
