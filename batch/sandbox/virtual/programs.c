/*
 * programs.c - which files run in a call, and what the workspace's own hold
 *
 * A program is looked at in its first stop, a library when it is mapped to be executed, of which
 * the filter tells: a few notifications an exec. Files of the host are listed by path; whoever
 * reads the list later digests them, once each, which would take too long here. Files of the
 * workspace are in the record as it is. They are searched for instructions that no kernel stands
 * before, which lowers the level: what the system brought is not, because nearly all of it holds
 * one, for tuning, and asks before it uses it.
 *
 * Nothing of it guards anything. A descriptor may be another file by the time the kernel maps it;
 * then a lie is listed, about the liar's own session.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/sandbox/instructions.h"
#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/cleanup.h"
#include "formats/object/ran.h"

#include "formats/base/banned.h"

#define SEEK_MAX_BYTES (4u << 20) /* a millisecond's work; beyond, a file is not looked at */
#define SOUGHT_MAX 256            /* files of the workspace in a call; beyond, likewise */
#define PATHS_MAX_BYTES (1u << 20)
#define NS_PER_S INT64_C(1000000000)

void nj_programs_begin(struct nj_virtual *v, dev_t workspace_device, bool lists)
{
    v->programs.workspace_device = workspace_device;
    v->programs.lists = lists;
}

void nj_programs_end(struct nj_virtual *v)
{
    struct nj_programs *programs = &v->programs;

    for (size_t i = 0; i < programs->n; i++)
        free(programs->files[i].path);
    free(programs->files);
    *programs = (struct nj_programs){.workspace_device = 0};
}

static bool is_known(const struct nj_programs *programs, const struct stat *st)
{
    for (size_t i = programs->n; i > 0; i--) {
        const struct nj_program *file = &programs->files[i - 1];

        if (file->ino == st->st_ino && file->dev == st->st_dev &&
            file->bytes == (uint64_t)st->st_size &&
            file->mtime_ns == st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec)
            return true;
    }
    return false;
}

/* seek - a file of the workspace: what does it hold? */
static void seek(struct nj_virtual *v, const char *name)
{
    nj_auto_close int fd = -1;
    unsigned holds;

    if (v->programs.n_sought++ >= SOUGHT_MAX)
        return;
    fd = openat(v->proc_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return;
    holds = nj_instructions_seek(fd, SEEK_MAX_BYTES);
    if (holds & NJ_HOLDS_RDTSC)
        nj_virtual_lower(v, NJ_LEVEL_FILE_TIMES - 1, NJ_LOWERED_TSC);
    if (holds & (NJ_HOLDS_RDRAND | NJ_HOLDS_RDSEED | NJ_HOLDS_RANDOM_DEVICE))
        nj_virtual_lower(v, 0, NJ_LOWERED_RDRAND);
}

/* path_of - what @name in /proc leads to, as its process sees it; NULL: it has no path any more,
 * or memory is gone */
static char *path_of(const struct nj_virtual *v, const char *name)
{
    char path[NJ_RAN_PATH_MAX_BYTES + 1];
    ssize_t len = readlinkat(v->proc_fd, name, path, sizeof(path));

    if (len <= 0 || len == (ssize_t)sizeof(path) || path[0] != '/')
        return NULL;
    return strndup(path, (size_t)len);
}

/* note - @name in /proc leads to a file that runs */
static void note(struct nj_virtual *v, const char *name)
{
    struct nj_programs *programs = &v->programs;
    struct nj_program file;
    struct stat st;
    size_t len;

    if (fstatat(v->proc_fd, name, &st, 0) < 0 || !S_ISREG(st.st_mode) || is_known(programs, &st))
        return;
    if (programs->n == programs->room) {
        size_t room = programs->room ? 2 * programs->room : 64;
        struct nj_program *files =
            room > NJ_RAN_FILES_MAX ? NULL : reallocarray(programs->files, room, sizeof(*files));

        if (!files) {
            programs->more = true;
            return;
        }
        programs->files = files;
        programs->room = room;
    }
    file = (struct nj_program){
        .dev = st.st_dev,
        .ino = st.st_ino,
        .bytes = (uint64_t)st.st_size,
        .mtime_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec,
    };
    if (st.st_dev == programs->workspace_device) {
        seek(v, name);
    } else if (programs->lists) {
        file.path = path_of(v, name);
        len = file.path ? strlen(file.path) : 0;
        if (len == 0 || len > PATHS_MAX_BYTES - programs->path_bytes) {
            programs->more |= len > 0;
            free(file.path);
            file.path = NULL;
        } else {
            programs->path_bytes += len;
        }
    }
    programs->files[programs->n++] = file;
}

void nj_programs_began(struct nj_virtual *v, pid_t tid)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "%d/exe", tid); /* fits */
    note(v, name);
}

enum nj_answer nj_programs_mapped(struct nj_virtual *v, const struct seccomp_notif *notif,
                                  struct seccomp_notif_resp *response)
{
    char name[48];

    (void)response;
    (void)snprintf(name, sizeof(name), "%u/fd/%d", notif->pid, (int)notif->data.args[4]); /* fits */
    note(v, name);
    return NJ_ANSWER_CONTINUE;
}

int nj_programs_tell(struct nj_virtual *v, const struct nj_object_sink *sink,
                     struct nj_call_meta *meta, struct nj_error *err)
{
    const struct nj_programs *programs = &v->programs;
    nj_auto_free struct nj_ran_file *files = calloc(programs->n + 1, sizeof(*files));
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_ran ran = {.files = files, .more = programs->more};

    if (!files)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < programs->n; i++) {
        const struct nj_program *file = &programs->files[i];

        if (file->path && file->bytes <= INT64_MAX)
            files[ran.n_files++] =
                (struct nj_ran_file){nj_span_text(file->path), file->bytes, file->mtime_ns};
    }
    if (ran.n_files == 0)
        return 0;
    nj_ran_sort(&ran);
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (nj_ran_encode(&ran, &bytes, err) < 0 ||
        nj_object_put(sink, NJ_OBJECT_BLOB, nj_buf_span(&bytes), &meta->ran, err) < 0)
        return nj_wrap(err, "call: what ran");
    meta->has_ran = true;
    return 0;
}
