/* sessions.c - shells that keep their directory and variables. */
#include "internal.h"

int berm_session_create(struct berm_client *client, const char *sandbox_id,
                        const struct berm_session_create *options, char **ret_id, struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(sandbox_id, "/session", problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("POST", target);
    _cleanup_(arena_free) struct arena arena;
    _cleanup_(buf_free) struct buf request;
    const struct json *answer;
    struct json_writer w;

    arena_init(&arena, ARENA_MAX);
    buf_init(&request, ANSWER_MAX);
    if (!target)
        return -1;
    json_writer_init(&w, &request);
    json_object_begin(&w);
    if (options && options->id)
        json_pair_cstring(&w, "id", options->id);
    if (options && options->cwd)
        json_pair_cstring(&w, "cwd", options->cwd);
    if (options && write_pairs(&w, "env", options->env, problem) < 0)
        return -1;
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the session's options are too large");
    if (transfer_json(client, &t, &request, &arena, &answer, problem) < 0)
        return -1;
    return take_string(answer, "id", ret_id, problem);
}

int berm_session_delete(struct berm_client *client, const char *sandbox_id, const char *session_id,
                        struct berm_problem *problem)
{
    _cleanup_(buf_free) struct buf rest;
    _cleanup_free_ char *text = NULL, *target = NULL;

    buf_init(&rest, 4096);
    if (!session_id || !session_id[0] || strcmp(session_id, ".") == 0 || strcmp(session_id, "..") == 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "no session id given");
    if (buf_append_str(&rest, STR("/session/")) < 0 || append_encoded(&rest, session_id, "") < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the session id is too long");
    text = buf_steal(&rest, NULL);
    target = text ? sandbox_target(sandbox_id, text, problem) : NULL;
    if (!text)
        problem_memory(problem);
    if (!target)
        return -1;

    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("DELETE", target);
    return transfer_json(client, &t, NULL, NULL, NULL, problem);
}
