#include "daemon/edge/routes.h"

#include "base/buf.h"
#include "base/cloudflared.h"
#include "base/loop.h"
#include "daemon/daemon.h"
#include "daemon/edge/desk.h"
#include "daemon/edge/name.h"
#include "daemon/link/connector.h"

#include <stdio.h>

#define ID_LETTERS 20

/* No vowels that make words, none of i, l, o, u: what upstream's ids are made of. */
static const char id_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

struct edge {
    struct daemon *daemon;
    struct edge_base own, shown; /* what our listeners are called, and what clients are told */
    bool shown_known;
    struct hash_table by_sandbox, by_label;
};

/* --- the base URL --- */

struct base_url {
    bool https;
    struct str domain, port;
};

static bool domain_valid(struct str domain)
{
    for (size_t i = 0; i < domain.n; i++) {
        char c = domain.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';

        if (!plain || (c == '.' && (i == 0 || domain.p[i - 1] == '.')))
            return false;
    }
    /* A label of 63, a dot and the domain are a host name of at most 253. */
    return domain.n > 0 && domain.n <= 253 - 1 - EDGE_LABEL_MAX && domain.p[domain.n - 1] != '.';
}

static int parse_url(const char *url, struct base_url *ret, struct berm_error *err)
{
    struct str rest = str_from(url);
    const char *colon;
    uint64_t port;

    ret->https = str_has_prefix(rest, STR("https://"));
    if (!ret->https && !str_has_prefix(rest, STR("http://")))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "must begin with http:// or https://");
    rest = (struct str){ rest.p + (ret->https ? 8 : 7), rest.n - (ret->https ? 8 : 7) };
    if (rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    colon = rest.n ? memchr(rest.p, ':', rest.n) : NULL;
    ret->domain = (struct str){ rest.p, colon ? (size_t)(colon - rest.p) : rest.n };
    ret->port = colon ? (struct str){ colon, rest.n - ret->domain.n } : (struct str){ "", 0 };
    if (colon && (str_to_u64((struct str){ colon + 1, ret->port.n - 1 }, &port) < 0 || port == 0 || port > 65535))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "its port is not one");
    if (!domain_valid(ret->domain))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "its host must be a domain name in lower case");
    return 0;
}

int edge_base_parse(const char *url, struct edge_base *ret, struct berm_error *err)
{
    struct base_url base;

    if (parse_url(url, &base, err) < 0)
        return -1;
    *ret = (struct edge_base){ .https = base.https };
    str_copy(base.domain, ret->domain, sizeof(ret->domain));
    str_copy(base.port, ret->port, sizeof(ret->port));
    return 0;
}

struct str edge_domain(const struct edge *edge)
{
    return str_from(edge->own.domain);
}

bool edge_is_https(const struct edge *edge)
{
    return edge->own.https;
}

void edge_show_as(struct edge *edge, const struct edge_base *base)
{
    edge->shown = *base;
    edge->shown_known = true;
}

int edge_write_url(const struct edge *edge, const struct edge_route *route, struct buf *out)
{
    const struct edge_row *row = &route->row;
    const struct edge_base *base = &edge->shown;
    const char *scheme = base->https ? "https" : "http";

    if (route->foreign)
        return buf_printf(out, "https://%s." CLOUDFLARED_DOMAIN, row->secret);
    if (!edge->shown_known)
        return -1;
    if (row->kind == EDGE_PREVIEW)
        return buf_printf(out, "%s://%u-%s-%s%s.%s%s/", scheme, row->port, row->sandbox, row->secret, base->suffix,
                          base->domain, base->port);
    return buf_printf(out, "%s://%s%s.%s%s", scheme, row->secret, base->suffix, base->domain, base->port);
}

/* --- finding --- */

static bool is_tunnel(const struct edge_route *route)
{
    return route->row.kind != EDGE_PREVIEW;
}

static struct edge_route *find(struct edge *edge, struct str sandbox, uint16_t port, bool tunnel)
{
    uint64_t hash = hash_text(sandbox);

    for (struct hash_node *node = hash_chain(&edge->by_sandbox, hash); node; node = node->next) {
        struct edge_route *route = container_of(node, struct edge_route, by_sandbox);

        if (node->hash == hash && route->row.port == port && is_tunnel(route) == tunnel &&
            str_is(sandbox, route->row.sandbox))
            return route;
    }
    return NULL;
}

struct edge_route *edge_find_preview(struct edge *edge, struct str sandbox, uint16_t port)
{
    return find(edge, sandbox, port, false);
}

struct edge_route *edge_find_tunnel(struct edge *edge, struct str sandbox, uint16_t port)
{
    return find(edge, sandbox, port, true);
}

struct edge_route *edge_find_tunnel_id(struct edge *edge, struct str sandbox, struct str id)
{
    uint64_t hash = hash_text(sandbox);

    for (struct hash_node *node = hash_chain(&edge->by_sandbox, hash); node; node = node->next) {
        struct edge_route *route = container_of(node, struct edge_route, by_sandbox);

        if (node->hash == hash && is_tunnel(route) && str_is(id, route->row.id) &&
            str_is(sandbox, route->row.sandbox))
            return route;
    }
    return NULL;
}

struct edge_route *edge_find_label(struct edge *edge, struct str label)
{
    char lower[EDGE_LABEL_MAX + 1];
    uint64_t hash;

    if (label.n > EDGE_LABEL_MAX)
        return NULL;
    for (size_t i = 0; i < label.n; i++)
        lower[i] = (char)(label.p[i] >= 'A' && label.p[i] <= 'Z' ? label.p[i] + 32 : label.p[i]);
    label.p = lower;
    hash = hash_text(label);
    for (struct hash_node *node = hash_chain(&edge->by_label, hash); node; node = node->next) {
        struct edge_route *route = container_of(node, struct edge_route, by_label);

        if (node->hash == hash && str_is(label, route->row.secret))
            return route;
    }
    return NULL;
}

bool edge_expired(const struct edge_route *route)
{
    return route->row.expires_ms && clock_realtime_ms() >= route->row.expires_ms;
}

bool edge_token_matches(const struct edge_route *route, struct str token)
{
    return token.n == strlen(route->row.secret) && bytes_equal_constant_time(token.p, route->row.secret, token.n);
}

/* --- keeping --- */

static int add(struct edge *edge, const struct edge_row *row, struct edge_route **ret)
{
    struct edge_route *route = calloc(1, sizeof(*route));

    if (!route)
        return -1;
    route->row = *row;
    if (hash_insert(&edge->by_sandbox, &route->by_sandbox, hash_text(str_from(row->sandbox))) < 0) {
        free(route);
        return -1;
    }
    if (is_tunnel(route) && hash_insert(&edge->by_label, &route->by_label, hash_text(str_from(row->secret))) < 0) {
        hash_remove(&edge->by_sandbox, &route->by_sandbox);
        free(route);
        return -1;
    }
    *ret = route;
    return 0;
}

/* What waits for the end of a tunnel is told. */
static void tell_desk(struct edge *edge, const struct edge_route *route)
{
    const struct sandbox *sandbox = registry_find(&edge->daemon->registry, str_from(route->row.sandbox));

    if (sandbox)
        desk_tunnel_gone(sandbox->instance.desk, route->row.id);
}

static void drop(struct edge *edge, struct edge_route *route)
{
    hash_remove(&edge->by_sandbox, &route->by_sandbox);
    if (is_tunnel(route)) {
        hash_remove(&edge->by_label, &route->by_label);
        tell_desk(edge, route);
        if (route->foreign)
            connector_route_gone(edge->daemon->connector, route);
    }
    free(route);
}

/* Every route of a sandbox, with how many there are. `out` may be NULL. */
static size_t collect(struct edge *edge, struct str sandbox, struct edge_route **out, size_t room)
{
    uint64_t hash = hash_text(sandbox);
    size_t count = 0;

    for (struct hash_node *node = hash_chain(&edge->by_sandbox, hash); node; node = node->next) {
        struct edge_route *route = container_of(node, struct edge_route, by_sandbox);

        if (node->hash != hash || !str_is(sandbox, route->row.sandbox))
            continue;
        if (out && count < room)
            out[count] = route;
        count++;
    }
    return count;
}

void edge_forget_sandbox(struct edge *edge, struct str sandbox)
{
    struct edge_route *all[EDGE_ROUTES_MAX];
    size_t count = collect(edge, sandbox, all, ARRAY_SIZE(all));

    for (size_t i = 0; i < count && i < ARRAY_SIZE(all); i++)
        drop(edge, all[i]);
}

int edge_remove(struct edge *edge, struct edge_route *route, struct berm_error *err)
{
    if (!route->foreign && store_delete_edge(edge->daemon->store, &route->row, err) < 0)
        return -1;
    drop(edge, route);
    return 0;
}

static int by_kind_and_port(const void *a, const void *b)
{
    const struct edge_route *x = *(struct edge_route *const *)a, *y = *(struct edge_route *const *)b;

    if (is_tunnel(x) != is_tunnel(y))
        return is_tunnel(x) - is_tunnel(y);
    return (int)x->row.port - (int)y->row.port;
}

void edge_each(struct edge *edge, struct str sandbox,
               void (*each)(struct edge *edge, const struct edge_route *route, void *data), void *data)
{
    struct edge_route *all[EDGE_ROUTES_MAX];
    size_t count = MIN(collect(edge, sandbox, all, ARRAY_SIZE(all)), ARRAY_SIZE(all));

    qsort(all, count, sizeof(all[0]), by_kind_and_port);
    for (size_t i = 0; i < count; i++)
        if (!edge_expired(all[i]))
            each(edge, all[i], data);
}

/* --- making --- */

/* The tail of 256 is cut, so that every letter is as likely as the others. */
static void random_text(char *out, size_t n, const char *alphabet)
{
    size_t count = strlen(alphabet), even = 256 / count * count;

    for (size_t i = 0; i < n;) {
        uint8_t byte;

        random_bytes(&byte, 1);
        if (byte < even)
            out[i++] = alphabet[byte % count];
    }
    out[n] = '\0';
}

/* Whether clients can be told a name that begins with a label of that length. */
static int check_name(const struct edge *edge, size_t length, struct berm_error *err)
{
    size_t most = EDGE_LABEL_MAX - strlen(edge->shown.suffix);

    if (!edge->shown_known)
        return berm_fail(err, BERM_E_LINK_DOWN, 0, "the edge %s has not told yet what this daemon is called there",
                         edge->daemon->config.edge_link);
    if (length <= most)
        return 0;
    return berm_fail(err, BERM_E_INVALID_REQUEST, 0,
                     "the name does not fit into one label of a host name: %zu characters%s%s, of at most %d",
                     length, edge->shown.suffix[0] ? " and " : "", edge->shown.suffix, EDGE_LABEL_MAX);
}

static int check_room(struct edge *edge, struct str sandbox, struct berm_error *err)
{
    if (collect(edge, sandbox, NULL, 0) < EDGE_ROUTES_MAX)
        return 0;
    return berm_fail(err, BERM_E_CONFLICT, 0, "a sandbox has at most %d exposed ports and tunnels",
                     EDGE_ROUTES_MAX);
}

static int check_token(struct edge *edge, const struct edge_wish *wish, const char *token, struct berm_error *err)
{
    struct edge_route *all[EDGE_ROUTES_MAX];
    size_t count = MIN(collect(edge, wish->sandbox, all, ARRAY_SIZE(all)), ARRAY_SIZE(all));

    for (size_t i = 0; i < count; i++)
        if (!is_tunnel(all[i]) && all[i]->row.port != wish->port && !strcmp(all[i]->row.secret, token))
            return berm_fail(err, BERM_E_CONFLICT, 0, "Token '%s' is already in use by port %u. Choose another one",
                             token, all[i]->row.port);
    if (check_name(edge, edge_preview_length(wish->port, wish->sandbox, str_from(token)), err) < 0)
        return berm_error_wrap(err, "port, sandbox id and token do not fit");
    return 0;
}

/* Stores the row and puts it in the place of `old` (may be NULL). */
static int keep(struct edge *edge, struct edge_route *old, const struct edge_row *row, struct edge_route **ret,
                struct berm_error *err)
{
    if (store_put_edge(edge->daemon->store, row, err) < 0)
        return -1;
    if (old && !is_tunnel(old)) {
        old->row = *row;
        *ret = old;
        return 0;
    }
    if (old)
        drop(edge, old);
    return add(edge, row, ret) < 0 ? berm_fail(err, BERM_E_SYSTEM, ENOMEM, "out of memory") : 0;
}

static void fill(struct edge_row *row, const struct edge_wish *wish, enum edge_kind kind)
{
    *row = (struct edge_row){ .kind = kind,
                              .port = wish->port,
                              .generation = wish->generation,
                              .created_ms = clock_realtime_ms(),
                              .expires_ms = wish->expires_ms };
    snprintf(row->sandbox, sizeof(row->sandbox), "%.*s", (int)wish->sandbox.n, wish->sandbox.p);
    snprintf(row->name, sizeof(row->name), "%s", wish->name ? wish->name : "");
}

int edge_expose(struct edge *edge, const struct edge_wish *wish, struct edge_route **ret, struct berm_error *err)
{
    struct edge_route *old = edge_find_preview(edge, wish->sandbox, wish->port);
    struct edge_row row;

    fill(&row, wish, EDGE_PREVIEW);
    if (wish->token)
        snprintf(row.secret, sizeof(row.secret), "%s", wish->token);
    else if (old && !edge_expired(old))
        memcpy(row.secret, old->row.secret, sizeof(row.secret));
    else
        random_text(row.secret, EDGE_TOKEN_MAX, letters);
    if ((!old && check_room(edge, wish->sandbox, err) < 0) || check_token(edge, wish, row.secret, err) < 0)
        return -1;
    return keep(edge, old, &row, ret, err);
}

/* A label of 26: a letter and 25 times 5.17 bits. */
static void random_label(struct edge *edge, char *out)
{
    do {
        random_text(out, 1, "abcdefghijklmnopqrstuvwxyz");
        random_text(out + 1, 25, letters);
    } while (edge_find_label(edge, str_from(out)));
}

/* 0: `old` is what is wanted. 1: it belongs to a run that is over and is to be replaced. */
static int check_old(const struct edge_route *old, const struct edge_wish *wish, struct berm_error *err)
{
    if (old->row.kind == EDGE_QUICK && old->row.generation != wish->generation)
        return 1;
    if (strcmp(old->row.name, wish->name ? wish->name : "") != 0)
        return berm_fail(err, BERM_E_CONFLICT, 0,
                         "Tunnel on port %u was created with different options. Destroy it before changing them",
                         wish->port);
    if (wish->id && strcmp(old->row.id, wish->id) != 0)
        return berm_fail(err, BERM_E_CONFLICT, 0, "another tunnel, %s, has port %u", old->row.id, wish->port);
    return 0;
}

/* An id is one tunnel's of a sandbox, and of one port's. */
static int choose_id(struct edge *edge, const struct edge_wish *wish, struct edge_row *row, struct berm_error *err)
{
    const struct edge_route *other = wish->id ? edge_find_tunnel_id(edge, wish->sandbox, str_from(wish->id)) : NULL;

    if (other && other->row.port != wish->port && other->row.generation == wish->generation)
        return berm_fail(err, BERM_E_CONFLICT, 0, "the tunnel %s is that of port %u", wish->id, other->row.port);
    if (wish->id) {
        snprintf(row->id, sizeof(row->id), "%s", wish->id);
    } else {
        memcpy(row->id, wish->name ? "named-" : "quick-", 6);
        random_text(row->id + 6, ID_LETTERS, id_alphabet);
    }
    return 0;
}

int edge_prepare_tunnel(struct edge *edge, const struct edge_wish *wish, struct edge_row *ret_row,
                        struct edge_route **ret, struct berm_error *err)
{
    struct edge_route *old = edge_find_tunnel(edge, wish->sandbox, wish->port);
    int rc = old ? check_old(old, wish, err) : 1;

    *ret = old;
    if (rc <= 0)
        return rc;
    if (!strcmp(edge->daemon->config.edge_tunnels, "off"))
        return berm_fail(err, BERM_E_FORBIDDEN, 0, "the operator has turned tunnels off");
    fill(ret_row, wish, wish->name ? EDGE_NAMED : EDGE_QUICK);
    if (choose_id(edge, wish, ret_row, err) < 0 || (!old && check_room(edge, wish->sandbox, err) < 0))
        return -1;
    return 1;
}

int edge_open_tunnel(struct edge *edge, const struct edge_wish *wish, struct edge_route **ret,
                     struct berm_error *err)
{
    struct edge_row row;
    int rc = edge_prepare_tunnel(edge, wish, &row, ret, err);

    if (rc <= 0)
        return rc;
    if (!wish->name) {
        random_label(edge, row.secret);
    } else {
        snprintf(row.secret, sizeof(row.secret), "%s", wish->name);
        if (edge_find_label(edge, str_from(row.secret)))
            return berm_fail(err, BERM_E_CONFLICT, 0, "the name '%s' is taken by another tunnel", wish->name);
    }
    if (check_name(edge, strlen(row.secret), err) < 0)
        return -1;
    return keep(edge, *ret, &row, ret, err);
}

/* What was there before is of a run that is over. */
int edge_add_foreign(struct edge *edge, const struct edge_row *row, struct edge_route **ret, struct berm_error *err)
{
    struct edge_route *old = edge_find_tunnel(edge, str_from(row->sandbox), row->port);

    if (edge_find_label(edge, str_from(row->secret)))
        return berm_fail(err, BERM_E_CONFLICT, 0, "the name '%s' is taken by another tunnel", row->secret);
    if (old && edge_remove(edge, old, err) < 0)
        return -1;
    if (add(edge, row, ret) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "out of memory");
    (*ret)->foreign = true;
    return 0;
}

/* --- start and end --- */

static int load(const struct edge_row *row, void *data)
{
    struct edge_route *route;

    return add(data, row, &route);
}

struct edge *edge_new(struct daemon *daemon, const char *url, struct berm_error *err)
{
    struct edge *edge = calloc(1, sizeof(*edge));

    if (!edge) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "out of memory");
        return NULL;
    }
    edge->daemon = daemon;
    if (edge_base_parse(url, &edge->own, err) == 0) {
        edge->shown = edge->own;
        edge->shown_known = daemon->config.edge_link == NULL;
        if (store_each_edge(daemon->store, load, edge, err) == 0)
            return edge;
    }
    edge_free(edge);
    return NULL;
}

void edge_free(struct edge *edge)
{
    if (!edge)
        return;
    for (size_t i = 0; i < edge->by_sandbox.bucket_count; i++) {
        struct hash_node *node = edge->by_sandbox.buckets[i];

        while (node) {
            struct edge_route *route = container_of(node, struct edge_route, by_sandbox);

            node = node->next;
            free(route);
        }
    }
    hash_free(&edge->by_sandbox);
    hash_free(&edge->by_label);
    free(edge);
}
