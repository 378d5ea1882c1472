/*
 * doctor.c - looking at this host
 */
#include "batch/cli/doctor.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>

#include "batch/cli/explain.h"
#include "batch/http/about.h"
#include "batch/report/text.h"
#include "batch/sandbox/cgroup.h"
#include "batch/sandbox/helper.h"
#include "batch/sandbox/sandbox.h"

#include "formats/base/banned.h"

#define MIB (UINT64_C(1) << 20)
#define MEMORY_LEAST (UINT64_C(512) << 20)
#define DISK_LEAST (UINT64_C(1024) << 20) /* the default of limits.disk_free_mb */
#define FILES_LEAST 1024
#define PROCESSES_LEAST 1024
#define NAMESPACES_LEAST 1000
#define WATCHES_LEAST 8192
#define LINE_MAX_BYTES 4096 /* a finding's texts are shorter */
#define NOBODY 65534        /* whom an engine of root becomes at last */

/* ---- adding ---- */

static struct nj_probe_finding *add(struct nj_doctor *doctor, const char *id, const char *name)
{
    static struct nj_probe_finding spare; /* more than there is room for: a mistake of ours */

    if (doctor->n >= NJ_DOCTOR_FINDINGS_MAX)
        return &spare;
    doctor->findings[doctor->n] = (struct nj_probe_finding){.id = id, .name = name};
    return &doctor->findings[doctor->n++];
}

static void found(struct nj_probe_finding *finding, const char *format, ...) NJ_PRINTF(2, 3);

static void found(struct nj_probe_finding *finding, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(finding->found, sizeof(finding->found), format, args);
    va_end(args);
}

static void lacks(struct nj_probe_finding *finding, enum nj_probe_state state,
                  const char *consequence, const char *cure)
{
    finding->state = state;
    finding->consequence = consequence;
    (void)snprintf(finding->cure, sizeof(finding->cure), "%s", cure);
}

/* ---- boxes ---- */

static void look_at_kernel(struct nj_doctor *doctor)
{
    struct nj_probe_finding *finding = add(doctor, "kernel", "kernel");
    struct utsname name;

    if (uname(&name) == 0)
        found(finding, "%.60s %.60s, %.60s", name.sysname, name.release, name.machine);
}

static void look_at_probes(struct nj_doctor *doctor)
{
    uid_t uid = nj_helper_own_uids() ? NJ_HELPER_UID_FIRST : (uid_t)-1;

    for (int i = 0; i < NJ_PROBES_COUNT; i++)
        nj_probe_try((enum nj_probe_what)i, uid, add(doctor, "", ""));
}

/* look_at_numbers - the least of the limits that a box takes from */
static void look_at_numbers(struct nj_doctor *doctor)
{
    static const char *const names[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};
    struct nj_probe_finding *finding = add(doctor, "namespaces-max", "number of namespaces");
    const char *least_name = "user";
    long least = -1;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[64];
        long value;

        (void)snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", names[i]);
        value = nj_probe_switch(path);
        if (value >= 0 && (least < 0 || value < least)) {
            least = value;
            least_name = names[i];
        }
    }
    if (least < 0) {
        found(finding, "no limit to be seen");
        return;
    }
    found(finding, "user.max_%s_namespaces = %ld", least_name, least);
    if (least < NAMESPACES_LEAST)
        lacks(finding, NJ_PROBE_DEGRADED, "only so many boxes and calls can be alive at once",
              "as root: for n in user pid mnt net ipc uts cgroup; do sysctl -w "
              "user.max_${n}_namespaces=10000; done");
}

static void look_at_owners(struct nj_doctor *doctor)
{
    struct nj_probe_finding *finding = add(doctor, "uids", "owners of boxes");

    if (nj_helper_own_uids()) {
        found(finding, "a host uid for each box, from %u", NJ_HELPER_UID_FIRST);
        return;
    }
    found(finding, "all boxes belong to uid %u", geteuid());
    if (geteuid() == 0 && !nj_probe_has_uid(NOBODY))
        lacks(finding, NJ_PROBE_MISSING, NJ_PROBE_NO_USER, NJ_PROBE_NO_USER_CURE);
    else if (geteuid() == 0)
        lacks(finding, NJ_PROBE_DEGRADED,
              "root here has too few uids to give each box its own: boxes share one",
              "map 70000000 uids from 1852440576 into this container, or run as an ordinary user");
}

static void look_at_cgroups(struct nj_doctor *doctor)
{
    static const char *const kinds[] = {"soft limits", "v1", "v2"};
    struct nj_probe_finding *finding = add(doctor, "cgroups", "cgroups");
    struct nj_cgroups cgroups;
    enum nj_cgroup_kind memory, pids, cpus;

    nj_cgroups_find(&cgroups);
    memory = cgroups.kind[NJ_CGROUP_MEMORY];
    pids = cgroups.kind[NJ_CGROUP_PIDS];
    cpus = cgroups.kind[NJ_CGROUP_QUOTA];
    if (memory == NJ_CGROUP_V2 && pids == NJ_CGROUP_V2)
        found(finding, "memory and processes by v2 at %.200s, max_cpus by %s",
              cgroups.dir[NJ_CGROUP_MEMORY], kinds[cpus]);
    else
        found(finding, "memory by %s, processes by %s, max_cpus by %s; %.200s", kinds[memory],
              kinds[pids], kinds[cpus], cgroups.why);
    if (memory == NJ_CGROUP_NONE || pids == NJ_CGROUP_NONE)
        lacks(finding, NJ_PROBE_DEGRADED,
              "memory and processes of boxes are bounded softly: rlimits and a watchdog",
              geteuid() == 0
                  ? "mount cgroup v2 writable; in docker: --cgroupns=private with --privileged, or "
                    "-v /sys/fs/cgroup:/sys/fs/cgroup:rw"
                  : "systemd-run --user --scope -p Delegate=yes nightjar run JOB; in a service: "
                    "Delegate=yes");
    else if (cpus == NJ_CGROUP_NONE)
        lacks(finding, NJ_PROBE_DEGRADED,
              "max_cpus is kept by whole CPUs on which a box begins, and may leave",
              "delegate the cpu controller, too: Delegate=cpu memory pids");
}

struct trial {
    struct event_base *base;
    struct nj_box *box;
    struct nj_error err;
    bool failed;
};

static void trial_opened(void *ctx, struct nj_box *box, const struct nj_error *err)
{
    struct trial *trial = ctx;

    trial->box = box;
    trial->failed = err != NULL;
    if (err)
        trial->err = *err;
    (void)event_base_loopbreak(trial->base);
}

static void trial_called(void *ctx, const struct nj_box_result *result, const struct nj_error *err)
{
    struct trial *trial = ctx;

    trial->failed = true;
    if (err) {
        trial->err = *err;
    } else if (result->outcome.exit == NJ_EXIT_EXITED && result->outcome.status == 0) {
        trial->failed = false;
    } else {
        (void)nj_fail(&trial->err, NJ_E_SYSTEM, "\"true\" in a box: %.*s (exit %d, status %d)",
                      (int)result->outcome.text.len,
                      result->outcome.text.data ? (const char *)result->outcome.text.data : "",
                      (int)result->outcome.exit, result->outcome.status);
    }
    if (result && result->objects_fd >= 0)
        (void)close(result->objects_fd);
    (void)event_base_loopbreak(trial->base);
}

/* run_true - the whole way once. Fails with what was in the way. */
static int run_true(struct nj_error *err)
{
    static const char *const argv[] = {"true", NULL};
    const struct nj_box_call call = {.argv = argv, .timeout_ms = 20000, .runtime_left_ms = 20000};
    NJ_AUTO(nj_sandbox_free) struct nj_sandbox *sandbox = NULL;
    struct trial trial = {.base = NULL};
    struct nj_box_plan plan;
    char name[32];
    int r;

    (void)snprintf(name, sizeof(name), "doctor-%d", getpid());
    r = nj_sandbox_start(name, &sandbox, err);
    if (r < 0)
        return r;
    trial.base = event_base_new();
    if (!trial.base)
        return nj_fail_nomem(err);
    nj_box_plan_default(&plan);
    r = nj_sandbox_attach(sandbox, trial.base, err);
    if (r >= 0)
        r = nj_box_open(sandbox, &plan, trial_opened, &trial, err);
    if (r >= 0) {
        (void)event_base_dispatch(trial.base);
        if (!trial.failed)
            r = nj_box_call(trial.box, &call, NULL, trial_called, &trial, err);
        if (!trial.failed && r >= 0)
            (void)event_base_dispatch(trial.base);
        nj_box_close(trial.box);
    }
    nj_sandbox_free(nj_steal_ptr(&sandbox)); /* its events before their loop */
    event_base_free(trial.base);
    if (r >= 0 && trial.failed) {
        *err = trial.err;
        r = -(int)err->code;
    }
    return r;
}

static void look_at_box(struct nj_doctor *doctor)
{
    struct nj_probe_finding *finding = add(doctor, "box", "a box");
    struct timespec before, after;
    struct nj_error err;

    if (nj_doctor_worst(doctor) == NJ_PROBE_MISSING) {
        found(finding, "not tried: what is missing above comes first");
        lacks(finding, NJ_PROBE_MISSING, NJ_PROBE_NO_BOX, "see above");
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    if (run_true(&err) < 0) {
        found(finding, "%.300s", err.text);
        lacks(finding, NJ_PROBE_MISSING, NJ_PROBE_NO_BOX,
              "what it says itself; nothing above was in the way");
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    found(finding,
          "a helper was started, a box built, a program run and all removed in %" PRId64 " ms",
          (int64_t)(after.tv_sec - before.tv_sec) * 1000 +
              (after.tv_nsec - before.tv_nsec) / 1000000);
}

/* ---- the host ---- */

static void look_at_space(struct nj_doctor *doctor, int dir_fd)
{
    struct nj_probe_finding *memory = add(doctor, "memory", "memory");
    struct nj_probe_finding *disk = add(doctor, "disk", "disk for runs");
    struct nj_explain_host host;
    struct statvfs fs;
    struct nj_error err;

    if (nj_explain_host(dir_fd, &host, &err) < 0) {
        found(memory, "%.300s", err.text);
        lacks(memory, NJ_PROBE_DEGRADED, "check cannot add up what a job needs", "mount /proc");
        return;
    }
    found(memory, "%" PRIu64 " MiB available, %" PRIu64 " processors", host.memory_bytes / MIB,
          host.cpus);
    if (host.memory_bytes < MEMORY_LEAST)
        lacks(memory, NJ_PROBE_DEGRADED, "few boxes fit at once",
              "free memory, or lower limits.tool_calls and max_memory_mb in the manifest");
    found(disk, "%" PRIu64 " MiB free here", host.disk_bytes / MIB);
    if (fstatvfs(dir_fd, &fs) == 0 && fs.f_files > 0)
        found(disk, "%" PRIu64 " MiB and %llu files free here", host.disk_bytes / MIB,
              (unsigned long long)fs.f_favail);
    if (host.disk_bytes < DISK_LEAST)
        lacks(disk, NJ_PROBE_DEGRADED,
              "no session begins while less than limits.disk_free_mb (1024) is free, and a run "
              "waits for room",
              "free some, name another place with --run-dir, or lower limits.disk_free_mb");
}

static void look_at_limit(struct nj_doctor *doctor, const char *id, const char *name,
                          __rlimit_resource_t resource, rlim_t least, const char *consequence,
                          const char *cure)
{
    struct nj_probe_finding *finding = add(doctor, id, name);
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY) {
        found(finding, "no limit");
        return;
    }
    found(finding, "%llu", (unsigned long long)limit.rlim_max);
    if (limit.rlim_max < least)
        lacks(finding, NJ_PROBE_DEGRADED, consequence, cure);
}

static void look_at_pids(struct nj_doctor *doctor)
{
    struct nj_probe_finding *finding = add(doctor, "pid-max", "process numbers");
    long pid_max = nj_probe_switch("/proc/sys/kernel/pid_max");
    long threads_max = nj_probe_switch("/proc/sys/kernel/threads-max");
    long least = threads_max >= 0 && threads_max < pid_max ? threads_max : pid_max;

    found(finding, "kernel.pid_max = %ld, kernel.threads-max = %ld", pid_max, threads_max);
    if (least >= 0 && least < 8 * PROCESSES_LEAST)
        lacks(finding, NJ_PROBE_DEGRADED, "few boxes can be alive at once",
              "as root: sysctl -w kernel.pid_max=4194304 kernel.threads-max=100000");
}

static void look_at_inotify(struct nj_doctor *doctor)
{
    struct nj_probe_finding *finding = add(doctor, "inotify", "inotify watches");
    long watches = nj_probe_switch("/proc/sys/fs/inotify/max_user_watches");

    found(finding, "fs.inotify.max_user_watches = %ld", watches);
    if (watches < WATCHES_LEAST)
        lacks(finding, NJ_PROBE_DEGRADED, "programs in boxes that watch folders may fail",
              "as root: sysctl -w fs.inotify.max_user_watches=65536");
}

static void look_at_zones(struct nj_doctor *doctor)
{
    struct nj_probe_finding *finding = add(doctor, "zones", "time zones");

    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0) {
        found(finding, "/usr/share/zoneinfo");
        return;
    }
    found(finding, "no /usr/share/zoneinfo");
    lacks(finding, NJ_PROBE_DEGRADED, "a deadline with a zone is refused; UTC works",
          "apt-get install tzdata");
}

static void look_at_interpreter(struct nj_doctor *doctor, const char *id, const char *program,
                                const char *cure)
{
    static const char *const places[] = {"/usr/local/bin", "/usr/bin", "/bin"}; /* a box's PATH */
    struct nj_probe_finding *finding = add(doctor, id, program);

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s/%s", places[i], program);
        if (access(path, X_OK) == 0) {
            found(finding, "%s", path);
            return;
        }
    }
    found(finding, "not in /usr/local/bin, /usr/bin or /bin, where boxes look");
    lacks(finding, NJ_PROBE_DEGRADED, "code_execution in this language is refused to agents", cure);
}

static void look_at_http(struct nj_doctor *doctor)
{
    struct nj_probe_finding *client = add(doctor, "http", "HTTP client");
    struct nj_probe_finding *trust = add(doctor, "trust", "certificate authorities");
    const char *file = getenv("SSL_CERT_FILE");
    struct nj_http_about about;

    nj_http_about(&about);
    found(client, "%s", about.text);
    if (!about.tls)
        lacks(client, NJ_PROBE_DEGRADED, "no model behind https can be reached",
              "apt-get install libcurl4");
    else if (!about.names_are_beside)
        lacks(client, NJ_PROBE_DEGRADED, "a slow name server holds up all sessions",
              "apt-get install libcurl4");
    if (!file || !*file)
        file = about.trust_file;
    found(trust, "%.250s", file);
    if (access(file, R_OK) == 0)
        return;
    found(trust, "%.200s: %.60s", file, strerror(errno));
    lacks(trust, NJ_PROBE_DEGRADED, "no model behind https is trusted",
          "apt-get install ca-certificates");
}

void nj_doctor_look(int dir_fd, struct nj_doctor *ret_doctor)
{
    *ret_doctor = (struct nj_doctor){.n = 0};
    look_at_kernel(ret_doctor);
    look_at_probes(ret_doctor);
    look_at_box(ret_doctor);
    look_at_cgroups(ret_doctor);
    look_at_owners(ret_doctor);
    look_at_numbers(ret_doctor);
    look_at_limit(ret_doctor, "files", "open files", RLIMIT_NOFILE, FILES_LEAST,
                  "few sessions can be alive at once",
                  "ulimit -Hn 65536, in /etc/security/limits.d for good (systemd: "
                  "LimitNOFILE=65536)");
    look_at_limit(ret_doctor, "processes", "processes of this user", RLIMIT_NPROC, PROCESSES_LEAST,
                  "few boxes can be alive at once",
                  "ulimit -u 8192, in /etc/security/limits.d for good (systemd: LimitNPROC=8192)");
    look_at_pids(ret_doctor);
    look_at_inotify(ret_doctor);
    look_at_space(ret_doctor, dir_fd);
    look_at_interpreter(ret_doctor, "bash", "bash", "apt-get install bash");
    look_at_interpreter(ret_doctor, "python", "python3", "apt-get install python3");
    look_at_interpreter(ret_doctor, "node", "node", "apt-get install nodejs");
    look_at_zones(ret_doctor);
    look_at_http(ret_doctor);
}

/* ---- telling ---- */

enum nj_probe_state nj_doctor_worst(const struct nj_doctor *doctor)
{
    enum nj_probe_state worst = NJ_PROBE_OK;

    for (size_t i = 0; i < doctor->n; i++) {
        if (doctor->findings[i].state > worst)
            worst = doctor->findings[i].state;
    }
    return worst;
}

const char *nj_doctor_state_text(enum nj_probe_state state)
{
    switch (state) {
    case NJ_PROBE_OK:
        return "ok";
    case NJ_PROBE_DEGRADED:
        return "degraded";
    case NJ_PROBE_MISSING:
        return "missing";
    }
    return "?";
}

/* put_finding - a cure stays one line: it is there to be copied */
static int put_finding(const struct nj_probe_finding *finding, size_t columns, struct nj_buf *out,
                       struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};

    nj_buf_init(&line, LINE_MAX_BYTES);
    if (nj_buf_printf(&line, err, "%-9s %-30s %s", nj_doctor_state_text(finding->state),
                      finding->name, finding->found) < 0 ||
        nj_text_wrap(out, nj_buf_span(&line), columns, 41, err) < 0 ||
        nj_buf_text(out, "\n", err) < 0)
        return -(int)err->code;
    if (finding->state == NJ_PROBE_OK)
        return 0;
    nj_buf_clear(&line);
    if (nj_buf_printf(&line, err, "          so: %s", finding->consequence) < 0 ||
        nj_text_wrap(out, nj_buf_span(&line), columns, 14, err) < 0)
        return -(int)err->code;
    return nj_buf_printf(out, err, "\n          cure: %s\n", finding->cure);
}

int nj_doctor_text(const struct nj_doctor *doctor, size_t columns, struct nj_buf *out,
                   struct nj_error *err)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < doctor->n; i++)
        r = put_finding(&doctor->findings[i], columns, out, err);
    return r;
}

static int put(struct nj_buf *out, const char *key, const char *text, struct nj_error *err)
{
    int r = nj_buf_printf(out, err, ", \"%s\": ", key);

    if (r < 0)
        return r;
    return text && *text ? nj_buf_json_text(out, nj_span_text(text), err)
                         : nj_buf_text(out, "null", err);
}

int nj_doctor_json(const struct nj_doctor *doctor, struct nj_buf *out, struct nj_error *err)
{
    int r;

    r = nj_buf_printf(out, err, "{\"worst\": \"%s\", \"findings\": [",
                      nj_doctor_state_text(nj_doctor_worst(doctor)));
    for (size_t i = 0; r >= 0 && i < doctor->n; i++) {
        const struct nj_probe_finding *finding = &doctor->findings[i];

        r = nj_buf_printf(out, err, "%s\n  {\"id\": \"%s\", \"state\": \"%s\"", i > 0 ? "," : "",
                          finding->id, nj_doctor_state_text(finding->state));
        if (r >= 0)
            r = put(out, "name", finding->name, err);
        if (r >= 0)
            r = put(out, "found", finding->found, err);
        if (r >= 0)
            r = put(out, "consequence", finding->consequence, err);
        if (r >= 0)
            r = put(out, "cure", finding->cure, err);
        if (r >= 0)
            r = nj_buf_text(out, "}", err);
    }
    return r < 0 ? r : nj_buf_text(out, "\n]}\n", err);
}
