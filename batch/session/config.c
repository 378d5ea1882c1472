/*
 * config.c - a session's birth certificate as one canonical map
 */
#include "batch/session/config.h"

#include "formats/base/banned.h"

static void pack_texts(struct nj_packer *packer, const char *key, const char *const *texts,
                       size_t n)
{
    nj_pack_text(packer, key);
    nj_pack_array(packer, n);
    for (size_t i = 0; i < n; i++)
        nj_pack_text(packer, texts[i]);
}

static void pack_mounts(struct nj_packer *packer, const struct nj_session_config *config)
{
    nj_pack_text(packer, "mounts");
    nj_pack_array(packer, config->n_mounts);
    for (size_t i = 0; i < config->n_mounts; i++) {
        nj_pack_map(packer, 3);
        nj_pack_put_digest(packer, "stamps", &config->mounts[i].input.stamps);
        nj_pack_put_text(packer, "target", config->mounts[i].target);
        nj_pack_put_digest(packer, "tree", &config->mounts[i].input.tree);
    }
}

static void pack_rootfs(struct nj_packer *packer, const struct nj_config_rootfs *rootfs)
{
    nj_pack_text(packer, "rootfs");
    nj_pack_map(packer, 4);
    nj_pack_put_digest(packer, "digest", &rootfs->digest);
    nj_pack_put_bool(packer, "is_tar", rootfs->is_tar);
    nj_pack_put_digest(packer, "stamps", &rootfs->input.stamps);
    nj_pack_put_digest(packer, "tree", &rootfs->input.tree);
}

static void pack_tools(struct nj_packer *packer, const struct nj_session_config *config)
{
    nj_pack_text(packer, "tools");
    nj_pack_array(packer, config->n_tools);
    for (size_t i = 0; i < config->n_tools; i++) {
        nj_pack_map(packer, 4);
        nj_pack_put_uint(packer, "languages", config->tools[i].languages);
        nj_pack_put_text(packer, "name", config->tools[i].name);
        nj_pack_put_uint(packer, "timeout_ms", config->tools[i].timeout_ms);
        nj_pack_put_text(packer, "type", config->tools[i].type);
    }
}

int nj_config_encode(const struct nj_session_config *config, struct nj_buf *out,
                     struct nj_error *err)
{
    struct nj_packer packer;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 21u + (config->compact_at_tokens > 0) + (config->layer > 0) +
                             (config->max_cpu_micro > 0) + (config->output_schema != NULL) +
                             (config->rootfs != NULL));
    nj_pack_put_uint(&packer, "accept_attempts", config->accept_attempts);
    pack_texts(&packer, "accept_command", config->accept_command, config->n_accept_command);
    nj_pack_put_uint(&packer, "accept_timeout_ms", config->accept_timeout_ms);
    nj_pack_put_text(&packer, "agent", config->agent);
    nj_pack_put_int(&packer, "budget_micro_usd", config->budget_micro_usd);
    if (config->compact_at_tokens)
        nj_pack_put_uint(&packer, "compact_at_tokens", config->compact_at_tokens);
    nj_pack_put_text(&packer, "group", config->group);
    nj_pack_put_text(&packer, "instructions", config->instructions);
    nj_pack_put_text(&packer, "key", config->key);
    if (config->layer)
        nj_pack_put_uint(&packer, "layer", config->layer);
    if (config->max_cpu_micro)
        nj_pack_put_uint(&packer, "max_cpu_micro", config->max_cpu_micro);
    nj_pack_put_uint(&packer, "max_memory_bytes", config->max_memory_bytes);
    nj_pack_put_uint(&packer, "max_processes", config->max_processes);
    nj_pack_put_uint(&packer, "max_runtime_ms", config->max_runtime_ms);
    nj_pack_put_uint(&packer, "max_size_bytes", config->max_size_bytes);
    pack_mounts(&packer, config);
    if (config->output_schema)
        nj_pack_put_text(&packer, "output_schema", config->output_schema);
    pack_texts(&packer, "outputs", config->outputs, config->n_outputs);
    pack_texts(&packer, "read_only_paths", config->read_only_paths, config->n_read_only_paths);
    nj_pack_put_text(&packer, "reproducible", config->reproducible);
    nj_pack_put_text(&packer, "role", config->role);
    if (config->rootfs)
        pack_rootfs(&packer, config->rootfs);
    pack_tools(&packer, config);
    nj_pack_put_uint(&packer, "turns_max", config->turns_max);
    nj_pack_put_uint(&packer, "v", 0);
    pack_texts(&packer, "writable_paths", config->writable_paths, config->n_writable_paths);
    return nj_packer_end(&packer, err);
}

static int get_text(const struct nj_pack_at *map, const char *key, struct nj_arena *arena,
                    const char **ret_text, struct nj_error *err)
{
    struct nj_span span;
    char *text;

    if (nj_pack_get_text(map, key, &span, err) < 0)
        return -(int)err->code;
    if (span.len && memchr(span.data, 0, span.len))
        return nj_pack_fail(map, err, "%s holds a NUL", key);
    text = nj_arena_span(arena, span);
    if (!text)
        return nj_fail_nomem(err);
    *ret_text = text;
    return 0;
}

static int get_texts(const struct nj_pack_at *map, const char *key, struct nj_arena *arena,
                     const char *const **ret_texts, size_t *ret_n, struct nj_error *err)
{
    struct nj_pack_at array;
    const char **texts;
    size_t n;
    int r;

    r = nj_pack_get_array(map, key, &array, &n, err);
    if (r < 0)
        return r;
    if (n > NJ_CONFIG_LIST_MAX)
        return nj_pack_fail(&array, err, "%zu items, at most %d", n, NJ_CONFIG_LIST_MAX);
    texts = nj_arena_array(arena, n + 1, sizeof(*texts)); /* ends in NULL: usable as argv */
    if (!texts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at item;
        struct nj_span span;

        if (nj_pack_item(&array, i, &item, err) < 0 || nj_pack_as_text(&item, &span, err) < 0)
            return -(int)err->code;
        if (span.len && memchr(span.data, 0, span.len))
            return nj_pack_fail(&item, err, "holds a NUL");
        texts[i] = nj_arena_span(arena, span);
        if (!texts[i])
            return nj_fail_nomem(err);
    }
    *ret_texts = texts;
    *ret_n = n;
    return 0;
}

static int get_tools(const struct nj_pack_at *map, struct nj_arena *arena,
                     struct nj_session_config *config, struct nj_error *err)
{
    struct nj_pack_at array;
    struct nj_config_tool *tools;
    size_t n;
    int r;

    r = nj_pack_get_array(map, "tools", &array, &n, err);
    if (r < 0)
        return r;
    if (n > NJ_CONFIG_LIST_MAX)
        return nj_pack_fail(&array, err, "%zu items, at most %d", n, NJ_CONFIG_LIST_MAX);
    tools = nj_arena_array(arena, n ? n : 1, sizeof(*tools));
    if (!tools)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at tool;

        if (nj_pack_item(&array, i, &tool, err) < 0 || nj_pack_as_map(&tool, err) < 0 ||
            get_text(&tool, "type", arena, &tools[i].type, err) < 0 ||
            get_text(&tool, "name", arena, &tools[i].name, err) < 0 ||
            nj_pack_get_uint(&tool, "languages", UINT32_MAX, &tools[i].languages, err) < 0 ||
            nj_pack_get_uint(&tool, "timeout_ms", INT64_MAX, &tools[i].timeout_ms, err) < 0)
            return -(int)err->code;
    }
    config->tools = tools;
    config->n_tools = n;
    return 0;
}

static int get_mounts(const struct nj_pack_at *map, struct nj_arena *arena,
                      struct nj_session_config *config, struct nj_error *err)
{
    struct nj_pack_at array;
    struct nj_config_mount *mounts;
    size_t n;
    int r;

    r = nj_pack_get_array(map, "mounts", &array, &n, err);
    if (r < 0)
        return r;
    if (n > NJ_CONFIG_LIST_MAX)
        return nj_pack_fail(&array, err, "%zu items, at most %d", n, NJ_CONFIG_LIST_MAX);
    mounts = nj_arena_array(arena, n ? n : 1, sizeof(*mounts));
    if (!mounts)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct nj_pack_at mount;

        if (nj_pack_item(&array, i, &mount, err) < 0 || nj_pack_as_map(&mount, err) < 0 ||
            get_text(&mount, "target", arena, &mounts[i].target, err) < 0 ||
            nj_pack_get_digest(&mount, "tree", &mounts[i].input.tree, err) < 0 ||
            nj_pack_get_digest(&mount, "stamps", &mounts[i].input.stamps, err) < 0)
            return -(int)err->code;
    }
    config->mounts = mounts;
    config->n_mounts = n;
    return 0;
}

static int get_rootfs(const struct nj_pack_at *map, struct nj_arena *arena,
                      struct nj_session_config *config, struct nj_error *err)
{
    struct nj_config_rootfs *rootfs;
    struct nj_pack_at at;

    if (!nj_pack_has(map, "rootfs"))
        return 0;
    rootfs = nj_arena_alloc(arena, sizeof(*rootfs));
    if (!rootfs)
        return nj_fail_nomem(err);
    if (nj_pack_get_map(map, "rootfs", &at, err) < 0 ||
        nj_pack_get_digest(&at, "digest", &rootfs->digest, err) < 0 ||
        nj_pack_get_bool(&at, "is_tar", &rootfs->is_tar, err) < 0 ||
        nj_pack_get_digest(&at, "stamps", &rootfs->input.stamps, err) < 0 ||
        nj_pack_get_digest(&at, "tree", &rootfs->input.tree, err) < 0)
        return -(int)err->code;
    config->rootfs = rootfs;
    return 0;
}

int nj_config_decode(struct nj_span bytes, struct nj_arena *arena,
                     struct nj_session_config **ret_config, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_session_config *config;
    struct nj_pack_at map;
    uint64_t version;

    config = nj_arena_alloc(arena, sizeof(*config));
    if (!config)
        return nj_fail_nomem(err);
    if (bytes.len > NJ_CONFIG_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "session config: %zu bytes, at most %u", bytes.len,
                       NJ_CONFIG_MAX_BYTES);
    if (nj_pack_open(&doc, "config", bytes, err) < 0 || nj_pack_root(&doc, &map, err) < 0 ||
        nj_pack_get_uint(&map, "v", UINT64_MAX, &version, err) < 0)
        return -(int)err->code;
    if (version != 0)
        return nj_fail(err, NJ_E_VERSION, "config: format %llu, this build reads up to 0",
                       (unsigned long long)version);
    if (nj_pack_get_uint(&map, "accept_attempts", INT64_MAX, &config->accept_attempts, err) < 0 ||
        get_texts(&map, "accept_command", arena, &config->accept_command, &config->n_accept_command,
                  err) < 0 ||
        nj_pack_get_uint(&map, "accept_timeout_ms", INT64_MAX, &config->accept_timeout_ms, err) <
            0 ||
        get_text(&map, "agent", arena, &config->agent, err) < 0 ||
        nj_pack_get_int(&map, "budget_micro_usd", &config->budget_micro_usd, err) < 0 ||
        (nj_pack_has(&map, "compact_at_tokens") &&
         nj_pack_get_uint(&map, "compact_at_tokens", INT64_MAX, &config->compact_at_tokens, err) <
             0) ||
        (nj_pack_has(&map, "output_schema") &&
         get_text(&map, "output_schema", arena, &config->output_schema, err) < 0) ||
        get_text(&map, "group", arena, &config->group, err) < 0 ||
        get_text(&map, "instructions", arena, &config->instructions, err) < 0 ||
        get_text(&map, "key", arena, &config->key, err) < 0 ||
        (nj_pack_has(&map, "layer") &&
         nj_pack_get_uint(&map, "layer", NJ_LEVEL_MAX, &config->layer, err) < 0) ||
        (nj_pack_has(&map, "max_cpu_micro") &&
         nj_pack_get_uint(&map, "max_cpu_micro", INT32_MAX, &config->max_cpu_micro, err) < 0) ||
        nj_pack_get_uint(&map, "max_memory_bytes", INT64_MAX, &config->max_memory_bytes, err) < 0 ||
        nj_pack_get_uint(&map, "max_processes", INT32_MAX, &config->max_processes, err) < 0 ||
        nj_pack_get_uint(&map, "max_runtime_ms", INT64_MAX, &config->max_runtime_ms, err) < 0 ||
        nj_pack_get_uint(&map, "max_size_bytes", INT64_MAX, &config->max_size_bytes, err) < 0 ||
        get_mounts(&map, arena, config, err) < 0 ||
        get_texts(&map, "outputs", arena, &config->outputs, &config->n_outputs, err) < 0 ||
        get_texts(&map, "read_only_paths", arena, &config->read_only_paths,
                  &config->n_read_only_paths, err) < 0 ||
        get_text(&map, "reproducible", arena, &config->reproducible, err) < 0 ||
        get_text(&map, "role", arena, &config->role, err) < 0 ||
        get_rootfs(&map, arena, config, err) < 0 || get_tools(&map, arena, config, err) < 0 ||
        nj_pack_get_uint(&map, "turns_max", INT64_MAX, &config->turns_max, err) < 0 ||
        get_texts(&map, "writable_paths", arena, &config->writable_paths, &config->n_writable_paths,
                  err) < 0)
        return -(int)err->code;
    *ret_config = config;
    return 0;
}

size_t nj_config_inputs(const struct nj_session_config *config, struct nj_workspace_ref *refs)
{
    size_t n = 0;

    for (size_t i = 0; i < config->n_mounts; i++)
        refs[n++] = config->mounts[i].input;
    if (config->rootfs)
        refs[n++] = config->rootfs->input;
    return n;
}

const struct nj_config_tool *nj_config_tool(const struct nj_session_config *config,
                                            const char *name)
{
    for (size_t i = 0; i < config->n_tools; i++)
        if (strcmp(config->tools[i].name, name) == 0)
            return &config->tools[i];
    return NULL;
}
