/*
 * manifest.h - the job a person writes, read strictly
 *
 * nj_manifest_parse() turns the bytes of a YAML (or JSON) file into one struct nj_manifest that
 * owns everything in one arena. All defaults are filled in, all references are resolved to indices,
 * all texts are NUL-terminated UTF-8 without NUL inside; a list is a pointer and a count, and the
 * pointer may be NULL only where the count is 0. Nothing here opens a file, expands a glob or reads
 * a variable: relative paths stay relative to the manifest, and the engine opens what they name.
 *
 * Order: nj_manifest_parse(), then nj_manifest_supported() before anything runs, then plan from the
 * fields; nj_manifest_pack_agent() and _pack_group() give the parts of a session's identity.
 * Everything that a later check may complain about carries its mark (line and column) for
 * nj_manifest_faults_add(). Source: formats/manifest/FORMAT.md.
 */
#ifndef NJ_MANIFEST_MANIFEST_H
#define NJ_MANIFEST_MANIFEST_H

#include "formats/base/arena.h"
#include "formats/base/buf.h"
#include "formats/manifest/faults.h"

#define NJ_MANIFEST_VERSION 1
#define NJ_MANIFEST_MAX_BYTES (16u << 20)
#define NJ_MANIFEST_DEPTH_MAX 24      /* nested collections */
#define NJ_MANIFEST_NODES_MAX 500000  /* scalars and collections */
#define NJ_MANIFEST_NAME_MAX_CHARS 64 /* of a job, agent, model, group, tool... */
#define NJ_MANIFEST_AGENTS_MAX 256    /* models, groups and credentials likewise */
#define NJ_MANIFEST_CHAIN_MAX 16      /* physical models behind one role */
#define NJ_MANIFEST_PATHS_MAX 64  /* writable paths, read-only paths and mounts of one box, each */
#define NJ_MANIFEST_TOOLS_MAX 128 /* of one agent */
#define NJ_MANIFEST_FILES_MAX 256 /* files of one group; its outputs likewise */
#define NJ_MANIFEST_AXES_MAX 8    /* of one matrix */
#define NJ_MANIFEST_WHERE_MAX 64  /* tests of one group */
#define NJ_MANIFEST_VALUES_MAX 100000 /* of one list of values in the manifest itself */
#define NJ_MANIFEST_WORDS_MAX 16      /* of a list out of a closed set: languages, causes, events */
#define NJ_MANIFEST_LIST_MAX 1024     /* items of any other list: commands, domains, hosts */
#define NJ_MANIFEST_PATH_MAX_BYTES 1024
#define NJ_MANIFEST_NONE SIZE_MAX /* an index that points nowhere */

/* A text and where it stands. */
struct nj_manifest_text {
    const char *text;
    struct nj_mark mark;
};

struct nj_manifest_texts {
    const struct nj_manifest_text *items;
    size_t count;
};

/* ---- credentials: names and places of secrets, never secrets ---- */

struct nj_manifest_credential {
    const char *name;
    struct nj_mark mark;
    /* exactly one of env, file, command and systemd is set */
    const char *env;                  /* name of a variable */
    const char *file;                 /* relative path */
    struct nj_manifest_texts command; /* a program whose standard output is the secret */
    const char *systemd;              /* name of a file in $CREDENTIALS_DIRECTORY */
    struct nj_manifest_texts hosts; /* "api.example.com"; empty: only what names this credential */
    struct nj_manifest_texts methods; /* upper case; empty: any */
    const char *header; /* NULL: as the provider or host needs it, mostly "Authorization" */
    const char *format; /* holds "{secret}" once; NULL: likewise, mostly "Bearer {secret}" */
};

/* ---- models ---- */

#define NJ_MANIFEST_PROVIDERS(X)                                                                   \
    X(SCRIPT, "script")                                                                            \
    X(ANTHROPIC, "anthropic")                                                                      \
    X(OPENAI, "openai")

enum nj_manifest_provider {
#define X(name, text) NJ_PROVIDER_##name,
    NJ_MANIFEST_PROVIDERS(X)
#undef X
};

enum nj_manifest_delivery { NJ_DELIVERY_LIVE, NJ_DELIVERY_BATCH };

/* Why a call moves on to the next model of the chain: bits of nj_manifest_model.when. */
#define NJ_MANIFEST_CAUSES(X)                                                                      \
    X(OVERLOADED, 0x01, "overloaded")                                                              \
    X(RATE_LIMITED, 0x02, "rate_limited")                                                          \
    X(REFUSAL, 0x04, "refusal")                                                                    \
    X(CONTEXT_FULL, 0x08, "context_full")                                                          \
    X(ERROR, 0x10, "error")

enum nj_manifest_cause {
#define X(name, bit, text) NJ_CAUSE_##name = bit,
    NJ_MANIFEST_CAUSES(X)
#undef X
};
#define NJ_CAUSE_ALL 0x1fu

/* Integer micro-USD per million tokens (3.00 USD per million is 3000000). */
struct nj_manifest_price {
    int64_t input;
    int64_t output;
    int64_t cache_read;
    int64_t cache_write_5m;
    int64_t cache_write_1h;
};

/* Per minute and at once; 0: no limit but the server's. */
struct nj_manifest_rate {
    uint64_t requests;
    uint64_t input_tokens;
    uint64_t output_tokens;
    uint64_t concurrent;
};

enum nj_manifest_cache { NJ_CACHE_OFF, NJ_CACHE_5M, NJ_CACHE_1H };

/* What a model can do; code asks these and never a model's name. */
struct nj_manifest_capabilities {
    bool structured_output; /* takes a JSON schema for its answer; default false */
    bool count_tokens;      /* counts a prompt's tokens; default: anthropic's own service does */
    bool parallel_tools;    /* may ask for several calls in one reply; default true */
    const char *token_parameter; /* "max_tokens" or "max_completion_tokens" */
};

struct nj_manifest_model {
    struct nj_mark mark;
    enum nj_manifest_provider provider;
    struct nj_mark provider_mark;
    const char *model;  /* the provider's name; NULL for script */
    const char *script; /* relative path of the replies file; NULL for others */
    struct nj_mark script_mark;
    const char *base_url; /* NULL: the provider's own */
    size_t credential;    /* index into credentials or NJ_MANIFEST_NONE */
    enum nj_manifest_delivery delivery;
    struct nj_mark delivery_mark;
    struct nj_manifest_price price; /* all 0 when not given */
    bool priced;
    uint64_t max_tokens;              /* of one reply; default 8192 */
    uint64_t context_tokens;          /* prompt and reply together; 0: not known */
    const char *parameters;           /* JSON text of an object, sent as it is; NULL: none */
    struct nj_manifest_texts refuses; /* request fields that it does not take: left out */
    struct nj_manifest_texts betas;   /* values of anthropic-beta */
    struct nj_manifest_capabilities can;
    struct nj_manifest_rate rate;
    enum nj_manifest_cache cache; /* of prompts; default 5m for anthropic, else off */
    bool stream;                  /* default true; script: false */
    uint64_t timeout_seconds;     /* of one try, whole; default 600 */
    unsigned when; /* NJ_CAUSE_ bits that lead *to* this model from the one before; 0 for the
                      first of the chain */
};

struct nj_manifest_role {
    const char *name;
    struct nj_mark mark;
    const struct nj_manifest_model *chain; /* at least one */
    size_t n_chain;
    uint64_t return_seconds; /* how long calls stay with a later model before the first is asked
                                again; 0: until the next turn */
};

/* ---- agents ---- */

enum nj_manifest_context {
    NJ_CONTEXT_FAIL,   /* the session fails, cause context_full, before the provider refuses */
    NJ_CONTEXT_COMPACT /* older tool results are replaced in the request by a note */
};

enum nj_manifest_reproducible { NJ_D0, NJ_D1, NJ_D2, NJ_D3 };

struct nj_manifest_mount {
    struct nj_mark mark;
    const char *source; /* host path: ask nj_manifest_path_ok() */
    struct nj_mark source_mark;
    const char *target; /* absolute, normal, in the box */
    struct nj_mark target_mark;
};

struct nj_manifest_rootfs {
    struct nj_mark mark; /* line 0: not given */
    const char *tar;     /* exactly one of tar and dir; host path: ask nj_manifest_path_ok() */
    const char *dir;
    struct nj_mark source_mark; /* of that one */
    const char *digest;         /* 64 lower-case hex characters or NULL */
    struct nj_mark digest_mark;
};

struct nj_manifest_sandbox {
    struct nj_mark mark; /* of the agent when no sandbox was given */
    /* lower case "name", "name:port", "*.name[:port]"; default none */
    struct nj_manifest_texts allowed_domains;
    uint64_t max_size_mb; /* of all writable paths together; default 512 */
    struct nj_mark max_size_mark;
    /* absolute, normal, none inside another; default /workspace and /tmp */
    struct nj_manifest_texts writable_paths;
    struct nj_manifest_texts read_only_paths; /* default none */
    const struct nj_manifest_mount *mounts;
    size_t n_mounts;
    uint64_t max_runtime_seconds; /* of tool time over the session; default 3600 */
    uint64_t max_memory_mb;       /* default 1024 */
    struct nj_mark max_memory_mark;
    uint64_t max_processes; /* default 256 */
    uint64_t max_cpu_micro; /* millionths of a CPU; 0: as many as there are (the default) */
    struct nj_manifest_rootfs rootfs;
};

#define NJ_MANIFEST_TOOL_TYPES(X)                                                                  \
    X(CODE_EXECUTION, "code_execution")                                                            \
    X(BASH, "bash")                                                                                \
    X(TEXT_EDITOR, "text_editor")                                                                  \
    X(MEMORY, "memory")                                                                            \
    X(MCP, "mcp")                                                                                  \
    X(CUSTOM, "custom")                                                                            \
    X(AGENT, "agent")

enum nj_manifest_tool_type {
#define X(name, text) NJ_TOOL_##name,
    NJ_MANIFEST_TOOL_TYPES(X)
#undef X
};

#define NJ_MANIFEST_LANGUAGES(X)                                                                   \
    X(BASH, 0x1, "bash")                                                                           \
    X(PYTHON, 0x2, "python")                                                                       \
    X(NODE, 0x4, "node")

enum nj_manifest_language {
#define X(name, bit, text) NJ_LANGUAGE_##name = bit,
    NJ_MANIFEST_LANGUAGES(X)
#undef X
};
#define NJ_LANGUAGE_ALL 0x7u

enum nj_manifest_effect { NJ_EFFECT_NONE, NJ_EFFECT_WORKSPACE, NJ_EFFECT_OUTSIDE };
enum nj_manifest_uncertain { NJ_UNCERTAIN_ASK, NJ_UNCERTAIN_FAIL, NJ_UNCERTAIN_REPEAT };

struct nj_manifest_tool {
    struct nj_mark mark;
    enum nj_manifest_tool_type type;
    struct nj_mark type_mark;
    const char *name;         /* what the model calls it: its type, an agent's name, or as given */
    unsigned languages;       /* code_execution: NJ_LANGUAGE_ bits, at least one; default all */
    uint64_t timeout_seconds; /* code_execution, bash, mcp, custom: the most one call may take;
                                 default 300 */
    const char *server_url;   /* mcp over HTTP */
    const char *url;          /* custom over HTTP */
    struct nj_manifest_texts command; /* mcp over stdio, custom in the box */
    size_t credential;                /* mcp, custom: index or NJ_MANIFEST_NONE */
    bool restartable;                 /* mcp over stdio */
    size_t agent;                     /* agent: index, else NJ_MANIFEST_NONE */
    const char *description;          /* custom, agent; NULL elsewhere */
    const char *input_schema;         /* custom: canonical JSON text of an object; NULL elsewhere */
    enum nj_manifest_effect effect;   /* custom, mcp: default outside; others by their nature */
    bool idempotent;                  /* custom, mcp: default false */
    enum nj_manifest_uncertain on_uncertain; /* custom, mcp: default ask */
};

/* What one agent or one group may take, beside and below the limits of the run. */
struct nj_manifest_limit {
    struct nj_mark mark;              /* line 0: not given */
    uint64_t sessions;                /* alive at once; 0: only the run's limit */
    int64_t budget_micro_usd;         /* of all its sessions together; -1: only the run's */
    int64_t session_budget_micro_usd; /* of each; -1: what stands above it (group, agent, run) */
    uint64_t turns; /* model replies in one session; of an agent default 100, of a group 0: its
                       agent's */
};

struct nj_manifest_agent {
    const char *name;
    struct nj_mark mark;
    size_t role; /* index into roles; NJ_MANIFEST_NONE for a command agent without model */
    struct nj_manifest_texts command;           /* a command agent's; empty: a model loop */
    const char *instructions;                   /* "" when not given */
    enum nj_manifest_reproducible reproducible; /* default D2 */
    struct nj_manifest_sandbox sandbox;
    const struct nj_manifest_tool *tools;
    size_t n_tools;
    struct nj_mark memory_mark; /* line 0: no memory */
    const char *memory_store;
    bool memory_writable;
    enum nj_manifest_context context; /* when the conversation nears the model's context */
    uint32_t context_at_ppm;          /* share of context_tokens at which it does; default 0.8 */
    const char *output_schema;        /* JSON text of a schema for the last reply; NULL: none */
    struct nj_manifest_limit limits;
};

/* ---- sessions ---- */

/* Where items come from; MATRIX is a group's kind only, never an axis'. */
enum nj_manifest_for_each {
    NJ_FOR_EACH_NONE,
    NJ_FOR_EACH_GLOB,
    NJ_FOR_EACH_LINES,
    NJ_FOR_EACH_CSV,
    NJ_FOR_EACH_VALUES,
    NJ_FOR_EACH_MATRIX
};

/* One list of items: of for_each the only one, of a matrix one of several. */
struct nj_manifest_axis {
    const char *name; /* NULL: the list of for_each */
    struct nj_mark mark;
    enum nj_manifest_for_each kind;
    const char *text; /* the glob, or the path of the file; NULL for values */
    struct nj_mark text_mark;
    char delimiter;                  /* csv: default ',' */
    struct nj_manifest_texts fields; /* csv: names of the columns where the file has no header */
    struct nj_manifest_texts values; /* each as JSON text */
};

/* What an item must be like: all tests of a group hold. */
enum nj_manifest_test_kind {
    NJ_TEST_IS, /* equal to one of the values */
    NJ_TEST_NOT,
    NJ_TEST_MATCHES, /* an extended regular expression */
    NJ_TEST_EXISTS,  /* is there, neither null nor an empty text */
    NJ_TEST_ABOVE,
    NJ_TEST_AT_LEAST,
    NJ_TEST_BELOW,
    NJ_TEST_AT_MOST
};

struct nj_manifest_test {
    const char *field; /* "status", "customer.country" */
    struct nj_mark mark;
    enum nj_manifest_test_kind kind;
    const struct nj_manifest_value *values; /* IS, NOT: at least one; the others but EXISTS: one */
    size_t n_values;
    bool exists; /* EXISTS: wanted, or unwanted */
};

struct nj_manifest_value {
    const char *text;
    bool number; /* written as one: compared by value, else byte by byte */
};

/* What an item may say in place of its group: templates, NULL where it may not. A template that
 * names a field which the item lacks, or that comes out empty, leaves what the group says. */
struct nj_manifest_override {
    struct nj_mark mark; /* line 0: none */
    const char *model;   /* of a role */
    const char *instructions;
    const char *input; /* the text itself: no template any more */
    const char *turns; /* as limits.turns */
    const char *session_budget_usd;
};

struct nj_manifest_file {
    struct nj_mark mark;
    const char *source;         /* template of a relative path; exactly one of source and content */
    const char *content;        /* template of the text itself */
    struct nj_mark source_mark; /* of whichever was given */
    const char *target;         /* template; absolute, normal, inside a writable path */
    struct nj_mark target_mark;
};

#define NJ_MANIFEST_RETRY_ON(X)                                                                    \
    X(ENGINE, 0x1, "engine")                                                                       \
    X(MODEL, 0x2, "model")                                                                         \
    X(LIMIT, 0x4, "limit")                                                                         \
    X(ACCEPT, 0x8, "accept")

enum nj_manifest_retry_on {
#define X(name, bit, text) NJ_RETRY_##name = bit,
    NJ_MANIFEST_RETRY_ON(X)
#undef X
};

/* When a session that failed is begun anew. The wait before attempt n + 1 is backoff_seconds times
 * 2^(n - 1), at most backoff_max_seconds. */
struct nj_manifest_retry {
    struct nj_mark mark;          /* line 0: not given */
    uint64_t attempts;            /* of one session in all; default 1: no second try */
    unsigned on;                  /* NJ_RETRY_ bits; default engine and model */
    uint64_t backoff_seconds;     /* default 10 */
    uint64_t backoff_max_seconds; /* at least backoff_seconds; default 600 */
};

struct nj_manifest_group {
    const char *name;
    struct nj_mark mark;
    size_t agent;
    struct nj_mark agent_mark;
    enum nj_manifest_for_each for_each; /* the axis' kind, MATRIX, or NONE */
    struct nj_mark for_each_mark;
    const struct nj_manifest_axis *axes; /* for_each: one; matrix: in the order of the file */
    size_t n_axes;
    const struct nj_manifest_test *where;
    size_t n_where;
    uint64_t first;    /* at most so many items, after `where`; 0: all */
    bool may_be_empty; /* no item at all is no fault */
    struct nj_manifest_override override;
    const char *key; /* template; default "{item.stem}" or, without for_each, the name */
    struct nj_mark key_mark;
    const struct nj_manifest_file *files;
    size_t n_files;
    const char *input; /* template: the first message */
    struct nj_mark input_mark;
    struct nj_manifest_texts outputs; /* absolute globs inside writable paths: * ? [] and ** */
    struct nj_manifest_texts accept_command; /* empty: nothing to accept */
    struct nj_mark accept_mark;
    uint64_t accept_attempts;        /* how often the agent may try; default 3 */
    uint64_t accept_timeout_seconds; /* of one check; default 60 */
    const size_t *after;             /* indices of groups, no cycles */
    size_t n_after;
    struct nj_manifest_limit limits;
    struct nj_manifest_retry retry; /* what counts for it: what it does not say is the run's */
};

/* ---- the rest ---- */

struct nj_manifest_limits {
    uint64_t sessions;        /* alive at once; default 64 */
    uint64_t tool_calls;      /* running code at once; 0: as many as CPUs */
    uint64_t warm_boxes;      /* kept while their sessions wait; 0: see nj_manifest_warm() */
    int64_t budget_micro_usd; /* -1: none */
    int64_t session_budget_micro_usd; /* -1: none */
    const char *deadline;             /* "06:00 Europe/Berlin"; NULL: none */
    struct nj_mark deadline_mark;
    uint32_t fail_over_ppm; /* share of failed sessions above which the run stops; default 1000000:
                               never */
    uint64_t fail_over_count; /* their number instead; NJ_MANIFEST_NO_COUNT: the share counts */
    uint64_t disk_free_mb;    /* no session begins with less free where the run is; default 1024 */
};

/*
 * nj_manifest_warm - how many boxes are kept while their sessions wait
 *
 * What the manifest says, whatever the host has left; else a box for each session that is alive, 64
 * at most (each holds a few processes and namespaces, 1 to 2 MiB and what its workspace has) and
 * no more than @bearable (sandbox.h), and where memory is short enough for sessions between two of
 * @calls calls at a time, which are kept in any case.
 */
struct nj_manifest_warm {
    uint64_t most;
    uint64_t least; /* where memory is short */
};

#define NJ_MANIFEST_WARM_MAX 64
#define NJ_MANIFEST_WARM_PER_CALL 4

static inline struct nj_manifest_warm nj_manifest_warm(const struct nj_manifest_limits *limits,
                                                       uint64_t calls, uint64_t bearable)
{
    uint64_t least = calls * NJ_MANIFEST_WARM_PER_CALL; /* a manifest has 4096 calls at most */
    uint64_t most =
        limits->sessions < NJ_MANIFEST_WARM_MAX ? limits->sessions : NJ_MANIFEST_WARM_MAX;

    if (limits->warm_boxes > 0)
        return (struct nj_manifest_warm){limits->warm_boxes, limits->warm_boxes};
    if (most > bearable)
        most = bearable;
    return (struct nj_manifest_warm){most > least ? most : least, least};
}

#define NJ_MANIFEST_NO_COUNT UINT64_MAX

#define NJ_MANIFEST_ALERTS(X)                                                                      \
    X(DENIED_DOMAIN, 0x1, "denied_domain")                                                         \
    X(BUDGET, 0x2, "budget")                                                                       \
    X(FAILED_SESSIONS, 0x4, "failed_sessions")                                                     \
    X(DEADLINE, 0x8, "deadline")

enum nj_manifest_alert_when {
#define X(name, bit, text) NJ_ALERT_##name = bit,
    NJ_MANIFEST_ALERTS(X)
#undef X
};

struct nj_manifest_alert {
    struct nj_mark mark;
    unsigned when; /* NJ_ALERT_ bits, at least one */
    const char *webhook;
    size_t credential;
};

enum nj_manifest_inputs { NJ_INPUTS_EMBED, NJ_INPUTS_REFERENCE };

struct nj_manifest {
    struct nj_arena arena; /* owns everything below */
    const char *name;      /* of the file, for messages */
    const char *job; /* default "job"; like all names [A-Za-z0-9_][A-Za-z0-9_.-]*, at most 64 */
    const struct nj_manifest_role *roles; /* in the order of the file, as all lists are */
    size_t n_roles;
    const struct nj_manifest_credential *credentials;
    size_t n_credentials;
    const struct nj_manifest_agent *agents;
    size_t n_agents;
    const struct nj_manifest_group *groups;
    size_t n_groups;
    struct nj_manifest_limits limits;
    struct nj_mark limits_mark;
    struct nj_manifest_retry retry;
    enum nj_manifest_inputs archive_inputs;
    uint64_t retain_seconds; /* archive.retain: how long `gc` keeps the run; 0: for ever */
    const struct nj_manifest_alert *alerts;
    size_t n_alerts;
    struct nj_manifest_texts only; /* patterns of keys: nothing else is run; empty: everything */
    bool assembled;                /* see nj_manifest_parse_job() */
    const char *telemetry_otlp;    /* NULL: none */
    int64_t runtime_micro_usd_per_hour; /* what an hour of a box is reckoned at; default 0.08 USD */
    struct nj_mark telemetry_mark;
};

/*
 * nj_manifest_parse - read a manifest
 *
 * @bytes     the file; at most NJ_MANIFEST_MAX_BYTES; not kept
 * @name      the file's name, for messages; copied
 * @faults    zeroed or empty; on NJ_E_INPUT holds up to NJ_FAULTS_MAX faults in the order of the
 * file
 *
 * Fails with NJ_E_INPUT (@err tells the first fault and how many more there are) or NJ_E_NOMEM.
 */
int nj_manifest_parse(struct nj_span bytes, const char *name, struct nj_manifest **ret_manifest,
                      struct nj_manifest_faults *faults, struct nj_error *err) NJ_MUST_USE;

/* Where the rest of a job comes from. */
struct nj_manifest_options {
    /* append what is in the included file @path (relative, does not climb) or fail with
     * NJ_E_INPUT; NULL: nothing can be included */
    int (*read)(void *ctx, const char *path, struct nj_buf *out, struct nj_error *err);
    /* the variable's value, borrowed, or NULL when it is not set; NULL: none is */
    const char *(*env)(void *ctx, const char *name);
    void *ctx;
    const char *const *sets; /* "PATH=VALUE", in this order, NULL-terminated; may be NULL */
    const char *const *only; /* patterns of keys in place of `only`; likewise */
};

/* nj_manifest_parse_job - the same with all that a job is made of: FORMAT.md, "One job out of
 * several places". Where manifest->assembled is set, the bytes alone are not the job:
 * nj_manifest_dump() is. @options may be NULL. */
int nj_manifest_parse_job(struct nj_span bytes, const char *name,
                          const struct nj_manifest_options *options,
                          struct nj_manifest **ret_manifest, struct nj_manifest_faults *faults,
                          struct nj_error *err) NJ_MUST_USE;
void nj_manifest_free(struct nj_manifest *manifest);
NJ_DEFINE_AUTO_PTR(struct nj_manifest, nj_manifest_free);

/*
 * nj_manifest_supported - name each feature that is used but that this build does not run
 *
 * Returns 0 when all of it runs; fails with NJ_E_INPUT and the faults, as nj_manifest_parse().
 */
int nj_manifest_supported(const struct nj_manifest *manifest, struct nj_manifest_faults *faults,
                          struct nj_error *err) NJ_MUST_USE;

/*
 * nj_manifest_path_ok - does a path that the manifest gives stay inside the manifest's directory?
 *
 * Lexical: it is relative, not empty, and never climbs above its start; the engine opens it beneath
 * the directory so that links cannot leave it either. Returns 0 or fails with NJ_E_INPUT and the
 * reason (absolute and climbing paths are what --allow-path is for).
 */
int nj_manifest_path_ok(const char *path, struct nj_error *err) NJ_MUST_USE;

/*
 * nj_manifest_target_ok - is this (expanded) path one that a file may be placed at in this agent's
 * box?
 *
 * Absolute, without "." or ".." or empty parts, inside a writable path and not itself one.
 * Templates cannot be judged when the manifest is parsed, so the engine asks again when it expanded
 * them.
 */
int nj_manifest_target_ok(const struct nj_manifest_agent *agent, const char *target,
                          struct nj_error *err) NJ_MUST_USE;

/*
 * nj_manifest_pack_agent - the agent's part of a session's identity, appended as canonical msgpack
 *
 * Holds what the agent is and what it may do: instructions, model chain (provider, model, script,
 * base_url, when), sandbox, tools, memory, turns, reproducible, and the same of every agent it can
 * call. Not: prices, credentials, delivery, comments, the order of keys, names of roles.
 */
int nj_manifest_pack_agent(const struct nj_manifest *manifest, size_t agent, struct nj_buf *out,
                           struct nj_error *err) NJ_MUST_USE;

/* nj_manifest_pack_role - a chain of models as it stands in an agent's part: list of base_url,
 * model, provider, script, when */
int nj_manifest_pack_role(const struct nj_manifest *manifest, size_t role, struct nj_buf *out,
                          struct nj_error *err) NJ_MUST_USE;

/*
 * nj_manifest_pack_group - the group's part: name, files, input, outputs, accept, after
 *
 * Templates are packed as written; the engine adds the item and the digests of what they name. Not:
 * for_each and key, so that one more item leaves the other sessions' identities alone.
 */
int nj_manifest_pack_group(const struct nj_manifest *manifest, size_t group, struct nj_buf *out,
                           struct nj_error *err) NJ_MUST_USE;

/*
 * nj_manifest_dump - append the manifest as canonical YAML with every default written out
 *
 * Parsing the dump gives an equal manifest (marks apart), and its dump the same bytes.
 */
int nj_manifest_dump(const struct nj_manifest *manifest, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

/* The manifest's word for a value, never NULL. */
const char *nj_manifest_provider_text(enum nj_manifest_provider provider);
const char *nj_manifest_tool_type_text(enum nj_manifest_tool_type type);
const char *nj_manifest_language_text(enum nj_manifest_language language);

/* nj_manifest_find_agent and _find_group - index by name or NJ_MANIFEST_NONE */
size_t nj_manifest_find_agent(const struct nj_manifest *manifest, const char *name);
size_t nj_manifest_find_group(const struct nj_manifest *manifest, const char *name);

#endif
