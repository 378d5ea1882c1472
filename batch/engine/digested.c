/*
 * digested.c - a table of files by path
 *
 * The one complication is that dpkg is slow to ask (packages.h): it is asked once for all new files
 * together.
 */
#include "batch/engine/digested.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/engine/packages.h"
#include "batch/sandbox/instructions.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define FILES_MAX 65536u          /* that are remembered */
#define FILE_MAX_BYTES (1u << 30) /* a longer one has no digest */
#define READ_BYTES ((size_t)256 << 10)
#define LOADER_MAX_BYTES 255
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

/* look - fill @file; @known: what was found out of its path before, or NULL; @exactly: only if it
 * is still of the size and time that are told; @closely: with what it holds, which takes as long
 * again as the digest */
static int look(struct nj_digested *digested, struct nj_digested_file *file,
                const struct nj_digested_file *known, bool exactly, bool closely,
                struct nj_error *err)
{
    nj_auto_close int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int64_t mtime_ns;
    int r = 0;

    file->closely = closely;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
        return 0;
    mtime_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
    if (exactly && ((uint64_t)st.st_size != file->bytes || mtime_ns != file->mtime_ns))
        return 0;
    file->bytes = (uint64_t)st.st_size;
    file->mtime_ns = mtime_ns;
    if (known && known->is_there && known->bytes == file->bytes && known->mtime_ns == mtime_ns)
        file->digest = known->digest;
    else
        r = digest_file(digested, fd, &file->digest, err);
    if (r != 0)
        return r < 0 ? nj_wrap(err, "%s", file->path) : 0;
    file->holds = closely ? nj_instructions_seek(fd, FILE_MAX_BYTES) : 0;
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

/* add_file - @told NULL: whatever it is like */
static int add_file(struct nj_digested *digested, struct nj_span path,
                    const struct nj_ran_file *told, bool closely, struct nj_error *err)
{
    struct nj_digested_file *file;
    bool found;
    size_t at = place_of(digested, path, &found);

    if (found && (digested->files[at]->closely || !closely) &&
        (!told || (digested->files[at]->bytes == told->bytes &&
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
    if (!file->path ||
        look(digested, file, found ? digested->files[at] : NULL, told, closely, err) < 0 ||
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

        if (add_file(digested, ran->files[i].path, &ran->files[i], true, err) < 0)
            return -(int)err->code;
        file = nj_digested_find(digested, ran->files[i].path);
        if (file && file->loader &&
            add_file(digested, nj_span_text(file->loader), NULL, true, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

int nj_digested_add_program(struct nj_digested *digested, const char *path, struct nj_error *err)
{
    return add_file(digested, nj_span_text(path), NULL, false, err);
}

/* ---- dpkg ---- */

/* is_to_ask - those that are told, and only once */
static bool is_to_ask(const struct nj_digested_file *file)
{
    return file->told && file->is_there && !file->asked;
}

/* ask_packages - of all files that are told and that it has not been asked of yet */
static int ask_packages(struct nj_digested *digested, struct nj_error *err)
{
    nj_auto_free struct nj_packages_file *files = calloc(digested->n + 1, sizeof(*files));
    size_t n = 0;
    int r;

    if (!files)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < digested->n; i++) {
        if (is_to_ask(digested->files[i]))
            files[n++].path = digested->files[i]->path;
    }
    r = n > 0 ? nj_packages_find(files, n, err) : 0;
    for (size_t i = 0, asked = 0; i < digested->n && asked < n; i++) {
        if (digested->files[i]->path != files[asked].path)
            continue;
        digested->files[i]->asked = true;
        digested->files[i]->package = files[asked++].package;
    }
    return r < 0 ? nj_wrap(err, "packages") : 0;
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

    mark(digested, ran);
    if (ask_packages(digested, err) < 0)
        return -(int)err->code;
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
