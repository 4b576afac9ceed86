/*
 * cookie.h - cookies that pages of sandboxes set.
 *
 * Every preview and tunnel is one label below one domain. A cookie with a Domain would be sent to all of them, or
 * to whoever serves the domain itself, and so let the code of one sandbox choose the session of a visitor of
 * another. Without that attribute it belongs to the host that set it.
 */
#pragma once

#include "daemon/api/fields.h"

/* The value of a Set-Cookie field without its Domain attributes into `out`, which may be as long: the length. */
size_t edge_cookie_host_only(struct str value, char *out);
/* The same for all of an answer's fields. -1 without memory. */
int edge_cookies_stay(struct field_list *fields, struct arena *arena);
