/* interpreter_routes.c - /api/contexts, /api/execute/code, /api/interpreter/health. */
#include "agent/agent.h"
#include "agent/http/event_stream.h"
#include "agent/http/routes.h"
#include "base/spawn_wire.h"
#include "context.h"

#define HEAD_WAIT_MS 10 /* as long as output is gathered */

/* The third segment of "/api/contexts/{id}[/...]", or the empty string. */
static struct str id_of(struct request *rq)
{
    struct str path = http_request(rq->ex)->path;
    const char *at;

    path.p += sizeof("/api/contexts/") - 1;
    path.n -= sizeof("/api/contexts/") - 1;
    at = memchr(path.p, '/', path.n);
    if (at)
        path.n = (size_t)(at - path.p);
    return path;
}

static void reply_no_context(struct request *rq, struct str id)
{
    struct context_item context[] = { { .key = "contextId", .type = CONTEXT_STRING, .string = id } };

    reply_error(rq, AGENT_E_CONTEXT_NOT_FOUND, context, 1, "Context not found: %.*s", (int)MIN(id.n, (size_t)200),
                id.p);
}

void handle_interpreter_health(struct request *rq)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "status", "healthy");
    reply_send(rq, &reply);
}

/* For bermd: what the interpreters of this sandbox are, and where they came from. */
void handle_interpreter_stats(struct request *rq)
{
    const struct interpreter *interpreter = &rq->agent->interpreter;
    struct reply reply;

    reply_begin(&reply);
    json_pair_int(&reply.w, "contexts", (int64_t)interpreter->count);
    json_pair_int(&reply.w, "sparePython", (int64_t)interpreter_spares(interpreter, KERNEL_PROGRAM_PYTHON));
    json_pair_int(&reply.w, "spareNode", (int64_t)interpreter_spares(interpreter, KERNEL_PROGRAM_NODE));
    json_pair_int(&reply.w, "startedCold", (int64_t)interpreter->started_cold);
    json_pair_int(&reply.w, "startedSnapshot", (int64_t)interpreter->started_snapshot);
    json_pair_int(&reply.w, "takenSpare", (int64_t)interpreter->taken_spare);
    json_pair_int(&reply.w, "died", (int64_t)interpreter->died);
    reply_send(rq, &reply);
}

/* For bermd, which counts what it hears of here once. */
void handle_interpreter_untold(struct request *rq)
{
    struct interpreter *interpreter = &rq->agent->interpreter;
    struct reply reply;

    reply_begin(&reply);
    json_pair_int(&reply.w, "snapshot", (int64_t)interpreter->untold.snapshot);
    json_pair_int(&reply.w, CONTEXT_SPARE, (int64_t)interpreter->untold.spare);
    json_pair_int(&reply.w, "cold", (int64_t)interpreter->untold.cold);
    json_pair_int(&reply.w, "failed", (int64_t)interpreter->untold.failed);
    memset(&interpreter->untold, 0, sizeof(interpreter->untold));
    reply_send(rq, &reply);
}

/* --- contexts --- */

struct creation {
    struct context_creation creation;
    struct request *rq;
    enum kernel_language language;
    struct env env;
};

static void finish_creation(struct creation *c)
{
    env_free(&c->env);
    request_unhold(c->rq);
    free(c);
}

/* An answer by HTTP says how its context was come by; of others, whose bytes bermd does not read, it will ask. */
static void count_untold(struct creation *c, const char *come_by)
{
    struct interpreter *interpreter = &c->rq->agent->interpreter;

    if (!c->rq->ex || !http_peer_is_own(c->rq->ex))
        return;
    if (!come_by)
        interpreter->untold.failed++;
    else if (!strcmp(come_by, "snapshot"))
        interpreter->untold.snapshot++;
    else if (!strcmp(come_by, CONTEXT_SPARE))
        interpreter->untold.spare++;
    else
        interpreter->untold.cold++;
}

static void on_created(struct context_creation *creation, struct context *context)
{
    struct creation *c = container_of(creation, struct creation, creation);
    struct reply reply;

    count_untold(c, context->come_by);
    reply_begin(&reply);
    json_pair_cstring(&reply.w, "contextId", context->id);
    json_pair_cstring(&reply.w, "language", kernel_language_name(context->language));
    json_pair_cstring(&reply.w, "cwd", context->cwd);
    c->rq->field = (struct http_field){ AGENT_CONTEXT_FIELD, context->come_by };
    reply_send(c->rq, &reply);
    finish_creation(c);
}

static void on_failed(struct context_creation *creation, bool missing, const char *reason)
{
    struct creation *c = container_of(creation, struct creation, creation);
    struct context_item context[] = { CTX_STR("originalError", reason) };

    count_untold(c, NULL);
    if (missing && c->language == KERNEL_PYTHON)
        reply_error(
            c->rq, AGENT_E_PYTHON_NOT_AVAILABLE, context, 1,
            "Python interpreter not available: the image has no python3 with IPython. Use an image that has "
            "them, such as base, or upstream's variant whose name ends in -python");
    else
        reply_error(c->rq, AGENT_E_INTERNAL_ERROR, context, 1, "Failed to create a code context: %s", reason);
    finish_creation(c);
}

static enum kernel_language parse_language(const char *name)
{
    static const struct {
        const char *name;
        enum kernel_language language;
    } names[] = {
        { "javascript", KERNEL_JAVASCRIPT }, { "js", KERNEL_JAVASCRIPT }, { "node", KERNEL_JAVASCRIPT },
        { "typescript", KERNEL_TYPESCRIPT }, { "ts", KERNEL_TYPESCRIPT },
    };

    for (size_t i = 0; name && i < ARRAY_SIZE(names); i++)
        if (str_eq_nocase(str_from(name), str_from(names[i].name)))
            return names[i].language;
    return KERNEL_PYTHON; /* also what nobody knows, as upstream does */
}

static const char *absolute(struct request *rq, const char *cwd)
{
    if (!cwd)
        return AGENT_DEFAULT_WORKDIR;
    return cwd[0] == '/' ? cwd : arena_printf(&rq->arena, "%s/%s", rq->agent->workdir, cwd);
}

void handle_context_create(struct request *rq)
{
    struct creation *c = calloc(1, sizeof(*c));
    const struct json *variables = NULL;
    const char *language = NULL, *cwd = NULL;
    struct berm_error err;

    if (!c) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    c->rq = request_hold(rq);
    c->creation = (struct context_creation){ .on_created = on_created, .on_failed = on_failed };
    if (request_field_text(rq->body, "language", &language, &err) < 0 ||
        request_field_text(rq->body, "cwd", &cwd, &err) < 0 ||
        json_field_object(rq->body, "env_vars", &variables, &err) < 0 ||
        env_from_json(&c->env, variables, "env_vars", &err) < 0) {
        reply_invalid_field(rq, &err);
        finish_creation(c);
        return;
    }
    cwd = absolute(rq, cwd);
    if (!cwd) {
        on_failed(&c->creation, false, "out of memory");
        return;
    }
    c->language = parse_language(language);
    context_create(&rq->agent->interpreter, c->language, cwd, &c->env, &c->creation);
}

void handle_context_list(struct request *rq)
{
    struct reply reply;

    reply_begin(&reply);
    json_key(&reply.w, "contexts");
    json_array_begin(&reply.w);
    for (const struct context *context = rq->agent->interpreter.contexts; context; context = context->next) {
        if (!context->ready)
            continue;
        json_object_begin(&reply.w);
        json_pair_cstring(&reply.w, "id", context->id);
        json_pair_cstring(&reply.w, "language", kernel_language_name(context->language));
        json_pair_cstring(&reply.w, "cwd", context->cwd);
        json_object_end(&reply.w);
    }
    json_array_end(&reply.w);
    reply_send(rq, &reply);
}

/* The context that the path names, with an answer begun for it. NULL: there is none, answered. */
static struct context *begin_for_context(struct request *rq, struct reply *reply)
{
    struct str id = id_of(rq);
    struct context *context = context_find(&rq->agent->interpreter, id);

    if (!context) {
        reply_no_context(rq, id);
        return NULL;
    }
    reply_begin(reply);
    json_pair_cstring(&reply->w, "contextId", context->id);
    return context;
}

void handle_context_delete(struct request *rq)
{
    struct reply reply;
    struct context *context = begin_for_context(rq, &reply);

    if (!context)
        return;
    context_delete(context);
    reply_send(rq, &reply);
}

void handle_context_interrupt(struct request *rq)
{
    struct reply reply;
    struct context *context = begin_for_context(rq, &reply);

    if (!context)
        return;
    json_pair_bool(&reply.w, "interrupted", context_interrupt(context));
    reply_send(rq, &reply);
}

/* --- execute/code --- */

struct code_run {
    struct code_execution execution;
    struct event_stream stream;
};

static struct code_run *of_execution(struct code_execution *execution)
{
    return container_of(execution, struct code_run, execution);
}

/* A client that does not read holds up the code, and nothing else. */
static void send_event(struct code_run *run)
{
    event_stream_send(&run->stream);
    if (run->stream.blocked)
        code_execution_block(&run->execution);
}

static void on_output(struct code_execution *execution, int stream, struct str text)
{
    struct code_run *run = of_execution(execution);
    struct json_writer *w = event_stream_event(&run->stream, stream == STREAM_STDOUT ? "stdout" : "stderr");

    json_pair_string(w, "text", text);
    send_event(run);
}

/* What a result may consist of; a chart comes along with its picture. */
static void put_result(struct json_writer *w, const struct json *result)
{
    static const char *const texts[] = { "text",  "html",     "png",        "jpeg", "svg",
                                         "latex", "markdown", "javascript", "pdf" };
    const struct json *value;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if ((value = json_get(result, texts[i])) && value->type == JSON_STRING)
            json_pair_string(w, texts[i], value->string);
    if ((value = json_get(result, "json"))) {
        json_key(w, "json");
        json_value(w, value);
    }
    if ((value = json_get(result, "chart")) && value->type == JSON_OBJECT) {
        json_key(w, "chart");
        json_value(w, value);
    }
}

static void on_result(struct code_execution *execution, const struct json *result)
{
    struct code_run *run = of_execution(execution);
    struct json_writer *w = event_stream_event(&run->stream, "result");

    put_result(w, result);
    json_pair_empty_object(w, "metadata");
    send_event(run);
}

static void finish_run(struct code_run *run)
{
    event_stream_send(&run->stream);
    event_stream_end(&run->stream);
    free(run);
}

/* Upstream counts none: it is 1 each time. */
static void on_complete(struct code_execution *execution)
{
    struct code_run *run = of_execution(execution);

    json_pair_int(event_stream_event(&run->stream, "execution_complete"), "execution_count", 1);
    finish_run(run);
}

static void on_error(struct code_execution *execution, struct str ename, struct str evalue,
                     const struct json *traceback)
{
    struct code_run *run = of_execution(execution);
    struct json_writer *w = event_stream_event(&run->stream, "error");

    json_pair_string(w, "ename", ename);
    json_pair_string(w, "evalue", evalue);
    json_key(w, "traceback");
    json_array_begin(w);
    for (size_t i = 0; traceback && i < traceback->array.count; i++)
        if (traceback->array.items[i].type == JSON_STRING)
            json_string(w, traceback->array.items[i].string);
    json_array_end(w);
    finish_run(run);
}

static const struct code_execution_events run_events = { on_output, on_result, on_complete, on_error };

static void on_drain(struct event_stream *stream)
{
    code_execution_unblock(&container_of(stream, struct code_run, stream)->execution);
}

/* Nobody listens any more: whoever closes the stream of an execution means to stop it. */
static void on_gone(struct event_stream *stream)
{
    struct code_run *run = container_of(stream, struct code_run, stream);

    code_execution_cancel(&run->execution);
    event_stream_end(stream);
    free(run);
}

/* Failures of this route come in two layouts at once: the usual one, and upstream's special one for it. */
static void reply_code_error(struct request *rq, enum agent_code code, struct str id, const char *evalue,
                             const char *message)
{
    struct context_item context[] = { { .key = "contextId", .type = CONTEXT_STRING, .string = id },
                                      CTX_STR("evalue", evalue) };

    reply_error_with_details(rq, code, context, evalue ? 2 : 1, message);
}

static bool check_context(struct request *rq, const struct context *context, struct str id, const char *language)
{
    const char *message;

    if (!context) {
        message = arena_printf(&rq->arena, "Context not found: %.*s", (int)MIN(id.n, (size_t)200), id.p);
        reply_code_error(rq, AGENT_E_CONTEXT_NOT_FOUND, id, NULL, message ? message : "Context not found");
        return false;
    }
    if (!context_alive(context)) {
        reply_code_error(rq, AGENT_E_INTERNAL_ERROR, id, NULL,
                         "The interpreter of this context has ended: delete the context and create a new one");
        return false;
    }
    if (language && parse_language(language) != context->language) {
        message = arena_printf(&rq->arena, "The context runs %s code, not %.32s",
                               kernel_language_name(context->language), language);
        reply_code_error(rq, AGENT_E_CODE_EXECUTION_ERROR, id, message ? message : "out of memory",
                         message ? message : "The context runs code of another language");
        return false;
    }
    return true;
}

void handle_execute_code(struct request *rq)
{
    struct str id = STR(""), code = { NULL, 0 };
    const char *language = NULL;
    int64_t timeout_ms = 0;
    struct context *context;
    struct code_run *run;
    struct berm_error err;

    if (json_field_string(rq->body, "context_id", &id, &err) < 0 ||
        json_field_string(rq->body, "code", &code, &err) < 0 ||
        request_field_text(rq->body, "language", &language, &err) < 0 ||
        request_field_ms(rq->body, "timeout_ms", &timeout_ms, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    context = context_find(&rq->agent->interpreter, id);
    if (!check_context(rq, context, id, language))
        return;
    if (!code.p) {
        reply_invalid(rq, "code", "is required", "REQUIRED");
        return;
    }
    run = calloc(1, sizeof(*run));
    if (!run) {
        reply_code_error(rq, AGENT_E_INTERNAL_ERROR, id, NULL, "Out of memory");
        return;
    }
    run->execution = (struct code_execution){ .code = code, .timeout_ms = timeout_ms, .events = &run_events };
    run->stream.on_drain = on_drain;
    run->stream.on_gone = on_gone;
    event_stream_begin_within(&run->stream, rq, HEAD_WAIT_MS);
    context_submit(context, &run->execution);
}
