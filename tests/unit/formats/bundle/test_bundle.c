/*
 * test_bundle.c - bundles: what goes in comes out, the same bytes everywhere, readable with common tools
 */
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/lib/bundle_kit.h"

#include "formats/base/banned.h"

static void what_goes_in_comes_out(void **state)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    nj_auto_close int fd = kit_bundle();
    const struct nj_bundle_info *info;
    struct nj_object_source objects, inputs;
    struct nj_error err = {0};
    struct nj_digest digest;
    int r;

    (void)state;
    nj_buf_init(&out, 1u << 20);
    r = nj_bundle_open(fd, "small.njb", 0, &bundle, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    info = nj_bundle_info(bundle);
    assert_string_equal(info->key, KIT_KEY);
    assert_string_equal(info->environment, "{\"kernel\":\"6.1\",\"python\":\"3.11\"}");
    assert_int_equal(info->frames, KIT_FRAMES);
    assert_int_equal(info->status, NJ_STATUS_SUCCEEDED);
    assert_true(info->inputs_embedded);
    assert_true(nj_span_is(nj_bundle_manifest(bundle), KIT_MANIFEST));
    assert_null(nj_bundle_damage(bundle));
    for (uint64_t sequence = 1; sequence <= KIT_FRAMES; sequence++) {
        NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
        struct nj_frame frame, there = kit_frame(sequence, &expected);

        nj_buf_clear(&out);
        assert_int_equal(nj_bundle_frame(bundle, sequence, &out, &frame, &err), 0);
        assert_int_equal(frame.kind, there.kind);
        assert_int_equal(frame.sequence, sequence);
        assert_true(nj_span_equal(frame.payload, there.payload));
    }
    objects = nj_bundle_objects(bundle);
    inputs = nj_bundle_inputs(bundle);
    for (unsigned n = 0; n < KIT_OBJECTS; n++) {
        nj_digest_bytes(kit_object_text(n), strlen(kit_object_text(n)), &digest);
        nj_buf_clear(&out);
        assert_int_equal(objects.get(objects.ctx, &digest, &out, &err), 0);
        assert_true(nj_span_is(nj_buf_span(&out), kit_object_text(n)));
    }
    nj_digest_bytes(KIT_INPUT, strlen(KIT_INPUT), &digest);
    nj_buf_clear(&out);
    assert_int_equal(inputs.get(inputs.ctx, &digest, &out, &err), 0);
    assert_true(nj_span_is(nj_buf_span(&out), KIT_INPUT));
    assert_int_equal(objects.get(objects.ctx, &digest, &out, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_bundle_frame(bundle, 0, &out, &(struct nj_frame){0}, &err), -NJ_E_INPUT);
    assert_int_equal(nj_bundle_frame(bundle, KIT_FRAMES + 1, &out, &(struct nj_frame){0}, &err),
                     -NJ_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
