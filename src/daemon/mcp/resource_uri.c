/* resource_uri.c - berm://ID/... and the requests that they stand for. */
#include "base/utf8.h"
#include "daemon/mcp/resources.h"
#include "daemon/mcp/tools.h"
#include "net/h1.h"

#define SCHEME  "berm://"
#define URI_MAX 8192

static int unknown(struct berm_error *err)
{
    return berm_fail_field(err, "uri", "there is no such kind of resource: resources/templates/list has all");
}

/* `prefix` with a "/" in front, then text that may have escapes. NULL: it is none, or not UTF-8. */
static const char *decode(struct arena *arena, struct str raw, const char *prefix)
{
    size_t n = strlen(prefix);
    char *text = arena_alloc(arena, n + raw.n + 1);

    if (!text)
        return NULL;
    memcpy(text, prefix, n);
    if (memchr(raw.p, '?', raw.n) || memchr(raw.p, '#', raw.n) || percent_decode(raw, text + n, raw.n + 1) < 0 ||
        !utf8_valid(str_from(text)))
        return NULL;
    return text;
}

static int take_file(struct arena *arena, struct str path, struct mcp_resource *ret, struct berm_error *err)
{
    ret->name = decode(arena, path, "/");
    if (!ret->name)
        return berm_fail_field(err, "uri", "the path of the file is not valid");
    ret->kind = path.n == 0 || ret->name[strlen(ret->name) - 1] == '/' ? MCP_DIRECTORY : MCP_FILE;
    return 0;
}

static int take_logs(struct arena *arena, struct str rest, struct mcp_resource *ret, struct berm_error *err)
{
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    size_t n = slash ? (size_t)(slash - rest.p) : 0;

    if (n == 0 || !str_is((struct str){ slash, rest.n - n }, "/logs"))
        return unknown(err);
    ret->name = decode(arena, (struct str){ rest.p, n }, "");
    if (!ret->name)
        return berm_fail_field(err, "uri", "the name of the process is not valid");
    ret->kind = MCP_LOGS;
    return 0;
}

static int take_part(struct arena *arena, struct str part, struct mcp_resource *ret, struct berm_error *err)
{
    static const struct str files = STR("/files/"), processes = STR("/processes/");

    ret->kind = str_is(part, "/events") ? MCP_EVENTS : str_is(part, "/processes") ? MCP_PROCESSES : MCP_SANDBOX;
    if (part.n == 0 || ret->kind != MCP_SANDBOX)
        return 0;
    if (str_has_prefix(part, files))
        return take_file(arena, (struct str){ part.p + files.n, part.n - files.n }, ret, err);
    if (str_has_prefix(part, processes))
        return take_logs(arena, (struct str){ part.p + processes.n, part.n - processes.n }, ret, err);
    return unknown(err);
}

static bool is_id(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}

int mcp_resource_parse(struct arena *arena, struct str uri, struct mcp_resource *ret, struct berm_error *err)
{
    struct str rest = uri;
    size_t n = 0;

    memset(ret, 0, sizeof(*ret));
    if (uri.n > URI_MAX || !str_has_prefix(uri, STR(SCHEME)))
        return unknown(err);
    rest.p += strlen(SCHEME);
    rest.n -= strlen(SCHEME);
    while (n < rest.n && is_id(rest.p[n]))
        n++;
    if (n == 0 || n > SANDBOX_ID_MAX)
        return berm_fail_field(err, "uri", "after %s comes the id of a sandbox", SCHEME);
    memcpy(ret->sandbox, rest.p, n);
    ret->uri = arena_strdup(arena, uri);
    if (!ret->uri)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "uri");
    return take_part(arena, (struct str){ rest.p + n, rest.n - n }, ret, err);
}

const char *mcp_resource_target(struct arena *arena, const struct mcp_resource *resource)
{
    static const char *const parts[] = { [MCP_EVENTS] = "/events", [MCP_PROCESSES] = "/processes" };
    _cleanup_(buf_free) struct buf out;
    int rc;

    buf_init(&out, 4 * URI_MAX);
    rc = buf_printf(&out, "/v1/sandbox/%s", resource->sandbox);
    if (resource->kind == MCP_LOGS)
        rc |= buf_append_str(&out, STR("/processes/")) | mcp_append_escaped(&out, str_from(resource->name)) |
              buf_append_str(&out, STR("/logs"));
    else if (resource->kind == MCP_EVENTS || resource->kind == MCP_PROCESSES)
        rc |= buf_append_str(&out, str_from(parts[resource->kind]));
    return rc < 0 ? NULL : arena_strdup(arena, buf_str(&out));
}

/* Escaped but for the slashes. */
static int append_path(struct buf *out, struct str path)
{
    while (path.n) {
        const char *slash = memchr(path.p, '/', path.n);
        size_t n = slash ? (size_t)(slash - path.p) : path.n;

        if (mcp_append_escaped(out, (struct str){ path.p, n }) < 0 || (slash && buf_append(out, "/", 1) < 0))
            return -1;
        path.p += n + (slash != NULL);
        path.n -= n + (slash != NULL);
    }
    return 0;
}

const char *mcp_file_uri(struct arena *arena, const char *sandbox, struct str directory, struct str name,
                         bool is_directory)
{
    _cleanup_(buf_free) struct buf out;

    buf_init(&out, 16 * URI_MAX);
    if (buf_printf(&out, SCHEME "%s/files", sandbox) < 0 || append_path(&out, directory) < 0 ||
        mcp_append_escaped(&out, name) < 0 || (is_directory && buf_append(&out, "/", 1) < 0))
        return NULL;
    return arena_strdup(arena, buf_str(&out));
}
