/*
 * complete_runs.c - run directories and the keys of their sessions, for completion
 *
 * The folders are anybody's, and the person only pressed a key: what cannot be read, or is too
 * much, gives no candidates. Keys come from results.jsonl, which tells all once a run has ended,
 * else from the journal, which tells those that have begun.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "batch/command/inside.h"
#include "formats/base/fsio.h"
#include "formats/journal/event.h"
#include "formats/journal/journal.h"

#include "formats/base/banned.h"

#define CANDIDATES_MAX 2000
#define RESULTS_MAX_BYTES ((off_t)256 << 20)
#define ENTRIES_MAX 20000

/* ---- run directories ---- */

static bool is_run(int dir_fd, const char *name)
{
    char path[NAME_MAX + sizeof("/journal")];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/journal", name);
    return fstatat(dir_fd, path, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

/* No candidate spoils the lines of the answer, or a terminal. */
static bool is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return true;
}

/* The runs, and with @on_the_way other folders, in @folder whose names begin with @base; each line
 * is
 * @shown, the name, and @after or '/'. */
static int list_folder(const char *folder, const char *shown, const char *base, const char *after,
                       bool on_the_way, struct nj_buf *out, struct nj_error *err)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t n = 0;
    int r = 0;

    if (!dir)
        return 0;
    for (size_t seen = 0; r == 0 && n < CANDIDATES_MAX && seen < ENTRIES_MAX; seen++) {
        struct stat st;

        entry = readdir(dir);
        if (!entry)
            break;
        if (strncmp(entry->d_name, base, strlen(base)) != 0 ||
            (entry->d_name[0] == '.' && base[0] != '.') || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0 || !is_plain(entry->d_name, strlen(entry->d_name)) ||
            fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 || !S_ISDIR(st.st_mode))
            continue;
        if (is_run(dirfd(dir), entry->d_name))
            r = nj_buf_printf(out, err, "%s%s%s\trun\n", shown, entry->d_name, after);
        else if (on_the_way)
            r = nj_buf_printf(out, err, "%s%s/\tfolder\n", shown, entry->d_name);
        else
            continue;
        n++;
    }
    (void)closedir(dir);
    return r;
}

/* The path that the first @len bytes of @word mean: the shells leave the expansion of '~' to us. */
static char *expand(const char *word, size_t len)
{
    const char *home = getenv("HOME");
    bool tilde = len >= 2 && word[0] == '~' && word[1] == '/' && home;
    char *path = NULL;

    if (asprintf(&path, "%s%.*s", tilde ? home : "", (int)(tilde ? len - 1 : len),
                 tilde ? word + 1 : word) < 0)
        return NULL;
    return path;
}

int nj_complete_runs(const char *word, const char *after, bool folders, struct nj_buf *out,
                     struct nj_error *err)
{
    nj_auto_free char *folder = NULL;
    nj_auto_free char *shown = NULL;
    const char *slash = strrchr(word, '/');
    int r;

    if (!slash) {
        r = list_folder(".", "", word, after, folders, out, err);
        /* Where runs go by themselves; a word that has begun leads there letter by letter. */
        return r < 0 || word[0] ? r : list_folder("runs", "runs/", "", after, false, out, err);
    }
    if (!is_plain(word, strlen(word)))
        return 0;
    shown = strndup(word, (size_t)(slash - word) + 1);
    folder = expand(word, (size_t)(slash - word) + 1);
    if (!shown || !folder)
        return nj_fail_nomem(err);
    return list_folder(folder, shown, slash + 1, after, folders, out, err);
}

/* ---- keys ---- */

struct wanted {
    const char *run; /* as it was typed, with its colon */
    size_t run_len;
    const char *prefix;
    size_t n;
    struct nj_buf *out;
};

static int offer(struct wanted *wanted, const char *key, size_t len, const char *what,
                 struct nj_error *err)
{
    size_t prefix = strlen(wanted->prefix);

    if (len < prefix || memcmp(key, wanted->prefix, prefix) != 0 || !is_plain(key, len))
        return 0;
    wanted->n++;
    return nj_buf_printf(wanted->out, err, "%.*s%.*s\t%s\n", (int)wanted->run_len, wanted->run,
                         (int)len, key, what);
}

/* Returns 1 when it told keys. */
static int from_results(int run_fd, struct wanted *wanted, struct nj_error *err)
{
    nj_auto_close int fd =
        openat(run_fd, "results.jsonl", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    nj_auto_free char *line = NULL;
    struct stat st;
    size_t cap = 0;
    FILE *file;
    int r = 0;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > RESULTS_MAX_BYTES)
        return 0;
    file = fdopen(fd, "r");
    if (!file)
        return 0;
    fd = -1; /* the stream's */
    while (r == 0 && wanted->n < CANDIDATES_MAX && getline(&line, &cap, file) > 0) {
        json_t *row = json_loads(line, 0, NULL);
        const json_t *key = json_object_get(row, "key");
        const char *status = json_string_value(json_object_get(row, "status"));

        if (json_is_string(key))
            r = offer(wanted, json_string_value(key), json_string_length(key),
                      status && is_plain(status, strlen(status)) ? status : "session", err);
        json_decref(row);
    }
    (void)fclose(file);
    return r < 0 ? r : wanted->n > 0;
}

static int from_journal(int run_fd, struct wanted *wanted, struct nj_error *err)
{
    nj_auto_close int fd = openat(run_fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_error unreadable;
    struct nj_frame frame;

    if (fd < 0 || nj_journal_open(fd, &journal, &unreadable) < 0)
        return 0;
    while (wanted->n < CANDIDATES_MAX &&
           nj_journal_next(journal, &frame, &unreadable) == NJ_JOURNAL_FRAME) {
        struct nj_event event;

        if (frame.kind != NJ_FRAME_EVENT || frame.sequence != 1 ||
            nj_event_decode(frame.payload, &event, &unreadable) < 0 ||
            event.kind != NJ_EVENT_OPENED)
            continue;
        if (offer(wanted, (const char *)event.opened.key.data, event.opened.key.len, "session",
                  err) < 0)
            return -(int)err->code;
    }
    return 0;
}

int nj_complete_keys(const char *word, struct nj_buf *out, struct nj_error *err)
{
    struct wanted wanted = {.out = out};
    int r = 0;

    /* A path may hold colons: the first one behind which a run directory ends counts. */
    for (const char *colon = strchr(word, ':'); r == 0 && colon; colon = strchr(colon + 1, ':')) {
        nj_auto_free char *path = expand(word, (size_t)(colon - word));
        nj_auto_close int fd = -1;

        if (!path)
            return nj_fail_nomem(err);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            continue;
        wanted.run = word;
        wanted.run_len = (size_t)(colon - word) + 1;
        wanted.prefix = colon + 1;
        r = from_results(fd, &wanted, err);
        if (r == 0)
            r = from_journal(fd, &wanted, err);
        break;
    }
    return r < 0 ? r : 0;
}
