/* settings.c - what a sandbox is given and tells of itself, the daemon's own affairs, and any other route. */
#include "client/call.h"
#include "client/stream.h"

#include <stdio.h>

/* --- archives --- */

int berm_persist(struct berm_client *client, const char *id, const char *excludes, struct berm_stream **ret_stream,
                 struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_BYTES, .method = "POST" };

    request.target = excludes && excludes[0] ? named_target(id, "/persist?excludes=", excludes, "", problem)
                                             : sandbox_target(id, "/persist", problem);
    return stream_open(client, &request, ret_stream, problem);
}

int berm_hydrate(struct berm_client *client, const char *id, berm_source source, void *data,
                 struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, "/hydrate", problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("POST", target);

    if (!target)
        return -1;
    t.content_type = "application/x-tar";
    t.source = source;
    t.source_data = data;
    t.source_size = -1;
    return transfer_run(client, &t, problem);
}

/* --- what it tells --- */

int berm_sandbox_stats(struct berm_client *client, const char *id, char **ret_json, struct berm_problem *problem)
{
    return call_text(client, "GET", sandbox_target(id, "/stats", problem), NULL, ret_json, problem);
}

int berm_session_list(struct berm_client *client, const char *id, char **ret_json, struct berm_problem *problem)
{
    return call_text(client, "GET", sandbox_target(id, "/sessions", problem), NULL, ret_json, problem);
}

int berm_events_follow(struct berm_client *client, const char *id, struct berm_stream **ret_stream,
                       struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_EVENTS, .method = "GET" };

    request.target = id ? sandbox_target(id, "/events", problem) : strdup("/v1/events");
    if (!id && !request.target)
        return problem_memory(problem);
    return stream_open(client, &request, ret_stream, problem);
}

/* --- what it is given: {"labels": {"name": "value" or null}} --- */

static int set_pairs(struct berm_client *client, const char *id, const char *route, const char *const *pairs,
                     bool replace, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    for (; pairs && *pairs; pairs++) {
        const char *equals = strchr(*pairs, '=');
        struct str name = { *pairs, equals ? (size_t)(equals - *pairs) : 0 };

        if (name.n == 0)
            return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "'%s' is not NAME=value", *pairs);
        json_key_str(&d.w, name);
        if (!replace && equals[1] == '\0')
            json_null(&d.w);
        else
            json_cstring(&d.w, equals + 1);
    }
    return call_text(client, replace ? "PUT" : "PATCH", sandbox_target(id, route, problem), &d, NULL, problem);
}

int berm_sandbox_set_labels(struct berm_client *client, const char *id, const char *const *labels, bool replace,
                            struct berm_problem *problem)
{
    return set_pairs(client, id, "/labels", labels, replace, problem);
}

int berm_sandbox_set_env(struct berm_client *client, const char *id, const char *const *env, bool replace,
                         struct berm_problem *problem)
{
    return set_pairs(client, id, "/env", env, replace, problem);
}

/* --- any route --- */

static char *any_target(const char *target, struct berm_problem *problem)
{
    char *copy = target && target[0] == '/' ? strdup(target) : NULL;

    if (!target || target[0] != '/')
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the target must begin with '/'");
    else if (!copy)
        problem_memory(problem);
    return copy;
}

static int take_json(const char *json, struct buf *out, struct berm_problem *problem)
{
    buf_init(out, ANSWER_MAX);
    if (!json || buf_append_str(out, str_from(json)) == 0)
        return 0;
    return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the request is too large");
}

int berm_request(struct berm_client *client, const char *method, const char *target, const char *json,
                 char **ret_json, struct berm_problem *problem)
{
    _cleanup_free_ char *copy = any_target(target, problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT(method, copy);
    _cleanup_(buf_free) struct buf body;
    char *answer;

    if (take_json(json, &body, problem) < 0 || !copy ||
        transfer_json(client, &t, json ? &body : NULL, NULL, NULL, problem) < 0)
        return -1;
    if (!ret_json)
        return 0;
    answer = t.answer.len > 0 ? buf_steal(&t.answer, NULL) : strdup("");
    if (!answer)
        return problem_memory(problem);
    *ret_json = answer;
    return 0;
}

int berm_request_stream(struct berm_client *client, const char *method, const char *target, const char *json,
                        struct berm_stream **ret_stream, struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_EVENTS, .method = method };
    _cleanup_(buf_free) struct buf body;

    if (take_json(json, &body, problem) < 0)
        return -1;
    request.target = any_target(target, problem);
    request.body = json ? &body : NULL;
    return stream_open(client, &request, ret_stream, problem);
}

/* --- the daemon --- */

int berm_pool_stats(struct berm_client *client, char **ret_json, struct berm_problem *problem)
{
    return berm_request(client, "GET", "/v1/pool/stats", NULL, ret_json, problem);
}

int berm_pool_prime(struct berm_client *client, struct berm_problem *problem)
{
    return berm_request(client, "POST", "/v1/pool/prime", NULL, NULL, problem);
}

int berm_pool_shutdown(struct berm_client *client, struct berm_problem *problem)
{
    return berm_request(client, "POST", "/v1/pool/shutdown-prewarmed", NULL, NULL, problem);
}

int berm_image_list(struct berm_client *client, char **ret_json, struct berm_problem *problem)
{
    return berm_request(client, "GET", "/v1/images", NULL, ret_json, problem);
}
