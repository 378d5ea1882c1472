/*
 * holder.c - the file `lock` of a run, and whether the process it names is still that process
 *
 * The one complication: between reading a process's start and signalling it, it may end and its
 * number be given away; so it is held by a pidfd first and looked at then.
 */
#include "batch/run/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define LOCK_FILE "lock"
#define LOCK_FILE_MAX_BYTES 4096
#define STAT_START_FIELD 22 /* proc_pid_stat(5) */

static bool read_small(const char *path, char *text, size_t size)
{
    nj_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

    text[len > 0 ? len : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return len > 0;
}

/* When the process began, in ticks since boot; 0 when there is no such process. Its name may hold
 * spaces and parentheses, so fields are counted from the last one. */
static uint64_t started_ticks(pid_t pid)
{
    char path[40];
    char stat[1024];
    const char *at;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_small(path, stat, sizeof(stat)))
        return 0;
    at = strrchr(stat, ')');
    for (int field = 2; at && field < STAT_START_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void own_namespace(char *text, size_t size)
{
    ssize_t len = readlink("/proc/self/ns/pid", text, size - 1);

    text[len > 0 ? len : 0] = '\0';
}

static void own_host(char *text, size_t size)
{
    if (gethostname(text, size) < 0)
        text[0] = '\0';
    text[size - 1] = '\0';
}

static void own_boot(char *text, size_t size)
{
    (void)read_small("/proc/sys/kernel/random/boot_id", text, size); /* empty where it is hidden */
}

int nj_holder_write(int dir_fd, struct nj_error *err)
{
    struct nj_holder self = {.pid = getpid(), .since_s = time(NULL)};
    nj_auto_free char *text = NULL;
    json_t *json;

    self.started_ticks = started_ticks(self.pid);
    own_boot(self.boot_id, sizeof(self.boot_id));
    own_namespace(self.pid_namespace, sizeof(self.pid_namespace));
    own_host(self.host, sizeof(self.host));
    json = json_pack("{s:i, s:I, s:I, s:s, s:s, s:s%}", "pid", (int)self.pid, "started_ticks",
                     (json_int_t)self.started_ticks, "since", (json_int_t)self.since_s, "boot_id",
                     self.boot_id, "pid_namespace", self.pid_namespace, "host", self.host,
                     strlen(self.host));
    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return nj_fail_nomem(err);
    return nj_fsio_publish(dir_fd, LOCK_FILE, nj_span_text(text), 0600, err);
}

static void take_text(const json_t *json, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(json, key));

    (void)snprintf(text, size, "%s", value ? value : "");
}

void nj_holder_read(int dir_fd, struct nj_holder *ret_holder)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_error ignored = {0}; /* whoever asks goes by the lock; this is for words only */
    struct nj_holder holder = {0};
    json_t *json = NULL;
    json_int_t pid;

    nj_buf_init(&bytes, LOCK_FILE_MAX_BYTES);
    if (nj_fsio_read_file(dir_fd, LOCK_FILE, &bytes, &ignored) == 0)
        json = json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
    pid = json_integer_value(json_object_get(json, "pid"));
    if (pid > 0 && pid <= INT_MAX)
        holder.pid = (pid_t)pid;
    holder.started_ticks = (uint64_t)json_integer_value(json_object_get(json, "started_ticks"));
    holder.since_s = json_integer_value(json_object_get(json, "since"));
    take_text(json, "boot_id", holder.boot_id, sizeof(holder.boot_id));
    take_text(json, "pid_namespace", holder.pid_namespace, sizeof(holder.pid_namespace));
    take_text(json, "host", holder.host, sizeof(holder.host));
    json_decref(json);
    *ret_holder = holder;
}

/* Do its numbers of processes mean here what they meant there? */
static bool is_here(const struct nj_holder *holder)
{
    char boot[sizeof(holder->boot_id)];
    char namespace[sizeof(holder->pid_namespace)];

    own_boot(boot, sizeof(boot));
    own_namespace(namespace, sizeof(namespace));
    return strcmp(boot, holder->boot_id) == 0 && strcmp(namespace, holder->pid_namespace) == 0;
}

static bool was_before_boot(const struct nj_holder *holder)
{
    char boot[sizeof(holder->boot_id)];
    char host[sizeof(holder->host)];

    own_boot(boot, sizeof(boot));
    own_host(host, sizeof(host));
    return strcmp(host, holder->host) == 0 && strcmp(boot, holder->boot_id) != 0;
}

enum nj_holder_state nj_holder_state(const struct nj_holder *holder)
{
    if (holder->pid == 0 || was_before_boot(holder))
        return NJ_HOLDER_GONE;
    if (!is_here(holder))
        return NJ_HOLDER_ELSEWHERE;
    return started_ticks(holder->pid) == holder->started_ticks ? NJ_HOLDER_LIVES : NJ_HOLDER_GONE;
}

bool nj_holder_is_locked(int dir_fd)
{
    /* A descriptor of its own: the lock belongs to the open file, and dir_fd's may hold it. */
    nj_auto_close int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

void nj_holder_text(const struct nj_holder *holder, char *text, size_t size)
{
    char since[40] = "?";
    time_t since_s = (time_t)holder->since_s;
    struct tm tm;

    if (holder->pid == 0) {
        (void)snprintf(text, size, "it has not told who it is");
        return;
    }
    if (gmtime_r(&since_s, &tm))
        (void)strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S UTC", &tm);
    (void)snprintf(text, size, "pid %d on %s since %s", (int)holder->pid, holder->host, since);
}

int nj_holder_open(const struct nj_holder *holder)
{
    int fd = (int)syscall(SYS_pidfd_open, holder->pid, 0);

    if (fd >= 0 && nj_holder_state(holder) != NJ_HOLDER_LIVES) {
        (void)close(fd);
        errno = ESRCH;
        return -1;
    }
    return fd;
}
