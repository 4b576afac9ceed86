/* files.c - bytes of files as streams, both ways. */
#include "methods.h"

#include "agent/agent.h"
#include "agent/http/own_client.h"

/* --- readFile --- */

/* {success, content: <stream>, path, size, mimeType, timestamp} */
static struct capnweb_value stream_result(struct capnweb_call *call, const struct h1_head *head,
                                          struct capnweb_value stream)
{
    struct str type = h1_header(head, "content-type");
    char *copy = arena_strdup(call->arena, type);
    struct capnweb_value result;
    struct capnweb_member *members = rpc_object(call, 6, &result);

    if (!members)
        return stream; /* there is no room to say what it is */
    members[0] = (struct capnweb_member){ STR("success"), CAPNWEB_TRUTH(true) };
    members[1] = (struct capnweb_member){ STR("content"), stream };
    members[2] = (struct capnweb_member){ STR("path"), CAPNWEB_TEXT(rpc_text(call, 0)) };
    members[3] = (struct capnweb_member){ STR("size"), CAPNWEB_NUMBER((int64_t)head->content_length) };
    members[4] = (struct capnweb_member){ STR("mimeType"), CAPNWEB_TEXT(copy ? str_from(copy) : STR("")) };
    members[5] = (struct capnweb_member){ STR("timestamp"), rpc_timestamp(call) };
    return result;
}

static void read_bytes(struct capnweb_call *call)
{
    static const struct rpc_route route = { "POST", "/berm/v1/read", "path sessionId", NULL };
    const struct capnweb_value *path = capnweb_arg(call, 0), *session = capnweb_arg(call, 1);
    struct json_writer w;
    struct buf body;

    buf_init(&body, (size_t)1 << 20);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    if (path) {
        json_key(&w, "path");
        capnweb_write_json(&w, path);
    }
    if (session) {
        json_key(&w, "sessionId");
        capnweb_write_json(&w, session);
    }
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        rpc_reject_invalid(call, "path", "is too long");
    else
        rpc_exchange_start_with(call, &route, &body, stream_result);
    buf_free(&body);
}

void rpc_read_file(struct capnweb_call *call)
{
    static const struct rpc_route route = { "POST", "/api/read", "path sessionId *", NULL };
    const struct capnweb_value *encoding = capnweb_get(capnweb_arg(call, 2), "encoding");

    if (encoding && encoding->type == CAPNWEB_STRING && str_is(encoding->string, "none"))
        read_bytes(call);
    else
        rpc_exchange_start(call, &route);
}

/* --- writeFileStream --- */

struct upload {
    struct agent *agent;
    struct capnweb_call *call;     /* until it is answered */
    struct capnweb_reader *reader; /* until its end */
    struct http_call *http;        /* until its end */
    bool waiting;                  /* a chunk is not acknowledged */
    int status;
    struct buf answer;
};

static void upload_free(struct upload *u)
{
    if (u->reader || u->http)
        return;
    u->agent->rpc.exchanges--;
    buf_free(&u->answer);
    free(u);
}

static void on_chunk(struct capnweb_reader *reader, const struct capnweb_value *chunk, void *data)
{
    struct upload *u = data;

    if (chunk->type != CAPNWEB_BYTES && chunk->type != CAPNWEB_STRING) {
        u->reader = NULL;
        capnweb_reader_cancel(reader, "TypeError", "a file is made of bytes");
        http_call_cancel(TAKE_PTR(u->http));
        rpc_reject_invalid(TAKE_PTR(u->call), "stream", "must consist of bytes");
        upload_free(u);
        return;
    }
    if (chunk->string.n == 0 || http_call_write(u->http, chunk->string.p, chunk->string.n))
        capnweb_reader_ack(reader);
    else
        u->waiting = true;
}

static void on_stream_end(struct capnweb_reader *reader, void *data)
{
    struct upload *u = data;

    (void)reader;
    u->reader = NULL;
    http_call_end_body(u->http);
}

/* The connection breaks off with the body, and the route forgets what it has written. */
static void on_stream_abort(struct capnweb_reader *reader, const struct capnweb_value *reason, void *data)
{
    struct upload *u = data;
    struct capnweb_call *call = TAKE_PTR(u->call);

    (void)reader;
    u->reader = NULL;
    http_call_cancel(TAKE_PTR(u->http));
    capnweb_reject(call, capnweb_copy(call->arena, reason));
    upload_free(u);
}

static void on_head(struct http_call *http, const struct h1_head *head, void *data)
{
    struct upload *u = data;

    (void)http;
    u->status = head->status;
}

static void on_body(struct http_call *http, struct str piece, void *data)
{
    struct upload *u = data;

    (void)http;
    (void)buf_append_str(&u->answer, piece); /* cut off, it is not JSON, and that is told */
}

static void on_drain(struct http_call *http, void *data)
{
    struct upload *u = data;

    (void)http;
    if (!u->reader || !u->waiting)
        return;
    u->waiting = false;
    capnweb_reader_ack(u->reader);
}

static void answer(struct upload *u, const struct berm_error *err)
{
    struct capnweb_call *call = TAKE_PTR(u->call);
    const struct json *json;

    if (err->code != BERM_OK)
        rpc_reject_internal(call, err->message);
    else if (u->status >= 300)
        capnweb_reject(call, rpc_error_of(call, u->status, buf_str(&u->answer)));
    else if (json_parse(call->arena, buf_str(&u->answer), JSON_MAX_DEPTH, &json, NULL) < 0)
        rpc_reject_internal(call, "The answer does not fit in memory");
    else
        capnweb_resolve(call, CAPNWEB_THE_JSON(json));
}

/* An error may be answered before the stream's end. */
static void on_end(struct http_call *http, const struct berm_error *err, void *data)
{
    struct upload *u = data;
    struct capnweb_reader *reader = TAKE_PTR(u->reader);

    (void)http;
    u->http = NULL;
    answer(u, err);
    if (reader)
        capnweb_reader_cancel(reader, "Error", "the file could not be written");
    upload_free(u);
}

static const char *upload_target(struct capnweb_call *call)
{
    char *path = rpc_escape(call->arena, rpc_text(call, 0));
    char *session = rpc_escape(call->arena, rpc_text(call, 2));

    if (!path || !session)
        return NULL;
    return arena_printf(call->arena, "/berm/v1/write?path=%s%s%s", path, capnweb_arg(call, 2) ? "&sessionId=" : "",
                        session);
}

static struct upload *upload_new(struct capnweb_call *call, struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = {
        .on_head = on_head, .on_body = on_body, .on_drain = on_drain, .on_end = on_end
    };
    const char *target = upload_target(call);
    struct agent *agent = rpc_agent(call);
    struct http_client *client = own_client(agent);
    struct upload *u = target && client ? calloc(1, sizeof(*u)) : NULL;

    if (!u) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "start a request");
        return NULL;
    }
    *u = (struct upload){ .agent = agent, .call = call };
    buf_init(&u->answer, (size_t)1 << 20);
    u->http = http_call_start(client, "PUT", target, NULL, 0, HTTP_CHUNKED, &callbacks, u, err);
    if (u->http) {
        agent->rpc.exchanges++;
        return u;
    }
    free(u);
    return NULL;
}

void rpc_write_file_stream(struct capnweb_call *call)
{
    static const struct capnweb_reader_ops ops = { on_chunk, on_stream_end, on_stream_abort };
    const struct capnweb_value *stream = capnweb_arg(call, 1);
    struct berm_error err;
    struct upload *u;

    if (!stream || stream->type != CAPNWEB_READER) {
        rpc_reject_invalid(call, "stream", "must be a ReadableStream");
        return;
    }
    if (!rpc_exchange_admit(call))
        return;
    u = upload_new(call, &err);
    if (!u) {
        rpc_reject_internal(call, err.message);
        return;
    }
    u->reader = stream->reader;
    capnweb_reader_start(stream->reader, &ops, u);
}
