/* router.c - the table of routes, and the checks before a handler. */
#include "base/log.h"
#include "daemon/api/extensions.h"
#include "daemon/api/once.h"
#include "daemon/api/origin.h"
#include "daemon/api/request.h"
#include "daemon/console/console.h"
#include "daemon/mcp/mcp.h"

/* clang-format off */
static const struct route routes[] = {
    { "GET",    "/health",                            "health",         ROUTE_OPEN, api_health },
    { "GET",    "/metrics",                           "metrics",        ROUTE_KEY,  api_metrics },
    { "POST",   "/v1/sandbox",                        "sandbox.new_id", ROUTE_KEY,  api_sandbox_new_id },
    { "GET",    "/v1/sandboxes",                      "sandbox.list",   ROUTE_KEY,  api_sandbox_list },
    { "PUT",    "/v1/sandbox/:id",                    "sandbox.put",    ROUTE_KEY,  api_sandbox_put, true },
    { "GET",    "/v1/sandbox/:id",                    "sandbox.get",    ROUTE_KEY,  api_sandbox_get },
    { "DELETE", "/v1/sandbox/:id",                    "sandbox.delete", ROUTE_KEY,  api_sandbox_delete },
    { "GET",    "/v1/sandbox/:id/running",            "sandbox.running", ROUTE_KEY, api_sandbox_running },
    { "GET",    "/v1/sandbox/:id/events",             "sandbox.events", ROUTE_KEY,  api_sandbox_events },
    { "GET",    "/v1/sandbox/:id/stats",              "sandbox.stats",  ROUTE_KEY,  api_sandbox_stats },
    { "PUT",    "/v1/sandbox/:id/env",                "sandbox.env",    ROUTE_KEY,  api_sandbox_env, true },
    { "PATCH",  "/v1/sandbox/:id/env",                "sandbox.env",    ROUTE_KEY,  api_sandbox_env, true },
    { "PUT",    "/v1/sandbox/:id/labels",             "sandbox.labels", ROUTE_KEY,  api_sandbox_labels, true },
    { "PATCH",  "/v1/sandbox/:id/labels",             "sandbox.labels", ROUTE_KEY,  api_sandbox_labels, true },
    { "GET",    "/v1/events",                         "events",         ROUTE_KEY,  api_events },
    { "GET",    "/v1/sandbox/:id/egress",             "egress.get",     ROUTE_KEY,  api_egress_get },
    { "PUT",    "/v1/sandbox/:id/egress",             "egress.put",     ROUTE_KEY,  api_egress_put },
    { "DELETE", "/v1/sandbox/:id/egress",             "egress.delete",  ROUTE_KEY,  api_egress_delete },
    { "POST",   "/v1/sandbox/:id/exec",               "exec",           ROUTE_KEY,  api_exec, true },
    { "GET",    "/v1/sandbox/:id/file",               "file.get",       ROUTE_KEY,  api_file_get },
    { "PUT",    "/v1/sandbox/:id/file",               "file.put",       ROUTE_KEY,  api_file_put },
    { "GET",    "/v1/sandbox/:id/file/*",             "file.get",       ROUTE_KEY,  api_file_get },
    { "PUT",    "/v1/sandbox/:id/file/*",             "file.put",       ROUTE_KEY,  api_file_put, true },
    { "POST",   "/v1/sandbox/:id/session",            "session.create", ROUTE_KEY,  api_session_create },
    { "DELETE", "/v1/sandbox/:id/session/:sid",       "session.delete", ROUTE_KEY,  api_session_delete },
    { NULL,     "/v1/sandbox/:id/container/*",        "container",      ROUTE_KEY,  api_container },
    { "POST",   "/v1/sandbox/:id/persist",            "persist",        ROUTE_KEY,  api_persist },
    { "POST",   "/v1/sandbox/:id/hydrate",            "hydrate",        ROUTE_KEY,  api_hydrate },
    { "POST",   "/v1/sandbox/:id/mount",              "mount",          ROUTE_KEY,  api_mount },
    { "POST",   "/v1/sandbox/:id/unmount",            "unmount",        ROUTE_KEY,  api_unmount },
    { "POST",   "/v1/sandbox/:id/tunnel/:port",       "tunnel.get",     ROUTE_KEY,  api_tunnel_get },
    { "DELETE", "/v1/sandbox/:id/tunnel/:port",       "tunnel.destroy", ROUTE_KEY,  api_tunnel_destroy },
    { "GET",    "/v1/sandbox/:id/tunnels",            "tunnel.list",    ROUTE_KEY,  api_tunnel_list },
    { "POST",   "/v1/sandbox/:id/ports",              "port.expose",    ROUTE_KEY,  api_port_expose },
    { "GET",    "/v1/sandbox/:id/ports",              "port.list",      ROUTE_KEY,  api_port_list },
    { "DELETE", "/v1/sandbox/:id/ports/:port",        "port.unexpose",  ROUTE_KEY,  api_port_unexpose },
    { NULL,     "/preview/*",                         "preview",        ROUTE_OPEN, edge_preview_path },
    { "GET",    "/v1/sandbox/:id/pty",                "pty",            ROUTE_KEY,  api_pty },
    { "GET",    "/v1/pool/stats",                     "pool.stats",     ROUTE_KEY,  api_pool_stats },
    { "POST",   "/v1/pool/prime",                     "pool.prime",     ROUTE_KEY,  api_pool_prime },
    { "POST",   "/v1/pool/shutdown-prewarmed",        "pool.shutdown",  ROUTE_KEY,  api_pool_shutdown },
    { "GET",    "/v1/openapi.json",                   "openapi",        ROUTE_TOKEN, api_openapi_json },
    { "GET",    "/v1/openapi.html",                   "openapi",        ROUTE_TOKEN, api_openapi_page },
    { "GET",    "/v1/openapi",                        "openapi",        ROUTE_TOKEN, api_openapi_page },
    { "GET",    "/v1/keys",                           "key.list",       ROUTE_KEY,  api_key_list },
    { "POST",   "/v1/keys",                           "key.create",     ROUTE_KEY,  api_key_create },
    { "DELETE", "/v1/keys/:kid",                      "key.delete",     ROUTE_KEY,  api_key_delete },
    { "GET",    "/v1/secrets",                        "secret.list",    ROUTE_KEY,  api_secret_list },
    { "PUT",    "/v1/secrets/:name",                  "secret.put",     ROUTE_KEY,  api_secret_put },
    { "DELETE", "/v1/secrets/:name",                  "secret.delete",  ROUTE_KEY,  api_secret_delete },
    { "GET",    "/v1/link",                           "link.get",       ROUTE_KEY,  api_link },
    { "GET",    "/v1/images",                         "image.list",     ROUTE_KEY,  api_images },
    { "POST",   "/mcp",                               "mcp",            ROUTE_KEY,  api_mcp_post },
    { "GET",    "/mcp",                               "mcp",            ROUTE_KEY,  api_mcp_get },
    { "DELETE", "/mcp",                               "mcp",            ROUTE_KEY,  api_mcp_delete },
    { "GET",    "/v1/login",                          "login.state",    ROUTE_OPEN, console_login_state },
    { "POST",   "/v1/login",                          "login",          ROUTE_OPEN, console_login },
    { "POST",   "/v1/logout",                         "logout",         ROUTE_OPEN, console_logout },
    { "GET",    "/",                                  "console",        ROUTE_OPEN, console_page },
    { "GET",    "/console/*",                         "console",        ROUTE_OPEN, console_file },
    { "GET",    "/v1/host",                           "host",           ROUTE_KEY,  api_host },
};
/* clang-format on */

_Static_assert(ARRAY_SIZE(routes) + EXTENSIONS_MAX + 2 <= METRICS_ROUTES_MAX, "metrics have too few routes");

const struct route *api_route(size_t index)
{
    return index < ARRAY_SIZE(routes) ? &routes[index] : extension_route(index - ARRAY_SIZE(routes));
}

size_t api_route_none(void)
{
    return ARRAY_SIZE(routes) + extension_count();
}

size_t api_route_docker(void)
{
    return api_route_none() + 1;
}

size_t api_route_count(void)
{
    return api_route_docker() + 1;
}

const char *api_route_name(size_t index)
{
    if (index == api_route_docker())
        return "docker";
    return index < api_route_none() ? api_route(index)->name : "none";
}

/* --- matching --- */

static struct str next_segment(struct str *path)
{
    const char *slash = path->n ? memchr(path->p, '/', path->n) : NULL;
    struct str segment = { path->p, slash ? (size_t)(slash - path->p) : path->n };

    path->p += segment.n + (slash != NULL);
    path->n -= segment.n + (slash != NULL);
    return segment;
}

bool route_match(const char *pattern, struct str path, struct str params[2], struct str *rest)
{
    struct str left = { pattern + 1, strlen(pattern) - 1 };
    size_t count = 0;
    bool more;

    if (path.n == 0 || path.p[0] != '/')
        return false;
    path = (struct str){ path.p + 1, path.n - 1 };
    do {
        bool path_more = memchr(path.p, '/', path.n) != NULL;
        struct str wanted = next_segment(&left), segment;

        more = left.n > 0;
        segment = next_segment(&path);
        if (wanted.p[0] == ':') {
            if (segment.n == 0 || count == 2)
                return false;
            params[count++] = segment;
        } else if (!str_eq(wanted, segment)) {
            return false;
        }
        if (more && str_is(left, "*")) {
            *rest = path;
            return path_more;
        }
        if (more != path_more)
            return false;
    } while (more);
    return true;
}

static bool method_fits(const struct route *route, struct str method)
{
    return !route->method || str_is(method, route->method) ||
           (str_is(method, "HEAD") && !strcmp(route->method, "GET"));
}

static void find_route(struct request *request)
{
    struct str params[2] = { { "", 0 }, { "", 0 } };
    size_t count = api_route_none();

    request->route_index = count;
    for (size_t i = 0; i < count; i++) {
        const struct route *route = api_route(i);

        if (!method_fits(route, request->head->method) ||
            !route_match(route->pattern, request->head->path, params, &request->rest))
            continue;
        request->route = route;
        request->route_index = i;
        /* Below /v1/sandbox the first parameter is the id, which has been taken. */
        request->param = request->sandbox_id.n ? params[1] : params[0];
        return;
    }
}

/* --- the checks before a handler --- */

/* An id in the path is looked at before anything else, whatever follows it. -1: answered. */
static int take_sandbox_id(struct request *request)
{
    static const struct str prefix = { "/v1/sandbox/", sizeof("/v1/sandbox/") - 1 };
    struct str path = request->head->path;
    struct str id;

    if (!str_has_prefix(path, prefix))
        return 0;
    path = (struct str){ path.p + prefix.n, path.n - prefix.n };
    id = next_segment(&path);
    if (id.n == 0)
        return 0;
    if (!sandbox_id_valid(id)) {
        struct berm_error err;

        berm_fail_field(&err, "id", "Invalid sandbox ID format");
        request_fail(request, &err);
        return -1;
    }
    request->sandbox_id = (struct str){ arena_strdup(&request->arena, id), id.n };
    if (!request->sandbox_id.p) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return -1;
    }
    return 0;
}

/* "localhost" or an address, with or without a port: what no name server of an attacker's can answer for. */
bool host_is_literal(struct str host)
{
    const char *colon;

    if (host.n && host.p[0] == '[')
        return true;
    colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    if (colon)
        host.n = (size_t)(colon - host.p);
    if (str_eq_nocase(host, STR("localhost")))
        return true;
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] != '.' && !(host.p[i] >= '0' && host.p[i] <= '9'))
            return false;
    return host.n > 0;
}

/*
 * A web page that the user of this machine looks at comes from loopback too. It cannot keep its Origin from us,
 * nor, when it had its own name resolved to 127.0.0.1, that name.
 */
static bool from_web_page(const struct h1_head *head)
{
    if (!host_is_literal(head->host) || origin_is_foreign(head))
        return true;
    return h1_header(head, "Origin").p && !origin_is_own(head, STR("http://")) &&
           !origin_is_own(head, STR("https://"));
}

/* Browsers that open an address can give the key in that address only. */
static struct str authorization_of(struct request *request)
{
    struct str field = h1_header(request->head, "Authorization"), raw;
    char *text;

    if (field.p || !request->route || request->route->auth != ROUTE_TOKEN ||
        !query_get(request->head->query, "token", &raw))
        return field;
    text = arena_printf(&request->arena, "Bearer %.*s", (int)raw.n, raw.p);
    return text && query_decode(str_from(text), text, strlen(text) + 1) == 0 ? str_from(text) : field;
}

static int check_key(struct request *request)
{
    const struct auth *auth = &request->daemon->auth;
    struct str authorization = authorization_of(request);
    bool local = request->sender.local;

    if ((request->route && request->route->auth == ROUTE_OPEN) || once_is_own(request))
        return 0;
    if (auth_allows(auth, authorization, local && !from_web_page(request->head)))
        return 0;
    if (!authorization.p && console_allows(request))
        return 0;
    if (auth_has_keys(auth))
        request_fail_with(request, BERM_E_UNAUTHORIZED, "Unauthorized");
    else if (local)
        request_fail_with(
            request, BERM_E_UNAUTHORIZED,
            "Unauthorized: without API keys, web pages and host names other than localhost are refused");
    else
        request_fail_with(request, BERM_E_UNAUTHORIZED,
                          "Unauthorized: no API key is configured, so only loopback is served");
    return -1;
}

static int take_generation(struct request *request)
{
    struct str text = h1_header(request->head, "Berm-If-Generation");
    uint64_t value;

    if (!text.p)
        return 0;
    if (str_to_u64(text, &value) < 0 || value == 0 || value > INT64_MAX) {
        struct berm_error err;

        berm_fail_field(&err, "Berm-If-Generation", "Berm-If-Generation must be a positive number");
        request_fail(request, &err);
        return -1;
    }
    request->wait.if_generation = (int64_t)value;
    return 0;
}

/* A field that decides something and stands there twice would mean one thing here and another to a proxy before us.
 */
static int refuse_repeated(struct request *request)
{
    static const char *const single[] = { "Authorization", "Session-Id",     "Berm-If-Generation", "Content-Type",
                                          "Origin",        "Sec-Fetch-Site", "Idempotency-Key" };
    struct berm_error err;

    for (size_t f = 0; f < ARRAY_SIZE(single); f++) {
        size_t count = 0;

        for (size_t i = 0; i < request->head->header_count; i++)
            count += str_eq_nocase(request->head->headers[i].name, str_from(single[f]));
        if (count < 2)
            continue;
        berm_fail_field(&err, single[f], "%s is given more than once", single[f]);
        request_fail(request, &err);
        return -1;
    }
    return 0;
}

static void dispatch(struct request *request)
{
    if (take_sandbox_id(request) < 0 || refuse_repeated(request) < 0)
        return;
    find_route(request);
    if (check_key(request) < 0)
        return;
    if (!request->route)
        request_fail_with(request, BERM_E_NOT_FOUND, "Not Found");
    else if (take_generation(request) == 0 && !once_takes(request))
        request->route->handler(request);
}

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct request *request = request_new(data, exchange, head);

    if (request && edge_takes(request))
        return;
    if (request)
        dispatch(request);
    else
        http_respond(exchange, 500, NULL, STR("out of memory\n"));
}

/* --- errors that the server finds itself --- */

static enum berm_err code_of_status(int status)
{
    switch (status) {
    case 413:
        return BERM_E_PAYLOAD_TOO_LARGE;
    case 431:
        return BERM_E_HEADERS_TOO_LARGE;
    case 408:
        return BERM_E_TIMED_OUT;
    case 501:
    case 505:
        return BERM_E_NOT_IMPLEMENTED;
    default:
        return status >= 500 ? BERM_E_INTERNAL : BERM_E_INVALID_REQUEST;
    }
}

static void error_body(int status, const char *reason, struct buf *body, const char **content_type, void *data)
{
    struct json_writer w;
    struct berm_error err;

    (void)data;
    berm_fail(&err, code_of_status(status), 0, "%s", reason);
    json_writer_init(&w, body);
    error_json(&w, &err, NULL, NULL);
    json_writer_finish(&w);
    *content_type = "application/json";
}

const struct http_handler api_handler = { .on_request = on_request, .error_body = error_body };
