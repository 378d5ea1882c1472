/*
 * yaml.c - from bytes to a tree, through libyaml's events
 *
 * The complication: libyaml alone would build whatever it is given (aliases that unfold to
 * gigabytes, a thousand levels, several documents). Here each event meets its limit before a node
 * is made, and what our dialect does not know becomes a fault with its place.
 */
#include <yaml.h>

#include "formats/manifest/yaml.h"
#include "formats/manifest/yaml_edit.h"

#include "formats/base/banned.h"

#define ANCHORS_MAX 256
#define MERGED_KEYS_MAX 4096 /* of one map */

/* An open collection. */
struct frame {
    struct nj_yaml_node *node;
    struct nj_yaml_node *last;
    const char *key; /* map: read, its value comes next */
    bool merge;      /* that key is a plain << */
    struct nj_mark key_mark;
};

struct anchor {
    const char *name;
    struct nj_yaml_node *node;
};

struct loader {
    yaml_parser_t parser;
    struct anchor anchors[ANCHORS_MAX]; /* the last of a name counts */
    size_t n_anchors;
    size_t text_bytes; /* of all scalars, those that aliases stand for included */
    struct nj_span bytes;
    const struct nj_yaml_limits *limits;
    struct nj_yaml_reader *reader;
    struct frame *frames; /* limits->max_depth of them */
    size_t depth;
    size_t nodes;
    size_t documents;
    struct nj_yaml_node *root;
};

enum loaded { LOAD_MORE, LOAD_STOP };

static struct nj_mark mark_of(const struct loader *loader, yaml_mark_t mark)
{
    /* Bytes are capped far below UINT_MAX, and so are lines and columns. */
    return (struct nj_mark){(unsigned)mark.line + 1, (unsigned)mark.column + 1,
                            loader->reader->file};
}

static struct nj_mark mark_of_offset(struct nj_span bytes, size_t offset)
{
    struct nj_mark mark = {.line = 1, .column = 1};

    for (size_t i = 0; i < bytes.len && i < offset; i++) {
        if (bytes.data[i] == '\n') {
            mark.line++;
            mark.column = 1;
        } else if ((bytes.data[i] & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static bool stands_at_tab(struct nj_span bytes, struct nj_mark mark)
{
    struct nj_mark at = {.line = 1, .column = 1};

    for (size_t i = 0; i < bytes.len; i++) {
        if (at.line == mark.line && at.column == mark.column)
            return bytes.data[i] == '\t';
        if (bytes.data[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if (i + 1 == bytes.len || (bytes.data[i + 1] & 0xc0) != 0x80) {
            at.column++; /* the last byte of a character */
        }
    }
    return false;
}

/*
 * Is there a %TAG directive? libyaml compares each with all before it, which costs minutes on a
 * file of the size that we accept, and tags are refused anyway. A directive stands at the beginning
 * of a line, and libyaml knows five ways to end one.
 */
static bool has_tag_directive(struct nj_span bytes, struct nj_mark *ret_mark)
{
    static const char *const breaks[] = {"\n", "\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    size_t from = 0;

    while (from < bytes.len) {
        const uint8_t *found = memmem(bytes.data + from, bytes.len - from, "%TAG", 4);
        size_t offset;
        bool at_start;

        if (!found)
            return false;
        offset = (size_t)(found - bytes.data);
        at_start = offset == 0;
        for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
            size_t len = strlen(breaks[i]);

            at_start |= offset >= len && memcmp(found - len, breaks[i], len) == 0;
        }
        if (at_start) {
            *ret_mark = mark_of_offset(bytes, offset);
            return true;
        }
        from = offset + 4;
    }
    return false;
}

/* ---- JSON's surrogate pairs, which libyaml does not know ---- */

static bool read_surrogate(const uint8_t *at, size_t left, uint32_t least, uint32_t *ret)
{
    uint32_t value = 0;

    if (left < 6 || at[0] != '\\' || at[1] != 'u')
        return false;
    for (size_t i = 2; i < 6; i++) {
        uint8_t c = at[i] | 0x20;

        if (!((at[i] >= '0' && at[i] <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        value = value << 4 | (uint32_t)(at[i] <= '9' ? at[i] - '0' : c - 'a' + 10);
    }
    *ret = value - least;
    return value >= least && value < least + 0x400;
}

/*
 * "\ud83d\ude00" becomes "\U0001f600", and the two bytes that this saves become spaces behind the
 * closing quote, so that every later mark stays right. Only where the file is JSON and nothing
 * else: a character that JSON does not have outside of strings, and the bytes are left alone.
 */
static int join_surrogates(struct nj_span bytes, struct nj_buf *out, struct nj_error *err)
{
    static const char outside[] = "{}[]:, \t\r\n+-.0123456789truefalsnEINFabcdABCD";
    bool in_string = false;
    size_t saved = 0;
    size_t i = 0;
    int r = 0;

    while (r == 0 && i < bytes.len) {
        const uint8_t *at = bytes.data + i;
        size_t left = bytes.len - i;
        size_t step = in_string && *at == '\\' && left > 1 ? 2 : 1;
        uint32_t high;
        uint32_t low;

        if (!in_string && *at != '"' && !memchr(outside, *at, sizeof(outside) - 1)) {
            nj_buf_clear(out);
            return 0;
        }
        if (step == 2 && read_surrogate(at, left, 0xd800, &high) && left > 6 &&
            read_surrogate(at + 6, left - 6, 0xdc00, &low)) {
            r = nj_buf_printf(out, err, "\\U%08x", 0x10000 + (high << 10) + low);
            saved += 2;
            i += 12;
            continue;
        }
        r = nj_buf_append(out, at, step, err);
        i += step;
        if (step == 2 || *at != '"')
            continue;
        in_string = !in_string;
        for (; r == 0 && !in_string && saved > 0; saved--)
            r = nj_buf_append(out, " ", 1, err);
    }
    return r;
}

static enum loaded stop_at(struct loader *loader, struct nj_mark mark, const char *text)
{
    char path[NJ_YAML_PATH_MAX_BYTES] = "";

    if (loader->depth > 0)
        nj_yaml_path(loader->frames[loader->depth - 1].node, path);
    nj_manifest_faults_add(loader->reader->faults, mark, path, "%s", text);
    loader->root = NULL;
    return LOAD_STOP;
}

static enum loaded syntax_fault(struct loader *loader)
{
    const yaml_parser_t *parser = &loader->parser;
    struct nj_mark mark = mark_of(loader, parser->problem_mark);
    const char *problem = parser->problem ? parser->problem : "no reason given";

    loader->root = NULL;
    switch (parser->error) {
    case YAML_MEMORY_ERROR:
        loader->reader->nomem = true;
        break;
    case YAML_READER_ERROR:
        mark = mark_of_offset(loader->bytes, parser->problem_offset);
        mark.file = loader->reader->file;
        nj_manifest_faults_add(loader->reader->faults, mark, NULL,
                               "not plain UTF-8 text: %s (offset %zu)", problem,
                               parser->problem_offset);
        break;
    case YAML_NO_ERROR:
    case YAML_SCANNER_ERROR:
    case YAML_PARSER_ERROR:
    case YAML_COMPOSER_ERROR:
    case YAML_WRITER_ERROR:
    case YAML_EMITTER_ERROR:
        if (stands_at_tab(loader->bytes, mark))
            nj_manifest_faults_add(loader->reader->faults, mark, NULL,
                                   "not YAML: a tab stands where only spaces may");
        else if (strstr(problem, "Unicode character escape"))
            nj_manifest_faults_add(
                loader->reader->faults, mark, NULL,
                "not YAML: this escape is no character (half of a surrogate pair?): "
                "write the character itself or \\U and eight digits");
        else if (parser->context)
            nj_manifest_faults_add(loader->reader->faults, mark, NULL,
                                   "not YAML: %s (%s in line %zu)", problem, parser->context,
                                   parser->context_mark.line + 1);
        else
            nj_manifest_faults_add(loader->reader->faults, mark, NULL, "not YAML: %s", problem);
        break;
    }
    return LOAD_STOP;
}

/* A new node in its place; NULL when the reading must stop. */
static struct nj_yaml_node *add_node(struct loader *loader, enum nj_yaml_kind kind,
                                     yaml_mark_t yaml_mark)
{
    struct frame *frame = loader->depth > 0 ? &loader->frames[loader->depth - 1] : NULL;
    struct nj_mark mark = mark_of(loader, yaml_mark);
    struct nj_yaml_node *node;

    if (++loader->nodes > loader->limits->max_nodes) {
        (void)stop_at(loader, mark, "too many values in one file");
        return NULL;
    }
    node = nj_arena_alloc(loader->reader->arena, sizeof(*node));
    if (!node) {
        loader->reader->nomem = true;
        loader->root = NULL;
        return NULL;
    }
    node->kind = kind;
    node->mark = mark;
    if (!frame) {
        loader->root = node;
        return node;
    }
    node->up = frame->node;
    node->key = frame->key;
    node->key_mark = frame->key_mark;
    node->merge = frame->merge;
    node->index = frame->node->count++;
    if (frame->last)
        frame->last->next = node;
    else
        frame->node->first = node;
    frame->last = node;
    frame->key = NULL;
    frame->merge = false;
    return node;
}

static bool wants_key(const struct loader *loader)
{
    const struct frame *frame = loader->depth > 0 ? &loader->frames[loader->depth - 1] : NULL;

    return frame && frame->node->kind == NJ_YAML_MAP && !frame->key;
}

static enum loaded no_memory(struct loader *loader)
{
    loader->reader->nomem = true;
    loader->root = NULL;
    return LOAD_STOP;
}

/* An anchor is kept for aliases to come, a tag is refused. */
static enum loaded take_decoration(struct loader *loader, struct nj_yaml_node *node,
                                   const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (tag)
        nj_yaml_fault(loader->reader, node, "tag %s: tags are not allowed; quotes make a text",
                      (const char *)tag);
    if (!anchor)
        return LOAD_MORE;
    if (loader->n_anchors == ANCHORS_MAX)
        return stop_at(loader, node->mark, "more than 256 anchors in one file");
    loader->anchors[loader->n_anchors].node = node;
    loader->anchors[loader->n_anchors].name =
        nj_arena_text(loader->reader->arena, (const char *)anchor);
    return loader->anchors[loader->n_anchors++].name ? LOAD_MORE : no_memory(loader);
}

static enum loaded take_key(struct loader *loader, const yaml_event_t *event)
{
    struct frame *frame = &loader->frames[loader->depth - 1];
    struct nj_span text = {event->data.scalar.value, event->data.scalar.length};
    struct nj_mark mark = mark_of(loader, event->start_mark);

    if (event->data.scalar.anchor || event->data.scalar.tag)
        return stop_at(loader, mark, "a key with an anchor or a tag: both are not allowed");
    if (memchr(text.data, '\0', text.len))
        return stop_at(loader, mark, "a key holds a NUL character");
    if (text.len > NJ_YAML_KEY_MAX_BYTES)
        return stop_at(loader, mark, "a key is longer than 160 bytes");
    frame->merge = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && nj_span_is(text, "<<");
    frame->key = nj_arena_span(loader->reader->arena, text);
    if (!frame->key) {
        loader->reader->nomem = true;
        loader->root = NULL;
        return LOAD_STOP;
    }
    frame->key_mark = mark;
    return LOAD_MORE;
}

static enum loaded take_scalar(struct loader *loader, const yaml_event_t *event)
{
    struct nj_span text = {event->data.scalar.value, event->data.scalar.length};
    struct nj_yaml_node *node;

    if (wants_key(loader))
        return take_key(loader, event);
    node = add_node(loader, NJ_YAML_SCALAR, event->start_mark);
    if (!node)
        return LOAD_STOP;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text.data = (const uint8_t *)nj_arena_span(loader->reader->arena, text);
    node->text.len = text.len;
    if (!node->text.data) {
        loader->reader->nomem = true;
        loader->root = NULL;
        return LOAD_STOP;
    }
    loader->text_bytes += text.len;
    return take_decoration(loader, node, event->data.scalar.anchor, event->data.scalar.tag);
}

/*
 * A copy of @from stands where the alias does; texts are shared, for nothing writes into them. What
 * aliases unfold to meets the same limits as what is written out, before it is made. Recursion goes
 * no deeper than max_depth.
 */
static enum loaded copy_below(struct loader *loader, const struct nj_yaml_node *from,
                              struct nj_yaml_node *to, size_t depth)
{
    struct nj_yaml_node *last = NULL;

    *to = (struct nj_yaml_node){.kind = from->kind,
                                .plain = from->plain,
                                .mark = from->mark,
                                .text = from->text,
                                .key = to->key,
                                .merge = to->merge,
                                .key_mark = to->key_mark,
                                .index = to->index,
                                .count = from->count,
                                .up = to->up};
    loader->text_bytes += from->text.len;
    if (loader->text_bytes > loader->limits->max_bytes)
        return stop_at(loader, from->mark, "aliases unfold to more text than one file may have");
    if (depth == loader->limits->max_depth && from->kind != NJ_YAML_SCALAR)
        return stop_at(loader, from->mark, "nested too deeply");
    for (const struct nj_yaml_node *child = from->first; child; child = child->next) {
        struct nj_yaml_node *copy;

        if (++loader->nodes > loader->limits->max_nodes)
            return stop_at(loader, from->mark, "too many values in one file");
        copy = nj_arena_alloc(loader->reader->arena, sizeof(*copy));
        if (!copy)
            return no_memory(loader);
        copy->key = child->key;
        copy->key_mark = child->key_mark;
        copy->index = child->index;
        copy->up = to;
        if (last)
            last->next = copy;
        else
            to->first = copy;
        last = copy;
        if (copy_below(loader, child, copy, depth + 1) == LOAD_STOP)
            return LOAD_STOP;
    }
    return LOAD_MORE;
}

static enum loaded take_alias(struct loader *loader, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct nj_yaml_node *from = NULL;
    struct nj_yaml_node *node;

    if (wants_key(loader))
        return stop_at(loader, mark_of(loader, event->start_mark), "a key cannot be an alias");
    for (size_t i = loader->n_anchors; !from && i > 0; i--) {
        if (strcmp(loader->anchors[i - 1].name, name) == 0)
            from = loader->anchors[i - 1].node;
    }
    node = add_node(loader, NJ_YAML_BROKEN, event->start_mark);
    if (!node)
        return LOAD_STOP;
    if (!from) {
        nj_yaml_fault(loader->reader, node, "alias *%s: there is no anchor &%s before it", name,
                      name);
        return LOAD_MORE;
    }
    for (size_t i = 0; i < loader->depth; i++) {
        if (loader->frames[i].node == from) {
            nj_yaml_fault(loader->reader, node, "alias *%s stands inside of what it names", name);
            return LOAD_MORE;
        }
    }
    return copy_below(loader, from, node, loader->depth);
}

static enum loaded open_collection(struct loader *loader, const yaml_event_t *event,
                                   enum nj_yaml_kind kind, const yaml_char_t *anchor,
                                   const yaml_char_t *tag)
{
    struct nj_yaml_node *node;

    if (wants_key(loader))
        return stop_at(loader, mark_of(loader, event->start_mark),
                       "a key must be a text, not a list or a map");
    if (loader->depth == loader->limits->max_depth)
        return stop_at(loader, mark_of(loader, event->start_mark), "nested too deeply");
    node = add_node(loader, kind, event->start_mark);
    if (!node)
        return LOAD_STOP;
    if (take_decoration(loader, node, anchor, tag) == LOAD_STOP)
        return LOAD_STOP;
    loader->frames[loader->depth++] = (struct frame){.node = node};
    return LOAD_MORE;
}

static int by_key(const void *a, const void *b)
{
    const struct nj_yaml_node *left = *(const struct nj_yaml_node *const *)a;
    const struct nj_yaml_node *right = *(const struct nj_yaml_node *const *)b;
    int order = strcmp(left->key, right->key);

    if (order != 0)
        return order;
    return left->index < right->index ? -1 : 1;
}

/* Sorted rather than compared one by one: a hostile map may hold all the nodes of a file. */
static enum loaded refuse_duplicates(struct loader *loader, const struct nj_yaml_node *map)
{
    nj_auto_free const struct nj_yaml_node **sorted = NULL;
    const struct nj_yaml_node *original;
    size_t n = 0;

    if (map->count < 2)
        return LOAD_MORE;
    sorted = calloc(map->count, sizeof(*sorted)); /* max_nodes at most */
    if (!sorted) {
        loader->reader->nomem = true;
        loader->root = NULL;
        return LOAD_STOP;
    }
    for (const struct nj_yaml_node *node = map->first; node; node = node->next)
        sorted[n++] = node;
    qsort(sorted, n, sizeof(*sorted), by_key);
    original = sorted[0];
    for (size_t i = 1; i < n; i++) {
        if (strcmp(original->key, sorted[i]->key) == 0)
            nj_yaml_fault_key(loader->reader, sorted[i], "given twice: first in line %u",
                              original->key_mark.line);
        else
            original = sorted[i];
    }
    return LOAD_MORE;
}

/* What @from has and @map has not; the nodes are copies already and only move. */
static void bring_in(struct nj_yaml_node *map, const struct nj_yaml_node *from)
{
    const struct nj_yaml_node *next;

    for (const struct nj_yaml_node *child = from->first; child; child = next) {
        struct nj_yaml_node *moved = nj_yaml_mutable(child);

        next = child->next;
        if (nj_yaml_get(map, child->key))
            continue;
        nj_yaml_unlink(moved);
        nj_yaml_append(map, moved, moved->key, moved->key_mark);
    }
}

/* "<<: *base" and "<<: [*near, *far]": the map's own keys count, then the nearest. */
static enum loaded merge(struct loader *loader, struct nj_yaml_node *map)
{
    const struct nj_yaml_node *next;

    for (const struct nj_yaml_node *child = map->first; child; child = next) {
        struct nj_yaml_node *value = nj_yaml_mutable(child);

        next = child->next;
        if (!child->merge)
            continue;
        if (map->count > MERGED_KEYS_MAX)
            return stop_at(loader, child->key_mark, "more than 4096 keys in a map that merges");
        nj_yaml_unlink(value);
        if (value->kind == NJ_YAML_MAP && value->count <= MERGED_KEYS_MAX) {
            bring_in(map, value);
            continue;
        }
        for (const struct nj_yaml_node *item = value->first; item; item = item->next) {
            if (value->kind != NJ_YAML_SEQ || item->kind != NJ_YAML_MAP ||
                map->count + item->count > MERGED_KEYS_MAX)
                break;
            bring_in(map, item);
            if (!item->next)
                value->kind = NJ_YAML_BROKEN; /* done */
        }
        if (value->kind != NJ_YAML_BROKEN)
            return stop_at(loader, child->key_mark,
                           "<< takes a map or a list of maps (*name), of 4096 keys at most");
    }
    return LOAD_MORE;
}

static enum loaded close_collection(struct loader *loader)
{
    struct nj_yaml_node *node = loader->frames[--loader->depth].node;

    if (node->kind != NJ_YAML_MAP)
        return LOAD_MORE;
    if (refuse_duplicates(loader, node) == LOAD_STOP)
        return LOAD_STOP;
    for (const struct nj_yaml_node *child = node->first; child; child = child->next) {
        if (child->merge)
            return merge(loader, node);
    }
    return LOAD_MORE;
}

static enum loaded take_event(struct loader *loader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return LOAD_MORE;
    case YAML_STREAM_END_EVENT:
        return LOAD_STOP;
    case YAML_DOCUMENT_START_EVENT:
        if (loader->documents++ > 0)
            return stop_at(loader, mark_of(loader, event->start_mark),
                           "a second document begins here: a file holds one");
        return LOAD_MORE;
    case YAML_ALIAS_EVENT:
        return take_alias(loader, event);
    case YAML_SCALAR_EVENT:
        return take_scalar(loader, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(loader, event, NJ_YAML_SEQ, event->data.sequence_start.anchor,
                               event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return open_collection(loader, event, NJ_YAML_MAP, event->data.mapping_start.anchor,
                               event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_collection(loader);
    }
    return LOAD_STOP;
}

static void load_events(struct loader *loader)
{
    enum loaded loaded = LOAD_MORE;

    while (loaded == LOAD_MORE) {
        yaml_event_t event;

        if (!yaml_parser_parse(&loader->parser, &event)) {
            (void)syntax_fault(loader);
            return;
        }
        loaded = take_event(loader, &event);
        yaml_event_delete(&event);
    }
}

int nj_yaml_load(struct nj_span bytes, const struct nj_yaml_limits *limits,
                 struct nj_yaml_reader *reader, const struct nj_yaml_node **ret_root,
                 struct nj_error *err)
{
    struct loader loader = {.limits = limits, .reader = reader};
    nj_auto_free struct frame *frames = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf joined = {0};
    static const uint8_t byte_order_mark[] = {0xef, 0xbb, 0xbf};
    struct nj_mark mark;
    size_t faults_before = reader->faults->count + reader->faults->dropped;

    *ret_root = NULL;
    if (bytes.len > limits->max_bytes) {
        nj_manifest_faults_add(reader->faults, (struct nj_mark){.file = reader->file}, NULL,
                               "the file has %zu bytes, at most %zu are read", bytes.len,
                               limits->max_bytes);
        return 0;
    }
    if (bytes.len >= sizeof(byte_order_mark) &&
        memcmp(bytes.data, byte_order_mark, sizeof(byte_order_mark)) == 0) {
        bytes.data += sizeof(byte_order_mark);
        bytes.len -= sizeof(byte_order_mark);
    }
    if (has_tag_directive(bytes, &mark)) {
        mark.file = reader->file;
        nj_manifest_faults_add(reader->faults, mark, NULL, "%%TAG directives are not allowed");
        return 0;
    }
    if (bytes.len > 0 && memmem(bytes.data, bytes.len, "\\u", 2)) {
        nj_buf_init(&joined, bytes.len);
        if (join_surrogates(bytes, &joined, err) < 0)
            return -(int)err->code;
        if (joined.len > 0)
            bytes = nj_buf_span(&joined);
    }
    frames = calloc(limits->max_depth, sizeof(*frames));
    if (!frames || !yaml_parser_initialize(&loader.parser))
        return nj_fail_nomem(err);
    loader.frames = frames;
    loader.bytes = bytes;
    /* Named, so that nothing is guessed: UTF-16 is refused like any other bytes. */
    yaml_parser_set_encoding(&loader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&loader.parser, bytes.data ? bytes.data : byte_order_mark,
                                 bytes.len);
    load_events(&loader);
    yaml_parser_delete(&loader.parser);

    if (reader->nomem || reader->faults->nomem)
        return nj_fail_nomem(err);
    if (!loader.root && reader->faults->count + reader->faults->dropped == faults_before)
        nj_manifest_faults_add(reader->faults, (struct nj_mark){1, 1, reader->file}, NULL,
                               "the file is empty");
    *ret_root = loader.root;
    return 0;
}

int nj_yaml_end(struct nj_yaml_reader *reader, const char *name, struct nj_error *err)
{
    if (reader->nomem)
        return nj_fail_nomem(err);
    nj_manifest_faults_sort(reader->faults);
    return nj_manifest_faults_fail(reader->faults, name, err);
}
