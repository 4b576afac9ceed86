/*
 * quic_dial.c - the dialler's side: a socket of its own for the one connection.
 *
 * Its address changes when the machine gets into another network. The kernel does not say so to a socket that was
 * there before: it goes on sending from the old address. So it is asked every second which address a new socket
 * would have, and at once when nothing can be sent; if it is another one, that socket takes over and the far side
 * follows once it has seen that packets come back from there (RFC 9000, 9). A NAT that has forgotten the old
 * address needs nothing here: its new one is seen by the listener alone.
 */
#include "link/quic.h"

#define ROUTE_MS   1000
#define NO_WAY_MS  100
#define TOKEN_MAX  256 /* ours are smaller */
#define READS_TURN 4

struct quic_dialler {
    struct quic_link q; /* first: they are freed as one */
    struct quic_port port;
    struct loop_timer route;
    struct link_address remote;
};

/*
 * The token that proves our address to a listener which is busy, so that a reconnection is not put off. One is kept
 * in this process, which has one edge. It may be used once only, so that nobody recognises us by it.
 */
static struct {
    uint8_t p[TOKEN_MAX];
    size_t n;
} token;

void quic_keep_token(const uint8_t *p, size_t n)
{
    if (n > sizeof(token.p))
        return;
    memcpy(token.p, p, n);
    token.n = n;
}

/* --- packets --- */

static void on_packet(void *owner, const struct udp_packet *packet)
{
    quic_link_read(owner, packet);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
    struct quic_dialler *d = container_of(io, struct quic_dialler, port.io);

    (void)events;
    for (int i = 0; i < READS_TURN && !d->q.stopped && udp_read(&d->port.socket, on_packet, &d->q); i++)
        ;
    /* Later it would be a way to end a link by a forged packet: silence decides then. */
    if (d->port.socket.refused && !d->q.up && !d->q.stopped)
        quic_link_lose(&d->q, LINK_UNREACHABLE, "nobody listens there");
}

/* --- another address --- */

static void take_over(struct quic_dialler *d, struct udp_socket *fresh)
{
    struct loop *loop = d->q.link.core->loop;
    ngtcp2_path path;

    /* Not yet confirmed, or no spare numbers for the new way: the next look will find the same. */
    quic_path(&path, &fresh->local, &d->remote);
    if (ngtcp2_conn_initiate_immediate_migration(d->q.conn, &path, clock_monotonic_ns()) != 0) {
        udp_close(fresh);
        return;
    }
    loop_io_remove(loop, &d->port.io);
    udp_close(&d->port.socket);
    d->port.socket = *fresh;
    if (loop_io_add(loop, &d->port.io, fresh->fd, EPOLLIN, on_socket) < 0)
        quic_link_lose(&d->q, LINK_NO_RESOURCES, "no memory for a socket");
    else
        quic_link_touch(&d->q);
}

static void on_route(struct loop_timer *timer)
{
    struct quic_dialler *d = container_of(timer, struct quic_dialler, route);
    int fd = d->q.up ? udp_connect(&d->remote) : -1;
    struct udp_socket fresh;

    loop_timer_start(d->q.link.core->loop, timer, ROUTE_MS);
    if (fd < 0 || udp_init(&fresh, fd) < 0)
        return;
    if (address_equal(&fresh.local, &d->port.socket.local, false))
        udp_close(&fresh);
    else
        take_over(d, &fresh);
}

static void on_no_way(struct quic_port *port)
{
    struct quic_dialler *d = container_of(port, struct quic_dialler, port);
    struct loop *loop = d->q.link.core->loop;

    if (!d->q.stopped && d->route.due_ms > loop_now_ms(loop) + NO_WAY_MS)
        loop_timer_start(loop, &d->route, NO_WAY_MS);
}

/* --- its life --- */

void quic_dialler_stop(struct quic_dialler *d)
{
    loop_timer_stop(d->q.link.core->loop, &d->route);
    loop_io_remove(d->q.link.core->loop, &d->port.io);
    udp_close(&d->port.socket);
}

static int make_conn(struct quic_dialler *d)
{
    struct quic_link *q = &d->q;
    ngtcp2_cid dcid = { .datalen = QUIC_CID_LISTENER }, scid = { .datalen = QUIC_CID_DIALLER };
    ngtcp2_transport_params params;
    ngtcp2_settings settings;
    ngtcp2_path path;

    random_bytes(dcid.data, dcid.datalen);
    random_bytes(scid.data, scid.datalen);
    quic_settings(q, &settings, &params);
    settings.token = (ngtcp2_vec){ token.p, token.n };
    token.n = 0;
    quic_path(&path, &d->port.socket.local, &d->remote);
    if (ngtcp2_conn_client_new(&q->conn, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &quic_callbacks, &settings,
                               &params, NULL, q) != 0)
        return -1;
    ngtcp2_conn_set_tls_native_handle(q->conn, q->session);
    return 0;
}

struct link *quic_dial(struct core *core, const struct link_target *target)
{
    struct quic_dialler *d = calloc(1, sizeof(*d));
    int fd = d ? udp_connect(&target->address) : -1;

    if (fd < 0 || udp_init(&d->port.socket, fd) < 0) {
        free(d);
        return NULL;
    }
    d->remote = target->address;
    d->port.no_way = on_no_way;
    d->q.dialler = d;
    if (quic_session_init(&d->q, target->credentials, target->host) < 0 || make_conn(d) < 0 ||
        loop_io_add(core->loop, &d->port.io, d->port.socket.fd, EPOLLIN, on_socket) < 0) {
        udp_close(&d->port.socket);
        quic_link_discard(&d->q);
        errno = ENOMEM;
        return NULL;
    }
    quic_link_init(&d->q, core, &d->port);
    loop_timer_init(&d->route, on_route);
    loop_timer_start(core->loop, &d->route, ROUTE_MS);
    quic_link_touch(&d->q);
    return &d->q.link;
}
