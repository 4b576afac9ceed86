/* policy_check.c - what a policy says to an address, a name, a question, a request. */
#include "daemon/egress/policy.h"

#include "daemon/egress/secrets.h"

static bool in_ranges(const struct cidr *ranges, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++)
        if (cidr_contains(&ranges[i], ip))
            return true;
    return false;
}

static bool port_fits(const struct port_range *ranges, size_t count, uint16_t port)
{
    for (size_t i = 0; i < count; i++)
        if (port >= ranges[i].first && port <= ranges[i].last)
            return true;
    return count == 0;
}

bool egress_operator_allows(const struct egress_policy *policy, const struct ip *ip)
{
    return in_ranges(policy->ceiling->allow, policy->ceiling->allow_count, ip);
}

const char *egress_out_of_bounds(const struct egress_policy *policy, const struct ip *ip)
{
    if (in_ranges(policy->ceiling->deny, policy->ceiling->deny_count, ip))
        return "denied by the operator";
    return egress_operator_allows(policy, ip) ? NULL : ip_special(ip);
}

static bool names_hosts(const struct egress_policy *policy)
{
    return policy->hosts.count > 0 || policy->denied_hosts.count > 0;
}

static const struct egress_rule *find_range(const struct egress_rules *rules, const struct ip *ip, uint16_t port)
{
    for (size_t i = 0; i < rules->count; i++)
        if (cidr_contains(&rules->items[i].cidr, ip) &&
            port_fits(rules->items[i].ports, rules->items[i].port_count, port))
            return &rules->items[i];
    return NULL;
}

static enum egress_verdict deny(const char **ret_reason, const char *reason)
{
    *ret_reason = reason;
    return EGRESS_DENY;
}

enum egress_verdict egress_check_address(const struct egress_policy *policy, const struct ip *ip, uint16_t port,
                                         const char **ret_reason)
{
    const char *reason = egress_out_of_bounds(policy, ip);

    if (reason)
        return deny(ret_reason, reason);
    if (!port_fits(policy->ports, policy->port_count, port))
        return deny(ret_reason, "port not allowed");
    if (find_range(&policy->denied_cidrs, ip, port))
        return deny(ret_reason, "address denied");
    if (find_range(&policy->cidrs, ip, port))
        return EGRESS_ALLOW;
    if (names_hosts(policy))
        return EGRESS_ASK_NAME;
    return policy->allows ? EGRESS_ALLOW : deny(ret_reason, "address not allowed");
}

/* --- names --- */

static bool rule_names(const struct egress_rule *rule, struct str name)
{
    size_t n = rule->host.n;

    if (!rule->wildcard)
        return str_eq(rule->host, name);
    if (n == 0)
        return true;
    return name.n > n + 1 && name.p[name.n - n - 1] == '.' && memcmp(name.p + name.n - n, rule->host.p, n) == 0;
}

/* An exact name before a wildcard, a longer wildcard before a shorter one; among equals the one for the port. */
static bool better(const struct egress_rule *a, const struct egress_rule *b)
{
    if (a->wildcard != b->wildcard)
        return !a->wildcard;
    return a->host.n > b->host.n;
}

static const struct egress_rule *find_host(const struct egress_rules *rules, struct str name, uint16_t port)
{
    const struct egress_rule *best = NULL;

    for (size_t i = 0; i < rules->count; i++) {
        const struct egress_rule *rule = &rules->items[i];
        bool fits = port == 0 || port_fits(rule->ports, rule->port_count, port);

        if (!rule_names(rule, name))
            continue;
        if (!best || better(rule, best) ||
            (!better(best, rule) && fits && !port_fits(best->ports, best->port_count, port)))
            best = rule;
    }
    return best;
}

enum egress_verdict egress_check_name(const struct egress_policy *policy, struct str name, uint16_t port,
                                      const struct egress_rule **ret_rule, const char **ret_reason)
{
    *ret_rule = NULL;
    if (name.n == 0)
        return deny(ret_reason, "no host name told");
    if (find_host(&policy->denied_hosts, name, 0))
        return deny(ret_reason, "host denied");
    *ret_rule = find_host(&policy->hosts, name, port);
    if (!*ret_rule)
        return policy->allows ? EGRESS_ALLOW : deny(ret_reason, "host not allowed");
    if (!port_fits((*ret_rule)->ports, (*ret_rule)->port_count, port))
        return deny(ret_reason, "port not allowed for this host");
    return EGRESS_ALLOW;
}

enum egress_verdict egress_check_question(const struct egress_policy *policy, struct str name,
                                          const char **ret_reason)
{
    if (name.n == 0)
        return deny(ret_reason, "not a host name");
    if (find_host(&policy->denied_hosts, name, 0))
        return deny(ret_reason, "host denied");
    if (policy->allows || find_host(&policy->hosts, name, 0))
        return EGRESS_ALLOW;
    return deny(ret_reason, "host not allowed");
}

/* --- requests --- */

bool egress_rule_reads_requests(const struct egress_rule *rule)
{
    return rule && (rule->filter.method_count > 0 || rule->filter.path_count > 0 || rule->credential_count > 0);
}

bool egress_policy_intercepts(const struct egress_policy *policy)
{
    for (size_t i = 0; i < policy->hosts.count; i++)
        if (egress_rule_reads_requests(&policy->hosts.items[i]))
            return true;
    return false;
}

/* Two servers may read it as two paths: dot segments, doubled slashes, escapes, parameters, backslashes. */
static bool ambiguous(struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        size_t left = path.n - i;

        if (c == '\\' || c == '%' || c == ';')
            return true;
        if (c != '/')
            continue;
        if (left > 1 && path.p[i + 1] == '/')
            return true;
        if (left > 1 && path.p[i + 1] == '.' &&
            (left == 2 || path.p[i + 2] == '/' || (path.p[i + 2] == '.' && (left == 3 || path.p[i + 3] == '/'))))
            return true;
    }
    return path.n == 0 || path.p[0] != '/';
}

static bool path_fits(struct str pattern, struct str path)
{
    if (pattern.p[pattern.n - 1] != '*')
        return str_eq(pattern, path);
    return str_has_prefix(path, (struct str){ pattern.p, pattern.n - 1 });
}

static bool method_fits(const struct request_filter *filter, struct str method)
{
    for (size_t i = 0; i < filter->method_count; i++)
        if (str_eq(filter->methods[i], method))
            return true;
    return filter->method_count == 0;
}

static bool one_path_fits(const struct request_filter *filter, struct str path)
{
    for (size_t i = 0; i < filter->path_count; i++)
        if (path_fits(filter->paths[i], path))
            return true;
    return filter->path_count == 0;
}

static const char *why_unfit(const struct request_filter *filter, struct str method, struct str path)
{
    if (!method_fits(filter, method))
        return "method not allowed";
    if (filter->path_count > 0 && ambiguous(path))
        return "ambiguous path";
    return one_path_fits(filter, path) ? NULL : "path not allowed";
}

/* TRACE asks for the request, and so for what we have added to it. */
enum egress_verdict egress_check_request(const struct egress_rule *rule, struct str method, struct str path,
                                         const char **ret_reason)
{
    const char *reason = NULL;

    if (rule && rule->credential_count > 0 && str_is(method, "TRACE"))
        reason = "TRACE would show a credential";
    else if (rule)
        reason = why_unfit(&rule->filter, method, path);
    return reason ? deny(ret_reason, reason) : EGRESS_ALLOW;
}

static bool has_header(const struct egress_credential *const *list, size_t count, struct str header)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(list[i]->header, header))
            return true;
    return false;
}

size_t egress_find_credentials(const struct egress_rule *rule, struct str method, struct str path, bool tls,
                               const struct egress_credential *ret[POLICY_CREDENTIALS_MAX])
{
    size_t count = 0;

    for (size_t i = 0; rule && i < rule->credential_count; i++) {
        const struct egress_credential *credential = &rule->credentials[i];

        if ((tls || credential->plain_http) && !why_unfit(&credential->filter, method, path) &&
            !has_header(ret, count, credential->header))
            ret[count++] = credential;
    }
    return count;
}

const char *egress_policy_missing_secret(const struct egress_policy *policy)
{
    for (size_t i = 0; policy->ceiling->secrets && i < policy->hosts.count; i++)
        for (size_t k = 0; k < policy->hosts.items[i].credential_count; k++) {
            struct str name = policy->hosts.items[i].credentials[k].secret;

            if (!secrets_find(policy->ceiling->secrets, name))
                return name.p;
        }
    return NULL;
}
