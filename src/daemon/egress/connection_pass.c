/* connection_pass.c - the bytes of a connection that was let through. */
#include "daemon/egress/connection.h"
#include "daemon/egress/request_fields.h"

static void on_passed(void *data)
{
    connection_release(data);
}

/* --- requests --- */

/* What of a request the policy has decided about, as text. */
static int describe(struct buf *out, struct str method, struct str path,
                    const struct egress_credential *const *credentials, size_t count)
{
    int rc = buf_append_str(out, method) | buf_append_str(out, STR(" ")) | buf_append_str(out, path);

    for (size_t i = 0; i < count; i++)
        rc |= buf_append_str(out, STR("\n")) | buf_append_str(out, credentials[i]->header) |
              buf_append_str(out, STR(" ")) | buf_append_str(out, credentials[i]->secret);
    return rc;
}

static const char *write_head(struct connection *c, const struct egress_rule *rule, struct h1_head *head,
                              struct str raw, struct buf *out)
{
    const struct egress_credential *credentials[POLICY_CREDENTIALS_MAX];
    size_t count = egress_find_credentials(rule, head->method, head->path, c->intercepted, credentials);
    const char *problem = request_fields_check(rule, head);
    bool upgrades = request_fields_upgrade(head);

    if (problem)
        return problem;
    buf_clear(&c->request);
    if (describe(&c->request, head->method, head->path, credentials, count) < 0)
        return "out of resources";
    if (count > 0 || !upgrades)
        problem = credentials_write(head, credentials, count, &c->egress->service->secrets, &c->guard, out);
    else if (buf_append_str(out, raw) < 0)
        problem = "out of resources";
    if (!upgrades)
        head->upgrade = (struct str){ 0 };
    if (count > 0 && !problem) {
        c->egress->counters.credentialed_requests++;
        c->egress->service->totals.credentialed++;
    }
    return problem;
}

static struct str str_until(struct str s, char end)
{
    const char *at = s.n ? memchr(s.p, end, s.n) : NULL;

    return (struct str){ s.p, at ? (size_t)(at - s.p) : s.n };
}

/* Asked for every request, by the policy that holds now. */
static const char *on_request(void *data, struct h1_head *head, struct str raw, struct buf *out)
{
    struct connection *c = data;
    const struct egress_policy *policy = c->egress->policy;
    const struct egress_rule *rule;
    char storage[HOST_NAME_MAX_BYTES + 1];
    struct str name = str_until(head->host, ':');
    const char *reason = NULL;

    if (host_name_normalize(name, storage, &name) < 0)
        reason = "no host name told";
    else if (!str_eq(name, c->name))
        reason = "another host on the same connection";
    else if (egress_check_name(policy, name, c->port, &rule, &reason) == EGRESS_ALLOW &&
             egress_check_request(rule, head->method, head->path, &reason) == EGRESS_ALLOW)
        reason = write_head(c, rule, head, raw, out);
    if (reason)
        connection_count_denial(c, "request", reason);
    return reason;
}

/* The interceptor judges for itself. */
static const char *on_taken_request(void *data, struct h1_head *head, struct str raw, struct buf *out)
{
    (void)data;
    (void)head;
    return buf_append_str(out, raw) < 0 ? "out of resources" : NULL;
}

static void on_leak(void *data)
{
    connection_count_denial(data, "request", "the server sent a credential back");
}

const char *connection_check_request(const struct connection *c)
{
    const struct egress_credential *credentials[POLICY_CREDENTIALS_MAX];
    struct str rest = buf_str(&c->request), method, path;
    const struct egress_rule *rule;
    const char *reason = NULL;
    struct buf now;
    size_t count;

    if (c->taken || !c->gate || !http_gate_is_busy(c->gate))
        return NULL;
    method = str_until(rest, ' ');
    path = str_until((struct str){ rest.p + method.n + 1, rest.n - method.n - 1 }, '\n');
    if (egress_check_name(c->egress->policy, c->name, c->port, &rule, &reason) == EGRESS_DENY ||
        egress_check_request(rule, method, path, &reason) == EGRESS_DENY)
        return reason;
    count = egress_find_credentials(rule, method, path, c->intercepted, credentials);
    buf_init(&now, c->request.max);
    if (describe(&now, method, path, credentials, count) < 0 || !str_eq(buf_str(&now), rest))
        reason = "the request would get other credentials now";
    buf_free(&now);
    return reason;
}

/* --- passing --- */

/* Whether the policy has let it through by its name. (Its name may have been read for the interceptor only.) */
static bool asks_names(const struct connection *c)
{
    const char *reason;

    return egress_check_address(c->egress->policy, &c->ip, c->port, &reason) == EGRESS_ASK_NAME;
}

static bool by_request(const struct connection *c)
{
    return c->intercepted || (c->content == CONTENT_HTTP && c->name.n > 0 && !c->taken && asks_names(c));
}

void connection_pass(struct connection *c)
{
    const struct http_gate_events events = { c->taken ? on_taken_request : on_request, on_leak, on_passed,
                                             &c->guard, c };
    struct loop *loop = c->egress->service->loop;

    loop_timer_stop(loop, &c->deadline);
    loop_io_remove(loop, &c->client.io);
    loop_io_remove(loop, &c->server.io);
    c->stage = PASSING;
    c->moved_at_ms = loop_now_ms(loop);
    if (by_request(c))
        c->gate = http_gate_start(loop, &c->client, &c->server, buf_str(&c->head), &events);
    else
        c->relay = relay_start(loop, c->client.io.fd, c->server.io.fd, buf_str(&c->head), on_passed, c);
    buf_free(&c->head);
    if (!c->gate && !c->relay)
        connection_fail(c);
}
