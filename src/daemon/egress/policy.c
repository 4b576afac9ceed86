/* policy.c - policies from JSON; what one says is in policy_check.c. */
#include "daemon/egress/policy.h"

#include "daemon/egress/client_hello.h"
#include "daemon/egress/secrets.h"

#include <ctype.h>

#define ARENA_MAX ((size_t)4 << 20)
#define FIELD_MAX 64

/* Where in the document we are, for messages. */
struct decoder {
    struct arena *arena;
    const struct egress_ceiling *ceiling;
    struct berm_error *err;
};

static int refuse(struct decoder *d, const char *field, const char *why)
{
    return berm_fail_field(d->err, field, "%s %s", field, why);
}

static int no_memory(struct decoder *d)
{
    return berm_fail(d->err, BERM_E_SYSTEM, ENOMEM, "egress policy");
}

static int check_members(struct decoder *d, const struct json *object, const char *const *known, const char *field)
{
    for (size_t i = 0; i < object->object.count; i++) {
        struct str key = object->object.members[i].key;
        size_t k = 0;

        while (known[k] && !str_is(key, known[k]))
            k++;
        if (!known[k])
            return berm_fail_field(d->err, field, "%s: %.*s is not a known member", field,
                                   (int)MIN(key.n, (size_t)FIELD_MAX), key.p);
    }
    return 0;
}

static bool is_there(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);

    return value && value->type != JSON_NULL;
}

/* The member as an array of at most `max` items; absent: none. */
static int get_list(struct decoder *d, const struct json *object, const char *key, const char *field, size_t max,
                    const struct json **ret_items, size_t *ret_count)
{
    const struct json *list = json_get(object, key);

    *ret_items = NULL;
    *ret_count = 0;
    if (!list || list->type == JSON_NULL)
        return 0;
    if (list->type != JSON_ARRAY || list->array.count > max)
        return berm_fail_field(d->err, field, "%s must be a list of at most %zu", field, max);
    *ret_items = list->array.items;
    *ret_count = list->array.count;
    return 0;
}

/* --- ports --- */

static bool read_port(struct str text, uint16_t *ret)
{
    uint64_t value;

    if (text.n > 5 || str_to_u64(text, &value) < 0 || value == 0 || value > UINT16_MAX)
        return false;
    *ret = (uint16_t)value;
    return true;
}

static bool read_port_range(const struct json *item, struct port_range *ret)
{
    const char *dash;

    if (item->type == JSON_INT) {
        ret->first = ret->last = (uint16_t)item->integer;
        return item->integer > 0 && item->integer <= UINT16_MAX;
    }
    if (item->type != JSON_STRING || !(dash = memchr(item->string.p, '-', item->string.n)))
        return false;
    return read_port((struct str){ item->string.p, (size_t)(dash - item->string.p) }, &ret->first) &&
           read_port((struct str){ dash + 1, (size_t)(item->string.p + item->string.n - dash - 1) }, &ret->last) &&
           ret->first <= ret->last;
}

static int take_ports(struct decoder *d, const struct json *object, const struct port_range **ret,
                      size_t *ret_count)
{
    const struct json *items;
    struct port_range *ranges;

    if (get_list(d, object, "ports", "ports", POLICY_PORTS_MAX, &items, ret_count) < 0)
        return -1;
    if (is_there(object, "ports") && *ret_count == 0)
        return refuse(d, "ports", "must not be empty: leave it out for every port");
    ranges = arena_calloc(d->arena, *ret_count, sizeof(*ranges));
    if (!ranges)
        return no_memory(d);
    for (size_t i = 0; i < *ret_count; i++)
        if (!read_port_range(&items[i], &ranges[i]))
            return refuse(d, "ports", "must hold numbers from 1 to 65535 or texts such as \"8000-8999\"");
    *ret = ranges;
    return 0;
}

/* --- texts --- */

static bool method_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 'A' || s.p[i] > 'Z')
            return false;
    return s.n > 0 && s.n <= 32;
}

/* What egress_check_request() finds ambiguous in a path could never match. */
static bool path_valid(struct str s)
{
    struct str inner = { s.p, s.n > 0 && s.p[s.n - 1] == '*' ? s.n - 1 : s.n };

    if (inner.n == 0 || inner.n > 1024 || inner.p[0] != '/')
        return false;
    for (size_t i = 0; i < inner.n; i++)
        if (inner.p[i] <= ' ' || inner.p[i] >= 0x7f || strchr("*?#%\\;", inner.p[i]))
            return false;
    return true;
}

static int take_texts(struct decoder *d, const struct json *object, const char *key, size_t max,
                      bool (*valid)(struct str), const char *why, const struct str **ret, size_t *ret_count)
{
    const struct json *items;
    struct str *texts;

    if (get_list(d, object, key, key, max, &items, ret_count) < 0)
        return -1;
    if (is_there(object, key) && *ret_count == 0)
        return refuse(d, key, "must not be empty: leave it out for all");
    texts = arena_calloc(d->arena, *ret_count, sizeof(*texts));
    if (!texts)
        return no_memory(d);
    for (size_t i = 0; i < *ret_count; i++) {
        if (items[i].type != JSON_STRING || !valid(items[i].string))
            return refuse(d, key, why);
        texts[i] = (struct str){ arena_strdup(d->arena, items[i].string), items[i].string.n };
        if (!texts[i].p)
            return no_memory(d);
    }
    *ret = texts;
    return 0;
}

/* --- hosts --- */

static int take_pattern(struct decoder *d, struct str pattern, const char *field, struct egress_rule *ret)
{
    char storage[HOST_NAME_MAX_BYTES + 1];
    struct str name = pattern;

    if (str_is(pattern, "*")) {
        ret->wildcard = true;
        ret->host = (struct str){ "", 0 };
        return 0;
    }
    if (str_has_prefix(pattern, STR("*."))) {
        ret->wildcard = true;
        name = (struct str){ pattern.p + 2, pattern.n - 2 };
    }
    if (host_name_normalize(name, storage, &name) < 0)
        return berm_fail_field(d->err, field,
                               "%s: \"%.*s\" is not a host name, \"*.name\" or \"*\" (addresses go to cidrs)",
                               field, (int)MIN(pattern.n, (size_t)FIELD_MAX), pattern.p);
    ret->host = (struct str){ arena_strdup(d->arena, name), name.n };
    return ret->host.p ? 0 : no_memory(d);
}

static int take_filter(struct decoder *d, const struct json *item, struct request_filter *ret)
{
    if (take_texts(d, item, "methods", POLICY_METHODS_MAX, method_valid, "must hold names such as GET, in capitals",
                   &ret->methods, &ret->method_count) < 0)
        return -1;
    return take_texts(d, item, "paths", POLICY_PATHS_MAX, path_valid,
                      "must hold paths such as \"/v1/items\" or \"/v1/*\", without escapes", &ret->paths,
                      &ret->path_count);
}

/* --- credentials --- */

static bool is_field_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return s.n > 0 && s.n <= 64;
}

/* One that neither frames the request nor speaks to the next hop. */
static bool header_valid(struct str s)
{
    static const char *const reserved[] = {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "expect",
        "te",   "trailer",        "accept-encoding"
    };

    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (str_eq_nocase(s, str_from(reserved[i])))
            return false;
    return is_field_name(s) && !(s.n >= 6 && str_eq_nocase((struct str){ s.p, 6 }, STR("proxy-")));
}

static int take_name(struct decoder *d, const struct json *item, const char *key, bool (*valid)(struct str),
                     const char *why, struct str *ret)
{
    const struct json *value = json_get(item, key);

    if (!value || value->type != JSON_STRING || !valid(value->string))
        return berm_fail_field(d->err, "credentials", "credentials: %s %s", key, why);
    *ret = (struct str){ arena_strdup(d->arena, value->string), value->string.n };
    return ret->p ? 0 : no_memory(d);
}

static int take_credential(struct decoder *d, const struct json *item, struct egress_credential *ret)
{
    static const char *const known[] = { "header", "secret", "methods", "paths", "plainHttp", NULL };

    if (item->type != JSON_OBJECT)
        return refuse(d, "credentials", "must hold objects");
    if (check_members(d, item, known, "credentials") < 0 ||
        take_name(d, item, "header", header_valid, "must be the name of a field that is not of the connection",
                  &ret->header) < 0 ||
        take_name(d, item, "secret", secret_name_valid, "must be the name of a secret", &ret->secret) < 0 ||
        json_field_bool(item, "plainHttp", &ret->plain_http, d->err) < 0)
        return -1;
    return take_filter(d, item, &ret->filter);
}

static int take_credentials(struct decoder *d, const struct json *object, struct egress_rule *rule)
{
    const struct json *items;
    struct egress_credential *credentials;

    if (get_list(d, object, "credentials", "credentials", POLICY_CREDENTIALS_MAX, &items, &rule->credential_count) <
        0)
        return -1;
    if (is_there(object, "credentials") && rule->credential_count == 0)
        return refuse(d, "credentials", "must not be empty: leave it out for none");
    if (rule->credential_count && rule->wildcard && rule->host.n == 0)
        return refuse(d, "credentials", "need a host: \"*\" would send them to everybody");
    rule->credentials = credentials = arena_calloc(d->arena, rule->credential_count, sizeof(*credentials));
    if (!credentials)
        return no_memory(d);
    for (size_t i = 0; i < rule->credential_count; i++)
        if (take_credential(d, &items[i], &credentials[i]) < 0)
            return -1;
    return 0;
}

/* --- rules --- */

static int take_host_object(struct decoder *d, const struct json *item, const char *field, struct egress_rule *ret)
{
    static const char *const known[] = { "host", "ports", "methods", "paths", "credentials", NULL };
    const struct json *host = json_get(item, "host");

    if (check_members(d, item, known, field) < 0)
        return -1;
    if (!host || host->type != JSON_STRING)
        return refuse(d, field, "needs \"host\" in every object");
    if (take_pattern(d, host->string, field, ret) < 0 || take_ports(d, item, &ret->ports, &ret->port_count) < 0 ||
        take_filter(d, item, &ret->filter) < 0)
        return -1;
    return take_credentials(d, item, ret);
}

static bool restricts(const struct egress_rule *rule)
{
    return rule->port_count || egress_rule_reads_requests(rule);
}

enum host_list { HOSTS_OF_ALLOW, HOSTS_OF_DENY_MODE, HOSTS_DENIED };

static int check_host_use(struct decoder *d, const struct egress_rule *rule, enum host_list list, const char *field)
{
    if (list == HOSTS_DENIED && restricts(rule))
        return refuse(d, field, "takes names only");
    if (list == HOSTS_OF_ALLOW && !restricts(rule))
        return refuse(d, field,
                      "would change nothing: in mode \"allow\" a host needs ports, methods, paths or credentials");
    return 0;
}

static int take_hosts(struct decoder *d, const struct json *object, enum host_list list, struct egress_rules *ret)
{
    const char *field = list == HOSTS_DENIED ? "deny.hosts" : "hosts";
    const struct json *items;
    struct egress_rule *rules;

    if (get_list(d, object, "hosts", field, POLICY_HOSTS_MAX, &items, &ret->count) < 0)
        return -1;
    ret->items = rules = arena_calloc(d->arena, ret->count, sizeof(*rules));
    if (!rules)
        return no_memory(d);
    for (size_t i = 0; i < ret->count; i++) {
        int rc = -1;

        if (items[i].type == JSON_STRING)
            rc = take_pattern(d, items[i].string, field, &rules[i]);
        else if (items[i].type == JSON_OBJECT)
            rc = take_host_object(d, &items[i], field, &rules[i]);
        else
            refuse(d, field, "must hold texts or objects");
        if (rc < 0 || check_host_use(d, &rules[i], list, field) < 0)
            return -1;
    }
    return 0;
}

/* --- ranges --- */

/* Allowing what can never be reached would be a promise. */
static int check_reachable(struct decoder *d, const struct cidr *cidr, struct str text, const char *field)
{
    const char *what = cidr_special(cidr);

    for (size_t i = 0; i < d->ceiling->deny_count; i++)
        if (cidr_within(cidr, &d->ceiling->deny[i]))
            what = "denied by the operator";
    for (size_t i = 0; what && i < d->ceiling->allow_count; i++)
        if (cidr_within(cidr, &d->ceiling->allow[i]) && strcmp(what, "denied by the operator") != 0)
            what = NULL;
    if (!what)
        return 0;
    return berm_fail_field(d->err, field,
                           "%s: %.*s is %s, which the operator's egress.allow_cidrs would have to name", field,
                           (int)MIN(text.n, (size_t)FIELD_MAX), text.p, what);
}

static int take_cidr(struct decoder *d, const struct json *item, const char *field, bool denied,
                     struct egress_rule *ret)
{
    static const char *const known[] = { "cidr", "ports", NULL };
    const struct json *text = item;

    if (item->type == JSON_OBJECT) {
        if (check_members(d, item, known, field) < 0 || take_ports(d, item, &ret->ports, &ret->port_count) < 0)
            return -1;
        text = json_get(item, "cidr");
    }
    if (!text || text->type != JSON_STRING || cidr_parse(text->string, &ret->cidr) < 0)
        return refuse(d, field, "must hold ranges such as \"192.0.2.0/24\", or objects with \"cidr\"");
    if (denied && ret->port_count)
        return refuse(d, field, "takes ranges only");
    return denied ? 0 : check_reachable(d, &ret->cidr, text->string, field);
}

static int take_cidrs(struct decoder *d, const struct json *object, bool denied, struct egress_rules *ret)
{
    const char *field = denied ? "deny.cidrs" : "cidrs";
    const struct json *items;
    struct egress_rule *rules;

    if (get_list(d, object, "cidrs", field, POLICY_CIDRS_MAX, &items, &ret->count) < 0)
        return -1;
    ret->items = rules = arena_calloc(d->arena, ret->count, sizeof(*rules));
    if (!rules)
        return no_memory(d);
    for (size_t i = 0; i < ret->count; i++)
        if (take_cidr(d, &items[i], field, denied, &rules[i]) < 0)
            return -1;
    return 0;
}

/* --- the whole --- */

static int take_mode(struct decoder *d, const struct json *body, bool *ret)
{
    const struct json *mode = json_get(body, "mode");

    if (mode && mode->type == JSON_STRING && (str_is(mode->string, "allow") || str_is(mode->string, "deny"))) {
        *ret = str_is(mode->string, "allow");
        return 0;
    }
    return refuse(d, "mode", "must be \"allow\" or \"deny\"");
}

static int take_denied(struct decoder *d, const struct json *body, struct egress_policy *policy)
{
    static const char *const known[] = { "hosts", "cidrs", NULL };
    const struct json *deny = NULL;

    if (json_field_object(body, "deny", &deny, d->err) < 0)
        return -1;
    if (!deny)
        return 0;
    if (check_members(d, deny, known, "deny") < 0 || take_hosts(d, deny, HOSTS_DENIED, &policy->denied_hosts) < 0)
        return -1;
    return take_cidrs(d, deny, true, &policy->denied_cidrs);
}

static int keep_text(struct decoder *d, const struct json *body, struct egress_policy *policy)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, POLICY_TEXT_MAX);
    json_writer_init(&w, &text);
    json_value(&w, body);
    if (json_writer_finish(&w) == 0)
        policy->text = arena_strdup(d->arena, buf_str(&text));
    buf_free(&text);
    return policy->text ? 0 : refuse(d, "egress", "is too large");
}

static int decode(struct decoder *d, const struct json *body, struct egress_policy *policy)
{
    static const char *const known[] = { "mode", "hosts", "cidrs", "ports", "deny", NULL };

    if (body->type != JSON_OBJECT)
        return refuse(d, "egress", "must be an object");
    if (check_members(d, body, known, "egress") < 0 || take_mode(d, body, &policy->allows) < 0 ||
        take_hosts(d, body, policy->allows ? HOSTS_OF_ALLOW : HOSTS_OF_DENY_MODE, &policy->hosts) < 0 ||
        take_cidrs(d, body, false, &policy->cidrs) < 0 ||
        take_ports(d, body, &policy->ports, &policy->port_count) < 0 || take_denied(d, body, policy) < 0)
        return -1;
    return keep_text(d, body, policy);
}

int egress_policy_new(const struct json *body, const struct egress_ceiling *ceiling, struct egress_policy **ret,
                      struct berm_error *err)
{
    struct egress_policy *policy = calloc(1, sizeof(*policy));
    struct decoder d = { .ceiling = ceiling, .err = err };

    if (!policy)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "egress policy");
    policy->refs = 1;
    policy->ceiling = ceiling;
    policy->allows = true;
    policy->text = "{\"mode\":\"allow\"}";
    arena_init(&policy->arena, ARENA_MAX);
    d.arena = &policy->arena;
    if (body && decode(&d, body, policy) < 0) {
        egress_policy_unref(policy);
        return -1;
    }
    *ret = policy;
    return 0;
}

struct egress_policy *egress_policy_ref(struct egress_policy *policy)
{
    policy->refs++;
    return policy;
}

void egress_policy_unref(struct egress_policy *policy)
{
    if (!policy || --policy->refs > 0)
        return;
    arena_free(&policy->arena);
    free(policy);
}
