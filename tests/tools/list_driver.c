/*
 * list_driver.c - the conformance list by libberm (tests/e2e/conformance-list). Requests are lines [op, id, args]
 * of JSON on stdin; answers are lines {"result": ...} or {"error": message, "code": ...} on stdout. With `--ops` it
 * prints the names of the operations that it has.
 */
#include "list_driver.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)

const char *text_of(struct call *call, const char *key)
{
    const struct json *value = json_get(call->args, key);

    return value && value->type == JSON_STRING ? value->string.p : NULL;
}

int64_t number_of(struct call *call, const char *key)
{
    const struct json *value = json_get(call->args, key);

    return value && value->type == JSON_INT ? value->integer : 0;
}

bool flag_of(struct call *call, const char *key)
{
    const struct json *value = json_get(call->args, key);

    return value && value->type == JSON_BOOL && value->boolean;
}

const char *const *pairs_of(struct call *call, const char *key)
{
    const struct json *object = json_get(call->args, key);
    const char **list;

    if (!object)
        return NULL;
    list = arena_alloc(call->arena, (object->object.count + 1) * sizeof(*list));
    for (size_t i = 0; i < object->object.count; i++) {
        const struct json_member *member = &object->object.members[i];
        list[i] = arena_printf(call->arena, "%s=%s", member->key.p, member->value.string.p);
    }
    list[object->object.count] = NULL;
    return list;
}

const char *const *strings_of(struct call *call, const char *key)
{
    const struct json *array = json_get(call->args, key);
    const char **list = arena_alloc(call->arena, (array->array.count + 1) * sizeof(*list));

    for (size_t i = 0; i < array->array.count; i++)
        list[i] = array->array.items[i].string.p;
    list[array->array.count] = NULL;
    return list;
}

const struct json *document_of(struct call *call, const char *json)
{
    const struct json *document;

    if (json_parse(call->arena, str_from(json), JSON_MAX_DEPTH, &document, NULL) < 0)
        abort(); /* the library has parsed it before */
    return document;
}

void write_members(struct call *call, const struct json *from, const char *const names[])
{
    json_object_begin(&call->w);
    for (; *names; names++) {
        const struct json *value = json_get(from, *names);
        if (!value)
            continue;
        json_key(&call->w, *names);
        json_value(&call->w, value);
    }
    json_object_end(&call->w);
}

/* --- commands --- */

static int on_stdout(void *data, const void *bytes, size_t n)
{
    return buf_append(&((struct output *)data)->out, bytes, n);
}

static int on_stderr(void *data, const void *bytes, size_t n)
{
    return buf_append(&((struct output *)data)->err, bytes, n);
}

int run_command(struct call *call, struct berm_exec *exec, struct output *ret)
{
    buf_init(&ret->out, LINE_MAX_BYTES);
    buf_init(&ret->err, LINE_MAX_BYTES);
    exec->on_stdout = on_stdout;
    exec->on_stderr = on_stderr;
    exec->data = ret;
    return berm_sandbox_exec(call->client, call->id, exec, &ret->exit_code, &call->problem);
}

void output_free(struct output *output)
{
    buf_free(&output->out);
    buf_free(&output->err);
}

/* Runs it and writes all of its outcome. */
static int outcome(struct call *call, struct berm_exec *exec)
{
    struct output output;
    int rc = run_command(call, exec, &output);

    if (rc == 0) {
        json_object_begin(&call->w);
        json_pair_int(&call->w, "exitCode", output.exit_code);
        json_pair_string(&call->w, "stdout", buf_str(&output.out));
        json_pair_string(&call->w, "stderr", buf_str(&output.err));
        json_object_end(&call->w);
    }
    output_free(&output);
    return rc;
}

static int op_exec(struct call *call)
{
    const char *session = text_of(call, "session"), *command = text_of(call, "command");
    const char *shell[] = { "bash", "-c", command, NULL }, *in_session[] = { "eval", command, NULL };
    struct berm_exec exec = { .argv = session ? in_session : shell,
                              .cwd = text_of(call, "cwd"),
                              .env = pairs_of(call, "env"),
                              .session = session,
                              .timeout_ms = number_of(call, "timeoutMs") };

    return outcome(call, &exec);
}

/* What the struct has no member for goes as it is: the list wants to see it refused. */
static int exec_with_unknown(struct call *call)
{
    const char *target = arena_printf(call->arena, "/v1/sandbox/%s/execute", call->id);

    return berm_request(call->client, "POST", target, "{\"command\":\"true\",\"limits\":{\"luck\":1}}", NULL,
                        &call->problem);
}

static int op_exec_limited(struct call *call)
{
    const struct json *given = json_get(call->args, "limits");
    const char *argv[] = { "bash", "-c", text_of(call, "command"), NULL };
    struct berm_exec_limits limits = { 0 };
    struct berm_usage usage;
    struct berm_exec exec = { .argv = argv, .limits = &limits, .ret_usage = &usage };
    int64_t pids = 0, bytes = 0;
    struct output output;
    int rc;

    if (json_get(given, "luck"))
        return exec_with_unknown(call);
    (void)json_field_int(given, "pids", 0, INT32_MAX, &pids, NULL);
    (void)json_field_int(given, "outputBytes", 0, INT32_MAX, &bytes, NULL);
    limits.pids = (uint32_t)pids;
    limits.output_bytes = (uint64_t)bytes;
    rc = run_command(call, &exec, &output);
    if (rc == 0) {
        json_object_begin(&call->w);
        json_pair_int(&call->w, "exitCode", output.exit_code);
        json_pair_string(&call->w, "stdout", buf_str(&output.out));
        json_pair_cstring(&call->w, "reason", usage.reason);
        json_object_end(&call->w);
    }
    output_free(&output);
    return rc;
}

static int op_exec_argv(struct call *call)
{
    const char *input = text_of(call, "stdin");
    struct berm_exec exec = { .argv = strings_of(call, "argv"), .has_stdin = input != NULL };
    int pipe_fds[2], rc;

    if (!input)
        return outcome(call, &exec);
    /* Less than a pipe holds, so nobody has to read it meanwhile. */
    if (pipe(pipe_fds) < 0 || write(pipe_fds[1], input, strlen(input)) < 0)
        abort();
    close(pipe_fds[1]);
    exec.stdin_fd = pipe_fds[0];
    rc = outcome(call, &exec);
    close(pipe_fds[0]);
    return rc;
}

/* --- files below the workspace --- */

struct bytes {
    const char *p;
    size_t n;
};

static ssize_t give(void *data, void *into, size_t n)
{
    struct bytes *left = data;

    if (n > left->n)
        n = left->n;
    memcpy(into, left->p, n);
    left->p += n;
    left->n -= n;
    return (ssize_t)n;
}

/* The argument `text`, or the bytes that `base64` stands for. */
static struct bytes content_of(struct call *call)
{
    const struct json *text = json_get(call->args, "text"), *encoded = json_get(call->args, "base64");
    size_t n;
    char *bytes;

    if (text)
        return (struct bytes){ text->string.p, text->string.n };
    bytes = arena_alloc(call->arena, encoded->string.n + 1);
    if (base64_decode(encoded->string, bytes, &n) < 0)
        abort();
    return (struct bytes){ bytes, n };
}

static int op_write_file(struct call *call)
{
    struct bytes content = content_of(call);

    return berm_file_put(call->client, call->id, text_of(call, "path"), give, &content, (int64_t)content.n,
                         &call->problem);
}

static int op_hydrate(struct call *call)
{
    struct bytes content = content_of(call);

    return berm_hydrate(call->client, call->id, give, &content, &call->problem);
}

static void write_base64(struct call *call, const struct buf *bytes)
{
    char *encoded = malloc(BASE64_ENCODED_SIZE(bytes->len) + 1);

    if (!encoded)
        abort();
    json_pair_string(&call->w, "base64",
                     (struct str){ encoded, base64_encode(buf_head(bytes), bytes->len, encoded) });
    free(encoded);
}

static int op_read_file(struct call *call)
{
    struct output output = { 0 };
    int rc;

    buf_init(&output.out, LINE_MAX_BYTES);
    rc = berm_file_get(call->client, call->id, text_of(call, "path"), on_stdout, &output, &call->problem);
    if (rc == 0) {
        json_object_begin(&call->w);
        write_base64(call, &output.out);
        json_pair_int(&call->w, "size", (int64_t)output.out.len);
        json_object_end(&call->w);
    }
    buf_free(&output.out);
    return rc;
}

static int op_persist(struct call *call)
{
    struct berm_stream *stream;
    struct berm_item item;
    struct buf tar;
    int rc;

    if (berm_persist(call->client, call->id, NULL, &stream, &call->problem) < 0)
        return -1;
    buf_init(&tar, LINE_MAX_BYTES);
    while ((rc = berm_stream_next(stream, -1, &item, &call->problem)) > 0 && item.kind != BERM_ITEM_END)
        if (item.kind == BERM_ITEM_DATA && buf_append(&tar, item.data, item.size) < 0)
            abort();
    berm_stream_close(stream);
    if (rc > 0) {
        json_object_begin(&call->w);
        write_base64(call, &tar);
        json_object_end(&call->w);
    }
    buf_free(&tar);
    return rc > 0 ? 0 : -1;
}

/* --- sandboxes --- */

static void write_sandbox(struct call *call, const struct berm_sandbox *sandbox)
{
    json_object_begin(&call->w);
    json_pair_cstring(&call->w, "state", sandbox->state);
    json_key(&call->w, "labels");
    json_object_begin(&call->w);
    for (const char *const *label = sandbox->labels; *label; label++) {
        const char *equals = strchr(*label, '=');
        json_key_str(&call->w, (struct str){ *label, (size_t)(equals - *label) });
        json_cstring(&call->w, equals + 1);
    }
    json_object_end(&call->w);
    json_pair_int(&call->w, "pids", sandbox->limits.pids);
    json_object_end(&call->w);
}

static int op_describe(struct call *call)
{
    struct berm_sandbox_list *list;

    if (berm_sandbox_get(call->client, call->id, &list, &call->problem) < 0)
        return -1;
    write_sandbox(call, &list->items[0]);
    berm_sandbox_list_free(list);
    return 0;
}

static int op_configure(struct call *call)
{
    const struct json *limits = json_get(call->args, "limits");
    struct berm_create create = { .id = call->id, .labels = pairs_of(call, "labels") };
    int64_t pids = 0;
    char *id;

    (void)json_field_int(limits, "pids", 0, INT32_MAX, &pids, NULL);
    create.limits.pids = (uint32_t)pids;
    if (berm_sandbox_create(call->client, &create, &id, NULL, &call->problem) < 0)
        return -1;
    free(id);
    return op_describe(call);
}

static int op_list_by_label(struct call *call)
{
    const char *label = arena_printf(call->arena, "%s=%s", text_of(call, "label"), text_of(call, "value"));
    struct berm_sandbox_list *list;

    if (berm_sandbox_list(call->client, label, NULL, &list, &call->problem) < 0)
        return -1;
    json_array_begin(&call->w);
    for (size_t i = 0; i < list->count; i++)
        json_cstring(&call->w, list->items[i].id);
    json_array_end(&call->w);
    berm_sandbox_list_free(list);
    return 0;
}

static int op_is_running(struct call *call)
{
    struct berm_sandbox_list *list;
    bool running = false;

    if (berm_sandbox_get(call->client, call->id, &list, &call->problem) == 0) {
        running = !strcmp(list->items[0].state, "running");
        berm_sandbox_list_free(list);
    } else if (strcmp(call->problem.code, "sandbox_not_found") != 0) {
        return -1;
    }
    json_object_begin(&call->w);
    json_pair_bool(&call->w, "running", running);
    json_object_end(&call->w);
    return 0;
}

static int op_events(struct call *call)
{
    struct berm_event_list *list;

    if (berm_sandbox_events(call->client, call->id, &list, &call->problem) < 0)
        return -1;
    json_array_begin(&call->w);
    for (size_t i = 0; i < list->count; i++)
        json_cstring(&call->w, list->items[i].event);
    json_array_end(&call->w);
    berm_event_list_free(list);
    return 0;
}

static int op_destroy(struct call *call)
{
    return berm_sandbox_delete(call->client, call->id, &call->problem);
}

static int op_get_egress(struct call *call)
{
    char *json;

    if (berm_egress_get(call->client, call->id, &json, &call->problem) < 0)
        return -1;
    json_value(&call->w, json_get(document_of(call, json), "policy"));
    free(json);
    return 0;
}

static int op_set_egress(struct call *call)
{
    const struct json *policy = json_get(call->args, "policy");
    struct json_writer w;
    struct buf text;
    int rc;

    buf_init(&text, LINE_MAX_BYTES);
    json_writer_init(&w, &text);
    if (policy)
        json_value(&w, policy);
    if ((policy && json_writer_finish(&w) < 0) || buf_append(&text, "", 1) < 0)
        abort();
    rc = berm_egress_set(call->client, call->id, policy ? buf_head(&text) : NULL, &call->problem);
    buf_free(&text);
    return rc < 0 ? -1 : op_get_egress(call);
}

/* --- ports and tunnels --- */

static void write_route(struct call *call, const struct berm_route *route)
{
    json_object_begin(&call->w);
    json_pair_int(&call->w, "port", route->port);
    if (!route->id) /* tunnels of the list have no names */
        json_pair_cstring(&call->w, "name", route->name);
    json_pair_cstring(&call->w, "url", route->url);
    json_object_end(&call->w);
}

static void write_routes(struct call *call, struct berm_route_list *list, bool one)
{
    if (one) {
        write_route(call, &list->items[0]);
    } else {
        json_array_begin(&call->w);
        for (size_t i = 0; i < list->count; i++)
            write_route(call, &list->items[i]);
        json_array_end(&call->w);
    }
    berm_route_list_free(list);
}

static uint16_t port_of(struct call *call)
{
    return (uint16_t)number_of(call, "port");
}

static int op_expose_port(struct call *call)
{
    struct berm_expose expose = { .port = port_of(call),
                                  .name = text_of(call, "name"),
                                  .token = text_of(call, "token") };
    struct berm_route_list *list;

    if (berm_port_expose(call->client, call->id, &expose, &list, &call->problem) < 0)
        return -1;
    write_routes(call, list, true);
    return 0;
}

static int op_list_ports(struct call *call)
{
    struct berm_route_list *list;

    if (berm_port_list(call->client, call->id, &list, &call->problem) < 0)
        return -1;
    write_routes(call, list, false);
    return 0;
}

static int op_unexpose_port(struct call *call)
{
    return berm_port_unexpose(call->client, call->id, port_of(call), &call->problem);
}

static int op_open_tunnel(struct call *call)
{
    struct berm_route_list *list;

    if (berm_tunnel_get(call->client, call->id, port_of(call), NULL, &list, &call->problem) < 0)
        return -1;
    write_routes(call, list, true);
    return 0;
}

static int op_list_tunnels(struct call *call)
{
    struct berm_route_list *list;

    if (berm_tunnel_list(call->client, call->id, &list, &call->problem) < 0)
        return -1;
    write_routes(call, list, false);
    return 0;
}

static int op_close_tunnel(struct call *call)
{
    return berm_tunnel_destroy(call->client, call->id, port_of(call), &call->problem);
}

static const struct operation operations[] = {
    { "exec", op_exec },
    { "execArgv", op_exec_argv },
    { "execLimited", op_exec_limited },
    { "writeFile", op_write_file },
    { "readFile", op_read_file },
    { "persist", op_persist },
    { "hydrate", op_hydrate },
    { "describe", op_describe },
    { "configure", op_configure },
    { "listByLabel", op_list_by_label },
    { "isRunning", op_is_running },
    { "events", op_events },
    { "destroy", op_destroy },
    { "getEgress", op_get_egress },
    { "setEgress", op_set_egress },
    { "resetEgress", op_set_egress },
    { "exposePort", op_expose_port },
    { "listPorts", op_list_ports },
    { "unexposePort", op_unexpose_port },
    { "openTunnel", op_open_tunnel },
    { "listTunnels", op_list_tunnels },
    { "closeTunnel", op_close_tunnel },
    { NULL, NULL },
};

/* --- lines --- */

static const struct operation *find(const struct operation *table, const char *name)
{
    while (table->name && strcmp(table->name, name) != 0)
        table++;
    return table->name ? table : NULL;
}

static void print_names(const struct operation *table)
{
    for (; table->name; table++)
        puts(table->name);
}

static void answer(struct call *call, struct buf *result, int rc)
{
    struct json_writer w;
    struct buf line;

    if (rc == 0 && !call->w.has_root) {
        json_object_begin(&call->w);
        json_object_end(&call->w);
    }
    buf_init(&line, LINE_MAX_BYTES);
    json_writer_init(&w, &line);
    json_object_begin(&w);
    if (rc == 0) {
        if (json_writer_finish(&call->w) < 0 || buf_append(result, "", 1) < 0)
            abort();
        json_key(&w, "result");
        json_value(&w, document_of(call, buf_head(result)));
    } else {
        json_pair_cstring(&w, "error", call->problem.message);
        json_pair_cstring(&w, "code", call->problem.code);
    }
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        abort();
    fwrite(buf_head(&line), 1, line.len, stdout);
    putchar('\n');
    fflush(stdout);
    buf_free(&line);
}

static void handle(struct berm_client *client, struct str text)
{
    const struct json *request;
    const struct operation *operation;
    struct arena arena;
    struct buf result;
    struct call call = { .client = client, .arena = &arena };

    arena_init(&arena, LINE_MAX_BYTES);
    buf_init(&result, LINE_MAX_BYTES);
    json_writer_init(&call.w, &result);
    if (json_parse(&arena, text, JSON_MAX_DEPTH, &request, NULL) < 0 || request->array.count != 3)
        abort();
    operation = find(operations, request->array.items[0].string.p);
    if (!operation)
        operation = find(work_operations, request->array.items[0].string.p);
    call.id = request->array.items[1].string.p;
    call.args = &request->array.items[2];
    answer(&call, &result, operation->run(&call));
    buf_free(&result);
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    struct berm_client *client;
    struct berm_problem problem;
    struct berm_client_options options = { .url = argc == 2 ? argv[1] : NULL };
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    if (options.url && !strcmp(options.url, "--ops")) {
        print_names(operations);
        print_names(work_operations);
        return 0;
    }
    if (berm_client_new(&options, &client, &problem) < 0) {
        fprintf(stderr, "list_driver: %s\n", problem.message);
        return 1;
    }
    while ((n = getline(&line, &size, stdin)) > 0)
        handle(client, (struct str){ line, (size_t)n - (line[n - 1] == '\n') });
    free(line);
    berm_client_free(client);
    return 0;
}
