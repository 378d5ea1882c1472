/*
 * yaml_edit.h - a tree that is changed before its values are read: aliases, merges, includes, --set
 *
 * Only while a tree is built and by whoever built it: readers see it const. Nodes are never freed
 * (the arena owns them), only unlinked. Every function keeps up, index and count right.
 */
#ifndef NJ_MANIFEST_YAML_EDIT_H
#define NJ_MANIFEST_YAML_EDIT_H

#include "formats/manifest/yaml.h"

/* nj_yaml_mutable - the node again; the tree was built in this arena, by this module */
static inline struct nj_yaml_node *nj_yaml_mutable(const struct nj_yaml_node *node)
{
    return (struct nj_yaml_node *)(uintptr_t)node;
}

/* nj_yaml_new_map, nj_yaml_new_list - an empty collection without a place; NULL: no memory, and the
 * reader knows */
struct nj_yaml_node *nj_yaml_new(struct nj_yaml_reader *reader, enum nj_yaml_kind kind,
                                 struct nj_mark mark);

/* nj_yaml_append - put @child behind the last of a list or map; for a map its key is given */
void nj_yaml_append(struct nj_yaml_node *parent, struct nj_yaml_node *child, const char *key,
                    struct nj_mark key_mark);

/* nj_yaml_unlink - take @child out of its parent */
void nj_yaml_unlink(struct nj_yaml_node *child);

/* nj_yaml_replace - @fresh stands where @old stood, with its key */
void nj_yaml_replace(struct nj_yaml_node *old, struct nj_yaml_node *fresh);

#endif
