/*
 * faults.h - what a person is told about a manifest's faults, whichever command met them
 */
#ifndef NJ_CLI_FAULTS_H
#define NJ_CLI_FAULTS_H

#include "formats/manifest/faults.h"

/* nj_cli_print_faults - one "file:line:col: path: text" a line to standard error */
void nj_cli_print_faults(const struct nj_manifest_faults *faults, const char *name);

#endif
