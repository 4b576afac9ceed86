/*
 * connection_tls.c - interception: TLS is agreed on with the server first, so that a sandbox is shown a certificate
 * only for one that has shown a good one; then with the client. For the interceptor's part there is no server's
 * end.
 *
 * A step of a handshake signs or verifies, up to a millisecond of the loop. So each waits for its turn (turns.h):
 * one in each turn of the loop, of one sandbox after the other. Until then the socket is not watched.
 */
#include "daemon/egress/connection.h"

static void go_on(struct connection *c)
{
    c->egress->counters.intercepted_connections++;
    c->egress->service->totals.intercepted++;
    buf_clear(&c->head); /* they are TLS's now */
    connection_pass(c);
}

static void want_step(struct connection *c, struct stream *stream)
{
    loop_io_remove(c->egress->service->loop, &stream->io);
    c->securing = stream;
    turn_want(&c->egress->service->handshakes, &c->egress->handshakes, &c->handshake);
}

static void on_client(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    (void)events;
    want_step(container_of(stream, struct connection, client), stream);
}

static void on_server(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    (void)events;
    want_step(container_of(stream, struct connection, server), stream);
}

static int lay_tls(struct connection *c, struct stream *stream)
{
    struct tls_ends *ends = c->egress->service->tls;

    if (stream == &c->server)
        return tls_end_connect(ends, c->name, stream);
    return tls_end_accept(ends, c->egress->authority, c->name, buf_str(&c->head), stream);
}

static int watch(struct connection *c, struct stream *stream)
{
    return loop_io_add(c->egress->service->loop, &stream->io, stream->io.fd,
                       stream->wants_write ? EPOLLOUT : EPOLLIN, stream == &c->server ? on_server : on_client);
}

static void step(struct turn *turn)
{
    struct connection *c = container_of(turn, struct connection, handshake);
    struct stream *stream = c->securing;
    int rc = stream->tls || lay_tls(c, stream) == 0 ? tls_end_handshake(stream) : -1;

    if (rc == 0 && watch(c, stream) == 0)
        return;
    if (rc == 1 && stream == &c->server)
        want_step(c, &c->client);
    else if (rc == 1)
        go_on(c);
    else if (stream == &c->server && tls_end_distrusted(stream))
        connection_refuse(c, "the server's certificate was not accepted");
    else
        connection_fail(c);
}

void connection_secure(struct connection *c)
{
    struct egress_service *service = c->egress->service;

    if (!c->intercepted) {
        connection_pass(c);
        return;
    }
    c->stage = SECURING;
    loop_timer_start(service->loop, &c->deadline, service->connect_timeout_ms);
    loop_io_remove(service->loop, &c->server.io);
    c->handshake.run = step;
    want_step(c, c->taken ? &c->client : &c->server);
}
