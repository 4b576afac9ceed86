#include "outq.h"

#include "channel.h"

#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define GATHER         16
#define FIRST_BLOCK    (1024 - sizeof(struct outq_item)) /* a response head with a small body */
#define NEXT_BLOCK     (16384 - sizeof(struct outq_item))
#define FILE_PART      ((size_t)1 << 20)
#define THROUGH_PART   ((size_t)64 << 10)
#define BYTES_PER_TURN ((uint64_t)8 << 20)

struct outq_item {
    struct outq_item *next;
    int fd; /* >= 0: a file range, without data */
    uint64_t offset, count;
    size_t start, end, cap;
    struct held_text *text; /* the bytes are there; NULL: in `data` */
    char data[];
};

static void unlink_first(struct outq *q)
{
    struct outq_item *item = q->first;

    q->first = item->next;
    if (!q->first)
        q->last = NULL;
    close_fd(&item->fd);
    held_text_unref(item->text);
    free(item);
}

static char *bytes_of(struct outq_item *item)
{
    return item->text ? buf_head(&item->text->bytes) : item->data;
}

void outq_clear(struct outq *q)
{
    while (q->first)
        unlink_first(q);
    q->bytes = 0;
}

static struct outq_item *new_item(size_t cap)
{
    struct outq_item *item = malloc(sizeof(*item) + cap);

    if (item) {
        memset(item, 0, sizeof(*item));
        item->fd = -EBADF;
        item->cap = cap;
    }
    return item;
}

static void link_last(struct outq *q, struct outq_item *item)
{
    if (q->last)
        q->last->next = item;
    else
        q->first = item;
    q->last = item;
}

int outq_append(struct outq *q, const void *p, size_t n)
{
    struct outq_item *item = q->last;

    if (n == 0)
        return 0;
    if (!item || item->cap - item->end < n) {
        item = new_item(MAX(n, item ? NEXT_BLOCK : FIRST_BLOCK));
        if (!item) {
            errno = ENOMEM;
            return -1;
        }
        link_last(q, item);
    }
    memcpy(item->data + item->end, p, n);
    item->end += n;
    q->bytes += n;
    return 0;
}

int outq_prepend(struct outq *q, const void *p, size_t n)
{
    struct outq_item *item;

    if (n == 0)
        return 0;
    item = new_item(n);
    if (!item) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(item->data, p, n);
    item->end = n;
    item->next = q->first;
    q->first = item;
    if (!q->last)
        q->last = item;
    q->bytes += n;
    return 0;
}

int outq_append_text(struct outq *q, struct held_text *text)
{
    struct outq_item *item = text->bytes.len > 0 ? new_item(0) : NULL;

    if (!item) {
        errno = ENOMEM;
        return text->bytes.len > 0 ? -1 : 0;
    }
    item->text = held_text_ref(text);
    item->end = item->cap = text->bytes.len;
    link_last(q, item);
    q->bytes += item->end;
    return 0;
}

int outq_append_file(struct outq *q, int fd, uint64_t offset, uint64_t count)
{
    struct outq_item *item = count > 0 ? new_item(0) : NULL;

    if (!item) {
        close_fd(&fd);
        errno = ENOMEM;
        return count > 0 ? -1 : 0;
    }
    item->fd = fd;
    item->offset = offset;
    item->count = count;
    link_last(q, item);
    return 0;
}

/* Takes `n` written bytes from the front; returns those that were beyond the queue's leading runs of bytes. */
static size_t consume(struct outq *q, size_t n)
{
    while (q->first && q->first->fd < 0) {
        struct outq_item *item = q->first;
        size_t held = item->end - item->start;
        if (n < held) {
            item->start += n;
            q->bytes -= n;
            return 0;
        }
        n -= held;
        q->bytes -= held;
        unlink_first(q);
    }
    return n;
}

static int send_file_range(struct outq *q, struct outq_item *item, int sock)
{
    uint64_t stop = q->sent + BYTES_PER_TURN;

    while (item->count > 0) {
        off_t offset = (off_t)item->offset;
        ssize_t n = RETRY_EINTR(sendfile(sock, item->fd, &offset, MIN(item->count, (uint64_t)FILE_PART)));
        if (n < 0)
            return errno == EAGAIN ? 1 : -1;
        if (n == 0) {
            errno = EIO;
            return -1;
        }
        item->offset += (uint64_t)n;
        item->count -= (uint64_t)n;
        q->sent += (uint64_t)n;
        if (q->sent > stop && item->count > 0)
            return 1;
    }
    return 0;
}

/* As it must be seen by the program on its way: read, and written like other bytes. */
static int send_file_through(struct outq *q, struct outq_item *item)
{
    static char part[THROUGH_PART];
    uint64_t stop = q->sent + BYTES_PER_TURN;

    while (item->count > 0) {
        ssize_t n =
            RETRY_EINTR(pread(item->fd, part, MIN(item->count, (uint64_t)THROUGH_PART), (off_t)item->offset));
        struct iovec iov = { part, n > 0 ? (size_t)n : 0 };

        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return -1;
        n = q->channel->ops->send(q->channel, &iov, 1);
        if (n < 0)
            return errno == EAGAIN ? 1 : -1;
        item->offset += (uint64_t)n;
        item->count -= (uint64_t)n;
        q->sent += (uint64_t)n;
        if (item->count > 0 && ((size_t)n < iov.iov_len || q->sent > stop))
            return 1;
    }
    unlink_first(q);
    return 0;
}

/*
 * The file range in front: 0 when it is through, 1 when the socket is full, -1 on errors. sendfile(2) knows no
 * MSG_NOSIGNAL, and a library may not ignore SIGPIPE for its process (children would inherit that): so the signal
 * is blocked meanwhile, and taken back if it came.
 */
static int send_file(struct outq *q, int sock)
{
    static const struct timespec now = { 0 };
    sigset_t sigpipe, before;
    int rc, saved;

    if (q->channel)
        return send_file_through(q, q->first);

    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    rc = send_file_range(q, q->first, sock);
    saved = errno;
    if (rc < 0 && saved == EPIPE)
        RETRY_EINTR(sigtimedwait(&sigpipe, NULL, &now));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    if (rc == 0)
        unlink_first(q);
    return rc;
}

struct parts {
    struct iovec iov[GATHER];
    size_t count;
    size_t bytes;
};

static void add_part(struct parts *parts, void *p, size_t n)
{
    if (n == 0)
        return;
    parts->iov[parts->count++] = (struct iovec){ p, n };
    parts->bytes += n;
}

static void skip_extra(struct iovec *extra, size_t count, size_t n)
{
    for (size_t i = 0; i < count && n > 0; i++) {
        size_t part = MIN(n, extra[i].iov_len);
        extra[i].iov_base = (char *)extra[i].iov_base + part;
        extra[i].iov_len -= part;
        n -= part;
    }
}

/* One sendmsg of the leading runs and, when they reach the queue's end, of `extra`. 0, 1 or -1 as above. */
static int send_parts(struct outq *q, int sock, struct iovec *extra, size_t extra_count)
{
    struct parts parts = { 0 };
    struct msghdr message = { .msg_iov = parts.iov };
    struct outq_item *item = q->first;
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t n;

    for (; item && item->fd < 0 && parts.count < GATHER - OUTQ_EXTRA; item = item->next)
        add_part(&parts, bytes_of(item) + item->start, item->end - item->start);
    for (size_t i = 0; !item && i < extra_count; i++)
        add_part(&parts, extra[i].iov_base, extra[i].iov_len);
    if (item)
        flags |= MSG_MORE;
    if (parts.bytes == 0)
        return 0;
    message.msg_iovlen = parts.count;
    n = q->channel ? q->channel->ops->send(q->channel, parts.iov, parts.count)
                   : RETRY_EINTR(sendmsg(sock, &message, flags));
    if (n < 0)
        return errno == EAGAIN ? 1 : -1;
    q->sent += (uint64_t)n;
    skip_extra(extra, extra_count, consume(q, (size_t)n));
    return (size_t)n == parts.bytes ? 0 : 1;
}

static size_t extra_left(const struct iovec *extra, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++)
        left += extra[i].iov_len;
    return left;
}

static int queue_extra(struct outq *q, const struct iovec *extra, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (outq_append(q, extra[i].iov_base, extra[i].iov_len) < 0)
            return -1;
    return 0;
}

int outq_send(struct outq *q, int sock, const struct iovec *extra, size_t extra_count)
{
    struct iovec rest[OUTQ_EXTRA];
    uint64_t before = q->sent;
    int rc = 0;

    for (size_t i = 0; i < extra_count; i++)
        rest[i] = extra[i];
    while (rc == 0 && (q->first || extra_left(rest, extra_count) > 0)) {
        if (q->first && q->first->fd >= 0)
            rc = send_file(q, sock);
        else
            rc = send_parts(q, sock, rest, extra_count);
        if (rc == 0 && q->sent - before > BYTES_PER_TURN)
            rc = 1;
    }
    if (rc < 0 || queue_extra(q, rest, extra_count) < 0)
        return -1;
    return q->first ? 1 : 0;
}

static ssize_t read_file_range(struct outq_item *item, char *to, size_t n)
{
    ssize_t got = RETRY_EINTR(pread(item->fd, to, MIN(item->count, (uint64_t)n), (off_t)item->offset));

    if (got == 0)
        errno = EIO;
    if (got <= 0)
        return -1;
    item->offset += (uint64_t)got;
    item->count -= (uint64_t)got;
    return got;
}

ssize_t outq_read(struct outq *q, void *to, size_t n)
{
    char *at = to;
    size_t done = 0;

    while (done < n && q->first) {
        struct outq_item *item = q->first;
        bool is_file = item->fd >= 0;
        ssize_t part =
            is_file ? read_file_range(item, at + done, n - done) : (ssize_t)MIN(item->end - item->start, n - done);

        if (part < 0)
            return -1;
        if (!is_file) {
            memcpy(at + done, bytes_of(item) + item->start, (size_t)part);
            consume(q, (size_t)part);
        } else if (item->count == 0) {
            unlink_first(q);
        }
        done += (size_t)part;
    }
    q->sent += done;
    return (ssize_t)done;
}
