/*
 * test_spool.c - streams that outgrow memory, in files of their own and in the reserved one
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "formats/bundle/spool.h"

#include "formats/base/banned.h"

#define MEMORY_BYTES 64u
#define PIECE_BYTES 48u
#define PIECES 40u

static struct nj_error err;

static void append(struct nj_spool *spool, unsigned char byte)
{
    uint8_t piece[PIECE_BYTES];

    memset(piece, byte, sizeof(piece));
    assert_int_equal(nj_spool_append(spool, (struct nj_span){piece, sizeof(piece)}, &err), 0);
}

static void holds(const struct nj_spool *spool, unsigned at, unsigned char byte)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};

    nj_buf_init(&out, PIECE_BYTES);
    assert_int_equal(nj_spool_read(spool, (uint64_t)at * PIECE_BYTES, PIECE_BYTES, &out, &err), 0);
    assert_int_equal(out.len, PIECE_BYTES);
    for (size_t i = 0; i < out.len; i++)
        assert_int_equal(out.data[i], byte);
}

/* Two grow side by side and read back what each was given; a third takes the place of the first. */
static void grow_side_by_side(void)
{
    struct nj_spool first, second, third;

    nj_spool_init(&first, -1, MEMORY_BYTES);
    nj_spool_init(&second, -1, MEMORY_BYTES);
    nj_spool_init(&third, -1, MEMORY_BYTES);
    for (unsigned i = 0; i < PIECES; i++) {
        append(&first, (unsigned char)i);
        append(&second, (unsigned char)(100 + i));
    }
    for (unsigned i = 0; i < PIECES; i++) {
        holds(&first, i, (unsigned char)i);
        holds(&second, i, (unsigned char)(100 + i));
    }
    nj_spool_done(&first);
    for (unsigned i = 0; i < PIECES; i++)
        append(&third, 200);
    for (unsigned i = 0; i < PIECES; i++) {
        holds(&second, i, (unsigned char)(100 + i));
        holds(&third, i, 200);
    }
    nj_spool_done(&second);
    nj_spool_done(&third);
}

static void spools_grow_in_files_of_their_own(void **state)
{
    (void)state;
    grow_side_by_side();
}

static void spools_share_the_reserved_file_and_never_meet(void **state)
{
    struct stat st;
    struct nj_spool spool;

    (void)state;
    assert_int_equal(nj_spool_reserve(&err), 0);
    /* As in a process that can open nothing any more. */
    assert_int_equal(setenv("TMPDIR", "/nowhere/at/all", 1), 0);
    grow_side_by_side();
    nj_spool_init(&spool, -1, MEMORY_BYTES);
    append(&spool, 1);
    append(&spool, 2);
    assert_int_equal(fstat(spool.fd, &st), 0);
    assert_true(st.st_blocks * 512 < 64 * 1024); /* what went before was given back */
    holds(&spool, 0, 1);
    holds(&spool, 1, 2);
    nj_spool_done(&spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spools_grow_in_files_of_their_own),
        cmocka_unit_test(spools_share_the_reserved_file_and_never_meet),
    };

    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
