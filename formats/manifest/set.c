/*
 * set.c - --set PATH=VALUE
 *
 * PATH is keys joined by dots, with [N] (from 0) or a name for an entry of a list; a key that holds
 * a dot is written as it is or in double quotes. VALUE is YAML; nothing, or null, takes the key
 * out.
 *
 * The complication: names may hold dots, so at each map the longest key that the path can mean is
 * taken. And a path that leads nowhere must say where it lost its way: only keys of closed maps are
 * made, never a second agent or group beside the one that was meant.
 */
#include <stdio.h>

#include "formats/manifest/assemble.h"
#include "formats/manifest/read.h"
#include "formats/manifest/yaml_edit.h"

#include "formats/base/banned.h"

#define ASSIGNMENT_MAX_BYTES (1u << 20)
#define NAMES_MAX 256

struct setting {
    struct nj_yaml_reader *reader;
    const struct nj_yaml_node *root;
    struct nj_mark mark;
    const char *whole; /* the path, for faults */
    size_t whole_len;
    bool failed;
};

static void NJ_PRINTF(2, 3) refuse(struct setting *set, const char *fmt, ...)
{
    char path[NJ_YAML_PATH_MAX_BYTES];
    char text[400];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    va_end(args);
    (void)snprintf(path, sizeof(path), "%.*s", (int)(set->whole_len > 200 ? 200 : set->whole_len),
                   set->whole);
    nj_manifest_faults_add(set->reader->faults, set->mark, path, "%s", text);
    set->failed = true;
}

/* One step of the path: a key (maybe quoted) or an index. */
struct step {
    const char *text;
    size_t len;
    bool index;
    size_t number;
};

static bool ends(char c)
{
    return c == '\0' || c == '.' || c == '[' || c == '=';
}

static bool take_index(struct setting *set, const char **at, struct step *step)
{
    char *end = NULL;

    if ((*at)[1] < '0' || (*at)[1] > '9') {
        refuse(set, "expected a number between [ and ]");
        return false;
    }
    step->index = true;
    step->number = strtoul(*at + 1, &end, 10);
    if (*end != ']') {
        refuse(set, "a [ has no ]");
        return false;
    }
    *at = end + 1;
    return true;
}

/* The longest key of @map that the path can mean here; else up to the next dot. */
static bool take_key(struct setting *set, const struct nj_yaml_node *map, const char **at,
                     struct step *step)
{
    step->text = *at;
    step->len = 0;
    if (**at == '"') {
        const char *end = strchr(*at + 1, '"');

        if (!end || !ends(end[1])) {
            refuse(set, "a quoted key has no end");
            return false;
        }
        step->text = *at + 1;
        step->len = (size_t)(end - step->text);
        *at = end + 1;
        return true;
    }
    for (const struct nj_yaml_node *child = map ? map->first : NULL; child; child = child->next) {
        const struct nj_yaml_node *name = map->kind == NJ_YAML_SEQ && child->kind == NJ_YAML_MAP
                                              ? nj_yaml_get(child, "name")
                                              : NULL;
        const char *key = child->key                             ? child->key
                          : name && name->kind == NJ_YAML_SCALAR ? (const char *)name->text.data
                                                                 : NULL;
        size_t len = key ? strlen(key) : 0;

        if (len > step->len && strncmp(*at, key, len) == 0 && ends((*at)[len]))
            step->len = len;
    }
    if (step->len == 0)
        step->len = strcspn(*at, ".[=");
    if (step->len == 0) {
        refuse(set, "a key is missing");
        return false;
    }
    *at += step->len;
    return true;
}

static bool next_step(struct setting *set, const struct nj_yaml_node *here, const char **at,
                      struct step *step)
{
    *step = (struct step){0};
    if (**at == '[')
        return take_index(set, at, step);
    if (**at == '.')
        (*at)++;
    return take_key(set, here, at, step);
}

static void no_entry(struct setting *set, const struct nj_yaml_node *here, const char *name)
{
    const char *names[NAMES_MAX];
    char place[NJ_YAML_PATH_MAX_BYTES];
    const char *nearest;
    size_t n = 0;

    for (const struct nj_yaml_node *child = here->first; child && n < NAMES_MAX;
         child = child->next) {
        const struct nj_yaml_node *inner =
            child->kind == NJ_YAML_MAP ? nj_yaml_get(child, "name") : NULL;

        if (child->key)
            names[n++] = child->key;
        else if (inner && inner->kind == NJ_YAML_SCALAR)
            names[n++] = (const char *)inner->text.data;
    }
    nj_yaml_path(here, place);
    nearest = nj_yaml_nearest(name, names, n);
    refuse(set, "%s has no %.64s%s%.100s%s%.64s%s", place, name, nearest ? "; did you mean " : "",
           nearest ? place : "", nearest ? "." : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* Entries that a person names are never made: a typing error would add a second one in silence. */
static bool holds_names(const struct setting *set, const struct nj_yaml_node *map)
{
    static const char *const open[] = {"agents", "models", "credentials"};

    for (size_t i = 0; map->up == set->root && i < NJ_COUNT(open); i++) {
        if (map->key && strcmp(map->key, open[i]) == 0)
            return true;
    }
    return false;
}

static const struct nj_yaml_node *child_of(const struct nj_yaml_node *here, const struct step *step)
{
    for (const struct nj_yaml_node *child = here->first; child; child = child->next) {
        const struct nj_yaml_node *name = NULL;

        if (step->index) {
            if (child->index == step->number)
                return child;
            continue;
        }
        if (here->kind == NJ_YAML_SEQ && child->kind == NJ_YAML_MAP)
            name = nj_yaml_get(child, "name");
        if (child->key
                ? strlen(child->key) == step->len && memcmp(child->key, step->text, step->len) == 0
                : name && name->kind == NJ_YAML_SCALAR && name->text.len == step->len &&
                      memcmp(name->text.data, step->text, step->len) == 0)
            return child;
    }
    return NULL;
}

static const struct nj_yaml_node *make_child(struct setting *set, const struct nj_yaml_node *here,
                                             const struct step *step, struct nj_yaml_node *fresh)
{
    char *key =
        nj_arena_span(set->reader->arena, (struct nj_span){(const uint8_t *)step->text, step->len});

    if (!key || !fresh) {
        set->reader->nomem = true;
        set->failed = true;
        return NULL;
    }
    nj_yaml_append(nj_yaml_mutable(here), fresh, key, set->mark);
    return fresh;
}

static bool can_hold(struct setting *set, const struct nj_yaml_node *here, const struct step *step)
{
    char place[NJ_YAML_PATH_MAX_BYTES];
    char name[NJ_MANIFEST_NAME_MAX_CHARS + 1];

    nj_yaml_path(here, place);
    (void)snprintf(name, sizeof(name), "%.*s", (int)(step->len > 64 ? 64 : step->len),
                   step->text ? step->text : "");
    if (here->kind != NJ_YAML_MAP && here->kind != NJ_YAML_SEQ)
        refuse(set, "%s is neither a map nor a list", place);
    else if (step->index && here->kind != NJ_YAML_SEQ)
        refuse(set, "%s is no list", place);
    else if (step->index)
        refuse(set, "%s has %zu entries, counted from 0", place, here->count);
    else if (here->kind == NJ_YAML_SEQ || holds_names(set, here))
        no_entry(set, here, name);
    else
        return true;
    return false;
}

static void assign(struct setting *set, const char *path, struct nj_yaml_node *value)
{
    const struct nj_yaml_node *here = set->root;
    const char *at = path;

    for (;;) {
        const struct nj_yaml_node *child;
        struct step step;

        if (!next_step(set, here, &at, &step))
            return;
        child = child_of(here, &step);
        if (!child && !can_hold(set, here, &step))
            return;
        if (*at == '=' || *at == '\0') {
            if (nj_yaml_type(value) == NJ_YAML_NULL && child)
                nj_yaml_unlink(nj_yaml_mutable(child));
            else if (child)
                nj_yaml_replace(nj_yaml_mutable(child), value);
            else if (nj_yaml_type(value) != NJ_YAML_NULL)
                (void)make_child(set, here, &step, value);
            return;
        }
        if (!child)
            child = make_child(set, here, &step, nj_yaml_new(set->reader, NJ_YAML_MAP, set->mark));
        if (!child)
            return;
        here = child;
    }
}

/* Where PATH ends: the first = outside of quotes. */
static const char *equals(const char *text)
{
    bool quoted = false;

    for (; *text; text++) {
        quoted = *text == '"' ? !quoted : quoted;
        if (*text == '=' && !quoted)
            return text;
    }
    return NULL;
}

int nj_manifest_set(struct nj_yaml_reader *reader, const struct nj_yaml_limits *limits,
                    const struct nj_yaml_node *root, const char *assignment, struct nj_error *err)
{
    struct setting set = {.reader = reader, .root = root};
    unsigned file = reader->file;
    const struct nj_yaml_node *value = NULL;
    char name[128];
    const char *sign = equals(assignment);
    size_t faults;
    int r;

    (void)snprintf(name, sizeof(name), "--set %.100s%s", assignment,
                   strlen(assignment) > 100 ? "..." : "");
    reader->file = nj_manifest_faults_file(reader->faults, name);
    set.mark = (struct nj_mark){1, 1, reader->file};
    set.whole = assignment;
    set.whole_len = sign ? (size_t)(sign - assignment) : strlen(assignment);
    faults = reader->faults->count + reader->faults->dropped;
    if (!sign || sign == assignment) {
        refuse(&set, "expected PATH=VALUE, such as limits.sessions=8");
        reader->file = file;
        return 0;
    }
    if (strlen(sign) == 1) {
        value = nj_yaml_new(reader, NJ_YAML_SCALAR, set.mark);
        if (value) {
            nj_yaml_mutable(value)->plain = true;
            nj_yaml_mutable(value)->text = nj_span_text("");
        }
        r = value ? 0 : nj_fail_nomem(err);
    } else {
        r = nj_yaml_load(nj_span_text(sign + 1), limits, reader, &value, err);
    }
    if (r == 0 && value && reader->faults->count + reader->faults->dropped == faults)
        assign(&set, assignment, nj_yaml_mutable(value));
    reader->file = file;
    return r;
}
