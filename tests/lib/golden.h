/*
 * golden.h - files that a format must go on reading and writing: tests/golden/<format>/...
 *
 * NJ_UPDATE_GOLDEN=1 rewrites them from what the test expects; the diff is then reviewed by a
 * person.
 */
#ifndef NJ_TESTS_GOLDEN_H
#define NJ_TESTS_GOLDEN_H

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#include "formats/base/fsio.h"

extern const char nj_source_dir[]; /* the root of the tree that was built */

#define GOLDEN_MAX_BYTES (1u << 20)

/* golden_read - append tests/golden/@name to @out; the test fails when it cannot be read */
static inline void golden_read(const char *name, struct nj_buf *out)
{
    struct nj_error err = {0};
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/tests/golden/%s", nj_source_dir, name);
    nj_buf_init(out, GOLDEN_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, path, out, &err) < 0)
        fail_msg("%s", err.text);
}

/* golden_check - tests/golden/@name holds exactly @bytes (or is made to, with NJ_UPDATE_GOLDEN=1)
 */
static inline void golden_check(const char *name, struct nj_span bytes)
{
    NJ_AUTO(nj_buf_done) struct nj_buf found = {0};

    if (getenv("NJ_UPDATE_GOLDEN")) {
        nj_auto_fclose FILE *file = NULL;
        char path[512];

        (void)snprintf(path, sizeof(path), "%s/tests/golden/%s", nj_source_dir, name);
        file = fopen(path, "we");
        if (!file || fwrite(bytes.data, 1, bytes.len, file) != bytes.len)
            fail_msg("cannot write %s", path);
        return;
    }
    golden_read(name, &found);
    if (!nj_span_equal(nj_buf_span(&found), bytes))
        fail_msg("%s differs from what is written today; NJ_UPDATE_GOLDEN=1 rewrites it", name);
}

/* hex_lines - @bytes as the documents show them: 16 a line, two digits each, one space between */
static inline void hex_lines(struct nj_span bytes, struct nj_buf *out)
{
    struct nj_error err = {0};

    nj_buf_init(out, GOLDEN_MAX_BYTES);
    for (size_t i = 0; i < bytes.len; i++) {
        const char *end = i % 16 == 15 || i + 1 == bytes.len ? "\n" : " ";

        assert_int_equal(nj_buf_printf(out, &err, "%02x%s", bytes.data[i], end), 0);
    }
}

/* document_shows - the file @name of the source tree contains @text, word for word */
static inline void document_shows(const char *name, const char *text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf document = {0};
    struct nj_error err = {0};
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", nj_source_dir, name);
    nj_buf_init(&document, GOLDEN_MAX_BYTES);
    if (nj_fsio_read_file(AT_FDCWD, path, &document, &err) < 0)
        fail_msg("%s", err.text);
    if (!strstr((const char *)document.data, text))
        fail_msg("%s does not show:\n%s", name, text);
}

#endif
