#include "daemon/egress/request_fields.h"

enum speaks_of { NOTHING, METHOD, PATH };

/* Gateways that hand fields on as variables make no difference between "-" and "_". */
static bool is_named(struct str name, const char *wanted)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i] == '_' ? '-' : name.p[i];

        if (!wanted[i] || (wanted[i] != c && (c < 'A' || c > 'Z' || wanted[i] != c + 32)))
            return false;
    }
    return wanted[name.n] == '\0';
}

static enum speaks_of what_of(struct str name)
{
    static const struct {
        const char *name;
        enum speaks_of what;
    } fields[] = {
        { "x-http-method-override", METHOD }, { "x-http-method", METHOD }, { "x-method-override", METHOD },
        { "x-original-url", PATH },           { "x-rewrite-url", PATH },   { "x-original-uri", PATH },
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (is_named(name, fields[i].name))
            return fields[i].what;
    return NOTHING;
}

static bool filters(const struct request_filter *filter, enum speaks_of what)
{
    return (what == METHOD && filter->method_count > 0) || (what == PATH && filter->path_count > 0);
}

/* Its own filter, or that of a credential. */
static bool rule_filters(const struct egress_rule *rule, enum speaks_of what)
{
    if (filters(&rule->filter, what))
        return true;
    for (size_t i = 0; i < rule->credential_count; i++)
        if (filters(&rule->credentials[i].filter, what))
            return true;
    return false;
}

const char *request_fields_check(const struct egress_rule *rule, const struct h1_head *head)
{
    for (size_t i = 0; rule && i < head->header_count; i++) {
        enum speaks_of what = what_of(head->headers[i].name);

        if (what == METHOD && rule_filters(rule, METHOD) && !str_eq(head->headers[i].value, head->method))
            return "a field asks for another method";
        if (what == PATH && rule_filters(rule, PATH))
            return "a field asks for another path";
    }
    return NULL;
}

bool request_field_upgrades(struct str name)
{
    return str_eq_nocase(name, STR("Upgrade")) || str_eq_nocase(name, STR("HTTP2-Settings"));
}

bool request_fields_upgrade(const struct h1_head *head)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (request_field_upgrades(head->headers[i].name) &&
            !(str_eq_nocase(head->headers[i].name, STR("Upgrade")) &&
              str_eq_nocase(head->headers[i].value, STR("websocket"))))
            return false;
    return true;
}
