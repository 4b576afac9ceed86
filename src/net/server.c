/* server.c - the server object: listeners, accepting, draining, and who the peer is. */
#include "server_internal.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#define ACCEPT_BATCH    64
#define ACCEPT_PAUSE_MS 100

void http_limits_default(struct http_limits *limits)
{
    *limits = (struct http_limits){
        .max_head = 32 << 10,
        .max_body = 128 << 20,
        .high_water = 256 << 10,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .idle_timeout_ms = 75000,
        .write_timeout_ms = 60000,
        .max_connections = 4096,
    };
}

/* --- accepting --- */

static void set_listening(struct http_server *server, uint32_t events)
{
    for (struct http_listener *l = server->listeners; l; l = l->next)
        loop_io_modify(server->loop, &l->io, events);
}

/*
 * Out of descriptors or memory the queue of a listener stays readable, and the loop would spin on it. New clients
 * wait in the kernel's backlog until some have gone.
 */
static void pause_accepting(struct http_server *server)
{
    set_listening(server, 0);
    loop_timer_start(server->loop, &server->accept_timer, ACCEPT_PAUSE_MS);
}

static void on_accept_timer(struct loop_timer *timer)
{
    set_listening(container_of(timer, struct http_server, accept_timer), EPOLLIN);
}

static void on_listener(struct loop_io *io, uint32_t events)
{
    struct http_listener *listener = container_of(io, struct http_listener, io);
    struct http_server *server = listener->server;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        union peer_address peer = { .any.sa_family = AF_UNSPEC };
        socklen_t len = sizeof(peer);
        int fd = accept4(io->fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            http_conn_new(server, fd, io->fd, &peer, listener);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(server);
        /* Everything else is a connection that died in the queue; if it was EAGAIN, there are no more. */
        if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
            return;
    }
}

/*
 * Small writes go out at once, and a client that vanished without a word is found out within two minutes, although
 * a request may take hours. Accepted sockets inherit all of it.
 */
static void set_tcp_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },    { SOL_SOCKET, SO_KEEPALIVE, 1 }, { IPPROTO_TCP, TCP_KEEPIDLE, 60 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 15 }, { IPPROTO_TCP, TCP_KEEPCNT, 4 },
    };
    int domain = AF_UNIX;
    socklen_t len = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain == AF_UNIX)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

int http_server_listen_fd(struct http_server *server, int listen_fd)
{
    struct http_listener *listener = calloc(1, sizeof(*listener));

    if (!listener || loop_io_add(server->loop, &listener->io, listen_fd, EPOLLIN, on_listener) < 0) {
        free(listener);
        close_fd(&listen_fd);
        return -1;
    }
    set_tcp_options(listen_fd);
    listener->server = server;
    listener->next = server->listeners;
    server->listeners = listener;
    return 0;
}

int http_server_adopt_connection(struct http_server *server, int fd)
{
    union peer_address peer = { .any.sa_family = AF_UNSPEC };
    socklen_t len = sizeof(peer);

    getpeername(fd, &peer.any, &len);
    set_tcp_options(fd);
    return http_conn_new(server, fd, HTTP_NO_LISTENER, &peer, NULL);
}

int http_server_adopt_own(struct http_server *server, int fd)
{
    const union peer_address peer = { .any.sa_family = AF_UNIX };

    return http_conn_new(server, fd, HTTP_OWN_PEER, &peer, NULL);
}

static void stop_accepting(struct http_server *server)
{
    loop_timer_stop(server->loop, &server->accept_timer);
    while (server->listeners) {
        struct http_listener *listener = server->listeners;
        int fd = listener->io.fd;
        server->listeners = listener->next;
        loop_io_remove(server->loop, &listener->io);
        close_fd(&fd);
        free(listener);
    }
}

/* --- the object --- */

struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    const struct http_handler *handler)
{
    struct http_server *server = calloc(1, sizeof(*server));

    if (!server)
        return NULL;
    server->loop = loop;
    server->limits = *limits;
    server->handler = *handler;
    /* A head that is not complete yet must leave room in the read buffer. */
    server->head_limits.max_head = MIN(limits->max_head, NET_SCRATCH / 2);
    server->head_limits.max_headers = H1_MAX_HEADERS;
    loop_timer_init(&server->accept_timer, on_accept_timer);
    list_init(&server->ready);
    list_init(&server->dead);
    server->deferred.callback = http_conn_run_ready;
    return server;
}

void http_server_drain(struct http_server *server, void (*on_idle)(void *), void *data)
{
    stop_accepting(server);
    server->draining = true;
    server->on_idle = on_idle;
    server->on_idle_data = data;
    for (struct http_conn *conn = server->conns; conn; conn = conn->next)
        http_conn_wake(conn);
    loop_defer(server->loop, &server->deferred);
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    stop_accepting(server);
    while (server->conns)
        http_conn_destroy(server->conns);
    http_pumps_free(server);
    http_conn_free_dead(server);
    loop_defer_cancel(server->loop, &server->deferred);
    free(server->next_exchange);
    recycled_free(&server->exchanges);
    free(server);
}

void http_server_stats(const struct http_server *server, struct http_server_stats *ret)
{
    *ret = server->stats;
}

/* --- the peer --- */

static bool is_v4(const struct http_conn *conn)
{
    static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

    return memcmp(conn->address, prefix, sizeof(prefix)) == 0;
}

bool http_peer_is_own(const struct http_exchange *ex)
{
    return http_exchange_listener(ex) == HTTP_OWN_PEER;
}

bool http_address_is_loopback(const uint8_t address[16])
{
    static const uint8_t v6[16] = { [15] = 1 };
    static const uint8_t v4[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };

    return memcmp(address, v6, sizeof(v6)) == 0 || memcmp(address, v4, sizeof(v4)) == 0;
}

bool http_same_client(const uint8_t a[16], const uint8_t b[16])
{
    static const uint8_t zero[8];

    return !http_address_is_loopback(a) && memcmp(a, b, memcmp(a, zero, 8) == 0 ? 16 : 8) == 0;
}

bool http_peer_is_local(const struct http_exchange *ex)
{
    const struct http_conn *conn = ex->conn;

    if (conn->family == AF_UNIX)
        return true;
    return (conn->family == AF_INET || conn->family == AF_INET6) && http_address_is_loopback(conn->address);
}

int http_exchange_listener(const struct http_exchange *ex)
{
    return ex->conn->listener_fd;
}

bool http_exchange_secure(const struct http_exchange *ex)
{
    return ex->conn->secure;
}

const uint8_t *http_peer_address(const struct http_exchange *ex)
{
    sa_family_t family = ex->conn->family;

    return family == AF_INET || family == AF_INET6 ? ex->conn->address : NULL;
}

void http_peer_name(const struct http_exchange *ex, char *out, size_t out_size)
{
    const struct http_conn *conn = ex->conn;
    char text[INET6_ADDRSTRLEN] = "";

    if (conn->family == AF_UNIX) {
        snprintf(out, out_size, "unix");
        return;
    }
    if (is_v4(conn)) {
        inet_ntop(AF_INET, conn->address + 12, text, sizeof(text));
        snprintf(out, out_size, "%s:%u", text, conn->port);
    } else {
        inet_ntop(AF_INET6, conn->address, text, sizeof(text));
        snprintf(out, out_size, "[%s]:%u", text, conn->port);
    }
}
