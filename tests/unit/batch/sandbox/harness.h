/*
 * harness.h - boxes for tests: each operation runs the loop until its callback came
 *
 * A file has a "static struct harness h" and lists its cases as BOX_TEST(name): each begins with
 * sandboxes started and no box, and whatever is open at its end is closed, also when it fails.
 * BOX_TEST_AFTER(name, own) calls own(state) first, which calls set_up(state) and does more.
 */
#ifndef NJ_TESTS_SANDBOX_HARNESS_H
#define NJ_TESTS_SANDBOX_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "batch/sandbox/objects.h"
#include "batch/sandbox/protocol.h"
#include "batch/sandbox/sandbox.h"
#include "formats/base/fsio.h"

#define OUTPUT_MAX_BYTES (1u << 20)

struct harness {
    struct event_base *base;
    struct nj_sandbox *sandbox;
    struct nj_box *box;
    int store_fd; /* all objects that came out, encoded */
    bool done;
    bool failed;
    struct nj_error err;
    /* of the last call */
    struct nj_call_outcome outcome;
    struct nj_call_meta meta;
    uint64_t objects_bytes;
    uint64_t files_hashed;
    char out[OUTPUT_MAX_BYTES];
    char out_tail[OUTPUT_MAX_BYTES];
    char errors[OUTPUT_MAX_BYTES];
    char text[1024];
    struct nj_workspace_ref ref;
    uint64_t pieces; /* bytes that came as they were written */
    uint64_t scan_files, scan_misses;
};

static inline void must(int r, const struct nj_error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static inline double real_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* difference - the first byte in which two texts differ; -1: in none */
static inline long difference(const char *a, const char *b)
{
    long at = 0;

    while (a[at] == b[at] && a[at] != '\0')
        at++;
    return a[at] == b[at] ? -1 : at;
}

static inline pid_t parent_of(pid_t pid)
{
    char path[64];
    FILE *file;
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %d", &parent), 1);
    (void)fclose(file);
    return parent;
}

static inline void run_until_done(struct harness *h)
{
    while (!h->done) {
        if (event_base_loop(h->base, EVLOOP_ONCE) != 0)
            fail_msg("the loop has nothing to wait for");
    }
}

/* run_name - of this process's runs; unique among tests at the same time */
static inline const char *run_name(void)
{
    static char text[64];

    snprintf(text, sizeof(text), "test-box-%d", getpid());
    return text;
}

static inline void start(struct harness *h)
{
    struct nj_error err;

    memset(h, 0, sizeof(*h));
    h->base = event_base_new();
    assert_non_null(h->base);
    must(nj_sandbox_start(run_name(), &h->sandbox, &err), &err);
    must(nj_sandbox_attach(h->sandbox, h->base, &err), &err);
    must(nj_fsio_memfd("test-store", &h->store_fd, &err), &err);
}

static inline void stop(struct harness *h)
{
    nj_box_close(h->box);
    h->box = NULL;
    nj_sandbox_free(h->sandbox);
    event_base_free(h->base);
    (void)close(h->store_fd);
}

static inline int set_up(void **state)
{
    start(*state);
    return 0;
}

static inline int tear_down(void **state)
{
    stop(*state);
    return 0;
}

#define BOX_TEST_AFTER(name, own) cmocka_unit_test_prestate_setup_teardown(name, own, tear_down, &h)
#define BOX_TEST(name) BOX_TEST_AFTER(name, set_up)

static inline void on_opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct harness *h = ctx;

    h->done = true;
    h->box = box;
    h->failed = err != NULL;
    if (err)
        h->err = *err;
}

/* try_open - returns whether it worked; h->err otherwise */
static inline bool try_open(struct harness *h, const struct nj_box_plan *plan)
{
    h->done = false;
    if (nj_box_open(h->sandbox, plan, on_opened, h, &h->err) < 0)
        return false;
    run_until_done(h);
    return !h->failed;
}

static inline void open_box(struct harness *h, const struct nj_box_plan *plan)
{
    struct nj_box_plan standard;

    nj_box_plan_default(&standard);
    if (!try_open(h, plan ? plan : &standard))
        fail_msg("%s", h->err.text);
}

static inline void keep_text(char *to, struct nj_span span)
{
    size_t len = span.len < OUTPUT_MAX_BYTES - 1 ? span.len : OUTPUT_MAX_BYTES - 1;

    if (len > 0)
        memcpy(to, span.data, len);
    to[len] = '\0';
}

static inline void on_called(void *ctx, const struct nj_box_result *result,
                             const struct nj_error *err)
{
    struct harness *h = ctx;

    h->done = true;
    h->failed = err != NULL;
    if (err) {
        h->err = *err;
        return;
    }
    h->outcome = result->outcome;
    h->meta = result->meta;
    h->objects_bytes = result->objects_bytes;
    h->files_hashed = result->files_hashed;
    h->ref.tree = result->outcome.tree;
    h->ref.stamps = result->meta.stamps;
    keep_text(h->out, result->outcome.out.head);
    keep_text(h->out_tail, result->outcome.out.tail);
    keep_text(h->errors, result->outcome.errors.head);
    snprintf(h->text, sizeof(h->text), "%.*s", (int)result->outcome.text.len,
             result->outcome.text.data ? (const char *)result->outcome.text.data : "");
    if (result->objects_fd >= 0) {
        uint8_t *bytes = malloc(result->objects_bytes);
        struct nj_error ignored;

        assert_non_null(bytes);
        must(nj_fsio_pread(result->objects_fd, bytes, result->objects_bytes, 0, &ignored),
             &ignored);
        must(nj_fsio_write(h->store_fd, bytes, result->objects_bytes, &ignored), &ignored);
        free(bytes);
        (void)close(result->objects_fd);
    }
}

static inline void on_output(void *ctx, int stream, struct nj_span piece)
{
    struct harness *h = ctx;

    (void)stream;
    h->pieces += piece.len;
}

static inline void call_with(struct harness *h, const struct nj_box_call *call)
{
    struct nj_error err;

    h->done = false;
    h->pieces = 0;
    must(nj_box_call(h->box, call, on_output, on_called, h, &err), &err);
    run_until_done(h);
}

static inline struct nj_box_call shell_call(const char *const *argv)
{
    return (struct nj_box_call){.argv = argv,
                                .timeout_ms = 60000,
                                .runtime_left_ms = 600000,
                                .runtime_limit_ms = 600000,
                                .head_max_bytes = NJ_BOX_HEAD_BYTES,
                                .tail_max_bytes = NJ_BOX_TAIL_BYTES};
}

/* sh - run a shell command; fails the test when the box does */
static inline void sh(struct harness *h, const char *command)
{
    const char *const argv[4] = {"bash", "-c", command, NULL};
    struct nj_box_call call = shell_call(argv);

    call_with(h, &call);
    if (h->failed)
        fail_msg("%s: %s", command, h->err.text);
}

/* sh_ok - and it must exit with 0 */
static inline void sh_ok(struct harness *h, const char *command)
{
    sh(h, command);
    if (h->outcome.exit != NJ_EXIT_EXITED || h->outcome.status != 0)
        fail_msg("%s: exit %d status %d limit %d\n%s\n%s\n%s", command, (int)h->outcome.exit,
                 h->outcome.status, (int)h->outcome.limit, h->text, h->out, h->errors);
}

static inline void on_restored(void *ctx, const struct nj_error *err)
{
    struct harness *h = ctx;

    h->done = true;
    h->failed = err != NULL;
    if (err)
        h->err = *err;
}

/* put_store - a sink's; @ctx is &h->store_fd */
static inline int put_store(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES + 4096);
    r = nj_object_encode(object, &buf, err);
    return r < 0 ? r : nj_fsio_write(*(int *)ctx, buf.data, buf.len, err);
}

/* try_restore - from all objects that ever came out */
static inline bool try_restore(struct harness *h, const struct nj_workspace_ref *ref)
{
    struct nj_error err;
    struct stat st;
    uint8_t *bytes;
    int fd;

    assert_int_equal(fstat(h->store_fd, &st), 0);
    bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    must(nj_fsio_pread(h->store_fd, bytes, (size_t)st.st_size, 0, &err), &err);
    must(nj_msg_memfd("test-objects", (struct nj_span){bytes, (size_t)st.st_size}, &fd, &err),
         &err);
    free(bytes);
    h->done = false;
    must(nj_box_restore(h->box, ref, fd, on_restored, h, &err), &err);
    run_until_done(h);
    return !h->failed;
}

static inline void restore(struct harness *h, const struct nj_workspace_ref *ref)
{
    if (!try_restore(h, ref))
        fail_msg("%s", h->err.text);
}

static inline void on_scanned(void *ctx, uint64_t files, uint64_t misses,
                              const struct nj_error *err)
{
    struct harness *h = ctx;

    h->done = true;
    h->failed = err != NULL;
    h->scan_files = files;
    h->scan_misses = misses;
    if (err)
        h->err = *err;
}

static inline void scan(struct harness *h)
{
    struct nj_error err;

    h->done = false;
    must(nj_box_scan(h->box, on_scanned, h, &err), &err);
    run_until_done(h);
    if (h->failed)
        fail_msg("%s", h->err.text);
}

/* run_both_ways - the tests as we are and, when we are root, once more in a child as an ordinary
 * user. Everything is tried for real. */
static inline int run_both_ways(int (*run)(const char *name), const char *name)
{
    char text[128];
    int status, failures = 0;
    pid_t pid;

    snprintf(text, sizeof(text), "%s as %s", name, geteuid() == 0 ? "root" : "an ordinary user");
    /* Each in a child of its own: what one way leaves behind must not help the other. */
    for (int way = 0; way < (geteuid() == 0 ? 2 : 1); way++) {
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            if (way == 1) {
                if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                    setresuid(65534, 65534, 65534) < 0)
                    _exit(99);
                snprintf(text, sizeof(text), "%s as an ordinary user", name);
            }
            status = run(text);
            fflush(stdout);
            exit(status ? 1 : 0);
        }
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            failures++;
    }
    return failures;
}

#endif
