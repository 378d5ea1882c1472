/*
 * allowed.c - the directories of --allow-path as a file of the run
 */
#include "batch/plan/allowed.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/plan/roots.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define FILE_MAX_BYTES ((size_t)NJ_ROOTS_MAX * (PATH_MAX + 8))

int nj_allowed_save(const char *const *allow, int inputs_fd, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    if (!allow || !allow[0]) {
        if (unlinkat(inputs_fd, NJ_ALLOWED_NAME, 0) < 0 && errno != ENOENT)
            return nj_fail_errno(err, errno, "remove %s", NJ_ALLOWED_NAME);
        return 0;
    }
    nj_buf_init(&out, FILE_MAX_BYTES);
    for (size_t i = 0; allow[i]; i++) {
        nj_auto_free char *path = realpath(allow[i], NULL);

        if (!path)
            return nj_fail_errno(err, errno, "--allow-path %s", allow[i]);
        if (nj_buf_text(&out, i ? "," : "[", err) < 0 ||
            nj_buf_json_text(&out, nj_span_text(path), err) < 0)
            return -(int)err->code;
    }
    if (nj_buf_text(&out, "]\n", err) < 0)
        return -(int)err->code;
    return nj_fsio_publish(inputs_fd, NJ_ALLOWED_NAME, nj_buf_span(&out), 0600, err);
}

static bool is_folder(const char *path)
{
    struct stat st;

    return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int nj_allowed_load(int inputs_fd, char ***ret_allow, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    char **allow = calloc(NJ_ROOTS_MAX + 1, sizeof(*allow));
    json_t *array = NULL;
    size_t count = 0;
    int r = 0;

    if (!allow)
        return nj_fail_nomem(err);
    nj_buf_init(&bytes, FILE_MAX_BYTES);
    if (nj_fsio_read_file(inputs_fd, NJ_ALLOWED_NAME, &bytes, err) < 0) {
        r = err->sys_errno == ENOENT ? 0 : -(int)err->code;
    } else {
        array = json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
        if (!json_is_array(array))
            r = nj_fail(err, NJ_E_CORRUPT, "%s: not a list of directories", NJ_ALLOWED_NAME);
    }
    for (size_t i = 0; r == 0 && i < json_array_size(array) && count < NJ_ROOTS_MAX; i++) {
        const char *path = json_string_value(json_array_get(array, i));

        if (!is_folder(path))
            continue;
        allow[count] = strdup(path);
        if (!allow[count++])
            r = nj_fail_nomem(err);
    }
    json_decref(array);
    if (r < 0) {
        nj_allowed_free(allow);
        return r;
    }
    *ret_allow = allow;
    return 0;
}

void nj_allowed_free(char **allow)
{
    for (size_t i = 0; allow && allow[i]; i++)
        free(allow[i]);
    free(allow);
}
