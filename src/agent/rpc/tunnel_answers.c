/* tunnel_answers.c - results and errors of the tunnels' methods. */
#include "base/sys.h"
#include "cloudflared.h"
#include "desk_tunnel.h"
#include "tunnel.h"

/* --- results --- */

static struct str copy(struct capnweb_call *call, const char *text)
{
    char *duplicate = arena_strdup(call->arena, str_from(text));

    return duplicate ? str_from(duplicate) : STR("");
}

/* "" of a named tunnel. */
static const char *url_of(const struct tunnel *t)
{
    return t->desk ? desk_tunnel_url(t->desk) : cloudflared_url(t->process);
}

static struct str hostname(struct capnweb_call *call, const struct tunnel *t)
{
    const char *scheme = strstr(url_of(t), "://"), *host = scheme ? scheme + 3 : "";
    char *name = arena_strdup(call->arena, (struct str){ host, strcspn(host, ":/") });

    return name ? str_from(name) : STR("");
}

/* Of the legacy methods. */
struct capnweb_value tunnel_info(struct capnweb_call *call, const struct tunnel *t)
{
    struct capnweb_value info;
    struct capnweb_member *members = rpc_object(call, 5, &info);

    if (!members)
        return info;
    members[0] = (struct capnweb_member){ STR("id"), CAPNWEB_TEXT(copy(call, t->id)) };
    members[1] = (struct capnweb_member){ STR("port"), CAPNWEB_NUMBER(t->port) };
    members[2] = (struct capnweb_member){ STR("url"), CAPNWEB_TEXT(copy(call, url_of(t))) };
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
        members[5] = (struct capnweb_member){ STR("url"), CAPNWEB_TEXT(copy(call, url_of(t))) };
        members[6] = (struct capnweb_member){ STR("hostname"), CAPNWEB_TEXT(hostname(call, t)) };
    } else {
        run.object.count = 5;
    }
    outer[0] = (struct capnweb_member){ STR("run"), run };
    outer[1] = (struct capnweb_member){ STR("started"), CAPNWEB_TRUTH(started) };
    return result;
}

struct capnweb_value tunnel_outcome(struct capnweb_call *call, const struct tunnel *t, bool started)
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

void tunnel_reject_conflict(struct capnweb_call *call, const struct wanted *w, const struct tunnel *active)
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

void tunnel_reject_of(struct capnweb_call *call, struct str code, struct str message, struct str id)
{
    const struct detail details[] = { { "tunnelId", CAPNWEB_TEXT(id) } };

    reject(call, code, message, details, ARRAY_SIZE(details));
}

static void reject_missing(struct capnweb_call *call, const struct tunnel *t)
{
    const struct detail details[] = {
        { "tunnelId", text_or_nothing(call, t->id) },
        { "runId", text_or_nothing(call, t->run_id) },
        { "port", CAPNWEB_NUMBER(t->port) },
        { "binary", CAPNWEB_TEXT(STR("cloudflared")) },
    };

    reject(call, STR("CLOUDFLARED_NOT_FOUND"),
           t->desk ? STR("There is no program cloudflared on the machine of this sandbox's daemon")
                   : STR("There is no program cloudflared on the PATH of this sandbox"),
           details, ARRAY_SIZE(details));
}

void tunnel_reject_start(struct capnweb_call *call, const struct tunnel *t, const struct tunnel_failure *why)
{
    const struct detail details[] = {
        { "tunnelId", text_or_nothing(call, t->id) },
        { "runId", text_or_nothing(call, t->run_id) },
        { "port", CAPNWEB_NUMBER(t->port) },
    };
    const char *what = t->run_id ? "start tunnel run" : t->token ? "run named tunnel" : "run quick tunnel";
    char *message;

    if (why->errnum == ENOENT) {
        reject_missing(call, t);
        return;
    }
    message = arena_printf(call->arena, "Failed to %s: %s", what, why->reason);
    reject(call, why->conflict ? STR("TUNNEL_RUN_CONFLICT") : STR("TUNNEL_START_ERROR"),
           message ? str_from(message) : STR("out of memory"), details, ARRAY_SIZE(details));
}

/* --- the end --- */

struct capnweb_value tunnel_ended(struct capnweb_call *call, const struct tunnel *t, bool of_run)
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
