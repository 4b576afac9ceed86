/* meta_routes.c - the routes about the agent itself. */
#include "agent.h"
#include "router.h"
#include "routes.h"

void handle_greeting(struct request *rq)
{
    http_respond(rq->ex, 200, "text/plain; charset=utf-8", STR("Hello from the Berm agent!\n"));
}

void handle_ping(struct request *rq)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "status", "healthy");
    json_pair_cstring(&reply.w, "message", "pong");
    reply_send(rq, &reply);
}

void handle_version(struct request *rq)
{
    const char *version = env_get(&rq->agent->env, "SANDBOX_VERSION");
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "version", version ? version : "unknown");
    reply_send(rq, &reply);
}

void handle_commands(struct request *rq)
{
    struct reply reply;

    reply_begin(&reply);
    json_key(&reply.w, "availableCommands");
    json_array_begin(&reply.w);
    json_array_end(&reply.w);
    json_pair_int(&reply.w, "count", 0);
    reply_send(rq, &reply);
}

void handle_not_implemented(struct request *rq)
{
    reply_error(rq, AGENT_E_NOT_IMPLEMENTED, NULL, 0, "%s %s is not implemented by this version of the agent",
                rq->route->method, rq->route->path);
}

static int set_workdir(struct agent *agent, const char *workdir)
{
    char *copy = strdup(workdir);

    if (!copy)
        return -1;
    free(agent->workdir);
    agent->workdir = copy;
    return 0;
}

/* What bermd tells once, before anything else: the environment and working directory of everything started later.
 */
void handle_configure(struct request *rq)
{
    _cleanup_(env_free) struct env env = { 0 };
    const struct json *variables = NULL;
    const char *workdir = NULL;
    struct berm_error err;
    struct buf body;
    struct json_writer w;

    if (json_field_object(rq->body, "env", &variables, &err) < 0 ||
        request_field_text(rq->body, "workdir", &workdir, &err) < 0 || env_from_json(&env, variables, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    if (workdir && workdir[0] != '/') {
        reply_invalid(rq, "workdir", "must be an absolute path", "INVALID_PATH");
        return;
    }
    if (env_apply(&rq->agent->env, &env) < 0 || (workdir && set_workdir(rq->agent, workdir) < 0)) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    buf_init(&body, 64);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_bool(&w, "ok", true);
    json_object_end(&w);
    http_respond(rq->ex, 200, "application/json", buf_str(&body));
    buf_free(&body);
}
