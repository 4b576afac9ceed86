#include "daemon/edge/desk.h"

#include "base/desk.h"
#include "base/json.h"
#include "base/sys.h"
#include "daemon/edge/name.h"
#include "daemon/edge/routes.h"
#include "daemon/link/connector.h"
#include "daemon/sandbox_egress.h"

#define CONNECTIONS_MAX 8
#define BODY_MAX        ((size_t)4096)
#define ANSWER_MAX      ((size_t)4096)
#define ARENA_MAX       ((size_t)32 << 10)
#define BURST           128 /* requests at once */
#define PER_SECOND      16  /* and then */

struct desk {
    struct sandbox *sandbox;
    struct http_server *server;
    struct list waits; /* struct asking, of /tunnels/wait */
    unsigned allowance;
    uint64_t refilled_ms;
};

struct asking {
    struct desk *desk;
    struct http_exchange *exchange;
    struct list node; /* in desk->waits */
    struct arena arena;
    const struct json *ids;  /* of what it waits for, in the arena */
    uint16_t port;           /* of PUT */
    struct tunnel_wait wait; /* likewise */
};

/* --- answers --- */

static void fail(struct asking *asking, int status, const char *code, const char *message)
{
    struct json_writer w;
    struct buf body;

    buf_init(&body, ANSWER_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_cstring(&w, "error", message);
    json_pair_cstring(&w, "code", code);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        buf_clear(&body);
    http_respond(asking->exchange, status, "application/json", buf_str(&body));
    buf_free(&body);
}

static void fail_with(struct asking *asking, const struct berm_error *err)
{
    fail(asking, berm_err_status(err->code), berm_err_wire(err->code), err->message);
}

static void respond(struct asking *asking, struct json_writer *w)
{
    if (json_writer_finish(w) == 0)
        http_respond(asking->exchange, 200, "application/json", buf_str(w->out));
    else
        fail(asking, 500, "system", "out of memory");
    buf_free(w->out);
}

/* --- tunnels --- */

static struct edge *the_edge(const struct asking *asking)
{
    return asking->desk->sandbox->daemon->edge;
}

static struct edge_route *find(const struct asking *asking, struct str id)
{
    return edge_find_tunnel_id(the_edge(asking), str_from(asking->desk->sandbox->row.id), id);
}

static void answer_open(struct asking *asking, const struct edge_route *route, const struct berm_error *err)
{
    struct json_writer w;
    struct buf answer;

    if (!route && err->errnum == ENOENT) {
        fail(asking, 502, DESK_NO_CLOUDFLARED, err->message);
        return;
    }
    if (!route) {
        fail_with(asking, err);
        return;
    }
    buf_init(&answer, ANSWER_MAX);
    json_writer_init(&w, &answer);
    edge_write_tunnel(&w, the_edge(asking), route);
    respond(asking, &w);
}

static void on_opened(struct tunnel_wait *wait, const struct edge_route *route, const struct berm_error *err)
{
    answer_open(container_of(wait, struct asking, wait), route, err);
}

static void open_tunnel(struct asking *asking, const struct json *body)
{
    const struct sandbox *sandbox = asking->desk->sandbox;
    struct edge_wish wish = { .sandbox = str_from(sandbox->row.id),
                              .generation = sandbox->row.generation,
                              .port = asking->port };
    struct edge_route *route = NULL;
    struct berm_error err;
    int rc;

    if (!strcmp(sandbox->daemon->config.edge_tunnels, "cloudflared")) {
        fail(asking, 501, "cloudflared", "tunnels are cloudflared's");
        return;
    }
    if (json_field_cstring(body, "id", &wish.id, &err) < 0) {
        fail_with(asking, &err);
        return;
    }
    asking->wait.done = on_opened;
    rc = connector_open_tunnel(sandbox->daemon->connector, the_edge(asking), &wish, &asking->wait, &route, &err);
    if (rc <= 0)
        answer_open(asking, rc < 0 ? NULL : route, &err);
    else
        http_watch_disconnect(asking->exchange);
}

static void check_and_open(struct asking *asking, const struct json *body)
{
    const struct json *id = json_get(body, "id");

    if (id && id->type == JSON_STRING && desk_id_valid(id->string))
        open_tunnel(asking, body);
    else
        fail(asking, 400, "invalid_request", "id must be 1 to 31 of A-Z, a-z, 0-9, _ and -");
}

static void close_tunnel(struct asking *asking, struct str id)
{
    struct edge_route *route = find(asking, id);
    struct berm_error err;

    /* A named one is its client's, who has not asked for it here. */
    if (route && route->row.kind == EDGE_QUICK && edge_remove(the_edge(asking), route, &err) < 0)
        fail_with(asking, &err);
    else
        http_respond(asking->exchange, 204, NULL, STR(""));
}

/* --- waiting --- */

static void tell_gone(struct asking *asking, struct str id)
{
    struct json_writer w;
    struct buf answer;

    list_remove(&asking->node);
    buf_init(&answer, ANSWER_MAX);
    json_writer_init(&w, &answer);
    json_object_begin(&w);
    json_key(&w, "gone");
    json_array_begin(&w);
    json_string(&w, id);
    json_array_end(&w);
    json_object_end(&w);
    respond(asking, &w);
}

static bool ids_valid(const struct json *ids)
{
    if (!ids || ids->type != JSON_ARRAY || ids->array.count == 0 || ids->array.count > DESK_TUNNELS_MAX)
        return false;
    for (size_t i = 0; i < ids->array.count; i++)
        if (ids->array.items[i].type != JSON_STRING || !desk_id_valid(ids->array.items[i].string))
            return false;
    return true;
}

static void wait_for_end(struct asking *asking, const struct json *body)
{
    const struct json *ids = json_get(body, "ids");

    if (!ids_valid(ids)) {
        fail(asking, 400, "invalid_request", "ids must be a list of 1 to 64 ids");
        return;
    }
    asking->ids = ids;
    list_append(&asking->desk->waits, &asking->node);
    http_watch_disconnect(asking->exchange);
    for (size_t i = 0; i < ids->array.count; i++)
        if (!find(asking, ids->array.items[i].string)) {
            tell_gone(asking, ids->array.items[i].string);
            return;
        }
}

void desk_tunnel_gone(struct desk *desk, const char *id)
{
    struct list *next;

    for (struct list *node = desk ? desk->waits.next : NULL; node && node != &desk->waits; node = next) {
        struct asking *asking = container_of(node, struct asking, node);

        next = node->next;
        for (size_t i = 0; i < asking->ids->array.count; i++)
            if (str_is(asking->ids->array.items[i].string, id)) {
                tell_gone(asking, asking->ids->array.items[i].string);
                break;
            }
    }
}

/* --- requests --- */

static void on_close(struct http_exchange *exchange, bool complete, void *data)
{
    struct asking *asking = data;

    (void)exchange;
    (void)complete;
    list_remove(&asking->node);
    list_remove(&asking->wait.node);
    arena_free(&asking->arena);
    free(asking);
}

static void on_body_end(struct http_exchange *exchange, void *data)
{
    struct asking *asking = data;
    const struct json *body = NULL;
    struct berm_error err;

    if (json_parse(&asking->arena, http_body(exchange), 4, &body, &err) < 0)
        fail_with(asking, &err);
    else if (asking->port)
        check_and_open(asking, body);
    else
        wait_for_end(asking, body);
}

static struct asking *asking_new(struct desk *desk, struct http_exchange *exchange)
{
    static const struct http_exchange_callbacks callbacks = { .on_body_end = on_body_end, .on_close = on_close };
    struct asking *asking = calloc(1, sizeof(*asking));

    if (!asking)
        return NULL;
    asking->desk = desk;
    asking->exchange = exchange;
    arena_init(&asking->arena, ARENA_MAX);
    http_exchange_set(exchange, &callbacks, asking);
    return asking;
}

static bool within_rate(struct desk *desk)
{
    uint64_t now = loop_now_ms(desk->sandbox->daemon->loop), due = (now - desk->refilled_ms) * PER_SECOND / 1000;

    if (due > 0) {
        desk->allowance = (unsigned)MIN(desk->allowance + due, (uint64_t)BURST);
        desk->refilled_ms = now;
    }
    if (desk->allowance == 0)
        return false;
    desk->allowance--;
    return true;
}

/* What a path is about behind "/tunnels/"; n == 0: nothing. */
static struct str subject(const struct h1_head *head)
{
    static const struct str lead = { "/tunnels/", 9 };

    return str_has_prefix(head->path, lead) ? (struct str){ head->path.p + lead.n, head->path.n - lead.n }
                                            : (struct str){ "", 0 };
}

static void route(struct asking *asking, const struct h1_head *head)
{
    struct str what = subject(head);
    uint64_t port;

    if (str_is(head->method, "PUT") && str_to_u64(what, &port) == 0) {
        if (port > EDGE_PORT_MAX || !edge_port_valid((int64_t)port)) {
            fail(asking, 400, "invalid_request", "the port must be 1024 to 65535, and not 3000");
            return;
        }
        asking->port = (uint16_t)port;
        http_collect_body(asking->exchange, BODY_MAX);
    } else if (str_is(head->method, "POST") && str_is(what, "wait")) {
        http_collect_body(asking->exchange, BODY_MAX);
    } else if (str_is(head->method, "DELETE") && desk_id_valid(what)) {
        close_tunnel(asking, what);
    } else {
        fail(asking, 404, "not_found", "there is nothing else here than tunnels");
    }
}

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct desk *desk = data;
    struct asking *asking = asking_new(desk, exchange);

    if (!asking)
        http_exchange_abort(exchange);
    else if (!within_rate(desk))
        fail(asking, 429, "too_many_requests", "slower");
    else
        route(asking, head);
}

/* --- life --- */

static struct desk *desk_new(struct sandbox *sandbox)
{
    struct http_handler handler = { .on_request = on_request };
    struct desk *desk = calloc(1, sizeof(*desk));
    struct http_limits limits;

    if (!desk)
        return NULL;
    http_limits_default(&limits);
    limits.max_head = 4096;
    limits.max_body = BODY_MAX;
    limits.max_connections = CONNECTIONS_MAX;
    handler.data = desk;
    desk->server = http_server_new(sandbox->daemon->loop, &limits, &handler);
    if (!desk->server) {
        free(desk);
        return NULL;
    }
    desk->sandbox = sandbox;
    desk->allowance = BURST;
    desk->refilled_ms = loop_now_ms(sandbox->daemon->loop);
    list_init(&desk->waits);
    return desk;
}

void desk_take(int fd, void *data)
{
    struct sandbox *sandbox = data;

    if (!sandbox->instance.desk)
        sandbox->instance.desk = desk_new(sandbox);
    if (!sandbox->instance.desk)
        close(fd);
    else
        (void)http_server_adopt_connection(sandbox->instance.desk->server, fd); /* or closes it: too many */
}

void desk_free(struct desk *desk)
{
    if (!desk)
        return;
    http_server_free(desk->server);
    free(desk);
}
