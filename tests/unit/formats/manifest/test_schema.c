/*
 * test_schema.c - the JSON Schema for editors and the parser say the same, in both directions
 *
 * The schema is walked, and for each of its places a manifest is made that has a value there and
 * what must be around it. The parser's own words are held against the schema: it takes the example;
 * of an unknown key it tells the keys that it knows; of a wrong value the range, the words or the
 * number of items that it wants. So a key, a word or a limit that only one of the two has fails
 * here. What a schema cannot say (references, circles, neighbours) is the parser's alone: such
 * faults stand at the place around, and are passed over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "formats/manifest/manifest.h"
#include "formats/manifest/schema.h"

#include "formats/base/banned.h"

#define NOTHING "qqzzqq" /* near no word of the format */
#define PATH_ROOM 512

/* Where a value stands: what is around it, and the key or (without key) the index in that. */
struct place {
    const struct place *up;
    const json_t *around;
    const char *key;
    size_t index;
};

struct walk {
    json_t *schema;
    size_t places;
    size_t probes;
};

/* ---- the schema ---- */

static const json_t *resolved(const struct walk *walk, const json_t *schema)
{
    const char *ref;

    while ((ref = json_string_value(json_object_get(schema, "$ref")))) {
        const json_t *definitions = json_object_get(walk->schema, "definitions");

        assert_int_equal(strncmp(ref, "#/definitions/", 14), 0);
        schema = json_object_get(definitions, ref + 14);
        if (!schema)
            fail_msg("the schema has no %s", ref);
    }
    return schema;
}

static bool has_type(const json_t *schema, const char *type)
{
    const char *text = json_string_value(json_object_get(schema, "type"));

    return text && strcmp(text, type) == 0;
}

static const json_t *branches(const json_t *schema)
{
    const json_t *list = json_object_get(schema, "anyOf");

    list = list ? list : json_object_get(schema, "oneOf");
    /* Those of maps tell which keys go together, not which types there are. */
    return json_object_get(schema, "properties") ? NULL : list;
}

static json_t *sample(const struct walk *walk, const json_t *schema);

static void sample_required(const struct walk *walk, const json_t *schema, const json_t *names,
                            json_t *value)
{
    const json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        const char *key = json_string_value(name);
        const json_t *inner = json_object_get(json_object_get(schema, "properties"), key);

        if (!inner)
            fail_msg("the schema requires %s and does not know it", key);
        if (!json_object_get(value, key))
            assert_int_equal(json_object_set_new(value, key, sample(walk, inner)), 0);
    }
}

/* The keys that must be there: those of the schema, and of the first of its choices. */
static json_t *sample_map(const struct walk *walk, const json_t *schema)
{
    json_t *value = json_object();
    const json_t *choice = json_array_get(json_object_get(schema, "oneOf"), 0);

    if (!choice)
        choice = json_array_get(json_object_get(schema, "anyOf"), 0);
    sample_required(walk, schema, json_object_get(schema, "required"), value);
    sample_required(walk, schema, json_object_get(choice, "required"), value);
    return value;
}

/* sample - a value that fits the schema */
static json_t *sample(const struct walk *walk, const json_t *schema)
{
    const json_t *example = json_array_get(json_object_get(schema, "examples"), 0);

    if (!example) {
        schema = resolved(walk, schema);
        example = json_array_get(json_object_get(schema, "examples"), 0);
    }
    if (!example)
        example = json_object_get(schema, "const");
    if (!example)
        example = json_array_get(json_object_get(schema, "enum"), 0);
    if (!example)
        example = json_object_get(schema, "minimum");
    if (example)
        return json_deep_copy(example);
    if (branches(schema))
        return sample(walk, json_array_get(branches(schema), 0));
    if (has_type(schema, "object"))
        return sample_map(walk, schema);
    if (has_type(schema, "array")) {
        json_t *list = json_array();

        if (json_integer_value(json_object_get(schema, "minItems")) > 0)
            assert_int_equal(
                json_array_append_new(list, sample(walk, json_object_get(schema, "items"))), 0);
        return list;
    }
    if (has_type(schema, "boolean"))
        return json_true();
    if (has_type(schema, "number"))
        return json_integer(1);
    if (has_type(schema, "null"))
        return json_null();
    fail_msg("no example for %s", json_dumps(schema, JSON_COMPACT));
    return NULL;
}

/* Of keys that exclude each other @key stays. */
static void choose(const json_t *schema, const char *key, json_t *around)
{
    const json_t *choices = json_object_get(schema, "oneOf");
    const json_t *choice;
    bool is_one = false;
    size_t i;

    for (int round = 0; key && round < 2 && (round == 0 || is_one); round++) {
        json_array_foreach(choices, i, choice)
        {
            const char *name =
                json_string_value(json_array_get(json_object_get(choice, "required"), 0));

            if (strcmp(name, key) == 0)
                is_one = true;
            else if (round == 1)
                (void)json_object_del(around, name);
        }
    }
}

/* What must stand beside @key, after the schema's dependencies. */
static void sample_beside(const struct walk *walk, const json_t *schema, const char *key,
                          json_t *around)
{
    const json_t *need = json_object_get(json_object_get(schema, "dependencies"), key);
    const json_t *inner;
    const char *name;

    if (json_is_array(need))
        sample_required(walk, schema, need, around);
    sample_required(walk, schema, json_object_get(need, "required"), around);
    sample_required(walk, schema,
                    json_object_get(json_array_get(json_object_get(need, "anyOf"), 0), "required"),
                    around);
    json_object_foreach(json_object_get((json_t *)need, "properties"), name, inner)
    {
        if (json_object_get(inner, "const"))
            assert_int_equal(json_object_set(around, name, json_object_get(inner, "const")), 0);
    }
    choose(schema, key, around);
    choose(schema, json_string_value(json_array_get(need, 0)), around);
}

/* ---- the parser ---- */

static int read_nothing(void *ctx, const char *path, struct nj_buf *out, struct nj_error *err)
{
    (void)ctx;
    (void)path;
    return nj_buf_text(out, "{}", err);
}

static const char *any_variable(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return "value";
}

static void path_of(const struct place *place, char out[PATH_ROOM])
{
    char head[PATH_ROOM] = "";

    out[0] = '\0';
    if (!place)
        return;
    path_of(place->up, head);
    if (place->key)
        (void)snprintf(out, PATH_ROOM, "%.400s%s%s", head, *head ? "." : "", place->key);
    else
        (void)snprintf(out, PATH_ROOM, "%.400s[%zu]", head, place->index);
}

static json_t *manifest_with(const struct place *place, json_t *value)
{
    for (; place; place = place->up) {
        json_t *around = json_deep_copy(place->around);

        if (place->key)
            assert_int_equal(json_object_set_new(around, place->key, value), 0);
        else
            assert_int_equal(json_array_set_new(around, place->index, value), 0);
        value = around;
    }
    return value;
}

/* Parses a manifest with @value (taken) at @place. */
static void parse_with(struct walk *walk, const struct place *place, json_t *value,
                       struct nj_manifest_faults *faults)
{
    static const struct nj_manifest_options options = {.read = read_nothing, .env = any_variable};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    struct nj_error err = {0};
    json_t *whole = manifest_with(place, value);
    char *text = json_dumps(whole, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
    int r;

    assert_non_null(text);
    walk->probes++;
    r = nj_manifest_parse_job(nj_span_text(text), "job.json", &options, &manifest, faults, &err);
    assert_int_equal(r<0, faults->count> 0);
    free(text);
    json_decref(whole);
}

/* The fault at @place or below it, "" without one. */
static const char *fault_at(const struct nj_manifest_faults *faults, const struct place *place)
{
    char path[PATH_ROOM];

    path_of(place, path);
    for (size_t i = 0; i < faults->count; i++) {
        const char *at = faults->items[i].path;
        size_t len = strlen(path);

        if (strncmp(at, path, len) == 0 && (!at[len] || strchr(".[", at[len]) || len == 0))
            return faults->items[i].text;
    }
    return "";
}

static void must_say(struct walk *walk, const struct place *place, json_t *value, const char *what)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    char path[PATH_ROOM];

    parse_with(walk, place, value, &faults);
    if (strstr(fault_at(&faults, place), what))
        return;
    path_of(place, path);
    fail_msg("%s: the schema means \"%s\", the parser says \"%s\"", path, what,
             fault_at(&faults, place));
}

static void must_take(struct walk *walk, const struct place *place, json_t *value)
{
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    char path[PATH_ROOM];

    parse_with(walk, place, value, &faults);
    path_of(place, path);
    if (*fault_at(&faults, place))
        fail_msg("%s: the parser does not take the schema's example: %s", path,
                 fault_at(&faults, place));
}

/* ---- probes ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_words(char *list, char out[PATH_ROOM])
{
    char *words[64];
    size_t n = 0;

    for (char *rest = NULL, *word = strtok_r(list, ", ", &rest); word && n < 64;
         word = strtok_r(NULL, ", ", &rest))
        words[n++] = word;
    qsort(words, n, sizeof(*words), by_text);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        (void)snprintf(out + strlen(out), PATH_ROOM - strlen(out), "%s ", words[i]);
}

/* The parser names the same words as the schema when it meets one that it does not know. */
static void same_words(struct walk *walk, const struct place *place, json_t *value, char *ours)
{
    static const char known[] = "known here: ";
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    char theirs[PATH_ROOM];
    char sorted[2][PATH_ROOM];
    char path[PATH_ROOM];
    const char *found;

    parse_with(walk, place, value, &faults);
    path_of(place, path);
    found = strstr(fault_at(&faults, place), known);
    if (!found)
        fail_msg("%s: the parser does not tell what it knows: %s", path, fault_at(&faults, place));
    (void)snprintf(theirs, sizeof(theirs), "%s", found + strlen(known));
    sort_words(theirs, sorted[0]);
    sort_words(ours, sorted[1]);
    if (strcmp(sorted[0], sorted[1]) != 0)
        fail_msg("%s\nthe parser knows: %s\nthe schema knows: %s", path, sorted[0], sorted[1]);
}

static void probe_keys(struct walk *walk, const struct place *place, const json_t *schema,
                       const json_t *around)
{
    json_t *value = json_deep_copy(around);
    char ours[PATH_ROOM] = "";
    const json_t *inner;
    const char *name;

    json_object_foreach(json_object_get((json_t *)schema, "properties"), name, inner)(void)
        snprintf(ours + strlen(ours), sizeof(ours) - strlen(ours), "%s, ", name);
    assert_int_equal(json_object_set_new(value, NOTHING, json_true()), 0);
    same_words(walk, place, value, ours);
}

static void probe_words(struct walk *walk, const struct place *place, const json_t *words)
{
    char ours[PATH_ROOM] = "";
    const json_t *word;
    size_t i;

    json_array_foreach(words, i, word)
    {
        (void)snprintf(ours + strlen(ours), sizeof(ours) - strlen(ours), "%s, ",
                       json_string_value(word));
        must_take(walk, place, json_deep_copy(word));
    }
    same_words(walk, place, json_string(NOTHING), ours);
}

static void put_number(const json_t *number, char out[64])
{
    if (json_is_integer(number))
        (void)snprintf(out, 64, "%lld", json_integer_value(number));
    else
        (void)snprintf(out, 64, "%.6f", json_number_value(number));
    if (strchr(out, '.'))
        while (out[strlen(out) - 1] == '0')
            out[strlen(out) - 1] = '\0';
}

static void probe_number(struct walk *walk, const struct place *place, const json_t *schema,
                         const char *what, bool alone)
{
    const json_t *least = json_object_get(schema, "minimum");
    const json_t *most = json_object_get(schema, "maximum");
    char words[256];
    char from[64];
    char to[64];

    if (!least || !most) {
        must_say(walk, place, json_string("text"), "expected a number");
        return;
    }
    if (json_is_integer(least)) /* jansson writes 0.000001 with an exponent, which is refused */
        must_take(walk, place, json_deep_copy(least));
    must_take(walk, place, json_deep_copy(most));
    put_number(least, from);
    put_number(most, to);
    (void)snprintf(words, sizeof(words), "%s from %s to %s", what, from, to);
    if (alone)
        must_say(walk, place, json_integer(-1), words);
    else
        must_say(walk, place, json_real(json_number_value(most) + 0.5), "");
}

static void probe_text(struct walk *walk, const struct place *place, const json_t *schema)
{
    must_say(walk, place, json_integer(5), " 5;"); /* "found 5; quotes...", "unknown agent 5;..." */
    if (json_object_get(schema, "pattern"))
        must_say(walk, place, json_string("\x01 no pattern allows this"), "");
    if (json_integer_value(json_object_get(schema, "minLength")) > 0)
        must_say(walk, place, json_string(""), "");
}

static void probe_count(struct walk *walk, const struct place *place, const json_t *schema,
                        bool alone)
{
    json_int_t least = json_integer_value(json_object_get(schema, "minItems"));
    json_int_t most = json_integer_value(json_object_get(schema, "maxItems"));
    json_t *many = json_array();
    char words[64];

    if (alone)
        must_say(walk, place, json_string("text"), "expected a list");
    if (most == 0)
        fail_msg("the schema has no maxItems here: %s", json_dumps(schema, JSON_COMPACT));
    for (json_int_t i = 0; i <= most; i++)
        assert_int_equal(
            json_array_append_new(many, sample(walk, json_object_get(schema, "items"))), 0);
    (void)snprintf(words, sizeof(words), "at most %lld item", most);
    must_say(walk, place, many, words);
    if (least > 0)
        must_say(walk, place, json_array(), "at least 1 item");
}

static void probe_names(struct walk *walk, const struct place *place, const json_t *schema)
{
    json_int_t least = json_integer_value(json_object_get(schema, "minProperties"));
    json_int_t most = json_integer_value(json_object_get(schema, "maxProperties"));
    json_t *many = json_object();
    char words[64];

    for (json_int_t i = 0; i <= most; i++) {
        (void)snprintf(words, sizeof(words), "name%lld", i);
        assert_int_equal(
            json_object_set_new(many, words,
                                sample(walk, json_object_get(schema, "additionalProperties"))),
            0);
    }
    (void)snprintf(words, sizeof(words), "at most %lld entr", most);
    must_say(walk, place, many, words);
    if (least > 0)
        must_say(walk, place, json_object(), "at least 1 entr");
    if (json_object_get(schema, "propertyNames"))
        must_say(walk, place,
                 json_pack("{s:o}", "a b!",
                           sample(walk, json_object_get(schema, "additionalProperties"))),
                 "");
}

/* ---- the walk ---- */

static void visit(struct walk *walk, const struct place *place, const json_t *schema, bool alone);

/* The types of tools are one closed set, though each has keys of its own. */
static void probe_types(struct walk *walk, const struct place *place, const json_t *choices)
{
    char ours[PATH_ROOM] = "";
    const json_t *choice;
    size_t i;

    json_array_foreach(choices, i, choice)
    {
        const json_t *properties = json_object_get(resolved(walk, choice), "properties");
        const char *word =
            json_string_value(json_object_get(json_object_get(properties, "type"), "const"));

        if (!word)
            return;
        (void)snprintf(ours + strlen(ours), sizeof(ours) - strlen(ours), "%s, ", word);
    }
    same_words(walk, place, json_pack("{s:s}", "type", NOTHING), ours);
}

static void visit_map(struct walk *walk, const struct place *place, const json_t *schema,
                      const json_t *around)
{
    const json_t *inner;
    const char *name;

    probe_keys(walk, place, schema, around);
    json_object_foreach(json_object_get((json_t *)schema, "properties"), name, inner)
    {
        json_t *beside = json_deep_copy(around);
        struct place at = {.up = place, .around = beside, .key = name};

        assert_int_equal(json_object_set_new(beside, name, sample(walk, inner)), 0);
        sample_beside(walk, schema, name, beside);
        visit(walk, &at, inner, true);
        json_decref(beside);
    }
}

static void visit_list(struct walk *walk, const struct place *place, const json_t *schema,
                       bool alone)
{
    json_t *around = sample(walk, schema);
    struct place at = {.up = place, .around = around};

    probe_count(walk, place, schema, alone);
    if (json_array_size(around) == 0)
        assert_int_equal(
            json_array_append_new(around, sample(walk, json_object_get(schema, "items"))), 0);
    at.index = json_array_size(around) - 1;
    visit(walk, &at, json_object_get(schema, "items"), true);
    json_decref(around);
}

static void visit_names(struct walk *walk, const struct place *place, const json_t *schema,
                        json_t *around)
{
    const json_t *inner = json_object_get(schema, "additionalProperties");
    struct place at = {.up = place, .around = around};
    const json_t *value;
    const char *name;

    probe_names(walk, place, schema);
    json_object_foreach(around, name, value) at.key =
        name; /* the last one: what stands before it may be named by it */
    assert_non_null(at.key);
    visit(walk, &at, inner, true);
}

/* @alone: no other type fits at this place, so that the parser names this one */
static void visit(struct walk *walk, const struct place *place, const json_t *schema, bool alone)
{
    json_t *value = sample(walk, schema);
    const json_t *choices;
    const json_t *choice;
    size_t i;

    schema = resolved(walk, schema);
    choices = branches(schema);
    walk->places++;
    must_take(walk, place, json_deep_copy(value));
    if (choices)
        probe_types(walk, place, choices);
    json_array_foreach(choices, i, choice) visit(walk, place, choice, false);
    if (json_object_get(schema, "enum"))
        probe_words(walk, place, json_object_get(schema, "enum"));
    else if (has_type(schema, "integer"))
        probe_number(walk, place, schema, "a whole number", alone);
    else if (has_type(schema, "number"))
        probe_number(walk, place, schema, "a number", alone);
    else if (has_type(schema, "boolean"))
        must_say(walk, place, json_string("text"), "expected true or false");
    else if (has_type(schema, "string") && alone)
        probe_text(walk, place, schema);
    else if (has_type(schema, "array"))
        visit_list(walk, place, schema, alone);
    else if (has_type(schema, "object") && alone)
        must_say(walk, place, json_string("text"), "a map");
    if (json_object_get(schema, "properties"))
        visit_map(walk, place, schema, value);
    else if (json_is_object(json_object_get(schema, "additionalProperties")))
        visit_names(walk, place, schema, value);
    json_decref(value);
}

static void the_schema_and_the_parser_say_the_same(void **state)
{
    struct walk walk = {0};
    struct nj_span text = nj_manifest_schema();
    json_error_t error;

    (void)state;
    walk.schema = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!walk.schema)
        fail_msg("line %d: %s", error.line, error.text);
    visit(&walk, NULL, walk.schema, true);
    assert_true(walk.places > 250);
    print_message("%zu places, %zu manifests\n", walk.places, walk.probes);
    json_decref(walk.schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_and_the_parser_say_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
