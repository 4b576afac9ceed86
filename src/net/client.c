/* client.c - calls: starting, writing, ending, and when one may be sent again. */
#include "client_internal.h"

#include "h1_chars.h"

#include <stdio.h>

#define DIRECT_WRITE ((size_t)16 << 10)

/* --- the client and its memory --- */

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config)
{
    struct http_client *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    client->loop = loop;
    client->config = *config;
    client->deferred.callback = client_run_ready;
    return client;
}

static void free_conns(struct client_conn *conn)
{
    while (conn) {
        struct client_conn *next = conn->next_ready;
        free(conn);
        conn = next;
    }
}

static void free_calls(struct http_call *call)
{
    while (call) {
        struct http_call *next = call->next_dead;
        outq_clear(&call->out);
        head_writer_free(&call->request_head);
        free(call->head_bytes);
        free(call);
        call = next;
    }
}

void client_enter(struct http_client *client)
{
    client->depth++;
}

void client_leave(struct http_client *client)
{
    if (--client->depth > 0)
        return;
    free_conns(TAKE_PTR(client->dead));
    free_calls(TAKE_PTR(client->dead_calls));
    if (!client->freed)
        return;
    free_conns(client->ready);
    loop_defer_cancel(client->loop, &client->deferred);
    free(client);
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    client_enter(client);
    client->freed = true;
    while (client->conns) {
        struct http_call *call = client->conns->call;
        client_conn_destroy(client->conns);
        if (call) {
            berm_fail(&call->error, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the connection was given up");
            client_call_finish(call);
        }
    }
    client_leave(client);
}

void http_client_drop_idle(struct http_client *client)
{
    struct client_conn *next;

    client_enter(client);
    for (struct client_conn *conn = client->conns; conn; conn = next) {
        next = conn->next;
        if (conn->phase == CLIENT_IDLE)
            client_conn_destroy(conn);
    }
    client_leave(client);
}

static void bury(struct http_call *call)
{
    call->next_dead = call->client->dead_calls;
    call->client->dead_calls = call;
}

void client_call_finish(struct http_call *call)
{
    bury(call);
    if (call->callbacks.on_end)
        call->callbacks.on_end(call, &call->error, call->data);
}

/* --- starting --- */

static bool is_idempotent(struct str method)
{
    static const char *const methods[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };

    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (str_is(method, methods[i]))
            return true;
    return false;
}

static int add_fields(struct http_call *call, const struct http_field *fields, size_t count, struct berm_error *err)
{
    struct head_writer *w = &call->request_head;
    bool has_host = false;

    for (size_t i = 0; i < count; i++) {
        if (!h1_field_allowed(fields[i].name, fields[i].value))
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "header field %zu cannot be sent", i);
        has_host |= str_eq_nocase(str_from(fields[i].name), STR("Host"));
        call->upgrade |= str_eq_nocase(str_from(fields[i].name), STR("Upgrade"));
        head_add_field(w, fields[i].name, str_from(fields[i].value));
    }
    if (!has_host)
        head_add_field(w, "Host", STR("localhost"));
    if (call->upgrade)
        head_add_field(w, "Connection", STR("Upgrade"));
    return 0;
}

static int check_start(const char *method, const char *target, struct berm_error *err)
{
    if (!h1_is_token(str_from(method)) || strcmp(method, "CONNECT") == 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "not a method that can be sent");
    if (target[0] != '/' || !h1_all(str_from(target), H1_TARGET))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "not a request target");
    return 0;
}

static int build_head(struct http_call *call, const char *method, const char *target,
                      const struct http_field *fields, size_t count, uint64_t length, struct berm_error *err)
{
    struct head_writer *w = &call->request_head;
    struct str name = str_from(method);

    if (check_start(method, target, err) < 0)
        return -1;
    head_add(w, name);
    head_add(w, STR(" "));
    head_add(w, str_from(target));
    head_add(w, STR(" HTTP/1.1\r\n"));
    if (add_fields(call, fields, count, err) < 0)
        return -1;
    if (length == HTTP_CHUNKED) {
        head_add_field(w, "Transfer-Encoding", STR("chunked"));
    } else if (length > 0 || str_is(name, "POST") || str_is(name, "PUT") || str_is(name, "PATCH")) {
        head_add(w, STR("Content-Length: "));
        head_add_number(w, length);
        head_add(w, STR("\r\n"));
    }
    head_add(w, STR("\r\n"));
    if (w->failed || outq_append(&call->out, buf_head(&w->out), w->out.len) < 0)
        return berm_fail(err, errno == ENOBUFS ? BERM_E_INVALID_REQUEST : BERM_E_SYSTEM, errno,
                         "build a request head");
    call->idempotent = is_idempotent(name);
    call->is_head = str_is(name, "HEAD");
    call->has_body = call->body_open = length > 0;
    call->length_left = length;
    call->dirty = true;
    return 0;
}

struct str client_call_method(const struct http_call *call)
{
    return call->is_head ? STR("HEAD") : STR("GET");
}

static struct client_conn *take_idle(struct http_client *client)
{
    struct client_conn *next;

    for (struct client_conn *conn = client->conns; conn; conn = next) {
        next = conn->next;
        if (conn->phase != CLIENT_IDLE || conn->failed)
            continue;
        if (client_conn_fresh(conn))
            return conn;
        client_conn_destroy(conn);
    }
    return NULL;
}

static int place(struct http_call *call, struct client_conn *conn, struct berm_error *err)
{
    if (!conn)
        conn = client_conn_new(call->client, err);
    if (!conn)
        return -1;
    client_conn_attach(conn, call);
    return 0;
}

struct http_call *http_call_start(struct http_client *client, const char *method, const char *target,
                                  const struct http_field *fields, size_t field_count, uint64_t length,
                                  const struct http_call_callbacks *callbacks, void *data, struct berm_error *err)
{
    struct http_call *call = calloc(1, sizeof(*call));

    if (!call) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "start a request");
        return NULL;
    }
    call->client = client;
    call->callbacks = *callbacks;
    call->data = data;
    head_writer_init(&call->request_head);
    client_enter(client);
    if (client->freed)
        berm_fail(err, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the connection was given up");
    if (client->freed || build_head(call, method, target, fields, field_count, length, err) < 0 ||
        place(call, take_idle(client), err) < 0) {
        bury(call);
        call = NULL;
    }
    client_leave(client);
    return call;
}

/*
 * A kept connection may be closed by the peer at any time, also just while we send. The request may be sent again
 * if the peer cannot have acted on it (nothing was sent, or its body is missing), or if acting twice is the same as
 * once; and only while we still have all of it.
 */
int client_call_retry(struct http_call *call, bool reused)
{
    uint64_t sent = call->out.sent - call->sent_before;
    struct berm_error err;

    if (call->error.code != BERM_E_EXEC_TRANSPORT_ERROR || !reused || call->retried || call->answered ||
        call->write_lost || sent > call->request_head.out.len)
        return -1;
    if (sent > 0 && !call->has_body && !call->idempotent)
        return -1;
    if (outq_prepend(&call->out, buf_head(&call->request_head.out), (size_t)sent) < 0)
        return -1;
    call->retried = true;
    call->dirty = true;
    call->sent_at_ms = 0;
    if (place(call, NULL, &err) < 0) {
        call->error = err;
        return -1;
    }
    call->error = (struct berm_error){ 0 };
    return 0;
}

/* --- the request body --- */

static void queue(struct http_call *call, const void *p, size_t n)
{
    if (outq_append(&call->out, p, n) < 0)
        client_conn_fail(call->conn, BERM_E_SYSTEM, ENOMEM, "queue a request");
    call->dirty = true;
    client_conn_wake(call->conn);
}

/*
 * Until something has got out, the request may have to move to another connection with all that was written. So the
 * head goes first, and the body is only queued if that does not work.
 */
static bool may_write_directly(struct http_call *call)
{
    struct client_conn *conn = call->conn;

    if (!conn->blocked && call->out.sent == call->sent_before)
        client_conn_send(conn, NULL, 0);
    return !conn->blocked && !conn->failed && call->out.sent > call->sent_before;
}

static void write_body(struct http_call *call, const void *p, size_t n)
{
    char size[20];
    struct iovec parts[OUTQ_EXTRA] = { { size, 0 },
                                       { (void *)(uintptr_t)p, n },
                                       { (void *)(uintptr_t) "\r\n", 0 } };

    if (call->length_left == HTTP_CHUNKED) {
        parts[0].iov_len = (size_t)snprintf(size, sizeof(size), "%zx\r\n", n);
        parts[2].iov_len = 2;
    }
    if (n >= DIRECT_WRITE && may_write_directly(call)) {
        client_conn_send(call->conn, parts, ARRAY_SIZE(parts));
        client_conn_wake(call->conn);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        queue(call, parts[i].iov_base, parts[i].iov_len);
}

bool http_call_write(struct http_call *call, const void *p, size_t n)
{
    if (!call->conn || call->conn->failed || call->write_lost || n == 0)
        return true;
    if (!call->body_open || (call->length_left != HTTP_CHUNKED && n > call->length_left)) {
        client_conn_fail(call->conn, BERM_E_INTERNAL, 0, "more request body than was announced");
        return true;
    }
    if (call->length_left != HTTP_CHUNKED) {
        call->length_left -= n;
        call->body_open = call->length_left > 0;
    }
    write_body(call, p, n);
    if (call->out.bytes <= call->client->config.high_water)
        return true;
    call->want_drain = true;
    return false;
}

void http_call_end_body(struct http_call *call)
{
    if (!call->body_open || !call->conn || call->conn->failed)
        return;
    if (call->length_left == HTTP_CHUNKED && !call->write_lost)
        queue(call, "0\r\n\r\n", 5);
    else if (call->length_left != HTTP_CHUNKED)
        client_conn_fail(call->conn, BERM_E_INTERNAL, 0, "less request body than was announced");
    call->body_open = false;
}

/* --- the rest of the interface --- */

void http_call_pause(struct http_call *call)
{
    call->paused = true;
}

void http_call_resume(struct http_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    if (call->conn) {
        call->conn->since_ms = loop_now_ms(call->client->loop);
        client_conn_wake(call->conn);
    }
}

void http_call_cancel(struct http_call *call)
{
    struct http_client *client = call->client;

    client_enter(client);
    if (call->conn) {
        struct client_conn *conn = call->conn;
        client_conn_destroy(conn);
        bury(call);
    }
    client_leave(client);
}

int http_call_take_socket(struct http_call *call, struct buf *ret_rest)
{
    int fd = call->conn ? client_conn_detach(call->conn, ret_rest) : -1;

    if (fd < 0)
        return -1;
    client_enter(call->client);
    call->conn = NULL;
    bury(call);
    client_leave(call->client);
    return fd;
}

void http_call_set_idle_timeout(struct http_call *call, uint32_t ms)
{
    call->idle_timeout_ms = ms;
    if (call->conn) {
        call->conn->since_ms = loop_now_ms(call->client->loop);
        client_conn_wake(call->conn);
    }
}

void *http_call_data(const struct http_call *call)
{
    return call->data;
}
