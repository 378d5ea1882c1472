/*
 * test_vault.c - the process that holds the secrets, asked as the engine asks
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <event2/event.h>

#include "batch/gateway/vault.h"
#include "batch/gateway/vault_inside.h"

#include "formats/base/banned.h"

#define SECRET "s3cret/that+is=long.enough"

static int open_here(void *ctx, const char *path, int *ret_fd, struct nj_error *err)
{
    *ret_fd = openat(*(int *)ctx, path, O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? nj_fail_errno(err, errno, "open %s", path) : 0;
}

static struct nj_manifest *job(const char *credential)
{
    struct nj_manifest_faults faults = {0};
    struct nj_manifest *manifest = NULL;
    struct nj_error err = {0};
    char text[2048];

    (void)snprintf(text, sizeof(text),
                   "nightjar: 1\n"
                   "models:\n"
                   "  worker: [{provider: anthropic, model: m, credential: key,\n"
                   "            base_url: \"http://127.0.0.1:8123/x\"}]\n"
                   "  other: [{provider: openai, model: m, credential: unused}]\n"
                   "credentials:\n"
                   "  key: %s\n"
                   "  unused: {env: NJ_TEST_NEVER_SET}\n"
                   "agents: {a: {model: worker}}\n"
                   "sessions: [{name: s, agent: a, input: Go.}]\n",
                   credential);
    if (nj_manifest_parse(nj_span_text(text), "job.yaml", &manifest, &faults, &err) < 0)
        fail_msg("%s", err.text);
    nj_manifest_faults_done(&faults);
    return manifest;
}

static int start(struct nj_manifest *manifest, struct nj_vault **ret_vault, struct nj_error *err)
{
    nj_auto_close int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_vault_options options = {.open_file = open_here, .ctx = &here, .dir_fd = here};

    return nj_vault_start(manifest, &options, ret_vault, err);
}

/* What one question came to. */
struct answer {
    char *line; /* NJ_VAULT_LINE_MAX_BYTES */
    struct nj_error err;
    unsigned n;
    unsigned *order; /* counts the answers of all; NULL: nobody asks */
    unsigned place;
};

static void on_answered(void *ctx, const char *line, const struct nj_error *why)
{
    struct answer *answer = ctx;

    answer->n++;
    if (answer->order)
        answer->place = ++*answer->order;
    if (line)
        (void)snprintf(answer->line, NJ_VAULT_LINE_MAX_BYTES, "%s", line);
    else
        answer->err = *why;
}

static struct nj_credential_ask question(size_t credential, const char *host, const char *method)
{
    return (struct nj_credential_ask){.credential = credential,
                                      .host = host,
                                      .method = method,
                                      .default_header = "x-api-key",
                                      .default_format = "{secret}"};
}

/* Asks, and turns a loop of its own until the answer is there. */
static int ask(struct nj_vault *vault, size_t credential, const char *host, const char *method,
               char *line, struct nj_error *err)
{
    struct event_base *base = event_base_new();
    struct nj_credential_ask asked = question(credential, host, method);
    struct nj_credential_wait *wait = NULL;
    struct answer answer = {.line = line};
    int r;

    assert_non_null(base);
    assert_int_equal(nj_vault_attach(vault, base, err), 0);
    r = nj_vault_ask(vault, &asked, on_answered, &answer, &wait, err);
    assert_int_equal(answer.n, 0); /* never from inside */
    if (r == 0) {
        while (answer.n == 0)
            assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
        assert_int_equal(answer.n, 1);
        if (answer.err.code) {
            *err = answer.err;
            r = -(int)answer.err.code;
        }
    }
    assert_int_equal(nj_vault_attach(vault, NULL, err), 0);
    event_base_free(base);
    return r;
}

static void on_masked(void *ctx)
{
    unsigned *n = ctx;

    (*n)++;
}

/* Likewise for a text. */
static void mask(struct nj_vault *vault, char *text, size_t len)
{
    struct event_base *base = event_base_new();
    struct nj_credential_wait *wait = NULL;
    struct nj_error err = {0};
    unsigned n = 0;

    assert_int_equal(nj_vault_attach(vault, base, &err), 0);
    if (!nj_vault_mask(vault, text, len, on_masked, &n, &wait)) {
        assert_int_equal(n, 0); /* never from inside */
        while (n == 0)
            assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
        assert_int_equal(n, 1);
    }
    assert_int_equal(nj_vault_attach(vault, NULL, &err), 0);
    event_base_free(base);
}

/* Starts with @credential and expects this header for the model's host. */
static void gives(const char *credential, const char *header)
{
    struct nj_manifest *manifest = job(credential);
    char line[NJ_VAULT_LINE_MAX_BYTES];
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};

    if (start(manifest, &vault, &err) < 0 ||
        ask(vault, 0, "127.0.0.1:8123", "POST", line, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(line, header);
    nj_vault_free(vault);
    nj_manifest_free(manifest);
}

/* Starts with @credential and expects to be refused in words that hold @words. */
static void refuses(const char *credential, const char *words)
{
    struct nj_manifest *manifest = job(credential);
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};

    assert_int_equal(start(manifest, &vault, &err), -NJ_E_INPUT);
    assert_null(vault);
    if (!strstr(err.text, words) || strstr(err.text, "s3cret"))
        fail_msg("lacks \"%s\", or shows the secret: %s", words, err.text);
    nj_manifest_free(manifest);
}

static void set_secret(void)
{
    assert_int_equal(setenv("NJ_TEST_KEY", SECRET, 1), 0);
}

static void write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static void a_variable_becomes_the_providers_header(void **state)
{
    (void)state;
    set_secret();
    gives("{env: NJ_TEST_KEY}", "x-api-key: " SECRET);
}

static void the_manifests_header_wins(void **state)
{
    (void)state;
    set_secret();
    gives("{env: NJ_TEST_KEY, header: X-Token, format: \"token={secret};\", hosts: "
          "[\"127.0.0.1:8123\"], methods: [POST]}",
          "X-Token: token=" SECRET ";");
}

static void a_variable_is_gone_once_the_vault_has_begun(void **state)
{
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};
    char *value;

    (void)state;
    set_secret();
    value = getenv("NJ_TEST_KEY");
    manifest = job("{env: NJ_TEST_KEY}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    assert_null(getenv("NJ_TEST_KEY"));
    for (size_t i = 0; i < strlen(SECRET); i++)
        assert_int_equal(value[i], 0); /* the bytes, too: /proc shows that place */
    nj_vault_free(vault);
    nj_manifest_free(manifest);
}

static void a_file_loses_its_line_end(void **state)
{
    (void)state;
    write_file("vault-secret", SECRET "\r\n");
    gives("{file: vault-secret}", "x-api-key: " SECRET);
    assert_int_equal(unlink("vault-secret"), 0);
}

static void a_command_prints_it(void **state)
{
    (void)state;
    gives("{command: [sh, -c, \"echo s3cret/that+is; echo noise >&2\"]}",
          "x-api-key: s3cret/that+is");
}

static void a_systemd_credential_is_read(void **state)
{
    (void)state;
    assert_true(mkdir("vault-dir", 0700) == 0 || errno == EEXIST);
    write_file("vault-dir/token", SECRET);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "vault-dir", 1), 0);
    gives("{systemd: token}", "x-api-key: " SECRET);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    refuses("{systemd: token}", "LoadCredential=token:PATH");
    assert_int_equal(unlink("vault-dir/token"), 0);
    assert_int_equal(rmdir("vault-dir"), 0);
}

static void bad_sources_are_named_with_their_place(void **state)
{
    (void)state;
    (void)unsetenv("NJ_TEST_KEY");
    refuses("{env: NJ_TEST_KEY}", "line 7: credentials.key: the variable NJ_TEST_KEY is not set");
    assert_int_equal(setenv("NJ_TEST_KEY", "", 1), 0);
    refuses("{env: NJ_TEST_KEY}", "credentials.key: the secret is empty");
    assert_int_equal(setenv("NJ_TEST_KEY", "s3cret with blank", 1), 0);
    refuses("{env: NJ_TEST_KEY}", "byte 7 of 17");
    refuses("{file: not-there}", "credentials.key: open not-there: No such file");
    refuses("{file: .}", "no regular file");
    refuses("{command: [\"false\"]}", "false ended with status 1");
    refuses("{command: [no-such-program-at-all]}", "no such program");
    refuses("{command: [sh, -c, \"kill -9 $$\"]}", "signal 9");
    refuses("{command: [\"true\"]}", "empty");
    refuses("{command: [sh, -c, \"yes s3cret\"]}", "printed more than");
}

static void a_credential_goes_to_its_hosts_and_methods_only(void **state)
{
    char line[NJ_VAULT_LINE_MAX_BYTES] = "untouched";
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};

    (void)state;
    set_secret();
    manifest = job("{env: NJ_TEST_KEY, methods: [POST]}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    assert_int_equal(ask(vault, 0, "127.0.0.1", "POST", line, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "credentials.key is not for 127.0.0.1"));
    assert_int_equal(ask(vault, 0, "127.0.0.1:8123", "GET", line, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "not for GET"));
    assert_int_equal(ask(vault, 1, "api.openai.com", "POST", line, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "no model of this job needs it"));
    assert_int_equal(ask(vault, 99, "127.0.0.1:8123", "POST", line, &err), -NJ_E_INPUT);
    assert_string_equal(line, "untouched");
    assert_int_equal(ask(vault, 0, "127.0.0.1:8123", "POST", line, &err), 0);
    nj_vault_free(vault);
    nj_manifest_free(manifest);
}

static void a_secret_is_masked_wherever_it_lies(void **state)
{
    const size_t size = NJ_VAULT_MASK_MAX_BYTES, places[] = {0, 1, size / 2, size - strlen(SECRET)};
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};
    char text[] = "key " SECRET " and its beginning s3cret/tha";
    char *large = calloc(1, size + 2);

    (void)state;
    set_secret();
    manifest = job("{env: NJ_TEST_KEY}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    mask(vault, text, strlen(text));
    assert_null(strstr(text, "s3cret"));
    assert_memory_equal(text, "key ****", 8);
    assert_non_null(strstr(text, " and its beginning **********"));
    for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
        size_t at = places[k];

        memset(large, '-', size);
        memcpy(large + at, SECRET, strlen(SECRET));
        mask(vault, large, size);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(large[i], i >= at && i < at + strlen(SECRET) ? '*' : '-');
    }
    memset(large, '-', size + 1); /* more than fits: nothing of it is shown */
    mask(vault, large, size + 1);
    assert_int_equal(strspn(large, "*"), size + 1);
    free(large);
    nj_vault_free(vault);
    nj_manifest_free(manifest);
}

#define MANY 100

/* More than can be under way at once, some of them forgotten, and texts to be masked among them. */
static void many_questions_are_answered_each_once_and_in_order(void **state)
{
    static char lines[MANY][NJ_VAULT_LINE_MAX_BYTES];
    struct nj_credential_wait *waits[MANY];
    struct answer answers[MANY] = {0};
    struct event_base *base = event_base_new();
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};
    char text[] = "it was " SECRET, forgotten[] = "it was " SECRET;
    struct nj_credential_wait *masks[2];
    unsigned order = 0, left = 0, masked = 0;

    (void)state;
    set_secret();
    manifest = job("{env: NJ_TEST_KEY, methods: [POST]}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    assert_int_equal(nj_vault_attach(vault, base, &err), 0);
    for (size_t i = 0; i < MANY; i++) {
        struct nj_credential_ask asked = question(0, "127.0.0.1:8123", i % 7 ? "POST" : "GET");

        answers[i] = (struct answer){.line = lines[i], .order = &order};
        assert_int_equal(nj_vault_ask(vault, &asked, on_answered, &answers[i], &waits[i], &err), 0);
        if (i == 5) { /* one that was sent, and is forgotten */
            assert_false(
                nj_vault_mask(vault, forgotten, strlen(forgotten), on_masked, &masked, &masks[0]));
            nj_vault_forget(masks[0]);
        }
        if (i == MANY / 2)
            assert_false(nj_vault_mask(vault, text, strlen(text), on_masked, &masked, &masks[1]));
    }
    for (size_t i = 0; i < MANY; i += 3)
        nj_vault_forget(waits[i]);
    assert_int_equal(order, 0);
    while (order < MANY - (MANY + 2) / 3)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_int_equal(masked, 1);
    assert_int_equal(strncmp(text, "it was ****", 11), 0);
    assert_string_equal(forgotten, "it was " SECRET);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(answers[i].n, i % 3 ? 1 : 0);
        if (i % 3 == 0)
            continue;
        assert_int_equal(answers[i].place, ++left);
        if (i % 7)
            assert_string_equal(lines[i], "x-api-key: " SECRET);
        else
            assert_non_null(strstr(answers[i].err.text, "not for GET"));
    }
    assert_int_equal(nj_vault_attach(vault, NULL, &err), 0);
    nj_vault_free(vault);
    event_base_free(base);
    nj_manifest_free(manifest);
}

static void a_vault_that_dies_fails_all_who_wait(void **state)
{
    struct nj_credential_wait *waits[MANY];
    static char lines[MANY][NJ_VAULT_LINE_MAX_BYTES];
    struct answer answers[MANY] = {0};
    struct event_base *base = event_base_new();
    struct nj_credential_ask asked = question(0, "127.0.0.1:8123", "POST");
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};
    struct nj_credential_wait *wait;
    char text[] = "it was " SECRET;
    unsigned order = 0, failed = 0, masked = 0;

    (void)state;
    set_secret();
    manifest = job("{env: NJ_TEST_KEY}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    assert_int_equal(nj_vault_attach(vault, base, &err), 0);
    assert_int_equal(kill(vault->pid, SIGSTOP), 0);
    for (size_t i = 0; i < MANY; i++) {
        answers[i] = (struct answer){.line = lines[i], .order = &order};
        assert_int_equal(nj_vault_ask(vault, &asked, on_answered, &answers[i], &waits[i], &err), 0);
    }
    assert_false(nj_vault_mask(vault, text, strlen(text), on_masked, &masked, &wait));
    assert_int_equal(kill(vault->pid, SIGKILL), 0);
    while (order < MANY || masked == 0)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    for (size_t i = 0; i < MANY; i++)
        failed += answers[i].n == 1 && answers[i].err.code == NJ_E_SYSTEM;
    assert_int_equal(failed, MANY);
    assert_int_equal(strspn(text, "*"), sizeof(text) - 1);
    assert_int_equal(nj_vault_ask(vault, &asked, on_answered, &answers[0], &waits[0], &err),
                     -NJ_E_SYSTEM);
    assert_non_null(strstr(err.text, "resume"));
    nj_vault_free(vault);
    event_base_free(base);
    nj_manifest_free(manifest);
}

/* Else its late answer were that to the next question, and each answer that to the one after. */
static void a_vault_that_is_late_once_answers_nobody_again(void **state)
{
    const struct timeval soon = {.tv_usec = 50000};
    char line[NJ_VAULT_LINE_MAX_BYTES] = "", text[] = "it was " SECRET;
    struct nj_credential_ask asked = question(0, "127.0.0.1:8123", "POST");
    struct event_base *base = event_base_new();
    struct answer answer = {.line = line};
    struct nj_credential_wait *wait;
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};

    (void)state;
    set_secret();
    manifest = job("{env: NJ_TEST_KEY}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    assert_int_equal(setsockopt(vault->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
    assert_int_equal(kill(vault->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(vault->pid, NULL, WUNTRACED), vault->pid);
    assert_int_equal(nj_vault_attach(vault, base, &err), 0);
    assert_int_equal(nj_vault_ask(vault, &asked, on_answered, &answer, &wait, &err), 0);
    assert_int_equal(nj_vault_attach(vault, NULL, &err), 0); /* waits for it as long as that */
    event_base_free(base);
    assert_int_equal(kill(vault->pid, SIGCONT), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(vault, 0, "127.0.0.1:8123", "POST", line, &err), -NJ_E_SYSTEM);
    assert_string_equal(line, "");
    assert_non_null(strstr(err.text, "resume"));
    mask(vault, text, strlen(text));
    assert_int_equal(strspn(text, "*"), sizeof(text) - 1);
    assert_int_equal(kill(vault->pid, SIGSTOP), 0); /* nor is its end waited for */
    nj_vault_free(vault);
    nj_manifest_free(manifest);
}

static void a_job_without_credentials_has_no_process(void **state)
{
    struct nj_manifest_faults faults = {0};
    struct nj_manifest *manifest = NULL;
    char line[NJ_VAULT_LINE_MAX_BYTES];
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(
        nj_manifest_parse(nj_span_text("nightjar: 1\n"
                                       "models: {w: [{provider: script, script: s}]}\n"
                                       "agents: {a: {model: w}}\n"
                                       "sessions: [{name: s, agent: a, input: Go.}]\n"),
                          "job.yaml", &manifest, &faults, &err),
        0);
    assert_int_equal(start(manifest, &vault, &err), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(ask(vault, 0, "h", "POST", line, &err), -NJ_E_INPUT);
    nj_vault_free(vault);
    nj_manifest_faults_done(&faults);
    nj_manifest_free(manifest);
}

static int status_line(pid_t pid, const char *name, char *value, size_t size)
{
    char path[64], line[256];
    FILE *file;
    int r = -1;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0) {
            (void)snprintf(value, size, "%s", line + strlen(name));
            r = 0;
        }
    if (file)
        (void)fclose(file);
    return r;
}

static pid_t only_child(void)
{
    char path[64];
    FILE *file;
    int pid = -1;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    file = fopen(path, "re");
    if (!file || fscanf(file, "%d", &pid) != 1)
        pid = -1;
    if (file)
        (void)fclose(file);
    return pid;
}

static void the_process_is_locked_filtered_and_deaf_to_signals(void **state)
{
    char line[NJ_VAULT_LINE_MAX_BYTES], value[256];
    struct nj_manifest *manifest;
    struct nj_vault *vault = NULL;
    struct nj_error err = {0};
    pid_t pid;

    (void)state;
    set_secret();
    manifest = job("{env: NJ_TEST_KEY}");
    assert_int_equal(start(manifest, &vault, &err), 0);
    pid = only_child();
    if (pid < 0)
        skip(); /* a kernel without CONFIG_PROC_CHILDREN */
    assert_int_equal(status_line(pid, "VmLck:", value, sizeof(value)), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they lock nothing */
    assert_true(strtoul(value, NULL, 10) >= NJ_VAULT_SECRET_MAX_BYTES >> 10);
#endif
    assert_int_equal(status_line(pid, "Seccomp:", value, sizeof(value)), 0);
    assert_int_equal(strtoul(value, NULL, 10), 2);
    assert_int_equal(status_line(pid, "CapEff:", value, sizeof(value)), 0);
    assert_int_equal(strtoul(value, NULL, 16), 0);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(ask(vault, 0, "127.0.0.1:8123", "POST", line, &err), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(ask(vault, 0, "127.0.0.1:8123", "POST", line, &err), -NJ_E_SYSTEM);
    mask(vault, line, 10);
    assert_memory_equal(line, "**********", 10); /* nothing can be told apart: nothing is shown */
    nj_vault_free(vault);
    nj_manifest_free(manifest);
}

/* What looks like a secret's beginning may hide where it truly begins. */
static void secrets_that_overlap_are_masked_whole(void **state)
{
    static const struct {
        const char *text, *masked;
    } cases[] = {
        {"-ababababcd-", "-**********-"},
        {"-abababababcd-", "-************-"},
        {"-abababababab-", "-************-"},
        {"-ababababcdefgh-", "-**************-"},
        {"-bababab-abababa", "-bababab-abababa"},
        {"cdefg-abcdefgh-", "cdefg-ab******-"},
        {"ababababcdefghcdefgh", "********************"},
    };
    const struct nj_manifest manifest = {.n_credentials = 2};
    struct vault_secret secrets[] = {{.value = (char[]){"ababababcd"}, .len = 10},
                                     {.value = (char[]){"cdefgh"}, .len = 6}};
    struct vault_inside inside = {.manifest = &manifest, .secrets = secrets};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%s", cases[i].text);
        vault_mask_text(&inside, text, strlen(text));
        assert_string_equal(text, cases[i].masked);
    }
}

static void a_malformed_question_is_refused(void **state)
{
    struct vault_secret secret = {.value = (char[]){"x"}, .len = 1};
    struct nj_manifest *manifest = job("{env: NJ_TEST_KEY}");
    struct vault_inside inside = {.manifest = manifest, .secrets = &secret};
    struct vault_ask asked = {.kind = VAULT_HEADER};
    struct nj_error err = {0};
    char line[64];

    (void)state;
    secret.spec = &manifest->credentials[0];
    secret.hosts[secret.n_hosts++] = "h";
    memset(asked.host, 'h', sizeof(asked.host));
    assert_int_equal(vault_answer_header(&inside, &asked, line, sizeof(line), &err), -NJ_E_INPUT);
    memset(asked.host, 0, sizeof(asked.host));
    asked.host[0] = 'h';
    memcpy(asked.default_header, "a\r\nb", 5);
    memcpy(asked.default_format, "{secret}", 9);
    assert_int_equal(vault_answer_header(&inside, &asked, line, sizeof(line), &err), -NJ_E_INPUT);
    memcpy(asked.default_header, "a", 2);
    assert_int_equal(vault_answer_header(&inside, &asked, line, sizeof(line), &err), 4);
    assert_string_equal(line, "a: x");
    memcpy(asked.default_format, "secret", 7);
    assert_int_equal(vault_answer_header(&inside, &asked, line, sizeof(line), &err), -NJ_E_INPUT);
    nj_manifest_free(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_variable_becomes_the_providers_header),
        cmocka_unit_test(the_manifests_header_wins),
        cmocka_unit_test(a_variable_is_gone_once_the_vault_has_begun),
        cmocka_unit_test(a_file_loses_its_line_end),
        cmocka_unit_test(a_command_prints_it),
        cmocka_unit_test(a_systemd_credential_is_read),
        cmocka_unit_test(bad_sources_are_named_with_their_place),
        cmocka_unit_test(a_credential_goes_to_its_hosts_and_methods_only),
        cmocka_unit_test(a_secret_is_masked_wherever_it_lies),
        cmocka_unit_test(secrets_that_overlap_are_masked_whole),
        cmocka_unit_test(many_questions_are_answered_each_once_and_in_order),
        cmocka_unit_test(a_vault_that_dies_fails_all_who_wait),
        cmocka_unit_test(a_vault_that_is_late_once_answers_nobody_again),
        cmocka_unit_test(a_job_without_credentials_has_no_process),
        cmocka_unit_test(the_process_is_locked_filtered_and_deaf_to_signals),
        cmocka_unit_test(a_malformed_question_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
