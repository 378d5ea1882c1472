/*
 * fixed.c - the small machine that a box of level D1 and up shows
 *
 * The one complication is /proc/cpuinfo: programs read the processor's abilities there, which are
 * the host's and must be true, among figures that change while one looks at them. The first
 * processor's lines are taken and those figures replaced.
 */
#include "batch/sandbox/fixed.h"

#include <fcntl.h>
#include <inttypes.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define CPUINFO_MAX_BYTES (256u << 10)
#define BOOT_S "1700000000" /* NJ_CLOCK_BOOT_NS of virtual/layout.h, in seconds */

static const char stat_text[] = "cpu  1000 0 1000 100000 0 0 0 0 0 0\n"
                                "cpu0 1000 0 1000 100000 0 0 0 0 0 0\n"
                                "intr 0\nctxt 100000\nbtime " BOOT_S "\nprocesses 3\n"
                                "procs_running 1\nprocs_blocked 0\n";

/* Lines of /proc/cpuinfo that tell of the moment or of the other processors. */
static const struct {
    const char *key;
    const char *value;
} cpu_lines[] = {
    {"processor", "0"},   {"cpu MHz", "2000.000"}, {"bogomips", "4000.00"},
    {"physical id", "0"}, {"siblings", "1"},       {"core id", "0"},
    {"cpu cores", "1"},   {"apicid", "0"},         {"initial apicid", "0"},
};

static bool is_key(const char *line, size_t len, const char *key)
{
    size_t key_len = strlen(key);

    return len > key_len && memcmp(line, key, key_len) == 0 &&
           (line[key_len] == '\t' || line[key_len] == ':' || line[key_len] == ' ');
}

static int copy_cpu_line(const char *line, size_t len, struct nj_buf *out, struct nj_error *err)
{
    const char *colon = memchr(line, ':', len);

    for (size_t i = 0; colon && i < sizeof(cpu_lines) / sizeof(cpu_lines[0]); i++) {
        if (is_key(line, len, cpu_lines[i].key))
            return nj_buf_printf(out, err, "%.*s: %s\n", (int)(colon - line), line,
                                 cpu_lines[i].value);
    }
    return nj_buf_printf(out, err, "%.*s\n", (int)len, line);
}

/* The first processor's paragraph; a host without the file has none to show. */
static const char *cpuinfo(struct nj_arena *arena)
{
    NJ_AUTO(nj_buf_done) struct nj_buf host = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0};
    const char *at, *end;

    nj_buf_init(&host, CPUINFO_MAX_BYTES);
    nj_buf_init(&text, CPUINFO_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, "/proc/cpuinfo", &host, &ignored) < 0 || host.len == 0)
        return nj_arena_span(arena, nj_span_text("processor\t: 0\n\n"));
    at = (const char *)host.data;
    end = at + host.len;
    while (at < end && *at != '\n') {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = line_end ? (size_t)(line_end - at) : (size_t)(end - at);

        if (copy_cpu_line(at, len, &text, &ignored) < 0)
            return NULL;
        at += len + (line_end != NULL);
    }
    if (nj_buf_text(&text, "\n", &ignored) < 0)
        return NULL;
    return nj_arena_span(arena, nj_buf_span(&text));
}

static const char *meminfo(const struct nj_box_plan *plan, struct nj_arena *arena)
{
    uint64_t kb = plan->max_memory_bytes >> 10;

    return nj_arena_printf(arena,
                           "MemTotal:       %8" PRIu64 " kB\nMemFree:        %8" PRIu64
                           " kB\nMemAvailable:   %8" PRIu64
                           " kB\nBuffers:               0 kB\nCached:                0 kB\n"
                           "SwapCached:            0 kB\nActive:                0 kB\n"
                           "Inactive:              0 kB\nSwapTotal:             0 kB\n"
                           "SwapFree:              0 kB\nShmem:                 0 kB\n"
                           "Slab:                  0 kB\nSReclaimable:          0 kB\n",
                           kb, kb, kb);
}

size_t nj_fixed_files(const struct nj_box_plan *plan, struct nj_arena *arena,
                      struct nj_fixed_file files[NJ_FIXED_FILES_MAX])
{
    size_t n = 0;

    if (plan->level == 0)
        return 0;
    files[n++] = (struct nj_fixed_file){"/proc/stat", "stat", stat_text,
                                        "one processor, booted at a fixed time, no counters"};
    files[n++] = (struct nj_fixed_file){"/proc/cpuinfo", "cpuinfo", cpuinfo(arena),
                                        "one processor, with the host's abilities"};
    files[n++] = (struct nj_fixed_file){"/proc/meminfo", "meminfo", meminfo(plan, arena),
                                        "the memory of the plan, all of it free"};
    files[n++] = (struct nj_fixed_file){"/proc/loadavg", "loadavg", "0.00 0.00 0.00 1/2 3\n",
                                        "nothing else goes on"};
    files[n++] = (struct nj_fixed_file){
        "/proc/vmstat", "vmstat", "pgfault 0\npswpin 0\npswpout 0\n", "no counters of the host"};
    files[n++] =
        (struct nj_fixed_file){"/proc/sys/kernel/random/boot_id", "boot_id",
                               "6e696768-746a-4172-8000-000000000000\n", "a box is not booted"};
    return n;
}

const char *const *nj_fixed_masks(const struct nj_box_plan *plan)
{
    static const char *const masks[] = {"/proc/interrupts",
                                        "/proc/softirqs",
                                        "/proc/schedstat",
                                        "/proc/diskstats",
                                        "/proc/buddyinfo",
                                        "/proc/zoneinfo",
                                        "/proc/cgroups",
                                        "/proc/sys/fs/dentry-state",
                                        "/proc/sys/fs/file-nr",
                                        "/proc/sys/fs/inode-nr",
                                        "/proc/sys/fs/inode-state",
                                        NULL};

    return plan->level > 0 ? masks : masks + sizeof(masks) / sizeof(masks[0]) - 1;
}

const char *const *nj_fixed_hidden(const struct nj_box_plan *plan)
{
    static const char *const hidden[] = {"/proc/pressure", "/proc/irq", "/proc/fs", NULL};

    return plan->level > 0 ? hidden : hidden + sizeof(hidden) / sizeof(hidden[0]) - 1;
}

int nj_fixed_print(const struct nj_box_plan *plan, struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_fixed_file files[NJ_FIXED_FILES_MAX];
    size_t n = nj_fixed_files(plan, &arena, files);
    int r;

    if (plan->level == 0)
        return 0;
    r = nj_buf_printf(
        out, err,
        "fixed, so that the same code gives the same bytes (D%u):\n"
        "  time: a clock of the session, which starts each call where the record says\n"
        "  randomness: from the session's seed and the call's number\n"
        "  addresses: not randomised, and a stack of 8 MiB, on which they depend\n"
        "  processors: one, the one where the kernel puts a call\n",
        plan->level);
    if (r >= 0)
        r = nj_buf_printf(out, err,
                          "  /dev/random, /dev/urandom, /proc/sys/kernel/random/uuid: from the "
                          "seed, by file (needs /dev/fuse)\n"
                          "  /proc/uptime: by the session's clock (the same)\n");
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = nj_buf_printf(out, err, "  %s: %s\n", files[i].target, files[i].reason);
    for (const char *const *mask = nj_fixed_masks(plan); r >= 0 && *mask; mask++)
        r = nj_buf_printf(out, err, "  %s: empty, no counters of the host\n", *mask);
    for (const char *const *hidden = nj_fixed_hidden(plan); r >= 0 && *hidden; hidden++)
        r = nj_buf_printf(out, err, "  %s: an empty directory, no counters of the host\n", *hidden);
    return r;
}
