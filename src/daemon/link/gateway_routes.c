/* gateway_routes.c - what the edge answers itself: health, metrics, the links. It has no other API. */
#include "base/buf.h"
#include "base/json.h"
#include "base/sys.h"
#include "daemon/api/request.h"
#include "daemon/link/gateway_internal.h"

#define TEXT_MAX ((size_t)4 << 20)

/* --- errors --- */

static bool is_page(const struct h1_head *head)
{
    struct str accept = h1_header(head, "Accept");

    return accept.n && memmem(accept.p, accept.n, "text/html", 9) && str_is(head->method, "GET");
}

static void respond(struct http_exchange *exchange, int status, const char *type, struct str body)
{
    const struct http_field fields[] = { { "Content-Type", type },
                                         { "Cache-Control", "no-store" },
                                         { "X-Content-Type-Options", "nosniff" },
                                         { "Retry-After", "2" } };

    http_respond_begin(exchange, status, fields, status == 503 ? 4 : 3, body.n);
    http_respond_write(exchange, body.p, body.n);
    http_respond_end(exchange);
}

/* Messages are ours, without anything of a client's in them. */
static void fail_page(struct http_exchange *exchange, int status, const struct berm_error *err)
{
    struct buf page;

    buf_init(&page, 4096);
    buf_printf(
        &page,
        "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<title>%d</title>\n<h1>%d</h1>\n<p>%s.</p>\n",
        status, status, err->message);
    respond(exchange, status, "text/html; charset=utf-8", buf_str(&page));
    buf_free(&page);
}

void gateway_fail(struct http_exchange *exchange, const struct h1_head *head, const struct berm_error *err)
{
    int status = berm_err_status(err->code);
    struct json_writer w;
    struct buf body;

    if (is_page(head)) {
        fail_page(exchange, status, err);
        return;
    }
    buf_init(&body, 4096);
    json_writer_init(&w, &body);
    error_json(&w, err, NULL, NULL);
    json_writer_finish(&w);
    respond(exchange, status, "application/json", buf_str(&body));
    buf_free(&body);
}

static void fail(struct http_exchange *exchange, const struct h1_head *head, enum berm_err code,
                 const char *message)
{
    struct berm_error err;

    berm_fail(&err, code, 0, "%s", message);
    gateway_fail(exchange, head, &err);
}

/* --- health, links --- */

static void answer_health(struct gateway *gateway, struct buf *out)
{
    buf_printf(out, "{\"ok\":%s}", link_wire_alive(gateway->wire) ? "true" : "false");
}

static void write_far(struct json_writer *w, const struct far *far)
{
    char since[25];

    format_timestamp(far->since_ms, since);
    json_object_begin(w);
    json_pair_cstring(w, "name", far->key.name[0] ? far->key.name : NULL);
    json_pair_cstring(w, "state", far_state_name(far->state));
    json_pair_cstring(w, "transport", link_transport_name(far->transport));
    json_pair_cstring(w, "peer", far->peer);
    json_pair_cstring(w, "since", since);
    json_pair_int(w, "streams", (int64_t)far->streams_total);
    json_pair_int(w, "requests", (int64_t)far->requests_total);
    json_pair_int(w, "requestsOpen", far->requests_open);
    json_object_end(w);
}

static void answer_links(struct gateway *gateway, struct buf *out)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "links");
    json_array_begin(&w);
    for (struct list *node = gateway->fars.next; node != &gateway->fars; node = node->next)
        write_far(&w, container_of(node, struct far, node));
    json_array_end(&w);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        buf_clear(out);
}

/* --- metrics --- */

static void write_metric(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
               (unsigned long long)value);
}

static void write_requests(const struct gateway_metrics *metrics, struct buf *out)
{
    static const char *const names[] = { "aborted", "1xx", "2xx", "3xx", "4xx", "5xx" };

    buf_printf(out, "# HELP berm_edge_requests_total Requests for names of daemons, by status.\n"
                    "# TYPE berm_edge_requests_total counter\n");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        buf_printf(out, "berm_edge_requests_total{status=\"%s\"} %llu\n", names[i],
                   (unsigned long long)metrics->requests[i]);
}

static void answer_metrics(struct gateway *gateway, struct buf *out)
{
    const struct gateway_metrics *metrics = &gateway->metrics;
    struct http_server_stats stats;

    http_server_stats(gateway->server, &stats);
    buf_printf(out, "# HELP berm_build_info The running version.\n# TYPE berm_build_info gauge\n"
                    "berm_build_info{version=\"" BERM_VERSION "\"} 1\n");
    write_requests(metrics, out);
    write_metric(out, "berm_edge_daemons", "gauge", "Daemons that requests go to.", gateway->by_name.count);
    write_metric(out, "berm_edge_links", "gauge", "Open links.", gateway->fars_open);
    write_metric(out, "berm_edge_links_total", "counter", "Links that were made.", metrics->links);
    write_metric(out, "berm_edge_links_refused_total", "counter", "Links without a key of ours.", metrics->refused);
    write_metric(out, "berm_edge_links_lost_total", "counter", "Links that ended while requests went over them.",
                 metrics->lost);
    write_metric(out, "berm_edge_streams_total", "counter", "Streams that were opened.", metrics->streams);
    write_metric(out, "berm_edge_unreachable_total", "counter",
                 "Requests that did not reach their daemon or got no whole answer.", metrics->unreachable);
    write_metric(out, "berm_edge_sent_bytes_total", "counter", "Body bytes of answers.", metrics->bytes_out);
    write_metric(out, "berm_edge_received_bytes_total", "counter", "Body bytes of requests.", metrics->bytes_in);
    write_metric(out, "berm_http_connections", "gauge", "Open client connections.", stats.connections_open);
    write_metric(out, "berm_http_connections_total", "counter", "Accepted connections.", stats.connections_total);
    write_metric(out, "berm_http_refused_total", "counter", "Requests refused for their framing or size.",
                 stats.refused_total);
    write_metric(out, "berm_http_timeouts_total", "counter", "Connections ended by a deadline.",
                 stats.timeouts_total);
    write_metric(out, "berm_start_time_ms", "gauge", "Unix time of the start in milliseconds.",
                 (uint64_t)gateway->started_ms);
}

/* --- all of them --- */

static const struct own_route {
    const char *path, *type;
    bool open; /* to everybody */
    void (*write)(struct gateway *gateway, struct buf *out);
} own_routes[] = {
    { "/health", "application/json", true, answer_health },
    { "/v1/links", "application/json", false, answer_links },
    { "/metrics", "text/plain; version=0.0.4; charset=utf-8", false, answer_metrics },
};

/* As for the API: a key of auth.keys_file, or, without any, the machine itself by a name that no page can have. */
static bool may_read(const struct gateway *gateway, const struct h1_head *head, const struct sender *sender)
{
    bool local = sender->local && host_is_literal(head->host) && !h1_header(head, "Origin").p;

    return auth_allows(&gateway->auth, h1_header(head, "Authorization"), local);
}

void gateway_answer(struct gateway *gateway, struct http_exchange *exchange, const struct h1_head *head,
                    const struct sender *sender)
{
    const struct own_route *route = NULL;
    struct buf text;

    for (size_t i = 0; i < ARRAY_SIZE(own_routes); i++)
        if (str_is(head->path, own_routes[i].path))
            route = &own_routes[i];
    if (!route || (!str_is(head->method, "GET") && !str_is(head->method, "HEAD"))) {
        fail(exchange, head, BERM_E_NOT_FOUND, "there is nothing here");
        return;
    }
    if (!route->open && !may_read(gateway, head, sender)) {
        fail(exchange, head, BERM_E_UNAUTHORIZED, "a key is needed");
        return;
    }
    buf_init(&text, TEXT_MAX);
    route->write(gateway, &text);
    respond(exchange, route->open && !link_wire_alive(gateway->wire) ? 503 : 200, route->type, buf_str(&text));
    buf_free(&text);
}
