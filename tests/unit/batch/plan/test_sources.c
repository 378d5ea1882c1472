/*
 * test_sources.c - what a plan asked, written down and read back
 */
#include "tests/lib/scratch.h"

#include "batch/plan/sources.h"
#include "tests/lib/memory_objects.h"

static struct scratch scratch;

static void answers_survive_the_host(void **state)
{
    NJ_AUTO(memory_objects_done) struct memory_objects objects = {0};
    struct nj_object_sink sink = memory_objects_sink(&objects);
    NJ_AUTO(nj_sources_free) struct nj_sources *live = NULL;
    NJ_AUTO(nj_sources_free) struct nj_sources *again = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf lines = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf twice = {0};
    nj_auto_free char *big = calloc(1, NJ_OBJECT_PART_BYTES + 2);
    const struct nj_glob_result *glob;
    const struct nj_source_file *file, *same;
    struct nj_workspace_ref ref, ref_again;
    struct nj_error err = {0};
    const char *first;

    (void)state;
    memset(big, 'x', NJ_OBJECT_PART_BYTES + 1);
    scratch_file(&scratch, "in/b \"quoted\"", "bb", 0644);
    scratch_file(&scratch, "in/a", big, 0755);
    scratch_file(&scratch, "config/x", "", 0644);
    scratch_link(&scratch, "/etc/hostname", "in/away");
    assert_int_equal(nj_sources_new(scratch.fd, NULL, &sink, &live, &err), 0);
    assert_int_equal(nj_sources_glob(live, "in/*", &glob, &err), 0);
    assert_int_equal(glob->n_matches, 2);
    assert_int_equal(nj_sources_links_left(live, &first), 1);
    assert_string_equal(first, "in/away");
    assert_int_equal(nj_sources_file(live, "in/a", &file, &err), 0);
    assert_true(file->entry.has_parts);
    assert_int_equal(nj_sources_file(live, "in/b \"quoted\"", &file, &err), 0);
    assert_int_equal(nj_sources_folder(live, "config", &ref, &err), 0);

    /* Asked again it is not read again: the first answer stays. */
    scratch_file(&scratch, "in/b \"quoted\"", "changed", 0644);
    assert_int_equal(nj_sources_file(live, "in/b \"quoted\"", &same, &err), 0);
    assert_ptr_equal(same, file);
    assert_int_equal(file->entry.size, 2);

    nj_buf_init(&lines, 1 << 20);
    nj_buf_init(&twice, 1 << 20);
    assert_int_equal(nj_sources_write(live, &lines, &err), 0);
    scratch_remove(&scratch);
    scratch_make(&scratch);
    if (nj_sources_recorded(nj_buf_span(&lines), &again, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(nj_sources_glob(again, "in/*", &glob, &err), 0);
    assert_int_equal(glob->n_matches, 2);
    assert_string_equal(glob->matches[1].path, "in/b \"quoted\"");
    assert_int_equal(glob->matches[1].size, 2);
    assert_int_equal(nj_sources_file(again, "in/b \"quoted\"", &same, &err), 0);
    assert_true(nj_digest_equal(&same->entry.digest, &file->entry.digest));
    assert_true(same->mtime_ns == file->mtime_ns);
    assert_int_equal(nj_sources_folder(again, "config", &ref_again, &err), 0);
    assert_memory_equal(&ref, &ref_again, sizeof(ref));
    assert_int_equal(nj_sources_write(again, &twice, &err), 0);
    assert_string_equal((char *)lines.data, (char *)twice.data);

    assert_int_equal(nj_sources_file(again, "in/c", &same, &err), -NJ_E_CORRUPT);
    assert_non_null(strstr(err.text, "do not hold in/c"));
    assert_int_equal(nj_sources_folder(again, "in/a", &ref, &err),
                     -NJ_E_CORRUPT); /* a file, never a folder */
}

#define HEX "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A_FILE                                                                                     \
    "{\"file\":\"a\",\"digest\":\"" HEX "\",\"size\":1,\"mode\":\"0644\",\"mtime_ns\":-1}\n"
#define A_FOLDER "{\"folder\":\"d\",\"tree\":\"" HEX "\",\"stamps\":\"" HEX "\"}\n"
#define A_GLOB "{\"glob\":\"*\",\"matches\":1,\"links_left\":0}\n{\"match\":\"a\",\"size\":1}\n"

static void damaged_lines_are_refused_by_number(void **state)
{
    static const struct {
        const char *lines;
        const char *damage; /* NULL: fine */
    } cases[] = {
        {A_FILE A_FOLDER A_GLOB "{\"end\":4}\n", NULL},
        {"{\"end\":0}\n", NULL},
        {"", "line 1: the end is missing"},
        {A_FILE, "line 2: the end is missing"},
        {A_FILE "{\"end\":2}\n", "line 2: lines are missing or too many"},
        {A_FILE "{\"end\":1}", "line 2: cut off"},
        {"{\"end\":0}\n" A_FILE, "line 2: behind the end"},
        {"[]\n", "line 1: not a JSON object"},
        {"\xff\n", "line 1: not a JSON object"},
        {"{\"a\":1,\"a\":2}\n", "line 1: not a JSON object"},
        {"{\"other\":1}\n", "line 1: neither"},
        {A_FILE A_FILE "{\"end\":2}\n", "line 2: the same question twice"},
        {"{\"file\":\"a\"}\n", "line 1: keys are missing"},
        {"{\"file\":\"\",\"digest\":\"" HEX "\",\"size\":1,\"mode\":\"0644\",\"mtime_ns\":0}\n",
         "line 1: a text"},
        {"{\"file\":\"a\",\"digest\":\"abc\",\"size\":1,\"mode\":\"0644\",\"mtime_ns\":0}\n",
         "line 1: a digest"},
        {"{\"file\":\"a\",\"digest\":\"" HEX "\",\"size\":-1,\"mode\":\"0644\",\"mtime_ns\":0}\n",
         "line 1: a number"},
        {"{\"file\":\"a\",\"digest\":\"" HEX "\",\"size\":1.5,\"mode\":\"0644\",\"mtime_ns\":0}\n",
         "line 1: a number"},
        {"{\"file\":\"a\",\"digest\":\"" HEX "\",\"size\":1,\"mode\":\"4755\",\"mtime_ns\":0}\n",
         "line 1: the mode"},
        {"{\"file\":\"a\",\"digest\":\"" HEX
         "\",\"size\":9999999,\"mode\":\"0644\",\"mtime_ns\":0}\n",
         "line 1: parts do not go with the size"},
        {"{\"file\":\"a\",\"digest\":\"" HEX "\",\"parts\":\"" HEX
         "\",\"size\":1,\"mode\":\"0644\",\"mtime_ns\":0}\n",
         "line 1: parts do not go with the size"},
        {"{\"folder\":\"a\",\"tree\":\"" HEX "\",\"stamps\":7}\n", "line 1: a digest"},
        {"{\"glob\":\"*\",\"matches\":999999999,\"links_left\":0}\n",
         "line 1: more matches than lines follow"},
        {"{\"glob\":\"*\",\"matches\":1,\"links_left\":0}\n{\"end\":1}\n",
         "line 2: a match is missing"},
        {"{\"match\":\"a\",\"size\":1}\n{\"end\":1}\n", "line 1: neither"},
        {"{\"glob\":\"*\",\"matches\":2,\"links_left\":0}\n{\"match\":\"b\",\"size\":1}\n{"
         "\"match\":\"a\",\"size\":1}\n"
         "{\"end\":3}\n",
         "line 3: matches are not ascending"},
        {"{\"glob\":\"*\",\"matches\":1,\"links_left\":0}\n{\"match\":\"a\\u0000b\",\"size\":1}\n",
         "line 2: "},
        {"{\"glob\":\"*\",\"matches\":1,\"links_left\":-1}\n", "line 1: a number"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_sources_free) struct nj_sources *sources = NULL;
        struct nj_error err = {0};
        int r = nj_sources_recorded(nj_span_text(cases[i].lines), &sources, &err);

        if (!cases[i].damage) {
            assert_int_equal(r, 0);
            continue;
        }
        assert_int_equal(r, -NJ_E_CORRUPT);
        if (!strstr(err.text, cases[i].damage))
            fail_msg("case %zu: %s and not %s", i, err.text, cases[i].damage);
        assert_null(sources);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(answers_survive_the_host, &scratch),
        cmocka_unit_test(damaged_lines_are_refused_by_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
