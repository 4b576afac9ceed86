/*
 * watch_check.c - POST /api/watch/check: has anything changed since a version?
 *
 * What the kernel has told by now counts, read or not: a client that writes a file and then asks must hear of it.
 */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "watch_request.h"

struct watch_check {
    struct watch_user user;
    struct request *rq;
    const char *path;
    const struct json *since; /* NULL: not given */
    struct str since_id;
    uint64_t since_count;
    bool created;
    struct notify_client reading; /* joined while events that had happened before are still unread */
    uint64_t until;
};

static struct notify *notify_of(struct watch_check *check)
{
    return &check->rq->agent->watches.notify;
}

static void finish(struct watch_check *check)
{
    notify_leave(notify_of(check), &check->reading);
    watch_leave(&check->user);
    request_unhold(check->rq);
    free(check);
}

/* --- since --- */

static bool take_digits(struct str *rest)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    *rest = (struct str){ rest->p + n, rest->n - n };
    return n > 0;
}

static bool take_text(struct str *rest, struct str text)
{
    if (!str_has_prefix(*rest, text))
        return false;
    *rest = (struct str){ rest->p + text.n, rest->n - text.n };
    return true;
}

/* "watch-<digits>-<digits>:<digits>" */
static bool parse_version(struct str text, struct str *ret_id, uint64_t *ret_count)
{
    struct str rest = text;

    if (!take_text(&rest, STR("watch-")) || !take_digits(&rest) || !take_text(&rest, STR("-")) ||
        !take_digits(&rest))
        return false;
    *ret_id = (struct str){ text.p, text.n - rest.n };
    return take_text(&rest, STR(":")) && str_to_u64(rest, ret_count) == 0;
}

static bool decode_since(struct watch_check *check)
{
    const struct json *since = json_get(check->rq->body, "since");
    struct context_item context[] = { CTX_JSON("since", since) };

    if (!since || since->type == JSON_NULL)
        return true;
    check->since = since;
    if (since->type == JSON_STRING && parse_version(since->string, &check->since_id, &check->since_count))
        return true;
    reply_error(check->rq, AGENT_E_VALIDATION_FAILED, context, 1,
                "since must be a version that watch/check has answered");
    return false;
}

/* --- the answer --- */

static const char *version(struct watch_check *check)
{
    const struct watch *watch = check->user.watch;

    return arena_printf(&check->rq->arena, "%s:%llu", watch_id(watch),
                        (unsigned long long)watch_event_count(watch));
}

static void reply_status(struct watch_check *check, const char *status, const char *reason)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "status", status);
    if (reason)
        json_pair_cstring(&reply.w, "reason", reason);
    json_pair_cstring(&reply.w, "version", version(check));
    reply_send(check->rq, &reply);
}

static void reply_from_the_future(struct watch_check *check)
{
    struct context_item context[] = { CTX_JSON("since", check->since), CTX_STR("currentVersion", version(check)) };

    reply_error(check->rq, AGENT_E_VALIDATION_FAILED, context, 2, "since is newer than the watch itself");
}

static void answer(struct watch_check *check)
{
    const struct watch *watch = check->user.watch;
    uint64_t count = watch_event_count(watch);

    if (!check->since)
        reply_status(check, "unchanged", NULL);
    else if (!str_is(check->since_id, watch_id(watch)))
        reply_status(check, "resync", check->created ? "expired" : "restarted");
    else if (check->since_count > count)
        reply_from_the_future(check);
    else
        reply_status(check, check->since_count == count ? "unchanged" : "changed", NULL);
}

static void on_ready(struct watch_user *user)
{
    struct watch_check *check = container_of(user, struct watch_check, user);

    watch_retain(user->watch);
    answer(check);
    finish(check);
}

static void on_progress(struct notify_client *client)
{
    struct watch_check *check = container_of(client, struct watch_check, reading);

    if (notify_position(notify_of(check)) >= check->until)
        on_ready(&check->user);
}

static void on_overflow(struct notify_client *client)
{
    (void)client; /* the watch has heard of it, too */
}

/* 0, or -1 with errno. */
static int answer_when_read(struct watch_check *check)
{
    struct notify *notify = notify_of(check);

    check->until = notify_end(notify);
    if (notify_position(notify) >= check->until) {
        on_ready(&check->user);
        return 0;
    }
    check->reading = (struct notify_client){ .on_overflow = on_overflow, .on_progress = on_progress };
    return notify_join(notify, &check->reading);
}

static void on_event(struct watch_user *user, enum watch_kind kind, struct str path, bool directory)
{
    (void)user, (void)kind, (void)path, (void)directory;
}

static void on_lost(struct watch_user *user)
{
    (void)user;
}

static void on_end(struct watch_user *user, const char *reason, bool failed)
{
    struct watch_check *check = container_of(user, struct watch_check, user);

    (void)failed;
    watch_request_failed(check->rq, check->path, reason);
    finish(check);
}

void handle_watch_check(struct request *rq)
{
    struct watch_check *check = calloc(1, sizeof(*check));
    struct watch_spec spec;
    struct berm_error err;

    if (!check) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    check->rq = request_hold(rq);
    check->user =
        (struct watch_user){ .on_ready = on_ready, .on_event = on_event, .on_lost = on_lost, .on_end = on_end };
    if (!watch_request_decode(rq, &spec) || !decode_since(check)) {
        finish(check);
        return;
    }
    check->path = spec.path;
    if (watch_join(rq->agent, &spec, &check->user, &check->created, &err) < 0) {
        watch_request_failed(rq, spec.path, err.message);
        finish(check);
        return;
    }
    if (watch_is_ready(check->user.watch) && answer_when_read(check) < 0) {
        watch_request_failed(rq, spec.path, strerror(errno));
        finish(check);
    }
}
