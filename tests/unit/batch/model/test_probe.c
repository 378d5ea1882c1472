/*
 * test_probe.c - asking each service once: one that never answers costs its limit of time and no
 * more, and hides nothing of the others
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "batch/model/probe.h"

#include "formats/base/banned.h"

/* A port of its own on loopback. Who listens and never accepts lets clients connect, and says
 * nothing; who does not listen refuses them. */
static int open_port(bool listening, unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    if (listening)
        assert_int_equal(listen(fd, 8), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

struct told {
    size_t n;
    char texts[2][NJ_ERROR_TEXT_MAX_BYTES];
};

static void on_told(void *ctx, const struct nj_probe_result *result)
{
    struct told *told = ctx;

    assert_true(told->n < 2);
    assert_false(result->answered);
    assert_int_equal(result->place, told->n); /* in the order of the manifest, not of the ends */
    (void)snprintf(told->texts[told->n++], sizeof(told->texts[0]), "%s", result->text);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void a_service_that_never_answers_costs_its_limit_and_no_more(void **state)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_models_free) struct nj_models *models = NULL;
    struct nj_manifest_faults faults = {0};
    unsigned silent_port, closed_port;
    nj_auto_close int silent = open_port(true, &silent_port);
    nj_auto_close int closed = open_port(false, &closed_port);
    struct told told = {0};
    struct nj_error err = {0};
    uint64_t began_ms, took_ms;
    char text[1024];

    (void)state;
    (void)snprintf(text, sizeof(text),
                   "nightjar: 1\n"
                   "models:\n"
                   "  worker:\n"
                   "  - {provider: anthropic, model: m, base_url: \"http://127.0.0.1:%u\"}\n"
                   "  - {provider: openai, model: m, base_url: \"http://127.0.0.1:%u/v1\"}\n"
                   "agents: {a: {model: worker}}\n"
                   "sessions: [{name: s, agent: a, key: k, input: Go.}]\n",
                   silent_port, closed_port);
    if (nj_manifest_parse(nj_span_text(text), "job.yaml", &manifest, &faults, &err) < 0 ||
        nj_models_new(manifest, AT_FDCWD, &models, &err) < 0)
        fail_msg("%s", err.text);
    began_ms = now_ms();
    assert_int_equal(nj_models_probe(models, 1000, on_told, &told, &err), 0);
    took_ms = now_ms() - began_ms;
    assert_int_equal(told.n, 2);
    assert_string_equal(told.texts[0], "no answer within 1 s; is base_url right?");
    assert_null(strstr(told.texts[1], "no answer within"));
    assert_non_null(strstr(told.texts[1], "/v1/chat/completions"));
    /* libcurl counts whole milliseconds of its own; the upper end is for machines under load. */
    assert_in_range(took_ms, 990, 20000);
    nj_manifest_faults_done(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_that_never_answers_costs_its_limit_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
