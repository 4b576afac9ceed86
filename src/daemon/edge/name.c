#include "daemon/edge/name.h"

#define AGENT_PORT 3000

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

bool edge_port_valid(int64_t port)
{
    return port >= EDGE_PORT_MIN && port <= EDGE_PORT_MAX && port != AGENT_PORT;
}

bool edge_token_valid(struct str token)
{
    for (size_t i = 0; i < token.n; i++)
        if (!is_lower(token.p[i]) && !is_digit(token.p[i]) && token.p[i] != '_')
            return false;
    return token.n > 0 && token.n <= EDGE_TOKEN_MAX;
}

static bool parse_preview(struct str label, struct edge_name *ret)
{
    const char *first = memchr(label.p, '-', label.n);
    const char *last = memrchr(label.p, '-', label.n);
    uint64_t port;

    if (!first || first == last || label.p[0] == '0')
        return false;
    if (str_to_u64((struct str){ label.p, (size_t)(first - label.p) }, &port) < 0 || port > EDGE_PORT_MAX ||
        !edge_port_valid((int64_t)port))
        return false;
    ret->port = (uint16_t)port;
    ret->sandbox = (struct str){ first + 1, (size_t)(last - first) - 1 };
    ret->token = (struct str){ last + 1, (size_t)(label.p + label.n - last) - 1 };
    return ret->sandbox.n > 0 && ret->token.n > 0;
}

bool edge_tunnel_valid(struct str label)
{
    struct edge_name preview;

    for (size_t i = 0; i < label.n; i++)
        if (!is_lower(label.p[i]) && !is_digit(label.p[i]) && (label.p[i] != '-' || i == 0))
            return false;
    return label.n > 0 && label.n <= EDGE_LABEL_MAX && label.p[label.n - 1] != '-' &&
           !parse_preview(label, &preview);
}

size_t edge_preview_length(uint16_t port, struct str sandbox, struct str token)
{
    return (port >= 10000 ? 5u : 4u) + 1 + sandbox.n + 1 + token.n;
}

/* What stands before ".<domain>", or n == 0. */
static struct str before_domain(struct str host, struct str domain)
{
    struct str tail;

    if (host.n < domain.n + 2)
        return (struct str){ NULL, 0 };
    tail = (struct str){ host.p + host.n - domain.n, domain.n };
    if (tail.p[-1] != '.' || !str_eq_nocase(tail, domain))
        return (struct str){ NULL, 0 };
    return (struct str){ host.p, host.n - domain.n - 1 };
}

static struct str without_port(struct str host)
{
    const char *colon = host.n && host.p[0] != '[' ? memchr(host.p, ':', host.n) : NULL;

    if (colon)
        host.n = (size_t)(colon - host.p);
    if (host.n && host.p[host.n - 1] == '.') /* the root of all domains, which a resolver drops as well */
        host.n--;
    return host;
}

bool edge_host_below(struct str host, struct str domain, struct str *ret_label)
{
    *ret_label = before_domain(without_port(host), domain);
    if (ret_label->n == 0)
        return false;
    if (memchr(ret_label->p, '.', ret_label->n) || ret_label->n > EDGE_LABEL_MAX)
        ret_label->n = 0;
    return true;
}

void edge_label_parse(struct str label, struct edge_name *ret)
{
    *ret = (struct edge_name){ .kind = EDGE_NAME_NOBODY };
    if (label.n == 0)
        return;
    if (parse_preview(label, ret)) {
        ret->kind = EDGE_NAME_PREVIEW;
    } else {
        ret->label = label;
        ret->kind = EDGE_NAME_TUNNEL;
    }
}

void edge_name_parse(struct str host, struct str domain, struct edge_name *ret)
{
    struct str label;

    if (edge_host_below(host, domain, &label))
        edge_label_parse(label, ret);
    else
        *ret = (struct edge_name){ .kind = EDGE_NAME_OTHER };
}
