/*
 * vault.h - a process of its own that holds the secrets and gives out one header at a time
 *
 * nj_vault_start() forks it before the engine has threads, boxes or other children. It reads every
 * credential that a model of the job needs, locks the memory, drops what rights it has, and from
 * then on does nothing but answer: it has no file, no network and a list of six system calls. The
 * engine asks with nj_vault_ask() for each request; nj_vault_mask() blots a secret out of an error
 * text that a server sent, before it is recorded. A vault without credentials is no process at all.
 *
 * A credential goes to the hosts that the manifest lists for it; where it lists none, to those of
 * the models that name it. "name" means the scheme's own port, "name:port" that port.
 */
#ifndef NJ_VAULT_H
#define NJ_VAULT_H

#include "batch/http/credential.h"
#include "formats/manifest/manifest.h"

#define NJ_VAULT_SECRET_MAX_BYTES 6144u
#define NJ_VAULT_LINE_MAX_BYTES 8192u       /* of a header, with its end */
#define NJ_VAULT_MASK_MAX_BYTES (66u << 10) /* of a text that may hold secrets */

struct nj_vault;

struct nj_vault_options {
    /* Opens the path of a `file` credential. Called in the vault's process, with the rights of
     * whoever started the run (or of @reader). */
    int (*open_file)(void *ctx, const char *path, int *ret_fd, struct nj_error *err);
    void *ctx;
    int dir_fd; /* where a `command` is run; borrowed for the call */
    /* As root, who reads files and runs commands: on a resume the run's owner, since he can write
     * what root would read there. 0: the caller himself. */
    uid_t reader_uid;
    gid_t reader_gid;
};

/*
 * nj_vault_start - fork the vault and wait until it has read every secret
 *
 * Wipes the variables of all `env` credentials from this process's environment, whether they are
 * needed or not. Fails with NJ_E_INPUT, naming the credential and its line, when one cannot be had.
 */
int nj_vault_start(const struct nj_manifest *manifest, const struct nj_vault_options *options,
                   struct nj_vault **ret_vault, struct nj_error *err) NJ_MUST_USE;
void nj_vault_free(struct nj_vault *vault); /* the process ends; accepts NULL */
NJ_DEFINE_AUTO_PTR(struct nj_vault, nj_vault_free);

/*
 * nj_vault_attach, nj_vault_ask, nj_vault_mask, nj_vault_forget - as struct nj_credentials says
 * (credential.h)
 *
 * A round trip over a socket pair takes some 20 microseconds, and on a busy machine as long as the
 * vault waits for a processor. Questions are answered in their order. An answer that does not come
 * within ten seconds is one of a vault that hangs: that question and all later ones fail.
 */
int nj_vault_attach(void *vault, struct event_base *base, struct nj_error *err) NJ_MUST_USE;
int nj_vault_ask(void *vault, const struct nj_credential_ask *ask, nj_credential_answered *answered,
                 void *answered_ctx, struct nj_credential_wait **ret_wait,
                 struct nj_error *err) NJ_MUST_USE;
void nj_vault_forget(struct nj_credential_wait *wait);

/* nj_vault_mask - replace every secret in @text by asterisks; also the beginning of one (8 bytes
 * and more) that something cut off. What is longer than NJ_VAULT_MASK_MAX_BYTES becomes asterisks.
 */
bool nj_vault_mask(void *vault, char *text, size_t len, nj_credential_masked *masked,
                   void *masked_ctx, struct nj_credential_wait **ret_wait);

#endif
