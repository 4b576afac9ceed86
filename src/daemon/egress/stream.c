#include "daemon/egress/stream.h"

#include "daemon/egress/tls_end.h"

#include <sys/socket.h>

size_t stream_read(struct stream *stream, void *p, size_t n)
{
    ssize_t got;

    if (stream->tls)
        return tls_end_read(stream, p, n);
    got = RETRY_EINTR(recv(stream->io.fd, p, n, MSG_DONTWAIT));
    if (got > 0)
        return (size_t)got;
    if (got == 0)
        stream->ended = true;
    else if (errno != EAGAIN)
        stream->broken = stream->ended = true;
    return 0;
}

size_t stream_write(struct stream *stream, const void *p, size_t n)
{
    ssize_t done;

    if (stream->tls)
        return tls_end_write(stream, p, n);
    done = RETRY_EINTR(send(stream->io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (done >= 0)
        return (size_t)done;
    if (errno != EAGAIN)
        stream->broken = true;
    return 0;
}

void stream_shut(struct stream *stream)
{
    if (stream->tls)
        tls_end_shut(stream);
    shutdown(stream->io.fd, SHUT_WR);
}

void stream_close(struct stream *stream, struct loop *loop)
{
    int fd = stream->io.fd;

    tls_end_free(stream);
    loop_io_remove(loop, &stream->io);
    close_fd(&fd);
    stream->io.fd = -EBADF;
}
