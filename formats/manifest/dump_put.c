/*
 * dump_put.c - the pieces of a dump, and its items
 */
#include "formats/manifest/dump.h"

#include "formats/base/utf8.h"
#include "formats/manifest/read.h"

#include "formats/base/banned.h"

void nj_dump_put(struct nj_dump *dump, const char *text)
{
    if (dump->r == 0)
        dump->r = nj_buf_text(dump->out, text, dump->err);
}

void nj_dump_put_number(struct nj_dump *dump, const char *before, uint64_t value)
{
    if (dump->r == 0)
        dump->r =
            nj_buf_printf(dump->out, dump->err, "%s%llu\n", before, (unsigned long long)value);
}

/* Text as it is, but escaped where neither YAML nor JSON would take the character raw. */
void nj_dump_put_escaped(struct nj_dump *dump, const char *text, bool escape_quotes)
{
    struct nj_span from = nj_span_text(text);

    while (dump->r == 0 && from.len > 0) {
        uint32_t point = 0;
        size_t len = nj_utf8_next(from, &point);
        bool raw =
            !nj_utf8_is_unsafe(point) && point != 0xfeff && point != 0xfffe && point != 0xffff;

        if (len == 0) {
            dump->r = nj_fail(dump->err, NJ_E_INPUT, "a text is not UTF-8");
            return;
        }
        if (escape_quotes && (point == '"' || point == '\\'))
            dump->r = nj_buf_printf(dump->out, dump->err, "\\%c", (char)point);
        else if (point == '\n' && escape_quotes)
            dump->r = nj_buf_text(dump->out, "\\n", dump->err);
        else if (raw)
            dump->r = nj_buf_append(dump->out, from.data, len, dump->err);
        else if (point <= 0xffff)
            dump->r = nj_buf_printf(dump->out, dump->err, "\\u%04x", point);
        else
            dump->r = nj_buf_printf(dump->out, dump->err, "\\U%08x", point);
        from.data += len;
        from.len -= len;
    }
}

void nj_dump_put_quoted(struct nj_dump *dump, const char *text)
{
    nj_dump_put(dump, "\"");
    nj_dump_put_escaped(dump, text, true);
    nj_dump_put(dump, "\"");
}

void nj_dump_put_text(struct nj_dump *dump, const char *before, const char *text)
{
    if (!text)
        return;
    nj_dump_put(dump, before);
    nj_dump_put_quoted(dump, text);
    nj_dump_put(dump, "\n");
}

void nj_dump_put_word(struct nj_dump *dump, const char *before, const char *word)
{
    nj_dump_put(dump, before);
    nj_dump_put(dump, word);
    nj_dump_put(dump, "\n");
}

void nj_dump_put_micro(struct nj_dump *dump, const char *before, int64_t micro)
{
    if (dump->r == 0)
        dump->r = nj_buf_printf(dump->out, dump->err, "%s%lld.%06lld\n", before,
                                (long long)(micro / 1000000), (long long)(micro % 1000000));
}

void nj_dump_put_texts(struct nj_dump *dump, const char *before,
                       const struct nj_manifest_texts *texts)
{
    nj_dump_put(dump, before);
    nj_dump_put(dump, "[");
    for (size_t i = 0; i < texts->count; i++) {
        nj_dump_put(dump, i > 0 ? ", " : "");
        nj_dump_put_quoted(dump, texts->items[i].text);
    }
    nj_dump_put(dump, "]\n");
}

/* ---- items ---- */

static void dump_list(struct nj_dump *dump, const char *indent, const struct nj_manifest_axis *axis)
{
    nj_dump_put(dump, indent);
    nj_dump_put(dump, nj_manifest_for_each_kinds[axis->kind]);
    if (axis->kind != NJ_FOR_EACH_VALUES) {
        nj_dump_put_text(dump, ": ", axis->text);
    } else {
        nj_dump_put(dump, ":\n");
        for (size_t i = 0; i < axis->values.count; i++) {
            nj_dump_put(dump, indent);
            nj_dump_put(dump, "  - ");
            nj_dump_put_escaped(dump, axis->values.items[i].text, false);
            nj_dump_put(dump, "\n");
        }
    }
    if (axis->kind != NJ_FOR_EACH_CSV)
        return;
    nj_dump_put(dump, indent);
    nj_dump_put(dump, "delimiter: ");
    nj_dump_put_quoted(dump, (const char[]){axis->delimiter, '\0'});
    nj_dump_put(dump, "\n");
    if (axis->fields.count == 0)
        return;
    nj_dump_put(dump, indent);
    nj_dump_put_texts(dump, "fields: ", &axis->fields);
}

static void dump_test(struct nj_dump *dump, const struct nj_manifest_test *test)
{
    nj_dump_put(dump, "        ");
    nj_dump_put(dump, nj_manifest_tests[test->kind]);
    nj_dump_put(dump, ": ");
    if (test->kind == NJ_TEST_EXISTS) {
        nj_dump_put(dump, test->exists ? "true\n" : "false\n");
        return;
    }
    if (test->n_values != 1)
        nj_dump_put(dump, "[");
    for (size_t i = 0; i < test->n_values; i++) {
        nj_dump_put(dump, i > 0 ? ", " : "");
        if (test->values[i].number)
            nj_dump_put(dump, test->values[i].text);
        else
            nj_dump_put_quoted(dump, test->values[i].text);
    }
    nj_dump_put(dump, test->n_values != 1 ? "]\n" : "\n");
}

static void dump_override(struct nj_dump *dump, const struct nj_manifest_override *override)
{
    if (override->mark.line == 0)
        return;
    if (!override->model && !override->instructions && !override->input && !override->turns &&
        !override->session_budget_usd) {
        nj_dump_put(dump, "    override: {}\n");
        return;
    }
    nj_dump_put(dump, "    override:\n");
    nj_dump_put_text(dump, "      model: ", override->model);
    nj_dump_put_text(dump, "      instructions: ", override->instructions);
    nj_dump_put_text(dump, "      input: ", override->input);
    if (override->turns || override->session_budget_usd)
        nj_dump_put(dump, "      limits:\n");
    nj_dump_put_text(dump, "        turns: ", override->turns);
    nj_dump_put_text(dump, "        session_budget_usd: ", override->session_budget_usd);
}

void nj_dump_items(struct nj_dump *dump, const struct nj_manifest_group *group)
{
    if (group->for_each == NJ_FOR_EACH_NONE)
        return;
    if (group->for_each != NJ_FOR_EACH_MATRIX) {
        nj_dump_put(dump, "    for_each:\n");
        dump_list(dump, "      ", &group->axes[0]);
    } else {
        nj_dump_put(dump, "    matrix:\n");
        for (size_t i = 0; i < group->n_axes; i++) {
            nj_dump_put(dump, "      ");
            nj_dump_put_quoted(dump, group->axes[i].name);
            nj_dump_put(dump, ":\n");
            dump_list(dump, "        ", &group->axes[i]);
        }
    }
    if (group->n_where > 0)
        nj_dump_put(dump, "    where:\n");
    for (size_t i = 0; i < group->n_where; i++) {
        /* The tests of one field follow each other: they were one map. */
        if (i == 0 || strcmp(group->where[i].field, group->where[i - 1].field) != 0) {
            nj_dump_put(dump, "      ");
            nj_dump_put_quoted(dump, group->where[i].field);
            nj_dump_put(dump, ":\n");
        }
        dump_test(dump, &group->where[i]);
    }
    if (group->first > 0)
        nj_dump_put_number(dump, "    first: ", group->first);
    if (group->may_be_empty)
        nj_dump_put(dump, "    may_be_empty: true\n");
    dump_override(dump, &group->override);
}
