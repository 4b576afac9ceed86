#include "daemon/sender.h"

#define HOPS_MAX 32 /* more are no chain of proxies */

/* What one proxy said: borrowed from the head. */
struct hop {
    struct str from, proto;
};

struct hops {
    struct hop items[HOPS_MAX];
    size_t count;
    bool bad;
};

int trusted_proxies_parse(const struct config *config, struct trusted_proxies *ret, struct berm_error *err)
{
    const struct config_list *list = &config->trusted_proxies;

    *ret = (struct trusted_proxies){ .forwarded = !strcmp(config->proxy_header, "forwarded") };
    for (size_t i = 0; i < list->count; i++)
        if (cidr_parse(str_from(list->items[i]), &ret->ranges[ret->count++]) < 0)
            return berm_fail_field(err, "trusted_proxies", "server.trusted_proxies: \"%s\" is no address or range",
                                   list->items[i]);
    return 0;
}

static bool is_trusted(const struct trusted_proxies *trusted, const struct ip *ip)
{
    for (size_t i = 0; i < trusted->count; i++)
        if (cidr_contains(&trusted->ranges[i], ip))
            return true;
    return false;
}

static bool is_loopback(const struct ip *ip)
{
    const char *special = ip_special(ip);

    return special && !strcmp(special, "loopback");
}

/* "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711". -1: none of them. */
static int parse_node(struct str text, struct ip *ret)
{
    const char *first = text.n ? memchr(text.p, ':', text.n) : NULL;
    const char *end = text.n ? memchr(text.p, ']', text.n) : NULL;

    if (text.n && text.p[0] == '[') {
        if (!end || (end + 1 < text.p + text.n && end[1] != ':'))
            return -1;
        text = (struct str){ text.p + 1, (size_t)(end - text.p) - 1 };
    } else if (first && !memchr(first + 1, ':', text.n - (size_t)(first + 1 - text.p))) {
        text.n = (size_t)(first - text.p);
    }
    return ip_parse(text, ret);
}

/* --- the two forms --- */

static struct hop *add_hop(struct hops *hops)
{
    if (hops->count == HOPS_MAX) {
        hops->bad = true;
        return NULL;
    }
    hops->items[hops->count] = (struct hop){ 0 };
    return &hops->items[hops->count++];
}

/* Up to the next `separator` outside of quotes, which is taken too. */
static struct str take_part(struct str *rest, char separator)
{
    struct str part = { rest->p, 0 };
    bool quoted = false;

    while (part.n < rest->n && (quoted || rest->p[part.n] != separator)) {
        if (quoted && rest->p[part.n] == '\\' && part.n + 1 < rest->n)
            part.n++;
        else if (rest->p[part.n] == '"')
            quoted = !quoted;
        part.n++;
    }
    rest->p += part.n;
    rest->n -= part.n;
    if (rest->n) {
        rest->p++;
        rest->n--;
    }
    return str_trim(part);
}

static struct str unquote(struct str s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        return (struct str){ s.p + 1, s.n - 2 };
    return s;
}

/* "for=192.0.2.1;proto=https;by=..." */
static void take_element(struct hops *hops, struct str element)
{
    struct hop *hop = add_hop(hops);

    while (hop && element.n) {
        struct str value = take_part(&element, ';');
        struct str name = take_part(&value, '=');

        if (str_eq_nocase(name, STR("for")))
            hop->from = unquote(value);
        else if (str_eq_nocase(name, STR("proto")))
            hop->proto = unquote(value);
    }
}

static void collect(const struct h1_head *head, const char *name, struct hops *hops,
                    void (*take)(struct hops *hops, struct str part))
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct str value = head->headers[i].value;

        while (str_eq_nocase(head->headers[i].name, str_from(name)) && value.n && !hops->bad)
            take(hops, take_part(&value, ','));
    }
}

static void take_address(struct hops *hops, struct str part)
{
    struct hop *hop = add_hop(hops);

    if (hop)
        hop->from = part;
}

/* The nearest proxy's word is the last one, and holds for all of the way. */
static void take_proto(struct hops *hops, struct str part)
{
    for (size_t i = 0; i < hops->count; i++)
        hops->items[i].proto = part;
}

/* --- believing them --- */

static void believe(const struct trusted_proxies *trusted, const struct hops *hops, struct sender *ret)
{
    struct ip ip;
    size_t i = hops->count;

    if (hops->bad || i == 0)
        return;
    do {
        if (parse_node(hops->items[--i].from, &ip) < 0)
            return;
    } while (i > 0 && is_trusted(trusted, &ip));
    ip_format(&ip, ret->client);
    ret->local = is_loopback(&ip);
    if (str_is(hops->items[i].proto, "https") || str_is(hops->items[i].proto, "http")) {
        ret->https = str_is(hops->items[i].proto, "https");
        ret->https_known = true;
    }
}

static void read_chain(const struct trusted_proxies *trusted, const struct h1_head *head, struct sender *ret)
{
    struct hops hops = { 0 };

    str_copy(STR("unknown"), ret->client, sizeof(ret->client));
    if (trusted->forwarded) {
        collect(head, "Forwarded", &hops, take_element);
    } else {
        collect(head, "X-Forwarded-For", &hops, take_address);
        collect(head, "X-Forwarded-Proto", &hops, take_proto);
    }
    believe(trusted, &hops, ret);
}

void sender_find_linked(const struct h1_head *head, struct sender *ret)
{
    static const struct trusted_proxies edge = { 0 };

    *ret = (struct sender){ .forwarded = true };
    read_chain(&edge, head, ret);
    ret->local = false;
}

static bool speaks_for_others(const struct h1_head *head)
{
    return h1_header(head, "Forwarded").p || h1_header(head, "X-Forwarded-For").p ||
           h1_header(head, "X-Real-IP").p || h1_header(head, "Via").p;
}

struct sender_peer sender_peer_of(const struct http_exchange *exchange)
{
    const uint8_t *address = http_peer_address(exchange);
    struct sender_peer peer = { .known = address != NULL,
                                .local = http_peer_is_local(exchange),
                                .secure = http_exchange_secure(exchange) };

    if (address)
        memcpy(peer.ip.bytes, address, sizeof(peer.ip.bytes));
    return peer;
}

void sender_find(const struct trusted_proxies *trusted, const struct sender_peer *peer, const struct h1_head *head,
                 struct sender *ret)
{
    *ret = (struct sender){ .https = peer->secure, .https_known = peer->secure };
    if (peer->known && is_trusted(trusted, &peer->ip)) {
        ret->forwarded = true;
        read_chain(trusted, head, ret);
        return;
    }
    if (peer->known)
        ip_format(&peer->ip, ret->client);
    else
        str_copy(peer->local ? STR("unix") : STR("unknown"), ret->client, sizeof(ret->client));
    ret->local = peer->local && !speaks_for_others(head);
}
