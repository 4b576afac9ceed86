/* processes.c - what goes on in the background, and its output. */
#include "base/base64.h"
#include "client/call.h"
#include "client/stream.h"

#include <inttypes.h>
#include <stdio.h>

static const struct member members[] = {
    NEEDED(berm_process, id, "id"),
    TEXT(berm_process, command, "command"),
    NEEDED(berm_process, status, "status"),
    TEXT(berm_process, start_time, "startTime"),
    TEXT(berm_process, end_time, "endTime"),
    NUMBER(berm_process, pid, "pid", 0),
    NUMBER(berm_process, exit_code, "exitCode", -1),
    NO_MORE,
};

static const struct list_type process_list = { members, sizeof(struct berm_process), "processes", "process" };

int berm_process_start(struct berm_client *client, const char *id, const struct berm_process_start *start,
                       char **ret_id, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    if (!start->command || !start->command[0])
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "no command given");
    document_text(&d, "command", start->command);
    document_text(&d, "processId", start->id);
    document_text(&d, "sessionId", start->session);
    document_text(&d, "cwd", start->cwd);
    document_number(&d, "timeoutMs", start->timeout_ms);
    if (start->has_stdin)
        json_pair_bool(&d.w, "stdin", true);
    if (write_pairs(&d.w, "env", start->env, problem) < 0)
        return -1;
    return call_json(client, "POST", sandbox_target(id, "/processes", problem), &d, "processId", ret_id, problem);
}

int berm_process_list(struct berm_client *client, const char *id, struct berm_process_list **ret_list,
                      struct berm_problem *problem)
{
    return call_list(client, sandbox_target(id, "/processes", problem), NULL, &process_list, false,
                     (void **)ret_list, problem);
}

int berm_process_get(struct berm_client *client, const char *id, const char *process,
                     struct berm_process_list **ret_list, struct berm_problem *problem)
{
    return call_list(client, named_target(id, "/processes/", process, "", problem), NULL, &process_list, true,
                     (void **)ret_list, problem);
}

void berm_process_list_free(struct berm_process_list *list)
{
    any_list_free(list);
}

int berm_process_kill(struct berm_client *client, const char *id, const char *process, struct berm_problem *problem)
{
    return call_text(client, "DELETE", named_target(id, "/processes/", process, "", problem), NULL, NULL, problem);
}

int berm_process_signal(struct berm_client *client, const char *id, const char *process, const char *signal,
                        struct berm_problem *problem)
{
    _cleanup_document_ struct document d;
    uint64_t number;

    document_begin(&d);
    if (str_to_u64(str_from(signal), &number) == 0 && number <= INT32_MAX)
        json_pair_int(&d.w, "signal", (int64_t)number);
    else
        document_text(&d, "signal", signal);
    return call_text(client, "POST", named_target(id, "/processes/", process, "/signal", problem), &d, NULL,
                     problem);
}

int berm_process_kill_all(struct berm_client *client, const char *id, int64_t *ret_count,
                          struct berm_problem *problem)
{
    _cleanup_(arena_free) struct arena arena;
    _cleanup_free_ char *text = NULL;
    const struct json *answer;
    struct berm_error err;
    int64_t count = 0;

    arena_init(&arena, ARENA_MAX);
    if (call_text(client, "DELETE", sandbox_target(id, "/processes", problem), NULL, &text, problem) < 0)
        return -1;
    if (json_parse(&arena, str_from(text), JSON_MAX_DEPTH, &answer, &err) < 0 ||
        json_field_int(answer, "cleanedCount", 0, INT64_MAX, &count, &err) < 0)
        return problem_protocol(problem, &err);
    if (ret_count)
        *ret_count = count;
    return 0;
}

int berm_process_input(struct berm_client *client, const char *id, const char *process, const void *bytes,
                       size_t size, bool close_it, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;
    _cleanup_(buf_free) struct buf text;

    buf_init(&text, ANSWER_MAX);
    document_begin(&d);
    if (base64_append(&text, bytes, size) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the input is too large");
    json_pair_string(&d.w, "data", buf_str(&text));
    json_pair_cstring(&d.w, "encoding", "base64");
    if (close_it)
        json_pair_bool(&d.w, "close", true);
    return call_text(client, "POST", named_target(id, "/processes/", process, "/input", problem), &d, NULL,
                     problem);
}

/* --- output --- */

struct logs {
    struct berm_logs public;
    struct arena arena;
};

void berm_logs_free(struct berm_logs *public)
{
    struct logs *logs = public ? container_of(public, struct logs, public) : NULL;

    if (!logs)
        return;
    arena_free(&logs->arena);
    free(logs);
}

static int take_logs(struct logs *logs, const char *json, struct berm_error *err)
{
    const struct json *answer;
    struct str out = STR(""), text = STR("");

    if (json_parse(&logs->arena, str_from(json), JSON_MAX_DEPTH, &answer, err) < 0 ||
        json_field_string(answer, "stdout", &out, err) < 0 || json_field_string(answer, "stderr", &text, err) < 0)
        return -1;
    logs->public = (struct berm_logs){ .out = out.p,
                                       .err = text.p,
                                       .out_size = out.n,
                                       .err_size = text.n,
                                       .json = arena_strdup(&logs->arena, str_from(json)) };
    return logs->public.json ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "logs");
}

int berm_process_logs(struct berm_client *client, const char *id, const char *process, struct berm_logs **ret_logs,
                      struct berm_problem *problem)
{
    _cleanup_free_ char *json = NULL;
    struct berm_error err;
    struct logs *logs;

    if (call_text(client, "GET", named_target(id, "/processes/", process, "/logs", problem), NULL, &json, problem) <
        0)
        return -1;
    logs = calloc(1, sizeof(*logs));
    if (!logs)
        return problem_memory(problem);
    arena_init(&logs->arena, ARENA_MAX);
    if (take_logs(logs, json, &err) < 0) {
        berm_logs_free(&logs->public);
        return problem_protocol(problem, &err);
    }
    *ret_logs = &logs->public;
    return 0;
}

int berm_process_follow(struct berm_client *client, const char *id, const char *process, uint64_t stdout_from,
                        uint64_t stderr_from, struct berm_stream **ret_stream, struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_TYPED, .method = "GET", .must_exit = true };
    char rest[80];

    snprintf(rest, sizeof(rest), "/stream?from=%" PRIu64 ",%" PRIu64, stdout_from, stderr_from);
    request.target = named_target(id, "/processes/", process, rest, problem);
    return stream_open(client, &request, ret_stream, problem);
}
