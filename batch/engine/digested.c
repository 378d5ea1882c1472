/*
 * digested.c - a table of files by path, and dpkg's lists
 *
 * The one complication is dpkg, which keeps a list of paths a package and none of packages a path:
 * all lists are read, once for all new files together. It names files as the packages did before
 * /lib and /bin moved below /usr, so both spellings count.
 */
#include "batch/engine/digested.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/sandbox/instructions.h"
#include "formats/base/fsio.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define FILES_MAX 65536u          /* that are remembered */
#define FILE_MAX_BYTES (1u << 30) /* a longer one has no digest */
#define READ_BYTES ((size_t)256 << 10)
#define LOADER_MAX_BYTES 255
#define LIST_MAX_BYTES (16u << 20) /* dpkg's, of one package */
#define STATUS_MAX_BYTES (64u << 20)
#define NS_PER_S INT64_C(1000000000)

struct nj_digested {
    struct nj_digested_file **files; /* ascending by path; of equal paths the newest stays */
    size_t n, room;
    uint8_t *chunk;
};

static void file_free(struct nj_digested_file *file)
{
    free(file->path);
    free(file->loader);
    free(file->package);
    free(file);
}

int nj_digested_new(struct nj_digested **ret_digested, struct nj_error *err)
{
    NJ_AUTO(nj_digested_free) struct nj_digested *digested = calloc(1, sizeof(*digested));

    if (!digested)
        return nj_fail_nomem(err);
    digested->chunk = malloc(READ_BYTES);
    if (!digested->chunk)
        return nj_fail_nomem(err);
    *ret_digested = nj_steal_ptr(&digested);
    return 0;
}

void nj_digested_free(struct nj_digested *digested)
{
    if (!digested)
        return;
    for (size_t i = 0; i < digested->n; i++)
        file_free(digested->files[i]);
    free(digested->files);
    free(digested->chunk);
    free(digested);
}

static int compare_path(struct nj_span path, const char *other)
{
    size_t len = strlen(other), shared = path.len < len ? path.len : len;
    int order = memcmp(path.data, other, shared);

    return order ? order : (path.len > len) - (path.len < len);
}

/* place_of - where @path stands, or would */
static size_t place_of(const struct nj_digested *digested, struct nj_span path, bool *ret_found)
{
    size_t low = 0, high = digested->n;

    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_path(path, digested->files[middle]->path);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct nj_digested_file *nj_digested_find(const struct nj_digested *digested,
                                                struct nj_span path)
{
    bool found;
    size_t at = place_of(digested, path, &found);

    return found ? digested->files[at] : NULL;
}

/* ---- reading a file ---- */

/* digest_file - 1 when the disk gives it no more: then nothing is known of it, and all goes on */
static int digest_file(struct nj_digested *digested, int fd, struct nj_digest *ret_digest,
                       struct nj_error *err)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    uint64_t done = 0;

    if (!hasher)
        return nj_fail_nomem(err);
    while (done < FILE_MAX_BYTES) {
        ssize_t n = pread(fd, digested->chunk, READ_BYTES, (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return 1;
        if (n == 0)
            break;
        nj_hasher_update(hasher, digested->chunk, (size_t)n);
        done += (uint64_t)n;
    }
    nj_hasher_finish(hasher, ret_digest);
    return 0;
}

/* loader_of - the interpreter that a program's own headers name; NULL: none */
static char *loader_of(int fd)
{
    Elf64_Ehdr head;
    Elf64_Phdr part;

    if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_phentsize != sizeof(part) || head.e_phoff > INT32_MAX)
        return NULL;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        char text[LOADER_MAX_BYTES + 1] = "";

        if (pread(fd, &part, sizeof(part), (off_t)(head.e_phoff + i * sizeof(part))) !=
            (ssize_t)sizeof(part))
            return NULL;
        if (part.p_type != PT_INTERP)
            continue;
        if (part.p_filesz > LOADER_MAX_BYTES || part.p_offset > INT32_MAX ||
            pread(fd, text, part.p_filesz, (off_t)part.p_offset) != (ssize_t)part.p_filesz)
            return NULL;
        return nj_ran_path_valid(nj_span_text(text)) ? strdup(text) : NULL;
    }
    return NULL;
}

/* look - fill @file; @exactly: only if it is still of the size and time that are told */
static int look(struct nj_digested *digested, struct nj_digested_file *file, bool exactly,
                struct nj_error *err)
{
    nj_auto_close int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int64_t mtime_ns;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
        return 0;
    mtime_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
    if (exactly && ((uint64_t)st.st_size != file->bytes || mtime_ns != file->mtime_ns))
        return 0;
    file->bytes = (uint64_t)st.st_size;
    file->mtime_ns = mtime_ns;
    r = digest_file(digested, fd, &file->digest, err);
    if (r != 0)
        return r < 0 ? nj_wrap(err, "%s", file->path) : 0;
    file->holds = nj_instructions_seek(fd, FILE_MAX_BYTES);
    file->loader = loader_of(fd);
    file->is_there = true;
    return 0;
}

/* ---- the table ---- */

static int insert(struct nj_digested *digested, size_t at, struct nj_digested_file *file,
                  struct nj_error *err)
{
    if (digested->n == digested->room) {
        size_t room = digested->room ? 2 * digested->room : 64;
        struct nj_digested_file **files =
            reallocarray(digested->files, room, sizeof(*digested->files));

        if (!files)
            return nj_fail_nomem(err);
        digested->files = files;
        digested->room = room;
    }
    memmove(digested->files + at + 1, digested->files + at,
            (digested->n - at) * sizeof(*digested->files));
    digested->files[at] = file;
    digested->n++;
    return 0;
}

/* add_file - @told NULL: a loader, whatever it is like */
static int add_file(struct nj_digested *digested, struct nj_span path,
                    const struct nj_ran_file *told, struct nj_error *err)
{
    struct nj_digested_file *file;
    bool found;
    size_t at = place_of(digested, path, &found);

    if (found && (!told || (digested->files[at]->bytes == told->bytes &&
                            digested->files[at]->mtime_ns == told->mtime_ns)))
        return 0;
    if (!found && digested->n == FILES_MAX)
        return 0; /* who runs as many different files learns no more of them */
    file = calloc(1, sizeof(*file));
    if (!file)
        return nj_fail_nomem(err);
    file->path = nj_span_dup(path);
    file->bytes = told ? told->bytes : 0;
    file->mtime_ns = told ? told->mtime_ns : 0;
    if (!file->path || look(digested, file, told != NULL, err) < 0 ||
        (!found && insert(digested, at, file, err) < 0)) {
        file_free(file);
        return err->code != 0 ? -(int)err->code : nj_fail_nomem(err);
    }
    if (found) {
        file_free(digested->files[at]);
        digested->files[at] = file;
    }
    return 0;
}

int nj_digested_add(struct nj_digested *digested, const struct nj_ran *ran, struct nj_error *err)
{
    for (size_t i = 0; i < ran->n_files; i++) {
        const struct nj_digested_file *file;

        if (add_file(digested, ran->files[i].path, &ran->files[i], err) < 0)
            return -(int)err->code;
        file = nj_digested_find(digested, ran->files[i].path);
        if (file && file->loader && add_file(digested, nj_span_text(file->loader), NULL, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

/* ---- dpkg ---- */

static const char info_folder[] = "/var/lib/dpkg/info";
static const char status_file[] = "/var/lib/dpkg/status";

/* wanted - the file that a line of a package's list names, if its package is asked for */
static struct nj_digested_file *wanted(const struct nj_digested *digested, struct nj_span line)
{
    char below_usr[NJ_RAN_PATH_MAX_BYTES + 1];
    struct nj_digested_file *file;
    bool found;
    size_t at = place_of(digested, line, &found);
    int len;

    if (!found && line.len < sizeof(below_usr) - sizeof("/usr")) {
        len = snprintf(below_usr, sizeof(below_usr), "/usr%.*s", (int)line.len,
                       (const char *)line.data);
        at = place_of(digested, (struct nj_span){(const uint8_t *)below_usr, (size_t)len}, &found);
    }
    file = found ? digested->files[at] : NULL;
    return file && file->is_there && !file->asked && !file->package ? file : NULL;
}

static int read_list(struct nj_digested *digested, const char *package, struct nj_buf *list,
                     struct nj_error *err)
{
    for (size_t at = 0; at < list->len;) {
        const uint8_t *line = list->data + at;
        const uint8_t *end = memchr(line, '\n', list->len - at);
        size_t len = end ? (size_t)(end - line) : list->len - at;
        struct nj_digested_file *file = wanted(digested, (struct nj_span){line, len});

        if (file) {
            file->package = strdup(package);
            if (!file->package)
                return nj_fail_nomem(err);
        }
        at += len + 1;
    }
    return 0;
}

/* read_lists - each package whose list names a file; another kind of host has none */
static int read_lists(struct nj_digested *digested, struct nj_error *err)
{
    DIR *folder = opendir(info_folder);
    NJ_AUTO(nj_buf_done) struct nj_buf list = {0};
    const struct dirent *entry;
    int r = 0;

    nj_buf_init(&list, LIST_MAX_BYTES);
    while (folder && r == 0 && (entry = readdir(folder))) {
        size_t len = strlen(entry->d_name);
        char name[NAME_MAX + 1];
        struct nj_error ignored = {0};

        if (len < 6 || strcmp(entry->d_name + len - 5, ".list") != 0)
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", (int)(len - 5), entry->d_name);
        name[strcspn(name, ":")] = '\0'; /* the architecture */
        nj_buf_clear(&list);
        if (nj_fsio_read_file(dirfd(folder), entry->d_name, &list, &ignored) == 0)
            r = read_list(digested, name, &list, err);
    }
    if (folder)
        (void)closedir(folder);
    return r;
}

static int name_versions(struct nj_digested *digested, struct nj_span name, struct nj_span version,
                         struct nj_error *err)
{
    for (size_t i = 0; i < digested->n; i++) {
        struct nj_digested_file *file = digested->files[i];
        char *text = NULL;

        if (file->asked || !file->package || !nj_span_is(name, file->package))
            continue;
        if (asprintf(&text, "%s %.*s", file->package, (int)version.len,
                     (const char *)version.data) < 0)
            return nj_fail_nomem(err);
        free(file->package);
        file->package = text;
    }
    return 0;
}

static int read_versions(struct nj_digested *digested, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf status = {0};
    struct nj_error ignored = {0};
    int r = 0;

    nj_buf_init(&status, STATUS_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, status_file, &status, &ignored) < 0)
        return 0;
    for (size_t at = 0; r == 0 && at < status.len;) {
        const uint8_t *from = status.data + at;
        const uint8_t *end = memmem(from, status.len - at, "\n\n", 2);
        size_t len = end ? (size_t)(end - from) : status.len - at;
        struct nj_span paragraph = {from, len};
        struct nj_span version = nj_span_line_value(paragraph, "Version");

        if (version.len > 0 && version.len < NAME_MAX)
            r = name_versions(digested, nj_span_line_value(paragraph, "Package"), version, err);
        at += len + 2;
    }
    return r;
}

static int ask_packages(struct nj_digested *digested, struct nj_error *err)
{
    bool any = false;

    for (size_t i = 0; i < digested->n; i++)
        any |= digested->files[i]->is_there && !digested->files[i]->asked;
    if (!any)
        return 0;
    if (read_lists(digested, err) < 0 || read_versions(digested, err) < 0)
        return nj_wrap(err, "packages");
    for (size_t i = 0; i < digested->n; i++)
        digested->files[i]->asked = true;
    return 0;
}

/* ---- writing ---- */

static int write_file(const struct nj_digested_file *file, struct nj_buf *out, struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    bool first = true;

    if (nj_buf_json_text(out, nj_span_text(file->path), err) < 0 || nj_buf_text(out, ":{", err) < 0)
        return -(int)err->code;
    for (unsigned i = 0; i < NJ_INSTRUCTIONS; i++) {
        if (!(file->holds & 1u << i))
            continue;
        if (nj_buf_printf(out, err, "%s\"%s\"", first ? "\"holds\":[" : ",",
                          nj_holds_word(1u << i)) < 0)
            return -(int)err->code;
        first = false;
    }
    if (!first && nj_buf_text(out, "],", err) < 0)
        return -(int)err->code;
    if (file->package && (nj_buf_text(out, "\"package\":", err) < 0 ||
                          nj_buf_json_text(out, nj_span_text(file->package), err) < 0 ||
                          nj_buf_text(out, ",", err) < 0))
        return -(int)err->code;
    nj_digest_hex(&file->digest, hex);
    return file->is_there ? nj_buf_printf(out, err, "\"sha256\":\"%s\"}", hex)
                          : nj_buf_text(out, "\"sha256\":null}", err);
}

/* is_utf8 - or JSON has no such key: what is put for other bytes would be one key for many paths */
static bool is_utf8(const char *path)
{
    struct nj_span rest = nj_span_text(path);

    while (rest.len > 0) {
        uint32_t ignored;
        size_t len = nj_utf8_next(rest, &ignored);

        if (len == 0)
            return false;
        rest = (struct nj_span){rest.data + len, rest.len - len};
    }
    return true;
}

/* mark - the files that @ran tells, and what loads them */
static void mark(struct nj_digested *digested, const struct nj_ran *ran)
{
    for (size_t i = 0; i < digested->n; i++)
        digested->files[i]->told = false;
    for (size_t i = 0; i < ran->n_files; i++) {
        bool found;
        size_t at = place_of(digested, ran->files[i].path, &found);
        struct nj_digested_file *file = found ? digested->files[at] : NULL;

        if (!file)
            continue;
        file->told = true;
        if (!file->loader)
            continue;
        at = place_of(digested, nj_span_text(file->loader), &found);
        if (found)
            digested->files[at]->told = true;
    }
}

int nj_digested_write(struct nj_digested *digested, const struct nj_ran *ran, struct nj_buf *out,
                      struct nj_error *err)
{
    size_t began = out->len;
    bool first = true;

    if (ask_packages(digested, err) < 0)
        return -(int)err->code;
    mark(digested, ran);
    for (size_t i = 0; i < digested->n && out->len - began < NJ_DIGESTED_MAX_BYTES - 8192; i++) {
        if (!digested->files[i]->told || !is_utf8(digested->files[i]->path))
            continue;
        if (nj_buf_text(out, first ? ",\"ran\":{" : ",", err) < 0 ||
            write_file(digested->files[i], out, err) < 0)
            return -(int)err->code;
        first = false;
    }
    return first ? 0 : nj_buf_text(out, "}", err);
}
