/*
 * error.h - errors as values.
 *
 * A function that can fail returns 0 (or a value) and takes a `struct berm_error *` last. Success leaves the error
 * alone; failure fills it exactly once, where it happened, and returns -1 (or NULL). The struct lives on the
 * caller's stack and is never allocated, so that running out of memory can be reported too. Callers may pass NULL.
 * Library code never logs: whoever decides what a failure means, logs it once.
 */
#pragma once

#include "base.h"

enum berm_err {
    BERM_OK = 0,
#define BERM_ERR(name, wire, status) BERM_E_##name,
#include "errors.def"
#undef BERM_ERR
    BERM_E_COUNT
};

struct berm_error {
    enum berm_err code;
    int errnum;        /* the errno behind it, or 0 */
    char field[48];    /* the request's field that is wrong, or "" */
    char message[256]; /* one line for people; never a secret, never file contents */
};

/* Fills *err (if not NULL) and returns -1. `errnum` 0 means none; otherwise its text is appended to the message. */
int berm_fail(struct berm_error *err, enum berm_err code, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* For input: code INVALID_REQUEST and the name of the field. Returns -1. */
int berm_fail_field(struct berm_error *err, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message that is there. Returns -1, so that it can end a function. */
int berm_error_wrap(struct berm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Compilers and analyzers get to see that these three return nothing but -1. */
#define BERM_RETURNS_FAILURE(call)                                                                                 \
    __extension__({                                                                                                \
        int berm_rc_ = (call);                                                                                     \
        if (berm_rc_ != -1)                                                                                        \
            __builtin_unreachable();                                                                               \
        berm_rc_;                                                                                                  \
    })
#define berm_fail(...)       BERM_RETURNS_FAILURE(berm_fail(__VA_ARGS__))
#define berm_fail_field(...) BERM_RETURNS_FAILURE(berm_fail_field(__VA_ARGS__))
#define berm_error_wrap(...) BERM_RETURNS_FAILURE(berm_error_wrap(__VA_ARGS__))

/* "sandbox_not_found" and 404. Unknown codes give those of INTERNAL. */
const char *berm_err_wire(enum berm_err code);
int berm_err_status(enum berm_err code);
