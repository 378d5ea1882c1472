/*
 * protocol.h - what engine, helper and supervisors say to each other
 *
 * One message is one SOCK_SEQPACKET datagram: a canonical msgpack map with the key "kind", at most
 * NJ_MSG_MAX_BYTES. Bulk data (objects, scripts, long output) travels beside it in sealed memfds.
 * Both ends treat what arrives as hostile: the helper keeps privileges the engine gave up, and a
 * supervisor stands next to what an agent runs.
 *
 *   engine -> helper:      OPEN (box socket)   INPUT (objects)
 *   helper -> engine:      READY or FAILED, once; DONE or FAILED, for each INPUT
 *   supervisor -> engine:  OPENED or FAILED, once; then for RESTORE: DONE, for CALL: OUTPUT...
 * CALLED, for SCAN: SCANNED; FAILED in place of any of them engine -> supervisor:  RESTORE
 * (objects)   CALL (script, input)   CANCEL   SCAN
 */
#ifndef NJ_SANDBOX_PROTOCOL_H
#define NJ_SANDBOX_PROTOCOL_H

#include "batch/sandbox/sandbox.h"

/* Below the default socket buffer (net.core.wmem_default, 208 KiB), which bounds a datagram. */
#define NJ_MSG_MAX_BYTES (160u << 10)
#define NJ_MSG_FDS_MAX 2
#define NJ_MSG_PIECE_MAX_BYTES (32u << 10) /* of OUTPUT */
#define NJ_MSG_INLINE_MAX_BYTES                                                                    \
    (128u << 10) /* heads and tails of CALLED; more goes into a memfd                              \
                  */
#define NJ_BOX_ARGS_MAX 256
#define NJ_BOX_STREAM_MAX_BYTES (8u << 20) /* head or tail of one stream */

/* Each message once: enumerator, stored number, name. */
#define NJ_MSG_KINDS(X)                                                                            \
    X(OPEN, 1, "open")                                                                             \
    X(INPUT, 2, "input")                                                                           \
    X(READY, 3, "ready")                                                                           \
    X(OPENED, 4, "opened")                                                                         \
    X(RESTORE, 5, "restore")                                                                       \
    X(CALL, 6, "call")                                                                             \
    X(CANCEL, 7, "cancel")                                                                         \
    X(SCAN, 8, "scan")                                                                             \
    X(DONE, 9, "done")                                                                             \
    X(FAILED, 10, "failed")                                                                        \
    X(OUTPUT, 11, "output")                                                                        \
    X(CALLED, 12, "called")                                                                        \
    X(SCANNED, 13, "scanned")                                                                      \
    X(ROOTFS, 14, "rootfs")

enum nj_msg_kind {
#define X(name, value, text) NJ_MSG_##name = value,
    NJ_MSG_KINDS(X)
#undef X
};

struct nj_msg {
    enum nj_msg_kind kind;
    union {
        struct {
            uint64_t box; /* number of the box in this run, from 1 */
            struct nj_box_plan plan;
        } open;
        struct nj_workspace_ref ref; /* INPUT, RESTORE */
        struct {
            struct nj_workspace_ref ref;
            bool is_tar;
        } rootfs;
        struct {
            pid_t pid;
        } opened;
        struct {
            struct nj_box_call
                call; /* script and input stay empty: they are descriptors, in this order */
            bool has_script;
            bool has_input;
        } call;
        struct nj_error failed;
        struct {
            int stream; /* 1 or 2 */
            struct nj_span piece;
        } output;
        struct {
            struct nj_call_outcome outcome;
            struct nj_call_meta meta;
            uint64_t objects_bytes; /* 0: no objects descriptor */
            uint64_t files_hashed;
            bool spilled; /* heads and tails are in a descriptor, the first one; spans have lengths
                             only */
        } called;
        struct {
            uint64_t files;
            uint64_t misses;
        } scanned;
    };
};

/* nj_msg_encode - append @msg; NJ_E_LIMIT when it does not fit into a datagram */
int nj_msg_encode(const struct nj_msg *msg, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_msg_decode - arrays and strings live in @arena, spans are borrowed from @bytes */
int nj_msg_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_msg *ret_msg,
                  struct nj_error *err) NJ_MUST_USE;

const char *nj_msg_kind_text(enum nj_msg_kind kind); /* "?" for an unknown number */

/* nj_msg_send - encode and send, with descriptors (borrowed). Returns 0, or 1 when the socket is
 * full. */
int nj_msg_send(int socket_fd, const struct nj_msg *msg, const int *fds, size_t n_fds,
                struct nj_error *err) NJ_MUST_USE;

/* What nj_msg_receive() fills. Zero it before the first use; _done closes descriptors not stolen.
 */
struct nj_msg_in {
    uint8_t bytes[NJ_MSG_MAX_BYTES];
    struct nj_arena arena;
    struct nj_msg msg;
    int fds[NJ_MSG_FDS_MAX];
    size_t n_fds;
};

/* nj_msg_receive - one message. Returns 0, 1 when there is none (non-blocking socket), 2 at end of
 * file. */
int nj_msg_receive(int socket_fd, struct nj_msg_in *in, struct nj_error *err) NJ_MUST_USE;
void nj_msg_in_done(struct nj_msg_in *in); /* the object can be used again */
NJ_DEFINE_AUTO_VAL(struct nj_msg_in, nj_msg_in_done);

/* nj_msg_memfd - @data in a sealed memfd, at offset 0 */
int nj_msg_memfd(const char *name, struct nj_span data, int *ret_fd,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_msg_seal - no more writing or resizing */
int nj_msg_seal(int fd, struct nj_error *err) NJ_MUST_USE;

/* nj_msg_check_memfd - that @fd is a sealed memfd of exactly @bytes, so reading it can neither
 * block nor change under us; NJ_E_CORRUPT otherwise. _bytes takes any size and tells it. */
int nj_msg_check_memfd(int fd, uint64_t bytes, struct nj_error *err) NJ_MUST_USE;
int nj_msg_memfd_bytes(int fd, uint64_t *ret_bytes, struct nj_error *err) NJ_MUST_USE;

#endif
