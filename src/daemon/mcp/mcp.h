/*
 * mcp.h - the Model Context Protocol at /mcp: its "streamable HTTP" transport.
 *
 * A client POSTs one JSON-RPC message at a time. `initialize` makes a session; all later requests name it in
 * Mcp-Session-Id. There is no stream of the server's own (GET is 405), as nothing is told unasked; DELETE ends a
 * session. `berm mcp` is the same over standard input and output, by forwarding.
 */
#pragma once

#include "daemon/api/api.h"
#include "daemon/mcp/session.h"

/* The daemon's HTTP server must be there: the tools' requests go to it. 0, or -1. */
int mcp_init(struct daemon *daemon);
void mcp_free(struct daemon *daemon);

void api_mcp_post(struct request *request);
void api_mcp_get(struct request *request);
void api_mcp_delete(struct request *request);

/* --- within mcp/ --- */

/* Whether the client takes an answer as a stream of events. */
bool mcp_takes_events(const struct request *request);
/* The answer to a message: a JSON-RPC error, which HTTP carries as 200. */
void mcp_respond_error(struct request *request, const struct json *id, int code, const char *text);
/* An HTTP request that was refused as such. */
void mcp_refuse(struct request *request, int status, int code, const char *text);
