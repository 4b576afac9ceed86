/*
 * tools.h - the tools that a model gets: a table. A row says what the arguments are, which request of the HTTP API
 * they become, and who turns its answer into content. So a tool can do what that request can, with its checks,
 * and nothing else.
 */
#pragma once

#include "base/json.h"
#include "net/sse_parser.h"

struct mcp_call;

enum mcp_type {
    MCP_TEXT,
    MCP_WHOLE, /* a number without a fraction, not negative */
    MCP_FLAG,
    MCP_TEXTS, /* an array of strings */
    MCP_MAP    /* an object of strings */
};

/* Where an argument goes. */
enum mcp_place {
    MCP_IN_BODY,
    MCP_IN_OPTIONS, /* the member "options" of the body */
    MCP_IN_PATH,    /* "{name}" of the target */
    MCP_IN_QUERY,
    MCP_IN_SESSION, /* the field Session-Id */
    MCP_IN_TOOL     /* nowhere: the tool's own code looks at it */
};

struct mcp_arg {
    const char *name; /* NULL: the end */
    enum mcp_type type;
    enum mcp_place place;
    bool required;
    const char *field;         /* its name in the request; NULL: the same */
    const char *const *values; /* NULL-terminated: no others; or NULL */
    const char *about;
};

enum {
    MCP_READS = 1,     /* changes nothing */
    MCP_DESTROYS = 2,  /* what was there may be gone */
    MCP_REPEATABLE = 4 /* twice is the same as once */
};

/* What becomes of an answer. */
struct mcp_take {
    /* Of an answer that is a stream of events: 0, or -1 with *err, which ends the call. NULL: read whole. */
    int (*on_event)(struct mcp_call *call, const struct sse_event *event, struct berm_error *err);
    /* A 2xx answer is complete, in call->body unless it was a stream. Ends the call or goes on with another
     * request. */
    void (*on_done)(struct mcp_call *call);
    /* An answer of 400 and above that is no failure: true if it has been dealt with. NULL: they all are. */
    bool (*on_refused)(struct mcp_call *call);
};

struct mcp_tool {
    const char *name, *title, *about;
    unsigned hints;
    const char *method, *target;
    const struct mcp_arg *args;
    const struct mcp_take *take;
    void (*start)(struct mcp_call *call); /* instead of that one request; NULL: that */
};

const struct mcp_tool *mcp_tool_find(struct str name);
/* {"name","title","description","inputSchema","annotations"} of one, and an array of all. */
void mcp_tool_write(struct json_writer *w, const struct mcp_tool *tool);
void mcp_tools_write(struct json_writer *w);

/* One request of the HTTP API; all in the arena. */
struct mcp_request {
    const char *method, *target;
    const char *session;    /* or NULL */
    const char *generation; /* of the sandbox: no other one is asked, none is started; or NULL */
    struct str body;        /* p == NULL: none */
};

/* Whether the arguments are those of the tool: 0, or -1 with a field error. `args` NULL: none. */
int mcp_args_check(const struct mcp_tool *tool, const struct json *args, struct berm_error *err);
/* The request of a tool for arguments that have been checked. */
int mcp_request_build(const struct mcp_tool *tool, const struct json *args, struct arena *arena,
                      struct mcp_request *ret, struct berm_error *err);
/* `pattern` with the arguments in it, and those that go into the query. NULL with *err. */
const char *mcp_target_build(const struct mcp_tool *tool, const char *pattern, const struct json *args,
                             struct arena *arena, struct berm_error *err);
/* With everything escaped that has a meaning in a path or a query. */
int mcp_append_escaped(struct buf *out, struct str s);
/* A string argument; NULL if it is not given. */
const char *mcp_arg_text(const struct json *args, const char *name);
