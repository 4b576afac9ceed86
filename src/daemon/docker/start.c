/* start.c - POST /containers/X/start: the sandbox, then the command, then the answer. */
#include "daemon/agent_call.h"
#include "daemon/docker/input.h"
#include "daemon/docker/logs.h"

struct start_wait {
    struct list node;
    struct request *request;
};

static void answer_all(struct container *container, const struct berm_error *err)
{
    struct list *node;

    while ((node = list_shift(&container->start_waits))) {
        struct start_wait *wait = container_of(node, struct start_wait, node);

        if (err)
            docker_fail_error(wait->request, err);
        else
            request_respond_empty(wait->request, 204);
    }
}

static void started(struct container *container)
{
    container->phase = CONTAINER_RUNNING;
    container->started_ms = clock_realtime_ms();
    container->finished_ms = 0;
    container->exit_code = 0;
    container_input_started(container);
    docker_event(container->docker, "container", "start", container->id, container->name, container->image);
    answer_all(container, NULL);
}

/* A container whose start failed is as it was before, but for what the sandbox keeps. */
static void failed(struct container *container, const struct berm_error *err)
{
    container->phase = container->finished_ms ? CONTAINER_EXITED : CONTAINER_CREATED;
    answer_all(container, err);
}

void container_stop_starting(struct container *container, const struct berm_error *err)
{
    container_boot_cancel(&container->start_boot);
    agent_call_cancel(container->supervise);
    container->supervise = NULL;
    if (container->phase == CONTAINER_STARTING)
        failed(container, err);
}

static void on_supervised(const struct berm_error *err, void *data)
{
    struct container *container = data;

    container->supervise = NULL;
    if (err->code == BERM_OK)
        container_log_follow(container, container->sandbox->link);
    if (err->code == BERM_OK)
        started(container);
    else
        failed(container, err);
}

/* {"argv":[...],"cwd":"...","exitWithCommand":true,"stdin":"once"} */
static int write_command(const struct container *container, struct buf *out)
{
    const struct json *argv = NULL;
    struct json_writer w;
    struct arena arena;
    int rc = -1;

    arena_init(&arena, 16 * DOCKER_BODY_MAX);
    json_writer_init(&w, out);
    if (json_parse(&arena, str_from(container->argv), 4, &argv, NULL) == 0) {
        json_object_begin(&w);
        json_key(&w, "argv");
        json_value(&w, argv);
        if (container->workdir)
            json_pair_cstring(&w, "cwd", container->workdir);
        json_pair_bool(&w, "exitWithCommand", container->plain);
        if (container->open_stdin)
            json_pair_cstring(&w, "stdin", container->stdin_once ? "once" : "open");
        json_object_end(&w);
        rc = json_writer_finish(&w);
    }
    arena_free(&arena);
    return rc;
}

static void on_booted(struct boot_wait *wait, struct agent_link *link, const struct berm_error *err)
{
    struct container *container = container_of(wait, struct container, start_boot);
    struct berm_error failure = { 0 };
    struct buf body;

    if (!link) {
        failed(container, err);
        return;
    }
    if (!strcmp(container->argv, "[]")) {
        started(container);
        return;
    }
    buf_init(&body, 2 * DOCKER_BODY_MAX);
    if (write_command(container, &body) < 0)
        berm_fail(&failure, BERM_E_SYSTEM, ENOMEM, "command");
    else
        container->supervise = agent_call_start(link, "POST", "/berm/v1/supervise", buf_str(&body), NULL,
                                                on_supervised, container, &failure);
    buf_free(&body);
    if (!container->supervise)
        failed(container, &failure);
}

static void cancel_wait(struct request *request)
{
    struct start_wait *wait = request->state;

    list_remove(&wait->node); /* the start itself goes on */
}

void docker_start(struct request *request)
{
    struct container *container = docker_container(request);
    struct start_wait *wait;

    if (!container)
        return;
    if (container->side || container->phase == CONTAINER_RUNNING) {
        bool runs = container->phase == CONTAINER_RUNNING;

        container->phase = CONTAINER_RUNNING;
        if (!runs)
            container->started_ms = clock_realtime_ms();
        request_respond_empty(request, runs ? 304 : 204);
        return;
    }
    wait = arena_calloc(&request->arena, 1, sizeof(*wait));
    if (!wait) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    wait->request = request;
    request->state = wait;
    request->cleanup = cancel_wait;
    http_watch_disconnect(request->exchange);
    list_append(&container->start_waits, &wait->node);
    if (container->phase == CONTAINER_STARTING)
        return;
    container->phase = CONTAINER_STARTING;
    container->start_boot.done = on_booted;
    container_boot(container, &container->start_boot);
}
