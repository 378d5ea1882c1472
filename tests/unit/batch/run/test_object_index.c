/*
 * test_object_index.c - digests to places, and back in the order they were written
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "batch/run/object_index.h"

#include "formats/base/banned.h"

#define MANY 5000u

static struct nj_digest digest_of(unsigned n)
{
    struct nj_digest digest;

    nj_digest_bytes(&n, sizeof(n), &digest);
    return digest;
}

static struct nj_journal_place place_of(unsigned n)
{
    return (struct nj_journal_place){
        .segment = 1 + n / 100, .bytes = 40 + n, .offset = 64 + 1000 * (n % 100)};
}

static void add(struct nj_object_index *index, unsigned n)
{
    struct nj_digest digest = digest_of(n);
    struct nj_journal_place place = place_of(n);
    struct nj_error err = {0};

    if (nj_object_index_add(index, &digest, &place, &err) < 0)
        fail_msg("%s", err.text);
}

static void an_empty_index_finds_nothing(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {0};
    nj_auto_free struct nj_object_index_slot *sorted = NULL;
    struct nj_digest digest = digest_of(1);

    (void)state;
    assert_null(nj_object_index_find(&index, &digest));
    sorted = nj_object_index_sorted(&index);
    assert_non_null(sorted); /* nothing in it, but no failure either */
}

static void every_object_is_found_where_it_was_put_however_many_come(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {0};

    (void)state;
    for (unsigned n = 0; n < MANY; n++) {
        struct nj_digest absent = digest_of(n);

        assert_null(nj_object_index_find(&index, &absent));
        add(&index, n);
    }
    assert_int_equal(index.count, MANY);
    for (unsigned n = 0; n < MANY; n++) {
        struct nj_digest digest = digest_of(n);
        const struct nj_journal_place *place = nj_object_index_find(&index, &digest);
        struct nj_journal_place expected = place_of(n);

        assert_non_null(place);
        assert_int_equal(place->segment, expected.segment);
        assert_int_equal(place->bytes, expected.bytes);
        assert_int_equal(place->offset, expected.offset);
    }
}

static void digests_that_begin_alike_are_told_apart(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {0};
    struct nj_error err = {0};

    (void)state;
    for (uint8_t n = 0; n < 12; n++) { /* all want the same slot; 12 fill the first table */
        struct nj_digest digest = {{0}};
        struct nj_journal_place place = {.segment = 1, .bytes = 1, .offset = n};

        digest.bytes[31] = n;
        if (nj_object_index_add(&index, &digest, &place, &err) < 0)
            fail_msg("%s", err.text);
    }
    for (uint8_t n = 0; n < 12; n++) {
        struct nj_digest digest = {{0}};

        digest.bytes[31] = n;
        assert_int_equal(nj_object_index_find(&index, &digest)->offset, n);
    }
}

static void sorted_gives_them_in_the_order_they_were_written(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {0};
    nj_auto_free struct nj_object_index_slot *sorted = NULL;

    (void)state;
    for (unsigned n = MANY; n > 0; n--) /* added in another order than they lie */
        add(&index, n - 1);
    sorted = nj_object_index_sorted(&index);
    assert_non_null(sorted);
    for (unsigned n = 0; n < MANY; n++) {
        struct nj_digest digest = digest_of(n);

        assert_true(nj_digest_equal(&sorted[n].digest, &digest));
    }
}

static void done_leaves_an_empty_index(void **state)
{
    struct nj_object_index index = {0};
    struct nj_digest digest = digest_of(3);

    (void)state;
    add(&index, 3);
    nj_object_index_done(&index);
    assert_null(nj_object_index_find(&index, &digest));
    add(&index, 3);
    assert_non_null(nj_object_index_find(&index, &digest));
    nj_object_index_done(&index);
}

static bool all_are_found(const struct nj_object_index *index)
{
    for (unsigned n = 0; n < MANY; n++) {
        struct nj_digest digest = digest_of(n);
        const struct nj_journal_place *place = nj_object_index_find(index, &digest);

        if (!place || place->offset != place_of(n).offset)
            return false;
    }
    return true;
}

static void a_large_one_is_seen_by_another_process_without_a_copy(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {.share = true};
    int status = -1;
    pid_t pid;

    (void)state;
    for (unsigned n = 0; n < 1000; n++)
        add(&index, n);
    assert_false(index.mapped); /* a descriptor each is too much for small ones */
    for (unsigned n = 1000; n < MANY; n++)
        add(&index, n);
    assert_true(index.mapped);
    assert_true(all_are_found(&index));
    pid = fork();
    if (pid == 0) {
        struct nj_object_index seen = {0};
        struct nj_error err = {0};
        bool found = nj_object_index_map(index.fd, index.cap, index.count, &seen, &err) == 0 &&
                     all_are_found(&seen);

        nj_object_index_done(&seen);
        _exit(found ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(all_are_found(&index));
}

static void without_descriptors_a_large_one_lies_in_the_heap(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {.share = true};
    struct rlimit before, none;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (unsigned n = 0; n < MANY; n++)
        add(&index, n);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_false(index.mapped);
    assert_true(all_are_found(&index));
}

static void the_last_descriptors_are_left_to_others(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {.share = true};
    struct rlimit before, few;
    int next = dup(STDOUT_FILENO);

    (void)state;
    assert_true(next > 0);
    assert_int_equal(close(next), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 2 * (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (unsigned n = 0; n < MANY; n++)
        add(&index, n);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_false(index.mapped);
    assert_true(all_are_found(&index));
}

static bool is_mapped(const void *address)
{
    unsigned char resident;

    return mincore((void *)(uintptr_t)address, 1, &resident) == 0;
}

static void a_process_that_is_forked_has_no_share_of_it(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {.share = true};
    int status = -1;
    pid_t pid;

    (void)state;
    for (unsigned n = 0; n < MANY; n++)
        add(&index, n);
    assert_true(index.mapped);
    assert_true(is_mapped(index.slots));
    pid = fork();
    if (pid == 0)
        _exit(is_mapped(index.slots) ? 1 : 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void it_knows_how_long_its_frames_are(void **state)
{
    NJ_AUTO(nj_object_index_done) struct nj_object_index index = {0};
    uint64_t sum = 0;

    (void)state;
    for (unsigned n = 0; n < 100; n++) {
        add(&index, n);
        sum += place_of(n).bytes;
    }
    assert_int_equal(index.bytes, sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(every_object_is_found_where_it_was_put_however_many_come),
        cmocka_unit_test(digests_that_begin_alike_are_told_apart),
        cmocka_unit_test(sorted_gives_them_in_the_order_they_were_written),
        cmocka_unit_test(a_large_one_is_seen_by_another_process_without_a_copy),
        cmocka_unit_test(without_descriptors_a_large_one_lies_in_the_heap),
        cmocka_unit_test(the_last_descriptors_are_left_to_others),
        cmocka_unit_test(a_process_that_is_forked_has_no_share_of_it),
        cmocka_unit_test(it_knows_how_long_its_frames_are),
        cmocka_unit_test(done_leaves_an_empty_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
