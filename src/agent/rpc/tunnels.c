/*
 * tunnels.c - the tunnels of this sandbox: one run per port and per tunnel id. A run that is asked for again is
 * answered again; what asks for something else in its place is refused.
 */
#include "agent/agent.h"
#include "base/sys.h"
#include "cloudflared.h"
#include "methods.h"

#include <stdio.h>

#define TUNNELS_MAX 64
#define ID_MAX      ((size_t)256)
#define TOKEN_MAX   ((size_t)8192)

struct waiter {
    struct waiter *next;
    struct capnweb_call *call;
    bool started; /* this call has */
};

struct tunnel {
    struct tunnel *prev, *next;
    struct agent *agent;
    char *id;
    char *run_id; /* NULL: of the legacy methods */
    char *token;  /* NULL: a quick one */
    int port;
    bool ready, stopping;
    char since[25];
    struct cloudflared *process;
    struct waiter *starting, *ending; /* calls */
};

struct wanted {
    struct str id, run_id, token;
    bool named;
    int port;
};

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

/* --- results --- */

static struct str copy(struct capnweb_call *call, const char *text)
{
    char *duplicate = arena_strdup(call->arena, str_from(text));

    return duplicate ? str_from(duplicate) : STR("");
}

static struct str hostname(struct capnweb_call *call, const struct tunnel *t)
{
    const char *url = cloudflared_url(t->process);

    return copy(call, str_has_prefix(str_from(url), STR("https://")) ? url + 8 : "");
}

/* Of the legacy methods. */
static struct capnweb_value tunnel_info(struct capnweb_call *call, const struct tunnel *t)
{
    struct capnweb_value info;
    struct capnweb_member *members = rpc_object(call, 5, &info);

    if (!members)
        return info;
    members[0] = (struct capnweb_member){ STR("id"), CAPNWEB_TEXT(copy(call, t->id)) };
    members[1] = (struct capnweb_member){ STR("port"), CAPNWEB_NUMBER(t->port) };
    members[2] = (struct capnweb_member){ STR("url"), CAPNWEB_TEXT(copy(call, cloudflared_url(t->process))) };
    members[3] = (struct capnweb_member){ STR("hostname"), CAPNWEB_TEXT(hostname(call, t)) };
    members[4] = (struct capnweb_member){ STR("createdAt"), CAPNWEB_TEXT(copy(call, t->since)) };
    return info;
}

static struct capnweb_value run_info(struct capnweb_call *call, const struct tunnel *t, bool started)
{
    struct capnweb_value run, result;
    struct capnweb_member *outer = rpc_object(call, 2, &result), *members = rpc_object(call, 7, &run);

    if (!outer || !members)
        return result;
    members[0] = (struct capnweb_member){ STR("tunnelId"), CAPNWEB_TEXT(copy(call, t->id)) };
    members[1] = (struct capnweb_member){ STR("runId"), CAPNWEB_TEXT(copy(call, t->run_id)) };
    members[2] = (struct capnweb_member){ STR("mode"), CAPNWEB_TEXT(t->token ? STR("named") : STR("quick")) };
    members[3] = (struct capnweb_member){ STR("port"), CAPNWEB_NUMBER(t->port) };
    members[4] = (struct capnweb_member){ STR("startedAt"), CAPNWEB_TEXT(copy(call, t->since)) };
    if (!t->token) {
        members[5] = (struct capnweb_member){ STR("url"), CAPNWEB_TEXT(copy(call, cloudflared_url(t->process))) };
        members[6] = (struct capnweb_member){ STR("hostname"), CAPNWEB_TEXT(hostname(call, t)) };
    } else {
        run.object.count = 5;
    }
    outer[0] = (struct capnweb_member){ STR("run"), run };
    outer[1] = (struct capnweb_member){ STR("started"), CAPNWEB_TRUTH(started) };
    return result;
}

static struct capnweb_value outcome(struct capnweb_call *call, const struct tunnel *t, bool started)
{
    return t->run_id ? run_info(call, t, started) : tunnel_info(call, t);
}

/* --- errors --- */

struct detail {
    const char *name;
    struct capnweb_value value; /* undefined: left out */
};

static void reject(struct capnweb_call *call, struct str code, struct str message, const struct detail *details,
                   size_t n)
{
    struct capnweb_value context;
    struct capnweb_member *members = rpc_object(call, n, &context);

    context.object.count = 0;
    for (size_t i = 0; members && i < n; i++)
        if (details[i].value.type != CAPNWEB_UNDEFINED)
            members[context.object.count++] =
                (struct capnweb_member){ str_from(details[i].name), details[i].value };
    rpc_reject(call, code, message, context);
}

static struct capnweb_value text_or_nothing(struct capnweb_call *call, const char *text)
{
    return text ? CAPNWEB_TEXT(copy(call, text)) : CAPNWEB_NOTHING;
}

static void reject_conflict(struct capnweb_call *call, const struct wanted *w, const struct tunnel *active)
{
    const struct detail details[] = {
        { "runId", CAPNWEB_TEXT(w->run_id) },
        { "tunnelId", CAPNWEB_TEXT(w->id) },
        { "port", CAPNWEB_NUMBER(w->port) },
        { "activeRunId", text_or_nothing(call, active->run_id) },
        { "activeTunnelId", text_or_nothing(call, active->run_id ? NULL : active->id) },
    };

    reject(call, STR("TUNNEL_RUN_CONFLICT"), STR("Another tunnel has this run id, tunnel id or port"), details,
           ARRAY_SIZE(details));
}

static void reject_of(struct capnweb_call *call, struct str code, struct str message, struct str id)
{
    const struct detail details[] = { { "tunnelId", CAPNWEB_TEXT(id) } };

    reject(call, code, message, details, ARRAY_SIZE(details));
}

static void reject_start(struct capnweb_call *call, const struct tunnel *t, int errnum, const char *reason)
{
    const struct detail details[] = {
        { "tunnelId", text_or_nothing(call, t->id) },
        { "runId", text_or_nothing(call, t->run_id) },
        { "port", CAPNWEB_NUMBER(t->port) },
        { "binary", errnum == ENOENT ? CAPNWEB_TEXT(STR("cloudflared")) : CAPNWEB_NOTHING },
    };
    char *message;

    if (errnum == ENOENT) {
        reject(call, STR("CLOUDFLARED_NOT_FOUND"),
               STR("There is no program cloudflared on the PATH of this sandbox"), details, ARRAY_SIZE(details));
        return;
    }
    message = arena_printf(call->arena, "Failed to %s: %s",
                           t->run_id  ? "start tunnel run"
                           : t->token ? "run named tunnel"
                                      : "run quick tunnel",
                           reason);
    reject(call, STR("TUNNEL_START_ERROR"), message ? str_from(message) : STR("out of memory"), details,
           ARRAY_SIZE(details));
}

/* --- the process --- */

static void on_ready(struct cloudflared *process, void *data)
{
    struct tunnel *t = data;

    (void)process;
    t->ready = true;
    format_timestamp(clock_realtime_ms(), t->since);
    while (t->starting) {
        bool started;
        struct capnweb_call *call = take_waiter(&t->starting, &started);
        capnweb_resolve(call, outcome(call, t, started));
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

static struct capnweb_value ended_result(struct capnweb_call *call, const struct tunnel *t, bool of_run)
{
    struct capnweb_value result;
    struct capnweb_member *members = rpc_object(call, 2, &result);

    if (!members)
        return result;
    if (of_run) {
        members[0] = (struct capnweb_member){ STR("stopped"), CAPNWEB_TRUTH(true) };
        result.object.count = 1;
    } else {
        members[0] = (struct capnweb_member){ STR("success"), CAPNWEB_TRUTH(true) };
        members[1] = (struct capnweb_member){ STR("id"), CAPNWEB_TEXT(copy(call, t->id)) };
    }
    return result;
}

static void on_exit_(struct cloudflared *process, int exit_code, const char *reason, void *data)
{
    struct tunnel *t = data;
    bool flag;

    (void)process;
    while (t->starting)
        reject_start(take_waiter(&t->starting, &flag), t, 0, reason ? reason : "it was stopped");
    if (t->ready)
        tell_of_exit(t, exit_code);
    while (t->ending) {
        struct capnweb_call *call = take_waiter(&t->ending, &flag);
        capnweb_resolve(call, ended_result(call, t, flag));
    }
    tunnel_free(t);
}

static void start(struct capnweb_call *call, const struct wanted *w)
{
    static const struct cloudflared_events events = { on_ready, on_exit_ };
    struct agent *agent = rpc_agent(call);
    struct tunnel *t;
    int errnum = 0;

    if (count(agent) >= TUNNELS_MAX) {
        rpc_reject(call, STR("RESOURCE_BUSY"), STR("There are too many tunnels"), CAPNWEB_NOTHING);
        return;
    }
    t = tunnel_new(agent, w);
    if (!t) {
        rpc_reject_internal(call, "out of memory");
        return;
    }
    t->process = cloudflared_start(agent, t->port, t->token, &events, t, &errnum);
    if (!t->process) {
        reject_start(call, t, errnum, strerror(errnum));
        tunnel_free(t);
        return;
    }
    (void)wait_for(&t->starting, call, true);
}

static void stop(struct tunnel *t, struct capnweb_call *call, bool of_run)
{
    if (!wait_for(&t->ending, call, of_run))
        return;
    t->stopping = true;
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
            capnweb_resolve(call, run_info(call, t, false));
        else
            (void)wait_for(&t->starting, call, false);
        return;
    }
    if (!t)
        t = find(rpc_agent(call), same_id_or_port, &w);
    if (t)
        reject_conflict(call, &w, t);
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
        reject_of(call, STR("TUNNEL_ALREADY_RUNNING"), STR("A tunnel with this id or port is running"), w->id);
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
        reject_of(call, STR("TUNNEL_NOT_FOUND"), STR("There is no tunnel with this id"), w.id);
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
