/*
 * terminal_open.c - GET /ws/pty: from a request to a viewer of the session's terminal.
 *
 * Theory of operation. If the session has a terminal, the viewer joins it at once. If not, making one is an
 * operation of the session (session.h) and takes its turn: the terminal starts with the environment and the
 * directory that the session's shell has then. What the shell exports is asked of a process that it starts, for
 * only that sees it as any program would, with values of several lines and exported functions; it runs in a
 * subshell and leaves no trace. A session whose shell has not been needed yet is not given one for this.
 */
#include "agent/agent.h"
#include "agent/exec/collector.h"
#include "agent/http/routes.h"
#include "terminal.h"

#include <stdio.h>

#define SNAPSHOT_MAX ((size_t)16 * 1024 * 1024)
#define ITEMS_MAX    ((size_t)65536)
#define DEFAULT_COLS 80
#define DEFAULT_ROWS 24

/* -p: of the standard directories, whatever PATH has become. */
#define SNAPSHOT_COMMAND "(\\builtin command -p cat /proc/self/environ)"

/* bash clears what its start-up files have printed, once, before the first prompt. */
#define FIRST_PROMPT "PROMPT_COMMAND=printf '\\033[H\\033[2J'; unset PROMPT_COMMAND"

struct terminal_open {
    struct session_op op;
    struct agent *agent;
    struct terminal_viewer *viewer; /* NULL: it has gone */
    char *shell;
    struct terminal_size size;
    bool temporary;
    struct shell_job job;
    struct collector output;
};

static void finish(struct terminal_open *open)
{
    if (open->viewer)
        open->viewer->open = NULL;
    if (open->op.session)
        session_release(&open->op);
    collector_free(&open->output);
    free(open->shell);
    free(open);
}

static void fail(struct terminal_open *open, const char *message)
{
    if (open->viewer)
        terminal_viewer_fail(open->viewer, WS_INTERNAL, message);
    finish(open);
}

void terminal_open_forget(struct terminal_open *open)
{
    open->viewer = NULL; /* its turn comes all the same */
}

/* --- the environment --- */

static bool has_name(const char *item, const char *name)
{
    return str_is(env_item_name(item), name);
}

/* `items` (NULL-terminated) as the terminal's program gets them, in the arena. NULL without memory. */
static char **terminal_environment(struct arena *arena, char *const *items)
{
    bool has_prompt = false;
    size_t count = 0, n = 0;
    char **envp;

    while (items[count])
        count++;
    envp = arena_calloc(arena, count + 3, sizeof(*envp));
    for (size_t i = 0; envp && i < count; i++) {
        has_prompt |= has_name(items[i], "PROMPT_COMMAND");
        if (!has_name(items[i], "TERM") && !has_name(items[i], "_"))
            envp[n++] = items[i];
    }
    if (!envp)
        return NULL;
    envp[n++] = (char *)(uintptr_t) "TERM=xterm-256color";
    if (!has_prompt)
        envp[n++] = (char *)(uintptr_t)FIRST_PROMPT;
    return envp;
}

/* What the process saw: items that end with a NUL. NULL without memory. */
static char **snapshot_items(struct arena *arena, const struct output *output)
{
    char *text = arena_alloc(arena, output->total + 1);
    char **items = arena_calloc(arena, ITEMS_MAX + 1, sizeof(*items));
    size_t n = 0, count = 0;

    if (!text || !items)
        return NULL;
    for (const struct output_chunk *chunk = output->first; chunk; n += chunk->len, chunk = chunk->next)
        memcpy(text + n, chunk->bytes, chunk->len);
    text[n] = '\0';
    for (char *at = text; at < text + n && count < ITEMS_MAX; at += strlen(at) + 1)
        if (strchr(at, '='))
            items[count++] = at;
    return items;
}

/* --- the terminal --- */

static void start(struct terminal_open *open, char *const *items, struct arena *arena)
{
    struct session *session = open->op.session;
    char **envp = items ? terminal_environment(arena, items) : NULL;
    _cleanup_close_ int cwd_fd = session_open_cwd(session);
    struct terminal_spec spec = {
        .shell = open->shell, .envp = envp, .cwd_fd = cwd_fd, .size = open->size, .temporary = open->temporary
    };
    struct berm_error err = { .code = BERM_OK };
    struct terminal *terminal;

    if (!envp) {
        fail(open, "Out of memory");
        return;
    }
    if (!open->viewer) {
        finish(open);
        return;
    }
    terminal = terminal_start(session, &spec, &err);
    if (!terminal) {
        fail(open, err.message);
        return;
    }
    terminal_attach(terminal, open->viewer);
    finish(open);
}

static void on_snapshot(struct shell_job *job, int status)
{
    struct terminal_open *open = container_of(job, struct terminal_open, job);
    struct arena arena;

    if (status != 0 || open->output.overflowed) {
        fail(open, "Cannot read the environment of the session's shell");
        return;
    }
    arena_init(&arena, 2 * SNAPSHOT_MAX);
    start(open, snapshot_items(&arena, &open->output.outputs[STREAM_STDOUT]), &arena);
    arena_free(&arena);
}

static void on_no_directory(struct shell_job *job)
{
    on_snapshot(job, 1);
}

static void on_terminated(struct session_op *op, int exit_code)
{
    struct terminal_open *open = container_of(op, struct terminal_open, op);
    char message[80];

    snprintf(message, sizeof(message), "The session's shell exited (exit code: %d)", exit_code);
    fail(open, message);
}

static void on_shell_exit(struct shell_job *job, int exit_code)
{
    on_terminated(&container_of(job, struct terminal_open, job)->op, exit_code);
}

static void take_snapshot(struct terminal_open *open)
{
    const struct shell_command command = { .text = STR(SNAPSHOT_COMMAND) };
    struct berm_error err;

    collector_init(&open->output, SNAPSHOT_MAX);
    open->job = (struct shell_job){ .sink = &open->output.sink,
                                    .on_done = on_snapshot,
                                    .on_no_directory = on_no_directory,
                                    .on_shell_exit = on_shell_exit };
    if (shell_run(open->op.session->shell, &open->job, &command, &err) < 0)
        fail(open, err.message);
}

static void start_without_shell(struct terminal_open *open)
{
    _cleanup_(env_free) struct env env = { 0 };
    struct arena arena;

    if (session_environment(open->op.session, &env) < 0) {
        fail(open, "Out of memory");
        return;
    }
    arena_init(&arena, 2 * SNAPSHOT_MAX);
    start(open, env_merge(&arena, &open->agent->env, &env), &arena);
    arena_free(&arena);
}

static void on_turn(struct session_op *op)
{
    struct terminal_open *open = container_of(op, struct terminal_open, op);

    if (!open->viewer) {
        finish(open);
    } else if (op->session->terminal) {
        terminal_attach(op->session->terminal, open->viewer);
        finish(open);
    } else if (op->session->shell) {
        take_snapshot(open);
    } else {
        start_without_shell(open);
    }
}

/* --- the request --- */

/* A decimal number that a terminal can have, or the default. */
static uint16_t dimension(struct str query, const char *name, uint16_t otherwise)
{
    struct str text;
    uint64_t value;

    if (!query_get(query, name, &text) || str_to_u64(text, &value) < 0 || value == 0 || value > UINT16_MAX)
        return otherwise;
    return (uint16_t)value;
}

/* The decoded value, or NULL if it is absent, empty or badly encoded. */
static char *parameter(struct arena *arena, struct str query, const char *name)
{
    struct str text;
    char *value;

    if (!query_get(query, name, &text) || text.n == 0)
        return NULL;
    value = arena_alloc(arena, text.n + 1);
    return value && query_decode(text, value, text.n + 1) == 0 ? value : NULL;
}

static struct terminal_open *open_new(struct request *rq, struct terminal_viewer *viewer, const char *shell,
                                      struct terminal_size size)
{
    struct terminal_open *open = calloc(1, sizeof(*open));

    if (!open)
        return NULL;
    open->agent = rq->agent;
    open->op.run = on_turn;
    open->op.terminated = on_terminated;
    open->size = size;
    open->shell = strdup(shell ? shell : "bash");
    open->viewer = viewer;
    viewer->open = open;
    if (open->shell)
        return open;
    finish(open);
    return NULL;
}

void handle_pty(struct request *rq)
{
    struct str query = http_request(rq->ex)->query;
    char *session_id = parameter(&rq->arena, query, "sessionId");
    char *shell = parameter(&rq->arena, query, "shell");
    struct terminal_size size = { dimension(query, "cols", DEFAULT_COLS), dimension(query, "rows", DEFAULT_ROWS) };
    struct terminal_viewer *viewer;
    struct terminal_open *open;
    struct session *session;

    if (!session_id || strcmp(session_id, SESSIONLESS_ID) == 0) {
        http_respond(rq->ex, 400, "text/plain",
                     session_id ? STR("A terminal needs a session") : STR("sessionId query parameter required"));
        return;
    }
    viewer = terminal_viewer_new(rq);
    if (!viewer)
        return;
    session = session_find(rq->agent, session_id);
    if (session && session->terminal) {
        terminal_attach(session->terminal, viewer);
        return;
    }
    open = open_new(rq, viewer, shell, size);
    if (open)
        open->temporary = parameter(&rq->arena, query, "temporary") != NULL;
    if (!open || session_submit(rq->agent, session_id, &open->op) < 0) {
        if (open)
            finish(open);
        terminal_viewer_fail(viewer, WS_INTERNAL, "Out of memory");
    }
}
