/* configure.c - what bermd tells about everything that is started later: environment and working directory. */
#include "agent/agent.h"
#include "agent/child/warm_names.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"
#include "base/base64.h"

#define FIELD_ARENA_MAX ((size_t)1024 * 1024)

/* The environment may also ask for a certificate to be trusted (ca_trust.h), and then for spare interpreters. */
static int apply(struct agent *agent, const struct env *env, const struct json *variables)
{
    env_remove_nulls(&agent->env, variables);
    return env_apply(&agent->env, env) < 0 || ca_trust_begin(agent, NULL) < 0 ? -1 : 0;
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

static void on_names_later(struct loop_deferred *deferred)
{
    struct agent *agent = container_of(deferred, struct agent, names_later);

    if (!agent->children.used)
        warm_names(&agent->env);
}

/* Behind the answer. A warm sandbox is told its environment while nobody waits for it. */
static void warm_names_later(struct agent *agent)
{
    agent->names_later.callback = on_names_later;
    loop_defer(agent->loop, &agent->names_later);
}

void handle_configure(struct request *rq)
{
    _cleanup_(env_free) struct env env = { 0 };
    const struct json *variables = NULL;
    const char *workdir = NULL;
    struct str authority = { NULL, 0 };
    struct berm_error err;
    struct buf body;
    struct json_writer w;

    if (json_field_object(rq->body, "env", &variables, &err) < 0 ||
        request_field_text(rq->body, "workdir", &workdir, &err) < 0 ||
        json_field_string(rq->body, "authority", &authority, &err) < 0 ||
        env_from_json(&env, variables, "env", &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    if (workdir && workdir[0] != '/') {
        reply_invalid(rq, "workdir", "must be an absolute path", "INVALID_PATH");
        return;
    }
    if (apply(rq->agent, &env, variables) < 0 || (workdir && set_workdir(rq->agent, workdir) < 0)) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    if (authority.n > 0 && ca_trust_certificate(rq->agent, authority, &err) < 0) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "%s", err.message);
        return;
    }
    buf_init(&body, 64);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_bool(&w, "ok", true);
    json_object_end(&w);
    http_respond(rq->ex, 200, "application/json", buf_str(&body));
    buf_free(&body);
    warm_names_later(rq->agent);
}

int configure_by_field(struct agent *agent, struct str value)
{
    _cleanup_(env_free) struct env env = { 0 };
    const struct json *variables = NULL;
    struct arena arena;
    char *text;
    size_t n = 0;
    int rc = -1;

    arena_init(&arena, FIELD_ARENA_MAX);
    text = arena_alloc(&arena, value.n / 4 * 3 + 3);
    if (text && base64_decode(value, text, &n) == 0 &&
        json_parse(&arena, (struct str){ text, n }, 2, &variables, NULL) == 0 && variables->type == JSON_OBJECT &&
        env_from_json(&env, variables, "env", NULL) == 0)
        rc = apply(agent, &env, variables);
    arena_free(&arena);
    return rc;
}
