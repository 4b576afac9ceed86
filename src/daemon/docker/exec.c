/*
 * exec.c - POST /containers/X/exec, POST /exec/ID/start, GET /exec/ID/json, POST /exec/ID/resize.
 *
 * A start with `Upgrade: tcp` turns the connection into the command's: what the client sends is standard input
 * until it shuts its side down; what the command writes comes in frames of one byte stream number, three zeros, and
 * a big-endian length. Without an upgrade the same frames are the body of an ordinary answer, without input.
 */
#include "base/sys.h"
#include "daemon/docker/agent_exec.h"
#include "daemon/docker/image_config.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define EXECS_MAX     4096 /* those that have ended make room, oldest first */
#define OUTPUT_HIGH   ((size_t)256 * 1024)
#define INPUT_AT_ONCE 65536
#define FRAME_HEAD    8

struct exec {
    struct docker *docker;
    struct list node;
    char id[DOCKER_ID_HEX + 1];
    char container_id[DOCKER_ID_HEX + 1];
    char *argv, *env, *cwd;
    bool attach_stdin, tty;
    bool started, running;
    int exit_code; /* -1: none yet */

    struct boot_wait boot;
    struct agent_exec *run;
    struct request *request; /* that holds the start open, without an upgrade */
    bool detached;

    struct loop_io io; /* of an upgraded connection; fd -EBADF: none */
    struct buf out;
    bool input_over, output_over, input_blocked;
};

/* --- the objects --- */

static void close_stream(struct exec *exec)
{
    int fd = exec->io.fd;

    loop_io_remove(exec->docker->daemon->loop, &exec->io);
    close_fd(&fd);
    exec->io.fd = -EBADF;
    buf_free(&exec->out);
}

static void free_exec(struct exec *exec)
{
    container_boot_cancel(&exec->boot);
    agent_exec_cancel(exec->run);
    close_stream(exec);
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
        if (!exec->running && !exec->request && exec->io.fd < 0)
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

static bool is_root(const char *user)
{
    return !user || !user[0] || !strcmp(user, "root") || !strcmp(user, "0") || !strcmp(user, "0:0") ||
           !strcmp(user, "root:root");
}

static int check_create(struct request *request, const struct json *body, struct exec *exec)
{
    const struct json *cmd = json_get(body, "Cmd");
    const char *user = NULL, *cwd = NULL;
    bool privileged = false;
    struct berm_error err;

    if (json_field_bool(body, "AttachStdin", &exec->attach_stdin, &err) < 0 ||
        json_field_bool(body, "Tty", &exec->tty, &err) < 0 ||
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
    else if (exec->tty)
        docker_fail(request, 501, "berm's Docker API has no terminals: use `berm exec` or the SDK's terminal");
    else
        return 0;
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
    exec->io.fd = -EBADF;
    buf_init(&exec->out, SIZE_MAX / 4); /* bounded by the pausing of the agent */
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

static void flush_stream(struct exec *exec)
{
    while (exec->out.len > 0) {
        ssize_t n = send(exec->io.fd, buf_head(&exec->out), exec->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) { /* the client is gone, and so is what it ran, as Docker has it */
            agent_exec_cancel(exec->run);
            exec->run = NULL;
            exec->running = false;
            close_stream(exec);
            return;
        }
        if (n < 0)
            break;
        buf_consume(&exec->out, (size_t)n);
    }
    buf_release_if_empty(&exec->out);
    if (exec->run && exec->out.len < OUTPUT_HIGH / 4)
        agent_exec_resume(exec->run);
    if (exec->output_over && exec->out.len == 0)
        close_stream(exec);
}

static void watch_stream(struct exec *exec)
{
    uint32_t events =
        (exec->out.len > 0 ? EPOLLOUT : 0) | (!exec->input_over && !exec->input_blocked && exec->run ? EPOLLIN : 0);
    struct loop *loop = exec->docker->daemon->loop;

    if (exec->io.fd < 0)
        return;
    if (events == 0)
        loop_io_remove(loop, &exec->io);
    else if (loop_io_active(&exec->io))
        loop_io_modify(loop, &exec->io, events);
    else if (loop_io_add(loop, &exec->io, exec->io.fd, events, exec->io.callback) < 0)
        close_stream(exec);
}

static void on_output(void *data, int stream, struct str bytes)
{
    struct exec *exec = data;
    unsigned char head[FRAME_HEAD] = { (unsigned char)stream };
    uint32_t length = htonl((uint32_t)bytes.n);
    bool wants_more = true;

    memcpy(head + 4, &length, sizeof(length));
    if (exec->request) {
        request_write(exec->request, (struct str){ (char *)head, sizeof(head) });
        wants_more = request_write(exec->request, bytes);
    } else if (exec->io.fd >= 0) {
        if (buf_append(&exec->out, head, sizeof(head)) < 0 || buf_append_str(&exec->out, bytes) < 0) {
            close_stream(exec);
            return;
        }
        wants_more = exec->out.len < OUTPUT_HIGH;
        watch_stream(exec);
    }
    if (!wants_more)
        agent_exec_pause(exec->run);
}

static void on_end(void *data, int exit_code, const struct berm_error *err)
{
    struct exec *exec = data;
    struct request *request = exec->request;

    exec->run = NULL;
    exec->running = false;
    exec->exit_code = err->code == BERM_OK ? exit_code : 126;
    exec->output_over = true;
    if (request) {
        exec->request = NULL;
        request->state = NULL;
        request_end(request);
    } else if (exec->io.fd >= 0) {
        flush_stream(exec);
        watch_stream(exec);
    }
}

/* --- input --- */

static void on_input_drain(void *data)
{
    struct exec *exec = data;

    exec->input_blocked = false;
    watch_stream(exec);
}

static void read_input(struct exec *exec)
{
    char bytes[INPUT_AT_ONCE];
    ssize_t n = recv(exec->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        exec->input_blocked = !agent_exec_write(exec->run, (struct str){ bytes, (size_t)n });
        return;
    }
    exec->input_over = true;
    agent_exec_end_input(exec->run);
}

static void on_stream(struct loop_io *io, uint32_t events)
{
    struct exec *exec = container_of(io, struct exec, io);

    if (events & EPOLLIN && exec->run)
        read_input(exec);
    if (exec->io.fd >= 0 && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        flush_stream(exec);
    watch_stream(exec);
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
    agent_exec_cancel(exec->run);
    exec->run = NULL;
    exec->running = false;
}

static void on_request_drained(struct request *request)
{
    struct exec *exec = request->state;

    if (exec && exec->run)
        agent_exec_resume(exec->run);
}

/* The connection becomes the command's. -1: it was not to be had. */
static int take_connection(struct exec *exec, struct request *request)
{
    static const struct http_field fields[] = { { "Content-Type", "application/vnd.docker.raw-stream" },
                                                { "Upgrade", "tcp" } };
    struct buf rest;
    int fd;

    buf_init(&rest, OUTPUT_HIGH);
    request->status = 101;
    exec->request = NULL;
    request->state = NULL;
    fd = http_upgrade(request->exchange, fields, ARRAY_SIZE(fields), &rest);
    if (fd < 0) {
        buf_free(&rest);
        return -1;
    }
    exec->io = (struct loop_io){ .fd = fd, .callback = on_stream };
    if (rest.len > 0)
        agent_exec_write(exec->run, buf_str(&rest));
    buf_free(&rest);
    watch_stream(exec);
    return 0;
}

static void on_booted(struct boot_wait *wait, struct agent_link *link, const struct berm_error *err)
{
    static const struct agent_exec_callbacks callbacks = { .on_output = on_output,
                                                           .on_drain = on_input_drain,
                                                           .on_end = on_end };
    static const struct http_field stream_type[] = { { "Content-Type",
                                                       "application/vnd.docker.multiplexed-stream" } };
    struct exec *exec = container_of(wait, struct exec, boot);
    struct request *request = exec->request;
    bool upgrade = !exec->detached && request->head->upgrade.n > 0;
    struct agent_exec_spec spec = {
        .argv = exec->argv, .env = exec->env, .cwd = exec->cwd, .with_stdin = exec->attach_stdin && upgrade
    };
    struct berm_error failure;

    if (link)
        exec->run = agent_exec_start(link, &spec, &callbacks, exec, &failure);
    if (!exec->run) {
        docker_fail_error(request, link ? &failure : err);
        return;
    }
    exec->started = exec->running = true;
    exec->input_over = !spec.with_stdin;
    if (upgrade) {
        take_connection(exec, request);
    } else if (exec->detached) {
        exec->request = NULL;
        request->state = NULL;
        request_respond_empty(request, 200);
    } else {
        request_begin(request, 200, stream_type, 1, HTTP_CHUNKED);
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
    json_pair_bool(w, "OpenStdout", true);
    json_pair_bool(w, "OpenStderr", true);
    json_pair_int(w, "Pid", 0);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

void docker_exec_resize(struct request *request)
{
    struct exec *exec = find(request);

    if (exec)
        docker_fail(request, 409, "exec %s has no terminal", exec->id);
}
