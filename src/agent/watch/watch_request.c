#include "watch_request.h"

#include "glob.h"

#include <sys/stat.h>

#define WATCH_ROOT   "/workspace"
#define PATTERNS_MAX ((size_t)16 * 1024) /* bytes of all together: each event is held against each of them */

static const char *const default_excludes[] = { ".git", "node_modules", ".DS_Store" };

static bool refuse(struct request *rq, const struct context_item *context, size_t count, const char *message)
{
    reply_error(rq, AGENT_E_VALIDATION_FAILED, context, count, "%s", message);
    return false;
}

static bool refuse_value(struct request *rq, const char *key, const struct json *value, const char *message)
{
    struct context_item context[] = { { .key = key, .type = CONTEXT_JSON, .json = value } };

    return refuse(rq, context, value ? 1 : 0, message);
}

/* --- the path --- */

static struct str trim(struct str s)
{
    while (s.n > 0 && is_blank((struct str){ s.p, 1 }))
        s = (struct str){ s.p + 1, s.n - 1 };
    while (s.n > 0 && is_blank((struct str){ s.p + s.n - 1, 1 }))
        s.n--;
    return s;
}

static size_t put_component(char *out, size_t n, struct str component)
{
    if (component.n == 0 || str_is(component, "."))
        return n;
    if (str_is(component, "..")) {
        while (n > 0 && out[n - 1] != '/')
            n--;
        return n > 0 ? n - 1 : 0;
    }
    out[n++] = '/';
    memcpy(out + n, component.p, component.n);
    return n + component.n;
}

/*
 * "a/../b" as an absolute path without ".", ".." and double slashes, relative ones below WATCH_ROOT, in the
 * arena. NULL without memory.
 */
static char *resolve(struct arena *arena, struct str path)
{
    bool absolute = path.n > 0 && path.p[0] == '/';
    char *out = arena_alloc(arena, path.n + sizeof(WATCH_ROOT) + 2);
    size_t n = 0;

    if (!out)
        return NULL;
    if (!absolute)
        n = put_component(out, n, STR("workspace"));
    for (size_t at = 0; at < path.n;) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        size_t length = slash ? (size_t)(slash - path.p) - at : path.n - at;
        n = put_component(out, n, (struct str){ path.p + at, length });
        at += length + 1;
    }
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return out;
}

static bool check_path(struct request *rq, struct watch_spec *spec)
{
    const struct json *value = json_get(rq->body, "path");
    struct str path = trim(value->string);
    struct stat st;

    if (memchr(path.p, 0, path.n))
        return refuse_value(rq, "path", value, "path must not hold a NUL character");
    spec->path = resolve(&rq->arena, path);
    if (!spec->path) {
        watch_request_failed(rq, value->string.p, "out of memory");
        return false;
    }
    if (strcmp(spec->path, WATCH_ROOT) != 0 && strncmp(spec->path, WATCH_ROOT "/", sizeof(WATCH_ROOT)) != 0) {
        struct context_item context[] = { { .key = "path", .type = CONTEXT_STRING, .string = path },
                                          CTX_STR("resolvedPath", spec->path),
                                          CTX_STR("workspaceRoot", WATCH_ROOT) };
        reply_error(rq, AGENT_E_PERMISSION_DENIED, context, 3, "Only paths in " WATCH_ROOT " can be watched: '%s'",
                    spec->path);
        return false;
    }
    if (stat(spec->path, &st) < 0) {
        struct context_item context[] = { CTX_STR("path", spec->path) };
        reply_error(rq, AGENT_E_FILE_NOT_FOUND, context, 1, "Path not found: %s (it does not exist)", spec->path);
        return false;
    }
    return true;
}

/* --- patterns --- */

static bool is_list_of_strings(const struct json *list)
{
    if (list->type != JSON_ARRAY)
        return false;
    for (size_t i = 0; i < list->array.count; i++)
        if (list->array.items[i].type != JSON_STRING)
            return false;
    return true;
}

static bool check_patterns(struct request *rq, const char *key, const struct json *list)
{
    size_t bytes = 0;

    if (!list)
        return true;
    if (!is_list_of_strings(list))
        return refuse_value(rq, key, list, "include and exclude must be arrays of strings");
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *pattern = &list->array.items[i];
        const char *problem = glob_problem(pattern->string);
        struct context_item context[] = { CTX_JSON("pattern", pattern), CTX_JSON(key, list) };
        bytes += pattern->string.n;
        if (problem) {
            reply_error(rq, AGENT_E_VALIDATION_FAILED, context, 2, "A pattern in %s %s", key, problem);
            return false;
        }
    }
    return bytes <= PATTERNS_MAX || refuse_value(rq, key, list, "the patterns are longer than 16 KiB altogether");
}

/* Null counts as absent. */
static const struct json *member(const struct request *rq, const char *key)
{
    const struct json *value = json_get(rq->body, key);

    return value && value->type != JSON_NULL ? value : NULL;
}

static bool is_filled(const struct json *list)
{
    return list && list->type == JSON_ARRAY && list->array.count > 0;
}

static bool take_patterns(struct request *rq, struct watch_spec *spec)
{
    const struct json *include = member(rq, "include"), *exclude = member(rq, "exclude");
    const struct json *list = is_filled(include) ? include : exclude;

    spec->including = is_filled(include);
    spec->pattern_count = list ? list->array.count : ARRAY_SIZE(default_excludes);
    spec->patterns = arena_calloc(&rq->arena, spec->pattern_count + 1, sizeof(spec->patterns[0]));
    if (!spec->patterns) {
        watch_request_failed(rq, spec->path, "out of memory");
        return false;
    }
    for (size_t i = 0; i < spec->pattern_count; i++)
        spec->patterns[i] = list ? list->array.items[i].string : str_from(default_excludes[i]);
    return true;
}

/* --- events --- */

static bool take_kind(struct watch_spec *spec, struct str name)
{
    for (unsigned i = 0; i < WATCH_KIND_COUNT; i++) {
        if (str_is(name, watch_kind_names[i])) {
            spec->kinds |= 1U << i;
            return true;
        }
    }
    return false;
}

static bool take_kinds(struct request *rq, struct watch_spec *spec)
{
    const struct json *list = member(rq, "events");

    if (!list) {
        spec->kinds = (1U << WATCH_KIND_COUNT) - 1 - (1U << WATCH_ATTRIB);
        return true;
    }
    if (!is_list_of_strings(list))
        return refuse_value(rq, "events", list, "events must be an array of strings");
    for (size_t i = 0; i < list->array.count; i++)
        if (!take_kind(spec, list->array.items[i].string))
            return refuse_value(rq, "events", list, "events holds an unknown kind of event");
    return spec->kinds != 0 || refuse_value(rq, "events", list, "events must not be empty");
}

/* --- together, in the order in which upstream checks --- */

bool watch_request_decode(struct request *rq, struct watch_spec *spec)
{
    const struct json *path = json_get(rq->body, "path");
    const struct json *include = member(rq, "include"), *exclude = member(rq, "exclude");
    const struct json *recursive = member(rq, "recursive");

    *spec = (struct watch_spec){ .recursive = true };
    if (!path || path->type != JSON_STRING || is_blank(path->string))
        return refuse_value(rq, "path", path, "path is required and must be a non-empty string");
    if (is_filled(include) && is_filled(exclude)) {
        struct context_item context[] = { CTX_JSON("include", include), CTX_JSON("exclude", exclude) };
        return refuse(rq, context, 2, "include and exclude cannot be used together");
    }
    if (!check_patterns(rq, "include", include) || !check_patterns(rq, "exclude", exclude))
        return false;
    if (recursive && recursive->type != JSON_BOOL)
        return refuse_value(rq, "recursive", recursive, "recursive must be a boolean");
    if (recursive)
        spec->recursive = recursive->boolean;
    return take_kinds(rq, spec) && check_path(rq, spec) && take_patterns(rq, spec);
}

void watch_request_failed(struct request *rq, const char *path, const char *reason)
{
    struct context_item context[] = { CTX_STR("path", path) };

    reply_error(rq, AGENT_E_WATCH_START_ERROR, context, 1, "Cannot watch '%s': %s", path, reason);
}
