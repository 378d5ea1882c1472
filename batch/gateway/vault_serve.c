/*
 * vault_serve.c - the process that holds the secrets
 *
 * The one complication is the order at birth: the sources are read with the rights of whoever
 * started the run, then everything that is no longer needed is given up, descriptors, environment,
 * user, and at last every system call but those that an answer takes. Signals that a terminal or a
 * service manager sends to all of a group are ignored: the engine may need a header to end in
 * peace, and the vault ends when the engine's end of the socket is closed.
 */
#include "batch/gateway/vault_inside.h"

#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "formats/base/banned.h"

extern char **environ;

/* As root: a user of its own, who owns nothing; in a user namespace that lacks it, nobody. */
#define VAULT_UID 0x6e69fff0u
#define NOBODY_UID 65534u
#define VAULT_NICE (-15)

/* ---- answering ---- */

static bool ended(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool listed(const struct nj_manifest_texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i].text, text) == 0)
            return true;
    return false;
}

static bool may_have(const struct vault_secret *secret, const char *host)
{
    if (secret->spec->hosts.count > 0)
        return listed(&secret->spec->hosts, host);
    for (size_t i = 0; i < secret->n_hosts; i++)
        if (strcmp(secret->hosts[i], host) == 0)
            return true;
    return false;
}

static bool is_visible(const char *text, bool spaces)
{
    for (; *text; text++)
        if (*text > 0x7e || *text < (spaces ? 0x20 : 0x21))
            return false;
    return true;
}

int vault_answer_header(const struct vault_inside *inside, const struct vault_ask *ask, char *line,
                        size_t size, struct nj_error *err)
{
    const struct vault_secret *secret;
    const char *header, *format, *place;
    int n;

    if (!ended(ask->host, sizeof(ask->host)) || !ended(ask->method, sizeof(ask->method)) ||
        !ended(ask->default_header, sizeof(ask->default_header)) ||
        !ended(ask->default_format, sizeof(ask->default_format)) ||
        ask->credential >= inside->manifest->n_credentials)
        return nj_fail(err, NJ_E_INPUT, "vault: a malformed question");
    secret = &inside->secrets[ask->credential];
    if (!secret->value)
        return nj_fail(err, NJ_E_INPUT, "credentials.%s: no model of this job needs it",
                       secret->spec->name);
    if (!may_have(secret, ask->host))
        return nj_fail(err, NJ_E_INPUT,
                       "credentials.%s is not for %s: add that host to its hosts, or name another "
                       "credential",
                       secret->spec->name, ask->host);
    if (secret->spec->methods.count > 0 && !listed(&secret->spec->methods, ask->method))
        return nj_fail(err, NJ_E_INPUT, "credentials.%s is not for %s requests: see its methods",
                       secret->spec->name, ask->method);
    header = secret->spec->header ? secret->spec->header : ask->default_header;
    format = secret->spec->format ? secret->spec->format : ask->default_format;
    place = strstr(format, "{secret}");
    if (!*header || !is_visible(header, false) || strchr(header, ':') || !place ||
        !is_visible(format, true))
        return nj_fail(err, NJ_E_INPUT, "credentials.%s: no header can be made of \"%.64s\"",
                       secret->spec->name, format);
    n = snprintf(line, size, "%s: %.*s%.*s%s", header, (int)(place - format), format,
                 (int)secret->len, secret->value, place + strlen("{secret}"));
    if (n < 0 || (size_t)n >= size)
        return nj_fail(err, NJ_E_LIMIT, "credentials.%s: its header is longer than %zu bytes",
                       secret->spec->name, size);
    return n;
}

#define MASK_LEAST_BYTES 8u

/* How many bytes of @text are @secret, or its beginning and enough of it to matter; 0: too few. */
static size_t secret_in(const struct vault_secret *secret, const char *text, size_t len)
{
    size_t least = secret->len < MASK_LEAST_BYTES ? secret->len : MASK_LEAST_BYTES, run = 0;

    while (secret->value && run < secret->len && run < len && text[run] == secret->value[run])
        run++;
    return run >= least ? run : 0;
}

/* A secret may begin within what looked like the beginning of one, so each byte is blotted out only
 * once it has been compared as the first, and everything behind it is still as it came. */
void vault_mask_text(const struct vault_inside *inside, char *text, size_t len)
{
    size_t end = 0; /* of what has to go */

    for (size_t i = 0; i < len; i++) {
        for (size_t k = 0; k < inside->manifest->n_credentials; k++) {
            size_t run = secret_in(&inside->secrets[k], text + i, len - i);

            if (end < i + run)
                end = i + run;
        }
        if (i < end)
            text[i] = '*';
    }
}

/* ---- birth ---- */

static int lock_memory(struct vault_inside *inside, struct nj_error *err)
{
    size_t size = VAULT_ROOM_BYTES * 2;
    char *base;

    for (size_t i = 0; i < inside->manifest->n_credentials; i++)
        if (inside->secrets[i].n_hosts > 0)
            size += NJ_VAULT_SECRET_MAX_BYTES + 2;
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return nj_fail_errno(err, errno, "get memory");
    if (madvise(base, size, MADV_DONTDUMP) < 0 || madvise(base, size, MADV_DONTFORK) < 0)
        return nj_fail_errno(err, errno, "keep secrets out of dumps");
    if (mlock(base, size) < 0)
        return nj_fail(err, NJ_E_INPUT,
                       "%zu KiB for secrets cannot be locked into memory (%s): raise `ulimit -l`, "
                       "or LimitMEMLOCK of the unit",
                       size >> 10, strerror(errno));
    inside->memory = (struct vault_memory){.base = base, .size = size};
    inside->message = base;
    inside->answer = base + VAULT_ROOM_BYTES;
    inside->memory.used = VAULT_ROOM_BYTES * 2;
    return 0;
}

/* The frames and copies that libc or the kernel made of the variables. */
static void wipe_all_variables(void)
{
    for (char **at = environ; at && *at; at++)
        explicit_bzero(*at, strlen(*at));
    environ = NULL;
}

static int become(uid_t uid, gid_t gid, struct nj_error *err)
{
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return nj_fail_errno(err, errno, "become user %u", uid);
    return 0;
}

static int give_up_rights(struct nj_error *err)
{
    static const int calls[] = {SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),      SCMP_SYS(sendto),
                                SCMP_SYS(sendmsg),  SCMP_SYS(rt_sigreturn), SCMP_SYS(exit_group)};
    scmp_filter_ctx filter;
    int r = 0;

    if (geteuid() == 0 && become(VAULT_UID, VAULT_UID, err) < 0 &&
        become(NOBODY_UID, NOBODY_UID, err) < 0)
        return -(int)err->code;
    /* A change of user makes a process dumpable again. */
    if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return nj_fail_errno(err, errno, "become undumpable");
    filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return nj_fail_nomem(err);
    for (size_t i = 0; r == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r < 0 ? nj_fail_errno(err, -r, "install the system call list") : 0;
}

static int prepare(struct vault_inside *inside, const struct nj_vault_options *options,
                   struct nj_error *err)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    const struct rlimit none = {0};

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* a command's end is waited for */
    (void)prctl(PR_SET_NAME, "nj-vault");
    if (prctl(PR_SET_DUMPABLE, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return nj_fail_errno(err, errno, "become undumpable");
    /* The engine waits while a header is made, which takes microseconds, behind a queue for the
     * processor, which on a busy machine takes as long as that is. Only root may jump it. */
    (void)setpriority(PRIO_PROCESS, 0, VAULT_NICE);
    if (lock_memory(inside, err) < 0 || (geteuid() == 0 && options->reader_uid != 0 &&
                                         become(options->reader_uid, options->reader_gid, err) < 0))
        return -(int)err->code;
    for (size_t i = 0; i < inside->manifest->n_credentials; i++)
        if (inside->secrets[i].n_hosts > 0 &&
            vault_read(inside, &inside->secrets[i], options, err) < 0)
            return -(int)err->code;
    wipe_all_variables();
    return 0;
}

/* ---- life ---- */

static void answer(const struct vault_inside *inside, uint32_t code, size_t len)
{
    struct vault_answer *out = inside->answer;

    out->code = code;
    out->len = (uint32_t)len;
    /* Nobody there: the next receive tells. */
    (void)send(inside->fd, out, offsetof(struct vault_answer, text) + len + 1, MSG_NOSIGNAL);
    explicit_bzero(out->text, len + 1);
}

static void fail(const struct vault_inside *inside, const struct nj_error *err)
{
    struct vault_answer *out = inside->answer;
    int n = snprintf(out->text, sizeof(out->text), "%s", err->text);

    answer(inside, err->code, n < 0 ? 0 : (size_t)n);
}

static void serve_one(const struct vault_inside *inside, size_t len)
{
    const struct vault_ask *ask = inside->message;
    struct vault_answer *out = inside->answer;
    struct vault_mask *mask = inside->message;
    struct nj_error err = {0};
    int n;

    if (len == sizeof(*ask) && ask->kind == VAULT_HEADER) {
        n = vault_answer_header(inside, ask, out->text, sizeof(out->text), &err);
        if (n < 0)
            fail(inside, &err);
        else
            answer(inside, 0, (size_t)n);
        return;
    }
    if (len >= offsetof(struct vault_mask, text) && mask->kind == VAULT_MASK &&
        mask->len == len - offsetof(struct vault_mask, text)) {
        vault_mask_text(inside, mask->text, mask->len);
        (void)send(inside->fd, mask, len, MSG_NOSIGNAL); /* as in answer() */
        explicit_bzero(mask, len);
        return;
    }
    (void)nj_fail(&err, NJ_E_INPUT, "vault: a malformed question");
    fail(inside, &err);
}

/* Before the memory is locked there is nowhere to put an answer but here: it holds no secret. */
static void tell_failure(int fd, const struct nj_error *err)
{
    struct vault_answer out = {.code = err->code};
    int n = snprintf(out.text, sizeof(out.text), "%s", err->text);

    out.len = n < 0 ? 0 : (uint32_t)n;
    (void)send(fd, &out, offsetof(struct vault_answer, text) + out.len + 1, MSG_NOSIGNAL);
}

void vault_process(struct vault_inside *inside, const struct nj_vault_options *options)
{
    struct nj_error err = {0};
    struct vault_answer *out;

    if (prepare(inside, options, &err) < 0) {
        tell_failure(inside->fd, &err);
        _exit(1);
    }
    /* Standard error was for what a command says. */
    if (dup2(inside->fd, 0) < 0 || close_range(1, ~0u, 0) < 0)
        _exit(1);
    inside->fd = 0;
    if (give_up_rights(&err) < 0) {
        tell_failure(inside->fd, &err);
        _exit(1);
    }
    out = inside->answer;
    out->text[0] = '\0';
    answer(inside, 0, 0);
    for (;;) {
        ssize_t n = recv(inside->fd, inside->message, VAULT_ROOM_BYTES, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        serve_one(inside, (size_t)n);
    }
    explicit_bzero(inside->memory.base, inside->memory.size);
    _exit(0);
}
