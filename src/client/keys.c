#include "internal.h"

struct key_list {
    struct berm_key_list public;
    struct arena arena;
};

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

static int take_keys(void *data, const struct json *answer, struct berm_error *err)
{
    struct key_list *list = data;
    const struct json *keys = NULL;
    struct berm_key *items;

    if (json_field_array(answer, "keys", &keys, err) < 0)
        return -1;
    if (!keys)
        return berm_fail(err, BERM_E_PROTOCOL, 0, "no \"keys\"");
    items = arena_calloc(&list->arena, keys->array.count + 1, sizeof(*items));
    if (!items)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "keys");
    for (size_t i = 0; i < keys->array.count; i++) {
        const struct json *key = &keys->array.items[i];
        if (json_field_cstring(key, "id", &items[i].id, err) < 0 ||
            json_field_cstring(key, "label", &items[i].label, err) < 0 ||
            json_field_cstring(key, "createdAt", &items[i].created_at, err) < 0)
            return -1;
        if (!items[i].id)
            return berm_fail(err, BERM_E_PROTOCOL, 0, "a key without \"id\"");
    }
    list->public.items = items;
    list->public.count = keys->array.count;
    return 0;
}

int berm_key_list(struct berm_client *client, struct berm_key_list **ret_list, struct berm_problem *problem)
{
    struct key_list *list = calloc(1, sizeof(*list));

    if (!list)
        return problem_memory(problem);
    arena_init(&list->arena, ARENA_MAX);
    if (transfer_list(client, "/v1/keys", &list->arena, take_keys, list, &list->public.json, problem) < 0) {
        berm_key_list_free(&list->public);
        return -1;
    }
    *ret_list = &list->public;
    return 0;
}

void berm_key_list_free(struct berm_key_list *public)
{
    struct key_list *list = public ? container_of(public, struct key_list, public) : NULL;

    if (!list)
        return;
    arena_free(&list->arena);
    free(list);
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
