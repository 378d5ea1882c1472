/*
 * test_file_times.c - the files of a reproducible box: the same after a restore as without one, and
 * the same in a second box that does the same
 */
#include "tests/unit/batch/sandbox/harness.h"

#include "formats/base/banned.h"

#define START INT64_C(1790000000000000000)
#define LIST "find /workspace /tmp -printf '%p %i %T@ %s\\n'; ls -U1 /workspace"

static struct harness h;
static int64_t clock_ns;

static uint64_t max_files, max_size_bytes; /* 0: the standard */

static void fresh_box(void)
{
    struct nj_box_plan plan;

    nj_box_plan_default(&plan);
    plan.level = NJ_LEVEL_FILE_TIMES;
    if (max_files > 0)
        plan.max_files = max_files;
    if (max_size_bytes > 0)
        plan.max_size_bytes = max_size_bytes;
    nj_box_close(h.box);
    h.box = NULL;
    open_box(&h, &plan);
}

/* run - a call that begins where the last one's clock ended, or a second later */
static void run(const char *command)
{
    const char *const argv[4] = {"bash", "-c", command, NULL};
    struct nj_box_call call = shell_call(argv);

    call.clock_ns = clock_ns;
    clock_ns += 1000000000;
    call_with(&h, &call);
    if (h.failed)
        fail_msg("%s: %s", command, h.err.text);
    if (h.outcome.exit != NJ_EXIT_EXITED || h.outcome.status != 0)
        fail_msg("%s: status %d\n%s\n%s\n%s", command, h.outcome.status, h.text, h.out, h.errors);
}

static const char *const steps[] = {
    "cd /workspace; mkdir d; echo a > d/z; echo b > d/y; echo c > x; rm d/z; echo d > d/w; ln -s x "
    "l",
    "cd /workspace; for i in 1 2 3 4 5 6; do echo $i > t$i; done; rm t2 t5; mkdir e; mv x e/x; "
    "ln e/x d/again; mkfifo f; mv d e/d; touch -d @1000000000 t1",
    "cd /workspace; echo more >> t3; echo n > new; mv t1 first; chmod 600 t4",
};

static void play(bool evicted, struct nj_workspace_ref *refs)
{
    clock_ns = START;
    fresh_box();
    for (size_t i = 0; i < 3; i++) {
        if (evicted && i > 0) {
            fresh_box();
            restore(&h, &refs[i - 1]);
        }
        run(steps[i]);
        refs[i] = h.ref;
    }
}

static bool same_refs(const struct nj_workspace_ref *a, const struct nj_workspace_ref *b)
{
    return nj_digest_equal(&a->tree, &b->tree) && nj_digest_equal(&a->stamps, &b->stamps);
}

static void the_same_steps_leave_the_same_times_numbers_and_order(void **state)
{
    struct nj_workspace_ref first[3], again[3], evicted[3];
    static char listing[OUTPUT_MAX_BYTES];

    (void)state;
    play(false, first);
    run(LIST);
    memcpy(listing, h.out, sizeof(listing));
    play(false, again);
    play(true, evicted);
    run(LIST);
    for (size_t i = 0; i < 3; i++) {
        assert_true(same_refs(&first[i], &again[i]));
        assert_true(same_refs(&first[i], &evicted[i]));
    }
    assert_string_equal(listing, h.out);
}

static void an_explicit_time_is_kept(void **state)
{
    (void)state;
    run("cd /workspace; echo > a; touch -d @1000000000.5 a");
    run("stat -c %.9Y /workspace/a");
    assert_string_equal(h.out, "1000000000.500000000\n");
}

static void files_are_dated_by_the_call_in_the_order_of_their_changes(void **state)
{
    (void)state;
    run("cd /workspace; echo > b; echo > c; echo > a");
    run("cd /workspace; [ c -nt b ] && [ a -nt c ] && stat -c %Y a b; echo > b");
    assert_string_equal(h.out, "1790000000\n1790000000\n");
    run("cd /workspace; [ b -nt a ] && stat -c %Y b; find . -newer a -type f");
    assert_string_equal(h.out, "1790000001\n./b\n");
}

static void a_restore_into_a_box_that_counted_on_says_that_numbers_are_lost(void **state)
{
    struct nj_workspace_ref refs[3];

    (void)state;
    play(false, refs);
    assert_int_equal(h.meta.lowered, NJ_LOWERED_NONE);
    restore(&h, &refs[0]);
    run("cat /workspace/d/y");
    assert_string_equal(h.out, "b\n");
    assert_int_equal(h.meta.lowered, NJ_LOWERED_TIMES);
}

static void a_scan_finds_what_was_captured(void **state)
{
    struct nj_workspace_ref refs[3];

    (void)state;
    play(true, refs);
    scan(&h);
    assert_int_equal(h.scan_misses, 0);
    assert_true(h.scan_files > 5);
}

static void a_call_that_changes_nothing_reads_nothing(void **state)
{
    struct nj_workspace_ref refs[3];

    (void)state;
    play(false, refs);
    run("true");
    assert_int_equal(h.files_hashed, 0);
    assert_true(nj_digest_equal(&h.ref.tree, &refs[2].tree));
}

/* ---- trees that are hard to give back ---- */

/* comes_back - in a fresh box, all of it */
static void comes_back(void)
{
    struct nj_workspace_ref ref = h.ref;

    assert_int_equal(h.meta.lowered, NJ_LOWERED_NONE);
    fresh_box();
    restore(&h, &ref);
    run("true");
    assert_int_equal(h.meta.lowered, NJ_LOWERED_NONE);
    assert_true(nj_digest_equal(&h.ref.tree, &ref.tree));
    scan(&h);
    assert_int_equal(h.scan_misses, 0);
}

static void what_nobody_may_write_is_dated_and_comes_back_from_a_full_workspace(void **state)
{
    (void)state;
    max_size_bytes = 4 << 20;
    fresh_box();
    run("cd /workspace; echo a > readonly; chmod 444 readonly; echo b > none; ln none hard; "
        "ln -s none link; mkfifo -m 0 pipe; mkdir shut; echo c > shut/x; "
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'; chmod 0 sock; "
        "head -c 9000000 /dev/zero | tr '\\0' x > big; touch -h -d @5 link; chmod 0 none shut; "
        ":> more; rm more");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    comes_back();
}

static void names_of_an_inode_that_no_link_can_tell_become_files_of_their_own(void **state)
{
    static const char *const commands[] = {
        "cd /workspace; echo x > x; python3 -c \"import os\n"
        "top = os.open('.', os.O_RDONLY)\n"
        "for i in range(25):\n"
        "    os.mkdir('n' * 200); os.chdir('n' * 200)\n"
        "    if i > 22: os.link('x', 'l%d' % i, src_dir_fd=top)\n\"",
        "cd /workspace; ln -s x s; ln -P s t",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct nj_workspace_ref ref;

        run(commands[i]);
        ref = h.ref;
        fresh_box();
        restore(&h, &ref);
        run("true");
        assert_true(nj_digest_equal(&h.ref.tree, &ref.tree));
        assert_int_equal(h.meta.lowered, NJ_LOWERED_TIMES); /* they were one inode */
        fresh_box();
    }
}

static void without_a_free_inode_a_call_says_that_times_are_lost(void **state)
{
    (void)state;
    max_files = 64;
    fresh_box();
    run("cd /workspace; for i in $(seq 100); do true > f$i; done 2>/dev/null; ls | wc -l");
    assert_int_equal(h.outcome.limit, NJ_LIMIT_DISK);
    run("cd /workspace; rm f1 f2; mkdir d"); /* which of the numbers are new? */
    assert_int_equal(h.meta.lowered, NJ_LOWERED_TIMES);
    run("cd /workspace; rmdir d");
    assert_int_equal(h.meta.lowered, NJ_LOWERED_NONE);
    comes_back();
}

/* put_dir - of @n entries, their stamps beside them; @next 0: not the root */
static struct nj_workspace_ref put_dir(const struct nj_tree_entry *entries,
                                       const struct nj_stamp *stamp_entries, size_t n,
                                       uint64_t next)
{
    struct nj_tree tree = {.entries = entries, .n_entries = n};
    struct nj_stamps stamps = {.entries = stamp_entries,
                               .n_entries = n,
                               .has_ctime = true,
                               .ctime_ns = 1,
                               .next_ino = next};
    const struct nj_object_sink sink = {put_store, &h.store_fd};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_workspace_ref ref;
    struct nj_error err;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    must(nj_tree_encode(&tree, &bytes, &err), &err);
    must(nj_object_put(&sink, NJ_OBJECT_TREE, nj_buf_span(&bytes), &ref.tree, &err), &err);
    bytes.len = 0;
    must(nj_stamps_encode(&stamps, &bytes, &err), &err);
    must(nj_object_put(&sink, NJ_OBJECT_STAMPS, nj_buf_span(&bytes), &ref.stamps, &err), &err);
    return ref;
}

/* root_of - a root directory of two empty files */
static struct nj_workspace_ref root_of(uint64_t first, uint64_t second, uint64_t next)
{
    struct nj_tree_entry entries[2] = {
        {.name = nj_span_text("a"), .type = NJ_FILE_REGULAR},
        {.name = nj_span_text("b"), .type = NJ_FILE_REGULAR},
    };
    struct nj_stamp stamps[2] = {
        {.name = nj_span_text("a"), .ctime_ns = 1, .ino = first},
        {.name = nj_span_text("b"), .ctime_ns = 1, .ino = second},
    };
    const struct nj_object_sink sink = {put_store, &h.store_fd};
    struct nj_error err;

    must(nj_object_put(&sink, NJ_OBJECT_BLOB, (struct nj_span){NULL, 0}, &entries[0].digest, &err),
         &err);
    entries[1].digest = entries[0].digest;
    return put_dir(entries, stamps, 2, next);
}

/* dirs_of_links - one directory of 10 long links under 200 names */
static struct nj_workspace_ref dirs_of_links(void)
{
    static char target[4000], names[200][4];
    struct nj_tree_entry entries[200] = {{.type = NJ_FILE_DIRECTORY}};
    struct nj_stamp stamps[200] = {{.mtime_ns = 0}};
    struct nj_workspace_ref links;

    memset(target, 't', sizeof(target) - 1);
    for (size_t i = 0; i < 200; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%03zu", i);
        entries[i].name = stamps[i].name = nj_span_text(names[i]);
        entries[i].type = NJ_FILE_SYMLINK;
        entries[i].target = nj_span_text(target);
        stamps[i].ctime_ns = 1;
        stamps[i].ino = i + 2;
    }
    links = put_dir(entries, stamps, 10, 0);
    for (size_t i = 0; i < 200; i++) {
        entries[i].type = NJ_FILE_DIRECTORY;
        entries[i].digest = links.tree;
        stamps[i].has_stamps = true;
        stamps[i].stamps = links.stamps;
    }
    return put_dir(entries, stamps, 200, 5000);
}

static void no_more_is_gathered_than_the_workspace_can_hold(void **state)
{
    static const struct {
        uint64_t files, bytes;
        const char *words;
    } cases[] = {
        {1000, 64 << 20, "more than the 1000 files that the workspace may have"},
        {4000, 4 << 20, "links of more bytes than the workspace may have"},
    };
    struct nj_workspace_ref ref = dirs_of_links();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        max_files = cases[i].files;
        max_size_bytes = cases[i].bytes;
        fresh_box();
        assert_false(try_restore(&h, &ref));
        if (!strstr(h.err.text, cases[i].words))
            fail_msg("%s", h.err.text);
    }
}

static void inode_numbers_of_any_value_are_had_or_said_to_be_lost(void **state)
{
    static const struct {
        uint64_t first, second, next;
        enum nj_lowered lowered;
    } cases[] = {
        {3, 2, 4, NJ_LOWERED_TIMES},        /* the next was the capture's */
        {3, 2, 5, NJ_LOWERED_NONE},         /* made in another order */
        {7, 20000, 20009, NJ_LOWERED_NONE}, /* many that are gone */
        {2, 2, 9, NJ_LOWERED_TIMES},        /* two files of one number */
        {1, 2, 9, NJ_LOWERED_TIMES},        /* the root's */
        {2, 9, 9, NJ_LOWERED_TIMES},        /* not given yet */
        {2, 3, 2000000, NJ_LOWERED_TIMES},  /* too many that are gone */
        {2, NJ_STAMPS_INO_MAX - 2, NJ_STAMPS_INO_MAX - 1, NJ_LOWERED_TIMES},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nj_workspace_ref ref = root_of(cases[i].first, cases[i].second, cases[i].next);

        fresh_box();
        restore(&h, &ref);
        run("true");
        if (h.meta.lowered != cases[i].lowered)
            fail_msg("case %zu: %s", i, nj_lowered_text(h.meta.lowered));
    }
}

/* ---- within a call: what programs are told while files change ---- */

/* told - the call's output; level 2 must be kept, else there is nothing to look at */
static const char *told(const char *command)
{
    run(command);
    if (h.meta.level < NJ_LEVEL_FILE_TIMES) {
        assert_int_not_equal(h.meta.lowered, NJ_LOWERED_TIMES); /* this would be ours */
        print_message("skipped: level %u, %s\n", h.meta.level, nj_lowered_text(h.meta.lowered));
        skip();
    }
    return h.out;
}

static void every_way_to_look_tells_the_same(void **state)
{
    (void)state;
    told("mkdir -p /workspace/d && cd /workspace/d && echo > f && ln -s f rel && "
         "ln -s /workspace/d abs && ln -s /workspace/d/f absf");
    told("cd /workspace; python3 - <<'E'\n"
         "import os\n"
         "w = os.stat('/workspace/d/f')\n"
         "def same(s, what):\n"
         "    for k in ('st_mtime_ns', 'st_ctime_ns', 'st_atime_ns', 'st_ino', 'st_dev', "
         "'st_size',\n"
         "              'st_mode', 'st_nlink', 'st_uid', 'st_blocks'):\n"
         "        assert getattr(s, k) == getattr(w, k), (what, k)\n"
         "assert 1790000000 <= w.st_mtime < 1790000010, w.st_mtime\n"
         "same(os.stat('d/f'), 'relative')\n"
         "same(os.stat('./d/../d//f'), 'dots')\n"
         "same(os.stat('d/rel'), 'relative link')\n"
         "same(os.stat('d/absf'), 'absolute link from a relative path')\n"
         "same(os.stat('d/abs/f'), 'absolute link on the way')\n"
         "same(os.stat('/workspace/d/abs/rel'), 'links')\n"
         "same(os.stat('../../../../workspace/d/f'), 'above the root')\n"
         "fd = os.open('d', os.O_RDONLY)\n"
         "same(os.stat('f', dir_fd=fd), 'at a directory')\n"
         "same(os.stat('abs/rel', dir_fd=fd), 'at a directory, by links')\n"
         "same(os.fstat(os.open('d/f', os.O_RDONLY)), 'by descriptor')\n"
         "same(os.stat('/proc/self/cwd/d/f'), 'by /proc') if 0 else None\n"
         "os.chdir('d'); same(os.stat('f'), 'elsewhere')\n"
         "assert os.lstat('rel').st_size == 1 and os.lstat('rel').st_ino != w.st_ino\n"
         "E");
    run("stat -c '%y %z %x %w %d' /workspace/d/f | tee /tmp/one; ls --full-time /workspace/d/f; "
        "find /workspace/d/f -printf '%T+\\n'");
    assert_non_null(strstr(h.out, "2026-09-21 "));
}

static void what_cannot_be_looked_at_fails_as_the_kernel_says(void **state)
{
    (void)state;
    told(
        "cd /workspace; mkdir -m 700 d; echo > d/f; echo > x; ln -s loop loop; ln -s gone dangling;"
        "chmod 000 d; python3 - <<'E'\n"
        "import errno, os\n"
        "def fails(e, f, *a, **k):\n"
        "    try: f(*a, **k)\n"
        "    except OSError as x: assert x.errno == e, (e, x, a)\n"
        "    else: raise AssertionError(a)\n"
        "fails(errno.EACCES, os.stat, 'd/f')\n"
        "fails(errno.EACCES, os.stat, '/workspace/d/f')\n"
        "fails(errno.ENOENT, os.stat, 'none')\n"
        "fails(errno.ENOENT, os.stat, 'dangling')\n"
        "fails(errno.ENOENT, os.stat, '')\n"
        "fails(errno.ENOTDIR, os.stat, 'x/y')\n"
        "fails(errno.ELOOP, os.stat, 'loop')\n"
        "fails(errno.ENAMETOOLONG, os.stat, 'n' * 300)\n"
        "fails(errno.ENAMETOOLONG, os.stat, 'n/' * 3000)\n"
        "fails(errno.EBADF, os.fstat, 999)\n"
        "fails(errno.EACCES, os.stat, '/proc/1/root/etc')\n"
        "fails(errno.EACCES, os.stat, '/proc/1/cwd/etc')\n"
        "assert os.stat('/proc/self/fd/1').st_mode\n"
        "assert os.stat('/proc/self/status').st_mode\n"
        "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
        "assert c.syscall(262, -100, b'x', 8, 0) == -1 and ctypes.get_errno() == errno.EFAULT\n"
        "assert c.syscall(262, -100, 8, 8, 0) == -1 and ctypes.get_errno() == errno.EFAULT\n"
        "assert c.syscall(437, -100, b'x', b'0'*24, 24) == -1 and ctypes.get_errno() == "
        "errno.ENOSYS\n"
        "E");
}

static void newer_keeps_its_meaning_within_a_call_and_across_calls(void **state)
{
    (void)state;
    told("cd /workspace; printf 'a.o: a.c\\n\\tcp a.c a.o\\n\\t@echo built\\n' > Makefile; "
         "echo 1 > a.c;"
         "make -s; make -s; touch a.c; make -s; echo 2 > a.c; make -s; make -s");
    assert_string_equal(h.out, "built\nbuilt\nbuilt\n");
    run("cd /workspace; make; touch a.c; make -s; find . -newer a.c "
        "-type f");
    assert_string_equal(h.out, "make: 'a.o' is up to date.\nbuilt\n./a.o\n");
    assert_string_equal(h.errors, ""); /* no clock skew */
    told("cd /workspace; python3 - <<'E'\n"
         "import os, time\n"
         "before = time.time_ns()\n"
         "open('t', 'w').write('x')\n"
         "after = time.time_ns()\n"
         "m = os.stat('t').st_mtime_ns\n"
         "assert before < m < after, (before, m, after)\n"
         "open('u', 'w').write('x'); open('t', 'a').write('y')\n"
         "assert os.stat('t').st_mtime_ns > os.stat('u').st_mtime_ns\n"
         "c = os.stat('t').st_ctime_ns; os.chmod('t', 0o600)\n"
         "assert os.stat('t').st_ctime_ns > c and "
         "os.stat('t').st_mtime_ns < os.stat('t').st_ctime_ns\n"
         "d = os.stat('.').st_mtime_ns; os.rename('t', 'v')\n"
         "assert os.stat('.').st_mtime_ns > d\n"
         "os.utime('u', ns=(5, 7)); assert os.stat('u').st_mtime_ns == "
         "7\n"
         "os.utime('u'); assert os.stat('u').st_mtime_ns > after\n"
         "os.utime('u', (1e9, 1e9)); open('u', 'a').write('z'); assert "
         "os.stat('u').st_mtime_ns > after\n"
         "os.utime('u', (1e9, 1e9))\n"
         "now = time.time(); os.utime('v', (now, now)); assert "
         "abs(os.stat('v').st_mtime - now) < 1e-6\n"
         "E\n"
         "touch -d '2001-02-03 04:05:06' s; stat -c '%Y' u s");
    assert_string_equal(h.out, "1000000000\n981173106\n");
    run("cd /workspace; stat -c '%Y' u s");
    assert_string_equal(h.out, "1000000000\n981173106\n");
}

/* One session of programs that keep times in their files; its listing and the bytes of all. */
static const char *const programs[] = {
    "cd /workspace; mkdir src; for i in 1 2 3 4 5; do echo \"v=$i\" > src/m$i.py; done;"
    "tar cf a.tar src; python3 -c 'import zipfile,glob\nz=zipfile.ZipFile(\"a.zip\",\"w\")\n"
    "for f in sorted(glob.glob(\"src/*\")): z.write(f)'; ls --full-time src > ls1;"
    "cd src; python3 -c 'import m1, m2, m3'; ls __pycache__",
    /* git is told to start nothing in the background: the order of processes is not this level's */
    "cd /workspace; if command -v git >/dev/null; then git init -q .; git add src; git -c "
    "gc.auto=0 "
    "-c maintenance.auto=false -c user.name=n -c user.email=e commit -qm x; fi; mkdir out; "
    "tar xf a.tar -C out; tar c --format=pax -f b.tar src; cp -p src/m1.py kept; rm src/m2.py; "
    "echo z > src/m6.py",
    "cd /workspace; if [ -d .git ]; then cp .git/index before; git status --porcelain src; git "
    "diff; cmp .git/index before && rm before; fi; cd src; python3 -v -c 'import m1' 2>/tmp/log; "
    "grep -c 'matches.*m1.py' /tmp/log; rm /tmp/log; [ m1.py -nt ../kept ] || [ ../kept -nt m1.py "
    "] "
    "|| echo kept; find .. -newer m5.py",
};

static void play_programs(bool evicted, struct nj_workspace_ref refs[3], char outputs[3][16384])
{
    clock_ns = START;
    fresh_box();
    for (size_t i = 0; i < 3; i++) {
        if (evicted && i > 0) {
            fresh_box();
            restore(&h, &refs[i - 1]);
        }
        told(programs[i]);
        refs[i] = h.ref;
        snprintf(outputs[i], sizeof(outputs[i]), "%.16000s", h.out);
    }
    nj_box_close(h.box);
    h.box = NULL;
}

static void programs_that_keep_times_leave_the_same_bytes(void **state)
{
    struct nj_workspace_ref refs[3][3];
    static char outputs[3][3][16384];

    (void)state;
    for (size_t way = 0; way < 3; way++)
        play_programs(way == 2, refs[way], outputs[way]);
    for (size_t way = 1; way < 3; way++) {
        for (size_t i = 0; i < 3; i++) {
            assert_string_equal(outputs[0][i], outputs[way][i]);
            assert_true(nj_digest_equal(&refs[0][i].tree, &refs[way][i].tree));
        }
    }
    assert_non_null(strstr(outputs[0][2], "1\nkept\n")); /* the pyc fits; cp -p kept the time */
}

static int set_up_times(void **state)
{
    (void)set_up(state);
    max_files = max_size_bytes = 0;
    clock_ns = START;
    fresh_box();
    return 0;
}

#define TEST(name) BOX_TEST_AFTER(name, set_up_times)

static int run_all(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_dated_by_the_call_in_the_order_of_their_changes),
        TEST(the_same_steps_leave_the_same_times_numbers_and_order),
        TEST(an_explicit_time_is_kept),
        TEST(a_restore_into_a_box_that_counted_on_says_that_numbers_are_lost),
        TEST(a_scan_finds_what_was_captured),
        TEST(a_call_that_changes_nothing_reads_nothing),
        TEST(what_nobody_may_write_is_dated_and_comes_back_from_a_full_workspace),
        TEST(names_of_an_inode_that_no_link_can_tell_become_files_of_their_own),
        TEST(without_a_free_inode_a_call_says_that_times_are_lost),
        TEST(inode_numbers_of_any_value_are_had_or_said_to_be_lost),
        TEST(no_more_is_gathered_than_the_workspace_can_hold),
        TEST(every_way_to_look_tells_the_same),
        TEST(what_cannot_be_looked_at_fails_as_the_kernel_says),
        TEST(newer_keeps_its_meaning_within_a_call_and_across_calls),
        TEST(programs_that_keep_times_leave_the_same_bytes),
    };

    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run_both_ways(run_all, "file times");
}
