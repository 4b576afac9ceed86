/*
 * mounts.c - POST /v1/sandbox/{id}/mount and /unmount: the bridge's checks in its order and words, then its
 * failure: there are no buckets yet. Nothing is made or started for that.
 */
#include "daemon/api/api.h"

static void refuse(struct request *request, const char *field, const char *message)
{
    struct berm_error err;

    berm_fail_field(&err, field, "%s", message);
    request_fail(request, &err);
}

static bool is_text(const struct json *value)
{
    return value && value->type == JSON_STRING && value->string.n > 0;
}

static bool is_type(const struct json *value, enum json_type type)
{
    return !value || value->type == type;
}

static bool is_list_of_texts(const struct json *value)
{
    if (!value)
        return true;
    if (value->type != JSON_ARRAY)
        return false;
    for (size_t i = 0; i < value->array.count; i++)
        if (value->array.items[i].type != JSON_STRING)
            return false;
    return true;
}

static bool are_credentials(const struct json *value)
{
    return !value || (is_text(json_get(value, "accessKeyId")) && is_text(json_get(value, "secretAccessKey")));
}

/* A check that failed: what is said about which field. */
struct complaint {
    bool wrong;
    const char *field, *message;
};

/* True: the first that is wrong has been answered. */
static bool complain(struct request *request, const struct complaint *complaints, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!complaints[i].wrong)
            continue;
        refuse(request, complaints[i].field, complaints[i].message);
        return true;
    }
    return false;
}

/* The body as an object and its mountPath. NULL: answered. */
static const struct json *take_body(struct request *request)
{
    const struct json *body;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return NULL;
    if (body && body->type == JSON_OBJECT)
        return body;
    berm_fail(&err, BERM_E_INVALID_REQUEST, 0, "it is not an object");
    request_fail_json(request, &err);
    return NULL;
}

static void on_mount_body(struct request *request)
{
    const struct json *body = take_body(request), *bucket = json_get(body, "bucket"),
                      *binding = json_get(body, "binding"), *path = json_get(body, "mountPath"),
                      *options = json_get(body, "options"), *endpoint = json_get(options, "endpoint");
    const struct complaint complaints[] = {
        { bucket && !is_text(bucket), "bucket", "bucket must be a non-empty string" },
        { !is_text(path), "mountPath", "mountPath must be a non-empty string" },
        { is_text(path) && path->string.p[0] != '/', "mountPath",
          "mountPath must be an absolute path (start with /)" },
        { !is_type(options, JSON_OBJECT), "options", "options must be an object" },
        { !is_type(endpoint, JSON_STRING), "options.endpoint", "options.endpoint must be a string when provided" },
        { !is_type(binding, JSON_STRING), "binding", "binding must be a string when provided" },
        { binding && !is_text(binding), "binding", "binding must be a non-empty string when provided" },
        { binding && endpoint, "binding", "Provide either binding or options.endpoint, not both" },
        { !is_list_of_texts(json_get(options, "s3fsOptions")), "options.s3fsOptions",
          "options.s3fsOptions must be an array of strings when provided" },
        { !is_type(json_get(options, "readOnly"), JSON_BOOL), "options.readOnly",
          "options.readOnly must be a boolean when provided" },
        { !is_type(json_get(options, "prefix"), JSON_STRING), "options.prefix",
          "options.prefix must be a string when provided" },
        { !is_type(json_get(options, "credentialProxy"), JSON_BOOL), "options.credentialProxy",
          "options.credentialProxy must be a boolean when provided" },
        { !are_credentials(json_get(options, "credentials")), "options.credentials",
          "options.credentials must include string accessKeyId and secretAccessKey" },
        { endpoint && !bucket, "bucket", "bucket must be a non-empty string for remote mounts" },
        { !endpoint && !binding, "binding", "binding must be a non-empty string for R2 binding mounts" },
    };

    if (body && !complain(request, complaints, ARRAY_SIZE(complaints)))
        request_fail_with(request, BERM_E_MOUNT_ERROR,
                          "mount failed: buckets are not available in this version of Berm");
}

/* "/", "//.", "/a/..": whatever comes down to the root. */
static bool is_root(struct str path)
{
    size_t depth = 0, at = 0;

    while (at < path.n) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        struct str part = { path.p + at, slash ? (size_t)(slash - path.p) - at : path.n - at };

        at += part.n + 1;
        if (str_is(part, ".."))
            depth -= depth > 0;
        else
            depth += part.n > 0 && !str_is(part, ".");
    }
    return depth == 0;
}

static void on_unmount_body(struct request *request)
{
    const struct json *body = take_body(request), *path = json_get(body, "mountPath");
    bool text = is_text(path);
    const struct complaint complaints[] = {
        { !text, "mountPath", "mountPath must be a non-empty string" },
        { text && path->string.p[0] != '/', "mountPath", "mountPath must be an absolute path (start with /)" },
        { text && is_root(path->string), "mountPath", "mountPath must not resolve to / (filesystem root)" },
    };

    if (body && !complain(request, complaints, ARRAY_SIZE(complaints)))
        request_fail_with(request, BERM_E_UNMOUNT_ERROR, "unmount failed: nothing is mounted there");
}

void api_mount(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_mount_body);
}

void api_unmount(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_unmount_body);
}
