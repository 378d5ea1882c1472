/*
 * glob.c - patterns: the matching itself
 *
 * The complication: ? and sets count characters, and names need not be UTF-8. A byte that begins no
 * character counts as one of its own, outside of every set of characters.
 */
#include "batch/plan/glob.h"

#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define STRAY_BYTE 0x110000u /* added to a byte that is no character */

static size_t next_char(struct nj_span text, uint32_t *ret)
{
    size_t len = nj_utf8_next(text, ret);

    if (len > 0)
        return len;
    *ret = STRAY_BYTE + text.data[0];
    return 1;
}

static struct nj_span skip(struct nj_span text, size_t bytes)
{
    return (struct nj_span){text.data + bytes, text.len - bytes};
}

/* match_set - is @c in the set that begins behind "["? *ret_len is what the set takes, "]"
 * included; 0: never closed */
static bool match_set(struct nj_span set, uint32_t c, size_t *ret_len)
{
    struct nj_span at = set;
    bool negated = false;
    bool found = false;
    bool first = true;

    if (at.len > 0 && (at.data[0] == '!' || at.data[0] == '^')) {
        negated = true;
        at = skip(at, 1);
    }
    for (; at.len > 0 && (first || at.data[0] != ']'); first = false) {
        uint32_t low, high;

        at = skip(at, next_char(at, &low));
        high = low;
        if (at.len > 1 && at.data[0] == '-' && at.data[1] != ']') {
            at = skip(at, 1);
            at = skip(at, next_char(at, &high));
        }
        found = found || (low <= c && c <= high);
    }
    *ret_len = at.len > 0 ? set.len - at.len + 1 : 0;
    return found != negated;
}

/* match_one - the first item of @part, which is not *, against the first character of @name */
static bool match_one(struct nj_span part, struct nj_span name, size_t *ret_part_len,
                      size_t *ret_name_len)
{
    uint32_t want, have;
    size_t set_len;
    bool in_set;

    *ret_name_len = next_char(name, &have);
    if (part.data[0] == '?') {
        *ret_part_len = 1;
        return true;
    }
    if (part.data[0] == '[') {
        in_set = match_set(skip(part, 1), have, &set_len);
        *ret_part_len = 1 + set_len;
        if (set_len > 0)
            return in_set;
    }
    *ret_part_len = next_char(part, &want);
    return want == have;
}

bool nj_glob_part_match(const char *part, struct nj_span name)
{
    struct nj_span want = nj_span_text(part);
    struct nj_span star = {0};      /* what follows the last * */
    struct nj_span star_name = {0}; /* what it was tried against */
    bool starred = false;

    if (name.len > 0 && name.data[0] == '.' && part[0] != '.')
        return false;
    while (name.len > 0) {
        size_t part_len, name_len;

        if (want.len > 0 && want.data[0] == '*') {
            want = skip(want, 1);
            star = want;
            star_name = name;
            starred = true;
        } else if (want.len > 0 && match_one(want, name, &part_len, &name_len)) {
            want = skip(want, part_len);
            name = skip(name, name_len);
        } else if (starred) { /* the last * takes one character more; earlier ones need not */
            uint32_t c;

            star_name = skip(star_name, next_char(star_name, &c));
            name = star_name;
            want = star;
        } else {
            return false;
        }
    }
    while (want.len > 0 && want.data[0] == '*')
        want = skip(want, 1);
    return want.len == 0;
}

/* ---- whole patterns ---- */

int nj_glob_compile(const char *pattern, struct nj_arena *arena, struct nj_glob *ret_glob,
                    struct nj_error *err)
{
    struct nj_glob_part *parts = nj_arena_array(arena, NJ_GLOB_PARTS_MAX, sizeof(*parts));
    const char *at = pattern;
    size_t n = 0;

    if (!parts)
        return nj_fail_nomem(err);
    while (*at) {
        size_t len = strcspn(at, "/");
        struct nj_span text = {(const uint8_t *)at, len};

        at += len;
        at += strspn(at, "/");
        if (len == 0)
            continue;
        if (n + 1 >= NJ_GLOB_PARTS_MAX) /* one is kept for the "*" behind a last ** */
            return nj_fail(err, NJ_E_INPUT, "a pattern of more than %d parts",
                           NJ_GLOB_PARTS_MAX - 1);
        parts[n].text = nj_arena_span(arena, text);
        if (!parts[n].text)
            return nj_fail_nomem(err);
        parts[n].deep = nj_span_is(text, "**");
        parts[n].literal = !strpbrk(parts[n].text, "*?[");
        n++;
    }
    if (n > 0 && parts[n - 1].deep)
        parts[n++] = (struct nj_glob_part){.text = "*"};
    *ret_glob = (struct nj_glob){.parts = parts, .n_parts = n};
    return 0;
}

static bool bit_is_set(const struct nj_glob_state *state, size_t bit)
{
    return state->bits[bit / 64] >> (bit % 64) & 1;
}

/* put_bit - at a ** the place behind it is reached too: it may stand for no folder at all */
static void put_bit(const struct nj_glob *glob, struct nj_glob_state *state, size_t bit)
{
    state->bits[bit / 64] |= (uint64_t)1 << (bit % 64);
    while (bit < glob->n_parts && glob->parts[bit].deep) {
        bit++;
        state->bits[bit / 64] |= (uint64_t)1 << (bit % 64);
    }
}

void nj_glob_start(const struct nj_glob *glob, struct nj_glob_state *ret_state)
{
    *ret_state = (struct nj_glob_state){0};
    put_bit(glob, ret_state, 0);
}

void nj_glob_step(const struct nj_glob *glob, const struct nj_glob_state *state,
                  struct nj_span name, bool through_link, struct nj_glob_state *ret_state)
{
    struct nj_glob_state next = {0};
    bool hidden = name.len > 0 && name.data[0] == '.';

    for (size_t i = 0; i < glob->n_parts; i++) {
        if (!bit_is_set(state, i))
            continue;
        if (glob->parts[i].deep) {
            if (!hidden && !through_link)
                put_bit(glob, &next, i);
        } else if (nj_glob_part_match(glob->parts[i].text, name)) {
            put_bit(glob, &next, i + 1);
        }
    }
    *ret_state = next;
}

bool nj_glob_matched(const struct nj_glob *glob, const struct nj_glob_state *state)
{
    return bit_is_set(state, glob->n_parts);
}

bool nj_glob_alive(const struct nj_glob *glob, const struct nj_glob_state *state)
{
    for (size_t i = 0; i < glob->n_parts; i++) {
        if (bit_is_set(state, i))
            return true;
    }
    return false;
}
