/*
 * tunnels.c - the tunnels of this sandbox: one run per port and per tunnel id. A run that is asked for again is
 * answered again; what asks for something else in its place is refused.
 */
#include "agent/agent.h"
#include "base/desk.h"
#include "base/sys.h"
#include "cloudflared.h"
#include "desk_tunnel.h"
#include "tunnel.h"

#include <stdio.h>

#define TUNNELS_MAX DESK_TUNNELS_MAX
#define ID_MAX      ((size_t)256)
#define TOKEN_MAX   ((size_t)8192)

/* --- the registry --- */

static struct tunnel *find(struct agent *agent, bool (*matches)(const struct tunnel *t, const struct wanted *w),
                           const struct wanted *w)
{
    for (struct tunnel *t = agent->rpc.tunnels; t; t = t->next)
        if (matches(t, w))
            return t;
    return NULL;
}

static bool same_run(const struct tunnel *t, const struct wanted *w)
{
    return t->run_id && str_is(w->run_id, t->run_id);
}

static bool same_id(const struct tunnel *t, const struct wanted *w)
{
    return str_is(w->id, t->id);
}

static bool same_id_or_port(const struct tunnel *t, const struct wanted *w)
{
    return same_id(t, w) || t->port == w->port;
}

static bool same_parameters(const struct tunnel *t, const struct wanted *w)
{
    return same_id(t, w) && t->port == w->port && w->named == (t->token != NULL) &&
           (!w->named || str_is(w->token, t->token));
}

static size_t count(const struct agent *agent)
{
    size_t n = 0;

    for (const struct tunnel *t = agent->rpc.tunnels; t; t = t->next)
        n++;
    return n;
}

static void tunnel_free(struct tunnel *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        t->agent->rpc.tunnels = t->next;
    if (t->next)
        t->next->prev = t->prev;
    free(t->id);
    free(t->run_id);
    free(t->token);
    free(t);
}

static struct tunnel *tunnel_new(struct agent *agent, const struct wanted *w)
{
    struct tunnel *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->agent = agent;
    t->id = str_dup(w->id);
    t->run_id = w->run_id.n > 0 ? str_dup(w->run_id) : NULL;
    t->token = w->named ? str_dup(w->token) : NULL;
    t->port = w->port;
    t->next = agent->rpc.tunnels;
    if (t->next)
        t->next->prev = t;
    agent->rpc.tunnels = t;
    if (t->id && (w->run_id.n == 0 || t->run_id) && (!w->named || t->token))
        return t;
    tunnel_free(t);
    return NULL;
}

/* False, and the call is answered, without memory. */
static bool wait_for(struct waiter **list, struct capnweb_call *call, bool started)
{
    struct waiter *waiter = malloc(sizeof(*waiter));

    if (!waiter) {
        rpc_reject_internal(call, "out of memory");
        return false;
    }
    *waiter = (struct waiter){ *list, call, started };
    *list = waiter;
    return true;
}

static struct capnweb_call *take_waiter(struct waiter **list, bool *ret_started)
{
    struct waiter *waiter = *list;
    struct capnweb_call *call = waiter->call;

    *list = waiter->next;
    *ret_started = waiter->started;
    free(waiter);
    return call;
}

/* --- life --- */

static void became_ready(struct tunnel *t)
{
    t->ready = true;
    format_timestamp(clock_realtime_ms(), t->since);
    while (t->starting) {
        bool started;
        struct capnweb_call *call = take_waiter(&t->starting, &started);
        capnweb_resolve(call, tunnel_outcome(call, t, started));
    }
}

static void tell_of_exit(const struct tunnel *t, int exit_code)
{
    struct capnweb_value args[] = {
        CAPNWEB_TEXT(str_from(t->id)),
        CAPNWEB_NUMBER(t->port),
        exit_code >= 0 ? CAPNWEB_NUMBER(exit_code) : (struct capnweb_value){ .type = CAPNWEB_NULL },
        CAPNWEB_TEXT(str_from(t->run_id)),
    };

    rpc_notify(t->agent, "onTunnelExit", args, t->run_id ? 4 : 3);
}

/* Those who wait for its start hear why there is none. */
static void ended(struct tunnel *t, int exit_code, const struct tunnel_failure *why)
{
    bool flag;

    while (t->starting)
        tunnel_reject_start(take_waiter(&t->starting, &flag), t, why);
    if (t->ready)
        tell_of_exit(t, exit_code);
    while (t->ending) {
        struct capnweb_call *call = take_waiter(&t->ending, &flag);
        capnweb_resolve(call, tunnel_ended(call, t, flag));
    }
    tunnel_free(t);
}

/* --- by cloudflared --- */

static void on_cloudflared_ready(struct cloudflared *process, void *data)
{
    (void)process;
    became_ready(data);
}

static void on_cloudflared_exit(struct cloudflared *process, int exit_code, const char *reason, void *data)
{
    struct tunnel_failure why = { .reason = reason ? reason : "it was stopped" };

    (void)process;
    ended(data, exit_code, &why);
}

static void run_cloudflared(struct tunnel *t)
{
    static const struct cloudflared_events events = { on_cloudflared_ready, on_cloudflared_exit };
    struct tunnel_failure why = { 0 };

    t->process = cloudflared_start(t->agent, t->port, t->token, &events, t, &why.errnum);
    if (t->process)
        return;
    why.reason = strerror(why.errnum);
    ended(t, -1, &why);
}

/* --- by the daemon --- */

static void on_desk_ready(void *data)
{
    became_ready(data);
}

static void on_desk_end(enum desk_end end, const char *reason, void *data)
{
    struct tunnel_failure why = { .errnum = end == DESK_MISSING ? ENOENT : 0,
                                  .conflict = end == DESK_CONFLICT,
                                  .reason = reason };
    struct tunnel *t = data;

    t->desk = NULL;
    if (end == DESK_ELSEWHERE && !t->stopping)
        run_cloudflared(t);
    else
        ended(t, -1, &why);
}

static void ask_desk(struct tunnel *t)
{
    static const struct desk_tunnel_events events = { on_desk_ready, on_desk_end };
    struct berm_error err;

    t->desk = desk_tunnel_start(t->agent, t->id, t->port, &events, t, &err);
    if (!t->desk)
        ended(t, -1, &(struct tunnel_failure){ .reason = err.message });
}

/* --- both --- */

/* A named one needs a token of Cloudflare's, which only its own program can do something with. */
static void start(struct capnweb_call *call, const struct wanted *w)
{
    struct agent *agent = rpc_agent(call);
    bool by_desk = agent->has_desk && !w->named;
    struct tunnel *t;

    if (count(agent) >= TUNNELS_MAX) {
        rpc_reject(call, STR("RESOURCE_BUSY"), STR("There are too many tunnels"), CAPNWEB_NOTHING);
        return;
    }
    if (by_desk && !desk_id_valid(w->id)) {
        rpc_reject_invalid(call, "tunnelId", "must be 1 to 31 of A-Z, a-z, 0-9, _ and -");
        return;
    }
    t = tunnel_new(agent, w);
    if (!t) {
        rpc_reject_internal(call, "out of memory");
        return;
    }
    if (!wait_for(&t->starting, call, true))
        tunnel_free(t);
    else if (by_desk)
        ask_desk(t);
    else
        run_cloudflared(t);
}

static void stop(struct tunnel *t, struct capnweb_call *call, bool of_run)
{
    if (!wait_for(&t->ending, call, of_run))
        return;
    t->stopping = true;
    if (t->desk)
        desk_tunnel_stop(t->desk);
    else
        cloudflared_stop(t->process);
}

/* --- decoding --- */

static struct str member_text(const struct capnweb_value *object, const char *key)
{
    const struct capnweb_value *value = capnweb_get(object, key);

    return value && value->type == CAPNWEB_STRING ? value->string : STR("");
}

static const char *id_problem(struct str id, size_t max)
{
    if (id.n == 0)
        return "must be a non-empty string";
    if (id.n > max || memchr(id.p, '\0', id.n))
        return "is too long, or holds a NUL character";
    return NULL;
}

/* False after having answered. */
static bool check(struct capnweb_call *call, const struct wanted *w, const struct capnweb_value *port)
{
    const char *problem = id_problem(w->id, ID_MAX);

    if (problem) {
        rpc_reject_invalid(call, "tunnelId", problem);
        return false;
    }
    if (!port || port->type != CAPNWEB_INT || port->integer < 1 || port->integer > 65535) {
        rpc_reject_invalid(call, "port", "must be a port number");
        return false;
    }
    problem = w->named ? id_problem(w->token, TOKEN_MAX) : NULL;
    if (problem)
        rpc_reject_invalid(call, "token", problem);
    return !problem;
}

/* --- methods --- */

void rpc_ensure_tunnel_run(struct capnweb_call *call)
{
    const struct capnweb_value *arg = capnweb_arg(call, 0), *port = capnweb_get(arg, "port");
    struct str mode = member_text(arg, "mode");
    struct wanted w = { .id = member_text(arg, "tunnelId"),
                        .run_id = member_text(arg, "runId"),
                        .token = member_text(arg, "token"),
                        .named = str_is(mode, "named") };
    const char *problem = id_problem(w.run_id, ID_MAX);
    struct tunnel *t;

    if (problem) {
        rpc_reject_invalid(call, "runId", problem);
        return;
    }
    if (!w.named && !str_is(mode, "quick")) {
        rpc_reject_invalid(call, "mode", "must be quick or named");
        return;
    }
    if (!check(call, &w, port))
        return;
    w.port = (int)port->integer;
    t = find(rpc_agent(call), same_run, &w);
    if (t && !t->stopping && same_parameters(t, &w)) {
        if (t->ready)
            capnweb_resolve(call, tunnel_outcome(call, t, false));
        else
            (void)wait_for(&t->starting, call, false);
        return;
    }
    if (!t)
        t = find(rpc_agent(call), same_id_or_port, &w);
    if (t)
        tunnel_reject_conflict(call, &w, t);
    else
        start(call, &w);
}

void rpc_stop_tunnel_run(struct capnweb_call *call)
{
    const struct capnweb_value *arg = capnweb_arg(call, 0);
    struct wanted w = { .id = member_text(arg, "tunnelId"), .run_id = member_text(arg, "runId") };
    struct tunnel *t = find(rpc_agent(call), same_run, &w);
    struct capnweb_value result;
    struct capnweb_member *members;

    if (t && same_id(t, &w)) {
        stop(t, call, true);
        return;
    }
    members = rpc_object(call, 1, &result);
    if (members)
        members[0] = (struct capnweb_member){ STR("stopped"), CAPNWEB_TRUTH(false) };
    capnweb_resolve(call, result);
}

static void run_tunnel(struct capnweb_call *call, struct wanted *w, const struct capnweb_value *port)
{
    if (!check(call, w, port))
        return;
    w->port = (int)port->integer;
    if (find(rpc_agent(call), same_id_or_port, w))
        tunnel_reject_of(call, STR("TUNNEL_ALREADY_RUNNING"), STR("A tunnel with this id or port is running"),
                         w->id);
    else
        start(call, w);
}

void rpc_run_quick_tunnel(struct capnweb_call *call)
{
    struct wanted w = { .id = rpc_text(call, 0) };

    run_tunnel(call, &w, capnweb_arg(call, 1));
}

void rpc_run_named_tunnel(struct capnweb_call *call)
{
    struct wanted w = { .id = rpc_text(call, 0), .token = rpc_text(call, 1), .named = true };

    run_tunnel(call, &w, capnweb_arg(call, 2));
}

void rpc_destroy_tunnel(struct capnweb_call *call)
{
    struct wanted w = { .id = rpc_text(call, 0) };
    struct tunnel *t = find(rpc_agent(call), same_id, &w);

    if (t)
        stop(t, call, false);
    else
        tunnel_reject_of(call, STR("TUNNEL_NOT_FOUND"), STR("There is no tunnel with this id"), w.id);
}

void rpc_list_tunnels(struct capnweb_call *call)
{
    struct capnweb_value list = { .type = CAPNWEB_ARRAY };

    list.array.items = arena_calloc(call->arena, TUNNELS_MAX, sizeof(struct capnweb_value));
    for (struct tunnel *t = rpc_agent(call)->rpc.tunnels; t && list.array.items; t = t->next)
        if (!t->run_id && t->ready)
            list.array.items[list.array.count++] = tunnel_info(call, t);
    capnweb_resolve(call, list);
}
