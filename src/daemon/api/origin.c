#include "daemon/api/origin.h"

bool origin_is_own(const struct h1_head *head, struct str scheme)
{
    struct str origin = h1_header(head, "Origin");

    return str_has_prefix(origin, scheme) &&
           str_eq_nocase((struct str){ origin.p + scheme.n, origin.n - scheme.n }, head->host);
}

bool origin_is_foreign(const struct h1_head *head)
{
    struct str site = h1_header(head, "Sec-Fetch-Site");

    return site.n && !str_is(site, "same-origin") && !str_is(site, "none");
}
