/*
 * fuzz_tree.c - the bytes of a directory
 *
 * Property: what decodes can be encoded (the decoder lets nothing pass that the encoder asserts),
 * and decodes again to an equal encoding; each entry is found by its name. A list of leaves is
 * decoded, too; that what it names fits together is for fuzz_walk.c.
 */
#include <stdlib.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf first = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf second = {0};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_error err = {0};
    struct nj_leaf_list leaves;
    struct nj_tree tree;
    struct nj_tree again;

    if (nj_tree_decode_stored((struct nj_span){data, size}, &arena, &tree, &leaves, &err) < 0 ||
        leaves.n > 0)
        return 0;
    nj_buf_init(&first, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    nj_buf_init(&second, 2 * (size_t)NJ_OBJECT_MAX_BYTES);
    if (nj_tree_encode(&tree, &first, &err) < 0 || first.len > size)
        abort();
    if (nj_tree_decode(nj_buf_span(&first), &arena, &again, &err) < 0)
        abort();
    if (nj_tree_encode(&again, &second, &err) < 0 ||
        !nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)))
        abort();
    for (size_t i = 0; i < tree.n_entries; i++)
        if (nj_tree_find(&tree, tree.entries[i].name) != &tree.entries[i])
            abort();
    return 0;
}
