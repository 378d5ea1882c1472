/*
 * test_clock.c - the same code gives the same time and the same randomness
 *
 * Each program runs in two boxes with the same seed, step and start, and must print the same bytes;
 * and with another seed others, so nothing is merely constant.
 */
#include "../harness.h"

#include "batch/sandbox/virtual/layout.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "formats/base/banned.h"

#define TEXT_OF(macro) #macro
#define VALUE(macro) TEXT_OF(macro)

#define START_NS INT64_C(1767225600000000000) /* 2026-01-01 */

static struct harness h;

static struct nj_box_call virtual_call(const char *const *argv, uint8_t seed)
{
    struct nj_box_call call = shell_call(argv);

    call.step = 7;
    call.clock_ns = START_NS;
    memset(call.seed, seed, sizeof(call.seed));
    return call;
}

/* run - in the open box; the call must end with 0 at level 1 */
static void run(const char *command, uint8_t seed)
{
    const char *const argv[] = {"bash", "-c", command, NULL};
    struct nj_box_call call = virtual_call(argv, seed);

    call_with(&h, &call);
    if (h.failed)
        fail_msg("%s: %s", command, h.err.text);
    if (h.outcome.exit != NJ_EXIT_EXITED || h.outcome.status != 0)
        fail_msg("%s: exit %d status %d\n%s\n%s\n%s", command, (int)h.outcome.exit,
                 h.outcome.status, h.text, h.out, h.errors);
    if (h.meta.level != 1)
        fail_msg("%s: level %u: %s", command, h.meta.level, nj_lowered_text(h.meta.lowered));
}

/* run_equal - twice, the second time in a box of its own */
static void run_equal(const char *command)
{
    struct nj_box_plan plan;
    char *first;
    long at;

    nj_box_plan_default(&plan);
    plan.level = 1;
    run(command, 1);
    first = strdup(h.out);
    assert_non_null(first);
    nj_box_close(h.box);
    open_box(&h, &plan);
    run(command, 1);
    at = difference(first, h.out);
    if (at >= 0)
        fail_msg("%s: differs at byte %ld:\n%.60s\n%.60s", command, at, first + at, h.out + at);
    free(first);
}

static void a_shell_has_the_same_time_and_random_numbers(void **state)
{
    (void)state;
    run_equal("date +%s.%N; echo $RANDOM $EPOCHREALTIME $SRANDOM; times; date -u +%F");
    assert_non_null(strstr(h.out, "1767225600."));
    assert_non_null(strstr(h.out, "2026-01-01"));
}

static void another_seed_gives_other_numbers_at_the_same_time(void **state)
{
    char *first;

    (void)state;
    run("python3 -c 'import os; print(os.urandom(8).hex(), hash(\"x\"))'", 1);
    first = strdup(h.out);
    run("python3 -c 'import os; print(os.urandom(8).hex(), hash(\"x\"))'", 2);
    assert_string_not_equal(h.out, first);
    free(first);
}

static void python_is_the_same(void **state)
{
    (void)state;
    run_equal(
        "python3 -c '\n"
        "import time, uuid, random, os, tempfile, secrets, resource, threading\n"
        "print(time.time_ns(), time.monotonic_ns(), time.process_time_ns())\n"
        "print(uuid.uuid4(), uuid.uuid1().time, random.random(), os.urandom(40).hex())\n"
        "print(hash(\"abc\"), secrets.token_hex(8), tempfile.mktemp())\n"
        "print(os.times(), resource.getrusage(resource.RUSAGE_SELF), id(object()))\n"
        "t = threading.Thread(target=lambda: print(os.urandom(4).hex())); t.start(); t.join()\n"
        "pid = os.fork()\n"
        "if pid == 0: print(os.urandom(4).hex(), flush=True); os._exit(0)\n"
        "os.waitpid(pid, 0)'");
}

static void other_programs_are_the_same(void **state)
{
    (void)state;
    run_equal("perl -MTime::HiRes=time -e 'print time(), \" \", Time::HiRes::clock_gettime(1), "
              "\"\\n\"'; mktemp -u; awk 'BEGIN { srand(); print srand(), rand() }'");
    run_equal("command -v node >/dev/null || exit 0; node -e 'console.log(Date.now(), "
              "Math.random(), process.hrtime.bigint(), require(\"crypto\").randomUUID(), "
              "performance.now()); setTimeout(() => console.log(Date.now()), 50)'");
}

static const char raw_program[] =
    "cat > raw.c <<'E'\n"
    "#define _GNU_SOURCE\n"
    "#include <stdio.h>\n#include <stdint.h>\n#include <time.h>\n#include <unistd.h>\n"
    "#include <sys/syscall.h>\n#include <sys/time.h>\n#include <sys/times.h>\n"
    "#include <sys/sysinfo.h>\n#include <sys/resource.h>\n#include <sys/auxv.h>\n"
    "int main(void) {\n"
    "  struct timespec t; struct timeval v; struct tms m; struct sysinfo s; struct rusage u;\n"
    "  unsigned cpu = 9, node = 9; uint32_t r[9];\n"
    "  for (int c = 0; c < 12; c++) if (syscall(SYS_clock_gettime, c, &t) == 0)\n"
    "    printf(\"%d %ld.%09ld\\n\", c, t.tv_sec, t.tv_nsec);\n"
    "  for (int c = 0; c < 12; c++) if (clock_gettime(c, &t) == 0)\n"
    "    printf(\"%d %ld.%09ld\\n\", c, t.tv_sec, t.tv_nsec);\n"
    "  syscall(SYS_gettimeofday, &v, 0); printf(\"%ld.%06ld\\n\", v.tv_sec, v.tv_usec);\n"
    "  printf(\"%ld %ld\\n\", syscall(SYS_time, 0), times(&m)); sysinfo(&s);\n"
    "  printf(\"%ld %lu %d\\n\", s.uptime, s.totalram, s.procs); getrusage(0, &u);\n"
    "  printf(\"%ld.%06ld\\n\", u.ru_utime.tv_sec, u.ru_utime.tv_usec);\n"
    "  syscall(SYS_getcpu, &cpu, &node, 0); syscall(SYS_getrandom, r, sizeof(r), 0);\n"
    "  printf(\"%u %u %08x %08x %d\\n\", cpu, node, r[0], r[8], clock_getres(1, &t));\n"
    "  const unsigned char *a = (void *)getauxval(AT_RANDOM);\n"
    "  printf(\"%02x%02x %p\\n\", a[0], a[15], (void *)&t);\n"
    "  printf(\"%s %s\\n\", __DATE__, __TIME__);\n"
    "  return syscall(SYS_clock_gettime, 0, 8L) == 0; }\n"
    "E\n";

static void raw_calls_and_static_programs_are_the_same(void **state)
{
    char command[4096];

    (void)state;
    (void)snprintf(command, sizeof(command),
                   "%s gcc -o raw raw.c && ./raw && gcc -static -o raw raw.c && ./raw && "
                   "if command -v musl-gcc >/dev/null; then musl-gcc -o raw raw.c && ./raw && "
                   "musl-gcc -static -o raw raw.c && ./raw; fi",
                   raw_program);
    run_equal(command);
}

static void sleeps_take_their_time_and_move_the_clock_by_it(void **state)
{
    double before = real_seconds();

    (void)state;
    run("a=$EPOCHREALTIME; sleep 0.5; b=$EPOCHREALTIME; echo $((${b/./} - ${a/./}))", 1);
    assert_true(real_seconds() - before >= 0.5);
    assert_in_range(strtoull(h.out, NULL, 10), 500000, 500999);
    run_equal("python3 -c '\n"
              "import time, select, threading, asyncio, socket, signal\n"
              "def took(what):\n"
              "  a = time.monotonic_ns(); what(); print((time.monotonic_ns() - a) // 1000)\n"
              "lock = threading.Lock(); lock.acquire()\n"
              "cond = threading.Condition(); pair = socket.socketpair(); pair[0].settimeout(0.1)\n"
              "def receive():\n"
              "  try: pair[0].recv(1)\n"
              "  except TimeoutError: pass\n"
              "def held():\n"
              "  with cond: cond.wait(0.1)\n"
              "took(lambda: time.sleep(0.1)); took(lambda: select.select([], [], [], 0.1))\n"
              "took(lambda: select.poll().poll(100)); took(lambda: select.epoll().poll(0.1))\n"
              "took(lambda: lock.acquire(timeout=0.1)); took(held); took(receive)\n"
              "took(lambda: asyncio.run(asyncio.sleep(0.1)))\n"
              "took(lambda: signal.sigtimedwait([signal.SIGUSR1], 0.1))'");
    assert_null(strstr(h.out, "-"));
}

static void a_deadline_on_the_virtual_clock_is_waited_for(void **state)
{
    double before;

    (void)state;
    run("cat > deadline.c <<'E'\n"
        "#include <time.h>\n#include <stdio.h>\n#include <errno.h>\n#include <pthread.h>\n"
        "int main(void) { struct timespec a, b; pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;\n"
        "  pthread_cond_t c = PTHREAD_COND_INITIALIZER;\n"
        "  for (int k = 0; k < 2; k++) { clock_gettime(k, &a); a.tv_nsec += 200000000;\n"
        "    if (a.tv_nsec > 999999999) { a.tv_sec++; a.tv_nsec -= 1000000000; }\n"
        "    if (clock_nanosleep(k, TIMER_ABSTIME, &a, 0)) return 1;\n"
        "    clock_gettime(k, &b); if (b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && "
        "b.tv_nsec < a.tv_nsec)) return 2; }\n"
        "  clock_gettime(0, &a); a.tv_sec++; pthread_mutex_lock(&m);\n"
        "  if (pthread_cond_timedwait(&c, &m, &a) != ETIMEDOUT) return 3;\n"
        "  clock_gettime(0, &b); if (b.tv_sec < a.tv_sec) return 4;\n"
        "  a.tv_sec -= 10; return pthread_cond_timedwait(&c, &m, &a) != ETIMEDOUT; }\n"
        "E\n"
        "gcc -o deadline deadline.c",
        1);
    before = real_seconds();
    run("./deadline", 1);
    assert_true(real_seconds() - before >= 1.4);
}

static void timers_end_programs_in_time(void **state)
{
    double before = real_seconds();

    (void)state;
    run("timeout 0.5 sleep 10; test $? = 124 && timeout 0.3 bash -c 'while :; do :; done'; "
        "test $? = 124",
        1);
    assert_in_range((uint64_t)((real_seconds() - before) * 1000), 800, 8000);
    run("python3 -c '\n"
        "import signal, time\n"
        "fired = []\n"
        "signal.signal(signal.SIGALRM, lambda *a: fired.append(time.monotonic()))\n"
        "start = time.monotonic(); signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)\n"
        "time.sleep(1.1); end = time.monotonic()\n"
        "assert end - start >= 1.1, end - start\n"
        "for i in range(200): len(fired) < 5 and time.sleep(0.1) # a busy machine joins some\n"
        "assert len(fired) >= 5, fired\n"
        "for i, at in enumerate(fired): assert at - start >= 0.2 * (i + 1), (i, at - start)'",
        1);
}

static void the_clock_never_goes_back(void **state)
{
    (void)state;
    run("python3 -c '\n"
        "import mmap, os, struct, threading, time\n"
        "shared = mmap.mmap(-1, 4096)\n"
        "bad = []\n"
        "def look():\n"
        "  for i in range(200):\n"
        "    before, = struct.unpack_from(\"q\", shared)\n"
        "    now = time.monotonic_ns()\n"
        "    if now <= before: bad.append((before, now))\n"
        "    struct.pack_into(\"q\", shared, 0, now)\n"
        "threads = [threading.Thread(target=look) for i in range(64)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "for i in range(100):\n"
        "  if os.fork() == 0: look(); os._exit(1 if bad else 0)\n"
        "for i in range(100): assert os.wait()[1] == 0\n"
        "one = time.monotonic_ns(); pid = os.fork()\n"
        "if pid == 0: os._exit(0 if time.monotonic_ns() > one else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0'",
        1);
}

static void threads_execs_and_signals_come_in_storms(void **state)
{
    (void)state;
    run("cat > storm.c <<'E'\n"
        "#define _GNU_SOURCE\n"
        "#include <pthread.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <time.h>\n"
        "#include <unistd.h>\n#include <sys/wait.h>\n"
        "static void *nap(void *a) { struct timespec t = {0, 300000000}; nanosleep(&t, 0); "
        "return a; }\n"
        "static void *become(void *a) { execl(\"/bin/echo\", \"echo\", \"of a thread\", NULL); "
        "return a; }\n"
        "int main(void) { pthread_t t[64]; struct timespec a, b; int st;\n"
        "  clock_gettime(1, &a); for (int i = 0; i < 64; i++) pthread_create(t + i, 0, nap, 0);\n"
        "  for (int i = 0; i < 64; i++) pthread_join(t[i], 0); clock_gettime(1, &b);\n"
        "  double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;\n"
        "  if (s < 0.3 || s > 0.7) return 1; /* all at once, not one behind the other */\n"
        "  for (int i = 0; i < 20; i++) { pid_t p = vfork(); if (p == 0) {\n"
        "    execl(\"/none\", \"none\", NULL); execl(\"/bin/true\", \"true\", NULL); _exit(9); }\n"
        "    if (waitpid(p, &st, 0) != p || st) return 2; }\n"
        "  for (int i = 0; i < 5; i++) pthread_create(t + i, 0, nap, 0);\n"
        "  pthread_create(t + 9, 0, become, 0); pause(); return 3; }\n"
        "E\n"
        "gcc -O1 -pthread -o storm storm.c && ./storm && "
        "for i in $(seq 100); do /bin/true & done; wait; "
        "for i in 1 2 3; do none_of_this 2>/dev/null; done; ls /proc/self/fd | wc -l",
        1);
    assert_string_equal(h.out, "of a thread\n4\n");
    run("python3 -c '\n"
        "import os, signal, time\n"
        "heard = []\n"
        "signal.signal(signal.SIGUSR1, lambda *a: heard.append(1))\n"
        "me = os.getpid(); child = os.fork()\n"
        "if child == 0:\n"
        "  for i in range(2000): os.kill(me, signal.SIGUSR1)\n"
        "  os._exit(0)\n"
        "start = time.monotonic()\n"
        "for i in range(10): time.sleep(0.02)\n"
        "assert time.monotonic() - start >= 0.2 and heard; os.waitpid(child, 0)'",
        1);
}

static void what_spoils_the_clock_lowers_the_level(void **state)
{
    const char *const argv[] = {
        "bash", "-c",
        "cat > spoil.c <<'E'\n"
        "int main(void) { *(volatile long *)(" VALUE(
            NJ_LAYOUT_CLOCK) ") = 1L << 62; "
                             "return 0; }\nE\ngcc -o spoil spoil.c && ./spoil",
        NULL};
    struct nj_box_call call = virtual_call(argv, 1);

    (void)state;
    call_with(&h, &call);
    assert_int_equal(h.outcome.exit, NJ_EXIT_EXITED);
    assert_int_equal(h.outcome.status, 0);
    assert_int_equal(h.meta.level, 0);
    assert_int_equal(h.meta.lowered, NJ_LOWERED_TAMPERED);
    assert_in_range((uint64_t)(h.meta.clock_ns - START_NS) / 1000000, 0, 600000);
    run("date +%F", 1); /* the next call has a page of its own */
    assert_string_equal(h.out, "2026-01-01\n");
}

static void a_program_without_room_for_the_image_begins_all_the_same(void **state)
{
    const char *const argv[] = {
        "bash", "-c",
        "cat > full.c <<'E'\n"
        "#include <stdio.h>\n#include <sys/auxv.h>\n#include <time.h>\n#include <unistd.h>\n"
        "__attribute__((section(\".full\"), used)) char full[4096] = {1};\n"
        "int main(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t);\n"
        "  printf(\"%lx %d %ld\\n\", getauxval(AT_SYSINFO_EHDR), dup(0), (long)t.tv_sec); return "
        "0; }\n"
        "E\n"
        "gcc -no-pie -Wl,--section-start=.full=" VALUE(NJ_LAYOUT_BASE) " -o full full.c && ./full",
        NULL};
    struct nj_box_call call = virtual_call(argv, 1);

    (void)state;
    call_with(&h, &call);
    assert_int_equal(h.outcome.status, 0);
    /* No vDSO, no descriptor of ours, and still the virtual clock: its calls are told. */
    assert_string_equal(h.out, "0 3 1767225600\n");
    assert_int_equal(h.meta.level, 0);
    assert_int_equal(h.meta.lowered, NJ_LOWERED_EXEC);
}

static void a_host_that_lacks_the_means_says_so(void **state)
{
    static const struct {
        const char *lack;
        enum nj_lowered lowered;
        unsigned level; /* of D2 */
    } cases[] = {{"seccomp-notify", NJ_LOWERED_LISTENER, 0},
                 {"seccomp-killable", NJ_LOWERED_LISTENER, 0},
                 {"ptrace", NJ_LOWERED_TRACE, 0},
                 {"fuse", NJ_LOWERED_DEVICES, 0},
                 {"fanotify", NJ_LOWERED_TIMES, 1}};
    const char *const argv[] = {"date", "+%Y", NULL};
    struct nj_box_call call = virtual_call(argv, 1);
    struct nj_box_plan plan;

    (void)state;
    nj_box_plan_default(&plan);
    plan.level = 2;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stop(&h);
        assert_int_equal(setenv("NJ_TEST_LACK", cases[i].lack, 1), 0);
        start(&h);
        open_box(&h, &plan);
        call_with(&h, &call);
        assert_int_equal(unsetenv("NJ_TEST_LACK"), 0);
        assert_false(h.failed);
        assert_int_equal(h.outcome.status, 0);
        assert_int_equal(h.meta.level, cases[i].level);
        assert_int_equal(h.meta.lowered, cases[i].lowered);
    }
}

static void what_children_used_is_the_same(void **state)
{
    (void)state;
    run("cat >w.py <<'E'\nimport os, resource, signal, subprocess, time\n"
        "def child(status, work):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        work(); os._exit(status)\n"
        "    return pid\n"
        "def spin(): sum(range(300000))\n"
        "pid = child(7, spin)\n"
        "got, status, usage = os.wait4(pid, 0)\n"
        "assert got == pid and os.WEXITSTATUS(status) == 7, (got, status)\n"
        "assert tuple(usage)[:4] == (0.0, 0.0, 0, 0) and usage.ru_minflt == 0, usage\n"
        "try: os.wait4(-1, 0); assert False\n"
        "except ChildProcessError: pass\n"
        "pid = child(0, lambda: time.sleep(5))\n"
        "assert os.wait4(pid, os.WNOHANG)[0] == 0\n"
        "os.kill(pid, signal.SIGKILL)\n"
        "assert os.WTERMSIG(os.wait4(pid, 0)[1]) == 9\n"
        "hits = []\n"
        "signal.signal(signal.SIGALRM, lambda *a: hits.append(1))\n"
        "pid = child(3, lambda: time.sleep(0.3))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "assert os.WEXITSTATUS(os.wait4(pid, 0)[1]) == 3 and hits == [1]\n"
        "print('well')\nE\npython3 w.py",
        1);
    assert_string_equal(h.out, "well\n");
}

static void one_processor_is_shown(void **state)
{
    (void)state;
    run("nproc; python3 -c 'import os; print(os.sched_getaffinity(0), os.cpu_count())'; "
        "taskset -pc $$ 2>/dev/null | sed \"s/.*: //\"",
        1);
    assert_non_null(strstr(h.out, "1\n{0} "));
}

static void a_killed_supervisor_leaves_nothing(void **state)
{
    const char *const argv[] = {"bash", "-c", "sleep 600 & sleep 600", NULL};
    struct nj_box_call call = virtual_call(argv, 1);
    struct nj_error err;

    (void)state;
    h.done = false;
    must(nj_box_call(h.box, &call, on_output, on_called, &h, &err), &err);
    for (int i = 0; i < 20; i++)
        (void)event_base_loop(h.base, EVLOOP_NONBLOCK), (void)usleep(10000);
    assert_int_equal(kill(nj_box_supervisor_pid(h.box), SIGKILL), 0);
    run_until_done(&h);
    assert_true(h.failed);
    assert_int_equal(h.err.code, NJ_E_UPSTREAM);
    /* stop() waits for the helper, which waits for every process of the box. */
}

/* Of the engine's own surroundings nothing comes into a box. */
static void who_started_the_engine_makes_no_difference(void **state)
{
    static const char command[] =
        "ulimit -Sa; ulimit -Ha; env | sort; umask; id; hostname; nproc; nice; echo $$ $PPID; pwd;"
        "trap; cut -d' ' -f1 /proc/self/maps; cat /proc/self/limits /proc/self/oom_score_adj; ls "
        "/proc/self/fd; od -An -tx8 /proc/self/auxv; python3 -c 'import ctypes\n"
        "print(ctypes.CDLL(None).syscall(334, 0, 0, 0, 0))'"; /* rseq */
    static const int resources[] = {RLIMIT_STACK, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_NOFILE,
                                    RLIMIT_SIGPENDING};
    struct rlimit limits[sizeof(resources) / sizeof(resources[0])];
    static char first[sizeof(h.out)];
    struct nj_box_plan plan;
    mode_t mask;
    long at;

    (void)state;
    run(command, 1);
    memcpy(first, h.out, sizeof(first));
    stop(&h);
    mask = umask(077);
    assert_int_equal(setenv("NJ_TEST_STRANGER", "here", 1), 0);
    for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
        struct rlimit half;

        assert_int_equal(getrlimit(resources[i], &limits[i]), 0);
        half = limits[i];
        half.rlim_cur = limits[i].rlim_cur / 2 < 65536 ? limits[i].rlim_cur / 2 : 65536;
        half.rlim_cur = resources[i] == RLIMIT_STACK ? 2 << 20 : half.rlim_cur;
        assert_int_equal(setrlimit(resources[i], &half), 0);
    }
    start(&h);
    nj_box_plan_default(&plan);
    plan.level = 1;
    open_box(&h, &plan);
    run(command, 1);
    for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++)
        assert_int_equal(setrlimit(resources[i], &limits[i]), 0);
    assert_int_equal(unsetenv("NJ_TEST_STRANGER"), 0);
    (void)umask(mask);
    at = difference(first, h.out);
    if (at >= 0)
        fail_msg("differs at byte %ld:\n%.90s\n%.90s", at, first + at, h.out + at);
    assert_non_null(strstr(h.out, "\n-1\n"));
}

static int set_up_clock(void **state)
{
    struct nj_box_plan plan;

    (void)set_up(state);
    nj_box_plan_default(&plan);
    plan.level = 1;
    open_box(&h, &plan);
    return 0;
}

#define TEST(name) BOX_TEST_AFTER(name, set_up_clock)

static int run_cases(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(a_shell_has_the_same_time_and_random_numbers),
        TEST(another_seed_gives_other_numbers_at_the_same_time),
        TEST(python_is_the_same),
        TEST(other_programs_are_the_same),
        TEST(raw_calls_and_static_programs_are_the_same),
        TEST(sleeps_take_their_time_and_move_the_clock_by_it),
        TEST(a_deadline_on_the_virtual_clock_is_waited_for),
        TEST(timers_end_programs_in_time),
        TEST(the_clock_never_goes_back),
        TEST(threads_execs_and_signals_come_in_storms),
        TEST(what_spoils_the_clock_lowers_the_level),
        TEST(a_program_without_room_for_the_image_begins_all_the_same),
        TEST(a_host_that_lacks_the_means_says_so),
        TEST(what_children_used_is_the_same),
        TEST(one_processor_is_shown),
        TEST(who_started_the_engine_makes_no_difference),
        TEST(a_killed_supervisor_leaves_nothing),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run_cases, "clock");
}
