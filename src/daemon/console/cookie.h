/*
 * cookie.h - the console's cookie: its two names, how it is found in a Cookie field, where it may not go. Pure.
 *
 * Over https it is "__Host-berm-session", which no other host and no unencrypted page can set. Over plain http
 * there is no such protection: a page of a preview can put a cookie of the same name beside it. That is why every
 * cookie of the name is tried, and why one that is not ours is worth nothing.
 */
#pragma once

#include "base/base.h"

#define CONSOLE_COOKIE        "berm-session"
#define CONSOLE_COOKIE_SECURE "__Host-berm-session"

struct cookie {
    struct str name, value;
};

/* Takes the next pair off the value of a Cookie field. False: there is none. */
bool cookie_next(struct str *field, struct cookie *ret);
/* Whether a Set-Cookie field sets one of the console's. */
bool set_cookie_is_console(struct str field);
/*
 * Copies a Cookie field without the console's cookies; `out` has room for field.n + 1 bytes. Returns the length of
 * what is left, which may be 0.
 */
size_t cookie_without_console(struct str field, char *out);
