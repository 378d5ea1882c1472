/*
 * fuzz_manifest.c - any bytes as a manifest, as a tree turned to JSON, and as a template
 *
 * Properties: a manifest that was read is dumped, the dump is read, and its dump is the same bytes
 * and its identity parts are equal; JSON made from a tree is a tree again, with the same JSON; a
 * template that was checked can be expanded.
 */
#include <stdlib.h>

#include "formats/manifest/manifest.h"
#include "formats/manifest/template.h"
#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

#define OUT_MAX_BYTES (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool held)
{
    if (!held)
        abort();
}

/* Everything that goes into sessions' identities, one after the other. */
static void pack_all(const struct nj_manifest *manifest, struct nj_buf *out)
{
    struct nj_error err = {0};

    for (size_t i = 0; i < manifest->n_agents; i++)
        must(nj_manifest_pack_agent(manifest, i, out, &err) == 0);
    for (size_t i = 0; i < manifest->n_groups; i++)
        must(nj_manifest_pack_group(manifest, i, out, &err) == 0);
}

static void dumps_and_reads_back(const struct nj_manifest *manifest)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *again = NULL;
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    struct nj_error err = {0};

    nj_buf_init(&first, OUT_MAX_BYTES);
    nj_buf_init(&second, OUT_MAX_BYTES);
    must(nj_manifest_dump(manifest, &first, &err) == 0);
    if (first.len > NJ_MANIFEST_MAX_BYTES)
        return; /* defaults written out may exceed what is read */
    must(nj_manifest_parse(nj_buf_span(&first), "dump", &again, &faults, &err) == 0);
    must(nj_manifest_dump(again, &second, &err) == 0);
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
    nj_buf_clear(&first);
    nj_buf_clear(&second);
    pack_all(manifest, &first);
    pack_all(again, &second);
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
}

static void read_manifest(struct nj_span bytes)
{
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf lines = {0};
    struct nj_error err = {0};
    int r = nj_manifest_parse(bytes, "fuzz", &manifest, &faults, &err);

    nj_buf_init(&lines, OUT_MAX_BYTES);
    if (r == 0) {
        must(faults.count == 0);
        dumps_and_reads_back(manifest);
        r = nj_manifest_supported(manifest, &faults, &err);
    }
    must((r == 0) == (faults.count == 0));
    if (r < 0)
        must(err.code == NJ_E_INPUT &&
             nj_manifest_faults_print(&faults, "fuzz", &lines, &err) == 0);
}

/* The tree's JSON in @out; false where the bytes hold no clean tree or JSON cannot say it. */
static bool to_json(struct nj_span bytes, struct nj_buf *out)
{
    static const struct nj_yaml_limits limits = {
        .max_bytes = OUT_MAX_BYTES, .max_nodes = 10000, .max_depth = 24};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    struct nj_yaml_reader reader = {.arena = &arena, .faults = &faults};
    const struct nj_yaml_node *root = NULL;
    struct nj_error err = {0};

    must(nj_yaml_load(bytes, &limits, &reader, &root, &err) == 0);
    if (nj_yaml_end(&reader, "fuzz", &err) < 0)
        return false;
    return nj_yaml_to_json(root, out, &err) == 0;
}

/* YAML takes a few characters only escaped that JSON takes raw; such a text is left out. */
static bool has_odd_character(struct nj_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == 0x7f || text.data[i] == 0xc2 || text.data[i] == 0xef)
            return true;
    }
    return false;
}

static void json_reads_back(struct nj_span bytes)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};

    nj_buf_init(&first, OUT_MAX_BYTES);
    nj_buf_init(&second, OUT_MAX_BYTES);
    if (!to_json(bytes, &first) || has_odd_character(nj_buf_span(&first)))
        return;
    must(to_json(nj_buf_span(&first), &second));
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
}

static int put_name(void *ctx, const char *name, struct nj_buf *out, struct nj_error *err)
{
    (void)ctx;
    return nj_buf_text(out, name, err);
}

static void expand_template(struct nj_span bytes)
{
    static const char *const allowed[] = {"item.", "results", NULL};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    nj_auto_free char *text = nj_span_dup(bytes);
    int checked;

    must(text != NULL);
    nj_buf_init(&out, OUT_MAX_BYTES);
    checked = nj_template_check(text, allowed, &err);
    if (checked >= 0)
        must(nj_template_expand(text, put_name, NULL, &out, &err) == 0);
    if (checked > 0)
        must(nj_template_uses(text, "item.") || nj_template_uses(text, "results"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nj_span bytes = {data, size};

    read_manifest(bytes);
    json_reads_back(bytes);
    expand_template(bytes);
    return 0;
}
