/*
 * forward.c - requests for previews and tunnels, passed on to the port of the sandbox.
 *
 * The order of the checks is part of what is promised: first the secret, so that a wrong one learns nothing, then
 * whether that run of the sandbox is still there. A request never starts a sandbox, and keeps one awake while it
 * lasts. A page served here is written by hostile code: under its own host name it is an origin of its own; below
 * /preview/ it would share the API's origin, so it is put into a sandbox of the browser's.
 */
#include "daemon/api/fields.h"
#include "daemon/api/proxy.h"
#include "daemon/edge/cookie.h"
#include "daemon/edge/name.h"
#include "daemon/edge/routes.h"

#include <sys/socket.h>

struct forward {
    uint16_t port;
    bool is_tunnel;
    const char *target; /* path with its leading slash, and query */
    const char *prefix; /* "/preview/id/port/token" that was taken off, or NULL */
    bool asking;        /* for a socket */
};

/* What a client says about other hops is not believed. */
static const struct str request_dropped[] = {
    STR_INIT("Host"),
    SENDER_FIELDS,
    STR_INIT("X-Sandbox-Name"),
    STR_INIT("X-Sandbox-Preview-Proxy"),
    STR_INIT("X-Sandbox-Preview-Port"),
    STR_INIT("X-Sandbox-Preview-Token"),
    STR_INIT("X-Sandbox-Preview-Sandbox-Id"),
};

/* --- refusals, in the SDK's words --- */

static void refuse(struct request *request, int status, const char *code, const char *message)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "error", message);
    json_pair_cstring(w, "code", code);
    json_object_end(w);
    request_respond_json(request, status, w);
}

static void refuse_token(struct request *request)
{
    refuse(request, 404, "INVALID_TOKEN", "Access denied: Invalid token or port not exposed");
}

static void refuse_stale(struct request *request)
{
    refuse(request, 410, "STALE_PREVIEW_URL", "Preview URL is stale because the sandbox runtime is not active");
}

static void refuse_unreachable(struct request *request, uint16_t port)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "Nothing answers on port %u of the sandbox\n", port);

    request_respond(request, 502, "text/plain; charset=utf-8", (struct str){ text, (size_t)n });
}

/* --- the answer --- */

static int copy_fields(struct request *request, const struct h1_head *head, struct field_list *fields)
{
    const struct forward *forward = request->state;
    int rc = forward->prefix ? fields_copy_foreign(fields, &request->arena, head,
                                                   "sandbox allow-scripts allow-forms allow-popups")
                             : fields_copy(fields, &request->arena, head, NULL, 0);

    return rc < 0 ? -1 : edge_cookies_stay(fields, &request->arena);
}

static bool on_head(struct request *request, const struct h1_head *head)
{
    struct field_list fields = { 0 };
    uint64_t length = head->framing == H1_CONTENT_LENGTH ? head->content_length
                      : head->framing == H1_NO_BODY      ? 0
                                                         : HTTP_CHUNKED;

    if (copy_fields(request, head, &fields) < 0) {
        request->proxy.status = 0;
        return false;
    }
    request_begin(request, head->status, fields.items, fields.count, length);
    return true;
}

static void on_refusal(struct request *request, int status, struct str body)
{
    (void)status, (void)body;
    request_fail_with(request, BERM_E_SYSTEM, "out of memory");
}

static void on_broken(struct request *request, const struct berm_error *err)
{
    struct forward *forward = request->state;

    if (http_response_started(request->exchange))
        http_exchange_abort(request->exchange);
    else if (err->code == BERM_E_SANDBOX_DIED)
        refuse_stale(request);
    else
        refuse_unreachable(request, forward->port);
}

static const struct proxy_rules rules = {
    .on_head = on_head, .on_refusal = on_refusal, .on_broken = on_broken, .copy_fields = copy_fields
};

/* --- the call --- */

/*
 * Nobody says how it was asked: then it came by plain HTTP, or through a proxy that the daemon was not told of and
 * whose address is the one in edge.url.
 */
static bool asked_by_https(const struct request *request)
{
    if (request->sender.https_known)
        return request->sender.https;
    return request->daemon->proxies.count == 0 && edge_is_https(request->daemon->edge);
}

/* Clients of the API may ask for everything with their key; another Authorization is the application's own. */
static void leave_out_keys(const struct request *request, struct field_list *fields)
{
    size_t kept = 0;

    for (size_t i = 0; i < fields->count; i++)
        if (!str_eq_nocase(str_from(fields->items[i].name), STR("Authorization")) ||
            !auth_is_key(&request->daemon->auth, str_from(fields->items[i].value)))
            fields->items[kept++] = fields->items[i];
    fields->count = kept;
}

/* Begins the fields with those that are passed on. `host` is the client's. */
static int add_forwarded(struct request *request, const char *host, const char *proto, struct field_list *fields)
{
    const char *address = request->sender.client;
    /* RFC 7239 wants an IPv6 address quoted, in brackets. */
    bool quoted = strchr(address, ':') != NULL;
    const char *forwarded = arena_join(&request->arena, quoted ? STR("for=\"[") : STR("for="), str_from(address),
                                       quoted ? STR("]\";host=\"") : STR(";host=\""), request->head->host,
                                       STR("\";proto="), str_from(proto));

    if (fields_copy(fields, &request->arena, request->head, request_dropped, ARRAY_SIZE(request_dropped)) < 0)
        return -1;
    leave_out_keys(request, fields);
    if (fields_add(fields, "X-Forwarded-For", address) < 0 || fields_add(fields, "X-Forwarded-Host", host) < 0 ||
        fields_add(fields, "X-Forwarded-Proto", proto) < 0)
        return -1;
    return fields_add(fields, "Forwarded", forwarded);
}

/* A server of the user's own is asked as if from its own machine; a tunnel's shows its public name. */
static int add_fields(struct request *request, struct field_list *fields)
{
    struct forward *forward = request->state;
    struct arena *arena = &request->arena;
    const struct h1_head *head = request->head;
    const char *proto = asked_by_https(request) ? "https" : "http";
    const char *host = arena_strdup(arena, head->host);
    char port[U64_TEXT];

    if (add_forwarded(request, host, proto, fields) < 0 ||
        (forward->prefix && fields_add(fields, "X-Forwarded-Prefix", forward->prefix) < 0))
        return -1;
    if (forward->is_tunnel)
        return fields_add(fields, "Host", host);
    if (fields_add(fields, "Host", arena_join(arena, STR("localhost:"), u64_text(forward->port, port))) < 0 ||
        fields_add(fields, "X-Original-URL",
                   arena_join(arena, str_from(proto), STR("://"), head->host, head->target)) < 0)
        return -1;
    return fields_add(fields, "X-Sandbox-Name", request->sandbox_id.p);
}

static void start_call(struct request *request)
{
    struct forward *forward = request->state;
    const struct h1_head *head = request->head;
    const char *method = arena_strdup(&request->arena, head->method);
    const char *target = forward->target;
    struct field_list fields = { 0 };
    uint64_t length = head->framing == H1_NO_BODY          ? 0
                      : head->framing == H1_CONTENT_LENGTH ? head->content_length
                                                           : HTTP_CHUNKED;

    if (!method || add_fields(request, &fields) < 0) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    if (head->upgrade.n) {
        if (fields_add(&fields, "Upgrade", arena_strdup(&request->arena, head->upgrade)) < 0)
            request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        else
            proxy_start_upgrade(request, &rules, target, fields.items, fields.count);
        return;
    }
    if (proxy_start(request, &rules, method, target, fields.items, fields.count, length) < 0)
        return;
    if (head->framing == H1_NO_BODY)
        proxy_end_body(request);
    proxy_upload(request);
}

static void reach_port(struct request *request);

static void on_socket(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct request *request = data;
    struct forward *forward = request->state;
    struct port_link *port = agent_link_port(request->link, forward->port);
    int fd = spawn_link_take_fd(request->daemon->spawn);

    (void)reply;
    forward->asking = false;
    if (!port) {
        close_fd(&fd);
        refuse_stale(request);
    } else if (err->code != BERM_OK || fd < 0) {
        request_fail_with(request, BERM_E_EXEC_TRANSPORT_ERROR, "no socket of the sandbox could be had");
    } else {
        port_link_give(port, fd);
        reach_port(request);
    }
}

/* Also called again when a call could not be started yet. */
static void reach_port(struct request *request)
{
    struct forward *forward = request->state;
    struct port_link *port = agent_link_port(request->link, forward->port);
    struct berm_error err;

    if (!port) {
        refuse_stale(request);
        return;
    }
    if (port_link_ready(port)) {
        request->proxy.client = port_link_client(port);
        start_call(request);
        return;
    }
    if (instance_socket(request->daemon, agent_link_key(request->link), port_link_family(port), SOCK_STREAM,
                        on_socket, request, &err) < 0)
        request_fail(request, &err);
    else
        forward->asking = true;
}

static void cleanup(struct request *request)
{
    struct forward *forward = request->state;

    if (forward->asking)
        spawn_link_forget(request->daemon->spawn, request);
}

/* --- the checks --- */

/* Whether the run that the route is for is there: takes a reference of it. */
static bool take_run(struct request *request, const struct edge_route *route)
{
    struct sandbox *sandbox = registry_find(&request->daemon->registry, str_from(route->row.sandbox));

    if (!sandbox || sandbox->state != SANDBOX_RUNNING || !sandbox->link)
        return false;
    if (route->row.kind != EDGE_NAMED && route->row.generation != sandbox->row.generation)
        return false;
    request->sandbox = sandbox_ref(sandbox);
    request->link = agent_link_ref(sandbox->link);
    request->in_use = sandbox;
    lifecycle_begin_use(sandbox);
    return true;
}

static void forward_to(struct request *request, const struct edge_route *route, struct str path, const char *prefix)
{
    struct forward *forward = arena_calloc(&request->arena, 1, sizeof(*forward));
    const struct h1_head *head = request->head;
    const char *target = arena_join(&request->arena, path, head->query.n ? STR("?") : STR(""), head->query);
    struct str sandbox = str_from(route->row.sandbox);

    request->sandbox_id = (struct str){ arena_strdup(&request->arena, sandbox), sandbox.n };
    if (!forward || !target || !request->sandbox_id.p) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    forward->port = route->row.port;
    forward->is_tunnel = route->row.kind != EDGE_PREVIEW;
    forward->target = target;
    forward->prefix = prefix;
    request->state = forward;
    request->cleanup = cleanup;
    if (!take_run(request, route)) {
        refuse_stale(request);
        return;
    }
    if (head->upgrade.n && (!str_is(head->method, "GET") || head->framing != H1_NO_BODY)) {
        request_fail_with(request, BERM_E_NOT_IMPLEMENTED,
                          "an upgrade to another protocol is passed on with GET and without a body only");
        return;
    }
    request->next = reach_port;
    request_stream_body(request);
    http_body_pause(request->exchange);
    reach_port(request);
}

/* The preview that `token` opens, or NULL. Unknown ports and wrong tokens cannot be told apart. */
static struct edge_route *authorized(struct request *request, struct str sandbox, uint16_t port, struct str token)
{
    struct edge_route *route = edge_find_preview(request->daemon->edge, sandbox, port);

    return route && edge_token_matches(route, token) && !edge_expired(route) ? route : NULL;
}

/* While it is not known what runs, nothing of the edge can be answered. */
static void answer_name(struct request *request)
{
    struct edge *edge = request->daemon->edge;
    struct edge_route *route = NULL;
    struct edge_name name;

    if (request->parse_name)
        request->parse_name(request, &name);
    else
        edge_name_parse(request->head->host, edge_domain(edge), &name);
    if (name.kind == EDGE_NAME_PREVIEW)
        route = authorized(request, name.sandbox, name.port, name.token);
    else if (name.kind == EDGE_NAME_TUNNEL)
        route = edge_find_label(edge, name.label);
    if (route && route->foreign == name.foreign)
        forward_to(request, route, request->head->path, NULL);
    else
        refuse_token(request);
}

bool edge_takes(struct request *request)
{
    struct edge_name name;

    edge_name_parse(request->head->host, edge_domain(request->daemon->edge), &name);
    if (name.kind == EDGE_NAME_OTHER)
        return false;
    request_need_adoption(request, answer_name);
    return true;
}

void edge_take_linked(struct request *request)
{
    http_watch_disconnect(request->exchange); /* the edge has no other way to say that a client went away */
    request_need_adoption(request, answer_name);
}

/* --- /preview/<id>/<port>/<token>/<rest> --- */

static struct str take_segment(struct str *path)
{
    const char *slash = path->n ? memchr(path->p, '/', path->n) : NULL;
    struct str segment = { path->p, slash ? (size_t)(slash - path->p) : path->n };

    path->p += segment.n;
    path->n -= segment.n;
    return segment;
}

static struct str after_slash(struct str path)
{
    return path.n ? (struct str){ path.p + 1, path.n - 1 } : path;
}

static void answer_path(struct request *request)
{
    struct str path = request->rest, sandbox, port_text, token;
    struct edge_route *route;
    const char *prefix;
    uint64_t port;

    sandbox = take_segment(&path);
    path = after_slash(path);
    port_text = take_segment(&path);
    path = after_slash(path);
    token = take_segment(&path);
    if (str_to_u64(port_text, &port) < 0 || port > EDGE_PORT_MAX || !edge_port_valid((int64_t)port) ||
        !(route = authorized(request, sandbox, (uint16_t)port, token))) {
        refuse_token(request);
        return;
    }
    prefix =
        arena_printf(&request->arena, "/preview/%s/%u/%s", route->row.sandbox, route->row.port, route->row.secret);
    if (!prefix)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else
        forward_to(request, route, path.n ? path : STR("/"), prefix);
}

void edge_preview_path(struct request *request)
{
    request_need_adoption(request, answer_path);
}
