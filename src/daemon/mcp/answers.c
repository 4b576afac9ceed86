/* answers.c - what the API's answers become for the model, and the tools that take more than one request. */
#include "base/base64.h"
#include "daemon/mcp/call.h"

#include <inttypes.h>

/* --- answers that are documents --- */

static void json_done(struct mcp_call *call)
{
    const struct json *answer = NULL;
    struct str body = buf_str(&call->body);

    if (json_parse(&call->request->arena, body, JSON_MAX_DEPTH, &answer, NULL) < 0) {
        mcp_call_fail(call, "protocol_error", "the answer is not JSON");
        return;
    }
    mcp_call_add_text(call, body);
    mcp_call_finish(call, answer->type == JSON_OBJECT ? answer : NULL, false);
}

const struct mcp_take mcp_take_json = { .on_done = json_done };

static void empty_done(struct mcp_call *call)
{
    mcp_call_add_text(call, STR("done"));
    mcp_call_finish(call, NULL, false);
}

const struct mcp_take mcp_take_empty = { .on_done = empty_done };

/* --- output --- */

static void add_dropped(struct mcp_call *call, const struct mcp_text *text, const char *name)
{
    char line[160];
    int n = snprintf(line, sizeof(line),
                     "[%" PRIu64 " more bytes of %s are not shown; write it to a file and look at parts]",
                     text->dropped, name);

    if (text->dropped > 0)
        mcp_call_add_text(call, (struct str){ line, (size_t)n });
}

void mcp_call_add_output(struct mcp_call *call)
{
    if (call->out.buf.len > 0)
        mcp_call_add_text(call, buf_str(&call->out.buf));
    add_dropped(call, &call->out, "stdout");
    if (call->errors.buf.len > 0)
        mcp_call_add_text(call, buf_str(&call->errors.buf));
    add_dropped(call, &call->errors, "stderr");
}

/* --- a command: events stdout, stderr (base64), exit, error --- */

static int take_output(struct mcp_call *call, struct mcp_text *text, struct str base64, struct berm_error *err)
{
    _cleanup_free_ char *bytes = malloc(base64.n / 4 * 3 + 3);
    size_t n;

    if (!bytes || base64_decode(base64, bytes, &n) < 0)
        return berm_fail(err, BERM_E_PROTOCOL, bytes ? 0 : ENOMEM, "the command's output could not be read");
    if (mcp_text_add(call, text, (struct str){ bytes, n }) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "the command's output could not be kept");
    return 0;
}

static int take_exit(struct mcp_call *call, struct str data, struct berm_error *err)
{
    const struct json *document;

    if (json_parse(&call->request->arena, data, 8, &document, err) < 0 ||
        json_field_int(document, "exit_code", INT32_MIN, INT32_MAX, &call->exit_code, err) < 0)
        return -1;
    call->ended = true;
    return 0;
}

static int take_error(struct mcp_call *call, struct str data, struct berm_error *err)
{
    const struct json *document;
    const char *text = NULL;

    if (json_parse(&call->request->arena, data, 8, &document, err) < 0 ||
        json_field_cstring(document, "error", &text, err) < 0)
        return -1;
    return berm_fail(err, BERM_E_EXEC_ERROR, 0, "%s", text ? text : "the command could not be run");
}

static int exec_event(struct mcp_call *call, const struct sse_event *event, struct berm_error *err)
{
    if (call->ended)
        return 0;
    if (str_is(event->name, "stdout"))
        return take_output(call, &call->out, event->data, err);
    if (str_is(event->name, "stderr"))
        return take_output(call, &call->errors, event->data, err);
    if (str_is(event->name, "exit"))
        return take_exit(call, event->data, err);
    return str_is(event->name, "error") ? take_error(call, event->data, err) : 0;
}

static void exec_done(struct mcp_call *call)
{
    struct json_member members[] = {
        { STR("exitCode"), { .type = JSON_INT, .integer = call->exit_code } },
        { STR("stdout"), { .type = JSON_STRING, .string = buf_str(&call->out.buf) } },
        { STR("stderr"), { .type = JSON_STRING, .string = buf_str(&call->errors.buf) } },
        { STR("truncated"), { .type = JSON_BOOL, .boolean = call->out.dropped || call->errors.dropped } },
    };
    const struct json result = { .type = JSON_OBJECT, .object = { members, ARRAY_SIZE(members) } };
    char line[48];
    int n = snprintf(line, sizeof(line), "[exit code %" PRId64 "]", call->exit_code);

    if (!call->ended) {
        mcp_call_fail(call, "exec_transport_error", "the command's output ended without a result");
        return;
    }
    mcp_call_add_output(call);
    mcp_call_add_text(call, (struct str){ line, (size_t)n });
    mcp_call_finish(call, &result, false);
}

const struct mcp_take mcp_take_exec = { .on_event = exec_event, .on_done = exec_done };

/* --- a file: {"content","encoding","mimeType"} --- */

int mcp_call_file(struct mcp_call *call, struct mcp_file *ret)
{
    const struct json *answer = NULL;
    const char *encoding = NULL;

    *ret = (struct mcp_file){ .mime = NULL };
    if (json_parse(&call->request->arena, buf_str(&call->body), 16, &answer, NULL) < 0 ||
        json_field_string(answer, "content", &ret->content, NULL) < 0 || !ret->content.p ||
        json_field_cstring(answer, "encoding", &encoding, NULL) < 0 ||
        json_field_cstring(answer, "mimeType", &ret->mime, NULL) < 0) {
        mcp_call_fail(call, "protocol_error", "the file could not be read");
        return -1;
    }
    ret->is_base64 = encoding && strcmp(encoding, "base64") == 0;
    return 0;
}

static void file_done(struct mcp_call *call)
{
    struct mcp_file file;

    if (mcp_call_file(call, &file) < 0)
        return;
    if (!file.is_base64) {
        mcp_call_add_text(call, file.content);
    } else if (file.mime && strncmp(file.mime, "image/", 6) == 0) {
        mcp_call_add_media(call, "image", file.content, file.mime);
    } else {
        mcp_call_add_text(call, STR("[base64]"));
        mcp_call_add_text(call, file.content);
    }
    mcp_call_finish(call, NULL, false);
}

const struct mcp_take mcp_take_file = { .on_done = file_done };

/* --- sandbox_create: an id first, if none is given --- */

static void create(struct mcp_call *call, const char *id)
{
    struct mcp_request wanted;
    struct berm_error err;

    if (mcp_request_build(call->tool, call->args, &call->request->arena, &wanted, &err) < 0) {
        mcp_call_fail(call, berm_err_wire(err.code), err.message);
        return;
    }
    wanted.target = arena_printf(&call->request->arena, "/v1/sandbox/%s", id);
    if (wanted.target)
        mcp_call_fetch(call, &wanted, &mcp_take_json);
    else
        mcp_call_fail(call, "system_error", "out of memory");
}

static void id_done(struct mcp_call *call)
{
    const struct json *answer = NULL;
    const char *id = NULL;

    if (json_parse(&call->request->arena, buf_str(&call->body), 8, &answer, NULL) == 0)
        json_field_cstring(answer, "id", &id, NULL);
    if (id)
        create(call, id);
    else
        mcp_call_fail(call, "protocol_error", "no id came");
}

void mcp_start_create(struct mcp_call *call)
{
    static const struct mcp_take take = { .on_done = id_done };
    static const struct mcp_request new_id = { .method = "POST", .target = "/v1/sandbox", .body = { "{}", 2 } };
    const char *id = mcp_arg_text(call->args, "sandbox");
    struct berm_error err;

    if (!id) {
        mcp_call_fetch(call, &new_id, &take);
        return;
    }
    id = mcp_target_build(call->tool, "{sandbox}", call->args, &call->request->arena, &err);
    if (id)
        create(call, id);
    else
        mcp_call_fail(call, berm_err_wire(err.code), err.message);
}
