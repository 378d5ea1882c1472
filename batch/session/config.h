/*
 * config.h - what a session core is told at birth
 *
 * Made by the plan from the manifest and the item, stored as one CONFIG object, and read back from
 * there by resume and replay: a recorded session never needs (and never trusts) the manifest again.
 * Mounts are digests of trees, not paths of a host; commands run in the box only.
 */
#ifndef NJ_SESSION_CONFIG_H
#define NJ_SESSION_CONFIG_H

#include "formats/journal/event.h"

#define NJ_CONFIG_MAX_BYTES (8u << 20)
#define NJ_CONFIG_LIST_MAX 1024

struct nj_config_tool {
    const char *type;    /* "code_execution" */
    const char *name;    /* what the model calls it */
    uint64_t languages;  /* NJ_LANGUAGE_ bits; other tools: 0 */
    uint64_t timeout_ms; /* the most one call may take */
};

struct nj_config_mount {
    const char *target;
    struct nj_workspace_ref input;
};

/* The image that boxes have in place of the host's system directories. */
struct nj_config_rootfs {
    bool is_tar;                   /* input is a folder with the archive, NJ_BOX_ROOTFS_TAR */
    struct nj_workspace_ref input; /* else the image's files themselves */
    struct nj_digest digest;       /* of the archive's bytes; else input.tree */
};

struct nj_session_config {
    const char *key;
    const char *group;
    const char *agent;
    const char *role; /* the logical model */
    const char *instructions;
    const char *reproducible; /* "D0" to "D3": what the job declares */
    uint64_t layer;           /* 0 to NJ_LEVEL_MAX: the level at which its boxes work; 0: none */
    uint64_t turns_max;
    const struct nj_config_tool *tools;
    size_t n_tools;
    const char *const *writable_paths;
    size_t n_writable_paths;
    const char *const *read_only_paths;
    size_t n_read_only_paths;
    const struct nj_config_mount *mounts;
    size_t n_mounts;
    const struct nj_config_rootfs *rootfs; /* NULL: the host's */
    uint64_t max_size_bytes;
    uint64_t max_memory_bytes;
    uint64_t max_processes;
    uint64_t max_cpu_micro; /* millionths of a CPU; 0: no limit */
    uint64_t max_runtime_ms;
    const char *const *accept_command; /* empty: nothing to accept */
    size_t n_accept_command;
    uint64_t accept_attempts;
    uint64_t accept_timeout_ms;
    const char *const *outputs; /* globs */
    size_t n_outputs;
    int64_t budget_micro_usd;   /* -1: none */
    uint64_t compact_at_tokens; /* prompts are cut at this size (context.h); 0: never */
    const char *output_schema;  /* JSON schema of the last reply; NULL: none */
};

int nj_config_encode(const struct nj_session_config *config, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_config_decode - everything is copied into @arena */
int nj_config_decode(struct nj_span bytes, struct nj_arena *arena,
                     struct nj_session_config **ret_config, struct nj_error *err) NJ_MUST_USE;

/* nj_config_inputs - what of the run's inputs a session's boxes need: its mounts and its image.
 * @refs has room for n_mounts + 1; returns how many there are. */
size_t nj_config_inputs(const struct nj_session_config *config, struct nj_workspace_ref *refs);

const struct nj_config_tool *nj_config_tool(const struct nj_session_config *config,
                                            const char *name);

#endif
