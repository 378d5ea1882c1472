/*
 * faults.c - the list of what is wrong with a file
 *
 * The complication: texts quote the file, and the file may try to drive a terminal or forge a
 * second line. So everything that does not print is escaped here, once, for all callers.
 */
#include <stdarg.h>
#include <stdio.h>

#include "formats/base/utf8.h"
#include "formats/manifest/faults.h"

#include "formats/base/banned.h"

#define FAULT_TEXT_MAX_BYTES 512
#define FAULT_PATH_MAX_BYTES 384
#define ESCAPED_MAX_CHARS 10 /* "\U0010ffff" */

static const char *printable(struct nj_arena *arena, const char *text)
{
    struct nj_span from = nj_span_text(text);
    size_t room = from.len * ESCAPED_MAX_CHARS + 1; /* from.len is below FAULT_TEXT_MAX_BYTES */
    size_t len = 0;
    char *out = nj_arena_alloc(arena, room);

    if (!out)
        return NULL;
    while (from.len > 0) {
        uint32_t point = 0;
        size_t bytes = nj_utf8_next(from, &point);

        if (bytes == 0) {
            len += (size_t)snprintf(out + len, room - len, "\\x%02x", from.data[0]);
            bytes = 1;
        } else if (!nj_utf8_is_unsafe(point)) {
            memcpy(out + len, from.data, bytes);
            len += bytes;
        } else if (point == '\n') {
            len += (size_t)snprintf(out + len, room - len, "\\n");
        } else {
            len += (size_t)snprintf(out + len, room - len, point <= 0xff ? "\\x%02x" : "\\u%04x",
                                    point);
        }
        from.data += bytes;
        from.len -= bytes;
    }
    out[len] = '\0';
    return out;
}

/* A text that snprintf cut may end within a character; that rest is dropped rather than shown as
 * \x. */
static void drop_torn_character(char *text)
{
    size_t len = strlen(text);
    size_t start = len;
    uint32_t point;

    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0 &&
        nj_utf8_next(nj_span_text(text + start - 1), &point) == 0)
        text[start - 1] = '\0';
}

void nj_manifest_faults_done(struct nj_manifest_faults *faults)
{
    nj_arena_done(&faults->arena);
    memset(faults, 0, sizeof(*faults));
}

void nj_manifest_faults_add(struct nj_manifest_faults *faults, struct nj_mark mark,
                            const char *path, const char *fmt, ...)
{
    char raw[FAULT_TEXT_MAX_BYTES];
    char raw_path[FAULT_PATH_MAX_BYTES];
    struct nj_manifest_fault *fault;
    va_list args;
    int n;

    if (faults->count == NJ_FAULTS_MAX) {
        faults->dropped++;
        return;
    }
    va_start(args, fmt);
    n = vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    if (n < 0)
        raw[0] = '\0';
    else if ((size_t)n >= sizeof(raw))
        drop_torn_character(raw);
    n = snprintf(raw_path, sizeof(raw_path), "%s", path ? path : "");
    if (n >= 0 && (size_t)n >= sizeof(raw_path))
        drop_torn_character(raw_path);

    fault = &faults->items[faults->count];
    fault->mark = mark;
    fault->path = printable(&faults->arena, raw_path);
    fault->text = printable(&faults->arena, raw);
    if (!fault->path || !fault->text) {
        faults->nomem = true;
        return;
    }
    faults->count++;
}

unsigned nj_manifest_faults_file(struct nj_manifest_faults *faults, const char *name)
{
    const char *copy;

    for (size_t i = 0; i < faults->n_files; i++) {
        if (strcmp(faults->files[i], name) == 0)
            return (unsigned)i + 1;
    }
    if (faults->n_files == NJ_FAULT_FILES_MAX)
        return NJ_FAULT_FILES_MAX;
    copy = printable(&faults->arena, name);
    if (!copy) {
        faults->nomem = true;
        return 0;
    }
    faults->files[faults->n_files++] = copy;
    return (unsigned)faults->n_files;
}

/* "job.yaml:12:5: ", "common.yaml:3:1: ", "--set limits.sessions=x: " */
static int put_place(const struct nj_manifest_faults *faults, struct nj_mark mark, const char *name,
                     struct nj_buf *out, struct nj_error *err)
{
    bool other = mark.file > 0 && mark.file <= faults->n_files;
    const char *file = other ? faults->files[mark.file - 1] : name;

    if (mark.line == 0 || strncmp(file, "--", 2) == 0)
        return nj_buf_printf(out, err, "%s: ", file);
    return nj_buf_printf(out, err, "%s:%u:%u: ", file, mark.line, mark.column);
}

static bool comes_before(struct nj_mark a, struct nj_mark b)
{
    if (a.file != b.file)
        return a.file < b.file;
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

void nj_manifest_faults_sort(struct nj_manifest_faults *faults)
{
    /* By insertion: at most NJ_FAULTS_MAX, and equal places must keep their order. */
    for (size_t i = 1; i < faults->count; i++) {
        struct nj_manifest_fault fault = faults->items[i];
        size_t at = i;

        for (; at > 0 && comes_before(fault.mark, faults->items[at - 1].mark); at--)
            faults->items[at] = faults->items[at - 1];
        faults->items[at] = fault;
    }
}

static const char *path_mark(const struct nj_manifest_fault *fault)
{
    return fault->path[0] ? ": " : "";
}

int nj_manifest_faults_fail(const struct nj_manifest_faults *faults, const char *name,
                            struct nj_error *err)
{
    const struct nj_manifest_fault *first = &faults->items[0];
    NJ_AUTO(nj_buf_done) struct nj_buf place = {0};
    struct nj_error ignored = {0};
    size_t others;

    if (faults->nomem)
        return nj_fail_nomem(err);
    if (faults->count == 0)
        return 0;
    others = faults->count - 1 + faults->dropped;
    if (others == 0)
        (void)nj_fail(err, NJ_E_INPUT, "%s%s%s", first->path, path_mark(first), first->text);
    else
        (void)nj_fail(err, NJ_E_INPUT, "%s%s%s (and %zu more fault%s)", first->path,
                      path_mark(first), first->text, others, others == 1 ? "" : "s");
    nj_buf_init(&place, 4096);
    if (put_place(faults, first->mark, name, &place, &ignored) < 0 || place.len < 2)
        return nj_wrap(err, "%s", name);
    return nj_wrap(err, "%.*s", (int)place.len - 2, (const char *)place.data);
}

int nj_manifest_faults_print(const struct nj_manifest_faults *faults, const char *name,
                             struct nj_buf *out, struct nj_error *err)
{
    for (size_t i = 0; i < faults->count; i++) {
        const struct nj_manifest_fault *fault = &faults->items[i];

        if (put_place(faults, fault->mark, name, out, err) < 0 ||
            nj_buf_printf(out, err, "%s%s%s\n", fault->path, path_mark(fault), fault->text) < 0)
            return -(int)err->code;
    }
    if (faults->dropped > 0)
        return nj_buf_printf(out, err, "%s: and %zu more fault%s\n", name, faults->dropped,
                             faults->dropped == 1 ? "" : "s");
    return 0;
}
