/*
 * environment.c - comparing what two hosts are
 */
#include "replay/environment.h"

#include "batch/plan/plan.h"
#include "replay/render.h"

#include "formats/base/banned.h"

#define DIGEST_SHOWN_CHARS 12
#define HERE_MAX_BYTES (1u << 20)

void nj_environment_done(struct nj_environment *environment)
{
    json_decref(environment->root);
    environment->root = NULL;
}

int nj_environment_parse(const char *text, struct nj_environment *ret_environment,
                         struct nj_error *err)
{
    json_error_t jerr;
    json_t *root = json_loads(text && text[0] ? text : "{}", JSON_REJECT_DUPLICATES, &jerr);

    if (!json_is_object(root)) {
        json_decref(root);
        return nj_fail(err, NJ_E_CORRUPT, "the recorded environment is no JSON object");
    }
    ret_environment->root = root;
    return 0;
}

int nj_environment_here(struct nj_environment *ret_here, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    NJ_AUTO(nj_environment_done) struct nj_environment here = {0};
    json_t *programs;
    char path[PATH_MAX];

    nj_buf_init(&text, HERE_MAX_BYTES);
    if (nj_plan_environment(&text, err) < 0 ||
        nj_environment_parse((const char *)text.data, &here, err) < 0)
        return -(int)err->code;
    programs = json_object();
    if (json_object_set_new(here.root, "interpreters", programs) < 0)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < NJ_PLAN_INTERPRETERS; i++) {
        const char *name = nj_plan_interpreters[i];

        if (nj_plan_interpreter(name, path) == 0 &&
            json_object_set_new(programs, name, json_pack("{s:s}", "path", path)) < 0)
            return nj_fail_nomem(err);
    }
    *ret_here = here;
    here.root = NULL;
    return 0;
}

int nj_environment_digest(struct nj_environment *here, const char *name,
                          struct nj_digested *digested, struct nj_error *err)
{
    json_t *program = json_object_get(json_object_get(here->root, "interpreters"), name);
    const char *path = json_string_value(json_object_get(program, "path"));
    const struct nj_digested_file *file;
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    if (!path || json_object_get(program, "sha256"))
        return 0;
    if (nj_digested_add_program(digested, path, err) < 0)
        return -(int)err->code;
    file = nj_digested_find(digested, nj_span_text(path));
    if (!file || !file->is_there)
        return 0;
    nj_digest_hex(&file->digest, hex);
    return json_object_set_new(program, "sha256", json_string(hex)) < 0 ? nj_fail_nomem(err) : 0;
}

static int append_program(struct nj_buf *what, const json_t *program, struct nj_error *err)
{
    const json_t *digest = json_object_get(program, "sha256");
    const json_t *path = json_object_get(program, "path");
    struct nj_span text = {(const uint8_t *)json_string_value(digest), json_string_length(digest)};

    if (text.len > DIGEST_SHOWN_CHARS)
        text.len = DIGEST_SHOWN_CHARS;
    if (json_is_string(path)) {
        struct nj_span name = {(const uint8_t *)json_string_value(path), json_string_length(path)};

        if (nj_render_line(what, name, err) < 0 || nj_buf_text(what, " ", err) < 0)
            return -(int)err->code;
    }
    if (nj_buf_text(what, "(sha256 ", err) < 0 || nj_render_line(what, text, err) < 0)
        return -(int)err->code;
    return nj_buf_text(what, ")", err);
}

int nj_environment_compare_program(const struct nj_environment *recorded,
                                   const struct nj_environment *here, const char *name,
                                   struct nj_buf *what, struct nj_error *err)
{
    const json_t *then = json_object_get(json_object_get(recorded->root, "interpreters"), name);
    const json_t *now = json_object_get(json_object_get(here->root, "interpreters"), name);
    const char *digest_then = json_string_value(json_object_get(then, "sha256"));
    const char *digest_now = json_string_value(json_object_get(now, "sha256"));

    if (!digest_then || (digest_now && strcmp(digest_then, digest_now) == 0))
        return 0;
    if (!digest_now && json_object_get(now, "path"))
        return 0; /* it is here, and cannot be read */
    if (nj_render_line(what, nj_span_text(name), err) < 0 ||
        nj_buf_text(what, ": recorded ", err) < 0 || append_program(what, then, err) < 0)
        return -(int)err->code;
    if (!digest_now)
        return nj_buf_text(what, ", missing here", err) < 0 ? -(int)err->code : 1;
    if (nj_buf_text(what, ", here ", err) < 0 || append_program(what, now, err) < 0)
        return -(int)err->code;
    return 1;
}

int nj_environment_compare_file(const struct nj_environment *recorded, const char *path,
                                const struct nj_digest *here, struct nj_buf *what,
                                struct nj_error *err)
{
    const json_t *then = json_object_get(json_object_get(recorded->root, "ran"), path);
    const char *digest_then = json_string_value(json_object_get(then, "sha256"));
    const json_t *package = json_object_get(then, "package");
    struct nj_span name = {(const uint8_t *)json_string_value(package),
                           json_string_length(package)};
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(here, hex);
    if (!digest_then || strcmp(digest_then, hex) == 0)
        return 0;
    if (nj_render_line(what, nj_span_text(path), err) < 0 ||
        nj_buf_text(what, ": recorded ", err) < 0 ||
        (name.len > 0 &&
         (nj_render_line(what, name, err) < 0 || nj_buf_text(what, " ", err) < 0)) ||
        append_program(what, then, err) < 0 ||
        nj_buf_printf(what, err, ", here (sha256 %.*s)", DIGEST_SHOWN_CHARS, hex) < 0)
        return -(int)err->code;
    return 1;
}

int nj_environment_compare_host(const struct nj_environment *recorded,
                                const struct nj_environment *here, struct nj_buf *what,
                                struct nj_error *err)
{
    static const char *const keys[] = {"architecture", "build", "cpu", "kernel", "packages"};
    size_t start = what->len;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const json_t *then = json_object_get(recorded->root, keys[i]);
        const json_t *now = json_object_get(here->root, keys[i]);
        struct nj_span a = {(const uint8_t *)json_string_value(then), json_string_length(then)};
        struct nj_span b = {(const uint8_t *)json_string_value(now), json_string_length(now)};

        if (a.len == 0 || nj_span_equal(a, b))
            continue;
        if (nj_buf_printf(what, err, "%s%s: recorded ", what->len > start ? "; " : "", keys[i]) <
                0 ||
            nj_render_line(what, a, err) < 0 || nj_buf_text(what, ", here ", err) < 0 ||
            nj_render_line(what, b, err) < 0)
            return -(int)err->code;
    }
    return what->len > start;
}
