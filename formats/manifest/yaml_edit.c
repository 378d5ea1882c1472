/*
 * yaml_edit.c - a tree that is changed before its values are read
 */
#include "formats/manifest/yaml_edit.h"

#include "formats/base/banned.h"

struct nj_yaml_node *nj_yaml_new(struct nj_yaml_reader *reader, enum nj_yaml_kind kind,
                                 struct nj_mark mark)
{
    struct nj_yaml_node *node = nj_arena_alloc(reader->arena, sizeof(*node));

    if (!node) {
        reader->nomem = true;
        return NULL;
    }
    node->kind = kind;
    node->mark = mark;
    return node;
}

static struct nj_yaml_node *last_of(const struct nj_yaml_node *parent)
{
    const struct nj_yaml_node *last = parent->first;

    while (last && last->next)
        last = last->next;
    return nj_yaml_mutable(last);
}

void nj_yaml_append(struct nj_yaml_node *parent, struct nj_yaml_node *child, const char *key,
                    struct nj_mark key_mark)
{
    struct nj_yaml_node *last = last_of(parent);

    child->up = parent;
    child->key = key;
    child->key_mark = key_mark;
    child->next = NULL;
    child->index = parent->count++;
    if (last)
        last->next = child;
    else
        parent->first = child;
}

void nj_yaml_unlink(struct nj_yaml_node *child)
{
    struct nj_yaml_node *parent = nj_yaml_mutable(child->up);
    struct nj_yaml_node *at = nj_yaml_mutable(parent->first);
    struct nj_yaml_node *before = NULL;

    for (; at != child; at = nj_yaml_mutable(at->next))
        before = at;
    if (before)
        before->next = child->next;
    else
        parent->first = child->next;
    for (at = nj_yaml_mutable(child->next); at; at = nj_yaml_mutable(at->next))
        at->index--;
    parent->count--;
    child->up = child->next = NULL;
}

void nj_yaml_replace(struct nj_yaml_node *old, struct nj_yaml_node *fresh)
{
    struct nj_yaml_node *parent = nj_yaml_mutable(old->up);
    struct nj_yaml_node *at = nj_yaml_mutable(parent->first);

    fresh->up = parent;
    fresh->key = old->key;
    fresh->key_mark = old->key_mark;
    fresh->index = old->index;
    fresh->next = old->next;
    if (at == old) {
        parent->first = fresh;
    } else {
        while (at->next != old)
            at = nj_yaml_mutable(at->next);
        at->next = fresh;
    }
    old->up = old->next = NULL;
}
