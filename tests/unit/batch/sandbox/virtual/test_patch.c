/*
 * test_patch.c - stats that the image answers: the same answers as the supervisor's, also among
 * threads, signals and vforks, and nothing for a hostile program to gain
 */
#include "../harness.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include "batch/sandbox/virtual/layout.h"

#include "formats/base/banned.h"

#define TEXT_OF(macro) #macro
#define VALUE(macro) TEXT_OF(macro)

#define START_NS INT64_C(1790000000000000000)

static struct harness h;
static int64_t clock_ns;

/* need_patching - where the host lets nobody compare memories or force text, all is notified */
static void need_patching(void)
{
    static const char text[] = "text";
    nj_auto_close int fd = open("/proc/self/mem", O_WRONLY | O_CLOEXEC);

    if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) != 0 || fd < 0 ||
        pwrite(fd, text, 1, (off_t)(uintptr_t)text) != 1) {
        print_message("skipped: this host has no kcmp() or no writable /proc/PID/mem\n");
        skip();
    }
}

static void open_reproducible(void)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.level = NJ_LEVEL_FILE_TIMES;
    open_box(&h, &plan);
    clock_ns = START_NS;
}

static void call(const char *command, int status)
{
    const char *const argv[] = {"bash", "-c", command, NULL};
    struct nj_box_call request = shell_call(argv);

    request.timeout_ms = 120000;
    request.clock_ns = clock_ns;
    clock_ns += 1000000000;
    call_with(&h, &request);
    if (h.failed)
        fail_msg("%s: %s", command, h.err.text);
    if (h.meta.level < NJ_LEVEL_FILE_TIMES) {
        print_message("skipped: %s\n", nj_lowered_text(h.meta.lowered));
        skip();
    }
    if (h.outcome.exit != NJ_EXIT_EXITED || h.outcome.status != status)
        fail_msg("exit %d, status %d\n%s%s\nof %.512s", (int)h.outcome.exit, h.outcome.status,
                 h.out, h.errors, command);
}

/* run - @program (C), with a few things to lean on */
static void run(const char *options, const char *program)
{
    static char command[16384];

    snprintf(
        command, sizeof(command),
        "cat > /tmp/t.c <<'E'\n#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n"
        "#include <fcntl.h>\n#include <pthread.h>\n#include <signal.h>\n"
        "#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        "#include <sys/mman.h>\n#include <sys/stat.h>\n#include <sys/syscall.h>\n"
        "#include <sys/time.h>\n#include <sys/wait.h>\n#include <unistd.h>\n"
        "#define CHECK(x) do { if (!(x)) { fprintf(stderr, \"%%d: %%s\\n\", __LINE__, #x); "
        "_exit(9); } } while (0)\n"
        /* Does the C library's own call lead into the image by now? */
        "static inline int patched(void) {\n"
        "  const unsigned char *f = dlsym(RTLD_DEFAULT, \"fstatat\");\n"
        "  for (int i = 0; i < 40; i++) if (!memcmp(f + i, \"\\x31\\xc9\\xe9\", 3)) return 1;\n"
        "  return 0; }\n"
        "%s\nE\ncd /tmp && gcc -O2 -pthread %s -o t t.c && cd /workspace && exec /tmp/t",
        program, options);
    call(command, 0);
}

static const char make_files[] =
    "mkdir -p d/e; for i in 1 2 3; do echo $i > d/f$i; done; ln d/f1 d/again; ln -s f2 d/link; "
    "mkfifo d/pipe; touch -d @1000000000.5 d/old; chmod 600 d/f3; ln -s /etc/passwd out";

/* Everything there is to see, by every call there is, before and behind a change. */
static const char look_at_all[] =
    "cat > /tmp/look.py <<'E'\n"
    "import ctypes, os, sys\n"
    "c = ctypes.CDLL(None)\n"
    "def show(what, s):\n"
    "    print(what, [(k, getattr(s, k)) for k in dir(s) if k.startswith('st_')])\n"
    "def all():\n"
    "    for p in ('.', 'd', 'd/e', 'd/f1', 'd/again', 'd/f2', 'd/f3', 'd/link', 'd/pipe', 'd/old',"
    "        'out', '/', '/etc', '/etc/passwd', '/usr/bin/env', '/dev/null', '/dev/urandom',"
    "        '/dev/shm', '/tmp', '/proc/cpuinfo', '/workspace/../tmp', 'd/none', 'd/f1/x', ''):\n"
    "        for f in (os.stat, os.lstat):\n"
    "            try: show(p, f(p))\n"
    "            except OSError as e: print(p, e.errno)\n"
    "        b = ctypes.create_string_buffer(b'\\xaa' * 256, 256)\n"
    "        r = c.syscall(332, -100, p.encode(), 0, 0xfff, b)\n"
    "        print('statx', p, r, b.raw.hex() if r == 0 else '')\n"
    "        for nr in (4, 6):\n"
    "            b = ctypes.create_string_buffer(144)\n"
    "            print(nr, p, c.syscall(nr, p.encode(), b), b.raw.hex())\n"
    "    for f in ('d/f1', 'd', '/etc/passwd'):\n"
    "        fd = os.open(f, os.O_RDONLY); show('by descriptor ' + f, os.fstat(fd)); os.close(fd)\n"
    "    print(c.syscall(332, -100, b'd', 0, 1 << 31, b), c.syscall(332, -100, b'd', 1, 0, b))\n"
    "    print(c.syscall(332, -100, b'd', 0, 0x7ff, 8), c.syscall(262, -100, 8, b, 0))\n"
    "all()\n"
    "open('d/f2', 'a').write('more'); os.chmod('d/f3', 0o644); os.rename('d/old', 'd/e/old')\n"
    "all()\n"
    "print('patched', ctypes.string_at(ctypes.cast(c.fstatat, ctypes.c_void_p).value, 40).find("
    "b'\\x31\\xc9\\xe9') >= 0, file=sys.stderr)\n"
    "E\npython3 /tmp/look.py";

static void the_image_tells_what_the_supervisor_tells(void **state)
{
    static char told[OUTPUT_MAX_BYTES];

    (void)state;
    need_patching();
    for (int patching = 0; patching < 2; patching++) {
        stop(&h);
        setenv("NJ_TEST_PATCH", patching ? "1" : "0", 1);
        start(&h);
        unsetenv("NJ_TEST_PATCH");
        open_reproducible();
        call(make_files, 0);
        call(look_at_all, 0);
        assert_string_equal(h.errors, patching ? "patched True\n" : "patched False\n");
        if (patching)
            assert_string_equal(h.out, told);
        else
            memcpy(told, h.out, sizeof(told));
    }
}

static void threads_signals_and_children_meet_in_a_patched_call(void **state)
{
    static const char program[] =
        "static struct stat want; static volatile int over; static volatile long caught;\n"
        "static void look(void) {\n"
        "  struct stat st; memset(&st, 0xaa, sizeof(st));\n"
        "  CHECK(stat(\"f\", &st) == 0 && memcmp(&st, &want, sizeof(st)) == 0);\n"
        "  CHECK(stat(\"none\", &st) == -1 && errno == ENOENT); }\n"
        "static void on_alarm(int s) { int kept = errno; look(); errno = kept; caught++; }\n"
        "static void *thread(void *x) { while (!over) look(); return x; }\n"
        "int main(void) {\n"
        "  struct itimerval often = {{0, 300}, {0, 300}}; pthread_t t[8]; struct sigaction a = {\n"
        "    .sa_handler = on_alarm, .sa_flags = SA_RESTART}; int status;\n"
        "  for (int i = 0; i < 3; i++) CHECK(stat(\"f\", &want) == 0);\n"
        "  CHECK(patched());\n"
        "  CHECK(want.st_dev == 40 && want.st_ctime == 1790000000);\n"
        "  sigaction(SIGALRM, &a, NULL); setitimer(ITIMER_REAL, &often, NULL);\n"
        "  for (int i = 0; i < 8; i++) pthread_create(&t[i], NULL, thread, NULL);\n"
        "  for (int i = 0; i < 20; i++) {\n"
        "    pid_t pid = i % 2 ? fork() : vfork();\n"
        "    if (pid == 0) { struct stat st; _exit(stat(\"f\", &st) != 0 || st.st_dev != 40); }\n"
        "    CHECK(pid > 0); while (waitpid(pid, &status, 0) != pid) ;\n"
        "    CHECK(status == 0); look(); }\n"
        "  while (caught < 5) look();\n"
        "  over = 1; for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);\n"
        "  return 0; }\n";

    (void)state;
    need_patching();
    open_reproducible();
    call("echo x > f", 0);
    run("", program);
}

static void a_process_that_shares_its_memory_is_left_alone(void **state)
{
    static const char threads[] = "static void *thread(void *x) { pause(); return x; }\n"
                                  "int main(void) { pthread_t t; struct stat st;\n"
                                  "  pthread_create(&t, NULL, thread, NULL);\n"
                                  "  for (int i = 0; i < 9; i++) CHECK(stat(\"/tmp\", &st) == 0);\n"
                                  "  CHECK(!patched()); return 0; }\n";
    static const char vforks[] =
        "int main(void) { static struct stat st; int status; pid_t pid = vfork();\n"
        "  if (pid == 0) { for (int i = 0; i < 9; i++) stat(\"/tmp\", &st); _exit(patched()); }\n"
        "  CHECK(waitpid(pid, &status, 0) == pid && status == 0);\n"
        "  pid = fork(); if (pid == 0) {\n"
        "    CHECK(stat(\"/tmp\", &st) == 0); CHECK(stat(\"/tmp\", &st) == 0); CHECK(!patched());\n"
        "    _exit(stat(\"/tmp\", &st) != 0 || !patched()); }\n"
        "  CHECK(waitpid(pid, &status, 0) == pid && status == 0);\n"
        "  CHECK(!patched()); for (int i = 0; i < 3; i++) CHECK(stat(\"/tmp\", &st) == 0);\n"
        "  CHECK(patched()); return 0; }\n";

    (void)state;
    need_patching();
    open_reproducible();
    run("", threads);
    run("", vforks);
}

/* Code of the program's own, as a C library would have it: function(path, buffer) calls stat. */
#define OWN_CODE                                                                                   \
    "static const unsigned char code[] = \"\\xb8\\x04\\0\\0\\0\\x0f\\x05\\x48\\x3d\\0\\xf0\\xff"   \
    "\\xff\\xc3\";\ntypedef long function(const char *, void *);\n"

static void a_file_that_is_run_where_it_can_be_written_stays_as_it_is(void **state)
{
    static const char program[] = OWN_CODE
        "int main(void) { struct stat st; char now[sizeof(code)];\n"
        "  int fd = open(\"code\", O_RDWR | O_CREAT, 0700);\n"
        "  CHECK(write(fd, code, sizeof(code)) == sizeof(code));\n"
        "  void *at = mmap((void *)0x7ffff0000000, 4096, 7, MAP_SHARED | MAP_FIXED, fd, 0);\n"
        "  CHECK(at != MAP_FAILED);\n"
        "  for (int i = 0; i < 3; i++) CHECK(((function *)at)(\"/tmp\", &st) == 0);\n"
        "  CHECK(pread(fd, now, sizeof(now), 0) == sizeof(now) && !memcmp(now, code, "
        "sizeof(now)));\n"
        /* The same, private and not to be written: the copy is patched, the file is not. */
        "  at = mmap((void *)0x7ffff0100000, 4096, 5, MAP_PRIVATE | MAP_FIXED, fd, 0);\n"
        "  CHECK(at != MAP_FAILED);\n"
        "  for (int i = 0; i < 3; i++) CHECK(((function *)at)(\"/tmp\", &st) == 0);\n"
        "  CHECK(memcmp((char *)at + 5, \"\\x31\\xc9\\xe9\", 3) == 0);\n"
        "  CHECK(pread(fd, now, sizeof(now), 0) == sizeof(now) && !memcmp(now, code, "
        "sizeof(now)));\n"
        "  return 0; }\n";

    (void)state;
    need_patching();
    open_reproducible();
    run("", program);
}

static void more_places_than_there_are_ways_are_answered_as_well(void **state)
{
    static const char program[] = OWN_CODE
        "int main(void) { struct stat st, want; char *at = mmap((void *)0x7ffff0000000, 65536, 3,\n"
        "    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); int n = 0;\n"
        "  CHECK(stat(\"f\", &want) == 0);\n"
        "  for (int i = 0; i < 300; i++) memcpy(at + 64 * i, code, sizeof(code));\n"
        "  CHECK(mprotect(at, 65536, 5) == 0);\n"
        "  for (int round = 0; round < 3; round++) for (int i = 0; i < 300; i++) {\n"
        "    memset(&st, 0xaa, sizeof(st));\n"
        "    CHECK(((function *)(at + 64 * i))(\"f\", &st) == 0);\n"
        "    CHECK(memcmp(&st, &want, sizeof(st)) == 0); }\n"
        "  for (int i = 0; i < 300; i++) n += at[64 * i + 5] == 0x31;\n"
        "  CHECK(n > 100 && n < 128); return 0; }\n";

    (void)state;
    need_patching();
    open_reproducible();
    call("echo x > f", 0);
    run("", program);
}

static void a_program_that_spoils_the_ways_spoils_only_its_own(void **state)
{
    /* What stands where the supervisor counts the ways: nonsense, nothing, a file of the
     * program's. */
    static const char program[] = OWN_CODE "#define SITES ((char *)(" VALUE(
        NJ_LAYOUT_SITES) "))\n"
                         "int main(int argc, char **argv) { struct stat st; char now[4096], *at; "
                         "int fd;\n"
                         "  at = mmap((void *)0x7ffff0000000, 4096, 3, 0x32, -1, 0);\n"
                         "  for (int i = 0; i < 4; i++) memcpy(at + 64 * i, code, sizeof(code));\n"
                         "  CHECK(mprotect(at, 4096, 5) == 0);\n"
                         "  CHECK(mprotect(SITES, 4096, 3) == 0); memset(SITES, 0xff, 8);\n"
                         "  CHECK(((function *)at)(\"/tmp\", &st) == 0);\n"
                         "  CHECK(mprotect(SITES, 4096, 5) == 0);\n"
                         "  CHECK(((function *)at)(\"/tmp\", &st) == 0);\n"
                         "  CHECK(munmap(SITES, 4096) == 0);\n"
                         "  CHECK(((function *)(at + 64))(\"/tmp\", &st) == 0);\n"
                         "  fd = open(\"ways\", O_RDWR | O_CREAT, 0700); CHECK(ftruncate(fd, 4096) "
                         "== 0);\n"
                         "  CHECK(mmap(SITES, 4096, 7, MAP_SHARED | MAP_FIXED, fd, 0) == SITES);\n"
                         "  CHECK(((function *)(at + 128))(\"/tmp\", &st) == 0);\n"
                         "  CHECK(mmap(SITES, 4096, 5, MAP_SHARED | MAP_FIXED, fd, 0) == SITES);\n"
                         "  CHECK(((function *)(at + 192))(\"/tmp\", &st) == 0);\n"
                         "  memset(now, 1, 4096); CHECK(pread(fd, now, 4096, 0) == 4096);\n"
                         "  for (int i = 0; i < 4096; i++) CHECK(now[i] == 0);\n"
                         "  for (int i = 0; i < 4; i++) CHECK(memcmp(at + 64 * i, code, "
                         "sizeof(code)) == 0);\n"
                         "  return 0; }\n";
    /* The instruction that may ask unheard tells what the kernel says, and takes what it takes. */
    static const char jumps[] =
        "int main(void) { static struct stat st; long r = 262; struct stat *to = &st;\n"
        "  register long r10 __asm__(\"r10\") = 0;\n"
        "  void *look = (void *)(" VALUE(
            NJ_LAYOUT_LOOK) ");\n"
                            "  for (int i = 0; i < 2; i++) { r = 262;\n"
                            "    __asm__ volatile(\"call *%1\" : \"+a\"(r) : \"r\"(look), "
                            "\"D\"(-100L), \"S\"(\"f\"), "
                            "\"d\"(to), \"r\"(r10) : \"rcx\", \"r11\", \"memory\");\n"
                            "    CHECK(r == (i ? -EFAULT : 0)); to = (struct stat *)8; }\n"
                            "  r = 39; __asm__ volatile(\"call *%1\" : \"+a\"(r) : \"r\"(look) : "
                            "\"rcx\", \"r11\");\n"
                            "  CHECK(r == getpid()); r = 101;\n" /* ptrace: what the first filter
                                                                    refuses it refuses */
                            "  __asm__ volatile(\"call *%1\" : \"+a\"(r) : \"r\"(look), \"D\"(16L) "
                            ": \"rcx\", \"r11\", "
                            "\"memory\"); CHECK(r < 0);\n"
                            /* Of inodes that there are not it is told nothing, however many are
                               asked for. */
                            "  look = (void *)(" VALUE(
                                NJ_LAYOUT_ASK) "); for (long ino = 0; ino < 2000; ino++) { r = 5;\n"
                                               "    __asm__ volatile(\"call *%1\" : \"+a\"(r) : "
                                               "\"r\"(look), \"D\"(-1L), \"S\"(-1 - ino), "
                                               "\"d\"(0L) : \"rcx\", \"r11\", \"memory\"); CHECK(r "
                                               "== -EAGAIN); }\n"
                                               "  return 0; }\n";

    (void)state;
    open_reproducible();
    call("echo x > f", 0);
    run("", program);
    run("-Wno-stringop-overflow", jumps);
}

static void static_programs_and_others_are_answered_as_before(void **state)
{
    static const char program[] =
        "int main(void) { struct stat st; for (int i = 0; i < 3; i++) {\n"
        "  CHECK(stat(\"f\", &st) == 0 && st.st_dev == 40 && st.st_mtime == 1790000000); }\n"
        "  return 0; }\n";

    (void)state;
    open_reproducible();
    call("echo x > f", 0);
    run("-static -Wl,-w", program);
    run("-static-pie -Wl,-w", program);
    call("if command -v musl-gcc >/dev/null; then cd /tmp && sed /dlfcn/d t.c | sed '/patched/,/^  "
         "return 0; }$/d' > m.c && musl-gcc -o m m.c && musl-gcc -static -o ms m.c && "
         "cd /workspace && /tmp/m && /tmp/ms; fi",
         0);
    call("if command -v node >/dev/null; then node -e \"const s = require('fs').statSync('f', "
         "{bigint: true}); if (s.dev !== 40n || s.ctimeNs !== s.mtimeNs) process.exit(1)\"; fi",
         0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(the_image_tells_what_the_supervisor_tells),
        BOX_TEST(threads_signals_and_children_meet_in_a_patched_call),
        BOX_TEST(a_process_that_shares_its_memory_is_left_alone),
        BOX_TEST(a_file_that_is_run_where_it_can_be_written_stays_as_it_is),
        BOX_TEST(more_places_than_there_are_ways_are_answered_as_well),
        BOX_TEST(a_program_that_spoils_the_ways_spoils_only_its_own),
        BOX_TEST(static_programs_and_others_are_answered_as_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
