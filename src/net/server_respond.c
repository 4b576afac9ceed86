/*
 * server_respond.c - the response side of an exchange.
 *
 * Small writes are queued and go out together when the connection is driven next, which is as soon as the handler's
 * callback returns, or behind the current batch of events; so a head with a small body is one sendmsg(2). A large
 * write goes to the socket at once, from the caller's memory, and only what does not fit is copied.
 */
#include "server_internal.h"

#include "base/sys.h"
#include "pipe.h"

#include <sys/socket.h>

#define DIRECT_WRITE ((size_t)16 << 10)
#define ERROR_BODY   ((size_t)64 << 10)
#define LARGE_FILE   ((uint64_t)128 << 10) /* more than a unix socket's buffer takes */

_Static_assert(NET_PIPE <= NET_SCRATCH, "what one move brings must fit"); /* NOLINT(misc-redundant-expression) */

/* --- sending --- */

/* After outq_send(): notes whether the socket is full, and since when. */
static void after_send(struct http_exchange *ex, int rc, uint64_t sent_before)
{
    struct http_conn *conn = ex->conn;

    if (rc < 0) {
        http_conn_fail(conn);
        return;
    }
    conn->blocked = rc > 0;
    if (rc > 0 && conn->listener_fd != HTTP_OWN_PEER &&
        (ex->out.sent != sent_before || conn->write_deadline_ms == 0))
        conn->write_deadline_ms = loop_now_ms(conn->server->loop) + conn->server->limits.write_timeout_ms;
}

void http_exchange_flush(struct http_exchange *ex)
{
    struct http_conn *conn = ex->conn;
    uint64_t before = ex->out.sent;

    ex->dirty = false;
    if (!outq_empty(&ex->out))
        after_send(ex, outq_send(&ex->out, conn->io.fd, NULL, 0), before);
    if (ex->want_drain && !conn->failed && !ex->ended && ex->out.bytes < conn->server->limits.high_water / 4) {
        ex->want_drain = false;
        if (ex->callbacks.on_drain)
            ex->callbacks.on_drain(ex, ex->data);
    }
}

static void queue(struct http_exchange *ex, struct str s)
{
    if (outq_append(&ex->out, s.p, s.n) < 0)
        http_exchange_fail(ex);
    ex->dirty = true;
    http_conn_wake(ex->conn);
}

void http_exchange_head(struct http_exchange *ex, struct str head)
{
    if (ex->stream)
        ex->conn->server->mux->head(ex, head);
    else
        queue(ex, head);
}

void http_exchange_continue(struct http_exchange *ex)
{
    ex->continue_pending = false;
    http_exchange_head(ex, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

void http_exchange_fail(struct http_exchange *ex)
{
    if (ex->stream)
        ex->conn->server->mux->reset(ex);
    else
        http_conn_fail(ex->conn);
}

void http_exchange_refuse(struct http_exchange *ex, int status)
{
    if (ex->started) {
        http_exchange_fail(ex);
        return;
    }
    ex->conn->server->stats.refused_total++;
    http_exchange_error(ex, status, http_status_text(status));
}

/* --- the body --- */

/* At once from the caller's memory; what the socket does not take is copied. */
static void write_direct(struct http_exchange *ex, struct iovec *parts, size_t count)
{
    uint64_t before = ex->out.sent;

    after_send(ex, outq_send(&ex->out, ex->conn->io.fd, parts, count), before);
    http_conn_wake(ex->conn);
}

static void write_body(struct http_exchange *ex, const void *p, size_t n)
{
    char room[H1_CHUNK_LINE];
    struct str line = ex->framing == RESPONSE_CHUNKED ? h1_chunk_line(n, room) : STR("");
    struct iovec parts[3] = { { (void *)(uintptr_t)line.p, line.n },
                              { (void *)(uintptr_t)p, n },
                              { (void *)(uintptr_t) "\r\n", line.n ? 2 : 0 } };

    if (n >= DIRECT_WRITE && !ex->conn->blocked && !ex->stream) {
        write_direct(ex, parts, ARRAY_SIZE(parts));
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        queue(ex, (struct str){ parts[i].iov_base, parts[i].iov_len });
}

/* Counts `n` body bytes against the promised length; false if none may be written. */
static bool account(struct http_exchange *ex, uint64_t n)
{
    if (ex->no_body || n == 0)
        return false;
    if (ex->framing != RESPONSE_LENGTH)
        return true;
    if (n > ex->length_left) {
        /* More than was promised would be read as the next response. */
        http_exchange_fail(ex);
        return false;
    }
    ex->length_left -= n;
    return true;
}

static void end(struct http_exchange *ex)
{
    if (!ex->no_body && ex->framing == RESPONSE_LENGTH && ex->length_left > 0)
        http_exchange_fail(ex);
    if (!ex->no_body && ex->framing == RESPONSE_CHUNKED)
        queue(ex, STR("0\r\n\r\n"));
    ex->ended = true;
    http_conn_wake(ex->conn);
}

void http_exchange_error(struct http_exchange *ex, int status, const char *reason)
{
    const struct http_handler *handler = &ex->conn->server->handler;
    struct http_field type = { "Content-Type", "text/plain" };
    struct buf body;

    buf_init(&body, ERROR_BODY);
    if (handler->error_body)
        handler->error_body(status, reason, &body, &type.value, handler->data);
    else
        buf_printf(&body, "%s\n", reason);
    ex->own = true;
    ex->conn->keep_alive = false;
    if (http_exchange_begin(ex, status, &type, type.value ? 1 : 0, body.len) < 0)
        http_exchange_fail(ex);
    if (account(ex, body.len))
        write_body(ex, buf_head(&body), body.len);
    end(ex);
    buf_free(&body);
}

/* --- for handlers --- */

static bool may_write(const struct http_exchange *ex)
{
    return ex->started && !ex->ended && !ex->own && !ex->closed && !ex->conn->failed;
}

void http_respond_begin(struct http_exchange *ex, int status, const struct http_field *fields, size_t field_count,
                        uint64_t length)
{
    if (ex->started || ex->own || ex->closed || ex->conn->failed)
        return;
    if (http_exchange_begin(ex, status, fields, field_count, length) < 0)
        http_exchange_error(ex, 500, http_status_text(500));
}

bool http_respond_write(struct http_exchange *ex, const void *p, size_t n)
{
    if (!may_write(ex))
        return true;
    if (account(ex, n))
        write_body(ex, p, n);
    if (ex->out.bytes <= ex->conn->server->limits.high_water)
        return true;
    ex->want_drain = true;
    return false;
}

/* Nothing lies between the body and the socket, and nothing is before it. */
static bool takes_moved(struct http_exchange *ex)
{
    if (!may_write(ex) || ex->no_body || ex->framing != RESPONSE_LENGTH || ex->stream || ex->conn->channel)
        return false;
    if (!ex->conn->blocked && !outq_empty(&ex->out))
        write_direct(ex, NULL, 0);
    return !ex->conn->blocked && !ex->conn->failed;
}

/* What the socket has not taken of the pipe's bytes. */
static void queue_moved(struct http_exchange *ex, size_t n)
{
    if (errno == EAGAIN && net_pipe_read(net_scratch, n) == 0) {
        queue(ex, (struct str){ net_scratch, n });
        ex->want_drain = true;
        return;
    }
    net_pipe_drop();
    http_exchange_fail(ex);
}

ssize_t http_respond_splice(struct http_exchange *ex, int from, size_t most)
{
    uint64_t before = ex->out.sent;
    size_t done;
    ssize_t n;

    if (!takes_moved(ex)) {
        errno = ENOTSUP;
        return -1;
    }
    n = net_pipe_fill(from, (size_t)MIN((uint64_t)most, ex->length_left));
    if (n <= 0)
        return n;
    account(ex, (uint64_t)n);
    done = net_pipe_pour((size_t)n, ex->conn->io.fd);
    ex->out.sent += done;
    if (done < (size_t)n)
        queue_moved(ex, (size_t)n - done);
    after_send(ex, outq_empty(&ex->out) ? 0 : 1, before);
    http_conn_wake(ex->conn);
    return n;
}

void http_respond_file(struct http_exchange *ex, int fd, uint64_t offset, uint64_t count)
{
    if (!may_write(ex) || !account(ex, count)) {
        close_fd(&fd);
        return;
    }
    /* Each filling of its small buffer would wake the reader and, half emptied, us. */
    if (count > LARGE_FILE && ex->conn->family == AF_UNIX)
        socket_enlarge(ex->conn->io.fd);
    if (ex->framing == RESPONSE_CHUNKED) {
        char room[H1_CHUNK_LINE];
        queue(ex, h1_chunk_line(count, room));
    }
    if (outq_append_file(&ex->out, fd, offset, count) < 0)
        http_exchange_fail(ex);
    if (ex->framing == RESPONSE_CHUNKED)
        queue(ex, STR("\r\n"));
    ex->dirty = true;
    http_conn_wake(ex->conn);
}

void http_respond_end(struct http_exchange *ex)
{
    if (may_write(ex))
        end(ex);
}

void http_respond(struct http_exchange *ex, int status, const char *content_type, struct str body)
{
    struct http_field type = { "Content-Type", content_type };

    http_respond_begin(ex, status, &type, content_type ? 1 : 0, body.n);
    http_respond_write(ex, body.p, body.n);
    http_respond_end(ex);
}

void http_exchange_abort(struct http_exchange *ex)
{
    if (ex->closed)
        return;
    if (ex->framing == RESPONSE_UNTIL_CLOSE && ex->started) {
        /* An orderly end would be the end of the body. */
        struct linger reset = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(ex->conn->io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        ex->conn->broken_off = true;
    }
    http_exchange_fail(ex);
}

bool http_response_started(const struct http_exchange *ex)
{
    return ex->started;
}

size_t http_respond_queued(const struct http_exchange *ex)
{
    return ex->out.bytes;
}
