/*
 * test_box.c - boxes run for real: what a call gets, what it leaves, what ends it
 */
#include "harness.h"

#include "batch/sandbox/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "formats/base/banned.h"

static struct harness h;

/* ---- what a payload is ---- */

static void a_box_opens_and_runs_echo(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "echo hi; echo there >&2");
    assert_string_equal(h.out, "hi\n");
    assert_string_equal(h.errors, "there\n");
    assert_int_equal(h.outcome.out.bytes, 3);
    assert_true(nj_box_supervisor_pid(h.box) > 1);
}

static void the_payload_has_no_privilege_at_all(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status");
    assert_non_null(strstr(h.out, "Uid:\t1000\t1000\t1000\t1000\n"));
    assert_non_null(strstr(h.out, "Gid:\t1000\t1000\t1000\t1000\n"));
    assert_non_null(strstr(h.out, "CapInh:\t0000000000000000\n"));
    assert_non_null(strstr(h.out, "CapPrm:\t0000000000000000\n"));
    assert_non_null(strstr(h.out, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(h.out, "CapBnd:\t0000000000000000\n"));
    assert_non_null(strstr(h.out, "CapAmb:\t0000000000000000\n"));
    assert_non_null(strstr(h.out, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(h.out, "Seccomp:\t2\n"));
}

static void the_payload_holds_three_descriptors(void **state)
{
    (void)state;
    open_box(&h, NULL);
    /* 3 is the directory that ls itself reads. */
    sh_ok(&h, "exec ls /proc/self/fd");
    assert_string_equal(h.out, "0\n1\n2\n3\n");
    sh_ok(&h, "readlink /proc/self/fd/0; readlink /proc/self/cwd; echo $$; echo /proc/[0-9]*");
    assert_string_equal(h.out, "/dev/null\n/workspace\n2\n/proc/1 /proc/2\n"); /* reaper, shell */
}

static void the_environment_is_fixed_and_a_call_may_override_it(void **state)
{
    static const char *const argv[] = {"env", NULL};
    static const char *const env[] = {"HOME=/tmp", "EXTRA=a=b", NULL};
    struct nj_box_call call = shell_call(argv);

    (void)state;
    open_box(&h, NULL);
    call.env = env;
    call.cwd = "/tmp";
    call_with(&h, &call);
    assert_false(h.failed);
    assert_string_equal(h.out,
                        "PATH=/usr/local/bin:/usr/bin:/bin\nLANG=C.UTF-8\nTZ=UTC\nUSER=agent\n"
                        "LOGNAME=agent\nSHELL=/bin/bash\nTMPDIR=/tmp\nHOME=/tmp\nEXTRA=a=b\n");
}

static void the_system_is_read_only(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh(&h, "for d in / /usr /usr/bin /etc /dev /proc /bin /run; do touch $d/x 2>/dev/null && echo "
           "wrote $d; "
           "done; echo x > /etc/passwd && echo passwd; echo 1 > /proc/sys/kernel/core_pattern && "
           "echo sys; "
           "mkdir /mnt 2>/dev/null && echo mnt; cat /proc/kcore | head -c1 | wc -c; cat "
           "/proc/kallsyms | wc -c; "
           "ls -A /; ls -d /run/*");
    assert_non_null(strstr(h.out, "wrote /run\n")); /* fresh for each call, and not kept */
    assert_null(strstr(h.out, "wrote /u"));
    assert_null(strstr(h.out, "wrote /e"));
    assert_null(strstr(h.out, "wrote /d"));
    assert_null(strstr(h.out, "wrote /p"));
    assert_null(strstr(h.out, "wrote /b"));
    assert_null(strstr(h.out, "wrote /\n"));
    assert_null(strstr(h.out, "passwd\n"));
    assert_null(strstr(h.out, "sys\n"));
    assert_null(strstr(h.out, "mnt\n"));
    assert_non_null(strstr(h.out, "0\n0\n"));
    assert_non_null(strstr(h.out, "bin\ndev\netc\nlib\n"));
    assert_null(strstr(h.out, "/run/workspace"));
}

static void nothing_of_the_host_is_to_be_seen(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "cat /etc/passwd /etc/hosts /etc/resolv.conf; hostname; ls /home /root /var /srv "
              "/opt 2>&1; "
              "wc -l < /etc/passwd; cat /proc/1/environ /proc/1/cmdline 2>&1; ls /proc/1/root "
              "/proc/1/cwd 2>&1; true");
    assert_non_null(strstr(h.out, "sandbox\n"));
    assert_non_null(strstr(h.out, "cannot access '/home'"));
    assert_non_null(strstr(h.out, "cannot access '/root'"));
    assert_non_null(strstr(h.out, "\n3\n"));
    assert_non_null(strstr(h.out, "Permission denied"));
    assert_null(strstr(h.out, "/root/"));
}

static void there_is_no_network_but_loopback(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    char command[2048];
    int fd;

    (void)state;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    open_box(&h, NULL);
    snprintf(command, sizeof(command),
             "python3 - <<'E'\n"
             "import socket\n"
             "def t(what, f):\n"
             "    try: f(); print(what, 'works')\n"
             "    except OSError as e: print(what, e.errno if e.errno else type(e).__name__)\n"
             "t('host', lambda: socket.create_connection(('127.0.0.1', %d), 2))\n"
             "t('far', lambda: socket.create_connection(('127.1.2.3', 9), 2))\n"
             "t('out', lambda: socket.socket(socket.AF_INET, "
             "socket.SOCK_DGRAM).connect(('198.51.100.1', 53)))\n"
             "t('dns', lambda: socket.getaddrinfo('example.test', 80))\n"
             "t('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))\n"
             "t('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\n"
             "t('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))\n"
             "s = socket.create_server(('127.0.0.1', 0))\n"
             "t('own', lambda: socket.create_connection(s.getsockname(), 2))\n"
             "E\n",
             ntohs(address.sin_port));
    sh_ok(&h, command);
    assert_non_null(
        strstr(h.out, "host 111\n")); /* ECONNREFUSED: the box's own loopback has no such port */
    assert_non_null(strstr(h.out, "far 111\n"));
    assert_non_null(strstr(h.out, "out 101\n")); /* ENETUNREACH */
    assert_null(strstr(h.out, "dns works"));
    assert_non_null(strstr(h.out, "packet 97\n")); /* EAFNOSUPPORT */
    assert_non_null(strstr(h.out, "raw 1\n"));
    assert_non_null(strstr(h.out, "vsock 97\n"));
    assert_non_null(strstr(h.out, "own works\n"));
    (void)close(fd);
}

static void python_and_node_and_pipelines_work(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "python3 -c 'import json, subprocess, multiprocessing as m, threading\n"
              "print(json.dumps({\"a\": 1}), subprocess.check_output([\"echo\", "
              "\"sub\"]).decode().strip())\n"
              "q = m.Queue(); p = m.Process(target=q.put, args=(7,)); p.start(); print(q.get()); "
              "p.join()'");
    assert_string_equal(h.out, "{\"a\": 1} sub\n7\n");
    sh_ok(&h, "seq 1000 | sort -rn | head -1; mkfifo f; echo x > f & cat f; rm f");
    assert_string_equal(h.out, "1000\nx\n");
    sh(&h, "command -v node >/dev/null || exit 77; node -e 'console.log(1+1)'");
    if (h.outcome.status == 77)
        print_message("skipped the part with node: this host has none\n");
    else
        assert_string_equal(h.out, "2\n");
}

/* ---- calls ---- */

static void exit_status_and_signal_are_told(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh(&h, "exit 42");
    assert_int_equal(h.outcome.exit, NJ_EXIT_EXITED);
    assert_int_equal(h.outcome.status, 42);
    sh(&h, "kill -SEGV $$");
    assert_int_equal(h.outcome.exit, NJ_EXIT_SIGNALLED);
    assert_int_equal(h.outcome.status, SIGSEGV);
    assert_int_equal(h.outcome.limit, NJ_LIMIT_NONE);
}

static void script_and_input_reach_the_payload(void **state)
{
    static const char *const argv[] = {"python3", "/run/job.py", NULL};
    struct nj_box_call call = shell_call(argv);

    (void)state;
    open_box(&h, NULL);
    call.script_name = "job.py";
    call.script = nj_span_text(
        "import sys, os; print(sys.stdin.read().upper(), oct(os.stat(__file__).st_mode))");
    call.input = nj_span_text("hello");
    call_with(&h, &call);
    assert_false(h.failed);
    assert_string_equal(h.out, "HELLO 0o100444\n");
    sh_ok(&h, "ls -A /run; ls -A /workspace");
    assert_string_equal(h.out, ""); /* scripts are not kept */
}

static void what_cannot_run_is_refused_with_a_reason(void **state)
{
    static const char *const missing[] = {"no-such-program", NULL};
    static const char *const plain[] = {"cat", NULL};
    struct nj_box_call call = shell_call(missing);

    (void)state;
    open_box(&h, NULL);
    call_with(&h, &call);
    assert_false(h.failed);
    assert_int_equal(h.outcome.exit, NJ_EXIT_REFUSED);
    assert_string_equal(h.text, "cannot run no-such-program: No such file or directory");
    call = shell_call(plain);
    call.cwd = "/nowhere";
    call_with(&h, &call);
    assert_int_equal(h.outcome.exit, NJ_EXIT_REFUSED);
    assert_string_equal(h.text,
                        "cannot change to the directory /nowhere: No such file or directory");
    sh_ok(&h, "true"); /* and the box goes on */
}

static void writable_paths_have_their_usual_modes(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "stat -c '%a %U' /workspace /tmp; umask; cc=$(command -v gcc) || exit 0; cd /tmp; "
              "echo 'int main(void) { return 0; }' > a.c && $cc a.c -o a && ./a");
    assert_string_equal(h.out, "755 agent\n1777 agent\n0022\n");
}

static void files_last_from_call_to_call_and_nothing_else_does(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h,
          "echo kept > /workspace/a; echo kept > /tmp/b; echo x > /dev/shm/c; echo x > /run/d; "
          "ipcmk -M 100 >/dev/null; export Z=1; cd /; (sleep 1000 & disown) ; setsid sleep 1000 &");
    sh_ok(&h,
          "cat /workspace/a /tmp/b; ls -A /dev/shm /run | grep -c '[cd]$'; ipcs -m | grep -c 0x; "
          "echo \"${Z:-}\"; pgrep -c sleep; true");
    assert_string_equal(h.out, "kept\nkept\n0\n0\n\n0\n");
}

/* count_sleepers - processes of this machine whose command line names @mark */
static int count_processes(const char *mark)
{
    char command[128];
    FILE *pipe;
    int n = -1;

    snprintf(command, sizeof(command),
             "grep -lz -- '^%s$' /proc/[0-9]*/cmdline 2>/dev/null | wc -l", mark);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &n), 1);
    (void)pclose(pipe);
    return n;
}

static void a_daemon_does_not_survive_its_call_nor_hold_it_up(void **state)
{
    char command[256], mark[64];

    (void)state;
    snprintf(mark, sizeof(mark), "98%d", getpid());
    open_box(&h, NULL);
    /* It holds both pipes, ignores signals and has left its parent's session. */
    snprintf(command, sizeof(command),
             "trap '' TERM HUP; (setsid sleep %s &) ; setsid sleep %s & sleep 0.1; echo over", mark,
             mark);
    sh_ok(&h, command);
    assert_string_equal(h.out, "over\n");
    assert_true(h.meta.duration_ms < 5000);
    assert_int_equal(count_processes(mark), 0);
}

/* ---- output ---- */

static void long_output_keeps_head_tail_count_and_digest(void **state)
{
    struct nj_digest expected;
    static char whole[600000];
    size_t at = 0;

    (void)state;
    for (int i = 1; i <= 100000; i++)
        at += (size_t)snprintf(whole + at, sizeof(whole) - at, "%d\n", i);
    nj_digest_bytes(whole, at, &expected);
    open_box(&h, NULL);
    sh_ok(&h, "seq 100000");
    assert_int_equal(h.outcome.out.bytes, at);
    assert_int_equal(h.outcome.out.head.len, NJ_BOX_HEAD_BYTES);
    assert_int_equal(h.outcome.out.tail.len, NJ_BOX_TAIL_BYTES);
    assert_memory_equal(h.out, whole, NJ_BOX_HEAD_BYTES);
    assert_memory_equal(h.out_tail, whole + at - NJ_BOX_TAIL_BYTES, NJ_BOX_TAIL_BYTES);
    assert_true(nj_digest_equal(&h.outcome.out.digest, &expected));
    sh_ok(&h, "head -c 49153 /dev/zero | tr '\\0' x"); /* one byte past the head */
    assert_int_equal(h.outcome.out.tail.len, 1);
}

static void output_beyond_a_message_comes_too(void **state)
{
    static const char *const argv[] = {"bash", "-c", "seq 100000; seq 200000 >&2", NULL};
    struct nj_box_call call = shell_call(argv);

    (void)state;
    open_box(&h, NULL);
    call.head_max_bytes = 300000;
    call.tail_max_bytes = 200000;
    call_with(&h, &call);
    assert_false(h.failed);
    assert_int_equal(h.outcome.out.head.len, 300000);
    assert_int_equal(h.outcome.errors.tail.len, 200000);
    assert_memory_equal(h.out, "1\n2\n3\n", 6);
    assert_string_equal(h.out_tail + strlen(h.out_tail) - 7, "100000\n");
    assert_int_equal(strlen(h.out_tail), h.outcome.out.tail.len);
}

static void output_of_a_slow_call_comes_as_it_is_written(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "echo one; sleep 0.4; echo two; sleep 0.4");
    assert_int_equal(h.pieces, 8);
    sh_ok(&h, "echo quick");
    assert_int_equal(h.pieces, 0);
}

static void a_flood_neither_grows_nor_stops_anything(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "head -c 500000000 /dev/zero");
    assert_true(h.outcome.out.bytes == 500000000);
    assert_int_equal(h.outcome.out.head.len, NJ_BOX_HEAD_BYTES);
}

/* ---- the end of boxes ---- */

static void a_lost_supervisor_ends_the_call_in_its_callback(void **state)
{
    static const char *const argv[] = {"sleep", "97531", NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_error err;

    (void)state;
    open_box(&h, NULL);
    h.done = false;
    must(nj_box_call(h.box, &call, NULL, on_called, &h, &err), &err);
    assert_int_equal(kill(nj_box_supervisor_pid(h.box), SIGKILL), 0);
    run_until_done(&h);
    assert_true(h.failed);
    assert_int_equal(h.err.code, NJ_E_UPSTREAM);
    assert_non_null(strstr(h.err.text, "the box was lost"));
    assert_int_equal(nj_box_call(h.box, &call, NULL, on_called, &h, &err), -NJ_E_UPSTREAM);
    nj_box_close(h.box);
    for (int i = 0; i < 100 && count_processes("97531") > 0; i++)
        usleep(10000);
    assert_int_equal(count_processes("97531"), 0);
    open_box(&h, NULL); /* the helper goes on */
    sh_ok(&h, "true");
}

static void closing_a_box_ends_its_processes_and_gives_no_callback(void **state)
{
    static const char *const argv[] = {"sleep", "97532", NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_error err;

    (void)state;
    open_box(&h, NULL);
    h.done = false;
    must(nj_box_call(h.box, &call, NULL, on_called, &h, &err), &err);
    for (int i = 0; i < 500 && count_processes("97532") == 0; i++)
        usleep(2000);
    assert_int_equal(count_processes("97532"), 1);
    nj_box_close(h.box);
    h.box = NULL;
    for (int i = 0; i < 100 && count_processes("97532") > 0; i++)
        usleep(10000);
    assert_int_equal(count_processes("97532"), 0);
    (void)event_base_loop(h.base, EVLOOP_NONBLOCK);
    assert_false(h.done);
}

static void an_impossible_box_says_why(void **state)
{
    struct nj_box_mount mount = {.target = "/data"};
    struct nj_box_plan plan;

    (void)state;
    nj_box_plan_default(&plan);
    plan.mounts = &mount;
    plan.n_mounts = 1;
    assert_false(try_open(&h, &plan));
    assert_non_null(strstr(h.err.text, "mount \"/data\": its input was not added"));
    assert_null(h.box);
    open_box(&h, NULL);
}

static struct nj_box *many[40];
static size_t n_many;

static void on_many(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    (void)ctx;
    if (err)
        fail_msg("%s", err->text);
    many[n_many++] = box;
}

static void many_boxes_open_at_once(void **state)
{
    struct nj_box_plan plan;
    struct nj_error err;

    (void)state;
    nj_box_plan_default(&plan);
    n_many = 0;
    for (int i = 0; i < 40; i++)
        must(nj_box_open(h.sandbox, &plan, on_many, NULL, &err), &err);
    while (n_many < 40)
        assert_int_equal(event_base_loop(h.base, EVLOOP_ONCE), 0);
    for (int i = 0; i < 40; i++) {
        h.box = many[i];
        if (i % 8 == 0)
            sh_ok(&h, "true");
    }
    for (int i = 0; i < 39; i++)
        nj_box_close(many[i]);
}

/* group_left - a cgroup whose name begins so */
static bool group_left(const char *begins)
{
    char command[256];

    snprintf(command, sizeof(command),
             "find /sys/fs/cgroup -maxdepth 6 -name '%s*' 2>/dev/null | grep -q .", begins);
    return system(command) == 0;
}

static void no_cgroup_of_a_closed_box_stays(void **state)
{
    char begins[128];

    (void)state;
    snprintf(begins, sizeof(begins), "nightjar.run-%s-", run_name());
    open_box(&h, NULL);
    sh_ok(&h, "true");
    stop(&h);
    assert_false(group_left(begins));
    start(&h);
}

/* ---- the processes around a box ---- */

static bool status_says(pid_t pid, const char *line)
{
    char path[64];
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err;

    nj_buf_init(&text, 1 << 20);
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    must(nj_fsio_read_file(AT_FDCWD, path, &text, &err), &err);
    return strstr((char *)text.data, line) != NULL;
}

static void a_supervisor_is_confined(void **state)
{
    char command[128];
    pid_t pid;

    (void)state;
    open_box(&h, NULL);
    pid = nj_box_supervisor_pid(h.box);
    assert_true(status_says(pid, "NoNewPrivs:\t1\n"));
    assert_true(status_says(pid, "Seccomp:\t2\n"));
    if (geteuid() != 0)
        return;
    assert_false(status_says(pid, "Uid:\t0\t")); /* a host uid of its own */
    assert_false(status_says(pid, "\t0\t0\t0\n"));
    /* Standard ones and null 4, engine 1 and init 2, the workspace, what hears of changes, the
     * box's unix sockets, and of its cgroups 6: each stands in the table of the README. */
    snprintf(command, sizeof(command),
             "[ $(ls /proc/%d/fd | wc -l) -le 16 ] && ls /proc/%d/root | grep -qx workspace", pid,
             pid);
    assert_int_equal(system(command), 0);
}

static unsigned uid_of(pid_t pid)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err;
    char path[64];

    nj_buf_init(&text, 1 << 20);
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    must(nj_fsio_read_file(AT_FDCWD, path, &text, &err), &err);
    return (unsigned)strtoul(strstr((char *)text.data, "\nUid:") + 5, NULL, 10);
}

static void boxes_have_different_owners_also_those_of_another_run(void **state)
{
    static struct harness other;
    struct nj_box *first;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: an ordinary user has one uid for all boxes\n");
        return;
    }
    open_box(&h, NULL);
    first = h.box;
    open_box(&h, NULL);
    start(&other);
    open_box(&other, NULL);
    assert_int_not_equal(uid_of(nj_box_supervisor_pid(first)),
                         uid_of(nj_box_supervisor_pid(h.box)));
    assert_int_not_equal(uid_of(nj_box_supervisor_pid(first)),
                         uid_of(nj_box_supervisor_pid(other.box)));
    stop(&other);
    nj_box_close(first);
}

static void payloads_are_the_first_to_go_when_memory_ends(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "cat /proc/self/oom_score_adj; ulimit -n; ulimit -c; grep -vc ':/$' "
              "/proc/self/cgroup; true");
    assert_string_equal(h.out, "1000\n4096\n0\n0\n");
}

static void a_lost_helper_ends_all_boxes(void **state)
{
    static const char *const argv[] = {"sleep", "97533", NULL};
    struct nj_box_call call = shell_call(argv);
    struct nj_box_plan plan;
    struct nj_error err;

    (void)state;
    open_box(&h, NULL);
    h.done = false;
    must(nj_box_call(h.box, &call, NULL, on_called, &h, &err), &err);
    assert_int_equal(kill(parent_of(nj_box_supervisor_pid(h.box)), SIGKILL), 0);
    run_until_done(&h);
    assert_true(h.failed);
    assert_int_equal(h.err.code, NJ_E_UPSTREAM);
    nj_box_plan_default(&plan);
    for (int i = 0; i < 100 && count_processes("97533") > 0; i++)
        usleep(10000);
    assert_int_equal(count_processes("97533"), 0);
    (void)event_base_loop(h.base, EVLOOP_NONBLOCK);
    nj_box_close(h.box);
    h.box = NULL;
    assert_false(try_open(&h, &plan));
}

static void a_killed_engine_leaves_nothing_behind(void **state)
{
    int pipe_fds[2], status;
    pid_t pid, supervisor;
    char begins[128];

    (void)state;
    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        static const char *const argv[] = {"sleep", "97534", NULL};
        struct nj_box_call call = shell_call(argv);
        struct nj_error err;

        start(&h);
        open_box(&h, NULL);
        must(nj_box_call(h.box, &call, NULL, on_called, &h, &err), &err);
        supervisor = nj_box_supervisor_pid(h.box);
        if (write(pipe_fds[1], &supervisor, sizeof(supervisor)) != (ssize_t)sizeof(supervisor))
            _exit(1);
        (void)event_base_dispatch(h.base);
        _exit(1);
    }
    (void)close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &supervisor, sizeof(supervisor)), sizeof(supervisor));
    (void)close(pipe_fds[0]);
    for (int i = 0; i < 500 && count_processes("97534") == 0; i++)
        usleep(2000);
    assert_int_equal(count_processes("97534"), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (int i = 0; i < 200 && (count_processes("97534") > 0 || kill(supervisor, 0) == 0); i++)
        usleep(10000);
    assert_int_equal(count_processes("97534"), 0);
    assert_int_equal(kill(supervisor, 0), -1);
    snprintf(begins, sizeof(begins), "nightjar.run-test-box-%d-", pid);
    for (int i = 0; i < 100 && group_left(begins); i++)
        usleep(20000);
    assert_false(group_left(begins));
}

/* v1_place - where groups of runs are made in the pids hierarchy; empty: not v1 */
static const char *v1_place(void)
{
    static struct nj_cgroups cgroups;

    nj_cgroups_find(&cgroups);
    return cgroups.kind[NJ_CGROUP_PIDS] == NJ_CGROUP_V1 ? cgroups.dir[NJ_CGROUP_PIDS] : "";
}

static void leftovers_of_any_run_are_swept_and_live_runs_are_not(void **state)
{
    static struct harness other;
    const char *dir = v1_place();
    char command[4096], group[1024], begins[128];
    int lock_fd = -1;

    (void)state;
    if (geteuid() != 0 || *dir == '\0') {
        print_message("skipped: no writable cgroup v1\n");
        return;
    }
    open_box(&h, NULL);
    snprintf(begins, sizeof(begins), "nightjar.run-%s-", run_name());
    assert_true(group_left(begins));
    /* One of another run that is gone, with a box and a process in it; one that is no run's. While
     * it is made it is locked as a live run's is: an engine that another test starts now would
     * sweep it. */
    snprintf(group, sizeof(group), "%s/nightjar.run-gone-%d-1", dir, getpid());
    snprintf(command, sizeof(command),
             "mkdir -p %s/7 %s/nightjar.no-%d && (sleep 97535 & echo $! > %s/7/cgroup.procs)",
             group, dir, getpid(), group);
    for (int tries = 0; tries < 50 && lock_fd < 0; tries++) {
        assert_true(mkdir(group, 0755) == 0 || errno == EEXIST);
        lock_fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (lock_fd >= 0 && (flock(lock_fd, LOCK_EX | LOCK_NB) < 0 || access(group, F_OK) < 0))
            (void)close(nj_steal_fd(&lock_fd));
    }
    assert_true(lock_fd >= 0);
    assert_int_equal(system(command), 0);
    assert_int_equal(count_processes("97535"), 1);
    (void)close(lock_fd);
    start(&other);
    assert_int_equal(count_processes("97535"), 0);
    snprintf(command, sizeof(command),
             "! [ -e %s/nightjar.run-gone-%d-1 ] && rmdir %s/nightjar.no-%d", dir, getpid(), dir,
             getpid());
    assert_int_equal(system(command), 0);
    sh_ok(&h, "true"); /* ours goes on */
    open_box(&other, NULL);
    sh_ok(&other, "true");
    stop(&other);
    sh_ok(&h, "true");
}

/* in_a_pid_namespace - a run of the same name whose pids mean nothing out here, and ours nothing
 * there. It sweeps at its start, has a box while we start another, and must still have it then. */
static void in_a_pid_namespace(int from_us, int to_us)
{
    static struct harness inner;
    char byte = 'r';

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, NULL) < 0)
        _exit(5);
    start(&inner);
    open_box(&inner, NULL);
    sh_ok(&inner, "true");
    if (write(to_us, &byte, 1) != 1 || read(from_us, &byte, 1) != 1)
        _exit(2);
    sh_ok(&inner, "true");
    stop(&inner);
    _exit(0);
}

static void runs_in_different_pid_namespaces_leave_each_other_alone(void **state)
{
    static struct harness other;
    int to[2], from[2], status;
    char byte = 'g';
    pid_t pid;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: not root\n");
        return;
    }
    open_box(&h, NULL);
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
            _exit(3);
        pid = fork();
        if (pid == 0)
            in_a_pid_namespace(to[0], from[1]);
        _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 4);
    }
    (void)close(from[1]);
    if (read(from[0], &byte, 1) == 1) {
        sh_ok(&h, "true");
        start(&other);
        open_box(&other, NULL);
        sh_ok(&other, "true");
        assert_int_equal(write(to[1], &byte, 1), 1);
        stop(&other);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    sh_ok(&h, "true");
}

static void an_engine_may_drop_root_after_the_start(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: not root\n");
        return;
    }
    pid = fork();
    if (pid == 0) {
        struct nj_workspace_ref ref;

        start(&h);
        if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        open_box(&h, NULL);
        sh_ok(&h, "echo x > a; chmod 0 a");
        ref = h.ref;
        nj_box_close(h.box);
        open_box(&h, NULL);
        restore(&h, &ref);
        sh_ok(&h, "chmod 600 a; cat a");
        status = strcmp(h.out, "x\n") != 0;
        stop(&h);
        _exit(status);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_payload_cannot_look_into_what_surrounds_it(void **state)
{
    (void)state;
    open_box(&h, NULL);
    sh_ok(&h, "python3 - <<'E'\n"
              "import ctypes, os, signal\n"
              "libc = ctypes.CDLL(None, use_errno=True)\n"
              "def t(what, r): print(what, ctypes.get_errno() if r < 0 else 'works')\n"
              "t('ptrace', libc.ptrace(16, 1, 0, 0))\n"
              "t('unshare', libc.unshare(0x10000000))\n"
              "t('mount', libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))\n"
              "t('umount', libc.umount2(b'/proc', 2))\n"
              "t('chroot', libc.chroot(b'/tmp'))\n"
              "t('mknod', libc.mknod(b'/tmp/dev', 0o20666, 0x103))\n"
              "for p in ('/proc/1/mem', '/proc/1/exe', '/proc/1/root/etc', '/proc/1/environ', "
              "'/proc/1/fd/3'):\n"
              "    try: open(p, 'rb').read(1); print(p, 'works')\n"
              "    except OSError as e: print(p, e.errno)\n"
              "os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGTERM); os.kill(1, signal.SIGSTOP)\n"
              "print('alive')\n"
              "E\n");
    assert_string_equal(
        h.out, "ptrace 1\nunshare 1\nmount 1\numount 1\nchroot 1\nmknod 1\n/proc/1/mem 13\n"
               "/proc/1/exe 13\n/proc/1/root/etc 13\n/proc/1/environ 13\n/proc/1/fd/3 13\nalive\n");
}

/* ---- inputs and read-only paths ---- */

static void inputs_are_mounted_read_only_where_the_plan_says(void **state)
{
    static const char *const frozen[] = {"/workspace/frozen"};
    struct nj_object_sink sink = {put_store, &h.store_fd};
    struct nj_tree_builder *builder;
    struct nj_box_mount mounts[2] = {{.target = "/data"}, {.target = "/workspace/in/deep"}};
    struct nj_objects objects = {0};
    struct nj_object_source source = {.get = nj_objects_get, .ctx = &objects};
    struct nj_workspace_ref ref;
    struct nj_box_plan plan;
    struct nj_error err;
    int fd;

    (void)state;
    must(nj_tree_builder_new(&builder, &err), &err);
    must(nj_tree_builder_file(builder, "a/b.txt", 0600, 1234567890123456789,
                              nj_span_text("content"), &sink, &err),
         &err);
    must(nj_tree_builder_file(builder, "run.sh", 0700, 0, nj_span_text("#!/bin/sh\necho ran\n"),
                              &sink, &err),
         &err);
    must(nj_tree_builder_finish(builder, &sink, &ref, &err), &err);
    nj_tree_builder_free(builder);
    fd = dup(h.store_fd);
    must(nj_msg_seal(fd, &err), &err);
    must(nj_objects_open(&objects, fd, &err), &err);
    must(nj_sandbox_add_input(h.sandbox, &ref, &source, &err), &err);
    must(nj_sandbox_add_input(h.sandbox, &ref, &source, &err), &err);
    nj_objects_close(&objects);
    (void)close(h.store_fd);
    must(nj_fsio_memfd("test-store", &h.store_fd, &err), &err);

    nj_box_plan_default(&plan);
    mounts[0].input = mounts[1].input = ref;
    plan.mounts = mounts;
    plan.n_mounts = 2;
    plan.read_only_paths = frozen;
    plan.n_read_only_paths = 1;
    open_box(&h, &plan);
    sh_ok(
        &h,
        "cat /data/a/b.txt /workspace/in/deep/a/b.txt; stat -c %Y.%a /data/a/b.txt; /data/run.sh; "
        "for f in /data/x /data/a/b.txt /workspace/in/deep/x /workspace/frozen/x; do "
        "echo x 2>/dev/null > $f && echo wrote $f; done; rm -rf /workspace/in 2>/dev/null; ls "
        "/workspace");
    assert_string_equal(h.out, "contentcontent1234567890.444\nran\nfrozen\nin\n");
    /* An agent cannot move the place out of the way, or it is put back, or it is told. */
    sh(&h, "mv /workspace/in /workspace/moved && ln -s /etc /workspace/in && echo moved");
    if (strcmp(h.out, "moved\n") == 0) {
        sh(&h, "echo never");
        assert_int_equal(h.outcome.exit, NJ_EXIT_REFUSED);
        assert_non_null(strstr(h.text, "cannot mount at /workspace/in/deep"));
        assert_string_equal(h.out, "");
    }
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(a_box_opens_and_runs_echo),
        BOX_TEST(the_payload_has_no_privilege_at_all),
        BOX_TEST(the_payload_holds_three_descriptors),
        BOX_TEST(the_environment_is_fixed_and_a_call_may_override_it),
        BOX_TEST(the_system_is_read_only),
        BOX_TEST(nothing_of_the_host_is_to_be_seen),
        BOX_TEST(there_is_no_network_but_loopback),
        BOX_TEST(python_and_node_and_pipelines_work),
        BOX_TEST(exit_status_and_signal_are_told),
        BOX_TEST(script_and_input_reach_the_payload),
        BOX_TEST(what_cannot_run_is_refused_with_a_reason),
        BOX_TEST(writable_paths_have_their_usual_modes),
        BOX_TEST(files_last_from_call_to_call_and_nothing_else_does),
        BOX_TEST(a_daemon_does_not_survive_its_call_nor_hold_it_up),
        BOX_TEST(long_output_keeps_head_tail_count_and_digest),
        BOX_TEST(output_beyond_a_message_comes_too),
        BOX_TEST(output_of_a_slow_call_comes_as_it_is_written),
        BOX_TEST(a_flood_neither_grows_nor_stops_anything),
        BOX_TEST(a_lost_supervisor_ends_the_call_in_its_callback),
        BOX_TEST(closing_a_box_ends_its_processes_and_gives_no_callback),
        BOX_TEST(an_impossible_box_says_why),
        BOX_TEST(many_boxes_open_at_once),
        BOX_TEST(no_cgroup_of_a_closed_box_stays),
        BOX_TEST(a_supervisor_is_confined),
        BOX_TEST(boxes_have_different_owners_also_those_of_another_run),
        BOX_TEST(payloads_are_the_first_to_go_when_memory_ends),
        BOX_TEST(a_lost_helper_ends_all_boxes),
        BOX_TEST(a_killed_engine_leaves_nothing_behind),
        BOX_TEST(leftovers_of_any_run_are_swept_and_live_runs_are_not),
        BOX_TEST(runs_in_different_pid_namespaces_leave_each_other_alone),
        BOX_TEST(an_engine_may_drop_root_after_the_start),
        BOX_TEST(a_payload_cannot_look_into_what_surrounds_it),
        BOX_TEST(inputs_are_mounted_read_only_where_the_plan_says),
    };

    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(void)
{
    return run_both_ways(run, "boxes");
}
