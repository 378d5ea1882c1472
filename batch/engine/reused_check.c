/*
 * reused_check.c - the confined child that reads what is to be reused
 */
#include "batch/engine/reused_check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/engine/confine.h"
#include "batch/engine/outputs.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"
#include "formats/bundle/bundle.h"
#include "formats/bundle/spool.h"

#include "formats/base/banned.h"

#define NAME_MAX_BYTES 256
/* What reading a bundle may take by its size, far more than it does; what goes beyond that, as on a
 * busy machine, is taken from one allowance for all bundles of a run. */
#define FAIR_MS 1000
#define FAIR_BYTES_PER_MS 1000
#define FAIR_MAX_MS 60000 /* whoever makes a bundle chooses its size */
#define OVERTIME_MAX_MS 1800000

struct nj_reused_checker {
    pid_t pid;
    int fd;
    const struct nj_plan *plan;
    int outputs_fd;
    int64_t overtime_ms; /* that is left */
};

/* Engine to child, with the bundle's descriptor; both ends are one program. */
struct question {
    uint64_t session; /* its place in the plan */
    char name[NAME_MAX_BYTES];
};

/* ---- the child ---- */

/* The last CLOSED event of a bundle: what the session left. @bytes holds what it points to. */
static int read_closed(struct nj_bundle *bundle, struct nj_buf *bytes, struct nj_event *event,
                       struct nj_error *err)
{
    for (uint64_t at = nj_bundle_info(bundle)->frames; at > 0; at--) {
        struct nj_frame frame;

        nj_buf_clear(bytes);
        if (nj_bundle_frame(bundle, at, bytes, &frame, err) < 0)
            return -(int)err->code;
        if (frame.kind != NJ_FRAME_EVENT)
            continue;
        if (nj_event_decode(frame.payload, event, err) < 0)
            return -(int)err->code;
        if (event->kind == NJ_EVENT_CLOSED)
            return 0;
    }
    return nj_fail(err, NJ_E_CORRUPT, "it does not tell how its session ended");
}

static int publish_outputs(const struct nj_plan_session *session, struct nj_bundle *bundle,
                           int outputs_fd, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object_source source = nj_bundle_objects(bundle);
    struct nj_event event;

    nj_buf_init(&bytes, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (read_closed(bundle, &bytes, &event, err) < 0)
        return -(int)err->code;
    if (!event.closed.has_outputs)
        return 0;
    return nj_outputs_publish(&source, &event.closed.outputs, outputs_fd, session->slug, NULL, err);
}

static int check(const struct nj_plan_session *session, int fd, const char *name, int outputs_fd,
                 struct nj_error *err)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    const struct nj_bundle_info *info;

    if (nj_bundle_open(fd, name, 0, &bundle, err) < 0)
        return -(int)err->code; /* it names the bundle */
    info = nj_bundle_info(bundle);
    if (!nj_digest_equal(&info->identity, &session->identity) ||
        info->status != NJ_STATUS_SUCCEEDED || strcmp(info->key, session->key) != 0)
        return nj_fail(err, NJ_E_CORRUPT, "bundle %s is another session's", name);
    if (publish_outputs(session, bundle, outputs_fd, err) < 0)
        return nj_wrap(err, "bundle %s", name);
    return 0;
}

/* Returns 0, or 1 when the engine asks no more. */
static int answer(const struct nj_reused_checker *checker, struct nj_error *err)
{
    struct nj_error verdict = {0};
    struct question question;
    nj_auto_close int fd = -1;
    size_t len, n_fds = 1;

    if (nj_fsio_recvmsg(checker->fd, &question, sizeof(question), &len, &fd, &n_fds, err) < 0)
        return -(int)err->code;
    if (len == 0)
        return 1;
    if (len != sizeof(question) || n_fds != 1 || question.session >= checker->plan->n_sessions)
        return nj_fail(err, NJ_E_INPUT, "no question");
    question.name[sizeof(question.name) - 1] = '\0';
    (void)!check(&checker->plan->sessions[question.session], fd, question.name, checker->outputs_fd,
                 &verdict); /* the verdict tells */
    return nj_fsio_sendmsg(checker->fd, &verdict, sizeof(verdict), NULL, 0, err);
}

/* close_others - the journal of this run, its lock and all else that the engine has open */
static void close_others(const struct nj_reused_checker *checker)
{
    int low = checker->fd < checker->outputs_fd ? checker->fd : checker->outputs_fd;
    int high = checker->fd < checker->outputs_fd ? checker->outputs_fd : checker->fd;

    if (low > STDERR_FILENO + 1)
        (void)close_range(STDERR_FILENO + 1, (unsigned)low - 1, 0);
    if (high > low + 1)
        (void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    (void)close_range((unsigned)high + 1, ~0u, 0);
}

/* tell_first - answer the first question by what went wrong before it; an end with a question
 * unread would take the answer along */
static void tell_first(const struct nj_reused_checker *checker, const struct nj_error *why)
{
    struct nj_error ignored = {0};
    struct question question;
    nj_auto_close int fd = -1;
    size_t len, n_fds = 1;

    if (nj_fsio_recvmsg(checker->fd, &question, sizeof(question), &len, &fd, &n_fds, &ignored) == 0)
        (void)!nj_fsio_sendmsg(checker->fd, why, sizeof(*why), NULL, 0, &ignored);
}

static _Noreturn void run_child(const struct nj_reused_checker *checker, pid_t engine_pid)
{
    const struct nj_confinement confinement = {
        .write_fds = &checker->outputs_fd, .n_write = 1, .loop = true};
    struct nj_error err = {0};
    int r;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != engine_pid)
        _exit(1);                  /* it died before we asked to die with it */
    (void)signal(SIGINT, SIG_IGN); /* Ctrl-C is for the engine, which decides what becomes of us */
    nj_fault_init("worker");
    close_others(checker);
    r = nj_spool_reserve(&err);
    if (r == 0)
        r = nj_confine(&confinement, &err);
    if (r < 0) {
        tell_first(checker, &err);
        _exit(1);
    }
    while (answer(checker, &err) == 0)
        continue;
    nj_fault_done();
    _exit(0);
}

/* ---- the engine ---- */

static int start_child(struct nj_reused_checker *checker, struct nj_error *err)
{
    pid_t engine_pid = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return nj_fail_errno(err, errno, "socketpair to a reading process");
    checker->pid = fork();
    checker->fd = pair[checker->pid == 0 ? 1 : 0];
    (void)close(pair[checker->pid == 0 ? 0 : 1]);
    if (checker->pid == 0)
        run_child(checker, engine_pid);
    if (checker->pid < 0)
        return nj_fail_errno(err, errno, "start a reading process");
    return 0;
}

static void end_child(struct nj_reused_checker *checker)
{
    if (checker->fd >= 0)
        (void)close(checker->fd); /* it ends by that */
    while (checker->pid > 0 && waitpid(checker->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    checker->fd = -1;
    checker->pid = -1;
}

int nj_reused_checker_new(const struct nj_plan *plan, int outputs_fd,
                          struct nj_reused_checker **ret_checker, struct nj_error *err)
{
    struct nj_reused_checker *checker = calloc(1, sizeof(*checker));

    if (!checker)
        return nj_fail_nomem(err);
    *checker = (struct nj_reused_checker){.pid = -1,
                                          .fd = -1,
                                          .plan = plan,
                                          .outputs_fd = outputs_fd,
                                          .overtime_ms = OVERTIME_MAX_MS};
    *ret_checker = checker;
    return 0;
}

void nj_reused_checker_free(struct nj_reused_checker *checker)
{
    if (!checker)
        return;
    end_child(checker);
    free(checker);
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t fair_ms(int fd)
{
    struct stat st;
    int64_t by_size = fstat(fd, &st) < 0 ? FAIR_MAX_MS : FAIR_MS + st.st_size / FAIR_BYTES_PER_MS;

    return by_size < FAIR_MAX_MS ? by_size : FAIR_MAX_MS;
}

/* await_verdict - returns whether there is one, or the child's end, after at most *@ret_max_ms */
static bool await_verdict(struct nj_reused_checker *checker, int fd, int64_t *ret_max_ms)
{
    struct pollfd polled = {checker->fd, POLLIN, 0};
    int64_t fair = fair_ms(fd), began = now_ms(), over;
    int r;

    *ret_max_ms = fair + checker->overtime_ms;
    do {
        r = poll(&polled, 1, (int)*ret_max_ms);
    } while (r < 0 && errno == EINTR);
    over = now_ms() - began - fair;
    if (over > 0)
        checker->overtime_ms -= over < checker->overtime_ms ? over : checker->overtime_ms;
    return r > 0;
}

int nj_reused_check(struct nj_reused_checker *checker, const struct nj_plan_session *session,
                    int fd, const char *name, struct nj_error *err)
{
    struct question question = {.session = session->number - 1};
    struct nj_error verdict;
    size_t len = 0, no_fds = 0;
    int64_t max_ms;

    if (checker->pid < 0 && start_child(checker, err) < 0)
        return -(int)err->code;
    (void)snprintf(question.name, sizeof(question.name), "%s", name);
    if (nj_fsio_sendmsg(checker->fd, &question, sizeof(question), &fd, 1, err) < 0) {
        end_child(checker);
        return nj_wrap(err, "bundle %s: the reading process", name);
    }
    if (!await_verdict(checker, fd, &max_ms)) {
        (void)kill(checker->pid, SIGKILL); /* it may be busy for ever with what it read */
        end_child(checker);
        return nj_fail(err, NJ_E_SYSTEM, "bundle %s: not read within %d s", name,
                       (int)(max_ms / 1000));
    }
    if (nj_fsio_recvmsg(checker->fd, &verdict, sizeof(verdict), &len, NULL, &no_fds, err) < 0) {
        end_child(checker);
        return nj_wrap(err, "bundle %s: the reading process", name);
    }
    if (len != sizeof(verdict)) {
        end_child(checker);
        return nj_fail(err, NJ_E_SYSTEM, "bundle %s: the process that read it has died", name);
    }
    verdict.text[sizeof(verdict.text) - 1] = '\0';
    if (verdict.code == 0)
        return 0;
    *err = verdict;
    return -(int)err->code;
}
