/*
 * environment.c - what this host is, as far as a replay elsewhere would notice
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/utsname.h>

#include "batch/plan/plan.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define CPUINFO_MAX_BYTES (1u << 20)
#define PACKAGES_MAX_BYTES (64u << 20)
#define VALUE_MAX_BYTES 1024

const char *const nj_plan_interpreters[NJ_PLAN_INTERPRETERS] = {"bash", "node", "python3"};

static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin"};

int nj_plan_interpreter(const char *name, char ret_path[PATH_MAX])
{
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char path[PATH_MAX], real[PATH_MAX];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/%s", folders[i], name);
        if (!realpath(path, real) || stat(real, &st) < 0 || !S_ISREG(st.st_mode) ||
            (st.st_mode & 0111) == 0)
            continue;
        memcpy(ret_path, real, strlen(real) + 1);
        return 0;
    }
    return 1;
}

static int add_text(struct nj_buf *out, const char *key, struct nj_span value,
                    const struct nj_digest *digest, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    nj_buf_init(&text, VALUE_MAX_BYTES);
    if (nj_buf_append(&text, value.data, value.len, err) < 0 ||
        nj_buf_printf(&text, err, ", sha256 %.16s", hex) < 0 ||
        nj_buf_printf(out, err, ",\"%s\":", key) < 0)
        return -(int)err->code;
    return nj_buf_json_text(out, nj_buf_span(&text), err);
}

/* The processor by its name and its abilities: libraries go other ways where those differ. */
static int add_cpu(struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0};
    struct nj_span model, flags;
    struct nj_digest digest;

    nj_buf_init(&text, CPUINFO_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, "/proc/cpuinfo", &text, &ignored) < 0)
        return 0; /* not every host tells */
    model = nj_span_line_value(nj_buf_span(&text), "model name");
    flags = nj_span_line_value(nj_buf_span(&text), "flags");
    if (model.len == 0 || model.len > NAME_MAX)
        return 0;
    nj_digest_bytes(flags.len ? (const void *)flags.data : "", flags.len, &digest);
    return add_text(out, "cpu", model, &digest, err);
}

/* What is installed, as dpkg keeps it: names, versions and states, whatever else its file says. */
static int add_packages(struct nj_buf *out, struct nj_error *err)
{
    static const char *const keys[] = {"Package:", "Status:", "Architecture:", "Version:"};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    struct nj_error ignored = {0};
    struct nj_digest digest;
    unsigned count = 0;
    char words[32];

    if (!hasher)
        return nj_fail_nomem(err);
    nj_buf_init(&text, PACKAGES_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, "/var/lib/dpkg/status", &text, &ignored) < 0)
        return 0; /* another kind of host, or more packages than anybody has */
    for (size_t at = 0; at < text.len;) {
        const uint8_t *line = text.data + at;
        const uint8_t *end = memchr(line, '\n', text.len - at);
        size_t len = end ? (size_t)(end - line) : text.len - at;

        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            if (len < strlen(keys[i]) || memcmp(line, keys[i], strlen(keys[i])) != 0)
                continue;
            nj_hasher_update(hasher, line, len);
            nj_hasher_update(hasher, "\n", 1);
            count += i == 0;
        }
        at += len + 1;
    }
    nj_hasher_finish(hasher, &digest);
    (void)snprintf(words, sizeof(words), "%u of dpkg", count);
    return add_text(out, "packages", nj_span_text(words), &digest, err);
}

int nj_plan_environment(struct nj_buf *out, struct nj_error *err)
{
    struct utsname host;

    if (uname(&host) < 0)
        return nj_fail_errno(err, errno, "uname");
    if (nj_buf_text(out, "{\"architecture\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(host.machine), err) < 0 ||
        nj_buf_printf(out, err, ",\"build\":\"%s\",\"kernel\":", NJ_VERSION) < 0 ||
        nj_buf_json_text(out, nj_span_text(host.release), err) < 0)
        return -(int)err->code;
    if (add_cpu(out, err) < 0 || add_packages(out, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}
