#include "process_launch.h"

#include "agent/agent.h"

struct process_launch {
    struct process_start start;
    const struct process_launch_kind *kind;
    bool limited;
    bool accepted; /* the answer has begun */
    struct limits limits;
};

static void free_launch(struct process_launch *launch)
{
    env_free(&launch->start.env);
    free(launch);
}

static void reply_not_started(struct process_launch *launch, const char *reason)
{
    struct context_item context[] = {
        { .key = "command", .type = CONTEXT_STRING, .string = launch->start.command },
        CTX_STR("stderr", reason),
    };

    reply_error(launch->start.rq, AGENT_E_STREAM_START_ERROR, context, 2, "Failed to start the command: %s",
                reason);
}

static void on_accepted(struct process_start *start)
{
    struct process_launch *launch = container_of(start, struct process_launch, start);

    launch->accepted = launch->kind->accept(start->rq);
}

static void on_started(struct process_start *start, struct process *process)
{
    struct process_launch *launch = container_of(start, struct process_launch, start);

    launch->kind->reply(start->rq, process);
}

static void on_finished(struct process_start *start)
{
    free_launch(container_of(start, struct process_launch, start));
}

static void reply_no_session(struct process_start *start, const char *reason)
{
    struct context_item context[] = { CTX_STR("sessionId", start->session_id), CTX_STR("originalError", reason) };

    reply_error(start->rq, AGENT_E_INTERNAL_ERROR, context, 2, "Cannot start session '%s': %s", start->session_id,
                reason);
}

static void on_failed(struct process_start *start, enum process_failure failure, const char *reason, int exit_code)
{
    struct process_launch *launch = container_of(start, struct process_launch, start);

    if (launch->accepted) {
        launch->kind->fail(start->rq, start->command, failure == PROCESS_FAIL_TERMINATED ? exit_code : 0);
        return;
    }
    switch (failure) {
    case PROCESS_FAIL_TERMINATED:
        reply_session_terminated(start->rq, start->session_id, exit_code);
        break;
    case PROCESS_FAIL_SESSION:
        reply_no_session(start, reason);
        break;
    case PROCESS_FAIL_START:
        reply_not_started(launch, reason);
        break;
    }
}

/* --- decoding --- */

static bool decode_command(struct process_launch *launch)
{
    struct request *rq = launch->start.rq;
    const struct json *command = json_get(rq->body, "command");
    const char *problem = NULL;

    if (!command || command->type != JSON_STRING)
        problem = "command is required and must be a string";
    else if (memchr(command->string.p, 0, command->string.n))
        problem = "command must not hold a NUL character";
    else if (is_blank(command->string))
        problem = "command must not be blank";
    if (problem)
        reply_error(rq, AGENT_E_INVALID_COMMAND, NULL, 0, "%s", problem);
    else
        launch->start.command = command->string;
    return !problem;
}

static int decode_session(struct process_launch *launch, struct berm_error *err)
{
    struct process_start *start = &launch->start;
    const char *id = NULL;

    if (launch->kind->session_by_header)
        return command_session_id(start->rq, &start->session_id, err);
    /* Here "" is no session id, and does not count as none. */
    if (json_field_cstring(start->rq->body, "sessionId", &id, err) < 0)
        return -1;
    start->session_id = id;
    return 0;
}

static int decode_own(struct process_launch *launch, struct berm_error *err)
{
    struct process_start *start = &launch->start;
    const char *id = NULL;
    int64_t limit = 0;

    if (request_field_text(start->rq->body, "processId", &id, err) < 0 ||
        json_field_bool(start->rq->body, "stdin", &start->with_stdin, err) < 0 ||
        json_field_int(start->rq->body, "logLimit", (int64_t)BYTE_LOG_LIMIT_MIN, INT64_MAX, &limit, err) < 0)
        return -1;
    start->id = id ? str_from(id) : (struct str){ NULL, 0 };
    start->log_limit = (uint64_t)limit;
    return 0;
}

static int decode(struct process_launch *launch, struct berm_error *err)
{
    struct process_start *start = &launch->start;
    const struct json *body = start->rq->body, *variables = NULL;
    int64_t timeout_ms = -1;

    if (decode_session(launch, err) < 0 || request_field_text(body, "cwd", &start->cwd, err) < 0 ||
        request_field_ms(body, "timeoutMs", &timeout_ms, err) < 0 ||
        json_field_object(body, "env", &variables, err) < 0 ||
        env_from_json(&start->env, variables, "env", err) < 0 ||
        command_limits(body, start->session_id, &launch->limits, &launch->limited, err) < 0)
        return -1;
    if (launch->limited) {
        start->limits = &launch->limits;
        start->session_id = SESSIONLESS_ID;
    }
    start->timeout_ms = launch->kind->takes_time_limit ? timeout_ms : -1;
    return launch->kind->takes_id ? decode_own(launch, err) : 0;
}

void process_launch(struct request *rq, const struct process_launch_kind *kind)
{
    struct process_launch *launch = calloc(1, sizeof(*launch));
    struct process_start *start = launch ? &launch->start : NULL;
    struct berm_error err;

    if (!launch) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    launch->kind = kind;
    *start = (struct process_start){
        .rq = rq, .early = kind->early, .on_started = on_started, .on_failed = on_failed, .on_finished = on_finished
    };
    if (kind->accept)
        start->on_accepted = on_accepted;
    if (!decode_command(launch)) {
        free_launch(launch);
    } else if (decode(launch, &err) < 0) {
        reply_invalid_field(rq, &err);
        free_launch(launch);
    } else if (start->session_id && is_blank(str_from(start->session_id))) {
        reply_not_started(launch, "the session id must not be blank");
        free_launch(launch);
    } else {
        if (!start->session_id)
            start->session_id = "default";
        else if (strcmp(start->session_id, SESSIONLESS_ID) == 0)
            start->session_id = NULL;
        process_start(start);
    }
}

void process_launch_reply(struct request *rq, struct process *process)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "processId", process->id);
    if (process->pid > 0)
        json_pair_int(&reply.w, "pid", process->pid);
    json_pair_string(&reply.w, "command", process->command);
    reply_send(rq, &reply);
}
