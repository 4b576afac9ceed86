/* sandbox.c - sandboxes: making, describing and ending them, and their way out. */
#include "call.h"

#include <stdio.h>

struct sandbox_list {
    struct berm_sandbox_list public;
    struct arena arena;
};

/* ---- create and delete ---- */

static void write_limits(struct json_writer *w, const struct berm_limits *limits)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = { { "memoryBytes", limits->memory_bytes },
                   { "diskBytes", limits->disk_bytes },
                   { "cpuMillis", limits->cpu_millis },
                   { "pids", limits->pids },
                   { "nofile", limits->nofile } };

    json_key(w, "limits");
    json_object_begin(w);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        if (fields[i].value != 0) {
            json_key(w, fields[i].name);
            json_uint(w, fields[i].value);
        }
    }
    json_object_end(w);
}

static int write_policy(struct json_writer *w, const char *policy, struct berm_problem *problem)
{
    _cleanup_(arena_free) struct arena arena;
    const struct json *value;
    struct berm_error err;

    arena_init(&arena, ARENA_MAX);
    if (json_parse(&arena, str_from(policy), JSON_MAX_DEPTH, &value, &err) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the egress policy is not JSON: %s", err.message);
    json_key(w, "egress");
    json_value(w, value);
    return 0;
}

static int write_create(const struct berm_create *options, struct buf *out, struct berm_problem *problem)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    if (options->name)
        json_pair_cstring(&w, "name", options->name);
    if (options->image)
        json_pair_cstring(&w, "image", options->image);
    write_limits(&w, &options->limits);
    if (write_pairs(&w, "env", options->env, problem) < 0 ||
        write_pairs(&w, "labels", options->labels, problem) < 0)
        return -1;
    if (options->sleep_after)
        json_pair_cstring(&w, "sleepAfter", options->sleep_after);
    if (options->keep_alive)
        json_pair_bool(&w, "keepAlive", true);
    if (options->network)
        json_pair_cstring(&w, "network", options->network);
    if (options->egress && write_policy(&w, options->egress, problem) < 0)
        return -1;
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the sandbox's options are too large");
    return 0;
}

int berm_sandbox_new_id(struct berm_client *client, char **ret_id, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("POST", "/v1/sandbox");
    _cleanup_(arena_free) struct arena arena;
    _cleanup_(buf_free) struct buf request;
    const struct json *answer;

    arena_init(&arena, ARENA_MAX);
    buf_init(&request, 16);
    if (buf_append_str(&request, STR("{}")) < 0)
        return problem_memory(problem);
    if (transfer_json(client, &t, &request, &arena, &answer, problem) < 0)
        return -1;
    return take_string(answer, "id", ret_id, problem);
}

int berm_sandbox_create(struct berm_client *client, const struct berm_create *options, char **ret_id,
                        bool *ret_created, struct berm_problem *problem)
{
    static const struct berm_create defaults;
    _cleanup_free_ char *id = NULL, *target = NULL;
    _cleanup_(buf_free) struct buf request;

    if (!options)
        options = &defaults;
    buf_init(&request, ANSWER_MAX);
    if (write_create(options, &request, problem) < 0)
        return -1;
    if (options->id)
        id = strdup(options->id);
    else if (berm_sandbox_new_id(client, &id, problem) < 0)
        return -1;
    if (!id)
        return problem_memory(problem);
    target = sandbox_target(id, "", problem);
    if (!target)
        return -1;

    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("PUT", target);
    if (transfer_json(client, &t, &request, NULL, NULL, problem) < 0)
        return -1;
    if (ret_created)
        *ret_created = t.status == 201;
    *ret_id = TAKE_PTR(id);
    return 0;
}

int berm_sandbox_delete(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, "", problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("DELETE", target);

    if (!target)
        return -1;
    return transfer_json(client, &t, NULL, NULL, NULL, problem);
}

/* ---- the way out ---- */

int berm_egress_get(struct berm_client *client, const char *id, char **ret_json, struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, "/egress", problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("GET", target);
    size_t size;

    if (!target || transfer_json(client, &t, NULL, NULL, NULL, problem) < 0)
        return -1;
    *ret_json = buf_steal(&t.answer, &size);
    return *ret_json ? 0 : problem_memory(problem);
}

int berm_egress_set(struct berm_client *client, const char *id, const char *policy, struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, "/egress", problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT(policy ? "PUT" : "DELETE", target);
    _cleanup_(buf_free) struct buf request;

    buf_init(&request, ANSWER_MAX);
    if (!target)
        return -1;
    if (policy && buf_append_str(&request, str_from(policy)) < 0)
        return problem_memory(problem);
    return transfer_json(client, &t, policy ? &request : NULL, NULL, NULL, problem);
}

/* ---- get and list ---- */

static int take_limits(const struct json *sandbox, struct berm_limits *ret, struct berm_error *err)
{
    const struct json *limits = NULL;
    int64_t memory = 0, disk = 0, cpu = 0, pids = 0, nofile = 0;

    if (json_field_object(sandbox, "limits", &limits, err) < 0 ||
        json_field_int(limits, "memoryBytes", 0, INT64_MAX, &memory, err) < 0 ||
        json_field_int(limits, "diskBytes", 0, INT64_MAX, &disk, err) < 0 ||
        json_field_int(limits, "cpuMillis", 0, UINT32_MAX, &cpu, err) < 0 ||
        json_field_int(limits, "pids", 0, UINT32_MAX, &pids, err) < 0 ||
        json_field_int(limits, "nofile", 0, UINT32_MAX, &nofile, err) < 0)
        return -1;
    *ret = (struct berm_limits){ .memory_bytes = (uint64_t)memory,
                                 .disk_bytes = (uint64_t)disk,
                                 .cpu_millis = (uint32_t)cpu,
                                 .pids = (uint32_t)pids,
                                 .nofile = (uint32_t)nofile };
    return 0;
}

static int take_labels(struct arena *arena, const struct json *sandbox, const char *const **ret,
                       struct berm_error *err)
{
    const struct json *labels = NULL;
    const char **texts;
    size_t count;

    if (json_field_object(sandbox, "labels", &labels, err) < 0)
        return -1;
    count = labels ? labels->object.count : 0;
    texts = arena_calloc(arena, count + 1, sizeof(*texts));
    if (!texts)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "labels");
    for (size_t i = 0; i < count; i++) {
        const struct json_member *m = &labels->object.members[i];
        if (m->value.type != JSON_STRING)
            return berm_fail_field(err, "labels", "a label's value must be a string");
        texts[i] =
            arena_printf(arena, "%.*s=%.*s", (int)m->key.n, m->key.p, (int)m->value.string.n, m->value.string.p);
        if (!texts[i])
            return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "labels");
    }
    *ret = texts;
    return 0;
}

static int take_sandbox(struct arena *arena, const struct json *from, struct berm_sandbox *ret,
                        struct berm_error *err)
{
    if (json_field_cstring(from, "id", &ret->id, err) < 0 ||
        json_field_cstring(from, "name", &ret->name, err) < 0 ||
        json_field_cstring(from, "state", &ret->state, err) < 0 ||
        json_field_cstring(from, "image", &ret->image, err) < 0 ||
        json_field_cstring(from, "createdAt", &ret->created_at, err) < 0 ||
        json_field_cstring(from, "lastUsedAt", &ret->last_used_at, err) < 0 ||
        json_field_cstring(from, "endReason", &ret->end_reason, err) < 0 ||
        json_field_int(from, "generation", 0, INT64_MAX, &ret->generation, err) < 0 ||
        take_limits(from, &ret->limits, err) < 0 || take_labels(arena, from, &ret->labels, err) < 0)
        return -1;
    if (!ret->id || !ret->state)
        return berm_fail(err, BERM_E_PROTOCOL, 0, "a sandbox without \"id\" or \"state\"");
    return 0;
}

static int take_items(struct sandbox_list *list, const struct json *items, size_t count, struct berm_error *err)
{
    struct berm_sandbox *sandboxes = arena_calloc(&list->arena, count + 1, sizeof(*sandboxes));

    if (!sandboxes)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "sandboxes");
    for (size_t i = 0; i < count; i++) {
        if (take_sandbox(&list->arena, &items[i], &sandboxes[i], err) < 0)
            return -1;
    }
    list->public.items = sandboxes;
    list->public.count = count;
    return 0;
}

static int take_page(void *data, const struct json *answer, struct berm_error *err)
{
    struct sandbox_list *list = data;
    const struct json *sandboxes = NULL;

    if (json_field_array(answer, "sandboxes", &sandboxes, err) < 0 ||
        json_field_cstring(answer, "cursor", &list->public.cursor, err) < 0)
        return -1;
    if (!sandboxes)
        return berm_fail(err, BERM_E_PROTOCOL, 0, "no \"sandboxes\"");
    return take_items(list, sandboxes->array.items, sandboxes->array.count, err);
}

static int take_one(void *list, const struct json *answer, struct berm_error *err)
{
    return take_items(list, answer, 1, err);
}

static int fetch(struct berm_client *client, const char *target, list_take take,
                 struct berm_sandbox_list **ret_list, struct berm_problem *problem)
{
    struct sandbox_list *list = calloc(1, sizeof(*list));

    if (!list)
        return problem_memory(problem);
    arena_init(&list->arena, ARENA_MAX);
    if (transfer_list(client, target, &list->arena, take, list, &list->public.json, problem) < 0) {
        berm_sandbox_list_free(&list->public);
        return -1;
    }
    *ret_list = &list->public;
    return 0;
}

int berm_sandbox_get(struct berm_client *client, const char *id, struct berm_sandbox_list **ret_list,
                     struct berm_problem *problem)
{
    _cleanup_free_ char *target = sandbox_target(id, "", problem);

    return target ? fetch(client, target, take_one, ret_list, problem) : -1;
}

int berm_sandbox_list(struct berm_client *client, const char *label, const char *cursor,
                      struct berm_sandbox_list **ret_list, struct berm_problem *problem)
{
    _cleanup_(buf_free) struct buf target;
    _cleanup_free_ char *text = NULL;

    buf_init(&target, 64 * 1024);
    if (buf_append_str(&target, STR("/v1/sandboxes")) < 0 ||
        (label && (buf_append_str(&target, STR("?label=")) < 0 || append_encoded(&target, label, "") < 0)) ||
        (cursor && (buf_append_str(&target, label ? STR("&cursor=") : STR("?cursor=")) < 0 ||
                    append_encoded(&target, cursor, "") < 0)))
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the label or cursor is too long");
    text = buf_steal(&target, NULL);
    return text ? fetch(client, text, take_page, ret_list, problem) : problem_memory(problem);
}

void berm_sandbox_list_free(struct berm_sandbox_list *public)
{
    struct sandbox_list *list = public ? container_of(public, struct sandbox_list, public) : NULL;

    if (!list)
        return;
    arena_free(&list->arena);
    free(list);
}

/* ---- events ---- */

static const struct member event_members[] = {
    NEEDED(berm_event, time, "time"),
    NEEDED(berm_event, event, "event"),
    TEXT(berm_event, detail, "detail"),
    TEXT(berm_event, reason, "reason"),
    NUMBER(berm_event, number, "number", 0),
    NUMBER(berm_event, generation, "generation", 0),
    NO_MORE,
};

static const struct list_type event_list = { event_members, sizeof(struct berm_event), "events", NULL };

int berm_sandbox_events(struct berm_client *client, const char *id, struct berm_event_list **ret_list,
                        struct berm_problem *problem)
{
    return call_list(client, sandbox_target(id, "/events", problem), NULL, &event_list, false, (void **)ret_list,
                     problem);
}

void berm_event_list_free(struct berm_event_list *list)
{
    any_list_free(list);
}

/* ---- the daemon ---- */

int berm_health(struct berm_client *client, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("GET", "/health");

    return transfer_json(client, &t, NULL, NULL, NULL, problem);
}

static int get_json(struct berm_client *client, const char *target, char **ret_json, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("GET", target);

    if (transfer_json(client, &t, NULL, NULL, NULL, problem) < 0)
        return -1;
    *ret_json = buf_steal(&t.answer, NULL);
    return *ret_json ? 0 : problem_memory(problem);
}

int berm_host(struct berm_client *client, char **ret_json, struct berm_problem *problem)
{
    return get_json(client, "/v1/host", ret_json, problem);
}

int berm_link_state(struct berm_client *client, char **ret_json, struct berm_problem *problem)
{
    return get_json(client, "/v1/link", ret_json, problem);
}
