/*
 * connection_tls.c - interception: TLS is agreed on with the server first, so that a sandbox is shown a certificate
 * only for one that has shown a good one; then with the client. For the interceptor's part there is no server's
 * end.
 */
#include "daemon/egress/connection.h"

static void secure_client(struct connection *c);

static void go_on(struct connection *c)
{
    c->egress->counters.intercepted_connections++;
    c->egress->service->totals.intercepted++;
    buf_clear(&c->head); /* they are TLS's now */
    connection_pass(c);
}

/* Its next step, when the socket has changed. */
static void step(struct connection *c, struct stream *stream)
{
    struct loop *loop = c->egress->service->loop;
    int rc = tls_end_handshake(stream);

    if (rc == 0) {
        if (loop_io_modify(loop, &stream->io, stream->wants_write ? EPOLLOUT : EPOLLIN) < 0)
            connection_fail(c);
        return;
    }
    loop_io_remove(loop, &stream->io);
    if (rc == 1 && stream == &c->server)
        secure_client(c);
    else if (rc == 1)
        go_on(c);
    else if (stream == &c->server && tls_end_distrusted(stream))
        connection_refuse(c, "the server's certificate was not accepted");
    else
        connection_fail(c);
}

static void on_client(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    (void)events;
    step(container_of(stream, struct connection, client), stream);
}

static void on_server(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    (void)events;
    step(container_of(stream, struct connection, server), stream);
}

/* `begun`: tls_end_accept() or tls_end_connect() has laid TLS on the stream. */
static void begin(struct connection *c, struct stream *stream, int begun, void (*on_io)(struct loop_io *, uint32_t))
{
    struct loop *loop = c->egress->service->loop;

    loop_io_remove(loop, &stream->io);
    if (begun < 0 || loop_io_add(loop, &stream->io, stream->io.fd, EPOLLIN, on_io) < 0)
        connection_fail(c);
    else
        step(c, stream);
}

static void secure_client(struct connection *c)
{
    begin(c, &c->client,
          tls_end_accept(c->egress->service->tls, c->egress->authority, c->name, buf_str(&c->head), &c->client),
          on_client);
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
    if (c->taken)
        secure_client(c);
    else
        begin(c, &c->server, tls_end_connect(service->tls, c->name, &c->server), on_server);
}
