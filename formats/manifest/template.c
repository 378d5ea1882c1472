/*
 * template.c - texts with placeholders
 *
 * The complication: a value may hold braces of its own (a copyright file, a model's reply). Values
 * are appended and never looked at again; only the template's own text is scanned, once.
 */
#include <stdio.h>

#include "formats/manifest/template.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define ALLOWED_MAX 16 /* names offered in a fault */

enum piece_kind { PIECE_END, PIECE_TEXT, PIECE_NAME };

struct piece {
    enum piece_kind kind;
    const char *text; /* PIECE_TEXT: borrowed from the template */
    size_t len;
    char name[NJ_TEMPLATE_NAME_MAX_CHARS + 1]; /* PIECE_NAME */
};

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Words joined by single dots. */
static bool is_name(const char *text, size_t len)
{
    bool in_word = false;

    for (size_t i = 0; i < len; i++) {
        if (is_name_char(text[i]))
            in_word = true;
        else if (text[i] == '.' && in_word)
            in_word = false;
        else
            return false;
    }
    return in_word;
}

static int take_placeholder(const char *start, size_t at, struct piece *piece, struct nj_error *err)
{
    size_t len = strcspn(start + 1, "{}\n");

    if (start[1 + len] != '}')
        return nj_fail(err, NJ_E_INPUT,
                       "character %zu: this { has no } (write {{ for a brace itself)", at + 1);
    if (!is_name(start + 1, len) || len > NJ_TEMPLATE_NAME_MAX_CHARS)
        return nj_fail(err, NJ_E_INPUT,
                       "character %zu: {%.*s} is no placeholder: expected a name like {item.path} "
                       "(write {{ for a brace itself)",
                       at + 1, (int)(len > 40 ? 40 : len), start + 1);
    piece->kind = PIECE_NAME;
    memcpy(piece->name, start + 1, len);
    piece->name[len] = '\0';
    return 0;
}

/* The piece at *at, which moves behind it. */
static int next_piece(const char *text, size_t *at, struct piece *piece, struct nj_error *err)
{
    const char *start = text + *at;
    int r;

    piece->text = start;
    piece->len = strcspn(start, "{}");
    if (piece->len > 0 || *start == '\0') {
        piece->kind = piece->len > 0 ? PIECE_TEXT : PIECE_END;
        *at += piece->len;
        return 0;
    }
    if (start[0] == start[1]) { /* "{{" and "}}" */
        piece->kind = PIECE_TEXT;
        piece->len = 1;
        *at += 2;
        return 0;
    }
    if (*start == '}')
        return nj_fail(err, NJ_E_INPUT,
                       "character %zu: this } has no { (write }} for a brace itself)", *at + 1);
    r = take_placeholder(start, *at, piece, err);
    if (r < 0)
        return r;
    *at += strlen(piece->name) + 2;
    return 0;
}

int nj_template_expand(const char *text, nj_template_lookup lookup, void *ctx, struct nj_buf *out,
                       struct nj_error *err)
{
    size_t len_before = out->len;
    size_t at = 0;
    struct piece piece;
    int r;

    do {
        r = next_piece(text, &at, &piece, err);
        if (r == 0 && piece.kind == PIECE_TEXT)
            r = nj_buf_append(out, piece.text, piece.len, err);
        else if (r == 0 && piece.kind == PIECE_NAME)
            r = lookup(ctx, piece.name, out, err);
    } while (r >= 0 && piece.kind != PIECE_END);
    if (r < 0 && out->len > len_before) {
        out->len = len_before;
        out->data[len_before] = '\0';
    }
    return r < 0 ? r : 0;
}

/* "results" allows itself, "item." allows whatever follows it. */
static bool name_fits(const char *name, const char *allowed)
{
    size_t len = strlen(allowed);

    if (len > 0 && allowed[len - 1] == '.')
        return strncmp(name, allowed, len) == 0 && name[len];
    return strcmp(name, allowed) == 0;
}

static int refuse_name(const char *name, const char *const *allowed, struct nj_error *err)
{
    const char *nearest;
    char known[200] = "";
    size_t len = 0;
    size_t n = 0;

    while (allowed[n] && n < ALLOWED_MAX)
        n++;
    if (n == 0)
        return nj_fail(err, NJ_E_INPUT, "unknown placeholder {%s}: none can be used here", name);
    nearest = nj_yaml_nearest(name, allowed, n);
    if (nearest)
        return nj_fail(err, NJ_E_INPUT, "unknown placeholder {%s}; did you mean {%s%s}?", name,
                       nearest, nearest[strlen(nearest) - 1] == '.' ? "FIELD" : "");
    for (size_t i = 0; i < n && len < sizeof(known); i++) {
        const char *field = allowed[i][strlen(allowed[i]) - 1] == '.' ? "FIELD" : "";
        int r = snprintf(known + len, sizeof(known) - len, "%s{%s%s}", i > 0 ? ", " : "",
                         allowed[i], field);

        len += r > 0 ? (size_t)r : 0;
    }
    return nj_fail(err, NJ_E_INPUT, "unknown placeholder {%s}; known here: %s", name, known);
}

int nj_template_check(const char *text, const char *const *allowed, struct nj_error *err)
{
    size_t at = 0;
    int names = 0;
    struct piece piece;

    for (;;) {
        bool fits = false;
        int r = next_piece(text, &at, &piece, err);

        if (r < 0)
            return r;
        if (piece.kind == PIECE_END)
            return names;
        if (piece.kind == PIECE_TEXT)
            continue;
        for (size_t i = 0; allowed[i] && !fits; i++)
            fits = name_fits(piece.name, allowed[i]);
        if (!fits)
            return refuse_name(piece.name, allowed, err);
        names++;
    }
}

bool nj_template_uses(const char *text, const char *name)
{
    struct nj_error err = {0};
    size_t at = 0;
    struct piece piece;

    while (next_piece(text, &at, &piece, &err) == 0 && piece.kind != PIECE_END) {
        if (piece.kind == PIECE_NAME && name_fits(piece.name, name))
            return true;
    }
    return false;
}
