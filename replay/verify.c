/*
 * verify.c - opening, living again, judging
 *
 * The one complication is the order of giving up: the network goes before anything else, the helper
 * is born without it and keeps what building boxes needs, files are opened while root still can,
 * then root goes too, and everything but what was opened; only after that is the first byte of a
 * record parsed.
 */
#include "replay/verify.h"

#include <event2/event.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "batch/plan/plan.h"
#include "replay/isolate.h"

#include "formats/base/banned.h"

#define RUN_NAME_MAX_BYTES 64
#define HOST_MAX_BYTES 4096

enum place { WAITING, AT_WORK, DONE };

struct subject {
    struct nj_verify *verify;
    struct nj_source source;
    enum place place;
    struct nj_record *record;
    struct nj_recorded *recorded;
    struct nj_buf host;
    struct nj_error error;
    bool failed;
    bool stopped;
    uint64_t began_ms;
    uint64_t ended_ms;
};

struct nj_verify {
    struct subject *subjects;
    size_t n_subjects;
    char *const *names;
    struct nj_environment here;
    struct nj_digested *digested;
    struct nj_sandbox *sandbox;
    struct event_base *base;
    struct event *sigint;
    struct event *sigterm;
    struct nj_recorded_hall hall;
    struct nj_image image;
    bool stopping;
    size_t at_work;
};

static const struct nj_source empty_source = NJ_SOURCE_EMPTY;

const char *nj_verdict_text(enum nj_verdict verdict)
{
    switch (verdict) {
    case NJ_VERDICT_EQUAL:
        return "equal";
    case NJ_VERDICT_DIVERGED:
        return "diverged";
    case NJ_VERDICT_ENVIRONMENT:
        return "environment differs";
    case NJ_VERDICT_FAILED:
        return "failed";
    case NJ_VERDICT_STOPPED:
        return "stopped";
    }
    return "?";
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- opening ---- */

void nj_verify_free(struct nj_verify *verify)
{
    if (!verify)
        return;
    for (size_t i = 0; i < verify->n_subjects; i++) {
        nj_recorded_free(verify->subjects[i].recorded);
        nj_record_free(verify->subjects[i].record);
        nj_source_done(&verify->subjects[i].source);
        nj_buf_done(&verify->subjects[i].host);
    }
    free(verify->subjects);
    nj_sandbox_free(verify->sandbox);
    if (verify->sigint)
        event_free(verify->sigint);
    if (verify->sigterm)
        event_free(verify->sigterm);
    if (verify->base)
        event_base_free(verify->base);
    nj_environment_done(&verify->here);
    nj_digested_free(verify->digested);
    nj_image_done(&verify->image);
    free(verify);
}

static int parse_names(struct nj_verify *verify, struct nj_error *err)
{
    for (size_t i = 0; i < verify->n_subjects; i++) {
        struct nj_where *where = &verify->subjects[i].source.where;

        if (nj_where_parse(verify->names[i], where, err) < 0)
            return -(int)err->code;
        if (where->has_step)
            return nj_fail(err, NJ_E_INPUT, "%s: a whole session is verified, not one step",
                           verify->names[i]);
    }
    return 0;
}

static int leave_network(struct nj_error *err)
{
    struct nj_error why = {0};
    int r = nj_isolate_network(&why);

    if (r == 0)
        return 0;
    *err = why;
    return nj_wrap(err, "verify runs recorded code and must not have a network");
}

static int start_sandbox(struct nj_verify *verify, struct nj_error *err)
{
    char name[RUN_NAME_MAX_BYTES];

    (void)snprintf(name, sizeof(name), "replay-%d", (int)getpid());
    return nj_sandbox_start(name, &verify->sandbox, err);
}

/* A descriptor a bundle is held until its turn comes. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* without it a very long list fails, by name */
    }
}

static int open_sources(struct nj_verify *verify, struct nj_error *err)
{
    for (size_t i = 0; i < verify->n_subjects; i++)
        if (nj_source_open(&verify->subjects[i].source, err) < 0)
            return -(int)err->code;
    return 0;
}

static int drop_privileges(struct nj_verify *verify, struct nj_error *err)
{
    const struct nj_source *run = &verify->subjects[0].source;

    for (size_t i = 0; i < verify->n_subjects; i++)
        if (verify->subjects[i].source.where.key) {
            run = &verify->subjects[i].source;
            break;
        }
    return nj_source_drop_privileges(run, 1, err);
}

static int confine(struct nj_verify *verify, struct nj_error *err)
{
    nj_auto_free struct nj_source *sources = calloc(verify->n_subjects + 1, sizeof(*sources));

    if (!sources)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < verify->n_subjects; i++)
        sources[i] = verify->subjects[i].source;
    return nj_source_confine(sources, verify->n_subjects, -1, true, err);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct nj_verify *verify = arg;

    (void)fd;
    (void)what;
    verify->stopping = true;
    (void)event_base_loopbreak(verify->base);
}

static int make_loop(struct nj_verify *verify, struct nj_error *err)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a supervisor that died is an error, not our end */
    verify->base = event_base_new();
    if (!verify->base)
        return nj_fail_nomem(err);
    verify->sigint = evsignal_new(verify->base, SIGINT, on_signal, verify);
    verify->sigterm = evsignal_new(verify->base, SIGTERM, on_signal, verify);
    if (!verify->sigint || !verify->sigterm || event_add(verify->sigint, NULL) < 0 ||
        event_add(verify->sigterm, NULL) < 0)
        return nj_fail_nomem(err);
    if (nj_sandbox_attach(verify->sandbox, verify->base, err) < 0)
        return -(int)err->code;
    verify->hall = (struct nj_recorded_hall){.base = verify->base,
                                             .sandbox = verify->sandbox,
                                             .here = &verify->here,
                                             .digested = verify->digested};
    return 0;
}

int nj_verify_open(char *const *names, size_t n_names, const char *rootfs,
                   struct nj_verify **ret_verify, struct nj_error *err)
{
    NJ_AUTO(nj_verify_free) struct nj_verify *verify = calloc(1, sizeof(*verify));

    if (!verify)
        return nj_fail_nomem(err);
    verify->image = (struct nj_image)NJ_IMAGE_NONE;
    verify->names = names;
    verify->subjects = calloc(n_names + 1, sizeof(*verify->subjects));
    if (!verify->subjects)
        return nj_fail_nomem(err);
    verify->n_subjects = n_names;
    for (size_t i = 0; i < n_names; i++) {
        verify->subjects[i].verify = verify;
        verify->subjects[i].source = empty_source;
        nj_buf_init(&verify->subjects[i].host, HOST_MAX_BYTES);
    }
    raise_descriptors();
    if (parse_names(verify, err) < 0 || leave_network(err) < 0 ||
        nj_environment_here(&verify->here, err) < 0 ||
        nj_digested_new(&verify->digested, err) < 0 || start_sandbox(verify, err) < 0 ||
        open_sources(verify, err) < 0 ||
        (rootfs && nj_image_open(&verify->image, rootfs, err) < 0) ||
        drop_privileges(verify, err) < 0 || make_loop(verify, err) < 0 ||
        confine(verify, err) < 0 || (rootfs && nj_image_read(&verify->image, err) < 0))
        return -(int)err->code;
    if (rootfs)
        verify->hall.image = &verify->image;
    *ret_verify = nj_steal_ptr(&verify);
    return 0;
}

/* ---- running ---- */

static void subject_ended(struct subject *subject)
{
    subject->place = DONE;
    subject->ended_ms = now_ms();
    subject->verify->at_work--;
    (void)event_base_loopbreak(subject->verify->base);
}

static void on_done(void *ctx)
{
    subject_ended(ctx);
}

static int compare_hosts(struct subject *subject, struct nj_error *err)
{
    NJ_AUTO(nj_environment_done) struct nj_environment then = {0};
    int r;

    if (nj_environment_parse(nj_record_info(subject->record)->environment, &then, err) < 0)
        return -(int)err->code;
    r = nj_environment_compare_host(&then, &subject->verify->here, &subject->host, err);
    return r < 0 ? r : 0;
}

static void begin(struct subject *subject)
{
    subject->place = AT_WORK;
    subject->began_ms = now_ms();
    subject->verify->at_work++;
    if (nj_source_record(&subject->source, 0, &subject->record, &subject->error) < 0 ||
        compare_hosts(subject, &subject->error) < 0 ||
        nj_recorded_start(&subject->verify->hall, subject->record, on_done, subject,
                          &subject->recorded, &subject->error) < 0) {
        subject->failed = true;
        subject_ended(subject);
    }
}

static struct nj_verified verified_of(const struct subject *subject, const char *name)
{
    struct nj_verified verified = {
        .name = name,
        .level = "",
        .host = subject->host.len ? (const char *)subject->host.data : "",
        .duration_ms = subject->ended_ms - subject->began_ms,
        .error = subject->error,
    };

    if (subject->record)
        verified.info = nj_record_info(subject->record);
    if (subject->recorded) {
        verified.result = nj_recorded_result(subject->recorded);
        verified.level = nj_recorded_level(subject->recorded);
    }
    if (subject->stopped) {
        verified.verdict = NJ_VERDICT_STOPPED;
    } else if (subject->failed) {
        verified.verdict = NJ_VERDICT_FAILED;
    } else if (verified.result->failed) {
        verified.verdict = NJ_VERDICT_FAILED;
        verified.error = verified.result->error;
    } else if (verified.result->divergences.count == 0) {
        verified.verdict = NJ_VERDICT_EQUAL;
    } else {
        verified.verdict =
            verified.result->environment.len ? NJ_VERDICT_ENVIRONMENT : NJ_VERDICT_DIVERGED;
    }
    return verified;
}

/* Its memory, descriptors and box are of no use any more; a thousand others come behind it. */
static void let_go(struct subject *subject)
{
    nj_recorded_free(subject->recorded);
    subject->recorded = NULL;
    nj_record_free(subject->record);
    subject->record = NULL;
    nj_source_done(&subject->source);
    nj_buf_done(&subject->host);
}

static void stop_all(struct nj_verify *verify)
{
    for (size_t i = 0; i < verify->n_subjects; i++) {
        struct subject *subject = &verify->subjects[i];

        if (subject->place == DONE)
            continue;
        subject->ended_ms = subject->place == AT_WORK ? now_ms() : subject->began_ms;
        subject->place = DONE;
        subject->stopped = true;
    }
}

int nj_verify_run(struct nj_verify *verify, unsigned jobs, nj_verify_tell tell, void *ctx,
                  struct nj_error *err)
{
    size_t next = 0;
    size_t told = 0;

    while (told < verify->n_subjects) {
        struct subject *subject = &verify->subjects[told];

        while (!verify->stopping && next < verify->n_subjects && verify->at_work < jobs)
            begin(&verify->subjects[next++]);
        if (verify->stopping)
            stop_all(verify);
        if (subject->place == DONE) {
            struct nj_verified verified = verified_of(subject, verify->names[told]);

            if (tell(ctx, &verified, err) < 0)
                return -(int)err->code;
            let_go(subject);
            told++;
            continue;
        }
        if (event_base_dispatch(verify->base) < 0)
            return nj_fail(err, NJ_E_SYSTEM, "the event loop failed");
    }
    return 0;
}
