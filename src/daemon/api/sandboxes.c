/* sandboxes.c - making, describing and deleting sandboxes. */
#include "base/fault.h"
#include "base/sys.h"
#include "daemon/api/api.h"
#include "daemon/api/sandbox_json.h"
#include "daemon/api/sandbox_spec.h"

void api_sandbox_new_id(struct request *request)
{
    struct json_writer *w = request_json(request);
    uint8_t random[16];
    char id[27];

    if (!w)
        return;
    random_bytes(random, sizeof(random));
    base32_encode(random, sizeof(random), id);
    json_object_begin(w);
    json_pair_cstring(w, "id", id);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* True: answered, as the request asks for another generation. */
static bool is_over(struct request *request, const struct sandbox *sandbox)
{
    int64_t wanted = request->wait.if_generation;

    if (!wanted || wanted == sandbox->row.generation)
        return false;
    request_fail_with(request, BERM_E_STALE_GENERATION, "generation %lld does not run", (long long)wanted);
    return true;
}

void api_sandbox_delete(struct request *request)
{
    struct berm_error err;

    if (request->wait.if_generation) {
        struct sandbox *sandbox = request_find_sandbox(request);

        if (sandbox && is_over(request, sandbox))
            return;
    }
    if (lifecycle_destroy(request->daemon, request->sandbox_id, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    FAULT_POINT("destroy.done");
    request_respond_empty(request, 204);
}

/* --- PUT --- */

static void put_done(struct request *request)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    sandbox_write_json(w, request->sandbox, NULL, false);
    FAULT_POINT("create.done");
    request_respond_json(request, request->wait.created ? 201 : 200, w);
}

static void on_put_body(struct request *request)
{
    struct sandbox_settings *settings = arena_calloc(&request->arena, 1, sizeof(*settings));
    const struct json *body;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return;
    if (!settings)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else if (sandbox_spec_decode(&request->daemon->config, api_egress_ceiling(request), &request->arena, body,
                                 settings, &err) < 0)
        request_fail(request, &err);
    else
        request_configure_sandbox(request, settings, put_done);
}

void api_sandbox_put(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_put_body);
}

/* --- PUT and PATCH of a part --- */

static void on_map_body(struct request *request, int (*decode)(struct arena *, const struct json *,
                                                               struct sandbox_settings *, struct berm_error *))
{
    struct sandbox_settings *settings = arena_calloc(&request->arena, 1, sizeof(*settings));
    const struct json *body;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return;
    if (!settings) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    } else if (decode(&request->arena, body, settings, &err) < 0) {
        request_fail(request, &err);
    } else {
        settings->merge = str_is(request->head->method, "PATCH");
        request_configure_sandbox(request, settings, put_done);
    }
}

static void on_env_body(struct request *request)
{
    on_map_body(request, env_spec_decode);
}

static void on_labels_body(struct request *request)
{
    on_map_body(request, labels_spec_decode);
}

void api_sandbox_env(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_env_body);
}

void api_sandbox_labels(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_labels_body);
}

/* --- GET of one --- */

static void respond_description(struct request *request, const struct spawn_stat *usage, bool with_usage)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    sandbox_write_json(w, request->sandbox, usage, with_usage);
    request_respond_json(request, 200, w);
}

/* Either the description with the usage in it, or the statistics alone. */
static void respond_usage(struct request *request, const struct spawn_stat *usage)
{
    struct json_writer *w;

    if (request->route->handler != api_sandbox_stats) {
        respond_description(request, usage, true);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    sandbox_write_stats(w, request->sandbox, usage);
    request_respond_json(request, 200, w);
}

static void on_stat(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    respond_usage(data, err->code == BERM_OK ? &reply->stat : NULL);
}

static void forget_stat(struct request *request)
{
    spawn_link_forget(request->daemon->spawn, request);
}

static void ask_usage(struct request *request)
{
    struct spawn_request stat = { .op = SPAWN_OP_STAT, .key = request->sandbox->row.key };

    request->cleanup = forget_stat;
    if (spawn_link_send(request->daemon->spawn, &stat, on_stat, request, NULL) < 0)
        respond_usage(request, NULL);
}

static void describe(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);
    const char *usage;

    if (!sandbox) {
        request_fail_with(request, BERM_E_SANDBOX_NOT_FOUND, "there is no sandbox %s", request->sandbox_id.p);
        return;
    }
    request->sandbox = sandbox_ref(sandbox);
    if (is_over(request, sandbox))
        return;
    if (request_query(request, "usage", &usage) < 0)
        return;
    if (request->route->handler != api_sandbox_stats && (!usage || strcmp(usage, "true")))
        respond_description(request, NULL, false);
    else if (sandbox->state == SANDBOX_RUNNING)
        ask_usage(request);
    else
        respond_usage(request, NULL);
}

void api_sandbox_stats(struct request *request)
{
    request_need_adoption(request, describe);
}

void api_sandbox_get(struct request *request)
{
    request_need_adoption(request, describe);
}

static void tell_running(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);
    bool running = sandbox && sandbox->state == SANDBOX_RUNNING;

    if (sandbox)
        request->sandbox = sandbox_ref(sandbox);
    if (request->wait.if_generation && running && sandbox->row.generation != request->wait.if_generation)
        running = false;
    request_respond(request, 200, "application/json",
                    running ? STR("{\"running\":true}") : STR("{\"running\":false}"));
}

void api_sandbox_running(struct request *request)
{
    request_need_adoption(request, tell_running);
}
