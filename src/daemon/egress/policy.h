/*
 * policy.h - what a sandbox may talk to. Pure: from JSON to a value, and questions to that value.
 *
 *   { "mode": "allow" | "deny",            what becomes of whatever the lists do not name
 *     "hosts": [ "pypi.org", "*.debian.org", "*",
 *                { "host": "api.example.com", "ports": [443], "methods": ["GET"], "paths": ["/v1/items"] } ],
 *     "cidrs": [ "192.0.2.0/24", { "cidr": "2001:db8::/32", "ports": ["8000-8999"] } ],
 *     "ports": [80, 443],                  if given, no other port in any case
 *     "deny": { "hosts": [...], "cidrs": [...] } }
 *
 * `hosts` and `cidrs` are what may be reached in mode "deny". In mode "allow" everything public may, and a host
 * there must carry restrictions (ports, methods, paths), which then hold for it. `deny` comes before everything
 * else. The operator's ranges come before that: what is not the public internet is reached only if the operator has
 * allowed it, whatever a policy says.
 *
 * As soon as a policy names hosts, a connection must tell its name (the SNI of TLS, the Host of HTTP) unless its
 * address is in `cidrs`: what tells none could be anything.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/egress/address.h"

#define POLICY_HOSTS_MAX   1024
#define POLICY_CIDRS_MAX   256
#define POLICY_PORTS_MAX   32
#define POLICY_METHODS_MAX 16
#define POLICY_PATHS_MAX   64
#define POLICY_TEXT_MAX    (256 * 1024)

/* The operator's. `allow`: treated like the public internet. `deny`: never reached. */
struct egress_ceiling {
    const struct cidr *allow, *deny;
    size_t allow_count, deny_count;
};

struct port_range {
    uint16_t first, last;
};

struct egress_rule {
    struct str host;  /* a name, or what follows "*." */
    bool wildcard;    /* names below `host`; with an empty `host` every name */
    struct cidr cidr; /* of a rule in `cidrs` */
    const struct port_range *ports;
    size_t port_count; /* 0: every port */
    const struct str *methods;
    size_t method_count;     /* likewise */
    const struct str *paths; /* exact, or with a "*" at the end */
    size_t path_count;
};

struct egress_rules {
    const struct egress_rule *items;
    size_t count;
};

/* Made and freed by the functions below; the members are for policy_check.c. */
struct egress_policy {
    unsigned refs;
    struct arena arena;
    const char *text;                     /* the canonical JSON of what it was made from */
    const struct egress_ceiling *ceiling; /* borrowed: it outlives every policy */
    bool allows;                          /* mode */
    struct egress_rules hosts, cidrs, denied_hosts, denied_cidrs;
    const struct port_range *ports;
    size_t port_count;
};

/* NULL `body`: the default, {"mode":"allow"}. *ret has one reference. Errors name the field. */
int egress_policy_new(const struct json *body, const struct egress_ceiling *ceiling, struct egress_policy **ret,
                      struct berm_error *err);
struct egress_policy *egress_policy_ref(struct egress_policy *policy);
void egress_policy_unref(struct egress_policy *policy); /* NULL is allowed */
enum egress_verdict { EGRESS_DENY, EGRESS_ALLOW, EGRESS_ASK_NAME };

/* By address alone. EGRESS_DENY sets *ret_reason, a static text. */
enum egress_verdict egress_check_address(const struct egress_policy *policy, const struct ip *ip, uint16_t port,
                                         const char **ret_reason);
/* After EGRESS_ASK_NAME. `name` is normalized; n == 0: it told none. *ret_rule: the rule that allows it, or NULL.
 */
enum egress_verdict egress_check_name(const struct egress_policy *policy, struct str name, uint16_t port,
                                      const struct egress_rule **ret_rule, const char **ret_reason);
/* A rule with methods or paths holds for requests that we can read. */
bool egress_rule_reads_requests(const struct egress_rule *rule);
enum egress_verdict egress_check_request(const struct egress_rule *rule, struct str method, struct str path,
                                         const char **ret_reason);
/* Whether the resolver may ask for this name. */
enum egress_verdict egress_check_question(const struct egress_policy *policy, struct str name,
                                          const char **ret_reason);
/* Not the public internet, or out of bounds by the operator: why; NULL: neither. */
const char *egress_out_of_bounds(const struct egress_policy *policy, const struct ip *ip);
/* The operator has allowed it explicitly. */
bool egress_operator_allows(const struct egress_policy *policy, const struct ip *ip);
