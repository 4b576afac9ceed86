/*
 * base.h - the few things every Berm program uses: slices, automatic cleanup, checked helpers.
 *
 * Everything under src/base builds with glibc and with musl, depends on libc and the kernel only, and never logs
 * on behalf of its caller: it reports through struct berm_error (error.h).
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A borrowed run of bytes. Not NUL-terminated; the owner is whoever made the bytes. */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
/* The same in a table that is initialised with constants. */
/* clang-format off */
#define STR_INIT(literal) { (literal), sizeof(literal) - 1 }
/* clang-format on */

static inline struct str str_from(const char *c_string)
{
    return (struct str){ c_string, c_string ? strlen(c_string) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *c_string)
{
    return str_eq(a, str_from(c_string));
}

static inline bool str_has_prefix(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* ASCII only and independent of the locale, as HTTP wants it. Most pairs differ in length already. */
bool bytes_equal_nocase(const char *a, const char *b, size_t n);

static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && bytes_equal_nocase(a.p, b.p, a.n);
}

/* Strips spaces and tabs at both ends. */
struct str str_trim(struct str s);

/* True for "", "  ", ...: nothing but ASCII white space. */
bool is_blank(struct str s);

/* Copies `s` as a NUL-terminated string into `out`; -1 if it does not fit or holds a NUL. */
int str_copy(struct str s, char *out, size_t out_size);

/* A malloc'd NUL-terminated copy, or NULL without memory or when `s` holds a NUL. The caller frees it. */
char *str_dup(struct str s);

/* Decimal digits only: no sign, no space, no overflow. Returns 0, or -1 leaving *ret alone. */
int str_to_u64(struct str s, uint64_t *ret);

/* `value` in decimal, NUL-terminated, in `room`. */
#define U64_TEXT 21
struct str u64_text(uint64_t value, char room[U64_TEXT]);

/* Compares in a time that depends on the lengths only. For secrets. */
bool bytes_equal_constant_time(const void *a, const void *b, size_t n);

/* `n` bytes as 2n lower-case hex digits and a NUL. `out` must hold 2n + 1. */
void hex_encode(const void *bytes, size_t n, char *out);

/* The reverse; -1 unless `s` is exactly 2n lower-case hex digits. */
int hex_decode(struct str s, void *out, size_t n);

/* Fills from getrandom(2). It cannot fail on a kernel that has booted; it aborts if it does. */
void random_bytes(void *out, size_t n);

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define MAX(a, b)                       ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * Automatic cleanup. A local owns what it holds until it is handed over with TAKE_FD or TAKE_PTR, which leave the
 * invalid value behind, so that each early return releases exactly what is still owned.
 */
#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
    *fd = -EBADF;
}

static inline void free_ptr(void *p)
{
    free(*(void **)p);
    *(void **)p = NULL;
}

#define _cleanup_close_ _cleanup_(close_fd)
#define _cleanup_free_  _cleanup_(free_ptr)

#define TAKE_PTR(p)                                                                                                \
    __extension__({                                                                                                \
        __auto_type _pp = &(p);                                                                                    \
        __auto_type _p = *_pp;                                                                                     \
        *_pp = NULL;                                                                                               \
        _p;                                                                                                        \
    })

#define TAKE_FD(fd)                                                                                                \
    __extension__({                                                                                                \
        int *_fp = &(fd);                                                                                          \
        int _fd = *_fp;                                                                                            \
        *_fp = -EBADF;                                                                                             \
        _fd;                                                                                                       \
    })

#define RETRY_EINTR(expr)                                                                                          \
    __extension__({                                                                                                \
        long _rc;                                                                                                  \
        do {                                                                                                       \
            _rc = (long)(expr);                                                                                    \
        } while (_rc == -1 && errno == EINTR);                                                                     \
        _rc;                                                                                                       \
    })

/* Calls that have no safe use here do not compile. (Under clang, glibc's fortified ones are macros.) */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok atoi atol
