/* exec.c - one command in a sandbox, its output as it comes. */
#include "exec_stream.h"
#include "stream.h"

static ssize_t read_stdin(void *data, void *bytes, size_t n)
{
    const struct berm_exec *exec = data;

    return RETRY_EINTR(read(exec->stdin_fd, bytes, n));
}

static int check(const struct berm_exec *exec, struct berm_problem *problem)
{
    if (!exec->argv || !exec->argv[0])
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "no command given");
    if (exec->timeout_ms < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the timeout must not be negative");
    if (exec->limits && (exec->limits->cpu_ms < 0 || exec->limits->wall_ms < 0))
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "a limit must not be negative");
    return 0;
}

/*
 * The form with input: the document is the first line of the body, and every byte behind the LF is input. Only this
 * form takes a working directory outside /workspace, so a command with one gets an empty input in the same way.
 */
static bool input_form(const struct berm_exec *exec)
{
    return exec->has_stdin || exec->cwd;
}

static void write_limits(struct json_writer *w, const struct berm_exec_limits *limits)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = { { "cpuMs", (uint64_t)limits->cpu_ms },
                   { "wallMs", (uint64_t)limits->wall_ms },
                   { "memory", limits->memory_bytes },
                   { "outputBytes", limits->output_bytes },
                   { "pids", limits->pids } };

    json_key(w, "limits");
    json_object_begin(w);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        if (fields[i].value == 0)
            continue;
        json_key(w, fields[i].name);
        json_uint(w, fields[i].value);
    }
    if (limits->no_network)
        json_pair_bool(w, "network", false);
    json_object_end(w);
}

static int write_request(const struct berm_exec *exec, struct buf *out, struct berm_problem *problem)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "argv");
    json_array_begin(&w);
    for (const char *const *arg = exec->argv; *arg; arg++)
        json_cstring(&w, *arg);
    json_array_end(&w);
    if (exec->cwd)
        json_pair_cstring(&w, "cwd", exec->cwd);
    if (exec->timeout_ms > 0)
        json_pair_int(&w, "timeout_ms", exec->timeout_ms);
    if (exec->limits)
        write_limits(&w, exec->limits);
    if (write_pairs(&w, "env", exec->env, problem) < 0)
        return -1;
    json_object_end(&w);
    if (json_writer_finish(&w) < 0 || (input_form(exec) && buf_append(out, "\n", 1) < 0))
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the command is too long");
    return 0;
}

/* Static, as a stream keeps the name of its type. */
static const char *request_type(const struct berm_exec *exec)
{
    return input_form(exec) ? "application/x-berm-exec" : "application/json";
}

static int on_body(struct transfer *t, struct str piece)
{
    struct exec_stream *stream = t->on_body_data;

    if (exec_stream_feed(stream, piece, t->problem) < 0)
        return -1;
    t->finished = stream->ended;
    return 0;
}

static int run(struct berm_client *client, const char *target, const struct berm_exec *exec,
               const struct buf *request, struct exec_stream *stream, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("POST", target);

    t.content_type = request_type(exec);
    t.accept = "text/event-stream";
    t.session = exec->session;
    t.body = buf_str(request);
    if (exec->has_stdin) {
        t.source = read_stdin;
        t.source_data = (void *)(uintptr_t)exec;
        t.source_fd = exec->stdin_fd;
        t.source_size = -1;
    }
    t.on_body = on_body;
    t.on_body_data = stream;
    return transfer_run(client, &t, problem);
}

int berm_sandbox_exec(struct berm_client *client, const char *id, const struct berm_exec *exec, int *ret_exit_code,
                      struct berm_problem *problem)
{
    _cleanup_(buf_free) struct buf request;
    _cleanup_(exec_stream_done) struct exec_stream stream;
    _cleanup_free_ char *target = NULL;

    buf_init(&request, ANSWER_MAX);
    exec_stream_init(&stream, exec);
    if (check(exec, problem) < 0)
        return -1;
    target = sandbox_target(id, "/exec", problem);
    if (!target || write_request(exec, &request, problem) < 0 ||
        run(client, target, exec, &request, &stream, problem) < 0)
        return -1;
    return exec_stream_result(&stream, ret_exit_code, problem);
}

int berm_exec_stream(struct berm_client *client, const char *id, const struct berm_exec *exec,
                     struct berm_stream **ret_stream, struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_EXEC, .method = "POST", .must_exit = true };
    _cleanup_(buf_free) struct buf body;

    buf_init(&body, ANSWER_MAX);
    if (check(exec, problem) < 0)
        return -1;
    if (exec->has_stdin || exec->on_stdout || exec->on_stderr)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "a streamed command has neither input nor sinks");
    if (write_request(exec, &body, problem) < 0)
        return -1;
    request.target = sandbox_target(id, "/exec", problem);
    request.content_type = request_type(exec);
    request.session = exec->session;
    request.ret_usage = exec->ret_usage;
    request.body = &body;
    return stream_open(client, &request, ret_stream, problem);
}
