/* ports.c - /v1/sandbox/{id}/ports: preview URLs for ports of a sandbox. */
#include "base/sys.h"
#include "daemon/edge/listing.h"
#include "daemon/edge/name.h"

#define EXPIRY_MAX_S ((int64_t)10 * 365 * 86400)

static int check_port(int64_t port, struct berm_error *err)
{
    if (edge_port_valid(port))
        return 0;
    return berm_fail_field(err, "port",
                           "Invalid port number: %lld. Must be %d-%d, excluding 3000 (sandbox control plane).",
                           (long long)port, EDGE_PORT_MIN, EDGE_PORT_MAX);
}

static void write_preview(struct json_writer *w, const struct edge *edge, const struct edge_route *route)
{
    struct buf url;
    char text[sizeof(route->row.sandbox) + sizeof(route->row.secret) + 32];

    buf_init(&url, 1024);
    json_object_begin(w);
    if (edge_write_url(edge, route, &url) == 0)
        json_pair_string(w, "url", buf_str(&url));
    buf_free(&url);
    snprintf(text, sizeof(text), "/preview/%s/%u/%s/", route->row.sandbox, route->row.port, route->row.secret);
    json_pair_cstring(w, "path", text);
    json_pair_int(w, "port", route->row.port);
    if (route->row.name[0])
        json_pair_cstring(w, "name", route->row.name);
    json_pair_cstring(w, "token", route->row.secret);
    if (route->row.expires_ms) {
        char stamp[25];

        format_timestamp(route->row.expires_ms, stamp);
        json_pair_cstring(w, "expiresAt", stamp);
    }
}

/* --- expose --- */

static void expose(struct request *request)
{
    struct edge_wish *wish = request->state;
    struct edge_route *route;
    struct berm_error err;
    struct json_writer *w;

    wish->sandbox = request->sandbox_id;
    wish->generation = request->sandbox->row.generation;
    if (edge_expose(request->daemon->edge, wish, &route, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    write_preview(w, request->daemon->edge, route);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

static int decode(const struct json *body, struct edge_wish *wish, struct berm_error *err)
{
    int64_t port = -1, expires_in = 0;

    if (!body || body->type != JSON_OBJECT)
        return berm_fail_field(err, "body", "must be a JSON object");
    if (json_field_int(body, "port", INT64_MIN, INT64_MAX, &port, err) < 0 || check_port(port, err) < 0 ||
        json_field_cstring(body, "name", &wish->name, err) < 0 ||
        json_field_cstring(body, "token", &wish->token, err) < 0 ||
        json_field_int(body, "expiresIn", 1, EXPIRY_MAX_S, &expires_in, err) < 0)
        return -1;
    if (wish->token && !edge_token_valid(str_from(wish->token)))
        return berm_fail_field(err, "token", "token must be 1 to %d of the characters a-z, 0-9 and _",
                               EDGE_TOKEN_MAX);
    if (wish->name && strlen(wish->name) >= sizeof(((struct edge_row *)NULL)->name))
        return berm_fail_field(err, "name", "name must be shorter than %zu bytes",
                               sizeof(((struct edge_row *)NULL)->name));
    wish->port = (uint16_t)port;
    wish->expires_ms = expires_in ? clock_realtime_ms() + expires_in * 1000 : 0;
    return 0;
}

static void on_body(struct request *request)
{
    struct edge_wish *wish = arena_calloc(&request->arena, 1, sizeof(*wish));
    const struct json *body;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return;
    request->state = wish;
    if (!wish)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else if (decode(body, wish, &err) < 0)
        request_fail(request, &err);
    else
        request_need_sandbox(request, expose);
}

void api_port_expose(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_body);
}

/* --- list --- */

/* Those that answer now, so none while the sandbox does not run. */
static void write_active(struct json_writer *w, const struct edge *edge, const struct edge_route *route,
                         int64_t generation)
{
    if (route->row.kind != EDGE_PREVIEW || route->row.generation != generation)
        return;
    write_preview(w, edge, route);
    json_pair_cstring(w, "status", "active");
    json_object_end(w);
}

void api_port_list(struct request *request)
{
    static const struct listing ports = { "ports", write_active };

    edge_list(request, &ports);
}

/* --- unexpose --- */

void api_port_unexpose(struct request *request)
{
    struct edge_route *route;
    struct berm_error err;
    uint64_t port;

    if (str_to_u64(request->param, &port) < 0 || port > INT64_MAX)
        port = 0;
    if (check_port((int64_t)port, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    route = edge_find_preview(request->daemon->edge, request->sandbox_id, (uint16_t)port);
    if (route && edge_remove(request->daemon->edge, route, &err) < 0)
        request_fail(request, &err);
    else
        request_respond_empty(request, 204);
}
