#include "exec_stream.h"

#include <stdio.h>

#include "base/base64.h"
#include "client/internal.h"

static int malformed(struct exec_stream *s, const char *what)
{
    s->reported = true;
    return problem_set(s->problem, BERM_PROBLEM_TRANSPORT, 0, "the command's output stream is malformed: %s", what);
}

static int take_output(struct exec_stream *s, struct str data, berm_sink sink)
{
    char *space;
    size_t n = 0;

    buf_clear(&s->bytes);
    space = buf_reserve(&s->bytes, data.n / 4 * 3 + 3);
    if (!space) {
        s->reported = true;
        return problem_memory(s->problem);
    }
    if (base64_decode(data, space, &n) < 0)
        return malformed(s, "not base64");
    if (!sink || n == 0 || sink(s->exec->data, space, n) == 0)
        return 0;
    s->reported = true;
    return problem_set(s->problem, BERM_PROBLEM_LOCAL, errno, "writing the output");
}

/* What is null or missing is not known. */
static void take_usage(struct berm_usage *ret, const struct json *usage)
{
    const char *reason = NULL;

    *ret = (struct berm_usage){ .cpu_ms = -1, .max_rss_bytes = -1, .io_bytes = -1, .net_bytes = -1 };
    json_field_int(usage, "cpuMs", 0, INT64_MAX, &ret->cpu_ms, NULL);
    json_field_int(usage, "maxRss", 0, INT64_MAX, &ret->max_rss_bytes, NULL);
    json_field_int(usage, "ioBytes", 0, INT64_MAX, &ret->io_bytes, NULL);
    json_field_int(usage, "netBytes", 0, INT64_MAX, &ret->net_bytes, NULL);
    json_field_cstring(usage, "reason", &reason, NULL);
    snprintf(ret->reason, sizeof(ret->reason), "%s", reason ? reason : "");
    problem_clean(ret->reason);
}

static int take_exit(struct exec_stream *s, const struct json *document)
{
    int64_t code = INT64_MIN;

    if (json_field_int(document, "exit_code", INT32_MIN, INT32_MAX, &code, NULL) < 0 || code == INT64_MIN)
        return malformed(s, "the exit event has no exit_code");
    s->exit_code = (int)code;
    if (s->exec->ret_usage)
        take_usage(s->exec->ret_usage, json_get(document, "usage"));
    s->ended = true;
    return 0;
}

static int take_error(struct exec_stream *s, const struct json *document)
{
    const char *text = NULL, *code = NULL;

    json_field_cstring(document, "error", &text, NULL);
    json_field_cstring(document, "code", &code, NULL);
    problem_set(&s->failure, BERM_PROBLEM_API, 0, "%s", text ? text : "the command could not be run");
    s->failure.http_status = 200;
    snprintf(s->failure.code, sizeof(s->failure.code), "%s", code ? code : "exec_error");
    problem_clean(s->failure.code);
    s->failed = s->ended = true;
    return 0;
}

static int take_terminal(struct exec_stream *s, struct str data,
                         int (*take)(struct exec_stream *, const struct json *))
{
    struct arena arena;
    const struct json *document;
    int rc;

    arena_init(&arena, ARENA_MAX);
    rc = json_parse(&arena, data, JSON_MAX_DEPTH, &document, NULL) == 0
             ? take(s, document)
             : malformed(s, "the last event is not JSON");
    arena_free(&arena);
    return rc;
}

static int on_event(void *data, const struct sse_event *event, struct berm_error *err)
{
    struct exec_stream *s = data;

    (void)err;
    if (s->ended)
        return 0;
    if (str_eq(event->name, STR("stdout")))
        return take_output(s, event->data, s->exec->on_stdout);
    if (str_eq(event->name, STR("stderr")))
        return take_output(s, event->data, s->exec->on_stderr);
    if (str_eq(event->name, STR("exit")))
        return take_terminal(s, event->data, take_exit);
    if (str_eq(event->name, STR("error")))
        return take_terminal(s, event->data, take_error);
    return 0;
}

void exec_stream_init(struct exec_stream *s, const struct berm_exec *exec)
{
    *s = (struct exec_stream){ .exec = exec };
    sse_parser_init(&s->parser, EXEC_EVENT_MAX, on_event, s);
    buf_init(&s->bytes, EXEC_EVENT_MAX);
}

void exec_stream_done(struct exec_stream *s)
{
    sse_parser_free(&s->parser);
    buf_free(&s->bytes);
}

int exec_stream_feed(struct exec_stream *s, struct str piece, struct berm_problem *problem)
{
    struct berm_error err = { 0 };

    if (s->ended)
        return 0;
    s->problem = problem;
    /* Behind the terminal event, in the same piece, may be anything. */
    if (sse_parser_feed(&s->parser, piece.p, piece.n, &err) == 0 || s->ended)
        return 0;
    return s->reported ? -1 : malformed(s, err.message);
}

int exec_stream_result(const struct exec_stream *s, int *ret_exit_code, struct berm_problem *problem)
{
    if (!s->ended)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0,
                           "the command's output stream ended without a status");
    if (s->failed) {
        if (problem)
            *problem = s->failure;
        return -1;
    }
    *ret_exit_code = s->exit_code;
    return 0;
}
