/*
 * tunnels.c - /v1/sandbox/{id}/tunnel/{port}: a URL for a port without a token, in the shapes of the bridge. The
 * daemon is the edge itself: a tunnel is a name of its own that leads to the port, there as soon as it is answered.
 */
#include "base/sys.h"
#include "daemon/edge/listing.h"
#include "daemon/edge/name.h"
#include "daemon/link/connector.h"

static int take_port(struct request *request, uint16_t *ret)
{
    struct berm_error err;
    uint64_t port;

    if (str_to_u64(request->param, &port) == 0 && port <= EDGE_PORT_MAX && edge_port_valid((int64_t)port)) {
        *ret = (uint16_t)port;
        return 0;
    }
    berm_fail_field(&err, "port", "Invalid port number: %.*s. Must be %d-%d, excluding reserved ports.",
                    (int)MIN(request->param.n, (size_t)20), request->param.p, EDGE_PORT_MIN, EDGE_PORT_MAX);
    request_fail(request, &err);
    return -1;
}

static struct str hostname_of(struct str url)
{
    const char *host = (const char *)memchr(url.p, ':', url.n) + 3;
    size_t n = url.n - (size_t)(host - url.p);
    const char *port = memchr(host, ':', n);

    return (struct str){ host, port ? (size_t)(port - host) : n };
}

void edge_write_tunnel(struct json_writer *w, const struct edge *edge, const struct edge_route *route)
{
    const struct edge_row *row = &route->row;
    char stamp[25];
    struct buf url;

    buf_init(&url, 1024);
    format_timestamp(row->created_ms, stamp);
    json_object_begin(w);
    json_pair_cstring(w, "id", row->id);
    json_pair_int(w, "port", row->port);
    if (edge_write_url(edge, route, &url) == 0) {
        json_pair_string(w, "url", buf_str(&url));
        json_pair_string(w, "hostname", hostname_of(buf_str(&url)));
    }
    buf_free(&url);
    json_pair_cstring(w, "createdAt", stamp);
    if (row->name[0])
        json_pair_cstring(w, "name", row->name);
    json_object_end(w);
}

/* --- get --- */

struct opening {
    struct edge_wish wish;
    struct tunnel_wait wait;
    struct request *request;
};

static void answer_open(struct request *request, const struct edge_route *route, const struct berm_error *err)
{
    struct json_writer *w;

    if (!route) {
        request_fail_with(request, BERM_E_TUNNEL_ERROR, "tunnel failed: %s", err->message);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    edge_write_tunnel(w, request->daemon->edge, route);
    request_respond_json(request, 200, w);
}

static void on_opened(struct tunnel_wait *wait, const struct edge_route *route, const struct berm_error *err)
{
    answer_open(container_of(wait, struct opening, wait)->request, route, err);
}

/* The client has gone; what it has begun goes on, for the next who asks. */
static void stop_waiting(struct request *request)
{
    list_remove(&((struct opening *)request->state)->wait.node);
}

static void open_tunnel(struct request *request)
{
    struct opening *opening = request->state;
    struct edge_route *route = NULL;
    struct berm_error err;
    int rc;

    opening->wish.sandbox = request->sandbox_id;
    opening->wish.generation = request->sandbox->row.generation;
    rc = connector_open_tunnel(request->daemon->connector, request->daemon->edge, &opening->wish, &opening->wait,
                               &route, &err);
    if (rc <= 0)
        answer_open(request, rc < 0 ? NULL : route, &err);
    else
        http_watch_disconnect(request->exchange);
}

static int decode(const struct json *body, struct edge_wish *wish, struct berm_error *err)
{
    /* Upstream takes a body that is no object, an array for example, for one without options. */
    if (!body || body->type != JSON_OBJECT)
        return 0;
    if (json_field_cstring(body, "name", &wish->name, err) < 0)
        return berm_fail_field(err, "name", "name must be a string when provided");
    if (wish->name && !edge_tunnel_valid(str_from(wish->name)))
        return berm_fail_field(
            err, "name", "name must be a valid DNS label: 1 to 63 of a-z, 0-9 and -, with no - at either end");
    return 0;
}

static void on_body(struct request *request)
{
    struct opening *opening = request->state;
    const struct json *body;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return;
    if (decode(body, &opening->wish, &err) < 0)
        request_fail(request, &err);
    else
        request_need_sandbox(request, open_tunnel);
}

void api_tunnel_get(struct request *request)
{
    struct opening *opening = arena_calloc(&request->arena, 1, sizeof(*opening));

    if (!opening) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    opening->request = request;
    opening->wait.done = on_opened;
    request->state = opening;
    request->cleanup = stop_waiting;
    if (take_port(request, &opening->wish.port) == 0)
        request_collect_body(request, JSON_BODY_MAX, on_body);
}

/* --- list and destroy --- */

/* A quick tunnel of a run that is over is none any more. */
static void write_live(struct json_writer *w, const struct edge *edge, const struct edge_route *route,
                       int64_t generation)
{
    if (route->row.kind == EDGE_NAMED || (route->row.kind == EDGE_QUICK && route->row.generation == generation))
        edge_write_tunnel(w, edge, route);
}

void api_tunnel_list(struct request *request)
{
    static const struct listing tunnels = { "tunnels", write_live };

    edge_list(request, &tunnels);
}

void api_tunnel_destroy(struct request *request)
{
    struct edge_route *route;
    struct berm_error err;
    uint16_t port;

    if (take_port(request, &port) < 0)
        return;
    connector_cancel_tunnel(request->daemon->connector, request->sandbox_id, port);
    route = edge_find_tunnel(request->daemon->edge, request->sandbox_id, port);
    if (route && edge_remove(request->daemon->edge, route, &err) < 0)
        request_fail_with(request, BERM_E_TUNNEL_ERROR, "tunnel failed: %s", err.message);
    else
        request_respond_empty(request, 204);
}
