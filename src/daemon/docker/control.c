/* control.c - stop, kill, wait and remove. */
#include "base/signal_name.h"
#include "daemon/agent_call.h"
#include "daemon/docker/engine.h"

#include <ctype.h>
#include <signal.h>

/* --- signals --- */

/* Names that docker takes beside the kernel's; "RTMIN+3" and "RTMAX-3" are counted from theirs. */
static const struct {
    const char *name;
    int number;
} aliases[] = { { "IOT", SIGIOT }, { "CLD", SIGCHLD }, { "POLL", SIGPOLL }, { "RTMIN", 34 }, { "RTMAX", 64 } };

static int realtime_signal(const char *name)
{
    bool up = !strncmp(name, "RTMIN+", 6);
    uint64_t steps;

    if ((!up && strncmp(name, "RTMAX-", 6) != 0) || str_to_u64(str_from(name + 6), &steps) < 0 || steps > 15)
        return 0;
    return up ? 34 + (int)steps : 64 - (int)steps;
}

int docker_signal(const char *text)
{
    char upper[sizeof("SIGRTMIN+15")], *name = upper;
    size_t n = strlen(text);
    int signo;

    if (n >= sizeof(upper))
        return 0;
    for (size_t i = 0; i <= n; i++)
        upper[i] = (char)toupper((unsigned char)text[i]);
    if (!strncmp(upper, "SIG", 3))
        name += 3;
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
        if (!strcmp(name, aliases[i].name))
            return aliases[i].number;
    signo = realtime_signal(name);
    return signo ? signo : signal_by_name(str_from(upper));
}

/* 0: answered. */
static int take_signal(struct request *request, int otherwise)
{
    const char *text = NULL;
    int signo;

    if (request_query(request, "signal", &text) < 0)
        return 0;
    if (!text || !text[0])
        return otherwise;
    signo = docker_signal(text);
    if (signo == 0)
        docker_fail(request, 400, "Invalid signal: %s", text);
    return signo;
}

static int kill_instance(struct container *container, struct berm_error *err)
{
    struct spawn_request request = { .op = SPAWN_OP_KILL, .key = container->sandbox->row.key };

    return spawn_link_send(container->docker->daemon->spawn, &request, NULL, NULL, err);
}

/* A request that is answered when a signal has been delivered or its container has ended. */
struct control {
    struct request *request;
    struct container *container; /* NULL once it has ended */
    struct agent_call *call;
    struct exit_wait wait;
    struct loop_timer timer;
    bool stopping;
};

static void clean_up(struct request *request)
{
    struct control *control = request->state;

    agent_call_cancel(control->call);
    list_remove(&control->wait.node);
    if (control->timer.callback)
        loop_timer_stop(request->daemon->loop, &control->timer);
}

static struct control *new_control(struct request *request, struct container *container)
{
    struct control *control = arena_calloc(&request->arena, 1, sizeof(*control));

    if (!control) {
        docker_fail(request, 500, "out of memory");
        return NULL;
    }
    control->request = request;
    control->container = container;
    request->state = control;
    request->cleanup = clean_up;
    http_watch_disconnect(request->exchange);
    return control;
}

/* An agent that is on its way out may not get to say so. */
static void on_signalled(const struct berm_error *err, void *data)
{
    struct control *control = data;

    control->call = NULL;
    if (control->stopping)
        return; /* the end of the container answers */
    if (err->code == BERM_OK || err->code == BERM_E_EXEC_TRANSPORT_ERROR || err->code == BERM_E_PROTOCOL)
        request_respond_empty(control->request, 204);
    else
        docker_fail_error(control->request, err);
}

static int send_signal(struct control *control, int signo, struct berm_error *err)
{
    char body[32];

    snprintf(body, sizeof(body), "{\"signal\":%d}", signo);
    control->call = agent_call_start(control->container->sandbox->link, "POST", "/berm/v1/signal", str_from(body),
                                     NULL, on_signalled, control, err);
    return control->call ? 0 : -1;
}

static bool runs(const struct container *container)
{
    return container->phase == CONTAINER_RUNNING &&
           (container->side || (container->sandbox && container->sandbox->link));
}

/* NULL: answered. A side container has no processes: its end is that it stops to be there for others. */
static struct control *begin_end(struct request *request, struct container *container)
{
    if (!container->side)
        return new_control(request, container);
    container_ended(container, 0);
    request_respond_empty(request, 204);
    return NULL;
}

void docker_kill(struct request *request)
{
    struct container *container = docker_container(request);
    struct control *control;
    struct berm_error err;
    int signo;

    if (!container || (signo = take_signal(request, SIGKILL)) == 0)
        return;
    if (!runs(container)) {
        docker_fail(request, 409, "Cannot kill container: %s: Container %s is not running", container->name,
                    container->id);
        return;
    }
    control = begin_end(request, container);
    if (!control)
        return;
    docker_event(request->daemon->docker, "container", "kill", container->id, container->name, container->image);
    if (signo == SIGKILL && kill_instance(container, &err) == 0)
        request_respond_empty(request, 204);
    else if (signo == SIGKILL || send_signal(control, signo, &err) < 0)
        docker_fail_error(request, &err);
}

/* --- stop --- */

static void tell_stopped(const struct container *container)
{
    docker_event(container->docker, "container", "stop", container->id, container->name, container->image);
}

static void on_stopped(struct exit_wait *wait, int status)
{
    struct control *control = container_of(wait, struct control, wait);

    (void)status;
    tell_stopped(control->container);
    control->container = NULL;
    request_respond_empty(control->request, 204);
}

static void on_grace_over(struct loop_timer *timer)
{
    struct control *control = container_of(timer, struct control, timer);
    struct berm_error err;

    if (control->container && runs(control->container) && kill_instance(control->container, &err) < 0)
        docker_fail_error(control->request, &err);
}

/* -1 is for ever. False: answered. */
static bool take_seconds(struct request *request, const struct container *container, int64_t *ret)
{
    const char *text = NULL;
    uint64_t seconds = 0;

    *ret = container->stop_seconds;
    if (request_query(request, "t", &text) < 0)
        return false;
    if (!text || !text[0])
        return true;
    *ret = -1;
    if (!strcmp(text, "-1"))
        return true;
    *ret = str_to_u64(str_from(text), &seconds) == 0 && seconds <= STOP_SECONDS_MAX ? (int64_t)seconds : -1;
    if (*ret < 0)
        docker_fail(request, 400, "t must be a number of seconds up to %d, or -1", STOP_SECONDS_MAX);
    return *ret >= 0;
}

void docker_stop(struct request *request)
{
    struct container *container = docker_container(request);
    struct control *control;
    struct berm_error err;
    int64_t seconds;
    int signo;

    if (!container || !take_seconds(request, container, &seconds) ||
        (signo = take_signal(request, container->stop_signal)) == 0)
        return;
    if (!runs(container)) {
        request_respond_empty(request, 304);
        return;
    }
    control = begin_end(request, container);
    if (!control)
        return;
    control->stopping = true;
    control->wait.done = on_stopped;
    list_append(&container->exit_waits, &control->wait.node);
    loop_timer_init(&control->timer, on_grace_over);
    if (seconds >= 0)
        loop_timer_start(request->daemon->loop, &control->timer, (uint64_t)seconds * 1000);
    if (send_signal(control, signo, &err) < 0)
        docker_fail_error(request, &err);
}

/* --- wait --- */

static void on_ended(struct exit_wait *wait, int status)
{
    struct control *control = container_of(wait, struct control, wait);
    char body[48];

    control->container = NULL;
    snprintf(body, sizeof(body), "{\"StatusCode\":%d}\n", status);
    request_write(control->request, str_from(body));
    request_end(control->request);
}

void docker_wait(struct request *request)
{
    static const struct http_field fields[] = { { "Content-Type", "application/json" } };
    struct container *container = docker_container(request);
    const char *condition = NULL;
    struct control *control;
    bool removed;

    if (!container || request_query(request, "condition", &condition) < 0)
        return;
    removed = condition && !strcmp(condition, "removed");
    if (condition && condition[0] && !removed && strcmp(condition, "not-running") &&
        strcmp(condition, "next-exit")) {
        docker_fail(request, 400, "invalid condition: \"%s\"", condition);
        return;
    }
    control = new_control(request, container);
    if (!control)
        return;
    control->wait.done = on_ended;
    /* As Docker does: the head tells that the wait has begun. */
    request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
    if (removed)
        list_append(&container->remove_waits, &control->wait.node);
    else if (container->phase == CONTAINER_RUNNING || container->phase == CONTAINER_STARTING ||
             (condition && !strcmp(condition, "next-exit")))
        list_append(&container->exit_waits, &control->wait.node);
    else
        on_ended(&control->wait, container->exit_code);
}

/* --- remove --- */

void docker_remove(struct request *request)
{
    struct container *container = docker_container(request);
    struct berm_error err;

    if (!container)
        return;
    if (!docker_query_flag(request, "force") && container->phase == CONTAINER_RUNNING) {
        docker_fail(request, 409,
                    "cannot remove container \"/%s\": container is running: stop the container before removing or "
                    "force remove",
                    container->name);
        return;
    }
    if (container_remove(container, &err) < 0)
        docker_fail_error(request, &err);
    else
        request_respond_empty(request, 204);
}
