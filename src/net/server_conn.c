/*
 * server_conn.c - one connection: reading, deadlines, and the end.
 *
 * settle() follows each http_conn_drive(): it removes a failed connection, or brings epoll and the timer in line.
 * Both are lazy: EPOLLIN stays registered while a request is worked on and is only taken out if something really
 * arrives, and the timer is not moved when a deadline moves back, so that a plain request costs epoll_wait, recv
 * and sendmsg.
 */
#include "server_internal.h"

#include "base/sys.h"

#include <sys/socket.h>

#define READS_PER_TURN  4
#define SKIP_MS         2000
#define LINGER_QUIET_MS 2000

static void on_event(struct loop_io *io, uint32_t events);
static void read_input(struct http_conn *conn);
static void on_timer(struct loop_timer *timer);

/* --- birth --- */

static void store_peer(struct http_conn *conn, const union peer_address *peer)
{
    conn->family = peer->any.sa_family;
    if (conn->family == AF_INET) {
        memset(conn->address + 10, 0xff, 2);
        memcpy(conn->address + 12, &peer->v4.sin_addr, 4);
        conn->port = ntohs(peer->v4.sin_port);
    } else if (conn->family == AF_INET6) {
        memcpy(conn->address, &peer->v6.sin6_addr, 16);
        conn->port = ntohs(peer->v6.sin6_port);
    }
}

static bool over_limit(const struct http_server *server, const struct http_conn *conn)
{
    uint32_t same = 0;

    if (server->stats.connections_open >= server->limits.max_connections)
        return true;
    if (server->limits.max_connections_peer == 0 || (conn->family != AF_INET && conn->family != AF_INET6))
        return false;
    for (const struct http_conn *other = server->conns; other; other = other->next)
        same += http_same_client(conn->address, other->address);
    return same >= server->limits.max_connections_peer;
}

static void link_conn(struct http_server *server, struct http_conn *conn)
{
    conn->next = server->conns;
    if (conn->next)
        conn->next->prev = conn;
    server->conns = conn;
    server->stats.connections_open++;
    server->stats.connections_total++;
}

static void unlink_conn(struct http_server *server, struct http_conn *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    server->stats.connections_open--;
}

static void set_read_deadline(struct http_conn *conn, enum conn_deadline deadline, uint64_t after_ms)
{
    conn->deadline = deadline;
    conn->read_deadline_ms = deadline == DEADLINE_NONE ? 0 : loop_now_ms(conn->server->loop) + after_ms;
}

static void arm_timer(struct http_conn *conn)
{
    uint64_t now = loop_now_ms(conn->server->loop);
    uint64_t due = conn->read_deadline_ms;

    if (conn->write_deadline_ms > 0 && (due == 0 || conn->write_deadline_ms < due))
        due = conn->write_deadline_ms;
    if (due == 0 || (loop_timer_armed(&conn->timer) && conn->timer.due_ms <= due))
        return;
    if (loop_timer_start(conn->server->loop, &conn->timer, due > now ? due - now : 0) < 0)
        http_conn_fail(conn);
}

int http_conn_new(struct http_server *server, int fd, int listener_fd, const union peer_address *peer,
                  const struct http_listener *listener)
{
    struct http_conn *conn = calloc(1, sizeof(*conn));

    if (!conn)
        goto refuse;
    conn->server = server;
    conn->listener_fd = listener_fd;
    store_peer(conn, peer);
    if (server->draining || over_limit(server, conn)) {
        server->stats.refused_total++;
        errno = EBUSY;
        goto refuse;
    }
    if (listener && listener->open_channel) {
        conn->channel = listener->open_channel(listener->channel_data, fd);
        if (!conn->channel)
            goto refuse;
        conn->secure = true;
    }
    loop_timer_init(&conn->timer, on_timer);
    buf_init(&conn->in, NET_SCRATCH);
    if (loop_io_add(server->loop, &conn->io, fd, EPOLLIN | EPOLLRDHUP, on_event) < 0)
        goto refuse;
    link_conn(server, conn);
    if (http_address_is_loopback(conn->address))
        socket_unpace(fd);
    if (conn->channel) {
        set_read_deadline(conn, DEADLINE_HANDSHAKE, server->limits.head_timeout_ms);
    } else {
        conn->phase = CONN_HEAD;
        set_read_deadline(conn, DEADLINE_IDLE, server->limits.idle_timeout_ms);
    }
    arm_timer(conn);
    return 0;

refuse:
    channel_free(conn ? conn->channel : NULL);
    free(conn);
    close_fd(&fd);
    return -1;
}

/* --- ends --- */

void http_conn_fail(struct http_conn *conn)
{
    conn->failed = true;
    http_conn_wake(conn);
}

int http_conn_detach(struct http_conn *conn)
{
    int fd = conn->io.fd;

    loop_io_remove(conn->server->loop, &conn->io);
    conn->io.fd = -EBADF;
    if (conn->channel)
        fd = http_pump_start(conn->server, fd, TAKE_PTR(conn->channel));
    conn->detached = fd >= 0;
    http_conn_fail(conn);
    return fd;
}

void http_conn_destroy(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    int fd = conn->io.fd;

    conn->failed = true;
    conn->driving = true; /* whatever on_close does cannot wake it up any more */
    if (conn->ex)
        http_exchange_close(conn->ex, conn->detached);
    if (conn->mux)
        server->mux->free(conn);
    loop_io_remove(server->loop, &conn->io);
    loop_timer_stop(server->loop, &conn->timer);
    if (conn->channel && !conn->broken_off)
        conn->channel->ops->end(conn->channel);
    channel_free(conn->channel);
    close_fd(&fd);
    buf_free(&conn->in);
    unlink_conn(server, conn);
    list_remove(&conn->turn);
    list_append(&server->dead, &conn->turn);
    loop_defer(server->loop, &server->deferred);
}

/* The same with the bytes that were kept. Nothing reads into conn->in meanwhile. */
static void drive_kept(struct http_conn *conn)
{
    http_conn_drive(conn, buf_str(&conn->in));
    buf_consume(&conn->in, conn->in.len - conn->input.n);
}

static bool wants_input(const struct http_conn *conn)
{
    if (conn->failed || conn->yielded || conn->phase == CONN_WAIT)
        return false;
    return conn->phase != CONN_BODY || !conn->ex->paused || conn->ex->ended;
}

/* --- after moving --- */

static void update_deadlines(struct http_conn *conn)
{
    const struct http_limits *limits = &conn->server->limits;
    bool fresh = conn->progress;

    conn->progress = false;
    if (!conn->blocked)
        conn->write_deadline_ms = 0;
    switch (conn->phase) {
    case CONN_HANDSHAKE:
        break; /* one for all of it */
    case CONN_HEAD:
        if (conn->in.len > 0 && conn->deadline != DEADLINE_HEAD)
            set_read_deadline(conn, DEADLINE_HEAD, limits->head_timeout_ms);
        else if (conn->in.len == 0 && conn->deadline != DEADLINE_IDLE)
            set_read_deadline(conn, DEADLINE_IDLE, limits->idle_timeout_ms);
        break;
    case CONN_BODY:
        /* Once the response is made, only the client's taking it counts; our own other end may take its time. */
        if (!wants_input(conn) || conn->ex->ended || conn->ex->unhurried || conn->listener_fd == HTTP_OWN_PEER)
            set_read_deadline(conn, DEADLINE_NONE, 0);
        else if (fresh || conn->deadline != DEADLINE_BODY)
            set_read_deadline(conn, DEADLINE_BODY, limits->body_timeout_ms);
        break;
    case CONN_WAIT:
        set_read_deadline(conn, DEADLINE_NONE, 0);
        break;
    case CONN_SKIP:
        if (conn->deadline != DEADLINE_SKIP)
            set_read_deadline(conn, DEADLINE_SKIP, SKIP_MS);
        break;
    case CONN_LINGER:
        if (fresh || conn->deadline != DEADLINE_LINGER)
            set_read_deadline(conn, DEADLINE_LINGER, LINGER_QUIET_MS);
        conn->read_deadline_ms = MIN(conn->read_deadline_ms, conn->linger_end_ms);
        break;
    case CONN_MUX:
        conn->deadline = DEADLINE_MUX;
        conn->read_deadline_ms = conn->server->mux->deadline(conn);
        break;
    }
    arm_timer(conn);
}

static void update_events(struct http_conn *conn)
{
    uint32_t events = 0;

    if (wants_input(conn))
        conn->muted = false;
    if (!conn->muted)
        events |= EPOLLIN;
    if (!conn->peer_closed)
        events |= EPOLLRDHUP;
    if (conn->blocked)
        events |= EPOLLOUT;
    if (loop_io_modify(conn->server->loop, &conn->io, events) < 0)
        http_conn_fail(conn);
}

/* What no event of the socket would tell of. */
static bool has_unread(const struct http_conn *conn)
{
    return conn->channel && conn->phase != CONN_HANDSHAKE && wants_input(conn) &&
           conn->channel->ops->pending(conn->channel);
}

static void settle(struct http_conn *conn)
{
    if (conn->server->draining && conn->in.len == 0 && (conn->phase == CONN_HEAD || conn->phase == CONN_HANDSHAKE))
        conn->failed = true;
    if (conn->failed) {
        http_conn_destroy(conn);
        return;
    }
    buf_release_if_empty(&conn->in);
    update_deadlines(conn);
    update_events(conn);
    if (conn->yielded || has_unread(conn))
        http_conn_wake(conn);
}

void http_conn_wake(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    if (conn->driving || list_linked(&conn->turn))
        return;
    list_append(&server->ready, &conn->turn);
    loop_defer(server->loop, &server->deferred);
}

static void run_ready(struct http_server *server)
{
    struct list turn, *node; /* whoever becomes ready meanwhile has the next one */

    list_init(&turn);
    list_splice(&turn, &server->ready);
    while ((node = list_shift(&turn))) {
        struct http_conn *conn = container_of(node, struct http_conn, turn);
        drive_kept(conn);
        if (has_unread(conn))
            read_input(conn);
        settle(conn);
    }
}

void http_conn_free_dead(struct http_server *server)
{
    struct list *node;

    while ((node = list_shift(&server->dead)))
        free(container_of(node, struct http_conn, turn));
}

void http_conn_run_ready(struct loop_deferred *deferred)
{
    struct http_server *server = container_of(deferred, struct http_server, deferred);

    run_ready(server);
    http_conn_free_dead(server);
    if (server->draining && !server->conns && server->on_idle) {
        void (*on_idle)(void *) = server->on_idle;
        server->on_idle = NULL;
        on_idle(server->on_idle_data);
    }
}

/* --- events --- */

/*
 * The peer sends no more. Between requests that is the end; within a body it has broken off, unless the response is
 * already made and only has to reach it.
 */
static void on_end_of_input(struct http_conn *conn)
{
    conn->peer_closed = true;
    if (conn->phase == CONN_BODY && conn->ex->ended) {
        conn->phase = CONN_WAIT;
        conn->keep_alive = false;
    } else {
        http_conn_fail(conn);
    }
}

/* Into the collected body if its length is known and nothing is waiting in front, else into the scratch buffer. */
static ssize_t read_some(struct http_conn *conn, bool *ret_short)
{
    size_t kept = conn->in.len;
    size_t room = 0;
    char *at = kept == 0 && conn->phase == CONN_BODY ? http_exchange_body_room(conn->ex, &room) : NULL;
    struct str input;
    ssize_t n;

    if (!at) {
        if (kept > 0)
            memcpy(net_scratch, buf_head(&conn->in), kept);
        at = net_scratch + kept;
        room = NET_SCRATCH - kept;
    }
    n = conn->channel ? conn->channel->ops->recv(conn->channel, at, room)
                      : RETRY_EINTR(recv(conn->io.fd, at, room, 0));
    if (n <= 0)
        return n;
    *ret_short = (size_t)n < room;
    conn->progress = true;
    buf_clear(&conn->in);
    input = (struct str){ at - kept, kept + (size_t)n };
    http_conn_drive(conn, input);
    if (!conn->failed && buf_append_str(&conn->in, conn->input) < 0)
        http_conn_fail(conn);
    return n;
}

static void read_input(struct http_conn *conn)
{
    for (int i = 0; i < READS_PER_TURN && wants_input(conn); i++) {
        bool was_short = false;
        ssize_t n = read_some(conn, &was_short);
        if (n == 0)
            on_end_of_input(conn);
        else if (n < 0 && errno != EAGAIN)
            http_conn_fail(conn);
        if (n <= 0 || was_short)
            return;
    }
}

/* Input, or the peer's end, while nobody may read: pipelined requests, a paused body, a client that went away. */
static void mute_input(struct http_conn *conn, uint32_t events)
{
    if (events & EPOLLIN)
        conn->muted = true;
    if (events & (EPOLLHUP | EPOLLERR)) {
        http_conn_fail(conn);
    } else if (events & EPOLLRDHUP) {
        conn->peer_closed = true;
        if (conn->ex && conn->ex->watched)
            http_conn_fail(conn);
    }
}

/* Whether there is something to go on with. What came behind the handshake may have been read with it. */
static bool shake_hands(struct http_conn *conn)
{
    conn->blocked = false;
    switch (conn->channel->ops->handshake(conn->channel)) {
    case CHANNEL_READY:
        conn->phase = CONN_HEAD;
        if (conn->server->mux && conn->channel->ops->is_h2(conn->channel))
            http_conn_start_mux(conn);
        return true;
    case CHANNEL_WANTS_OUTPUT:
        conn->blocked = true;
        return false;
    case CHANNEL_WANTS_INPUT:
        return false;
    case CHANNEL_FOREIGN:
        channel_free(TAKE_PTR(conn->channel));
        conn->phase = CONN_BODY;
        conn->body = (struct h1_body){ .framing = H1_UNTIL_CLOSE };
        http_conn_error_because(conn, 400, "This port takes HTTPS only");
        return true;
    case CHANNEL_BROKEN:
        break;
    }
    http_conn_fail(conn);
    return false;
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct http_conn *conn = container_of(io, struct http_conn, io);

    if (list_linked(&conn->turn))
        return; /* its turn comes behind this batch, and the event comes again */
    if (conn->phase == CONN_HANDSHAKE && !shake_hands(conn)) {
        settle(conn);
        return;
    }
    if (events & EPOLLOUT) {
        conn->blocked = false;
        if (conn->ex)
            conn->ex->dirty = true;
    }
    conn->peer_left = events & (EPOLLRDHUP | EPOLLHUP);
    drive_kept(conn);
    if (events & ~(uint32_t)EPOLLOUT) {
        if (wants_input(conn))
            read_input(conn);
        else if (!conn->failed)
            mute_input(conn, events);
    }
    settle(conn);
}

static void on_read_deadline(struct http_conn *conn)
{
    bool partial_head = conn->deadline == DEADLINE_HEAD;

    if (conn->phase == CONN_MUX) {
        conn->server->mux->on_deadline(conn);
        return;
    }

    conn->read_deadline_ms = 0;
    conn->deadline = DEADLINE_NONE;
    if (!partial_head && conn->phase != CONN_BODY) {
        conn->server->stats.timeouts_total += conn->phase == CONN_HANDSHAKE;
        http_conn_fail(conn);
        return;
    }
    conn->server->stats.timeouts_total++;
    if (partial_head) {
        conn->phase = CONN_BODY;
        conn->body = (struct h1_body){ .framing = H1_UNTIL_CLOSE };
    }
    http_conn_error(conn, 408);
}

static void on_timer(struct loop_timer *timer)
{
    struct http_conn *conn = container_of(timer, struct http_conn, timer);
    uint64_t now = loop_now_ms(conn->server->loop);

    if (conn->write_deadline_ms > 0 && conn->write_deadline_ms <= now) {
        conn->server->stats.timeouts_total++;
        http_conn_fail(conn);
    } else if (conn->read_deadline_ms > 0 && conn->read_deadline_ms <= now) {
        on_read_deadline(conn);
        drive_kept(conn);
    }
    settle(conn);
}
