/*
 * server_drive.c - the order of things on one connection: head, body, response, next request.
 *
 * Theory of operation: http_conn_drive() moves a connection forward until it can do nothing more: it parses a head,
 * hands body pieces on, sends what is queued, finishes the exchange, takes the next pipelined request. It is called
 * with fresh bytes from the socket, with bytes that were kept in conn->in, or because something changed. Callbacks
 * run only inside of it (and on_close also when a connection is destroyed). A handler's call from elsewhere changes
 * the state and wakes the connection, which is then driven behind the current batch of events; so nothing recurses,
 * and nothing changes under a callback's feet.
 */
#include "server_internal.h"

#include <sys/socket.h>

#define EXCHANGES_KEPT  64 /* of some 4 KB each */
#define MOVES_PER_TURN  32 /* requests begun and sends: one client must not fill a turn of the loop */
#define FLUSH_AT        ((size_t)64 << 10)
#define SKIP_BYTES      ((uint64_t)64 << 10)
#define LINGER_BYTES    ((uint64_t)64 << 20)
#define LINGER_TOTAL_MS 10000

/* --- the exchange --- */

struct http_exchange *http_exchange_spare(struct http_server *server)
{
    if (!server->next_exchange)
        server->next_exchange = recycled_take(&server->exchanges, sizeof(*server->next_exchange));
    return server->next_exchange;
}

struct http_exchange *http_exchange_take(struct http_conn *conn, struct str bytes)
{
    struct http_exchange *ex = conn->server->next_exchange;
    char *copy = ex->head_room;

    memset(ex, 0, offsetof(struct http_exchange, head));
    if (bytes.n > sizeof(ex->head_room))
        copy = ex->head_bytes = malloc(bytes.n);
    if (!copy)
        return NULL;
    if (bytes.n > 0) {
        memcpy(copy, bytes.p, bytes.n);
        h1_head_move(&ex->head, bytes.p, bytes.n, copy);
    }
    conn->server->next_exchange = NULL;
    ex->conn = conn;
    ex->out.channel = conn->channel;
    return ex;
}

void http_exchange_close(struct http_exchange *ex, bool complete)
{
    struct recycled *recycled = &ex->conn->server->exchanges;

    if (ex->conn->ex == ex)
        ex->conn->ex = NULL;
    ex->closed = true;
    if (ex->callbacks.on_close)
        ex->callbacks.on_close(ex, complete && !ex->own, ex->data);
    outq_clear(&ex->out);
    free(ex->head_bytes);
    free(ex->collected);
    recycled_give(recycled, ex, EXCHANGES_KEPT);
}

void http_conn_error(struct http_conn *conn, int status)
{
    http_conn_error_because(conn, status, http_status_text(status));
}

void http_conn_error_because(struct http_conn *conn, int status, const char *reason)
{
    if (conn->ex && conn->ex->started) {
        http_conn_fail(conn);
        return;
    }
    if (!conn->ex) {
        struct http_exchange *ex = http_exchange_spare(conn->server);
        if (ex)
            memset(&ex->head, 0, sizeof(ex->head));
        conn->ex = ex ? http_exchange_take(conn, STR("")) : NULL;
        if (!conn->ex) {
            http_conn_fail(conn);
            return;
        }
    }
    conn->server->stats.refused_total++;
    http_exchange_error(conn->ex, status, reason);
}

void http_conn_linger(struct http_conn *conn)
{
    if (conn->channel)
        conn->channel->ops->end(conn->channel);
    if (shutdown(conn->io.fd, SHUT_WR) < 0) {
        http_conn_fail(conn);
        return;
    }
    conn->phase = CONN_LINGER;
    conn->to_drop = LINGER_BYTES;
    conn->linger_end_ms = loop_now_ms(conn->server->loop) + LINGER_TOTAL_MS;
}

/* The response is with the kernel. What becomes of the connection? */
static void finish_exchange(struct http_conn *conn)
{
    bool body_left = conn->phase == CONN_BODY;
    /* Nobody knows whether a client that waited for 100-continue sends its body now. */
    bool unsure = conn->ex->continue_pending;

    http_exchange_close(conn->ex, true);
    if (conn->failed)
        return;
    conn->deadline = DEADLINE_NONE;
    if (conn->keep_alive && !unsure && body_left) {
        conn->phase = CONN_SKIP;
        conn->to_drop = SKIP_BYTES;
    } else if (conn->keep_alive && !unsure) {
        conn->phase = CONN_HEAD;
    } else if (body_left || conn->input.n > 0) {
        http_conn_linger(conn);
    } else {
        http_conn_fail(conn);
    }
}

/* --- moving forward --- */

static void take_input(struct http_conn *conn, size_t n)
{
    conn->input.p += n;
    conn->input.n -= n;
}

static void begin_request(struct http_conn *conn, size_t n)
{
    struct http_server *server = conn->server;
    struct http_exchange *ex = http_exchange_take(conn, (struct str){ conn->input.p, n });
    const struct h1_head *head;

    if (!ex) {
        http_conn_fail(conn);
        return;
    }
    conn->ex = ex;
    conn->used = true;
    head = &ex->head;
    take_input(conn, n);
    server->stats.requests_total++;
    conn->keep_alive = head->keep_alive && !server->draining;
    h1_body_init(&conn->body, head);
    conn->phase = head->framing == H1_NO_BODY || (head->framing == H1_CONTENT_LENGTH && head->content_length == 0)
                      ? CONN_WAIT
                      : CONN_BODY;
    ex->body_end_pending = true;
    ex->continue_pending = head->expect_continue && conn->phase == CONN_BODY && conn->input.n == 0;
    if (head->framing == H1_CONTENT_LENGTH && head->content_length > server->limits.max_body)
        http_conn_error(conn, 413);
    else
        server->handler.on_request(ex, head, server->handler.data);
}

/* Takes one off the budget; when it is used up, the connection goes on in the next turn of the loop. */
static bool may_spend(struct http_conn *conn)
{
    conn->yielded = conn->budget == 0;
    conn->budget -= conn->yielded ? 0 : 1;
    return !conn->yielded;
}

/* Parsing again for every byte of a slow head would be quadratic: only a further line can complete it. */
static bool may_complete_head(const struct http_conn *conn)
{
    struct str in = conn->input;

    return conn->partial == 0 || in.n > conn->server->head_limits.max_head ||
           memchr(in.p + conn->partial, '\n', in.n - conn->partial);
}

/* How a client begins who knows that this server speaks HTTP/2 (RFC 9113 section 3.4). */
static const struct str preface = { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24 };

static bool is_preface(const struct http_conn *conn)
{
    size_t n = MIN(conn->input.n, preface.n);

    return conn->server->mux && !conn->used && memcmp(conn->input.p, preface.p, n) == 0;
}

static bool start_mux(struct http_conn *conn)
{
    if (conn->input.n < preface.n)
        return false;
    http_conn_start_mux(conn);
    return true;
}

void http_conn_start_mux(struct http_conn *conn)
{
    conn->partial = 0;
    conn->phase = CONN_MUX;
    if (conn->server->mux->start(conn) < 0)
        http_conn_fail(conn);
}

static bool step_head(struct http_conn *conn)
{
    struct http_exchange *ex;
    ssize_t n = 0;

    if (conn->input.n == 0 || !may_spend(conn))
        return false;
    if (is_preface(conn))
        return start_mux(conn);
    ex = http_exchange_spare(conn->server);
    if (!ex) {
        http_conn_fail(conn);
        return false;
    }
    if (may_complete_head(conn))
        n = h1_parse_request(conn->input.p, conn->input.n, &conn->server->head_limits, &ex->head);
    conn->partial = n == 0 ? (uint32_t)conn->input.n : 0;
    if (n == 0)
        return false;
    conn->deadline = DEADLINE_NONE;
    if (n > 0) {
        begin_request(conn, (size_t)n);
    } else {
        /* Whatever follows has no frame: it can only be dropped. */
        conn->phase = CONN_BODY;
        conn->body = (struct h1_body){ .framing = H1_UNTIL_CLOSE };
        http_conn_error(conn, (int)-n);
    }
    return true;
}

static bool step_body(struct http_conn *conn)
{
    struct http_exchange *ex = conn->ex;
    struct str content;
    ssize_t took;
    bool done;

    if (ex->paused && !ex->ended)
        return false;
    if (ex->continue_pending && !ex->started && conn->input.n == 0) {
        http_exchange_continue(ex);
        return true;
    }
    if (conn->input.n == 0)
        return false;
    ex->continue_pending = false;
    took = h1_body_feed(&conn->body, conn->input.p, conn->input.n, &content, &done);
    if (took < 0) {
        if (ex->ended)
            conn->keep_alive = false; /* the response is made, it only has to reach the client */
        else
            http_conn_error(conn, 400);
        conn->body = (struct h1_body){ .framing = H1_UNTIL_CLOSE };
        return true;
    }
    take_input(conn, (size_t)took);
    if (done)
        conn->phase = CONN_WAIT;
    if (content.n > 0)
        http_exchange_body(ex, content);
    return true;
}

static bool step_wait(struct http_conn *conn)
{
    struct http_exchange *ex = conn->ex;

    if (!ex->body_end_pending || ex->ended || ex->paused)
        return false;
    ex->body_end_pending = false;
    if (ex->callbacks.on_body_end)
        ex->callbacks.on_body_end(ex, ex->data);
    return true;
}

static bool step_skip(struct http_conn *conn)
{
    struct str content;
    ssize_t took;
    bool done;

    if (conn->input.n == 0)
        return false;
    took = h1_body_feed(&conn->body, conn->input.p, conn->input.n, &content, &done);
    if (took < 0 || (size_t)took > conn->to_drop) {
        http_conn_linger(conn);
        return true;
    }
    conn->to_drop -= (size_t)took;
    take_input(conn, (size_t)took);
    if (done) {
        conn->phase = CONN_HEAD;
        conn->deadline = DEADLINE_NONE;
    }
    return true;
}

static bool step_linger(struct http_conn *conn)
{
    if (conn->input.n >= conn->to_drop)
        http_conn_fail(conn);
    else
        conn->to_drop -= conn->input.n;
    take_input(conn, conn->input.n);
    return false;
}

static bool move_on(struct http_conn *conn)
{
    switch (conn->phase) {
    case CONN_HANDSHAKE:
        return false;
    case CONN_HEAD:
        return step_head(conn);
    case CONN_BODY:
        return step_body(conn);
    case CONN_WAIT:
        return step_wait(conn);
    case CONN_SKIP:
        return step_skip(conn);
    case CONN_LINGER:
        return step_linger(conn);
    case CONN_MUX:
        conn->server->mux->drive(conn);
        return false;
    }
    return false;
}

static bool can_flush(const struct http_conn *conn)
{
    return !conn->failed && conn->ex && conn->ex->dirty && !conn->blocked;
}

static bool flush(struct http_conn *conn)
{
    if (!may_spend(conn))
        return false;
    http_exchange_flush(conn->ex);
    return true;
}

/* One move; true if another one may be possible. What is queued goes out when it is much, or all there is to do. */
static bool step(struct http_conn *conn)
{
    if (conn->failed)
        return false;
    if (can_flush(conn) && (conn->ex->ended || conn->ex->out.bytes >= FLUSH_AT))
        return flush(conn);
    if (conn->ex && conn->ex->ended && outq_empty(&conn->ex->out)) {
        finish_exchange(conn);
        return true;
    }
    if (move_on(conn))
        return true;
    return can_flush(conn) && flush(conn);
}

void http_conn_drive(struct http_conn *conn, struct str input)
{
    conn->input = input;
    conn->driving = true;
    conn->yielded = false;
    conn->budget = MOVES_PER_TURN;
    while (!conn->yielded && step(conn))
        ;
    conn->driving = false;
}
