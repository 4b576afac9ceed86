/* terminal_viewer.c - the connections to a terminal. */
#include "agent/agent.h"
#include "terminal.h"
#include "terminal_message.h"

#include "agent/http/routes.h"
#include "base/json.h"

#define EARLY_MAX ((size_t)64 * 1024)

/* {"type":"error","message":...}; the connection stays. */
static void send_error(struct terminal_viewer *viewer, const char *message)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, 4096);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_cstring(&w, "type", "error");
    json_pair_cstring(&w, "message", message);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0 && !ws_send(viewer->ws, WS_TEXT, buf_str(&text)))
        viewer->blocked = true;
    buf_free(&text);
}

void terminal_viewer_close(struct terminal_viewer *viewer, int code, struct str reason)
{
    if (viewer->leaving)
        return;
    viewer->leaving = true;
    terminal_detach(viewer);
    ws_close(viewer->ws, code, reason);
}

void terminal_viewer_fail(struct terminal_viewer *viewer, int code, const char *message)
{
    if (viewer->leaving)
        return;
    send_error(viewer, message);
    terminal_viewer_close(viewer, code, str_from(message));
}

static void take_input(struct terminal_viewer *viewer, struct str bytes)
{
    if (viewer->terminal)
        terminal_input(viewer->terminal, viewer, bytes);
    else if (buf_append_str(&viewer->early, bytes) < 0)
        terminal_viewer_fail(viewer, WS_INTERNAL, "Too much input for a terminal that is not ready");
}

static void take_text(struct terminal_viewer *viewer, struct str text)
{
    struct terminal_size size;

    switch (terminal_message_read(text, &size)) {
    case TERMINAL_MESSAGE_RESIZE:
        if (viewer->terminal)
            terminal_resize(viewer->terminal, size);
        viewer->has_size = true;
        viewer->size = size;
        break;
    case TERMINAL_MESSAGE_INVALID:
        send_error(viewer, "Invalid control message");
        break;
    case TERMINAL_MESSAGE_BAD_SIZE:
        send_error(viewer, "Invalid dimensions: cols and rows must be positive");
        break;
    case TERMINAL_MESSAGE_IGNORED:
        break;
    }
}

static void on_message(struct ws *ws, enum ws_type type, struct str message, void *data)
{
    struct terminal_viewer *viewer = data;

    (void)ws;
    if (viewer->leaving)
        return;
    if (type == WS_BINARY)
        take_input(viewer, message);
    else
        take_text(viewer, message);
}

static void on_drain(struct ws *ws, void *data)
{
    (void)ws;
    terminal_viewer_drained(data);
}

static void on_close(struct ws *ws, int code, struct str reason, void *data)
{
    struct terminal_viewer *viewer = data;

    (void)ws;
    (void)code;
    (void)reason;
    viewer->leaving = true;
    terminal_detach(viewer);
    if (viewer->open)
        terminal_open_forget(viewer->open);
    buf_free(&viewer->early);
    free(viewer);
}

struct terminal_viewer *terminal_viewer_new(struct request *rq)
{
    static const struct ws_callbacks callbacks = { .on_message = on_message,
                                                   .on_drain = on_drain,
                                                   .on_close = on_close };
    struct terminal_viewer *viewer = calloc(1, sizeof(*viewer));
    struct ws_config config;

    ws_config_default(&config);
    if (viewer) {
        viewer->agent = rq->agent;
        buf_init(&viewer->early, EARLY_MAX);
        viewer->ws = ws_accept(rq->agent->loop, rq->ex, &config, &callbacks, viewer);
    }
    if (viewer && viewer->ws)
        return viewer;
    free(viewer);
    reply_upgrade_failed(rq);
    return NULL;
}
