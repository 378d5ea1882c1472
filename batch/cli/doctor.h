/*
 * doctor.h - what this host offers to runs: each thing with state, consequence and cure
 *
 * The kernel's part is tried by batch/sandbox/probe.h, and a whole box is built and used; the rest
 * is read from the places that programs read it from.
 */
#ifndef NJ_CLI_DOCTOR_H
#define NJ_CLI_DOCTOR_H

#include "batch/sandbox/probe.h"
#include "formats/base/buf.h"

#define NJ_DOCTOR_FINDINGS_MAX 48

struct nj_doctor {
    struct nj_probe_finding findings[NJ_DOCTOR_FINDINGS_MAX];
    size_t n;
};

/* nj_doctor_look - look at everything; @dir_fd is on the file system that would hold runs. Takes
 * about a second. */
void nj_doctor_look(int dir_fd, struct nj_doctor *ret_doctor);

enum nj_probe_state nj_doctor_worst(const struct nj_doctor *doctor);
const char *nj_doctor_state_text(enum nj_probe_state state); /* "ok", "degraded", "missing" */

/* nj_doctor_text - lines of at most @columns, cures apart */
int nj_doctor_text(const struct nj_doctor *doctor, size_t columns, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;
int nj_doctor_json(const struct nj_doctor *doctor, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

#endif
