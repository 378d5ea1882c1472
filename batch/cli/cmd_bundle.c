/*
 * cmd_bundle.c - nightjar bundle RUN:KEY: one session as a file, at any time
 *
 * It is written from the journal up to its last commit, beside a live engine if there is one. Of a
 * session that has ended the frames leave the journal in time: then the file that the run has of it
 * is copied. All of it is read by a confined process, as a run may have come from elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "batch/cli/cmd.h"
#include "batch/engine/archive.h"
#include "batch/engine/confine.h"
#include "batch/plan/inputs.h"
#include "batch/plan/plan.h"
#include "batch/run/run_dir.h"
#include "batch/run/scan.h"
#include "batch/session/config.h"

#include "formats/base/banned.h"

enum { OPT_OUTPUT = 1 };

static int split(const struct nj_arguments *args, const char *where, char **ret_run,
                 const char **ret_key, struct nj_error *err)
{
    const char *colon = strchr(where, ':');

    if (!colon || colon == where || !colon[1])
        return nj_arguments_refuse(args, err, "%s: RUN:KEY is expected", where);
    *ret_run = strndup(where, (size_t)(colon - where));
    if (!*ret_run)
        return nj_fail_nomem(err);
    *ret_key = colon + 1;
    return 0;
}

static int read_config(struct nj_scan_reader *reader, struct nj_arena *arena,
                       struct nj_session_config **ret_config, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object_source source = nj_scan_source(reader);

    nj_buf_init(&bytes, NJ_CONFIG_MAX_BYTES);
    if (source.get(source.ctx, &reader->scan->config, &bytes, err) < 0)
        return -(int)err->code;
    return nj_config_decode(nj_buf_span(&bytes), arena, ret_config, err);
}

/* open_folder - where @path is going to lie */
static int open_folder(const char *path, int *ret_fd, struct nj_error *err)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    nj_auto_free char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

    if (!folder)
        return nj_fail_nomem(err);
    *ret_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? nj_fail_errno(err, errno, "open folder %s", folder) : 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* confine - a run may be anybody's: from here its folder is read, the system's files that ran in
 * its boxes, and dpkg's lists, which name their packages; one folder is written into */
static int confine(const struct nj_run_dir *dir, int write_fd, struct nj_error *err)
{
    static const char *const system[] = {"/usr", "/bin",   "/sbin",
                                         "/lib", "/lib64", "/var/lib/dpkg"};
    int fds[1 + sizeof(system) / sizeof(system[0])] = {dir->fd};
    size_t n = 1;
    int r;

    for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++) {
        int fd = open(system[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
            fds[n++] = fd;
    }
    r = nj_confine_reader(fds, n, write_fd, false, err);
    while (n > 1)
        (void)close(fds[--n]);
    return r;
}

static int map_file(int dir_fd, const char *name, struct nj_span *ret_bytes, struct nj_error *err)
{
    nj_auto_close int fd =
        openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    void *map;

    if (fd < 0 || fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "open bundles/%s", name);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return nj_fail(err, NJ_E_CORRUPT, "bundles/%s is not a bundle", name);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return nj_fail_errno(err, errno, "map bundles/%s", name);
    *ret_bytes = (struct nj_span){map, (size_t)st.st_size};
    return 0;
}

/* copy_bundle - what has left the journal is in the run's own file */
static int copy_bundle(const struct nj_run_dir *dir, const char *name, int to_fd, const char *as,
                       struct nj_error *err)
{
    const char *dot = name ? strrchr(name, '.') : NULL;
    struct nj_span bytes;
    int r;

    /* The name is the run's, and @as may be it: no run has a shell's start-up file written. */
    if (!dot || strchr(name, '/') || strcmp(dot, ".njb") != 0)
        return nj_fail(err, NJ_E_INPUT,
                       "it has ended, its frames have left the journal, and no bundle is named");
    if (map_file(dir->bundles_fd, name, &bytes, err) < 0)
        return nj_wrap(err, "it has ended, and its frames have left the journal");
    r = nj_fsio_publish(to_fd, as, bytes, 0600, err);
    (void)munmap((void *)bytes.data, bytes.len);
    return r;
}

static int bundle(const char *run_path, const char *key, const char *output, struct nj_error *err)
{
    NJ_AUTO(nj_run_dir_done) struct nj_run_dir dir = NJ_RUN_DIR_EMPTY;
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_inputs_free) struct nj_inputs *inputs = NULL;
    NJ_AUTO(nj_scan_done) struct nj_scan scan = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf manifest = {0};
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *job = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf host = {0};
    nj_auto_close int to_fd = -1;
    nj_auto_free struct nj_workspace_ref *mounts = NULL;
    nj_auto_free char *default_name = NULL;
    struct nj_session_config *config = NULL;
    struct nj_scan_reader reader = {.scan = &scan};
    char slug[NJ_PLAN_SLUG_MAX_BYTES + 1];
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_buf_init(&manifest, NJ_MANIFEST_MAX_BYTES);
    nj_buf_init(&host, 1u << 20);
    if (nj_run_dir_open(run_path, false, &dir, err) < 0 || open_folder(output, &to_fd, err) < 0 ||
        nj_plan_environment(&host, err) < 0 || confine(&dir, to_fd, err) < 0 ||
        nj_journal_open(dir.journal_fd, &journal, err) < 0)
        return nj_wrap(err, "bundle %s:%s", run_path, key);
    nj_journal_hold(journal); /* the engine may be at work */
    if (nj_scan_session(journal, key, &scan, err) < 0 ||
        nj_inputs_open(dir.inputs_fd, &inputs, err) < 0 ||
        nj_fsio_read_file(dir.fd, "job.yaml", &manifest, err) < 0 ||
        nj_manifest_parse(nj_buf_span(&manifest), "job.yaml", &job, &faults, err) < 0)
        return nj_wrap(err, "bundle %s:%s", run_path, key);
    if (scan.archived && scan.n_places == 0) {
        if (copy_bundle(&dir, scan.bundle, to_fd, output ? last_part(output) : scan.bundle, err) <
            0)
            return nj_wrap(err, "bundle %s:%s", run_path, key);
        printf("%s\n", output ? output : scan.bundle);
        return 0;
    }
    reader.journal = journal;
    if (read_config(&reader, &arena, &config, err) < 0)
        return nj_wrap(err, "bundle %s:%s", run_path, key);
    mounts = calloc(config->n_mounts + 1, sizeof(*mounts));
    if (!mounts)
        return nj_fail_nomem(err);
    nj_slug(key, false, slug);
    nj_digest_hex(&scan.identity, hex);
    if (asprintf(&default_name, "%s-%.8s.njb", slug, hex) < 0)
        return nj_fail_nomem(err);
    {
        struct nj_bundle_info info = {
            .job = job->job,
            .run = dir.name,
            .key = key,
            .group = config->group,
            .agent = config->agent,
            .identity = scan.identity,
            .status = scan.status ? scan.status : NJ_STATUS_SUSPENDED,
            .inputs_embedded = job->archive_inputs == NJ_INPUTS_EMBED,
            .reproducible = config->reproducible,
        };
        NJ_AUTO(nj_digested_free) struct nj_digested *digested = NULL;
        struct nj_archive archive = {
            .journal = journal,
            .places = scan.places,
            .n_places = scan.n_places,
            .index = &scan.index,
            .mounts = mounts,
            .n_mounts = nj_config_inputs(config, mounts),
            .inputs = nj_inputs_source(inputs),
            .manifest = nj_buf_span(&manifest),
            .host = (const char *)host.data,
        };

        if (nj_digested_new(&digested, err) < 0)
            return -(int)err->code;
        archive.digested = digested;
        if (nj_archive_publish(&archive, &info, to_fd, output ? last_part(output) : default_name,
                               err) < 0)
            return -(int)err->code;
    }
    printf("%s\n", output ? output : default_name);
    return 0;
}

static int run(struct nj_arguments *args, struct nj_error *err)
{
    nj_auto_free char *run_path = NULL;
    const char *output = NULL;
    const char *key = NULL;
    int r;

    while ((r = nj_arguments_next(args, err)) > 0)
        output = args->value;
    if (r < 0 || split(args, args->operands[0], &run_path, &key, err) < 0)
        return -(int)err->code;
    return bundle(run_path, key, output, err);
}

const struct nj_command nj_cmd_bundle = {
    .name = "bundle",
    .summary = "write one session as a bundle, ended or not",
    .help = "Writes the session's record up to its last commit; works beside a live engine. The "
            "file's name is printed.",
    .operands = (const struct nj_operand[]){{.name = "RUN:KEY", .takes = NJ_TAKES_SESSION}, {0}},
    .options =
        (const struct nj_option[]){
            {OPT_OUTPUT, "output", .value = "FILE", .takes = NJ_TAKES_FILE,
             .help = "where to; default <key>-<digest>.njb in the working directory"},
            {0},
        },
    .see = "nightjar-replay(1)",
    .run = run,
};
