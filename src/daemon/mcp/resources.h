/*
 * resources.h - what a client can look at without a tool: sandboxes, their life, their processes and logs, their
 * files.
 *
 * To look starts nothing: a sandbox that is not there or that sleeps has no files, and a list asks no sandbox, so
 * that a client which shows one keeps none of them awake.
 *
 *   berm://ID                      what it is, as GET /v1/sandbox/ID tells it
 *   berm://ID/events               its life
 *   berm://ID/processes            what runs in the background
 *   berm://ID/processes/PID/logs   what one of them has written
 *   berm://ID/files/PATH           a file; a directory if it ends with "/". PATH begins at the root
 */
#pragma once

#include "daemon/mcp/message.h"
#include "daemon/mcp/session.h"
#include "daemon/store.h"

struct request;

enum mcp_resource_kind { MCP_SANDBOX, MCP_EVENTS, MCP_PROCESSES, MCP_LOGS, MCP_FILE, MCP_DIRECTORY };

struct mcp_resource {
    enum mcp_resource_kind kind;
    char sandbox[SANDBOX_ID_MAX + 1];
    const char *uri;  /* as the client wrote it */
    const char *name; /* decoded: the process, or the absolute path */
};

/* Pure: all of it in the arena. 0, or -1 with *err. */
int mcp_resource_parse(struct arena *arena, struct str uri, struct mcp_resource *ret, struct berm_error *err);
/* The path of the API's request that tells it, of those that are one GET: all but files. NULL without memory. */
const char *mcp_resource_target(struct arena *arena, const struct mcp_resource *resource);
/* The URI of a file or (with a "/" at the end) of a directory of a sandbox. NULL without memory. */
const char *mcp_file_uri(struct arena *arena, const char *sandbox, struct str directory, struct str name,
                         bool is_directory);

void mcp_resource_templates_write(struct json_writer *w);
void mcp_resources_list(struct mcp *mcp, struct mcp_session *session, struct request *request,
                        const struct mcp_message *message);
void mcp_resources_read(struct mcp *mcp, struct mcp_session *session, struct request *request,
                        const struct mcp_message *message);
