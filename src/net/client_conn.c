/*
 * client_conn.c - one connection to a peer that is not trusted.
 *
 * As in the server, drive() moves a connection forward with the bytes there are and settle() follows it. Everything
 * the peer can do wrong ends in client_conn_fail(); the connection is then destroyed by settle(), and its call is
 * put on a new connection (client_call_retry) or ended with the error.
 */
#include "client_internal.h"

#include "scratch.h"

#include <sys/socket.h>

#define READS_PER_TURN   4
#define FLUSHES_PER_TURN 32
#define MAX_INTERIM      16
#define BULK             ((size_t)32 << 10) /* of a body that may be taken out of the socket, what is read all the same */

static const struct h1_limits response_limits = { .max_head = 32 << 10, .max_headers = H1_MAX_HEADERS };

static void on_event(struct loop_io *io, uint32_t events);
static void on_timer(struct loop_timer *timer);

static struct client_conn **list_of(const struct client_conn *conn)
{
    return conn->phase == CLIENT_IDLE ? &conn->client->idle : &conn->client->busy;
}

static void link_conn(struct client_conn *conn)
{
    struct client_conn **list = list_of(conn);

    conn->prev = NULL;
    conn->next = *list;
    if (conn->next)
        conn->next->prev = conn;
    *list = conn;
    conn->client->idle_count += conn->phase == CLIENT_IDLE;
}

static void unlink_conn(struct client_conn *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        *list_of(conn) = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    conn->client->idle_count -= conn->phase == CLIENT_IDLE;
}

/* To or from the pool: CLIENT_IDLE, or out of it. */
static void move_conn(struct client_conn *conn, enum client_phase phase)
{
    unlink_conn(conn);
    conn->phase = phase;
    link_conn(conn);
}

struct client_conn *client_conn_new(struct http_client *client, struct berm_error *err)
{
    _cleanup_close_ int fd = client->config.connect(client->config.data, err);
    _cleanup_free_ struct client_conn *conn = NULL;

    if (fd < 0)
        return NULL;
    conn = calloc(1, sizeof(*conn));
    if (!conn || loop_io_add(client->loop, &conn->io, fd, EPOLLIN, on_event) < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "watch a connection");
        return NULL;
    }
    conn->client = client;
    loop_timer_init(&conn->timer, on_timer);
    buf_init(&conn->in, NET_SCRATCH);
    link_conn(conn);
    TAKE_FD(fd);
    return TAKE_PTR(conn);
}

bool client_conn_fresh(const struct client_conn *conn)
{
    char byte;

    return recv(conn->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void client_conn_attach(struct client_conn *conn, struct http_call *call)
{
    move_conn(conn, CLIENT_HEAD);
    conn->partial = 0;
    conn->call = call;
    conn->since_ms = loop_now_ms(conn->client->loop);
    call->conn = conn;
    call->sent_before = call->out.sent;
    client_conn_wake(conn);
}

void client_conn_fail(struct client_conn *conn, enum berm_err code, int errnum, const char *message)
{
    if (conn->failed)
        return;
    conn->failed = true;
    if (conn->call)
        berm_fail(&conn->call->error, code, errnum, "%s", message);
    client_conn_wake(conn);
}

void client_conn_destroy(struct client_conn *conn)
{
    struct http_client *client = conn->client;
    int fd = conn->io.fd;

    conn->failed = true;
    conn->gone = true;
    if (conn->call)
        conn->call->conn = NULL;
    conn->call = NULL;
    conn->input.n = 0;
    loop_io_remove(client->loop, &conn->io);
    loop_timer_stop(client->loop, &conn->timer);
    close_fd(&fd);
    buf_free(&conn->in);
    unlink_conn(conn);
    list_remove(&conn->turn);
    list_append(&client->dead, &conn->turn);
}

void client_conn_wake(struct client_conn *conn)
{
    struct http_client *client = conn->client;

    if (conn->driving || list_linked(&conn->turn))
        return;
    list_append(&client->ready, &conn->turn);
    loop_defer(client->loop, &client->deferred);
}

/* --- sending --- */

/*
 * A peer that stops taking the request may have answered it already ("too large"), so the answer is still read. But
 * if nothing of the request got out, this connection was dead before.
 */
static void on_write_error(struct client_conn *conn, int errnum)
{
    struct http_call *call = conn->call;

    if (call->out.sent == call->sent_before && !call->answered) {
        client_conn_fail(conn, BERM_E_EXEC_TRANSPORT_ERROR, errnum, "send a request");
        return;
    }
    call->write_lost = true;
    call->dirty = true; /* whoever waits for room may go on: it is dropped */
    call->sent_at_ms = loop_now_ms(conn->client->loop);
    outq_clear(&call->out);
}

void client_conn_send(struct client_conn *conn, const struct iovec *parts, size_t count)
{
    struct http_call *call = conn->call;
    int rc = outq_send(&call->out, conn->io.fd, parts, count);

    if (rc < 0 && errno == ENOMEM)
        client_conn_fail(conn, BERM_E_SYSTEM, ENOMEM, "queue a request");
    else if (rc < 0)
        on_write_error(conn, errno);
    conn->blocked = rc > 0;
    if (rc == 0 && !call->body_open && call->sent_at_ms == 0)
        call->sent_at_ms = loop_now_ms(conn->client->loop);
}

static void flush(struct client_conn *conn)
{
    struct http_call *call = conn->call;

    call->dirty = false;
    client_conn_send(conn, NULL, 0);
    if (call->want_drain && !conn->failed && call->out.bytes < conn->client->config.high_water / 4) {
        call->want_drain = false;
        if (call->callbacks.on_drain)
            call->callbacks.on_drain(call, call->data);
    }
}

/* --- the response --- */

static void take_input(struct client_conn *conn, size_t n)
{
    conn->input.p += n;
    conn->input.n -= n;
}

/* The response is complete. The connection is kept if both sides agree on where the next one begins. */
static void complete(struct client_conn *conn)
{
    struct http_call *call = conn->call;
    struct http_client *client = conn->client;
    bool keep = call->head.keep_alive && conn->input.n == 0 && outq_empty(&call->out) && !call->body_open &&
                !call->write_lost && client->idle_count < client->config.max_idle;

    conn->call = NULL;
    call->conn = NULL;
    if (keep) {
        move_conn(conn, CLIENT_IDLE);
        conn->since_ms = loop_now_ms(client->loop);
        conn->reused = true;
        conn->blocked = false;
    } else {
        conn->input.n = 0;
        client_conn_fail(conn, BERM_OK, 0, "");
    }
    client_call_finish(call);
}

static void begin_body(struct client_conn *conn, size_t n)
{
    struct http_call *call = conn->call;

    char *copy = call->head_room;

    if (n > sizeof(call->head_room))
        copy = call->head_bytes = malloc(n);
    if (!copy) {
        client_conn_fail(conn, BERM_E_SYSTEM, ENOMEM, "receive a response");
        return;
    }
    memcpy(copy, conn->input.p, n);
    h1_head_move(&call->head, conn->input.p, n, copy);
    take_input(conn, n);
    h1_body_init(&conn->body, &call->head);
    conn->phase = CLIENT_BODY;
    if (call->callbacks.on_head)
        call->callbacks.on_head(call, &call->head, call->data);
}

/* What follows is not HTTP: whoever asked for it takes it now. */
static void begin_upgrade(struct client_conn *conn, size_t n)
{
    begin_body(conn, n);
    if (conn->call)
        client_conn_fail(conn, BERM_E_PROTOCOL, 0, "nobody takes the upgraded connection");
}

int client_conn_detach(struct client_conn *conn, struct buf *ret_rest)
{
    int fd = conn->io.fd;

    if (buf_append_str(ret_rest, conn->input) < 0)
        return -1;
    loop_io_remove(conn->client->loop, &conn->io);
    conn->io.fd = -EBADF;
    conn->input.n = 0;
    conn->call = NULL;
    client_conn_fail(conn, BERM_OK, 0, "");
    return fd;
}

static bool may_complete_head(const struct client_conn *conn)
{
    struct str in = conn->input;

    return conn->partial == 0 || in.n > response_limits.max_head ||
           memchr(in.p + conn->partial, '\n', in.n - conn->partial);
}

static bool step_head(struct client_conn *conn)
{
    struct http_call *call = conn->call;
    ssize_t n = 0;

    if (conn->input.n == 0)
        return false;
    call->answered = true;
    if (may_complete_head(conn))
        n = h1_parse_response(conn->input.p, conn->input.n, &response_limits, client_call_method(call),
                              &call->head);
    conn->partial = n == 0 ? (uint32_t)conn->input.n : 0;
    if (n == 0)
        return false;
    if (n < 0 || (call->head.status == 101 && !call->upgrade)) {
        client_conn_fail(conn, BERM_E_PROTOCOL, 0, "the response is not HTTP");
    } else if (call->head.status == 101) {
        begin_upgrade(conn, (size_t)n);
    } else if (call->head.status >= 200) {
        begin_body(conn, (size_t)n);
    } else {
        take_input(conn, (size_t)n);
        if (++call->interim > MAX_INTERIM)
            client_conn_fail(conn, BERM_E_PROTOCOL, 0, "too many interim responses");
    }
    return true;
}

static bool step_body(struct client_conn *conn)
{
    struct http_call *call = conn->call;
    struct str content;
    ssize_t took;
    bool done;

    if (call->paused)
        return false;
    took = h1_body_feed(&conn->body, conn->input.p, conn->input.n, &content, &done);
    if (took < 0) {
        client_conn_fail(conn, BERM_E_PROTOCOL, 0, "the framing of the response is broken");
        return false;
    }
    take_input(conn, (size_t)took);
    if (content.n > 0 && call->callbacks.on_body)
        call->callbacks.on_body(call, content, call->data);
    if (done && !conn->failed)
        complete(conn);
    return took > 0 || done;
}

static bool step(struct client_conn *conn)
{
    if (conn->failed)
        return false;
    if (conn->call && conn->call->dirty && !conn->blocked) {
        /* A writer that always has more, to a peer that always takes it, must not fill a turn of the loop. */
        conn->yielded = conn->flushes == FLUSHES_PER_TURN;
        if (conn->yielded)
            return false;
        conn->flushes++;
        flush(conn);
        return true;
    }
    switch (conn->phase) {
    case CLIENT_IDLE:
        if (conn->input.n > 0)
            client_conn_fail(conn, BERM_OK, 0, "");
        return false;
    case CLIENT_HEAD:
        return step_head(conn);
    case CLIENT_BODY:
        return step_body(conn);
    }
    return false;
}

static void drive(struct client_conn *conn, struct str input)
{
    conn->input = input;
    conn->driving = true;
    conn->yielded = false;
    conn->flushes = 0;
    while (step(conn))
        ;
    conn->driving = false;
}

static void drive_kept(struct client_conn *conn)
{
    drive(conn, buf_str(&conn->in));
    if (!conn->gone)
        buf_consume(&conn->in, conn->in.len - conn->input.n);
}

static bool wants_input(const struct client_conn *conn)
{
    return !conn->failed && !conn->yielded && (conn->phase != CLIENT_BODY || !conn->call->paused);
}

/* --- after moving --- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return MAX(a, b);
    return MIN(a, b);
}

static uint64_t deadline(const struct client_conn *conn)
{
    const struct http_client_config *config = &conn->client->config;
    const struct http_call *call = conn->call;
    uint64_t due = 0;

    if (conn->phase == CLIENT_IDLE)
        return conn->since_ms + config->idle_timeout_ms;
    if (conn->phase == CLIENT_HEAD && config->head_timeout_ms > 0 && call->sent_at_ms > 0)
        due = call->sent_at_ms + config->head_timeout_ms;
    if (call->idle_timeout_ms > 0 && wants_input(conn))
        due = earlier(due, conn->since_ms + call->idle_timeout_ms);
    return due;
}

static void arm_timer(struct client_conn *conn)
{
    uint64_t now = loop_now_ms(conn->client->loop);
    uint64_t due = deadline(conn);

    if (due == 0 || (loop_timer_armed(&conn->timer) && conn->timer.due_ms <= due))
        return;
    if (loop_timer_start(conn->client->loop, &conn->timer, due > now ? due - now : 0) < 0)
        client_conn_fail(conn, BERM_E_SYSTEM, ENOMEM, "start a timer");
}

static void update_events(struct client_conn *conn)
{
    struct loop *loop = conn->client->loop;
    uint32_t events = 0;
    int rc;

    if (wants_input(conn)) {
        conn->muted = false;
        conn->parked = false;
    }
    if (conn->parked)
        return;
    events |= conn->muted ? 0 : EPOLLIN;
    events |= conn->blocked ? EPOLLOUT : 0;
    if (loop_io_active(&conn->io))
        rc = loop_io_modify(loop, &conn->io, events);
    else
        rc = loop_io_add(loop, &conn->io, conn->io.fd, events, on_event);
    if (rc < 0)
        client_conn_fail(conn, BERM_E_SYSTEM, errno, "watch a connection");
}

static void settle(struct client_conn *conn)
{
    if (conn->gone)
        return;
    if (conn->failed) {
        struct http_call *call = conn->call;
        client_conn_destroy(conn);
        if (call && client_call_retry(call, conn->reused) < 0)
            client_call_finish(call);
        return;
    }
    buf_release_if_empty(&conn->in);
    update_events(conn);
    arm_timer(conn);
    if (conn->yielded)
        client_conn_wake(conn);
}

void client_run_ready(struct loop_deferred *deferred)
{
    struct http_client *client = container_of(deferred, struct http_client, deferred);
    struct list turn, *node; /* whoever becomes ready meanwhile has the next one */

    client_enter(client);
    list_init(&turn);
    list_splice(&turn, &client->ready);
    while ((node = list_shift(&turn))) {
        struct client_conn *conn = container_of(node, struct client_conn, turn);
        drive_kept(conn);
        settle(conn);
    }
    client_leave(client);
}

/* --- events --- */

static void on_end_of_input(struct client_conn *conn)
{
    if (conn->phase == CLIENT_BODY && conn->body.framing == H1_UNTIL_CLOSE)
        complete(conn);
    else
        client_conn_fail(conn, BERM_E_EXEC_TRANSPORT_ERROR, 0,
                         conn->phase == CLIENT_BODY ? "the peer broke its response off"
                                                    : "the peer closed the connection without an answer");
}

static bool may_move(const struct client_conn *conn)
{
    return conn->phase == CLIENT_BODY && conn->call->callbacks.on_bulk && conn->in.len == 0 &&
           conn->body.framing == H1_CONTENT_LENGTH && conn->body.remaining >= BULK;
}

/* As recv(2), but whoever made the call has taken the bytes. ENOTSUP: they have to be read. */
static ssize_t move_some(struct client_conn *conn, bool *ret_short)
{
    struct http_call *call = conn->call;
    ssize_t n;

    if (!may_move(conn)) {
        errno = ENOTSUP;
        return -1;
    }
    conn->driving = true;
    n = call->callbacks.on_bulk(call, conn->io.fd, (size_t)conn->body.remaining, call->data);
    if (n > 0) {
        conn->since_ms = loop_now_ms(conn->client->loop);
        conn->body.remaining -= (uint64_t)n;
        *ret_short = (size_t)n < BULK || conn->body.remaining == 0;
    }
    if (n > 0 && conn->body.remaining == 0 && !conn->failed)
        complete(conn);
    conn->driving = false;
    return n;
}

/* A head only brings as much of the body with it as is not worth moving. */
static size_t read_room(const struct client_conn *conn)
{
    size_t room = NET_SCRATCH - conn->in.len;

    return conn->phase == CLIENT_HEAD && conn->call->callbacks.on_bulk ? MIN(room, BULK) : room;
}

static ssize_t read_some(struct client_conn *conn, bool *ret_short)
{
    size_t kept = conn->in.len, room = read_room(conn);
    ssize_t n = move_some(conn, ret_short);

    if (n >= 0 || errno != ENOTSUP)
        return n;
    if (kept > 0)
        memcpy(net_scratch, buf_head(&conn->in), kept);
    n = RETRY_EINTR(recv(conn->io.fd, net_scratch + kept, room, 0));
    if (n <= 0)
        return n;
    *ret_short = (size_t)n < room;
    conn->since_ms = loop_now_ms(conn->client->loop);
    buf_clear(&conn->in);
    drive(conn, (struct str){ net_scratch, kept + (size_t)n });
    if (!conn->failed && buf_append_str(&conn->in, conn->input) < 0)
        client_conn_fail(conn, BERM_E_SYSTEM, ENOMEM, "keep a part of a response");
    return n;
}

static void read_input(struct client_conn *conn)
{
    for (int i = 0; i < READS_PER_TURN && wants_input(conn); i++) {
        bool was_short = false;
        ssize_t n = read_some(conn, &was_short);
        if (n == 0)
            on_end_of_input(conn);
        else if (n < 0 && errno != EAGAIN)
            client_conn_fail(conn, BERM_E_EXEC_TRANSPORT_ERROR, errno, "receive a response");
        if (n <= 0 || was_short)
            return;
    }
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct client_conn *conn = container_of(io, struct client_conn, io);
    struct http_client *client = conn->client;

    if (list_linked(&conn->turn))
        return; /* its turn comes behind this batch, and the event comes again */
    client_enter(client);
    if (events & EPOLLOUT) {
        conn->blocked = false;
        if (conn->call)
            conn->call->dirty = true;
    }
    drive_kept(conn);
    if ((events & ~(uint32_t)EPOLLOUT) && wants_input(conn)) {
        read_input(conn);
    } else if ((events & (EPOLLHUP | EPOLLERR)) && !conn->failed) {
        /* These cannot be switched off, and the response that is still to be read must not be lost. */
        conn->parked = true;
        loop_io_remove(client->loop, &conn->io);
    } else if (events & EPOLLIN) {
        conn->muted = true;
    }
    settle(conn);
    client_leave(client);
}

static void on_timer(struct loop_timer *timer)
{
    struct client_conn *conn = container_of(timer, struct client_conn, timer);
    struct http_client *client = conn->client;
    uint64_t due = deadline(conn);

    client_enter(client);
    if (due > 0 && due <= loop_now_ms(client->loop))
        client_conn_fail(conn, BERM_E_TIMED_OUT, 0, "the peer did not answer in time");
    settle(conn);
    client_leave(client);
}
