/*
 * files.c - what keeping and restoring a workspace costs alone, without box, engine and journal
 *
 * usage: files DIRECTORIES FILES BYTES CHANGED ROUNDS
 *
 * Makes DIRECTORIES x FILES files of BYTES each on a tmpfs of its own, and then, ROUNDS times, adds
 * 200 bytes to CHANGED of them and captures the workspace; prints milliseconds of the first
 * capture, and the median and the least of the others with the bytes that they gave. Then restores
 * into the tmpfs: what it holds but for one round's changes, and the whole after all was removed.
 * With BENCH_REPRODUCIBLE in the environment files are dated as from D2 on.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "batch/sandbox/protocol.h"
#include "batch/sandbox/supervisor.h"
#include "batch/sandbox/workspace.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define ROUNDS_MAX 1000
#define SIZE_MB 2048
#define SKIPPED 77 /* as ctest is told */

struct bench {
    size_t dirs, files, bytes, changed, rounds;
    char *content;
    struct nj_workspace *workspace;
    struct nj_changes *changes;
    struct nj_supervisor_objects objects; /* everything that was ever captured */
    int64_t clock_ns;
    uint64_t random;
};

static void die(const char *what, const struct nj_error *err)
{
    fprintf(stderr, "files: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Knuth's linear generator: the same files in every run. */
static size_t pick(struct bench *b, size_t below)
{
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(b->random >> 33) % below;
}

static void write_file(const char *path, int flags, const void *data, size_t len)
{
    int fd = open(path, flags | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, data, len) != (ssize_t)len || close(fd) < 0)
        die(path, NULL);
}

static void make_files(struct bench *b)
{
    char path[64];

    for (size_t d = 0; d < b->dirs; d++) {
        (void)snprintf(path, sizeof(path), "d%zu", d);
        if (mkdir(path, 0755) < 0)
            die(path, NULL);
        for (size_t f = 0; f < b->files; f++) {
            for (size_t at = 0; at + 8 <= b->bytes; at += 64)
                (void)snprintf(b->content + at, 9, "%08zx", pick(b, 1u << 31));
            (void)snprintf(path, sizeof(path), "d%zu/f%zu", d, f);
            write_file(path, O_CREAT, b->content, b->bytes);
        }
    }
}

static void remove_files(const struct bench *b, int root_fd)
{
    struct nj_error err;
    char path[64];

    for (size_t d = 0; d < b->dirs; d++) {
        (void)snprintf(path, sizeof(path), "d%zu", d);
        if (nj_fsio_remove_tree(root_fd, path, &err) < 0)
            die(path, &err);
    }
}

static void change_files(struct bench *b)
{
    char path[64], text[200];

    for (size_t i = 0; i < b->changed; i++) {
        (void)snprintf(path, sizeof(path), "d%zu/f%zu", pick(b, b->dirs), pick(b, b->files));
        (void)memset(text, 'a' + (int)pick(b, 26), sizeof(text));
        write_file(path, O_APPEND, text, sizeof(text));
    }
}

/* begin - what a call does before it changes anything; the next capture ends it */
static void begin(struct bench *b)
{
    const struct nj_times_clock clock = nj_times_simple_clock(&b->clock_ns);

    nj_workspace_begin(b->workspace, &clock);
}

/* capture - prints nothing; returns milliseconds */
static double capture(struct bench *b, struct nj_workspace_capture *ret_capture)
{
    const struct nj_object_sink sink = {nj_supervisor_put, &b->objects};
    struct nj_error err;
    double begun = now_ms();

    nj_changes_drain(b->changes);
    if (nj_workspace_capture(b->workspace, &sink, ret_capture, &err) < 0)
        die("capture", &err);
    return now_ms() - begun;
}

static double restore(struct bench *b, const struct nj_workspace_ref *ref)
{
    NJ_AUTO(nj_objects_close) struct nj_objects objects = {0};
    nj_auto_close int fd = -1;
    struct nj_error err;
    char path[64];
    double begun;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", b->objects.fd);
    fd = nj_fsio_memfd("bench", &fd, &err) < 0 ? -1 : fd;
    if (fd < 0)
        die("memory", NULL);
    for (uint64_t at = 0; at < b->objects.bytes;) {
        off_t from = (off_t)at;
        ssize_t n = copy_file_range(b->objects.fd, &from, fd, NULL, b->objects.bytes - at, 0);

        if (n <= 0)
            die("copy", NULL);
        at += (uint64_t)n;
    }
    if (nj_msg_seal(fd, &err) < 0)
        die("seal", &err);
    begun = now_ms();
    if (nj_objects_open(&objects, nj_steal_fd(&fd), &err) < 0 ||
        nj_workspace_restore(b->workspace, ref, &objects, &err) < 0)
        die("restore", &err);
    return now_ms() - begun;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void put_text(const char *path, const char *text)
{
    write_file(path, 0, text, strlen(text));
}

/* be_mapped - who has no number in a namespace cannot own a file there */
static void be_mapped(uid_t uid, gid_t gid)
{
    char text[32];

    put_text("/proc/self/setgroups", "deny");
    (void)snprintf(text, sizeof(text), "0 %u 1", uid);
    put_text("/proc/self/uid_map", text);
    (void)snprintf(text, sizeof(text), "0 %u 1", gid);
    put_text("/proc/self/gid_map", text);
}

/* place - a tmpfs that nobody else sees, as the box has one */
static int place(void)
{
    char path[] = "/tmp/nj-bench-files.XXXXXX";
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int fd;

    if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) < 0) {
        perror("skipped: namespaces");
        exit(SKIPPED);
    }
    if (uid != 0)
        be_mapped(uid, gid);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(path) ||
        mount("tmpfs", path, "tmpfs", 0, "size=4g,mode=700") < 0)
        die("tmpfs", NULL);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fchdir(fd) < 0)
        die(path, NULL);
    if (umount2(path, MNT_DETACH) < 0 || rmdir(path) < 0) /* it lives on while we are in it */
        die(path, NULL);
    return fd;
}

static void run(struct bench *b, int root_fd)
{
    struct nj_workspace_capture now, before = {0};
    double ms[ROUNDS_MAX], first;
    uint64_t bytes;
    struct nj_error err;

    if (nj_changes_new(nj_changes_mark("."), &b->changes, &err) < 0 ||
        nj_workspace_new(root_fd, (uint64_t)SIZE_MB << 20, b->changes, &b->workspace, &err) < 0)
        die("workspace", &err);
    if (getenv("BENCH_REPRODUCIBLE") && nj_workspace_reproduce(b->workspace, &err) < 0)
        die("workspace", &err);
    begin(b);
    first = capture(b, &now); /* of nothing */
    begin(b);
    make_files(b);
    first = capture(b, &now);
    bytes = b->objects.bytes;
    for (size_t i = 0; i < b->rounds; i++) {
        before = now;
        begin(b);
        change_files(b);
        ms[i] = capture(b, &now);
    }
    qsort(ms, b->rounds, sizeof(*ms), compare);
    printf("first capture %.1f ms, %llu bytes\n", first, (unsigned long long)bytes);
    printf("%zu changed: median %.2f ms, least %.2f, %llu bytes\n", b->changed, ms[b->rounds / 2],
           ms[0], (unsigned long long)(b->objects.bytes - bytes) / b->rounds);
    printf("restore of one step before: %.1f ms\n", restore(b, &before.ref));
    printf("restore of the last: %.1f ms\n", restore(b, &now.ref));
    begin(b);
    remove_files(b, root_fd);
    nj_changes_drain(b->changes);
    capture(b, &before);
    printf("restore of all: %.1f ms\n", restore(b, &now.ref));
}

int main(int argc, char **argv)
{
    struct bench b = {.objects = {.fd = -1}};
    int root_fd;

    if (argc != 6) {
        fprintf(stderr, "usage: files DIRECTORIES FILES BYTES CHANGED ROUNDS\n");
        return 2;
    }
    b.dirs = strtoul(argv[1], NULL, 10);
    b.files = strtoul(argv[2], NULL, 10);
    b.bytes = strtoul(argv[3], NULL, 10);
    b.changed = strtoul(argv[4], NULL, 10);
    b.rounds = strtoul(argv[5], NULL, 10);
    if (b.dirs == 0 || b.files == 0 || b.rounds == 0 || b.rounds > ROUNDS_MAX)
        return 2;
    b.content = malloc(b.bytes + 16);
    if (!b.content)
        die("memory", NULL);
    for (size_t i = 0; i < b.bytes; i++)
        b.content[i] = (char)('a' + i * 7 % 26);
    root_fd = place();
    run(&b, root_fd);
    nj_workspace_free(b.workspace);
    nj_close_auto(&b.objects.fd);
    free(b.content);
    return 0;
}
