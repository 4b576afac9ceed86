/* routes.c - which call is whose, and what all handlers share. */
#include "base/log.h"
#include "daemon/docker/engine.h"

#include <stdarg.h>

struct docker_route {
    const char *method;
    const char *pattern; /* after the version: ":x" one segment, "*" the rest */
    void (*handler)(struct request *request);
};

/* clang-format off */
static const struct docker_route routes[] = {
    { "GET",    "/_ping",                     docker_ping },
    { "GET",    "/version",                   docker_version },
    { "GET",    "/info",                      docker_info },
    { "GET",    "/events",                    docker_events },
    { "GET",    "/networks",                  docker_networks },
    { "GET",    "/networks/:name",            docker_network },
    { "GET",    "/volumes",                   docker_volume_list },
    { "POST",   "/volumes/create",            docker_volume_create },
    { "POST",   "/volumes/prune",             docker_volume_prune },
    { "GET",    "/volumes/:name",             docker_volume_inspect },
    { "DELETE", "/volumes/:name",             docker_volume_delete },

    { "GET",    "/containers/json",           docker_list },
    { "POST",   "/containers/create",         docker_create },
    { "GET",    "/containers/:name/json",     docker_inspect },
    { "POST",   "/containers/:name/start",    docker_start },
    { "POST",   "/containers/:name/stop",     docker_stop },
    { "POST",   "/containers/:name/kill",     docker_kill },
    { "POST",   "/containers/:name/wait",     docker_wait },
    { "DELETE", "/containers/:name",          docker_remove },
    { "GET",    "/containers/:name/logs",     docker_logs },
    { "POST",   "/containers/:name/attach",   docker_attach },
    { "POST",   "/containers/:name/resize",   docker_resize },
    { "GET",    "/containers/:name/stats",    docker_stats },
    { "GET",    "/containers/:name/archive",  docker_archive_get },
    { "PUT",    "/containers/:name/archive",  docker_archive_put },
    { "GET",    "/containers/:name/export",   docker_export },
    { "POST",   "/containers/:name/exec",     docker_exec_create },
    { "POST",   "/exec/:id/start",            docker_exec_start },
    { "GET",    "/exec/:id/json",             docker_exec_inspect },
    { "POST",   "/exec/:id/resize",           docker_exec_resize },

    { "GET",    "/images/json",               docker_image_list },
    { "POST",   "/images/create",             docker_image_create },
    { "GET",    "/images/*",                  docker_image_get },
    { "POST",   "/images/*",                  docker_image_post },
    { "DELETE", "/images/*",                  docker_image_delete },
    { "POST",   "/commit",                    docker_commit },
};
/* clang-format on */

/* --- errors --- */

static void write_error(struct json_writer *w, const struct berm_error *err)
{
    json_object_begin(w);
    json_pair_cstring(w, "message", err->message);
    json_object_end(w);
}

void docker_fail(struct request *request, int status, const char *format, ...)
{
    struct berm_error err = { .code = BERM_E_INVALID_REQUEST };
    va_list args;

    va_start(args, format);
    vsnprintf(err.message, sizeof(err.message), format, args);
    va_end(args);
    request_fail_status(request, status, &err);
}

void docker_fail_error(struct request *request, const struct berm_error *err)
{
    request_fail(request, err);
}

/* --- input --- */

struct docker *docker_of(const struct request *request)
{
    return request->daemon->docker;
}

struct container *docker_container(struct request *request)
{
    char name[DOCKER_NAME_MAX + 2];
    struct container *container = NULL;

    if (percent_decode(request->param, name, sizeof(name)) == 0)
        container = container_find(docker_of(request), str_from(name));
    if (!container)
        docker_fail(request, 404, "No such container: %.*s", (int)MIN(request->param.n, (size_t)DOCKER_NAME_MAX),
                    request->param.p);
    return container;
}

bool docker_query_flag(struct request *request, const char *name)
{
    struct str value;

    return query_get(request->head->query, name, &value) && value.n > 0 && !str_is(value, "0") &&
           !str_eq_nocase(value, STR("false")) && !str_eq_nocase(value, STR("no"));
}

void docker_read_json(struct request *request, void (*next)(struct request *request))
{
    request_collect_body(request, DOCKER_BODY_MAX, next);
}

const struct json *docker_body(struct request *request)
{
    static const struct json empty = { .type = JSON_OBJECT };
    const struct json *body = NULL;
    struct berm_error err;

    if (http_body(request->exchange).n == 0)
        return &empty;
    if (json_parse(&request->arena, http_body(request->exchange), 32, &body, &err) < 0) {
        docker_fail(request, 400, "invalid JSON: %s", err.message);
        return NULL;
    }
    if (body->type == JSON_OBJECT)
        return body;
    docker_fail(request, 400, "the body must be a JSON object");
    return NULL;
}

/* --- filters --- */

static bool filter_shape_ok(const struct json *json)
{
    if (json->type != JSON_OBJECT)
        return false;
    for (size_t i = 0; i < json->object.count; i++) {
        const struct json *values = &json->object.members[i].value;

        if (values->type == JSON_OBJECT)
            continue;
        if (values->type != JSON_ARRAY)
            return false;
        for (size_t k = 0; k < values->array.count; k++)
            if (values->array.items[k].type != JSON_STRING)
                return false;
    }
    return true;
}

static bool name_known(struct str name, const char *const *names)
{
    while (*names && !str_is(name, *names))
        names++;
    return *names != NULL;
}

int docker_filters(struct request *request, const char *const *names, struct docker_filters *ret)
{
    const char *text = NULL;

    ret->json = NULL;
    if (request_query(request, "filters", &text) < 0)
        return -1;
    if (!text || !text[0])
        return 0;
    if (json_parse(&request->arena, str_from(text), 8, &ret->json, NULL) < 0 || !filter_shape_ok(ret->json)) {
        docker_fail(request, 400, "invalid filters");
        return -1;
    }
    for (size_t i = 0; i < ret->json->object.count; i++) {
        struct str name = ret->json->object.members[i].key;

        if (name_known(name, names))
            continue;
        docker_fail(request, 400, "invalid filter '%.*s'", (int)MIN(name.n, (size_t)64), name.p);
        return -1;
    }
    return 0;
}

/* {"label":["a"]} and the older {"label":{"a":true}}. */
size_t docker_filter_count(const struct json *values)
{
    return values->type == JSON_ARRAY ? values->array.count : values->object.count;
}

struct str docker_filter_value(const struct json *values, size_t i)
{
    return values->type == JSON_ARRAY ? values->array.items[i].string : values->object.members[i].key;
}

static size_t count_matches(const struct json *values, bool (*match)(const void *subject, struct str value),
                            const void *subject)
{
    size_t matches = 0;

    for (size_t i = 0; i < docker_filter_count(values); i++)
        matches += match(subject, docker_filter_value(values, i));
    return matches;
}

bool docker_filter_any(const struct docker_filters *filters, const char *name,
                       bool (*match)(const void *subject, struct str value), const void *subject)
{
    const struct json *values = json_get(filters->json, name);

    return !values || docker_filter_count(values) == 0 || count_matches(values, match, subject) > 0;
}

bool docker_filter_all(const struct docker_filters *filters, const char *name,
                       bool (*match)(const void *subject, struct str value), const void *subject)
{
    const struct json *values = json_get(filters->json, name);

    return !values || count_matches(values, match, subject) == docker_filter_count(values);
}

bool docker_label_matches(const char *labels, struct str wanted)
{
    const char *equals = wanted.n ? memchr(wanted.p, '=', wanted.n) : NULL;
    struct str key = { wanted.p, equals ? (size_t)(equals - wanted.p) : wanted.n };
    const struct json *object = NULL;
    struct arena arena;
    bool found = false;

    arena_init(&arena, 64 * DOCKER_BODY_MAX);
    if (json_parse(&arena, str_from(labels), 4, &object, NULL) == 0 && object->type == JSON_OBJECT)
        for (size_t i = 0; i < object->object.count && !found; i++) {
            const struct json_member *member = &object->object.members[i];

            found = str_eq(member->key, key) &&
                    (!equals || (member->value.type == JSON_STRING &&
                                 str_eq(member->value.string, (struct str){ equals + 1, wanted.n - key.n - 1 })));
        }
    arena_free(&arena);
    return found;
}

/* --- dispatch --- */

/* "/v1.43/containers/json": clients may ask for any version there was; the answers are those of ours. */
static struct str without_version(struct str path)
{
    size_t i = 2;

    if (!str_has_prefix(path, STR("/v")))
        return path;
    while (i < path.n && ((path.p[i] >= '0' && path.p[i] <= '9') || path.p[i] == '.'))
        i++;
    if (i == 2 || i == path.n || path.p[i] != '/')
        return path;
    return (struct str){ path.p + i, path.n - i };
}

static bool method_fits(const char *wanted, struct str method)
{
    return str_is(method, wanted) || (str_is(method, "HEAD") && !strcmp(wanted, "GET"));
}

static const struct docker_route *find_route(struct request *request, struct str path)
{
    struct str params[2] = { { "", 0 }, { "", 0 } };

    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (!method_fits(routes[i].method, request->head->method) ||
            !route_match(routes[i].pattern, path, params, &request->rest))
            continue;
        request->param = params[0];
        return &routes[i];
    }
    return NULL;
}

/* Before it is known what runs, no container's state can be told. */
static void after_adoption(struct request *request)
{
    const struct docker_route *route = find_route(request, without_version(request->head->path));

    http_body_resume(request->exchange);
    if (route)
        route->handler(request);
}

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct docker *docker = data;
    struct request *request = request_new(docker->daemon, exchange, head);
    const struct docker_route *route;

    if (!request) {
        http_respond(exchange, 500, NULL, STR("out of memory\n"));
        return;
    }
    request->write_error = write_error;
    request->route_index = api_route_docker();
    log_debug("docker.request", "method", arena_strdup(&request->arena, head->method), "target",
              arena_strdup(&request->arena, head->target));
    route = find_route(request, without_version(head->path));
    if (!route) {
        docker_fail(request, 501, "berm does not implement %.*s %.*s", (int)MIN(head->method.n, (size_t)16),
                    head->method.p, (int)MIN(head->path.n, (size_t)160), head->path.p);
    } else if (docker->daemon->adopted) {
        route->handler(request);
    } else {
        http_body_pause(exchange);
        request_need_adoption(request, after_adoption);
    }
}

static void error_body(int status, const char *reason, struct buf *body, const char **content_type, void *data)
{
    struct json_writer w;

    (void)status, (void)data;
    json_writer_init(&w, body);
    json_object_begin(&w);
    json_pair_cstring(&w, "message", reason);
    json_object_end(&w);
    json_writer_finish(&w);
    *content_type = "application/json";
}

const struct http_handler docker_handler = { .on_request = on_request, .error_body = error_body };
