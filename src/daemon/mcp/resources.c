#include "daemon/mcp/resources.h"

#include "daemon/mcp/call.h"
#include "daemon/mcp/mcp.h"

#define LIST_TARGET "/v1/sandboxes?limit=25"
#define CURSOR_MAX  64

/* --- templates --- */

static const struct {
    const char *uri, *name, *title, *about, *mime;
} templates[] = {
    { "berm://{sandbox}", "sandbox", "A sandbox", "State, limits, labels and times of a sandbox.",
      "application/json" },
    { "berm://{sandbox}/events", "events", "The life of a sandbox", "When it started, changed and ended, and why.",
      "application/json" },
    { "berm://{sandbox}/processes", "processes", "Background processes", "What was started in the background.",
      "application/json" },
    { "berm://{sandbox}/processes/{process}/logs", "logs", "Output of a process",
      "What a background process has written so far.", "application/json" },
    { "berm://{sandbox}/files/{+path}", "file", "A file",
      "A file of a sandbox that runs, by its path from the root, such as workspace/a.txt; with / at the end, a "
      "directory.",
      NULL },
};

void mcp_resource_templates_write(struct json_writer *w)
{
    json_array_begin(w);
    for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
        json_object_begin(w);
        json_pair_cstring(w, "uriTemplate", templates[i].uri);
        json_pair_cstring(w, "name", templates[i].name);
        json_pair_cstring(w, "title", templates[i].title);
        json_pair_cstring(w, "description", templates[i].about);
        if (templates[i].mime)
            json_pair_cstring(w, "mimeType", templates[i].mime);
        json_object_end(w);
    }
    json_array_end(w);
}

/* --- the list: what is known without asking a sandbox --- */

static void add_entry(struct mcp_call *call, const char *id, const char *part, const char *title, const char *mime)
{
    struct json_writer *w = &call->answer;
    struct arena *arena = &call->request->arena;

    json_object_begin(w);
    json_pair_cstring(w, "uri", arena_printf(arena, "berm://%s%s", id, part));
    json_pair_cstring(w, "name", arena_printf(arena, "%s%s", id, part));
    json_pair_cstring(w, "title", title);
    json_pair_cstring(w, "mimeType", mime);
    json_object_end(w);
}

static void add_sandbox(struct mcp_call *call, const struct json *sandbox)
{
    const char *id = NULL, *name = NULL, *state = NULL, *json = "application/json";
    struct arena *arena = &call->request->arena;

    json_field_cstring(sandbox, "id", &id, NULL);
    json_field_cstring(sandbox, "name", &name, NULL);
    json_field_cstring(sandbox, "state", &state, NULL);
    if (!id || !state)
        return;
    name = name ? name : id;
    add_entry(call, id, "", arena_printf(arena, "Sandbox %s (%s)", name, state), json);
    add_entry(call, id, "/events", arena_printf(arena, "Life of %s", name), json);
    if (strcmp(state, "running") != 0)
        return;
    add_entry(call, id, "/processes", arena_printf(arena, "Background processes of %s", name), json);
    add_entry(call, id, "/files/workspace/", arena_printf(arena, "Files of %s", name), json);
}

static void list_done(struct mcp_call *call)
{
    const struct json *answer = NULL, *sandboxes = NULL;
    const char *cursor = NULL;

    if (json_parse(&call->request->arena, buf_str(&call->body), JSON_MAX_DEPTH, &answer, NULL) < 0 ||
        json_field_array(answer, "sandboxes", &sandboxes, NULL) < 0 || !sandboxes ||
        json_field_cstring(answer, "cursor", &cursor, NULL) < 0) {
        mcp_call_fail(call, "protocol_error", "the sandboxes could not be listed");
        return;
    }
    for (size_t i = 0; i < sandboxes->array.count; i++)
        add_sandbox(call, &sandboxes->array.items[i]);
    mcp_call_finish_resources(call, cursor);
}

void mcp_resources_list(struct mcp *mcp, struct mcp_session *session, struct request *request,
                        const struct mcp_message *message)
{
    static const struct mcp_take take = { .on_done = list_done };
    const struct json *cursor = json_get(message->params, "cursor");
    struct mcp_request wanted = { .method = "GET", .target = LIST_TARGET };
    _cleanup_(buf_free) struct buf target;
    struct mcp_call *call;

    buf_init(&target, sizeof(LIST_TARGET) + 8 + 3 * CURSOR_MAX);
    if (cursor) {
        if (cursor->type != JSON_STRING || cursor->string.n > CURSOR_MAX ||
            buf_append_str(&target, STR(LIST_TARGET "&cursor=")) < 0 ||
            mcp_append_escaped(&target, cursor->string) < 0) {
            mcp_respond_error(request, message->id, MCP_INVALID_PARAMS, "params.cursor is none of ours");
            return;
        }
        wanted.target = arena_strdup(&request->arena, buf_str(&target));
    }
    call = mcp_call_new(mcp, session, request, message);
    if (!call || mcp_call_begin(call, "resources") < 0)
        return;
    if (wanted.target)
        mcp_call_fetch(call, &wanted, &take);
    else
        mcp_call_fail(call, "system_error", "out of memory");
}

/* --- reading one --- */

static void finish_with(struct mcp_call *call, const char *mime, const char *kind, struct str bytes)
{
    struct json_writer *w = &call->answer;

    json_object_begin(w);
    json_pair_cstring(w, "uri", call->resource->uri);
    json_pair_cstring(w, "mimeType", mime);
    json_pair_string(w, kind, bytes);
    json_object_end(w);
    mcp_call_finish_resources(call, NULL);
}

static void document_done(struct mcp_call *call)
{
    finish_with(call, "application/json", "text", buf_str(&call->body));
}

static void file_done(struct mcp_call *call)
{
    struct mcp_file file;

    if (mcp_call_file(call, &file) == 0)
        finish_with(call, file.mime ? file.mime : "application/octet-stream", file.is_base64 ? "blob" : "text",
                    file.content);
}

/* One of a directory, with the URI under which it can be read. */
static void write_file(struct mcp_call *call, struct json_writer *w, const struct json *entry)
{
    static const char *const members[] = { "type", "size", "modifiedAt" };
    const struct json *type = json_get(entry, "type");
    struct str name = { 0 };

    if (json_field_string(entry, "name", &name, NULL) < 0 || !name.p)
        return;
    json_object_begin(w);
    json_pair_string(w, "name", name);
    json_pair_cstring(w, "uri",
                      mcp_file_uri(&call->request->arena, call->resource->sandbox, str_from(call->resource->name),
                                   name, type && type->type == JSON_STRING && str_is(type->string, "directory")));
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const struct json *value = json_get(entry, members[i]);

        if (!value)
            continue;
        json_key(w, members[i]);
        json_value(w, value);
    }
    json_object_end(w);
}

static void directory_done(struct mcp_call *call)
{
    const struct json *answer = NULL, *files = NULL;
    _cleanup_(buf_free) struct buf text;
    struct json_writer w;

    buf_init(&text, MCP_ANSWER_MAX);
    if (json_parse(&call->request->arena, buf_str(&call->body), 16, &answer, NULL) < 0 ||
        json_field_array(answer, "files", &files, NULL) < 0 || !files) {
        mcp_call_fail(call, "protocol_error", "the directory could not be read");
        return;
    }
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_key(&w, "files");
    json_array_begin(&w);
    for (size_t i = 0; i < files->array.count; i++)
        write_file(call, &w, &files->array.items[i]);
    json_array_end(&w);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        mcp_call_fail(call, "payload_too_large", "the directory is too large to be shown");
    else
        finish_with(call, "application/json", "text", buf_str(&text));
}

static void fetch_file(struct mcp_call *call)
{
    static const struct mcp_take take_file = { .on_done = file_done },
                                 take_directory = { .on_done = directory_done };
    bool is_directory = call->resource->kind == MCP_DIRECTORY;
    struct arena *arena = &call->request->arena;
    struct mcp_request wanted = { .method = "POST", .generation = call->generation };
    _cleanup_(buf_free) struct buf body;
    struct json_writer w;

    buf_init(&body, MCP_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_cstring(&w, "path", call->resource->name);
    json_object_end(&w);
    wanted.target =
        arena_printf(arena, "/v1/sandbox/%s/files/%s", call->resource->sandbox, is_directory ? "list" : "read");
    if (json_writer_finish(&w) == 0)
        wanted.body = (struct str){ arena_strdup(arena, buf_str(&body)), body.len };
    if (wanted.target && wanted.body.p)
        mcp_call_fetch(call, &wanted, is_directory ? &take_directory : &take_file);
    else
        mcp_call_fail(call, "system_error", "out of memory");
}

/* Only what runs has files: with its generation the next request finds that one or none. */
static void described(struct mcp_call *call)
{
    const struct json *answer = NULL;
    const char *state = NULL;
    int64_t generation = 0;

    if (json_parse(&call->request->arena, buf_str(&call->body), JSON_MAX_DEPTH, &answer, NULL) < 0 ||
        json_field_cstring(answer, "state", &state, NULL) < 0 || !state ||
        json_field_int(answer, "generation", 1, INT64_MAX, &generation, NULL) < 0) {
        mcp_call_fail(call, "protocol_error", "the sandbox could not be described");
        return;
    }
    call->generation = arena_printf(&call->request->arena, "%lld", (long long)generation);
    if (strcmp(state, "running") != 0) {
        call->status = 404;
        mcp_call_fail(call, "not_running", "the sandbox does not run, so it has no files");
    } else if (!call->generation) {
        mcp_call_fail(call, "system_error", "out of memory");
    } else {
        fetch_file(call);
    }
}

void mcp_resources_read(struct mcp *mcp, struct mcp_session *session, struct request *request,
                        const struct mcp_message *message)
{
    static const struct mcp_take take_document = { .on_done = document_done },
                                 take_state = { .on_done = described };
    struct mcp_resource *resource = arena_calloc(&request->arena, 1, sizeof(*resource));
    const struct json *uri = json_get(message->params, "uri");
    struct mcp_request wanted = { .method = "GET" };
    struct mcp_call *call;
    struct berm_error err;

    if (!resource || !uri || uri->type != JSON_STRING) {
        mcp_respond_error(request, message->id, MCP_INVALID_PARAMS, "params.uri must be a string");
        return;
    }
    if (mcp_resource_parse(&request->arena, uri->string, resource, &err) < 0) {
        mcp_respond_error(request, message->id, MCP_NO_RESOURCE, err.message);
        return;
    }
    call = mcp_call_new(mcp, session, request, message);
    if (!call || mcp_call_begin(call, "contents") < 0)
        return;
    call->resource = resource;
    wanted.target = mcp_resource_target(&request->arena, resource);
    if (!wanted.target)
        mcp_call_fail(call, "system_error", "out of memory");
    else
        mcp_call_fetch(call, &wanted, resource->kind >= MCP_FILE ? &take_state : &take_document);
}
