/*
 * gateway_forward.c - requests of browsers, passed on to the daemon whose name they ask for.
 *
 * Both ends are framed by our own parser and writer, so nothing that a browser sends can mean something else to the
 * daemon. What it says about other hops is dropped, and who it is written anew: the daemon believes that. The rest
 * is passed on as it is: which sandbox a label means, and whether its token is right, only the daemon knows; so a
 * name of a daemon that does not exist is answered like a wrong token.
 */
#include "base/arena.h"
#include "base/log.h"
#include "daemon/api/fields.h"
#include "daemon/edge/cookie.h"
#include "daemon/edge/name.h"
#include "daemon/link/gateway_internal.h"
#include "net/relay.h"

#define TRANSIT_ARENA_MAX ((size_t)1 << 20)

struct transit {
    struct gateway *gateway;
    struct http_exchange *exchange; /* NULL once it is closed */
    const struct h1_head *head;
    struct sender sender;
    struct arena arena;
    struct far *far; /* while there is a call */
    struct http_call *call;
    char name[LINK_NAME_MAX + 1], id[17];
    int status;
    bool upload_done;
    uint64_t bytes_in, bytes_out, started_ns;
    struct loop_deferred free_later;
};

/* What is only true if we write it. */
static const struct str dropped[] = { STR_INIT("Host"), SENDER_FIELDS, STR_INIT("Via") };

/* --- the end --- */

static void end_call(struct transit *transit)
{
    struct far *far = transit->far;

    transit->call = NULL;
    transit->far = NULL;
    far_request_ended(far);
}

static void free_transit(struct loop_deferred *deferred)
{
    struct transit *transit = container_of(deferred, struct transit, free_later);

    arena_free(&transit->arena);
    free(transit);
}

static void log_transit(const struct transit *transit, bool complete)
{
    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    log_info("request", "id", transit->id, "daemon", transit->name[0] ? transit->name : NULL, "status",
             transit->status ? log_num(transit->status) : "none", "complete", complete ? "true" : "false", "in",
             log_num((long long)transit->bytes_in), "out", log_num((long long)transit->bytes_out), "us",
             log_num((long long)((clock_monotonic_ns() - transit->started_ns) / 1000)), "client",
             transit->sender.client);
}

static void on_close(struct http_exchange *exchange, bool complete, void *data)
{
    struct transit *transit = data;
    struct gateway_metrics *metrics = &transit->gateway->metrics;
    int hundreds = transit->status / 100;

    (void)exchange;
    metrics->requests[hundreds >= 1 && hundreds <= 5 ? hundreds : 0]++;
    metrics->bytes_in += transit->bytes_in;
    metrics->bytes_out += transit->bytes_out;
    log_transit(transit, complete);
    transit->exchange = NULL;
    if (transit->call) {
        http_call_cancel(transit->call);
        end_call(transit);
    }
    loop_defer(transit->gateway->loop, &transit->free_later);
}

static void fail(struct transit *transit, enum berm_err code, const char *message)
{
    struct berm_error err;

    if (!transit->exchange)
        return;
    if (http_response_started(transit->exchange)) {
        http_exchange_abort(transit->exchange);
        return;
    }
    berm_fail(&err, code, 0, "%s", message);
    transit->status = berm_err_status(code);
    gateway_fail(transit->exchange, transit->head, &err);
}

/* --- connections that have left HTTP --- */

static bool upgrade_allowed(struct transit *transit)
{
    if (!passages_full(&transit->gateway->passages, http_peer_address(transit->exchange)))
        return true;
    fail(transit, BERM_E_CAPACITY_EXCEEDED, "too many connections have been upgraded");
    return false;
}

static int take_browser(struct transit *transit, const struct h1_head *head, struct buf *ret_early)
{
    struct field_list fields = { 0 };
    int fd = -1;

    if (fields_copy(&fields, &transit->arena, head, NULL, 0) == 0 &&
        edge_cookies_stay(&fields, &transit->arena) == 0 &&
        fields_add(&fields, "Upgrade", arena_strdup(&transit->arena, head->upgrade)) == 0)
        fd = http_upgrade(transit->exchange, fields.items, fields.count, ret_early);
    if (fd < 0)
        fail(transit, BERM_E_EXEC_TRANSPORT_ERROR, "the connection cannot be upgraded");
    else
        transit->status = 101;
    return fd;
}

static void upgrade(struct transit *transit, const struct h1_head *head)
{
    struct gateway *gateway = transit->gateway;
    const uint8_t *peer = http_peer_address(transit->exchange);
    struct buf from_browser, from_stream;
    struct passage_ends ends = { 0 };

    buf_init(&from_browser, RELAY_BUFFER);
    buf_init(&from_stream, RELAY_BUFFER);
    ends.server = http_call_take_socket(transit->call, &from_stream);
    if (ends.server < 0)
        return; /* the call fails, and the request with it */
    end_call(transit);
    if (peer)
        memcpy(ends.address, peer, sizeof(ends.address)); /* the exchange goes with the answer */
    ends.client = upgrade_allowed(transit) ? take_browser(transit, head, &from_browser) : -EBADF;
    ends.from_client = buf_str(&from_browser);
    ends.from_server = buf_str(&from_stream);
    if (ends.client >= 0)
        (void)passages_join(&gateway->passages, gateway->loop, &ends);
    else
        close_fd(&ends.server);
    buf_free(&from_browser);
    buf_free(&from_stream);
}

/* --- the answer --- */

static void on_answer_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct transit *transit = data;
    struct field_list fields = { 0 };
    uint64_t length = head->framing == H1_CONTENT_LENGTH ? head->content_length
                      : head->framing == H1_NO_BODY      ? 0
                                                         : HTTP_CHUNKED;

    (void)call;
    if (head->status == 101) {
        upgrade(transit, head);
        return;
    }
    if (fields_copy(&fields, &transit->arena, head, NULL, 0) < 0 ||
        edge_cookies_stay(&fields, &transit->arena) < 0) {
        http_exchange_abort(transit->exchange); /* without memory: what still comes of the answer is dropped */
        return;
    }
    transit->status = head->status;
    http_respond_begin(transit->exchange, head->status, fields.items, fields.count, length);
}

static void on_answer_body(struct http_call *call, struct str piece, void *data)
{
    struct transit *transit = data;

    if (!transit->exchange)
        return;
    transit->bytes_out += piece.n;
    if (!http_respond_write(transit->exchange, piece.p, piece.n))
        http_call_pause(call);
}

static void on_call_drain(struct http_call *call, void *data)
{
    struct transit *transit = data;

    (void)call;
    if (transit->exchange)
        http_body_resume(transit->exchange);
}

static void on_call_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct transit *transit = data;

    (void)call;
    end_call(transit);
    if (!transit->exchange)
        return;
    if (!transit->upload_done)
        http_body_resume(transit->exchange); /* what still comes is dropped */
    if (err->code == BERM_OK) {
        http_respond_end(transit->exchange);
        return;
    }
    transit->gateway->metrics.unreachable++;
    if (err->code == BERM_E_TIMED_OUT)
        fail(transit, BERM_E_TIMED_OUT, "the daemon behind this edge did not answer in time");
    else
        fail(transit, BERM_E_EXEC_TRANSPORT_ERROR, "the connection to the daemon behind this edge broke");
}

/* --- the request --- */

static void on_body(struct http_exchange *exchange, struct str piece, void *data)
{
    struct transit *transit = data;

    transit->bytes_in += piece.n;
    if (transit->call && !http_call_write(transit->call, piece.p, piece.n))
        http_body_pause(exchange);
}

static void on_body_end(struct http_exchange *exchange, void *data)
{
    struct transit *transit = data;

    (void)exchange;
    if (transit->upload_done)
        return;
    transit->upload_done = true;
    if (transit->call)
        http_call_end_body(transit->call);
}

static void on_drain(struct http_exchange *exchange, void *data)
{
    struct transit *transit = data;

    (void)exchange;
    if (transit->call)
        http_call_resume(transit->call);
}

static const struct http_exchange_callbacks exchange_callbacks = {
    .on_body = on_body, .on_body_end = on_body_end, .on_drain = on_drain, .on_close = on_close
};

static bool asked_by_https(const struct transit *transit)
{
    if (transit->sender.https_known)
        return transit->sender.https;
    return transit->gateway->proxies.count == 0 && transit->gateway->base.https &&
           transit->gateway->listeners.secure_count == 0;
}

static int make_fields(struct transit *transit, struct field_list *fields)
{
    const struct h1_head *head = transit->head;
    struct arena *arena = &transit->arena;
    const char *host = arena_strdup(arena, head->host);

    if (fields_copy(fields, arena, head, dropped, ARRAY_SIZE(dropped)) < 0 ||
        fields_add(fields, "Host", host) < 0 || fields_add(fields, "X-Forwarded-For", transit->sender.client) < 0 ||
        fields_add(fields, "X-Forwarded-Host", host) < 0 ||
        fields_add(fields, "X-Forwarded-Proto", asked_by_https(transit) ? "https" : "http") < 0)
        return -1;
    return head->upgrade.n ? fields_add(fields, "Upgrade", arena_strdup(arena, head->upgrade)) : 0;
}

static void pass_on(struct transit *transit, struct far *far)
{
    static const struct http_call_callbacks callbacks = {
        .on_head = on_answer_head, .on_body = on_answer_body, .on_drain = on_call_drain, .on_end = on_call_end
    };
    const struct h1_head *head = transit->head;
    const char *method = arena_strdup(&transit->arena, head->method);
    const char *target = arena_printf(&transit->arena, "%.*s%s%.*s", (int)head->path.n, head->path.p,
                                      head->query.n ? "?" : "", (int)head->query.n, head->query.p);
    uint64_t length = head->framing == H1_NO_BODY          ? 0
                      : head->framing == H1_CONTENT_LENGTH ? head->content_length
                                                           : HTTP_CHUNKED;
    struct field_list fields = { 0 };
    struct berm_error err;

    if (!method || !target || make_fields(transit, &fields) < 0) {
        fail(transit, BERM_E_SYSTEM, "out of memory");
        return;
    }
    transit->call =
        http_call_start(far->client, method, target, fields.items, fields.count, length, &callbacks, transit, &err);
    if (!transit->call) {
        transit->gateway->metrics.unreachable++;
        fail(transit, BERM_E_LINK_DOWN, "the daemon behind this edge takes no more requests now");
        return;
    }
    transit->far = far;
    far->requests_open++;
    far->requests_total++;
    transit->upload_done = length == 0;
}

/* --- whom it is for --- */

/* Over plain HTTP to an edge that has TLS: the same again with it. */
static void redirect(struct transit *transit)
{
    const struct h1_head *head = transit->head;
    const struct gateway *gateway = transit->gateway;
    const char *colon = memchr(head->host.p, ':', head->host.n);
    int host = colon ? (int)(colon - head->host.p) : (int)head->host.n;
    const char *location =
        arena_printf(&transit->arena, "https://%.*s%s%.*s%s%.*s", host, head->host.p, gateway->base.port,
                     (int)head->path.n, head->path.p, head->query.n ? "?" : "", (int)head->query.n, head->query.p);
    const struct http_field fields[] = { { "Location", location } };

    if (!location) {
        fail(transit, BERM_E_SYSTEM, "out of memory");
        return;
    }
    transit->status = 308;
    http_respond_begin(transit->exchange, 308, fields, 1, 0);
    http_respond_end(transit->exchange);
}

/* The words that a daemon has for a wrong token, so that nobody learns which daemons there are. */
static void refuse_name(struct transit *transit)
{
    static const char body[] =
        "{\"error\":\"Access denied: Invalid token or port not exposed\",\"code\":\"INVALID_TOKEN\"}";

    transit->status = 404;
    http_respond(transit->exchange, 404, "application/json", STR(body));
}

static void route_to_daemon(struct transit *transit)
{
    struct gateway *gateway = transit->gateway;
    struct far *far = gateway_find(gateway, transit->name);

    if (far) {
        pass_on(transit, far);
    } else if (link_keys_know_name(&gateway->keys, transit->name)) {
        gateway->metrics.unreachable++;
        fail(transit, BERM_E_LINK_DOWN, "the daemon behind this edge is not connected");
    } else {
        refuse_name(transit);
    }
}

static void route(struct transit *transit, struct str label)
{
    const struct h1_head *head = transit->head;
    const struct gateway *gateway = transit->gateway;

    if (gateway->base.https && gateway->listeners.secure_count && !asked_by_https(transit)) {
        redirect(transit);
    } else if (link_label_split(label, &label, transit->name) < 0) {
        refuse_name(transit);
    } else if (head->upgrade.n && (!str_is(head->method, "GET") || head->framing != H1_NO_BODY)) {
        fail(transit, BERM_E_NOT_IMPLEMENTED,
             "an upgrade to another protocol is passed on with GET and without a body only");
    } else if (!head->upgrade.n || upgrade_allowed(transit)) {
        route_to_daemon(transit);
    }
}

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct gateway *gateway = data;
    struct transit *transit;
    struct sender_peer peer = sender_peer_of(exchange);
    struct sender sender;
    struct str label;

    sender_find(&gateway->proxies, &peer, head, &sender);
    if (!edge_host_below(head->host, str_from(gateway->base.domain), &label)) {
        gateway_answer(gateway, exchange, head, &sender);
        return;
    }
    transit = calloc(1, sizeof(*transit));
    if (!transit) {
        http_respond(exchange, 500, NULL, STR("out of memory\n"));
        return;
    }
    transit->gateway = gateway;
    transit->exchange = exchange;
    transit->head = head;
    transit->sender = sender;
    transit->started_ns = clock_monotonic_ns();
    transit->free_later.callback = free_transit;
    arena_init(&transit->arena, TRANSIT_ARENA_MAX);
    snprintf(transit->id, sizeof(transit->id), "%016llx", (unsigned long long)gateway->next_request++);
    http_exchange_set(exchange, &exchange_callbacks, transit);
    http_watch_disconnect(exchange);
    route(transit, label);
}

const struct http_handler gateway_handler = { .on_request = on_request };
