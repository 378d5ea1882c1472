/*
 * glob_expand.c - a pattern over the files of the host
 *
 * Folders are read whole and closed before going deeper, so depth costs no descriptors. Where all
 * that can match next is literal, nothing is read: the name is tried, which also works in folders
 * that may be entered but not listed. Each path is met once, because places in the pattern move
 * together.
 */
#include "batch/plan/glob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>

#include "batch/plan/shown.h"
#include "formats/base/bytes.h"
#include "formats/base/fsio.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

struct names {
    char **items;
    size_t count;
    size_t cap;
    struct nj_arena arena;
};

struct expansion {
    const struct nj_roots *roots;
    struct nj_glob glob;
    struct nj_place place;
    struct nj_arena *arena;
    struct nj_glob_match *matches; /* heap while it grows */
    size_t n_matches;
    size_t cap_matches;
    size_t entries_seen;
    struct nj_glob_result result;
};

static void names_done(struct names *names)
{
    free(names->items);
    nj_arena_done(&names->arena);
}
NJ_DEFINE_AUTO_VAL(struct names, names_done);

static void closedir_auto(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir); /* it was only read */
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(struct names *names, const char *name, struct nj_error *err)
{
    if (names->count == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 64;
        char **larger = reallocarray(names->items, cap, sizeof(*larger));

        if (!larger)
            return nj_fail_nomem(err);
        names->items = larger;
        names->cap = cap;
    }
    names->items[names->count] = nj_arena_text(&names->arena, name);
    if (!names->items[names->count])
        return nj_fail_nomem(err);
    names->count++;
    return 0;
}

/* spelled - @rest as a person would spell it, for messages */
static struct nj_shown spelled(const struct expansion *expansion, const char *rest)
{
    char path[2 * PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s%s", expansion->place.prefix, rest);
    return nj_shown(path);
}

/* absent - these mean that there is no such path, which is no fault of a pattern */
static bool absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP || errnum == ENAMETOOLONG;
}

static void note_link(struct expansion *expansion, const char *rest)
{
    if (expansion->result.links_left++ == 0)
        expansion->result.first_link =
            nj_arena_text(expansion->arena, spelled(expansion, rest).text);
}

/* read_names - all names of the folder @rest, sorted; none when there is no such folder */
static int read_names(struct expansion *expansion, const char *rest, struct names *names,
                      struct nj_error *err)
{
    __attribute__((cleanup(closedir_auto))) DIR *dir = NULL;
    int fd = -1;
    int r;

    r = nj_roots_reach(expansion->roots, expansion->place.root, rest, O_RDONLY | O_DIRECTORY, &fd);
    if (r == EXDEV)
        note_link(expansion, rest);
    if (r == EXDEV || absent(r))
        return 0;
    if (r != 0)
        return nj_fail(err, NJ_E_INPUT, "read folder %s: %s", spelled(expansion, rest).text,
                       strerror(r));
    dir = fdopendir(fd);
    if (!dir) {
        r = errno;
        (void)close(fd);
        return nj_fail_errno(err, r, "read folder %s", spelled(expansion, rest).text);
    }
    for (;;) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (++expansion->entries_seen > NJ_GLOB_ENTRIES_MAX)
            return nj_fail(err, NJ_E_LIMIT,
                           "the pattern looks at more than %d names: begin it with a "
                           "narrower folder",
                           NJ_GLOB_ENTRIES_MAX);
        r = names_add(names, entry->d_name, err);
        if (r < 0)
            return r;
    }
    if (errno != 0)
        return nj_fail_errno(err, errno, "read folder %s", spelled(expansion, rest).text);
    if (names->count > 0)
        qsort(names->items, names->count, sizeof(*names->items), name_order);
    return 0;
}

/* next_names - what the parts that may match next can be called */
static int next_names(struct expansion *expansion, const char *rest,
                      const struct nj_glob_state *state, struct names *names, struct nj_error *err)
{
    for (size_t i = 0; i < expansion->glob.n_parts; i++) {
        if ((state->bits[i / 64] >> (i % 64) & 1) && !expansion->glob.parts[i].literal)
            return read_names(expansion, rest, names, err);
    }
    for (size_t i = 0; i < expansion->glob.n_parts; i++) {
        if (!(state->bits[i / 64] >> (i % 64) & 1))
            continue;
        if (names_add(names, expansion->glob.parts[i].text, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int check_text(const char *path, struct nj_error *err)
{
    struct nj_span rest = nj_span_text(path);
    uint32_t c;

    while (rest.len > 0) {
        size_t len = nj_utf8_next(rest, &c);

        if (len == 0)
            return nj_fail(err, NJ_E_INPUT,
                           "the name of %s is not UTF-8: rename it, or leave it out "
                           "by a narrower pattern",
                           nj_shown(path).text);
        if (c < 0x20 || c == 0x7f)
            return nj_fail(err, NJ_E_INPUT,
                           "the name of %s holds a control character: rename it, or "
                           "leave it out by a narrower pattern",
                           nj_shown(path).text);
        rest.data += len;
        rest.len -= len;
    }
    return 0;
}

static int add_match(struct expansion *expansion, const char *rest, uint64_t size,
                     struct nj_error *err)
{
    struct nj_glob_match *match;

    if (expansion->n_matches == NJ_GLOB_MATCHES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "more than %d matches", NJ_GLOB_MATCHES_MAX);
    if (expansion->n_matches == expansion->cap_matches) {
        size_t cap = expansion->cap_matches ? expansion->cap_matches * 2 : 64;
        struct nj_glob_match *larger = reallocarray(expansion->matches, cap, sizeof(*larger));

        if (!larger)
            return nj_fail_nomem(err);
        expansion->matches = larger;
        expansion->cap_matches = cap;
    }
    match = &expansion->matches[expansion->n_matches];
    match->size = size;
    match->path = nj_arena_printf(expansion->arena, "%s%s", expansion->place.prefix, rest);
    if (!match->path)
        return nj_fail_nomem(err);
    if (check_text(match->path, err) < 0)
        return -(int)err->code;
    expansion->n_matches++;
    return 0;
}

static int walk(struct expansion *expansion, struct nj_buf *rest, const struct nj_glob_state *state,
                struct nj_error *err);

/* is_link - only ** asks: whoever follows a link needs not know that it was one */
static bool is_link(const struct expansion *expansion, const char *rest)
{
    nj_auto_close int fd = -1;
    struct stat st;

    return nj_roots_reach(expansion->roots, expansion->place.root, rest, O_PATH | O_NOFOLLOW,
                          &fd) == 0 &&
           fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

static bool has_deep(const struct expansion *expansion, const struct nj_glob_state *state)
{
    for (size_t i = 0; i < expansion->glob.n_parts; i++) {
        if ((state->bits[i / 64] >> (i % 64) & 1) && expansion->glob.parts[i].deep)
            return true;
    }
    return false;
}

static int visit(struct expansion *expansion, struct nj_buf *rest, const char *name,
                 const struct nj_glob_state *state, struct nj_error *err)
{
    const struct nj_glob *glob = &expansion->glob;
    nj_auto_close int fd = -1;
    struct nj_glob_state next;
    struct stat st;
    const char *path;
    int r;

    nj_glob_step(glob, state, nj_span_text(name), false, &next);
    if (!nj_glob_matched(glob, &next) && !nj_glob_alive(glob, &next))
        return 0;
    if ((rest->len > 0 && nj_buf_text(rest, "/", err) < 0) || nj_buf_text(rest, name, err) < 0)
        return -(int)err->code;
    path = (const char *)rest->data;
    r = nj_roots_reach(expansion->roots, expansion->place.root, path, O_PATH, &fd);
    if (r == EXDEV)
        note_link(expansion, path);
    if (r == EXDEV || absent(r))
        return 0;
    if (r != 0)
        return nj_fail(err, NJ_E_INPUT, "look at %s: %s", spelled(expansion, path).text,
                       strerror(r));
    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at %s", spelled(expansion, path).text);
    if (S_ISREG(st.st_mode) && nj_glob_matched(glob, &next))
        return add_match(expansion, path, (uint64_t)st.st_size, err);
    if (!S_ISDIR(st.st_mode))
        return 0;
    if (has_deep(expansion, state) && is_link(expansion, path))
        nj_glob_step(glob, state, nj_span_text(name), true, &next);
    return nj_glob_alive(glob, &next) ? walk(expansion, rest, &next, err) : 0;
}

static int walk(struct expansion *expansion, struct nj_buf *rest, const struct nj_glob_state *state,
                struct nj_error *err)
{
    NJ_AUTO(names_done) struct names names = {0};
    size_t len = rest->len;
    int r;

    r = next_names(expansion, len ? (const char *)rest->data : "", state, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        r = visit(expansion, rest, names.items[i], state, err);
        rest->len = len;
        if (rest->data)
            rest->data[len] = '\0';
    }
    return r;
}

static int match_order(const void *a, const void *b)
{
    return strcmp(((const struct nj_glob_match *)a)->path, ((const struct nj_glob_match *)b)->path);
}

static int take_matches(struct expansion *expansion, struct nj_error *err)
{
    size_t n = expansion->n_matches;
    struct nj_glob_match *matches;

    matches = nj_arena_array(expansion->arena, n ? n : 1, sizeof(*matches));
    if (!matches)
        return nj_fail_nomem(err);
    if (n > 0) {
        memcpy(matches, expansion->matches, n * sizeof(*matches));
        qsort(matches, n, sizeof(*matches), match_order);
    }
    expansion->result.matches = matches;
    expansion->result.n_matches = n;
    return 0;
}

int nj_glob_expand(const struct nj_roots *roots, const char *pattern, struct nj_arena *arena,
                   struct nj_glob_result *ret_result, struct nj_error *err)
{
    struct expansion expansion = {.roots = roots, .arena = arena};
    NJ_AUTO(nj_buf_done) struct nj_buf rest = {0};
    struct nj_glob_state state;
    int r;

    r = nj_roots_place(roots, pattern, arena, &expansion.place, err);
    if (r < 0)
        return r;
    r = nj_glob_compile(expansion.place.rest, arena, &expansion.glob, err);
    if (r < 0)
        return r;
    nj_buf_init(&rest, PATH_MAX);
    nj_glob_start(&expansion.glob, &state);
    r = walk(&expansion, &rest, &state, err);
    if (r == 0)
        r = take_matches(&expansion, err);
    free(expansion.matches);
    if (r < 0)
        return r;
    *ret_result = expansion.result;
    return 0;
}
