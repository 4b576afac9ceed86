/*
 * git_checkout.c - POST /api/git/checkout, which is a clone: two commands in the session (its environment, its
 * credential helpers, its directory), or without one.
 *
 *   CLONE    timeout -k 5 S git ... clone ...    then, if it ended with 0,
 *   BRANCH   git -C DIR branch --show-current    whose answer is part of ours
 */
#include "agent/agent.h"
#include "agent/exec/collector.h"
#include "agent/exec/command.h"
#include "agent/files/files.h"
#include "agent/http/routes.h"
#include "agent/session/shell_script.h"
#include "git_url.h"

#define DEFAULT_TIMEOUT_MS 600000
#define OUTPUT_MAX         ((size_t)256 * 1024) /* what git says; progress is not among it without a terminal */
#define COMMAND_MAX        ((size_t)64 * 1024)

struct git_clone {
    struct request *rq;
    struct str url;
    const char *branch; /* as asked for, or NULL */
    const char *target;
    const char *session_id;
    int64_t depth; /* 0: not given */
    int64_t timeout_ms;
    struct buf command;
    bool cloned; /* the second command runs */
    struct collector output;
    struct session_op op;
    struct shell_job job;
};

static void finish(struct git_clone *g)
{
    if (g->op.session)
        session_release(&g->op);
    collector_free(&g->output);
    buf_free(&g->command);
    request_unhold(g->rq);
    free(g);
}

/* --- answers --- */

static struct str collected(struct git_clone *g, int stream)
{
    return output_take_text(&g->output.outputs[stream], &g->rq->arena);
}

static void reply_failed(struct git_clone *g, enum agent_code code, int exit_code, struct str said)
{
    struct buf url, text;

    buf_init(&url, SIZE_MAX / 4);
    buf_init(&text, SIZE_MAX / 4);
    if (git_redact(&url, g->url) < 0 || git_redact(&text, said) < 0) {
        reply_error(g->rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
    } else {
        struct context_item context[] = { { .key = "repository", .type = CONTEXT_STRING, .string = buf_str(&url) },
                                          CTX_STR("targetDir", g->target),
                                          CTX_INT("exitCode", exit_code),
                                          { .key = "stderr", .type = CONTEXT_STRING, .string = buf_str(&text) },
                                          CTX_STR("branch", g->branch ? g->branch : "") };
        /* The branch is there for the one suggestion that names it. */
        size_t count = code == AGENT_E_GIT_BRANCH_NOT_FOUND ? 5 : 4;
        if (code == AGENT_E_GIT_NETWORK_ERROR)
            reply_error(g->rq, code, context, count, "Git clone timed out after %g seconds: %.*s",
                        (double)g->timeout_ms / 1000, (int)url.len, buf_str(&url).p);
        else
            reply_error(g->rq, code, context, count, "Failed to clone repository '%.*s': %.*s", (int)url.len,
                        buf_str(&url).p, (int)text.len, buf_str(&text).p);
    }
    buf_free(&url);
    buf_free(&text);
}

static void reply_cloned(struct git_clone *g)
{
    struct str branch = collected(g, STREAM_STDOUT);
    struct reply reply;

    reply_begin(&reply);
    json_pair_string(&reply.w, "repoUrl", g->url);
    if (branch.n > 0)
        json_pair_string(&reply.w, "branch", branch);
    else
        json_pair_cstring(&reply.w, "branch", g->branch ? g->branch : "unknown");
    json_pair_cstring(&reply.w, "targetDir", g->target);
    reply_send(g->rq, &reply);
}

/* --- the commands --- */

/* Milliseconds as seconds: "600", "1.5", "0.001". */
static int put_seconds(struct buf *out, int64_t ms)
{
    int places = ms % 1000 == 0 ? 0 : ms % 100 == 0 ? 1 : ms % 10 == 0 ? 2 : 3;
    static const int divisors[] = { 1000, 100, 10, 1 };

    if (buf_printf(out, "%lld", (long long)(ms / 1000)) < 0)
        return -1;
    return places ? buf_printf(out, ".%0*lld", places, (long long)(ms % 1000 / divisors[places])) : 0;
}

static int put_argument(struct buf *out, const char *option, struct str value)
{
    return buf_printf(out, " %s ", option) < 0 || shell_quote(out, value) < 0 ? -1 : 0;
}

/* What upstream runs, but for "--": a URL that begins with a dash is no option. */
static int build_clone(struct git_clone *g)
{
    struct buf *out = &g->command;

    if (buf_append_str(out, STR("timeout -k 5 ")) < 0 || put_seconds(out, g->timeout_ms) < 0 ||
        buf_append_str(
            out, STR(" git -c http.lowSpeedLimit=1024 -c http.lowSpeedTime=30 clone --filter=blob:none")) < 0 ||
        (g->branch && put_argument(out, "--branch", str_from(g->branch)) < 0) ||
        (g->depth != 0 && buf_printf(out, " --depth %lld", (long long)g->depth) < 0) ||
        put_argument(out, "--", g->url) < 0)
        return -1;
    return put_argument(out, "", str_from(g->target));
}

static int build_branch(struct git_clone *g)
{
    buf_clear(&g->command);
    if (put_argument(&g->command, "timeout -k 5 10 git -C", str_from(g->target)) < 0)
        return -1;
    return buf_append_str(&g->command, STR(" branch --show-current"));
}

static void run_command(struct git_clone *g);

static void on_command_end(struct git_clone *g, int status)
{
    if (!g->cloned && status != 0) {
        struct str said = g->output.overflowed ? STR("git said more than is kept") : collected(g, STREAM_STDERR);
        reply_failed(g, git_classify(status, said), status, status == 124 ? STR("Operation timed out") : said);
    } else if (!g->cloned && build_branch(g) == 0) {
        g->cloned = true;
        collector_free(&g->output);
        collector_init(&g->output, OUTPUT_MAX);
        run_command(g);
        return;
    } else {
        reply_cloned(g);
    }
    finish(g);
}

static void reply_not_run(struct git_clone *g, const char *reason)
{
    struct context_item context[] = { CTX_STR("sessionId", g->session_id), CTX_STR("originalError", reason) };

    reply_error(g->rq, AGENT_E_INTERNAL_ERROR, context, 2, "Cannot run git in session '%s': %s", g->session_id,
                reason);
    finish(g);
}

/* --- in a session --- */

static struct git_clone *of_job(struct shell_job *job)
{
    return container_of(job, struct git_clone, job);
}

static void on_done(struct shell_job *job, int status)
{
    on_command_end(of_job(job), status);
}

static void on_shell_exit(struct shell_job *job, int exit_code)
{
    struct git_clone *g = of_job(job);

    reply_session_terminated(g->rq, g->session_id, exit_code);
    session_discard(g->op.session);
    finish(g);
}

static void on_terminated(struct session_op *op, int exit_code)
{
    struct git_clone *g = container_of(op, struct git_clone, op);

    reply_session_terminated(g->rq, g->session_id, exit_code);
    finish(g);
}

static void run_in_shell(struct git_clone *g)
{
    struct shell_command command = { .text = buf_str(&g->command) };
    struct berm_error err;
    struct shell *shell = session_shell(g->op.session, &err);

    if (shell && shell_run(shell, &g->job, &command, &err) == 0)
        return;
    if (!shell)
        session_discard(g->op.session);
    reply_not_run(g, err.message);
}

static void on_turn(struct session_op *op)
{
    run_in_shell(container_of(op, struct git_clone, op));
}

/* --- without a session --- */

static void on_child_end(struct child *child, void *data)
{
    on_command_end(data, child_exit_code(child));
}

static void run_in_child(struct git_clone *g)
{
    static const struct child_events events = { .on_end = on_child_end };
    struct bash_spec bash = { .text = buf_str(&g->command), .stdin_fd = CHILD_NULL };
    struct child_error err;

    if (!command_spawn(g->rq, &bash, &g->output.sink, &events, g, &err))
        reply_not_run(g, command_spawn_failure(g->rq, &err, NULL));
}

static void run_command(struct git_clone *g)
{
    if (g->op.session)
        run_in_shell(g);
    else
        run_in_child(g);
}

static void start(struct git_clone *g)
{
    collector_init(&g->output, OUTPUT_MAX);
    if (build_clone(g) < 0) {
        reply_not_run(g, "out of memory");
    } else if (strcmp(g->session_id, SESSIONLESS_ID) == 0) {
        run_in_child(g);
    } else {
        g->op.run = on_turn;
        g->op.terminated = on_terminated;
        g->job.sink = &g->output.sink;
        g->job.on_done = on_done;
        g->job.on_no_directory = NULL; /* none is asked for */
        g->job.on_shell_exit = on_shell_exit;
        if (session_submit(g->rq->agent, g->session_id, &g->op) < 0)
            reply_not_run(g, "out of memory");
    }
}

/* --- decoding; each refuses with an answer, in the order in which upstream checks --- */

static bool decode_url(struct git_clone *g)
{
    const struct json *value = json_get(g->rq->body, "repoUrl");
    bool is_text = value && value->type == JSON_STRING;
    const char *problem = is_text ? git_url_problem(value->string) : "Repository URL is required";
    struct context_item context[] = { CTX_INVALID("validationErrors", "repoUrl", problem, "INVALID_GIT_URL") };

    if (problem) {
        reply_error(g->rq, AGENT_E_INVALID_GIT_URL, context, 1, "Invalid Git URL: %s", problem);
        return false;
    }
    g->url = value->string;
    return true;
}

/* A whole number, also when it is written with a fraction or an exponent. */
static bool whole_number(const struct json *value, int64_t *ret)
{
    if (value->type == JSON_DOUBLE && value->number >= -9e15 && value->number <= 9e15 &&
        (double)(int64_t)value->number == value->number) {
        *ret = (int64_t)value->number;
        return true;
    }
    if (value->type != JSON_INT)
        return false;
    *ret = value->integer;
    return true;
}

static const struct json *member(const struct git_clone *g, const char *key)
{
    const struct json *value = json_get(g->rq->body, key);

    return value && value->type != JSON_NULL ? value : NULL;
}

static bool refuse_timeout(struct git_clone *g, const struct json *value)
{
    struct buf text;
    struct json_writer w;
    const char *message;

    buf_init(&text, 4096);
    json_writer_init(&w, &text);
    json_value(&w, value);
    message = arena_printf(&g->rq->arena, "Invalid timeout value: %.*s. It must be a positive whole number",
                           (int)text.len, buf_str(&text).p);
    buf_free(&text);
    reply_invalid(g->rq, "timeoutMs", message ? message : "Invalid timeout value", "INVALID_TIMEOUT");
    return false;
}

static bool decode_numbers(struct git_clone *g)
{
    const struct json *timeout = member(g, "timeoutMs"), *depth = member(g, "depth");

    g->timeout_ms = DEFAULT_TIMEOUT_MS;
    if (timeout && (!whole_number(timeout, &g->timeout_ms) || g->timeout_ms <= 0))
        return refuse_timeout(g, timeout);
    if (depth && !whole_number(depth, &g->depth)) {
        reply_invalid(g->rq, "depth", "must be a whole number", "INVALID_VALUE");
        return false;
    }
    return true;
}

static bool decode_target(struct git_clone *g)
{
    const struct json *value = member(g, "targetDir");
    struct str name = git_url_name(g->url);
    const char *problem;

    if (!value || (value->type == JSON_STRING && value->string.n == 0)) {
        g->target = arena_printf(&g->rq->arena, AGENT_DEFAULT_WORKDIR "/%.*s", (int)name.n, name.p);
        if (!g->target)
            reply_invalid(g->rq, "targetDirectory", "out of memory", "INVALID_PATH");
        return g->target != NULL;
    }
    problem = file_path_problem(value);
    if (problem) {
        reply_invalid(g->rq, "targetDirectory", problem, "INVALID_PATH");
        return false;
    }
    g->target = value->string.p;
    return true;
}

static bool decode_rest(struct git_clone *g)
{
    struct berm_error err;

    if (request_field_text(g->rq->body, "branch", &g->branch, &err) < 0 ||
        command_session_id(g->rq, &g->session_id, &err) < 0) {
        reply_invalid_field(g->rq, &err);
        return false;
    }
    if (!g->session_id)
        g->session_id = "default";
    if (is_blank(str_from(g->session_id))) {
        reply_invalid(g->rq, "sessionId", "must not be blank", "INVALID_VALUE");
        return false;
    }
    return true;
}

void handle_git_checkout(struct request *rq)
{
    struct git_clone *g = calloc(1, sizeof(*g));

    if (!g) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    g->rq = request_hold(rq);
    buf_init(&g->command, COMMAND_MAX);
    if (decode_url(g) && decode_numbers(g) && decode_target(g) && decode_rest(g))
        start(g);
    else
        finish(g);
}
