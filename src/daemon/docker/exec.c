/*
 * exec.c - POST /containers/X/exec, POST /exec/ID/start, GET /exec/ID/json, POST /exec/ID/resize.
 *
 * A start with `Upgrade: tcp` turns the connection into the command's: what the client sends is standard input
 * until it shuts its side down; what the command writes comes in frames of one byte stream number, three zeros, and
 * a big-endian length. Without an upgrade the same frames are the body of an ordinary answer, without input.
 */
#include "base/sys.h"
#include "daemon/agent_call.h"
#include "daemon/agent_exec.h"
#include "daemon/docker/hijack.h"
#include "daemon/docker/image_config.h"

#include <arpa/inet.h>
#include <signal.h>

#define EXECS_MAX  4096 /* those that have ended make room, oldest first */
#define FRAME_HEAD 8

struct exec {
    struct docker *docker;
    struct list node;
    char id[DOCKER_ID_HEX + 1];
    char container_id[DOCKER_ID_HEX + 1];
    char *argv, *env, *cwd;
    bool attach_stdin, attach_stdout, attach_stderr, tty;
    uint16_t cols, rows; /* of the terminal */
    bool started, running;
    int exit_code; /* -1: none yet */

    struct boot_wait boot;
    struct agent_exec *run;
    struct request *request; /* that holds the start open, without an upgrade */
    bool detached;

    struct hijack *stream; /* the connection, once it was upgraded */
};

/* --- the objects --- */

static void free_exec(struct exec *exec)
{
    container_boot_cancel(&exec->boot);
    agent_exec_cancel(exec->run);
    hijack_abort(exec->stream);
    list_remove(&exec->node);
    exec->docker->exec_count--;
    if (exec->request) {
        exec->request->state = NULL;
        exec->request->cleanup = NULL;
    }
    free(exec->argv);
    free(exec->env);
    free(exec->cwd);
    free(exec);
}

void docker_execs_free(struct docker *docker)
{
    while (!list_empty(&docker->execs))
        free_exec(container_of(docker->execs.next, struct exec, node));
}

static bool make_room(struct docker *docker)
{
    struct list *node = docker->execs.next;

    while (docker->exec_count >= EXECS_MAX && node != &docker->execs) {
        struct exec *exec = container_of(node, struct exec, node);

        node = node->next;
        if (!exec->running && !exec->request && !exec->stream)
            free_exec(exec);
    }
    return docker->exec_count < EXECS_MAX;
}

static struct exec *find(struct request *request)
{
    struct docker *docker = docker_of(request);

    for (struct list *node = docker->execs.next; node != &docker->execs; node = node->next) {
        struct exec *exec = container_of(node, struct exec, node);

        if (str_eq(str_from(exec->id), request->param))
            return exec;
    }
    docker_fail(request, 404, "No such exec instance: %.*s", (int)MIN(request->param.n, (size_t)DOCKER_ID_HEX),
                request->param.p);
    return NULL;
}

/* --- create --- */

/* 0 is what a client sends that does not know; the size stays then. */
static int set_size(struct exec *exec, int64_t rows, int64_t cols)
{
    if (rows < 0 || rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX)
        return -1;
    if (rows > 0 && cols > 0) {
        exec->rows = (uint16_t)rows;
        exec->cols = (uint16_t)cols;
    }
    return 0;
}

static bool is_root(const char *user)
{
    return !user || !user[0] || !strcmp(user, "root") || !strcmp(user, "0") || !strcmp(user, "0:0") ||
           !strcmp(user, "root:root");
}

/* [height, width], or nothing. -1: answered. */
static int take_console_size(struct request *request, struct exec *exec, const struct json *body)
{
    const struct json *size = json_get(body, "ConsoleSize");
    const struct json *items = size && size->type == JSON_ARRAY ? size->array.items : NULL;

    if (!size || size->type == JSON_NULL)
        return 0;
    if (!items || size->array.count != 2 || items[0].type != JSON_INT || items[1].type != JSON_INT ||
        set_size(exec, items[0].integer, items[1].integer) < 0) {
        docker_fail(request, 400, "ConsoleSize must be [height, width], each from 0 to 65535");
        return -1;
    }
    return 0;
}

/* What a client that says neither wants is not nothing. */
static int take_streams(const struct json *body, struct exec *exec, struct berm_error *err)
{
    bool said = json_get(body, "AttachStdout") || json_get(body, "AttachStderr");

    exec->attach_stdout = exec->attach_stderr = !said;
    if (json_field_bool(body, "AttachStdin", &exec->attach_stdin, err) < 0 ||
        json_field_bool(body, "AttachStdout", &exec->attach_stdout, err) < 0)
        return -1;
    return json_field_bool(body, "AttachStderr", &exec->attach_stderr, err);
}

static int check_create(struct request *request, const struct json *body, struct exec *exec)
{
    const struct json *cmd = json_get(body, "Cmd");
    const char *user = NULL, *cwd = NULL;
    bool privileged = false;
    struct berm_error err;

    if (take_streams(body, exec, &err) < 0 || json_field_bool(body, "Tty", &exec->tty, &err) < 0 ||
        json_field_bool(body, "Privileged", &privileged, &err) < 0 ||
        json_field_cstring(body, "User", &user, &err) < 0 ||
        json_field_cstring(body, "WorkingDir", &cwd, &err) < 0 || image_config_check(body, &err) < 0) {
        docker_fail_error(request, &err);
        return -1;
    }
    if (!cmd || cmd->type != JSON_ARRAY || cmd->array.count == 0)
        docker_fail(request, 400, "No exec command specified");
    else if (privileged)
        docker_fail(request, 403, "Privileged is refused: sandboxes get nothing of the host");
    else if (!is_root(user))
        docker_fail(request, 501, "berm runs commands as the container's root: use su in the command");
    else
        return take_console_size(request, exec, body);
    return -1;
}

static int fill(struct exec *exec, const struct json *body, const struct container *container)
{
    struct json_writer w;
    struct buf text;
    const char *cwd = NULL;

    buf_init(&text, 4 * DOCKER_BODY_MAX);
    json_writer_init(&w, &text);
    json_value(&w, json_get(body, "Cmd"));
    exec->argv = json_writer_finish(&w) == 0 ? buf_steal(&text, NULL) : NULL;
    buf_free(&text);
    exec->env = image_config_env(body);
    json_field_cstring(body, "WorkingDir", &cwd, NULL);
    if (!cwd || !cwd[0])
        cwd = container->workdir;
    exec->cwd = cwd ? strdup(cwd) : NULL;
    return exec->argv && exec->env && (!cwd || exec->cwd) ? 0 : -1;
}

static struct exec *new_exec(struct docker *docker, const struct container *container)
{
    struct exec *exec = calloc(1, sizeof(*exec));
    uint8_t random[DOCKER_ID_HEX / 2];

    if (!exec)
        return NULL;
    exec->docker = docker;
    exec->exit_code = -1;
    exec->cols = 80;
    exec->rows = 24;
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), exec->id);
    memcpy(exec->container_id, container->id, sizeof(exec->container_id));
    list_append(&docker->execs, &exec->node);
    docker->exec_count++;
    return exec;
}

static void on_create_body(struct request *request)
{
    struct docker *docker = docker_of(request);
    const struct json *body = docker_body(request);
    struct container *container = body ? docker_container(request) : NULL;
    struct exec *exec;
    struct json_writer *w;

    if (!container)
        return;
    if (container->phase != CONTAINER_RUNNING || container->side) {
        docker_fail(request, 409, "Container %s is not running", container->id);
        return;
    }
    exec = make_room(docker) ? new_exec(docker, container) : NULL;
    if (!exec) {
        docker_fail(request, 503, "too many commands");
        return;
    }
    if (check_create(request, body, exec) < 0) {
        free_exec(exec);
        return;
    }
    w = fill(exec, body, container) == 0 ? request_json(request) : NULL;
    if (!w) {
        free_exec(exec);
        docker_fail(request, 500, "out of memory");
        return;
    }
    json_object_begin(w);
    json_pair_cstring(w, "Id", exec->id);
    json_object_end(w);
    request_respond_json(request, 201, w);
}

void docker_exec_create(struct request *request)
{
    docker_read_json(request, on_create_body);
}

/* --- output --- */

static void on_output(void *data, int stream, struct str bytes)
{
    struct exec *exec = data;
    char head[FRAME_HEAD] = { (char)stream };
    struct str frame = { head, exec->tty ? 0 : sizeof(head) }; /* a terminal's bytes are as they are */
    uint32_t length = htonl((uint32_t)bytes.n);
    bool wants_more = true;

    if (!(stream == AGENT_EXEC_STDERR ? exec->attach_stderr : exec->attach_stdout))
        return;
    memcpy(head + 4, &length, sizeof(length));
    if (exec->request) {
        request_write(exec->request, frame);
        wants_more = request_write(exec->request, bytes);
    } else if (exec->stream) {
        hijack_write(exec->stream, frame);
        wants_more = hijack_write(exec->stream, bytes);
    }
    if (!wants_more && exec->run)
        agent_exec_pause(exec->run);
}

static void on_end(void *data, int exit_code, const struct berm_error *err)
{
    struct exec *exec = data;
    struct request *request = exec->request;

    exec->run = NULL;
    exec->running = false;
    exec->exit_code = err->code == BERM_OK ? exit_code : 126;
    if (err->code != BERM_OK) { /* the head is on its way: the client is told where it reads */
        on_output(exec, AGENT_EXEC_STDERR, str_from(err->message));
        on_output(exec, AGENT_EXEC_STDERR, STR("\n"));
    }
    if (request) {
        exec->request = NULL;
        request->state = NULL;
        request_end(request);
    } else if (exec->stream) {
        hijack_end(exec->stream);
    }
}

/* --- the upgraded connection --- */

static void on_input_drain(void *data)
{
    struct exec *exec = data;

    if (exec->stream)
        hijack_read(exec->stream, true);
}

static void on_input(void *data, struct str bytes)
{
    struct exec *exec = data;

    if (exec->run && exec->attach_stdin && !agent_exec_write(exec->run, bytes) && exec->stream)
        hijack_read(exec->stream, false);
}

static void on_input_end(void *data)
{
    struct exec *exec = data;

    if (exec->run)
        agent_exec_end_input(exec->run);
}

static void on_stream_drain(void *data)
{
    struct exec *exec = data;

    if (exec->run)
        agent_exec_resume(exec->run);
}

static void cancel_run(struct exec *exec)
{
    if (exec->run)
        exec->exit_code = 128 + SIGKILL;
    agent_exec_cancel(exec->run);
    exec->run = NULL;
    exec->running = false;
}

/* A client that is gone takes what it ran along, as Docker has it. */
static void on_stream_close(void *data)
{
    struct exec *exec = data;

    exec->stream = NULL;
    cancel_run(exec);
}

/* --- start --- */

static void forget_request(struct request *request)
{
    struct exec *exec = request->state;

    if (!exec)
        return;
    exec->request = NULL;
    if (!exec->running) {
        container_boot_cancel(&exec->boot);
        return;
    }
    cancel_run(exec);
}

static void on_request_drained(struct request *request)
{
    struct exec *exec = request->state;

    if (exec && exec->run)
        agent_exec_resume(exec->run);
}

static const char *stream_type(const struct exec *exec)
{
    return exec->tty ? "application/vnd.docker.raw-stream" : "application/vnd.docker.multiplexed-stream";
}

/* The connection becomes the command's. */
static void take_connection(struct exec *exec, struct request *request, bool with_stdin)
{
    static const struct hijack_events events = {
        .on_input = on_input, .on_input_end = on_input_end, .on_drain = on_stream_drain, .on_close = on_stream_close
    };

    exec->request = NULL;
    request->state = NULL;
    exec->stream = hijack_start(request, stream_type(exec), &events, exec);
    if (exec->stream)
        hijack_read(exec->stream, with_stdin);
    else
        on_stream_close(exec);
}

static void on_booted(struct boot_wait *wait, struct agent_link *link, const struct berm_error *err)
{
    static const struct agent_exec_callbacks callbacks = { .on_output = on_output,
                                                           .on_drain = on_input_drain,
                                                           .on_end = on_end };
    struct exec *exec = container_of(wait, struct exec, boot);
    const struct http_field fields[] = { { "Content-Type", stream_type(exec) } };
    struct request *request = exec->request;
    bool upgrade = !exec->detached && request->head->upgrade.n > 0;
    struct agent_exec_spec spec = { .argv = exec->argv,
                                    .env = exec->env,
                                    .cwd = exec->cwd,
                                    .with_stdin = exec->attach_stdin && upgrade,
                                    .terminal = exec->tty ? exec->id : NULL,
                                    .cols = exec->cols,
                                    .rows = exec->rows };
    struct berm_error failure;

    if (link)
        exec->run = agent_exec_start(link, &spec, &callbacks, exec, &failure);
    if (!exec->run) {
        docker_fail_error(request, link ? &failure : err);
        return;
    }
    exec->started = exec->running = true;
    if (upgrade) {
        take_connection(exec, request, spec.with_stdin);
    } else if (exec->detached) {
        exec->request = NULL;
        request->state = NULL;
        request_respond_empty(request, 200);
    } else {
        request_begin(request, 200, fields, 1, HTTP_CHUNKED);
    }
}

static void on_start_body(struct request *request)
{
    const struct json *body = docker_body(request);
    struct exec *exec = body ? find(request) : NULL;
    struct container *container;
    struct berm_error err;

    if (!exec)
        return;
    if (json_field_bool(body, "Detach", &exec->detached, &err) < 0) {
        docker_fail_error(request, &err);
        return;
    }
    if (take_console_size(request, exec, body) < 0)
        return;
    container = container_find(docker_of(request), str_from(exec->container_id));
    if (exec->started || exec->request) {
        docker_fail(request, 409, "Error: Exec command %s has already run", exec->id);
        return;
    }
    if (!container || container->phase != CONTAINER_RUNNING) {
        docker_fail(request, 409, "Container %s is not running", exec->container_id);
        return;
    }
    exec->request = request;
    request->state = exec;
    request->cleanup = forget_request;
    request->on_drained = on_request_drained;
    http_watch_disconnect(request->exchange);
    exec->boot.done = on_booted;
    container_boot(container, &exec->boot);
}

void docker_exec_start(struct request *request)
{
    docker_read_json(request, on_start_body);
}

/* --- the others --- */

static void write_process(struct json_writer *w, struct arena *arena, const struct exec *exec)
{
    const struct json *argv = container_text(arena, exec->argv);

    json_key(w, "ProcessConfig");
    json_object_begin(w);
    json_pair_bool(w, "tty", exec->tty);
    json_pair_bool(w, "privileged", false);
    json_pair_cstring(w, "user", "");
    json_key(w, "entrypoint");
    json_string(w, argv && argv->array.count ? argv->array.items[0].string : STR(""));
    json_key(w, "arguments");
    json_array_begin(w);
    for (size_t i = 1; argv && i < argv->array.count; i++)
        json_value(w, &argv->array.items[i]);
    json_array_end(w);
    json_object_end(w);
}

void docker_exec_inspect(struct request *request)
{
    struct exec *exec = find(request);
    struct json_writer *w = exec ? request_json(request) : NULL;

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "ID", exec->id);
    json_pair_bool(w, "Running", exec->running);
    json_key(w, "ExitCode");
    if (exec->exit_code < 0)
        json_null(w);
    else
        json_int(w, exec->exit_code);
    json_pair_cstring(w, "ContainerID", exec->container_id);
    json_pair_bool(w, "OpenStdin", exec->attach_stdin);
    json_pair_bool(w, "OpenStdout", exec->attach_stdout);
    json_pair_bool(w, "OpenStderr", exec->attach_stderr);
    json_pair_bool(w, "CanRemove", exec->exit_code >= 0);
    json_pair_cstring(w, "DetachKeys", "");
    json_pair_int(w, "Pid", 0);
    write_process(w, &request->arena, exec);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* --- resize --- */

static void cancel_resize(struct request *request)
{
    agent_call_cancel(request->state);
}

static void on_resized(const struct berm_error *err, void *data)
{
    struct request *request = data;

    request->cleanup = NULL;
    if (err->code == BERM_OK)
        request_respond_empty(request, 200);
    else
        docker_fail_error(request, err);
}

static int take_dimension(struct request *request, const char *name, uint64_t *ret)
{
    const char *text = NULL;

    if (request_query(request, name, &text) < 0)
        return -1;
    if (text && str_to_u64(str_from(text), ret) == 0 && *ret >= 1 && *ret <= UINT16_MAX)
        return 0;
    docker_fail(request, 400, "%s must be a number from 1 to 65535", name);
    return -1;
}

void docker_exec_resize(struct request *request)
{
    struct exec *exec = find(request);
    struct container *container;
    struct berm_error err;
    uint64_t rows, cols;
    char body[DOCKER_ID_HEX + 64];

    if (!exec || take_dimension(request, "h", &rows) < 0 || take_dimension(request, "w", &cols) < 0)
        return;
    container = container_find(docker_of(request), str_from(exec->container_id));
    if (!exec->tty) {
        docker_fail(request, 409, "exec %s has no terminal", exec->id);
        return;
    }
    if ((exec->started && !exec->running) || !container || !container->sandbox) {
        docker_fail(request, 409, "exec %s has ended", exec->id);
        return;
    }
    set_size(exec, (int64_t)rows, (int64_t)cols);
    if (!exec->running) {
        request_respond_empty(request, 200);
        return;
    }
    snprintf(body, sizeof(body), "{\"id\":\"%s\",\"cols\":%u,\"rows\":%u}", exec->id, exec->cols, exec->rows);
    request->state = agent_call_start(container->sandbox->link, "POST", "/berm/v1/exec/resize", str_from(body),
                                      NULL, on_resized, request, &err);
    if (request->state)
        request->cleanup = cancel_resize;
    else
        docker_fail_error(request, &err);
}
