/*
 * vault_inside.h - what the two ends of the vault share
 *
 * One message each way over a SOCK_SEQPACKET pair. What the engine sends is checked like any
 * stranger's: it may have been taken over, the vault must not be.
 */
#ifndef NJ_VAULT_INSIDE_H
#define NJ_VAULT_INSIDE_H

#include <sys/queue.h>

#include "batch/gateway/vault.h"

#define VAULT_NAME_MAX_BYTES 264u
#define VAULT_HOSTS_MAX 64u
#define VAULT_ROOM_BYTES (NJ_VAULT_MASK_MAX_BYTES + 256u) /* of a message */

enum vault_kind { VAULT_HEADER = 1, VAULT_MASK = 2 };

/* Every text ends with a NUL within its field. */
struct vault_ask {
    uint32_t kind;
    uint32_t credential;
    char host[VAULT_NAME_MAX_BYTES];
    char method[32];
    char default_header[128];
    char default_format[256];
};

struct vault_mask {
    uint32_t kind;
    uint32_t len;
    char text[NJ_VAULT_MASK_MAX_BYTES];
};

/* The first answer tells whether the secrets could be read; text is a header, or what is wrong. */
struct vault_answer {
    uint32_t code; /* 0, or an enum nj_error_code */
    uint32_t len;  /* of text, without its end */
    char text[NJ_VAULT_LINE_MAX_BYTES];
};

struct vault_secret {
    const struct nj_manifest_credential *spec;
    char *value; /* in the locked memory; NULL: nobody needs it */
    size_t len;
    const char *hosts[VAULT_HOSTS_MAX]; /* of the models that name it */
    size_t n_hosts;
};

/* All that is secret, in one locked mapping; the rest of the process never holds a byte of it. */
struct vault_memory {
    char *base;
    size_t size;
    size_t used;
};

struct vault_inside {
    const struct nj_manifest *manifest;
    struct vault_secret *secrets; /* one a credential of the manifest */
    struct vault_memory memory;
    void *message; /* VAULT_ROOM_BYTES in the locked memory */
    void *answer;  /* likewise */
    int fd;
};

#define VAULT_ANSWER_TIMEOUT_S 5 /* the vault waits for nothing: longer means that it hangs */

TAILQ_HEAD(vault_waits, nj_credential_wait);

/* The engine's end. */
struct nj_vault {
    int fd; /* -1: no credential is needed */
    pid_t pid;
    struct event *heard;      /* NULL: no loop is attached */
    struct vault_waits waits; /* in the order of their answers: first those that were sent */
    size_t n_sent;
    void *message; /* VAULT_ROOM_BYTES for an answer, while a loop is attached */
    bool late;     /* it has let the time pass once; this process itself may have been stopped */
    bool gone;     /* it has ended, or hangs: nobody is answered any more */
};

/* vault_hear - one message of the vault; a strange one is a vault that is gone. @flags as recv()'s;
 * with MSG_DONTWAIT *ret_len is 0 when there is none yet. */
int vault_hear(struct nj_vault *vault, void *out, size_t size, int flags, size_t *ret_len,
               struct nj_error *err) NJ_MUST_USE;
int vault_take_answer(const struct vault_answer *answer, size_t len,
                      struct nj_error *err) NJ_MUST_USE;

void vault_forget_all(struct nj_vault *vault);

/* vault_read - one credential's secret into the locked memory; NJ_E_INPUT with place and cure */
int vault_read(struct vault_inside *inside, struct vault_secret *secret,
               const struct nj_vault_options *options, struct nj_error *err) NJ_MUST_USE;

/* vault_process - the child's whole life; never returns */
void vault_process(struct vault_inside *inside, const struct nj_vault_options *options)
    __attribute__((noreturn));

/* vault_answer_header, vault_mask_text - the pure part of answering */
int vault_answer_header(const struct vault_inside *inside, const struct vault_ask *ask, char *line,
                        size_t size, struct nj_error *err) NJ_MUST_USE;
void vault_mask_text(const struct vault_inside *inside, char *text, size_t len);

/* vault_wipe_environment - the variable's bytes are overwritten where the kernel shows them */
void vault_wipe_environment(const char *name);

#endif
