/*
 * vault_read.c - where a secret comes from
 *
 * Runs in the vault's process. Bytes go from their source straight into the locked memory: no
 * buffer of libc's ever holds them. A command's output is what `pass show` or a cloud's tool
 * prints: one line, whose end is dropped.
 */
#include "batch/gateway/vault_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "formats/base/log.h"

#include "formats/base/banned.h"

#define COMMAND_TIMEOUT_MS 30000

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads up to the end or the deadline. Returns 0, or a positive errno: EMSGSIZE when there is more
 * than a secret may have, ETIMEDOUT. */
static int read_all(int fd, int64_t deadline_ms, char *value, size_t *ret_len)
{
    size_t len = 0;

    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left = deadline_ms - now_ms();
        ssize_t n;

        if (left <= 0 || poll(&ready, 1, (int)left) == 0)
            return ETIMEDOUT;
        n = read(fd, value + len, NJ_VAULT_SECRET_MAX_BYTES + 2 - len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        len += (size_t)n;
        if (len == NJ_VAULT_SECRET_MAX_BYTES + 2)
            return EMSGSIZE;
    }
    *ret_len = len;
    return 0;
}

static int read_variable(const char *name, char *value, size_t *ret_len, struct nj_error *err)
{
    const char *found = getenv(name);
    size_t len;

    if (!found)
        return nj_fail(err, NJ_E_INPUT, "the variable %s is not set: export it where this starts",
                       name);
    len = strlen(found);
    if (len > NJ_VAULT_SECRET_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT, "the variable %s is longer than %u bytes", name,
                       NJ_VAULT_SECRET_MAX_BYTES);
    memcpy(value, found, len);
    *ret_len = len;
    return 0;
}

static int read_open_file(int fd, const char *path, char *value, size_t *ret_len,
                          struct nj_error *err)
{
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at %s", path);
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "%s is no regular file", path);
    if (st.st_mode & (S_IRGRP | S_IROTH))
        nj_log(NJ_LOG_WARN, "the secret in %s can be read by others: chmod 600", path);
    r = read_all(fd, INT64_MAX, value, ret_len);
    if (r == EMSGSIZE)
        return nj_fail(err, NJ_E_INPUT, "%s is longer than %u bytes", path,
                       NJ_VAULT_SECRET_MAX_BYTES);
    return r > 0 ? nj_fail_errno(err, r, "read %s", path) : 0;
}

static int read_systemd(const char *name, char *value, size_t *ret_len, struct nj_error *err)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    nj_auto_close int dir_fd = -1;
    nj_auto_close int fd = -1;

    if (!folder || !*folder)
        return nj_fail(err, NJ_E_INPUT,
                       "there is no $CREDENTIALS_DIRECTORY: start this from a systemd unit with "
                       "LoadCredential=%s:PATH",
                       name);
    dir_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0)
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail(err, NJ_E_INPUT, "the systemd credential %s: %s", name, strerror(errno));
    return read_open_file(fd, name, value, ret_len, err);
}

static void run_command(const struct nj_manifest_texts *command, int out_fd, int dir_fd)
    __attribute__((noreturn));

/* In a child: the program, with the environment and rights of whoever started the run. */
static void run_command(const struct nj_manifest_texts *command, int out_fd, int dir_fd)
{
    char *argv[NJ_MANIFEST_LIST_MAX + 1];
    sigset_t none;
    int null_fd;

    for (size_t i = 0; i < command->count; i++)
        argv[i] = (char *)(uintptr_t)command->items[i].text;
    argv[command->count] = NULL;
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL); /* some cannot be set: they need not be */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0); /* so that a time-out ends its children, too */
    null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
        fchdir(dir_fd) < 0)
        _exit(126);
    (void)close_range(3, ~0u, 0);
    (void)execvp(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
}

static int read_command(const struct nj_manifest_texts *command, int dir_fd, char *value,
                        size_t *ret_len, struct nj_error *err)
{
    const char *name = command->items[0].text;
    nj_auto_close int in = -1;
    nj_auto_close int out = -1;
    int status = 0;
    int ends[2];
    pid_t pid;
    int r;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return nj_fail_errno(err, errno, "make a pipe");
    in = ends[0];
    out = ends[1];
    pid = fork();
    if (pid < 0)
        return nj_fail_errno(err, errno, "start %s", name);
    if (pid == 0)
        run_command(command, out, dir_fd);
    (void)setpgid(pid, pid); /* whoever is first: the child does the same */
    (void)close(out);
    out = -1;
    r = read_all(in, now_ms() + COMMAND_TIMEOUT_MS, value, ret_len);
    if (r > 0)
        (void)kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return nj_fail_errno(err, errno, "wait for %s", name);
    if (r == ETIMEDOUT)
        return nj_fail(err, NJ_E_INPUT, "%s did not end within %d s (it gets no terminal)", name,
                       COMMAND_TIMEOUT_MS / 1000);
    if (r == EMSGSIZE)
        return nj_fail(err, NJ_E_INPUT, "%s printed more than %u bytes", name,
                       NJ_VAULT_SECRET_MAX_BYTES);
    if (r > 0)
        return nj_fail_errno(err, r, "read what %s prints", name);
    if (WIFSIGNALED(status))
        return nj_fail(err, NJ_E_INPUT, "%s was ended by signal %d", name, WTERMSIG(status));
    if (WEXITSTATUS(status) == 127)
        return nj_fail(err, NJ_E_INPUT, "%s: no such program", name);
    if (WEXITSTATUS(status) != 0)
        return nj_fail(err, NJ_E_INPUT, "%s ended with status %d", name, WEXITSTATUS(status));
    return 0;
}

/* A secret goes into a header: one line of visible characters. The message never shows any. */
static int check_value(const char *value, size_t *len, struct nj_error *err)
{
    if (*len > 0 && value[*len - 1] == '\n')
        (*len)--;
    if (*len > 0 && value[*len - 1] == '\r')
        (*len)--;
    if (*len == 0)
        return nj_fail(err, NJ_E_INPUT, "the secret is empty");
    if (*len > NJ_VAULT_SECRET_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT, "the secret is longer than %u bytes",
                       NJ_VAULT_SECRET_MAX_BYTES);
    for (size_t i = 0; i < *len; i++)
        if (value[i] < 0x21 || value[i] > 0x7e)
            return nj_fail(err, NJ_E_INPUT,
                           "byte %zu of %zu of the secret is a space, a line break or no ASCII "
                           "character, which no header can carry",
                           i + 1, *len);
    return 0;
}

static int read_source(const struct nj_manifest_credential *spec,
                       const struct nj_vault_options *options, char *value, size_t *ret_len,
                       struct nj_error *err)
{
    nj_auto_close int fd = -1;

    if (spec->env)
        return read_variable(spec->env, value, ret_len, err);
    if (spec->systemd)
        return read_systemd(spec->systemd, value, ret_len, err);
    if (spec->command.count > 0)
        return read_command(&spec->command, options->dir_fd, value, ret_len, err);
    if (options->open_file(options->ctx, spec->file, &fd, err) < 0)
        return -(int)err->code;
    return read_open_file(fd, spec->file, value, ret_len, err);
}

int vault_read(struct vault_inside *inside, struct vault_secret *secret,
               const struct nj_vault_options *options, struct nj_error *err)
{
    const struct nj_manifest_credential *spec = secret->spec;
    char *value = inside->memory.base + inside->memory.used;
    size_t len = 0;

    if (read_source(spec, options, value, &len, err) < 0 || check_value(value, &len, err) < 0) {
        err->code = NJ_E_INPUT; /* whatever it was, a person gave the place */
        return nj_wrap(err, "line %u: credentials.%s", spec->mark.line, spec->name);
    }
    secret->value = value;
    secret->len = len;
    inside->memory.used += NJ_VAULT_SECRET_MAX_BYTES + 2;
    return 0;
}
