#include "daemon/mcp/mcp.h"

#include "daemon/mcp/call.h"
#include "daemon/mcp/message.h"
#include "daemon/mcp/resources.h"
#include "daemon/mcp/tools.h"

#define BODY_MAX (6 * 1024 * 1024)

/* Newest first: what is answered to a client that asks for one we do not know. */
static const char *const versions[] = { "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05" };

static const char instructions[] =
    "Berm runs untrusted code in isolated Linux containers, called sandboxes. Make one with sandbox_create (or use "
    "any "
    "id of the letters a-z and digits 2-7: the first use of an id creates it), run commands in it with exec, code "
    "with "
    "code_run, and end it with sandbox_destroy. Files live below /workspace. A sandbox sleeps after some minutes "
    "without use and then loses its files and processes. What is in them can also be read as resources, "
    "berm://ID/...";

int mcp_init(struct daemon *daemon)
{
    struct mcp *mcp = calloc(1, sizeof(*mcp));

    if (!mcp)
        return -1;
    mcp->loop = daemon->loop;
    list_init(&mcp->sessions);
    mcp->client = http_client_to_own(daemon->loop, daemon->server);
    if (!mcp->client) {
        free(mcp);
        return -1;
    }
    daemon->mcp = mcp;
    return 0;
}

void mcp_free(struct daemon *daemon)
{
    struct mcp *mcp = daemon->mcp;

    if (!mcp)
        return;
    while (!list_empty(&mcp->sessions))
        mcp_session_end(mcp, container_of(mcp->sessions.next, struct mcp_session, node));
    http_client_free(mcp->client);
    free(mcp);
    daemon->mcp = NULL;
}

/* --- answers --- */

void mcp_respond_error(struct request *request, const struct json *id, int code, const char *text)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    mcp_answer_error(w, id, code, text);
    request_respond_json(request, 200, w);
}

void mcp_refuse(struct request *request, int status, int code, const char *text)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    mcp_answer_error(w, NULL, code, text);
    request_respond_json(request, status, w);
}

/* --- the checks of the transport --- */

/* Whether a media type is among those of an Accept field; absent, everything is. */
static bool accepts(const struct request *request, const char *type, const char *group)
{
    struct str field = h1_header(request->head, "Accept");

    if (!field.p)
        return true;
    while (field.n > 0) {
        const char *comma = memchr(field.p, ',', field.n);
        size_t n = comma ? (size_t)(comma - field.p) : field.n;
        const char *semicolon = memchr(field.p, ';', n);
        struct str item = str_trim((struct str){ field.p, semicolon ? (size_t)(semicolon - field.p) : n });

        if (str_eq_nocase(item, str_from(type)) || str_eq_nocase(item, str_from(group)) || str_is(item, "*/*"))
            return true;
        field = (struct str){ field.p + n + (comma != NULL), field.n - n - (comma != NULL) };
    }
    return false;
}

bool mcp_takes_events(const struct request *request)
{
    return h1_header(request->head, "Accept").p && accepts(request, "text/event-stream", "text/*");
}

/*
 * A page in a browser must not be able to speak to us, whatever name it had resolved to our address: it cannot keep
 * its Origin from us, and ours is the only one that has business here.
 */
static bool foreign_origin(const struct request *request)
{
    struct str origin = h1_header(request->head, "Origin");
    struct str schemes[] = { STR("http://"), STR("https://") };

    if (!origin.p)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (str_has_prefix(origin, schemes[i]) &&
            str_eq((struct str){ origin.p + schemes[i].n, origin.n - schemes[i].n }, request->head->host))
            return false;
    return true;
}

static bool version_known(struct str version)
{
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
        if (str_is(version, versions[i]))
            return true;
    return false;
}

/* A field that names a session or a version and stands there twice names nothing. */
static bool repeated(const struct request *request, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < request->head->header_count; i++)
        count += str_eq_nocase(request->head->headers[i].name, str_from(name));
    return count > 1;
}

static int check_transport(struct request *request)
{
    struct str version = h1_header(request->head, "Mcp-Protocol-Version");

    if (foreign_origin(request))
        mcp_refuse(request, 403, MCP_REFUSED, "requests of web pages are refused");
    else if (repeated(request, "Mcp-Session-Id") || repeated(request, "Mcp-Protocol-Version"))
        mcp_refuse(request, 400, MCP_REFUSED, "Mcp-Session-Id and Mcp-Protocol-Version may be given once");
    else if (version.p && !version_known(version))
        mcp_refuse(request, 400, MCP_REFUSED, "this version of the protocol is not spoken");
    else
        return 0;
    return -1;
}

/* NULL: refused. */
static struct mcp_session *need_session(struct request *request)
{
    struct str id = h1_header(request->head, "Mcp-Session-Id");
    struct mcp_session *session;

    if (!id.p) {
        mcp_refuse(request, 400, MCP_REFUSED, "Mcp-Session-Id is missing: begin with initialize");
        return NULL;
    }
    session = mcp_session_find(request->daemon->mcp, id, h1_header(request->head, "Authorization"));
    if (!session)
        mcp_refuse(request, 404, MCP_NO_SESSION, "there is no such session: begin with initialize");
    return session;
}

/* --- the methods --- */

static void begin_result(struct json_writer *w, const struct json *id)
{
    mcp_answer_begin(w, id);
    json_key(w, "result");
    json_object_begin(w);
}

static void end_result(struct request *request, struct json_writer *w, const char *session)
{
    struct http_field fields[] = { { "Content-Type", "application/json" }, { "Mcp-Session-Id", session } };

    json_object_end(w);
    json_object_end(w);
    if (!session || json_writer_finish(w) < 0) {
        request_respond_json(request, 200, w);
        return;
    }
    request_begin(request, 200, fields, ARRAY_SIZE(fields), w->out->len);
    request_write(request, buf_str(w->out));
    request_end(request);
    buf_free(w->out);
}

static void initialize(struct request *request, const struct mcp_message *message)
{
    const struct json *asked = json_get(message->params, "protocolVersion");
    struct mcp_session *session;
    struct json_writer *w;

    if (!asked || asked->type != JSON_STRING) {
        mcp_respond_error(request, message->id, MCP_INVALID_PARAMS, "params.protocolVersion must be a string");
        return;
    }
    session = mcp_session_new(request->daemon->mcp, h1_header(request->head, "Authorization"));
    if (!session) {
        mcp_refuse(request, 500, MCP_INTERNAL_ERROR, "out of memory");
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    begin_result(w, message->id);
    json_key(w, "protocolVersion");
    if (version_known(asked->string))
        json_value(w, asked);
    else
        json_cstring(w, versions[0]);
    json_key(w, "capabilities");
    json_object_begin(w);
    json_pair_empty_object(w, "tools");
    json_pair_empty_object(w, "resources");
    json_object_end(w);
    json_key(w, "serverInfo");
    json_object_begin(w);
    json_pair_cstring(w, "name", "berm");
    json_pair_cstring(w, "title", "Berm sandboxes");
    json_pair_cstring(w, "version", BERM_VERSION);
    json_object_end(w);
    json_pair_cstring(w, "instructions", instructions);
    end_result(request, w, session->id);
}

static void ping(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    struct json_writer *w = request_json(request);

    (void)session;
    if (!w)
        return;
    begin_result(w, message->id);
    end_result(request, w, NULL);
}

static void write_list(struct request *request, const struct mcp_message *message, const char *name,
                       void (*write)(struct json_writer *w))
{
    struct json_writer *w;

    if (json_get(message->params, "cursor")) {
        mcp_respond_error(request, message->id, MCP_INVALID_PARAMS, "there is one page only: no cursor is ours");
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    begin_result(w, message->id);
    json_key(w, name);
    write(w);
    end_result(request, w, NULL);
}

static void list_tools(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    (void)session;
    write_list(request, message, "tools", mcp_tools_write);
}

static void list_templates(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    (void)session;
    write_list(request, message, "resourceTemplates", mcp_resource_templates_write);
}

static void list_resources(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    mcp_resources_list(request->daemon->mcp, session, request, message);
}

static void read_resource(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    mcp_resources_read(request->daemon->mcp, session, request, message);
}

static void call_tool(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    mcp_call_start(request->daemon->mcp, session, request, message);
}

static const struct {
    const char *name;
    void (*run)(struct request *request, struct mcp_session *session, const struct mcp_message *message);
} methods[] = { { "ping", ping },
                { "tools/list", list_tools },
                { "tools/call", call_tool },
                { "resources/list", list_resources },
                { "resources/templates/list", list_templates },
                { "resources/read", read_resource } };

static void answer(struct request *request, struct mcp_session *session, const struct mcp_message *message)
{
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        if (!str_is(message->method, methods[i].name))
            continue;
        methods[i].run(request, session, message);
        return;
    }
    mcp_respond_error(request, message->id, MCP_METHOD_NOT_FOUND, "there is no such method");
}

/* One that names no call of ours came too late; both are nothing to complain about. */
static void cancel(struct mcp_session *session, const struct mcp_message *message)
{
    const struct json *id = json_get(message->params, "requestId");

    for (struct list *node = session->calls.next; node != &session->calls; node = node->next) {
        struct mcp_call *call = container_of(node, struct mcp_call, node);

        if (!mcp_id_eq(call->id, id))
            continue;
        mcp_call_cancel(call);
        return;
    }
}

/* --- the handlers --- */

static void on_message(struct request *request)
{
    struct mcp_message message;
    struct mcp_session *session;
    struct berm_error err;
    int code = mcp_message_parse(&request->arena, http_body(request->exchange), &message, &err);

    if (code != 0) {
        struct json_writer *w = request_json(request);

        if (!w)
            return;
        mcp_answer_error(w, message.id, code, err.message);
        request_respond_json(request, 400, w);
        return;
    }
    if (message.kind == MCP_REQUEST && str_is(message.method, "initialize")) {
        initialize(request, &message);
        return;
    }
    session = need_session(request);
    if (!session)
        return;
    if (message.kind == MCP_REQUEST) {
        answer(request, session, &message);
        return;
    }
    if (message.kind == MCP_NOTIFICATION && str_is(message.method, "notifications/cancelled"))
        cancel(session, &message);
    request_respond_empty(request, 202);
}

void api_mcp_post(struct request *request)
{
    struct str type = h1_header(request->head, "Content-Type");
    const char *semicolon = type.n ? memchr(type.p, ';', type.n) : NULL;

    if (semicolon)
        type.n = (size_t)(semicolon - type.p);
    if (check_transport(request) < 0)
        return;
    if (!str_eq_nocase(str_trim(type), STR("application/json")))
        mcp_refuse(request, 415, MCP_REFUSED, "Content-Type must be application/json");
    else if (!accepts(request, "application/json", "application/*"))
        mcp_refuse(request, 406, MCP_REFUSED,
                   "Accept must name application/json, and should name text/event-stream");
    else
        request_collect_body(request, BODY_MAX, on_message);
}

void api_mcp_get(struct request *request)
{
    static const struct http_field fields[] = { { "Allow", "POST, DELETE" }, { "Content-Type", "text/plain" } };
    static const struct str text = { "nothing is told unasked, so there is no stream\n", 47 };

    if (check_transport(request) < 0)
        return;
    request_begin(request, 405, fields, ARRAY_SIZE(fields), text.n);
    request_write(request, text);
    request_end(request);
}

void api_mcp_delete(struct request *request)
{
    struct mcp_session *session = check_transport(request) == 0 ? need_session(request) : NULL;

    if (!session)
        return;
    mcp_session_end(request->daemon->mcp, session);
    request_respond_empty(request, 204);
}
