/* connection_dial.c - where a connection goes: addresses of its name, proxies, the interceptor. */
#include "daemon/egress/connection.h"

#define ANSWER_PIECE ((size_t)4096)

/* --- asking --- */

/* What came behind the head of the answer is the other end's already; inside of TLS there can be no such thing. */
static bool deliver_early(struct connection *c, size_t head_size)
{
    struct str early;

    buf_consume(&c->answer, head_size);
    early = buf_str(&c->answer);
    if (early.n > 0 && c->intercepted)
        return false;
    return early.n == 0 || stream_write(&c->client, early.p, early.n) == early.n;
}

/* What it takes of TLS it gets in clear text, if there is somebody to sign. */
static void take_interceptors_answer(struct connection *c, int status, size_t head_size)
{
    struct loop *loop = c->egress->service->loop;

    c->offering = false;
    c->taken = status == 200;
    if (c->taken) {
        c->intercepted = c->content == CONTENT_TLS && c->name.n > 0 && c->egress->authority;
        if (deliver_early(c, head_size))
            connection_secure(c);
        else
            connection_fail(c);
    } else if (status == 202) {
        loop_timer_stop(loop, &c->deadline);
        stream_close(&c->server, loop);
        buf_clear(&c->answer);
        connection_evaluate(c);
    } else {
        connection_refuse(c, "refused by the interceptor");
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
    if (status > 0 && c->offering)
        take_interceptors_answer(c, status, size);
    else if (status > 0 && status != 200)
        connection_refuse(c, status == 407 ? "the proxy wants other credentials" : "refused by the proxy");
    else if (status == 200 && deliver_early(c, size))
        connection_secure(c);
    else
        connection_fail(c);
}

/* The interceptor is told the name; the proxy, who we are. */
static int write_request(const struct connection *c, struct buf *out)
{
    const char *authorization = c->egress->service->proxy_authorization;

    if (!c->offering)
        return connect_write(out, &c->ip, c->port, authorization ? "Proxy-Authorization" : NULL,
                             str_from(authorization));
    return connect_write(out, &c->ip, c->port,
                         c->name.n == 0              ? NULL
                         : c->content == CONTENT_TLS ? "X-Tls-Sni"
                                                     : "X-Hostname",
                         c->name);
}

static void ask(struct connection *c)
{
    struct buf request;
    bool sent;

    buf_init(&request, 4096);
    sent =
        write_request(c, &request) == 0 && stream_write(&c->server, buf_head(&request), request.len) == request.len;
    buf_free(&request);
    c->stage = ASKING;
    loop_io_remove(c->egress->service->loop, &c->server.io);
    if (!sent || loop_io_add(c->egress->service->loop, &c->server.io, c->server.io.fd, EPOLLIN, on_answer) < 0)
        connection_fail(c);
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
            connection_secure(c);
        return;
    }
    connection_dial_next(c);
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

void connection_dial_next(struct connection *c)
{
    struct egress_service *service = c->egress->service;

    c->stage = DIALLING;
    stream_close(&c->server, service->loop);
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
    connection_fail(c);
}

/* Behind a proxy this host need not have a route itself. */
static const char *why_impossible(const struct connection *c, const struct ip *ip)
{
    const char *why = dial_impossible(c->egress->policy, ip);

    return why && c->egress->service->proxy_port && !strcmp(why, "no route") ? NULL : why;
}

void connection_dial_only(struct connection *c)
{
    c->candidates[0] = c->ip;
    c->candidate_count = 1;
    c->next_candidate = 0;
    connection_dial_next(c);
}

void connection_dial_address(struct connection *c)
{
    const char *impossible = why_impossible(c, &c->ip);

    if (impossible && !strcmp(impossible, "an address of the host")) {
        connection_refuse(c, impossible);
        return;
    }
    if (impossible) {
        connection_fail(c);
        return;
    }
    connection_dial_only(c);
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
        connection_fail(c);
        return;
    }
    choose_candidates(c, result);
    if (c->candidate_count == 0)
        connection_refuse(c, "the name has no address that may be reached");
    else
        connection_dial_next(c);
}

static void on_resolved(const struct resolve_result *result, void *data)
{
    struct connection *c = data;

    c->lookup = NULL;
    take_result(c, result);
}

void connection_resolve(struct connection *c)
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
        connection_fail(c);
}
