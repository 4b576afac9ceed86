/* server_head.c - heads of responses. */
#include "server_internal.h"

#include "h1_chars.h"
#include "head_writer.h"

#include <sys/socket.h>
#include <time.h>

#define IGNORED_BODY ((uint64_t)64 << 10)

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

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(status_texts); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "";
}

static struct str date_now(struct http_server *server)
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != server->date_second) {
        server->date_second = now.tv_sec;
        gmtime_r(&now.tv_sec, &tm);
        strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return str_from(server->date);
}

static void add_start(struct http_exchange *ex, struct head_writer *w, int status)
{
    head_add(w, STR("HTTP/1.1 "));
    head_add_number(w, (uint64_t)status);
    head_add(w, STR(" "));
    head_add(w, str_from(http_status_text(status)));
    head_add(w, STR("\r\n"));
    head_add_field(w, STR("Date"), date_now(ex->conn->server));
}

static int add_fields(struct http_exchange *ex, struct head_writer *w, const struct http_field *fields,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str name = str_from(fields[i].name), value = str_from(fields[i].value);

        if (!h1_field_allowed(name, value))
            return -1;
        head_add_field(w, name, value);
    }
    head_add(w, str_from(ex->conn->server->handler.extra_headers));
    return 0;
}

static void add_framing(struct http_exchange *ex, struct head_writer *w, int status, uint64_t length)
{
    if (status == 204 || status == 304)
        return;
    if (ex->framing == RESPONSE_CHUNKED) {
        head_add_field(w, STR("Transfer-Encoding"), STR("chunked"));
    } else if (ex->framing == RESPONSE_LENGTH) {
        head_add(w, STR("Content-Length: "));
        head_add_number(w, length);
        head_add(w, STR("\r\n"));
    }
}

/*
 * May the connection be used again? Not if the response ends with it, and not if the client is known to have more
 * body to send than we care to drop.
 */
static void decide_keep_alive(struct http_exchange *ex, int status)
{
    struct http_conn *conn = ex->conn;
    /* Who refuses a request does not read the rest of it; who answers it otherwise may, unless he has said so. */
    bool ignored = status >= 400 || (!ex->collecting && !ex->callbacks.on_body);

    if (ex->stream)
        return;
    if (ex->framing == RESPONSE_UNTIL_CLOSE || ex->continue_pending || conn->server->draining)
        conn->keep_alive = false;
    if (conn->phase == CONN_BODY && ignored &&
        (conn->body.framing == H1_CONTENT_LENGTH && conn->body.remaining > conn->input.n + IGNORED_BODY))
        conn->keep_alive = false;
}

int http_exchange_begin(struct http_exchange *ex, int status, const struct http_field *fields, size_t count,
                        uint64_t length)
{
    struct head_writer w;

    ex->started = true;
    ex->no_body = status == 204 || status == 304 || str_is(ex->head.method, "HEAD");
    ex->length_left = length;
    if (length != HTTP_CHUNKED)
        ex->framing = RESPONSE_LENGTH;
    else if (ex->stream)
        ex->framing = RESPONSE_OPEN;
    else
        ex->framing = ex->head.minor_version == 0 ? RESPONSE_UNTIL_CLOSE : RESPONSE_CHUNKED;
    decide_keep_alive(ex, status);

    head_writer_init(&w);
    add_start(ex, &w, status);
    if (add_fields(ex, &w, fields, count) < 0) {
        head_writer_free(&w);
        return -1;
    }
    add_framing(ex, &w, status, length);
    if (ex->stream)
        ; /* no word about the connection */
    else if (!ex->conn->keep_alive)
        head_add_field(&w, STR("Connection"), STR("close"));
    else if (ex->head.minor_version == 0 ||
             ex->framing == RESPONSE_CHUNKED) /* of a stream some clients look for it */
        head_add_field(&w, STR("Connection"), STR("keep-alive"));
    head_add(&w, STR("\r\n"));
    if (w.failed)
        http_exchange_fail(ex);
    else
        http_exchange_head(ex, head_str(&w));
    head_writer_free(&w);
    return 0;
}

static int write_upgrade_head(struct http_exchange *ex, const struct http_field *fields, size_t count,
                              struct head_writer *w)
{
    add_start(ex, w, 101);
    head_add_field(w, STR("Connection"), STR("Upgrade"));
    if (add_fields(ex, w, fields, count) < 0)
        return -1;
    head_add(w, STR("\r\n"));
    return w->failed ? -1 : 0;
}

/* The socket's buffer is empty: a head that does not fit in whole means that the connection is lost. */
static int send_at_once(struct http_conn *conn, struct str head)
{
    struct outq out = { .channel = conn->channel };
    int rc = -1;

    if (outq_append(&out, head.p, head.n) == 0 && outq_send(&out, conn->io.fd, NULL, 0) == 0)
        rc = 0;
    outq_clear(&out);
    return rc;
}

static int upgrade_connection(struct http_exchange *ex, struct str head, struct buf *ret_rest)
{
    struct http_conn *conn = ex->conn;
    struct str rest = conn->driving ? conn->input : buf_str(&conn->in);

    if (buf_append_str(ret_rest, rest) < 0 || send_at_once(conn, head) < 0) {
        http_conn_fail(conn);
        return -1;
    }
    return http_conn_detach(conn);
}

int http_upgrade(struct http_exchange *ex, const struct http_field *fields, size_t field_count,
                 struct buf *ret_rest)
{
    struct http_conn *conn = ex->conn;
    struct head_writer w;
    int fd = -1;

    if (ex->closed || ex->started || ex->own || conn->failed || ex->head.upgrade.n == 0 || !outq_empty(&ex->out) ||
        (!ex->stream && conn->phase != CONN_WAIT))
        return -1;
    ex->started = true;
    head_writer_init(&w);
    if (write_upgrade_head(ex, fields, field_count, &w) < 0)
        http_exchange_fail(ex);
    else if (ex->stream)
        fd = conn->server->mux->upgrade(ex, head_str(&w));
    else
        fd = upgrade_connection(ex, head_str(&w), ret_rest);
    head_writer_free(&w);
    return fd;
}
