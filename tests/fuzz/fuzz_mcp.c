/* Messages of the Model Context Protocol: whatever comes, a request that is built stays below /v1/ and in one line.
 */
#include "daemon/mcp/call.h"
#include "daemon/mcp/resources.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the table names and the parser does not call. */
const struct mcp_take mcp_take_json, mcp_take_exec, mcp_take_file, mcp_take_empty;

void mcp_start_create(struct mcp_call *call)
{
    (void)call;
}

void mcp_start_code(struct mcp_call *call)
{
    (void)call;
}

static void check_request(const struct mcp_request *request)
{
    assert(strncmp(request->target, "/v1/sandbox", 11) == 0);
    assert(!strstr(request->target, "/../") && !strstr(request->target, "//"));
    for (const char *c = request->target; *c; c++)
        assert(*c > ' ' && *c < 0x7f && *c != '#');
}

static void call_tool(struct arena *arena, const struct mcp_message *message)
{
    const struct json *name = json_get(message->params, "name"), *args = json_get(message->params, "arguments");
    const struct mcp_tool *tool = name && name->type == JSON_STRING ? mcp_tool_find(name->string) : NULL;
    struct mcp_request request;

    if (!tool || !tool->target || (args && args->type != JSON_OBJECT) || mcp_args_check(tool, args, NULL) < 0)
        return;
    if (mcp_request_build(tool, args, arena, &request, NULL) == 0)
        check_request(&request);
}

/* Whatever is called a resource, what is asked for it is of that sandbox. */
static void read_resource(struct arena *arena, struct str uri)
{
    struct mcp_resource resource;
    struct mcp_request request = { 0 };
    const char *target, *back;

    if (mcp_resource_parse(arena, uri, &resource, NULL) < 0)
        return;
    target = mcp_resource_target(arena, &resource);
    if (!target)
        return;
    request.target = target;
    check_request(&request);
    assert(strncmp(target + 12, resource.sandbox, strlen(resource.sandbox)) == 0);
    if (resource.kind < MCP_FILE)
        return;
    assert(resource.name[0] == '/' && strlen(resource.name) <= uri.n);
    back = mcp_file_uri(arena, resource.sandbox, str_from(resource.name), STR(""), false);
    assert(!back || mcp_resource_parse(arena, str_from(back), &resource, NULL) == 0 || strlen(back) > 8192);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mcp_message message;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    if (mcp_message_parse(&arena, (struct str){ (const char *)data, size }, &message, NULL) == 0) {
        assert(message.kind == MCP_RESPONSE || message.method.p);
        assert(message.kind != MCP_REQUEST || mcp_id_eq(message.id, message.id));
        call_tool(&arena, &message);
        if (json_get(message.params, "uri") && json_get(message.params, "uri")->type == JSON_STRING)
            read_resource(&arena, json_get(message.params, "uri")->string);
    }
    arena_free(&arena);
    return 0;
}
