/*
 * sandbox_inside.h - the engine's side of helper and boxes; private to sandbox.c, box.c
 * and ahead.c
 */
#ifndef NJ_SANDBOX_INSIDE_H
#define NJ_SANDBOX_INSIDE_H

#include "batch/sandbox/cgroup.h"
#include "batch/sandbox/protocol.h"

struct event; /* libevent */

enum nj_box_op {
    NJ_BOX_OP_OPEN,
    NJ_BOX_OP_NONE,
    NJ_BOX_OP_RESTORE,
    NJ_BOX_OP_CALL,
    NJ_BOX_OP_SCAN
};

struct nj_box {
    struct nj_sandbox *sandbox; /* NULL: freed before us */
    struct nj_box *prev, *next; /* all boxes */
    int fd;
    struct event *event;
    pid_t supervisor_pid;
    enum nj_box_op op;
    bool lost;
    struct nj_error lost_err;
    nj_box_output output;
    union {
        nj_box_opened opened;
        nj_box_done done;
        nj_box_called called;
        nj_box_scanned scanned;
    } callback;
    void *ctx;
    struct nj_buf unsent; /* OPEN that did not fit into the helper's socket yet */
    int unsent_fd;
    bool ahead;        /* opened ahead: nobody's, and its end is told to nobody */
    struct nj_buf key; /* ahead: what it answers to */
};

struct nj_sandbox_given {
    enum nj_msg_kind kind; /* as INPUT or as ROOTFS */
    struct nj_workspace_ref ref;
};

struct nj_sandbox {
    int helper_fd; /* non-blocking */
    pid_t helper_pid;
    struct event_base *base;
    struct event *helper_read;
    struct event *helper_write;
    bool helper_lost;
    bool dispatching;
    struct nj_box *boxes;
    uint64_t next_box;
    struct nj_sandbox_given *given; /* trees that the helper has */
    size_t n_given;
    struct nj_msg_in in;
    size_t ahead_max; /* ahead.h */
    size_t n_ahead;
    struct nj_buf orders[NJ_SANDBOX_AHEAD_MAX]; /* keys */
    size_t n_orders;
    struct event *order_due;
    struct nj_cgroup_bound bound; /* of its memory, found at the start */
};

/* nj_box_begin - have a box of @plan (checked) opened; nobody is told yet */
int nj_box_begin(struct nj_sandbox *sandbox, const struct nj_box_plan *plan,
                 struct nj_box **ret_box, struct nj_error *err) NJ_MUST_USE;

/* nj_box_detach - let its socket go, which ends the box; half-built ones, too */
void nj_box_detach(struct nj_box *box);

/* nj_box_send_open - to the helper. Returns 0, or 1 when its socket is full. */
int nj_box_send_open(struct nj_sandbox *sandbox, struct nj_box *box,
                     struct nj_error *err) NJ_MUST_USE;

#endif
