#include "link/blocks.h"

#include <sys/socket.h>

#define FIRST_BLOCK ((size_t)4 << 10)  /* a head and a small body */
#define NEXT_BLOCK  ((size_t)64 << 10) /* there is more */

struct block {
    struct block *next;
    size_t end, cap;
    char data[];
};

static struct block *new_block(const struct blocks *b, size_t least)
{
    size_t size = MAX(b->last ? NEXT_BLOCK : FIRST_BLOCK, least + sizeof(struct block));
    struct block *block = malloc(size);

    if (block)
        *block = (struct block){ .cap = size - sizeof(struct block) };
    else
        errno = ENOMEM;
    return block;
}

static void link_last(struct blocks *b, struct block *block)
{
    if (b->last)
        b->last->next = block;
    else
        b->first = block;
    b->last = block;
}

static size_t room(const struct blocks *b)
{
    return b->last ? b->last->cap - b->last->end : 0;
}

/* `n` bytes have been written behind the last one. */
static void commit(struct blocks *b, size_t n)
{
    if (!b->next && n > 0) {
        b->next = b->last;
        b->next_start = b->last->end;
    }
    b->last->end += n;
    b->bytes += n;
}

/* Into the rest of the last block, and when that is little, a fresh one for what is more. */
ssize_t blocks_recv(struct blocks *b, int fd, size_t max)
{
    size_t here = MIN(room(b), max);
    bool more = here < max && here < FIRST_BLOCK;
    _cleanup_free_ struct block *fresh = more ? new_block(b, 0) : NULL;
    struct iovec parts[2] = { { b->last ? b->last->data + b->last->end : NULL, here } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 1 };
    ssize_t n;

    if (more && !fresh)
        return -1;
    if (fresh)
        parts[message.msg_iovlen++] = (struct iovec){ fresh->data, MIN(fresh->cap, max - here) };
    n = RETRY_EINTR(recvmsg(fd, &message, MSG_DONTWAIT));
    if (n <= 0)
        return n;
    if (here > 0)
        commit(b, MIN((size_t)n, here));
    if ((size_t)n > here) {
        link_last(b, TAKE_PTR(fresh));
        commit(b, (size_t)n - here);
    }
    return n;
}

int blocks_append(struct blocks *b, const void *p, size_t n)
{
    size_t here = MIN(room(b), n);
    struct block *fresh = here < n ? new_block(b, n - here) : NULL;

    if (here < n && !fresh)
        return -1;
    if (here > 0) {
        memcpy(b->last->data + b->last->end, p, here);
        commit(b, here);
    }
    if (fresh) {
        link_last(b, fresh);
        memcpy(fresh->data, (const char *)p + here, n - here);
        commit(b, n - here);
    }
    return 0;
}

size_t blocks_next(const struct blocks *b, struct iovec *parts, size_t max)
{
    size_t start = b->next_start, count = 0;

    for (struct block *block = b->next; block && count < max; block = block->next, start = 0)
        parts[count++] = (struct iovec){ block->data + start, block->end - start };
    return count;
}

void blocks_take(struct blocks *b, size_t n)
{
    b->taken += n;
    while (n > 0) {
        size_t here = b->next->end - b->next_start;

        if (n < here) {
            b->next_start += n;
            return;
        }
        n -= here;
        b->next = b->next->next;
        b->next_start = 0;
    }
}

void blocks_drop(struct blocks *b, size_t n)
{
    b->taken -= n;
    b->bytes -= n;
    while (b->first) {
        struct block *block = b->first;
        size_t here = block->end - b->first_start;

        if (n < here) {
            b->first_start += n;
            return;
        }
        n -= here;
        b->first = block->next;
        b->first_start = 0;
        if (!b->first)
            b->last = NULL;
        free(block);
        if (n == 0)
            return;
    }
}

void blocks_clear(struct blocks *b)
{
    while (b->first) {
        struct block *block = b->first;

        b->first = block->next;
        free(block);
    }
    *b = (struct blocks){ 0 };
}
