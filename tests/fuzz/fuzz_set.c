/*
 * fuzz_set.c - a manifest changed by --set, includes and variables
 *
 * The input is a PATH=VALUE, a zero byte, and a manifest that may include "a" (which is the VALUE).
 * A PATH behind "@" comes with --only.
 * Property: what is taken dumps, and the dump, alone, is read as the same job.
 */
#include <stdlib.h>

#include "formats/manifest/manifest.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int read_part(void *ctx, const char *path, struct nj_buf *out, struct nj_error *err)
{
    const char *value = strchr(ctx, '=');

    if (strcmp(path, "a") != 0 || !value)
        return nj_fail(err, NJ_E_INPUT, "%s: no such file", path);
    return nj_buf_text(out, value + 1, err);
}

static const char *variable(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "A") == 0 ? "value of A" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, '\0', size) : NULL;
    nj_auto_free char *assignment = zero ? strdup((const char *)data) : NULL;
    bool is_only = assignment && assignment[0] == '@';
    const char *sets[] = {is_only ? assignment + 1 : assignment, NULL};
    const char *only[] = {"g", NULL};
    struct nj_manifest_options options = {.read = read_part,
                                          .env = variable,
                                          .ctx = assignment,
                                          .sets = sets,
                                          .only = is_only ? only : NULL};
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    NJ_AUTO(nj_manifest_free) struct nj_manifest *again = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    struct nj_error err = {0};

    if (!assignment)
        return 0;
    size -= (size_t)(zero - data) + 1;
    if (nj_manifest_parse_job((struct nj_span){zero + 1, size}, "job.yaml", &options, &manifest,
                              &faults, &err) < 0) {
        must(err.code == NJ_E_INPUT && faults.count > 0);
        return 0;
    }
    nj_buf_init(&first, 64u << 20);
    nj_buf_init(&second, 64u << 20);
    must(manifest->assembled);
    must(nj_manifest_dump(manifest, &first, &err) == 0);
    if (first.len > NJ_MANIFEST_MAX_BYTES)
        return 0;
    must(nj_manifest_parse(nj_buf_span(&first), "dump", &again, &faults, &err) == 0);
    must(nj_manifest_dump(again, &second, &err) == 0);
    must(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
    return 0;
}
