#include "exec_terminal.h"

#include "agent/agent.h"
#include "agent/http/routes.h"

#define INPUT_MAX ((size_t)1024 * 1024) /* more than one piece of a body */

static struct exec_terminal *find(struct agent *agent, const char *id)
{
    struct exec_terminal *at = agent->exec_terminals;

    while (at && strcmp(at->id, id) != 0)
        at = at->next;
    return at;
}

/* --- output --- */

static void update_events(struct exec_terminal *t);

/* False: nothing is there now. */
static bool take_output(struct exec_terminal *t)
{
    ssize_t n = RETRY_EINTR(read(t->pty.master, scratch, SCRATCH_SIZE));

    if (n > 0)
        t->events->on_output(t->data, (struct str){ scratch, (size_t)n });
    else
        t->hung_up = n == 0 || errno != EAGAIN; /* EIO */
    return n > 0;
}

/* The command has exited, and the kernel has hung the terminal up: what is left of the output is there. */
static void on_child_end(struct child *child, void *data)
{
    struct exec_terminal *t = data;
    const struct exec_terminal_events *events = t->events;
    void *owner = t->data;

    while (!t->hung_up && take_output(t))
        ;
    exec_terminal_free(t);
    events->on_end(child, owner);
}

const struct child_events exec_terminal_child_events = { .on_end = on_child_end };

/* --- input --- */

static void flush_input(struct exec_terminal *t)
{
    bool was_full = t->input.len > 0;

    while (t->input.len > 0) {
        ssize_t n = RETRY_EINTR(write(t->pty.master, buf_head(&t->input), t->input.len));

        if (n < 0 && errno == EAGAIN)
            break;
        buf_consume(&t->input, n < 0 ? t->input.len : (size_t)n); /* EIO: nobody reads any more */
    }
    if (was_full && t->input.len == 0) {
        buf_free(&t->input);
        t->events->on_input_drain(t->data);
    }
}

bool exec_terminal_write(struct exec_terminal *t, struct str bytes)
{
    if (buf_append_str(&t->input, bytes) == 0) {
        flush_input(t);
        update_events(t);
    }
    return t->input.len == 0;
}

/* --- both --- */

static void on_io(struct loop_io *io, uint32_t events)
{
    struct exec_terminal *t = container_of(io, struct exec_terminal, io);

    if (events & EPOLLOUT)
        flush_input(t);
    if (!t->blocked && !t->hung_up)
        take_output(t);
    update_events(t);
}

/* Out of epoll when nothing is wanted: it reports a hang-up whether one asks or not. */
static void update_events(struct exec_terminal *t)
{
    uint32_t events = (!t->blocked && !t->hung_up ? EPOLLIN : 0) | (t->input.len > 0 && !t->hung_up ? EPOLLOUT : 0);

    if (events == 0)
        loop_io_remove(t->agent->loop, &t->io);
    else if (loop_io_active(&t->io))
        loop_io_modify(t->agent->loop, &t->io, events);
    else if (loop_io_add(t->agent->loop, &t->io, t->pty.master, events, on_io) < 0)
        t->hung_up = true;
}

void exec_terminal_hang_up(struct exec_terminal *t)
{
    t->hung_up = true;
    loop_io_remove(t->agent->loop, &t->io);
    pty_close(&t->pty);
}

void exec_terminal_pause(struct exec_terminal *t)
{
    t->blocked = true;
}

void exec_terminal_resume(struct exec_terminal *t)
{
    t->blocked = false;
    update_events(t);
}

/* --- life --- */

struct exec_terminal *exec_terminal_new(struct agent *agent, const char *id, struct terminal_size size,
                                        const struct exec_terminal_events *events, void *data)
{
    struct exec_terminal *t;

    if (find(agent, id)) {
        errno = EEXIST;
        return NULL;
    }
    t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->agent = agent;
    t->events = events;
    t->data = data;
    snprintf(t->id, sizeof(t->id), "%s", id);
    buf_init(&t->input, INPUT_MAX);
    t->next = agent->exec_terminals;
    agent->exec_terminals = t;
    if (pty_open(&t->pty, size) == 0 && loop_io_add(agent->loop, &t->io, t->pty.master, EPOLLIN, on_io) == 0)
        return t;
    exec_terminal_free(t);
    return NULL;
}

void exec_terminal_free(struct exec_terminal *t)
{
    struct exec_terminal **at;

    if (!t)
        return;
    for (at = &t->agent->exec_terminals; *at != t; at = &(*at)->next)
        ;
    *at = t->next;
    loop_io_remove(t->agent->loop, &t->io);
    pty_close(&t->pty);
    buf_free(&t->input);
    free(t);
}

/* --- POST /berm/v1/exec/resize --- */

void handle_exec_resize(struct request *rq)
{
    struct exec_terminal *terminal;
    int64_t cols = 80, rows = 24;
    const char *id = NULL;
    struct berm_error err;

    if (request_field_text(rq->body, "id", &id, &err) < 0 ||
        json_field_int(rq->body, "cols", 1, UINT16_MAX, &cols, &err) < 0 ||
        json_field_int(rq->body, "rows", 1, UINT16_MAX, &rows, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    terminal = find(rq->agent, id ? id : "");
    if (!terminal) {
        reply_error(rq, AGENT_E_PROCESS_NOT_FOUND, NULL, 0, "There is no such terminal");
        return;
    }
    pty_resize(&terminal->pty, (struct terminal_size){ (uint16_t)cols, (uint16_t)rows });
    http_respond(rq->ex, 204, NULL, (struct str){ NULL, 0 });
}
