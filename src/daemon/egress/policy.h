/*
 * policy.h - what a sandbox may talk to. Pure: from JSON to a value, and questions to that value.
 *
 *   { "mode": "allow" | "deny",            what becomes of whatever the lists do not name
 *     "hosts": [ "pypi.org", "*.debian.org", "*",
 *                { "host": "api.example.com", "ports": [443], "methods": ["GET"], "paths": ["/v1/items"],
                  "credentials": [ { "header": "authorization", "secret": "NAME", "methods": [...], "paths": [...],
                                     "plainHttp": true } ] } ],
 *     "cidrs": [ "192.0.2.0/24", { "cidr": "2001:db8::/32", "ports": ["8000-8999"] } ],
 *     "ports": [80, 443],                  if given, no other port in any case
 *     "deny": { "hosts": [...], "cidrs": [...] } }
 *
 * `hosts` and `cidrs` are what may be reached in mode "deny". In mode "allow" everything public may, and a host
 * there must carry something that holds for it (ports, methods, paths, credentials). `deny` comes before everything
 * else. The operator's ranges come before that: what is not the public internet is reached only if the operator has
 * allowed it, whatever a policy says.
 *
 * A credential is a field that the daemon adds to requests, in place of whatever the sandbox has sent by that name;
 a
 * policy only names the secret (secrets.h). It goes over TLS unless `plainHttp` says otherwise.
 *
 * As soon as a policy names hosts, a connection must tell its name (the SNI of TLS, the Host of HTTP) unless its
 * address is in `cidrs`: what tells none could be anything.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/egress/address.h"

#define POLICY_HOSTS_MAX       1024
#define POLICY_CIDRS_MAX       256
#define POLICY_PORTS_MAX       32
#define POLICY_METHODS_MAX     16
#define POLICY_PATHS_MAX       64
#define POLICY_CREDENTIALS_MAX 16
#define POLICY_TEXT_MAX        (256 * 1024)

struct secrets;

/* The operator's. `secrets`: those that policies may name; NULL: any name. `allow`: treated like the public
 * internet. `deny`: never reached. */
struct egress_ceiling {
    const struct cidr *allow, *deny;
    size_t allow_count, deny_count;
    const struct secrets *secrets;
};

struct port_range {
    uint16_t first, last;
};

/* Which requests: empty lists fit every one. */
struct request_filter {
    const struct str *methods;
    size_t method_count;
    const struct str *paths; /* exact, or with a "*" at the end */
    size_t path_count;
};

struct egress_credential {
    struct str header, secret; /* names */
    struct request_filter filter;
    bool plain_http;
};

struct egress_rule {
    struct str host;  /* a name, or what follows "*." */
    bool wildcard;    /* names below `host`; with an empty `host` every name */
    struct cidr cidr; /* of a rule in `cidrs` */
    const struct port_range *ports;
    size_t port_count; /* 0: every port */
    struct request_filter filter;
    const struct egress_credential *credentials;
    size_t credential_count;
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
/* A rule with methods, paths or credentials holds for requests that we can read. NULL: no rule. */
bool egress_rule_reads_requests(const struct egress_rule *rule);
enum egress_verdict egress_check_request(const struct egress_rule *rule, struct str method, struct str path,
                                         const char **ret_reason);
/*
 * Those of the rule's credentials that this request gets, at most one per header, the first of each. `tls`: it
 * comes and goes by TLS. Returns their number, at most POLICY_CREDENTIALS_MAX.
 */
size_t egress_find_credentials(const struct egress_rule *rule, struct str method, struct str path, bool tls,
                               const struct egress_credential *ret[POLICY_CREDENTIALS_MAX]);
/* Whether some connection by TLS has to be intercepted for it. */
bool egress_policy_intercepts(const struct egress_policy *policy);
/* The name of a secret that it needs and that is not there; NULL: none. One may go later: then requests that need
 * it are refused. */
const char *egress_policy_missing_secret(const struct egress_policy *policy);
/* Whether the resolver may ask for this name. */
enum egress_verdict egress_check_question(const struct egress_policy *policy, struct str name,
                                          const char **ret_reason);
/* Not the public internet, or out of bounds by the operator: why; NULL: neither. */
const char *egress_out_of_bounds(const struct egress_policy *policy, const struct ip *ip);
/* The operator has allowed it explicitly. */
bool egress_operator_allows(const struct egress_policy *policy, const struct ip *ip);
