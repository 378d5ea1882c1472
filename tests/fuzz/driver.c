/*
 * driver.c - feeds a corpus to a fuzz target where libFuzzer is not linked in
 *
 * Each argument is a file or a folder of files. Each file is given whole, then every prefix of a
 * small one: a torn input must be as harmless as a whole one.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define CORPUS_FILE_MAX_BYTES (16u << 20)
#define PREFIXES_MAX_BYTES 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed_file(int dir_fd, const char *name)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    nj_buf_init(&buf, CORPUS_FILE_MAX_BYTES);
    if (nj_fsio_read_file(dir_fd, name, &buf, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    (void)LLVMFuzzerTestOneInput(buf.data, buf.len);
    for (size_t len = 0; len < buf.len && len < PREFIXES_MAX_BYTES; len++) {
        nj_auto_free uint8_t *copy = malloc(len ? len : 1); /* exact size: a read beyond is seen */

        if (!copy)
            return -1;
        if (len)
            memcpy(copy, buf.data, len);
        (void)LLVMFuzzerTestOneInput(copy, len);
    }
    return 0;
}

int main(int argc, char **argv)
{
    size_t files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;

        if (!dir) {
            fprintf(stderr, "%s: no such corpus\n", argv[i]);
            return 1;
        }
        while ((entry = readdir(dir))) {
            if (entry->d_name[0] == '.')
                continue;
            if (feed_file(dirfd(dir), entry->d_name) < 0)
                return 1;
            files++;
        }
        closedir(dir);
    }
    printf("%zu corpus files\n", files);
    return files > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
