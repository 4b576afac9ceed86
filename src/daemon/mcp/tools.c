/* tools.c - the table. What a description says is all that a model knows of a tool. */
#include "daemon/mcp/tools.h"

#include "daemon/mcp/call.h"

#define IN_IT "/v1/sandbox/{sandbox}/"
#define SANDBOX                                                                                                    \
    {                                                                                                              \
        "sandbox", MCP_TEXT, MCP_IN_PATH, true, NULL, NULL,                                                        \
            "Id of the sandbox; the first use of an id creates it."                                                \
    }
#define NO_MORE                                                                                                    \
    {                                                                                                              \
        0                                                                                                          \
    }

static const char *const encodings[] = { "utf-8", "base64", NULL };
static const char *const languages[] = { "python", "javascript", "typescript", NULL };
static const char *const networks[] = { "internet", "none", NULL };

/* clang-format off */
static const struct mcp_arg sandbox_only[] = { SANDBOX, NO_MORE };

static const struct mcp_arg create_args[] = {
    { "sandbox", MCP_TEXT, MCP_IN_PATH, false, NULL, NULL, "Id to use, of a-z and 2-7; without it one is chosen." },
    { "name", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "What to call it in lists; it is found by its id." },
    { "image", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "Name of the image; without it the server's default." },
    { "env", MCP_MAP, MCP_IN_BODY, false, NULL, NULL, "Environment variables of everything that runs in it." },
    { "labels", MCP_MAP, MCP_IN_BODY, false, NULL, NULL, "Labels to find it by." },
    { "sleep_after", MCP_TEXT, MCP_IN_BODY, false, "sleepAfter", NULL, "How long it stays without use, such as 10m." },
    { "keep_alive", MCP_FLAG, MCP_IN_BODY, false, "keepAlive", NULL, "Whether it never sleeps." },
    { "network", MCP_TEXT, MCP_IN_BODY, false, NULL, networks, "Whether it reaches the internet." },
    NO_MORE };

static const struct mcp_arg list_args[] = {
    { "label", MCP_TEXT, MCP_IN_QUERY, false, NULL, NULL, "Only those with this label: name=value, or the name alone." },
    { "cursor", MCP_TEXT, MCP_IN_QUERY, false, NULL, NULL, "From the page before." },
    NO_MORE };

static const struct mcp_arg exec_args[] = {
    SANDBOX,
    { "command", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "Text for bash." },
    { "cwd", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "Directory, /workspace or below." },
    { "env", MCP_MAP, MCP_IN_BODY, false, NULL, NULL, "Environment variables of this command." },
    { "session", MCP_TEXT, MCP_IN_SESSION, false, NULL, NULL,
      "Name of a shell that keeps its directory and variables between commands; without it each runs by itself." },
    { "timeout_ms", MCP_WHOLE, MCP_IN_BODY, false, NULL, NULL, "Kills the command after that many milliseconds." },
    NO_MORE };

static const struct mcp_arg read_args[] = {
    SANDBOX,
    { "path", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "Path of the file." },
    { "encoding", MCP_TEXT, MCP_IN_BODY, false, NULL, encodings, "Without it text is told from bytes by looking." },
    NO_MORE };

static const struct mcp_arg write_args[] = {
    SANDBOX,
    { "path", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "Path of the file; it is made or replaced." },
    { "content", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "What the file is to hold." },
    { "encoding", MCP_TEXT, MCP_IN_BODY, false, NULL, encodings, "base64 if the content is that." },
    NO_MORE };

static const struct mcp_arg files_args[] = {
    SANDBOX,
    { "path", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "Path of the directory." },
    { "recursive", MCP_FLAG, MCP_IN_OPTIONS, false, NULL, NULL, "Whether to look below as well." },
    { "hidden", MCP_FLAG, MCP_IN_OPTIONS, false, "includeHidden", NULL, "Whether to show names that begin with a dot." },
    NO_MORE };

static const struct mcp_arg delete_args[] = {
    SANDBOX,
    { "path", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "Path of the file." },
    NO_MORE };

static const struct mcp_arg code_args[] = {
    SANDBOX,
    { "code", MCP_TEXT, MCP_IN_TOOL, true, NULL, NULL, "The code; the value of its last expression is shown." },
    { "language", MCP_TEXT, MCP_IN_TOOL, false, NULL, languages, "python if it is not given." },
    { "context", MCP_TEXT, MCP_IN_TOOL, false, NULL, NULL, "Id of a code context to use instead of this session's." },
    { "timeout_ms", MCP_WHOLE, MCP_IN_TOOL, false, NULL, NULL, "Interrupts the code after that many milliseconds." },
    NO_MORE };

static const struct mcp_arg start_args[] = {
    SANDBOX,
    { "command", MCP_TEXT, MCP_IN_BODY, true, NULL, NULL, "Text for bash; it goes on after the call." },
    { "process", MCP_TEXT, MCP_IN_BODY, false, "processId", NULL, "Name for it; without it one is chosen." },
    { "cwd", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "Directory to run in." },
    { "env", MCP_MAP, MCP_IN_BODY, false, NULL, NULL, "Environment variables of this process." },
    NO_MORE };

static const struct mcp_arg process_args[] = {
    SANDBOX,
    { "process", MCP_TEXT, MCP_IN_PATH, true, NULL, NULL, "Id of the process." },
    NO_MORE };

static const struct mcp_arg expose_args[] = {
    SANDBOX,
    { "port", MCP_WHOLE, MCP_IN_BODY, true, NULL, NULL, "Port that a server in the sandbox listens on, 1024 or more." },
    { "name", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "Name to show in lists." },
    { "expires_in", MCP_WHOLE, MCP_IN_BODY, false, "expiresIn", NULL, "Seconds after which the URL ends." },
    NO_MORE };

static const struct mcp_arg port_args[] = {
    SANDBOX,
    { "port", MCP_WHOLE, MCP_IN_PATH, true, NULL, NULL, "The port." },
    NO_MORE };

static const struct mcp_arg tunnel_args[] = {
    SANDBOX,
    { "port", MCP_WHOLE, MCP_IN_PATH, true, NULL, NULL, "Port that a server in the sandbox listens on, 1024 or more." },
    { "name", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "Label for a host name that stays over restarts." },
    NO_MORE };

static const struct mcp_arg git_args[] = {
    SANDBOX,
    { "repository", MCP_TEXT, MCP_IN_BODY, true, "repoUrl", NULL, "URL of the repository." },
    { "branch", MCP_TEXT, MCP_IN_BODY, false, NULL, NULL, "Branch or tag; without it the default branch." },
    { "directory", MCP_TEXT, MCP_IN_BODY, false, "targetDir", NULL, "Where to put it; without it below /workspace." },
    { "depth", MCP_WHOLE, MCP_IN_BODY, false, NULL, NULL, "How many commits of its history to fetch." },
    NO_MORE };

static const struct mcp_tool tools[] = {
    { "sandbox_create", "Create a sandbox", "Creates and starts a sandbox and describes it. Changes the settings of one that exists.",
      MCP_REPEATABLE, "PUT", "/v1/sandbox", create_args, &mcp_take_json, mcp_start_create },
    { "sandbox_list", "List sandboxes", "Lists the sandboxes with their state, one page at a time.",
      MCP_READS | MCP_REPEATABLE, "GET", "/v1/sandboxes", list_args, &mcp_take_json, NULL },
    { "sandbox_get", "Describe a sandbox", "Tells state, limits, labels and times of a sandbox. Does not start it.",
      MCP_READS | MCP_REPEATABLE, "GET", "/v1/sandbox/{sandbox}", sandbox_only, &mcp_take_json, NULL },
    { "sandbox_destroy", "Destroy a sandbox", "Ends everything in a sandbox at once and frees it, with its files.",
      MCP_DESTROYS | MCP_REPEATABLE, "DELETE", "/v1/sandbox/{sandbox}", sandbox_only, &mcp_take_empty, NULL },
    { "exec", "Run a command", "Runs a command to its end and gives its output and exit code.",
      MCP_DESTROYS, "POST", IN_IT "exec", exec_args, &mcp_take_exec, NULL },
    { "file_read", "Read a file", "Gives a file's contents: text as it is, images as images, other bytes as base64.",
      MCP_READS | MCP_REPEATABLE, "POST", IN_IT "files/read", read_args, &mcp_take_file, NULL },
    { "file_write", "Write a file", "Makes or replaces a file, with the directories it needs.",
      MCP_DESTROYS | MCP_REPEATABLE, "POST", IN_IT "files/write", write_args, &mcp_take_json, NULL },
    { "file_list", "List files", "Lists a directory with kinds, sizes and times.",
      MCP_READS | MCP_REPEATABLE, "POST", IN_IT "files/list", files_args, &mcp_take_json, NULL },
    { "file_delete", "Delete a file", "Deletes one file.",
      MCP_DESTROYS, "POST", IN_IT "files/delete", delete_args, &mcp_take_json, NULL },
    { "code_run", "Run code", "Runs Python, JavaScript or TypeScript in an interpreter that remembers what earlier code of this session "
      "defined. Figures and images come as images.",
      MCP_DESTROYS, "POST", NULL, code_args, NULL, mcp_start_code },
    { "process_start", "Start a process", "Starts a command that goes on in the background, such as a server.",
      MCP_DESTROYS, "POST", IN_IT "processes", start_args, &mcp_take_json, NULL },
    { "process_list", "List processes", "Lists the background processes of a sandbox with their status.",
      MCP_READS | MCP_REPEATABLE, "GET", IN_IT "processes", sandbox_only, &mcp_take_json, NULL },
    { "process_logs", "Read a process's output", "Gives what a background process has written so far.",
      MCP_READS | MCP_REPEATABLE, "GET", IN_IT "processes/{process}/logs", process_args, &mcp_take_json, NULL },
    { "process_kill", "Kill a process", "Ends a background process and its children.",
      MCP_DESTROYS, "DELETE", IN_IT "processes/{process}", process_args, &mcp_take_json, NULL },
    { "port_expose", "Expose a port", "Gives a preview URL, with a token in its name, for a server in the sandbox.",
      MCP_REPEATABLE, "POST", IN_IT "ports", expose_args, &mcp_take_json, NULL },
    { "port_list", "List exposed ports", "Lists the preview URLs of a sandbox.",
      MCP_READS | MCP_REPEATABLE, "GET", IN_IT "ports", sandbox_only, &mcp_take_json, NULL },
    { "port_unexpose", "Stop exposing a port", "Ends the preview URL of a port.",
      MCP_DESTROYS | MCP_REPEATABLE, "DELETE", IN_IT "ports/{port}", port_args, &mcp_take_empty, NULL },
    { "tunnel_open", "Open a tunnel", "Gives a URL with an unguessable or a chosen name for a server in the sandbox.",
      MCP_REPEATABLE, "POST", IN_IT "tunnel/{port}", tunnel_args, &mcp_take_json, NULL },
    { "tunnel_close", "Close a tunnel", "Ends the tunnel of a port.",
      MCP_DESTROYS | MCP_REPEATABLE, "DELETE", IN_IT "tunnel/{port}", port_args, &mcp_take_empty, NULL },
    { "git_checkout", "Clone a repository", "Clones a git repository into the sandbox.",
      MCP_DESTROYS, "POST", IN_IT "git/checkout", git_args, &mcp_take_json, NULL },
};
/* clang-format on */

const struct mcp_tool *mcp_tool_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
        if (str_is(name, tools[i].name))
            return &tools[i];
    return NULL;
}

void mcp_tools_write(struct json_writer *w)
{
    json_array_begin(w);
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
        mcp_tool_write(w, &tools[i]);
    json_array_end(w);
}
