/*
 * packages.c - dpkg keeps a list of paths for each package, and nothing that leads back
 *
 * So lists are searched: first of the packages that are called like one of the files, then, unless
 * that has answered for all, the others, some ten megabytes on a grown system. A filter keeps
 * nearly all of their lines from being looked up.
 *
 * The one complication is that packages of Debian 12 still name files as they were before /bin and
 * /lib moved below /usr, so both spellings count.
 */
#include "batch/engine/packages.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>

#include "formats/base/buf.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define LIST_MAX_BYTES (16u << 20) /* of one package */
#define STATUS_MAX_BYTES (64u << 20)
#define FILTER_BITS 4096u

static const char info_folder[] = "/var/lib/dpkg/info";
static const char status_file[] = "/var/lib/dpkg/status";

/* What is behind /usr, by which the files are found: it is the same in both spellings. */
struct key {
    struct nj_span text;
    struct nj_packages_file *file;
};

struct search {
    struct key *keys; /* ascending by text */
    size_t n, n_left;
    uint64_t filter[FILTER_BITS / 64];
};

static struct nj_span key_text(struct nj_span path)
{
    if (path.len > 5 && memcmp(path.data, "/usr/", 5) == 0)
        return (struct nj_span){path.data + 4, path.len - 4};
    return path;
}

/* filter_bit - paths end in different ways and have different lengths */
static size_t filter_bit(struct nj_span text)
{
    size_t bit = text.len;

    for (size_t i = text.len < 3 ? 0 : text.len - 3; i < text.len; i++)
        bit = bit * 31 + text.data[i];
    return bit % FILTER_BITS;
}

static int compare_text(struct nj_span a, struct nj_span b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_keys(const void *a, const void *b)
{
    return compare_text(((const struct key *)a)->text, ((const struct key *)b)->text);
}

static int begin(struct search *search, struct nj_packages_file *files, size_t n,
                 struct nj_error *err)
{
    *search = (struct search){.keys = calloc(n, sizeof(*search->keys)), .n = n, .n_left = n};
    if (!search->keys)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        size_t bit;

        search->keys[i] = (struct key){key_text(nj_span_text(files[i].path)), &files[i]};
        bit = filter_bit(search->keys[i].text);
        search->filter[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    qsort(search->keys, n, sizeof(*search->keys), compare_keys);
    return 0;
}

/* ---- the lists ---- */

/* take_line - a list of @package has @line: answer the files that it names */
static int take_line(struct search *search, const char *package, struct nj_span line,
                     struct nj_error *err)
{
    struct nj_span text = key_text(line);
    size_t bit = filter_bit(text), low = 0, high = search->n;

    if (!(search->filter[bit / 64] >> bit % 64 & 1))
        return 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_text(search->keys[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < search->n && compare_text(search->keys[low].text, text) == 0; low++) {
        struct nj_packages_file *file = search->keys[low].file;

        /* What was packed below /usr was never anywhere else. */
        if (file->package || strlen(file->path) < line.len)
            continue;
        file->package = strdup(package);
        if (!file->package)
            return nj_fail_nomem(err);
        search->n_left--;
    }
    return 0;
}

static int read_list(struct search *search, const char *package, const struct nj_buf *list,
                     struct nj_error *err)
{
    for (size_t at = 0; at < list->len && search->n_left > 0;) {
        const uint8_t *line = list->data + at;
        const uint8_t *end = memchr(line, '\n', list->len - at);
        size_t len = end ? (size_t)(end - line) : list->len - at;

        if (take_line(search, package, (struct nj_span){line, len}, err) < 0)
            return -(int)err->code;
        at += len + 1;
    }
    return 0;
}

/* is_called_like - libtinfo6 is where libtinfo.so.6.3 is from, python3.11-minimal has python3.11 */
static bool is_called_like(const char *package, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *so = strstr(name, ".so");
    size_t len = so ? (size_t)(so - name) : strlen(name);

    return len > 0 && strncmp(package, name, len) == 0 &&
           (package[len] == '\0' || package[len] == '-' || package[len] == '.' ||
            (package[len] >= '0' && package[len] <= '9'));
}

static bool is_likely(const struct search *search, const char *package)
{
    /* of so many small programs, and of the modules that every Python loads */
    if (strcmp(package, "coreutils") == 0 || strncmp(package, "libpython3", 10) == 0)
        return true;
    for (size_t i = 0; i < search->n; i++) {
        if (is_called_like(package, search->keys[i].file->path))
            return true;
    }
    return false;
}

/* read_lists - of those packages only that are likely, or of the others */
static int read_lists(struct search *search, DIR *folder, bool likely, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf list = {0};
    const struct dirent *entry;
    int r = 0;

    nj_buf_init(&list, LIST_MAX_BYTES);
    rewinddir(folder);
    while (r == 0 && search->n_left > 0 && (entry = readdir(folder))) {
        size_t len = strlen(entry->d_name);
        char name[NAME_MAX + 1];
        struct nj_error ignored = {0};

        if (len < 6 || strcmp(entry->d_name + len - 5, ".list") != 0)
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", (int)(len - 5), entry->d_name);
        name[strcspn(name, ":")] = '\0'; /* the architecture */
        if (is_likely(search, name) != likely)
            continue;
        nj_buf_clear(&list);
        if (nj_fsio_read_file(dirfd(folder), entry->d_name, &list, &ignored) == 0)
            r = read_list(search, name, &list, err);
    }
    return r;
}

/* ---- the versions ---- */

static int name_version(struct search *search, struct nj_span name, struct nj_span version,
                        struct nj_error *err)
{
    for (size_t i = 0; i < search->n; i++) {
        struct nj_packages_file *file = search->keys[i].file;
        char *text = NULL;

        if (!file->package || !nj_span_is(name, file->package))
            continue;
        if (asprintf(&text, "%s %.*s", file->package, (int)version.len,
                     (const char *)version.data) < 0)
            return nj_fail_nomem(err);
        free(file->package);
        file->package = text;
    }
    return 0;
}

static int read_versions(struct search *search, struct nj_error *err)
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
            r = name_version(search, nj_span_line_value(paragraph, "Package"), version, err);
        at += len + 2;
    }
    return r;
}

int nj_packages_find(struct nj_packages_file *files, size_t n, struct nj_error *err)
{
    struct search search;
    DIR *folder;
    int r;

    if (begin(&search, files, n, err) < 0)
        return -(int)err->code;
    folder = opendir(info_folder);
    r = folder ? read_lists(&search, folder, true, err) : 0;
    if (folder && r == 0)
        r = read_lists(&search, folder, false, err);
    if (r == 0)
        r = read_versions(&search, err);
    if (folder)
        (void)closedir(folder);
    free(search.keys);
    return r;
}
