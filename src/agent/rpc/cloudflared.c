#include "cloudflared.h"

#include "agent/agent.h"
#include "net/cloudflared_watch.h"

#include <stdio.h>

struct cloudflared {
    struct cloudflared_watch watch;
    struct child *child;
    struct sink sink;
    bool ready, stopping, late;
    const struct cloudflared_events *events;
    void *data;
};

_Static_assert((int)CLOUDFLARED_STDOUT == (int)STREAM_STDOUT && (int)CLOUDFLARED_STREAMS == (int)STREAM_COUNT,
               "a stream has one number");

const char *cloudflared_url(const struct cloudflared *c)
{
    return c->watch.output.url;
}

/* --- what it prints, and when it is ready --- */

static char *on_reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct cloudflared *c = container_of(sink, struct cloudflared, sink);

    (void) final;
    return cloudflared_output_room(&c->watch.output, stream, room);
}

static void on_commit(struct sink *sink, int stream, size_t n)
{
    cloudflared_output_take(&container_of(sink, struct cloudflared, sink)->watch.output, stream, n);
}

static void on_ready(struct cloudflared_watch *watch)
{
    struct cloudflared *c = container_of(watch, struct cloudflared, watch);

    c->ready = true;
    c->events->on_ready(c, c->data);
}

static void on_late(struct cloudflared_watch *watch)
{
    struct cloudflared *c = container_of(watch, struct cloudflared, watch);

    c->late = true;
    cloudflared_stop(c);
}

/* --- its life --- */

static void on_child_end(struct child *child, void *data)
{
    struct cloudflared *c = data;
    bool exited = WIFEXITED(child->wait_status);
    int code = exited ? WEXITSTATUS(child->wait_status) : -1;
    char reason[96];

    cloudflared_watch_end(&c->watch);
    if (c->late)
        snprintf(reason, sizeof(reason), "Timed out waiting for cloudflared to become ready after %dms",
                 CLOUDFLARED_READY_MS);
    else
        snprintf(reason, sizeof(reason), "cloudflared exited before becoming ready (code=%d)", code);
    c->events->on_exit(c, code, c->ready ? NULL : reason, c->data);
    free(c);
}

static struct child *spawn(struct cloudflared *c, struct agent *agent, int port, const char *token, int *ret_errnum)
{
    static const struct child_events events = { .on_end = on_child_end };
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err = { .errnum = ENOMEM };
    const char *argv[CLOUDFLARED_ARGS];
    struct child *child = NULL;
    struct arena arena;
    char url[40];

    snprintf(url, sizeof(url), "http://localhost:%d", port);
    cloudflared_arguments(token != NULL, token, url, argv);
    arena_init(&arena, (size_t)16 << 20);
    spec.file = "cloudflared";
    spec.argv = (char *const *)(uintptr_t)argv;
    spec.envp = env_merge(&arena, &agent->env, NULL);
    spec.fds[1] = spec.fds[2] = CHILD_PIPE;
    if (spec.envp)
        child = child_spawn(agent, &spec, &c->sink, &events, c, &err);
    arena_free(&arena);
    *ret_errnum = err.errnum;
    return child;
}

struct cloudflared *cloudflared_start(struct agent *agent, int port, const char *token,
                                      const struct cloudflared_events *events, void *data, int *ret_errnum)
{
    struct cloudflared *c = calloc(1, sizeof(*c));

    if (!c) {
        *ret_errnum = ENOMEM;
        return NULL;
    }
    c->sink = (struct sink){ on_reserve, on_commit };
    c->events = events;
    c->data = data;
    c->watch.on_ready = on_ready;
    c->watch.on_late = on_late;
    c->child = spawn(c, agent, port, token, ret_errnum);
    if (!c->child) {
        free(c);
        return NULL;
    }
    c->child->grace_ms = CLOUDFLARED_GRACE_MS;
    cloudflared_watch_begin(&c->watch, agent->loop, !token);
    return c;
}

void cloudflared_stop(struct cloudflared *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    cloudflared_watch_stop(&c->watch);
    child_stop(c->child);
}
