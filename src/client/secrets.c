/* secrets.c - values that network policies put into requests. */
#include "internal.h"

static char *secret_target(const char *name, struct berm_problem *problem)
{
    struct buf target;

    buf_init(&target, 4096);
    if (!name || !name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "no name given");
        return NULL;
    }
    if (buf_append_str(&target, STR("/v1/secrets/")) == 0 && append_encoded(&target, name, "") == 0)
        return buf_steal(&target, NULL);
    buf_free(&target);
    problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the name is too long");
    return NULL;
}

int berm_secret_set(struct berm_client *client, const char *name, const char *value, struct berm_problem *problem)
{
    _cleanup_free_ char *target = secret_target(name, problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("PUT", target);
    _cleanup_(buf_free) struct buf request;
    struct json_writer w;

    buf_init(&request, 64 * 1024);
    if (!target)
        return -1;
    json_writer_init(&w, &request);
    json_object_begin(&w);
    json_pair_cstring(&w, "value", value);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the value is too long, or no text");
    return transfer_json(client, &t, &request, NULL, NULL, problem);
}

int berm_secret_list(struct berm_client *client, char **ret_json, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("GET", "/v1/secrets");
    size_t size;

    if (transfer_json(client, &t, NULL, NULL, NULL, problem) < 0)
        return -1;
    *ret_json = buf_steal(&t.answer, &size);
    return *ret_json ? 0 : problem_memory(problem);
}

int berm_secret_delete(struct berm_client *client, const char *name, struct berm_problem *problem)
{
    _cleanup_free_ char *target = secret_target(name, problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("DELETE", target);

    return target ? transfer_json(client, &t, NULL, NULL, NULL, problem) : -1;
}
