/*
 * yaml_value.c - typed values out of the tree, and the words for what is wrong with them
 *
 * The complication: a person must be able to mend the file from the fault alone. So each fault says
 * where, what was expected, what stands there, and the nearest thing that would have been right.
 */
#include <stdarg.h>
#include <stdio.h>

#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define LOOK_MAX_BYTES 40     /* of a value shown in a fault */
#define KEY_LOOK_MAX_BYTES 64 /* of a key shown in a path */
#define PATH_PARTS_MAX 64
#define WORD_MAX_CHARS 64 /* longer words are not compared: nobody meant them */
#define FAULT_MAX_BYTES 400
#define KNOWN_MAX_BYTES 256 /* of a list of known names */
#define MICRO 1000000
#define MICRO_DIGITS 6

/* ---- the core schema ---- */

static bool is_one_of(const char *text, const char *const *words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

static bool is_int(const char *text)
{
    if (text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        const char *digits = text[1] == 'o' ? "01234567" : "0123456789abcdefABCDEF";

        return text[2] && text[2 + strspn(text + 2, digits)] == '\0';
    }
    if (*text == '-' || *text == '+')
        text++;
    return *text && text[count_digits(text)] == '\0';
}

static bool is_float(const char *text)
{
    static const char *const specials[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    size_t whole;
    size_t part = 0;

    if (is_one_of(text, specials, 6))
        return true;
    if (*text == '-' || *text == '+')
        text++;
    if (is_one_of(text, specials, 3))
        return true;
    whole = count_digits(text);
    text += whole;
    if (*text == '.') {
        text++;
        part = count_digits(text);
        text += part;
    }
    if (whole + part == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '-' || *text == '+')
            text++;
        if (count_digits(text) == 0)
            return false;
        text += count_digits(text);
    }
    return *text == '\0';
}

static enum nj_yaml_type type_of_plain(const char *text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE"};

    if (is_one_of(text, nulls, sizeof(nulls) / sizeof(nulls[0])))
        return NJ_YAML_NULL;
    if (is_one_of(text, bools, sizeof(bools) / sizeof(bools[0])))
        return NJ_YAML_BOOL;
    if (is_int(text))
        return NJ_YAML_INT;
    if (is_float(text))
        return NJ_YAML_FLOAT;
    return NJ_YAML_TEXT;
}

static const char *text_of(const struct nj_yaml_node *node)
{
    return (const char *)node->text.data;
}

enum nj_yaml_type nj_yaml_type(const struct nj_yaml_node *node)
{
    switch (node->kind) {
    case NJ_YAML_SCALAR:
        return node->plain ? type_of_plain(text_of(node)) : NJ_YAML_TEXT;
    case NJ_YAML_SEQ:
        return NJ_YAML_LIST;
    case NJ_YAML_MAP:
        return NJ_YAML_TREE;
    case NJ_YAML_BROKEN:
        break;
    }
    return NJ_YAML_NONE;
}

/* ---- places and words ---- */

/* The length of a prefix of at most @max bytes that does not end within a character. */
static size_t whole_characters(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static bool is_bare_key(const char *key)
{
    return *key &&
           key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ==
               '\0';
}

void nj_yaml_path(const struct nj_yaml_node *node, char out[NJ_YAML_PATH_MAX_BYTES])
{
    const struct nj_yaml_node *parts[PATH_PARTS_MAX];
    size_t n_parts = 0;
    size_t len = 0;

    for (; node->up && n_parts < PATH_PARTS_MAX; node = node->up)
        parts[n_parts++] = node;
    out[0] = '\0';
    while (n_parts > 0 && len < NJ_YAML_PATH_MAX_BYTES) {
        const struct nj_yaml_node *part = parts[--n_parts];
        size_t room = NJ_YAML_PATH_MAX_BYTES - len;
        int n;

        if (!part->key) {
            n = snprintf(out + len, room, "[%zu]", part->index);
        } else {
            size_t key_len = strlen(part->key);
            size_t shown = whole_characters(part->key, key_len, KEY_LOOK_MAX_BYTES);
            const char *quote = is_bare_key(part->key) ? "" : "\"";

            n = snprintf(out + len, room, "%s%s%.*s%s%s", len > 0 ? "." : "", quote, (int)shown,
                         part->key, shown < key_len ? "..." : "", quote);
        }
        if (n < 0)
            return;
        len += (size_t)n;
    }
}

static void add_fault(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                      struct nj_mark mark, const char *fmt, va_list args)
{
    char path[NJ_YAML_PATH_MAX_BYTES];
    char text[FAULT_MAX_BYTES];

    nj_yaml_path(node, path);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    nj_manifest_faults_add(reader->faults, mark, path, "%s", text);
}

void nj_yaml_fault(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, const char *fmt,
                   ...)
{
    va_list args;

    va_start(args, fmt);
    add_fault(reader, node, node->mark, fmt, args);
    va_end(args);
}

void nj_yaml_fault_key(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                       const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_fault(reader, node, node->key ? node->key_mark : node->mark, fmt, args);
    va_end(args);
}

static void look(const struct nj_yaml_node *node, char *out, size_t room)
{
    size_t shown = node->kind == NJ_YAML_SCALAR
                       ? whole_characters(text_of(node), node->text.len, LOOK_MAX_BYTES)
                       : 0;
    const char *more = shown < node->text.len ? "..." : "";

    switch (nj_yaml_type(node)) {
    case NJ_YAML_NULL:
        (void)snprintf(out, room, "nothing");
        break;
    case NJ_YAML_BOOL:
    case NJ_YAML_INT:
    case NJ_YAML_FLOAT:
        (void)snprintf(out, room, "%.*s%s", (int)shown, text_of(node), more);
        break;
    case NJ_YAML_TEXT:
        (void)snprintf(out, room, "\"%.*s%s\"", (int)shown, text_of(node), more);
        break;
    case NJ_YAML_LIST:
        (void)snprintf(out, room, "a list");
        break;
    case NJ_YAML_TREE:
        (void)snprintf(out, room, "a map");
        break;
    case NJ_YAML_NONE:
        (void)snprintf(out, room, "an alias");
        break;
    }
}

void nj_yaml_expected(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                      const char *what)
{
    char found[LOOK_MAX_BYTES + 16];

    if (node->kind == NJ_YAML_BROKEN)
        return;
    look(node, found, sizeof(found));
    nj_yaml_fault(reader, node, "expected %s, found %s", what, found);
}

/* How many insertions, deletions, exchanges and swaps of neighbours are between two words. */
static size_t edits_between(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX_CHARS + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *spare;

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_len];
}

const char *nj_yaml_nearest(const char *word, const char *const *names, size_t n_names)
{
    const char *nearest = NULL;
    size_t len = strlen(word);
    size_t least = len / 3 + 1; /* a third of the word may be wrong */

    if (len < 3 || len > WORD_MAX_CHARS)
        return NULL;
    for (size_t i = 0; i < n_names; i++) {
        size_t edits;

        if (strlen(names[i]) > WORD_MAX_CHARS)
            continue;
        edits = edits_between(word, names[i]);
        if (edits < least) {
            least = edits;
            nearest = names[i];
        }
    }
    for (size_t i = 0; !nearest && i < n_names; i++) {
        if (len >= 4 && strstr(names[i], word))
            nearest = names[i]; /* "memory" for "max_memory_mb" */
    }
    return nearest;
}

static void list_names(const char *const *names, size_t n_names, char *out, size_t room)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < n_names; i++) {
        int n = snprintf(out + len, room - len, "%s%s", i > 0 ? ", " : "", names[i]);

        if (n < 0 || (size_t)n >= room - len) {
            out[len] = '\0';
            (void)snprintf(out + (len > room - 6 ? room - 6 : len), 6, ", ...");
            return;
        }
        len += (size_t)n;
    }
}

/* A fault that nobody will read is counted but not worded: there may be 200,000 of them. */
static bool faults_are_full(struct nj_yaml_reader *reader)
{
    if (reader->faults->count < NJ_FAULTS_MAX)
        return false;
    reader->faults->dropped++;
    return true;
}

/* "unknown WHAT" and its cure: the nearest name, or all of them. */
static void unknown_text(char *out, size_t room, const char *what, const char *word,
                         const char *const *names, size_t n_names)
{
    const char *nearest = nj_yaml_nearest(word, names, n_names);
    char known[KNOWN_MAX_BYTES];

    if (nearest) {
        (void)snprintf(out, room, "unknown %s; did you mean %s?", what, nearest);
    } else if (n_names > 0) {
        list_names(names, n_names, known, sizeof(known));
        (void)snprintf(out, room, "unknown %s; known here: %s", what, known);
    } else {
        (void)snprintf(out, room, "unknown %s; none is known here", what);
    }
}

void nj_yaml_unknown(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                     const char *noun, const char *const *names, size_t n_names)
{
    char found[LOOK_MAX_BYTES + 16];
    char what[LOOK_MAX_BYTES + 64];
    char text[FAULT_MAX_BYTES];

    if (node->kind == NJ_YAML_BROKEN || faults_are_full(reader))
        return;
    look(node, found, sizeof(found));
    (void)snprintf(what, sizeof(what), "%s %s", noun, found);
    unknown_text(text, sizeof(text), what, node->kind == NJ_YAML_SCALAR ? text_of(node) : "", names,
                 n_names);
    nj_yaml_fault(reader, node, "%s", text);
}

/* ---- collections ---- */

static bool is_map(struct nj_yaml_reader *reader, const struct nj_yaml_node *node)
{
    if (node->kind == NJ_YAML_MAP)
        return true;
    nj_yaml_expected(reader, node, "a map");
    return false;
}

bool nj_yaml_keys(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                  const char *const *known, size_t n_known)
{
    if (!is_map(reader, node))
        return false;
    for (const struct nj_yaml_node *child = node->first; child; child = child->next) {
        char text[FAULT_MAX_BYTES];

        if (is_one_of(child->key, known, n_known))
            continue;
        if (faults_are_full(reader))
            continue;
        unknown_text(text, sizeof(text), "key", child->key, known, n_known);
        nj_yaml_fault_key(reader, child, "%s", text);
    }
    return true;
}

static bool has_count(struct nj_yaml_reader *reader, const struct nj_yaml_node *node,
                      const char *one, const char *many, size_t min, size_t max)
{
    if (node->count < min)
        nj_yaml_fault(reader, node, "at least %zu %s needed, found %zu", min, min == 1 ? one : many,
                      node->count);
    else if (node->count > max)
        nj_yaml_fault(reader, node, "at most %zu %s allowed, found %zu", max, max == 1 ? one : many,
                      node->count);
    else
        return true;
    return false;
}

bool nj_yaml_names(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, size_t min,
                   size_t max)
{
    return is_map(reader, node) && has_count(reader, node, "entry is", "entries are", min, max);
}

bool nj_yaml_list(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, size_t min,
                  size_t max)
{
    if (node->kind != NJ_YAML_SEQ) {
        nj_yaml_expected(reader, node, "a list");
        return false;
    }
    return has_count(reader, node, "item is", "items are", min, max);
}

const struct nj_yaml_node *nj_yaml_get(const struct nj_yaml_node *map, const char *key)
{
    for (const struct nj_yaml_node *child = map->first; child; child = child->next) {
        if (child->key && strcmp(child->key, key) == 0)
            return child;
    }
    return NULL;
}

const struct nj_yaml_node *nj_yaml_need(struct nj_yaml_reader *reader,
                                        const struct nj_yaml_node *map, const char *key)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);

    if (!node)
        nj_yaml_fault(reader, map, "the key %s is missing", key);
    return node;
}

/* ---- scalars ---- */

static bool is_quoted_number(const struct nj_yaml_node *node)
{
    enum nj_yaml_type type;

    if (node->kind != NJ_YAML_SCALAR || node->plain)
        return false;
    type = type_of_plain(text_of(node));
    return type == NJ_YAML_INT || type == NJ_YAML_FLOAT;
}

bool nj_yaml_text(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, size_t max_bytes,
                  bool empty_ok, const char **ret)
{
    enum nj_yaml_type type = nj_yaml_type(node);

    if (type == NJ_YAML_NONE)
        return false;
    if (type == NJ_YAML_BOOL || type == NJ_YAML_INT || type == NJ_YAML_FLOAT) {
        char found[LOOK_MAX_BYTES + 16];

        look(node, found, sizeof(found));
        nj_yaml_fault(reader, node, "expected a text, found %s; quotes make it a text", found);
        return false;
    }
    if (type != NJ_YAML_TEXT) {
        nj_yaml_expected(reader, node, "a text");
        return false;
    }
    if (memchr(node->text.data, '\0', node->text.len)) {
        nj_yaml_fault(reader, node, "holds a NUL character");
        return false;
    }
    if (node->text.len == 0 && !empty_ok) {
        nj_yaml_fault(reader, node, "is empty");
        return false;
    }
    if (node->text.len > max_bytes) {
        nj_yaml_fault(reader, node, "has %zu bytes, at most %zu are allowed", node->text.len,
                      max_bytes);
        return false;
    }
    *ret = text_of(node); /* the tree lives in the same arena */
    return true;
}

bool nj_yaml_bool(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, bool *ret)
{
    if (nj_yaml_type(node) != NJ_YAML_BOOL) {
        nj_yaml_expected(reader, node, "true or false");
        return false;
    }
    *ret = node->text.data[0] == 't' || node->text.data[0] == 'T';
    return true;
}

/* A whole number of the core schema as sign and magnitude; false beyond 64 bits. */
static bool read_magnitude(const char *text, bool *ret_negative, uint64_t *ret)
{
    unsigned base = 10;
    uint64_t value = 0;

    *ret_negative = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'o')) {
        base = text[1] == 'x' ? 16 : 8;
        text += 2;
    }
    for (; *text; text++) {
        unsigned digit =
            *text <= '9' ? (unsigned)(*text - '0') : (unsigned)((*text | 0x20) - 'a') + 10;

        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret = value;
    return true;
}

bool nj_yaml_uint(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, uint64_t min,
                  uint64_t max, uint64_t *ret)
{
    char what[96];
    uint64_t value = 0;
    bool negative = false;

    if (nj_yaml_type(node) == NJ_YAML_INT && read_magnitude(text_of(node), &negative, &value) &&
        (!negative || value == 0) && value >= min && value <= max) {
        *ret = value;
        return true;
    }
    (void)snprintf(what, sizeof(what), "a whole number from %llu to %llu%s",
                   (unsigned long long)min, (unsigned long long)max,
                   is_quoted_number(node) ? " without quotes" : "");
    nj_yaml_expected(reader, node, what);
    return false;
}

/* "-12.5" into millionths; false for an exponent, more than six decimals, or what does not fit. */
static bool read_micro(const char *text, int64_t *ret)
{
    bool negative = *text == '-';
    int64_t value = 0;
    int decimals = -1; /* none before the point */

    if (*text == '-' || *text == '+')
        text++;
    for (; *text; text++) {
        if (*text == '.' && decimals < 0) {
            decimals = 0;
            continue;
        }
        if (*text < '0' || *text > '9')
            return false;
        if (decimals == MICRO_DIGITS) {
            if (*text != '0')
                return false;
            continue;
        }
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value))
            return false;
        if (decimals >= 0)
            decimals++;
    }
    for (int i = decimals < 0 ? 0 : decimals; i < MICRO_DIGITS; i++) {
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
    }
    *ret = negative ? -value : value;
    return true;
}

static void print_micro(int64_t micro, char *out, size_t room)
{
    int64_t part = micro % MICRO;
    int n = snprintf(out, room, "%lld.%06lld", (long long)(micro / MICRO),
                     (long long)(part < 0 ? -part : part));

    while (n > 0 && out[n - 1] == '0')
        out[--n] = '\0';
    if (n > 0 && out[n - 1] == '.')
        out[--n] = '\0';
}

bool nj_yaml_micro(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, int64_t min,
                   int64_t max, int64_t *ret)
{
    enum nj_yaml_type type = nj_yaml_type(node);
    char what[128];
    char least[32];
    char most[32];
    int64_t value = 0;

    if ((type == NJ_YAML_INT || type == NJ_YAML_FLOAT) && read_micro(text_of(node), &value) &&
        value >= min && value <= max) {
        *ret = value;
        return true;
    }
    print_micro(min, least, sizeof(least));
    print_micro(max, most, sizeof(most));
    (void)snprintf(what, sizeof(what), "a number from %s to %s with at most six decimals%s", least,
                   most, is_quoted_number(node) ? " and without quotes" : "");
    nj_yaml_expected(reader, node, what);
    return false;
}

bool nj_yaml_enum(struct nj_yaml_reader *reader, const struct nj_yaml_node *node, const char *noun,
                  const char *const *names, size_t n_names, size_t *ret)
{
    if (nj_yaml_type(node) == NJ_YAML_LIST || nj_yaml_type(node) == NJ_YAML_TREE) {
        char what[96];

        (void)snprintf(what, sizeof(what), "one word: the %s", noun);
        nj_yaml_expected(reader, node, what);
        return false;
    }
    for (size_t i = 0; node->kind == NJ_YAML_SCALAR && i < n_names; i++) {
        if (nj_span_is(node->text, names[i])) {
            *ret = i;
            return true;
        }
    }
    nj_yaml_unknown(reader, node, noun, names, n_names);
    return false;
}
