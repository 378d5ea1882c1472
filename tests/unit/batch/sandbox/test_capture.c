/*
 * test_capture.c - what a box keeps: captured, restored, captured again
 *
 * The property behind all of it: restoring what a capture named gives the same two digests,
 * whatever the tree.
 */
#include "harness.h"

#include <stdlib.h>

#include "formats/base/banned.h"

static struct harness h;

/* again - into a box of its own: the restored state must be named the same, by the restore and by
 * the next call, when that only looks (@check NULL, or beginning with ":") */
static void again(const char *check)
{
    struct nj_workspace_ref ref = h.ref;

    nj_box_close(h.box);
    open_box(&h, NULL);
    restore(&h, &ref);
    sh_ok(&h, check ? check : "true");
    if (!check || strncmp(check, ":", 1) == 0) {
        assert_true(nj_digest_equal(&h.ref.tree, &ref.tree));
        assert_true(nj_digest_equal(&h.ref.stamps, &ref.stamps));
        assert_int_equal(h.objects_bytes, 0);
    }
}

static struct nj_object_source store_source(struct nj_objects *objects)
{
    struct nj_error err;
    struct stat st;
    uint8_t *bytes;
    int fd;

    assert_int_equal(fstat(h.store_fd, &st), 0);
    bytes = malloc((size_t)st.st_size + 1);
    must(nj_fsio_pread(h.store_fd, bytes, (size_t)st.st_size, 0, &err), &err);
    must(nj_msg_memfd("t", (struct nj_span){bytes, (size_t)st.st_size}, &fd, &err), &err);
    free(bytes);
    must(nj_objects_open(objects, fd, &err), &err);
    return (struct nj_object_source){.get = nj_objects_get, .ctx = objects};
}

static void an_untouched_workspace_keeps_its_name_and_costs_nothing(void **state)
{
    struct nj_workspace_ref first;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "true");
    first = h.ref;
    sh_ok(&h, "ls -lR / >/dev/null 2>&1; true");
    assert_true(nj_digest_equal(&h.ref.tree, &first.tree));
    assert_true(nj_digest_equal(&h.ref.stamps, &first.stamps));
    assert_int_equal(h.objects_bytes, 0);
    sh_ok(&h, "echo x > /workspace/a");
    assert_false(nj_digest_equal(&h.ref.tree, &first.tree));
    assert_true(h.objects_bytes > 0);
}

static void the_same_content_at_another_time_is_the_same_tree(void **state)
{
    struct nj_workspace_ref first;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "echo x > a");
    first = h.ref;
    sh_ok(&h, "sleep 0.02; touch a");
    assert_true(nj_digest_equal(&h.ref.tree, &first.tree));
    assert_false(nj_digest_equal(&h.ref.stamps, &first.stamps));
}

static void what_was_captured_comes_back_exactly(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(
        &h,
        "mkdir -p d/e 'sp ace' && echo 1 > d/e/f && ln -s /etc/passwd link && ln -s nowhere "
        "dangling && "
        "mkfifo pipe && ln d/e/f d/hard && ln d/e/f zhard && chmod 4751 d/e/f && chmod 000 d/e && "
        "python3 -c \"import os,socket\n"
        "open(b'\\xff\\xfe bad utf8', 'w').write('b')\n"
        "open('new\\nline', 'w').write('n')\n"
        "open('-dash', 'w').write('')\n"
        "open('x' * 255, 'w').write('long')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('sock')\n"
        "os.setxattr('new\\nline', 'user.k', b'v\\0w'); os.setxattr('sp ace', 'user.dir', b'')\n"
        "open('secret', 'w').write('s'); os.chmod('secret', 0)\n"
        "os.utime('-dash', ns=(0, 1234567890123456789)); os.utime('link', ns=(0, 5), "
        "follow_symlinks=False)\n"
        "os.utime('pipe', ns=(0, -1500000000))\n"
        "f = open('big', 'wb'); f.write(os.urandom(3 * 1048576 + 17)); f.truncate(9000000); "
        "f.close()\n"
        "os.truncate('hole', 0) if os.path.exists('hole') else open('hole', "
        "'w').truncate(5000000)\n\"; "
        "echo t > /tmp/t; sync");
    again(NULL);
    again(":; chmod 700 d/e && stat -c '%n %a %h %s' d/e/f && chmod 000 d/e; "
          "python3 -c \"import os\n"
          "print(os.getxattr('new\\nline', 'user.k'), os.stat('-dash').st_mtime_ns, "
          "os.lstat('link').st_mtime_ns, "
          "os.stat('pipe').st_mtime_ns)\"; du -k hole; cat /tmp/t 'new\nline'; readlink link "
          "dangling");
}

static void restored_values_are_seen_by_programs(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "mkdir d && echo 1 > d/f && ln d/f hard && chmod 4751 d/f && "
              "python3 -c \"import os; os.setxattr('d/f', 'user.k', b'v'); os.utime('d/f', ns=(0, "
              "1234567890123456789))\"");
    again("stat -c '%a %h %s %.9Y' d/f hard; python3 -c \"import os; print(os.getxattr('hard', "
          "'user.k'))\"; "
          "[ d/f -ef hard ] && echo same; stat -c '%U' d/f");
    assert_string_equal(
        h.out, "4751 2 2 1234567890.123456789\n4751 2 2 1234567890.123456789\nb'v'\nsame\nagent\n");
}

static void listing_order_survives(void **state)
{
    static char before[OUTPUT_MAX_BYTES];

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "for i in 5 3 9 1 7; do touch f$i; done; mkdir d2 d1; mv f9 g9; ln f3 a3; ls -U");
    snprintf(before, sizeof(before), "%s", h.out);
    assert_string_not_equal(before, "");
    again("ls -U");
    assert_string_equal(h.out, before);
}

static void links_to_the_outside_are_kept_as_links(void **state)
{
    struct nj_objects objects = {0};
    struct nj_object_source source;
    struct nj_arena arena = {0};
    struct nj_tree_entry entry;
    struct nj_error err;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "ln -s /etc a; ln -s /proc/self/root r; ln -s / /tmp/root");
    source = store_source(&objects);
    assert_int_equal(nj_tree_lookup(&source, &h.ref.tree, "workspace/a", &arena, &entry, &err), 0);
    assert_int_equal(entry.type, NJ_FILE_SYMLINK);
    assert_true(nj_span_is(entry.target, "/etc"));
    assert_int_equal(
        nj_tree_lookup(&source, &h.ref.tree, "workspace/a/passwd", &arena, &entry, &err), 1);
    nj_arena_done(&arena);
    nj_objects_close(&objects);
}

static void only_what_changed_is_read_and_sent(void **state)
{
    (void)state;
    open_box(&h, NULL);
    /* Above the size below which everything is read for the sake of shared mappings. */
    sh_ok(&h, "mkdir d; for i in $(seq 200); do head -c 60000 /dev/urandom > d/$i; done; head -c "
              "4000000 /dev/urandom > big");
    assert_int_equal(h.files_hashed, 201);
    sh_ok(&h, "sleep 0.05");
    sh_ok(&h, "echo x >> d/7; mv d/8 d/888; rm d/9; mkdir e; mv d e/d");
    assert_true(h.files_hashed <= 4);
    assert_true(h.objects_bytes < 200000);
    sh_ok(&h, "sleep 0.05");
    sh_ok(&h, "printf y | dd of=big bs=1 seek=2500000 conv=notrunc 2>/dev/null");
    assert_true(h.objects_bytes < 1200000); /* one part of four */
    scan(&h);
    assert_int_equal(h.scan_files, 200);
    assert_int_equal(h.scan_misses, 0);
    again(NULL);
}

static void a_write_through_a_shared_mapping_is_not_missed(void **state)
{
    struct nj_workspace_ref first;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "printf aaaaaaaa > m");
    first = h.ref;
    sh_ok(
        &h,
        "sleep 0.05; python3 -c \"import mmap; f = open('m', 'r+b'); m = mmap.mmap(f.fileno(), 8); "
        "m.find(b'z'); m[3:4] = b'B'\"; cat m");
    assert_string_equal(h.out, "aaaBaaaa");
    assert_false(nj_digest_equal(&h.ref.tree, &first.tree));
    again("cat m");
    assert_string_equal(h.out, "aaaBaaaa");
}

static void going_back_needs_only_what_the_box_no_longer_holds(void **state)
{
    struct nj_workspace_ref first, second;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "mkdir d; echo one > d/a; echo two > d/b");
    first = h.ref;
    sh_ok(&h, "rm d/a; echo three > c");
    second = h.ref;
    restore(&h, &first);
    sh_ok(&h, ":; cat d/a d/b; ls");
    assert_string_equal(h.out, "one\ntwo\nd\n");
    restore(&h, &first);
    restore(&h, &second);
    sh_ok(&h, "cat d/b c; ls d");
    assert_string_equal(h.out, "two\nthree\nb\n");
}

/* back_to - and look: the next call must find the same state */
static void back_to(const struct nj_workspace_ref *ref, const char *check)
{
    restore(&h, ref);
    sh_ok(&h, check);
    assert_true(nj_digest_equal(&h.ref.tree, &ref->tree));
    assert_true(nj_digest_equal(&h.ref.stamps, &ref->stamps));
    assert_int_equal(h.objects_bytes, 0);
}

static void going_back_leaves_what_is_as_it_was(void **state)
{
    static const char look[] = "stat -c '%n %i %s %a %.9Y' . d d/* s e e/*; ls -U . d";
    static char before[OUTPUT_MAX_BYTES];
    struct nj_workspace_ref first;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "mkdir d e; for i in 5 3 9 1 7; do echo $i > d/f$i; done; ln -s d s; echo e > e/f; "
              "head -c 3000000 /dev/urandom > d/big; chmod 640 d/f9");
    first = h.ref;
    sh_ok(&h, look);
    snprintf(before, sizeof(before), "%s", h.out);
    sh_ok(&h, "echo changed > d/f3; : > d/f9; chmod 755 d/f1; mv d/f5 d/x; mv d/x d/f5; touch d/f7 "
              "e; rm -rf new; mkdir new; echo n > new/n; printf y | dd of=d/big bs=1 seek=2500000 "
              "conv=notrunc 2>/dev/null; mv e f; mv f e; chmod 700 d");
    back_to(&first, look);
    assert_string_equal(h.out, before); /* inode numbers, too: no file was made anew */
    sh_ok(&h, "rm d/f3 s; ln -s e s; rm -r e; echo file > e; mkfifo d/f3");
    back_to(&first, "ls -U . d; cat d/f3 e/f; readlink s");
    scan(&h);
    assert_int_equal(h.scan_misses, 0);
}

static void going_back_keeps_the_times_of_a_reproducible_box(void **state)
{
    static const char look[] = "stat -c '%n %i %s %a %.9Y %.9Z' . d d/* s; ls -U . d";
    static char before[OUTPUT_MAX_BYTES];
    struct nj_workspace_ref first;
    struct nj_box_plan plan;

    (void)state;
    nj_box_plan_default(&plan);
    plan.level = NJ_LEVEL_FILE_TIMES;
    open_box(&h, &plan);
    sh_ok(&h, "mkdir d; for i in 5 3 9 1 7; do echo $i > d/f$i; done; ln -s d s; : > d/empty");
    first = h.ref;
    sh_ok(&h, look);
    snprintf(before, sizeof(before), "%s", h.out);
    sh_ok(&h, "echo changed > d/f3; chmod 755 d/f1; mv d/f5 d/x; mv d/x d/f5; touch d/f7; echo n > "
              "new; rm -f new; echo e > d/empty");
    restore(&h, &first);
    scan(&h);
    assert_int_equal(h.scan_misses, 0);
    sh_ok(&h, look);
    assert_string_equal(h.out, before);
    assert_true(nj_digest_equal(&h.ref.tree, &first.tree));
}

static void a_folder_that_nobody_may_enter_can_be_removed(void **state)
{
    struct nj_workspace_ref first;

    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "echo x > a");
    first = h.ref;
    sh_ok(&h, "mkdir -p shut/in; echo y > shut/in/y; ln a b; chmod 0 shut/in shut");
    back_to(&first, "ls");
    assert_string_equal(h.out, "a\n");
}

static void a_restore_that_cannot_be_says_so(void **state)
{
    struct nj_workspace_ref ref;

    (void)state;
    open_box(&h, NULL);
    memset(&ref, 7, sizeof(ref));
    assert_false(try_restore(&h, &ref));
    assert_int_equal(h.err.code, NJ_E_CORRUPT);
    assert_non_null(strstr(h.err.text, "restore: "));
}

static void trees_that_are_too_deep_are_cut_and_told(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh(&h, "python3 -c \"import os\n"
           "for i in range(3000): os.mkdir('d'); os.chdir('d')\n\"");
    assert_int_equal(h.outcome.exit, NJ_EXIT_EXITED);
    assert_int_equal(h.outcome.status, 0);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    again(NULL);
    sh_ok(&h, "rm -rf d");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_NONE);
}

static void hard_links_below_long_paths_come_back(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "python3 -c \"import os\n"
              "open('zfile', 'w').write('z')\n"
              "top = os.open('.', os.O_RDONLY)\n"
              "for i in range(40):\n"
              "    os.mkdir('n' * 200); os.chdir('n' * 200)\n"
              "    os.link('zfile', 'l%d' % i, src_dir_fd=top)\n\"");
    again(NULL);
}

/* ---- random trees ---- */

static const char make_random[] =
    "import os, random, sys\n"
    "r = random.Random(int(sys.argv[1]))\n"
    "os.umask(0)\n"
    "dirs, files = [b'.'], []\n"
    "def name():\n"
    "    return bytes(r.choice([*range(1, 47), *range(48, 256)]) for _ in range(r.choice([1, 2, 3, "
    "8, 60, 255])))\n"
    "for _ in range(r.randrange(5, 80)):\n"
    "    p = r.choice(dirs) + b'/' + name()\n"
    "    if os.path.lexists(p) or len(p) > 3000: continue\n"
    "    k = r.randrange(9)\n"
    "    try:\n"
    "        if k < 3:\n"
    "            open(p, 'wb').write(r.randbytes(r.choice([0, 1, 100, 5000, 70000])) + "
    "bytes(r.choice([0, 0, 9000]))); files.append(p)\n"
    "            os.chmod(p, r.randrange(0o10000))\n"
    "            if r.random() < .3: os.chmod(p, 0o600); os.setxattr(p, b'user.' + "
    "bytes([r.randrange(97, 122)]), r.randbytes(r.randrange(50)))\n"
    "        elif k < 5: os.mkdir(p); dirs.append(p)\n"
    "        elif k == 5: os.symlink(name(), p)\n"
    "        elif k == 6 and files: os.link(r.choice(files), p); files.append(p)\n"
    "        elif k == 7: os.mkfifo(p, r.randrange(0o1000))\n"
    "        elif files: q = files.pop(r.randrange(len(files))); os.rename(q, p); files.append(p)\n"
    "    except OSError as e: print(e)\n"
    "for p in files + dirs[1:]:\n"
    "    if r.random() < .5: os.utime(p, ns=(0, r.randrange(-10**18, 4 * 10**18)), "
    "follow_symlinks=False)\n"
    "for p in reversed(dirs[1:]): os.chmod(p, r.choice([0o755, 0o700, 0, 0o2777, 0o1777]))\n";

static const char change_random[] =
    "import os, random, sys\n"
    "r = random.Random(int(sys.argv[1]))\n"
    "paths = []\n"
    "for top, dirs, files in os.walk(b'.'):\n"
    "    os.chmod(top, 0o700)\n"
    "    paths += [os.path.join(top, n) for n in sorted(dirs + files)]\n"
    "for i in range(r.randrange(1, 12)):\n"
    "    p = r.choice(paths) if paths else b'./n'\n"
    "    k = r.randrange(9)\n"
    "    try:\n"
    "        if os.path.isfile(p) and not os.path.islink(p) and k < 4: os.chmod(p, 0o600)\n"
    "        if k == 0: open(p, 'ab').write(b'more')\n"
    "        elif k == 1: open(p, 'r+b').write(r.randbytes(20))\n"
    "        elif k == 2: os.utime(p, ns=(0, r.randrange(10**18)), follow_symlinks=False)\n"
    "        elif k == 3: os.unlink(p)\n"
    "        elif k == 4: os.rename(p, p + b'~'); os.rename(p + b'~', p)\n"
    "        elif k == 5: os.rename(p, p + b'~')\n"
    "        elif k == 6: open(b'./new%d' % i, 'w').write('n')\n"
    "        elif k == 7: os.mkdir(p + b'-d'); open(p + b'-d/f', 'w').write('f')\n"
    "        else: os.setxattr(p, b'user.z', b'z')\n"
    "    except OSError as e: print(e)\n";

static void any_tree_survives_a_restore(void **state)
{
    unsigned first =
        getenv("NJ_TEST_SEED") ? (unsigned)strtoul(getenv("NJ_TEST_SEED"), NULL, 10) : 1;

    (void)state;
    for (unsigned seed = first; seed < first + 25; seed++) {
        char number[16];
        const char *const argv[] = {"python3", "/run/make.py", number, NULL};
        struct nj_workspace_ref first_ref;
        struct nj_box_call call = shell_call(argv);

        snprintf(number, sizeof(number), "%u", seed);
        print_message("seed %u\n", seed);
        open_box(&h, NULL);
        call.script_name = "make.py";
        call.script = nj_span_text(make_random);
        call_with(&h, &call);
        if (h.failed || h.outcome.status != 0)
            fail_msg("seed %u: %s %s", seed, h.failed ? h.err.text : "", h.errors);
        first_ref = h.ref;
        again(NULL);
        scan(&h);
        assert_int_equal(h.scan_misses, 0);
        /* Something else is done to it, and undone. */
        snprintf(number, sizeof(number), "%u", seed);
        call.script = nj_span_text(change_random);
        call_with(&h, &call);
        if (h.failed || h.outcome.status != 0)
            fail_msg("seed %u: %s %s", seed, h.failed ? h.err.text : "", h.errors);
        back_to(&first_ref, ":");
        scan(&h);
        assert_int_equal(h.scan_misses, 0);
        nj_box_close(h.box);
        h.box = NULL;
    }
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(an_untouched_workspace_keeps_its_name_and_costs_nothing),
        BOX_TEST(the_same_content_at_another_time_is_the_same_tree),
        BOX_TEST(what_was_captured_comes_back_exactly),
        BOX_TEST(restored_values_are_seen_by_programs),
        BOX_TEST(listing_order_survives),
        BOX_TEST(links_to_the_outside_are_kept_as_links),
        BOX_TEST(only_what_changed_is_read_and_sent),
        BOX_TEST(a_write_through_a_shared_mapping_is_not_missed),
        BOX_TEST(going_back_needs_only_what_the_box_no_longer_holds),
        BOX_TEST(going_back_leaves_what_is_as_it_was),
        BOX_TEST(going_back_keeps_the_times_of_a_reproducible_box),
        BOX_TEST(a_folder_that_nobody_may_enter_can_be_removed),
        BOX_TEST(a_restore_that_cannot_be_says_so),
        BOX_TEST(trees_that_are_too_deep_are_cut_and_told),
        BOX_TEST(hard_links_below_long_paths_come_back),
        BOX_TEST(any_tree_survives_a_restore),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "captures");
}
