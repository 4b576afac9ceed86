#include "buf.h"

#include <stdarg.h>
#include <stdio.h>

#define BUF_FIRST_CAP 512

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ .max = b->max };
}

/* A bigger allocation with the bytes at its front; the old one is gone. NULL leaves everything as it was. */
static char *grow(struct buf *b, size_t size)
{
    char *data;

    if (b->start == 0)
        return realloc(b->data, size); /* moves the pages of a big buffer instead of copying them */
    data = malloc(size);
    if (data) {
        memcpy(data, b->data + b->start, b->len);
        free(b->data);
    }
    return data;
}

/*
 * Moves the bytes to the front when that alone makes room, else grows by doubling up to `max`. The allocation is
 * one byte bigger than `cap`, for the NUL that buf_printf() and buf_steal() put behind the bytes.
 */
static int make_room(struct buf *b, size_t n)
{
    size_t need, cap;
    char *data;

    if (n > b->max || b->len > b->max - n) {
        errno = ENOBUFS;
        return -1;
    }
    need = b->len + n;
    if (b->start > 0 && need <= b->cap) {
        memmove(b->data, b->data + b->start, b->len);
        b->start = 0;
        return 0;
    }
    cap = MAX(b->cap, (size_t)BUF_FIRST_CAP);
    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    data = cap == SIZE_MAX ? NULL : grow(b, cap + 1);
    if (!data) {
        errno = ENOMEM;
        return -1;
    }
    b->data = data;
    b->start = 0;
    b->cap = cap;
    return 0;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if ((!b->data || b->cap - b->start - b->len < n || n > b->max || b->len > b->max - n) && make_room(b, n) < 0)
        return NULL;
    return b->data + b->start + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    b->len += n;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    char *room;

    if (n == 0)
        return 0;
    room = buf_reserve(b, n);
    if (!room)
        return -1;
    memcpy(room, p, n);
    b->len += n;
    return 0;
}

int buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.p, s.n);
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    char *room;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return -1;
    room = buf_reserve(b, (size_t)n);
    if (!room)
        return -1;
    va_start(args, format);
    vsnprintf(room, (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->start = 0;
        b->len = 0;
        return;
    }
    b->start += n;
    b->len -= n;
}

void buf_clear(struct buf *b)
{
    b->start = 0;
    b->len = 0;
}

void buf_release_if_empty(struct buf *b)
{
    if (b->len == 0)
        buf_free(b);
}

char *buf_steal(struct buf *b, size_t *ret_len)
{
    char *bytes = buf_reserve(b, 0);

    if (!bytes)
        return NULL;
    bytes = b->data;
    if (b->start > 0)
        memmove(bytes, bytes + b->start, b->len);
    bytes[b->len] = '\0';
    if (ret_len)
        *ret_len = b->len;
    *b = (struct buf){ .max = b->max };
    return bytes;
}
