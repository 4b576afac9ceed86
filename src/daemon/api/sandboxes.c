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

/* --- GET of one --- */

static void respond_description(struct request *request, const struct spawn_stat *usage, bool with_usage)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    sandbox_write_json(w, request->sandbox, usage, with_usage);
    request_respond_json(request, 200, w);
}

static void on_stat(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    respond_description(data, err->code == BERM_OK ? &reply->stat : NULL, true);
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
        respond_description(request, NULL, true);
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
    if (!usage || strcmp(usage, "true"))
        respond_description(request, NULL, false);
    else if (sandbox->state == SANDBOX_RUNNING)
        ask_usage(request);
    else
        respond_description(request, NULL, true);
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

/* --- events --- */

static int write_event(const struct store_event *event, void *data)
{
    struct json_writer *w = data;
    char time[25];

    format_timestamp(event->time_ms, time);
    json_object_begin(w);
    json_pair_cstring(w, "time", time);
    json_pair_cstring(w, "event", event->event);
    json_pair_cstring(w, "detail", event->detail[0] ? event->detail : NULL);
    json_object_end(w);
    return 0;
}

static void list_events(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);
    struct json_writer *w = request_json(request);
    struct berm_error err;

    if (!w)
        return;
    if (!sandbox) {
        request_fail_with(request, BERM_E_SANDBOX_NOT_FOUND, "there is no sandbox %s", request->sandbox_id.p);
        return;
    }
    request->sandbox = sandbox_ref(sandbox);
    if (is_over(request, sandbox))
        return;
    json_object_begin(w);
    json_key(w, "events");
    json_array_begin(w);
    if (store_each_event(request->daemon->store, sandbox->row.seq, write_event, w, &err) < 0) {
        buf_free(w->out);
        request_fail(request, &err);
        return;
    }
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

void api_sandbox_events(struct request *request)
{
    request_need_adoption(request, list_events);
}
