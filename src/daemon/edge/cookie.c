#include "daemon/edge/cookie.h"

static bool is_domain(struct str attribute)
{
    const char *equals = attribute.n ? memchr(attribute.p, '=', attribute.n) : NULL;

    if (equals)
        attribute.n = (size_t)(equals - attribute.p);
    return str_eq_nocase(str_trim(attribute), STR("Domain"));
}

/* Browsers end an attribute at any semicolon, inside of quotes too (RFC 6265 section 5.2). */
size_t edge_cookie_host_only(struct str value, char *out)
{
    size_t n = 0;

    for (size_t at = 0; at < value.n;) {
        const char *semicolon = memchr(value.p + at, ';', value.n - at);
        size_t end = semicolon ? (size_t)(semicolon - value.p) : value.n;
        struct str part = { value.p + at, end - at };
        bool first = at == 0; /* name and value, which may be called anything */

        if (first || !is_domain(part)) {
            if (!first)
                out[n++] = ';';
            memcpy(out + n, part.p, part.n);
            n += part.n;
        }
        at = end + 1;
    }
    return n;
}

int edge_cookies_stay(struct field_list *fields, struct arena *arena)
{
    for (size_t i = 0; i < fields->count; i++) {
        struct str value = str_from(fields->items[i].value);
        char *own;

        if (!str_eq_nocase(str_from(fields->items[i].name), STR("Set-Cookie")))
            continue;
        own = arena_alloc(arena, value.n + 1);
        if (!own)
            return -1;
        own[edge_cookie_host_only(value, own)] = '\0';
        fields->items[i].value = own;
    }
    return 0;
}
