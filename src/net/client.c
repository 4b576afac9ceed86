/* client.c - calls: starting, writing, ending, and when one may be sent again. */
#include "client_internal.h"

#include "base/recycle.h"
#include "h1_chars.h"

#define DIRECT_WRITE ((size_t)16 << 10)
#define CALLS_KEPT   64 /* of some 5 KB each */

static struct recycled old_calls; /* of all clients: the program has one loop thread, see scratch.h */

/* --- the client and its memory --- */

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config)
{
    struct http_client *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    client->loop = loop;
    client->config = *config;
    list_init(&client->ready);
    list_init(&client->dead);
    client->deferred.callback = client_run_ready;
    return client;
}

static void free_conns(struct http_client *client)
{
    struct list *node;

    while ((node = list_shift(&client->dead)))
        free(container_of(node, struct client_conn, turn));
}

static void free_calls(struct http_call *call)
{
    while (call) {
        struct http_call *next = call->next_dead;
        outq_clear(&call->out);
        head_writer_free(&call->request_head);
        free(call->head_bytes);
        recycled_give(&old_calls, call, CALLS_KEPT);
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
    free_conns(client);
    free_calls(TAKE_PTR(client->dead_calls));
    if (!client->freed)
        return;
    loop_defer_cancel(client->loop, &client->deferred);
    free(client);
}

static void drop_idle(struct http_client *client)
{
    while (client->idle)
        client_conn_destroy(client->idle);
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    client_enter(client);
    client->freed = true;
    while (client->busy) {
        struct http_call *call = client->busy->call;
        client_conn_destroy(client->busy);
        if (call) {
            berm_fail(&call->error, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the connection was given up");
            client_call_finish(call);
        }
    }
    drop_idle(client);
    client_leave(client);
}

void http_client_drop_idle(struct http_client *client)
{
    client_enter(client);
    drop_idle(client);
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
    return str_is(method, "GET") || str_is(method, "HEAD") || str_is(method, "PUT") || str_is(method, "DELETE") ||
           str_is(method, "OPTIONS") || str_is(method, "TRACE");
}

static int add_fields(struct http_call *call, const struct http_field *fields, size_t count, struct berm_error *err)
{
    struct head_writer *w = &call->request_head;
    bool has_host = false;

    for (size_t i = 0; i < count; i++) {
        struct str name = str_from(fields[i].name), value = str_from(fields[i].value);

        if (!h1_field_allowed(name, value))
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "header field %zu cannot be sent", i);
        has_host |= str_eq_nocase(name, STR("Host"));
        call->upgrade |= str_eq_nocase(name, STR("Upgrade"));
        head_add_field(w, name, value);
    }
    if (!has_host)
        head_add_field(w, STR("Host"), STR("localhost"));
    if (call->upgrade)
        head_add_field(w, STR("Connection"), STR("Upgrade"));
    return 0;
}

static int check_start(struct str method, struct str target, struct berm_error *err)
{
    if (!h1_is_token(method) || str_is(method, "CONNECT"))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "not a method that can be sent");
    if (target.p[0] != '/' || !h1_all(target, H1_TARGET))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "not a request target");
    return 0;
}

static int build_head(struct http_call *call, struct str method, struct str target, const struct http_field *fields,
                      size_t count, uint64_t length, struct berm_error *err)
{
    struct head_writer *w = &call->request_head;

    if (check_start(method, target, err) < 0)
        return -1;
    head_add(w, method);
    head_add(w, STR(" "));
    head_add(w, target);
    head_add(w, STR(" HTTP/1.1\r\n"));
    if (add_fields(call, fields, count, err) < 0)
        return -1;
    if (length == HTTP_CHUNKED) {
        head_add_field(w, STR("Transfer-Encoding"), STR("chunked"));
    } else if (length > 0 || str_is(method, "POST") || str_is(method, "PUT") || str_is(method, "PATCH")) {
        head_add(w, STR("Content-Length: "));
        head_add_number(w, length);
        head_add(w, STR("\r\n"));
    }
    head_add(w, STR("\r\n"));
    if (w->failed || outq_append(&call->out, w->data, w->len) < 0)
        return berm_fail(err, errno == ENOBUFS ? BERM_E_INVALID_REQUEST : BERM_E_SYSTEM, errno,
                         "build a request head");
    call->idempotent = is_idempotent(method);
    call->is_head = str_is(method, "HEAD");
    call->has_body = call->body_open = length > 0;
    call->length_left = length;
    call->dirty = true;
    return 0;
}

struct str client_call_method(const struct http_call *call)
{
    return call->is_head ? STR("HEAD") : STR("GET");
}

/*
 * The loop tells of idle connections that end or that bring what nobody asked for. Between two of its turns that
 * may be news: what can be sent again takes its chance, and anything else looks first, at the price of a system
 * call.
 */
static struct client_conn *take_idle(struct http_client *client, const struct http_call *call)
{
    struct client_conn *next;

    for (struct client_conn *conn = client->idle; conn; conn = next) {
        next = conn->next;
        if (conn->failed)
            continue;
        if (call->idempotent || client_conn_fresh(conn))
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
    struct http_call *call = recycled_take(&old_calls, sizeof(*call));

    if (!call) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "start a request");
        return NULL;
    }
    memset(call, 0, offsetof(struct http_call, request_head));
    call->client = client;
    call->callbacks = *callbacks;
    call->data = data;
    head_writer_init(&call->request_head);
    client_enter(client);
    if (client->freed)
        berm_fail(err, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the connection was given up");
    if (client->freed ||
        build_head(call, str_from(method), str_from(target), fields, field_count, length, err) < 0 ||
        place(call, take_idle(client, call), err) < 0) {
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
        call->write_lost || sent > call->request_head.len)
        return -1;
    if (sent > 0 && !call->has_body && !call->idempotent)
        return -1;
    if (outq_prepend(&call->out, call->request_head.data, (size_t)sent) < 0)
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
    char room[H1_CHUNK_LINE];
    struct str line = call->length_left == HTTP_CHUNKED ? h1_chunk_line(n, room) : STR("");
    struct iovec parts[3] = { { (void *)(uintptr_t)line.p, line.n },
                              { (void *)(uintptr_t)p, n },
                              { (void *)(uintptr_t) "\r\n", line.n ? 2 : 0 } };

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
