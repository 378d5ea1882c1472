/*
 * ran.c - the list of files that ran in a call, as a canonical map
 */
#include "formats/object/ran.h"

#include <assert.h>
#include <stdlib.h>

#include "formats/object/inside.h"

#include "formats/base/banned.h"

static int compare_spans(struct nj_span a, struct nj_span b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_files(const void *a, const void *b)
{
    const struct nj_ran_file *left = a, *right = b;

    return compare_spans(left->path, right->path);
}

bool nj_ran_path_valid(struct nj_span path)
{
    return path.len > 0 && path.len <= NJ_RAN_PATH_MAX_BYTES && path.data[0] == '/' &&
           !memchr(path.data, '\0', path.len);
}

void nj_ran_sort(struct nj_ran *ran)
{
    size_t kept = 0;

    if (ran->n_files == 0)
        return;
    qsort(ran->files, ran->n_files, sizeof(*ran->files), compare_files);
    for (size_t i = 1; i < ran->n_files; i++)
        if (compare_files(&ran->files[kept], &ran->files[i]) != 0)
            ran->files[++kept] = ran->files[i];
    ran->n_files = kept + 1;
}

int nj_ran_encode(const struct nj_ran *ran, struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer packer;

    if (ran->n_files > NJ_RAN_FILES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "%zu files ran: at most %d are listed", ran->n_files,
                       NJ_RAN_FILES_MAX);
    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 2);
    nj_pack_text(&packer, "f");
    nj_pack_array(&packer, ran->n_files);
    for (size_t i = 0; i < ran->n_files; i++) {
        const struct nj_ran_file *file = &ran->files[i];

        assert(nj_ran_path_valid(file->path));
        assert(i == 0 || compare_files(file - 1, file) < 0);
        nj_pack_array(&packer, 3);
        nj_pack_bin(&packer, file->path);
        nj_pack_uint(&packer, file->bytes);
        nj_pack_int(&packer, file->mtime_ns);
    }
    nj_pack_put_bool(&packer, "m", ran->more);
    return nj_packer_end(&packer, err);
}

static int decode_file(const struct nj_pack_at *array, struct nj_ran_file *file,
                       struct nj_error *err)
{
    struct nj_pack_at item;
    size_t count;

    if (nj_pack_as_array(array, &count, err) < 0)
        return -(int)err->code;
    if (count != 3)
        return nj_pack_fail(array, err, "%zu items, not a path, a size and a time", count);
    if (nj_pack_item(array, 0, &item, err) < 0 || nj_pack_as_bin(&item, &file->path, err) < 0)
        return -(int)err->code;
    if (!nj_ran_path_valid(file->path))
        return nj_pack_fail(&item, err, "not an absolute path of at most %d bytes",
                            NJ_RAN_PATH_MAX_BYTES);
    if (nj_pack_item(array, 1, &item, err) < 0 ||
        nj_pack_as_uint(&item, INT64_MAX, &file->bytes, err) < 0 ||
        nj_pack_item(array, 2, &item, err) < 0 || nj_pack_as_int(&item, &file->mtime_ns, err) < 0)
        return -(int)err->code;
    return 0;
}

int nj_ran_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_ran *ret_ran,
                  struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_pack_at root, array, item;
    struct nj_ran ran = {0};
    unsigned present;

    if (nj_object_open(&doc, "ran", bytes, &root, err) < 0 ||
        nj_object_keys(&root, "fm", &present, err) < 0 ||
        nj_pack_get_array(&root, "f", &array, &ran.n_files, err) < 0 ||
        nj_pack_get_bool(&root, "m", &ran.more, err) < 0)
        return -(int)err->code;
    if (ran.n_files > NJ_RAN_FILES_MAX)
        return nj_pack_fail(&array, err, "%zu files, at most %d are listed", ran.n_files,
                            NJ_RAN_FILES_MAX);
    ran.files = nj_arena_array(arena, ran.n_files ? ran.n_files : 1, sizeof(*ran.files));
    if (!ran.files)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < ran.n_files; i++) {
        if (nj_pack_item(&array, i, &item, err) < 0 || decode_file(&item, &ran.files[i], err) < 0)
            return -(int)err->code;
        if (i > 0 && compare_files(&ran.files[i - 1], &ran.files[i]) >= 0)
            return nj_pack_fail(&item, err, "not in order of its path, or twice there");
    }
    *ret_ran = ran;
    return 0;
}
