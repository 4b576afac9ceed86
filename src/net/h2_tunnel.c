/* h2_tunnel.c - a stream that has left HTTP: its bytes to and from a socket. */
#include "h2_internal.h"

#include "scratch.h"

#include <sys/socket.h>

#define PART ((size_t)64 << 10)

struct h2_tunnel {
    struct h2_stream *stream;
    struct loop_io io;
    struct outq out;
    bool ended; /* the socket's other end sends no more */
    bool shut;  /* it knows that the client does not either */
};

static struct loop *loop_of(const struct h2_tunnel *tunnel)
{
    return tunnel->stream->h2->conn->server->loop;
}

struct outq *h2_tunnel_out(struct h2_tunnel *tunnel)
{
    return &tunnel->out;
}

bool h2_tunnel_ended(const struct h2_tunnel *tunnel)
{
    return tunnel->ended;
}

/* To the socket, as much as it takes; the client's window opens by that. */
static void put(struct h2_tunnel *tunnel)
{
    struct buf *in = &tunnel->stream->in;

    while (in->len > 0) {
        ssize_t n = RETRY_EINTR(send(tunnel->io.fd, buf_head(in), in->len, MSG_NOSIGNAL | MSG_DONTWAIT));

        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) { /* nobody is there to read it */
            h2_reset(tunnel->stream, NGHTTP2_CANCEL);
            return;
        }
        buf_consume(in, (size_t)n);
        h2_consume(tunnel->stream, (size_t)n);
    }
    buf_release_if_empty(in);
    if (tunnel->stream->input_ended && !tunnel->shut) {
        shutdown(tunnel->io.fd, SHUT_WR);
        tunnel->shut = true;
    }
}

static void get(struct h2_tunnel *tunnel)
{
    ssize_t n;

    if (tunnel->ended || tunnel->out.bytes >= PART)
        return;
    n = RETRY_EINTR(recv(tunnel->io.fd, net_scratch, PART, MSG_DONTWAIT));
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0 || (n > 0 && outq_append(&tunnel->out, net_scratch, (size_t)n) < 0))
        h2_reset(tunnel->stream, NGHTTP2_CONNECT_ERROR);
    if (n <= 0)
        tunnel->ended = true;
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct h2_tunnel *tunnel = container_of(io, struct h2_tunnel, io);

    (void)events;
    get(tunnel);
    h2_wake(tunnel->stream);
    h2_tunnel_move(tunnel);
}

/* What waits for nothing is taken out: hang-ups are reported whatever one asks for. */
static void watch(struct h2_tunnel *tunnel)
{
    uint32_t events =
        (tunnel->stream->in.len > 0 ? EPOLLOUT : 0) | (!tunnel->ended && tunnel->out.bytes < PART ? EPOLLIN : 0);
    int rc = 0;

    if (events == 0)
        loop_io_remove(loop_of(tunnel), &tunnel->io);
    else if (loop_io_active(&tunnel->io))
        rc = loop_io_modify(loop_of(tunnel), &tunnel->io, events);
    else
        rc = loop_io_add(loop_of(tunnel), &tunnel->io, tunnel->io.fd, events, on_io);
    if (rc < 0)
        h2_reset(tunnel->stream, NGHTTP2_INTERNAL_ERROR);
}

void h2_tunnel_move(struct h2_tunnel *tunnel)
{
    put(tunnel);
    watch(tunnel);
}

struct h2_tunnel *h2_tunnel_new(struct h2_stream *stream, int fd)
{
    struct h2_tunnel *tunnel = calloc(1, sizeof(*tunnel));

    if (!tunnel) {
        close_fd(&fd);
        return NULL;
    }
    tunnel->stream = stream;
    tunnel->io.fd = fd;
    return tunnel;
}

void h2_tunnel_free(struct h2_tunnel *tunnel)
{
    int fd;

    if (!tunnel)
        return;
    fd = tunnel->io.fd;
    loop_io_remove(loop_of(tunnel), &tunnel->io);
    close_fd(&fd);
    outq_clear(&tunnel->out);
    free(tunnel);
}
