#include "router.h"

#include "agent/agent.h"
#include "agent/rpc/rpc.h"
#include "base/spawn_wire.h"
#include "routes.h"

#define ARENA_MAX ((size_t)1024 * 1024 * 1024) /* parsing takes a small multiple of the body, which is bounded */

static const struct route routes[] = {
    { "GET", "/", 0, handle_greeting },
    { "GET", "/api/ping", 0, handle_ping },
    { "GET", "/api/version", 0, handle_version },
    { "GET", "/api/commands", 0, handle_commands },

    { "POST", "/api/execute", ROUTE_JSON, handle_execute },
    { "POST", "/api/session/create", ROUTE_JSON | ROUTE_JSON_OPTIONAL, handle_session_create },
    { "GET", "/api/session/list", 0, handle_session_list },
    { "POST", "/api/session/delete", ROUTE_JSON, handle_session_delete },

    { "POST", "/api/execute/stream", ROUTE_JSON, handle_execute_stream },
    { "POST", "/api/process/start", ROUTE_JSON, handle_process_start },
    { "GET", "/api/process/list", 0, handle_process_list }, /* before {id} */
    { "DELETE", "/api/process/kill-all", 0, handle_process_kill_all },
    { "GET", "/api/process/{id}", 0, handle_process_get },
    { "DELETE", "/api/process/{id}", 0, handle_process_kill },
    { "GET", "/api/process/{id}/logs", 0, handle_process_logs },
    { "GET", "/api/process/{id}/stream", 0, handle_process_stream },
    { "POST", "/api/process/{id}/signal", ROUTE_JSON, handle_process_signal }, /* ours */
    { "POST", "/api/process/{id}/stdin", ROUTE_JSON, handle_process_stdin },   /* ours */

    { "POST", "/api/read", ROUTE_JSON, handle_read },
    { "POST", "/api/read/stream", ROUTE_JSON, handle_read_stream },
    { "POST", "/api/write", ROUTE_JSON, handle_write },
    { "POST", "/api/delete", ROUTE_JSON, handle_delete },
    { "POST", "/api/rename", ROUTE_JSON, handle_rename },
    { "POST", "/api/move", ROUTE_JSON, handle_move },
    { "POST", "/api/mkdir", ROUTE_JSON, handle_mkdir },
    { "POST", "/api/list-files", ROUTE_JSON, handle_list_files },
    { "POST", "/api/exists", ROUTE_JSON, handle_exists },
    { "POST", "/api/stat", ROUTE_JSON, handle_stat }, /* ours */

    /* Bytes as they are, in a session: what has no form in JSON. */
    { "POST", "/berm/v1/read", ROUTE_JSON, handle_file_get },
    { "PUT", "/berm/v1/write", ROUTE_STREAM, handle_file_put },

    { "POST", "/api/watch", ROUTE_JSON, handle_watch },
    { "POST", "/api/watch/check", ROUTE_JSON, handle_watch_check },
    { "POST", "/api/port-watch", ROUTE_JSON, handle_port_watch },
    { "POST", "/api/git/checkout", ROUTE_JSON, handle_git_checkout },
    { "POST", "/api/backup/create", ROUTE_JSON, handle_backup_create },
    { "POST", "/api/backup/upload-parts", ROUTE_JSON, handle_backup_upload_parts },
    { "POST", "/api/backup/restore", ROUTE_JSON, handle_backup_restore },

    { "GET", "/api/interpreter/health", 0, handle_interpreter_health },
    { "POST", "/api/contexts", ROUTE_JSON, handle_context_create },
    { "GET", "/api/contexts", 0, handle_context_list },
    { "DELETE", "/api/contexts/{id}", 0, handle_context_delete },
    { "POST", "/api/contexts/{id}/interrupt", 0, handle_context_interrupt }, /* Berm's own */
    { "POST", "/api/execute/code", ROUTE_JSON, handle_execute_code },

    { "GET", "/berm/v1/interpreter", ROUTE_INTERNAL, handle_interpreter_stats },
    { "POST", AGENT_CONTEXTS_UNTOLD, ROUTE_INTERNAL, handle_interpreter_untold },
    { "POST", "/berm/v1/configure", ROUTE_JSON | ROUTE_INTERNAL, handle_configure },
    { "POST", "/berm/v1/directories", ROUTE_JSON | ROUTE_INTERNAL, handle_directories },
    { "POST", "/berm/v1/supervise", ROUTE_JSON | ROUTE_INTERNAL, handle_supervise },
    { "POST", "/berm/v1/supervise/input", ROUTE_STREAM | ROUTE_INTERNAL, handle_command_input },
    { "GET", "/berm/v1/logs", ROUTE_INTERNAL, handle_logs },
    { "DELETE", "/berm/v1/logs", ROUTE_INTERNAL, handle_logs_told },
    { "POST", "/berm/v1/signal", ROUTE_JSON | ROUTE_INTERNAL, handle_signal },
    { "POST", "/berm/v1/exec", ROUTE_STREAM | ROUTE_INTERNAL, handle_exec_stream },
    { "POST", "/berm/v1/exec/resize", ROUTE_JSON | ROUTE_INTERNAL, handle_exec_resize },
    { "POST", "/berm/v1/exec/cancel", ROUTE_JSON | ROUTE_INTERNAL, handle_exec_cancel },
    { "GET", "/berm/v1/file", ROUTE_INTERNAL, handle_raw_read },
    { "PUT", "/berm/v1/file", ROUTE_STREAM | ROUTE_INTERNAL, handle_raw_write },
    { "GET", "/berm/v1/archive", ROUTE_INTERNAL, handle_archive_read },
    { "PUT", "/berm/v1/archive", ROUTE_STREAM | ROUTE_INTERNAL, handle_archive_write },

    /* Connections that stay: the routes as messages, a terminal, objects. */
    { "GET", "/ws", ROUTE_UPGRADE, handle_ws },
    { "GET", "/api/ws", ROUTE_UPGRADE, handle_ws },
    { "GET", "/ws/pty", ROUTE_UPGRADE, handle_pty },
    { "GET", "/rpc", ROUTE_UPGRADE, handle_rpc },
};

/* --- look-up --- */

static struct str take_segment(struct str *path)
{
    const char *slash = memchr(path->p, '/', path->n);
    struct str segment = { path->p, slash ? (size_t)(slash - path->p) : path->n };
    size_t used = slash ? segment.n + 1 : segment.n;

    *path = slash ? (struct str){ path->p + used, path->n - used } : (struct str){ NULL, 0 };
    return segment;
}

static bool path_matches(const char *pattern, struct str path)
{
    struct str rest = str_from(pattern);

    if (!strchr(pattern, '{'))
        return str_eq(rest, path);
    /* An absent rest (p == NULL) differs from an empty last segment. */
    while (rest.p && path.p) {
        struct str want = take_segment(&rest);
        struct str have = take_segment(&path);
        if (!str_has_prefix(want, STR("{")) && !str_eq(want, have))
            return false;
    }
    return !rest.p && !path.p;
}

/* The row for a request, or NULL. `upgrade`: it asks for a WebSocket. */
static const struct route *find_route(struct str method, struct str path, bool upgrade)
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        const struct route *route = &routes[i];
        if ((!(route->flags & ROUTE_UPGRADE) || upgrade) && str_is(method, route->method) &&
            path_matches(route->path, path))
            return route;
    }
    return NULL;
}

/* --- an exchange becomes a request --- */

static void on_body(struct http_exchange *ex, struct str piece, void *data)
{
    struct request *rq = data;

    (void)ex;
    if (rq->on_piece)
        rq->on_piece(rq, piece);
}

static void reply_bad_body(struct request *rq, const char *reason)
{
    struct context_item context[] = { CTX_INVALID("validationErrors", "body", reason, "INVALID_JSON") };

    reply_error(rq, AGENT_E_VALIDATION_FAILED, context, 1, "Failed to parse request body: %s", reason);
}

static void handle_with_body(struct request *rq)
{
    struct berm_error err;
    const struct json *body = NULL;

    /* Clients are JavaScript, whose strings may be cut within a character; upstream reads that as U+FFFD, too. */
    if (json_parse_utf16(&rq->arena, http_body(rq->ex), JSON_MAX_DEPTH, &body, &err) < 0 ||
        body->type != JSON_OBJECT) {
        if (!(rq->route->flags & ROUTE_JSON_OPTIONAL)) {
            reply_bad_body(rq, body ? "it must be a JSON object" : err.message);
            return;
        }
        body = NULL;
    }
    rq->body = body;
    rq->route->handle(rq);
}

static void on_body_end(struct http_exchange *ex, void *data)
{
    struct request *rq = data;

    (void)ex;
    if (rq->on_body_end)
        rq->on_body_end(rq);
    else if (rq->route->flags & ROUTE_JSON)
        handle_with_body(rq);
    else if (!(rq->route->flags & ROUTE_STREAM))
        rq->route->handle(rq);
}

static void on_drain(struct http_exchange *ex, void *data)
{
    struct request *rq = data;

    (void)ex;
    if (rq->on_drain)
        rq->on_drain(rq);
}

static void on_close(struct http_exchange *ex, bool complete, void *data)
{
    struct request *rq = data;

    (void)ex;
    rq->ex = NULL;
    if (rq->on_gone)
        rq->on_gone(rq, complete);
    request_unhold(rq);
}

static void respond_error(struct http_exchange *ex, enum agent_code code, int status, const char *message)
{
    struct buf body;

    buf_init(&body, 65536);
    if (error_body(&body, code, status, message, NULL, 0) == 0)
        http_respond(ex, status, "application/json", buf_str(&body));
    else
        http_exchange_abort(ex);
    buf_free(&body);
}

static bool is_websocket(const struct h1_head *head)
{
    return str_eq_nocase(head->upgrade, STR("websocket"));
}

static struct request *new_request(struct agent *agent, struct http_exchange *ex, const struct route *route)
{
    struct request *rq = calloc(1, sizeof(*rq));

    if (!rq)
        return NULL;
    rq->agent = agent;
    rq->ex = ex;
    rq->route = route;
    rq->refs = 1;
    arena_init(&rq->arena, ARENA_MAX);
    return rq;
}

/* False after having answered. */
static bool take_environment(struct agent *agent, struct http_exchange *ex, const struct h1_head *head)
{
    struct str value = h1_header(head, AGENT_ENVIRONMENT_FIELD);

    if (!value.p || http_exchange_listener(ex) != agent->control_listener || configure_by_field(agent, value) == 0)
        return true;
    respond_error(ex, AGENT_E_INTERNAL_ERROR, 503, "Cannot take the environment");
    return false;
}

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    static const struct http_exchange_callbacks piecewise = { on_body, on_body_end, on_drain, on_close };
    static const struct http_exchange_callbacks collected = { NULL, on_body_end, on_drain, on_close };
    struct agent *agent = data;
    const struct route *route = find_route(head->method, head->path, is_websocket(head));
    struct request *rq;

    if (!route || ((route->flags & ROUTE_INTERNAL) && http_exchange_listener(ex) != agent->control_listener)) {
        respond_error(ex, AGENT_E_UNKNOWN_ERROR, 404, "Not Found: there is no such route");
        return;
    }
    if (!take_environment(agent, ex, head))
        return;
    ca_trust_settle(agent);
    rq = new_request(agent, ex, route);
    if (!rq) {
        respond_error(ex, AGENT_E_INTERNAL_ERROR, 500, "Out of memory");
        return;
    }
    http_exchange_set(ex, route->flags & ROUTE_STREAM ? &piecewise : &collected, rq);
    if (route->flags & ROUTE_JSON)
        http_collect_body(ex, BODY_MAX);
    if (route->flags & ROUTE_STREAM)
        route->handle(rq);
}

/* What the server answers itself, in our layout. */
static void fill_error_body(int status, const char *reason, struct buf *body, const char **content_type, void *data)
{
    (void)data;
    if (error_body(body, agent_code_for_status(status), status, reason, NULL, 0) < 0)
        buf_clear(body);
    *content_type = "application/json";
}

struct http_handler router_handler(struct agent *agent)
{
    return (struct http_handler){
        .on_request = on_request,
        .error_body = fill_error_body,
        .extra_headers = "Access-Control-Allow-Origin: *\r\n"
                         "Access-Control-Allow-Methods: GET, POST, PUT, DELETE, OPTIONS\r\n"
                         "Access-Control-Allow-Headers: Content-Type, Authorization, X-Session-Id, X-Sandbox-Id, "
                         "X-Trace-Id\r\n",
        .data = agent,
    };
}
