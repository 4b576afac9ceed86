/*
 * mounts.c - POST /v1/sandbox/{id}/mount and /unmount: the bridge's checks in its order and words. What passes them
 * is done by bucket.h; before that nothing is made or started.
 */
#include "daemon/api/bucket.h"
#include "daemon/api/paths.h"

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

static struct str text_of(const struct json *value)
{
    return value && value->type == JSON_STRING ? value->string : (struct str){ 0 };
}

static bool is_true(const struct json *value)
{
    return value && value->type == JSON_BOOL && value->boolean;
}

/* What the name of a bucket in the daemon's configuration stands for; keys of the request go before its own. */
static void use_binding(struct bucket_mount *spec, const struct binding *binding)
{
    spec->bucket = str_from(binding->bucket);
    spec->endpoint = str_from(binding->endpoint);
    if (spec->key_id.n > 0 || !binding->key_id)
        return;
    spec->key_id = str_from(binding->key_id);
    spec->secret = str_from(binding->secret);
}

/* The body has passed the bridge's checks. */
static void mount(struct request *request, const struct json *body)
{
    const struct json *options = json_get(body, "options"), *credentials = json_get(options, "credentials"),
                      *name = json_get(body, "binding");
    const struct binding *binding = bindings_find(&request->daemon->bindings, text_of(name));
    struct bucket_mount spec = {
        .path = path_normalise(&request->arena, text_of(json_get(body, "mountPath")), "/"),
        .bucket = text_of(json_get(body, "bucket")),
        .endpoint = text_of(json_get(options, "endpoint")),
        .prefix = text_of(json_get(options, "prefix")),
        .s3fs_options = json_get(options, "s3fsOptions"),
        .key_id = text_of(json_get(credentials, "accessKeyId")),
        .secret = text_of(json_get(credentials, "secretAccessKey")),
        .read_only = is_true(json_get(options, "readOnly")),
    };

    if (binding)
        use_binding(&spec, binding);
    if (!spec.path)
        refuse(request, "mountPath", "mountPath is not a usable path");
    else if (!strcmp(spec.path, "/"))
        refuse(request, "mountPath", "mountPath must not resolve to / (filesystem root)");
    else if (name && !binding)
        bucket_refuse(
            request, BERM_E_MOUNT_ERROR, "INVALID_MOUNT_CONFIG",
            "no bucket has this name as its binding (sandbox.bindings_file): give bucket and options.endpoint");
    else if (is_true(json_get(options, "credentialProxy")))
        bucket_refuse(request, BERM_E_MOUNT_ERROR, "INVALID_MOUNT_CONFIG",
                      "credentialProxy is not available: the credentials would be in the sandbox");
    else
        bucket_mount(request, &spec);
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
        mount(request, body);
}

static void on_unmount_body(struct request *request)
{
    const struct json *body = take_body(request), *path = json_get(body, "mountPath");
    const char *normal = is_text(path) ? path_normalise(&request->arena, path->string, "/") : NULL;
    bool text = is_text(path);
    const struct complaint complaints[] = {
        { !text, "mountPath", "mountPath must be a non-empty string" },
        { text && path->string.p[0] != '/', "mountPath", "mountPath must be an absolute path (start with /)" },
        { text && !normal, "mountPath", "mountPath is not a usable path" },
        { normal && !strcmp(normal, "/"), "mountPath", "mountPath must not resolve to / (filesystem root)" },
    };

    if (body && !complain(request, complaints, ARRAY_SIZE(complaints)))
        bucket_unmount(request, normal);
}

void api_mount(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_mount_body);
}

void api_unmount(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_unmount_body);
}
