/* session_routes.c - session/create, session/list, session/delete. */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "agent/process/process_kill.h"

#include <signal.h>
#include <stdio.h>

struct session_request {
    struct session_op op;
    struct request *rq;
    const char *id; /* in the request's arena */
    struct env env;
    const char *cwd;
    int64_t timeout_ms;
};

static struct session_request *new_session_request(struct request *rq)
{
    struct session_request *sr = calloc(1, sizeof(*sr));

    if (!sr) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return NULL;
    }
    sr->rq = request_hold(rq);
    sr->timeout_ms = -1;
    return sr;
}

static void finish(struct session_request *sr)
{
    if (sr->op.session)
        session_release(&sr->op);
    env_free(&sr->env);
    request_unhold(sr->rq);
    free(sr);
}

/* --- create --- */

static void put_placement_id(struct context_item *item, const struct agent *agent)
{
    const char *id = env_get(&agent->env, "CLOUDFLARE_PLACEMENT_ID");

    *item = id ? (struct context_item)CTX_STR("containerPlacementId", id)
               : (struct context_item)CTX_NULL("containerPlacementId");
}

static void reply_exists(struct session_request *sr)
{
    struct context_item context[2] = { CTX_STR("sessionId", sr->id) };

    put_placement_id(&context[1], sr->rq->agent);
    reply_error(sr->rq, AGENT_E_SESSION_ALREADY_EXISTS, context, 2, "Session '%s' already exists", sr->id);
}

static void reply_created(struct session_request *sr)
{
    struct reply reply;

    reply_begin(&reply);
    json_key(&reply.w, "data");
    json_object_begin(&reply.w);
    json_pair_cstring(&reply.w, "id", sr->id);
    json_object_end(&reply.w);
    json_pair_cstring(&reply.w, "containerPlacementId", env_get(&sr->rq->agent->env, "CLOUDFLARE_PLACEMENT_ID"));
    reply_send(sr->rq, &reply);
}

static void reply_not_started(struct session_request *sr, const char *reason)
{
    struct context_item context[] = { CTX_STR("sessionId", sr->id), CTX_STR("originalError", reason) };

    reply_error(sr->rq, AGENT_E_INTERNAL_ERROR, context, 2, "Cannot create session '%s': %s", sr->id, reason);
}

static void run_create(struct session_op *op)
{
    struct session_request *sr = container_of(op, struct session_request, op);
    struct session *session = op->session;
    struct berm_error err;

    if (session->live && !session->dead) {
        reply_exists(sr);
    } else if (session_establish(session, &sr->env, sr->cwd, sr->timeout_ms) < 0) {
        reply_not_started(sr, "out of memory");
    } else if (!session_shell(session, &err)) {
        session_discard(session);
        reply_not_started(sr, err.message);
    } else {
        reply_created(sr);
    }
    finish(sr);
}

static int make_id(struct request *rq, const char **ret)
{
    unsigned char random[6];
    char hex[13];

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), hex);
    *ret = arena_printf(&rq->arena, "session_%lld_%s", (long long)clock_realtime_ms(), hex);
    return *ret ? 0 : -1;
}

/* 0, or -1 with *err. */
static int decode_create(struct session_request *sr, struct berm_error *err)
{
    const struct json *body = sr->rq->body;
    const struct json *variables = NULL;

    if (request_field_text(body, "id", &sr->id, err) < 0 || json_field_object(body, "env", &variables, err) < 0 ||
        request_field_text(body, "cwd", &sr->cwd, err) < 0 ||
        request_field_ms(body, "commandTimeoutMs", &sr->timeout_ms, err) < 0 ||
        env_from_json(&sr->env, variables, "env", err) < 0)
        return -1;
    if (sr->timeout_ms == 0)
        sr->timeout_ms = -1; /* as COMMAND_TIMEOUT_MS: no limit */
    if (!sr->id)
        return make_id(sr->rq, &sr->id) < 0 ? berm_fail(err, BERM_E_SYSTEM, ENOMEM, "session id") : 0;
    if (is_blank(str_from(sr->id)))
        return berm_fail_field(err, "id", "must not be blank");
    return 0;
}

void handle_session_create(struct request *rq)
{
    struct session_request *sr = new_session_request(rq);
    struct berm_error err;

    if (!sr)
        return;
    if (decode_create(sr, &err) < 0) {
        reply_invalid_field(rq, &err);
        finish(sr);
        return;
    }
    sr->op.run = run_create;
    sr->op.creates = true;
    if (session_submit(rq->agent, sr->id, &sr->op) < 0) {
        reply_not_started(sr, "out of memory");
        finish(sr);
    }
}

/* --- list --- */

void handle_session_list(struct request *rq)
{
    struct reply reply;

    reply_begin(&reply);
    json_key(&reply.w, "data");
    json_array_begin(&reply.w);
    for (const struct session *session = rq->agent->sessions.first; session; session = session->next)
        if (session_listed(session))
            json_cstring(&reply.w, session->id);
    json_array_end(&reply.w);
    reply_send(rq, &reply);
}

/* --- delete --- */

static void reply_unknown(struct request *rq, const char *id)
{
    struct context_item context[] = { CTX_STR("sessionId", id), CTX_STR("originalError", "Session not found") };

    reply_error(rq, AGENT_E_INTERNAL_ERROR, context, 2, "Session '%s' not found", id);
}

static void on_stopped(struct session_op *op)
{
    struct session_request *sr = container_of(op, struct session_request, op);
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "sessionId", sr->id);
    reply_send(sr->rq, &reply);
    finish(sr);
}

static void run_delete(struct session_op *op)
{
    struct session_request *sr = container_of(op, struct session_request, op);

    if (op->session->live) {
        process_kill_session(sr->rq->agent, sr->id, SIGKILL);
        session_stop(op->session, on_stopped);
        return;
    }
    reply_unknown(sr->rq, sr->id);
    finish(sr);
}

void handle_session_delete(struct request *rq)
{
    struct session_request *sr;
    const char *id = NULL;
    struct berm_error err;

    if (request_field_text(rq->body, "sessionId", &id, &err) < 0 || !id) {
        reply_error(rq, AGENT_E_VALIDATION_FAILED, NULL, 0, "sessionId is required");
        return;
    }
    if (!session_find(rq->agent, id)) {
        reply_unknown(rq, id);
        return;
    }
    sr = new_session_request(rq);
    if (!sr)
        return;
    sr->id = id;
    sr->op.run = run_delete;
    sr->op.creates = true;                  /* it finds out itself whether there is anything */
    session_submit(rq->agent, id, &sr->op); /* cannot fail: the session is there */
}
