#include "daemon/mcp/message.h"

#define DEPTH_MAX 64

static int invalid(struct berm_error *err, const char *text)
{
    berm_fail(err, BERM_E_INVALID_REQUEST, 0, "%s", text);
    return MCP_INVALID_REQUEST;
}

/* A number with a fraction has no one text, so that an answer could not be told to be its. */
static bool id_usable(const struct json *id)
{
    return id && (id->type == JSON_INT || (id->type == JSON_STRING && id->string.n <= MCP_ID_MAX));
}

static int classify(const struct json *message, struct mcp_message *ret, struct berm_error *err)
{
    const struct json *method = json_get(message, "method"), *id = json_get(message, "id");

    if (method && method->type != JSON_STRING)
        return invalid(err, "method must be a string");
    if (method && id && !ret->id)
        return invalid(err, "id must be a whole number or a short string");
    if (!method && !json_get(message, "result") && !json_get(message, "error"))
        return invalid(err, "neither a request nor a response");
    ret->kind = !method ? MCP_RESPONSE : id ? MCP_REQUEST : MCP_NOTIFICATION;
    if (method)
        ret->method = method->string;
    return 0;
}

int mcp_message_parse(struct arena *arena, struct str text, struct mcp_message *ret, struct berm_error *err)
{
    const struct json *message, *version;

    *ret = (struct mcp_message){ 0 };
    if (json_parse(arena, text, DEPTH_MAX, &message, err) < 0)
        return MCP_PARSE_ERROR;
    if (message->type != JSON_OBJECT)
        return invalid(err, message->type == JSON_ARRAY ? "batches are not taken" : "a message is an object");
    if (id_usable(json_get(message, "id")))
        ret->id = json_get(message, "id");
    version = json_get(message, "jsonrpc");
    if (!version || version->type != JSON_STRING || !str_is(version->string, "2.0"))
        return invalid(err, "jsonrpc must be \"2.0\"");
    ret->params = json_get(message, "params");
    if (ret->params && ret->params->type != JSON_OBJECT)
        return invalid(err, "params must be an object");
    return classify(message, ret, err);
}

bool mcp_id_eq(const struct json *a, const struct json *b)
{
    if (!a || !b || a->type != b->type)
        return false;
    if (a->type == JSON_INT)
        return a->integer == b->integer;
    return a->type == JSON_STRING && str_eq(a->string, b->string);
}

void mcp_answer_begin(struct json_writer *w, const struct json *id)
{
    json_object_begin(w);
    json_pair_cstring(w, "jsonrpc", "2.0");
    json_key(w, "id");
    if (id)
        json_value(w, id);
    else
        json_null(w);
}

void mcp_answer_error(struct json_writer *w, const struct json *id, int code, const char *text)
{
    mcp_answer_begin(w, id);
    json_key(w, "error");
    json_object_begin(w);
    json_pair_int(w, "code", code);
    json_pair_cstring(w, "message", text);
    json_object_end(w);
    json_object_end(w);
}
