/*
 * items.c - what one entry of for_each offers to templates
 */
#include "batch/engine/items.h"

#include <inttypes.h>

#include "formats/manifest/template.h"

#include "formats/base/banned.h"

int nj_item_of(const struct nj_glob_match *match, struct nj_arena *arena, struct nj_item *ret_item,
               struct nj_error *err)
{
    const char *path = match->path;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    const char *dir = slash ? slash : path;
    struct nj_item item = {.path = path, .name = name, .size = match->size};

    while (dir > path && dir[-1] != '/')
        dir--;
    item.dir = nj_arena_span(
        arena, (struct nj_span){(const uint8_t *)dir, slash ? (size_t)(slash - dir) : 0});
    item.stem = nj_arena_span(
        arena, (struct nj_span){(const uint8_t *)name,
                                dot && dot > name ? (size_t)(dot - name) : strlen(name)});
    if (!item.dir || !item.stem)
        return nj_fail_nomem(err);
    *ret_item = item;
    return 0;
}

static int json_field(struct nj_buf *out, const char *head, const char *text, struct nj_error *err)
{
    if (nj_buf_text(out, head, err) < 0)
        return -(int)err->code;
    return nj_buf_json_text(out, nj_span_text(text), err);
}

int nj_item_json(const struct nj_item *item, struct nj_buf *out, struct nj_error *err)
{
    if (json_field(out, "{\"dir\":", item->dir, err) < 0 ||
        json_field(out, ",\"name\":", item->name, err) < 0 ||
        json_field(out, ",\"path\":", item->path, err) < 0 ||
        nj_buf_printf(out, err, ",\"size\":%" PRIu64, item->size) < 0 ||
        json_field(out, ",\"stem\":", item->stem, err) < 0)
        return -(int)err->code;
    return nj_buf_text(out, "}", err);
}

static int lookup(void *ctx, const char *name, struct nj_buf *out, struct nj_error *err)
{
    const struct nj_item_values *values = ctx;
    const struct nj_item *item = values->item;

    if (values->results && strcmp(name, "results") == 0)
        return nj_buf_text(out, values->results, err);
    if (item && strcmp(name, "item.path") == 0)
        return nj_buf_text(out, item->path, err);
    if (item && strcmp(name, "item.name") == 0)
        return nj_buf_text(out, item->name, err);
    if (item && strcmp(name, "item.stem") == 0)
        return nj_buf_text(out, item->stem, err);
    if (item && strcmp(name, "item.dir") == 0)
        return nj_buf_text(out, item->dir, err);
    if (item && strcmp(name, "item.size") == 0)
        return nj_buf_printf(out, err, "%" PRIu64, item->size);
    return nj_fail(err, NJ_E_INPUT, "{%s} has no value here%s", name,
                   item ? "; an item has dir, name, path, size and stem" : "");
}

int nj_item_expand(const char *text, const struct nj_item_values *values, struct nj_buf *out,
                   struct nj_error *err)
{
    struct nj_item_values copy = *values;

    return nj_template_expand(text, lookup, &copy, out, err);
}
