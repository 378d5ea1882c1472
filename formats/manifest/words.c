/*
 * words.c - the closed sets of words, each written once
 */
#include "formats/manifest/read.h"

#include "formats/base/banned.h"

#define X(name, text) text,
const char *const nj_manifest_providers[] = {NJ_MANIFEST_PROVIDERS(X)};
const char *const nj_manifest_tool_types[] = {NJ_MANIFEST_TOOL_TYPES(X)};
#undef X

const char *const nj_manifest_deliveries[] = {"live", "batch"};
const char *const nj_manifest_caches[] = {"off", "5m", "1h"};
const char *const nj_manifest_token_parameters[] = {"max_tokens", "max_completion_tokens"};
const char *const nj_manifest_contexts[] = {"fail", "compact"};
const char *const nj_manifest_levels[] = {"D0", "D1", "D2", "D3"};
const char *const nj_manifest_effects[] = {"none", "workspace", "outside"};
const char *const nj_manifest_uncertains[] = {"ask", "fail", "repeat"};
const char *const nj_manifest_input_modes[] = {"embed", "reference"};
const char *const nj_manifest_for_each_kinds[] = {"", "glob", "lines", "csv", "values", "matrix"};
const char *const nj_manifest_tests[] = {"is",    "not",      "matches", "exists",
                                         "above", "at_least", "below",   "at_most"};

#define X(name, bit, text) {text, bit},
const struct nj_manifest_word nj_manifest_causes[] = {NJ_MANIFEST_CAUSES(X)};
const struct nj_manifest_word nj_manifest_languages[] = {NJ_MANIFEST_LANGUAGES(X)};
const struct nj_manifest_word nj_manifest_retries[] = {NJ_MANIFEST_RETRY_ON(X)};
const struct nj_manifest_word nj_manifest_alert_words[] = {NJ_MANIFEST_ALERTS(X)};
#undef X

const char *nj_manifest_provider_text(enum nj_manifest_provider provider)
{
    return nj_manifest_providers[provider];
}

const char *nj_manifest_tool_type_text(enum nj_manifest_tool_type type)
{
    return nj_manifest_tool_types[type];
}

const char *nj_manifest_language_text(enum nj_manifest_language language)
{
    for (size_t i = 0; i < NJ_COUNT(nj_manifest_languages); i++) {
        if (nj_manifest_languages[i].bit == language)
            return nj_manifest_languages[i].text;
    }
    return "";
}
