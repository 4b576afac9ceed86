/* rpc.c - connections: a WebSocket and a session on it. */
#include "rpc.h"

#include "agent/agent.h"
#include "agent/http/routes.h"
#include "methods.h"
#include "net/ws.h"

#include <stdio.h>

#define MESSAGE_MAX   ((size_t)33 << 20) /* 32 MiB and what is around them */
#define CLOSE_BY_PEER 3000               /* what both sides of this protocol close with */

struct rpc_connection {
    struct agent *agent;
    struct ws *ws;
    struct capnweb_session *session;
    struct loop_deferred run;
};

struct agent *rpc_agent(const struct capnweb_call *call)
{
    struct rpc_connection *c = capnweb_session_data(call->session);

    return c->agent;
}

/* --- what the session does with the WebSocket --- */

static void on_send(struct str message, void *data)
{
    struct rpc_connection *c = data;

    if (!ws_send(c->ws, WS_TEXT, message))
        ws_pause(c->ws); /* who does not take answers may not ask for more */
}

static void on_send_text(struct str before, struct held_text *text, struct str after, void *data)
{
    struct rpc_connection *c = data;

    if (!ws_send_text(c->ws, WS_TEXT, before, text, after))
        ws_pause(c->ws);
}

static void on_fail(struct str reason, void *data)
{
    struct rpc_connection *c = data;

    ws_close(c->ws, CLOSE_BY_PEER, reason);
}

static void on_wake(void *data)
{
    struct rpc_connection *c = data;

    loop_defer(c->agent->loop, &c->run);
}

static void on_run(struct loop_deferred *deferred)
{
    struct rpc_connection *c = container_of(deferred, struct rpc_connection, run);

    capnweb_run(c->session);
}

/* --- what the WebSocket does with the session --- */

static void on_message(struct ws *ws, enum ws_type type, struct str message, void *data)
{
    struct rpc_connection *c = data;

    (void)ws;
    if (type == WS_TEXT)
        capnweb_receive(c->session, message);
    else
        capnweb_fail(c->session, "TypeError", "Received non-string message from WebSocket.");
}

static void on_drain(struct ws *ws, void *data)
{
    (void)data;
    ws_resume(ws);
}

static void connection_free(struct rpc_connection *c)
{
    if (c->agent->rpc.newest == c)
        c->agent->rpc.newest = NULL;
    capnweb_session_free(c->session);
    loop_defer_cancel(c->agent->loop, &c->run);
    free(c);
}

static void on_close(struct ws *ws, int code, struct str reason, void *data)
{
    struct rpc_connection *c = data;
    char message[160];

    (void)ws;
    snprintf(message, sizeof(message), "Peer closed WebSocket: %d %.*s", code, (int)MIN(reason.n, (size_t)123),
             reason.p);
    capnweb_end(c->session, message);
    connection_free(c);
}

/* --- coming --- */

static struct rpc_connection *connection_new(struct agent *agent)
{
    struct rpc_connection *c = calloc(1, sizeof(*c));
    struct capnweb_transport transport = { on_send, on_fail, on_wake, c, on_send_text };
    struct capnweb_limits limits;

    if (!c)
        return NULL;
    capnweb_limits_default(&limits);
    limits.max_message = MESSAGE_MAX;
    limits.max_held = MAX(limits.max_held, agent->output_limit);
    c->agent = agent;
    c->run.callback = on_run;
    c->session = capnweb_session_new(&transport, &limits, rpc_main());
    if (!c->session) {
        free(c);
        return NULL;
    }
    return c;
}

void handle_rpc(struct request *rq)
{
    static const struct ws_callbacks callbacks = { .on_message = on_message,
                                                   .on_drain = on_drain,
                                                   .on_close = on_close };
    struct rpc_connection *c = connection_new(rq->agent);
    struct ws_config config;

    ws_config_default(&config);
    config.max_message = MESSAGE_MAX;
    config.max_queue = (size_t)256 << 20; /* as much as one answer may be */
    if (c)
        c->ws = ws_accept(rq->agent->loop, rq->ex, &config, &callbacks, c);
    if (c && c->ws) {
        rq->agent->rpc.newest = c;
        return;
    }
    if (c)
        connection_free(c);
    reply_upgrade_failed(rq);
}

/* --- the control callback --- */

static void on_notified(struct capnweb_import *import, bool ok, const struct capnweb_value *value, void *data)
{
    (void)ok; /* a client without the method, or without any: it does not want to know */
    (void)value;
    (void)data;
    capnweb_import_unref(import);
}

void rpc_notify(struct agent *agent, const char *method, const struct capnweb_value *args, size_t count)
{
    struct rpc_connection *c = agent->rpc.newest;
    struct capnweb_key key = { .name = str_from(method) };
    struct capnweb_import *result;

    result = c ? capnweb_call_start(capnweb_main(c->session), &key, 1, args, count) : NULL;
    if (result)
        capnweb_pull(result, on_notified, NULL);
}
