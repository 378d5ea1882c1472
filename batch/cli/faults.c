/*
 * faults.c - faults to standard error
 */
#include "batch/cli/faults.h"

#include <stdio.h>

#include "formats/base/banned.h"

void nj_cli_print_faults(const struct nj_manifest_faults *faults, const char *name)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored = {0}; /* the caller has the error that matters */

    nj_buf_init(&text, 1u << 20);
    if (nj_manifest_faults_print(faults, name, &text, &ignored) == 0)
        fprintf(stderr, "%s", text.data ? (const char *)text.data : "");
}
