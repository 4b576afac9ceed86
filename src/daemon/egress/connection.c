/*
 * connection.c - one connection of a sandbox, from accept to its end.
 *
 *   SNIFFING   its first bytes are awaited, since the policy (or the interceptor) wants a name
 *   RESOLVING  the name is looked up
 *   DIALLING   one of its addresses is tried after the other
 *   ASKING     a proxy or the interceptor has been dialled instead, and its answer to CONNECT is awaited
 *   PASSING    bytes go both ways, by relay or, request by request, by gate
 *
 * Whatever refuses it resets it, after a 403 if it is known to be HTTP.
 */
#include "daemon/egress/http_gate.h"
#include "daemon/egress/internal.h"
#include "net/h1.h"
#include "net/relay.h"

#include <sys/socket.h>

#define HEAD_MAX     ((size_t)32 << 10) /* of what is read before it is decided */
#define ANSWER_PIECE ((size_t)4096)
#define ANSWER_MAX   ((size_t)16 << 10)
#define HTTP_PORT    80
#define HTTPS_PORT   443

enum stage { SNIFFING, RESOLVING, DIALLING, ASKING, PASSING };
enum content { CONTENT_UNKNOWN, CONTENT_TLS, CONTENT_HTTP };

struct connection {
    struct egress *egress;
    struct list node;
    enum stage stage;
    enum content content;
    struct stream client, server;
    struct loop_timer deadline;
    struct ip ip; /* where the sandbox wanted to go; then where we went */
    uint16_t port;
    struct buf head; /* what the client has said so far */
    char name_storage[HOST_NAME_MAX_BYTES + 1];
    struct str name; /* n == 0: it told none, or was not asked */
    struct egress_lookup *lookup;
    struct ip candidates[CANDIDATES_MAX];
    size_t candidate_count, next_candidate;
    bool sniffed;
    bool offering;     /* to the interceptor: on the way to it */
    bool taken;        /* by it */
    struct buf answer; /* to CONNECT */
    struct relay *relay;
    struct http_gate *gate;
    uint64_t moved, moved_at_ms; /* for the idle timeout */
};

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

/* The relay or gate, if there was one, is somebody else's to free. */
static void release(struct connection *c)
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
    if (c->stage != PASSING) {
        stream_close(&c->client, egress->service->loop);
        stream_close(&c->server, egress->service->loop);
    }
    buf_free(&c->head);
    buf_free(&c->answer);
    free(c);
}

void connection_end(struct connection *c)
{
    struct relay *relay = c->relay;
    struct http_gate *gate = c->gate;

    release(c);
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

static void count_denial(struct connection *c, const char *what, const char *reason)
{
    c->egress->counters.denied_connections++;
    c->egress->service->totals.denied_connections++;
    egress_log_denial(c->egress, what, reason, c->name, &c->ip, c->port);
}

static void refuse(struct connection *c, const char *reason)
{
    count_denial(c, "connection", reason);
    if (c->content == CONTENT_HTTP && c->stage != PASSING)
        answer_refusal(c, reason);
    else
        reset(c);
}

static void fail(struct connection *c)
{
    c->egress->counters.failed_connections++;
    c->egress->service->totals.failed++;
    reset(c);
}

/* --- passing --- */

static void on_passed(void *data)
{
    release(data);
}

/* Asked for every request, by the policy that holds now. */
static const char *on_request(void *data, const struct h1_head *head, struct str raw, struct buf *out)
{
    struct connection *c = data;
    const struct egress_policy *policy = c->egress->policy;
    const struct egress_rule *rule;
    char storage[HOST_NAME_MAX_BYTES + 1];
    const char *colon = head->host.n ? memchr(head->host.p, ':', head->host.n) : NULL;
    struct str name = { head->host.p, colon ? (size_t)(colon - head->host.p) : head->host.n };
    const char *reason = NULL;

    if (host_name_normalize(name, storage, &name) < 0)
        reason = "no host name told";
    else if (!str_eq(name, c->name))
        reason = "another host on the same connection";
    else if (egress_check_name(policy, name, c->port, &rule, &reason) == EGRESS_ALLOW &&
             egress_check_request(rule, head->method, head->path, &reason) == EGRESS_ALLOW)
        reason = buf_append_str(out, raw) < 0 ? "out of resources" : NULL;
    if (reason)
        count_denial(c, "request", reason);
    return reason;
}

/* Whether the policy has let it through by its name. (Its name may have been read for the interceptor only.) */
static bool asks_names(const struct connection *c)
{
    const char *reason;

    return egress_check_address(c->egress->policy, &c->ip, c->port, &reason) == EGRESS_ASK_NAME;
}

static void pass(struct connection *c)
{
    const struct http_gate_events events = { on_request, on_passed, c };
    struct loop *loop = c->egress->service->loop;
    bool by_request = c->content == CONTENT_HTTP && c->name.n > 0 && !c->taken && asks_names(c);

    loop_timer_stop(loop, &c->deadline);
    loop_io_remove(loop, &c->client.io);
    loop_io_remove(loop, &c->server.io);
    c->stage = PASSING;
    c->moved_at_ms = loop_now_ms(loop);
    if (by_request)
        c->gate = http_gate_start(loop, &c->client, &c->server, buf_str(&c->head), &events);
    else
        c->relay = relay_start(loop, c->client.io.fd, c->server.io.fd, buf_str(&c->head), on_passed, c);
    buf_free(&c->head);
    if (!c->gate && !c->relay)
        fail(c);
}

/* --- asking --- */

static void dial_next(struct connection *c);
static void evaluate(struct connection *c);

/* What came behind the head of the answer is the other end's already. */
static bool deliver_early(struct connection *c, size_t head_size)
{
    struct str early;

    buf_consume(&c->answer, head_size);
    early = buf_str(&c->answer);
    return early.n == 0 || stream_write(&c->client, early.p, early.n) == early.n;
}

static void take_interceptors_answer(struct connection *c, int status)
{
    struct loop *loop = c->egress->service->loop;

    c->offering = false;
    c->taken = status == 200;
    if (c->taken) {
        pass(c);
    } else if (status == 202) {
        loop_timer_stop(loop, &c->deadline);
        stream_close(&c->server, loop);
        buf_clear(&c->answer);
        evaluate(c);
    } else {
        refuse(c, "refused by the interceptor");
    }
}

static void on_answer(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);
    struct connection *c = container_of(stream, struct connection, server);
    char *room = buf_reserve(&c->answer, ANSWER_PIECE);
    size_t size = 0, n = room ? stream_read(stream, room, ANSWER_PIECE) : 0;
    int status;

    (void)events;
    buf_commit(&c->answer, n);
    status = connect_read(buf_str(&c->answer), &size);
    if (status == 0 && room && !stream->ended)
        return;
    if (status <= 0 || (status == 200 && !deliver_early(c, size)) || (status != 200 && !c->offering))
        fail(c);
    else if (c->offering)
        take_interceptors_answer(c, status);
    else
        pass(c);
}

static void ask(struct connection *c)
{
    const char *header = NULL;
    struct buf request;
    bool sent;

    if (c->offering && c->name.n > 0)
        header = c->content == CONTENT_TLS ? "X-Tls-Sni" : "X-Hostname";
    buf_init(&request, 2048);
    sent = connect_write(&request, &c->ip, c->port, header, c->name) == 0 &&
           stream_write(&c->server, buf_head(&request), request.len) == request.len;
    buf_free(&request);
    c->stage = ASKING;
    buf_init(&c->answer, ANSWER_MAX);
    loop_io_remove(c->egress->service->loop, &c->server.io);
    if (!sent || loop_io_add(c->egress->service->loop, &c->server.io, c->server.io.fd, EPOLLIN, on_answer) < 0)
        fail(c);
}

/* --- dialling --- */

static void on_dialled(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);
    struct connection *c = container_of(stream, struct connection, server);

    (void)events;
    if (dial_result(io->fd) == 0) {
        if (c->offering || c->egress->service->proxy_port)
            ask(c);
        else
            pass(c);
        return;
    }
    stream_close(&c->server, c->egress->service->loop);
    dial_next(c);
}

/* Where one really connects to. */
static int dial_way(const struct connection *c)
{
    const struct egress *egress = c->egress;

    if (c->offering)
        return dial_start(&egress->interceptor_ip, egress->interceptor_port);
    if (egress->service->proxy_port)
        return dial_start(&egress->service->proxy_ip, egress->service->proxy_port);
    return dial_start(&c->ip, c->port);
}

static void dial_next(struct connection *c)
{
    struct egress_service *service = c->egress->service;

    c->stage = DIALLING;
    while (c->next_candidate < c->candidate_count) {
        int fd;

        c->ip = c->candidates[c->next_candidate++];
        fd = dial_way(c);
        if (fd < 0)
            continue;
        if (loop_io_add(service->loop, &c->server.io, fd, EPOLLOUT, on_dialled) == 0) {
            loop_timer_start(service->loop, &c->deadline, service->connect_timeout_ms);
            return;
        }
        close(fd);
    }
    fail(c);
}

/* Behind a proxy this host need not have a route itself. */
static const char *why_impossible(const struct connection *c, const struct ip *ip)
{
    const char *why = dial_impossible(c->egress->policy, ip);

    return why && c->egress->service->proxy_port && !strcmp(why, "no route") ? NULL : why;
}

/* One address, which was allowed as such. */
static void dial_only(struct connection *c)
{
    c->candidates[0] = c->ip;
    c->candidate_count = 1;
    c->next_candidate = 0;
    dial_next(c);
}

static void dial_address(struct connection *c)
{
    const char *impossible = why_impossible(c, &c->ip);

    if (impossible && !strcmp(impossible, "an address of the host")) {
        refuse(c, impossible);
        return;
    }
    if (impossible) {
        fail(c);
        return;
    }
    dial_only(c);
}

/* --- names --- */

static bool reachable(const struct connection *c, const struct ip *ip)
{
    const char *reason;

    return egress_check_address(c->egress->policy, ip, c->port, &reason) != EGRESS_DENY && !why_impossible(c, ip);
}

/* The sandbox's own choice among them first. An address that the name does not have is not dialled at all. */
static void choose_candidates(struct connection *c, const struct resolve_result *result)
{
    c->candidate_count = c->next_candidate = 0;
    for (int others = 0; others <= 1; others++)
        for (size_t i = 0; i < result->count && c->candidate_count < CANDIDATES_MAX; i++) {
            const struct ip *ip = &result->addresses[i].ip;

            if (ip_equal(ip, &c->ip) != others && reachable(c, ip))
                c->candidates[c->candidate_count++] = *ip;
        }
}

static void take_result(struct connection *c, const struct resolve_result *result)
{
    if (result->outcome == RESOLVE_FAILED) {
        fail(c);
        return;
    }
    choose_candidates(c, result);
    if (c->candidate_count == 0)
        refuse(c, "the name has no address that may be reached");
    else
        dial_next(c);
}

static void on_resolved(const struct resolve_result *result, void *data)
{
    struct connection *c = data;

    c->lookup = NULL;
    take_result(c, result);
}

static void resolve(struct connection *c)
{
    struct egress_service *service = c->egress->service;
    uint16_t type = ip_is_v4(&c->ip) ? DNS_TYPE_A : DNS_TYPE_AAAA;
    struct resolve_result result;

    c->stage = RESOLVING;
    loop_timer_stop(service->loop, &c->deadline); /* the resolver has its own */
    if (egress_resolver_cached(service->resolver, c->name, type, &result)) {
        take_result(c, &result);
        return;
    }
    c->lookup = egress_resolver_ask(service->resolver, c->name, type, on_resolved, c);
    if (!c->lookup)
        fail(c);
}

static const char *check_name(const struct connection *c)
{
    const struct egress_rule *rule;
    const char *reason = NULL;

    if (egress_check_name(c->egress->policy, c->name, c->port, &rule, &reason) == EGRESS_DENY)
        return reason;
    if (c->content == CONTENT_TLS && egress_rule_reads_requests(rule))
        return "methods and paths cannot be seen inside TLS";
    return NULL;
}

/* The name is known, or that there is none. */
static void decide(struct connection *c)
{
    const char *reason;

    loop_io_remove(c->egress->service->loop, &c->client.io);
    c->sniffed = true;
    if (c->offering) {
        dial_only(c);
        return;
    }
    reason = check_name(c);
    if (reason)
        refuse(c, reason);
    else
        resolve(c);
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
    static const struct h1_limits limits = { .max_head = HEAD_MAX, .max_headers = H1_MAX_HEADERS };
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

    if (c->stage == SNIFFING) {
        decide(c);
        return;
    }
    stream_close(&c->server, c->egress->service->loop);
    dial_next(c);
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
        fail(c);
}

/* --- the beginning --- */

static struct connection *new_connection(struct egress *egress, int fd)
{
    struct connection *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->egress = egress;
    c->client.io.fd = fd;
    c->server.io.fd = -EBADF;
    c->name = (struct str){ "", 0 };
    buf_init(&c->head, HEAD_MAX);
    buf_init(&c->answer, ANSWER_MAX);
    loop_timer_init(&c->deadline, on_deadline);
    list_append(&egress->connections, &c->node);
    egress->connection_count++;
    egress->counters.connections++;
    egress->service->totals.connections++;
    egress->service->totals.open++;
    return c;
}

static int read_destination(struct connection *c)
{
    struct sockaddr_storage to;
    socklen_t size = sizeof(to);

    if (getsockname(c->client.io.fd, (struct sockaddr *)&to, &size) < 0)
        return -1;
    return ip_from_sockaddr(&to, &c->ip, &c->port);
}

/* The policy decides. */
static void evaluate(struct connection *c)
{
    const char *reason;

    switch (egress_check_address(c->egress->policy, &c->ip, c->port, &reason)) {
    case EGRESS_DENY:
        refuse(c, reason);
        break;
    case EGRESS_ALLOW:
        dial_address(c);
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
        dial_only(c);
}

void connection_start(struct egress *egress, int client_fd)
{
    struct connection *c = new_connection(egress, client_fd);

    if (!c) {
        close(client_fd);
        return;
    }
    if (read_destination(c) < 0) {
        fail(c);
        return;
    }
    if (egress->interceptor_port && !egress_out_of_bounds(egress->policy, &c->ip))
        offer(c);
    else
        evaluate(c);
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

/* One that was let through by its address has told no name that we saw. */
void connection_check_policy(struct connection *c)
{
    const char *reason = NULL;
    enum egress_verdict verdict;

    if (c->offering || c->taken) /* not its decision, or not yet */
        return;
    verdict = egress_check_address(c->egress->policy, &c->ip, c->port, &reason);
    if (verdict == EGRESS_ASK_NAME && c->stage == SNIFFING)
        return;
    if (verdict == EGRESS_ASK_NAME)
        reason = check_name(c);
    if (reason)
        refuse(c, reason);
}
