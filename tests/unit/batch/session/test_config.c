/*
 * test_config.c - a session's config: one canonical map, read back as it was, refused where it is
 * not whole
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/session/config.h"

#include "formats/base/banned.h"

static const struct nj_config_tool full_tools[] = {
    {.type = "code_execution", .name = "run", .languages = 3, .timeout_ms = 60000},
    {.type = "mcp", .name = "data", .languages = 0, .timeout_ms = 1},
};
static const struct nj_config_rootfs full_rootfs = {
    .is_tar = true, .input = {{{5}}, {{6}}}, .digest = {{7}}};

static const struct nj_config_mount full_mounts[] = {
    {.target = "/config", .input = {.tree = {{1}}, .stamps = {{2}}}},
    {.target = "/data", .input = {.tree = {{3}}, .stamps = {{4}}}},
};
static const char *const full_writable[] = {"/workspace", "/tmp"};
static const char *const full_read_only[] = {"/workspace/in"};
static const char *const full_accept[] = {"python3", "/config/check.py", ""};
static const char *const full_outputs[] = {"/workspace/out/**"};

static struct nj_session_config full(void)
{
    return (struct nj_session_config){
        .key = "inv-\xc3\xa9",
        .group = "invoices",
        .agent = "worker",
        .role = "model",
        .instructions = "Extract.\nWrite.",
        .reproducible = "D2",
        .layer = 2,
        .turns_max = 100,
        .tools = full_tools,
        .n_tools = 2,
        .writable_paths = full_writable,
        .n_writable_paths = 2,
        .read_only_paths = full_read_only,
        .n_read_only_paths = 1,
        .mounts = full_mounts,
        .n_mounts = 2,
        .rootfs = &full_rootfs,
        .max_size_bytes = 1u << 29,
        .max_memory_bytes = UINT64_C(1) << 31,
        .max_processes = 256,
        .max_cpu_micro = 1500000,
        .max_runtime_ms = 3600000,
        .accept_command = full_accept,
        .n_accept_command = 3,
        .accept_attempts = 3,
        .accept_timeout_ms = 60000,
        .outputs = full_outputs,
        .n_outputs = 1,
        .budget_micro_usd = -1,
    };
}

static struct nj_session_config bare(void)
{
    return (struct nj_session_config){.key = "k",
                                      .group = "",
                                      .agent = "a",
                                      .role = "r",
                                      .instructions = "",
                                      .reproducible = "D0",
                                      .budget_micro_usd = INT64_MAX};
}

static void encode(const struct nj_session_config *config, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, NJ_CONFIG_MAX_BYTES);
    if (nj_config_encode(config, out, &err) < 0)
        fail_msg("%s", err.text);
}

static void a_config_comes_back_as_it_was(void **state)
{
    struct nj_session_config configs[2];

    (void)state;
    configs[0] = full();
    configs[1] = bare();
    for (size_t i = 0; i < 2; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf once = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf twice = {0};
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_session_config *back = NULL;
        struct nj_error err = {0};

        encode(&configs[i], &once);
        assert_int_equal(nj_config_decode(nj_buf_span(&once), &arena, &back, &err), 0);
        encode(back, &twice);
        assert_true(nj_span_equal(nj_buf_span(&once), nj_buf_span(&twice)));
    }
}

static void every_field_is_read_and_copied(void **state)
{
    struct nj_session_config config = full();
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_session_config *back = NULL;
    struct nj_error err = {0};

    (void)state;
    encode(&config, &packed);
    assert_int_equal(nj_config_decode(nj_buf_span(&packed), &arena, &back, &err), 0);
    memset(packed.data, 0xff, packed.len); /* nothing may point into it */
    assert_string_equal(back->key, "inv-\xc3\xa9");
    assert_string_equal(back->group, "invoices");
    assert_string_equal(back->agent, "worker");
    assert_string_equal(back->role, "model");
    assert_string_equal(back->instructions, "Extract.\nWrite.");
    assert_string_equal(back->reproducible, "D2");
    assert_int_equal(back->layer, 2);
    assert_int_equal(back->turns_max, 100);
    assert_int_equal(back->n_tools, 2);
    assert_string_equal(back->tools[1].type, "mcp");
    assert_string_equal(back->tools[0].name, "run");
    assert_int_equal(back->tools[0].languages, 3);
    assert_int_equal(back->tools[0].timeout_ms, 60000);
    assert_int_equal(back->n_writable_paths, 2);
    assert_string_equal(back->writable_paths[1], "/tmp");
    assert_null(back->writable_paths[2]); /* usable as argv */
    assert_int_equal(back->n_read_only_paths, 1);
    assert_string_equal(back->read_only_paths[0], "/workspace/in");
    assert_int_equal(back->n_mounts, 2);
    assert_string_equal(back->mounts[1].target, "/data");
    assert_int_equal(back->mounts[1].input.tree.bytes[0], 3);
    assert_int_equal(back->mounts[1].input.stamps.bytes[0], 4);
    assert_true(back->rootfs->is_tar);
    assert_memory_equal(back->rootfs, &full_rootfs, sizeof(full_rootfs));
    assert_int_equal(back->max_size_bytes, 1u << 29);
    assert_true(back->max_memory_bytes == UINT64_C(1) << 31);
    assert_int_equal(back->max_processes, 256);
    assert_int_equal(back->max_cpu_micro, 1500000);
    assert_int_equal(back->max_runtime_ms, 3600000);
    assert_int_equal(back->n_accept_command, 3);
    assert_string_equal(back->accept_command[2], "");
    assert_int_equal(back->accept_attempts, 3);
    assert_int_equal(back->accept_timeout_ms, 60000);
    assert_int_equal(back->n_outputs, 1);
    assert_string_equal(back->outputs[0], "/workspace/out/**");
    assert_true(back->budget_micro_usd == -1);
}

static void a_tool_is_found_by_its_name(void **state)
{
    struct nj_session_config config = full();

    (void)state;
    assert_ptr_equal(nj_config_tool(&config, "data"), &full_tools[1]);
    assert_null(nj_config_tool(&config, "mcp")); /* its type is not its name */
}

static void a_text_that_is_not_utf8_cannot_become_a_config(void **state)
{
    struct nj_session_config config = bare();
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    (void)state;
    config.key = "\xff";
    nj_buf_init(&out, NJ_CONFIG_MAX_BYTES);
    assert_int_equal(nj_config_encode(&config, &out, &err), -NJ_E_INPUT);
}

static void every_cut_config_is_refused(void **state)
{
    struct nj_session_config config = full();
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};

    (void)state;
    encode(&config, &packed);
    for (size_t len = 0; len < packed.len; len++) {
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_session_config *back = NULL;
        struct nj_error err = {0};

        assert_int_equal(nj_config_decode((struct nj_span){packed.data, len}, &arena, &back, &err),
                         -NJ_E_CORRUPT);
        assert_null(back);
    }
}

/* Replaces the first @from in the packed config by @to of the same length, and says how decoding
 * ends. */
static void check_damage(const char *from, const char *to, size_t len, int expected,
                         const char *why)
{
    struct nj_session_config config = full();
    NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_session_config *back = NULL;
    struct nj_error err = {0};
    uint8_t *at;

    encode(&config, &packed);
    at = memmem(packed.data, packed.len, from, len);
    assert_non_null(at);
    memcpy(at, to, len);
    assert_int_equal(nj_config_decode(nj_buf_span(&packed), &arena, &back, &err), expected);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

#define DAMAGE(from, to, expected, why) check_damage(from, to, sizeof(from) - 1, expected, why)

static void damage_is_named(void **state)
{
    (void)state;
    DAMAGE("\xa1v\0", "\xa1v\x01", -NJ_E_VERSION, "format 1, this build reads up to 0");
    DAMAGE("/workspace/in", "/workspace\0in", -NJ_E_CORRUPT, "NUL");
    DAMAGE("worker", "work\0r", -NJ_E_CORRUPT, "NUL");
    DAMAGE("max_processes", "max_processez", -NJ_E_CORRUPT, "max_processes");
    DAMAGE("budget_micro_usd\xff", "budget_micro_usd\xc0", -NJ_E_CORRUPT, "budget_micro_usd");
    DAMAGE("tools\x92", "tools\x82", -NJ_E_CORRUPT, "config");
    DAMAGE("\xa6mounts", "\xa6mountz", -NJ_E_CORRUPT, "mounts");
    DAMAGE("\xa6is_tar", "\xa6is_tax", -NJ_E_CORRUPT, "is_tar");
}

static void a_config_above_its_cap_is_refused_before_anything_is_allocated(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_session_config *back = NULL;
    struct nj_error err = {0};

    (void)state;
    /* The bytes are never looked at, so their length may lie. */
    assert_int_equal(
        nj_config_decode((struct nj_span){(const uint8_t *)"", NJ_CONFIG_MAX_BYTES + 1}, &arena,
                         &back, &err),
        -NJ_E_LIMIT);
}

static void a_list_above_its_cap_is_refused(void **state)
{
    struct nj_session_config config = bare();
    static const char *paths[NJ_CONFIG_LIST_MAX + 1];

    (void)state;
    for (size_t i = 0; i <= NJ_CONFIG_LIST_MAX; i++)
        paths[i] = "/x";
    config.outputs = paths;
    for (size_t n = NJ_CONFIG_LIST_MAX; n <= NJ_CONFIG_LIST_MAX + 1; n++) {
        NJ_AUTO(nj_buf_done) struct nj_buf packed = {0};
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_session_config *back = NULL;
        struct nj_error err = {0};

        config.n_outputs = n;
        encode(&config, &packed);
        assert_int_equal(nj_config_decode(nj_buf_span(&packed), &arena, &back, &err),
                         n <= NJ_CONFIG_LIST_MAX ? 0 : -NJ_E_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_comes_back_as_it_was),
        cmocka_unit_test(every_field_is_read_and_copied),
        cmocka_unit_test(a_tool_is_found_by_its_name),
        cmocka_unit_test(a_text_that_is_not_utf8_cannot_become_a_config),
        cmocka_unit_test(every_cut_config_is_refused),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(a_config_above_its_cap_is_refused_before_anything_is_allocated),
        cmocka_unit_test(a_list_above_its_cap_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
