/* meta_routes.c - the routes about the agent itself. */
#include "agent/agent.h"
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
    json_pair_empty_array(&reply.w, "availableCommands");
    json_pair_int(&reply.w, "count", 0);
    reply_send(rq, &reply);
}
