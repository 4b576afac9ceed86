/* files.c - GET and PUT /v1/sandbox/{id}/file/{path}: raw bytes, streamed. */
#include "base/fault.h"
#include "daemon/api/paths.h"
#include "daemon/api/proxy.h"

struct file {
    const char *path;   /* absolute, below /workspace */
    const char *target; /* of the call to the agent */
    uint64_t received;
    bool refused; /* too large: an answer has been given */
};

/* Checks the path, in the bridge's order. -1: answered. */
static int take_file(struct request *request)
{
    struct file *file = arena_calloc(&request->arena, 1, sizeof(*file));
    struct berm_error err;
    const char *encoded;

    if (request_take_session(request) < 0)
        return -1;
    if (request->rest.n == 0) {
        berm_fail_field(&err, "path", "file path must not be empty");
        request_fail(request, &err);
        return -1;
    }
    if (file)
        file->path = path_from_url(&request->arena, request->rest);
    if (!file || !file->path) {
        berm_fail_field(&err, "path", "the file path is not a usable path");
        request_fail(request, &err);
        return -1;
    }
    if (!path_in_workspace(file->path)) {
        berm_fail_field(&err, "path", "path must resolve to a location within /workspace");
        request_fail_status(request, 403, &err);
        return -1;
    }
    encoded = path_encode(&request->arena, file->path);
    file->target = encoded ? arena_printf(&request->arena, "/berm/v1/file?path=%s", encoded) : NULL;
    if (!file->target) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return -1;
    }
    request->state = file;
    return 0;
}

/* --- GET --- */

/* "bytes 2-5/10" and nothing else: it is the agent's word. */
static bool range_is_plain(struct str range)
{
    static const struct str unit = { "bytes ", 6 };

    if (!str_has_prefix(range, unit) || range.n > 80)
        return false;
    for (size_t i = unit.n; i < range.n; i++)
        if (!strchr("0123456789-/", range.p[i]))
            return false;
    return true;
}

static bool get_head(struct request *request, const struct h1_head *head)
{
    struct str range = h1_header(head, "Content-Range");
    struct http_field fields[] = { { "Content-Type", "application/octet-stream" },
                                   { "Accept-Ranges", "bytes" },
                                   { "Content-Range", NULL } };
    bool part = head->status == 206 && range_is_plain(range);

    if (head->status != 200 && !part)
        return false;
    if (part && !(fields[2].value = arena_strdup(&request->arena, range)))
        return false;
    request_begin(request, head->status, fields, part ? 3 : 2,
                  head->framing == H1_CONTENT_LENGTH ? head->content_length : HTTP_CHUNKED);
    return true;
}

static void refuse_range(struct request *request, const char *message)
{
    struct berm_error err;

    berm_fail_field(&err, "Range", "%s", message);
    request_fail_status(request, 416, &err);
}

static void get_refusal(struct request *request, int status, struct str body)
{
    struct file *file = request->state;
    const char *message = agent_error_message(request, body, NULL);

    if (status == 416)
        refuse_range(request, message);
    else if (status == 404)
        request_fail_with(request, BERM_E_WORKSPACE_READ_NOT_FOUND, "File not found: %s", file->path);
    else
        request_fail_with(request, BERM_E_EXEC_TRANSPORT_ERROR, "read failed: %s", message);
}

static const struct proxy_rules get_rules = { .on_head = get_head, .on_refusal = get_refusal };

static void get_file(struct request *request)
{
    struct file *file = request->state;
    struct str range = h1_header(request->head, "Range");
    struct http_field field = { "Range", range.p ? arena_strdup(&request->arena, range) : NULL };
    /* There is nothing by which a file could be found to be the same: If-Range never holds. */
    bool part = field.value && !h1_header(request->head, "If-Range").p;

    if (proxy_start(request, &get_rules, "GET", file->target, &field, part, 0) == 0)
        proxy_end_body(request);
}

void api_file_get(struct request *request)
{
    if (take_file(request) == 0)
        request_need_agent(request, get_file);
}

/* --- PUT --- */

static void put_answer(struct request *request, int status, struct str body)
{
    if (status >= 200 && status < 300) {
        FAULT_POINT("write.done");
        request_respond(request, 200, "application/json", STR("{\"ok\":true}"));
    } else {
        request_fail_with(request, BERM_E_WORKSPACE_ARCHIVE_WRITE_ERROR, "write failed: %s",
                          agent_error_message(request, body, NULL));
    }
}

static const struct proxy_rules put_rules = { .on_head = proxy_read_answer, .on_refusal = put_answer };

static void refuse_size(struct request *request, uint64_t size)
{
    struct file *file = request->state;

    file->refused = true;
    proxy_close(request);
    request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE,
                      "payload too large: %llu bytes exceeds the %llu-byte limit", (unsigned long long)size,
                      (unsigned long long)request->daemon->config.max_file_put);
}

/* A chunked body shows its size only as it comes; then the file keeps what was written up to there. */
static void put_piece(struct request *request, struct str piece)
{
    struct file *file = request->state;

    file->received += piece.n;
    if (file->refused)
        return;
    if (file->received > request->daemon->config.max_file_put)
        refuse_size(request, file->received);
    else
        proxy_write(request, piece);
    FAULT_POINT("write.streaming");
}

static void put_end(struct request *request)
{
    struct file *file = request->state;

    if (!file->refused)
        proxy_end_body(request);
}

static void put_file(struct request *request)
{
    struct file *file = request->state;

    FAULT_POINT("write.start");
    if (proxy_start(request, &put_rules, "PUT", file->target, NULL, 0, proxy_body_length(request)) < 0)
        return;
    FAULT_POINT("write.sent");
    request->on_body = put_piece;
    request->on_body_end = put_end;
    http_body_resume(request->exchange);
    if (request->head->framing == H1_NO_BODY)
        proxy_end_body(request);
}

void api_file_put(struct request *request)
{
    if (take_file(request) < 0)
        return;
    if (request->head->framing == H1_CONTENT_LENGTH &&
        request->head->content_length > request->daemon->config.max_file_put) {
        refuse_size(request, request->head->content_length);
        return;
    }
    request_stream_body(request);
    http_body_pause(request->exchange);
    request_need_agent(request, put_file);
}
