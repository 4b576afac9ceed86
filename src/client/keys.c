/* keys.c - the keys of the daemon's API. */
#include "call.h"

static const struct member members[] = {
    NEEDED(berm_key, id, "id"),
    TEXT(berm_key, label, "label"),
    TEXT(berm_key, created_at, "createdAt"),
    NO_MORE,
};

static const struct list_type key_list = { members, sizeof(struct berm_key), "keys", NULL };

int berm_key_create(struct berm_client *client, const char *label, char **ret_id, char **ret_key,
                    struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("POST", "/v1/keys");
    _cleanup_(arena_free) struct arena arena;
    _cleanup_(buf_free) struct buf request;
    _cleanup_free_ char *id = NULL;
    const struct json *answer;
    struct json_writer w;

    arena_init(&arena, ARENA_MAX);
    buf_init(&request, 64 * 1024);
    json_writer_init(&w, &request);
    json_object_begin(&w);
    if (label)
        json_pair_cstring(&w, "label", label);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the label is too long");
    if (transfer_json(client, &t, &request, &arena, &answer, problem) < 0 ||
        take_string(answer, "id", &id, problem) < 0 || take_string(answer, "key", ret_key, problem) < 0)
        return -1;
    *ret_id = TAKE_PTR(id);
    return 0;
}

int berm_key_list(struct berm_client *client, struct berm_key_list **ret_list, struct berm_problem *problem)
{
    char *target = strdup("/v1/keys");

    if (!target)
        return problem_memory(problem);
    return call_list(client, target, NULL, &key_list, false, (void **)ret_list, problem);
}

void berm_key_list_free(struct berm_key_list *list)
{
    any_list_free(list);
}

int berm_key_delete(struct berm_client *client, const char *key_id, struct berm_problem *problem)
{
    _cleanup_(buf_free) struct buf target;
    _cleanup_free_ char *text = NULL;

    buf_init(&target, 4096);
    if (!key_id || !key_id[0] || strcmp(key_id, ".") == 0 || strcmp(key_id, "..") == 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "no key id given");
    if (buf_append_str(&target, STR("/v1/keys/")) < 0 || append_encoded(&target, key_id, "") < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the key id is too long");
    text = buf_steal(&target, NULL);
    if (!text)
        return problem_memory(problem);

    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("DELETE", text);
    return transfer_json(client, &t, NULL, NULL, NULL, problem);
}
