/* connector_tunnels.c - quick tunnels by a cloudflared each. */
#include "daemon/link/connector_internal.h"

#include "base/log.h"

#define STARTING_MAX 4 /* of a sandbox: who asks in a loop waits for himself */

static struct quick *find_run(struct connector *connector, uint32_t run)
{
    for (struct list *node = connector->quicks.next; node != &connector->quicks; node = node->next) {
        struct quick *quick = container_of(node, struct quick, node);

        if (quick->run == run)
            return quick;
    }
    return NULL;
}

/* Of those that are not there yet. */
static struct quick *find_starting(struct connector *connector, struct str sandbox, uint16_t port)
{
    for (struct list *node = connector->quicks.next; node != &connector->quicks; node = node->next) {
        struct quick *quick = container_of(node, struct quick, node);

        if (!quick->stopping && !quick->route && quick->row.port == port && str_is(sandbox, quick->row.sandbox))
            return quick;
    }
    return NULL;
}

static unsigned count_starting(const struct connector *connector, struct str sandbox)
{
    unsigned n = 0;

    for (const struct list *node = connector->quicks.next; node != &connector->quicks; node = node->next) {
        const struct quick *quick = container_of(node, const struct quick, node);

        n += !quick->route && str_is(sandbox, quick->row.sandbox); /* also one that is being stopped */
    }
    return n;
}

/* --- ends --- */

static void answer_all(struct quick *quick, const struct edge_route *route, const struct berm_error *err)
{
    while (!list_empty(&quick->waits)) {
        struct tunnel_wait *wait = container_of(quick->waits.next, struct tunnel_wait, node);

        list_remove(&wait->node);
        wait->done(wait, route, err);
    }
}

/* The process goes on until berm-connector says that it has ended. */
static void stop(struct quick *quick, const char *why)
{
    struct berm_error err;

    if (quick->stopping)
        return;
    quick->stopping = true;
    quick->route = NULL;
    connector_stop_run(quick->connector, quick->run);
    berm_fail(&err, BERM_E_TUNNEL_ERROR, 0, "%s", why);
    answer_all(quick, NULL, &err);
}

static void drop(struct quick *quick, const struct berm_error *err)
{
    struct edge_route *route = TAKE_PTR(quick->route);
    struct edge *edge = quick->connector->daemon->edge;
    struct berm_error ignored;

    quick->stopping = true;
    if (route)
        (void)edge_remove(edge, route, &ignored); /* of no store: it cannot fail */
    answer_all(quick, NULL, err);
    list_remove(&quick->node);
    quick->connector->quick_count--;
    free(quick);
}

bool quick_ended(struct connector *connector, uint32_t run, enum connector_reason reason, int code)
{
    struct quick *quick = find_run(connector, run);
    struct berm_error err;

    if (!quick)
        return false;
    if (!quick->stopping) {
        connector_failed(connector, reason, code);
        log_warn("tunnel.ended", "sandbox", quick->row.sandbox, "tunnel", quick->row.id, "reason",
                 connector->error);
    }
    berm_fail(&err, BERM_E_TUNNEL_ERROR, 0, "%s", connector->error);
    if (reason == CONNECTOR_NOT_FOUND)
        err.errnum = ENOENT;
    drop(quick, &err);
    return true;
}

void quick_end_all(struct connector *connector)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_TUNNEL_ERROR, 0, "berm-connector has ended");
    while (!list_empty(&connector->quicks))
        drop(container_of(connector->quicks.next, struct quick, node), &err);
}

void connector_route_gone(struct connector *connector, const struct edge_route *route)
{
    for (struct list *node = connector ? connector->quicks.next : NULL; node && node != &connector->quicks;
         node = node->next) {
        struct quick *quick = container_of(node, struct quick, node);

        if (quick->route == route) {
            stop(quick, "it was destroyed");
            return;
        }
    }
}

void connector_cancel_tunnel(struct connector *connector, struct str sandbox, uint16_t port)
{
    struct quick *quick = connector ? find_starting(connector, sandbox, port) : NULL;

    if (quick)
        stop(quick, "it was destroyed before it was there");
}

void connector_end_tunnels(struct connector *connector, struct str sandbox)
{
    struct berm_error ignored;

    for (struct list *node = connector ? connector->quicks.next : NULL; node && node != &connector->quicks;
         node = node->next) {
        struct quick *quick = container_of(node, struct quick, node);

        if (quick->stopping || !str_is(sandbox, quick->row.sandbox))
            continue;
        if (quick->route) /* comes back to us */
            (void)edge_remove(connector->daemon->edge, quick->route, &ignored);
        else
            stop(quick, "the sandbox has ended");
    }
}

/* --- beginnings --- */

bool quick_ready(struct connector *connector, uint32_t run, const char *label)
{
    struct quick *quick = find_run(connector, run);
    struct berm_error err;

    if (!quick || quick->route)
        return false;
    if (quick->stopping)
        return true;
    snprintf(quick->row.secret, sizeof(quick->row.secret), "%s", label);
    if (edge_add_foreign(connector->daemon->edge, &quick->row, &quick->route, &err) < 0) {
        log_error("tunnel.refused", "sandbox", quick->row.sandbox, "reason", err.message);
        stop(quick, err.message);
        return true;
    }
    connector->links_total++;
    connector->error[0] = '\0';
    connector->pause_ms = 0;
    log_info("tunnel.up", "sandbox", quick->row.sandbox, "tunnel", quick->row.id);
    answer_all(quick, quick->route, NULL);
    return true;
}

static int check_start(struct connector *connector, struct str sandbox, struct berm_error *err)
{
    uint64_t now = loop_now_ms(connector->daemon->loop);

    if (!connector_alive(connector))
        return berm_fail(err, BERM_E_TUNNEL_ERROR, 0, "berm-connector has ended");
    if (now < connector->next_try_ms) {
        berm_fail(err, BERM_E_TUNNEL_ERROR, 0, "%s; try again in %llu s", connector->error,
                  (unsigned long long)(connector->next_try_ms - now + 999) / 1000);
        if (connector->missing)
            err->errnum = ENOENT;
        return -1;
    }
    if (connector->quick_count >= CONNECTOR_RUNS_MAX || count_starting(connector, sandbox) >= STARTING_MAX)
        return berm_fail(err, BERM_E_TUNNEL_ERROR, 0, "too many tunnels through Cloudflare");
    return 0;
}

static struct quick *start_quick(struct connector *connector, const struct edge_row *row, struct berm_error *err)
{
    struct quick *quick;

    if (check_start(connector, str_from(row->sandbox), err) < 0)
        return NULL;
    quick = calloc(1, sizeof(*quick));
    if (!quick) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "out of memory");
        return NULL;
    }
    quick->connector = connector;
    quick->row = *row;
    list_init(&quick->waits);
    quick->run = connector_start_run(connector, NULL);
    if (!quick->run) {
        berm_fail(err, BERM_E_TUNNEL_ERROR, 0, "berm-connector has ended");
        free(quick);
        return NULL;
    }
    list_append(&connector->quicks, &quick->node);
    connector->quick_count++;
    return quick;
}

/* One that is starting is joined, if it is what is wanted. */
static int check_starting(const struct quick *quick, const struct edge_wish *wish, struct berm_error *err)
{
    if (!wish->id || !strcmp(quick->row.id, wish->id))
        return 0;
    return berm_fail(err, BERM_E_CONFLICT, 0, "another tunnel, %s, has port %u", quick->row.id, wish->port);
}

static int open_quick(struct connector *connector, struct edge *edge, const struct edge_wish *wish,
                      struct tunnel_wait *wait, struct edge_route **ret, struct berm_error *err)
{
    struct quick *quick = find_starting(connector, wish->sandbox, wish->port);
    struct edge_row row;
    int rc;

    if (quick && check_starting(quick, wish, err) < 0)
        return -1;
    if (!quick) {
        rc = edge_prepare_tunnel(edge, wish, &row, ret, err);
        if (rc <= 0)
            return rc;
        quick = start_quick(connector, &row, err);
    }
    if (!quick)
        return -1;
    list_append(&quick->waits, &wait->node);
    return 1;
}

int connector_open_tunnel(struct connector *connector, struct edge *edge, const struct edge_wish *wish,
                          struct tunnel_wait *wait, struct edge_route **ret, struct berm_error *err)
{
    if (connector && !connector->token) {
        if (!wish->name)
            return open_quick(connector, edge, wish, wait, ret, err);
        return berm_fail(err, BERM_E_TUNNEL_ERROR, 0, "named tunnels need edge.cloudflared_token");
    }
    if (connector && !connector->main_ready && !edge_find_tunnel(edge, wish->sandbox, wish->port))
        return berm_fail(err, BERM_E_LINK_DOWN, 0, "cloudflared is not connected%s%s",
                         connector->error[0] ? ": " : "", connector->error);
    return edge_open_tunnel(edge, wish, ret, err);
}
