/*
 * secrets.h - the vault of a run, between the manifest and the models
 */
#ifndef NJ_ENGINE_SECRETS_H
#define NJ_ENGINE_SECRETS_H

#include "batch/gateway/vault.h"
#include "batch/model/model.h"

/*
 * nj_secrets_start - start the vault and hand its functions to the models
 *
 * @manifest_dir  where `file` and `command` credentials begin; NULL or empty: the run does not know
 * @allow         --allow-path, as in nj_roots_open()
 * @resumed_dir   of a run that goes on, else -1: as root, its owner reads the sources, since
 *                he could have written there what root should read for him
 *
 * Call it before anything else is forked: the variables are wiped here.
 */
int nj_secrets_start(const struct nj_manifest *manifest, const char *manifest_dir,
                     const char *const *allow, int resumed_dir, struct nj_models *models,
                     struct nj_vault **ret_vault, struct nj_error *err) NJ_MUST_USE;

#endif
