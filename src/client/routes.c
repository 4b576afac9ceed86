/* routes.c - previews and tunnels. */
#include "internal.h"

#include <stdio.h>

struct route_list {
    struct berm_route_list public;
    struct arena arena;
    const char *key; /* of the array; NULL: the answer is one route */
};

/* --- reading --- */

static int take_route(const struct json *object, struct berm_route *route, struct berm_error *err)
{
    int64_t port = 0;

    if (json_field_int(object, "port", 1, 65535, &port, err) < 0 ||
        json_field_cstring(object, "url", &route->url, err) < 0 ||
        json_field_cstring(object, "name", &route->name, err) < 0 ||
        json_field_cstring(object, "token", &route->token, err) < 0 ||
        json_field_cstring(object, "path", &route->path, err) < 0 ||
        json_field_cstring(object, "expiresAt", &route->expires_at, err) < 0 ||
        json_field_cstring(object, "id", &route->id, err) < 0 ||
        json_field_cstring(object, "hostname", &route->hostname, err) < 0 ||
        json_field_cstring(object, "createdAt", &route->created_at, err) < 0)
        return -1;
    if (!port || !route->url)
        return berm_fail(err, BERM_E_PROTOCOL, 0, "a route without \"port\" or \"url\"");
    route->port = (uint16_t)port;
    return 0;
}

static int take_routes(void *data, const struct json *answer, struct berm_error *err)
{
    struct route_list *list = data;
    const struct json *array = NULL;
    struct berm_route *items;
    size_t count = 1;

    if (list->key && json_field_array(answer, list->key, &array, err) < 0)
        return -1;
    if (list->key && !array)
        return berm_fail(err, BERM_E_PROTOCOL, 0, "no \"%s\"", list->key);
    if (array)
        count = array->array.count;
    items = arena_calloc(&list->arena, count + 1, sizeof(*items));
    if (!items)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "routes");
    for (size_t i = 0; i < count; i++)
        if (take_route(array ? &array->array.items[i] : answer, &items[i], err) < 0)
            return -1;
    list->public.items = items;
    list->public.count = count;
    return 0;
}

static struct route_list *list_new(const char *key)
{
    struct route_list *list = calloc(1, sizeof(*list));

    if (!list)
        return NULL;
    arena_init(&list->arena, ARENA_MAX);
    list->key = key;
    return list;
}

void berm_route_list_free(struct berm_route_list *public)
{
    struct route_list *list = public ? container_of(public, struct route_list, public) : NULL;

    if (!list)
        return;
    arena_free(&list->arena);
    free(list);
}

/* --- the calls --- */

static int get_list(struct berm_client *client, const char *id, const char *rest, const char *key,
                    struct berm_route_list **ret_list, struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, rest, problem);
    struct route_list *list;

    if (!target)
        return -1;
    list = list_new(key);
    if (!list)
        return problem_memory(problem);
    if (transfer_list(client, target, &list->arena, take_routes, list, &list->public.json, problem) < 0) {
        berm_route_list_free(&list->public);
        return -1;
    }
    *ret_list = &list->public;
    return 0;
}

/* POSTs the document; its answer is one route. */
static int post_one(struct berm_client *client, const char *target, struct json_writer *w,
                    struct berm_route_list **ret_list, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("POST", target);
    struct route_list *list;
    const struct json *answer;
    struct berm_error err;
    int rc;

    if (json_writer_finish(w) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the request is too long");
    list = list_new(NULL);
    if (!list)
        return problem_memory(problem);
    rc = transfer_json(client, &t, w->out, &list->arena, &answer, problem);
    if (rc == 0 && take_routes(list, answer, &err) < 0)
        rc = problem_protocol(problem, &err);
    if (rc == 0 && !(list->public.json = arena_strdup(&list->arena, buf_str(&t.answer))))
        rc = problem_memory(problem);
    if (rc < 0)
        berm_route_list_free(&list->public);
    else
        *ret_list = &list->public;
    return rc;
}

static int delete_port(struct berm_client *client, const char *id, const char *what, uint16_t port,
                       struct berm_problem *problem)
{
    _cleanup_free_ char *target = NULL;
    char rest[32];

    snprintf(rest, sizeof(rest), "/%s/%u", what, port);
    target = sandbox_target(id, rest, problem);
    if (!target)
        return -1;

    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("DELETE", target);
    return transfer_json(client, &t, NULL, NULL, NULL, problem);
}

int berm_port_expose(struct berm_client *client, const char *id, const struct berm_expose *options,
                     struct berm_route_list **ret_list, struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, "/ports", problem);
    _cleanup_(buf_free) struct buf request;
    struct json_writer w;

    buf_init(&request, 64 * 1024);
    if (!target)
        return -1;
    json_writer_init(&w, &request);
    json_object_begin(&w);
    json_pair_int(&w, "port", options->port);
    if (options->name)
        json_pair_cstring(&w, "name", options->name);
    if (options->token)
        json_pair_cstring(&w, "token", options->token);
    if (options->expires_in_s)
        json_pair_int(&w, "expiresIn", options->expires_in_s);
    json_object_end(&w);
    return post_one(client, target, &w, ret_list, problem);
}

int berm_port_list(struct berm_client *client, const char *id, struct berm_route_list **ret_list,
                   struct berm_problem *problem)
{
    return get_list(client, id, "/ports", "ports", ret_list, problem);
}

int berm_port_unexpose(struct berm_client *client, const char *id, uint16_t port, struct berm_problem *problem)
{
    return delete_port(client, id, "ports", port, problem);
}

int berm_tunnel_get(struct berm_client *client, const char *id, uint16_t port, const char *name,
                    struct berm_route_list **ret_list, struct berm_problem *problem)
{
    _cleanup_free_ char *target = NULL;
    _cleanup_(buf_free) struct buf request;
    struct json_writer w;
    char rest[32];

    buf_init(&request, 64 * 1024);
    snprintf(rest, sizeof(rest), "/tunnel/%u", port);
    target = sandbox_target(id, rest, problem);
    if (!target)
        return -1;
    json_writer_init(&w, &request);
    json_object_begin(&w);
    if (name)
        json_pair_cstring(&w, "name", name);
    json_object_end(&w);
    return post_one(client, target, &w, ret_list, problem);
}

int berm_tunnel_list(struct berm_client *client, const char *id, struct berm_route_list **ret_list,
                     struct berm_problem *problem)
{
    return get_list(client, id, "/tunnels", "tunnels", ret_list, problem);
}

int berm_tunnel_destroy(struct berm_client *client, const char *id, uint16_t port, struct berm_problem *problem)
{
    return delete_port(client, id, "tunnel", port, problem);
}
