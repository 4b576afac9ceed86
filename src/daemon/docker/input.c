#include "daemon/docker/input.h"

#include "daemon/docker/hijack.h"

#define EARLY_MAX ((size_t)256 * 1024) /* what a connection may have brought when it is taken over */

struct container_input {
    struct container *container;
    struct hijack *stream;
    struct http_call *call; /* NULL: the command does not run yet, or takes no more */
    struct buf early;
    bool started, ended;
};

struct container_input *container_input_new(struct container *container, struct berm_error *err)
{
    struct container_input *input;

    if (!container->open_stdin) {
        berm_fail(err, BERM_E_CONFLICT, 0, "container %s has no standard input: it was made without OpenStdin",
                  container->name);
        return NULL;
    }
    if (container->input) {
        berm_fail(err, BERM_E_CONFLICT, 0, "another client is attached to the standard input of container %s",
                  container->name);
        return NULL;
    }
    input = calloc(1, sizeof(*input));
    if (!input) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "standard input");
        return NULL;
    }
    input->container = container;
    buf_init(&input->early, EARLY_MAX);
    container->input = input;
    return input;
}

static void release(const struct container_input *input)
{
    if (input->container->input == input)
        input->container->input = NULL;
}

void container_input_free(struct container_input *input)
{
    if (!input)
        return;
    if (input->call)
        http_call_cancel(input->call);
    release(input);
    buf_free(&input->early);
    free(input);
}

static void on_drain(struct http_call *call, void *data)
{
    (void)call;
    hijack_read(((struct container_input *)data)->stream, true);
}

/*
 * The client has sent all, or the command takes no more: it has ended, or closed it. What the client still sends is
 * not read then. Its turn is over, though it may go on listening.
 */
static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct container_input *input = data;

    (void)call, (void)err;
    input->call = NULL;
    release(input);
    hijack_read(input->stream, false);
}

static void start(struct container_input *input)
{
    static const struct http_call_callbacks callbacks = { .on_drain = on_drain, .on_end = on_end };
    struct sandbox *sandbox = input->container->sandbox;
    struct http_client *client = sandbox && sandbox->link ? agent_link_client(sandbox->link) : NULL;
    struct berm_error err;

    input->started = true;
    if (client)
        input->call = http_call_start(client, "POST", "/berm/v1/supervise/input", NULL, 0, HTTP_CHUNKED, &callbacks,
                                      input, &err);
    if (!input->call)
        return;
    hijack_read(input->stream, true);
    if (input->early.len > 0)
        container_input_take(input, buf_str(&input->early));
    buf_free(&input->early);
    if (input->ended)
        http_call_end_body(input->call);
}

void container_input_begin(struct container_input *input, struct hijack *stream)
{
    input->stream = stream;
    if (input->container->phase == CONTAINER_RUNNING)
        start(input);
}

void container_input_started(struct container *container)
{
    if (container->input && container->input->stream)
        start(container->input);
}

void container_input_take(struct container_input *input, struct str bytes)
{
    if (input->call) {
        if (!http_call_write(input->call, bytes.p, bytes.n))
            hijack_read(input->stream, false);
    } else if (!input->started) {
        buf_append_str(&input->early, bytes); /* fits: the connection is not read before the start */
    }
}

void container_input_end(struct container_input *input)
{
    input->ended = true;
    if (input->call)
        http_call_end_body(input->call);
}
