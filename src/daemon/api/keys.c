/* keys.c - the API keys of the store. Those of the operator's file are neither listed nor changed here. */
#include "base/fault.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/api/api.h"

static void write_key(struct json_writer *w, const struct api_key_row *row, const char *secret)
{
    char created[25];

    format_timestamp(row->created_ms, created);
    json_object_begin(w);
    json_pair_cstring(w, "id", row->id);
    if (secret)
        json_pair_cstring(w, "key", secret);
    json_pair_cstring(w, "label", row->label[0] ? row->label : NULL);
    json_pair_cstring(w, "createdAt", created);
    json_object_end(w);
}

void api_key_list(struct request *request)
{
    const struct auth *auth = &request->daemon->auth;
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_key(w, "keys");
    json_array_begin(w);
    for (size_t i = 0; i < auth->stored_count; i++)
        write_key(w, &auth->stored[i], NULL);
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

static void on_create_body(struct request *request)
{
    const struct json *body;
    struct str label = { "", 0 };
    char secret[API_KEY_TEXT_BYTES];
    const struct api_key_row *row;
    struct json_writer *w;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return;
    if (body && body->type != JSON_OBJECT) {
        request_fail_with(request, BERM_E_INVALID_REQUEST, "the body must be a JSON object");
        return;
    }
    if (json_field_string(body, "label", &label, &err) < 0 ||
        auth_create_key(&request->daemon->auth, request->daemon->store, label, secret, &row, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    FAULT_POINT("keys.stored");
    log_info("key.created", "key", row->id, "request", request->id);
    w = request_json(request);
    if (w) {
        write_key(w, row, secret);
        request_respond_json(request, 201, w);
    }
    explicit_bzero(secret, sizeof(secret));
}

void api_key_create(struct request *request)
{
    request_collect_body(request, 64 * 1024, on_create_body);
}

void api_key_delete(struct request *request)
{
    char id[API_KEY_ID_BYTES];
    struct berm_error err;
    bool found = false;

    if (str_copy(request->param, id, sizeof(id)) == 0 &&
        auth_delete_key(&request->daemon->auth, request->daemon->store, id, &found, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    if (!found) {
        request_fail_with(request, BERM_E_NOT_FOUND, "there is no such key");
        return;
    }
    log_info("key.deleted", "key", id, "request", request->id);
    request_respond_empty(request, 204);
}
