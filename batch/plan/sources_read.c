/*
 * sources_read.c - the answers of an earlier plan, read back
 *
 * The file lies in a run directory, but a run directory can be damaged, copied or handed over. Each
 * line has exactly its keys; a glob's matches are ascending and as many as it says; the last line
 * counts the others.
 */
#include <inttypes.h>
#include <jansson.h>

#include "batch/plan/sources_inside.h"

#include "formats/base/banned.h"

struct reading {
    struct nj_sources *sources;
    size_t line;            /* from 1 */
    struct nj_answer *glob; /* whose matches follow, or NULL */
    size_t matches_due;
    bool ended;
};

static void json_auto(json_t **json)
{
    json_decref(*json);
}

static int damaged(const struct reading *reading, const char *what, struct nj_error *err)
{
    return nj_fail(err, NJ_E_CORRUPT, "sources.jsonl line %zu: %s", reading->line, what);
}

static int get_text(const struct reading *reading, json_t *map, const char *key, const char **ret,
                    struct nj_error *err)
{
    json_t *value = json_object_get(map, key);

    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) != strlen(json_string_value(value)))
        return damaged(reading, "a text is missing, empty or holds a NUL", err);
    *ret = nj_arena_text(&reading->sources->arena, json_string_value(value));
    return *ret ? 0 : nj_fail_nomem(err);
}

static int get_int(const struct reading *reading, json_t *map, const char *key, int64_t min,
                   int64_t *ret, struct nj_error *err)
{
    json_t *value = json_object_get(map, key);

    if (!json_is_integer(value) || json_integer_value(value) < min)
        return damaged(reading, "a number is missing or too small", err);
    *ret = json_integer_value(value);
    return 0;
}

static int get_digest(const struct reading *reading, json_t *map, const char *key,
                      struct nj_digest *ret, struct nj_error *err)
{
    json_t *value = json_object_get(map, key);

    if (!json_is_string(value) || !nj_digest_parse(nj_span_text(json_string_value(value)), ret))
        return damaged(reading, "a digest is missing or not 64 lower-case hex characters", err);
    return 0;
}

static int check_keys(const struct reading *reading, json_t *map, size_t count,
                      struct nj_error *err)
{
    return json_object_size(map) == count ? 0
                                          : damaged(reading, "keys are missing or too many", err);
}

static int keep(struct reading *reading, const struct nj_answer *answer, struct nj_error *err)
{
    int r = nj_sources_keep(reading->sources, answer, err);

    if (r == 1)
        return damaged(reading, "the same question twice", err);
    return r;
}

static int read_mode(const struct reading *reading, json_t *map, unsigned *ret,
                     struct nj_error *err)
{
    json_t *value = json_object_get(map, "mode");
    const char *text = json_is_string(value) ? json_string_value(value) : "";

    if (strcmp(text, "0644") != 0 && strcmp(text, "0755") != 0)
        return damaged(reading, "the mode is neither 0644 nor 0755", err);
    *ret = text[1] == '6' ? 0644 : 0755;
    return 0;
}

static int read_file(struct reading *reading, json_t *map, struct nj_error *err)
{
    struct nj_answer answer = {.kind = NJ_ANSWER_FILE};
    struct nj_tree_entry *entry = &answer.file.entry;
    int64_t size;

    entry->type = NJ_FILE_REGULAR;
    entry->has_parts = json_object_get(map, "parts") != NULL;
    if (check_keys(reading, map, entry->has_parts ? 6 : 5, err) < 0 ||
        get_text(reading, map, "file", &answer.path, err) < 0 ||
        get_digest(reading, map, "digest", &entry->digest, err) < 0 ||
        (entry->has_parts && get_digest(reading, map, "parts", &entry->parts, err) < 0) ||
        get_int(reading, map, "size", 0, &size, err) < 0 ||
        read_mode(reading, map, &entry->mode, err) < 0 ||
        get_int(reading, map, "mtime_ns", INT64_MIN, &answer.file.mtime_ns, err) < 0)
        return -(int)err->code;
    if (entry->has_parts != (size > (int64_t)NJ_OBJECT_PART_BYTES))
        return damaged(reading, "parts do not go with the size", err);
    entry->size = (uint64_t)size;
    answer.file.path = answer.path;
    return keep(reading, &answer, err);
}

static int read_folder(struct reading *reading, json_t *map, struct nj_error *err)
{
    struct nj_answer answer = {.kind = NJ_ANSWER_FOLDER};

    if (check_keys(reading, map, 3, err) < 0 ||
        get_text(reading, map, "folder", &answer.path, err) < 0 ||
        get_digest(reading, map, "tree", &answer.folder.tree, err) < 0 ||
        get_digest(reading, map, "stamps", &answer.folder.stamps, err) < 0)
        return -(int)err->code;
    return keep(reading, &answer, err);
}

static int read_glob(struct reading *reading, json_t *map, size_t lines_left, struct nj_error *err)
{
    struct nj_answer answer = {.kind = NJ_ANSWER_GLOB};
    int64_t matches, links_left;
    int r;

    if (check_keys(reading, map, 3, err) < 0 ||
        get_text(reading, map, "glob", &answer.path, err) < 0 ||
        get_int(reading, map, "matches", 0, &matches, err) < 0 ||
        get_int(reading, map, "links_left", 0, &links_left, err) < 0)
        return -(int)err->code;
    if ((uint64_t)matches > lines_left)
        return damaged(reading, "more matches than lines follow", err);
    answer.glob.links_left = (size_t)links_left;
    answer.glob.matches =
        nj_arena_array(&reading->sources->arena, (size_t)matches + 1, sizeof(*answer.glob.matches));
    if (!answer.glob.matches)
        return nj_fail_nomem(err);
    r = keep(reading, &answer, err);
    if (r < 0)
        return r;
    reading->glob = reading->sources->answers[reading->sources->n_answers - 1];
    reading->matches_due = (size_t)matches;
    return 0;
}

static int read_match(struct reading *reading, json_t *map, struct nj_error *err)
{
    struct nj_glob_result *glob = &reading->glob->glob;
    struct nj_glob_match *match = &glob->matches[glob->n_matches];
    int64_t size;

    if (check_keys(reading, map, 2, err) < 0 ||
        get_text(reading, map, "match", &match->path, err) < 0 ||
        get_int(reading, map, "size", 0, &size, err) < 0)
        return -(int)err->code;
    if (glob->n_matches > 0 && strcmp(match[-1].path, match->path) >= 0)
        return damaged(reading, "matches are not ascending", err);
    match->size = (uint64_t)size;
    glob->n_matches++;
    reading->matches_due--;
    return 0;
}

static int read_end(struct reading *reading, json_t *map, struct nj_error *err)
{
    int64_t lines;

    if (check_keys(reading, map, 1, err) < 0 || get_int(reading, map, "end", 0, &lines, err) < 0)
        return -(int)err->code;
    if ((uint64_t)lines != reading->line - 1)
        return damaged(reading, "lines are missing or too many", err);
    reading->ended = true;
    return 0;
}

static int read_line(struct reading *reading, struct nj_span line, size_t bytes_left,
                     struct nj_error *err)
{
    __attribute__((cleanup(json_auto))) json_t *map = NULL;
    json_error_t jerr;

    map = json_loadb((const char *)line.data, line.len, JSON_REJECT_DUPLICATES, &jerr);
    if (!json_is_object(map))
        return damaged(reading, "not a JSON object", err);
    if (reading->ended)
        return damaged(reading, "behind the end", err);
    if (reading->matches_due > 0)
        return json_object_get(map, "match") ? read_match(reading, map, err)
                                             : damaged(reading, "a match is missing", err);
    if (json_object_get(map, "file"))
        return read_file(reading, map, err);
    if (json_object_get(map, "folder"))
        return read_folder(reading, map, err);
    if (json_object_get(map, "glob"))
        return read_glob(reading, map, bytes_left / 3, err); /* "{}" and a newline at the least */
    if (json_object_get(map, "end"))
        return read_end(reading, map, err);
    return damaged(reading, "neither a file, a folder, a glob, a match nor the end", err);
}

int nj_sources_recorded(struct nj_span lines, struct nj_sources **ret_sources, struct nj_error *err)
{
    NJ_AUTO(nj_sources_free) struct nj_sources *sources = NULL;
    struct reading reading = {0};
    size_t at = 0;
    int r;

    if (lines.len > NJ_SOURCES_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "sources.jsonl: more than %u bytes", NJ_SOURCES_MAX_BYTES);
    sources = calloc(1, sizeof(*sources));
    if (!sources)
        return nj_fail_nomem(err);
    sources->recorded = true;
    reading.sources = sources;
    while (at < lines.len) {
        const uint8_t *start = lines.data + at;
        const uint8_t *end = memchr(start, '\n', lines.len - at);

        reading.line++;
        if (!end)
            return damaged(&reading, "cut off", err);
        at = (size_t)(end - lines.data) + 1;
        r = read_line(&reading, (struct nj_span){start, (size_t)(end - start)}, lines.len - at,
                      err);
        if (r < 0)
            return r;
    }
    if (!reading.ended) {
        reading.line++;
        return damaged(&reading, "the end is missing", err);
    }
    *ret_sources = nj_steal_ptr(&sources);
    return 0;
}
