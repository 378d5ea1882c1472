/*
 * error.h - one failure, with its story
 *
 * Functions that can fail return int and take struct nj_error *err last (never NULL). Negative:
 * it failed and err tells the story; pass it up with nj_wrap(), adding what you know. Zero or
 * positive: the function's own documented outcomes, err untouched.
 *
 * The object is fixed-size and lives on the caller's stack, so reporting works when memory is
 * gone. The text reads outermost first, root cause last; when it fills up the outer words go.
 */
#ifndef NJ_BASE_ERROR_H
#define NJ_BASE_ERROR_H

#define NJ_ERROR_TEXT_MAX_BYTES 480
#define NJ_MUST_USE __attribute__((warn_unused_result))
#define NJ_PRINTF(fmt_index, first_index) __attribute__((format(printf, fmt_index, first_index)))

/* Each code once: enumerator, short name for machines, and what it means to a person. */
#define NJ_ERROR_CODES(X)                                                                          \
    X(SYSTEM, 1, "system", "the operating system refused; errno is kept")                          \
    X(NOMEM, 2, "nomem", "memory is gone")                                                         \
    X(INPUT, 3, "input", "a person's or a program's input is wrong")                               \
    X(CORRUPT, 4, "corrupt", "stored bytes are damaged or hostile")                                \
    X(VERSION, 5, "version", "stored bytes need a newer build")                                    \
    X(DIVERGED, 6, "diverged", "a replay differs from its record")                                 \
    X(LIMIT, 7, "limit", "a stated limit was reached")                                             \
    X(UPSTREAM, 8, "upstream", "a model, server or peer failed")                                   \
    X(CANCELLED, 9, "cancelled", "somebody asked to stop")

enum nj_error_code {
#define X(name, value, text, meaning) NJ_E_##name = value,
    NJ_ERROR_CODES(X)
#undef X
};

struct nj_error {
    enum nj_error_code code;
    int sys_errno; /* 0 unless a system call failed */
    char text[NJ_ERROR_TEXT_MAX_BYTES];
};

/* nj_fail - set a new error; returns -code */
int nj_fail(struct nj_error *err, enum nj_error_code code, const char *fmt, ...) NJ_PRINTF(3, 4);

/* nj_fail_errno - set NJ_E_SYSTEM (NJ_E_NOMEM for ENOMEM) with ": strerror" appended; returns -code
 */
int nj_fail_errno(struct nj_error *err, int errnum, const char *fmt, ...) NJ_PRINTF(3, 4);

/* nj_fail_nomem - set NJ_E_NOMEM; returns -NJ_E_NOMEM */
int nj_fail_nomem(struct nj_error *err);

/* nj_wrap - put "fmt: " in front of the text of @err; returns -err->code */
int nj_wrap(struct nj_error *err, const char *fmt, ...) NJ_PRINTF(2, 3);

/* nj_error_code_text - the short machine name ("corrupt") of @code, never NULL */
const char *nj_error_code_text(enum nj_error_code code);

#endif
