/*
 * read.h - what the files of this module share while a manifest is being read; not for callers
 *
 * parse.c walks the root and the small parts, parse_model.c, parse_agent.c and parse_group.c the
 * large ones. Each reads what it can: a value with a fault keeps its default, a list item with a
 * fault is left out, a reference with a fault is NJ_MANIFEST_NONE. check.c then judges what only
 * the whole can tell and must therefore bear NULL texts and missing references. Nobody outside ever
 * sees such a manifest.
 */
#ifndef NJ_MANIFEST_READ_H
#define NJ_MANIFEST_READ_H

#include "formats/manifest/manifest.h"
#include "formats/manifest/yaml.h"

#define NJ_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Names that references are looked up in; index maps a name to its entry. */
struct nj_manifest_names {
    const char **names;
    size_t *index;
    size_t count;
};

struct nj_manifest_reading {
    struct nj_yaml_reader yaml;
    struct nj_manifest *manifest;
    const struct nj_yaml_node *root;
    struct nj_manifest_names roles;
    struct nj_manifest_names credentials;
    struct nj_manifest_names agents;
    struct nj_manifest_names groups;
};

/* A word of a closed set and the bit it stands for. */
struct nj_manifest_word {
    const char *text;
    unsigned bit;
};

/* ---- parse.c: readers of single values; an absent key (NULL node) leaves *ret as it is ---- */

void *nj_manifest_read_alloc(struct nj_manifest_reading *in, size_t count, size_t size);
void nj_manifest_read_name(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                           const char **ret);
bool nj_manifest_read_key_name(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
void nj_manifest_read_uint(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           const char *key, uint64_t min, uint64_t max, uint64_t *ret);
void nj_manifest_read_text(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           const char *key, bool empty_ok, const char **ret);
void nj_manifest_read_bits(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                           const char *key, const char *noun, const struct nj_manifest_word *words,
                           size_t n_words, unsigned *ret);
void nj_manifest_read_url(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                          const char *key, const char **ret);
/* a path of the host: not empty, printable, short enough; whether it stays inside is the engine's
 * to ask */
void nj_manifest_read_path(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                           const char **ret);
void nj_manifest_read_command(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                              const char *key, struct nj_manifest_texts *ret);
void nj_manifest_read_ref(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                          const char *noun, const struct nj_manifest_names *names, size_t *ret);

/* Checks one text of a list; NULL when it is right, else what is wrong with it. */
typedef const char *(*nj_manifest_text_check)(const char *text);
void nj_manifest_read_texts(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                            const char *key, size_t min, size_t max, nj_manifest_text_check check,
                            struct nj_manifest_texts *ret);

/* one text that must pass @check, at most 2048 bytes */
void nj_manifest_read_checked(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                              const char *key, nj_manifest_text_check check, const char **ret);

/* ---- parse_limits.c ---- */

void nj_manifest_read_run_limits(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
/* of an agent or a group; @turns is what counts where it is not given */
void nj_manifest_read_limit(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                            uint64_t turns, struct nj_manifest_limit *ret);
/* what is not given is as @above, or the default where that is NULL */
void nj_manifest_read_retry(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                            const struct nj_manifest_retry *above, struct nj_manifest_retry *ret);
void nj_manifest_read_archive(struct nj_manifest_reading *in, const struct nj_yaml_node *node);

/* ---- parse_model.c, parse_agent.c, parse_group.c, check.c ---- */

void nj_manifest_read_roles(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
void nj_manifest_read_credentials(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
void nj_manifest_read_context(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                              struct nj_manifest_agent *agent);
void nj_manifest_read_output(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                             struct nj_manifest_agent *agent);
void nj_manifest_read_report(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
void nj_manifest_read_agents(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
void nj_manifest_read_groups(struct nj_manifest_reading *in, const struct nj_yaml_node *node);
void nj_manifest_check(struct nj_manifest_reading *in);

/* ---- parse_items.c ---- */

void nj_manifest_read_items(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                            struct nj_manifest_group *group);
void nj_manifest_read_override(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                               struct nj_manifest_group *group);

/* ---- parse_group.c: what templates of a group may name ---- */

const char *nj_manifest_read_template(struct nj_manifest_reading *in,
                                      const struct nj_yaml_node *node,
                                      const struct nj_manifest_group *group, bool with_results,
                                      bool empty_ok);

/* ---- path.c: NULL when right, else what is wrong ---- */

const char *nj_manifest_host_path_fault(const char *path); /* of the host */
const char *nj_manifest_box_path_fault(const char *path);  /* absolute and normal */
const char *nj_manifest_glob_fault(const char *glob);      /* of the host: brackets, ** */
const char *nj_manifest_box_glob_fault(const char *glob);  /* absolute, normal, brackets, ** */
const char *
nj_manifest_system_dir(const char *path); /* the system's directory it overlaps, or NULL */
bool nj_manifest_path_under(const char *path, const char *dir); /* equal or below */

/* ---- words.c: the manifest's words for values, in the order of the enums ---- */

extern const char *const nj_manifest_providers[3];
extern const char *const nj_manifest_tool_types[7];
extern const char *const nj_manifest_deliveries[2];
extern const char *const nj_manifest_caches[3];
extern const char *const nj_manifest_token_parameters[2];
extern const char *const nj_manifest_contexts[2];
extern const char *const nj_manifest_levels[4];
extern const char *const nj_manifest_effects[3];
extern const char *const nj_manifest_uncertains[3];
extern const char *const nj_manifest_input_modes[2];
extern const char *const nj_manifest_for_each_kinds[6]; /* the first, "", stands for none */
extern const char *const nj_manifest_tests[8];
extern const struct nj_manifest_word nj_manifest_causes[5];
extern const struct nj_manifest_word nj_manifest_languages[3];
extern const struct nj_manifest_word nj_manifest_retries[4];
extern const struct nj_manifest_word nj_manifest_alert_words[4];

#endif
