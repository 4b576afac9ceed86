#include "methods.h"

/* --- results that are not just the answer --- */

static const struct json *member_or_null(const struct json *answer, const char *key)
{
    static const struct json null = { .type = JSON_NULL };
    const struct json *value = json_get(answer, key);

    return value ? value : &null;
}

static struct capnweb_value version_result(struct capnweb_call *call, const struct json *answer)
{
    (void)call;
    return CAPNWEB_THE_JSON(member_or_null(answer, "version"));
}

static struct capnweb_value nothing_result(struct capnweb_call *call, const struct json *answer)
{
    (void)call;
    (void)answer;
    return CAPNWEB_NOTHING;
}

/* What upstream counts is the argument as text, also when it is base64. */
static struct capnweb_value write_result(struct capnweb_call *call, const struct json *answer)
{
    struct capnweb_member written = { STR("bytesWritten"), CAPNWEB_NUMBER((int64_t)rpc_text(call, 1).n) };

    return rpc_with(call, answer, &written, 1);
}

static struct capnweb_value rename_result(struct capnweb_call *call, const struct json *answer)
{
    struct capnweb_member old = { STR("oldPath"), CAPNWEB_TEXT(rpc_text(call, 0)) };

    return rpc_with(call, answer, &old, 1);
}

static struct capnweb_value session_result(struct capnweb_call *call, const struct json *answer)
{
    const struct json *data = json_get(answer, "data");
    const struct json *id = member_or_null(data, "id");
    struct capnweb_value result;
    struct capnweb_member *members = rpc_object(call, 5, &result);
    char *message = id->type == JSON_STRING ? arena_printf(call->arena, "Session %s created", id->string.p) : NULL;

    if (!members)
        return CAPNWEB_NOTHING;
    members[0] = (struct capnweb_member){ STR("success"), CAPNWEB_TRUTH(true) };
    members[1] = (struct capnweb_member){ STR("id"), CAPNWEB_THE_JSON(id) };
    members[2] = (struct capnweb_member){ STR("message"), CAPNWEB_TEXT(message ? str_from(message) : STR("")) };
    members[3] = (struct capnweb_member){ STR("timestamp"), CAPNWEB_THE_JSON(member_or_null(answer, "timestamp")) };
    members[4] = (struct capnweb_member){ STR("containerPlacementId"),
                                          CAPNWEB_THE_JSON(member_or_null(answer, "containerPlacementId")) };
    return result;
}

static struct capnweb_value sessions_result(struct capnweb_call *call, const struct json *answer)
{
    struct capnweb_value result;
    struct capnweb_member *members = rpc_object(call, 1, &result);

    if (members)
        members[0] = (struct capnweb_member){ STR("sessions"), CAPNWEB_THE_JSON(member_or_null(answer, "data")) };
    return result;
}

/* Times of the route are texts, or are not told: then they are the answer's. */
static struct capnweb_value context_value(struct capnweb_call *call, const struct json *context, const char *id)
{
    struct capnweb_value result, now = { .type = CAPNWEB_DATE, .number = (double)clock_realtime_ms() };
    struct capnweb_member *members = rpc_object(call, 5, &result);

    if (!members)
        return CAPNWEB_NOTHING;
    members[0] = (struct capnweb_member){ STR("id"), CAPNWEB_THE_JSON(member_or_null(context, id)) };
    members[1] = (struct capnweb_member){ STR("language"), CAPNWEB_THE_JSON(member_or_null(context, "language")) };
    members[2] = (struct capnweb_member){ STR("cwd"), CAPNWEB_THE_JSON(member_or_null(context, "cwd")) };
    members[3] = (struct capnweb_member){ STR("createdAt"), now };
    members[4] = (struct capnweb_member){ STR("lastUsed"), now };
    return result;
}

static struct capnweb_value context_result(struct capnweb_call *call, const struct json *answer)
{
    return context_value(call, answer, "contextId");
}

static struct capnweb_value contexts_result(struct capnweb_call *call, const struct json *answer)
{
    const struct json *contexts = json_get(answer, "contexts");
    size_t count = contexts && contexts->type == JSON_ARRAY ? contexts->array.count : 0;
    struct capnweb_value *items = arena_calloc(call->arena, count + 1, sizeof(*items));

    if (!items)
        return CAPNWEB_NOTHING;
    for (size_t i = 0; i < count; i++)
        items[i] = context_value(call, &contexts->array.items[i], "id");
    return (struct capnweb_value){ .type = CAPNWEB_ARRAY, .array = { items, count } };
}

/* The route has other names for some options. */
static void create_context(struct capnweb_call *call)
{
    static const struct rpc_route route = { "POST", "/api/contexts", "", context_result, NULL };
    static const struct {
        const char *option, *member;
    } names[] = {
        { "language", "language" },
        { "cwd", "cwd" },
        { "envVars", "env_vars" },
        { "timeout", "timeout_ms" },
    };
    struct json_writer w;
    struct buf body;

    buf_init(&body, (size_t)1 << 20);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct capnweb_value *value = capnweb_get(capnweb_arg(call, 0), names[i].option);
        if (!value)
            continue;
        json_key(&w, names[i].member);
        capnweb_write_json(&w, value);
    }
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        rpc_reject_internal(call, "The options do not fit in memory");
    else
        rpc_exchange_start_with(call, &route, &body, NULL);
    buf_free(&body);
}

static void ping(struct capnweb_call *call)
{
    capnweb_resolve(call, CAPNWEB_TEXT(STR("healthy")));
}

static void get_commands(struct capnweb_call *call)
{
    capnweb_resolve(call, (struct capnweb_value){ .type = CAPNWEB_ARRAY });
}

/* --- the table --- */

static const struct method {
    const char *space, *name;
    struct rpc_route route; /* unless there is */
    void (*run)(struct capnweb_call *call);
} methods[] = {
    { "commands", "execute", { "POST", "/api/execute", "command sessionId *", NULL, NULL }, NULL },
    { "commands",
      "executeStream",
      { "POST", "/api/execute/stream?events=named", "command sessionId *", NULL, NULL },
      NULL },

    { "files", "readFile", { NULL }, rpc_read_file },
    { "files", "readFileStream", { "POST", "/api/read/stream", "path sessionId", NULL, "file.read" }, NULL },
    { "files", "writeFile", { "POST", "/api/write", "path content sessionId *", write_result, NULL }, NULL },
    { "files", "writeFileStream", { NULL }, rpc_write_file_stream },
    { "files", "deleteFile", { "POST", "/api/delete", "path sessionId", NULL, NULL }, NULL },
    { "files", "renameFile", { "POST", "/api/rename", "oldPath newPath sessionId", rename_result, NULL }, NULL },
    { "files", "moveFile", { "POST", "/api/move", "sourcePath destinationPath sessionId", NULL, NULL }, NULL },
    { "files", "mkdir", { "POST", "/api/mkdir", "path sessionId *", NULL, NULL }, NULL },
    { "files", "listFiles", { "POST", "/api/list-files", "path sessionId options", NULL, NULL }, NULL },
    { "files", "exists", { "POST", "/api/exists", "path sessionId", NULL, NULL }, NULL },

    { "processes", "startProcess", { "POST", "/api/process/start", "command sessionId *", NULL, NULL }, NULL },
    { "processes", "listProcesses", { "GET", "/api/process/list", NULL, NULL, NULL }, NULL },
    { "processes", "getProcess", { "GET", "/api/process/-?id=%", NULL, NULL, NULL }, NULL },
    { "processes", "killProcess", { "DELETE", "/api/process/-?id=%", NULL, NULL, NULL }, NULL },
    { "processes", "killAllProcesses", { "DELETE", "/api/process/kill-all", NULL, NULL, NULL }, NULL },
    { "processes", "getProcessLogs", { "GET", "/api/process/-/logs?id=%", NULL, NULL, NULL }, NULL },
    { "processes", "streamProcessLogs", { "GET", "/api/process/-/stream?id=%", NULL, NULL, NULL }, NULL },

    { "ports", "watchPort", { "POST", "/api/port-watch", "*", NULL, NULL }, NULL },

    { "git", "checkout", { "POST", "/api/git/checkout", "repoUrl sessionId *", NULL, NULL }, NULL },

    { "interpreter", "createCodeContext", { NULL }, create_context },
    { "interpreter", "streamCode", { "POST", "/api/execute/code", "context_id code language", NULL, NULL }, NULL },
    { "interpreter", "runCodeStream", { NULL }, rpc_run_code_stream },
    { "interpreter", "listCodeContexts", { "GET", "/api/contexts", NULL, contexts_result, NULL }, NULL },
    { "interpreter", "deleteCodeContext", { "DELETE", "/api/contexts/%", NULL, nothing_result, NULL }, NULL },

    { "utils", "ping", { NULL }, ping },
    { "utils", "getVersion", { "GET", "/api/version", NULL, version_result, NULL }, NULL },
    { "utils", "getCommands", { NULL }, get_commands },
    { "utils", "createSession", { "POST", "/api/session/create", "*", session_result, NULL }, NULL },
    { "utils", "deleteSession", { "POST", "/api/session/delete", "sessionId", NULL, NULL }, NULL },
    { "utils", "listSessions", { "GET", "/api/session/list", NULL, sessions_result, NULL }, NULL },

    { "backup",
      "createArchive",
      { "POST", "/api/backup/create", "dir archivePath sessionId *", NULL, NULL },
      NULL },
    { "backup",
      "restoreArchive",
      { "POST", "/api/backup/restore", "dir archivePath sessionId", NULL, NULL },
      NULL },
    { "backup", "uploadParts", { "POST", "/api/backup/upload-parts", "*", NULL, NULL }, NULL },

    { "watch", "watch", { "POST", "/api/watch", "*", NULL, NULL }, NULL },
    { "watch", "checkChanges", { "POST", "/api/watch/check", "*", NULL, NULL }, NULL },

    { "tunnels", "ensureTunnelRun", { NULL }, rpc_ensure_tunnel_run },
    { "tunnels", "stopTunnelRun", { NULL }, rpc_stop_tunnel_run },
    { "tunnels", "runQuickTunnel", { NULL }, rpc_run_quick_tunnel },
    { "tunnels", "runNamedTunnel", { NULL }, rpc_run_named_tunnel },
    { "tunnels", "destroyTunnel", { NULL }, rpc_destroy_tunnel },
    { "tunnels", "listTunnels", { NULL }, rpc_list_tunnels },
};

/* --- the objects --- */

static const char *const spaces[] = { "commands",    "files", "processes", "ports", "git",
                                      "interpreter", "utils", "backup",    "watch", "tunnels" };

static const char *find_space(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
        if (str_is(name, spaces[i]))
            return spaces[i];
    return NULL;
}

static void call_method(struct capnweb_call *call, const char *space, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        const struct method *method = &methods[i];
        if (strcmp(space, method->space) != 0 || !str_is(name, method->name))
            continue;
        if (method->run)
            method->run(call);
        else
            rpc_exchange_start(call, &method->route);
        return;
    }
    capnweb_reject_error(call, "TypeError", "'%s.%.*s' is not a function.", space, (int)MIN(name.n, (size_t)100),
                         name.p);
}

static void reject_property(struct capnweb_call *call)
{
    capnweb_reject_error(call, "TypeError", "there is no such property");
}

static void space_call(struct capnweb_target *target, struct capnweb_call *call);

static const struct capnweb_ops space_ops = { space_call, NULL };
static struct capnweb_target space_targets[ARRAY_SIZE(spaces)];

static void space_call(struct capnweb_target *target, struct capnweb_call *call)
{
    const char *space = spaces[target - space_targets];

    if (call->is_read || call->path_count != 1)
        reject_property(call);
    else
        call_method(call, space, call->path[0].name);
}

/* A namespace itself: an object of its own, for those who keep it. */
static void give_space(struct capnweb_call *call, const char *space)
{
    for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
        if (spaces[i] != space)
            continue;
        if (!space_targets[i].ops)
            space_targets[i] = (struct capnweb_target){ &space_ops, 1 };
        capnweb_resolve(call, CAPNWEB_OF_TARGET(&space_targets[i]));
    }
}

static void main_call(struct capnweb_target *target, struct capnweb_call *call)
{
    const char *space = call->path_count > 0 ? find_space(call->path[0].name) : NULL;

    (void)target;
    if (!space && call->path_count == 2)
        capnweb_reject_error(call, "TypeError", "Cannot read properties of undefined (reading '%.*s')",
                             (int)MIN(call->path[1].name.n, (size_t)100), call->path[1].name.p);
    else if (space && call->path_count == 1 && call->is_read)
        give_space(call, space);
    else if (space && call->path_count == 2 && !call->is_read)
        call_method(call, space, call->path[1].name);
    else
        reject_property(call);
}

struct capnweb_target *rpc_main(void)
{
    static const struct capnweb_ops ops = { main_call, NULL };
    static struct capnweb_target main = { &ops, 1 };

    return &main;
}
