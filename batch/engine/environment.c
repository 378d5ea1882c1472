/*
 * environment.c - what this host is, as far as a replay elsewhere would notice
 *
 * The interpreters are looked up where a box looks for them, and told by the digest of the program
 * that runs in the end: a name like python3 is a link that an upgrade moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/utsname.h>

#include "batch/engine/plan.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define READ_BYTES ((size_t)256 << 10)

static const char *const interpreters[] = {"bash", "node", "python3"};
static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin"};

static int hash_program(int fd, struct nj_digest *ret_digest, struct nj_error *err)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    nj_auto_free uint8_t *chunk = malloc(READ_BYTES);

    if (!hasher || !chunk)
        return nj_fail_nomem(err);
    for (;;) {
        ssize_t n = read(fd, chunk, READ_BYTES);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nj_fail_errno(err, errno, "read");
        if (n == 0)
            break;
        nj_hasher_update(hasher, chunk, (size_t)n);
    }
    nj_hasher_finish(hasher, ret_digest);
    return 0;
}

/* find_program - 0 and an open descriptor with its real name, or 1 when no folder has it */
static int find_program(const char *name, int *ret_fd, char *real)
{
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char path[PATH_MAX];
        struct stat st;
        int fd;

        (void)snprintf(path, sizeof(path), "%s/%s", folders[i], name);
        if (!realpath(path, real))
            continue;
        fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            continue;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111)) {
            *ret_fd = fd;
            return 0;
        }
        (void)close(fd);
    }
    return 1;
}

static int add_interpreter(const char *name, bool *first, struct nj_buf *out, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    nj_auto_close int fd = -1;
    struct nj_digest digest;
    char real[PATH_MAX];
    int r;

    if (find_program(name, &fd, real) != 0)
        return 0;
    r = hash_program(fd, &digest, err);
    if (r < 0)
        return nj_wrap(err, "interpreter %s", real);
    nj_digest_hex(&digest, hex);
    if (nj_buf_printf(out, err, "%s\"%s\":{\"path\":", *first ? "" : ",", name) < 0 ||
        nj_buf_json_text(out, nj_span_text(real), err) < 0 ||
        nj_buf_printf(out, err, ",\"sha256\":\"%s\"}", hex) < 0)
        return -(int)err->code;
    *first = false;
    return 0;
}

int nj_plan_environment(struct nj_buf *out, struct nj_error *err)
{
    struct utsname host;
    bool first = true;
    int r = 0;

    if (uname(&host) < 0)
        return nj_fail_errno(err, errno, "uname");
    if (nj_buf_text(out, "{\"architecture\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(host.machine), err) < 0 ||
        nj_buf_printf(out, err, ",\"build\":\"%s\",\"interpreters\":{", NJ_VERSION) < 0)
        return -(int)err->code;
    for (size_t i = 0; r == 0 && i < sizeof(interpreters) / sizeof(interpreters[0]); i++)
        r = add_interpreter(interpreters[i], &first, out, err);
    if (r < 0)
        return r;
    if (nj_buf_text(out, "},\"kernel\":", err) < 0 ||
        nj_buf_json_text(out, nj_span_text(host.release), err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}
