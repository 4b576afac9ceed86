/* docs/openapi.json against the route table: each has what the other has. */
#include "daemon/api/request.h"
#include "openapi_text.h"
#include "unit.h"

static const char *const methods[] = { "get", "head", "post", "put", "patch", "delete", "options" };

static struct arena arena;
static const struct json *paths;

static int set_up(void **state)
{
    struct str text = { (const char *)openapi_json, sizeof(openapi_json) - 1 };
    const struct json *document;
    struct berm_error err;

    (void)state;
    arena_init(&arena, 64 << 20);
    if (json_parse(&arena, text, 64, &document, &err) < 0)
        fail_msg("%s", err.message);
    paths = json_get(document, "paths");
    return paths ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* "/a/:id/x" and "/a/{id}/x"; "*" is a last parameter of any name. */
static bool same_path(const char *pattern, struct str path)
{
    char text[256];
    size_t n = 0;

    for (const char *c = pattern; *c; c++) {
        const char *open;

        if (*c != ':' && *c != '*') {
            text[n++] = *c;
            continue;
        }
        if (*c == '*') {
            open = memrchr(path.p, '{', path.n);
            return open && (size_t)(open - path.p) == n && !memcmp(path.p, text, n);
        }
        text[n++] = '{';
        for (; c[1] && c[1] != '/'; c++)
            text[n++] = c[1];
        text[n++] = '}';
    }
    return str_eq(path, (struct str){ text, n });
}

static bool same_method(const struct route *route, const char *method)
{
    return !route->method || !strcasecmp(route->method, method);
}

static bool documented(const struct route *route, const char *method)
{
    for (size_t i = 0; i < paths->object.count; i++)
        if (same_path(route->pattern, paths->object.members[i].key) &&
            json_get(&paths->object.members[i].value, method))
            return true;
    return false;
}

static void every_route_is_in_the_document(void **state)
{
    (void)state;
    assert_true(api_route_none() > 50);
    for (size_t i = 0; i < api_route_none(); i++)
        for (size_t m = 0; m < ARRAY_SIZE(methods); m++)
            if (same_method(api_route(i), methods[m]) && !documented(api_route(i), methods[m]))
                fail_msg("docs/openapi.json does not have %s %s", methods[m], api_route(i)->pattern);
}

static bool routed(struct str path, struct str method)
{
    char name[16];

    snprintf(name, sizeof(name), "%.*s", (int)method.n, method.p);
    for (size_t i = 0; i < api_route_none(); i++)
        if (same_path(api_route(i)->pattern, path) && same_method(api_route(i), name))
            return true;
    return false;
}

static void every_operation_of_the_document_has_a_route(void **state)
{
    (void)state;
    for (size_t i = 0; i < paths->object.count; i++) {
        const struct json_member *path = &paths->object.members[i];

        assert_true(path->value.object.count > 0);
        for (size_t m = 0; m < path->value.object.count; m++)
            if (!routed(path->key, path->value.object.members[m].key))
                fail_msg("no route for %s %.*s", path->value.object.members[m].key.p, (int)path->key.n,
                         path->key.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_document),
        cmocka_unit_test(every_operation_of_the_document_has_a_route),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
