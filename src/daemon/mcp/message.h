/*
 * message.h - JSON-RPC 2.0 as the Model Context Protocol uses it: reading one message, writing one answer.
 *
 * Pure functions over bytes. A message is a request (it has an id and wants an answer), a notification, or a
 * response of the client's, which nothing here asks for. Batches are refused: the protocol had them for one
 * revision only, and a message that hides others is hard to cancel.
 */
#pragma once

#include "base/json.h"

#define MCP_ID_MAX 256 /* bytes of an id that is a string: it is kept while its call runs */

enum mcp_kind { MCP_REQUEST, MCP_NOTIFICATION, MCP_RESPONSE };

/* JSON-RPC's own error codes. */
enum mcp_error {
    MCP_PARSE_ERROR = -32700,
    MCP_INVALID_REQUEST = -32600,
    MCP_METHOD_NOT_FOUND = -32601,
    MCP_INVALID_PARAMS = -32602,
    MCP_INTERNAL_ERROR = -32603,
    MCP_NO_RESOURCE = -32002,
    MCP_NO_SESSION = -32001, /* as the published server answers it */
    MCP_REFUSED = -32000     /* an HTTP request that is no message at all, or too many of them */
};

struct mcp_message {
    enum mcp_kind kind;
    struct str method;         /* n == 0 of a response */
    const struct json *id;     /* of a request: an integer or a string, never null */
    const struct json *params; /* an object, or NULL */
};

/* 0, or one of the error codes with *err; ret->id is set then if the message has a usable one. */
int mcp_message_parse(struct arena *arena, struct str text, struct mcp_message *ret, struct berm_error *err);

/* Whether two ids, of requests or in a notification, name the same request. */
bool mcp_id_eq(const struct json *a, const struct json *b);

/* {"jsonrpc":"2.0","id":..., and then the caller's "result" or "error". `id` NULL: null. */
void mcp_answer_begin(struct json_writer *w, const struct json *id);
/* The whole answer that says what went wrong. */
void mcp_answer_error(struct json_writer *w, const struct json *id, int code, const char *text);
