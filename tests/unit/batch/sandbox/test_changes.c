/*
 * test_changes.c - no change is missed, by whichever way this host tells of changes
 *
 * Each case changes files in a manner that sizes and times do not show, or hardly, and then has all
 * of them read: none may differ from what the capture named. Every way that the box can hear of
 * changes is tried.
 */
#include "harness.h"

#include <stdlib.h>

#include "batch/sandbox/changes.h"

#include "formats/base/banned.h"

static struct harness h;
static const char *forced; /* the way; NULL: the best */

static void nothing_is_missed(void)
{
    scan(&h);
    assert_int_equal(h.scan_misses, 0);
}

/* python - run a script in a box whose workspace is too large to be read for every call */
static void python(const char *script)
{
    const char *const argv[] = {"python3", "/run/change.py", NULL};
    struct nj_box_call call = shell_call(argv);

    call.script_name = "change.py";
    call.script = nj_span_text(script);
    call_with(&h, &call);
    if (h.failed || h.outcome.exit != NJ_EXIT_EXITED || h.outcome.status != 0)
        fail_msg("%s: %s%s", script, h.failed ? h.err.text : "", h.errors);
    nothing_is_missed();
}

static int set_up_files(void **state)
{
    if (forced)
        (void)setenv(NJ_CHANGES_ENV, forced, 1);
    else
        (void)unsetenv(NJ_CHANGES_ENV);
    (void)set_up(state);
    open_box(&h, NULL);
    sh_ok(&h, "mkdir d; head -c 12000000 /dev/zero > big; for i in 0 1 2 3 4 5 6 7 8 9; do printf "
              "aaaaaaaa > m$i; printf bbbbbbbb > d/m$i; done; ln m9 d/nine");
    return 0;
}

/* As first read and then written: tmpfs dates the fault of a write, and there is none. */
#define MAP                                                                                        \
    "import mmap, os, socket, array, sys, time\n"                                                  \
    "def map(path):\n"                                                                             \
    "    f = open(path, 'r+b'); m = mmap.mmap(f.fileno(), 8); f.close(); m.find(b'z'); return m\n"

static void a_mapping_read_first_and_then_written(void **state)
{
    struct nj_digest before = h.ref.tree;

    (void)state;
    python(MAP "before = os.stat('m0'); m = map('m0'); m[3:4] = b'B'; m.close()\n"
               "after = os.stat('m0')\n"
               "assert before.st_ctime_ns == after.st_ctime_ns, 'the kernel dates it now'\n");
    assert_false(nj_digest_equal(&before, &h.ref.tree));
}

static void a_mapping_that_only_the_end_of_the_process_closes(void **state)
{
    (void)state;
    python(MAP "m = map('d/m1'); m[3:4] = b'B'; os._exit(0)\n");
}

static void a_mapping_of_a_child_that_was_forked(void **state)
{
    (void)state;
    python(MAP "m = map('m2')\n"
               "if os.fork() == 0:\n"
               "    os.setsid(); time.sleep(0.05); m[1:2] = b'C'; time.sleep(60)\n"
               "time.sleep(0.2)\n"); /* the child is killed with the call */
}

static void a_mapping_made_writable_later(void **state)
{
    (void)state;
    python(MAP "import ctypes\n"
               "libc = ctypes.CDLL(None, use_errno=True)\n"
               "libc.mmap.restype = ctypes.c_void_p\n"
               "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + "
               "[ctypes.c_long]\n"
               "libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]\n"
               "fd = os.open('m3', os.O_RDWR); p = libc.mmap(None, 8, 1, 1, fd, 0); os.close(fd)\n"
               "assert ctypes.string_at(p, 8) == b'a' * 8\n"
               "assert libc.mprotect(p, 4096, 3) == 0\n"
               "ctypes.memmove(p, b'Q', 1)\n");
}

static void a_mapping_by_a_descriptor_that_was_passed_on(void **state)
{
    (void)state;
    python(MAP "a, b = socket.socketpair()\n"
               "if os.fork() == 0:\n"
               "    fd = os.open('m4', os.O_RDWR); socket.send_fds(a, [b'x'], [fd]); os._exit(0)\n"
               "_, fds, _, _ = socket.recv_fds(b, 1, 1)\n"
               "m = mmap.mmap(fds[0], 8); m.find(b'z'); m[0:1] = b'P'\n");
}

static void a_mapping_of_a_file_left_open_in_a_cycle_of_sockets(void **state)
{
    (void)state;
    python(MAP "a, b = socket.socketpair(); fd = os.open('m4', os.O_RDWR)\n"
               "m = mmap.mmap(fd, 8); m.find(b'z')\n"
               "socket.send_fds(a, [b'x'], [fd, a.fileno(), b.fileno()]); m[0:1] = b'S'\n");
    sh_ok(&h, "true");
    nothing_is_missed();
}

static void a_mapping_of_a_file_that_is_renamed_meanwhile(void **state)
{
    (void)state;
    python(MAP "m = map('m5'); n = map('d/m5'); os.mkdir('e'); os.rename('d', 'e/d'); "
               "os.rename('m5', 'e/new'); time.sleep(0.05); m[0:1] = b'R'; n[0:1] = b'R'\n");
}

static void a_mapping_by_another_of_its_names(void **state)
{
    (void)state;
    python(MAP "m = map('d/nine'); time.sleep(0.05); m[0:1] = b'L'\n");
    python(MAP "m = map('m9'); time.sleep(0.05); m[1:2] = b'L'\n");
}

static void a_mapping_by_the_name_that_a_descriptor_has(void **state)
{
    (void)state;
    python(MAP
           "fd = os.open('m6', os.O_RDONLY); m = map('/proc/self/fd/%d' % fd); m[0:1] = b'D'\n"
           "fd = os.open('d', os.O_RDONLY); os.chdir('/'); m = map('/proc/self/fd/%d/m6' % fd); "
           "m[0:1] = b'D'\n");
}

static void a_mapping_of_what_was_restored(void **state)
{
    struct nj_workspace_ref ref = h.ref;

    (void)state;
    nj_box_close(h.box);
    open_box(&h, NULL);
    restore(&h, &ref);
    python(MAP "m = map('m7'); n = map('d/m7'); m[0:1] = b'7'; n[0:1] = b'7'; m.flush()\n");
}

static void a_mapping_of_what_was_put_back(void **state)
{
    struct nj_workspace_ref ref = h.ref;

    (void)state;
    sh_ok(&h, "echo other > m7; touch m6 d/m7; mv d/m5 d/x; mv d/x d/m5; rm d/m4");
    restore(&h, &ref);
    nothing_is_missed();
    python(MAP "for p in 'm6', 'm7', 'd/m4', 'd/m5', 'd/m7', 'd/m8':\n"
               "    m = map(p); m[0:1] = b'7'; m.close()\n");
}

static void a_mapping_of_a_new_file_in_a_new_directory_then_again(void **state)
{
    (void)state;
    python(MAP "os.makedirs('x/y'); open('x/y/f', 'wb').write(b'f' * 8); time.sleep(0.05); m = "
               "map('x/y/f'); m[0:1] = b'1'\n");
    python(MAP "time.sleep(0.05); m = map('x/y/f'); m[0:1] = b'2'\n");
    python(MAP "os.rename('x', 'w')\n");
    python(MAP "time.sleep(0.05); m = map('w/y/f'); m[0:1] = b'3'\n");
}

static void what_another_process_writes_into_a_mapping(void **state)
{
    (void)state;
    python(MAP "fd = os.open('m8', os.O_RDWR); m = mmap.mmap(fd, 8); m.find(b'z'); os.close(fd)\n"
               "r, w = os.pipe(); os.write(w, b'PIPEPIPE'); f = os.fdopen(r, 'rb', 0)\n"
               "assert f.readinto(m) == 8\n"); /* read() as the writer */
}

static void attributes_of_links_fifos_and_sockets(void **state)
{
    (void)state;
    python("import os, socket\n"
           "os.mkdir('e'); os.symlink('x', 'd/l'); os.mkfifo('d/p'); os.symlink('x', 'd/n')\n"
           "os.mkfifo('d/q'); os.link('d/q', 'e/q')\n"
           "socket.socket(socket.AF_UNIX).bind('d/s')\n");
    python("import os; os.utime('d/l', (5, 5), follow_symlinks=False)");
    python("import os; os.chmod('d/p', 0o600)");
    python("import os; os.write(os.open('d/p', os.O_RDWR), b'dates it')");
    python("import os; os.chmod('d/s', 0o600)");
    python("import os; os.utime('e/q', (5, 5))");
    python("import os; os.link('d/n', 'e/n', follow_symlinks=False)");
    python("import os; os.utime('e/n', (5, 5), follow_symlinks=False)");
    python("import os; os.remove('e/n'); os.utime('d/n', (7, 7), follow_symlinks=False)");
}

static void what_the_box_itself_puts_back(void **state)
{
    static const char *const frozen[] = {"/workspace/e/frozen"};
    struct nj_box_plan plan;

    (void)state;
    nj_box_plan_default(&plan);
    plan.read_only_paths = frozen;
    plan.n_read_only_paths = 1;
    nj_box_close(h.box);
    open_box(&h, &plan);
    sh_ok(&h, "mv e moved");
    sh_ok(&h, "test -d e/frozen"); /* made again for this call, and there when it is over */
    nothing_is_missed();
}

static void steps_within_a_millisecond(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        char script[128];

        /* Same size, and mostly the same tick of the clock that files are dated by. */
        snprintf(script, sizeof(script), "printf %08d > m0; printf %08d > d/m0", i, i + 1);
        sh_ok(&h, script);
        assert_true(h.objects_bytes > 0);
        nothing_is_missed();
    }
}

static void more_changes_than_any_queue_holds(void **state)
{
    (void)state;
    python("import os\n"
           "os.mkdir('many')\n"
           "for i in range(20000): open('many/%d' % i, 'w').close()\n"
           "for i in range(0, 20000, 3): os.unlink('many/%d' % i)\n"
           "open('many/1', 'w').write('x')\n");
    sh_ok(&h, "printf cccccccc > d/m9; rm -r many");
    nothing_is_missed();
}

static void deleted_but_open_files_are_no_part_of_it(void **state)
{
    struct nj_digest before = h.ref.tree;

    (void)state;
    python(MAP "f = open('gone', 'w+b'); f.write(b'g' * 8); f.flush(); m = mmap.mmap(f.fileno(), "
               "8); os.unlink('gone'); m[0:1] = b'x'\n"
               "t = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); os.write(t, b'never linked')\n");
    assert_true(nj_digest_equal(&before, &h.ref.tree));
    python(MAP "t = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); os.write(t, b'linked late')\n"
               "os.link(str(t), 'late', src_dir_fd=os.open('/proc/self/fd', 0), "
               "follow_symlinks=True); m = mmap.mmap(t, 8); "
               "m.find(b'z'); m[0:1] = b'L'\n");
    sh_ok(&h, "cat late; rm late");
    assert_string_equal(h.out, "Linked late");
}

static void a_reader_costs_nothing(void **state)
{
    (void)state;
    sh_ok(&h, "sleep 0.05; cat big m* d/* > /dev/null");
    assert_int_equal(h.files_hashed, forced ? 1 : 0); /* one has two names: inotify cannot tell */
}

/* One step of changes to whatever tree there is, of all kinds that change one. */
static const char step_at_random[] =
    "import os, random, sys, mmap\n"
    "r = random.Random(sys.argv[1])\n"
    "dirs, files, all = ['.'], [], []\n"
    "for p, ds, fs in os.walk('.'):\n"
    "    dirs += [p + '/' + d for d in ds]; all += [p + '/' + n for n in ds + fs]\n"
    "    files += [p + '/' + f for f in fs if os.path.isfile(p + '/' + f)]\n"
    "dirs.sort(); files.sort(); all.sort()\n"
    "def new(): return r.choice(dirs) + '/' + r.choice('abcdefghijklmnop') * r.choice([1, 2, "
    "200])\n"
    "for _ in range(r.choice([0, 1, 1, 2, 5, 20])):\n"
    "    k = r.randrange(15)\n"
    "    try:\n"
    "        if k < 3:\n"
    "            p = new(); open(p, 'xb').write(r.randbytes(r.choice([0, 9, 5000]))); "
    "files.append(p); all.append(p)\n"
    "        elif k == 3: p = new(); os.mkdir(p); dirs.append(p); all.append(p)\n"
    "        elif k == 4: os.symlink(new(), new())\n"
    "        elif k == 5: os.mkfifo(new())\n"
    "        elif k == 6: os.link(r.choice(files), new())\n"
    "        elif k == 7: os.rename(r.choice(all), new())\n"
    "        elif k == 8: os.remove(r.choice(files))\n"
    "        elif k == 9: os.system('rm -r ' + r.choice(dirs[1:]))\n"
    "        elif k == 10: os.utime(r.choice(all), ns=(0, r.randrange(10**18)), "
    "follow_symlinks=False)\n"
    "        elif k == 11: os.chmod(r.choice(all), r.choice([0o700, 0o755, 0o777]))\n"
    "        elif k == 12: os.setxattr(r.choice(all), 'user.' + r.choice('xyz'), r.randbytes(3))\n"
    "        elif k == 13: open(r.choice(files), 'r+b').write(r.randbytes(2))\n"
    "        else:\n"
    "            f = open(r.choice(files), 'r+b'); m = mmap.mmap(f.fileno(), 0); m.find(b'zz'); "
    "m[0] = r.randrange(256)\n"
    "    except (OSError, ValueError, IndexError): pass\n";

static void any_steps_are_captured_as_a_walk_of_all_would(void **state)
{
    unsigned seed =
        getenv("NJ_TEST_SEED") ? (unsigned)strtoul(getenv("NJ_TEST_SEED"), NULL, 10) : 1;
    unsigned steps = getenv("NJ_FULL") ? 1000 : 25;

    (void)state;
    for (unsigned i = 0; i < steps; i++) {
        char name[32];
        const char *const argv[] = {"python3", "/run/step.py", name, NULL};
        struct nj_box_call call = shell_call(argv);

        snprintf(name, sizeof(name), "%u.%u", seed, i);
        call.script_name = "step.py";
        call.script = nj_span_text(step_at_random);
        call_with(&h, &call);
        if (h.failed || h.outcome.status != 0)
            fail_msg("step %s: %s %s", name, h.failed ? h.err.text : "", h.errors);
        scan(&h);
        if (h.scan_misses != 0)
            fail_msg("step %s: %llu misses", name, (unsigned long long)h.scan_misses);
        if (i % 20 == 19) { /* what is shared between tables goes on after a restore */
            struct nj_workspace_ref ref = h.ref;

            nj_box_close(h.box);
            open_box(&h, NULL);
            restore(&h, &ref);
        }
    }
}

#define TEST(name) BOX_TEST_AFTER(name, set_up_files)

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mapping_read_first_and_then_written),
        TEST(a_mapping_that_only_the_end_of_the_process_closes),
        TEST(a_mapping_of_a_child_that_was_forked),
        TEST(a_mapping_made_writable_later),
        TEST(a_mapping_by_a_descriptor_that_was_passed_on),
        TEST(a_mapping_of_a_file_left_open_in_a_cycle_of_sockets),
        TEST(a_mapping_of_a_file_that_is_renamed_meanwhile),
        TEST(a_mapping_by_another_of_its_names),
        TEST(a_mapping_by_the_name_that_a_descriptor_has),
        TEST(a_mapping_of_what_was_restored),
        TEST(a_mapping_of_what_was_put_back),
        TEST(a_mapping_of_a_new_file_in_a_new_directory_then_again),
        TEST(what_another_process_writes_into_a_mapping),
        TEST(attributes_of_links_fifos_and_sockets),
        TEST(what_the_box_itself_puts_back),
        TEST(steps_within_a_millisecond),
        TEST(more_changes_than_any_queue_holds),
        TEST(deleted_but_open_files_are_no_part_of_it),
        TEST(a_reader_costs_nothing),
        TEST(any_steps_are_captured_as_a_walk_of_all_would),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

static int run_some(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mapping_read_first_and_then_written), TEST(a_mapping_of_what_was_restored),
        TEST(a_mapping_of_what_was_put_back),        TEST(steps_within_a_millisecond),
        TEST(more_changes_than_any_queue_holds),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    int failures = run_both_ways(run_some, "changes told the best way");

    failures += run("changes told the best way, of all kinds") != 0;
    forced = "inotify";
    failures += run("changes told by inotify") != 0;
    forced = "nothing"; /* all is read, so there is little to go wrong */
    return failures + (run_some("changes not told") != 0);
}
