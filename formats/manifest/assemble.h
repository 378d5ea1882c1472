/*
 * assemble.h - one tree out of a manifest, what it includes, variables and the command line; not
 * for callers outside of this module
 *
 * In this order: `include` (files beside the manifest), `env` (declared variables in texts),
 * --set PATH=VALUE, --only. Faults name the file or the option that they come from.
 */
#ifndef NJ_MANIFEST_ASSEMBLE_H
#define NJ_MANIFEST_ASSEMBLE_H

#include "formats/manifest/manifest.h"
#include "formats/manifest/yaml.h"

/* nj_manifest_assemble - change the tree below @root (file 0); *ret_changed: the manifest's own
 * bytes do not tell the whole job any more. Faults are added; fails with NJ_E_NOMEM only. */
int nj_manifest_assemble(struct nj_yaml_reader *reader, const struct nj_yaml_limits *limits,
                         const struct nj_yaml_node *root, const struct nj_manifest_options *options,
                         bool *ret_changed, struct nj_error *err) NJ_MUST_USE;

/* nj_manifest_set - one "PATH=VALUE"; faults are added */
int nj_manifest_set(struct nj_yaml_reader *reader, const struct nj_yaml_limits *limits,
                    const struct nj_yaml_node *root, const char *assignment,
                    struct nj_error *err) NJ_MUST_USE;

#endif
