/* secrets.c - the secrets that egress policies name. They are set, listed by name and deleted, and never told. */
#include "base/log.h"
#include "base/sys.h"
#include "daemon/api/api.h"
#include "daemon/egress/egress.h"
#include "daemon/secret_store.h"

#define BODY_MAX ((size_t)64 << 10)

static bool egress_is_off(struct request *request)
{
    if (request->daemon->egress)
        return false;
    request_fail_with(request, BERM_E_FORBIDDEN, "the operator has turned the network of sandboxes off");
    return true;
}

static void write_secret(struct json_writer *w, const struct secret *secret)
{
    char time[25];

    format_timestamp(secret->set_ms, time);
    json_object_begin(w);
    json_pair_cstring(w, "name", secret->name);
    json_pair_cstring(w, "setAt", time);
    json_object_end(w);
}

void api_secret_list(struct request *request)
{
    const struct secrets *secrets;
    struct json_writer *w;

    if (egress_is_off(request) || !(w = request_json(request)))
        return;
    secrets = egress_service_secrets(request->daemon->egress);
    json_object_begin(w);
    json_key(w, "secrets");
    json_array_begin(w);
    for (size_t i = 0; i < secrets->count; i++)
        write_secret(w, &secrets->items[i]);
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* No message has anything of the value in it. */
static int take_value(const struct json *body, struct str *ret, struct berm_error *err)
{
    const struct json *value;

    if (!body || body->type != JSON_OBJECT || body->object.count != 1 || !(value = json_get(body, "value")) ||
        value->type != JSON_STRING)
        return berm_fail_field(err, "value", "the body must be {\"value\": TEXT}");
    if (!secret_value_valid(value->string))
        return berm_fail_field(err, "value",
                               "value must be the value of a header: %d to %d visible characters of ASCII",
                               SECRET_VALUE_MIN, SECRET_VALUE_MAX);
    *ret = value->string;
    return 0;
}

static void on_put_body(struct request *request)
{
    struct secrets *secrets = egress_service_secrets(request->daemon->egress);
    const struct json *body;
    struct str value;
    struct json_writer *w;
    struct berm_error err;
    bool known = secrets_find(secrets, request->param) != NULL;

    if (request_parse_json(request, &body) < 0)
        return;
    if (take_value(body, &value, &err) < 0 || secret_store_put(request->daemon, request->param, value, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    log_info("secret.set", "name", secrets_find(secrets, request->param)->name, "request", request->id);
    w = request_json(request);
    if (!w)
        return;
    write_secret(w, secrets_find(secrets, request->param));
    request_respond_json(request, known ? 200 : 201, w);
}

void api_secret_put(struct request *request)
{
    if (egress_is_off(request))
        return;
    if (!secret_name_valid(request->param)) {
        request_fail_with(request, BERM_E_INVALID_REQUEST,
                          "a secret's name is 1 to %d letters, digits, \"-\", \"_\" and \".\"", SECRET_NAME_MAX);
        return;
    }
    request_collect_body(request, BODY_MAX, on_put_body);
}

void api_secret_delete(struct request *request)
{
    struct berm_error err;
    bool found;

    if (egress_is_off(request))
        return;
    if (secret_store_delete(request->daemon, request->param, &found, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    if (!found) {
        request_fail_with(request, BERM_E_NOT_FOUND, "there is no such secret");
        return;
    }
    log_info("secret.deleted", "request", request->id);
    request_respond_empty(request, 204);
}
