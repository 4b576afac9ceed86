/* egress.c - the policy of a sandbox's way out, and what became of what tried it. */
#include "base/sys.h"
#include "daemon/api/api.h"
#include "daemon/api/sandbox_spec.h"
#include "daemon/event_feed.h"
#include "daemon/sandbox_egress.h"

#define POLICY_DEPTH 8

const struct egress_ceiling *api_egress_ceiling(const struct request *request)
{
    struct egress_service *egress = request->daemon->egress;

    return egress ? egress_service_ceiling(egress) : NULL;
}

/* --- GET --- */

static void write_policy(struct json_writer *w, const struct request *request, const struct sandbox *sandbox)
{
    const struct egress_service *service = request->daemon->egress;
    const char *text = sandbox->row.egress;
    const struct json *policy;
    struct arena arena;

    json_pair_bool(w, "isDefault", text[0] == '\0');
    if (text[0] == '\0' && service)
        text = egress_service_policy(service)->text;
    json_key(w, "policy");
    arena_init(&arena, 8 << 20);
    if (sandbox->row.network == SPAWN_NETWORK_EGRESS &&
        json_parse(&arena, str_from(text), POLICY_DEPTH, &policy, NULL) == 0)
        json_value(w, policy);
    else
        json_null(w);
    arena_free(&arena);
}

static void write_counters(struct json_writer *w, const struct egress *egress)
{
    struct egress_counters counters = { 0 };

    if (egress)
        egress_get_counters(egress, &counters);
    json_key(w, "counters");
    json_object_begin(w);
    json_pair_int(w, "connections", (int64_t)counters.connections);
    json_pair_int(w, "openConnections", (int64_t)counters.open_connections);
    json_pair_int(w, "deniedConnections", (int64_t)counters.denied_connections);
    json_pair_int(w, "failedConnections", (int64_t)counters.failed_connections);
    json_pair_int(w, "interceptedConnections", (int64_t)counters.intercepted_connections);
    json_pair_int(w, "credentialedRequests", (int64_t)counters.credentialed_requests);
    json_pair_int(w, "bytesOut", (int64_t)counters.bytes_out);
    json_pair_int(w, "bytesIn", (int64_t)counters.bytes_in);
    json_pair_int(w, "questions", (int64_t)counters.questions);
    json_pair_int(w, "deniedQuestions", (int64_t)counters.denied_questions);
    json_object_end(w);
}

static void write_denial(const struct egress_denial *denial, void *data)
{
    struct json_writer *w = data;
    char time[25], address[IP_TEXT_SIZE];

    format_timestamp(denial->time_ms, time);
    json_object_begin(w);
    json_pair_cstring(w, "time", time);
    json_pair_cstring(w, "what", denial->what);
    json_pair_cstring(w, "reason", denial->reason);
    json_pair_cstring(w, "host", denial->name[0] ? denial->name : NULL);
    if (denial->port) {
        ip_format(&denial->ip, address);
        json_pair_cstring(w, "address", address);
        json_pair_int(w, "port", denial->port);
    }
    json_object_end(w);
}

static const char *state_name(const struct sandbox *sandbox)
{
    if (sandbox->row.network == SPAWN_NETWORK_NONE)
        return "none";
    return sandbox->instance.egress && egress_is_up(sandbox->instance.egress) ? "up" : "down";
}

static void respond(struct request *request, struct sandbox *sandbox)
{
    const struct egress *egress = sandbox->instance.egress;
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "network", sandbox->row.network == SPAWN_NETWORK_EGRESS ? "internet" : "none");
    json_pair_cstring(w, "state", state_name(sandbox));
    write_policy(w, request, sandbox);
    write_counters(w, egress);
    json_key(w, "denied");
    json_array_begin(w);
    if (egress)
        egress_each_denial(egress, write_denial, w);
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* NULL: answered. */
static struct sandbox *find(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);

    if (!sandbox) {
        request_fail_with(request, BERM_E_SANDBOX_NOT_FOUND, "there is no sandbox %s", request->sandbox_id.p);
        return NULL;
    }
    if (request->wait.if_generation && request->wait.if_generation != sandbox->row.generation) {
        request_fail_with(request, BERM_E_STALE_GENERATION, "generation %lld does not run",
                          (long long)request->wait.if_generation);
        return NULL;
    }
    request->sandbox = sandbox_ref(sandbox);
    return sandbox;
}

static void describe(struct request *request)
{
    struct sandbox *sandbox = find(request);

    if (sandbox)
        respond(request, sandbox);
}

void api_egress_get(struct request *request)
{
    request_need_adoption(request, describe);
}

/* --- PUT and DELETE --- */

/* Its agent knows whom to trust now. */
static void respond_told(struct request *request)
{
    respond(request, request->sandbox);
}

/* `text` "": the operator's default. In the store before it holds. */
static void change(struct request *request, const char *text)
{
    struct sandbox *sandbox = find(request);
    char *copy, *before;
    struct berm_error err;

    if (!sandbox)
        return;
    if (sandbox->row.network != SPAWN_NETWORK_EGRESS) {
        request_fail_with(request, BERM_E_CONFLICT, "the sandbox has no network");
        return;
    }
    copy = strdup(text);
    if (!copy) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    before = sandbox->row.egress;
    sandbox->row.egress = copy;
    if (sandbox->row.seq && feed_commit(sandbox, 0, "configured", END_NONE, "egress", &err) < 0) {
        sandbox->row.egress = before;
        free(copy);
        request_fail(request, &err);
        return;
    }
    free(before);
    sandbox_apply_policy(sandbox);
    if (sandbox->must_configure && sandbox->state == SANDBOX_RUNNING) {
        sandbox_unref(TAKE_PTR(request->sandbox)); /* it comes again */
        request_need_sandbox(request, respond_told);
    } else {
        respond(request, sandbox);
    }
}

static void put_adopted(struct request *request)
{
    change(request, request->state);
}

static void on_put_body(struct request *request)
{
    const struct json *body;
    const char *text;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return;
    if (!body) {
        request_fail_with(request, BERM_E_INVALID_REQUEST, "the body must be a policy");
        return;
    }
    if (egress_spec_decode(api_egress_ceiling(request), &request->arena, body, &text, &err) < 0) {
        request_fail(request, &err);
        return;
    }
    request->state = (void *)(uintptr_t)text;
    request_need_adoption(request, put_adopted);
}

void api_egress_put(struct request *request)
{
    request_collect_body(request, JSON_BODY_MAX, on_put_body);
}

void api_egress_delete(struct request *request)
{
    request->state = arena_strdup(&request->arena, STR(""));
    if (!request->state)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else
        request_need_adoption(request, put_adopted);
}
