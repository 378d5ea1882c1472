/*
 * shown.c - names of files as a message or a terminal can bear them
 */
#include "batch/plan/shown.h"

#include <stdio.h>

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define PIECE_MAX_BYTES 17 /* four bytes as \xNN, and the end */
#define CUT_MARK "..."

/* next_piece - the first character of @rest, as it is shown; @rest moves behind it */
static size_t next_piece(struct nj_span *rest, char piece[PIECE_MAX_BYTES])
{
    uint32_t c = 0;
    size_t len = nj_utf8_next(*rest, &c);
    bool plain = len > 0 && !nj_utf8_is_unsafe(c);
    size_t shown = 0;

    if (len == 0)
        len = 1;
    for (size_t i = 0; i < len; i++) {
        if (plain)
            piece[shown++] = (char)rest->data[i];
        else
            shown +=
                (size_t)snprintf(piece + shown, PIECE_MAX_BYTES - shown, "\\x%02x", rest->data[i]);
    }
    rest->data += len;
    rest->len -= len;
    return shown;
}

static size_t shown_len(struct nj_span rest)
{
    char piece[PIECE_MAX_BYTES];
    size_t len = 0;

    while (rest.len > 0)
        len += next_piece(&rest, piece);
    return len;
}

struct nj_shown nj_shown(const char *text)
{
    struct nj_span rest = nj_span_text(text);
    char piece[PIECE_MAX_BYTES];
    struct nj_shown shown = {.text = ""};
    size_t left = shown_len(rest);
    size_t len = 0;

    if (left >= sizeof(shown.text)) {
        len = (size_t)snprintf(shown.text, sizeof(shown.text), CUT_MARK);
        while (left >= sizeof(shown.text) - len)
            left -= next_piece(&rest, piece);
    }
    while (rest.len > 0) {
        size_t n = next_piece(&rest, piece);

        memcpy(shown.text + len, piece, n);
        len += n;
    }
    shown.text[len] = '\0';
    return shown;
}

int nj_shown_append(struct nj_buf *out, const char *text, struct nj_error *err)
{
    struct nj_span rest = nj_span_text(text);
    char piece[PIECE_MAX_BYTES];

    while (rest.len > 0) {
        size_t n = next_piece(&rest, piece);

        if (nj_buf_append(out, piece, n, err) < 0)
            return -(int)err->code;
    }
    return 0;
}
