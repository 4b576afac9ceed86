/*
 * rpc.h - the control API over Cap'n Web (/rpc).
 *
 * Theory of operation: what a method means lives once, in the routes. A call becomes an HTTP exchange with our own
 * server (own_client.h), its arguments the request's body, the answer its result or its error; an answer of events
 * or of a file's bytes becomes a stream, written to the peer as it comes and paused when the peer does not take it.
 * Only what has no route is done here: tunnels, callbacks of the interpreter, streams into files. When a connection
 * ends its streams end, and through them their producers; other calls run to their end.
 */
#pragma once

#include "agent/http/request.h"
#include "capnweb/capnweb.h"

struct rpc_connection;
struct desk_link;
struct tunnel;

struct rpc_state {
    struct rpc_connection *newest; /* whose main object is the control callback; NULL when it is gone */
    unsigned exchanges;            /* under way */
    struct tunnel *tunnels;
    struct desk_link *desk; /* desk_tunnel.c: NULL until it is needed */
};

void handle_rpc(struct request *rq);

/* The agent that a call has come to. */
struct agent *rpc_agent(const struct capnweb_call *call);

/*
 * Tells the SDK of something, on the newest connection; dropped when there is none. The arguments are copied.
 */
void rpc_notify(struct agent *agent, const char *method, const struct capnweb_value *args, size_t count);
