/*
 * fields.h - the header fields of a message that is passed on, in the arena of its request.
 *
 * Left out are the fields of a hop (RFC 9110 7.6.1, those that Connection names included), those of framing, which
 * client.h and server.h write themselves, and ours ("Berm-*"): nobody but us tells a client or a sandbox those.
 */
#pragma once

#include "base/arena.h"
#include "net/h1.h"
#include "net/server.h" /* struct http_field */

#define FIELDS_EXTRA 8 /* that fields_add() has room for beyond those of a head */

struct field_list {
    struct http_field *items;
    size_t count, cap;
};

/* Begins the list with the fields of `head`, less those above, the `also` named ones and the console's
 * cookie. 0, or -1 without memory.
 */
int fields_copy(struct field_list *list, struct arena *arena, const struct h1_head *head, const struct str *also,
                size_t also_count);
/*
 * The same for an answer that a sandbox wrote and that is served under the API's own origin: it may set no cookie,
 * clear none, register no service worker, have nothing kept for or reported of the origin, ask for no password in
 * its name, and a browser treats it as of no origin, with `policy` for what else.
 */
int fields_copy_foreign(struct field_list *list, struct arena *arena, const struct h1_head *head,
                        const char *policy);
/* Borrows both strings. -1 if either is NULL (no memory for it) or there is no room. */
int fields_add(struct field_list *list, const char *name, const char *value);
