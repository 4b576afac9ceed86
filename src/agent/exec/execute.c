/* execute.c - POST /api/execute, in a session and sessionless. */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "agent/http/text_reply.h"
#include "agent/process/process_launch.h"
#include "agent/session/shell_script.h"
#include "collector.h"
#include "command.h"

#include <stdio.h>

struct execution {
    struct request *rq;
    /* All strings are in the request's arena. */
    struct str command;
    const char *named_session; /* as the request names it, or NULL */
    const char *session_id;
    const char *cwd;
    struct env env;
    int64_t timeout_ms; /* < 0: not given */
    bool limited;       /* by `limits`: sessionless */
    struct limits limits;
    struct collector collector;

    struct child *child; /* sessionless */

    struct session_op op; /* in a session */
    struct shell_job job;
    struct loop_timer timer;
    int64_t limit_ms; /* that `timer` runs for */
};

static void free_execution(struct execution *e)
{
    loop_timer_stop(e->rq->agent->loop, &e->timer);
    collector_free(&e->collector);
    env_free(&e->env);
    request_unhold(e->rq);
    free(e);
}

static void finish(struct execution *e)
{
    if (e->op.session)
        session_release(&e->op);
    free_execution(e);
}

/* --- answers --- */

static void reply_failed(struct execution *e, const char *reason)
{
    struct context_item context[] = { { .key = "command", .type = CONTEXT_STRING, .string = e->command },
                                      CTX_STR("stderr", reason) };

    reply_error(e->rq, AGENT_E_COMMAND_EXECUTION_ERROR, context, 2, "Failed to execute the command: %s", reason);
}

static void reply_overflowed(struct execution *e)
{
    char reason[96];

    snprintf(reason, sizeof(reason), "the command's output is larger than the limit of %zu bytes",
             e->collector.limit);
    reply_failed(e, reason);
}

/* `usage` may be NULL. */
static void reply_result(struct execution *e, int exit_code, const struct usage *usage)
{
    struct text_reply *reply;

    if (e->collector.overflowed) {
        reply_overflowed(e);
        return;
    }
    reply = text_reply_new();
    if (reply) {
        struct json_writer *w = &reply->w;
        json_pair_bool(w, "success", exit_code == 0);
        json_pair_int(w, "exitCode", exit_code);
        json_pair_string(w, "command", e->command);
        json_pair_int(w, "duration", 0);
        json_pair_timestamp(w);
        if (e->named_session)
            json_pair_cstring(w, "sessionId", e->named_session);
        if (usage)
            usage_put(w, usage);
        text_reply_add(reply, "stdout", TEXT_UTF8, &e->collector.outputs[STREAM_STDOUT]);
        text_reply_add(reply, "stderr", TEXT_UTF8, &e->collector.outputs[STREAM_STDERR]);
    }
    text_reply_send(e->rq, reply);
}

/* --- in a session --- */

static struct execution *of_job(struct shell_job *job)
{
    return container_of(job, struct execution, job);
}

static void on_done(struct shell_job *job, int status)
{
    struct execution *e = of_job(job);

    output_trim(&e->collector.outputs[STREAM_STDOUT]);
    output_trim(&e->collector.outputs[STREAM_STDERR]);
    reply_result(e, status, NULL);
    finish(e);
}

static void on_no_directory(struct shell_job *job)
{
    struct execution *e = of_job(job);
    struct buf text;

    buf_init(&text, SIZE_MAX / 4);
    output_free(&e->collector.outputs[STREAM_STDOUT]);
    output_free(&e->collector.outputs[STREAM_STDERR]);
    if (shell_quote(&text, str_from(e->cwd)) < 0 ||
        output_append(&e->collector.outputs[STREAM_STDERR], STR("Failed to change directory to ")) < 0 ||
        output_append(&e->collector.outputs[STREAM_STDERR], buf_str(&text)) < 0)
        e->collector.overflowed = true;
    buf_free(&text);
    reply_result(e, 1, NULL);
    finish(e);
}

static void on_shell_exit(struct shell_job *job, int exit_code)
{
    struct execution *e = of_job(job);

    reply_session_terminated(e->rq, e->session_id, exit_code);
    session_discard(e->op.session);
    finish(e);
}

/* The command runs on in its shell, with its output dropped; the lock is free again. */
static void on_timeout(struct loop_timer *timer)
{
    struct execution *e = container_of(timer, struct execution, timer);
    char reason[64];

    shell_abandon(&e->job);
    snprintf(reason, sizeof(reason), "Command timeout after %lldms", (long long)e->limit_ms);
    reply_failed(e, reason);
    finish(e);
}

static int64_t limit_of(const struct execution *e)
{
    const struct session *session = e->op.session;
    const char *text = env_get(&e->rq->agent->env, "COMMAND_TIMEOUT_MS");
    uint64_t ms;

    if (e->timeout_ms >= 0)
        return e->timeout_ms;
    if (session->timeout_ms > 0)
        return session->timeout_ms;
    return text && str_to_u64(str_from(text), &ms) == 0 && ms > 0 && ms < INT64_MAX ? (int64_t)ms : -1;
}

static void run_in_session(struct session_op *op)
{
    struct execution *e = container_of(op, struct execution, op);
    struct agent *agent = e->rq->agent;
    struct shell_command command = { .text = e->command, .cwd = e->cwd, .env = &e->env };
    struct berm_error err;
    struct shell *shell = session_shell(op->session, &err);

    if (!shell) {
        struct context_item context[] = { CTX_STR("sessionId", e->session_id),
                                          CTX_STR("originalError", err.message) };
        reply_error(e->rq, AGENT_E_INTERNAL_ERROR, context, 2, "Cannot start session '%s': %s", e->session_id,
                    err.message);
        session_discard(op->session);
        finish(e);
        return;
    }
    if (shell_run(shell, &e->job, &command, &err) < 0) {
        reply_failed(e, err.message);
        finish(e);
        return;
    }
    e->limit_ms = limit_of(e);
    if (e->limit_ms >= 0 && loop_timer_start(agent->loop, &e->timer, (uint64_t)e->limit_ms) < 0) {
        shell_abandon(&e->job);
        reply_failed(e, "out of memory");
        finish(e);
    }
}

static void on_terminated(struct session_op *op, int exit_code)
{
    struct execution *e = container_of(op, struct execution, op);

    reply_session_terminated(e->rq, e->session_id, exit_code);
    finish(e);
}

static void start_in_session(struct execution *e)
{
    const char *problem = command_env_problem(e->rq, &e->env);

    if (problem) {
        reply_failed(e, problem);
        free_execution(e);
        return;
    }
    e->op.run = run_in_session;
    e->op.terminated = on_terminated;
    e->op.initial_cwd = e->cwd && e->cwd[0] == '/' ? e->cwd : NULL;
    e->job.sink = &e->collector.sink;
    e->job.on_done = on_done;
    e->job.on_no_directory = on_no_directory;
    e->job.on_shell_exit = on_shell_exit;
    if (session_submit(e->rq->agent, e->session_id, &e->op) < 0) {
        reply_failed(e, "out of memory");
        free_execution(e);
    }
}

/* --- sessionless --- */

static void add_timeout_line(struct execution *e)
{
    struct output *out = &e->collector.outputs[STREAM_STDERR];
    char line[64];
    int n = snprintf(line, sizeof(line), "Command timed out after %lldms", (long long)e->timeout_ms);
    int last = output_last_byte(out);

    if ((last >= 0 && last != '\n' && output_append(out, STR("\n")) < 0) ||
        output_append(out, (struct str){ line, (size_t)n }) < 0)
        e->collector.overflowed = true;
}

static void on_child_end(struct child *child, void *data)
{
    struct execution *e = data;

    if (child->timed_out && !e->collector.overflowed)
        add_timeout_line(e);
    reply_result(e, child_exit_code(child), child_usage(child));
    free_execution(e);
}

/* Nobody will see what it writes from now on. */
static void on_overflow(struct collector *collector)
{
    struct execution *e = container_of(collector, struct execution, collector);

    if (e->child)
        child_stop(e->child);
}

static void start_sessionless(struct execution *e)
{
    static const struct child_events events = { .on_end = on_child_end };
    struct bash_spec bash = { .text = e->command, .env = &e->env, .cwd = e->cwd, .stdin_fd = CHILD_NULL };
    struct child_error err;

    bash.limits = e->limited ? &e->limits : NULL;
    e->collector.on_overflow = on_overflow;
    e->child = command_spawn(e->rq, &bash, &e->collector.sink, &events, e, &err);
    if (!e->child) {
        reply_failed(e, command_spawn_failure(e->rq, &err, e->cwd));
        free_execution(e);
        return;
    }
    if (e->timeout_ms >= 0)
        child_set_time_limit(e->child, (uint64_t)e->timeout_ms);
}

/* --- decoding --- */

static int decode(struct execution *e, bool *ret_background, struct berm_error *err)
{
    const struct json *body = e->rq->body;
    const struct json *variables = NULL;

    if (command_session_id(e->rq, &e->named_session, err) < 0 ||
        request_field_text(body, "cwd", &e->cwd, err) < 0 ||
        request_field_ms(body, "timeoutMs", &e->timeout_ms, err) < 0 ||
        json_field_bool(body, "background", ret_background, err) < 0 ||
        json_field_object(body, "env", &variables, err) < 0)
        return -1;
    if (command_limits(body, e->named_session, &e->limits, &e->limited, err) < 0)
        return -1;
    e->session_id = e->named_session ? e->named_session : e->limited ? SESSIONLESS_ID : "default";
    return env_from_json(&e->env, variables, "env", err);
}

static bool decode_command(struct execution *e)
{
    const struct json *command = json_get(e->rq->body, "command");

    if (!command || command->type != JSON_STRING) {
        reply_error(e->rq, AGENT_E_INVALID_COMMAND, NULL, 0, "command is required and must be a string");
        return false;
    }
    e->command = command->string;
    if (memchr(e->command.p, 0, e->command.n)) {
        reply_error(e->rq, AGENT_E_INVALID_COMMAND, NULL, 0, "command must not hold a NUL character");
        return false;
    }
    return true;
}

void handle_execute(struct request *rq)
{
    struct execution *e = calloc(1, sizeof(*e));
    struct berm_error err;
    bool background = false;

    if (!e) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    e->rq = request_hold(rq);
    e->timeout_ms = -1;
    loop_timer_init(&e->timer, on_timeout);
    collector_init(&e->collector, rq->agent->output_limit);
    if (!decode_command(e)) {
        free_execution(e);
    } else if (decode(e, &background, &err) < 0) {
        reply_invalid_field(rq, &err);
        free_execution(e);
    } else if (is_blank(str_from(e->session_id))) {
        reply_failed(e, "the session id must not be blank");
        free_execution(e);
    } else if (background) {
        static const struct process_launch_kind kind = {
            .session_by_header = true,
            .takes_time_limit = true,
            .reply = process_launch_reply,
        };
        process_launch(rq, &kind);
        free_execution(e);
    } else if (strcmp(e->session_id, SESSIONLESS_ID) == 0) {
        start_sessionless(e);
    } else {
        start_in_session(e);
    }
}
