#include "link/stream.h"

#include "link/core.h"

#include "base/sys.h"

#define READ_PART   ((size_t)128 << 10) /* of one stream in one turn of the loop */
#define SHARE_LEAST ((size_t)64 << 10)  /* what each may have when all together have much */
#define PARTS       16
#define AT_ONCE     ((size_t)8 << 10)

/* --- what the socket is watched for --- */

/* What is read and not acknowledged: bounded for each, and lower when many are slow at once. */
static size_t out_max(const struct stream *stream)
{
    return stream->link->core->bytes > LINK_WINDOW ? SHARE_LEAST : LINK_STREAM_WINDOW;
}

static void on_socket(struct loop_io *io, uint32_t events);
static void settle_later(struct loop_deferred *deferred);

/*
 * epoll tells of a hang-up also when nothing is asked for. A paused stream would spin on it, so it is taken out;
 * one that only waits for the far side stays in with no events, as the hang-up says that nobody waits any more.
 */
static void watch(struct stream *stream)
{
    struct loop *loop = stream->link->core->loop;
    bool reads = !stream->out_ended && stream->attached && stream->out.bytes < out_max(stream);
    bool writes = stream->in.bytes > 0;
    uint32_t events = (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0);

    if (events == 0 && (!stream->out_ended || stream->hung_up))
        loop_io_remove(loop, &stream->io);
    else if (loop_io_active(&stream->io))
        loop_io_modify(loop, &stream->io, events);
    else if (loop_io_add(loop, &stream->io, stream->fd, events, on_socket) < 0)
        stream->broken = true;
}

/* --- its life --- */

struct stream *stream_new(struct link *link, int fd)
{
    struct stream *stream = link->stream_count < LINK_STREAMS_MAX ? calloc(1, sizeof(*stream)) : NULL;

    if (!stream) {
        close_fd(&fd);
        return NULL;
    }
    *stream = (struct stream){ .link = link, .id = -1, .fd = fd, .attached = true, .next = link->streams };
    if (stream->next)
        stream->next->prev = stream;
    link->streams = stream;
    link->stream_count++;
    stream->settling.callback = settle_later;
    return stream;
}

void stream_start(struct stream *stream)
{
    loop_defer(stream->link->core->loop, &stream->settling);
}

static size_t bytes_of(const struct stream *stream)
{
    return stream->out.bytes + stream->in.bytes;
}

static void count_bytes(struct stream *stream, size_t before)
{
    stream->link->core->bytes += stream->out.bytes + stream->in.bytes - before;
}

void stream_free(struct stream *stream)
{
    struct link *link = stream->link;

    link->core->bytes -= bytes_of(stream);
    if (stream->prev)
        stream->prev->next = stream->next;
    else
        link->streams = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    link->stream_count--;
    giving_end(stream);
    loop_io_remove(link->core->loop, &stream->io);
    loop_defer_cancel(link->core->loop, &stream->settling);
    close_fd(&stream->fd);
    blocks_clear(&stream->out);
    blocks_clear(&stream->in);
    free(stream);
    core_stream_ended(link);
}

/* --- to bermd --- */

static void consumed(struct stream *stream, size_t n)
{
    struct link *link = stream->link;

    if (n > 0 && !link->down)
        link->ops->consumed(link, stream->attached ? stream : NULL, n);
}

static void drop_in(struct stream *stream)
{
    size_t before = bytes_of(stream), held = stream->in.bytes;

    blocks_clear(&stream->in);
    count_bytes(stream, before);
    stream->in_dead = true;
    consumed(stream, held);
}

void stream_give_up(struct stream *stream)
{
    drop_in(stream);
    if (stream->attached)
        stream->link->ops->reset(stream->link, stream);
    stream_free(stream);
}

/* -1: bermd takes nothing more. */
static int send_in(struct stream *stream)
{
    struct iovec parts[PARTS];
    struct msghdr message = { .msg_iov = parts };
    size_t before = bytes_of(stream);

    while (stream->in.bytes > 0) {
        ssize_t n;

        message.msg_iovlen = blocks_next(&stream->in, parts, PARTS);
        n = RETRY_EINTR(sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return -1;
        blocks_take(&stream->in, (size_t)n);
        blocks_drop(&stream->in, (size_t)n);
    }
    count_bytes(stream, before);
    consumed(stream, before - bytes_of(stream));
    return 0;
}

/* The end follows the last byte. Nothing is to be done with it if bermd has gone. */
static void end_in(struct stream *stream)
{
    if (!stream->in_ended || stream->in_shut || stream->in.bytes > 0)
        return;
    stream->in_shut = true;
    if (!stream->in_dead)
        shutdown(stream->fd, SHUT_WR);
}

/* bermd takes nothing more: the far side should know, but get to its end what bermd had to say. */
static void stop_if_due(struct stream *stream)
{
    if (!stream->in_dead || stream->in_ended || !stream->fin_sent || stream->stopping || !stream->attached)
        return;
    stream->stopping = true;
    stream->link->ops->stop(stream->link, stream);
}

/* --- from bermd --- */

/* -1: reset by bermd, or no memory. */
static int read_out(struct stream *stream)
{
    size_t before = bytes_of(stream);
    ssize_t n = blocks_recv(&stream->out, stream->fd, MIN(READ_PART, out_max(stream) - stream->out.bytes));

    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    count_bytes(stream, before);
    stream->out_ended = n == 0;
    if (stream->attached)
        stream->link->ops->wake(stream->link, stream);
    return 0;
}

/* What follows from all that has happened; the stream may be freed. */
static void settle(struct stream *stream)
{
    end_in(stream);
    if (!stream->attached && (stream->in_shut || stream->in_dead)) {
        stream_free(stream);
        return;
    }
    stop_if_due(stream);
    watch(stream);
    if (stream->broken)
        stream_give_up(stream);
}

static void settle_later(struct loop_deferred *deferred)
{
    struct stream *stream = container_of(deferred, struct stream, settling);

    if (list_linked(&stream->waiting))
        return; /* nobody to settle anything with */
    if (stream->in.bytes > 0 && !(stream->io.events & EPOLLOUT) && send_in(stream) < 0)
        drop_in(stream);
    settle(stream);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    if ((events & EPOLLIN) && !stream->out_ended && stream->out.bytes < out_max(stream) && read_out(stream) < 0) {
        stream_give_up(stream);
        return;
    }
    if ((events & EPOLLOUT) && send_in(stream) < 0)
        drop_in(stream);
    /* Both directions are shut: with the far side's end not told yet, only bermd's close can have done that. */
    if ((events & (EPOLLHUP | EPOLLERR)) && stream->out_ended) {
        stream->hung_up = true;
        if (!stream->in_shut)
            drop_in(stream);
    }
    settle(stream);
}

/* --- for the transport --- */

struct stream *stream_opened(struct link *link, int64_t id)
{
    struct stream *stream = link->down || link->giving.flooded ? NULL : stream_new(link, -EBADF);

    if (!stream)
        return NULL;
    stream->id = id;
    if (giving_begin(stream) == 0)
        return stream;
    stream->attached = false;
    stream->in_dead = true;
    stream_start(stream); /* goes in this turn, but not inside of the transport's call */
    return NULL;
}

void stream_set_id(struct stream *stream, int64_t id)
{
    stream->id = id;
}

int64_t stream_id(const struct stream *stream)
{
    return stream->id;
}

/* As much as the socket takes at once goes there without a copy. Less than AT_ONCE, as are the packets of QUIC, is
 * put together with what else comes in this turn: the copy is cheaper than the call. */
static size_t send_at_once(struct stream *stream, const void *p, size_t n)
{
    ssize_t sent =
        stream->in.bytes > 0 || n == 0 ? 0 : RETRY_EINTR(send(stream->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL));

    if (sent < 0 && errno != EAGAIN)
        drop_in(stream);
    return sent > 0 ? (size_t)sent : 0;
}

int stream_received(struct stream *stream, const void *p, size_t n, bool fin)
{
    size_t before = bytes_of(stream), sent = 0;

    if (n > LINK_STREAM_WINDOW - MIN(LINK_STREAM_WINDOW, stream->in.bytes) || stream->in_ended)
        return -1;
    if (!stream->in_dead && n >= AT_ONCE && !list_linked(&stream->waiting))
        sent = send_at_once(stream, p, n);
    if (stream->in_dead)
        sent = n;
    else if (sent < n && blocks_append(&stream->in, (const char *)p + sent, n - sent) < 0)
        return -1;
    count_bytes(stream, before);
    consumed(stream, sent);
    stream->in_ended = fin;
    if (fin || stream->in.bytes > 0 || stream->in_dead)
        stream_start(stream);
    return 0;
}

size_t stream_out(const struct stream *stream, struct iovec *parts, size_t max, bool *fin)
{
    size_t count = blocks_next(&stream->out, parts, max), bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    *fin = stream->out_ended && !stream->fin_sent && bytes == stream->out.bytes - stream->out.taken;
    return count;
}

void stream_sent(struct stream *stream, size_t n, bool fin)
{
    blocks_take(&stream->out, n);
    giving_answered(stream);
    stream->fin_sent |= fin;
    if (fin)
        stream_start(stream);
}

void stream_acked(struct stream *stream, size_t n)
{
    size_t before = bytes_of(stream);

    blocks_drop(&stream->out, n);
    count_bytes(stream, before);
    if (!loop_io_active(&stream->io) || !(stream->io.events & EPOLLIN))
        stream_start(stream);
}

void stream_take_out(struct stream *stream, struct blocks *ret)
{
    size_t before = bytes_of(stream);

    *ret = stream->out;
    stream->out = (struct blocks){ 0 };
    count_bytes(stream, before);
}

/* Nothing of bermd's is sent any more, as if it had ended there: bermd learns it when it has closed its side too.
 */
void stream_unwanted(struct stream *stream)
{
    stream->out_ended = stream->fin_sent = true;
    giving_taken_back(stream);
    shutdown(stream->fd, SHUT_RD);
    stream_start(stream);
}

static void detach(struct stream *stream)
{
    size_t before = bytes_of(stream);

    stream->attached = false;
    stream->out_ended = true;
    blocks_clear(&stream->out);
    count_bytes(stream, before);
    stream_start(stream);
}

void stream_closed(struct stream *stream)
{
    giving_taken_back(stream);
    detach(stream);
    if (!stream->in_ended)
        drop_in(stream);
}
