/* connection.c - a connection of a sandbox: what it wants, whether it may, and its end. */
#include "daemon/egress/connection.h"

#include <sys/socket.h>

#define ANSWER_MAX ((size_t)16 << 10)
#define HTTP_PORT  80
#define HTTPS_PORT 443

struct connection *connection_of(struct list *node)
{
    return container_of(node, struct connection, node);
}

/* --- the end --- */

void connection_get_bytes(const struct connection *c, uint64_t *ret_out, uint64_t *ret_in)
{
    *ret_out = *ret_in = 0;
    if (c->relay)
        relay_counts(c->relay, ret_out, ret_in);
    if (c->gate)
        http_gate_counts(c->gate, ret_out, ret_in);
}

void connection_release(struct connection *c)
{
    struct egress *egress = c->egress;
    struct egress_totals *totals = &egress->service->totals;
    uint64_t out, in;

    connection_get_bytes(c, &out, &in);
    egress->counters.bytes_out += out;
    egress->counters.bytes_in += in;
    totals->bytes_out += out;
    totals->bytes_in += in;
    totals->open--;
    egress->connection_count--;
    list_remove(&c->node);
    egress_lookup_cancel(c->lookup);
    loop_timer_stop(egress->service->loop, &c->deadline);
    turn_cancel(&c->handshake);
    if (c->stage != PASSING) {
        stream_close(&c->client, egress->service->loop);
        stream_close(&c->server, egress->service->loop);
    }
    leak_guard_clear(&c->guard);
    buf_free(&c->head);
    buf_free(&c->answer);
    buf_free(&c->request);
    free(c);
}

void connection_end(struct connection *c)
{
    struct relay *relay = c->relay;
    struct http_gate *gate = c->gate;

    connection_release(c);
    relay_free(relay);
    http_gate_free(gate);
}

/* Closing with unread bytes resets in any case; this makes it certain. */
static void reset(struct connection *c)
{
    const struct linger now = { .l_onoff = 1 };

    if (c->stage != PASSING)
        setsockopt(c->client.io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    connection_end(c);
}

/* What was read is gone from the socket's queue, so that closing it does not lose the answer. */
static void answer_refusal(struct connection *c, const char *reason)
{
    struct buf text;

    buf_init(&text, 4096);
    if (http_refusal(&text, 403, reason) == 0)
        stream_write(&c->client, buf_head(&text), text.len);
    buf_free(&text);
    stream_shut(&c->client);
    connection_end(c);
}

void connection_count_denial(struct connection *c, const char *what, const char *reason)
{
    c->egress->counters.denied_connections++;
    c->egress->service->totals.denied_connections++;
    egress_log_denial(c->egress, what, reason, c->name, &c->ip, c->port);
}

void connection_refuse(struct connection *c, const char *reason)
{
    connection_count_denial(c, "connection", reason);
    if (c->content == CONTENT_HTTP && c->stage != PASSING)
        answer_refusal(c, reason);
    else
        reset(c);
}

void connection_fail(struct connection *c)
{
    c->egress->counters.failed_connections++;
    c->egress->service->totals.failed++;
    reset(c);
}

/* --- deciding --- */

/* Why its name may not be reached. Else *ret_intercept: what holds for it is inside of TLS. */
static const char *check_name(const struct connection *c, bool *ret_intercept)
{
    const struct egress_rule *rule;
    const char *reason = NULL;

    if (egress_check_name(c->egress->policy, c->name, c->port, &rule, &reason) == EGRESS_DENY)
        return reason;
    *ret_intercept = c->content == CONTENT_TLS && egress_rule_reads_requests(rule);
    return *ret_intercept && !c->egress->authority ? "there is no certificate authority for it" : NULL;
}

/* The name is known, or that there is none. */
static void decide(struct connection *c)
{
    const char *reason;

    loop_io_remove(c->egress->service->loop, &c->client.io);
    c->sniffed = true;
    if (c->offering) {
        connection_dial_only(c);
        return;
    }
    reason = check_name(c, &c->intercepted);
    if (reason)
        connection_refuse(c, reason);
    else
        connection_resolve(c);
}

/* --- sniffing --- */

static void take_http_name(struct connection *c, struct str host)
{
    const char *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    struct str name = { host.p, colon ? (size_t)(colon - host.p) : host.n };

    if (host_name_normalize(name, c->name_storage, &c->name) < 0)
        c->name = (struct str){ "", 0 };
}

/* > 0: known; 0: more bytes are needed; -1: it tells no name that counts. */
static ssize_t sniff(struct connection *c)
{
    static const struct h1_limits limits = { .max_head = CONNECTION_HEAD_MAX, .max_headers = H1_MAX_HEADERS };
    struct str said = buf_str(&c->head);
    struct h1_head head;
    ssize_t n;

    if (said.p[0] == 22) {
        c->content = CONTENT_TLS;
        n = client_hello_parse(said.p, said.n, c->name_storage, &c->name);
        if (n <= 0)
            c->name = (struct str){ "", 0 };
        return n;
    }
    if (said.p[0] < 'A' || said.p[0] > 'Z')
        return -1;
    n = h1_parse_request(said.p, said.n, &limits, &head);
    if (n <= 0)
        return n;
    c->content = CONTENT_HTTP;
    take_http_name(c, head.host);
    return n;
}

static void on_client(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);
    struct connection *c = container_of(stream, struct connection, client);
    size_t want = 8192, n;
    char *room = buf_reserve(&c->head, want);

    (void)events;
    if (!room) { /* as much as we look at, and still no name */
        decide(c);
        return;
    }
    n = stream_read(stream, room, want);
    buf_commit(&c->head, n);
    if (n == 0 && stream->ended) /* it has lost interest */
        connection_end(c);
    else if (n > 0 && sniff(c) != 0)
        decide(c);
}

static void on_deadline(struct loop_timer *timer)
{
    struct connection *c = container_of(timer, struct connection, deadline);

    switch (c->stage) {
    case SNIFFING:
        decide(c);
        break;
    case SECURING:
        connection_fail(c);
        break;
    default:
        connection_dial_next(c);
    }
}

static void begin_sniffing(struct connection *c)
{
    struct egress_service *service = c->egress->service;

    if (c->sniffed) {
        decide(c);
        return;
    }

    c->stage = SNIFFING;
    loop_timer_start(service->loop, &c->deadline, service->connect_timeout_ms);
    if (loop_io_add(service->loop, &c->client.io, c->client.io.fd, EPOLLIN, on_client) < 0)
        connection_fail(c);
}

/* --- the beginning --- */

static struct connection *new_connection(struct egress *egress, int fd, const struct ip *ip, uint16_t port)
{
    struct connection *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->egress = egress;
    c->client.io.fd = fd;
    c->ip = *ip;
    c->port = port;
    c->server.io.fd = -EBADF;
    c->name = (struct str){ "", 0 };
    buf_init(&c->head, CONNECTION_HEAD_MAX);
    buf_init(&c->answer, ANSWER_MAX);
    buf_init(&c->request, 2 * CONNECTION_HEAD_MAX);
    loop_timer_init(&c->deadline, on_deadline);
    list_append(&egress->connections, &c->node);
    egress->connection_count++;
    egress->counters.connections++;
    egress->service->totals.connections++;
    egress->service->totals.open++;
    return c;
}

/* The policy decides. */
void connection_evaluate(struct connection *c)
{
    const char *reason;

    switch (egress_check_address(c->egress->policy, &c->ip, c->port, &reason)) {
    case EGRESS_DENY:
        connection_refuse(c, reason);
        break;
    case EGRESS_ALLOW:
        connection_dial_address(c);
        break;
    case EGRESS_ASK_NAME:
        begin_sniffing(c);
        break;
    }
}

/* Only where a client speaks first is it worth waiting for what it says. */
static void offer(struct connection *c)
{
    c->offering = true;
    if (c->port == HTTP_PORT || c->port == HTTPS_PORT)
        begin_sniffing(c);
    else
        connection_dial_only(c);
}

void connection_start(struct egress *egress, int client_fd, const struct ip *ip, uint16_t port)
{
    struct connection *c = new_connection(egress, client_fd, ip, port);

    if (!c)
        close(client_fd);
    else if (egress->interceptor_port && !egress_out_of_bounds(egress->policy, &c->ip))
        offer(c);
    else
        connection_evaluate(c);
}

/* --- later --- */

void connection_check_idle(struct connection *c, uint64_t now_ms)
{
    uint64_t out, in;

    if (c->stage != PASSING)
        return;
    connection_get_bytes(c, &out, &in);
    if (out + in != c->moved) {
        c->moved = out + in;
        c->moved_at_ms = now_ms;
    } else if (now_ms - c->moved_at_ms >= c->egress->service->idle_timeout_ms) {
        connection_end(c);
    }
}

/* Passing unread what would have to be read now. */
static bool reads_too_little(const struct connection *c, bool intercept)
{
    return (intercept && !c->intercepted && c->stage >= SECURING) || (c->relay && c->content == CONTENT_HTTP);
}

/*
 * One that was let through by its address has told no name that we saw. One that is read keeps being read, whatever
 * may pass unread now.
 */
static const char *check_again(struct connection *c)
{
    const char *reason = NULL;
    bool intercept = false;

    switch (egress_check_address(c->egress->policy, &c->ip, c->port, &reason)) {
    case EGRESS_DENY:
        return reason;
    case EGRESS_ALLOW:
        break;
    case EGRESS_ASK_NAME:
        if (c->stage == SNIFFING)
            return NULL;
        reason = check_name(c, &intercept);
        if (!reason && reads_too_little(c, intercept))
            return "its requests have to be read from now on";
        if (c->stage < SECURING)
            c->intercepted = intercept;
        break;
    }
    return reason ? reason : connection_check_request(c);
}

void connection_check_policy(struct connection *c)
{
    const char *reason;

    if (c->offering || c->taken) /* not its decision, or not yet */
        return;
    reason = check_again(c);
    if (reason)
        connection_refuse(c, reason);
}
