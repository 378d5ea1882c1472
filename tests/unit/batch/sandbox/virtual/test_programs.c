/*
 * test_programs.c - which files run in a call is told, and what the workspace's own hold
 */
#include "../harness.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "batch/sandbox/instructions.h"
#include "formats/object/ran.h"

#include "formats/base/banned.h"

#define START_NS INT64_C(1767225600000000000) /* 2026-01-01 */

static struct harness h;
static struct nj_arena arena;
static struct nj_ran ran;

/* read_list - among all that came out of boxes; @bytes are what the list borrows from */
static void read_list(struct nj_buf *bytes)
{
    struct nj_error err;
    struct nj_span rest;

    nj_buf_init(bytes, (size_t)1 << 30);
    must(lseek(h.store_fd, 0, SEEK_SET) < 0 ? -1 : nj_fsio_read_all(h.store_fd, bytes, &err), &err);
    for (rest = nj_buf_span(bytes); rest.len > 0;) {
        struct nj_object object;
        size_t len;

        must(nj_object_decode(rest, true, &object, &len, &err), &err);
        rest = (struct nj_span){rest.data + len, rest.len - len};
        if (!nj_digest_equal(&object.digest, &h.meta.ran))
            continue;
        assert_int_equal(object.kind, NJ_OBJECT_BLOB);
        must(nj_ran_decode(object.bytes, &arena, &ran, &err), &err);
        return;
    }
    fail_msg("the list did not come");
}

/* run - in a fresh box of @level; it ends well, and the list of what ran is read */
static void run(unsigned level, const char *command)
{
    const char *const argv[] = {"bash", "-c", command, NULL};
    struct nj_box_call call = shell_call(argv);
    static struct nj_buf bytes;
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.level = level;
    nj_box_close(h.box);
    open_box(&h, &plan);
    call.clock_ns = START_NS;
    call_with(&h, &call);
    if (h.failed || h.outcome.exit != NJ_EXIT_EXITED || h.outcome.status != 0)
        fail_msg("%s: %s\n%s\n%s", command, h.err.text, h.out, h.errors);
    if (level > 0 && (h.meta.lowered == NJ_LOWERED_LISTENER || h.meta.lowered == NJ_LOWERED_TRACE ||
                      h.meta.lowered == NJ_LOWERED_DEVICES)) {
        print_message("skipped: this host's boxes have no layer: %s\n",
                      nj_lowered_text(h.meta.lowered));
        skip();
    }
    ran = (struct nj_ran){.n_files = 0};
    nj_buf_done(&bytes);
    nj_arena_done(&arena);
    if (h.meta.has_ran)
        read_list(&bytes);
}

/* listed - how many files of the list end so */
static unsigned listed(const char *end)
{
    size_t len = strlen(end);
    unsigned n = 0;

    for (size_t i = 0; i < ran.n_files; i++) {
        struct nj_span path = ran.files[i].path;

        n += path.len >= len && memcmp(path.data + path.len - len, end, len) == 0;
    }
    return n;
}

static void programs_and_libraries_are_listed_with_size_and_time(void **state)
{
    struct stat st;

    (void)state;
    run(1, "date; python3 -c 'import json'");
    assert_int_equal(listed("/bash"), 1);
    assert_int_equal(listed("/date"), 1);
    assert_int_equal(listed("/libc.so.6"), 1);
    assert_int_equal(listed("/env"), 0);
    assert_false(ran.more);
    for (size_t i = 0; i < ran.n_files; i++) {
        char *path = nj_span_dup(ran.files[i].path);

        assert_non_null(path);
        if (stat(path, &st) < 0)
            fail_msg("%s: is not on this host", path);
        assert_true(ran.files[i].bytes == (uint64_t)st.st_size);
        assert_true(ran.files[i].mtime_ns ==
                    st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec);
        free(path);
    }
}

static void equal_calls_have_equal_lists(void **state)
{
    struct nj_digest first;

    (void)state;
    run(1, "date; true | cat");
    first = h.meta.ran;
    run(2, "cat </dev/null; cat </dev/null; date");
    assert_true(nj_digest_equal(&first, &h.meta.ran));
}

static void without_the_layer_nothing_is_listed(void **state)
{
    (void)state;
    run(0, "date");
    assert_false(h.meta.has_ran);
}

static void files_of_the_workspace_are_not_listed(void **state)
{
    (void)state;
    run(1, "cp /bin/true mine; ./mine; cp /bin/true /tmp/mine; /tmp/mine");
    assert_int_equal(listed("/mine"), 0);
    assert_int_equal(listed("/true"), 0);
    assert_int_equal(listed("/cp"), 1);
    assert_int_equal(h.meta.level, 1);
}

static void a_flood_of_files_is_survived(void **state)
{
    (void)state;
    run(1, "python3 - <<'E'\n"
           "import mmap, os\n"
           "n = 0\n"
           "for folder, _, names in os.walk('/usr'):\n"
           "    for name in names:\n"
           "        path = os.path.join(folder, name)\n"
           "        if n < 4500 and os.path.isfile(path) and os.access(path, os.R_OK) and "
           "os.path.getsize(path):\n"
           "            fd = os.open(path, os.O_RDONLY)\n"
           "            mmap.mmap(fd, 1, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | "
           "mmap.PROT_EXEC).close()\n"
           "            os.close(fd)\n"
           "            n += 1\n"
           "print(n)\n"
           "E");
    assert_true(ran.n_files <= NJ_RAN_FILES_MAX);
    assert_int_equal(listed("/bash"), 1);
    if (strcmp(h.out, "4500\n") == 0)
        assert_true(ran.more);
}

/* build_and_run - @program, which may call f() of @library */
static void build_and_run(const char *program, const char *library)
{
    char command[4096];

    (void)snprintf(command, sizeof(command),
                   "cat > p.c <<'E'\n"
                   "#include <stdio.h>\nunsigned long long f(void);\n%s\nE\ncat > l.c <<'E'\n"
                   "%s\nE\n"
                   "gcc -O1 -mrdrnd -mrdseed -shared -fPIC -o l.so l.c && "
                   "gcc -O1 -mrdrnd -mrdseed -o p p.c ./l.so && ./p",
                   program, library);
    run(2, command);
}

static void a_program_that_reads_the_processors_own_is_named(void **state)
{
    static const struct {
        const char *program, *library;
        unsigned level;
        enum nj_lowered lowered;
    } rows[] = {
        {"int main(void) { return __builtin_ia32_rdtsc() == 0; }", "int x;", 1, NJ_LOWERED_TSC},
        {"int main(void) { unsigned c; return __builtin_ia32_rdtscp(&c) == 0; }", "int x;", 1,
         NJ_LOWERED_TSC},
        {"int main(void) { unsigned long long v; return __builtin_ia32_rdrand64_step(&v) == 7; }",
         "int x;", 0, NJ_LOWERED_RDRAND},
        {"int main(void) { unsigned long long v; __builtin_ia32_rdrand64_step(&v); return v == 7; "
         "}",
         "int x;", 0, NJ_LOWERED_RDRAND},
        {"int main(int n, char **a) { unsigned v; while (n > 1 && "
         "!__builtin_ia32_rdseed_si_step(&v)); return 0; "
         "}",
         "int x;", 0, NJ_LOWERED_RDRAND},
        {"int main(void) { return f() == 0; }",
         "unsigned long long f(void) { return __builtin_ia32_rdtsc(); }", 1, NJ_LOWERED_TSC},
        {"int main(void) { return f() == 0; }",
         "unsigned long long f(void) { unsigned short v; return __builtin_ia32_rdrand16_step(&v) + "
         "1; }",
         0, NJ_LOWERED_RDRAND},
        {"int main(void) { return f() == 0; }", "unsigned long long f(void) { return 1; }", 2,
         NJ_LOWERED_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        build_and_run(rows[i].program, rows[i].library);
        if (h.meta.level != rows[i].level || h.meta.lowered != rows[i].lowered)
            fail_msg("%s %s: level %u, %s", rows[i].program, rows[i].library, h.meta.level,
                     nj_lowered_text(h.meta.lowered));
    }
}

static unsigned holds_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned holds = fd < 0 ? 0 : nj_instructions_seek(fd, UINT64_MAX);

    if (fd >= 0)
        (void)close(fd);
    return holds;
}

static void files_that_are_no_programs_hold_nothing(void **state)
{
    (void)state;
    assert_int_equal(holds_of("/etc/passwd"), 0);
    assert_int_equal(holds_of("/"), 0);
    assert_int_equal(holds_of("/usr/bin/true"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(programs_and_libraries_are_listed_with_size_and_time),
        BOX_TEST(equal_calls_have_equal_lists),
        BOX_TEST(without_the_layer_nothing_is_listed),
        BOX_TEST(files_of_the_workspace_are_not_listed),
        BOX_TEST(a_flood_of_files_is_survived),
        BOX_TEST(a_program_that_reads_the_processors_own_is_named),
        cmocka_unit_test(files_that_are_no_programs_hold_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
