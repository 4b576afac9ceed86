#include "daemon/agent_exec.h"

#include "base/base64.h"
#include "base/json.h"
#include "daemon/agent_patience.h"

#define DOCUMENT_MAX (4 * 1024 * 1024)
#define EVENT_MAX    (1024 * 1024)
#define REFUSAL_MAX  (16 * 1024)
#define LATE_MS      15000 /* what the agent may be late with the end of a command that timed out */

struct agent_exec {
    struct http_call *call;
    struct agent_patience patience;
    struct agent_exec_callbacks callbacks;
    void *data;
    int status;
    bool with_stdin;
    struct buf in; /* what has come and is no whole event yet, or a refusal */
    char *decoded; /* EVENT_MAX bytes, once there is output */
    bool exited;
    int exit_code;
    struct berm_error failure;
};

static void free_exec(struct agent_exec *exec)
{
    buf_free(&exec->in);
    free(exec->decoded);
    free(exec);
}

/* --- events --- */

static int take_output(struct agent_exec *exec, int stream, struct str data)
{
    size_t n = 0;

    if (!exec->decoded && !(exec->decoded = malloc(EVENT_MAX)))
        return -1;
    if (data.n > EVENT_MAX - 3 || base64_decode(data, exec->decoded, &n) < 0)
        return -1;
    if (n > 0)
        exec->callbacks.on_output(exec->data, stream, (struct str){ exec->decoded, n });
    return 0;
}

static int take_document(struct agent_exec *exec, struct str data, bool is_exit)
{
    const struct json *document = NULL;
    const char *message = NULL;
    int64_t code = -1;
    struct arena arena;
    int rc = -1;

    arena_init(&arena, 64 * REFUSAL_MAX);
    if (json_parse(&arena, data, 8, &document, NULL) < 0)
        goto out;
    if (is_exit) {
        rc = json_field_int(document, "exit_code", 0, 255, &code, NULL);
        exec->exited = rc == 0 && code >= 0;
        exec->exit_code = (int)code;
        rc = exec->exited ? 0 : -1;
    } else {
        json_field_cstring(document, "error", &message, NULL);
        rc = berm_fail(&exec->failure, BERM_E_EXEC_ERROR, 0, "%s", message ? message : "the command failed");
        rc = 0;
    }
out:
    arena_free(&arena);
    return rc;
}

/* "event: stdout\ndata: ...": anything else is not of our agent. */
static int take_event(struct agent_exec *exec, struct str event)
{
    static const struct str prefix = { "event: ", 7 }, data_prefix = { "data: ", 6 };
    const char *end = memchr(event.p, '\n', event.n);
    struct str name, data;

    if (event.n > 0 && event.p[0] == ':')
        return 0;
    if (!end || !str_has_prefix(event, prefix))
        return -1;
    name = (struct str){ event.p + prefix.n, (size_t)(end - event.p) - prefix.n };
    data = (struct str){ end + 1, event.n - (size_t)(end + 1 - event.p) };
    if (!str_has_prefix(data, data_prefix))
        return -1;
    data = (struct str){ data.p + data_prefix.n, data.n - data_prefix.n };
    if (str_is(name, "stdout"))
        return take_output(exec, AGENT_EXEC_STDOUT, data);
    if (str_is(name, "stderr"))
        return take_output(exec, AGENT_EXEC_STDERR, data);
    if (str_is(name, "exit") || str_is(name, "error"))
        return take_document(exec, data, str_is(name, "exit"));
    return 0;
}

/* Whole events at the front of what has come. `from`: bytes before it hold no end. */
static int take_events(struct agent_exec *exec, size_t from)
{
    for (;;) {
        struct str all = buf_str(&exec->in);
        const char *end = memmem(all.p + from, all.n - from, "\n\n", 2);

        if (!end)
            return 0;
        if (take_event(exec, (struct str){ all.p, (size_t)(end - all.p) }) < 0)
            return -1;
        buf_consume(&exec->in, (size_t)(end - all.p) + 2);
        from = 0;
    }
}

/* --- the call --- */

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct agent_exec *exec = data;

    (void)call;
    agent_patience_end(&exec->patience);
    exec->status = head->status;
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    struct agent_exec *exec = data;
    size_t before = exec->in.len;

    (void)call;
    if (exec->failure.code != BERM_OK)
        return;
    if (exec->status != 200) {
        buf_append(&exec->in, piece.p, MIN(piece.n, REFUSAL_MAX - MIN(before, (size_t)REFUSAL_MAX)));
        return;
    }
    if (buf_append_str(&exec->in, piece) < 0 || take_events(exec, before > 0 ? before - 1 : 0) < 0)
        berm_fail(&exec->failure, BERM_E_PROTOCOL, 0, "the agent's answer is not understood");
}

static void on_drain(struct http_call *call, void *data)
{
    struct agent_exec *exec = data;

    (void)call;
    if (exec->callbacks.on_drain)
        exec->callbacks.on_drain(exec->data);
}

static void describe_refusal(struct agent_exec *exec)
{
    const struct json *answer = NULL;
    const char *message = NULL;
    struct arena arena;

    arena_init(&arena, 64 * REFUSAL_MAX);
    if (json_parse(&arena, buf_str(&exec->in), 16, &answer, NULL) == 0)
        json_field_cstring(answer, "message", &message, NULL);
    berm_fail(&exec->failure, BERM_E_EXEC_ERROR, 0, "%s", message ? message : "the agent refused");
    arena_free(&arena);
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct agent_exec *exec = data;

    (void)call;
    exec->call = NULL;
    agent_patience_end(&exec->patience);
    if (exec->failure.code != BERM_OK) /* known already */
        ;
    else if (err->code != BERM_OK && !exec->exited)
        exec->failure = *err;
    else if (exec->status != 200)
        describe_refusal(exec);
    else if (!exec->exited)
        berm_fail(&exec->failure, BERM_E_PROTOCOL, 0, "the command's output ended without its exit");
    exec->callbacks.on_end(exec->data, exec->exited ? exec->exit_code : -1, &exec->failure);
    free_exec(exec);
}

static void on_lost(struct agent_patience *patience)
{
    struct agent_exec *exec = container_of(patience, struct agent_exec, patience);
    struct berm_error err;

    berm_fail(&err, BERM_E_TIMED_OUT, 0, "the sandbox's agent shows no sign of life");
    http_call_cancel(exec->call);
    exec->callbacks.on_end(exec->data, -1, &err);
    free_exec(exec);
}

static void write_terminal(struct json_writer *w, const struct agent_exec_spec *spec)
{
    json_key(w, "tty");
    json_object_begin(w);
    json_pair_cstring(w, "id", spec->terminal);
    json_pair_int(w, "cols", spec->cols);
    json_pair_int(w, "rows", spec->rows);
    json_object_end(w);
}

static int write_document(const struct agent_exec_spec *spec, struct buf *out)
{
    const struct json *argv = NULL, *env = NULL;
    struct json_writer w;
    struct arena arena;
    int rc = -1;

    arena_init(&arena, 16 * DOCUMENT_MAX);
    json_writer_init(&w, out);
    if (json_parse(&arena, str_from(spec->argv), 4, &argv, NULL) == 0 &&
        (!spec->env || json_parse(&arena, str_from(spec->env), 4, &env, NULL) == 0)) {
        json_object_begin(&w);
        json_key(&w, "argv");
        json_value(&w, argv);
        if (env) {
            json_key(&w, "env");
            json_value(&w, env);
        }
        if (spec->cwd)
            json_pair_cstring(&w, "cwd", spec->cwd);
        if (spec->timeout_ms)
            json_pair_int(&w, "timeoutMs", spec->timeout_ms);
        if (spec->keep)
            json_pair_bool(&w, "keepOnDisconnect", true);
        if (spec->terminal)
            write_terminal(&w, spec);
        json_object_end(&w);
        rc = json_writer_finish(&w) == 0 && (!spec->with_stdin || buf_append(out, "\n", 1) == 0) ? 0 : -1;
    }
    arena_free(&arena);
    return rc;
}

struct agent_exec *agent_exec_start(struct agent_link *link, const struct agent_exec_spec *spec,
                                    const struct agent_exec_callbacks *callbacks, void *data,
                                    struct berm_error *err)
{
    static const struct http_call_callbacks call_callbacks = {
        .on_head = on_head, .on_body = on_body, .on_drain = on_drain, .on_end = on_end
    };
    const struct http_field fields[] = { { "Content-Type",
                                           spec->with_stdin ? "application/x-berm-exec" : "application/json" } };
    struct http_client *client = agent_link_client(link);
    struct agent_exec *exec = calloc(1, sizeof(*exec));
    struct buf document;

    buf_init(&document, DOCUMENT_MAX);
    if (!exec || !client || write_document(spec, &document) < 0) {
        berm_fail(err, client ? BERM_E_INVALID_REQUEST : BERM_E_SANDBOX_DIED, 0,
                  client ? "the command is too large" : "the sandbox ended");
    } else {
        *exec = (struct agent_exec){ .callbacks = *callbacks, .data = data, .with_stdin = spec->with_stdin };
        buf_init(&exec->in, 2 * EVENT_MAX);
        exec->call = http_call_start(client, "POST", "/berm/v1/exec", fields, ARRAY_SIZE(fields),
                                     spec->with_stdin ? HTTP_CHUNKED : document.len, &call_callbacks, exec, err);
    }
    if (exec && exec->call) {
        agent_patience_begin(&exec->patience, link, on_lost);
        if (spec->timeout_ms)
            http_call_set_idle_timeout(exec->call, spec->timeout_ms + LATE_MS);
        http_call_write(exec->call, buf_head(&document), document.len);
        if (!spec->with_stdin)
            http_call_end_body(exec->call);
    } else if (exec) {
        free_exec(exec);
        exec = NULL;
    }
    buf_free(&document);
    return exec;
}

bool agent_exec_write(struct agent_exec *exec, struct str bytes)
{
    return !exec->call || http_call_write(exec->call, bytes.p, bytes.n);
}

void agent_exec_end_input(struct agent_exec *exec)
{
    if (exec->call && exec->with_stdin)
        http_call_end_body(exec->call);
    exec->with_stdin = false;
}

void agent_exec_pause(struct agent_exec *exec)
{
    if (exec->call)
        http_call_pause(exec->call);
}

void agent_exec_resume(struct agent_exec *exec)
{
    if (exec->call)
        http_call_resume(exec->call);
}

void agent_exec_cancel(struct agent_exec *exec)
{
    if (!exec)
        return;
    agent_patience_end(&exec->patience);
    if (exec->call)
        http_call_cancel(exec->call);
    free_exec(exec);
}
