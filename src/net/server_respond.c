/*
 * server_respond.c - the response side of an exchange.
 *
 * Small writes are queued and go out together when the connection is driven next, which is as soon as the handler's
 * callback returns, or behind the current batch of events; so a head with a small body is one sendmsg(2). A large
 * write goes to the socket at once, from the caller's memory, and only what does not fit is copied.
 */
#include "server_internal.h"

#include "h1_chars.h"

#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define DIRECT_WRITE ((size_t)16 << 10)
#define HEAD_MAX     ((size_t)64 << 10)

struct status_text {
    int status;
    const char *text;
};

static const struct status_text status_texts[] = {
    { 101, "Switching Protocols" },
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 206, "Partial Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 415, "Unsupported Media Type" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 426, "Upgrade Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
};

static const char *status_text(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(status_texts); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "";
}

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
    if (rc > 0 && (ex->out.sent != sent_before || conn->write_deadline_ms == 0))
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

static void queue(struct http_exchange *ex, const void *p, size_t n)
{
    if (outq_append(&ex->out, p, n) < 0)
        http_conn_fail(ex->conn);
    ex->dirty = true;
    http_conn_wake(ex->conn);
}

static void queue_cstring(struct http_exchange *ex, const char *s)
{
    queue(ex, s, strlen(s));
}

void http_exchange_continue(struct http_exchange *ex)
{
    ex->continue_pending = false;
    queue_cstring(ex, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* --- the head --- */

static const char *date_line(struct http_server *server)
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != server->date_second) {
        server->date_second = now.tv_sec;
        gmtime_r(&now.tv_sec, &tm);
        strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return server->date;
}

static void append_field(struct buf *head, const char *name, const char *value)
{
    buf_append_str(head, str_from(name));
    buf_append_str(head, STR(": "));
    buf_append_str(head, str_from(value));
    buf_append_str(head, STR("\r\n"));
}

static void append_number(struct buf *head, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(head, digits + at, sizeof(digits) - at);
}

static void append_start(struct http_exchange *ex, struct buf *head, int status)
{
    buf_append_str(head, STR("HTTP/1.1 "));
    append_number(head, (uint64_t)status);
    buf_append_str(head, STR(" "));
    buf_append_str(head, str_from(status_text(status)));
    buf_append_str(head, STR("\r\n"));
    append_field(head, "Date", date_line(ex->conn->server));
}

static int append_fields(struct http_exchange *ex, struct buf *head, const struct http_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!h1_field_allowed(fields[i].name, fields[i].value))
            return -1;
        append_field(head, fields[i].name, fields[i].value);
    }
    if (ex->conn->server->handler.extra_headers)
        buf_append_str(head, str_from(ex->conn->server->handler.extra_headers));
    return 0;
}

static void append_framing(struct http_exchange *ex, struct buf *head, int status, uint64_t length)
{
    if (status == 204 || status == 304)
        return;
    if (ex->framing == RESPONSE_CHUNKED) {
        append_field(head, "Transfer-Encoding", "chunked");
    } else if (ex->framing == RESPONSE_LENGTH) {
        buf_append_str(head, STR("Content-Length: "));
        append_number(head, length);
        buf_append_str(head, STR("\r\n"));
    }
}

/*
 * May the connection be used again? Not if the response ends with it, and not if the client is known to have more
 * body to send than we care to drop.
 */
static void decide_keep_alive(struct http_exchange *ex)
{
    struct http_conn *conn = ex->conn;
    bool ignored = !ex->collecting && !ex->callbacks.on_body;

    if (ex->framing == RESPONSE_UNTIL_CLOSE || ex->continue_pending || conn->server->draining)
        conn->keep_alive = false;
    if (conn->phase == CONN_BODY && ignored &&
        (conn->body.framing == H1_CONTENT_LENGTH && conn->body.remaining > conn->input.n + HEAD_MAX))
        conn->keep_alive = false;
}

static void begin(struct http_exchange *ex, int status, const struct http_field *fields, size_t count,
                  uint64_t length)
{
    struct buf head;

    ex->started = true;
    ex->no_body = status == 204 || status == 304 || str_is(ex->head.method, "HEAD");
    ex->length_left = length;
    if (length != HTTP_CHUNKED)
        ex->framing = RESPONSE_LENGTH;
    else
        ex->framing = ex->head.minor_version == 0 ? RESPONSE_UNTIL_CLOSE : RESPONSE_CHUNKED;
    decide_keep_alive(ex);

    buf_init(&head, HEAD_MAX);
    append_start(ex, &head, status);
    if (append_fields(ex, &head, fields, count) < 0) {
        buf_free(&head);
        if (ex->own)
            http_conn_fail(ex->conn);
        else
            http_exchange_error(ex, 500);
        return;
    }
    append_framing(ex, &head, status, length);
    if (!ex->conn->keep_alive)
        append_field(&head, "Connection", "close");
    else if (ex->head.minor_version == 0)
        append_field(&head, "Connection", "keep-alive");
    if (buf_append_str(&head, STR("\r\n")) < 0)
        http_conn_fail(ex->conn);
    queue(ex, buf_head(&head), head.len);
    buf_free(&head);
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
    char size[20];
    struct iovec parts[3] = { { size, 0 }, { (void *)(uintptr_t)p, n }, { (void *)(uintptr_t) "\r\n", 0 } };

    if (ex->framing == RESPONSE_CHUNKED) {
        parts[0].iov_len = (size_t)snprintf(size, sizeof(size), "%zx\r\n", n);
        parts[2].iov_len = 2;
    }
    if (n >= DIRECT_WRITE && !ex->conn->blocked) {
        write_direct(ex, parts, ARRAY_SIZE(parts));
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        queue(ex, parts[i].iov_base, parts[i].iov_len);
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
        http_conn_fail(ex->conn);
        return false;
    }
    ex->length_left -= n;
    return true;
}

static void end(struct http_exchange *ex)
{
    if (!ex->no_body && ex->framing == RESPONSE_LENGTH && ex->length_left > 0)
        http_conn_fail(ex->conn);
    if (!ex->no_body && ex->framing == RESPONSE_CHUNKED)
        queue_cstring(ex, "0\r\n\r\n");
    ex->ended = true;
    http_conn_wake(ex->conn);
}

void http_exchange_error(struct http_exchange *ex, int status)
{
    const struct http_handler *handler = &ex->conn->server->handler;
    const char *reason = status_text(status);
    struct http_field type = { "Content-Type", "text/plain" };
    struct buf body;

    buf_init(&body, HEAD_MAX);
    if (handler->error_body)
        handler->error_body(status, reason, &body, &type.value, handler->data);
    else
        buf_printf(&body, "%s\n", reason);
    ex->own = true;
    ex->conn->keep_alive = false;
    begin(ex, status, &type, type.value ? 1 : 0, body.len);
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
    if (!ex->started && !ex->closed && !ex->conn->failed)
        begin(ex, status, fields, field_count, length);
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

void http_respond_file(struct http_exchange *ex, int fd, uint64_t offset, uint64_t count)
{
    if (!may_write(ex) || !account(ex, count)) {
        close_fd(&fd);
        return;
    }
    if (ex->framing == RESPONSE_CHUNKED) {
        char size[24];
        snprintf(size, sizeof(size), "%llx\r\n", (unsigned long long)count);
        queue_cstring(ex, size);
    }
    if (outq_append_file(&ex->out, fd, offset, count) < 0)
        http_conn_fail(ex->conn);
    if (ex->framing == RESPONSE_CHUNKED)
        queue_cstring(ex, "\r\n");
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
    }
    http_conn_fail(ex->conn);
}

bool http_response_started(const struct http_exchange *ex)
{
    return ex->started;
}

size_t http_respond_queued(const struct http_exchange *ex)
{
    return ex->out.bytes;
}

/* --- leaving HTTP --- */

static int write_upgrade_head(struct http_exchange *ex, const struct http_field *fields, size_t count)
{
    struct buf head;
    int rc = -1;

    buf_init(&head, HEAD_MAX);
    append_start(ex, &head, 101);
    append_field(&head, "Connection", "Upgrade");
    if (append_fields(ex, &head, fields, count) == 0 && buf_append_str(&head, STR("\r\n")) == 0) {
        /* The socket's buffer is empty: a head that does not fit in whole means that it is lost. */
        ssize_t n = RETRY_EINTR(send(ex->conn->io.fd, buf_head(&head), head.len, MSG_NOSIGNAL));
        rc = n == (ssize_t)head.len ? 0 : -1;
    }
    buf_free(&head);
    return rc;
}

int http_upgrade(struct http_exchange *ex, const struct http_field *fields, size_t field_count,
                 struct buf *ret_rest)
{
    struct http_conn *conn = ex->conn;
    struct str rest;

    if (ex->closed || ex->started || conn->failed || conn->phase != CONN_WAIT || ex->head.upgrade.n == 0 ||
        !outq_empty(&ex->out))
        return -1;
    rest = conn->driving ? conn->input : buf_str(&conn->in);
    ex->started = true;
    if (buf_append_str(ret_rest, rest) < 0 || write_upgrade_head(ex, fields, field_count) < 0) {
        http_conn_fail(conn);
        return -1;
    }
    return http_conn_detach(conn);
}
