#include "call.h"

#include <stdio.h>

struct list {
    struct any_list public;
    struct arena arena;
};

/* --- lists --- */

static int take_member(const struct json *from, const struct member *member, char *item, struct berm_error *err)
{
    void *place = item + member->offset;
    int64_t port = 0;

    if (member->type == MEMBER_PORT) {
        if (json_field_int(from, member->key, 1, 65535, &port, err) < 0)
            return -1;
        *(uint16_t *)place = (uint16_t)port;
        return port ? 0 : berm_fail(err, BERM_E_PROTOCOL, 0, "an item without \"%s\"", member->key);
    }
    if (member->type == MEMBER_NUMBER) {
        *(int64_t *)place = member->fallback;
        return json_field_int(from, member->key, INT64_MIN, INT64_MAX, place, err);
    }
    if (json_field_cstring(from, member->key, place, err) < 0)
        return -1;
    if (member->required && !*(const char **)place)
        return berm_fail(err, BERM_E_PROTOCOL, 0, "an item without \"%s\"", member->key);
    return 0;
}

static int take_items(struct list *list, const struct list_type *type, const struct json *items, size_t count,
                      struct berm_error *err)
{
    char *item = arena_calloc(&list->arena, count + 1, type->item_size);

    if (!item)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "a list");
    list->public.items = item;
    list->public.count = count;
    for (size_t i = 0; i < count; i++, item += type->item_size)
        for (const struct member *member = type->members; member->key; member++)
            if (take_member(&items[i], member, item, err) < 0)
                return -1;
    return 0;
}

static int take_answer(struct list *list, const struct list_type *type, bool single, const struct json *answer,
                       struct berm_error *err)
{
    const struct json *found = answer;

    if (single && type->object)
        found = json_get(answer, type->object);
    else if (!single && json_field_array(answer, type->array, &found, err) < 0)
        return -1;
    if (!found || (!single && found == answer) || (single && found->type != JSON_OBJECT))
        return berm_fail(err, BERM_E_PROTOCOL, 0, "no \"%s\"", single ? type->object : type->array);
    return single ? take_items(list, type, found, 1, err)
                  : take_items(list, type, found->array.items, found->array.count, err);
}

static int fetch(struct berm_client *client, const char *target, const struct buf *body,
                 const struct list_type *type, bool single, struct list *list, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT(body ? "POST" : "GET", target);
    const struct json *answer;
    struct berm_error err;

    if (transfer_json(client, &t, body, &list->arena, &answer, problem) < 0)
        return -1;
    if (take_answer(list, type, single, answer, &err) < 0)
        return problem_protocol(problem, &err);
    list->public.json = arena_strdup(&list->arena, buf_str(&t.answer));
    return list->public.json ? 0 : problem_memory(problem);
}

int call_list(struct berm_client *client, char *target, const struct buf *body, const struct list_type *type,
              bool single, void **ret_list, struct berm_problem *problem)
{
    _cleanup_free_ char *owned = target;
    struct list *list = owned ? calloc(1, sizeof(*list)) : NULL;

    if (!list)
        return owned ? problem_memory(problem) : -1;
    arena_init(&list->arena, ARENA_MAX);
    if (fetch(client, owned, body, type, single, list, problem) < 0) {
        any_list_free(&list->public);
        return -1;
    }
    *ret_list = &list->public;
    return 0;
}

void any_list_free(void *public)
{
    struct list *list = public ? container_of(public, struct list, public) : NULL;

    if (!list)
        return;
    arena_free(&list->arena);
    free(list);
}

/* --- documents --- */

void document_begin(struct document *d)
{
    buf_init(&d->buf, ANSWER_MAX);
    json_writer_init(&d->w, &d->buf);
    json_object_begin(&d->w);
}

void document_free(struct document *d)
{
    buf_free(&d->buf);
}

void document_text(struct document *d, const char *key, const char *value)
{
    if (value)
        json_pair_cstring(&d->w, key, value);
}

void document_number(struct document *d, const char *key, int64_t value)
{
    if (value > 0)
        json_pair_int(&d->w, key, value);
}

int document_end(struct document *d, struct berm_problem *problem)
{
    json_object_end(&d->w);
    if (json_writer_finish(&d->w) == 0)
        return 0;
    return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the request is too large");
}

/* --- calls --- */

int call_text(struct berm_client *client, const char *method, char *target, struct document *document,
              char **ret_json, struct berm_problem *problem)
{
    _cleanup_free_ char *owned = target;
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT(method, owned);
    char *json;

    if (!owned || (document && document_end(document, problem) < 0) ||
        transfer_json(client, &t, document ? &document->buf : NULL, NULL, NULL, problem) < 0)
        return -1;
    if (!ret_json)
        return 0;
    json = buf_steal(&t.answer, NULL);
    if (!json && !(json = strdup("")))
        return problem_memory(problem);
    *ret_json = json;
    return 0;
}

int call_json(struct berm_client *client, const char *method, char *target, struct document *document,
              const char *want, char **ret, struct berm_problem *problem)
{
    _cleanup_(arena_free) struct arena arena;
    _cleanup_free_ char *text = NULL;
    const struct json *answer;
    struct berm_error err;

    arena_init(&arena, ARENA_MAX);
    if (call_text(client, method, target, document, &text, problem) < 0)
        return -1;
    if (json_parse(&arena, str_from(text), JSON_MAX_DEPTH, &answer, &err) < 0)
        return problem_protocol(problem, &err);
    return take_string(answer, want, ret, problem);
}

char *named_target(const char *id, const char *first, const char *name, const char *rest,
                   struct berm_problem *problem)
{
    _cleanup_(buf_free) struct buf text;
    _cleanup_free_ char *all = NULL;

    buf_init(&text, 16384);
    if (!name || !name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "a name is missing");
        return NULL;
    }
    if (buf_append_str(&text, str_from(first)) < 0 || append_encoded(&text, name, "") < 0 ||
        buf_append_str(&text, str_from(rest)) < 0) {
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the name is too long");
        return NULL;
    }
    all = buf_steal(&text, NULL);
    if (all)
        return sandbox_target(id, all, problem);
    problem_memory(problem);
    return NULL;
}
