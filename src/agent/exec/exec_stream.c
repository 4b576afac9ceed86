#include "exec_stream.h"

#include "agent/agent.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"
#include "agent/session/shell_script.h"
#include "command.h"
#include "net/sse.h"

#include <stdio.h>

#define GRACE_MS       2000 /* clients of the bridge API allow five seconds over the time limit in all */
#define HEAD_AFTER_MS  4
#define EXIT_EVENT_MAX 512

static const char *const stream_names[STREAM_COUNT] = { "stdout", "stderr" };

/* --- events --- */

static void send_head(struct exec_stream *e)
{
    static const struct http_field fields[] = { { "Content-Type", "text/event-stream" },
                                                { "Cache-Control", "no-cache" } };

    e->begun = true;
    e->spoke_ms = loop_now_ms(e->rq->agent->loop);
    loop_timer_stop(e->rq->agent->loop, &e->begin_timer);
    if (!e->rq->ex)
        return;
    http_respond_begin(e->rq->ex, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
    (void)loop_timer_start(e->rq->agent->loop, &e->keep_alive, e->rq->agent->keep_alive_ms);
}

static void on_keep_alive(struct loop_timer *timer)
{
    struct exec_stream *e = container_of(timer, struct exec_stream, keep_alive);
    struct agent *agent = e->rq->agent;
    uint64_t left_ms = keep_alive_left(agent, e->spoke_ms);
    struct str comment = STR(KEEP_ALIVE_COMMENT);

    if (!e->rq->ex)
        return;
    if (left_ms == 0 && !e->blocked && !http_respond_write(e->rq->ex, comment.p, comment.n))
        e->blocked = true;
    if (left_ms == 0)
        e->spoke_ms = loop_now_ms(agent->loop);
    (void)loop_timer_start(agent->loop, timer, left_ms > 0 ? left_ms : agent->keep_alive_ms);
}

static void on_begin_timer(struct loop_timer *timer)
{
    send_head(container_of(timer, struct exec_stream, begin_timer));
}

static void send_event(struct exec_stream *e, const char *name, const void *p, size_t n, bool base64)
{
    struct buf event;
    int rc;

    if (!e->rq->ex)
        return;
    if (!e->begun)
        send_head(e);
    e->spoke_ms = loop_now_ms(e->rq->agent->loop);
    buf_init(&event, SIZE_MAX / 4);
    rc = base64 ? sse_append_base64(&event, name, p, n) : sse_append(&event, name, (struct str){ p, n });
    if (rc < 0)
        http_exchange_abort(e->rq->ex); /* without memory: a hole in the stream must not look like none */
    else if (!http_respond_write(e->rq->ex, buf_head(&event), event.len))
        e->blocked = true;
    buf_free(&event);
}

static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct exec_stream *e = container_of(sink, struct exec_stream, sink);

    (void)stream;
    if (e->blocked && !final)
        return NULL;
    *room = SCRATCH_SIZE;
    return scratch;
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct exec_stream *e = container_of(sink, struct exec_stream, sink);

    if (stream == STREAM_STDERR)
        e->stderr_open_line = scratch[n - 1] != '\n';
    send_event(e, stream_names[stream], scratch, n, true);
}

void exec_stream_put_stderr(struct exec_stream *e, struct str text)
{
    struct buf line;

    buf_init(&line, text.n + 2);
    if ((!e->stderr_open_line || buf_append(&line, "\n", 1) == 0) && buf_append_str(&line, text) == 0 &&
        buf_append(&line, "\n", 1) == 0)
        send_event(e, "stderr", buf_head(&line), line.len, true);
    buf_free(&line);
}

void exec_stream_put_timeout(struct exec_stream *e)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "Command timed out after %lldms", (long long)e->timeout_ms);

    exec_stream_put_stderr(e, (struct str){ text, (size_t)n });
}

/* --- the names of commands --- */

static struct exec_stream **find(struct agent *agent, const char *id)
{
    struct exec_stream **at = &agent->named_execs;

    while (*at && strcmp((*at)->id, id) != 0)
        at = &(*at)->next_named;
    return at;
}

static void give_name(struct exec_stream *e)
{
    e->next_named = e->rq->agent->named_execs;
    e->rq->agent->named_execs = e;
}

static void take_name_back(struct exec_stream *e)
{
    struct exec_stream **at = e->id ? find(e->rq->agent, e->id) : NULL;

    if (at && *at == e) /* it may be another's: then `e` is what was refused its name */
        *at = e->next_named;
}

/* --- life --- */

void exec_stream_free(struct exec_stream *e)
{
    struct request *rq = e->rq;

    exec_terminal_free(e->terminal);
    take_name_back(e);
    loop_timer_stop(rq->agent->loop, &e->timer);
    loop_timer_stop(rq->agent->loop, &e->begin_timer);
    loop_timer_stop(rq->agent->loop, &e->keep_alive);
    pid_list_free(&e->children_before);
    buf_free(&e->document);
    env_free(&e->env);
    free(e);
    request_let_go(rq);
}

void exec_stream_fail(struct exec_stream *e, const char *reason)
{
    struct context_item context[] = { CTX_STR("stderr", reason) };

    reply_error(e->rq, AGENT_E_COMMAND_EXECUTION_ERROR, context, 1, "Failed to execute the command: %s", reason);
    exec_stream_free(e);
}

/*
 * By itself the head would wake bermd and then the client, just when the command wants the CPU that they share. A
 * short command has it all in one piece.
 */
void exec_stream_begin(struct exec_stream *e)
{
    if (!e->rq->ex)
        return;
    http_watch_disconnect(e->rq->ex);
    if (loop_timer_start(e->rq->agent->loop, &e->begin_timer, HEAD_AFTER_MS) < 0)
        send_head(e);
}

void exec_stream_finish(struct exec_stream *e, int exit_code, const struct usage *usage)
{
    struct json_writer w;
    struct buf data;

    buf_init(&data, EXIT_EVENT_MAX);
    json_writer_init(&w, &data);
    json_object_begin(&w);
    json_pair_int(&w, "exit_code", exit_code);
    if (usage)
        usage_put(&w, usage);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        send_event(e, "exit", buf_head(&data), data.len, false);
    else if (e->rq->ex)
        http_exchange_abort(e->rq->ex);
    buf_free(&data);
    if (e->rq->ex)
        http_respond_end(e->rq->ex);
    exec_stream_free(e);
}

static void resume_output(struct exec_stream *e)
{
    e->blocked = false;
    if (e->terminal)
        exec_terminal_resume(e->terminal);
    else if (e->child)
        child_resume_output(e->child);
    else
        shell_resume_output(&e->job);
}

static void on_drain(struct request *rq)
{
    resume_output(rq->data);
}

/*
 * The client has gone away, or bermd has. In a session the command runs on, as all commands of sessions do; and so
 * does one with a name, which bermd cancels if it was the client. Input that broke off is no input: a command that
 * might take the part for the whole is ended.
 */
static void on_gone(struct request *rq, bool complete)
{
    struct exec_stream *e = rq->data;

    if (complete)
        return;
    if (!e->decoded) { /* nothing has been started */
        exec_stream_free(e);
        return;
    }
    resume_output(e);
    if (e->id && e->body_ended)
        return;
    if (e->terminal && !e->keep_on_disconnect)
        exec_terminal_hang_up(e->terminal);
    if (e->child && !e->keep_on_disconnect)
        child_stop(e->child);
    else if (e->child && !e->body_ended)
        child_close_stdin(e->child);
}

/* --- without a session --- */

static void on_child_end(struct child *child, void *data)
{
    struct exec_stream *e = data;

    e->child = NULL;
    if (child->timed_out)
        exec_stream_put_timeout(e);
    exec_stream_finish(e, child_exit_code(child), child_usage(child));
}

static void on_input_drain(void *data)
{
    struct exec_stream *e = data;

    if (e->rq->ex)
        http_body_resume(e->rq->ex);
}

static void on_stdin_drain(struct child *child, void *data)
{
    (void)child;
    on_input_drain(data);
}

static const struct child_events child_events = { .on_end = on_child_end, .on_stdin_drain = on_stdin_drain };

static void on_terminal_output(void *data, struct str bytes)
{
    struct exec_stream *e = data;

    send_event(e, stream_names[STREAM_STDOUT], bytes.p, bytes.n, true);
    if (e->blocked)
        exec_terminal_pause(e->terminal);
}

static void on_terminal_end(struct child *child, void *data)
{
    ((struct exec_stream *)data)->terminal = NULL;
    on_child_end(child, data);
}

static const struct exec_terminal_events terminal_events = { .on_output = on_terminal_output,
                                                             .on_input_drain = on_input_drain,
                                                             .on_end = on_terminal_end };

/* As Docker has it: a program on a terminal is told which, unless somebody has said so. */
static int make_terminal(struct exec_stream *e)
{
    if (!env_get(&e->env, "TERM") && env_set(&e->env, STR("TERM"), STR("xterm")) < 0)
        return -1;
    e->terminal = exec_terminal_new(e->rq->agent, e->terminal_id, e->terminal_size, &terminal_events, e);
    return e->terminal ? 0 : -1;
}

static char **make_argv(struct exec_stream *e)
{
    size_t count = e->argv->array.count;
    char **argv = arena_alloc(&e->rq->arena, (count + 1) * sizeof(*argv));

    if (!argv)
        return NULL;
    for (size_t i = 0; i < count; i++)
        argv[i] = (char *)(uintptr_t)e->argv->array.items[i].string.p; /* NUL-terminated by the parser */
    argv[count] = NULL;
    return argv;
}

struct str exec_stream_text(struct exec_stream *e)
{
    struct buf text;
    struct str result = { NULL, 0 };
    char *copy;

    if (!e->argv)
        return e->command;
    buf_init(&text, SIZE_MAX / 4);
    for (size_t i = 0; i < e->argv->array.count; i++)
        if ((i > 0 && buf_append(&text, " ", 1) < 0) ||
            shell_quote_argument(&text, e->argv->array.items[i].string) < 0)
            goto out;
    copy = arena_strdup(&e->rq->arena, buf_str(&text));
    if (copy)
        result = (struct str){ copy, text.len };
out:
    buf_free(&text);
    return result;
}

static struct child *spawn(struct exec_stream *e, struct child_error *err)
{
    struct bash_spec bash = { .env = &e->env, .cwd = e->cwd, .stdin_fd = e->with_stdin ? CHILD_PIPE : CHILD_NULL };
    const struct child_events *events = e->terminal ? &exec_terminal_child_events : &child_events;
    void *data = e->terminal ? (void *)e->terminal : e;
    char **argv = e->argv ? make_argv(e) : NULL;
    struct child *child;

    bash.limits = e->limited ? &e->limits : NULL;
    bash.pty = e->terminal ? &e->terminal->pty : NULL;
    if (argv) {
        child = command_spawn_argv(e->rq, argv, &bash, &e->sink, events, data, err);
        if (child || err->where != CHILD_FAIL_EXEC || err->errnum == ENOMEM)
            return child;
        /* A shell's own command (which may take arguments that no program can), or nothing that can be executed:
         * bash knows the difference, and the exit code. */
    }
    bash.text = exec_stream_text(e);
    if (!bash.text.p)
        return NULL;
    return command_spawn(e->rq, &bash, &e->sink, events, data, err);
}

/* False: it could not be started and `e` is gone. */
static bool start_child(struct exec_stream *e)
{
    struct child_error err = { CHILD_FAIL_RESOURCES, ENOMEM };

    if (e->terminal_id && make_terminal(e) < 0)
        err.errnum = errno;
    else
        e->child = spawn(e, &err);
    if (!e->child) {
        exec_stream_fail(e, command_spawn_failure(e->rq, &err, e->cwd));
        return false;
    }
    if (e->id)
        give_name(e);
    e->child->limit_covers_streams = true;
    e->child->grace_ms = GRACE_MS;
    exec_stream_begin(e);
    if (e->timeout_ms >= 0)
        child_set_time_limit(e->child, (uint64_t)e->timeout_ms);
    return true;
}

/* --- decoding --- */

static int check_argv(const struct json *argv, struct berm_error *err)
{
    if (argv->array.count == 0)
        return berm_fail_field(err, "argv", "must be a non-empty array");
    for (size_t i = 0; i < argv->array.count; i++) {
        const struct json *item = &argv->array.items[i];
        if (item->type != JSON_STRING)
            return berm_fail_field(err, "argv", "must hold strings only");
        if (memchr(item->string.p, 0, item->string.n))
            return berm_fail_field(err, "argv", "must not hold NUL characters");
    }
    return 0;
}

static int decode_what(struct exec_stream *e, const struct json *body, struct berm_error *err)
{
    const char *command = NULL;

    if (json_field_array(body, "argv", &e->argv, err) < 0 || json_field_cstring(body, "command", &command, err) < 0)
        return -1;
    if (e->argv && command)
        return berm_fail_field(err, "argv", "and command exclude each other");
    if (e->argv)
        return check_argv(e->argv, err);
    if (!command)
        return berm_fail_field(err, "argv", "or command is required");
    e->command = str_from(command);
    return 0;
}

static int decode_terminal(struct exec_stream *e, const struct json *tty, struct berm_error *err)
{
    int64_t cols = 80, rows = 24;

    if (!tty)
        return 0;
    if (request_field_text(tty, "id", &e->terminal_id, err) < 0 ||
        json_field_int(tty, "cols", 1, UINT16_MAX, &cols, err) < 0 ||
        json_field_int(tty, "rows", 1, UINT16_MAX, &rows, err) < 0)
        return -1;
    if (!e->terminal_id || strlen(e->terminal_id) > EXEC_TERMINAL_ID_MAX)
        return berm_fail_field(err, "tty", "needs an id of at most %d bytes", EXEC_TERMINAL_ID_MAX);
    e->terminal_size = (struct terminal_size){ (uint16_t)cols, (uint16_t)rows };
    return 0;
}

static int decode(struct exec_stream *e, struct str text, struct berm_error *err)
{
    const struct json *body, *variables = NULL, *tty = NULL;

    if (json_parse(&e->rq->arena, text, JSON_MAX_DEPTH, &body, err) < 0)
        return -1;
    if (body->type != JSON_OBJECT)
        return berm_fail_field(err, "body", "must be a JSON object");
    if (decode_what(e, body, err) < 0 || request_field_text(body, "cwd", &e->cwd, err) < 0 ||
        request_field_text(body, "sessionId", &e->session_id, err) < 0 ||
        request_field_ms(body, "timeoutMs", &e->timeout_ms, err) < 0 ||
        request_field_text(body, "id", &e->id, err) < 0 ||
        json_field_bool(body, "keepOnDisconnect", &e->keep_on_disconnect, err) < 0 ||
        json_field_object(body, "tty", &tty, err) < 0 || decode_terminal(e, tty, err) < 0 ||
        json_field_object(body, "env", &variables, err) < 0 || env_from_json(&e->env, variables, "env", err) < 0 ||
        command_limits(body, e->session_id, &e->limits, &e->limited, err) < 0)
        return -1;
    if (e->session_id && strcmp(e->session_id, SESSIONLESS_ID) == 0)
        e->session_id = NULL;
    if (e->session_id && is_blank(str_from(e->session_id)))
        return berm_fail_field(err, "sessionId", "must not be blank");
    if (e->session_id && (e->with_stdin || e->terminal_id))
        return berm_fail_field(err, "sessionId", "and %s exclude each other: a session's commands have none",
                               e->with_stdin ? "stdin" : "tty");
    return 0;
}

/* The client has left before the start, and the request to cancel may have been here before this one. */
static void give_up(struct exec_stream *e)
{
    struct http_exchange *ex = e->rq->ex;

    exec_stream_free(e);
    http_exchange_abort(ex);
}

/* True: a process runs and takes the rest of the body as its stdin. Else `e` is gone, or will go by itself. */
static bool start(struct exec_stream *e, struct str text)
{
    struct berm_error err;

    e->decoded = true;
    if (decode(e, text, &err) < 0) {
        reply_invalid_field(e->rq, &err);
        exec_stream_free(e);
        return false;
    }
    if (e->id && http_client_left(e->rq->ex)) {
        give_up(e);
        return false;
    }
    if (!e->session_id)
        return start_child(e);
    exec_stream_start_in_session(e);
    return false;
}

/* --- the body --- */

static void feed_stdin(struct exec_stream *e, struct str piece)
{
    bool room = piece.n == 0 || !e->child ||
                (e->terminal ? exec_terminal_write(e->terminal, piece) : child_write(e->child, piece.p, piece.n));

    if (!room && e->rq->ex)
        http_body_pause(e->rq->ex);
}

static bool collect(struct exec_stream *e, struct str piece)
{
    if (e->document.len + piece.n <= BODY_MAX && buf_append_str(&e->document, piece) == 0)
        return true;
    reply_invalid(e->rq, "body", "the JSON document is too large", "TOO_LARGE");
    exec_stream_free(e);
    return false;
}

static void on_piece(struct request *rq, struct str piece)
{
    struct exec_stream *e = rq->data;
    const char *newline;
    struct str line;

    if (e->decoded) {
        feed_stdin(e, piece);
        return;
    }
    newline = e->with_stdin ? memchr(piece.p, '\n', piece.n) : NULL;
    line = (struct str){ piece.p, newline ? (size_t)(newline - piece.p) : piece.n };
    if (!collect(e, line) || !newline)
        return;
    if (!start(e, buf_str(&e->document)))
        return;
    http_body_unhurried(rq->ex);
    feed_stdin(e, (struct str){ newline + 1, piece.n - line.n - 1 });
}

static void on_body_end(struct request *rq)
{
    struct exec_stream *e = rq->data;

    e->body_ended = true;
    if (!e->decoded && !start(e, buf_str(&e->document)))
        return;
    if (e->child)
        child_close_stdin(e->child);
}

static bool has_stdin(const struct http_exchange *ex)
{
    struct str type = h1_header(http_request(ex), "Content-Type");
    const char *semicolon = memchr(type.p ? type.p : "", ';', type.n);

    if (semicolon)
        type.n = (size_t)(semicolon - type.p);
    return str_eq_nocase(str_trim(type), STR("application/x-berm-exec"));
}

void handle_exec_stream(struct request *rq)
{
    struct exec_stream *e = calloc(1, sizeof(*e));

    if (!e) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    e->rq = request_hold(rq);
    e->sink = (struct sink){ reserve, commit };
    e->timeout_ms = -1;
    e->with_stdin = has_stdin(rq->ex);
    buf_init(&e->document, BODY_MAX);
    loop_timer_init(&e->timer, NULL);
    loop_timer_init(&e->begin_timer, on_begin_timer);
    loop_timer_init(&e->keep_alive, on_keep_alive);
    rq->data = e;
    rq->on_piece = on_piece;
    rq->on_body_end = on_body_end;
    rq->on_drain = on_drain;
    rq->on_gone = on_gone;
}

/* --- POST /berm/v1/exec/cancel --- */

void handle_exec_cancel(struct request *rq)
{
    const char *id = NULL;
    struct exec_stream *e;
    struct berm_error err;

    if (request_field_text(rq->body, "id", &id, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    e = *find(rq->agent, id ? id : "");
    if (!e || !e->child) {
        reply_error(rq, AGENT_E_PROCESS_NOT_FOUND, NULL, 0, "There is no such command");
        return;
    }
    child_stop(e->child);
    http_respond(rq->ex, 204, NULL, (struct str){ NULL, 0 });
}
