/*
 * info.c - nightjar.json, read under suspicion
 *
 * jansson bounds the depth and refuses duplicate keys and NUL characters; types and values are
 * judged here. Format and version come first, so that a newer bundle is told from a damaged one.
 */
#include <jansson.h>

#include "formats/bundle/inside.h"

#include "formats/base/banned.h"

static void json_free(json_t *object)
{
    json_decref(object);
}
NJ_DEFINE_AUTO_PTR(json_t, json_free);

static int get_text(const json_t *object, const char *key, struct nj_arena *arena,
                    const char **ret_text, struct nj_error *err)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text)
        return nj_fail(err, NJ_E_CORRUPT, "%s is missing or not a string", key);
    *ret_text = nj_arena_text(arena, text);
    return *ret_text ? 0 : nj_fail_nomem(err);
}

static int get_digest(const json_t *object, const char *key, struct nj_digest *ret_digest,
                      struct nj_error *err)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text || !nj_digest_parse(nj_span_text(text), ret_digest))
        return nj_fail(err, NJ_E_CORRUPT, "%s is not a SHA-256 in hexadecimal", key);
    return 0;
}

static int get_status(const json_t *object, enum nj_status *ret_status, struct nj_error *err)
{
    const char *text = json_string_value(json_object_get(object, "status"));

    for (int status = NJ_STATUS_SUCCEEDED; text && status <= NJ_STATUS_SKIPPED; status++) {
        if (strcmp(text, nj_status_text((enum nj_status)status)) == 0) {
            *ret_status = (enum nj_status)status;
            return 0;
        }
    }
    return nj_fail(err, NJ_E_CORRUPT, "status is not one of succeeded, failed, suspended, skipped");
}

static int get_environment(const json_t *object, struct nj_arena *arena, const char **ret_text,
                           struct nj_error *err)
{
    const json_t *value = json_object_get(object, "environment");
    nj_auto_free char *text = NULL;

    if (!json_is_object(value))
        return nj_fail(err, NJ_E_CORRUPT, "environment is missing or not an object");
    text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return nj_fail_nomem(err);
    *ret_text = nj_arena_text(arena, text);
    return *ret_text ? 0 : nj_fail_nomem(err);
}

static int get_rest(const json_t *object, struct nj_arena *arena, struct nj_bundle_info *info,
                    struct nj_error *err)
{
    const json_t *frames = json_object_get(object, "frames");
    const json_t *embedded = json_object_get(object, "inputs_embedded");
    int r;

    r = get_digest(object, "identity", &info->identity, err);
    if (r == 0)
        r = get_digest(object, "record_digest", &info->digests.record, err);
    if (r == 0)
        r = get_digest(object, "content_digest", &info->digests.content, err);
    if (r == 0)
        r = get_status(object, &info->status, err);
    if (r == 0)
        r = get_environment(object, arena, &info->environment, err);
    if (r < 0)
        return r;
    if (!json_is_integer(frames) || json_integer_value(frames) < 0 ||
        json_integer_value(frames) > NJ_BUNDLE_FRAMES_MAX)
        return nj_fail(err, NJ_E_CORRUPT, "frames is not a number from 0 to %u",
                       NJ_BUNDLE_FRAMES_MAX);
    if (!json_is_boolean(embedded))
        return nj_fail(err, NJ_E_CORRUPT, "inputs_embedded is not true or false");
    info->frames = (uint64_t)json_integer_value(frames);
    info->inputs_embedded = json_is_true(embedded);
    if (strlen(info->reproducible) != 2 || info->reproducible[0] != 'D' ||
        info->reproducible[1] < '0' || info->reproducible[1] > '3')
        return nj_fail(err, NJ_E_CORRUPT, "reproducible is not one of D0, D1, D2, D3");
    return 0;
}

int nj_bundle_info_decode(struct nj_bundle *bundle, struct nj_span json, struct nj_error *err)
{
    NJ_AUTO(json_free) json_t *object = NULL;
    struct nj_bundle_info info = {0};
    const struct {
        const char *key;
        const char **ret_text;
    } texts[] = {
        {"agent", &info.agent}, {"group", &info.group}, {"job", &info.job},
        {"key", &info.key},     {"run", &info.run},     {"reproducible", &info.reproducible},
    };
    const char *format;
    const json_t *version, *requires;
    json_error_t fault;
    int r = 0;

    object = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &fault);
    if (!object)
        return nj_fail(err, NJ_E_CORRUPT, "line %d, column %d: %s", fault.line, fault.column,
                       fault.text);
    format = json_string_value(json_object_get(object, "format"));
    if (!format || strcmp(format, NJ_BUNDLE_FORMAT) != 0)
        return nj_fail(err, NJ_E_INPUT, "this is not a bundle: format is not \"%s\"",
                       NJ_BUNDLE_FORMAT);
    version = json_object_get(object, "version");
    if (!json_is_integer(version) || json_integer_value(version) < 0)
        return nj_fail(err, NJ_E_CORRUPT, "version is not a number");
    if (json_integer_value(version) > NJ_BUNDLE_VERSION)
        return nj_fail(err, NJ_E_VERSION, "bundle format %lld, this build reads up to %d",
                       (long long)json_integer_value(version), NJ_BUNDLE_VERSION);
    requires = json_object_get(object, "requires");
    if (requires && json_array_size(requires) > 0) {
        const char *feature = json_string_value(json_array_get(requires, 0));

        return nj_fail(err, NJ_E_VERSION, "needs the feature \"%.50s\", which this build has not",
                       feature ? feature : "?");
    }
    for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
        r = get_text(object, texts[i].key, &bundle->arena, texts[i].ret_text, err);
    if (r == 0)
        r = get_rest(object, &bundle->arena, &info, err);
    if (r < 0)
        return r;
    bundle->info = info;
    return 0;
}
