/*
 * secrets.c - where the vault meets the manifest's folder and the models
 */
#include "batch/engine/secrets.h"

#include <errno.h>
#include <fcntl.h>

#include "batch/plan/roots.h"

#include "formats/base/banned.h"

struct places {
    const char *manifest_dir;
    struct nj_roots roots;
};

static int open_file(void *ctx, const char *path, int *ret_fd, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    const struct places *places = ctx;
    struct nj_place place;
    int r;

    if (places->roots.count == 0)
        return nj_fail(err, NJ_E_INPUT, "the run does not know where its job was read");
    if (nj_roots_place(&places->roots, path, &arena, &place, err) < 0)
        return -(int)err->code;
    r = nj_roots_reach(&places->roots, place.root, place.rest, O_RDONLY | O_NONBLOCK | O_NOCTTY,
                       ret_fd);
    if (r == EXDEV)
        return nj_fail(err, NJ_E_INPUT, "%s: a link leads out of %s", path, places->manifest_dir);
    return r > 0 ? nj_fail_errno(err, r, "open %s (in %s)", path, places->manifest_dir) : 0;
}

int nj_secrets_start(const struct nj_manifest *manifest, const char *manifest_dir,
                     const char *const *allow, int resumed_dir, struct nj_models *models,
                     struct nj_vault **ret_vault, struct nj_error *err)
{
    const bool known = manifest_dir && *manifest_dir;
    struct places places = {.manifest_dir = known ? manifest_dir : "?"};
    struct nj_vault_options options = {.open_file = open_file, .ctx = &places, .dir_fd = -1};
    struct nj_credentials credentials;
    nj_auto_close int dir_fd = -1;
    struct stat st;
    int r = 0;

    dir_fd = open(known ? manifest_dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    options.dir_fd = dir_fd;
    if (dir_fd >= 0 && known)
        r = nj_roots_open(dir_fd, allow, &places.roots, err);
    if (r == 0 && resumed_dir >= 0) {
        if (fstat(resumed_dir, &st) < 0)
            r = nj_fail_errno(err, errno, "look at the run's folder");
        options.reader_uid = st.st_uid;
        options.reader_gid = st.st_gid;
    }
    if (r == 0)
        r = nj_vault_start(manifest, &options, ret_vault, err);
    nj_roots_done(&places.roots);
    if (r < 0)
        return r;
    credentials = (struct nj_credentials){.attach = nj_vault_attach,
                                          .ask = nj_vault_ask,
                                          .forget = nj_vault_forget,
                                          .mask = nj_vault_mask,
                                          .ctx = *ret_vault};
    nj_models_set_credentials(models, &credentials);
    return 0;
}
