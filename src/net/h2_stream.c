/*
 * h2_stream.c - a stream as an exchange: the request to the handler, what it answers to the frames.
 *
 * Handlers are called from h2_stream_begin() and h2_stream_data(), inside of nghttp2, and from h2_stream_move() and
 * h2_stream_drained(), outside. What they do takes effect in the next h2_stream_move(), but for heads and resets,
 * which nghttp2 lets be submitted at any time.
 */
#include "h2_internal.h"

#include <sys/socket.h>

/* --- output --- */

static struct outq *output(const struct h2_stream *stream)
{
    if (stream->tunnel)
        return h2_tunnel_out(stream->tunnel);
    return stream->ex ? &stream->ex->out : NULL;
}

static bool output_ended(const struct h2_stream *stream)
{
    return stream->tunnel ? h2_tunnel_ended(stream->tunnel) : stream->ex && stream->ex->ended;
}

bool h2_stream_has_output(const struct h2_stream *stream)
{
    const struct outq *out = output(stream);

    return out && (!outq_empty(out) || (output_ended(stream) && !stream->answered));
}

static ssize_t read_output(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *data)
{
    struct h2_stream *stream = source->ptr;
    struct outq *out = output(stream);
    ssize_t n;

    (void)session, (void)id, (void)data;
    if (!out)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = outq_read(out, to, room);
    if (n < 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (outq_empty(out) && output_ended(stream))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0)
        return NGHTTP2_ERR_DEFERRED;
    stream->progress_ms = h2_now(stream->h2);
    return n;
}

void h2_exchange_head(struct http_exchange *ex, struct str head)
{
    struct h2_stream *stream = ex->stream;
    nghttp2_data_provider body = { .source.ptr = stream, .read_callback = read_output };
    bool empty = ex->no_body || (ex->framing == RESPONSE_LENGTH && ex->length_left == 0);

    stream->progress_ms = h2_now(stream->h2);
    /* To a client that wants a WebSocket a 200 means that it has one. HTTP/1.1 may just leave Upgrade alone. */
    if (stream->connect && ex->started && str_has_prefix(head, STR("HTTP/1.1 2"))) {
        ex->own = true;
        h2_reset(stream, NGHTTP2_CONNECT_ERROR);
        return;
    }
    if (h2_submit_head(stream, head, ex->started && empty ? NULL : &body) < 0)
        h2_exchange_reset(ex);
    h2_wake(stream);
}

void h2_exchange_reset(struct http_exchange *ex)
{
    ex->own = true; /* what the handler still says has no effect */
    h2_reset(ex->stream, NGHTTP2_INTERNAL_ERROR);
}

/* --- the request --- */

static void call_handler(struct h2_stream *stream, struct http_exchange *ex)
{
    struct http_server *server = stream->h2->conn->server;

    server->stats.requests_total++;
    ex->body_end_pending = true;
    ex->continue_pending = ex->head.expect_continue && !stream->input_ended && !stream->connect;
    if (ex->head.framing == H1_CONTENT_LENGTH && ex->head.content_length > server->limits.max_body)
        http_exchange_refuse(ex, 413);
    else
        server->handler.on_request(ex, &ex->head, server->handler.data);
}

void h2_stream_begin(struct h2_stream *stream)
{
    struct http_conn *conn = stream->h2->conn;
    struct http_server *server = conn->server;
    struct http_exchange *ex = http_exchange_spare(server);
    struct buf text;
    int status;

    buf_init(&text, 3 * server->head_limits.max_head);
    stream->connect = h2_request_is_connect(stream->request);
    status = h2_request_write(stream->request, stream->input_ended, &text);
    if (ex && status == 0) {
        struct h1_limits limits = { text.max, H1_MAX_HEADERS };
        ssize_t n = h1_parse_request(buf_head(&text), text.len, &limits, &ex->head);

        status = n == (ssize_t)text.len ? 0 : n < 0 ? (int)-n : 400;
    }
    if (ex && status != 0)
        memset(&ex->head, 0, sizeof(ex->head));
    ex = ex ? http_exchange_take(conn, status == 0 ? buf_str(&text) : STR("")) : NULL;
    buf_free(&text);
    if (!ex) {
        h2_reset(stream, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    stream->ex = ex;
    ex->stream = stream;
    if (status == 0)
        call_handler(stream, ex);
    else
        http_exchange_refuse(ex, status);
}

bool h2_stream_wants_body(const struct h2_stream *stream)
{
    return stream->ex && !stream->input_ended && !stream->connect && !stream->ex->paused && !stream->ex->ended;
}

void h2_stream_data(struct h2_stream *stream, struct str piece)
{
    struct http_exchange *ex = stream->ex;

    stream->progress_ms = h2_now(stream->h2);
    if (ex && ex->ended) {
        h2_consume(stream, piece.n);
    } else if (ex && !ex->paused && !stream->connect && stream->in.len == 0) {
        ex->continue_pending = false;
        http_exchange_body(ex, piece);
        h2_consume(stream, piece.n);
    } else if (buf_append_str(&stream->in, piece) < 0) {
        h2_reset(stream, NGHTTP2_FLOW_CONTROL_ERROR);
    }
}

static void give_body(struct h2_stream *stream)
{
    struct http_exchange *ex = stream->ex;
    size_t n = stream->in.len;

    if (n == 0 || stream->connect || (ex->paused && !ex->ended))
        return;
    ex->continue_pending = false;
    http_exchange_body(ex, buf_str(&stream->in));
    buf_clear(&stream->in);
    buf_release_if_empty(&stream->in);
    h2_consume(stream, n);
}

static void give_end(struct h2_stream *stream)
{
    struct http_exchange *ex = stream->ex;
    bool over = stream->connect || (stream->input_ended && stream->in.len == 0);

    if (!over || !ex->body_end_pending || ex->ended || ex->paused)
        return;
    ex->body_end_pending = false;
    if (ex->callbacks.on_body_end)
        ex->callbacks.on_body_end(ex, ex->data);
}

void h2_stream_move(struct h2_stream *stream)
{
    struct http_exchange *ex = stream->ex;

    if (stream->tunnel) {
        if (ex) { /* it was upgraded */
            stream->ex = NULL;
            http_exchange_close(ex, true);
        }
        h2_tunnel_move(stream->tunnel);
    } else if (ex) {
        if (ex->continue_pending && !ex->started && !ex->paused)
            http_exchange_continue(ex);
        give_body(stream);
        give_end(stream);
        ex->dirty = false;
    }
    if (h2_stream_has_output(stream))
        nghttp2_session_resume_data(stream->h2->session, stream->id); /* fails if nothing waits for it */
}

void h2_stream_drained(struct h2_stream *stream)
{
    struct http_exchange *ex = stream->ex;

    if (!ex || !ex->want_drain || ex->ended || ex->own ||
        ex->out.bytes >= stream->h2->conn->server->limits.high_water / 4)
        return;
    ex->want_drain = false;
    if (ex->callbacks.on_drain)
        ex->callbacks.on_drain(ex, ex->data);
}

/* --- upgrades --- */

int h2_exchange_upgrade(struct http_exchange *ex, struct str head)
{
    struct h2_stream *stream = ex->stream;
    nghttp2_data_provider body = { .source.ptr = stream, .read_callback = read_output };
    int pair[2];

    if (!stream->connect || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    stream->tunnel = h2_tunnel_new(stream, pair[0]);
    if (!stream->tunnel || h2_submit_head(stream, head, &body) < 0) {
        h2_tunnel_free(TAKE_PTR(stream->tunnel));
        close_fd(&pair[1]);
        return -1;
    }
    h2_wake(stream);
    return pair[1];
}

/* --- the end --- */

void h2_stream_free(struct h2_stream *stream, bool complete)
{
    struct h2 *h2 = stream->h2;

    if (stream->prev)
        stream->prev->next = stream->next;
    else
        h2->streams = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    if (stream->ex)
        http_exchange_close(stream->ex, complete);
    h2_tunnel_free(stream->tunnel);
    h2_request_free(stream->request);
    buf_free(&stream->in);
    free(stream);
}
